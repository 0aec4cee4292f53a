/* SPDX-License-Identifier: MIT
 *
 * Choosing an interpreter, and asking it what it has.
 */
#include "lib/base/python.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/base/file.h"
#include "lib/base/process.h"

enum { ASK_MS = 10000, MAX_PACKAGES = 32 };

/* The interpreter that a path means. */
static const char *interpreter(struct llem_arena *a, const char *told)
{
    const char *path = strchr(told, '/') || told[0] == '~' ? llem_path_join(a, NULL, told) : told;

    if (path && strchr(path, '/') && llem_path_is_dir(path))
        path = llem_path_join(a, path, "bin/python3");
    return path ? path : told;
}

struct llem_python llem_python_of(const llem_ctx *ctx, struct llem_arena *a, const char *name,
                                  const char *told, const char *told_by)
{
    char *own = llem_arena_printf(a, "LLEM_PYTHON_%s", name);
    const char *const variables[] = { own, NULL, "LLEM_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX" };

    for (char *p = own; p && *p; p++)
        *p = (char)toupper((unsigned char)*p);
    for (size_t i = own ? 0 : 1; i < LLEM_COUNT(variables); i++) {
        const char *value = variables[i] ? llem_ctx_variable(ctx, variables[i]) : told;

        if (value)
            return (struct llem_python){ interpreter(a, value),
                                         variables[i] ? variables[i] : told_by };
    }
    if (ctx->own_python)
        return (struct llem_python){ ctx->own_python, "the environment of llem" };
    return (struct llem_python){ "python3", "PATH" };
}

llem_errcode llem_python_lacks(const char **missing, const struct llem_python *python,
                               const char *const *packages, llem_error *err)
{
    static const char script[] = "import importlib.util as u, sys\n"
                                 "for i, n in enumerate(sys.argv[1:]):\n"
                                 "    if u.find_spec(n) is None:\n"
                                 "        sys.exit(100 + i)\n";
    const char *argv[MAX_PACKAGES + 4] = { python->path, "-c", script };
    const struct llem_process_opts opts = {
        .argv = argv,
        .stdin_fd = LLEM_NULL_FD,
        .stdout_fd = LLEM_NULL_FD,
        .stderr_fd = LLEM_NULL_FD,
        .own_group = true,
    };
    struct llem_process p;
    char how[128];
    int code = -1;
    llem_errcode rc;
    bool ended;

    for (size_t i = 0; packages[i] && i < MAX_PACKAGES; i++)
        argv[3 + i] = packages[i];
    rc = llem_process_start(&p, &opts, err);
    if (rc < 0)
        return rc;
    ended = llem_process_wait(&p, ASK_MS);
    if (ended && WIFEXITED(p.wstatus))
        code = WEXITSTATUS(p.wstatus);
    llem_process_describe(how, sizeof(how), p.wstatus);
    llem_process_end(&p, 0);
    *missing = NULL;
    if (code == 0)
        return LLEM_OK;
    for (int i = 0; i < MAX_PACKAGES && packages[i]; i++)
        if (code == 100 + i)
            *missing = packages[i];
    if (*missing)
        return LLEM_OK;
    return llem_fail(err, ended ? LLEM_EPREFLIGHT : LLEM_ETIMEOUT,
                     "'%s' is no Python that works: it %s", python->path,
                     ended ? how : "does not answer");
}
