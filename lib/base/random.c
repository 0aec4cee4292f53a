/* SPDX-License-Identifier: MIT
 *
 * MT19937 (Matsumoto and Nishimura, 1998) with seeding by array and Python's rejection of bits.
 */
#include "lib/base/random.h"

enum { N = 624, M = 397 };

static void init_by_word(struct llem_mt19937 *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
    r->used = N;
}

void llem_mt19937_init(struct llem_mt19937 *r, int64_t seed)
{
    uint64_t magnitude = seed < 0 ? 0 - (uint64_t)seed : (uint64_t)seed;
    uint32_t key[2] = { (uint32_t)magnitude, (uint32_t)(magnitude >> 32) };
    uint32_t len = key[1] ? 2 : 1, i = 1, j = 0;

    init_by_word(r, 19650218u);
    for (int k = N; k > 0; k--) {
        r->state[i] =
            (r->state[i] ^ ((r->state[i - 1] ^ (r->state[i - 1] >> 30)) * 1664525u)) + key[j] + j;
        if (++i >= N) {
            r->state[0] = r->state[N - 1];
            i = 1;
        }
        if (++j >= len)
            j = 0;
    }
    for (int k = N - 1; k > 0; k--) {
        r->state[i] =
            (r->state[i] ^ ((r->state[i - 1] ^ (r->state[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i >= N) {
            r->state[0] = r->state[N - 1];
            i = 1;
        }
    }
    r->state[0] = 0x80000000u;
}

static void refill(struct llem_mt19937 *r)
{
    for (int k = 0; k < N; k++) {
        uint32_t y = (r->state[k] & 0x80000000u) | (r->state[(k + 1) % N] & 0x7fffffffu);

        r->state[k] = r->state[(k + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->used = 0;
}

uint32_t llem_mt19937_next(struct llem_mt19937 *r)
{
    uint32_t y;

    if (r->used >= N)
        refill(r);
    y = r->state[r->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t llem_mt19937_below(struct llem_mt19937 *r, uint32_t n)
{
    int bits = 0;
    uint32_t x;

    while (bits < 32 && n >> bits)
        bits++;
    do
        x = llem_mt19937_next(r) >> (32 - bits);
    while (x >= n);
    return x;
}

void llem_mt19937_shuffle(struct llem_mt19937 *r, uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) {
        size_t j = llem_mt19937_below(r, (uint32_t)i + 1);
        uint32_t swap = order[i];

        order[i] = order[j];
        order[j] = swap;
    }
}
