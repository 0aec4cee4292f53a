/* SPDX-License-Identifier: MIT
 *
 * The list of samplers, the symbol loader, small kernel files and the table of TDPs.
 */
#include "tests/unit/sampler/help.h"

#include <errno.h>
#include <math.h>

#include "lib/base/symbols.h"

static void every_sampler_fills_every_slot(void **state)
{
    for (size_t i = 0; llem_samplers[i]; i++) {
        const struct llem_sampler_class *s = llem_samplers[i];

        assert_ptr_equal(llem_sampler_find(s->name), s);
        assert_true(s->help && s->help[0]);
        assert_true(!strcmp(s->quality, "measured") || !strcmp(s->quality, "estimated"));
        assert_true(s->probe && s->open && s->domains && s->read && s->window_begin);
        assert_true(s->window_end && s->describe && s->snapshot && s->close);
        s->close(NULL);
    }
    assert_null(llem_sampler_find("telepathy"));
}

static void measured_comes_before_estimated_and_direct_before_second_hand(void **state)
{
    static const char *const order[] = { "nvml", "rapl", "zeus", "estimate", "codecarbon" };
    bool estimated = false;
    size_t n = 0;

    for (; llem_samplers[n]; n++) {
        assert_true(n < LLEM_COUNT(order));
        assert_string_equal(llem_samplers[n]->name, order[n]);
        estimated |= !strcmp(llem_samplers[n]->quality, "estimated");
        assert_int_equal(!strcmp(llem_samplers[n]->quality, "estimated"), estimated);
    }
    assert_int_equal(n, LLEM_COUNT(order));
}

static void every_role_has_a_name_of_its_own(void **state)
{
    for (int i = 0; i < LLEM_ROLE_COUNT; i++) {
        assert_string_not_equal(llem_role_name(i), "unknown");
        for (int k = 0; k < i; k++)
            assert_string_not_equal(llem_role_name(i), llem_role_name(k));
    }
    assert_string_equal(llem_role_name(LLEM_ROLE_COUNT), "unknown");
}

static void the_first_name_that_the_library_has_is_taken(void **state)
{
    void (*slot[3])(void) = { 0 };
    struct llem_symbol symbols[] = {
        { "no_such_function|cos|sin", &slot[0], true },
        { "sin", &slot[1], true },
        { "no_such_function", &slot[2], false },
    };
    void *handle = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_symbols_load(&handle, "libm.so.6", symbols, 3, &err), LLEM_OK);
    assert_non_null(handle);
    assert_true(((double (*)(double))slot[0])(0) == 1);
    assert_true(((double (*)(double))slot[1])(0) == 0);
    assert_true(!slot[2]);
}

static void a_required_symbol_that_is_missing_is_named(void **state)
{
    void (*slot[2])(void) = { 0 };
    struct llem_symbol symbols[] = { { "cos", &slot[0], true }, { "not_there", &slot[1], true } };
    void *handle = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_symbols_load(&handle, "libm.so.6", symbols, 2, &err), LLEM_ENOTSUP);
    assert_non_null(strstr(err.msg, "not_there"));
    assert_non_null(strstr(err.msg, "libm.so.6"));
    assert_null(handle);
    assert_true(!slot[0]);
}

static void a_library_that_is_missing_is_named(void **state)
{
    void *handle = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_symbols_load(&handle, "libno-such-thing.so.1", NULL, 0, &err),
                     LLEM_ENOTFOUND);
    assert_non_null(strstr(err.msg, "libno-such-thing.so.1"));
    assert_null(handle);
}

static void small_files_are_read_whole_or_not_at_all(void **state)
{
    char out[8];
    uint64_t number = 77;

    put("short", "1234567\n");
    put("long", "123456789\n");
    put("hex", "0x12");
    put("minus", "-3\n");
    assert_int_equal(llem_sysfs_read(out, sizeof(out), help_dir, "nothing"), ENOENT);
    assert_int_equal(llem_sysfs_read(out, sizeof(out), help_dir, "long"), EFBIG);
    assert_string_equal(out, "");
    assert_int_equal(llem_sysfs_read_u64(&number, help_dir, "hex"), EINVAL);
    assert_int_equal(llem_sysfs_read_u64(&number, help_dir, "minus"), EINVAL);
    assert_int_equal(number, 77);
    assert_int_equal(llem_sysfs_read_u64(&number, help_dir, "short"), 0);
    assert_int_equal(number, 1234567);
}

static void a_known_cpu_has_the_vendors_tdp(void **state)
{
    struct llem_tdp t;

    llem_tdp_of(&t, "AMD EPYC 7763 64-Core Processor", 256, 2);
    assert_true(t.known);
    assert_true(fabs(t.w - 560) < 1e-9);
    assert_true(t.low_w < t.w && t.w < t.high_w);
    llem_tdp_of(&t, "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 28, 1);
    assert_true(t.known && fabs(t.w - 120) < 1e-9);
    llem_tdp_of(&t, "13th Gen Intel(R) Core(TM) i9-13900K", 32, 1);
    assert_true(t.known && fabs(t.w - 125) < 1e-9 && fabs(t.high_w - 253) < 1e-6);
    llem_tdp_of(&t, "INTEL(R) XEON(R) PLATINUM 8592+", 128, 1);
    assert_true(t.known && fabs(t.w - 350) < 1e-9);
}

static void a_longer_name_is_another_cpu(void **state)
{
    struct llem_tdp t;

    llem_tdp_of(&t, "AMD Ryzen 5 5600X 6-Core Processor", 12, 1);
    assert_non_null(strstr(t.source, "5600X"));
    llem_tdp_of(&t, "AMD EPYC 9554P 64-Core Processor", 128, 1);
    assert_true(t.known && fabs(t.w - 360) < 1e-9);
    llem_tdp_of(&t, "AMD EPYC 77630", 128, 1);
    assert_false(t.known);
    llem_tdp_of(&t, "Intel(R) Core(TM) i7-67000", 8, 1);
    assert_false(t.known);
}

static void a_virtual_machine_is_given_its_share_of_the_tdp(void **state)
{
    struct llem_tdp t;

    llem_tdp_of(&t, "AMD EPYC 7763 64-Core Processor", 4, 1);
    assert_true(fabs(t.w - 280 * 4.0 / 128) < 1e-9);
    llem_tdp_of(&t, "AMD EPYC 7763 64-Core Processor", 4, 4); /* a socket for each virtual CPU */
    assert_true(fabs(t.w - 280 * 4.0 / 128) < 1e-9);
    llem_tdp_of(&t, "AMD EPYC 7763 64-Core Processor", 64, 1); /* hyper-threading is off */
    assert_true(fabs(t.w - 280) < 1e-9);
}

static void an_unknown_cpu_has_a_wide_range_that_says_so(void **state)
{
    struct llem_tdp t;

    llem_tdp_of(&t, "", 8, 1);
    assert_false(t.known);
    assert_true(t.w == 32 && t.low_w == 8 && t.high_w == 64);
    assert_non_null(strstr(t.source, "default"));
    llem_tdp_of(&t, "Mystery", 0, 0);
    assert_true(t.w > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sampler_fills_every_slot),
        cmocka_unit_test(measured_comes_before_estimated_and_direct_before_second_hand),
        cmocka_unit_test(every_role_has_a_name_of_its_own),
        cmocka_unit_test(the_first_name_that_the_library_has_is_taken),
        cmocka_unit_test(a_required_symbol_that_is_missing_is_named),
        cmocka_unit_test(a_library_that_is_missing_is_named),
        cmocka_unit_test_setup_teardown(small_files_are_read_whole_or_not_at_all, make_dir,
                                        remove_dir),
        cmocka_unit_test(a_known_cpu_has_the_vendors_tdp),
        cmocka_unit_test(a_longer_name_is_another_cpu),
        cmocka_unit_test(a_virtual_machine_is_given_its_share_of_the_tdp),
        cmocka_unit_test(an_unknown_cpu_has_a_wide_range_that_says_so),
    };

    return cmocka_run_group_tests_name("sampler_registry", tests, NULL, NULL);
}
