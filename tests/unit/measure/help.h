/* SPDX-License-Identifier: MIT
 *
 * What the tests of the harness share: virtual time for several threads, sensors that read a
 * simulated machine whose truth is known, an engine that tells that machine when it works, and the
 * recording read back.
 */
#ifndef LLEM_TEST_MEASURE_HELP_H
#define LLEM_TEST_MEASURE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/measure/harness.h"
#include "lib/result/recording.h"

#define S LLEM_NS_PER_S

/* ---- virtual time ------------------------------------------------------------------------- */

/*
 * Time stands still while any thread that ever asked for it runs, and goes on to the next deadline
 * when all of them sleep. A thread belongs to it from its first call until it ends.
 */
const struct llem_clock *test_clock_new(int64_t start_ns);
void test_clock_free(void);
int64_t test_clock_now(void);

/* ---- a simulated machine ------------------------------------------------------------------ */

enum { SIM_GPUS = 2 };

struct sim {
    const struct llem_clock *clock;
    double idle_w, load_w;
    double limit_w;                       /* only told, by every sensor */
    double tick_s;                        /* of the GPU's counter */
    _Atomic int64_t work_begin, work_end; /* the engine at work; 0 = not yet */
    double hot_c, cool_c, cooling_s;      /* temperature falls from hot to cool from t = 0 on */
    int64_t cooling_from;
    /* Faults of GPU 0 between two times. */
    enum { SIM_SOUND, SIM_VANISH, SIM_STICK, SIM_RESET, SIM_GARBAGE } fault;
    double fault_after_s, fault_for_s; /* counted from the begin of the work */
    /* What happened. */
    int gpu_open, gpu_closed, cpu_open, cpu_closed;
    _Atomic int reads;
    bool no_gpu, no_cpu, cpu_denied;
    const char *pid_of_gpu;
};
extern struct sim sim;
void sim_reset(const struct llem_clock *clock);
double sim_power(double t_s);
/* True joules of one device from t0 to t1, in seconds of the clock. */
double sim_energy(double t0_s, double t1_s);

extern const struct llem_sampler_class sim_gpu;      /* counter with ticks, power, temperature */
extern const struct llem_sampler_class sim_package;  /* a counter of 1 ms: package and DRAM */
extern const struct llem_sampler_class sim_estimate; /* 10 Hz, no rolls */
extern const struct llem_sampler_class *const sim_all[];
extern const struct llem_sampler_class *const sim_cpu_only[];
extern const struct llem_sampler_class *const sim_estimate_only[];
extern const struct llem_sampler_class *const sim_none[];

/* The test engine, which also tells `sim` when it works and counts calls. */
struct engine_calls {
    int create, cleanup, destroy, load, inference, warmup;
    bool gpus;                                        /* says it works on GPU-1 */
    atomic_int *cancel_in_probe, *cancel_in_observed; /* set when it is called; NULL = none */
};
extern struct engine_calls calls;
extern const struct llem_engine_class sim_engine;

/* ---- running it --------------------------------------------------------------------------- */

struct run {
    llem_ctx *ctx;
    char dir[64];
    struct llem_arena arena;
    struct llem_value *experiment;
    struct llem_measurement m;
    atomic_int cancel;
    llem_error err;
    /* Events seen. */
    char steps[4096]; /* "+baseline -baseline ~thermal_floor:no_temperature " */
    const char *cancel_at;
    int lives, warnings;
    double last_power_w, last_temperature_c, last_tokens_per_s;
    int64_t told_ns, silence_ns; /* the last event; the longest time between two */
    int64_t canceled_at_ns, first_live_ns, last_live_ns, live_gap_ns;
};
/* A run of three prompts with sensible settings; set() changes them. */
void run_init(struct run *r, const struct llem_clock *clock,
              const struct llem_sampler_class *const *samplers);
void run_set(struct run *r, const char *path, const char *json);     /* in config */
void run_set_top(struct run *r, const char *path, const char *json); /* in experiment.json */
llem_errcode run_it(struct run *r);
void run_done(struct run *r);
/* The recording; fails the test if it cannot be read. */
void run_open(struct run *r, struct llem_recording *recording);
/* A step of the recording. */
const struct llem_value *step_of(const struct llem_recording *recording, const char *name);
/* The index of a domain by its id. */
int domain_of(const struct llem_recording *recording, const char *id);

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' does not contain '%s'", (text), (part));                                \
    } while (0)
#define assert_near(a, b, tolerance)                                                               \
    do {                                                                                           \
        double a_ = (a), b_ = (b);                                                                 \
        if (!(a_ - b_ <= (tolerance) && b_ - a_ <= (tolerance)))                                   \
            fail_msg("%s is %.9g, not %.9g", #a, a_, b_);                                          \
    } while (0)

#endif
