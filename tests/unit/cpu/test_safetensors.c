/* SPDX-License-Identifier: MIT
 *
 * Weight files: what a good one gives, and one sentence for every bad one: cut short, lying,
 * overlapping, with holes, outside the directory, of other shapes than the configuration's.
 */
#include "tests/unit/cpu/cpu_test.h"

/* A file of a header and so many bytes of data, in which byte i is i. */
static void write_tensors(const char *dir, const char *name, const char *header, size_t data)
{
    struct llem_buf b;
    uint64_t len = strlen(header);
    size_t i;

    llem_buf_init(&b, SIZE_MAX / 2);
    for (i = 0; i < 8; i++)
        llem_buf_addc(&b, (char)(len >> (8 * i)));
    llem_buf_adds(&b, header);
    for (i = 0; i < data; i++)
        llem_buf_addc(&b, (char)i);
    assert_false(b.failed);
    write_file(dir, name, b.data, b.len);
    llem_buf_done(&b);
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

static void tensors_are_found_and_read(void **state)
{
    char *dir = make_temp_dir();
    struct cpu_weights *w = NULL;
    llem_error err = { 0 };
    const struct cpu_tensor *t;
    uint8_t bytes[4];

    write_tensors(dir, "model.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"}," T("b", "F32", "[2,2]", 4, 20) "," T(
                      "a", "BF16", "[2]", 0, 4) "," T("none", "F32", "[0,3]", 20,
                                                      20) "," T("one", "U8", "[]", 20, 21) "}   ",
                  21);
    if (cpu_weights_open(&w, dir, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(w->n_tensors, 4);
    assert_null(cpu_weights_find(w, "c"));
    t = cpu_weights_find(w, "b");
    assert_non_null(t);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->dtype, CPU_F32);
    assert_int_equal(cpu_weights_read(w, t, 12, bytes, 4, &err), LLEM_OK);
    assert_int_equal(bytes[0], 16);
    assert_int_equal(bytes[3], 19);
    assert_true(cpu_weights_read(w, t, 13, bytes, 4, &err) < 0);
    assert_int_equal(cpu_weights_find(w, "one")->dtype, CPU_OTHER);
    cpu_weights_close(w);
    llem_remove_tree(dir, NULL);
}

static void a_lying_header_is_refused_by_file_and_tensor(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *about;
    } cases[] = {
        { "[]", 0, "JSON object" },
        { "{\"a\":", 0, "JSON" },
        { "{\"a\":3}", 0, "'a'" },
        { "{" T("a", "F32", "[2]", 0, 8) "," T("a", "F32", "[2]", 0, 8) "}", 8,
          "model.safetensors" },
        { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a' has no dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "'a' has no shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets of tensor 'a'" },
        { "{" T("a", "F7", "[2]", 0, 8) "}", 8, "'F7'" },
        { "{" T("a", "F32", "[-2]", 0, 8) "}", 8, "dimension 0 of tensor 'a'" },
        { "{" T("a", "F32", "[2.0]", 0, 8) "}", 8, "dimension 0" },
        { "{" T("a", "F32", "[NaN]", 0, 8) "}", 8, "model.safetensors" },
        { "{" T("a", "F32", "[1e400]", 0, 8) "}", 8, "model.safetensors" },
        { "{" T("a", "F32", "[\"2\"]", 0, 8) "}", 8, "dimension 0" },
        { "{" T("a", "F32", "[9223372036854775807,9223372036854775807]", 0, 8) "}", 8,
          "too large" },
        { "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "9 dimensions" },
        { "{" T("a", "F32", "[3]", 0, 8) "}", 8, "needs 12" },
        { "{" T("a", "F32", "[2]", 8, 0) "}", 8, "data_offsets" },
        { "{" T("a", "F32", "[2]", -8, 0) "}", 8, "data_offsets" },
        { "{" T("a", "F32", "[2]", 0, 8) "}", 7, "cut short" },
        { "{" T("a", "F32", "[2]", 18446744073709551608, 18446744073709551616) "}", 8,
          "model.safetensors" },
        { "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, "overlaps" },
        { "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 12, 20) "}", 20,
          "4 bytes before" },
        { "{" T("a", "F32", "[2]", 4, 12) "}", 12, "4 bytes before" },
        { "{" T("a", "F32", "[2]", 0, 8) "}", 12, "last 4 bytes" },
        { "{}", 1, "last 1 bytes" },
    };
    char *dir = make_temp_dir();
    size_t i;

    for (i = 0; i < LLEM_COUNT(cases); i++) {
        struct cpu_weights *w = NULL;
        llem_error err = { 0 };
        llem_errcode rc;

        write_tensors(dir, "model.safetensors", cases[i].header, cases[i].data);
        rc = cpu_weights_open(&w, dir, &err);
        assert_sentence(rc, &err, cases[i].about);
        assert_null(w);
        if (!strstr(err.msg, "model.safetensors") && !strstr(err.file, "model.safetensors"))
            fail_msg("'%s' does not name the file", err.msg);
    }
    llem_remove_tree(dir, NULL);
}

static void a_file_cut_short_anywhere_is_refused(void **state)
{
    char *dir = make_temp_dir();
    struct llem_buf whole;
    size_t len;

    read_file(&whole, data_path("models/gpt2/model.safetensors"));
    for (len = 0; len < whole.len; len += len < 4096 ? 61 : whole.len / 40 + 1) {
        struct cpu_weights *w = NULL;
        llem_error err = { 0 };

        write_file(dir, "model.safetensors", whole.data, len);
        assert_sentence(cpu_weights_open(&w, dir, &err), &err, "model.safetensors");
    }
    llem_buf_done(&whole);
    llem_remove_tree(dir, NULL);
}

static void a_header_length_that_lies_is_refused(void **state)
{
    static const uint64_t lengths[] = {
        0, 1, 7, 1000, UINT64_MAX, 1u << 30, INT64_MAX, 100u << 20, (100u << 20) + 1, UINT64_MAX - 7
    };
    char *dir = make_temp_dir();
    struct llem_buf file;
    size_t i, j;

    read_file(&file, data_path("models/llama/model.safetensors"));
    for (i = 0; i < LLEM_COUNT(lengths); i++) {
        struct cpu_weights *w = NULL;
        llem_error err = { 0 };

        for (j = 0; j < 8; j++)
            file.data[j] = (char)(lengths[i] >> (8 * j));
        write_file(dir, "model.safetensors", file.data, file.len);
        assert_sentence(cpu_weights_open(&w, dir, &err), &err, "model.safetensors");
    }
    llem_buf_done(&file);
    llem_remove_tree(dir, NULL);
}

static void a_file_that_shrinks_while_it_is_read_is_an_error(void **state)
{
    char *dir = make_temp_dir(), path[256];
    struct cpu_weights *w = NULL;
    llem_error err = { 0 };
    uint8_t bytes[16];

    write_tensors(dir, "model.safetensors", "{" T("a", "F32", "[4]", 0, 16) "}", 16);
    assert_int_equal(cpu_weights_open(&w, dir, &err), LLEM_OK);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    write_file(dir, "model.safetensors", "x", 1);
    assert_sentence(cpu_weights_read(w, cpu_weights_find(w, "a"), 0, bytes, 16, &err), &err,
                    "model.safetensors");
    cpu_weights_close(w);
    llem_remove_tree(dir, NULL);
}

static void an_index_that_lies_is_refused(void **state)
{
    static const struct {
        const char *index, *about;
    } cases[] = {
        { "{}", "weight_map" },
        { "{\"weight_map\":[]}", "weight_map" },
        { "{\"weight_map\":{\"a\":3}}", "'a'" },
        { "{\"weight_map\":{\"a\":\"../model.safetensors\"}}", "'../model.safetensors'" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "'/etc/passwd'" },
        { "{\"weight_map\":{\"a\":\"\"}}", "'a'" },
        { "{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "absent.safetensors" },
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", "'b'" },
        { "{\"weight_map\":{\"a\":\"sub\"}}", "sub" },
        { "not json", "index.json" },
    };
    char *dir = make_temp_dir(), path[256];
    size_t i;

    write_tensors(dir, "one.safetensors", "{" T("a", "F32", "[2]", 0, 8) "}", 8);
    snprintf(path, sizeof(path), "%s/sub", dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    for (i = 0; i < LLEM_COUNT(cases); i++) {
        struct cpu_weights *w = NULL;
        llem_error err = { 0 };

        write_text(dir, "model.safetensors.index.json", cases[i].index);
        assert_sentence(cpu_weights_open(&w, dir, &err), &err, cases[i].about);
    }
    llem_remove_tree(dir, NULL);
    dir = make_temp_dir();
    {
        struct cpu_weights *w = NULL;
        llem_error err = { 0 };

        assert_sentence(cpu_weights_open(&w, dir, &err), &err, "neither");
        assert_true(err.hint[0]);
    }
    llem_remove_tree(dir, NULL);
}

/* ---- weights against a configuration ---- */

static const char tiny_config[] = "{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":2,\"n_"
                                  "layer\":1,\"n_head\":1,\"n_inner\":2,"
                                  "\"vocab_size\":3,\"n_positions\":2}";

static void weights_that_do_not_fit_the_configuration_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *about;
    } cases[] = {
        { "{" T("x", "F32", "[2]", 0, 8) "}", 8, "'transformer.wte.weight' is missing" },
        { "{" T("wte.weight", "F32", "[2,3]", 0, 24) "}", 24, "'wte.weight'" },
        { "{" T("wte.weight", "F32", "[6]", 0, 24) "}", 24, "'wte.weight'" },
        { "{" T("transformer.wte.weight", "I32", "[3,2]", 0, 24) "}", 24, "I32" },
        { "{" T("transformer.wte.weight", "F32", "[3,2]", 0, 24) "}", 24,
          "'transformer.wpe.weight'" },
    };
    char *dir = make_temp_dir();
    size_t i;

    for (i = 0; i < LLEM_COUNT(cases); i++) {
        struct cpu_weights *w = NULL;
        struct cpu_model *m = NULL;
        struct cpu_config c;
        llem_error err = { 0 };

        write_tensors(dir, "model.safetensors", cases[i].header, cases[i].data);
        assert_int_equal(
            cpu_config_parse(&c, tiny_config, strlen(tiny_config), "config.json", &err), LLEM_OK);
        assert_int_equal(cpu_weights_open(&w, dir, &err), LLEM_OK);
        assert_sentence(cpu_model_load(&m, &c, w, CPU_F32, NULL, NULL, &err), &err, cases[i].about);
        cpu_weights_close(w);
        cpu_config_done(&c);
    }
    llem_remove_tree(dir, NULL);
}

#define LLAMA                                                                                      \
    "\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":128,"       \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":400,\"rms_norm_eps\":1e-5"

static void what_a_configuration_says_is_checked(void **state)
{
    static const struct {
        const char *json, *about;
    } cases[] = {
        { "", "config.json" },
        { "[]", "no JSON object" },
        { "{}", "architecture ''" },
        { "{\"architectures\":[\"MixtralForCausalLM\"]}", "'MixtralForCausalLM'" },
        { "{\"model_type\":\"mamba\"}", "'mamba'" },
        { "{\"architectures\":[\"LlamaForCausalLM\"]}", "hidden_size" },
        { "{" LLAMA ",\"hidden_size\":64}", "config.json" }, /* twice */
        { "{\"model_type\":\"llama\",\"hidden_size\":NaN}", "config.json" },
        { "{\"model_type\":\"llama\",\"hidden_size\":64.5}", "hidden_size" },
        { "{\"model_type\":\"llama\",\"hidden_size\":-1}", "hidden_size" },
        { "{\"model_type\":\"llama\",\"hidden_size\":99999999999}", "hidden_size" },
        { "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":1000000}",
          "num_hidden_layers" },
        { "{" LLAMA ",\"num_key_value_heads\":3}", "3 key/value heads" },
        { "{" LLAMA ",\"head_dim\":15}", "even" },
        { "{" LLAMA ",\"head_dim\":1000000}", "too wide" },
        { "{" LLAMA ",\"hidden_act\":\"gelu\"}", "gelu" },
        { "{" LLAMA ",\"rope_theta\":0}", "rope_theta" },
        { "{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}", "'yarn'" },
        { "{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\"}}", "factor" },
        { "{" LLAMA
          ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
          "\"high_freq_factor\":1,\"original_max_position_embeddings\":32}}",
          "high_freq_factor" },
        { "{" LLAMA ",\"partial_rotary_factor\":0.5}", "partial_rotary_factor" },
        { "{" LLAMA ",\"quantization_config\":{\"bits\":4}}", "quantization_config" },
        { "{" LLAMA ",\"num_local_experts\":8}", "num_local_experts" },
        { "{" LLAMA ",\"eos_token_id\":\"x\"}", "eos_token_id" },
        { "{" LLAMA ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", "17" },
        { "{\"model_type\":\"gpt2\",\"n_embd\":10,\"n_head\":3}", "n_head" },
        { "{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", "add_cross_attention" },
        { "{\"model_type\":\"gpt2\",\"activation_function\":\"tanh\"}", "'tanh'" },
        { "{\"model_type\":\"gpt2\",\"layer_norm_epsilon\":-1}", "layer_norm_epsilon" },
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(cases); i++) {
        struct cpu_config c;
        llem_error err = { 0 };
        llem_errcode rc =
            cpu_config_parse(&c, cases[i].json, strlen(cases[i].json), "config.json", &err);

        assert_sentence(rc, &err, cases[i].about);
        if (!strstr(err.msg, "config.json") && !strstr(err.file, "config.json"))
            fail_msg("'%s' does not name the file", err.msg);
    }
}

static void options_of_a_configuration_are_read(void **state)
{
    static const char json[] =
        "{\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":128,"
        "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"vocab_size\":400,\"use_sliding_"
        "window\":true,"
        "\"sliding_window\":16,\"max_window_layers\":3,\"eos_token_id\":[7,9],\"torch_dtype\":"
        "\"bfloat16\"}";
    struct cpu_config c;
    llem_error err = { 0 };

    assert_int_equal(cpu_config_parse(&c, json, strlen(json), "config.json", &err), LLEM_OK);
    assert_true(c.qkv_bias && !c.out_bias && !c.tied && c.gated);
    assert_int_equal(c.kv_heads, 4);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.window, 16);
    assert_true(!c.windowed[2] && c.windowed[3]);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[1], 9);
    assert_int_equal(c.stored, CPU_BF16);
    cpu_config_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_found_and_read),
        cmocka_unit_test(a_lying_header_is_refused_by_file_and_tensor),
        cmocka_unit_test(a_file_cut_short_anywhere_is_refused),
        cmocka_unit_test(a_header_length_that_lies_is_refused),
        cmocka_unit_test(a_file_that_shrinks_while_it_is_read_is_an_error),
        cmocka_unit_test(an_index_that_lies_is_refused),
        cmocka_unit_test(weights_that_do_not_fit_the_configuration_are_refused),
        cmocka_unit_test(what_a_configuration_says_is_checked),
        cmocka_unit_test(options_of_a_configuration_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
