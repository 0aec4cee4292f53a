/* SPDX-License-Identifier: MIT
 *
 * Helpers of the derivation: numbers into the tree, quantities with their uncertainties, warnings.
 */
#include "lib/result/derive.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/result/reasons.h"
#include "lib/result/stats.h"

void llem__put_real(struct llem__derive *x, struct llem_value *map, const char *key, double v)
{
    llem_set(x->a, map, key, llem_real(x->a, v));
}

void llem__put_count(struct llem__derive *x, struct llem_value *map, const char *key, int64_t v)
{
    llem_set(x->a, map, key, v < 0 ? llem_null(x->a) : llem_int(x->a, v));
}

void llem__put_string(struct llem__derive *x, struct llem_value *map, const char *key,
                      const char *s)
{
    llem_set(x->a, map, key, llem_string(x->a, s));
}

struct llem_value *llem__copy_at(struct llem__derive *x, const char *path)
{
    const struct llem_value *v = llem_at(x->json, path);

    return v ? llem_copy(x->a, v) : llem_null(x->a);
}

int64_t llem__time_at(const struct llem_value *map, const char *path)
{
    int64_t t = llem_int_at(map, path, -1);

    return t < 0 || t > LLEM_RECORDING_MAX_NS ? -1 : t;
}

struct llem_value *llem__utc(struct llem__derive *x, int64_t t_ns)
{
    const struct llem_value *pairs = llem_at(x->json, "clocks.pairs"), *best = NULL;
    int64_t nearest = INT64_MAX, mono = 0, real = 0;
    char text[40];

    for (size_t k = 0; t_ns >= 0 && pairs && pairs->kind == LLEM_LIST && k < pairs->count; k++) {
        const struct llem_value *p = pairs->items[k];
        int64_t m, w, away;

        if (p->kind != LLEM_LIST || p->count != 2 || p->items[0]->kind != LLEM_INT ||
            p->items[1]->kind != LLEM_INT)
            continue;
        m = p->items[0]->i;
        w = p->items[1]->i;
        if (m < 0 || m > LLEM_RECORDING_MAX_NS || w < 0 || w > LLEM_RECORDING_MAX_NS)
            continue;
        away = m > t_ns ? m - t_ns : t_ns - m;
        if (away < nearest) {
            nearest = away;
            best = p;
            mono = m;
            real = w;
        }
    }
    if (!best)
        return llem_null(x->a);
    llem_format_utc(text, real + (t_ns - mono));
    return llem_string(x->a, text);
}

void llem__warn(struct llem__derive *x, const char *code, const char *subject, const char *text)
{
    const struct llem_reason *reason = llem_reason_find(code);
    const char *sentence = text && *text ? text : reason ? reason->sentence : "No more is known.";
    struct llem_value *detail;

    for (size_t k = 0; k < x->details->count; k++)
        if (strcmp(llem_str_at(x->details->items[k], "reason", ""), code) == 0 &&
            strcmp(llem_str_at(x->details->items[k], "text", ""), sentence) == 0 &&
            strcmp(llem_str_at(x->details->items[k], "subject", ""), subject ? subject : "") == 0)
            return;
    llem_append(x->a, x->warnings,
                llem_stringf(x->a, "%s: %s%s%s", code, sentence, reason ? " " : "",
                             reason ? reason->hint : ""));
    detail = llem_map(x->a);
    llem__put_string(x, detail, "reason", code);
    llem__put_string(x, detail, "subject", subject);
    llem__put_string(x, detail, "text", sentence);
    llem__put_string(x, detail, "hint", reason ? reason->hint : NULL);
    llem_append(x->a, x->details, detail);
}

struct llem__q llem__q_null(const char *unit, const char *reason)
{
    return (struct llem__q){ .v = (double)NAN,
                             .u_stat = (double)NAN,
                             .u_sys = (double)NAN,
                             .unit = unit,
                             .quality = "none",
                             .reason = reason };
}

struct llem__q llem__q_of(double v, const char *unit, const char *source, const char *quality)
{
    return (struct llem__q){ .v = v,
                             .u_stat = (double)NAN,
                             .u_sys = (double)NAN,
                             .unit = unit,
                             .source = source,
                             .quality = quality };
}

struct llem__q llem__q_times(struct llem__q q, double factor, const char *unit, const char *reason)
{
    if (isnan(q.v))
        return llem__q_null(unit, q.reason);
    if (!isfinite(factor))
        return llem__q_null(unit, reason);
    q.v *= factor;
    q.u_stat *= fabs(factor);
    q.u_sys *= fabs(factor);
    q.unit = unit;
    if (strcmp(q.quality, "measured") == 0)
        q.quality = "derived";
    return q;
}

struct llem_value *llem__quantity(struct llem__derive *x, const char *path, struct llem__q q)
{
    struct llem_value *o = llem_map(x->a), *ci;
    bool valid = isfinite(q.v);

    llem__put_real(x, o, "value", q.v);
    llem__put_string(x, o, "unit", q.unit);
    llem__put_string(x, o, "source", valid ? q.source : NULL);
    llem__put_string(x, o, "quality", valid ? q.quality : "none");
    llem__put_real(x, o, "u_stat", valid ? q.u_stat : (double)NAN);
    llem__put_real(x, o, "u_sys", valid ? q.u_sys : (double)NAN);
    ci = llem_null(x->a);
    if (valid && isfinite(q.u_stat)) {
        double half = 1.959963984540054 *
                      (isfinite(q.u_sys) ? llem__quadrature(q.u_stat, q.u_sys) : q.u_stat);

        ci = llem_list(x->a);
        llem_append(x->a, ci, llem_real(x->a, q.v - half));
        llem_append(x->a, ci, llem_real(x->a, q.v + half));
    }
    llem_set(x->a, o, "ci95", ci);
    llem__put_string(x, o, "reason", valid ? NULL : q.reason);
    llem__put_string(x, o, "u_sys_reason", valid && !isfinite(q.u_sys) ? q.reason : NULL);
    llem_set(x->a, x->quantities, path, o);
    return llem_real(x->a, q.v);
}
