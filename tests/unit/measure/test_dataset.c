/* SPDX-License-Identifier: MIT
 *
 * Datasets: every source and format, the order of prompts, and files that are wrong in some way.
 */
#include "tests/unit/measure/help.h"

#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/random.h"

static llem_ctx *ctx;
static struct llem_arena arena;
static struct llem_dataset d;
static llem_error err;
static char dir[64];
static struct llem_value *model_config; /* NULL: not known */

static int begin(void **state)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .data_dir = dir };

    snprintf(dir, sizeof(dir), "/tmp/llem-dataset-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    memset(&err, 0, sizeof(err));
    model_config = NULL;
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    return llem_ctx_new(&ctx, &opts, &err) == LLEM_OK ? 0 : -1;
}

static int end(void **state)
{
    llem_ctx_free(ctx);
    llem_arena_done(&arena);
    return llem_remove_tree(dir, NULL) == LLEM_OK ? 0 : -1;
}

/* <dir>/name with this text; good until the next call. */
static const char *put(const char *name, const char *text)
{
    static char path[256];
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
    return path;
}

static llem_errcode load(const char *source, int64_t count, const char *order, int64_t seed)
{
    const struct llem_dataset_request want = { .source = source,
                                               .order = order,
                                               .count = count,
                                               .seed = seed,
                                               .input_tokens = 7,
                                               .model_config = model_config };

    memset(&d, 0, sizeof(d));
    return llem_dataset_load(&d, ctx, &arena, &want, &err);
}

static void loads(const char *source, int64_t count)
{
    if (load(source, count, "interleaved", 42) != LLEM_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(d.count, count);
}

static void has(const char *const *texts)
{
    for (size_t i = 0; i < d.count; i++)
        assert_string_equal(d.prompts[i].text, texts[i]);
}

/* ---- formats ------------------------------------------------------------------------------ */

static void json_lines_take_the_first_text_there_is(void **state)
{
    const char *path = put("p.jsonl", "{\"_provenance\": \"somewhere\", \"prompt\": \"not me\"}\n"
                                      "\n"
                                      "{\"prompt\": \"  one \"}\r\n"
                                      "{\"prompt\": \"  \", \"text\": \"two\"}\n"
                                      "{\"question\": \"three\", \"n\": 3}\n"
                                      "{\"input\": 4, \"instruction\": \"four\"}\n"
                                      "\"five\"");

    loads(path, 5);
    has((const char *const[]){ "one", "two", "three", "four", "five" });
    assert_int_equal(d.available, 5);
    assert_string_equal(d.path, path);
}

static void a_json_list_holds_texts_or_objects(void **state)
{
    loads(put("p.json", "[\"one\", {\"prompt\": \"two\"}]"), 2);
    has((const char *const[]){ "one", "two" });
    loads(put("q.json", "{\"licence\": \"MIT\", \"prompts\": [\"one\", \"two\"]}"), 2);
    has((const char *const[]){ "one", "two" });
}

static void a_text_file_has_a_prompt_a_line(void **state)
{
    loads(put("p.txt", "\xef\xbb\xbfone\r\n\n  two words \nthree"), 3);
    has((const char *const[]){ "one", "two words", "three" });
}

static void csv_knows_quotes_newlines_and_its_columns(void **state)
{
    loads(put("p.csv", "id,prompt,source\r\n"
                       "1,\"a \"\"quoted\"\" one, with comma\",x\r\n"
                       "2,\"two\nlines\",y\r\n"
                       "\r\n"
                       "3,plain,x\r\n"),
          3);
    has((const char *const[]){ "a \"quoted\" one, with comma", "two\nlines", "plain" });
    assert_int_equal(llem_int_at(d.kinds, "x", 0), 2);
    assert_int_equal(llem_int_at(d.kinds, "y", 0), 1);
}

/* ---- order -------------------------------------------------------------------------------- */

static const char five[] =
    "{\"prompt\": \"1\", \"source\": \"b\"}\n{\"prompt\": \"2\", \"source\": \"a\"}\n"
    "{\"prompt\": \"3\"}\n{\"prompt\": \"4\", \"source\": \"b\"}\n"
    "{\"prompt\": \"5\", \"kind\": \"a\"}\n";

static void interleaved_is_the_order_of_the_file(void **state)
{
    loads(put("p.jsonl", five), 3);
    has((const char *const[]){ "1", "2", "3" });
}

static void grouped_is_stable_and_begins_with_those_without_a_source(void **state)
{
    assert_int_equal(load(put("p.jsonl", five), 5, "grouped", 42), LLEM_OK);
    has((const char *const[]){ "3", "2", "5", "1", "4" });
}

static void shuffled_is_pythons_shuffle(void **state)
{
    /* random.Random(seed).shuffle() of five items, known from CPython */
    assert_int_equal(load(put("p.jsonl", five), 5, "shuffled", 1), LLEM_OK);
    has((const char *const[]){ "3", "4", "5", "1", "2" });
    assert_int_equal(load(put("p.jsonl", five), 5, "shuffled", 999), LLEM_OK);
    has((const char *const[]){ "3", "5", "2", "4", "1" });
    assert_int_equal(load(put("p.jsonl", five), 3, "shuffled", 42), LLEM_OK);
    has((const char *const[]){ "4", "2", "3" });
}

static void a_second_shuffle_goes_on_where_the_first_ended(void **state)
{
    static const uint32_t second[] = { 1, 3, 2, 5, 4 };
    struct llem_mt19937 r;
    uint32_t order[5];

    llem_mt19937_init(&r, 1);
    llem_mt19937_shuffle(&r, order, 5);
    llem_mt19937_shuffle(&r, order, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(order[i] + 1, second[i]);
}

static void the_generator_is_the_mersenne_twister(void **state)
{
    struct llem_mt19937 r;

    /* init_by_array({5489}), as random.Random(5489).getrandbits(32) */
    llem_mt19937_init(&r, 5489);
    assert_int_equal(llem_mt19937_next(&r), 3382763572u);
    llem_mt19937_init(&r, -5489); /* the magnitude counts */
    assert_int_equal(llem_mt19937_next(&r), 3382763572u);
    llem_mt19937_init(&r, (INT64_C(1) << 40) + 3); /* two words */
    assert_int_equal(llem_mt19937_next(&r), 943978446u);
}

/* ---- hashes ------------------------------------------------------------------------------- */

static void the_hash_is_of_the_chosen_texts_each_with_its_nul(void **state)
{
    char hex[65];

    loads(put("p.txt", "one\ntwo\nthree\n"), 2);
    llem_sha256_of("one\0two", 8, hex);
    assert_string_equal(d.sha256, hex);
}

/* ---- random ------------------------------------------------------------------------------- */

static void random_ids_are_of_the_vocabulary_and_repeat_with_the_seed(void **state)
{
    char first[65] = "";
    int32_t most = 0;

    model_config = llem_map(&arena);
    llem_set(&arena, model_config, "vocab_size", llem_int(&arena, 11));
    loads("random", 50);
    snprintf(first, sizeof(first), "%s", d.sha256);
    for (size_t i = 0; i < d.count; i++) {
        assert_null(d.prompts[i].text);
        assert_int_equal(d.prompts[i].n_ids, 7);
        for (size_t k = 0; k < 7; k++) {
            assert_in_range(d.prompts[i].ids[k], 0, 10);
            if (d.prompts[i].ids[k] > most)
                most = d.prompts[i].ids[k];
        }
    }
    assert_int_equal(most, 10);
    loads("random", 50);
    assert_string_equal(d.sha256, first);
    assert_int_equal(load("random", 50, "interleaved", 43), LLEM_OK);
    assert_string_not_equal(d.sha256, first);
}

static void random_needs_a_length(void **state)
{
    const struct llem_dataset_request want = { .source = "random", .order = "", .count = 1 };

    assert_int_equal(llem_dataset_load(&d, ctx, &arena, &want, &err), LLEM_ECONFIG);
    assert_contains(err.msg, "task.dataset.input_tokens");
}

/* ---- named sources ------------------------------------------------------------------------ */

static void builtin_comes_from_the_data_directory(void **state)
{
    assert_int_equal(load("builtin", 1, "interleaved", 0), LLEM_ENOTFOUND);
    assert_contains(err.msg, "datasets/builtin.jsonl");
    put("datasets/builtin.jsonl", "{\"prompt\": \"hello\"}\n");
    loads("builtin", 1);
    has((const char *const[]){ "hello" });
}

static void the_builtin_prompts_are_a_hundred_of_several_kinds(void **state)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/examples/prompts.jsonl", getenv("LLEM_TEST_SOURCE_DIR"));
    loads(path, 100);
    assert_int_equal(d.available, 100);
    assert_true(d.kinds->count >= 3);
}

static void a_missing_default_dataset_names_the_builtin_one(void **state)
{
    char cache[128];

    snprintf(cache, sizeof(cache), "%s/hub", dir);
    setenv("HF_HUB_CACHE", cache, 1);
    assert_int_equal(load("aienergyscore", 1, "interleaved", 0), LLEM_ENOTFOUND);
    assert_contains(err.msg, "not on this machine");
    assert_contains(err.hint, "-d builtin");
}

static const char *golden(const char *name)
{
    static char path[1024];

    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/parquet/%s.parquet",
             getenv("LLEM_TEST_SOURCE_DIR"), name);
    return path;
}

/* As it is published: Parquet, a column `text`. */
static void the_default_dataset_is_read_as_it_is_published(void **state)
{
    char home[128], to[256];
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);

    assert_int_equal(llem_file_read(&b, golden("aienergyscore"), &err), LLEM_OK);
    snprintf(to, sizeof(to), "%s",
             put("hf/hub/datasets--AIEnergyScore--text_generation/snapshots/"
                 "abc/data/train-00000-of-00001.parquet",
                 ""));
    assert_int_equal(llem_file_write(to, b.data, b.len, &err), LLEM_OK);
    llem_buf_done(&b);
    put("hf/hub/datasets--AIEnergyScore--text_generation/snapshots/abc/README.md", "words");
    snprintf(home, sizeof(home), "%s/hf", dir);
    setenv("HF_HOME", home, 1);
    loads("aienergyscore", 2);
    has((const char *const[]){ "Prompt number 0 of a thousand.",
                               "Prompt number 1 of a thousand." });
    assert_int_equal(d.available, 1000);
    assert_string_equal(d.path, to);
}

static void parquet_columns_are_chosen_as_keys_are(void **state)
{
    /* `prompt` is null in the first row and blank in the second, where `text` counts. */
    loads(golden("columns"), 3);
    has((const char *const[]){ "row 0 \xc3\xa9", "same", "prompt wins" });
    assert_int_equal(llem_int_at(d.kinds, "wiki", 0), 1);
    assert_int_equal(llem_int_at(d.kinds, "chat", 0), 1);
    assert_int_equal(load(golden("v1-snappy"), 1, "interleaved", 0), LLEM_ECORRUPT);
    assert_contains(err.msg, "record 4 has no text under prompt, text,");
    loads(golden("plain-required"), 3);
    has((const char *const[]){ "row 0 \xc3\xa9", "same", "same" });
    assert_int_equal(load(golden("plain-required"), 22, "interleaved", 0), LLEM_ECONFIG);
    assert_contains(err.msg, "has 21");
    assert_int_equal(load(golden("no-rows"), 1, "interleaved", 0), LLEM_ECONFIG);
    assert_contains(err.msg, "has 0");
    assert_int_equal(load(golden("numbers-only"), 1, "interleaved", 0), LLEM_ECORRUPT);
    assert_contains(err.msg, "has no text column prompt, text, instruction, input or question: its "
                             "columns are id (no text), text (no text)");
    assert_int_equal(load(golden("not-utf8"), 1, "interleaved", 0), LLEM_ECORRUPT);
    assert_contains(err.msg, "record 2 is no UTF-8 text");
}

static void the_default_dataset_is_found_in_the_hub_cache(void **state)
{
    char home[128];

    put("hf/hub/datasets--AIEnergyScore--text_generation/snapshots/abc/README.md", "words");
    put("hf/hub/datasets--AIEnergyScore--text_generation/snapshots/abc/data/b.jsonl",
        "{\"prompt\": \"second\"}\n");
    put("hf/hub/datasets--AIEnergyScore--text_generation/snapshots/abc/data/a.jsonl",
        "{\"prompt\": \"first\"}\n");
    snprintf(home, sizeof(home), "%s/hf", dir);
    setenv("HF_HOME", home, 1);
    loads("aienergyscore", 1);
    has((const char *const[]){ "first" });
}

static void an_unknown_name_offers_the_nearest(void **state)
{
    assert_int_equal(load("bultin", 1, "interleaved", 0), LLEM_ENOTFOUND);
    assert_contains(err.msg, "did you mean 'builtin'?");
    assert_int_equal(load("/nowhere/prompts.jsonl", 1, "interleaved", 0), LLEM_ENOTFOUND);
    assert_contains(err.msg, "/nowhere/prompts.jsonl");
    assert_int_equal(load("/nowhere/prompts.xlsx", 1, "interleaved", 0), LLEM_ENOTFOUND);
    assert_contains(err.hint, ".jsonl, .json, .txt, .csv or .parquet");
}

/* ---- bad files ---------------------------------------------------------------------------- */

static void bad(const char *name, const char *text, int line, const char *part)
{
    assert_int_equal(load(put(name, text), 1, "interleaved", 0), LLEM_ECORRUPT);
    if (!strstr(err.msg, part))
        fail_msg("%s: '%s' does not contain '%s'", name, err.msg, part);
    assert_int_equal(err.line, line);
    assert_contains(err.file, name);
}

static void a_bad_line_is_an_error_with_its_place(void **state)
{
    bad("a.jsonl", "{\"prompt\": \"x\"}\n{\"prompt\": \n", 2, "");
    bad("b.jsonl", "{\"prompt\": \"x\"}\n\n{\"n\": 1}\n", 3, "no text under prompt, text");
    bad("c.jsonl", "{\"prompt\": \"x\"}\n17\n", 2, "neither an object nor a text");
    bad("d.jsonl", "{\"prompt\": \"x\", \"prompt\": \"y\"}\n", 1, "");
    bad("e.jsonl", "\"  \"\n", 1, "no text");
    bad("f.txt", "fine\nnot \xff UTF-8\n", 2, "UTF-8");
    bad("g.json", "{\"a\": 1}", 0, "no list of prompts");
    bad("h.json", "[\"x\", 3]", 0, "record 2");
    bad("i.csv", "a,b\n1,2\n", 1, "names no column");
    bad("j.csv", "prompt,b\n\"x\ny\n", 2, "not closed");
    bad("k.csv", "prompt,b\nx\n", 2, "has 1 fields");
    bad("l.csv", "prompt,b\nx,1\n,2\n", 3, "no text");
    bad("m.csv", "prompt\n\"x\"y\n", 2, "closing quote");
}

static void a_nul_byte_is_no_text(void **state)
{
    struct llem_record *records;
    size_t n;

    assert_int_equal(
        llem_dataset_parse(&records, &n, LLEM_DATASET_TXT, "a\nb\0c\n", 6, "p.txt", &arena, &err),
        LLEM_ECORRUPT);
    assert_int_equal(err.line, 2);
}

static void an_empty_file_has_too_few_prompts(void **state)
{
    static const char *const names[] = { "p.jsonl", "p.txt" };

    for (size_t i = 0; i < LLEM_COUNT(names); i++) {
        assert_int_equal(load(put(names[i], ""), 2, "interleaved", 0), LLEM_ECONFIG);
        assert_contains(err.msg, "2 prompts are asked for");
        assert_contains(err.msg, "has 0");
    }
    assert_int_equal(load(put("p.json", "[]"), 1, "shuffled", 0), LLEM_ECONFIG);
}

static void a_directory_is_no_dataset(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/d.jsonl", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_not_equal(load(path, 1, "interleaved", 0), LLEM_OK);
    assert_contains(err.msg, "d.jsonl");
}

static void many_kinds_are_counted_together(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);

    for (int i = 0; i < 200; i++)
        llem_buf_addf(&b, "{\"prompt\": \"p%d\", \"kind\": \"k%d\"}\n", i, i);
    loads(put("p.jsonl", b.data), 200);
    assert_int_equal(d.kinds->count, 65);
    assert_int_equal(llem_int_at(d.kinds, "(others)", 0), 136);
    llem_buf_done(&b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(json_lines_take_the_first_text_there_is),
        T(a_json_list_holds_texts_or_objects),
        T(a_text_file_has_a_prompt_a_line),
        T(csv_knows_quotes_newlines_and_its_columns),
        T(interleaved_is_the_order_of_the_file),
        T(grouped_is_stable_and_begins_with_those_without_a_source),
        T(shuffled_is_pythons_shuffle),
        T(a_second_shuffle_goes_on_where_the_first_ended),
        T(the_generator_is_the_mersenne_twister),
        T(the_hash_is_of_the_chosen_texts_each_with_its_nul),
        T(random_ids_are_of_the_vocabulary_and_repeat_with_the_seed),
        T(random_needs_a_length),
        T(builtin_comes_from_the_data_directory),
        T(the_builtin_prompts_are_a_hundred_of_several_kinds),
        T(a_missing_default_dataset_names_the_builtin_one),
        T(the_default_dataset_is_found_in_the_hub_cache),
        T(the_default_dataset_is_read_as_it_is_published),
        T(parquet_columns_are_chosen_as_keys_are),
        T(an_unknown_name_offers_the_nearest),
        T(a_bad_line_is_an_error_with_its_place),
        T(a_nul_byte_is_no_text),
        T(an_empty_file_has_too_few_prompts),
        T(a_directory_is_no_dataset),
        T(many_kinds_are_counted_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
