/* SPDX-License-Identifier: MIT
 *
 * Loading: precedence of each pair of neighbours, merging, presets, paths, where values came from,
 * the user's configuration and the variables of the environment.
 */
#include "tests/unit/config/help.h"

static const char *minimal(struct fixture *f)
{
    return put(f, "minimal.yaml", "task: {model: gpt2}\n");
}

static void assert_origin(struct fixture *f, const char *path, const char *want)
{
    char *origin = llem_config_origin(f->config, path);
    char copy[600];

    if (!origin)
        fail_msg("%s has no origin", path);
    snprintf(copy, sizeof(copy), "%s", origin);
    free(origin);
    assert_string_equal(copy, want);
}

/* ---- precedence ---------------------------------------------------------------------------- */

static void a_setting_wins_over_a_variable(void **state)
{
    struct fixture *f = *state;

    setenv("LLEM_OUTPUT_DIR", "from-variable", 1);
    must_load(f, load(f, minimal(f), "output.results_dir=from-flag", NULL));
    assert_setting(f, "output.results_dir", "\"from-flag\"");
    assert_origin(f, "output.results_dir", "--set");
}

static void a_variable_wins_over_the_file(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "a.yaml", "task: {model: gpt2}\noutput: {results_dir: from-file}\n");

    setenv("LLEM_OUTPUT_DIR", "from-variable", 1);
    setenv("LLEM_SAVE_TIMESERIES", "0", 1);
    must_load(f, load(f, path, NULL));
    assert_setting(f, "output.results_dir", "\"from-variable\"");
    assert_setting(f, "output.save_timeseries", "false");
    assert_origin(f, "output.results_dir", "LLEM_OUTPUT_DIR");
}

static void the_file_wins_over_the_user_configuration(void **state)
{
    struct fixture *f = *state;
    const char *path =
        put(f, "a.yaml", "task: {model: gpt2}\nmeasurement: {energy_sampler: null}\n");

    put(f, "user.yaml", "measurement: {energy_sampler: rapl}\n");
    must_load(f, load(f, path, NULL));
    assert_setting(f, "measurement.energy_sampler", "null");
}

static void the_user_configuration_wins_over_the_default(void **state)
{
    struct fixture *f = *state;
    char want[600];

    put(f, "user.yaml", "measurement:\n  energy_sampler: rapl\noutput: {results_dir: mine}\n");
    must_load(f, load(f, minimal(f), NULL));
    assert_setting(f, "measurement.energy_sampler", "\"rapl\"");
    assert_setting(f, "output.results_dir", "\"mine\"");
    snprintf(want, sizeof(want), "%s:2:19", in_dir(f, "user.yaml"));
    assert_origin(f, "measurement.energy_sampler", want);
}

/* No setting can come from both, so that their order can only be shown by the rows themselves. */
static void presets_and_the_user_configuration_do_not_meet(void **state)
{
    struct fixture *f = *state;

    put(f, "user.yaml", "measurement: {energy_sampler: estimate}\n");
    must_load(f, load(f, minimal(f), "sampling_preset=standard", NULL));
    assert_setting(f, "measurement.energy_sampler", "\"estimate\"");
    assert_setting(f, "transformers.sampling.top_p", "0.95");
    put(f, "user2.yaml", "sampling_preset: standard\n");
    assert_int_equal(rename(in_dir(f, "user2.yaml"), in_dir(f, "user.yaml")), 0);
    renew(f);
    assert_int_equal(load(f, minimal(f), NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "unknown key \"sampling_preset\"");
}

static void a_preset_wins_over_the_default_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "a.yaml",
                           "task: {model: gpt2}\nsampling_preset: creative\n"
                           "transformers: {sampling: {top_p: 0.5, temperature: null}}\n");

    must_load(f, load(f, path, NULL));
    assert_setting(f, "transformers.sampling.repetition_penalty", "1.1");
    assert_setting(f, "transformers.sampling.top_p", "0.5");
    assert_setting(f, "transformers.sampling.temperature", "null");
    assert_origin(f, "transformers.sampling.repetition_penalty", "sampling_preset: creative");
    assert_setting(f, "transformers.sampling.top_k", "null");
    assert_setting(f, "sampling_preset", "\"creative\"");
}

static void every_preset_has_the_values_of_the_seeds(void **state)
{
    static const struct {
        const char *name, *temperature, *top_p, *penalty;
    } want[] = {
        { "deterministic", "0.0", "null", "null" },
        { "standard", "1.0", "0.95", "null" },
        { "creative", "0.8", "0.9", "1.1" },
        { "factual", "0.3", "null", "null" },
    };
    static const char *const engines[] = { "transformers", "vllm", "tensorrt", "cpu" };
    struct fixture *f = *state;

    for (size_t e = 0; e < LLEM_COUNT(engines); e++) {
        for (size_t i = 0; i < LLEM_COUNT(want); i++) {
            char path[128];
            must_load(f, load(f, minimal(f),
                              llem_arena_printf(&f->a, "sampling_preset=%s", want[i].name),
                              llem_arena_printf(&f->a, "engine=%s", engines[e]), NULL));
            snprintf(path, sizeof(path), "%s.sampling.temperature", engines[e]);
            assert_setting(f, path, want[i].temperature);
            snprintf(path, sizeof(path), "%s.sampling.top_p", engines[e]);
            assert_setting(f, path, want[i].top_p);
            snprintf(path, sizeof(path), "%s.sampling.repetition_penalty", engines[e]);
            assert_setting(f, path, want[i].penalty);
        }
    }
}

static void presets_make_the_sections_they_need(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, minimal(f), "sampling_preset=factual", "transformers=null", NULL));
    assert_setting(f, "transformers.sampling.temperature", "0.3");
    must_load(f,
              load(f, minimal(f), "sampling_preset=factual", "transformers.sampling=null", NULL));
    assert_setting(f, "transformers.sampling.temperature", "0.3");
}

/* ---- merging -------------------------------------------------------------------------------- */

static void layers_merge_deeply_and_null_survives(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "a.yaml",
                           "task: {model: gpt2, max_output_tokens: 5, dataset: {n_prompts: 7}}\n"
                           "passthrough_kwargs: {a: 1, b: {c: 2}}\n");

    must_load(f, load(f, path, "task.max_output_tokens=null", "task.dataset.order=shuffled",
                      "passthrough_kwargs.b.d=3", NULL));
    assert_setting(f, "task.max_output_tokens", "null");
    assert_setting(f, "task.dataset.n_prompts", "7");
    assert_setting(f, "task.dataset.order", "\"shuffled\"");
    assert_setting(f, "passthrough_kwargs", "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}");
}

static void the_last_of_two_equal_settings_wins(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, minimal(f), "task.random_seed=1", "task.random_seed=2", NULL));
    assert_setting(f, "task.random_seed", "2");
}

static void a_literal_setting_is_text_as_it_stands(void **state)
{
    struct fixture *f = *state;
    llem_setting s[] = { { "task.model", "5", "-m", 1 } };

    assert_int_equal(llem_config_load(&f->config, f->ctx, NULL, s, 1, &f->err), LLEM_OK);
    assert_setting(f, "task.model", "\"5\"");
    assert_origin(f, "task.model", "-m");
    llem_config_free(f->config);
    f->config = NULL;
    s[0].literal = 0;
    assert_int_equal(llem_config_load(&f->config, f->ctx, NULL, s, 1, &f->err), LLEM_ECONFIG);
    assert_string_equal(f->err.msg, "-m: task.model must be text (put it in quotes), but is 5");
}

static void settings_are_answered_by_their_flag(void **state)
{
    struct fixture *f = *state;
    const llem_setting s[] = { { "task.model", "m", "-m", 1 },
                               { "task.dataset.n_prompts", "0", "-n", 0 },
                               { "task.modle", "0", NULL, 0 },
                               { "task..x", "0", "--set", 0 },
                               { "", "0", "--set", 0 },
                               { "task.model.x", "0", "--set", 0 },
                               { "task.dataset", "[1", "--set", 0 },
                               { "study_name", "a\xff", "--set", 0 } };

    assert_int_equal(llem_config_load(&f->config, f->ctx, NULL, s, LLEM_COUNT(s), &f->err),
                     LLEM_ECONFIG);
    assert_string_equal(
        llem_config_errors(f->ctx),
        "--set: \"task..x\" is no name of a setting; write one like task.model\n"
        "--set: \"\" is no name of a setting; write one like task.model\n"
        "--set: task.model.x cannot be set, because a section around it has been given a value\n"
        "--set: the value of task.dataset cannot be read: [1\n"
        "--set: the value of study_name is not valid UTF-8\n"
        "-n: task.dataset.n_prompts must be at least 1, but is 0\n"
        "setting: unknown key \"modle\" in task; did you mean \"model\"?");
}

static void nothing_to_run_is_answered_with_two_examples(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load(f, NULL, NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "llem run examples/quickstart.yaml");
    assert_contains(f->err.msg, "llem run -m ");
    assert_int_equal(load(f, NULL, "engine=cpu", NULL), LLEM_ECONFIG);
}

/* ---- paths ---------------------------------------------------------------------------------- */

static const char *resolved(struct fixture *f, const char *path)
{
    return llem_config_path(f->config, &f->a, path);
}

static void paths_of_a_file_are_relative_to_it(void **state)
{
    struct fixture *f = *state;
    const char *path;

    assert_int_equal(llem_mkdirs(in_dir(f, "sub/models/tiny"), NULL), LLEM_OK);
    put(f, "sub/prompts.jsonl", "");
    path = put(f, "sub/a.yaml",
               "task: {model: ./models/none, dataset: {source: prompts.jsonl}}\n"
               "lora: {adapter_path: my-lora}\noutput: {results_dir: out}\n");
    must_load(f, load(f, path, NULL));
    assert_string_equal(resolved(f, "task.model") + strlen(f->dir), "/sub/./models/none");
    assert_string_equal(resolved(f, "task.dataset.source"), in_dir(f, "sub/prompts.jsonl"));
    assert_string_equal(resolved(f, "lora.adapter_path"), in_dir(f, "sub/my-lora"));
    assert_string_equal(resolved(f, "output.results_dir"), in_dir(f, "sub/out"));
    /* The hash takes the text as written. */
    assert_setting(f, "task.model", "\"./models/none\"");
    path = put(f, "sub/b.yaml", "task: {model: models/tiny}\n");
    must_load(f, load(f, path, NULL));
    assert_string_equal(resolved(f, "task.model"), in_dir(f, "sub/models/tiny"));
}

static void hub_ids_and_names_stay_as_they_are(void **state)
{
    struct fixture *f = *state;
    const char *path;

    put(f, "random", "a file of that name is not meant");
    path = put(f, "a.yaml",
               "task: {model: Qwen/Qwen2.5-0.5B, dataset: {source: random, input_tokens: 5}}\n");
    must_load(f, load(f, path, NULL));
    assert_string_equal(resolved(f, "task.model"), "Qwen/Qwen2.5-0.5B");
    assert_string_equal(resolved(f, "task.dataset.source"), "random");
    assert_null(resolved(f, "no.such.setting"));
    assert_null(resolved(f, "lora.adapter_path"));
}

static void paths_of_settings_are_relative_to_the_working_directory(void **state)
{
    struct fixture *f = *state;
    const char *path;
    char cwd[512];

    assert_int_equal(llem_mkdirs(in_dir(f, "sub"), NULL), LLEM_OK);
    assert_int_equal(llem_mkdirs(in_dir(f, "here"), NULL), LLEM_OK);
    path = put(f, "sub/a.yaml", "task: {model: gpt2}\n");
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(in_dir(f, "here")), 0);
    must_load(f, load(f, path, "task.model=./x", "output.results_dir=out", NULL));
    assert_int_equal(chdir(cwd), 0);
    assert_string_equal(resolved(f, "output.results_dir"), in_dir(f, "here/out"));
    assert_contains(resolved(f, "task.model"), "/here/");
}

/* ---- provenance ------------------------------------------------------------------------------ */

static char *as_json(struct fixture *f, const struct llem_value *v)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    char *text;

    llem_json_dump(&b, v, LLEM_JSON_COMPACT);
    text = llem_arena_strdup(&f->a, b.data);
    llem_buf_done(&b);
    return text;
}

static void the_resolution_names_what_differs_and_why(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "a.yaml",
                           "task: {model: gpt2, max_output_tokens: null, random_seed: 42}\n"
                           "sampling_preset: factual\ntransformers: {my_own: 1, batch_size: 2}\n");

    put(f, "user.yaml", "measurement: {energy_sampler: rapl}\n");
    setenv("LLEM_SAVE_TIMESERIES", "no", 1);
    must_load(f, load(f, path, "task.dataset.n_prompts=5", NULL));
    assert_string_equal(
        as_json(f, llem_config_resolution(f->config, &f->a)),
        "{\"schema_version\":\"1.0\",\"overrides\":{"
        "\"measurement.energy_sampler\":{\"effective\":\"rapl\",\"source\":\"user_config\","
        "\"default\":\"auto\"},"
        "\"output.save_timeseries\":{\"effective\":false,\"source\":\"environment\","
        "\"default\":true},"
        "\"sampling_preset\":{\"effective\":\"factual\",\"source\":\"yaml\",\"default\":null},"
        "\"task.dataset.n_prompts\":{\"effective\":5,\"source\":\"cli_flag\",\"default\":100},"
        "\"task.max_output_tokens\":{\"effective\":null,\"source\":\"yaml\",\"default\":256},"
        "\"task.model\":{\"effective\":\"gpt2\",\"source\":\"yaml\"},"
        "\"transformers.batch_size\":{\"effective\":2,\"source\":\"yaml\",\"default\":null},"
        "\"transformers.my_own\":{\"effective\":1,\"source\":\"yaml\"},"
        "\"transformers.sampling.temperature\":{\"effective\":0.3,\"source\":\"preset\","
        "\"default\":null}}}");
}

static void provenance_has_file_and_place(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "a.yaml", "task:\n  model: gpt2\n  random_seed: 42\n");
    struct llem_value *p;

    must_load(f, load(f, path, "engine=cpu", NULL));
    p = llem_config_provenance(f->config, &f->a);
    assert_int_equal(p->count, 3);
    assert_string_equal(as_json(f, llem_get(p, "engine")), "{\"source\":\"cli_flag\","
                                                           "\"file\":\"--set\",\"line\":null,"
                                                           "\"column\":null}");
    /* A value that was given is told even where it equals the default: it is what warm-up asks. */
    assert_int_equal(llem_int_at(llem_get(p, "task.random_seed"), "line", 0), 3);
    assert_int_equal(llem_int_at(llem_get(p, "task.random_seed"), "column", 0), 16);
    assert_string_equal(llem_str_at(llem_get(p, "task.model"), "file", ""), path);
    assert_origin(f, "task.max_input_tokens", "default");
    assert_null(llem_config_origin(f->config, "no.such"));
    assert_null(llem_config_get(f->config, "no.such"));
}

/* ---- the user's configuration ---------------------------------------------------------------- */

static const struct llem_value *user(struct fixture *f)
{
    const struct llem_value *v = NULL;

    renew(f);
    if (llem_user_config(f->ctx, &v, &f->err) < 0)
        fail_msg("%s", f->err.msg);
    return v;
}

static void a_missing_or_empty_user_configuration_is_all_defaults(void **state)
{
    static const char want[] =
        "{\"output\":{\"results_dir\":\"./results\",\"model_cache_dir\":\"~/.cache/huggingface\"},"
        "\"runners\":{\"transformers\":\"auto\",\"vllm\":\"auto\",\"tensorrt\":\"auto\"},"
        "\"images\":{\"transformers\":null,\"vllm\":null,\"tensorrt\":null},"
        "\"measurement\":{\"energy_sampler\":\"auto\",\"carbon_intensity_gco2_kwh\":null,"
        "\"datacenter_pue\":1.0},"
        "\"ui\":{\"log_level\":\"WARNING\",\"prompt\":true,\"progress_mode\":\"auto\"},"
        "\"execution\":{\"experiment_gap_seconds\":60.0,\"cycle_gap_seconds\":300.0}}";
    struct fixture *f = *state;

    assert_string_equal(as_json(f, user(f)), want);
    put(f, "user.yaml", "# nothing\n");
    assert_string_equal(as_json(f, user(f)), want);
    put(f, "user.yaml", "ui:\nrunners:\n");
    assert_string_equal(as_json(f, user(f)), want);
}

static void all_errors_of_the_user_configuration_come_at_once(void **state)
{
    struct fixture *f = *state;
    const struct llem_value *v;

    put(f, "user.yaml",
        "ui: {promt: false, log_level: debug}\n"
        "measurement: {datacenter_pue: 0.9, energy_sampler: null}\n"
        "runners: {vllm: dokcer, tensorrt: 'singularity:x', transformers: 'docker:'}\n"
        "execution: {cycle_gap_seconds: -1}\nexperiments: 5\n");
    renew(f);
    assert_int_equal(llem_user_config(f->ctx, &v, &f->err), LLEM_ECONFIG);
    assert_contains(f->err.msg, ":1:6: unknown key \"promt\" in ui; did you mean \"prompt\"?");
    assert_contains(f->err.msg,
                    "ui.log_level must be WARNING, INFO or DEBUG, but is \"debug\"; did "
                    "you mean \"DEBUG\"?");
    assert_contains(f->err.msg, "measurement.datacenter_pue must be at least 1, but is 0.9");
    assert_contains(f->err.msg, "measurement.energy_sampler cannot be null");
    assert_contains(f->err.msg, "runners.vllm must be auto, local");
    assert_contains(f->err.msg, "singularity is not supported");
    assert_contains(f->err.msg, "runners.transformers must be auto");
    assert_contains(f->err.msg, "execution.cycle_gap_seconds must be at least 0 s, but is -1 s");
    assert_contains(f->err.msg, "(and 1 more)");
    assert_contains(llem_config_errors(f->ctx), ":5:1: unknown key \"experiments\"");
    /* And so does every load, with the same sentences. */
    assert_int_equal(load(f, minimal(f), NULL), LLEM_ECONFIG);
    assert_contains(llem_config_errors(f->ctx), "user.yaml:1:6: unknown key");
}

static void a_broken_user_configuration_has_its_place(void **state)
{
    struct fixture *f = *state;
    const struct llem_value *v;

    put(f, "user.yaml", "- 1\n");
    assert_int_equal(llem_user_config(f->ctx, &v, &f->err), LLEM_ECONFIG);
    assert_contains(f->err.msg, "must be a map of settings");
    put(f, "user.yaml", "ui: {\n");
    assert_int_equal(llem_user_config(f->ctx, &v, &f->err), LLEM_ECONFIG);
    assert_contains(f->err.file, "user.yaml");
    assert_true(f->err.line > 0);
}

/* ---- variables ------------------------------------------------------------------------------- */

static void variables_set_rows_of_the_user_configuration(void **state)
{
    struct fixture *f = *state;
    const struct llem_value *v;

    put(f, "user.yaml", "ui: {prompt: true}\nmeasurement: {datacenter_pue: 2}\n");
    setenv("LLEM_CARBON_INTENSITY", "35.5", 1);
    setenv("LLEM_DATACENTER_PUE", "1.2", 1);
    setenv("LLEM_NO_PROMPT", "whatever", 1);
    setenv("LLEM_LOG_LEVEL", "debug", 1);
    setenv("LLEM_RUNNER_VLLM", "docker:me/vllm:1", 1);
    setenv("LLEM_IMAGE_VLLM", "me/vllm:1", 1);
    v = user(f);
    assert_true(llem_real_at(v, "measurement.carbon_intensity_gco2_kwh", 0) == 35.5);
    assert_true(llem_real_at(v, "measurement.datacenter_pue", 0) == 1.2);
    assert_false(llem_bool_at(v, "ui.prompt", true));
    assert_string_equal(llem_str_at(v, "ui.log_level", ""), "DEBUG");
    assert_string_equal(llem_str_at(v, "runners.vllm", ""), "docker:me/vllm:1");
    assert_string_equal(llem_str_at(v, "images.vllm", ""), "me/vllm:1");
    assert_string_equal(llem_at(v, "measurement.datacenter_pue")->file, "LLEM_DATACENTER_PUE");
}

static void bad_values_of_variables_are_errors_that_name_them(void **state)
{
    static const struct {
        const char *name, *value, *sentence;
    } bad[] = {
        { "LLEM_CARBON_INTENSITY", "low", "must be a finite number, but is \"low\"" },
        { "LLEM_CARBON_INTENSITY", "-1", "must be at least 0 gCO2/kWh, but is -1" },
        { "LLEM_DATACENTER_PUE", "0.5", "must be at least 1, but is 0.5" },
        { "LLEM_LOG_LEVEL", "LOUD", "must be WARNING, INFO or DEBUG" },
        { "LLEM_TABLE_ROWS", "2", "must be at least 3, but is 2" },
        { "LLEM_TABLE_ROWS", "many", "must be a whole number" },
        { "LLEM_SAVE_TIMESERIES", "maybe", "must be true or false, but is \"maybe\"" },
        { "LLEM_TRUST_REMOTE_CODE", "2", "must be true or false" },
        { "LLEM_OUTPUT_DIR", "a\xff", "is not valid UTF-8" },
        { "LLEM_RUNNER_VLLM", "podman", "must be auto, local" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(bad); i++) {
        setenv(bad[i].name, bad[i].value, 1);
        renew(f);
        if (load(f, minimal(f), NULL) != LLEM_ECONFIG)
            fail_msg("%s=%s is accepted", bad[i].name, bad[i].value);
        assert_contains(llem_config_errors(f->ctx), bad[i].name);
        assert_contains(llem_config_errors(f->ctx), bad[i].sentence);
        unsetenv(bad[i].name);
    }
    renew(f);
    must_load(f, load(f, minimal(f), NULL));
}

static void unknown_variables_are_told_with_the_nearest(void **state)
{
    struct fixture *f = *state;

    setenv("LLEM_OUTPUTDIR", "x", 1);
    setenv("LLEM_RUNNER_MINE", "local", 1);
    must_load(f, load(f, minimal(f), NULL));
    assert_contains(f->log, "warning: LLEM_OUTPUTDIR is no variable llem knows; did you mean "
                            "LLEM_OUTPUT_DIR?");
    assert_null(strstr(f->log, "LLEM_RUNNER_MINE"));
    assert_null(strstr(f->log, "LLEM_TEST"));
}

static void variables_in_force_are_listed(void **state)
{
    struct fixture *f = *state;

    setenv("LLEM_SYSFS", "/fake", 1);
    setenv("LLEM_NVML_LIBRARY", "", 1);
    assert_string_equal(as_json(f, llem_variables_in_force(f->ctx, &f->a)),
                        "{\"LLEM_SYSFS\":\"/fake\"}");
}

static void every_row_a_variable_names_exists(void **state)
{
    struct fixture *f = *state;

    for (const struct llem_variable *v = llem_variables; v->name; v++) {
        assert_true(v->help && *v->help);
        if (!v->row)
            continue;
        must_load(f, load(f, minimal(f), NULL));
        char *experiment = llem_config_get(f->config, v->row);
        bool found = experiment || llem_at(user(f), v->row);
        free(experiment);
        if (!found)
            fail_msg("%s sets %s, which there is not", v->name, v->row);
    }
}

static void likely_slips_in_open_sections_are_told(void **state)
{
    struct fixture *f = *state;

    must_load(
        f, load(f, minimal(f), "engine=vllm", "vllm.max_num_seqs=4", "vllm.quite_unknown=1", NULL));
    assert_contains(f->log, "vllm.max_num_seqs is no setting llem knows");
    assert_contains(f->log, "did you mean vllm.engine.max_num_seqs?");
    assert_null(strstr(f->log, "quite_unknown"));
}

static void the_length_of_random_prompts_is_told_where_it_is_not_used(void **state)
{
    struct fixture *f = *state;

    must_load(f, load(f, minimal(f), "task.dataset.input_tokens=5", NULL));
    assert_contains(f->log, "warning: task.dataset.input_tokens is only for");
    f->log[0] = '\0';
    must_load(
        f, load(f, minimal(f), "task.dataset.input_tokens=5", "task.dataset.source=random", NULL));
    assert_string_equal(f->log, "");
}

/* Every allocation of a small load fails once; nothing leaks, nothing is half done. */
static void a_load_without_memory_says_so(void **state)
{
    struct fixture *f = *state;
    const char *path = minimal(f);

    for (size_t max = 1024; max < 200000; max += 4096) {
        struct llem_arena a = { .max = max };
        struct llem_value *v = NULL;
        llem_errcode rc = llem_yaml_load(&a, &v, path, &f->err);
        assert_true(rc == LLEM_OK || rc == LLEM_ENOMEM);
        llem_arena_done(&a);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_setting_wins_over_a_variable),
        TEST(a_variable_wins_over_the_file),
        TEST(the_file_wins_over_the_user_configuration),
        TEST(the_user_configuration_wins_over_the_default),
        TEST(presets_and_the_user_configuration_do_not_meet),
        TEST(a_preset_wins_over_the_default_and_nothing_else),
        TEST(every_preset_has_the_values_of_the_seeds),
        TEST(presets_make_the_sections_they_need),
        TEST(layers_merge_deeply_and_null_survives),
        TEST(the_last_of_two_equal_settings_wins),
        TEST(a_literal_setting_is_text_as_it_stands),
        TEST(settings_are_answered_by_their_flag),
        TEST(nothing_to_run_is_answered_with_two_examples),
        TEST(paths_of_a_file_are_relative_to_it),
        TEST(hub_ids_and_names_stay_as_they_are),
        TEST(paths_of_settings_are_relative_to_the_working_directory),
        TEST(the_resolution_names_what_differs_and_why),
        TEST(provenance_has_file_and_place),
        TEST(a_missing_or_empty_user_configuration_is_all_defaults),
        TEST(all_errors_of_the_user_configuration_come_at_once),
        TEST(a_broken_user_configuration_has_its_place),
        TEST(variables_set_rows_of_the_user_configuration),
        TEST(bad_values_of_variables_are_errors_that_name_them),
        TEST(unknown_variables_are_told_with_the_nearest),
        TEST(variables_in_force_are_listed),
        TEST(every_row_a_variable_names_exists),
        TEST(likely_slips_in_open_sections_are_told),
        TEST(the_length_of_random_prompts_is_told_where_it_is_not_used),
        TEST(a_load_without_memory_says_so),
    };

    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
