/* SPDX-License-Identifier: MIT
 *
 * The description of the machine, from trees of files made up here.
 */
#include "tests/unit/measure/help.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char proc[80], sys[80], etc[80];
static struct llem_arena arena;

static int begin(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/llem-environment-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(proc, sizeof(proc), "%s/proc", dir);
    snprintf(sys, sizeof(sys), "%s/sys", dir);
    snprintf(etc, sizeof(etc), "%s/etc", dir);
    return 0;
}

static int end(void **state)
{
    llem_arena_done(&arena);
    return llem_remove_tree(dir, NULL) == LLEM_OK ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    char path[256];
    char *slash;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    *slash = '/';
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct llem_value *collect(void)
{
    struct llem_value *e = llem_environment_collect(proc, sys, etc, &arena);

    assert_false(arena.oom);
    return e;
}

static const char cpuinfo[] =
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Made-up CPU @ 2.00GHz\n"
    "cpu MHz\t\t: 1995.312\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu avx  avx2\n\n"
    "processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: Made-up CPU @ 2.00GHz\n"
    "cpu MHz\t\t: 1995.312\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu avx avx2\n\n"
    "processor\t: 2\nphysical id\t: 1\ncore id\t\t: 0\n\n"
    "processor\t: 3\nphysical id\t: 1\ncore id\t\t: 4\n";

static void everything_that_is_there_is_told(void **state)
{
    struct llem_value *e, *flags;

    put("proc/cpuinfo", cpuinfo);
    put("proc/meminfo", "MemTotal:       16305132 kB\nMemFree: 1 kB\nMemAvailable:    8000 kB\n");
    put("proc/loadavg", "0.52 1.25 2.00 1/234 5678\n");
    put("proc/1/cgroup", "0::/kubepods/burstable/pod12\n");
    put("etc/os-release", "NAME=\"Made-up\"\nPRETTY_NAME=\"Made-up Linux 1 (test)\"\n");
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    e = collect();
    assert_string_equal(llem_str_at(e, "host.os", ""), "Made-up Linux 1 (test)");
    assert_string_equal(llem_str_at(e, "cpu.model", ""), "Made-up CPU @ 2.00GHz");
    assert_string_equal(llem_str_at(e, "cpu.vendor", ""), "GenuineIntel");
    assert_int_equal(llem_int_at(e, "cpu.n_physical", 0), 3);
    assert_string_equal(llem_str_at(e, "cpu.governor", ""), "performance");
    assert_near(llem_real_at(e, "cpu.frequency_mhz", 0), 1995.312, 1e-9);
    flags = llem_at(e, "cpu.flags");
    assert_int_equal(flags->count, 3);
    assert_string_equal(flags->items[2]->s, "avx2");
    assert_int_equal(llem_int_at(e, "memory.total_bytes", 0), INT64_C(16305132) * 1024);
    assert_int_equal(llem_int_at(e, "memory.available_bytes", 0), 8000 * 1024);
    assert_int_equal(llem_at(e, "load_average")->count, 3);
    assert_near(llem_real_at(e, "load_average.1", 0), 1.25, 1e-9);
    assert_non_null(llem_at(e, "cpu.tdp_source"));
}

static void what_cannot_be_read_is_null_and_nothing_fails(void **state)
{
    static const char *const unknown[] = {
        "host.os",        "cpu.model",          "cpu.vendor",
        "cpu.n_physical", "cpu.governor",       "cpu.frequency_mhz",
        "cpu.tdp_w",      "memory.total_bytes", "memory.available_bytes"
    };
    struct llem_value *e = collect();

    for (size_t i = 0; i < LLEM_COUNT(unknown); i++)
        if (!llem_at(e, unknown[i]) || !llem_is_null(llem_at(e, unknown[i])))
            fail_msg("%s is not null", unknown[i]);
    assert_int_equal(llem_at(e, "load_average")->count, 0);
    assert_non_null(llem_at(e, "host.kernel"));
}

static void strange_files_do_no_harm(void **state)
{
    struct llem_value *e;
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);

    for (int i = 0; i < 500; i++)
        llem_buf_addf(&b, "core id :%d\nphysical id :\ncore id\t\nflags", i * 100003);
    put("proc/cpuinfo", b.data);
    llem_buf_done(&b);
    put("proc/meminfo", "MemTotal: 99999999999999999999 kB\nMemAvailable: -3 kB");
    put("proc/loadavg", "nan -x");
    put("etc/os-release", "PRETTY_NAME=");
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "");
    e = collect();
    assert_true(llem_is_null(llem_at(e, "memory.total_bytes")));
    assert_true(llem_is_null(llem_at(e, "memory.available_bytes")));
    assert_int_equal(llem_at(e, "load_average")->count, 0);
}

static void the_thread_describes_the_machine_it_runs_on(void **state)
{
    struct llem_environment *e = NULL;
    struct llem_value *v;
    llem_error err;
    llem_ctx *ctx;

    assert_int_equal(llem_ctx_new(&ctx, NULL, &err), LLEM_OK);
    assert_int_equal(llem_environment_start(&e, ctx, &err), LLEM_OK);
    v = llem_environment_join(e, &arena);
    assert_int_equal(llem_int_at(v, "cpu.n_logical", 0), sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(llem_int_at(v, "memory.total_bytes", 0) > 0);
    assert_null(llem_at(v, "host.name")); /* the host's name is nobody's business */
    llem_ctx_free(ctx);
}

static void cpu_time_of_the_machine_goes_on(void **state)
{
    double busy, total, busy_later, total_later;
    volatile double x = 1;

    assert_true(llem_machine_cpu(&busy, &total));
    for (int64_t end = llem_now_ns(&llem_system_clock) + 200 * LLEM_MS;
         llem_now_ns(&llem_system_clock) < end;)
        x = x * 1.0000001;
    assert_true(x > 1);
    assert_true(llem_machine_cpu(&busy_later, &total_later));
    assert_true(busy_later > busy && total_later > total);
    assert_true(busy_later - busy <= total_later - total + 0.1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(everything_that_is_there_is_told), T(what_cannot_be_read_is_null_and_nothing_fails),
        T(strange_files_do_no_harm),         T(the_thread_describes_the_machine_it_runs_on),
        T(cpu_time_of_the_machine_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
