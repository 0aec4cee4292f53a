/* SPDX-License-Identifier: MIT
 *
 * Studies: many experiments out of one file.
 */
#ifndef LLEM_STUDY_H
#define LLEM_STUDY_H

#include "llem/config.h"
#include "llem/job.h"

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
/* The same of a JSON text in place of the file. name stands for the file's path: in errors, in what
 * is recorded, and for paths in the text; a file that has it is copied into the study's directory,
 * else the text is. */
LLEM_API llem_errcode llem_plan_from_json(llem_plan **out, llem_ctx *ctx, const char *text,
                                          size_t len, const char *name,
                                          const llem_setting *settings, size_t count,
                                          llem_error *err);
LLEM_API void llem_plan_free(llem_plan *p); /* NULL is allowed */
/* The plan as JSON, to free(): docs/formats.md, "llem plan --format=json". NULL without memory. */
LLEM_API char *llem_plan_json(const llem_plan *p);
/* Which of its experiments do the same, as JSON, to free(): docs/formats.md,
 * "equivalence_groups.json". NULL without memory. */
LLEM_API char *llem_plan_groups(const llem_plan *p);
/* A valid experiment by its number, from 1, in the order declared. On success *out is the caller's,
 * to llem_config_free() before the plan. LLEM_ENOTFOUND: there is none, or it is invalid. */
LLEM_API llem_errcode llem_plan_experiment(llem_config **out, const llem_plan *p, size_t number,
                                           llem_error *err);
/* How many runs it has. */
LLEM_API size_t llem_plan_runs(const llem_plan *p);
/* Not 0: a study, rather than the file or the settings of a single experiment. */
LLEM_API int llem_plan_is_study(const llem_plan *p);
/* The resolved configuration of a run (from 0) as JSON, to free(). NULL without memory. */
LLEM_API char *llem_plan_config(const llem_plan *p, size_t run);

/*
 * Run a plan: each run in a process of its own, one after the other, with the plan's order, pauses
 * and limits. The plan is borrowed until llem_job_free(). What the study's directory holds already
 * (opts->resume) is not run again. LLEM_ESTUDY: no such study, another process runs it, a board is
 * taken, or it is another study by now (the message is a diff).
 */
LLEM_API llem_errcode llem_study_start(llem_job **out, llem_ctx *ctx, const llem_plan *plan,
                                       const llem_run_opts *opts, llem_error *err);
/* The plan of a study that was begun, made again of the file and settings that its plan.json names.
 * dir NULL: the newest unfinished study of the results directory `results` (NULL: as configured);
 * *found, if not NULL, receives its directory, to free(). */
LLEM_API llem_errcode llem_plan_resume(llem_plan **out, llem_ctx *ctx, const char *dir,
                                       const char *results, char **found, llem_error *err);

/* run_study of the seeds. Zero-initialise, set size. Blocks until the study is over. */
typedef struct llem_study_args {
    size_t size;
    const char *config_path; /* or */
    const llem_plan *plan;
    llem_run_opts run; /* run.size may be 0 */
    llem_progress_fn progress;
    void *progress_user;
    const llem_setting *settings; /* above the file */
    size_t n_settings;
} llem_study_args;

/* *out is study_result.json, the caller's, llem_result_free(). Runs that failed are told there; an
 * error is what kept the study itself from running. */
LLEM_API llem_errcode llem_run_study(llem_result **out, llem_ctx *ctx, const llem_study_args *args,
                                     llem_error *err);

/*
 * A study, or a run, as one archive (tar within zstd) with a SHA256SUMS: docs/formats.md,
 * "llem pack". The same files make the same bytes.
 */
typedef struct llem_pack_opts {
    size_t size;                /* sizeof(llem_pack_opts) */
    const char *dir, *path;     /* path: NULL = <name of dir>.tar.zst in the current directory */
    int redact;                 /* not 0: without what tells the machine and the person */
    const volatile int *cancel; /* not 0: stop, leave nothing; NULL = never */
} llem_pack_opts;

/* *out, to free(), is JSON: {path, folder, files, left_out, bytes}. */
LLEM_API llem_errcode llem_pack(char **out, llem_ctx *ctx, const llem_pack_opts *opts,
                                llem_error *err);

/*
 * What the libraries of engines warned of in the runs of these studies (or in single runs), as
 * rules that nobody has written yet, told by comparing the runs that had a warning with those that
 * completed without: docs/formats.md, "llem report-gaps".
 */
typedef struct llem_gaps_opts {
    size_t size; /* sizeof(llem_gaps_opts) */
    const char *const *dirs;
    size_t n_dirs;
    const char *engine; /* NULL = all */
    int exceptions;     /* not 0: what engines failed with, too */
    const char *path;   /* where the rules are written if there are any; NULL = nowhere */
} llem_gaps_opts;

/* *out, to free(), is JSON: {gaps, known, runs, configurations, not_observed: [dir], text}. */
LLEM_API llem_errcode llem_report_gaps(char **out, llem_ctx *ctx, const llem_gaps_opts *opts,
                                       llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
