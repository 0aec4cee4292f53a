/* SPDX-License-Identifier: MIT
 *
 * What the runner of studies costs for each run of the engine for tests: wall-clock time outside
 * the runs, processor time of its own process, at the beginning and at the end; and how long it
 * takes to go on with a study of 10,000 runs that are done; and the same cost, memory and counts
 * over 10,000 runs of which 2,000 fail, with a script in place of the harness, which takes the
 * result of one run for all.
 *
 * usage: study PROGRAM DATA_DIR [RUNS [DONE [FAILING]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/study/plan.h"
#include "llem/study.h"

enum { EDGE = 100 };

static double now_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void stop(const char *what, const llem_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->msg);
    exit(1);
}

static llem_plan *plan_of(llem_ctx *ctx, const char *dir, int runs)
{
    llem_error err;
    llem_plan *p = NULL;
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/study.yaml", dir);
    f = fopen(path, "w");
    if (!f)
        exit(1);
    fprintf(f, "task: {model: none, dataset: {source: builtin, n_prompts: 2}}\nengine: test\n"
               "measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: false}}\n"
               "study_execution: {experiment_gap_seconds: 0, cycle_gap_seconds: 0}\nsweep:\n"
               "  task.random_seed: [");
    for (int i = 0; i < runs; i++)
        fprintf(f, "%s%d", i ? ", " : "", i);
    fputs("]\n", f);
    fclose(f);
    if (llem_plan_study(&p, ctx, path, NULL, 0, &err) < 0)
        stop(path, &err);
    return p;
}

static double median(double *v, int n)
{
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && v[k] < v[k - 1]; k--) {
            double swap = v[k];

            v[k] = v[k - 1];
            v[k - 1] = swap;
        }
    return n ? v[n / 2] : 0;
}

/* Between the end of one run and that of the next, without what that took. Those that fail are
 * counted, or told where none should. The study's directory, in the arena. */
static const char *run_all(llem_ctx *ctx, const char *dir, int runs, int *failed,
                           struct llem_arena *a)
{
    llem_plan *p = plan_of(ctx, dir, runs);
    const char *study;
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };
    double *cost = calloc((size_t)runs + 1, sizeof(*cost)), begin, cpu, last, elapsed = 0, total;
    llem_event e = { 0 };
    llem_error err;
    llem_job *job;
    int n = 0;

    if (!cost)
        exit(1);
    begin = last = now_ms(CLOCK_MONOTONIC);
    cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    if (llem_study_start(&job, ctx, p, &opts, &err) < 0)
        stop("cannot run", &err);
    while (e.type != LLEM_EVENT_FINISHED) {
        llem_job_wait(job, -1, &e, NULL);
        if (e.type == LLEM_EVENT_ENDED && n < runs) {
            double now = now_ms(CLOCK_MONOTONIC);

            if (strcmp(e.reason, "completed") != 0 && failed)
                ++*failed;
            else if (strcmp(e.reason, "completed") != 0)
                fprintf(stderr, "run %d: %s: %s\n", e.run, e.reason, e.text);
            cost[n++] = now - last - e.elapsed_s * 1e3;
            elapsed += e.elapsed_s * 1e3;
            last = now;
        }
    }
    total = now_ms(CLOCK_MONOTONIC) - begin;
    cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%d runs in %.1f s: %.1f ms each, of which %.1f ms outside the run; the runner's own "
           "processor time is %.2f ms each\n",
           n, total / 1e3, total / n, (total - elapsed) / n, cpu / n);
    if (n >= 2 * EDGE)
        printf("median outside the run: %.1f ms of the first %d, %.1f ms of the last %d\n",
               median(cost, EDGE), EDGE, median(cost + n - EDGE, EDGE), EDGE);
    study = llem_arena_strdup(a, llem_job_study_dir(job));
    llem_job_free(job);
    llem_plan_free(p);
    free(cost);
    return study;
}

/* Begin a study and end it after its first run; its directory. */
static const char *run_first(llem_ctx *ctx, const llem_plan *p, const char *dir,
                             struct llem_arena *a)
{
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };
    llem_event e = { 0 };
    llem_error err;
    llem_job *job;
    const char *study;

    if (llem_study_start(&job, ctx, p, &opts, &err) < 0)
        stop("cannot run", &err);
    while (e.type != LLEM_EVENT_FINISHED) {
        llem_job_wait(job, -1, &e, NULL);
        if (e.type == LLEM_EVENT_ENDED && e.run == 1)
            llem_job_cancel(job);
    }
    study = llem_arena_strdup(a, llem_job_study_dir(job));
    llem_job_free(job);
    return study;
}

/* A study of so many runs that are done: the first is run, the others are its files under other
 * names. */
static void resume(llem_ctx *ctx, const char *dir, int runs)
{
    llem_plan *p = plan_of(ctx, dir, runs);
    llem_run_opts opts = { .size = sizeof(opts), .output_dir = dir };
    static const char *const files[] = { "result.json", "status.json", "config.json" };
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *study = run_first(ctx, p, dir, &a),
               *from = llem_arena_printf(&a, "%s/%s", study, llem_plan_run_dir(p, 0, &a));
    llem_event e = { 0 };
    llem_error err;
    llem_job *job;
    double begin;

    for (int i = 1; i < runs; i++) {
        const char *to = llem_arena_printf(&a, "%s/%s", study, llem_plan_run_dir(p, (size_t)i, &a));

        llem_remove_tree(to, NULL); /* the second was begun already */
        mkdir(to, 0777);
        for (size_t k = 0; k < LLEM_COUNT(files); k++)
            if (link(llem_path_join(&a, from, files[k]), llem_path_join(&a, to, files[k])) < 0)
                exit(1);
    }
    opts.resume_dir = study;
    /* The first time makes the manifest again of the results, the second finds it made. */
    for (int i = 0; i < 2; i++) {
        begin = now_ms(CLOCK_MONOTONIC);
        if (llem_study_start(&job, ctx, p, &opts, &err) < 0)
            stop("cannot go on", &err);
        printf("going on with %d runs that are done, %s: %.0f ms to the first that is not", runs,
               i ? "manifest up to date" : "manifest behind", now_ms(CLOCK_MONOTONIC) - begin);
        for (e.type = LLEM_EVENT_NONE; e.type != LLEM_EVENT_FINISHED;) {
            llem_job_wait(job, -1, &e, NULL);
            if (e.type == LLEM_EVENT_STARTED)
                fprintf(stderr, "something was run again\n");
        }
        printf(", %.0f ms with the study's result\n", now_ms(CLOCK_MONOTONIC) - begin);
        llem_job_free(job);
    }
    llem_arena_done(&a);
    llem_plan_free(p);
}

/* Every fifth run fails, and what is told of them is counted. */
static void fail_many(const llem_ctx_opts *real, llem_ctx *ctx, const char *dir, int runs)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_ctx_opts opts = *real;
    llem_plan *p = plan_of(ctx, dir, runs);
    const char *study = run_first(ctx, p, dir, &a), *script = llem_path_join(&a, dir, "harness");
    struct llem_value *manifest = NULL, *result = NULL;
    struct rusage before, after;
    llem_ctx *quick;
    llem_error err;
    FILE *f = fopen(script, "w");
    int failed = 0;

    if (!f)
        exit(1);
    fprintf(f,
            "#!/bin/sh\ncase ${2##*/} in *[05]_c1_*) exit 1 ;; esac\nexec ln '%s/%s/result.json' "
            "\"$2\"\n",
            study, llem_plan_run_dir(p, 0, &a));
    fclose(f);
    chmod(script, 0755);
    llem_plan_free(p);
    opts.program = script;
    if (llem_ctx_new(&quick, &opts, &err) < 0)
        stop("no context", &err);
    printf("with a script for the harness, of which every fifth run fails:\n");
    getrusage(RUSAGE_SELF, &before);
    study = run_all(quick, dir, runs, &failed, &a);
    getrusage(RUSAGE_SELF, &after);
    if (llem_json_load(&a, &manifest, llem_path_join(&a, study, "manifest.json"), 1 << 30, &err) <
            0 ||
        llem_json_load(&a, &result, llem_path_join(&a, study, "study_result.json"), 1 << 30, &err) <
            0)
        stop("nothing was told", &err);
    printf("%d failed; manifest.json has %lld and %lld completed, study_result.json %lld and %lld; "
           "the peak of memory rose by %ld KiB\n",
           failed, (long long)llem_int_at(manifest, "failed", -1),
           (long long)llem_int_at(manifest, "completed", -1),
           (long long)llem_int_at(result, "summary.failed", -1),
           (long long)llem_int_at(result, "summary.completed", -1),
           after.ru_maxrss - before.ru_maxrss);
    llem_ctx_free(quick);
    llem_arena_done(&a);
}

int main(int argc, char **argv)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    char dir[] = "/tmp/llem-bench-study-XXXXXX";
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_ctx *ctx;
    llem_error err;

    if (argc < 3 || !mkdtemp(dir))
        return 2;
    opts.program = argv[1];
    opts.data_dir = argv[2];
    if (llem_ctx_new(&ctx, &opts, &err) < 0)
        stop("no context", &err);
    run_all(ctx, dir, argc > 3 ? atoi(argv[3]) : 1000, NULL, &a);
    resume(ctx, dir, argc > 4 ? atoi(argv[4]) : 10000);
    fail_many(&opts, ctx, dir, argc > 5 ? atoi(argv[5]) : 10000);
    llem_arena_done(&a);
    llem_ctx_free(ctx);
    return llem_remove_tree(dir, &err) < 0;
}
