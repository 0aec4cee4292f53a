/* SPDX-License-Identifier: MIT
 *
 * Whatever the JSON reader accepts, the writer can say in every style, and it reads back as the
 * same tree; whatever it refuses, it refuses with a sentence.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static bool same(const struct llem_value *v, json_t *j)
{
    const char *key;
    json_t *member;
    size_t i;

    switch (json_typeof(j)) {
    case JSON_NULL:
        return v->kind == LLEM_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return v->kind == LLEM_BOOL && v->b == json_is_true(j);
    case JSON_INTEGER:
        return v->kind == LLEM_INT && v->i == json_integer_value(j);
    case JSON_REAL:
        return v->kind == LLEM_REAL && v->d == json_real_value(j);
    case JSON_STRING:
        return v->kind == LLEM_STRING && v->len == json_string_length(j) &&
               memcmp(v->s, json_string_value(j), v->len) == 0;
    case JSON_ARRAY:
        if (v->kind != LLEM_LIST || v->count != json_array_size(j))
            return false;
        json_array_foreach(j, i, member) if (!same(v->items[i], member)) return false;
        return true;
    case JSON_OBJECT:
        if (v->kind != LLEM_MAP || v->count != json_object_size(j))
            return false;
        i = 0;
        json_object_foreach(j, key, member)
        {
            if (strcmp(v->keys[i], key) != 0 || !same(v->items[i], member))
                return false;
            i++;
        }
        return true;
    }
    return false;
}

/* Where jansson is known to differ: it takes a NUL for the end, and allows 2048 levels. */
static void compare(const uint8_t *data, size_t size, const struct llem_value *v, llem_errcode rc,
                    const llem_error *err)
{
    json_t *j;

    if (memchr(data, 0, size) || rc == LLEM_ENOMEM || strstr(err->msg, "deeper"))
        return;
    j = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    check(!j == (rc < 0));
    check(!j || same(v, j));
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena a = { .max = 64 << 20 };
    struct llem_value *v = NULL, *back = NULL;
    llem_error err = { 0 };
    llem_errcode rc;
    int style;

    rc = llem_json_parse(&a, &v, (const char *)data, size, "fuzz", &err);
    if (size) /* jansson wants a pointer even then */
        compare(data, size, v, rc, &err);
    if (rc < 0) {
        check(!v && err.code == rc && err.msg[0] && llem_utf8_valid(err.msg, strlen(err.msg)));
        llem_arena_done(&a);
        return 0;
    }
    check(llem_equal(v, llem_copy(&a, v)) || a.oom);
    for (style = LLEM_JSON_COMPACT; style <= LLEM_JSON_CANON && !a.oom; style++) {
        struct llem_buf text = LLEM_BUF_INIT(64 << 20);
        struct llem_buf again = LLEM_BUF_INIT(64 << 20);

        llem_json_dump(&text, v, (enum llem_json_style)style);
        if (!text.failed) {
            check(llem_utf8_valid(text.data, text.len));
            rc = llem_json_parse(&a, &back, text.data, text.len, "again", &err);
            check(rc == LLEM_OK || rc == LLEM_ENOMEM);
            if (rc == LLEM_OK) {
                check(style == LLEM_JSON_CANON || llem_equal(v, back));
                /* What is written once is written so for ever. */
                llem_json_dump(&again, back, (enum llem_json_style)style);
                check(again.failed ||
                      (again.len == text.len && memcmp(again.data, text.data, text.len) == 0));
            }
        }
        llem_buf_done(&text);
        llem_buf_done(&again);
    }
    llem_arena_done(&a);
    return 0;
}
