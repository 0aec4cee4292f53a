/* SPDX-License-Identifier: MIT
 *
 * The sampler thread: one thread that reads every opened sensor at absolute deadlines, before,
 * through and after the window. It allocates, locks and logs nothing; what it sees goes into a
 * reserved area, and a few numbers that the harness waits for (temperatures, ticks) into atomics.
 */
#ifndef LLEM_MEASURE_WATCH_H
#define LLEM_MEASURE_WATCH_H

#include "lib/measure/area.h"
#include "lib/sampler/sampler.h"
#include "llem/job.h"

/* How often to read. What a pace means for a sensor follows from what it is (watch.c,
 * docs/harness.md). */
enum llem_pace {
    LLEM_PACE_LOAD,   /* nobody looks: weights are loaded, prompts warmed up */
    LLEM_PACE_STEADY, /* baseline, thermal wait, inside the window */
    LLEM_PACE_ROLL,   /* before and after the window */
    LLEM_PACE_EDGE,   /* about to begin, or just ended */
};

/* A row of `samples`. */
struct llem_sample {
    int64_t begin_ns, end_ns, raw, vendor_ns;
    int32_t status, latency_us;
    uint16_t device, field;
};

/* A sensor that began or ceased to answer; a row of `events` in the making. */
struct llem_fault {
    int64_t t_ns;
    int32_t status; /* LLEM_READ_OK: it answers again */
    uint16_t device, field;
};

/* One opened sampler. */
struct llem_watched {
    const struct llem_sampler_class *class;
    void *self;
    size_t first, n_domains; /* its place among all domains */
    const bool *left_out;    /* domains that are not read, by their index in it; NULL = none */
};

struct llem_watch;

/* What a live line tells of. */
struct llem_live {
    int64_t begin_ns;        /* of the window */
    const uint16_t *domains; /* their watts and the hottest of them; copied */
    size_t n_domains;
    int64_t (*output_so_far)(void *engine); /* of the engine table */
    void *engine;
};

struct llem_watch_opts {
    const struct llem_clock *clock;
    const struct llem_watched *sensors; /* copied */
    size_t n_sensors;
    size_t seconds; /* how long it may run: room is reserved for that */
    void (*event)(void *user, const llem_event *e); /* live lines; NULL = none */
    void *event_user;
};

/* Reserve memory and start the thread, at LLEM_PACE_LOAD. Sensors stay the caller's and open until
 * the watch is stopped. */
llem_errcode llem_watch_start(struct llem_watch **out, const struct llem_watch_opts *opts,
                              llem_error *err);
void llem_watch_pace(struct llem_watch *w, enum llem_pace pace); /* NULL is allowed */
/* Read as at an edge until t_ns, then steadily. */
void llem_watch_edge_until(struct llem_watch *w, int64_t t_ns);
/* Live lines from now on. NULL ends them, after a line that is being told. */
void llem_watch_live(struct llem_watch *w, const struct llem_live *live);
/* Join the thread. Idempotent; NULL is allowed. The rows below may be read afterwards. */
void llem_watch_stop(struct llem_watch *w);
void llem_watch_free(struct llem_watch *w); /* stops; NULL is allowed */

/* Any thread, any time. */
int64_t llem_watch_reads(const struct llem_watch *w,
                         size_t domain); /* calls of read() that answered */
/* How often the domain's counter moved, and when that was last seen. False if it has none. */
bool llem_watch_ticks(const struct llem_watch *w, size_t domain, int64_t *ticks, int64_t *last_ns);
/* The last temperature in degrees Celsius and when it was read; false if there is none. */
bool llem_watch_temperature(const struct llem_watch *w, size_t domain, double *celsius,
                            int64_t *t_ns);
int64_t llem_watch_late(const struct llem_watch *w);   /* deadlines missed by more than 1 ms */
int64_t llem_watch_cpu_ns(const struct llem_watch *w); /* CPU time of the thread so far */

/* The rows so far, which stay where they are and as they are. */
const struct llem_sample *llem_watch_so_far(const struct llem_watch *w, size_t *count);

/* After llem_watch_stop(). */
const struct llem_area *llem_watch_samples(const struct llem_watch *w); /* struct llem_sample */
const struct llem_area *llem_watch_faults(const struct llem_watch *w);  /* struct llem_fault */

/* The first field of a role, or NULL. */
const struct llem_sensor_field *llem_domain_field(const struct llem_domain *d, enum llem_role role);
/* Does the counter move in steps wide enough to be seen one by one (GPUs), so that the time around
 * the window has to be read densely? */
bool llem_domain_ticks(const struct llem_domain *d);
/* The time between two readings of such a sensor at a pace, in ns. */
int64_t llem_watch_period_ns(const struct llem_sampler_class *class, bool ticks,
                             enum llem_pace pace);

#endif
