/* SPDX-License-Identifier: MIT
 *
 * Parquet, as little of it as flat tables need. Metadata is Thrift's compact protocol: field ids as
 * deltas, zigzag varints, lists with a short header.
 */
#include "lib/result/parquet.h"

#include <string.h>
#include <zstd.h>

/* Thrift compact types. */
enum { T_I32 = 5, T_I64 = 6, T_BINARY = 8, T_LIST = 9, T_STRUCT = 12 };
/* Values of the format's enumerations. */
enum {
    DATA_PAGE = 0,
    PLAIN = 0,
    RLE = 3,
    ZSTD = 6,
    REQUIRED = 0,
    OPTIONAL = 1,
    CONVERTED_UTF8 = 0
};
enum { ROWS_PER_PAGE = 1 << 16, ROWS_PER_GROUP = 1 << 20 };
#define MAX_FILE ((size_t)4 << 30)

static const struct {
    int physical;
    size_t size;
} types[] = {
    [LLEM__PARQUET_INT32] = { 1, 4 }, [LLEM__PARQUET_INT64] = { 2, 8 },
    [LLEM__PARQUET_FLOAT] = { 4, 4 }, [LLEM__PARQUET_DOUBLE] = { 5, 8 },
    [LLEM__PARQUET_UTF8] = { 6, 0 },
};

/* ---- Thrift ------------------------------------------------------------------------------- */

static void varint(struct llem_buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        llem_buf_addc(b, (char)(v | 0x80));
    llem_buf_addc(b, (char)v);
}

static void zigzag(struct llem_buf *b, int64_t v)
{
    varint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

/* Begin field `id` of a struct; *last is the id before it. */
static void field(struct llem_buf *b, int *last, int id, int type)
{
    llem_buf_addc(b, (char)((id - *last) << 4 | type)); /* all our deltas are below 16 */
    *last = id;
}

static void stop(struct llem_buf *b)
{
    llem_buf_addc(b, 0);
}

static void int_field(struct llem_buf *b, int *last, int id, int type, int64_t v)
{
    field(b, last, id, type);
    zigzag(b, v);
}

static void text(struct llem_buf *b, const char *s)
{
    varint(b, strlen(s));
    llem_buf_adds(b, s);
}

static void text_field(struct llem_buf *b, int *last, int id, const char *s)
{
    field(b, last, id, T_BINARY);
    text(b, s);
}

static void list_field(struct llem_buf *b, int *last, int id, int type, size_t n)
{
    field(b, last, id, T_LIST);
    if (n < 15) {
        llem_buf_addc(b, (char)(n << 4 | (size_t)type));
    } else {
        llem_buf_addc(b, (char)(0xf0 | type));
        varint(b, n);
    }
}

/* ---- pages -------------------------------------------------------------------------------- */

struct chunk {
    size_t offset, packed, plain, values;
};

struct writer {
    struct llem_buf *file, levels, values, page;
    const struct llem__parquet_column *columns;
    size_t n_columns;
    llem__cell_fn cell;
    void *user;
};

static void put_value(struct llem_buf *b, enum llem__parquet_type type, const struct llem__cell *c)
{
    int32_t i32 = (int32_t)c->i;
    float f32 = (float)c->d;
    uint32_t len;

    switch (type) {
    case LLEM__PARQUET_INT32:
        llem_buf_add(b, &i32, 4);
        break;
    case LLEM__PARQUET_INT64:
        llem_buf_add(b, &c->i, 8);
        break;
    case LLEM__PARQUET_FLOAT:
        llem_buf_add(b, &f32, 4);
        break;
    case LLEM__PARQUET_DOUBLE:
        llem_buf_add(b, &c->d, 8);
        break;
    case LLEM__PARQUET_UTF8:
        len = (uint32_t)strlen(c->s);
        llem_buf_add(b, &len, 4);
        llem_buf_add(b, c->s, len);
        break;
    }
}

/* Definition levels of bit width 1 as RLE runs: length << 1, then the level in one byte. */
static void put_run(struct llem_buf *b, uint64_t length, char level)
{
    if (length) {
        varint(b, length << 1);
        llem_buf_addc(b, level);
    }
}

static llem_errcode put_page(struct writer *w, size_t column, size_t first, size_t n,
                             struct chunk *c, llem_error *err)
{
    struct llem_buf *header = &w->levels; /* free again once the page is made */
    uint64_t run = 0;
    uint32_t len;
    char level = 1;
    size_t packed, before = w->file->len;
    void *at;
    int last = 0, inner = 0;

    llem_buf_clear(&w->levels);
    llem_buf_clear(&w->values);
    llem_buf_clear(&w->page);
    for (size_t k = 0; k < n; k++) {
        struct llem__cell cell = { .null = true };

        w->cell(w->user, first + k, column, &cell);
        if (level != !cell.null) {
            put_run(&w->levels, run, level);
            level = !cell.null;
            run = 0;
        }
        run++;
        if (!cell.null)
            put_value(&w->values, w->columns[column].type, &cell);
    }
    put_run(&w->levels, run, level);
    len = (uint32_t)w->levels.len;
    llem_buf_add(&w->page, &len, 4);
    llem_buf_add(&w->page, w->levels.data, w->levels.len);
    llem_buf_add(&w->page, w->values.data, w->values.len);

    /* Compressed first, behind room for the header, whose length depends on it. */
    llem_buf_clear(&w->values);
    at = llem_buf_grow(&w->values, ZSTD_compressBound(w->page.len));
    if (!at || w->page.failed)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while writing a table");
    packed = ZSTD_compress(at, ZSTD_compressBound(w->page.len), w->page.data, w->page.len, 1);
    if (ZSTD_isError(packed))
        return llem_fail(err, LLEM_ENOMEM, "cannot compress a table: %s",
                         ZSTD_getErrorName(packed));

    llem_buf_clear(header);
    int_field(header, &last, 1, T_I32, DATA_PAGE);
    int_field(header, &last, 2, T_I32, (int64_t)w->page.len);
    int_field(header, &last, 3, T_I32, (int64_t)packed);
    field(header, &last, 5, T_STRUCT);
    int_field(header, &inner, 1, T_I32, (int64_t)n);
    int_field(header, &inner, 2, T_I32, PLAIN);
    int_field(header, &inner, 3, T_I32, RLE);
    int_field(header, &inner, 4, T_I32, RLE);
    stop(header);
    stop(header);
    llem_buf_add(w->file, header->data, header->len);
    llem_buf_add(w->file, at, packed);
    c->plain += header->len + w->page.len;
    c->packed += w->file->len - before;
    c->values += n;
    return w->file->failed || header->failed
               ? llem_fail(err, LLEM_ENOMEM, "out of memory while writing a table")
               : LLEM_OK;
}

/* ---- metadata ----------------------------------------------------------------------------- */

static void put_schema(struct llem_buf *b, int *last, const struct writer *w)
{
    list_field(b, last, 2, T_STRUCT, w->n_columns + 1);
    for (size_t k = 0; k <= w->n_columns; k++) {
        const struct llem__parquet_column *c = k ? &w->columns[k - 1] : NULL;
        int at = 0, inner = 0;

        if (c) {
            int_field(b, &at, 1, T_I32, types[c->type].physical);
            int_field(b, &at, 3, T_I32, OPTIONAL);
        }
        text_field(b, &at, 4, c ? c->name : "schema");
        if (!c)
            int_field(b, &at, 5, T_I32, (int64_t)w->n_columns);
        if (c && c->type == LLEM__PARQUET_UTF8) {
            int_field(b, &at, 6, T_I32, CONVERTED_UTF8);
            field(b, &at, 10, T_STRUCT); /* LogicalType.STRING, an empty struct */
            field(b, &inner, 1, T_STRUCT);
            stop(b);
            stop(b);
        }
        stop(b);
    }
}

static void put_group(struct llem_buf *b, const struct writer *w, const struct chunk *chunks,
                      size_t rows)
{
    int last = 0;
    size_t total = 0;

    list_field(b, &last, 1, T_STRUCT, w->n_columns);
    for (size_t k = 0; k < w->n_columns; k++) {
        const struct chunk *c = &chunks[k];
        int at = 0, inner = 0;

        int_field(b, &at, 2, T_I64, (int64_t)c->offset);
        field(b, &at, 3, T_STRUCT);
        int_field(b, &inner, 1, T_I32, types[w->columns[k].type].physical);
        list_field(b, &inner, 2, T_I32, 2);
        zigzag(b, PLAIN);
        zigzag(b, RLE);
        list_field(b, &inner, 3, T_BINARY, 1);
        text(b, w->columns[k].name);
        int_field(b, &inner, 4, T_I32, ZSTD);
        int_field(b, &inner, 5, T_I64, (int64_t)c->values);
        int_field(b, &inner, 6, T_I64, (int64_t)c->plain);
        int_field(b, &inner, 7, T_I64, (int64_t)c->packed);
        int_field(b, &inner, 9, T_I64, (int64_t)c->offset);
        stop(b);
        stop(b);
        total += c->plain;
    }
    int_field(b, &last, 2, T_I64, (int64_t)total);
    int_field(b, &last, 3, T_I64, (int64_t)rows);
    stop(b);
}

static void put_metadata(struct llem_buf *b, int *last, const struct llem_value *metadata)
{
    size_t n = metadata ? metadata->count : 0;

    list_field(b, last, 5, T_STRUCT, n);
    for (size_t k = 0; k < n; k++) {
        int at = 0;

        text_field(b, &at, 1, metadata->keys[k]);
        if (metadata->items[k]->kind == LLEM_STRING)
            text_field(b, &at, 2, metadata->items[k]->s);
        stop(b);
    }
}

llem_errcode llem__parquet_write(struct llem_buf *out, const struct llem__parquet_column *columns,
                                 size_t n_columns, size_t n_rows, llem__cell_fn cell, void *user,
                                 const struct llem_value *metadata, llem_error *err)
{
    size_t n_groups = n_rows / ROWS_PER_GROUP + (n_rows % ROWS_PER_GROUP != 0);
    struct writer w = {
        .file = out, .columns = columns, .n_columns = n_columns, .cell = cell, .user = user
    };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct chunk *chunks;
    struct llem_buf footer;
    uint32_t len;
    int last = 0;
    llem_errcode rc = LLEM_OK;

    llem_buf_init(&w.levels, MAX_FILE);
    llem_buf_init(&w.values, MAX_FILE);
    llem_buf_init(&w.page, MAX_FILE);
    llem_buf_init(&footer, MAX_FILE);
    chunks = llem_arena_calloc(&a, n_groups * n_columns + 1, sizeof(*chunks));
    if (!chunks) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while writing a table");
        goto done;
    }
    llem_buf_adds(out, "PAR1");
    for (size_t g = 0; g < n_groups; g++) {
        size_t begin = g * ROWS_PER_GROUP, end = begin + ROWS_PER_GROUP;

        end = end < n_rows ? end : n_rows;
        for (size_t k = 0; k < n_columns; k++) {
            struct chunk *c = &chunks[g * n_columns + k];

            c->offset = out->len;
            for (size_t at = begin; at < end; at += ROWS_PER_PAGE) {
                size_t n = end - at < ROWS_PER_PAGE ? end - at : ROWS_PER_PAGE;

                rc = put_page(&w, k, at, n, c, err);
                if (rc != LLEM_OK)
                    goto done;
            }
        }
    }
    int_field(&footer, &last, 1, T_I32, 1);
    put_schema(&footer, &last, &w);
    int_field(&footer, &last, 3, T_I64, (int64_t)n_rows);
    list_field(&footer, &last, 4, T_STRUCT, n_groups);
    for (size_t g = 0; g < n_groups; g++) {
        size_t rows = n_rows - g * ROWS_PER_GROUP;

        put_group(&footer, &w, chunks + g * n_columns,
                  rows < ROWS_PER_GROUP ? rows : ROWS_PER_GROUP);
    }
    put_metadata(&footer, &last, metadata);
    text_field(&footer, &last, 6, "llem");
    stop(&footer);
    len = (uint32_t)footer.len;
    llem_buf_add(out, footer.data, footer.len);
    llem_buf_add(out, &len, 4);
    llem_buf_adds(out, "PAR1");
    if (footer.failed || out->failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while writing a table");
done:
    llem_buf_done(&w.levels);
    llem_buf_done(&w.values);
    llem_buf_done(&w.page);
    llem_buf_done(&footer);
    llem_arena_done(&a);
    return rc;
}
