/* SPDX-License-Identifier: MIT
 *
 * From a recording to a result: pure functions that read nothing else. `llem run`, `llem show`,
 * `llem verify` and the tests call the same ones.
 */
#ifndef LLEM_RESULT_RESULT_H
#define LLEM_RESULT_RESULT_H

#include "lib/result/recording.h"
#include "llem/result.h"

/* Compute the whole of result.json. The same recording gives the same bytes. */
llem_errcode llem_derive(const struct llem_recording *r, struct llem_arena *a,
                         struct llem_value **out, llem_error *err);
/* Write result.json, timeseries.parquet (if output.save_timeseries), requests.parquet, config.json
 * and environment.json into the experiment's directory. */
llem_errcode llem_result_write(const struct llem_recording *r, const struct llem_value *result,
                               const char *dir, llem_error *err);
/* Derive and write what a complete recording without a result lacks. */
llem_errcode llem_result_derive(const char *experiment_dir, llem_error *err);

/* One number of a result against its recomputation. */
struct llem_difference {
    const char *path;
    const struct llem_value *stored, *computed; /* NULL = absent */
};
/* Recompute and compare every number, exactly. *count is how many values were compared; differences
 * live in the arena. */
llem_errcode llem_result_verify(const char *experiment_dir, struct llem_arena *a,
                                struct llem_difference **out, size_t *n_out, size_t *compared,
                                llem_error *err);

/* A document as a result that the public getters read: the tree is copied. oom of `a`, where the
 * tree lives, is an error. */
llem_errcode llem__result_of(llem_result **out, const struct llem_value *v,
                             const struct llem_arena *a, const char *dir, llem_error *err);
/* The tree of a result that is loaded. */
const struct llem_value *llem__result_tree(const llem_result *r);

#endif
