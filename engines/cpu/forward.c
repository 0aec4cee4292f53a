/* SPDX-License-Identifier: MIT
 *
 * One step through the model: any tokens of any rows at once, each at its own position, against the
 * keys and values of its row. There is no padding: a prompt of a batch, a lone token and a mixture
 * are the same loop over tokens.
 */
#include "engines/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    /* Weight rows of one item of work: some 64 KiB, which costs more than taking an item. */
    ITEM_BYTES = 64 * 1024,
    /* Rows of a panel for OpenBLAS, unpacked into one thread's scratch. */
    PANEL_ROWS = 256,
};

struct cpu_state {
    struct cpu_state_opts o;
    char *memory;
    size_t memory_bytes;
    size_t hidden, q, kv, up, ff; /* padded widths of rows below */
    /* for each token of a step */
    float *x;        /* the residual stream */
    float *h;        /* normed, input of products */
    float *qkv;      /* queries, keys, values */
    float *attended; /* output of the heads */
    float *mlp;      /* gate and up */
    float *act;      /* input of down */
    float *arranged; /* input of a product in the kernels' order */
    float *angles;   /* cos and sin, head_dim / 2 of each */
    float *logits;   /* for each row */
    /* for each thread */
    float *scores; /* positions */
    float *panel;  /* PANEL_ROWS dense rows */
    size_t score_stride, panel_stride;
    /* [layer][row][kv head][position][head_dim] */
    float *keys, *values;
    /* the step under way */
    const struct cpu_token *tokens;
    int count;
};

/* ---- memory
 * --------------------------------------------------------------------------------------- */

struct plan {
    size_t hidden, q, qkv, up, ff, widest, angles, vocab, scores, panel;
    size_t kv_floats; /* of the keys; the values are as many */
    uint64_t bytes;
};

static struct plan make_plan(const struct cpu_config *c, int rows, int positions, int max_tokens,
                             int threads)
{
    size_t dim = (size_t)c->head_dim, m = (size_t)max_tokens;
    struct plan p = { 0 };

    p.hidden = cpu_padded((size_t)c->hidden);
    p.q = cpu_padded((size_t)c->heads * dim);
    p.qkv = cpu_padded((size_t)(c->heads + 2 * c->kv_heads) * dim);
    p.ff = cpu_padded((size_t)c->ff);
    p.up = cpu_padded((size_t)c->ff * (c->gated ? 2 : 1));
    p.widest = p.hidden > p.q ? p.hidden : p.q;
    p.widest = p.widest > p.ff ? p.widest : p.ff;
    p.angles = cpu_padded(dim);
    p.vocab = cpu_padded((size_t)c->vocab);
    p.scores = cpu_padded((size_t)positions);
    p.panel = PANEL_ROWS * p.widest;
    p.kv_floats = (size_t)c->layers * (size_t)rows * (size_t)c->kv_heads * (size_t)positions * dim;
    p.kv_floats = cpu_padded(p.kv_floats);
    p.bytes =
        sizeof(float) * (m * (2 * p.hidden + p.qkv + p.q + p.up + p.ff + p.widest + p.angles) +
                         (uint64_t)rows * p.vocab + (uint64_t)threads * (p.scores + p.panel) +
                         2 * (uint64_t)p.kv_floats);
    return p;
}

uint64_t cpu_cache_bytes(const struct cpu_config *c, int rows, int positions)
{
    return 2 * sizeof(float) * (uint64_t)make_plan(c, rows, positions, 1, 1).kv_floats;
}

uint64_t cpu_state_bytes(const struct cpu_config *c, int rows, int positions, int max_tokens,
                         int threads)
{
    return make_plan(c, rows, positions, max_tokens, threads).bytes;
}

llem_errcode cpu_state_new(struct cpu_state **out, const struct cpu_state_opts *opts,
                           llem_error *err)
{
    const struct cpu_config *c = opts->model->config;
    size_t m = (size_t)opts->max_tokens, threads = (size_t)cpu_pool_threads(opts->pool);
    struct plan p = make_plan(c, opts->rows, opts->positions, opts->max_tokens, (int)threads);
    struct cpu_state *s;
    float *at;

    s = calloc(1, sizeof(*s));
    if (!s)
        return llem_fail(err, LLEM_ENOMEM, "no memory for the state of a batch");
    s->o = *opts;
    s->memory_bytes = p.bytes;
    s->memory = mmap(NULL, s->memory_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | (opts->touch ? 0 : MAP_NORESERVE), -1, 0);
    if (s->memory == MAP_FAILED) {
        free(s);
        return llem_fail(err, LLEM_ENOMEM,
                         "no memory for a batch of %d rows of %d tokens: %.2f GB are needed",
                         opts->rows, opts->positions, (double)p.bytes * 1e-9);
    }
    if (opts->touch) {
        madvise(s->memory, s->memory_bytes, MADV_HUGEPAGE);
        memset(s->memory, 0, s->memory_bytes);
    }
    s->hidden = p.hidden;
    s->q = p.q;
    s->kv = p.qkv;
    s->up = p.up;
    s->ff = p.ff;
    s->score_stride = p.scores;
    s->panel_stride = p.panel;
    at = (float *)(void *)s->memory;
#define TAKE(member, floats) (s->member = at, at += (floats))
    TAKE(x, m * p.hidden);
    TAKE(h, m * p.hidden);
    TAKE(qkv, m * p.qkv);
    TAKE(attended, m * p.q);
    TAKE(mlp, m * p.up);
    TAKE(act, m * p.ff);
    TAKE(arranged, m * p.widest);
    TAKE(angles, m * p.angles);
    TAKE(logits, (size_t)opts->rows * p.vocab);
    TAKE(scores, threads * p.scores);
    TAKE(panel, threads * p.panel);
    TAKE(keys, p.kv_floats);
    TAKE(values, p.kv_floats);
#undef TAKE
    *out = s;
    return LLEM_OK;
}

void cpu_state_free(struct cpu_state *s)
{
    if (!s)
        return;
    munmap(s->memory, s->memory_bytes);
    free(s);
}

float *cpu_logits(struct cpu_state *s, int r)
{
    return s->logits + (size_t)r * cpu_padded((size_t)s->o.model->config->vocab);
}

/* ---- products
 * -------------------------------------------------------------------------------------- */

struct product {
    struct cpu_state *s;
    const struct cpu_matrix *w;
    const float *x;
    float *y;
    size_t ldx, ldy, m, rows_per_item;
};

static void add_bias(const struct product *p, size_t first, size_t rows)
{
    size_t i, j;

    for (i = 0; p->w->bias && i < p->m; i++)
        for (j = first; j < first + rows; j++)
            p->y[i * p->ldy + j] += p->w->bias[j];
}

static void multiply_item(void *arg, int item, int thread)
{
    const struct product *p = arg;
    const struct cpu_kernels *k = p->s->o.kernels;
    size_t stride = p->w->stride, first = (size_t)item * p->rows_per_item;
    size_t rows = p->w->rows - first < p->rows_per_item ? p->w->rows - first : p->rows_per_item;

    if (p->w->dtype == CPU_F32)
        k->matmul_f32(p->y + first, p->ldy, p->x, p->ldx, p->m,
                      (const float *)p->w->data + first * stride, cpu_groups(rows), stride);
    else
        k->matmul_bf16(p->y + first, p->ldy, p->x, p->ldx, p->m,
                       (const uint16_t *)p->w->data + first * stride, cpu_groups(rows), stride);
    add_bias(p, first, rows);
}

/* One row of weights, dense and as float32. */
static void unpack_row(const struct cpu_kernels *k, float *out, const struct cpu_matrix *w,
                       size_t row)
{
    size_t at = cpu_row_at(row, w->stride), c;

    for (c = 0; c < w->stride; c += CPU_PAD, at += CPU_GROUP * CPU_PAD) {
        if (w->dtype == CPU_F32)
            memcpy(out + c, (const float *)w->data + at, CPU_PAD * sizeof(*out));
        else
            k->widen(out + c, (const uint16_t *)w->data + at, CPU_PAD);
    }
}

static void multiply_panel(void *arg, int item, int thread)
{
    enum { ROW_MAJOR = 101, AS_IS = 111, TRANSPOSED = 112 };
    const struct product *p = arg;
    size_t stride = p->w->stride, first = (size_t)item * p->rows_per_item, j;
    size_t rows = p->w->rows - first < p->rows_per_item ? p->w->rows - first : p->rows_per_item;
    float *panel = p->s->panel + (size_t)thread * p->s->panel_stride;

    for (j = 0; j < rows; j++)
        unpack_row(p->s->o.kernels, panel + j * stride, p->w, first + j);
    p->s->o.blas->sgemm(ROW_MAJOR, AS_IS, TRANSPOSED, (int)p->m, (int)rows, (int)stride, 1, p->x,
                        (int)p->ldx, panel, (int)stride, 0, p->y + first, (int)p->ldy);
    add_bias(p, first, rows);
}

/* y = x W' + bias for m vectors; the padding of x's rows is zero. */
static void multiply(struct cpu_state *s, const struct cpu_matrix *w, const float *x, size_t ldx,
                     size_t m, float *y, size_t ldy)
{
    struct product p = { s, w, x, y, ldx, ldy, m, 0 };
    size_t size = w->dtype == CPU_F32 ? sizeof(float) : sizeof(uint16_t), i;

    if (s->o.blas && m >= CPU_BLAS_TOKENS) {
        p.rows_per_item = PANEL_ROWS;
        cpu_pool_run(s->o.pool, multiply_panel, &p, (int)((w->rows + PANEL_ROWS - 1) / PANEL_ROWS));
        return;
    }
    if (w->dtype == CPU_BF16) {
        for (i = 0; i < m; i++)
            s->o.kernels->arrange(s->arranged + i * w->stride, x + i * ldx, w->stride);
        p.x = s->arranged;
        p.ldx = w->stride;
    }
    p.rows_per_item = (ITEM_BYTES / (w->stride * size * CPU_GROUP) + 1) * CPU_GROUP;
    cpu_pool_run(s->o.pool, multiply_item, &p,
                 (int)((w->rows + p.rows_per_item - 1) / p.rows_per_item));
}

/* ---- what is done for each token
 * ------------------------------------------------------------------- */

static void embed(struct cpu_state *s, int i)
{
    const struct cpu_model *model = s->o.model;
    size_t n = (size_t)model->config->hidden, id = (size_t)s->tokens[i].id, c;
    float *x = s->x + (size_t)i * s->hidden;

    unpack_row(s->o.kernels, x, &model->embed, id);
    if (model->positions) {
        const float *p = model->positions + (size_t)s->tokens[i].pos * cpu_padded(n);

        for (c = 0; c < n; c++)
            x[c] += p[c];
    }
}

static void make_angles(struct cpu_state *s, int i)
{
    int c, half = s->o.model->config->head_dim / 2;
    float *cos_at = s->angles + (size_t)i * cpu_padded((size_t)half * 2), *sin_at = cos_at + half;

    for (c = 0; c < half; c++) {
        float angle = (float)s->tokens[i].pos * s->o.model->rope_inv_freq[c];

        cos_at[c] = cosf(angle);
        sin_at[c] = sinf(angle);
    }
}

static void norm(const struct cpu_config *c, float *out, const float *x, const float *weight,
                 const float *bias)
{
    size_t n = (size_t)c->hidden, i;
    float mean = 0, square = 0, scale;

    if (c->norm == CPU_NORM_LAYER) {
        for (i = 0; i < n; i++)
            mean += x[i];
        mean /= (float)n;
    }
    for (i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    scale = 1 / sqrtf(square / (float)n + c->eps);
    for (i = 0; i < n; i++)
        out[i] = (x[i] - mean) * scale * weight[i] + (bias ? bias[i] : 0);
}

/* Turn a head by its token's angles: element c with element c + head_dim/2. */
static void rotate(float *head, const float *angles, int half)
{
    int c;

    for (c = 0; c < half; c++) {
        float a = head[c], b = head[c + half];

        head[c] = a * angles[c] - b * angles[half + c];
        head[c + half] = b * angles[c] + a * angles[half + c];
    }
}

/* Where the keys (or values) of a row's head begin. */
static size_t cache_at(const struct cpu_state *s, int layer, int row, int head)
{
    const struct cpu_config *c = s->o.model->config;

    return ((((size_t)layer * (size_t)s->o.rows + (size_t)row) * (size_t)c->kv_heads +
             (size_t)head) *
            (size_t)s->o.positions) *
           (size_t)c->head_dim;
}

struct layer_step {
    struct cpu_state *s;
    const struct cpu_layer *l;
    int layer;
};

static void norm1_token(void *arg, int i, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;

    norm(s->o.model->config, s->h + (size_t)i * s->hidden, s->x + (size_t)i * s->hidden,
         a->l->norm1, a->l->norm1_bias);
}

/* Rotate queries and keys, and put keys and values into the cache. */
static void cache_token(void *arg, int i, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;
    const struct cpu_config *c = s->o.model->config;
    int half = c->head_dim / 2, head;
    size_t dim = (size_t)c->head_dim, pos = (size_t)s->tokens[i].pos;
    float *q = s->qkv + (size_t)i * s->kv, *k = q + (size_t)c->heads * dim,
          *v = k + (size_t)c->kv_heads * dim;
    const float *angles = s->angles + (size_t)i * cpu_padded(dim);

    if (c->positions == CPU_POS_ROPE)
        for (head = 0; head < c->heads + c->kv_heads; head++)
            rotate(q + (size_t)head * dim, angles, half);
    for (head = 0; head < c->kv_heads; head++) {
        size_t at = cache_at(s, a->layer, s->tokens[i].row, head) + pos * dim;

        memcpy(s->keys + at, k + (size_t)head * dim, dim * sizeof(float));
        memcpy(s->values + at, v + (size_t)head * dim, dim * sizeof(float));
    }
}

static void attend(void *arg, int item, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;
    const struct cpu_config *c = s->o.model->config;
    const struct cpu_kernels *k = s->o.kernels;
    int i = item / c->heads, head = item % c->heads;
    int32_t end = s->tokens[i].pos + 1, begin = 0;
    size_t dim = (size_t)c->head_dim, at, n;
    float *scores = s->scores + (size_t)thread * s->score_stride;

    if (a->l->window && end > a->l->window)
        begin = end - a->l->window;
    n = (size_t)(end - begin);
    at = cache_at(s, a->layer, s->tokens[i].row, head / (c->heads / c->kv_heads)) +
         (size_t)begin * dim;
    k->scores(scores, s->qkv + (size_t)i * s->kv + (size_t)head * dim, s->keys + at, n, dim,
              a->l->scale);
    k->softmax(scores, n);
    k->mix(s->attended + (size_t)i * s->q + (size_t)head * dim, scores, s->values + at, n, dim);
}

static void add_and_norm2_token(void *arg, int i, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;
    float *x = s->x + (size_t)i * s->hidden, *h = s->h + (size_t)i * s->hidden;
    size_t c, n = (size_t)s->o.model->config->hidden;

    for (c = 0; c < n; c++)
        x[c] += h[c];
    norm(s->o.model->config, h, x, a->l->norm2, a->l->norm2_bias);
}

static void act_token(void *arg, int i, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;
    const struct cpu_config *config = s->o.model->config;
    size_t c, n = (size_t)config->ff;
    float *out = s->act + (size_t)i * s->ff, *in = s->mlp + (size_t)i * s->up;

    if (config->gated) {
        s->o.kernels->silu_mul(out, in, in + n, n);
        return;
    }
    memcpy(out, in, n * sizeof(*out));
    switch (config->act) {
    case CPU_ACT_GELU_TANH:
        s->o.kernels->gelu_tanh(out, n);
        break;
    case CPU_ACT_GELU:
        for (c = 0; c < n; c++)
            out[c] = 0.5f * out[c] * (1 + erff(out[c] * 0.70710678f));
        break;
    case CPU_ACT_RELU:
        for (c = 0; c < n; c++)
            out[c] = out[c] > 0 ? out[c] : 0;
        break;
    case CPU_ACT_SILU:
        for (c = 0; c < n; c++)
            out[c] = out[c] / (1 + expf(-out[c]));
        break;
    }
}

static void add_token(void *arg, int i, int thread)
{
    const struct layer_step *a = arg;
    struct cpu_state *s = a->s;
    size_t c, n = (size_t)s->o.model->config->hidden;

    for (c = 0; c < n; c++)
        s->x[(size_t)i * s->hidden + c] += s->h[(size_t)i * s->hidden + c];
}

/* ---- the step
 * ---------------------------------------------------------------------------------------- */

void cpu_forward(struct cpu_state *s, const struct cpu_token *tokens, int count)
{
    const struct cpu_model *model = s->o.model;
    const struct cpu_config *c = model->config;
    struct cpu_pool *pool = s->o.pool;
    size_t m = (size_t)count;
    int i, layer, wanted = 0;

    s->tokens = tokens;
    s->count = count;
    for (i = 0; i < count; i++) {
        embed(s, i);
        if (c->positions == CPU_POS_ROPE)
            make_angles(s, i);
    }
    for (layer = 0; layer < c->layers; layer++) {
        const struct cpu_layer *l = &model->layers[layer];
        struct layer_step step = { s, l, layer };

        cpu_pool_run(pool, norm1_token, &step, count);
        multiply(s, &l->qkv, s->h, s->hidden, m, s->qkv, s->kv);
        cpu_pool_run(pool, cache_token, &step, count);
        cpu_pool_run(pool, attend, &step, count * c->heads);
        multiply(s, &l->out, s->attended, s->q, m, s->h, s->hidden);
        cpu_pool_run(pool, add_and_norm2_token, &step, count);
        multiply(s, &l->up, s->h, s->hidden, m, s->mlp, s->up);
        cpu_pool_run(pool, act_token, &step, count);
        multiply(s, &l->down, s->act, s->ff, m, s->h, s->hidden);
        cpu_pool_run(pool, add_token, &step, count);
    }
    /* Logits of the wanted tokens alone, gathered so that they are one product. */
    for (i = 0; i < count; i++)
        if (tokens[i].wanted)
            norm(c, s->h + (size_t)wanted++ * s->hidden, s->x + (size_t)i * s->hidden, model->norm,
                 model->norm_bias);
    if (wanted)
        multiply(s, &model->head, s->h, s->hidden, (size_t)wanted, s->logits,
                 cpu_padded((size_t)c->vocab));
}
