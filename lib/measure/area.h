/* SPDX-License-Identifier: MIT
 *
 * Rows that are written while nothing may be allocated: address space is reserved once, the first
 * part is touched ahead of time, and the rest is touched block by block by whoever has a moment to
 * spare.
 */
#ifndef LLEM_MEASURE_AREA_H
#define LLEM_MEASURE_AREA_H

#include "lib/base/base.h"

/* One writer at a time. Rows never move, so a pointer to one stays good until llem_area_done(). */
struct llem_area {
    char *base;
    size_t row;     /* bytes a row */
    size_t count;   /* rows written */
    size_t cap;     /* rows that fit in the address space */
    size_t touched; /* bytes whose pages are there */
    size_t lost;    /* rows that did not fit */
};

/* Reserve room for up to `rows` rows (less if the system gives less, but at least `ready`) and
 * touch the pages of the first `ready`. On failure *a is empty. */
llem_errcode llem_area_init(struct llem_area *a, size_t row, size_t rows, size_t ready,
                            llem_error *err);
void llem_area_done(struct llem_area *a); /* an empty one is allowed */
/* The next row, zeroed; NULL (counted in `lost`) when there is no room left. */
void *llem_area_push(struct llem_area *a);
/* Touch at most one more block if less than a block is ready. */
void llem_area_touch(struct llem_area *a);
static inline void *llem_area_at(const struct llem_area *a, size_t i)
{
    return a->base + i * a->row;
}

#endif
