/* SPDX-License-Identifier: MIT
 *
 * Windows around parts of the caller's program.
 */
#include <glob.h>
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
static int events;

static int set_up(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    char data[4096];

    snprintf(data, sizeof(data), "%s/share/llem", getenv("LLEM_TEST_BUILD_DIR"));
    opts.data_dir = data;
    snprintf(dir, sizeof(dir), "/tmp/llem-window.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    events = 0;
    return llem_ctx_new(&ctx, &opts, NULL);
}

static int tear_down(void **state)
{
    llem_ctx_free(ctx);
    assert_int_equal(chdir("/"), 0);
    return llem_remove_tree(dir, NULL);
}

static void on_progress(void *user, const llem_event *e)
{
    events += e->type == LLEM_EVENT_STEP_DONE;
}

static llem_window *opened(const char *name)
{
    llem_window_args args = { .size = sizeof(args), .name = name, .progress = on_progress };
    llem_window *w = NULL;

    assert_int_equal(llem_window_open(&w, ctx, &args, NULL), LLEM_OK);
    assert_non_null(w);
    return w;
}

/* Seconds of the window, which is closed. */
static double closed(llem_window *w)
{
    llem_result *result = NULL;
    double seconds;
    const char *kind;
    size_t compared;
    int null;

    assert_int_equal(llem_window_close(w, &result, NULL), LLEM_OK);
    assert_int_equal(llem_result_double(result, "total_inference_time_sec", &seconds, &null),
                     LLEM_OK);
    assert_int_equal(llem_result_string(result, "kind", &kind, &null), LLEM_OK);
    assert_string_equal(kind, "measure");
    assert_int_equal(llem_verify(ctx, llem_result_dir(result), &compared, NULL, NULL, NULL),
                     LLEM_OK);
    assert_true(compared > 10);
    llem_result_free(result);
    return seconds;
}

static void a_window_is_what_lies_between_open_and_close(void **state)
{
    llem_window *w = opened("my part");
    glob_t found;
    double seconds;
    int before = events;

    assert_true(before > 0);
    usleep(200000);
    seconds = closed(w);
    assert_true(seconds >= 0.2);
    assert_true(events > before);
    /* The name is a part of the directory's. */
    assert_int_equal(glob("results/my?part_*/result.json", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    globfree(&found);
}

static void windows_nest_and_overlap(void **state)
{
    llem_window *a = opened("a"), *b, *c;
    double in_a, in_b, in_c;

    usleep(50000);
    b = opened("b");
    usleep(50000);
    in_b = closed(b);
    c = opened("c");
    in_a = closed(a);
    usleep(50000);
    in_c = closed(c);
    assert_true(in_b >= 0.05 && in_c >= 0.05);
    assert_true(in_a >= 0.1 && in_a > in_b);
}

static void a_result_need_not_be_taken(void **state)
{
    assert_int_equal(llem_window_close(opened(NULL), NULL, NULL), LLEM_OK);
}

static void a_window_can_be_given_up_before_it_begins(void **state)
{
    const int now = 1;
    llem_window_args args = { .size = sizeof(args), .output_dir = "given-up", .cancel = &now };
    llem_window *w = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_window_open(&w, ctx, &args, &err), LLEM_ECANCELED);
    assert_null(w);
    assert_true(llem_path_exists("given-up/status.json"));
}

static void what_cannot_be_is_told_before_anyone_waits(void **state)
{
    llem_window_args args = { .size = sizeof(args), .gpus = "0,,1", .output_dir = "x" };
    llem_window *w = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_window_open(&w, ctx, &args, &err), LLEM_EINVAL);
    assert_non_null(strstr(err.msg, "no list of GPUs"));
    args.size = 1;
    assert_int_equal(llem_window_open(&w, ctx, &args, &err), LLEM_EINVAL);
    assert_int_equal(llem_window_open(&w, ctx, NULL, &err), LLEM_EINVAL);
    assert_null(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_window_is_what_lies_between_open_and_close, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(windows_nest_and_overlap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_result_need_not_be_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_window_can_be_given_up_before_it_begins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_told_before_anyone_waits, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
