/* SPDX-License-Identifier: MIT
 *
 * Boards that a run has to itself: which GPUs the experiments of a study will work on, and a lock a
 * board that every user of the machine sees.
 */
#ifndef LLEM_STUDY_LOCKS_H
#define LLEM_STUDY_LOCKS_H

#include "lib/base/ctx.h"
#include "lib/base/value.h"
#include "lib/study/plan.h"

enum { LLEM_LOCKS_MAX = 64 };

/* Locks that are held; a zeroed one holds none. */
struct llem_locks {
    const char *study; /* for others to read: what the boards are locked for; NULL = nothing */
    int fds[LLEM_LOCKS_MAX];
    size_t n;
};
/*
 * Lock the boards named by their UUIDs, in ascending order whatever theirs, waiting for none: all
 * or LLEM_ESTUDY, which says who holds the first that is not to be had. No boards: nothing is
 * touched. The kernel releases them when the process ends, however it ends.
 */
llem_errcode llem_locks_take(struct llem_locks *l, llem_ctx *ctx, const char *const *uuids,
                             size_t n, llem_error *err);
void llem_locks_release(struct llem_locks *l); /* idempotent; keeps errno */

/*
 * The UUIDs of the boards that one experiment will work on, or all that run of a plan, in the
 * arena: by the engine's `gpus` (docs/formats.md, "engine.yaml"), its settings and
 * CUDA_VISIBLE_DEVICES. An instance of MIG counts as its whole board, which is what is charged.
 * Nothing is started; without GPUs or NVML there are none.
 */
llem_errcode llem_locks_boards_of(struct llem_arena *a, llem_ctx *ctx, const char *engine,
                                  const struct llem_value *tree, const char *const **uuids,
                                  size_t *n, llem_error *err);
llem_errcode llem_locks_boards(struct llem_arena *a, llem_ctx *ctx, const struct llem_plan *plan,
                               const char *const **uuids, size_t *n, llem_error *err);

#endif
