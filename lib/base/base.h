/* SPDX-License-Identifier: MIT
 *
 * What every room may use: failing with a sentence, growable buffers, arenas. This room knows no
 * energy, no engine and no file format of llem's own.
 */
#ifndef LLEM_BASE_BASE_H
#define LLEM_BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "llem/error.h"

#define LLEM_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LLEM_NS_PER_S INT64_C(1000000000)

/* ---- errors ------------------------------------------------------------------------------- */

/* Fill *err (may be NULL) with a sentence and return code, so that a failing path is one line.
 * The text is cut at whole UTF-8 characters; what is not UTF-8, and control characters but the
 * newline, become '?', because sentences quote hostile files and end on terminals. Clears file,
 * line, column and hint; keeps errno; the arguments may point into *err. */
__attribute__((format(printf, 3, 4))) llem_errcode llem_fail(llem_error *err, llem_errcode code,
                                                             const char *fmt, ...);
/* As llem_fail, and names the place; file may be NULL. */
__attribute__((format(printf, 6, 7))) llem_errcode llem_fail_at(llem_error *err, llem_errcode code,
                                                                const char *file, int line,
                                                                int column, const char *fmt, ...);
/* Put "prefix: " before the sentence already in *err; returns code, that of the failure. */
__attribute__((format(printf, 3, 4))) llem_errcode llem_context(llem_error *err, llem_errcode code,
                                                                const char *fmt, ...);
/* Add what the user can do; returns code, that of the failure. */
__attribute__((format(printf, 3, 4))) llem_errcode llem_hint(llem_error *err, llem_errcode code,
                                                             const char *fmt, ...);

/* ---- buffers ------------------------------------------------------------------------------ */

/*
 * A growable byte string. Invariants: data is never NULL and always NUL-terminated at data[len];
 * len <= max. Appending beyond max or without memory sets `failed` and changes nothing further, so
 * that a caller may append many times and test once.
 *
 *     struct llem_buf b = LLEM_BUF_INIT(1 << 20);
 *     llem_buf_addf(&b, "%d W", watts);
 *     if (b.failed) ...
 *     llem_buf_done(&b);
 */
struct llem_buf {
    char *data;
    size_t len, cap, max;
    bool failed;
};
extern char llem__buf_empty[1];
#define LLEM_BUF_INIT(limit)                                                                       \
    {                                                                                              \
        .data = llem__buf_empty, .max = (limit)                                                    \
    }

void llem_buf_init(struct llem_buf *b, size_t max);
void llem_buf_done(struct llem_buf *b); /* releases and re-initialises; NULL is allowed */
void llem_buf_clear(struct llem_buf *b);
void llem_buf_add(struct llem_buf *b, const void *data, size_t len);
void llem_buf_adds(struct llem_buf *b, const char *s);
void llem_buf_addc(struct llem_buf *b, char c);
__attribute__((format(printf, 2, 3))) void llem_buf_addf(struct llem_buf *b, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) void llem_buf_vaddf(struct llem_buf *b, const char *fmt,
                                                          va_list ap);
/* Grow by len bytes of undefined content and return where they begin; NULL on failure. */
void *llem_buf_grow(struct llem_buf *b, size_t len);
/* The text, now the caller's, to free(); NULL if the buffer failed. The buffer is empty again. */
char *llem_buf_take(struct llem_buf *b);

/* ---- arenas ------------------------------------------------------------------------------- */

/*
 * Memory that is released together. A failed allocation returns NULL and sets `oom`, which sticks:
 * builders go on, and the caller tests once at the end. Memory is zeroed and aligned for any type.
 */
struct llem_arena {
    struct llem_arena_block *blocks;
    size_t used, total, max; /* max: bytes this arena may take in all; 0 = no limit */
    bool oom;
    uint64_t spare[8]; /* what the builders of value.h hand out when there is no memory */
};
#define LLEM_ARENA_INIT                                                                            \
    {                                                                                              \
        0                                                                                          \
    }

void llem_arena_done(struct llem_arena *a);
void *llem_arena_alloc(struct llem_arena *a, size_t size);
void *llem_arena_calloc(struct llem_arena *a, size_t count, size_t size); /* checks the product */
char *llem_arena_strdup(struct llem_arena *a, const char *s);             /* NULL stays NULL */
char *llem_arena_strndup(struct llem_arena *a, const char *s, size_t len);
__attribute__((format(printf, 2, 3))) char *llem_arena_printf(struct llem_arena *a, const char *fmt,
                                                              ...);

/* ---- strings ------------------------------------------------------------------------------ */

bool llem_starts_with(const char *s, const char *prefix);
bool llem_ends_with(const char *s, const char *suffix);
bool llem_utf8_valid(const char *s, size_t len);
/* The first character of s into *ret and its length; 0 at the end and where s is not UTF-8. */
size_t llem_utf8_next(const char *s, size_t len, uint32_t *ret);
/* Strict whole-string numbers in the C locale whatever the process's locale; false = not one. */
bool llem_parse_i64(const char *s, int64_t *ret);
bool llem_parse_f64(const char *s, double *ret); /* no nan, no inf, no hex */
int llem_format_i64(char out[24], int64_t v);    /* returns the length */
/* Shortest decimal text that reads back as d; `python` adds ".0" to integers and uses Python's
 * rules for the exponent. out holds at least 32 bytes. d is finite. Returns the length. */
int llem_format_f64(char out[32], double d, bool python);
/*
 * The nearest name for a did-you-mean: the candidate with the least Damerau-Levenshtein distance,
 * at most max(1, len/3) away, first in the list on a tie; NULL if none is near. `names` ends with
 * NULL.
 */
const char *llem_nearest(const char *word, const char *const *names);

#endif
