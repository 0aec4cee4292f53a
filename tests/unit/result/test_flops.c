/* SPDX-License-Identifier: MIT
 *
 * Dimensions out of config.json, and operations out of them: every family against what PyTorch
 * counts (tests/data/golden/flops.json, made by tools/make_golden_flops.py), and configurations
 * that lie.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/json.h"
#include "lib/result/derive.h"

static struct llem_arena arena;

static int begin(void **state)
{
    arena = (struct llem_arena)LLEM_ARENA_INIT;
    return 0;
}

static int end(void **state)
{
    llem_arena_done(&arena);
    return 0;
}

static const struct llem_value *golden(void)
{
    struct llem_value *all;
    llem_error err;
    char path[1024];

    snprintf(path, sizeof(path), "%s/tests/data/golden/flops.json", getenv("LLEM_TEST_SOURCE_DIR"));
    if (llem_json_load(&arena, &all, path, 1 << 22, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    assert_true(all->count >= 30);
    return all;
}

static struct llem_dims read_case(const struct llem_value *all, size_t i)
{
    const struct llem_value *config = llem_get(all->items[i], "config");
    struct llem_dims d;
    llem_error err;

    if (llem_dims_read(&d, config, NULL, "config.json", &err) != LLEM_OK)
        fail_msg("%s: %s", all->keys[i], err.msg);
    return d;
}

static void parameters_are_those_that_the_loaded_model_has(void **state)
{
    const struct llem_value *all = golden();

    for (size_t i = 0; i < all->count; i++) {
        struct llem_dims d = read_case(all, i);
        int64_t expected = llem_int_at(all->items[i], "parameters", -1);

        if (d.parameters != expected)
            fail_msg("%s: %lld parameters instead of %lld", all->keys[i], (long long)d.parameters,
                     (long long)expected);
        assert_in_range(d.embedding_parameters, 1, d.parameters);
    }
}

/* Where keys and values are kept as what they are projected from, the reference projects all of
 * them again for every token: what a step after `cached` positions counts beyond ours. */
static double projected_again(const struct llem_dims *d, int64_t cached)
{
    return 2 *
           (double)(d->layers * d->kv_rank * d->heads * (d->head - d->rope_head + d->value_head)) *
           (double)cached;
}

static double worst;

static void is_near(const char *name, const char *what, double own, double torch)
{
    double off = fabs(own / torch - 1);

    worst = fmax(worst, off);
    if (off > 0.005)
        fail_msg("%s, %s: %.0f instead of %.0f", name, what, own, torch);
}

static void every_familys_operations_are_those_that_torch_counts(void **state)
{
    const struct llem_value *all = golden();

    for (size_t i = 0; i < all->count; i++) {
        const struct llem_value *c = all->items[i], *steps = llem_get(c, "decode");
        struct llem_dims d = read_case(all, i);
        int64_t prompt = llem_int_at(c, "prompt", 0);
        struct llem__flops f = { 0 };
        double again = 0, square;

        worst = 0;
        llem__flops_add(&f, &d, prompt, 0, 1);
        for (int64_t t = 0; t < prompt; t++)
            again += projected_again(&d, t);
        is_near(all->keys[i], "prefill token by token", f.prefill + again,
                llem_real_at(c, "prefill", NAN));
        /* At once the reference computes the masked half of attention too. */
        square = 2 * (double)(d.layers * d.heads * (d.head + d.value_head) * prompt * prompt);
        is_near(all->keys[i], "prefill at once", f.prefill - f.attention + square,
                llem_real_at(c, "prefill_at_once", NAN));
        assert_true(steps && steps->count >= 3);
        for (size_t k = 0; k < steps->count; k++) {
            struct llem__flops before = { 0 }, after = { 0 };

            llem__flops_add(&before, &d, prompt, 0, (int64_t)k + 1);
            llem__flops_add(&after, &d, prompt, 0, (int64_t)k + 2);
            is_near(all->keys[i], "a decode step",
                    after.decode - before.decode + projected_again(&d, prompt + (int64_t)k),
                    (double)steps->items[k]->i);
        }
        print_message("# %s: %.4f %%\n", all->keys[i], 100 * worst);
    }
}

/* Put as a recording's model, and got back: nothing is lost that operations are counted from. */
static void dimensions_survive_the_recording(void **state)
{
    const struct llem_value *all = golden();

    for (size_t i = 0; i < all->count; i++) {
        struct llem_dims d = read_case(all, i), back;
        struct llem_value *model = llem_map(&arena);
        struct llem__flops a = { 0 }, b = { 0 };

        llem_dims_put(&arena, model, &d);
        if (!llem_dims_get(&back, model))
            fail_msg("%s cannot be read back", all->keys[i]);
        assert_null(llem_dims_differ(&d, model));
        llem__flops_add(&a, &d, 20, 3, 9);
        llem__flops_add(&b, &back, 20, 3, 9);
        assert_true(a.prefill == b.prefill && a.decode == b.decode && a.attention == b.attention);
        llem_set(&arena, model, "num_layers", llem_int(&arena, d.layers + 1));
        assert_string_equal(llem_dims_differ(&d, model), "num_layers");
    }
}

/* ---- configurations ----------------------------------------------------------------------- */

#define LLAMA                                                                                      \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":128,"                       \
    "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"vocab_size\":400"
#define MIXTRAL                                                                                    \
    "\"model_type\":\"mixtral\",\"hidden_size\":64,\"intermediate_size\":128,"                     \
    "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"vocab_size\":400"
#define DEEPSEEK                                                                                   \
    "\"model_type\":\"deepseek_v3\",\"hidden_size\":64,\"intermediate_size\":128,"                 \
    "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"vocab_size\":400,"                        \
    "\"qk_nope_head_dim\":8,\"qk_rope_head_dim\":4,\"v_head_dim\":8,\"n_routed_experts\":8,"       \
    "\"num_experts_per_tok\":2"

static llem_errcode read_text(struct llem_dims *d, const char *json, llem_error *err)
{
    struct llem_value *config;

    *err = (llem_error){ 0 };
    if (llem_json_parse(&arena, &config, json, strlen(json), "config.json", err) != LLEM_OK)
        fail_msg("%s: %s", json, err->msg);
    return llem_dims_read(d, config, NULL, "config.json", err);
}

static void a_configuration_that_lies_is_refused_by_its_key(void **state)
{
    static const struct {
        const char *json, *about;
        llem_errcode rc;
    } cases[] = {
        { "[]", "no JSON object", LLEM_ECORRUPT },
        { "7", "no JSON object", LLEM_ECORRUPT },
        { "{}", "a '' are not known", LLEM_ENOTSUP },
        { "{\"model_type\":\"mamba\"}", "'mamba'", LLEM_ENOTSUP },
        { "{\"model_type\":7}", "''", LLEM_ENOTSUP },
        { "{\"model_type\":\"llama\"}", "has no hidden_size", LLEM_ECORRUPT },
        { "{\"model_type\":\"x\",\"text_config\":[]}", "'x'", LLEM_ENOTSUP },
        { "{\"model_type\":\"x\",\"text_config\":{\"model_type\":\"y\"}}", "'y'", LLEM_ENOTSUP },
        { "{\"model_type\":\"x\",\"text_config\":{\"model_type\":\"llama\"}}", "has no hidden_size",
          LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":0}", "hidden_size is no whole number from 1",
          LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":-64}", "hidden_size is no", LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":1e300}", "hidden_size is no", LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":64.5}", "hidden_size is no", LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":\"64\"}", "hidden_size is no", LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":[64]}", "hidden_size is no", LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":9223372036854775807}", "hidden_size is no",
          LLEM_ECORRUPT },
        { "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":100000}",
          "num_hidden_layers is no", LLEM_ECORRUPT },
        { "{" LLAMA ",\"num_key_value_heads\":3}", "4 heads cannot share 3", LLEM_ECORRUPT },
        { "{" LLAMA ",\"num_key_value_heads\":true}", "num_key_value_heads", LLEM_ECORRUPT },
        { "{" LLAMA ",\"head_dim\":1000000}", "too wide", LLEM_ECORRUPT },
        { "{" LLAMA ",\"head_dim\":0}", "head_dim", LLEM_ECORRUPT },
        { "{" LLAMA ",\"tie_word_embeddings\":\"yes\"}", "tie_word_embeddings is neither",
          LLEM_ECORRUPT },
        { "{" LLAMA ",\"is_encoder_decoder\":true}", "is_encoder_decoder", LLEM_ENOTSUP },
        { "{" LLAMA ",\"num_experts\":8}", "num_experts", LLEM_ENOTSUP },
        { "{" LLAMA ",\"layer_types\":[\"full_attention\"]}", "one for each of 4", LLEM_ECORRUPT },
        { "{" LLAMA ",\"layer_types\":[1,2,3,4]}", "layer_types", LLEM_ECORRUPT },
        { "{" LLAMA ",\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\","
          "\"linear_attention\"]}",
          "'linear_attention'", LLEM_ENOTSUP },
        { "{\"model_type\":\"gpt2\",\"n_embd\":10,\"n_head\":3}", "n_embd 10 is no multiple",
          LLEM_ECORRUPT },
        { "{" MIXTRAL "}", "has no num_local_experts", LLEM_ECORRUPT },
        { "{" MIXTRAL ",\"num_local_experts\":4}", "has no num_experts_per_tok", LLEM_ECORRUPT },
        { "{" MIXTRAL ",\"num_local_experts\":4,\"num_experts_per_tok\":5}", "5, but there are 4",
          LLEM_ECORRUPT },
        { "{" MIXTRAL ",\"num_local_experts\":1000000,\"num_experts_per_tok\":5}",
          "num_local_experts is no", LLEM_ECORRUPT },
        { "{" MIXTRAL ",\"num_local_experts\":4,\"num_experts_per_tok\":2,\"sliding_window\":-1}",
          "sliding_window", LLEM_ECORRUPT },
        { "{" DEEPSEEK "}", "has no kv_lora_rank", LLEM_ECORRUPT },
        { "{" DEEPSEEK ",\"kv_lora_rank\":16}", "has no first_k_dense_replace", LLEM_ECORRUPT },
        { "{" DEEPSEEK ",\"kv_lora_rank\":16,\"q_lora_rank\":0}", "q_lora_rank", LLEM_ECORRUPT },
        { "{\"model_type\":\"opt\",\"hidden_size\":64,\"ffn_dim\":128,\"num_hidden_layers\":2,"
          "\"num_attention_heads\":4,\"vocab_size\":400,\"max_position_embeddings\":64,"
          "\"word_embed_proj_dim\":32}",
          "word_embed_proj_dim is 32", LLEM_ENOTSUP },
    };

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        struct llem_dims d = { .hidden = 42 };
        llem_error err;
        llem_errcode rc = read_text(&d, cases[i].json, &err);

        if (rc != cases[i].rc || !strstr(err.msg, cases[i].about) ||
            !strstr(err.msg, "config.json"))
            fail_msg("%s: %d '%s' instead of '%s'", cases[i].json, rc, err.msg, cases[i].about);
        assert_int_equal(d.hidden, 42);
    }
}

static void a_text_model_inside_another_has_dimensions_but_no_number_of_parameters(void **state)
{
    struct llem_dims d;
    llem_error err;

    assert_int_equal(read_text(&d, "{\"model_type\":\"llava\",\"text_config\":{" LLAMA "}}", &err),
                     LLEM_OK);
    assert_int_equal(d.hidden, 64);
    assert_int_equal(d.parameters, 0);
    /* Published configurations of this one leave out what its class has as defaults. */
    assert_int_equal(read_text(&d,
                               "{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":"
                               "\"gemma3_text\",\"hidden_size\":2560,\"intermediate_size\":10240,"
                               "\"num_hidden_layers\":34,\"sliding_window\":1024}}",
                               &err),
                     LLEM_OK);
    assert_int_equal(d.heads, 8);
    assert_int_equal(d.vocab, 262208);
    assert_int_equal(d.window_layers, 29);
}

static void windows_are_of_the_layers_that_have_them(void **state)
{
    static const struct {
        const char *json;
        int64_t window, layers;
    } cases[] = {
        { "{" LLAMA ",\"sliding_window\":8}", 0, 0 }, /* its family has none */
        { "{" LLAMA ",\"sliding_window\":8,\"layer_types\":[\"sliding_attention\","
          "\"full_attention\",\"full_attention\",\"sliding_attention\"]}",
          8, 2 },
        { "{" LLAMA ",\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\","
          "\"full_attention\"],\"sliding_window\":8}",
          0, 0 },
        { "{" MIXTRAL ",\"num_local_experts\":4,\"num_experts_per_tok\":2,\"sliding_window\":8}", 8,
          4 },
        { "{" MIXTRAL ",\"num_local_experts\":4,\"num_experts_per_tok\":2,\"sliding_window\":null}",
          0, 0 },
    };

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        struct llem_dims d;
        llem_error err;

        if (read_text(&d, cases[i].json, &err) != LLEM_OK || d.window != cases[i].window ||
            d.window_layers != cases[i].layers)
            fail_msg("%s: %s; %lld of %lld layers", cases[i].json, err.msg, (long long)d.window,
                     (long long)d.window_layers);
    }
}

static void what_a_recording_says_is_checked(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"hidden_size\":0}",
        "{\"hidden_size\":64,\"num_layers\":2,\"num_heads\":4,\"vocab_size\":10}",
        "{\"hidden_size\":64,\"num_layers\":1e300,\"num_heads\":4,\"vocab_size\":10,"
        "\"intermediate_size\":8}",
        "{\"hidden_size\":64,\"num_layers\":-2,\"num_heads\":4,\"vocab_size\":10,"
        "\"intermediate_size\":8}",
        "{\"hidden_size\":64,\"num_layers\":2,\"num_heads\":4,\"vocab_size\":10,"
        "\"intermediate_size\":8,\"experts\":2,\"active_experts\":3}",
        "{\"hidden_size\":64,\"num_layers\":2,\"num_heads\":4,\"vocab_size\":10,"
        "\"intermediate_size\":8,\"sliding_window\":2,\"sliding_layers\":3}",
        "{\"hidden_size\":\"64\",\"num_layers\":2,\"num_heads\":4,\"vocab_size\":10,"
        "\"intermediate_size\":8}",
    };
    static const char good[] = "{\"hidden_size\":64,\"num_layers\":2.0,\"num_heads\":4,"
                               "\"vocab_size\":10,\"intermediate_size\":8}";
    struct llem_value *model;
    struct llem_dims d;

    for (size_t i = 0; i < LLEM_COUNT(bad); i++) {
        assert_int_equal(llem_json_parse(&arena, &model, bad[i], strlen(bad[i]), "model", NULL),
                         LLEM_OK);
        if (llem_dims_get(&d, model))
            fail_msg("%s is believed", bad[i]);
    }
    assert_int_equal(llem_json_parse(&arena, &model, good, strlen(good), "model", NULL), LLEM_OK);
    assert_true(llem_dims_get(&d, model));
    assert_int_equal(d.kv_heads, 4);
    assert_int_equal(d.value_head, 16);
    assert_false(llem_dims_get(&d, NULL));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(parameters_are_those_that_the_loaded_model_has),
        T(every_familys_operations_are_those_that_torch_counts),
        T(dimensions_survive_the_recording),
        T(a_configuration_that_lies_is_refused_by_its_key),
        T(a_text_model_inside_another_has_dimensions_but_no_number_of_parameters),
        T(windows_are_of_the_layers_that_have_them),
        T(what_a_recording_says_is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
