/* SPDX-License-Identifier: MIT
 *
 * The result of a study for people: for each quantity a line a configuration, with what the cycles
 * say of it and how it compares with the first.
 */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "src/table.h"

enum { LINES = 40, NOTES = 10 }; /* shown of configurations, of warnings */

const struct study_quantity study_quantities[] = {
    { "Energy per output token", "energy_per_output_token_j", NULL, "J/tok" },
    { "Energy", "total_energy_j", "energy_estimated_j", "J" },
    { "Energy above idle", "energy_adjusted_j", NULL, "J" },
    { "Output tokens/s", "output_tokens_per_s", NULL, "tok/s" },
    { "Tokens/s, in and out", "avg_tokens_per_second", NULL, "tok/s" },
    { "Time", "total_inference_time_sec", NULL, "s" },
    { "Time to first token", "ttft_mean_ms", NULL, "ms" },
    { "Between tokens (ITL)", "itl_mean_ms", NULL, "ms" },
    { "Per output token (TPOT)", "tpot_ms", NULL, "ms" },
    { "Tokens out", "output_tokens", NULL, "tok" },
    { "Peak memory", "peak_memory_mb", NULL, "MiB" },
    { .name = NULL },
};

/* ---- reading ------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static double real_at(const llem_result *r, const char *fmt,
                                                            ...)
{
    char path[256];
    int null = 0;
    double d = NAN;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    if (llem_result_double(r, path, &d, &null) != LLEM_OK || null)
        return NAN;
    return d;
}

static size_t count_at(const llem_result *r, const char *path)
{
    size_t n = 0;

    return llem_result_count(r, path, &n) == LLEM_OK ? n : 0;
}

__attribute__((format(printf, 3, 4))) static const char *
text_at(const llem_result *r, const char *otherwise, const char *fmt, ...)
{
    char path[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    return table_string(r, path, otherwise);
}

/* ---- one line ----------------------------------------------------------------------------- */

struct line {
    char label[TABLE_CELL], value[TABLE_CELL], cv[32], ratio[TABLE_CELL], trend[64];
    bool estimate;
};

/* Do the configurations have several engines, or models? */
static bool differ(const llem_result *r, size_t n, const char *key)
{
    for (size_t i = 1; i < n; i++)
        if (strcmp(text_at(r, "", "configurations.%zu.%s", i, key),
                   text_at(r, "", "configurations.0.%s", key)) != 0)
            return true;
    return false;
}

/* "2  vllm, dtype=float16": of a setting's path the last part. */
static void label_of(char *out, const llem_result *r, size_t i, bool engines)
{
    const char *label = text_at(r, "", "configurations.%zu.differs_by", i);
    const char *engine = text_at(r, "", "configurations.%zu.engine", i);
    size_t at;

    at = (size_t)snprintf(out, TABLE_CELL, "%.0f", real_at(r, "configurations.%zu.number", i));
    at += (size_t)snprintf(out + at, TABLE_CELL - at, "  %s%s", engines || !*label ? engine : "",
                           engines && *label ? ", " : "");
    while (*label && at + 1 < TABLE_CELL) {
        size_t path = strcspn(label, "= ,"), end = strcspn(label, ",");

        /* A value may have commas of its own; what follows one is no path then. */
        if (label[path] == '=')
            for (size_t k = 0; k < path; k++)
                if (label[k] == '.') {
                    label += k + 1;
                    path -= k + 1;
                    end -= k + 1;
                    k = (size_t)-1;
                }
        end += label[end] == ',';
        end += label[end] == ' ';
        for (; end && at + 1 < TABLE_CELL; end--)
            out[at++] = *label++;
    }
    out[at] = 0;
}

static bool line_of(struct line *l, const llem_result *r, const struct glyphs *g,
                    const struct study_quantity *b, size_t i, bool engines)
{
    const char *name = b->name;
    double mean, low, high, cv, p, slope;

    memset(l, 0, sizeof(*l));
    mean = real_at(r, "configurations.%zu.statistics.%s.mean", i, name);
    if (isnan(mean) && b->estimate) {
        name = b->estimate;
        l->estimate = true;
        mean = real_at(r, "configurations.%zu.statistics.%s.mean", i, name);
    }
    label_of(l->label, r, i, engines);
    snprintf(l->value, sizeof(l->value), "%s", g->dash);
    if (isnan(mean))
        return false;
    low = real_at(r, "configurations.%zu.statistics.%s.ci95.0", i, name);
    high = real_at(r, "configurations.%zu.statistics.%s.ci95.1", i, name);
    cv = real_at(r, "configurations.%zu.statistics.%s.cv", i, name);
    p = real_at(r, "configurations.%zu.statistics.%s.trend.p", i, name);
    slope = real_at(r, "configurations.%zu.statistics.%s.trend.slope_per_run", i, name);
    if (l->estimate)
        table_number(l->value, g, mean, NAN, NAN, b->unit, true);
    else
        table_number(l->value, g, mean, low, high, b->unit, false);
    if (!isnan(cv))
        snprintf(l->cv, sizeof(l->cv), cv < 1 ? "%.2g %%" : "%.0f %%", 100 * cv);
    if (p < 0.05 && mean > 0)
        snprintf(l->trend, sizeof(l->trend), "%+.2g %% a run (p %.2g)", 100 * slope / mean, p);
    if (i == 0 && !isnan(real_at(r, "configurations.1.ratios.%s.n", name))) {
        snprintf(l->ratio, sizeof(l->ratio), "1");
    } else if (!l->estimate) {
        double ratio = real_at(r, "configurations.%zu.ratios.%s.value", i, name);

        low = real_at(r, "configurations.%zu.ratios.%s.ci95.0", i, name);
        high = real_at(r, "configurations.%zu.ratios.%s.ci95.1", i, name);
        if (!isnan(ratio))
            table_ratio(l->ratio, g, ratio, low, high);
    }
    return true;
}

/* ---- blocks ------------------------------------------------------------------------------- */

enum { LABEL, VALUE, CV, RATIO, TREND, CELLS, LABEL_MAX = 40 };

/* The cells of a line, each padded to its column's width but for the last that says something. A
 * column that no line fills has no width. */
static void print_cells(FILE *f, const struct term *t, const char *const *cells,
                        const char *const *colors, const size_t *widths)
{
    size_t last = 0;

    for (size_t k = 0; k < CELLS; k++)
        last = *cells[k] ? k : last;
    fputs("  ", f);
    for (size_t k = 0; k <= last; k++) {
        if (!widths[k])
            continue;
        fputs(colors[k], f);
        table_pad(f, cells[k], k < last ? widths[k] + 2 : 0);
        fputs(*colors[k] ? t->color.reset : "", f);
    }
    fputc('\n', f);
}

static void print_md(FILE *f, const char *const *cells)
{
    for (size_t k = 0; k < CELLS; k++) {
        fputs("| ", f);
        for (const char *c = cells[k]; *c; c++)
            fputc(*c == '|' || (unsigned char)*c < 0x20 ? ' ' : *c, f);
        fputs(*cells[k] ? " " : "", f);
    }
    fputs("|\n", f);
}

static void print_block(FILE *f, const struct term *t, const llem_result *r,
                        const struct study_quantity *b, size_t n, bool engines, bool md)
{
    const char *const titles[] = { b->title, "mean", "CV", "ratio to the first", "trend" };
    const char *const dim = t->color.dim, *const heads[] = { t->color.bold, dim, dim, dim, dim };
    size_t widths[CELLS] = { 0 };
    struct line l;
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        const char *const cells[] = { l.label, l.value, l.cv, l.ratio, l.trend };

        any = line_of(&l, r, t->glyphs, b, i, engines) || any;
        for (size_t k = 0; k < CELLS; k++)
            if (text_columns(cells[k]) > widths[k])
                widths[k] = text_columns(cells[k]);
    }
    if (!any)
        return;
    widths[LABEL] = widths[LABEL] < LABEL_MAX ? widths[LABEL] : LABEL_MAX;
    for (size_t k = 0; k < CELLS; k++)
        if (widths[k] && text_columns(titles[k]) > widths[k])
            widths[k] = text_columns(titles[k]);
    fputc('\n', f);
    if (md) {
        print_md(f, titles);
        fputs("| --- | ---: | ---: | ---: | --- |\n", f);
    } else {
        const char *shown[CELLS];

        for (size_t k = 0; k < CELLS; k++)
            shown[k] = widths[k] ? titles[k] : "";
        print_cells(f, t, shown, heads, widths);
    }
    for (size_t i = 0; i < n; i++) {
        char label[TABLE_CELL];
        const char *const cells[] = { label, l.value, l.cv, l.ratio, l.trend };
        const char *colors[] = { "", "", "", "", "" };

        line_of(&l, r, t->glyphs, b, i, engines);
        text_clip(t->glyphs, label, sizeof(label), l.label, md ? TABLE_CELL - 8 : widths[LABEL]);
        colors[VALUE] = l.estimate ? t->color.yellow : "";
        if (md)
            print_md(f, cells);
        else
            print_cells(f, t, cells, colors, widths);
    }
}

/* ---- around them -------------------------------------------------------------------------- */

static void print_title(FILE *f, const struct term *t, const llem_result *r, bool original)
{
    double energy = real_at(r, "summary.total_energy_j"),
           wall = real_at(r, "summary.total_wall_time_s");
    double cycles = real_at(r, "measurement_protocol.n_cycles");
    char number[TABLE_CELL], elapsed[24];

    fprintf(f, "\n  %s", t->color.bold);
    text_print(f, table_string(r, "study_name", "study"));
    fprintf(f, "%s%s\n  %.0f of %.0f runs completed, %zu configuration%s", t->color.reset,
            original ? " (made by LLenergyMeasure)" : "", real_at(r, "summary.completed"),
            real_at(r, "summary.total_experiments"), count_at(r, "configurations"),
            count_at(r, "configurations") == 1 ? "" : "s");
    if (cycles > 0)
        fprintf(f, " in %.0f cycle%s", cycles, cycles > 1 ? "s" : "");
    if (wall >= 0) {
        text_elapsed(elapsed, wall);
        fprintf(f, ", %s", elapsed);
    }
    if (!isnan(energy)) {
        table_number(number, t->glyphs, energy,
                     real_at(r, "quantities.summary.total_energy_j.ci95.0"), NAN, "J", false);
        fprintf(f, ", %s", number);
    }
    fputc('\n', f);
}

static void note(FILE *f, const struct term *t, const char *text)
{
    size_t columns = term_columns(t);

    fprintf(f, "  %s%s%s ", t->color.yellow, t->glyphs->warn, t->color.reset);
    text_wrap(f, text, 4, columns > 100 ? 100 : columns);
}

static void print_notes(FILE *f, const struct term *t, const llem_result *r, const char *list)
{
    size_t n = count_at(r, list);
    char more[64];

    for (size_t i = 0; i < n && i < NOTES; i++)
        note(f, t, text_at(r, "", "%s.%zu", list, i));
    if (n > NOTES) {
        snprintf(more, sizeof(more), "and %zu more; --json has all", n - NOTES);
        note(f, t, more);
    }
}

static void print_flags(FILE *f, const struct term *t, const llem_result *r, size_t n)
{
    size_t shown = 0;

    for (size_t i = 0; i < n; i++) {
        char path[64], text[512];

        snprintf(path, sizeof(path), "configurations.%zu.flags", i);
        for (size_t k = 0; k < count_at(r, path) && shown < NOTES; k++, shown++) {
            snprintf(text, sizeof(text), "%.0f: %s", real_at(r, "configurations.%zu.number", i),
                     text_at(r, "", "configurations.%zu.flags.%zu.text", i, k));
            note(f, t, text);
        }
    }
}

void study_print(FILE *f, const struct term *t, const char *format, const llem_result *r)
{
    size_t all = count_at(r, "configurations"), n = all < LINES ? all : LINES;
    bool md = format && strcmp(format, "md") == 0, engines = differ(r, n, "engine");
    size_t columns = term_columns(t);
    int original = 0, null = 0;

    llem_result_bool(r, "original", &original, &null);
    if (!md)
        print_title(f, t, r, original);
    for (const struct study_quantity *q = study_quantities; q->name; q++) {
        /* Of all tokens only where there is nothing about those that are generated. */
        if (strcmp(q->name, "avg_tokens_per_second") != 0 || original)
            print_block(f, t, r, q, n, engines, md);
    }
    if (md)
        return;
    fputc('\n', f);
    if (all > n)
        fprintf(f, "  ... and %zu more configurations; --format=csv has all runs\n", all - n);
    fprintf(f, "  %s", t->color.dim);
    text_wrap(f,
              original ? "Ranges are 95 % intervals of the mean over cycles; the runs' own "
                         "uncertainties are not known."
                       : "Ranges are 95 % intervals over cycles (Student's t): of the mean, and of "
                         "the ratio to the first configuration, paired by cycle. ~ marks an "
                         "estimate.",
              2, columns > 100 ? 100 : columns);
    fputs(t->color.reset, f);
    print_flags(f, t, r, n);
    print_notes(f, t, r, "summary.missing");
    print_notes(f, t, r, "summary.warnings");
}
