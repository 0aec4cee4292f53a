/* SPDX-License-Identifier: MIT
 *
 * An experiment in this process, with an engine of the caller's: the study's directory and the
 * harness, in the calling thread.
 */
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/measure/measure.h"
#include "lib/study/study.h"

enum { EXPERIMENT_MAX = 64 << 20 };

/* The sampler's thread has its own line, which is nobody's here: the caller may not be called from
 * it. */
static void on_event(void *user, const llem_event *e)
{
    const llem_engine_run *run = user;

    if (run->progress && e->type != LLEM_EVENT_LIVE)
        run->progress(run->progress_user, e);
}

static void on_idle(void *user)
{
    const llem_engine_run *run = user;

    if (run->idle)
        run->idle(run->progress_user);
}

static llem_errcode read_args(llem_engine_run *to, const llem_engine_run *from, llem_error *err)
{
    const llem_engine_table *t;

    memset(to, 0, sizeof(*to));
    if (!from || from->size < sizeof(from->size) || from->size > sizeof(*to))
        return llem_fail(err, LLEM_EINVAL, "llem_engine_run.size must be sizeof(llem_engine_run)");
    memcpy(to, from, from->size);
    t = to->engine;
    if (!to->config || !t || t->size != sizeof(*t) || !t->name || !t->load_model ||
        !t->run_inference)
        return llem_fail(err, LLEM_EINVAL,
                         "llem_engine_run needs a config and an engine with its size, a name, "
                         "load_model and run_inference");
    return LLEM_OK;
}

llem_errcode llem_run_engine(llem_result **out, llem_ctx *ctx, const llem_engine_run *args,
                             llem_error *err)
{
    static const atomic_int never;
    struct llem_outcome o = { .state = LLEM_STATE_COMPLETED, .wstatus = -1 };
    struct llem_engine_class class = llem_engine_callbacks;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *experiment = NULL;
    struct llem_plan *plan = NULL;
    struct llem_study study;
    struct llem_cell cell = { 0 };
    struct llem_measurement m;
    llem_engine_run run;
    llem_run_opts opts = { .size = sizeof(opts) };
    llem_error own = { 0 };
    llem_result *result = NULL;
    llem_errcode rc = read_args(&run, args, err);

    if (rc < 0)
        return rc;
    opts.output_dir = run.output_dir;
    opts.skip_preflight = run.skip_preflight;
    llem_outcome_begin(&o, ctx->clock);
    rc = llem_plan_of_config(&plan, ctx, run.config, false, err);
    if (rc < 0)
        return rc;
    rc = llem_study_open(&study, ctx, plan, &opts, err);
    if (rc < 0) {
        llem_plan_free(plan);
        return rc;
    }
    rc = llem_study_claim(&study, 0, &cell, err);
    if (rc < 0)
        goto done;
    class.name = run.engine->name;
    m = (struct llem_measurement){
        .ctx = ctx,
        .dir = cell.dir,
        .engine = &class,
        .engine_user = run.engine,
        .cancel = run.cancel ? (const atomic_int *)(uintptr_t)run.cancel : &never,
        .event = on_event,
        .idle = on_idle,
        .event_user = &run,
    };
    rc = llem_json_load(&a, &experiment, llem_path_join(&a, cell.dir, "experiment.json"),
                        EXPERIMENT_MAX, &own);
    m.experiment = experiment;
    if (rc == LLEM_OK)
        rc = llem_measure_engine(&m, &own);
    if (rc < 0) {
        own.code = rc;
        o.state = rc == LLEM_ECANCELED ? LLEM_STATE_INTERRUPTED : LLEM_STATE_FAILED;
        o.err = own;
    }
    llem_outcome_end(&o, ctx->clock);
    if (rc == LLEM_OK)
        rc = llem_result_load(&result, ctx, cell.dir, &own);
    if (llem_study_finish(&study, 0, cell.dir, &o, result, rc < 0 ? NULL : &own) < 0 &&
        rc == LLEM_OK)
        rc = own.code;
    if (rc == LLEM_OK)
        *out = result;
    else
        llem_result_free(result);
    if (rc < 0 && err)
        *err = own;
    llem_study_end(&study, llem_study_status(&study), NULL);
done:
    llem_cell_done(&cell);
    llem_study_close(&study);
    llem_plan_free(plan);
    llem_arena_done(&a);
    return rc;
}
