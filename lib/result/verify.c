/* SPDX-License-Identifier: MIT
 *
 * Is a result what its recording says? Everything is computed again and compared, value by value
 * and exactly.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/result.h"
#include "lib/result/study.h"

struct comparison {
    struct llem_arena *a;
    double tolerance; /* relative, of numbers */
    struct llem_difference *list;
    size_t n, cap, compared;
};

static void differ(struct comparison *c, const char *path, const struct llem_value *stored,
                   const struct llem_value *computed)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 16;
        struct llem_difference *list = llem_arena_calloc(c->a, cap, sizeof(*list));

        if (!list)
            return;
        if (c->n)
            memcpy(list, c->list, c->n * sizeof(*list));
        c->list = list;
        c->cap = cap;
    }
    c->list[c->n++] = (struct llem_difference){ path, stored, computed };
}

static bool is_number(const struct llem_value *v)
{
    return v->kind == LLEM_INT || v->kind == LLEM_REAL;
}

/* 5 and 5.0 are one number in JSON. */
static bool same_number(const struct comparison *c, const struct llem_value *x,
                        const struct llem_value *y)
{
    double p = x->kind == LLEM_INT ? (double)x->i : x->d;
    double q = y->kind == LLEM_INT ? (double)y->i : y->d;

    if (x->kind == LLEM_INT && y->kind == LLEM_INT)
        return x->i == y->i;
    return p == q || fabs(p - q) <= c->tolerance * fmax(fabs(p), fabs(q));
}

static const char *join(struct comparison *c, const char *path, const char *key)
{
    const char *s =
        *path ? llem_arena_printf(c->a, "%s.%s", path, key) : llem_arena_strdup(c->a, key);

    return s ? s : "";
}

/* "DIR/what" */
static const char *join_dir(struct comparison *c, const char *dir, const char *what)
{
    const char *s = llem_arena_printf(c->a, "%s/%s", dir, what);

    return s ? s : "";
}

/* Missing on one side is a difference; depth is bounded by the parser. */
static void compare(struct comparison *c, const char *path, const struct llem_value *stored,
                    const struct llem_value *computed)
{
    if (!stored || !computed) {
        c->compared++;
        differ(c, path, stored, computed);
        return;
    }
    if (stored->kind == LLEM_MAP && computed->kind == LLEM_MAP) {
        for (size_t k = 0; k < computed->count; k++)
            compare(c, join(c, path, computed->keys[k]), llem_get(stored, computed->keys[k]),
                    computed->items[k]);
        for (size_t k = 0; k < stored->count; k++)
            if (!llem_get(computed, stored->keys[k]))
                compare(c, join(c, path, stored->keys[k]), stored->items[k], NULL);
        return;
    }
    if (stored->kind == LLEM_LIST && computed->kind == LLEM_LIST) {
        size_t n = stored->count > computed->count ? stored->count : computed->count;

        for (size_t k = 0; k < n; k++) {
            char index[24];

            snprintf(index, sizeof(index), "%zu", k);
            compare(c, join(c, path, index), k < stored->count ? stored->items[k] : NULL,
                    k < computed->count ? computed->items[k] : NULL);
        }
        return;
    }
    c->compared++;
    if (is_number(stored) && is_number(computed) ? !same_number(c, stored, computed)
                                                 : !llem_equal(stored, computed))
        differ(c, path, stored, computed);
}

llem_errcode llem_result_verify(const char *experiment_dir, struct llem_arena *a,
                                struct llem_difference **out, size_t *n_out, size_t *compared,
                                llem_error *err)
{
    struct comparison c = { .a = a };
    struct llem_value *stored, *computed, *parsed;
    struct llem_buf text = LLEM_BUF_INIT(LLEM_RECORDING_MAX_JSON * 4);
    struct llem_recording r;
    const char *dir = llem_path_join(a, experiment_dir, "recording");
    const char *path = llem_path_join(a, experiment_dir, "result.json");
    llem_errcode rc;

    if (!dir || !path)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", experiment_dir);
    rc = llem_recording_open(&r, dir, err);
    if (rc != LLEM_OK)
        return rc;
    if (!llem_path_exists(path)) {
        rc = llem_fail(err, LLEM_ENOTFOUND, "'%s' has no result.json", experiment_dir);
        goto done;
    }
    rc = llem_json_load(a, &stored, path, LLEM_RECORDING_MAX_JSON * 4, err);
    if (rc != LLEM_OK) {
        if (rc != LLEM_ENOMEM && err)
            err->code = LLEM_ECORRUPT;
        rc = rc == LLEM_ENOMEM ? rc : LLEM_ECORRUPT;
        goto done;
    }
    if (stored->kind != LLEM_MAP) {
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' is no result: it holds no object", path);
        goto done;
    }
    rc = llem_derive(&r, a, &computed, err);
    if (rc != LLEM_OK)
        goto done;
    /* Through text and back, as the stored one went; so that exactly the written numbers are
     * compared. */
    llem_json_dump(&text, computed, LLEM_JSON_PRETTY);
    rc = text.failed
             ? llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", experiment_dir)
             : llem_json_parse(a, &parsed, text.data, text.len, "computed", err);
    if (rc != LLEM_OK)
        goto done;
    /* Who computed it is no number of the recording. */
    llem_unset(stored, "producer");
    llem_unset(parsed, "producer");
    compare(&c, "", stored, parsed);
    if (a->oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", experiment_dir);
        goto done;
    }
    *out = c.list;
    *n_out = c.n;
    *compared = c.compared;
done:
    llem_buf_done(&text);
    llem_recording_close(&r);
    return rc;
}

/* ---- studies ------------------------------------------------------------------------------ */

static void differ_text(struct comparison *c, const char *dir, const char *what, const char *stored,
                        const char *found)
{
    c->compared++;
    if (strcmp(stored ? stored : "", found ? found : "") != 0)
        differ(c, join_dir(c, dir, what), stored ? llem_string(c->a, stored) : NULL,
               found ? llem_string(c->a, found) : NULL);
}

/* One document of a run's directory; NULL if it cannot be read. */
static struct llem_value *beside(struct comparison *c, struct llem_arena *a, const char *dir,
                                 const char *name)
{
    struct llem_value *v = NULL;
    const char *path = llem_path_join(a, dir, name);
    llem_errcode rc =
        path ? llem_json_load(a, &v, path, LLEM_RECORDING_MAX_JSON * 4, NULL) : LLEM_ENOMEM;

    c->a->oom = c->a->oom || rc == LLEM_ENOMEM;
    return rc == LLEM_OK ? v : NULL;
}

/* Everything of one run again, into an arena of its own; only what differs is kept. */
static void verify_run(struct comparison *c, const char *study, const char *dir)
{
    struct llem_arena own = LLEM_ARENA_INIT;
    struct llem_difference *list = NULL;
    const char *path = llem_path_join(&own, study, dir);
    llem_error err = { 0 };
    size_t n = 0, compared = 0;

    llem_errcode rc =
        path ? llem_result_verify(path, &own, &list, &n, &compared, &err) : LLEM_ENOMEM;

    if (rc == LLEM_ENOMEM)
        c->a->oom = true;
    else if (rc < 0)
        differ(c, join_dir(c, dir, "result.json"), NULL, llem_string(c->a, err.msg));
    c->compared += compared;
    for (size_t i = 0; i < n; i++)
        differ(c, join_dir(c, dir, list[i].path),
               list[i].stored ? llem_copy(c->a, list[i].stored) : NULL,
               list[i].computed ? llem_copy(c->a, list[i].computed) : NULL);
    c->a->oom = c->a->oom || own.oom;
    llem_arena_done(&own);
}

/* What the plan says of a run against its experiment.json, and the manifest against the row. */
static void verify_entry(struct comparison *c, const char *study, const struct llem_value *row,
                         const struct llem_value *entry)
{
    static const struct {
        const char *entry, *row;
    } numbers[] = { { "energy_joules", "total_energy_j" },
                    { "adj_energy_joules", "energy_adjusted_j" },
                    { "inference_seconds", "total_inference_time_sec" },
                    { "throughput_tok_s", "avg_tokens_per_second" } };
    struct llem_arena own = LLEM_ARENA_INIT;
    const char *dir = llem_str_at(row, "dir", ""), *state = llem_str_at(row, "state", "");
    const char *hash = llem_str_at(row, "measurement_config_hash", NULL);
    const char *path = llem_path_join(&own, study, dir);
    const struct llem_value *experiment = path ? beside(c, &own, path, "experiment.json") : NULL;
    bool completed = strcmp(state, "completed") == 0;

    if (experiment) {
        differ_text(c, dir, "experiment.json: measurement_config_hash", hash,
                    llem_str_at(experiment, "measurement_config_hash", NULL));
        c->compared++;
        if (llem_int_at(experiment, "cycle", -1) != llem_int_at(row, "cycle", 0))
            differ(c, join_dir(c, dir, "experiment.json: cycle"), llem_get(row, "cycle"),
                   llem_copy(c->a, llem_get(experiment, "cycle")));
    } else if (completed) {
        differ(c, join_dir(c, dir, "experiment.json"), NULL, NULL);
    }
    if (entry) {
        /* The manifest has no word for out of time. */
        differ_text(c, dir, "manifest.json: status", llem_str_at(entry, "status", NULL),
                    strcmp(state, "timeout") == 0 ? "failed" : state);
        differ_text(c, dir, "manifest.json: config_hash", llem_str_at(entry, "config_hash", NULL),
                    hash);
        for (size_t i = 0; completed && i < LLEM_COUNT(numbers); i++)
            compare(
                c, join_dir(c, dir, llem_arena_printf(&own, "manifest.json: %s", numbers[i].entry)),
                llem_get(entry, numbers[i].entry), llem_get(row, numbers[i].row));
    }
    llem_arena_done(&own);
}

/* The runs' directories that no plan names. An earlier plan may have named them. */
static void verify_names(struct comparison *c, const char *study, const struct llem_value *rows)
{
    const char *earlier = llem_path_join(c->a, study, "plan.1.json");
    struct dirent *e;
    DIR *d = opendir(study);

    while (d && (e = readdir(d))) {
        const char *inner = llem_path_join(c->a, study, e->d_name);
        const char *claim = inner ? llem_path_join(c->a, inner, "claim.json") : NULL;
        bool known = e->d_name[0] == '.' || !claim || !llem_path_exists(claim);

        for (size_t i = 0; !known && i < rows->count; i++)
            known = strcmp(llem_str_at(rows->items[i], "dir", ""), e->d_name) == 0;
        if (!known && earlier && !llem_path_exists(earlier))
            differ(c, join_dir(c, e->d_name, "plan.json"), NULL, llem_string(c->a, "a run"));
    }
    if (d)
        closedir(d);
}

/* study_result.json as it is against what it would be now. Means and intervals go through functions
 * whose last digit depends on the C library. */
static llem_errcode verify_study_result(struct comparison *c, const char *study,
                                        const struct llem_value *computed, llem_error *err)
{
    struct llem_buf text = LLEM_BUF_INIT(SIZE_MAX / 2);
    const char *path = llem_path_join(c->a, study, "study_result.json");
    struct llem_value *stored, *parsed;
    llem_errcode rc = LLEM_OK;

    if (!path || !llem_path_exists(path))
        return LLEM_OK; /* it is made when it is asked for */
    rc = llem_json_load(c->a, &stored, path, SIZE_MAX / 2, err);
    if (rc < 0)
        return rc;
    llem_json_dump(&text, computed, LLEM_JSON_PRETTY);
    rc = llem_json_parse(c->a, &parsed, text.data, text.len, "computed", err);
    if (rc == LLEM_OK) {
        llem_unset(stored, "producer");
        llem_unset(parsed, "producer");
        c->tolerance = 1e-12;
        compare(c, "study_result.json", stored, parsed);
        c->tolerance = 0;
    }
    llem_buf_done(&text);
    return rc;
}

llem_errcode llem_study_verify(const char *dir, struct llem_arena *a, struct llem_difference **out,
                               size_t *n_out, size_t *compared, llem_error *err)
{
    struct comparison c = { .a = a };
    const struct llem_value *rows, *entries;
    struct llem_value *study;
    size_t completed = 0;
    llem_errcode rc = llem_study_assemble(dir, a, &study, err);

    if (rc < 0)
        return rc;
    if (llem_bool_at(study, "original", false)) {
        llem_fail(err, LLEM_ENOTFOUND,
                  "LLenergyMeasure made '%s' and keeps no recordings, so nothing can be recomputed",
                  dir);
        return llem_hint(err, LLEM_ENOTFOUND, "llem show prints it as it is.");
    }
    rows = llem_get(study, "runs");
    entries = llem_get(beside(&c, a, dir, "manifest.json"), "experiments");
    if (!entries || entries->kind != LLEM_LIST || entries->count != rows->count)
        differ(&c, "manifest.json: experiments", NULL,
               llem_stringf(a, "%zu runs in the plan", rows->count));
    for (size_t i = 0; i < rows->count && !a->oom; i++) {
        const struct llem_value *row = rows->items[i];
        bool listed = entries && entries->kind == LLEM_LIST && i < entries->count;

        if (strcmp(llem_str_at(row, "state", ""), "completed") == 0) {
            verify_run(&c, dir, llem_str_at(row, "dir", ""));
            completed++;
        }
        verify_entry(&c, dir, row, listed ? entries->items[i] : NULL);
    }
    if (!completed && !a->oom) {
        llem_fail(err, LLEM_ENOTFOUND, "no run of '%s' completed, so nothing can be recomputed",
                  dir);
        return llem_hint(err, LLEM_ENOTFOUND, "llem show tells what became of its runs.");
    }
    verify_names(&c, dir, rows);
    rc = verify_study_result(&c, dir, study, err);
    if (rc == LLEM_OK && a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", dir);
    if (rc == LLEM_OK) {
        *out = c.list;
        *n_out = c.n;
        *compared = c.compared;
    }
    return rc;
}
