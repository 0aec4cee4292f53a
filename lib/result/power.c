/* SPDX-License-Identifier: MIT
 *
 * Energy from power readings, averaged or instantaneous, and the test that tells whether a counter
 * adds up all energy or only what such readings show.
 */
#include <math.h>
#include <string.h>

#include "lib/result/energy.h"
#include "lib/result/stats.h"

#define MAX_POWER_W 10000.0
#define DEFAULT_AVERAGING_S 1.0 /* of an averaged power whose driver does not say */
#define DEFAULT_PERIOD_S 0.1
#define SETTLED_S 0.3 /* of settled readings needed after an averaging time */

static double seconds(int64_t origin_ns, int64_t t_ns)
{
    return (double)(t_ns - origin_ns) / 1e9;
}

void llem__power_init(struct llem__power *p, struct llem_arena *a, const struct llem__reads *r,
                      const struct llem__window *w, const struct llem__device *d)
{
    double limit_w = d->max_power_w > 0 ? d->max_power_w : MAX_POWER_W;
    double t1_s = seconds(w->t0_ns, w->t1_ns), *gaps;
    size_t last = SIZE_MAX, n = 0;

    memset(p, 0, sizeof(*p));
    p->origin_ns = w->t0_ns;
    p->first_s = p->last_s = p->last_y_w = (double)NAN;
    p->averaging_s = r->averaging_s;
    p->at_s = llem_arena_calloc(a, r->n + 1, sizeof(double));
    p->half_s = llem_arena_calloc(a, r->n + 1, sizeof(double));
    p->y_w = llem_arena_calloc(a, r->n + 1, sizeof(double));
    gaps = llem_arena_calloc(a, r->n + 1, sizeof(double));
    if (!p->at_s || !p->half_s || !p->y_w || !gaps)
        return;
    for (size_t k = 0; k < r->n; k++) {
        double begin_s = seconds(p->origin_ns, r->begin_ns[k]);
        double end_s = seconds(p->origin_ns, r->end_ns[k]), y = (double)r->raw[k] * r->to_si;

        if (r->status[k] != 0) {
            p->n_failed++;
            continue;
        }
        if (!(y >= 0 && y <= limit_w)) {
            p->n_garbage++;
            continue;
        }
        if (last == SIZE_MAX) {
            p->first_s = (begin_s + end_s) / 2;
            p->at_s[p->n] = p->first_s;
            p->half_s[p->n] = (end_s - begin_s) / 2;
            p->y_w[p->n++] = y;
        } else {
            double a_s = seconds(p->origin_ns, r->begin_ns[last]);

            if (begin_s > 0 && a_s < t1_s)
                p->longest_gap_s = fmax(p->longest_gap_s, fmin(begin_s, t1_s) - fmax(a_s, 0));
            if (y != p->y_w[p->n - 1]) {
                p->at_s[p->n] = (a_s + end_s) / 2;
                p->half_s[p->n] = (end_s - a_s) / 2;
                p->y_w[p->n++] = y;
            }
        }
        p->last_s = (begin_s + end_s) / 2;
        p->last_y_w = y;
        last = k;
    }
    for (size_t k = 2; k < p->n; k++)
        gaps[n++] = p->at_s[k] - p->at_s[k - 1];
    p->period_s = n >= 5 ? llem__median(gaps, n) : r->period_s > 0 ? r->period_s : DEFAULT_PERIOD_S;
}

static size_t last_at(const struct llem__power *p, double t_s)
{
    size_t lo = 0, hi = p->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (p->at_s[mid] <= t_s)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

double llem__power_at(const struct llem__power *p, double t_s)
{
    size_t k = last_at(p, t_s);

    return k == SIZE_MAX ? (double)NAN : p->y_w[k];
}

double llem__power_integral(const struct llem__power *p, double from_s, double to_s)
{
    size_t k = last_at(p, from_s);
    double sum = 0, t = from_s;

    if (k == SIZE_MAX)
        return (double)NAN;
    for (; k < p->n && t < to_s; k++) {
        double until = k + 1 < p->n ? fmin(p->at_s[k + 1], to_s) : to_s;

        sum += p->y_w[k] * (until - t);
        t = until;
    }
    return sum;
}

size_t llem__power_means(const struct llem__power *p, struct llem_arena *a, double from_s,
                         double to_s, double bin_s, double **out)
{
    double count = bin_s > 0 ? floor((to_s - from_s) / bin_s) : 0;
    size_t n = count > 0 && count < 1e7 ? (size_t)count : 0;

    *out = llem_arena_calloc(a, n + 1, sizeof(double));
    if (!*out || !(p->first_s <= from_s) || !(p->last_s >= to_s - bin_s))
        return 0;
    for (size_t k = 0; k < n; k++)
        (*out)[k] =
            llem__power_integral(p, from_s + (double)k * bin_s, from_s + (double)(k + 1) * bin_s) /
            bin_s;
    return n;
}

static bool unusable(struct llem__estimate *e, const struct llem__power *p, double t1_s)
{
    e->reason = p->n == 0          ? p->n_garbage  ? "sensor_garbage"
                                     : p->n_failed ? "device_lost"
                                                   : "no_sensor"
                : !(t1_s > 0)      ? "window_too_short"
                : p->last_s < t1_s ? p->n_failed ? "device_lost" : "tail_too_short"
                : p->first_s > 0   ? "head_too_short"
                : p->longest_gap_s > fmax(3 * p->period_s, 0.5) ? "reading_gap"
                                                                : NULL;
    return e->reason != NULL;
}

/* Mean of the settled readings in a span, with its uncertainty; false if the span is too short. */
static bool settled(const struct llem__power *p, struct llem_arena *a, double from_s, double to_s,
                    double *mean_w, double *u_w, double *sd_w)
{
    double *y;
    size_t n;

    if (to_s - from_s < SETTLED_S)
        return false;
    n = llem__power_means(p, a, from_s, to_s, p->period_s, &y);
    if (n < 2)
        return false;
    *mean_w = llem__mean(y, n);
    *u_w = sqrt(llem__variance_of_mean(y, n));
    *sd_w = llem__sd(y, n);
    return true;
}

/*
 * With idle around it, every part of the load is in the readings once, spread over an averaging
 * time and one update: the integral of what was shown, less the idle that came with it. lag_s is
 * how late the readings are in the mean; until_s lies past the last one that the load is in.
 */
static double with_idle_edges(const struct llem__estimate *e, const struct llem__power *p,
                              double t1_s, double lag_s, double until_s)
{
    return llem__power_integral(p, 0, until_s) - e->before_w * lag_s -
           e->after_w * (until_s - t1_s - lag_s);
}

void llem__estimate_average(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__power *p, const struct llem__window *w)
{
    double t1_s = seconds(w->t0_ns, w->t1_ns), head_s = seconds(w->t0_ns, w->head_ns);
    double tail_s = fmin(seconds(w->t0_ns, w->tail_ns), p->last_s), t = p->period_s;
    double avg_s = p->averaging_s > 0 ? p->averaging_s : DEFAULT_AVERAGING_S,
           lag_s = (avg_s + t) / 2;
    double sd_before = 0, sd_after, steps = 0, limit;

    llem__estimate_none(e, LLEM__POWER_AVERAGE);
    if (unusable(e, p, t1_s))
        return;
    if (!settled(p, a, t1_s + avg_s + t, tail_s, &e->after_w, &e->u_after_w, &sd_after)) {
        e->reason = "tail_too_short";
        return;
    }
    if (!settled(p, a, fmax(head_s, p->first_s) + avg_s, 0, &e->before_w, &e->u_before_w,
                 &sd_before)) {
        e->before_w = e->after_w;
        e->u_before_w = e->u_after_w;
    }
    limit = fmax(5, 0.05 * llem__power_integral(p, 0, t1_s) / t1_s);
    if (sd_after > limit || sd_before > limit) {
        /* No idle around it: the averages of the window come late by the lag. */
        double *y;
        size_t n = llem__power_means(p, a, 0, t1_s, t, &y);

        if (n < 2 || t1_s + lag_s > p->last_s) {
            e->reason = n < 2 ? "too_few_samples" : "tail_too_short";
            return;
        }
        e->e_j = llem__power_integral(p, lag_s, t1_s + lag_s);
        e->u_stat_j = llem__sd(y, n) * (avg_s + t) / sqrt(3);
        return;
    }
    e->guard_after_s = tail_s - t1_s;
    e->e_j = with_idle_edges(e, p, t1_s, lag_s, tail_s);
    /* What moves within an update is caught only in the mean: at most a bridge between readings. */
    for (size_t k = 1; k < p->n; k++)
        if (p->at_s[k] > 0 && p->at_s[k] <= t1_s + avg_s + t)
            steps += pow(p->y_w[k] - p->y_w[k - 1], 2);
    e->u_stat_j = sqrt(steps * t * t / 12 + pow(e->u_before_w * lag_s, 2) +
                       pow(e->u_after_w * (tail_s - t1_s - lag_s), 2));
}

void llem__estimate_instant(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__power *p, const struct llem__window *w)
{
    double t1_s = seconds(w->t0_ns, w->t1_ns), head_s = seconds(w->t0_ns, w->head_ns),
           t = p->period_s;
    double tail_s = fmin(seconds(w->t0_ns, w->tail_ns), p->last_s),
           lag_s = (p->averaging_s + t) / 2;
    double until_s = t1_s + p->averaging_s + 4 * t, sd_before, sd_after, mean_w, limit, blind,
           edges;
    double *y, diff2 = 0;
    bool idle;
    size_t n;

    llem__estimate_none(e, LLEM__POWER_INSTANT);
    if (unusable(e, p, t1_s))
        return;
    n = llem__power_means(p, a, 0, t1_s, t, &y);
    if (n < 2) {
        e->reason = "too_few_samples";
        return;
    }
    for (size_t k = 1; k < n; k++)
        diff2 += pow(y[k] - y[k - 1], 2);
    blind = p->averaging_s > 0 ? fmax(0, 1 - p->averaging_s / t) : 1;
    mean_w = llem__mean(y, n);
    limit = fmax(5, 0.05 * mean_w);
    idle = settled(p, a, fmax(head_s, p->first_s), 0, &e->before_w, &e->u_before_w, &sd_before) &&
           settled(p, a, until_s, tail_s, &e->after_w, &e->u_after_w, &sd_after) &&
           sd_before <= limit && sd_after <= limit;
    if (idle) {
        e->e_j = with_idle_edges(e, p, t1_s, lag_s, until_s);
        /* Each edge falls anywhere between two updates. */
        edges = (pow((mean_w - e->before_w) * t, 2) + pow((mean_w - e->after_w) * t, 2)) / 12;
    } else {
        if (t1_s + lag_s > p->last_s) {
            e->reason = "tail_too_short";
            return;
        }
        e->e_j = llem__power_integral(p, lag_s, t1_s + lag_s);
        edges = diff2 / (double)(n - 1) * t * t / 6;
    }
    e->u_stat_j = sqrt(t1_s * t1_s * diff2 / (2 * (double)(n - 1)) * blind / (double)n + edges);
}

void llem__kind_test(struct llem__kind_test *out, struct llem_arena *a,
                     const struct llem__counter *c, const struct llem__power *instant,
                     const struct llem__window *w, const struct llem__device *d)
{
    double t1_s = seconds(w->t0_ns, w->t1_ns), head_s = seconds(w->t0_ns, w->head_ns), *dc, *y[2],
           *sorted;
    double idle_w, busy_w, rho[2] = { (double)NAN, (double)NAN };
    size_t n = 0, kept = 0;

    *out = (struct llem__kind_test){ .kind = LLEM__KIND_UNKNOWN,
                                     .rho = (double)NAN,
                                     .sd_w = (double)NAN };
    if (c->n_good == 0) {
        out->kind = LLEM__KIND_NONE;
        return;
    }
    if (d->integrates) {
        out->kind = LLEM__KIND_INTEGRATES;
        return;
    }
    if (!c->resolved || !instant || instant->n < 2)
        return;
    dc = llem_arena_calloc(a, c->n_ticks + 1, sizeof(*dc));
    sorted = llem_arena_calloc(a, c->n_ticks + 1, sizeof(*sorted));
    y[0] = llem_arena_calloc(a, c->n_ticks + 1, sizeof(**y));
    y[1] = llem_arena_calloc(a, c->n_ticks + 1, sizeof(**y));
    if (!dc || !sorted || !y[0] || !y[1])
        return;
    for (size_t k = 1; k < c->n_ticks; k++) {
        double from = c->ticks[k - 1].tau_s, to = c->ticks[k].tau_s;

        if (from < 0 || to > t1_s)
            continue;
        sorted[n] = dc[n] = (c->ticks[k].c_j - c->ticks[k - 1].c_j) / (to - from);
        /* A counter that adds up samples adds the one shown at its tick, or the one before. */
        y[0][n] = llem__power_at(instant, to + c->ticks[k].half_s);
        y[1][n] = llem__power_at(instant, to - c->ticks[k].half_s);
        if (!isnan(y[0][n]) && !isnan(y[1][n]))
            n++;
    }
    /* Under load only: idle and load apart make any two sensors look alike. */
    idle_w = (llem__counter_at(c, 0) - llem__counter_at(c, fmax(head_s, c->ticks[0].tau_s))) /
             -fmax(head_s, c->ticks[0].tau_s);
    llem__sort(sorted, n);
    busy_w = isfinite(idle_w) ? idle_w + 0.3 * (llem__quantile(sorted, n, 0.9) - idle_w) : 0;
    for (size_t k = 0; k < n; k++) {
        if (dc[k] < busy_w)
            continue;
        dc[kept] = dc[k];
        y[0][kept] = y[0][k];
        y[1][kept++] = y[1][k];
    }
    out->n = kept;
    if (kept < 10)
        return;
    for (int lag = 0; lag < 2; lag++) {
        double sd = llem__sd(y[lag], kept);

        for (size_t k = 0; k < kept; k++)
            sorted[k] = dc[k] - y[lag][k];
        if (lag == 0)
            out->sd_w = sd;
        if (sd > 5)
            rho[lag] = llem__sd(sorted, kept) / sd;
    }
    out->rho = rho[1] <= 0.04 ? fmin(rho[0], rho[1]) : rho[0];
    if (out->rho <= 0.04)
        out->kind = LLEM__KIND_SAMPLES;
    else if (out->rho >= 0.46)
        out->kind = LLEM__KIND_INTEGRATES;
}

const char *llem__counter_kind_name(enum llem__counter_kind k)
{
    switch (k) {
    case LLEM__KIND_INTEGRATES:
        return "integrates";
    case LLEM__KIND_SAMPLES:
        return "samples";
    case LLEM__KIND_UNKNOWN:
        return "unknown";
    case LLEM__KIND_NONE:
        break;
    }
    return "none";
}
