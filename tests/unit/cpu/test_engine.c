/* SPDX-License-Identifier: MIT
 *
 * The engine table as the harness drives it: prompts, load, warm-up, passes, receipts, limits, and
 * what it says when something is wrong.
 */
#include <math.h>

#include "lib/engine/engine.h"
#include "tests/unit/cpu/cpu_test.h"

enum { MAX_RECEIPTS = 64, MAX_OUTPUT = 128 };

struct got {
    struct llem_receipt receipts[MAX_RECEIPTS];
    int32_t ids[MAX_RECEIPTS][MAX_OUTPUT];
    int64_t token_ns[MAX_RECEIPTS][MAX_OUTPUT];
    char sha[MAX_RECEIPTS][65], text[MAX_RECEIPTS][512];
    size_t count, steps;
    int64_t prefill, decode;
};

static void on_request(void *user, const struct llem_receipt *r)
{
    struct got *g = user;

    assert_true(g->count < MAX_RECEIPTS && r->output_tokens <= MAX_OUTPUT);
    g->receipts[g->count] = *r;
    memcpy(g->ids[g->count], r->output_ids, (size_t)r->output_tokens * sizeof(int32_t));
    memcpy(g->token_ns[g->count], r->token_ns, r->n_token_ns * sizeof(int64_t));
    snprintf(g->sha[g->count], 65, "%s", r->output_sha256);
    snprintf(g->text[g->count], 512, "%s", r->output_text ? r->output_text : "(null)");
    g->count++;
}

static void on_step(void *user, const struct llem_engine_step *s)
{
    struct got *g = user;

    assert_true(s->end_ns >= s->begin_ns);
    g->steps++;
    g->prefill += s->prefill_tokens;
    g->decode += s->decode_tokens;
}

struct rig {
    llem_ctx *ctx;
    struct llem_arena arena;
    struct llem_value *config;
    atomic_int cancel;
    void *engine;
    int progress;
};

static void on_progress(void *user, const char *text, double fraction)
{
    struct rig *r = user;

    assert_non_null(text);
    assert_true(fraction >= 0 && fraction <= 1);
    r->progress++;
}

/* Settings as JSON text by dotted path, NULL-terminated: "cpu.batch_size", "3", ... */
static void configure(struct rig *r, const char *const *settings)
{
    llem_error err = { 0 };

    memset(r, 0, sizeof(*r));
    assert_int_equal(llem_ctx_new(&r->ctx, NULL, &err), LLEM_OK);
    r->config = llem_map(&r->arena);
    for (; settings && settings[0]; settings += 2) {
        struct llem_value *v;

        assert_int_equal(
            llem_json_parse(&r->arena, &v, settings[1], strlen(settings[1]), settings[0], &err),
            LLEM_OK);
        llem_set_at(&r->arena, r->config, settings[0], v);
    }
}

static llem_errcode make(struct rig *r, const char *model, llem_error *err)
{
    struct llem_engine_args args = { .ctx = r->ctx,
                                     .config = r->config,
                                     .model_path = model,
                                     .dir = "/tmp",
                                     .cancel = &r->cancel,
                                     .progress = on_progress,
                                     .progress_user = r };

    return llem_engine_cpu.create(&r->engine, &args, err);
}

static void rig_init(struct rig *r, const char *model, const char *const *settings)
{
    llem_error err = { 0 };

    configure(r, settings);
    if (make(r, model, &err) < 0)
        fail_msg("%s", err.msg);
}

static void rig_done(struct rig *r)
{
    if (r->engine)
        llem_engine_cpu.destroy(r->engine);
    llem_arena_done(&r->arena);
    llem_ctx_free(r->ctx);
}

static struct llem_value *load(struct rig *r)
{
    struct llem_value *loaded = NULL;
    llem_error err = { 0 };

    if (llem_engine_cpu.load_model(r->engine, &r->arena, &loaded, &err) < 0)
        fail_msg("%s", err.msg);
    return loaded;
}

static void give_prompts(struct rig *r, const char *const *texts, int32_t *input_tokens,
                         int32_t *truncated)
{
    struct llem_prompt prompts[16] = { 0 };
    llem_error err = { 0 };
    size_t n;

    for (n = 0; texts[n]; n++)
        prompts[n].text = texts[n];
    if (llem_engine_cpu.load_prompts(r->engine, prompts, n, input_tokens, truncated, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct llem_inference run(struct rig *r, const int32_t *indices, size_t count, int repeats,
                                 struct got *got)
{
    struct llem_receipts receipts = { on_request, on_step, got };
    struct llem_pass pass = { .id = 0, .indices = indices, .count = count, .repeats = repeats };
    int64_t before = llem_engine_cpu.output_so_far(r->engine);
    struct llem_inference out;
    llem_error err = { 0 };

    memset(got, 0, sizeof(*got));
    if (llem_engine_cpu.run_inference(r->engine, &pass, &receipts, &out, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(llem_engine_cpu.output_so_far(r->engine) - before, out.output_tokens);
    return out;
}

static const char *const texts[] = { "The meter",
                                     "What is the energy of 250 watts for 4 seconds?",
                                     "She opened the window",
                                     "One",
                                     "Two three",
                                     NULL };
static const int32_t all[] = { 0, 1, 2, 3, 4 };

static void a_pass_gives_a_receipt_for_every_request(void **state)
{
    static const char *const settings[] = { "task.max_output_tokens",
                                            "7",
                                            "task.ignore_eos",
                                            "true",
                                            "cpu.batch_size",
                                            "2",
                                            "cpu.threads",
                                            "2",
                                            NULL };
    struct rig r;
    struct got *got = calloc(1, sizeof(*got));
    struct llem_inference out;
    struct llem_value *loaded, *observed;
    int32_t input[5], truncated = -1;
    int64_t inputs = 0;
    size_t i, j;

    assert_non_null(got);
    rig_init(&r, data_path("models/llama"), settings);
    assert_int_equal(llem_engine_cpu.check_hardware(r.engine, &r.arena)->count, 0);
    give_prompts(&r, texts, input, &truncated);
    assert_int_equal(truncated, 0);
    loaded = load(&r);
    assert_true(r.progress > 0);
    assert_true(llem_real_at(loaded, "load_s", -1) >= 0);
    assert_string_equal(llem_str_at(loaded, "effective.dtype", ""), "float32");
    assert_int_equal(llem_int_at(loaded, "effective.threads", 0), 2);
    /* Keys and values, in float, of whole positions of every row and layer. */
    assert_true(llem_int_at(loaded, "effective.kv_cache_bytes", 0) > 0);
    assert_int_equal(llem_int_at(loaded, "effective.kv_cache_bytes", 0) %
                         (2 * 4 * 2 * llem_int_at(loaded, "model.num_layers", 0) *
                          llem_int_at(loaded, "model.num_kv_heads", 0) *
                          llem_int_at(loaded, "model.head_size", 0)),
                     0);
    assert_int_equal(llem_int_at(loaded, "effective.batch_size", 0), 2);
    assert_string_equal(llem_str_at(loaded, "model.architecture", ""), "LlamaForCausalLM");
    assert_int_equal(llem_int_at(loaded, "model.hidden_size", 0), 64);
    assert_int_equal(llem_int_at(loaded, "model.num_kv_heads", 0), 2);
    /* Counted from dimensions, and of the tensors that there are room for, in float. */
    assert_int_equal(4 * llem_int_at(loaded, "model.parameters", 0),
                     llem_int_at(loaded, "model.weights_bytes", -1));
    assert_int_equal(llem_at(loaded, "model.files")->count, 1);
    assert_int_equal(strlen(llem_str_at(loaded, "model.sha256", "")), 64);
    assert_string_equal(llem_str_at(loaded, "devices.0.kind", ""), "cpu");

    out = run(&r, all, 5, 2, got);
    assert_int_equal(got->count, 10);
    assert_true(out.peak_memory_bytes > 0);
    for (i = 0; i < got->count; i++) {
        const struct llem_receipt *q = &got->receipts[i];

        assert_int_equal(q->index, i % 5);
        assert_int_equal(q->repeat, i / 5);
        assert_int_equal(q->input_tokens, input[i % 5]);
        assert_int_equal(q->output_tokens, 7);
        assert_int_equal(q->n_token_ns, 7);
        assert_string_equal(q->finish, "length");
        assert_true(out.t_begin_ns <= q->t_submit_ns && q->t_submit_ns <= q->t_scheduled_ns &&
                    q->t_scheduled_ns <= q->t_first_ns && q->t_first_ns <= q->t_last_ns &&
                    q->t_last_ns <= out.t_end_ns);
        assert_true(q->t_first_ns == got->token_ns[i][0] && q->t_last_ns == got->token_ns[i][6]);
        for (j = 1; j < 7; j++)
            assert_true(got->token_ns[i][j] > got->token_ns[i][j - 1]);
        /* The second repeat says what the first said. */
        assert_memory_equal(got->ids[i], got->ids[i % 5], 7 * sizeof(int32_t));
        assert_string_equal(got->sha[i], got->sha[i % 5]);
        {
            char hex[65];

            llem_sha256_of(got->ids[i], 7 * sizeof(int32_t), hex);
            assert_string_equal(got->sha[i], hex);
        }
        inputs += q->input_tokens;
    }
    assert_int_equal(out.input_tokens, inputs);
    assert_int_equal(out.output_tokens, 70);
    assert_int_equal(got->prefill, inputs);
    assert_int_equal(got->decode, 70 - 10);
    observed = llem_engine_cpu.capture_observed_params(r.engine, &r.arena);
    assert_int_equal(llem_int_at(observed, "engine_params.batch_size", 0), 2);
    assert_false(llem_bool_at(observed, "sampling_params.do_sample", true));
    llem_engine_cpu.cleanup(r.engine);
    llem_engine_cpu.cleanup(r.engine);
    rig_done(&r);
    free(got);
}

static void a_pass_that_asks_for_texts_gets_those_of_its_output_ids(void **state)
{
    static const char *const settings[] = { "task.max_output_tokens", "7", NULL };
    struct cpu_tokenizer *t = NULL;
    struct rig r;
    static struct got got;
    struct llem_receipts receipts = { on_request, on_step, &got };
    struct llem_pass pass = { .indices = all, .count = 5, .repeats = 1, .text = true };
    struct llem_inference out;
    struct llem_buf want;
    llem_error err = { 0 };
    int32_t lengths[5], truncated;

    rig_init(&r, data_path("models/llama"), settings);
    give_prompts(&r, texts, lengths, &truncated);
    load(&r);
    run(&r, all, 5, 1, &got);
    assert_string_equal(got.text[0], "(null)");
    memset(&got, 0, sizeof(got));
    assert_int_equal(llem_engine_cpu.run_inference(r.engine, &pass, &receipts, &out, &err),
                     LLEM_OK);
    assert_int_equal(cpu_tokenizer_load(&t, data_path("models/llama/tokenizer.json"), &err),
                     LLEM_OK);
    llem_buf_init(&want, 1 << 20);
    for (size_t i = 0; i < 5; i++) {
        llem_buf_clear(&want);
        assert_int_equal(
            cpu_tokenizer_decode(t, got.ids[i], (size_t)got.receipts[i].output_tokens, &want, &err),
            LLEM_OK);
        assert_true(want.len > 0);
        assert_string_equal(got.text[i], want.data);
    }
    llem_buf_done(&want);
    cpu_tokenizer_free(t);
    rig_done(&r);
}

static void prompts_are_cut_to_their_first_tokens(void **state)
{
    static const char *const settings[] = {
        "task.max_input_tokens", "3", "task.max_output_tokens", "4", "task.ignore_eos", "true", NULL
    };
    struct rig r;
    struct got *got = calloc(1, sizeof(*got));
    int32_t input[5], truncated = 0, i, cut = 0;

    assert_non_null(got);
    rig_init(&r, data_path("models/gpt2"), settings);
    give_prompts(&r, texts, input, &truncated);
    for (i = 0; i < 5; i++) {
        assert_true(input[i] >= 1 && input[i] <= 3);
        cut += input[i] == 3;
    }
    assert_true(truncated >= 2 && truncated <= cut);
    load(&r);
    run(&r, all, 5, 1, got);
    for (i = 0; i < 5; i++)
        assert_int_equal(got->receipts[i].input_tokens, input[i]);
    rig_done(&r);
    free(got);
}

static void without_a_limit_generation_ends_at_the_end_token_or_the_context(void **state)
{
    static const char *const ignore[] = {
        "task.max_output_tokens", "null", "task.ignore_eos", "true", "cpu.batch_size", "5", NULL
    };
    struct rig r;
    struct got *got = calloc(1, sizeof(*got));
    int32_t input[5], truncated, i;

    assert_non_null(got);
    rig_init(&r, data_path("models/llama"), ignore);
    give_prompts(&r, texts, input, &truncated);
    load(&r);
    run(&r, all, 5, 1, got);
    for (i = 0; i < 5; i++) {
        assert_string_equal(got->receipts[i].finish, "context");
        assert_int_equal(got->receipts[i].input_tokens + got->receipts[i].output_tokens, 128);
    }
    rig_done(&r);
    free(got);
}

/* A model of its own in a directory, which says that every token ends a text. */
static void the_end_tokens_of_generation_config_stop_a_text(void **state)
{
    char *dir = make_temp_dir(), ids[256] = "[";
    static const char *const settings[] = { "task.max_output_tokens", "10", NULL };
    static const char *const ignoring[] = { "task.max_output_tokens", "10", "task.ignore_eos",
                                            "true", NULL };
    struct rig r;
    struct got *got = calloc(1, sizeof(*got));
    int32_t input[5], truncated, i, first[5];
    char text[512];

    assert_non_null(got);
    copy_file(data_path("models/llama/config.json"), dir, "config.json");
    copy_file(data_path("models/llama/tokenizer.json"), dir, "tokenizer.json");
    copy_file(data_path("models/llama/model.safetensors"), dir, "model.safetensors");
    rig_init(&r, dir, ignoring);
    give_prompts(&r, texts, input, &truncated);
    load(&r);
    run(&r, all, 5, 1, got);
    for (i = 0; i < 5; i++) {
        assert_int_equal(got->receipts[i].output_tokens, 10);
        first[i] = got->ids[i][1];
        snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s%d", i ? "," : "", first[i]);
    }
    rig_done(&r);

    snprintf(text, sizeof(text), "{\"eos_token_id\": %s]}", ids);
    write_text(dir, "generation_config.json", text);
    rig_init(&r, dir, settings);
    give_prompts(&r, texts, input, &truncated);
    load(&r);
    run(&r, all, 5, 1, got);
    for (i = 0; i < 5; i++) {
        assert_string_equal(got->receipts[i].finish, "stop");
        assert_true(got->receipts[i].output_tokens <= 2);
    }
    rig_done(&r);
    llem_remove_tree(dir, NULL);
    free(got);
}

static void seeded_sampling_repeats_and_another_seed_differs(void **state)
{
    static const char *const seed_1[] = { "task.max_output_tokens",
                                          "20",
                                          "task.random_seed",
                                          "1",
                                          "cpu.sampling.temperature",
                                          "1.5",
                                          "task.ignore_eos",
                                          "true",
                                          "cpu.batch_size",
                                          "1",
                                          NULL };
    static const char *const seed_1_batch[] = { "task.max_output_tokens",
                                                "20",
                                                "task.random_seed",
                                                "1",
                                                "cpu.sampling.temperature",
                                                "1.5",
                                                "task.ignore_eos",
                                                "true",
                                                "cpu.batch_size",
                                                "4",
                                                NULL };
    static const char *const seed_2[] = { "task.max_output_tokens",
                                          "20",
                                          "task.random_seed",
                                          "2",
                                          "cpu.sampling.temperature",
                                          "1.5",
                                          "task.ignore_eos",
                                          "true",
                                          NULL };
    const char *const *settings[] = { seed_1, seed_1_batch, seed_2 };
    struct got *got = calloc(3, sizeof(*got));
    int32_t input[5], truncated, i;

    assert_non_null(got);
    for (i = 0; i < 3; i++) {
        struct rig r;

        rig_init(&r, data_path("models/llama"), settings[i]);
        give_prompts(&r, texts, input, &truncated);
        load(&r);
        run(&r, all, 5, 1, &got[i]);
        assert_true(llem_bool_at(llem_engine_cpu.capture_observed_params(r.engine, &r.arena),
                                 "sampling_params.do_sample", false));
        rig_done(&r);
    }
    for (i = 0; i < 5; i++) {
        assert_string_equal(got[0].sha[i], got[1].sha[i]);
        assert_string_not_equal(got[0].sha[i], got[2].sha[i]);
    }
    free(got);
}

static void a_bare_config_runs_with_random_weights_and_ids(void **state)
{
    static const char *const settings[] = {
        "cpu.load_format", "\"dummy\"", "cpu.dtype", "\"bfloat16\"", "task.max_output_tokens", "5",
        "task.ignore_eos", "true",      NULL
    };
    static const int32_t ids[] = { 5, 6, 7, 8 };
    struct llem_prompt prompts[2] = { { .ids = ids, .n_ids = 4 }, { .text = "Hello" } };
    char *dir = make_temp_dir();
    struct rig r;
    struct got *got = calloc(1, sizeof(*got));
    struct llem_value *loaded;
    llem_error err = { 0 };
    int32_t input[2], truncated, index = 0;
    double latency = -1;
    char sha[65];
    int i;

    assert_non_null(got);
    copy_file(data_path("models/qwen2/config.json"), dir, "config.json");
    for (i = 0; i < 2; i++) {
        rig_init(&r, dir, settings);
        assert_sentence(llem_engine_cpu.load_prompts(r.engine, prompts, 2, input, &truncated, &err),
                        &err, "tokenizer.json");
        assert_true(err.hint[0]);
        assert_int_equal(
            llem_engine_cpu.load_prompts(r.engine, prompts, 1, input, &truncated, &err), LLEM_OK);
        loaded = load(&r);
        assert_string_equal(llem_str_at(loaded, "effective.load_format", ""), "dummy");
        assert_string_equal(llem_str_at(loaded, "effective.dtype", ""), "bfloat16");
        assert_true(llem_is_null(llem_at(loaded, "model.sha256")));
        assert_int_equal(llem_engine_cpu.run_warmup_prompt(r.engine, 0, &latency, &err), LLEM_OK);
        assert_true(latency > 0);
        run(&r, &index, 1, 1, got);
        assert_int_equal(got->receipts[0].output_tokens, 5);
        if (i > 0)
            assert_string_equal(sha, got->sha[0]);
        strcpy(sha, got->sha[0]);
        rig_done(&r);
    }
    llem_remove_tree(dir, NULL);
    free(got);
}

/* Parameters counted by hand from the shapes. */
static void parameters_are_counted_as_the_shapes_say(void **state)
{
    struct rig r;
    struct llem_value *m;
    int64_t layer;

    rig_init(&r, data_path("models/llama"), NULL);
    m = llem_at(load(&r), "model");
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128 + 2 * 64;
    assert_int_equal(llem_int_at(m, "parameters", 0), 400 * 64 + 2 * layer + 64);
    assert_int_equal(llem_int_at(m, "embedding_parameters", 0), 400 * 64);
    assert_int_equal(llem_int_at(m, "weights_bytes", 0), 4 * (400 * 64 + 2 * layer + 64));
    rig_done(&r);

    rig_init(&r, data_path("models/gpt2"), NULL);
    m = llem_at(load(&r), "model");
    layer = 48 * 144 + 144 + 48 * 48 + 48 + 48 * 192 + 192 + 192 * 48 + 48 + 4 * 48;
    assert_int_equal(llem_int_at(m, "parameters", 0), 400 * 48 + 128 * 48 + 2 * layer + 2 * 48);
    assert_int_equal(llem_int_at(m, "embedding_parameters", 0), 400 * 48 + 128 * 48);
    rig_done(&r);
}

static void what_cannot_run_is_told_in_one_sentence(void **state)
{
    static const int32_t high[] = { 1, 400 }, none[] = { 0 };
    int32_t many[128] = { 0 };
    struct {
        struct llem_prompt prompt;
        const char *about;
    } cases[] = {
        { { .ids = high, .n_ids = 2 }, "400" }, { { .ids = none, .n_ids = 0 }, "no tokens" },
        { { .text = "" }, "no tokens" },        { { .ids = many, .n_ids = 128 }, "context of 128" },
        { { .text = "a\xff" }, "UTF-8" },
    };
    struct rig r;
    llem_error err = { 0 };
    struct llem_pass pass = { .indices = all, .count = 1, .repeats = 1 };
    struct llem_inference out;
    int32_t input[1], truncated;
    size_t i;

    rig_init(&r, data_path("models/llama"), NULL);
    for (i = 0; i < LLEM_COUNT(cases); i++) {
        memset(&err, 0, sizeof(err));
        assert_sentence(
            llem_engine_cpu.load_prompts(r.engine, &cases[i].prompt, 1, input, &truncated, &err),
            &err, cases[i].about);
        assert_non_null(strstr(err.msg, "prompt 0"));
    }
    assert_sentence(llem_engine_cpu.run_inference(r.engine, &pass, NULL, &out, &err), &err,
                    "no model");
    load(&r);
    assert_sentence(llem_engine_cpu.run_inference(r.engine, &pass, NULL, &out, &err), &err,
                    "prompt 0");
    rig_done(&r);

    configure(&r, NULL);
    assert_sentence(make(&r, "/nowhere/model", &err), &err, "/nowhere/model");
    assert_true(err.hint[0]);
    rig_done(&r);
}

static void a_hub_id_is_found_in_the_hugging_face_cache(void **state)
{
    char *dir = make_temp_dir(), path[512];
    static const char commit[] = "0123456789abcdef0123456789abcdef01234567";
    struct rig r;
    llem_error err = { 0 };

    snprintf(path, sizeof(path), "%s/hub/models--org--tiny/refs", dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    write_text(path, "main", commit);
    snprintf(path, sizeof(path), "%s/hub/models--org--tiny/snapshots/%s", dir, commit);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    copy_file(data_path("models/llama/config.json"), path, "config.json");
    copy_file(data_path("models/llama/model.safetensors"), path, "model.safetensors");
    unsetenv("HF_HUB_CACHE");
    setenv("HF_HOME", dir, 1);
    rig_init(&r, "org/tiny", NULL);
    assert_string_equal(llem_str_at(load(&r), "model.revision", ""), commit);
    rig_done(&r);
    configure(&r, NULL);
    assert_sentence(make(&r, "org/other", &err), &err, "org/other");
    assert_non_null(strstr(err.hint, "org/other"));
    rig_done(&r);
    unsetenv("HF_HOME");
    llem_remove_tree(dir, NULL);
}

static void a_cancelled_pass_says_so(void **state)
{
    static const char *const settings[] = { "task.max_output_tokens", "20", NULL };
    struct rig r;
    llem_error err = { 0 };
    struct llem_pass pass = { .indices = all, .count = 5, .repeats = 1 };
    struct llem_inference out;
    struct llem_value *loaded;
    int32_t input[5], truncated;

    rig_init(&r, data_path("models/llama"), settings);
    give_prompts(&r, texts, input, &truncated);
    load(&r);
    atomic_store(&r.cancel, 1);
    assert_int_equal(llem_engine_cpu.run_inference(r.engine, &pass, NULL, &out, &err),
                     LLEM_ECANCELED);
    assert_int_equal(llem_engine_cpu.load_model(r.engine, &r.arena, &loaded, &err), LLEM_ECANCELED);
    rig_done(&r);
}

static void too_little_memory_and_too_many_threads_are_told_before(void **state)
{
    static const char *const settings[] = {
        "cpu.load_format", "\"dummy\"", "cpu.batch_size", "50000000", "cpu.threads", "1000", NULL
    };
    struct rig r;
    struct llem_value *errors;

    rig_init(&r, data_path("models/llama"), settings);
    errors = llem_engine_cpu.check_hardware(r.engine, &r.arena);
    assert_int_equal(errors->count, 2);
    assert_non_null(strstr(errors->items[0]->s, "GB"));
    assert_non_null(strstr(errors->items[1]->s, "1000"));
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_gives_a_receipt_for_every_request),
        cmocka_unit_test(a_pass_that_asks_for_texts_gets_those_of_its_output_ids),
        cmocka_unit_test(prompts_are_cut_to_their_first_tokens),
        cmocka_unit_test(without_a_limit_generation_ends_at_the_end_token_or_the_context),
        cmocka_unit_test(the_end_tokens_of_generation_config_stop_a_text),
        cmocka_unit_test(seeded_sampling_repeats_and_another_seed_differs),
        cmocka_unit_test(a_bare_config_runs_with_random_weights_and_ids),
        cmocka_unit_test(parameters_are_counted_as_the_shapes_say),
        cmocka_unit_test(what_cannot_run_is_told_in_one_sentence),
        cmocka_unit_test(a_hub_id_is_found_in_the_hugging_face_cache),
        cmocka_unit_test(a_cancelled_pass_says_so),
        cmocka_unit_test(too_little_memory_and_too_many_threads_are_told_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
