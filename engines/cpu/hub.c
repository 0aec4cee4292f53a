/* SPDX-License-Identifier: MIT
 *
 * Where a model is: a directory, or a hub id whose files the Hugging Face tools have put into their
 * cache (models--ORG--NAME/refs/main names the directory below snapshots/). Nothing is downloaded.
 */
#include "engines/cpu/cpu.h"

#include <string.h>

#include "lib/base/file.h"

/* Where the Hugging Face tools keep the cache, by their own variables. */
static const char *cache_dir(struct llem_arena *a, llem_ctx *ctx)
{
    const char *dir = llem_ctx_variable(ctx, "HF_HUB_CACHE");

    if (dir)
        return dir;
    dir = llem_ctx_variable(ctx, "HF_HOME");
    return llem_path_join(a, dir ? dir : llem_path_join(a, NULL, "~/.cache/huggingface"), "hub");
}

/* ORG/NAME or NAME, in the characters that hub ids have. */
static bool is_hub_id(const char *model)
{
    size_t slashes = 0, i;

    for (i = 0; model[i]; i++) {
        slashes += model[i] == '/';
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./", model[i]))
            return false;
    }
    return i > 0 && slashes <= 1 && model[0] != '.' && model[0] != '/' && model[i - 1] != '/';
}

static const char *snapshot(struct llem_arena *a, const char *cache, const char *model,
                            const char **revision)
{
    struct llem_buf text;
    const char *slash = strchr(model, '/'), *base, *dir = NULL;

    llem_buf_init(&text, 256);
    base = slash ? llem_arena_printf(a, "%s/models--%.*s--%s", cache, (int)(slash - model), model,
                                     slash + 1)
                 : llem_arena_printf(a, "%s/models--%s", cache, model);
    if (base &&
        llem_file_read(&text, llem_arena_printf(a, "%s/refs/main", base), NULL) == LLEM_OK) {
        text.data[strcspn(text.data, " \r\n")] = '\0';
        if (text.data[0] && text.data[0] != '.' && !strchr(text.data, '/')) {
            *revision = llem_arena_strdup(a, text.data);
            dir = llem_arena_printf(a, "%s/snapshots/%s", base, text.data);
        }
    }
    llem_buf_done(&text);
    return dir && llem_path_is_dir(dir) ? dir : NULL;
}

llem_errcode cpu_find_model(struct llem_arena *a, llem_ctx *ctx, const char *model,
                            const char **dir, const char **revision, llem_error *err)
{
    const char *cache, *found = NULL;

    *revision = NULL;
    if (llem_path_is_dir(model)) {
        *dir = llem_arena_strdup(a, model);
        return *dir ? LLEM_OK : llem_fail(err, LLEM_ENOMEM, "no memory to open '%s'", model);
    }
    cache = cache_dir(a, ctx);
    if (is_hub_id(model) && cache)
        found = snapshot(a, cache, model, revision);
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "no memory to open '%s'", model);
    if (!found && llem_path_exists(model)) {
        llem_fail(err, LLEM_ENOTFOUND, "the model '%s' is a file, not a directory", model);
        return llem_hint(err, "give the directory that holds config.json, the weights and "
                              "tokenizer.json");
    }
    if (!found) {
        llem_fail(
            err, LLEM_ENOTFOUND,
            "there is no model '%s': no such directory, and not in the Hugging Face cache '%s'",
            model, cache);
        return llem_hint(err,
                         "give a directory with config.json, or fetch it first: hf download %s",
                         is_hub_id(model) ? model : "ORG/NAME");
    }
    *dir = found;
    return LLEM_OK;
}
