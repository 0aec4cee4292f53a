/* SPDX-License-Identifier: MIT
 *
 * Studies: many experiments out of one file.
 */
#ifndef LLEM_STUDY_H
#define LLEM_STUDY_H

#include "llem/config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llem_plan llem_plan;

/*
 * What a file declares, what of it is valid, what does the same as something else, and what runs in
 * which order. Starts nothing and writes nothing. path: a study's file, or an experiment's, which
 * is a study of one; NULL: settings only. Settings reach every experiment; those that begin with
 * "study_execution." are the study's. No valid experiment at all is LLEM_ECONFIG with the first
 * reasons. On success *out is the caller's; release it with llem_plan_free().
 */
LLEM_API llem_errcode llem_plan_study(llem_plan **out, llem_ctx *ctx, const char *path,
                                      const llem_setting *settings, size_t count, llem_error *err);
LLEM_API void llem_plan_free(llem_plan *p); /* NULL is allowed */
/* The plan as JSON, to free(): docs/formats.md, "llem plan --format=json". NULL without memory. */
LLEM_API char *llem_plan_json(const llem_plan *p);

#ifdef __cplusplus
}
#endif

#endif
