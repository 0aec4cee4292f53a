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

/* What the hub's answer about a revision says: its commit, and the files that are fetched of it. */
struct llem_hub_file {
    const char *name; /* plain, below the snapshot */
    int64_t size;
    const char *digest; /* 64 digits: SHA-256; 40: of a git blob */
    bool present;
};
struct llem_hub_listing {
    const char *commit;
    struct llem_hub_file *files;
    size_t n_files;
};
/* hub and title are for errors. Strings live in the arena. */
llem_errcode llem_hub_read_listing(struct llem_hub_listing *out, struct llem_arena *a, bool dataset,
                                   const char *text, size_t len, const char *hub, const char *title,
                                   llem_error *err);

#endif
