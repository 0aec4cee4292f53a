/* SPDX-License-Identifier: MIT
 *
 * Time as a thing one is handed, so that tests and simulations run in virtual time. All times are
 * int64_t nanoseconds of CLOCK_MONOTONIC; wall-clock time is metadata.
 */
#ifndef LLEM_BASE_CLOCK_H
#define LLEM_BASE_CLOCK_H

#include "lib/base/base.h"

struct llem_clock {
    int64_t (*now_ns)(void *self);                    /* any thread, no allocation */
    void (*sleep_until_ns)(void *self, int64_t t_ns); /* absolute; returns at once if past; may
                                                         return early on a signal */
    int64_t (*wall_ns)(void *self);                   /* CLOCK_REALTIME, ns since the epoch */
    void *self;
};

extern const struct llem_clock llem_system_clock;

static inline int64_t llem_now_ns(const struct llem_clock *c)
{
    return c->now_ns(c->self);
}

/* A clock that stands still until somebody sleeps; for tests. Single-threaded. */
struct llem_virtual_clock {
    struct llem_clock clock; /* pass &v.clock on */
    int64_t t_ns;
};
void llem_virtual_clock_init(struct llem_virtual_clock *v, int64_t start_ns);

/* "2026-01-31T12:00:00.123456Z" */
void llem_format_utc(char out[40], int64_t wall_ns);
/* "2026-01-31T12-00-00", for directory names */
void llem_format_stamp(char out[24], int64_t wall_ns);

#endif
