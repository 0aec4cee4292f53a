/* SPDX-License-Identifier: MIT
 *
 * The result, key by key: one table whose order is the order of result.json. Everything in it comes
 * out of the recording.
 */
#include "lib/result/result.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/result/derive.h"
#include "lib/result/stats.h"
#include "llem/ctx.h"

#define MIB 1048576.0

typedef struct llem_value *(*build_fn)(struct llem__derive *x);

/* Values that several keys need; filled before the table is walked. */
static const char *missing_tokens(const struct llem__derive *x)
{
    return !x->is_inference  ? "not_applicable"
           : x->tokens.known ? "no_tokens"
                             : "engine_does_not_report";
}

static double total_tokens(const struct llem__derive *x)
{
    double n = x->tokens.known ? (double)(x->tokens.input + x->tokens.output) : (double)NAN;

    return n > 0 ? n : (double)NAN;
}

static struct llem__q window_q(const struct llem__derive *x)
{
    double half = llem_real_at(x->json, "clocks.worker.half_width_ns", (double)NAN);
    struct llem__q q = llem__q_null("s", "no_window");

    if (x->begin_ns >= 0) {
        q = llem__q_of((double)(x->end_ns - x->begin_ns) / 1e9, "s", "engine's edges", "measured");
        q.u_stat = half >= 0 ? half / 1e9 * sqrt(2.0 / 3) : (double)NAN;
    }
    return q;
}

static struct llem__q per_second(const struct llem__derive *x, double count, const char *unit,
                                 const char *source)
{
    struct llem__q time = window_q(x), q;

    if (!isfinite(count))
        return llem__q_null(unit, missing_tokens(x));
    if (!(time.v > 0))
        return llem__q_null(unit, x->begin_ns >= 0 ? "window_too_short" : "no_window");
    q = llem__q_of(count / time.v, unit, source, "derived");
    q.u_stat = q.v * time.u_stat / time.v;
    return q;
}

/* ---- the seeds' fields -------------------------------------------------------------------- */

static struct llem_value *schema_version(struct llem__derive *x)
{
    return llem_string(x->a, "3.0");
}

static struct llem_value *program_version(struct llem__derive *x)
{
    return llem__copy_at(x, "producer.version");
}

static struct llem_value *engine_name(struct llem__derive *x)
{
    return llem__copy_at(x, "engine.name");
}

static struct llem_value *engine_version(struct llem__derive *x)
{
    return llem__copy_at(x, "engine.version");
}

static struct llem_value *model_name(struct llem__derive *x)
{
    const struct llem_value *as_written = llem_at(x->json, "config.task.model");

    return x->is_inference && as_written ? llem_copy(x->a, as_written)
                                         : llem__copy_at(x, "model.name");
}

static struct llem_value *methodology(struct llem__derive *x)
{
    return llem_string(x->a, "total");
}

static struct llem_value *always_null(struct llem__derive *x)
{
    return llem_null(x->a);
}

static struct llem_value *tokens_total(struct llem__derive *x)
{
    llem__quantity(x, "total_tokens",
                   x->tokens.known
                       ? llem__q_of((double)(x->tokens.input + x->tokens.output), "tok",
                                    x->tokens.requests ? "receipts" : "engine totals", "measured")
                       : llem__q_null("tok", missing_tokens(x)));
    return x->tokens.known ? llem_int(x->a, x->tokens.input + x->tokens.output) : llem_null(x->a);
}

static struct llem_value *energy_total(struct llem__derive *x)
{
    return llem__quantity(x, "total_energy_j", x->energy);
}

static struct llem_value *inference_time(struct llem__derive *x)
{
    return llem__quantity(x, "total_inference_time_sec", window_q(x));
}

static struct llem_value *tokens_per_second(struct llem__derive *x)
{
    return llem__quantity(x, "avg_tokens_per_second",
                          per_second(x, total_tokens(x), "tok/s", "receipts"));
}

static struct llem_value *energy_per_token(struct llem__derive *x)
{
    return llem__quantity(
        x, "avg_energy_per_token_j",
        llem__q_times(x->energy, 1 / total_tokens(x), "J/tok", missing_tokens(x)));
}

static struct llem_value *mj_adjusted(struct llem__derive *x)
{
    return llem__quantity(
        x, "mj_per_tok_adjusted",
        llem__q_times(x->adjusted, 1000 / total_tokens(x), "mJ/tok", missing_tokens(x)));
}

static struct llem_value *mj_total(struct llem__derive *x)
{
    return llem__quantity(
        x, "mj_per_tok_total",
        llem__q_times(x->energy, 1000 / total_tokens(x), "mJ/tok", missing_tokens(x)));
}

static struct llem_value *flops_total(struct llem__derive *x)
{
    return llem__quantity(x, "total_flops", x->total_flops);
}

static double positive(int64_t n)
{
    return n > 0 ? (double)n : (double)NAN;
}

static struct llem_value *flops_per_output(struct llem__derive *x)
{
    return llem__quantity(x, "flops_per_output_token",
                          llem__q_times(x->total_flops, 1 / positive(x->tokens.output), "FLOP/tok",
                                        missing_tokens(x)));
}

static struct llem_value *flops_per_input(struct llem__derive *x)
{
    return llem__quantity(x, "flops_per_input_token",
                          llem__q_times(x->total_flops, 1 / positive(x->tokens.input), "FLOP/tok",
                                        missing_tokens(x)));
}

static struct llem_value *flops_rate(struct llem__derive *x)
{
    return llem__quantity(x, "flops_per_second",
                          llem__q_times(x->total_flops,
                                        x->window_s > 0 ? 1 / x->window_s : (double)NAN, "FLOP/s",
                                        x->has_window ? "window_too_short" : "no_window"));
}

static struct llem_value *baseline_power(struct llem__derive *x)
{
    return llem__quantity(x, "baseline_power_w", x->baseline);
}

static struct llem_value *energy_adjusted(struct llem__derive *x)
{
    return llem__quantity(x, "energy_adjusted_j", x->adjusted);
}

static struct llem_value *energy_per_device(struct llem__derive *x)
{
    struct llem_value *list = llem_list(x->a);

    for (size_t i = 0, k = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];
        struct llem__q q;
        char path[64];

        if (!d->charged)
            continue;
        q = llem__q_null("J", d->reason);
        if (d->best) {
            q = llem__q_of(d->best->e_j, "J", d->sampler, "measured");
            q.u_stat = d->best->u_stat_j;
            q.u_sys = d->u_sys_j;
            q.reason = isnan(q.u_sys) ? "gain_unknown" : NULL;
        }
        snprintf(path, sizeof(path), "energy_per_device_j.%zu", k++);
        llem_append(x->a, list, llem__quantity(x, path, q));
    }
    return isfinite(x->energy.v) ? list : llem_null(x->a);
}

static struct llem_value *energy_breakdown(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    const struct llem_value *own = llem_at(x->json, "baseline.bare");
    const struct llem_value *bare = llem_is_null(own) ? llem_at(x->json, "baseline.reused") : own;
    int64_t begin = llem__time_at(bare, "begin_ns"), end = llem__time_at(bare, "end_ns");
    bool has = isfinite(x->baseline.v);

    llem__put_real(x, o, "raw_j", x->energy.v);
    llem__put_real(x, o, "adjusted_j", x->adjusted.v);
    llem__put_real(x, o, "baseline_power_w", x->baseline.v);
    llem__put_string(x, o, "baseline_method",
                     has ? llem_str_at(x->json, "baseline.method", "fresh") : NULL);
    llem_set(x->a, o, "baseline_timestamp", has ? llem__utc(x, begin) : llem_null(x->a));
    llem__put_real(x, o, "baseline_cache_age_sec",
                   has && end >= 0 ? (double)(x->window.t0_ns - end) / 1e9 : (double)NAN);
    return o;
}

static struct llem_value *multi_gpu(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a), *list = llem_list(x->a);
    int64_t n = 0;

    for (size_t i = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];

        if (!d->charged || !d->is_gpu)
            continue;
        n++;
        llem_append(x->a, list, llem_real(x->a, d->best ? d->best->e_j : (double)NAN));
    }
    if (n < 2)
        return llem_null(x->a);
    llem__put_count(x, o, "num_gpus", n);
    llem_set(x->a, o, "energy_per_gpu_j", list);
    llem__put_real(x, o, "energy_total_j", x->energy.v);
    llem__put_real(x, o, "energy_per_output_token_j", x->energy.v / positive(x->tokens.output));
    return o;
}

static struct llem_value *warnings(struct llem__derive *x)
{
    return x->warnings;
}

static struct llem_value *timeseries(struct llem__derive *x)
{
    bool saved = llem_bool_at(x->json, "output.save_timeseries", true) &&
                 llem_recording_column(x->r, "samples", "raw");

    return llem_string(x->a, saved ? "timeseries.parquet" : NULL);
}

static struct llem_value *start_time(struct llem__derive *x)
{
    return llem__utc(x, x->begin_ns);
}

static struct llem_value *end_time(struct llem__derive *x)
{
    return llem__utc(x, x->end_ns);
}

/* ---- one process -------------------------------------------------------------------------- */

static struct llem_value *timestamps(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);

    llem_set(x->a, o, "start", start_time(x));
    llem_set(x->a, o, "end", end_time(x));
    llem__put_real(x, o, "duration_sec", window_q(x).v);
    return o;
}

static struct llem_value *inference_metrics(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    double n = total_tokens(x);

    llem__put_count(x, o, "total_tokens",
                    x->tokens.known ? x->tokens.input + x->tokens.output : -1);
    llem__put_count(x, o, "input_tokens", x->tokens.input);
    llem__put_count(x, o, "output_tokens", x->tokens.output);
    llem__put_real(x, o, "inference_time_sec", window_q(x).v);
    llem__put_real(x, o, "tokens_per_second", per_second(x, n, "tok/s", "receipts").v);
    llem__put_real(x, o, "latency_per_token_ms", 1000 * window_q(x).v / n);
    llem__put_real(x, o, "time_to_first_token_ms", llem__first_token_ms(x));
    llem_set(x->a, o, "latency_measurements", llem__latency_measurements(x));
    return o;
}

/* Sum over the charged domains of some kinds; NaN where there are none. */
static double energy_of(const struct llem__derive *x, const char *kind, const char *other)
{
    double sum = (double)NAN;

    for (size_t i = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];

        if (d->best && d->charged && (strcmp(d->kind, kind) == 0 || strcmp(d->kind, other) == 0))
            sum = (isnan(sum) ? 0 : sum) + d->best->e_j;
    }
    return sum;
}

/* Energy x PUE x the grid's intensity: an estimate whatever the energy is, since neither factor was
 * measured here. Its uncertainty is the energy's alone. */
static double kg_co2_per_j(const struct llem__derive *x)
{
    double g_per_kwh = llem_real_at(x->json, "site.carbon_intensity_gco2_kwh", (double)NAN);

    return g_per_kwh / 1000 / 3.6e6 * llem_real_at(x->json, "site.datacenter_pue", 1);
}

static struct llem__q emissions_q(const struct llem__derive *x)
{
    double factor = kg_co2_per_j(x);
    struct llem__q q = llem__q_null("kg", "no_carbon_intensity");

    if (isfinite(factor))
        q = llem__q_times(x->energy, factor, "kg", NULL);
    if (isfinite(q.v)) {
        q.source = "energy x PUE x carbon intensity";
        q.quality = "estimated";
    }
    return q;
}

static struct llem_value *energy_metrics(struct llem__derive *x)
{
    double gpu = energy_of(x, "gpu", "gpu"), cpu = energy_of(x, "package", "cpu");
    double ram = energy_of(x, "dram", "dram");
    struct llem_value *o = llem_map(x->a);

    llem__put_real(x, o, "total_energy_j", x->energy.v);
    llem__put_real(x, o, "gpu_energy_j", gpu);
    llem__put_real(x, o, "cpu_energy_j", cpu);
    llem__put_real(x, o, "ram_energy_j", ram);
    llem__put_real(x, o, "gpu_power_w", gpu / x->window_s);
    llem__put_real(x, o, "cpu_power_w", cpu / x->window_s);
    llem__put_real(x, o, "duration_sec", x->has_window ? x->window_s : (double)NAN);
    llem__put_real(x, o, "emissions_kg_co2", emissions_q(x).v);
    llem__put_real(x, o, "energy_per_token_j", x->energy.v / total_tokens(x));
    return o;
}

static struct llem_value *compute_metrics(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    double total = x->total_flops.v;

    llem__put_real(x, o, "flops_total", total);
    llem__put_real(x, o, "flops_per_token", total / total_tokens(x));
    llem__put_real(x, o, "flops_per_second", total / window_q(x).v);
    llem__put_real(x, o, "peak_memory_mb", x->peak_bytes / MIB);
    llem__put_real(x, o, "model_memory_mb", x->weights_bytes / MIB);
    llem__put_string(x, o, "flops_method", llem__flops_method(x));
    llem__put_string(x, o, "flops_confidence", llem__flops_confidence(x));
    llem_set(x->a, o, "compute_precision", llem__copy_at(x, "model.dtype"));
    return o;
}

static struct llem_value *extended_metrics(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    struct llem__q tpot = llem__tpot(x);
    double rate = per_second(x, positive(x->tokens.output), "tok/s", "receipts").v;

    llem_set(x->a, o, "tpot_ms", llem__quantity(x, "extended_metrics.tpot_ms", tpot));
    llem__put_real(x, o, "token_efficiency_index", rate * positive(x->tokens.output) / x->energy.v);
    llem_set(x->a, o, "memory", llem__memory_object(x));
    llem_set(x->a, o, "gpu_utilisation", llem__utilisation_object(x));
    llem_set(x->a, o, "batch", llem__batch_object(x));
    llem_set(x->a, o, "kv_cache", llem__kv_cache_object(x));
    llem_set(x->a, o, "request_latency", llem__request_latency(x));
    return o;
}

/* One process; x is the whole where there is only one, else what is known of this one. */
static struct llem_value *process_object(struct llem__derive *x, int64_t index)
{
    struct llem_value *o = llem_map(x->a);
    const struct llem__domain *gpu = NULL;

    for (size_t i = x->n_domains; i-- > 0;)
        if (x->domains[i].charged && x->domains[i].is_gpu)
            gpu = &x->domains[i];
    llem__put_string(x, o, "schema_version", "3.0");
    llem_set(x->a, o, "experiment_id", llem__copy_at(x, "experiment_id"));
    llem_set(x->a, o, "engine", engine_name(x));
    llem_set(x->a, o, "engine_version", engine_version(x));
    llem_set(x->a, o, "process_index", llem_int(x->a, index));
    llem__put_count(x, o, "gpu_id", gpu ? llem_int_at(gpu->json, "index", -1) : -1);
    llem__put_string(x, o, "gpu_name", gpu ? gpu->label : NULL);
    llem_set(x->a, o, "gpu_is_mig",
             gpu && gpu->gpu ? llem_bool(x->a, llem_bool_at(gpu->gpu, "mig", false))
                             : llem_null(x->a));
    llem_set(x->a, o, "gpu_mig_profile", llem_null(x->a));
    llem_set(x->a, o, "model_name", model_name(x));
    llem_set(x->a, o, "timestamps", timestamps(x));
    llem_set(x->a, o, "inference_metrics", inference_metrics(x));
    llem_set(x->a, o, "energy_metrics", energy_metrics(x));
    llem_set(x->a, o, "compute_metrics", compute_metrics(x));
    llem_set(x->a, o, "extended_metrics", extended_metrics(x));
    llem_set(x->a, o, "per_request_latencies_ms", llem__per_request_latencies(x));
    llem_set(x->a, o, "gpu_utilisation_samples", llem__utilisation_samples(x));
    llem_set(x->a, o, "energy_breakdown", energy_breakdown(x));
    llem_set(x->a, o, "thermal_throttle", llem__thermal_throttle(x));
    llem_set(x->a, o, "warmup_result", x->is_inference ? llem__warmup_result(x) : llem_null(x->a));
    return o;
}

static struct llem_value *process_results(struct llem__derive *x)
{
    struct llem_value *list = llem_list(x->a);

    if (!x->n_processes)
        llem_append(x->a, list, process_object(x, 0));
    for (size_t k = 0; k < x->n_processes; k++) {
        struct llem__derive one;
        char path[96];

        llem__process_view(&one, x, k);
        llem_append(x->a, list, process_object(&one, x->processes[k].index));
        snprintf(path, sizeof(path), "process_results.%zu.energy_metrics.total_energy_j", k);
        llem__quantity(x, path, one.energy);
        snprintf(path, sizeof(path), "process_results.%zu.compute_metrics.flops_total", k);
        llem__quantity(x, path, one.total_flops);
    }
    return list;
}

static struct llem_value *warmup(struct llem__derive *x)
{
    return x->is_inference ? llem__warmup_result(x) : llem_null(x->a);
}

/* ---- ours --------------------------------------------------------------------------------- */

static struct llem_value *producer(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);

    llem__put_string(x, o, "program", "llem");
    llem__put_string(x, o, "version", llem_version());
    llem__put_string(x, o, "commit", llem_commit());
    return o;
}

static struct llem_value *recording(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);

    llem_set(x->a, o, "version", llem__copy_at(x, "version"));
    llem__put_string(x, o, "sha256", x->r->sha256);
    return o;
}

static struct llem_value *kind(struct llem__derive *x)
{
    return llem__copy_at(x, "kind");
}

static struct llem_value *quick(struct llem__derive *x)
{
    return llem_bool(x->a, x->quick);
}

static struct llem_value *energy_quality(struct llem__derive *x)
{
    return llem_string(x->a, x->energy_quality);
}

static struct llem_value *energy_source(struct llem__derive *x)
{
    return llem_string(x->a, *x->energy_source ? x->energy_source : NULL);
}

static struct llem_value *energy_scope(struct llem__derive *x)
{
    struct llem_value *list = llem_list(x->a);

    for (size_t i = 0; i < x->n_domains; i++)
        if (x->domains[i].charged)
            llem_append(x->a, list, llem_string(x->a, x->domains[i].id));
    return list;
}

static struct llem_value *estimated_j(struct llem__derive *x)
{
    return x->estimated ? x->estimated : llem_null(x->a);
}

/* One figure of an estimate, with its range; a factor below zero divides by the energy instead. */
static struct llem_value *estimated_figure(struct llem__derive *x, double factor, bool inverse)
{
    struct llem_value *o = llem_map(x->a);
    const double *e = x->estimated_j;

    if (!isfinite(factor))
        return llem_null(x->a);
    llem__put_real(x, o, "value", inverse ? factor / e[0] : factor * e[0]);
    llem__put_real(x, o, "low", inverse ? factor / e[2] : factor * e[1]);
    llem__put_real(x, o, "high", inverse ? factor / e[1] : factor * e[2]);
    return o;
}

static struct llem_value *energy_estimated(struct llem__derive *x)
{
    double out = positive(x->tokens.output);
    struct llem_value *o = llem_map(x->a);

    if (!x->estimated || !(x->estimated_j[0] > 0))
        return llem_null(x->a);
    llem_set(x->a, o, "j_per_output_token", estimated_figure(x, 1 / out, false));
    llem_set(x->a, o, "output_tokens_per_j", estimated_figure(x, out, true));
    llem_set(x->a, o, "kwh_per_million_output_tokens",
             estimated_figure(x, 1e6 / 3.6e6 / out, false));
    return o;
}

static struct llem_value *emissions(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);

    llem_set(x->a, o, "kg_co2", llem__quantity(x, "emissions.kg_co2", emissions_q(x)));
    llem_set(x->a, o, "estimated_kg_co2",
             x->estimated ? estimated_figure(x, kg_co2_per_j(x), false) : llem_null(x->a));
    llem__put_string(x, o, "method", "energy_x_pue_x_carbon_intensity");
    llem_set(x->a, o, "carbon_intensity_gco2_kwh",
             llem__copy_at(x, "site.carbon_intensity_gco2_kwh"));
    llem_set(x->a, o, "datacenter_pue", llem__copy_at(x, "site.datacenter_pue"));
    return o;
}

static struct llem_value *throughput(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    const struct llem__tokens *t = &x->tokens;
    const struct {
        const char *key, *path;
        double count;
        const char *unit;
    } rows[] = {
        { "output_tokens_per_s", "throughput.output_tokens_per_s", positive(t->output), "tok/s" },
        { "input_tokens_per_s", "throughput.input_tokens_per_s", positive(t->input), "tok/s" },
        { "total_tokens_per_s", "throughput.total_tokens_per_s", total_tokens(x), "tok/s" },
        { "requests_per_s", "throughput.requests_per_s", positive((int64_t)t->requests), "1/s" },
    };

    for (size_t i = 0; i < LLEM_COUNT(rows); i++)
        llem_set(x->a, o, rows[i].key,
                 llem__quantity(x, rows[i].path,
                                per_second(x, rows[i].count, rows[i].unit, "receipts")));
    return o;
}

static struct llem_value *details(struct llem__derive *x)
{
    return x->details;
}

static struct llem_value *quantities(struct llem__derive *x)
{
    return x->quantities;
}

/* Copied from the recording under the same name. */
static struct llem_value *copied(struct llem__derive *x)
{
    return NULL; /* the walk over the table does it */
}

/* The order is that of result.json. */
static const struct {
    const char *key;
    build_fn build;
} keys[] = {
    { "schema_version", schema_version },
    { "experiment_id", copied },
    { "measurement_config_hash", copied },
    { "llenergymeasure_version", program_version },
    { "engine", engine_name },
    { "engine_version", engine_version },
    { "model_name", model_name },
    { "measurement_methodology", methodology },
    { "steady_state_window", always_null },
    { "total_tokens", tokens_total },
    { "total_energy_j", energy_total },
    { "total_inference_time_sec", inference_time },
    { "avg_tokens_per_second", tokens_per_second },
    { "avg_energy_per_token_j", energy_per_token },
    { "mj_per_tok_adjusted", mj_adjusted },
    { "mj_per_tok_total", mj_total },
    { "total_flops", flops_total },
    { "flops_per_output_token", flops_per_output },
    { "flops_per_input_token", flops_per_input },
    { "flops_per_second", flops_rate },
    { "baseline_power_w", baseline_power },
    { "energy_adjusted_j", energy_adjusted },
    { "energy_per_device_j", energy_per_device },
    { "energy_breakdown", energy_breakdown },
    { "multi_gpu", multi_gpu },
    { "measurement_warnings", warnings },
    { "warmup_excluded_samples", always_null },
    { "reproducibility_notes", llem__notes },
    { "timeseries", timeseries },
    { "start_time", start_time },
    { "end_time", end_time },
    { "process_results", process_results },
    { "aggregation", llem__aggregation },
    { "thermal_throttle", llem__thermal_throttle },
    { "warmup_result", warmup },
    { "latency_stats", llem__latency_stats },
    { "extended_metrics", extended_metrics },
    { "producer", producer },
    { "recording", recording },
    { "kind", kind },
    { "quick", quick },
    { "energy_quality", energy_quality },
    { "energy_source", energy_source },
    { "energy_scope", energy_scope },
    { "energy_estimated_j", estimated_j },
    { "energy_estimated", energy_estimated },
    { "emissions", emissions },
    { "tokens", llem__tokens_object },
    { "throughput", throughput },
    { "energy", llem__energy_object },
    { "flops", llem__flops_object },
    { "agreement", llem__agreement_object },
    { "phases", llem__phases_object },
    { "environment", copied },
    { "dataset", copied },
    { "model", llem__model_object },
    { "sensors", copied },
    { "measurement_warnings_detail", details },
    { "quantities", quantities },
};

/* ---- deriving ----------------------------------------------------------------------------- */

static void read_window(struct llem__derive *x)
{
    const struct llem_value *w = llem_get(x->json, "window");
    int64_t t0 = llem__time_at(w, "t_begin_ns"), t1 = llem__time_at(w, "t_end_ns");
    int64_t head = llem__time_at(w, "preroll_begin_ns"), tail = llem__time_at(w, "postroll_end_ns");

    if (t0 < 0 || t1 < t0)
        return;
    x->has_window = true;
    x->window =
        (struct llem__window){ t0, t1, head >= 0 && head < t0 ? head : t0, tail > t1 ? tail : t1 };
    x->window_s = (double)(t1 - t0) / 1e9;
    x->begin_ns = t0;
    x->end_ns = t1;
}

/* How long one step of the load takes: of the engine's steps, else between tokens. */
static void read_step_period(struct llem__derive *x)
{
    const struct llem_column *begin = llem_recording_column(x->r, "steps", "begin_ns");
    double *v;
    size_t n = 0;

    if (!begin || begin->count < 3)
        return;
    v = llem_arena_calloc(x->scratch, begin->count, sizeof(*v));
    for (size_t k = 1; v && k < begin->count; k++)
        if (begin->i64[k] > begin->i64[k - 1])
            v[n++] = (double)(begin->i64[k] - begin->i64[k - 1]) / 1e9;
    if (v && n)
        x->step_period_s = llem__median(v, n);
}

llem_errcode llem_derive(const struct llem_recording *r, struct llem_arena *a,
                         struct llem_value **out, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem__derive x = {
        .r = r, .json = r->json, .a = a, .scratch = &scratch, .begin_ns = -1, .end_ns = -1
    };
    const struct llem_value *seen = llem_get(r->json, "warnings");
    struct llem_value *result = llem_map(a);
    llem_errcode rc = LLEM_OK;

    x.is_inference = strcmp(llem_str_at(r->json, "kind", ""), "measure") != 0;
    x.quick = llem_bool_at(r->json, "quick", false);
    x.quantities = llem_map(a);
    x.warnings = llem_list(a);
    x.details = llem_list(a);
    for (size_t k = 0; seen && seen->kind == LLEM_LIST && k < seen->count && k < 1000; k++)
        llem__warn(&x, llem_str_at(seen->items[k], "reason", "unknown"), NULL,
                   llem_str_at(seen->items[k], "text", NULL));
    read_window(&x);
    read_step_period(&x);
    llem__derive_tokens(&x);
    llem__derive_flops(&x);
    llem__derive_energy(&x);
    llem__derive_processes(&x);
    llem__state_warnings(&x);

    for (size_t k = 0; k < LLEM_COUNT(keys); k++) {
        struct llem_value *v =
            keys[k].build == copied ? llem__copy_at(&x, keys[k].key) : keys[k].build(&x);

        llem_set(a, result, keys[k].key, v);
    }
    /* Composed last, when every warning is known; its place in the order is taken already. */
    llem_set(a, result, "reproducibility_notes", llem__notes(&x));
    if (a->oom || scratch.oom)
        rc =
            llem_fail(err, LLEM_ENOMEM, "out of memory while computing the result of '%s'", r->dir);
    else
        *out = result;
    llem_arena_done(&scratch);
    return rc;
}
