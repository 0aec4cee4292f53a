/* SPDX-License-Identifier: MIT
 *
 * Is a result what its recording says? Everything is computed again and compared, value by value
 * and exactly.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/result.h"

struct comparison {
    struct llem_arena *a;
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
static bool same_number(const struct llem_value *x, const struct llem_value *y)
{
    if (x->kind == LLEM_INT && y->kind == LLEM_INT)
        return x->i == y->i;
    return (x->kind == LLEM_INT ? (double)x->i : x->d) ==
           (y->kind == LLEM_INT ? (double)y->i : y->d);
}

static const char *join(struct comparison *c, const char *path, const char *key)
{
    const char *s =
        *path ? llem_arena_printf(c->a, "%s.%s", path, key) : llem_arena_strdup(c->a, key);

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
    if (is_number(stored) && is_number(computed) ? !same_number(stored, computed)
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
