/* SPDX-License-Identifier: MIT
 *
 * Idle power over the runs of a study: what is measured, what is taken over and by which runs, what
 * a check finds, and that a result with an idle of another run follows from its own recording.
 */
#include "tests/unit/measure/help.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/result/result.h"

#define START (100000 * S)

/* Everything a test can change of a run, and what came of it. */
struct one {
    /* in */
    const char *strategy, *baselines, *runner; /* NULL: validated, the test's directory, none */
    double idle_w, limit_w;                    /* 0: 100 W, 700 W */
    int interval, duration_s;                  /* 0: 5 and 30 */
    bool quick, no_place, cancel;
    /* out */
    char method[16], note[256], steps[4096], from[128];
    bool reused, checked, measured;
    double seconds; /* of the step */
    double power_w, u_w, adjusted_j, energy_j, age_s;
};

static char dir[64];
static int64_t now_ns;

static int begin(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/llem-baselines-XXXXXX");
    now_ns = START;
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    return llem_remove_tree(dir, NULL) == LLEM_OK ? 0 : -1;
}

static void set_text(struct run *r, const char *path, const char *text)
{
    char json[256];

    snprintf(json, sizeof(json), "\"%s\"", text);
    run_set_top(r, path, json);
}

static void read_back(struct run *r, struct one *o)
{
    struct llem_recording rec;
    struct llem_value *result, *again;
    const struct llem_value *step;
    struct llem_arena a = LLEM_ARENA_INIT;
    char path[256];
    llem_error err;

    run_open(r, &rec);
    step = step_of(&rec, "baseline");
    o->seconds = (double)(llem_int_at(step, "end_ns", 0) - llem_int_at(step, "begin_ns", 0)) * 1e-9;
    snprintf(o->note, sizeof(o->note), "%s", llem_str_at(step, "text", ""));
    snprintf(o->method, sizeof(o->method), "%s", llem_str_at(rec.json, "baseline.method", ""));
    snprintf(o->from, sizeof(o->from), "%s", llem_str_at(rec.json, "baseline.reused.run", ""));
    o->reused = !llem_is_null(llem_at(rec.json, "baseline.reused"));
    o->checked = !llem_is_null(llem_at(rec.json, "baseline.spot"));
    o->measured = !llem_is_null(llem_at(rec.json, "baseline.bare"));
    snprintf(path, sizeof(path), "%s/result.json", r->dir);
    assert_int_equal(llem_json_load(&a, &result, path, 1 << 24, &err), LLEM_OK);
    o->power_w = llem_real_at(result, "baseline_power_w", NAN);
    o->u_w = llem_real_at(result, "quantities.baseline_power_w.u_stat", NAN);
    o->adjusted_j = llem_real_at(result, "energy_adjusted_j", NAN);
    o->energy_j = llem_real_at(result, "total_energy_j", NAN);
    o->age_s = llem_real_at(result, "energy_breakdown.baseline_cache_age_sec", NAN);
    assert_string_equal(llem_str_at(result, "energy_breakdown.baseline_method", ""), o->method);
    assert_non_null(llem_str_at(result, "energy_breakdown.baseline_timestamp", NULL));
    /* The recording alone says it all: the file that was kept is not looked at. */
    assert_int_equal(llem_derive(&rec, &a, &again, &err), LLEM_OK);
    assert_true(llem_real_at(again, "energy_adjusted_j", NAN) == o->adjusted_j);
    assert_true(llem_real_at(again, "quantities.baseline_power_w.u_stat", NAN) == o->u_w);
    llem_arena_done(&a);
    llem_recording_close(&rec);
}

/* One run of the study; the next begins where it ended. */
static llem_errcode run_one(struct one *o)
{
    struct run *r = calloc(1, sizeof(*r));
    char text[32];
    llem_errcode rc;

    assert_non_null(r);
    run_init(r, test_clock_new(now_ns), sim_all);
    calls.gpus = true;
    sim.idle_w = o->idle_w > 0 ? o->idle_w : 100;
    sim.limit_w = o->limit_w > 0 ? o->limit_w : 700;
    set_text(r, "config.measurement.baseline.strategy", o->strategy ? o->strategy : "validated");
    snprintf(text, sizeof(text), "%d", o->interval ? o->interval : 5);
    run_set(r, "measurement.baseline.validation_interval", text);
    snprintf(text, sizeof(text), "%d.0", o->duration_s ? o->duration_s : 30);
    run_set(r, "measurement.baseline.duration_seconds", text);
    if (!o->no_place)
        set_text(r, "baselines", o->baselines ? o->baselines : dir);
    if (o->runner)
        set_text(r, "runners.test", o->runner);
    if (o->quick)
        run_set_top(r, "quick", "true");
    if (o->cancel)
        r->cancel_at = "baseline";
    rc = run_it(r);
    now_ns = test_clock_now() + S;
    snprintf(o->steps, sizeof(o->steps), "%s", r->steps);
    if (rc == LLEM_OK)
        read_back(r, o);
    else if (!o->cancel)
        fail_msg("%s", r->err.msg);
    assert_int_equal(sim.gpu_open, sim.gpu_closed);
    run_done(r);
    free(r);
    return rc;
}

static struct one again(void)
{
    struct one o = { 0 };

    run_one(&o);
    return o;
}

static void is_measured(const struct one *o, double seconds)
{
    assert_true(o->measured && !o->reused);
    assert_string_equal(o->method, "fresh");
    assert_near(o->seconds, seconds, 0.2);
}

static void is_reused(const struct one *o, const char *method)
{
    assert_true(o->reused && !o->measured);
    assert_string_equal(o->method, method);
}

static size_t files(char *name, size_t size)
{
    struct dirent *e;
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.') {
            snprintf(name, size, "%s/%s", dir, e->d_name);
            n++;
        }
    closedir(d);
    return n;
}

/* ---- what is reused ------------------------------------------------------------------------- */

static void a_study_measures_idle_once_and_its_runs_say_where_it_is_from(void **state)
{
    struct one first = again(), second = again();
    char name[512];

    is_measured(&first, 30);
    is_reused(&second, "validated");
    assert_near(second.seconds, 0, 0.1);
    assert_true(strncmp(second.from, "llem-measure-", 13) == 0);
    assert_contains(second.note, second.from);
    assert_true(second.age_s > first.age_s + 10);
    assert_int_equal(files(name, sizeof(name)), 1);
}

static void the_adjusted_energy_is_that_of_the_idle_taken_over(void **state)
{
    struct one first = again(), second = again();

    assert_near(second.power_w, first.power_w, 0.01 * first.power_w);
    assert_near(second.energy_j - second.adjusted_j, first.energy_j - first.adjusted_j,
                0.01 * (first.energy_j - first.adjusted_j));
}

/* Nobody looked, so it may have moved by as much as a check would have let pass. */
static void an_idle_nobody_checked_is_as_uncertain_as_the_threshold(void **state)
{
    struct one first = again(), second = again();

    assert_near(second.u_w, hypot(first.u_w, 0.1 * second.power_w / sqrt(3)), 0.05);
    assert_true(second.u_w > 5 * first.u_w);
}

static void a_checked_idle_is_as_uncertain_as_it_moved(void **state)
{
    struct one first = again(), second = { .interval = 1, .idle_w = 104 };

    run_one(&second);
    is_reused(&second, "validated");
    assert_true(second.checked);
    assert_near(second.seconds, 5, 0.2);
    assert_near(second.power_w, first.power_w, 0.5);
    assert_true(second.u_w >= 3.9 && second.u_w < 5);
    assert_contains(second.note, "and checked");
}

static void every_fifth_use_is_checked(void **state)
{
    struct one first = again();

    is_measured(&first, 30);
    for (int use = 1; use <= 11; use++) {
        struct one o = again();

        is_reused(&o, "validated");
        if (o.checked != (use % 5 == 0))
            fail_msg("use %d is %schecked", use, o.checked ? "" : "not ");
    }
}

static void a_drift_beyond_the_threshold_is_measured_in_full(void **state)
{
    struct one first = again(), second = { .interval = 1, .idle_w = 150 },
               third = { .idle_w = 150 };

    run_one(&second);
    is_measured(&second, 35);
    assert_true(second.checked);
    assert_contains(second.steps, "!baseline_drift ");
    assert_near(second.power_w, first.power_w * 1.5, 3);
    run_one(&third); /* and is what later runs get */
    is_reused(&third, "validated");
    assert_near(third.power_w, second.power_w, 0.5);
}

static void cached_is_never_checked(void **state)
{
    struct one o = { .strategy = "cached", .interval = 1 };

    run_one(&o);
    is_measured(&o, 30);
    for (int i = 0; i < 3; i++) {
        struct one next = { .strategy = "cached", .interval = 1, .idle_w = 150 };

        run_one(&next);
        is_reused(&next, "cached");
        assert_false(next.checked);
    }
}

static void one_older_than_its_time_is_measured_anew(void **state)
{
    struct one first = again(), second;

    now_ns += 7100 * S;
    second = again();
    is_reused(&second, "validated");
    assert_near(second.age_s - first.age_s, 7100, 100);
    now_ns += 200 * S;
    second = again();
    is_measured(&second, 30);
    assert_contains(second.note, "s old");
}

static void fresh_reads_and_keeps_nothing(void **state)
{
    struct one o = { .strategy = "fresh" };
    char name[512];

    for (int i = 0; i < 2; i++) {
        run_one(&o);
        is_measured(&o, 30);
    }
    assert_int_equal(files(name, sizeof(name)), 0);
}

static void a_run_that_is_alone_keeps_nothing(void **state)
{
    struct one o = { .no_place = true };
    char name[512];

    run_one(&o);
    is_measured(&o, 30);
    assert_int_equal(files(name, sizeof(name)), 0);
}

/* ---- what is never reused ------------------------------------------------------------------- */

static void other_conditions_have_an_idle_of_their_own(void **state)
{
    struct one base = { 0 };
    struct one others[] = {
        { .limit_w = 500 }, { .runner = "docker:image" }, { .duration_s = 60 }, { .quick = true }
    };
    const double seconds[] = { 30, 30, 60, 2 };
    char name[512];

    run_one(&base);
    for (size_t i = 0; i < LLEM_COUNT(others); i++) {
        run_one(&others[i]);
        is_measured(&others[i], seconds[i]);
        assert_int_equal(files(name, sizeof(name)), i + 2);
        run_one(&others[i]); /* of its own it is */
        is_reused(&others[i], "validated");
        run_one(&base);
        is_reused(&base, "validated");
    }
}

static void a_file_that_is_no_such_thing_is_a_warning(void **state)
{
    static const struct {
        const char *find, *put; /* NULL: the whole file */
    } faults[] = {
        { NULL, "" },
        { NULL, "{" },
        { NULL, "[]\n" },
        { NULL, "{\"version\": 1}\n" },
        { "\"version\": 1", "\"version\": 9" },
        { "\"power_limit_w\": 700", "\"power_limit_w\": 701" },
        { "\"uses\": ", "\"uses\": -" },
        { "\"begin_ns\": ", "\"begin_ns\": 9" },
        { "\"power_w\": ", "\"power_w\": -" },
        { "\"u_w\": ", "\"u_w\": \"x\", \"v\": " },
    };

    for (size_t i = 0; i < LLEM_COUNT(faults); i++) {
        struct llem_buf b = LLEM_BUF_INIT(1 << 20), out = LLEM_BUF_INIT(1 << 20);
        struct one o;
        char name[512], *at;

        end(NULL);
        begin(NULL);
        again();
        again();
        assert_int_equal(files(name, sizeof(name)), 1);
        assert_int_equal(llem_file_read(&b, name, NULL), LLEM_OK);
        at = faults[i].find ? strstr(b.data, faults[i].find) : b.data;
        if (!at) {
            llem_buf_done(&b);
            continue; /* not of this simulation */
        }
        if (faults[i].find)
            llem_buf_add(&out, b.data, (size_t)(at - b.data));
        llem_buf_adds(&out, faults[i].put);
        if (faults[i].find)
            llem_buf_adds(&out, at + strlen(faults[i].find));
        assert_int_equal(llem_file_write(name, out.data, out.len, NULL), LLEM_OK);
        llem_buf_done(&b);
        llem_buf_done(&out);
        o = again();
        is_measured(&o, 30);
        assert_contains(o.steps, "!baseline_cache ");
        o = again(); /* which put it right */
        is_reused(&o, "validated");
        assert_null(strstr(o.steps, "!baseline_cache "));
    }
}

static void every_truncation_is_measured_anew(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    char name[512];

    again();
    assert_int_equal(files(name, sizeof(name)), 1);
    assert_int_equal(llem_file_read(&b, name, NULL), LLEM_OK);
    for (size_t i = 1; i < 8; i++) {
        struct one o;

        assert_int_equal(llem_file_write(name, b.data, b.len * i / 8, NULL), LLEM_OK);
        o = again();
        is_measured(&o, 30);
    }
    llem_buf_done(&b);
}

static void a_place_that_cannot_be_written_costs_nothing_else(void **state)
{
    struct one o = { .baselines = "/proc/nowhere/baselines" };

    run_one(&o);
    is_measured(&o, 30);
    assert_contains(o.steps, "!baseline_cache ");
    assert_true(isfinite(o.adjusted_j));
}

static void a_run_that_is_stopped_keeps_nothing(void **state)
{
    struct one o = { .cancel = true };
    char name[512];

    assert_int_equal(run_one(&o), LLEM_ECANCELED);
    assert_int_equal(files(name, sizeof(name)), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_study_measures_idle_once_and_its_runs_say_where_it_is_from),
        T(the_adjusted_energy_is_that_of_the_idle_taken_over),
        T(an_idle_nobody_checked_is_as_uncertain_as_the_threshold),
        T(a_checked_idle_is_as_uncertain_as_it_moved),
        T(every_fifth_use_is_checked),
        T(a_drift_beyond_the_threshold_is_measured_in_full),
        T(cached_is_never_checked),
        T(one_older_than_its_time_is_measured_anew),
        T(fresh_reads_and_keeps_nothing),
        T(a_run_that_is_alone_keeps_nothing),
        T(other_conditions_have_an_idle_of_their_own),
        T(a_file_that_is_no_such_thing_is_a_warning),
        T(every_truncation_is_measured_anew),
        T(a_place_that_cannot_be_written_costs_nothing_else),
        T(a_run_that_is_stopped_keeps_nothing),
    };

    return cmocka_run_group_tests_name("baseline", tests, NULL, NULL);
}
