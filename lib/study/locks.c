/* SPDX-License-Identifier: MIT
 *
 * A lock is a file a board in a directory that everybody may write to, locked as a whole with
 * flock(2), so that it goes with the process whatever ends it. The files stay: removing one that
 * somebody else is opening would give the board away twice. Whoever else can write there is not
 * trusted: no link is followed, and nothing but a plain file of its own name is opened.
 */
#include "lib/study/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/registry.h"
#include "lib/sampler/sampler.h"
#include "lib/study/study.h"

/* ---- locking ------------------------------------------------------------------------------ */

enum { OWNER_MAX = 4096 };

/* Where every user of the machine looks. What /run/lock is decides, not who asks: it has to be the
 * same for all. */
static const char *lock_dir(llem_ctx *ctx)
{
    const char *dir = llem_ctx_variable(ctx, "LLEM_LOCK_DIR");
    const mode_t shared = S_ISVTX | S_IWOTH;
    struct stat st;

    if (dir)
        return dir;
    return stat("/run/lock", &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & shared) == shared
               ? "/run/lock/llem"
               : "/tmp/llem-lock";
}

static llem_errcode cannot_lock(llem_error *err, const char *dir, const char *name, const char *why)
{
    llem_fail(err, LLEM_EIO, "cannot lock a GPU with '%s%s%s': %s", dir, name ? "/" : "",
              name ? name : "", why);
    return llem_hint(err, LLEM_EIO,
                     "Have it removed or made writable for all, or name another directory with "
                     "LLEM_LOCK_DIR; --no-lock runs without locks.");
}

static llem_errcode errno_lock(llem_error *err, const char *dir, const char *name)
{
    char why[160];

    snprintf(why, sizeof(why), "%m");
    return cannot_lock(err, dir, name, why);
}

static llem_errcode open_dir(int *fd, const char *dir, llem_error *err)
{
    /* Files in it belong to different users, like those of /tmp, whatever our umask is. */
    bool made = mkdir(dir, 01777) == 0;

    if (!made && errno != EEXIST)
        return errno_lock(err, dir, NULL);
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return errno == ENOTDIR || errno == ELOOP
                   ? cannot_lock(err, dir, NULL, "it is no directory")
                   : errno_lock(err, dir, NULL);
    if (made && fchmod(*fd, 01777) < 0) {
        llem_errcode rc = errno_lock(err, dir, NULL);

        close(*fd);
        return rc;
    }
    return LLEM_OK;
}

/* A file of another user in a sticky directory must not be opened with O_CREAT (the kernel's
 * fs.protected_regular), so a new one and an old one are opened in different ways. */
static llem_errcode open_file(int *ret, int dir_fd, const char *dir, const char *name,
                              llem_error *err)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat st;
    int fd = -1;

    for (int tries = 0; fd < 0 && tries < 3; tries++) {
        fd = openat(dir_fd, name, flags);
        if (fd < 0 && errno == ENOENT) {
            fd = openat(dir_fd, name, flags | O_CREAT | O_EXCL, 0666);
            if (fd >= 0)
                fchmod(fd, 0666); /* if it fails others are told so when they come */
            else if (errno == EEXIST)
                continue;
        }
        if (fd < 0)
            return errno == ELOOP ? cannot_lock(err, dir, name, "it is a symbolic link")
                                  : errno_lock(err, dir, name);
    }
    if (fd < 0)
        return cannot_lock(err, dir, name, "it comes and goes");
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1) {
        close(fd);
        return cannot_lock(err, dir, name, "it is no plain file with one name");
    }
    *ret = fd;
    return LLEM_OK;
}

/* Who we are, for whoever finds the board taken. */
static void owner_text(struct llem_buf *text, llem_ctx *ctx, const char *study)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_claim(&a, NULL, ctx->clock->wall_ns(ctx->clock->self));

    llem_set(&a, v, "uid", llem_int(&a, (int64_t)getuid()));
    llem_set(&a, v, "study", llem_string(&a, study));
    llem_json_dump(text, v, LLEM_JSON_COMPACT);
    llem_buf_addc(text, '\n');
    text->failed |= a.oom;
    llem_arena_done(&a);
}

static llem_errcode taken(llem_error *err, int fd, const char *uuid)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = NULL;
    char text[OWNER_MAX], who[512] = "a process that did not say who it is";
    ssize_t len = pread(fd, text, sizeof(text), 0);
    const char *study;

    if (len > 0 && llem_json_parse(&a, &v, text, (size_t)len, "the lock", NULL) == LLEM_OK &&
        llem_int_at(v, "pid", 0) > 0) {
        study = llem_str_at(v, "study", NULL);
        snprintf(who, sizeof(who), "process %lld of user %lld, since %.40s%s%.200s%s",
                 (long long)llem_int_at(v, "pid", 0), (long long)llem_int_at(v, "uid", -1),
                 llem_str_at(v, "started_utc", "an unknown time"), study ? ", for '" : "",
                 study ? study : "", study ? "'" : "");
    }
    llem_arena_done(&a);
    llem_fail(err, LLEM_ESTUDY, "the GPU %s is in use by another run of llem: %s", uuid, who);
    return llem_hint(err, LLEM_ESTUDY,
                     "Wait for it, choose other GPUs with CUDA_VISIBLE_DEVICES, or run on a shared "
                     "board with --no-lock, which disturbs both measurements.");
}

/* A file's name: what a UUID is made of, and nothing that leads elsewhere. */
static void name_of(char *out, size_t size, const char *uuid)
{
    snprintf(out, size, "%.200s.lock", uuid);
    for (char *p = out; *p; p++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", *p))
            *p = '_';
    if (out[0] == '.')
        out[0] = '_';
}

static llem_errcode lock_one(struct llem_locks *l, const struct llem_buf *owner, int dir_fd,
                             const char *dir, const char *uuid, llem_error *err)
{
    char name[256];
    llem_errcode rc;
    int fd = -1;

    name_of(name, sizeof(name), uuid);
    rc = open_file(&fd, dir_fd, dir, name, err);
    if (rc < 0)
        return rc;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? taken(err, fd, uuid) : errno_lock(err, dir, name);
        close(fd);
        return rc;
    }
    /* That it cannot be written costs only the name. */
    if (!owner->failed && ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, owner->data, owner->len, 0);
    l->fds[l->n++] = fd;
    return LLEM_OK;
}

static int compare_uuids(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;

    return strcmp(*a, *b);
}

llem_errcode llem_locks_take(struct llem_locks *l, llem_ctx *ctx, const char *const *uuids,
                             size_t n, llem_error *err)
{
    const char *dir = lock_dir(ctx), *sorted[LLEM_LOCKS_MAX];
    struct llem_buf owner = LLEM_BUF_INIT(OWNER_MAX);
    llem_errcode rc = LLEM_OK;
    int dir_fd = -1;

    if (n == 0)
        return LLEM_OK;
    if (n > LLEM_LOCKS_MAX)
        return llem_fail(err, LLEM_EINVAL, "%zu GPUs cannot be locked at once, at most %d", n,
                         LLEM_LOCKS_MAX);
    memcpy(sorted, uuids, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare_uuids);
    rc = open_dir(&dir_fd, dir, err);
    if (rc < 0)
        return rc;
    owner_text(&owner, ctx, l->study);
    for (size_t i = 0; rc == LLEM_OK && i < n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            rc = lock_one(l, &owner, dir_fd, dir, sorted[i], err);
    llem_buf_done(&owner);
    close(dir_fd);
    if (rc < 0)
        llem_locks_release(l);
    return rc;
}

void llem_locks_release(struct llem_locks *l)
{
    int saved = errno;

    while (l->n > 0) {
        int fd = l->fds[--l->n];

        (void)!ftruncate(fd, 0);
        flock(fd, LOCK_UN); /* a fork of the host program may have the descriptor too */
        close(fd);
    }
    errno = saved;
}

/* ---- which boards ------------------------------------------------------------------------- */

struct boards {
    struct llem_arena *a;
    const char *uuids[LLEM_LOCKS_MAX];
    int index[LLEM_LOCKS_MAX]; /* the vendor's: a board without a sensor is not in the list */
    const struct llem_value *instances[LLEM_LOCKS_MAX]; /* UUIDs of MIG instances on it */
    bool used[LLEM_LOCKS_MAX];
    size_t n;
    size_t visible[LLEM_LOCKS_MAX]; /* those that CUDA would show, in its order */
    size_t n_visible;
};

/* The board that a word of CUDA_VISIBLE_DEVICES means: a number, a UUID or the beginning of one. */
static bool find_board(const struct boards *b, const char *word, size_t *ret)
{
    size_t len = strlen(word), found = 0;
    int64_t number;

    if (llem_parse_i64(word, &number)) {
        for (*ret = 0; *ret < b->n && b->index[*ret] != number;)
            ++*ret;
        return *ret < b->n;
    }
    for (size_t i = 0; len > 0 && i < b->n; i++) {
        bool match = strncasecmp(b->uuids[i], word, len) == 0;

        for (size_t k = 0; b->instances[i] && k < b->instances[i]->count && !match; k++)
            match = b->instances[i]->items[k]->kind == LLEM_STRING &&
                    strncasecmp(b->instances[i]->items[k]->s, word, len) == 0;
        if (match) {
            *ret = i;
            found++;
        }
    }
    return found == 1;
}

static void find_visible(struct boards *b)
{
    /* Empty means none, which llem_ctx_variable() does not tell from unset. */
    const char *chosen = getenv("CUDA_VISIBLE_DEVICES");
    size_t board;

    for (size_t i = 0; !chosen && i < b->n; i++)
        b->visible[b->n_visible++] = i;
    while (chosen && *chosen && b->n_visible < LLEM_LOCKS_MAX) {
        size_t len = strcspn(chosen, ",");
        size_t begin = strspn(chosen, " \t");
        char *word = llem_arena_strndup(b->a, chosen + begin, len > begin ? len - begin : 0);

        for (size_t end = word ? strlen(word) : 0; end > 0 && strchr(" \t", word[end - 1]);)
            word[--end] = '\0';
        if (!word || !find_board(b, word, &board))
            break; /* CUDA too stops at the first that it does not know */
        b->visible[b->n_visible++] = board;
        chosen += len + (chosen[len] == ',');
    }
}

/* By the sensor's own list of devices, the one that decides what is charged. */
static void find_boards(struct boards *b, llem_ctx *ctx)
{
    const struct llem_sampler_class *s = &llem_sampler_nvml;
    const struct llem_domain *domains;
    struct llem_value *describe;
    struct llem_probe probe;
    llem_error why = { 0 };
    void *self = NULL;
    size_t n;

    s->probe(ctx, &probe);
    if (!probe.usable)
        return;
    if (s->open(&self, ctx, &why) != LLEM_OK) {
        llem_log(ctx, LLEM_LOG_WARNING, "study", "no GPU is locked: %s", why.msg);
        return;
    }
    domains = s->domains(self, &n);
    describe = s->describe(self, b->a);
    /* Pretended boards are nobody's; tests of several users pretend the same ones. */
    if (llem_bool_at(describe, "is_fake", false) && !llem_ctx_variable(ctx, "LLEM_LOCK_DIR"))
        n = 0;
    describe = llem_get(describe, "domains");
    for (size_t i = 0; i < n && b->n < LLEM_LOCKS_MAX; i++) {
        const struct llem_value *mig = llem_get(llem_get(describe, domains[i].id), "mig_instances");

        b->uuids[b->n] = llem_arena_strdup(b->a, domains[i].uuid);
        b->index[b->n] = domains[i].index;
        b->instances[b->n++] = mig && mig->kind == LLEM_LIST ? mig : NULL;
    }
    s->close(self);
    find_visible(b);
}

static void use_first(struct boards *b, int64_t count)
{
    for (size_t i = 0; i < b->n_visible && (int64_t)i < count; i++)
        b->used[b->visible[i]] = true;
}

/* A map of devices: "cpu" takes none, "cuda:1" that one, "auto" and its like all. */
static void use_map(struct boards *b, const char *map)
{
    static const char *const elsewhere[] = { "cpu", "mps", "xpu", "disk" };
    int64_t number = 0;

    for (size_t i = 0; i < LLEM_COUNT(elsewhere); i++)
        if (strcmp(map, elsewhere[i]) == 0)
            return;
    if (strcmp(map, "cuda") == 0 ||
        (llem_starts_with(map, "cuda:") && llem_parse_i64(map + 5, &number))) {
        if (number >= 0 && (size_t)number < b->n_visible)
            b->used[b->visible[number]] = true;
        return;
    }
    use_first(b, INT64_MAX);
}

/* A setting of the engine's section that its engine.yaml names. */
static const struct llem_value *setting(const struct llem_value *section,
                                        const struct llem_value *v)
{
    v = v && v->kind == LLEM_STRING ? llem_at(section, v->s) : NULL;
    return llem_is_null(v) ? NULL : v;
}

/* How many devices the settings of `product` make together; 0 if none of them is set. */
static int64_t product_of(const struct llem_value *section, const struct llem_value *paths)
{
    int64_t product = 0;

    for (size_t i = 0; paths && paths->kind == LLEM_LIST && i < paths->count; i++) {
        const struct llem_value *v = setting(section, paths->items[i]);

        if (!v || v->kind != LLEM_INT || v->i < 1)
            continue;
        product = product ? product : 1;
        product =
            v->i > LLEM_LOCKS_MAX || product > LLEM_LOCKS_MAX ? LLEM_LOCKS_MAX : product * v->i;
    }
    return product;
}

static const struct llem_engine_info *engine_of(llem_ctx *ctx, const char *name)
{
    const struct llem_engine_info *info = NULL;

    if (llem_starts_with(name, "python:"))
        name = "python";
    return llem_engine_find(&info, ctx, name, NULL) == LLEM_OK ? info : NULL;
}

static bool takes_none(const struct llem_engine_info *info)
{
    return info && strcmp(llem_str_at(info->yaml, "gpus", ""), "none") == 0;
}

/* The engine's own list of UUIDs. */
static void use_listed(struct boards *b, const struct llem_value *list)
{
    size_t board;

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind == LLEM_STRING && find_board(b, list->items[i]->s, &board))
            b->used[board] = true;
}

static void use(struct boards *b, llem_ctx *ctx, const struct llem_engine_info *info,
                const struct llem_value *tree)
{
    const struct llem_value *gpus = info ? llem_get(info->yaml, "gpus") : NULL;
    const struct llem_value *section = info ? llem_get(tree, info->name) : NULL;
    const struct llem_value *all = llem_get(gpus, "all"), *map;
    const struct llem_value *uuids = llem_get(gpus, "uuids");
    const char *variable = llem_str_at(gpus, "device_map_variable", NULL), *text = NULL;
    int64_t count = product_of(section, llem_get(gpus, "product"));

    if (uuids) {
        use_listed(b, setting(section, uuids));
        return;
    }
    if (all && setting(section, all)) {
        use_first(b, count ? count : INT64_MAX);
        return;
    }
    map = setting(section, llem_get(gpus, "device_map"));
    if (map)
        text = map->kind == LLEM_STRING ? map->s : "";
    else if (variable)
        text = llem_ctx_variable(ctx, variable);
    if (text)
        use_map(b, text);
    else
        use_first(b, all || !count ? 1 : count);
}

static llem_errcode give(const struct boards *b, const char *const **uuids, size_t *n,
                         llem_error *err)
{
    const char **list = llem_arena_calloc(b->a, b->n + 1, sizeof(*list));

    *n = 0;
    for (size_t i = 0; list && i < b->n; i++)
        if (b->used[i])
            list[(*n)++] = b->uuids[i];
    *uuids = list;
    return b->a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory for the list of GPUs") : LLEM_OK;
}

llem_errcode llem_locks_boards_of(struct llem_arena *a, llem_ctx *ctx, const char *engine,
                                  const struct llem_value *tree, const char *const **uuids,
                                  size_t *n, llem_error *err)
{
    struct boards b = { .a = a };
    const struct llem_engine_info *info = engine_of(ctx, engine);

    if (!takes_none(info)) {
        find_boards(&b, ctx);
        use(&b, ctx, info, tree);
    }
    return give(&b, uuids, n, err);
}

llem_errcode llem_locks_boards(struct llem_arena *a, llem_ctx *ctx, const struct llem_plan *plan,
                               const char *const **uuids, size_t *n, llem_error *err)
{
    struct boards b = { .a = a };
    const struct llem_engine_info *info = NULL;
    const char *engine = NULL;
    bool looked = false;

    for (size_t i = 0; i < plan->n_runs; i++) {
        const struct llem_plan_run *run = &plan->runs[i];
        const char *name = llem_sweep_engine(plan->sweep, run->cell), *errors;
        struct llem_arena cell = LLEM_ARENA_INIT;
        const struct llem_value *tree;

        if (run->cycle > 0)
            continue;
        if (!engine || strcmp(engine, name) != 0)
            info = engine_of(ctx, name);
        engine = name;
        if (takes_none(info))
            continue;
        if (!looked)
            find_boards(&b, ctx);
        looked = true;
        if (b.n == 0)
            break;
        tree = llem_sweep_cell(plan->sweep, run->cell, &cell, &errors);
        if (tree)
            use(&b, ctx, info, tree);
        else
            a->oom = true;
        llem_arena_done(&cell);
    }
    return give(&b, uuids, n, err);
}
