/* SPDX-License-Identifier: MIT
 *
 * The runner of one experiment: starts the harness process, listens to its events and its standard
 * error, keeps deadlines, and ends it with everything that it started.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/result/result.h"
#include "lib/study/study.h"

enum { POLL_MS = 500 };

/* What may run out. */
enum limit { LIMIT_NONE, LIMIT_TIME, LIMIT_LOAD, LIMIT_SILENCE, LIMIT_STUDY };

/* One run, while it goes on. */
struct run {
    const struct llem_runner *r;
    struct llem_process process;
    struct llem_lines events;
    struct llem_tail log;
    int log_fd;
    char step[32];             /* the running step */
    llem_error failure;        /* what the harness said; code LLEM_OK = nothing */
    int64_t term_ns;           /* when SIGTERM was sent; 0 = not */
    int64_t looked_ns;         /* when time was last counted */
    int64_t spent_ns, load_ns; /* so far; of loading apart */
    int64_t heard_ns;          /* when it last said something */
    enum limit limit;          /* what ended it */
    bool killed;
};

static int64_t now_ns(void)
{
    return llem_now_ns(&llem_system_clock);
}

/* ---- what the harness says ---------------------------------------------------------------- */

static void take_line(struct run *run, const char *line, size_t len)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_event e;

    switch (llem_event_decode(&a, line, len, &e, &run->failure)) {
    case LLEM_LINE_EVENT:
        if (e.type == LLEM_EVENT_STEP_START)
            snprintf(run->step, sizeof(run->step), "%s", e.step);
        else if (e.type == LLEM_EVENT_STEP_DONE || e.type == LLEM_EVENT_STEP_SKIP)
            run->step[0] = 0;
        e.run = run->r->run;
        e.n_runs = run->r->n_runs;
        if (e.type != LLEM_EVENT_STARTED) /* said already */
            llem_event_queue_push(run->r->events, &e);
        break;
    case LLEM_LINE_ERROR:
    case LLEM_LINE_OTHER:
        break;
    }
    llem_arena_done(&a);
}

static void take_events(struct run *run)
{
    size_t len;
    char *line;

    while (llem_lines_next(&run->events, &line, &len)) {
        run->heard_ns = now_ns();
        take_line(run, line, len);
    }
}

/* Read what is there of standard error. */
static void drain_log(struct run *run)
{
    int *fd = &run->process.err;
    char data[16384];

    for (int i = 0; i < 64 && *fd >= 0; i++) {
        ssize_t n = read(*fd, data, sizeof(data));

        if (n > 0) {
            run->heard_ns = now_ns();
            llem_tail_add(&run->log, run->log_fd, data, (size_t)n);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            close(*fd);
            *fd = -1;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* ---- its life ----------------------------------------------------------------------------- */

static llem_errcode start(struct run *run, llem_error *err)
{
    const struct llem_runner *r = run->r;
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *argv[] = { r->program, "experiment", r->dir, NULL };
    static const char *const levels[] = { "WARNING", "WARNING", "INFO", "DEBUG" };
    const char *env[] = { NULL, NULL, NULL, NULL };
    size_t n_env = 0;
    struct llem_process_opts opts = {
        .argv = argv,
        .env = env,
        .mark = r->mark,
        .stdin_fd = LLEM_NULL_FD,
        .stdout_fd = LLEM_PIPE,
        .stderr_fd = LLEM_PIPE,
        .own_group = true,
        .death_signal = SIGTERM, /* should the runner be killed, the harness cleans up by itself */
    };
    llem_errcode rc;

    if (!r->program) {
        llem_fail(err, LLEM_EPREFLIGHT, "the program llem, which runs experiments, was not found");
        return llem_hint(err, LLEM_EPREFLIGHT, "Set LLEM_PROGRAM to its path.");
    }
    if (r->data_dir)
        env[n_env++] = llem_arena_printf(&a, "LLEM_DATA_DIR=%s", r->data_dir);
    if (r->own_python)
        env[n_env++] = llem_arena_printf(&a, "LLEM_OWN_PYTHON=%s", r->own_python);
    if (r->log_level >= 0 && (size_t)r->log_level < LLEM_COUNT(levels))
        env[n_env++] = llem_arena_printf(&a, "LLEM_LOG_LEVEL=%s", levels[r->log_level]);
    rc = llem_process_start(&run->process, &opts, err);
    if (rc < 0)
        llem_hint(err, rc, "Set LLEM_PROGRAM to the program that belongs to the library.");
    llem_arena_done(&a);
    return rc;
}

/* Fetching and loading a model take as long as they take, and say little. */
static bool is_loading(const struct run *run)
{
    return strcmp(run->step, "model") == 0 || strcmp(run->step, "prompts") == 0;
}

static bool is_over(int64_t ns, double limit_s)
{
    return limit_s > 0 && (double)ns >= limit_s * (double)LLEM_NS_PER_S;
}

/* Count the time since the last look, and see what has run out. */
static enum limit look(struct run *run)
{
    const struct llem_runner *r = run->r;
    int64_t now = now_ns(), passed = now - run->looked_ns;

    run->looked_ns = now;
    if (is_loading(run))
        run->load_ns += passed;
    else
        run->spent_ns += passed;
    if (r->deadline_ns && now >= r->deadline_ns)
        return LIMIT_STUDY;
    if (is_over(run->spent_ns, r->timeout_s))
        return LIMIT_TIME;
    if (is_loading(run) && is_over(run->load_ns, r->load_timeout_s))
        return LIMIT_LOAD;
    if (!is_loading(run) && is_over(now - run->heard_ns, r->silence_s))
        return LIMIT_SILENCE;
    return LIMIT_NONE;
}

/* SIGTERM once, SIGKILL when the grace is over or a second cancel came. */
static void press(struct run *run)
{
    int cancels = atomic_load(run->r->cancels);
    enum limit limit = look(run);

    if (!run->term_ns && (cancels > 0 || limit)) {
        run->limit = cancels == 0 ? limit : LIMIT_NONE;
        run->term_ns = run->looked_ns;
        llem_process_signal(&run->process, SIGTERM);
    }
    if (run->term_ns && !run->killed &&
        (cancels > 1 || run->looked_ns - run->term_ns >= LLEM_GRACE_MS * INT64_C(1000000))) {
        run->killed = true;
        llem_process_signal(&run->process, SIGKILL);
    }
}

/* How long nothing can run out. */
static int patience_ms(const struct run *run)
{
    const struct llem_runner *r = run->r;
    double left_s = POLL_MS / 1e3;

    if (run->term_ns)
        return POLL_MS;
    if (!is_loading(run) && r->timeout_s > 0)
        left_s = fmin(left_s, r->timeout_s - (double)run->spent_ns / 1e9);
    if (r->deadline_ns)
        left_s = fmin(left_s, (double)(r->deadline_ns - run->looked_ns) / 1e9);
    return left_s > 0 ? (int)(left_s * 1e3) + 1 : 0;
}

static void follow(struct run *run)
{
    struct llem_process *p = &run->process;

    run->looked_ns = run->heard_ns = now_ns();
    while (!llem_process_poll(p)) {
        struct pollfd fds[] = {
            { .fd = run->events.ended ? -1 : p->out, .events = POLLIN },
            { .fd = p->err, .events = POLLIN },
            { .fd = p->pidfd, .events = POLLIN },
            { .fd = run->r->wake_fd, .events = POLLIN },
        };

        poll(fds, LLEM_COUNT(fds), patience_ms(run));
        take_events(run);
        if (fds[1].revents)
            drain_log(run);
        if (fds[3].revents & POLLIN) {
            uint64_t count;
            ssize_t n = read(run->r->wake_fd, &count, sizeof(count));

            (void)n;
        }
        press(run);
    }
    /* Whatever it left behind goes first: it may hold the pipes open. */
    llem_process_sweep_after(p, LLEM_SWEEP_MS);
    take_events(run);
    drain_log(run);
}

/* ---- how it went -------------------------------------------------------------------------- */

static bool exists_in(const char *dir, const char *name)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *path = llem_path_join(&a, dir, name);
    bool exists = path && llem_path_exists(path);

    llem_arena_done(&a);
    return exists;
}

bool llem_study_derive(const char *dir)
{
    struct llem_recording recording;
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *path = llem_path_join(&a, dir, "recording");
    struct llem_value *result;
    bool done = false;

    if (path && exists_in(path, "recording.json") &&
        llem_recording_open(&recording, path, NULL) == LLEM_OK) {
        done = llem_derive(&recording, &a, &result, NULL) == LLEM_OK &&
               llem_result_write(&recording, result, dir, NULL) == LLEM_OK;
        llem_recording_close(&recording);
    }
    llem_arena_done(&a);
    return done;
}

static void say_where(llem_error *err, const struct run *run)
{
    size_t len = strlen(err->msg);

    if (*run->step && len < sizeof(err->msg))
        snprintf(err->msg + len, sizeof(err->msg) - len, " in the step '%s'", run->step);
}

/* A sentence for each limit, and what raises it. */
static void say_limit(struct run *run, llem_error *err)
{
    const struct llem_runner *r = run->r;
    const char *row = NULL, *first = "";

    switch (run->limit) {
    case LIMIT_NONE:
        return;
    case LIMIT_TIME:
        llem_fail(err, LLEM_ETIMEOUT, "the experiment was ended after %g s", r->timeout_s);
        first = "Use fewer prompts or shorter sequences, or raise";
        row = "experiment_timeout_seconds";
        break;
    case LIMIT_LOAD:
        llem_fail(err, LLEM_ETIMEOUT, "loading was given up after %g s", r->load_timeout_s);
        first = "Fetch the model first with 'llem fetch', or raise";
        row = "load_timeout_seconds";
        break;
    case LIMIT_SILENCE:
        llem_fail(err, LLEM_ETIMEOUT,
                  "the experiment was ended, because it had said nothing for %g s", r->silence_s);
        first = "If it was at work, raise";
        row = "stdout_silence_timeout_seconds";
        break;
    case LIMIT_STUDY:
        llem_fail(err, LLEM_ETIMEOUT, "the time of the study was over before the experiment's end");
        break;
    }
    say_where(err, run);
    if (row)
        llem_hint(err, LLEM_ETIMEOUT, "%s study_execution.%s.", first, row);
    else
        llem_hint(err, LLEM_ETIMEOUT, "Go on with --resume.");
}

static void classify(struct run *run, struct llem_outcome *out)
{
    int status = run->process.wstatus, cancels = atomic_load(run->r->cancels);
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    char how[128];

    out->wstatus = status;
    llem_process_describe(how, sizeof(how), status);
    /* Nobody finishes an experiment by failing: a result that is there was earned. */
    if (exists_in(run->r->dir, "result.json") ||
        (!run->failure.code && llem_study_derive(run->r->dir))) {
        out->state = LLEM_STATE_COMPLETED;
    } else if (cancels > 0) {
        out->state = LLEM_STATE_INTERRUPTED;
        llem_fail(&out->err, LLEM_ECANCELED, "the experiment was interrupted");
        say_where(&out->err, run);
    } else if (run->limit) {
        out->state = LLEM_STATE_TIMEOUT;
        say_limit(run, &out->err);
    } else if (run->failure.code < 0) {
        out->state = LLEM_STATE_FAILED;
        out->err = run->failure;
    } else {
        out->state = LLEM_STATE_FAILED;
        llem_fail(&out->err, LLEM_ECRASHED,
                  clean ? "the experiment's process left no result although it %s"
                        : "the experiment's process %s",
                  how);
        say_where(&out->err, run);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            llem_hint(&out->err, LLEM_ECRASHED,
                      "Somebody ended it, or memory ran out: see `dmesg`.");
        else
            llem_hint(&out->err, LLEM_ECRASHED, "See '%s/worker.log'.", run->r->dir);
    }
}

static void keep_log(struct run *run, struct llem_outcome *out, char **log_tail)
{
    char *tail = malloc(LLEM_TAIL + 1);

    if (!tail)
        return;
    out->log_tail_len = llem_tail_copy(&run->log, tail, LLEM_TAIL + 1);
    *log_tail = tail;
    out->log_tail = tail;
}

void llem_runner_run(const struct llem_runner *r, struct llem_outcome *out, char **log_tail)
{
    struct run run = { .r = r, .log_fd = -1 };
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *path = llem_path_join(&a, r->dir, "worker.log");
    llem_errcode rc;

    memset(out, 0, sizeof(*out));
    *log_tail = NULL;
    out->wstatus = -1;
    llem_outcome_begin(out, r->clock);
    run.log_fd = open(path ? path : "", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (!llem_tail_init(&run.log))
        rc = llem_fail(&out->err, LLEM_ENOMEM, "cannot start the experiment: out of memory");
    else if (atomic_load(r->cancels) > 0)
        rc = llem_fail(&out->err, LLEM_ECANCELED, "the experiment was interrupted before it began");
    else
        rc = start(&run, &out->err);
    if (rc < 0) {
        out->state = rc == LLEM_ECANCELED ? LLEM_STATE_INTERRUPTED : LLEM_STATE_FAILED;
    } else {
        llem_lines_init(&run.events, run.process.out, LLEM_LINE_MAX);
        follow(&run);
        llem_lines_done(&run.events);
        classify(&run, out);
        llem_process_end(&run.process, 0);
        keep_log(&run, out, log_tail);
    }
    llem_outcome_end(out, r->clock);
    if (run.log_fd >= 0)
        close(run.log_fd);
    llem_tail_done(&run.log);
    llem_arena_done(&a);
}
