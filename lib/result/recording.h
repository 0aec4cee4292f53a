/* SPDX-License-Identifier: MIT
 *
 * The recording as files: recording.json and one zstd-compressed column file a column. The format
 * is docs/formats.md; this header holds what the writer (lib/measure) and the reader share.
 */
#ifndef LLEM_RESULT_RECORDING_H
#define LLEM_RESULT_RECORDING_H

#include "lib/base/batch.h"
#include "lib/base/value.h"

enum { LLEM_RECORDING_VERSION = 1 };

/* Limits of what is read: a recording from elsewhere may be hostile. */
#define LLEM_RECORDING_MAX_JSON ((size_t)64 << 20)
#define LLEM_RECORDING_MAX_BYTES ((size_t)4 << 30) /* of all columns, uncompressed */
#define LLEM_RECORDING_MAX_NS (INT64_C(1) << 61)   /* times; differences of two cannot overflow */
enum { LLEM_RECORDING_MAX_COLUMNS = 256 };

enum llem_column_type { LLEM_COL_I64, LLEM_COL_I32, LLEM_COL_U16, LLEM_COL_F64, LLEM_COL_UTF8 };

/* One column of one table: the list in recording.c is the format. */
struct llem_column_def {
    const char *table, *name;
    enum llem_column_type type;
    const char *unit, *help;
};
extern const struct llem_column_def llem_column_defs[]; /* ends with table NULL */

/* A column in memory: little-endian numbers, or for UTF8 a uint32 length and bytes for each row. */
struct llem_column {
    const struct llem_column_def *def;
    size_t count;     /* rows */
    const void *data; /* count elements of the type */
    size_t bytes;
    /* typed views; the one that fits def->type */
    const int64_t *i64;
    const int32_t *i32;
    const uint16_t *u16;
    const double *f64;
    const char *const *utf8;
};

/* Write one column file, <table>.<name>.<type>.zst, into the recording's batch, and append its
 * entry to `columns` (a list), which keeps the file's name alive. */
llem_errcode llem_column_write(struct llem_batch *batch, const struct llem_column_def *def,
                               const void *data, size_t count, size_t bytes, struct llem_arena *a,
                               struct llem_value *columns, llem_error *err);
const struct llem_column_def *llem_column_find(const char *table,
                                               const char *name); /* NULL if unknown */
/* Append one row to the bytes of a UTF8 column; NULL is an empty text. */
void llem_column_add_utf8(struct llem_buf *b, const char *s);

struct llem_recording {
    struct llem_arena arena;
    struct llem_value *json; /* recording.json */
    struct llem_column *columns;
    size_t n_columns;
    void **owned; /* the columns' memory */
    char dir[4096];
    char sha256[65]; /* of recording.json as read */
};

/* Read <dir>/recording.json and its columns, checking versions, lengths and hashes; hostile files
 * are LLEM_ECORRUPT, no recording.json is LLEM_ENOTFOUND. Release with llem_recording_close(). */
llem_errcode llem_recording_open(struct llem_recording *r, const char *dir, llem_error *err);
void llem_recording_close(struct llem_recording *r);
/* NULL if the recording has no such column. */
const struct llem_column *llem_recording_column(const struct llem_recording *r, const char *table,
                                                const char *name);

#endif
