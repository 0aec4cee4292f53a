/* SPDX-License-Identifier: MIT
 *
 * What the cycles of a study say: per configuration the mean of each number, how it scatters and
 * drifts, and how it compares with the first configuration. The formulas are those of
 * docs/measurement.md, "Several cycles".
 */
#include <math.h>
#include <string.h>

#include "lib/result/reasons.h"
#include "lib/result/stats.h"
#include "lib/result/study.h"

/* ---- one configuration -------------------------------------------------------------------- */

static struct llem_value *pair(struct llem_arena *a, double low, double high)
{
    struct llem_value *list;

    if (!isfinite(low) || !isfinite(high))
        return llem_null(a);
    list = llem_list(a);
    llem_append(a, list, llem_real(a, low));
    llem_append(a, list, llem_real(a, high));
    return list;
}

/* The slope of a straight line through the values over their places in the running order. */
static struct llem_value *trend(struct llem_arena *a, const double *x, const double *y, size_t n)
{
    struct llem_value *o = llem_map(a);
    double mx = llem__mean(x, n), my = llem__mean(y, n), sxx = 0, sxy = 0, rest = 0;
    double slope = (double)NAN, u = (double)NAN, half = (double)NAN, p = (double)NAN;
    const char *reason = n < 3 ? "too_few_cycles" : NULL;

    if (!reason) {
        for (size_t i = 0; i < n; i++) {
            sxx += (x[i] - mx) * (x[i] - mx);
            sxy += (x[i] - mx) * (y[i] - my);
        }
        slope = sxy / sxx; /* places differ, so sxx > 0 */
        for (size_t i = 0; i < n; i++) {
            double d = y[i] - my - slope * (x[i] - mx);

            rest += d * d;
        }
        u = sqrt(rest / (double)(n - 2) / sxx);
        half = llem__t_95(n - 2) * u;
        p = u > 0 ? 1 - llem__t_within(slope / u, n - 2) : slope == 0 ? 1 : 0;
    }
    llem_set(a, o, "slope_per_run", llem_real(a, slope));
    llem_set(a, o, "ci95", pair(a, slope - half, slope + half));
    llem_set(a, o, "p", llem_real(a, p));
    llem_set(a, o, "reason", llem_string(a, reason));
    return o;
}

static const char *one_word(const char *have, const char *next, const char *otherwise)
{
    return !have || strcmp(have, next) == 0 ? next : otherwise;
}

static struct llem_value *statistic(const struct llem__study *s,
                                    const struct llem__configuration *c, size_t m, double *x,
                                    double *y)
{
    struct llem_arena *a = s->a;
    struct llem_value *o = llem_map(a);
    double mean, sd, half = (double)NAN, own = 0, common = 0;
    const char *quality = NULL, *why = NULL, *reason = NULL;
    size_t n = 0;

    for (size_t i = 0; i < c->n_runs; i++) {
        const struct llem__run *run = c->runs[i];

        if (!run->completed)
            continue;
        if (isnan(run->v[m])) {
            why = one_word(why, run->reasons[m], "several_reasons");
            continue;
        }
        quality = one_word(quality, run->qualities[m], "mixed");
        own += run->u_stat[m] * run->u_stat[m];
        common += run->u_sys[m];
        x[n] = (double)run->position;
        y[n++] = run->v[m];
    }
    mean = llem__mean(y, n);
    sd = llem__sd(y, n);
    if (n > 1)
        half = llem__t_95(n - 1) * sd / sqrt((double)n);
    if (n < 2)
        reason = n ? "one_cycle" : why ? why : "not_completed";
    llem_set(a, o, "n", llem_int(a, (int64_t)n));
    llem_set(a, o, "left_out", llem_int(a, (int64_t)(c->n_completed - n)));
    llem_set(a, o, "left_out_reason", llem_string(a, why));
    llem_set(a, o, "quality", llem_string(a, quality ? quality : "none"));
    llem_set(a, o, "mean", llem_real(a, mean));
    llem_set(a, o, "sd", llem_real(a, sd));
    llem_set(a, o, "ci95", pair(a, mean - half, mean + half));
    llem_set(a, o, "cv", llem_real(a, mean > 0 ? sd / mean : (double)NAN));
    llem_set(a, o, "u_stat", llem_real(a, n ? sqrt(own / (double)n) : (double)NAN));
    llem_set(a, o, "u_sys", llem_real(a, n ? common / (double)n : (double)NAN));
    llem_set(a, o, "trend", trend(a, x, y, n));
    llem_set(a, o, "reason", llem_string(a, reason));
    return o;
}

/* ---- against the first -------------------------------------------------------------------- */

static struct llem_value *ratio(struct llem_arena *a, double value, double low, double high,
                                size_t n, const char *reason)
{
    struct llem_value *o = llem_map(a);

    llem_set(a, o, "value", llem_real(a, value));
    llem_set(a, o, "ci95", pair(a, low, high));
    llem_set(a, o, "n", llem_int(a, (int64_t)n));
    llem_set(a, o, "reason", llem_string(a, reason));
    return o;
}

struct llem_value *llem__ratio_of(struct llem_arena *a, const double *logs, size_t n)
{
    double mean = llem__mean(logs, n), half;

    if (n < 2)
        return ratio(a, exp(mean), (double)NAN, (double)NAN, n, n ? "one_cycle" : "no_pairs");
    half = llem__t_95(n - 1) * llem__sd(logs, n) / sqrt((double)n);
    return ratio(a, exp(mean), exp(mean - half), exp(mean + half), n, NULL);
}

struct llem_value *llem__no_ratio(struct llem_arena *a, const char *reason)
{
    return ratio(a, (double)NAN, (double)NAN, (double)NAN, 0, reason);
}

/* "nvml" of "nvml/counter_ticks" */
static bool same_sampler(const char *a, const char *b)
{
    size_t n = strcspn(a, "/");

    return n == strcspn(b, "/") && strncmp(a, b, n) == 0;
}

/* Each kind of device ("gpu" of "gpu:UUID") of one scope is in the other. */
static bool kinds_within(const char *scope, const char *other)
{
    while (*scope) {
        size_t kind = strcspn(scope, ": ");
        const char *at = other;

        while (*at && !(strcspn(at, ": ") == kind && strncmp(at, scope, kind) == 0)) {
            at += strcspn(at, " ");
            at += *at == ' ';
        }
        if (!*at)
            return false;
        scope += strcspn(scope, " ");
        scope += *scope == ' ';
    }
    return true;
}

bool llem__same_scope(const struct llem__run *x, const struct llem__run *y)
{
    return same_sampler(x->source, y->source) && kinds_within(x->scope, y->scope) &&
           kinds_within(y->scope, x->scope);
}

/* The runs of two configurations in the cycles that both completed: by cycle, which each has once.
 */
struct pairs {
    const struct llem__run **ours, **theirs;
    size_t n;
};

static void pair_up(struct pairs *p, const struct llem__configuration *c,
                    const struct llem__configuration *first, const struct llem__run **by_cycle,
                    size_t n_cycles)
{
    p->n = 0;
    memset(by_cycle, 0, (n_cycles + 1) * sizeof(*by_cycle));
    for (size_t i = 0; i < first->n_runs; i++)
        if (first->runs[i]->completed)
            by_cycle[first->runs[i]->cycle] = first->runs[i];
    for (size_t i = 0; i < c->n_runs; i++) {
        const struct llem__run *run = c->runs[i];

        if (!run->completed || !by_cycle[run->cycle])
            continue;
        p->ours[p->n] = run;
        p->theirs[p->n++] = by_cycle[run->cycle];
    }
}

struct llem_value *llem__ratio_over(struct llem_arena *a, const struct llem__run *const *theirs,
                                    const struct llem__run *const *ours, size_t n, size_t m,
                                    double *logs)
{
    size_t pairs = 0;

    for (size_t i = 0; i < n; i++) {
        const struct llem__run *x = theirs[i], *y = ours[i];

        if (isnan(x->v[m]) || isnan(y->v[m]))
            continue;
        if ((llem__measures[m].flags & LLEM__ENERGY) && !llem__same_scope(x, y))
            return llem__no_ratio(a, "scope_mismatch");
        if (!(x->v[m] > 0) || !(y->v[m] > 0))
            return llem__no_ratio(a, "not_positive");
        logs[pairs++] = log(y->v[m] / x->v[m]);
    }
    return llem__ratio_of(a, logs, pairs);
}

/* ---- what to mind ------------------------------------------------------------------------- */

static void flag(struct llem_arena *a, struct llem_value *list, const char *reason,
                 struct llem_value *text)
{
    struct llem_value *o = llem_map(a);

    llem_set(a, o, "reason", llem_string(a, reason));
    llem_set(a, o, "text", text);
    llem_append(a, list, o);
}

size_t llem__measure(const char *name)
{
    size_t m = 0;

    while (m + 1 < LLEM__MEASURES && strcmp(llem__measures[m].name, name) != 0)
        m++;
    return m;
}

static void flag_pairs(struct llem_arena *a, struct llem_value *list, const struct pairs *p,
                       int64_t first)
{
    size_t out = llem__measure("output_tokens");
    double ours = 0, theirs = 0;
    bool lengths = false, prompts = false, devices = false;

    for (size_t i = 0; i < p->n; i++) {
        const struct llem__run *x = p->theirs[i], *y = p->ours[i];

        ours += y->v[out] / (double)p->n;
        theirs += x->v[out] / (double)p->n;
        lengths = lengths || (!isnan(x->v[out]) && !isnan(y->v[out]) && x->v[out] != y->v[out]);
        prompts = prompts || strcmp(x->prompts, y->prompts) != 0;
        devices = devices || (llem__same_scope(x, y) && strcmp(x->scope, y->scope) != 0);
    }
    if (lengths)
        flag(a, list, "output_lengths_differ",
             llem_stringf(a,
                          "It generates %.6g output tokens a run, experiment %lld %.6g: totals "
                          "compare unequal work.",
                          ours, (long long)first, theirs));
    if (prompts)
        flag(a, list, "prompts_differ",
             llem_stringf(a, "It does not answer the same prompts as experiment %lld.",
                          (long long)first));
    if (devices)
        flag(a, list, "devices_differ",
             llem_string(a, llem_reason_find("devices_differ")->sentence));
}

/* What its own runs do not have in common. */
static void flag_own(struct llem_arena *a, struct llem_value *list,
                     const struct llem__configuration *c)
{
    const struct llem__run *first = NULL;
    bool quality = false, source = false;

    for (size_t i = 0; i < c->n_runs; i++) {
        const struct llem__run *run = c->runs[i];

        if (!run->completed)
            continue;
        if (!first)
            first = run;
        quality = quality || strcmp(run->quality, first->quality) != 0;
        source = source || strcmp(run->source, first->source) != 0;
    }
    if (quality)
        flag(a, list, "energy_qualities_differ",
             llem_string(a, llem_reason_find("energy_qualities_differ")->sentence));
    else if (source)
        flag(a, list, "energy_sources_differ",
             llem_string(a, llem_reason_find("energy_sources_differ")->sentence));
}

/* ---- all ---------------------------------------------------------------------------------- */

static const char *common_word(const struct llem__configuration *c, bool quality)
{
    const char *have = NULL;

    for (size_t i = 0; i < c->n_runs; i++)
        if (c->runs[i]->completed)
            have = one_word(have, quality ? c->runs[i]->quality : c->runs[i]->source, "mixed");
    return have && *have ? have : NULL;
}

static struct llem_value *copy_of(struct llem_arena *a, const struct llem_value *map,
                                  const char *key)
{
    const struct llem_value *v = llem_get(map, key);

    return v ? llem_copy(a, v) : llem_null(a);
}

struct llem_value *llem__configurations(struct llem__study *s)
{
    static const char *const copied[] = { "differs_by", "settings", "measurement_config_hash",
                                          "resolved_config_hash" };
    const struct llem__configuration *first = s->configurations;
    struct llem_arena *a = s->a;
    struct llem_value *list = llem_list(a);
    size_t most = 1, cycles = 1;
    const struct llem__run **by_cycle;
    struct pairs p;
    double *x, *y;

    for (size_t i = 0; i < s->n_configurations; i++)
        most = s->configurations[i].n_runs > most ? s->configurations[i].n_runs : most;
    for (size_t i = 0; i < s->n_runs; i++)
        cycles = s->runs[i].cycle > cycles ? s->runs[i].cycle : cycles;
    x = llem_arena_calloc(a, most, sizeof(*x));
    y = llem_arena_calloc(a, most, sizeof(*y));
    p.ours = llem_arena_calloc(a, most, sizeof(*p.ours));
    p.theirs = llem_arena_calloc(a, most, sizeof(*p.theirs));
    by_cycle = llem_arena_calloc(a, cycles + 1, sizeof(*by_cycle));
    for (size_t i = 0; i < s->n_configurations && !a->oom; i++) {
        const struct llem__configuration *c = &s->configurations[i];
        struct llem_value *o = llem_map(a), *statistics = llem_map(a), *ratios = llem_map(a);
        struct llem_value *flags = llem_list(a);
        const char *quality = common_word(c, true);

        pair_up(&p, c, first, by_cycle, cycles);
        flag_own(a, flags, c);
        if (i)
            flag_pairs(a, flags, &p, first->number);
        for (size_t m = 0; m < LLEM__MEASURES && !a->oom; m++) {
            if (llem__measures[m].flags & LLEM__STATISTICS)
                llem_set(a, statistics, llem__measures[m].name, statistic(s, c, m, x, y));
            if (i && (llem__measures[m].flags & LLEM__RATIO))
                llem_set(a, ratios, llem__measures[m].name,
                         llem__ratio_over(a, p.theirs, p.ours, p.n, m, x));
        }
        llem_set(a, o, "number", llem_int(a, c->number));
        llem_set(a, o, "engine", llem_string(a, *c->engine ? c->engine : NULL));
        llem_set(a, o, "model", llem_string(a, *c->model ? c->model : NULL));
        for (size_t k = 0; k < LLEM_COUNT(copied); k++)
            llem_set(a, o, copied[k], copy_of(a, c->json, copied[k]));
        llem_set(a, o, "merged", c->merged);
        llem_set(a, o, "planned", llem_int(a, (int64_t)c->n_runs));
        llem_set(a, o, "completed", llem_int(a, (int64_t)c->n_completed));
        llem_set(a, o, "energy_quality", llem_string(a, quality ? quality : "none"));
        llem_set(a, o, "energy_source", llem_string(a, common_word(c, false)));
        llem_set(a, o, "flags", flags);
        llem_set(a, o, "statistics", statistics);
        llem_set(a, o, "ratios", i ? ratios : llem_null(a));
        llem_append(a, list, o);
    }
    return list;
}
