/* SPDX-License-Identifier: MIT
 *
 * Results of the Python original, LLenergyMeasure (result.json "3.0", manifest.json "2.0"): they
 * are shown and compared, marked as the original's. It keeps no plan, so one is made of its
 * manifest.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/recording.h"
#include "lib/result/study.h"

/* Ours names the recording it was derived from. */
bool llem__is_original(const struct llem_value *result)
{
    return !llem_get(result, "recording") && llem_get(result, "llenergymeasure_version") &&
           strcmp(llem_str_at(result, "schema_version", ""), "3.0") == 0;
}

struct entry {
    const struct llem_value *json;
    size_t index; /* in the manifest */
};

/* By when they began; what never did keeps its place at the end. */
static int by_start(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const char *s = llem_str_at(x->json, "started_at", "~");
    int order = strcmp(s, llem_str_at(y->json, "started_at", "~"));

    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static struct llem_value *load_beside(struct llem__study *s, const char *run, const char *name)
{
    struct llem_value *v = NULL;
    const char *dir = llem_path_join(s->a, s->dir, run);
    const char *path = dir ? llem_path_join(s->a, dir, name) : NULL;

    if (!path || llem_json_load(s->a, &v, path, LLEM_RECORDING_MAX_JSON, NULL) < 0)
        return NULL;
    return v;
}

struct llem_value *llem__original_settings(struct llem_arena *a, const char *dir)
{
    const char *path = llem_path_join(a, dir, "_resolution.json");
    const struct llem_value *overrides;
    struct llem_value *v = NULL, *settings;

    if (!path || llem_json_load(a, &v, path, LLEM_RECORDING_MAX_JSON, NULL) < 0)
        return NULL;
    overrides = llem_get(v, "overrides");
    settings = llem_map(a);
    for (size_t i = 0; overrides && overrides->kind == LLEM_MAP && i < overrides->count; i++) {
        const struct llem_value *effective = llem_get(overrides->items[i], "effective");

        if (effective)
            llem_set(a, settings, overrides->keys[i], llem_copy(a, effective));
    }
    return settings;
}

/* The settings that the study varied, out of _resolution.json. */
static struct llem_value *settings_of(struct llem__study *s, const char *run,
                                      struct llem_value *axes)
{
    const struct llem_value *overrides =
        llem_get(load_beside(s, run, "_resolution.json"), "overrides");
    struct llem_value *settings = llem_map(s->a);

    for (size_t i = 0; overrides && overrides->kind == LLEM_MAP && i < overrides->count; i++) {
        const struct llem_value *v = llem_get(overrides->items[i], "effective");

        if (strcmp(llem_str_at(overrides->items[i], "source", ""), "sweep") != 0 || !v)
            continue;
        llem_set(s->a, settings, overrides->keys[i], llem_copy(s->a, v));
        llem_set(s->a, axes, overrides->keys[i], llem_null(s->a));
    }
    return settings;
}

static struct llem_value *experiment_of(struct llem__study *s, const struct llem_value *entry,
                                        int64_t number)
{
    struct llem_arena *a = s->a;
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "number", llem_int(a, number));
    llem_set(a, v, "engine", llem_null(a));
    llem_set(a, v, "model", llem_null(a));
    llem_set(a, v, "differs_by", llem_string(a, llem_str_at(entry, "config_summary", "")));
    llem_set(a, v, "settings", llem_map(a));
    llem_set(a, v, "measurement_config_hash",
             llem_string(a, llem_str_at(entry, "config_hash", "")));
    llem_set(a, v, "resolved_config_hash", llem_null(a));
    llem_set(a, v, "same_as", llem_null(a));
    return v;
}

/* The directory of an entry's result; one that is not there for an entry without. */
static const char *dir_of(struct llem__study *s, const struct llem_value *entry)
{
    const char *file = llem_str_at(entry, "result_file", ""), *end = strrchr(file, '/');
    const char *begin = end;

    if (!end)
        return llem_arena_printf(s->a, "c%lld_%.8s", (long long)llem_int_at(entry, "cycle", 1),
                                 llem_str_at(entry, "config_hash", ""));
    while (begin > file && begin[-1] != '/')
        begin--;
    return llem_arena_strndup(s->a, begin, (size_t)(end - begin));
}

llem_errcode llem__original_plan(struct llem__study *s, llem_error *err)
{
    const struct llem_value *list = llem_get(s->manifest, "experiments");
    struct llem_arena *a = s->a;
    struct llem_value *plan = llem_map(a), *experiments = llem_list(a), *runs = llem_list(a);
    struct llem_value *axes = llem_map(a), *names = llem_list(a), *seen = llem_map(a);
    struct llem_value *execution = llem_map(a);
    size_t n = list && list->kind == LLEM_LIST ? list->count : 0;
    struct entry *entries = llem_arena_calloc(a, n + 1, sizeof(*entries));
    int64_t cycles = 0;

    if (strcmp(llem_str_at(s->manifest, "schema_version", ""), "2.0") != 0 || !n) {
        llem_fail(err, LLEM_ENOTFOUND,
                  "'%s' is no study: it has neither a plan.json nor the "
                  "manifest.json (2.0) of LLenergyMeasure",
                  s->dir);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "Name the directory that llem printed after the study.");
    }
    for (size_t i = 0; entries && i < n; i++)
        entries[i] = (struct entry){ list->items[i], i };
    if (entries)
        qsort(entries, n, sizeof(*entries), by_start);
    for (size_t i = 0; entries && i < n && !a->oom; i++) {
        const struct llem_value *entry = entries[i].json;
        const char *hash = llem_str_at(entry, "config_hash", "?"), *dir = dir_of(s, entry);
        struct llem_value *x = llem_get(seen, hash), *run = llem_map(a);
        int64_t cycle = llem_int_at(entry, "cycle", 1);

        if (!dir)
            break;
        if (!x) {
            x = experiment_of(s, entry, (int64_t)experiments->count + 1);
            llem_append(a, experiments, x);
            llem_set(a, seen, hash, x);
        }
        if (llem_is_null(llem_get(x, "engine")) && llem_str_at(entry, "result_file", NULL)) {
            const struct llem_value *result = load_beside(s, dir, "result.json");

            llem_set(a, x, "engine", llem_string(a, llem_str_at(result, "engine", NULL)));
            llem_set(a, x, "model", llem_string(a, llem_str_at(result, "model_name", NULL)));
            llem_set(a, x, "settings", settings_of(s, dir, axes));
        }
        cycles = cycle > cycles ? cycle : cycles;
        llem_set(a, run, "dir", llem_string(a, dir));
        llem_set(a, run, "experiment", llem_int(a, llem_int_at(x, "number", 1)));
        llem_set(a, run, "cycle", llem_int(a, cycle));
        llem_set(a, run, "entry", llem_int(a, (int64_t)entries[i].index));
        llem_append(a, runs, run);
    }
    for (size_t i = 0; i < axes->count; i++)
        llem_append(a, names, llem_string(a, axes->keys[i]));
    llem_set(a, execution, "n_cycles", llem_int(a, cycles));
    llem_set(a, plan, "study_name", llem_string(a, llem_str_at(s->manifest, "study_name", NULL)));
    llem_set(a, plan, "study_design_hash",
             llem_string(a, llem_str_at(s->manifest, "study_design_hash", NULL)));
    llem_set(a, plan, "execution", execution);
    llem_set(a, plan, "axes", names);
    llem_set(a, plan, "experiments", experiments);
    llem_set(a, plan, "runs", runs);
    s->plan = plan;
    return a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", s->dir)
                  : LLEM_OK;
}
