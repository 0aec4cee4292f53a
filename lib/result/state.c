/* SPDX-License-Identifier: MIT
 *
 * What the machine was like: throttling, temperatures, memory, utilisation, the warm-up; the
 * warnings that come of it, and the sentences that say how far the numbers carry.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/result/derive.h"
#include "lib/result/stats.h"

/* NVML's clocks-event reasons. */
enum {
    EVENT_POWER_CAP = 0x4,
    EVENT_HW_SLOWDOWN = 0x8,
    EVENT_SW_THERMAL = 0x20,
    EVENT_HW_THERMAL = 0x40,
    EVENT_HW_BRAKE = 0x80,
};
#define MIB 1048576.0

static const struct llem_value *snapshot(const struct llem__derive *x, const char *when,
                                         const struct llem__domain *d)
{
    return llem_get(
        llem_at(x->json, strcmp(when, "before") == 0 ? "snapshots.before" : "snapshots.after"),
        d->id);
}

/* Seconds that a violation counter moved between the edges; NaN if it is not known. */
static double violation_s(const struct llem__derive *x, const struct llem__domain *d,
                          const char *name)
{
    char path[64];
    int64_t before, after;

    snprintf(path, sizeof(path), "violation_ns.%s", name);
    before = llem__time_at(snapshot(x, "before", d), path);
    after = llem__time_at(snapshot(x, "after", d), path);
    return before < 0 || after < before ? (double)NAN : (double)(after - before) / 1e9;
}

struct throttle {
    bool known, thermal, power, sw_thermal, hw_thermal, hw_power;
    double duration_s, power_cap_s, max_c;
    double *at_s; /* moments at which a read found it */
    size_t n_at;
};

static struct throttle throttle_of(struct llem__derive *x, size_t i)
{
    const struct llem__domain *d = &x->domains[i];
    struct throttle t = { .duration_s = (double)NAN,
                          .power_cap_s = (double)NAN,
                          .max_c = (double)NAN };
    const char *const names[] = { "sw_thermal", "hw_thermal", "hw_power_brake" };
    bool *const flags[] = { &t.sw_thermal, &t.hw_thermal, &t.hw_power };
    double *bits, *at, *celsius, sum = 0;
    size_t n;

    for (size_t k = 0; k < LLEM_COUNT(names); k++) {
        double s = violation_s(x, d, names[k]);

        if (isnan(s))
            continue;
        t.known = true;
        sum += s;
        *flags[k] = s > 0;
    }
    t.duration_s = t.known ? sum : violation_s(x, d, "thermal");
    t.known = t.known || !isnan(t.duration_s);
    t.thermal = t.duration_s > 0 && !(t.hw_power && !t.sw_thermal && !t.hw_thermal);
    t.power_cap_s = violation_s(x, d, "power");
    t.power = t.power_cap_s > 0;
    /* The counters are read before the pre-roll and after the post-roll, so as not to disturb the
     * edges; what they count is at most the whole window. */
    if (x->has_window) {
        t.duration_s = t.duration_s > x->window_s ? x->window_s : t.duration_s;
        t.power_cap_s = t.power_cap_s > x->window_s ? x->window_s : t.power_cap_s;
    }

    n = llem__values_in_window(x, i, "event_reasons", &bits, &at);
    t.known = t.known || n > 0;
    t.at_s = at;
    for (size_t k = 0; k < n; k++) {
        unsigned mask = bits[k] >= 0 && bits[k] < 65536 ? (unsigned)bits[k] : 0;

        t.sw_thermal = t.sw_thermal || (mask & EVENT_SW_THERMAL);
        t.hw_thermal = t.hw_thermal || (mask & EVENT_HW_THERMAL);
        t.hw_power = t.hw_power || (mask & EVENT_HW_BRAKE);
        t.thermal = t.thermal || (mask & (EVENT_SW_THERMAL | EVENT_HW_THERMAL));
        t.power = t.power || (mask & EVENT_POWER_CAP);
        if (mask & (EVENT_SW_THERMAL | EVENT_HW_THERMAL | EVENT_HW_BRAKE | EVENT_HW_SLOWDOWN))
            at[t.n_at++] = at[k];
    }
    n = llem__values_in_window(x, i, "temperature", &celsius, NULL);
    for (size_t k = 0; k < n; k++)
        t.max_c = fmax(t.max_c, celsius[k]);
    return t;
}

struct llem_value *llem__thermal_throttle(struct llem__derive *x)
{
    struct throttle all = { .duration_s = (double)NAN,
                            .power_cap_s = (double)NAN,
                            .max_c = (double)NAN };
    struct llem_value *o = llem_map(x->a), *times = llem_list(x->a);
    bool detected;

    for (size_t i = 0; i < x->n_domains; i++) {
        struct throttle t;

        if (!x->domains[i].charged)
            continue;
        t = throttle_of(x, i);
        all.known = all.known || t.known;
        all.thermal = all.thermal || t.thermal;
        all.power = all.power || t.power;
        all.sw_thermal = all.sw_thermal || t.sw_thermal;
        all.hw_thermal = all.hw_thermal || t.hw_thermal;
        all.hw_power = all.hw_power || t.hw_power;
        all.duration_s = fmax(all.duration_s, t.duration_s);
        all.power_cap_s = fmax(all.power_cap_s, t.power_cap_s);
        all.max_c = fmax(all.max_c, t.max_c);
        for (size_t k = 0; k < t.n_at; k++)
            llem_append(x->a, times, llem_real(x->a, t.at_s[k]));
    }
    if (!all.known && isnan(all.max_c))
        return llem_null(x->a);
    detected = all.thermal || all.hw_power;
#define FLAG(key, v) llem_set(x->a, o, key, all.known ? llem_bool(x->a, v) : llem_null(x->a))
    FLAG("thermal", all.thermal);
    FLAG("power", all.power);
    FLAG("sw_thermal", all.sw_thermal);
    FLAG("hw_thermal", all.hw_thermal);
    FLAG("hw_power", all.hw_power);
    llem__put_real(x, o, "throttle_duration_sec", all.duration_s);
    llem__put_real(x, o, "max_temperature_c", all.max_c);
    llem_set(x->a, o, "throttle_timestamps", all.known ? times : llem_null(x->a));
    FLAG("detected", detected);
#undef FLAG
    llem__put_real(x, o, "power_cap_sec", all.power_cap_s);
    if (all.known && detected)
        llem__warn(x, "throttled_thermal", NULL, NULL);
    return o;
}

struct llem_value *llem__warmup_result(struct llem__derive *x)
{
    const struct llem_value *w = llem_get(x->json, "warmup"), *list = llem_get(w, "latencies_ms");
    double last[64], cv = (double)NAN;
    int64_t size = llem_int_at(w, "window_size", 0);
    struct llem_value *o = llem_map(x->a);
    size_t n = 0;

    if (llem_is_null(w))
        return llem_null(x->a);
    if (list && list->kind == LLEM_LIST && list->count > 1) {
        size_t take = size >= 2 && size <= 64 ? (size_t)size : 3;

        take = take > list->count ? list->count : take;
        for (size_t k = list->count - take; k < list->count; k++)
            if (list->items[k]->kind == LLEM_REAL || list->items[k]->kind == LLEM_INT)
                last[n++] = list->items[k]->kind == LLEM_REAL ? list->items[k]->d
                                                              : (double)list->items[k]->i;
        if (n > 1 && llem__mean(last, n) > 0)
            cv = llem__population_sd(last, n) / llem__mean(last, n);
    }
    llem_set(x->a, o, "converged", llem__copy_at(x, "warmup.converged"));
    llem__put_real(x, o, "final_cv", cv);
    llem__put_count(x, o, "iterations_completed",
                    list && list->kind == LLEM_LIST ? (int64_t)list->count : -1);
    llem_set(x->a, o, "target_cv", llem__copy_at(x, "warmup.target_cv"));
    llem_set(x->a, o, "max_prompts", llem__copy_at(x, "warmup.max_prompts"));
    llem_set(x->a, o, "latencies_ms", llem__copy_at(x, "warmup.latencies_ms"));
    llem_set(x->a, o, "thermal_floor_wait_s", llem__copy_at(x, "thermal.waited_s"));
    llem_set(x->a, o, "mode", llem__copy_at(x, "warmup.mode"));
    llem_set(x->a, o, "batch_ms", llem__copy_at(x, "warmup.batch_ms"));
    return o;
}

static double charged_vram(const struct llem__derive *x)
{
    double sum = (double)NAN;

    for (size_t i = 0; i < x->n_domains; i++) {
        double bytes = llem_real_at(x->domains[i].gpu, "vram_bytes", (double)NAN);

        if (x->domains[i].charged && bytes > 0)
            sum = (isnan(sum) ? 0 : sum) + bytes;
    }
    return sum;
}

struct llem_value *llem__memory_object(struct llem__derive *x)
{
    double total = charged_vram(x), model = x->weights_bytes, peak = x->peak_bytes;
    double kv = llem_real_at(x->effective, "kv_cache_bytes", (double)NAN);
    double out = x->tokens.output > 0 ? (double)x->tokens.output : (double)NAN;
    struct llem_value *o = llem_map(x->a);

    llem__put_real(x, o, "total_vram_mb", total / MIB);
    llem__put_real(x, o, "model_memory_mb", model / MIB);
    llem__put_real(x, o, "peak_memory_mb", peak / MIB);
    /* Less than the weights: the engine counts something else (memory-mapped weights, say). */
    llem__put_real(x, o, "inference_memory_mb", peak >= model ? (peak - model) / MIB : (double)NAN);
    llem__put_real(x, o, "kv_cache_mb", kv / MIB);
    llem__put_real(x, o, "tokens_per_gb_vram", out / (peak / MIB / 1024));
    llem__put_real(x, o, "model_memory_utilisation", model / total);
    llem__put_real(x, o, "kv_cache_memory_ratio", kv / peak);
    return o;
}

static size_t utilisation(struct llem__derive *x, double **out)
{
    size_t n = 0, cap = 0;

    for (size_t i = 0; i < x->n_domains; i++) {
        double *v;

        if (x->domains[i].charged)
            cap += llem__values_in_window(x, i, "utilization", &v, NULL);
    }
    *out = llem_arena_calloc(x->scratch, cap + 1, sizeof(double));
    for (size_t i = 0; *out && i < x->n_domains; i++) {
        double *v;
        size_t m;

        if (!x->domains[i].charged)
            continue;
        m = llem__values_in_window(x, i, "utilization", &v, NULL);
        for (size_t k = 0; k < m && n < cap; k++)
            (*out)[n++] = 100 * v[k];
    }
    return n;
}

struct llem_value *llem__utilisation_object(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a);
    double *v;
    size_t n = utilisation(x, &v);

    llem__put_real(x, o, "sm_utilisation_mean", llem__mean(v, n));
    llem__put_count(x, o, "sm_utilisation_samples", (int64_t)n);
    llem_set(x->a, o, "memory_bandwidth_utilisation", llem_null(x->a));
    return o;
}

struct llem_value *llem__utilisation_samples(struct llem__derive *x)
{
    struct llem_value *list = llem_list(x->a);
    double *v;
    size_t n = utilisation(x, &v);

    for (size_t k = 0; k < n && n <= 4096; k++)
        llem_append(x->a, list, llem_real(x->a, v[k]));
    return list;
}

struct llem_value *llem__kv_cache_object(struct llem__derive *x)
{
    static const char *const blocks[] = { "kv_cache_blocks_used", "kv_cache_blocks_total" };
    struct llem_value *o = llem_map(x->a);
    double hit = x->tokens.cached >= 0 && x->tokens.input > 0
                     ? (double)x->tokens.cached / (double)x->tokens.input
                     : (double)NAN;

    llem__put_real(x, o, "kv_cache_hit_rate", hit);
    for (size_t k = 0; k < LLEM_COUNT(blocks); k++)
        llem_set(x->a, o, blocks[k], llem_copy(x->a, llem_get(x->effective, blocks[k])));
    return o;
}

/* ---- warnings ----------------------------------------------------------------------------- */

static bool has_warning(const struct llem__derive *x, const char *code)
{
    for (size_t k = 0; k < x->details->count; k++)
        if (strcmp(llem_str_at(x->details->items[k], "reason", ""), code) == 0)
            return true;
    return false;
}

enum { MAX_PROCESSES = 1024 }; /* looked at on one device */

static const struct llem_value *process_with(const struct llem_value *state, int64_t pid)
{
    const struct llem_value *list = llem_get(state, "processes");

    for (size_t k = 0; list && list->kind == LLEM_LIST && k < list->count && k < MAX_PROCESSES; k++)
        if (llem_int_at(list->items[k], "pid", -1) == pid)
            return list->items[k];
    return NULL;
}

/* Others' processes on a charged device at an edge of the window: those that are seen not to be
 * ours, and those that cannot be looked at but were there before anything of ours was. Where only a
 * span of time is measured, whatever runs is what is meant. */
static void foreign_processes(struct llem__derive *x, const struct llem__domain *d)
{
    const char *const edges[] = { "before", "after" };
    const struct llem_value *start = llem_get(llem_at(x->json, "snapshots.start"), d->id);
    int64_t pids[8];
    size_t n = 0, more = 0;
    char text[256];
    int len;

    if (!x->is_inference && llem_is_null(llem_at(x->json, "measure.argv")))
        return;
    for (size_t e = 0; e < LLEM_COUNT(edges); e++) {
        const struct llem_value *list = llem_get(snapshot(x, edges[e], d), "processes");

        for (size_t k = 0; list && list->kind == LLEM_LIST && k < list->count && k < MAX_PROCESSES;
             k++) {
            const struct llem_value *own = llem_get(list->items[k], "own");
            int64_t pid = llem_int_at(list->items[k], "pid", -1);
            size_t m = 0;

            if (pid <= 0 || (own && own->kind == LLEM_BOOL ? own->b : !process_with(start, pid)))
                continue;
            if (e > 0 && process_with(snapshot(x, "before", d), pid))
                continue; /* told already */
            while (m < n && pids[m] != pid)
                m++;
            if (m < n)
                continue;
            if (n < LLEM_COUNT(pids))
                pids[n++] = pid;
            else
                more++;
        }
    }
    if (!n)
        return;
    len = snprintf(text, sizeof(text), "%s", n > 1 ? "Processes" : "Process");
    for (size_t k = 0; k < n; k++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s %lld", k ? "," : "",
                        (long long)pids[k]);
    if (more)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " and %zu more", more);
    snprintf(text + len, sizeof(text) - (size_t)len, ", not of this run, used the device.");
    llem__warn(x, "foreign_process", d->id, text);
}

static void domain_warnings(struct llem__derive *x, size_t i)
{
    const struct llem__domain *d = &x->domains[i];
    const struct llem_value *persistence = llem_get(d->gpu, "persistence");
    double *celsius, first, last;
    char text[160];
    size_t n = llem__values_in_window(x, i, "temperature", &celsius, NULL);

    if (persistence && persistence->kind == LLEM_BOOL && !persistence->b)
        llem__warn(x, "gpu_persistence_mode_off", d->id, NULL);
    if (llem_bool_at(d->gpu, "mig", false))
        llem__warn(x, "mig_shared_counter", d->id, NULL);
    foreign_processes(x, d);
    first = n ? celsius[0] : llem_real_at(snapshot(x, "before", d), "temperature_c", (double)NAN);
    last = n ? celsius[n - 1] : llem_real_at(snapshot(x, "after", d), "temperature_c", (double)NAN);
    if (fabs(last - first) > 10) {
        snprintf(
            text, sizeof(text),
            "The temperature changed by %.1f degrees inside the window; more than 10.0 is a drift.",
            last - first);
        llem__warn(x, "thermal_drift_detected", d->id, text);
    }
    if (d->is_gpu && d->best) {
        size_t reads = 0;

        for (size_t k = 0; k < d->counter.n_reads; k++)
            reads += d->counter.read_s[k] >= 0 && d->counter.read_s[k] <= x->window_s;
        if (d->has_counter && reads < 10)
            llem__warn(x, "nvml_low_sample_count", d->id, NULL);
    }
}

/* Work of others on the CPUs, where the work itself ran in this process and is the most of it. */
static void foreign_load(struct llem__derive *x)
{
    double busy = llem_real_at(x->json, "cpu.machine_busy_s", (double)NAN);
    double total = llem_real_at(x->json, "cpu.machine_total_s", (double)NAN);
    double own = llem_real_at(x->json, "cpu.process_user_s", (double)NAN) +
                 llem_real_at(x->json, "cpu.process_system_s", (double)NAN);
    char text[160];

    if (!x->is_inference || !(total > 0) || !(own > 0.2 * busy) || !((busy - own) / total > 0.05))
        return;
    snprintf(text, sizeof(text),
             "Other processes took %.0f %% of the machine's CPU time in the window.",
             100 * (busy - own) / total);
    llem__warn(x, "foreign_cpu_load", NULL, text);
}

void llem__state_warnings(struct llem__derive *x)
{
    const struct llem_value *converged = llem_at(x->json, "warmup.converged");
    const char *mode = llem_str_at(x->json, "warmup.mode", "");
    int64_t truncated = llem_int_at(x->json, "dataset.truncated", 0);
    int64_t late = llem_int_at(x->json, "sampler_cost.late_deadlines", 0);
    int64_t reads = llem_int_at(x->json, "sampler_cost.reads", 0);
    char text[160];

    if (x->quick)
        llem__warn(x, "quick", NULL, NULL);
    if (!x->has_window)
        llem__warn(x, "no_window", NULL, NULL);
    else if (x->window_s < 10) {
        snprintf(text, sizeof(text), "The window is %.3g s long; energies are firm from 10 s on.",
                 x->window_s);
        llem__warn(x, "short_measurement_duration", NULL, text);
    }
    for (size_t i = 0; i < x->n_domains; i++)
        if (x->domains[i].charged)
            domain_warnings(x, i);
    if (strcmp(mode, "converge") == 0 && converged && converged->kind == LLEM_BOOL &&
        !converged->b && !has_warning(x, "warmup_not_converged"))
        llem__warn(x, "warmup_not_converged", NULL, NULL);
    if (truncated > 0 && !has_warning(x, "prompts_truncated")) {
        snprintf(text, sizeof(text), "%lld prompts were cut to task.max_input_tokens.",
                 (long long)truncated);
        llem__warn(x, "prompts_truncated", NULL, text);
    }
    if (reads > 100 && late > reads / 20 && !has_warning(x, "late_deadlines"))
        llem__warn(x, "late_deadlines", NULL, NULL);
    if (!has_warning(x, "foreign_cpu_load"))
        foreign_load(x);
}

/* ---- how far the numbers carry ------------------------------------------------------------ */

struct llem_value *llem__notes(struct llem__derive *x)
{
    struct llem_buf b = LLEM_BUF_INIT(8192);
    double wait = llem_real_at(x->json, "thermal.waited_s", (double)NAN);
    const char *mode = llem_str_at(x->json, "warmup.mode", "");
    int64_t kept = llem__time_at(llem_at(x->json, "baseline.reused"), "end_ns");
    struct llem_value *v;

    if (isfinite(x->energy.v)) {
        double percent = fabs(x->energy.v) > 0 ? 100 / fabs(x->energy.v) : 0;

        llem_buf_addf(&b,
                      "Energy by %s over %.3f s, %zu domain%s charged, +-%.2g %% (k=2) statistical",
                      x->energy_source, x->window_s, x->n_charged, x->n_charged == 1 ? "" : "s",
                      2 * x->energy.u_stat * percent);
        if (isfinite(x->energy.u_sys))
            llem_buf_addf(&b, " and +-%.2g %% (k=2) systematic, as read and not corrected.",
                          2 * x->energy.u_sys * percent);
        else
            llem_buf_adds(&b, "; the sensor's systematic error is not known.");
    } else if (x->estimated) {
        llem_buf_addf(&b, "Energy is only estimated (%s), not measured.", x->energy_source);
    } else {
        llem_buf_addf(&b, "Energy was not measured (%s).",
                      x->energy.reason ? x->energy.reason : "unknown");
    }
    llem_buf_adds(&b, " One run: repeatability is not included.");
    if (isfinite(x->baseline.v) && kept >= 0)
        llem_buf_addf(&b, " Idle power %.1f W, measured %.0f s before this run's work by %s%s.",
                      x->baseline.v, (double)(x->window.t0_ns - kept) * 1e-9,
                      llem_str_at(x->json, "baseline.reused.run", "an earlier run"),
                      llem_is_null(llem_at(x->json, "baseline.spot")) ? ""
                                                                      : " and checked by this");
    else if (isfinite(x->baseline.v))
        llem_buf_addf(&b, " Idle power %.1f W, measured before the model was loaded.",
                      x->baseline.v);
    if (*mode)
        llem_buf_addf(&b, " Warm-up: %s.", mode);
    if (isfinite(wait))
        llem_buf_addf(&b, " Waited %.1f s for the temperature to settle.", wait);
    if (x->quick)
        llem_buf_adds(&b, " Quick run: baseline and waits were shortened.");
    if (x->details->count)
        llem_buf_addf(&b, " See the %zu warning%s.", x->details->count,
                      x->details->count == 1 ? "" : "s");
    v = llem_string(x->a, b.failed ? "" : b.data);
    if (b.failed)
        x->a->oom = true;
    llem_buf_done(&b);
    return v;
}
