/* SPDX-License-Identifier: MIT
 *
 * The inside of the engine `cpu`: weights, tokenizer, model, kernels, generation. Only files of
 * this folder, their tests and their benchmark include this. Each part is one file, in the order
 * below, and knows only the parts above it. Nothing here knows energy, receipts apart, or the
 * harness.
 */
#ifndef LLEM_ENGINES_CPU_CPU_H
#define LLEM_ENGINES_CPU_CPU_H

#include <stdatomic.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/ctx.h"
#include "lib/engine/dimensions.h"

/* What is believed of a file from outside. */
#define CPU_MAX_HEADER_BYTES (UINT64_C(100) << 20)    /* of a safetensors file */
#define CPU_MAX_INDEX_BYTES (UINT64_C(64) << 20)      /* model.safetensors.index.json */
#define CPU_MAX_TOKENIZER_BYTES (UINT64_C(256) << 20) /* tokenizer.json */

/* ---- safetensors.c: tensors in files ---- */

enum cpu_dtype { CPU_F32, CPU_BF16, CPU_F16, CPU_OTHER };
enum { CPU_MAX_RANK = 8 };

struct cpu_tensor {
    const char *name, *dtype_name;
    enum cpu_dtype dtype;
    int rank;
    int64_t shape[CPU_MAX_RANK];
    uint64_t offset, bytes; /* from the start of the file */
    int file;               /* into cpu_weights.files */
};

struct cpu_weights_file {
    const char *name; /* in its directory */
    uint64_t bytes;
    int fd;
};

/* The open weight files of a model directory. Files are read, not mapped: one that is cut short
 * while it is read is then an error with a sentence and not a SIGBUS. */
struct cpu_weights {
    struct llem_arena arena;
    const char *dir;
    struct cpu_weights_file *files;
    size_t n_files;
    struct cpu_tensor *tensors; /* by name */
    size_t n_tensors;
};

/*
 * Parse and check a header of `len` bytes, followed in its file by data_bytes of data: every
 * tensor's dtype times shape is its length, and the tensors cover the data without hole or overlap.
 * Offsets are counted from the start of the file. `name` is shown in errors. Tensors come sorted by
 * name.
 */
llem_errcode cpu_safetensors_header(struct llem_arena *a, struct cpu_tensor **tensors,
                                    size_t *count, const char *text, size_t len,
                                    uint64_t data_bytes, const char *name, llem_error *err);
/* Open model.safetensors, or the files that model.safetensors.index.json names. */
llem_errcode cpu_weights_open(struct cpu_weights **out, const char *dir, llem_error *err);
void cpu_weights_close(struct cpu_weights *w); /* NULL is allowed */
const struct cpu_tensor *cpu_weights_find(const struct cpu_weights *w, const char *name);
/* Read len bytes of a tensor, from offset within it. */
llem_errcode cpu_weights_read(const struct cpu_weights *w, const struct cpu_tensor *t,
                              uint64_t offset, void *out, size_t len, llem_error *err);

/* ---- nfc.c: Unicode normalisation form C ---- */

/* Append the NFC of valid UTF-8 to out. */
void cpu_nfc(struct llem_buf *out, const char *text, size_t len);

/* ---- bpe.c: words to token ids ---- */

struct cpu_ids {
    int32_t *ids; /* to free() */
    size_t count, cap;
};
bool cpu_ids_add(struct cpu_ids *to, int32_t id); /* false without memory */

struct llem_value;
struct cpu_bpe;
/* From the `model` of a tokenizer.json. */
llem_errcode cpu_bpe_new(struct cpu_bpe **out, const struct llem_value *model, const char *name,
                         llem_error *err);
void cpu_bpe_free(struct cpu_bpe *b); /* NULL is allowed */
/* Append the ids of one word (bytes). False without memory. */
bool cpu_bpe_encode(struct cpu_bpe *b, const char *word, size_t len, struct cpu_ids *out);
/* The token of an id as the vocabulary writes it; *text is NULL if there is none. False without
 * memory. */
bool cpu_bpe_find(struct cpu_bpe *b, int32_t id, const char **text, size_t *len);
/* Append the bytes that a token stands for; its text as it is if that is not of the alphabet. */
void cpu_bpe_decode(const struct cpu_bpe *b, const char *text, size_t len, struct llem_buf *out);

/* ---- tokenizer.c: text to token ids ---- */

struct cpu_tokenizer;

/* From the text of a tokenizer.json; name is shown in errors. */
llem_errcode cpu_tokenizer_parse(struct cpu_tokenizer **out, const char *text, size_t len,
                                 const char *name, llem_error *err);
llem_errcode cpu_tokenizer_load(struct cpu_tokenizer **out, const char *path, llem_error *err);
void cpu_tokenizer_free(struct cpu_tokenizer *t); /* NULL is allowed */

/* Append the ids of a text; `special`: with the tokens that the post-processor adds. On failure
 * what was appended is undefined. One thread at a time. */
llem_errcode cpu_tokenizer_encode(struct cpu_tokenizer *t, const char *text, size_t len,
                                  bool special, struct cpu_ids *out, llem_error *err);
/* Append the text of ids, special tokens left out. What is no UTF-8, and U+0000, becomes U+FFFD. */
llem_errcode cpu_tokenizer_decode(struct cpu_tokenizer *t, const int32_t *ids, size_t count,
                                  struct llem_buf *out, llem_error *err);

/* ---- pool.c: threads ---- */

struct cpu_pool;

/* n_threads in all, the caller included. Threads that have nothing to do spin for some 50 us, then
 * sleep. */
llem_errcode cpu_pool_new(struct cpu_pool **out, int n_threads, llem_error *err);
void cpu_pool_free(struct cpu_pool *p); /* NULL is allowed */
int cpu_pool_threads(const struct cpu_pool *p);
/* Call fn(arg, item, thread) for every item below count, from all threads, in any order; returns
 * when all are done. thread is 0 .. n_threads-1. One caller at a time; not from within fn. */
typedef void (*cpu_task)(void *arg, int item, int thread);
void cpu_pool_run(struct cpu_pool *p, cpu_task fn, void *arg, int count);
/* CPUs that this process may use; `cores`: one for each physical core. At least 1. */
int cpu_count(bool cores);

/* ---- kernels.c, kernels_avx2.c: the loops that take the time ---- */

/*
 * Rows that the kernels multiply are padded with zeros to a multiple of CPU_PAD elements and start
 * at a multiple of 64 bytes. Rows of weights lie in groups of CPU_GROUP, block by block: CPU_PAD
 * elements of the first row, of the second, ... of the last, then the next CPU_PAD of the first. So
 * a group's products with one vector read memory in one stream, and each part of the vector once.
 */
enum { CPU_PAD = 32, CPU_GROUP = 8 };
static inline size_t cpu_padded(size_t n)
{
    return (n + CPU_PAD - 1) / CPU_PAD * CPU_PAD;
}
static inline size_t cpu_groups(size_t rows)
{
    return (rows + CPU_GROUP - 1) / CPU_GROUP;
}
/* The element where row `row` of weights begins; its next block is CPU_GROUP * CPU_PAD further. */
static inline size_t cpu_row_at(size_t row, size_t stride)
{
    return row / CPU_GROUP * CPU_GROUP * stride + row % CPU_GROUP * CPU_PAD;
}

struct cpu_kernels {
    const char *name; /* "scalar", "avx2" */
    bool (*usable)(void);
    /*
     * y[i * ldy + j] = sum over c < k of x[i * ldx + c] * row j of w [c], for i < m and every row j
     * of so many groups. k is a multiple of CPU_PAD. The order of additions of one sum depends on k
     * alone, so that a row of a batch comes out the same as alone. For bf16, x is in the order that
     * `arrange` made.
     */
    void (*matmul_f32)(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w,
                       size_t groups, size_t k);
    void (*matmul_bf16)(float *y, size_t ldy, const float *x, size_t ldx, size_t m,
                        const uint16_t *w, size_t groups, size_t k);
    void (*arrange)(float *out, const float *x, size_t k);   /* k: a multiple of CPU_PAD */
    void (*widen)(float *out, const uint16_t *in, size_t n); /* bf16 to float32 */
    /* scores[t] = scale * q . keys[t * dim ...], t < n */
    void (*scores)(float *scores, const float *q, const float *keys, size_t n, size_t dim,
                   float scale);
    /* out[c] = sum over t < n of p[t] * values[t * dim + c], c < dim */
    void (*mix)(float *out, const float *p, const float *values, size_t n, size_t dim);
    void (*softmax)(float *x, size_t n);
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n);
    void (*gelu_tanh)(float *x, size_t n);
    size_t (*argmax)(const float *x, size_t n); /* the first of the largest */
};
extern const struct cpu_kernels cpu_kernels_scalar, cpu_kernels_avx2;
/* All that were compiled in, best first; ends with NULL. */
extern const struct cpu_kernels *const cpu_kernels_all[];
/* The best this processor runs; or the one named, NULL if it does not run here. */
const struct cpu_kernels *cpu_kernels_best(void);
const struct cpu_kernels *cpu_kernels_find(const char *name);

float cpu_bf16_to_f32(uint16_t b);
uint16_t cpu_f32_to_bf16(float f); /* to the nearest, ties to even; NaN stays NaN */
float cpu_f16_to_f32(uint16_t h);

/* ---- blas.c: OpenBLAS, if there is one ---- */

struct cpu_blas {
    void *handle;
    char version[64]; /* "openblas 0.3.21" */
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
};
/* Load it for one thread a call; false if it is not installed. */
bool cpu_blas_open(struct cpu_blas *b);

/* ---- config.c: config.json ---- */

enum cpu_norm { CPU_NORM_RMS, CPU_NORM_LAYER };
enum cpu_positions { CPU_POS_ROPE, CPU_POS_LEARNED };
enum cpu_act { CPU_ACT_SILU, CPU_ACT_GELU_TANH, CPU_ACT_GELU, CPU_ACT_RELU };
enum { CPU_MAX_EOS = 16 };

/* What config.json says, checked. */
struct cpu_config {
    char architecture[64];
    const struct cpu_arch *arch;
    struct llem_dims dims; /* whose parts are below, as they are computed with */
    enum cpu_norm norm;
    enum cpu_positions positions;
    enum cpu_act act;
    bool gated, qkv_bias, out_bias, mlp_bias, tied, scale_by_layer, scale_scores;
    int32_t hidden, layers, heads, kv_heads, head_dim, ff, vocab, max_positions;
    int32_t window;    /* tokens that a layer with a sliding window sees; 0 = no layer has one */
    uint8_t *windowed; /* which layers have it; NULL if none */
    float eps;
    double rope_theta;
    enum { CPU_ROPE_DEFAULT, CPU_ROPE_LINEAR, CPU_ROPE_LLAMA3 } rope;
    double rope_factor, rope_low, rope_high, rope_original;
    int32_t eos[CPU_MAX_EOS];
    int n_eos;
    enum cpu_dtype stored; /* as config.json says; CPU_OTHER = it does not say */
    struct llem_arena arena;
};

/* Read <dir>/config.json and, where it is, generation_config.json. */
llem_errcode cpu_config_load(struct cpu_config *c, const char *dir, llem_error *err);
llem_errcode cpu_config_parse(struct cpu_config *c, const char *text, size_t len, const char *name,
                              llem_error *err);
void cpu_config_done(struct cpu_config *c);

/* ---- model.c: architectures, weights in memory ---- */

struct cpu_matrix {
    const void *data; /* groups of rows of `stride` elements, see CPU_GROUP */
    enum cpu_dtype dtype;
    size_t rows, cols, stride;
    const float *bias; /* rows of them; NULL = none */
};

struct cpu_layer {
    const float *norm1, *norm1_bias, *norm2, *norm2_bias;
    struct cpu_matrix qkv, out, up, down; /* qkv: q, k and v below each other; up: gate, then up */
    int32_t window;                       /* tokens a token sees, itself included; 0 = all */
    float scale;                          /* of attention scores */
};

struct cpu_model {
    const struct cpu_config *config; /* borrowed */
    enum cpu_dtype dtype;            /* of the matrices: CPU_F32 or CPU_BF16; vectors are float32 */
    struct cpu_matrix embed, head;   /* the same where tied */
    const float *positions;          /* max_positions rows of hidden; NULL = rope */
    const float *norm, *norm_bias;
    struct cpu_layer *layers;
    float *rope_inv_freq; /* head_dim / 2 */
    void *memory;
    size_t memory_bytes;
};

/* The dtype a model gets: the one wanted, or (CPU_OTHER) the stored one, float32 for float16. */
enum cpu_dtype cpu_model_dtype(const struct cpu_config *c, const struct cpu_weights *w,
                               enum cpu_dtype wanted);
/* Bytes of memory that the weights take. */
uint64_t cpu_model_bytes(const struct cpu_config *c, enum cpu_dtype dtype);
uint64_t cpu_model_parameters(const struct cpu_config *c);
/*
 * Weights into memory, from files, or random ones (w NULL) from a fixed seed. progress may be NULL;
 * it returns false to stop (LLEM_ECANCELED). config must outlive the model.
 */
typedef bool (*cpu_progress)(void *user, double fraction);
llem_errcode cpu_model_load(struct cpu_model **out, const struct cpu_config *config,
                            const struct cpu_weights *w, enum cpu_dtype dtype,
                            cpu_progress progress, void *user, llem_error *err);
void cpu_model_free(struct cpu_model *m); /* NULL is allowed */

/* ---- forward.c: one step through the model ---- */

/* One token to compute, and where it stands. */
struct cpu_token {
    int32_t id, row, pos;
    bool wanted; /* what follows it is wanted: its logits are the next row of them */
};

/* OpenBLAS is worth its packing, and a dense copy of the weights for it, from so many tokens of a
 * step on. */
enum { CPU_BLAS_TOKENS = 64 };

struct cpu_state;

struct cpu_state_opts {
    const struct cpu_model *model;
    struct cpu_pool *pool;
    const struct cpu_kernels *kernels;
    const struct cpu_blas *blas; /* NULL = own kernels */
    int rows, positions;         /* of the key/value cache */
    int max_tokens;              /* of one step */
    bool touch;                  /* make the memory resident now */
};
llem_errcode cpu_state_new(struct cpu_state **out, const struct cpu_state_opts *opts,
                           llem_error *err);
void cpu_state_free(struct cpu_state *s); /* NULL is allowed */
uint64_t cpu_state_bytes(const struct cpu_config *c, int rows, int positions, int max_tokens,
                         int threads);
/* Of which the key/value cache. */
uint64_t cpu_cache_bytes(const struct cpu_config *c, int rows, int positions);
/* Compute count tokens (at most max_tokens); those of one row stand in order. Allocates nothing. */
void cpu_forward(struct cpu_state *s, const struct cpu_token *tokens, int count);
/* Logits row r of the last forward: vocab of them, the caller's to change. */
float *cpu_logits(struct cpu_state *s, int r);

/* ---- sample.c: logits to a token ---- */

struct cpu_sampling {
    bool sample;                                          /* false: the largest logit */
    double temperature, top_p, min_p, repetition_penalty; /* 1, 1, 0, 1: without effect */
    int32_t top_k;                                        /* 0: without effect */
};

struct cpu_rng {
    uint64_t s[4];
};
/* A stream of its own for each request, whatever batch it is in. */
void cpu_rng_init(struct cpu_rng *r, int64_t seed, int64_t index);
double cpu_rng_next(struct cpu_rng *r); /* in [0, 1) */

struct cpu_candidate {
    float logit;
    int32_t id;
};
/* Scratch: vocab candidates, and vocab/8+1 bytes. Changes the logits. seen: prompt and output so
 * far, in two parts. */
struct cpu_sampler {
    struct cpu_candidate *candidates;
    uint8_t *marks;
    int32_t vocab;
};
int32_t cpu_sample(const struct cpu_sampler *s, const struct cpu_sampling *opts,
                   const struct cpu_kernels *k, float *logits, const int32_t *prompt,
                   size_t n_prompt, const int32_t *output, size_t n_output, struct cpu_rng *rng);

/* ---- generate.c: a batch from prompts to ends ---- */

enum cpu_finish { CPU_FINISH_STOP, CPU_FINISH_LENGTH, CPU_FINISH_CONTEXT };
extern const char *const cpu_finish_names[];

struct cpu_request {
    const int32_t *prompt;
    int32_t n_prompt;
    int32_t max_new;   /* tokens there is room for in output and token_ns */
    bool context_ends; /* max_new is the context's limit, not the task's */
    int32_t *output;
    int64_t *token_ns;
    struct cpu_rng rng;
    /* out */
    int32_t n_output;
    enum cpu_finish finish;
    int64_t scheduled_ns;
};

struct cpu_step {
    int64_t begin_ns, end_ns;
    int32_t prefill, decode, batch;
};

struct cpu_generate {
    struct cpu_state *state;
    struct cpu_pool *pool;
    const struct cpu_kernels *kernels;
    const struct cpu_sampling *sampling;
    struct cpu_sampler *samplers;  /* one for each thread */
    struct cpu_token *tokens;      /* max_tokens of them, at least the batch */
    int32_t *wanted_rows, *chosen; /* as many as the batch */
    int max_tokens;
    const int32_t *eos; /* none: n_eos 0 */
    int n_eos;
    const struct llem_clock *clock;
    bool (*cancelled)(void *user); /* asked before each step */
    void *user;
    struct cpu_step *steps; /* appended to; NULL = not wanted */
    size_t n_steps, max_steps;
    _Atomic int64_t *output; /* counts the tokens as they come; NULL = not wanted */
};
/* Run the requests as one batch: prompts first, in steps of at most max_tokens, then token by token
 * until each has ended. Rows that have ended cost nothing. Allocates nothing. LLEM_ECANCELED if
 * cancelled. */
llem_errcode cpu_generate_batch(struct cpu_generate *g, struct cpu_request *requests, int count);

#endif
