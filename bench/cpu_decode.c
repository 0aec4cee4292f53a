/* SPDX-License-Identifier: MIT
 *
 * How fast the engine `cpu` decodes: a model directory's shapes with random weights, one prompt of
 * random ids, and how much of the memory's read bandwidth that is. Prints one JSON object.
 *
 *     cpu_decode DIR [float32|bfloat16] [INPUT_TOKENS] [OUTPUT_TOKENS] [BATCH] [THREADS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/cpu/cpu.h"
#include "lib/base/json.h"
#include "lib/engine/engine.h"

enum { RUNS = 3, PROBES = 5 };
static const size_t probe_bytes = (size_t)1 << 30;

/* Durations of steps: of those that decode, and the sum of those that prefill. */
struct steps {
    double decode_s[1 << 16], prefill_s;
    size_t n;
    int64_t prefill_tokens;
};

static void on_step(void *user, const struct llem_engine_step *s)
{
    struct steps *steps = user;
    double took = (double)(s->end_ns - s->begin_ns) * 1e-9;

    if (s->prefill_tokens) {
        steps->prefill_s += took;
        steps->prefill_tokens += s->prefill_tokens;
    } else if (steps->n < LLEM_COUNT(steps->decode_s)) {
        steps->decode_s[steps->n++] = took;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void on_request(void *user, const struct llem_receipt *r)
{
}

/* Reading alone: every thread adds up its share, in pieces handed out as the engine's work is. */
struct probe {
    const char *data;
    uint64_t sums[256];
};

enum { PIECE = 1 << 20 };

#ifdef __x86_64__
#include <immintrin.h>
__attribute__((target("avx2"))) static uint64_t sum_piece(const char *p)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    uint64_t out[4];
    size_t i;

    for (i = 0; i < PIECE; i += 128) {
        const __m256i *v = (const __m256i *)(const void *)(p + i);

        a = _mm256_add_epi64(a, _mm256_load_si256(v));
        b = _mm256_add_epi64(b, _mm256_load_si256(v + 1));
        c = _mm256_add_epi64(c, _mm256_load_si256(v + 2));
        d = _mm256_add_epi64(d, _mm256_load_si256(v + 3));
    }
    a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
    _mm256_storeu_si256((__m256i *)(void *)out, a);
    return out[0] + out[1] + out[2] + out[3];
}
#else
static uint64_t sum_piece(const char *p)
{
    const uint64_t *v = (const uint64_t *)(const void *)p;
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < PIECE / sizeof(*v); i++)
        sum += v[i];
    return sum;
}
#endif

static void probe_item(void *arg, int item, int thread)
{
    struct probe *p = arg;

    p->sums[thread % 256] += sum_piece(p->data + (size_t)item * PIECE);
}

static double read_bandwidth(int threads)
{
    struct probe p = { 0 };
    struct cpu_pool *pool;
    double best = 0;
    char *data;
    int i;

    data = mmap(NULL, probe_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED || cpu_pool_new(&pool, threads, NULL) < 0)
        return 0;
    madvise(data, probe_bytes, MADV_HUGEPAGE);
    memset(data, 1, probe_bytes);
    p.data = data;
    for (i = 0; i < PROBES; i++) {
        int64_t begin = llem_now_ns(&llem_system_clock), end;
        double bandwidth;

        cpu_pool_run(pool, probe_item, &p, (int)(probe_bytes / PIECE));
        end = llem_now_ns(&llem_system_clock);
        bandwidth = (double)probe_bytes / (double)(end - begin);
        best = bandwidth > best ? bandwidth : best;
    }
    cpu_pool_free(pool);
    munmap(data, probe_bytes);
    return best * 1e9;
}

int main(int argc, char **argv)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *config = llem_map(&a), *loaded;
    int input = argc > 3 ? atoi(argv[3]) : 32, output = argc > 4 ? atoi(argv[4]) : 64;
    int batch = argc > 5 ? atoi(argv[5]) : 1, threads = argc > 6 ? atoi(argv[6]) : cpu_count(true),
        i;
    struct llem_prompt *prompts = calloc((size_t)batch, sizeof(*prompts));
    int32_t *ids = calloc((size_t)input, sizeof(*ids)),
            *lengths = calloc((size_t)batch, sizeof(*lengths));
    int32_t *indices = calloc((size_t)batch, sizeof(*indices)), truncated;
    atomic_int cancel = 0;
    struct steps *steps = calloc(1, sizeof(*steps));
    struct llem_engine_args args = { .config = config, .dir = ".", .cancel = &cancel };
    llem_error err = { 0 };
    void *engine;
    double bandwidth, bytes, median;

    if (argc < 2 || !prompts || !ids || !lengths || !indices || !steps) {
        fprintf(stderr, "usage: cpu_decode DIR [DTYPE] [INPUT] [OUTPUT] [BATCH] [THREADS]\n");
        return 2;
    }
    llem_set_at(&a, config, "cpu.dtype", llem_string(&a, argc > 2 ? argv[2] : "bfloat16"));
    llem_set_at(&a, config, "cpu.load_format", llem_string(&a, "dummy"));
    llem_set_at(&a, config, "cpu.batch_size", llem_int(&a, batch));
    llem_set_at(&a, config, "cpu.threads", llem_int(&a, threads));
    llem_set_at(&a, config, "task.max_output_tokens", llem_int(&a, output));
    llem_set_at(&a, config, "task.ignore_eos", llem_bool(&a, true));
    args.model_path = argv[1];
    if (llem_ctx_new(&args.ctx, NULL, &err) < 0 || llem_engine_cpu.create(&engine, &args, &err) < 0)
        goto failed;
    for (i = 0; i < input; i++)
        ids[i] = (i * 7919 + 13) % 1000;
    for (i = 0; i < batch; i++) {
        prompts[i] = (struct llem_prompt){ .ids = ids, .n_ids = (size_t)input };
        indices[i] = i;
    }
    if (llem_engine_cpu.load_prompts(engine, prompts, (size_t)batch, lengths, &truncated, &err) <
            0 ||
        llem_engine_cpu.load_model(engine, &a, &loaded, &err) < 0)
        goto failed;
    for (i = 0; i < RUNS; i++) {
        struct llem_receipts receipts = { on_request, on_step, steps };
        struct llem_pass pass = { .indices = indices, .count = (size_t)batch, .repeats = 1 };
        struct llem_inference out;

        if (llem_engine_cpu.run_inference(engine, &pass, &receipts, &out, &err) < 0)
            goto failed;
    }
    qsort(steps->decode_s, steps->n, sizeof(*steps->decode_s), ascending);
    median = steps->n ? batch / steps->decode_s[steps->n / 2] : 0;
    llem_engine_cpu.cleanup(engine);
    bandwidth = read_bandwidth(threads);
    /* Each step reads every weight once; of an untied embedding, one row. */
    bytes = (double)llem_int_at(loaded, "model.weights_bytes", 0);
    printf("{\"threads\": %d, \"dtype\": \"%s\", \"kernels\": \"%s\", \"blas\": \"%s\", "
           "\"load_s\": %.2f, "
           "\"prefill_tokens_per_s\": %.1f, \"decode_tokens_per_s\": %.2f, "
           "\"best_decode_tokens_per_s\": %.2f, \"weights_bytes\": %.0f, "
           "\"read_bandwidth_gb_per_s\": %.2f, \"share_of_bandwidth\": %.3f}\n",
           threads, llem_str_at(loaded, "effective.dtype", ""),
           llem_str_at(loaded, "effective.kernels", ""),
           llem_str_at(loaded, "effective.blas", "none"), llem_real_at(loaded, "load_s", 0),
           (double)steps->prefill_tokens / steps->prefill_s, median,
           steps->n ? batch / steps->decode_s[0] : 0, bytes, bandwidth * 1e-9,
           bandwidth > 0 ? median / batch * bytes / bandwidth : 0);
    llem_engine_cpu.destroy(engine);
    llem_ctx_free(args.ctx);
    llem_arena_done(&a);
    free(prompts);
    free(ids);
    free(lengths);
    free(indices);
    free(steps);
    return 0;

failed:
    fprintf(stderr, "cpu_decode: %s\n", err.msg);
    return 1;
}
