/* SPDX-License-Identifier: MIT
 *
 * What the parts of a derivation share: the recording opened up into typed pieces, and where
 * results, quantities and warnings are collected. Only lib/result includes this.
 */
#ifndef LLEM_RESULT_DERIVE_H
#define LLEM_RESULT_DERIVE_H

#include "lib/engine/dimensions.h"
#include "lib/result/energy.h"
#include "lib/result/recording.h"

/* A number on its way into the result: with its uncertainties (NaN = not known), or without value
 * and with a reason; a value with a reason says why u_sys is not known. */
struct llem__q {
    double v, u_stat, u_sys;
    const char *unit, *source, *quality, *reason;
};

/* One domain of the recording and what was found out about it. */
struct llem__domain {
    const struct llem_value *json; /* its entry in recording.json */
    const char *id, *kind, *label, *sampler;
    bool charged, is_gpu, estimated;
    bool has_window;              /* it is not read, but has windows of its own */
    const struct llem_value *gpu; /* its entry in environment.gpus, or NULL */
    struct llem__device device;
    bool has_counter, has_average, has_instant;
    struct llem__counter counter;
    struct llem__power average, instant;
    struct llem__kind_test kind_test;
    struct llem__estimate methods[3]; /* counter, average, instant */
    size_t n_methods;
    const struct llem__estimate *best; /* of methods; NULL = no energy, reason says why */
    const char *reason;
    double bare_w, u_bare_w, loaded_before_w, loaded_after_w, u_adjusted_drift_w; /* NaN = none */
    double u_sys_j;
    double estimated_j; /* of an estimated domain with windows; NaN = none */
};

struct llem__tokens {
    bool known;                    /* input and output */
    int64_t input, output, cached; /* -1 = not known */
    size_t requests;
};

/* Requests of one pass, as rows of the table. */
struct llem__requests {
    size_t n;
    const int32_t *pass, *repeat, *index, *input, *cached, *output;
    const int64_t *submit, *scheduled, *first, *last;
    const char *const *finish;
};

/* One process of an engine with several, as it tells of itself; -1 and NaN where it does not. */
struct llem__process {
    int64_t index, begin_ns, end_ns, input_tokens, output_tokens;
    double peak_bytes, weights_bytes;
    const struct llem_value *devices;
};

struct llem__flops {
    double prefill, decode, attention; /* attention is part of both */
};

struct llem__derive {
    const struct llem_recording *r;
    const struct llem_value *json;
    struct llem_arena *a;       /* the result's */
    struct llem_arena *scratch; /* gone after the derivation */
    bool is_inference, has_window, quick;
    struct llem__window window;
    double window_s;
    int64_t begin_ns, end_ns; /* of the work: the window's edges, or one process's own; -1 */
    struct llem__requests requests;
    struct llem__tokens tokens;
    struct llem__domain *domains;
    size_t n_domains, n_charged;
    size_t *rows, *rows_begin; /* rows of `samples` by domain: rows[rows_begin[d]] ..
                                  rows[rows_begin[d + 1] - 1] */
    double step_period_s;
    double peak_bytes, weights_bytes;      /* NaN = not known */
    const struct llem_value *effective;    /* of the engine */
    const struct llem__process *processes; /* of an engine with several */
    size_t n_processes;                    /* 0 = there is one, of which is all that is known */
    bool apart; /* each has charged devices of its own, and there are no others */
    /* totals over the charged domains */
    struct llem__q energy, adjusted, baseline;
    const char *charged_sampler, *charged_reason, *energy_quality;
    char energy_source[64];
    struct llem_dims dims;
    const char *dims_from; /* "config.json", "engine"; NULL = not known */
    struct llem__flops flops;
    bool flops_counted; /* for every request */
    double palm;
    struct llem__q total_flops;
    struct llem_value *estimated; /* energy_estimated_j, or NULL */
    double estimated_j[3];        /* value, low, high */
    struct llem_value *quantities, *warnings, *details;
};

/* ---- writing (derive.c) ------------------------------------------------------------------- */

void llem__put_real(struct llem__derive *x, struct llem_value *map, const char *key, double v);
/* A count; negative = not known. */
void llem__put_count(struct llem__derive *x, struct llem_value *map, const char *key, int64_t v);
void llem__put_string(struct llem__derive *x, struct llem_value *map, const char *key,
                      const char *s);
/* The recording's value at path, copied; null if absent. */
struct llem_value *llem__copy_at(struct llem__derive *x, const char *path);
/* A time of recording.json in ns, or -1. */
int64_t llem__time_at(const struct llem_value *map, const char *path);
/* CLOCK_MONOTONIC to "2026-01-31T12:00:00.123456Z" by the recorded clock pairs; null without them.
 */
struct llem_value *llem__utc(struct llem__derive *x, int64_t t_ns);
/* text NULL: the reason's own sentence. subject (a domain's id) may be NULL. */
void llem__warn(struct llem__derive *x, const char *code, const char *subject, const char *text);

struct llem__q llem__q_null(const char *unit, const char *reason);
struct llem__q llem__q_of(double v, const char *unit, const char *source, const char *quality);
/* q times a factor without uncertainty of its own; a factor that is not finite makes it null for
 * reason. */
struct llem__q llem__q_times(struct llem__q q, double factor, const char *unit, const char *reason);
/* Enter quantities[path]; returns the number, or null, for the field itself. */
struct llem_value *llem__quantity(struct llem__derive *x, const char *path, struct llem__q q);

/* ---- the parts ---------------------------------------------------------------------------- */

/* domains.c: energies of all domains and their totals. */
void llem__derive_energy(struct llem__derive *x);
/* The totals of the domains marked as charged; where there are none, null for charged_reason. */
void llem__total_energy(struct llem__derive *x);
struct llem_value *llem__energy_object(struct llem__derive *x);
struct llem_value *llem__agreement_object(struct llem__derive *x);
/* Energy of the charged domains between two times, seconds from t0; NaN if not known. */
double llem__charged_between(const struct llem__derive *x, double from_s, double to_s);

/* latency.c: tokens and times of requests. */
void llem__derive_tokens(struct llem__derive *x);
struct llem_value *llem__tokens_object(struct llem__derive *x);
struct llem_value *llem__latency_stats(struct llem__derive *x);
struct llem_value *llem__request_latency(struct llem__derive *x);
struct llem_value *llem__per_request_latencies(struct llem__derive *x);
struct llem_value *llem__latency_measurements(struct llem__derive *x);
struct llem__q llem__tpot(struct llem__derive *x);
double llem__first_token_ms(struct llem__derive *x); /* mean; NaN */
struct llem_value *llem__batch_object(struct llem__derive *x);
struct llem_value *llem__phases_object(struct llem__derive *x);

/* processes.c: the processes of an engine with several. */
void llem__derive_processes(struct llem__derive *x);
/* What is known of process k, in the shape of the whole: its own devices, times, tokens and
 * memory. What is derived from it enters quantities and warnings of its own, which are dropped. */
void llem__process_view(struct llem__derive *out, const struct llem__derive *x, size_t k);
struct llem_value *llem__aggregation(struct llem__derive *x);

/* flops.c: operations from dimensions; what it finds is in x. */
void llem__derive_flops(struct llem__derive *x);
/* Forward pass of one request: `input` prompt tokens of which `cached` came out of a cache,
 * `output` generated ones. Adds to *f. */
void llem__flops_add(struct llem__flops *f, const struct llem_dims *d, int64_t input,
                     int64_t cached, int64_t output);
struct llem_value *llem__flops_object(struct llem__derive *x);
const char *llem__flops_method(const struct llem__derive *x);
const char *llem__flops_confidence(const struct llem__derive *x);
struct llem_value *llem__model_object(struct llem__derive *x);

/* state.c: what the machine was like. */
struct llem_value *llem__thermal_throttle(struct llem__derive *x);
struct llem_value *llem__warmup_result(struct llem__derive *x);
struct llem_value *llem__memory_object(struct llem__derive *x);
struct llem_value *llem__utilisation_object(struct llem__derive *x);
struct llem_value *llem__utilisation_samples(struct llem__derive *x);
struct llem_value *llem__kv_cache_object(struct llem__derive *x);
void llem__state_warnings(struct llem__derive *x);
struct llem_value *llem__notes(struct llem__derive *x);

/* samples.c: reads of one role of one domain. */
const struct llem_value *llem__field_of(const struct llem_value *domain, const char *role);
/* The reads of one field, in the scratch arena; n = 0 if there are none. */
void llem__reads_of(struct llem__derive *x, size_t domain, const struct llem_value *field,
                    struct llem__reads *out);
/* Values of a slow field (temperature, utilisation, clocks) within the window, good reads only, in
 * SI. */
size_t llem__values_in_window(struct llem__derive *x, size_t domain, const char *role, double **out,
                              double **at_s);

#endif
