/* SPDX-License-Identifier: MIT
 *
 * Trees of values: building, reading, copying, merging, and what happens without memory.
 */
#include "tests/unit/base/help.h"

#include <math.h>

#include "lib/base/value.h"

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct llem_arena));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    llem_arena_done(*state);
    free(*state);
    return 0;
}

static void scalars_hold_what_they_were_made_of(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *v;

    assert_int_equal(llem_null(a)->kind, LLEM_NULL);
    v = llem_bool(a, true);
    assert_int_equal(v->kind, LLEM_BOOL);
    assert_true(v->b);
    v = llem_int(a, INT64_MIN);
    assert_int_equal(v->kind, LLEM_INT);
    assert_true(v->i == INT64_MIN);
    v = llem_real(a, 0.5);
    assert_int_equal(v->kind, LLEM_REAL);
    assert_true(v->d == 0.5);
    v = llem_stringf(a, "%s-%d", "x", 300);
    assert_int_equal(v->kind, LLEM_STRING);
    assert_string_equal(v->s, "x-300");
    assert_int_equal(v->len, 5);
    v = llem_stringn(a, "a\0b", 3);
    assert_int_equal(v->len, 3);
    assert_memory_equal(v->s, "a\0b", 4);
    assert_int_equal(llem_string(a, NULL)->kind, LLEM_NULL);
    assert_int_equal(llem_string(a, "")->kind, LLEM_STRING);
    assert_false(a->oom);
}

static void what_is_no_number_becomes_null(void **state)
{
    struct llem_arena *a = *state;

    assert_int_equal(llem_real(a, NAN)->kind, LLEM_NULL);
    assert_int_equal(llem_real(a, INFINITY)->kind, LLEM_NULL);
    assert_int_equal(llem_real(a, -INFINITY)->kind, LLEM_NULL);
}

static void maps_replace_keep_order_and_forget(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *m = llem_map(a);
    char key[32];
    int i;

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        llem_set(a, m, key, llem_int(a, i));
    }
    assert_int_equal(m->count, 100);
    llem_set(a, m, "key50", llem_string(a, "new"));
    assert_int_equal(m->count, 100);
    assert_string_equal(m->keys[50], "key50");
    assert_string_equal(llem_str_at(m, "key50", ""), "new");
    assert_null(llem_get(m, "key"));
    assert_null(llem_get(m, "key500"));
    assert_true(llem_unset(m, "key0"));
    assert_false(llem_unset(m, "key0"));
    assert_int_equal(m->count, 99);
    assert_string_equal(m->keys[0], "key1");
    assert_int_equal(llem_int_at(m, "key99", -1), 99);
    assert_false(llem_unset(NULL, "x"));
    assert_false(llem_unset(llem_list(a), "x"));
    llem_set(a, m, "nothing", NULL);
    assert_non_null(llem_get(m, "nothing"));
    assert_true(llem_is_null(llem_get(m, "nothing")));
    llem_add(a, m, "added", llem_int(a, 5));
    assert_string_equal(m->keys[m->count - 1], "added");
}

static void paths_reach_into_maps_and_lists(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *root = llem_map(a);
    struct llem_value *list = llem_list(a);
    int i;

    for (i = 0; i < 12; i++) {
        struct llem_value *item = llem_map(a);

        llem_set(a, item, "x", llem_int(a, i));
        llem_append(a, list, item);
    }
    llem_append(a, list, NULL);
    llem_set(a, root, "list", list);
    assert_non_null(llem_set_at(a, root, "a.b.c", llem_real(a, 1.5)));
    assert_non_null(llem_set_at(a, root, "a.b.d", llem_int(a, 2)));
    assert_non_null(llem_set_at(a, root, "top", llem_bool(a, true)));

    assert_int_equal(llem_int_at(root, "list.11.x", -1), 11);
    assert_true(llem_is_null(llem_at(root, "list.12")));
    assert_null(llem_at(root, "list.13"));
    assert_null(llem_at(root, "list.-1"));
    assert_null(llem_at(root, "list."));
    assert_null(llem_at(root, "list.99999999999999999999"));
    assert_null(llem_at(root, "list.1x"));
    assert_null(llem_at(root, "a.b.c.d"));
    assert_null(llem_at(root, "a..c"));
    assert_null(llem_at(root, ""));
    assert_null(llem_at(NULL, "a"));
    assert_true(llem_real_at(root, "a.b.c", 0) == 1.5);
    assert_true(llem_real_at(root, "a.b.d", 0) == 2);

    /* What is there and no map stays as it is. */
    assert_null(llem_set_at(a, root, "top.x", llem_int(a, 1)));
    assert_null(llem_set_at(a, root, "a.b.c.d.e", llem_int(a, 1)));
    assert_null(llem_set_at(a, root, "list.0", llem_int(a, 1)));
    assert_true(llem_bool_at(root, "top", false));
    assert_true(llem_real_at(root, "a.b.c", 0) == 1.5);
    assert_int_equal(llem_get(root, "a")->count, 1);
}

static void reading_falls_back_on_absent_null_and_other_kinds(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *m = llem_map(a);

    llem_set(a, m, "s", llem_string(a, "text"));
    llem_set(a, m, "i", llem_int(a, 3));
    llem_set(a, m, "d", llem_real(a, 3.0));
    llem_set(a, m, "b", llem_bool(a, true));
    llem_set(a, m, "n", llem_null(a));
    assert_string_equal(llem_str_at(m, "i", "other"), "other");
    assert_string_equal(llem_str_at(m, "n", "other"), "other");
    assert_null(llem_str_at(m, "absent", NULL));
    assert_int_equal(llem_int_at(m, "d", -1), -1);
    assert_int_equal(llem_int_at(m, "b", -1), -1);
    assert_true(llem_real_at(m, "i", -1) == 3);
    assert_true(isnan(llem_real_at(m, "s", NAN)));
    assert_true(llem_bool_at(m, "b", false));
    assert_false(llem_bool_at(m, "i", false));
    assert_true(llem_is_null(llem_get(m, "absent")));
    assert_true(llem_is_null(llem_get(m, "n")));
    assert_false(llem_is_null(llem_get(m, "b")));
}

static void a_copy_outlives_its_original_with_all_its_places(void **state)
{
    struct llem_arena *a = *state;
    struct llem_arena other = LLEM_ARENA_INIT;
    struct llem_value *m = llem_map(&other);
    struct llem_value *list = llem_list(&other);
    struct llem_value *v = llem_int(&other, 7);
    struct llem_value *copy;

    v->source = LLEM_FROM_FILE;
    v->line = 3;
    v->column = 9;
    v->file = llem_arena_strdup(&other, "study.yaml");
    llem_append(&other, list, v);
    llem_append(&other, list, llem_stringn(&other, "a\0b", 3));
    llem_append(&other, list, llem_real(&other, -0.0));
    llem_set(&other, m, "list", list);
    llem_set(&other, m, "none", llem_null(&other));
    llem_set(&other, m, "yes", llem_bool(&other, true));
    copy = llem_copy(a, m);
    assert_true(llem_equal(copy, m));
    llem_arena_done(&other);

    v = llem_at(copy, "list.0");
    assert_int_equal(v->i, 7);
    assert_int_equal(v->source, LLEM_FROM_FILE);
    assert_int_equal(v->line, 3);
    assert_int_equal(v->column, 9);
    assert_string_equal(v->file, "study.yaml");
    assert_null(llem_at(copy, "list.1")->file);
    assert_memory_equal(llem_at(copy, "list.1")->s, "a\0b", 4);
    assert_true(llem_bool_at(copy, "yes", false));
    assert_true(llem_is_null(llem_copy(a, NULL)));
}

static void a_merge_goes_into_maps_and_replaces_the_rest(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *base = llem_map(a);
    struct llem_value *over = llem_map(a);
    struct llem_value *got, *v;

    llem_set_at(a, base, "task.model", llem_string(a, "gpt2"));
    llem_set_at(a, base, "task.n", llem_int(a, 1));
    llem_set_at(a, base, "lora.rank", llem_int(a, 8));
    llem_set_at(a, base, "list", llem_list(a));
    v = llem_set_at(a, over, "task.n", llem_int(a, 2));
    v->source = LLEM_FROM_FLAG;
    v->file = "-n";
    llem_set_at(a, over, "lora", llem_null(a));
    llem_set_at(a, over, "list.0", llem_int(a, 1));
    llem_set_at(a, over, "new.x", llem_int(a, 3));

    got = llem_merge(a, base, over);
    assert_string_equal(llem_str_at(got, "task.model", ""), "gpt2");
    assert_int_equal(llem_int_at(got, "task.n", 0), 2);
    assert_int_equal(llem_at(got, "task.n")->source, LLEM_FROM_FLAG);
    assert_string_equal(llem_at(got, "task.n")->file, "-n");
    /* An explicit null is a value. */
    assert_non_null(llem_at(got, "lora"));
    assert_true(llem_is_null(llem_at(got, "lora")));
    assert_int_equal(llem_at(got, "list")->kind, LLEM_MAP);
    assert_int_equal(llem_int_at(got, "new.x", 0), 3);
    assert_string_equal(got->keys[0], "task");
    assert_string_equal(got->keys[3], "new");
    /* Neither side is touched. */
    assert_int_equal(llem_int_at(base, "task.n", 0), 1);
    assert_int_equal(llem_int_at(base, "lora.rank", 0), 8);
    llem_set_at(a, got, "task.model", llem_string(a, "other"));
    assert_string_equal(llem_str_at(base, "task.model", ""), "gpt2");

    assert_true(llem_equal(llem_merge(a, base, NULL), base));
    assert_true(llem_equal(llem_merge(a, NULL, over), over));
    assert_int_equal(llem_merge(a, base, llem_int(a, 4))->i, 4);
    assert_true(llem_equal(llem_merge(a, llem_int(a, 4), over), over));
}

static void equality_wants_the_same_kinds_and_ignores_the_order_of_keys(void **state)
{
    struct llem_arena *a = *state;
    struct llem_value *one = llem_map(a);
    struct llem_value *two = llem_map(a);

    llem_set(a, one, "a", llem_int(a, 1));
    llem_set(a, one, "b", llem_string(a, "x"));
    llem_set(a, two, "b", llem_string(a, "x"));
    llem_set(a, two, "a", llem_int(a, 1));
    assert_true(llem_equal(one, two));
    llem_set(a, two, "a", llem_real(a, 1));
    assert_false(llem_equal(one, two));
    llem_unset(two, "a");
    assert_false(llem_equal(one, two));
    llem_set(a, two, "c", llem_int(a, 1));
    assert_false(llem_equal(one, two));
    assert_false(llem_equal(llem_int(a, 0), llem_bool(a, false)));
    assert_false(llem_equal(llem_null(a), NULL));
    assert_false(llem_equal(llem_stringn(a, "a\0b", 3), llem_stringn(a, "a\0c", 3)));
    assert_false(llem_equal(llem_list(a), llem_map(a)));
    assert_true(llem_equal(NULL, NULL));
}

/* Whatever the limit: no crash, and oom tells whether the tree is whole. */
static void builders_go_on_without_memory_and_say_so(void **state)
{
    size_t max;
    bool whole = false;

    for (max = 1; !whole; max += 97) {
        struct llem_arena a = { .max = max };
        struct llem_value *root = llem_map(&a);
        struct llem_value *list = llem_list(&a);
        struct llem_value *copy, *v;
        int i;

        for (i = 0; i < 40; i++) {
            v = llem_int(&a, i);
            v->source = LLEM_FROM_FILE; /* callers write to what they get */
            v->file = "x";
            llem_append(&a, list, v);
        }
        llem_set(&a, root, "list", list);
        llem_set_at(&a, root, "a.b.c.d", llem_stringf(&a, "%0200d", 5));
        copy = llem_copy(&a, root);
        copy = llem_merge(&a, copy, root);
        llem_get(copy, "list");
        llem_real_at(copy, "list.3", 0);
        assert_true(llem_equal(root, root));
        whole = !a.oom;
        if (whole) {
            assert_int_equal(llem_get(copy, "list")->count, 40);
            assert_true(llem_equal(copy, root));
        } else {
            assert_int_equal(llem_map(&a)->kind, LLEM_NULL);
        }
        llem_arena_done(&a);
    }
    assert_true(max > 1000);
}

static void adding_to_what_is_no_container_is_noticed(void **state)
{
    struct llem_arena *a = *state;

    llem_append(a, llem_int(a, 1), llem_int(a, 2));
    assert_true(a->oom);
    llem_arena_done(a);
    llem_set(a, llem_list(a), "x", llem_int(a, 2));
    assert_true(a->oom);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars_hold_what_they_were_made_of, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_number_becomes_null, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_replace_keep_order_and_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(paths_reach_into_maps_and_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_falls_back_on_absent_null_and_other_kinds, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_copy_outlives_its_original_with_all_its_places, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_merge_goes_into_maps_and_replaces_the_rest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(equality_wants_the_same_kinds_and_ignores_the_order_of_keys,
                                        setup, teardown),
        cmocka_unit_test(builders_go_on_without_memory_and_say_so),
        cmocka_unit_test_setup_teardown(adding_to_what_is_no_container_is_noticed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
