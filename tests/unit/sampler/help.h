/* SPDX-License-Identifier: MIT
 *
 * What the tests of the samplers share: a temporary directory with small files in it, a context,
 * and a count of the open descriptors.
 */
#ifndef LLEM_TEST_SAMPLER_HELP_H
#define LLEM_TEST_SAMPLER_HELP_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/sampler/sampler.h"

static char help_dir[256];

/* Write <help_dir>/path, making the directories on the way. */
__attribute__((unused, format(printf, 2, 3))) static void put(const char *path, const char *fmt,
                                                              ...)
{
    char full[1024], text[8192];
    va_list ap;
    char *slash;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(full, sizeof(full), "%s/%s", help_dir, path);
    slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(llem_mkdirs(full, NULL), LLEM_OK);
    *slash = '/';
    f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

__attribute__((unused)) static int make_dir(void **state)
{
    snprintf(help_dir, sizeof(help_dir), "/tmp/llem-sampler-XXXXXX");
    return mkdtemp(help_dir) && chmod(help_dir, 0755) == 0 ? 0 : -1;
}

__attribute__((unused)) static int remove_dir(void **state)
{
    return llem_remove_tree(help_dir, NULL) == LLEM_OK ? 0 : -1;
}

/* The same, read in the place of /sys. */
__attribute__((unused)) static int make_sysfs(void **state)
{
    return make_dir(state) ? -1 : setenv("LLEM_SYSFS", help_dir, 1);
}

__attribute__((unused)) static int remove_sysfs(void **state)
{
    unsetenv("LLEM_SYSFS");
    return remove_dir(state);
}

__attribute__((unused)) static llem_ctx *new_ctx(void)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    llem_ctx *ctx = NULL;

    assert_int_equal(llem_ctx_new(&ctx, &opts, NULL), LLEM_OK);
    return ctx;
}

__attribute__((unused)) static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

__attribute__((unused)) static const struct llem_domain *
domain_named(const struct llem_sampler_class *s, void *self, const char *id, size_t *index)
{
    size_t n = 0;
    const struct llem_domain *d = s->domains(self, &n);

    for (size_t i = 0; i < n; i++)
        if (!strcmp(d[i].id, id)) {
            if (index)
                *index = i;
            return &d[i];
        }
    return NULL;
}

#endif
