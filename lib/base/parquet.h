/* SPDX-License-Identifier: MIT
 *
 * The text columns of Parquet files, as data sets are published. The file lies in memory and may be
 * hostile: nothing outside of it is read, and what is unpacked has a limit.
 * https://github.com/apache/parquet-format
 */
#ifndef LLEM_BASE_PARQUET_H
#define LLEM_BASE_PARQUET_H

#include "lib/base/base.h"

struct llem_parquet_text {
    const char *s; /* not NUL-terminated and not checked for being UTF-8; NULL = null */
    size_t len;
};

/* A column that is one value a row. Those inside of lists, maps and structs are left out. */
struct llem_parquet_column {
    const char *name;
    size_t leaf; /* which of all columns, nested ones counted */
    bool text, optional;
};

struct llem_parquet {
    const char *name; /* of the file, for errors */
    const uint8_t *data, *footer;
    size_t len, footer_len; /* len: without the footer */
    size_t budget;          /* bytes that may still be unpacked */
    size_t n_rows, n_columns, n_leaves;
    struct llem_parquet_column *columns;
    struct llem_arena *a; /* of everything that is handed out, and of what was unpacked */
};

/* Read the footer. More than max_rows rows are refused, and so is, later, what unpacks to more than
 * max_bytes in all. data stays the caller's and has to live on. */
llem_errcode llem_parquet_open(struct llem_parquet *p, const void *data, size_t len,
                               const char *name, size_t max_rows, size_t max_bytes,
                               struct llem_arena *a, llem_error *err);
/* The n_rows values of a text column. */
llem_errcode llem_parquet_read(struct llem_parquet *p, const struct llem_parquet_column *column,
                               struct llem_parquet_text **out, llem_error *err);

#endif
