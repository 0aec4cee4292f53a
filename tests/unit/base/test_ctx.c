/* SPDX-License-Identifier: MIT
 *
 * The context: where it finds the program, the data and the user's configuration, and what it logs.
 */
#include "tests/unit/base/help.h"

#include "lib/base/ctx.h"
#include "llem-build.h"

struct seen {
    int calls;
    enum llem_log_level level;
    char module[32], text[300];
};

static void remember(void *user, enum llem_log_level level, const char *module, const char *text)
{
    struct seen *seen = user;

    seen->calls++;
    seen->level = level;
    snprintf(seen->module, sizeof(seen->module), "%s", module);
    snprintf(seen->text, sizeof(seen->text), "%s", text);
}

static int clean_environment(void **state)
{
    unsetenv("LLEM_PROGRAM");
    unsetenv("LLEM_DATA_DIR");
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", "/home/somebody", 1);
    return 0;
}

static llem_ctx *new_ctx(const llem_ctx_opts *opts)
{
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;

    if (llem_ctx_new(&ctx, opts, &err) < 0)
        fail_msg("%s", err.msg);
    assert_non_null(ctx);
    return ctx;
}

static void a_context_without_options_is_complete(void **state)
{
    llem_ctx *ctx = new_ctx(NULL);

    assert_ptr_equal(ctx->clock, &llem_system_clock);
    assert_string_equal(ctx->user_config_path,
                        "/home/somebody/.config/llenergymeasure/config.yaml");
    llem_log(ctx, LLEM_LOG_ERROR, "test", "nobody listens");
    llem_log(NULL, LLEM_LOG_ERROR, "test", "nobody is there");
    llem_ctx_free(ctx);
    llem_ctx_free(NULL);
}

static void options_come_before_variables(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts) };
    char *cwd = getcwd(NULL, 0);
    char expected[4096];
    llem_ctx *ctx;

    setenv("LLEM_PROGRAM", "/from/variable/llem", 1);
    setenv("LLEM_DATA_DIR", "relative/data", 1);
    setenv("XDG_CONFIG_HOME", "/xdg", 1);
    setenv("LLEM_OWN_PYTHON", "/env/bin/python", 1);
    ctx = new_ctx(&opts);
    assert_string_equal(ctx->own_python, "/env/bin/python");
    assert_string_equal(ctx->program, "/from/variable/llem");
    snprintf(expected, sizeof(expected), "%s/relative/data", cwd);
    assert_string_equal(ctx->data_dir, expected);
    assert_string_equal(ctx->user_config_path, "/xdg/llenergymeasure/config.yaml");
    llem_ctx_free(ctx);

    opts.program = "/from/options/llem";
    opts.data_dir = "/data";
    opts.user_config = "mine.yaml";
    opts.python = "/mine/bin/python";
    ctx = new_ctx(&opts);
    assert_string_equal(ctx->own_python, "/mine/bin/python");
    unsetenv("LLEM_OWN_PYTHON");
    assert_string_equal(ctx->program, "/from/options/llem");
    assert_string_equal(ctx->data_dir, "/data");
    assert_string_equal(ctx->user_config_path, "mine.yaml");
    llem_ctx_free(ctx);

    opts.user_config = "";
    ctx = new_ctx(&opts);
    assert_null(ctx->user_config_path);
    llem_ctx_free(ctx);

    /* Empty counts as unset, and the XDG specification has relative paths ignored. */
    setenv("LLEM_PROGRAM", "", 1);
    setenv("XDG_CONFIG_HOME", "relative", 1);
    ctx = new_ctx(NULL);
    assert_true(!ctx->program || ctx->program[0] == '/');
    assert_string_equal(ctx->user_config_path,
                        "/home/somebody/.config/llenergymeasure/config.yaml");
    assert_null(llem_ctx_variable(ctx, "LLEM_PROGRAM"));
    assert_string_equal(llem_ctx_variable(ctx, "LLEM_DATA_DIR"), "relative/data");
    llem_ctx_free(ctx);
    free(cwd);
}

/* Copies of this very program stand for an installation: each prints what it finds. */
static void expect_found(const char *from, const char *program, const char *data)
{
    char command[2048], line[2048] = "", expected[2048];
    FILE *f;

    snprintf(command, sizeof(command), "'%s' --print", in_dir(from));
    f = popen(command, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    assert_int_equal(pclose(f), 0);
    snprintf(expected, sizeof(expected), "%s%s%s %s%s%s\n", program ? help_dir : "none",
             program ? "/" : "", program ? program : "", data ? help_dir : "none", data ? "/" : "",
             data ? data : "");
    if (!program || !data) {
        /* Then it is the installed one, if there is one. */
        char *rest = strchr(line, ' ');

        *rest++ = '\0';
        assert_true(program
                        ? strncmp(line, expected, strlen(line)) == 0
                        : !strcmp(line, "none") || !strcmp(line, LLEM_INSTALLED_BINDIR "/llem"));
        assert_true(data || !strcmp(rest, "none\n") || !strcmp(rest, LLEM_INSTALLED_DATADIR "\n"));
        return;
    }
    assert_string_equal(line, expected);
}

static void the_program_and_its_data_are_found_beside_it(void **state)
{
    char command[4096];
    struct llem_arena a = LLEM_ARENA_INIT;

    snprintf(command, sizeof(command),
             "cd '%s' && mkdir -p inst/bin inst/share/llem tree/share/llem bare && "
             "for f in inst/bin/llem inst/bin/other tree/llem bare/test; do cp '%s' $f; done",
             help_dir, llem_exe_path(&a));
    llem_arena_done(&a);
    assert_int_equal(system(command), 0);
    expect_found("inst/bin/llem", "inst/bin/llem", "inst/bin/../share/llem");
    expect_found("inst/bin/other", "inst/bin/llem", "inst/bin/../share/llem");
    expect_found("tree/llem", "tree/llem", "tree/share/llem");
    expect_found("bare/test", NULL, NULL);
}

static void data_paths_exist_or_are_null(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .data_dir = help_dir };
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_ctx *ctx = new_ctx(&opts);

    put_file(in_dir("there.txt"), "x");
    assert_string_equal(llem_ctx_data_path(ctx, &a, "there.txt"), in_dir("there.txt"));
    assert_null(llem_ctx_data_path(ctx, &a, "absent.txt"));
    ctx->data_dir = NULL;
    assert_null(llem_ctx_data_path(ctx, &a, "there.txt"));
    llem_ctx_free(ctx);
    llem_arena_done(&a);
}

static void the_log_goes_to_the_caller(void **state)
{
    struct seen seen = { 0 };
    llem_ctx_opts opts = { .size = sizeof(opts), .log = remember, .log_user = &seen };
    llem_ctx *ctx = new_ctx(&opts);

    assert_int_equal(seen.calls, 0);
    llem_log(ctx, LLEM_LOG_WARNING, "sampler", "%d boards", 3);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.level, LLEM_LOG_WARNING);
    assert_string_equal(seen.module, "sampler");
    assert_string_equal(seen.text, "3 boards");
    llem_log(ctx, LLEM_LOG_INFO, "x", "%0100000d", 5);
    assert_int_equal(seen.calls, 2);
    assert_string_equal(seen.text, "%0100000d");
    llem_ctx_free(ctx);
}

static void options_of_other_versions_are_understood_or_refused(void **state)
{
    struct {
        llem_ctx_opts opts;
        void *later;
    } future = { .opts = { .size = sizeof(future), .program = "/x/llem" } };
    llem_ctx_opts old = { .size = offsetof(llem_ctx_opts, data_dir),
                          .program = "/y/llem",
                          .data_dir = "/not/read" };
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;

    ctx = new_ctx(&future.opts);
    assert_string_equal(ctx->program, "/x/llem");
    llem_ctx_free(ctx);
    ctx = NULL;
    future.later = &future;
    assert_int_equal(llem_ctx_new(&ctx, &future.opts, &err), LLEM_EINVAL);
    assert_contains(err.msg, "llem_ctx_opts");
    assert_null(ctx);
    old.size = 0;
    assert_int_equal(llem_ctx_new(&ctx, &old, &err), LLEM_EINVAL);
    assert_contains(err.msg, "size");
    old.size = offsetof(llem_ctx_opts, data_dir);
    ctx = new_ctx(&old);
    assert_string_equal(ctx->program, "/y/llem");
    assert_true(!ctx->data_dir || strcmp(ctx->data_dir, "/not/read") != 0);
    llem_ctx_free(ctx);
}

static int freed[3], n_freed;

static void note_freed(void *data)
{
    freed[n_freed++] = *(int *)data;
}

static void slots_are_freed_last_first(void **state)
{
    static int numbers[] = { 10, 11, 12 };
    llem_ctx *ctx = new_ctx(NULL);
    int i;

    for (i = 0; i < 3; i++) {
        ctx->slots[i].data = &numbers[i];
        ctx->slots[i].free = note_freed;
    }
    llem_ctx_free(ctx);
    assert_int_equal(n_freed, 3);
    assert_int_equal(freed[0], 12);
    assert_int_equal(freed[2], 10);
}

static void the_version_is_told(void **state)
{
    assert_string_equal(llem_version(), LLEM_VERSION);
    assert_string_equal(llem_commit(), LLEM_COMMIT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_context_without_options_is_complete, clean_environment),
        cmocka_unit_test_setup(options_come_before_variables, clean_environment),
        cmocka_unit_test_setup(the_program_and_its_data_are_found_beside_it, clean_environment),
        cmocka_unit_test_setup(data_paths_exist_or_are_null, clean_environment),
        cmocka_unit_test_setup(the_log_goes_to_the_caller, clean_environment),
        cmocka_unit_test_setup(options_of_other_versions_are_understood_or_refused,
                               clean_environment),
        cmocka_unit_test(slots_are_freed_last_first),
        cmocka_unit_test(the_version_is_told),
    };

    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        llem_ctx *ctx = NULL;

        if (llem_ctx_new(&ctx, NULL, NULL) < 0)
            return 1;
        printf("%s %s\n", ctx->program ? ctx->program : "none",
               ctx->data_dir ? ctx->data_dir : "none");
        llem_ctx_free(ctx);
        return 0;
    }
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
