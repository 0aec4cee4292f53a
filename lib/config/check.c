/* SPDX-License-Identifier: MIT
 *
 * Checking settings against rows: unknown keys with the nearest name, kinds, bounds, choices, null.
 * All errors of a layer are collected; what is valid comes out with the kinds the rows ask for.
 */
#include "lib/config/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"

/* ---- diagnostics -------------------------------------------------------------------------- */

__attribute__((format(printf, 6, 0))) static void add_diag(struct llem__diags *d,
                                                           const struct llem_value *about,
                                                           const char *file, int line, int column,
                                                           const char *fmt, va_list ap)
{
    struct llem_buf b = LLEM_BUF_INIT(4096);

    if (d->count >= LLEM__MAX_DIAGNOSTICS) {
        d->truncated = true;
        return;
    }
    if (d->count == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 16;
        struct llem__diag *items = llem_arena_calloc(d->a, cap, sizeof(*items));
        if (!items)
            return;
        if (d->count)
            memcpy(items, d->items, d->count * sizeof(*items));
        d->items = items;
        d->cap = cap;
    }
    llem_buf_vaddf(&b, fmt, ap);
    d->items[d->count] = (struct llem__diag){
        .file = file,
        .line = line,
        .column = column,
        .about = about,
        .path = d->key
                    ? llem_arena_printf(d->a, "%s%s%s", d->section, *d->section ? "." : "", d->key)
                    : NULL,
        .order = d->count,
        .text = llem_arena_strdup(d->a, b.data),
    };
    if (d->items[d->count].text)
        d->count++;
    llem_buf_done(&b);
}

void llem__diag_at(struct llem__diags *d, const char *file, int line, int column, const char *fmt,
                   ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_diag(d, NULL, file, line, column, fmt, ap);
    va_end(ap);
}

void llem__diag(struct llem__diags *d, const struct llem_value *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_diag(d, v, v ? v->file : NULL, v ? v->line : 0, v ? v->column : 0, fmt, ap);
    va_end(ap);
}

/* The keys that lead from a tree to a value in it; an element of a list has its place instead. */
struct trail {
    struct {
        const char *key;
        size_t place;
    } steps[LLEM__YAML_MAX_DEPTH + 8]; /* settings and variables add no depth to speak of */
    size_t count;
};

static bool find_value(struct trail *t, const struct llem_value *tree,
                       const struct llem_value *about)
{
    if (tree == about)
        return true;
    if ((tree->kind != LLEM_MAP && tree->kind != LLEM_LIST) || t->count == LLEM_COUNT(t->steps))
        return false;
    t->count++;
    for (size_t i = 0; i < tree->count; i++) {
        t->steps[t->count - 1].key = tree->kind == LLEM_MAP ? tree->keys[i] : NULL;
        t->steps[t->count - 1].place = i;
        if (find_value(t, tree->items[i], about))
            return true;
    }
    t->count--;
    return false;
}

void llem__diags_locate(struct llem__diags *d, const struct llem_value *tree)
{
    for (size_t i = 0; i < d->count; i++) {
        struct llem__diag *one = &d->items[i];
        struct llem_buf path = LLEM_BUF_INIT(1 << 16);
        struct trail t = { .count = 0 };

        if (one->path || !one->about || !find_value(&t, tree, one->about))
            continue;
        for (size_t k = 0; k < t.count; k++) {
            llem_buf_adds(&path, k ? "." : "");
            if (t.steps[k].key)
                llem_buf_adds(&path, t.steps[k].key);
            else
                llem_buf_addf(&path, "%zu", t.steps[k].place);
        }
        one->path = llem_arena_strdup(d->a, path.data);
        llem_buf_done(&path);
    }
}

static int compare_diags(const void *x, const void *y)
{
    const struct llem__diag *a = x, *b = y;

    if (a->line != b->line && a->line && b->line)
        return a->line < b->line ? -1 : 1;
    if (a->line && b->line && a->column != b->column)
        return a->column < b->column ? -1 : 1;
    if (!a->line != !b->line)
        return a->line ? -1 : 1; /* files first, then what has no place in one */
    return a->order < b->order ? -1 : a->order > b->order;
}

static void add_line(struct llem_buf *b, const struct llem__diag *d)
{
    if (b->len > 0)
        llem_buf_addc(b, '\n');
    if (d->file && d->line)
        llem_buf_addf(b, "%s:%d:%d: ", d->file, d->line, d->column);
    else if (d->file)
        llem_buf_addf(b, "%s: ", d->file);
    llem_buf_adds(b, d->text);
}

const char *llem__diags_text(struct llem__diags *d)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    const char *text;

    if (d->count > 1)
        qsort(d->items, d->count, sizeof(*d->items), compare_diags);
    for (size_t i = 0; i < d->count; i++)
        add_line(&b, &d->items[i]);
    if (d->truncated)
        llem_buf_addf(&b, "\nthere are more than %d errors; the others are not shown",
                      LLEM__MAX_DIAGNOSTICS);
    text = llem_arena_strdup(d->a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

llem_errcode llem__diags_error(struct llem__diags *d, llem_error *err)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    size_t shown = 0;

    if (d->count == 0)
        return LLEM_OK;
    if (d->count == 1) {
        const struct llem__diag *one = d->items;
        if (one->line)
            return llem_fail_at(err, LLEM_ECONFIG, one->file, one->line, one->column, "%s",
                                one->text);
        return llem_fail(err, LLEM_ECONFIG, "%s%s%s", one->file ? one->file : "",
                         one->file ? ": " : "", one->text);
    }
    (void)llem__diags_text(d); /* sorts */
    for (; shown < d->count; shown++) {
        size_t before = b.len;
        add_line(&b, &d->items[shown]);
        if (err && b.len > sizeof(err->msg) - 32) {
            b.len = before;
            b.data[before] = '\0';
            break;
        }
    }
    if (shown < d->count)
        llem_buf_addf(&b, "\n(and %zu more)", d->count - shown);
    llem_fail(err, LLEM_ECONFIG, "%s", b.data);
    llem_buf_done(&b);
    return LLEM_ECONFIG;
}

/* ---- values in sentences ------------------------------------------------------------------ */

const char *llem__show(struct llem_arena *a, const struct llem_value *v)
{
    char number[32];
    const char *text = NULL;
    size_t len;

    switch (v->kind) {
    case LLEM_NULL:
        return "null";
    case LLEM_BOOL:
        return v->b ? "true" : "false";
    case LLEM_INT:
        text = llem_arena_printf(a, "%" PRId64, v->i);
        break;
    case LLEM_REAL:
        if (!isfinite(v->d))
            return isnan(v->d) ? "not a number" : v->d < 0 ? "minus infinity" : "infinity";
        llem_format_f64(number, v->d, false);
        text = llem_arena_strdup(a, number);
        break;
    case LLEM_STRING:
        len = v->len;
        if (len > 60) {
            for (len = 60; len > 0 && ((unsigned char)v->s[len] & 0xC0) == 0x80; len--)
                ;
        }
        char *copy = llem_arena_strndup(a, v->s, len);
        for (char *p = copy; p && *p; p++) {
            if ((unsigned char)*p < 0x20 || *p == 0x7F)
                *p = ' ';
        }
        text = llem_arena_printf(a, "\"%s%s\"", copy ? copy : "", len < v->len ? "..." : "");
        break;
    case LLEM_LIST:
        return "a list";
    case LLEM_MAP:
        return "a map";
    }
    return text ? text : "a value";
}

static const char *show_bound(struct llem_arena *a, double d)
{
    char number[32];
    const char *text;

    llem_format_f64(number, d, false);
    text = llem_arena_strdup(a, number);
    return text ? text : "";
}

void llem__mark(struct llem_value *v, enum llem_source source, const char *file)
{
    if (v->source != LLEM_TAG_UNSET)
        v->source = (uint8_t)source;
    if (file) {
        v->file = file;
        v->line = v->column = 0;
    }
    if (v->kind == LLEM_LIST || v->kind == LLEM_MAP) {
        for (size_t i = 0; i < v->count; i++)
            llem__mark(v->items[i], source, file);
    }
}

/* ---- one value ---------------------------------------------------------------------------- */

static struct llem_value *placed(struct llem_arena *a, struct llem_value *v,
                                 const struct llem_value *from)
{
    if (!a->oom) {
        v->source = from->source;
        v->file = from->file;
        v->line = from->line;
        v->column = from->column;
    }
    return v;
}

/* Text without blanks around it, as Python's number parsers take it. */
static const char *trimmed(struct llem_arena *a, const struct llem_value *v)
{
    const char *s = v->s;
    size_t len = strlen(s);
    char *copy;

    while (len && strchr(" \t\n\r", s[len - 1]))
        len--;
    while (len && strchr(" \t\n\r", *s)) {
        s++;
        len--;
    }
    copy = llem_arena_strndup(a, s, len);
    return copy ? copy : "";
}

static bool whole_number(struct llem_arena *a, const struct llem_value *v, int64_t *ret)
{
    double d;
    const char *text;

    switch (v->kind) {
    case LLEM_BOOL:
        *ret = v->b;
        return true;
    case LLEM_INT:
        *ret = v->i;
        return true;
    case LLEM_REAL:
        d = v->d;
        break;
    case LLEM_STRING:
        text = trimmed(a, v);
        if (llem_parse_i64(text, ret))
            return true;
        if (!llem_parse_f64(text, &d))
            return false;
        break;
    default:
        return false;
    }
    /* 2^63 as a double is one too many. */
    if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) || d != floor(d))
        return false;
    *ret = (int64_t)d;
    return true;
}

static bool real_number(struct llem_arena *a, const struct llem_value *v, double *ret)
{
    switch (v->kind) {
    case LLEM_BOOL:
        *ret = v->b;
        return true;
    case LLEM_INT:
        *ret = (double)v->i;
        return true;
    case LLEM_REAL:
        *ret = v->d;
        return isfinite(v->d);
    case LLEM_STRING:
        return llem_parse_f64(trimmed(a, v), ret);
    default:
        return false;
    }
}

static bool truth(struct llem_arena *a, const struct llem_value *v, bool *ret)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on",
                                         "f",     "t",    "n",  "y",   "0",   "1" };
    double d;

    if (v->kind == LLEM_BOOL) {
        *ret = v->b;
        return true;
    }
    if (v->kind == LLEM_STRING) {
        for (size_t i = 0; i < LLEM_COUNT(words); i++) {
            if (strcasecmp(v->s, words[i]) == 0) {
                *ret = i % 2 == 1;
                return true;
            }
        }
        return false;
    }
    if ((v->kind != LLEM_INT && v->kind != LLEM_REAL) || !real_number(a, v, &d) ||
        (d != 0 && d != 1))
        return false;
    *ret = d == 1;
    return true;
}

/* "at least 1", "between 5 and 120 s", "above 0 and below 1" */
static const char *range(struct llem_arena *a, const struct llem_row *row)
{
    const char *unit = row->unit ? row->unit : "", *space = row->unit ? " " : "";
    bool low = isfinite(row->min), high = isfinite(row->max);
    const char *text;

    if (low && high && !(row->flags & (LLEM_ROW_MIN_OPEN | LLEM_ROW_MAX_OPEN)))
        text = llem_arena_printf(a, "between %s and %s%s%s", show_bound(a, row->min),
                                 show_bound(a, row->max), space, unit);
    else
        text = llem_arena_printf(a, "%s%s%s%s%s%s%s",
                                 !low                             ? ""
                                 : row->flags & LLEM_ROW_MIN_OPEN ? "above "
                                                                  : "at least ",
                                 low ? show_bound(a, row->min) : "", low && high ? " and " : "",
                                 !high                            ? ""
                                 : row->flags & LLEM_ROW_MAX_OPEN ? "below "
                                                                  : "at most ",
                                 high ? show_bound(a, row->max) : "", space, unit);
    return text ? text : "";
}

static bool in_range(const struct llem_row *row, double d)
{
    if (row->flags & LLEM_ROW_MIN_OPEN ? d <= row->min : d < row->min)
        return false;
    if (row->flags & LLEM_ROW_MAX_OPEN ? d >= row->max : d > row->max)
        return false;
    return true;
}

static void out_of_range(struct llem__check *c, const struct llem_row *row,
                         const struct llem_value *v, const struct llem_value *number)
{
    llem__diag(c->diags, v, "%s must be %s, but is %s%s%s", row->path, range(c->a, row),
               llem__show(c->a, number), row->unit ? " " : "", row->unit ? row->unit : "");
}

static void wrong_kind(struct llem__check *c, const struct llem_row *row,
                       const struct llem_value *v, const char *wanted)
{
    llem__diag(c->diags, v, "%s must be %s, but is %s", row->path, wanted, llem__show(c->a, v));
}

static void null_refused(struct llem__check *c, const struct llem_row *row,
                         const struct llem_value *v)
{
    if (row->type == LLEM_TYPE_SECTION)
        llem__diag(c->diags, v, "%s is empty; put settings below it or remove the key", row->path);
    else if (row->def)
        llem__diag(c->diags, v, "%s cannot be null; leave it out for its default %s", row->path,
                   row->def);
    else
        llem__diag(c->diags, v, "%s cannot be null", row->path);
}

/* Names of old or neighbouring tools that mean one of ours. */
static const struct {
    const char *row, *value, *now;
} renamed_values[] = {
    { "engine", "pytorch", "transformers" },     { "engine", "hf", "transformers" },
    { "engine", "huggingface", "transformers" }, { "engine", "trt", "tensorrt" },
    { "engine", "tensorrt-llm", "tensorrt" },
};

static struct llem_value *check_enum(struct llem__check *c, const struct llem_row *row,
                                     const struct llem_value *v)
{
    bool engines = strcmp(row->path, "engine") == 0 && c->schema;
    const char **names = llem__split(c->a, row->choices, '|'), *near = NULL;
    int64_t i;

    /* A class instead of a folder: python:MODULE:CLASS. */
    if (engines && v->kind == LLEM_STRING && llem_starts_with(v->s, "python:")) {
        const char *class = strchr(v->s + strlen("python:"), ':');

        if (class && class != v->s + strlen("python:") && class[1] && !strchr(class + 1, ':'))
            return llem_stringn(c->a, v->s, v->len);
        llem__diag(c->diags, v, "engine must be python:MODULE:CLASS, but is %s",
                   llem__show(c->a, v));
        return NULL;
    }

    if (row->type == LLEM_TYPE_INT_ENUM) {
        if ((v->kind == LLEM_INT || v->kind == LLEM_REAL) && whole_number(c->a, v, &i)) {
            for (size_t k = 0; names && names[k]; k++) {
                int64_t choice;
                if (llem_parse_i64(names[k], &choice) && choice == i)
                    return llem_int(c->a, i);
            }
        }
        llem__diag(c->diags, v, "%s must be %s, but is %s", row->path,
                   llem__alternatives(c->a, row->choices, " or "), llem__show(c->a, v));
        return NULL;
    }
    if (v->kind == LLEM_STRING) {
        for (size_t k = 0; names && names[k]; k++) {
            if (strcmp(names[k], v->s) == 0)
                return llem_string(c->a, v->s);
        }
        /* Hidden engines are accepted, but not offered. */
        for (size_t k = 0; engines && c->schema->engines[k]; k++) {
            if (strcmp(c->schema->engines[k], v->s) == 0)
                return llem_string(c->a, v->s);
        }
        if (names)
            near = llem_nearest(v->s, names);
        for (size_t k = 0; k < LLEM_COUNT(renamed_values); k++) {
            if (strcmp(renamed_values[k].row, row->path) == 0 &&
                strcasecmp(renamed_values[k].value, v->s) == 0)
                near = renamed_values[k].now;
        }
        for (size_t k = 0; !near && names && names[k]; k++) {
            if (strcasecmp(names[k], v->s) == 0)
                near = names[k];
        }
    }
    if (v->kind == LLEM_BOOL && v->line)
        llem__diag(c->diags, v,
                   "%s must be %s, but is %s (YAML reads yes, no, on and off as true and false; "
                   "put such a word in quotes)",
                   row->path, llem__alternatives(c->a, row->choices, " or "), llem__show(c->a, v));
    else
        llem__diag(c->diags, v, "%s must be %s, but is %s%s%s%s", row->path,
                   llem__alternatives(c->a, row->choices, " or "), llem__show(c->a, v),
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return NULL;
}

static bool finite_everywhere(struct llem__check *c, const struct llem_row *row,
                              const struct llem_value *v)
{
    bool ok = true;

    if (v->kind == LLEM_REAL && !isfinite(v->d)) {
        llem__diag(c->diags, v, "a value below %s is %s, which is no number a setting can have",
                   row->path, llem__show(c->a, v));
        return false;
    }
    if (v->kind == LLEM_LIST || v->kind == LLEM_MAP) {
        for (size_t i = 0; i < v->count; i++)
            ok = finite_everywhere(c, row, v->items[i]) && ok;
    }
    return ok;
}

struct llem_value *llem__check_value(struct llem__check *c, const struct llem_row *row,
                                     const struct llem_value *v)
{
    struct llem_value *out = NULL, *number;
    int64_t i;
    double d;
    bool b;

    if (v->kind == LLEM_NULL) {
        if (row->flags & LLEM_ROW_NULLABLE)
            return placed(c->a, llem_null(c->a), v);
        null_refused(c, row, v);
        return NULL;
    }
    switch (row->type) {
    case LLEM_TYPE_BOOL:
        if (truth(c->a, v, &b))
            out = llem_bool(c->a, b);
        else
            wrong_kind(c, row, v, "true or false");
        break;
    case LLEM_TYPE_INT:
        if (!whole_number(c->a, v, &i)) {
            wrong_kind(c, row, v, "a whole number");
            break;
        }
        if (v->kind == LLEM_BOOL && c->ctx)
            llem_log(c->ctx, LLEM_LOG_WARNING, "config", "%s is %s; it is read as %d", row->path,
                     v->b ? "true" : "false", v->b);
        number = llem_int(c->a, i);
        if (in_range(row, (double)i))
            out = number;
        else
            out_of_range(c, row, v, number);
        break;
    case LLEM_TYPE_REAL:
        if (!real_number(c->a, v, &d)) {
            wrong_kind(c, row, v, "a finite number");
            break;
        }
        if (v->kind == LLEM_BOOL && c->ctx)
            llem_log(c->ctx, LLEM_LOG_WARNING, "config", "%s is %s; it is read as %d", row->path,
                     v->b ? "true" : "false", v->b);
        number = llem_real(c->a, d);
        if (in_range(row, d))
            out = number;
        else
            out_of_range(c, row, v, number);
        break;
    case LLEM_TYPE_STRING:
        if (v->kind != LLEM_STRING) {
            bool simple = v->kind == LLEM_BOOL || v->kind == LLEM_INT || v->kind == LLEM_REAL;
            wrong_kind(c, row, v, simple ? "text (put it in quotes)" : "text");
        } else if (strlen(v->s) != v->len) {
            llem__diag(c->diags, v, "%s must not hold a NUL character", row->path);
        } else if ((double)v->len < row->min) {
            llem__diag(c->diags, v, "%s must not be empty", row->path);
        } else {
            out = llem_stringn(c->a, v->s, v->len);
        }
        break;
    case LLEM_TYPE_ENUM:
    case LLEM_TYPE_INT_ENUM:
        out = check_enum(c, row, v);
        break;
    case LLEM_TYPE_MAP:
        if (v->kind != LLEM_MAP)
            wrong_kind(c, row, v, "a map");
        else if (finite_everywhere(c, row, v))
            out = llem_copy(c->a, v);
        break;
    case LLEM_TYPE_LIST:
        if (v->kind != LLEM_LIST) {
            wrong_kind(c, row, v, "a list of text");
            break;
        }
        out = llem_copy(c->a, v);
        for (size_t k = 0; k < v->count; k++) {
            if (v->items[k]->kind != LLEM_STRING) {
                llem__diag(c->diags, v->items[k], "%s must be a list of text, but holds %s",
                           row->path, llem__show(c->a, v->items[k]));
                out = NULL;
            }
        }
        break;
    case LLEM_TYPE_ANY:
        out = llem_null(c->a);
        break;
    case LLEM_TYPE_SECTION:
        wrong_kind(c, row, v, "a section of settings");
        break;
    }
    return out ? placed(c->a, out, v) : NULL;
}

/* ---- keys --------------------------------------------------------------------------------- */

/* Where a setting went that had, or has elsewhere, another name. %s is the engine's name. */
static const struct {
    const char *section, *key, *now;
} renamed_keys[] = {
    { "", "model_name", "task.model" },
    { "", "pytorch", "transformers" },
    { "", "backend", "engine" },
    { "", "n", "task.dataset.n_prompts" },
    { "", "n_prompts", "task.dataset.n_prompts" },
    { "", "num_prompts", "task.dataset.n_prompts" },
    { "", "dataset", "task.dataset.source" },
    { "", "seed", "task.random_seed" },
    { "", "decoder", "%s.sampling" },
    { "", "sampling", "%s.sampling" },
    { "", "precision", "%s.dtype" },
    { "", "fp_precision", "%s.dtype" },
    { "", "warmup", "measurement.warmup" },
    { "", "baseline", "measurement.baseline" },
    { "", "energy_sampler", "measurement.energy_sampler" },
    { "", "gpu_telemetry", "measurement.energy_sampler" },
    { "", "name", "study_name" },
    { "", "results_dir", "output.results_dir" },
    { "", "quick", "measurement.quick" },
    { "task", "n_prompts", "task.dataset.n_prompts" },
    { "task", "n", "task.dataset.n_prompts" },
    { "task", "source", "task.dataset.source" },
    { "task", "seed", "task.random_seed" },
    { "task", "max_tokens", "task.max_output_tokens" },
    { "task", "max_new_tokens", "task.max_output_tokens" },
    { "task.dataset", "n", "task.dataset.n_prompts" },
    { "task.dataset", "name", "task.dataset.source" },
    { "task.dataset", "path", "task.dataset.source" },
    { "tensorrt", "quant", "tensorrt.quant_config" },
    { "tensorrt", "kv_cache", "tensorrt.kv_cache_config" },
    { "tensorrt", "scheduler", "tensorrt.scheduler_config" },
};

/* Keys of study files and of the user's configuration. */
static const struct {
    const char *key, *sentence;
} elsewhere[] = {
    { "study_execution", "belongs to a study file; an experiment runs once" },
    { "execution", "belongs to a study file; an experiment runs once" },
    { "base", "belongs to a study file" },
    { "runners", "belongs to the user's configuration or to a study file" },
    { "images", "belongs to the user's configuration or to a study file" },
};

/* The engine hints are about; a name that is no engine's is a slip of its own. */
static const char *engine_of(const struct llem__check *c)
{
    for (size_t i = 0; c->engine && c->schema->engines[i]; i++) {
        if (strcmp(c->schema->engines[i], c->engine) == 0)
            return c->engine;
    }
    return "transformers";
}

/* True if a row belongs to an engine's section; *own: to the one in force. */
static bool of_an_engine(const struct llem__check *c, const struct llem_row *row, bool *own)
{
    const char *engine = engine_of(c);

    for (size_t i = 0; c->schema->engines[i]; i++) {
        size_t n = strlen(c->schema->engines[i]);
        if (strncmp(row->path, c->schema->engines[i], n) == 0 &&
            (row->path[n] == '.' || row->path[n] == '\0')) {
            *own = strcmp(c->schema->engines[i], engine) == 0;
            return true;
        }
    }
    *own = false;
    return false;
}

/* Another row whose last part is this key: a shared one, else one of the engine in force. */
static const char *same_leaf(const struct llem__check *c, const char *section, const char *key)
{
    const char *found = NULL;

    for (size_t i = 0; i < c->schema->count; i++) {
        const struct llem_row *row = c->schema->rows[i];
        bool own;
        if (strcmp(llem__leaf(row->path), key) != 0 || (row->flags & LLEM_ROW_STUDY) ||
            strcmp(row->path, key) == 0 || llem__is_child(section, row))
            continue;
        if (!of_an_engine(c, row, &own))
            return row->path;
        if (own && !found)
            found = row->path;
    }
    return found;
}

static bool hidden_engine(const struct llem__check *c, const char *name)
{
    bool known = false;

    for (size_t i = 0; c->schema->engines[i]; i++)
        known = known || strcmp(c->schema->engines[i], name) == 0;
    for (size_t i = 0; known && c->schema->visible[i]; i++)
        known = strcmp(c->schema->visible[i], name) != 0;
    return known;
}

/* Where a key that is spelled right belongs; NULL if nowhere. */
static const char *moved_to(struct llem__check *c, const char *section, const char *key)
{
    for (size_t i = 0; i < LLEM_COUNT(renamed_keys); i++) {
        if (strcmp(renamed_keys[i].section, section) != 0 || strcmp(renamed_keys[i].key, key) != 0)
            continue;
        if (llem_starts_with(renamed_keys[i].now, "%s"))
            return llem_arena_printf(c->a, "%s%s", engine_of(c), renamed_keys[i].now + 2);
        if (llem_schema_find(c->schema, renamed_keys[i].now))
            return renamed_keys[i].now;
    }
    return same_leaf(c, section, key);
}

/* The key that was meant, NULL if nothing is near. *moved: it is another place, not another
 * spelling. */
static const char *meant(struct llem__check *c, const char *section, const char *key, bool *moved)
{
    const char **names = llem_arena_calloc(c->a, c->schema->count + 1, sizeof(*names)), *near;
    size_t n = 0;

    *moved = true;
    near = moved_to(c, section, key);
    if (near || !names)
        return near;
    *moved = false;
    for (size_t i = 0; i < c->schema->count; i++) {
        const struct llem_row *row = c->schema->rows[i];
        if (llem__is_child(section, row) && row->type != LLEM_TYPE_ANY &&
            !hidden_engine(c, row->path))
            names[n++] = llem__leaf(row->path);
    }
    near = llem_nearest(key, names);
    if (near)
        return near;
    /* A slip in a name that belongs elsewhere. */
    *moved = true;
    n = 0;
    for (size_t i = 0; i < c->schema->count; i++) {
        const struct llem_row *row = c->schema->rows[i];
        bool own;
        if (!(row->flags & LLEM_ROW_STUDY) && (!of_an_engine(c, row, &own) || own))
            names[n++] = llem__leaf(row->path);
    }
    names[n] = NULL;
    near = strlen(key) > 3 ? llem_nearest(key, names) : NULL;
    return near ? moved_to(c, section, near) : NULL;
}

void llem__key_place(const struct llem__check *c, const struct llem_value *v, int *line,
                     int *column)
{
    *line = v->line;
    *column = v->column;
    for (size_t i = 0; c->keys && i < c->keys->count; i++) {
        if (c->keys->items[i].value == v) {
            *line = c->keys->items[i].line;
            *column = c->keys->items[i].column;
            return;
        }
    }
}

/* "a, b, c" of what may stand in a section, for when nothing is near. */
static const char *children(struct llem__check *c, const char *section)
{
    struct llem_buf b = LLEM_BUF_INIT(2048);
    const char *text;

    for (size_t i = 0; i < c->schema->count; i++) {
        const struct llem_row *row = c->schema->rows[i];
        if (llem__is_child(section, row) && row->type != LLEM_TYPE_ANY &&
            !hidden_engine(c, row->path))
            llem_buf_addf(&b, "%s%s", b.len ? ", " : "", llem__leaf(row->path));
    }
    text = llem_arena_strdup(c->a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

static void remember_bad(struct llem__check *c, const char *path)
{
    struct llem__bad *bad = llem_arena_alloc(c->a, sizeof(*bad));

    if (!bad)
        return;
    bad->path = path;
    bad->next = c->bad;
    c->bad = bad;
}

static void unknown_key(struct llem__check *c, const char *section, const char *key,
                        const struct llem_value *v)
{
    struct llem_value name = { .kind = LLEM_STRING, .s = key, .len = strlen(key) };
    const char *shown = llem__show(c->a, &name), *near;
    struct llem__diags *d = c->unknown ? c->unknown : c->diags;
    int line, column;
    bool moved;

    llem__key_place(c, v, &line, &column);
    for (size_t i = 0; !*section && i < LLEM_COUNT(elsewhere); i++) {
        if (strcmp(elsewhere[i].key, key) == 0) {
            llem__diag_at(d, v->file, line, column, "the key %s %s", shown, elsewhere[i].sentence);
            return;
        }
    }
    if (!*section && strchr(key, '.') && llem_schema_find(c->schema, key)) {
        llem__diag_at(d, v->file, line, column,
                      "unknown key %s; in a file, write %s below its section", shown,
                      llem__leaf(key));
        return;
    }
    near = meant(c, section, key, &moved);
    const char *in = *section ? " in " : "";
    /* A second sentence that the model is missing would only repeat this one. */
    if (near && !*section && (strcmp(near, "task") == 0 || strcmp(near, "task.model") == 0))
        remember_bad(c, "task.model");
    if (near && moved)
        llem__diag_at(d, v->file, line, column, "unknown key %s%s%s; write it as %s", shown, in,
                      section, near);
    else if (near)
        llem__diag_at(d, v->file, line, column, "unknown key %s%s%s; did you mean \"%s\"?", shown,
                      in, section, near);
    else
        llem__diag_at(d, v->file, line, column, "unknown key %s%s%s; the keys there are %s", shown,
                      in, *section ? section : " at the top level", children(c, section));
}

/* An extra key of an open section is kept; a likely slip is told. */
static void extra_key(struct llem__check *c, const char *section, const char *key)
{
    bool moved;
    const char *near = c->ctx ? meant(c, section, key, &moved) : NULL;

    if (near)
        llem_log(c->ctx, LLEM_LOG_WARNING, "config",
                 "%s.%s is no setting llem knows and is handed to the engine as it is; did you "
                 "mean %s?",
                 section, key, near);
}

/* ---- a layer ------------------------------------------------------------------------------ */

static const struct llem_row *child_row(const struct llem__check *c, const char *section,
                                        const char *key)
{
    const char *path = *section ? llem_arena_printf(c->a, "%s.%s", section, key) : key;

    /* A key with a dot in it is no path. */
    return path && !strchr(key, '.') ? llem_schema_find(c->schema, path) : NULL;
}

static struct llem_value *check_section(struct llem__check *c, const char *section, bool open,
                                        const struct llem_value *map)
{
    struct llem_value *out = placed(c->a, llem_map(c->a), map), *v;

    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i];
        const struct llem_value *item = map->items[i];
        const struct llem_row *row = child_row(c, section, key);

        c->diags->section = section;
        c->diags->key = key;
        if (!row && open) {
            struct llem_row extra = { .path = llem_arena_printf(c->a, "%s.%s", section, key) };
            extra_key(c, section, key);
            if (extra.path && finite_everywhere(c, &extra, item))
                llem_set(c->a, out, key, llem_copy(c->a, item));
            continue;
        }
        if (!row) {
            unknown_key(c, section, key, item);
            continue;
        }
        if (item->source == LLEM_TAG_UNSET) {
            llem_set(c->a, out, key, llem_copy(c->a, item));
            continue;
        }
        /* The place of a section, a map or nothing is best told by its key. */
        struct llem_value at_key = *item;
        if (item->line && (item->kind == LLEM_MAP || item->kind == LLEM_NULL))
            llem__key_place(c, item, &at_key.line, &at_key.column);
        if (row->type == LLEM_TYPE_SECTION && item->kind == LLEM_MAP) {
            v = check_section(c, row->path, row->flags & LLEM_ROW_OPEN, &at_key);
        } else if (strcmp(row->path, "task.dataset") == 0 && item->kind == LLEM_STRING) {
            llem__diag(c->diags, item,
                       "task.dataset is a section; write the name of the dataset as "
                       "task.dataset.source: %s",
                       item->s);
            remember_bad(c, row->path);
            continue;
        } else {
            v = llem__check_value(c, row, &at_key);
        }
        if (v)
            llem_set(c->a, out, key, v);
        else
            remember_bad(c, row->path);
    }
    return out;
}

struct llem_value *llem__check_layer(struct llem__check *c, const struct llem_value *layer)
{
    struct llem_value *out = check_section(c, "", false, layer);

    c->diags->key = NULL;
    return out;
}

/* ---- between settings --------------------------------------------------------------------- */

static bool given(const struct llem_value *tree, const char *path)
{
    return !llem_is_null(llem_at(tree, path));
}

static bool is_text(const struct llem_value *tree, const char *path, const char *text)
{
    return strcmp(llem_str_at(tree, path, ""), text) == 0;
}

/* True if the setting, or a section around it, was given a value that was refused. */
static bool refused(const struct llem__check *c, const char *path)
{
    for (const struct llem__bad *b = c->bad; b; b = b->next) {
        size_t len = strlen(b->path);
        if (strncmp(b->path, path, len) == 0 && (path[len] == '\0' || path[len] == '.'))
            return true;
    }
    return false;
}

/* Pairs that exclude each other, whatever their values. */
static const struct {
    const char *first, *second;
} exclusive[] = {
    { "transformers.tp_plan", "transformers.device_map" },
    { "vllm.engine.kv_cache_memory_bytes", "vllm.engine.gpu_memory_utilization" },
    { "vllm.beam_search", "vllm.sampling" },
};

/* Settings that mean nothing unless another is true. */
static const struct {
    const char *setting, *needs;
} dependent[] = {
    { "transformers.torch_compile_mode", "transformers.torch_compile" },
    { "transformers.torch_compile_backend", "transformers.torch_compile" },
    { "transformers.bnb_4bit_compute_dtype", "transformers.load_in_4bit" },
    { "transformers.bnb_4bit_quant_type", "transformers.load_in_4bit" },
    { "transformers.bnb_4bit_use_double_quant", "transformers.load_in_4bit" },
};

static void check_engine_sections(struct llem__check *c, const struct llem_value *tree)
{
    const char *engine = llem_str_at(tree, "engine", "transformers");

    if (refused(c, "engine"))
        return;
    for (size_t i = 0; c->schema->engines[i]; i++) {
        const char *name = c->schema->engines[i];
        const struct llem_value *section = llem_get(tree, name);
        if (llem_is_null(section) || strcmp(name, engine) == 0)
            continue;
        llem__diag(c->diags, section,
                   "the section %s is only for engine: %s, but the engine is %s; remove the "
                   "section or set the engine",
                   name, name, engine);
    }
}

static void check_passthrough(struct llem__check *c, const struct llem_value *tree)
{
    const struct llem_value *extra = llem_get(tree, "passthrough_kwargs");
    const char *engine = llem_str_at(tree, "engine", "transformers");
    const struct llem_row *section = llem_schema_find(c->schema, engine);
    bool closed = section && !(section->flags & LLEM_ROW_OPEN);

    if (closed && !llem_is_null(extra))
        llem__diag(c->diags, extra, "the engine %s takes no passthrough_kwargs", engine);
    if (closed && given(tree, "lora"))
        llem__diag(c->diags, llem_get(tree, "lora"), "the engine %s takes no lora adapter", engine);
    for (size_t i = 0; extra && extra->kind == LLEM_MAP && i < extra->count; i++) {
        const struct llem_row *row =
            strchr(extra->keys[i], '.') ? NULL : llem_schema_find(c->schema, extra->keys[i]);
        int line = 0, column = 0;
        if (!row || (row->flags & LLEM_ROW_STUDY))
            continue;
        llem__key_place(c, extra->items[i], &line, &column);
        c->diags->section = "passthrough_kwargs";
        c->diags->key = extra->keys[i];
        llem__diag_at(c->diags, extra->items[i]->file, line, column,
                      "passthrough_kwargs must not hold \"%s\", which is a setting of its own; "
                      "write it at the top level",
                      extra->keys[i]);
        c->diags->key = NULL;
    }
}

/* Settings of ours that mean nothing, or no end, without another. */
static void check_task(struct llem__check *c, const struct llem_value *tree)
{
    const struct llem_value *tokens = llem_at(tree, "task.dataset.input_tokens");
    const struct llem_value *source = llem_at(tree, "task.dataset.source");
    bool is_random = is_text(tree, "task.dataset.source", "random");

    if (is_random && llem_is_null(tokens) && !refused(c, "task.dataset.input_tokens"))
        llem__diag(c->diags, source,
                   "task.dataset.source: random needs task.dataset.input_tokens, the length of its "
                   "prompts");
    /* No error, because -d on the command line may have replaced `random`. */
    if (!is_random && !llem_is_null(tokens) && c->ctx)
        llem_log(
            c->ctx, LLEM_LOG_WARNING, "config",
            "task.dataset.input_tokens is only for task.dataset.source: random and is not used");
    if (llem_bool_at(tree, "task.ignore_eos", false) && !given(tree, "task.max_output_tokens") &&
        !refused(c, "task.max_output_tokens"))
        llem__diag(c->diags, llem_at(tree, "task.ignore_eos"),
                   "task.ignore_eos needs task.max_output_tokens, else nothing ends a request");
}

void llem__check_cross(struct llem__check *c, const struct llem_value *tree)
{
    const struct llem_value *v;
    int64_t batched, model_len;

    check_engine_sections(c, tree);
    check_passthrough(c, tree);
    check_task(c, tree);

    if ((is_text(tree, "transformers.attn_implementation", "flash_attention_2") ||
         is_text(tree, "transformers.attn_implementation", "flash_attention_3")) &&
        is_text(tree, "transformers.dtype", "float32"))
        llem__diag(c->diags, llem_at(tree, "transformers.attn_implementation"),
                   "transformers.attn_implementation: %s needs transformers.dtype float16 or "
                   "bfloat16, but the dtype is float32",
                   llem_str_at(tree, "transformers.attn_implementation", ""));

    if (llem_bool_at(tree, "transformers.load_in_4bit", false) &&
        llem_bool_at(tree, "transformers.load_in_8bit", false))
        llem__diag(c->diags, llem_at(tree, "transformers.load_in_8bit"),
                   "transformers.load_in_4bit and transformers.load_in_8bit cannot both be true");

    for (size_t i = 0; i < LLEM_COUNT(dependent); i++) {
        if (given(tree, dependent[i].setting) && !llem_bool_at(tree, dependent[i].needs, false) &&
            !refused(c, dependent[i].needs))
            llem__diag(c->diags, llem_at(tree, dependent[i].setting), "%s needs %s: true",
                       dependent[i].setting, dependent[i].needs);
    }

    v = llem_at(tree, "transformers.use_cache");
    if (given(tree, "transformers.cache_implementation") && v && v->kind == LLEM_BOOL && !v->b)
        llem__diag(c->diags, llem_at(tree, "transformers.cache_implementation"),
                   "transformers.cache_implementation needs transformers.use_cache true or unset, "
                   "but it is false");

    for (size_t i = 0; i < LLEM_COUNT(exclusive); i++) {
        if (given(tree, exclusive[i].first) && given(tree, exclusive[i].second))
            llem__diag(c->diags, llem_at(tree, exclusive[i].first), "%s and %s cannot both be set",
                       exclusive[i].first, exclusive[i].second);
    }

    batched = llem_int_at(tree, "vllm.engine.max_num_batched_tokens", 0);
    model_len = llem_int_at(tree, "vllm.engine.max_model_len", 0);
    if (batched > 0 && batched < model_len)
        llem__diag(c->diags, llem_at(tree, "vllm.engine.max_num_batched_tokens"),
                   "vllm.engine.max_num_batched_tokens must be at least vllm.engine.max_model_len "
                   "(%lld tokens), so that one full sequence fits, but is %lld tokens",
                   (long long)model_len, (long long)batched);

    if (given(tree, "lora") && !refused(c, "lora.adapter_id") && !refused(c, "lora.adapter_path") &&
        given(tree, "lora.adapter_id") == given(tree, "lora.adapter_path"))
        llem__diag(c->diags, llem_at(tree, "lora"),
                   "lora needs exactly one of adapter_id and adapter_path");
}
