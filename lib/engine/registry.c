/* SPDX-License-Identifier: MIT
 *
 * Engines: the built-in tables, and folders with an engine.yaml in LLEM_PLUGIN_PATH, in the user's
 * data directory and in the installation. The first folder of a name wins. A folder that cannot be
 * read is a warning with its place; the others still work.
 */
#include "lib/engine/registry.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/worker.h"

enum { MAX_ENGINES = 64 };

/* In order of preference. Their rows are data like anybody's: engines/<name>/engine.yaml. */
static const struct llem_engine_class *const builtin[] = { &llem_engine_cpu, &llem_engine_test };

static const char *const yaml_keys[] = { "name",     "help",   "command",   "capabilities",
                                         "options",  "hidden", "libraries", "packages",
                                         "timeouts", "gpus",   NULL };

struct engines {
    struct llem_arena arena;
    struct llem_engine_info list[MAX_ENGINES];
    size_t count;
};

static void free_engines(void *data)
{
    struct engines *e = data;

    if (!e)
        return;
    llem_arena_done(&e->arena);
    free(e);
}

const struct llem_engine_class *llem_engine_builtin(const char *name)
{
    for (size_t i = 0; i < LLEM_COUNT(builtin); i++) {
        if (strcmp(builtin[i]->name, name) == 0 && builtin[i]->create)
            return builtin[i];
    }
    return NULL;
}

static bool valid_name(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= 40 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool is_setting(const char *name)
{
    for (const struct llem_row *r = llem_shared_rows; r->path; r++) {
        if (strcmp(r->path, name) == 0)
            return !(r->flags & LLEM_ROW_OPEN);
    }
    return false;
}

static void say_missing(struct engines *e, struct llem_engine_info *info)
{
    if (info->table)
        return;
    info->missing = llem_arena_printf(
        &e->arena, "the engine %s is known by its options, but has no worker in this build",
        info->name);
    info->remedy = "use -e cpu (engine: cpu), which runs without anything else";
}

/* What a worker is started with must be lists of text, the times it may take numbers. */
static llem_errcode check_lists(const struct llem_value *yaml, const char *path, llem_error *err)
{
    static const char *const lists[] = { "command", "packages" };
    const struct llem_value *v = llem_get(yaml, "timeouts");

    bool wrong = v && v->kind != LLEM_MAP;

    for (size_t i = 0; v && !wrong && i < v->count; i++)
        wrong = !(llem_real_at(v, v->keys[i], -1) >= 0);
    if (wrong)
        return llem_fail_at(err, LLEM_ECONFIG, path, v->line, v->column,
                            "timeouts must be a map of methods to seconds");
    for (size_t k = 0; k < LLEM_COUNT(lists); k++) {
        bool good = true;

        v = llem_get(yaml, lists[k]);
        if (!v)
            continue;
        good = v->kind == LLEM_LIST && v->count > 0;
        for (size_t i = 0; good && i < v->count; i++)
            good = v->items[i]->kind == LLEM_STRING && v->items[i]->s[0];
        if (!good)
            return llem_fail_at(err, LLEM_ECONFIG, path, v->line, v->column,
                                "%s must be a list of texts", lists[k]);
    }
    return LLEM_OK;
}

/* Which GPUs an experiment takes: "none", or settings by what they mean. */
static llem_errcode check_gpus(const struct llem_value *yaml, const char *path, llem_error *err)
{
    static const char *const keys[] = { "product", "all", "device_map", "device_map_variable",
                                        "uuids",   NULL };
    const struct llem_value *v = llem_get(yaml, "gpus");
    bool good = !v || v->kind == LLEM_MAP || strcmp(llem_str_at(yaml, "gpus", ""), "none") == 0;

    for (size_t i = 0; good && v && v->kind == LLEM_MAP && i < v->count; i++) {
        const struct llem_value *item = v->items[i];
        size_t k = 0;

        while (keys[k] && strcmp(keys[k], v->keys[i]) != 0)
            k++;
        good = keys[k] && item->kind == (k == 0 ? LLEM_LIST : LLEM_STRING);
    }
    return good ? LLEM_OK
                : llem_fail_at(err, LLEM_ECONFIG, path, v->line, v->column,
                               "gpus must be none, or a map with product (a list of settings), "
                               "all, device_map, uuids (settings), device_map_variable");
}

static llem_errcode read_engine(llem_ctx *ctx, struct engines *e, const char *dir, llem_error *err)
{
    struct llem_engine_info *info = &e->list[e->count];
    struct llem_value *yaml = NULL;
    const struct llem_value *v;
    const char *path = llem_path_join(&e->arena, dir, "engine.yaml");
    llem_errcode rc;

    if (!path)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the engines");
    *info = (struct llem_engine_info){ .dir = llem_arena_strdup(&e->arena, dir) };
    rc = llem_yaml_load(&e->arena, &yaml, path, err);
    if (rc < 0)
        return rc;
    if (yaml->kind != LLEM_MAP)
        return llem_fail_at(err, LLEM_ECONFIG, path, 1, 1,
                            "an engine.yaml must be a map with name and options");
    for (size_t i = 0; i < yaml->count; i++) {
        bool known = false;
        for (size_t k = 0; yaml_keys[k]; k++)
            known = known || strcmp(yaml_keys[k], yaml->keys[i]) == 0;
        if (!known) {
            const char *near = llem_nearest(yaml->keys[i], yaml_keys);
            return llem_fail_at(err, LLEM_ECONFIG, path, yaml->items[i]->line,
                                yaml->items[i]->column, "unknown key \"%s\"%s%s%s", yaml->keys[i],
                                near ? "; did you mean \"" : "", near ? near : "",
                                near ? "\"?" : "");
        }
    }
    v = llem_get(yaml, "name");
    info->name = llem_str_at(yaml, "name", "");
    if (!valid_name(info->name) || is_setting(info->name))
        return llem_fail_at(err, LLEM_ECONFIG, path, v ? v->line : 1, v ? v->column : 1,
                            "name must be the engine's name: small letters, digits and _, and no "
                            "setting of its own");
    info->rules = llem_path_join(&e->arena, dir, "rules.yaml");
    info->help = llem_str_at(yaml, "help", "");
    info->hidden = llem_bool_at(yaml, "hidden", false);
    info->yaml = yaml;
    info->table = llem_engine_builtin(info->name);
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(e->list[i].name, info->name) == 0) {
            llem_log(ctx, LLEM_LOG_INFO, "engine", "%s is not used: %s comes first", path,
                     e->list[i].dir);
            return LLEM_OK;
        }
    }
    rc = check_gpus(yaml, path, err);
    if (rc < 0)
        return rc;
    rc = llem_rows_from_value(&info->rows, llem_get(yaml, "options"), info->name, &e->arena, err);
    if (rc < 0)
        return rc;
    if (!info->table && !llem_is_null(llem_get(yaml, "command"))) {
        struct llem_engine_class *table = llem_arena_alloc(&e->arena, sizeof(*table));

        rc = check_lists(yaml, path, err);
        if (rc < 0)
            return rc;
        if (table) {
            *table = llem_engine_worker;
            table->name = info->name;
            table->help = info->help;
        }
        info->table = table;
    }
    say_missing(e, info);
    if (e->arena.oom)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the engines");
    e->count++;
    return LLEM_OK;
}

/* One folder of an engine; what is wrong with it is told and does no harm. */
static llem_errcode try_engine(llem_ctx *ctx, struct engines *e, const char *dir, llem_error *err)
{
    llem_error why = { 0 };
    llem_errcode rc;

    if (e->count == MAX_ENGINES) {
        llem_log(ctx, LLEM_LOG_WARNING, "engine", "%s is not used: there are more than %d engines",
                 dir, MAX_ENGINES);
        return LLEM_OK;
    }
    rc = read_engine(ctx, e, dir, &why);
    if (rc == LLEM_ENOMEM)
        return llem_fail(err, rc, "%s", why.msg);
    if (rc < 0 && why.line)
        llem_log(ctx, LLEM_LOG_WARNING, "engine", "%s:%d:%d: %s", why.file, why.line, why.column,
                 why.msg);
    else if (rc < 0)
        llem_log(ctx, LLEM_LOG_WARNING, "engine", "%s: %s", dir, why.msg);
    return LLEM_OK;
}

static int compare_names(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;

    return strcmp(*a, *b);
}

/* Every folder below `dir` that has an engine.yaml, by name; `dir` itself if it has one. */
static llem_errcode scan(llem_ctx *ctx, struct engines *e, const char *dir, llem_error *err)
{
    const char *names[4 * MAX_ENGINES], *path;
    const struct dirent *entry;
    size_t count = 0;
    llem_errcode rc = LLEM_OK;
    DIR *d;

    path = llem_path_join(&e->arena, dir, "engine.yaml");
    if (path && llem_path_exists(path))
        return try_engine(ctx, e, dir, err);
    d = opendir(dir);
    if (!d)
        return errno == ENOMEM ? llem_fail(err, LLEM_ENOMEM, "out of memory for the engines")
                               : LLEM_OK;
    while (count < LLEM_COUNT(names) && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        path = llem_arena_printf(&e->arena, "%s/%s/engine.yaml", dir, entry->d_name);
        if (path && llem_path_exists(path)) {
            names[count] = llem_arena_printf(&e->arena, "%s/%s", dir, entry->d_name);
            count += names[count] != NULL;
        }
    }
    closedir(d);
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count && rc == LLEM_OK; i++)
        rc = try_engine(ctx, e, names[i], err);
    return rc;
}

static llem_errcode scan_all(llem_ctx *ctx, struct engines *e, llem_error *err)
{
    const char *plugins = llem_ctx_variable(ctx, "LLEM_PLUGIN_PATH"), *home, *installed;
    llem_errcode rc = LLEM_OK;

    while (plugins && *plugins && rc == LLEM_OK) {
        size_t len = strcspn(plugins, ":");
        const char *dir = llem_arena_strndup(&e->arena, plugins, len);
        if (dir && *dir && !llem_path_is_dir(dir))
            llem_log(ctx, LLEM_LOG_WARNING, "engine", "LLEM_PLUGIN_PATH: %s is no directory", dir);
        else if (dir && *dir)
            rc = scan(ctx, e, dir, err);
        plugins += len + (plugins[len] == ':');
    }
    home = llem_ctx_variable(ctx, "XDG_DATA_HOME");
    home = home && home[0] == '/' ? home : llem_path_join(&e->arena, NULL, "~/.local/share");
    home = home ? llem_arena_printf(&e->arena, "%s/llem/engines", home) : NULL;
    if (rc == LLEM_OK && home)
        rc = scan(ctx, e, home, err);
    installed = llem_ctx_data_path(ctx, &e->arena, "engines");
    if (rc == LLEM_OK && installed)
        rc = scan(ctx, e, installed, err);
    if (rc == LLEM_OK && !installed)
        llem_log(ctx, LLEM_LOG_WARNING, "engine",
                 "the descriptions of the engines were not found; LLEM_DATA_DIR names their place");
    if (rc == LLEM_OK && e->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the engines");
    return rc;
}

llem_errcode llem_engines(llem_ctx *ctx, const struct llem_engine_info **out, size_t *count,
                          llem_error *err)
{
    struct engines *e = ctx->slots[LLEM_SLOT_ENGINES].data;
    llem_errcode rc;

    if (!e) {
        e = calloc(1, sizeof(*e));
        if (!e)
            return llem_fail(err, LLEM_ENOMEM, "out of memory for the engines");
        rc = scan_all(ctx, e, err);
        if (rc < 0) {
            free_engines(e);
            return rc;
        }
        ctx->slots[LLEM_SLOT_ENGINES].data = e;
        ctx->slots[LLEM_SLOT_ENGINES].free = free_engines;
    }
    *out = e->list;
    *count = e->count;
    return LLEM_OK;
}

llem_errcode llem_engine_find(const struct llem_engine_info **out, llem_ctx *ctx, const char *name,
                              llem_error *err)
{
    const struct llem_engine_info *list;
    size_t count;
    llem_errcode rc = llem_engines(ctx, &list, &count, err);

    if (rc < 0)
        return rc;
    *out = NULL;
    for (size_t i = 0; i < count && !*out; i++) {
        if (strcmp(list[i].name, name) == 0)
            *out = &list[i];
    }
    return LLEM_OK;
}

static void free_schema(void *data)
{
    llem_schema_free(data);
}

llem_errcode llem_ctx_schema(llem_ctx *ctx, const struct llem_schema **out, llem_error *err)
{
    struct llem_schema *schema = ctx->slots[LLEM_SLOT_SCHEMA].data;
    const struct llem_engine_info *list;
    struct llem_engine_rows rows[MAX_ENGINES];
    size_t count;
    llem_errcode rc;

    if (!schema) {
        rc = llem_engines(ctx, &list, &count, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            rows[i] = (struct llem_engine_rows){ list[i].name, list[i].rows, list[i].hidden,
                                                 list[i].rules };
        rc = llem_schema_new(&schema, rows, count, err);
        if (rc < 0)
            return rc;
        ctx->slots[LLEM_SLOT_SCHEMA].data = schema;
        ctx->slots[LLEM_SLOT_SCHEMA].free = free_schema;
    }
    *out = schema;
    return LLEM_OK;
}

/* ---- the public functions that need the registered engines -------------------------------- */

llem_errcode llem_config_load(llem_config **out, llem_ctx *ctx, const char *path,
                              const llem_setting *settings, size_t count, llem_error *err)
{
    const struct llem_config_source source = { .path = path };
    const struct llem_schema *schema;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);

    return rc < 0 ? rc : llem_config_load_with(out, ctx, schema, &source, settings, count, err);
}

llem_errcode llem_config_from_json(llem_config **out, llem_ctx *ctx, const char *text, size_t len,
                                   const char *name, const llem_setting *settings, size_t count,
                                   llem_error *err)
{
    const struct llem_config_source source = { .path = name, .text = text, .len = len };
    const struct llem_schema *schema;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);

    return rc < 0 ? rc : llem_config_load_with(out, ctx, schema, &source, settings, count, err);
}

llem_errcode llem_migrate(char **out, llem_ctx *ctx, const char *path, const char *to,
                          llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(64 << 20);
    const struct llem_schema *schema;
    struct llem_value *report = NULL;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);
    char *text;

    if (rc == LLEM_OK)
        rc = llem_migrate_with(&report, &a, schema, path, to, err);
    if (rc == LLEM_OK) {
        llem_json_dump(&b, report, LLEM_JSON_PRETTY);
        text = a.oom ? NULL : llem_buf_take(&b);
        if (text)
            *out = text;
        else
            rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");
    }
    llem_buf_done(&b);
    llem_arena_done(&a);
    return rc;
}

llem_errcode llem_config_template(char **out, llem_ctx *ctx, const char *const *engines,
                                  size_t count, const char *model, int grid, llem_error *err)
{
    struct llem_buf b = LLEM_BUF_INIT(16 << 20);
    const struct llem_schema *schema;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);

    if (rc == LLEM_OK)
        rc = llem_template_write(&b, schema, engines, count, model, grid != 0, err);
    if (rc == LLEM_OK && !(*out = llem_buf_take(&b)))
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study's file");
    llem_buf_done(&b);
    return rc;
}

llem_errcode llem_config_schema(char **out, llem_ctx *ctx, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(16 << 20);
    const struct llem_schema *schema;
    char *text = NULL;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);

    if (rc == LLEM_OK) {
        llem_json_dump(&b, llem_schema_json(schema, &a), LLEM_JSON_PRETTY);
        llem_buf_addc(&b, '\n');
        text = a.oom ? NULL : llem_buf_take(&b);
        if (text)
            *out = text;
        else
            rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the schema");
    }
    llem_buf_done(&b);
    llem_arena_done(&a);
    return rc;
}
