/* SPDX-License-Identifier: MIT
 *
 * What the tests of the engine `cpu` share: the repository's test data, a temporary directory,
 * files that are written into it.
 */
#ifndef LLEM_TESTS_CPU_TEST_H
#define LLEM_TESTS_CPU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engines/cpu/cpu.h"
#include "lib/base/file.h"
#include "lib/base/json.h"

/* A path below tests/data; good until the fourth call after it. */
static inline const char *data_path(const char *rel)
{
    static char paths[4][1024];
    static unsigned at;
    const char *root = getenv("LLEM_TEST_SOURCE_DIR");
    char *path = paths[at++ % 4];

    snprintf(path, 1024, "%s/tests/data/%s", root ? root : ".", rel);
    return path;
}

static inline char *make_temp_dir(void)
{
    static char dir[64];

    strcpy(dir, "/tmp/llem-cpu-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[1024];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void write_text(const char *dir, const char *name, const char *text)
{
    write_file(dir, name, text, strlen(text));
}

static inline void read_file(struct llem_buf *b, const char *path)
{
    llem_error err = { 0 };

    llem_buf_init(b, SIZE_MAX / 2);
    if (llem_file_read(b, path, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void copy_file(const char *from, const char *dir, const char *name)
{
    struct llem_buf b;

    read_file(&b, from);
    write_file(dir, name, b.data, b.len);
    llem_buf_done(&b);
}

/* A refusal is one whole sentence that names what it is about. */
static inline void assert_sentence(llem_errcode rc, const llem_error *err, const char *about)
{
    if (rc >= 0)
        fail_msg("accepted; a sentence about '%s' was due", about);
    assert_int_equal(rc, err->code);
    if (!strstr(err->msg, about) && !strstr(err->file, about))
        fail_msg("'%s' does not mention '%s'", err->msg, about);
    assert_null(strchr(err->msg, '\n'));
}

#endif
