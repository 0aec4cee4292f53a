/* SPDX-License-Identifier: MIT
 *
 * Making a resolved configuration: the layers of docs/configuration.md are read, each checked
 * against the rows, merged, completed with preset and defaults, and checked as a whole. All errors
 * come at once.
 */
#include "lib/config/internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

/* ---- errors of the last load -------------------------------------------------------------- */

struct errors {
    struct llem_arena arena;
    const char *text;
    llem_config_problem *items;
    size_t count;
};

static void free_errors(void *data)
{
    struct errors *e = data;

    if (!e)
        return;
    llem_arena_done(&e->arena);
    free(e);
}

static const char *kept(struct llem_arena *a, const char *text)
{
    const char *copy = llem_arena_strdup(a, text ? text : "");

    return copy ? copy : "";
}

void llem__keep_errors(llem_ctx *ctx, struct llem__diags *d)
{
    struct errors *e = d ? calloc(1, sizeof(*e)) : NULL;

    if (e) {
        e->text = kept(&e->arena, llem__diags_text(d)); /* sorts */
        e->items = llem_arena_calloc(&e->arena, d->count, sizeof(*e->items));
        for (size_t i = 0; e->items && i < d->count; i++, e->count++) {
            const struct llem__diag *one = &d->items[i];

            e->items[i] = (llem_config_problem){
                .path = kept(&e->arena, one->path),
                .text = kept(&e->arena, one->text),
                .file = kept(&e->arena, one->file),
                .line = one->line,
                .column = one->column,
            };
        }
    }
    free_errors(ctx->slots[LLEM_SLOT_CONFIG_ERRORS].data);
    ctx->slots[LLEM_SLOT_CONFIG_ERRORS].free = free_errors;
    ctx->slots[LLEM_SLOT_CONFIG_ERRORS].data = e;
}

const char *llem_config_errors(const llem_ctx *ctx)
{
    const struct errors *e = ctx ? ctx->slots[LLEM_SLOT_CONFIG_ERRORS].data : NULL;

    return e ? e->text : "";
}

const llem_config_problem *llem_config_problems(const llem_ctx *ctx, size_t *count)
{
    const struct errors *e = ctx ? ctx->slots[LLEM_SLOT_CONFIG_ERRORS].data : NULL;

    *count = e ? e->count : 0;
    return e && e->count ? e->items : NULL;
}

/* The errors of a step that stops at its first, as the list would show it. */
static void add_error(struct llem__diags *d, const llem_error *e)
{
    const char *file = e->file[0] ? llem_arena_strdup(d->a, e->file) : NULL;

    llem__diag_at(d, file, e->line, e->column, "%s%s%s", e->msg, e->hint[0] ? " " : "", e->hint);
}

/* ---- layers ------------------------------------------------------------------------------- */

/* The experiment's rows that the user's configuration may give, by their own names. */
static const char *const user_defaults[] = { "measurement.energy_sampler", "output.results_dir" };

struct llem_value *llem__user_layer(llem_ctx *ctx, struct llem_arena *a, llem_errcode *rc,
                                    llem_error *err)
{
    struct llem_value *layer = llem_map(a);
    const struct llem_value *user = NULL;

    *rc = llem_user_config(ctx, &user, err);
    for (size_t i = 0; *rc == LLEM_OK && i < LLEM_COUNT(user_defaults); i++) {
        const struct llem_value *v = llem_at(user, user_defaults[i]);
        if (v && v->source != LLEM_FROM_DEFAULT)
            llem_set_at(a, layer, user_defaults[i], llem_copy(a, v));
    }
    return layer;
}

bool llem__file_layer(struct llem__check *c, const struct llem_config_source *source,
                      struct llem_value **out)
{
    const char *path = source->path;
    struct llem__keys *keys = llem_arena_alloc(c->a, sizeof(*keys));
    struct llem_value *root = NULL;
    llem_error e = { 0 };
    llem_errcode rc;

    *out = llem_map(c->a);
    if (!keys)
        return false;
    if (source->text)
        rc = llem__yaml_read(c->a, &root, keys, source->text, source->len, path, true, &e);
    else
        rc = llem__yaml_load(c->a, &root, keys, path, &e);
    if (rc < 0) {
        if (rc == LLEM_ENOMEM)
            c->a->oom = true;
        add_error(c->diags, &e);
        return false;
    }
    c->keys = source->text ? NULL : keys; /* places in a text are nobody's */
    if (root->kind == LLEM_NULL) {
        llem__diag_at(c->diags, path, 1, 1, "the file is empty; it must at least set task.model");
        return false;
    }
    if (root->kind != LLEM_MAP) {
        llem__diag_at(c->diags, path, root->line, root->column,
                      "a configuration must be a map of settings, but this is %s",
                      llem__show(c->a, root));
        return false;
    }
    if (!source->text && llem__other_schema(c, root, path))
        return false;
    *out = root;
    return true;
}

/* The layer of an experiment's file; false: the errors say why there is none. */
static bool experiment_layer(struct llem__check *c, const struct llem_config_source *source,
                             struct llem_value **out)
{
    struct llem_value *root;

    if (!llem__file_layer(c, source, out))
        return false;
    root = *out;
    for (size_t i = 0; i < root->count; i++) {
        int line, column;

        if (strcmp(root->keys[i], "sweep") != 0 && strcmp(root->keys[i], "experiments") != 0)
            continue;
        llem__key_place(c, root->items[i], &line, &column);
        llem__diag_at(
            c->diags, source->path, line, column,
            "the key \"%s\" makes this a study of several experiments, where one is wanted; "
            "'llem run' and 'llem plan' take studies",
            root->keys[i]);
        return false;
    }
    if (!c->a->oom)
        llem__mark(root, LLEM_FROM_FILE,
                   source->text ? llem_arena_strdup(c->a, source->path) : NULL);
    return true;
}

static bool valid_setting_path(const char *path)
{
    return *path && *path != '.' && !strstr(path, "..") && path[strlen(path) - 1] != '.';
}

struct llem_value *llem__settings_layer(struct llem__check *c, const llem_setting *settings,
                                        size_t count, enum llem__settings which)
{
    struct llem_value *layer = llem_map(c->a);

    for (size_t i = 0; i < count; i++) {
        const llem_setting *s = &settings[i];
        const char *origin = llem_arena_strdup(c->a, s->origin ? s->origin : "setting");
        const char *text = s->value ? s->value : "";
        struct llem_value *v, *axis;

        if (which != (s->axis ? LLEM__AXES : s->weak ? LLEM__WEAK : LLEM__STRONG))
            continue;
        if (!s->path || !valid_setting_path(s->path)) {
            llem__diag_at(c->diags, origin, 0, 0,
                          "\"%s\" is no name of a setting; write one like task.model",
                          s->path ? s->path : "");
            continue;
        }
        if (!llem_utf8_valid(text, strlen(text)) || !llem_utf8_valid(s->path, strlen(s->path))) {
            llem__diag_at(c->diags, origin, 0, 0, "the value of %s is not valid UTF-8",
                          llem_utf8_valid(s->path, strlen(s->path)) ? s->path : "a setting");
            continue;
        }
        v = s->literal ? llem_string(c->a, text) : llem_yaml_scalar(c->a, text);
        if (!v) {
            llem__diag_at(c->diags, origin, 0, 0, "the value of %s cannot be read: %s", s->path,
                          text);
            continue;
        }
        if (!c->a->oom)
            llem__mark(v, LLEM_FROM_FLAG, origin);
        if (which == LLEM__AXES) {
            axis = llem_get(layer, s->path);
            if (!axis)
                axis = llem_set(c->a, layer, s->path, llem_list(c->a));
            if (!c->a->oom)
                axis->file = origin;
            llem_append(c->a, axis, v);
            continue;
        }
        if (!llem_set_at(c->a, layer, s->path, v) && !c->a->oom)
            llem__diag_at(c->diags, origin, 0, 0,
                          "%s cannot be set, because a section around it has been given a value",
                          s->path);
    }
    return layer;
}

/* The highest layer that names an engine decides which engine hints are about. */
static const char *engine_named(struct llem_value *const *layers, size_t count)
{
    const char *engine = "transformers";

    for (size_t i = 0; i < count; i++)
        engine = llem_str_at(layers[i], "engine", engine);
    return engine;
}

/* Maps made on the way to a flag's or a variable's value stand where that value stands. */
const char *llem__mark_sections(struct llem_value *v)
{
    if (v->kind != LLEM_MAP)
        return v->file;
    for (size_t i = 0; i < v->count; i++) {
        const char *file = llem__mark_sections(v->items[i]);
        if (!v->file)
            v->file = file;
    }
    return v->file;
}

/* ---- completing --------------------------------------------------------------------------- */

void llem__apply_preset(struct llem__check *c, struct llem_value *tree)
{
    const char *name = llem_str_at(tree, "sampling_preset", NULL), *json, *engine, *path;
    const struct llem_value *origin = llem_get(tree, "sampling_preset");
    struct llem_value *values = NULL, *section, *sampling;

    json = name ? llem__preset(name) : NULL;
    if (!json)
        return;
    if (llem_json_parse(c->a, &values, json, strlen(json), "preset", NULL) < 0) {
        c->a->oom = true;
        return;
    }
    engine = llem_str_at(tree, "engine", "transformers");
    section = llem_get(tree, engine);
    if (llem_is_null(section))
        section = llem_set(c->a, tree, engine, llem_map(c->a));
    sampling = llem_get(section, "sampling");
    if (llem_is_null(sampling))
        sampling = llem_set(c->a, section, "sampling", llem_map(c->a));
    for (size_t i = 0; values->kind == LLEM_MAP && i < values->count; i++) {
        const struct llem_row *row;
        const struct llem_value *own_value = llem_get(sampling, values->keys[i]);
        path = llem_arena_printf(c->a, "%s.sampling.%s", engine, values->keys[i]);
        if (!path || c->a->oom || (own_value && own_value->source != LLEM_FROM_DEFAULT))
            continue;
        row = llem_schema_find(c->schema, path);
        const struct llem_row *own = llem_schema_find(c->schema, engine);
        if (!row && own && !(own->flags & LLEM_ROW_OPEN)) {
            llem__diag(c->diags, origin,
                       "sampling_preset: %s sets %s, which the engine %s does not have", name,
                       values->keys[i], engine);
            continue;
        }
        struct llem_value *v = values->items[i];
        v->source = LLEM_FROM_PRESET;
        v->file = llem_arena_printf(c->a, "sampling_preset: %s", name);
        llem_set(c->a, sampling, values->keys[i], v);
    }
}

/* The complete section: every row, given or default; then what an open section holds besides. */
static struct llem_value *complete(struct llem_arena *a, const struct llem__node *section,
                                   const struct llem_value *given, unsigned study)
{
    struct llem_value *out = llem_map(a);

    if (given && !a->oom) {
        out->source = given->source;
        out->file = given->file;
        out->line = given->line;
        out->column = given->column;
    }
    for (size_t i = 0; i < section->count; i++) {
        const struct llem__node *n = section->children[i];
        const struct llem_row *row = n->row;
        const struct llem_value *v;
        struct llem_value *item;
        if ((row->flags & LLEM_ROW_STUDY) != study || row->type == LLEM_TYPE_ANY)
            continue;
        v = llem_get(given, n->key);
        if (v && v->source == LLEM_TAG_UNSET)
            v = NULL;
        if (row->type != LLEM_TYPE_SECTION || (llem_is_null(v) && (row->flags & LLEM_ROW_OPTIONAL)))
            item = v ? llem_copy(a, v) : n->def;
        else
            item = complete(a, n, v, study);
        llem__add(a, out, n->key, item);
    }
    for (size_t i = 0; section->row && given && given->kind == LLEM_MAP && i < given->count; i++) {
        if (!llem_get(out, given->keys[i]) && given->items[i]->source != LLEM_TAG_UNSET)
            llem_add(a, out, given->keys[i], llem_copy(a, given->items[i]));
    }
    return out;
}

struct llem_value *llem__complete(const struct llem_schema *s, struct llem_arena *a,
                                  const char *path, const struct llem_value *given, unsigned study)
{
    const struct llem__node *n = *path ? llem__schema_node(s, path) : s->top;

    return n ? complete(a, n, given, study) : llem_map(a);
}

const char *llem__absolute_dir(struct llem_arena *a, const char *cwd, const char *path)
{
    const char *dir = llem_path_dirname(a, path);
    const char *full = dir ? llem_path_join(a, cwd, dir) : NULL;
    char real[PATH_MAX];

    if (full && realpath(full, real))
        full = llem_arena_strdup(a, real);
    return full;
}

/* Was the model given and refused already? One complaint about it is enough. */
static bool model_was_given(const struct llem_setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (settings[i].path && strcmp(settings[i].path, "task.model") == 0)
            return true;
    return false;
}

void llem__check_model(struct llem__check *c, const struct llem_value *tree, const char *path)
{
    size_t before = c->diags->count;

    static const char examples[] =
        "llem run examples/quickstart.yaml, or llem run -m gpt2 -e cpu -d builtin";

    if (!llem_is_null(llem_at(tree, "task.model")))
        return;
    for (const struct llem__bad *b = c->bad; b; b = b->next) {
        if (strcmp(b->path, "task.model") == 0 || strcmp(b->path, "task") == 0)
            return;
    }
    if (path)
        llem__diag_at(c->diags, path, 1, 1,
                      "task.model is missing: the hub id or the directory of the model to run");
    else
        llem__diag_at(
            c->diags, NULL, 0, 0,
            "there is nothing to run: name a configuration file or a model, for example %s",
            examples);
    if (c->diags->count > before)
        c->diags->items[before].path = "task.model";
}

llem_errcode llem_config_load_with(llem_config **out, llem_ctx *ctx,
                                   const struct llem_schema *schema,
                                   const struct llem_config_source *source,
                                   const llem_setting *settings, size_t count, llem_error *err)
{
    enum { USER, WEAK, FILE_, ENVIRONMENT, SETTINGS, LAYERS };
    struct llem_value *layers[LAYERS], *axes, *merged = NULL;
    const char *path = source->path;
    struct llem__diags diags = { 0 };
    struct llem__check check = { .schema = schema, .ctx = ctx };
    const struct llem__keys *file_keys;
    struct llem_rules rules;
    llem_config *c = calloc(1, sizeof(*c));
    llem_errcode rc;
    char *cwd = NULL;

    llem__keep_errors(ctx, NULL);
    if (!c)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");
    check.a = diags.a = &c->arena;
    check.diags = &diags;
    c->schema = schema;
    cwd = getcwd(NULL, 0);
    c->cwd = llem_arena_strdup(&c->arena, cwd ? cwd : "/");
    c->path = llem_arena_strdup(&c->arena, path);
    c->dir = path ? llem__absolute_dir(&c->arena, c->cwd, path) : NULL;

    rc = llem_variables_check(ctx, err);
    if (rc < 0)
        goto done;
    layers[USER] = llem__user_layer(ctx, &c->arena, &rc, err);
    if (rc < 0)
        goto done;
    layers[FILE_] = llem_map(&c->arena);
    if (path && !experiment_layer(&check, source, &layers[FILE_]))
        goto report;
    layers[ENVIRONMENT] = llem__variables_layer(ctx, &c->arena, &diags, false);
    layers[WEAK] = llem__settings_layer(&check, settings, count, LLEM__WEAK);
    layers[SETTINGS] = llem__settings_layer(&check, settings, count, LLEM__STRONG);
    axes = llem__settings_layer(&check, settings, count, LLEM__AXES);
    for (size_t i = 0; i < axes->count; i++)
        llem__diag_at(&diags, axes->items[i]->file, 0, 0,
                      "several values of %s make a study of several experiments, where one is "
                      "wanted; give one value",
                      axes->keys[i]);
    check.engine = engine_named(layers, LAYERS);

    file_keys = check.keys;
    merged = llem_map(&c->arena);
    for (size_t i = 0; i < LAYERS; i++) {
        check.keys = i == FILE_ ? file_keys : NULL;
        if (i != FILE_ && !c->arena.oom)
            (void)llem__mark_sections(layers[i]);
        layers[i] = llem__check_layer(&check, layers[i]);
        merged = llem_merge(&c->arena, merged, layers[i]);
    }
    check.keys = NULL;
    if (c->arena.oom)
        goto report;
    llem__apply_preset(&check, merged);
    c->tree = llem__complete(schema, &c->arena, "", merged, 0);
    c->output = llem__complete(schema, &c->arena, "", merged, LLEM_ROW_STUDY);
    if (c->arena.oom)
        goto report;
    if (!model_was_given(settings, count))
        llem__check_model(&check, c->tree, path);
    llem__check_cross(&check, c->tree);
    rc = llem_rules_load(&rules, &c->arena, schema, llem_config_engine(c), err);
    if (rc < 0)
        goto done;
    llem__check_rules(&check, &rules, c->tree);

report:
    if (merged)
        llem__diags_locate(&diags, merged);
    if (c->tree)
        llem__diags_locate(&diags, c->tree);
    rc = llem__diags_error(&diags, err);
    if (rc < 0)
        llem__keep_errors(ctx, &diags);
    else if (!c->arena.oom)
        llem_config_hash(schema, c->tree, c->hash);
    /* What was found wrong without memory may be wrong itself. */
    if (c->arena.oom || (rc == LLEM_OK && !c->hash[0])) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");
        llem__keep_errors(ctx, NULL);
    }

done:
    free(cwd);
    if (rc < 0) {
        if (err && !llem_config_errors(ctx)[0]) {
            struct llem_arena a = LLEM_ARENA_INIT;
            struct llem__diags d = { .a = &a };
            add_error(&d, err);
            llem__keep_errors(ctx, &d);
            llem_arena_done(&a);
        }
        llem_config_free(c);
        return rc;
    }
    *out = c;
    return LLEM_OK;
}

void llem_config_free(llem_config *c)
{
    if (!c)
        return;
    llem_arena_done(&c->arena);
    free(c);
}

/* ---- reading ------------------------------------------------------------------------------ */

const char *llem_config_engine(const struct llem_config *c)
{
    return llem_str_at(c->tree, "engine", "transformers");
}

const char *llem_config_hash_hex(const llem_config *c)
{
    return c->hash;
}

static const struct llem_value *setting_at(const struct llem_config *c, const char *path)
{
    const struct llem_value *v = llem_at(c->tree, path);

    return v ? v : llem_at(c->output, path);
}

static char *dump(const struct llem_value *v, enum llem_json_style style)
{
    struct llem_buf b = LLEM_BUF_INIT(64 << 20);
    char *text;

    llem_json_dump(&b, v, style);
    text = llem_buf_take(&b);
    llem_buf_done(&b);
    return text;
}

char *llem_config_json(const llem_config *c)
{
    return dump(c->tree, LLEM_JSON_PRETTY);
}

char *llem_config_get(const llem_config *c, const char *path)
{
    const struct llem_value *v = setting_at(c, path);

    return v ? dump(v, LLEM_JSON_COMPACT) : NULL;
}

char *llem_user_setting(llem_ctx *ctx, const char *path)
{
    const struct llem_value *user = NULL, *v = NULL;

    if (llem_user_config(ctx, &user, NULL) == LLEM_OK)
        v = llem_at(user, path);
    return v ? dump(v, LLEM_JSON_COMPACT) : NULL;
}

char *llem_config_origin(const llem_config *c, const char *path)
{
    const struct llem_value *v = setting_at(c, path);
    struct llem_buf b = LLEM_BUF_INIT(8192);
    char *text;

    if (!v)
        return NULL;
    if (v->file && v->line)
        llem_buf_addf(&b, "%s:%d:%d", v->file, v->line, v->column);
    else
        llem_buf_adds(&b, v->file ? v->file : "default");
    text = llem_buf_take(&b);
    llem_buf_done(&b);
    return text;
}

static bool is_name(const struct llem_row *row, const char *text)
{
    size_t len = strlen(text);

    for (const char *p = row->choices; p && *p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
        if (strncmp(p, text, len) == 0 && (p[len] == '|' || p[len] == '\0'))
            return true;
    }
    return false;
}

const char *llem_config_path(const struct llem_config *c, struct llem_arena *a, const char *path)
{
    const struct llem_row *row = llem_schema_find(c->schema, path);
    const struct llem_value *v = setting_at(c, path);
    const char *base, *full;
    char real[PATH_MAX];

    if (!row || !v || v->kind != LLEM_STRING || !v->s[0])
        return NULL;
    if (!(row->flags & LLEM_ROW_PATH) || is_name(row, v->s))
        return v->s;
    /* The user's configuration says where results go from wherever one stands. */
    base =
        (v->source == LLEM_FROM_FILE || v->source == LLEM_FROM_SWEEP) && c->dir ? c->dir : c->cwd;
    full = llem_path_join(a, base, v->s);
    if (!full)
        return v->s;
    if (realpath(full, real))
        return llem_arena_strdup(a, real);
    if ((row->flags & LLEM_ROW_IS_PATH) || v->s[0] == '/' || llem_starts_with(v->s, "./") ||
        llem_starts_with(v->s, "../") || v->s[0] == '~')
        return full;
    return v->s;
}

/* ---- provenance --------------------------------------------------------------------------- */

static const char *source_name(uint8_t source)
{
    switch ((enum llem_source)source) {
    case LLEM_FROM_PRESET:
        return "preset";
    case LLEM_FROM_USER_CONFIG:
        return "user_config";
    case LLEM_FROM_FILE:
        return "yaml";
    case LLEM_FROM_ENVIRONMENT:
        return "environment";
    case LLEM_FROM_FLAG:
        return "cli_flag";
    case LLEM_FROM_SWEEP:
        return "sweep";
    case LLEM_FROM_NONE:
    case LLEM_FROM_DEFAULT:
    case LLEM_TAG_UNSET:
    case LLEM_TAG_LITERAL:
        break;
    }
    return "default";
}

struct walk {
    const struct llem_schema *schema;
    struct llem_arena *a;
    void (*leaf)(struct walk *w, const char *path, const struct llem_value *v);
    struct llem_value *out;
};

/* Every setting below a section: rows as a whole, extra keys of open sections too. */
static void walk(struct walk *w, const char *path, const struct llem_value *map)
{
    for (size_t i = 0; map->kind == LLEM_MAP && i < map->count; i++) {
        const char *p = *path ? llem_arena_printf(w->a, "%s.%s", path, map->keys[i])
                              : llem_arena_strdup(w->a, map->keys[i]);
        const struct llem_row *row = p ? llem_schema_find(w->schema, p) : NULL;
        if (!p)
            return;
        if (row && row->type == LLEM_TYPE_SECTION && map->items[i]->kind == LLEM_MAP)
            walk(w, p, map->items[i]);
        else
            w->leaf(w, p, map->items[i]);
    }
}

static void resolution_leaf(struct walk *w, const char *path, const struct llem_value *v)
{
    const struct llem_row *row = llem_schema_find(w->schema, path);
    struct llem_value *entry, *def = NULL;

    if (v->source == LLEM_FROM_DEFAULT || v->source == LLEM_FROM_NONE)
        return;
    if (row)
        def = llem__row_default(row, w->a);
    if (def && llem_equal(def, v))
        return;
    entry = llem_map(w->a);
    llem_set(w->a, entry, "effective", llem_copy(w->a, v));
    llem_set(w->a, entry, "source", llem_string(w->a, source_name(v->source)));
    if (row && (row->def || (row->flags & LLEM_ROW_NULLABLE)))
        llem_set(w->a, entry, "default", def);
    llem_set(w->a, w->out, path, entry);
}

static int compare_keys(const void *x, const void *y)
{
    const struct llem_value *const *a = x, *const *b = y;

    return strcmp((*a)->s, (*b)->s);
}

/* A copy of the map in the order of its keys. */
static struct llem_value *sorted(struct llem_arena *a, const struct llem_value *map)
{
    struct llem_value *out = llem_map(a);
    struct llem_value **names = llem_arena_calloc(a, map->count + 1, sizeof(struct llem_value *));

    if (!names)
        return out;
    for (size_t i = 0; i < map->count; i++)
        names[i] = llem_string(a, map->keys[i]);
    if (a->oom)
        return out;
    qsort(names, map->count, sizeof(struct llem_value *), compare_keys);
    for (size_t i = 0; i < map->count; i++)
        llem_set(a, out, names[i]->s, llem_get(map, names[i]->s));
    return out;
}

struct llem_value *llem_config_resolution(const struct llem_config *c, struct llem_arena *a)
{
    struct llem_value *out = llem_map(a);
    struct walk w = { .schema = c->schema, .a = a, .leaf = resolution_leaf, .out = llem_map(a) };

    walk(&w, "", c->tree);
    walk(&w, "", c->output);
    llem_set(a, out, "schema_version", llem_string(a, "1.0"));
    llem_set(a, out, "overrides", a->oom ? w.out : sorted(a, w.out));
    return out;
}

static void provenance_leaf(struct walk *w, const char *path, const struct llem_value *v)
{
    struct llem_value *entry;

    if (v->source == LLEM_FROM_DEFAULT || v->source == LLEM_FROM_NONE)
        return;
    entry = llem_map(w->a);
    llem_set(w->a, entry, "source", llem_string(w->a, source_name(v->source)));
    llem_set(w->a, entry, "file", llem_string(w->a, v->file));
    llem_set(w->a, entry, "line", v->line ? llem_int(w->a, v->line) : llem_null(w->a));
    llem_set(w->a, entry, "column", v->line ? llem_int(w->a, v->column) : llem_null(w->a));
    llem_set(w->a, w->out, path, entry);
}

struct llem_value *llem_config_provenance(const struct llem_config *c, struct llem_arena *a)
{
    struct walk w = { .schema = c->schema, .a = a, .leaf = provenance_leaf, .out = llem_map(a) };

    walk(&w, "", c->tree);
    walk(&w, "", c->output);
    return w.out;
}
