/* SPDX-License-Identifier: MIT
 *
 * Reserved address space, filled from the front.
 */
#include "lib/measure/area.h"

#include <sys/mman.h>

enum { PAGE_BYTES = 4096, BLOCK_BYTES = 64 * PAGE_BYTES };

static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static void touch_to(struct llem_area *a, size_t bytes)
{
    size_t all = whole_pages(a->cap * a->row);

    if (bytes > all)
        bytes = all;
    for (; a->touched < bytes; a->touched += PAGE_BYTES)
        *(volatile char *)(a->base + a->touched) = 0;
}

llem_errcode llem_area_init(struct llem_area *a, size_t row, size_t rows, size_t ready,
                            llem_error *err)
{
    void *base;

    *a = (struct llem_area){ .row = row };
    if (rows < ready)
        rows = ready;
    if (rows == 0)
        rows = 1;
    if (rows > SIZE_MAX / 2 / row)
        return llem_fail(err, LLEM_EINVAL, "cannot reserve room for %zu rows of %zu bytes", rows,
                         row);
    /* Where overcommit is off, reserving is taking: ask for less until it is given. */
    for (;;) {
        base = mmap(NULL, whole_pages(rows * row), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED || rows / 2 < ready || rows / 2 == 0)
            break;
        rows /= 2;
    }
    if (base == MAP_FAILED)
        return llem_fail(err, LLEM_ENOMEM, "cannot reserve %zu bytes for readings: %m", rows * row);
    a->base = base;
    a->cap = rows;
    touch_to(a, ready * row);
    return LLEM_OK;
}

void llem_area_done(struct llem_area *a)
{
    if (a->base)
        munmap(a->base, whole_pages(a->cap * a->row));
    *a = (struct llem_area){ 0 };
}

void *llem_area_push(struct llem_area *a)
{
    if (a->count >= a->cap) {
        a->lost++;
        return NULL;
    }
    return a->base + a->row * a->count++;
}

void llem_area_touch(struct llem_area *a)
{
    if (a->base && a->touched < a->count * a->row + BLOCK_BYTES)
        touch_to(a, a->touched + BLOCK_BYTES);
}
