/* SPDX-License-Identifier: MIT
 *
 * Results as the public API hands them out: loaded from a directory, read by path.
 */
#include "llem/result.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/ctx.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/reasons.h"
#include "lib/result/result.h"
#include "lib/result/study.h"

struct llem_result {
    struct llem_arena arena;
    struct llem_value *json;
    struct llem_buf text;
    const char *dir;
};

#define MAX_RESULT (LLEM_RECORDING_MAX_JSON * 4)

static bool is_experiment(struct llem_arena *a, const char *dir)
{
    const char *result = llem_path_join(a, dir, "result.json");
    const char *recording = llem_path_join(a, dir, "recording/recording.json");

    return result && recording && (llem_path_exists(result) || llem_path_exists(recording));
}

/* The experiment meant by a path: the directory of a result.json, an experiment's directory, or the
 * one experiment in a study's directory. */
static llem_errcode find_dir(struct llem_arena *a, const char **out, const char *path,
                             llem_error *err)
{
    static const char name_one[] =
        "name the directory that llem printed after the run, such as results/study_*/001_*";
    const char *found = NULL;
    struct dirent *e;
    size_t n = 0;
    DIR *d;

    if (!llem_path_exists(path)) {
        llem_fail(err, LLEM_ENOTFOUND, "there is no '%s'", path);
        return llem_hint(err, LLEM_ENOTFOUND, name_one);
    }
    if (!llem_path_is_dir(path)) {
        if (strcmp(llem_path_basename(path), "result.json") != 0) {
            llem_fail(err, LLEM_ENOTFOUND,
                      "'%s' is neither a directory of results nor a result.json", path);
            return llem_hint(err, LLEM_ENOTFOUND, name_one);
        }
        *out = llem_path_dirname(a, path);
        return LLEM_OK;
    }
    if (is_experiment(a, path)) {
        *out = llem_arena_strdup(a, path);
        return LLEM_OK;
    }
    d = opendir(path);
    if (!d)
        return llem_fail(err, LLEM_EIO, "cannot read the directory '%s': %m", path);
    while ((e = readdir(d))) {
        const char *inner = e->d_name[0] == '.' ? NULL : llem_path_join(a, path, e->d_name);

        if (inner && llem_path_is_dir(inner) && is_experiment(a, inner)) {
            found = inner;
            n++;
        }
    }
    closedir(d);
    if (n == 1) {
        *out = found;
        return LLEM_OK;
    }
    if (n == 0) {
        llem_fail(err, LLEM_ENOTFOUND, "there is no result in '%s'", path);
        return llem_hint(err, LLEM_ENOTFOUND, name_one);
    }
    llem_fail(err, LLEM_ENOTFOUND, "'%s' holds %zu experiments", path, n);
    return llem_hint(err, LLEM_ENOTFOUND, "name one of its directories, such as '%s'", found);
}

llem_errcode llem_result_derive(const char *dir, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *recording = llem_path_join(&a, dir, "recording");
    struct llem_value *v = NULL;
    struct llem_recording r;
    llem_errcode rc = recording
                          ? llem_recording_open(&r, recording, err)
                          : llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", dir);

    if (rc != LLEM_OK) {
        llem_arena_done(&a);
        return rc;
    }
    rc = llem_derive(&r, &a, &v, err);
    if (rc == LLEM_OK) {
        rc = llem_result_write(&r, v, dir, err);
        if (rc < 0)
            llem_hint(err, rc,
                      "the recording has no result yet; copy its directory to where you may "
                      "write, and show that");
    }
    llem_recording_close(&r);
    llem_arena_done(&a);
    return rc;
}

llem_errcode llem_result_load(llem_result **out, llem_ctx *ctx, const char *path, llem_error *err)
{
    llem_result *r = calloc(1, sizeof(*r));
    const char *file;
    llem_errcode rc;

    if (!r)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", path);
    llem_buf_init(&r->text, MAX_RESULT);
    rc = find_dir(&r->arena, &r->dir, path, err);
    if (rc != LLEM_OK)
        goto done;
    file = llem_path_join(&r->arena, r->dir, "result.json");
    if (!r->dir || !file) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", path);
        goto done;
    }
    if (!llem_path_exists(file)) {
        rc = llem_result_derive(r->dir, err);
        if (rc != LLEM_OK)
            goto done;
    }
    rc = llem_file_read(&r->text, file, err);
    if (rc != LLEM_OK)
        goto done;
    rc = llem_json_parse(&r->arena, &r->json, r->text.data, r->text.len, file, err);
    if (rc != LLEM_OK && rc != LLEM_ENOMEM) {
        if (err)
            err->code = LLEM_ECORRUPT;
        rc = LLEM_ECORRUPT;
    }
    if (rc != LLEM_OK)
        goto done;
    if (llem_get(r->json, "bundle_version")) {
        rc =
            llem_fail(err, LLEM_ECORRUPT,
                      "'%s' is a result of LLenergyMeasure with bundle_version %s, which llem does "
                      "not read; it reads those with schema_version 3.0",
                      file, llem_str_at(r->json, "bundle_version", "?"));
        goto done;
    }
    if (r->json->kind != LLEM_MAP || !llem_get(r->json, "schema_version")) {
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' is no result: it has no schema_version", file);
        goto done;
    }
    *out = r;
    r = NULL;
done:
    llem_result_free(r);
    return rc;
}

void llem_result_free(llem_result *r)
{
    if (!r)
        return;
    llem_buf_done(&r->text);
    llem_arena_done(&r->arena);
    free(r);
}

const char *llem_result_json(const llem_result *r)
{
    return r->text.data;
}

const char *llem_result_dir(const llem_result *r)
{
    return r->dir;
}

const struct llem_value *llem__result_tree(const llem_result *r)
{
    return r->json;
}

llem_errcode llem__result_of(llem_result **out, const struct llem_value *v,
                             const struct llem_arena *a, const char *dir, llem_error *err)
{
    llem_result *r = calloc(1, sizeof(*r));

    if (!r)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a result");
    llem_buf_init(&r->text, SIZE_MAX / 2);
    r->dir = llem_arena_strdup(&r->arena, dir);
    r->json = llem_copy(&r->arena, v);
    llem_json_dump(&r->text, r->json, LLEM_JSON_PRETTY);
    llem_buf_addc(&r->text, '\n');
    if (a->oom || r->arena.oom || r->text.failed) {
        llem_result_free(r);
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a result");
    }
    *out = r;
    return LLEM_OK;
}

/* ---- studies ------------------------------------------------------------------------------ */

/* When a file was last written; 0 where there is none. */
static int64_t written_ns(struct llem_arena *a, const char *dir, const char *name)
{
    const char *path = llem_path_join(a, dir, name);
    struct stat st;

    if (!path || stat(path, &st) < 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * LLEM_NS_PER_S + st.st_mtim.tv_nsec;
}

/* Is study_result.json younger than what every run left, and the plan? */
static bool is_current(const char *dir, const struct llem_value *stored)
{
    static const char *const files[] = { "result.json", "status.json" };
    const struct llem_value *runs = llem_get(stored, "runs");
    struct llem_arena a = LLEM_ARENA_INIT;
    int64_t at = written_ns(&a, dir, "study_result.json");
    bool current = written_ns(&a, dir, "plan.json") <= at && runs && runs->kind == LLEM_LIST;

    for (size_t i = 0; current && i < runs->count; i++) {
        const char *run = llem_path_join(&a, dir, llem_str_at(runs->items[i], "dir", ""));

        for (size_t k = 0; run && k < LLEM_COUNT(files); k++)
            current = current && written_ns(&a, run, files[k]) <= at;
    }
    current = current && !a.oom;
    llem_arena_done(&a);
    return current;
}

static bool is_file_of(const char *path, const char *name)
{
    return strcmp(llem_path_basename(path), name) == 0 && !llem_path_is_dir(path);
}

int llem_is_study(const char *path)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *plan = NULL;
    const char *file = llem_path_join(&a, path, "plan.json");
    const char *index = llem_path_join(&a, path, "manifest.json");
    bool is = false;

    if (is_file_of(path, "study_result.json"))
        is = true;
    else if (!file || !index || !llem_path_is_dir(path))
        is = false;
    else if (!llem_path_exists(file))
        is = llem_path_exists(index);
    else if (llem_json_load(&a, &plan, file, SIZE_MAX / 2, NULL) == LLEM_OK &&
             llem_get(plan, "runs") && llem_get(plan, "runs")->kind == LLEM_LIST)
        is = llem_get(plan, "runs")->count > 1;
    llem_arena_done(&a);
    return is;
}

llem_errcode llem_study_load(llem_result **out, llem_ctx *ctx, const char *path, llem_error *err)
{
    llem_result *r = calloc(1, sizeof(*r));
    const char *file;
    llem_errcode rc = LLEM_OK;

    if (!r)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", path);
    llem_buf_init(&r->text, SIZE_MAX / 2);
    r->dir = is_file_of(path, "study_result.json") ? llem_path_dirname(&r->arena, path)
                                                   : llem_arena_strdup(&r->arena, path);
    file = r->dir ? llem_path_join(&r->arena, r->dir, "study_result.json") : NULL;
    if (!file) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", path);
        goto done;
    }
    if (!llem_path_is_dir(r->dir)) {
        llem_fail(err, LLEM_ENOTFOUND, "there is no directory '%s'", r->dir);
        rc =
            llem_hint(err, LLEM_ENOTFOUND, "Name the directory that llem printed after the study.");
        goto done;
    }
    if (llem_path_exists(file)) {
        rc = llem_file_read(&r->text, file, err);
        if (rc == LLEM_OK &&
            llem_json_parse(&r->arena, &r->json, r->text.data, r->text.len, file, NULL) ==
                LLEM_OK &&
            is_current(r->dir, r->json))
            goto done;
        llem_buf_clear(&r->text);
    }
    rc = llem_study_assemble(r->dir, &r->arena, &r->json, err);
    if (rc < 0)
        goto done;
    llem_json_dump(&r->text, r->json, LLEM_JSON_PRETTY);
    llem_buf_addc(&r->text, '\n');
    if (r->text.failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while loading '%s'", path);
    /* Kept for the next time. Where nothing may be written, it is made again then; and nothing of
     * ours goes into a directory of the original's. */
    else if (!llem_bool_at(r->json, "original", false) &&
             llem_file_write(file, r->text.data, r->text.len, NULL) < 0)
        llem_log(ctx, LLEM_LOG_INFO, "result", "study_result.json could not be written to %s",
                 r->dir);
done:
    if (rc == LLEM_OK)
        *out = r;
    else
        llem_result_free(r);
    return rc;
}

/* ---- getters ------------------------------------------------------------------------------ */

/* Keys of `quantities` hold dots themselves. */
static const struct llem_value *value_at(const llem_result *r, const char *path)
{
    const struct llem_value *v = llem_at(r->json, path);

    return v ? v : llem_get(llem_get(r->json, "quantities"), path);
}

static llem_errcode look(const llem_result *r, const char *path, enum llem_kind kind, int *null,
                         const struct llem_value **out)
{
    const struct llem_value *v = value_at(r, path);

    if (!v)
        return LLEM_ENOTFOUND;
    if (v->kind == LLEM_NULL) {
        if (null)
            *null = 1;
        *out = NULL;
        return LLEM_OK;
    }
    if (v->kind != kind && !(kind == LLEM_REAL && v->kind == LLEM_INT))
        return LLEM_ENOTFOUND;
    if (null)
        *null = 0;
    *out = v;
    return LLEM_OK;
}

llem_errcode llem_result_double(const llem_result *r, const char *path, double *out, int *null)
{
    const struct llem_value *v;
    llem_errcode rc = look(r, path, LLEM_REAL, null, &v);

    if (rc == LLEM_OK && v)
        *out = v->kind == LLEM_INT ? (double)v->i : v->d;
    return rc;
}

llem_errcode llem_result_int(const llem_result *r, const char *path, int64_t *out, int *null)
{
    const struct llem_value *v;
    llem_errcode rc = look(r, path, LLEM_INT, null, &v);

    if (rc == LLEM_OK && v)
        *out = v->i;
    return rc;
}

llem_errcode llem_result_bool(const llem_result *r, const char *path, int *out, int *null)
{
    const struct llem_value *v;
    llem_errcode rc = look(r, path, LLEM_BOOL, null, &v);

    if (rc == LLEM_OK && v)
        *out = v->b;
    return rc;
}

llem_errcode llem_result_string(const llem_result *r, const char *path, const char **out, int *null)
{
    const struct llem_value *v;
    llem_errcode rc = look(r, path, LLEM_STRING, null, &v);

    if (rc == LLEM_OK && v)
        *out = v->s;
    return rc;
}

llem_errcode llem_result_count(const llem_result *r, const char *path, size_t *out)
{
    const struct llem_value *v = value_at(r, path);

    if (!v || (v->kind != LLEM_LIST && v->kind != LLEM_MAP))
        return LLEM_ENOTFOUND;
    *out = v->count;
    return LLEM_OK;
}

llem_errcode llem_result_quantity(const llem_result *r, const char *path, llem_quantity *out)
{
    const struct llem_value *q = llem_get(llem_get(r->json, "quantities"), path);
    const double nan_ = (double)NAN;

    if (!q || q->kind != LLEM_MAP)
        return LLEM_ENOTFOUND;
    memset(out, 0, sizeof(*out));
    out->valid = !llem_is_null(llem_get(q, "value"));
    out->value = llem_real_at(q, "value", nan_);
    out->u_stat = llem_real_at(q, "u_stat", nan_);
    out->u_sys = llem_real_at(q, "u_sys", nan_);
    out->ci95_lo = llem_real_at(q, "ci95.0", nan_);
    out->ci95_hi = llem_real_at(q, "ci95.1", nan_);
    out->unit = llem_str_at(q, "unit", "");
    out->source = llem_str_at(q, "source", "");
    out->quality = llem_str_at(q, "quality", "none");
    out->reason = llem_str_at(q, "reason", "");
    return LLEM_OK;
}

/* ---- verify, reasons ---------------------------------------------------------------------- */

static const char *text_of(struct llem_arena *a, const struct llem_value *v)
{
    struct llem_buf b = LLEM_BUF_INIT(4096);
    const char *s;

    if (!v)
        return "absent";
    llem_json_dump(&b, v, LLEM_JSON_COMPACT);
    s = b.failed ? "(long)" : llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return s ? s : "";
}

llem_errcode llem_verify(llem_ctx *ctx, const char *path, size_t *compared,
                         llem_difference_fn difference, void *user, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list = NULL;
    const char *dir = NULL;
    size_t n = 0;
    llem_errcode rc;

    if (llem_is_study(path)) {
        dir = is_file_of(path, "study_result.json") ? llem_path_dirname(&a, path) : path;
        rc = dir ? llem_study_verify(dir, &a, &list, &n, compared, err)
                 : llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", path);
    } else {
        rc = find_dir(&a, &dir, path, err);
        if (rc == LLEM_OK && !dir)
            rc = llem_fail(err, LLEM_ENOMEM, "out of memory while verifying '%s'", path);
        if (rc == LLEM_OK)
            rc = llem_result_verify(dir, &a, &list, &n, compared, err);
    }
    for (size_t k = 0; rc == LLEM_OK && difference && k < n; k++)
        difference(user, list[k].path, text_of(&a, list[k].stored), text_of(&a, list[k].computed));
    llem_arena_done(&a);
    return rc;
}

const char *llem_reason_sentence(const char *code)
{
    const struct llem_reason *r = llem_reason_find(code);

    return r ? r->sentence : NULL;
}

const char *llem_reason_hint(const char *code)
{
    const struct llem_reason *r = llem_reason_find(code);

    return r ? r->hint : NULL;
}
