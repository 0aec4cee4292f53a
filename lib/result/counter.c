/* SPDX-License-Identifier: MIT
 *
 * Energy from a cumulative counter: unwrapping, ticks, and the three ways to place the window's
 * edges.
 */
#include <math.h>
#include <string.h>

#include "lib/result/energy.h"
#include "lib/result/stats.h"

/* What a domain cannot exceed when nothing is known of it: no board or socket of today takes 10 kW.
 */
#define MAX_POWER_W 10000.0
/* How long implausible values may last and still be taken for garbage rather than a reset. */
#define GARBAGE_S 1.0
/* Ticks needed for a loaded idle, and to see whether it changes. */
enum { MIN_TICKS = 3, MIN_TICKS_SLOPE = 10 };

const char *llem__method_name(enum llem__method m)
{
    static const char *const names[LLEM__METHOD_COUNT] = {
        [LLEM__COUNTER_TICKS] = "counter_ticks",
        [LLEM__COUNTER_INTERPOLATED] = "counter_interpolated",
        [LLEM__COUNTER_DIFFERENCE] = "counter_difference",
        [LLEM__POWER_AVERAGE] = "power_average",
        [LLEM__POWER_INSTANT] = "power_instant",
        [LLEM__SAMPLER_WINDOW] = "sampler_window",
    };

    return names[m];
}

static double seconds(int64_t origin_ns, int64_t t_ns)
{
    return (double)(t_ns - origin_ns) / 1e9;
}

/* Energy from one raw value to a later one in raw units; negative = it went back. */
static double advance(const struct llem__reads *r, int64_t from, int64_t to)
{
    uint64_t d;

    if (to >= from)
        return (double)((uint64_t)to - (uint64_t)from);
    d = (uint64_t)from - (uint64_t)to;
    return r->modulus && d <= r->modulus ? (double)(r->modulus - d) : -1;
}

static bool is_value(const struct llem__reads *r, size_t k)
{
    return r->raw[k] >= 0 && (!r->modulus || (uint64_t)r->raw[k] <= r->modulus);
}

/* May the counter have moved by raw units since its last change at or after since_ns? */
static bool plausible(const struct llem__reads *r, double raw, int64_t since_ns, size_t k,
                      const struct llem__device *d)
{
    double limit_w = d->max_power_w > 0 ? d->max_power_w : MAX_POWER_W;
    /* A counter may hold back energy for a period before it shows it. */
    double slack_s = r->period_s > 0 ? 2 * r->period_s : 0.2;

    return raw >= 0 && raw * r->to_si <= limit_w * (seconds(since_ns, r->end_ns[k]) + slack_s);
}

/* After read k made no sense against read `last`: does a later one, soon enough? */
static bool recovers(const struct llem__reads *r, size_t last, int64_t since_ns, size_t k,
                     const struct llem__device *d)
{
    for (size_t m = k + 1; m < r->n && seconds(r->begin_ns[k], r->begin_ns[m]) <= GARBAGE_S; m++)
        if (r->status[m] == 0 && is_value(r, m) &&
            plausible(r, advance(r, r->raw[last], r->raw[m]), since_ns, m, d))
            return true;
    return false;
}

/* From the pre-roll, where reads are densest and nothing moves; from all before the window if that
 * holds too few ticks. Not from the window: under load the driver may hold ticks back. */
static void learn_period(struct llem__counter *c, struct llem_arena *a, const struct llem__reads *r,
                         double head_s)
{
    double *gaps = llem_arena_calloc(a, c->n_ticks + 1, sizeof(*gaps));
    double *widths = llem_arena_calloc(a, c->n_ticks + 1, sizeof(*widths));
    size_t n = 0, first = 0, before = 0;

    if (!gaps || !widths || c->n_ticks < 2)
        return;
    while (before < c->n_ticks && c->ticks[before].tau_s <= 0)
        before++;
    while (first < before && c->ticks[first].tau_s < head_s)
        first++;
    if (before - first < 10)
        first = 0;
    if (before < 4)
        before = c->n_ticks;
    for (size_t k = first; k < before; k++) {
        widths[k - first] = 2 * c->ticks[k].half_s;
        if (k > first)
            gaps[n++] = c->ticks[k].tau_s - c->ticks[k - 1].tau_s;
    }
    c->period_s = llem__median(gaps, n);
    c->resolution_s = llem__median(widths, before - first);
    c->resolved = c->period_s >= 4 * c->resolution_s;
    if (!c->resolved && r->period_s > 0 && r->period_s < c->period_s)
        c->period_s = r->period_s; /* what was learned is how often we looked */
}

void llem__counter_init(struct llem__counter *c, struct llem_arena *a, const struct llem__reads *r,
                        const struct llem__window *w, const struct llem__device *d)
{
    size_t last = SIZE_MAX, cap = r->n + 1;
    int64_t since_ns = 0;

    memset(c, 0, sizeof(*c));
    c->origin_ns = w->t0_ns;
    c->quantum_j = r->to_si;
    c->first_s = c->last_s = (double)NAN;
    c->ticks = llem_arena_calloc(a, cap, sizeof(*c->ticks));
    c->read_s = llem_arena_calloc(a, cap, sizeof(double));
    c->read_half_s = llem_arena_calloc(a, cap, sizeof(double));
    c->read_j = llem_arena_calloc(a, cap, sizeof(double));
    if (!c->ticks || !c->read_s || !c->read_half_s || !c->read_j)
        return;

    for (size_t k = 0; k < r->n; k++) {
        double begin_s = seconds(c->origin_ns, r->begin_ns[k]);
        double end_s = seconds(c->origin_ns, r->end_ns[k]), moved = 0, value_j;

        if (r->status[k] != 0) {
            c->n_failed++;
            continue;
        }
        if (!is_value(r, k)) {
            c->n_garbage++;
            continue;
        }
        if (last == SIZE_MAX) {
            since_ns = r->begin_ns[k];
            c->first_s = begin_s;
        } else {
            moved = advance(r, r->raw[last], r->raw[k]);
            if (!plausible(r, moved, since_ns, k, d)) {
                if (recovers(r, last, since_ns, k, d)) {
                    c->n_garbage++;
                    continue;
                }
                /* What lies before the pre-roll does no harm: begin anew here. */
                if (r->end_ns[k] <= w->head_ns) {
                    c->n_ticks = c->n_reads = 0;
                    c->first_j = c->last_s = 0;
                    moved = 0;
                    since_ns = r->begin_ns[k];
                    c->first_s = begin_s;
                } else {
                    c->broken = r->raw[k] < r->raw[last] ? "counter_reset" : "counter_jump";
                    c->broken_s = begin_s;
                    break;
                }
            }
        }
        value_j = (c->n_reads ? c->read_j[c->n_reads - 1] : 0) + moved * r->to_si;
        if (moved > 0) {
            double a_s = seconds(c->origin_ns, r->begin_ns[last]);

            c->ticks[c->n_ticks++] =
                (struct llem__tick){ (a_s + end_s) / 2, (end_s - a_s) / 2, value_j };
            since_ns = r->begin_ns[last];
        }
        c->read_s[c->n_reads] = (begin_s + end_s) / 2;
        c->read_half_s[c->n_reads] = (end_s - begin_s) / 2;
        c->read_j[c->n_reads++] = value_j;
        c->n_good++;
        c->last_s = end_s;
        last = k;
    }
    learn_period(c, a, r, seconds(c->origin_ns, w->head_ns));
}

/* Index of the last tick (or read) at or before t; SIZE_MAX if there is none. */
static size_t last_at(const struct llem__counter *c, double t_s)
{
    size_t lo = 0, hi = c->resolved ? c->n_ticks : c->n_reads;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if ((c->resolved ? c->ticks[mid].tau_s : c->read_s[mid]) <= t_s)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

static double point_s(const struct llem__counter *c, size_t k)
{
    return c->resolved ? c->ticks[k].tau_s : c->read_s[k];
}

static double point_j(const struct llem__counter *c, size_t k)
{
    return c->resolved ? c->ticks[k].c_j : c->read_j[k];
}

double llem__counter_at(const struct llem__counter *c, double t_s)
{
    size_t k = last_at(c, t_s), n = c->resolved ? c->n_ticks : c->n_reads;
    double a_s, b_s;

    if (k == SIZE_MAX)
        return (double)NAN;
    if (k + 1 >= n)
        return point_s(c, k) == t_s ? point_j(c, k) : (double)NAN;
    a_s = point_s(c, k);
    b_s = point_s(c, k + 1);
    if (!(b_s > a_s))
        return point_j(c, k);
    return point_j(c, k) + (point_j(c, k + 1) - point_j(c, k)) * (t_s - a_s) / (b_s - a_s);
}

double llem__counter_half(const struct llem__counter *c, double from_s, double to_s)
{
    double sum = 0;
    size_t n = 0;

    if (!c->resolved)
        return c->period_s / 2;
    for (size_t k = 0; k < c->n_ticks; k++) {
        if (c->ticks[k].tau_s >= from_s && c->ticks[k].tau_s <= to_s) {
            sum += c->ticks[k].half_s;
            n++;
        }
    }
    return n ? sum / (double)n : c->resolution_s / 2;
}

size_t llem__counter_powers(const struct llem__counter *c, struct llem_arena *a, double from_s,
                            double to_s, double bin_s, double **out, double **at_s)
{
    size_t n = c->resolved ? c->n_ticks : c->n_reads, found = 0, start = SIZE_MAX;
    double *y = llem_arena_calloc(a, n + 1, sizeof(*y));
    double *at = llem_arena_calloc(a, n + 1, sizeof(*at));

    *out = y;
    if (at_s)
        *at_s = at;
    if (!y || !at)
        return 0;
    for (size_t k = 0; k < n; k++) {
        double t = point_s(c, k);

        if (t < from_s)
            continue;
        if (t > to_s)
            break;
        if (start == SIZE_MAX) {
            start = k;
        } else if (t - point_s(c, start) >= bin_s && t > point_s(c, start)) {
            y[found] = (point_j(c, k) - point_j(c, start)) / (t - point_s(c, start));
            at[found++] = (t + point_s(c, start)) / 2;
            start = k;
        }
    }
    return found;
}

/* ---- the window --------------------------------------------------------------------------- */

/* Both ends lie somewhere within a tick's place, or within a read. */
static bool span_is_known(double *variance, double mean_w, double half_s, double span_s)
{
    *variance += 2 * pow(mean_w * fmax(half_s, 1e-6) / span_s, 2) / 3;
    return isfinite(mean_w) && isfinite(*variance);
}

bool llem__counter_span(const struct llem__counter *c, struct llem_arena *a, double from_s,
                        double to_s, double *mean_w, double *variance)
{
    double *y, *at, width, first_s, last_s, whole_w;
    size_t n = llem__counter_powers(c, a, from_s, to_s,
                                    fmax(c->period_s * 0.5, c->resolved ? 0 : 0.1), &y, &at);

    if (n < 2)
        return false;
    width = (at[n - 1] - at[0]) * (double)n / (double)(n - 1) / 2; /* half of all bins */
    first_s = fmax(from_s, (at[0] + at[n - 1]) / 2 - width);
    last_s = fmin(to_s, (at[0] + at[n - 1]) / 2 + width);
    whole_w = (llem__counter_at(c, last_s) - llem__counter_at(c, first_s)) / (last_s - first_s);
    *mean_w = isnan(whole_w) ? llem__mean(y, n) : whole_w;
    *variance = llem__variance_of_mean(y, n);
    return span_is_known(variance, *mean_w, llem__counter_half(c, from_s, to_s), last_s - first_s);
}

bool llem__power_span(const struct llem__power *p, bool is_average, struct llem_arena *a,
                      double from_s, double to_s, double *mean_w, double *variance)
{
    double *y;
    size_t n;

    if (is_average)
        from_s += p->averaging_s > 0 ? p->averaging_s : 1; /* what came before is still in it */
    n = llem__power_means(p, a, from_s, to_s, p->period_s, &y);
    if (n < 2)
        return false;
    *mean_w = llem__mean(y, n);
    *variance = llem__variance_of_mean(y, n);
    return span_is_known(variance, *mean_w, 0, to_s - from_s);
}

void llem__estimate_none(struct llem__estimate *e, enum llem__method m)
{
    const double nan_ = (double)NAN;

    *e = (struct llem__estimate){
        .method = m,
        .e_j = nan_,
        .u_stat_j = nan_,
        .window_j = nan_,
        .u_window_j = nan_,
        .before_w = nan_,
        .after_w = nan_,
        .u_before_w = nan_,
        .u_after_w = nan_,
        .guard_before_s = nan_,
        .guard_after_s = nan_,
        .half_before_s = nan_,
        .half_after_s = nan_,
    };
}

/* A line or parabola through ticks; times relative to `at_s`. The uncertainty of one tick is at
 * least that of its place, uniform within +-half. */
static bool fit_ticks(struct llem__fit *f, struct llem_arena *a, const struct llem__tick *t,
                      size_t n, double at_s, int terms, double *sd_j)
{
    double *x = llem_arena_calloc(a, n + 1, sizeof(*x)),
           *y = llem_arena_calloc(a, n + 1, sizeof(*y));
    double place = 0;

    if (!x || !y)
        return false;
    for (size_t k = 0; k < n; k++) {
        x[k] = t[k].tau_s - at_s;
        y[k] = t[k].c_j - t[0].c_j;
    }
    if (!llem__fit(f, x, y, n, terms))
        return false;
    for (size_t k = 0; k < n; k++)
        place += t[k].half_s * t[k].half_s / 3;
    *sd_j = fmax(f->residual_sd, fabs(f->c[1]) * sqrt(place / (double)n));
    return true;
}

/* Is the loaded idle an idle: do its ticks agree? */
static bool is_quiet(const struct llem__counter *c, struct llem_arena *a, double from_s,
                     double to_s, double load_w)
{
    double *y, limit;
    size_t n = llem__counter_powers(c, a, from_s, to_s, c->period_s * 0.5, &y, NULL);

    if (n < 2)
        return false;
    /* Not knowing a tick's place scatters tick powers even when the power is constant. */
    limit = 4 * fabs(llem__mean(y, n)) * llem__counter_half(c, from_s, to_s) / c->period_s;
    limit = fmax(fmax(5, 0.05 * load_w), limit);
    return llem__sd(y, n) <= limit;
}

/* The energy over [t0, t1] alone: from the load's side, with its mean power, to the edges. */
static void window_alone(struct llem__estimate *e, struct llem_arena *a,
                         const struct llem__counter *c, double t1_s)
{
    size_t i = last_at(c, 0), j = last_at(c, t1_s);
    double *y, load_w, g0, g1, sd;
    size_t n;

    if (i == SIZE_MAX || j == SIZE_MAX || j <= i + 2 || !c->resolved)
        return;
    n = llem__counter_powers(c, a, c->ticks[i + 1].tau_s, t1_s, c->period_s * 0.5, &y, NULL);
    if (n < 2)
        return;
    load_w = llem__mean(y, n);
    sd = llem__sd(y, n);
    g1 = t1_s - c->ticks[j].tau_s;
    /* From the tick after t0 backwards: the head [t0, tick] is what the idle did not use of its
     * tick. */
    g0 = -c->ticks[i].tau_s;
    e->window_j = c->ticks[j].c_j - c->ticks[i].c_j - e->before_w * g0 + load_w * g1;
    e->u_window_j = sqrt(pow(load_w * c->ticks[j].half_s, 2) / 3 +
                         pow(e->before_w * c->ticks[i].half_s, 2) / 3 + pow(e->u_before_w * g0, 2) +
                         sd * sd * g1 * c->period_s);
}

/* Ticks with idle on both sides: docs/measurement.md, "Counter". */
static void by_ticks(struct llem__estimate *e, struct llem_arena *a, const struct llem__counter *c,
                     double t1_s, double head_s, double tail_s, double delay_s)
{
    const struct llem__tick *t = c->ticks;
    struct llem__fit before, after;
    double sd_before, sd_after, g0, g1, p_slope, var_after, place, shared;
    size_t i = SIZE_MAX, j = SIZE_MAX, first, last;
    int terms;

    llem__estimate_none(e, LLEM__COUNTER_TICKS);
    for (size_t k = 0; k < c->n_ticks; k++) {
        if (t[k].tau_s + t[k].half_s <= 0)
            i = k;
        if (j == SIZE_MAX && t[k].tau_s - t[k].half_s >= t1_s + delay_s)
            j = k;
    }
    if (i == SIZE_MAX || t[i].tau_s < head_s) {
        e->reason = "head_too_short";
        return;
    }
    if (j == SIZE_MAX || t[j].tau_s > tail_s) {
        e->reason = "tail_too_short";
        return;
    }
    for (first = i; first > 0 && t[first - 1].tau_s - t[first - 1].half_s >= head_s; first--)
        ;
    for (last = j; last + 1 < c->n_ticks && t[last + 1].tau_s <= tail_s; last++)
        ;
    e->n_before = i - first + 1;
    e->n_after = last - j + 1;
    if (e->n_before < MIN_TICKS) {
        e->reason = "head_too_short";
        return;
    }
    if (e->n_after < MIN_TICKS) {
        e->reason = "tail_too_short";
        return;
    }

    if (!fit_ticks(&before, a, t + first, e->n_before, t[i].tau_s, 2, &sd_before)) {
        e->reason = "too_few_samples";
        return;
    }
    e->before_w = before.c[1];
    e->u_before_w = sd_before * sqrt(before.cov[1][1]);
    terms = e->n_after >= MIN_TICKS_SLOPE ? 3 : 2;
    if (!fit_ticks(&after, a, t + j, e->n_after, t[j].tau_s, terms, &sd_after)) {
        e->reason = "too_few_samples";
        return;
    }

    g0 = -t[i].tau_s;
    g1 = t[j].tau_s - t1_s;
    p_slope = 2 * after.c[2]; /* W/s: C = c0 + c1 x + c2 x^2, x = 0 at the tick j */
    e->after_w = after.c[1] - p_slope * g1 / 2; /* mean over the guard */
    var_after = sd_after * sd_after *
                (after.cov[1][1] - 2 * g1 * after.cov[1][2] + g1 * g1 * after.cov[2][2]);
    e->u_after_w = sqrt(fmax(var_after, 0));
    e->guard_before_s = g0;
    e->guard_after_s = g1;
    e->half_before_s = t[i].half_s;
    e->half_after_s = t[j].half_s;
    e->e_j = t[j].c_j - t[i].c_j - e->before_w * g0 - e->after_w * g1;
    place = pow(e->before_w * t[i].half_s, 2) / 3 + pow(e->after_w * t[j].half_s, 2) / 3;
    /* The edge's tick is one of the ticks of its line, so both errors share a part. */
    shared = 2 * sd_before * sd_before * g0 * before.cov[1][0] -
             2 * sd_after * sd_after * g1 * (after.cov[1][0] - g1 * after.cov[2][0]);
    e->u_stat_j =
        sqrt(place + pow(e->u_before_w * g0, 2) + pow(e->u_after_w * g1, 2) + fmax(shared, 0) +
             pow(p_slope * g1 * g1, 2) / 12 + c->quantum_j * c->quantum_j / 6);
}

/* No idle around the window: between ticks the counter is taken as a line. */
static void by_interpolation(struct llem__estimate *e, struct llem_arena *a,
                             const struct llem__counter *c, double t1_s)
{
    size_t edge[2] = { last_at(c, 0), last_at(c, t1_s) };
    double at[2] = { 0, t1_s }, value[2], *y, sd, u2 = 0;
    size_t n;

    llem__estimate_none(e, LLEM__COUNTER_INTERPOLATED);
    for (int k = 0; k < 2; k++) {
        if (edge[k] == SIZE_MAX || edge[k] + 1 >= c->n_ticks) {
            e->reason = k == 0 ? "head_too_short" : "tail_too_short";
            return;
        }
        value[k] = llem__counter_at(c, at[k]);
    }
    n = llem__counter_powers(c, a, c->ticks[edge[0]].tau_s, c->ticks[edge[1] + 1].tau_s,
                             c->period_s * 0.5, &y, NULL);
    if (n < 2) {
        e->reason = "too_few_samples";
        return;
    }
    sd = llem__sd(y, n);
    for (int k = 0; k < 2; k++) {
        const struct llem__tick *t = &c->ticks[edge[k]];
        double width = t[1].tau_s - t[0].tau_s, g = at[k] - t[0].tau_s;
        double p = (t[1].c_j - t[0].c_j) / width;

        u2 += sd * sd * g * (width - g) + p * p * (t[0].half_s * t[0].half_s) / 3;
    }
    e->guard_before_s = -c->ticks[edge[0]].tau_s;
    e->guard_after_s = c->ticks[edge[1] + 1].tau_s - t1_s;
    e->half_before_s = c->ticks[edge[0]].half_s;
    e->half_after_s = c->ticks[edge[1] + 1].half_s;
    e->e_j = e->window_j = value[1] - value[0];
    e->u_stat_j = e->u_window_j = sqrt(u2 + c->quantum_j * c->quantum_j / 6);
}

/* Ticks that cannot be seen one by one (RAPL, 1 ms): the counter as read at both edges. */
static void by_difference(struct llem__estimate *e, const struct llem__counter *c, double t1_s,
                          double head_s, double tail_s)
{
    size_t a = last_at(c, 0), b = last_at(c, t1_s);
    double gap0, gap1, half0, half1, limit, load_w, before_w, after_w, t = c->period_s;
    double c_head, c_tail;

    llem__estimate_none(e, LLEM__COUNTER_DIFFERENCE);
    if (a == SIZE_MAX) {
        e->reason = "head_too_short";
        return;
    }
    if (b == SIZE_MAX || b + 1 >= c->n_reads) {
        e->reason = "tail_too_short";
        return;
    }
    gap0 = c->read_s[a + 1] - c->read_s[a];
    gap1 = c->read_s[b + 1] - c->read_s[b];
    /* A gap at an edge may hide a whole change of power. */
    limit = fmax(0.25, 0.05 * t1_s);
    half0 = fmax(c->read_half_s[a], c->read_half_s[a + 1]);
    half1 = fmax(c->read_half_s[b], c->read_half_s[b + 1]);
    if (gap0 > limit || gap1 > limit) {
        e->reason = "reading_gap";
        return;
    }
    e->e_j = llem__counter_at(c, t1_s) - llem__counter_at(c, 0);
    load_w = e->e_j / t1_s;
    c_head = llem__counter_at(c, fmax(head_s, c->read_s[0]));
    c_tail = llem__counter_at(c, fmin(tail_s, c->read_s[c->n_reads - 1]));
    before_w = (llem__counter_at(c, 0) - c_head) / -fmax(head_s, c->read_s[0]);
    after_w =
        (c_tail - llem__counter_at(c, t1_s)) / (fmin(tail_s, c->read_s[c->n_reads - 1]) - t1_s);
    e->before_w = isfinite(before_w) ? before_w : (double)NAN;
    e->after_w = isfinite(after_w) ? after_w : (double)NAN;
    if (!isfinite(before_w))
        before_w = load_w;
    if (!isfinite(after_w))
        after_w = before_w;
    e->guard_before_s = -c->read_s[a];
    e->guard_after_s = c->read_s[b + 1] - t1_s;
    e->half_before_s = gap0 / 2;
    e->half_after_s = gap1 / 2;
    e->u_stat_j = sqrt(
        t * t * (2 * load_w * load_w + before_w * before_w + after_w * after_w) / 24 +
        (pow(gap0 * (load_w - before_w), 2) + pow(gap1 * (load_w - after_w), 2)) / 12 +
        load_w * load_w * (half0 * half0 + half1 * half1) / 3 + c->quantum_j * c->quantum_j / 6);
    e->window_j = e->e_j;
    e->u_window_j = e->u_stat_j;
}

void llem__estimate_counter(struct llem__estimate *e, struct llem_arena *a,
                            const struct llem__counter *c, const struct llem__window *w,
                            const struct llem__device *d)
{
    double t1_s = seconds(w->t0_ns, w->t1_ns), head_s = seconds(w->t0_ns, w->head_ns);
    double tail_s = seconds(w->t0_ns, w->tail_ns), still_s, longest = 0, mean_gap;
    size_t in_window = 0;

    llem__estimate_none(e, LLEM__COUNTER_TICKS);
    if (c->n_good == 0) {
        e->reason = c->n_garbage ? "sensor_garbage" : c->n_failed ? "device_lost" : "no_sensor";
        return;
    }
    if (c->broken && c->broken_s < tail_s) {
        e->reason = c->broken;
        return;
    }
    if (!(t1_s > 0)) {
        e->reason = "window_too_short";
        return;
    }
    if (c->last_s < t1_s) {
        e->reason = c->n_failed ? "device_lost" : "tail_too_short";
        return;
    }
    if (c->first_s > 0) {
        e->reason = "head_too_short";
        return;
    }
    /* A counter that stands still while time passes is stuck, however it looks at the edges. */
    mean_gap = c->period_s > 0 ? c->period_s : 0.1;
    still_s = fmax(10 * mean_gap, 1);
    for (size_t k = 0; k < c->n_ticks; k++) {
        const struct llem__tick *t = &c->ticks[k];
        double from = k ? t[-1].tau_s + t[-1].half_s : c->first_s, to = t->tau_s - t->half_s;

        if (t->tau_s > 0 && from < t1_s) {
            double began = k ? t[-1].tau_s : c->first_s;
            double p = (t->c_j - (k ? t[-1].c_j : 0)) / (t->tau_s - began);
            double before =
                k > 1 ? (t[-1].c_j - c->ticks[0].c_j) / (t[-1].tau_s - c->ticks[0].tau_s) : 0;

            in_window++;
            /* Seen standing still; held back and then made good is no loss, lost is. */
            if (to - from > still_s && p < 0.5 * before)
                longest = fmax(longest, to - from);
        }
    }
    if (c->n_ticks == 0 || c->last_s - c->ticks[c->n_ticks - 1].tau_s > still_s)
        longest = c->last_s - (c->n_ticks ? c->ticks[c->n_ticks - 1].tau_s : c->first_s);
    if (longest > still_s) {
        e->reason = "counter_stuck";
        return;
    }
    if (in_window == 0) {
        e->reason = "window_too_short";
        return;
    }

    if (!c->resolved) {
        by_difference(e, c, t1_s, head_s, tail_s);
        return;
    }
    by_ticks(e, a, c, t1_s, head_s, tail_s, c->period_s + 0.05);
    if (!e->reason) {
        double load_w = e->e_j / t1_s;
        struct llem__estimate line;

        if (is_quiet(c, a, head_s, 0, load_w) &&
            is_quiet(c, a, t1_s + c->period_s + 0.05, tail_s, load_w)) {
            window_alone(e, a, c, t1_s);
            return;
        }
        by_interpolation(&line, a, c, t1_s);
        if (!line.reason)
            *e = line;
    } else {
        struct llem__estimate line;

        by_interpolation(&line, a, c, t1_s);
        if (!line.reason)
            *e = line;
    }
}

void llem__estimate_alias(struct llem__estimate *e, struct llem_arena *a,
                          const struct llem__counter *c, enum llem__counter_kind kind,
                          double averaging_s, const struct llem__window *w,
                          const struct llem__device *d)
{
    double t1_s = seconds(w->t0_ns, w->t1_ns), t = c->period_s, p = d->step_period_s, blind, *y;
    size_t n;

    if (e->reason || kind == LLEM__KIND_INTEGRATES || kind == LLEM__KIND_NONE || !(t > 0))
        return;
    blind = averaging_s > 0 ? fmax(0, 1 - averaging_s / t) : 1;
    n = llem__counter_powers(c, a, 0, t1_s, t * 0.5, &y, NULL);
    if (n < 2)
        return;
    if (p > 0 && round(t / p) >= 1 && fabs(t / p - round(t / p)) * t1_s / t < 1) {
        double swing_w = (d->power_limit_w > 0 ? d->power_limit_w : 2 * e->e_j / t1_s) -
                         (isnan(e->before_w) ? 0 : e->before_w);

        e->aliased = true;
        e->u_alias_j = blind * t1_s * fmax(swing_w, 0) / sqrt(12);
    } else {
        /* Successive differences, so that a trend is not taken for scatter. */
        double sum = 0;

        for (size_t k = 1; k < n; k++)
            sum += (y[k] - y[k - 1]) * (y[k] - y[k - 1]);
        e->u_alias_j = t1_s * sqrt(sum / (2 * (double)(n - 1)) * blind / (double)n);
    }
    e->u_stat_j = llem__quadrature(e->u_stat_j, e->u_alias_j);
    e->u_window_j = llem__quadrature(e->u_window_j, e->u_alias_j);
}
