/* SPDX-License-Identifier: MIT
 *
 * The sweep grammar (docs/configuration.md, "Studies"): from a study file to cells. What the cells
 * of one engine share is completed and checked once, and so is each value of an axis; a cell is the
 * shared tree with a few paths copied.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/internal.h"

/* One value of an axis or one variant of a group: the settings it makes. */
struct overlay {
    struct llem_value *set;   /* path to checked value, a map of leaves */
    struct llem_value *label; /* path to value as written */
    const char *errors;       /* NULL, or what is wrong with it */
};

struct axis {
    const char *name;
    bool group, above; /* above: from outside the file */
    struct overlay *values;
    size_t count, cap;
};

/* The cells of one engine, or one explicit experiment. */
struct llem__block {
    struct llem_value *base; /* complete; without the preset */
    const char *errors;
    const struct llem_value *own; /* of an explicit experiment: its settings, by path */
    const struct llem_rules *rules;
    struct axis *axes; /* slowest first */
    size_t n_axes;
    size_t first, count; /* of cells */
};

/* Keys that are the study's own and no setting of an experiment. */
static const char *const study_keys[] = { "sweep",   "experiments", "base", "study_execution",
                                          "runners", "images",      NULL };

struct reading {
    struct llem_sweep *s;
    struct llem_arena *a;
    struct llem__diags diags; /* of the whole study: nothing runs */
    struct llem__check check;
    struct llem_value *user, *shared, *upper; /* layers; shared: base files and the study's own */
    struct llem_value *above; /* axes from outside the file, which reach every experiment */
    const struct llem_value *sweep, *experiments;
    struct rules_of {
        const char *engine;
        struct llem_rules rules;
    } * rules; /* of the engines so far */
    size_t n_rules;
    const char **engines; /* as the study says, or those of scoped axes; ends with NULL */
    const struct llem_value *engines_at; /* where they are from; NULL = nowhere */
    bool engines_named, engine_forced;
    struct llem__block *blocks;
    size_t n_blocks, cap_blocks;
};

/* Room for one more item; false without memory. */
static bool more(struct llem_arena *a, void **items, size_t count, size_t *cap, size_t size)
{
    void *grown;

    if (count < *cap)
        return true;
    grown = llem_arena_calloc(a, *cap ? 2 * *cap : 8, size);
    if (!grown)
        return false;
    if (count)
        memcpy(grown, *items, count * size);
    *items = grown;
    *cap = *cap ? 2 * *cap : 8;
    return true;
}

/* The engine whose section a path is in, or NULL. */
static const char *scope_of(const struct llem_schema *schema, const char *path)
{
    size_t len = strcspn(path, ".");

    for (size_t i = 0; schema->engines[i]; i++)
        if (strncmp(schema->engines[i], path, len) == 0 && schema->engines[i][len] == '\0')
            return schema->engines[i];
    return NULL;
}

static struct llem_value *without_engines(struct reading *r, const struct llem_value *layer,
                                          const char *but)
{
    struct llem_value *out = llem_map(r->a);

    for (size_t i = 0; i < layer->count; i++)
        if (!llem__is_one_of(layer->keys[i], r->s->schema->engines) ||
            (but && strcmp(layer->keys[i], but) == 0))
            llem_set(r->a, out, layer->keys[i], layer->items[i]);
    return out;
}

/* ---- trees with shared nodes --------------------------------------------------------------- */

/* A copy of the map alone: its items are those of the other. */
static struct llem_value *shallow(struct llem_arena *a, const struct llem_value *map)
{
    struct llem_value *v = llem_map(a);

    if (a->oom)
        return v;
    *v = *map;
    v->cap = map->count + 1;
    v->items = llem_arena_calloc(a, v->cap, sizeof(*v->items));
    v->keys = llem_arena_calloc(a, v->cap, sizeof(*v->keys));
    if (a->oom) {
        v->count = v->cap = 0;
        return v;
    }
    if (map->count) {
        memcpy(v->items, map->items, map->count * sizeof(*v->items));
        memcpy(v->keys, map->keys, map->count * sizeof(*v->keys));
    }
    return v;
}

/* The default of what is at a path: of a row, or nothing where an open section held it. */
static struct llem_value *default_at(const struct llem_schema *s, struct llem_arena *a,
                                     const char *path)
{
    const struct llem_row *row = llem_schema_find(s, path);

    if (!row)
        return NULL;
    if (row->type == LLEM_TYPE_SECTION && !(row->flags & LLEM_ROW_OPTIONAL))
        return llem__complete(s, a, path, NULL, 0);
    return llem__row_default(row, a);
}

/* The tree with the value at path[at...], sharing all else. Sections that are null or absent are
 * completed on the way. */
static struct llem_value *with(const struct llem_schema *s, struct llem_arena *a,
                               const struct llem_value *map, const char *path, size_t at,
                               struct llem_value *v)
{
    size_t len = strcspn(path + at, ".");
    const char *key = llem_arena_strndup(a, path + at, len);
    const struct llem_value *old = llem_get(map, key);
    struct llem_value *out = shallow(a, map);

    if (a->oom || !key)
        return out;
    if (path[at + len] == '.') {
        const char *here = llem_arena_strndup(a, path, at + len);

        if (!here)
            return out;
        if (!old || old->kind != LLEM_MAP)
            old = llem_schema_find(s, here) ? llem__complete(s, a, here, NULL, 0) : llem_map(a);
        v = with(s, a, old, path, at + len + 1, v);
    } else if (v->source == LLEM_TAG_UNSET) {
        v = default_at(s, a, path);
        if (!v) {
            llem_unset(out, key);
            return out;
        }
    } else if (v->kind == LLEM_MAP && old && old->kind == LLEM_MAP) {
        v = llem_merge(a, old, v);
    } else if (v->kind == LLEM_MAP && llem_schema_find(s, path)) {
        v = llem_schema_find(s, path)->type == LLEM_TYPE_SECTION ? llem__complete(s, a, path, v, 0)
                                                                 : v;
    }
    llem_set(a, out, key, v);
    return out;
}

struct llem_value *llem__with(const struct llem_schema *s, struct llem_arena *a,
                              const struct llem_value *tree, const char *path, struct llem_value *v)
{
    return with(s, a, tree, path, 0, v);
}

/* ---- labels -------------------------------------------------------------------------------- */

static void label_add(struct llem_buf *out, const char *path, const struct llem_value *v)
{
    llem_buf_addf(out, "%s%s=", out->len ? ", " : "", path);
    if (v->kind == LLEM_STRING)
        llem_buf_adds(out, v->s);
    else
        llem_json_dump(out, v, LLEM_JSON_COMPACT);
}

/* The settings of a map by their paths, the engine apart. */
static void flatten(const struct llem_schema *s, struct llem_arena *a, struct llem_value *out,
                    const char *above, const struct llem_value *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *path = llem_arena_printf(a, "%s%s%s", above, *above ? "." : "", map->keys[i]);
        const struct llem_row *row = path ? llem_schema_find(s, path) : NULL;

        if (!path || strcmp(path, "engine") == 0)
            continue;
        if (row && row->type == LLEM_TYPE_SECTION && map->items[i]->kind == LLEM_MAP)
            flatten(s, a, out, path, map->items[i]);
        else
            llem_set(a, out, path, map->items[i]);
    }
}

/* ---- axes ---------------------------------------------------------------------------------- */

/* Leaves of an overlay: what is below a section goes under its own path, so that a flag can win
 * over a part of it. */
static void add_leaves(struct reading *r, struct llem_value *set, const char *path,
                       struct llem_value *v, bool above)
{
    const struct llem_row *row = llem_schema_find(r->s->schema, path);

    if (row && row->type == LLEM_TYPE_SECTION && v->kind == LLEM_MAP && v->count) {
        for (size_t i = 0; i < v->count; i++) {
            const char *below = llem_arena_printf(r->a, "%s.%s", path, v->keys[i]);
            if (below)
                add_leaves(r, set, below, v->items[i], above);
        }
        return;
    }
    if (above || (!llem_at(r->upper, path) && !llem_get(r->above, path)))
        llem_set(r->a, set, path, v);
}

/* One "path: value" of an axis or a group, checked, into the overlay. What was marked as a flag's
 * stands above the file. */
static void overlay_add(struct reading *r, struct overlay *o, const char *path,
                        const struct llem_value *v)
{
    struct llem_value *layer = llem_map(r->a), *checked, *value = llem_copy(r->a, v);
    struct llem__diags diags = { .a = r->a };
    struct llem__check c = r->check;
    bool above = v->source == LLEM_FROM_FLAG;

    if (r->a->oom)
        return;
    if (!above)
        llem__mark(value, LLEM_FROM_SWEEP, NULL);
    llem_set(r->a, o->label, path, value);
    if (!*path || *path == '.' || strstr(path, "..") || path[strlen(path) - 1] == '.' ||
        !llem_set_at(r->a, layer, path, value)) {
        llem__diag(&r->diags, v, "\"%s\" is no name of a setting; write one like task.model", path);
        return;
    }
    (void)llem__mark_sections(layer);
    c.diags = &diags;
    c.unknown = &r->diags;
    checked = llem__check_layer(&c, layer);
    if (diags.count)
        o->errors = o->errors
                        ? llem_arena_printf(r->a, "%s\n%s", o->errors, llem__diags_text(&diags))
                        : llem__diags_text(&diags);
    else if (llem_at(checked, path))
        add_leaves(r, o->set, path, llem_at(checked, path), above);
}

static struct overlay *axis_more(struct reading *r, struct axis *x)
{
    void *values = x->values;

    if (!more(r->a, &values, x->count, &x->cap, sizeof(*x->values)))
        return NULL;
    x->values = values;
    x->values[x->count].set = llem_map(r->a);
    x->values[x->count].label = llem_map(r->a);
    return &x->values[x->count++];
}

/* Several values of one setting? A list is, unless only the whole can be the value. */
static bool is_many(const struct reading *r, const char *path, const struct llem_value *v)
{
    const struct llem_row *row = llem_schema_find(r->s->schema, path);

    if (v->kind != LLEM_LIST || v->source == LLEM_TAG_LITERAL)
        return false;
    return !row || row->type != LLEM_TYPE_LIST || (v->count && v->items[0]->kind == LLEM_LIST);
}

/* Within a group: several single values, one of which each variant takes. */
static bool is_mini_axis(const struct reading *r, const char *path, const struct llem_value *v)
{
    return is_many(r, path, v) && v->count && v->items[0]->kind != LLEM_LIST &&
           v->items[0]->kind != LLEM_MAP;
}

/* The variants of one entry of a group: the product of its lists, the last fastest. */
static void group_entry(struct reading *r, struct axis *x, const char *engine,
                        const struct llem_value *entry)
{
    size_t variants = 1;

    for (size_t i = 0; i < entry->count; i++) {
        const struct llem_value *v = entry->items[i];
        const char *scope = scope_of(r->s->schema, entry->keys[i]);

        if (is_mini_axis(r, entry->keys[i], v) && (!scope || strcmp(scope, engine) == 0))
            variants = variants > LLEM_SWEEP_MAX_CELLS ? variants : variants * v->count;
    }
    if (variants > LLEM_SWEEP_MAX_CELLS) {
        llem__diag(&r->diags, entry, "this entry of sweep.%s alone has more than %d variants",
                   x->name, LLEM_SWEEP_MAX_CELLS);
        return;
    }
    for (size_t n = 0; n < variants && !r->a->oom; n++) {
        struct overlay *o = axis_more(r, x);
        size_t rest = n, span = variants;

        for (size_t i = 0; o && i < entry->count; i++) {
            const struct llem_value *v = entry->items[i];
            const char *path = entry->keys[i], *scope = scope_of(r->s->schema, path);

            /* A group of all engines says of each what it needs to. */
            if (scope && strcmp(scope, engine) != 0)
                continue;
            if (is_mini_axis(r, path, v)) {
                span /= v->count;
                v = v->items[rest / span];
                rest %= span;
            }
            overlay_add(r, o, path, v);
        }
    }
}

/* A list of maps is a group of alternatives, unless its name is a setting whose values are maps. */
static bool is_group(const struct reading *r, const char *name, const struct llem_value *list)
{
    const struct llem_row *row = llem_schema_find(r->s->schema, name);

    if (list->kind != LLEM_LIST || list->count == 0 || list->items[0]->kind != LLEM_MAP)
        return false;
    if (!row || (row->type != LLEM_TYPE_SECTION && row->type != LLEM_TYPE_MAP))
        return true;
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; list->items[i]->kind == LLEM_MAP && k < list->items[i]->count; k++)
            if (strchr(list->items[i]->keys[k], '.'))
                return true;
    return false;
}

/* above: from outside the file, where each item is a value, whatever the setting's kind. */
static void read_axis(struct reading *r, struct axis *x, const char *name, const char *engine,
                      const struct llem_value *v, bool above)
{
    bool many = above || is_many(r, name, v);

    x->name = name;
    x->above = above;
    x->group = !above && is_group(r, name, v);
    for (size_t i = 0; many && i < v->count && !r->a->oom; i++) {
        if (x->group) {
            group_entry(r, x, engine, v->items[i]);
        } else {
            struct overlay *o = axis_more(r, x);
            if (o)
                overlay_add(r, o, name, v->items[i]);
        }
    }
    if (!many) {
        struct overlay *o = axis_more(r, x);
        if (o)
            overlay_add(r, o, name, v);
    }
}

/* Does an axis of this name say nothing of the engine's cells? */
static bool is_foreign(const struct reading *r, const char *name, const char *engine)
{
    const char *scope = scope_of(r->s->schema, name);

    return (scope && strcmp(scope, engine) != 0) || strcmp(name, "engine") == 0;
}

/* The axes of the file's sweep and those from outside, which are the fastest; groups are the
 * slowest. An axis from outside takes the place of the file's. */
static void read_axes(struct reading *r, struct llem__block *b, const struct llem_value *sweep,
                      const char *engine)
{
    b->axes = llem_arena_calloc(r->a, sweep->count + r->above->count + 1, sizeof(*b->axes));
    for (int pass = 0; b->axes && pass < 2; pass++) {
        for (size_t i = 0; i < sweep->count && !r->a->oom; i++) {
            const char *name = sweep->keys[i];

            if (is_group(r, name, sweep->items[i]) == (pass == 0) && !is_foreign(r, name, engine) &&
                !llem_get(r->above, name))
                read_axis(r, &b->axes[b->n_axes++], name, engine, sweep->items[i], false);
        }
    }
    for (size_t i = 0; b->axes && i < r->above->count && !r->a->oom; i++)
        if (!is_foreign(r, r->above->keys[i], engine))
            read_axis(r, &b->axes[b->n_axes++], r->above->keys[i], engine, r->above->items[i],
                      true);
}

/* What can be wrong with the sweep whatever its engine. */
static void check_sweep(struct reading *r)
{
    const struct llem_value *sweep = r->sweep;

    for (size_t i = 0; i < sweep->count; i++) {
        const struct llem_value *v = sweep->items[i];
        size_t maps = 0;
        int line, column;

        llem__key_place(&r->check, v, &line, &column);
        for (size_t k = 0; v->kind == LLEM_LIST && k < v->count; k++)
            maps += v->items[k]->kind == LLEM_MAP;
        if (v->kind == LLEM_LIST && v->count == 0)
            llem__diag_at(&r->diags, v->file, line, column,
                          "sweep.%s has no values, so nothing would run; give it some or remove it",
                          sweep->keys[i]);
        else if (v->kind == LLEM_LIST && maps && maps != v->count)
            llem__diag_at(&r->diags, v->file, line, column,
                          "sweep.%s mixes maps and single values; a list of maps is a group of "
                          "alternatives, a list of values an axis",
                          sweep->keys[i]);
    }
}

/* ---- blocks -------------------------------------------------------------------------------- */

static struct llem__block *block_more(struct reading *r)
{
    void *blocks = r->blocks;

    if (!more(r->a, &blocks, r->n_blocks, &r->cap_blocks, sizeof(*r->blocks)))
        return NULL;
    r->blocks = blocks;
    return &r->blocks[r->n_blocks++];
}

/* The complete tree of an engine: layers below the sweep, those above it. */
static struct llem_value *block_base(struct reading *r, const char *engine,
                                     const struct llem_value *entry)
{
    struct llem_value *tree = llem_merge(r->a, r->user, without_engines(r, r->shared, engine));
    struct llem_value *name = llem_string(r->a, engine);
    const struct llem_value *flag = llem_get(r->upper, "engine");

    if (!r->a->oom)
        llem__mark(name,
                   flag               ? LLEM_FROM_FLAG
                   : r->engines_named ? LLEM_FROM_FILE
                                      : LLEM_FROM_SWEEP,
                   r->engines_at ? r->engines_at->file : NULL);
    if (!r->a->oom && r->engines_at) {
        name->line = r->engines_at->line;
        name->column = r->engines_at->column;
    }
    llem_set(r->a, tree, "engine", name);
    if (entry)
        tree = llem_merge(r->a, tree, entry);
    tree = llem_merge(r->a, tree, without_engines(r, r->upper, engine));
    if (flag)
        llem_set(r->a, tree, "engine", name);
    return llem__complete(r->s->schema, r->a, "", tree, 0);
}

static const struct llem_rules *rules_of(struct reading *r, const char *engine)
{
    llem_error err = { 0 };
    llem_errcode rc;

    for (size_t i = 0; i < r->n_rules; i++)
        if (strcmp(r->rules[i].engine, engine) == 0)
            return &r->rules[i].rules;
    if (!llem__is_one_of(engine, r->s->schema->engines) || !r->rules)
        return NULL;
    r->rules[r->n_rules].engine = engine;
    rc = llem_rules_load(&r->rules[r->n_rules].rules, r->a, r->s->schema, engine, &err);
    if (rc == LLEM_ENOMEM)
        r->a->oom = true;
    else if (rc < 0)
        llem__diag_at(&r->diags, err.file[0] ? llem_arena_strdup(r->a, err.file) : NULL, err.line,
                      err.column, "%s", err.msg);
    return &r->rules[r->n_rules++].rules;
}

static void block_count(struct reading *r, struct llem__block *b)
{
    size_t n = 1;

    for (size_t i = 0; i < b->n_axes; i++) {
        n *= b->axes[i].count;
        if (n > LLEM_SWEEP_MAX_CELLS)
            break;
    }
    b->first = r->s->count;
    b->count = n;
    r->s->count += n;
    if (r->s->count > LLEM_SWEEP_MAX_CELLS && !r->diags.count)
        llem__diag_at(&r->diags, r->s->path, 1, 1,
                      "the study declares more than %d experiments; sweep fewer values or split it",
                      LLEM_SWEEP_MAX_CELLS);
}

static void swept_block(struct reading *r, const char *engine)
{
    struct llem__block *b = block_more(r);

    if (!b)
        return;
    r->check.engine = engine;
    b->base = block_base(r, engine, NULL);
    b->rules = rules_of(r, llem_str_at(b->base, "engine", engine));
    read_axes(r, b, r->sweep, engine);
    block_count(r, b);
}

static void explicit_block(struct reading *r, const char *engine, const struct llem_value *entry)
{
    struct llem__block *b = block_more(r);
    struct llem__diags diags = { .a = r->a };
    struct llem__check c = r->check;
    struct llem_value *checked, *own = llem_map(r->a);

    if (!b)
        return;
    c.engine = engine;
    c.diags = &diags;
    c.unknown = &r->diags;
    checked = llem__check_layer(&c, entry);
    b->base =
        block_base(r, r->engine_forced ? engine : llem_str_at(checked, "engine", engine), checked);
    b->rules = rules_of(r, llem_str_at(b->base, "engine", "transformers"));
    flatten(r->s->schema, r->a, own, "", checked);
    b->own = own;
    if (diags.count)
        b->errors = llem__diags_text(&diags);
    read_axes(r, b, llem_map(r->a), llem_str_at(b->base, "engine", engine));
    block_count(r, b);
}

/* ---- which engines -------------------------------------------------------------------------- */

static const char **engine_list(struct reading *r, const struct llem_value *v)
{
    const struct llem_row *row = llem_schema_find(r->s->schema, "engine");
    const char **names;
    size_t n = 0;

    if (v->kind == LLEM_LIST && v->count == 0)
        llem__diag(&r->diags, v, "engine is an empty list; name at least one engine");
    names = llem_arena_calloc(r->a, (v->kind == LLEM_LIST ? v->count : 1) + 1, sizeof(*names));
    for (size_t i = 0; names && row && i < (v->kind == LLEM_LIST ? v->count : 1); i++) {
        const struct llem_value *item = v->kind == LLEM_LIST ? v->items[i] : v;
        const struct llem_value *name = llem__check_value(&r->check, row, item);

        if (!name)
            continue;
        if (llem__is_one_of(name->s, names))
            llem__diag(&r->diags, item, "the engine %s stands twice in the list", name->s);
        else
            names[n++] = name->s;
    }
    return names;
}

/* Adds the engines whose settings a sweep is about. */
static void scopes_of(struct reading *r, const struct llem_value *sweep, const char **scoped)
{
    size_t n = 0;

    while (scoped[n])
        n++;
    for (size_t i = 0; i < sweep->count; i++) {
        const char *scope = scope_of(r->s->schema, sweep->keys[i]);
        if (scope && !llem__is_one_of(scope, scoped))
            scoped[n++] = scope;
    }
}

/* An axis about an engine that does not run is a mistake. */
static void check_scopes(struct reading *r, const struct llem_value *sweep, const char *prefix)
{
    int line, column;

    for (size_t i = 0; i < sweep->count && r->engines && !r->diags.count; i++) {
        const char *scope = scope_of(r->s->schema, sweep->keys[i]);

        if (!scope || llem__is_one_of(scope, r->engines))
            continue;
        llem__key_place(&r->check, sweep->items[i], &line, &column);
        llem__diag_at(&r->diags, sweep->items[i]->file, line, column,
                      "%s%s is about the engine %s, which this study does not run; add it to "
                      "engine or remove the axis",
                      prefix, sweep->keys[i], scope);
    }
}

static int compare_names(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;

    return strcmp(*a, *b);
}

/* The engines of the study: named by a flag, by itself (`engine`, or an axis of that name), or
 * those that its axes are about. */
static void find_engines(struct reading *r)
{
    struct llem_value *own = llem_get(r->shared, "engine");
    const struct llem_value *axis = llem_get(r->sweep, "engine"),
                            *flag = llem_get(r->upper, "engine");
    const char **scoped =
        llem_arena_calloc(r->a, r->sweep->count + r->above->count + 2, sizeof(*scoped));
    size_t n = 0;

    if (!scoped)
        return;
    scopes_of(r, r->sweep, scoped);
    scopes_of(r, r->above, scoped);
    while (scoped[n])
        n++;
    if (own && axis)
        llem__diag(&r->diags, axis,
                   "the engines stand twice, in sweep.engine and in engine; keep one");
    r->engine_forced = flag != NULL;
    r->engines_named = own || axis;
    r->engines_at = flag ? flag : axis ? axis : own ? own : n ? r->sweep : NULL;
    if (flag) {
        r->engines = engine_list(r, flag);
    } else if (own || axis) {
        r->engines = engine_list(r, axis ? axis : own);
        check_scopes(r, r->sweep, "sweep.");
    } else if (n) {
        qsort(scoped, n, sizeof(*scoped), compare_names);
        r->engines = scoped;
    } else {
        scoped[0] = "transformers";
        r->engines = scoped;
    }
    check_scopes(r, r->above, "");
    if (own)
        llem_unset(r->shared, "engine");
}

/* ---- files ---------------------------------------------------------------------------------- */

/* The settings of an experiment among the keys of a file. */
static struct llem_value *experiment_part(struct reading *r, const struct llem_value *root)
{
    struct llem_value *out = llem_map(r->a);

    out->file = root->file;
    for (size_t i = 0; i < root->count; i++)
        if (!llem__is_one_of(root->keys[i], study_keys))
            llem_set(r->a, out, root->keys[i], root->items[i]);
    return out;
}

/* A layer of experiment settings, with `engine` kept as it is written: it may be a list. */
static struct llem_value *checked_layer(struct reading *r, struct llem_value *part)
{
    struct llem_value *engine = llem_get(part, "engine"), *out;

    llem_unset(part, "engine");
    out = llem__check_layer(&r->check, part);
    if (engine)
        llem_set(r->a, out, "engine", llem_copy(r->a, engine));
    return out;
}

static void base_file(struct reading *r, const struct llem_value *v)
{
    struct llem_value *root, *part;
    const char *path;

    if (v->kind != LLEM_STRING || !v->len) {
        llem__diag(&r->diags, v, "base must name a file, but is %s", llem__show(r->a, v));
        return;
    }
    path = llem_path_join(r->a, r->s->dir, v->s);
    if (!path)
        return;
    if (!llem_path_exists(path)) {
        llem__diag(&r->diags, v, "the base file %s does not exist (looked for at %s)",
                   llem__show(r->a, v), path);
        return;
    }
    if (!llem__file_layer(&r->check, &(struct llem_config_source){ .path = path }, &root))
        return;
    llem__mark(root, LLEM_FROM_FILE, NULL);
    part = experiment_part(r, root);
    llem_unset(part, "study_name");
    llem_unset(part, "output");
    r->shared = llem_merge(r->a, r->shared, checked_layer(r, part));
}

static void engine_names_of(struct reading *r, const struct llem_value *map, const char *key)
{
    for (size_t i = 0; !llem_is_null(map) && i < map->count; i++) {
        const char *near;

        if (llem__is_one_of(map->keys[i], r->s->schema->engines)) {
            if (map->items[i]->kind != LLEM_STRING)
                llem__diag(&r->diags, map->items[i], "%s.%s must be text, but is %s", key,
                           map->keys[i], llem__show(r->a, map->items[i]));
            continue;
        }
        near = llem_nearest(map->keys[i], r->s->schema->visible);
        llem__diag(&r->diags, map->items[i], "%s.%s: there is no engine %s%s%s%s", key,
                   map->keys[i], map->keys[i], near ? "; did you mean " : "", near ? near : "",
                   near ? "?" : "");
    }
}

/* The settings of the study itself: those of the file, and flags that begin alike. */
static void study_settings(struct reading *r, const struct llem_value *root,
                           const struct llem_value *weak, const struct llem_value *flags)
{
    struct llem_schema *schema = NULL;
    struct llem__check c = r->check;
    struct llem_value *own = llem_map(r->a), *tree;
    llem_error err;

    if (llem__schema_of(&schema, llem_study_rows, &err) < 0) {
        r->a->oom = true;
        return;
    }
    for (const struct llem_row *row = llem_study_rows; row->path; row++)
        if (!strchr(row->path, '.') && llem_get(root, row->path))
            llem_set(r->a, own, row->path, llem_get(root, row->path));
    c.schema = schema;
    tree = llem__check_layer(&c, own);
    c.keys = NULL;
    tree = llem_merge(r->a, llem__check_layer(&c, weak), tree);
    tree = llem_merge(r->a, tree, llem__check_layer(&c, flags));
    r->s->study = llem__complete(schema, r->a, "", tree, 0);
    engine_names_of(r, llem_get(r->s->study, "runners"), "runners");
    engine_names_of(r, llem_get(r->s->study, "images"), "images");
    llem__diags_locate(&r->diags, r->s->study);
    r->s->study_schema = schema;
}

/* The top level of a study's file: what is of the study, what all experiments share. */
static void read_root(struct reading *r, struct llem_value *root)
{
    const struct llem_value *base = llem_get(root, "base"), *v;
    const struct llem__keys *keys = r->check.keys;
    struct llem_value *own;

    r->shared = llem_map(r->a);
    if (base && base->kind == LLEM_LIST)
        for (size_t i = 0; i < base->count; i++)
            base_file(r, base->items[i]);
    else if (base)
        base_file(r, base);
    r->check.keys = keys;
    own = checked_layer(r, experiment_part(r, root));
    r->shared = llem_merge(r->a, r->shared, own);

    r->sweep = r->experiments = NULL;
    v = llem_get(root, "sweep");
    if (v && v->kind == LLEM_MAP)
        r->sweep = v;
    else if (!llem_is_null(v))
        llem__diag(&r->diags, v, "sweep must be a map of axes, but is %s", llem__show(r->a, v));
    v = llem_get(root, "experiments");
    if (v && v->kind == LLEM_LIST)
        r->experiments = v;
    else if (!llem_is_null(v))
        llem__diag(&r->diags, v, "experiments must be a list of experiments, but is %s",
                   llem__show(r->a, v));
    for (size_t i = 0; r->experiments && i < r->experiments->count; i++) {
        v = r->experiments->items[i];
        if (v->kind != LLEM_MAP)
            llem__diag(&r->diags, v, "an experiment must be a map of settings, but is %s",
                       llem__show(r->a, v));
    }
    if (!r->sweep)
        r->sweep = llem_map(r->a);
    if (!r->experiments)
        r->experiments = llem_list(r->a);
}

/* Settings from outside the file: the study's own apart from those of experiments. */
static struct llem_value *split_flags(struct reading *r, struct llem_value *layer)
{
    struct llem_value *own = llem_map(r->a);

    for (const struct llem_row *row = llem_study_rows; row->path; row++) {
        struct llem_value *v = strchr(row->path, '.') ? NULL : llem_get(layer, row->path);
        if (v) {
            llem_set(r->a, own, row->path, v);
            llem_unset(layer, row->path);
        }
    }
    return own;
}

/* Axes from outside the file. Several engines are a list of them, as in a file. */
static void axes_above(struct reading *r, struct llem_value *axes, struct llem_value *flags)
{
    struct llem_value *engines;

    r->above = axes;
    for (size_t i = 0; i < axes->count; i++) {
        const struct llem_value *axis = axes->items[i], *flag = llem_at(flags, axes->keys[i]);
        size_t len = strcspn(axes->keys[i], ".");
        const char *top = llem_arena_strndup(r->a, axes->keys[i], len);

        if (flag)
            llem__diag_at(&r->diags, axis->file, 0, 0,
                          "%s has several values here and one by %s; keep one of the two",
                          axes->keys[i], flag->file ? flag->file : "a flag");
        else if (top && (llem__is_one_of(top, study_keys) || strcmp(top, "study_name") == 0 ||
                         strcmp(top, "output") == 0))
            llem__diag_at(&r->diags, axis->file, 0, 0,
                          "%s is a setting of the whole study, which its experiments cannot have "
                          "several values of",
                          axes->keys[i]);
    }
    engines = llem_get(axes, "engine");
    if (engines)
        llem_set(r->a, flags, "engine", engines);
}

static void expand(struct reading *r)
{
    bool declares = r->sweep->count || !r->experiments->count;
    size_t engines = 1;

    while (r->s->schema->engines[engines - 1])
        engines++;
    r->rules = llem_arena_calloc(r->a, engines, sizeof(*r->rules));
    check_sweep(r);
    find_engines(r);
    if (r->diags.count || !r->engines)
        return;
    for (size_t i = 0; declares && r->engines[i] && !r->a->oom; i++)
        swept_block(r, r->engines[i]);
    for (size_t i = 0; i < r->experiments->count && !r->a->oom; i++) {
        const struct llem_value *entry = r->experiments->items[i];
        const struct llem_value *own = llem_get(entry, "engine");

        if (own && own->kind == LLEM_LIST) {
            llem__diag(&r->diags, own, "the engine of an explicit experiment is one name, no list");
        } else if (!r->engine_forced && (own || !r->engines_named)) {
            explicit_block(r, "transformers", entry);
        } else {
            for (size_t k = 0; r->engines[k]; k++)
                explicit_block(r, r->engines[k], entry);
        }
    }
}

static struct llem_value *settings_list(struct llem_arena *a, const llem_setting *settings,
                                        size_t count)
{
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; i < count; i++) {
        struct llem_value *v = llem_map(a);

        llem_set(a, v, "path", llem_string(a, settings[i].path));
        llem_set(a, v, "value", llem_string(a, settings[i].value));
        llem_set(a, v, "origin", llem_string(a, settings[i].origin));
        llem_set(a, v, "literal", llem_bool(a, settings[i].literal != 0));
        llem_set(a, v, "weak", llem_bool(a, settings[i].weak != 0));
        llem_set(a, v, "axis", llem_bool(a, settings[i].axis != 0));
        llem_append(a, list, v);
    }
    return list;
}

/* Is it a study, as far as that can be seen before it is read? What cannot be read is none. */
static bool looks_like_study(const struct llem_config_source *source, const llem_setting *settings,
                             size_t count)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *root = NULL;
    const struct llem_value *engine;
    bool is = false;

    for (size_t i = 0; i < count; i++)
        is = is || settings[i].axis;
    if (!is && source->path) {
        if (source->text)
            llem_yaml_parse(&a, &root, source->text, source->len, source->path, NULL);
        else
            llem_yaml_load(&a, &root, source->path, NULL);
        engine = llem_get(root, "engine");
        is = engine && engine->kind == LLEM_LIST;
        for (size_t i = 0; study_keys[i]; i++)
            is = is || llem_get(root, study_keys[i]);
    }
    llem_arena_done(&a);
    return is;
}

/* Is it a setting of the study itself? */
static bool is_of_study(const llem_setting *setting)
{
    size_t len = strcspn(setting->path, ".");

    for (const struct llem_row *row = llem_study_rows; row->path; row++)
        if (strncmp(row->path, setting->path, len) == 0 && row->path[len] == '\0')
            return true;
    return false;
}

/* A single experiment is read as one; what is said of its study comes from outside. */
static llem_errcode load_single(struct llem_sweep **out, llem_ctx *ctx,
                                const struct llem_schema *schema,
                                const struct llem_config_source *source,
                                const llem_setting *settings, size_t count, llem_error *err)
{
    llem_setting *own = calloc(2 * count + 1, sizeof(*own)), *of_study = own ? own + count : NULL;
    struct reading r = { 0 };
    struct llem_config *config = NULL;
    struct llem_sweep *s = NULL;
    struct llem_value *flags;
    size_t n = 0, n_study = 0;
    llem_errcode rc;

    if (!own)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    for (size_t i = 0; i < count; i++) {
        if (!is_of_study(&settings[i]))
            own[n++] = settings[i];
        else if (!settings[i].weak) /* those are of studies alone */
            of_study[n_study++] = settings[i];
    }
    rc = llem_config_load_with(&config, ctx, schema, source, own, n, err);
    if (rc == LLEM_OK)
        rc = llem_sweep_of_config(&s, ctx, config, false, err);
    if (rc < 0)
        goto done;
    r.s = s;
    r.a = r.check.a = r.diags.a = &s->arena;
    r.check.diags = &r.diags;
    r.check.ctx = ctx;
    r.check.schema = schema;
    s->text = source->text ? llem_arena_strndup(r.a, source->text, source->len) : NULL;
    s->settings = settings_list(r.a, settings, count);
    flags = llem__settings_layer(&r.check, of_study, n_study, LLEM__STRONG);
    if (!r.a->oom) {
        (void)llem__mark_sections(flags);
        llem_schema_free(s->study_schema);
        s->study_schema = NULL;
        study_settings(&r, llem_map(r.a), llem_map(r.a), flags);
    }
    rc = llem__diags_error(&r.diags, err);
    if (rc < 0)
        llem__keep_errors(ctx, &r.diags);
    if (s->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
done:
    llem_config_free(config);
    free(own);
    if (rc < 0 && s)
        llem_sweep_free(s);
    else if (rc == LLEM_OK)
        *out = s;
    return rc;
}

llem_errcode llem_sweep_load(struct llem_sweep **out, llem_ctx *ctx,
                             const struct llem_schema *schema,
                             const struct llem_config_source *source, const llem_setting *settings,
                             size_t count, llem_error *err)
{
    const char *path = source->path;
    struct reading r = { 0 };
    struct llem_sweep *s;
    struct llem_value *root, *environment, *flags, *weak, *flags_of_study, *weak_of_study;
    llem_errcode rc;
    char *cwd = NULL;

    if (!looks_like_study(source, settings, count))
        return load_single(out, ctx, schema, source, settings, count, err);
    llem__keep_errors(ctx, NULL);
    s = calloc(1, sizeof(*s));
    if (!s)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    r.s = s;
    r.a = r.check.a = r.diags.a = &s->arena;
    r.check.diags = &r.diags;
    r.check.ctx = ctx;
    r.check.schema = s->schema = schema;
    s->ctx = ctx;
    cwd = getcwd(NULL, 0);
    s->cwd = llem_arena_strdup(r.a, cwd ? cwd : "/");
    s->path = llem_arena_strdup(r.a, path);
    s->dir = path ? llem__absolute_dir(r.a, s->cwd, path) : NULL;
    s->text = source->text ? llem_arena_strndup(r.a, source->text, source->len) : NULL;
    s->settings = settings_list(r.a, settings, count);

    rc = llem_variables_check(ctx, err);
    if (rc < 0)
        goto done;
    r.user = llem__user_layer(ctx, r.a, &rc, err);
    if (rc < 0)
        goto done;
    root = llem_map(r.a);
    if (path && !llem__file_layer(&r.check, source, &root))
        goto report;
    if (r.a->oom)
        goto report;
    /* Tags of lists are read before the marks would cover them. */
    for (size_t i = 0; i < root->count; i++)
        if (strcmp(root->keys[i], "sweep") != 0)
            llem__mark(root->items[i], LLEM_FROM_FILE, s->text ? s->path : NULL);
    root->source = LLEM_FROM_FILE;
    read_root(&r, root);
    environment = llem__variables_layer(ctx, r.a, &r.diags, false);
    flags = llem__settings_layer(&r.check, settings, count, LLEM__STRONG);
    weak = llem__settings_layer(&r.check, settings, count, LLEM__WEAK);
    axes_above(&r, llem__settings_layer(&r.check, settings, count, LLEM__AXES), flags);
    if (r.a->oom)
        goto report;
    (void)llem__mark_sections(environment);
    (void)llem__mark_sections(flags);
    (void)llem__mark_sections(weak);
    flags_of_study = split_flags(&r, flags);
    weak_of_study = split_flags(&r, weak);
    r.user = llem_merge(r.a, r.user, weak);
    const struct llem__keys *keys = r.check.keys;
    r.check.keys = NULL;
    r.user = llem__check_layer(&r.check, r.user);
    r.upper = llem_merge(r.a, llem__check_layer(&r.check, environment), checked_layer(&r, flags));
    r.check.keys = keys;
    if (r.a->oom)
        goto report;
    s->output =
        llem__complete(schema, r.a, "", llem_merge(r.a, llem_merge(r.a, r.user, r.shared), r.upper),
                       LLEM_ROW_STUDY);
    expand(&r);
    s->is_study = true;
    study_settings(&r, root, weak_of_study, flags_of_study);
    s->blocks = r.blocks;
    s->n_blocks = r.n_blocks;

report:
    rc = llem__diags_error(&r.diags, err);
    if (rc < 0)
        llem__keep_errors(ctx, &r.diags);
    if (s->arena.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
        llem__keep_errors(ctx, NULL);
    }

done:
    free(cwd);
    if (rc < 0)
        llem_sweep_free(s);
    else
        *out = s;
    return rc;
}

llem_errcode llem_sweep_of_config(struct llem_sweep **out, llem_ctx *ctx,
                                  const struct llem_config *config, bool quick, llem_error *err)
{
    struct llem_sweep *s = calloc(1, sizeof(*s));
    struct llem__block *b;
    llem_errcode rc;

    if (!s)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    s->ctx = ctx;
    s->schema = config->schema;
    s->path = llem_arena_strdup(&s->arena, config->path);
    s->dir = llem_arena_strdup(&s->arena, config->dir);
    s->cwd = llem_arena_strdup(&s->arena, config->cwd);
    s->output = llem_copy(&s->arena, config->output);
    s->settings = llem_list(&s->arena);
    rc = llem__schema_of(&s->study_schema, llem_study_rows, err);
    b = llem_arena_calloc(&s->arena, 1, sizeof(*b));
    if (rc == LLEM_OK && b) {
        s->study = llem__complete(s->study_schema, &s->arena, "", NULL, 0);
        b->base = llem_copy(&s->arena, config->tree);
        if (quick)
            llem_set_at(&s->arena, b->base, "measurement.quick", llem_bool(&s->arena, true));
        b->count = s->count = s->n_blocks = 1;
        s->blocks = b;
    }
    if (rc == LLEM_OK && s->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    if (rc < 0)
        llem_sweep_free(s);
    else
        *out = s;
    return rc;
}

llem_errcode llem_sweep_config(const struct llem_sweep *s, size_t index, struct llem_config *out,
                               llem_error *err)
{
    const char *errors;

    memset(out, 0, sizeof(*out));
    out->schema = s->schema;
    out->output = s->output;
    out->path = s->path;
    out->dir = s->dir;
    out->cwd = s->cwd;
    out->tree = (struct llem_value *)(uintptr_t)llem_sweep_cell(s, index, &out->arena, &errors);
    if (out->tree)
        llem_config_hash(s->schema, out->tree, out->hash);
    return out->tree && *out->hash
               ? LLEM_OK
               : llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");
}

void llem_sweep_free(struct llem_sweep *s)
{
    if (!s)
        return;
    llem_schema_free(s->study_schema);
    llem_arena_done(&s->arena);
    free(s);
}

/* ---- cells ---------------------------------------------------------------------------------- */

static const struct llem__block *block_of(const struct llem_sweep *s, size_t index)
{
    size_t low = 0, high = s->n_blocks;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (s->blocks[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return &s->blocks[low];
}

/* The value of axis i in the cell. */
static const struct overlay *value_of(const struct llem__block *b, size_t index, size_t i)
{
    size_t rest = index - b->first;

    for (size_t k = b->n_axes; k-- > i + 1;)
        rest /= b->axes[k].count;
    return &b->axes[i].values[rest % b->axes[i].count];
}

static struct llem_value *apply(const struct llem_sweep *s, struct llem_arena *a,
                                struct llem_value *tree, const struct overlay *o)
{
    for (size_t i = 0; i < o->set->count; i++)
        tree = with(s->schema, a, tree, o->set->keys[i], 0, o->set->items[i]);
    return tree;
}

const struct llem_value *llem_sweep_cell(const struct llem_sweep *s, size_t index,
                                         struct llem_arena *a, const char **errors)
{
    const struct llem__block *b = block_of(s, index);
    struct llem__diags diags = { .a = a };
    struct llem__check c = { .schema = s->schema, .a = a, .diags = &diags };
    struct llem_value *tree = b->base;
    const char *text = b->errors, *sampling;

    /* Groups win over axes, so they come last. */
    for (int groups = 0; groups < 2; groups++) {
        for (size_t i = 0; i < b->n_axes; i++) {
            const struct overlay *o = value_of(b, index, i);

            if (b->axes[i].group != groups)
                continue;
            tree = apply(s, a, tree, o);
            if (o->errors)
                text = text ? llem_arena_printf(a, "%s\n%s", text, o->errors) : o->errors;
        }
    }
    if (!llem_is_null(llem_get(tree, "sampling_preset")) && !a->oom) {
        const char *engine = llem_str_at(tree, "engine", "transformers");

        /* A sampling section of its own, to fill. */
        sampling = llem_arena_printf(a, "%s.sampling", engine);
        if (sampling && !a->oom) {
            struct llem_value *old = llem_at(tree, sampling);

            tree = with(s->schema, a, tree, sampling, 0,
                        old && old->kind == LLEM_MAP
                            ? shallow(a, old)
                            : llem__complete(s->schema, a, sampling, NULL, 0));
            llem__apply_preset(&c, tree);
        }
    }
    if (!text && !a->oom) {
        llem__check_model(&c, tree, s->path);
        llem__check_cross(&c, tree);
        if (b->rules)
            llem__check_rules(&c, b->rules, tree);
        if (diags.count)
            text = llem__diags_text(&diags);
    }
    *errors = text;
    return a->oom ? NULL : tree;
}

const char *llem_sweep_engine(const struct llem_sweep *s, size_t index)
{
    return llem_str_at(block_of(s, index)->base, "engine", "transformers");
}

const struct llem_rules *llem_sweep_rules(const struct llem_sweep *s, size_t index)
{
    return block_of(s, index)->rules;
}

const struct llem_value *llem_sweep_settings(const struct llem_sweep *s, size_t index,
                                             struct llem_arena *a)
{
    const struct llem__block *b = block_of(s, index);
    struct llem_value *out;

    if (b->own && !b->n_axes)
        return b->own;
    out = b->own ? shallow(a, b->own) : llem_map(a);
    for (size_t i = 0; i < b->n_axes; i++) {
        const struct overlay *o = value_of(b, index, i);

        for (size_t k = 0; b->axes[i].count > 1 && k < o->label->count; k++)
            if (b->axes[i].group || b->axes[i].above ||
                !llem_get(out, o->label->keys[k])) /* groups win, those from outside over all */
                llem_set(a, out, o->label->keys[k], o->label->items[k]);
    }
    return out;
}

static void add_names(struct llem_value *to, const struct llem_value *map, struct llem_arena *a)
{
    for (size_t i = 0; i < map->count; i++)
        llem_set(a, to, map->keys[i], llem_null(a));
}

struct llem_value *llem_sweep_axes(const struct llem_sweep *s, struct llem_arena *a)
{
    struct llem_value *seen = llem_map(a), *out = llem_list(a);

    for (size_t i = 0; i < s->n_blocks; i++) {
        const struct llem__block *b = &s->blocks[i];

        if (b->own)
            add_names(seen, b->own, a);
        for (size_t k = 0; k < b->n_axes; k++)
            for (size_t j = 0; b->axes[k].count > 1 && j < b->axes[k].count; j++)
                add_names(seen, b->axes[k].values[j].label, a);
    }
    for (size_t i = 0; i < seen->count; i++)
        llem_append(a, out, llem_string(a, seen->keys[i]));
    return out;
}

const char *llem_sweep_label(const struct llem_sweep *s, size_t index, struct llem_arena *a)
{
    const struct llem_value *settings = llem_sweep_settings(s, index, a);
    struct llem_buf out = LLEM_BUF_INIT(1 << 16);
    const char *text;

    for (size_t i = 0; i < settings->count; i++)
        label_add(&out, settings->keys[i], settings->items[i]);
    text = llem_arena_strdup(a, out.data);
    llem_buf_done(&out);
    return text;
}
