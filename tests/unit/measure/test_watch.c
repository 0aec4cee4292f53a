/* SPDX-License-Identifier: MIT
 *
 * The sampler thread: its rates and deadlines in real time, that it allocates nothing, and the
 * memory that it writes to. Run with -Db_sanitize=thread too.
 */
#include "tests/unit/measure/help.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- counting allocations ----------------------------------------------------------------- */

static _Atomic int counting, by_main, by_others;
static pthread_t main_thread;

static void count(void)
{
    if (!counting)
        return;
    if (pthread_equal(pthread_self(), main_thread))
        by_main++;
    else
        by_others++;
}

#ifdef SANITIZED
/* sanitizer/allocator_interface.h, which not every compiler installs */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *p, size_t size)
{
    count();
}

static void on_free(const volatile void *p)
{
}

static void count_from_now_on(void)
{
    assert_true(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0);
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t size);

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count();
    return __libc_realloc(p, size);
}

static void count_from_now_on(void)
{
}
#endif

/* An engine call between whose edges allocations count; it sleeps and sends receipts itself. */
static llem_errcode counted_inference(void *self, const struct llem_pass *pass,
                                      const struct llem_receipts *receipts,
                                      struct llem_inference *out, llem_error *err)
{
    static int64_t token_ns[8];
    struct llem_receipt receipt = {
        .pass = pass->id,
        .input_tokens = 5,
        .output_tokens = 8,
        .finish = "length",
        .token_ns = token_ns,
        .n_token_ns = 8,
    };
    struct llem_engine_step step = { .prefill_tokens = 5, .decode_tokens = 0, .batch = 1 };

    counting = pass->id == 0;
    sim.work_begin = out->t_begin_ns = llem_now_ns(sim.clock);
    sim.clock->sleep_until_ns(sim.clock->self, out->t_begin_ns + 5 * S);
    sim.work_end = out->t_end_ns = llem_now_ns(sim.clock);
    for (size_t i = 0; i < pass->count; i++) {
        receipt.index = pass->indices[i];
        receipt.t_submit_ns = receipt.t_scheduled_ns = out->t_begin_ns;
        for (int k = 0; k < 8; k++)
            token_ns[k] = out->t_begin_ns + k;
        receipt.t_first_ns = token_ns[0];
        receipt.t_last_ns = out->t_end_ns;
        step.begin_ns = step.end_ns = out->t_begin_ns;
        receipts->request(receipts->user, &receipt);
        receipts->step(receipts->user, &step);
    }
    counting = 0;
    return LLEM_OK;
}

static void nothing_is_allocated_inside_the_window(void **state)
{
    struct llem_engine_class engine = sim_engine;
    void *volatile p;
    struct run r;

    main_thread = pthread_self();
    count_from_now_on();
    counting = by_main = by_others = 0;
    run_init(&r, test_clock_new(1000 * S), sim_all);
    engine.run_inference = counted_inference;
    r.m.engine = &engine;
    calls.gpus = true;
    sim.fault = SIM_VANISH; /* faults are noted without allocating too */
    sim.fault_after_s = 1;
    sim.fault_for_s = 1;
    if (run_it(&r) != LLEM_OK)
        fail_msg("%s", r.err.msg);
    assert_true(r.lives >= 16);
    assert_int_equal(by_others, 0);
    assert_int_equal(by_main, 0);
    /* That the counter counts at all. */
    counting = 1;
    p = malloc(1);
    free(p);
    counting = 0;
    assert_int_equal(by_main, 1);
    run_done(&r);
}

/* ---- rates -------------------------------------------------------------------------------- */

static void a_pace_means_what_the_sensor_is(void **state)
{
    const int64_t ms = LLEM_MS;

    assert_int_equal(llem_watch_period_ns(&sim_gpu, true, LLEM_PACE_LOAD), 100 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_gpu, true, LLEM_PACE_STEADY), 10 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_gpu, true, LLEM_PACE_ROLL), 1 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_gpu, true, LLEM_PACE_EDGE), 1 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_package, false, LLEM_PACE_ROLL), 10 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_package, false, LLEM_PACE_EDGE), 1 * ms);
    assert_int_equal(llem_watch_period_ns(&sim_estimate, false, LLEM_PACE_EDGE), 100 * ms);
}

static struct llem_watch *start(const struct llem_clock *clock, void **sensor)
{
    llem_error err;
    struct llem_watched watched = { &sim_gpu, NULL, 0, SIM_GPUS };
    struct llem_watch_opts opts = {
        .clock = clock, .sensors = &watched, .n_sensors = 1, .seconds = 60
    };
    struct llem_watch *w = NULL;

    assert_int_equal(sim_gpu.open(sensor, NULL, &err), LLEM_OK);
    watched.self = *sensor;
    if (llem_watch_start(&w, &opts, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    return w;
}

/* Readings each millisecond for half a second; how many of them came quickly, too. */
static int read_for_half_a_second(int *quick)
{
    const struct llem_clock *clock = &llem_system_clock;
    const struct llem_area *samples;
    struct llem_watch *w;
    int64_t from, to;
    int n = 0;
    void *sensor;

    sim_reset(clock);
    w = start(clock, &sensor);
    llem_watch_pace(w, LLEM_PACE_EDGE);
    clock->sleep_until_ns(clock->self, llem_now_ns(clock) + 150 * LLEM_MS);
    from = llem_now_ns(clock);
    clock->sleep_until_ns(clock->self, from + 500 * LLEM_MS);
    to = llem_now_ns(clock);
    assert_true(llem_watch_cpu_ns(w) > 0);
    llem_watch_stop(w);
    samples = llem_watch_samples(w);
    *quick = 0;
    for (size_t i = 0; i < samples->count; i++) {
        const struct llem_sample *s = llem_area_at(samples, i);

        assert_true(s->end_ns >= s->begin_ns);
        if (s->begin_ns < from || s->begin_ns > to || s->field != 83 || s->device != 0)
            continue;
        n++;
        *quick += s->end_ns - s->begin_ns < LLEM_MS;
    }
    /* A deadline that was missed is left out, so there are never more than the grid has. */
    if (n > (to - from) / LLEM_MS + 2)
        fail_msg("%d readings in %lld ms", n, (long long)((to - from) / LLEM_MS));
    llem_watch_free(w);
    sim_gpu.close(sensor);
    return n;
}

static void deadlines_are_kept_in_real_time(void **state)
{
    enum { ATTEMPTS = 10 }; /* other work on the machine takes the processor away at times */
    int n = 0, quick = 0;

    for (int i = 0; i < ATTEMPTS && (n < 250 || quick < n / 2); i++)
        n = read_for_half_a_second(&quick);
    if (n < 250 || quick < n / 2)
        fail_msg("at best %d of 500 readings, %d of them quick", n, quick);
}

static void temperatures_and_ticks_reach_other_threads(void **state)
{
    const struct llem_clock *clock = test_clock_new(1000 * S);
    struct llem_watch *w;
    double celsius;
    int64_t ticks, before, t_ns;
    void *sensor;

    sim_reset(clock);
    w = start(clock, &sensor);
    llem_watch_pace(w, LLEM_PACE_STEADY);
    clock->sleep_until_ns(clock->self, test_clock_now() + S);
    assert_true(llem_watch_temperature(w, 1, &celsius, &t_ns));
    assert_near(celsius, 40, 0.01);
    assert_true(test_clock_now() - t_ns <= S / 4);
    assert_true(llem_watch_ticks(w, 1, &before, &t_ns));
    clock->sleep_until_ns(clock->self, test_clock_now() + 2 * S);
    assert_true(llem_watch_ticks(w, 1, &ticks, &t_ns));
    assert_true(ticks - before >= 19 && ticks - before <= 21);
    assert_true(llem_watch_reads(w, 0) > 100);
    llem_watch_free(w);
    sim_gpu.close(sensor);
    test_clock_free();
}

static void a_lost_device_is_asked_ten_times_a_second_and_comes_back(void **state)
{
    const struct llem_clock *clock = test_clock_new(1000 * S);
    const struct llem_area *samples, *faults;
    struct llem_watch *w;
    int asked = 0, after = 0;
    void *sensor;

    sim_reset(clock);
    sim.work_begin = 1001 * S;
    sim.fault = SIM_VANISH;
    sim.fault_for_s = 5;
    w = start(clock, &sensor);
    llem_watch_pace(w, LLEM_PACE_STEADY);
    clock->sleep_until_ns(clock->self, 1008 * S);
    llem_watch_stop(w);
    samples = llem_watch_samples(w);
    for (size_t i = 0; i < samples->count; i++) {
        const struct llem_sample *s = llem_area_at(samples, i);

        if (s->device != 0 || s->field != 83)
            continue;
        asked += s->begin_ns >= 1002 * S && s->begin_ns < 1006 * S;
        after += s->begin_ns >= 1007 * S;
    }
    assert_true(asked >= 35 && asked <= 45);
    assert_true(after >= 95);
    faults = llem_watch_faults(w);
    assert_int_equal(faults->count, 4); /* two fields, gone and back */
    llem_watch_free(w);
    sim_gpu.close(sensor);
    test_clock_free();
}

/* ---- the area ----------------------------------------------------------------------------- */

static void an_area_grows_without_moving_its_rows(void **state)
{
    struct llem_area a;
    int64_t *first, *row;

    assert_int_equal(llem_area_init(&a, sizeof(int64_t), 1000000, 10, NULL), LLEM_OK);
    first = llem_area_push(&a);
    *first = 7;
    for (int64_t i = 1; i < 1000000; i++) {
        row = llem_area_push(&a);
        assert_int_equal(*row, 0);
        *row = i;
        llem_area_touch(&a);
    }
    assert_ptr_equal(llem_area_at(&a, 0), first);
    assert_int_equal(*first, 7);
    assert_int_equal(*(int64_t *)llem_area_at(&a, 999999), 999999);
    assert_null(llem_area_push(&a));
    assert_null(llem_area_push(&a));
    assert_int_equal(a.lost, 2);
    llem_area_done(&a);
    assert_null(a.base);
    llem_area_done(&a);
}

static void touching_keeps_a_block_ahead_and_stops_at_the_end(void **state)
{
    struct llem_area a;

    assert_int_equal(llem_area_init(&a, 64, 8192, 1, NULL), LLEM_OK);
    assert_int_equal(a.touched, 4096);
    for (int i = 0; i < 10; i++)
        llem_area_touch(&a);
    assert_true(a.touched >= 256 * 1024 && a.touched <= 512 * 1024);
    while (llem_area_push(&a))
        llem_area_touch(&a);
    assert_int_equal(a.touched, 64 * 8192);
    llem_area_done(&a);
}

static void an_area_that_cannot_be_is_refused(void **state)
{
    struct llem_area a;
    llem_error err;

    assert_int_equal(llem_area_init(&a, 64, SIZE_MAX / 8, 1, &err), LLEM_EINVAL);
    assert_int_equal(llem_area_init(&a, 64, SIZE_MAX / 256, SIZE_MAX / 256, &err), LLEM_ENOMEM);
    assert_null(a.base);
}

/* ---- the machine this runs on ------------------------------------------------------------- */

static void the_harness_runs_in_real_time_with_real_sensors(void **state)
{
    struct llem_recording rec;
    struct run r;

    run_init(&r, &llem_system_clock, NULL);
    run_set(&r, "measurement.baseline.enabled", "false");
    run_set(&r, "measurement.warmup.enabled", "false");
    run_set(&r, "test", "{\"request_s\": 0.1, \"busy\": true}");
    if (run_it(&r) != LLEM_OK)
        fail_msg("%s", r.err.msg);
    run_open(&r, &rec);
    assert_true(llem_int_at(rec.json, "window.t_end_ns", 0) -
                    llem_int_at(rec.json, "window.t_begin_ns", 0) >=
                3 * S / 10);
    assert_true(llem_recording_column(&rec, "samples", "raw")->count > 0);
    /* 0.3 s of spinning; a machine shared with others may give it a small part of a core. */
    assert_true(llem_real_at(rec.json, "cpu.process_user_s", 0) > 0.002);
    llem_recording_close(&rec);
    run_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_allocated_inside_the_window),
        cmocka_unit_test(a_pace_means_what_the_sensor_is),
        cmocka_unit_test(deadlines_are_kept_in_real_time),
        cmocka_unit_test(temperatures_and_ticks_reach_other_threads),
        cmocka_unit_test(a_lost_device_is_asked_ten_times_a_second_and_comes_back),
        cmocka_unit_test(an_area_grows_without_moving_its_rows),
        cmocka_unit_test(touching_keeps_a_block_ahead_and_stops_at_the_end),
        cmocka_unit_test(an_area_that_cannot_be_is_refused),
        cmocka_unit_test(the_harness_runs_in_real_time_with_real_sensors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
