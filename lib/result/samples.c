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

void llem__reads_of(struct llem__derive *x, size_t domain, const struct llem_value *field,
                    struct llem__reads *out)
{
    const struct llem_column *device = llem_recording_column(x->r, "samples", "device");
    int64_t id = llem_int_at(field, "id", -1), *begin, *end, *raw;
    double modulus = llem_real_at(field, "modulus", 0);
    const struct llem_column *c[5];
    int32_t *status;
    size_t n = 0;

    memset(out, 0, sizeof(*out));
    out->to_si = llem_real_at(field, "to_si", 0);
    out->period_s = fmax(llem_real_at(field, "period_s", 0), 0);
    out->averaging_s = fmax(llem_real_at(field, "averaging_s", 0), 0);
    out->modulus = modulus >= 1 && modulus < 9e18 ? (uint64_t)modulus : 0;
    if (!device || !field || !(out->to_si > 0) || out->to_si > 1e9)
        return;
    c[0] = llem_recording_column(x->r, "samples", "field");
    c[1] = llem_recording_column(x->r, "samples", "begin_ns");
    c[2] = llem_recording_column(x->r, "samples", "end_ns");
    c[3] = llem_recording_column(x->r, "samples", "raw");
    c[4] = llem_recording_column(x->r, "samples", "status");
    for (size_t k = 0; k < device->count; k++)
        n += device->u16[k] == domain && c[0]->u16[k] == id;
    begin = llem_arena_calloc(&x->scratch, n + 1, sizeof(*begin));
    end = llem_arena_calloc(&x->scratch, n + 1, sizeof(*end));
    raw = llem_arena_calloc(&x->scratch, n + 1, sizeof(*raw));
    status = llem_arena_calloc(&x->scratch, n + 1, sizeof(*status));
    if (!begin || !end || !raw || !status)
        return;
    n = 0;
    for (size_t k = 0; k < device->count; k++) {
        if (device->u16[k] != domain || c[0]->u16[k] != id)
            continue;
        begin[n] = c[1]->i64[k];
        end[n] = c[2]->i64[k];
        raw[n] = c[3]->i64[k];
        status[n++] = c[4]->i32[k];
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
    *out = llem_arena_calloc(&x->scratch, r.n + 1, sizeof(double));
    if (at_s)
        *at_s = llem_arena_calloc(&x->scratch, r.n + 1, sizeof(double));
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
