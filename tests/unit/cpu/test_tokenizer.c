/* SPDX-License-Identifier: MIT
 *
 * Token ids against the golden ids of the `tokenizers` package, and refusals of damaged or unknown
 * tokenizers.
 */
#include <zstd.h>

#include "tests/unit/cpu/cpu_test.h"

static struct llem_buf unpack(const char *rel)
{
    struct llem_buf packed, out;
    unsigned long long size;

    read_file(&packed, data_path(rel));
    size = ZSTD_getFrameContentSize(packed.data, packed.len);
    assert_true(size < (64u << 20));
    llem_buf_init(&out, SIZE_MAX / 2);
    assert_non_null(llem_buf_grow(&out, size));
    assert_int_equal(ZSTD_decompress(out.data, size, packed.data, packed.len), size);
    llem_buf_done(&packed);
    return out;
}

static struct cpu_tokenizer *load(const char *rel)
{
    struct cpu_tokenizer *t = NULL;
    llem_error err = { 0 };

    if (cpu_tokenizer_load(&t, data_path(rel), &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

static void check_golden(const char *tokenizer, const char *golden)
{
    struct cpu_tokenizer *t = load(tokenizer);
    struct llem_buf lines = unpack("golden/tokens.lines.zst"), want = unpack(golden);
    const uint8_t *w = (const uint8_t *)want.data;
    const char *text = lines.data;
    struct cpu_ids ids = { 0 };
    llem_error err = { 0 };
    size_t line, i;

    for (line = 0; text < lines.data + lines.len; line++) {
        size_t len = strlen(text), n = (size_t)(w[0] | w[1] << 8);
        bool same;

        ids.count = 0;
        if (cpu_tokenizer_encode(t, text, len, false, &ids, &err) < 0)
            fail_msg("line %zu: %s", line, err.msg);
        w += 2;
        same = ids.count == n;
        for (i = 0; same && i < n; i++)
            same = ids.ids[i] == (w[2 * i] | w[2 * i + 1] << 8);
        if (!same)
            fail_msg("line %zu (kind %zu) differs: %zu ids for %zu: '%s'", line, line % 18,
                     ids.count, n, text);
        w += 2 * n;
        text += len + 1;
    }
    assert_int_equal(line, 10000);
    assert_ptr_equal(w, want.data + want.len);
    free(ids.ids);
    llem_buf_done(&lines);
    llem_buf_done(&want);
    cpu_tokenizer_free(t);
}

static void gpt2_ids_equal_the_golden_ids_of_10000_lines(void **state)
{
    check_golden("tokenizers/gpt2.json", "golden/tokens.gpt2.ids.zst");
}

static void llama3_ids_equal_the_golden_ids_of_10000_lines(void **state)
{
    check_golden("tokenizers/llama3.json", "golden/tokens.llama3.ids.zst");
}

static void qwen2_ids_equal_the_golden_ids_of_10000_lines(void **state)
{
    check_golden("tokenizers/qwen2.json", "golden/tokens.qwen2.ids.zst");
}

/* Ids of texts and random ones, of special tokens and of none, whose bytes are often no UTF-8. */
static void check_decoded(const char *name)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct cpu_tokenizer *t;
    struct llem_value *cases;
    struct cpu_ids ids = { 0 };
    struct llem_buf text;
    llem_error err = { 0 };
    char rel[64];

    snprintf(rel, sizeof(rel), "tokenizers/%s.json", name);
    t = load(rel);
    snprintf(rel, sizeof(rel), "golden/decoded.%s.json", name);
    if (llem_json_load(&a, &cases, data_path(rel), 1 << 24, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(cases->count, 400);
    llem_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < cases->count; i++) {
        const struct llem_value *want = llem_get(cases->items[i], "text");
        const struct llem_value *list = llem_get(cases->items[i], "ids");

        ids.count = 0;
        for (size_t j = 0; j < list->count; j++)
            assert_true(cpu_ids_add(&ids, (int32_t)list->items[j]->i));
        llem_buf_clear(&text);
        assert_int_equal(cpu_tokenizer_decode(t, ids.ids, ids.count, &text, &err), LLEM_OK);
        if (text.len != want->len || memcmp(text.data, want->s, want->len) != 0)
            fail_msg("%s, case %zu: '%s' for '%s'", name, i, text.data, want->s);
    }
    llem_buf_done(&text);
    free(ids.ids);
    cpu_tokenizer_free(t);
    llem_arena_done(&a);
}

static void ids_become_the_text_that_the_tokenizers_package_makes_of_them(void **state)
{
    check_decoded("gpt2");
    check_decoded("llama3");
    check_decoded("qwen2");
}

static void merges_as_pairs_and_as_strings_mean_the_same(void **state)
{
    static const char text[] = "What is the energy of 250 watts for 4 seconds?";
    struct cpu_tokenizer *a = load("models/llama/tokenizer.json"),
                         *b = load("models/llama-v5/tokenizer.json");
    struct cpu_ids x = { 0 }, y = { 0 };

    assert_int_equal(cpu_tokenizer_encode(a, text, strlen(text), true, &x, NULL), LLEM_OK);
    assert_int_equal(cpu_tokenizer_encode(b, text, strlen(text), true, &y, NULL), LLEM_OK);
    assert_true(x.count > 5);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.ids, y.ids, x.count * sizeof(int32_t));
    free(x.ids);
    free(y.ids);
    cpu_tokenizer_free(a);
    cpu_tokenizer_free(b);
}

static void the_post_processor_frames_the_text(void **state)
{
    struct cpu_tokenizer *t = load("tokenizers/llama3.json");
    struct cpu_ids with = { 0 }, without = { 0 };

    assert_int_equal(cpu_tokenizer_encode(t, "Hello", 5, true, &with, NULL), LLEM_OK);
    assert_int_equal(cpu_tokenizer_encode(t, "Hello", 5, false, &without, NULL), LLEM_OK);
    assert_int_equal(with.count, without.count + 1);
    assert_int_equal(with.ids[0], 2000);
    assert_memory_equal(with.ids + 1, without.ids, without.count * sizeof(int32_t));
    free(with.ids);
    free(without.ids);
    cpu_tokenizer_free(t);
}

/* A tokenizer of four letters, in which every part but what a test says is plain. */
#define TINY(normalizer, pre, post, added, vocab, merges, more)                                    \
    "{\"added_tokens\":[" added "],\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre           \
    ",\"post_processor\":" post ",\"model\":{\"type\":\"BPE\"," more "\"vocab\":{" vocab           \
    "},\"merges\":[" merges "]}}"
#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define ABC                                                                                        \
    "\"a\":0,\"b\":1,\"c\":2,\"\xc4\xa0\":3,\"ab\":4,\"abc\":5,\"\xc4\xa0"                         \
    "a\":6"
#define MERGES "\"a b\",\"ab c\",\"\xc4\xa0 a\""

static void check_ids(const char *json, const char *text, const char *want)
{
    struct cpu_tokenizer *t = NULL;
    struct cpu_ids ids = { 0 };
    char got[512] = "";
    llem_error err = { 0 };
    size_t i;

    if (cpu_tokenizer_parse(&t, json, strlen(json), "tokenizer.json", &err) < 0)
        fail_msg("%s", err.msg);
    if (cpu_tokenizer_encode(t, text, strlen(text), true, &ids, &err) < 0)
        fail_msg("%s", err.msg);
    for (i = 0; i < ids.count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), i ? " %d" : "%d", ids.ids[i]);
    assert_string_equal(got, want);
    free(ids.ids);
    cpu_tokenizer_free(t);
}

static void the_lowest_rank_merges_first_and_then_the_leftmost(void **state)
{
    check_ids(TINY("null", BYTES, "null", "", ABC, MERGES, ""), "abcab aab", "5 4 6 4");
    check_ids(TINY("null", BYTES, "null", "", ABC ",\"bc\":7", "\"b c\",\"a b\"", ""), "abcab",
              "0 7 4");
    check_ids(TINY("null", BYTES, "null", "", "\"a\":0,\"aa\":1", "\"a a\"", ""), "aaaaa", "1 1 0");
}

static void unknown_bytes_are_dropped_or_become_the_unknown_token(void **state)
{
    check_ids(TINY("null", BYTES, "null", "", ABC, MERGES, ""), "axcxb", "0 2 1");
    check_ids(TINY("null", BYTES, "null", "", ABC ",\"?\":9", MERGES, "\"unk_token\":\"?\","),
              "axxb", "0 9 9 1");
    check_ids(TINY("null", BYTES, "null", "", ABC ",\"?\":9", MERGES,
                   "\"unk_token\":\"?\",\"fuse_unk\":true,"),
              "axxb", "0 9 1");
}

static void ignore_merges_takes_a_word_of_the_vocabulary_whole(void **state)
{
    check_ids(TINY("null", BYTES, "null", "", ABC ",\"cba\":9", MERGES, ""), "cba", "2 1 0");
    check_ids(TINY("null", BYTES, "null", "", ABC ",\"cba\":9", MERGES, "\"ignore_merges\":true,"),
              "cba", "9");
}

#define ADDED(flags) "{\"id\":90,\"content\":\"<x>\",\"special\":true" flags "}"

static void added_tokens_are_found_before_anything_else(void **state)
{
    check_ids(TINY("null", BYTES, "null", ADDED(""), ABC, MERGES, ""), "a<x>b <x>", "0 90 1 3 90");
    check_ids(TINY("null", BYTES, "null", ADDED(",\"lstrip\":true"), ABC, MERGES, ""), "a  <x> b",
              "0 90 3 1");
    check_ids(TINY("null", BYTES, "null", ADDED(",\"rstrip\":true"), ABC, MERGES, ""),
              "a <x>\xc2\xa0 b", "0 3 90 1");
    check_ids(TINY("null", BYTES, "null", ADDED(",\"single_word\":true"), ABC, MERGES, ""),
              "a<x> <x> <x>b", "0 3 90 3 1");
    check_ids(TINY("null", BYTES, "null",
                   "{\"id\":91,\"content\":\"ab\"},{\"id\":92,\"content\":\"abc\"}", ABC, MERGES,
                   ""),
              "ababcab", "91 92 91");
}

#define SPLIT(pattern, behavior, invert)                                                           \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":" pattern           \
    ",\"behavior\":\"" behavior "\",\"invert\":" invert                                            \
    "},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define PAIRS "\"a\":0,\"b\":1,\"ab\":2,\"ba\":3,\"bb\":4,\"aa\":5"
#define ALL "\"b b\",\"a a\",\"a b\",\"b a\""

static void a_split_does_with_matches_what_its_behavior_says(void **state)
{
    check_ids(
        TINY("null", SPLIT("{\"String\":\"b\"}", "Isolated", "false"), "null", "", PAIRS, ALL, ""),
        "abbaa", "0 1 1 5");
    check_ids(
        TINY("null", SPLIT("{\"String\":\"b\"}", "Removed", "false"), "null", "", PAIRS, ALL, ""),
        "abbaa", "0 5");
    check_ids(
        TINY("null", SPLIT("{\"String\":\"b\"}", "Removed", "true"), "null", "", PAIRS, ALL, ""),
        "abbaa", "1 1");
    check_ids(
        TINY("null", SPLIT("{\"Regex\":\"b\"}", "Contiguous", "false"), "null", "", PAIRS, ALL, ""),
        "abbaa", "0 4 5");
    check_ids(TINY("null", SPLIT("{\"Regex\":\"b\"}", "MergedWithPrevious", "false"), "null", "",
                   PAIRS, ALL, ""),
              "abbaa", "2 1 5");
    check_ids(TINY("null", SPLIT("{\"Regex\":\"b\"}", "MergedWithNext", "false"), "null", "", PAIRS,
                   ALL, ""),
              "abbab", "0 1 3 1");
}

static void a_prefix_space_is_put_before_each_piece_that_has_none(void **state)
{
    check_ids(TINY("null", "{\"type\":\"ByteLevel\",\"use_regex\":true}", "null", ADDED(""), ABC,
                   MERGES, ""),
              "a<x>b a", "6 90 3 1 6");
}

static void nfc_composes_reorders_and_leaves_exclusions(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "plain", "plain" },
        { "e\xcc\x81", "\xc3\xa9" },                                /* e + acute */
        { "a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81" },            /* marks change places */
        { "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81" }, /* Hangul L V T */
        { "\xe2\x84\xab", "\xc3\x85" },                             /* Angstrom sign */
        { "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc" },             /* excluded from composition */
        { "\xcc\x81"
          "e",
          "\xcc\x81"
          "e" },                                                    /* a mark with nothing before */
        { "e\xcc\x81\xcc\x81", "\xc3\xa9\xcc\x81" },                /* the second stays */
        { "\xf0\x9d\x85\x9e", "\xf0\x9d\x85\x97\xf0\x9d\x85\xa5" }, /* musical symbol half note */
    };
    struct llem_buf out;
    size_t i;

    llem_buf_init(&out, 1 << 20);
    for (i = 0; i < LLEM_COUNT(cases); i++) {
        llem_buf_clear(&out);
        cpu_nfc(&out, cases[i].in, strlen(cases[i].in));
        assert_string_equal(out.data, cases[i].out);
    }
    llem_buf_done(&out);
}

static void a_very_long_word_takes_no_quadratic_time(void **state)
{
    struct cpu_tokenizer *t = load("tokenizers/qwen2.json");
    size_t len = 2u << 20, i;
    char *text = malloc(len);
    struct cpu_ids ids = { 0 };

    assert_non_null(text);
    for (i = 0; i < len; i++)
        text[i] = (char)('a' + (i * i + i / 7) % 26);
    assert_int_equal(cpu_tokenizer_encode(t, text, len, true, &ids, NULL), LLEM_OK);
    assert_true(ids.count > len / 20);
    /* Marks of two classes in turn, which normalisation sorts. */
    for (i = 0; i + 4 <= len; i += 4)
        memcpy(text + i, "\xcc\x81\xcc\xa3", 4);
    ids.count = 0;
    assert_int_equal(cpu_tokenizer_encode(t, text, len, true, &ids, NULL), LLEM_OK);
    assert_true(ids.count > 0);
    free(ids.ids);
    free(text);
    cpu_tokenizer_free(t);
}

static void what_is_damaged_or_unknown_is_refused_in_one_sentence(void **state)
{
    static const struct {
        const char *json, *about;
    } cases[] = {
        { "", "tokenizer.json" },
        { "[]", "model" },
        { "{\"model\":null}", "model" },
        { "{\"model\":{\"type\":\"BPE\"}}", "vocabulary" },
        { TINY("null", BYTES, "null", "", "", "", ""), "vocabulary" },
        { TINY("null", BYTES, "null", "", ABC, "\"a z\"", ""), "merge 0 refers to 'z'" },
        { TINY("null", BYTES, "null", "", ABC, "[\"a\",\"c\"]", ""), "makes 'ac'" },
        { TINY("null", BYTES, "null", "", ABC, "\"ab\"", ""), "no space" },
        { TINY("null", BYTES, "null", "", ABC, "[\"a\"]", ""), "merge 0" },
        { TINY("null", BYTES, "null", "", "\"a\":-1", "", ""), "'a'" },
        { TINY("null", BYTES, "null", "", "\"a\":1e99", "", ""), "'a'" },
        { TINY("null", BYTES, "null", "", "\"a\":0,\"a\":1", "", ""), "\"a\"" },
        { TINY("null", "null", "null", "", ABC, MERGES, ""), "pre_tokenizer" },
        { TINY("null", "{\"type\":\"Metaspace\"}", "null", "", ABC, MERGES, ""), "Metaspace" },
        { TINY("{\"type\":\"Lowercase\"}", BYTES, "null", "", ABC, MERGES, ""), "Lowercase" },
        { TINY("null", BYTES, "{\"type\":\"BertProcessing\"}", "", ABC, MERGES, ""),
          "BertProcessing" },
        { TINY("null", SPLIT("{\"Regex\":\"(\"}", "Isolated", "false"), "null", "", ABC, MERGES,
               ""),
          "regular expression" },
        { TINY("null", SPLIT("{\"Regex\":\"[a&&b]\"}", "Isolated", "false"), "null", "", ABC,
               MERGES, ""),
          "Oniguruma" },
        { TINY("null", SPLIT("{\"Regex\":\"a\"}", "Sideways", "false"), "null", "", ABC, MERGES,
               ""),
          "Sideways" },
        { TINY("null", SPLIT("null", "Isolated", "false"), "null", "", ABC, MERGES, ""),
          "pattern" },
        { TINY("null", BYTES, "{\"type\":\"TemplateProcessing\",\"single\":[]}", "", ABC, MERGES,
               ""),
          "TemplateProcessing" },
        { TINY("null", BYTES,
               "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}}]}",
               "", ABC, MERGES, ""),
          "'s'" },
        { TINY("null", BYTES, "null", "{\"id\":-4,\"content\":\"x\"}", ABC, MERGES, ""),
          "added token 0" },
        { TINY("null", BYTES, "null", "", ABC, MERGES, "\"dropout\":0.5,"), "dropout" },
        { TINY("null", BYTES, "null", "", ABC, MERGES, "\"unk_token\":\"zz\","), "zz" },
        { TINY("null", BYTES, "null", "", ABC, MERGES, "\"end_of_word_suffix\":\"</w>\","),
          "end_of_word_suffix" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "Unigram" },
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(cases); i++) {
        struct cpu_tokenizer *t = NULL;
        llem_error err = { 0 };
        llem_errcode rc =
            cpu_tokenizer_parse(&t, cases[i].json, strlen(cases[i].json), "tokenizer.json", &err);

        assert_sentence(rc, &err, cases[i].about);
        assert_null(t);
    }
}

static void deep_nesting_is_refused(void **state)
{
    struct llem_buf b;
    struct cpu_tokenizer *t = NULL;
    llem_error err = { 0 };
    int i;

    llem_buf_init(&b, 1 << 24);
    for (i = 0; i < 100000; i++)
        llem_buf_addc(&b, '[');
    assert_sentence(cpu_tokenizer_parse(&t, b.data, b.len, "tokenizer.json", &err), &err,
                    "tokenizer.json");
    llem_buf_clear(&b);
    llem_buf_adds(&b, "{\"model\":{\"vocab\":{" ABC "},\"merges\":[]},\"pre_tokenizer\":");
    for (i = 0; i < 100; i++)
        llem_buf_adds(&b, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    llem_buf_adds(&b, BYTES);
    for (i = 0; i < 100; i++)
        llem_buf_adds(&b, "]}");
    llem_buf_adds(&b, "}");
    assert_sentence(cpu_tokenizer_parse(&t, b.data, b.len, "tokenizer.json", &err), &err,
                    "Sequence");
    llem_buf_done(&b);
}

static void a_pattern_that_explodes_gives_up_with_a_sentence(void **state)
{
    static const char json[] =
        TINY("null", SPLIT("{\"Regex\":\"(a|aa)+[^a]\"}", "Isolated", "false"), "null", "", ABC,
             MERGES, "");
    struct cpu_tokenizer *t = NULL;
    struct cpu_ids ids = { 0 };
    char text[4096];
    llem_error err = { 0 };

    assert_int_equal(cpu_tokenizer_parse(&t, json, strlen(json), "tokenizer.json", &err), LLEM_OK);
    memset(text, 'a', sizeof(text));
    assert_sentence(cpu_tokenizer_encode(t, text, sizeof(text), true, &ids, &err), &err, "gave up");
    free(ids.ids);
    cpu_tokenizer_free(t);
}

static void a_text_that_is_not_utf8_is_refused(void **state)
{
    struct cpu_tokenizer *t = load("tokenizers/gpt2.json");
    struct cpu_ids ids = { 0 };
    llem_error err = { 0 };

    assert_sentence(cpu_tokenizer_encode(t, "a\xff", 2, true, &ids, &err), &err, "UTF-8");
    assert_int_equal(cpu_tokenizer_encode(t, "", 0, true, &ids, &err), LLEM_OK);
    assert_int_equal(ids.count, 0);
    free(ids.ids);
    cpu_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_ids_equal_the_golden_ids_of_10000_lines),
        cmocka_unit_test(llama3_ids_equal_the_golden_ids_of_10000_lines),
        cmocka_unit_test(qwen2_ids_equal_the_golden_ids_of_10000_lines),
        cmocka_unit_test(ids_become_the_text_that_the_tokenizers_package_makes_of_them),
        cmocka_unit_test(merges_as_pairs_and_as_strings_mean_the_same),
        cmocka_unit_test(the_post_processor_frames_the_text),
        cmocka_unit_test(the_lowest_rank_merges_first_and_then_the_leftmost),
        cmocka_unit_test(unknown_bytes_are_dropped_or_become_the_unknown_token),
        cmocka_unit_test(ignore_merges_takes_a_word_of_the_vocabulary_whole),
        cmocka_unit_test(added_tokens_are_found_before_anything_else),
        cmocka_unit_test(a_split_does_with_matches_what_its_behavior_says),
        cmocka_unit_test(a_prefix_space_is_put_before_each_piece_that_has_none),
        cmocka_unit_test(nfc_composes_reorders_and_leaves_exclusions),
        cmocka_unit_test(a_very_long_word_takes_no_quadratic_time),
        cmocka_unit_test(what_is_damaged_or_unknown_is_refused_in_one_sentence),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_pattern_that_explodes_gives_up_with_a_sentence),
        cmocka_unit_test(a_text_that_is_not_utf8_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
