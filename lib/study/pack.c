/* SPDX-License-Identifier: MIT
 *
 * llem pack: a study or a run as one archive, tar within zstd, with a SHA256SUMS that sha256sum -c
 * takes. The same files make the same bytes: members are sorted, and owner, mode and time are
 * fixed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/result.h"
#include "lib/study/redact.h"
#include "llem/study.h"

enum {
    BLOCK = 512,
    CHUNK = 1 << 20,
    MAX_JSON = 256 << 20,
    MAX_MEMBERS = 5000000,
    LEVEL = 9,
    EPOCH = 946684800, /* 2000-01-01, of every member */
};

static const char sums_name[] = "SHA256SUMS";
static const char events_name[] = "events.text.utf8.zst";
static const char note_name[] = "REDACTED.txt";
static const char note[] =
    "Written by llem pack --redact. Left out: worker.log, outputs.jsonl, the Parquet tables, "
    "copies of\n"
    "configuration files and everything that llem does not know. Replaced: paths, names of local\n"
    "models and data sets, user and host names, values of variables, command lines, hashes of the\n"
    "host, boot ids; UUIDs by a hash of them. Figures are untouched: llem verify recomputes them.\n"
    "What cannot be checked any more are the hashes of configurations, which were taken of the\n"
    "original ones.\n";

struct member {
    const char *name; /* within the archive's folder */
    const char *path; /* where it is; NULL: `data` */
    const char *data;
    uint64_t size;
    char sha[65];
};

struct pack {
    struct llem_arena a;
    const llem_pack_opts *opts;
    const char *top; /* the archive's folder */
    struct member *members;
    size_t n, cap, left_out;
    struct llem_redaction redaction;
    llem_error *err;

    int fd;
    ZSTD_CCtx *zstd;
    char *in, *out; /* CHUNK each */
    uint64_t bytes; /* of the tar so far */
};

/* ---- finding -------------------------------------------------------------------------------- */

static llem_errcode no_memory(struct pack *p)
{
    return llem_fail(p->err, LLEM_ENOMEM, "out of memory for an archive");
}

static struct member *more(struct pack *p)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct member *grown = llem_arena_calloc(&p->a, cap, sizeof(*grown));

        if (!grown)
            return NULL;
        if (p->n)
            memcpy(grown, p->members, p->n * sizeof(*grown));
        p->members = grown;
        p->cap = cap;
    }
    return &p->members[p->n++];
}

/* What of a directory is packed when it is redacted: documents and columns. */
static bool is_known(const char *name)
{
    return llem_ends_with(name, ".json") || llem_ends_with(name, ".zst");
}

static llem_errcode find(struct pack *p, const char *dir, const char *above, int depth)
{
    enum { MAX_DEPTH = 32 };
    DIR *d = opendir(dir);
    llem_errcode rc = LLEM_OK;

    if (!d)
        return llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", dir);
    while (rc == LLEM_OK && !p->a.oom) {
        const struct dirent *e;
        struct stat st;
        struct member *m;
        char *path, *name;

        errno = 0;
        e = readdir(d);
        if (!e) {
            if (errno)
                rc = llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", dir);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        path = llem_path_join(&p->a, dir, e->d_name);
        name = llem_arena_printf(&p->a, "%s%s%s", above, *above ? "/" : "", e->d_name);
        if (!path || !name)
            break;
        if (lstat(path, &st) < 0) {
            rc = llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", path);
        } else if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
            rc = find(p, path, name, depth + 1);
        } else if (!S_ISREG(st.st_mode)) {
            rc =
                llem_fail(p->err, LLEM_EINVAL, "'%s' is %s, and an archive holds plain files", path,
                          S_ISLNK(st.st_mode)   ? "a symbolic link"
                          : S_ISDIR(st.st_mode) ? "a folder too deep"
                                                : "no plain file");
            llem_hint(p->err, rc, "Move it out of the directory, or put the file in its place.");
        } else if (strchr(name, '\n') || !llem_utf8_valid(name, strlen(name))) {
            rc = llem_fail(p->err, LLEM_EINVAL, "the name of '%s' cannot stand in a list of files",
                           path);
        } else if (strcmp(name, sums_name) == 0 ||
                   (p->opts->redact && (!is_known(name) || strcmp(name, note_name) == 0))) {
            p->left_out += strcmp(name, sums_name) != 0 && strcmp(name, note_name) != 0;
        } else if (p->n >= MAX_MEMBERS || !(m = more(p))) {
            rc = llem_fail(p->err, LLEM_ENOMEM, "'%s' holds more than %d files", p->opts->dir,
                           MAX_MEMBERS);
        } else {
            *m = (struct member){ .name = name, .path = path };
        }
    }
    closedir(d);
    return rc == LLEM_OK && p->a.oom ? no_memory(p) : rc;
}

static int by_name(const void *x, const void *y)
{
    const struct member *a = x, *b = y;

    return strcmp(a->name, b->name);
}

/* ---- what is in a member -------------------------------------------------------------------- */

/* events.text without what tells the machine: its rows, and packed as a column file. */
static llem_errcode events(struct pack *p, const char *path, struct llem_buf *rows,
                           struct llem_buf *file)
{
    struct llem_buf packed = LLEM_BUF_INIT(MAX_JSON), text = LLEM_BUF_INIT(MAX_JSON),
                    one = LLEM_BUF_INIT(MAX_JSON);
    llem_errcode rc = llem_file_read(&packed, path, p->err);
    unsigned long long size = ZSTD_CONTENTSIZE_ERROR;
    char *at;
    size_t n;

    if (rc < 0)
        goto done;
    size = ZSTD_getFrameContentSize(packed.data, packed.len);
    if (size > MAX_JSON || !(at = llem_buf_grow(&text, (size_t)size)) ||
        ZSTD_isError(n = ZSTD_decompress(at, (size_t)size, packed.data, packed.len)) || n != size) {
        rc = llem_fail(p->err, LLEM_ECORRUPT, "'%s' is damaged", path);
        goto done;
    }
    for (size_t i = 0; i < text.len;) {
        uint32_t len;

        if (text.len - i < sizeof(len))
            break;
        memcpy(&len, text.data + i, sizeof(len));
        i += sizeof(len);
        if (text.len - i < len) {
            rc = llem_fail(p->err, LLEM_ECORRUPT, "'%s' is damaged", path);
            goto done;
        }
        llem_buf_clear(&one);
        llem_buf_add(&one, text.data + i, len);
        i += len;
        llem_buf_clear(&packed);
        llem_redact_text(&p->redaction, &packed, one.data);
        llem_column_add_utf8(rows, packed.data);
    }
    n = ZSTD_compressBound(rows->len);
    llem_buf_clear(file);
    at = llem_buf_grow(file, n);
    n = at ? ZSTD_compress(at, n, rows->data, rows->len, 3) : 0;
    if (!at || ZSTD_isError(n) || rows->failed || one.failed || packed.failed)
        rc = no_memory(p);
    else
        file->len = n;

done:
    llem_buf_done(&packed);
    llem_buf_done(&text);
    llem_buf_done(&one);
    return rc;
}

/* The new size and hash of that column, where recording.json tells them. */
static llem_errcode adjust_columns(struct pack *p, const char *path, struct llem_value *doc)
{
    struct llem_arena *a = p->redaction.texts;
    struct llem_value *columns = llem_get(doc, "columns");
    const char *dir = llem_path_dirname(&p->a, path),
               *column = dir ? llem_path_join(&p->a, dir, events_name) : NULL;
    llem_errcode rc = LLEM_OK;

    for (size_t i = 0; column && columns && columns->kind == LLEM_LIST && i < columns->count; i++) {
        struct llem_buf rows = LLEM_BUF_INIT(MAX_JSON), file = LLEM_BUF_INIT(MAX_JSON);
        char hex[65];

        if (strcmp(llem_str_at(columns->items[i], "file", ""), events_name) != 0)
            continue;
        rc = events(p, column, &rows, &file);
        if (rc == LLEM_OK) {
            llem_sha256_of(rows.data, rows.len, hex);
            llem_set(a, columns->items[i], "bytes", llem_int(a, (int64_t)rows.len));
            llem_set(a, columns->items[i], "sha256", llem_string(a, hex));
        }
        llem_buf_done(&rows);
        llem_buf_done(&file);
        break;
    }
    return rc;
}

static llem_errcode content(struct pack *p, const struct member *m, struct llem_buf *out,
                            bool *whole);

/* A result names its recording by its hash, which is now another. */
static llem_errcode adjust_result(struct pack *p, const char *path, struct llem_value *doc)
{
    struct llem_arena *texts = p->redaction.texts;
    const char *dir = llem_path_dirname(&p->a, path);
    const struct member m = { .path = dir ? llem_path_join(&p->a, dir, "recording/recording.json")
                                          : NULL };
    struct llem_buf recording = LLEM_BUF_INIT(MAX_JSON);
    llem_errcode rc = LLEM_OK;
    char hex[65];
    bool whole;

    if (m.path && llem_path_exists(m.path) && llem_at(doc, "recording.sha256")) {
        rc = content(p, &m, &recording, &whole);
        p->redaction.texts = texts;
        llem_sha256_of(recording.data, recording.len, hex);
        llem_set_at(texts, doc, "recording.sha256", llem_string(texts, hex));
    }
    llem_buf_done(&recording);
    return rc;
}

/* A redacted member as it goes into the archive; false in *whole: as the file is. */
static llem_errcode content(struct pack *p, const struct member *m, struct llem_buf *out,
                            bool *whole)
{
    struct llem_arena own = LLEM_ARENA_INIT, *shared = p->redaction.a;
    struct llem_buf rows = LLEM_BUF_INIT(MAX_JSON);
    struct llem_value *doc = NULL;
    llem_errcode rc = LLEM_OK;

    llem_buf_clear(out);
    *whole = true;
    if (m->data) {
        llem_buf_adds(out, m->data);
    } else if (!p->opts->redact) {
        *whole = false;
    } else if (llem_ends_with(m->path, events_name)) {
        rc = events(p, m->path, &rows, out);
    } else if (llem_ends_with(m->path, ".json")) {
        rc = llem_json_load(&own, &doc, m->path, MAX_JSON, p->err);
        if (rc == LLEM_OK) {
            p->redaction.texts = &own;
            llem_redact_document(&p->redaction, doc);
            if (llem_ends_with(m->path, "/recording/recording.json"))
                rc = adjust_columns(p, m->path, doc);
            else if (llem_ends_with(m->path, "/result.json"))
                rc = adjust_result(p, m->path, doc);
            llem_json_dump(out, doc, LLEM_JSON_PRETTY);
            llem_buf_addc(out, '\n');
        }
    } else {
        *whole = false;
    }
    if (rc == LLEM_OK && (out->failed || own.oom || shared->oom))
        rc = no_memory(p);
    llem_buf_done(&rows);
    llem_arena_done(&own);
    return rc;
}

static bool canceled(const struct pack *p)
{
    return p->opts->cancel && *p->opts->cancel;
}

/* Open a member's file, which must be the plain file that was found. */
static int open_member(const struct member *m)
{
    struct stat st;
    int fd = open(m->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

static llem_errcode measure_file(struct pack *p, struct member *m)
{
    struct llem_sha256 sha;
    int fd = open_member(m);
    llem_errcode rc = LLEM_OK;
    ssize_t n;

    if (fd < 0)
        return llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", m->path);
    llem_sha256_init(&sha);
    m->size = 0;
    while ((n = read(fd, p->in, CHUNK)) > 0) {
        llem_sha256_add(&sha, p->in, (size_t)n);
        m->size += (uint64_t)n;
        if (canceled(p)) {
            rc = llem_fail(p->err, LLEM_ECANCELED, "interrupted");
            break;
        }
    }
    if (n < 0)
        rc = llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", m->path);
    llem_sha256_hex(&sha, m->sha);
    close(fd);
    return rc;
}

static llem_errcode measure(struct pack *p, struct member *m)
{
    struct llem_buf text = LLEM_BUF_INIT(MAX_JSON);
    bool whole;
    llem_errcode rc = content(p, m, &text, &whole);

    if (rc == LLEM_OK && whole) {
        m->size = text.len;
        llem_sha256_of(text.data, text.len, m->sha);
    }
    llem_buf_done(&text);
    return rc == LLEM_OK && !whole ? measure_file(p, m) : rc;
}

/* ---- writing -------------------------------------------------------------------------------- */

static llem_errcode cannot_write(struct pack *p)
{
    return llem_cannot_write(p->err, LLEM_EIO, "%s", p->opts->path);
}

static llem_errcode put(struct pack *p, const void *data, size_t len, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = { data, len, 0 };
    size_t left;

    p->bytes += len;
    do {
        ZSTD_outBuffer out = { p->out, CHUNK, 0 };

        left = ZSTD_compressStream2(p->zstd, &out, &in, end);
        if (ZSTD_isError(left))
            return llem_fail(p->err, LLEM_ENOMEM, "cannot compress '%s': %s", p->opts->path,
                             ZSTD_getErrorName(left));
        if (out.pos && llem_write_all(p->fd, p->out, out.pos) < 0)
            return cannot_write(p);
    } while (in.pos < in.size || (end == ZSTD_e_end && left));
    return canceled(p) ? llem_fail(p->err, LLEM_ECANCELED, "interrupted") : LLEM_OK;
}

static llem_errcode pad(struct pack *p)
{
    static const char zeros[BLOCK];
    size_t over = p->bytes % BLOCK;

    return over ? put(p, zeros, BLOCK - over, ZSTD_e_continue) : LLEM_OK;
}

/* POSIX.1-1988 ustar; what does not fit its fields stands in a pax header before it. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static llem_errcode put_header(struct pack *p, const char *name, uint64_t size, char type)
{
    enum { MOST = 077777777 };
    struct header h = { .type = type, .magic = "ustar", .version = { '0', '0' } };
    unsigned sum = 0;
    char digits[16];

    memcpy(h.name, name, strnlen(name, sizeof(h.name)));
    memcpy(h.mode, "0000644", 8);
    memcpy(h.uid, "0000000", 8);
    memcpy(h.gid, "0000000", 8);
    memcpy(h.major, "0000000", 8);
    memcpy(h.minor, "0000000", 8);
    snprintf(digits, sizeof(digits), "%011llo",
             (unsigned long long)(size <= UINT64_C(077777777777) ? size : 0));
    memcpy(h.size, digits, 12);
    snprintf(digits, sizeof(digits), "%011o", (unsigned)EPOCH);
    memcpy(h.mtime, digits, 12);
    memset(h.checksum, ' ', sizeof(h.checksum));
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(digits, sizeof(digits), "%06o", sum & MOST);
    memcpy(h.checksum, digits, 7);
    return put(p, &h, sizeof(h), ZSTD_e_continue);
}

/* "<length> key=value\n", the length counting itself. */
static void add_record(struct llem_buf *b, const char *key, const char *value)
{
    size_t n = strlen(key) + strlen(value) + 3, len = n + 1;
    char digits[24];

    while (n + (size_t)snprintf(digits, sizeof(digits), "%zu", len) != len)
        len = n + strlen(digits);
    llem_buf_addf(b, "%zu %s=%s\n", len, key, value);
}

static llem_errcode put_member_header(struct pack *p, const char *name, uint64_t size)
{
    struct llem_buf records = LLEM_BUF_INIT(1 << 16);
    char digits[24];
    llem_errcode rc = LLEM_OK;

    if (strlen(name) > 100)
        add_record(&records, "path", name);
    if (size > UINT64_C(077777777777)) {
        snprintf(digits, sizeof(digits), "%llu", (unsigned long long)size);
        add_record(&records, "size", digits);
    }
    if (records.failed)
        rc = no_memory(p);
    if (rc == LLEM_OK && records.len) {
        rc = put_header(p, "PaxHeaders/0", records.len, 'x');
        if (rc == LLEM_OK)
            rc = put(p, records.data, records.len, ZSTD_e_continue);
        if (rc == LLEM_OK)
            rc = pad(p);
    }
    llem_buf_done(&records);
    return rc == LLEM_OK ? put_header(p, name, size, '0') : rc;
}

static llem_errcode changed(struct pack *p, const struct member *m)
{
    llem_errcode rc = llem_fail(p->err, LLEM_EIO, "'%s' changed while it was packed",
                                m->path ? m->path : m->name);

    return llem_hint(p->err, rc, "Pack it when nothing writes there any more.");
}

static llem_errcode put_file(struct pack *p, const struct member *m)
{
    struct llem_sha256 sha;
    int fd = open_member(m);
    uint64_t left = m->size;
    llem_errcode rc = LLEM_OK;
    char hex[65];
    ssize_t n = 0;

    if (fd < 0)
        return llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", m->path);
    llem_sha256_init(&sha);
    while (rc == LLEM_OK && left && (n = read(fd, p->in, left < CHUNK ? left : CHUNK)) > 0) {
        llem_sha256_add(&sha, p->in, (size_t)n);
        left -= (uint64_t)n;
        rc = put(p, p->in, (size_t)n, ZSTD_e_continue);
    }
    if (rc == LLEM_OK && n < 0)
        rc = llem_fail(p->err, LLEM_EIO, "'%s' cannot be read: %m", m->path);
    llem_sha256_hex(&sha, hex);
    if (rc == LLEM_OK && (left || read(fd, p->in, 1) != 0 || strcmp(hex, m->sha) != 0))
        rc = changed(p, m);
    close(fd);
    return rc;
}

static llem_errcode put_member(struct pack *p, const struct member *m)
{
    struct llem_buf text = LLEM_BUF_INIT(MAX_JSON);
    const char *name = llem_arena_printf(&p->a, "%s/%s", p->top, m->name);
    bool whole = false;
    llem_errcode rc = name ? content(p, m, &text, &whole) : no_memory(p);

    if (rc == LLEM_OK && whole && text.len != m->size)
        rc = changed(p, m);
    if (rc == LLEM_OK)
        rc = put_member_header(p, name, m->size);
    if (rc == LLEM_OK)
        rc = whole ? put(p, text.data, text.len, ZSTD_e_continue) : put_file(p, m);
    llem_buf_done(&text);
    return rc == LLEM_OK ? pad(p) : rc;
}

static llem_errcode write_archive(struct pack *p)
{
    static const char zeros[2 * BLOCK];
    struct llem_buf sums = LLEM_BUF_INIT((size_t)1 << 31);
    llem_errcode rc = LLEM_OK;

    for (size_t i = 0; i < p->n; i++)
        llem_buf_addf(&sums, "%s  %s\n", p->members[i].sha, p->members[i].name);
    if (sums.failed)
        rc = no_memory(p);
    if (rc == LLEM_OK)
        rc = put_member_header(p, llem_arena_printf(&p->a, "%s/%s", p->top, sums_name), sums.len);
    if (rc == LLEM_OK)
        rc = put(p, sums.data, sums.len, ZSTD_e_continue);
    if (rc == LLEM_OK)
        rc = pad(p);
    for (size_t i = 0; rc == LLEM_OK && i < p->n; i++)
        rc = put_member(p, &p->members[i]);
    if (rc == LLEM_OK)
        rc = put(p, zeros, sizeof(zeros), ZSTD_e_end);
    llem_buf_done(&sums);
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Is it a study or a run that nobody is at work on? */
static llem_errcode check_dir(struct pack *p, int *lock)
{
    static const char *const marks[] = { "plan.json", "manifest.json", "experiment.json" };
    const char *dir = p->opts->dir;
    bool known = false;
    llem_errcode rc;

    *lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) {
        rc = llem_fail(p->err, LLEM_ENOTFOUND, "'%s' cannot be read: %m", dir);
        return llem_hint(p->err, rc, "Give the directory of a study or of a run.");
    }
    for (size_t i = 0; i < LLEM_COUNT(marks); i++) {
        const char *path = llem_path_join(&p->a, dir, marks[i]);
        known = known || (path && llem_path_exists(path));
    }
    if (!known) {
        rc = llem_fail(p->err, LLEM_ENOTFOUND, "'%s' is no directory of a study or of a run", dir);
        return llem_hint(p->err, rc, "It would hold plan.json or experiment.json.");
    }
    if (flock(*lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        rc = llem_fail(p->err, LLEM_ESTUDY, "the study in '%s' is running", dir);
        return llem_hint(p->err, rc, "Pack it when it has ended.");
    }
    return LLEM_OK;
}

/* The archive must not be in what it holds. */
static llem_errcode check_place(struct pack *p, const char *real)
{
    const char *dir = llem_path_dirname(&p->a, p->opts->path);
    char place[PATH_MAX];
    size_t n = strlen(real);
    struct stat st;
    llem_errcode rc;

    if (!dir)
        return no_memory(p);
    if (lstat(p->opts->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        rc = llem_fail(p->err, LLEM_EINVAL, "'%s' is no plain file that could be replaced",
                       p->opts->path);
        return llem_hint(p->err, rc, "Give another name with -o.");
    }
    if (!realpath(dir, place))
        return llem_cannot_write(p->err, LLEM_EIO, "%s", p->opts->path);
    if (strncmp(place, real, n) == 0 && (place[n] == '/' || place[n] == '\0')) {
        rc = llem_fail(p->err, LLEM_EINVAL, "'%s' would be within what it holds", p->opts->path);
        return llem_hint(p->err, rc, "Give another place with -o.");
    }
    return LLEM_OK;
}

static void learn_all(struct pack *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        struct llem_value *doc = NULL;

        if (strcmp(llem_path_basename(p->members[i].name), "experiment.json") == 0 &&
            llem_json_load(&own, &doc, p->members[i].path, MAX_JSON, NULL) == LLEM_OK)
            llem_redaction_learn(&p->redaction, doc);
        llem_arena_done(&own);
    }
}

static llem_errcode rename_members(struct pack *p)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    struct member *m;

    for (size_t i = 0; i < p->n; i++) {
        llem_buf_clear(&b);
        llem_redact_text(&p->redaction, &b, p->members[i].name);
        p->members[i].name = llem_arena_strdup(&p->a, b.data);
    }
    llem_buf_clear(&b);
    llem_redact_text(&p->redaction, &b, p->top);
    p->top = llem_arena_strdup(&p->a, b.data);
    llem_buf_done(&b);
    m = more(p);
    if (!m || p->a.oom)
        return no_memory(p);
    *m = (struct member){ .name = note_name, .data = note };
    return LLEM_OK;
}

static llem_errcode gather(struct pack *p)
{
    llem_errcode rc = find(p, p->opts->dir, "", 0);

    if (rc == LLEM_OK && p->n > 1)
        qsort(p->members, p->n, sizeof(*p->members), by_name);
    if (rc == LLEM_OK && p->opts->redact) {
        learn_all(p);
        rc = rename_members(p);
        if (rc == LLEM_OK)
            qsort(p->members, p->n, sizeof(*p->members), by_name);
    }
    for (size_t i = 0; rc == LLEM_OK && i < p->n; i++)
        rc = measure(p, &p->members[i]);
    return rc;
}

/* Beside the archive, renamed when it is whole. */
static llem_errcode write_file(struct pack *p)
{
    const char *dir = llem_path_dirname(&p->a, p->opts->path);
    char *hidden = dir ? llem_arena_printf(&p->a, "%s/.llem-pack-XXXXXX", dir) : NULL;
    mode_t mask = umask(0);
    llem_errcode rc;

    umask(mask);
    if (!hidden)
        return no_memory(p);
    p->fd = mkostemp(hidden, O_CLOEXEC);
    if (p->fd < 0)
        return cannot_write(p);
    rc = write_archive(p);
    if (rc == LLEM_OK && (fchmod(p->fd, 0666 & ~mask) < 0 || fsync(p->fd) < 0))
        rc = cannot_write(p);
    if (close(p->fd) < 0 && rc == LLEM_OK)
        rc = cannot_write(p);
    if (rc == LLEM_OK && rename(hidden, p->opts->path) < 0)
        rc = cannot_write(p);
    if (rc < 0)
        unlink(hidden);
    else
        (void)llem_sync_dir(dir, NULL);
    return rc;
}

static char *report(struct pack *p)
{
    struct llem_value *v = llem_map(&p->a);
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    char *text;

    llem_set(&p->a, v, "path", llem_string(&p->a, p->opts->path));
    llem_set(&p->a, v, "folder", llem_string(&p->a, p->top));
    llem_set(&p->a, v, "files", llem_int(&p->a, (int64_t)p->n));
    llem_set(&p->a, v, "left_out", llem_int(&p->a, (int64_t)p->left_out));
    llem_set(&p->a, v, "bytes", llem_int(&p->a, (int64_t)p->bytes));
    llem_json_dump(&b, v, LLEM_JSON_PRETTY);
    text = p->a.oom ? NULL : llem_buf_take(&b);
    llem_buf_done(&b);
    return text;
}

llem_errcode llem_pack(char **out, llem_ctx *ctx, const llem_pack_opts *opts, llem_error *err)
{
    llem_pack_opts own;
    struct pack p = { .err = err, .opts = &own, .fd = -1 };
    struct llem_arena redaction = LLEM_ARENA_INIT;
    char real[PATH_MAX];
    llem_errcode rc;
    int lock = -1;

    (void)ctx;
    if (opts->size != sizeof(*opts))
        return llem_fail(err, LLEM_EINVAL, "llem_pack_opts.size must be sizeof(llem_pack_opts)");
    own = *opts;
    rc = check_dir(&p, &lock);
    if (rc < 0)
        goto done;
    if (!realpath(own.dir, real)) {
        rc = llem_fail(err, LLEM_EIO, "'%s' cannot be read: %m", own.dir);
        goto done;
    }
    p.top = llem_path_basename(llem_arena_strdup(&p.a, real));
    llem_redaction_init(&p.redaction, &redaction);
    if (!own.path) {
        struct llem_buf b = LLEM_BUF_INIT(PATH_MAX);

        llem_buf_addf(&b, "%s.tar.zst", p.top);
        own.path = llem_arena_strdup(&p.a, b.data);
        llem_buf_done(&b);
    }
    p.in = malloc(CHUNK);
    p.out = malloc(CHUNK);
    p.zstd = ZSTD_createCCtx();
    if (!p.in || !p.out || !p.zstd || !own.path || p.a.oom) {
        rc = no_memory(&p);
        goto done;
    }
    ZSTD_CCtx_setParameter(p.zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(p.zstd, ZSTD_c_checksumFlag, 1);
    rc = check_place(&p, real);
    if (rc == LLEM_OK)
        rc = gather(&p);
    if (rc == LLEM_OK)
        rc = write_file(&p);
    if (rc == LLEM_OK) {
        *out = report(&p);
        if (!*out)
            rc = no_memory(&p);
    }

done:
    if (lock >= 0)
        close(lock);
    ZSTD_freeCCtx(p.zstd);
    free(p.in);
    free(p.out);
    llem_arena_done(&redaction);
    llem_arena_done(&p.a);
    return rc;
}
