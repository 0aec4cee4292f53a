/* SPDX-License-Identifier: MIT
 *
 * config.json: which architecture, and its options; dimensions are read as for every engine. What
 * is not known is refused by name, so that nothing is computed nearly right; every number is
 * checked before anything is sized by it.
 */
#include "engines/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engines/cpu/arch.h"
#include "lib/base/file.h"
#include "lib/base/json.h"

/* config.json under way. */
struct reader {
    const char *name;
    const struct llem_value *root;
    struct cpu_config *c;
    llem_error *err;
};

static llem_errcode read_positive(const struct reader *r, const struct llem_value *from,
                                  const char *key, double otherwise, double *out)
{
    const struct llem_value *v = llem_get(from, key);
    double d = llem_real_at(from, key, NAN);

    if (llem_is_null(v) && otherwise > 0) {
        *out = otherwise;
        return LLEM_OK;
    }
    if (!(d > 0) || !isfinite(d))
        return llem_fail(r->err, LLEM_ECORRUPT, "%s: %s is no number above 0", r->name, key);
    *out = d;
    return LLEM_OK;
}

static llem_errcode read_act(const struct reader *r, const char *key, const char *otherwise)
{
    static const struct {
        const char *name;
        enum cpu_act act;
    } acts[] = {
        { "silu", CPU_ACT_SILU },           { "swish", CPU_ACT_SILU },
        { "gelu_new", CPU_ACT_GELU_TANH },  { "gelu_pytorch_tanh", CPU_ACT_GELU_TANH },
        { "gelu_fast", CPU_ACT_GELU_TANH }, { "gelu", CPU_ACT_GELU },
        { "relu", CPU_ACT_RELU },
    };
    const char *name = llem_str_at(r->root, key, otherwise);
    size_t i;

    for (i = 0; i < LLEM_COUNT(acts); i++) {
        if (strcmp(acts[i].name, name) != 0)
            continue;
        r->c->act = acts[i].act;
        /* The gated layers of the known architectures all use SiLU. */
        if (r->c->gated && acts[i].act != CPU_ACT_SILU)
            break;
        return LLEM_OK;
    }
    return llem_fail(r->err, LLEM_ENOTSUP, "%s: engine cpu does not know the %s '%s' in a %s",
                     r->name, key, name, r->c->architecture);
}

/* rope_scaling with rope_theta beside it, or both in rope_parameters. */
static llem_errcode read_rope(const struct reader *r)
{
    const struct llem_value *rope = llem_get(r->root, "rope_parameters"), *theta = rope;
    const char *type;
    llem_errcode rc;

    if (llem_is_null(rope)) {
        rope = llem_get(r->root, "rope_scaling");
        theta = r->root;
    } else if (llem_is_null(llem_get(rope, "rope_theta"))) {
        theta = r->root;
    }
    rc = read_positive(r, theta, "rope_theta", 10000, &r->c->rope_theta);
    if (rc < 0)
        return rc;
    if (llem_real_at(rope, "partial_rotary_factor", 1) != 1 ||
        llem_real_at(r->root, "partial_rotary_factor", 1) != 1)
        return llem_fail(r->err, LLEM_ENOTSUP, "%s: engine cpu does not know partial_rotary_factor",
                         r->name);
    if (llem_is_null(rope))
        return LLEM_OK;
    type = llem_str_at(rope, "rope_type", llem_str_at(rope, "type", "default"));
    if (!strcmp(type, "default"))
        return LLEM_OK;
    if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
        return llem_fail(
            r->err, LLEM_ENOTSUP,
            "%s: engine cpu does not know the rope_scaling '%s'; it knows default, linear "
            "and llama3",
            r->name, type);
    rc = read_positive(r, rope, "factor", 0, &r->c->rope_factor);
    if (rc < 0)
        return rc;
    if (!strcmp(type, "linear")) {
        r->c->rope = CPU_ROPE_LINEAR;
        return LLEM_OK;
    }
    r->c->rope = CPU_ROPE_LLAMA3;
    rc = read_positive(r, rope, "low_freq_factor", 0, &r->c->rope_low);
    if (rc == LLEM_OK)
        rc = read_positive(r, rope, "high_freq_factor", 0, &r->c->rope_high);
    if (rc == LLEM_OK)
        rc = read_positive(r, rope, "original_max_position_embeddings", 0, &r->c->rope_original);
    if (rc == LLEM_OK && r->c->rope_high <= r->c->rope_low)
        rc =
            llem_fail(r->err, LLEM_ECORRUPT,
                      "%s: high_freq_factor of rope_scaling is not above low_freq_factor", r->name);
    return rc;
}

/* What every family has alike. */
static llem_errcode take_dims(const struct reader *r, const struct llem_dims *d)
{
    struct cpu_config *c = r->c;

    c->dims = *d;
    c->dims.windowed = (struct llem_window){ 0 }; /* points into the file's tree */
    c->hidden = (int32_t)d->hidden;
    c->layers = (int32_t)d->layers;
    c->heads = (int32_t)d->heads;
    c->kv_heads = (int32_t)d->kv_heads;
    c->head_dim = (int32_t)d->head;
    c->ff = (int32_t)d->inner;
    c->vocab = (int32_t)d->vocab;
    c->max_positions = (int32_t)d->max_positions;
    c->gated = d->gated;
    c->tied = d->tied;
    c->qkv_bias = d->qkv_bias;
    c->out_bias = d->out_bias;
    c->mlp_bias = d->mlp_bias;
    c->window = (int32_t)d->window;
    if (!d->window)
        return LLEM_OK;
    c->windowed = llem_arena_calloc(&c->arena, (size_t)c->layers, 1);
    if (!c->windowed)
        return llem_fail(r->err, LLEM_ENOMEM, "no memory for %d layers", c->layers);
    for (int32_t i = 0; i < c->layers; i++)
        c->windowed[i] = llem_dims_is_windowed(d, i);
    return LLEM_OK;
}

/* One end-of-sequence id or a list of them. */
static llem_errcode read_eos(struct cpu_config *c, const struct llem_value *root, const char *name,
                             llem_error *err)
{
    const struct llem_value *v = llem_get(root, "eos_token_id");
    struct llem_value *const *items;
    size_t i, n;

    if (llem_is_null(v))
        return LLEM_OK;
    items = v->kind == LLEM_LIST ? v->items : NULL;
    n = v->kind == LLEM_LIST ? v->count : 1;
    if (n > CPU_MAX_EOS)
        return llem_fail(err, LLEM_ENOTSUP,
                         "%s has %zu end-of-sequence tokens; at most %d are known", name, n,
                         CPU_MAX_EOS);
    for (i = 0; i < n; i++) {
        const struct llem_value *id = items ? items[i] : v;

        if (id->kind != LLEM_INT || id->i < INT32_MIN || id->i > INT32_MAX)
            return llem_fail(err, LLEM_ECORRUPT, "%s: eos_token_id is no token id", name);
        c->eos[i] = (int32_t)id->i;
    }
    c->n_eos = (int)n;
    return LLEM_OK;
}

static enum cpu_dtype read_dtype(const struct llem_value *root)
{
    const char *name = llem_str_at(root, "dtype", llem_str_at(root, "torch_dtype", ""));

    return !strcmp(name, "float32")    ? CPU_F32
           : !strcmp(name, "bfloat16") ? CPU_BF16
           : !strcmp(name, "float16")  ? CPU_F16
                                       : CPU_OTHER;
}

static llem_errcode read_llama(const struct reader *r)
{
    struct cpu_config *c = r->c;
    double eps = 0;
    llem_errcode rc;

    c->norm = CPU_NORM_RMS;
    c->positions = CPU_POS_ROPE;
    c->scale_scores = true;
    if ((rc = read_positive(r, r->root, "rms_norm_eps", 1e-6, &eps)) < 0 ||
        (rc = read_act(r, "hidden_act", "silu")) < 0 || (rc = read_rope(r)) < 0)
        return rc;
    c->eps = (float)eps;
    if (c->head_dim < 2 || c->head_dim % 2 != 0)
        return llem_fail(r->err, LLEM_ECORRUPT,
                         "%s: a head of %d cannot be rotated; it must be even", r->name,
                         c->head_dim);
    return LLEM_OK;
}

static llem_errcode read_gpt2(const struct reader *r)
{
    struct cpu_config *c = r->c;
    double eps = 0;
    llem_errcode rc;

    c->norm = CPU_NORM_LAYER;
    c->positions = CPU_POS_LEARNED;
    c->scale_scores = llem_bool_at(r->root, "scale_attn_weights", true);
    c->scale_by_layer = llem_bool_at(r->root, "scale_attn_by_inverse_layer_idx", false);
    if ((rc = read_positive(r, r->root, "layer_norm_epsilon", 1e-5, &eps)) < 0 ||
        (rc = read_act(r, "activation_function", "gelu_new")) < 0)
        return rc;
    c->eps = (float)eps;
    return LLEM_OK;
}

static const struct {
    const char *architecture, *model_type;
    const struct cpu_arch *arch;
    llem_errcode (*read)(const struct reader *r);
} known[] = {
    { "LlamaForCausalLM", "llama", &cpu_arch_llama, read_llama },
    { "Qwen2ForCausalLM", "qwen2", &cpu_arch_llama, read_llama },
    { "GPT2LMHeadModel", "gpt2", &cpu_arch_gpt2, read_gpt2 },
};

static llem_errcode parse(struct reader *r)
{
    const struct llem_value *list = llem_get(r->root, "architectures");
    const char *type = llem_str_at(r->root, "model_type", "");
    const char *architecture = "";
    struct cpu_config *c = r->c;
    struct llem_dims dims;
    llem_errcode rc;
    size_t i;

    if (list && list->kind == LLEM_LIST && list->count > 0 && list->items[0]->kind == LLEM_STRING)
        architecture = list->items[0]->s;
    for (i = 0; i < LLEM_COUNT(known); i++)
        if (architecture[0] ? !strcmp(known[i].architecture, architecture)
                            : !strcmp(known[i].model_type, type))
            break;
    if (i == LLEM_COUNT(known))
        return llem_fail(
            r->err, LLEM_ENOTSUP,
            "%s: engine cpu does not know the architecture '%s'; it runs LlamaForCausalLM, "
            "Qwen2ForCausalLM and GPT2LMHeadModel",
            r->name, architecture[0] ? architecture : type);
    snprintf(c->architecture, sizeof(c->architecture), "%s", known[i].architecture);
    c->arch = known[i].arch;
    if ((rc = llem_dims_read(&dims, r->root, known[i].model_type, r->name, r->err)) < 0 ||
        (rc = take_dims(r, &dims)) < 0 || (rc = known[i].read(r)) < 0)
        return rc;
    if (!llem_is_null(llem_get(r->root, "quantization_config")))
        return llem_fail(r->err, LLEM_ENOTSUP, "%s: engine cpu does not know quantization_config",
                         r->name);
    c->stored = read_dtype(r->root);
    return read_eos(c, r->root, r->name, r->err);
}

llem_errcode cpu_config_parse(struct cpu_config *c, const char *text, size_t len, const char *name,
                              llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_value *root;
    struct reader r = { .name = name, .c = c, .err = err };
    llem_errcode rc;

    memset(c, 0, sizeof(*c));
    rc = llem_json_parse(&scratch, &root, text, len, name, err);
    if (rc == LLEM_OK && root->kind != LLEM_MAP)
        rc = llem_fail(err, LLEM_ECORRUPT, "%s is no JSON object", name);
    if (rc == LLEM_OK) {
        r.root = root;
        rc = parse(&r);
    }
    llem_arena_done(&scratch);
    if (rc < 0)
        cpu_config_done(c);
    return rc;
}

/* What the model's publisher wants generation to end at is in generation_config.json, if it is
 * there. */
static llem_errcode read_generation(struct cpu_config *c, const char *path, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_value *root;
    llem_errcode rc = LLEM_OK;

    if (llem_path_exists(path)) {
        rc = llem_json_load(&scratch, &root, path, LLEM_MAX_CONFIG_BYTES, err);
        if (rc == LLEM_OK)
            rc = read_eos(c, root, "generation_config.json", err);
    }
    llem_arena_done(&scratch);
    return rc;
}

llem_errcode cpu_config_load(struct cpu_config *c, const char *dir, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    char *path = llem_path_join(&scratch, dir, "config.json");
    char *generation = llem_path_join(&scratch, dir, "generation_config.json");
    struct llem_buf text;
    llem_errcode rc;

    memset(c, 0, sizeof(*c));
    llem_buf_init(&text, LLEM_MAX_CONFIG_BYTES);
    if (scratch.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to read '%s'", dir);
        goto done;
    }
    if (!llem_path_exists(path)) {
        rc =
            llem_fail(err, LLEM_ENOTFOUND, "there is no model at '%s': it has no config.json", dir);
        llem_hint(err, LLEM_ENOTFOUND,
                  "give the directory of a Hugging Face model: config.json, safetensors, "
                  "tokenizer.json");
        goto done;
    }
    rc = llem_file_read(&text, path, err);
    if (rc == LLEM_OK)
        rc = cpu_config_parse(c, text.data, text.len, path, err);
    if (rc == LLEM_OK) {
        rc = read_generation(c, generation, err);
        if (rc < 0)
            cpu_config_done(c);
    }

done:
    llem_buf_done(&text);
    llem_arena_done(&scratch);
    return rc;
}

void cpu_config_done(struct cpu_config *c)
{
    llem_arena_done(&c->arena);
    memset(c, 0, sizeof(*c));
}
