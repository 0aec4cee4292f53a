/* SPDX-License-Identifier: MIT
 *
 * What a planned study will take, as far as files tell: memory out of the models' config.json, time
 * out of pauses and earlier results. Nothing is started and nothing asked.
 */
#ifndef LLEM_STUDY_ESTIMATE_H
#define LLEM_STUDY_ESTIMATE_H

#include "lib/study/plan.h"

/* Adds `time`, and `memory` and `time` of each experiment with the reasons where they are null, to
 * the plan's document (docs/formats.md, "llem plan --format=json"). */
void llem_plan_estimate(const struct llem_plan *p, struct llem_value *document,
                        struct llem_arena *a);

#endif
