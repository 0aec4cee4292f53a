/* SPDX-License-Identifier: MIT
 *
 * What this machine has, for `llem config`: engines and sensors with why each is usable or not, the
 * user's configuration with its sources, the variables in force. Starts nothing but the
 * interpreters of engines in Python, to ask what packages they have, and opens nothing for good.
 */
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/registry.h"
#include "lib/engine/worker.h"
#include "lib/sampler/sampler.h"
#include "lib/study/study.h"

/* Variables that put something else in the place of hardware. */
static const char *const fakes[] = { "LLEM_NVML_LIBRARY", "LLEM_SYSFS" };

static struct llem_value *or_null(struct llem_arena *a, const char *s)
{
    return s && *s ? llem_string(a, s) : llem_null(a);
}

/* The value after "key ... :" in a file like /proc/cpuinfo. */
static struct llem_value *proc_value(struct llem_arena *a, const char *path, const char *key)
{
    struct llem_buf b = LLEM_BUF_INIT(8 << 20);
    struct llem_value *v = llem_null(a);
    const char *at;

    if (llem_file_read(&b, path, NULL) == LLEM_OK) {
        for (at = strstr(b.data, key); at; at = strstr(at + 1, key)) {
            const char *value = at + strcspn(at, ":\n");

            if ((at != b.data && at[-1] != '\n') || *value != ':')
                continue;
            value += 1 + strspn(value + 1, " \t");
            v = llem_stringn(a, value, strcspn(value, "\n"));
            break;
        }
    }
    llem_buf_done(&b);
    return v;
}

static struct llem_value *machine(struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);
    struct utsname u;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    llem_set(a, v, "cpu", proc_value(a, "/proc/cpuinfo", "model name"));
    llem_set(a, v, "cpus", llem_int(a, sysconf(_SC_NPROCESSORS_ONLN)));
    llem_set(a, v, "memory",
             pages > 0 ? llem_stringf(a, "%.1f GiB", (double)pages * (double)size / (1 << 30))
                       : llem_null(a));
    llem_set(a, v, "system",
             uname(&u) == 0 ? llem_stringf(a, "%s %s %s", u.sysname, u.release, u.machine)
                            : llem_null(a));
    return v;
}

static llem_errcode engines(llem_ctx *ctx, struct llem_arena *a, struct llem_value **out,
                            llem_error *err)
{
    struct llem_value *list = llem_list(a);
    const struct llem_engine_info *info;
    size_t count;
    llem_errcode rc = llem_engines(ctx, &info, &count, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct llem_value *v = llem_map(a);
        const char *why = info[i].missing, *remedy = info[i].remedy;
        llem_error lacks = { 0 };
        bool usable;

        if (info[i].hidden)
            continue;
        if (!why && !llem_engine_builtin(info[i].name) &&
            llem_worker_usable(ctx, &info[i], &lacks) < 0) {
            why = lacks.msg;
            remedy = lacks.hint;
        }
        usable = !why && info[i].table;
        llem_set(a, v, "name", llem_string(a, info[i].name));
        llem_set(a, v, "usable", llem_bool(a, usable));
        llem_set(a, v, "text", llem_string(a, usable ? info[i].help : why));
        llem_set(a, v, "remedy", or_null(a, remedy));
        llem_set(a, v, "detail", or_null(a, info[i].dir));
        llem_append(a, list, v);
    }
    *out = list;
    return LLEM_OK;
}

static struct llem_value *sensors(llem_ctx *ctx, struct llem_arena *a)
{
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; llem_samplers[i]; i++) {
        struct llem_value *v = llem_map(a);
        struct llem_probe probe;

        memset(&probe, 0, sizeof(probe));
        llem_samplers[i]->probe(ctx, &probe);
        llem_set(a, v, "name", llem_string(a, llem_samplers[i]->name));
        llem_set(a, v, "usable", llem_bool(a, probe.usable));
        llem_set(a, v, "quality", llem_string(a, llem_samplers[i]->quality));
        llem_set(a, v, "help", llem_string(a, llem_samplers[i]->help));
        llem_set(a, v, "reason", or_null(a, probe.reason));
        llem_set(a, v, "text", or_null(a, probe.text));
        llem_set(a, v, "remedy", or_null(a, probe.remedy));
        llem_set(a, v, "detail", or_null(a, probe.detail));
        llem_set(a, v, "domains", llem_int(a, (int64_t)probe.n_domains));
        llem_append(a, list, v);
    }
    return list;
}

static const char *source_of(const struct llem_value *v)
{
    switch ((enum llem_source)v->source) {
    case LLEM_FROM_USER_CONFIG:
        return "file";
    case LLEM_FROM_ENVIRONMENT:
        return v->file ? v->file : "environment";
    default:
        return "default";
    }
}

static void settings(struct llem_arena *a, struct llem_value *list, const char *prefix,
                     const struct llem_value *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct llem_value *v = map->items[i];
        char *path = llem_arena_printf(a, "%s%s%s", prefix, *prefix ? "." : "", map->keys[i]);
        struct llem_value *item;

        if (!path)
            return;
        if (v->kind == LLEM_MAP && v->count) {
            settings(a, list, path, v);
            continue;
        }
        item = llem_map(a);
        llem_set(a, item, "path", llem_string(a, path));
        llem_set(a, item, "value", llem_copy(a, v));
        llem_set(a, item, "source", llem_string(a, source_of(v)));
        if (v->line > 0)
            llem_set(a, item, "line", llem_int(a, v->line));
        llem_append(a, list, item);
    }
}

/* A broken file is part of the description: it is what the user came to find out. */
static struct llem_value *user_config(llem_ctx *ctx, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a), *list = llem_list(a), *error = llem_null(a);
    const struct llem_value *tree;
    llem_error err = { 0 };

    if (llem_user_config(ctx, &tree, &err) == LLEM_OK)
        settings(a, list, "", tree);
    else if (err.line > 0 && strncmp(err.msg, err.file, strlen(err.file)) != 0)
        error = llem_stringf(a, "%s:%d:%d: %s", err.file, err.line, err.column, err.msg);
    else
        error = llem_string(a, err.msg);
    llem_set(a, v, "path", or_null(a, ctx->user_config_path));
    llem_set(a, v, "found",
             llem_bool(a, ctx->user_config_path && llem_path_exists(ctx->user_config_path)));
    llem_set(a, v, "error", error);
    llem_set(a, v, "settings", list);
    return v;
}

static struct llem_value *variables(llem_ctx *ctx, struct llem_arena *a)
{
    const struct llem_value *all = llem_variables_in_force(ctx, a);
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; i < all->count; i++) {
        struct llem_value *v = llem_map(a);
        bool fake = false;

        for (size_t k = 0; k < LLEM_COUNT(fakes); k++)
            fake = fake || strcmp(fakes[k], all->keys[i]) == 0;
        llem_set(a, v, "name", llem_string(a, all->keys[i]));
        llem_set(a, v, "value", llem_copy(a, all->items[i]));
        llem_set(a, v, "fake", llem_bool(a, fake));
        for (const struct llem_variable *known = llem_variables; known->name; known++)
            if (strcmp(known->name, all->keys[i]) == 0)
                llem_set(a, v, "help", llem_string(a, known->help));
        llem_append(a, list, v);
    }
    return list;
}

llem_errcode llem_describe_machine(char **out, llem_ctx *ctx, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(64 << 20);
    struct llem_value *v = llem_map(&a), *list = NULL, *paths = llem_map(&a);
    llem_errcode rc;
    char *json;

    rc = llem_variables_check(ctx, err);
    if (rc == LLEM_OK)
        rc = engines(ctx, &a, &list, err);
    if (rc < 0)
        goto done;
    llem_set(&a, v, "version", llem_string(&a, llem_version()));
    llem_set(&a, v, "commit", llem_string(&a, llem_commit()));
    llem_set(&a, v, "machine", machine(&a));
    llem_set(&a, v, "engines", list);
    llem_set(&a, v, "sensors", sensors(ctx, &a));
    llem_set(&a, v, "user_config", user_config(ctx, &a));
    llem_set(&a, v, "variables", variables(ctx, &a));
    llem_set(&a, paths, "program", or_null(&a, ctx->program));
    llem_set(&a, paths, "data", or_null(&a, ctx->data_dir));
    llem_set(&a, v, "paths", paths);
    llem_json_dump(&text, v, LLEM_JSON_PRETTY);
    json = a.oom ? NULL : llem_buf_take(&text);
    if (json)
        *out = json;
    else
        rc = llem_fail(err, LLEM_ENOMEM, "cannot describe this machine: out of memory");
done:
    llem_buf_done(&text);
    llem_arena_done(&a);
    return rc;
}
