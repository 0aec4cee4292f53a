/* SPDX-License-Identifier: MIT
 *
 * A decoder's dimensions, read from the config.json of a Hugging Face model: what its operations
 * and its parameters are counted from. Families are data; one that is not known is refused by name,
 * so that nothing is counted nearly right.
 */
#ifndef LLEM_ENGINE_DIMENSIONS_H
#define LLEM_ENGINE_DIMENSIONS_H

#include "lib/base/value.h"

/* What is believed of a configuration. */
#define LLEM_MAX_CONFIG_BYTES (UINT64_C(4) << 20)
enum {
    LLEM_MAX_LAYERS = 1024,
    LLEM_MAX_WIDTH = 1 << 20,
    LLEM_MAX_VOCAB = 1 << 24,
    LLEM_MAX_POSITIONS = 1 << 24,
    LLEM_MAX_EXPERTS = 1 << 16,
};

/* Which layers attend to a window only. */
struct llem_window {
    enum { LLEM_WINDOW_NONE, LLEM_WINDOW_ALL, LLEM_WINDOW_FROM, LLEM_WINDOW_BUT } rule;
    int64_t n; /* FROM: the first layer that does; BUT: every n-th layer does not */
    const struct llem_value *types; /* layer_types: one a layer; overrides the rule; borrowed */
};

/* 0 = it has none of that kind. */
struct llem_dims {
    int64_t hidden, layers, vocab, max_positions;
    int64_t heads, kv_heads, head, value_head; /* sizes of a query's and of a value's head */
    int64_t q_rank, kv_rank, rope_head;        /* of latent attention; rope_head is part of head */
    int64_t window, window_layers;             /* positions seen, and by how many of the layers */
    int64_t inner;                             /* of a layer without experts */
    int64_t experts, active_experts, expert_layers, expert_inner;
    int64_t shared_inner; /* of the experts that every token goes through, together */
    int64_t parameters, embedding_parameters; /* of the decoder, tied ones once; 0 = not known */
    bool gated, tied, shared_gate;
    bool qkv_bias, out_bias, mlp_bias;
    struct llem_window windowed; /* while the configuration lives */
};

/*
 * Read a configuration: the top level, or its text_config. model_type NULL: as it says. `name` is
 * shown in errors: LLEM_ENOTSUP for an architecture that is not known, LLEM_ECORRUPT for a value
 * that cannot be.
 */
llem_errcode llem_dims_read(struct llem_dims *d, const struct llem_value *config,
                            const char *model_type, const char *name, llem_error *err);
/* Does this layer attend to a window only? */
bool llem_dims_is_windowed(const struct llem_dims *d, int64_t layer);

/* The dimensions as the fields of a recording's `model`. */
void llem_dims_put(struct llem_arena *a, struct llem_value *model, const struct llem_dims *d);
/* And back. False if they do not say enough to count operations. */
bool llem_dims_get(struct llem_dims *d, const struct llem_value *model);
/* The first field of `model` that is there and says something else; NULL if there is none. */
const char *llem_dims_differ(const struct llem_dims *d, const struct llem_value *model);

/* Weights that one position is multiplied with, in a layer's attention, in a layer without and in
 * one with experts (`experts` of them and what every token goes through), biases left out. */
double llem_dims_attention(const struct llem_dims *d);
double llem_dims_mlp(const struct llem_dims *d);
double llem_dims_experts(const struct llem_dims *d, int64_t experts);

#endif
