/* SPDX-License-Identifier: MIT
 *
 * The job API against the real program and the engine for tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/process.h"
#include "llem/llem.h"

static char dir[64];
static llem_ctx *ctx;

static int set_up(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    char data[4096], program[4096];

    snprintf(data, sizeof(data), "%s/share/llem", getenv("LLEM_TEST_BUILD_DIR"));
    snprintf(program, sizeof(program), "%s/llem", getenv("LLEM_TEST_BUILD_DIR"));
    opts.data_dir = data;
    opts.program = program;
    snprintf(dir, sizeof(dir), "/tmp/llem-job.XXXXXX");
    assert_non_null(mkdtemp(dir));
    return llem_ctx_new(&ctx, &opts, NULL);
}

static int tear_down(void **state)
{
    llem_ctx_free(ctx);
    return llem_remove_tree(dir, NULL);
}

static llem_config *configure(const char *path, const char *value)
{
    llem_setting settings[] = {
        { .path = "task.model", .value = "m", .literal = 1 },
        { .path = "engine", .value = "test" },
        { .path = "task.dataset.source", .value = "builtin" },
        { .path = "task.dataset.n_prompts", .value = "2" },
        { .path = "measurement.quick", .value = "true" },
        { .path = path, .value = value },
    };
    llem_config *config = NULL;

    assert_int_equal(llem_config_load(&config, ctx, NULL, settings, path ? 6 : 5, NULL), LLEM_OK);
    return config;
}

static llem_job *start(const llem_config *config, double timeout_s)
{
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir, .timeout_s = timeout_s };
    llem_job *job = NULL;

    assert_int_equal(llem_job_start(&job, ctx, config, &opts, NULL), LLEM_OK);
    return job;
}

/* The next event of that kind, of that step unless it is NULL. */
static void wait_event(llem_job *job, llem_event_type type, const char *step)
{
    llem_event e = { 0 };

    do {
        assert_int_not_equal(e.type, LLEM_EVENT_FINISHED);
        assert_int_equal(llem_job_wait(job, 30, &e, NULL), LLEM_OK);
        assert_int_not_equal(e.type, LLEM_EVENT_NONE);
    } while (e.type != type || (step && strcmp(e.step, step) != 0));
}

/* The mark of a job's processes, once it has any. */
static void mark_of(llem_job *job, char mark[64])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;

    wait_event(job, LLEM_EVENT_STARTED, NULL);
    assert_int_equal(
        llem_json_load(&a, &v, llem_path_join(&a, llem_job_dir(job), "claim.json"), 1 << 16, NULL),
        LLEM_OK);
    snprintf(mark, 64, "%s", llem_str_at(v, "run_mark", ""));
    llem_arena_done(&a);
}

static void wait_step(llem_job *job, const char *step)
{
    wait_event(job, LLEM_EVENT_STEP_START, step);
}

static void wait_end(llem_job *job)
{
    wait_event(job, LLEM_EVENT_FINISHED, NULL);
}

static void a_job_tells_its_directory_its_steps_and_its_result(void **state)
{
    llem_config *config = configure(NULL, NULL);
    llem_job *job = start(config, 0);
    llem_result *result = NULL;
    llem_event e;
    int null = 1;
    double s = -1;

    assert_int_equal(llem_job_wait(job, 20, &e, NULL), LLEM_OK);
    assert_int_equal(e.type, LLEM_EVENT_STARTED);
    assert_string_equal(e.text, llem_job_dir(job));
    wait_step(job, "model");
    wait_step(job, "measure");
    wait_end(job);
    /* and again: it stays finished */
    assert_int_equal(llem_job_wait(job, 0, &e, NULL), LLEM_OK);
    assert_int_equal(e.type, LLEM_EVENT_FINISHED);
    assert_int_equal(llem_job_result(job, &result, NULL), LLEM_OK);
    assert_int_equal(llem_result_double(result, "total_inference_time_sec", &s, &null), LLEM_OK);
    assert_true(!null && s > 0);
    llem_result_free(result);
    assert_int_equal(llem_job_result(job, &result, NULL), LLEM_OK); /* one each time */
    assert_string_equal(llem_result_dir(result), llem_job_dir(job));
    llem_result_free(result);
    llem_job_free(job);
    llem_config_free(config);
}

static void a_job_given_up_leaves_nothing_running(void **state)
{
    llem_config *config = configure("test.hang_at", "run_inference");
    llem_job *job = start(config, 0);
    char mark[64];

    mark_of(job, mark);
    wait_step(job, "measure");
    llem_job_free(job);
    assert_int_equal(llem_process_sweep(mark, 0), 0);
    llem_config_free(config);
}

static void a_job_given_up_at_once_leaves_nothing_running(void **state)
{
    llem_config *config = configure("test.load_s", "60");
    char mark[64];

    for (int i = 0; i < 5; i++) {
        llem_job *job = start(config, 0);

        mark_of(job, mark);
        usleep((useconds_t)i * 3000);
        llem_job_free(job);
        assert_int_equal(llem_process_sweep(mark, 0), 0);
    }
    llem_config_free(config);
}

static void a_deadline_ends_an_experiment(void **state)
{
    llem_config *config = configure("test.request_s", "60");
    llem_job *job = start(config, 1);
    llem_result *result = NULL;
    llem_error err;

    wait_end(job);
    assert_int_equal(llem_job_result(job, &result, &err), LLEM_ETIMEOUT);
    assert_non_null(strstr(err.msg, "1 s"));
    assert_non_null(strstr(err.msg, "measure"));
    assert_null(result);
    llem_job_free(job);
    llem_config_free(config);
}

static void a_cancelled_job_says_so(void **state)
{
    llem_config *config = configure("test.request_s", "60");
    llem_job *job = start(config, 0);
    llem_result *result = NULL;
    llem_error err;

    wait_step(job, "measure");
    llem_job_cancel(job);
    wait_end(job);
    assert_int_equal(llem_job_result(job, &result, &err), LLEM_ECANCELED);
    llem_job_free(job);
    llem_config_free(config);
}

static void the_failure_of_the_harness_is_the_failure_of_the_job(void **state)
{
    llem_config *config = configure("test.fail_at", "load_model");
    llem_job *job = start(config, 0);
    llem_result *result = NULL;
    llem_error err;

    wait_end(job);
    assert_int_equal(llem_job_result(job, &result, &err), LLEM_EPLUGIN);
    assert_non_null(strstr(err.msg, "load_model"));
    llem_job_free(job);
    llem_config_free(config);
}

static void what_a_caller_mixes_up_is_refused(void **state)
{
    llem_config *config = configure(NULL, NULL);
    const llem_experiment_args cases[] = {
        { .size = 0 },
        { .size = sizeof(llem_experiment_args) },
        { .size = sizeof(llem_experiment_args), .model = "m", .config_path = "c.yaml" },
        { .size = sizeof(llem_experiment_args), .config = config, .model = "m" },
        { .size = sizeof(llem_experiment_args), .config = config, .n_prompts = 3 },
        { .size = sizeof(llem_experiment_args), .config_path = "c.yaml", .engine = "cpu" },
        { .size = sizeof(llem_experiment_args), .model = "m", .n_prompts = -1 },
        { .size = sizeof(llem_experiment_args) + 8, .model = "m" },
    };
    llem_result *result = NULL;
    llem_run_opts opts = { .size = 4 };
    llem_job *job = NULL;
    llem_error err;

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        err.msg[0] = 0;
        assert_true(llem_run_experiment(&result, ctx, &cases[i], &err) < 0);
        assert_true(err.msg[0]);
        assert_null(result);
    }
    assert_int_equal(llem_job_start(&job, ctx, config, &opts, &err), LLEM_EINVAL);
    assert_null(job);
    llem_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_tells_its_directory_its_steps_and_its_result),
        cmocka_unit_test(a_job_given_up_leaves_nothing_running),
        cmocka_unit_test(a_job_given_up_at_once_leaves_nothing_running),
        cmocka_unit_test(a_deadline_ends_an_experiment),
        cmocka_unit_test(a_cancelled_job_says_so),
        cmocka_unit_test(the_failure_of_the_harness_is_the_failure_of_the_job),
        cmocka_unit_test(what_a_caller_mixes_up_is_refused),
    };

    return cmocka_run_group_tests_name("study/job", tests, set_up, tear_down);
}
