/* SPDX-License-Identifier: MIT
 *
 * Results and studies against the first of them: ratios, which settings differ, and what makes the
 * comparison doubtful.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/reasons.h"
#include "lib/result/recording.h"
#include "lib/result/result.h"
#include "lib/result/stats.h"
#include "lib/result/study.h"

/* One side of a comparison: a run, or a configuration of a study with its completed runs. */
struct subject {
    const char *path, *dir; /* as given; of the run, or of the first completed one */
    const char *model, *engine, *engine_version, *host;
    int64_t number; /* of the configuration; 0 = a run */
    const struct llem_value *configuration, *settings;
    bool original, quick;
    struct llem__run *runs;
    size_t n;
};

struct comparison {
    struct llem_arena *a;
    struct llem_value *warnings;
};

/* ---- reading ------------------------------------------------------------------------------ */

static struct llem_value *load_beside(struct llem_arena *a, const char *dir, const char *name)
{
    const char *path = llem_path_join(a, dir, name);
    struct llem_value *v = NULL;

    if (!path || llem_json_load(a, &v, path, LLEM_RECORDING_MAX_JSON, NULL) < 0)
        return NULL;
    return v;
}

/* Settings, and which machine it was, which results themselves do not tell. */
static void look_beside(struct subject *s, struct llem_arena *a)
{
    s->host = llem_str_at(load_beside(a, s->dir, "claim.json"), "host", "");
    s->settings = llem_get(load_beside(a, s->dir, "config.json"), "config");
    if (!s->settings)
        s->settings = llem__original_settings(a, s->dir);
}

static void run_subject(struct subject *s, struct llem_arena *a, const char *path,
                        const llem_result *result)
{
    const struct llem_value *v = llem__result_tree(result);

    *s = (struct subject){ .path = path,
                           .dir = llem_result_dir(result),
                           .model = llem_str_at(v, "model_name", ""),
                           .engine = llem_str_at(v, "engine", ""),
                           .engine_version = llem_str_at(v, "engine_version", ""),
                           .original = llem__is_original(v),
                           .quick = llem_bool_at(v, "quick", false),
                           .n = 1 };
    s->runs = llem_arena_calloc(a, 1, sizeof(*s->runs));
    if (!s->runs)
        return;
    s->runs[0].cycle = 1;
    llem__run_of_result(a, s->runs, v);
    look_beside(s, a);
}

/* A row of study_result.json back into a run. */
static void run_of_row(struct llem_arena *a, struct llem__run *run, const struct llem_value *row)
{
    run->cycle = (size_t)llem_int_at(row, "cycle", 1);
    run->quality = llem_str_at(row, "energy_quality", "none");
    run->source = llem_str_at(row, "energy_source", "");
    run->scope = llem_str_at(row, "energy_scope", "");
    run->hardware = llem_str_at(row, "hardware", "");
    run->prompts = llem_str_at(row, "dataset_sha256", "");
    for (size_t m = 0; m < LLEM__MEASURES; m++) {
        const char *name = llem__measures[m].name;
        char key[64];

        run->v[m] = llem_real_at(row, name, (double)NAN);
        run->u_stat[m] = run->u_sys[m] = (double)NAN;
        snprintf(key, sizeof(key), "%s_reason", name);
        run->reasons[m] = llem_str_at(row, key, "");
    }
}

static size_t length(const struct llem_value *list)
{
    return list && list->kind == LLEM_LIST ? list->count : 0;
}

static void configuration_subject(struct subject *s, struct llem_arena *a, const char *path,
                                  const llem_result *study, const struct llem_value *c)
{
    const struct llem_value *v = llem__result_tree(study), *rows = llem_get(v, "runs");
    const char *dir = NULL;

    *s = (struct subject){ .path = path,
                           .model = llem_str_at(c, "model", ""),
                           .engine = llem_str_at(c, "engine", ""),
                           .engine_version = "",
                           .host = "",
                           .number = llem_int_at(c, "number", 0),
                           .configuration = c,
                           .original = llem_bool_at(v, "original", false) };
    s->runs = llem_arena_calloc(a, (size_t)llem_int_at(c, "completed", 0) + 1, sizeof(*s->runs));
    for (size_t i = 0; s->runs && i < length(rows); i++) {
        const struct llem_value *row = rows->items[i];

        if (llem_int_at(row, "experiment", -1) != s->number ||
            strcmp(llem_str_at(row, "state", ""), "completed") != 0 ||
            s->n == (size_t)llem_int_at(c, "completed", 0))
            continue;
        dir = dir ? dir : llem_str_at(row, "dir", "");
        s->engine_version = llem_str_at(row, "engine_version", "");
        s->quick = s->quick || llem_bool_at(row, "quick", false);
        run_of_row(a, &s->runs[s->n++], row);
    }
    if (dir)
        s->dir = llem_path_join(a, llem_result_dir(study), dir);
    if (s->dir)
        look_beside(s, a);
}

/* ---- settings ----------------------------------------------------------------------------- */

static struct llem_value *copy_or_null(struct llem_arena *a, const struct llem_value *v)
{
    return v ? llem_copy(a, v) : llem_null(a);
}

/* 5 and 5.0 are one number. */
static bool same_value(const struct llem_value *x, const struct llem_value *y)
{
    if (llem_is_null(x) || llem_is_null(y))
        return llem_is_null(x) && llem_is_null(y);
    if (x->kind != y->kind && (x->kind == LLEM_INT || x->kind == LLEM_REAL) &&
        (y->kind == LLEM_INT || y->kind == LLEM_REAL))
        return (x->kind == LLEM_INT ? (double)x->i : x->d) ==
               (y->kind == LLEM_INT ? (double)y->i : y->d);
    return llem_equal(x, y);
}

/* Leaves that differ, maps gone into. Depth is bounded by the parser. */
static void settings_differ(struct llem_arena *a, struct llem_value *out, const char *above,
                            const struct llem_value *x, const struct llem_value *y)
{
    const struct llem_value *sides[] = { x, y };

    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; sides[side] && sides[side]->kind == LLEM_MAP && i < sides[side]->count;
             i++) {
            const char *key = sides[side]->keys[i];
            const struct llem_value *p = llem_get(x, key), *q = llem_get(y, key);
            const char *path = llem_arena_printf(a, "%s%s%s", above, *above ? "." : "", key);
            struct llem_value *o;

            if (!path || (side && p) || same_value(p, q)) /* what both have was looked at first */
                continue;
            if ((!p || p->kind == LLEM_MAP || p->kind == LLEM_NULL) &&
                (!q || q->kind == LLEM_MAP || q->kind == LLEM_NULL) &&
                ((p && p->kind == LLEM_MAP) || (q && q->kind == LLEM_MAP))) {
                settings_differ(a, out, path, p, q);
                continue;
            }
            o = llem_map(a);
            llem_set(a, o, "setting", llem_string(a, path));
            llem_set(a, o, "reference", copy_or_null(a, p));
            llem_set(a, o, "value", copy_or_null(a, q));
            llem_append(a, out, o);
        }
}

/* ---- warnings ----------------------------------------------------------------------------- */

/* text NULL: the reason's own sentence. */
static void warn(struct comparison *c, const char *code, const char *text)
{
    const struct llem_reason *reason = llem_reason_find(code);
    struct llem_value *o = llem_map(c->a);

    llem_set(c->a, o, "reason", llem_string(c->a, code));
    llem_set(c->a, o, "text", llem_string(c->a, text ? text : reason ? reason->sentence : code));
    llem_append(c->a, c->warnings, o);
}

static void warn_texts(struct comparison *c, const char *code, const char *what, const char *first,
                       const char *other)
{
    if (*first && *other && strcmp(first, other) != 0)
        warn(c, code, llem_arena_printf(c->a, "%s: '%s' and '%s'.", what, first, other));
}

static double mean_of(const struct subject *s, size_t m)
{
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        if (!isnan(s->runs[i].v[m])) {
            sum += s->runs[i].v[m];
            n++;
        }
    return n ? sum / (double)n : (double)NAN;
}

static void warn_tokens(struct comparison *c, const char *code, const char *name,
                        const struct subject *x, const struct subject *y)
{
    double first = mean_of(x, llem__measure(name)), other = mean_of(y, llem__measure(name));

    if (!isnan(first) && !isnan(other) && first != other)
        warn(c, code,
             llem_arena_printf(
                 c->a, "%s a run: %.6g and %.6g%s.",
                 strcmp(name, "output_tokens") == 0 ? "Output tokens" : "Input tokens", first,
                 other,
                 strcmp(name, "output_tokens") == 0 ? ", so totals compare unequal work" : ""));
}

static void warn_of(struct comparison *c, const struct subject *x, const struct subject *y)
{
    const struct llem__run *first, *other;

    if (x->original || y->original)
        warn(c, "made_by_original", NULL);
    warn_texts(c, "models_differ", "Models", x->model, y->model);
    if (strcmp(x->engine, y->engine) == 0)
        warn_texts(c, "engine_versions_differ", "Versions of the engine", x->engine_version,
                   y->engine_version);
    if (!x->settings || !y->settings)
        warn(c, "settings_unknown", NULL);
    if (x->quick || y->quick)
        warn(c, "quick", NULL);
    if (!x->n || !y->n)
        return;
    first = &x->runs[0];
    other = &y->runs[0];
    if (*first->prompts && *other->prompts && strcmp(first->prompts, other->prompts) != 0)
        warn(c, "prompts_differ", NULL);
    warn_tokens(c, "input_lengths_differ", "input_tokens", x, y);
    warn_tokens(c, "output_lengths_differ", "output_tokens", x, y);
    warn_texts(c, "hardware_differs", "Hardware", first->hardware, other->hardware);
    if (strcmp(first->quality, other->quality) != 0)
        warn_texts(c, "energy_qualities_differ", "Energies", first->quality, other->quality);
    else if (!llem__same_scope(first, other))
        warn(c, "scope_mismatch", NULL);
    else if (strcmp(first->scope, other->scope) != 0)
        warn(c, "devices_differ", NULL);
    else
        warn_texts(c, "energy_sources_differ", "Sources of energy", first->source, other->source);
}

/* ---- ratios ------------------------------------------------------------------------------- */

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

/* One sensor's gain cancels; otherwise the systematic parts of both come in. */
static bool same_devices(const struct subject *x, const struct subject *y)
{
    return strcmp(x->host, y->host) == 0 && strcmp(x->runs[0].scope, y->runs[0].scope) == 0 &&
           strcmp(x->runs[0].hardware, y->runs[0].hardware) == 0;
}

static double relative_u(const struct subject *s, size_t m, bool systematic)
{
    double u = s->runs[0].u_stat[m], common = s->runs[0].u_sys[m];

    if (systematic && !isnan(common))
        u = llem__quadrature(u, common);
    return u / s->runs[0].v[m];
}

/* Two runs: the uncertainties that each has of itself. */
static void own_interval(struct llem_arena *a, struct llem_value *ratio, const struct subject *x,
                         const struct subject *y, size_t m)
{
    bool energy = llem__measures[m].flags & LLEM__ENERGY, apart = energy && !same_devices(x, y);
    double value = llem_real_at(ratio, "value", (double)NAN);
    double u = llem__quadrature(relative_u(x, m, apart), relative_u(y, m, apart));

    if (isnan(value))
        return;
    u *= 1.959963984540054;
    llem_set(a, ratio, "ci95", pair(a, value * exp(-u), value * exp(u)));
    llem_set(a, ratio, "reason", llem_string(a, isfinite(u) ? NULL : "uncertainty_unknown"));
}

static struct llem_value *side(struct llem_arena *a, const struct subject *s, size_t m)
{
    const struct llem_value *statistic =
        llem_get(llem_get(s->configuration, "statistics"), llem__measures[m].name);
    struct llem_value *o = llem_map(a);
    double half;

    if (s->configuration) {
        llem_set(a, o, "value", copy_or_null(a, llem_get(statistic, "mean")));
        llem_set(a, o, "ci95", copy_or_null(a, llem_get(statistic, "ci95")));
        llem_set(a, o, "reason",
                 copy_or_null(a, llem_is_null(llem_get(statistic, "mean"))
                                     ? llem_get(statistic, "reason")
                                     : NULL));
        return o;
    }
    half = isnan(s->runs[0].u_sys[m]) ? s->runs[0].u_stat[m]
                                      : llem__quadrature(s->runs[0].u_stat[m], s->runs[0].u_sys[m]);
    half *= 1.959963984540054;
    llem_set(a, o, "value", llem_real(a, s->runs[0].v[m]));
    llem_set(a, o, "ci95", pair(a, s->runs[0].v[m] - half, s->runs[0].v[m] + half));
    llem_set(a, o, "reason", llem_string(a, isnan(s->runs[0].v[m]) ? s->runs[0].reasons[m] : NULL));
    return o;
}

static struct llem_value *quantities_of(struct llem_arena *a, const struct subject *x,
                                        const struct subject *y)
{
    const struct llem__run **theirs = llem_arena_calloc(a, y->n + 1, sizeof(*theirs));
    const struct llem__run **ours = llem_arena_calloc(a, y->n + 1, sizeof(*ours));
    double *logs = llem_arena_calloc(a, y->n + 1, sizeof(*logs));
    struct llem_value *all = llem_map(a);
    size_t n = 0;

    for (size_t i = 0; logs && ours && theirs && i < y->n; i++)
        for (size_t k = 0; k < x->n; k++)
            if (x->runs[k].cycle == y->runs[i].cycle) {
                theirs[n] = &x->runs[k];
                ours[n++] = &y->runs[i];
                break;
            }
    for (size_t m = 0; m < LLEM__MEASURES && !a->oom; m++) {
        struct llem_value *o, *ratio;

        if (!(llem__measures[m].flags & LLEM__STATISTICS))
            continue;
        o = llem_map(a);
        ratio = llem__measures[m].flags & LLEM__RATIO
                    ? llem__ratio_over(a, theirs, ours, n, m, logs)
                    : llem_null(a);
        if (!y->configuration && ratio->kind == LLEM_MAP)
            own_interval(a, ratio, x, y, m);
        llem_set(a, o, "reference", side(a, x, m));
        llem_set(a, o, "compared", side(a, y, m));
        llem_set(a, o, "ratio", ratio);
        llem_set(a, all, llem__measures[m].name, o);
    }
    return all;
}

/* ---- all ---------------------------------------------------------------------------------- */

static struct llem_value *describe(struct llem_arena *a, const struct subject *s)
{
    struct llem_value *o = llem_map(a);

    llem_set(a, o, "path", llem_string(a, s->path));
    llem_set(a, o, "experiment", s->number ? llem_int(a, s->number) : llem_null(a));
    llem_set(a, o, "differs_by", llem_string(a, llem_str_at(s->configuration, "differs_by", NULL)));
    llem_set(a, o, "model", llem_string(a, *s->model ? s->model : NULL));
    llem_set(a, o, "engine", llem_string(a, *s->engine ? s->engine : NULL));
    llem_set(a, o, "original", llem_bool(a, s->original));
    llem_set(a, o, "runs", llem_int(a, (int64_t)s->n));
    return o;
}

static struct llem_value *compare_two(struct llem_arena *a, const struct subject *x,
                                      const struct subject *y)
{
    struct comparison c = { .a = a, .warnings = llem_list(a) };
    struct llem_value *o = llem_map(a), *differs = llem_list(a);

    warn_of(&c, x, y);
    if (x->settings && y->settings)
        settings_differ(a, differs, "", x->settings, y->settings);
    llem_set(a, o, "reference", describe(a, x));
    llem_set(a, o, "compared", describe(a, y));
    llem_set(a, o, "settings", differs);
    llem_set(a, o, "warnings", c.warnings);
    llem_set(a, o, "interval",
             llem_string(a, y->configuration ? "paired_cycles" : "own_uncertainties"));
    llem_set(a, o, "quantities", quantities_of(a, x, y));
    return o;
}

/* The configuration of a study with the same settings on the axes, engine and model. */
static const struct llem_value *same_configuration(const llem_result *study,
                                                   const struct llem_value *c)
{
    static const char *const keys[] = { "settings", "engine", "model" };
    const struct llem_value *list = llem_get(llem__result_tree(study), "configurations");
    const char *hash = llem_str_at(c, "measurement_config_hash", "?");

    for (size_t i = 0; i < length(list); i++)
        if (strcmp(llem_str_at(list->items[i], "measurement_config_hash", ""), hash) == 0)
            return list->items[i];
    for (size_t i = 0; i < length(list); i++) {
        bool same = true;

        for (size_t k = 0; k < LLEM_COUNT(keys); k++)
            same = same && same_value(llem_get(list->items[i], keys[k]), llem_get(c, keys[k]));
        if (same)
            return list->items[i];
    }
    return NULL;
}

static void compare_studies(struct llem_arena *a, struct llem_value *comparisons,
                            struct llem_value *unmatched, const char *const *paths,
                            llem_result *const *results, size_t at)
{
    const struct llem_value *list = llem_get(llem__result_tree(results[at]), "configurations");

    for (size_t i = 0; i < length(list) && !a->oom; i++) {
        const struct llem_value *same = same_configuration(results[0], list->items[i]);
        struct subject x, y;

        configuration_subject(&y, a, paths[at], results[at], list->items[i]);
        if (!same) {
            llem_append(a, unmatched, describe(a, &y));
            continue;
        }
        configuration_subject(&x, a, paths[0], results[0], same);
        if (x.runs && y.runs)
            llem_append(a, comparisons, compare_two(a, &x, &y));
    }
}

static struct llem_value *document(struct llem_arena *a, const char *const *paths,
                                   llem_result *const *results, size_t n, bool studies)
{
    struct llem_value *v = llem_map(a), *comparisons = llem_list(a), *unmatched = llem_list(a);

    for (size_t i = 1; i < n && !a->oom; i++) {
        struct subject x, y;

        if (studies) {
            compare_studies(a, comparisons, unmatched, paths, results, i);
            continue;
        }
        run_subject(&x, a, paths[0], results[0]);
        run_subject(&y, a, paths[i], results[i]);
        if (x.runs && y.runs)
            llem_append(a, comparisons, compare_two(a, &x, &y));
    }
    llem_set(a, v, "schema_version", llem_string(a, "1.0"));
    llem_set(a, v, "kind", llem_string(a, "comparison"));
    llem_set(a, v, "comparisons", comparisons);
    llem_set(a, v, "unmatched", unmatched);
    return v;
}

llem_errcode llem_compare(llem_result **out, llem_ctx *ctx, const char *const *paths, size_t n,
                          llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_result **results = NULL;
    size_t studies = 0, loaded = 0;
    llem_errcode rc = LLEM_OK;

    if (n < 2) {
        llem_fail(err, LLEM_EINVAL, "a comparison takes two results or studies, or more");
        return llem_hint(err, LLEM_EINVAL,
                         "llem show STUDY compares the configurations of one study.");
    }
    for (size_t i = 0; i < n; i++)
        studies += llem_is_study(paths[i]) != 0;
    if (studies && studies < n) {
        llem_fail(err, LLEM_EINVAL, "a study and the result of one run cannot be compared");
        return llem_hint(err, LLEM_EINVAL,
                         "Name a run of the study: its directory has a subdirectory for each.");
    }
    results = calloc(n, sizeof(llem_result *));
    if (!results)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a comparison");
    for (; rc == LLEM_OK && loaded < n; loaded += rc == LLEM_OK)
        rc = (studies ? llem_study_load : llem_result_load)(&results[loaded], ctx, paths[loaded],
                                                            err);
    if (rc == LLEM_OK)
        rc = llem__result_of(out, document(&a, paths, results, n, studies > 0), &a, paths[0], err);
    for (size_t i = 0; i < loaded; i++)
        llem_result_free(results[i]);
    free(results);
    llem_arena_done(&a);
    return rc;
}
