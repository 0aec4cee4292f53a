/* SPDX-License-Identifier: MIT
 *
 * A study as a job: a thread that runs its experiments one after the other, and a queue of events
 * to whoever waits. A single experiment is a study of one.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/config/config.h"
#include "lib/engine/registry.h"
#include "lib/result/study.h"
#include "lib/study/locks.h"
#include "lib/study/study.h"

#define LIMITS "study_execution."

struct llem_job {
    llem_ctx *ctx;
    struct llem_plan *own; /* of a single configuration; NULL = the caller's */
    struct llem_study study;
    struct llem_locks locks;
    struct llem_event_queue events;
    struct llem_event_node *shown; /* its strings are with the caller */
    atomic_int cancels;
    int wake_fd;
    double timeout_s;
    char *dir; /* of the only run, or the study's */
    pthread_t thread;
    /* The thread's until it is joined: */
    const char *status;
    struct llem_outcome outcome; /* of the last run */
    llem_result *result;         /* of the last run; NULL: none, taken, or it cannot be loaded */
    bool joined;
};

static bool is_single(const llem_job *job)
{
    return job->study.plan->n_runs == 1;
}

/* What the plan says of the study as a whole. */
static void push_warnings(llem_job *job)
{
    const struct llem_value *list = job->study.plan->warnings;

    for (size_t i = 0; i < list->count; i++) {
        llem_event warning = { .type = LLEM_EVENT_WARNING, .step = "", .reason = "" };

        warning.text = list->items[i]->s;
        llem_event_queue_push(&job->events, &warning);
    }
}

/* The thread that forks is the thread that waits: the parent-death signal follows threads. */
static void *job_main(void *arg)
{
    llem_job *job = arg;
    const struct llem_value *limits = job->study.plan->sweep->study;
    struct llem_runner runner = {
        .clock = job->ctx->clock,
        .program = job->ctx->program,
        .data_dir = job->ctx->data_dir,
        .own_python = job->ctx->own_python,
        .log_level = job->ctx->log_level,
        .timeout_s = job->timeout_s > 0
                         ? job->timeout_s
                         : llem_real_at(limits, LIMITS "experiment_timeout_seconds", 0),
        .load_timeout_s = llem_real_at(limits, LIMITS "load_timeout_seconds", 0),
        .silence_s = llem_real_at(limits, LIMITS "stdout_silence_timeout_seconds", 0),
        .cancels = &job->cancels,
        .wake_fd = job->wake_fd,
        .events = &job->events,
    };
    llem_error late = { 0 };
    llem_errcode rc;

    push_warnings(job);
    job->status = llem_study_loop(&job->study, &runner, &job->outcome, &job->result);
    rc = llem_study_end(&job->study, job->status, &late);
    if (rc == LLEM_OK && job->study.plan->sweep->count > 1)
        rc = llem_equivalence_observe(job->study.dir, &late);
    if (rc == LLEM_OK && !is_single(job))
        rc = llem_study_result_write(job->ctx, job->study.dir, &late);
    if (rc < 0) {
        llem_event warning = { .type = LLEM_EVENT_WARNING, .step = "", .reason = "io" };

        warning.text = late.msg;
        llem_event_queue_push(&job->events, &warning);
    }
    llem_event_queue_close(&job->events);
    return NULL;
}

static llem_errcode thread_start(llem_job *job, llem_error *err)
{
    errno = llem_thread_start(&job->thread, job_main, job);
    return errno ? llem_fail(err, LLEM_ENOMEM, "cannot start a thread: %m") : LLEM_OK;
}

static llem_errcode read_opts(llem_run_opts *to, const llem_run_opts *from, llem_error *err)
{
    memset(to, 0, sizeof(*to));
    if (!from)
        return LLEM_OK;
    if (from->size < sizeof(from->size) || from->size > sizeof(*to))
        return llem_fail(err, LLEM_EINVAL,
                         "llem_run_opts.size is %zu; set it to sizeof(llem_run_opts)", from->size);
    memcpy(to, from, from->size);
    if (!(to->timeout_s >= 0) || to->timeout_s > 1e7)
        return llem_fail(err, LLEM_EINVAL, "llem_run_opts.timeout_s is %g; it is seconds, or 0",
                         to->timeout_s);
    return LLEM_OK;
}

/* Engines that run in one environment of packages cannot both have theirs as they need it. Those
 * that are part of llem, or that have an interpreter of their own, disturb nobody. */
static llem_errcode check_isolation(llem_ctx *ctx, const struct llem_plan *plan, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *known = llem_map(&a);  /* engines */
    struct llem_value *places = llem_map(&a); /* interpreter to engine */
    llem_errcode rc = LLEM_OK;

    for (size_t i = 0; rc == LLEM_OK && i < plan->sweep->count; i++) {
        const char *engine = llem_sweep_engine(plan->sweep, i), *place = NULL;
        const struct llem_value *other;

        if (plan->cells[i].errors || llem_get(known, engine))
            continue;
        llem_set(&a, known, engine, llem_null(&a));
        rc = llem_engine_place(&place, ctx, &a, engine, llem_get(plan->sweep->study, "runners"),
                               err);
        if (rc < 0 || !place)
            continue;
        other = llem_get(places, place);
        if (other) {
            rc = llem_fail(err, LLEM_EPREFLIGHT,
                           "the study has the engines %s and %s, which would both run with the "
                           "packages of '%s'; each needs an environment of its own",
                           other->s, engine, place);
            llem_hint(err, rc,
                      "Give each its own with runners: {%s: 'local:PATH'}, or run one at a time "
                      "with -e ENGINE; --skip-preflight runs them all the same.",
                      engine);
        }
        llem_set(&a, places, place, llem_string(&a, engine));
    }
    if (rc == LLEM_OK && a.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    llem_arena_done(&a);
    return rc;
}

static llem_errcode take_locks(struct llem_locks *locks, llem_ctx *ctx,
                               const struct llem_plan *plan, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *const *boards;
    size_t n;
    llem_errcode rc = llem_locks_boards(&a, ctx, plan, &boards, &n, err);

    locks->study = llem_str_at(plan->sweep->output, "study_name",
                               plan->sweep->path ? llem_path_basename(plan->sweep->path) : NULL);
    if (rc == LLEM_OK)
        rc = llem_locks_take(locks, ctx, boards, n, err);
    llem_arena_done(&a);
    return rc;
}

/* Takes own, whatever is returned. */
static llem_errcode start(llem_job **out, llem_ctx *ctx, const struct llem_plan *plan,
                          struct llem_plan *own, const llem_run_opts *opts, llem_error *err)
{
    llem_job *job = calloc(1, sizeof(*job));
    llem_errcode rc;

    if (!job) {
        llem_plan_free(own);
        return llem_fail(err, LLEM_ENOMEM, "cannot start an experiment: out of memory");
    }
    job->ctx = ctx;
    job->own = own;
    job->timeout_s = opts->timeout_s;
    job->outcome.wstatus = -1;
    llem_fail(&job->outcome.err, LLEM_ECANCELED, "the experiment was interrupted before it began");
    job->wake_fd = -1;
    rc = llem_event_queue_init(&job->events, err);
    if (rc < 0)
        goto failed;
    job->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (job->wake_fd < 0)
        rc = llem_fail(err, LLEM_EIO, "cannot make an eventfd: %m");
    else if (!opts->no_lock)
        rc = take_locks(&job->locks, ctx, plan, err);
    if (rc == LLEM_OK)
        rc = llem_study_open(&job->study, ctx, plan, opts, err);
    if (rc == LLEM_OK) {
        job->dir = is_single(job) ? llem_arena_printf(&job->study.arena, "%s/%s", job->study.dir,
                                                      job->study.runs[0].name)
                                  : job->study.dir;
        rc = job->dir ? thread_start(job, err)
                      : llem_fail(err, LLEM_ENOMEM, "cannot start an experiment: out of memory");
        if (rc == LLEM_OK) {
            *out = job;
            return LLEM_OK;
        }
        llem_study_close(&job->study);
    }
    llem_locks_release(&job->locks);
    if (job->wake_fd >= 0)
        close(job->wake_fd);
    llem_event_queue_done(&job->events);
failed:
    llem_plan_free(own);
    free(job);
    return rc;
}

llem_errcode llem_job_start(llem_job **out, llem_ctx *ctx, const llem_config *config,
                            const llem_run_opts *opts, llem_error *err)
{
    struct llem_plan *plan;
    llem_run_opts o;
    llem_errcode rc = read_opts(&o, opts, err);

    if (rc == LLEM_OK)
        rc = llem_plan_of_config(&plan, ctx, config, o.quick != 0, err);
    return rc < 0 ? rc : start(out, ctx, plan, plan, &o, err);
}

llem_errcode llem_study_start(llem_job **out, llem_ctx *ctx, const llem_plan *plan,
                              const llem_run_opts *opts, llem_error *err)
{
    llem_run_opts o;
    llem_errcode rc = read_opts(&o, opts, err);

    if (rc == LLEM_OK && o.quick)
        rc = llem_fail(err, LLEM_EINVAL,
                       "llem_run_opts.quick is of one experiment; the plan of a study has the "
                       "setting measurement.quick");
    if (rc == LLEM_OK && !o.skip_preflight &&
        !llem_bool_at(plan->sweep->study, LIMITS "skip_preflight", false))
        rc = check_isolation(ctx, plan, err);
    return rc < 0 ? rc : start(out, ctx, plan, NULL, &o, err);
}

llem_errcode llem_job_wait(llem_job *job, double timeout_s, llem_event *event, llem_error *err)
{
    static const llem_event nothing = { .step = "", .text = "", .reason = "" };
    bool over;

    llem_event_free(job->shown);
    job->shown = llem_event_queue_pop(&job->events, timeout_s, &over);
    *event = job->shown ? *llem_event_of(job->shown) : nothing;
    if (over)
        event->type = LLEM_EVENT_FINISHED;
    return LLEM_OK;
}

void llem_job_cancel(llem_job *job)
{
    uint64_t one = 1;
    ssize_t n;

    atomic_fetch_add(&job->cancels, 1);
    n = write(job->wake_fd, &one, sizeof(one));
    (void)n; /* full means that it is awake already */
}

static void join(llem_job *job)
{
    if (!job->joined)
        pthread_join(job->thread, NULL);
    job->joined = true;
}

llem_errcode llem_job_result(llem_job *job, llem_result **out, llem_error *err)
{
    join(job);
    if (!is_single(job))
        return llem_study_load(out, job->ctx, job->study.dir, err);
    if (job->study.runs[0].state != LLEM_STATE_COMPLETED) {
        if (err)
            *err = job->outcome.err;
        return job->outcome.err.code;
    }
    if (!job->result) /* asked for again, of an earlier run, or this says why */
        return llem_result_load(out, job->ctx, job->dir, err);
    *out = job->result;
    job->result = NULL;
    return LLEM_OK;
}

const char *llem_job_dir(const llem_job *job)
{
    return job->dir;
}

const char *llem_job_study_dir(const llem_job *job)
{
    return job->study.dir;
}

const char *llem_job_status(llem_job *job)
{
    join(job);
    return job->status;
}

int llem_job_runs(const llem_job *job)
{
    return (int)job->study.plan->n_runs;
}

llem_errcode llem_job_run_info(const llem_job *job, int run, llem_run_info *info)
{
    llem_run_info all = { .size = info->size, .state = "" };
    const struct llem_run *r;

    if (run < 1 || run > llem_job_runs(job) || info->size < sizeof(info->size) ||
        info->size > sizeof(all))
        return LLEM_EINVAL;
    r = &job->study.runs[run - 1];
    all.label = r->summary;
    all.experiment = (int)job->study.plan->runs[run - 1].cell + 1;
    all.cycle = (int)job->study.plan->runs[run - 1].cycle + 1;
    all.pause_s = r->pause_s;
    all.elapsed_s = all.energy_j = all.energy_estimated_j = all.tokens_per_s = NAN;
    if (r->earlier) { /* of the others the thread writes */
        all.state = llem_state_name(r->state);
        all.elapsed_s = r->elapsed_s;
        all.energy_j = r->numbers[LLEM_RUN_ENERGY_J];
        all.energy_estimated_j = r->numbers[LLEM_RUN_ESTIMATED_J];
        all.tokens_per_s = r->numbers[LLEM_RUN_TOKENS_PER_S];
    }
    memcpy(info, &all, info->size);
    return LLEM_OK;
}

void llem_job_free(llem_job *job)
{
    if (!job)
        return;
    if (!job->joined) {
        llem_job_cancel(job);
        llem_job_cancel(job);
        join(job);
    }
    llem_event_free(job->shown);
    llem_event_queue_done(&job->events);
    llem_result_free(job->result);
    llem_study_close(&job->study);
    llem_locks_release(&job->locks);
    llem_plan_free(job->own);
    close(job->wake_fd);
    free(job);
}

/* ---- in one call -------------------------------------------------------------------------- */

enum { OWN_SETTINGS = 4 };

static llem_errcode read_args(llem_experiment_args *to, const llem_experiment_args *from,
                              llem_error *err)
{
    int forms;

    memset(to, 0, sizeof(*to));
    if (!from || from->size < sizeof(from->size) || from->size > sizeof(*to))
        return llem_fail(err, LLEM_EINVAL,
                         "llem_experiment_args.size must be sizeof(llem_experiment_args)");
    memcpy(to, from, from->size);
    forms = !!to->config_path + !!to->config + !!to->model;
    if (forms == 0) {
        llem_fail(err, LLEM_ECONFIG, "nothing to run: give config_path, config or model");
        return llem_hint(err, LLEM_ECONFIG, "For example .model = \"gpt2\", .engine = \"cpu\".");
    }
    if (forms > 1)
        return llem_fail(err, LLEM_EINVAL,
                         "give one of config_path, config and model, not %d of them", forms);
    /* Fields that would be ignored are refused. */
    if (!to->model && (to->engine || to->n_prompts || to->dataset))
        return llem_fail(
            err, LLEM_EINVAL,
            "engine, n_prompts and dataset go with model only; use settings to change a "
            "configuration file");
    if (to->config && to->n_settings)
        return llem_fail(err, LLEM_EINVAL, "settings cannot change a configuration that is loaded");
    if (to->n_prompts < 0)
        return llem_fail(err, LLEM_EINVAL, "n_prompts is %d; it is at least 1", to->n_prompts);
    return LLEM_OK;
}

/* The third form: model and what stands beside it are settings like any other. */
static llem_errcode load_config(llem_config **out, llem_ctx *ctx, const llem_experiment_args *args,
                                llem_error *err)
{
    size_t n = 0;
    char prompts[24];
    llem_setting *settings = calloc(args->n_settings + OWN_SETTINGS, sizeof(*settings));
    llem_errcode rc;

    if (!settings)
        return llem_fail(err, LLEM_ENOMEM, "cannot load a configuration: out of memory");
    if (args->model)
        settings[n++] = (llem_setting){ "task.model", args->model, "model", 1 };
    if (args->engine)
        settings[n++] = (llem_setting){ "engine", args->engine, "engine", 1 };
    if (args->n_prompts) {
        snprintf(prompts, sizeof(prompts), "%d", args->n_prompts);
        settings[n++] = (llem_setting){ "task.dataset.n_prompts", prompts, "n_prompts", 0 };
    }
    if (args->dataset)
        settings[n++] = (llem_setting){ "task.dataset.source", args->dataset, "dataset", 1 };
    for (size_t i = 0; i < args->n_settings; i++)
        settings[n++] = args->settings[i];
    rc = llem_config_load(out, ctx, args->config_path, settings, n, err);
    free(settings);
    return rc;
}

/* To its end, with its events to whoever wants them. */
static llem_errcode follow(llem_job *job, llem_progress_fn progress, void *user, llem_result **out,
                           llem_error *err)
{
    llem_event event = { 0 };

    while (event.type != LLEM_EVENT_FINISHED) {
        llem_errcode rc = llem_job_wait(job, -1, &event, err);

        if (rc < 0)
            return rc;
        if (progress)
            progress(user, &event);
    }
    return out ? llem_job_result(job, out, err) : LLEM_OK;
}

llem_errcode llem_run_experiment(llem_result **out, llem_ctx *ctx, const llem_experiment_args *args,
                                 llem_error *err)
{
    llem_run_opts opts = { .size = sizeof(opts) };
    llem_config *own = NULL;
    llem_job *job = NULL;
    llem_experiment_args a;
    llem_errcode rc = read_args(&a, args, err);

    if (rc == LLEM_OK && !a.config)
        rc = load_config(&own, ctx, &a, err);
    if (rc < 0)
        goto done;
    opts.output_dir = a.output_dir;
    opts.skip_preflight = a.skip_preflight;
    rc = llem_job_start(&job, ctx, a.config ? a.config : own, &opts, err);
    if (rc == LLEM_OK)
        rc = follow(job, a.progress, a.progress_user, out, err);
done:
    llem_job_free(job);
    llem_config_free(own);
    return rc;
}

llem_errcode llem_run_study(llem_result **out, llem_ctx *ctx, const llem_study_args *args,
                            llem_error *err)
{
    llem_plan *own = NULL;
    llem_job *job = NULL;
    llem_study_args a = { 0 };
    llem_run_opts opts;
    llem_errcode rc = LLEM_OK;

    if (!args || args->size < sizeof(args->size) || args->size > sizeof(a))
        return llem_fail(err, LLEM_EINVAL, "llem_study_args.size must be sizeof(llem_study_args)");
    memcpy(&a, args, args->size);
    opts = a.run;
    opts.size = opts.size ? opts.size : sizeof(opts);
    if (a.plan && (a.config_path || a.n_settings))
        return llem_fail(err, LLEM_EINVAL,
                         "a plan is made of its file and settings already; give it alone");
    if (!a.plan) {
        if (!a.config_path && !a.n_settings && (opts.resume || opts.resume_dir))
            rc = llem_plan_resume(&own, ctx, opts.resume_dir, opts.output_dir, NULL, err);
        else
            rc = llem_plan_study(&own, ctx, a.config_path, a.settings, a.n_settings, err);
    }
    if (rc == LLEM_OK)
        rc = llem_study_start(&job, ctx, a.plan ? a.plan : own, &opts, err);
    if (rc == LLEM_OK)
        rc = follow(job, a.progress, a.progress_user, NULL, err);
    if (rc == LLEM_OK)
        rc = llem_study_load(out, ctx, llem_job_study_dir(job), err);
    llem_job_free(job);
    llem_plan_free(own);
    return rc;
}
