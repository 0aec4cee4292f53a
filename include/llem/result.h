/* SPDX-License-Identifier: MIT
 *
 * Results: opaque, with typed getters and their JSON. Field names are those of docs/formats.md.
 */
#ifndef LLEM_RESULT_H
#define LLEM_RESULT_H

#include <stddef.h>
#include <stdint.h>

#include "llem/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llem_result llem_result;

/* A measured quantity: value with unit, source and uncertainty, or null with a reason. */
typedef struct llem_quantity {
    int valid; /* 0: no value; reason says why */
    double value;
    double u_stat, u_sys;    /* standard uncertainties (k=1) in the unit; NaN = not known */
    double ci95_lo, ci95_hi; /* NaN = not known */
    const char *unit, *source, *quality, *reason; /* borrowed, never NULL; quality: measured |
                                                     derived | estimated | none */
} llem_quantity;

/* Load the result of an experiment: its directory, a study's directory with one experiment, or a
 * result.json. A complete recording without a result is derived and written first. */
LLEM_API llem_errcode llem_result_load(llem_result **out, llem_ctx *ctx, const char *path,
                                       llem_error *err);
LLEM_API void llem_result_free(llem_result *r); /* NULL is allowed */

/*
 * The result of a study: its directory, or its study_result.json, which is made of what its runs
 * left where it is missing or older than they are. At any time: what is missing is told in
 * "summary.missing". Also the directory of a study that the Python original made. The getters below
 * read it: docs/formats.md, "study_result.json".
 */
LLEM_API llem_errcode llem_study_load(llem_result **out, llem_ctx *ctx, const char *path,
                                      llem_error *err);
/* 1: llem_study_load() is for it, and not llem_result_load(): the directory of a study of several
 * runs, or a study_result.json. */
LLEM_API int llem_is_study(const char *path);
/* The runs of a study as a table, a row each: format "csv" or "parquet". *out is to free(). */
LLEM_API llem_errcode llem_study_table(const llem_result *study, const char *format, char **out,
                                       size_t *len, llem_error *err);

/* Results, or studies, against the first of them: paths as for llem_result_load() or, all of them,
 * llem_study_load(). The getters read it: docs/formats.md, "llem compare --format=json". */
LLEM_API llem_errcode llem_compare(llem_result **out, llem_ctx *ctx, const char *const *paths,
                                   size_t n, llem_error *err);

/* The text of result.json; borrowed. */
LLEM_API const char *llem_result_json(const llem_result *r);
/* The experiment's directory; borrowed. */
LLEM_API const char *llem_result_dir(const llem_result *r);

/* Fields by path ("total_energy_j", "warmup_result.converged", "energy_per_device_j.0").
 * LLEM_ENOTFOUND: no such field, or another type; *null is 1 and the output untouched where the
 * field is null. */
LLEM_API llem_errcode llem_result_double(const llem_result *r, const char *path, double *out,
                                         int *null);
LLEM_API llem_errcode llem_result_int(const llem_result *r, const char *path, int64_t *out,
                                      int *null);
LLEM_API llem_errcode llem_result_bool(const llem_result *r, const char *path, int *out, int *null);
/* Borrowed from the result. */
LLEM_API llem_errcode llem_result_string(const llem_result *r, const char *path, const char **out,
                                         int *null);
/* How many elements a list (or map) has. */
LLEM_API llem_errcode llem_result_count(const llem_result *r, const char *path, size_t *out);
/* quantities[path], with its uncertainty. */
LLEM_API llem_errcode llem_result_quantity(const llem_result *r, const char *path,
                                           llem_quantity *out);

/* Recompute everything from the recording and compare; of a study each completed run, and plan,
 * manifest and study_result.json with what the directories say. Calls difference for each value
 * that differs; *compared is how many were compared. LLEM_OK even if some differ: count the calls.
 */
typedef void (*llem_difference_fn)(void *user, const char *path, const char *stored,
                                   const char *computed);
LLEM_API llem_errcode llem_verify(llem_ctx *ctx, const char *path, size_t *compared,
                                  llem_difference_fn difference, void *user, llem_error *err);

/* The sentence and the hint of a reason code; NULL if there is no such code. Static. */
LLEM_API const char *llem_reason_sentence(const char *code);
LLEM_API const char *llem_reason_hint(const char *code);

#ifdef __cplusplus
}
#endif

#endif
