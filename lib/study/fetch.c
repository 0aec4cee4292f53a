/* SPDX-License-Identifier: MIT
 *
 * llem fetch: what experiment files name that is on the Hugging Face hub, each once.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/config.h"
#include "lib/engine/download.h"
#include "lib/measure/dataset.h"
#include "lib/study/study.h"
#include "llem/fetch.h"

/* Settings that name a model. */
static const char *const models[] = { "task.model", "lora.adapter_id",
                                      "vllm.engine.speculative_config.model" };

struct fetch {
    llem_ctx *ctx;
    const llem_fetch_args *args;
    struct llem_arena arena;
    struct llem_value *wanted; /* "model ORG/NAME@REVISION" to null, in order */
    struct llem_value *there;  /* of each what llem_hub_download says */
};

static void send(const struct fetch *f, llem_event_type type, const char *text, double elapsed_s,
                 double fraction)
{
    const llem_event e = {
        .type = type,
        .step = "fetch",
        .text = text,
        .reason = "",
        .elapsed_s = elapsed_s,
        .fraction = fraction,
        .power_w = NAN,
        .tokens_per_s = NAN,
        .temperature_c = NAN,
    };

    if (f->args->progress)
        f->args->progress(f->args->progress_user, &e);
}

static bool cancelled(void *user)
{
    const struct fetch *f = user;

    send(f, LLEM_EVENT_NONE, "", 0, -1);
    return f->args->cancel && *f->args->cancel;
}

static void on_progress(void *user, const char *text, double fraction)
{
    send(user, LLEM_EVENT_STEP_UPDATE, text, NAN, fraction);
}

/* ---- what is wanted ----------------------------------------------------------------------- */

static void want(struct fetch *f, const char *kind, const char *id)
{
    const char *key = llem_arena_printf(&f->arena, "%s %s", kind, id);

    if (key)
        llem_set(&f->arena, f->wanted, key, llem_null(&f->arena));
}

/* A model that is a directory is there. */
static llem_errcode want_model(struct fetch *f, const char *model, llem_error *err)
{
    struct llem_hub_id id;

    if (llem_path_is_dir(model))
        return LLEM_OK;
    if (llem_hub_parse(&id, &f->arena, model, false)) {
        want(f, "model", model);
        return LLEM_OK;
    }
    llem_fail(err, LLEM_ENOTFOUND,
              "'%s' is neither a directory nor the id of a model on the Hugging Face hub", model);
    return llem_hint(err, LLEM_ENOTFOUND, "an id is ORG/NAME, or ORG/NAME@REVISION");
}

static llem_errcode want_dataset(struct fetch *f, const char *source, bool asked, llem_error *err)
{
    if (strcmp(source, "aienergyscore") == 0) {
        want(f, "dataset", LLEM_DATASET_AIENERGYSCORE);
        return LLEM_OK;
    }
    if (!asked)
        return LLEM_OK;
    llem_fail(err, LLEM_EINVAL, "the dataset '%s' is not fetched from the hub", source);
    return llem_hint(err, LLEM_EINVAL,
                     "aienergyscore is; builtin and random come with llem, and other datasets "
                     "are files");
}

static llem_errcode read_experiment(struct fetch *f, const char *path, llem_error *err)
{
    llem_config *config = NULL;
    llem_errcode rc = llem_config_load(&config, f->ctx, path, NULL, 0, err);

    for (size_t i = 0; i < LLEM_COUNT(models) && rc == LLEM_OK; i++) {
        const char *model = i == 0 ? llem_config_path(config, &f->arena, models[i])
                                   : llem_str_at(config->tree, models[i], NULL);

        if (model)
            rc = want_model(f, model, err);
    }
    if (rc == LLEM_OK)
        rc = want_dataset(f, llem_str_at(config->tree, "task.dataset.source", ""), false, err);
    llem_config_free(config);
    return rc;
}

/* ---- fetching ----------------------------------------------------------------------------- */

static llem_errcode fetch_one(struct fetch *f, const char *kind, const char *text, llem_error *err)
{
    const struct llem_download_hooks hooks = { cancelled, on_progress, f };
    struct llem_arena *a = &f->arena;
    int64_t begin = llem_now_ns(f->ctx->clock);
    struct llem_download got;
    struct llem_hub_id id;
    struct llem_value *v;
    char done[400];
    llem_errcode rc;

    if (!llem_hub_parse(&id, a, text, strcmp(kind, "dataset") == 0))
        return llem_fail(err, LLEM_ENOMEM, "no memory to fetch '%s'", text);
    send(f, LLEM_EVENT_STEP_START, text, NAN, -1);
    rc = llem_hub_download(&got, f->ctx, a, &id, &hooks, err);
    if (rc < 0)
        return rc;
    snprintf(done, sizeof(done), "%.200s: %zu files, %.1f MB, %s", text, got.files,
             (double)got.bytes * 1e-6, got.fetched_bytes ? "fetched" : "there already");
    send(f, LLEM_EVENT_STEP_DONE, done, (double)(llem_now_ns(f->ctx->clock) - begin) * 1e-9, -1);
    v = llem_map(a);
    llem_set(a, v, "kind", llem_string(a, kind));
    llem_set(a, v, "id", llem_string(a, id.repo));
    llem_set(a, v, "revision", llem_string(a, id.revision));
    llem_set(a, v, "commit", llem_string(a, got.commit));
    llem_set(a, v, "path", llem_string(a, got.dir));
    llem_set(a, v, "files", llem_int(a, (int64_t)got.files));
    llem_set(a, v, "bytes", llem_int(a, got.bytes));
    llem_set(a, v, "fetched_bytes", llem_int(a, got.fetched_bytes));
    llem_append(a, f->there, v);
    return LLEM_OK;
}

llem_errcode llem_fetch(char **out, llem_ctx *ctx, const llem_fetch_args *args, llem_error *err)
{
    struct fetch f = { .ctx = ctx, .args = args };
    struct llem_buf text = LLEM_BUF_INIT(16 << 20);
    const struct llem_value *user;
    llem_errcode rc;
    llem_error own; /* a hint has no code to return without one */

    err = err ? err : &own;
    rc = llem_user_config(ctx, &user, err); /* it may say where things go */
    f.wanted = llem_map(&f.arena);
    f.there = llem_list(&f.arena);
    for (size_t i = 0; i < args->n_files && rc == LLEM_OK; i++)
        rc = read_experiment(&f, args->files[i], err);
    if (rc == LLEM_OK && args->model)
        rc = want_model(&f, args->model, err);
    if (rc == LLEM_OK && args->dataset)
        rc = want_dataset(&f, args->dataset, true, err);
    for (size_t i = 0; rc == LLEM_OK && !f.arena.oom && i < f.wanted->count; i++) {
        const char *key = f.wanted->keys[i], *space = strchr(key, ' ');

        rc = fetch_one(&f, llem_starts_with(key, "model ") ? "model" : "dataset", space + 1, err);
    }
    if (rc == LLEM_OK && !f.arena.oom)
        llem_json_dump(&text, f.there, LLEM_JSON_PRETTY);
    if (rc == LLEM_OK && (f.arena.oom || text.failed || !(*out = llem_buf_take(&text))))
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to say what was fetched");
    llem_buf_done(&text);
    llem_arena_done(&f.arena);
    return rc;
}
