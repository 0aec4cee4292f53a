/* SPDX-License-Identifier: MIT
 *
 * From the Hugging Face hub into the cache that its tools share: whole snapshots, verified, resumed
 * where they broke off.
 */
#ifndef LLEM_ENGINE_DOWNLOAD_H
#define LLEM_ENGINE_DOWNLOAD_H

#include "lib/engine/hub.h"

struct llem_download_hooks {
    bool (*cancelled)(void *user);                                   /* asked once a second */
    void (*progress)(void *user, const char *text, double fraction); /* four times a second */
    void *user;
};

/* What is there afterwards. Strings live in the arena. */
struct llem_download {
    const char *commit, *dir;
    size_t files;
    int64_t bytes, fetched_bytes; /* of all files; of those, what came over the network */
};

/*
 * Bring the snapshot of a model (its best kind of weights, and everything that is no weights) or of
 * a dataset (files of prompts) into the cache. What is there already is not fetched again; what was
 * begun is resumed. refs/REVISION is written last, so that a revision that is found is whole. On
 * failure finished files and the part of the unfinished one stay for the next time, except on a
 * full disk, where the part is removed.
 */
llem_errcode llem_hub_download(struct llem_download *out, llem_ctx *ctx, struct llem_arena *a,
                               const struct llem_hub_id *id,
                               const struct llem_download_hooks *hooks, llem_error *err);

#endif
