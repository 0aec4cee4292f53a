/* SPDX-License-Identifier: MIT
 *
 * A commented study file, written from the rows: what decides what is measured stands in it, every
 * other setting as a comment with its default. With a grid, settings that have only some values are
 * axes.
 */
#include <math.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/config/internal.h"

enum { COMMENT_COLUMN = 44, VALUES = 16 };

struct template
{
    struct llem_buf *out;
    struct llem_arena *a;
    const struct llem_schema *schema;
    const char *const *engines;
    size_t n_engines;
    const char *model;
    const char *open; /* the section that the lines before are in */
};

/* What a new file says itself. */
static const struct {
    const char *path, *value; /* NULL: told apart below */
} said[] = {
    { "task.model", NULL },
    { "task.dataset.source", "builtin" },
    { "task.dataset.n_prompts", "20" },
    { "engine", NULL },
    { "study_execution.n_cycles", "3" },
    { "study_execution.experiment_order", "shuffle" },
};

/* Text as YAML would read it again. */
static const char *scalar(struct template *t, const char *text)
{
    const struct llem_value *v = llem_yaml_scalar(t->a, text);
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *out = text;

    if (!v || v->kind != LLEM_STRING || strcmp(v->s, text) != 0 ||
        strpbrk(text, ",[]{}#&*!|>'\"%@`:") || !*text) {
        llem_json_dump(&b, llem_string(t->a, text), LLEM_JSON_COMPACT);
        out = llem_arena_strdup(t->a, b.data);
        t->a->oom = t->a->oom || b.failed;
        llem_buf_done(&b);
    }
    return out ? out : "";
}

static const char *engine_list(struct template *t)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *text;

    for (size_t i = 0; i < t->n_engines; i++)
        llem_buf_addf(&b, "%s%s", i ? ", " : "", scalar(t, t->engines[i]));
    text = t->n_engines > 1 ? llem_arena_printf(t->a, "[%s]", b.data)
                            : llem_arena_strdup(t->a, b.data);
    t->a->oom = t->a->oom || b.failed;
    llem_buf_done(&b);
    return text ? text : "";
}

static const char *default_of(struct template *t, const struct llem_row *row)
{
    const struct llem_value *v = row->def ? llem_yaml_scalar(t->a, row->def) : NULL;

    if (v && v->kind == LLEM_STRING)
        return scalar(t, v->s);
    return row->def ? row->def : "null";
}

/* What the file says of a setting; NULL: nothing, it stands as a comment. */
static const char *said_of(struct template *t, const char *path)
{
    for (size_t i = 0; i < LLEM_COUNT(said); i++)
        if (strcmp(path, said[i].path) == 0)
            return said[i].value                 ? said[i].value
                   : strcmp(path, "engine") == 0 ? engine_list(t)
                                                 : scalar(t, t->model);
    return NULL;
}

static bool holds_said(const char *section)
{
    size_t len = strlen(section);

    for (size_t i = 0; i < LLEM_COUNT(said); i++)
        if (strncmp(said[i].path, section, len) == 0 && said[i].path[len] == '.')
            return true;
    return false;
}

/* "a, b or c", "1 to 5", "at least 1": which values there are. */
static void add_range(struct llem_buf *b, const struct llem_row *row)
{
    bool low = isfinite(row->min), high = isfinite(row->max);

    if (row->type == LLEM_TYPE_BOOL)
        llem_buf_adds(b, "; true or false");
    else if (row->type == LLEM_TYPE_ENUM || row->type == LLEM_TYPE_INT_ENUM)
        for (const char *c = row->choices; c && *c;) {
            size_t len = strcspn(c, "|");

            llem_buf_addf(b, "%s%.*s",
                          c == row->choices ? "; "
                          : c[len]          ? ", "
                                            : " or ",
                          (int)len, c);
            c += len + (c[len] == '|');
        }
    else if (row->type != LLEM_TYPE_INT && row->type != LLEM_TYPE_REAL)
        return;
    else if (low && high)
        llem_buf_addf(b, "; %.10g to %.10g", row->min, row->max);
    else if (low)
        llem_buf_addf(b, "; %s %.10g", row->flags & LLEM_ROW_MIN_OPEN ? "above" : "at least",
                      row->min);
    if (row->unit)
        llem_buf_addf(b, " (%s)", row->unit);
}

/* "  key: value      # help", as a comment or not. */
static void add_line(struct template *t, bool comment, size_t depth, const char *key,
                     const char *value, const char *help, const struct llem_row *row)
{
    struct llem_buf line = LLEM_BUF_INIT(1 << 20);

    llem_buf_addf(&line, "%s%*s%s:%s%s", comment ? "# " : "", (int)(2 * depth), "", key,
                  *value ? " " : "", value);
    if (help)
        llem_buf_addf(&line, "%*s  # %s",
                      line.len < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - line.len) : 0, "", help);
    if (help && row)
        add_range(&line, row);
    llem_buf_addf(t->out, "%s\n", line.data);
    t->a->oom = t->a->oom || line.failed;
    llem_buf_done(&line);
}

/* Headers of the sections between the line before and this path. */
static void open_sections(struct template *t, const char *path)
{
    const char *end = strrchr(path, '.');
    size_t depth = 0;

    for (const char *dot = path; end && (dot = strchr(dot, '.')) && dot <= end; dot++, depth++) {
        const char *section = llem_arena_strndup(t->a, path, (size_t)(dot - path));
        size_t len = section ? strlen(section) : 0;
        const struct llem_row *row;

        if (!section ||
            (strncmp(t->open, section, len) == 0 && (t->open[len] == '.' || t->open[len] == '\0')))
            continue;
        row = llem_schema_find(t->schema, section);
        if (depth == 0)
            llem_buf_addc(t->out, '\n');
        add_line(t, !holds_said(section), depth,
                 strrchr(section, '.') ? strrchr(section, '.') + 1 : section, "",
                 row ? row->help : NULL, NULL);
    }
    if (!end && *t->open)
        llem_buf_addc(t->out, '\n');
    t->open = end ? llem_arena_strndup(t->a, path, (size_t)(end - path)) : "";
    if (!t->open)
        t->open = "";
}

static void add_setting(struct template *t, const struct llem_row *row)
{
    const char *value = said_of(t, row->path), *key = strrchr(row->path, '.');
    size_t depth = 0;

    for (const char *p = row->path; *p; p++)
        depth += *p == '.';
    open_sections(t, row->path);
    add_line(t, !value, depth, key ? key + 1 : row->path, value ? value : default_of(t, row),
             row->help, row);
}

/* ---- the grid ------------------------------------------------------------------------------- */

static bool same_value(struct template *t, const char *a, const char *b)
{
    const struct llem_value *x = llem_yaml_scalar(t->a, a), *y = llem_yaml_scalar(t->a, b);

    return x && y && llem_equal(x, y);
}

/* The values of a setting that has only some, its default first; 0 = it has any number. */
static size_t values_of(struct template *t, const struct llem_row *row, const char *values[VALUES])
{
    const char *list[VALUES] = { NULL };
    size_t n = 0, count = 0;

    if (row->type == LLEM_TYPE_BOOL) {
        list[count++] = "false";
        list[count++] = "true";
    } else if (row->type == LLEM_TYPE_ENUM || row->type == LLEM_TYPE_INT_ENUM) {
        const char **choices = row->choices ? llem__split(t->a, row->choices, '|') : NULL;

        for (; choices && choices[count] && count + 1 < VALUES; count++)
            list[count] = row->type == LLEM_TYPE_ENUM ? scalar(t, choices[count]) : choices[count];
    } else if ((row->type == LLEM_TYPE_INT || row->type == LLEM_TYPE_REAL) && isfinite(row->min) &&
               isfinite(row->max)) {
        double middle = (row->min + row->max) / 2;

        if (!(row->flags & LLEM_ROW_MIN_OPEN))
            list[count++] = llem_arena_printf(t->a, "%.10g", row->min);
        list[count++] =
            llem_arena_printf(t->a, "%.10g", row->type == LLEM_TYPE_INT ? floor(middle) : middle);
        if (!(row->flags & LLEM_ROW_MAX_OPEN))
            list[count++] = llem_arena_printf(t->a, "%.10g", row->max);
    }
    if (!count || t->a->oom)
        return 0;
    values[n++] = default_of(t, row);
    for (size_t i = 0; i < count && n < VALUES; i++)
        if (!same_value(t, list[i], values[0]))
            values[n++] = list[i];
    return n;
}

static bool is_of(const char *path, const char *engine)
{
    size_t len = strlen(engine);

    return strncmp(path, engine, len) == 0 && path[len] == '.';
}

/* The axes of an engine (NULL: those of all). experiments: of each engine so far, with the limit
 * kept; axes beyond it, or all without a grid, are comments. */
static void add_axes(struct template *t, const char *engine, bool grid, double *experiments,
                     double limit)
{
    for (size_t i = 0; i < t->schema->count && !t->a->oom; i++) {
        const struct llem_row *row = t->schema->rows[i];
        const char *values[VALUES];
        struct llem_buf list = LLEM_BUF_INIT(1 << 16);
        bool shared = true;
        size_t n;

        for (size_t k = 0; t->schema->engines[k]; k++)
            shared = shared && !is_of(row->path, t->schema->engines[k]);
        if ((engine ? !is_of(row->path, engine) : !shared) || (row->flags & LLEM_ROW_STUDY) ||
            strcmp(row->path, "engine") == 0)
            continue;
        n = values_of(t, row, values);
        if (n < 2)
            continue;
        for (size_t k = 0; k < n; k++)
            llem_buf_addf(&list, "%s%s", k ? ", " : "[", values[k]);
        llem_buf_addc(&list, ']');
        add_line(t, !grid || *experiments * (double)n > limit, 1, row->path, list.data, NULL, NULL);
        if (grid && *experiments * (double)n <= limit)
            *experiments *= (double)n;
        t->a->oom = t->a->oom || list.failed;
        llem_buf_done(&list);
    }
}

static void add_sweep(struct template *t, bool grid)
{
    double limit = (double)LLEM_TEMPLATE_CELLS / (double)t->n_engines, most = 1;
    bool own = false;

    llem_buf_adds(t->out, "\n# An axis is a setting with its values; all combinations run.\n");
    if (grid)
        llem_buf_addf(
            t->out,
            "# Each setting that has only some values, its default first. Axes that would "
            "make more than\n# %d experiments are comments: exchange them for others.\n",
            LLEM_TEMPLATE_CELLS);
    for (size_t i = 0; i < t->schema->count; i++)
        for (size_t k = 0; k < t->n_engines; k++)
            own = own || is_of(t->schema->rows[i]->path, t->engines[k]);
    llem_buf_adds(t->out, grid ? "sweep:\n" : "# sweep:\n#   task.dataset.n_prompts: [10, 100]\n");
    for (size_t i = 0; own && i < t->n_engines; i++) {
        double experiments = 1;

        add_axes(t, t->engines[i], grid, &experiments, limit);
        most = fmax(most, experiments);
    }
    add_axes(t, NULL, grid, &most, limit);
}

static void add_rows(struct template *t, const struct llem_row *const *rows, size_t count)
{
    for (size_t i = 0; i < count && !t->a->oom; i++) {
        const char *path = rows[i]->path, *engine = NULL;
        size_t len = strcspn(path, ".");
        bool wanted = false;

        for (size_t k = 0; t->schema->engines[k]; k++)
            if (strncmp(path, t->schema->engines[k], len) == 0 && !t->schema->engines[k][len])
                engine = t->schema->engines[k];
        for (size_t k = 0; engine && k < t->n_engines; k++)
            wanted = wanted || strcmp(engine, t->engines[k]) == 0;
        if (rows[i]->type != LLEM_TYPE_SECTION && rows[i]->type != LLEM_TYPE_ANY &&
            (!engine || wanted))
            add_setting(t, rows[i]);
    }
}

llem_errcode llem_template_write(struct llem_buf *out, const struct llem_schema *schema,
                                 const char *const *engines, size_t n_engines, const char *model,
                                 bool grid, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_row *rows[64];
    struct template t = {
        .out = out,
        .a = &a,
        .schema = schema,
        .engines = engines,
        .n_engines = n_engines,
        .model = model,
        .open = "",
    };
    llem_errcode rc = LLEM_OK;
    size_t n = 0;

    for (size_t i = 0; i < n_engines; i++) {
        const char *near;

        if (!llem__is_one_of(engines[i], schema->engines)) {
            near = llem_nearest(engines[i], schema->visible);
            rc = llem_fail(err, LLEM_ECONFIG, "there is no engine %s%s%s%s", engines[i],
                           near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
            goto done;
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(engines[i], engines[k]) == 0) {
                rc = llem_fail(err, LLEM_ECONFIG, "the engine %s is named twice", engines[i]);
                goto done;
            }
    }
    llem_buf_adds(
        out, "# A study for llem. 'llem plan FILE' shows what it would run, 'llem run FILE' runs "
             "it.\n#\n"
             "# What stands as a comment is the default. To change it take the # and a space "
             "away, in front of the\n# sections that it is in too.\n\n");
    add_rows(&t, schema->rows, schema->count);
    for (; llem_study_rows[n].path && n < LLEM_COUNT(rows); n++)
        rows[n] = &llem_study_rows[n];
    add_rows(&t, rows, n);
    add_sweep(&t, grid);
    llem_buf_adds(out, "\n# Single experiments, each with what it has besides what stands above.\n"
                       "# experiments:\n"
                       "# - task: {dataset: {n_prompts: 50}}\n");
    if (a.oom || out->failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study's file");
done:
    llem_arena_done(&a);
    return rc;
}
