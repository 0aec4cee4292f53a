/* SPDX-License-Identifier: MIT
 *
 * Which Python runs what needs one: packages of two engines rarely share an environment, so each
 * may have its own.
 */
#ifndef LLEM_BASE_PYTHON_H
#define LLEM_BASE_PYTHON_H

#include "lib/base/ctx.h"

struct llem_python {
    const char *path;   /* the interpreter: a path, or a name to look up in PATH */
    const char *origin; /* who says so: "LLEM_PYTHON", "VIRTUAL_ENV", "PATH", ... */
};

/* The first of: LLEM_PYTHON_<NAME> (capital letters), `told` (a path; NULL = nothing; `told_by` is
 * its origin), LLEM_PYTHON, the active environment (VIRTUAL_ENV, CONDA_PREFIX), the one that llem
 * is installed in, python3. A directory stands for the interpreter of the environment in it. In the
 * arena. */
struct llem_python llem_python_of(const llem_ctx *ctx, struct llem_arena *a, const char *name,
                                  const char *told, const char *told_by);
/* Of these packages (NULL-terminated), the first that the interpreter does not find; NULL if it
 * finds all. Starts it, for 10 s at most. What is wrong with the interpreter itself is an error. */
llem_errcode llem_python_lacks(const char **missing, const struct llem_python *python,
                               const char *const *packages, llem_error *err);

#endif
