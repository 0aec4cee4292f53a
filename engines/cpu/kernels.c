/* SPDX-License-Identifier: MIT
 *
 * The kernels in plain C: what the faster ones are compared with, and what runs where there is
 * none. And the choice among those that were compiled in.
 */
#include "engines/cpu/cpu.h"

#include <math.h>
#include <string.h>

float cpu_bf16_to_f32(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;

    memcpy(&f, &u, sizeof(f));
    return f;
}

uint16_t cpu_f32_to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    if ((u & 0x7fffffff) > 0x7f800000) /* NaN: keep it one */
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float cpu_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
    uint32_t u;
    float f;

    if (exponent == 0) /* zero or subnormal: mantissa * 2^-24 */
        return sign ? -(float)mantissa * 0x1p-24f : (float)mantissa * 0x1p-24f;
    u = exponent == 31 ? sign | 0x7f800000 | mantissa << 13
                       : sign | (exponent + 112) << 23 | mantissa << 13;
    memcpy(&f, &u, sizeof(f));
    return f;
}

static bool always(void)
{
    return true;
}

static void matmul_f32(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w,
                       size_t groups, size_t k)
{
    size_t i, j, c;

    for (i = 0; i < m; i++) {
        for (j = 0; j < groups * CPU_GROUP; j++) {
            const float *row = w + cpu_row_at(j, k);
            float sum = 0;

            for (c = 0; c < k; c++)
                sum += x[i * ldx + c] * row[c / CPU_PAD * CPU_GROUP * CPU_PAD + c % CPU_PAD];
            y[i * ldy + j] = sum;
        }
    }
}

static void matmul_bf16(float *y, size_t ldy, const float *x, size_t ldx, size_t m,
                        const uint16_t *w, size_t groups, size_t k)
{
    size_t i, j, c;

    for (i = 0; i < m; i++) {
        for (j = 0; j < groups * CPU_GROUP; j++) {
            const uint16_t *row = w + cpu_row_at(j, k);
            float sum = 0;

            for (c = 0; c < k; c++)
                sum += x[i * ldx + c] *
                       cpu_bf16_to_f32(row[c / CPU_PAD * CPU_GROUP * CPU_PAD + c % CPU_PAD]);
            y[i * ldy + j] = sum;
        }
    }
}

static void arrange(float *out, const float *x, size_t k)
{
    memcpy(out, x, k * sizeof(*out));
}

static void widen(float *out, const uint16_t *in, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        out[i] = cpu_bf16_to_f32(in[i]);
}

static void scores(float *out, const float *q, const float *keys, size_t n, size_t dim, float scale)
{
    size_t t, c;

    for (t = 0; t < n; t++) {
        float sum = 0;

        for (c = 0; c < dim; c++)
            sum += q[c] * keys[t * dim + c];
        out[t] = sum * scale;
    }
}

static void mix(float *out, const float *p, const float *values, size_t n, size_t dim)
{
    size_t t, c;

    memset(out, 0, dim * sizeof(*out));
    for (t = 0; t < n; t++)
        for (c = 0; c < dim; c++)
            out[c] += p[t] * values[t * dim + c];
}

static void softmax(float *x, size_t n)
{
    float max = -INFINITY, sum = 0;
    size_t i;

    for (i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - max);
    for (i = 0; i < n; i++)
        x[i] /= sum;
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void gelu_tanh(float *x, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        x[i] = 0.5f * x[i] *
               (1 + tanhf(0.7978845608028654f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
}

static size_t argmax(const float *x, size_t n)
{
    size_t i, best = 0;

    for (i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

const struct cpu_kernels cpu_kernels_scalar = {
    .name = "scalar",
    .usable = always,
    .matmul_f32 = matmul_f32,
    .matmul_bf16 = matmul_bf16,
    .arrange = arrange,
    .widen = widen,
    .scores = scores,
    .mix = mix,
    .softmax = softmax,
    .silu_mul = silu_mul,
    .gelu_tanh = gelu_tanh,
    .argmax = argmax,
};

const struct cpu_kernels *const cpu_kernels_all[] = {
#ifdef __x86_64__
    &cpu_kernels_avx2,
#endif
    &cpu_kernels_scalar,
    NULL,
};

const struct cpu_kernels *cpu_kernels_best(void)
{
    size_t i = 0;

    while (!cpu_kernels_all[i]->usable())
        i++;
    return cpu_kernels_all[i];
}

const struct cpu_kernels *cpu_kernels_find(const char *name)
{
    size_t i;

    for (i = 0; cpu_kernels_all[i]; i++)
        if (!strcmp(cpu_kernels_all[i]->name, name))
            return cpu_kernels_all[i]->usable() ? cpu_kernels_all[i] : NULL;
    return NULL;
}
