/* SPDX-License-Identifier: MIT
 *
 * Studies as they run: the breaker; order, pauses and limits of the loop; what a study that was
 * begun is when somebody goes on with it.
 */
#include "lib/study/study.h"

#include "llem/study.h"
#include "tests/unit/config/help.h"
#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_gives_up_after_one_more_try),
        cmocka_unit_test_setup_teardown(every_run_has_its_turn, set_up, teardown),
    };

    return cmocka_run_group_tests_name("study/loop", tests, NULL, NULL);
}
