/* SPDX-License-Identifier: MIT
 *
 * Engines of others: folders with a worker, which can be checked, and functions of the caller's.
 */
#ifndef LLEM_ENGINE_H
#define LLEM_ENGINE_H

#include "llem/job.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One rule of the protocol, looked at. Borrowed by the callback. */
typedef struct llem_engine_check {
    const char *method; /* "load_prompts" */
    const char *rule;   /* "token ids are used as they are" */
    int kept;           /* 0: violated */
    const char *text;   /* what was seen instead; "" where it is kept */
} llem_engine_check;

/* Zero-initialise, set size = sizeof(llem_check_args). */
typedef struct llem_check_args {
    size_t size;
    const char *engine;
    const char *model; /* NULL: the sample model that comes with llem */
    const llem_setting *settings;
    size_t n_settings;
    void (*on_check)(void *user, const llem_engine_check *check); /* as each is known; NULL */
    void *user;
    const volatile int *cancel; /* not 0: end the worker and give up; NULL */
    int log_fd;                 /* where its standard error goes; 0 = nowhere */
} llem_check_args;

/*
 * Start an engine's worker and drive every method: results, token counts, receipts, clocks, faults,
 * cleanup, shutdown. *violations: how many rules it violates; LLEM_OK whatever their number.
 * LLEM_ECONFIG if there is no such engine, or it has no worker.
 */
LLEM_API llem_errcode llem_check_engine(int *violations, llem_ctx *ctx, const llem_check_args *args,
                                        llem_error *err);

/* What run_inference came to; -1 = not known. size is set; leave it. */
typedef struct llem_engine_output {
    size_t size;
    int64_t input_tokens, output_tokens; /* of all prompts together */
    int64_t peak_memory_bytes;
} llem_engine_output;

/* Takes an answer, which it copies. */
typedef void (*llem_answer_fn)(void *to, const char *text);

/*
 * An engine of the caller's, which runs in this process. Its functions are called one at a time in
 * the thread that called llem_run_engine(), and may take as long as they like; what they are handed
 * is theirs for the call alone. One that fails returns a code below 0 and fills err. What may be
 * NULL says so. Zero-initialise, set size = sizeof(llem_engine_table).
 */
typedef struct llem_engine_table {
    size_t size;
    void *self; /* first argument of each */
    const char *name;
    const char *version; /* NULL: unknown */
    /* One answer for each problem of this machine; allocates nothing on a device. NULL. */
    void (*check_hardware)(void *self, llem_answer_fn answer, void *to);
    /* What the model will run on, before the load: a JSON list of {kind, uuid, name, pci}. NULL or
     * no answer: the CPU. */
    void (*devices)(void *self, llem_answer_fn answer, void *to);
    llem_errcode (*load_model)(void *self, llem_error *err);
    /* One prompt, full length; 0 ms says that the engine has warmed up by itself. NULL: it does. */
    llem_errcode (*run_warmup_prompt)(void *self, const char *prompt, double *latency_ms,
                                      llem_error *err);
    /* Wait for the device, at both edges of the work. NULL: nothing to wait for. */
    llem_errcode (*synchronize)(void *self, llem_error *err);
    /* The measured work: every prompt, UTF-8. */
    llem_errcode (*run_inference)(void *self, const char *const *prompts, size_t count,
                                  llem_engine_output *out, llem_error *err);
    /* A JSON map {engine_params: {}, sampling_params: {}} of what was really used. NULL. */
    void (*capture_observed_params)(void *self, llem_answer_fn answer, void *to);
    void (*cleanup)(void *self); /* give memory back; once, also where the load failed. NULL */
} llem_engine_table;

/* How to run one. Zero-initialise, set size. */
typedef struct llem_engine_run {
    size_t size;
    const llem_config
        *config; /* its engine is what is recorded: python:MODULE:CLASS of an object */
    const llem_engine_table *engine;
    const char *output_dir; /* as in llem_run_opts */
    int skip_preflight;
    llem_progress_fn progress;  /* in the calling thread, never inside the window; NULL */
    void (*idle)(void *user);   /* twenty times a second while nothing but waiting is done; NULL */
    void *progress_user;        /* of both */
    const volatile int *cancel; /* NULL, or not 0 to stop at the next step or wait */
} llem_engine_run;

/* The whole experiment in the calling thread: as llem_run_experiment(), with an engine of the
 * caller's. Nothing protects from what the engine does to the process; there is no time limit. */
LLEM_API llem_errcode llem_run_engine(llem_result **out, llem_ctx *ctx, const llem_engine_run *args,
                                      llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
