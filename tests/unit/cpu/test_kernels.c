/* SPDX-License-Identifier: MIT
 *
 * Each set of kernels against the scalar one and against sums in double; and the threads that share
 * the work.
 */
#include <math.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/cpu/cpu_test.h"

static uint64_t seed = 20260131;

static float uniform(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(seed >> 11) * 0x1p-53 * 2 - 1);
}

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(*x) + 63) / 64 * 64);
    size_t i;

    assert_non_null(x);
    for (i = 0; i < n; i++)
        x[i] = uniform();
    return x;
}

static void check_products(const struct cpu_kernels *k, size_t m, size_t groups, size_t cols)
{
    size_t rows = groups * CPU_GROUP, i, j, c, at;
    float *x = numbers(m * cols), *w = numbers(rows * cols), *y = numbers(m * rows),
          *arranged = numbers(m * cols), *single = numbers(rows);
    uint16_t *half = aligned_alloc(64, rows * cols * sizeof(*half));

    assert_non_null(half);
    for (i = 0; i < rows * cols; i++)
        half[i] = cpu_f32_to_bf16(w[i]);
    for (i = 0; i < m; i++)
        k->arrange(arranged + i * cols, x + i * cols, cols);

    for (int bf16 = 0; bf16 < 2; bf16++) {
        if (bf16)
            k->matmul_bf16(y, rows, arranged, cols, m, half, groups, cols);
        else
            k->matmul_f32(y, rows, x, cols, m, w, groups, cols);
        for (i = 0; i < m; i++) {
            for (j = 0; j < rows; j++) {
                double sum = 0, size = 0;

                for (c = 0; c < cols; c++) {
                    double value;

                    at = cpu_row_at(j, cols) + c / CPU_PAD * CPU_GROUP * CPU_PAD + c % CPU_PAD;
                    value = bf16 ? (double)cpu_bf16_to_f32(half[at]) : (double)w[at];
                    sum += (double)x[i * cols + c] * value;
                    size += fabs((double)x[i * cols + c] * value);
                }
                if (fabs((double)y[i * rows + j] - sum) > size * 1e-5)
                    fail_msg("%s: %g for %g", k->name, (double)y[i * rows + j], sum);
            }
        }
        /* A row of a batch is bit for bit what it is alone. */
        for (i = 0; i < m; i++) {
            if (bf16)
                k->matmul_bf16(single, rows, arranged + i * cols, cols, 1, half, groups, cols);
            else
                k->matmul_f32(single, rows, x + i * cols, cols, 1, w, groups, cols);
            assert_memory_equal(single, y + i * rows, rows * sizeof(*y));
        }
    }
    free(x);
    free(w);
    free(y);
    free(arranged);
    free(single);
    free(half);
}

static void products_of_all_kernels_agree_with_sums_in_double(void **state)
{
    static const struct {
        size_t m, groups, cols;
    } shapes[] = { { 1, 1, 32 },  { 1, 3, 96 },  { 4, 2, 64 },
                   { 5, 2, 160 }, { 3, 1, 928 }, { 9, 4, 32 } };
    size_t i;
    int k;

    for (k = 0; cpu_kernels_all[k]; k++)
        for (i = 0; cpu_kernels_all[k]->usable() && i < LLEM_COUNT(shapes); i++)
            check_products(cpu_kernels_all[k], shapes[i].m, shapes[i].groups, shapes[i].cols);
}

static void assert_near(const char *name, const float *got, const float *want, size_t n,
                        double relative)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= relative * (fabs((double)want[i]) + 1e-6)))
            fail_msg("%s: element %zu of %zu is %g for %g", name, i, n, (double)got[i],
                     (double)want[i]);
}

static void the_other_kernels_agree_with_the_scalar_ones(void **state)
{
    const struct cpu_kernels *s = &cpu_kernels_scalar;
    size_t n;
    int which;

    for (which = 0; cpu_kernels_all[which]; which++) {
        const struct cpu_kernels *k = cpu_kernels_all[which];

        if (!k->usable())
            continue;
        for (n = 1; n < 80; n++) {
            float *a = numbers(n * n), *b = numbers(n), *x = numbers(n), *y = numbers(n);
            uint16_t half[80];
            size_t i;

            for (i = 0; i < n; i++) {
                b[i] *= 30;
                half[i] = cpu_f32_to_bf16(a[i]);
            }
            k->scores(x, b, a, n, n, 0.5f);
            s->scores(y, b, a, n, n, 0.5f);
            for (i = 0; i < n; i++)
                assert_true(fabsf(x[i] - y[i]) < 1e-5f * 30 * (float)n);
            k->mix(x, b, a, n, n);
            s->mix(y, b, a, n, n);
            for (i = 0; i < n; i++)
                assert_true(fabsf(x[i] - y[i]) < 1e-5f * 30 * (float)n);
            k->widen(x, half, n);
            s->widen(y, half, n);
            assert_memory_equal(x, y, n * sizeof(*x));
            memcpy(x, b, n * sizeof(*x));
            memcpy(y, b, n * sizeof(*y));
            k->softmax(x, n);
            s->softmax(y, n);
            assert_near("softmax", x, y, n, 1e-5);
            k->silu_mul(x, b, a, n);
            s->silu_mul(y, b, a, n);
            assert_near("silu_mul", x, y, n, 1e-5);
            memcpy(x, b, n * sizeof(*x));
            memcpy(y, b, n * sizeof(*y));
            k->gelu_tanh(x, n);
            s->gelu_tanh(y, n);
            for (i = 0; i < n; i++)
                assert_true(fabsf(x[i] - y[i]) <= 2e-6f * (1 + fabsf(y[i])));
            assert_int_equal(k->argmax(a, n), s->argmax(a, n));
            a[n / 2] = a[n - 1] = 9;
            assert_int_equal(k->argmax(a, n), n / 2);
            free(a);
            free(b);
            free(x);
            free(y);
        }
    }
}

static void large_numbers_stay_numbers(void **state)
{
    int which;

    for (which = 0; cpu_kernels_all[which]; which++) {
        const struct cpu_kernels *k = cpu_kernels_all[which];
        float gate[] = { -1e30f, 1e30f, -200, 200, 0, -0.0f, 88, -88, 90 }, out[9], up[9];
        size_t i;

        if (!k->usable())
            continue;
        for (i = 0; i < 9; i++)
            up[i] = 1;
        k->silu_mul(out, gate, up, 9);
        assert_true(fabsf(out[0]) <= 1 && out[1] == 1e30f && fabsf(out[2]) < 1e-6f &&
                    out[3] == 200 && out[4] == 0);
        k->softmax(gate, 9);
        assert_true(gate[1] == 1 && gate[0] < 1e-30f && gate[8] < 1e-30f);
    }
}

/* Every half-precision number; NaNs as NaNs. */
static void half_precision_numbers_convert_exactly(void **state)
{
    uint32_t i;

    for (i = 0; i < 0x10000; i++) {
        uint32_t exponent = i >> 10 & 0x1f, mantissa = i & 0x3ff;
        double want = exponent == 0    ? ldexp(mantissa, -24)
                      : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                       : ldexp(1024 + mantissa, (int)exponent - 25);
        float got = cpu_f16_to_f32((uint16_t)i), wide = cpu_bf16_to_f32((uint16_t)i);

        if (i & 0x8000)
            want = -want;
        assert_true(isnan(want) ? isnan(got)
                                : (double)got == want && !signbit(got) == !signbit(want));
        if (!isnan(wide))
            assert_int_equal(cpu_f32_to_bf16(wide), i);
        else
            assert_true(isnan(cpu_bf16_to_f32(cpu_f32_to_bf16(wide))));
    }
    assert_int_equal(cpu_f32_to_bf16(1.00390625f), 0x3f80); /* half way: to the even one */
    assert_int_equal(cpu_f32_to_bf16(1.01171875f), 0x3f82);
    assert_int_equal(cpu_f32_to_bf16(1.00390637f), 0x3f81);
}

/* ---- threads ---- */

struct counting {
    atomic_int times[1000];
    atomic_int threads;
};

static void count(void *arg, int item, int thread)
{
    struct counting *c = arg;

    atomic_fetch_add(&c->times[item], 1);
    atomic_fetch_or(&c->threads, 1 << thread);
}

static void every_item_is_done_once_by_the_threads_there_are(void **state)
{
    static const int threads[] = { 1, 2, 5 };
    size_t t;

    for (t = 0; t < LLEM_COUNT(threads); t++) {
        struct cpu_pool *pool = NULL;
        struct counting *c = calloc(1, sizeof(*c));
        int round, i;

        assert_non_null(c);
        assert_int_equal(cpu_pool_new(&pool, threads[t], NULL), LLEM_OK);
        assert_int_equal(cpu_pool_threads(pool), threads[t]);
        for (round = 0; round < 300; round++) {
            cpu_pool_run(pool, count, c, round % 7 == 0 ? 1 : 1000);
            if (round % 100 == 50)
                usleep(2000); /* long enough for all to sleep */
        }
        for (i = 0; i < 1000; i++)
            assert_int_equal(atomic_load(&c->times[i]), i == 0 ? 300 : 300 - 43);
        assert_true(atomic_load(&c->threads) < 1 << threads[t]);
        cpu_pool_free(pool);
        free(c);
    }
}

static void idle_threads_sleep(void **state)
{
    struct cpu_pool *pool = NULL;
    struct counting *c = calloc(1, sizeof(*c));
    struct timespec before, after;
    double used;

    assert_non_null(c);
    assert_int_equal(cpu_pool_new(&pool, 3, NULL), LLEM_OK);
    cpu_pool_run(pool, count, c, 100);
    usleep(20000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(200000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    assert_true(used < 0.002);
    cpu_pool_free(pool);
    free(c);
}

static void a_pool_of_no_or_too_many_threads_is_refused(void **state)
{
    struct cpu_pool *pool = NULL;
    llem_error err = { 0 };

    assert_sentence(cpu_pool_new(&pool, 0, &err), &err, "0");
    assert_sentence(cpu_pool_new(&pool, 100000, &err), &err, "100000");
    assert_true(cpu_count(true) >= 1 && cpu_count(true) <= cpu_count(false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_kernels_agree_with_sums_in_double),
        cmocka_unit_test(the_other_kernels_agree_with_the_scalar_ones),
        cmocka_unit_test(large_numbers_stay_numbers),
        cmocka_unit_test(half_precision_numbers_convert_exactly),
        cmocka_unit_test(every_item_is_done_once_by_the_threads_there_are),
        cmocka_unit_test(idle_threads_sleep),
        cmocka_unit_test(a_pool_of_no_or_too_many_threads_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
