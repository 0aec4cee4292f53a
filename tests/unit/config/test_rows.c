/* SPDX-License-Identifier: MIT
 *
 * Rows: every bound, default and null of the shared settings against a table written down here, the
 * coercions, and properties that every row of every engine must have.
 */
#include <math.h>

#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

/* What the seeds say, by hand: the default, then a value that is just in and one that is just out.
 * NULL: there is no such value. */
static const struct {
    const char *path, *def, *in, *out, *in_high, *out_high;
    bool nullable;
} seeds[] = {
    { "task.dataset.source", "\"aienergyscore\"", "x", "\"\"", NULL, NULL, false },
    { "task.dataset.n_prompts", "100", "1", "0", "1000000", NULL, false },
    { "task.dataset.order", "\"interleaved\"", "grouped", "random", "shuffled", "Grouped", false },
    { "task.dataset.input_tokens", "null", "1", "0", NULL, NULL, true },
    { "task.max_input_tokens", "256", "1", "0", NULL, NULL, true },
    { "task.max_output_tokens", "256", "1", "0", NULL, NULL, true },
    { "task.random_seed", "42", "-9223372036854775808", "1.5", "0", "x", false },
    { "task.ignore_eos", "false", "true", "2", "on", "maybe", false },
    { "engine", "\"transformers\"", "vllm", "pytorch", "cpu", "Vllm", false },
    { "measurement.warmup.enabled", "true", "false", "7", NULL, NULL, false },
    { "measurement.warmup.n_warmup", "5", "1", "0", NULL, NULL, false },
    { "measurement.warmup.thermal_floor_seconds", "60.0", "30.0", "29.999", NULL, NULL, false },
    { "measurement.warmup.convergence_detection", "false", "true", "x", NULL, NULL, false },
    { "measurement.warmup.cv_threshold", "0.05", "0.01", "0.00999", "0.5", "0.501", false },
    { "measurement.warmup.max_prompts", "20", "5", "4", NULL, NULL, false },
    { "measurement.warmup.window_size", "3", "3", "2", NULL, NULL, false },
    { "measurement.warmup.min_prompts", "5", "1", "0", NULL, NULL, false },
    { "measurement.warmup.mode", "\"auto\"", "fixed", "fast", "converge", "FIXED", false },
    { "measurement.baseline.enabled", "true", "false", "x", NULL, NULL, false },
    { "measurement.baseline.duration_seconds", "30.0", "5", "4.99", "120", "120.01", false },
    { "measurement.baseline.strategy", "\"validated\"", "cached", "new", "fresh", "FRESH", false },
    { "measurement.baseline.cache_ttl_seconds", "7200.0", "60", "59.9", NULL, NULL, false },
    { "measurement.baseline.validation_interval", "5", "1", "0", NULL, NULL, false },
    { "measurement.baseline.drift_threshold", "0.1", "0.01", "0.009", "0.5", "0.51", false },
    { "measurement.energy_sampler", "\"auto\"", "nvml", "none", "estimate", "RAPL", true },
    { "measurement.latency_pass", "false", "true", "x", NULL, NULL, false },
    { "measurement.hash_weights", "false", "true", "x", NULL, NULL, false },
    { "measurement.quick", "false", "true", "x", NULL, NULL, false },
    { "sampling_preset", "null", "standard", "greedy", "factual", "Standard", true },
    { "lora.merge_weights", "false", "true", "x", NULL, NULL, false },
    { "output.results_dir", "null", "x", "5", NULL, NULL, true },
    { "output.save_timeseries", "true", "false", "x", NULL, NULL, false },
    { "output.save_outputs", "\"hash\"", "text", "all", NULL, NULL, false },
    { "study_name", "null", "x", "5", NULL, NULL, true },
};

static const char *setting(struct fixture *f, const char *path, const char *value)
{
    return llem_arena_printf(&f->a, "%s=%s", path, value);
}

static bool accepts(struct fixture *f, const char *path, const char *value)
{
    /* An adapter needs a name, and lora needs an engine that takes one. */
    const char *help = strncmp(path, "lora.", 5) == 0 ? "lora.adapter_id=x" : "study_name=null";
    llem_errcode rc = load(f, NULL, "task.model=m", help, setting(f, path, value), NULL);

    if (rc < 0 && rc != LLEM_ECONFIG)
        fail_msg("%s=%s: code %d", path, value, rc);
    if (rc < 0 && !strstr(llem_config_errors(f->ctx), path))
        fail_msg("%s=%s: the sentence does not name it: %s", path, value,
                 llem_config_errors(f->ctx));
    return rc == LLEM_OK;
}

static void every_bound_of_the_seeds_holds(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(seeds); i++) {
        const char *path = seeds[i].path;
        if (!accepts(f, path, seeds[i].in))
            fail_msg("%s=%s is refused: %s", path, seeds[i].in, llem_config_errors(f->ctx));
        if (accepts(f, path, seeds[i].out))
            fail_msg("%s=%s is accepted", path, seeds[i].out);
        if (seeds[i].in_high && !accepts(f, path, seeds[i].in_high))
            fail_msg("%s=%s is refused: %s", path, seeds[i].in_high, llem_config_errors(f->ctx));
        if (seeds[i].out_high && accepts(f, path, seeds[i].out_high))
            fail_msg("%s=%s is accepted", path, seeds[i].out_high);
    }
}

static void every_default_of_the_seeds_holds(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, NULL, "task.model=m", "lora.adapter_id=x", NULL));
    for (size_t i = 0; i < LLEM_COUNT(seeds); i++)
        assert_setting(f, seeds[i].path, seeds[i].def);
    assert_setting(f, "lora.adapter_path", "null");
    assert_setting(f, "passthrough_kwargs", "null");
    assert_setting(f, "transformers", "null");
    assert_setting(f, "vllm", "null");
    assert_setting(f, "tensorrt", "null");
    assert_setting(f, "cpu", "null");
    must_load(f, load(f, NULL, "task.model=m", NULL));
    assert_setting(f, "lora", "null");
}

static void null_is_a_value_only_where_the_seeds_say_so(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(seeds); i++) {
        if (accepts(f, seeds[i].path, "null") != seeds[i].nullable)
            fail_msg("%s=null is %s", seeds[i].path, seeds[i].nullable ? "refused" : "accepted");
        if (seeds[i].nullable)
            assert_setting(f, seeds[i].path, "null");
    }
    assert_false(accepts(f, "task", "null"));
    assert_false(accepts(f, "measurement", "null"));
    assert_false(accepts(f, "measurement.warmup", "null"));
    assert_false(accepts(f, "task.dataset", "null"));
    assert_true(accepts(f, "lora", "null"));
    assert_true(accepts(f, "transformers", "null"));
    assert_true(accepts(f, "passthrough_kwargs", "null"));
}

/* The table above names every shared row, so that a new one cannot be forgotten. */
static void no_shared_row_is_missing_from_the_table(void **state)
{
    (void)state;
    for (const struct llem_row *r = llem_shared_rows; r->path; r++) {
        bool found = r->type == LLEM_TYPE_SECTION || r->type == LLEM_TYPE_MAP ||
                     r->type == LLEM_TYPE_ANY || strcmp(r->path, "task.model") == 0 ||
                     strncmp(r->path, "lora.adapter", 12) == 0;
        for (size_t i = 0; i < LLEM_COUNT(seeds); i++)
            found = found || strcmp(seeds[i].path, r->path) == 0;
        if (!found)
            fail_msg("%s is in no test", r->path);
    }
}

static const char *engine_of(const struct llem_row *row)
{
    static char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(row->path, "."), row->path);
    return name;
}

static bool engine_accepts(struct fixture *f, const struct llem_row *row, const char *value)
{
    const char *engine = llem_arena_printf(&f->a, "engine=%s", engine_of(row));
    llem_errcode rc;
    llem_setting settings[] = {
        { "task.model", "m", "--set", 0 },
        { "engine", engine + 7, "--set", 0 },
        { row->path, value, "--set", 0 },
        /* What some rows need beside them. */
        { "transformers.load_in_4bit", "true", "--set", 0 },
        { "transformers.torch_compile", "true", "--set", 0 },
    };
    size_t count = strcmp(engine + 7, "transformers") == 0 ? 5 : 3;

    if (count == 5 && (!strchr(row->path, '.') || strcmp(row->path, settings[3].path) == 0 ||
                       strcmp(row->path, settings[4].path) == 0 ||
                       strcmp(row->path, "transformers.load_in_8bit") == 0))
        count = 3;
    llem_config_free(f->config);
    f->config = NULL;
    rc = llem_config_load(&f->config, f->ctx, NULL, settings, count, &f->err);
    if (rc < 0 && !strstr(llem_config_errors(f->ctx), row->path))
        fail_msg("%s=%s: the sentence does not name it: %s", row->path, value,
                 llem_config_errors(f->ctx));
    return rc == LLEM_OK;
}

static void check_engine_row(struct fixture *f, const struct llem_row *row)
{
    const char *values[8] = { NULL };
    char low[64], high[64], below[64], above[64], *choice;
    double step = row->type == LLEM_TYPE_INT ? 1 : 0.001;

    switch (row->type) {
    case LLEM_TYPE_INT:
    case LLEM_TYPE_REAL:
        if (isfinite(row->min)) {
            snprintf(low, sizeof(low), "%.10g", row->min);
            snprintf(below, sizeof(below), "%.10g", row->min - step);
            assert_true(engine_accepts(f, row, low) == !(row->flags & LLEM_ROW_MIN_OPEN));
            if (engine_accepts(f, row, below))
                fail_msg("%s=%s is accepted", row->path, below);
        }
        if (isfinite(row->max)) {
            snprintf(high, sizeof(high), "%.10g", row->max);
            snprintf(above, sizeof(above), "%.10g", row->max + step);
            assert_true(engine_accepts(f, row, high) == !(row->flags & LLEM_ROW_MAX_OPEN));
            if (engine_accepts(f, row, above))
                fail_msg("%s=%s is accepted", row->path, above);
        }
        values[0] = "[1]";
        values[1] = "word";
        values[2] = ".nan";
        break;
    case LLEM_TYPE_BOOL:
        assert_true(engine_accepts(f, row, "true"));
        values[0] = "2";
        values[1] = "word";
        break;
    case LLEM_TYPE_ENUM:
    case LLEM_TYPE_INT_ENUM:
        choice = llem_arena_strndup(&f->a, row->choices, strcspn(row->choices, "|"));
        assert_true(engine_accepts(f, row, choice));
        values[0] = "no such choice";
        values[1] = "{}";
        break;
    case LLEM_TYPE_STRING:
        assert_true(engine_accepts(f, row, "word"));
        values[0] = "5";
        values[1] = "[]";
        break;
    case LLEM_TYPE_MAP:
        assert_true(engine_accepts(f, row, "{a: 1}"));
        values[0] = "[]";
        break;
    case LLEM_TYPE_LIST:
        assert_true(engine_accepts(f, row, "[a]"));
        values[0] = "[1]";
        values[1] = "a";
        break;
    case LLEM_TYPE_SECTION:
        assert_true(engine_accepts(f, row, "{}"));
        values[0] = "5";
        assert_true(engine_accepts(f, row, "{no_such_setting: 1}") ==
                    !!(row->flags & LLEM_ROW_OPEN));
        break;
    case LLEM_TYPE_ANY:
        fail_msg("%s has no type", row->path);
    }
    for (size_t i = 0; values[i]; i++) {
        if (engine_accepts(f, row, values[i]))
            fail_msg("%s=%s is accepted", row->path, values[i]);
    }
    if (engine_accepts(f, row, "null") != !!(row->flags & LLEM_ROW_NULLABLE))
        fail_msg("%s=null: not as its row says", row->path);
    assert_true(row->type == LLEM_TYPE_SECTION || (row->help && *row->help));
}

static void rows_of_engines_hold_their_bounds(void **state)
{
    struct fixture *f = *state;
    const struct llem_engine_info *engines;
    size_t count, rows = 0;

    assert_int_equal(llem_engines(f->ctx, &engines, &count, &f->err), LLEM_OK);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        for (const struct llem_row *r = engines[i].rows; r->path; r++, rows++)
            check_engine_row(f, r);
    }
    assert_true(rows > 120);
}

/* The names and bounds of the seeds' engine options, counted and spot-checked by hand. */
static void the_engines_of_the_seeds_have_all_their_options(void **state)
{
    static const struct {
        const char *section;
        int settings;
    } counts[] = {
        { "transformers", 27 }, /* chat_template is ours, of the next two, too */
        { "transformers.sampling", 7 },
        { "vllm", 2 },
        { "vllm.engine", 24 },
        { "vllm.engine.speculative_config", 3 },
        { "vllm.engine.attention", 10 },
        { "vllm.sampling", 10 },
        { "vllm.beam_search", 3 },
        { "tensorrt", 10 },
        { "tensorrt.quant_config", 2 },
        { "tensorrt.kv_cache_config", 4 },
        { "tensorrt.scheduler_config", 1 },
        { "tensorrt.sampling", 8 },
        { "cpu", 4 },
        { "cpu.sampling", 6 },
    };
    struct fixture *f = *state;
    const struct llem_schema *s;
    const struct llem_row *const *rows;
    size_t count;

    assert_int_equal(llem_ctx_schema(f->ctx, &s, &f->err), LLEM_OK);
    rows = llem_schema_rows(s, &count);
    for (size_t k = 0; k < LLEM_COUNT(counts); k++) {
        size_t len = strlen(counts[k].section);
        int n = 0;
        for (size_t i = 0; i < count; i++) {
            const char *p = rows[i]->path;
            n += strncmp(p, counts[k].section, len) == 0 && p[len] == '.' &&
                 !strchr(p + len + 1, '.') && rows[i]->type != LLEM_TYPE_SECTION;
        }
        if (n != counts[k].settings)
            fail_msg("%s has %d settings, not %d", counts[k].section, n, counts[k].settings);
    }
    assert_int_equal(llem_schema_find(s, "vllm.engine.block_size")->type, LLEM_TYPE_INT_ENUM);
    assert_true(llem_schema_find(s, "vllm.engine.gpu_memory_utilization")->flags &
                LLEM_ROW_MAX_OPEN);
    assert_true(llem_schema_find(s, "vllm.sampling.top_k")->min == -INFINITY);
    assert_true(llem_schema_find(s, "transformers.sampling.repetition_penalty")->min == 0.1);
    assert_null(llem_schema_find(s, "vllm.sampling.max_tokens"));
    assert_null(llem_schema_find(s, "task.dataset."));
    assert_null(llem_schema_find(s, ""));
}

static const struct {
    const char *path, *text, *json; /* json NULL: refused */
} coercions[] = {
    { "task.random_seed", "4", "4" },
    { "task.random_seed", "4.0", "4" },
    { "task.random_seed", "true", "1" },
    { "task.random_seed", "\"4\"", "4" },
    { "task.random_seed", "\"4.0\"", "4" },
    { "task.random_seed", "\" 4 \"", "4" },
    { "task.random_seed", "4.5", NULL },
    { "task.random_seed", "\"4.5\"", NULL },
    { "task.random_seed", "\"\"", NULL },
    { "task.random_seed", "1.0e+30", NULL },
    { "task.random_seed", "010", "8" },
    { "task.random_seed", "12:30", "750" },
    { "task.random_seed", "0x1F", "31" },
    { "task.random_seed", "1_000", "1000" },
    { "task.random_seed", "1e3", "1000" },
    { "measurement.warmup.cv_threshold", "1e-1", "0.1" },
    { "measurement.warmup.cv_threshold", "\"0.1\"", "0.1" },
    { "measurement.warmup.thermal_floor_seconds", "45", "45.0" },
    { "measurement.warmup.thermal_floor_seconds", "nan", NULL },
    { "measurement.warmup.thermal_floor_seconds", ".inf", NULL },
    { "measurement.warmup.thermal_floor_seconds", "inf", NULL },
    { "measurement.quick", "yes", "true" },
    { "measurement.quick", "\"Yes\"", "true" },
    { "measurement.quick", "t", "true" },
    { "measurement.quick", "y", "true" },
    { "measurement.quick", "1", "true" },
    { "measurement.quick", "1.0", "true" },
    { "measurement.quick", "\"1\"", "true" },
    { "measurement.quick", "0", "false" },
    { "measurement.quick", "off", "false" },
    { "measurement.quick", "N", "false" },
    { "measurement.quick", "2", NULL },
    { "measurement.quick", "0.5", NULL },
    { "measurement.quick", "ja", NULL },
    { "study_name", "5", NULL },
    { "study_name", "yes", NULL },
    { "study_name", "\"5\"", "\"5\"" },
    { "transformers.my_own", "1e-3", "\"1e-3\"" },
    { "transformers.my_own", "010", "8" },
    { "transformers.my_own", "[1, {a: null}]", "[1,{\"a\":null}]" },
};

static void values_take_the_kind_of_their_row(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(coercions); i++) {
        bool ok = load(f, NULL, "task.model=m", setting(f, coercions[i].path, coercions[i].text),
                       NULL) == LLEM_OK;
        if (ok != (coercions[i].json != NULL))
            fail_msg("%s=%s is %s", coercions[i].path, coercions[i].text,
                     ok ? "accepted" : "refused");
        if (ok)
            assert_setting(f, coercions[i].path, coercions[i].json);
    }
    assert_contains(f->log, "warning: task.random_seed is true; it is read as 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_bound_of_the_seeds_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(every_default_of_the_seeds_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(null_is_a_value_only_where_the_seeds_say_so, setup,
                                        teardown),
        cmocka_unit_test(no_shared_row_is_missing_from_the_table),
        cmocka_unit_test_setup_teardown(rows_of_engines_hold_their_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(the_engines_of_the_seeds_have_all_their_options, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(values_take_the_kind_of_their_row, setup, teardown),
    };

    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
