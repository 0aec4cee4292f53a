/* SPDX-License-Identifier: MIT
 *
 * Reading YAML and JSON files: libfyaml gives events with positions, this file makes values of them
 * and types plain scalars by YAML 1.1, as PyYAML's safe_load does. It knows limits, but no
 * settings.
 */
#include "lib/config/internal.h"

#include <libfyaml.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

struct anchor {
    const char *name;
    const struct llem_value *value;
    size_t nodes;
    struct anchor *next;
};

struct reader {
    struct llem_arena *a;
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct llem__keys *keys;
    const char *name;
    llem_error *err;
    struct anchor *anchors;
    size_t nodes;
    int depth;
    bool json;
};

/* ---- scalars ------------------------------------------------------------------------------ */

bool llem__is_one_of(const char *s, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(s, *words) == 0)
            return true;
    }
    return false;
}

static const char *span(const char *s, const char *set)
{
    return s + strspn(s, set);
}

#define DIGITS "0123456789"

/* ":[0-5]?[0-9]", once or more; NULL if it is not there. */
static const char *sixties(const char *s)
{
    if (*s != ':')
        return NULL;
    while (*s == ':') {
        s++;
        if (*s >= '0' && *s <= '5' && s[1] >= '0' && s[1] <= '9')
            s += 2;
        else if (*s >= '0' && *s <= '9')
            s++;
        else
            return NULL;
    }
    return s;
}

/* The forms of PyYAML's resolver, in its order of float before int. */
static bool looks_like_float(const char *s)
{
    const char *p = s, *q;
    bool sign = *p == '-' || *p == '+';

    if (sign)
        p++;
    if (*p == '.') {
        static const char *const infinities[] = { ".inf", ".Inf", ".INF", NULL };
        static const char *const nans[] = { ".nan", ".NaN", ".NAN", NULL };
        if (llem__is_one_of(p, infinities))
            return true;
        if (sign)
            return false; /* PyYAML takes "-.5" for text */
        if (llem__is_one_of(p, nans))
            return true;
        if (p[1] < '0' || p[1] > '9')
            return false;
        p = span(p + 1, DIGITS "_");
    } else {
        if (*p < '0' || *p > '9')
            return false;
        p = span(p, DIGITS "_");
        q = sixties(p);
        if (q)
            return *q == '.' && !*span(q + 1, DIGITS "_");
        if (*p != '.')
            return false;
        p = span(p + 1, DIGITS "_");
    }
    if (*p == 'e' || *p == 'E') {
        /* Without a sign, "1.0e3" is text: a trap of YAML 1.1. */
        if ((p[1] != '-' && p[1] != '+') || p[2] < '0' || p[2] > '9')
            return false;
        p = span(p + 2, DIGITS);
    }
    return *p == '\0';
}

static bool looks_like_int(const char *s)
{
    const char *p = s + (*s == '-' || *s == '+');

    if (p[0] == '0' && p[1] == 'b')
        return p[2] && !*span(p + 2, "01_");
    if (p[0] == '0' && p[1] == 'x')
        return p[2] && !*span(p + 2, "0123456789abcdefABCDEF_");
    if (p[0] == '0')
        return !*span(p + 1, "01234567_");
    if (*p < '1' || *p > '9')
        return false;
    p = span(p, DIGITS "_");
    if (*p == ':')
        p = sixties(p);
    return p && *p == '\0';
}

enum number { NUMBER_OK, NUMBER_TOO_LARGE, NUMBER_NONE };

/* magnitude = magnitude * base + digit, false on overflow. */
static bool push_digit(uint64_t *magnitude, unsigned base, unsigned digit)
{
    return !__builtin_mul_overflow(*magnitude, (uint64_t)base, magnitude) &&
           !__builtin_add_overflow(*magnitude, (uint64_t)digit, magnitude);
}

static enum number parse_int(const char *s, int64_t *ret)
{
    bool negative = *s == '-';
    const char *p = s + (*s == '-' || *s == '+');
    uint64_t whole = 0, part = 0;
    unsigned base = 10;
    bool any = false;

    if (p[0] == '0' && p[1] == 'b') {
        base = 2;
        p += 2;
    } else if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    } else if (p[0] == '0') {
        base = 8;
    }
    for (; *p; p++) {
        if (*p == '_')
            continue;
        if (*p == ':') {
            if (__builtin_add_overflow(whole, part, &whole) ||
                __builtin_mul_overflow(whole, UINT64_C(60), &whole))
                return NUMBER_TOO_LARGE;
            part = 0;
            continue;
        }
        any = true;
        unsigned digit = *p <= '9' ? (unsigned)(*p - '0') : (unsigned)((*p | 0x20) - 'a' + 10);
        if (!push_digit(&part, base, digit))
            return NUMBER_TOO_LARGE;
    }
    if (!any)
        return NUMBER_NONE; /* "0x_": PyYAML fails on it */
    if (__builtin_add_overflow(whole, part, &whole) ||
        whole > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return NUMBER_TOO_LARGE;
    *ret = negative ? (int64_t)(0 - whole) : (int64_t)whole;
    return NUMBER_OK;
}

/* One run of digits with a point, without underscores, in the spelling that llem_parse_f64 takes.
 */
static double parse_plain_float(struct llem_arena *a, const char *s, size_t len)
{
    char *text = llem_arena_alloc(a, len + 3);
    size_t n = 0;
    double d;

    if (!text)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '_')
            continue;
        if (s[i] == '.' && n == 0)
            text[n++] = '0';
        text[n++] = s[i];
        if (s[i] == '.') {
            while (i + 1 < len && s[i + 1] == '_')
                i++;
            if (i + 1 == len || s[i + 1] < '0' || s[i + 1] > '9')
                text[n++] = '0';
        }
    }
    text[n] = '\0';
    /* What is out of range becomes infinite, as in Python; tiny numbers become 0. */
    if (!llem_parse_f64(text, &d))
        d = strchr(text, '-') ? 0 : INFINITY;
    return d;
}

static double parse_float(struct llem_arena *a, const char *s)
{
    bool negative = *s == '-';
    const char *p = s + (*s == '-' || *s == '+');
    double sum = 0;

    if (*p == '.' && (p[1] | 0x20) == 'i')
        return negative ? -INFINITY : INFINITY;
    if (*p == '.' && (p[1] | 0x20) == 'n')
        return NAN;
    for (;;) {
        size_t len = strcspn(p, ":");
        sum = sum * 60 + parse_plain_float(a, p, len);
        if (!p[len])
            break;
        p += len + 1;
    }
    return negative ? -sum : sum;
}

/* NaN and infinities are kept as reals here, so that the check of a setting can name them. */
static struct llem_value *new_real(struct llem_arena *a, double d)
{
    struct llem_value *v = llem_real(a, 0);

    if (v->kind == LLEM_REAL)
        v->d = d;
    return v;
}

/* A plain scalar of YAML 1.1. *problem: a sentence's end if the text cannot be held. */
static struct llem_value *plain(struct llem_arena *a, const char *s, size_t len,
                                const char **problem)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
    static const char *const yes[] = { "yes",  "Yes", "YES", "true", "True",
                                       "TRUE", "on",  "On",  "ON",   NULL };
    static const char *const no[] = { "no",    "No",  "NO",  "false", "False",
                                      "FALSE", "off", "Off", "OFF",   NULL };
    int64_t i;

    if (strlen(s) != len)
        return llem_stringn(a, s, len);
    if (llem__is_one_of(s, nulls))
        return llem_null(a);
    if (llem__is_one_of(s, yes))
        return llem_bool(a, true);
    if (llem__is_one_of(s, no))
        return llem_bool(a, false);
    if (looks_like_float(s))
        return new_real(a, parse_float(a, s));
    if (looks_like_int(s)) {
        switch (parse_int(s, &i)) {
        case NUMBER_OK:
            return llem_int(a, i);
        case NUMBER_TOO_LARGE:
            *problem = "is too large for a whole number of 64 bits";
            break;
        case NUMBER_NONE:
            break;
        }
    }
    return llem_stringn(a, s, len);
}

/* The words and numbers of JSON; its syntax was checked before. */
static struct llem_value *json_plain(struct llem_arena *a, const char *s, size_t len)
{
    int64_t i;
    double d;

    if (strcmp(s, "null") == 0)
        return llem_null(a);
    if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0)
        return llem_bool(a, *s == 't');
    if (!strpbrk(s, ".eE") && llem_parse_i64(s, &i))
        return llem_int(a, i);
    if (llem_parse_f64(s, &d))
        return new_real(a, d);
    return llem_stringn(a, s, len);
}

struct llem_value *llem_yaml_scalar(struct llem_arena *a, const char *text)
{
    const char *problem = NULL;
    struct llem_value *v = NULL;

    /* A collection or a quoted string is YAML; anything else is one scalar, whatever it holds. */
    if (*text && strchr("[{\"'", *text)) {
        if (llem_yaml_parse(a, &v, text, strlen(text), "setting", NULL) < 0)
            return NULL;
        return v;
    }
    v = plain(a, text, strlen(text), &problem);
    return problem ? NULL : v;
}

/* ---- events ------------------------------------------------------------------------------- */

static void place(struct fy_event *e, int *line, int *column)
{
    const struct fy_mark *mark = e ? fy_event_start_mark(e) : NULL;

    *line = mark ? mark->line + 1 : 1;
    *column = mark ? mark->column + 1 : 1;
    /* libfyaml points behind an opening quote. */
    if (e && e->type == FYET_SCALAR && *column > 1) {
        enum fy_scalar_style style = fy_token_scalar_style(e->scalar.value);
        if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
            --*column;
    }
}

__attribute__((format(printf, 3, 4))) static void complain(struct reader *r, struct fy_event *e,
                                                           const char *fmt, ...)
{
    int line, column;
    va_list ap;
    struct llem_buf b = LLEM_BUF_INIT(1024);

    place(e, &line, &column);
    va_start(ap, fmt);
    llem_buf_vaddf(&b, fmt, ap);
    va_end(ap);
    llem_fail_at(r->err, LLEM_ECONFIG, r->name, line, column, "%s", b.data);
    llem_buf_done(&b);
}

/* What libfyaml says about the text, as one sentence. What it cannot say, or says of its own
 * functions, is not about the text: it has run out of memory. */
static void complain_syntax(struct reader *r)
{
    void *iter = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(r->diag, &iter);

    if (!e || !e->msg || strstr(e->msg, "() failed"))
        r->a->oom = true;
    else
        llem_fail_at(r->err, LLEM_ECONFIG, r->name, e->line > 0 ? e->line : 1,
                     e->column > 0 ? e->column : 1, "this is not valid %s: %s",
                     r->json ? "JSON" : "YAML", e->msg);
}

/* The next event, NULL (and an error) if there is none. */
static struct fy_event *next(struct reader *r)
{
    struct fy_event *e = fy_parser_parse(r->parser);

    if (!e)
        complain_syntax(r);
    return e;
}

static void done_with(struct reader *r, struct fy_event *e)
{
    if (e)
        fy_parser_event_free(r->parser, e);
}

static char *token_text(struct reader *r, struct fy_token *t, size_t *len)
{
    size_t n = 0, expected = t ? fy_token_get_text_length(t) : 0;
    const char *s = t ? fy_token_get_text(t, &n) : NULL;

    /* Without memory libfyaml gives an empty text. */
    if (t && (!s || n != expected))
        r->a->oom = true;
    *len = s ? n : 0;
    return llem_arena_strndup(r->a, s ? s : "", *len);
}

static bool count_nodes(struct reader *r, struct fy_event *e, size_t nodes)
{
    r->nodes += nodes;
    if (r->nodes <= LLEM__YAML_MAX_NODES)
        return true;
    complain(r, e, "the file holds more than %d values, with its aliases written out",
             LLEM__YAML_MAX_NODES);
    return false;
}

static void remember_anchor(struct reader *r, struct fy_token *token, const struct llem_value *v,
                            size_t nodes)
{
    struct anchor *anchor;
    size_t len;

    if (!token)
        return;
    anchor = llem_arena_alloc(r->a, sizeof(*anchor));
    if (!anchor)
        return;
    anchor->name = token_text(r, token, &len);
    anchor->value = v;
    anchor->nodes = nodes;
    anchor->next = r->anchors;
    r->anchors = anchor;
}

static void remember_key(struct reader *r, const struct llem_value *v, int line, int column)
{
    struct llem__keys *k = r->keys;

    if (!k)
        return;
    if (k->count == k->cap) {
        size_t cap = k->cap ? 2 * k->cap : 64;
        struct llem__key *items = llem_arena_calloc(r->a, cap, sizeof(*items));
        if (!items)
            return;
        if (k->count)
            memcpy(items, k->items, k->count * sizeof(*items));
        k->items = items;
        k->cap = cap;
    }
    k->items[k->count++] = (struct llem__key){ v, line, column };
}

/* The core tags say how a scalar is read; others are refused. NULL: no tag. */
static bool tag_of(struct reader *r, struct fy_event *e, struct fy_token *token, const char **ret)
{
    static const char core[] = "tag:yaml.org,2002:";
    size_t len;
    char *text;

    *ret = NULL;
    if (!token)
        return true;
    text = token_text(r, token, &len);
    if (!text)
        return true;
    if (strcmp(text, "!") == 0)
        *ret = "str";
    else if (llem_starts_with(text, core))
        *ret = text + sizeof(core) - 1;
    else
        *ret = text;
    static const char *const known[] = { "str", "int", "float",  "bool",     "null",
                                         "map", "seq", "!unset", "!literal", NULL };
    if (llem__is_one_of(*ret, known))
        return true;
    complain(r, e, "the tag \"%s\" has no meaning here; leave it out", text);
    return false;
}

static struct llem_value *scalar(struct reader *r, struct fy_event *e)
{
    const char *tag, *problem = NULL;
    struct llem_value *v = NULL;
    enum fy_scalar_style style = fy_token_scalar_style(e->scalar.value);
    size_t len;
    char *text = token_text(r, e->scalar.value, &len);

    if (!text)
        return llem_null(r->a);
    if (!tag_of(r, e, e->scalar.tag, &tag))
        return NULL;
    if (tag && (strcmp(tag, "map") == 0 || strcmp(tag, "seq") == 0)) {
        complain(r, e, "a value tagged !!%s is no single value", tag);
        return NULL;
    }
    if (tag && tag[0] == '!') {
        if (strcmp(tag, "!unset") != 0 || *text) {
            complain(r, e, "%s",
                     *text ? "!unset stands alone, without a value"
                           : "!literal stands before a list");
            return NULL;
        }
        v = llem_null(r->a);
        if (!r->a->oom)
            v->source = LLEM_TAG_UNSET;
        return v;
    }
    if (r->json) {
        v = style == FYSS_PLAIN ? json_plain(r->a, text, len) : llem_stringn(r->a, text, len);
    } else if (tag ? strcmp(tag, "str") == 0 : style != FYSS_PLAIN && e->scalar.value) {
        v = llem_stringn(r->a, text, len);
    } else {
        v = plain(r->a, text, len, &problem);
        if (problem) {
            complain(r, e, "%s %s", text, problem);
            return NULL;
        }
        if (tag && strcmp(tag, "float") == 0 && v->kind == LLEM_INT)
            v = new_real(r->a, (double)v->i);
        enum llem_kind wanted = !tag                        ? v->kind
                                : strcmp(tag, "int") == 0   ? LLEM_INT
                                : strcmp(tag, "float") == 0 ? LLEM_REAL
                                : strcmp(tag, "bool") == 0  ? LLEM_BOOL
                                                            : LLEM_NULL;
        if (v->kind != wanted) {
            complain(r, e, "\"%s\" is not what its tag !!%s says", text, tag);
            return NULL;
        }
    }
    return v;
}

static struct llem_value *compose(struct reader *r, struct fy_event *e);

static struct llem_value *alias(struct reader *r, struct fy_event *e)
{
    size_t len;
    char *name = token_text(r, e->alias.anchor, &len);

    if (!name)
        return llem_null(r->a);
    for (const struct anchor *x = r->anchors; x; x = x->next) {
        if (x->name && strcmp(x->name, name) == 0) {
            if (!count_nodes(r, e, x->nodes))
                return NULL;
            return llem_copy(r->a, x->value);
        }
    }
    complain(r, e, "the alias *%s names no anchor that is complete before it", name);
    return NULL;
}

static struct llem_value *sequence(struct reader *r)
{
    struct llem_value *list = llem_list(r->a), *item;

    for (;;) {
        struct fy_event *e = next(r);
        if (!e)
            return NULL;
        if (e->type == FYET_SEQUENCE_END) {
            done_with(r, e);
            return list;
        }
        item = compose(r, e);
        if (!item)
            return NULL;
        llem_append(r->a, list, item);
    }
}

/* The text of a key. Numbers are spelled one way, so that 0x10 and 16 are the same key. */
static const char *key_text(struct reader *r, struct fy_event *e, bool *merge)
{
    struct llem_value *v;
    size_t len;
    char *text;
    bool is_plain;

    *merge = false;
    if (e->type != FYET_SCALAR) {
        complain(r, e, "a key must be a single value");
        return NULL;
    }
    text = token_text(r, e->scalar.value, &len);
    if (!text)
        return "";
    if (strlen(text) != len) {
        complain(r, e, "a key must not hold a NUL character");
        return NULL;
    }
    is_plain = fy_token_scalar_style(e->scalar.value) == FYSS_PLAIN;
    if (!r->json && is_plain && !e->scalar.tag && strcmp(text, "<<") == 0)
        *merge = true;
    v = scalar(r, e);
    if (!v)
        return NULL;
    if (v->kind == LLEM_INT)
        return llem_arena_printf(r->a, "%lld", (long long)v->i);
    return text;
}

/* The maps of a `<<`: what the map does not have itself, the first map that has it gives. */
static bool merge_keys(struct reader *r, struct fy_event *e, struct llem_value *map,
                       const struct llem_value *from)
{
    if (from->kind == LLEM_MAP) {
        for (size_t i = 0; i < from->count; i++) {
            if (llem_get(map, from->keys[i]))
                continue;
            if (!count_nodes(r, e, 1))
                return false;
            llem_set(r->a, map, from->keys[i], llem_copy(r->a, from->items[i]));
        }
        return true;
    }
    if (from->kind == LLEM_LIST) {
        for (size_t i = 0; i < from->count; i++) {
            if (from->items[i]->kind != LLEM_MAP || !merge_keys(r, e, map, from->items[i])) {
                if (from->items[i]->kind != LLEM_MAP)
                    complain(r, e, "a merge key << takes a map or a list of maps");
                return false;
            }
        }
        return true;
    }
    complain(r, e, "a merge key << takes a map or a list of maps");
    return false;
}

static struct llem_value *mapping(struct reader *r)
{
    struct llem_value *map = llem_map(r->a), *merged = NULL, *v;
    struct fy_event *e = NULL, *merge_event = NULL;
    bool ok = false, merge;

    for (;;) {
        const char *key;
        int line, column;

        e = next(r);
        if (!e)
            goto done;
        if (e->type == FYET_MAPPING_END)
            break;
        key = key_text(r, e, &merge);
        if (!key)
            goto done;
        place(e, &line, &column);
        if (merge ? merged != NULL : llem_get(map, key) != NULL) {
            complain(r, e, "the key \"%s\" stands here twice", key);
            goto done;
        }
        if (map->kind == LLEM_MAP && map->count >= LLEM__YAML_MAX_KEYS) {
            complain(r, e, "this map has more than %d keys", LLEM__YAML_MAX_KEYS);
            goto done;
        }
        if (e->scalar.anchor)
            remember_anchor(r, e->scalar.anchor, llem_string(r->a, key), 1);
        if (merge) {
            merge_event = e;
            e = NULL;
        } else {
            done_with(r, e);
            e = NULL;
        }
        struct fy_event *ve = next(r);
        if (!ve)
            goto done;
        v = compose(r, ve);
        if (!v)
            goto done;
        if (merge) {
            merged = v;
            continue;
        }
        llem_set(r->a, map, key, v);
        remember_key(r, v, line, column);
    }
    /* After all own keys are known, because they win. */
    if (merged && !merge_keys(r, merge_event, map, merged))
        goto done;
    ok = true;

done:
    done_with(r, e);
    done_with(r, merge_event);
    return ok ? map : NULL;
}

/* One value from its first event, which is released. NULL: an error is set. */
static struct llem_value *compose(struct reader *r, struct fy_event *e)
{
    struct llem_value *v = NULL;
    const char *tag;
    size_t before = r->nodes;
    bool literal;
    int line, column;

    place(e, &line, &column);
    if (!count_nodes(r, e, 1))
        goto done;
    if (r->depth >= LLEM__YAML_MAX_DEPTH) {
        complain(r, e, "the file is nested deeper than %d levels", LLEM__YAML_MAX_DEPTH);
        goto done;
    }
    r->depth++;
    switch (e->type) {
    case FYET_SCALAR:
        v = scalar(r, e);
        break;
    case FYET_ALIAS:
        v = alias(r, e);
        break;
    case FYET_SEQUENCE_START:
    case FYET_MAPPING_START:
        if (!tag_of(r, e,
                    e->type == FYET_MAPPING_START ? e->mapping_start.tag : e->sequence_start.tag,
                    &tag))
            break;
        literal = tag && strcmp(tag, "!literal") == 0 && e->type == FYET_SEQUENCE_START;
        if (tag && !literal && strcmp(tag, e->type == FYET_MAPPING_START ? "map" : "seq") != 0) {
            complain(r, e, "this value is not what its tag %s%s says", tag[0] == '!' ? "" : "!!",
                     tag);
            break;
        }
        v = e->type == FYET_MAPPING_START ? mapping(r) : sequence(r);
        if (v && literal && !r->a->oom)
            v->source = LLEM_TAG_LITERAL;
        break;
    default:
        complain(r, e, "this is not valid YAML");
        break;
    }
    r->depth--;
    if (!v)
        goto done;
    /* The shared null of an arena without memory must not be written to. */
    if (!r->a->oom) {
        v->file = r->name;
        v->line = line;
        v->column = column;
    }
    remember_anchor(r, fy_event_get_anchor_token(e), v, r->nodes - before);

done:
    done_with(r, e);
    return v;
}

static llem_errcode document(struct reader *r, struct llem_value **out)
{
    struct llem_value *root = NULL;
    struct fy_event *e;
    enum fy_event_type type;

    for (;;) {
        e = fy_parser_parse(r->parser);
        if (!e) {
            complain_syntax(r);
            return LLEM_ECONFIG;
        }
        type = e->type;
        switch (type) {
        case FYET_STREAM_START:
        case FYET_DOCUMENT_END:
            done_with(r, e);
            break;
        case FYET_STREAM_END:
            done_with(r, e);
            goto done;
        case FYET_DOCUMENT_START:
            if (root) {
                complain(r, e, "the file holds more than one document; keep only one");
                done_with(r, e);
                return LLEM_ECONFIG;
            }
            done_with(r, e);
            break;
        default:
            root = compose(r, e);
            if (!root)
                return LLEM_ECONFIG;
            break;
        }
    }
done:
    *out = root ? root : llem_null(r->a);
    return LLEM_OK;
}

static void discard(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    (void)diag, (void)user, (void)text, (void)len;
}

static llem_errcode bad_utf8(const char *text, size_t len, const char *name, llem_error *err)
{
    int line = 1, column = 1;

    for (size_t i = 0; i < len;) {
        size_t n = 1;
        while (n < 4 && i + n < len && ((unsigned char)text[i + n] & 0xC0) == 0x80)
            n++;
        if (!llem_utf8_valid(text + i, n))
            break;
        column++;
        if (text[i] == '\n') {
            line++;
            column = 1;
        }
        i += n;
    }
    return llem_fail_at(err, LLEM_ECONFIG, name, line, column,
                        "the file is not valid UTF-8 from here on");
}

llem_errcode llem__yaml_read(struct llem_arena *a, struct llem_value **out, struct llem__keys *keys,
                             const char *text, size_t len, const char *name, bool json,
                             llem_error *err)
{
    static const struct fy_diag_cfg quiet = { .output_fn = discard, .level = FYET_ERROR };
    struct fy_parse_cfg cfg = { .flags = FYPCF_COLLECT_DIAG | FYPCF_QUIET };
    struct reader r = { .a = a, .keys = keys, .name = name, .err = err, .json = json };
    struct llem_value *strict = NULL;
    llem_errcode rc;

    r.name = llem_arena_strdup(a, name);
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (len > LLEM__YAML_MAX_BYTES) {
        rc = llem_fail_at(err, LLEM_ECONFIG, name, 1, 1, "the file is larger than %d MiB",
                          LLEM__YAML_MAX_BYTES >> 20);
        goto done;
    }
    if (!llem_utf8_valid(text, len)) {
        rc = bad_utf8(text, len, name, err);
        goto done;
    }
    if (memchr(text, '\0', len)) {
        rc = llem_fail_at(err, LLEM_ECONFIG, name, 1, 1, "the file holds a NUL byte");
        goto done;
    }
    /* The JSON reader is the judge of what is JSON; libfyaml then gives the positions. */
    if (json) {
        rc = llem_json_parse(a, &strict, text, len, name, err);
        if (rc < 0) {
            if (err)
                err->code = LLEM_ECONFIG;
            rc = rc == LLEM_ENOMEM ? rc : LLEM_ECONFIG;
            goto done;
        }
    }
    r.diag = fy_diag_create(&quiet);
    if (!r.diag) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for reading %s", name);
        goto done;
    }
    fy_diag_set_collect_errors(r.diag, true);
    cfg.diag = r.diag;
    cfg.flags |= json ? FYPCF_JSON_FORCE : FYPCF_JSON_NONE;
    r.parser = fy_parser_create(&cfg);
    if (!r.parser || fy_parser_set_string(r.parser, text, len) != 0) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for reading %s", name);
        goto done;
    }
    rc = document(&r, out);
    if (a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for reading %s", name);

done:
    if (r.parser)
        fy_parser_destroy(r.parser);
    if (r.diag)
        fy_diag_destroy(r.diag);
    return rc;
}

llem_errcode llem_yaml_parse(struct llem_arena *a, struct llem_value **out, const char *text,
                             size_t len, const char *name, llem_error *err)
{
    return llem__yaml_read(a, out, NULL, text, len, name, false, err);
}

llem_errcode llem__yaml_load(struct llem_arena *a, struct llem_value **out, struct llem__keys *keys,
                             const char *path, llem_error *err)
{
    struct llem_buf b = LLEM_BUF_INIT(LLEM__YAML_MAX_BYTES + 1);
    bool json = llem_ends_with(path, ".json");
    llem_errcode rc;

    if (!json && !llem_ends_with(path, ".yaml") && !llem_ends_with(path, ".yml"))
        return llem_fail(
            err, LLEM_ECONFIG, "%s: a configuration ends with .yaml, .yml or .json%s", path,
            llem_path_is_dir(path) ? "; the directory of a model is given with -m" : "");
    rc = llem_file_read(&b, path, err);
    if (rc == LLEM_ECORRUPT)
        rc = llem_fail_at(err, LLEM_ECONFIG, path, 1, 1, "the file is larger than %d MiB",
                          LLEM__YAML_MAX_BYTES >> 20);
    if (rc == LLEM_OK)
        rc = llem__yaml_read(a, out, keys, b.data, b.len, path, json, err);
    llem_buf_done(&b);
    return rc;
}

llem_errcode llem_yaml_load(struct llem_arena *a, struct llem_value **out, const char *path,
                            llem_error *err)
{
    return llem__yaml_load(a, out, NULL, path, err);
}
