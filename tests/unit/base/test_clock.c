/* SPDX-License-Identifier: MIT
 *
 * The clocks, and times as text.
 */
#include "tests/unit/base/help.h"

#include "lib/base/clock.h"

static void the_system_clock_goes_on_and_sleeps_until_a_time(void **state)
{
    const struct llem_clock *c = &llem_system_clock;
    int64_t begin = llem_now_ns(c);
    int64_t wall = c->wall_ns(c->self);

    c->sleep_until_ns(c->self, begin + 20 * 1000 * 1000);
    assert_true(llem_now_ns(c) >= begin + 20 * 1000 * 1000);
    assert_true(llem_now_ns(c) < begin + 10 * LLEM_NS_PER_S);
    assert_true(wall > INT64_C(1600000000) * LLEM_NS_PER_S);

    begin = llem_now_ns(c);
    c->sleep_until_ns(c->self, begin - LLEM_NS_PER_S);
    c->sleep_until_ns(c->self, 0);
    c->sleep_until_ns(c->self, INT64_MIN);
    assert_true(llem_now_ns(c) < begin + LLEM_NS_PER_S);
}

static void a_virtual_clock_stands_still_until_somebody_sleeps(void **state)
{
    struct llem_virtual_clock v;
    const struct llem_clock *c = &v.clock;

    llem_virtual_clock_init(&v, 1000);
    assert_int_equal(llem_now_ns(c), 1000);
    assert_int_equal(llem_now_ns(c), 1000);
    c->sleep_until_ns(c->self, 5000);
    assert_int_equal(llem_now_ns(c), 5000);
    c->sleep_until_ns(c->self, 2000);
    assert_int_equal(llem_now_ns(c), 5000);
    assert_int_equal(c->wall_ns(c->self), 5000);
}

static void times_are_written_in_utc(void **state)
{
    static const struct {
        int64_t ns;
        const char *utc, *stamp;
    } all[] = {
        { 0, "1970-01-01T00:00:00.000000Z", "1970-01-01T00-00-00" },
        { INT64_C(1769860800123456789), "2026-01-31T12:00:00.123456Z", "2026-01-31T12-00-00" },
        { INT64_C(1709209799999999999), "2024-02-29T12:29:59.999999Z", "2024-02-29T12-29-59" },
        { -1, "1969-12-31T23:59:59.999999Z", "1969-12-31T23-59-59" },
        { INT64_C(-1000000000), "1969-12-31T23:59:59.000000Z", "1969-12-31T23-59-59" },
        { INT64_MAX, "2262-04-11T23:47:16.854775Z", "2262-04-11T23-47-16" },
        { INT64_MIN, "1677-09-21T00:12:43.145224Z", "1677-09-21T00-12-43" },
    };
    char utc[40], stamp[24];
    size_t i;

    setenv("TZ", "America/New_York", 1);
    tzset();
    for (i = 0; i < LLEM_COUNT(all); i++) {
        llem_format_utc(utc, all[i].ns);
        assert_string_equal(utc, all[i].utc);
        llem_format_stamp(stamp, all[i].ns);
        assert_string_equal(stamp, all[i].stamp);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_goes_on_and_sleeps_until_a_time),
        cmocka_unit_test(a_virtual_clock_stands_still_until_somebody_sleeps),
        cmocka_unit_test(times_are_written_in_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
