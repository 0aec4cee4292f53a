/* SPDX-License-Identifier: MIT
 *
 * The CPU load: against the process's own CPU time, and what is said about it.
 */
#include "tests/unit/sampler/help.h"

#include <time.h>

static const struct llem_sampler_class *const est = &llem_sampler_estimate;

static void probing_says_estimate_and_leaves_nothing_open(void **state)
{
    llem_ctx *ctx = new_ctx();
    int before = open_descriptors();
    struct llem_probe p;

    est->probe(ctx, &p);
    assert_int_equal(open_descriptors(), before);
    assert_true(p.usable);
    assert_int_equal(p.n_domains, 1);
    assert_string_equal(p.reason, "");
    assert_string_equal(p.remedy, "");
    assert_non_null(strstr(p.text, "estimate"));
    assert_string_equal(est->quality, "estimated");
    assert_false(est->needs_rolls);
    llem_ctx_free(ctx);
}

static void work_of_this_process_shows_as_busy_time(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading before, after;
    struct timespec t0, t1;
    void *self = NULL;
    size_t n;
    const struct llem_domain *d;
    double own, busy;

    assert_int_equal(est->open(&self, ctx, NULL), LLEM_OK);
    d = est->domains(self, &n);
    assert_int_equal(n, 1);
    assert_string_equal(d->kind, "cpu");
    assert_int_equal(d->fields[0].role, LLEM_ROLE_CPU_BUSY);

    assert_int_equal(est->read(self, 0, false, &before), 1);
    assert_int_equal(before.status, LLEM_READ_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
        own = (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
    } while (own < 0.5);
    assert_int_equal(est->read(self, 0, false, &after), 1);
    busy = (double)(after.raw - before.raw) * d->fields[0].to_si;
    assert_true(busy >=
                own - 0.05); /* others may be busy too, hence no upper bound but the machine's */
    assert_true(after.raw > before.raw);
    assert_int_equal(est->read(self, 0, true, &after), 0);
    est->close(self);
    llem_ctx_free(ctx);
}

/* The same sum, read another way. */
static long long busy_ticks(void)
{
    long long user, nice, system, idle, iowait, irq, softirq;
    FILE *f = fopen("/proc/stat", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "cpu %lld %lld %lld %lld %lld %lld %lld", &user, &nice, &system,
                            &idle, &iowait, &irq, &softirq),
                     7);
    fclose(f);
    return user + nice + system + irq + softirq;
}

static void the_busy_time_is_what_the_kernel_counts_as_not_idle(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;

    assert_int_equal(est->open(&self, ctx, NULL), LLEM_OK);
    for (int i = 0; i < 20; i++) {
        long long before = busy_ticks(), after;

        assert_int_equal(est->read(self, 0, false, &r), 1);
        after = busy_ticks();
        assert_int_equal(r.status, LLEM_READ_OK);
        assert_true(before <= r.raw && r.raw <= after);
    }
    est->close(self);
    llem_ctx_free(ctx);
}

static void the_description_holds_the_power_and_its_source(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    void *self = NULL;
    double low, w, high;
    int before = open_descriptors();

    assert_int_equal(est->open(&self, ctx, NULL), LLEM_OK);
    v = est->describe(self, &a);
    w = llem_real_at(v, "tdp_w", 0);
    low = llem_real_at(v, "tdp_low_w", 0);
    high = llem_real_at(v, "tdp_high_w", 0);
    assert_true(0 < low && low < w && w < high);
    assert_true(llem_str_at(v, "tdp_source", "")[0]);
    assert_int_equal(llem_int_at(v, "n_cpus", 0), sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(est->snapshot(self, &a)->count, 0);
    assert_false(a.oom);
    llem_arena_done(&a);
    est->close(self);
    assert_int_equal(open_descriptors(), before);
    llem_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probing_says_estimate_and_leaves_nothing_open),
        cmocka_unit_test(work_of_this_process_shows_as_busy_time),
        cmocka_unit_test(the_busy_time_is_what_the_kernel_counts_as_not_idle),
        cmocka_unit_test(the_description_holds_the_power_and_its_source),
    };

    return cmocka_run_group_tests_name("sampler_estimate", tests, NULL, NULL);
}
