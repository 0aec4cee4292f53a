/* SPDX-License-Identifier: MIT
 *
 * Weights in memory: laid out once from the configuration, then filled from files or with random
 * numbers. Rows are padded and aligned for the kernels, what is multiplied by the same vector lies
 * together, and checkpoints' spellings (separate q, k and v; transposed matrices) are gone after
 * this file.
 */
#include "engines/cpu/cpu.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/cpu/arch.h"

static const struct cpu_tensor_row llama_tensors[] = {
    { "embed_tokens.weight", CPU_EMBED },
    { "norm.weight", CPU_NORM },
    { "lm_head.weight", CPU_HEAD },
    { "input_layernorm.weight", CPU_NORM1 },
    { "self_attn.q_proj.weight", CPU_QKV, CPU_Q },
    { "self_attn.k_proj.weight", CPU_QKV, CPU_K },
    { "self_attn.v_proj.weight", CPU_QKV, CPU_V },
    { "self_attn.q_proj.bias", CPU_QKV_BIAS, CPU_Q },
    { "self_attn.k_proj.bias", CPU_QKV_BIAS, CPU_K },
    { "self_attn.v_proj.bias", CPU_QKV_BIAS, CPU_V },
    { "self_attn.o_proj.weight", CPU_OUT },
    { "self_attn.o_proj.bias", CPU_OUT_BIAS },
    { "post_attention_layernorm.weight", CPU_NORM2 },
    { "mlp.gate_proj.weight", CPU_UP, CPU_GATE },
    { "mlp.gate_proj.bias", CPU_UP_BIAS, CPU_GATE },
    { "mlp.up_proj.weight", CPU_UP, CPU_UP_HALF },
    { "mlp.up_proj.bias", CPU_UP_BIAS, CPU_UP_HALF },
    { "mlp.down_proj.weight", CPU_DOWN },
    { "mlp.down_proj.bias", CPU_DOWN_BIAS },
    { NULL },
};

static const struct cpu_tensor_row gpt2_tensors[] = {
    { "wte.weight", CPU_EMBED },          { "wpe.weight", CPU_POSITIONS },
    { "ln_f.weight", CPU_NORM },          { "ln_f.bias", CPU_NORM_BIAS },
    { "lm_head.weight", CPU_HEAD },       { "ln_1.weight", CPU_NORM1 },
    { "ln_1.bias", CPU_NORM1_BIAS },      { "attn.c_attn.weight", CPU_QKV },
    { "attn.c_attn.bias", CPU_QKV_BIAS }, { "attn.c_proj.weight", CPU_OUT },
    { "attn.c_proj.bias", CPU_OUT_BIAS }, { "ln_2.weight", CPU_NORM2 },
    { "ln_2.bias", CPU_NORM2_BIAS },      { "mlp.c_fc.weight", CPU_UP },
    { "mlp.c_fc.bias", CPU_UP_BIAS },     { "mlp.c_proj.weight", CPU_DOWN },
    { "mlp.c_proj.bias", CPU_DOWN_BIAS }, { NULL },
};

const struct cpu_arch cpu_arch_llama = { .prefix = "model.",
                                         .layers = "layers.",
                                         .tensors = llama_tensors };
const struct cpu_arch cpu_arch_gpt2 = {
    .prefix = "transformer.", .layers = "h.", .transposed = true, .tensors = gpt2_tensors
};

/* ---- places
 * --------------------------------------------------------------------------------------- */

/* A place for weights: so many rows and columns; no rows where the model has none. Vectors are one
 * row. */
struct place {
    size_t rows, cols;
    bool vector; /* float32 whatever the model's dtype */
};

static bool in_layer(enum cpu_slot slot)
{
    return slot >= CPU_NORM1;
}

static struct place place_of(const struct cpu_config *c, enum cpu_slot slot)
{
    size_t hidden = (size_t)c->hidden, ff = (size_t)c->ff,
           q = (size_t)c->heads * (size_t)c->head_dim,
           kv = (size_t)c->kv_heads * (size_t)c->head_dim, up = c->gated ? 2 * ff : ff;
    bool layer_norm = c->norm == CPU_NORM_LAYER;
    struct place none = { 0 };

    switch (slot) {
    case CPU_EMBED:
        return (struct place){ (size_t)c->vocab, hidden, false };
    case CPU_HEAD:
        return c->tied ? none : (struct place){ (size_t)c->vocab, hidden, false };
    case CPU_POSITIONS:
        return c->positions == CPU_POS_LEARNED
                   ? (struct place){ (size_t)c->max_positions, hidden, true }
                   : none;
    case CPU_NORM:
    case CPU_NORM1:
    case CPU_NORM2:
        return (struct place){ 1, hidden, true };
    case CPU_NORM_BIAS:
    case CPU_NORM1_BIAS:
    case CPU_NORM2_BIAS:
        return layer_norm ? (struct place){ 1, hidden, true } : none;
    case CPU_QKV:
        return (struct place){ q + 2 * kv, hidden, false };
    case CPU_QKV_BIAS:
        return c->qkv_bias ? (struct place){ 1, q + 2 * kv, true } : none;
    case CPU_OUT:
        return (struct place){ hidden, q, false };
    case CPU_OUT_BIAS:
        return c->out_bias ? (struct place){ 1, hidden, true } : none;
    case CPU_UP:
        return (struct place){ up, hidden, false };
    case CPU_UP_BIAS:
        return c->mlp_bias ? (struct place){ 1, up, true } : none;
    case CPU_DOWN:
        return (struct place){ hidden, ff, false };
    case CPU_DOWN_BIAS:
        return c->mlp_bias ? (struct place){ 1, hidden, true } : none;
    }
    return none;
}

/* The rows (of a vector: elements) that a part takes of its place. */
static void part_of(const struct cpu_config *c, enum cpu_part part, size_t whole, size_t *begin,
                    size_t *count)
{
    size_t ff = (size_t)c->ff, q = (size_t)c->heads * (size_t)c->head_dim,
           kv = (size_t)c->kv_heads * (size_t)c->head_dim;

    *begin = 0;
    *count = whole;
    switch (part) {
    case CPU_ALL:
        break;
    case CPU_Q:
        *count = q;
        break;
    case CPU_K:
        *begin = q;
        *count = kv;
        break;
    case CPU_V:
        *begin = q + kv;
        *count = kv;
        break;
    case CPU_GATE:
        *count = ff;
        break;
    case CPU_UP_HALF:
        *begin = ff;
        *count = ff;
        break;
    }
}

static size_t element_size(enum cpu_dtype dtype, bool vector)
{
    return vector || dtype == CPU_F32 ? sizeof(float) : sizeof(uint16_t);
}

static uint64_t place_bytes(const struct place *p, enum cpu_dtype dtype)
{
    size_t rows = p->vector ? p->rows : cpu_groups(p->rows) * CPU_GROUP;

    return rows * cpu_padded(p->cols) * element_size(dtype, p->vector);
}

/* Call fn for every place of the model. */
static void each_place(const struct cpu_config *c,
                       void (*fn)(void *arg, enum cpu_slot slot, int layer, const struct place *p),
                       void *arg)
{
    int slot, layer;

    for (slot = CPU_EMBED; slot <= CPU_DOWN_BIAS; slot++) {
        struct place p = place_of(c, (enum cpu_slot)slot);

        if (p.rows == 0)
            continue;
        for (layer = 0; layer < (in_layer((enum cpu_slot)slot) ? c->layers : 1); layer++)
            fn(arg, (enum cpu_slot)slot, layer, &p);
    }
}

struct totals {
    enum cpu_dtype dtype;
    uint64_t bytes, parameters;
};

static void add_up(void *arg, enum cpu_slot slot, int layer, const struct place *p)
{
    struct totals *t = arg;

    t->bytes += place_bytes(p, t->dtype);
    t->parameters += p->rows * p->cols;
}

static struct totals totals_of(const struct cpu_config *c, enum cpu_dtype dtype)
{
    struct totals t = { .dtype = dtype };

    each_place(c, add_up, &t);
    return t;
}

uint64_t cpu_model_bytes(const struct cpu_config *c, enum cpu_dtype dtype)
{
    return totals_of(c, dtype).bytes;
}

uint64_t cpu_model_parameters(const struct cpu_config *c)
{
    return totals_of(c, CPU_F32).parameters;
}

/* ---- laying out
 * ------------------------------------------------------------------------------------- */

struct layout {
    struct cpu_model *m;
    char *at;
};

/* The member of the model that points to a vector's place, or the matrix. */
static const float **vector_of(struct cpu_model *m, enum cpu_slot slot, int layer)
{
    struct cpu_layer *l = &m->layers[layer];

    switch (slot) {
    case CPU_POSITIONS:
        return &m->positions;
    case CPU_NORM:
        return &m->norm;
    case CPU_NORM_BIAS:
        return &m->norm_bias;
    case CPU_NORM1:
        return &l->norm1;
    case CPU_NORM1_BIAS:
        return &l->norm1_bias;
    case CPU_NORM2:
        return &l->norm2;
    case CPU_NORM2_BIAS:
        return &l->norm2_bias;
    case CPU_QKV_BIAS:
        return &l->qkv.bias;
    case CPU_OUT_BIAS:
        return &l->out.bias;
    case CPU_UP_BIAS:
        return &l->up.bias;
    case CPU_DOWN_BIAS:
        return &l->down.bias;
    default:
        return NULL;
    }
}

static struct cpu_matrix *matrix_of(struct cpu_model *m, enum cpu_slot slot, int layer)
{
    struct cpu_layer *l = &m->layers[layer];

    switch (slot) {
    case CPU_EMBED:
        return &m->embed;
    case CPU_HEAD:
        return &m->head;
    case CPU_QKV:
        return &l->qkv;
    case CPU_OUT:
        return &l->out;
    case CPU_UP:
        return &l->up;
    default:
        return &l->down;
    }
}

static void lay_out(void *arg, enum cpu_slot slot, int layer, const struct place *p)
{
    struct layout *l = arg;

    if (p->vector) {
        *vector_of(l->m, slot, layer) = (const float *)(const void *)l->at;
    } else {
        struct cpu_matrix *x = matrix_of(l->m, slot, layer);

        x->data = l->at;
        x->dtype = l->m->dtype;
        x->rows = p->rows;
        x->cols = p->cols;
        x->stride = cpu_padded(p->cols);
    }
    l->at += place_bytes(p, l->m->dtype);
}

/* Put a dense row, as the place keeps its numbers, where it belongs. Of a vector, `row` is the
 * element where it begins. */
static void put_row(struct cpu_model *m, enum cpu_slot slot, int layer, const struct place *p,
                    size_t row, const void *from, size_t n)
{
    size_t size = element_size(m->dtype, p->vector), stride = cpu_padded(p->cols), c;
    const char *base =
        p->vector ? (const char *)*vector_of(m, slot, layer) : matrix_of(m, slot, layer)->data;
    char *to = (char *)m->memory + (base - (const char *)m->memory);

    if (p->vector) {
        memcpy(to + (p->rows == 1 ? row : row * stride) * size, from, n * size);
        return;
    }
    to += cpu_row_at(row, stride) * size;
    for (c = 0; c < n; c += CPU_PAD, to += CPU_GROUP * CPU_PAD * size)
        memcpy(to, (const char *)from + c * size, (n - c < CPU_PAD ? n - c : CPU_PAD) * size);
}

/* ---- filling
 * ---------------------------------------------------------------------------------------- */

struct loading {
    struct cpu_model *m;
    const struct cpu_weights *w;
    cpu_progress progress;
    void *user;
    uint64_t done, all; /* bytes */
    bool stopped, no_memory;
    struct llem_buf raw; /* of a tensor, as stored */
    struct llem_buf row; /* one, converted */
    llem_error *err;
};

static bool stop_here(struct loading *l, uint64_t bytes)
{
    l->done += bytes;
    if (l->progress && !l->progress(l->user, l->all ? (double)l->done / (double)l->all : 1))
        l->stopped = true;
    return l->stopped;
}

static float stored_value(const void *data, enum cpu_dtype dtype, size_t i)
{
    uint16_t half;
    float f;

    if (dtype == CPU_F32) {
        memcpy(&f, (const char *)data + i * sizeof(f), sizeof(f));
        return f;
    }
    memcpy(&half, (const char *)data + i * sizeof(half), sizeof(half));
    return dtype == CPU_BF16 ? cpu_bf16_to_f32(half) : cpu_f16_to_f32(half);
}

/* Store a number as the model's dtype has it; vectors keep float32, rounded alike. */
static void put(void *out, size_t i, float f, enum cpu_dtype dtype, bool vector)
{
    if (dtype == CPU_F32)
        ((float *)out)[i] = f;
    else if (vector)
        ((float *)out)[i] = cpu_bf16_to_f32(cpu_f32_to_bf16(f));
    else
        ((uint16_t *)out)[i] = cpu_f32_to_bf16(f);
}

/* Room for a row as the model keeps it. */
static void *need_row(struct loading *l, size_t n)
{
    llem_buf_clear(&l->row);
    return llem_buf_grow(&l->row, n * sizeof(float));
}

/*
 * Convert n numbers, `stride` apart from number `first` of `from` on, and put them into the place;
 * false without memory.
 */
static bool store(struct loading *l, enum cpu_slot slot, int layer, const struct place *p,
                  size_t row, const void *from, enum cpu_dtype stored, size_t first, size_t stride,
                  size_t n)
{
    enum cpu_dtype dtype = l->m->dtype;
    size_t size = element_size(dtype, false), i;
    void *converted;

    if (stride == 1 && stored == dtype && !p->vector) {
        put_row(l->m, slot, layer, p, row, (const char *)from + first * size, n);
        return true;
    }
    converted = need_row(l, n);
    if (!converted)
        return false;
    for (i = 0; i < n; i++)
        put(converted, i, stored_value(from, stored, first + i * stride), dtype, p->vector);
    put_row(l->m, slot, layer, p, row, converted, n);
    return true;
}

static bool shape_is(const struct cpu_tensor *t, size_t rows, size_t cols)
{
    if (cols == 0)
        return t->rank == 1 && (size_t)t->shape[0] == rows;
    return t->rank == 2 && (size_t)t->shape[0] == rows && (size_t)t->shape[1] == cols;
}

static llem_errcode load_tensor(struct loading *l, const struct cpu_tensor_row *row, int layer)
{
    enum { READ_BYTES = 8 << 20 };
    struct cpu_model *m = l->m;
    const struct cpu_arch *arch = m->config->arch;
    struct place p = place_of(m->config, row->slot);
    bool vector = p.vector && p.rows == 1,
         transposed = arch->transposed && in_layer(row->slot) && !vector;
    size_t begin, count, cols = vector ? 0 : p.cols, size, step, i, j;
    char name[256];
    const char *bare = name;
    const struct cpu_tensor *t;
    llem_errcode rc;

    if (p.rows == 0)
        return LLEM_OK;
    if (row->slot == CPU_HEAD)
        snprintf(name, sizeof(name), "%s", row->name);
    else if (in_layer(row->slot))
        snprintf(name, sizeof(name), "%s%s%d.%s", arch->prefix, arch->layers, layer, row->name);
    else
        snprintf(name, sizeof(name), "%s%s", arch->prefix, row->name);
    t = cpu_weights_find(l->w, name);
    if (!t && row->slot != CPU_HEAD)
        t = cpu_weights_find(l->w, bare = name + strlen(arch->prefix));
    if (!t)
        return llem_fail(l->err, LLEM_ECORRUPT, "%s: tensor '%s' is missing", l->w->files[0].name,
                         name);
    if (t->dtype == CPU_OTHER)
        return llem_fail(l->err, LLEM_ENOTSUP,
                         "%s: tensor '%s' is stored as %s; engine cpu reads F32, BF16 and F16",
                         l->w->files[t->file].name, bare, t->dtype_name);
    part_of(m->config, row->part, vector ? p.cols : p.rows, &begin, &count);
    if (transposed ? !shape_is(t, cols, count) : !shape_is(t, count, cols))
        return llem_fail(l->err, LLEM_ECORRUPT,
                         "%s: tensor '%s' has another shape than config.json gives it (%zu x %zu)",
                         l->w->files[t->file].name, bare, transposed ? cols : count,
                         transposed ? count
                         : cols     ? cols
                                    : 1);

    /* Rows of the tensor are read some at a time; where they are columns of ours, the whole. */
    size = t->dtype == CPU_F32 ? 4 : 2;
    if (vector) {
        cols = count;
        count = 1;
    }
    step = transposed ? count : READ_BYTES / (cols * size) + 1;
    for (i = 0; i < count; i += step) {
        step = step < count - i ? step : count - i;
        llem_buf_clear(&l->raw);
        if (!llem_buf_grow(&l->raw, step * cols * size))
            return llem_fail(l->err, LLEM_ENOMEM, "no memory to read tensor '%s'", bare);
        rc = cpu_weights_read(l->w, t, i * cols * size, l->raw.data, step * cols * size, l->err);
        if (rc < 0)
            return rc;
        for (j = 0; j < step; j++)
            if (!store(l, row->slot, layer, &p, begin + i + j, l->raw.data, t->dtype,
                       transposed ? j : j * cols, transposed ? count : 1, cols))
                return llem_fail(l->err, LLEM_ENOMEM, "no memory to read tensor '%s'", bare);
        if (stop_here(l, step * cols * size))
            return LLEM_ECANCELED;
    }
    return LLEM_OK;
}

static llem_errcode load_files(struct loading *l)
{
    const struct cpu_tensor_row *row;
    llem_errcode rc = LLEM_OK;
    size_t i;
    int layer;

    for (i = 0; i < l->w->n_tensors; i++)
        l->all += l->w->tensors[i].bytes;
    for (row = l->m->config->arch->tensors; row->name && rc == LLEM_OK; row++)
        for (layer = 0; layer < (in_layer(row->slot) ? l->m->config->layers : 1) && rc == LLEM_OK;
             layer++)
            rc = load_tensor(l, row, layer);
    return rc;
}

static uint64_t mix64(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/*
 * Random weights: uniform with the deviation 0.02 that models are initialised with; norms are 1 and
 * biases 0, so that numbers stay in range through any number of layers.
 */
static void fill_place(void *arg, enum cpu_slot slot, int layer, const struct place *p)
{
    struct loading *l = arg;
    struct cpu_model *m = l->m;
    uint64_t state = ((uint64_t)slot << 32) + (uint64_t)layer, bits;
    size_t row, col, lane;
    void *out = need_row(l, p->cols);

    if (!out) {
        l->stopped = l->no_memory = true;
        return;
    }
    if (p->vector && p->rows == 1) {
        bool norm = slot == CPU_NORM || slot == CPU_NORM1 || slot == CPU_NORM2;

        for (col = 0; col < p->cols; col++)
            put(out, col, norm ? 1 : 0, m->dtype, true);
        put_row(m, slot, layer, p, 0, out, p->cols);
        return;
    }
    for (row = 0; row < p->rows; row++) {
        if (row % 1024 == 0 && stop_here(l, 0))
            return;
        l->done += p->cols * element_size(m->dtype, p->vector);
        for (col = 0; col < p->cols; col += 4) {
            bits = mix64(&state);
            for (lane = 0; lane < 4 && col + lane < p->cols; lane++, bits >>= 16)
                put(out, col + lane,
                    ((float)(bits & 0xffff) - 32767.5f) * (0.02f * 1.7320508f / 32768), m->dtype,
                    p->vector);
        }
        put_row(m, slot, layer, p, row, out, p->cols);
    }
}

enum cpu_dtype cpu_model_dtype(const struct cpu_config *c, const struct cpu_weights *w,
                               enum cpu_dtype wanted)
{
    enum cpu_dtype stored = c->stored;
    size_t i;

    if (wanted != CPU_OTHER)
        return wanted;
    /* What the files hold counts more than what config.json says of them. */
    for (i = 0; w && i < w->n_tensors; i++)
        if (w->tensors[i].rank == 2 && w->tensors[i].dtype != CPU_OTHER) {
            stored = w->tensors[i].dtype;
            break;
        }
    return stored == CPU_BF16 ? CPU_BF16 : CPU_F32;
}

static void make_rope(struct cpu_model *m)
{
    const struct cpu_config *c = m->config;
    int i, half = c->head_dim / 2;

    for (i = 0; i < half; i++) {
        /* In float32, as the original: at long positions its rounding is part of the model. */
        double freq = 1 / powf((float)c->rope_theta, (float)(2 * i) / (float)c->head_dim);

        if (c->rope == CPU_ROPE_LINEAR) {
            freq /= c->rope_factor;
        } else if (c->rope == CPU_ROPE_LLAMA3) {
            /* Long waves are stretched, short ones kept, those between are mixed. */
            double wave = 2 * M_PI / freq, low = c->rope_original / c->rope_low,
                   high = c->rope_original / c->rope_high;

            if (wave > low) {
                freq /= c->rope_factor;
            } else if (wave >= high) {
                double smooth =
                    (c->rope_original / wave - c->rope_low) / (c->rope_high - c->rope_low);

                freq = (1 - smooth) * freq / c->rope_factor + smooth * freq;
            }
        }
        m->rope_inv_freq[i] = (float)freq;
    }
}

llem_errcode cpu_model_load(struct cpu_model **out, const struct cpu_config *config,
                            const struct cpu_weights *w, enum cpu_dtype dtype,
                            cpu_progress progress, void *user, llem_error *err)
{
    struct loading l = { .w = w, .progress = progress, .user = user, .err = err };
    struct layout layout;
    struct cpu_model *m;
    llem_errcode rc = LLEM_OK;
    int i;

    llem_buf_init(&l.raw, SIZE_MAX / 2);
    llem_buf_init(&l.row, SIZE_MAX / 2);
    m = calloc(1, sizeof(*m));
    if (!m)
        return llem_fail(err, LLEM_ENOMEM, "no memory for a model");
    m->config = config;
    m->dtype = dtype;
    m->memory = MAP_FAILED;
    m->layers = calloc((size_t)config->layers, sizeof(*m->layers));
    m->rope_inv_freq = calloc((size_t)config->head_dim / 2 + 1, sizeof(float));
    if (!m->layers || !m->rope_inv_freq) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory for %d layers", config->layers);
        goto done;
    }
    m->memory_bytes = cpu_model_bytes(config, dtype);
    m->memory =
        mmap(NULL, m->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->memory == MAP_FAILED) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory for the model's weights: %.2f GB are needed",
                       (double)m->memory_bytes * 1e-9);
        goto done;
    }
    /* Streams of weights cross few pages that way; only a wish. */
    madvise(m->memory, m->memory_bytes, MADV_HUGEPAGE);
    layout = (struct layout){ m, m->memory };
    each_place(config, lay_out, &layout);
    if (config->tied)
        m->head = m->embed;
    for (i = 0; i < config->layers; i++) {
        m->layers[i].window = config->windowed && config->windowed[i] ? config->window : 0;
        m->layers[i].scale = config->scale_scores ? (float)(1 / sqrt(config->head_dim)) : 1;
        if (config->scale_by_layer)
            m->layers[i].scale /= (float)(i + 1);
    }
    if (config->positions == CPU_POS_ROPE)
        make_rope(m);

    l.m = m;
    if (w) {
        rc = load_files(&l);
    } else {
        l.all = m->memory_bytes;
        each_place(config, fill_place, &l);
        rc = l.no_memory ? llem_fail(err, LLEM_ENOMEM, "no memory for a row of weights")
             : l.stopped ? LLEM_ECANCELED
                         : LLEM_OK;
    }
    if (rc == LLEM_ECANCELED)
        llem_fail(err, LLEM_ECANCELED, "stopped while reading the weights");

done:
    llem_buf_done(&l.raw);
    llem_buf_done(&l.row);
    if (rc < 0)
        cpu_model_free(m);
    else
        *out = m;
    return rc;
}

void cpu_model_free(struct cpu_model *m)
{
    if (!m)
        return;
    if (m->memory != MAP_FAILED)
        munmap(m->memory, m->memory_bytes);
    free(m->layers);
    free(m->rope_inv_freq);
    free(m);
}
