/* SPDX-License-Identifier: MIT
 *
 * Files of LLenergyMeasure's other schemas: told by the names they use, and rewritten by a table of
 * what each setting is called here. What has no equivalent is listed with the reason, never lost
 * without a word.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/internal.h"

/* The schemas, newest first; a file is of the first one that it has a name of. */
enum { V07 = 1, V1 = 2, V20 = 4, FLAT = 8, OLD = V1 | V20 | FLAT, NAMES = 14 };

static const struct schema {
    unsigned bit;
    const char *name;
    const char *names[NAMES]; /* top-level keys, or "*.key" of an engine's section */
} schemas[] = {
    { V07,
      "of release 0.7 (serving_mode)",
      { "serving_mode", "offline", "server", "*.engine_params", "*.sampling_params",
        "*.llem_execution" } },
    { V1,
      "of its first releases (config_name, campaign_name)",
      { "config_name", "campaign_name", "model_name", "fp_precision", "num_input_prompts", "grid",
        "schema_version", "timeseries", "traffic_simulation", "io" } },
    { V20,
      "of early 2026 (backend, n, precision)",
      { "backend", "n", "precision", "energy", "dataset_order", "output_dir", "execution" } },
    { FLAT,
      "of spring 2026 (model, dtype, decoder at the top level)",
      { "model", "dtype", "decoder", "warmup", "baseline", "energy_sampler", "gpu_telemetry",
        "dataset", "max_input_tokens", "max_output_tokens", "random_seed", "pytorch", "name" } },
};

/*
 * Where a setting went. The first row of the file's schema that has the whole path decides, else
 * the longest beginning (a row that ends with a dot), else the path stays. In `to`, $E is each
 * engine of the file, and the first of the alternatives that the engine has is taken. No `to`: no
 * equivalent, with the reason, or (no reason) nothing is lost. `also`: a setting made besides.
 */
static const struct rule {
    unsigned schemas;
    const char *from, *to;
    const char *words; /* the table of values below that is applied */
    const char *why;
    const char *also; /* path=JSON */
} rules[] = {
    /* clang-format off */
    { OLD, "model", "task.model" },
    { OLD, "model_name", "task.model" },
    { OLD, "backend", "engine", "engine" },
    { OLD | V07, "engine", "engine", "engine" },
    { OLD, "name", "study_name" },
    { OLD, "config_name", "study_name" },
    { OLD, "campaign_name", "study_name" },
    { OLD, "schema_version" },
    { OLD, "n", "task.dataset.n_prompts" },
    { OLD, "num_input_prompts", "task.dataset.n_prompts" },
    { OLD, "num_samples", "task.dataset.n_prompts" },
    { OLD, "dataset", "task.dataset.source", "dataset" },
    { OLD, "dataset.name", "task.dataset.source", "dataset" },
    { OLD, "dataset.source", "task.dataset.source", "dataset" },
    { OLD, "dataset.sample_size", "task.dataset.n_prompts" },
    { OLD, "dataset.n", "task.dataset.n_prompts", .also = "task.dataset.source=\"random\"" },
    { OLD, "dataset.input_len", "task.dataset.input_tokens", .also = "task.dataset.source=\"random\"" },
    { OLD, "dataset.output_len", "task.max_output_tokens" },
    { OLD, "dataset.seed", "task.random_seed" },
    { OLD, "dataset.split", .why = "llem reads prompts from a file or a data set it knows" },
    { OLD, "dataset.column", .why = "the text is the first of prompt, text, instruction, input, question" },
    { OLD, "dataset.", "task.dataset." },
    { OLD, "dataset_order", "task.dataset.order" },
    { V1, "prompts.type" },
    { V1, "prompts.path", "task.dataset.source" },
    { V1, "prompts.dataset", "task.dataset.source", "dataset" },
    { V1, "prompts.sample_size", "task.dataset.n_prompts" },
    { V1, "prompts.", .why = "llem reads prompts from a file or a data set it knows" },
    { OLD, "max_input_tokens", "task.max_input_tokens" },
    { OLD, "max_output_tokens", "task.max_output_tokens" },
    { OLD, "min_output_tokens", "$E.sampling.min_new_tokens|$E.sampling.min_tokens" },
    { OLD, "random_seed", "task.random_seed" },
    { OLD, "precision", "$E.dtype", "dtype" },
    { OLD, "fp_precision", "$E.dtype", "dtype" },
    { OLD, "dtype", "$E.dtype", "dtype" },
    { OLD, "batch_size", "$E.batch_size|$E.engine.max_num_seqs|$E.max_batch_size" },
    { OLD, "decoder.preset", "sampling_preset" },
    { OLD, "decoder.do_sample", "$E.sampling.do_sample" },
    { OLD, "decoder.min_new_tokens", "$E.sampling.min_new_tokens|$E.sampling.min_tokens" },
    { OLD, "decoder.", "$E.sampling." },
    { OLD, "warmup.", "measurement.warmup." },
    { OLD, "baseline.duration_sec", "measurement.baseline.duration_seconds" },
    { OLD, "baseline.cache_ttl_sec", "measurement.baseline.cache_ttl_seconds" },
    { OLD, "baseline.required", .why = "a baseline that cannot be measured is reported in the result" },
    { OLD, "baseline.sample_interval_ms", .why = "llem reads sensors as often as each of them gives" },
    { OLD, "baseline.", "measurement.baseline." },
    { OLD, "energy.backend", "measurement.energy_sampler" },
    { OLD, "energy_sampler", "measurement.energy_sampler" },
    { OLD, "gpu_telemetry", "output.save_timeseries" },
    { OLD, "timeseries.enabled", "output.save_timeseries" },
    { OLD, "timeseries.save", "output.save_timeseries" },
    { OLD, "timeseries.sample_interval_ms", .why = "llem reads sensors as often as each of them gives" },
    { OLD, "output_dir", "output.results_dir" },
    { OLD, "output.format", .why = "results are JSON and Parquet; llem show prints them in other forms" },
    { OLD, "io.results_dir", "output.results_dir" },
    { OLD, "io.", .why = "a study is one directory, which llem lays out" },
    { OLD, "save_outputs", "output.save_outputs", "outputs" },
    { OLD, "decode_token_to_text" },
    { OLD, "streaming", "measurement.latency_pass", NULL, "the times of tokens are taken in a pass of their own after the window" },
    { OLD, "streaming_warmup_requests", .why = "the pass for latencies comes after the warm-up of the run" },
    { OLD, "adapter", "lora.adapter_id", "adapter" },
    { OLD, "gpus", .why = "choose devices with CUDA_VISIBLE_DEVICES" },
    { OLD, "query_rate", .why = "llem hands all prompts to the engine at once" },
    { OLD, "traffic_simulation.", .why = "llem hands all prompts to the engine at once" },
    { OLD, "schedule.", .why = "llem runs when it is started; cron or systemd start it at a time" },
    { OLD, "daemon.", .why = "llem runs when it is started; cron or systemd start it at a time" },
    { OLD, "extra_metadata.", .why = "a result holds what was measured; keep notes beside it" },
    { OLD, "configs", .why = "convert each file; what experiments share is named under base" },
    { OLD, "group_by", .why = "llem compares every experiment of a study with the first" },
    { OLD, "health_check.", .why = "each experiment has a process of its own that ends with it" },
    { OLD, "cold_start.", .why = "each experiment has a process of its own, so every start is cold" },
    { OLD, "execution.cycles", "study_execution.n_cycles" },
    { OLD, "execution.structure", "study_execution.experiment_order", "order" },
    { OLD, "execution.cycle_order", "study_execution.experiment_order", "order" },
    { OLD, "execution.config_gap_seconds", "study_execution.experiment_gap_seconds" },
    { OLD, "execution.warmup_prompts", "measurement.warmup.n_warmup" },
    { OLD, "execution.warmup_timeout_seconds", .why = "a warm-up is bounded by its number of prompts" },
    { OLD, "execution.", "study_execution." },
    { OLD, "study_execution.experiment_order", "study_execution.experiment_order", "order" },

    { OLD, "pytorch.dtype", "transformers.dtype", "dtype" },
    { OLD, "pytorch.torch_compile", "transformers.torch_compile", "compile" },
    { V1, "pytorch.min_p", "transformers.sampling.min_p" },
    { V1, "pytorch.beam_search.enabled" },
    { V1, "pytorch.beam_search.", "transformers." },
    { V1, "pytorch.assisted_generation.", .why = "llem has no draft model for transformers" },
    { OLD, "pytorch.batching_strategy", .why = "batches are made of prompts in their order" },
    { OLD, "pytorch.max_tokens_per_batch", .why = "batches are made of prompts in their order" },
    { OLD, "pytorch.num_processes", .why = "an experiment is one engine; run one for each device" },
    { OLD, "pytorch.output_scores", .why = "llem keeps no scores" },
    { OLD, "pytorch.return_dict_in_generate", .why = "llem asks for what it needs" },
    { OLD, "pytorch.use_bettertransformer", .why = "transformers has it no longer" },
    { V1, "pytorch.extra.", "transformers." },
    { OLD, "pytorch.", "transformers." },

    { V1 | V20, "vllm.attention.flash_version", "vllm.engine.attention.flash_attn_version" },
    { V1 | V20, "vllm.attention.disable_sliding_window", "vllm.engine.disable_sliding_window" },
    { V1 | V20, "vllm.speculative.num_tokens", "vllm.engine.speculative_config.num_speculative_tokens" },
    { V1 | V20, "vllm.speculative.draft_tp_size", "vllm.engine.speculative_config.draft_tensor_parallel_size" },
    { V1 | V20, "vllm.speculative.", "vllm.engine.speculative_config." },
    { V1 | V20, "vllm.distributed_backend", "vllm.engine.distributed_executor_backend" },
    { V1 | V20, "vllm.lora.", .why = "an adapter is named under lora" },
    { V1 | V20, "vllm.min_p", "vllm.sampling.min_p" },
    { V1 | V20, "vllm.logprobs", "vllm.sampling.logprobs" },
    { V1 | V20, "vllm.logit_bias", "vllm.sampling.logit_bias" },
    { V1 | V20, "vllm.extra.", "vllm.engine." },
    { OLD, "vllm.dtype", "vllm.dtype", "dtype" },
    { OLD, "vllm.engine.speculative.", "vllm.engine.speculative_config." },
    { OLD, "vllm.engine.", "vllm.engine." },
    { OLD, "vllm.sampling.max_tokens", "task.max_output_tokens" },
    { OLD, "vllm.sampling.", "vllm.sampling." },
    { OLD, "vllm.beam_search.max_tokens", "task.max_output_tokens" },
    { OLD, "vllm.beam_search.", "vllm.beam_search." },
    { OLD, "vllm.", "vllm.engine." },

    { OLD, "tensorrt.dtype", "tensorrt.dtype", "dtype" },
    { OLD, "tensorrt.tp_size", "tensorrt.tensor_parallel_size" },
    { OLD, "tensorrt.pp_size", "tensorrt.pipeline_parallel_size" },
    { OLD, "tensorrt.quantization", "tensorrt.quant_config.quant_algo", "quantization" },
    { OLD, "tensorrt.quant.", "tensorrt.quant_config." },
    { OLD, "tensorrt.kv_cache.", "tensorrt.kv_cache_config." },
    { OLD, "tensorrt.scheduler.", "tensorrt.scheduler_config." },
    { OLD, "tensorrt.enable_kv_cache_reuse", "tensorrt.kv_cache_config.enable_block_reuse" },
    { OLD, "tensorrt.gpu_memory_utilization", "tensorrt.kv_cache_config.free_gpu_memory_fraction" },
    { OLD, "tensorrt.max_output_len", .why = "set max_seq_len, which is prompt and output together" },
    { OLD, "tensorrt.calibration.", .why = "llem quantises no weights; name a checkpoint that is" },
    { OLD, "tensorrt.calib.", .why = "llem quantises no weights; name a checkpoint that is" },
    { OLD, "tensorrt.build_cache.", .why = "LLEM_TRT_BUILD_CACHE_ENABLED and _PATH say where built engines are kept" },
    { OLD, "tensorrt.engine_cache_dir", .why = "LLEM_TRT_BUILD_CACHE_PATH says where built engines are kept" },
    { OLD, "tensorrt.force_rebuild", .why = "an engine is built where none is named with engine_path" },
    { OLD, "tensorrt.builder_opt_level", .why = "the LLM class of TensorRT-LLM has no such option" },
    { OLD, "tensorrt.strongly_typed", .why = "the LLM class of TensorRT-LLM has no such option" },
    { OLD, "tensorrt.multiple_profiles", .why = "the LLM class of TensorRT-LLM has no such option" },
    { OLD, "tensorrt.kv_cache_type", .why = "the LLM class of TensorRT-LLM has no such option" },
    { OLD, "tensorrt.draft_model", .why = "llem has no draft model for TensorRT-LLM" },
    { OLD, "tensorrt.num_draft_tokens", .why = "llem has no draft model for TensorRT-LLM" },
    { OLD, "tensorrt.extra_build_args.", .why = "the LLM class of TensorRT-LLM has no such option" },
    { OLD, "tensorrt.extra_runtime_args.", "tensorrt." },
    { OLD, "runners.pytorch", "runners.transformers" },
    { OLD, "images.pytorch", "images.transformers" },

    { V07, "serving_mode", NULL, "serving" },
    { V07, "server.", .why = "llem measures batches handed to the engine at once, no server under load" },
    { V07, "offline.warmup.n_prompts", "measurement.warmup.n_warmup" },
    { V07, "offline.warmup.", "measurement.warmup." },
    { V07, "measurement.latency_profiling", "measurement.latency_pass", NULL, "the times of tokens are taken in a pass of their own after the window" },
    { V07, "measurement.measurement_methodology", NULL, "methodology" },
    { V07, "measurement.measurement_window", .why = "llem's window is the whole of the work; the recording has all samples" },
    { V07, "measurement.warmup_discard_fraction", .why = "llem's window is the whole of the work; the recording has all samples" },
    { V07, "measurement.warmup_discard_seconds", .why = "llem's window is the whole of the work; the recording has all samples" },
    { V07, "measurement.steady_state_auto_detect", .why = "llem's window is the whole of the work; the recording has all samples" },
    { V07, "transformers.llem_execution.", "transformers." },
    { V07, "transformers.engine_params.", "transformers." },
    { V07, "transformers.sampling_params.", "transformers.sampling." },
    { V07, "vllm.engine_params.dtype", "vllm.dtype", "dtype" },
    { V07, "vllm.engine_params.beam_search.", "vllm.beam_search." },
    { V07, "vllm.engine_params.", "vllm.engine." },
    { V07, "vllm.sampling_params.", "vllm.sampling." },
    { V07, "tensorrt.engine_params.dtype", "tensorrt.dtype", "dtype" },
    { V07, "tensorrt.engine_params.", "tensorrt." },
    { V07, "tensorrt.sampling_params.", "tensorrt.sampling." },
    { V07, "study_execution.gpu_indices", .why = "choose devices with CUDA_VISIBLE_DEVICES" },
    { V07, "runners.", "runners.", "runner" },
    /* clang-format on */
};

/*
 * What values are called here, as JSON; a `*` at the end stands for any rest. Not in its table: the
 * value stays. `to` is empty: nothing needs to be said here. No `to`: it has no equivalent, with
 * the reason; both: it is converted, and the reason is what to look at. `also`: the setting that
 * gets the old value.
 */
static const struct word {
    const char *table, *from, *to, *why, *also;
} words[] = {
    { "engine", "\"pytorch\"", "\"transformers\"" },
    { "engine", "\"hf\"", "\"transformers\"" },
    { "dtype", "\"fp32\"", "\"float32\"" },
    { "dtype", "\"fp16\"", "\"float16\"" },
    { "dtype", "\"bf16\"", "\"bfloat16\"" },
    { "dtype", "\"half\"", "\"float16\"" },
    { "dtype", "\"float\"", "\"float32\"" },
    { "order", "\"interleaved\"", "\"interleave\"" },
    { "order", "\"shuffled\"", "\"shuffle\"" },
    { "order", "\"grouped\"", "\"sequential\"" },
    { "outputs", "true", "\"text\"" },
    { "outputs", "false", "\"hash\"" },
    { "runner", "\"process\"", "\"local\"" },
    { "runner", "\"container\"", "\"docker\"" },
    { "runner", "\"container:*", "\"docker:*" },
    { "serving", "\"offline\"", "" },
    { "serving", "*", NULL,
      "llem measures batches handed to the engine at once, no server under load" },
    { "methodology", "\"total\"", "" },
    { "methodology", "*", NULL,
      "llem's window is the whole of the work; the recording has all samples" },
    { "adapter", "\"/*", "", NULL, "lora.adapter_path" },
    { "adapter", "\".*", "", NULL, "lora.adapter_path" },
    { "adapter", "\"~*", "", NULL, "lora.adapter_path" },
    { "compile", "\"*", "true", NULL, "transformers.torch_compile_mode" },
    { "quantization", "\"none\"", "\"NO_QUANT\"" },
    { "quantization", "\"fp8\"", "\"FP8\"" },
    { "quantization", "\"int4_awq\"", "\"W4A16_AWQ\"" },
    { "quantization", "\"int4_gptq\"", "\"W4A16_GPTQ\"" },
    { "quantization", "\"int8_weight_only\"", "\"W8A16\"" },
    { "quantization", "\"int8_sq\"", NULL, "SmoothQuant is no quant_algo of llem's list" },
    { "dataset", "\"ai_energy_score\"", "\"aienergyscore\"" },
    { "dataset", "\"ai-energy-score\"", "\"aienergyscore\"" },
    { "dataset", "\"alpaca\"", "\"alpaca\"", "llem brings no such prompts; name a file of them" },
    { "dataset", "\"sharegpt\"", "\"sharegpt\"",
      "llem brings no such prompts; name a file of them" },
    { "dataset", "\"gsm8k\"", "\"gsm8k\"", "llem brings no such prompts; name a file of them" },
    { "dataset", "\"mmlu\"", "\"mmlu\"", "llem brings no such prompts; name a file of them" },
};

/* Defaults that are others here; written out, so that the same is measured. By their old names. */
static const struct old_default {
    unsigned schemas;
    const char *path, *value;
    const char *unless; /* this path is given as well */
} old_defaults[] = {
    { V1, "num_input_prompts", "1", "dataset" },
    { V1, "fp_precision", "\"float16\"" },
    { V1 | V20, "max_input_tokens", "512" },
    { V1 | V20, "max_output_tokens", "128", "dataset.output_len" },
    { OLD, "decoder.temperature", "1.0", "decoder.preset" },
    { OLD, "decoder.do_sample", "true", "decoder.preset" },
    { OLD, "decoder.top_k", "50" },
};

/* ---- telling schemas apart ------------------------------------------------------------------ */

/* Does the map use a name of the schema? *place: its value. */
static bool uses(const struct schema *s, const struct llem_value *map,
                 const struct llem_value **place)
{
    for (size_t i = 0; map && map->kind == LLEM_MAP && i < map->count; i++) {
        const struct llem_value *v = map->items[i];

        for (size_t k = 0; k < NAMES && s->names[k]; k++) {
            const char *name = s->names[k];

            if (llem_starts_with(name, "*.") ? v->kind == LLEM_MAP && llem_get(v, name + 2)
                                             : strcmp(name, map->keys[i]) == 0) {
                *place = v;
                return true;
            }
        }
    }
    return false;
}

/* Keys of axes and of groups' entries as if they stood at the top level: "vllm.engine_params.dtype"
 * tells as much. */
static bool swept(struct llem_arena *a, const struct schema *s, const struct llem_value *sweep,
                  const struct llem_value **place)
{
    for (size_t i = 0; sweep && sweep->kind == LLEM_MAP && i < sweep->count; i++) {
        const struct llem_value *v = sweep->items[i];
        struct llem_value *one = llem_map(a);

        llem_set_at(a, one, sweep->keys[i], llem_map(a));
        if (uses(s, one, place)) {
            *place = v;
            return true;
        }
        for (size_t k = 0; v->kind == LLEM_LIST && k < v->count; k++)
            if (v->items[k]->kind == LLEM_MAP && swept(a, s, v->items[k], place))
                return true;
    }
    return false;
}

static const struct schema *schema_of(struct llem_arena *a, const struct llem_value *root,
                                      const struct llem_value **place)
{
    const struct llem_value *experiments = llem_get(root, "experiments");

    for (size_t i = 0; i < LLEM_COUNT(schemas); i++) {
        const struct schema *s = &schemas[i];

        if (uses(s, root, place) || swept(a, s, llem_get(root, "sweep"), place))
            return s;
        for (size_t k = 0; experiments && experiments->kind == LLEM_LIST && k < experiments->count;
             k++)
            if (uses(s, experiments->items[k], place))
                return s;
    }
    return NULL;
}

bool llem__other_schema(struct llem__check *c, const struct llem_value *root, const char *path)
{
    static const char *const theirs[] = { "transformers", "vllm", "tensorrt", NULL };
    const char *engine = llem_str_at(root, "engine", "");
    const struct llem_value *place = NULL;
    const struct schema *s = schema_of(c->a, root, &place);
    int line, column;

    /* A file of ours with an old name in it is told of that name: it has a task, or an engine that
     * they never had. */
    if (!s || c->a->oom ||
        (s->bit != V07 && (llem_get(root, "task") || (llem__is_one_of(engine, c->schema->engines) &&
                                                      !llem__is_one_of(engine, theirs)))))
        return false;
    llem__key_place(c, place, &line, &column);
    llem__diag_at(c->diags, path, line, column,
                  "this file is in LLenergyMeasure's schema %s; llem migrate %s converts it",
                  s->name, path);
    return true;
}

/* ---- converting ----------------------------------------------------------------------------- */

struct moving {
    struct llem_arena *a;
    const struct llem_schema *schema;
    struct llem_schema *study_schema;
    const struct llem__keys *keys;
    unsigned bit;               /* of the file's schema */
    const char *const *engines; /* in force, by their names here; ends with NULL */
    struct llem_value *remarks;
    bool quiet; /* a default: what it cannot say is nobody's loss */
};

/* Where a converted setting is put. */
struct sink {
    struct llem_value *out;
    bool flat; /* an axis or an entry of a group: paths are keys, values may be lists of them */
};

static void remark(struct moving *m, const char *path, const struct llem_value *v, bool lost,
                   const char *why)
{
    struct llem_value *r = llem_map(m->a);
    struct llem__check c = { .a = m->a, .keys = m->keys };
    int line, column;

    if (m->quiet)
        return;
    llem__key_place(&c, v, &line, &column);
    llem_set(m->a, r, "path", llem_string(m->a, path));
    llem_set(m->a, r, "line", line ? llem_int(m->a, line) : llem_null(m->a));
    llem_set(m->a, r, "lost", llem_bool(m->a, lost));
    llem_set(m->a, r, "reason", llem_string(m->a, why));
    llem_append(m->a, m->remarks, r);
}

static const struct rule *rule_of(const struct moving *m, const char *path)
{
    const struct rule *best = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < LLEM_COUNT(rules); i++) {
        const char *from = rules[i].from;
        size_t len = strlen(from);

        if (!(rules[i].schemas & m->bit))
            continue;
        if (strcmp(from, path) == 0)
            return &rules[i];
        if (from[len - 1] == '.' && strncmp(from, path, len) == 0 && len > longest) {
            best = &rules[i];
            longest = len;
        }
    }
    return best;
}

static const char *json_of(struct moving *m, const struct llem_value *v)
{
    struct llem_buf b = LLEM_BUF_INIT(LLEM__YAML_MAX_BYTES);
    const char *text;

    llem_json_dump(&b, v, LLEM_JSON_COMPACT);
    text = llem_arena_strdup(m->a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

static struct llem_value *from_json(struct moving *m, const char *json, const struct llem_value *at)
{
    struct llem_value *v = NULL;

    if (llem_json_parse(m->a, &v, json, strlen(json), "a table", NULL) < 0 || m->a->oom)
        return llem_null(m->a);
    v->source = at->source;
    v->line = at->line;
    v->column = at->column;
    return v;
}

static const struct word *word_of(const char *table, const char *json)
{
    for (size_t i = 0; table && i < LLEM_COUNT(words); i++) {
        size_t len = strlen(words[i].from);

        if (strcmp(words[i].table, table) == 0 &&
            (words[i].from[len - 1] == '*' ? strncmp(words[i].from, json, len - 1) == 0
                                           : strcmp(words[i].from, json) == 0))
            return &words[i];
    }
    return NULL;
}

/* One value by its table; NULL: nothing is left of it. */
static struct llem_value *translated(struct moving *m, const struct sink *s, const char *path,
                                     const char *table, const struct llem_value *v)
{
    const char *json = json_of(m, v);
    const struct word *w = word_of(table, json);
    const char *to;

    if (!w)
        return llem_copy(m->a, v);
    if (w->why)
        remark(m, path, v, !w->to, w->why);
    if (w->also && s->flat) {
        remark(m, path, v, true, "this value is two settings here; write it as a group");
        return NULL;
    }
    if (w->also)
        llem_set_at(m->a, s->out, w->also, llem_copy(m->a, v));
    if (!w->to || !*w->to)
        return NULL;
    to = w->to;
    if (llem_ends_with(to, "*"))
        to = llem_arena_printf(m->a, "%.*s%s", (int)strlen(to) - 1, to, json + strlen(w->from) - 1);
    return to ? from_json(m, to, v) : NULL;
}

/* The same, item by item where it is a list of values. */
static struct llem_value *translated_all(struct moving *m, const struct sink *s, const char *path,
                                         const char *table, const struct llem_value *v)
{
    struct llem_value *out;

    if (!table || v->kind != LLEM_LIST)
        return translated(m, s, path, table, v);
    out = llem_copy(m->a, v);
    if (m->a->oom)
        return out;
    out->count = 0;
    for (size_t i = 0; i < v->count; i++) {
        struct llem_value *item = translated(m, s, path, table, v->items[i]);
        if (item)
            llem_append(m->a, out, item);
    }
    return out->count ? out : NULL;
}

static bool of_the_study(const struct moving *m, const char *path)
{
    const char *top = llem_arena_strndup(m->a, path, strcspn(path, "."));

    return top && llem_schema_find(m->study_schema, top) != NULL;
}

/* What is wrong with the setting here; NULL: nothing. An axis has only its name looked at, since
 * the plan tells of each value that cannot run. */
static const char *refused(struct moving *m, const char *path, const struct llem_value *v,
                           bool name_only)
{
    struct llem__diags unknown = { .a = m->a }, diags = { .a = m->a };
    struct llem__check c = { .schema = of_the_study(m, path) ? m->study_schema : m->schema,
                             .a = m->a,
                             .diags = &diags,
                             .unknown = &unknown };
    struct llem_value *layer = llem_map(m->a), *copy = llem_copy(m->a, v);

    if (m->a->oom)
        return NULL;
    /* A study may name several engines. */
    for (size_t i = 0; strcmp(path, "engine") == 0 && v->kind == LLEM_LIST && i < v->count; i++) {
        const char *why = refused(m, path, v->items[i], name_only);
        if (why || i + 1 == v->count)
            return why;
    }
    copy->line = 0;
    if (!llem_set_at(m->a, layer, path, copy))
        return "a section around it has been given a value";
    (void)llem__check_layer(&c, layer);
    if (unknown.count)
        return unknown.items[0].text;
    return diags.count && !name_only ? diags.items[0].text : NULL;
}

static void put(struct moving *m, const struct sink *s, const char *path, const char *to,
                struct llem_value *v)
{
    const char *why = refused(m, to, v, s->flat);

    if (why)
        remark(m, path, v, true, why);
    else if (s->flat)
        llem_set(m->a, s->out, to, v);
    else if (!llem_set_at(m->a, s->out, to, v))
        remark(m, path, v, true, "a section around it has been given a value");
}

/* The first of the alternatives that the engine has. */
static const char *target(struct moving *m, const char *to, const char *rest, const char *engine)
{
    const char **ways = llem__split(m->a, to, '|');

    for (size_t i = 0; ways && ways[i]; i++) {
        const char *path = llem_arena_printf(m->a, "%s%s%s", engine, ways[i] + 2, rest);
        if (path && llem_schema_find(m->schema, path))
            return path;
    }
    return NULL;
}

static void move_leaf(struct moving *m, const struct sink *s, const char *path,
                      const struct llem_value *v)
{
    const struct rule *r = rule_of(m, path);
    const char *rest = "", *also;
    struct llem_value *value;

    if (r && !r->to && !r->words) {
        if (r->why)
            remark(m, path, v, true, r->why);
        return;
    }
    value = translated_all(m, s, path, r ? r->words : NULL, v);
    if (!value || (r && !r->to))
        return;
    if (!r) {
        put(m, s, path, path, value);
        return;
    }
    if (llem_ends_with(r->from, "."))
        rest = path + strlen(r->from);
    if (r->why)
        remark(m, path, v, false, r->why);
    also = r->also ? strchr(r->also, '=') : NULL;
    if (also && !s->flat)
        llem_set_at(m->a, s->out, llem_arena_strndup(m->a, r->also, (size_t)(also - r->also)),
                    from_json(m, also + 1, v));
    if (!llem_starts_with(r->to, "$E")) {
        const char *to = llem_arena_printf(m->a, "%s%s", r->to, rest);
        if (to)
            put(m, s, path, to, value);
        return;
    }
    for (size_t i = 0; m->engines[i]; i++) {
        const char *to = target(m, r->to, rest, m->engines[i]);
        if (to)
            put(m, s, path, to, value);
        else
            remark(m, path, v, true,
                   llem_arena_printf(m->a, "the engine %s has no such setting", m->engines[i]));
    }
}

/* A section of something that is not here, and that the file does not want either. */
static bool switched_off(struct moving *m, const char *path, const struct llem_value *v)
{
    const char *on = llem_arena_printf(m->a, "%s.enabled", path);
    const struct rule *r = on ? rule_of(m, on) : NULL;

    return r && !r->to && !llem_bool_at(v, "enabled", true);
}

static void move_map(struct moving *m, const struct sink *s, const char *above,
                     const struct llem_value *map);

static void move_value(struct moving *m, const struct sink *s, const char *path,
                       const struct llem_value *v)
{
    const struct rule *r = rule_of(m, path);
    const char *below = llem_arena_printf(m->a, "%s.", path);
    const struct llem_row *row = llem_schema_find(m->schema, path);

    if (!below || m->a->oom || switched_off(m, path, v))
        return;
    for (size_t i = 0; i < LLEM_COUNT(rules) && (v->kind == LLEM_MAP || v->kind == LLEM_NULL);
         i++) {
        if (!(rules[i].schemas & m->bit) || strcmp(rules[i].from, below) != 0)
            continue;
        if (v->kind == LLEM_NULL)
            return; /* a section that is not there */
        if (!rules[i].to) {
            /* One remark, unless some of it is told apart. */
            bool apart = false;
            for (size_t k = 0; k < LLEM_COUNT(rules); k++)
                apart = apart || (k != i && (rules[k].schemas & m->bit) &&
                                  llem_starts_with(rules[k].from, below));
            if (!apart) {
                remark(m, path, v, true, rules[i].why);
                return;
            }
        }
        break;
    }
    if (v->kind == LLEM_MAP && v->count && !(row && row->type == LLEM_TYPE_MAP) &&
        !(r && strcmp(r->from, path) == 0 && !r->to))
        move_map(m, s, path, v);
    else if (v->kind != LLEM_MAP || v->count || (row && row->type == LLEM_TYPE_MAP))
        move_leaf(m, s, path, v);
}

static void move_map(struct moving *m, const struct sink *s, const char *above,
                     const struct llem_value *map)
{
    for (size_t i = 0; i < map->count && !m->a->oom; i++) {
        const char *path =
            llem_arena_printf(m->a, "%s%s%s", above, *above ? "." : "", map->keys[i]);
        if (path)
            move_value(m, s, path, map->items[i]);
    }
}

/* ---- sweeps --------------------------------------------------------------------------------- */

/* Ten significant digits, as those releases made their values. */
static struct llem_value *rounded(struct llem_arena *a, double d, bool whole)
{
    char text[64];

    if (whole)
        return llem_int(a, (int64_t)d);
    snprintf(text, sizeof(text), "%.10g", d);
    return llem_real(a, llem_parse_f64(text, &d) ? d : 0);
}

/* {min, max, num}, {log: {min, max, num}}, {pow2: {min, max}}: the values that they stand for. */
static struct llem_value *series(struct moving *m, const struct llem_value *v)
{
    const struct llem_value *log = llem_get(v, "log"), *pow2 = llem_get(v, "pow2");
    const struct llem_value *in = log    ? log
                                  : pow2 ? pow2
                                         : v,
                            *lo = llem_get(in, "min"), *hi = llem_get(in, "max");
    double min = llem_real_at(in, "min", NAN), max = llem_real_at(in, "max", NAN);
    int64_t n = pow2 ? 0 : llem_int_at(in, "num", 0);
    struct llem_value *out = llem_list(m->a);
    bool whole;

    if (m->bit != V07 || v->kind != LLEM_MAP || !isfinite(min) || !isfinite(max) || min > max ||
        ((log || pow2) && min <= 0) || (!pow2 && (n < 2 || n > LLEM__YAML_MAX_KEYS)))
        return NULL;
    out->line = v->line;
    whole = lo->kind == LLEM_INT && hi->kind == LLEM_INT;
    if (pow2) {
        for (double d = exp2(ceil(log2(min) - 1e-9)); d <= max; d *= 2)
            llem_append(m->a, out, rounded(m->a, d, whole && d == floor(d)));
        return out->count ? out : NULL;
    }
    for (int64_t pass = whole ? 0 : 1; pass < 2; pass++) {
        bool all = true;

        out->count = 0;
        for (int64_t i = 0; i < n; i++) {
            double t = (double)i / (double)(n - 1);
            double d = i == 0       ? min
                       : i == n - 1 ? max
                       : log        ? min * pow(max / min, t)
                                    : min + (max - min) * t;
            struct llem_value *item = rounded(m->a, d, false);

            d = item->kind == LLEM_REAL ? item->d : d;
            all = all && d == floor(d);
            item = rounded(m->a, d, pass == 0);
            if (!out->count || !llem_equal(out->items[out->count - 1], item))
                llem_append(m->a, out, item);
        }
        if (pass == 0 && all)
            break;
    }
    return out;
}

/* A group's name is only a label, but the engine that it begins with is told by it. */
static const char *group_name(struct moving *m, const char *name)
{
    return llem_starts_with(name, "pytorch.")
               ? llem_arena_printf(m->a, "transformers%s", name + strlen("pytorch"))
               : name;
}

static void move_sweep(struct moving *m, struct llem_value *out, const struct llem_value *sweep)
{
    for (size_t i = 0; i < sweep->count && !m->a->oom; i++) {
        const char *name = sweep->keys[i];
        const struct llem_value *v = sweep->items[i];
        struct sink s = { .out = out, .flat = true };
        struct llem_value *values = v->kind == LLEM_MAP ? series(m, v) : NULL, *group;

        if (v->kind != LLEM_LIST || !v->count || v->items[0]->kind != LLEM_MAP) {
            move_value(m, &s, name, values ? values : v);
            continue;
        }
        group = llem_list(m->a);
        for (size_t k = 0; k < v->count; k++) {
            s.out = llem_map(m->a);
            for (size_t j = 0; v->items[k]->kind == LLEM_MAP && j < v->items[k]->count; j++)
                move_value(m, &s, v->items[k]->keys[j], v->items[k]->items[j]);
            llem_append(m->a, group, s.out);
        }
        name = group_name(m, name);
        if (name)
            llem_set(m->a, out, name, group);
    }
}

/* The grid of a campaign as a sweep. */
static struct llem_value *ungridded(struct moving *m, struct llem_value *root)
{
    static const char *const shared[] = { "shared", "axes" };
    const struct llem_value *grid = llem_get(root, "grid"),
                            *own = llem_get(grid, "backend_overrides");
    struct llem_value *out, *sweep;

    if (!grid || grid->kind != LLEM_MAP)
        return root;
    out = llem_copy(m->a, root);
    sweep = llem_map(m->a);
    llem_unset(out, "grid");
    if (llem_get(grid, "backends"))
        llem_set(m->a, out, "backend", llem_copy(m->a, llem_get(grid, "backends")));
    if (!llem_is_null(llem_get(grid, "models")))
        llem_set(m->a, sweep, "model", llem_copy(m->a, llem_get(grid, "models")));
    for (size_t i = 0; i < LLEM_COUNT(shared); i++) {
        const struct llem_value *axes = llem_get(grid, shared[i]);
        for (size_t k = 0; axes && axes->kind == LLEM_MAP && k < axes->count; k++)
            llem_set(m->a, sweep, axes->keys[k], llem_copy(m->a, axes->items[k]));
    }
    for (size_t i = 0; own && own->kind == LLEM_MAP && i < own->count; i++) {
        const struct llem_value *axes = own->items[i];
        for (size_t k = 0; axes->kind == LLEM_MAP && k < axes->count; k++) {
            const char *path = llem_arena_printf(m->a, "%s.%s", own->keys[i], axes->keys[k]);
            if (path)
                llem_set(m->a, sweep, path, llem_copy(m->a, axes->items[k]));
        }
    }
    llem_set(m->a, out, "sweep", sweep);
    return out;
}

/* ---- the whole file ------------------------------------------------------------------------- */

static void add_engine(struct moving *m, const char **names, size_t *n, const struct llem_value *v)
{
    const struct word *w;
    const char *name;

    if (v->kind != LLEM_STRING)
        return;
    w = word_of("engine", json_of(m, v));
    name = w ? from_json(m, w->to, v)->s : v->s;
    if (!m->a->oom && !llem__is_one_of(name, names))
        names[(*n)++] = name;
}

/* The engines that a map of settings is about, by their names here; NULL: it does not say. */
static const char *const *engines_of(struct moving *m, const struct llem_value *map)
{
    static const char *const keys[] = { "engine", "backend" };
    const struct llem_value *sweep = llem_get(map, "sweep");
    const char **names = llem_arena_calloc(
        m->a, 2 * LLEM__YAML_MAX_KEYS + (sweep ? sweep->count : 0) + 2, sizeof(*names));
    size_t n = 0;

    if (!names)
        return NULL;
    for (size_t place = 0; place < 2; place++) {
        for (size_t i = 0; i < LLEM_COUNT(keys); i++) {
            const struct llem_value *v = llem_get(place ? sweep : map, keys[i]);

            if (v && v->kind == LLEM_LIST)
                for (size_t k = 0; k < v->count && k < LLEM__YAML_MAX_KEYS / 2; k++)
                    add_engine(m, names, &n, v->items[k]);
            else if (v)
                add_engine(m, names, &n, v);
        }
    }
    for (size_t i = 0; !n && sweep && sweep->kind == LLEM_MAP && i < sweep->count; i++) {
        const char *scope = llem_arena_strndup(m->a, sweep->keys[i], strcspn(sweep->keys[i], "."));

        if (scope && strcmp(scope, "pytorch") == 0)
            scope = "transformers";
        if (scope && strchr(sweep->keys[i], '.') && llem__is_one_of(scope, m->schema->engines) &&
            !llem__is_one_of(scope, names))
            names[n++] = scope;
    }
    return n ? names : NULL;
}

/* Does the file say it, anywhere? */
static bool says(const struct llem_value *root, const char *path)
{
    const struct llem_value *sweep = llem_get(root, "sweep"),
                            *experiments = llem_get(root, "experiments");

    if (llem_at(root, path) || llem_get(sweep, path))
        return true;
    for (size_t i = 0; sweep && sweep->kind == LLEM_MAP && i < sweep->count; i++)
        for (size_t k = 0; sweep->items[i]->kind == LLEM_LIST && k < sweep->items[i]->count; k++)
            if (llem_get(sweep->items[i]->items[k], path))
                return true;
    for (size_t i = 0; experiments && experiments->kind == LLEM_LIST && i < experiments->count; i++)
        if (llem_at(experiments->items[i], path))
            return true;
    return false;
}

/* What is not there yet. */
static void fill(struct llem_arena *a, struct llem_value *out, struct llem_value *more)
{
    for (size_t i = 0; i < more->count && !a->oom; i++) {
        struct llem_value *own = llem_get(out, more->keys[i]);

        if (!own)
            llem_set(a, out, more->keys[i], more->items[i]);
        else if (own->kind == LLEM_MAP && more->items[i]->kind == LLEM_MAP)
            fill(a, own, more->items[i]);
    }
}

static void write_defaults(struct moving *m, const struct llem_value *root, struct llem_value *out)
{
    const struct sink s = { .out = llem_map(m->a) };

    struct llem_value none = { .kind = LLEM_NULL, .source = LLEM_FROM_DEFAULT };

    m->quiet = true;
    for (size_t i = 0; i < LLEM_COUNT(old_defaults) && !llem_get(root, "base"); i++) {
        const struct old_default *d = &old_defaults[i];

        if ((d->schemas & m->bit) && !says(root, d->path) && !(d->unless && says(root, d->unless)))
            move_leaf(m, &s, d->path, from_json(m, d->value, &none));
    }
    m->quiet = false;
    fill(m->a, out, s.out);
}

static struct llem_value *move_file(struct moving *m, struct llem_value *root)
{
    struct llem_value *out = llem_map(m->a), *ordered = llem_map(m->a), *v;
    static const char *const first[] = { "study_name", "base", "task", "engine" };
    static const char *const last[] = { "sweep",   "experiments", "study_execution",
                                        "runners", "images",      "output",
                                        NULL };
    static const char *const none[] = { "transformers", NULL };
    const struct sink s = { .out = out };
    const char *const *engines;
    bool study = false;

    root = ungridded(m, root);
    engines = engines_of(m, root);
    m->engines = engines ? engines : none;
    for (size_t i = 0; i < root->count && !m->a->oom; i++) {
        const char *key = root->keys[i];

        v = root->items[i];
        if (strcmp(key, "sweep") == 0 && v->kind == LLEM_MAP) {
            struct llem_value *sweep = llem_map(m->a);
            move_sweep(m, sweep, v);
            llem_set(m->a, out, "sweep", sweep);
        } else if (strcmp(key, "experiments") == 0 && v->kind == LLEM_LIST) {
            struct llem_value *list = llem_list(m->a);
            for (size_t k = 0; k < v->count; k++) {
                const char *const *own = engines_of(m, v->items[k]), *const *all = m->engines;
                struct sink entry = { .out = llem_map(m->a) };

                if (v->items[k]->kind != LLEM_MAP)
                    continue;
                if (llem_get(v->items[k], "config")) {
                    remark(m, "experiments.config", v->items[k], true,
                           "convert the file, and write its settings here or name it under base");
                    continue;
                }
                m->engines = own ? own : all;
                move_map(m, &entry, "", v->items[k]);
                m->engines = all;
                llem_append(m->a, list, entry.out);
            }
            if (list->count)
                llem_set(m->a, out, "experiments", list);
        } else if (strcmp(key, "base") == 0) {
            remark(m, "base", v, false, "that file has to be converted as well");
            llem_set(m->a, out, "base", llem_copy(m->a, v));
        } else {
            move_value(m, &s, key, v);
        }
    }
    write_defaults(m, root, out);
    for (size_t i = 0; i < out->count; i++)
        study = study || of_the_study(m, out->keys[i]);
    if (study && !llem_get(out, "sweep") && !llem_get(out, "experiments"))
        llem_set(m->a, out, "sweep", llem_map(m->a)); /* a study of one */
    for (size_t i = 0; i < LLEM_COUNT(first); i++)
        if (llem_get(out, first[i]))
            llem_set(m->a, ordered, first[i], llem_get(out, first[i]));
    for (size_t i = 0; i < out->count; i++)
        if (!llem__is_one_of(out->keys[i], last))
            llem_set(m->a, ordered, out->keys[i], out->items[i]);
    for (size_t i = 0; last[i]; i++)
        if (llem_get(out, last[i]))
            llem_set(m->a, ordered, last[i], llem_get(out, last[i]));
    return ordered;
}

static void header(struct llem_buf *b, const struct schema *s, const char *path,
                   const struct llem_value *remarks)
{
    llem_buf_addf(b, "# Converted from %s, in LLenergyMeasure's schema %s.\n",
                  llem_path_basename(path), s->name);
    for (int lost = 1; lost >= 0; lost--) {
        bool any = false;

        for (size_t i = 0; i < remarks->count; i++) {
            const struct llem_value *r = remarks->items[i];

            if (llem_bool_at(r, "lost", false) != (lost == 1))
                continue;
            if (!any)
                llem_buf_adds(b, lost ? "# Without equivalent:\n" : "# To look at:\n");
            any = true;
            llem_buf_addf(b, "#   %s: %s\n", llem_str_at(r, "path", ""),
                          llem_str_at(r, "reason", ""));
        }
    }
}

/* Reads the text once more for its comments. */
static llem_errcode read_text(struct llem_buf *text, const char *path, llem_error *err)
{
    llem_buf_init(text, LLEM__YAML_MAX_BYTES + 1);
    return llem_file_read(text, path, err);
}

llem_errcode llem_migrate_with(struct llem_value **report, struct llem_arena *a,
                               const struct llem_schema *schema, const char *path, const char *to,
                               llem_error *err)
{
    struct llem__keys keys = { 0 };
    struct llem_buf text, out = LLEM_BUF_INIT(4 * LLEM__YAML_MAX_BYTES);
    struct moving m = { .a = a, .schema = schema, .keys = &keys };
    const struct llem_value *place = NULL;
    struct llem_value *root = NULL, *doc = llem_map(a), *moved;
    bool json = llem_ends_with(to ? to : path, ".json");
    const struct schema *s;
    size_t kept = 0, orphans = 0;
    llem_errcode rc;

    llem_buf_init(&text, LLEM__YAML_MAX_BYTES + 1);
    rc = llem__schema_of(&m.study_schema, llem_study_rows, err);
    if (rc == LLEM_OK)
        rc = llem__yaml_load(a, &root, &keys, path, err);
    if (rc == LLEM_OK)
        rc = read_text(&text, path, err);
    if (rc < 0)
        goto done;
    if (root->kind != LLEM_MAP) {
        rc = llem_fail_at(err, LLEM_ECONFIG, path, 1, 1,
                          "a configuration must be a map of settings, but this is %s",
                          llem__show(a, root));
        goto done;
    }
    m.remarks = llem_list(a);
    s = schema_of(a, root, &place);
    if (s) {
        m.bit = s->bit;
        moved = move_file(&m, root);
        if (a->oom)
            goto no_memory;
        if (json) {
            llem_json_dump(&out, moved, LLEM_JSON_PRETTY);
            llem_buf_addc(&out, '\n');
        } else {
            header(&out, s, path, m.remarks);
            llem__yaml_dump(&out, a, moved, llem_ends_with(path, ".json") ? "" : text.data, &kept,
                            &orphans);
        }
    } else {
        llem_buf_add(&out, text.data, text.len);
    }
    llem_set(a, doc, "schema", s ? llem_string(a, s->name) : llem_null(a));
    llem_set(a, doc, "text", llem_stringn(a, out.data, out.len));
    llem_set(a, doc, "remarks", m.remarks);
    llem_set(a, doc, "comments_kept", llem_int(a, (int64_t)kept));
    llem_set(a, doc, "comments_at_end", llem_int(a, (int64_t)orphans));
    if (a->oom || out.failed)
        goto no_memory;
    if (to && (s || strcmp(to, path) != 0))
        rc = llem_file_write(to, out.data, out.len, err);
    goto done;

no_memory:
    rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");

done:
    llem_schema_free(m.study_schema);
    llem_buf_done(&text);
    llem_buf_done(&out);
    if (rc == LLEM_OK)
        *report = doc;
    return rc;
}
