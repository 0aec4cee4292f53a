/* SPDX-License-Identifier: MIT
 *
 * An experiment as a job: a thread that runs the harness process, and a queue of events to whoever
 * waits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/config/config.h"
#include "lib/study/study.h"

struct llem_job {
    llem_ctx *ctx;
    struct llem_study study;
    struct llem_event_queue events;
    struct llem_event_node *shown; /* its strings are with the caller */
    atomic_int cancels;
    int wake_fd;
    double timeout_s;
    pthread_t thread;
    struct llem_outcome outcome; /* the thread's until it is joined */
    llem_result *result;         /* likewise; NULL: none, taken, or it cannot be loaded */
    bool joined;
};

/* The thread that forks is the thread that waits: the parent-death signal follows threads. */
static void *job_main(void *arg)
{
    llem_job *job = arg;
    struct llem_runner runner = {
        .program = job->ctx->program,
        .data_dir = job->ctx->data_dir,
        .dir = job->study.cell.dir,
        .mark = job->study.cell.mark,
        .own_python = job->ctx->own_python,
        .log_level = job->ctx->log_level,
        .timeout_s = job->timeout_s,
        .cancels = &job->cancels,
        .wake_fd = job->wake_fd,
        .events = &job->events,
    };
    llem_event started = { .type = LLEM_EVENT_STARTED, .step = "", .reason = "" };
    struct llem_outcome *o = &job->outcome;
    llem_error late = { 0 };
    char *log_tail;

    started.text = job->study.cell.dir;
    llem_event_queue_push(&job->events, &started);
    llem_runner_run(&runner, o, &log_tail);
    if (o->state == LLEM_STATE_COMPLETED)
        llem_result_load(&job->result, job->ctx, job->study.cell.dir, NULL);
    if (llem_study_finish(&job->study, o, job->result, &late) < 0 &&
        o->state == LLEM_STATE_COMPLETED) {
        /* The result is safe; that its status could not be written is still worth a line. */
        llem_event warning = { .type = LLEM_EVENT_WARNING, .step = "", .reason = "io" };

        warning.text = late.msg;
        llem_event_queue_push(&job->events, &warning);
    }
    o->log_tail = NULL;
    free(log_tail);
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

llem_errcode llem_job_start(llem_job **out, llem_ctx *ctx, const llem_config *config,
                            const llem_run_opts *opts, llem_error *err)
{
    llem_job *job = NULL;
    llem_run_opts o;
    llem_errcode rc = read_opts(&o, opts, err);

    if (rc < 0)
        return rc;
    job = calloc(1, sizeof(*job));
    if (!job)
        return llem_fail(err, LLEM_ENOMEM, "cannot start an experiment: out of memory");
    job->ctx = ctx;
    job->timeout_s = o.timeout_s > 0 ? o.timeout_s : LLEM_EXPERIMENT_TIMEOUT_S;
    job->outcome.wstatus = -1;
    rc = llem_event_queue_init(&job->events, err);
    if (rc < 0) {
        free(job);
        return rc;
    }
    job->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (job->wake_fd < 0)
        rc = llem_fail(err, LLEM_EIO, "cannot make an eventfd: %m");
    else
        rc = llem_study_make(&job->study, ctx, config, &o, err);
    if (rc == LLEM_OK) {
        rc = thread_start(job, err);
        if (rc == LLEM_OK) {
            *out = job;
            return LLEM_OK;
        }
        llem_study_done(&job->study);
    }
    if (job->wake_fd >= 0)
        close(job->wake_fd);
    llem_event_queue_done(&job->events);
    free(job);
    return rc;
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
    if (job->outcome.state != LLEM_STATE_COMPLETED) {
        if (err)
            *err = job->outcome.err;
        return job->outcome.err.code;
    }
    if (!job->result) /* asked for again, or this says why */
        return llem_result_load(out, job->ctx, job->study.cell.dir, err);
    *out = job->result;
    job->result = NULL;
    return LLEM_OK;
}

const char *llem_job_dir(const llem_job *job)
{
    return job->study.cell.dir ? job->study.cell.dir : "";
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
    llem_study_done(&job->study);
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
    while (rc == LLEM_OK) {
        llem_event event;

        rc = llem_job_wait(job, -1, &event, err);
        if (rc == LLEM_OK && a.progress)
            a.progress(a.progress_user, &event);
        if (event.type == LLEM_EVENT_FINISHED)
            break;
    }
    if (rc == LLEM_OK)
        rc = llem_job_result(job, out, err);
done:
    llem_job_free(job);
    llem_config_free(own);
    return rc;
}
