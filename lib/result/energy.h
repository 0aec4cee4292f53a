/* SPDX-License-Identifier: MIT
 *
 * Energy of one domain over a window, from the raw reads of its fields: the estimators of
 * docs/measurement.md. Arrays in, numbers out; scratch memory comes from the arena handed in.
 */
#ifndef LLEM_RESULT_ENERGY_H
#define LLEM_RESULT_ENERGY_H

#include "lib/base/base.h"

/* Reads of one field of one domain in time order, raw as recorded, failed ones included. */
struct llem__reads {
    size_t n;
    const int64_t *begin_ns, *end_ns, *raw;
    const int32_t *status;
    double to_si;
    double period_s;    /* nominal update period, 0 = not known */
    double averaging_s; /* a power's averaging time, 0 = not known */
    uint64_t modulus;   /* raw units at which a counter wraps, 0 = never */
};

struct llem__window {
    int64_t t0_ns, t1_ns;     /* edges of the work */
    int64_t head_ns, tail_ns; /* begin of the pre-roll, end of the post-roll */
};

/* What else is known of the domain. */
struct llem__device {
    double max_power_w;   /* nothing it does needs more; 0 = not known */
    double power_limit_w; /* of a GPU, 0 = not known */
    double step_period_s; /* of the load, from the engine's steps or tokens; 0 = not known */
    bool integrates;      /* the counter is known to add up all energy (RAPL) */
};

/* A counter's movements. Times are seconds from an origin near the window, energies J from the
 * first read. */
struct llem__tick {
    double tau_s, half_s; /* the tick lies within tau +- half */
    double c_j;           /* the counter's value from here on */
};

struct llem__counter {
    int64_t origin_ns;
    size_t n_ticks, n_good, n_failed, n_garbage;
    struct llem__tick *ticks;
    double first_s, last_s; /* first and last good read */
    double first_j, quantum_j;
    double period_s;     /* learned before the window */
    double resolution_s; /* median width of the interval a tick is known to lie in */
    bool resolved;       /* reads are dense enough to see single ticks */
    const char *broken;  /* reason code: from broken_s on the values are of no use */
    double broken_s;
    /* plain reads, for counters whose ticks are not resolved */
    size_t n_reads;
    double *read_s, *read_half_s, *read_j;
};

/* Unwrap, drop garbage, find ticks, learn the period. Never fails but for memory (arena->oom). */
void llem__counter_init(struct llem__counter *c, struct llem_arena *a, const struct llem__reads *r,
                        const struct llem__window *w, const struct llem__device *d);
/* The counter at a time, by interpolation between ticks (or reads); NaN outside what was read. */
double llem__counter_at(const struct llem__counter *c, double t_s);
/* How well ticks of a span are placed: half the mean width of the intervals they lie in. */
double llem__counter_half(const struct llem__counter *c, double from_s, double to_s);
/* Mean powers between ticks at least bin_s apart within [from, to]. Returns how many; out in the
 * arena. at_s (may be NULL) receives the middles. */
size_t llem__counter_powers(const struct llem__counter *c, struct llem_arena *a, double from_s,
                            double to_s, double bin_s, double **out, double **at_s);

/* A power's updates: reading y holds from at_s until the next. */
struct llem__power {
    int64_t origin_ns;
    size_t n, n_failed, n_garbage;
    double *at_s, *half_s, *y_w;
    double first_s, last_s, last_y_w; /* of all good reads; last value held until last_s */
    double period_s, averaging_s;
    double longest_gap_s; /* between reads inside the window */
};
void llem__power_init(struct llem__power *p, struct llem_arena *a, const struct llem__reads *r,
                      const struct llem__window *w, const struct llem__device *d);
/* The held value at a time; NaN before the first read. */
double llem__power_at(const struct llem__power *p, double t_s);
/* Integral of the held value. */
double llem__power_integral(const struct llem__power *p, double from_s, double to_s);
/* Means of the held value over bins of bin_s within [from, to]. */
size_t llem__power_means(const struct llem__power *p, struct llem_arena *a, double from_s,
                         double to_s, double bin_s, double **out);

/* Mean power over a span in seconds from the origin, and the variance of that mean; false where it
 * holds too little. */
bool llem__counter_span(const struct llem__counter *c, struct llem_arena *a, double from_s,
                        double to_s, double *mean_w, double *variance);
bool llem__power_span(const struct llem__power *p, bool is_average, struct llem_arena *a,
                      double from_s, double to_s, double *mean_w, double *variance);

/* ---- estimates ---------------------------------------------------------------------------- */

enum llem__method {
    LLEM__COUNTER_TICKS,        /* ticks in pre-roll and post-roll, loaded idle taken off */
    LLEM__COUNTER_INTERPOLATED, /* no idle edges: the counter interpolated at t0 and t1 */
    LLEM__COUNTER_DIFFERENCE,   /* ticks too short to see: reads at t0 and t1 */
    LLEM__POWER_AVERAGE,        /* averaged power with a settled tail */
    LLEM__POWER_INSTANT,        /* instantaneous power, centred */
    LLEM__SAMPLER_WINDOW,       /* what a sampler says of a window of its own around the work */
    LLEM__METHOD_COUNT
};
const char *llem__method_name(enum llem__method m);

enum llem__counter_kind {
    LLEM__KIND_NONE,
    LLEM__KIND_INTEGRATES,
    LLEM__KIND_SAMPLES,
    LLEM__KIND_UNKNOWN
};
const char *llem__counter_kind_name(enum llem__counter_kind k);

/* Energy by one method. reason is NULL if there is a value. */
struct llem__estimate {
    enum llem__method method;
    const char *reason;
    double e_j, u_stat_j;                            /* Q: with the decay after t1 */
    double window_j, u_window_j;                     /* over [t0, t1] alone; NaN = not known */
    double before_w, after_w, u_before_w, u_after_w; /* loaded idle around the window; NaN = none */
    double guard_before_s, guard_after_s, half_before_s, half_after_s;
    size_t n_before, n_after; /* ticks used for the loaded idle */
    double u_alias_j;
    bool aliased;
};

struct llem__kind_test {
    enum llem__counter_kind kind;
    double rho, sd_w; /* NaN = could not be computed */
    size_t n;
};
void llem__kind_test(struct llem__kind_test *out, struct llem_arena *a,
                     const struct llem__counter *c, const struct llem__power *instant,
                     const struct llem__window *w, const struct llem__device *d);

/* No figure yet: the method, and NaN for whatever it may find. */
void llem__estimate_none(struct llem__estimate *e, enum llem__method m);

/* By the counter: ticks with idle edges where there are some, interpolation or plain difference
 * else. */
void llem__estimate_counter(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__counter *c, const struct llem__window *w,
                            const struct llem__device *d);
void llem__estimate_average(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__power *p, const struct llem__window *w);
void llem__estimate_instant(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__power *p, const struct llem__window *w);
/* The part of the uncertainty that comes of a counter which may sample instead of integrate; adds
 * it to u_stat_j. averaging_s is how long each sample looks, 0 = not known. */
void llem__estimate_alias(struct llem__estimate *e, struct llem_arena *a,
                          const struct llem__counter *c, enum llem__counter_kind kind,
                          double averaging_s, const struct llem__window *w,
                          const struct llem__device *d);

#endif
