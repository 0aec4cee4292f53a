/* SPDX-License-Identifier: MIT */
#include "lib/study/estimate.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/dimensions.h"
#include "lib/engine/hub.h"
#include "lib/study/study.h"

struct estimator {
    struct llem_arena arena;
    const struct llem_plan *plan;
    struct model *models;        /* those asked for so far */
    struct alike *alike;         /* so are these */
    const char *results, *shown; /* where earlier results are looked for */
    struct earlier *earlier;     /* completed runs, by hash */
    size_t n_earlier, cap_earlier;
    double *expected_s, *least_s; /* of a run of each cell; expected_s NaN = not known */
};

/* ---- memory --------------------------------------------------------------------------------- */

/* What config.json says of a model. */
struct model {
    struct model *next;
    const char *name;
    const char *reason; /* why nothing can be said; NULL = it can */
    struct llem_dims dims;
    double bytes, quantised_bytes; /* of a parameter; quantised_bytes 0 = it is not quantised */
};

static const struct kind {
    const char *name;
    double bytes;
} kinds[] = {
    { "float32", 4 },     { "float16", 2 },    { "bfloat16", 2 },     { "fp8", 1 },
    { "fp8_e5m2", 1 },    { "fp8_e4m3", 1 },   { "FP8", 1 },          { "INT8", 1 },
    { "awq", 0.5 },       { "gptq", 0.5 },     { "marlin", 0.5 },     { "bitsandbytes", 0.5 },
    { "W4A16_AWQ", 0.5 }, { "W4A8_AWQ", 0.5 }, { "W4A16_GPTQ", 0.5 }, { "W8A16", 1 },
    { "W8A16_GPTQ", 1 },
};

/* Bytes of one number; 0 where the name says nothing (null, "auto", NO_QUANT). */
static double bytes_of(const char *name)
{
    for (size_t i = 0; name && i < LLEM_COUNT(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return kinds[i].bytes;
    return 0;
}

/* What of an engine's settings decides its memory; a path NULL: it has no such setting. */
static const struct uses {
    const char *engine;
    const char *dtype; /* where the setting is null: the model's own kind, or */
    const char *default_dtype;
    const char *quantisation, *cache;
    double cache_bytes;    /* of one number in the cache; 0 = as the weights before quantisation */
    const char *sequences; /* at a time */
    int64_t most;          /* where that is null */
    const char *beams;     /* sequences of one prompt */
} uses[] = {
    { "cpu", "cpu.dtype", NULL, NULL, NULL, 4, "cpu.batch_size", 1, NULL },
    { "transformers", "transformers.dtype", "bfloat16", NULL, NULL, 0, "transformers.batch_size", 1,
      "transformers.num_beams" },
    { "vllm", "vllm.dtype", NULL, "vllm.engine.quantization", "vllm.engine.kv_cache_dtype", 0,
      "vllm.engine.max_num_seqs", 256, "vllm.beam_search.beam_width" },
    { "tensorrt", "tensorrt.dtype", NULL, "tensorrt.quant_config.quant_algo",
      "tensorrt.quant_config.kv_cache_quant_algo", 0, "tensorrt.max_batch_size", 2048, NULL },
};
static const struct uses of_others = { .most = 1 };

enum {
    ASSUMED_TOKENS = 512, /* of a prompt or an answer without a limit */
    QUICK_BASELINE_S = 2,
};

/* The bytes of a weight of a model that is stored quantised; 0 = it is not, NAN = not known. */
static double stored_bytes(const struct llem_value *config)
{
    const struct llem_value *q = llem_get(config, "quantization_config");
    double bits, bytes;

    if (llem_is_null(q))
        return 0;
    bits = llem_real_at(q, "bits", 0);
    if (bits > 0 && bits <= 16)
        return bits / 8;
    if (llem_bool_at(q, "load_in_4bit", false))
        return 0.5;
    if (llem_bool_at(q, "load_in_8bit", false))
        return 1;
    bytes = bytes_of(llem_str_at(q, "quant_method", ""));
    return bytes > 0 ? bytes : NAN;
}

static void read_model(struct estimator *e, struct model *m, const char *path, const char *model)
{
    const char *dir, *commit, *file, *dtype;
    struct llem_value *config = NULL;
    struct llem_arena *a = &e->arena;
    llem_error err = { 0 };

    if (llem_hub_find_model(a, e->plan->sweep->ctx, path, &dir, &commit, &err) != LLEM_OK ||
        !(file = llem_path_join(a, dir, "config.json")) || !llem_path_exists(file)) {
        m->reason = llem_arena_printf(a, "config.json of %s is not on this machine", model);
        return;
    }
    if (llem_json_load(a, &config, file, LLEM_MAX_CONFIG_BYTES, &err) < 0 ||
        llem_dims_read(&m->dims, config, NULL, file, &err) < 0) {
        m->reason = llem_arena_strdup(a, err.msg);
        return;
    }
    dtype = llem_str_at(config, "dtype", llem_str_at(config, "torch_dtype", NULL));
    if (!dtype)
        dtype = llem_str_at(config, "text_config.dtype",
                            llem_str_at(config, "text_config.torch_dtype", "float32"));
    m->bytes = bytes_of(dtype);
    m->quantised_bytes = stored_bytes(config);
    if (m->dims.parameters <= 0)
        m->reason = llem_arena_printf(a, "%s does not tell how many parameters there are", file);
    else if (m->bytes <= 0)
        m->reason =
            llem_arena_printf(a, "%s has weights of kind %s, whose size is not known", file, dtype);
    else if (isnan(m->quantised_bytes))
        m->reason = llem_arena_printf(a, "%s quantises in a way whose size is not known", file);
}

static const struct model *model_of(struct estimator *e, const struct llem_value *tree)
{
    const struct llem_sweep *s = e->plan->sweep;
    struct llem_value *shared = (struct llem_value *)(uintptr_t)tree; /* only read */
    const struct llem_config config = {
        .schema = s->schema,
        .tree = shared,
        .output = s->output,
        .dir = s->dir,
        .cwd = s->cwd,
    };
    struct llem_arena own = LLEM_ARENA_INIT;
    const char *path = llem_config_path(&config, &own, "task.model");
    struct model *m = e->models;

    while (m && path && strcmp(m->name, path) != 0)
        m = m->next;
    if (!m && path && (m = llem_arena_calloc(&e->arena, 1, sizeof(*m)))) {
        m->name = llem_arena_strdup(&e->arena, path);
        m->next = e->models;
        e->models = m;
        read_model(e, m, path, llem_str_at(tree, "task.model", path));
    }
    llem_arena_done(&own);
    return path ? m : NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Numbers that the cache keeps of one sequence. */
static double cached_numbers(const struct llem_dims *d, int64_t tokens)
{
    double of_token = d->kv_rank ? (double)(d->kv_rank + d->rope_head)
                                 : (double)(d->kv_heads * (d->head + d->value_head));
    int64_t windowed = d->window ? d->window_layers : 0;

    return of_token * ((double)(d->layers - windowed) * (double)tokens +
                       (double)windowed * (double)least(tokens, d->window));
}

static struct llem_value *whole_bytes(struct llem_arena *a, double bytes)
{
    return llem_int(a, (int64_t)fmin(round(bytes), 9e18));
}

static struct llem_value *memory_of(const struct model *m, const struct llem_value *tree,
                                    struct llem_arena *a)
{
    const char *engine = llem_str_at(tree, "engine", "transformers");
    const struct uses *u = &of_others;
    int64_t prompts = llem_int_at(tree, "task.dataset.n_prompts", 100);
    int64_t sequences, tokens;
    double bytes, weight, cache, weights, cached, overhead, embedding, numbers;
    struct llem_value *v = llem_map(a);

    for (size_t i = 0; i < LLEM_COUNT(uses); i++)
        if (strcmp(uses[i].engine, engine) == 0)
            u = &uses[i];
    bytes = u->dtype ? bytes_of(llem_str_at(tree, u->dtype, u->default_dtype)) : 0;
    if (bytes <= 0)
        bytes = m->bytes;
    weight = u->quantisation ? bytes_of(llem_str_at(tree, u->quantisation, NULL)) : 0;
    if (strcmp(engine, "transformers") == 0)
        weight = llem_bool_at(tree, "transformers.load_in_4bit", false)   ? 0.5
                 : llem_bool_at(tree, "transformers.load_in_8bit", false) ? 1
                                                                          : 0;
    if (weight <= 0)
        weight = m->quantised_bytes > 0 ? m->quantised_bytes : bytes;
    cache = u->cache ? bytes_of(llem_str_at(tree, u->cache, NULL)) : 0;
    if (cache <= 0)
        cache = u->cache_bytes > 0 ? u->cache_bytes : bytes;

    sequences = u->sequences ? llem_int_at(tree, u->sequences, u->most) : u->most;
    sequences = least(sequences, prompts) * (u->beams ? llem_int_at(tree, u->beams, 1) : 1);
    tokens = llem_int_at(tree, "task.max_input_tokens", ASSUMED_TOKENS) +
             llem_int_at(tree, "task.max_output_tokens", ASSUMED_TOKENS);
    if (m->dims.max_positions)
        tokens = least(tokens, m->dims.max_positions);

    /* Embeddings stay as they are where the rest is quantised. */
    embedding = (double)m->dims.embedding_parameters;
    weights = ((double)m->dims.parameters - embedding) * weight + embedding * bytes;
    numbers = cached_numbers(&m->dims, tokens);
    cached = numbers * (double)sequences * cache;
    overhead = 0.15 * weights;
    llem_set(a, v, "estimated_bytes", whole_bytes(a, weights + cached + overhead));
    llem_set(a, v, "weights_bytes", whole_bytes(a, weights));
    llem_set(a, v, "kv_cache_bytes", whole_bytes(a, cached));
    llem_set(a, v, "overhead_bytes", whole_bytes(a, overhead));
    llem_set(a, v, "parameters", llem_int(a, m->dims.parameters));
    llem_set(a, v, "bytes_per_parameter", llem_real(a, weight));
    llem_set(a, v, "bytes_per_cached_number", llem_real(a, cache));
    llem_set(a, v, "tokens_per_sequence", llem_int(a, tokens));
    llem_set(a, v, "sequences", llem_int(a, sequences));
    return v;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* A completed run in the results directory. */
struct earlier {
    char hash[17];
    const char *dir, *name, *started; /* name: of the directory, after its number and cycle */
    double elapsed_s, inference_s;
};

/* The newest earlier run of an engine with a model. */
struct alike {
    struct alike *next;
    const char *name; /* "slug-engine_" */
    bool quick;
    const struct earlier *run; /* NULL = none */
    double work;               /* prompts times tokens of an answer */
};

static double work_of(const struct llem_value *tree)
{
    return (double)llem_int_at(tree, "task.dataset.n_prompts", 100) *
           (double)llem_int_at(tree, "task.max_output_tokens", ASSUMED_TOKENS);
}

static void add_earlier(struct estimator *e, const char *study, const struct llem_value *run)
{
    const char *file = llem_str_at(run, "result_file", ""), *name = strchr(file, '_');
    const char *hash = llem_str_at(run, "config_hash", "");
    struct earlier *grown = e->earlier, *one;

    name = name ? strchr(name + 1, '_') : NULL;
    if (strcmp(llem_str_at(run, "status", ""), "completed") != 0 || !name || strlen(hash) != 16 ||
        llem_is_null(llem_get(run, "elapsed_seconds")))
        return;
    if (e->n_earlier == e->cap_earlier) {
        size_t cap = e->cap_earlier ? 2 * e->cap_earlier : 64;

        grown = llem_arena_calloc(&e->arena, cap, sizeof(*grown));
        if (!grown)
            return;
        if (e->n_earlier)
            memcpy(grown, e->earlier, e->n_earlier * sizeof(*grown));
        e->earlier = grown;
        e->cap_earlier = cap;
    }
    one = &e->earlier[e->n_earlier++];
    memcpy(one->hash, hash, 17);
    file = llem_path_join(&e->arena, study, file);
    one->dir = file ? llem_path_dirname(&e->arena, file) : "";
    one->name = llem_arena_strdup(&e->arena, name + 1);
    one->started = llem_arena_strdup(&e->arena, llem_str_at(run, "started_at", ""));
    one->elapsed_s = llem_real_at(run, "elapsed_seconds", 0);
    one->inference_s = fmin(llem_real_at(run, "inference_seconds", 0), one->elapsed_s);
}

static int by_hash(const void *x, const void *y)
{
    const struct earlier *a = x, *b = y;

    return strcmp(a->hash, b->hash);
}

static void read_earlier(struct estimator *e)
{
    enum { MANIFEST_BYTES = 64 << 20 };
    DIR *results = opendir(e->results);
    const struct dirent *entry;

    while (results && (entry = readdir(results)) && !e->arena.oom) {
        struct llem_arena own = LLEM_ARENA_INIT;
        const char *study = llem_path_join(&own, e->results, entry->d_name), *path;
        const struct llem_value *runs;
        struct llem_value *manifest = NULL;

        path =
            study && entry->d_name[0] != '.' ? llem_path_join(&own, study, "manifest.json") : NULL;
        /* One that is not there or cannot be read says nothing here. */
        if (path && llem_path_exists(path) &&
            llem_json_load(&own, &manifest, path, MANIFEST_BYTES, NULL) == LLEM_OK) {
            runs = llem_get(manifest, "experiments");
            for (size_t i = 0; runs && runs->kind == LLEM_LIST && i < runs->count; i++)
                add_earlier(e, study, runs->items[i]);
        }
        llem_arena_done(&own);
    }
    if (results)
        closedir(results);
    if (e->n_earlier)
        qsort(e->earlier, e->n_earlier, sizeof(*e->earlier), by_hash);
}

/* What it was run with is in its config.json; the newest that fits counts. */
static const struct alike *alike_of(struct estimator *e, const struct llem_value *tree)
{
    char slug[128], name[256];
    bool quick = llem_bool_at(tree, "measurement.quick", false);
    struct alike *x = e->alike;
    const char *before = NULL;

    llem_slug(slug, sizeof(slug), llem_str_at(tree, "task.model", "model"));
    snprintf(name, sizeof(name), "%s-%s_", slug, llem_str_at(tree, "engine", "transformers"));
    while (x && (x->quick != quick || strcmp(x->name, name) != 0))
        x = x->next;
    if (x || !(x = llem_arena_calloc(&e->arena, 1, sizeof(*x))))
        return x;
    x->name = llem_arena_strdup(&e->arena, name);
    x->quick = quick;
    x->next = e->alike;
    e->alike = x;
    for (int tries = 0; tries < 10 && !x->run; tries++) {
        const struct earlier *newest = NULL;
        struct llem_arena own = LLEM_ARENA_INIT;
        struct llem_value *result = NULL;
        const struct llem_value *config;
        const char *path;

        for (size_t i = 0; i < e->n_earlier; i++)
            if (strncmp(e->earlier[i].name, name, strlen(name)) == 0 &&
                (!before || strcmp(e->earlier[i].started, before) < 0) &&
                (!newest || strcmp(e->earlier[i].started, newest->started) > 0))
                newest = &e->earlier[i];
        if (!newest)
            break;
        before = newest->started;
        path = llem_path_join(&own, newest->dir, "config.json");
        if (path && llem_json_load(&own, &result, path, LLEM_MAX_CONFIG_BYTES, NULL) == LLEM_OK &&
            (config = llem_get(result, "config")) &&
            llem_bool_at(config, "measurement.quick", false) == quick) {
            x->run = newest;
            x->work = work_of(config);
        }
        llem_arena_done(&own);
    }
    return x;
}

static struct llem_value *expected(struct llem_arena *a, double s, const char *from,
                                   int64_t results)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "expected_s", llem_real(a, s));
    llem_set(a, v, "from", llem_string(a, from));
    llem_set(a, v, "results", llem_int(a, results));
    return v;
}

static struct llem_value *time_of(struct estimator *e, size_t cell, const struct llem_value *tree,
                                  struct llem_arena *a)
{
    struct earlier key = { 0 };
    const struct earlier *found, *end = e->earlier + e->n_earlier;
    const struct alike *alike;
    double sum = 0, s;
    int64_t n = 0;

    memcpy(key.hash, e->plan->cells[cell].hash, sizeof(key.hash));
    found = e->n_earlier ? bsearch(&key, e->earlier, e->n_earlier, sizeof(key), by_hash) : NULL;
    while (found && found > e->earlier && by_hash(found - 1, &key) == 0)
        found--;
    for (; found && found < end && by_hash(found, &key) == 0; found++, n++)
        sum += found->elapsed_s;
    if (n) {
        e->expected_s[cell] = sum / (double)n;
        return expected(a, e->expected_s[cell], "same_configuration", n);
    }
    alike = e->n_earlier ? alike_of(e, tree) : NULL;
    if (!alike || !alike->run || alike->work <= 0)
        return llem_null(a);
    s = alike->run->elapsed_s - alike->run->inference_s +
        alike->run->inference_s * work_of(tree) / alike->work;
    e->expected_s[cell] = s;
    return expected(a, s, "same_model", 1);
}

/* ---- both ----------------------------------------------------------------------------------- */

static void estimate_cell(struct estimator *e, size_t cell, const struct llem_value *tree,
                          struct llem_value *out, struct llem_arena *a)
{
    const struct model *m = model_of(e, tree);
    struct llem_value *time;

    if (e->arena.oom || !m) {
        a->oom = true;
        return;
    }
    llem_set(a, out, "memory", m->reason ? llem_null(a) : memory_of(m, tree, a));
    llem_set(a, out, "memory_reason", llem_string(a, m->reason));
    time = llem_set(a, out, "time", time_of(e, cell, tree, a));
    llem_set(a, out, "time_reason",
             llem_is_null(time)
                 ? llem_stringf(a,
                                "there is no earlier result of this engine with this model in %s",
                                e->shown)
                 : llem_null(a));
    /* Baselines of other strategies may be those of an earlier study. */
    if (llem_bool_at(tree, "measurement.baseline.enabled", true) &&
        strcmp(llem_str_at(tree, "measurement.baseline.strategy", ""), "fresh") == 0)
        e->least_s[cell] = llem_bool_at(tree, "measurement.quick", false)
                               ? QUICK_BASELINE_S
                               : llem_real_at(tree, "measurement.baseline.duration_seconds", 30);
}

static struct llem_value *time_of_study(const struct estimator *e, struct llem_arena *a)
{
    const struct llem_plan *p = e->plan;
    struct llem_value *v = llem_map(a);
    double lower = p->pauses_s, sum = p->pauses_s;
    size_t known = 0;

    for (size_t i = 0; i < p->n_runs; i++) {
        double s = e->expected_s[p->runs[i].cell];

        known += !isnan(s);
        sum += isnan(s) ? 0 : s;
        lower += e->least_s[p->runs[i].cell];
    }
    llem_set(a, v, "lower_s", llem_real(a, lower));
    llem_set(a, v, "expected_s", known == p->n_runs ? llem_real(a, sum) : llem_null(a));
    llem_set(a, v, "known_runs", llem_int(a, (int64_t)known));
    llem_set(a, v, "results_dir", llem_string(a, e->results));
    return v;
}

void llem_plan_estimate(const struct llem_plan *p, struct llem_value *document,
                        struct llem_arena *a)
{
    const struct llem_sweep *s = p->sweep;
    const struct llem_config config = {
        .schema = s->schema,
        .tree = s->output,
        .output = s->output,
        .dir = s->dir,
        .cwd = s->cwd,
    };
    const struct llem_value *list = llem_get(document, "experiments");
    struct estimator e = { .plan = p };

    e.results = llem_config_path(&config, &e.arena, "output.results_dir");
    if (!e.results)
        e.results = llem_path_join(&e.arena, s->cwd, "results");
    e.shown = e.results && llem_starts_with(e.results, s->cwd) && e.results[strlen(s->cwd)] == '/'
                  ? e.results + strlen(s->cwd) + 1
                  : e.results;
    e.expected_s = llem_arena_calloc(&e.arena, s->count + 1, sizeof(*e.expected_s));
    e.least_s = llem_arena_calloc(&e.arena, s->count + 1, sizeof(*e.least_s));
    for (size_t i = 0; e.expected_s && i < s->count; i++)
        e.expected_s[i] = NAN;
    if (!e.arena.oom)
        read_earlier(&e);
    for (size_t i = 0; list && i < list->count && !a->oom && !e.arena.oom; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        size_t cell = (size_t)llem_int_at(list->items[i], "number", 1) - 1;
        const char *errors;
        const struct llem_value *tree = llem_sweep_cell(s, cell, &own, &errors);

        if (tree)
            estimate_cell(&e, cell, tree, list->items[i], a);
        a->oom = a->oom || own.oom;
        llem_arena_done(&own);
    }
    a->oom = a->oom || e.arena.oom;
    if (!a->oom)
        llem_set(a, document, "time", time_of_study(&e, a));
    llem_arena_done(&e.arena);
}
