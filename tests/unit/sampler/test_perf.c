/* SPDX-License-Identifier: MIT
 *
 * RAPL by the perf PMU, where powercap cannot be read. perf_event_open is answered by a library
 * that is loaded before this program, from files of a temporary directory.
 */
#include "tests/unit/sampler/help.h"

#include <math.h>

static const struct llem_sampler_class *const rapl = &llem_sampler_rapl;

static void event(const char *name, int config, const char *scale)
{
    char path[256];

    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s", name);
    put(path, "event=0x%02x\n", config);
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.scale", name);
    put(path, "%s\n", scale);
}

/* Two packages with DRAM; powercap has no readable counter. */
static int make_tree(void **state)
{
    if (make_sysfs(state))
        return -1;
    put("bus/event_source/devices/power/type", "9999\n");
    put("bus/event_source/devices/power/cpumask", "0,8\n");
    event("energy-pkg", 2, "2.3283064365386962890625e-10");
    event("energy-ram", 3, "2.3283064365386962890625e-10");
    event("energy-psys", 5, "2.3283064365386962890625e-10");
    put("devices/system/cpu/cpu0/topology/physical_package_id", "0\n");
    put("devices/system/cpu/cpu8/topology/physical_package_id", "1\n");
    put("fake-perf/2.0", "4294967296\n");
    put("fake-perf/2.8", "8589934592\n");
    put("fake-perf/3.0", "1\n");
    put("fake-perf/3.8", "2\n");
    put("fake-perf/5.0", "3\n");
    return 0;
}

static void the_pmu_is_read_where_powercap_cannot_be(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_probe p;
    struct llem_reading r;
    struct llem_value *v;
    void *self = NULL;
    size_t n = 0, i = 0;
    const struct llem_domain *d;
    int before = open_descriptors();

    rapl->probe(ctx, &p);
    assert_true(p.usable);
    assert_non_null(strstr(p.detail, "perf"));
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    rapl->domains(self, &n);
    assert_int_equal(n, 5);
    assert_int_equal(open_descriptors(), before + 5);

    d = domain_named(rapl, self, "package:1", &i);
    assert_non_null(d);
    assert_int_equal(d->index, 1);
    assert_int_equal(d->fields[0].modulus, 0);
    assert_false(d->fields[0].slow);
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.status, LLEM_READ_OK);
    assert_true(fabs((double)r.raw * d->fields[0].to_si - 2) < 1e-9); /* joules */
    put("fake-perf/2.8", "12884901888\n");
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_true(fabs((double)r.raw * d->fields[0].to_si - 3) < 1e-9);

    assert_non_null(domain_named(rapl, self, "dram:1", NULL));
    d = domain_named(rapl, self, "psys:0", NULL);
    assert_non_null(d);
    assert_true(d->fields[0].slow);

    v = rapl->describe(self, &a);
    assert_string_equal(llem_str_at(v, "interface", ""), "perf_event");
    assert_string_equal(llem_str_at(v, "cpumask", ""), "0,8");
    assert_int_equal(llem_int_at(v, "domains.package:1.cpu", -1), 8);
    assert_string_equal(llem_str_at(v, "domains.dram:0.source", ""), "energy-ram");
    llem_arena_done(&a);
    rapl->close(self);
    assert_int_equal(open_descriptors(), before);
    llem_ctx_free(ctx);
}

static void powercap_is_preferred_where_both_can_be_read(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;

    put("class/powercap/intel-rapl:0/name", "package-0\n");
    put("class/powercap/intel-rapl:0/energy_uj", "5\n");
    put("class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n");
    rapl->probe(ctx, &p);
    assert_true(p.usable);
    assert_int_equal(p.n_domains, 1);
    assert_non_null(strstr(p.detail, "powercap"));
    llem_ctx_free(ctx);
}

static void a_refusal_names_the_sysctl(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;

    put("fake-perf/denied", "%s", "");
    rapl->probe(ctx, &p);
    assert_false(p.usable);
    assert_string_equal(p.reason, "no_permission");
    assert_string_equal(p.remedy, "sudo sysctl kernel.perf_event_paranoid=0");
    llem_ctx_free(ctx);
}

static void an_event_in_its_error_state_is_gone_and_not_zero(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    size_t i = 0;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0", &i));
    put("fake-perf/2.0", "%s", "");
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.status, LLEM_READ_GONE);
    assert_int_equal(r.raw, 0);
    put("fake-perf/2.0", "%s", "18446744073709551615\n");
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.status, LLEM_READ_GARBAGE);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void damaged_descriptions_of_the_pmu_are_refused(void **state)
{
    static const struct {
        const char *path, *text;
    } bad[] = {
        { "bus/event_source/devices/power/type", "nine\n" },
        { "bus/event_source/devices/power/cpumask", "x\n" },
        { "bus/event_source/devices/power/cpumask", "-1\n" },
        { "bus/event_source/devices/power/cpumask", "99999999999\n" },
        { "bus/event_source/devices/power/events/energy-pkg", "event=0xzz\n" },
        { "bus/event_source/devices/power/events/energy-pkg", "umask=2\n" },
        { "bus/event_source/devices/power/events/energy-pkg.scale", "nan\n" },
        { "bus/event_source/devices/power/events/energy-pkg.scale", "-1\n" },
        { "bus/event_source/devices/power/events/energy-pkg.scale", "\n" },
    };

    for (size_t i = 0; i < LLEM_COUNT(bad); i++) {
        llem_ctx *ctx = new_ctx();
        struct llem_probe p;
        int before = open_descriptors();

        remove_sysfs(state);
        make_tree(state);
        put(bad[i].path, "%s", bad[i].text);
        rapl->probe(ctx, &p);
        assert_false(p.usable);
        assert_string_equal(p.reason, "not_supported");
        assert_int_equal(open_descriptors(), before);
        llem_ctx_free(ctx);
    }
}

static void a_range_of_cpus_is_one_event_for_each(void **state)
{
    llem_ctx *ctx = new_ctx();
    void *self = NULL;

    put("bus/event_source/devices/power/cpumask", "0-1\n");
    put("fake-perf/2.1", "7\n");
    put("devices/system/cpu/cpu1/topology/physical_package_id", "0\n");
    put("devices/system/cpu/cpu1/topology/die_id", "1\n");
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0", NULL));
    assert_non_null(domain_named(rapl, self, "package:0-die-1", NULL));
    rapl->close(self);
    llem_ctx_free(ctx);
}

/* The interposing library has to be there before the program: start again with it. */
static void with_library(char **argv)
{
    char path[1024];

    if (getenv("LLEM_TEST_PRELOADED"))
        return;
    snprintf(path, sizeof(path), "%s/tests/fakes/libfake-perf.so", getenv("LLEM_TEST_BUILD_DIR"));
    setenv("LD_PRELOAD", path, 1);
    setenv("LLEM_TEST_PRELOADED", "1", 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:abort_on_error=1", 1);
    execv("/proc/self/exe", argv);
    _exit(127);
}

#define tree_test(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_sysfs)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        tree_test(the_pmu_is_read_where_powercap_cannot_be),
        tree_test(powercap_is_preferred_where_both_can_be_read),
        tree_test(a_refusal_names_the_sysctl),
        tree_test(an_event_in_its_error_state_is_gone_and_not_zero),
        tree_test(damaged_descriptions_of_the_pmu_are_refused),
        tree_test(a_range_of_cpus_is_one_event_for_each),
    };

    with_library(argv);
    return cmocka_run_group_tests_name("sampler_perf", tests, NULL, NULL);
}
