/* SPDX-License-Identifier: MIT
 *
 * llem verify: recompute a result from its recording and compare every number.
 */
#include "src/cmd.h"

static void on_difference(void *user, const char *path, const char *stored, const char *computed)
{
    size_t *count = user;

    (*count)++;
    text_print(stdout, path);
    fputs(": stored ", stdout);
    text_print(stdout, stored ? stored : "nothing");
    fputs(", recomputed ", stdout);
    text_print(stdout, computed ? computed : "nothing");
    fputc('\n', stdout);
}

static int run(struct app *app, void *p)
{
    llem_error err = { 0 };
    llem_ctx *ctx;
    int code = EXIT_DONE;

    (void)p;
    if (!app->parse.n_rest)
        return complain_usage(app, "which result? Give the directory of an experiment");
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    for (size_t i = 0; i < app->parse.n_rest; i++) {
        size_t compared = 0, differences = 0;

        if (llem_verify(ctx, app->parse.rest[i], &compared, on_difference, &differences, &err) <
            0) {
            code = complain_error(app, ctx, &err);
            continue;
        }
        if (app->parse.n_rest > 1) {
            text_print(stdout, app->parse.rest[i]);
            fputs(": ", stdout);
        }
        printf("%zu values compared, ", compared);
        if (differences) {
            printf("%zu differ\n", differences);
            code = EXIT_FAILED;
        } else {
            printf("all equal\n");
        }
    }
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_verify = {
    .name = "verify",
    .summary = "recompute a result from its recording and compare every number",
    .usage = "DIR...",
    .description =
        "Computes everything in result.json again from the recording beside it, which is never "
        "edited, and compares every value exactly. Exit status 1 if any differs.\n"
        "Of a study: every run that completed, and whether its plan, its manifest and "
        "study_result.json agree with what is in its directories.",
    .examples = "llem verify results/study_2026-01-31T12-00-00",
    .run = run,
};
