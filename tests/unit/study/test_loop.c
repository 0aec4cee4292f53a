/* SPDX-License-Identifier: MIT
 *
 * Studies as they run: the breaker; order, pauses and limits of the loop; what a study that was
 * begun is when somebody goes on with it.
 */
#include "lib/base/ctx.h"
#include "lib/study/study.h"

#include "lib/study/locks.h"
#include "llem/study.h"
#include "tests/unit/config/help.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/file.h>

/* ---- the breaker ---------------------------------------------------------------------------- */

/* f: failed, c: completed; the verdicts as "-" go on, "w" wait, "x" give up. */
static void assert_breaker(int64_t allowed, const char *ends, const char *want)
{
    struct llem_breaker b = { .allowed = allowed };

    for (size_t i = 0; ends[i]; i++) {
        enum llem_verdict v = llem_breaker_take(&b, ends[i] == 'f');

        assert_int_equal("-wx"[v], want[i]);
    }
}

static void the_breaker_gives_up_after_one_more_try(void **state)
{
    assert_breaker(2, "fff", "-wx");
    assert_breaker(2, "ffcfff", "-w--wx");
    assert_breaker(2, "fcfcfc", "------");
    assert_breaker(1, "cf", "-x");
    assert_breaker(0, "ffffffff", "--------");
    assert_breaker(3, "ffcfff", "-----w");
}

/* ---- running -------------------------------------------------------------------------------- */

#define QUICK                                                                                      \
    "task: {model: none, dataset: {source: builtin, n_prompts: 2}}\nengine: test\n"                \
    "measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: false}}\n"
#define NO_GAPS "study_execution: {experiment_gap_seconds: 0, cycle_gap_seconds: 0"

static int set_up(void **state)
{
    struct fixture *f;
    llem_ctx_opts opts = { .size = sizeof(opts) };
    char program[4096], data[4096];
    int rc = setup(state);

    if (rc < 0)
        return rc;
    f = *state;
    snprintf(program, sizeof(program), "%s/llem", getenv("LLEM_TEST_BUILD_DIR"));
    llem_ctx_free(f->ctx);
    opts.log = keep_log;
    opts.log_user = f;
    snprintf(data, sizeof(data), "%s/share/llem", getenv("LLEM_TEST_BUILD_DIR"));
    opts.data_dir = data;
    opts.user_config = "";
    opts.program = program;
    return llem_ctx_new(&f->ctx, &opts, &f->err);
}

struct ran {
    char starts[256]; /* directories' numbers and cycles, "1c1 2c1 " */
    char ends[256];   /* a letter a run: its state's first */
    char said[512];   /* the last failure or warning */
    int pauses;
    double estimated_j; /* of the last run that tells it */
};

static llem_plan *plan_of(struct fixture *f, const char *yaml)
{
    llem_plan *p = NULL;

    if (llem_plan_study(&p, f->ctx, put(f, "study.yaml", yaml), NULL, 0, &f->err) < 0)
        fail_msg("refused: %s", f->err.msg);
    return p;
}

static llem_run_opts opts_of(const struct fixture *f)
{
    return (llem_run_opts){ .size = sizeof(llem_run_opts), .output_dir = f->dir };
}

/* Run to the end; cancel_at: cancel when that run begins, 0 = never. */
static const char *run_it(struct fixture *f, struct ran *ran, const llem_plan *p,
                          const llem_run_opts *opts, int cancel_at, char dir[512])
{
    llem_job *job = NULL;
    llem_event e = { 0 };
    const char *status;

    memset(ran, 0, sizeof(*ran));
    if (llem_study_start(&job, f->ctx, p, opts, &f->err) < 0)
        fail_msg("cannot start: %s", f->err.msg);
    while (e.type != LLEM_EVENT_FINISHED) {
        assert_int_equal(llem_job_wait(job, 60, &e, NULL), LLEM_OK);
        assert_int_not_equal(e.type, LLEM_EVENT_NONE);
        if (e.type == LLEM_EVENT_STARTED) {
            const char *name = llem_path_basename(e.text);
            size_t at = strlen(ran->starts);

            snprintf(ran->starts + at, sizeof(ran->starts) - at, "%d%.2s ", atoi(name),
                     strstr(name, "_c") + 1);
            if (e.run == cancel_at)
                llem_job_cancel(job);
        }
        if (e.type == LLEM_EVENT_WARNING || (e.type == LLEM_EVENT_ENDED && *e.text))
            snprintf(ran->said, sizeof(ran->said), "%s", e.text);
        if (e.type == LLEM_EVENT_ENDED)
            ran->ends[strlen(ran->ends)] = e.reason[0];
        ran->pauses += e.type == LLEM_EVENT_PAUSE;
        if (e.type == LLEM_EVENT_ENDED && isfinite(e.energy_estimated_j))
            ran->estimated_j = e.energy_estimated_j;
    }
    status = llem_job_status(job);
    if (dir)
        snprintf(dir, 512, "%s", llem_job_study_dir(job));
    llem_job_free(job);
    return status;
}

static struct llem_value *document(struct fixture *f, const char *dir, const char *name)
{
    struct llem_value *v = NULL;

    assert_int_equal(llem_json_load(&f->a, &v, llem_path_join(&f->a, dir, name), 1 << 24, NULL),
                     LLEM_OK);
    return v;
}

static void every_run_has_its_turn(void **state)
{
    struct fixture *f = *state;
    llem_plan *p =
        plan_of(f, QUICK "study_name: My Study/1\nsweep: {test.request_s: [0.001, 0.002]}\n" NO_GAPS
                         ", n_cycles: 2, experiment_order: interleave}\n");
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512];

    run_it(f, &ran, p, &opts, 0, dir);
    assert_string_equal(ran.said, "");
    assert_string_equal(ran.starts, "1c1 2c1 3c2 4c2 ");
    assert_string_equal(ran.ends, "cccc");
    assert_int_equal(ran.pauses, 0);
    assert_non_null(strstr(dir, "/1_20"));
    v = document(f, dir, "manifest.json");
    assert_string_equal(llem_str_at(v, "status", ""), "completed");
    assert_int_equal(llem_int_at(v, "completed", 0), 4);
    assert_true(llem_real_at(v, "experiments.3.inference_seconds", 0) > 0);
    v = document(f, dir, "plan.json");
    assert_string_equal(llem_str_at(v, "axes.0", ""), "test.request_s");
    assert_true(llem_get(llem_at(v, "experiments.1.settings"), "test.request_s")->d == 0.002);
    /* All is there: nothing is left to do. */
    opts.resume_dir = dir;
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "");
    llem_plan_free(p);
}

static void what_runs_is_known_ahead(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, QUICK "sweep: {test.request_s: [0.001, 0.002]}\n"
                                    "study_execution: {experiment_gap_seconds: 0.5, "
                                    "cycle_gap_seconds: 1, n_cycles: 2, experiment_order: "
                                    "interleave}\n");
    static const double pauses_s[] = { 0, 0.5, 1, 0.5 };
    llem_run_opts opts = opts_of(f);
    llem_run_info info = { .size = sizeof(info) };
    llem_job *job = NULL;
    char dir[512];
    struct ran ran;

    assert_int_equal(llem_study_start(&job, f->ctx, p, &opts, &f->err), LLEM_OK);
    assert_int_equal(llem_job_runs(job), 4);
    for (int run = 1; run <= 4; run++) {
        assert_int_equal(llem_job_run_info(job, run, &info), LLEM_OK);
        assert_int_equal(info.experiment, (run - 1) % 2 + 1);
        assert_int_equal(info.cycle, (run - 1) / 2 + 1);
        assert_true(info.pause_s == pauses_s[run - 1]);
        assert_string_equal(info.state, "");
        assert_true(isnan(info.elapsed_s));
    }
    assert_non_null(strstr(info.label, " / test / request_s=0.002"));
    assert_int_equal(llem_job_run_info(job, 0, &info), LLEM_EINVAL);
    assert_int_equal(llem_job_run_info(job, 5, &info), LLEM_EINVAL);
    info.size = sizeof(info) + 8;
    assert_int_equal(llem_job_run_info(job, 1, &info), LLEM_EINVAL);
    llem_job_free(job);
    /* Of a study that was begun, also what is over. */
    run_it(f, &ran, p, &opts, 3, dir);
    assert_string_equal(ran.ends, "cci");
    assert_true(ran.estimated_j > 0);
    opts.resume_dir = dir;
    assert_int_equal(llem_study_start(&job, f->ctx, p, &opts, &f->err), LLEM_OK);
    info.size = sizeof(info);
    assert_int_equal(llem_job_run_info(job, 2, &info), LLEM_OK);
    assert_string_equal(info.state, "completed");
    assert_true(info.elapsed_s > 0 && info.tokens_per_s > 0);
    assert_int_equal(llem_job_run_info(job, 3, &info), LLEM_OK);
    assert_string_equal(info.state, "");
    assert_true(info.pause_s == 0);
    assert_int_equal(llem_job_run_info(job, 4, &info), LLEM_OK);
    assert_true(info.pause_s == 0.5);
    llem_job_free(job);
    llem_plan_free(p);
}

/* A study of three, of which one fails if it says so. */
#define THREE(fails, more)                                                                         \
    QUICK "experiments: [{test: {request_s: 0.001}}, {test: {request_s: 0.002, fail_at: " fails    \
          "}}, {test: {request_s: 0.003}}]\n" NO_GAPS ", experiment_order: interleave" more "}\n"

static void a_failure_stops_nothing_and_is_tried_again(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("load_model", ""));
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512];

    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "failed");
    assert_string_equal(ran.ends, "cfc");
    v = document(f, dir, "manifest.json");
    assert_string_equal(llem_str_at(v, "status", ""), "failed");
    assert_string_equal(llem_str_at(v, "experiments.1.status", ""), "failed");
    assert_string_equal(llem_str_at(v, "experiments.1.error_type", ""), "plugin");
    v = document(f, dir, "study_result.json");
    assert_int_equal(llem_int_at(v, "summary.completed", 0), 2);
    assert_int_equal(llem_int_at(v, "summary.failed", 0), 1);
    /* Only the one that failed is run again, twice; what it left is kept. */
    opts.resume_dir = dir;
    for (int i = 1; i <= 2; i++) {
        assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "failed");
        assert_string_equal(ran.starts, "2c1 ");
        assert_string_equal(ran.ends, "f");
    }
    v = document(f, dir, "manifest.json");
    assert_int_equal(llem_int_at(v, "completed", 0), 2);
    for (int i = 1; i <= 2; i++)
        document(f, dir,
                 llem_arena_printf(&f->a, "%s/attempts/%d/status.json",
                                   llem_str_at(document(f, dir, "plan.json"), "runs.1.dir", ""),
                                   i));
    llem_plan_free(p);
}

static void too_many_failures_end_it(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(
        f, QUICK "sweep: {test.request_s: [0.001, 0.002, 0.003, 0.004, 0.005]}\n"
                 "test: {fail_at: load_model}\n" NO_GAPS
                 ", max_consecutive_failures: 2, circuit_breaker_cooldown_seconds: 0.01}\n");
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512];

    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "circuit_breaker");
    assert_string_equal(ran.ends, "fff");
    assert_int_equal(ran.pauses, 1);
    v = document(f, dir, "manifest.json");
    assert_string_equal(llem_str_at(v, "status", ""), "circuit_breaker");
    assert_int_equal(llem_int_at(v, "skipped", 0), 2);
    assert_non_null(strstr(llem_str_at(v, "experiments.4.error_message", ""), "too many failures"));
    /* What was passed over is still to be done. */
    opts.resume_dir = dir;
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "circuit_breaker");
    assert_string_equal(ran.ends, "fff");
    llem_plan_free(p);
    p = plan_of(f,
                QUICK "sweep: {test.request_s: [0.001, 0.002, 0.003]}\n"
                      "test: {fail_at: load_model}\n" NO_GAPS ", max_consecutive_failures: 1}\n");
    opts.resume_dir = NULL;
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "circuit_breaker");
    assert_string_equal(ran.ends, "f");
    assert_int_equal(ran.pauses, 0);
    llem_plan_free(p);
}

static void the_time_of_the_study_ends_it(void **state)
{
    struct fixture *f = *state;
    /* 3.6 s; the second would take a minute */
    llem_plan *p = plan_of(
        f, QUICK "experiments: [{test: {request_s: 0.001}}, {test: {request_s: 60}}, {test: "
                 "{request_s: 0.002}}]\n" NO_GAPS ", wall_clock_timeout_hours: 0.001}\n");
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512];

    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "timed_out");
    assert_string_equal(ran.starts, "1c1 2c1 ");
    assert_string_equal(ran.ends, "ct");
    v = document(f, dir, "manifest.json");
    assert_string_equal(llem_str_at(v, "status", ""), "timed_out");
    assert_string_equal(llem_str_at(v, "experiments.2.status", ""), "skipped");
    assert_non_null(strstr(llem_str_at(v, "experiments.1.error_message", ""), "time of the study"));
    llem_plan_free(p);
}

static void silence_ends_an_experiment(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, QUICK "test: {hang_at: synchronize}\n" NO_GAPS
                                    ", stdout_silence_timeout_seconds: 1}\n");
    llem_run_opts opts = opts_of(f);
    struct ran ran;

    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "failed");
    assert_string_equal(ran.ends, "t");
    assert_non_null(strstr(ran.said, "said nothing for 1 s"));
    llem_plan_free(p);
}

static void a_study_goes_on_where_it_was_interrupted(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("none", "")), *again = NULL;
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512], *found = NULL;

    assert_string_equal(run_it(f, &ran, p, &opts, 2, dir), "interrupted");
    assert_string_equal(ran.ends, "ci");
    v = document(f, dir, "study_result.json");
    assert_int_equal(llem_int_at(v, "summary.completed", 0), 1);
    /* A manifest that is cut off is made again of the directories. */
    assert_int_equal(truncate(llem_path_join(&f->a, dir, "manifest.json"), 100), 0);
    assert_int_equal(llem_plan_resume(&again, f->ctx, NULL, f->dir, &found, &f->err), LLEM_OK);
    assert_string_equal(found, dir);
    opts.resume = 1;
    assert_string_equal(run_it(f, &ran, again, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "2c1 3c1 ");
    v = document(f, dir, "manifest.json");
    assert_int_equal(llem_int_at(v, "completed", 0), 3);
    assert_true(llem_real_at(v, "experiments.0.inference_seconds", 0) > 0);
    assert_true(llem_real_at(v, "experiments.0.elapsed_seconds", 0) > 0);
    /* Then there is none that is unfinished. */
    llem_plan_free(again);
    again = NULL;
    assert_int_equal(llem_plan_resume(&again, f->ctx, NULL, f->dir, NULL, &f->err), LLEM_ESTUDY);
    assert_non_null(strstr(f->err.msg, "no unfinished study"));
    free(found);
    llem_plan_free(p);
}

static void a_study_of_a_text_keeps_it_and_goes_on_from_it(void **state)
{
    static const char text[] = "{\"task\": {\"model\": \"none\", \"dataset\": {\"source\": "
                               "\"builtin\", \"n_prompts\": 1}}, "
                               "\"engine\": \"test\", \"measurement\": {\"quick\": true, "
                               "\"warmup\": {\"enabled\": false}, "
                               "\"baseline\": {\"enabled\": false}}, \"experiments\": [{}, "
                               "{\"task\": {\"random_seed\": 7}}], "
                               "\"study_execution\": {\"experiment_gap_seconds\": 0}}";
    struct fixture *f = *state;
    llem_plan *p = NULL, *again = NULL;
    llem_run_opts opts = opts_of(f);
    struct llem_buf b = LLEM_BUF_INIT(4096);
    struct ran ran;
    char dir[512];

    if (llem_plan_from_json(&p, f->ctx, text, strlen(text), "a study", NULL, 0, &f->err) < 0)
        fail_msg("refused: %s", f->err.msg);
    assert_string_equal(run_it(f, &ran, p, &opts, 2, dir), "interrupted");
    assert_string_equal(llem_str_at(document(f, dir, "plan.json"), "source.text", ""), text);
    assert_int_equal(llem_file_read(&b, llem_path_join(&f->a, dir, "study_config.yaml"), &f->err),
                     LLEM_OK);
    assert_string_equal(b.data, text);
    assert_int_equal(llem_plan_resume(&again, f->ctx, dir, NULL, NULL, &f->err), LLEM_OK);
    opts.resume_dir = dir;
    assert_string_equal(run_it(f, &ran, again, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "2c1 ");
    llem_buf_done(&b);
    llem_plan_free(again);
    llem_plan_free(p);
}

static llem_errcode start_error(struct fixture *f, const llem_plan *p, const llem_run_opts *opts)
{
    llem_job *job = NULL;
    llem_errcode rc = llem_study_start(&job, f->ctx, p, opts, &f->err);

    llem_job_free(job);
    return rc;
}

static void another_study_is_refused_with_what_differs(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("none", "")), *other;
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    struct llem_value *v;
    char dir[512];

    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "completed");
    other =
        plan_of(f, QUICK "experiments: [{test: {request_s: 0.003}}, {test: {request_s: 0.004}}, "
                         "{test: {request_s: 0.001}}]\n" NO_GAPS "}\n");
    opts.resume_dir = dir;
    assert_int_equal(start_error(f, other, &opts), LLEM_ESTUDY);
    assert_non_null(strstr(f->err.msg, "no longer there: test.request_s=0.002"));
    assert_non_null(strstr(f->err.msg, "new: test.request_s=0.004"));
    assert_non_null(strstr(f->err.hint, "--accept-drift"));
    /* What is the same keeps its directory and is not run again. */
    opts.accept_drift = 1;
    assert_string_equal(run_it(f, &ran, other, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "4c1 ");
    v = document(f, dir, "plan.json");
    assert_true(llem_starts_with(llem_str_at(v, "runs.0.dir", ""), "003_"));
    assert_true(llem_starts_with(llem_str_at(v, "runs.1.dir", ""), "004_"));
    assert_true(llem_starts_with(llem_str_at(v, "runs.2.dir", ""), "001_"));
    v = document(f, dir, "plan.1.json");
    assert_true(llem_starts_with(llem_str_at(v, "runs.1.dir", ""), "002_"));
    llem_plan_free(other);
    llem_plan_free(p);
}

static void more_cycles_are_more_runs(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("none", "")),
              *more = plan_of(f, THREE("none", ", n_cycles: 2"));
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    char dir[512];

    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "completed");
    opts.resume_dir = dir;
    assert_string_equal(run_it(f, &ran, more, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "4c2 5c2 6c2 ");
    /* and fewer are fewer */
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "completed");
    assert_string_equal(ran.starts, "");
    llem_plan_free(more);
    llem_plan_free(p);
}

static void what_is_to_be_left_out_is(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("none", ", n_cycles: 2"));
    llem_run_key skip[] = { { p->cells[1].hash, 1 }, { p->cells[1].hash, 2 }, { "none", 1 } };
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    char dir[512];

    opts.skip = skip;
    opts.n_skip = LLEM_COUNT(skip);
    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "completed");
    assert_string_equal(ran.starts, "1c1 3c1 4c2 6c2 ");
    assert_int_equal(llem_int_at(document(f, dir, "manifest.json"), "skipped", 0), 2);
    llem_plan_free(p);
}

static void two_runners_do_not_share_a_study(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("load_model", ""));
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    char dir[512];
    int fd;

    run_it(f, &ran, p, &opts, 0, dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    opts.resume_dir = dir;
    assert_int_equal(start_error(f, p, &opts), LLEM_ESTUDY);
    assert_non_null(strstr(f->err.msg, "is being run by another process"));
    opts.resume_dir = NULL;
    opts.resume = 1; /* nor is it one to go on with */
    assert_int_equal(start_error(f, p, &opts), LLEM_ESTUDY);
    close(fd);
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "failed");
    assert_string_equal(ran.starts, "2c1 ");
    llem_plan_free(p);
}

/* Replace a number in the claim of the second run, and its end by none. */
static void rewrite_claim(struct fixture *f, const char *dir, const char *key, struct llem_value *v)
{
    const char *run = llem_arena_printf(
        &f->a, "%s/%s", dir, llem_str_at(document(f, dir, "plan.json"), "runs.1.dir", ""));
    struct llem_value *claim = document(f, run, "claim.json");

    llem_set(&f->a, claim, key, v);
    assert_int_equal(llem_json_save(llem_path_join(&f->a, run, "claim.json"), claim, NULL),
                     LLEM_OK);
    unlink(llem_path_join(&f->a, run, "status.json"));
}

static void a_claim_holds_until_its_owner_is_provably_dead(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("load_model", ""));
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    char dir[512];

    run_it(f, &ran, p, &opts, 0, dir);
    opts.resume_dir = dir;
    rewrite_claim(f, dir, "pid", llem_int(&f->a, getpid())); /* alive: this process */
    run_it(f, &ran, p, &opts, 0, NULL);
    assert_string_equal(ran.starts, "");
    assert_non_null(strstr(ran.said, "is running it"));
    rewrite_claim(f, dir, "start_ticks", llem_int(&f->a, 1)); /* of a process that is gone */
    run_it(f, &ran, p, &opts, 0, NULL);
    assert_string_equal(ran.starts, "2c1 ");
    /* a container that is gone: the lock is free */
    rewrite_claim(f, dir, "pid", llem_int(&f->a, getpid()));
    rewrite_claim(f, dir, "pid_namespace", llem_string(&f->a, "pid:[1]"));
    run_it(f, &ran, p, &opts, 0, NULL);
    assert_string_equal(ran.starts, "2c1 ");
    /* an earlier start of this machine */
    rewrite_claim(f, dir, "boot_id", llem_string(&f->a, "0"));
    run_it(f, &ran, p, &opts, 0, NULL);
    assert_string_equal(ran.starts, "2c1 ");
    rewrite_claim(f, dir, "boot_id", llem_string(&f->a, "0"));
    rewrite_claim(f, dir, "host", llem_string(&f->a, "0123456789abcdef"));
    run_it(f, &ran, p, &opts, 0, NULL);
    assert_string_equal(ran.starts, "");
    assert_non_null(strstr(ran.said, "another machine"));
    llem_plan_free(p);
}

static int64_t backwards(void *self)
{
    int64_t *wall_ns = self;

    return *wall_ns -= 3600 * LLEM_NS_PER_S;
}

static int64_t monotonic(void *self)
{
    return llem_now_ns(&llem_system_clock);
}

static void a_clock_that_is_set_back_changes_nothing(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("load_model", ""));
    llem_run_opts opts = opts_of(f);
    int64_t wall_ns = llem_system_clock.wall_ns(llem_system_clock.self);
    struct llem_clock clock = llem_system_clock;
    struct ran ran;
    const struct llem_value *warnings;
    struct llem_value *v;
    char dir[512];

    clock.self = &wall_ns;
    clock.wall_ns = backwards;
    clock.now_ns = monotonic;
    f->ctx->clock = &clock;
    assert_string_equal(run_it(f, &ran, p, &opts, 0, dir), "failed");
    assert_string_equal(ran.ends, "cfc");
    opts.resume = 1;
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "failed");
    assert_string_equal(ran.starts, "2c1 ");
    v = document(f, dir, "manifest.json");
    for (size_t i = 0; i < 3; i++)
        assert_true(llem_real_at(llem_get(v, "experiments")->items[i], "elapsed_seconds", -1) > 0);
    v = document(f, dir, "study_result.json");
    for (size_t i = 0; i < 3; i++)
        assert_true(llem_real_at(llem_get(v, "runs")->items[i], "elapsed_s", -1) > 0);
    assert_true(llem_real_at(v, "summary.total_run_time_s", -1) > 0);
    assert_true(llem_is_null(llem_at(v, "summary.total_wall_time_s")));
    warnings = llem_at(v, "summary.warnings");
    assert_non_null(strstr(warnings->items[warnings->count - 1]->s, "clock was set"));
    f->ctx->clock = &llem_system_clock;
    llem_plan_free(p);
}

static void engines_in_one_environment_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char yaml[] = "task: {model: m, dataset: {source: builtin, n_prompts: 2}}\n"
                               "engine: [transformers, vllm, cpu]\n";
    llem_plan *p = plan_of(f, yaml), *apart;
    llem_run_opts opts = opts_of(f);
    llem_job *job = NULL;

    assert_int_equal(start_error(f, p, &opts), LLEM_EPREFLIGHT);
    assert_non_null(strstr(f->err.msg, "transformers and vllm"));
    assert_non_null(strstr(f->err.hint, "local:PATH"));
    /* One that has its own, or who says that it is well so: then they run, and fail by
     * themselves. */
    opts.skip_preflight = 1;
    assert_int_equal(llem_study_start(&job, f->ctx, p, &opts, &f->err), LLEM_OK);
    llem_job_free(job);
    opts.skip_preflight = 0;
    apart = plan_of(f, llem_arena_printf(&f->a, "%srunners: {vllm: 'local:/nowhere'}\n", yaml));
    assert_int_equal(llem_study_start(&job, f->ctx, apart, &opts, &f->err), LLEM_OK);
    llem_job_free(job);
    llem_plan_free(apart);
    llem_plan_free(p);
}

static void a_study_says_how_its_engine_is_started(void **state)
{
    struct fixture *f = *state;
    llem_run_opts opts = opts_of(f);
    struct ran ran;
    llem_plan *p;

    setenv("LLEM_PLUGIN_PATH", llem_arena_printf(&f->a, "%s/tests/fakes/worker", source_dir()), 1);
    p = plan_of(f, "task: {model: m, dataset: {source: builtin, n_prompts: 2}}\nengine: scripted\n"
                   "measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: "
                   "false}}\nrunners: {scripted: 'local:/nowhere'}\n");
    assert_string_equal(run_it(f, &ran, p, &opts, 0, NULL), "failed");
    assert_non_null(strstr(ran.said, "/nowhere"));
    llem_plan_free(p);
}

static void what_the_plan_warns_of_is_told_at_the_start(void **state)
{
    struct fixture *f = *state;
    llem_run_opts opts = opts_of(f);
    llem_job *job = NULL;
    llem_event e;
    llem_plan *p;

    setenv("LLEM_PLUGIN_PATH", llem_arena_printf(&f->a, "%s/tests/fakes/worker", source_dir()), 1);
    p = plan_of(f, "task: {model: m, dataset: {source: builtin, n_prompts: 2}}\n"
                   "engine: [test, scripted]\nmeasurement: {quick: true}\n");
    assert_int_equal(llem_study_start(&job, f->ctx, p, &opts, &f->err), LLEM_OK);
    assert_int_equal(llem_job_wait(job, 30, &e, NULL), LLEM_OK);
    assert_int_equal(e.type, LLEM_EVENT_WARNING);
    assert_non_null(strstr(e.text, "scripted does not say how it decodes"));
    llem_job_free(job);
    llem_plan_free(p);
}

static void what_is_no_study_is_refused(void **state)
{
    struct fixture *f = *state;
    llem_plan *p = plan_of(f, THREE("none", ""));
    llem_run_opts opts = opts_of(f);
    static const char *const plans[] = {
        "",
        "{",
        "[]",
        "{\"version\": 1}",
        "{\"version\": 2}",
        "{\"version\": 2, \"experiments\": [], \"runs\": [{\"dir\": \"../x\"}]}",
        "{\"version\": 2, \"experiments\": [], \"runs\": [{\"dir\": \".x\"}]}",
        "{\"version\": 2, \"experiments\": 3, \"runs\": [3]}",
        "{\"version\": 2, \"experiments\": [3], \"runs\": [3]}",
    };

    opts.resume_dir = in_dir(f, "nowhere");
    assert_int_equal(start_error(f, p, &opts), LLEM_ESTUDY);
    opts.resume_dir = f->dir;
    assert_int_equal(start_error(f, p, &opts), LLEM_ESTUDY);
    for (size_t i = 0; i < LLEM_COUNT(plans); i++) {
        put(f, "plan.json", plans[i]);
        assert_int_equal(start_error(f, p, &opts), LLEM_ESTUDY);
        assert_true(strstr(f->err.msg, "plan.json") || strstr(f->err.file, "plan.json"));
    }
    assert_false(llem_path_exists(in_dir(f, "manifest.json")));
    llem_plan_free(p);
}

/* ---- boards --------------------------------------------------------------------------------- */

#define BOARD "GPU-fa4e0000-0000-0000-0000-000000000000"

static llem_plan *plan_on_a_board(struct fixture *f)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/tests/fakes/libnvidia-ml.so.1", getenv("LLEM_TEST_BUILD_DIR"));
    setenv("LLEM_NVML_LIBRARY", path, 1);
    setenv("LLEM_FAKE_NVML_SCENARIO",
           put(f, "scenario", "epoch boot\nboard h100\n  gain 1\n  load idle 80\n"), 1);
    setenv("LLEM_LOCK_DIR", in_dir(f, "locks"), 1);
    return plan_of(f, "task: {model: none, dataset: {source: builtin, n_prompts: 1}}\n"
                      "engine: test\ntest: {request_s: 0.3, gpus: [" BOARD "]}\n"
                      "measurement: {quick: true, warmup: {enabled: false}}\n" NO_GAPS
                      ", n_cycles: 2}\n");
}

static void a_study_measures_idle_once_on_boards_of_its_own(void **state)
{
    static const char *const board[] = { BOARD };
    struct fixture *f = *state;
    llem_plan *p = plan_on_a_board(f);
    llem_run_opts opts = opts_of(f);
    struct llem_locks locks = { .study = "another" };
    const char *const method = "baseline.method", *const reused = "baseline.reused.run";
    const struct llem_value *runs;
    struct llem_value *first, *second;
    llem_job *job = NULL;
    struct ran ran;
    char dir[512];

    /* Somebody else has the board: nothing is begun, unless we do not care. */
    assert_int_equal(llem_locks_take(&locks, f->ctx, board, 1, &f->err), LLEM_OK);
    assert_int_equal(llem_study_start(&job, f->ctx, p, &opts, &f->err), LLEM_ESTUDY);
    assert_contains(f->err.msg, "for 'another'");
    assert_contains(f->err.hint, "--no-lock");
    opts.no_lock = 1;
    run_it(f, &ran, p, &opts, 0, dir);
    assert_string_equal(ran.ends, "cc");
    llem_locks_release(&locks);

    opts.no_lock = 0;
    run_it(f, &ran, p, &opts, 0, dir);
    assert_string_equal(ran.ends, "cc");
    assert_int_equal(llem_locks_take(&locks, f->ctx, board, 1, &f->err), LLEM_OK);
    llem_locks_release(&locks);
    runs = llem_get(document(f, dir, "plan.json"), "runs");
    assert_int_equal(runs->count, 2);
    first = document(f, llem_path_join(&f->a, dir, llem_str_at(runs->items[0], "dir", "")),
                     "recording/recording.json");
    second = document(f, llem_path_join(&f->a, dir, llem_str_at(runs->items[1], "dir", "")),
                      "recording/recording.json");
    assert_string_equal(llem_str_at(first, method, ""), "fresh");
    assert_string_equal(llem_str_at(second, method, ""), "validated");
    assert_string_equal(llem_str_at(second, reused, ""), llem_str_at(runs->items[0], "dir", "?"));
    unsetenv("LLEM_FAKE_NVML_SCENARIO");
    llem_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_gives_up_after_one_more_try),
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, teardown)
        T(every_run_has_its_turn),
        T(what_runs_is_known_ahead),
        T(a_failure_stops_nothing_and_is_tried_again),
        T(too_many_failures_end_it),
        T(the_time_of_the_study_ends_it),
        T(silence_ends_an_experiment),
        T(a_study_goes_on_where_it_was_interrupted),
        T(a_study_of_a_text_keeps_it_and_goes_on_from_it),
        T(another_study_is_refused_with_what_differs),
        T(more_cycles_are_more_runs),
        T(what_is_to_be_left_out_is),
        T(two_runners_do_not_share_a_study),
        T(a_claim_holds_until_its_owner_is_provably_dead),
        T(a_clock_that_is_set_back_changes_nothing),
        T(engines_in_one_environment_are_refused),
        T(a_study_says_how_its_engine_is_started),
        T(what_the_plan_warns_of_is_told_at_the_start),
        T(what_is_no_study_is_refused),
        T(a_study_measures_idle_once_on_boards_of_its_own),
#undef T
    };

    return cmocka_run_group_tests_name("study/loop", tests, NULL, NULL);
}
