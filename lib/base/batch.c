/* SPDX-License-Identifier: MIT
 *
 * Writing several files and waiting once. A file system commits its journal for each fsync that it
 * is asked for alone, and each waits for the disk and for a turn on a busy processor; asked for
 * many at once it commits once or twice. Threads ask: io_submit() would do, but giving its context
 * back takes longer than it saves, and syncfs() waits for what others write.
 */
#include "lib/base/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/process.h"

enum { HELPERS = 7 };

static bool harmless(int error)
{
    return error == EINVAL || error == EROFS; /* file systems that cannot sync and need not */
}

/* What the threads share: each takes the next file. */
struct sync {
    const struct llem_batch *batch;
    _Atomic size_t next;
    _Atomic size_t failed; /* the index of one that did, or batch->n */
    _Atomic int error;
};

static void *sync_some(void *arg)
{
    struct sync *s = arg;
    size_t i;

    while ((i = atomic_fetch_add(&s->next, 1)) < s->batch->n) {
        if (fsync(s->batch->files[i].fd) == 0 || harmless(errno))
            continue;
        atomic_store(&s->error, errno);
        atomic_store(&s->failed, i);
    }
    return NULL;
}

static llem_errcode sync_files(const struct llem_batch *b, llem_error *err)
{
    struct sync s = { .batch = b, .failed = b->n };
    pthread_t helpers[HELPERS];
    size_t n_helpers = 0;

    /* First start writing all of them, so that the first commit of the journal takes the others
     * along and the fsyncs that follow find little left. That it cannot be started is found out
     * below. */
    for (size_t i = 0; i < b->n; i++)
        sync_file_range(b->files[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    /* A helper that cannot be had is done without. */
    while (n_helpers < HELPERS && n_helpers + 1 < b->n &&
           llem_thread_start(&helpers[n_helpers], sync_some, &s) == 0)
        n_helpers++;
    sync_some(&s);
    for (size_t i = 0; i < n_helpers; i++)
        pthread_join(helpers[i], NULL);
    if (s.failed == b->n)
        return LLEM_OK;
    errno = s.error;
    return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, b->files[s.failed].name);
}

static bool path_of(char out[4096], const struct llem_batch *b, const char *name, bool is_hidden)
{
    return (size_t)snprintf(out, 4096, is_hidden ? "%s/.llem-%s.tmp" : "%s/%s", b->dir, name) <
           4096;
}

llem_errcode llem_batch_add(struct llem_batch *b, const char *name, const void *data, size_t len,
                            llem_error *err)
{
    char path[4096];
    int fd;

    if (b->n == LLEM_BATCH_MAX || !path_of(path, b, name, !b->in_place))
        return llem_fail(err, LLEM_EINVAL, "cannot write '%s/%s': the path is too long", b->dir,
                         name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, name);
    b->files[b->n].name = name;
    b->files[b->n].is_hidden = !b->in_place;
    b->files[b->n++].fd = fd;
    if (llem_write_all(fd, data, len) < 0)
        return llem_cannot_write(err, LLEM_EIO, "%s/%s", b->dir, name);
    return LLEM_OK;
}

llem_errcode llem_batch_add_json(struct llem_batch *b, const char *name, const struct llem_value *v,
                                 llem_error *err)
{
    struct llem_buf text = LLEM_BUF_INIT(SIZE_MAX / 2);
    llem_errcode rc;

    llem_json_dump(&text, v, LLEM_JSON_PRETTY);
    llem_buf_addc(&text, '\n');
    rc = text.failed
             ? llem_fail(err, LLEM_ENOMEM, "cannot write '%s/%s': out of memory", b->dir, name)
             : llem_batch_add(b, name, text.data, text.len, err);
    llem_buf_done(&text);
    return rc;
}

llem_errcode llem_batch_commit(struct llem_batch *b, llem_error *err)
{
    char from[4096], to[4096];
    llem_errcode rc = sync_files(b, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < b->n; i++) {
        if (!b->files[i].is_hidden)
            continue;
        if (!path_of(from, b, b->files[i].name, true) || !path_of(to, b, b->files[i].name, false))
            return llem_fail(err, LLEM_EINVAL, "the path '%s' is too long", b->dir);
        if (rename(from, to) < 0)
            return llem_cannot_write(err, LLEM_EIO, "%s", to);
        b->files[i].is_hidden = false;
    }
    return llem_sync_dir(b->dir, err);
}

void llem_batch_done(struct llem_batch *b)
{
    char path[4096];

    for (size_t i = 0; i < b->n; i++) {
        close(b->files[i].fd);
        if (b->files[i].is_hidden && path_of(path, b, b->files[i].name, true))
            unlink(path);
    }
    b->n = 0;
}
