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

enum { LLEM_WORKER_PROTOCOL = 1, LLEM_WORKER_NO_METHOD = -32601 };

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

/* ---- the protocol (protocol.c) ------------------------------------------------------------ */

/* How long a method may take, by the folder's `timeouts` or the table. */
struct llem_rpc_limits llem_worker_limits(const struct llem_engine_info *info, const char *method);
/* One request within its limits. A method that a worker may lack and does not know is answered with
 * an empty map. */
llem_errcode llem_worker_call(struct llem_rpc *rpc, const struct llem_engine_info *info,
                              const char *method, const struct llem_value *params,
                              struct llem_arena *a, struct llem_rpc_reply *reply, llem_error *err);
/* Is it among the `capabilities` that initialize answered? */
bool llem_worker_can(const struct llem_value *hello, const char *capability);
/* Is it a notification that the protocol knows? */
bool llem_worker_may_notify(const char *method);
/* The kinds of errors of the protocol, the last one NULL; the hint for missing_package names the
 * interpreter. */
const struct llem_rpc_kind *llem_worker_kinds(struct llem_arena *a, const char *interpreter);
struct llem_value *llem_worker_initialize_params(struct llem_arena *a,
                                                 const struct llem_engine_info *info,
                                                 const char *model,
                                                 const struct llem_value *config);
/* max_input_tokens 0 = no limit */
struct llem_value *llem_worker_prompts_params(struct llem_arena *a,
                                              const struct llem_prompt *prompts, size_t count,
                                              int64_t max_input_tokens);
struct llem_value *llem_worker_warmup_params(struct llem_arena *a, int32_t index);
struct llem_value *llem_worker_pass_params(struct llem_arena *a, const struct llem_pass *pass);

#endif
