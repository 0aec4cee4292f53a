/* SPDX-License-Identifier: MIT
 *
 * The three families against transformers: golden logits and greedy continuations of tiny random
 * models, by every set of kernels, with and without OpenBLAS; batches against single rows;
 * sampling.
 */
#include <math.h>

#include "tests/unit/cpu/cpu_test.h"

enum { ROWS = 8, POSITIONS = 128, STEP = 256, NEW_TOKENS = 16 };

/* A loaded model with a state, and what generating needs. */
struct rig {
    struct cpu_config config;
    struct cpu_model *model;
    struct cpu_pool *pool;
    struct cpu_state *state;
    struct cpu_blas blas;
    struct cpu_sampling sampling;
    struct cpu_sampler samplers[4];
    struct cpu_token tokens[STEP];
    int32_t wanted_rows[ROWS], chosen[ROWS];
    struct cpu_generate g;
};

static void rig_init(struct rig *r, const char *dir, enum cpu_dtype dtype,
                     const struct cpu_kernels *kernels, bool blas, int threads)
{
    struct cpu_weights *w = NULL;
    llem_error err = { 0 };
    int i;

    memset(r, 0, sizeof(*r));
    if (cpu_config_load(&r->config, dir, &err) < 0 || cpu_weights_open(&w, dir, &err) < 0 ||
        cpu_model_load(&r->model, &r->config, w, cpu_model_dtype(&r->config, w, dtype), NULL, NULL,
                       &err) < 0 ||
        cpu_pool_new(&r->pool, threads, &err) < 0)
        fail_msg("%s: %s", dir, err.msg);
    cpu_weights_close(w);
    if (blas)
        blas = cpu_blas_open(&r->blas);
    {
        struct cpu_state_opts opts = { .model = r->model,
                                       .pool = r->pool,
                                       .kernels = kernels,
                                       .blas = blas ? &r->blas : NULL,
                                       .rows = ROWS,
                                       .positions = POSITIONS,
                                       .max_tokens = STEP,
                                       .touch = true };
        if (cpu_state_new(&r->state, &opts, &err) < 0)
            fail_msg("%s", err.msg);
    }
    for (i = 0; i < threads; i++) {
        r->samplers[i].vocab = r->config.vocab;
        r->samplers[i].candidates = calloc((size_t)r->config.vocab, sizeof(struct cpu_candidate));
        r->samplers[i].marks = calloc((size_t)r->config.vocab / 8 + 1, 1);
    }
    r->sampling = (struct cpu_sampling){ .temperature = 1, .top_p = 1, .repetition_penalty = 1 };
    r->g = (struct cpu_generate){ .state = r->state,
                                  .pool = r->pool,
                                  .kernels = kernels,
                                  .sampling = &r->sampling,
                                  .samplers = r->samplers,
                                  .tokens = r->tokens,
                                  .wanted_rows = r->wanted_rows,
                                  .chosen = r->chosen,
                                  .max_tokens = STEP,
                                  .clock = &llem_system_clock };
}

static void rig_done(struct rig *r)
{
    int i;

    for (i = 0; i < 4; i++) {
        free(r->samplers[i].candidates);
        free(r->samplers[i].marks);
    }
    cpu_state_free(r->state);
    cpu_pool_free(r->pool);
    cpu_model_free(r->model);
    cpu_config_done(&r->config);
}

/* ---- golden files ---- */

struct golden {
    struct llem_arena arena;
    const struct llem_value *ids, *logits, *argmax, *greedy;
    size_t count;
};

static void golden_load(struct golden *g, const char *name)
{
    struct llem_value *root;
    llem_error err = { 0 };
    char rel[64];

    memset(g, 0, sizeof(*g));
    snprintf(rel, sizeof(rel), "golden/%s.json", name);
    if (llem_json_load(&g->arena, &root, data_path(rel), 1 << 24, &err) < 0)
        fail_msg("%s", err.msg);
    g->ids = llem_get(root, "input_ids");
    g->logits = llem_get(root, "logits");
    g->argmax = llem_get(root, "argmax");
    g->greedy = llem_get(root, "greedy");
    assert_true(g->ids && g->logits && g->argmax && g->greedy);
    g->count = g->ids->count;
    assert_true(g->count > 0 && g->count <= ROWS);
}

static size_t copy_ids(int32_t *out, const struct llem_value *list)
{
    size_t i;

    for (i = 0; i < list->count; i++)
        out[i] = (int32_t)list->items[i]->i;
    return list->count;
}

static double value(const struct llem_value *v)
{
    return v->kind == LLEM_INT ? (double)v->i : v->d;
}

/* The largest difference from the golden logits over all prompts; argmax of every position must
 * agree. */
static double worst_error(struct rig *r, const struct golden *g)
{
    double worst = 0;
    size_t p, i, c;

    for (p = 0; p < g->count; p++) {
        int32_t ids[POSITIONS];
        size_t n = copy_ids(ids, g->ids->items[p]);

        for (i = 0; i < n; i++) {
            struct cpu_token t = { ids[i], (int32_t)p, (int32_t)i, true };

            cpu_forward(r->state, &t, 1);
            assert_int_equal(
                cpu_kernels_scalar.argmax(cpu_logits(r->state, 0), (size_t)r->config.vocab),
                g->argmax->items[p]->items[i]->i);
        }
        for (c = 0; c < (size_t)r->config.vocab; c++) {
            double d =
                fabs((double)cpu_logits(r->state, 0)[c] - value(g->logits->items[p]->items[c]));

            worst = d > worst ? d : worst;
        }
        /* The whole prompt at once, as generation computes it. */
        for (i = 0; i < n; i++)
            r->tokens[i] = (struct cpu_token){ ids[i], (int32_t)p, (int32_t)i, i + 1 == n };
        cpu_forward(r->state, r->tokens, (int)n);
        for (c = 0; c < (size_t)r->config.vocab; c++) {
            double d =
                fabs((double)cpu_logits(r->state, 0)[c] - value(g->logits->items[p]->items[c]));

            worst = d > worst ? d : worst;
        }
    }
    return worst;
}

/* All prompts as one batch: each must continue as the golden file says. */
static void check_greedy(struct rig *r, const struct golden *g)
{
    int32_t prompts[ROWS][POSITIONS], output[ROWS][NEW_TOKENS], want[NEW_TOKENS];
    int64_t token_ns[ROWS][NEW_TOKENS];
    struct cpu_request requests[ROWS] = { 0 };
    size_t p, i;

    for (p = 0; p < g->count; p++) {
        requests[p].n_prompt = (int32_t)copy_ids(prompts[p], g->ids->items[p]);
        requests[p].prompt = prompts[p];
        requests[p].max_new = NEW_TOKENS;
        requests[p].output = output[p];
        requests[p].token_ns = token_ns[p];
    }
    assert_int_equal(cpu_generate_batch(&r->g, requests, (int)g->count), LLEM_OK);
    for (p = 0; p < g->count; p++) {
        assert_int_equal(copy_ids(want, g->greedy->items[p]), NEW_TOKENS);
        assert_int_equal(requests[p].n_output, NEW_TOKENS);
        assert_int_equal(requests[p].finish, CPU_FINISH_LENGTH);
        assert_memory_equal(output[p], want, sizeof(want));
        for (i = 1; i < NEW_TOKENS; i++)
            assert_true(token_ns[p][i] >= token_ns[p][i - 1]);
        assert_true(token_ns[p][0] >= requests[p].scheduled_ns);
    }
}

static void check_family(const char *name)
{
    struct golden g;
    char rel[64];
    int k, blas;

    golden_load(&g, name);
    snprintf(rel, sizeof(rel), "models/%s", name);
    for (k = 0; cpu_kernels_all[k]; k++) {
        if (!cpu_kernels_all[k]->usable())
            continue;
        for (blas = 0; blas < 2; blas++) {
            struct rig r;
            double worst;

            rig_init(&r, data_path(rel), CPU_F32, cpu_kernels_all[k], blas, 2);
            worst = worst_error(&r, &g);
            if (!(worst <= 1e-4))
                fail_msg("%s with %s%s: logits differ by %g", name, cpu_kernels_all[k]->name,
                         blas ? " and OpenBLAS" : "", worst);
            check_greedy(&r, &g);
            rig_done(&r);
        }
    }
    llem_arena_done(&g.arena);
}

static void llama_computes_the_golden_logits(void **state)
{
    check_family("llama");
}

static void llama_with_bfloat16_weights_computes_the_golden_logits(void **state)
{
    check_family("llama-bf16");
}

static void llama_with_scaled_rope_computes_the_golden_logits(void **state)
{
    check_family("llama3-rope");
}

static void llama_in_the_newer_spelling_computes_the_golden_logits(void **state)
{
    check_family("llama-v5");
}

static void qwen2_in_shards_computes_the_golden_logits(void **state)
{
    check_family("qwen2");
}

static void gpt2_computes_the_golden_logits(void **state)
{
    check_family("gpt2");
}

static void gpt2_with_bare_names_and_float16_computes_the_golden_logits(void **state)
{
    check_family("gpt2-bare-f16");
}

/* Stored as bfloat16, so keeping the weights so loses nothing: the same limit holds. */
static void bfloat16_weights_are_used_as_stored(void **state)
{
    struct golden g;
    int k;

    golden_load(&g, "llama-bf16");
    for (k = 0; cpu_kernels_all[k]; k++) {
        struct rig r;

        if (!cpu_kernels_all[k]->usable())
            continue;
        rig_init(&r, data_path("models/llama-bf16"), CPU_OTHER, cpu_kernels_all[k], true, 2);
        assert_int_equal(r.model->dtype, CPU_BF16);
        assert_true(worst_error(&r, &g) <= 1e-4);
        check_greedy(&r, &g);
        rig_done(&r);
    }
    llem_arena_done(&g.arena);
}

/* ---- batches ---- */

/* Prompts of unlike lengths; ended rows leave the batch. */
static void make_prompts(int32_t prompts[ROWS][POSITIONS], struct cpu_request *requests,
                         int32_t output[ROWS][NEW_TOKENS], int64_t token_ns[ROWS][NEW_TOKENS])
{
    int p, i;

    for (p = 0; p < ROWS; p++) {
        int n = 1 + (p * 37) % 90;

        for (i = 0; i < n; i++)
            prompts[p][i] = (p * 131 + i * i * 7 + 3) % 400;
        requests[p] = (struct cpu_request){ .prompt = prompts[p],
                                            .n_prompt = n,
                                            .max_new = p % 3 == 0 ? 3 : NEW_TOKENS,
                                            .output = output[p],
                                            .token_ns = token_ns[p] };
        cpu_rng_init(&requests[p].rng, 42, p);
    }
}

static void check_batch_against_single(const char *model, bool sample)
{
    int32_t prompts[ROWS][POSITIONS], together[ROWS][NEW_TOKENS], alone[ROWS][NEW_TOKENS];
    int64_t ns[ROWS][NEW_TOKENS];
    struct cpu_request batch[ROWS], single[ROWS];
    struct cpu_step steps[256];
    _Atomic int64_t counted = 0;
    struct rig r;
    int p, prefill = 0, decode = 0, outputs = 0, inputs = 0;
    size_t i;

    rig_init(&r, data_path(model), CPU_F32, cpu_kernels_best(), false, 3);
    if (sample) {
        r.sampling = (struct cpu_sampling){ .sample = true,
                                            .temperature = 0.9,
                                            .top_k = 50,
                                            .top_p = 0.95,
                                            .min_p = 0.01,
                                            .repetition_penalty = 1.1 };
    }
    make_prompts(prompts, batch, together, ns);
    make_prompts(prompts, single, alone, ns);
    r.g.steps = steps;
    r.g.max_steps = LLEM_COUNT(steps);
    r.g.output = &counted;
    r.g.max_tokens = 50; /* steps end in the middle of prompts */
    assert_int_equal(cpu_generate_batch(&r.g, batch, ROWS), LLEM_OK);
    for (i = 0; i < r.g.n_steps; i++) {
        assert_true(steps[i].end_ns >= steps[i].begin_ns);
        prefill += steps[i].prefill;
        decode += steps[i].decode;
        assert_true(steps[i].decode <= steps[i].batch);
    }
    r.g.steps = NULL;
    r.g.output = NULL;
    r.g.max_tokens = STEP;
    for (p = 0; p < ROWS; p++) {
        assert_int_equal(cpu_generate_batch(&r.g, &single[p], 1), LLEM_OK);
        assert_int_equal(batch[p].n_output, batch[p].max_new);
        assert_int_equal(single[p].n_output, batch[p].n_output);
        assert_memory_equal(together[p], alone[p], (size_t)batch[p].n_output * sizeof(int32_t));
        outputs += batch[p].n_output;
        inputs += batch[p].n_prompt;
    }
    /* No padding: each prompt token is computed once, each output token but the last of its row
     * once. */
    assert_int_equal(prefill, inputs);
    assert_int_equal(decode, outputs - ROWS);
    assert_int_equal(counted, outputs);
    rig_done(&r);
}

static void a_batch_gives_each_row_what_it_gets_alone(void **state)
{
    check_batch_against_single("models/llama", false);
    check_batch_against_single("models/qwen2", false);
    check_batch_against_single("models/gpt2", false);
}

static void a_seeded_draw_does_not_depend_on_the_batch(void **state)
{
    check_batch_against_single("models/llama", true);
    check_batch_against_single("models/gpt2", true);
}

static void an_end_of_sequence_token_stops_its_row_alone(void **state)
{
    int32_t prompts[ROWS][POSITIONS], output[ROWS][NEW_TOKENS], stop;
    int64_t ns[ROWS][NEW_TOKENS];
    struct cpu_request requests[ROWS];
    struct rig r;
    int p, i, stopped = 0;

    rig_init(&r, data_path("models/llama"), CPU_F32, cpu_kernels_best(), false, 1);
    make_prompts(prompts, requests, output, ns);
    assert_int_equal(cpu_generate_batch(&r.g, requests, ROWS), LLEM_OK);
    stop = output[1][2]; /* what row 1 says third shall end a row */
    r.g.eos = &stop;
    r.g.n_eos = 1;
    assert_int_equal(cpu_generate_batch(&r.g, requests, ROWS), LLEM_OK);
    for (p = 0; p < ROWS; p++) {
        for (i = 0; i < requests[p].n_output - 1; i++)
            assert_int_not_equal(output[p][i], stop);
        if (requests[p].finish == CPU_FINISH_STOP) {
            assert_int_equal(output[p][requests[p].n_output - 1], stop);
            stopped++;
        } else {
            assert_int_equal(requests[p].n_output, requests[p].max_new);
        }
    }
    assert_int_equal(requests[1].finish, CPU_FINISH_STOP);
    assert_true(requests[1].n_output <= 3);
    assert_true(stopped >= 1);
    rig_done(&r);
}

static bool after_two(void *user)
{
    int *steps = user;

    return ++*steps > 2;
}

static void a_cancelled_batch_stops_between_steps(void **state)
{
    int32_t prompts[ROWS][POSITIONS], output[ROWS][NEW_TOKENS];
    int64_t ns[ROWS][NEW_TOKENS];
    struct cpu_request requests[ROWS];
    struct rig r;
    int steps = 0;

    rig_init(&r, data_path("models/llama"), CPU_F32, cpu_kernels_best(), false, 2);
    make_prompts(prompts, requests, output, ns);
    r.g.cancelled = after_two;
    r.g.user = &steps;
    assert_int_equal(cpu_generate_batch(&r.g, requests, ROWS), LLEM_ECANCELED);
    assert_int_equal(steps, 3);
    rig_done(&r);
}

/* ---- a sliding window ---- */

/* With a window of all it has seen a model computes what it computes without one; with less, not.
 */
static void a_sliding_window_hides_what_lies_before_it(void **state)
{
    int32_t prompts[ROWS][POSITIONS], output[ROWS][NEW_TOKENS];
    int64_t ns[ROWS][NEW_TOKENS];
    struct cpu_request requests[ROWS];
    float plain[400], same[400];
    struct rig r;
    int i, layer, n;

    rig_init(&r, data_path("models/qwen2"), CPU_F32, cpu_kernels_best(), false, 1);
    make_prompts(prompts, requests, output, ns);
    n = requests[2].n_prompt;
    assert_true(n > 20);
    for (i = 0; i < n; i++)
        r.tokens[i] = (struct cpu_token){ prompts[2][i], 0, i, i + 1 == n };
    cpu_forward(r.state, r.tokens, n);
    memcpy(plain, cpu_logits(r.state, 0), sizeof(plain));
    for (layer = 0; layer < r.config.layers; layer++)
        r.model->layers[layer].window = n;
    cpu_forward(r.state, r.tokens, n);
    memcpy(same, cpu_logits(r.state, 0), sizeof(same));
    assert_memory_equal(plain, same, sizeof(plain));

    /* With a window of 4 in one layer, the last token there sees four: the same as those four alone
     * do when the layers below see no others. */
    for (layer = 0; layer < r.config.layers; layer++)
        r.model->layers[layer].window = 1;
    cpu_forward(r.state, r.tokens, n);
    memcpy(same, cpu_logits(r.state, 0), sizeof(same));
    assert_memory_not_equal(plain, same, sizeof(plain));
    cpu_forward(r.state, &r.tokens[n - 1], 1);
    for (i = 0; i < 400; i++)
        assert_true(fabsf(cpu_logits(r.state, 0)[i] - same[i]) < 1e-5f);
    rig_done(&r);
}

static void openblas_and_our_kernels_agree_on_a_long_prompt(void **state)
{
    static const enum cpu_dtype dtypes[] = { CPU_F32, CPU_BF16 };
    static const char *const models[] = { "models/llama", "models/gpt2" };
    float without[400];
    struct rig r;
    size_t d, m;
    int i, blas;

    for (m = 0; m < LLEM_COUNT(models); m++) {
        for (d = 0; d < LLEM_COUNT(dtypes); d++) {
            for (blas = 0; blas < 2; blas++) {
                rig_init(&r, data_path(models[m]), dtypes[d], cpu_kernels_best(), blas, 2);
                for (i = 0; i < 120; i++)
                    r.tokens[i] = (struct cpu_token){ (i * 53 + 11) % 400, 0, i, i == 119 };
                cpu_forward(r.state, r.tokens, 120);
                if (!blas)
                    memcpy(without, cpu_logits(r.state, 0), sizeof(without));
                for (i = 0; i < 400; i++)
                    assert_true(fabsf(cpu_logits(r.state, 0)[i] - without[i]) < 1e-4f);
                rig_done(&r);
            }
        }
    }
}

/* ---- sampling ---- */

enum { VOCAB = 1000 };

static void draw_many(const struct cpu_sampling *o, const float *logits, int n, int32_t *counts)
{
    struct cpu_candidate candidates[VOCAB];
    uint8_t marks[VOCAB / 8 + 1] = { 0 };
    struct cpu_sampler s = { candidates, marks, VOCAB };
    struct cpu_rng rng;
    float copy[VOCAB];
    int i;

    cpu_rng_init(&rng, 7, 0);
    memset(counts, 0, VOCAB * sizeof(*counts));
    for (i = 0; i < n; i++) {
        memcpy(copy, logits, sizeof(copy));
        counts[cpu_sample(&s, o, cpu_kernels_best(), copy, NULL, 0, NULL, 0, &rng)]++;
    }
}

static void make_logits(float *logits)
{
    int i;

    for (i = 0; i < VOCAB; i++)
        logits[i] = -(float)((i * 37) % VOCAB) / 10; /* e^0, e^-0.1, ... shuffled */
}

static void draws_follow_the_probabilities(void **state)
{
    struct cpu_sampling o = {
        .sample = true, .temperature = 2, .top_p = 1, .repetition_penalty = 1
    };
    enum { N = 20000 };
    int32_t counts[VOCAB];
    float logits[VOCAB];
    double sum = 0, chi2 = 0;
    int i, cells = 0;

    make_logits(logits);
    for (i = 0; i < VOCAB; i++)
        sum += exp(logits[i] / 2);
    draw_many(&o, logits, N, counts);
    for (i = 0; i < VOCAB; i++) {
        double expected = N * exp(logits[i] / 2) / sum;

        if (expected < 10)
            continue;
        chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
        cells++;
    }
    assert_true(cells > 20);
    /* Mean cells, deviation sqrt(2 cells): five deviations, with a fixed seed. */
    assert_true(chi2 < cells + 5 * sqrt(2.0 * cells));
}

/* Counts the distinct tokens drawn, all of which must be among the `most` likeliest. */
static int distinct(const struct cpu_sampling *o, int most)
{
    int32_t counts[VOCAB];
    float logits[VOCAB];
    int i, j, n = 0;

    make_logits(logits);
    draw_many(o, logits, 3000, counts);
    for (i = 0; i < VOCAB; i++) {
        int above = 0;

        if (!counts[i])
            continue;
        n++;
        for (j = 0; j < VOCAB; j++)
            above += logits[j] > logits[i];
        assert_true(above < most);
    }
    return n;
}

static void top_k_top_p_and_min_p_keep_what_they_say(void **state)
{
    struct cpu_sampling o = {
        .sample = true, .temperature = 1, .top_p = 1, .repetition_penalty = 1
    };
    double sum = 0, mass = 0, p;
    int n = 0, i;

    o.top_k = 5;
    assert_int_equal(distinct(&o, 5), 5);
    o.top_k = 0;
    /* Probabilities are e^(-i/10) in order: count how many reach half of all. */
    for (i = 0; i < VOCAB; i++)
        sum += exp(-i / 10.0);
    while (mass < 0.5 * sum)
        mass += exp(-n++ / 10.0);
    o.top_p = 0.5;
    assert_int_equal(distinct(&o, n), n);
    /* top-p of the top k's mass */
    o.top_k = 4;
    for (sum = 0, i = 0; i < 4; i++)
        sum += exp(-i / 10.0);
    for (mass = 0, n = 0; mass < 0.5 * sum; n++)
        mass += exp(-n / 10.0);
    assert_int_equal(distinct(&o, n), n);
    o.top_k = 0;
    o.top_p = 1;
    o.min_p = 0.2;
    for (n = 0, p = 1; p >= 0.2; p = exp(-n / 10.0))
        n++;
    assert_int_equal(distinct(&o, n), n);
}

static void equals_of_the_last_of_the_top_k_stay(void **state)
{
    struct cpu_sampling o = {
        .sample = true, .temperature = 1, .top_k = 2, .top_p = 1, .repetition_penalty = 1
    };
    int32_t counts[VOCAB];
    float logits[VOCAB];
    int i;

    for (i = 0; i < VOCAB; i++)
        logits[i] = -20;
    logits[3] = 1;
    logits[500] = logits[501] = logits[502] = 0;
    draw_many(&o, logits, 2000, counts);
    assert_true(counts[3] && counts[500] && counts[501] && counts[502]);
    assert_int_equal(counts[3] + counts[500] + counts[501] + counts[502], 2000);
}

static void a_repetition_penalty_applies_once_to_each_token_seen(void **state)
{
    struct cpu_sampling o = { .temperature = 1, .top_p = 1, .repetition_penalty = 2 };
    struct cpu_candidate candidates[VOCAB];
    uint8_t marks[VOCAB / 8 + 1] = { 0 };
    struct cpu_sampler s = { candidates, marks, VOCAB };
    int32_t prompt[] = { 10, 10, 11 }, output[] = { 10, 12 };
    float logits[VOCAB] = { 0 };
    size_t i;

    logits[10] = 8;
    logits[11] = -3;
    logits[12] = 4;
    logits[13] = 3;
    assert_int_equal(cpu_sample(&s, &o, &cpu_kernels_scalar, logits, prompt, 3, output, 2, NULL),
                     10);
    assert_true(logits[10] == 4 && logits[11] == -6 && logits[12] == 2 && logits[13] == 3);
    for (i = 0; i < sizeof(marks); i++)
        assert_int_equal(marks[i], 0);
}

static void streams_of_requests_are_their_own_and_repeat(void **state)
{
    struct cpu_rng a, b, c;
    int i;

    cpu_rng_init(&a, 42, 3);
    cpu_rng_init(&b, 42, 3);
    cpu_rng_init(&c, 42, 4);
    for (i = 0; i < 100; i++) {
        double x = cpu_rng_next(&a);

        assert_true(x >= 0 && x < 1);
        assert_true(x == cpu_rng_next(&b));
        assert_true(x != cpu_rng_next(&c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_computes_the_golden_logits),
        cmocka_unit_test(llama_with_bfloat16_weights_computes_the_golden_logits),
        cmocka_unit_test(llama_with_scaled_rope_computes_the_golden_logits),
        cmocka_unit_test(llama_in_the_newer_spelling_computes_the_golden_logits),
        cmocka_unit_test(qwen2_in_shards_computes_the_golden_logits),
        cmocka_unit_test(gpt2_computes_the_golden_logits),
        cmocka_unit_test(gpt2_with_bare_names_and_float16_computes_the_golden_logits),
        cmocka_unit_test(bfloat16_weights_are_used_as_stored),
        cmocka_unit_test(a_batch_gives_each_row_what_it_gets_alone),
        cmocka_unit_test(a_seeded_draw_does_not_depend_on_the_batch),
        cmocka_unit_test(an_end_of_sequence_token_stops_its_row_alone),
        cmocka_unit_test(a_cancelled_batch_stops_between_steps),
        cmocka_unit_test(a_sliding_window_hides_what_lies_before_it),
        cmocka_unit_test(openblas_and_our_kernels_agree_on_a_long_prompt),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(top_k_top_p_and_min_p_keep_what_they_say),
        cmocka_unit_test(equals_of_the_last_of_the_top_k_stay),
        cmocka_unit_test(a_repetition_penalty_applies_once_to_each_token_seen),
        cmocka_unit_test(streams_of_requests_are_their_own_and_repeat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
