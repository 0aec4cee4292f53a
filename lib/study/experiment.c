/* SPDX-License-Identifier: MIT
 *
 * The harness process: reads experiment.json, finds the engine, measures, and says on the event
 * pipe how it went.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/registry.h"
#include "lib/measure/measure.h"
#include "lib/study/study.h"

enum { EXPERIMENT_VERSION = 1, EXPERIMENT_MAX = 64 << 20, WRITER_DONE_MS = 2000 };

static llem_errcode load(struct llem_arena *a, struct llem_value **out, const char *dir,
                         llem_error *err)
{
    char *path = llem_path_join(a, dir, "experiment.json");
    const char *version, *commit;
    struct llem_value *v;
    llem_errcode rc;

    if (!path)
        return llem_fail(err, LLEM_ENOMEM, "cannot read the experiment: out of memory");
    rc = llem_json_load(a, &v, path, EXPERIMENT_MAX, err);
    if (rc < 0)
        return rc;
    if (llem_int_at(v, "version", 0) != EXPERIMENT_VERSION)
        return llem_fail(err, LLEM_ECORRUPT, "'%s' is no experiment of version %d", path,
                         EXPERIMENT_VERSION);
    version = llem_str_at(v, "producer.version", "");
    commit = llem_str_at(v, "producer.commit", "");
    if (strcmp(version, llem_version()) != 0 || strcmp(commit, llem_commit()) != 0) {
        llem_fail(
            err, LLEM_EPREFLIGHT,
            "'%s' was prepared by llem %s (%s), and this is llem %s (%s): two builds are mixed",
            path, version, commit, llem_version(), llem_commit());
        return llem_hint(err, LLEM_EPREFLIGHT,
                         "Set LLEM_PROGRAM to the program that belongs to the library.");
    }
    *out = v;
    return LLEM_OK;
}

static llem_errcode find_engine(struct llem_measurement *m, llem_ctx *ctx, const char *name,
                                llem_error *err)
{
    const struct llem_engine_class *table = llem_engine_builtin(name);
    const struct llem_engine_info *info;
    llem_errcode rc;

    /* The runner has checked the settings; a built-in engine needs no engine.yaml any more. */
    if (table) {
        m->engine = table;
        return LLEM_OK;
    }
    if (llem_starts_with(name, "python:"))
        name = "python"; /* its worker finds the class */
    rc = llem_engine_find(&info, ctx, name, err);
    if (rc < 0)
        return rc;
    if (!info)
        return llem_fail(err, LLEM_ECONFIG, "there is no engine '%s'", name);
    if (info->missing || !info->table) {
        llem_fail(err, LLEM_EPREFLIGHT, "%s",
                  info->missing ? info->missing : "this engine cannot run here");
        if (info->remedy)
            llem_hint(err, LLEM_EPREFLIGHT, "%s", info->remedy);
        return LLEM_EPREFLIGHT;
    }
    m->engine = info->table;
    m->engine_info = info;
    return LLEM_OK;
}

static void on_event(void *user, const llem_event *e)
{
    llem_event_writer_add(user, e);
}

/* The caller's flag is set by a signal handler, the harness reads it as an atomic: the same word.
 */
_Static_assert(sizeof(atomic_int) == sizeof(int) && ATOMIC_INT_LOCK_FREE == 2,
               "a flag that a signal handler sets must be readable as an atomic");

llem_errcode llem_experiment_main(llem_ctx *ctx, const char *dir, int event_fd,
                                  const volatile int *cancel, llem_error *err)
{
    static const atomic_int never;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_event_writer writer;
    struct llem_measurement m = {
        .ctx = ctx,
        .dir = dir,
        .cancel = cancel ? (const atomic_int *)(uintptr_t)cancel : &never,
        .event = on_event,
        .event_user = &writer,
        .worker_log_fd = STDERR_FILENO, /* the runner keeps it */
    };
    struct llem_value *experiment = NULL;
    const char *mark;
    llem_error own;
    llem_errcode rc;

    memset(&own, 0, sizeof(own));
    llem_event_writer_init(&writer, event_fd);
    rc = load(&a, &experiment, dir, &own);
    if (rc == LLEM_OK)
        ctx->runners = llem_get(experiment, "runners");
    if (rc == LLEM_OK)
        rc = find_engine(&m, ctx, llem_str_at(experiment, "config.engine", ""), &own);
    if (rc == LLEM_OK) {
        m.experiment = experiment;
        rc = llem_measure_engine(&m, &own);
    }
    if (rc < 0) {
        own.code = rc;
        llem_event_writer_error(&writer, &own);
        if (err)
            *err = own;
    }
    llem_event_writer_done(&writer, WRITER_DONE_MS);
    /* The runner ends what is left of a run; but it may be gone. */
    mark = llem_ctx_variable(ctx, "LLEM_RUN");
    if (rc < 0 && mark)
        llem_process_sweep(mark, LLEM_SWEEP_MS);
    ctx->runners = NULL;
    llem_arena_done(&a);
    return rc;
}
