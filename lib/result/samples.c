/* SPDX-License-Identifier: MIT
 *
 * Out of the table of all samples: the reads of one field of one domain.
 */
#include <math.h>
#include <string.h>

#include "lib/result/derive.h"

const struct llem_value *llem__field_of(const struct llem_value *domain, const char *role)
{
    const struct llem_value *fields = llem_get(domain, "fields");

    for (size_t i = 0; fields && fields->kind == LLEM_LIST && i < fields->count; i++)
        if (strcmp(llem_str_at(fields->items[i], "role", ""), role) == 0)
            return fields->items[i];
    return NULL;
}

/* Sort the table's rows by domain, once; their order in time stays. */
static bool index_rows(struct llem__derive *x, const struct llem_column *device)
{
    size_t *at;

    if (x->rows)
        return true;
    x->rows_begin = llem_arena_calloc(x->scratch, x->n_domains + 2, sizeof(*at));
    at = llem_arena_calloc(x->scratch, x->n_domains + 2, sizeof(*at));
    x->rows = llem_arena_calloc(x->scratch, device->count + 1, sizeof(*at));
    if (!x->rows_begin || !at || !x->rows) {
        x->rows = NULL;
        return false;
    }
    for (size_t k = 0; k < device->count; k++)
        x->rows_begin[device->u16[k] + 1]++;
    for (size_t d = 0; d < x->n_domains; d++) {
        x->rows_begin[d + 1] += x->rows_begin[d];
        at[d] = x->rows_begin[d];
    }
    for (size_t k = 0; k < device->count; k++)
        x->rows[at[device->u16[k]]++] = k;
    return true;
}

void llem__reads_of(struct llem__derive *x, size_t domain, const struct llem_value *field,
                    struct llem__reads *out)
{
    const struct llem_column *device = llem_recording_column(x->r, "samples", "device"), *id, *c[4];
    int64_t wanted = llem_int_at(field, "id", -1), *begin, *end, *raw;
    double modulus = llem_real_at(field, "modulus", 0);
    const size_t *row, *last;
    int32_t *status;
    size_t n = 0;

    memset(out, 0, sizeof(*out));
    out->to_si = llem_real_at(field, "to_si", 0);
    out->period_s = fmax(llem_real_at(field, "period_s", 0), 0);
    out->averaging_s = fmax(llem_real_at(field, "averaging_s", 0), 0);
    out->modulus = modulus >= 1 && modulus < 9e18 ? (uint64_t)modulus : 0;
    if (!device || !field || !(out->to_si > 0) || out->to_si > 1e9 || !index_rows(x, device))
        return;
    id = llem_recording_column(x->r, "samples", "field");
    c[0] = llem_recording_column(x->r, "samples", "begin_ns");
    c[1] = llem_recording_column(x->r, "samples", "end_ns");
    c[2] = llem_recording_column(x->r, "samples", "raw");
    c[3] = llem_recording_column(x->r, "samples", "status");
    last = x->rows + x->rows_begin[domain + 1];
    for (row = x->rows + x->rows_begin[domain]; row < last; row++)
        n += id->u16[*row] == wanted;
    begin = llem_arena_calloc(x->scratch, n + 1, sizeof(*begin));
    end = llem_arena_calloc(x->scratch, n + 1, sizeof(*end));
    raw = llem_arena_calloc(x->scratch, n + 1, sizeof(*raw));
    status = llem_arena_calloc(x->scratch, n + 1, sizeof(*status));
    if (!begin || !end || !raw || !status)
        return;
    n = 0;
    for (row = x->rows + x->rows_begin[domain]; row < last; row++) {
        if (id->u16[*row] != wanted)
            continue;
        begin[n] = c[0]->i64[*row];
        end[n] = c[1]->i64[*row];
        raw[n] = c[2]->i64[*row];
        status[n++] = c[3]->i32[*row];
    }
    out->n = n;
    out->begin_ns = begin;
    out->end_ns = end;
    out->raw = raw;
    out->status = status;
}

size_t llem__values_in_window(struct llem__derive *x, size_t domain, const char *role, double **out,
                              double **at_s)
{
    struct llem__reads r;
    size_t n = 0;

    *out = NULL;
    if (at_s)
        *at_s = NULL;
    if (!x->has_window)
        return 0;
    llem__reads_of(x, domain, llem__field_of(x->domains[domain].json, role), &r);
    *out = llem_arena_calloc(x->scratch, r.n + 1, sizeof(double));
    if (at_s)
        *at_s = llem_arena_calloc(x->scratch, r.n + 1, sizeof(double));
    if (!*out || (at_s && !*at_s))
        return 0;
    for (size_t k = 0; k < r.n; k++) {
        if (r.status[k] != 0 || r.end_ns[k] < x->window.t0_ns || r.begin_ns[k] > x->window.t1_ns)
            continue;
        if (at_s)
            (*at_s)[n] = (double)(r.begin_ns[k] - x->window.t0_ns) / 1e9;
        (*out)[n++] = (double)r.raw[k] * r.to_si;
    }
    return n;
}
