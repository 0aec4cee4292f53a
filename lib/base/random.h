/* SPDX-License-Identifier: MIT
 *
 * The Mersenne Twister as Python seeds and uses it, so that `shuffled` picks the prompts that the
 * original picks for the same seed.
 */
#ifndef LLEM_BASE_RANDOM_H
#define LLEM_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct llem_mt19937 {
    uint32_t state[624];
    int used;
};

/* As random.Random(seed): by the magnitude of the seed, in 32-bit words. */
void llem_mt19937_init(struct llem_mt19937 *r, int64_t seed);
uint32_t llem_mt19937_next(struct llem_mt19937 *r);
/* As Random._randbelow(n): evenly from 0 to n-1; n >= 1. */
uint32_t llem_mt19937_below(struct llem_mt19937 *r, uint32_t n);
/* As random.shuffle() of the numbers 0..n-1. */
void llem_mt19937_shuffle(struct llem_mt19937 *r, uint32_t *order, size_t n);

#endif
