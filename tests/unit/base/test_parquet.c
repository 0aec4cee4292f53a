/* SPDX-License-Identifier: MIT
 *
 * Parquet files of pyarrow and DuckDB (tools/make_golden_parquet.py), and files that are wrong.
 */
#include "tests/unit/base/help.h"

#include "lib/base/parquet.h"

enum { MAX_ROWS = 5000 };

static struct llem_arena arena;
static struct llem_buf file;
static struct llem_parquet p;
static llem_error err;

static int begin(void **state)
{
    llem_buf_init(&file, 1 << 20);
    memset(&err, 0, sizeof(err));
    return 0;
}

static int end(void **state)
{
    llem_buf_done(&file);
    llem_arena_done(&arena);
    return 0;
}

static void load(const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/parquet/%s.parquet",
             getenv("LLEM_TEST_SOURCE_DIR"), name);
    llem_buf_clear(&file);
    if (llem_file_read(&file, path, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
}

static llem_errcode open_file(void)
{
    return llem_parquet_open(&p, file.data, file.len, "t.parquet", MAX_ROWS, 1 << 20, &arena, &err);
}

static const struct llem_parquet_column *column(const char *name)
{
    for (size_t i = 0; i < p.n_columns; i++)
        if (strcmp(p.columns[i].name, name) == 0)
            return &p.columns[i];
    fail_msg("there is no column %s", name);
    return NULL;
}

static struct llem_parquet_text *read_column(const char *file_name, const char *name)
{
    struct llem_parquet_text *texts = NULL;

    load(file_name);
    if (open_file() != LLEM_OK || llem_parquet_read(&p, column(name), &texts, &err) != LLEM_OK)
        fail_msg("%s: %s", file_name, err.msg);
    return texts;
}

static void is(const struct llem_parquet_text *t, const char *text)
{
    if (!text) {
        assert_null(t->s);
        assert_int_equal(t->len, 0);
    } else {
        assert_non_null(t->s);
        assert_int_equal(t->len, strlen(text));
        assert_memory_equal(t->s, text, t->len);
    }
}

static void every_encoding_page_and_codec_gives_the_same_texts(void **state)
{
    static const char *const files[] = { "v1-none",        "v1-snappy",       "v1-zstd",
                                         "v2-snappy",      "delta-length-v1", "delta-length-v2",
                                         "delta-bytes-v1", "delta-bytes-v2",  "groups-and-pages",
                                         "plain-required" };

    for (size_t k = 0; k < LLEM_COUNT(files); k++) {
        const struct llem_parquet_text *texts = read_column(files[k], "text");
        bool whole = strcmp(files[k], "plain-required") == 0;

        assert_int_equal(p.n_rows, 21);
        assert_int_equal(column("text")->optional, !whole);
        for (size_t i = 0; i < 21; i++) {
            char text[32];

            if (i % 3 && i < 20)
                is(&texts[i], "same");
            else if (i == 20)
                is(&texts[i], whole ? "filled 20" : "");
            else if (i % 6 == 0) {
                snprintf(text, sizeof(text), "row %zu \xc3\xa9", i);
                is(&texts[i], text);
            } else {
                snprintf(text, sizeof(text), "filled %zu", i);
                is(&texts[i], whole ? text : NULL);
            }
        }
    }
}

static void files_of_duckdb_are_read(void **state)
{
    static const char *const files[] = { "duckdb-v1", "duckdb-v2" };

    for (size_t k = 0; k < LLEM_COUNT(files); k++) {
        const struct llem_parquet_text *texts = read_column(files[k], "text");

        assert_int_equal(p.n_rows, 21);
        for (size_t i = 0; i < 21; i++) {
            char text[32];

            snprintf(text, sizeof(text), "duck %zu", i % 5);
            is(&texts[i], i % 3 ? text : NULL);
        }
    }
}

static void columns_beside_lists_and_structs_are_found(void **state)
{
    const struct llem_parquet_text *texts = read_column("columns", "text");

    is(&texts[0], "row 0 \xc3\xa9");
    assert_int_equal(p.n_columns, 5);
    assert_false(column("id")->text);
    assert_false(column("score")->text);
    texts = read_column("columns", "source");
    is(&texts[0], "wiki");
    is(&texts[1], "chat");
    is(&texts[2], NULL);
    is(&texts[18], "wiki");
}

static void no_rows_are_no_error(void **state)
{
    read_column("no-rows", "text");
    assert_int_equal(p.n_rows, 0);
}

/* ---- bad files ---------------------------------------------------------------------------- */

static void refused(const char *part)
{
    struct llem_parquet_text *texts;
    llem_errcode rc = open_file();

    if (rc == LLEM_OK)
        rc = llem_parquet_read(&p, &p.columns[0], &texts, &err);
    assert_int_equal(rc, LLEM_ECORRUPT);
    if (!strstr(err.msg, part))
        fail_msg("'%s' does not say '%s'", err.msg, part);
    assert_non_null(strstr(err.msg, "t.parquet"));
}

static void what_is_no_parquet_file_says_so(void **state)
{
    llem_buf_adds(&file, "PAR1");
    refused("does not begin with PAR1");
    llem_buf_clear(&file);
    llem_buf_adds(&file, "version https://git-lfs.github.com/spec/v1");
    refused("does not begin with PAR1");
    load("v1-none");
    file.len -= 9;
    refused("cut short");
    load("v1-none");
    memcpy(file.data + file.len - 8, "\xff\xff\xff\x7f", 4);
    refused("footer is longer than the file");
    load("v1-none");
    memcpy(file.data, "PARE", 4);
    refused("encrypted");
}

static void a_codec_that_is_not_read_is_named_with_a_remedy(void **state)
{
    load("v1-gzip");
    refused("packed with GZIP, and llem reads ZSTD, SNAPPY");
    assert_non_null(strstr(err.hint, "compression='zstd'"));
}

static void more_rows_than_the_limit_are_refused(void **state)
{
    load("aienergyscore");
    assert_int_equal(
        llem_parquet_open(&p, file.data, file.len, "t.parquet", 999, 1 << 20, &arena, &err),
        LLEM_ECORRUPT);
    assert_non_null(strstr(err.msg, "more than 999 records"));
}

static void what_unpacks_to_too_much_is_refused(void **state)
{
    struct llem_parquet_text *texts;

    load("aienergyscore");
    assert_int_equal(
        llem_parquet_open(&p, file.data, file.len, "t.parquet", MAX_ROWS, 20000, &arena, &err),
        LLEM_OK);
    assert_int_equal(llem_parquet_read(&p, &p.columns[0], &texts, &err), LLEM_ECORRUPT);
    assert_non_null(strstr(err.msg, "unpacks to more"));
}

/* Whatever byte changes: an error, or texts that lie in memory (the sanitizers look). */
static void any_changed_byte_is_survived(void **state)
{
    static const char *const files[] = { "v1-snappy", "v1-zstd", "v2-snappy", "delta-bytes-v2",
                                         "groups-and-pages" };
    struct llem_parquet_text *texts;
    size_t wrong = 0;

    for (size_t k = 0; k < LLEM_COUNT(files); k++) {
        load(files[k]);
        for (size_t at = 0; at < file.len; at++)
            for (int change = 1; change < 256; change = change * 5 + 2) {
                file.data[at] = (char)(file.data[at] ^ change);
                if (open_file() != LLEM_OK || p.n_columns == 0 || !p.columns[0].text ||
                    llem_parquet_read(&p, &p.columns[0], &texts, &err) != LLEM_OK)
                    wrong++;
                else
                    for (size_t i = 0; i < p.n_rows; i++)
                        assert_true(texts[i].len == 0 || memchr(texts[i].s, 0, texts[i].len) ||
                                    texts[i].s[0]);
                file.data[at] = (char)(file.data[at] ^ change);
                llem_arena_done(&arena);
            }
    }
    assert_true(wrong > 1000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(every_encoding_page_and_codec_gives_the_same_texts),
        T(files_of_duckdb_are_read),
        T(columns_beside_lists_and_structs_are_found),
        T(no_rows_are_no_error),
        T(what_is_no_parquet_file_says_so),
        T(a_codec_that_is_not_read_is_named_with_a_remedy),
        T(more_rows_than_the_limit_are_refused),
        T(what_unpacks_to_too_much_is_refused),
        T(any_changed_byte_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
