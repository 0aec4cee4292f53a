/* SPDX-License-Identifier: MIT
 *
 * The kernels for x86-64 with AVX2 and FMA. Compiled whatever the compiler's flags are for, by
 * target attributes; used where the processor has them. (AVX-512 was tried: decoding waits for
 * memory either way.)
 *
 * A product is computed in tiles of weight rows by vectors. Within a tile each sum has one
 * accumulator, to which the products of a row come in order, so a sum does not depend on the tile
 * it was in.
 *
 * A register of bfloat16 holds pairs; the even ones become float32 by a shift, the odd ones by a
 * mask. The vector that they multiply is arranged to fit once, which spares the shuffles in the
 * inner loop.
 */
#include "engines/cpu/cpu.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Rows and vectors of the tiles: one for a single vector, one for several. */
enum { ROWS_1 = CPU_GROUP, ROWS_4 = 2, VECTORS_4 = 4, BLOCK = CPU_GROUP * CPU_PAD };

static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- products -----------------------------------------------------------------------------------
 */

/* The loop over tiles is the same for all; `tile` computes some rows of the group at w by some
 * vectors. */
#define FOR_TILES(tile)                                                                            \
    do {                                                                                           \
        size_t i = 0, g, r;                                                                        \
                                                                                                   \
        for (; i + VECTORS_4 <= m; i += VECTORS_4)                                                 \
            for (g = 0; g < groups; g++)                                                           \
                for (r = 0; r < CPU_GROUP; r += ROWS_4)                                            \
                    tile(ROWS_4, VECTORS_4, y + i * ldy + g * CPU_GROUP + r, ldy, x + i * ldx,     \
                         ldx, w + g * CPU_GROUP * k + r * CPU_PAD, k);                             \
        for (; i < m; i++)                                                                         \
            for (g = 0; g < groups; g++)                                                           \
                tile(ROWS_1, 1, y + i * ldy + g * CPU_GROUP, ldy, x + i * ldx, ldx,                \
                     w + g * CPU_GROUP * k, k);                                                    \
    } while (0)

AVX2 INLINE float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
    return _mm_cvtss_f32(s);
}

AVX2 INLINE void tile_f32(int rows, int vectors, float *y, size_t ldy, const float *x, size_t ldx,
                          const float *w, size_t k)
{
    __m256 acc[CPU_GROUP][VECTORS_4], a;
    int r, v, part;
    size_t c;

    UNROLL
    for (r = 0; r < rows; r++)
        UNROLL
    for (v = 0; v < vectors; v++)
        acc[r][v] = _mm256_setzero_ps();
    for (c = 0; c < k; c += CPU_PAD, w += BLOCK) {
        UNROLL
        for (r = 0; r < rows; r++) {
            UNROLL
            for (part = 0; part < CPU_PAD; part += 8) {
                a = _mm256_load_ps(w + r * CPU_PAD + part);
                UNROLL
                for (v = 0; v < vectors; v++)
                    acc[r][v] = _mm256_fmadd_ps(
                        a, _mm256_load_ps(x + (size_t)v * ldx + c + (size_t)part), acc[r][v]);
            }
        }
    }
    UNROLL
    for (r = 0; r < rows; r++)
        UNROLL
    for (v = 0; v < vectors; v++)
        y[(size_t)v * ldy + (size_t)r] = sum8(acc[r][v]);
}

AVX2 INLINE void tile_bf16(int rows, int vectors, float *y, size_t ldy, const float *x, size_t ldx,
                           const uint16_t *w, size_t k)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    __m256 acc[CPU_GROUP][VECTORS_4], even, odd;
    __m256i pairs;
    int r, v, part;
    size_t c;

    UNROLL
    for (r = 0; r < rows; r++)
        UNROLL
    for (v = 0; v < vectors; v++)
        acc[r][v] = _mm256_setzero_ps();
    for (c = 0; c < k; c += CPU_PAD, w += BLOCK) {
        UNROLL
        for (r = 0; r < rows; r++) {
            UNROLL
            for (part = 0; part < CPU_PAD; part += 16) {
                pairs = _mm256_load_si256((const __m256i *)(const void *)(w + r * CPU_PAD + part));
                even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
                odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, high));
                UNROLL
                for (v = 0; v < vectors; v++) {
                    const float *at = x + (size_t)v * ldx + c + (size_t)part;

                    acc[r][v] = _mm256_fmadd_ps(even, _mm256_load_ps(at), acc[r][v]);
                    acc[r][v] = _mm256_fmadd_ps(odd, _mm256_load_ps(at + 8), acc[r][v]);
                }
            }
        }
    }
    UNROLL
    for (r = 0; r < rows; r++)
        UNROLL
    for (v = 0; v < vectors; v++)
        y[(size_t)v * ldy + (size_t)r] = sum8(acc[r][v]);
}

AVX2 static void matmul_f32(float *y, size_t ldy, const float *x, size_t ldx, size_t m,
                            const float *w, size_t groups, size_t k)
{
    FOR_TILES(tile_f32);
}

AVX2 static void matmul_bf16(float *y, size_t ldy, const float *x, size_t ldx, size_t m,
                             const uint16_t *w, size_t groups, size_t k)
{
    FOR_TILES(tile_bf16);
}

/* Of each 16 numbers the even ones, then the odd ones. */
static void arrange(float *out, const float *x, size_t k)
{
    size_t c, i;

    for (c = 0; c < k; c += 16) {
        for (i = 0; i < 8; i++) {
            out[c + i] = x[c + 2 * i];
            out[c + 8 + i] = x[c + 2 * i + 1];
        }
    }
}

AVX2 static void widen(float *out, const uint16_t *in, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in + i));

        _mm256_storeu_ps(out + i,
                         _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)));
    }
    for (; i < n; i++)
        out[i] = cpu_bf16_to_f32(in[i]);
}

/* ---- attention
 * ------------------------------------------------------------------------------------ */

AVX2 static void scores(float *out, const float *q, const float *keys, size_t n, size_t dim,
                        float scale)
{
    size_t t, c;

    for (t = 0; t < n; t++) {
        const float *key = keys + t * dim;
        __m256 a = _mm256_setzero_ps(), b = a;
        float sum;

        for (c = 0; c + 16 <= dim; c += 16) {
            a = _mm256_fmadd_ps(_mm256_loadu_ps(q + c), _mm256_loadu_ps(key + c), a);
            b = _mm256_fmadd_ps(_mm256_loadu_ps(q + c + 8), _mm256_loadu_ps(key + c + 8), b);
        }
        sum = sum8(_mm256_add_ps(a, b));
        for (; c < dim; c++)
            sum += q[c] * key[c];
        out[t] = sum * scale;
    }
}

AVX2 static void mix(float *out, const float *p, const float *values, size_t n, size_t dim)
{
    size_t t, c = 0;

    for (; c + 32 <= dim; c += 32) {
        __m256 a = _mm256_setzero_ps(), b = a, d = a, e = a;

        for (t = 0; t < n; t++) {
            const float *v = values + t * dim + c;
            __m256 w = _mm256_broadcast_ss(p + t);

            a = _mm256_fmadd_ps(w, _mm256_loadu_ps(v), a);
            b = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + 8), b);
            d = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + 16), d);
            e = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + 24), e);
        }
        _mm256_storeu_ps(out + c, a);
        _mm256_storeu_ps(out + c + 8, b);
        _mm256_storeu_ps(out + c + 16, d);
        _mm256_storeu_ps(out + c + 24, e);
    }
    for (; c + 8 <= dim; c += 8) {
        __m256 a = _mm256_setzero_ps();

        for (t = 0; t < n; t++)
            a = _mm256_fmadd_ps(_mm256_broadcast_ss(p + t), _mm256_loadu_ps(values + t * dim + c),
                                a);
        _mm256_storeu_ps(out + c, a);
    }
    for (; c < dim; c++) {
        float sum = 0;

        for (t = 0; t < n; t++)
            sum += p[t] * values[t * dim + c];
        out[c] = sum;
    }
}

/* ---- functions of one number
 * -------------------------------------------------------------------------- */

/* e^x to within 2 units in the last place: 2^n times a polynomial on [-ln2/2, ln2/2] (coefficients
 * of the Cephes library's expf). Below -87.3 the result is 2^-126, above 88.3 about 2^127. */
AVX2 INLINE __m256 exp8(__m256 x)
{
    __m256 n, r, p;

    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.3f)), _mm256_set1_ps(88.3f));
    n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
    p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1)));
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}

/* The last few of n numbers at x, in a register; `fill` for what is not there. */
AVX2 INLINE __m256 load_part(const float *x, size_t n, float fill)
{
    float part[8];
    size_t i;

    for (i = 0; i < 8; i++)
        part[i] = i < n ? x[i] : fill;
    return _mm256_loadu_ps(part);
}

AVX2 INLINE void store_part(float *x, size_t n, __m256 v)
{
    float part[8];

    _mm256_storeu_ps(part, v);
    memcpy(x, part, n * sizeof(*x));
}

AVX2 static void softmax(float *x, size_t n)
{
    __m256 max = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps(), e;
    size_t i, j;
    float m, part[8];

    for (i = 0; i + 8 <= n; i += 8)
        max = _mm256_max_ps(max, _mm256_loadu_ps(x + i));
    _mm256_storeu_ps(part, max);
    m = part[0];
    for (j = 1; j < 8; j++)
        m = part[j] > m ? part[j] : m;
    for (j = i; j < n; j++)
        m = x[j] > m ? x[j] : m;

    max = _mm256_set1_ps(m);
    for (i = 0; i + 8 <= n; i += 8) {
        e = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), max));
        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    m = sum8(sum);
    if (i < n) {
        store_part(x + i, n - i, exp8(_mm256_sub_ps(load_part(x + i, n - i, 0), max)));
        for (j = i; j < n; j++)
            m += x[j];
    }
    sum = _mm256_set1_ps(1 / m);
    for (i = 0; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), sum));
    for (; i < n; i++)
        x[i] *= 1 / m;
}

/* a / (1 + e^-b) */
AVX2 INLINE __m256 gate8(__m256 a, __m256 b)
{
    __m256 one = _mm256_set1_ps(1);

    return _mm256_div_ps(a, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), b))));
}

AVX2 static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i;

    for (i = 0; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);

        _mm256_storeu_ps(out + i, _mm256_mul_ps(gate8(g, g), _mm256_loadu_ps(up + i)));
    }
    if (i < n) {
        __m256 g = load_part(gate + i, n - i, 0);

        store_part(out + i, n - i, _mm256_mul_ps(gate8(g, g), load_part(up + i, n - i, 0)));
    }
}

/* x/2 * (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) * (x + 0.044715 x^3) */
AVX2 INLINE __m256 gelu8(__m256 x)
{
    __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);

    return gate8(x, _mm256_mul_ps(_mm256_set1_ps(2 * 0.7978845608028654f),
                                  _mm256_fmadd_ps(_mm256_set1_ps(0.044715f), cube, x)));
}

AVX2 static void gelu_tanh(float *x, size_t n)
{
    size_t i;

    for (i = 0; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, gelu8(_mm256_loadu_ps(x + i)));
    if (i < n)
        store_part(x + i, n - i, gelu8(load_part(x + i, n - i, 0)));
}

AVX2 static size_t argmax(const float *x, size_t n)
{
    __m256 max = _mm256_set1_ps(-INFINITY);
    float part[8], m;
    size_t i;

    for (i = 0; i + 8 <= n; i += 8)
        max = _mm256_max_ps(max, _mm256_loadu_ps(x + i));
    for (m = -INFINITY; i < n; i++)
        m = x[i] > m ? x[i] : m;
    _mm256_storeu_ps(part, max);
    for (i = 0; i < 8; i++)
        m = part[i] > m ? part[i] : m;
    for (i = 0; i < n; i++)
        if (x[i] == m)
            return i;
    return 0;
}

const struct cpu_kernels cpu_kernels_avx2 = {
    .name = "avx2",
    .usable = has_avx2,
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

#endif
