/* SPDX-License-Identifier: MIT
 *
 * Weak places for what lib/result does not have yet, so that the library links. Goes with its last function.
 */
#include "lib/result/result.h"
#include "llem/result.h"

#define PENDING __attribute__((weak))

PENDING llem_errcode llem_result_load(llem_result **out, llem_ctx *ctx, const char *path,
                                      llem_error *err)
{
    return llem_fail(err, LLEM_ENOTSUP, "this build computes no results");
}

PENDING llem_errcode llem_derive(const struct llem_recording *r, struct llem_arena *a,
                                 struct llem_value **out, llem_error *err)
{
    return llem_fail(err, LLEM_ENOTSUP, "this build computes no results");
}

PENDING llem_errcode llem_result_write(const struct llem_recording *r,
                                       const struct llem_value *result, const char *dir,
                                       llem_error *err)
{
    return llem_fail(err, LLEM_ENOTSUP, "this build computes no results");
}

PENDING void llem_result_free(llem_result *r)
{
}
