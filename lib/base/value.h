/* SPDX-License-Identifier: MIT
 *
 * A tree of values: what JSON and YAML files become, what configurations, recordings and results
 * are made of before they are written. Everything lives in the arena it was made in and is freed
 * with it.
 *
 * Builders never fail visibly: without memory they return a null value that lies in the arena
 * itself and set arena->oom, which the caller tests once before using the tree.
 */
#ifndef LLEM_BASE_VALUE_H
#define LLEM_BASE_VALUE_H

#include "lib/base/base.h"

enum llem_kind { LLEM_NULL, LLEM_BOOL, LLEM_INT, LLEM_REAL, LLEM_STRING, LLEM_LIST, LLEM_MAP };

/* Where a value came from. One list: config's precedence (lowest first), _resolution.json, errors.
 */
enum llem_source {
    LLEM_FROM_NONE,        /* built by the program, no provenance */
    LLEM_FROM_DEFAULT,     /* the row's default */
    LLEM_FROM_PRESET,      /* sampling_preset */
    LLEM_FROM_USER_CONFIG, /* the user's config file */
    LLEM_FROM_FILE,        /* CONFIG */
    LLEM_FROM_ENVIRONMENT, /* a LLEM_ variable */
    LLEM_FROM_FLAG,        /* the command line, or a keyword argument of the API */
    LLEM_FROM_SWEEP,
    /* Tags of a file, until its values are marked with where they came from. */
    LLEM_TAG_UNSET,   /* `!unset`, a null: removes the key that a lower layer has */
    LLEM_TAG_LITERAL, /* `!literal [...]`: the list itself, not its items one by one */
};

struct llem_value {
    enum llem_kind kind;
    uint8_t source;   /* enum llem_source */
    int line, column; /* 1-based position in the file it came from; 0 = none */
    const char *file; /* as shown to the user; NULL = none. For environment and flags: their name */
    union {
        bool b;
        int64_t i;
        double d;
        struct {
            const char *s; /* NUL-terminated, UTF-8 */
            size_t len;
        };
        struct {
            size_t count, cap;
            struct llem_value **items; /* LLEM_LIST; and LLEM_MAP in insertion order */
            const char **keys;         /* LLEM_MAP only */
        };
    };
};

struct llem_value *llem_null(struct llem_arena *a);
struct llem_value *llem_bool(struct llem_arena *a, bool b);
struct llem_value *llem_int(struct llem_arena *a, int64_t i);
/* A NaN or an infinity becomes null: no such thing leaves the program as a number. */
struct llem_value *llem_real(struct llem_arena *a, double d);
struct llem_value *llem_string(struct llem_arena *a, const char *s); /* copies; NULL becomes null */
struct llem_value *llem_stringn(struct llem_arena *a, const char *s, size_t len);
__attribute__((format(printf, 2, 3))) struct llem_value *llem_stringf(struct llem_arena *a,
                                                                      const char *fmt, ...);
struct llem_value *llem_list(struct llem_arena *a);
struct llem_value *llem_map(struct llem_arena *a);
void llem_append(struct llem_arena *a, struct llem_value *list, struct llem_value *item);
/* Replace or add; returns v, so that trees can be built inside out. key is copied. */
struct llem_value *llem_set(struct llem_arena *a, struct llem_value *map, const char *key,
                            struct llem_value *v);
/* As llem_set for a key that is known to be new: constant time, where a map of many keys is read.
 */
struct llem_value *llem_add(struct llem_arena *a, struct llem_value *map, const char *key,
                            struct llem_value *v);
/* The same for text that lives in the arena already: it is borrowed, not copied. */
struct llem_value *llem__add(struct llem_arena *a, struct llem_value *map, const char *key,
                             struct llem_value *v);
struct llem_value *llem__string(struct llem_arena *a, const char *s, size_t len);
bool llem_unset(struct llem_value *map, const char *key);

/* Borrowed; NULL if absent (or if map is NULL or no map). */
struct llem_value *llem_get(const struct llem_value *map, const char *key);
/* The value at "a.b.c" or "list.0.x"; NULL if any part is absent. */
struct llem_value *llem_at(const struct llem_value *root, const char *path);
/* Set at "a.b.c", making maps on the way. NULL (and no change) if a part is there and is no map. */
struct llem_value *llem_set_at(struct llem_arena *a, struct llem_value *root, const char *path,
                               struct llem_value *v);
struct llem_value *llem_copy(struct llem_arena *a, const struct llem_value *v); /* deep */
/* Deep merge of `over` into a copy of `base`: maps merge, LLEM_TAG_UNSET removes, anything else
 * (null too) replaces. */
struct llem_value *llem_merge(struct llem_arena *a, const struct llem_value *base,
                              const struct llem_value *over);
bool llem_equal(const struct llem_value *a, const struct llem_value *b); /* kinds must agree */

/* Reading with a default for absent, null or of another kind. Integers count as reals. */
const char *llem_str_at(const struct llem_value *root, const char *path, const char *otherwise);
int64_t llem_int_at(const struct llem_value *root, const char *path, int64_t otherwise);
double llem_real_at(const struct llem_value *root, const char *path,
                    double otherwise); /* NAN is usual */
bool llem_bool_at(const struct llem_value *root, const char *path, bool otherwise);
bool llem_is_null(const struct llem_value *v); /* absent (NULL) or null */

#endif
