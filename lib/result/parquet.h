/* SPDX-License-Identifier: MIT
 *
 * A Parquet writer for flat tables: optional columns, PLAIN encoding, version 1 data pages, RLE
 * definition levels, zstd, key-value metadata. It writes and never reads.
 * https://github.com/apache/parquet-format
 */
#ifndef LLEM_RESULT_PARQUET_H
#define LLEM_RESULT_PARQUET_H

#include "lib/base/value.h"

enum llem__parquet_type {
    LLEM__PARQUET_INT32,
    LLEM__PARQUET_INT64,
    LLEM__PARQUET_FLOAT,
    LLEM__PARQUET_DOUBLE,
    LLEM__PARQUET_UTF8
};

struct llem__parquet_column {
    const char *name;
    enum llem__parquet_type type;
};

/* One value; null where `null` stays true. Integers in i, floating point in d, text in s. */
struct llem__cell {
    bool null;
    int64_t i;
    double d;
    const char *s;
};
/* Fill *out, which comes in as null. */
typedef void (*llem__cell_fn)(void *user, size_t row, size_t column, struct llem__cell *out);

/* Write a table's whole file into out, which is empty. metadata: a map of strings. */
llem_errcode llem__parquet_write(struct llem_buf *out, const struct llem__parquet_column *columns,
                                 size_t n_columns, size_t n_rows, llem__cell_fn cell, void *user,
                                 const struct llem_value *metadata, llem_error *err);

#endif
