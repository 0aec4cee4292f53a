/* SPDX-License-Identifier: MIT
 *
 * What the tests of the base share: cmocka, a temporary directory, small files, counts of
 * descriptors and children.
 */
#ifndef LLEM_TEST_BASE_HELP_H
#define LLEM_TEST_BASE_HELP_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"

#define UNUSED __attribute__((unused))

static char help_dir[256];

UNUSED static int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(help_dir, sizeof(help_dir), "%s/llem-base-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    return mkdtemp(help_dir) && chmod(help_dir, 0755) == 0 ? 0 : -1;
}

UNUSED static int remove_dir(void **state)
{
    return llem_remove_tree(help_dir, NULL) == LLEM_OK ? 0 : -1;
}

/* "<help_dir>/name", good until the fourth call after this one. */
UNUSED static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", help_dir, name);
    return path;
}

UNUSED static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

UNUSED static int count_entries(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    int n = 0;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(d);
    return n;
}

UNUSED static int open_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

/* Not cmocka's skip(): it prints "not ok # SKIP", which Meson takes for a failure. */
#define SKIP(why)                                                                                  \
    do {                                                                                           \
        print_message("# skipped: %s\n", (why));                                                   \
        return;                                                                                    \
    } while (0)

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' does not contain '%s'", (text), (part));                                \
    } while (0)

/* A small generator, so that a failure can be repeated from its printed seed. */
UNUSED static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

UNUSED static uint64_t random_seed(void)
{
    const char *given = getenv("LLEM_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("# seed: LLEM_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif
