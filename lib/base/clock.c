/* SPDX-License-Identifier: MIT
 *
 * The system's clock, a clock for tests, and times as text.
 */
#include "lib/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * LLEM_NS_PER_S + ts.tv_nsec;
}

static int64_t system_now_ns(void *self)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall_ns(void *self)
{
    return read_clock(CLOCK_REALTIME);
}

static void system_sleep_until_ns(void *self, int64_t t_ns)
{
    struct timespec ts;

    if (t_ns <= 0)
        return;
    ts.tv_sec = (time_t)(t_ns / LLEM_NS_PER_S);
    ts.tv_nsec = (long)(t_ns % LLEM_NS_PER_S);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

const struct llem_clock llem_system_clock = {
    .now_ns = system_now_ns,
    .sleep_until_ns = system_sleep_until_ns,
    .wall_ns = system_wall_ns,
};

static int64_t virtual_now_ns(void *self)
{
    return ((struct llem_virtual_clock *)self)->t_ns;
}

static void virtual_sleep_until_ns(void *self, int64_t t_ns)
{
    struct llem_virtual_clock *v = self;

    if (t_ns > v->t_ns)
        v->t_ns = t_ns;
}

void llem_virtual_clock_init(struct llem_virtual_clock *v, int64_t start_ns)
{
    v->clock = (struct llem_clock){
        .now_ns = virtual_now_ns,
        .sleep_until_ns = virtual_sleep_until_ns,
        .wall_ns = virtual_now_ns,
        .self = v,
    };
    v->t_ns = start_ns;
}

/* Whole seconds and the nanoseconds above them, before 1970 too. */
static struct tm split(int64_t wall_ns, int64_t *ns)
{
    int64_t s = wall_ns / LLEM_NS_PER_S;
    struct tm tm = { 0 };
    time_t t;

    *ns = wall_ns % LLEM_NS_PER_S;
    if (*ns < 0) {
        *ns += LLEM_NS_PER_S;
        s--;
    }
    t = (time_t)s;
    gmtime_r(&t, &tm);
    return tm;
}

void llem_format_utc(char out[40], int64_t wall_ns)
{
    int64_t ns;
    struct tm tm = split(wall_ns, &ns);
    size_t n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);

    snprintf(out + n, 40 - n, ".%06dZ", (int)(ns / 1000));
}

void llem_format_stamp(char out[24], int64_t wall_ns)
{
    int64_t ns;
    struct tm tm = split(wall_ns, &ns);

    strftime(out, 24, "%Y-%m-%dT%H-%M-%S", &tm);
}
