/* SPDX-License-Identifier: MIT
 *
 * JSON in and out: four styles, Python's bytes, and documents that mean no good.
 */
#include "tests/unit/base/help.h"

#include <locale.h>

#include "lib/base/json.h"

static struct llem_value *parse(struct llem_arena *a, const char *text)
{
    struct llem_value *v = NULL;
    llem_error err = { 0 };

    if (llem_json_parse(a, &v, text, strlen(text), "test.json", &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    assert_non_null(v);
    return v;
}

static void expect_dump(const struct llem_value *v, enum llem_json_style style,
                        const char *expected)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);

    llem_json_dump(&b, v, style);
    assert_false(b.failed);
    assert_string_equal(b.data, expected);
    llem_buf_done(&b);
}

static void expect_refused(const char *text, size_t len, int line, int column, const char *part)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = NULL;
    llem_error err = { 0 };

    if (llem_json_parse(&a, &v, text, len, "bad.json", &err) != LLEM_ECORRUPT)
        fail_msg("'%.60s' was accepted", text);
    assert_null(v);
    assert_string_equal(err.file, "bad.json");
    assert_contains(err.msg, part);
    if (line >= 0) {
        assert_int_equal(err.line, line);
        assert_int_equal(err.column, column);
    }
    llem_arena_done(&a);
}

static const char document[] =
    "{\"b\": [1, 2.5, 1e22, -0.0, 0.1, true, false, null], \"a\": {\"z\": {}, "
    "\"l\": []}, \"\\u00e9\": \"\\u20ac \\ud83d\\ude00\"}";

static void four_styles(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = parse(&a, document);

    expect_dump(v, LLEM_JSON_COMPACT,
                "{\"b\":[1,2.5,1e+22,-0.0,0.1,true,false,null],\"a\":{\"z\":{},\"l\":[]},"
                "\"\xC3\xA9\":\"\xE2\x82\xAC \xF0\x9F\x98\x80\"}");
    expect_dump(v, LLEM_JSON_PYTHON,
                "{\"a\": {\"l\": [], \"z\": {}}, \"b\": [1, 2.5, 1e+22, -0.0, 0.1, true, false, "
                "null], \"\\u00e9\": \"\\u20ac \\ud83d\\ude00\"}");
    expect_dump(v, LLEM_JSON_CANON,
                "{\"a\":{\"l\":[],\"z\":{}},\"b\":[1,2.5,1e+22,0.0,0.1,true,false,null],"
                "\"\xC3\xA9\":\"\xE2\x82\xAC \xF0\x9F\x98\x80\"}");
    expect_dump(v, LLEM_JSON_PRETTY,
                "{\n  \"b\": [\n    1,\n    2.5,\n    1e+22,\n    -0.0,\n    0.1,\n    true,\n"
                "    false,\n    null\n  ],\n  \"a\": {\n    \"z\": {},\n    \"l\": []\n  },\n"
                "  \"\xC3\xA9\": \"\xE2\x82\xAC \xF0\x9F\x98\x80\"\n}");
    expect_dump(NULL, LLEM_JSON_COMPACT, "null");
    llem_arena_done(&a);
}

static void canonical_floats_have_twelve_digits(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    expect_dump(parse(&a, "[0.123456789012345, 0.1234567890123459]"), LLEM_JSON_CANON,
                "[0.123456789012,0.123456789012]");
    expect_dump(parse(&a, "[0.12345678901, 0.12345678902]"), LLEM_JSON_CANON,
                "[0.12345678901,0.12345678902]");
    expect_dump(parse(&a, "[1.0, 1, -0.0, 1e300, 1.7976931348623157e308, 5e-324]"), LLEM_JSON_CANON,
                "[1.0,1,0.0,1e+300,1.79769313486e+308,5e-324]");
    llem_arena_done(&a);
}

static void every_character_is_escaped_as_its_style_wants(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_string(&a, "\"\\/\b\f\n\r\t\x01\x1f\x7f~");

    expect_dump(v, LLEM_JSON_COMPACT, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f~\"");
    expect_dump(v, LLEM_JSON_PYTHON, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f~\"");
    expect_dump(llem_stringn(&a, "a\0b", 3), LLEM_JSON_COMPACT, "\"a\\u0000b\"");
    expect_dump(llem_string(&a, "\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"), LLEM_JSON_PYTHON,
                "\"\\uffff\\ud800\\udc00\\udbff\\udfff\"");
    llem_arena_done(&a);
}

static void text_that_is_not_utf8_becomes_valid_json(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    struct llem_value *m = llem_map(&a);
    struct llem_value *back;
    int style;

    llem_set(&a, m, "k\xFF", llem_string(&a, "a\xC3(\xED\xA0\x80z\xF0\x9F"));
    for (style = LLEM_JSON_COMPACT; style <= LLEM_JSON_CANON; style++) {
        llem_buf_clear(&b);
        llem_json_dump(&b, m, (enum llem_json_style)style);
        assert_true(llem_utf8_valid(b.data, b.len));
        back = parse(&a, b.data);
        assert_string_equal(
            llem_str_at(back, "k\xEF\xBF\xBD", ""),
            "a\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
    }
    llem_buf_done(&b);
    llem_arena_done(&a);
}

static void keys_sort_by_code_point(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    /* U+FFFF comes before U+10000, although its UTF-16 form would not. */
    expect_dump(
        parse(&a, "{\"\xF0\x90\x80\x80\":1,\"\xEF\xBF\xBF\":2,\"a\":3,\"B\":4,\"ab\":5,\"\":6}"),
        LLEM_JSON_CANON,
        "{\"\":6,\"B\":4,\"a\":3,\"ab\":5,\"\xEF\xBF\xBF\":2,\"\xF0\x90\x80\x80\":1}");
    llem_arena_done(&a);
}

static struct llem_value *some_tree(struct llem_arena *a, uint64_t *random, int depth)
{
    static const char *const texts[] = { "",        "plain",  "\xC3\xA9", "\xF0\x9F\x98\x80",
                                         "a\"b\\c", "\n\x7f", "key_1",    "\xE2\x80\xA8",
                                         "<&>",     "/" };
    uint64_t pick = next_random(random);
    struct llem_value *v;
    uint64_t bits, i;
    double d;

    switch (depth > 4 ? pick % 5 : pick % 7) {
    case 0:
        return llem_null(a);
    case 1:
        return llem_bool(a, pick >> 40 & 1);
    case 2:
        return llem_int(a, (int64_t)next_random(random) >> (pick >> 32) % 64);
    case 3:
        bits = next_random(random);
        memcpy(&d, &bits, sizeof(d));
        return llem_real(a, pick >> 41 & 1 ? d : (double)(bits % 100000) / 1000);
    case 4:
        return llem_string(a, texts[(pick >> 32) % LLEM_COUNT(texts)]);
    case 5:
        v = llem_list(a);
        for (i = 0; i < (pick >> 32) % 6; i++)
            llem_append(a, v, some_tree(a, random, depth + 1));
        return v;
    default:
        v = llem_map(a);
        for (i = 0; i < (pick >> 32) % 6; i++)
            llem_set(a, v, texts[next_random(random) % LLEM_COUNT(texts)],
                     some_tree(a, random, depth + 1));
        return v;
    }
}

static void trees_survive_the_round_trip_in_every_style(void **state)
{
    uint64_t random = random_seed();
    int i, style;

    for (i = 0; i < 2000; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_value *v = some_tree(&a, &random, 0);

        for (style = LLEM_JSON_COMPACT; style <= LLEM_JSON_PYTHON; style++) {
            struct llem_buf b = LLEM_BUF_INIT(1 << 20);

            llem_json_dump(&b, v, (enum llem_json_style)style);
            if (!llem_equal(v, parse(&a, b.data)))
                fail_msg("'%s' read back as something else", b.data);
            llem_buf_done(&b);
        }
        llem_arena_done(&a);
    }
}

static void the_python_style_is_what_python_writes(void **state)
{
    static const char script[] =
        "python3 -c 'import sys, json\n"
        "for l in open(sys.argv[1], encoding=\"utf-8\", newline=\"\\n\"):\n"
        "    l = l.rstrip(\"\\n\")\n"
        "    if json.dumps(json.loads(l), sort_keys=True) != l: sys.exit(l)' ";
    uint64_t random = random_seed();
    char command[1024];
    FILE *f;
    int i;

    if (system("python3 -c '' 2>/dev/null") != 0)
        SKIP("there is no python3");
    f = fopen(in_dir("trees"), "w");
    assert_non_null(f);
    for (i = 0; i < 2000; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_buf b = LLEM_BUF_INIT(1 << 20);

        llem_json_dump(&b, some_tree(&a, &random, 0), LLEM_JSON_PYTHON);
        fprintf(f, "%s\n", b.data);
        llem_buf_done(&b);
        llem_arena_done(&a);
    }
    fclose(f);
    snprintf(command, sizeof(command), "%s %s", script, in_dir("trees"));
    assert_int_equal(system(command), 0);
}

static void a_full_buffer_fails_the_dump(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = parse(&a, document);
    size_t max;
    int style;

    for (style = LLEM_JSON_COMPACT; style <= LLEM_JSON_CANON; style++) {
        for (max = 0;; max++) {
            struct llem_buf b = LLEM_BUF_INIT(max);
            bool failed;

            llem_json_dump(&b, v, (enum llem_json_style)style);
            failed = b.failed;
            assert_true(b.len <= max);
            llem_buf_done(&b);
            if (!failed)
                break;
        }
        assert_true(max > 60);
    }
    llem_arena_done(&a);
}

/* ---- in ----------------------------------------------------------------------------------- */

static void any_kind_may_be_the_root(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    assert_int_equal(parse(&a, " 7 ")->i, 7);
    assert_int_equal(parse(&a, "-9223372036854775808")->kind, LLEM_INT);
    assert_true(parse(&a, "1e2")->d == 100);
    assert_int_equal(parse(&a, "1e2")->kind, LLEM_REAL);
    assert_int_equal(parse(&a, "1.0")->kind, LLEM_REAL);
    assert_string_equal(parse(&a, "\"x\"")->s, "x");
    assert_int_equal(parse(&a, "null")->kind, LLEM_NULL);
    assert_int_equal(parse(&a, "[]")->count, 0);
    assert_string_equal(parse(&a, "\"\\ud83d\\ude00\\/\"")->s, "\xF0\x9F\x98\x80/");
    llem_arena_done(&a);
}

static void integers_of_every_length_are_read_and_written_as_they_are(void **state)
{
    uint64_t random = random_seed();
    char text[32], written[48];
    struct llem_buf b = LLEM_BUF_INIT(64);

    for (int i = 0; i < 20000; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        int64_t v = (int64_t)next_random(&random) >> (i % 64);

        snprintf(text, sizeof(text), "%lld", (long long)v);
        assert_true(parse(&a, text)->i == v);
        llem_json_dump(&b, llem_int(&a, v), LLEM_JSON_COMPACT);
        assert_string_equal(b.data, text);
        llem_buf_clear(&b);
        llem_arena_done(&a);
    }
    for (int digits = 20; digits < 40; digits++) {
        snprintf(written, sizeof(written), "1%0*d", digits - 1, 0);
        expect_refused(written, strlen(written), 1, 1, "too large");
    }
    llem_buf_done(&b);
}

static void errors_name_file_line_and_column(void **state)
{
    static const struct {
        const char *text;
        int line, column;
        const char *part;
    } all[] = {
        { "{\"a\": 1,\n \"a\": 2}", 2, 2, "\"a\" is there twice" },
        { "{\"b\": {\"a\": 1, \"c\": 2, \"\\u0061\": 3}}", 1, 24, "\"a\" is there twice" },
        { "{\"a\": 1,\n \"b\" 2}", 2, 6, "':' is expected, not '2}'" },
        { "[1, 2", 1, 6, "',' or ']' is expected, not the end of the text" },
        { "{\"a\": 1 \"b\": 2}", 1, 9, "',' or '}' is expected" },
        { "{\"a\": 1} x", 1, 10, "goes on with 'x'" },
        { "[1] [2]", 1, 5, "goes on with '[2]'" },
        { "\n\n  nul", 3, 3, "a value is expected, not 'nul'" },
        { "", 1, 1, "not the end of the text" },
        { "   ", 1, 4, "not the end of the text" },
        { "[1,]", 1, 4, "a value is expected, not ']'" },
        { "{\"a\": 1,}", 1, 9, "a key in double quotes" },
        { "[\"\xC3\xA9\xE2\x82\xAC\", \x01]", 1, 8, "a value is expected" },
        { "[\"ab\x02\"]", 1, 5, "control character" },
        { "[\"ab\xFF\"]", 1, 5, "not UTF-8" },
        { "[\"a\\qb\"]", 1, 4, "no such escape" },
        { "[\"a\\u12g4\"]", 1, 4, "four hexadecimal digits" },
        { "[\"a\\ud800x\"]", 1, 4, "surrogate" },
        { "[\"a\\u0000\"]", 1, 4, "not accepted" },
        { "[1, \"a", 1, 5, "never closed" },
        { "[1, \"a\\\"]", 1, 5, "never closed" },
        { "[1, 01]", 1, 5, "begin with 0" },
        { "[1.]", 1, 2, "digit must follow" },
        { "[1e]", 1, 2, "exponent" },
        { "[1e999]", 1, 2, "too large" },
        { "[9223372036854775808]", 1, 2, "too large" },
        { "[-9223372036854775809]", 1, 2, "too large" },
        { "[9999999999999999999]", 1, 2, "too large" },
        { "[-]", 1, 2, "a value is expected" },
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++)
        expect_refused(all[i].text, strlen(all[i].text), all[i].line, all[i].column, all[i].part);
}

static void hostile_documents_are_refused(void **state)
{
    static const char *const all[] = {
        "NaN",
        "[Infinity]",
        "-Infinity",
        "{\"a\": nan}",
        "1e999",
        "-1e999",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999999999999999999999999",
        "01",
        "+1",
        ".5",
        "5.",
        "0x10",
        "1e",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"",
        "\"\\u12\"",
        "\"\\x41\"",
        "\"\x01\"",
        "\"line\nbreak\"",
        "\"\xFF\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF5\x80\x80\x80\"",
        "\"\xC3",
        "{\"\xFF\": 1}",
        "\"\\u0000\"",
        "{\"a\\u0000b\": 1}",
        "'single'",
        "{a: 1}",
        "// comment\n1",
        "/* comment */ 1",
        "True",
        "[1 2]",
        "{\"a\"}",
        "{1: 2}",
        "\xEF\xBB\xBF{}",
        "\"open",
        "[\"a\", ",
        "{\"a\":",
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++)
        expect_refused(all[i], strlen(all[i]), -1, 0, "");
    expect_refused("1\0", 2, 1, 2, "goes on");
    expect_refused("[1,\n\0]", 6, 2, 1, "a value is expected");
    expect_refused("{}\0garbage", 10, 1, 3, "goes on");
    expect_refused("\0", 1, -1, 0, "");
    expect_refused("[1]\0", 4, -1, 0, "");
}

static void depth_is_limited(void **state)
{
    static const char *const opens[] = { "[", "{\"a\":" };
    static const char *const closes[] = { "]", "}" };
    static const int depths[] = { 1, 511, 512, 513, 2047, 2049, 100000 };
    size_t i, k;
    int j;

    for (k = 0; k < 2; k++) {
        for (i = 0; i < LLEM_COUNT(depths); i++) {
            struct llem_buf b = LLEM_BUF_INIT(1 << 24);
            struct llem_arena a = LLEM_ARENA_INIT;
            struct llem_value *v = NULL;
            llem_error err = { 0 };
            llem_errcode rc;

            for (j = 0; j < depths[i]; j++)
                llem_buf_adds(&b, opens[k]);
            llem_buf_addc(&b, '1');
            for (j = 0; j < depths[i]; j++)
                llem_buf_adds(&b, closes[k]);
            assert_false(b.failed);
            rc = llem_json_parse(&a, &v, b.data, b.len, "deep.json", &err);
            assert_int_equal(rc, depths[i] <= 512 ? LLEM_OK : LLEM_ECORRUPT);
            if (rc == LLEM_OK) {
                struct llem_buf out = LLEM_BUF_INIT(1 << 24);

                llem_json_dump(&out, v, LLEM_JSON_COMPACT);
                assert_string_equal(out.data, b.data);
                llem_buf_done(&out);
            }
            llem_arena_done(&a);

            /* Never closed. */
            rc = llem_json_parse(&a, &v, b.data, strlen(opens[k]) * (size_t)depths[i], "deep.json",
                                 &err);
            assert_int_equal(rc, LLEM_ECORRUPT);
            llem_buf_done(&b);
            llem_arena_done(&a);
        }
    }
}

static void a_map_of_many_keys_is_read_in_reasonable_time(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 26);
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    clock_t begin = clock();
    int i;

    llem_buf_addc(&b, '{');
    for (i = 0; i < 200000; i++)
        llem_buf_addf(&b, "%s\"token%d\":%d", i ? "," : "", i, i);
    llem_buf_addc(&b, '}');
    v = parse(&a, b.data);
    assert_int_equal(v->count, 200000);
    assert_string_equal(v->keys[199999], "token199999");
    llem_buf_clear(&b);
    llem_json_dump(&b, v, LLEM_JSON_PYTHON);
    assert_false(b.failed);
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20);
    llem_buf_done(&b);
    llem_arena_done(&a);
}

static void an_arena_without_room_is_out_of_memory_not_a_bad_file(void **state)
{
    struct llem_arena a = { .max = 600 };
    struct llem_value *v = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_json_parse(&a, &v, document, strlen(document), "x", &err), LLEM_ENOMEM);
    assert_null(v);
    assert_contains(err.msg, "out of memory");
    llem_arena_done(&a);
}

static void files_are_loaded_and_saved(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = parse(&a, document);
    struct llem_value *back = NULL;
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    llem_error err = { 0 };

    assert_int_equal(llem_json_save(in_dir("a.json"), v, &err), LLEM_OK);
    assert_int_equal(llem_json_load(&a, &back, in_dir("a.json"), 1 << 16, &err), LLEM_OK);
    assert_true(llem_equal(v, back));
    assert_int_equal(llem_file_read(&b, in_dir("a.json"), &err), LLEM_OK);
    assert_int_equal(b.data[b.len - 1], '\n');
    assert_int_equal(b.data[b.len - 2], '}');
    llem_buf_done(&b);

    assert_int_equal(llem_json_load(&a, &back, in_dir("a.json"), 20, &err), LLEM_ECORRUPT);
    assert_contains(err.msg, "a.json");
    assert_int_equal(llem_json_load(&a, &back, in_dir("none.json"), 20, &err), LLEM_ENOTFOUND);
    assert_contains(err.msg, "none.json");
    put_file(in_dir("bad.json"), "{\n  \"a\": 01\n}\n");
    assert_int_equal(llem_json_load(&a, &back, in_dir("bad.json"), 1000, &err), LLEM_ECORRUPT);
    assert_string_equal(err.file, in_dir("bad.json"));
    assert_int_equal(err.line, 2);
    assert_int_equal(llem_json_save("/nonexistent/dir/x.json", v, &err), LLEM_ENOTFOUND);
    llem_arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_styles),
        cmocka_unit_test(canonical_floats_have_twelve_digits),
        cmocka_unit_test(every_character_is_escaped_as_its_style_wants),
        cmocka_unit_test(text_that_is_not_utf8_becomes_valid_json),
        cmocka_unit_test(keys_sort_by_code_point),
        cmocka_unit_test(trees_survive_the_round_trip_in_every_style),
        cmocka_unit_test(the_python_style_is_what_python_writes),
        cmocka_unit_test(a_full_buffer_fails_the_dump),
        cmocka_unit_test(any_kind_may_be_the_root),
        cmocka_unit_test(integers_of_every_length_are_read_and_written_as_they_are),
        cmocka_unit_test(errors_name_file_line_and_column),
        cmocka_unit_test(hostile_documents_are_refused),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(a_map_of_many_keys_is_read_in_reasonable_time),
        cmocka_unit_test(an_arena_without_room_is_out_of_memory_not_a_bad_file),
        cmocka_unit_test(files_are_loaded_and_saved),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
