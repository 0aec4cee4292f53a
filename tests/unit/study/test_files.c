/* SPDX-License-Identifier: MIT
 *
 * Directories of studies: names, claims, what is on disk before and after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/config.h"
#include "lib/study/study.h"

static char dir[64];
static llem_ctx *ctx;
static llem_config *config;
static struct llem_plan *plan, *quick_plan;

static int set_up(void **state)
{
    static const llem_setting settings[] = {
        { .path = "task.model", .value = "org/My Model:7b", .literal = 1 },
        { .path = "engine", .value = "test" },
        { .path = "task.dataset.source", .value = "builtin" },
    };
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    char data[4096];
    llem_error err;

    snprintf(data, sizeof(data), "%s/share/llem", getenv("LLEM_TEST_BUILD_DIR"));
    opts.data_dir = data;
    snprintf(dir, sizeof(dir), "/tmp/llem-study.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(llem_ctx_new(&ctx, &opts, &err), LLEM_OK);
    assert_int_equal(llem_config_load(&config, ctx, NULL, settings, 3, &err), LLEM_OK);
    assert_int_equal(llem_plan_of_config(&plan, ctx, config, false, &err), LLEM_OK);
    assert_int_equal(llem_plan_of_config(&quick_plan, ctx, config, true, &err), LLEM_OK);
    return 0;
}

static int tear_down(void **state)
{
    llem_plan_free(plan);
    llem_plan_free(quick_plan);
    llem_config_free(config);
    llem_ctx_free(ctx);
    return llem_remove_tree(dir, NULL);
}

static struct llem_value *load(struct llem_arena *a, const char *in, const char *name)
{
    struct llem_value *v = NULL;

    assert_int_equal(llem_json_load(a, &v, llem_path_join(a, in, name), 1 << 20, NULL), LLEM_OK);
    return v;
}

static void a_slug_is_a_safe_file_name(void **state)
{
    static const struct {
        const char *text, *slug;
    } cases[] = {
        { "gpt2", "gpt2" },
        { "org/Model-7B", "Model-7B" },
        { "./dir/my model/", "my_model" },
        { "a:b", "a-b" },
        { "..", "-." },
        { "/", "model" },
        { "", "model" },
        { "x\n\033[y", "x--[y" },
        { "~/m$(rm)", "m-(rm)" },
        { "mod\xc3\xa8le", "mod\xc3\xa8le" },
    };
    char out[128], text[400];

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        llem_slug(out, sizeof(out), cases[i].text);
        assert_string_equal(out, cases[i].slug);
    }
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    memcpy(text + 119, "\xc3\xa8", 2); /* would be cut in the middle */
    llem_slug(out, sizeof(out), text);
    assert_int_equal(strlen(out), 119);
}

static void a_study_is_whole_when_its_experiment_begins(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };
    struct llem_study s;
    struct llem_cell cell;
    struct llem_value *v;
    const char *name;
    llem_error err;

    assert_int_equal(llem_study_open(&s, ctx, quick_plan, &opts, &err), LLEM_OK);
    assert_int_equal(llem_study_claim(&s, 0, &cell, &err), LLEM_OK);
    name = s.runs[0].name;
    assert_true(llem_starts_with(name, "001_c1_My_Model-7b-test_"));
    assert_int_equal(strlen(name), strlen("001_c1_My_Model-7b-test_") + 8);
    assert_string_equal(llem_path_basename(cell.dir), name);
    v = load(&a, cell.dir, "experiment.json");
    assert_true(llem_bool_at(v, "quick", false));
    assert_true(llem_bool_at(v, "config.measurement.quick", false));
    assert_string_equal(llem_str_at(v, "producer.version", ""), llem_version());
    assert_string_equal(llem_str_at(v, "run_mark", ""), cell.mark);
    assert_string_equal(llem_str_at(v, "measurement_config_hash", ""), quick_plan->cells[0].hash);
    /* quick is part of what was configured, so the hash differs from the unhurried one */
    assert_string_not_equal(quick_plan->cells[0].hash, llem_config_hash_hex(config));
    assert_string_equal(plan->cells[0].hash, llem_config_hash_hex(config));
    v = load(&a, cell.dir, "claim.json");
    assert_int_equal(llem_int_at(v, "pid", 0), getpid());
    v = load(&a, s.dir, "plan.json");
    assert_string_equal(llem_str_at(v, "runs.0.dir", ""), name);
    v = load(&a, s.dir, "manifest.json");
    assert_string_equal(llem_str_at(v, "status", ""), "running");
    assert_int_equal(llem_int_at(v, "pending", 0), 1);
    llem_cell_done(&cell);
    llem_study_close(&s);
    llem_arena_done(&a);
}

static void two_studies_of_one_second_do_not_collide(void **state)
{
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };
    struct llem_study s[3];
    struct llem_cell cells[3];

    for (int i = 0; i < 3; i++) {
        assert_int_equal(llem_study_open(&s[i], ctx, plan, &opts, NULL), LLEM_OK);
        assert_int_equal(llem_study_claim(&s[i], 0, &cells[i], NULL), LLEM_OK);
    }
    assert_string_not_equal(s[0].dir, s[1].dir);
    assert_string_not_equal(s[1].dir, s[2].dir);
    assert_string_not_equal(cells[0].experiment_id, cells[1].experiment_id);
    assert_string_not_equal(cells[0].mark, cells[1].mark);
    for (int i = 0; i < 3; i++) {
        llem_cell_done(&cells[i]);
        llem_study_close(&s[i]);
    }
}

static void a_study_that_cannot_be_made_leaves_nothing(void **state)
{
    char *file = NULL;
    llem_run_opts opts = { .size = sizeof(opts) };
    struct llem_study s;
    llem_error err;

    assert_true(asprintf(&file, "%s/file", dir) > 0);
    assert_int_equal(llem_file_write(file, "", 0, NULL), LLEM_OK);
    opts.output_dir = file;
    assert_int_equal(llem_study_open(&s, ctx, plan, &opts, &err), LLEM_EIO);
    assert_non_null(strstr(err.msg, file));
    assert_non_null(strstr(err.hint, "-o DIR"));
    free(file);
}

static void the_end_is_in_status_and_manifest(void **state)
{
    static const struct {
        enum llem_state state;
        llem_errcode code;
        const char *status, *entry, *study, *counter;
    } cases[] = {
        { LLEM_STATE_COMPLETED, LLEM_OK, "completed", "completed", "completed", "completed" },
        { LLEM_STATE_FAILED, LLEM_EPLUGIN, "failed", "failed", "failed", "failed" },
        { LLEM_STATE_TIMEOUT, LLEM_ETIMEOUT, "timeout", "failed", "failed", "failed" },
        { LLEM_STATE_INTERRUPTED, LLEM_ECANCELED, "interrupted", "interrupted", "interrupted",
          "interrupted" },
    };
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_outcome o = { .state = cases[i].state,
                                  .wstatus = 9,
                                  .started_ns = 1,
                                  .finished_ns = 2500000001,
                                  .elapsed_s = 2.5,
                                  .log_tail = "a\xff\0b",
                                  .log_tail_len = 4 };
        struct llem_value *v;
        struct llem_study s;
        struct llem_cell cell;

        assert_int_equal(llem_study_open(&s, ctx, plan, &opts, NULL), LLEM_OK);
        assert_int_equal(llem_study_claim(&s, 0, &cell, NULL), LLEM_OK);
        if (cases[i].code < 0)
            llem_fail(&o.err, cases[i].code, "because");
        assert_int_equal(llem_study_finish(&s, 0, cell.dir, &o, NULL, NULL), LLEM_OK);
        assert_int_equal(llem_study_end(&s, llem_study_status(&s), NULL), LLEM_OK);
        v = load(&a, cell.dir, "status.json");
        assert_string_equal(llem_str_at(v, "state", ""), cases[i].status);
        assert_string_equal(llem_str_at(v, "log_tail", ""), "a??b");
        assert_int_equal(llem_int_at(v, "exit.signal", 0), 9);
        assert_true(llem_is_null(llem_at(v, "message")) == (cases[i].code == LLEM_OK));
        v = load(&a, s.dir, "manifest.json");
        assert_string_equal(llem_str_at(v, "status", ""), cases[i].study);
        assert_string_equal(llem_str_at(v, "experiments.0.status", ""), cases[i].entry);
        assert_int_equal(llem_int_at(v, cases[i].counter, 0), 1);
        assert_int_equal(llem_int_at(v, "pending", 9), 0);
        assert_true(llem_real_at(v, "experiments.0.elapsed_seconds", 0) == 2.5);
        llem_cell_done(&cell);
        llem_study_close(&s);
        llem_arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slug_is_a_safe_file_name),
        cmocka_unit_test(a_study_is_whole_when_its_experiment_begins),
        cmocka_unit_test(two_studies_of_one_second_do_not_collide),
        cmocka_unit_test(a_study_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(the_end_is_in_status_and_manifest),
    };

    return cmocka_run_group_tests_name("study/files", tests, set_up, tear_down);
}
