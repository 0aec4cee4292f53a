/* SPDX-License-Identifier: MIT
 *
 * Recordings as files: what is written is read back, and what is damaged, cut short or hostile is
 * refused with a sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/reasons.h"
#include "lib/result/recording.h"
#include "tests/support/synthetic.h"

struct fixture {
    char *dir, rec[4200], json[4300];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL };

    f->dir = synthetic_tempdir();
    snprintf(f->rec, sizeof(f->rec), "%s/recording", f->dir);
    snprintf(f->json, sizeof(f->json), "%s/recording.json", f->rec);
    synthetic_write(f->dir, &o, NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    llem_remove_tree(f->dir, NULL);
    free(f->dir);
    free(f);
    return 0;
}

static void assert_refused(const struct fixture *f, llem_errcode code, const char *part)
{
    struct llem_recording r;
    llem_error err = { 0 };
    llem_errcode rc = llem_recording_open(&r, f->rec, &err);

    if (rc == LLEM_OK)
        llem_recording_close(&r);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, part))
        fail_msg("'%s' does not say '%s'", err.msg, part);
}

static void assert_opens(const struct fixture *f)
{
    struct llem_recording r;
    llem_error err = { 0 };

    if (llem_recording_open(&r, f->rec, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    llem_recording_close(&r);
}

/* Change recording.json by a function of the tree. */
static void edit(const struct fixture *f,
                 void (*change)(struct llem_value *json, struct llem_arena *a))
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *json;

    assert_int_equal(llem_json_load(&a, &json, f->json, 1 << 26, NULL), LLEM_OK);
    change(json, &a);
    assert_int_equal(llem_json_save(f->json, json, NULL), LLEM_OK);
    llem_arena_done(&a);
}

static struct llem_value *entry(struct llem_value *json, const char *table, const char *name)
{
    struct llem_value *list = llem_get(json, "columns");

    for (size_t i = 0; i < list->count; i++)
        if (strcmp(llem_str_at(list->items[i], "table", ""), table) == 0 &&
            strcmp(llem_str_at(list->items[i], "name", ""), name) == 0)
            return list->items[i];
    return NULL;
}

/* Replace a column's rows on disk and its entry, so that only the rows are bad. */
static void replace_column(const struct fixture *f, const char *table, const char *name,
                           const void *data, size_t count, size_t bytes)
{
    struct llem_batch batch = { .dir = f->rec, .in_place = true };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *json, *list = llem_list(&a), *e;

    assert_int_equal(llem_json_load(&a, &json, f->json, 1 << 26, NULL), LLEM_OK);
    assert_int_equal(llem_column_write(&batch, llem_column_find(table, name), data, count, bytes,
                                       &a, list, NULL),
                     LLEM_OK);
    llem_batch_done(&batch);
    e = entry(json, table, name);
    for (size_t k = 0; k < list->items[0]->count; k++)
        llem_set(&a, e, list->items[0]->keys[k], list->items[0]->items[k]);
    assert_int_equal(llem_json_save(f->json, json, NULL), LLEM_OK);
    llem_arena_done(&a);
}

static void every_type_is_read_back_as_written(void **state)
{
    struct fixture *f = *state;
    const struct llem_column *c;
    struct llem_recording r;

    assert_int_equal(llem_recording_open(&r, f->rec, NULL), LLEM_OK);
    c = llem_recording_column(&r, "requests", "t_first_ns");
    assert_int_equal(c->count, 12);
    assert_int_equal(c->i64[0], INT64_C(1000333333333));
    assert_null(c->i32);
    c = llem_recording_column(&r, "requests", "output_tokens");
    assert_int_equal(c->i32[11], 32);
    c = llem_recording_column(&r, "samples", "device");
    assert_int_equal(c->u16[c->count - 1], 1);
    c = llem_recording_column(&r, "requests", "finish");
    assert_string_equal(c->utf8[3], "length");
    c = llem_recording_column(&r, "requests", "output_sha256");
    assert_string_equal(c->utf8[0], "");
    assert_null(llem_recording_column(&r, "requests", "no such column"));
    assert_int_equal(strlen(r.sha256), 64);
    llem_recording_close(&r);
}

static void empty_table_is_a_table(void **state)
{
    struct fixture *f = *state;
    struct llem_recording r;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE, .is_measure = true };

    synthetic_write(f->dir, &o, NULL, NULL);
    assert_int_equal(llem_recording_open(&r, f->rec, NULL), LLEM_OK);
    assert_int_equal(llem_recording_column(&r, "requests", "pass")->count, 0);
    assert_int_equal(llem_recording_column(&r, "requests", "finish")->count, 0);
    llem_recording_close(&r);
}

static void no_recording_json_is_no_recording(void **state)
{
    struct fixture *f = *state;

    unlink(f->json);
    assert_refused(f, LLEM_ENOTFOUND, "no recording.json");
}

static void truncated_json_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(truncate(f->json, 1000), 0);
    assert_refused(f, LLEM_ECORRUPT, "");
}

static void newer_version(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, json, "version", llem_int(a, LLEM_RECORDING_VERSION + 1));
}

static void recording_of_a_newer_program_says_so(void **state)
{
    edit(*state, newer_version);
    assert_refused(*state, LLEM_ENOTSUP, "version 2");
}

static void no_version(struct llem_value *json, struct llem_arena *a)
{
    llem_unset(json, "version");
}

static void json_without_version_is_no_recording(void **state)
{
    edit(*state, no_version);
    assert_refused(*state, LLEM_ECORRUPT, "version");
}

static void flipped_bit_in_a_column_is_found(void **state)
{
    struct fixture *f = *state;
    char path[4400];
    FILE *file;
    int c;

    snprintf(path, sizeof(path), "%s/samples.raw.i64.zst", f->rec);
    file = fopen(path, "r+e");
    assert_non_null(file);
    assert_int_equal(fseek(file, 200, SEEK_SET), 0);
    c = fgetc(file);
    assert_int_equal(fseek(file, 200, SEEK_SET), 0);
    fputc(c ^ 4, file);
    fclose(file);
    assert_refused(f, LLEM_ECORRUPT, "samples.raw.i64.zst' is damaged");
}

static void truncated_column_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[4400];

    snprintf(path, sizeof(path), "%s/tokens.t_ns.i64.zst", f->rec);
    assert_int_equal(truncate(path, 40), 0);
    assert_refused(f, LLEM_ECORRUPT, "tokens.t_ns.i64.zst' is damaged");
    assert_int_equal(truncate(path, 0), 0);
    assert_refused(f, LLEM_ECORRUPT, "ends too early");
}

static void missing_column_file_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[4400];

    snprintf(path, sizeof(path), "%s/steps.batch.i32.zst", f->rec);
    unlink(path);
    assert_refused(f, LLEM_ECORRUPT, "missing");
}

static void wrong_hash(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, entry(json, "steps", "batch"), "sha256",
             llem_string(a, "0000000000000000000000000000000000000000000000000000000000000000"));
}

static void wrong_hash_is_refused(void **state)
{
    edit(*state, wrong_hash);
    assert_refused(*state, LLEM_ECORRUPT, "SHA-256");
}

static void other_file(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, entry(json, "steps", "batch"), "file", llem_string(a, "../../../../etc/passwd"));
}

static void file_outside_the_recording_is_refused(void **state)
{
    edit(*state, other_file);
    assert_refused(*state, LLEM_ECORRUPT, "should be in the file 'steps.batch.i32.zst'");
}

static void huge(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *e = entry(json, "steps", "batch");

    llem_set(a, e, "count", llem_int(a, INT64_C(1) << 60));
    llem_set(a, e, "bytes", llem_int(a, INT64_C(1) << 62));
}

static void huge_lengths_are_refused_before_anything_is_allocated(void **state)
{
    edit(*state, huge);
    assert_refused(*state, LLEM_ECORRUPT, "cannot have");
}

static void negative(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, entry(json, "steps", "batch"), "count", llem_int(a, -1));
    llem_set(a, entry(json, "steps", "batch"), "bytes", llem_int(a, -4));
}

static void negative_lengths_are_refused(void **state)
{
    edit(*state, negative);
    assert_refused(*state, LLEM_ECORRUPT, "cannot have");
}

static void shorter(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *e = entry(json, "steps", "batch");

    llem_set(a, e, "count", llem_int(a, 4));
    llem_set(a, e, "bytes", llem_int(a, 16));
}

static void column_longer_than_it_should_be_is_refused(void **state)
{
    edit(*state, shorter);
    assert_refused(*state, LLEM_ECORRUPT, "holds more than");
}

static void twice(struct llem_value *json, struct llem_arena *a)
{
    llem_append(a, llem_get(json, "columns"), entry(json, "steps", "batch"));
}

static void column_listed_twice_is_refused(void **state)
{
    edit(*state, twice);
    assert_refused(*state, LLEM_ECORRUPT, "twice");
}

static void no_columns(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, json, "columns", llem_int(a, 3));
}

static void columns_that_are_no_list_are_refused(void **state)
{
    edit(*state, no_columns);
    assert_refused(*state, LLEM_ECORRUPT, "list of columns");
}

static void later_column(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *e = llem_map(a);

    llem_set(a, e, "table", llem_string(a, "samples"));
    llem_set(a, e, "name", llem_string(a, "of_a_later_program"));
    llem_append(a, llem_get(json, "columns"), e);
}

static void unknown_columns_are_left_alone(void **state)
{
    edit(*state, later_column);
    assert_opens(*state);
}

static void drop(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *list = llem_get(json, "columns"), *left = llem_list(a);

    for (size_t i = 0; i < list->count; i++)
        if (strcmp(llem_str_at(list->items[i], "name", ""), "status") != 0)
            llem_append(a, left, list->items[i]);
    llem_set(a, json, "columns", left);
}

static void table_with_a_column_missing_is_refused(void **state)
{
    edit(*state, drop);
    assert_refused(*state, LLEM_ECORRUPT, "column status is missing");
}

static void columns_of_different_lengths_are_refused(void **state)
{
    int32_t one = 1;

    replace_column(*state, "steps", "batch", &one, 1, sizeof(one));
    assert_refused(*state, LLEM_ECORRUPT, "different lengths");
}

static void token_of_no_request_is_refused(void **state)
{
    static int32_t requests[12 * 32];

    requests[77] = 12;
    replace_column(*state, "tokens", "request", requests, LLEM_COUNT(requests), sizeof(requests));
    assert_refused(*state, LLEM_ECORRUPT, "names a request that does not exist");
    requests[77] = -2;
    replace_column(*state, "tokens", "request", requests, LLEM_COUNT(requests), sizeof(requests));
    assert_refused(*state, LLEM_ECORRUPT, "names a request that does not exist");
}

static void times_that_would_overflow_are_refused(void **state)
{
    static int64_t times[12 * 32];

    times[5] = INT64_MAX;
    replace_column(*state, "tokens", "t_ns", times, LLEM_COUNT(times), sizeof(times));
    assert_refused(*state, LLEM_ECORRUPT, "is no time");
    times[5] = INT64_MIN;
    replace_column(*state, "tokens", "t_ns", times, LLEM_COUNT(times), sizeof(times));
    assert_refused(*state, LLEM_ECORRUPT, "is no time");
}

static void text_that_is_no_text_is_refused(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(4096);
    uint32_t huge_length = UINT32_MAX;

    for (int i = 0; i < 11; i++)
        llem_column_add_utf8(&b, "stop");
    llem_column_add_utf8(&b, "\xff\xfe");
    replace_column(*state, "requests", "finish", b.data, 12, b.len);
    assert_refused(*state, LLEM_ECORRUPT, "row 11 is no text");
    memcpy(b.data, &huge_length, 4);
    replace_column(*state, "requests", "finish", b.data, 12, b.len);
    assert_refused(*state, LLEM_ECORRUPT, "row 0 is no text");
    llem_buf_done(&b);
}

static void wrong_byte_count_is_not_written(void **state)
{
    struct fixture *f = *state;
    struct llem_batch batch = { .dir = f->rec, .in_place = true };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *list = llem_list(&a);
    llem_error err = { 0 };
    int64_t x = 0;

    assert_int_equal(
        llem_column_write(&batch, llem_column_find("events", "t_ns"), &x, 2, 8, &a, list, &err),
        LLEM_EINVAL);
    assert_int_equal(list->count, 0);
    llem_arena_done(&a);
}

static void directory_that_cannot_be_written_is_an_error(void **state)
{
    struct llem_batch batch = { .dir = "/nonexistent/dir", .in_place = true };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *list = llem_list(&a);
    llem_error err = { 0 };
    int64_t x = 0;

    assert_int_equal(
        llem_column_write(&batch, llem_column_find("events", "t_ns"), &x, 1, 8, &a, list, &err),
        LLEM_EIO);
    assert_non_null(strstr(err.msg, "/nonexistent/dir/events.t_ns.i64.zst"));
    llem_arena_done(&a);
}

static void reasons_are_whole_sentences_with_hints(void **state)
{
    for (const struct llem_reason *r = llem_reasons; r->code; r++) {
        size_t sentence = strlen(r->sentence), hint = strlen(r->hint);

        assert_ptr_equal(llem_reason_find(r->code), r); /* no code twice */
        assert_true(sentence > 10 && r->sentence[sentence - 1] == '.');
        assert_true(hint > 10 && r->hint[hint - 1] == '.');
        assert_int_equal(strspn(r->code, "abcdefghijklmnopqrstuvwxyz_"), strlen(r->code));
    }
    assert_null(llem_reason_find("no such code"));
    assert_null(llem_reason_find(NULL));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_type_is_read_back_as_written),
        T(empty_table_is_a_table),
        T(no_recording_json_is_no_recording),
        T(truncated_json_is_refused),
        T(recording_of_a_newer_program_says_so),
        T(json_without_version_is_no_recording),
        T(flipped_bit_in_a_column_is_found),
        T(truncated_column_is_refused),
        T(missing_column_file_is_refused),
        T(wrong_hash_is_refused),
        T(file_outside_the_recording_is_refused),
        T(huge_lengths_are_refused_before_anything_is_allocated),
        T(negative_lengths_are_refused),
        T(column_longer_than_it_should_be_is_refused),
        T(column_listed_twice_is_refused),
        T(columns_that_are_no_list_are_refused),
        T(unknown_columns_are_left_alone),
        T(table_with_a_column_missing_is_refused),
        T(columns_of_different_lengths_are_refused),
        T(token_of_no_request_is_refused),
        T(times_that_would_overflow_are_refused),
        T(text_that_is_no_text_is_refused),
        T(wrong_byte_count_is_not_written),
        T(directory_that_cannot_be_written_is_an_error),
        cmocka_unit_test(reasons_are_whole_sentences_with_hints),
    };

    return cmocka_run_group_tests_name("recording", tests, NULL, NULL);
}
