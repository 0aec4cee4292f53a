/* SPDX-License-Identifier: MIT
 *
 * An engine of the caller's, in this process.
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
#include "llem/llem.h"

static char dir[64];
static llem_ctx *ctx;

/* What the engine was asked, and what it is to do. */
static struct seen {
    char calls[256];
    size_t prompts;
    int idle, steps, cancel;
    const char *fail_in;
    const char *devices;
} seen;

static llem_errcode called(const char *what, llem_error *err)
{
    size_t len = strlen(seen.calls);

    snprintf(seen.calls + len, sizeof(seen.calls) - len, "%s ", what);
    if (!seen.fail_in || strcmp(seen.fail_in, what) != 0)
        return LLEM_OK;
    if (err)
        snprintf(err->msg, sizeof(err->msg), "no %s today", what);
    return LLEM_EPLUGIN;
}

static void check_hardware(void *self, llem_answer_fn answer, void *to)
{
    if (called("check", NULL) < 0)
        answer(to, "this machine is too small");
}

static void devices(void *self, llem_answer_fn answer, void *to)
{
    (void)called("devices", NULL);
    if (seen.devices)
        answer(to, seen.devices);
}

static llem_errcode load_model(void *self, llem_error *err)
{
    assert_ptr_equal(self, &seen);
    return called("load", err);
}

static llem_errcode run_inference(void *self, const char *const *prompts, size_t count,
                                  llem_engine_output *out, llem_error *err)
{
    seen.prompts = count;
    assert_true(strlen(prompts[0]) > 0 && strlen(prompts[count - 1]) > 0);
    out->input_tokens = 7;
    out->output_tokens = 11;
    out->peak_memory_bytes = 3 << 20;
    usleep(50000);
    return called("run", err);
}

static void observed(void *self, llem_answer_fn answer, void *to)
{
    (void)called("observed", NULL);
    answer(to, "{\"engine_params\": {\"x\": 1}, \"sampling_params\": {}}");
}

static void cleanup(void *self)
{
    (void)called("cleanup", NULL);
}

static void on_progress(void *user, const llem_event *e)
{
    assert_int_not_equal(e->type, LLEM_EVENT_LIVE);
    seen.steps += e->type == LLEM_EVENT_STEP_DONE;
}

static void on_idle(void *user)
{
    seen.idle++;
    if (seen.fail_in && strcmp(seen.fail_in, "idle") == 0)
        seen.cancel = 1;
}

static int set_up(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    char data[4096];

    snprintf(data, sizeof(data), "%s/share/llem", getenv("LLEM_TEST_BUILD_DIR"));
    opts.data_dir = data;
    snprintf(dir, sizeof(dir), "/tmp/llem-inprocess.XXXXXX");
    assert_non_null(mkdtemp(dir));
    seen = (struct seen){ .prompts = 0 };
    return llem_ctx_new(&ctx, &opts, NULL);
}

static int tear_down(void **state)
{
    llem_ctx_free(ctx);
    return llem_remove_tree(dir, NULL);
}

static llem_errcode run(llem_result **result, const char *dataset, llem_error *err)
{
    const llem_engine_table table = {
        .size = sizeof(table),
        .self = &seen,
        .name = "mine",
        .version = "7",
        .check_hardware = check_hardware,
        .devices = devices,
        .load_model = load_model,
        .run_inference = run_inference,
        .capture_observed_params = observed,
        .cleanup = cleanup,
    };
    llem_setting settings[] = {
        { .path = "task.model", .value = "m", .literal = 1 },
        { .path = "engine", .value = "python:mine:Engine" },
        { .path = "task.dataset.source", .value = dataset },
        { .path = "task.dataset.n_prompts", .value = "3" },
        { .path = "measurement.quick", .value = "true" },
        { .path = "task.dataset.input_tokens", .value = "4" },
    };
    llem_config *config = NULL;
    llem_engine_run args = { .size = sizeof(args), .engine = &table, .output_dir = dir };
    llem_errcode rc;

    assert_int_equal(llem_config_load(&config, ctx, NULL, settings, 6, NULL), LLEM_OK);
    args.config = config;
    args.progress = on_progress;
    args.idle = on_idle;
    args.cancel = &seen.cancel;
    rc = llem_run_engine(result, ctx, &args, err);
    llem_config_free(config);
    return rc;
}

static void an_engine_of_the_callers_is_measured_whole(void **state)
{
    llem_result *result = NULL;
    const char *text;
    int64_t tokens;
    double seconds;
    size_t compared;
    int null;

    assert_int_equal(run(&result, "builtin", NULL), LLEM_OK);
    assert_string_equal(seen.calls, "check devices load run run observed cleanup ");
    assert_int_equal(seen.prompts, 3);
    assert_true(seen.steps > 5 && seen.idle > 5);
    assert_int_equal(llem_result_string(result, "engine", &text, &null), LLEM_OK);
    assert_string_equal(text, "mine");
    assert_int_equal(llem_result_string(result, "engine_version", &text, &null), LLEM_OK);
    assert_string_equal(text, "7");
    assert_int_equal(llem_result_int(result, "tokens.output", &tokens, &null), LLEM_OK);
    assert_int_equal(tokens, 11);
    assert_int_equal(llem_result_double(result, "total_inference_time_sec", &seconds, &null),
                     LLEM_OK);
    assert_true(seconds >= 0.05);
    assert_int_equal(llem_verify(ctx, llem_result_dir(result), &compared, NULL, NULL, NULL),
                     LLEM_OK);
    llem_result_free(result);
}

static void a_failure_keeps_its_sentence_and_is_cleaned_up(void **state)
{
    static const char *const places[] = { "load", "run" };
    llem_result *result = NULL;

    for (size_t i = 0; i < 2; i++) {
        llem_error err = { 0 };
        char want[64];

        seen = (struct seen){ .fail_in = places[i] };
        snprintf(want, sizeof(want), "no %s today", places[i]);
        assert_int_equal(run(&result, "builtin", &err), LLEM_EPLUGIN);
        assert_non_null(strstr(err.msg, want));
        assert_non_null(strstr(seen.calls, "cleanup "));
        assert_null(result);
    }
}

static void the_machine_may_not_suffice(void **state)
{
    llem_result *result = NULL;
    llem_error err = { 0 };

    seen.fail_in = "check";
    assert_int_equal(run(&result, "builtin", &err), LLEM_EPREFLIGHT);
    assert_string_equal(err.msg, "this machine is too small");
}

static void prompts_are_texts(void **state)
{
    llem_result *result = NULL;
    llem_error err = { 0 };

    assert_int_equal(run(&result, "random", &err), LLEM_ECONFIG);
    assert_non_null(strstr(err.msg, "not as token ids"));
}

static void it_can_be_cancelled_while_it_waits(void **state)
{
    llem_result *result = NULL;
    llem_error err = { 0 };

    seen.fail_in = "idle";
    assert_int_equal(run(&result, "builtin", &err), LLEM_ECANCELED);
}

static void wrong_arguments_are_refused(void **state)
{
    llem_engine_run args = { .size = sizeof(args) };
    llem_result *result = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_run_engine(&result, ctx, &args, &err), LLEM_EINVAL);
    args.size = 3;
    assert_int_equal(llem_run_engine(&result, ctx, &args, &err), LLEM_EINVAL);
    assert_int_equal(llem_run_engine(&result, ctx, NULL, &err), LLEM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_engine_of_the_callers_is_measured_whole, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failure_keeps_its_sentence_and_is_cleaned_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_machine_may_not_suffice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prompts_are_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_can_be_cancelled_while_it_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("inprocess", tests, NULL, NULL);
}
