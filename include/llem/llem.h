/* SPDX-License-Identifier: MIT
 *
 * libllem: measure what LLM inference costs, and how sure that is. This header includes all others.
 *
 *     llem_ctx *ctx;
 *     llem_result *result;
 *     llem_error err;
 *     llem_ctx_new(&ctx, NULL, &err);
 *     llem_experiment_args args = { .size = sizeof(args), .config_path = "quickstart.yaml" };
 *     if (llem_run_experiment(&result, ctx, &args, &err) < 0)
 *         fprintf(stderr, "%s\n", err.msg);
 *
 * Ownership: `T **out` parameters are the caller's on success and untouched on failure; `const char
 * *` results are borrowed from the first argument; `char *` results are to free().
 */
#ifndef LLEM_LLEM_H
#define LLEM_LLEM_H

#include "llem/config.h"
#include "llem/ctx.h"
#include "llem/engine.h"
#include "llem/error.h"
#include "llem/fetch.h"
#include "llem/job.h"
#include "llem/result.h"
#include "llem/study.h"

#endif
