/* SPDX-License-Identifier: MIT
 *
 * Unicode normalisation form C, which tokenizers of the Qwen family apply before anything else.
 * With tables of our own instead of a library's, a text has the same tokens on every machine,
 * whatever version of the library that has.
 */
#include "engines/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "engines/cpu/nfc_table.h"

enum {
    S_BASE = 0xac00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11a7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT,
};

/*
 * A character under way, so that sorting numbers puts a run of marks into canonical order and keeps
 * marks of one class as they stood: class, position, code point.
 */
#define ITEM(class, position, cp)                                                                  \
    ((uint64_t)(class) << 56 | ((uint64_t)(position)&0xffffffff) << 24 | (cp))
#define ITEM_CLASS(item) ((int)((item) >> 56))
#define ITEM_CP(item) ((uint32_t)(item)&0xffffff)

static int combining_class(uint32_t cp)
{
    size_t lo = 0, hi = LLEM_COUNT(classes);

    if (cp < classes[0][0])
        return 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (cp < classes[mid][0])
            hi = mid;
        else if (cp > classes[mid][1])
            lo = mid + 1;
        else
            return (int)classes[mid][2];
    }
    return 0;
}

static const uint32_t *decomposition(uint32_t cp)
{
    size_t lo = 0, hi = LLEM_COUNT(decompositions);

    if (cp < decompositions[0][0])
        return NULL;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (cp < decompositions[mid][0])
            hi = mid;
        else if (cp > decompositions[mid][0])
            lo = mid + 1;
        else
            return decompositions[mid];
    }
    return NULL;
}

/* The character that a pair composes to; 0 = none. */
static uint32_t composition(uint32_t first, uint32_t second)
{
    size_t lo = 0, hi = LLEM_COUNT(compositions);

    if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
    if (first - S_BASE < S_COUNT && (first - S_BASE) % T_COUNT == 0 && second > T_BASE &&
        second < T_BASE + T_COUNT)
        return first + (second - T_BASE);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const uint32_t *c = compositions[mid];

        if (first < c[0] || (first == c[0] && second < c[1]))
            hi = mid;
        else if (first > c[0] || second > c[1])
            lo = mid + 1;
        else
            return c[2];
    }
    return 0;
}

static void push(struct llem_buf *items, uint32_t cp)
{
    uint64_t item = ITEM(combining_class(cp), items->len / sizeof(item), cp);

    llem_buf_add(items, &item, sizeof(item));
}

static void decompose(struct llem_buf *items, uint32_t cp)
{
    uint32_t tail[8], s = cp - S_BASE;
    const uint32_t *d;
    int n = 0;

    if (s < S_COUNT) {
        push(items, L_BASE + s / (V_COUNT * T_COUNT));
        push(items, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT);
        if (s % T_COUNT)
            push(items, T_BASE + s % T_COUNT);
        return;
    }
    /* Only the first part decomposes further, at most three times in all of Unicode. */
    while ((d = decomposition(cp)) && n < (int)LLEM_COUNT(tail)) {
        if (d[2])
            tail[n++] = d[2];
        cp = d[1];
    }
    push(items, cp);
    while (n > 0)
        push(items, tail[--n]);
}

static uint32_t next_char(const unsigned char **at, const unsigned char *end)
{
    const unsigned char *s = *at;
    int more = *s < 0x80 ? 0 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : 3;
    uint32_t cp = more == 0 ? *s : *s & (0x3fu >> more);

    for (s++; more > 0 && s < end; more--)
        cp = cp << 6 | (*s++ & 0x3f);
    *at = s;
    return cp;
}

static void put_char(struct llem_buf *out, uint32_t cp)
{
    if (cp < 0x80) {
        llem_buf_addc(out, (char)cp);
    } else if (cp < 0x800) {
        llem_buf_addc(out, (char)(0xc0 | cp >> 6));
        llem_buf_addc(out, (char)(0x80 | (cp & 0x3f)));
    } else if (cp < 0x10000) {
        llem_buf_addc(out, (char)(0xe0 | cp >> 12));
        llem_buf_addc(out, (char)(0x80 | (cp >> 6 & 0x3f)));
        llem_buf_addc(out, (char)(0x80 | (cp & 0x3f)));
    } else {
        llem_buf_addc(out, (char)(0xf0 | cp >> 18));
        llem_buf_addc(out, (char)(0x80 | (cp >> 12 & 0x3f)));
        llem_buf_addc(out, (char)(0x80 | (cp >> 6 & 0x3f)));
        llem_buf_addc(out, (char)(0x80 | (cp & 0x3f)));
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

void cpu_nfc(struct llem_buf *out, const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    struct llem_buf work;
    uint64_t *items;
    size_t i, j, n, kept = 0, starter = SIZE_MAX;
    int last = -1; /* class of the mark before; -1 = the starter itself stands before */

    for (i = 0; i < len && !(text[i] & 0x80); i++)
        ;
    if (i == len) {
        llem_buf_add(out, text, len);
        return;
    }

    llem_buf_init(&work, SIZE_MAX / 2);
    while (at < end)
        decompose(&work, next_char(&at, end));
    if (work.failed) {
        out->failed = true;
        llem_buf_done(&work);
        return;
    }
    items = (uint64_t *)(void *)work.data; /* grown by malloc, so aligned */
    n = work.len / sizeof(*items);
    for (i = 0; i < n; i = j) {
        for (j = i + 1; j < n && ITEM_CLASS(items[i]) && ITEM_CLASS(items[j]); j++)
            ;
        if (j - i > 1)
            qsort(items + i, j - i, sizeof(*items), by_number);
    }

    for (i = 0; i < n; i++) {
        int class = ITEM_CLASS(items[i]);
        uint32_t made = 0;

        if (starter != SIZE_MAX && last < class)
            made = composition(ITEM_CP(items[starter]), ITEM_CP(items[i]));
        if (made) {
            items[starter] = ITEM(0, 0, made);
            continue;
        }
        if (class == 0) {
            starter = kept;
            last = -1;
        } else {
            last = class;
        }
        items[kept++] = items[i];
    }
    for (i = 0; i < kept; i++)
        put_char(out, ITEM_CP(items[i]));
    llem_buf_done(&work);
}
