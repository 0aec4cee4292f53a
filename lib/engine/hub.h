/* SPDX-License-Identifier: MIT
 *
 * The Hugging Face hub as this machine knows it: ids with a revision, the variables of its tools,
 * what lies in their cache. Nothing is downloaded here (lib/engine/download.h does).
 */
#ifndef LLEM_ENGINE_HUB_H
#define LLEM_ENGINE_HUB_H

#include "lib/base/ctx.h"
#include "lib/base/value.h"

/* "ORG/NAME@REVISION": a branch, a tag or a commit; main unless given. */
struct llem_hub_id {
    bool dataset;
    const char *repo; /* ORG/NAME or NAME */
    const char *revision;
};

/* Into the arena; false if the text cannot be such an id. */
bool llem_hub_parse(struct llem_hub_id *out, struct llem_arena *a, const char *text, bool dataset);
/* A whole commit: 40 hexadecimal digits. */
bool llem_hub_is_commit(const char *revision);
/* A name that may be used below a directory: relative, "/" between its parts, none of which is
 * empty, "." or "..", and no control characters. */
bool llem_hub_is_plain_name(const char *name);

/* The tools' own variables, as huggingface_hub reads them; an empty variable counts as none. */
const char *llem_hub_cache(llem_ctx *ctx, struct llem_arena *a); /* NULL without memory */
/* output.model_cache_dir of the user's configuration, with "hub" below it as below HF_HOME; NULL
 * where a variable decides, or nothing is configured. */
const char *llem_hub_cache_configured(llem_ctx *ctx, struct llem_arena *a);
const char *llem_hub_endpoint(const llem_ctx *ctx, struct llem_arena *a); /* no "/" at its end */
bool llem_hub_offline(const llem_ctx *ctx);
const char *llem_hub_token(llem_ctx *ctx, struct llem_arena *a); /* NULL if there is none */

/* CACHE/models--ORG--NAME */
const char *llem_hub_folder(struct llem_arena *a, const char *cache, const struct llem_hub_id *id);
/* The snapshot of the revision in the cache, and its commit; NULL if it is not there. */
const char *llem_hub_snapshot(llem_ctx *ctx, struct llem_arena *a, const struct llem_hub_id *id,
                              const char **commit);
/* The directory of a model: a path as it is; a hub id from the cache, then with its commit (else
 * NULL). Strings live in the arena. */
llem_errcode llem_hub_find_model(struct llem_arena *a, llem_ctx *ctx, const char *model,
                                 const char **dir, const char **commit, llem_error *err);

/*
 * Which files hold the weights of a model directory, in the order in which frameworks look for
 * them: names and sizes, and the digest over both that the recording keeps. A list of {name,
 * bytes}; NULL if there are none that can be told.
 */
struct llem_value *llem_hub_weights(struct llem_arena *a, const char *dir, char sha256[65]);
/* The digest over files [{name, bytes}]. */
void llem_hub_weights_digest(const struct llem_value *files, char sha256[65]);

#endif
