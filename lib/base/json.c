/* SPDX-License-Identifier: MIT
 *
 * JSON in and out. Equal trees give equal bytes, down to the last digit of a double.
 */
#include "lib/base/json.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    size_t len = (size_t)(depth * st->indent) + 1;
    char *at = st->indent ? llem_buf_grow(out, len) : NULL;

    if (at) {
        memset(at, ' ', len);
        *at = '\n';
    }
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
    char number[24];
    size_t i;

    switch (v->kind) {
    case LLEM_NULL:
        llem_buf_adds(out, "null");
        break;
    case LLEM_BOOL:
        llem_buf_adds(out, v->b ? "true" : "false");
        break;
    case LLEM_INT:
        llem_buf_add(out, number, (size_t)llem_format_i64(number, v->i));
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

/*
 * RFC 8259, strictly. Refused beyond it: duplicate keys, numbers that do not fit, \u0000 (text ends
 * at NUL for too many of its users), more than MAX_DEPTH levels.
 */
struct parser {
    struct llem_arena *a;
    const char *name;
    const char *begin, *p, *end;
    struct llem_buf keys; /* of struct key: those of the objects that are open, innermost last */
    llem_error *err;
    llem_errcode rc; /* of the first failure */
};

struct key {
    const char *text;
    const char *at; /* where it stands in the document */
};

/* What stands at `at`, for an error message. */
static const char *what_is_at(const struct parser *ps, const char *at, char out[32])
{
    size_t n = 0;

    if (at >= ps->end)
        return "the end of the text";
    out[n++] = '\'';
    for (; at < ps->end && (unsigned char)*at > 0x20 && n < 20; at++)
        out[n++] = *at;
    /* At least the one character, whatever it is; and no half of one. */
    if (n == 1)
        out[n++] = *at ? *at : '?';
    while (at < ps->end && ((unsigned char)*at & 0xC0) == 0x80 && n < 24)
        out[n++] = *at++;
    out[n++] = '\'';
    out[n] = '\0';
    return out;
}

__attribute__((format(printf, 3, 4))) static void *refuse(struct parser *ps, const char *at,
                                                          const char *fmt, ...)
{
    int line = 1, column = 1;
    char text[256];
    const char *p;
    va_list ap;

    for (p = ps->begin; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*p & 0xC0) != 0x80) {
            column++;
        }
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ps->rc = llem_fail_at(ps->err, LLEM_ECORRUPT, ps->name, line, column,
                          "this is not valid JSON: %s", text);
    return NULL;
}

static void *no_memory(struct parser *ps)
{
    ps->rc = llem_fail(ps->err, LLEM_ENOMEM, "cannot read '%s': out of memory", ps->name);
    return NULL;
}

static void skip_space(struct parser *ps)
{
    while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\r' || *ps->p == '\t'))
        ps->p++;
}

static bool at_char(const struct parser *ps, char c)
{
    return ps->p < ps->end && *ps->p == c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Four hexadecimal digits; -1 if they are none. */
static int hex4(const char *p, const char *end)
{
    int v = 0, i;

    if (end - p < 4)
        return -1;
    for (i = 0; i < 4; i++) {
        char c = p[i];

        v *= 16;
        if (is_digit(c))
            v += c - '0';
        else if (c >= 'a' && c <= 'f')
            v += c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            v += c - 'A' + 10;
        else
            return -1;
    }
    return v;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* One escape at p[0] == '\\': its length, and its character into *c; 0 after refusing. */
static size_t read_escape(struct parser *ps, const char *p, const char *end, uint32_t *c)
{
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    int high, low;
    size_t i;

    if (p[1] != 'u') {
        for (i = 0; escapes[i]; i += 2) {
            if (escapes[i] == p[1]) {
                *c = (unsigned char)escapes[i + 1];
                return 2;
            }
        }
        refuse(ps, p, "there is no such escape");
        return 0;
    }
    high = hex4(p + 2, end);
    if (high < 0) {
        refuse(ps, p, "four hexadecimal digits must follow '\\u'");
        return 0;
    }
    if (high == 0) {
        refuse(ps, p, "'\\u0000' is not accepted");
        return 0;
    }
    *c = (uint32_t)high;
    if (high < 0xD800 || high > 0xDFFF)
        return 6;
    low = high < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (low < 0xDC00 || low > 0xDFFF) {
        refuse(ps, p, "this is one half of a surrogate pair");
        return 0;
    }
    *c = 0x10000 + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    return 12;
}

/* A string from its opening quote on, decoded into the arena. */
static char *read_string(struct parser *ps, size_t *ret_len)
{
    const char *open = ps->p;
    const char *p, *close;
    size_t n = 0, step;
    bool plain = true; /* ASCII without escapes, as most are */
    uint32_t c;
    char *text;

    for (close = open + 1; close < ps->end && *close != '"'; close++) {
        plain = plain && (unsigned char)*close - 0x20U < 0x60 && *close != '\\';
        if (*close == '\\' && close + 1 < ps->end)
            close++;
    }
    if (close >= ps->end)
        return refuse(ps, open, "this string is never closed");
    /* No escape is shorter than what it stands for. */
    text = llem_arena_alloc(ps->a, (size_t)(close - open));
    if (!text)
        return no_memory(ps);
    if (plain) {
        n = (size_t)(close - open) - 1;
        memcpy(text, open + 1, n);
    }
    for (p = plain ? close : open + 1; p < close; p += step) {
        if (*p == '\\') {
            step = read_escape(ps, p, close, &c);
            if (!step)
                return NULL;
            n += put_utf8(text + n, c);
            continue;
        }
        step = llem_utf8_next(p, (size_t)(close - p), &c);
        if (!step)
            return refuse(ps, p, "this is not UTF-8");
        if (c < 0x20)
            return refuse(ps, p, "a control character must be written as an escape");
        memcpy(text + n, p, step);
        n += step;
    }
    text[n] = '\0';
    ps->p = close + 1;
    *ret_len = n;
    return text;
}

/* The end of the digits from p on. */
static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Eight digits at once: neighbours become pairs, pairs fours, fours the number. */
static uint64_t eight_digits(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    v = le64toh(v) - UINT64_C(0x3030303030303030);
    v = v * 10 + (v >> 8);
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * 100 + (v >> 16 & UINT64_C(0x00ff00ff00ff00ff));
    v = (v & UINT64_C(0x0000ffff0000ffff)) * 10000 + (v >> 32 & UINT64_C(0x0000ffff0000ffff));
    return v & 0xffffffff;
}

/* An integer of `digits` digits, or a real, that was found to be well-formed. */
static struct llem_value *convert_number(struct parser *ps, const char *begin, size_t len,
                                         size_t digits)
{
    enum { ALWAYS_FIT = 19 }; /* decimal digits in 64 bits */
    bool negative = *begin == '-';
    char small[64];
    char *text = small;
    uint64_t w = 0;
    double d = 0;

    if (digits) {
        const char *p = begin + negative, *end = begin + len;

        for (; end - p >= 8; p += 8)
            w = w * 100000000 + eight_digits(p);
        for (; p < end; p++)
            w = w * 10 + (uint64_t)(*p - '0');
        if (digits > ALWAYS_FIT || w > (uint64_t)INT64_MAX + negative)
            return refuse(ps, begin, "this number is too large");
        return llem_int(ps->a, (int64_t)(negative ? 0 - w : w));
    }
    if (len >= sizeof(small)) {
        text = llem_arena_alloc(ps->a, len + 1);
        if (!text)
            return no_memory(ps);
    }
    memcpy(text, begin, len);
    text[len] = '\0';
    if (!llem_parse_f64(text, &d))
        return refuse(ps, begin, "this number is too large");
    return llem_real(ps->a, d);
}

static struct llem_value *read_number(struct parser *ps)
{
    const char *begin = ps->p, *end = ps->end, *p = begin, *first;
    char found[32];
    size_t digits;

    if (*p == '-')
        p++;
    first = p;
    p = skip_digits(p, end);
    digits = (size_t)(p - first);
    if (!digits)
        return refuse(ps, begin, "a value is expected, not %s", what_is_at(ps, begin, found));
    if (*first == '0' && digits > 1)
        return refuse(ps, begin, "a number must not begin with 0");
    if (p < end && *p == '.') {
        digits = 0;
        first = p + 1;
        p = skip_digits(first, end);
        if (p == first)
            return refuse(ps, begin, "a digit must follow the point of a number");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        digits = 0;
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        first = p;
        p = skip_digits(first, end);
        if (p == first)
            return refuse(ps, begin, "the exponent of this number is missing");
    }
    ps->p = p;
    return convert_number(ps, begin, (size_t)(p - begin), digits);
}

static struct llem_value *read_value(struct parser *ps, int depth);

static struct llem_value *read_list(struct parser *ps, int depth)
{
    struct llem_value *list = llem_list(ps->a);
    struct llem_value *item;
    char found[32];

    ps->p++;
    skip_space(ps);
    if (at_char(ps, ']')) {
        ps->p++;
        return list;
    }
    for (;;) {
        item = read_value(ps, depth);
        if (!item)
            return NULL;
        llem_append(ps->a, list, item);
        skip_space(ps);
        if (at_char(ps, ']')) {
            ps->p++;
            return list;
        }
        if (!at_char(ps, ','))
            return refuse(ps, ps->p, "',' or ']' is expected, not %s",
                          what_is_at(ps, ps->p, found));
        ps->p++;
    }
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *one = a;
    const struct key *two = b;
    int order = strcmp(one->text, two->text);

    return order ? order : (one->at > two->at) - (one->at < two->at);
}

/* Are the keys from byte `base` of ps->keys on all different? */
static bool keys_differ(struct parser *ps, size_t base)
{
    struct key *keys = (void *)(ps->keys.data + base);
    size_t n = (ps->keys.len - base) / sizeof(*keys);
    size_t i;

    if (n < 2)
        return true;
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (i = 1; i < n; i++) {
        if (strcmp(keys[i].text, keys[i - 1].text) == 0) {
            refuse(ps, keys[i].at, "the key \"%.100s\" is there twice", keys[i].text);
            return false;
        }
    }
    return true;
}

static struct llem_value *read_map(struct parser *ps, int depth)
{
    struct llem_value *map = llem_map(ps->a);
    struct llem_value *item;
    size_t base = ps->keys.len;
    struct key key;
    char found[32];
    size_t len;

    ps->p++;
    skip_space(ps);
    if (at_char(ps, '}')) {
        ps->p++;
        return map;
    }
    for (;;) {
        skip_space(ps);
        if (!at_char(ps, '"'))
            return refuse(ps, ps->p, "a key in double quotes is expected, not %s",
                          what_is_at(ps, ps->p, found));
        key.at = ps->p;
        key.text = read_string(ps, &len);
        if (!key.text)
            return NULL;
        llem_buf_add(&ps->keys, &key, sizeof(key));
        if (ps->keys.failed)
            return no_memory(ps);
        skip_space(ps);
        if (!at_char(ps, ':'))
            return refuse(ps, ps->p, "':' is expected, not %s", what_is_at(ps, ps->p, found));
        ps->p++;
        item = read_value(ps, depth);
        if (!item)
            return NULL;
        llem__add(ps->a, map, key.text, item);
        skip_space(ps);
        if (at_char(ps, '}'))
            break;
        if (!at_char(ps, ','))
            return refuse(ps, ps->p, "',' or '}' is expected, not %s",
                          what_is_at(ps, ps->p, found));
        ps->p++;
    }
    ps->p++;
    if (!keys_differ(ps, base))
        return NULL;
    ps->keys.len = base;
    return map;
}

static bool at_word(struct parser *ps, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(ps->end - ps->p) < len || memcmp(ps->p, word, len) != 0)
        return false;
    ps->p += len;
    return true;
}

/* NULL after a failure, which is in ps->rc. */
static struct llem_value *read_value(struct parser *ps, int depth)
{
    struct llem_value *v;
    char found[32];
    size_t len = 0;
    char *text;

    skip_space(ps);
    if (at_char(ps, '{') || at_char(ps, '[')) {
        if (depth == MAX_DEPTH)
            return refuse(ps, ps->p, "it is nested deeper than %d levels", MAX_DEPTH);
        v = *ps->p == '{' ? read_map(ps, depth + 1) : read_list(ps, depth + 1);
    } else if (at_char(ps, '"')) {
        text = read_string(ps, &len);
        if (!text)
            return NULL;
        v = llem__string(ps->a, text, len);
    } else if (at_char(ps, '-') || (ps->p < ps->end && is_digit(*ps->p))) {
        v = read_number(ps);
    } else if (at_word(ps, "null")) {
        v = llem_null(ps->a);
    } else if (at_word(ps, "true")) {
        v = llem_bool(ps->a, true);
    } else if (at_word(ps, "false")) {
        v = llem_bool(ps->a, false);
    } else {
        return refuse(ps, ps->p, "a value is expected, not %s", what_is_at(ps, ps->p, found));
    }
    return v && ps->a->oom ? no_memory(ps) : v;
}

llem_errcode llem_json_parse(struct llem_arena *a, struct llem_value **out, const char *text,
                             size_t len, const char *name, llem_error *err)
{
    struct parser ps = { .a = a,
                         .name = name,
                         .begin = text,
                         .p = text,
                         .end = text + len,
                         .keys = LLEM_BUF_INIT(SIZE_MAX / 2),
                         .err = err };
    struct llem_value *v = read_value(&ps, 0);
    char found[32];

    if (v) {
        skip_space(&ps);
        if (ps.p < ps.end)
            refuse(&ps, ps.p, "the text goes on with %s after its end",
                   what_is_at(&ps, ps.p, found));
    }
    if (ps.rc == LLEM_OK)
        *out = v;
    llem_buf_done(&ps.keys);
    return ps.rc;
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
