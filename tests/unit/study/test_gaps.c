/* SPDX-License-Identifier: MIT
 *
 * Templates of messages: what differs from run to run goes, in the reference's order.
 */
#include "lib/study/gaps.h"
#include "tests/unit/config/help.h"

static void what_differs_from_run_to_run_is_left_out(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "plain", "plain" },
        { "", "" },
        { "  much \t\n room  ", "much room" },
        { "\x1b[1;31mred\x1b[0m and \x1b[?25lhidden", "red and hidden" },
        { "at 2026-01-31T12:00:00Z and 2026-01-31 12:00:00,123", "at <TIMESTAMP> and <TIMESTAMP>" },
        { "at 2026-01-31T12:00:00.5+02:00!", "at <TIMESTAMP>!" },
        { "2026-01-31", "<NUM>-<NUM>-<NUM>" },
        { "utils.py:123: bad", "utils.py:<LINENO>: bad" },
        { "/usr/lib/python3/utils.py:7", "<PATH>:<LINENO>" },
        { "see '/home/me/m.bin', now", "see '<PATH>', now" },
        { "and/or a/b 1/2", "and/or a/b <NUM>/<NUM>" },
        { "https://example.org/x", "https://example.org/x" },
        { "0123456789abcdef", "<HEX>" },
        { "sha256:0123456789abcdef0123", "<HEX>" },
        { "0123456789abcde", "0123456789abcde" },
        { "at 0x7f12ab", "at <HEX>" },
        { "12 of 3.5e-3, -4", "<NUM> of <NUM>, -<NUM>" },
        { "fp16 int8 v2.1 gpt2 top_k=50", "fp16 int8 v2.1 gpt2 top_k=<NUM>" },
        { "1,024 tokens (5%).", "<NUM>,<NUM> tokens (<NUM>%)." },
        { "deadbeefdeadbeefg", "deadbeefdeadbeefg" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        const char *got = llem_message_template(&f->a, cases[i].text);

        assert_non_null(got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("\"%s\" became \"%s\"", cases[i].text, got);
        /* Once is enough. */
        assert_string_equal(llem_message_template(&f->a, got), got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_differs_from_run_to_run_is_left_out, setup, teardown),
    };

    return cmocka_run_group_tests_name("gaps", tests, NULL, NULL);
}
