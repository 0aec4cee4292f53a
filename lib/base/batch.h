/* SPDX-License-Identifier: MIT
 *
 * Several files of one directory, written so that a crash leaves each old or new and none in part,
 * and waiting for the disk once instead of once a file.
 */
#ifndef LLEM_RESULT_BATCH_H
#define LLEM_RESULT_BATCH_H

#include "lib/base/value.h"

enum { LLEM__BATCH_MAX = 8 };

/*
 *     struct llem__batch b = { .dir = dir };
 *     rc = llem__batch_add(&b, "a.json", text, len, err);
 *     ...
 *     if (rc == LLEM_OK)
 *         rc = llem__batch_commit(&b, err);
 *     llem__batch_done(&b);
 */
struct llem__batch {
    const char *dir;
    const char *names[LLEM__BATCH_MAX]; /* borrowed */
    int fds[LLEM__BATCH_MAX];
    size_t n;
};
/* Write beside the place; nothing is visible yet. */
llem_errcode llem__batch_add(struct llem__batch *b, const char *name, const void *data, size_t len,
                             llem_error *err);
/* Sync all, then rename in the order they were added, then sync the directory. */
llem_errcode llem__batch_commit(struct llem__batch *b, llem_error *err);
/* Close, and remove what was not committed. */
void llem__batch_done(struct llem__batch *b);

/* fsync many files at once, from several threads. On failure *failed is the index of one and *error
 * its errno; false. */
bool llem__sync_files(const int *fds, size_t n, size_t *failed, int *error);

#endif
