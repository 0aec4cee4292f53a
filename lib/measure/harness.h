/* SPDX-License-Identifier: MIT
 *
 * The inside of the harness: one struct that the steps share, and what they offer each other.
 */
#ifndef LLEM_MEASURE_HARNESS_H
#define LLEM_MEASURE_HARNESS_H

#include "lib/measure/dataset.h"
#include "lib/measure/environment.h"
#include "lib/measure/measure.h"
#include "lib/measure/watch.h"

#define LLEM_MS INT64_C(1000000)

/* Times of the method, in seconds; docs/harness.md says where each comes from. */
#define LLEM_QUICK_BASELINE_S 2.0
#define LLEM_SPOT_S 5.0 /* of a baseline that is checked */
#define LLEM_QUICK_THERMAL_S 2.0
#define LLEM_ROLL_S 2.0    /* before and after the window, at least */
#define LLEM_ROLL_TICKS 10 /* ticks of each charged counter before the window, at least */
#define LLEM_LONGEST_PREROLL_S 8.0
#define LLEM_LONGEST_POSTROLL_S 30.0
#define LLEM_ALIVE_S 5.0         /* at most this long without a word while an engine is at work */
#define LLEM_EDGE_S 0.050        /* dense reading around an edge */
#define LLEM_SETTLE_S 10.0       /* the temperature is looked at over this long */
#define LLEM_SETTLED_C 1.0       /* and may move by this much in it */
#define LLEM_WATCH_S (12 * 3600) /* readings are kept for this long at ordinary rates */

/* One sampler of the table, used or not. */
struct llem_sensor {
    const struct llem_sampler_class *class;
    struct llem_probe probe;
    void *self; /* not NULL: open */
    bool opened;
    const struct llem_domain *domains; /* borrowed from the open sampler */
    size_t n_domains, first;           /* place among all domains */
    char reason[32], text[256];        /* why it was not opened, or what was found */
    bool charged;
    char charged_text[256];      /* why, or why not */
    struct llem_value *describe; /* made before it is closed */
    bool *left_out;              /* domains that a better one reads; NULL = none */
    struct llem_value *window;   /* of its own, open; NULL = none */
    bool window_lost;
};

/* A row of `events`. */
struct llem_event_row {
    int64_t t_ns;
    char kind[32], text[216];
};

/* A row of `requests`, with room for its texts. */
struct llem_request_row {
    struct llem_receipt r; /* pointers are not valid */
    char finish[24], output_sha256[65];
};

struct llem_token_row {
    int64_t t_ns;
    int32_t request;
};

struct llem_harness {
    const struct llem_measurement *m;
    llem_ctx *ctx;
    const struct llem_clock *clock;
    const struct llem_value *experiment, *config;
    llem_errcode (*work)(void *user,
                         llem_error *err); /* of llem_measure_work(); NULL = an engine */
    void *work_user;
    bool quick, saving;
    char recording_dir[4096];
    int64_t started_wall_ns;
    struct llem_arena arena; /* of the recording's tree */

    /* The step that is running; what it has to say when it is done. */
    const char *step;
    int64_t step_begin_ns;
    char note[256];
    /* What was last said of it, and when, so that whoever listens hears of long work now and then.
     */
    int64_t told_ns;
    char told_text[200];
    double told_fraction;
    bool inside; /* the window: the sampler's live lines speak */

    /* The engine. */
    void *engine;
    bool needs_cleanup;
    struct llem_dataset dataset;
    int32_t *input_tokens, *indices;
    int32_t truncated;
    const char *save_outputs;
    struct llem_buf outputs; /* lines of outputs.jsonl */
    struct llem_value *devices, *loaded, *observed;
    struct llem_value *model_config; /* config.json; NULL = there is none, or it cannot be read */

    /* Sensors. */
    struct llem_sensor *sensors;
    size_t n_sensors, n_domains;
    bool sensors_wanted; /* false: measurement.energy_sampler is null */
    struct llem_watch *watch;
    const struct llem_sensor *charged;
    uint16_t *charged_domains;
    size_t n_charged;
    const char *charged_reason;
    struct llem_environment *collector;
    struct llem_value *environment;

    /* What is written down. */
    struct llem_area requests, steps_run, tokens, events;
    struct llem_value *domains, *steps, *baseline, *warmup, *thermal, *window, *passes, *totals;
    struct llem_value *pairs, *snapshots, *cpu, *cost, *warnings, *observations, *sampler_windows;
    int64_t last_pair_ns;
    int64_t window_begin_ns, window_end_ns; /* for the sampler's cost */
    int64_t window_cpu_ns, window_late;
};

/* ---- harness.c ---------------------------------------------------------------------------- */

bool llem_harness_canceled(const struct llem_harness *h);
/* Sleep until t_ns, looking at the cancel flag 20 times a second. */
llem_errcode llem_harness_sleep_until(struct llem_harness *h, int64_t t_ns, llem_error *err);
/* task.model, resolved against its file: a path or a hub id. */
const char *llem_harness_model(const struct llem_harness *h);
__attribute__((format(printf, 2, 3))) void llem_harness_note(struct llem_harness *h,
                                                             const char *fmt, ...);
/* A row of `events`; kind and text are cut to fit. Not from the sampler thread. */
__attribute__((format(printf, 4, 5))) void
llem_harness_event(struct llem_harness *h, int64_t t_ns, const char *kind, const char *fmt, ...);
/* A warning: into the recording and to whoever watches. */
__attribute__((format(printf, 3, 4))) void
llem_harness_warn(struct llem_harness *h, const char *reason, const char *fmt, ...);
/* Tell whoever watches; never inside the window. */
void llem_harness_tell(struct llem_harness *h, llem_event_type type, const char *text,
                       const char *reason, double elapsed_s, double fraction);
/* Work goes on (a harness): tells it where nothing else was told for a while. */
void llem_harness_alive(void *user);
/* A MONOTONIC/REALTIME pair, at most one a second. */
void llem_harness_pair(struct llem_harness *h);
struct llem_value *llem_span(struct llem_harness *h, int64_t begin_ns, int64_t end_ns);
/* Run prompts through the engine as a pass and keep its receipts. */
llem_errcode llem_harness_pass(struct llem_harness *h, const struct llem_pass *pass,
                               struct llem_inference *out, llem_error *err);

/* ---- sensors.c ---------------------------------------------------------------------------- */

llem_errcode llem_sensors_probe(struct llem_harness *h, llem_error *err);
/* Open what the configuration asks for and start the sampler thread. */
llem_errcode llem_sensors_open(struct llem_harness *h, llem_error *err);
/* Are the GPUs there that `llem measure` was told to charge? Before anybody has waited. */
llem_errcode llem_sensors_check_gpus(const struct llem_harness *h, llem_error *err);
/* Is a sensor open whose joules may be called measured? */
bool llem_sensors_measure(const struct llem_harness *h);
/* Decide what is charged. */
llem_errcode llem_sensors_select(struct llem_harness *h, llem_error *err);
/* Stop the thread, write down what the sensors are, close them. Idempotent. */
void llem_sensors_close(struct llem_harness *h);
struct llem_value *llem_sensors_snapshot(struct llem_harness *h);
/* Around the window and the baseline, for samplers that have windows of their own and nothing to
 * read: what they say, by their names. One that fails is recorded with the reason. */
void llem_sensors_window_begin(struct llem_harness *h);
struct llem_value *llem_sensors_window_end(struct llem_harness *h);
/* The domains that belong to what the work runs on, whichever sensor reads them. */
bool llem_sensors_concerns(const struct llem_harness *h, const struct llem_domain *d);
const struct llem_domain *llem_sensors_domain(const struct llem_harness *h, size_t index);
struct llem_value *llem_sensors_json(struct llem_harness *h);
struct llem_value *llem_sensors_charged_json(struct llem_harness *h);

/* ---- baseline.c ---------------------------------------------------------------------------- */

const char *llem_baseline_skip(const struct llem_harness *h);
/* Idle power: measured, or taken over from an earlier run of the study. */
llem_errcode llem_baseline_run(struct llem_harness *h, llem_error *err);

/* ---- warmup.c ----------------------------------------------------------------------------- */

/* Population coefficient of variation of the last k of n values; 0 if their mean is not positive.
 */
double llem_last_cv(const double *values, size_t n, size_t k);
llem_errcode llem_warmup_run(struct llem_harness *h, llem_error *err);
llem_errcode llem_warmup_batch(struct llem_harness *h, llem_error *err);
const char *llem_thermal_skip(const struct llem_harness *h);
llem_errcode llem_thermal_wait(struct llem_harness *h, llem_error *err);

/* ---- window.c ----------------------------------------------------------------------------- */

llem_errcode llem_window_run(struct llem_harness *h, llem_error *err);
/* Busy and total time of all CPUs in seconds, from /proc/stat; false if it cannot be read. */
bool llem_machine_cpu(double *busy_s, double *total_s);
/* What reading cost and missed, from the samples: after llem_watch_stop(), before the sensors are
 * closed. */
void llem_window_cost(struct llem_harness *h);

/* ---- recorder.c --------------------------------------------------------------------------- */

/* Write the columns and recording.json (partial: recording.partial.json instead). */
llem_errcode llem_recorder_write(struct llem_harness *h, bool partial, llem_error *err);

#endif
