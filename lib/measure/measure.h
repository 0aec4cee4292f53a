/* SPDX-License-Identifier: MIT
 *
 * The harness: the twelve steps around an engine, and what it writes down. It knows no engine and
 * no sampler, and computes nothing that can be computed later.
 */
#ifndef LLEM_MEASURE_MEASURE_H
#define LLEM_MEASURE_MEASURE_H

#include "lib/engine/engine.h"
#include "lib/sampler/sampler.h"
#include "llem/job.h"

/* What one measurement needs; everything is borrowed. */
struct llem_measurement {
    llem_ctx *ctx;
    const char *dir;                     /* the experiment's directory; recording/ is made in it */
    const struct llem_value *experiment; /* experiment.json (docs/formats.md) */
    const struct llem_engine_class *engine;
    const struct llem_engine_info *engine_info; /* of an engine with a worker; else NULL */
    const void *engine_user;                    /* what the engine is made with; NULL */
    int worker_log_fd;        /* where the worker's standard error goes; 0 = nowhere */
    const atomic_int *cancel; /* not 0: stop at the next step, clean up, LLEM_ECANCELED */
    void (*event)(void *user,
                  const llem_event *e); /* never called inside the window, but for the live
                                           line (LLEM_EVENT_LIVE) from the sampler thread */
    void (*idle)(void *user); /* twenty times a second while it waits, in its thread; NULL */
    void *event_user;
    /* The samplers to use, best first, ending with NULL; NULL = llem_samplers. */
    const struct llem_sampler_class *const *samplers;
};

/* Run the twelve steps, commit the recording, derive and write the result. Runs in the calling
 * thread. On failure what was recorded so far stays in recording/ without recording.json, the
 * engine is cleaned up and sensors are closed. */
llem_errcode llem_measure_engine(const struct llem_measurement *m, llem_error *err);

/* The window, samplers and recording around anything: `llem measure`. work() is called inside the
 * window with pre-roll and post-roll around it. */
llem_errcode llem_measure_work(const struct llem_measurement *m,
                               llem_errcode (*work)(void *user, llem_error *err), void *user,
                               llem_error *err);

#endif
