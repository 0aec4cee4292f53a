/* SPDX-License-Identifier: MIT
 *
 * config.json to dimensions. A family is a row: what its layers are made of, where that is not in
 * its configuration, and which options are called how. Keys that mean the same in all families are
 * tried in turn.
 */
#include "lib/engine/dimensions.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- families ----------------------------------------------------------------------------- */

/* An option: the key's value, or what holds where it is absent. Without a key: always that. */
struct flag {
    const char *key;
    bool otherwise;
};

enum norm { NORM_RMS, NORM_LAYER, NORM_LAYER_PLAIN, NORM_BARE }; /* of d, 2 d, d, no parameters */
enum qk_norm { QK_BARE, QK_HEAD, QK_WIDTH }; /* norms of queries and keys: a head wide, or all */
enum moe { MOE_NONE, MOE_ALL, MOE_STEP, MOE_AFTER }; /* which layers have experts */

/* Values of a family's own defaults, where a configuration may leave them out; 0: it may not. */
struct absent {
    int32_t hidden, layers, heads, kv_heads, inner, vocab, positions;
};

struct family {
    const char *type; /* model_type */
    struct flag gated, tied, qkv_bias, out_bias, mlp_bias;
    enum norm norm;
    int norms; /* of a layer; 0: two */
    enum qk_norm qk_norm;
    enum moe moe;
    struct llem_window window;
    bool window_asked; /* only where use_sliding_window says so */
    bool latent;       /* attention by low-rank projections */
    bool shared_gate;  /* before the experts that every token goes through */
    bool expert_bias;  /* of experts and router, and a sink for each head */
    bool head_bias, embed_norm;
    bool learned; /* positions */
    int32_t more_positions;
    struct flag one_kv; /* key/value head, unless the architecture is falcon's new one */
    int32_t inner;      /* times hidden, where the configuration does not tell; 0: it must */
    int32_t head;       /* head_dim where absent; 0: hidden / heads */
    struct absent absent;
    const char *uncounted[2]; /* options that add or drop vectors which are not counted */
};

/* clang-format off */
#define ALWAYS { NULL, true }
#define GATED .gated = ALWAYS
#define TIED .tied = { "tie_word_embeddings", true }
#define UNTIED .tied = { "tie_word_embeddings", false }
#define ATTENTION_BIAS(otherwise) .qkv_bias = { "attention_bias", otherwise }, .out_bias = { "attention_bias", otherwise }
#define MLP_BIAS .mlp_bias = { "mlp_bias", false }
#define BIASES .qkv_bias = ALWAYS, .out_bias = ALWAYS, .mlp_bias = ALWAYS
#define BIASES_BY(key, otherwise) .qkv_bias = { key, otherwise }, .out_bias = { key, otherwise }, .mlp_bias = { key, otherwise }
#define WINDOW_IF_ASKED(rule) .window = { rule, 0, NULL }, .window_asked = true

static const struct family families[] = {
    { "llama", GATED, UNTIED, ATTENTION_BIAS(false), MLP_BIAS },
    { "granite", GATED, UNTIED, ATTENTION_BIAS(false), MLP_BIAS },
    { "mistral", GATED, UNTIED, .window = { .rule = LLEM_WINDOW_ALL } },
    { "mixtral", GATED, UNTIED, .window = { .rule = LLEM_WINDOW_ALL }, .moe = MOE_ALL },
    { "phi3", GATED, UNTIED, .window = { .rule = LLEM_WINDOW_ALL } },
    { "olmo", GATED, UNTIED, ATTENTION_BIAS(false), .norm = NORM_BARE },
    { "olmo2", GATED, UNTIED, ATTENTION_BIAS(false), .qk_norm = QK_WIDTH },
    { "olmoe", GATED, UNTIED, ATTENTION_BIAS(false), .qk_norm = QK_WIDTH, .moe = MOE_ALL },
    { "granitemoe", GATED, UNTIED, ATTENTION_BIAS(false), .moe = MOE_ALL },
    { "qwen2", GATED, UNTIED, .qkv_bias = ALWAYS, WINDOW_IF_ASKED(LLEM_WINDOW_FROM) },
    { "qwen2_moe", GATED, UNTIED, .qkv_bias = { "qkv_bias", true }, WINDOW_IF_ASKED(LLEM_WINDOW_FROM),
      .moe = MOE_STEP, .shared_gate = true },
    { "qwen3", GATED, UNTIED, ATTENTION_BIAS(false), .qk_norm = QK_HEAD, .head = 128,
      WINDOW_IF_ASKED(LLEM_WINDOW_FROM) },
    { "qwen3_moe", GATED, UNTIED, ATTENTION_BIAS(false), .qk_norm = QK_HEAD, .moe = MOE_STEP,
      WINDOW_IF_ASKED(LLEM_WINDOW_ALL) },
    { "smollm3", GATED, TIED, ATTENTION_BIAS(false), MLP_BIAS, WINDOW_IF_ASKED(LLEM_WINDOW_NONE) },
    { "gemma", GATED, TIED, ATTENTION_BIAS(false), .head = 256 },
    { "gemma2", GATED, TIED, ATTENTION_BIAS(false), .head = 256, .norms = 4,
      .window = { LLEM_WINDOW_BUT, 2, NULL } },
    { "gemma3_text", GATED, TIED, ATTENTION_BIAS(false), .head = 256, .norms = 4, .qk_norm = QK_HEAD,
      .window = { LLEM_WINDOW_BUT, 6, NULL },
      .absent = { 2304, 26, 8, 4, 9216, 262208, 131072 } },
    { "gpt_oss", GATED, UNTIED, ATTENTION_BIAS(true), .head = 64, .moe = MOE_ALL, .expert_bias = true,
      .window = { LLEM_WINDOW_BUT, 2, NULL } },
    { "deepseek_v2", GATED, UNTIED, ATTENTION_BIAS(false), .latent = true, .moe = MOE_AFTER },
    { "deepseek_v3", GATED, UNTIED, ATTENTION_BIAS(false), .latent = true, .moe = MOE_AFTER },
    { "stablelm", GATED, UNTIED, .qkv_bias = { "use_qkv_bias", false }, .norm = NORM_LAYER,
      .uncounted = { "use_parallel_residual", "qk_layernorm" } },
    { "cohere", GATED, TIED, ATTENTION_BIAS(false), .norm = NORM_LAYER_PLAIN, .norms = 1,
      .uncounted = { "use_qk_norm" } },
    { "cohere2", GATED, TIED, ATTENTION_BIAS(false), .norm = NORM_LAYER_PLAIN, .norms = 1,
      .window = { LLEM_WINDOW_BUT, 4, NULL } },
    { "starcoder2", TIED, BIASES_BY("use_bias", true), .norm = NORM_LAYER, .window = { .rule = LLEM_WINDOW_ALL } },
    { "nemotron", UNTIED, ATTENTION_BIAS(false), MLP_BIAS, .norm = NORM_LAYER },
    { "phi", UNTIED, BIASES, .norm = NORM_LAYER, .norms = 1, .head_bias = true,
      .uncounted = { "qk_layernorm" } },
    { "gpt_neox", UNTIED, ATTENTION_BIAS(true), .mlp_bias = ALWAYS, .norm = NORM_LAYER },
    { "gptj", UNTIED, .mlp_bias = ALWAYS, .norm = NORM_LAYER, .norms = 1, .head_bias = true, .inner = 4 },
    { "falcon", TIED, BIASES_BY("bias", false), .norm = NORM_LAYER, .one_kv = { "multi_query", true }, .inner = 4 },
    { "bloom", TIED, BIASES, .norm = NORM_LAYER, .embed_norm = true, .inner = 4 },
    { "gpt2", TIED, BIASES, .norm = NORM_LAYER, .learned = true, .inner = 4,
      .absent = { 768, 12, 12, 0, 0, 50257, 1024 } },
    { "gpt_bigcode", TIED, BIASES, .norm = NORM_LAYER, .learned = true, .one_kv = { "multi_query", true }, .inner = 4 },
    { "opt", TIED, BIASES_BY("enable_bias", true), .norm = NORM_LAYER, .learned = true, .more_positions = 2 },
};
/* clang-format on */

static const struct family *find_family(const char *type)
{
    for (size_t i = 0; i < LLEM_COUNT(families); i++)
        if (strcmp(families[i].type, type) == 0)
            return &families[i];
    return NULL;
}

/* ---- reading values ----------------------------------------------------------------------- */

struct reader {
    const char *name;
    const struct llem_value *root;
    llem_error *err;
};

/* What a dimension is called in configurations. */
struct keys {
    const char *names[4];
};
static const struct keys hidden_keys = { { "hidden_size", "n_embd", "n_embed" } },
                         layers_keys = { { "num_hidden_layers", "n_layer" } },
                         heads_keys = { { "num_attention_heads", "n_head" } },
                         kv_keys = { { "num_key_value_heads", "num_kv_heads", "n_head_kv" } },
                         inner_keys = { { "intermediate_size", "n_inner", "ffn_dim",
                                          "ffn_hidden_size" } },
                         vocab_keys = { { "vocab_size" } },
                         positions_keys = { { "max_position_embeddings", "n_positions" } },
                         experts_keys = { { "num_local_experts", "num_experts",
                                            "n_routed_experts" } };

/* The name under which it is there; the usual one if it is not. */
static const char *key_of(const struct reader *r, const struct keys *keys)
{
    for (size_t i = 0; i < LLEM_COUNT(keys->names) && keys->names[i]; i++)
        if (!llem_is_null(llem_get(r->root, keys->names[i])))
            return keys->names[i];
    return keys->names[0];
}

static llem_errcode read_from(const struct reader *r, const char *key, int64_t min, int64_t max,
                              int64_t otherwise, int64_t *out)
{
    const struct llem_value *v = llem_get(r->root, key);

    if (llem_is_null(v)) {
        if (otherwise < min)
            return llem_fail(r->err, LLEM_ECORRUPT, "%s has no %s", r->name, key);
        *out = otherwise;
        return LLEM_OK;
    }
    if (v->kind != LLEM_INT || v->i < min || v->i > max)
        return llem_fail(r->err, LLEM_ECORRUPT, "%s: %s is no whole number from %lld to %lld",
                         r->name, key, (long long)min, (long long)max);
    *out = v->i;
    return LLEM_OK;
}

/* otherwise 0: it must be there. */
static llem_errcode read_int(const struct reader *r, const struct keys *keys, int64_t max,
                             int64_t otherwise, int64_t *out)
{
    return read_from(r, key_of(r, keys), 1, max, otherwise, out);
}

static llem_errcode read_key(const struct reader *r, const char *key, int64_t max,
                             int64_t otherwise, int64_t *out)
{
    return read_from(r, key, 1, max, otherwise, out);
}

static llem_errcode read_flag(const struct reader *r, struct flag f, bool *out)
{
    const struct llem_value *v = f.key ? llem_get(r->root, f.key) : NULL;

    if (!llem_is_null(v) && v->kind != LLEM_BOOL)
        return llem_fail(r->err, LLEM_ECORRUPT, "%s: %s is neither true nor false", r->name, f.key);
    *out = llem_is_null(v) ? f.otherwise : v->b;
    return LLEM_OK;
}

/* Refuse an option that changes what is computed, unless it is off. */
static llem_errcode expect_off(const struct reader *r, const struct family *f, const char *key)
{
    const struct llem_value *v = llem_get(r->root, key);

    if (llem_is_null(v) || (v->kind == LLEM_BOOL && !v->b) || (v->kind == LLEM_INT && v->i == 0))
        return LLEM_OK;
    return llem_fail(r->err, LLEM_ENOTSUP, "%s: %s is set, and it is not known of a '%s'", r->name,
                     key, f->type);
}

/* ---- the parts of a decoder --------------------------------------------------------------- */

static llem_errcode read_heads(const struct reader *r, const struct family *f, struct llem_dims *d)
{
    bool one_kv = false, new_falcon = false;
    llem_errcode rc;

    if ((rc = read_int(r, &heads_keys, LLEM_MAX_WIDTH, f->absent.heads, &d->heads)) < 0 ||
        (rc = read_int(r, &kv_keys, LLEM_MAX_WIDTH,
                       f->absent.kv_heads ? f->absent.kv_heads : d->heads, &d->kv_heads)) < 0 ||
        (rc = read_flag(r, f->one_kv, &one_kv)) < 0 ||
        (rc = read_flag(r, (struct flag){ "new_decoder_architecture", false }, &new_falcon)) < 0)
        return rc;
    if (one_kv && !new_falcon)
        d->kv_heads = 1;
    if (d->heads % d->kv_heads != 0)
        return llem_fail(r->err, LLEM_ECORRUPT,
                         "%s: %lld heads cannot share %lld key/value heads evenly", r->name,
                         (long long)d->heads, (long long)d->kv_heads);
    if (f->latent) {
        int64_t plain = 0;

        if ((rc = read_from(r, "q_lora_rank", 1, LLEM_MAX_WIDTH, 1, &d->q_rank)) < 0 ||
            (rc = read_key(r, "kv_lora_rank", LLEM_MAX_WIDTH, 0, &d->kv_rank)) < 0 ||
            (rc = read_key(r, "qk_nope_head_dim", LLEM_MAX_WIDTH, 0, &plain)) < 0 ||
            (rc = read_key(r, "qk_rope_head_dim", LLEM_MAX_WIDTH, 0, &d->rope_head)) < 0 ||
            (rc = read_key(r, "v_head_dim", LLEM_MAX_WIDTH, 0, &d->value_head)) < 0)
            return rc;
        if (llem_is_null(llem_get(r->root, "q_lora_rank")))
            d->q_rank = 0;
        d->head = plain + d->rope_head;
    } else {
        if (llem_is_null(llem_get(r->root, "head_dim")) && !f->head && d->hidden % d->heads != 0)
            return llem_fail(r->err, LLEM_ECORRUPT,
                             "%s: %s %lld is no multiple of %s %lld, and there is no head_dim",
                             r->name, key_of(r, &hidden_keys), (long long)d->hidden,
                             key_of(r, &heads_keys), (long long)d->heads);
        rc = read_key(r, "head_dim", LLEM_MAX_WIDTH, f->head ? f->head : d->hidden / d->heads,
                      &d->head);
        if (rc < 0)
            return rc;
        d->value_head = d->head;
    }
    if (d->heads * d->head > LLEM_MAX_WIDTH || d->heads * d->value_head > LLEM_MAX_WIDTH)
        return llem_fail(r->err, LLEM_ECORRUPT, "%s: %lld heads of %lld are too wide", r->name,
                         (long long)d->heads, (long long)d->head);
    return LLEM_OK;
}

/* layer_types, where it is given, names every layer's attention. */
static llem_errcode check_layer_types(const struct reader *r, const struct llem_dims *d,
                                      const struct llem_value *types)
{
    if (types->kind != LLEM_LIST || types->count != (size_t)d->layers)
        return llem_fail(r->err, LLEM_ECORRUPT,
                         "%s: layer_types are not one for each of %lld layers", r->name,
                         (long long)d->layers);
    for (size_t i = 0; i < types->count; i++) {
        const struct llem_value *v = types->items[i];

        if (v->kind != LLEM_STRING)
            return llem_fail(r->err, LLEM_ECORRUPT, "%s: layer_types has something else than texts",
                             r->name);
        if (strcmp(v->s, "full_attention") != 0 && strcmp(v->s, "sliding_attention") != 0)
            return llem_fail(r->err, LLEM_ENOTSUP,
                             "%s: the layer type '%.100s' is not known; full_attention and "
                             "sliding_attention are",
                             r->name, v->s);
    }
    return LLEM_OK;
}

bool llem_dims_is_windowed(const struct llem_dims *d, int64_t layer)
{
    const struct llem_window *w = &d->windowed;

    if (w->rule == LLEM_WINDOW_NONE)
        return false;
    if (w->types)
        return strcmp(w->types->items[layer]->s, "sliding_attention") == 0;
    return w->rule == LLEM_WINDOW_ALL || (w->rule == LLEM_WINDOW_FROM && layer >= w->n) ||
           (w->rule == LLEM_WINDOW_BUT && (layer + 1) % w->n != 0);
}

static llem_errcode read_window(const struct reader *r, const struct family *f, struct llem_dims *d)
{
    const struct llem_value *types = llem_get(r->root, "layer_types");
    struct llem_window w = f->window;
    bool asked = true;
    llem_errcode rc = LLEM_OK;

    if (!llem_is_null(types)) {
        rc = check_layer_types(r, d, types);
        w.types = types;
        if (w.rule == LLEM_WINDOW_NONE)
            w.rule = LLEM_WINDOW_ALL;
    }
    if (rc == LLEM_OK && f->window_asked)
        rc = read_flag(r, (struct flag){ "use_sliding_window", false }, &asked);
    if (rc < 0 || !asked || w.rule == LLEM_WINDOW_NONE ||
        llem_is_null(llem_get(r->root, "sliding_window")))
        return rc;
    rc = read_key(r, "sliding_window", INT32_MAX, 0, &d->window);
    if (rc == LLEM_OK && w.rule == LLEM_WINDOW_FROM)
        rc = read_from(r, "max_window_layers", 0, INT32_MAX, 28, &w.n);
    else if (rc == LLEM_OK && w.rule == LLEM_WINDOW_BUT)
        rc = read_key(r, "sliding_window_pattern", LLEM_MAX_LAYERS, w.n, &w.n);
    if (rc < 0)
        return rc;
    d->windowed = w;
    for (int64_t i = 0; i < d->layers; i++)
        d->window_layers += llem_dims_is_windowed(d, i);
    if (!d->window_layers)
        d->window = 0;
    return LLEM_OK;
}

/* Is the layer in mlp_only_layers? */
static bool is_listed(const struct llem_value *list, int64_t layer)
{
    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind == LLEM_INT && list->items[i]->i == layer)
            return true;
    return false;
}

static llem_errcode read_experts(const struct reader *r, const struct family *f,
                                 struct llem_dims *d)
{
    static const char *const refused[] = { "num_local_experts", "num_experts", "n_routed_experts" };
    int64_t shared, first = 0, step = 1;
    llem_errcode rc = LLEM_OK;

    if (f->moe == MOE_NONE) {
        for (size_t i = 0; i < LLEM_COUNT(refused) && rc == LLEM_OK; i++)
            rc = expect_off(r, f, refused[i]);
        return rc;
    }
    if ((rc = read_int(r, &experts_keys, LLEM_MAX_EXPERTS, 0, &d->experts)) < 0 ||
        (rc = read_key(r, "num_experts_per_tok", LLEM_MAX_EXPERTS, 0, &d->active_experts)) < 0 ||
        (rc = read_key(r, "moe_intermediate_size", LLEM_MAX_WIDTH, d->inner, &d->expert_inner)) <
            0 ||
        (rc = read_from(r, "n_shared_experts", 0, LLEM_MAX_EXPERTS, 0, &shared)) < 0 ||
        (rc = read_from(r, "shared_expert_intermediate_size", 0, LLEM_MAX_WIDTH,
                        shared * d->expert_inner, &d->shared_inner)) < 0)
        return rc;
    if (d->active_experts > d->experts)
        return llem_fail(r->err, LLEM_ECORRUPT,
                         "%s: num_experts_per_tok is %lld, but there are %lld experts", r->name,
                         (long long)d->active_experts, (long long)d->experts);
    d->shared_gate = f->shared_gate && d->shared_inner > 0;
    if (f->moe == MOE_STEP)
        rc = read_key(r, "decoder_sparse_step", LLEM_MAX_LAYERS, 1, &step);
    else if (f->moe == MOE_AFTER)
        rc = read_from(r, "first_k_dense_replace", 0, LLEM_MAX_LAYERS, -1, &first);
    for (int64_t i = first; i < d->layers; i++)
        d->expert_layers +=
            (i + 1) % step == 0 &&
            !(f->moe == MOE_STEP && is_listed(llem_get(r->root, "mlp_only_layers"), i));
    if (rc == LLEM_OK && d->expert_layers == 0) { /* in no layer: there are none */
        d->experts = d->active_experts = d->expert_inner = d->shared_inner = 0;
        d->shared_gate = false;
    }
    return rc;
}

/* ---- counting weights --------------------------------------------------------------------- */

double llem_dims_attention(const struct llem_dims *d)
{
    double hidden = (double)d->hidden, heads = (double)d->heads, head = (double)d->head;
    double value = (double)d->value_head, q_rank = (double)d->q_rank, kv_rank = (double)d->kv_rank;
    double rope = (double)d->rope_head;

    if (d->kv_rank > 0)
        return (d->q_rank > 0 ? hidden * q_rank + q_rank * heads * head : hidden * heads * head) +
               hidden * (kv_rank + rope) + kv_rank * heads * (head - rope + value) +
               heads * value * hidden;
    return hidden * heads * (head + value) + hidden * (double)d->kv_heads * (head + value);
}

static double matrices(const struct llem_dims *d, int64_t inner)
{
    return (d->gated ? 3 : 2) * (double)d->hidden * (double)inner;
}

double llem_dims_mlp(const struct llem_dims *d)
{
    return matrices(d, d->inner);
}

double llem_dims_experts(const struct llem_dims *d, int64_t experts)
{
    return (double)experts * matrices(d, d->expert_inner) +
           (double)d->hidden * (double)d->experts + /* the router */
           matrices(d, d->shared_inner) + (d->shared_gate ? (double)d->hidden : 0);
}

/* Vectors of a layer: biases of its attention, and the norms of what attention compares. */
static double attention_vectors(const struct family *f, const struct llem_dims *d)
{
    double queries = (double)(d->heads * d->head), keys = (double)(d->kv_heads * d->head), n = 0;

    if (d->kv_rank > 0) {
        n = (double)(d->q_rank + d->kv_rank); /* norms */
        if (d->qkv_bias)
            n += (double)(d->q_rank + d->kv_rank + d->rope_head);
    } else if (d->qkv_bias) {
        n = queries + 2 * keys;
    }
    n += d->out_bias ? (double)d->hidden : 0;
    n += f->qk_norm == QK_HEAD ? 2 * (double)d->head : f->qk_norm == QK_WIDTH ? queries + keys : 0;
    return n + (f->expert_bias ? (double)d->heads : 0);
}

static double mlp_biases(const struct llem_dims *d, int64_t inner)
{
    return (double)((d->gated ? 2 : 1) * inner + d->hidden);
}

static void count_parameters(const struct family *f, int norms, struct llem_dims *d)
{
    double norm = (double)d->hidden * (f->norm == NORM_LAYER ? 2 : f->norm == NORM_BARE ? 0 : 1);
    double plain_layers = (double)(d->layers - d->expert_layers);
    double embedding = (double)d->vocab * (double)d->hidden, n;

    n = (double)d->layers * (llem_dims_attention(d) + attention_vectors(f, d) + norms * norm);
    n += plain_layers * (llem_dims_mlp(d) + (d->mlp_bias ? mlp_biases(d, d->inner) : 0));
    n += (double)d->expert_layers *
         (llem_dims_experts(d, d->experts) +
          (f->expert_bias ? (double)d->experts * (1 + mlp_biases(d, d->expert_inner)) : 0));
    n += norm * (f->embed_norm ? 2 : 1); /* the last one */
    n += (d->tied ? 0 : embedding) + (f->head_bias ? (double)d->vocab : 0);
    if (f->learned)
        embedding += (double)(d->max_positions + f->more_positions) * (double)d->hidden;
    n += embedding;
    if (n > (double)(INT64_C(1) << 53))
        return;
    d->parameters = (int64_t)n;
    d->embedding_parameters = (int64_t)embedding;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* How many norms a layer has is falcon's to choose. */
static llem_errcode read_norms(const struct reader *r, const struct family *f, int *norms)
{
    bool modern, parallel;
    int64_t n;
    llem_errcode rc;

    *norms = f->norms ? f->norms : 2;
    if (strcmp(f->type, "falcon") != 0)
        return LLEM_OK;
    if ((rc = read_flag(r, (struct flag){ "new_decoder_architecture", false }, &modern)) < 0 ||
        (rc = read_flag(r, (struct flag){ "parallel_attn", true }, &parallel)) < 0 ||
        (rc = read_key(r, "num_ln_in_parallel_attn", 2, modern ? 2 : 1, &n)) < 0)
        return rc;
    *norms = parallel ? (int)n : 2;
    return LLEM_OK;
}

/* With some options the operations are still known, but the number of parameters is not. */
static bool has_uncounted(const struct reader *r, const struct family *f)
{
    for (size_t i = 0; i < LLEM_COUNT(f->uncounted) && f->uncounted[i]; i++)
        if (llem_bool_at(r->root, f->uncounted[i], false))
            return true;
    return false;
}

static llem_errcode read_decoder(const struct reader *r, const struct family *f,
                                 struct llem_dims *d)
{
    static const char *const refused[] = { "is_encoder_decoder", "add_cross_attention",
                                           "use_bidirectional_attention" };
    int64_t embedding;
    llem_errcode rc;
    int norms;

    if ((rc = read_int(r, &hidden_keys, LLEM_MAX_WIDTH, f->absent.hidden, &d->hidden)) < 0 ||
        (rc = read_int(r, &layers_keys, LLEM_MAX_LAYERS, f->absent.layers, &d->layers)) < 0 ||
        (rc = read_heads(r, f, d)) < 0 ||
        (rc = read_int(r, &inner_keys, LLEM_MAX_WIDTH,
                       f->inner ? f->inner * d->hidden : f->absent.inner, &d->inner)) < 0 ||
        (rc = read_int(r, &vocab_keys, LLEM_MAX_VOCAB, f->absent.vocab, &d->vocab)) < 0 ||
        (rc = read_int(r, &positions_keys, LLEM_MAX_POSITIONS,
                       f->learned ? f->absent.positions : 2048, &d->max_positions)) < 0 ||
        (rc = read_flag(r, f->gated, &d->gated)) < 0 ||
        (rc = read_flag(r, f->tied, &d->tied)) < 0 ||
        (rc = read_flag(r, f->qkv_bias, &d->qkv_bias)) < 0 ||
        (rc = read_flag(r, f->out_bias, &d->out_bias)) < 0 ||
        (rc = read_flag(r, f->mlp_bias, &d->mlp_bias)) < 0 || (rc = read_experts(r, f, d)) < 0 ||
        (rc = read_window(r, f, d)) < 0 || (rc = read_norms(r, f, &norms)) < 0 ||
        (rc = read_key(r, "word_embed_proj_dim", LLEM_MAX_WIDTH, d->hidden, &embedding)) < 0)
        return rc;
    for (size_t i = 0; i < LLEM_COUNT(refused) && rc == LLEM_OK; i++)
        rc = expect_off(r, f, refused[i]);
    if (rc == LLEM_OK && embedding != d->hidden)
        rc = llem_fail(r->err, LLEM_ENOTSUP,
                       "%s: word_embed_proj_dim is %lld, and projections of the embedding to a "
                       "hidden size of %lld are not known",
                       r->name, (long long)embedding, (long long)d->hidden);
    if (rc == LLEM_OK && !has_uncounted(r, f))
        count_parameters(f, norms, d);
    return rc;
}

llem_errcode llem_dims_read(struct llem_dims *d, const struct llem_value *config,
                            const char *model_type, const char *name, llem_error *err)
{
    struct reader r = { .name = name, .root = config, .err = err };
    const char *type = model_type ? model_type : llem_str_at(config, "model_type", "");
    const struct family *f = find_family(type);
    const struct llem_value *text = llem_get(config, "text_config");
    struct llem_dims read = { 0 };
    llem_errcode rc;

    if (!config || config->kind != LLEM_MAP)
        return llem_fail(err, LLEM_ECORRUPT, "%s is no JSON object", name);
    if (!f && text && text->kind == LLEM_MAP) {
        r.root = text;
        type = llem_str_at(text, "model_type", "");
        f = find_family(type);
    }
    if (!f)
        return llem_fail(err, LLEM_ENOTSUP, "%s: the dimensions of a '%.100s' are not known", name,
                         type);
    rc = read_decoder(&r, f, &read);
    if (rc < 0)
        return rc;
    /* Beside the text's decoder there is more than the text's configuration tells. */
    if (r.root != config)
        read.parameters = read.embedding_parameters = 0;
    *d = read;
    return LLEM_OK;
}

/* ---- the fields of a recording ------------------------------------------------------------ */

enum { MAX_FIELD = 1000000000 };
#define MAX_PARAMETERS (INT64_C(1) << 53)

static const struct {
    const char *name;
    size_t offset;
    int64_t max;   /* 0: true or false */
    bool compared; /* whoever tells it means the same by it */
} fields[] = {
#define COUNT(name, member, max, compared)                                                         \
    {                                                                                              \
        name, offsetof(struct llem_dims, member), max, compared                                    \
    }
    COUNT("parameters", parameters, MAX_PARAMETERS, true),
    COUNT("embedding_parameters", embedding_parameters, MAX_PARAMETERS, false),
    COUNT("hidden_size", hidden, MAX_FIELD, true),
    COUNT("num_layers", layers, MAX_FIELD, true),
    COUNT("num_heads", heads, MAX_FIELD, true),
    COUNT("num_kv_heads", kv_heads, MAX_FIELD, false),
    COUNT("head_size", head, MAX_FIELD, false),
    COUNT("value_head_size", value_head, MAX_FIELD, false),
    COUNT("q_lora_rank", q_rank, MAX_FIELD, false),
    COUNT("kv_lora_rank", kv_rank, MAX_FIELD, false),
    COUNT("rope_head_size", rope_head, MAX_FIELD, false),
    COUNT("intermediate_size", inner, MAX_FIELD, true),
    COUNT("vocab_size", vocab, MAX_FIELD, true),
    COUNT("max_positions", max_positions, MAX_FIELD, false),
    COUNT("gated_mlp", gated, 0, false),
    COUNT("tied_embeddings", tied, 0, false),
    COUNT("sliding_window", window, MAX_FIELD, false),
    COUNT("sliding_layers", window_layers, MAX_FIELD, false),
    COUNT("experts", experts, LLEM_MAX_EXPERTS, true),
    COUNT("active_experts", active_experts, LLEM_MAX_EXPERTS, true),
    COUNT("expert_layers", expert_layers, MAX_FIELD, false),
    COUNT("expert_intermediate_size", expert_inner, MAX_FIELD, false),
    COUNT("shared_expert_intermediate_size", shared_inner, MAX_FIELD, false),
    COUNT("shared_expert_gate", shared_gate, 0, false),
    COUNT("attention_bias", qkv_bias, 0, false),
    COUNT("mlp_bias", mlp_bias, 0, false),
#undef COUNT
};

void llem_dims_put(struct llem_arena *a, struct llem_value *model, const struct llem_dims *d)
{
    for (size_t i = 0; i < LLEM_COUNT(fields); i++) {
        const char *at = (const char *)d + fields[i].offset;
        struct llem_value *v;
        int64_t n = 0;

        if (!fields[i].max)
            v = llem_bool(a, *(const bool *)at);
        else if (memcpy(&n, at, sizeof(n)), n > 0)
            v = llem_int(a, n);
        else
            v = llem_null(a);
        llem_set(a, model, fields[i].name, v);
    }
}

/* A count that a recording's field may have; 0 where it has none. False if it has another. */
static bool get_count(const struct llem_value *model, size_t field, int64_t *out)
{
    const struct llem_value *v = llem_get(model, fields[field].name);
    double d = llem_real_at(model, fields[field].name, -1);

    *out = 0;
    if (llem_is_null(v))
        return true;
    if (!(d >= 0 && d <= (double)fields[field].max && d == floor(d)))
        return false;
    *out = (int64_t)d;
    return true;
}

bool llem_dims_get(struct llem_dims *d, const struct llem_value *model)
{
    struct llem_dims got = { 0 };

    for (size_t i = 0; i < LLEM_COUNT(fields); i++) {
        char *at = (char *)&got + fields[i].offset;
        int64_t n;

        if (!fields[i].max)
            *(bool *)at = llem_bool_at(model, fields[i].name, false);
        else if (get_count(model, i, &n))
            memcpy(at, &n, sizeof(n));
        else
            return false;
    }
    /* What is left out means the usual. */
    if (got.heads && !got.kv_heads)
        got.kv_heads = got.heads;
    if (got.heads && !got.head)
        got.head = got.hidden / got.heads;
    if (!got.value_head)
        got.value_head = got.head;
    if (got.window && !got.window_layers)
        got.window_layers = got.layers;
    if (got.experts) {
        got.active_experts = got.active_experts ? got.active_experts : got.experts;
        got.expert_layers = got.expert_layers ? got.expert_layers : got.layers;
        got.expert_inner = got.expert_inner ? got.expert_inner : got.inner;
    } else {
        got.expert_layers = 0;
    }
    *d = got;
    return got.hidden && got.layers && got.heads && got.head && got.vocab &&
           (got.inner || got.expert_layers == got.layers) && (got.expert_inner || !got.experts) &&
           got.active_experts <= got.experts && got.expert_layers <= got.layers &&
           got.window_layers <= got.layers && got.rope_head <= got.head;
}

const char *llem_dims_differ(const struct llem_dims *d, const struct llem_value *model)
{
    for (size_t i = 0; i < LLEM_COUNT(fields); i++) {
        int64_t own, other;

        if (!fields[i].compared || !get_count(model, i, &other) || !other)
            continue;
        memcpy(&own, (const char *)d + fields[i].offset, sizeof(own));
        /* Engines pad, merge and adapt what they count as parameters. */
        if (i == 0 ? own && fabs((double)(own - other)) > 0.05 * (double)own : own != other)
            return fields[i].name;
    }
    return NULL;
}
