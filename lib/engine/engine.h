/* SPDX-License-Identifier: MIT
 *
 * The engine table: all the harness knows of what runs a model. It mirrors the EnginePlugin
 * protocol with a `void *self`. Built-in engines are C (engines/cpu); others are a folder with
 * engine.yaml and a worker behind one generic client that fills the same table.
 *
 * Values that an engine returns (model, effective, observed parameters) are maps with the field
 * names of the worker protocol, made in the arena handed in, so that C engines and workers look
 * alike.
 */
#ifndef LLEM_ENGINE_ENGINE_H
#define LLEM_ENGINE_ENGINE_H

#include <stdatomic.h>

#include "lib/base/ctx.h"
#include "lib/base/value.h"
#include "llem/engine.h"

struct llem_engine_info;

/* A warning or a log record of a library, as it came count times. */
struct llem_observation {
    const char *level;  /* "warning" or "error" */
    const char *source; /* the logger, or the category of a warning */
    const char *text, *file;
    int64_t line, count;
};

/* What an engine is made with; borrowed until destroy. */
struct llem_engine_args {
    llem_ctx *ctx;
    const struct llem_value
        *config;              /* the whole resolved configuration: task, measurement, <engine> */
    const char *model_path;   /* task.model as a path or hub id, resolved against its file */
    const char *dir;          /* the experiment's directory: worker.log goes there */
    const atomic_int *cancel; /* not 0: stop soon, return LLEM_ECANCELED. Polled between steps */
    void (*progress)(void *user, const char *text, double fraction); /* load and build steps;
                                                                        fraction is -1 if unknown */
    /* What the engine's libraries warned of. NULL = nobody wants to know. */
    void (*observe)(void *user, const struct llem_observation *o);
    /* At work still, nothing new to tell: called as often as it suits, from the engine's thread. A
     * harness that says nothing for long is taken for one that hangs. NULL = nobody listens. */
    void (*alive)(void *user);
    void *progress_user;                 /* of all three */
    const struct llem_engine_info *info; /* of engines that are a folder with a worker; else NULL */
    const void *user; /* of llem_engine_callbacks: its llem_engine_table; else NULL */
    int log_fd;       /* where what such a worker prints on standard error goes; 0 = nowhere */
};

/* Which prompts, how often, whether to stream. */
struct llem_pass {
    int id;                 /* 0 = the measured pass, 1 = warm-up batch, 2 = latency pass */
    const int32_t *indices; /* into the prompts of load_prompts */
    size_t count;
    int repeats;
    bool stream;
    bool text; /* receipts are to have output_text; made after t_end */
};

enum { LLEM_UNKNOWN = -1 }; /* for counts and times below: the engine does not tell */

struct llem_receipt {
    int32_t pass, repeat, index;
    int64_t t_submit_ns, t_scheduled_ns, t_first_ns, t_last_ns; /* CLOCK_MONOTONIC; LLEM_UNKNOWN */
    int32_t input_tokens;                                       /* padding left out */
    int32_t cached_tokens;     /* of a prefix cache; LLEM_UNKNOWN */
    int32_t output_tokens;     /* up to and with the first end of sequence */
    const char *finish;        /* "stop", "length", ... ; NULL = unknown */
    const char *output_sha256; /* of the output ids as little-endian int32, 64 hex; NULL = none */
    const int64_t *token_ns;   /* n_token_ns of them; NULL = not timed */
    const int32_t *output_ids; /* output_tokens of them; NULL */
    const char *output_text;   /* UTF-8; NULL unless the pass asks for it and the engine tells */
    size_t n_token_ns;
};

struct llem_engine_step {
    int64_t begin_ns, end_ns;
    int32_t prefill_tokens, decode_tokens, batch;
};

/* Where receipts go. Called by run_inference after its t_end, on its thread. */
struct llem_receipts {
    void (*request)(void *user, const struct llem_receipt *r);
    void (*step)(void *user, const struct llem_engine_step *s);
    void *user;
};

struct llem_inference {
    int64_t t_begin_ns, t_end_ns;        /* both after a device sync, host CLOCK_MONOTONIC */
    int64_t peak_memory_bytes;           /* LLEM_UNKNOWN */
    int64_t input_tokens, output_tokens; /* totals; LLEM_UNKNOWN if only receipts tell */
    /* What each process of an engine with several reports, a list; lives as long as the engine.
     * NULL = it does not tell. */
    const struct llem_value *process_results;
};

struct llem_prompt {
    const char *text;   /* UTF-8; NULL if ids are given */
    const int32_t *ids; /* of `random` datasets: exact token ids to use; NULL */
    size_t n_ids;
};

struct llem_engine_class {
    const char *name, *help;
    bool hidden; /* not listed: the test engine */

    /* Make an engine. Allocates nothing on a device, reads no weights. Failure leaves nothing
     * behind. */
    llem_errcode (*create)(void **self, const struct llem_engine_args *args, llem_error *err);
    const char *(*version)(void *self); /* of its runtime; never NULL */
    /* Problems of this configuration on this machine, one sentence each, as a list of strings;
     * empty if none. Never fails, allocates nothing on a device. */
    struct llem_value *(*check_hardware)(void *self, struct llem_arena *a);
    /* Tokenise, before the window. input_tokens has room for count; *truncated counts the prompts
     * cut to task.max_input_tokens. May be called before load_model. */
    llem_errcode (*load_prompts)(void *self, const struct llem_prompt *prompts, size_t count,
                                 int32_t *input_tokens, int32_t *truncated, llem_error *err);
    /* Make the device context: after the bare baseline, before the load. *devices: list of {kind,
     * uuid, name, pci}; kind "cpu" or "gpu". */
    llem_errcode (*open_device)(void *self, struct llem_arena *a, struct llem_value **devices,
                                llem_error *err);
    /* *loaded: {load_s, devices, model: {...}, effective: {...}, libraries: {...}}. */
    llem_errcode (*load_model)(void *self, struct llem_arena *a, struct llem_value **loaded,
                               llem_error *err);
    /* One prompt, full length; 0.0 opts out of the convergence loop. */
    llem_errcode (*run_warmup_prompt)(void *self, int32_t index, double *latency_ms,
                                      llem_error *err);
    llem_errcode (*synchronize)(void *self, int64_t *t_ns, llem_error *err);
    /* The measured work. Allocates before t_begin, delivers receipts after t_end. */
    llem_errcode (*run_inference)(void *self, const struct llem_pass *pass,
                                  const struct llem_receipts *receipts, struct llem_inference *out,
                                  llem_error *err);
    /* Output tokens since the engine was made, warm-up and all, never less than before;
     * LLEM_UNKNOWN if it cannot tell while it works. For the live line: another thread calls it
     * inside the window, so it reads one atomic and does nothing else. */
    int64_t (*output_so_far)(void *self);
    /* {engine_params: {}, sampling_params: {}}; never fails. */
    struct llem_value *(*capture_observed_params)(void *self, struct llem_arena *a);
    void (*cleanup)(
        void *self); /* give the model's memory back; idempotent; also before any load */
    void (*destroy)(void *self); /* NULL is allowed */
};

/* Defaults for what an engine need not provide. */
struct llem_value *llem_engine_no_errors(void *self, struct llem_arena *a);
llem_errcode llem_engine_cpu_device(void *self, struct llem_arena *a, struct llem_value **devices,
                                    llem_error *err);
llem_errcode llem_engine_host_sync(void *self, int64_t *t_ns, llem_error *err);
int64_t llem_engine_output_unknown(void *self);

extern const struct llem_engine_class llem_engine_cpu;
extern const struct llem_engine_class llem_engine_test;
/* Over a table of the caller's; its name is to be set. */
extern const struct llem_engine_class llem_engine_callbacks;

#endif
