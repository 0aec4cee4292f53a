/* SPDX-License-Identifier: MIT
 *
 * Results on disk: written whole, verified exactly, loaded through the public API from each kind of
 * path, and derived where only the recording is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/result.h"
#include "llem/result.h"
#include "tests/support/synthetic.h"

struct fixture {
    char *dir, exp[4200], path[4400];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_recording r;
    struct llem_value *v;
    char rec[4400];

    f->dir = synthetic_tempdir();
    snprintf(f->exp, sizeof(f->exp), "%s/001_c1_made-up-test_01234567", f->dir);
    snprintf(f->path, sizeof(f->path), "%s/result.json", f->exp);
    snprintf(rec, sizeof(rec), "%s/recording", f->exp);
    synthetic_write(f->exp, &o, NULL, NULL);
    assert_int_equal(llem_recording_open(&r, rec, NULL), LLEM_OK);
    assert_int_equal(llem_derive(&r, &a, &v, NULL), LLEM_OK);
    assert_int_equal(llem_result_write(&r, v, f->exp, NULL), LLEM_OK);
    llem_recording_close(&r);
    llem_arena_done(&a);
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

static size_t verify(const struct fixture *f, struct llem_difference **list, struct llem_arena *a)
{
    llem_error err = { 0 };
    size_t n = 0, compared = 0;

    if (llem_result_verify(f->exp, a, list, &n, &compared, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    assert_true(compared > 500);
    return n;
}

static void change(const struct fixture *f, const char *path, double by)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *json;

    assert_int_equal(llem_json_load(&a, &json, f->path, 1 << 26, NULL), LLEM_OK);
    llem_set_at(&a, json, path, llem_real(&a, llem_real_at(json, path, 0) + by));
    assert_int_equal(llem_json_save(f->path, json, NULL), LLEM_OK);
    llem_arena_done(&a);
}

static void all_files_are_written(void **state)
{
    static const char *const names[] = { "result.json", "config.json", "environment.json",
                                         "timeseries.parquet", "requests.parquet" };
    struct fixture *f = *state;
    char path[4400];

    for (size_t k = 0; k < LLEM_COUNT(names); k++) {
        snprintf(path, sizeof(path), "%s/%s", f->exp, names[k]);
        assert_true(llem_path_exists(path));
    }
}

static void untouched_result_verifies(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;

    assert_int_equal(verify(*state, &list, &a), 0);
    llem_arena_done(&a);
}

static void last_bit_of_a_number_is_noticed(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;

    change(*state, "total_energy_j", 1e-13 * 400);
    assert_int_equal(verify(*state, &list, &a), 1);
    assert_string_equal(list[0].path, "total_energy_j");
    assert_true(list[0].stored->d != list[0].computed->d);
    llem_arena_done(&a);
}

static void missing_and_added_fields_are_noticed(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;
    struct llem_value *json;

    assert_int_equal(llem_json_load(&a, &json, f->path, 1 << 26, NULL), LLEM_OK);
    llem_unset(json, "total_tokens");
    llem_set(&a, json, "made_up", llem_int(&a, 1));
    assert_int_equal(llem_json_save(f->path, json, NULL), LLEM_OK);
    assert_int_equal(verify(f, &list, &a), 2);
    assert_string_equal(list[0].path, "total_tokens");
    assert_null(list[0].stored);
    assert_string_equal(list[1].path, "made_up");
    assert_null(list[1].computed);
    llem_arena_done(&a);
}

static void changed_recording_is_noticed_by_its_hash(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;
    struct llem_value *json;
    char path[4400];

    snprintf(path, sizeof(path), "%s/recording/recording.json", f->exp);
    assert_int_equal(llem_json_load(&a, &json, path, 1 << 26, NULL), LLEM_OK);
    llem_set(&a, json, "order", llem_string(&a, "shuffled")); /* nothing is computed of it */
    assert_int_equal(llem_json_save(path, json, NULL), LLEM_OK);
    assert_int_equal(verify(f, &list, &a), 1);
    assert_string_equal(list[0].path, "recording.sha256");
    llem_arena_done(&a);
}

static void other_producer_is_no_difference(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;
    struct llem_value *json;

    assert_int_equal(llem_json_load(&a, &json, f->path, 1 << 26, NULL), LLEM_OK);
    llem_set_at(&a, json, "producer.version", llem_string(&a, "0.0.1"));
    assert_int_equal(llem_json_save(f->path, json, NULL), LLEM_OK);
    assert_int_equal(verify(f, &list, &a), 0);
    llem_arena_done(&a);
}

static void damaged_recording_cannot_be_verified(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;
    size_t n, compared;
    llem_error err = { 0 };
    char path[4400];

    snprintf(path, sizeof(path), "%s/recording/samples.raw.i64.zst", f->exp);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(llem_result_verify(f->exp, &a, &list, &n, &compared, &err), LLEM_ECORRUPT);
    assert_non_null(strstr(err.msg, "samples.raw.i64.zst"));
    llem_arena_done(&a);
}

static void damaged_result_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_difference *list;
    size_t n, compared;
    llem_error err = { 0 };
    llem_result *r = NULL;

    assert_int_equal(truncate(f->path, 500), 0);
    assert_int_equal(llem_result_verify(f->exp, &a, &list, &n, &compared, &err), LLEM_ECORRUPT);
    assert_int_equal(llem_result_load(&r, NULL, f->exp, &err), LLEM_ECORRUPT);
    assert_null(r);
    llem_arena_done(&a);
}

/* ---- the public API ----------------------------------------------------------------------- */

static void each_kind_of_path_loads_the_result(void **state)
{
    struct fixture *f = *state;
    const char *const paths[] = { f->dir, f->exp, f->path };

    for (size_t k = 0; k < LLEM_COUNT(paths); k++) {
        llem_result *r = NULL;
        llem_error err = { 0 };

        if (llem_result_load(&r, NULL, paths[k], &err) != LLEM_OK)
            fail_msg("%s", err.msg);
        assert_string_equal(llem_result_dir(r), f->exp);
        assert_non_null(strstr(llem_result_json(r), "\"schema_version\": \"3.0\""));
        llem_result_free(r);
    }
}

static void recording_without_result_is_derived_first(void **state)
{
    struct fixture *f = *state;
    llem_result *r = NULL;
    llem_error err = { 0 };

    unlink(f->path);
    if (llem_result_load(&r, NULL, f->exp, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    llem_result_free(r);
    assert_true(llem_path_exists(f->path));
}

static void several_experiments_ask_which(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };
    llem_result *r = NULL;
    llem_error err = { 0 };
    char second[4400];

    snprintf(second, sizeof(second), "%s/002_c1_made-up-test_01234567", f->dir);
    synthetic_write(second, &o, NULL, NULL);
    assert_int_equal(llem_result_load(&r, NULL, f->dir, &err), LLEM_ENOTFOUND);
    assert_non_null(strstr(err.msg, "2 experiments"));
    assert_non_null(strstr(err.hint, "made-up-test"));
}

static void places_without_results_are_not_found(void **state)
{
    struct fixture *f = *state;
    llem_result *r = NULL;
    llem_error err = { 0 };
    char path[4400];

    assert_int_equal(llem_result_load(&r, NULL, "/nonexistent/place", &err), LLEM_ENOTFOUND);
    snprintf(path, sizeof(path), "%s/recording", f->exp);
    assert_int_equal(llem_result_load(&r, NULL, path, &err), LLEM_ENOTFOUND);
    snprintf(path, sizeof(path), "%s/config.json", f->exp);
    assert_int_equal(llem_result_load(&r, NULL, path, &err), LLEM_ENOTFOUND);
    llem_result_free(NULL);
}

static void getters_are_typed_and_tell_null_from_absent(void **state)
{
    struct fixture *f = *state;
    llem_result *r = NULL;
    llem_quantity q;
    const char *text = "unchanged";
    double d = -1;
    int64_t i = -1;
    int b = -1, null = -1;
    size_t n = 0;

    assert_int_equal(llem_result_load(&r, NULL, f->exp, NULL), LLEM_OK);
    assert_int_equal(llem_result_double(r, "total_energy_j", &d, &null), LLEM_OK);
    assert_true(null == 0 && fabs(d - 425) < 0.5);
    assert_int_equal(llem_result_double(r, "total_tokens", &d, &null),
                     LLEM_OK); /* an integer is a number */
    assert_true(d == 558);
    assert_int_equal(llem_result_int(r, "tokens.output", &i, &null), LLEM_OK);
    assert_int_equal(i, 384);
    assert_int_equal(llem_result_int(r, "total_energy_j", &i, &null), LLEM_ENOTFOUND);
    assert_int_equal(llem_result_bool(r, "warmup_result.converged", &b, &null), LLEM_OK);
    assert_int_equal(b, 1);
    assert_int_equal(llem_result_string(r, "multi_gpu", &text, &null), LLEM_OK);
    assert_int_equal(null, 1);
    assert_string_equal(text, "unchanged");
    assert_int_equal(llem_result_string(r, "energy_scope.1", &text, &null), LLEM_OK);
    assert_string_equal(text, "dram:0");
    assert_int_equal(llem_result_double(r, "no.such.field", &d, &null), LLEM_ENOTFOUND);
    assert_int_equal(llem_result_double(r, "energy_per_device_j.1", &d, NULL), LLEM_OK);
    assert_int_equal(llem_result_count(r, "energy_per_device_j", &n), LLEM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(llem_result_count(r, "total_energy_j", &n), LLEM_ENOTFOUND);

    assert_int_equal(llem_result_quantity(r, "energy.j_per_output_token", &q), LLEM_OK);
    assert_true(q.valid && fabs(q.value - 425.0 / 384) < 0.01 && q.u_stat > 0 && isnan(q.u_sys));
    assert_true(q.ci95_lo < q.value && q.value < q.ci95_hi);
    assert_string_equal(q.unit, "J/tok");
    assert_string_equal(q.quality, "derived");
    assert_string_equal(q.reason, "");
    assert_int_equal(llem_result_quantity(r, "thermal_throttle", &q), LLEM_ENOTFOUND);
    llem_result_free(r);
}

static void count_differences(void *user, const char *path, const char *stored,
                              const char *computed)
{
    assert_string_equal(path, "tokens.input");
    assert_string_equal(stored, "175.0");
    assert_string_equal(computed, "174");
    ++*(int *)user;
}

static void public_verify_reports_each_difference(void **state)
{
    struct fixture *f = *state;
    size_t compared = 0;
    int n = 0;

    change(f, "tokens.input", 1);
    assert_int_equal(llem_verify(NULL, f->dir, &compared, count_differences, &n, NULL), LLEM_OK);
    assert_int_equal(n, 1);
    assert_true(compared > 500);
    assert_non_null(llem_reason_sentence("no_sensor"));
    assert_non_null(llem_reason_hint("no_sensor"));
    assert_null(llem_reason_sentence("nonsense"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(all_files_are_written),
        T(untouched_result_verifies),
        T(last_bit_of_a_number_is_noticed),
        T(missing_and_added_fields_are_noticed),
        T(changed_recording_is_noticed_by_its_hash),
        T(other_producer_is_no_difference),
        T(damaged_recording_cannot_be_verified),
        T(damaged_result_is_corrupt),
        T(each_kind_of_path_loads_the_result),
        T(recording_without_result_is_derived_first),
        T(several_experiments_ask_which),
        T(places_without_results_are_not_found),
        T(getters_are_typed_and_tell_null_from_absent),
        T(public_verify_reports_each_difference),
    };

    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
