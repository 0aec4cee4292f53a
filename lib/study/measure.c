/* SPDX-License-Identifier: MIT
 *
 * llem measure: a command, a span of time or a part of the caller's program inside the harness's
 * window, in this process. The harness runs in a thread of its own; the caller's thread shows
 * progress and passes on the wish to stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/config.h"
#include "lib/measure/measure.h"
#include "lib/study/study.h"

enum { SLICE_MS = 100, GPUS_MAX = 64 };

enum phase { PHASE_BEFORE, PHASE_INSIDE, PHASE_AFTER };

struct span {
    const llem_measure_args *args;
    const char *prefix; /* of the directory's name */
    bool no_baseline;
    struct llem_window *window; /* the work is the caller's, between open and close; NULL = none */
    llem_ctx *ctx;
    struct llem_arena arena;
    char *dir;
    char mark[33];
    struct llem_event_queue events;
    struct llem_measurement m;
    atomic_int phase;
    atomic_int answered;     /* wishes that the work itself has heard */
    atomic_int stop_harness; /* what the harness looks at */
    int wstatus;
    pthread_t thread;
    llem_errcode rc; /* of the harness */
    llem_error err;
    struct llem_outcome outcome;
};

struct llem_window {
    struct span s;
    llem_measure_args a;
    sem_t opened, closed;
};

static int wishes(const struct span *s)
{
    return s->args->cancel ? *s->args->cancel : 0;
}

/* ---- the work ----------------------------------------------------------------------------- */

/* Are we in the foreground of a terminal? Then the command must share our group: it may read from
 * the terminal, and Ctrl-C and Ctrl-Z reach both, as with time(1). */
static bool in_foreground(void)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    bool yes = tty >= 0 && tcgetpgrp(tty) == getpgrp();

    if (tty >= 0)
        close(tty);
    return yes;
}

/*
 * One wish to stop ends a command that is in a group of its own; a command that shares the terminal
 * has had the Ctrl-C itself and may do with it what it likes. A second wish ends either.
 */
static llem_errcode run_command(struct span *s, llem_error *err)
{
    struct llem_process p = { 0 };
    struct llem_process_opts opts = {
        .argv = s->args->argv,
        .mark = s->mark,
        .stdin_fd = STDIN_FILENO,
        .stdout_fd = STDOUT_FILENO,
        .stderr_fd = STDERR_FILENO,
        .own_group = !in_foreground(),
    };
    int patience = opts.own_group ? 0 : 1, grace_ms = LLEM_GRACE_MS;
    llem_errcode rc = llem_process_start(&p, &opts, err);

    if (rc < 0)
        return rc;
    while (!llem_process_wait(&p, SLICE_MS)) {
        if (wishes(s) <= patience)
            continue;
        if (grace_ms == LLEM_GRACE_MS)
            llem_process_signal(&p, SIGTERM);
        grace_ms -= SLICE_MS;
        if (grace_ms <= 0 || wishes(s) > patience + 1)
            llem_process_signal(&p, SIGKILL);
    }
    s->wstatus = p.wstatus;
    /* What the command left in the background is the user's, unless we were told to stop. */
    if (wishes(s) > patience)
        llem_process_end(&p, LLEM_SWEEP_MS);
    return LLEM_OK;
}

static llem_errcode pass_time(struct span *s)
{
    const struct llem_clock *clock = s->ctx->clock;
    int64_t end = llem_now_ns(clock) + (int64_t)(s->args->for_s * (double)LLEM_NS_PER_S);

    while (llem_now_ns(clock) < end && wishes(s) == 0) {
        int64_t next = llem_now_ns(clock) + SLICE_MS * INT64_C(1000000);

        clock->sleep_until_ns(clock->self, next < end ? next : end);
    }
    return LLEM_OK;
}

/* The caller's part of the work: from here on it is inside. */
static llem_errcode leave_to_caller(struct llem_window *w)
{
    sem_post(&w->opened);
    while (sem_wait(&w->closed) < 0 && errno == EINTR)
        ;
    return LLEM_OK;
}

static llem_errcode work(void *user, llem_error *err)
{
    struct span *s = user;
    llem_errcode rc;

    if (wishes(s) > 0)
        return llem_fail(err, LLEM_ECANCELED, "the measurement was interrupted before it began");
    atomic_store(&s->phase, PHASE_INSIDE);
    rc = s->window       ? leave_to_caller(s->window)
         : s->args->argv ? run_command(s, err)
                         : pass_time(s);
    atomic_store(&s->answered, wishes(s));
    atomic_store(&s->phase, PHASE_AFTER);
    return rc;
}

/* ---- before ------------------------------------------------------------------------------- */

static bool may_execute(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Find out that there is no such command before two minutes of idle measurement, not after. */
static llem_errcode check_command(struct span *s, llem_error *err)
{
    const char *name = s->args->argv[0], *path = getenv("PATH");
    bool there = false;

    if (strchr(name, '/')) {
        if (may_execute(name))
            return LLEM_OK;
        if (llem_path_exists(name))
            return llem_fail(err, LLEM_ENOTSUP, "'%s' may not be executed", name);
        return llem_fail(err, LLEM_ENOTFOUND, "there is no command '%s'", name);
    }
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
        size_t len = strcspn(path, ":");
        char *candidate =
            llem_arena_printf(&s->arena, "%.*s/%s", len ? (int)len : 1, len ? path : ".", name);

        if (candidate && may_execute(candidate))
            return LLEM_OK;
        there = there || (candidate && llem_path_exists(candidate));
        path += len + (path[len] == ':');
    }
    if (there)
        return llem_fail(err, LLEM_ENOTSUP, "'%s' may not be executed", name);
    return llem_fail(err, LLEM_ENOTFOUND, "there is no command '%s'", name);
}

static llem_errcode make_dir(struct span *s, int64_t now_ns, llem_error *err)
{
    const char *told = s->args->output_dir;
    llem_errcode rc;
    char *taken;

    if (!told) {
        s->dir = llem_make_stamped_dir(&s->arena, "./results", s->prefix, now_ns, err);
        return s->dir ? LLEM_OK : err ? err->code : LLEM_EIO;
    }
    rc = llem_mkdirs(told, err);
    if (rc < 0)
        return llem_hint(err, rc, "Choose another directory with -o DIR.");
    s->dir = llem_arena_strdup(&s->arena, told);
    taken = llem_path_join(&s->arena, told, "experiment.json");
    if (!taken)
        return llem_fail(err, LLEM_ENOMEM, "cannot measure: out of memory");
    if (llem_path_exists(taken)) {
        llem_fail(err, LLEM_EIO, "'%s' holds a measurement already", told);
        return llem_hint(err, LLEM_EIO, "Choose another directory with -o DIR.");
    }
    return LLEM_OK;
}

/* "0,2" to a list; NULL where an element is empty. */
static struct llem_value *split_gpus(struct llem_arena *a, const char *gpus)
{
    struct llem_value *list = llem_list(a);

    for (;;) {
        size_t len = strcspn(gpus, ",");
        int64_t index;
        char *one = llem_arena_strndup(a, gpus, len);

        if (!len || list->count >= GPUS_MAX)
            return NULL;
        llem_append(a, list,
                    one && llem_parse_i64(one, &index) ? llem_int(a, index) : llem_string(a, one));
        if (!gpus[len])
            return list;
        gpus += len + 1;
    }
}

/* The section `measurement` as the user's configuration and variables have it. */
static llem_errcode measurement_rows(struct span *s, struct llem_value **out, llem_error *err)
{
    llem_setting settings[] = {
        { "task.model", "measure", "llem measure", 1 },
        { "measurement.quick", s->args->quick ? "true" : "false", "--quick", 0 },
        { "measurement.baseline.enabled", "false", "baseline", 0 },
    };
    llem_config *config = NULL;
    llem_errcode rc =
        llem_config_load(&config, s->ctx, NULL, settings, s->no_baseline ? 3 : 2, err);

    if (rc < 0)
        return rc;
    *out = llem_copy(&s->arena, llem_get(config->tree, "measurement"));
    llem_config_free(config);
    return LLEM_OK;
}

static void hash_of(const struct llem_value *v, enum llem_json_style style, char hex[65])
{
    struct llem_buf b = LLEM_BUF_INIT(16 << 20);

    llem_json_dump(&b, v, style);
    llem_sha256_of(b.data, b.len, hex);
    llem_buf_done(&b);
}

static llem_errcode prepare(struct span *s, int64_t now_ns, llem_error *err)
{
    struct llem_arena *a = &s->arena;
    const llem_measure_args *args = s->args;
    struct llem_value *v = llem_map(a), *config = llem_map(a), *what = llem_map(a);
    struct llem_value *measurement, *output = llem_map(a), *list = llem_null(a);
    char hash[65], resolved[65], stamp[24], random[33];
    llem_errcode rc = measurement_rows(s, &measurement, err);

    if (rc < 0)
        return rc;
    if (args->argv) {
        list = llem_list(a);
        for (size_t i = 0; args->argv[i]; i++)
            llem_append(a, list, llem_string(a, args->argv[i]));
    }
    llem_set(a, what, "argv", list);
    llem_set(a, what, "for_s",
             !args->argv && args->for_s > 0 ? llem_real(a, args->for_s) : llem_null(a));
    llem_set(a, what, "gpus", llem_null(a));
    if (args->gpus) {
        list = split_gpus(a, args->gpus);
        if (!list) {
            llem_fail(err, LLEM_EINVAL, "'%s' is no list of GPUs", args->gpus);
            return llem_hint(err, LLEM_EINVAL,
                             "Give indices or UUIDs separated by commas, as in 0,2, or all.");
        }
        llem_set(a, what, "gpus", list);
    }
    llem_set(a, config, "measurement", measurement);
    if (!llem_random_hex(s->mark) || !llem_random_hex(random))
        return llem_fail(err, LLEM_EIO, "the system gives no random numbers: %m");
    rc = make_dir(s, now_ns, err);
    if (rc < 0)
        return rc;
    llem_format_stamp(stamp, now_ns);
    llem_set(a, v, "version", llem_int(a, 1));
    llem_set(a, v, "producer", llem_producer(a));
    llem_set(a, v, "kind", llem_string(a, "measure"));
    llem_set(a, v, "experiment_id", llem_stringf(a, "measure_%s_%.8s", stamp, random));
    list = llem_map(a);
    llem_set(a, list, "measurement", measurement);
    llem_set(a, list, "measure", what);
    hash_of(list, LLEM_JSON_PYTHON, hash);
    hash_of(list, LLEM_JSON_CANON, resolved);
    llem_set(a, v, "measurement_config_hash", llem_stringn(a, hash, 16));
    llem_set(a, v, "resolved_config_hash", llem_string(a, resolved));
    llem_set(a, v, "study_id", llem_string(a, llem_path_basename(s->dir)));
    llem_set(a, v, "index", llem_int(a, 1));
    llem_set(a, v, "cycle", llem_int(a, 1));
    llem_set(a, v, "n_cycles", llem_int(a, 1));
    llem_set(a, v, "order", llem_string(a, "sequential"));
    llem_set(a, v, "quick", llem_bool(a, args->quick));
    llem_set(a, v, "config", config);
    llem_set(a, v, "provenance", llem_map(a));
    llem_set(a, v, "paths", llem_map(a));
    llem_set(a, output, "save_timeseries", llem_bool(a, true));
    llem_set(a, output, "save_outputs", llem_string(a, "none"));
    llem_set(a, v, "output", output);
    llem_set(a, v, "site", llem_site(a, s->ctx));
    llem_set(a, v, "run_mark", llem_string(a, s->mark));
    llem_set(a, v, "variables", llem_variables_to_record(s->ctx, a));
    llem_set(a, v, "measure", what);
    s->m.experiment = v;
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "cannot measure: out of memory");
    rc = llem_json_save(llem_path_join(a, s->dir, "claim.json"), llem_claim(a, s->mark, now_ns),
                        err);
    if (rc == LLEM_OK)
        rc = llem_json_save(llem_path_join(a, s->dir, "experiment.json"), v, err);
    return rc;
}

/* ---- together ----------------------------------------------------------------------------- */

static void on_event(void *user, const llem_event *e)
{
    struct span *s = user;

    llem_event_queue_push(&s->events, e);
}

static void *harness_main(void *user)
{
    struct span *s = user;

    s->rc = llem_measure_work(&s->m, work, s, &s->err);
    llem_event_queue_close(&s->events);
    return NULL;
}

enum seen { SEEN_NOTHING, SEEN_EVENT, SEEN_END };

/* Show the next event, waiting for it for a while; the end is that of the harness. A wish to stop
 * that the work itself has answered is not passed on: what was measured until then is a result. */
static enum seen watch(struct span *s, double for_s)
{
    static const llem_event nothing = { .step = "", .text = "", .reason = "" };
    bool over = false;
    struct llem_event_node *n = llem_event_queue_pop(&s->events, for_s, &over);
    int phase = atomic_load(&s->phase), wished = wishes(s);

    if (phase != PHASE_INSIDE && wished > atomic_load(&s->answered))
        atomic_store(&s->stop_harness, wished);
    if (s->args->progress && !over)
        s->args->progress(s->args->progress_user, n ? llem_event_of(n) : &nothing);
    llem_event_free(n);
    return over ? SEEN_END : n ? SEEN_EVENT : SEEN_NOTHING;
}

static llem_errcode start_thread(struct span *s, llem_error *err)
{
    s->m.ctx = s->ctx;
    s->m.dir = s->dir;
    s->m.cancel = &s->stop_harness;
    s->m.event = on_event;
    s->m.event_user = s;
    errno = llem_thread_start(&s->thread, harness_main, s);
    return errno ? llem_fail(err, LLEM_ENOMEM, "cannot start a thread: %m") : LLEM_OK;
}

/* Everything that comes before the harness; on failure nothing is to be ended but the span. */
static llem_errcode begin(struct span *s, llem_error *err)
{
    llem_errcode rc = LLEM_OK;

    s->outcome = (struct llem_outcome){ .state = LLEM_STATE_COMPLETED, .wstatus = -1 };
    llem_outcome_begin(&s->outcome, s->ctx->clock);
    if (s->args->argv)
        rc = check_command(s, err);
    return rc < 0 ? rc : prepare(s, s->outcome.started_ns, err);
}

/* How it went, on disk and in memory: started is what start_thread() said. */
static llem_errcode end(struct span *s, llem_errcode started, llem_result **out, int *wstatus,
                        llem_error *own)
{
    struct llem_outcome *o = &s->outcome;
    llem_errcode rc = started;

    if (rc == LLEM_OK) {
        while (watch(s, SLICE_MS / 1000.0) != SEEN_END)
            ;
        pthread_join(s->thread, NULL);
        rc = s->rc;
        if (rc < 0)
            *own = s->err;
    }
    if (rc < 0) {
        own->code = rc;
        o->state = rc == LLEM_ECANCELED ? LLEM_STATE_INTERRUPTED : LLEM_STATE_FAILED;
        o->err = *own;
    }
    if (atomic_load(&s->phase) == PHASE_AFTER && s->args->argv)
        o->wstatus = s->wstatus;
    llem_outcome_end(o, s->ctx->clock);
    if (llem_status_write(s->dir, o, rc < 0 ? NULL : own) < 0 && rc == LLEM_OK)
        rc = own->code;
    if (wstatus && o->wstatus >= 0)
        *wstatus = o->wstatus;
    if (rc == LLEM_OK && out)
        rc = llem_result_load(out, s->ctx, s->dir, own);
    return rc;
}

static void span_done(struct span *s)
{
    llem_event_queue_done(&s->events);
    llem_arena_done(&s->arena);
}

static llem_errcode read_args(llem_measure_args *to, const llem_measure_args *from, llem_error *err)
{
    memset(to, 0, sizeof(*to));
    if (!from || from->size < sizeof(from->size) || from->size > sizeof(*to))
        return llem_fail(err, LLEM_EINVAL,
                         "llem_measure_args.size must be sizeof(llem_measure_args)");
    memcpy(to, from, from->size);
    if (to->argv && !to->argv[0])
        return llem_fail(err, LLEM_EINVAL, "argv is empty");
    if (!to->argv && !(to->for_s > 0 && to->for_s <= 1e7))
        return llem_fail(err, LLEM_EINVAL, "for_s is %g; it is a number of seconds above 0",
                         to->for_s);
    return LLEM_OK;
}

llem_errcode llem_measure(llem_result **out, llem_ctx *ctx, const llem_measure_args *args,
                          int *wstatus, llem_error *err)
{
    llem_measure_args a;
    struct span s = { .args = &a, .ctx = ctx, .prefix = "measure_" };
    llem_error own = { 0 };
    llem_errcode rc = read_args(&a, args, err);

    if (rc < 0)
        return rc;
    rc = llem_event_queue_init(&s.events, err);
    if (rc < 0)
        return rc;
    rc = begin(&s, &own);
    if (rc == LLEM_OK)
        rc = end(&s, start_thread(&s, &own), out, wstatus, &own);
    if (rc < 0 && err)
        *err = own;
    span_done(&s);
    return rc;
}

/* ---- a part of the caller's program ------------------------------------------------------- */

static llem_errcode read_window_args(struct llem_window *w, const llem_window_args *from,
                                     llem_error *err)
{
    llem_window_args args = { 0 };
    char slug[64];

    if (!from || from->size < sizeof(from->size) || from->size > sizeof(args))
        return llem_fail(err, LLEM_EINVAL,
                         "llem_window_args.size must be sizeof(llem_window_args)");
    memcpy(&args, from, from->size);
    llem_slug(slug, sizeof(slug), args.name ? args.name : "window");
    w->s.prefix = llem_arena_printf(&w->s.arena, "%s_", slug);
    w->s.no_baseline = !args.baseline;
    w->a = (llem_measure_args){
        .size = sizeof(w->a),
        .output_dir = args.output_dir,
        .gpus = args.gpus,
        .quick = args.quick,
        .progress = args.progress,
        .progress_user = args.progress_user,
        .cancel = args.cancel,
    };
    return w->s.prefix ? LLEM_OK : llem_fail(err, LLEM_ENOMEM, "out of memory for a window");
}

static void window_free(struct llem_window *w)
{
    span_done(&w->s);
    sem_destroy(&w->opened);
    sem_destroy(&w->closed);
    free(w);
}

/* Until the window has begun, LLEM_ECANCELED if it never will; what there is to tell is told. */
static llem_errcode wait_until_open(struct llem_window *w)
{
    enum seen seen;
    bool open;

    do {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SLICE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / LLEM_NS_PER_S;
        until.tv_nsec %= LLEM_NS_PER_S;
        open = sem_timedwait(&w->opened, &until) == 0;
        do
            seen = watch(&w->s, 0);
        while (seen == SEEN_EVENT);
    } while (!open && seen != SEEN_END);
    return open ? LLEM_OK : LLEM_ECANCELED;
}

llem_errcode llem_window_open(llem_window **out, llem_ctx *ctx, const llem_window_args *args,
                              llem_error *err)
{
    struct llem_window *w = calloc(1, sizeof(*w));
    llem_error own = { 0 };
    llem_errcode rc;

    if (!w)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a window");
    rc = llem_event_queue_init(&w->s.events, err);
    if (rc < 0) {
        free(w);
        return rc;
    }
    sem_init(&w->opened, 0, 0);
    sem_init(&w->closed, 0, 0);
    w->s.args = &w->a;
    w->s.ctx = ctx;
    w->s.window = w;
    rc = read_window_args(w, args, &own);
    if (rc == LLEM_OK)
        rc = begin(&w->s, &own);
    if (rc < 0)
        goto failed;
    rc = start_thread(&w->s, &own);
    if (rc == LLEM_OK)
        rc = wait_until_open(w);
    if (rc == LLEM_OK) {
        *out = w;
        return LLEM_OK;
    }
    if (end(&w->s, rc == LLEM_ECANCELED ? LLEM_OK : rc, NULL, NULL, &own) == LLEM_OK)
        llem_fail(&own, rc, "the window was over before it began");
    rc = own.code;
failed:
    if (rc < 0 && err)
        *err = own;
    window_free(w);
    return rc;
}

llem_errcode llem_window_close(llem_window *w, llem_result **out, llem_error *err)
{
    llem_error own = { 0 };
    llem_errcode rc;

    sem_post(&w->closed);
    rc = end(&w->s, LLEM_OK, out, NULL, &own);
    if (rc < 0 && err)
        *err = own;
    window_free(w);
    return rc;
}
