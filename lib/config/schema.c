/* SPDX-License-Identifier: MIT
 *
 * The schema object: the shared rows and those of each engine, put together at run time; rows read
 * from the options of an engine.yaml; the JSON Schema made of all of them.
 */
#include "lib/config/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"

/* ---- small things about rows -------------------------------------------------------------- */

const char *llem__leaf(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

bool llem__is_child(const char *path, const struct llem_row *row)
{
    size_t len = strlen(path);

    if (len == 0)
        return strchr(row->path, '.') == NULL;
    return strncmp(row->path, path, len) == 0 && row->path[len] == '.' &&
           strchr(row->path + len + 1, '.') == NULL;
}

const char **llem__split(struct llem_arena *a, const char *text, char separator)
{
    size_t n = 1;
    const char **names;

    for (const char *p = text ? text : ""; *p; p++)
        n += *p == separator;
    names = llem_arena_calloc(a, n + 1, sizeof(*names));
    if (!names)
        return NULL;
    n = 0;
    for (const char *p = text; p && *p;) {
        const char *end = strchr(p, separator);
        size_t len = end ? (size_t)(end - p) : strlen(p);
        if (len > 0) {
            names[n] = llem_arena_strndup(a, p, len);
            if (!names[n])
                return NULL;
            n++;
        }
        p = end ? end + 1 : NULL;
    }
    return names;
}

const char *llem__alternatives(struct llem_arena *a, const char *choices, const char *last)
{
    const char **names = llem__split(a, choices, '|');
    struct llem_buf b = LLEM_BUF_INIT(4096);
    const char *text;

    for (size_t i = 0; names && names[i]; i++) {
        if (i > 0)
            llem_buf_adds(&b, names[i + 1] ? ", " : last);
        llem_buf_adds(&b, names[i]);
    }
    text = llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

struct llem_value *llem__row_default(const struct llem_row *row, struct llem_arena *a)
{
    struct llem_value *v = NULL;

    if (!row->def)
        v = llem_null(a);
    else if (llem_json_parse(a, &v, row->def, strlen(row->def), row->path, NULL) < 0) {
        a->oom = true; /* defaults are JSON; nothing else can be wrong */
        v = llem_null(a);
    }
    if (row->type == LLEM_TYPE_REAL && v->kind == LLEM_INT)
        v = llem_real(a, (double)v->i);
    if (!a->oom)
        v->source = LLEM_FROM_DEFAULT;
    return v;
}

/* ---- the schema --------------------------------------------------------------------------- */

static int compare_paths(const void *x, const void *y)
{
    const struct llem__node *const *a = x, *const *b = y;

    return strcmp((*a)->row->path, (*b)->row->path);
}

static int compare_keys(const void *x, const void *y)
{
    const struct llem__node *const *a = x, *const *b = y;

    return strcmp((*a)->key, (*b)->key);
}

static struct llem__text entry_text(struct llem_schema *s, const struct llem__node *n,
                                    enum llem_json_style style)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *entry = llem_map(&a);
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    struct llem__text text = { NULL, 0 };

    llem_set(&a, entry, n->key, n->def);
    llem_json_dump(&b, entry, style);
    if (!a.oom && !b.failed && b.len > 2)
        text =
            (struct llem__text){ llem_arena_strndup(&s->arena, b.data + 1, b.len - 2), b.len - 2 };
    else
        s->arena.oom = true;
    llem_buf_done(&b);
    llem_arena_done(&a);
    return text;
}

static void add_child(struct llem_schema *s, struct llem__node *parent, struct llem__node *n)
{
    if (parent->count == parent->cap) {
        size_t cap = parent->cap ? 2 * parent->cap : 8;
        struct llem__node **grown = llem_arena_calloc(&s->arena, cap, sizeof(struct llem__node *));

        if (!grown)
            return;
        if (parent->count)
            memcpy(grown, parent->children, parent->count * sizeof(struct llem__node *));
        parent->children = grown;
        parent->cap = cap;
    }
    n->place = parent->count;
    parent->children[parent->count++] = n;
}

/* The rows as a tree, with what trees and hashes take from them again and again. */
static void add_nodes(struct llem_schema *s)
{
    struct llem__node *nodes = llem_arena_calloc(&s->arena, s->count + 1, sizeof(*nodes));

    s->sorted = llem_arena_calloc(&s->arena, s->count + 1, sizeof(struct llem__node *));
    if (s->arena.oom)
        return;
    s->top = &nodes[s->count];
    for (size_t i = 0; i < s->count; i++) {
        nodes[i].row = s->rows[i];
        nodes[i].key = llem__leaf(s->rows[i]->path);
        nodes[i].def = llem__row_default(s->rows[i], &s->arena);
        nodes[i].python = entry_text(s, &nodes[i], LLEM_JSON_PYTHON);
        nodes[i].canon = entry_text(s, &nodes[i], LLEM_JSON_CANON);
        s->sorted[i] = &nodes[i];
    }
    qsort(s->sorted, s->count, sizeof(struct llem__node *), compare_paths);
    for (size_t i = 0; i < s->count && !s->arena.oom; i++) {
        size_t len = (size_t)(nodes[i].key - nodes[i].row->path);
        const char *above = len ? llem_arena_strndup(&s->arena, nodes[i].row->path, len - 1) : NULL;
        struct llem__node *parent = len ? llem__schema_node(s, above) : s->top;

        /* A row whose section is no row can be found, but is in no tree. */
        if (parent)
            add_child(s, parent, &nodes[i]);
    }
    for (size_t i = 0; i <= s->count && !s->arena.oom; i++) {
        struct llem__node *n = &nodes[i];

        n->sorted = llem_arena_calloc(&s->arena, n->count + 1, sizeof(struct llem__node *));
        if (!n->sorted)
            return;
        if (n->count)
            memcpy(n->sorted, n->children, n->count * sizeof(struct llem__node *));
        qsort(n->sorted, n->count, sizeof(struct llem__node *), compare_keys);
    }
}

static void add_row(struct llem_schema *s, const struct llem_row *row)
{
    s->rows[s->count++] = row;
}

static const struct llem_engine_rows *engine_called(const struct llem_engine_rows *engines,
                                                    size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(engines[i].name, name) == 0)
            return &engines[i];
    }
    return NULL;
}

static const struct llem_row *row_called(const struct llem_row *rows, const char *path)
{
    for (; rows && rows->path; rows++) {
        if (strcmp(rows->path, path) == 0)
            return rows;
    }
    return NULL;
}

/* An engine's section: flags and help are its own, but whether it counts in hashes while it is
 * absent is decided by the shared rows alone. */
static void add_engine(struct llem_schema *s, const struct llem_row *shared, const char *name,
                       const struct llem_engine_rows *engine)
{
    const struct llem_row *own = engine ? row_called(engine->rows, name) : NULL;
    struct llem_row *section = llem_arena_alloc(&s->arena, sizeof(*section));

    if (!section)
        return;
    if (own)
        *section = *own;
    else if (shared)
        *section = *shared;
    section->path = llem_arena_strdup(&s->arena, name);
    section->type = LLEM_TYPE_SECTION;
    section->flags &= LLEM_ROW_OPEN;
    section->flags |= LLEM_ROW_OPTIONAL | LLEM_ROW_NULLABLE;
    if (!shared)
        section->flags |= LLEM_ROW_OURS;
    /* Nothing is known about an engine whose engine.yaml is missing: its settings are kept as they
     * are. */
    if (!engine)
        section->flags |= LLEM_ROW_OPEN;
    add_row(s, section);
    for (const struct llem_row *r = engine ? engine->rows : NULL; r && r->path; r++) {
        if (r != own)
            add_row(s, r);
    }
}

static bool is_engine_section(const struct llem_row *row)
{
    return row->type == LLEM_TYPE_SECTION && (row->flags & LLEM_ROW_OPTIONAL) &&
           (row->flags & LLEM_ROW_OPEN) && !strchr(row->path, '.');
}

llem_errcode llem_schema_new(struct llem_schema **out, const struct llem_engine_rows *engines,
                             size_t count, llem_error *err)
{
    struct llem_schema *s = calloc(1, sizeof(*s));
    struct llem_row *engine_row = NULL;
    struct llem_buf choices = LLEM_BUF_INIT(4096);
    size_t total = 0, n = 0, n_visible = 0;
    llem_errcode rc;

    if (!s)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the schema");
    for (const struct llem_row *r = llem_shared_rows; r->path; r++)
        total++;
    for (size_t i = 0; i < count; i++) {
        total++;
        for (const struct llem_row *r = engines[i].rows; r && r->path; r++)
            total++;
    }
    s->rows = llem_arena_calloc(&s->arena, total + 1, sizeof(*s->rows));
    s->engines = llem_arena_calloc(&s->arena, total + 1, sizeof(*s->engines));
    s->visible = llem_arena_calloc(&s->arena, total + 1, sizeof(*s->visible));
    s->rules = llem_arena_calloc(&s->arena, total + 1, sizeof(*s->rules));
    engine_row = llem_arena_alloc(&s->arena, sizeof(*engine_row));
    if (s->arena.oom)
        goto done;

    for (const struct llem_row *r = llem_shared_rows; r->path; r++) {
        if (is_engine_section(r)) {
            const struct llem_engine_rows *e = engine_called(engines, count, r->path);
            s->rules[n] = llem_arena_strdup(&s->arena, e ? e->rules : NULL);
            s->engines[n++] = r->path;
            s->visible[n_visible++] = r->path;
            add_engine(s, r, r->path, e);
            continue;
        }
        if (strcmp(r->path, "lora") == 0) {
            for (size_t i = 0; i < count; i++) {
                if (row_called(llem_shared_rows, engines[i].name))
                    continue;
                s->engines[n] = llem_arena_strdup(&s->arena, engines[i].name);
                s->rules[n] = llem_arena_strdup(&s->arena, engines[i].rules);
                if (!engines[i].hidden)
                    s->visible[n_visible++] = s->engines[n];
                n++;
                add_engine(s, NULL, engines[i].name, &engines[i]);
            }
        }
        if (strcmp(r->path, "engine") == 0) {
            *engine_row = *r;
            add_row(s, engine_row);
            continue;
        }
        add_row(s, r);
    }
    for (size_t i = 0; s->visible[i]; i++)
        llem_buf_addf(&choices, "%s%s", i ? "|" : "", s->visible[i]);
    engine_row->choices = llem_arena_strdup(&s->arena, choices.data);
    add_nodes(s);

done:
    if (s->arena.oom || choices.failed) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the schema");
        llem_schema_free(s);
    } else {
        rc = LLEM_OK;
        *out = s;
    }
    llem_buf_done(&choices);
    return rc;
}

llem_errcode llem__schema_of(struct llem_schema **out, const struct llem_row *rows, llem_error *err)
{
    struct llem_schema *s = calloc(1, sizeof(*s));
    size_t total = 0;

    if (!s)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the schema");
    for (const struct llem_row *r = rows; r->path; r++)
        total++;
    s->rows = llem_arena_calloc(&s->arena, total + 1, sizeof(*s->rows));
    s->engines = llem_arena_calloc(&s->arena, 1, sizeof(*s->engines));
    s->visible = s->engines;
    if (s->arena.oom)
        goto oom;
    for (const struct llem_row *r = rows; r->path; r++)
        add_row(s, r);
    add_nodes(s);
    if (s->arena.oom)
        goto oom;
    *out = s;
    return LLEM_OK;

oom:
    llem_schema_free(s);
    return llem_fail(err, LLEM_ENOMEM, "out of memory for the schema");
}

void llem_schema_free(struct llem_schema *s)
{
    if (!s)
        return;
    llem_arena_done(&s->arena);
    free(s);
}

struct llem__node *llem__schema_node(const struct llem_schema *s, const char *path)
{
    size_t low = 0, high = s->count;

    while (path && low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, s->sorted[middle]->row->path);
        if (order == 0)
            return s->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct llem_value *llem__node_value(const struct llem__node *n, const struct llem_value *map)
{
    /* Complete maps have their rows in the schema's order, and its very keys. */
    if (map->kind == LLEM_MAP && n->place < map->count && map->keys[n->place] == n->key)
        return map->items[n->place];
    return llem_get(map, n->key);
}

const struct llem_row *llem_schema_find(const struct llem_schema *s, const char *path)
{
    const struct llem__node *n = llem__schema_node(s, path);

    return n ? n->row : NULL;
}

const struct llem_row *const *llem_schema_rows(const struct llem_schema *s, size_t *count)
{
    *count = s->count;
    return s->rows;
}

/* ---- rows out of an engine.yaml ----------------------------------------------------------- */

static const struct {
    const char *name;
    enum llem_type type;
} type_names[] = {
    { "section", LLEM_TYPE_SECTION }, { "bool", LLEM_TYPE_BOOL },     { "int", LLEM_TYPE_INT },
    { "real", LLEM_TYPE_REAL },       { "string", LLEM_TYPE_STRING }, { "enum", LLEM_TYPE_ENUM },
    { "map", LLEM_TYPE_MAP },         { "list", LLEM_TYPE_LIST },
};

static const char *const option_keys[] = { "path",     "type",     "default", "min",      "max",
                                           "min_open", "max_open", "choices", "nullable", "ours",
                                           "open",     "unit",     "help",    NULL };

llem_errcode llem__bad_value(llem_error *err, const struct llem_value *v, const char *fmt, ...)
{
    struct llem_buf b = LLEM_BUF_INIT(1024);
    llem_errcode rc;
    va_list ap;

    va_start(ap, fmt);
    llem_buf_vaddf(&b, fmt, ap);
    va_end(ap);
    rc = llem_fail_at(err, LLEM_ECONFIG, v->file, v->line, v->column, "%s", b.data);
    llem_buf_done(&b);
    return rc;
}

static llem_errcode flag_of(const struct llem_value *option, const char *key, unsigned flag,
                            unsigned *flags, llem_error *err)
{
    const struct llem_value *v = llem_get(option, key);

    if (!v)
        return LLEM_OK;
    if (v->kind != LLEM_BOOL)
        return llem__bad_value(err, v, "%s of an option must be true or false", key);
    if (v->b)
        *flags |= flag;
    return LLEM_OK;
}

static llem_errcode bound_of(const struct llem_value *option, const char *key, double *bound,
                             llem_error *err)
{
    const struct llem_value *v = llem_get(option, key);

    if (!v)
        return LLEM_OK;
    if (v->kind == LLEM_INT)
        *bound = (double)v->i;
    else if (v->kind == LLEM_REAL && isfinite(v->d))
        *bound = v->d;
    else
        return llem__bad_value(err, v, "%s of an option must be a number", key);
    return LLEM_OK;
}

static llem_errcode text_of(const struct llem_value *option, const char *key, const char **text,
                            llem_error *err)
{
    const struct llem_value *v = llem_get(option, key);

    if (!v)
        return LLEM_OK;
    if (v->kind != LLEM_STRING || strlen(v->s) != v->len)
        return llem__bad_value(err, v, "%s of an option must be text", key);
    *text = v->s;
    return LLEM_OK;
}

static llem_errcode choices_of(const struct llem_value *option, struct llem_row *row,
                               struct llem_arena *a, llem_error *err)
{
    const struct llem_value *list = llem_get(option, "choices");
    struct llem_buf b = LLEM_BUF_INIT(4096);
    llem_errcode rc = LLEM_OK;

    if (!list && row->type == LLEM_TYPE_ENUM)
        return llem__bad_value(err, option, "an option of type enum needs choices");
    if (!list)
        return LLEM_OK;
    if (row->type != LLEM_TYPE_ENUM)
        return llem__bad_value(err, list, "only an option of type enum has choices");
    if (list->kind != LLEM_LIST || list->count == 0)
        return llem__bad_value(err, list, "choices of an option must be a list");
    if (list->items[0]->kind == LLEM_INT)
        row->type = LLEM_TYPE_INT_ENUM;
    for (size_t i = 0; i < list->count && rc == LLEM_OK; i++) {
        const struct llem_value *v = list->items[i];
        if (row->type == LLEM_TYPE_INT_ENUM && v->kind == LLEM_INT)
            llem_buf_addf(&b, "%s%lld", i ? "|" : "", (long long)v->i);
        else if (row->type == LLEM_TYPE_ENUM && v->kind == LLEM_STRING && v->len > 0 &&
                 !strchr(v->s, '|') && strlen(v->s) == v->len)
            llem_buf_addf(&b, "%s%s", i ? "|" : "", v->s);
        else
            rc = llem__bad_value(
                err, v,
                "choices of an option must be all text or all whole numbers; put words "
                "like off in quotes");
    }
    if (b.failed)
        a->oom = true;
    if (rc == LLEM_OK)
        row->choices = llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return rc;
}

static bool valid_path(const char *path)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

    for (;;) {
        if (!*path || !strchr(letters, *path))
            return false;
        path += strspn(path, more);
        if (!*path)
            return true;
        if (*path++ != '.')
            return false;
    }
}

static llem_errcode default_of(const struct llem_value *option, struct llem_row *row,
                               struct llem_arena *a, llem_error *err)
{
    const struct llem_value *v = llem_get(option, "default");
    struct llem__diags diags = { .a = a };
    struct llem__check check = { .a = a, .diags = &diags };
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    struct llem_value *good;

    if (llem_is_null(v)) {
        if (row->type != LLEM_TYPE_SECTION)
            row->flags |= LLEM_ROW_NULLABLE;
        return LLEM_OK;
    }
    if (row->type == LLEM_TYPE_SECTION)
        return llem__bad_value(err, v, "a section has no default");
    good = llem__check_value(&check, row, v);
    if (!good)
        return llem__diags_error(&diags, err);
    llem_json_dump(&b, good, LLEM_JSON_PYTHON);
    if (b.failed)
        a->oom = true;
    row->def = llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return LLEM_OK;
}

static llem_errcode row_of(struct llem_row *row, const struct llem_value *option,
                           const char *engine, struct llem_arena *a, llem_error *err)
{
    const char *path = NULL, *type = NULL;
    llem_errcode rc;
    bool known = false;

    if (option->kind != LLEM_MAP)
        return llem__bad_value(err, option, "each option must be a map");
    for (size_t i = 0; i < option->count; i++) {
        bool found = false;
        for (size_t k = 0; option_keys[k]; k++)
            found = found || strcmp(option_keys[k], option->keys[i]) == 0;
        if (!found) {
            const char *near = llem_nearest(option->keys[i], option_keys);
            return llem__bad_value(err, option->items[i], "unknown key \"%s\" of an option%s%s%s",
                                   option->keys[i], near ? "; did you mean \"" : "",
                                   near ? near : "", near ? "\"?" : "");
        }
    }
    row->min = -INFINITY;
    row->max = INFINITY;
    rc = text_of(option, "path", &path, err);
    if (rc == LLEM_OK)
        rc = text_of(option, "type", &type, err);
    if (rc == LLEM_OK)
        rc = text_of(option, "unit", &row->unit, err);
    if (rc == LLEM_OK)
        rc = text_of(option, "help", &row->help, err);
    if (rc == LLEM_OK)
        rc = bound_of(option, "min", &row->min, err);
    if (rc == LLEM_OK)
        rc = bound_of(option, "max", &row->max, err);
    if (rc == LLEM_OK)
        rc = flag_of(option, "min_open", LLEM_ROW_MIN_OPEN, &row->flags, err);
    if (rc == LLEM_OK)
        rc = flag_of(option, "max_open", LLEM_ROW_MAX_OPEN, &row->flags, err);
    if (rc == LLEM_OK)
        rc = flag_of(option, "nullable", LLEM_ROW_NULLABLE, &row->flags, err);
    if (rc == LLEM_OK)
        rc = flag_of(option, "ours", LLEM_ROW_OURS, &row->flags, err);
    if (rc == LLEM_OK)
        rc = flag_of(option, "open", LLEM_ROW_OPEN, &row->flags, err);
    if (rc < 0)
        return rc;
    if (!path)
        return llem__bad_value(err, option, "an option needs a path");
    if (!type)
        return llem__bad_value(err, option, "the option \"%s\" needs a type", path);
    for (size_t i = 0; i < LLEM_COUNT(type_names); i++) {
        if (strcmp(type_names[i].name, type) == 0) {
            row->type = type_names[i].type;
            known = true;
        }
    }
    if (!known)
        return llem__bad_value(
            err, llem_get(option, "type"),
            "\"%s\" is no type of an option; the types are section, bool, int, real, "
            "string, enum, map and list",
            type);
    if (strcmp(path, ".") == 0 && row->type == LLEM_TYPE_SECTION)
        row->path = llem_arena_strdup(a, engine);
    else if (valid_path(path))
        row->path = llem_arena_printf(a, "%s.%s", engine, path);
    else
        return llem__bad_value(err, llem_get(option, "path"),
                               "\"%s\" is no path of an option; write name or section.name", path);
    if ((row->flags & LLEM_ROW_OPEN) && row->type != LLEM_TYPE_SECTION)
        return llem__bad_value(err, option, "only a section can be open");
    if (row->min > row->max)
        return llem__bad_value(err, option, "min of the option \"%s\" is above its max", path);
    if (row->type == LLEM_TYPE_STRING && !isfinite(row->min))
        row->min = 0;
    if (row->type == LLEM_TYPE_SECTION)
        row->flags |= LLEM_ROW_OPTIONAL | LLEM_ROW_NULLABLE;
    rc = choices_of(option, row, a, err);
    if (rc == LLEM_OK)
        rc = default_of(option, row, a, err);
    return rc;
}

/* Sections that the options only imply, so that every row has a row above it. */
static void add_sections(struct llem_row *rows, size_t *count, const char *path,
                         struct llem_arena *a)
{
    const char *first = strchr(path, '.');

    for (const char *dot = first ? strchr(first + 1, '.') : NULL; dot; dot = strchr(dot + 1, '.')) {
        char *section = llem_arena_strndup(a, path, (size_t)(dot - path));
        bool found = false;
        if (!section)
            return;
        for (size_t i = 0; i < *count; i++)
            found = found || strcmp(rows[i].path, section) == 0;
        if (!found)
            rows[(*count)++] = (struct llem_row){ .path = section,
                                                  .type = LLEM_TYPE_SECTION,
                                                  .flags = LLEM_ROW_OPTIONAL | LLEM_ROW_NULLABLE };
    }
}

llem_errcode llem_rows_from_value(const struct llem_row **out, const struct llem_value *options,
                                  const char *engine, struct llem_arena *a, llem_error *err)
{
    struct llem_row *rows;
    size_t count = 0, room = 1, declared;
    llem_errcode rc;

    if (!options || options->kind == LLEM_NULL) {
        *out = llem_arena_calloc(a, 1, sizeof(*rows));
        return *out ? LLEM_OK : llem_fail(err, LLEM_ENOMEM, "out of memory for options");
    }
    if (options->kind != LLEM_LIST)
        return llem__bad_value(err, options, "options must be a list");
    for (size_t i = 0; i < options->count; i++) {
        const char *path = llem_str_at(options->items[i], "path", "");
        room += 2;
        for (const char *p = path; *p; p++)
            room += *p == '.';
    }
    rows = llem_arena_calloc(a, room, sizeof(*rows));
    if (!rows)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for options");
    for (size_t i = 0; i < options->count; i++) {
        struct llem_row row = { 0 };
        rc = row_of(&row, options->items[i], engine, a, err);
        if (rc < 0)
            return rc;
        if (a->oom)
            return llem_fail(err, LLEM_ENOMEM, "out of memory for options");
        for (size_t k = 0; k < count; k++) {
            if (strcmp(rows[k].path, row.path) == 0)
                return llem__bad_value(err, options->items[i],
                                       "the option \"%s\" stands here twice", row.path);
        }
        rows[count++] = row;
    }
    declared = count;
    for (size_t i = 0; i < declared; i++)
        add_sections(rows, &count, rows[i].path, a);
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for options");
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (rows[i].type != LLEM_TYPE_SECTION && llem__is_child(rows[i].path, &rows[k]))
                return llem__bad_value(err, options,
                                       "\"%s\" is no section, so it cannot hold \"%s\"",
                                       rows[i].path, rows[k].path);
        }
    }
    *out = rows;
    return LLEM_OK;
}

/* ---- JSON Schema -------------------------------------------------------------------------- */

static void set_type(struct llem_arena *a, struct llem_value *node, const char *name, bool nullable)
{
    struct llem_value *types;

    if (!nullable) {
        llem_set(a, node, "type", llem_string(a, name));
        return;
    }
    types = llem_list(a);
    llem_append(a, types, llem_string(a, name));
    llem_append(a, types, llem_string(a, "null"));
    llem_set(a, node, "type", types);
}

static void set_bounds(struct llem_arena *a, struct llem_value *node, const struct llem_row *row)
{
    bool whole = row->type == LLEM_TYPE_INT;

    if (isfinite(row->min))
        llem_set(a, node, row->flags & LLEM_ROW_MIN_OPEN ? "exclusiveMinimum" : "minimum",
                 whole ? llem_int(a, (int64_t)row->min) : llem_real(a, row->min));
    if (isfinite(row->max))
        llem_set(a, node, row->flags & LLEM_ROW_MAX_OPEN ? "exclusiveMaximum" : "maximum",
                 whole ? llem_int(a, (int64_t)row->max) : llem_real(a, row->max));
}

static void set_choices(struct llem_arena *a, struct llem_value *node, const struct llem_row *row,
                        const char *const *names, bool nullable)
{
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; names && names[i]; i++) {
        int64_t number;
        if (row->type == LLEM_TYPE_INT_ENUM && llem_parse_i64(names[i], &number))
            llem_append(a, list, llem_int(a, number));
        else
            llem_append(a, list, llem_string(a, names[i]));
    }
    if (nullable)
        llem_append(a, list, llem_null(a));
    llem_set(a, node, "enum", list);
}

/* Beside the names of engines a class of the user's: python:MODULE:CLASS. */
static void allow_classes(struct llem_arena *a, struct llem_value *node)
{
    struct llem_value *any = llem_list(a), *names = llem_map(a), *class = llem_map(a);

    llem_set(a, names, "enum", llem_get(node, "enum"));
    llem_unset(node, "enum");
    llem_set(a, class, "type", llem_string(a, "string"));
    llem_set(a, class, "pattern", llem_string(a, "^python:[^:]+:[^:]+$"));
    llem_append(a, any, names);
    llem_append(a, any, class);
    llem_set(a, node, "anyOf", any);
}

static struct llem_value *section_json(const struct llem_schema *s, struct llem_arena *a,
                                       const char *path, const struct llem_row *section);

static struct llem_value *row_json(const struct llem_schema *s, struct llem_arena *a,
                                   const struct llem_row *row)
{
    struct llem_value *node = llem_map(a), *items;
    bool nullable = row->flags & LLEM_ROW_NULLABLE;
    char *help;

    switch (row->type) {
    case LLEM_TYPE_SECTION:
        return section_json(s, a, row->path, row);
    case LLEM_TYPE_BOOL:
        set_type(a, node, "boolean", nullable);
        break;
    case LLEM_TYPE_INT:
        set_type(a, node, "integer", nullable);
        set_bounds(a, node, row);
        break;
    case LLEM_TYPE_REAL:
        set_type(a, node, "number", nullable);
        set_bounds(a, node, row);
        break;
    case LLEM_TYPE_STRING:
        set_type(a, node, "string", nullable);
        if (row->min > 0)
            llem_set(a, node, "minLength", llem_int(a, (int64_t)row->min));
        break;
    case LLEM_TYPE_ENUM:
    case LLEM_TYPE_INT_ENUM:
        set_choices(a, node, row,
                    strcmp(row->path, "engine") == 0 ? s->visible
                                                     : llem__split(a, row->choices, '|'),
                    nullable);
        if (strcmp(row->path, "engine") == 0)
            allow_classes(a, node);
        break;
    case LLEM_TYPE_MAP:
        set_type(a, node, "object", nullable);
        break;
    case LLEM_TYPE_LIST:
        set_type(a, node, "array", nullable);
        items = llem_map(a);
        set_type(a, items, "string", false);
        llem_set(a, node, "items", items);
        break;
    case LLEM_TYPE_ANY:
        break;
    }
    if (row->help) {
        help = row->unit ? llem_arena_printf(a, "%s (%s)", row->help, row->unit)
                         : llem_arena_strdup(a, row->help);
        llem_set(a, node, "description", llem_string(a, help));
    }
    if (row->def || (nullable && row->type != LLEM_TYPE_ANY))
        llem_set(a, node, "default", llem__row_default(row, a));
    return node;
}

/* The section of an engine that is not shown, like the one for tests. */
static bool is_hidden(const struct llem_schema *s, const char *path)
{
    for (size_t i = 0; s->visible[i]; i++) {
        if (strcmp(s->visible[i], path) == 0)
            return false;
    }
    for (size_t i = 0; s->engines[i]; i++) {
        if (strcmp(s->engines[i], path) == 0)
            return true;
    }
    return false;
}

static struct llem_value *section_json(const struct llem_schema *s, struct llem_arena *a,
                                       const char *path, const struct llem_row *section)
{
    struct llem_value *node = llem_map(a), *properties = llem_map(a), *required = llem_list(a);

    set_type(a, node, "object", section && (section->flags & LLEM_ROW_NULLABLE));
    if (section && section->help)
        llem_set(a, node, "description", llem_string(a, section->help));
    for (size_t i = 0; i < s->count; i++) {
        if (!llem__is_child(path, s->rows[i]) || is_hidden(s, s->rows[i]->path))
            continue;
        llem_set(a, properties, llem__leaf(s->rows[i]->path), row_json(s, a, s->rows[i]));
        if (s->rows[i]->flags & LLEM_ROW_REQUIRED)
            llem_append(a, required, llem_string(a, llem__leaf(s->rows[i]->path)));
    }
    llem_set(a, node, "properties", properties);
    if (required->kind == LLEM_LIST && required->count > 0)
        llem_set(a, node, "required", required);
    llem_set(a, node, "additionalProperties",
             llem_bool(a, section && (section->flags & LLEM_ROW_OPEN)));
    return node;
}

/* "if the engine is X, the sections of the others are null". */
static struct llem_value *engine_rule(const struct llem_schema *s, struct llem_arena *a,
                                      const char *engine)
{
    struct llem_value *rule = llem_map(a), *condition = llem_map(a), *then = llem_map(a),
                      *properties = llem_map(a), *chosen = llem_map(a);

    llem_set(a, chosen, "const", llem_string(a, engine));
    llem_set(a, properties, "engine", chosen);
    llem_set(a, condition, "properties", properties);
    if (strcmp(engine, "transformers") != 0) {
        struct llem_value *required = llem_list(a);
        llem_append(a, required, llem_string(a, "engine"));
        llem_set(a, condition, "required", required);
    }
    properties = llem_map(a);
    for (size_t i = 0; s->visible[i]; i++) {
        if (strcmp(s->visible[i], engine) != 0) {
            struct llem_value *absent = llem_map(a);
            set_type(a, absent, "null", false);
            llem_set(a, properties, s->visible[i], absent);
        }
    }
    llem_set(a, then, "properties", properties);
    llem_set(a, rule, "if", condition);
    llem_set(a, rule, "then", then);
    return rule;
}

struct llem_value *llem_schema_json(const struct llem_schema *s, struct llem_arena *a)
{
    struct llem_value *root = llem_map(a), *body = section_json(s, a, "", NULL),
                      *rules = llem_list(a);

    llem_set(a, root, "$schema", llem_string(a, "https://json-schema.org/draft/2020-12/schema"));
    llem_set(a, root, "title", llem_string(a, "An experiment of llem"));
    for (size_t i = 0; body->kind == LLEM_MAP && i < body->count; i++)
        llem_set(a, root, body->keys[i], body->items[i]);
    for (size_t i = 0; s->visible[i]; i++)
        llem_append(a, rules, engine_rule(s, a, s->visible[i]));
    llem_set(a, root, "allOf", rules);
    return root;
}
