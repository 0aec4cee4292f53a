/* SPDX-License-Identifier: MIT
 *
 * RAPL by the powercap tree: which domains are found, what is left out and why, permission,
 * wrap-around and damaged files.
 */
#include "tests/unit/sampler/help.h"

#include <fcntl.h>
#include <math.h>

static const struct llem_sampler_class *const rapl = &llem_sampler_rapl;

static void zone(const char *dir, const char *name, uint64_t energy_uj, uint64_t max_uj)
{
    char path[256];

    snprintf(path, sizeof(path), "class/powercap/%s/name", dir);
    put(path, "%s\n", name);
    snprintf(path, sizeof(path), "class/powercap/%s/energy_uj", dir);
    put(path, "%llu\n", (unsigned long long)energy_uj);
    snprintf(path, sizeof(path), "class/powercap/%s/max_energy_range_uj", dir);
    put(path, "%llu\n", (unsigned long long)max_uj);
}

/* What a server with two packages shows. */
static int make_tree(void **state)
{
    if (make_sysfs(state))
        return -1;
    put("class/powercap/intel-rapl/enabled", "1\n");
    zone("intel-rapl:0", "package-0", 1000000, 262143328850);
    zone("intel-rapl:0:0", "core", 500000, 262143328850);
    zone("intel-rapl:0:1", "dram", 30000, 65712999613);
    zone("intel-rapl:1", "package-1", 2000000, 262143328850);
    zone("intel-rapl:1:0", "dram", 40000, 65712999613);
    zone("intel-rapl:2", "psys", 9000000, 262143328850);
    zone("intel-rapl-mmio:0", "package-0", 1000001, 262143328850);
    put("class/powercap/dtpm/enabled", "1\n");
    return 0;
}

static void packages_and_their_dram_are_found_under_stable_names(void **state)
{
    llem_ctx *ctx = new_ctx();
    void *self = NULL;
    size_t n = 0, i = 0;
    const struct llem_domain *d;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    rapl->domains(self, &n);
    assert_int_equal(n, 6);
    d = domain_named(rapl, self, "package:1", &i);
    assert_non_null(d);
    assert_string_equal(d->kind, "package");
    assert_int_equal(d->index, 1);
    assert_false(d->fields[0].slow);
    assert_true(fabs(d->fields[0].to_si - 1e-6) < 1e-18);
    assert_non_null(domain_named(rapl, self, "dram:0", NULL));
    d = domain_named(rapl, self, "dram:1", &i);
    assert_non_null(d);
    assert_string_equal(d->kind, "dram");
    assert_false(d->fields[0].slow);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void what_contains_another_domain_is_only_read_slowly(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    size_t i = 0;
    const struct llem_domain *d;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    d = domain_named(rapl, self, "psys:0", &i);
    assert_non_null(d);
    assert_string_equal(d->kind, "psys");
    assert_true(d->fields[0].slow);
    assert_int_equal(rapl->read(self, i, false, &r), 0);
    assert_int_equal(rapl->read(self, i, true, &r), 1);
    assert_int_equal(r.raw, 9000000);
    d = domain_named(rapl, self, "core:0", &i);
    assert_non_null(d);
    assert_string_equal(d->kind, "core");
    assert_true(d->fields[0].slow);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void the_mmio_twin_is_left_out_and_named(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_arena a = LLEM_ARENA_INIT;
    void *self = NULL;
    struct llem_value *v;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    v = rapl->describe(self, &a);
    assert_string_equal(llem_str_at(v, "interface", ""), "powercap");
    assert_true(llem_bool_at(v, "is_fake", false));
    assert_string_equal(llem_str_at(v, "root", ""), help_dir);
    assert_string_equal(llem_str_at(v, "skipped.0.name", ""), "intel-rapl-mmio:0");
    assert_int_equal(llem_get(v, "skipped")->count, 1);
    assert_string_equal(llem_str_at(v, "domains.dram:1.source", ""), "intel-rapl:1:0");
    assert_int_equal(llem_int_at(v, "domains.package:0.max_energy_range_uj", 0), 262143328850);
    llem_arena_done(&a);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void a_second_domain_of_the_same_name_is_not_counted_twice(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_arena a = LLEM_ARENA_INIT;
    void *self = NULL;
    size_t n = 0, i = 0;
    struct llem_reading r;

    zone("intel-rapl:3", "package-0", 77, 262143328850);
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    rapl->domains(self, &n);
    assert_int_equal(n, 6);
    assert_non_null(domain_named(rapl, self, "package:0", &i));
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.raw, 1000000);
    assert_int_equal(llem_get(rapl->describe(self, &a), "skipped")->count, 2);
    llem_arena_done(&a);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void the_counter_wraps_one_unit_after_its_range(void **state)
{
    llem_ctx *ctx = new_ctx();
    void *self = NULL;
    const struct llem_domain *d;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    /* 2^32 counts of 2^-14 J are 2^18 J, of 15.3 uJ (2^-16 J) they are 2^16 J. */
    d = domain_named(rapl, self, "package:0", NULL);
    assert_int_equal(d->fields[0].modulus, 262143328850 + 61);
    d = domain_named(rapl, self, "dram:0", NULL);
    assert_int_equal(d->fields[0].modulus, 65712999613 + 15);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void values_leave_as_the_kernel_gives_them(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    size_t i = 0;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0", &i));
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.raw, 1000000);
    zone("intel-rapl:0", "package-0", 262143328850, 262143328850);
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.status, LLEM_READ_OK);
    assert_int_equal(r.raw, 262143328850);
    zone("intel-rapl:0", "package-0", 5, 262143328850); /* wrapped: not our business here */
    assert_int_equal(rapl->read(self, i, false, &r), 1);
    assert_int_equal(r.raw, 5);
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void damaged_values_are_garbage_and_never_zero(void **state)
{
    static const char *const bad[] = {
        "", "\n", "-5\n", "12x4\n", "abc", "99999999999999999999999\n", "300000000000\n"
    };
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    size_t i = 0;

    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0", &i));
    for (size_t k = 0; k < LLEM_COUNT(bad); k++) {
        put("class/powercap/intel-rapl:0/energy_uj", "%s", bad[k]);
        assert_int_equal(rapl->read(self, i, false, &r), 1);
        assert_int_equal(r.status, LLEM_READ_GARBAGE);
        assert_int_equal(r.raw, 0);
    }
    rapl->close(self);
    llem_ctx_free(ctx);
}

static void the_dies_of_an_amd_package_are_one_counter_and_of_an_intel_package_several(void **state)
{
    llem_ctx *ctx = new_ctx();
    void *self = NULL;

    assert_int_equal(llem_remove_tree(help_dir, NULL), LLEM_OK);
    zone("intel-rapl:0", "package-0-die-0", 1, 65532610987);
    zone("intel-rapl:1", "package-0-die-1", 2, 65532610987);
    zone("intel-rapl:1:0", "dram", 3, 65532610987);

    put("devices/system/cpu/modalias", "cpu:type:x86,ven0000fam0006mod0055:feature:,0000\n");
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0-die-0", NULL));
    assert_non_null(domain_named(rapl, self, "package:0-die-1", NULL));
    assert_non_null(domain_named(rapl, self, "dram:0-die-1", NULL));
    rapl->close(self);

    put("devices/system/cpu/modalias", "cpu:type:x86,ven0002fam0017mod0001:feature:,0000\n");
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_non_null(domain_named(rapl, self, "package:0-die-0", NULL));
    assert_null(domain_named(rapl, self, "package:0-die-1", NULL));
    rapl->close(self);
    llem_ctx_free(ctx);
}

/* Root reads everything, so permission is tested as nobody. */
static void as_nobody(void)
{
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
}

static void as_before(void)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void without_permission_the_remedy_is_the_exact_command(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;
    llem_error err = { 0 };
    void *self = NULL;
    char path[1024];
    int before = open_descriptors();
    static const char *const zones[] = { "0", "0:0", "0:1", "1", "1:0", "2" };

    for (size_t i = 0; i < LLEM_COUNT(zones); i++) {
        snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl:%s/energy_uj", help_dir,
                 zones[i]);
        assert_int_equal(chmod(path, geteuid() == 0 ? 0400 : 0), 0);
    }
    as_nobody();
    rapl->probe(ctx, &p);
    assert_int_equal(rapl->open(&self, ctx, &err), LLEM_ENOTSUP);
    as_before();
    assert_false(p.usable);
    assert_string_equal(p.reason, "no_permission");
    assert_non_null(strstr(p.remedy, "sudo chmod a+r "));
    assert_non_null(strstr(p.remedy, help_dir));
    assert_non_null(strstr(p.remedy, "energy_uj"));
    assert_non_null(strstr(err.msg, "root"));
    assert_string_equal(err.hint, p.remedy);
    assert_null(self);
    assert_int_equal(open_descriptors(), before);
    llem_ctx_free(ctx);
}

static void packages_that_can_be_read_are_used_though_dram_cannot(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;
    char path[1024];

    snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl:0:1/energy_uj", help_dir);
    assert_int_equal(chmod(path, geteuid() == 0 ? 0400 : 0), 0);
    as_nobody();
    rapl->probe(ctx, &p);
    as_before();
    assert_true(p.usable);
    assert_int_equal(p.n_domains, 5);
    llem_ctx_free(ctx);
}

static void a_hidden_tree_is_told_from_none(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;
    char path[1024];

    assert_int_equal(llem_remove_tree(help_dir, NULL), LLEM_OK);
    rapl->probe(ctx, &p);
    assert_false(p.usable);
    assert_string_equal(p.reason, "not_supported");
    assert_non_null(strstr(p.remedy, "modprobe"));

    /* Docker leaves the links and empties what they point to. */
    snprintf(path, sizeof(path), "%s/class/powercap", help_dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl:0", help_dir);
    assert_int_equal(symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0", path), 0);
    rapl->probe(ctx, &p);
    assert_false(p.usable);
    assert_string_equal(p.reason, "no_permission");
    assert_non_null(strstr(p.text, "container"));
    assert_non_null(strstr(p.remedy, "docker run"));
    llem_ctx_free(ctx);
}

static void probing_leaves_nothing_open(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;
    void *self = NULL;
    int before = open_descriptors();

    rapl->probe(ctx, &p);
    assert_true(p.usable);
    assert_int_equal(p.n_domains, 6);
    assert_string_equal(p.reason, "");
    assert_non_null(strstr(p.text, "2 CPU packages"));
    assert_non_null(strstr(p.text, "DRAM"));
    assert_non_null(strstr(p.detail, "LLEM_SYSFS"));
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(rapl->open(&self, ctx, NULL), LLEM_OK);
    assert_int_equal(open_descriptors(), before + 6);
    rapl->close(self);
    assert_int_equal(open_descriptors(), before);
    llem_ctx_free(ctx);
}

#define tree_test(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_sysfs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        tree_test(packages_and_their_dram_are_found_under_stable_names),
        tree_test(what_contains_another_domain_is_only_read_slowly),
        tree_test(the_mmio_twin_is_left_out_and_named),
        tree_test(a_second_domain_of_the_same_name_is_not_counted_twice),
        tree_test(the_counter_wraps_one_unit_after_its_range),
        tree_test(values_leave_as_the_kernel_gives_them),
        tree_test(damaged_values_are_garbage_and_never_zero),
        tree_test(the_dies_of_an_amd_package_are_one_counter_and_of_an_intel_package_several),
        tree_test(without_permission_the_remedy_is_the_exact_command),
        tree_test(packages_that_can_be_read_are_used_though_dram_cannot),
        tree_test(a_hidden_tree_is_told_from_none),
        tree_test(probing_leaves_nothing_open),
    };

    return cmocka_run_group_tests_name("sampler_rapl", tests, NULL, NULL);
}
