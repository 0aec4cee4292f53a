/* SPDX-License-Identifier: MIT
 *
 * JSON in and out. jansson reads, because it refuses what it should and says where; writing is
 * ours, because equal configurations must give equal bytes, down to the last digit of a double.
 */
#include "lib/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/file.h"

enum { MAX_DEPTH = 512 };

/* ---- out ---------------------------------------------------------------------------------- */

struct style {
    bool sorted, ascii, rounded;
    const char *comma, *colon;
    int indent;
};

static const struct style styles[] = {
    [LLEM_JSON_COMPACT] = { .comma = ",", .colon = ":" },
    [LLEM_JSON_PRETTY] = { .comma = ",", .colon = ": ", .indent = 2 },
    [LLEM_JSON_PYTHON] = { .sorted = true, .ascii = true, .comma = ", ", .colon = ": " },
    [LLEM_JSON_CANON] = { .sorted = true, .rounded = true, .comma = ",", .colon = ":" },
};

static void put_string(struct llem_buf *out, const char *s, size_t len, bool ascii)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    uint32_t c;
    size_t n, i;

    llem_buf_addc(out, '"');
    while (len && !out->failed) {
        /* A stretch of plain ASCII at once. */
        for (n = 0; n < len; n++) {
            unsigned char u = (unsigned char)s[n];

            if (u < 0x20 || u >= 0x7F || u == '"' || u == '\\')
                break;
        }
        llem_buf_add(out, s, n);
        s += n;
        len -= n;
        if (len == 0)
            break;

        n = llem_utf8_next(s, len, &c);
        if (n == 0) {
            /* Text from outside, such as a path, need not be UTF-8; what is written is. */
            c = 0xFFFD;
            llem_buf_adds(out, ascii ? "\\ufffd" : "\xEF\xBF\xBD");
            n = 1;
        } else if (c < 0x20 || c == '"' || c == '\\') {
            for (i = 0; shorts[i] && (unsigned char)shorts[i] != c; i += 2)
                ;
            if (shorts[i])
                llem_buf_addf(out, "\\%c", shorts[i + 1]);
            else
                llem_buf_addf(out, "\\u%04x", c);
        } else if (!ascii) {
            llem_buf_add(out, s, n);
        } else if (c < 0x10000) {
            llem_buf_addf(out, "\\u%04x", c);
        } else {
            c -= 0x10000;
            llem_buf_addf(out, "\\u%04x\\u%04x", 0xD800 + (c >> 10), 0xDC00 + (c & 0x3FF));
        }
        s += n;
        len -= n;
    }
    llem_buf_addc(out, '"');
}

static void put_real(struct llem_buf *out, double d, bool rounded)
{
    char text[32];
    int len;

    if (!isfinite(d)) {
        /* llem_real() lets none in; a value filled by hand might hold one. */
        llem_buf_adds(out, "null");
        return;
    }
    if (rounded) {
        snprintf(text, sizeof(text), "%.11e", d);
        d = strtod(text, NULL);
        if (d == 0)
            d = 0.0; /* not -0.0 */
    }
    len = llem_format_f64(text, d, true);
    llem_buf_add(out, text, (size_t)len);
}

static void put_line(struct llem_buf *out, const struct style *st, int depth)
{
    if (st->indent)
        llem_buf_addf(out, "\n%*s", depth * st->indent, "");
}

struct member {
    const char *key;
    const struct llem_value *v;
};

static int compare_members(const void *a, const void *b)
{
    /* Bytes of UTF-8 sort as code points do. */
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static void put(struct llem_buf *out, const struct llem_value *v, const struct style *st,
                int depth);

static void put_map(struct llem_buf *out, const struct llem_value *v, const struct style *st,
                    int depth)
{
    struct member *members = NULL;
    size_t i;

    if (st->sorted && v->count > 1) {
        members = calloc(v->count, sizeof(*members));
        if (!members) {
            out->failed = true;
            return;
        }
        for (i = 0; i < v->count; i++)
            members[i] = (struct member){ v->keys[i], v->items[i] };
        qsort(members, v->count, sizeof(*members), compare_members);
    }
    llem_buf_addc(out, '{');
    for (i = 0; i < v->count && !out->failed; i++) {
        const char *key = members ? members[i].key : v->keys[i];

        if (i)
            llem_buf_adds(out, st->comma);
        put_line(out, st, depth + 1);
        put_string(out, key, strlen(key), st->ascii);
        llem_buf_adds(out, st->colon);
        put(out, members ? members[i].v : v->items[i], st, depth + 1);
    }
    if (v->count)
        put_line(out, st, depth);
    llem_buf_addc(out, '}');
    free(members);
}

static void put(struct llem_buf *out, const struct llem_value *v, const struct style *st, int depth)
{
    size_t i;

    switch (v->kind) {
    case LLEM_NULL:
        llem_buf_adds(out, "null");
        break;
    case LLEM_BOOL:
        llem_buf_adds(out, v->b ? "true" : "false");
        break;
    case LLEM_INT:
        llem_buf_addf(out, "%lld", (long long)v->i);
        break;
    case LLEM_REAL:
        put_real(out, v->d, st->rounded);
        break;
    case LLEM_STRING:
        put_string(out, v->s, v->len, st->ascii);
        break;
    case LLEM_LIST:
        llem_buf_addc(out, '[');
        for (i = 0; i < v->count && !out->failed; i++) {
            if (i)
                llem_buf_adds(out, st->comma);
            put_line(out, st, depth + 1);
            put(out, v->items[i], st, depth + 1);
        }
        if (v->count)
            put_line(out, st, depth);
        llem_buf_addc(out, ']');
        break;
    case LLEM_MAP:
        put_map(out, v, st, depth);
        break;
    }
}

void llem_json_dump(struct llem_buf *out, const struct llem_value *v, enum llem_json_style style)
{
    if (v)
        put(out, v, &styles[style], 0);
    else
        llem_buf_adds(out, "null");
}

llem_errcode llem_json_save(const char *path, const struct llem_value *v, llem_error *err)
{
    struct llem_buf text = LLEM_BUF_INIT(SIZE_MAX / 2);
    llem_errcode rc;

    llem_json_dump(&text, v, LLEM_JSON_PRETTY);
    llem_buf_addc(&text, '\n');
    if (text.failed)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot write '%s': out of memory", path);
    else
        rc = llem_file_write(path, text.data, text.len, err);
    llem_buf_done(&text);
    return rc;
}

/* ---- in ----------------------------------------------------------------------------------- */

/* NULL if the tree is deeper than the limit; without memory the arena says so. */
static struct llem_value *convert(struct llem_arena *a, json_t *j, int depth)
{
    struct llem_value *v, *item;
    const char *key;
    json_t *member;
    size_t i;

    switch (json_typeof(j)) {
    case JSON_NULL:
        return llem_null(a);
    case JSON_TRUE:
        return llem_bool(a, true);
    case JSON_FALSE:
        return llem_bool(a, false);
    case JSON_INTEGER:
        return llem_int(a, json_integer_value(j));
    case JSON_REAL:
        return llem_real(a, json_real_value(j));
    case JSON_STRING:
        return llem_stringn(a, json_string_value(j), json_string_length(j));
    case JSON_ARRAY:
        if (depth == MAX_DEPTH)
            return NULL;
        v = llem_list(a);
        json_array_foreach(j, i, member)
        {
            item = convert(a, member, depth + 1);
            if (!item || a->oom)
                return item;
            llem_append(a, v, item);
        }
        return v;
    case JSON_OBJECT:
        if (depth == MAX_DEPTH)
            return NULL;
        v = llem_map(a);
        json_object_foreach(j, key, member)
        {
            item = convert(a, member, depth + 1);
            if (!item || a->oom)
                return item;
            llem_add(a, v, key, item);
        }
        return v;
    }
    return llem_null(a);
}

llem_errcode llem_json_parse(struct llem_arena *a, struct llem_value **out, const char *text,
                             size_t len, const char *name, llem_error *err)
{
    struct llem_value *v;
    json_error_t bad;
    llem_errcode rc = LLEM_OK;
    const char *nul;
    json_t *j;

    /* jansson takes a NUL for the end and would not look at what follows. */
    nul = len ? memchr(text, 0, len) : NULL;
    if (nul) {
        int line = 1, column = 1;
        const char *p;

        for (p = text; p < nul; p++) {
            column = *p == '\n' ? 1 : column + 1;
            line += *p == '\n';
        }
        return llem_fail_at(err, LLEM_ECORRUPT, name, line, column,
                            "this is not valid JSON: there is a NUL byte in it");
    }
    j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &bad);
    if (!j) {
        if (json_error_code(&bad) == json_error_out_of_memory)
            return llem_fail(err, LLEM_ENOMEM, "cannot read '%s': out of memory", name);
        return llem_fail_at(err, LLEM_ECORRUPT, name, bad.line > 0 ? bad.line : 0,
                            bad.line > 0 && bad.column >= 0 ? bad.column : 0,
                            "this is not valid JSON: %s", bad.text);
    }
    v = convert(a, j, 0);
    if (!v)
        rc = llem_fail_at(err, LLEM_ECORRUPT, name, 0, 0,
                          "this JSON is nested deeper than %d levels", MAX_DEPTH);
    else if (a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot read '%s': out of memory", name);
    else
        *out = v;
    json_decref(j);
    return rc;
}

llem_errcode llem_json_load(struct llem_arena *a, struct llem_value **out, const char *path,
                            size_t max_bytes, llem_error *err)
{
    struct llem_buf text = LLEM_BUF_INIT(max_bytes);
    llem_errcode rc;

    rc = llem_file_read(&text, path, err);
    if (rc == LLEM_OK)
        rc = llem_json_parse(a, out, text.data, text.len, path, err);
    llem_buf_done(&text);
    return rc;
}
