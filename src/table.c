/* SPDX-License-Identifier: MIT */
#include "src/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum row_format {
    ROW_NUMBER,  /* a number or a quantity, times scale */
    ROW_SI,      /* with the prefix that fits: GFLOP */
    ROW_ELAPSED, /* seconds */
    ROW_TEXT,
};
enum row_flags {
    ROW_HEADLINE = 1 << 0, /* stands first, in bold */
    ROW_QUIET = 1 << 1,    /* left out of the table where every result has null */
    ROW_SPACE = 1 << 2,    /* an empty line before it */
    ROW_ORIGINAL = 1 << 3, /* only of the Python original's results, which lack better ones */
};

/* What is shown, in this order. `estimate`: shown with "~" where `path` is null. */
/* clang-format off */
static const struct row {
    const char *label, *path, *estimate;
    enum row_format format;
    const char *unit;
    double scale;
    unsigned flags;
} rows[] = {
    { "Output tokens/s",        "throughput.output_tokens_per_s", NULL, ROW_NUMBER, "tok/s", 1, ROW_HEADLINE | ROW_QUIET },
    { "Energy/output token",    "energy.j_per_output_token", "energy_estimated.j_per_output_token", ROW_NUMBER, "J/tok", 1, ROW_HEADLINE | ROW_QUIET },
    { "Tokens/s, in and out",   "avg_tokens_per_second", NULL, ROW_NUMBER, "tok/s", 1, ROW_HEADLINE | ROW_QUIET | ROW_ORIGINAL },
    { "Energy/output token",    "avg_energy_per_token_j", NULL, ROW_NUMBER, "J/tok", 1, ROW_HEADLINE | ROW_QUIET | ROW_ORIGINAL },
    { "Tokens per joule",       "energy.output_tokens_per_j", "energy_estimated.output_tokens_per_j", ROW_NUMBER, "tok/J", 1, ROW_QUIET },
    { "Per million output tokens", "energy.kwh_per_million_output_tokens", "energy_estimated.kwh_per_million_output_tokens", ROW_NUMBER, "kWh", 1, ROW_QUIET },
    { "Energy",                 "total_energy_j", "energy_estimated_j", ROW_NUMBER, "J", 1, ROW_SPACE },
    { "Energy above idle",      "energy_adjusted_j", NULL, ROW_NUMBER, "J", 1, ROW_QUIET },
    { "Idle power",             "baseline_power_w", NULL, ROW_NUMBER, "W", 1, ROW_QUIET },
    { "Carbon dioxide",         "emissions.kg_co2", "emissions.estimated_kg_co2", ROW_NUMBER, "g", 1000, ROW_QUIET },
    { "Time",                   "total_inference_time_sec", NULL, ROW_ELAPSED, "s", 1, 0 },
    { "Time to first token",    "latency_stats.ttft_mean_ms", NULL, ROW_NUMBER, "ms", 1, ROW_SPACE | ROW_QUIET },
    { "Between tokens (ITL)",   "latency_stats.itl_mean_ms", NULL, ROW_NUMBER, "ms", 1, ROW_QUIET },
    { "Per output token (TPOT)", "extended_metrics.tpot_ms", NULL, ROW_NUMBER, "ms", 1, ROW_QUIET },
    { "Tokens in",              "tokens.input", NULL, ROW_NUMBER, "", 1, ROW_SPACE | ROW_QUIET },
    { "Tokens out",             "tokens.output", NULL, ROW_NUMBER, "", 1, ROW_QUIET },
    { "FLOPs",                  "total_flops", NULL, ROW_SI, "FLOP", 1, ROW_QUIET },
    { "Peak memory",            "extended_metrics.memory.peak_memory_mb", NULL, ROW_NUMBER, "MiB", 1, ROW_QUIET },
};
/* clang-format on */
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]), ROW_ENERGY = 6, CELL = TABLE_CELL };

/* ---- numbers ------------------------------------------------------------------------------ */

/* Four significant digits, or as many as the uncertainty leaves meaningful (two digits of it). */
static int decimals_for(double value, double half_width)
{
    double size = fabs(value);
    int digits;

    if (isfinite(half_width) && half_width > 0)
        digits = 1 - (int)floor(log10(half_width));
    else
        digits = size > 0 ? 3 - (int)floor(log10(size)) : 0;
    return digits < -9 ? -9 : digits > 9 ? 9 : digits;
}

/* "31000" for 30796 with -3 decimals. */
static void print_rounded(char *out, size_t size, double value, int decimals)
{
    double unit = pow(10, -decimals);

    if (decimals >= 0)
        snprintf(out, size, "%.*f", decimals, value);
    else
        snprintf(out, size, "%.0f", round(value / unit) * unit);
}

void table_number(char out[CELL], const struct glyphs *g, double value, double low, double high,
                  const char *unit, bool estimate)
{
    double half = isfinite(low) && isfinite(high) && high > low ? (high - low) / 2 : NAN;
    bool ranged = isfinite(half), even = ranged && fabs((high + low) / 2 - value) <= 0.1 * half;
    int decimals = decimals_for(value, half);
    const char *gap = *unit ? " " : "";
    char number[32], first[32], second[32];

    print_rounded(number, sizeof(number), value, ranged || decimals > 0 ? decimals : 0);
    print_rounded(first, sizeof(first), even && !estimate ? half : low, decimals);
    print_rounded(second, sizeof(second), high, decimals);
    if (!ranged && value == floor(value) && fabs(value) < 1e15)
        snprintf(out, CELL, "%s%.0f%s%s", estimate ? "~" : "", value, gap, unit);
    else if (!ranged)
        snprintf(out, CELL, "%s%s%s%s", estimate ? "~" : "", number, gap, unit);
    else if (even && !estimate)
        snprintf(out, CELL, "%s %s %s%s%s", number, g->plus_minus, first, gap, unit);
    else
        snprintf(out, CELL, "%s%s%s%s (%s %s %s)", estimate ? "~" : "", number, gap, unit, first,
                 g->to, second);
}

static void print_number(char out[CELL], const struct glyphs *g, const struct row *r,
                         const llem_quantity *q, bool estimate)
{
    table_number(out, g, q->value * r->scale, q->ci95_lo * r->scale, q->ci95_hi * r->scale, r->unit,
                 estimate);
}

void table_ratio(char out[TABLE_CELL], const struct glyphs *g, double value, double low,
                 double high)
{
    if (isfinite(low) && isfinite(high))
        snprintf(out, TABLE_CELL, "%.4g (%.4g %s %.4g)", value, low, g->to, high);
    else
        snprintf(out, TABLE_CELL, "%.4g", value);
}

static void print_si(char *out, double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E", "Z" };
    size_t i = 0;
    int decimals;

    while (fabs(value) >= 1000 && i + 1 < sizeof(prefixes) / sizeof(prefixes[0])) {
        value /= 1000;
        i++;
    }
    decimals = decimals_for(value, NAN);
    snprintf(out, CELL / 2, "%.*f %s%s", decimals > 0 ? decimals : 0, value, prefixes[i], unit);
}

/* ---- values ------------------------------------------------------------------------------- */

enum value_state { VALUE_NULL, VALUE_MEASURED, VALUE_ESTIMATED };

static void quantity_at(const llem_result *r, const char *path, llem_quantity *q)
{
    int null = 0;

    memset(q, 0, sizeof(*q));
    q->ci95_lo = q->ci95_hi = q->u_stat = q->u_sys = NAN;
    q->unit = q->source = q->quality = q->reason = "";
    if (llem_result_quantity(r, path, q) == LLEM_OK)
        return;
    if (llem_result_double(r, path, &q->value, &null) == LLEM_OK)
        q->valid = !null;
}

/* An estimate with its range: the map {value, low, high}. */
static bool estimate_at(const llem_result *r, const char *path, llem_quantity *q)
{
    static const char *const parts[] = { "value", "low", "high" };
    double *const slots[] = { &q->value, &q->ci95_lo, &q->ci95_hi };

    for (size_t i = 0; i < 3; i++) {
        char full[128];
        int null = 0;
        double d;

        snprintf(full, sizeof(full), "%s.%s", path, parts[i]);
        if (llem_result_double(r, full, &d, &null) != LLEM_OK || null) {
            if (i == 0)
                return false;
            continue;
        }
        *slots[i] = d;
    }
    q->valid = 1;
    return true;
}

const char *table_string(const llem_result *r, const char *path, const char *otherwise)
{
    const char *s = NULL;
    int null = 0;

    if (llem_result_string(r, path, &s, &null) != LLEM_OK || null || !s || !*s)
        return otherwise;
    return s;
}

/* Ours name the recording they were derived from. */
static bool is_original(const llem_result *r)
{
    const char *s;
    int null;

    return llem_result_string(r, "recording.sha256", &s, &null) != LLEM_OK &&
           *table_string(r, "llenergymeasure_version", "");
}

static enum value_state value_of(const llem_result *r, const struct row *row, llem_quantity *q)
{
    bool original = is_original(r);

    quantity_at(r, row->path, q);
    if (((row->flags & ROW_ORIGINAL) && !original) || (original && q->value == 0))
        q->valid = 0; /* the original writes 0 where nothing was measured */
    if (q->valid)
        return strcmp(q->quality, "estimated") == 0 ? VALUE_ESTIMATED : VALUE_MEASURED;
    if (row->estimate && estimate_at(r, row->estimate, q))
        return VALUE_ESTIMATED;
    return VALUE_NULL;
}

static enum value_state cell_of(char out[CELL], const struct glyphs *g, const llem_result *r,
                                const struct row *row, llem_quantity *q)
{
    enum value_state state = value_of(r, row, q);

    if (state == VALUE_NULL) {
        snprintf(out, CELL, "%s", g->dash);
    } else if (row->format == ROW_ELAPSED) {
        if (q->value < 60)
            print_number(out, g, row, q, false);
        else
            text_elapsed(out, q->value);
    } else if (row->format == ROW_SI) {
        snprintf(out, CELL, "%s", state == VALUE_ESTIMATED ? "~" : "");
        print_si(out + strlen(out), q->value, row->unit);
    } else {
        print_number(out, g, row, q, state == VALUE_ESTIMATED);
    }
    return state;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

/* "sample-model, cpu" */
static void title_of(char *out, size_t size, const llem_result *r)
{
    const char *model = table_string(r, "model_name", ""), *engine = table_string(r, "engine", "");
    int quick = 0, null = 0;

    llem_result_bool(r, "quick", &quick, &null);
    if (strcmp(table_string(r, "kind", "inference"), "measure") == 0)
        snprintf(out, size, "measure%s", quick ? " (quick)" : "");
    else
        snprintf(out, size, "%s, %s%s%s", last_part(model), engine, quick ? " (quick)" : "",
                 is_original(r) ? " (made by LLenergyMeasure)" : "");
}

/* ---- the table ---------------------------------------------------------------------------- */

struct grid {
    char cells[N_ROWS][CELL];
    enum value_state state[N_ROWS];
    llem_quantity q[N_ROWS];
    char title[CELL];
};

static bool grids_fill(struct grid **out, const struct glyphs *g, const llem_result *const *results,
                       size_t count)
{
    struct grid *grids = calloc(count, sizeof(*grids));

    if (!grids)
        return false;
    for (size_t k = 0; k < count; k++) {
        title_of(grids[k].title, sizeof(grids[k].title), results[k]);
        for (size_t i = 0; i < N_ROWS; i++)
            grids[k].state[i] = cell_of(grids[k].cells[i], g, results[k], &rows[i], &grids[k].q[i]);
    }
    *out = grids;
    return true;
}

static bool row_shown(const struct grid *grids, size_t count, size_t i)
{
    if (!(rows[i].flags & ROW_QUIET))
        return true;
    for (size_t k = 0; k < count; k++)
        if (grids[k].state[i] != VALUE_NULL)
            return true;
    return false;
}

void table_pad(FILE *f, const char *s, size_t columns)
{
    size_t used = text_columns(s);

    fputs(s, f);
    if (used < columns)
        fprintf(f, "%*s", (int)(columns - used), "");
}

/* Each warning of a result with its hint; the texts of the detail where there is one. */
static void print_warnings(FILE *f, const struct term *t, const llem_result *r, size_t columns)
{
    size_t n = 0;

    if (llem_result_count(r, "measurement_warnings_detail", &n) != LLEM_OK)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        char path[64];
        const char *reason, *text, *hint;

        snprintf(path, sizeof(path), "measurement_warnings_detail.%zu.reason", i);
        reason = table_string(r, path, "");
        snprintf(path, sizeof(path), "measurement_warnings_detail.%zu.text", i);
        text = table_string(r, path, llem_reason_sentence(reason));
        hint = llem_reason_hint(reason);
        fprintf(f, "  %s%s%s ", t->color.yellow, t->glyphs->warn, t->color.reset);
        text_wrap(f, text ? text : reason, 4, columns);
        if (hint) {
            fprintf(f, "    %s", t->color.dim);
            text_wrap(f, hint, 4, columns);
            fputs(t->color.reset, f);
        }
    }
}

/* Which sensor, which devices, what the signs mean. */
static void print_footer(FILE *f, const struct term *t, const llem_result *r,
                         const struct grid *grid, size_t columns)
{
    const char *source = table_string(r, "energy_source", NULL);
    const char *reason = grid->q[ROW_ENERGY].reason;
    bool estimated = false, plus_minus = false;
    char line[512];
    size_t n = 0;

    for (size_t i = 0; i < N_ROWS; i++) {
        estimated = estimated || grid->state[i] == VALUE_ESTIMATED;
        plus_minus = plus_minus || strstr(grid->cells[i], t->glyphs->plus_minus);
    }
    if (source) {
        size_t len = (size_t)snprintf(line, sizeof(line), "Energy from '%s'", source);

        if (llem_result_count(r, "energy_scope", &n) == LLEM_OK)
            for (size_t i = 0; i < n && len < sizeof(line); i++) {
                char path[48];

                snprintf(path, sizeof(path), "energy_scope.%zu", i);
                len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", i ? ", " : ": ",
                                        table_string(r, path, "?"));
            }
        if (len < sizeof(line))
            snprintf(line + len, sizeof(line) - len, ".%s%s",
                     plus_minus ? " Ranges are 95 % intervals." : "",
                     estimated ? " ~ marks an estimate and its range." : "");
    } else if (grid->state[ROW_ENERGY] == VALUE_NULL && *reason) {
        const char *sentence = llem_reason_sentence(reason);

        snprintf(line, sizeof(line), "No energy: %s", sentence ? sentence : reason);
    } else {
        snprintf(line, sizeof(line), "%s%s", estimated ? "~ marks an estimate and its range." : "",
                 plus_minus ? " Ranges are 95 % intervals." : "");
    }
    if (is_original(r))
        snprintf(
            line, sizeof(line),
            "LLenergyMeasure %s made this result: it has no uncertainties, and energies are as "
            "it polled them.",
            table_string(r, "llenergymeasure_version", "?"));
    if (!*line)
        return;
    fprintf(f, "  %s", t->color.dim);
    text_wrap(f, line, 2, columns);
    fputs(t->color.reset, f);
}

static void print_table(FILE *f, const struct term *t, const llem_result *const *results,
                        size_t count, const struct grid *grids)
{
    size_t label = 0, columns = term_columns(t);
    size_t *widths = calloc(count, sizeof(*widths));
    bool first = true;

    if (!widths)
        return;
    if (columns > 100)
        columns = 100;
    for (size_t i = 0; i < N_ROWS; i++)
        if (row_shown(grids, count, i) && text_columns(rows[i].label) > label)
            label = text_columns(rows[i].label);
    for (size_t k = 0; k < count; k++) {
        widths[k] = text_columns(grids[k].title);
        for (size_t i = 0; i < N_ROWS; i++)
            if (text_columns(grids[k].cells[i]) > widths[k])
                widths[k] = text_columns(grids[k].cells[i]);
    }
    fprintf(f, "\n  %s", t->color.bold);
    table_pad(f, "", count > 1 ? label + 2 : 0);
    for (size_t k = 0; k < count; k++) {
        char title[CELL];

        text_clip(t->glyphs, title, sizeof(title), grids[k].title, CELL - 8);
        table_pad(f, title, k + 1 < count ? widths[k] + 2 : 0);
    }
    fprintf(f, "%s\n\n", t->color.reset);
    for (size_t i = 0; i < N_ROWS; i++) {
        bool bold = rows[i].flags & ROW_HEADLINE;

        if (!row_shown(grids, count, i))
            continue;
        if ((rows[i].flags & ROW_SPACE) && !first)
            fputc('\n', f);
        first = false;
        fputs("  ", f);
        table_pad(f, rows[i].label, label + 2);
        for (size_t k = 0; k < count; k++) {
            bool estimate = grids[k].state[i] == VALUE_ESTIMATED;

            fputs(estimate ? t->color.yellow : bold ? t->color.bold : "", f);
            table_pad(f, grids[k].cells[i], k + 1 < count ? widths[k] + 2 : 0);
            fputs(estimate || bold ? t->color.reset : "", f);
        }
        fputc('\n', f);
    }
    fputc('\n', f);
    for (size_t k = 0; k < count; k++) {
        if (count > 1) {
            fprintf(f, "  %s", t->color.bold);
            text_print(f, llem_result_dir(results[k]));
            fprintf(f, "%s\n", t->color.reset);
        }
        print_footer(f, t, results[k], &grids[k], columns);
        print_warnings(f, t, results[k], columns);
    }
    free(widths);
}

/* ---- the other formats -------------------------------------------------------------------- */

static void md_text(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (*s == '|')
            fputc('\\', f);
        fputc((unsigned char)*s < 0x20 ? ' ' : *s, f);
    }
}

static void print_md(FILE *f, size_t count, const struct grid *grids)
{
    fputs("| |", f);
    for (size_t k = 0; k < count; k++) {
        fputc(' ', f);
        md_text(f, grids[k].title);
        fputs(" |", f);
    }
    fputs("\n| --- |", f);
    for (size_t k = 0; k < count; k++)
        fputs(" ---: |", f);
    fputc('\n', f);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (!row_shown(grids, count, i))
            continue;
        fprintf(f, "| %s |", rows[i].label);
        for (size_t k = 0; k < count; k++) {
            fputc(' ', f);
            md_text(f, grids[k].cells[i]);
            fputs(" |", f);
        }
        fputc('\n', f);
    }
}

static void csv_text(FILE *f, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

static void csv_number(FILE *f, double d)
{
    if (isfinite(d))
        fprintf(f, "%.17g", d);
}

/* One line a result, numbers in full, nothing where there is no value. */
static void print_csv(FILE *f, const llem_result *const *results, size_t count)
{
    fputs("directory,model,engine,energy_quality,energy_source", f);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].flags & ROW_ORIGINAL)
            continue;
        fprintf(f, ",%s,%s.ci95_lo,%s.ci95_hi", rows[i].path, rows[i].path, rows[i].path);
        if (rows[i].estimate)
            fprintf(f, ",%s.value,%s.low,%s.high", rows[i].estimate, rows[i].estimate,
                    rows[i].estimate);
    }
    fputc('\n', f);
    for (size_t k = 0; k < count; k++) {
        static const char *const paths[] = { "model_name", "engine", "energy_quality",
                                             "energy_source" };

        csv_text(f, llem_result_dir(results[k]));
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
            fputc(',', f);
            csv_text(f, table_string(results[k], paths[i], ""));
        }
        for (size_t i = 0; i < N_ROWS; i++) {
            llem_quantity q;

            if (rows[i].flags & ROW_ORIGINAL)
                continue;
            quantity_at(results[k], rows[i].path, &q);
            fputc(',', f);
            csv_number(f, q.valid ? q.value : NAN);
            fputc(',', f);
            csv_number(f, q.valid ? q.ci95_lo : NAN);
            fputc(',', f);
            csv_number(f, q.valid ? q.ci95_hi : NAN);
            if (rows[i].estimate) {
                llem_quantity e = { .ci95_lo = NAN, .ci95_hi = NAN };
                bool there = estimate_at(results[k], rows[i].estimate, &e);

                fputc(',', f);
                csv_number(f, there ? e.value : NAN);
                fputc(',', f);
                csv_number(f, there ? e.ci95_lo : NAN);
                fputc(',', f);
                csv_number(f, there ? e.ci95_hi : NAN);
            }
        }
        fputc('\n', f);
    }
}

/* One result as it is; several as a list. */
static void print_json(FILE *f, const llem_result *const *results, size_t count)
{
    if (count > 1)
        fputs("[\n", f);
    for (size_t k = 0; k < count; k++) {
        const char *json = llem_result_json(results[k]);
        size_t len = strlen(json);

        while (len && json[len - 1] == '\n')
            len--;
        fwrite(json, 1, len, f);
        fputs(k + 1 < count ? ",\n" : "\n", f);
    }
    if (count > 1)
        fputs("]\n", f);
}

void table_print(FILE *f, const struct term *t, const char *format,
                 const llem_result *const *results, size_t count)
{
    struct grid *grids = NULL;

    if (format && strcmp(format, "json") == 0) {
        print_json(f, results, count);
        return;
    }
    if (!grids_fill(&grids, t->glyphs, results, count))
        return;
    if (format && strcmp(format, "csv") == 0)
        print_csv(f, results, count);
    else if (format && strcmp(format, "md") == 0)
        print_md(f, count, grids);
    else
        print_table(f, t, results, count, grids);
    free(grids);
}
