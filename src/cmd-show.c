/* SPDX-License-Identifier: MIT
 *
 * llem show: results again, side by side.
 */
#include <stddef.h>
#include <stdlib.h>

#include "src/cmd.h"
#include "src/table.h"

struct args {
    const char *format;
    int json;
};

/* clang-format off */
static const struct opt options[] = {
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = TABLE_FORMATS,
      .help = "how to print it" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { .name = NULL },
};
/* clang-format on */

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    size_t count = app->parse.n_rest, loaded = 0;
    llem_result **results;
    llem_error err = { 0 };
    llem_ctx *ctx;
    int code = EXIT_DONE;

    if (!count)
        return complain_usage(app, "which result? Give the directory of an experiment");
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    results = calloc(count, sizeof(llem_result *));
    if (!results) {
        code = complain("out of memory");
        goto done;
    }
    for (; loaded < count; loaded++) {
        if (llem_result_load(&results[loaded], ctx, app->parse.rest[loaded], &err) < 0) {
            code = complain_error(app, ctx, &err);
            goto done;
        }
    }
    table_print(stdout, &app->out, args->json ? "json" : args->format,
                (const llem_result *const *)results, count);
done:
    for (size_t i = 0; results && i < loaded; i++)
        llem_result_free(results[i]);
    free(results);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_show = {
    .name = "show",
    .summary = "print results again, several side by side",
    .usage = "[OPTIONS] DIR...",
    .description = "DIR is the directory of an experiment, of a study with one experiment, or a "
                   "result.json. A recording "
                   "that is complete but has no result yet is computed first.\n"
                   "csv has one line a result and numbers in full; json is result.json as it is, "
                   "or a list of them.",
    .examples = "llem show results/study_*/001_*\n"
                "llem show --json results/study_2026-01-31T12-00-00 | jq .total_energy_j",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
