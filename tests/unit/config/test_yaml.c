/* SPDX-License-Identifier: MIT
 *
 * The YAML reader: scalars as PyYAML types them, anchors and merge keys, limits, JSON.
 */
#include "tests/unit/config/help.h"

#include <math.h>

static struct llem_value *parse(struct fixture *f, const char *text)
{
    struct llem_value *v = NULL;

    if (llem_yaml_parse(&f->a, &v, text, strlen(text), "t.yaml", &f->err) < 0)
        return NULL;
    return v;
}

static char *as_json(struct fixture *f, const struct llem_value *v)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    char *text;

    llem_json_dump(&b, v, LLEM_JSON_COMPACT);
    text = llem_arena_strdup(&f->a, b.data);
    llem_buf_done(&b);
    return text;
}

/* One line of the table against a value. */
static bool agrees(const struct llem_value *v, const char *kind, const struct llem_value *want)
{
    if (!v)
        return strcmp(kind, "error") == 0;
    if (strcmp(kind, "inf") == 0)
        return v->kind == LLEM_REAL && isinf(v->d) && (v->d > 0) == (want->i > 0);
    if (strcmp(kind, "nan") == 0)
        return v->kind == LLEM_REAL && isnan(v->d);
    if (strcmp(kind, "real") == 0)
        return v->kind == LLEM_REAL && v->d == (want->kind == LLEM_INT ? (double)want->i : want->d);
    return strcmp(kind, "error") != 0 && llem_equal(v, want);
}

/* tests/data/yaml-scalars.tsv is made by tools/make_yaml_scalars.py with PyYAML itself. */
static void scalars_have_the_kinds_pyyaml_gives_them(void **state)
{
    struct fixture *f = *state;
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    char path[512], *line, *rest;
    int lines = 0, wrong = 0, in_files = 0;

    snprintf(path, sizeof(path), "%s/tests/data/yaml-scalars.tsv", source_dir());
    assert_int_equal(llem_file_read(&b, path, &f->err), LLEM_OK);
    for (line = b.data; *line; line = rest) {
        char *kind, *value;
        struct llem_value *text = NULL, *want = NULL, *got, *doc = NULL;
        struct llem_buf yaml = LLEM_BUF_INIT(4096);
        rest = line + strcspn(line, "\n");
        if (*rest)
            *rest++ = '\0';
        kind = strchr(line, '\t');
        assert_non_null(kind);
        *kind++ = '\0';
        value = strchr(kind, '\t');
        assert_non_null(value);
        *value++ = '\0';
        assert_int_equal(llem_json_parse(&f->a, &text, line, strlen(line), "scalar", NULL),
                         LLEM_OK);
        assert_int_equal(llem_json_parse(&f->a, &want, value, strlen(value), "value", NULL),
                         LLEM_OK);
        got = llem_yaml_scalar(&f->a, text->s);
        if (!agrees(got, kind, want)) {
            print_message("# %s: expected %s %s, got %s\n", line, kind, value,
                          got ? as_json(f, got) : "an error");
            wrong++;
        }
        /* The same in a file, where the text is one plain scalar of YAML. */
        llem_buf_addf(&yaml, "k: %s\n", text->s);
        if (*text->s && !strpbrk(text->s, "@%`|>&*!?#-,[]{}: ") &&
            llem_yaml_parse(&f->a, &doc, yaml.data, yaml.len, "t.yaml", NULL) == LLEM_OK) {
            in_files++;
            if (!agrees(llem_get(doc, "k"), kind, want)) {
                print_message("# %s in a file: expected %s %s\n", line, kind, value);
                wrong++;
            }
        }
        llem_buf_done(&yaml);
        lines++;
    }
    llem_buf_done(&b);
    assert_true(lines >= 150);
    assert_true(in_files >= 100);
    assert_int_equal(wrong, 0);
}

static void quoted_scalars_are_text(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v =
        parse(f, "a: \"5\"\nb: 'yes'\nc: |\n  10\nd: >-\n  null\ne: \"\"\nf: !!str 5\n");

    assert_non_null(v);
    assert_string_equal(
        as_json(f, v),
        "{\"a\":\"5\",\"b\":\"yes\",\"c\":\"10\\n\",\"d\":\"null\",\"e\":\"\",\"f\":\"5\"}");
}

static void tags_of_the_core_convert(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v =
        parse(f, "a: !!int \"7\"\nb: !!float 5\nc: !!bool \"on\"\nd: !!null ''\ne: !!map {}\n"
                 "f: !!seq []\ng: ! 12\n");

    if (!v)
        fail_msg("%s", f->err.msg);
    assert_string_equal(as_json(f, v),
                        "{\"a\":7,\"b\":5.0,\"c\":true,\"d\":null,\"e\":{},\"f\":[],\"g\":\"12\"}");
}

static void anchors_and_merge_keys_work(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v = parse(f, "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, y: 9}\n"
                                    "d: {<<: [*a, *b], w: 0}\ne: [*a, *a]\nf: {\"<<\": 1}\n");

    if (!v)
        fail_msg("%s", f->err.msg);
    assert_string_equal(as_json(f, llem_get(v, "c")), "{\"y\":9,\"x\":1}");
    assert_string_equal(as_json(f, llem_get(v, "d")), "{\"w\":0,\"x\":1,\"y\":2,\"z\":4}");
    assert_string_equal(as_json(f, llem_get(v, "e")), "[{\"x\":1,\"y\":2},{\"x\":1,\"y\":2}]");
    assert_string_equal(as_json(f, llem_get(v, "f")), "{\"<<\":1}");
    /* A copy of its own: changing one does not change the other. */
    assert_ptr_not_equal(llem_at(v, "e.0"), llem_at(v, "e.1"));
}

static void numbers_as_keys_are_spelled_one_way(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v = parse(f, "0x10: a\n1_0: b\nyes: c\n~: d\n");

    assert_non_null(v);
    assert_string_equal(as_json(f, v), "{\"16\":\"a\",\"10\":\"b\",\"yes\":\"c\",\"~\":\"d\"}");
}

static void values_know_their_place(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v = parse(f, "task:\n  model: gpt2\n  list:\n    - 1\n    - two\n");

    assert_non_null(v);
    assert_int_equal(llem_at(v, "task.model")->line, 2);
    assert_int_equal(llem_at(v, "task.model")->column, 10);
    assert_int_equal(llem_at(v, "task.list.1")->line, 5);
    assert_int_equal(llem_at(v, "task.list.1")->column, 7);
    assert_string_equal(llem_at(v, "task.list.1")->file, "t.yaml");
}

static void the_limit_of_aliases_counts_what_they_stand_for(void **state)
{
    struct fixture *f = *state;
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    struct llem_value *v = NULL;

    llem_buf_adds(&b, "a0: &a0 [x, x]\n");
    for (int i = 1; i < 40; i++)
        llem_buf_addf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    assert_int_equal(llem_yaml_parse(&f->a, &v, b.data, b.len, "bomb.yaml", &f->err), LLEM_ECONFIG);
    assert_contains(f->err.msg, "100000 values");
    assert_true(f->a.total < 256 << 20);
    llem_buf_done(&b);
}

static void json_is_strict_and_has_places(void **state)
{
    struct fixture *f = *state;
    struct llem_value *v = NULL;
    const char *path = put(f, "a.json",
                           "{\"a\": 1e-3, \"b\": [true, null, \"yes\"],\n"
                           "  \"c\": \"\\u00e9\\ud83d\\ude42\\/\", \"d\": -0, \"e\": 010}");

    assert_int_equal(llem_yaml_load(&f->a, &v, path, &f->err), LLEM_ECONFIG);
    path = put(f, "a.json",
               "{\"a\": 1e-3, \"b\": [true, null, \"yes\"],\n"
               "  \"c\": \"\\u00e9\\ud83d\\ude42\\/\", \"d\": -0, \"e\": 1E2}");
    if (llem_yaml_load(&f->a, &v, path, &f->err) < 0)
        fail_msg("%s", f->err.msg);
    assert_string_equal(as_json(f, v), "{\"a\":0.001,\"b\":[true,null,\"yes\"],"
                                       "\"c\":\"\xc3\xa9\xf0\x9f\x99\x82/\",\"d\":0,\"e\":100.0}");
    assert_int_equal(llem_get(v, "c")->line, 2);
    assert_int_equal(llem_get(v, "c")->column, 8);
    path = put(f, "b.json", "{'a': 1}");
    assert_int_equal(llem_yaml_load(&f->a, &v, path, &f->err), LLEM_ECONFIG);
    path = put(f, "c.json", "{\"a\": 1} {}");
    assert_int_equal(llem_yaml_load(&f->a, &v, path, &f->err), LLEM_ECONFIG);
}

static void a_setting_is_a_scalar_or_a_collection_in_brackets(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "a: b")), "\"a: b\"");
    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "[1, x]")), "[1,\"x\"]");
    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "{a: 1}")), "{\"a\":1}");
    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "\"5\"")), "\"5\"");
    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "")), "null");
    assert_string_equal(as_json(f, llem_yaml_scalar(&f->a, "@x")), "\"@x\"");
    assert_null(llem_yaml_scalar(&f->a, "[1"));
    assert_null(llem_yaml_scalar(&f->a, "99999999999999999999"));
}

static void nothing_is_read_without_memory(void **state)
{
    static const char text[] =
        "a: &a {x: 1, y: [1, 2, three]}\nb: {<<: *a, z: \"long enough text\"}\n";
    struct fixture *f = *state;

    for (size_t max = 64; max < 40000; max += 256) {
        struct llem_arena a = { .max = max };
        struct llem_value *v = NULL;
        llem_errcode rc = llem_yaml_parse(&a, &v, text, strlen(text), "t.yaml", &f->err);
        assert_true(rc == LLEM_OK || rc == LLEM_ENOMEM || rc == LLEM_ECONFIG);
        if (rc == LLEM_OK)
            assert_int_equal(llem_at(v, "b.x")->i, 1);
        llem_arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars_have_the_kinds_pyyaml_gives_them, setup, teardown),
        cmocka_unit_test_setup_teardown(quoted_scalars_are_text, setup, teardown),
        cmocka_unit_test_setup_teardown(tags_of_the_core_convert, setup, teardown),
        cmocka_unit_test_setup_teardown(anchors_and_merge_keys_work, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_as_keys_are_spelled_one_way, setup, teardown),
        cmocka_unit_test_setup_teardown(values_know_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_of_aliases_counts_what_they_stand_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(json_is_strict_and_has_places, setup, teardown),
        cmocka_unit_test_setup_teardown(a_setting_is_a_scalar_or_a_collection_in_brackets, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_read_without_memory, setup, teardown),
    };

    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
