/* SPDX-License-Identifier: MIT
 *
 * Errors, buffers, arenas, strings and numbers.
 */
#include "tests/unit/base/help.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>

#include "lib/base/base.h"

/* ---- errors ------------------------------------------------------------------------------- */

static void every_error_code_has_a_name_and_a_text(void **state)
{
#define X(id, num, text) { LLEM_E##id, #id, text },
    static const struct {
        llem_errcode code;
        const char *id, *text;
    } all[] = { LLEM_ERRCODES(X) };
#undef X
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++) {
        assert_int_equal(strcasecmp(llem_errcode_name(all[i].code), all[i].id), 0);
        assert_string_equal(llem_errcode_text(all[i].code), all[i].text);
    }
    assert_string_equal(llem_errcode_name((llem_errcode)-4711), "unknown");
    assert_string_equal(llem_errcode_text((llem_errcode)-4711), "unknown error");
    assert_string_equal(llem_errcode_name(LLEM_OK), "ok");
}

static void a_failure_fills_everything_and_keeps_errno(void **state)
{
    llem_error err;

    memset(&err, 'x', sizeof(err));
    errno = ENOSPC;
    assert_int_equal(llem_fail(&err, LLEM_EIO, "cannot write '%s': %m", "a.txt"), LLEM_EIO);
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(err.msg, "cannot write 'a.txt': No space left on device");
    assert_int_equal(err.code, LLEM_EIO);
    assert_int_equal(err.line, 0);
    assert_int_equal(err.column, 0);
    assert_string_equal(err.file, "");
    assert_string_equal(err.hint, "");

    assert_int_equal(llem_fail_at(&err, LLEM_ECONFIG, "study.yaml", 3, 7, "bad %d", 5),
                     LLEM_ECONFIG);
    assert_string_equal(err.file, "study.yaml");
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 7);
    assert_int_equal(llem_hint(&err, LLEM_ECONFIG, "try %s", "that"), LLEM_ECONFIG);
    assert_string_equal(err.hint, "try that");
    assert_int_equal(llem_context(&err, LLEM_ECONFIG, "engine '%s'", "cpu"), LLEM_ECONFIG);
    assert_string_equal(err.msg, "engine 'cpu': bad 5");
    assert_int_equal(err.line, 3);
}

static void errors_are_optional(void **state)
{
    assert_int_equal(llem_fail(NULL, LLEM_EIO, "x"), LLEM_EIO);
    assert_int_equal(llem_fail_at(NULL, LLEM_EIO, NULL, 0, 0, "x"), LLEM_EIO);
    assert_int_equal(llem_context(NULL, LLEM_EIO, "x"), LLEM_EIO);
    assert_int_equal(llem_hint(NULL, LLEM_ENOTFOUND, "x"), LLEM_ENOTFOUND);
}

static void an_error_may_be_made_of_itself(void **state)
{
    llem_error err;

    llem_fail_at(&err, LLEM_EIO, "f.json", 1, 2, "first");
    llem_fail_at(&err, LLEM_EIO, err.file, err.line, err.column, "second after %s", err.msg);
    assert_string_equal(err.msg, "second after first");
    assert_string_equal(err.file, "f.json");
}

static void long_sentences_are_cut_at_whole_characters(void **state)
{
    static const char *const characters[] = { "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80" };
    char text[3000];
    llem_error err;
    size_t c, shift, i;

    for (c = 0; c < LLEM_COUNT(characters); c++) {
        size_t width = strlen(characters[c]);

        for (shift = 0; shift < width; shift++) {
            memset(text, 'a', shift);
            for (i = shift; i + width < sizeof(text); i += width)
                memcpy(text + i, characters[c], width);
            text[i] = '\0';
            llem_fail(&err, LLEM_EIO, "%s", text);
            assert_true(strlen(err.msg) > sizeof(err.msg) - 1 - width);
            assert_true(llem_utf8_valid(err.msg, strlen(err.msg)));
            llem_context(&err, LLEM_EIO, "%s",
                         "f\xC3\xBC"
                         "r");
            assert_true(llem_utf8_valid(err.msg, strlen(err.msg)));
            assert_true(llem_starts_with(err.msg, "f\xC3\xBCr: "));
            llem_hint(&err, LLEM_EIO, "%s", text);
            assert_true(llem_utf8_valid(err.hint, strlen(err.hint)));
            llem_fail_at(&err, LLEM_EIO, text, 1, 1, "x");
            assert_true(llem_utf8_valid(err.file, strlen(err.file)));
            assert_true(llem_ends_with(err.file, characters[c]));
        }
    }
}

static void sentences_carry_nothing_that_a_terminal_obeys(void **state)
{
    llem_error err;

    llem_fail_at(&err, LLEM_EIO, "a\x1B[2J.json", 1, 1, "'%s'\n'%s'", "\x1B]0;title\x07\t\x7F",
                 "\xC2\x9B"
                 "2J \xC3\xA9 \xFF\xC3");
    assert_string_equal(err.file, "a?[2J.json");
    assert_string_equal(err.msg, "'?]0;title?\?\?'\n'?\?2J \xC3\xA9 ?\?'");
    llem_hint(&err, LLEM_EIO, "%s", "\r");
    assert_string_equal(err.hint, "?");
    llem_context(&err, LLEM_EIO, "%s", "\b");
    assert_true(llem_starts_with(err.msg, "?: '"));
}

/* ---- buffers ------------------------------------------------------------------------------ */

static void check_buf(const struct llem_buf *b)
{
    assert_non_null(b->data);
    assert_int_equal(b->data[b->len], 0);
    assert_true(b->len <= b->max);
    assert_true(b->cap == 0 || b->cap > b->len);
}

static void a_buffer_grows_and_stays_terminated(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(100000);
    char expected[2048];
    size_t i;

    check_buf(&b);
    for (i = 0; i < 5000; i++) {
        llem_buf_addc(&b, 'x');
        check_buf(&b);
    }
    llem_buf_clear(&b);
    assert_int_equal(b.len, 0);
    llem_buf_adds(&b, "a");
    llem_buf_add(&b, "b\0c", 3);
    llem_buf_addf(&b, "%d", 42);
    check_buf(&b);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "ab\0c42", 7);

    memset(expected, 'z', sizeof(expected) - 1);
    expected[sizeof(expected) - 1] = '\0';
    llem_buf_clear(&b);
    llem_buf_addf(&b, "<%s>", expected);
    check_buf(&b);
    assert_int_equal(b.len, sizeof(expected) + 1);
    assert_false(b.failed);
    llem_buf_done(&b);
    check_buf(&b);
    llem_buf_done(&b);
    llem_buf_done(NULL);
}

static void a_buffer_holds_its_limit_exactly(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(100);
    size_t i;

    for (i = 0; i < 100; i++)
        llem_buf_addc(&b, 'x');
    assert_false(b.failed);
    check_buf(&b);
    llem_buf_addc(&b, 'y');
    assert_true(b.failed);
    assert_int_equal(b.len, 100);
    check_buf(&b);
    /* It sticks, although this would fit. */
    llem_buf_add(&b, "", 0);
    llem_buf_addf(&b, "%s", "");
    assert_true(b.failed);
    assert_null(llem_buf_grow(&b, 0));
    assert_null(llem_buf_take(&b));
    assert_false(b.failed);

    llem_buf_addf(&b, "%101s", "");
    assert_true(b.failed);
    assert_int_equal(b.len, 0);
    llem_buf_clear(&b);
    assert_false(b.failed);
    assert_non_null(llem_buf_grow(&b, 100));
    assert_null(llem_buf_grow(&b, SIZE_MAX));
    llem_buf_done(&b);

    llem_buf_init(&b, 0);
    assert_non_null(llem_buf_grow(&b, 0));
    llem_buf_addc(&b, 'x');
    assert_true(b.failed);
    llem_buf_done(&b);

    llem_buf_init(&b, SIZE_MAX);
    llem_buf_adds(&b, "x");
    assert_null(llem_buf_grow(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    llem_buf_done(&b);
}

static void taking_the_text_of_an_empty_buffer_gives_an_empty_string(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(10);
    char *text = llem_buf_take(&b);

    assert_string_equal(text, "");
    free(text);
    llem_buf_adds(&b, "abc");
    text = llem_buf_take(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
    free(text);
}

static void the_shared_empty_text_cannot_be_written(void **state)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;
    char line[512];

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long long begin, end;
        char rights[5];

        if (sscanf(line, "%llx-%llx %4s", &begin, &end, rights) != 3 ||
            (uintptr_t)llem__buf_empty < begin || (uintptr_t)llem__buf_empty >= end)
            continue;
        found = true;
        assert_int_equal(rights[1], '-');
    }
    fclose(maps);
    assert_true(found);
}

/* ---- arenas ------------------------------------------------------------------------------- */

static void an_arena_gives_zeroed_aligned_separate_memory(void **state)
{
    static const size_t sizes[] = { 0, 1, 7, 16, 100, 5000, 3, 70000, 1, 300000, 17, 4096 };
    struct llem_arena a = LLEM_ARENA_INIT;
    unsigned char *got[LLEM_COUNT(sizes) * 20];
    size_t i, j;

    for (i = 0; i < LLEM_COUNT(got); i++) {
        size_t size = sizes[i % LLEM_COUNT(sizes)];

        got[i] = llem_arena_alloc(&a, size);
        assert_non_null(got[i]);
        assert_int_equal((uintptr_t)got[i] % _Alignof(max_align_t), 0);
        for (j = 0; j < size; j++)
            assert_int_equal(got[i][j], 0);
        memset(got[i], (int)(i % 255) + 1, size);
    }
    for (i = 0; i < LLEM_COUNT(got); i++)
        for (j = 0; j < sizes[i % LLEM_COUNT(sizes)]; j++)
            assert_int_equal(got[i][j], (int)(i % 255) + 1);
    assert_false(a.oom);
    llem_arena_done(&a);
    assert_null(a.blocks);
    assert_int_equal(a.total, 0);
    llem_arena_done(&a);
    llem_arena_done(NULL);
}

static void an_arena_keeps_its_limit_and_says_so(void **state)
{
    struct llem_arena a = { .max = 100000 };
    size_t got = 0;

    while (llem_arena_alloc(&a, 100))
        got += 100;
    assert_true(a.oom);
    assert_true(a.total <= 100000);
    assert_true(got > 80000);
    assert_null(llem_arena_alloc(&a, 1));
    assert_null(llem_arena_strdup(&a, "x"));
    assert_null(llem_arena_printf(&a, "%d", 1));
    llem_arena_done(&a);
    assert_false(a.oom);
    assert_int_equal(a.max, 100000);
    assert_null(llem_arena_alloc(&a, 100000));
    assert_true(a.oom);
    llem_arena_done(&a);

    a.max = 10;
    assert_null(llem_arena_alloc(&a, 1));
    assert_true(a.oom);
    llem_arena_done(&a);
}

static void an_arena_survives_absurd_sizes(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    assert_null(llem_arena_alloc(&a, SIZE_MAX));
    assert_true(a.oom);
    llem_arena_done(&a);
    assert_null(llem_arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_true(a.oom);
    llem_arena_done(&a);
    assert_non_null(llem_arena_calloc(&a, 0, 3));
    assert_non_null(llem_arena_calloc(&a, 3, 0));
    assert_false(a.oom);
    llem_arena_done(&a);
}

static void an_arena_copies_text(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    assert_null(llem_arena_strdup(&a, NULL));
    assert_null(llem_arena_strndup(&a, NULL, 3));
    assert_false(a.oom);
    assert_string_equal(llem_arena_strdup(&a, "abc"), "abc");
    assert_string_equal(llem_arena_strndup(&a, "abc", 2), "ab");
    assert_memory_equal(llem_arena_strndup(&a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(llem_arena_printf(&a, "%s-%d", "x", 7), "x-7");
    llem_arena_done(&a);
}

/* ---- strings ------------------------------------------------------------------------------ */

static void prefixes_and_suffixes(void **state)
{
    assert_true(llem_starts_with("engine", "eng"));
    assert_true(llem_starts_with("engine", ""));
    assert_false(llem_starts_with("en", "eng"));
    assert_true(llem_ends_with("a.json", ".json"));
    assert_true(llem_ends_with("a", ""));
    assert_false(llem_ends_with("on", "json"));
}

static void only_utf8_counts_as_utf8(void **state)
{
    static const char *const good[] = { "",
                                        "abc",
                                        "\xC2\x80",
                                        "\xDF\xBF",
                                        "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",
                                        "\xEE\x80\x80",
                                        "\xEF\xBF\xBF",
                                        "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF" };
    static const char *const bad[] = {
        "\x80",             /* continuation alone */
        "\xC0\x80",         /* overlong NUL */
        "\xC1\xBF",         /* overlong */
        "\xC3",             /* cut */
        "\xC3(",            /* no continuation */
        "\xE0\x9F\xBF",     /* overlong of three */
        "\xED\xA0\x80",     /* surrogate */
        "\xED\xBF\xBF",     /* surrogate */
        "\xE2\x82",         /* cut */
        "\xF0\x8F\xBF\xBF", /* overlong of four */
        "\xF4\x90\x80\x80", /* beyond Unicode */
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xFE",
        "ok\xF0\x9F\x98",
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(good); i++)
        assert_true(llem_utf8_valid(good[i], strlen(good[i])));
    for (i = 0; i < LLEM_COUNT(bad); i++)
        assert_false(llem_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(llem_utf8_valid("a\0b", 3));
}

/* ---- numbers ------------------------------------------------------------------------------ */

static void integers_are_read_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        { "0", 0 },
        { "-0", 0 },
        { "+7", 7 },
        { "007", 7 },
        { "42", 42 },
        { "-1", -1 },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
        { "000000000000000000000000000009", 9 },
    };
    static const char *const bad[] = { "",
                                       " 1",
                                       "1 ",
                                       "1.0",
                                       "0x10",
                                       "1e3",
                                       "-",
                                       "+",
                                       "--1",
                                       "+-1",
                                       "abc",
                                       "1a",
                                       "1_0",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "18446744073709551617",
                                       "99999999999999999999999" };
    int64_t v;
    size_t i;

    for (i = 0; i < LLEM_COUNT(good); i++) {
        v = 4711;
        assert_true(llem_parse_i64(good[i].text, &v));
        assert_true(v == good[i].value);
    }
    for (i = 0; i < LLEM_COUNT(bad); i++) {
        v = 4711;
        assert_false(llem_parse_i64(bad[i], &v));
        assert_true(v == 4711);
    }
}

static void integers_are_written_whole(void **state)
{
    static const struct {
        int64_t value;
        const char *text;
    } all[] = {
        { 0, "0" },
        { 7, "7" },
        { -10, "-10" },
        { INT64_MAX, "9223372036854775807" },
        { INT64_MIN, "-9223372036854775808" },
    };
    char out[24];

    for (size_t i = 0; i < LLEM_COUNT(all); i++) {
        assert_int_equal(llem_format_i64(out, all[i].value), (int)strlen(all[i].text));
        assert_string_equal(out, all[i].text);
    }
}

static void reals_are_read_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        { "0", 0 },
        { "1", 1 },
        { "-1.5", -1.5 },
        { "+2.25", 2.25 },
        { ".5", 0.5 },
        { "5.", 5 },
        { "1e3", 1000 },
        { "1E-2", 0.01 },
        { "1.5e+2", 150 },
        { "1e-400", 0 },
        { "4.9e-324", 5e-324 },
        { "1.7976931348623157e308", DBL_MAX },
        { "18446744073709551615", 0x1p64 },
        { "18446744073709551619", 0x1p64 },
        { "-0e9999999999", -0.0 },
        { "0.1000000000000000055511151231257827021181583404541015625", 0.1 },
    };
    static const char *const bad[] = { "",         " 1",     "1 ",      "nan",   "inf", "-inf",
                                       "infinity", "0x1p3",  "1,5",     "1e",    "1e+", ".",
                                       "-.",       "e5",     "1.5.2",   "1e5e5", "--1", "1d5",
                                       "1e400",    "-1e400", "1_000.0", "1f" };
    size_t i;
    double d;

    for (i = 0; i < LLEM_COUNT(good); i++) {
        assert_true(llem_parse_f64(good[i].text, &d));
        assert_true(d == good[i].value);
    }
    for (i = 0; i < LLEM_COUNT(bad); i++) {
        d = 4711;
        assert_false(llem_parse_f64(bad[i], &d));
        assert_true(d == 4711);
    }
}

static void reals_are_written_short(void **state)
{
    static const struct {
        double value;
        const char *python, *plain;
    } all[] = {
        { 0, "0.0", "0" },
        { -0.0, "-0.0", "-0" },
        { 1, "1.0", "1" },
        { 60, "60.0", "60" },
        { -2.5, "-2.5", "-2.5" },
        { 0.1, "0.1", "0.1" },
        { 0.05, "0.05", "0.05" },
        { 1.0 / 3, "0.3333333333333333", "0.3333333333333333" },
        { 0.0001, "0.0001", "0.0001" },
        { 0.00001, "1e-05", "1e-05" },
        { 0.00012345, "0.00012345", "0.00012345" },
        { 123456789012345.0, "123456789012345.0", "123456789012345" },
        { 1e15, "1000000000000000.0", "1000000000000000" },
        { 9999999999999998.0, "9999999999999998.0", "9999999999999998" },
        { 1e16, "1e+16", "1e+16" },
        { 1.5e16, "1.5e+16", "1.5e+16" },
        { 1e22, "1e+22", "1e+22" },
        { 1e100, "1e+100", "1e+100" },
        { 9007199254740993.0, "9007199254740992.0", "9007199254740992" },
        { DBL_MAX, "1.7976931348623157e+308", "1.7976931348623157e+308" },
        { -DBL_MAX, "-1.7976931348623157e+308", "-1.7976931348623157e+308" },
        { DBL_MIN, "2.2250738585072014e-308", "2.2250738585072014e-308" },
        { 5e-324, "5e-324", "5e-324" },
        { 0x1p-44, "5.684341886080802e-14", "5.684341886080802e-14" },
    };
    char out[32];
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++) {
        assert_int_equal(llem_format_f64(out, all[i].value, true), (int)strlen(all[i].python));
        assert_string_equal(out, all[i].python);
        assert_int_equal(llem_format_f64(out, all[i].value, false), (int)strlen(all[i].plain));
        assert_string_equal(out, all[i].plain);
    }
}

/* Bit patterns, numbers as people write them, powers of two, what is measured, the subnormal, and
 * neighbours of powers of ten, in turn. */
static double some_double(uint64_t *random, int i)
{
    uint64_t bits = next_random(random);
    char text[32];
    double d;

    switch (i % 6) {
    case 0:
        memcpy(&d, &bits, sizeof(d));
        return isfinite(d) ? d : -0.0;
    case 1:
        snprintf(text, sizeof(text), "%llue%d", (unsigned long long)(bits % 1000000),
                 (int)(bits >> 32) % 20);
        return strtod(text, NULL);
    case 2:
        return ldexp(1.0, (int)(bits % 2098) - 1074);
    case 3:
        return ldexp((double)(bits >> 11), (int)(next_random(random) % 130) - 115);
    case 4:
        bits &= UINT64_C(0x800fffffffffffff);
        memcpy(&d, &bits, sizeof(d));
        return d;
    default:
        snprintf(text, sizeof(text), "1e%d", (int)(bits % 60) - 30);
        memcpy(&bits, &(double){ strtod(text, NULL) }, sizeof(bits));
        bits += next_random(random) % 5 - 2;
        memcpy(&d, &bits, sizeof(d));
        return d;
    }
}

static void a_hundred_thousand_doubles_read_back(void **state)
{
    uint64_t random = random_seed();
    double d, back;
    char out[32];
    int i;

    for (i = 0; i < 100000; i++) {
        d = some_double(&random, i);
        if (llem_format_f64(out, d, i % 2) >= 32 || !llem_parse_f64(out, &back) ||
            memcmp(&d, &back, sizeof(d)) != 0 || strtod(out, NULL) != d)
            fail_msg("%a was written as '%s'", d, out);
    }
}

/* The digits of a number without leading and trailing zeros, and how many they are. */
static int digits_of(char digits[32], const char *text)
{
    int n = 0;

    for (; *text && *text != 'e'; text++)
        if (*text >= '0' + (n == 0) && *text <= '9')
            digits[n++] = *text;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    return n;
}

/* Does a decimal of n digits, at most one from the nearest in its last digit, read back as d? */
static bool reads_back_near(double d, int n)
{
    char text[48];
    double last;

    snprintf(text, sizeof(text), "%.*e", n - 1, d);
    if (strtod(text, NULL) == d)
        return true;
    last = strtod(text, NULL) - d;
    for (char *p = strchr(text, 'e'); p > text; p--) {
        if (!isdigit((unsigned char)p[-1]))
            continue;
        if (p[-1] == (last < 0 ? '9' : '0')) /* a carry: its neighbour is another length */
            return false;
        p[-1] = (char)(p[-1] + (last < 0 ? 1 : -1));
        break;
    }
    return strtod(text, NULL) == d;
}

static void no_decimal_is_shorter_or_nearer(void **state)
{
    uint64_t random = random_seed();
    char out[32], digits[32], text[48], nearest[32];

    for (int i = 0; i < 100000; i++) {
        double d = fabs(some_double(&random, i));
        int n;

        if (d == 0)
            continue;
        llem_format_f64(out, d, true);
        n = digits_of(digits, out);
        if (n > 1 && reads_back_near(d, n - 1))
            fail_msg("%a was written as '%s', of which %d digits would do", d, out, n - 1);
        snprintf(text, sizeof(text), "%.*e", n - 1, d);
        digits_of(nearest, text);
        if (strtod(text, NULL) == d && strcmp(nearest, digits) != 0)
            fail_msg("%a was written as '%s', and '%s' is nearer", d, out, text);
    }
}

/* A decimal of up to forty digits, one that lies exactly in the middle between two doubles, its
 * neighbour, or one as near to the middle as twenty digits come. */
static void some_decimal(char out[80], uint64_t *random, int i)
{
    uint64_t bits = next_random(random), more = next_random(random);
    uint64_t w = (UINT64_C(1) << 53) | more >> 11, five = 1; /* odd, w is in the middle */
    int e = (int)(bits % (i % 4 == 3 ? 28 : 23));

    if (i % 4 == 0) {
        snprintf(out, 80, "%s%llu.%llue%d", bits & 1 ? "-" : "",
                 (unsigned long long)(bits >> (more % 64)),
                 (unsigned long long)(more >> (bits % 64)), (int)(more >> 32) % 70 - 35);
        return;
    }
    for (int k = 0; k < e; k++)
        five *= 5;
    if (i % 4 == 3) {
        w = (uint64_t)((unsigned __int128)(w | 1) * five >> 53) + (bits >> 63);
        e = -e;
    } else if (e < 5 && bits >> 62 & 1) {
        w = (w | 1) * five;
        e = -e;
    } else {
        w = (w / five) | 1;
    }
    if (i % 4 == 2)
        w += bits >> 63 ? 1 : UINT64_MAX;
    snprintf(out, 80, "%llue%d", (unsigned long long)w, e);
}

static void decimals_are_read_as_the_nearest_double(void **state)
{
    uint64_t random = random_seed();
    char text[80];
    double d;

    for (int i = 0; i < 300000; i++) {
        some_decimal(text, &random, i);
        if (!llem_parse_f64(text, &d) || d != strtod(text, NULL))
            fail_msg("'%s' was read as %a", text, d);
    }
}

static void doubles_are_written_as_python_writes_them(void **state)
{
    static const char script[] =
        "python3 -c 'import sys, struct\n"
        "bad = [l for l in open(sys.argv[1]) for h, t in [l.split()]\n"
        "       if repr(struct.unpack(\">d\", bytes.fromhex(h))[0]) != t]\n"
        "sys.exit(str(bad[:5]) if bad else 0)' ";
    uint64_t random = random_seed();
    char command[1024];
    FILE *f;
    int i;

    if (system("python3 -c '' 2>/dev/null") != 0)
        SKIP("there is no python3");
    f = fopen(in_dir("doubles"), "w");
    assert_non_null(f);
    for (i = 0; i < 20000; i++) {
        double d = some_double(&random, i);
        uint64_t bits;
        char out[32];

        memcpy(&bits, &d, sizeof(bits));
        llem_format_f64(out, d, true);
        fprintf(f, "%016llx %s\n", (unsigned long long)bits, out);
    }
    fclose(f);
    snprintf(command, sizeof(command), "%s %s", script, in_dir("doubles"));
    assert_int_equal(system(command), 0);
}

static void numbers_do_not_follow_the_locale(void **state)
{
    static const char *const locales[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE" };
    bool found = false;
    char command[256];
    char out[32];
    double d;
    size_t i;

    for (i = 0; i < LLEM_COUNT(locales) && !found; i++)
        found = setlocale(LC_ALL, locales[i]) != NULL;
    if (!found) {
        /* Few machines have one; some can make it. */
        snprintf(command, sizeof(command), "localedef -i de_DE -f UTF-8 %s >/dev/null 2>&1",
                 in_dir("de_DE.UTF-8"));
        if (system(command) == 0 && setenv("LOCPATH", help_dir, 1) == 0)
            found = setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
    }
    if (!found || strcmp(localeconv()->decimal_point, ",") != 0) {
        setlocale(LC_ALL, "C");
        SKIP("there is no locale with a decimal comma");
    }
    snprintf(out, sizeof(out), "%.1f", 0.5);
    assert_string_equal(out, "0,5"); /* or this test would show nothing */
    llem_format_f64(out, 1234.5, true);
    assert_string_equal(out, "1234.5");
    llem_format_f64(out, 2.5e-7, true);
    assert_string_equal(out, "2.5e-07");
    assert_true(llem_parse_f64("1234.5", &d));
    assert_true(d == 1234.5);
    assert_true(llem_parse_f64("-.5e1", &d));
    assert_true(d == -5);
    assert_false(llem_parse_f64("1234,5", &d));
    setlocale(LC_ALL, "C");
}

/* ---- did you mean ------------------------------------------------------------------------- */

static void near_words_are_found_and_others_are_not(void **state)
{
    static const char *const names[] = {
        "task", "engine",   "measurement", "sampling_preset",    "transformers",
        "vllm", "tensorrt", "lora",        "passthrough_kwargs", NULL
    };
    static const struct {
        const char *word, *nearest;
    } all[] = {
        { "engin", "engine" },
        { "taks", "task" },
        { "measurment", "measurement" },
        { "measuerment", "measurement" },
        { "vlm", "vllm" },
        { "vlllm", "vllm" },
        { "engine", "engine" },
        { "sampling-preset", "sampling_preset" },
        { "transfromers", "transformers" },
        { "passthrough_kwarg", "passthrough_kwargs" },
        { "dtype", NULL },
        { "foo", NULL },
        { "base", NULL },
        { "", NULL },
        { "x", NULL },
        { "model", NULL },
        { "batch_size", NULL },
    };
    static const char *const ties[] = { "abcd", "abce", NULL };
    static const char *const none[] = { NULL };
    char long_word[300];
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++) {
        const char *got = llem_nearest(all[i].word, names);

        if (got != all[i].nearest && (!got || !all[i].nearest || strcmp(got, all[i].nearest) != 0))
            fail_msg("'%s' gave '%s'", all[i].word, got ? got : "nothing");
    }
    assert_ptr_equal(llem_nearest("abcf", ties), ties[0]);
    assert_ptr_equal(llem_nearest("abce", ties), ties[1]);
    assert_null(llem_nearest("abc", none));
    memset(long_word, 'a', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    assert_null(llem_nearest(long_word, names));
    long_word[128] = '\0';
    assert_null(llem_nearest(long_word, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_code_has_a_name_and_a_text),
        cmocka_unit_test(a_failure_fills_everything_and_keeps_errno),
        cmocka_unit_test(errors_are_optional),
        cmocka_unit_test(an_error_may_be_made_of_itself),
        cmocka_unit_test(long_sentences_are_cut_at_whole_characters),
        cmocka_unit_test(sentences_carry_nothing_that_a_terminal_obeys),
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(a_buffer_holds_its_limit_exactly),
        cmocka_unit_test(taking_the_text_of_an_empty_buffer_gives_an_empty_string),
        cmocka_unit_test(the_shared_empty_text_cannot_be_written),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_separate_memory),
        cmocka_unit_test(an_arena_keeps_its_limit_and_says_so),
        cmocka_unit_test(an_arena_survives_absurd_sizes),
        cmocka_unit_test(an_arena_copies_text),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(only_utf8_counts_as_utf8),
        cmocka_unit_test(integers_are_read_whole_or_not_at_all),
        cmocka_unit_test(integers_are_written_whole),
        cmocka_unit_test(reals_are_read_whole_or_not_at_all),
        cmocka_unit_test(reals_are_written_short),
        cmocka_unit_test(a_hundred_thousand_doubles_read_back),
        cmocka_unit_test(no_decimal_is_shorter_or_nearer),
        cmocka_unit_test(decimals_are_read_as_the_nearest_double),
        cmocka_unit_test(doubles_are_written_as_python_writes_them),
        cmocka_unit_test(numbers_do_not_follow_the_locale),
        cmocka_unit_test(near_words_are_found_and_others_are_not),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
