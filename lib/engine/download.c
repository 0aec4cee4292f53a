/* SPDX-License-Identifier: MIT
 *
 * Downloads. The hub says in one answer which files a revision has, how long they are and what
 * their digests are (SHA-256 of large files, git's SHA-1 of others), so every byte that is kept was
 * checked. The layout of the cache and its locks are those of huggingface_hub; its listings of
 * whole trees are not written, because parts of a tree are left out on purpose.
 */
#include "lib/engine/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/http.h"
#include "lib/base/json.h"
#include "lib/base/process.h"

enum {
    MAX_INFO_BYTES = 64 << 20, /* of the hub's answer about a revision */
    MAX_FILES = 100000,
    MAX_TRIES = 5, /* without a byte of progress between them */
    MAX_WAIT_S = 60,
};

struct job {
    llem_ctx *ctx;
    struct llem_arena *a;
    const struct llem_hub_id *id;
    const struct llem_download_hooks *hooks;
    struct llem_http *http;
    const char *kind, *title; /* "model", "ORG/NAME@REVISION" */
    const char *endpoint, *token, *cache, *folder, *locks, *snapshot;
    struct llem_hub_listing list;
    int64_t total, done, fetched; /* bytes; of `done`, those over the network */
    const char *now;              /* the name of the file that comes */
    int64_t told_ns, rate_ns, rate_bytes;
    double rate; /* bytes a second; 0 = not known yet */
    int tries;   /* requests made; tells one from the next */
};

static bool cancelled(void *user)
{
    struct job *j = user;

    return j->hooks->cancelled(j->hooks->user);
}

static void tell(struct job *j)
{
    int64_t now = llem_now_ns(j->ctx->clock);
    char text[400], rate[40] = "";

    if (now - j->told_ns < LLEM_NS_PER_S / 4)
        return;
    if (now - j->rate_ns >= LLEM_NS_PER_S) {
        j->rate = (double)(j->fetched - j->rate_bytes) / ((double)(now - j->rate_ns) * 1e-9);
        j->rate_ns = now;
        j->rate_bytes = j->fetched;
    }
    if (j->rate > 0)
        snprintf(rate, sizeof(rate), ", %.1f MB/s", j->rate * 1e-6);
    snprintf(text, sizeof(text), "%.200s, %.1f of %.1f MB%s", j->now, (double)j->done * 1e-6,
             (double)j->total * 1e-6, rate);
    j->told_ns = now;
    j->hooks->progress(j->hooks->user, text, j->total > 0 ? (double)j->done / (double)j->total : 1);
}

/* ---- asking the hub ----------------------------------------------------------------------- */

/* What an answer that is no success means. */
static llem_errcode explain(const struct job *j, const struct llem_http_reply *r, const char *file,
                            llem_error *err)
{
    const char *code = r->error_code;
    bool refused = r->status == 401 || r->status == 403;

    if (refused && strcmp(code, "GatedRepo") == 0) {
        llem_fail(err, LLEM_EPREFLIGHT, "the %s '%s' is gated: its owner decides who may have it",
                  j->kind, j->id->repo);
        return j->token ? llem_hint(err, LLEM_EPREFLIGHT,
                                    "ask for access at %s/%s%s; the token that is given (HF_TOKEN, "
                                    "or the file of 'hf auth login') has none",
                                    j->endpoint, j->id->dataset ? "datasets/" : "", j->id->repo)
                        : llem_hint(err, LLEM_EPREFLIGHT,
                                    "ask for access at %s/%s%s, then give a token in HF_TOKEN, or "
                                    "with 'hf auth login'",
                                    j->endpoint, j->id->dataset ? "datasets/" : "", j->id->repo);
    }
    if (r->status == 401 &&
        strcmp(r->error_message, "Invalid credentials in Authorization header") == 0) {
        llem_fail(err, LLEM_EPREFLIGHT, "the hub '%s' does not know the token that is given",
                  j->endpoint);
        return llem_hint(err, LLEM_EPREFLIGHT,
                         "set HF_TOKEN to a valid one, or log in anew: hf auth login");
    }
    if (strcmp(code, "RevisionNotFound") == 0) {
        llem_fail(err, LLEM_ENOTFOUND, "the %s '%s' has no revision '%s'", j->kind, j->id->repo,
                  j->id->revision);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "a revision is a branch, a tag or a commit: %s/%s%s/tree/main lists "
                         "them",
                         j->endpoint, j->id->dataset ? "datasets/" : "", j->id->repo);
    }
    if (file && (r->status == 404 || strcmp(code, "EntryNotFound") == 0)) {
        llem_fail(err, LLEM_ENOTFOUND,
                  "the %s '%s' lists the file '%s', but the hub does not have "
                  "it",
                  j->kind, j->title, file);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "run the same command again: the list may have changed meanwhile");
    }
    if (r->status == 401 || r->status == 404 || strcmp(code, "RepoNotFound") == 0) {
        llem_fail(err, LLEM_ENOTFOUND, "there is no %s '%s' on the hub '%s', or it is private",
                  j->kind, j->id->repo, j->endpoint);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "check its name; a private one needs a token in HF_TOKEN, or 'hf "
                         "auth login'");
    }
    llem_fail(err, LLEM_EIO, "the hub '%s' answered status %d for %s%s'%s'%s%s", j->endpoint,
              r->status, file ? file : "", file ? " of " : "", j->title,
              *r->error_message ? ": " : "", r->error_message);
    return r->status == 429 ? llem_hint(err, LLEM_EIO,
                                        "wait a while; with a token in HF_TOKEN the hub "
                                        "allows more requests")
           : r->status >= 500
               ? llem_hint(err, LLEM_EIO, "the trouble is on the hub's side: try again later")
               : llem_hint(err, LLEM_EIO, "check HF_ENDPOINT and the token, if one is given");
}

static bool worth_another_try(llem_errcode rc, const struct llem_http_reply *r)
{
    static const int statuses[] = { 408, 429, 500, 502, 503, 504 };

    if (rc < 0)
        return rc == LLEM_EIO && r->transient;
    for (size_t i = 0; i < LLEM_COUNT(statuses); i++)
        if (r->status == statuses[i])
            return true;
    return false;
}

static llem_errcode wait_a_while(struct job *j, double seconds, llem_error *err)
{
    int64_t until = llem_now_ns(j->ctx->clock) + (int64_t)(seconds * 1e9);

    for (int64_t now; (now = llem_now_ns(j->ctx->clock)) < until;) {
        int64_t next = now + LLEM_NS_PER_S / 20;

        if (cancelled(j))
            return llem_fail(err, LLEM_ECANCELED, "the download was stopped");
        tell(j);
        j->ctx->clock->sleep_until_ns(j->ctx->clock->self, next < until ? next : until);
    }
    return LLEM_OK;
}

/*
 * Get, and again after failures that may pass, with longer waits, or the wait that the hub asks
 * for. at: how much of the file is there, which is where each try begins; NULL: the whole goes into
 * the buffer `whole`. LLEM_OK: the answer came, with status 200, 206 or 416.
 */
static llem_errcode ask(struct job *j, struct llem_http_get *get, struct llem_http_reply *reply,
                        const int64_t *at, struct llem_buf *whole, const char *file,
                        llem_error *err)
{
    int failures = 0;

    for (;;) {
        int64_t before = at ? *at : 0;
        double wait;
        llem_errcode rc;

        get->offset = before;
        if (whole)
            llem_buf_clear(whole);
        j->tries++;
        rc = llem_http_get(j->http, get, reply, err);
        if (rc == LLEM_OK &&
            (reply->status == 200 || reply->status == 206 || (at && reply->status == 416)))
            return LLEM_OK;
        failures = at && *at > before ? 1 : failures + 1;
        if (!worth_another_try(rc, reply) || failures == MAX_TRIES) {
            if (rc == LLEM_OK)
                return explain(j, reply, file, err);
            if (rc == LLEM_EIO && reply->transient)
                return llem_hint(err, rc,
                                 "check the network and HF_ENDPOINT (%s); what has arrived is "
                                 "kept, and the same command goes on from there",
                                 j->endpoint);
            return rc;
        }
        wait = reply->retry_after_s >= 0 ? reply->retry_after_s : 0.25 * (1 << failures);
        llem_log(j->ctx, LLEM_LOG_INFO, "hub", "try %d of %d failed (%s); again in %.1f s",
                 failures, MAX_TRIES, rc < 0 && err ? err->msg : "the hub is busy", wait);
        rc = wait_a_while(j, wait < MAX_WAIT_S ? wait : MAX_WAIT_S, err);
        if (rc < 0)
            return rc;
    }
}

static void add_quoted(struct llem_buf *b, const char *s, bool slashes)
{
    for (; *s; s++) {
        if ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
            strchr("-_.~", *s) || (slashes && *s == '/'))
            llem_buf_addc(b, *s);
        else
            llem_buf_addf(b, "%%%02X", (unsigned char)*s);
    }
}

/* ---- what there is ------------------------------------------------------------------------ */

/* Kinds of weights, best first: of those that a model has, only the best is fetched. */
static const struct {
    const char *suffix;
    int rank;
} weights[] = {
    { ".safetensors", 1 }, { ".bin", 2 },       { ".pt", 3 },        { ".pth", 3 },
    { ".gguf", 4 },        { ".ggml", 4 },      { ".h5", 5 },        { ".msgpack", 6 },
    { ".ckpt", 7 },        { ".onnx", 8 },      { ".onnx_data", 8 }, { ".onnx.data", 8 },
    { ".ot", 9 },          { ".mlmodel", 9 },   { ".tflite", 9 },    { ".pb", 9 },
    { ".nemo", 9 },        { ".mlpackage", 9 }, { ".llamafile", 9 }, { ".pdparams", 9 },
};
enum { NO_WEIGHTS = 0, WORST = 100 };

static int rank_of(const char *name)
{
    for (size_t i = 0; i < LLEM_COUNT(weights); i++)
        if (llem_ends_with(name, weights[i].suffix))
            return weights[i].rank;
    return NO_WEIGHTS;
}

/* A second copy in the layout of the model's author. */
static bool is_consolidated(const char *name)
{
    return llem_starts_with(llem_path_basename(name), "consolidated");
}

static bool is_prompts(const char *name)
{
    static const char *const suffixes[] = { ".jsonl", ".json", ".csv", ".txt", ".parquet", ".md" };

    for (size_t i = 0; i < LLEM_COUNT(suffixes); i++)
        if (llem_ends_with(name, suffixes[i]))
            return true;
    return false;
}

/* Leave out what is not needed. */
static void choose_files(struct llem_hub_listing *l, bool dataset)
{
    int best = WORST;
    bool own_layout = false;
    size_t n = 0;

    for (size_t i = 0; i < l->n_files; i++) {
        int rank = rank_of(l->files[i].name);

        if (rank != NO_WEIGHTS && rank < best)
            best = rank;
        own_layout |= rank == 1 && !is_consolidated(l->files[i].name);
    }
    for (size_t i = 0; i < l->n_files; i++) {
        const char *name = l->files[i].name;
        int rank = rank_of(name);
        bool wanted = dataset ? is_prompts(name) : rank == NO_WEIGHTS || rank == best;

        if (!wanted || (own_layout && rank != NO_WEIGHTS && is_consolidated(name)))
            continue;
        l->files[n++] = l->files[i];
    }
    l->n_files = n;
}

static bool is_hex(const char *s, size_t len)
{
    return s && strlen(s) == len && strspn(s, "0123456789abcdef") == len;
}

static llem_errcode read_file_entry(struct llem_hub_file *f, struct llem_arena *a,
                                    const struct llem_value *v, const char *hub, const char *title,
                                    llem_error *err)
{
    const struct llem_value *lfs = llem_get(v, "lfs");
    const char *name = llem_str_at(v, "rfilename", "");

    f->size = llem_int_at(v, "size", -1);
    f->digest = llem_str_at(v, "blobId", NULL);
    if (lfs && lfs->kind == LLEM_MAP) {
        f->size = llem_int_at(lfs, "size", f->size);
        f->digest = llem_str_at(lfs, "sha256", NULL);
    }
    if (!llem_hub_is_plain_name(name))
        return llem_fail(err, LLEM_ECORRUPT,
                         "the hub lists a file '%.200s' of '%s', which is no name within it", name,
                         title);
    if (f->size < 0 || !f->digest || (!is_hex(f->digest, 64) && !is_hex(f->digest, 40)))
        return llem_fail(err, LLEM_ECORRUPT,
                         "the hub '%s' tells no size or no digest of '%.200s' of '%s'", hub, name,
                         title);
    f->name = llem_arena_strdup(a, name);
    f->digest = llem_arena_strdup(a, f->digest);
    return LLEM_OK;
}

llem_errcode llem_hub_read_listing(struct llem_hub_listing *out, struct llem_arena *a, bool dataset,
                                   const char *text, size_t len, const char *hub, const char *title,
                                   llem_error *err)
{
    struct llem_arena scratch = { .max = (size_t)1 << 30 };
    const struct llem_value *list;
    struct llem_value *info;
    struct llem_hub_listing l = { 0 };
    llem_errcode rc = llem_json_parse(&scratch, &info, text, len, "the hub's answer", err);
    const char *commit;

    if (rc < 0)
        goto done;
    commit = llem_str_at(info, "sha", "");
    list = llem_get(info, "siblings");
    if (!llem_hub_is_commit(commit) || !list || list->kind != LLEM_LIST ||
        list->count > MAX_FILES) {
        rc = llem_fail(err, LLEM_ECORRUPT,
                       "the answer of the hub '%s' about '%s' has no commit ('sha'), or no list of "
                       "files ('siblings') of a reasonable length",
                       hub, title);
        goto done;
    }
    l.commit = llem_arena_strdup(a, commit);
    l.files = llem_arena_calloc(a, list->count ? list->count : 1, sizeof(*l.files));
    for (size_t i = 0; rc == LLEM_OK && !a->oom && i < list->count; i++)
        rc = read_file_entry(&l.files[i], a, list->items[i], hub, title, err);
    if (rc == LLEM_OK && a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "no memory for the files of '%s'", title);
    if (rc < 0)
        goto done;
    l.n_files = list->count;
    choose_files(&l, dataset);
    *out = l;

done:
    llem_arena_done(&scratch);
    return rc;
}

static llem_errcode on_info(void *user, const struct llem_http_reply *reply, const void *data,
                            size_t len, llem_error *err)
{
    struct llem_buf *b = user;

    llem_buf_add(b, data, len);
    return b->failed ? llem_fail(err, LLEM_ECORRUPT,
                                 "the hub's answer is longer than the %d MiB accepted",
                                 MAX_INFO_BYTES >> 20)
                     : LLEM_OK;
}

static llem_errcode list_files(struct job *j, llem_error *err)
{
    struct llem_buf url = LLEM_BUF_INIT(8192), text = LLEM_BUF_INIT(MAX_INFO_BYTES);
    struct llem_http_get get = { .bearer = j->token, .body = on_info, .user = &text };
    struct llem_http_reply reply;
    llem_errcode rc;

    llem_buf_addf(&url, "%s/api/%ss/%s/revision/", j->endpoint, j->kind, j->id->repo);
    add_quoted(&url, j->id->revision, false);
    llem_buf_adds(&url, "?blobs=true");
    get.url = url.data;
    rc = url.failed ? llem_fail(err, LLEM_EINVAL, "HF_ENDPOINT is too long")
                    : ask(j, &get, &reply, NULL, &text, NULL, err);
    if (rc == LLEM_OK)
        rc = llem_hub_read_listing(&j->list, j->a, j->id->dataset, text.data, text.len, j->endpoint,
                                   j->title, err);
    llem_buf_done(&url);
    llem_buf_done(&text);
    return rc;
}

/* ---- one file ----------------------------------------------------------------------------- */

struct transfer {
    struct job *j;
    const struct llem_hub_file *f;
    struct llem_http_get get;
    int fd;
    int64_t have;
    int tried; /* the request that `have` counts for */
    bool full; /* the disk is */
    struct llem_sha256 sha256;
    struct llem_sha1 sha1;
};

static void digest_init(struct transfer *t)
{
    char head[40];

    llem_sha256_init(&t->sha256);
    llem_sha1_init(&t->sha1);
    /* git hashes a blob with its kind and length before it. */
    snprintf(head, sizeof(head), "blob %lld", (long long)t->f->size);
    llem_sha1_add(&t->sha1, head, strlen(head) + 1);
}

static void digest_add(struct transfer *t, const void *data, size_t len)
{
    if (strlen(t->f->digest) == 64)
        llem_sha256_add(&t->sha256, data, len);
    else
        llem_sha1_add(&t->sha1, data, len);
}

static bool digest_fits(struct transfer *t, char hex[65])
{
    if (strlen(t->f->digest) == 64)
        llem_sha256_hex(&t->sha256, hex);
    else
        llem_sha1_hex(&t->sha1, hex);
    return strcmp(hex, t->f->digest) == 0;
}

static llem_errcode write_failed(struct transfer *t, llem_error *err)
{
    t->full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    llem_fail(err, LLEM_EIO, "cannot write '%s' below '%s': %m", t->f->name, t->j->folder);
    return t->full ? llem_hint(err, LLEM_EIO,
                               "free some space, or set HF_HOME or output.model_cache_dir to a "
                               "directory with more")
           : err   ? err->code
                   : LLEM_EIO;
}

static llem_errcode start_over(struct transfer *t, llem_error *err)
{
    if (ftruncate(t->fd, 0) < 0)
        return write_failed(t, err);
    t->j->done -= t->have;
    t->have = 0;
    digest_init(t);
    return LLEM_OK;
}

static llem_errcode on_piece(void *user, const struct llem_http_reply *reply, const void *data,
                             size_t len, llem_error *err)
{
    struct transfer *t = user;
    struct job *j = t->j;
    llem_errcode rc;

    if (t->tried != j->tries) {
        t->tried = j->tries;
        if (reply->begin != t->have) {
            if (reply->begin != 0)
                return llem_fail(err, LLEM_ECORRUPT,
                                 "the hub was asked for '%s' from byte %lld, and sent it from byte "
                                 "%lld",
                                 t->f->name, (long long)t->have, (long long)reply->begin);
            rc = start_over(t, err); /* a server that knows no parts */
            if (rc < 0)
                return rc;
        }
    }
    if ((int64_t)len > t->f->size - t->have)
        return llem_fail(err, LLEM_ECORRUPT,
                         "'%s' of '%s' is longer than the %lld bytes that the hub tells",
                         t->f->name, j->title, (long long)t->f->size);
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(t->fd, (const char *)data + at, len - at, t->have + (int64_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_failed(t, err);
        at += (size_t)n;
    }
    digest_add(t, data, len);
    t->have += (int64_t)len;
    j->done += (int64_t)len;
    j->fetched += (int64_t)len;
    tell(j);
    return LLEM_OK;
}

/* What an earlier try left counts, so read it into the digest. */
static llem_errcode take_up(struct transfer *t, llem_error *err)
{
    static const size_t size = 1 << 20;
    struct stat st;
    char *piece;
    llem_errcode rc = LLEM_OK;

    digest_init(t);
    if (fstat(t->fd, &st) < 0)
        return write_failed(t, err);
    if (st.st_size == 0)
        return LLEM_OK;
    if (st.st_size > t->f->size)
        return start_over(t, err);
    piece = malloc(size);
    if (!piece)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the download");
    while (t->have < st.st_size && rc == LLEM_OK) {
        ssize_t n = pread(t->fd, piece, size, t->have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = start_over(t, err);
            break;
        }
        digest_add(t, piece, (size_t)n);
        t->have += n;
        t->j->done += n;
        tell(t->j);
        if (cancelled(t->j))
            rc = llem_fail(err, LLEM_ECANCELED, "the download was stopped");
    }
    free(piece);
    return rc;
}

static llem_errcode receive(struct transfer *t, llem_error *err)
{
    struct llem_http_reply reply;

    while (t->have < t->f->size) {
        int64_t before = t->have;
        llem_errcode rc = ask(t->j, &t->get, &reply, &t->have, NULL, t->f->name, err);

        if (rc < 0)
            return rc;
        if (reply.status == 416 || t->have == before)
            return llem_fail(err, LLEM_ECORRUPT,
                             "'%s' of '%s' ends after %lld bytes, and the hub tells %lld",
                             t->f->name, t->j->title, (long long)t->have, (long long)t->f->size);
    }
    return LLEM_OK;
}

static llem_errcode transfer_file(struct job *j, const struct llem_hub_file *f, const char *blob,
                                  llem_error *err)
{
    const char *part = llem_arena_printf(j->a, "%s.incomplete", blob);
    struct llem_buf url = LLEM_BUF_INIT(8192);
    struct transfer t = { .j = j, .f = f, .fd = -1 };
    char hex[65];
    llem_errcode rc;

    llem_buf_addf(&url, "%s/%s%s/resolve/%s/", j->endpoint, j->id->dataset ? "datasets/" : "",
                  j->id->repo, j->list.commit);
    add_quoted(&url, f->name, true);
    t.get =
        (struct llem_http_get){ .url = url.data, .bearer = j->token, .body = on_piece, .user = &t };
    if (!part || url.failed) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory for the download");
        goto done;
    }
    t.fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t.fd < 0) {
        rc = write_failed(&t, err);
        goto done;
    }
    rc = take_up(&t, err);
    for (int round = 0; rc == LLEM_OK; round++) {
        rc = receive(&t, err);
        if (rc < 0 || digest_fits(&t, hex))
            break;
        /* Damaged, maybe in the part that was there before: once more, from its begin. */
        rc = start_over(&t, err);
        if (rc == LLEM_OK && round > 0) {
            rc = llem_fail(err, LLEM_ECORRUPT,
                           "'%s' of '%s' arrived damaged twice: its digest is %s, and the hub "
                           "tells %s",
                           f->name, j->title, hex, f->digest);
            llem_hint(err, rc,
                      "something between the hub and here changes what is sent: a proxy, or "
                      "the mirror in HF_ENDPOINT");
        }
    }
    if (rc == LLEM_OK && (fsync(t.fd) < 0 || rename(part, blob) < 0))
        rc = write_failed(&t, err);
    if (rc < 0 && (t.full || t.have == 0))
        unlink(part);

done:
    if (t.fd >= 0)
        close(t.fd);
    llem_buf_done(&url);
    return rc;
}

/* ---- the cache ---------------------------------------------------------------------------- */

/* The lock that huggingface_hub takes for the same blob; -1 in *fd where the file system knows
 * none.
 */
static llem_errcode lock_blob(struct job *j, int *fd, const char *digest, llem_error *err)
{
    const char *path = llem_arena_printf(j->a, "%s/%s.lock", j->locks, digest);
    struct stat mine, there;

    *fd = -1;
    if (!path)
        return llem_fail(err, LLEM_ENOMEM, "no memory for a lock");
    for (;;) {
        llem_errcode rc;

        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
        if (*fd < 0)
            return llem_fail(err, LLEM_EIO, "cannot make the lock '%s': %m", path);
        while (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EWOULDBLOCK) {
                close(*fd);
                *fd = -1;
                return LLEM_OK;
            }
            rc = wait_a_while(j, 0.2, err);
            if (rc < 0) {
                close(*fd);
                *fd = -1;
                return rc;
            }
        }
        /* Whoever had it may have removed the file. */
        if (fstat(*fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
            mine.st_dev == there.st_dev)
            return LLEM_OK;
        close(*fd);
    }
}

static bool has_size(const char *path, int64_t size)
{
    struct stat st;

    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == size;
}

/* snapshots/COMMIT/a/b -> ../../../blobs/DIGEST */
static llem_errcode link_file(struct job *j, const struct llem_hub_file *f, llem_error *err)
{
    const char *path = llem_path_join(j->a, j->snapshot, f->name), *tmp;
    struct llem_buf to = LLEM_BUF_INIT(8192);
    char random[33];
    ssize_t n;
    char there[8192];
    llem_errcode rc;

    for (const char *s = f->name; *s; s++)
        if (*s == '/')
            llem_buf_adds(&to, "../");
    llem_buf_addf(&to, "../../blobs/%s", f->digest);
    if (!path || to.failed || !llem_random_hex(random)) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to link '%s'", f->name);
        goto done;
    }
    n = readlink(path, there, sizeof(there));
    if (n == (ssize_t)to.len && memcmp(there, to.data, to.len) == 0) {
        rc = LLEM_OK;
        goto done;
    }
    rc = llem_mkdirs(llem_path_dirname(j->a, path), err);
    if (rc < 0)
        goto done;
    tmp = llem_arena_printf(j->a, "%s.%.8s.tmp", path, random);
    if (!tmp || symlink(to.data, tmp) < 0 || rename(tmp, path) < 0) {
        rc = llem_fail(err, LLEM_EIO, "cannot link '%s' in '%s': %m", f->name, j->snapshot);
        if (tmp)
            unlink(tmp);
    }

done:
    llem_buf_done(&to);
    return rc;
}

static llem_errcode fetch_file(struct job *j, struct llem_hub_file *f, llem_error *err)
{
    const char *blob = llem_arena_printf(j->a, "%s/blobs/%s", j->folder, f->digest);
    llem_errcode rc;
    int lock;

    if (!blob)
        return llem_fail(err, LLEM_ENOMEM, "no memory for '%s'", f->name);
    j->now = f->name;
    rc = lock_blob(j, &lock, f->digest, err);
    if (rc < 0)
        return rc;
    /* Another process may have fetched it while we waited, or another name has the same content. */
    if (has_size(blob, f->size))
        j->done += f->present ? 0 : f->size;
    else
        rc = transfer_file(j, f, blob, err);
    if (rc == LLEM_OK)
        rc = link_file(j, f, err);
    if (lock >= 0)
        close(lock);
    return rc;
}

/* What is there is counted; what is missing must fit. */
static llem_errcode plan(struct job *j, llem_error *err)
{
    struct statvfs fs;
    int64_t missing = 0;
    double free_bytes;

    for (size_t i = 0; i < j->list.n_files; i++) {
        struct llem_hub_file *f = &j->list.files[i];
        const char *blob = llem_arena_printf(j->a, "%s/blobs/%s", j->folder, f->digest);
        struct stat st;

        f->present = has_size(blob, f->size);
        j->total += f->size;
        if (f->present)
            j->done += f->size;
        else if (blob && stat(llem_arena_printf(j->a, "%s.incomplete", blob), &st) == 0 &&
                 st.st_size <= f->size)
            missing += f->size - st.st_size;
        else
            missing += f->size;
        if (j->total < 0 || f->size > INT64_MAX / MAX_FILES)
            return llem_fail(err, LLEM_ECORRUPT, "the hub tells a size of '%s' that cannot be",
                             f->name);
    }
    if (statvfs(j->folder, &fs) < 0)
        return LLEM_OK;
    free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
    if ((double)missing <= free_bytes)
        return LLEM_OK;
    llem_fail(err, LLEM_EIO, "%.1f MB of '%s' are to be fetched, and '%s' has room for %.1f MB",
              (double)missing * 1e-6, j->title, j->cache, free_bytes * 1e-6);
    return llem_hint(
        err, LLEM_EIO,
        "free some space, or set HF_HOME or output.model_cache_dir to a directory with more");
}

static llem_errcode make_folders(struct job *j, llem_error *err)
{
    static const char *const parts[] = { "blobs", "refs", NULL };
    llem_errcode rc = LLEM_OK;

    j->locks = llem_arena_printf(j->a, "%s/.locks/%s", j->cache, llem_path_basename(j->folder));
    j->snapshot = llem_arena_printf(j->a, "%s/snapshots/%s", j->folder, j->list.commit);
    for (size_t i = 0; parts[i] && rc == LLEM_OK && !j->a->oom; i++)
        rc = llem_mkdirs(llem_path_join(j->a, j->folder, parts[i]), err);
    if (j->a->oom)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the download");
    if (rc == LLEM_OK)
        rc = llem_mkdirs(j->locks, err);
    if (rc == LLEM_OK)
        rc = llem_mkdirs(j->snapshot, err);
    if (rc < 0)
        llem_hint(err, LLEM_ENOMEM,
                  "set HF_HOME or output.model_cache_dir to a directory that can be written");
    return rc;
}

static llem_errcode write_ref(struct job *j, llem_error *err)
{
    const char *path = llem_arena_printf(j->a, "%s/refs/%s", j->folder, j->id->revision);
    llem_errcode rc;

    if (strcmp(j->id->revision, j->list.commit) == 0)
        return LLEM_OK;
    if (!path)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the download");
    rc = llem_mkdirs(llem_path_dirname(j->a, path), err);
    return rc == LLEM_OK ? llem_file_write(path, j->list.commit, strlen(j->list.commit), err) : rc;
}

/* Seconds of a variable of the tools. */
static llem_errcode seconds(const llem_ctx *ctx, const char *name, int *out, llem_error *err)
{
    const char *text = llem_ctx_variable(ctx, name);
    int64_t v;

    *out = 10;
    if (!text)
        return LLEM_OK;
    if (!llem_parse_i64(text, &v) || v < 0 || v > 86400) {
        llem_fail(err, LLEM_ECONFIG, "%s is '%s', which is no number of seconds", name, text);
        return llem_hint(err, LLEM_ECONFIG, "give whole seconds, 1 to 86400, or unset it");
    }
    if (v > 0)
        *out = (int)v;
    return LLEM_OK;
}

static llem_errcode start(struct job *j, llem_error *err)
{
    struct llem_http_opts opts = {
        .ca_file = llem_ctx_variable(j->ctx, "SSL_CERT_FILE"),
        .cancelled = cancelled,
        .user = j,
    };
    llem_errcode rc;

    j->kind = j->id->dataset ? "dataset" : "model";
    j->title = strcmp(j->id->revision, "main") == 0
                   ? j->id->repo
                   : llem_arena_printf(j->a, "%s@%s", j->id->repo, j->id->revision);
    j->endpoint = llem_hub_endpoint(j->ctx, j->a);
    j->token = llem_hub_token(j->ctx, j->a);
    j->cache = llem_hub_cache(j->ctx, j->a);
    j->folder = llem_hub_folder(j->a, j->cache, j->id);
    j->now = j->title;
    j->told_ns = j->rate_ns = llem_now_ns(j->ctx->clock);
    if (j->a->oom)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the download");
    if (llem_hub_offline(j->ctx)) {
        llem_fail(err, LLEM_EPREFLIGHT, "the %s '%s' is not fetched: HF_HUB_OFFLINE is set",
                  j->kind, j->title);
        return llem_hint(err, LLEM_EPREFLIGHT,
                         "unset it (and TRANSFORMERS_OFFLINE) where there is a network");
    }
    rc = seconds(j->ctx, "HF_HUB_ETAG_TIMEOUT", &opts.connect_timeout_s, err);
    if (rc == LLEM_OK)
        rc = seconds(j->ctx, "HF_HUB_DOWNLOAD_TIMEOUT", &opts.stall_timeout_s, err);
    return rc == LLEM_OK ? llem_http_new(&j->http, &opts, err) : rc;
}

llem_errcode llem_hub_download(struct llem_download *out, llem_ctx *ctx, struct llem_arena *a,
                               const struct llem_hub_id *id,
                               const struct llem_download_hooks *hooks, llem_error *err)
{
    struct job j = { .ctx = ctx, .a = a, .id = id, .hooks = hooks };
    llem_errcode rc = start(&j, err);

    if (rc == LLEM_OK)
        rc = list_files(&j, err);
    if (rc < 0)
        goto done;
    if (j.list.n_files == 0) {
        rc = llem_fail(err, LLEM_ENOTFOUND, "the %s '%s' has no files that llem can use", j.kind,
                       j.title);
        goto done;
    }
    rc = make_folders(&j, err);
    if (rc == LLEM_OK)
        rc = plan(&j, err);
    for (size_t i = 0; i < j.list.n_files && rc == LLEM_OK; i++)
        rc = fetch_file(&j, &j.list.files[i], err);
    if (rc == LLEM_OK)
        rc = write_ref(&j, err);
    if (rc == LLEM_OK)
        *out = (struct llem_download){
            .commit = j.list.commit,
            .dir = j.snapshot,
            .files = j.list.n_files,
            .bytes = j.total,
            .fetched_bytes = j.fetched,
        };

done:
    llem_http_free(j.http);
    return rc;
}
