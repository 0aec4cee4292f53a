/* SPDX-License-Identifier: MIT
 *
 * The plan of a study: which of the declared experiments are valid, which of them do the same, and
 * in which order the rest runs. Made of the configuration alone; nothing is started.
 */
#ifndef LLEM_STUDY_PLAN_H
#define LLEM_STUDY_PLAN_H

#include "lib/config/config.h"
#include "llem/study.h"

enum { LLEM_PLAN_VERSION = 2 }; /* of its document */

/* One declared experiment, by its number in the sweep. */
struct llem_planned {
    const char *errors; /* NULL: valid */
    char hash[17];      /* measurement_config_hash */
    uint8_t effect[32]; /* digest of what it does: equal for those of one group */
    uint32_t group;     /* of those that do the same; the first declared stands for it */
};

struct llem_plan_group {
    uint32_t first, count; /* declared number of the first member; how many there are */
};

struct llem_plan_run {
    uint32_t cell;  /* declared number */
    uint32_t cycle; /* from 0 */
};

struct llem_plan {
    struct llem_arena arena;
    struct llem_sweep *sweep;
    struct llem_planned *cells; /* sweep->count */
    size_t n_valid, n_invalid;
    size_t n_chosen;                /* of the valid ones, those that run */
    struct llem_plan_group *groups; /* in the order of their first members */
    size_t n_groups;
    bool deduplicate; /* one run a group, else one a valid cell */
    struct llem_plan_run *runs;
    size_t n_runs, n_cycles;
    double experiment_gap_s, cycle_gap_s, pauses_s; /* pauses_s: all of them together */
    struct llem_value *warnings;                    /* sentences */
    char design_hash[17]; /* study_design_hash: of what runs, before cycles */
};

/* Takes the sweep, whatever is returned. No valid experiment at all is an error, whose sentence is
 * the first reasons. */
llem_errcode llem_plan_make(struct llem_plan **out, struct llem_sweep *sweep, llem_error *err);

/* Of one run of a configuration, which is copied. quick: with measurement.quick. */
llem_errcode llem_plan_of_config(struct llem_plan **out, llem_ctx *ctx,
                                 const struct llem_config *config, bool quick, llem_error *err);
/* The name of a run's directory in the study's, in the arena; NULL without memory. */
char *llem_plan_run_dir(const struct llem_plan *p, size_t run, struct llem_arena *a);
/* docs/formats.md, "llem plan --format=json". dirs: the runs' directories where they are not those
 * of llem_plan_run_dir(), else NULL. */
struct llem_value *llem_plan_document(const struct llem_plan *p, const char *const *dirs,
                                      struct llem_arena *a);
/* The pause between a run and the one that ran before it. */
double llem_plan_gap_s(const struct llem_plan *p, size_t before, size_t run);

/* ---- equivalence_groups.json (docs/formats.md) ---- */

/* What is the same before anything runs, as that file says it. */
struct llem_value *llem_equivalence_groups(const struct llem_plan *p, struct llem_arena *a);
/* Write it into the study's directory, at the start. */
llem_errcode llem_equivalence_write(const struct llem_plan *p, const char *dir, llem_error *err);
/* At the end, or any time: find what ran with the same, by the config.json of the runs in
 * plan.json, and write it into that file. */
llem_errcode llem_equivalence_observe(const char *dir, llem_error *err);
/* The same of documents: configs are those of the plan's runs, n of them, NULL where there is none.
 * Sets observed_collision_groups of doc. */
void llem_equivalence_collisions(struct llem_value *doc, const struct llem_value *plan,
                                 const struct llem_value *const *configs, size_t n,
                                 struct llem_arena *a);

/* The order of n experiments over cycles (reference, section 3.8), as places 0..n-1, n * cycles of
 * them. order: as in study_execution.experiment_order. */
void llem_cycle_order(uint32_t *out, const char *order, uint32_t n, uint32_t cycles, int64_t seed);

#endif
