/* SPDX-License-Identifier: MIT
 *
 * Writing several files and waiting once. A file system commits its journal for each fsync that it
 * is asked for alone, and each waits for the disk and for a turn on a busy processor; asked for
 * many at once it commits once or twice. Threads ask: io_submit() would do, but giving its context
 * back takes longer than it saves, and syncfs() waits for what others write.
 */
#include "lib/result/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"

enum { HELPERS = 7 };

static bool harmless(int error)
{
    return error == EINVAL || error == EROFS; /* file systems that cannot sync and need not */
}

/* What the threads share: each takes the next file. */
struct sync {
    const int *fds;
    size_t n;
    _Atomic size_t next;
    _Atomic size_t failed; /* the index of one that did, or n */
    _Atomic int error;
};

static void *sync_some(void *arg)
{
    struct sync *s = arg;
    size_t i;

    while ((i = atomic_fetch_add(&s->next, 1)) < s->n) {
        if (fsync(s->fds[i]) == 0 || harmless(errno))
            continue;
        atomic_store(&s->error, errno);
        atomic_store(&s->failed, i);
    }
    return NULL;
}

bool llem__sync_files(const int *fds, size_t n, size_t *failed, int *error)
{
    struct sync s = { .fds = fds, .n = n, .failed = n };
    pthread_t helpers[HELPERS];
    size_t n_helpers = 0;

    /* First start writing all of them, so that the first commit of the journal takes the others
     * along and the fsyncs that follow find little left. That it cannot be started is found out
     * below. */
    for (size_t i = 0; i < n; i++)
        sync_file_range(fds[i], 0, 0, SYNC_FILE_RANGE_WRITE);
    /* A helper that cannot be had is done without. */
    while (n_helpers < HELPERS && n_helpers + 1 < n &&
           pthread_create(&helpers[n_helpers], NULL, sync_some, &s) == 0)
        n_helpers++;
    sync_some(&s);
    for (size_t i = 0; i < n_helpers; i++)
        pthread_join(helpers[i], NULL);
    if (s.failed == n)
        return true;
    *failed = s.failed;
    *error = s.error;
    return false;
}

static bool path_of(char out[4096], const struct llem__batch *b, const char *name, bool is_hidden)
{
    return (size_t)snprintf(out, 4096, is_hidden ? "%s/.llem-%s.tmp" : "%s/%s", b->dir, name) <
           4096;
}

llem_errcode llem__batch_add(struct llem__batch *b, const char *name, const void *data, size_t len,
                             llem_error *err)
{
    char path[4096];
    int fd;

    if (b->n == LLEM__BATCH_MAX || !path_of(path, b, name, true))
        return llem_fail(err, LLEM_EINVAL, "cannot write '%s/%s': the path is too long", b->dir,
                         name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, name);
    b->names[b->n] = name;
    b->fds[b->n++] = fd;
    if (llem_write_all(fd, data, len) < 0)
        return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, name);
    return LLEM_OK;
}

llem_errcode llem__batch_commit(struct llem__batch *b, llem_error *err)
{
    char from[4096], to[4096];
    size_t failed = 0;
    int error;

    if (!llem__sync_files(b->fds, b->n, &failed, &error)) {
        errno = error;
        return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, b->names[failed]);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (!path_of(from, b, b->names[i], true) || !path_of(to, b, b->names[i], false))
            return llem_fail(err, LLEM_EINVAL, "the path '%s' is too long", b->dir);
        if (rename(from, to) < 0)
            return llem_cannot_write(err, LLEM_EIO, "%s", to);
    }
    return llem_sync_dir(b->dir, err);
}

void llem__batch_done(struct llem__batch *b)
{
    char path[4096];

    for (size_t i = 0; i < b->n; i++) {
        close(b->fds[i]);
        if (path_of(path, b, b->names[i], true))
            unlink(path); /* gone already where it was committed */
    }
    b->n = 0;
}
