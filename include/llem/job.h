/* SPDX-License-Identifier: MIT
 *
 * Running experiments: as a job that is started, waited for with events, cancelled; or in one call.
 */
#ifndef LLEM_JOB_H
#define LLEM_JOB_H

#include <stdint.h>

#include "llem/config.h"
#include "llem/result.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum llem_event_type {
    LLEM_EVENT_NONE,        /* a wait ran out of time */
    LLEM_EVENT_STARTED,     /* text: the experiment's directory */
    LLEM_EVENT_STEP_START,  /* step, text: what is done */
    LLEM_EVENT_STEP_UPDATE, /* step, text; fraction or -1 */
    LLEM_EVENT_STEP_DONE,   /* step, text: what came of it; elapsed_s */
    LLEM_EVENT_STEP_SKIP,   /* step, text: the sentence; reason: the code */
    LLEM_EVENT_SUBSTEP,     /* step, text, elapsed_s */
    LLEM_EVENT_LIVE,     /* inside the window, at most 4 a second: elapsed_s, power_w, tokens_per_s,
                            temperature_c; NaN = not known */
    LLEM_EVENT_WARNING,  /* reason, text */
    LLEM_EVENT_FINISHED, /* the job is over: call llem_job_result() */
    LLEM_EVENT_ENDED,    /* an experiment of a study is over. reason: its state, completed |
                            failed | timeout | interrupted | skipped; text: what went wrong, or "";
                            elapsed_s, energy_j or, where nothing was measured,
                            energy_estimated_j, tokens_per_s; NaN = not known */
    LLEM_EVENT_PAUSE,    /* before the next. step: gap | cooldown; elapsed_s so far, and the
                            fraction of the pause that this is */
} llem_event_type;

/* Strings are borrowed until the next wait on the same job. */
typedef struct llem_event {
    llem_event_type type;
    const char *step;   /* baseline, model, prompts, warmup, thermal_floor, energy_select, measure,
                           flops,   save, preflight; "" if none */
    const char *text;   /* never NULL */
    const char *reason; /* a reason code; "" if none */
    double elapsed_s, fraction, power_w, tokens_per_s, temperature_c, energy_j, energy_estimated_j;
    int run, n_runs; /* of a study: which of how many runs it is about, from 1; 0 = none */
} llem_event;

typedef void (*llem_progress_fn)(void *user, const llem_event *event);

/* One run of a study, by what it measures. */
typedef struct llem_run_key {
    const char *config_hash; /* measurement_config_hash, 16 hex digits */
    int cycle;               /* from 1 */
} llem_run_key;

/* How to run an experiment or a study. Zero-initialise, set size. */
typedef struct llem_run_opts {
    size_t size;
    const char *
        output_dir; /* results go to <output_dir>/study_<UTC>/...; NULL: as configured, ./results */
    int skip_preflight; /* do not ask the engine whether the hardware suffices (its check_hardware);
                           that model, prompts and output directory are there is checked still */
    int quick;          /* measurement.quick; of a study it is a setting of its plan */
    double timeout_s;   /* of each experiment; 0 = as configured (600 s) */
    /* Of a study: */
    int resume; /* go on with the newest unfinished study of the results directory; one of the same
                   design before others */
    const char *resume_dir;   /* go on with this one; wins over resume */
    int accept_drift;         /* though what is to be measured has changed since */
    int no_lock;              /* do not lock boards */
    const llem_run_key *skip; /* runs to leave out; borrowed until the job is freed */
    size_t n_skip;
} llem_run_opts;

typedef struct llem_job llem_job;

/* Start the experiment in a process of its own. The configuration is borrowed until
 * llem_job_free(). */
LLEM_API llem_errcode llem_job_start(llem_job **out, llem_ctx *ctx, const llem_config *config,
                                     const llem_run_opts *opts, llem_error *err);
/* The next event, or LLEM_EVENT_NONE after timeout_s (negative: wait for ever). */
LLEM_API llem_errcode llem_job_wait(llem_job *job, double timeout_s, llem_event *event,
                                    llem_error *err);
/* Stop: the first call asks the experiment to clean up, a second ends it at once. Safe from any
 * thread; not from a signal handler. */
LLEM_API void llem_job_cancel(llem_job *job);
/* After LLEM_EVENT_FINISHED: the result (the caller's, llem_result_free()), or why there is none.
 * Of a job of several runs it is the study's, study_result.json, and there is one however the runs
 * ended. */
LLEM_API llem_errcode llem_job_result(llem_job *job, llem_result **out, llem_error *err);
/* How a job of several runs ended: "completed", "failed", "interrupted", "timed_out" or
 * "circuit_breaker"; after LLEM_EVENT_FINISHED. Static. */
LLEM_API const char *llem_job_status(llem_job *job);
/* The experiment's directory, of a job of several runs the study's. Borrowed. */
LLEM_API const char *llem_job_dir(const llem_job *job);
/* The study's directory, of a single experiment too. Borrowed. */
LLEM_API const char *llem_job_study_dir(const llem_job *job);
/* What is known of a run of a job from its start on. Strings are borrowed. */
typedef struct llem_run_info {
    size_t size;       /* set it to sizeof(llem_run_info) */
    const char *label; /* what it measures: "gpt2 / cpu / batch_size=4" */
    int experiment;    /* the number of its experiment, as declared, from 1 */
    int cycle;         /* from 1 */
    double pause_s;    /* before it */
    /* How an earlier job of the study ended it, as LLEM_EVENT_ENDED says it; "" = it is to do. */
    const char *state;
    double elapsed_s, energy_j, energy_estimated_j, tokens_per_s;
} llem_run_info;

/* How many runs it has, those that are done already too. */
LLEM_API int llem_job_runs(const llem_job *job);
/* Of run 1 to llem_job_runs(); LLEM_EINVAL: there is no such run. In constant time, and while the
 * job runs. */
LLEM_API llem_errcode llem_job_run_info(const llem_job *job, int run, llem_run_info *info);
/* Cancels what still runs. NULL is allowed. */
LLEM_API void llem_job_free(llem_job *job);

/*
 * run_experiment of the seeds. Three forms: config_path; config; or model with the fields below it.
 * Zero-initialise, set size. Blocks until the experiment is over.
 */
typedef struct llem_experiment_args {
    size_t size;
    const char *config_path;
    const llem_config *config;
    const char *model;
    const char *engine;  /* NULL: transformers */
    int n_prompts;       /* 0: 100 */
    const char *dataset; /* NULL: aienergyscore */
    int skip_preflight;  /* as in llem_run_opts */
    llem_progress_fn progress;
    void *progress_user;
    const char *output_dir;
    const llem_setting *settings; /* further fields: **kwargs */
    size_t n_settings;
} llem_experiment_args;

LLEM_API llem_errcode llem_run_experiment(llem_result **out, llem_ctx *ctx,
                                          const llem_experiment_args *args, llem_error *err);

/*
 * Energy of anything: the same window, samplers and result without an engine. Either argv (run with
 * the caller's standard streams, in a process group of its own unless the caller is in the
 * foreground of a terminal, which the command then shares; *wstatus receives its raw wait status)
 * or for_s. Blocks; results are written to output_dir, or ./results/measure_<UTC>.
 */
typedef struct llem_measure_args {
    size_t size;
    const char *const *argv; /* NULL-terminated; NULL: for_s */
    double for_s;
    const char *output_dir;
    const char *gpus; /* "0,2", UUIDs separated by commas, "all"; NULL: CPU package + DRAM */
    int quick;
    llem_progress_fn progress; /* in the calling thread; now and then with LLEM_EVENT_NONE, so that
                                  a display can move */
    void *progress_user;
    const volatile int
        *cancel; /* NULL, or how often to stop: 1 ends the command (or the span) and still
                    measures it, or gives up where it has not begun; 2 ends all at once */
} llem_measure_args;

LLEM_API llem_errcode llem_measure(llem_result **out, llem_ctx *ctx, const llem_measure_args *args,
                                   int *wstatus, llem_error *err);

/*
 * The same around a part of the caller's own program. Open returns inside the window; close ends
 * it, waits for what has to be read after it (some seconds, by the sensors), and gives the result.
 * Any number may be open at once, nested or overlapping: each has its own sensors and directory.
 * The caller waits for its devices before either call. One window is used by one thread at a time,
 * and its context by nobody else until it is closed.
 */
typedef struct llem_window llem_window;

/* Zero-initialise, set size. */
typedef struct llem_window_args {
    size_t size;
    const char *name;       /* begins the directory's name below ./results; NULL: "window" */
    const char *output_dir; /* as in llem_measure_args; NULL: ./results/<name>_<UTC> */
    const char *gpus;       /* as there */
    int baseline; /* not 0: measure the idle machine first, as long as configured; 0: there is no
                     energy_adjusted_j, and the window begins after its pre-roll */
    int quick;
    llem_progress_fn progress; /* as there, in the thread that opens or closes */
    void *progress_user;
    const volatile int *cancel; /* NULL, or not 0 to give up waiting, in open and in close */
} llem_window_args;

/* What args point to is borrowed until the window is closed. */
LLEM_API llem_errcode llem_window_open(llem_window **out, llem_ctx *ctx,
                                       const llem_window_args *args, llem_error *err);
/* The window is freed, whatever comes of it. *out (may be NULL) is the caller's on success. */
LLEM_API llem_errcode llem_window_close(llem_window *w, llem_result **out, llem_error *err);

/* What the hidden command `llem experiment DIR` runs: the harness, in this thread, writing events
 * as JSON lines to event_fd (-1 = none). Cancelled when *cancel becomes not 0. */
LLEM_API llem_errcode llem_experiment_main(llem_ctx *ctx, const char *dir, int event_fd,
                                           const volatile int *cancel, llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
