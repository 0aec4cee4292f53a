/* SPDX-License-Identifier: MIT
 *
 * The energy estimators against sensors whose truth is known: a made-up load in virtual time, and
 * counters that wrap, stick, jump, reset, vanish or answer garbage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/result/energy.h"
#include "lib/result/stats.h"
#include "tests/support/sim_load.h"

enum { PHASES = 300 };

struct trial {
    double bias, sd, covered; /* %, %, share of |error| <= 2 u */
    int failed, kind[4];
};

static const struct llem__device board = { .max_power_w = 1400, .power_limit_w = 700 };

static struct llem__window window_of(double length_s, double head_s, double tail_s)
{
    return (struct llem__window){ .t0_ns = sim_t0_ns(),
                                  .t1_ns = sim_t0_ns() + llround(length_s * 1e9),
                                  .head_ns = sim_t0_ns() + llround(head_s * 1e9),
                                  .tail_ns = sim_t0_ns() + llround(tail_s * 1e9) };
}

static void estimate(struct llem__estimate *e, struct llem__kind_test *kind, struct llem_arena *a,
                     const struct sim_reads *r, const struct llem__window *w, enum llem__method m)
{
    struct llem__reads counter = { r->n, r->begin_ns, r->end_ns, r->counter, r->status,
                                   1e-3, 0,           0,         0 };
    struct llem__reads average = counter, instant = counter;
    struct llem__counter c;
    struct llem__power p;

    average.raw = r->average;
    average.averaging_s = 1;
    instant.raw = r->instant;
    instant.averaging_s = 0.025;
    llem__counter_init(&c, a, &counter, w, &board);
    llem__power_init(&p, a, &instant, w, &board);
    llem__kind_test(kind, a, &c, &p, w, &board);
    if (m == LLEM__COUNTER_TICKS) {
        llem__estimate_counter(e, a, &c, w, &board);
        if (kind->kind == LLEM__KIND_SAMPLES)
            llem__estimate_alias(e, a, &c, kind->kind, 0.025, w, &board);
    } else if (m == LLEM__POWER_AVERAGE) {
        llem__power_init(&p, a, &average, w, &board);
        llem__estimate_average(e, a, &p, w);
    } else {
        llem__estimate_instant(e, a, &p, w);
    }
}

static struct trial run_trial(double length_s, double every_s, int sampled, enum llem__method m)
{
    struct sim_random r = { 42 };
    struct trial t = { 0 };
    double error[PHASES];
    int n = 0;

    for (int k = 0; k < PHASES; k++) {
        struct llem__window w = window_of(length_s, -2.2, length_s + 2.15);
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem__kind_test kind;
        struct llem__estimate e;
        struct sim_sensor s;
        struct sim_reads reads;
        struct sim_load l;
        double q;

        sim_load_init(&l, &r, length_s);
        sim_sensor_init(&s, &r);
        s.sampled = sampled;
        sim_reads_init(&reads, &l, &s, &r, -2.2, length_s + 2.15, every_s, 30e-6);
        estimate(&e, &kind, &a, &reads, &w, m);
        q = sim_work_j(&l);
        t.kind[kind.kind]++;
        if (e.reason || e.method != m) {
            t.failed++;
        } else {
            error[n++] = 100 * (e.e_j - q) / q;
            t.covered += fabs(e.e_j - q) <= 2 * e.u_stat_j;
        }
        sim_reads_done(&reads);
        sim_load_done(&l);
        llem_arena_done(&a);
    }
    t.bias = llem__mean(error, (size_t)n);
    t.sd = llem__sd(error, (size_t)n);
    t.covered /= n;
    print_message("# %s, %g s, reads each %g ms: bias %.4f %%, sd %.4f %%, covered %.3f\n",
                  llem__method_name(m), length_s, every_s * 1e3, t.bias, t.sd, t.covered);
    return t;
}

static void counter_is_within_a_hundredth_of_a_percent_at_5_s(void **state)
{
    struct trial t = run_trial(5, 0.001, 0, LLEM__COUNTER_TICKS);

    assert_int_equal(t.failed, 0);
    assert_true(fabs(t.bias) <= 0.01);
    assert_true(t.sd <= 0.01);
}

static void counter_is_within_hundredths_of_a_percent_at_1_s(void **state)
{
    struct trial t = run_trial(1, 0.001, 0, LLEM__COUNTER_TICKS);

    assert_int_equal(t.failed, 0);
    assert_true(fabs(t.bias) <= 0.02);
    assert_true(t.sd <= 0.03);
}

static void counter_read_every_10_ms_is_as_good_as_the_method_says(void **state)
{
    struct trial t5 = run_trial(5, 0.010, 0, LLEM__COUNTER_TICKS);
    struct trial t1 = run_trial(1, 0.010, 0, LLEM__COUNTER_TICKS);

    assert_true(fabs(t5.bias) <= 0.01 && t5.sd <= 0.03);
    assert_true(fabs(t1.bias) <= 0.03 && t1.sd <= 0.13);
    assert_true(t5.covered >= 0.90 && t1.covered >= 0.90);
}

static void stated_uncertainty_covers_the_error(void **state)
{
    struct trial t5 = run_trial(5, 0.001, 0, LLEM__COUNTER_TICKS);
    struct trial t1 = run_trial(1, 0.001, 0, LLEM__COUNTER_TICKS);

    assert_true(t5.covered >= 0.90 && t5.covered <= 0.995);
    assert_true(t1.covered >= 0.90 && t1.covered <= 0.995);
}

static void powers_are_unbiased_and_their_uncertainty_covers_the_error(void **state)
{
    struct trial average = run_trial(5, 0.001, 0, LLEM__POWER_AVERAGE);
    struct trial instant = run_trial(5, 0.001, 0, LLEM__POWER_INSTANT);

    assert_true(fabs(average.bias) <= 0.05 && average.sd <= 0.05 && average.covered >= 0.90);
    assert_true(fabs(instant.bias) <= 0.3 && instant.sd <= 1.5 && instant.covered >= 0.90);
}

static void counter_that_samples_is_told_from_one_that_integrates(void **state)
{
    struct trial samples = run_trial(5, 0.001, 1, LLEM__COUNTER_TICKS);
    struct trial integrates = run_trial(5, 0.001, 0, LLEM__COUNTER_TICKS);

    assert_int_equal(samples.kind[LLEM__KIND_INTEGRATES], 0);
    assert_true(samples.kind[LLEM__KIND_SAMPLES] >= PHASES * 9 / 10);
    assert_int_equal(integrates.kind[LLEM__KIND_SAMPLES], 0);
    assert_true(integrates.kind[LLEM__KIND_INTEGRATES] >= PHASES * 9 / 10);
    /* A sampling counter is a hundred times worse, and says so. */
    assert_true(samples.sd > 0.5);
    assert_true(samples.covered >= 0.90);
}

/* ---- one counter, made by hand ------------------------------------------------------------ */

enum { MADE = 20000 };
struct made {
    int64_t begin_ns[MADE], end_ns[MADE], raw[MADE];
    int32_t status[MADE];
    size_t n;
    double to_si, period_s;
    uint64_t modulus;
    struct llem__window w;
};

/* A counter that moves each period_s, read each read_s from -3 s to length + 3 s; idle_w, load_w in
 * the window. */
static void make(struct made *m, double length_s, double period_s, double read_s, double idle_w,
                 double load_w, double to_si, uint64_t modulus, double start_j)
{
    memset(m, 0, sizeof(*m));
    m->w = window_of(length_s, -3, length_s + 3);
    m->to_si = to_si;
    m->modulus = modulus;
    for (double t = -3; t < length_s + 3 && m->n < MADE; t += read_s) {
        double tick = floor((t - 0.0371) / period_s) * period_s + 0.0371;
        double inside = fmin(fmax(tick, 0), length_s);
        double joules = start_j + idle_w * (tick + 4 - inside) + load_w * inside;
        double raw = floor(joules / to_si);

        m->begin_ns[m->n] = sim_t0_ns() + llround(t * 1e9);
        m->end_ns[m->n] = m->begin_ns[m->n] + 20000;
        m->raw[m->n++] = (int64_t)(modulus ? fmod(raw, (double)modulus) : raw);
    }
}

static size_t made_index(const struct made *m, double t_s)
{
    size_t k = 0;

    while (k < m->n && m->begin_ns[k] < sim_t0_ns() + llround(t_s * 1e9))
        k++;
    return k;
}

static struct llem__estimate solve(const struct made *m, struct llem_arena *a)
{
    struct llem__reads r = { m->n,     m->begin_ns, m->end_ns, m->raw,    m->status,
                             m->to_si, m->period_s, 0,         m->modulus };
    struct llem__counter c;
    struct llem__estimate e;

    llem__counter_init(&c, a, &r, &m->w, &board);
    llem__estimate_counter(&e, a, &c, &m->w, &board);
    return e;
}

static struct made made;
static struct llem_arena arena;

static int drop_arena(void **state)
{
    llem_arena_done(&arena);
    arena = (struct llem_arena)LLEM_ARENA_INIT;
    return 0;
}

static void assert_solved(double expected_j, double within_j)
{
    struct llem__estimate e = solve(&made, &arena);

    if (e.reason)
        fail_msg("no energy: %s", e.reason);
    assert_true(fabs(e.e_j - expected_j) <= within_j);
    assert_true(fabs(e.e_j - expected_j) <= 3 * e.u_stat_j);
    assert_true(e.u_stat_j <= within_j);
}

static void assert_reason(const char *reason)
{
    struct llem__estimate e = solve(&made, &arena);

    assert_non_null(e.reason);
    assert_string_equal(e.reason, reason);
    assert_true(isnan(e.e_j));
}

static void rapl_is_a_plain_difference_with_its_uncertainty(void **state)
{
    make(&made, 5, 0.001, 0.001, 10, 60, 61e-6, 0, 100);
    made.period_s = 0.001;
    assert_int_equal(solve(&made, &arena).method, LLEM__COUNTER_DIFFERENCE);
    assert_solved(300, 0.15);
}

static void wrap_around_is_undone(void **state)
{
    make(&made, 5, 0.001, 0.001, 10, 60, 61e-6, UINT64_C(4294967296), 261800);
    made.period_s = 0.001;
    assert_true(made.raw[made.n - 1] < made.raw[0]);
    assert_solved(300, 0.15);
}

static void constant_load_is_exact_with_ticks(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    assert_int_equal(solve(&made, &arena).method, LLEM__COUNTER_TICKS);
    assert_solved(2100, 1);
}

static void reset_in_the_window_is_no_energy(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = made_index(&made, 2); k < made.n; k++)
        made.raw[k] -= 1500000;
    assert_reason("counter_reset");
}

static void reset_before_the_pre_roll_does_no_harm(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = 0; k < made_index(&made, -2.8); k++)
        made.raw[k] += 900000;
    made.w.head_ns = sim_t0_ns() - 2500000000;
    assert_solved(2100, 1);
}

static void jump_beyond_any_power_is_no_energy(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = made_index(&made, 2); k < made.n; k++)
        made.raw[k] += 2000000;
    assert_reason("counter_jump");
}

static void garbage_in_single_reads_is_left_out(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    made.raw[made_index(&made, 1)] = 0;
    made.raw[made_index(&made, 2)] = -1;
    made.raw[made_index(&made, 3)] = INT64_MAX;
    made.raw[made_index(&made, 3) + 1] = INT64_MAX;
    assert_solved(2100, 1);
}

static void nothing_but_garbage_is_no_energy(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = 0; k < made.n; k++)
        made.raw[k] = -1;
    assert_reason("sensor_garbage");
}

static void stuck_counter_is_no_energy(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = made_index(&made, 2); k < made.n; k++)
        made.raw[k] = made.raw[made_index(&made, 2)];
    assert_reason("counter_stuck");
}

static void counter_that_always_stood_still_is_stuck(void **state)
{
    make(&made, 5, 0.001, 0.001, 10, 60, 61e-6, 0, 100);
    for (size_t k = 0; k < made.n; k++)
        made.raw[k] = 0;
    assert_reason("counter_stuck");
}

static void ticks_held_back_under_load_and_made_good_are_no_loss(void **state)
{
    size_t from, to;

    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    from = made_index(&made, 1.5);
    to = made_index(&made, 3.0);
    for (size_t k = from; k < to; k++)
        made.raw[k] = made.raw[from - 1];
    assert_solved(2100, 1);
}

static void vanished_device_is_lost(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    for (size_t k = made_index(&made, 2); k < made.n; k++) {
        made.status[k] = 15;
        made.raw[k] = 0;
    }
    assert_reason("device_lost");
}

static void readings_that_end_early_are_too_short_a_tail(void **state)
{
    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    made.n = made_index(&made, 4.9);
    assert_reason("tail_too_short");
}

static void readings_that_begin_late_are_too_short_a_head(void **state)
{
    size_t first;

    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    first = made_index(&made, 0.5);
    for (size_t k = 0; k < first; k++)
        made.status[k] = -2;
    assert_reason("head_too_short");
}

static void gap_over_an_edge_is_a_reading_gap(void **state)
{
    make(&made, 5, 0.001, 0.001, 10, 60, 61e-6, 0, 100);
    made.period_s = 0.001;
    for (size_t k = made_index(&made, 4.8); k < made_index(&made, 5.2); k++)
        made.status[k] = -2;
    assert_reason("reading_gap");
}

static void gap_inside_the_window_costs_a_counter_nothing(void **state)
{
    make(&made, 5, 0.001, 0.001, 10, 60, 61e-6, 0, 100);
    made.period_s = 0.001;
    for (size_t k = made_index(&made, 1); k < made_index(&made, 4); k++)
        made.status[k] = -2;
    assert_solved(300, 0.15);
}

static void busy_device_is_interpolated(void **state)
{
    struct sim_random r = { 7 };
    struct sim_load l;
    struct sim_sensor s;
    struct sim_reads reads;
    struct llem__window w;
    struct llem__kind_test kind;
    struct llem__estimate e;
    double truth;

    /* The load runs for 12 s; the window is 4 s in the middle of it. */
    sim_load_init(&l, &r, 12);
    sim_sensor_init(&s, &r);
    sim_reads_init(&reads, &l, &s, &r, 1, 11, 0.001, 30e-6);
    w = window_of(4, 0, 0);
    w.t0_ns += 4000000000;
    w.t1_ns += 4000000000;
    w.head_ns = w.t0_ns - 2500000000;
    w.tail_ns = w.t1_ns + 2500000000;
    estimate(&e, &kind, &arena, &reads, &w, LLEM__COUNTER_TICKS);
    truth = sim_energy_at(&l, 8) - sim_energy_at(&l, 4);
    assert_null(e.reason);
    assert_int_equal(e.method, LLEM__COUNTER_INTERPOLATED);
    assert_true(fabs(e.e_j - truth) <= 3 * e.u_stat_j);
    assert_true(e.u_stat_j <= 0.01 * truth);
    sim_reads_done(&reads);
    sim_load_done(&l);
}

static void load_in_step_with_a_sampling_counter_is_aliased(void **state)
{
    struct llem__reads r;
    struct llem__device d = board;
    struct llem__counter c;
    struct llem__estimate e;

    make(&made, 5, 0.1, 0.001, 120, 420, 1e-3, 0, 1000);
    r = (struct llem__reads){ made.n, made.begin_ns, made.end_ns, made.raw, made.status, 1e-3, 0, 0,
                              0 };
    llem__counter_init(&c, &arena, &r, &made.w, &d);
    llem__estimate_counter(&e, &arena, &c, &made.w, &d);
    d.step_period_s = 0.02;
    llem__estimate_alias(&e, &arena, &c, LLEM__KIND_SAMPLES, 0.025, &made.w, &d);
    assert_true(e.aliased);
    /* (1 - W/T) E/P (limit - idle) / sqrt(12) */
    assert_true(fabs(e.u_alias_j - 0.75 * 5 * (700 - e.before_w) / sqrt(12)) < 1e-6);
    llem__estimate_counter(&e, &arena, &c, &made.w, &d);
    d.step_period_s = 0.0233;
    llem__estimate_alias(&e, &arena, &c, LLEM__KIND_SAMPLES, 0.025, &made.w, &d);
    assert_false(e.aliased);
    llem__estimate_alias(&e, &arena, &c, LLEM__KIND_INTEGRATES, 0.025, &made.w, &d);
    assert_false(e.aliased);
}

static void statistics_agree_with_known_answers(void **state)
{
    double x[] = { 4, 1, 3, 2 }, y[] = { 0, 1, 4, 9, 16 }, t[] = { 0, 1, 2, 3, 4 };
    double slow[64];
    struct llem__fit f;

    assert_true(llem__mean(x, 4) == 2.5);
    assert_true(fabs(llem__sd(x, 4) - 1.2909944487358056) < 1e-15);
    assert_true(fabs(llem__population_sd(x, 4) - 1.118033988749895) < 1e-15);
    llem__sort(x, 4);
    /* numpy.percentile([1, 2, 3, 4], 95) */
    assert_true(fabs(llem__quantile(x, 4, 0.95) - 3.85) < 1e-15);
    assert_true(llem__quantile(x, 4, 0) == 1 && llem__quantile(x, 4, 1) == 4);
    assert_true(isnan(llem__quantile(x, 0, 0.5)) && isnan(llem__sd(x, 1)));
    assert_true(llem__quadrature(3, -4) == 5 && isnan(llem__quadrature(1, NAN)));
    assert_true(llem__fit(&f, t, y, 5, 3));
    assert_true(fabs(f.c[0]) < 1e-9 && fabs(f.c[1]) < 1e-9 && fabs(f.c[2] - 1) < 1e-9);
    assert_false(llem__fit(&f, t, y, 1, 2));
    for (int k = 0; k < 64; k++)
        slow[k] = k < 32 ? 1 : -1; /* as dependent as can be: 64 values, worth far fewer */
    assert_true(llem__variance_of_mean(slow, 64) > 5 * 1.0 / 64);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, drop_arena)
    const struct CMUnitTest tests[] = {
        T(counter_is_within_a_hundredth_of_a_percent_at_5_s),
        T(counter_is_within_hundredths_of_a_percent_at_1_s),
        T(counter_read_every_10_ms_is_as_good_as_the_method_says),
        T(stated_uncertainty_covers_the_error),
        T(powers_are_unbiased_and_their_uncertainty_covers_the_error),
        T(counter_that_samples_is_told_from_one_that_integrates),
        T(rapl_is_a_plain_difference_with_its_uncertainty),
        T(wrap_around_is_undone),
        T(constant_load_is_exact_with_ticks),
        T(reset_in_the_window_is_no_energy),
        T(reset_before_the_pre_roll_does_no_harm),
        T(jump_beyond_any_power_is_no_energy),
        T(garbage_in_single_reads_is_left_out),
        T(nothing_but_garbage_is_no_energy),
        T(stuck_counter_is_no_energy),
        T(counter_that_always_stood_still_is_stuck),
        T(ticks_held_back_under_load_and_made_good_are_no_loss),
        T(vanished_device_is_lost),
        T(readings_that_end_early_are_too_short_a_tail),
        T(readings_that_begin_late_are_too_short_a_head),
        T(gap_over_an_edge_is_a_reading_gap),
        T(gap_inside_the_window_costs_a_counter_nothing),
        T(busy_device_is_interpolated),
        T(load_in_step_with_a_sampling_counter_is_aliased),
        T(statistics_agree_with_known_answers),
    };

    return cmocka_run_group_tests_name("estimator", tests, NULL, NULL);
}
