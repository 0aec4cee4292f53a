/* SPDX-License-Identifier: MIT
 *
 * Rules of engines: each rule's own examples; the operators, null and references included; what is
 * done with dormant settings; what a rules.yaml can get wrong.
 */
#include "lib/config/internal.h"
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

static const char *const engines[] = { "transformers", "vllm", "tensorrt", "cpu" };

static const struct llem_schema *schema_of(struct fixture *f)
{
    const struct llem_schema *schema;

    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    return schema;
}

/* A complete configuration of the engine with the settings of an example. */
static const struct llem_value *tree_of(struct fixture *f, const char *engine,
                                        const struct llem_value *settings)
{
    const struct llem_schema *s = schema_of(f);
    struct llem_value *tree = llem__complete(s, &f->a, "", NULL, 0);

    llem_set(&f->a, tree, "engine", llem_string(&f->a, engine));
    for (size_t i = 0; i < settings->count; i++)
        tree = llem__with(s, &f->a, tree, settings->keys[i], settings->items[i]);
    return tree;
}

static void every_rule_holds_in_its_example_and_not_in_the_other(void **state)
{
    struct fixture *f = *state;
    size_t count = 0;

    for (size_t e = 0; e < LLEM_COUNT(engines); e++) {
        struct llem_rules rules;

        if (llem_rules_load(&rules, &f->a, schema_of(f), engines[e], &f->err) < 0)
            fail_msg("%s:%d: %s", f->err.file, f->err.line, f->err.msg);
        assert_true(rules.count > 0);
        for (size_t i = 0; i < rules.count; i++, count++) {
            const struct llem_rule *r = &rules.rules[i];
            const struct llem_value *triggers = tree_of(f, engines[e], r->triggers);

            for (size_t k = 0; k < i; k++)
                if (strcmp(rules.rules[k].id, r->id) == 0)
                    fail_msg("%s: two rules are called %s", engines[e], r->id);
            if (!llem_rule_holds(r, triggers, NULL))
                fail_msg("%s: %s does not hold in its example", engines[e], r->id);
            if (llem_rule_holds(r, tree_of(f, engines[e], r->spares), NULL))
                fail_msg("%s: %s holds where it should not", engines[e], r->id);
            if (llem_rule_holds(r, llem_rules_settle(&rules, schema_of(f), &f->a, triggers),
                                NULL) != (r->severity != LLEM_RULE_DORMANT))
                fail_msg("%s: %s is not settled", engines[e], r->id);
        }
    }
    assert_true(count > 40);
}

static void nothing_is_said_of_a_configuration_without_settings(void **state)
{
    struct fixture *f = *state;

    for (size_t e = 0; e < LLEM_COUNT(engines); e++) {
        struct llem_rules rules;
        const struct llem_value *tree = tree_of(f, engines[e], llem_map(&f->a));

        assert_int_equal(llem_rules_load(&rules, &f->a, schema_of(f), engines[e], &f->err),
                         LLEM_OK);
        for (size_t i = 0; i < rules.count; i++)
            assert_false(llem_rule_holds(&rules.rules[i], tree, NULL));
    }
}

/* An engine of the test's own, whose rules are the text. */
static llem_errcode load_text(struct fixture *f, struct llem_rules *rules, const char *text)
{
    char dir[600], path[700];
    FILE *file;

    snprintf(dir, sizeof(dir), "%s/llem/engines/ruled", f->dir);
    assert_int_equal(llem_mkdirs(dir, &f->err), LLEM_OK);
    snprintf(path, sizeof(path), "%s/engine.yaml", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(
        "name: ruled\nhelp: for rules\noptions:\n- {path: ., type: section, open: true, help: x}\n"
        "- {path: a, type: int, help: x}\n- {path: s, type: section, open: true, help: x}\n",
        file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/rules.yaml", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    renew(f);
    return llem_rules_load(rules, &f->a, schema_of(f), "ruled", &f->err);
}

static void operators_do_as_the_reference_says(void **state)
{
    static const struct {
        const char *condition, *value;
        bool holds;
    } all[] = {
        { "3", "3", true },
        { "3", "3.0", true },
        { "true", "1", true },
        { "3", "null", false },
        { "null", "null", true },
        { "{\"==\": text}", "text", true },
        { "{equals: text}", "other", false },
        { "{\"!=\": 3}", "4", true },
        { "{not_equal: 3}", "3", false },
        { "{not_equal: 3}", "null", false },
        { "{\"<\": 3}", "2.5", true },
        { "{\"<\": 3}", "3", false },
        { "{\"<\": 3}", "null", false },
        { "{\"<\": 3}", "text", false },
        { "{\"<=\": 3}", "3", true },
        { "{\">\": 3}", "4", true },
        { "{\">=\": 3}", "2", false },
        { "{in: [1, a]}", "a", true },
        { "{in: [1, a]}", "null", false },
        { "{in: [1, null]}", "null", true },
        { "{not_in: [1, a]}", "2", true },
        { "{not_in: [1, a]}", "1", false },
        { "{not_in: [1, a]}", "null", false },
        { "{present: true}", "0", true },
        { "{present: false}", "0", true },
        { "{present: true}", "null", false },
        { "{absent: true}", "null", true },
        { "{absent: true}", "1", false },
        { "{type_is: int}", "1", true },
        { "{type_is: int}", "true", false },
        { "{type_is: [float, str]}", "1.5", true },
        { "{type_is_not: bool}", "1", true },
        { "{type_is_not: bool}", "null", false },
        { "{divisible_by: 4}", "8", true },
        { "{divisible_by: 4}", "6", false },
        { "{not_divisible_by: 4}", "6", true },
        { "{not_divisible_by: 4}", "6.0", false },
        { "{divisible_by: 0}", "6", false },
        { "{\">\": 1, \"<\": 5}", "3", true },
        { "{\">\": 1, \"<\": 5}", "5", false },
        { "{\"<\": \"@y\"}", "3", true },
        { "{\"<\": \"@y\"}", "7", false },
        { "{\">\": \"@task.random_seed\"}", "43", true },
        { "{\">\": \"@task.random_seed\"}", "42", false },
        { "{\"<\": \"@missing\"}", "3", false },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(all); i++) {
        struct llem_value *settings = llem_map(&f->a);
        struct llem_rules rules;
        char text[512];

        snprintf(
            text, sizeof(text),
            "version: 1\nrules:\n- {id: x, severity: error, match: {ruled.s.x: %s}, message: m, "
            "triggers: {a: 1}, spares: {a: 1}}\n",
            all[i].condition);
        if (load_text(f, &rules, text) < 0)
            fail_msg("%s: %s", all[i].condition, f->err.msg);
        llem_set(&f->a, settings, "ruled.s.x", llem_yaml_scalar(&f->a, all[i].value));
        llem_set(&f->a, settings, "ruled.s.y", llem_int(&f->a, 5));
        if (llem_rule_holds(&rules.rules[0], tree_of(f, "ruled", settings), NULL) != all[i].holds)
            fail_msg("%s of %s", all[i].condition, all[i].value);
    }
}

static void what_is_wrong_with_rules_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text, *part;
    } all[] = {
        { "[]\n", "must be a map with version: 1" },
        { "version: 2\nrules: []\n", "must be a map with version: 1" },
        { "version: 1\nrules: [3]\n", "a rule must be a map" },
        { "version: 1\nrules: [{id: a}]\n", "a rule needs an id" },
        { "version: 1\nrules: [{id: a, serverity: warn}]\n", "did you mean \"severity\"?" },
        { "version: 1\nrules: [{id: a, severity: warn, match: {x: {}}, message: m, triggers: {a: "
          "1}, "
          "spares: {a: 1}}]\n",
          "the condition on x is empty" },
        { "version: 1\nrules: [{id: a, severity: warn, match: {x: {is: 1}}, message: m, triggers: "
          "{a: 1}, spares: {a: 1}}]\n",
          "has no operator \"is\"" },
        { "version: 1\nrules: [{id: a, severity: warn, match: {x: {in: 1}}, message: m, triggers: "
          "{a: 1}, spares: {a: 1}}]\n",
          "needs a list" },
        { "version: 1\nrules: [{id: a, severity: warn, match: {x: 1}, message: m}]\n",
          "needs examples" },
        { "version: 1\nrules: [{id: a, severity: dormant, match: {x: 1}, message: m, triggers: {a: "
          "1}, spares: {a: 1}}]\n",
          "a dormant rule, and no other, has a list of resets" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(all); i++) {
        struct llem_rules rules;

        if (load_text(f, &rules, all[i].text) == LLEM_OK)
            fail_msg("taken: %s", all[i].text);
        assert_contains(f->err.msg, all[i].part);
        assert_contains(f->err.file, "rules.yaml");
    }
}

static void errors_of_rules_refuse_and_others_are_told(void **state)
{
    struct fixture *f = *state;

    assert_true(load(f, NULL, "task.model=m", "engine=vllm", "vllm.sampling.top_k=-2", NULL) < 0);
    assert_contains(f->err.msg, "vllm.sampling.top_k must be -1 or 0 (all tokens) or at least 1");
    must_load(f, load(f, NULL, "task.model=m", "transformers.num_beams=2",
                      "transformers.sampling.do_sample=true", NULL));
    assert_contains(f->log, "warning: beam search that samples");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_rule_holds_in_its_example_and_not_in_the_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_said_of_a_configuration_without_settings, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(operators_do_as_the_reference_says, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_rules_is_told_with_its_place, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(errors_of_rules_refuse_and_others_are_told, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
