/* SPDX-License-Identifier: MIT
 *
 * llem compare: results or studies against the first.
 */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "src/cmd.h"
#include "src/table.h"

struct args {
    const char *format;
    int json;
};

/* clang-format off */
static const struct opt options[] = {
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = "table|json",
      .help = "how to print it; json has everything" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { .name = NULL },
};
/* clang-format on */

enum { COLUMNS = 4, SETTINGS = 20 };

__attribute__((format(printf, 2, 3))) static double real_at(const llem_result *r, const char *fmt,
                                                            ...)
{
    char path[256];
    double d = NAN;
    int null = 0;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    if (llem_result_double(r, path, &d, &null) != LLEM_OK || null)
        return NAN;
    return d;
}

/* A value of any kind as text: "null" is nothing set. */
static void value_at(char *out, size_t size, const llem_result *r, const char *path)
{
    const char *s = NULL;
    int null = 0, b = 0;
    double d;
    size_t n;

    if (llem_result_string(r, path, &s, &null) == LLEM_OK)
        snprintf(out, size, "%s", null ? "null" : s);
    else if (llem_result_bool(r, path, &b, &null) == LLEM_OK)
        snprintf(out, size, "%s", b ? "true" : "false");
    else if (llem_result_double(r, path, &d, &null) == LLEM_OK)
        snprintf(out, size, "%.15g", d);
    else if (llem_result_count(r, path, &n) == LLEM_OK)
        snprintf(out, size, "(%zu items)", n);
    else
        snprintf(out, size, "?");
}

/* ---- one comparison ----------------------------------------------------------------------- */

static void print_side(const struct app *app, const llem_result *r, size_t i, const char *side)
{
    char path[96], line[512];
    double number = real_at(r, "comparisons.%zu.%s.experiment", i, side);
    const char *by;
    size_t len;

    snprintf(path, sizeof(path), "comparisons.%zu.%s.path", i, side);
    len = (size_t)snprintf(line, sizeof(line), "%s", table_string(r, path, ""));
    snprintf(path, sizeof(path), "comparisons.%zu.%s.differs_by", i, side);
    by = table_string(r, path, "");
    if (!isnan(number) && len < sizeof(line))
        len += (size_t)snprintf(line + len, sizeof(line) - len, ", experiment %.0f%s%s", number,
                                *by ? ": " : "", by);
    snprintf(path, sizeof(path), "comparisons.%zu.%s.model", i, side);
    if (len < sizeof(line))
        len +=
            (size_t)snprintf(line + len, sizeof(line) - len, " (%s, ", table_string(r, path, "?"));
    snprintf(path, sizeof(path), "comparisons.%zu.%s.engine", i, side);
    if (len < sizeof(line))
        snprintf(line + len, sizeof(line) - len, "%s)", table_string(r, path, "?"));
    printf("  %s", app->out.color.bold);
    text_print(stdout, line);
    printf("%s\n", app->out.color.reset);
}

static void print_settings(const llem_result *r, size_t i)
{
    char path[96], first[128], other[128];
    size_t n = 0;

    snprintf(path, sizeof(path), "comparisons.%zu.settings", i);
    if (llem_result_count(r, path, &n) != LLEM_OK || !n)
        return;
    printf("\n");
    for (size_t k = 0; k < n && k < SETTINGS; k++) {
        snprintf(path, sizeof(path), "comparisons.%zu.settings.%zu.reference", i, k);
        value_at(first, sizeof(first), r, path);
        snprintf(path, sizeof(path), "comparisons.%zu.settings.%zu.value", i, k);
        value_at(other, sizeof(other), r, path);
        snprintf(path, sizeof(path), "comparisons.%zu.settings.%zu.setting", i, k);
        printf("  %s: ", table_string(r, path, ""));
        text_print(stdout, first);
        fputs(" -> ", stdout);
        text_print(stdout, other);
        printf("\n");
    }
    if (n > SETTINGS)
        printf("  ... and %zu more; --json has all\n", n - SETTINGS);
}

static void number_of(char out[TABLE_CELL], const struct app *app, const llem_result *r, size_t i,
                      const struct study_quantity *q, const char *side)
{
    const char *name = q->name;
    double value = real_at(r, "comparisons.%zu.quantities.%s.%s.value", i, name, side);
    bool estimate = isnan(value) && q->estimate;

    if (estimate) {
        name = q->estimate;
        value = real_at(r, "comparisons.%zu.quantities.%s.%s.value", i, name, side);
    }
    if (isnan(value))
        snprintf(out, TABLE_CELL, "%s", app->out.glyphs->dash);
    else
        table_number(
            out, app->out.glyphs, value,
            estimate ? NAN : real_at(r, "comparisons.%zu.quantities.%s.%s.ci95.0", i, name, side),
            estimate ? NAN : real_at(r, "comparisons.%zu.quantities.%s.%s.ci95.1", i, name, side),
            q->unit, estimate);
}

/* Quantities that one of the two has: as it is in the first, as in the other, their ratio. */
static void print_quantities(const struct app *app, const llem_result *r, size_t i)
{
    const char *dash = app->out.glyphs->dash;
    size_t widths[COLUMNS] = { 0 };
    const struct study_quantity *q;

    printf("\n");
    for (int print = 0; print < 2; print++)
        for (q = study_quantities; q->name; q++) {
            char cells[COLUMNS][TABLE_CELL];
            double ratio, low, high;

            snprintf(cells[0], TABLE_CELL, "%s", q->title);
            number_of(cells[1], app, r, i, q, "reference");
            number_of(cells[2], app, r, i, q, "compared");
            ratio = real_at(r, "comparisons.%zu.quantities.%s.ratio.value", i, q->name);
            low = real_at(r, "comparisons.%zu.quantities.%s.ratio.ci95.0", i, q->name);
            high = real_at(r, "comparisons.%zu.quantities.%s.ratio.ci95.1", i, q->name);
            cells[3][0] = 0;
            if (!isnan(ratio))
                table_ratio(cells[3], app->out.glyphs, ratio, low, high);
            if (strcmp(cells[1], dash) == 0 && strcmp(cells[2], dash) == 0)
                continue;
            for (size_t k = 0; k < COLUMNS; k++) {
                size_t width = text_columns(cells[k]);

                widths[k] = width > widths[k] ? width : widths[k];
            }
            if (!print)
                continue;
            fputs("  ", stdout);
            table_pad(stdout, cells[0], widths[0] + 2);
            table_pad(stdout, cells[1], widths[1] + 2);
            table_pad(stdout, cells[2], *cells[3] ? widths[2] + 2 : 0);
            printf("%s%s%s\n", app->out.color.bold, cells[3], app->out.color.reset);
        }
}

static void print_warnings(const struct app *app, const llem_result *r, size_t i)
{
    size_t n = 0, columns = term_columns(&app->out);
    char path[96];

    snprintf(path, sizeof(path), "comparisons.%zu.warnings", i);
    if (llem_result_count(r, path, &n) != LLEM_OK || !n)
        return;
    fputc('\n', stdout);
    for (size_t k = 0; k < n; k++) {
        snprintf(path, sizeof(path), "comparisons.%zu.warnings.%zu.text", i, k);
        printf("  %s%s%s ", app->out.color.yellow, app->out.glyphs->warn, app->out.color.reset);
        text_wrap(stdout, table_string(r, path, ""), 4, columns > 100 ? 100 : columns);
    }
}

static void print_table(const struct app *app, const llem_result *r)
{
    size_t n = 0, unmatched = 0;
    char path[96];

    llem_result_count(r, "comparisons", &n);
    llem_result_count(r, "unmatched", &unmatched);
    for (size_t i = 0; i < n; i++) {
        fputc('\n', stdout);
        print_side(app, r, i, "reference");
        print_side(app, r, i, "compared");
        print_settings(r, i);
        print_quantities(app, r, i);
        print_warnings(app, r, i);
    }
    if (unmatched)
        printf("\n  Without a counterpart of the same settings in the first study:\n");
    for (size_t i = 0; i < unmatched; i++) {
        snprintf(path, sizeof(path), "unmatched.%zu.path", i);
        printf("  ");
        text_print(stdout, table_string(r, path, ""));
        snprintf(path, sizeof(path), "unmatched.%zu.differs_by", i);
        printf(", experiment %.0f: ", real_at(r, "unmatched.%zu.experiment", i));
        text_print(stdout, table_string(r, path, ""));
        fputc('\n', stdout);
    }
    if (n)
        printf("\n  %sThe last column is the ratio to the first, with a 95 %% interval where it is "
               "known.%s\n",
               app->out.color.dim, app->out.color.reset);
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    bool json = args->json || (args->format && strcmp(args->format, "json") == 0);
    llem_result *comparison = NULL;
    llem_error err = { 0 };
    llem_ctx *ctx;
    int code = EXIT_DONE;

    if (!app->parse.n_rest)
        return complain_usage(app, "which results? Give the directories of two or more");
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    if (llem_compare(&comparison, ctx, app->parse.rest, app->parse.n_rest, &err) < 0)
        code = complain_error(app, ctx, &err);
    else if (json)
        fputs(llem_result_json(comparison), stdout);
    else
        print_table(app, comparison);
    llem_result_free(comparison);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_compare = {
    .name = "compare",
    .summary = "compare results, or studies, with the first",
    .usage = "[OPTIONS] DIR DIR...",
    .description =
        "Prints each of the further results beside the first, their ratios, which settings "
        "differ, and what makes the comparison doubtful: other models, prompts, lengths, hardware, "
        "sensors, or an energy that was not measured.\n"
        "Of two runs the interval of a ratio comes of what each run says of its own uncertainty, "
        "which does not hold how much runs scatter. Of two studies, configurations with the same "
        "settings are compared, cycle by cycle, and the interval is that of the scatter.",
    .examples = "llem compare results/study_2026-01-31T12-00-00 results/study_*/001_*\n"
                "llem compare --json results/study_*/001_* results/study_2026-01-31T12-00-00",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
