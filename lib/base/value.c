/* SPDX-License-Identifier: MIT
 *
 * Building, reading, copying and merging trees of values. Knows no file format.
 */
#include "lib/base/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct llem_value) <= sizeof(((struct llem_arena *)0)->spare),
               "the spare value of an arena must hold a value");

static struct llem_value *make(struct llem_arena *a, enum llem_kind kind)
{
    struct llem_value *v = llem_arena_alloc(a, sizeof(*v));

    if (!v) {
        v = (void *)a->spare;
        memset(v, 0, sizeof(*v)); /* a null, whatever was written to the one before */
        return v;
    }
    v->kind = kind;
    return v;
}

struct llem_value *llem_null(struct llem_arena *a)
{
    return make(a, LLEM_NULL);
}

struct llem_value *llem_bool(struct llem_arena *a, bool b)
{
    struct llem_value *v = make(a, LLEM_BOOL);

    if (v->kind == LLEM_BOOL)
        v->b = b;
    return v;
}

struct llem_value *llem_int(struct llem_arena *a, int64_t i)
{
    struct llem_value *v = make(a, LLEM_INT);

    if (v->kind == LLEM_INT)
        v->i = i;
    return v;
}

struct llem_value *llem_real(struct llem_arena *a, double d)
{
    struct llem_value *v = make(a, isfinite(d) ? LLEM_REAL : LLEM_NULL);

    if (v->kind == LLEM_REAL)
        v->d = d;
    return v;
}

struct llem_value *llem__string(struct llem_arena *a, const char *s, size_t len)
{
    struct llem_value *v = make(a, s ? LLEM_STRING : LLEM_NULL);

    if (v->kind == LLEM_STRING) {
        v->s = s;
        v->len = len;
    }
    return v;
}

struct llem_value *llem_stringn(struct llem_arena *a, const char *s, size_t len)
{
    return llem__string(a, llem_arena_strndup(a, s, len), len);
}

struct llem_value *llem_string(struct llem_arena *a, const char *s)
{
    return llem_stringn(a, s, s ? strlen(s) : 0);
}

struct llem_value *llem_stringf(struct llem_arena *a, const char *fmt, ...)
{
    struct llem_value *v;
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        a->oom = true;
    else
        text = llem_arena_alloc(a, (size_t)n + 1);
    v = make(a, LLEM_STRING);
    if (v->kind == LLEM_STRING) {
        va_start(ap, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
        v->s = text;
        v->len = (size_t)n;
    }
    return v;
}

struct llem_value *llem_list(struct llem_arena *a)
{
    return make(a, LLEM_LIST);
}

struct llem_value *llem_map(struct llem_arena *a)
{
    return make(a, LLEM_MAP);
}

/* Room for one more child. The arrays that are left behind stay in the arena: at most as much
 * again. */
static bool grow(struct llem_arena *a, struct llem_value *v)
{
    size_t cap = v->cap ? v->cap * 2 : 4;
    struct llem_value **items;
    const char **keys = NULL;

    if (v->count < v->cap)
        return true;
    items = llem_arena_calloc(a, cap, sizeof(struct llem_value *));
    if (v->kind == LLEM_MAP)
        keys = llem_arena_calloc(a, cap, sizeof(char *));
    if (a->oom)
        return false;
    if (v->count) {
        memcpy(items, v->items, v->count * sizeof(struct llem_value *));
        if (v->kind == LLEM_MAP)
            memcpy(keys, v->keys, v->count * sizeof(char *));
    }
    v->items = items;
    v->keys = keys;
    v->cap = cap;
    return true;
}

/* Something cannot be added to v: without memory that is expected (the key may be missing for want
 * of it too), else the tree is not what the caller believes; either way it must not be used, and
 * oom is what the caller tests. */
static bool refuses(struct llem_arena *a, const struct llem_value *v, enum llem_kind kind,
                    const char *key)
{
    if (v->kind == kind && key)
        return false;
    a->oom = true;
    return true;
}

void llem_append(struct llem_arena *a, struct llem_value *list, struct llem_value *item)
{
    if (refuses(a, list, LLEM_LIST, "") || !grow(a, list))
        return;
    list->items[list->count++] = item ? item : llem_null(a);
}

static size_t find(const struct llem_value *map, const char *key, size_t len)
{
    size_t i;

    for (i = 0; i < map->count; i++)
        if ((len == 0 || map->keys[i][0] == key[0]) && strncmp(map->keys[i], key, len) == 0 &&
            map->keys[i][len] == '\0')
            break;
    return i;
}

struct llem_value *llem__add(struct llem_arena *a, struct llem_value *map, const char *key,
                             struct llem_value *v)
{
    if (!v)
        v = llem_null(a);
    if (refuses(a, map, LLEM_MAP, key) || !grow(a, map))
        return v;
    map->keys[map->count] = key;
    map->items[map->count++] = v;
    return v;
}

struct llem_value *llem_add(struct llem_arena *a, struct llem_value *map, const char *key,
                            struct llem_value *v)
{
    return llem__add(a, map, llem_arena_strdup(a, key), v);
}

struct llem_value *llem_set(struct llem_arena *a, struct llem_value *map, const char *key,
                            struct llem_value *v)
{
    size_t i;

    if (!v)
        v = llem_null(a);
    if (refuses(a, map, LLEM_MAP, key))
        return v;
    i = find(map, key, strlen(key));
    if (i == map->count)
        return llem_add(a, map, key, v);
    map->items[i] = v;
    return v;
}

bool llem_unset(struct llem_value *map, const char *key)
{
    size_t i, after;

    if (!map || map->kind != LLEM_MAP || !key)
        return false;
    i = find(map, key, strlen(key));
    if (i == map->count)
        return false;
    after = map->count - i - 1;
    memmove(map->items + i, map->items + i + 1, after * sizeof(struct llem_value *));
    memmove(map->keys + i, map->keys + i + 1, after * sizeof(char *));
    map->count--;
    return true;
}

static struct llem_value *child(const struct llem_value *v, const char *key, size_t len)
{
    size_t i;

    if (!v)
        return NULL;
    if (v->kind == LLEM_MAP) {
        i = find(v, key, len);
        return i < v->count ? v->items[i] : NULL;
    }
    if (v->kind == LLEM_LIST) {
        size_t index = 0;

        if (len == 0 || len > 9)
            return NULL;
        for (i = 0; i < len; i++) {
            if (key[i] < '0' || key[i] > '9')
                return NULL;
            index = index * 10 + (size_t)(key[i] - '0');
        }
        return index < v->count ? v->items[index] : NULL;
    }
    return NULL;
}

struct llem_value *llem_get(const struct llem_value *map, const char *key)
{
    return map && map->kind == LLEM_MAP && key ? child(map, key, strlen(key)) : NULL;
}

struct llem_value *llem_at(const struct llem_value *root, const char *path)
{
    struct llem_value *v = NULL;

    if (!path)
        return NULL;
    for (;;) {
        size_t len = strcspn(path, ".");

        v = child(root, path, len);
        if (!v || path[len] == '\0')
            return v;
        root = v;
        path += len + 1;
    }
}

struct llem_value *llem_set_at(struct llem_arena *a, struct llem_value *root, const char *path,
                               struct llem_value *v)
{
    struct llem_value *next;
    char *key;
    size_t len;

    if (!path) {
        a->oom = true;
        return NULL;
    }
    for (;;) {
        if (!root || root->kind != LLEM_MAP)
            return NULL;
        len = strcspn(path, ".");
        if (path[len] == '\0')
            return llem_set(a, root, path, v);
        next = child(root, path, len);
        if (!next) {
            key = llem_arena_strndup(a, path, len);
            if (!key)
                return v ? v : llem_null(a);
            next = llem_add(a, root, key, llem_map(a));
            if (a->oom)
                return v ? v : llem_null(a);
        }
        root = next;
        path += len + 1;
    }
}

/* Where a copy goes. Values of one file share its name, so the name last copied is mostly the next.
 */
struct copying {
    struct llem_arena *a;
    const char *from, *to;
};

static void copy_place(struct copying *c, struct llem_value *to, const struct llem_value *from)
{
    if (from->file != c->from) {
        c->from = from->file;
        c->to = llem_arena_strdup(c->a, from->file);
    }
    to->source = from->source;
    to->line = from->line;
    to->column = from->column;
    to->file = c->to;
}

static struct llem_value *copy(struct copying *c, const struct llem_value *v)
{
    struct llem_value *to = NULL;
    size_t i;

    switch (v->kind) {
    case LLEM_NULL:
        to = llem_null(c->a);
        break;
    case LLEM_BOOL:
        to = llem_bool(c->a, v->b);
        break;
    case LLEM_INT:
        to = llem_int(c->a, v->i);
        break;
    case LLEM_REAL:
        to = llem_real(c->a, v->d);
        break;
    case LLEM_STRING:
        to = llem_stringn(c->a, v->s, v->len);
        break;
    case LLEM_LIST:
        to = llem_list(c->a);
        for (i = 0; i < v->count && !c->a->oom; i++)
            llem_append(c->a, to, copy(c, v->items[i]));
        break;
    case LLEM_MAP:
        to = llem_map(c->a);
        for (i = 0; i < v->count && !c->a->oom; i++)
            llem_add(c->a, to, v->keys[i], copy(c, v->items[i]));
        break;
    }
    copy_place(c, to, v);
    return to;
}

struct llem_value *llem_copy(struct llem_arena *a, const struct llem_value *v)
{
    struct copying c = { .a = a };

    return v ? copy(&c, v) : llem_null(a);
}

static void merge_into(struct copying *c, struct llem_value *to, const struct llem_value *over)
{
    size_t i;

    for (i = 0; i < over->count && !c->a->oom; i++) {
        struct llem_value *old = llem_get(to, over->keys[i]);

        if (over->items[i]->source == LLEM_TAG_UNSET) {
            llem_unset(to, over->keys[i]);
        } else if (old && old->kind == LLEM_MAP && over->items[i]->kind == LLEM_MAP) {
            merge_into(c, old, over->items[i]);
            copy_place(c, old, over->items[i]);
        } else {
            llem_set(c->a, to, over->keys[i], copy(c, over->items[i]));
        }
    }
}

struct llem_value *llem_merge(struct llem_arena *a, const struct llem_value *base,
                              const struct llem_value *over)
{
    struct copying c = { .a = a };
    struct llem_value *to;

    if (!over)
        return llem_copy(a, base);
    if (!base || base->kind != LLEM_MAP || over->kind != LLEM_MAP)
        return llem_copy(a, over);
    to = copy(&c, base);
    if (to->kind == LLEM_MAP) {
        merge_into(&c, to, over);
        copy_place(&c, to, over);
    }
    return to;
}

bool llem_equal(const struct llem_value *a, const struct llem_value *b)
{
    size_t i;

    if (!a || !b)
        return a == b;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case LLEM_NULL:
        return true;
    case LLEM_BOOL:
        return a->b == b->b;
    case LLEM_INT:
        return a->i == b->i;
    case LLEM_REAL:
        return a->d == b->d; /* NOLINT: exactly the same number is meant */
    case LLEM_STRING:
        return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
    case LLEM_LIST:
        if (a->count != b->count)
            return false;
        for (i = 0; i < a->count; i++)
            if (!llem_equal(a->items[i], b->items[i]))
                return false;
        return true;
    case LLEM_MAP:
        if (a->count != b->count)
            return false;
        for (i = 0; i < a->count; i++) {
            /* Mostly the order is the same too. */
            const struct llem_value *other =
                strcmp(a->keys[i], b->keys[i]) == 0 ? b->items[i] : llem_get(b, a->keys[i]);

            if (!other || !llem_equal(a->items[i], other))
                return false;
        }
        return true;
    }
    return false;
}

const char *llem_str_at(const struct llem_value *root, const char *path, const char *otherwise)
{
    const struct llem_value *v = llem_at(root, path);

    return v && v->kind == LLEM_STRING ? v->s : otherwise;
}

int64_t llem_int_at(const struct llem_value *root, const char *path, int64_t otherwise)
{
    const struct llem_value *v = llem_at(root, path);

    return v && v->kind == LLEM_INT ? v->i : otherwise;
}

double llem_real_at(const struct llem_value *root, const char *path, double otherwise)
{
    const struct llem_value *v = llem_at(root, path);

    if (v && v->kind == LLEM_INT)
        return (double)v->i;
    return v && v->kind == LLEM_REAL ? v->d : otherwise;
}

bool llem_bool_at(const struct llem_value *root, const char *path, bool otherwise)
{
    const struct llem_value *v = llem_at(root, path);

    return v && v->kind == LLEM_BOOL ? v->b : otherwise;
}

bool llem_is_null(const struct llem_value *v)
{
    return !v || v->kind == LLEM_NULL;
}
