/* SPDX-License-Identifier: MIT
 *
 * llem show: results again, side by side.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"
#include "src/table.h"

struct args {
    const char *format, *output;
    int json;
};

/* clang-format off */
static const struct opt options[] = {
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = TABLE_FORMATS,
      .help = "how to print it; parquet is for studies" },
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "FILE",
      .help = "write there instead of to standard output" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { .name = NULL },
};
/* clang-format on */

static bool is_format(const char *format, const char *name)
{
    return format && strcmp(format, name) == 0;
}

/* The runs of a study as a table for programs. */
static int print_rows(const struct app *app, llem_ctx *ctx, FILE *f, const char *format,
                      const llem_result *study)
{
    llem_error err = { 0 };
    char *data = NULL;
    size_t len = 0;

    if (llem_study_table(study, format, &data, &len, &err) < 0)
        return complain_error(app, ctx, &err);
    fwrite(data, 1, len, f);
    free(data);
    return EXIT_DONE;
}

/* Runs side by side, then each study for itself; json: all of it as it is. */
static int print_all(const struct app *app, llem_ctx *ctx, FILE *f, const struct term *t,
                     const char *format, llem_result *const *all, size_t count, size_t n_studies)
{
    const llem_result *const *results = (const llem_result *const *)all;

    if (is_format(format, "json"))
        table_print(f, t, format, results, count);
    else if (is_format(format, "csv") && n_studies)
        return print_rows(app, ctx, f, format, results[0]);
    else if (is_format(format, "parquet"))
        return print_rows(app, ctx, f, format, results[0]);
    else {
        if (count > n_studies)
            table_print(f, t, format, results, count - n_studies);
        for (size_t i = count - n_studies; i < count; i++)
            study_print(f, t, format, results[i]);
    }
    return EXIT_DONE;
}

static int check_formats(const struct app *app, const char *format, const char *output,
                         size_t count, size_t n_studies)
{
    if (is_format(format, "parquet") && (count > 1 || !n_studies))
        return complain_usage(app, "parquet is for one study: its runs, a row each");
    if (is_format(format, "parquet") && !output && app->out.tty)
        return complain_usage(app, "parquet is not for a terminal; name a file with -o FILE");
    if (is_format(format, "csv") && n_studies && count > 1)
        return complain_usage(app, "csv of a study is a row a run; show one study at a time");
    return EXIT_DONE;
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    const char *format = args->json ? "json" : args->format;
    size_t count = app->parse.n_rest, loaded = 0, n_studies = 0;
    llem_result **results;
    bool *is_study;
    llem_error err = { 0 };
    struct term file = app->out;
    llem_ctx *ctx;
    FILE *f = stdout;
    int code;

    if (!count)
        return complain_usage(app, "which result? Give the directory of an experiment or a study");
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    results = calloc(count, sizeof(llem_result *));
    is_study = calloc(count, sizeof(*is_study));
    if (!results || !is_study) {
        code = complain("out of memory");
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        is_study[i] = llem_is_study(app->parse.rest[i]) != 0;
        n_studies += is_study[i];
    }
    code = check_formats(app, format, args->output, count, n_studies);
    if (code != EXIT_DONE)
        goto done;
    /* Studies stand after the runs. */
    for (int studies = 0; studies < 2; studies++)
        for (size_t i = 0; i < count; i++) {
            const char *path = app->parse.rest[i];

            if (is_study[i] != (studies != 0))
                continue;
            if ((studies ? llem_study_load : llem_result_load)(&results[loaded], ctx, path, &err) <
                0) {
                code = complain_error(app, ctx, &err);
                goto done;
            }
            loaded++;
        }
    if (args->output) {
        f = fopen(args->output, "we");
        if (!f) {
            code = complain("cannot write '%s': %m", args->output);
            goto done;
        }
        term_init(&file, fileno(f));
    }
    code = print_all(app, ctx, f, &file, format, results, count, n_studies);
    if (args->output) {
        bool bad = ferror(f) != 0;

        if (fclose(f) != 0 || bad)
            code = complain("cannot write '%s': %m", args->output);
    }
done:
    for (size_t i = 0; results && i < loaded; i++)
        llem_result_free(results[i]);
    free(results);
    free(is_study);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_show = {
    .name = "show",
    .summary = "print results again, several side by side",
    .usage = "[OPTIONS] DIR...",
    .description = "DIR is the directory of an experiment or of a study, a result.json or a "
                   "study_result.json. A recording "
                   "that is complete but has no result yet is computed first.\n"
                   "Of a study: for each quantity a line a configuration, with its mean over the "
                   "cycles, its spread and its ratio to the first configuration; also while it "
                   "runs, and of studies and results that LLenergyMeasure (3.0) made.\n"
                   "csv has one line a result, or a run of the study, and numbers in full; parquet "
                   "has the same of a study; json is result.json or study_result.json as it is, or "
                   "a list of them.",
    .examples = "llem show results/study_*/001_*\n"
                "llem show --json results/study_2026-01-31T12-00-00 | jq .total_energy_j\n"
                "# The runs of a study, for pandas, R or a spreadsheet\n"
                "llem show -f csv -o runs.csv results/study_2026-01-31T12-00-00",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
