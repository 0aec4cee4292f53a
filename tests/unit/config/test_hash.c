/* SPDX-License-Identifier: MIT
 *
 * Hashes: the known answers of the original, what must not change them and what must.
 */
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

static char measurement[17], resolved[65], design[17];

static void hash_it(struct fixture *f)
{
    const struct llem_value *tree = f->config->tree;

    memcpy(measurement, llem_config_hash_hex(f->config), 17);
    llem_config_resolved_hash(f->config->schema, tree, resolved);
    llem_study_design_hash(f->config->schema, &tree, 1, design);
}

static void assert_hashes(struct fixture *f, const char *m, const char *r, const char *d)
{
    hash_it(f);
    assert_string_equal(measurement, m);
    assert_memory_equal(resolved, r, 16);
    assert_int_equal(strlen(resolved), 64);
    assert_string_equal(design, d);
}

static void known_answers_of_the_original_hold(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    assert_hashes(f, "6c9a0dc1ae3b31d2", "7c9bc529bdba1426", "461696661d4ab63b");
    must_load(f, load(f, NULL, "task.model=gpt2", "transformers.batch_size=4", NULL));
    assert_hashes(f, "978af21a3b7d1499", "cebb5396cf7f0dc4", "256cb1107868b57d");
    must_load(f, load(f,
                      put(f, "a.yaml",
                          "task: {model: gpt2}\ntransformers:\n  sampling:\n    "
                          "do_sample: false\n    temperature: 1\n"),
                      NULL));
    assert_hashes(f, "72260e93b09561c5", "910d3fce5dddf223", "c8b0cd5396a215b1");
}

static void a_study_of_two_has_the_known_hash_and_seed(void **state)
{
    struct fixture *f = *state;
    const struct llem_value *trees[2];
    llem_config *first;
    char hex[17];

    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    first = f->config;
    f->config = NULL;
    must_load(f, load(f, NULL, "task.model=gpt2", "transformers.batch_size=4", NULL));
    trees[0] = first->tree;
    trees[1] = f->config->tree;
    llem_study_design_hash(first->schema, trees, 2, hex);
    assert_string_equal(hex, "d4de68765f1674cd");
    /* The shuffle seed is the low 32 bits. */
    assert_int_equal(strtoul(hex + 8, NULL, 16), 1595307213);
    llem_study_design_hash(first->schema, trees, 1, hex);
    assert_int_equal(strtoul(hex + 8, NULL, 16), 491435579);
    llem_config_free(first);
}

static void our_rows_at_their_defaults_change_nothing(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, NULL, "task.model=gpt2", "measurement.warmup.mode=auto",
                      "measurement.quick=false", "measurement.latency_pass=false",
                      "task.ignore_eos=no", "task.dataset.input_tokens=null", "cpu=null",
                      "test=null", NULL));
    assert_hashes(f, "6c9a0dc1ae3b31d2", "7c9bc529bdba1426", "461696661d4ab63b");
}

static void our_rows_at_other_values_change_the_hash(void **state)
{
    static const char *const settings[] = { "measurement.warmup.mode=fixed",
                                            "measurement.quick=true",
                                            "measurement.latency_pass=true", "task.ignore_eos=true",
                                            "task.dataset.input_tokens=5" };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(settings); i++) {
        must_load(f, load(f, NULL, "task.model=gpt2", settings[i], NULL));
        assert_string_not_equal(llem_config_hash_hex(f->config), "6c9a0dc1ae3b31d2");
    }
}

static void an_empty_section_of_ours_is_no_section(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, NULL, "task.model=gpt2", "engine=cpu", NULL));
    hash_it(f);
    char before[17];
    memcpy(before, measurement, 17);
    must_load(f, load(f, NULL, "task.model=gpt2", "engine=cpu", "cpu={}", NULL));
    hash_it(f);
    assert_string_equal(measurement, before);
    must_load(f, load(f, NULL, "task.model=gpt2", "engine=cpu", "cpu={batch_size: 1, sampling: {}}",
                      NULL));
    hash_it(f);
    assert_string_equal(measurement, before);
    must_load(f, load(f, NULL, "task.model=gpt2", "engine=cpu", "cpu.batch_size=2", NULL));
    hash_it(f);
    assert_string_not_equal(measurement, before);
}

static void where_results_go_is_no_part_of_the_hash(void **state)
{
    struct fixture *f = *state;

    must_load(f,
              load(f, NULL, "task.model=gpt2", "output.results_dir=x", "study_name=y",
                   "output.save_timeseries=false", "output.save_outputs=text", "version=9", NULL));
    assert_hashes(f, "6c9a0dc1ae3b31d2", "7c9bc529bdba1426", "461696661d4ab63b");
}

static void the_resolved_hash_leaves_out_how_it_is_measured(void **state)
{
    struct fixture *f = *state;

    must_load(f,
              load(f, NULL, "task.model=gpt2", "measurement.baseline.duration_seconds=10", NULL));
    hash_it(f);
    assert_memory_equal(resolved, "7c9bc529bdba1426", 16);
    assert_string_not_equal(measurement, "6c9a0dc1ae3b31d2");
}

static void adapters_tell_resolved_hashes_apart(void **state)
{
    struct fixture *f = *state;
    char first[65];

    must_load(f, load(f, NULL, "task.model=gpt2", "lora={adapter_id: a}", NULL));
    hash_it(f);
    memcpy(first, resolved, 65);
    must_load(f, load(f, NULL, "task.model=gpt2", "lora={adapter_id: b}", NULL));
    hash_it(f);
    assert_string_not_equal(first, resolved);
}

static const char *resolved_with(struct fixture *f, const char *setting)
{
    static char hex[4][65];
    static int turn;
    char *out = hex[turn++ % 4];

    must_load(f, load(f, NULL, "task.model=gpt2", setting, NULL));
    llem_config_resolved_hash(f->config->schema, f->config->tree, out);
    return out;
}

static void resolved_hashes_round_reals_and_keep_kinds_apart(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(resolved_with(f, "transformers.x=0.123456789012345"),
                        resolved_with(f, "transformers.x=0.1234567890123459"));
    assert_string_not_equal(resolved_with(f, "transformers.x=0.12345678901"),
                            resolved_with(f, "transformers.x=0.12345678902"));
    assert_string_not_equal(resolved_with(f, "transformers.x=true"),
                            resolved_with(f, "transformers.x=1"));
    assert_string_not_equal(resolved_with(f, "transformers.x=1.0"),
                            resolved_with(f, "transformers.x=1"));
    assert_string_not_equal(resolved_with(f, "transformers.x=null"),
                            resolved_with(f, "transformers={}"));
    assert_string_equal(resolved_with(f, "transformers.x=-0.0"),
                        resolved_with(f, "transformers.x=0.0"));
    assert_string_equal(resolved_with(f, "transformers.x={b: 1, a: 2}"),
                        resolved_with(f, "transformers.x={a: 2, b: 1}"));
}

static void text_outside_ascii_is_escaped_as_python_does(void **state)
{
    struct fixture *f = *state;

    /* sha256(json.dumps(...)) of the same dump, computed with Python. */
    must_load(f, load(f, NULL, "task.model=\xc3\xa9\xf0\x9f\x99\x82", NULL));
    hash_it(f);
    assert_string_equal(measurement, "0bc77180bdce1ff6");
}

static void a_tree_that_went_through_json_hashes_alike(void **state)
{
    struct fixture *f = *state;
    struct llem_value *back = NULL;
    char *json, hex[17];

    must_load(f,
              load(f, NULL, "task.model=gpt2", "engine=cpu", "cpu.sampling.temperature=1", NULL));
    json = llem_config_json(f->config);
    assert_non_null(json);
    assert_int_equal(llem_json_parse(&f->a, &back, json, strlen(json), "json", NULL), LLEM_OK);
    free(json);
    llem_config_hash(f->config->schema, back, hex);
    assert_string_equal(hex, llem_config_hash_hex(f->config));
}

static void hashes_do_not_depend_on_the_engines_of_others(void **state)
{
    struct fixture *f = *state;
    const struct llem_engine_info *mine;

    assert_int_equal(llem_mkdirs(in_dir(f, "plugins/mine"), NULL), LLEM_OK);
    put(f, "plugins/mine/engine.yaml", "name: mine\noptions: [{path: x, type: int, default: 1}]\n");
    setenv("LLEM_PLUGIN_PATH", in_dir(f, "plugins"), 1);
    renew(f);
    assert_int_equal(llem_engine_find(&mine, f->ctx, "mine", NULL), LLEM_OK);
    assert_non_null(mine);
    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    assert_hashes(f, "6c9a0dc1ae3b31d2", "7c9bc529bdba1426", "461696661d4ab63b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_answers_of_the_original_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(a_study_of_two_has_the_known_hash_and_seed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(our_rows_at_their_defaults_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(our_rows_at_other_values_change_the_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_section_of_ours_is_no_section, setup, teardown),
        cmocka_unit_test_setup_teardown(where_results_go_is_no_part_of_the_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(the_resolved_hash_leaves_out_how_it_is_measured, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(adapters_tell_resolved_hashes_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(resolved_hashes_round_reals_and_keep_kinds_apart, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(text_outside_ascii_is_escaped_as_python_does, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_tree_that_went_through_json_hashes_alike, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(hashes_do_not_depend_on_the_engines_of_others, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
