/* SPDX-License-Identifier: MIT
 *
 * The engine `cpu` as the harness sees it: settings from the configuration tree, prompts, the
 * model, passes over prompts in batches, receipts. Everything that a pass needs is allocated before
 * its window opens, and told after it has closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engines/cpu/cpu.h"
#include "lib/base/file.h"
#include "lib/engine/engine.h"
#include "lib/engine/hub.h"

enum { STEP_TOKENS = 256 }; /* prompt tokens computed at once */

/* Settings of the configuration, defaults filled in. */
struct settings {
    enum cpu_dtype dtype; /* CPU_OTHER = as stored */
    int32_t batch_size, threads;
    bool dummy, ignore_eos;
    int64_t max_input, max_output; /* 0 = no limit */
    int64_t seed;
    struct cpu_sampling sampling;
};

struct engine {
    struct llem_engine_args args;
    struct llem_arena arena; /* lives as long as the engine */
    const char *dir, *revision;
    struct settings set;
    struct cpu_config config;
    struct cpu_tokenizer *tokenizer;
    /* prompts, one after another; prompt i is ids[starts[i]] .. ids[starts[i + 1]] */
    struct cpu_ids ids;
    size_t *starts, n_prompts;
    /* from load_model to cleanup */
    struct cpu_model *model;
    struct cpu_pool *pool;
    const struct cpu_kernels *kernels;
    struct cpu_blas blas;
    bool has_blas;
    struct cpu_state *state;
    int state_rows, state_positions;
    bool state_has_blas;
    double last_fraction;
    _Atomic int64_t output; /* tokens so far */
};

/* ---- making
 * ---------------------------------------------------------------------------------------- */

static bool given(const struct llem_value *config, const char *path)
{
    return !llem_is_null(llem_at(config, path));
}

static void read_settings(struct settings *s, const struct llem_value *c)
{
    const char *dtype = llem_str_at(c, "cpu.dtype", "");
    bool any = given(c, "cpu.sampling.temperature") || given(c, "cpu.sampling.top_k") ||
               given(c, "cpu.sampling.top_p") || given(c, "cpu.sampling.min_p");

    s->dtype = !strcmp(dtype, "float32")    ? CPU_F32
               : !strcmp(dtype, "bfloat16") ? CPU_BF16
                                            : CPU_OTHER;
    s->batch_size = (int32_t)llem_int_at(c, "cpu.batch_size", 1);
    s->threads = (int32_t)llem_int_at(c, "cpu.threads", 0);
    if (s->threads <= 0)
        s->threads = cpu_count(true);
    s->dummy = !strcmp(llem_str_at(c, "cpu.load_format", "auto"), "dummy");
    s->ignore_eos = llem_bool_at(c, "task.ignore_eos", false);
    s->max_input = llem_int_at(c, "task.max_input_tokens", 0);
    s->max_output = llem_int_at(c, "task.max_output_tokens", 0);
    s->seed = llem_int_at(c, "task.random_seed", 42);
    s->sampling.temperature = llem_real_at(c, "cpu.sampling.temperature", 1);
    s->sampling.top_k = (int32_t)llem_int_at(c, "cpu.sampling.top_k", 0);
    s->sampling.top_p = llem_real_at(c, "cpu.sampling.top_p", 1);
    s->sampling.min_p = llem_real_at(c, "cpu.sampling.min_p", 0);
    s->sampling.repetition_penalty = llem_real_at(c, "cpu.sampling.repetition_penalty", 1);
    /* Greedy unless something of sampling was asked for; a temperature of 0 is greedy too. */
    s->sampling.sample =
        llem_bool_at(c, "cpu.sampling.do_sample", any) && s->sampling.temperature > 0;
}

static llem_errcode need_tokenizer(struct engine *e, llem_error *err)
{
    const char *path;

    if (e->tokenizer)
        return LLEM_OK;
    path = llem_path_join(&e->arena, e->dir, "tokenizer.json");
    if (!path)
        return llem_fail(err, LLEM_ENOMEM, "no memory for a tokenizer");
    if (!llem_path_exists(path)) {
        llem_fail(err, LLEM_ENOTFOUND, "the model '%s' has no tokenizer.json", e->dir);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "texts cannot be tokenised without it; task.dataset.source: random needs "
                         "no tokenizer");
    }
    return cpu_tokenizer_load(&e->tokenizer, path, err);
}

/* Whatever the files of the model lack is said before anyone has waited for a baseline. Of the
 * weights only the headers are read. */
static llem_errcode check_files(struct engine *e, llem_error *err)
{
    const char *source = llem_str_at(e->args.config, "task.dataset.source", "");
    struct cpu_weights *w = NULL;
    llem_errcode rc = LLEM_OK;

    if (!e->set.dummy)
        rc = cpu_weights_open(&w, e->dir, err);
    cpu_weights_close(w);
    if (rc == LLEM_OK && *source && strcmp(source, "random") != 0)
        rc = need_tokenizer(e, err);
    return rc;
}

static llem_errcode create(void **self, const struct llem_engine_args *args, llem_error *err)
{
    struct engine *e = calloc(1, sizeof(*e));
    llem_errcode rc;

    if (!e)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the engine cpu");
    e->args = *args;
    read_settings(&e->set, args->config);
    rc = llem_hub_find_model(&e->arena, args->ctx, args->model_path, &e->dir, &e->revision, err);
    if (rc == LLEM_OK)
        rc = cpu_config_load(&e->config, e->dir, err);
    if (rc == LLEM_OK)
        rc = check_files(e, err);
    if (rc < 0) {
        llem_arena_done(&e->arena);
        free(e);
        return rc;
    }
    *self = e;
    return LLEM_OK;
}

static const char *version(void *self)
{
    return llem_version();
}

/* Positions of the key/value cache that one prompt of n tokens needs. */
static int64_t positions_for(const struct engine *e, int64_t n)
{
    int64_t room = e->config.max_positions;

    if (e->set.max_output > 0 && n + e->set.max_output < room)
        room = n + e->set.max_output;
    return room;
}

/* /proc/meminfo's MemAvailable; 0 = not known. */
static uint64_t available_bytes(void)
{
    unsigned long long kb = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kb * 1024;
}

static int step_tokens(const struct engine *e)
{
    return e->set.batch_size > STEP_TOKENS ? e->set.batch_size : STEP_TOKENS;
}

static struct llem_value *check_hardware(void *self, struct llem_arena *a)
{
    struct engine *e = self;
    struct llem_value *errors = llem_list(a);
    int64_t longest = e->set.max_input > 0 ? e->set.max_input : e->config.max_positions;
    enum cpu_dtype dtype = cpu_model_dtype(&e->config, NULL, e->set.dtype);
    uint64_t available = available_bytes(), needed;
    size_t i;
    int cpus = cpu_count(false);

    if (e->n_prompts) {
        longest = 0;
        for (i = 0; i < e->n_prompts; i++)
            if ((int64_t)(e->starts[i + 1] - e->starts[i]) > longest)
                longest = (int64_t)(e->starts[i + 1] - e->starts[i]);
    }
    /* Without a limit of the output, the cache is taken as it fills; count a page of text. */
    if (!e->set.max_output && longest > 2048)
        longest = 2048;
    needed = cpu_model_bytes(&e->config, dtype) +
             cpu_state_bytes(&e->config, e->set.batch_size,
                             (int)(e->set.max_output ? positions_for(e, longest) : longest),
                             step_tokens(e), e->set.threads);
    if (available && needed > available)
        llem_append(
            a, errors,
            llem_stringf(a,
                         "the model and a batch of %d need %.1f GB of memory, and %.1f GB are "
                         "available; choose a smaller model, cpu.batch_size or "
                         "task.max_output_tokens%s",
                         e->set.batch_size, (double)needed * 1e-9, (double)available * 1e-9,
                         dtype == CPU_F32 ? ", or cpu.dtype: bfloat16" : ""));
    if (e->set.threads > cpus)
        llem_append(
            a, errors,
            llem_stringf(a,
                         "cpu.threads is %d, but this process may use %d CPUs; threads that wait "
                         "for each other's CPU make every step slow",
                         e->set.threads, cpus));
    return errors;
}

/* ---- prompts
 * ---------------------------------------------------------------------------------------- */

static llem_errcode load_prompt(struct engine *e, const struct llem_prompt *p, size_t index,
                                int32_t *truncated, llem_error *err)
{
    size_t start = e->ids.count, n, i;
    llem_errcode rc;

    if (p->ids) {
        for (i = 0; i < p->n_ids; i++)
            if (!cpu_ids_add(&e->ids, p->ids[i]))
                return llem_fail(err, LLEM_ENOMEM, "no memory for prompt %zu", index);
    } else {
        rc = need_tokenizer(e, err);
        if (rc == LLEM_OK)
            rc = cpu_tokenizer_encode(e->tokenizer, p->text, strlen(p->text), true, &e->ids, err);
        if (rc < 0)
            return llem_context(err, rc, "prompt %zu", index);
    }
    n = e->ids.count - start;
    if (e->set.max_input > 0 && n > (size_t)e->set.max_input) {
        n = (size_t)e->set.max_input;
        e->ids.count = start + n;
        (*truncated)++;
    }
    if (n == 0)
        return llem_fail(err, LLEM_EINVAL,
                         "prompt %zu has no tokens; the model has nothing to start from", index);
    if (n >= (size_t)e->config.max_positions) {
        llem_fail(err, LLEM_EINVAL,
                  "prompt %zu has %zu tokens, which leaves no room in the model's context of %d",
                  index, n, e->config.max_positions);
        return llem_hint(err, LLEM_EINVAL, "set task.max_input_tokens below %d",
                         e->config.max_positions);
    }
    for (i = 0; i < n; i++)
        if (e->ids.ids[start + i] < 0 || e->ids.ids[start + i] >= e->config.vocab)
            return llem_fail(
                err, LLEM_EINVAL,
                "prompt %zu has the token id %d, but the model's vocabulary has %d tokens", index,
                e->ids.ids[start + i], e->config.vocab);
    return LLEM_OK;
}

static llem_errcode load_prompts(void *self, const struct llem_prompt *prompts, size_t count,
                                 int32_t *input_tokens, int32_t *truncated, llem_error *err)
{
    struct engine *e = self;
    int32_t cut = 0;
    llem_errcode rc = LLEM_OK;
    size_t i;

    e->ids.count = 0;
    e->n_prompts = 0;
    free(e->starts);
    e->starts = calloc(count + 1, sizeof(*e->starts));
    if (!e->starts)
        return llem_fail(err, LLEM_ENOMEM, "no memory for %zu prompts", count);
    for (i = 0; i < count && rc == LLEM_OK; i++) {
        rc = load_prompt(e, &prompts[i], i, &cut, err);
        e->starts[i + 1] = e->ids.count;
    }
    if (rc < 0)
        return rc;
    e->n_prompts = count;
    for (i = 0; i < count; i++)
        input_tokens[i] = (int32_t)(e->starts[i + 1] - e->starts[i]);
    *truncated = cut;
    return LLEM_OK;
}

/* ---- the model
 * --------------------------------------------------------------------------------------- */

static bool cancelled(void *user)
{
    struct engine *e = user;

    if (e->args.alive)
        e->args.alive(e->args.progress_user);
    return e->args.cancel && atomic_load(e->args.cancel) != 0;
}

static bool on_progress(void *user, double fraction)
{
    struct engine *e = user;

    if (e->args.progress && fraction - e->last_fraction >= 0.02) {
        e->args.progress(e->args.progress_user,
                         e->set.dummy ? "making random weights" : "reading weights", fraction);
        e->last_fraction = fraction;
    }
    return !cancelled(e);
}

static const char *dtype_name(enum cpu_dtype dtype)
{
    return dtype == CPU_BF16 ? "bfloat16" : "float32";
}

/* Room for the longest prompt of the batch and what it may become. Kept while it is enough. */
static llem_errcode need_state(struct engine *e, int rows, int64_t positions, llem_error *err)
{
    struct cpu_state_opts opts = {
        .model = e->model,
        .pool = e->pool,
        .kernels = e->kernels,
        .blas = e->has_blas ? &e->blas : NULL,
        .rows = rows > e->state_rows ? rows : e->state_rows,
        .positions = positions > e->state_positions ? (int)positions : e->state_positions,
        .max_tokens = step_tokens(e),
        .touch = e->set.max_output > 0,
    };
    llem_errcode rc;

    if (e->state && rows <= e->state_rows && positions <= e->state_positions &&
        e->state_has_blas == e->has_blas)
        return LLEM_OK;
    cpu_state_free(e->state);
    e->state = NULL;
    rc = cpu_state_new(&e->state, &opts, err);
    if (rc == LLEM_OK) {
        e->state_rows = opts.rows;
        e->state_positions = opts.positions;
        e->state_has_blas = e->has_blas;
    }
    return rc;
}

static struct llem_value *describe_files(struct llem_arena *a, const struct cpu_weights *w,
                                         char hex[65])
{
    struct llem_value *files = llem_list(a);
    size_t i;

    for (i = 0; w && i < w->n_files; i++) {
        struct llem_value *f = llem_map(a);

        llem_set(a, f, "name", llem_string(a, w->files[i].name));
        llem_set(a, f, "bytes", llem_int(a, (int64_t)w->files[i].bytes));
        llem_append(a, files, f);
    }
    if (!a->oom)
        llem_hub_weights_digest(files, hex);
    return files;
}

static struct llem_value *describe_model(const struct engine *e, struct llem_arena *a,
                                         const struct cpu_weights *w)
{
    const struct cpu_config *c = &e->config;
    struct llem_value *m = llem_map(a), *files;
    int64_t parameters = (int64_t)cpu_model_parameters(c);
    char hex[65];

    files = describe_files(a, w, hex);
    llem_set(a, m, "name",
             llem_string(a, llem_str_at(e->args.config, "task.model", e->args.model_path)));
    llem_set(a, m, "architecture", llem_string(a, c->architecture));
    llem_set(a, m, "dtype", llem_string(a, dtype_name(e->model->dtype)));
    llem_set(a, m, "weights_bytes", llem_int(a, parameters * (e->model->dtype == CPU_F32 ? 4 : 2)));
    llem_set(a, m, "files", files);
    llem_set(a, m, "sha256", w ? llem_string(a, hex) : llem_null(a));
    llem_set(a, m, "revision", llem_string(a, e->revision));
    llem_dims_put(a, m, &c->dims);
    return m;
}

/* What was really used; before a load, what would be. */
static struct llem_value *describe_effective(const struct engine *e, struct llem_arena *a)
{
    struct llem_value *m = llem_map(a);
    enum cpu_dtype dtype =
        e->model ? e->model->dtype : cpu_model_dtype(&e->config, NULL, e->set.dtype);
    const struct cpu_kernels *kernels = e->kernels ? e->kernels : cpu_kernels_best();

    llem_set(a, m, "dtype", llem_string(a, dtype_name(dtype)));
    llem_set(a, m, "kv_cache_dtype", llem_string(a, "float32"));
    /* Without a limit of the output the cache is taken as it fills, so its size is not told. */
    if (e->state && e->set.max_output > 0)
        llem_set(
            a, m, "kv_cache_bytes",
            llem_int(a, (int64_t)cpu_cache_bytes(&e->config, e->state_rows, e->state_positions)));
    llem_set(a, m, "threads", llem_int(a, e->set.threads));
    llem_set(a, m, "batch_size", llem_int(a, e->set.batch_size));
    llem_set(a, m, "load_format", llem_string(a, e->set.dummy ? "dummy" : "auto"));
    llem_set(a, m, "kernels", llem_string(a, kernels->name));
    llem_set(a, m, "blas", e->has_blas ? llem_string(a, e->blas.version) : llem_null(a));
    return m;
}

static struct llem_value *describe_libraries(const struct engine *e, struct llem_arena *a)
{
    struct llem_value *m = llem_map(a);
    char pcre2[64] = "";

    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof(pcre2))
        pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    pcre2[strcspn(pcre2, " ")] = '\0';
    llem_set(a, m, "pcre2", llem_string(a, pcre2));
    if (e->has_blas)
        llem_set(a, m, "openblas",
                 llem_string(a, e->blas.version + strcspn(e->blas.version, " ") + 1));
    return m;
}

static void cleanup(void *self)
{
    struct engine *e = self;

    cpu_state_free(e->state);
    e->state = NULL;
    e->state_rows = e->state_positions = 0;
    cpu_pool_free(e->pool);
    e->pool = NULL;
    cpu_model_free(e->model);
    e->model = NULL;
}

/* The longest of some prompts (indices NULL: all), as positions of the cache. */
static int64_t longest_positions(const struct engine *e, const int32_t *indices, size_t count)
{
    int64_t most = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        size_t p = indices ? (size_t)indices[i] : i;
        int64_t n = positions_for(e, (int64_t)(e->starts[p + 1] - e->starts[p]));

        most = n > most ? n : most;
    }
    return most;
}

/* OpenBLAS brings threads and memory of its own, so it is loaded only where prompts are long
 * enough. */
static void need_blas(struct engine *e)
{
    size_t longest = 0, i;

    for (i = 0; i < e->n_prompts; i++)
        if (e->starts[i + 1] - e->starts[i] > longest)
            longest = e->starts[i + 1] - e->starts[i];
    if (!e->has_blas && longest * (size_t)e->set.batch_size >= CPU_BLAS_TOKENS)
        e->has_blas = cpu_blas_open(&e->blas);
}

static llem_errcode load_model(void *self, struct llem_arena *a, struct llem_value **loaded,
                               llem_error *err)
{
    struct engine *e = self;
    const struct llem_clock *clock = e->args.ctx->clock;
    int64_t begin = llem_now_ns(clock);
    struct cpu_weights *w = NULL;
    struct llem_value *out, *devices;
    llem_errcode rc = LLEM_OK;

    cleanup(e);
    e->last_fraction = -1;
    if (!e->set.dummy)
        rc = cpu_weights_open(&w, e->dir, err);
    if (rc == LLEM_OK)
        rc = cpu_pool_new(&e->pool, e->set.threads, err);
    if (rc == LLEM_OK)
        rc = cpu_model_load(&e->model, &e->config, w, cpu_model_dtype(&e->config, w, e->set.dtype),
                            on_progress, e, err);
    if (rc < 0)
        goto done;
    e->kernels = cpu_kernels_best();
    need_blas(e);
    if (e->n_prompts) {
        rc = need_state(e, e->set.batch_size, longest_positions(e, NULL, e->n_prompts), err);
        if (rc < 0)
            goto done;
    }
    rc = llem_engine_cpu_device(e, a, &devices, err);
    if (rc < 0)
        goto done;
    out = llem_map(a);
    llem_set(a, out, "load_s", llem_real(a, (double)(llem_now_ns(clock) - begin) * 1e-9));
    llem_set(a, out, "devices", devices);
    llem_set(a, out, "model", describe_model(e, a, w));
    llem_set(a, out, "effective", describe_effective(e, a));
    llem_set(a, out, "libraries", describe_libraries(e, a));
    if (a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to describe the model");
    else
        *loaded = out;

done:
    cpu_weights_close(w);
    if (rc < 0)
        cleanup(e);
    return rc;
}

/* ---- running
 * ------------------------------------------------------------------------------------------- */

/* Everything that passes over some prompts need, allocated before the first. */
struct run {
    struct cpu_generate g;
    struct cpu_request *requests; /* repeats * count, in order */
    int64_t *submit_ns;           /* of each */
    size_t count;
    void *memory[16]; /* to free */
    size_t n_memory;
    bool failed;
};

static void *take(struct run *r, size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);

    if (!p || r->n_memory == LLEM_COUNT(r->memory)) {
        free(p);
        r->failed = true;
        return NULL;
    }
    r->memory[r->n_memory++] = p;
    return p;
}

static void run_done(struct run *r)
{
    while (r->n_memory > 0)
        free(r->memory[--r->n_memory]);
}

static llem_errcode run_init(struct run *r, struct engine *e, const int32_t *indices, size_t count,
                             int repeats, llem_error *err)
{
    size_t total = count * (size_t)repeats, tokens = 0, steps = 0, i,
           batch = (size_t)e->set.batch_size;
    size_t threads;
    int32_t *output, vocab = e->config.vocab;
    int64_t *token_ns;
    llem_errcode rc;

    memset(r, 0, sizeof(*r));
    if (!e->model)
        return llem_fail(err, LLEM_EINVAL, "the engine cpu has no model loaded");
    for (i = 0; i < count; i++)
        if (indices[i] < 0 || (size_t)indices[i] >= e->n_prompts)
            return llem_fail(err, LLEM_EINVAL, "there is no prompt %d; %zu are loaded", indices[i],
                             e->n_prompts);
    need_blas(e);
    rc = need_state(e, e->set.batch_size, longest_positions(e, indices, count), err);
    if (rc < 0)
        return rc;
    threads = (size_t)cpu_pool_threads(e->pool);
    r->count = total;
    r->requests = take(r, total, sizeof(*r->requests));
    r->submit_ns = take(r, total, sizeof(*r->submit_ns));
    for (i = 0; !r->failed && i < total; i++) {
        struct cpu_request *q = &r->requests[i];
        int32_t index = indices[i % count];
        int64_t room;

        q->prompt = e->ids.ids + e->starts[index];
        q->n_prompt = (int32_t)(e->starts[index + 1] - e->starts[index]);
        room = e->config.max_positions - q->n_prompt;
        q->context_ends = !e->set.max_output || e->set.max_output > room;
        q->max_new = (int32_t)(q->context_ends ? room : e->set.max_output);
        cpu_rng_init(&q->rng, e->set.seed, index);
        tokens += (size_t)q->max_new;
        /* A batch has at most as many steps as all its rows alone. */
        steps += (size_t)q->n_prompt / STEP_TOKENS + 2 + (size_t)q->max_new;
    }
    output = take(r, tokens, sizeof(*output));
    token_ns = take(r, tokens, sizeof(*token_ns));
    r->g = (struct cpu_generate){
        .state = e->state,
        .pool = e->pool,
        .kernels = e->kernels,
        .sampling = &e->set.sampling,
        .samplers = take(r, threads, sizeof(struct cpu_sampler)),
        .tokens = take(r, (size_t)step_tokens(e), sizeof(struct cpu_token)),
        .wanted_rows = take(r, batch, sizeof(int32_t)),
        .chosen = take(r, batch, sizeof(int32_t)),
        .max_tokens = step_tokens(e),
        .eos = e->config.eos,
        .n_eos = e->set.ignore_eos ? 0 : e->config.n_eos,
        .clock = e->args.ctx->clock,
        .cancelled = cancelled,
        .user = e,
        .steps = take(r, steps, sizeof(struct cpu_step)),
        .max_steps = steps,
        .output = &e->output,
    };
    if (!r->failed) {
        struct cpu_candidate *candidates =
            take(r, e->set.sampling.sample ? threads * (size_t)vocab : 1, sizeof(*candidates));
        uint8_t *marks = take(r, threads, (size_t)vocab / 8 + 1);

        for (i = 0; !r->failed && i < threads; i++)
            r->g.samplers[i] =
                (struct cpu_sampler){ e->set.sampling.sample ? candidates + i * (size_t)vocab
                                                             : NULL,
                                      marks + i * ((size_t)vocab / 8 + 1), vocab };
    }
    if (r->failed) {
        run_done(r);
        return llem_fail(err, LLEM_ENOMEM, "no memory for the receipts of %zu requests", total);
    }
    for (i = 0; i < total; i++) {
        r->requests[i].output = output;
        r->requests[i].token_ns = token_ns;
        output += r->requests[i].max_new;
        token_ns += r->requests[i].max_new;
        /* Resident now, so that the window has no page faults of ours, but for what may never be
         * used. */
        if (e->set.max_output) {
            memset(r->requests[i].output, 0, (size_t)r->requests[i].max_new * sizeof(int32_t));
            memset(r->requests[i].token_ns, 0, (size_t)r->requests[i].max_new * sizeof(int64_t));
        }
    }
    return LLEM_OK;
}

/* All batches, one after another; a request is submitted when its batch begins. */
static llem_errcode run_all(struct run *r, const struct engine *e, size_t per_repeat)
{
    size_t i, j;

    for (i = 0; i < r->count;) {
        size_t left = per_repeat - i % per_repeat, n = (size_t)e->set.batch_size;
        int64_t now = llem_now_ns(r->g.clock);
        llem_errcode rc;

        n = n < left ? n : left;
        for (j = 0; j < n; j++)
            r->submit_ns[i + j] = now;
        rc = cpu_generate_batch(&r->g, r->requests + i, (int)n);
        if (rc < 0)
            return rc;
        i += n;
    }
    return LLEM_OK;
}

static llem_errcode run_warmup_prompt(void *self, int32_t index, double *latency_ms,
                                      llem_error *err)
{
    struct engine *e = self;
    struct run r;
    int64_t begin, end;
    llem_errcode rc;

    rc = run_init(&r, e, &index, 1, 1, err);
    if (rc < 0)
        return rc;
    begin = llem_now_ns(r.g.clock);
    rc = run_all(&r, e, 1);
    end = llem_now_ns(r.g.clock);
    run_done(&r);
    if (rc < 0)
        return llem_fail(err, rc, "stopped while warming up");
    *latency_ms = (double)(end - begin) * 1e-6;
    return LLEM_OK;
}

/* Let VmHWM begin anew, so that it is the peak of the pass alone; without the right to, it is the
 * process's. */
static void reset_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, "5", 1) < 0)
        errno = 0;
    close(fd);
}

static int64_t peak_bytes(void)
{
    long long kb = LLEM_UNKNOWN;
    char line[128];
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %lld kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb < 0 ? LLEM_UNKNOWN : kb * 1024;
}

static llem_errcode deliver(struct engine *e, const struct run *r, const struct llem_pass *pass,
                            const struct llem_receipts *receipts, llem_error *err)
{
    bool texts = pass->text;
    struct llem_buf text;
    llem_error why;
    llem_errcode rc = LLEM_OK;
    size_t i;

    llem_buf_init(&text, SIZE_MAX / 2);
    if (texts && need_tokenizer(e, &why) < 0) {
        llem_log(e->args.ctx, LLEM_LOG_WARNING, "cpu", "the outputs have no text: %s", why.msg);
        texts = false;
    }
    for (i = 0; receipts && receipts->request && i < r->count; i++) {
        const struct cpu_request *q = &r->requests[i];
        struct llem_sha256 sha;
        struct llem_receipt out;
        char hex[65];
        int32_t j;

        llem_sha256_init(&sha);
        for (j = 0; j < q->n_output; j++) {
            uint32_t id = (uint32_t)q->output[j];
            uint8_t bytes[4] = { (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                                 (uint8_t)(id >> 24) };

            llem_sha256_add(&sha, bytes, sizeof(bytes));
        }
        llem_sha256_hex(&sha, hex);
        llem_buf_clear(&text);
        if (texts)
            rc = cpu_tokenizer_decode(e->tokenizer, q->output, (size_t)q->n_output, &text, err);
        if (rc < 0)
            goto done;
        out = (struct llem_receipt){
            .pass = pass->id,
            .repeat = (int32_t)(i / pass->count),
            .index = pass->indices[i % pass->count],
            .t_submit_ns = r->submit_ns[i],
            .t_scheduled_ns = q->scheduled_ns,
            .t_first_ns = q->n_output ? q->token_ns[0] : LLEM_UNKNOWN,
            .t_last_ns = q->n_output ? q->token_ns[q->n_output - 1] : LLEM_UNKNOWN,
            .input_tokens = q->n_prompt,
            .cached_tokens = 0,
            .output_tokens = q->n_output,
            .finish = cpu_finish_names[q->finish],
            .output_sha256 = hex,
            .token_ns = q->token_ns,
            .output_ids = q->output,
            .output_text = texts ? text.data : NULL,
            .n_token_ns = (size_t)q->n_output,
        };
        receipts->request(receipts->user, &out);
    }
    for (i = 0; receipts && receipts->step && i < r->g.n_steps; i++) {
        const struct cpu_step *s = &r->g.steps[i];
        struct llem_engine_step out = { s->begin_ns, s->end_ns, s->prefill, s->decode, s->batch };

        receipts->step(receipts->user, &out);
    }

done:
    llem_buf_done(&text);
    return rc;
}

static llem_errcode run_inference(void *self, const struct llem_pass *pass,
                                  const struct llem_receipts *receipts, struct llem_inference *out,
                                  llem_error *err)
{
    struct engine *e = self;
    struct llem_inference done = { 0 };
    struct run r;
    llem_errcode rc;
    size_t i;

    if (pass->count == 0 || pass->repeats < 1)
        return llem_fail(err, LLEM_EINVAL, "a pass needs at least one prompt and one repeat");
    rc = run_init(&r, e, pass->indices, pass->count, pass->repeats, err);
    if (rc < 0)
        return rc;
    reset_peak();

    done.t_begin_ns = llem_now_ns(r.g.clock);
    rc = run_all(&r, e, pass->count);
    done.t_end_ns = llem_now_ns(r.g.clock);

    if (rc < 0) {
        run_done(&r);
        return llem_fail(err, rc, "stopped between two steps of the engine cpu");
    }
    done.peak_memory_bytes = peak_bytes();
    for (i = 0; i < r.count; i++) {
        done.input_tokens += r.requests[i].n_prompt;
        done.output_tokens += r.requests[i].n_output;
    }
    rc = deliver(e, &r, pass, receipts, err);
    run_done(&r);
    *out = done;
    return rc;
}

static int64_t output_so_far(void *self)
{
    const struct engine *e = self;

    return atomic_load_explicit(&e->output, memory_order_relaxed);
}

static struct llem_value *capture_observed_params(void *self, struct llem_arena *a)
{
    struct engine *e = self;
    const struct cpu_sampling *s = &e->set.sampling;
    struct llem_value *out = llem_map(a), *sampling = llem_map(a), *eos = llem_list(a);
    int i;

    llem_set(a, sampling, "do_sample", llem_bool(a, s->sample));
    llem_set(a, sampling, "temperature", s->sample ? llem_real(a, s->temperature) : llem_null(a));
    llem_set(a, sampling, "top_k",
             s->sample && s->top_k > 0 ? llem_int(a, s->top_k) : llem_null(a));
    llem_set(a, sampling, "top_p",
             s->sample && s->top_p < 1 ? llem_real(a, s->top_p) : llem_null(a));
    llem_set(a, sampling, "min_p",
             s->sample && s->min_p > 0 ? llem_real(a, s->min_p) : llem_null(a));
    llem_set(a, sampling, "repetition_penalty", llem_real(a, s->repetition_penalty));
    llem_set(a, sampling, "seed", s->sample ? llem_int(a, e->set.seed) : llem_null(a));
    llem_set(a, sampling, "max_new_tokens",
             e->set.max_output ? llem_int(a, e->set.max_output) : llem_null(a));
    llem_set(a, sampling, "ignore_eos", llem_bool(a, e->set.ignore_eos));
    for (i = 0; i < e->config.n_eos; i++)
        llem_append(a, eos, llem_int(a, e->config.eos[i]));
    llem_set(a, sampling, "eos_token_ids", eos);
    llem_set(a, out, "engine_params", describe_effective(e, a));
    llem_set(a, out, "sampling_params", sampling);
    return out;
}

static void destroy(void *self)
{
    struct engine *e = self;

    if (!e)
        return;
    cleanup(e);
    cpu_tokenizer_free(e->tokenizer);
    cpu_config_done(&e->config);
    free(e->ids.ids);
    free(e->starts);
    llem_arena_done(&e->arena);
    free(e);
}

const struct llem_engine_class llem_engine_cpu = {
    .name = "cpu",
    .help = "our own engine: Llama, Qwen2 and GPT-2 on the CPU, no packages needed",
    .create = create,
    .version = version,
    .check_hardware = check_hardware,
    .load_prompts = load_prompts,
    .open_device = llem_engine_cpu_device,
    .load_model = load_model,
    .run_warmup_prompt = run_warmup_prompt,
    .synchronize = llem_engine_host_sync,
    .run_inference = run_inference,
    .output_so_far = output_so_far,
    .capture_observed_params = capture_observed_params,
    .cleanup = cleanup,
    .destroy = destroy,
};
