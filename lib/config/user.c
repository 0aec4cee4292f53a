/* SPDX-License-Identifier: MIT
 *
 * The user's configuration file: defaults of this machine and this person. Read once per context; a
 * missing or empty file is all defaults, unknown keys are errors.
 */
#include "lib/config/internal.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

struct user {
    struct llem_arena arena;
    struct llem_schema *schema;
    struct llem_value *tree;
};

static void free_user(void *data)
{
    struct user *u = data;

    if (!u)
        return;
    llem_schema_free(u->schema);
    llem_arena_done(&u->arena);
    free(u);
}

/* auto, local, local:PATH, docker, docker:IMAGE */
static void check_runner(struct llem__diags *d, const struct llem_value *v, const char *path)
{
    static const char *const plain[] = { "auto", "local", "docker" };
    static const char *const prefixes[] = { "local:", "docker:" };

    if (llem_is_null(v) || v->kind != LLEM_STRING)
        return;
    for (size_t i = 0; i < LLEM_COUNT(plain); i++) {
        if (strcmp(v->s, plain[i]) == 0)
            return;
    }
    for (size_t i = 0; i < LLEM_COUNT(prefixes); i++) {
        if (llem_starts_with(v->s, prefixes[i]) && v->s[strlen(prefixes[i])])
            return;
    }
    if (llem_starts_with(v->s, "singularity"))
        llem__diag(d, v, "%s: singularity is not supported; use docker or local", path);
    else
        llem__diag(d, v,
                   "%s must be auto, local, local:PATH, docker or docker:IMAGE, but is \"%s\"",
                   path, v->s);
}

static struct llem_value *complete(const struct llem_schema *s, struct llem_arena *a,
                                   const char *path, const struct llem_value *given)
{
    struct llem_value *out = llem_map(a);

    for (size_t i = 0; i < s->count; i++) {
        const struct llem_row *row = s->rows[i];
        const struct llem_value *v;
        if (!llem__is_child(path, row))
            continue;
        v = llem_get(given, llem__leaf(row->path));
        llem_set(a, out, llem__leaf(row->path),
                 row->type == LLEM_TYPE_SECTION ? complete(s, a, row->path, v)
                 : v                            ? llem_copy(a, v)
                                                : llem__row_default(row, a));
    }
    return out;
}

/* A section with nothing in it is as good as none here: all settings of the file are optional. */
static void drop_empty_sections(const struct llem_schema *s, struct llem_value *map)
{
    for (size_t i = map->count; i-- > 0;) {
        const struct llem_row *row = llem_schema_find(s, map->keys[i]);
        if (row && row->type == LLEM_TYPE_SECTION && map->items[i]->kind == LLEM_NULL)
            llem_unset(map, map->keys[i]);
    }
}

static llem_errcode load(llem_ctx *ctx, struct user *u, llem_error *err)
{
    struct llem__diags diags = { .a = &u->arena };
    struct llem__keys keys = { 0 };
    struct llem__check check = { .a = &u->arena, .diags = &diags, .ctx = ctx, .keys = &keys };
    struct llem_value *file = NULL, *given, *variables;
    llem_errcode rc;

    rc = llem__schema_of(&u->schema, llem__user_rows, err);
    if (rc < 0)
        return rc;
    check.schema = u->schema;
    given = llem_map(&u->arena);
    if (ctx->user_config_path && llem_path_exists(ctx->user_config_path)) {
        rc = llem__yaml_load(&u->arena, &file, &keys, ctx->user_config_path, err);
        if (rc < 0)
            return rc;
        if (file->kind != LLEM_MAP && file->kind != LLEM_NULL)
            return llem_fail_at(err, LLEM_ECONFIG, ctx->user_config_path, file->line, file->column,
                                "the user's configuration must be a map of settings, but is %s",
                                llem__show(&u->arena, file));
        if (file->kind == LLEM_MAP) {
            llem__mark(file, LLEM_FROM_USER_CONFIG, NULL);
            drop_empty_sections(u->schema, file);
            given = llem__check_layer(&check, file);
        }
    }
    variables = llem__variables_layer(ctx, &u->arena, &diags, true);
    given = llem_merge(&u->arena, given, variables);
    u->tree = complete(u->schema, &u->arena, "", given);
    for (size_t i = 0; i < u->schema->count; i++) {
        const char *path = u->schema->rows[i]->path;
        if (llem_starts_with(path, "runners."))
            check_runner(&diags, llem_at(u->tree, path), path);
    }
    rc = llem__diags_error(&diags, err);
    if (rc < 0)
        llem__keep_errors(ctx, &diags);
    if (rc == LLEM_OK && u->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the user's configuration");
    return rc;
}

llem_errcode llem_user_config(llem_ctx *ctx, const struct llem_value **out, llem_error *err)
{
    struct user *u = ctx->slots[LLEM_SLOT_USER_CONFIG].data;
    llem_errcode rc;

    if (!u) {
        u = calloc(1, sizeof(*u));
        if (!u)
            return llem_fail(err, LLEM_ENOMEM, "out of memory for the user's configuration");
        rc = load(ctx, u, err);
        if (rc < 0) {
            free_user(u);
            return rc;
        }
        ctx->slots[LLEM_SLOT_USER_CONFIG].data = u;
        ctx->slots[LLEM_SLOT_USER_CONFIG].free = free_user;
    }
    *out = u->tree;
    return LLEM_OK;
}
