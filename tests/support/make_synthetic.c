/* SPDX-License-Identifier: MIT
 *
 * Writes made-up experiments, their results, and a table with a known pattern, for tests in other
 * languages:
 *
 *     make-synthetic experiment DIR SENSOR [key=value]...   SENSOR: nvml, rapl, estimate, none
 *     make-synthetic table FILE ROWS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/parquet.h"
#include "lib/result/result.h"
#include "tests/support/synthetic.h"

static const struct llem__parquet_column columns[] = {
    { "i32", LLEM__PARQUET_INT32 }, { "i64", LLEM__PARQUET_INT64 },
    { "f32", LLEM__PARQUET_FLOAT }, { "f64", LLEM__PARQUET_DOUBLE },
    { "text", LLEM__PARQUET_UTF8 }, { "nothing", LLEM__PARQUET_DOUBLE },
    { "all", LLEM__PARQUET_INT64 },
};

/* Row k: -k, k * 2^33, k / 4, k / 3, "row k", null, k; null in turn each 2, 3, 5, 7 and 11 rows. */
static void pattern(void *user, size_t row, size_t column, struct llem__cell *out)
{
    static const size_t every[] = { 2, 3, 5, 7, 11, 1, 0 };
    char *text = user;
    int64_t k = (int64_t)row;

    out->null = every[column] && row % every[column] == 0;
    out->i = column == 0 ? -k : column == 1 ? k * (INT64_C(1) << 33) : k;
    out->d = column == 2 ? (double)k / 4 : (double)k / 3;
    snprintf(text, 32, "row %zu \xc3\xa9", row);
    out->s = text;
}

static int table(const char *path, const char *rows)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *metadata = llem_map(&a);
    struct llem_buf b = LLEM_BUF_INIT((size_t)1 << 30);
    llem_error err = { 0 };
    char text[32];
    llem_errcode rc;

    llem_set(&a, metadata, "key", llem_string(&a, "value \xc3\xa9"));
    rc = llem__parquet_write(&b, columns, LLEM_COUNT(columns), (size_t)strtoul(rows, NULL, 10),
                             pattern, text, metadata, &err);
    if (rc == LLEM_OK)
        rc = llem_file_write(path, b.data, b.len, &err);
    if (rc != LLEM_OK)
        fprintf(stderr, "%s\n", err.msg);
    llem_buf_done(&b);
    llem_arena_done(&a);
    return rc != LLEM_OK;
}

static int experiment(const char *dir, const char *sensor, char **settings)
{
    static const char *const sensors[] = { "nvml", "rapl", "estimate", "none" };
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct synthetic_truth truth;
    struct llem_recording r;
    struct llem_value *v;
    llem_error err = { 0 };
    llem_errcode rc;
    char rec[4200];

    for (int k = 0; k < 4; k++)
        if (strcmp(sensor, sensors[k]) == 0)
            o.sensor = (enum synthetic_sensor)k;
    for (; *settings; settings++) {
        int n;

        if (sscanf(*settings, "gpus=%d", &n) == 1)
            o.n_gpus = n;
        else if (sscanf(*settings, "requests=%d", &n) == 1)
            o.n_requests = n;
        else if (sscanf(*settings, "seed=%d", &n) == 1)
            o.seed = (uint64_t)n;
        else if (strcmp(*settings, "measure") == 0)
            o.is_measure = true;
        else if (strcmp(*settings, "ranks") == 0)
            o.two_ranks = true;
        else if (strcmp(*settings, "throttled") == 0)
            o.throttled = true;
        else if (sscanf(*settings, "length=%lf", &o.length_s) != 1)
            return 2;
    }
    synthetic_write(dir, &o, &truth, NULL);
    snprintf(rec, sizeof(rec), "%s/recording", dir);
    rc = llem_recording_open(&r, rec, &err);
    if (rc == LLEM_OK) {
        rc = llem_derive(&r, &a, &v, &err);
        if (rc == LLEM_OK)
            rc = llem_result_write(&r, v, dir, &err);
        llem_recording_close(&r);
    }
    if (rc != LLEM_OK)
        fprintf(stderr, "%s\n", err.msg);
    else
        printf("{\"energy_j\": %.17g, \"input_tokens\": %lld, \"output_tokens\": %lld}\n",
               truth.energy_j, (long long)truth.input_tokens, (long long)truth.output_tokens);
    llem_arena_done(&a);
    return rc != LLEM_OK;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "table") == 0)
        return table(argv[2], argv[3]);
    if (argc >= 4 && strcmp(argv[1], "experiment") == 0)
        return experiment(argv[2], argv[3], argv + 4);
    return 2;
}
