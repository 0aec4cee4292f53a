/* SPDX-License-Identifier: MIT
 *
 * Files whole, files written atomically, directories, paths, SHA-256 and SHA-1.
 */
#include "lib/base/file.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "lib/base/process.h"

static llem_errcode code_of_errno(void)
{
    return errno == ENOENT || errno == ENOTDIR ? LLEM_ENOTFOUND
           : errno == ENOMEM                   ? LLEM_ENOMEM
                                               : LLEM_EIO;
}

/* ---- reading ------------------------------------------------------------------------------ */

llem_errcode llem_file_read(struct llem_buf *b, const char *path, llem_error *err)
{
    size_t before = b->len;
    llem_errcode rc;
    struct stat st;
    size_t chunk;
    ssize_t n;
    char *at;
    int fd;

    /* Opening a pipe would wait for its writer. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return llem_fail(err, code_of_errno(), "cannot open '%s': %m", path);
    if (fstat(fd, &st) < 0) {
        rc = llem_fail(err, LLEM_EIO, "cannot read '%s': %m", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        rc = llem_fail(err, LLEM_EIO, "cannot read '%s': it is no regular file", path);
        goto done;
    }
    if (S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size > b->max - b->len) {
        rc = llem_fail(err, LLEM_ECORRUPT,
                       "'%s' has %lld bytes; at most %zu are accepted in such a file", path,
                       (long long)st.st_size, b->max);
        goto done;
    }

    /* One byte beyond the size tells the end of a regular file in the same call. */
    chunk = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 1 : 16384;
    for (;;) {
        char probe;

        if (chunk > b->max - b->len)
            chunk = b->max - b->len;
        at = chunk ? llem_buf_grow(b, chunk) : &probe;
        if (!at) {
            rc = llem_fail(err, LLEM_ENOMEM, "cannot read '%s': out of memory", path);
            goto done;
        }
        n = read(fd, at, chunk ? chunk : 1);
        if (chunk) {
            b->len -= chunk - (n > 0 ? (size_t)n : 0);
            b->data[b->len] = '\0';
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = llem_fail(err, LLEM_EIO, "cannot read '%s': %m", path);
            goto done;
        }
        if (n == 0)
            break;
        if (!chunk) {
            rc = llem_fail(err, LLEM_ECORRUPT,
                           "'%s' is longer than the %zu bytes accepted in such a file", path,
                           b->max);
            goto done;
        }
        chunk = 16384;
    }
    rc = LLEM_OK;

done:
    close(fd);
    if (rc < 0 && b->cap) {
        b->len = before;
        b->data[before] = '\0';
    }
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void parent_of(char out[PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (!slash) {
        memcpy(out, ".", 2);
        return;
    }
    if (len == 0)
        len = 1; /* the root */
    memcpy(out, path, len);
    out[len] = '\0';
}

llem_errcode llem_sync_dir(const char *path, llem_error *err)
{
    llem_errcode rc = LLEM_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        /* A directory that may be written but not read cannot be synced; nothing better exists. */
        if (errno == EACCES)
            return LLEM_OK;
        return llem_fail(err, code_of_errno(), "cannot open the directory '%s': %m", path);
    }
    /* Some file systems cannot sync a directory and need not. */
    if (fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        rc = llem_fail(err, LLEM_EIO, "cannot sync the directory '%s': %m", path);
    close(fd);
    return rc;
}

int llem_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len) {
        ssize_t n = write(fd, p, len > SSIZE_MAX ? SSIZE_MAX : len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

llem_errcode llem_cannot_write(llem_error *err, llem_errcode code, const char *path, ...)
{
    char full[PATH_MAX];
    int error = errno;
    va_list ap;

    va_start(ap, path);
    vsnprintf(full, sizeof(full), path, ap);
    va_end(ap);
    errno = error;
    llem_fail(err, code, "cannot write '%s': %m", full);
    if (error == ENOSPC || error == EDQUOT)
        llem_hint(err, code, "Make room there, or write to another place.");
    return code;
}

llem_errcode llem_file_write(const char *path, const void *data, size_t len, llem_error *err)
{
    char dir[PATH_MAX];
    char tmp[PATH_MAX] = "";
    char id[33];
    llem_errcode rc;
    struct stat st;
    int fd = -1;

    if (strlen(path) >= sizeof(dir) || !llem_path_basename(path)[0])
        return llem_fail(err, LLEM_EIO, "cannot write '%s': this is no name of a file", path);
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return llem_fail(err, LLEM_EIO, "cannot write '%s': it exists and is no regular file",
                         path);
    parent_of(dir, path);
    if (!llem_random_hex(id))
        return llem_fail(err, LLEM_EIO, "cannot write '%s': the system gives no random numbers",
                         path);
    id[16] = '\0';
    if ((size_t)snprintf(tmp, sizeof(tmp), "%s/.llem-%s.tmp", dir, id) >= sizeof(tmp))
        return llem_fail(err, LLEM_EIO, "cannot write '%s': the path is too long", path);

    /* Not mkstemp(): the mode has to follow the umask, which cannot be read without changing it. */
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        rc = llem_cannot_write(err, code_of_errno(), "%s", path);
        tmp[0] = '\0';
        goto done;
    }
    if (llem_write_all(fd, data, len) < 0 || fsync(fd) < 0) {
        rc = llem_cannot_write(err, LLEM_EIO, "%s", path);
        goto done;
    }
    /* On network file systems the error of a write may come only here. */
    if (close(fd) < 0 && errno != EINTR) {
        rc = llem_cannot_write(err, LLEM_EIO, "%s", path);
        fd = -1;
        goto done;
    }
    fd = -1;
    if (rename(tmp, path) < 0) {
        rc = llem_cannot_write(err, LLEM_EIO, "%s", path);
        goto done;
    }
    tmp[0] = '\0';
    rc = llem_sync_dir(dir, err);

done:
    if (fd >= 0)
        close(fd);
    if (tmp[0])
        unlink(tmp);
    return rc;
}

/* ---- directories -------------------------------------------------------------------------- */

llem_errcode llem_mkdirs(const char *path, llem_error *err)
{
    char part[PATH_MAX];
    struct stat st;
    size_t len = strlen(path);
    size_t i;

    if (len == 0 || len >= sizeof(part))
        return llem_fail(err, LLEM_EIO, "cannot make the directory '%.200s': the name is %s", path,
                         len ? "too long" : "empty");
    for (i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0)
            continue;
        /* mkdir() may complain of rights or a read-only system before it sees that the name exists.
         */
        if (stat(part, &st) < 0) {
            if (errno == ENOENT)
                mkdir(part, 0777); /* for its errno */
            return llem_fail(err, LLEM_EIO, "cannot make the directory '%s': %m", part);
        }
        if (!S_ISDIR(st.st_mode))
            return llem_fail(err, LLEM_EIO,
                             "cannot make the directory '%s': '%s' is there and is no directory",
                             path, part);
    }
    return LLEM_OK;
}

/* Empty the directory that dir reads; 0, or -1 with errno. Closes dir. */
static int empty_directory(DIR *dir)
{
    struct dirent *entry;
    int failure = 0;
    int fd = dirfd(dir);

    while (!failure && (errno = 0, entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        int sub;
        DIR *subdir;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
            continue;
        /* Linux says EISDIR, POSIX EPERM. */
        if (errno != EISDIR && errno != EPERM) {
            failure = errno;
            break;
        }
        sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        subdir = sub < 0 ? NULL : fdopendir(sub);
        if (!subdir) {
            failure = errno;
            if (sub >= 0)
                close(sub);
            break;
        }
        if (empty_directory(subdir) < 0 ||
            (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT))
            failure = errno;
    }
    if (!failure)
        failure = errno;
    closedir(dir);
    errno = failure;
    return failure ? -1 : 0;
}

llem_errcode llem_remove_tree(const char *path, llem_error *err)
{
    DIR *dir;
    int fd;

    if (unlink(path) == 0 || errno == ENOENT)
        return LLEM_OK;
    if (errno != EISDIR && errno != EPERM)
        return llem_fail(err, LLEM_EIO, "cannot remove '%s': %m", path);
    /* An empty one goes even where it may not be read, as a strange umask makes it. */
    if (rmdir(path) == 0)
        return LLEM_OK;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        llem_fail(err, LLEM_EIO, "cannot remove '%s': %m", path);
        if (fd >= 0)
            close(fd);
        return LLEM_EIO;
    }
    if (empty_directory(dir) < 0 || (rmdir(path) < 0 && errno != ENOENT))
        return llem_fail(err, LLEM_EIO, "cannot remove '%s': %m", path);
    return LLEM_OK;
}

/* ---- paths -------------------------------------------------------------------------------- */

static const char *home_directory(char *buf, size_t size)
{
    const char *home = getenv("HOME");
    struct passwd pw, *found = NULL;

    if (home && home[0])
        return home;
    if (getpwuid_r(getuid(), &pw, buf, size, &found) == 0 && found)
        return found->pw_dir;
    return NULL;
}

char *llem_path_join(struct llem_arena *a, const char *dir, const char *path)
{
    if (!path)
        return NULL;
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
        char buf[4096];
        const char *home = home_directory(buf, sizeof(buf));

        if (home)
            return llem_arena_printf(a, "%s%s", home, path + 1);
    }
    if (path[0] == '/' || !dir || !dir[0])
        return llem_arena_strdup(a, path);
    if (!path[0])
        return llem_arena_strdup(a, dir);
    return llem_arena_printf(a, "%s%s%s", dir, llem_ends_with(dir, "/") ? "" : "/", path);
}

char *llem_path_dirname(struct llem_arena *a, const char *path)
{
    size_t len = path ? strlen(path) : 0;

    if (!path)
        return NULL;
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len == 0)
        return llem_arena_strdup(a, ".");
    while (len > 1 && path[len - 1] == '/')
        len--;
    return llem_arena_strndup(a, path, len);
}

const char *llem_path_basename(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

bool llem_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool llem_path_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *llem_exe_path(struct llem_arena *a)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    return n > 0 ? llem_arena_strndup(a, path, (size_t)n) : NULL;
}

char *llem_program_path(struct llem_arena *a)
{
    char full[PATH_MAX];
    struct link_map *map = NULL;
    Dl_info info;
    char *exe;

    /* The program itself has an empty name in the linker's list; a shared library has its path. */
    if (dladdr1((const void *)llem_sha256_init, &info, (void **)&map, RTLD_DL_LINKMAP) && map &&
        map->l_name && map->l_name[0] && realpath(map->l_name, full))
        return llem_path_dirname(a, full);
    exe = llem_exe_path(a);
    return exe ? llem_path_dirname(a, exe) : NULL;
}

/* ---- SHA-256 ------------------------------------------------------------------------------ */

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

#ifdef __x86_64__
/* With the processor's own instructions, four rounds at a time: ten times as fast, which plans of
 * many thousand experiments and digests of weights of many gigabytes are worth. */
__attribute__((target("sha,sse4.1"))) static void compress_sha_ni(uint32_t *h, const uint8_t *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abcd = _mm_loadu_si128((const void *)h), efgh = _mm_loadu_si128((const void *)(h + 4));
    __m128i m[4], abef, cdgh, abef_before, cdgh_before, w;

    /* The instructions want the eight words in this order. */
    abcd = _mm_shuffle_epi32(abcd, 0xB1);
    efgh = _mm_shuffle_epi32(efgh, 0x1B);
    abef = abef_before = _mm_alignr_epi8(abcd, efgh, 8);
    cdgh = cdgh_before = _mm_blend_epi16(efgh, abcd, 0xF0);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        if (i < 4) {
            m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(block + 16 * i)), swap);
        } else {
            w = _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4);
            w = _mm_add_epi32(_mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]), w);
            m[i & 3] = _mm_sha256msg2_epu32(w, m[(i + 3) & 3]);
        }
        w = _mm_add_epi32(m[i & 3], _mm_loadu_si128((const void *)(round_constants + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, w);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(w, 0x0E));
    }
    abef = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1B);
    cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xB1);
    _mm_storeu_si128((void *)h, _mm_blend_epi16(abef, cdgh, 0xF0));
    _mm_storeu_si128((void *)(h + 4), _mm_alignr_epi8(cdgh, abef, 8));
}

/* Asked once, when the library is loaded: in a virtual machine the question is slow. */
static bool has_sha_ni;

__attribute__((constructor)) static void look_at_processor(void)
{
    unsigned a, b, c, d;

    has_sha_ni = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}
#endif

static void compress_portable(uint32_t *h, const uint8_t *block)
{
    uint32_t w[64];
    uint32_t s[8];
    int i;

    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (; i < 64; i++) {
        uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;

        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(s, h, sizeof(s));
    for (i = 0; i < 64; i++) {
        uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t pick = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t t1 = s[7] + sum1 + pick + round_constants[i] + w[i];
        uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);

        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += t1;
        s[0] = t1 + sum0 + most;
    }
    for (i = 0; i < 8; i++)
        h[i] += s[i];
}

static void compress(uint32_t *h, const uint8_t *block)
{
#ifdef __x86_64__
    if (has_sha_ni) {
        compress_sha_ni(h, block);
        return;
    }
#endif
    compress_portable(h, block);
}

void llem__sha256_portable(uint32_t h[8], const uint8_t block[64])
{
    compress_portable(h, block);
}

void llem_sha256_init(struct llem_sha256 *s)
{
    *s = (struct llem_sha256){
        .h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
               0x5be0cd19 },
    };
}

/* What both digests do alike: blocks of 64 bytes, and the length at the end. */
static void feed(struct llem_sha256 *s, const void *data, size_t len,
                 void (*block)(uint32_t *h, const uint8_t *block))
{
    const uint8_t *p = data;
    size_t used = s->bytes % sizeof(s->block);
    size_t n;

    s->bytes += len;
    if (used) {
        n = sizeof(s->block) - used;
        if (n > len)
            n = len;
        memcpy(s->block + used, p, n);
        p += n;
        len -= n;
        if (used + n < sizeof(s->block))
            return;
        block(s->h, s->block);
    }
    for (; len >= sizeof(s->block); p += sizeof(s->block), len -= sizeof(s->block))
        block(s->h, p);
    if (len)
        memcpy(s->block, p, len);
}

static void finish(struct llem_sha256 *s, char *hex, int digits,
                   void (*block)(uint32_t *h, const uint8_t *block))
{
    static const char names[] = "0123456789abcdef";
    uint64_t bits = s->bytes * 8;
    uint8_t length[8];
    int i;

    for (i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    feed(s, "\x80", 1, block);
    while (s->bytes % sizeof(s->block) != 56)
        feed(s, "", 1, block);
    feed(s, length, sizeof(length), block);
    for (i = 0; i < digits; i++)
        hex[i] = names[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[digits] = '\0';
}

void llem_sha256_add(struct llem_sha256 *s, const void *data, size_t len)
{
    feed(s, data, len, compress);
}

void llem_sha256_hex(struct llem_sha256 *s, char hex[65])
{
    finish(s, hex, 64, compress);
}

void llem_sha256_of(const void *data, size_t len, char hex[65])
{
    struct llem_sha256 s;

    llem_sha256_init(&s);
    llem_sha256_add(&s, data, len);
    llem_sha256_hex(&s, hex);
}

/* ---- SHA-1 -------------------------------------------------------------------------------- */

static void compress_sha1(uint32_t *h, const uint8_t *block)
{
    static const uint32_t constants[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    uint32_t w[80];
    uint32_t s[5];
    int i;

    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 31);
    memcpy(s, h, sizeof(s));
    for (i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (s[1] & s[2]) | (~s[1] & s[3])
                     : i < 40 ? s[1] ^ s[2] ^ s[3]
                     : i < 60 ? (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])
                              : s[1] ^ s[2] ^ s[3];
        uint32_t t = rotate(s[0], 27) + f + s[4] + constants[i / 20] + w[i];

        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotate(s[1], 2);
        s[1] = s[0];
        s[0] = t;
    }
    for (i = 0; i < 5; i++)
        h[i] += s[i];
}

void llem_sha1_init(struct llem_sha1 *s)
{
    *s = (struct llem_sha1){
        .s.h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 },
    };
}

void llem_sha1_add(struct llem_sha1 *s, const void *data, size_t len)
{
    feed(&s->s, data, len, compress_sha1);
}

void llem_sha1_hex(struct llem_sha1 *s, char hex[41])
{
    finish(&s->s, hex, 40, compress_sha1);
}
