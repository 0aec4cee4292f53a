/* SPDX-License-Identifier: MIT
 *
 * From logits to a token: penalty, temperature, top-k, top-p, min-p in the order of transformers,
 * then a draw. Each request has a random stream of its own, so that a draw does not depend on its
 * neighbours.
 */
#include "engines/cpu/cpu.h"

#include <math.h>
#include <string.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void cpu_rng_init(struct cpu_rng *r, int64_t seed, int64_t index)
{
    uint64_t state = (uint64_t)seed;
    int i;

    state = splitmix64(&state) ^ (uint64_t)index;
    for (i = 0; i < 4; i++)
        r->s[i] = splitmix64(&state);
}

/* xoshiro256** (Blackman and Vigna), the upper 53 bits. */
double cpu_rng_next(struct cpu_rng *r)
{
    uint64_t x = r->s[1] * 5, out = (x << 7 | x >> 57) * 9, t = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = r->s[3] << 45 | r->s[3] >> 19;
    return (double)(out >> 11) * 0x1p-53;
}

/* Each token of the list once: positive logits are divided by the penalty, negative ones
 * multiplied. */
static void penalize(const struct cpu_sampler *s, float *logits, const int32_t *ids, size_t n,
                     float penalty)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint8_t *mark = &s->marks[ids[i] / 8], bit = (uint8_t)(1u << (ids[i] % 8));

        if (*mark & bit)
            continue;
        *mark |= bit;
        logits[ids[i]] = logits[ids[i]] > 0 ? logits[ids[i]] / penalty : logits[ids[i]] * penalty;
    }
}

static void unmark(const struct cpu_sampler *s, const int32_t *ids, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        s->marks[ids[i] / 8] = 0;
}

static bool above(const struct cpu_candidate *a, const struct cpu_candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sift_down(struct cpu_candidate *heap, size_t n, size_t i)
{
    struct cpu_candidate c = heap[i];
    size_t child;

    while ((child = 2 * i + 1) < n) {
        if (child + 1 < n && above(&heap[child + 1], &heap[child]))
            child++;
        if (!above(&heap[child], &c))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = c;
}

static void make_heap(struct cpu_candidate *c, size_t n)
{
    size_t i;

    for (i = n / 2; i-- > 0;)
        sift_down(c, n, i);
}

/* Move the largest of the heap's n candidates to its end. */
static void pop(struct cpu_candidate *heap, size_t n)
{
    struct cpu_candidate top = heap[0];

    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    if (n > 1)
        sift_down(heap, n - 1, 0);
}

/* Move the k largest to the end, and with them what is as large as the last; returns how many. */
static size_t take_top_k(struct cpu_candidate *c, size_t n, size_t k)
{
    size_t kept;

    make_heap(c, n);
    for (kept = 0; kept < n && (kept < k || c[0].logit == c[n - kept].logit); kept++)
        pop(c, n - kept);
    return kept;
}

/* Move the largest to the end until they have the share p of all probability; returns how many. */
static size_t take_top_p(struct cpu_candidate *c, size_t n, double p)
{
    double all = 0, mass = 0;
    size_t kept, i;

    for (i = 0; i < n; i++)
        all += exp(c[i].logit);
    make_heap(c, n);
    for (kept = 0; kept < n && (kept == 0 || mass < p * all); kept++) {
        pop(c, n - kept);
        mass += exp(c[n - 1 - kept].logit);
    }
    return kept;
}

int32_t cpu_sample(const struct cpu_sampler *s, const struct cpu_sampling *o,
                   const struct cpu_kernels *k, float *logits, const int32_t *prompt,
                   size_t n_prompt, const int32_t *output, size_t n_output, struct cpu_rng *rng)
{
    struct cpu_candidate *c = s->candidates;
    size_t n = (size_t)s->vocab, i, kept, last = 0;
    double max, sum = 0, draw;

    if (o->repetition_penalty != 1) {
        penalize(s, logits, prompt, n_prompt, (float)o->repetition_penalty);
        penalize(s, logits, output, n_output, (float)o->repetition_penalty);
        unmark(s, prompt, n_prompt);
        unmark(s, output, n_output);
    }
    if (!o->sample)
        return (int32_t)k->argmax(logits, n);

    /* In this scale the largest has e^0, so that nothing overflows and min-p compares as it is. */
    max = logits[k->argmax(logits, n)] / o->temperature;
    for (i = 0; i < n; i++)
        c[i] = (struct cpu_candidate){ (float)(logits[i] / o->temperature - max), (int32_t)i };
    if (o->top_k > 0 && (size_t)o->top_k < n) {
        kept = take_top_k(c, n, (size_t)o->top_k);
        c += n - kept;
        n = kept;
    }
    if (o->top_p < 1) {
        kept = take_top_p(c, n, o->top_p);
        c += n - kept;
        n = kept;
    }
    for (i = 0; i < n; i++) {
        if (o->min_p > 0 && exp(c[i].logit) < o->min_p)
            c[i].logit = -INFINITY;
        sum += exp(c[i].logit);
    }
    draw = cpu_rng_next(rng) * sum;
    for (i = 0, sum = 0; i < n; i++) {
        sum += exp(c[i].logit);
        if (c[i].logit > -INFINITY)
            last = i;
        if (draw < sum)
            break;
    }
    return c[last].id;
}
