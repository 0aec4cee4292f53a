/* SPDX-License-Identifier: MIT
 *
 * Tokens and times from the engine's receipts: time to first token, time between tokens, time per
 * output token, end to end; and how full the engine was.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/result/derive.h"
#include "lib/result/stats.h"

enum { MEASURED_PASS = 0, LATENCY_PASS = 2 };
/* Longer lists of single intervals stay in the recording: result.json is for reading. */
enum { MAX_LISTED = 4096 };

void llem__derive_tokens(struct llem__derive *x)
{
    struct llem__requests *q = &x->requests;
    const char *const names[] = { "pass",         "repeat",        "index",
                                  "input_tokens", "cached_tokens", "output_tokens" };
    const int32_t **const ints[] = { &q->pass,  &q->repeat, &q->index,
                                     &q->input, &q->cached, &q->output };
    const char *const times[] = { "t_submit_ns", "t_scheduled_ns", "t_first_ns", "t_last_ns" };
    const int64_t **const longs[] = { &q->submit, &q->scheduled, &q->first, &q->last };
    struct llem__tokens *t = &x->tokens;
    bool input = true, output = true, cached = true;

    *t = (struct llem__tokens){ .input = -1, .output = -1, .cached = -1 };
    if (llem_recording_column(x->r, "requests", "pass")) {
        q->n = llem_recording_column(x->r, "requests", "pass")->count;
        for (size_t k = 0; k < LLEM_COUNT(names); k++)
            *ints[k] = llem_recording_column(x->r, "requests", names[k])->i32;
        for (size_t k = 0; k < LLEM_COUNT(times); k++)
            *longs[k] = llem_recording_column(x->r, "requests", times[k])->i64;
        q->finish = llem_recording_column(x->r, "requests", "finish")->utf8;
    }
    for (size_t k = 0; k < q->n; k++) {
        if (q->pass[k] != MEASURED_PASS)
            continue;
        if (t->requests++ == 0)
            t->input = t->output = t->cached = 0;
        input = input && q->input[k] >= 0;
        output = output && q->output[k] >= 0;
        cached = cached && q->cached[k] >= 0;
        t->input += q->input[k];
        t->output += q->output[k];
        t->cached += q->cached[k];
    }
    if (!t->requests || !input)
        t->input = llem_int_at(x->json, "totals.input_tokens", -1);
    if (!t->requests || !output)
        t->output = llem_int_at(x->json, "totals.output_tokens", -1);
    if (!cached)
        t->cached = -1;
    /* A total from outside may be anything; sums of it must not overflow. */
    if (t->input > INT64_C(1) << 52)
        t->input = -1;
    if (t->output > INT64_C(1) << 52)
        t->output = -1;
    t->known = t->input >= 0 && t->output >= 0;
}

struct llem_value *llem__tokens_object(struct llem__derive *x)
{
    const struct llem__tokens *t = &x->tokens;
    struct llem_value *o = llem_map(x->a), *per = llem_null(x->a);
    const char *why = x->is_inference ? "engine_does_not_report" : "not_applicable";
    int64_t lo = INT64_MAX, hi = -1, stopped = 0;
    bool finish = t->requests > 0;

    for (size_t k = 0; k < x->requests.n; k++) {
        if (x->requests.pass[k] != MEASURED_PASS)
            continue;
        if (x->requests.output[k] >= 0 && x->requests.output[k] < lo)
            lo = x->requests.output[k];
        if (x->requests.output[k] > hi)
            hi = x->requests.output[k];
        finish = finish && *x->requests.finish[k];
        stopped += strcmp(x->requests.finish[k], "stop") == 0;
    }
#define COUNT(key, v)                                                                              \
    llem__quantity(x, "tokens." key,                                                               \
                   (v) < 0 ? llem__q_null("tok", why)                                              \
                           : llem__q_of((double)(v), "tok",                                        \
                                        t->requests ? "receipts" : "engine totals", "measured"));  \
    llem__put_count(x, o, key, v)
    COUNT("input", t->input);
    COUNT("output", t->output);
    COUNT("total", t->known ? t->input + t->output : -1);
#undef COUNT
    llem__put_count(x, o, "cached", t->cached);
    llem__put_count(x, o, "requests", t->requests ? (int64_t)t->requests : -1);
    llem__put_count(x, o, "stopped", finish ? stopped : -1);
    if (hi >= 0 && t->requests && t->output >= 0) {
        per = llem_map(x->a);
        llem__put_real(x, per, "mean", (double)t->output / (double)t->requests);
        llem__put_count(x, per, "min", lo);
        llem__put_count(x, per, "max", hi);
    }
    llem_set(x->a, o, "output_per_request", per);
    return o;
}

/* ---- times -------------------------------------------------------------------------------- */

/* The pass that latencies are taken from: one of its own where there is one. */
static int latency_pass(const struct llem__derive *x)
{
    for (size_t k = 0; k < x->requests.n; k++)
        if (x->requests.pass[k] == LATENCY_PASS)
            return LATENCY_PASS;
    return MEASURED_PASS;
}

enum span { SPAN_FIRST, SPAN_ALL, SPAN_TPOT, SPAN_QUEUE };

/* Durations in ms of the requests that tell them, in the order of the table. */
static size_t durations(struct llem__derive *x, enum span span, double **out)
{
    const struct llem__requests *q = &x->requests;
    int pass = latency_pass(x);
    size_t n = 0;

    *out = llem_arena_calloc(x->scratch, q->n + 1, sizeof(double));
    for (size_t k = 0; *out && k < q->n; k++) {
        int64_t from = q->submit[k], to = -1;
        double share = 1;

        if (q->pass[k] != pass)
            continue;
        switch (span) {
        case SPAN_FIRST:
            to = q->first[k];
            break;
        case SPAN_ALL:
            to = q->last[k];
            break;
        case SPAN_QUEUE:
            to = q->scheduled[k];
            break;
        case SPAN_TPOT:
            from = q->first[k];
            to = q->output[k] > 1 ? q->last[k] : -1;
            share = (double)(q->output[k] - 1);
            break;
        }
        if (from >= 0 && to >= from)
            (*out)[n++] = (double)(to - from) / 1e6 / share;
    }
    return n;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

struct intervals {
    double *full, *trimmed; /* ms */
    size_t n_full, n_trimmed, excluded;
};

/* Times between successive tokens of a request. Trimmed: without the first and the last of each
 * request, and without requests of fewer than three. */
static struct intervals token_intervals(struct llem__derive *x)
{
    const struct llem_column *request = llem_recording_column(x->r, "tokens", "request");
    const struct llem_column *t = llem_recording_column(x->r, "tokens", "t_ns");
    struct intervals out = { 0 };
    int pass = latency_pass(x);
    int64_t *times;
    size_t *begin;

    if (!request || !x->requests.n)
        return out;
    begin = llem_arena_calloc(x->scratch, x->requests.n + 2, sizeof(*begin));
    times = llem_arena_calloc(x->scratch, request->count + 1, sizeof(*times));
    out.full = llem_arena_calloc(x->scratch, request->count + 1, sizeof(double));
    out.trimmed = llem_arena_calloc(x->scratch, request->count + 1, sizeof(double));
    if (!begin || !times || !out.full || !out.trimmed)
        return out;
    for (size_t k = 0; k < request->count; k++)
        begin[request->i32[k] + 2]++;
    for (size_t k = 2; k < x->requests.n + 2; k++)
        begin[k] += begin[k - 1];
    for (size_t k = 0; k < request->count; k++) /* begin[r + 1] moves to the end of request r */
        times[begin[request->i32[k] + 1]++] = t->i64[k];
    for (size_t r = 0; r < x->requests.n; r++) {
        size_t n = begin[r + 1] - begin[r];
        int64_t *at = times + begin[r];

        if (x->requests.pass[r] != pass || n < 2)
            continue;
        qsort(at, n, sizeof(*at), by_value);
        for (size_t k = 1; k < n; k++) {
            double ms = (double)(at[k] - at[k - 1]) / 1e6;

            out.full[out.n_full++] = ms;
            if (n >= 4 && k > 1 && k + 1 < n)
                out.trimmed[out.n_trimmed++] = ms;
            else
                out.excluded++;
        }
    }
    return out;
}

static void put_stats(struct llem__derive *x, struct llem_value *o, const char *prefix, double *v,
                      size_t n)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = { { "median", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 } };
    char key[64];

    snprintf(key, sizeof(key), "%s_mean_ms", prefix);
    llem__put_real(x, o, key, llem__mean(v, n));
    llem__sort(v, n);
    for (size_t i = 0; i < LLEM_COUNT(quantiles); i++) {
        snprintf(key, sizeof(key), "%s_%s_ms", prefix, quantiles[i].name);
        llem__put_real(x, o, key, llem__quantile(v, n, quantiles[i].q));
    }
}

/* A mean over requests or tokens, with its standard error. */
static struct llem__q mean_q(const double *v, size_t n, const char *reason)
{
    struct llem__q q;

    if (!n)
        return llem__q_null("ms", reason);
    q = llem__q_of(llem__mean(v, n), "ms", "receipts", "measured");
    q.u_stat = n > 1 ? llem__sd(v, n) / sqrt((double)n) : (double)NAN;
    return q;
}

struct llem_value *llem__latency_stats(struct llem__derive *x)
{
    struct intervals itl = token_intervals(x);
    const char *why = x->is_inference ? "engine_does_not_report" : "not_applicable";
    struct llem_value *o;
    double *ttft;
    size_t n = durations(x, SPAN_FIRST, &ttft);

    llem__quantity(x, "latency_stats.ttft_mean_ms", mean_q(ttft, n, why));
    llem__quantity(x, "latency_stats.itl_mean_ms", mean_q(itl.trimmed, itl.n_trimmed, why));
    if (!n && !itl.n_full)
        return llem_null(x->a);
    o = llem_map(x->a);
    put_stats(x, o, "ttft", ttft, n);
    llem__put_real(x, o, "ttft_min_ms", llem__quantile(ttft, n, 0));
    llem__put_real(x, o, "ttft_max_ms", llem__quantile(ttft, n, 1));
    llem__put_count(x, o, "ttft_samples", (int64_t)n);
    put_stats(x, o, "itl", itl.trimmed, itl.n_trimmed);
    llem__put_count(x, o, "itl_samples", (int64_t)itl.n_trimmed);
    llem__put_real(x, o, "itl_full_mean_ms", llem__mean(itl.full, itl.n_full));
    llem__sort(itl.full, itl.n_full);
    llem__put_real(x, o, "itl_full_p99_ms", llem__quantile(itl.full, itl.n_full, 0.99));
    return o;
}

struct llem__q llem__tpot(struct llem__derive *x)
{
    double *v;
    size_t n = durations(x, SPAN_TPOT, &v);

    return mean_q(v, n, x->is_inference ? "engine_does_not_report" : "not_applicable");
}

double llem__first_token_ms(struct llem__derive *x)
{
    double *v;
    size_t n = durations(x, SPAN_FIRST, &v);

    return llem__mean(v, n);
}

struct llem_value *llem__request_latency(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    double *v;
    size_t n = durations(x, SPAN_ALL, &v);

    llem__quantity(x, "extended_metrics.request_latency.e2e_latency_mean_ms",
                   mean_q(v, n, x->is_inference ? "engine_does_not_report" : "not_applicable"));
    put_stats(x, o, "e2e_latency", v, n);
    llem__put_count(x, o, "e2e_latency_samples", (int64_t)n);
    n = durations(x, SPAN_QUEUE, &v);
    llem__put_real(x, o, "queue_mean_ms", llem__mean(v, n));
    llem__put_count(x, o, "queue_samples", (int64_t)n);
    return o;
}

static struct llem_value *list_of(struct llem__derive *x, const double *v, size_t n)
{
    struct llem_value *list;

    if (n > MAX_LISTED)
        return llem_null(x->a);
    list = llem_list(x->a);
    for (size_t k = 0; k < n; k++)
        llem_append(x->a, list, llem_real(x->a, v[k]));
    return list;
}

struct llem_value *llem__per_request_latencies(struct llem__derive *x)
{
    double *v;
    size_t n = durations(x, SPAN_ALL, &v);

    return list_of(x, v, n);
}

struct llem_value *llem__latency_measurements(struct llem__derive *x)
{
    struct intervals itl = token_intervals(x);
    struct llem_value *o;
    int64_t requests = 0, tokens = 0;
    double *ttft;
    size_t n = durations(x, SPAN_FIRST, &ttft);
    int pass = latency_pass(x);

    if (!n && !itl.n_full)
        return llem_null(x->a);
    for (size_t k = 0; k < x->requests.n; k++) {
        if (x->requests.pass[k] != pass)
            continue;
        requests++;
        tokens += x->requests.output[k] > 0 ? x->requests.output[k] : 0;
    }
    o = llem_map(x->a);
    llem_set(x->a, o, "ttft_ms", list_of(x, ttft, n));
    llem_set(x->a, o, "itl_full_ms", list_of(x, itl.full, itl.n_full));
    llem_set(x->a, o, "itl_trimmed_ms", list_of(x, itl.trimmed, itl.n_trimmed));
    llem__put_count(x, o, "request_count", requests);
    llem__put_count(x, o, "total_output_tokens", tokens);
    llem__put_count(x, o, "excluded_tokens", (int64_t)itl.excluded);
    llem_set(x->a, o, "streaming_mode", llem_bool(x->a, itl.n_full > 0));
    llem__put_count(x, o, "warmup_requests_excluded", 0); /* the warm-up is no part of the pass */
    llem__put_string(x, o, "measurement_mode", itl.n_full ? "true_streaming" : "per_request_batch");
    return o;
}

/* ---- how full the engine was -------------------------------------------------------------- */

struct llem_value *llem__batch_object(struct llem__derive *x)
{
    const struct llem_column *begin = llem_recording_column(x->r, "steps", "begin_ns");
    double weighted = 0, length = 0, mean, most, padded;
    struct llem_value *o = llem_map(x->a);
    int64_t batches = llem_int_at(x->effective, "num_batches", -1), prefills = 0;

    for (size_t k = 0; begin && x->has_window && k < begin->count; k++) {
        int64_t b = begin->i64[k], e = llem_recording_column(x->r, "steps", "end_ns")->i64[k];
        int32_t batch = llem_recording_column(x->r, "steps", "batch")->i32[k];

        if (b < x->window.t0_ns || e > x->window.t1_ns || e <= b || batch < 0)
            continue;
        weighted += (double)batch * (double)(e - b);
        length += (double)(e - b);
        prefills += llem_recording_column(x->r, "steps", "prefill_tokens")->i32[k] > 0;
    }
    if (batches < 0 && prefills > 0)
        batches = prefills;
    mean = length > 0 ? weighted / length : (double)NAN;
    most = llem_real_at(x->effective, "batch_size", (double)NAN);
    padded = llem_real_at(x->effective, "padded_input_tokens", (double)NAN);
    llem__put_real(x, o, "effective_batch_size", mean);
    llem__put_real(x, o, "batch_utilisation", most > 0 ? mean / most : (double)NAN);
    llem__put_real(x, o, "padding_overhead",
                   padded > 0 && x->tokens.input >= 0 ? 1 - (double)x->tokens.input / padded
                                                      : (double)NAN);
    llem__put_count(x, o, "num_batches", batches);
    return o;
}

struct edge {
    int64_t t_ns;
    int change;
};

/* Where one request ends as the next begins, the end comes first: they are not in flight together.
 */
static int by_time(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    if (x->t_ns != y->t_ns)
        return x->t_ns < y->t_ns ? -1 : 1;
    return x->change < y->change ? -1 : x->change > y->change;
}

/* Ramp and drain: the time, and the energy, with fewer than 90 % of the most requests that were in
 * flight. */
static struct llem_value *occupancy(struct llem__derive *x)
{
    const struct llem__requests *q = &x->requests;
    struct edge *edges = llem_arena_calloc(x->scratch, 2 * q->n + 1, sizeof(*edges));
    double low_s = 0, low_j = 0, area = 0;
    int now = 0, most = 0;
    struct llem_value *o;
    int64_t last;
    size_t n = 0;

    if (!edges || !x->has_window || !(x->window_s > 0))
        return llem_null(x->a);
    for (size_t k = 0; k < q->n; k++) {
        int64_t from = q->scheduled[k] >= 0 ? q->scheduled[k] : q->submit[k], to = q->last[k];

        if (q->pass[k] != MEASURED_PASS)
            continue;
        if (from < 0 || to < from)
            return llem_null(x->a);
        from = from < x->window.t0_ns ? x->window.t0_ns : from;
        to = to > x->window.t1_ns ? x->window.t1_ns : to;
        if (to < from)
            continue; /* not in the window at all */
        edges[n++] = (struct edge){ from, 1 };
        edges[n++] = (struct edge){ to, -1 };
    }
    if (!n)
        return llem_null(x->a);
    qsort(edges, n, sizeof(*edges), by_time);
    for (size_t k = 0; k < n; k++) {
        now += edges[k].change;
        most = now > most ? now : most;
    }
    now = 0;
    last = x->window.t0_ns;
    for (size_t k = 0; k <= n; k++) {
        int64_t t = k < n ? edges[k].t_ns : x->window.t1_ns;

        if (t > last) {
            double from_s = (double)(last - x->window.t0_ns) / 1e9;
            double to_s = (double)(t - x->window.t0_ns) / 1e9;

            area += now * (to_s - from_s);
            if (now < 0.9 * most) {
                low_s += to_s - from_s;
                low_j += llem__charged_between(x, from_s, to_s);
            }
            last = t;
        }
        now += k < n ? edges[k].change : 0;
    }
    o = llem_map(x->a);
    llem__put_count(x, o, "max_in_flight", most);
    llem__put_real(x, o, "mean_in_flight", area / x->window_s);
    llem__put_real(x, o, "low_time_s", low_s);
    llem__put_real(x, o, "low_energy_j", low_s > 0 ? low_j : x->energy.v * 0);
    llem__put_real(x, o, "low_energy_share", low_s > 0 ? low_j / x->energy.v : x->energy.v * 0);
    return o;
}

struct llem_value *llem__phases_object(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);

    llem_set(x->a, o, "occupancy", occupancy(x));
    llem__put_string(x, o, "reason", x->is_inference ? "phases_collinear" : "not_applicable");
    return o;
}
