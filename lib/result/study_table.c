/* SPDX-License-Identifier: MIT
 *
 * The runs of a study as a flat table, a row a run: the settings that differ first, then what the
 * run is, then its numbers. CSV and Parquet have the same columns.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/result/parquet.h"
#include "lib/result/result.h"
#include "lib/result/study.h"

/* Columns that every study has. Strings stand in rows under the same name. */
static const struct llem__parquet_column before[] = {
    { "model", LLEM__PARQUET_UTF8 },          { "engine", LLEM__PARQUET_UTF8 },
    { "experiment", LLEM__PARQUET_INT64 },    { "cycle", LLEM__PARQUET_INT64 },
    { "state", LLEM__PARQUET_UTF8 },          { "energy_quality", LLEM__PARQUET_UTF8 },
    { "energy_source", LLEM__PARQUET_UTF8 },
}, after[] = {
    { "energy_estimated_low_j", LLEM__PARQUET_DOUBLE },
    { "energy_estimated_high_j", LLEM__PARQUET_DOUBLE },
    { "energy_scope", LLEM__PARQUET_UTF8 },   { "hardware", LLEM__PARQUET_UTF8 },
      { "dir", LLEM__PARQUET_UTF8 },
    { "position", LLEM__PARQUET_INT64 },      { "reason", LLEM__PARQUET_UTF8 },
    { "message", LLEM__PARQUET_UTF8 },        { "engine_version", LLEM__PARQUET_UTF8 },
    { "experiment_id", LLEM__PARQUET_UTF8 },  { "measurement_config_hash", LLEM__PARQUET_UTF8 },
    { "started_utc", LLEM__PARQUET_UTF8 },    { "finished_utc", LLEM__PARQUET_UTF8 },
    { "elapsed_s", LLEM__PARQUET_DOUBLE },    { "dataset_sha256", LLEM__PARQUET_UTF8 },
    { "warnings", LLEM__PARQUET_UTF8 },
};
/* Of each measure; its source and quality are in study_result.json. */
static const enum llem__part parts[] = { LLEM__VALUE, LLEM__CI95_LO, LLEM__CI95_HI };

struct table {
    struct llem_arena a;
    struct llem__parquet_column *columns;
    size_t n_columns, n_axes; /* the first are settings */
    const struct llem_value *rows;
};

/* Whole numbers, numbers, or text where one value is neither. */
static enum llem__parquet_type type_of_axis(const struct llem_value *rows, const char *path)
{
    enum llem__parquet_type type = LLEM__PARQUET_INT64;
    bool any = false;

    for (size_t i = 0; i < rows->count; i++) {
        const struct llem_value *v = llem_get(llem_get(rows->items[i], "settings"), path);

        if (llem_is_null(v))
            continue;
        any = true;
        if (v->kind == LLEM_REAL)
            type = LLEM__PARQUET_DOUBLE;
        else if (v->kind != LLEM_INT)
            return LLEM__PARQUET_UTF8;
    }
    return any ? type : LLEM__PARQUET_UTF8;
}

static void add_column(struct table *t, const char *name, enum llem__parquet_type type)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return; /* an axis that is called so: "engine" */
    t->columns[t->n_columns++] = (struct llem__parquet_column){ name, type };
}

static bool table_init(struct table *t, const struct llem_value *study)
{
    const struct llem_value *axes = llem_get(study, "axes");
    size_t n = axes && axes->kind == LLEM_LIST ? axes->count : 0;
    size_t most = n + LLEM_COUNT(before) + LLEM_COUNT(after) + LLEM__MEASURES * LLEM_COUNT(parts);

    t->rows = llem_get(study, "runs");
    t->columns = llem_arena_calloc(&t->a, most, sizeof(*t->columns));
    if (!t->rows || t->rows->kind != LLEM_LIST || !t->columns)
        return false;
    for (size_t i = 0; i < n; i++)
        if (axes->items[i]->kind == LLEM_STRING)
            add_column(t, axes->items[i]->s, type_of_axis(t->rows, axes->items[i]->s));
    t->n_axes = t->n_columns;
    for (size_t i = 0; i < LLEM_COUNT(before); i++)
        add_column(t, before[i].name, before[i].type);
    for (size_t m = 0; m < LLEM__MEASURES; m++)
        for (size_t p = 0; p < LLEM_COUNT(parts); p++) {
            const char *name = llem_arena_printf(&t->a, "%s%s", llem__measures[m].name,
                                                 llem__part_endings[parts[p]]);

            if (name)
                add_column(t, name, LLEM__PARQUET_DOUBLE);
        }
    for (size_t i = 0; i < LLEM_COUNT(after); i++)
        add_column(t, after[i].name, after[i].type);
    return !t->a.oom;
}

static const struct llem_value *value_at(const struct table *t, size_t row, size_t column)
{
    const struct llem_value *r = t->rows->items[row];
    const char *name = t->columns[column].name;

    return column < t->n_axes ? llem_get(llem_get(r, "settings"), name) : llem_get(r, name);
}

/* A string as it stands, anything else as JSON. In the arena. */
static const char *text_of(struct table *t, const struct llem_value *v)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    const char *s;

    if (v->kind == LLEM_STRING)
        return v->s;
    llem_json_dump(&b, v, LLEM_JSON_COMPACT);
    s = llem_arena_strdup(&t->a, b.data);
    llem_buf_done(&b);
    return s ? s : "";
}

static void cell(void *user, size_t row, size_t column, struct llem__cell *out)
{
    struct table *t = user;
    const struct llem_value *v = value_at(t, row, column);

    if (llem_is_null(v))
        return;
    out->null = false;
    switch (t->columns[column].type) {
    case LLEM__PARQUET_UTF8:
        out->s = text_of(t, v);
        break;
    case LLEM__PARQUET_DOUBLE:
        out->d = v->kind == LLEM_INT ? (double)v->i : v->d;
        out->null = v->kind != LLEM_INT && v->kind != LLEM_REAL;
        break;
    default:
        out->i = v->i;
        out->null = v->kind != LLEM_INT;
        break;
    }
}

static void csv_text(struct llem_buf *b, const char *s)
{
    bool quoted = strpbrk(s, ",\"\r\n");

    if (quoted)
        llem_buf_addc(b, '"');
    for (; *s; s++) {
        if (*s == '"')
            llem_buf_addc(b, '"');
        llem_buf_addc(b, *s);
    }
    if (quoted)
        llem_buf_addc(b, '"');
}

static void write_csv(struct table *t, struct llem_buf *b)
{
    char number[32];

    for (size_t k = 0; k < t->n_columns; k++) {
        if (k)
            llem_buf_addc(b, ',');
        csv_text(b, t->columns[k].name);
    }
    llem_buf_addc(b, '\n');
    for (size_t i = 0; i < t->rows->count; i++) {
        for (size_t k = 0; k < t->n_columns; k++) {
            struct llem__cell c = { .null = true };

            if (k)
                llem_buf_addc(b, ',');
            cell(t, i, k, &c);
            if (c.null)
                continue;
            if (t->columns[k].type == LLEM__PARQUET_UTF8)
                csv_text(b, c.s);
            else if (t->columns[k].type == LLEM__PARQUET_DOUBLE)
                llem_buf_add(b, number, (size_t)llem_format_f64(number, c.d, false));
            else
                llem_buf_addf(b, "%lld", (long long)c.i);
        }
        llem_buf_addc(b, '\n');
    }
}

llem_errcode llem_study_table(const llem_result *study, const char *format, char **out, size_t *len,
                              llem_error *err)
{
    const struct llem_value *v = llem__result_tree(study);
    struct table t = { .a = LLEM_ARENA_INIT };
    struct llem_buf b = LLEM_BUF_INIT(SIZE_MAX / 2);
    struct llem_value *metadata;
    llem_errcode rc = LLEM_OK;

    if (strcmp(format, "csv") != 0 && strcmp(format, "parquet") != 0)
        return llem_fail(err, LLEM_EINVAL, "a study's table is csv or parquet, not '%s'", format);
    if (strcmp(llem_str_at(v, "kind", ""), "study") != 0)
        return llem_fail(err, LLEM_EINVAL, "the result of one run is no study");
    if (!table_init(&t, v)) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a table");
        goto done;
    }
    if (strcmp(format, "csv") == 0) {
        write_csv(&t, &b);
    } else {
        metadata = llem_map(&t.a);
        llem_set(&t.a, metadata, "study_name", llem_string(&t.a, llem_str_at(v, "study_name", "")));
        llem_set(&t.a, metadata, "study_design_hash",
                 llem_string(&t.a, llem_str_at(v, "study_design_hash", "")));
        llem_set(&t.a, metadata, "axes", llem_string(&t.a, text_of(&t, llem_get(v, "axes"))));
        rc =
            llem__parquet_write(&b, t.columns, t.n_columns, t.rows->count, cell, &t, metadata, err);
    }
    *len = b.len;
    if (rc == LLEM_OK && (t.a.oom || b.failed))
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a table");
    if (rc == LLEM_OK)
        *out = llem_buf_take(&b);
done:
    llem_buf_done(&b);
    llem_arena_done(&t.a);
    return rc;
}
