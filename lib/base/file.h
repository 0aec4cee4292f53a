/* SPDX-License-Identifier: MIT
 *
 * Files: read whole with a limit, written atomically, directories made and removed.
 */
#ifndef LLEM_BASE_FILE_H
#define LLEM_BASE_FILE_H

#include "lib/base/base.h"

/* Read a whole regular file into b (whose max is the limit; a longer file is LLEM_ECORRUPT). Pipes
 * and devices are refused: whoever hands in one that nobody writes must not stop us. */
llem_errcode llem_file_read(struct llem_buf *b, const char *path, llem_error *err);
/* Temporary in the same directory, write, fsync, rename over, fsync the directory. On failure
 * nothing is left and an older file stays as it was. mode 0666 & ~umask. */
llem_errcode llem_file_write(const char *path, const void *data, size_t len, llem_error *err);
/* "cannot write 'PATH': " and errno in words; where there is no room, what to do about it. */
__attribute__((format(printf, 3, 4))) llem_errcode
llem_cannot_write(llem_error *err, llem_errcode code, const char *path, ...);
int llem_write_all(int fd, const void *data, size_t len); /* 0, or -1 with errno */
/* As mkdir -p. */
llem_errcode llem_mkdirs(const char *path, llem_error *err);
/* fsync a directory, so that a rename in it lasts. */
llem_errcode llem_sync_dir(const char *path, llem_error *err);
/* As rm -rf; a missing path is fine. Never follows a symbolic link. */
llem_errcode llem_remove_tree(const char *path, llem_error *err);
/* a/b in the arena; b alone if it is absolute or a is NULL or "". "~/" in b is the home directory.
 */
char *llem_path_join(struct llem_arena *a, const char *dir, const char *path);
char *llem_path_dirname(struct llem_arena *a, const char *path); /* "." if it has none */
const char *llem_path_basename(const char *path);                /* borrowed from path */
bool llem_path_exists(const char *path);
bool llem_path_is_dir(const char *path);
/* The directory that holds this library's code: the shared library's, or the running program's
 * where the library is linked into it. In the arena; NULL if it cannot be told. */
char *llem_program_path(struct llem_arena *a);
/* The running program itself, whatever it is (python3, say). */
char *llem_exe_path(struct llem_arena *a);

/* ---- SHA-256 (FIPS 180-4) ------------------------------------------------------------------ */
struct llem_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
};
void llem_sha256_init(struct llem_sha256 *s);
void llem_sha256_add(struct llem_sha256 *s, const void *data, size_t len);
void llem_sha256_hex(struct llem_sha256 *s, char hex[65]); /* finishes */
void llem_sha256_of(const void *data, size_t len, char hex[65]);
/* One block, without the processor's own instructions: what those are compared with in tests. */
void llem__sha256_portable(uint32_t h[8], const uint8_t block[64]);

/* ---- SHA-1 (FIPS 180-4), which names what git keeps; for no secret ------------------------- */
struct llem_sha1 {
    struct llem_sha256 s; /* five words of h are used */
};
void llem_sha1_init(struct llem_sha1 *s);
void llem_sha1_add(struct llem_sha1 *s, const void *data, size_t len);
void llem_sha1_hex(struct llem_sha1 *s, char hex[41]); /* finishes */

#endif
