/* SPDX-License-Identifier: MIT
 *
 * llem check-engine: does an engine's worker keep to the worker protocol?
 */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "src/cmd.h"

struct args {
    const char *model;
    struct settings settings;
    int verbose;
};

/* clang-format off */
static const struct opt options[] = {
    { 'm', "model", OPT_STRING, 0, offsetof(struct args, model), "MODEL",
      .help = "the model to load; the sample model that comes with llem unless given" },
    { 0, "set", OPT_SETTING, 0, offsetof(struct args, settings), "PATH=VALUE",
      .help = "any setting of the configuration, its value as in YAML; may be repeated" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "also what the worker prints on standard error" },
    { .name = NULL },
};
/* clang-format on */

struct seen {
    const struct app *app;
    size_t checks;
};

static void on_check(void *user, const llem_engine_check *check)
{
    struct seen *seen = user;
    const struct palette *c = &seen->app->out.color;

    seen->checks++;
    printf("  %s%s%s %s: %s\n", check->kept ? c->green : c->red,
           check->kept ? seen->app->out.glyphs->tick : seen->app->out.glyphs->cross, c->reset,
           check->method, check->rule);
    if (!check->kept) {
        fputs("      ", stdout);
        text_print(stdout, check->text);
        fputc('\n', stdout);
    }
    fflush(stdout);
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    struct seen seen = { .app = app };
    llem_check_args check = {
        .size = sizeof(check),
        .model = args->model,
        .settings = args->settings.items,
        .n_settings = args->settings.count,
        .on_check = on_check,
        .user = &seen,
        .cancel = &signals.cancel,
        .log_fd = args->verbose ? STDERR_FILENO : 0,
    };
    llem_error err = { 0 };
    int violations = 0, code = EXIT_DONE;
    llem_ctx *ctx;

    if (app->parse.n_rest != 1)
        return complain_usage(app, "which engine? Give its name, one at a time");
    check.engine = app->parse.rest[0];
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    signals_catch();
    if (llem_check_engine(&violations, ctx, &check, &err) < 0) {
        code =
            signals.count ? exit_code_of_signal((int)signals.last) : complain_error(app, ctx, &err);
    } else {
        printf("%s: %zu rules looked at, ", check.engine, seen.checks);
        if (violations)
            printf("%d violated\n", violations);
        else
            printf("all kept\n");
        code = violations ? EXIT_FAILED : EXIT_DONE;
    }
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_check_engine = {
    .name = "check-engine",
    .summary = "does an engine's worker keep to the worker protocol?",
    .usage = "[OPTIONS] NAME",
    .description =
        "Starts the worker of an engine, drives every method (results, token counts, receipts, "
        "clocks, what must be refused, the end) and prints each rule with whether it is kept. "
        "Exit status 1 if any is violated. docs/worker-protocol.md has the rules, "
        "docs/add-an-engine.md a worker to begin with.",
    .examples = "llem check-engine NAME\n"
                "llem check-engine -v --set task.max_output_tokens=4 NAME",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
