/* SPDX-License-Identifier: MIT
 *
 * What the tests of configurations share: a context with the engines of the source tree, a
 * temporary directory, an environment without LLEM_ variables, the log as text.
 */
#ifndef LLEM_TEST_CONFIG_HELP_H
#define LLEM_TEST_CONFIG_HELP_H

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
#include "lib/config/config.h"

#define UNUSED __attribute__((unused))

struct fixture {
    llem_ctx *ctx;
    llem_config *config;
    llem_error err;
    struct llem_arena a;
    char dir[64];
    char log[16384]; /* every line so far */
};

UNUSED static void keep_log(void *user, enum llem_log_level level, const char *module,
                            const char *text)
{
    struct fixture *f = user;
    size_t len = strlen(f->log);

    snprintf(f->log + len, sizeof(f->log) - len, "%s: %s\n",
             level == LLEM_LOG_WARNING ? "warning" : "other", text);
}

UNUSED static const char *source_dir(void)
{
    const char *dir = getenv("LLEM_TEST_SOURCE_DIR");

    return dir ? dir : ".";
}

UNUSED static void forget_variables(void)
{
    bool again = true;

    while (again) {
        again = false;
        for (char **e = environ; *e; e++) {
            char name[256];
            if (strncmp(*e, "LLEM_", 5) != 0 || strncmp(*e, "LLEM_TEST_", 10) == 0)
                continue;
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
            unsetenv(name);
            again = true;
            break;
        }
    }
}

/* "<dir>/name", good until the fourth call after this one. */
UNUSED static const char *in_dir(struct fixture *f, const char *name)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", f->dir, name);
    return path;
}

UNUSED static const char *put(struct fixture *f, const char *name, const char *text)
{
    const char *path = in_dir(f, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* A new context: what it loads once is loaded anew. */
UNUSED static void renew(struct fixture *f)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .log = keep_log, .log_user = f };
    const char *user = in_dir(f, "user.yaml");

    llem_config_free(f->config);
    f->config = NULL;
    llem_ctx_free(f->ctx);
    opts.data_dir = source_dir();
    opts.user_config = user;
    assert_int_equal(llem_ctx_new(&f->ctx, &opts, &f->err), LLEM_OK);
}

UNUSED static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    snprintf(f->dir, sizeof(f->dir), "/tmp/llem-config-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    forget_variables();
    setenv("XDG_DATA_HOME", f->dir, 1);
    renew(f);
    *state = f;
    return 0;
}

UNUSED static int teardown(void **state)
{
    struct fixture *f = *state;

    llem_config_free(f->config);
    llem_ctx_free(f->ctx);
    llem_arena_done(&f->a);
    llem_remove_tree(f->dir, NULL);
    forget_variables();
    free(f);
    return 0;
}

/* Load a file (NULL = none) with settings "path=value", the last followed by NULL. */
UNUSED static llem_errcode load(struct fixture *f, const char *path, ...)
{
    llem_setting settings[16];
    size_t count = 0;
    const char *s;
    va_list ap;

    llem_config_free(f->config);
    f->config = NULL;
    memset(&f->err, 0, sizeof(f->err));
    va_start(ap, path);
    while ((s = va_arg(ap, const char *))) {
        const char *equals = strchr(s, '=');
        assert_non_null(equals);
        settings[count++] = (llem_setting){
            .path = llem_arena_strndup(&f->a, s, (size_t)(equals - s)),
            .value = equals + 1,
            .origin = "--set",
        };
    }
    va_end(ap);
    return llem_config_load(&f->config, f->ctx, path, settings, count, &f->err);
}

UNUSED static void must_load(struct fixture *f, llem_errcode rc)
{
    if (rc < 0)
        fail_msg("refused: %s", llem_config_errors(f->ctx));
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' does not contain '%s'", (text), (part));                                \
    } while (0)

/* The setting, as JSON, of the loaded configuration. */
UNUSED static void assert_setting(struct fixture *f, const char *path, const char *json)
{
    char *text = llem_config_get(f->config, path);
    char copy[256];

    if (!text) {
        fail_msg("there is no setting %s", path);
        return; /* the compiler does not know that it never gets here */
    }
    snprintf(copy, sizeof(copy), "%s", text);
    free(text);
    assert_string_equal(copy, json);
}

#endif
