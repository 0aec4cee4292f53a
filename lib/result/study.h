/* SPDX-License-Identifier: MIT
 *
 * The result of a study: a pure function of its plan, its manifest and what its runs left. Reads
 * documents alone, no recordings, so that thousands of runs take no time.
 */
#ifndef LLEM_RESULT_STUDY_H
#define LLEM_RESULT_STUDY_H

#include "lib/base/value.h"
#include "llem/ctx.h"

/* A number of a run as studies carry it. The order is that of rows, statistics and tables. */
struct llem__measure {
    const char *name; /* in rows, statistics and ratios: no dots */
    const char *path; /* in result.json, and there in `quantities` */
    unsigned flags;
};
enum {
    LLEM__STATISTICS = 1 << 0, /* mean and spread over cycles */
    LLEM__RATIO = 1 << 1,      /* and relative to the first configuration */
    LLEM__ENERGY = 1 << 2,     /* comparable only with the same devices and sensor */
};
enum { LLEM__MEASURES = 19 };
extern const struct llem__measure llem__measures[LLEM__MEASURES];
/* What a row has of each: the name itself, and with these endings. */
enum llem__part {
    LLEM__VALUE,
    LLEM__CI95_LO,
    LLEM__CI95_HI,
    LLEM__SOURCE,
    LLEM__QUALITY,
    LLEM__REASON,
    LLEM__PARTS
};
extern const char *const llem__part_endings[LLEM__PARTS];

struct llem__run {
    const char *dir; /* in the study's */
    size_t configuration, cycle, position;
    const char *state, *reason, *message;
    double started_s, finished_s; /* wall clock; NaN */
    double elapsed_s;             /* by the clock that nobody sets; NaN */
    bool clock_was_set;           /* while it ran, or before it in its study */
    bool completed;
    const char *quality, *source, *scope, *hardware, *prompts;               /* of the result; "" */
    double v[LLEM__MEASURES], u_stat[LLEM__MEASURES], u_sys[LLEM__MEASURES]; /* NaN */
    const char *qualities[LLEM__MEASURES], *reasons[LLEM__MEASURES];         /* "" */
    struct llem_value *row;
};

/* One experiment that runs, in all its cycles. */
struct llem__configuration {
    const struct llem_value *json; /* its entry in the plan */
    int64_t number;
    const char *engine, *model;
    struct llem_value *merged;
    struct llem__run **runs; /* in running order */
    size_t n_runs, n_completed;
};

struct llem__study {
    struct llem_arena *a;
    const char *dir;
    const struct llem_value *plan, *manifest; /* manifest: NULL if it cannot be read */
    bool original;                            /* the Python original's */
    struct llem__run *runs;                   /* in running order */
    size_t n_runs;
    struct llem__configuration *configurations; /* as the plan lists them; the first is compared
                                                   with */
    size_t n_configurations;
};

/* Everything of study_result.json, in the arena. dir: the study's. The same files give the same
 * document. */
llem_errcode llem_study_assemble(const char *dir, struct llem_arena *a, struct llem_value **out,
                                 llem_error *err);
/* The same, written as study_result.json, atomically. */
llem_errcode llem_study_result_write(llem_ctx *ctx, const char *dir, llem_error *err);

struct llem_difference;
/* Is a study what its directories say? Each completed run is recomputed from its recording, and
 * plan, manifest and study_result.json are compared with what is there. Differences are named
 * "DIR: path" and live in the arena. */
llem_errcode llem_study_verify(const char *dir, struct llem_arena *a, struct llem_difference **out,
                               size_t *n_out, size_t *compared, llem_error *err);

/* ---- the parts ---------------------------------------------------------------------------- */

/* study_statistics.c: the list `configurations`. */
struct llem_value *llem__configurations(struct llem__study *s);
/* A ratio with the 95 % interval of n logarithms of ratios, or null for a reason. */
struct llem_value *llem__ratio_of(struct llem_arena *a, const double *logs, size_t n);
struct llem_value *llem__no_ratio(struct llem_arena *a, const char *reason);
/* The ratio of one measure over pairs of runs, ours[i] / theirs[i]. logs: room for n. */
struct llem_value *llem__ratio_over(struct llem_arena *a, const struct llem__run *const *theirs,
                                    const struct llem__run *const *ours, size_t n, size_t m,
                                    double *logs);
/* Can energies of the two be compared at all: the same kinds of devices, read by one sampler? */
bool llem__same_scope(const struct llem__run *x, const struct llem__run *y);
size_t llem__measure(const char *name); /* its place in llem__measures */
/* What of a result.json belongs into a run; v, u_stat, u_sys, qualities, reasons, and what it is.
 */
void llem__run_of_result(struct llem_arena *a, struct llem__run *run,
                         const struct llem_value *result);
/* original.c: the plan that a study of the original's can be read by. */
llem_errcode llem__original_plan(struct llem__study *s, llem_error *err);
bool llem__is_original(const struct llem_value *result);
/* The settings that differ from the defaults, by path, out of the original's _resolution.json in a
 * run's directory; NULL without one. */
struct llem_value *llem__original_settings(struct llem_arena *a, const char *dir);

#endif
