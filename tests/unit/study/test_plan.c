/* SPDX-License-Identifier: MIT
 *
 * Plans: the five orders with their known answers, what is grouped and what never is, hashes of
 * studies, studies of which nothing can run.
 */
#include "lib/study/plan.h"

#include "lib/base/random.h"
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

#define M "task: {model: gpt2}\n"

static llem_errcode plan_it(struct fixture *f, struct llem_plan **p, const char *yaml)
{
    const struct llem_schema *schema;
    struct llem_sweep *sweep;
    llem_errcode rc;

    *p = NULL;
    memset(&f->err, 0, sizeof(f->err));
    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    rc = llem_sweep_load(&sweep, f->ctx, schema,
                         &(struct llem_config_source){ .path = put(f, "study.yaml", yaml) }, NULL,
                         0, &f->err);
    return rc < 0 ? rc : llem_plan_make(p, sweep, &f->err);
}

static struct llem_plan *plan_of(struct fixture *f, const char *yaml)
{
    struct llem_plan *p;

    if (plan_it(f, &p, yaml) < 0)
        fail_msg("refused: %s", f->err.msg);
    return p;
}

/* ---- order ---------------------------------------------------------------------------------- */

static void assert_order(const char *order, int n, int cycles, int64_t seed, char first,
                         const char *want)
{
    uint32_t places[64];
    char text[128];
    size_t len = 0;

    llem_cycle_order(places, order, (uint32_t)n, (uint32_t)cycles, seed);
    for (int i = 0; i < n * cycles; i++) {
        if (i && i % (strcmp(order, "sequential") == 0 ? cycles : n) == 0)
            text[len++] = ' ';
        text[len++] = (char)(first + (char)places[i]);
    }
    text[len] = '\0';
    assert_string_equal(text, want);
}

static void orders_have_their_known_answers(void **state)
{
    assert_order("sequential", 3, 3, 0, 'A', "AAA BBB CCC");
    assert_order("interleave", 3, 3, 0, 'A', "ABC ABC ABC");
    assert_order("reverse", 3, 3, 0, 'A', "ABC CBA ABC");
    assert_order("reverse", 2, 4, 0, 'A', "AB BA AB BA");
    assert_order("latin_square", 3, 3, 0, 'A', "ABC BCA CAB");
    assert_order("latin_square", 4, 4, 0, 'A', "ABDC BCAD CDBA DACB");
    assert_order("latin_square", 2, 2, 0, 'A', "AB BA");
    assert_order("latin_square", 5, 5, 0, '0', "01423 12034 23140 34201 40312");
    assert_order("shuffle", 3, 3, 42, 'A', "BAC CBA BCA");
    assert_order("shuffle", 5, 2, 1, '1', "34512 13254");
    assert_order("shuffle", 5, 2, 999, '1', "35241 24513");
    assert_order("shuffle", 5, 2, 42, '1', "42351 43152");
    assert_order("shuffle", 4, 3, 491435579, 'A', "ACBD CBDA ADCB");
    assert_order("shuffle", 2, 3, 1, 'A', "BA BA AB");
    for (size_t i = 0; i < 5; i++) {
        static const char *const all[] = { "sequential", "interleave", "reverse", "latin_square",
                                           "shuffle" };
        assert_order(all[i], 1, 4, 7, 'A', i ? "A A A A" : "AAAA");
    }
}

/* Each configuration follows each other one equally often, after n cycles of even n and 2n of odd.
 */
static void latin_squares_balance_what_comes_before(void **state)
{
    for (uint32_t n = 2; n < 9; n++) {
        uint32_t cycles = n % 2 ? 2 * n : n, places[9 * 18], follows[9][9] = { { 0 } };

        llem_cycle_order(places, "latin_square", n, cycles, 0);
        for (uint32_t c = 0; c < cycles; c++)
            for (uint32_t j = 1; j < n; j++)
                follows[places[c * n + j - 1]][places[c * n + j]]++;
        for (uint32_t a = 0; a < n; a++)
            for (uint32_t b = 0; b < n; b++)
                assert_int_equal(follows[a][b], a == b ? 0 : n % 2 ? 2 : 1);
    }
}

/* Property, with a seed that is printed: every order runs everything once a cycle. */
static void every_order_runs_everything_once_a_cycle(void **state)
{
    static const char *const orders[] = { "sequential", "interleave", "reverse", "latin_square",
                                          "shuffle" };
    uint32_t seed = (uint32_t)getpid(), *places = malloc(40 * 12 * sizeof(*places));
    struct llem_mt19937 r;

    print_message("# seed %u\n", seed);
    llem_mt19937_init(&r, seed);
    assert_non_null(places);
    for (int round = 0; round < 200; round++) {
        uint32_t n = 1 + llem_mt19937_below(&r, 40), cycles = 1 + llem_mt19937_below(&r, 12);
        const char *order = orders[llem_mt19937_below(&r, 5)];

        llem_cycle_order(places, order, n, cycles, llem_mt19937_next(&r));
        for (uint32_t i = 0; i < n; i++) {
            uint32_t seen = 0;
            for (uint32_t k = 0; k < n * cycles; k++)
                seen += places[k] == i;
            assert_int_equal(seen, cycles);
        }
    }
    free(places);
}

static void runs_carry_their_cycle(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = plan_of(f, M "study_execution: {n_cycles: 3}\n"
                                       "sweep: {transformers.batch_size: [2, 4]}\n");

    assert_int_equal(p->n_runs, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(p->runs[i].cell, i / 3);
        assert_int_equal(p->runs[i].cycle, i % 3);
    }
    llem_plan_free(p);
    p = plan_of(f, M "study_execution: {n_cycles: 2, experiment_order: reverse}\n"
                     "sweep: {transformers.batch_size: [2, 4]}\n");
    assert_int_equal(p->runs[2].cell, 1);
    assert_int_equal(p->runs[2].cycle, 1);
    assert_int_equal(p->runs[3].cell, 0);
    llem_plan_free(p);
}

/* ---- groups --------------------------------------------------------------------------------- */

static void what_does_the_same_runs_once(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p =
        plan_of(f, M "experiments:\n- {}\n- {transformers: {}}\n- {transformers: {dtype: null}}\n"
                     "- {task: {max_output_tokens: 256}}\n- {transformers: {batch_size: 4}}\n"
                     "- {sampling_preset: standard}\n"
                     "- {transformers: {sampling: {temperature: 1, top_p: 0.95}}}\n");

    assert_int_equal(p->n_valid, 7);
    assert_int_equal(p->n_groups, 3);
    assert_int_equal(p->n_runs, 3);
    assert_int_equal(p->groups[0].count, 4);
    assert_int_equal(p->groups[2].count, 2);
    /* The first declared stands for its group, unchanged. */
    assert_int_equal(p->runs[2].cell, 5);
    llem_plan_free(p);

    p = plan_of(f, M "study_execution: {deduplicate_equivalent: false}\n"
                     "experiments:\n- {}\n- {transformers: {}}\n");
    assert_int_equal(p->n_groups, 1);
    assert_int_equal(p->n_runs, 2);
    llem_plan_free(p);
}

/* Examples 20 and 21: a temperature is nothing to greedy decoding. */
static void settings_without_effect_do_not_tell_experiments_apart(void **state)
{
    static const char study[] =
        M "study_execution: {n_cycles: %d, deduplicate_equivalent: %s}\nsweep: "
          "{transformers.sampling.do_sample: [true, false], transformers.sampling.temperature: "
          "[%s]}\n";
    struct fixture *f = *state;
    struct llem_plan *p;
    char yaml[512];

    snprintf(yaml, sizeof(yaml), study, 1, "true", "0.5, 1.0, 1.5");
    p = plan_of(f, yaml);
    assert_int_equal(p->n_groups, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(p->groups[i].count, i < 3 ? 1 : 3);
    assert_int_equal(p->n_runs, 4);
    llem_plan_free(p);
    snprintf(yaml, sizeof(yaml), study, 1, "false", "0.5, 1.0, 1.5");
    p = plan_of(f, yaml);
    assert_int_equal(p->n_runs, 6);
    llem_plan_free(p);
    snprintf(yaml, sizeof(yaml), study, 3, "true", "0.5, 0.7");
    p = plan_of(f, yaml);
    assert_int_equal(p->sweep->count, 4);
    assert_int_equal(p->n_groups, 3);
    assert_int_equal(p->n_runs, 9);
    llem_plan_free(p);
}

static void what_measures_otherwise_is_never_merged(void **state)
{
    static const char *const sweeps[] = {
        "measurement.warmup.n_warmup: [1, 5, 10]",
        "measurement.baseline.enabled: [true, false]",
        "measurement.energy_sampler: [auto, null]",
        "measurement.latency_pass: [true, false]",
        "lora: [{adapter_id: a}, {adapter_id: b}]",
        "passthrough_kwargs: [{a: 1}, {a: 2}]",
        "transformers.extra: [1, 1.0, true, \"1\"]",
        "task.max_input_tokens: [null, 256]",
        "task.random_seed: [1, 2]",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(sweeps); i++) {
        char yaml[256];
        struct llem_plan *p;

        snprintf(yaml, sizeof(yaml), M "sweep:\n  %s\n", sweeps[i]);
        p = plan_of(f, yaml);
        if (p->n_groups != p->sweep->count || p->sweep->count < 2)
            fail_msg("%s: %zu of %zu", sweeps[i], p->n_groups, p->sweep->count);
        llem_plan_free(p);
    }
}

/* ---- hashes --------------------------------------------------------------------------------- */

static void studies_have_their_known_hashes(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = plan_of(f, M "experiments: [{}, {transformers: {batch_size: 4}}]\n");

    assert_string_equal(p->cells[0].hash, "6c9a0dc1ae3b31d2");
    assert_string_equal(p->cells[1].hash, "978af21a3b7d1499");
    assert_string_equal(p->design_hash, "d4de68765f1674cd");
    llem_plan_free(p);
    /* Example 22: how often and in which order is no part of it; what is merged away is not either.
     */
    p = plan_of(f, M "study_execution: {n_cycles: 5, experiment_order: shuffle}\n"
                     "experiments: [{}, {transformers: {batch_size: 4}}, {transformers: {}}]\n");
    assert_string_equal(p->design_hash, "d4de68765f1674cd");
    llem_plan_free(p);
}

static void a_shuffle_without_seed_takes_it_from_the_study(void **state)
{
    static const char study[] = M "study_execution: {n_cycles: 3, experiment_order: shuffle%s}\n"
                                  "sweep: {transformers.batch_size: [1, 2, 4, 8]}\n";
    struct fixture *f = *state;
    struct llem_plan *own, *given;
    char yaml[512], seed[64];

    snprintf(yaml, sizeof(yaml), study, "");
    own = plan_of(f, yaml);
    snprintf(seed, sizeof(seed), ", shuffle_seed: %lu", strtoul(own->design_hash + 8, NULL, 16));
    snprintf(yaml, sizeof(yaml), study, seed);
    given = plan_of(f, yaml);
    assert_int_equal(own->n_runs, 12);
    assert_memory_equal(own->runs, given->runs, 12 * sizeof(*own->runs));
    llem_plan_free(own);
    llem_plan_free(given);
}

/* ---- nothing to run ------------------------------------------------------------------------- */

static void assert_refused(struct fixture *f, const char *yaml, const char *part)
{
    struct llem_plan *p;

    if (plan_it(f, &p, yaml) == LLEM_OK)
        fail_msg("taken: %s", yaml);
    assert_int_equal(f->err.code, LLEM_ECONFIG);
    assert_contains(f->err.msg, part);
}

static void a_study_of_which_nothing_can_run_says_why(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p;

    assert_refused(f, "study_name: x\nsweep: {}\n", "task.model is missing");
    assert_refused(f,
                   M "experiments:\n- {engine: vllm, transformers: {batch_size: 1}}\n"
                     "- {engine: transformers, vllm: {dtype: float16}}\n",
                   "all 2 experiments are invalid");
    assert_contains(f->err.msg, "study.yaml:3:18: the section transformers is only for engine");
    assert_contains(f->err.msg, "study.yaml:4:26: the section vllm is only for engine");
    assert_refused(
        f, M "sweep: {transformers.batch_size: [1]}\nstudy_execution: {n_cycles: 20000000}\n",
        "more than 10000000 runs");
    /* One that can is enough. */
    p = plan_of(f, M "sweep: {tensorrt.quant_config.quant_algo: [INT8, INVALID_VALUE]}\n");
    assert_int_equal(p->n_valid, 1);
    assert_int_equal(p->n_invalid, 1);
    assert_contains(p->cells[1].errors, "INVALID_VALUE");
    llem_plan_free(p);
}

/* ---- of a text ------------------------------------------------------------------------------ */

static void a_text_is_planned_as_its_file_is(void **state)
{
    static const char text[] =
        "{\"task\": {\"model\": \"gpt2\"}, \"engine\": \"cpu\", \"study_name\": \"x\", "
        "\"experiments\": [{\"cpu\": {\"threads\": 1}}, {\"cpu\": {\"threads\": 0.5}}, {}]}";
    const llem_setting cycles = { .path = "study_execution.n_cycles", .value = "2" };
    struct fixture *f = *state;
    struct llem_plan *file = plan_of(f, text), *p = NULL;
    llem_config *config = NULL;
    const llem_config_problem *problems;
    char *value, *groups;
    size_t n;

    assert_int_equal(
        llem_plan_from_json(&p, f->ctx, text, strlen(text), "a study", &cycles, 1, &f->err),
        LLEM_OK);
    assert_string_equal(p->design_hash, file->design_hash);
    assert_int_equal(llem_plan_runs(p), 4);
    assert_string_equal(p->sweep->text, text);
    assert_null(file->sweep->text);
    /* What is wrong with it is at no line, which nobody has seen. */
    assert_contains(p->cells[1].errors, "a study: cpu.threads");
    assert_contains(file->cells[1].errors, "study.yaml:1:");

    assert_int_equal(llem_plan_experiment(&config, p, 1, &f->err), LLEM_OK);
    assert_string_equal(llem_config_hash_hex(config), p->cells[0].hash);
    value = llem_config_get(config, "cpu.threads");
    assert_string_equal(value, "1");
    free(value);
    llem_config_free(config);
    for (size_t number = 0; number < 6; number++)
        if (number != 1 && number != 3)
            assert_int_equal(llem_plan_experiment(&config, p, number, &f->err), LLEM_ENOTFOUND);
    groups = llem_plan_groups(p);
    assert_contains(groups, p->design_hash);
    free(groups);
    llem_plan_free(p);
    llem_plan_free(file);

    assert_int_equal(
        llem_plan_from_json(&p, f->ctx, "{\"tsk\": 1}", 10, "a study", NULL, 0, &f->err),
        LLEM_ECONFIG);
    assert_contains(f->err.msg, "a study: unknown key \"tsk\"");
    problems = llem_config_problems(f->ctx, &n);
    assert_true(n >= 1);
    assert_string_equal(problems[0].path, "tsk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_have_their_known_answers),
        cmocka_unit_test(latin_squares_balance_what_comes_before),
        cmocka_unit_test(every_order_runs_everything_once_a_cycle),
        cmocka_unit_test_setup_teardown(runs_carry_their_cycle, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_the_same_runs_once, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_without_effect_do_not_tell_experiments_apart,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_measures_otherwise_is_never_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(studies_have_their_known_hashes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shuffle_without_seed_takes_it_from_the_study, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_study_of_which_nothing_can_run_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_is_planned_as_its_file_is, setup, teardown),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
