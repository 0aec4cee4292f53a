/* SPDX-License-Identifier: MIT
 *
 * The option parser, with a table of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/parse.h"

struct args {
    int quick, verbose;
    const char *output, *mode;
    int64_t count;
    double seconds;
    struct settings settings;
};

/* clang-format off */
static const struct opt options[] = {
    { 'q', "quick", OPT_FLAG, 0, offsetof(struct args, quick), .help = "quick" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose), .help = "more" },
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "DIR", .help = "where" },
    { 0, "mode", OPT_CHOICE, 0, offsetof(struct args, mode), "MODE", .choices = "auto|plain|none", .help = "how" },
    { 'c', "count", OPT_INT, 0, offsetof(struct args, count), "N", .min = 1, .max = 100, .help = "how many" },
    { 's', "seconds", OPT_REAL, 0, offsetof(struct args, seconds), "S", .min = 0, .max = 10, .help = "how long" },
    { 'm', "model", OPT_SETTING, OPT_LITERAL, offsetof(struct args, settings), "M", .path = "task.model", .help = "model" },
    { 0, "set", OPT_SETTING, 0, offsetof(struct args, settings), "P=V", .help = "any" },
    { 0, "sweep", OPT_AXIS, 0, offsetof(struct args, settings), "P=V,V", .help = "axis" },
    { 0, "fast", OPT_PRESET, 0, offsetof(struct args, settings), .path = "a.b=1 c=true", .help = "fast" },
    { 'e', "engine", OPT_SETTING, OPT_LITERAL | OPT_MANY, offsetof(struct args, settings), "E", .path = "engine", .help = "engine" },
    { 0, "secret", OPT_FLAG, OPT_HIDDEN, offsetof(struct args, quick), .help = "hidden" },
    { .name = NULL },
};
/* clang-format on */

static struct args args;
static struct parse parse;

static bool try(unsigned flags, int argc, const char *const *argv)
{
    free(args.settings.items);
    memset(&args, 0, sizeof(args));
    parse_done(&parse);
    return parse_options(&parse, options, flags, &args, argc, argv);
}

#define TRY(...)                                                                                   \
    try(0, (int)(sizeof((const char *[]){ "llem", __VA_ARGS__ }) / sizeof(char *)),                \
        (const char *[]){ "llem", __VA_ARGS__, NULL })
#define REFUSED(sentence, ...)                                                                     \
    do {                                                                                           \
        assert_false(TRY(__VA_ARGS__));                                                            \
        assert_string_equal(parse.error, sentence);                                                \
    } while (0)

static int tear_down(void **state)
{
    free(args.settings.items);
    memset(&args, 0, sizeof(args));
    parse_done(&parse);
    return 0;
}

static void short_options_join_and_take_values_either_way(void **state)
{
    assert_true(TRY("-qvv", "-o", "a", "-c5", "-s", "1.5"));
    assert_int_equal(args.quick, 1);
    assert_int_equal(args.verbose, 2);
    assert_string_equal(args.output, "a");
    assert_int_equal(args.count, 5);
    assert_true(args.seconds == 1.5);
    assert_true(TRY("-qodir"));
    assert_int_equal(args.quick, 1);
    assert_string_equal(args.output, "dir");
}

static void long_options_take_values_either_way(void **state)
{
    assert_true(TRY("--output=a=b", "--count", "7", "--mode=plain"));
    assert_string_equal(args.output, "a=b");
    assert_int_equal(args.count, 7);
    assert_string_equal(args.mode, "plain");
}

static void the_last_of_the_same_wins_and_no_takes_back(void **state)
{
    assert_true(TRY("--output", "a", "-o", "b", "-q", "--no-quick", "-vvv", "--no-verbose", "-v"));
    assert_string_equal(args.output, "b");
    assert_int_equal(args.quick, 0);
    assert_int_equal(args.verbose, 1);
}

static void operands_stand_anywhere_and_after_the_dashes_everything_is_one(void **state)
{
    assert_true(TRY("one", "-q", "-", "--", "-v", "--nothing"));
    assert_int_equal(parse.n_rest, 4);
    assert_string_equal(parse.rest[0], "one");
    assert_string_equal(parse.rest[1], "-");
    assert_string_equal(parse.rest[2], "-v");
    assert_string_equal(parse.rest[3], "--nothing");
    assert_null(parse.rest[4]);
    assert_true(parse.saw_dashes);
    assert_int_equal(args.quick, 1);
    assert_int_equal(args.verbose, 0);
}

static void a_command_keeps_its_own_options(void **state)
{
    const char *argv[] = { "llem", "-q", "make", "-v", "--", "-q", NULL };

    assert_true(try(PARSE_STOP_AT_OPERAND, 6, argv));
    assert_int_equal(parse.n_rest, 4);
    assert_string_equal(parse.rest[2], "--");
    assert_int_equal(args.verbose, 0);
}

static void settings_keep_their_order_and_say_where_they_came_from(void **state)
{
    assert_true(TRY("-m", "gpt2", "--set", "a.b=c=d", "--model", "null", "--set=x="));
    assert_int_equal(args.settings.count, 4);
    assert_string_equal(args.settings.items[0].path, "task.model");
    assert_string_equal(args.settings.items[0].origin, "-m");
    assert_int_equal(args.settings.items[0].literal, 1);
    assert_string_equal(args.settings.items[1].path, "a.b");
    assert_string_equal(args.settings.items[1].value, "c=d");
    assert_string_equal(args.settings.items[1].origin, "--set");
    assert_int_equal(args.settings.items[1].literal, 0);
    assert_string_equal(args.settings.items[2].value, "null");
    assert_string_equal(args.settings.items[2].origin, "--model");
    assert_string_equal(args.settings.items[3].value, "");
}

static void an_option_given_again_can_be_one_more_value(void **state)
{
    assert_true(TRY("-e", "a", "--set", "engine=c"));
    assert_int_equal(args.settings.items[0].axis, 0);
    assert_true(TRY("-e", "a", "--set", "engine=c", "-m", "x", "--engine", "b", "-m", "y"));
    assert_int_equal(args.settings.count, 5);
    assert_int_equal(args.settings.items[0].axis, 1);
    assert_int_equal(args.settings.items[1].axis, 0);
    assert_int_equal(args.settings.items[3].axis, 1);
    assert_int_equal(args.settings.items[4].axis, 0); /* the last -m wins, as it does not add */
}

static void an_axis_has_values_between_commas(void **state)
{
    static const struct {
        const char *text, *values[6];
    } axes[] = {
        { "a.b=1", { "1" } },
        { "a.b=1,x y,null", { "1", "x y", "null" } },
        { "a.b=[1,2],{c: [3,4],d: 5},6", { "[1,2]", "{c: [3,4],d: 5}", "6" } },
        { "a.b='x,y',\"p\\\",q\",r's,t't", { "'x,y'", "\"p\\\",q\"", "r's", "t't" } },
        { "a.b=c=d,e", { "c=d", "e" } },
        { "a.b=],[1", { "]", "[1" } }, /* what is no YAML is said where it is read */
    };

    for (size_t i = 0; i < sizeof(axes) / sizeof(axes[0]); i++) {
        size_t n = 0;

        assert_true(TRY("--sweep", axes[i].text));
        for (; n < args.settings.count; n++) {
            assert_string_equal(args.settings.items[n].path, "a.b");
            assert_string_equal(args.settings.items[n].value, axes[i].values[n]);
            assert_string_equal(args.settings.items[n].origin, "--sweep");
            assert_int_equal(args.settings.items[n].axis, 1);
        }
        assert_null(axes[i].values[n]);
    }
    REFUSED("option '--sweep' wants path=v1,v2, as in --sweep task.dataset.n_prompts=10,100, not "
            "'x'",
            "--sweep", "x");
    assert_false(TRY("--sweep", "=1"));
    assert_false(TRY("--sweep", "a=1,,2"));
    assert_false(TRY("--sweep", "a="));
    assert_false(TRY("--sweep", "a=1, "));
}

static void a_flag_can_stand_for_settings(void **state)
{
    assert_true(TRY("--fast", "-e", "x"));
    assert_int_equal(args.settings.count, 3);
    assert_string_equal(args.settings.items[0].path, "a.b");
    assert_string_equal(args.settings.items[0].value, "1");
    assert_string_equal(args.settings.items[1].path, "c");
    assert_string_equal(args.settings.items[1].value, "true");
    assert_string_equal(args.settings.items[1].origin, "--fast");
    assert_true(TRY("--fast", "-e", "x", "--no-fast"));
    assert_int_equal(args.settings.count, 1);
    assert_string_equal(args.settings.items[0].path, "engine");
    REFUSED("option '--fast' takes no value", "--fast=1");
}

static void help_is_asked_for_in_two_ways(void **state)
{
    assert_true(TRY("-qh", "--nonsense"));
    assert_int_equal(parse.help, 1);
    assert_true(TRY("x", "--help", "--nonsense"));
    assert_int_equal(parse.help, 2);
    assert_true(TRY("--", "--help"));
    assert_int_equal(parse.help, 0);
}

static void what_is_wrong_is_said_with_the_nearest_right_word(void **state)
{
    REFUSED("unknown option '--quik'; did you mean '--quick'?", "--quik");
    REFUSED("unknown option '--outptu'; did you mean '--output'?", "--outptu=x");
    REFUSED("unknown option '--hlep'; did you mean '--help'?", "--hlep");
    REFUSED("unknown option '--no-verbos'; did you mean '--no-verbose'?", "--no-verbos");
    REFUSED("unknown option '--xyzzy'", "--xyzzy");
    REFUSED("unknown option '--no-output'", "--no-output");
    REFUSED("unknown option '-x'", "-qx");
    REFUSED("unknown option '-quick'; did you mean '--quick'?", "-quick");
}

static void hidden_options_work_and_are_never_proposed(void **state)
{
    assert_true(TRY("--secret"));
    assert_int_equal(args.quick, 1);
    REFUSED("unknown option '--secre'", "--secre");
}

static void values_are_checked(void **state)
{
    static const char *const no_numbers[] = { "",    " 5",  "5 ",
                                              "5x",  "0x5", "1e1",
                                              "5.0", "--",  "99999999999999999999" };
    static const char *const no_reals[] = {
        "", "nan", "inf", "-inf", "1e999", "0x1p3", "1,5", " 1"
    };

    for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++)
        assert_false(TRY("-c", no_numbers[i]));
    for (size_t i = 0; i < sizeof(no_reals) / sizeof(no_reals[0]); i++)
        assert_false(TRY("-s", no_reals[i]));
    REFUSED("option '-c' wants a number from 1 to 100, not 0", "-c0");
    REFUSED("option '--count' wants a number from 1 to 100, not 101", "--count=101");
    REFUSED("option '--count' wants a whole number, not 'ten'", "--count", "ten");
    REFUSED("option '--count' wants a value: --count N", "--count");
    REFUSED("option '-o' wants a value: -o DIR", "-qo");
    REFUSED("option '--quick' takes no value", "--quick=1");
    REFUSED("option '--mode' has no value 'plian'; did you mean 'plain'?", "--mode=plian");
    REFUSED("option '--mode' wants one of auto|plain|none, not 'x'", "--mode", "x");
    REFUSED("option '--set' wants path=value, as in --set task.model=gpt2, not 'x'", "--set", "x");
}

static void very_long_words_do_no_harm(void **state)
{
    char word[5000];

    memset(word, 'q', sizeof(word));
    memcpy(word, "--", 2);
    word[sizeof(word) - 1] = 0;
    assert_false(TRY(word));
    memcpy(word, "-q", 2);
    assert_true(TRY(word));
    memcpy(word, "xx", 2);
    assert_false(TRY("--mode", word));
    assert_false(TRY("-c", word));
    assert_null(nearest_word(word, (const char *[]){ "q" }, 1));
}

static void the_nearest_word_is_near(void **state)
{
    static const char *const words[] = { "run", "measure", "show", "verify", "config" };

    assert_string_equal(nearest_word("rnu", words, 5), "run");
    assert_string_equal(nearest_word("meas", words, 5), "measure");
    assert_string_equal(nearest_word("verfy", words, 5), "verify");
    assert_null(nearest_word("zzz", words, 5));
    assert_null(nearest_word("", words, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_options_join_and_take_values_either_way),
        cmocka_unit_test(long_options_take_values_either_way),
        cmocka_unit_test(the_last_of_the_same_wins_and_no_takes_back),
        cmocka_unit_test(operands_stand_anywhere_and_after_the_dashes_everything_is_one),
        cmocka_unit_test(a_command_keeps_its_own_options),
        cmocka_unit_test(settings_keep_their_order_and_say_where_they_came_from),
        cmocka_unit_test(an_option_given_again_can_be_one_more_value),
        cmocka_unit_test(an_axis_has_values_between_commas),
        cmocka_unit_test(a_flag_can_stand_for_settings),
        cmocka_unit_test(help_is_asked_for_in_two_ways),
        cmocka_unit_test(what_is_wrong_is_said_with_the_nearest_right_word),
        cmocka_unit_test(hidden_options_work_and_are_never_proposed),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(very_long_words_do_no_harm),
        cmocka_unit_test(the_nearest_word_is_near),
    };

    return cmocka_run_group_tests_name("program/parse", tests, NULL, tear_down);
}
