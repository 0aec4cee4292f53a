/* SPDX-License-Identifier: MIT
 *
 * Several files of one directory, written so that a crash leaves each old or new and none in part,
 * and waiting for the disk once instead of once a file.
 */
#ifndef LLEM_BASE_BATCH_H
#define LLEM_BASE_BATCH_H

#include "lib/base/value.h"

enum { LLEM_BATCH_MAX = 64 };

/*
 *     struct llem_batch b = { .dir = dir };
 *     rc = llem_batch_add(&b, "a.bin", data, len, err);
 *     if (rc == LLEM_OK)
 *         rc = llem_batch_add_json(&b, "b.json", v, err);
 *     if (rc == LLEM_OK)
 *         rc = llem_batch_commit(&b, err);
 *     llem_batch_done(&b);
 */
struct llem_batch {
    const char *dir;
    /* Files added while this is set have their own names at once, and stay when the batch fails:
     * for a directory that nobody looks into before its last file, and that is removed then. */
    bool in_place;
    struct {
        const char *name; /* borrowed */
        int fd;
        bool is_hidden; /* until the commit */
    } files[LLEM_BATCH_MAX];
    size_t n;
};
/* Write beside the place, or in it; nothing waits for the disk yet. */
llem_errcode llem_batch_add(struct llem_batch *b, const char *name, const void *data, size_t len,
                            llem_error *err);
/* The same for a document: pretty, with a newline at the end. */
llem_errcode llem_batch_add_json(struct llem_batch *b, const char *name, const struct llem_value *v,
                                 llem_error *err);
/* Sync all, then rename in the order they were added, then sync the directory. */
llem_errcode llem_batch_commit(struct llem_batch *b, llem_error *err);
/* Close, and remove what was not committed. */
void llem_batch_done(struct llem_batch *b);

#endif
