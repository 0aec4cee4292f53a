/* SPDX-License-Identifier: MIT
 *
 * Engines that are a folder with a worker: one engine table over the worker protocol
 * (docs/worker-protocol.md).
 */
#ifndef LLEM_ENGINE_WORKER_H
#define LLEM_ENGINE_WORKER_H

#include "lib/base/rpc.h"
#include "lib/engine/engine.h"
#include "lib/engine/registry.h"

enum { LLEM_WORKER_PROTOCOL = 1 };

/* The table of every such engine but for name and help; args.info says which folder it is. */
extern const struct llem_engine_class llem_engine_worker;

/* How the worker of a folder is started: what `command` becomes on this machine. */
struct llem_worker_command {
    const char *const *argv, *const *env;
    const char *interpreter; /* NULL = the command names none */
    const char *origin;      /* who chose it: "LLEM_PYTHON", "PATH", ... */
};
llem_errcode llem_worker_command(struct llem_worker_command *out, llem_ctx *ctx,
                                 struct llem_arena *a, const struct llem_engine_info *info,
                                 llem_error *err);
/* Can it be started, as far as that can be told in a moment: is the program there, and the Python
 * packages that the folder names? */
llem_errcode llem_worker_usable(llem_ctx *ctx, const struct llem_engine_info *info,
                                llem_error *err);
/* How long a method may take, by the folder's `timeouts` or the table. */
struct llem_rpc_limits llem_worker_limits(const struct llem_engine_info *info, const char *method);
/* The kinds of errors of the protocol; the hint for missing_package names the interpreter. */
const struct llem_rpc_kind *llem_worker_kinds(struct llem_arena *a, const char *interpreter);

#endif
