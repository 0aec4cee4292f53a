/* SPDX-License-Identifier: MIT
 *
 * Every setting of an experiment that does not belong to an engine, one row each, and the sampling
 * presets. Defaults, bounds and names are the seeds'; rows marked OURS are not among them.
 */
#include "lib/config/internal.h"

#include <math.h>
#include <string.h>

#define NO_MIN -INFINITY
#define NO_MAX INFINITY
#define NULLABLE LLEM_ROW_NULLABLE
#define OURS LLEM_ROW_OURS
#define STUDY LLEM_ROW_STUDY

/* clang-format off */
#define SECTION(p, fl, h)              { .path = p, .type = LLEM_TYPE_SECTION, .flags = (fl), .help = h }
#define BOOL(p, fl, d, h)              { .path = p, .type = LLEM_TYPE_BOOL, .flags = (fl), .def = d, .help = h }
#define INT(p, fl, d, lo, hi, u, h)    { .path = p, .type = LLEM_TYPE_INT, .flags = (fl), .def = d, .min = lo, .max = hi, .unit = u, .help = h }
#define REAL(p, fl, d, lo, hi, u, h)   { .path = p, .type = LLEM_TYPE_REAL, .flags = (fl), .def = d, .min = lo, .max = hi, .unit = u, .help = h }
#define ENUM(p, fl, d, c, h)           { .path = p, .type = LLEM_TYPE_ENUM, .flags = (fl), .def = d, .choices = c, .help = h }
#define STRING(p, fl, d, len, c, h)    { .path = p, .type = LLEM_TYPE_STRING, .flags = (fl), .def = d, .min = len, .choices = c, .help = h }
#define ENGINE(p)                      { .path = p, .type = LLEM_TYPE_SECTION, .flags = LLEM_ROW_OPTIONAL | NULLABLE | LLEM_ROW_OPEN, .help = "options of the engine " p }

const struct llem_row llem_shared_rows[] = {
    SECTION("task", LLEM_ROW_REQUIRED, "what is measured: model, prompts, limits"),
    STRING("task.model", LLEM_ROW_REQUIRED | LLEM_ROW_PATH, NULL, 1, NULL,
           "hub id or local directory of the model"),
    SECTION("task.dataset", 0, "the prompts"),
    STRING("task.dataset.source", LLEM_ROW_PATH, "\"aienergyscore\"", 1, "builtin|random|aienergyscore",
           "builtin, random, aienergyscore, or a .jsonl, .json, .txt, .csv or .parquet file"),
    INT("task.dataset.n_prompts", 0, "100", 1, NO_MAX, NULL,
        "how many prompts; the dataset must hold that many"),
    ENUM("task.dataset.order", 0, "\"interleaved\"", "interleaved|grouped|shuffled",
         "as in the file, sorted by kind, or shuffled with task.random_seed"),
    INT("task.dataset.input_tokens", OURS | NULLABLE, NULL, 1, NO_MAX, "tokens",
        "fixed length of the prompts of the dataset random"),
    INT("task.max_input_tokens", NULLABLE, "256", 1, NO_MAX, "tokens",
        "longer prompts are cut to this; null = not cut"),
    INT("task.max_output_tokens", NULLABLE, "256", 1, NO_MAX, "tokens",
        "at most this many are generated per prompt; null = until the end of sequence"),
    INT("task.random_seed", 0, "42", NO_MIN, NO_MAX, NULL, "seed of sampling and shuffling"),
    BOOL("task.ignore_eos", OURS, "false",
         "generate task.max_output_tokens whatever the model says, for a fixed amount of work"),

    ENUM("engine", 0, "\"transformers\"", "", "what runs the model"),

    SECTION("measurement", 0, "how it is measured"),
    SECTION("measurement.warmup", 0, "runs before the measurement that are thrown away"),
    BOOL("measurement.warmup.enabled", 0, "true", "false leaves out warm-up and thermal wait"),
    INT("measurement.warmup.n_warmup", 0, "5", 1, NO_MAX, "prompts", "prompts of a warm-up of fixed length"),
    REAL("measurement.warmup.thermal_floor_seconds", 0, "60.0", 30, NO_MAX, "s",
         "longest wait for the temperature to settle after the warm-up"),
    BOOL("measurement.warmup.convergence_detection", 0, "false",
         "stop when latencies settle instead of after n_warmup prompts"),
    REAL("measurement.warmup.cv_threshold", 0, "0.05", 0.01, 0.5, NULL,
         "coefficient of variation below which latencies count as settled"),
    INT("measurement.warmup.max_prompts", 0, "20", 5, NO_MAX, "prompts",
        "most prompts of a warm-up that waits for convergence"),
    INT("measurement.warmup.window_size", 0, "3", 3, NO_MAX, "prompts",
        "how many latencies the coefficient of variation is taken over"),
    INT("measurement.warmup.min_prompts", 0, "5", 1, NO_MAX, "prompts",
        "fewest prompts before convergence is looked at"),
    ENUM("measurement.warmup.mode", OURS, "\"auto\"", "auto|converge|fixed",
         "auto converges unless n_warmup or convergence_detection is given"),
    SECTION("measurement.baseline", 0, "power of the idle machine"),
    BOOL("measurement.baseline.enabled", 0, "true", "measure idle power"),
    REAL("measurement.baseline.duration_seconds", 0, "30.0", 5, 120, "s", "how long idle power is measured"),
    ENUM("measurement.baseline.strategy", 0, "\"validated\"", "cached|validated|fresh",
         "use an older baseline, check it now and then, or measure each time"),
    REAL("measurement.baseline.cache_ttl_seconds", 0, "7200.0", 60, NO_MAX, "s",
         "how old a baseline may be (cached, validated)"),
    INT("measurement.baseline.validation_interval", 0, "5", 1, NO_MAX, "experiments",
        "experiments between checks (validated)"),
    REAL("measurement.baseline.drift_threshold", 0, "0.10", 0.01, 0.50, NULL,
         "fraction by which a checked baseline may differ (validated)"),
    ENUM("measurement.energy_sampler", NULLABLE, "\"auto\"", "auto|nvml|zeus|codecarbon|rapl|estimate",
         "where energy is read; auto takes the best that is usable, null measures none"),
    BOOL("measurement.hash_weights", OURS, "false",
         "after the run, hash the content of weight files whose digest the hub has not told"),
    BOOL("measurement.latency_pass", OURS, "false",
         "after the window, run the prompts once more, one token at a time, for the times of tokens"),
    BOOL("measurement.quick", OURS, "false",
         "baseline and thermal wait of at most 2 s, for trying things out; marks every result"),

    ENUM("sampling_preset", NULLABLE, NULL, "deterministic|standard|creative|factual",
         "fills <engine>.sampling where the file says nothing"),

    ENGINE("transformers"),
    ENGINE("vllm"),
    ENGINE("tensorrt"),

    SECTION("lora", LLEM_ROW_OPTIONAL | NULLABLE, "an adapter for the model"),
    STRING("lora.adapter_id", NULLABLE, NULL, 0, NULL, "hub id of the adapter"),
    STRING("lora.adapter_path", NULLABLE | LLEM_ROW_PATH | LLEM_ROW_IS_PATH, NULL, 0, NULL,
           "directory of the adapter"),
    BOOL("lora.merge_weights", 0, "false", "merge the adapter into the weights at load"),

    { .path = "passthrough_kwargs", .type = LLEM_TYPE_MAP, .flags = NULLABLE,
      .help = "further arguments for the engine, handed on as they are" },

    SECTION("output", STUDY, "where results go"),
    STRING("output.results_dir", STUDY | NULLABLE | LLEM_ROW_PATH | LLEM_ROW_IS_PATH, NULL, 0, NULL,
           "directory for results; null = the user's configuration, else ./results"),
    BOOL("output.save_timeseries", STUDY, "true", "write timeseries.parquet"),
    ENUM("output.save_outputs", STUDY, "\"hash\"", "none|hash|text",
         "what is kept of the generated tokens: nothing, a hash a request, or all in outputs.jsonl"),
    STRING("study_name", STUDY | NULLABLE, NULL, 0, NULL, "begins the name of the results directory"),
    { .path = "version", .type = LLEM_TYPE_ANY, .flags = STUDY | NULLABLE,
      .help = "tolerated for old files, not read" },
    { .path = NULL },
};

const struct llem_row llem_study_rows[] = {
    SECTION("study_execution", 0, "how often and in which order experiments run"),
    INT("study_execution.n_cycles", 0, "1", 1, NO_MAX, NULL, "how often each experiment runs"),
    ENUM("study_execution.experiment_order", 0, "\"sequential\"", "sequential|interleave|shuffle|reverse|latin_square",
         "order of the experiments within and over cycles"),
    REAL("study_execution.experiment_gap_seconds", NULLABLE, NULL, 0, NO_MAX, "s",
         "pause between experiments; null = the user's configuration"),
    REAL("study_execution.cycle_gap_seconds", NULLABLE, NULL, 0, NO_MAX, "s",
         "pause between cycles; null = the user's configuration"),
    INT("study_execution.shuffle_seed", NULLABLE, NULL, NO_MIN, NO_MAX, NULL,
        "seed of the order shuffle; null = from the hash of the study"),
    BOOL("study_execution.skip_preflight", 0, "false", "start without the checks of devices and packages"),
    INT("study_execution.max_consecutive_failures", 0, "10", 0, NO_MAX, "experiments",
        "failures in a row after which the study pauses; 0 = never"),
    REAL("study_execution.circuit_breaker_cooldown_seconds", 0, "60.0", 0, NO_MAX, "s",
         "pause before one more try decides whether the study goes on"),
    REAL("study_execution.wall_clock_timeout_hours", LLEM_ROW_MIN_OPEN | NULLABLE, NULL, 0, NO_MAX, "h",
         "longest time of the whole study; null = no limit"),
    REAL("study_execution.experiment_timeout_seconds", LLEM_ROW_MIN_OPEN, "600.0", 0, NO_MAX, "s",
         "longest time of one experiment, without fetching and loading its model"),
    REAL("study_execution.load_timeout_seconds", LLEM_ROW_OURS, "1800.0", 0, NO_MAX, "s",
         "longest time of fetching and loading a model (steps prompts and model); 0 = no limit"),
    REAL("study_execution.stdout_silence_timeout_seconds", 0, "300.0", 0, NO_MAX, "s",
         "longest silence of an experiment; 0 = no limit"),
    BOOL("study_execution.deduplicate_equivalent", 0, "true",
         "run experiments once that differ only in what has no effect"),
    { .path = "runners", .type = LLEM_TYPE_MAP, .flags = NULLABLE,
      .help = "how each engine is started, by its name: local, docker, docker:IMAGE" },
    { .path = "images", .type = LLEM_TYPE_MAP, .flags = NULLABLE,
      .help = "container image of each engine, by its name" },
    { .path = NULL },
};

const struct llem_row llem__user_rows[] = {
    SECTION("output", 0, "where things go"),
    STRING("output.results_dir", 0, "\"./results\"", 1, NULL, "directory for results"),
    STRING("output.model_cache_dir", 0, "\"~/.cache/huggingface\"", 1, NULL,
           "models and data from the hub are kept in hub/ below it; HF_HOME and HF_HUB_CACHE go first"),
    SECTION("runners", 0, "how each engine is started: auto, local, local:PATH, docker, docker:IMAGE"),
    STRING("runners.transformers", 0, "\"auto\"", 1, NULL, "how the engine transformers is started"),
    STRING("runners.vllm", 0, "\"auto\"", 1, NULL, "how the engine vllm is started"),
    STRING("runners.tensorrt", 0, "\"auto\"", 1, NULL, "how the engine tensorrt is started"),
    SECTION("images", 0, "container image of each engine"),
    STRING("images.transformers", NULLABLE, NULL, 1, NULL, "image of the engine transformers"),
    STRING("images.vllm", NULLABLE, NULL, 1, NULL, "image of the engine vllm"),
    STRING("images.tensorrt", NULLABLE, NULL, 1, NULL, "image of the engine tensorrt"),
    SECTION("measurement", 0, "defaults of measurements and what results are converted with"),
    ENUM("measurement.energy_sampler", 0, "\"auto\"", "auto|nvml|zeus|codecarbon|rapl|estimate",
         "where energy is read unless the experiment says otherwise"),
    REAL("measurement.carbon_intensity_gco2_kwh", NULLABLE, NULL, 0, NO_MAX, "gCO2/kWh",
         "carbon intensity of the electricity"),
    REAL("measurement.datacenter_pue", 0, "1.0", 1, NO_MAX, NULL, "power usage effectiveness of the site"),
    SECTION("ui", 0, "the terminal"),
    ENUM("ui.log_level", 0, "\"WARNING\"", "WARNING|INFO|DEBUG", "how much is logged"),
    BOOL("ui.prompt", 0, "true", "taken as the original takes it, without effect: llem asks no questions"),
    ENUM("ui.progress_mode", 0, "\"auto\"", "auto|plain|quiet", "how progress is shown"),
    SECTION("execution", 0, "pauses between the experiments of a study"),
    REAL("execution.experiment_gap_seconds", 0, "60.0", 0, NO_MAX, "s", "pause between experiments"),
    REAL("execution.cycle_gap_seconds", 0, "300.0", 0, NO_MAX, "s", "pause between cycles"),
    { .path = NULL },
};

static const struct {
    const char *name, *sampling;
} presets[] = {
    { "deterministic", "{\"temperature\": 0.0}" },
    { "standard",      "{\"temperature\": 1.0, \"top_p\": 0.95}" },
    { "creative",      "{\"temperature\": 0.8, \"top_p\": 0.9, \"repetition_penalty\": 1.1}" },
    { "factual",       "{\"temperature\": 0.3}" },
};
/* clang-format on */

const char *llem__preset(const char *name)
{
    for (size_t i = 0; i < LLEM_COUNT(presets); i++) {
        if (strcmp(presets[i].name, name) == 0)
            return presets[i].sampling;
    }
    return NULL;
}
