/* SPDX-License-Identifier: MIT
 *
 * From each domain's reads to its energy, from the charged domains to the totals, their
 * uncertainty, the idle below them, and whether two sensors agree.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/result/derive.h"
#include "lib/result/stats.h"

/* NVIDIA boards of Ampere and later, as read, k=1: published boards read 4.3 % low in the mean and
 * differ by 1.7 % from each other, so that +-10 % holds about 95 % of them; docs/measurement.md has
 * the source. */
#define PRIOR_GAIN_COMMON 0.047
#define PRIOR_GAIN_DEVICE 0.017
#define PRIOR_SOURCE "published NVIDIA boards of Ampere and later, as read: +-10 % (k=2)"

struct gain {
    bool known;
    double common, device, offset_common_w, offset_device_w;
    const char *source;
};

static const struct llem_value *describe_of(const struct llem__derive *x, const char *sampler)
{
    const struct llem_value *sensors = llem_get(x->json, "sensors");

    for (size_t i = 0; sensors && sensors->kind == LLEM_LIST && i < sensors->count; i++)
        if (strcmp(llem_str_at(sensors->items[i], "name", ""), sampler) == 0)
            return llem_get(sensors->items[i], "describe");
    return NULL;
}

/* What is known of a board: its entry in environment.gpus, else what its sampler says of the
 * domain. */
static const struct llem_value *find_gpu(const struct llem__derive *x, const struct llem__domain *d)
{
    const struct llem_value *gpus = llem_at(x->json, "environment.gpus");
    const char *uuid = llem_str_at(d->json, "uuid", "");

    for (size_t i = 0; *uuid && gpus && gpus->kind == LLEM_LIST && i < gpus->count; i++)
        if (strcmp(llem_str_at(gpus->items[i], "uuid", ""), uuid) == 0)
            return gpus->items[i];
    return llem_get(llem_get(describe_of(x, d->sampler), "domains"), d->id);
}

/* "8.0" and 8.0 alike; 0 = not known */
static double compute_capability(const struct llem_value *gpu)
{
    const struct llem_value *v = llem_get(gpu, "compute_capability");
    double d;

    if (v && v->kind == LLEM_STRING)
        return llem_parse_f64(v->s, &d) ? d : 0;
    return llem_real_at(gpu, "compute_capability", 0);
}

/* ---- samplers with windows of their own ---------------------------------------------------- */

/* NVIDIA's counters tick each 20 to 100 ms; what a sampler does not tell is taken as the longest.
 */
#define LONGEST_PERIOD_S 0.1

/* What a sampler said of a window around [t0, t1]. */
struct own {
    double e_j, u_j, span_s;
    const char *reason; /* NULL = there is a value */
};

/*
 * Both ends are plain readings of a counter that is renewed each T: it shows the value of a moment
 * up to T ago, evenly spread. At one end the power is P, at the other anything from 0 to P, so the
 * root mean square of both together is P T/sqrt(3) at most. The time by which the window is longer
 * than the work has a power between 0 and P as well.
 */
static struct own own_window(const struct llem__derive *x, const struct llem__domain *d,
                             const struct llem_value *windows, int64_t t0_ns, int64_t t1_ns)
{
    const struct llem_value *w = llem_get(windows, d->sampler);
    const struct llem_value *v = llem_get(llem_get(w, "domains"), d->id);
    const struct llem_value *info =
        llem_get(llem_get(describe_of(x, d->sampler), "domains"), d->id);
    int64_t begin = llem__time_at(w, "t_begin_ns"), end = llem__time_at(w, "t_end_ns");
    double period = llem_real_at(info, "period_s", LONGEST_PERIOD_S), power, excess;
    struct own o = { (double)NAN, (double)NAN, (double)NAN, llem_str_at(w, "reason", NULL) };

    if (o.reason)
        return o;
    o.reason = "no_window";
    if (!w)
        return o;
    /* Its own moments, if they lie where they can; else those of the calls. */
    if (begin < llem__time_at(w, "begin_ns") || begin > t0_ns)
        begin = llem__time_at(w, "begin_ns");
    if (end < t1_ns || end > llem__time_at(w, "end_ns"))
        end = llem__time_at(w, "end_ns");
    o.reason = "sensor_garbage";
    if (!v || (v->kind != LLEM_REAL && v->kind != LLEM_INT) || begin < 0 || end <= begin)
        return o;
    o.e_j = v->kind == LLEM_REAL ? v->d : (double)v->i;
    o.span_s = (double)(end - begin) * 1e-9;
    if (!(period > 0) || period > 10)
        period = LONGEST_PERIOD_S;
    if (!(o.e_j >= 0) || o.e_j > 1e12)
        return o;
    o.reason = o.e_j > 0 || o.span_s < 10 * period ? NULL : "counter_stuck";
    power = o.e_j / o.span_s;
    excess = fabs(o.span_s - (double)(t1_ns - t0_ns) * 1e-9);
    o.u_j = power * sqrt((period * period + excess * excess) / 3);
    return o;
}

static void estimate_by_window(struct llem__derive *x, struct llem__domain *d)
{
    struct llem__estimate *e = &d->methods[0];
    struct own o =
        own_window(x, d, llem_get(x->json, "sampler_windows"), x->window.t0_ns, x->window.t1_ns);

    d->reason = o.reason;
    if (d->estimated && !o.reason) {
        d->estimated_j = o.e_j;
        d->reason = "estimated_only";
    }
    if (d->estimated)
        return;
    llem__estimate_none(e, LLEM__SAMPLER_WINDOW);
    d->n_methods = 1;
    e->reason = o.reason;
    if (o.reason)
        return;
    e->e_j = o.e_j;
    e->u_stat_j = o.u_j;
    d->best = e;
}

/* ---- one domain --------------------------------------------------------------------------- */

static void open_domain(struct llem__derive *x, size_t i)
{
    struct llem__domain *d = &x->domains[i];
    const struct llem_value *counter = llem__field_of(d->json, "counter");
    const struct llem_value *average = llem__field_of(d->json, "power_average");
    const struct llem_value *instant = llem__field_of(d->json, "power_instant");
    struct llem__reads reads;
    double limit_w;

    d->id = llem_str_at(d->json, "id", "");
    d->kind = llem_str_at(d->json, "kind", "");
    d->label = llem_str_at(d->json, "label", "");
    d->sampler = llem_str_at(d->json, "sampler", "");
    d->is_gpu = strcmp(d->kind, "gpu") == 0;
    d->gpu = d->is_gpu ? find_gpu(x, d) : NULL;
    limit_w = llem_real_at(d->gpu, "power_limit_w", 0);
    d->device.power_limit_w = limit_w > 0 ? limit_w : 0;
    d->device.max_power_w =
        limit_w > 0 ? 2 * limit_w : 0; /* boards overshoot their limit for a moment */
    d->device.step_period_s = x->step_period_s;
    d->estimated = strcmp(llem_str_at(d->json, "quality", "measured"), "estimated") == 0;
    d->estimated_j = (double)NAN;
    d->device.integrates = !d->is_gpu; /* RAPL and its kind add up all energy by definition */
    d->bare_w = d->u_bare_w = d->loaded_before_w = d->loaded_after_w = (double)NAN;
    d->u_adjusted_drift_w = d->u_sys_j = (double)NAN;
    d->reason = llem__field_of(d->json, "cpu_busy") ? "estimated_only" : "no_sensor";
    if (llem_bool_at(d->json, "left_out", false)) {
        d->reason = "not_needed";
        return;
    }
    d->has_window = !counter && !average && !instant &&
                    llem_get(llem_get(x->json, "sampler_windows"), d->sampler);
    if (!x->has_window) {
        d->reason = "no_window";
        return;
    }
    if (counter) {
        llem__reads_of(x, i, counter, &reads);
        d->has_counter = reads.n > 0;
        llem__counter_init(&d->counter, x->scratch, &reads, &x->window, &d->device);
    }
    if (average) {
        llem__reads_of(x, i, average, &reads);
        d->has_average = reads.n > 0;
        llem__power_init(&d->average, x->scratch, &reads, &x->window, &d->device);
    }
    if (instant) {
        llem__reads_of(x, i, instant, &reads);
        d->has_instant = reads.n > 0;
        llem__power_init(&d->instant, x->scratch, &reads, &x->window, &d->device);
    }
}

static void estimate_domain(struct llem__derive *x, struct llem__domain *d)
{
    if (!x->has_window)
        return;
    if (d->has_window) {
        estimate_by_window(x, d);
        return;
    }
    if (d->has_counter) {
        struct llem__estimate *e = &d->methods[d->n_methods++];

        llem__kind_test(&d->kind_test, x->scratch, &d->counter, d->has_instant ? &d->instant : NULL,
                        &x->window, &d->device);
        llem__estimate_counter(e, x->scratch, &d->counter, &x->window, &d->device);
        llem__estimate_alias(e, x->scratch, &d->counter, d->kind_test.kind,
                             d->has_instant ? d->instant.averaging_s : 0, &x->window, &d->device);
    }
    if (d->has_average)
        llem__estimate_average(&d->methods[d->n_methods++], x->scratch, &d->average, &x->window);
    if (d->has_instant)
        llem__estimate_instant(&d->methods[d->n_methods++], x->scratch, &d->instant, &x->window);
    /* They stand in order of preference. */
    for (size_t m = d->n_methods; m-- > 0;)
        if (!d->methods[m].reason)
            d->best = &d->methods[m];
    if (d->best)
        d->reason = NULL;
    else if (d->n_methods)
        d->reason = d->methods[0].reason;
}

/* Mean power in a span of recording.json with its variance, by the sensor that the energy comes
 * from. */
static bool span_power(struct llem__derive *x, const struct llem__domain *d, const char *path,
                       double *mean_w, double *variance)
{
    const struct llem_value *span = llem_at(x->json, path);
    int64_t begin = llem__time_at(span, "begin_ns"), end = llem__time_at(span, "end_ns");
    double from_s, to_s;

    if (!d->best || begin < 0 || end <= begin)
        return false;
    if (d->best->method == LLEM__SAMPLER_WINDOW) {
        struct own o = own_window(x, d, llem_at(x->json, "baseline.sampler_windows"), begin, end);

        *mean_w = o.e_j / o.span_s;
        *variance = pow(o.u_j / o.span_s, 2);
        return strcmp(path, "baseline.bare") == 0 && !o.reason;
    }
    from_s = (double)(begin - x->window.t0_ns) / 1e9;
    to_s = (double)(end - x->window.t0_ns) / 1e9;
    if (d->best == &d->methods[0] && d->has_counter)
        return llem__counter_span(&d->counter, x->scratch, from_s, to_s, mean_w, variance);
    if (d->best->method == LLEM__POWER_AVERAGE)
        return llem__power_span(&d->average, true, x->scratch, from_s, to_s, mean_w, variance);
    return llem__power_span(&d->instant, false, x->scratch, from_s, to_s, mean_w, variance);
}

/* What an earlier run of the study measured of the domain by the same kind of reading. */
static const struct llem_value *kept_reading(const struct llem__derive *x,
                                             const struct llem__domain *d)
{
    const struct llem_value *list = llem_at(x->json, "baseline.reused.domains");
    const char *role = !d->best                                      ? NULL
                       : d->best == &d->methods[0] && d->has_counter ? "counter"
                       : d->best->method == LLEM__POWER_AVERAGE      ? "power_average"
                       : d->best->method == LLEM__POWER_INSTANT      ? "power_instant"
                                                                     : NULL;

    for (size_t i = 0; role && list && list->kind == LLEM_LIST && i < list->count; i++)
        if (strcmp(llem_str_at(list->items[i], "id", ""), d->id) == 0 &&
            strcmp(llem_str_at(list->items[i], "sampler", ""), d->sampler) == 0)
            return llem_get(list->items[i], role);
    return NULL;
}

/*
 * Idle that an earlier run measured. What it has moved by since is seen by a spot check, and the
 * whole difference counts; without one it lies anywhere within what a check would have let pass.
 */
static bool kept_power(struct llem__derive *x, const struct llem__domain *d, double *mean_w,
                       double *variance)
{
    const struct llem_value *kept = kept_reading(x, d);
    double p = llem_real_at(kept, "power_w", (double)NAN),
           u = llem_real_at(kept, "u_w", (double)NAN), spot_w, v,
           threshold = llem_real_at(x->json, "baseline.reused.drift_threshold", (double)NAN);

    if (span_power(x, d, "baseline.spot", &spot_w, &v))
        v += pow(spot_w - p, 2);
    else
        v = pow(threshold * p, 2) / 3;
    *mean_w = p;
    *variance = u * u + v;
    return isfinite(p) && isfinite(*variance);
}

static void idle_of_domain(struct llem__derive *x, struct llem__domain *d)
{
    double v, drift;

    if (span_power(x, d, "baseline.bare", &d->bare_w, &v) || kept_power(x, d, &d->bare_w, &v))
        d->u_bare_w = sqrt(v);
    else
        d->bare_w = (double)NAN;
    if (!span_power(x, d, "baseline.loaded_before", &d->loaded_before_w, &v))
        d->loaded_before_w = (double)NAN;
    if (!span_power(x, d, "baseline.loaded_after", &d->loaded_after_w, &v))
        d->loaded_after_w = (double)NAN;
    drift = d->loaded_after_w - d->loaded_before_w;
    d->u_adjusted_drift_w = isnan(drift) ? 0 : fabs(drift) / sqrt(12);
    if (d->charged && fabs(drift) > fmax(5, 0.1 * d->loaded_before_w)) {
        char text[160];

        snprintf(text, sizeof(text),
                 "The idle power was %.1f W before the run and %.1f W after it.",
                 d->loaded_before_w, d->loaded_after_w);
        llem__warn(x, "idle_drift", d->id, text);
    }
}

/* ---- totals ------------------------------------------------------------------------------- */

static struct gain gain_of(const struct llem__derive *x, const struct llem__domain *d)
{
    const struct llem_value *prior = llem_get(x->json, "gain_prior");
    struct gain g = { 0 };

    if (prior && prior->kind == LLEM_MAP && d->is_gpu) {
        g.known = true;
        g.common = fabs(llem_real_at(prior, "u_gain_common", 0));
        g.device = fabs(llem_real_at(prior, "u_gain_device", 0));
        g.offset_common_w = fabs(llem_real_at(prior, "u_offset_common_w", 0));
        g.offset_device_w = fabs(llem_real_at(prior, "u_offset_device_w", 0));
        g.source = llem_str_at(prior, "source", "recording.json");
    } else if (d->is_gpu && compute_capability(d->gpu) >= 8) {
        g = (struct gain){ true, PRIOR_GAIN_COMMON, PRIOR_GAIN_DEVICE, 0, 0, PRIOR_SOURCE };
    }
    return g;
}

/* Systematic uncertainty of a sum of n parts that share the common part of the gain; NaN = not
 * known. */
struct systematic {
    bool known;
    double common, device2, offset_common, offset_device2;
};

static void add_systematic(struct systematic *s, const struct gain *g, double value, double time)
{
    s->known = s->known && g->known;
    s->common += g->common * value;
    s->device2 += pow(g->device * value, 2);
    s->offset_common += g->offset_common_w * time;
    s->offset_device2 += pow(g->offset_device_w * time, 2);
}

static double systematic(const struct systematic *s)
{
    return s->known ? sqrt(s->common * s->common + s->device2 +
                           s->offset_common * s->offset_common + s->offset_device2)
                    : (double)NAN;
}

void llem__total_energy(struct llem__derive *x)
{
    struct systematic e = { .known = true }, adj = { .known = true }, base = { .known = true };
    double sum = 0, var = 0, sum_adj = 0, var_adj = 0, sum_base = 0, var_base = 0;
    const char *reason = NULL, *method = NULL;
    size_t valid = 0, with_baseline = 0;

    x->energy = llem__q_null("J", x->charged_reason);
    x->adjusted = llem__q_null("J", x->charged_reason);
    x->baseline = llem__q_null("W", x->charged_reason);
    for (size_t i = 0; i < x->n_domains; i++) {
        struct llem__domain *d = &x->domains[i];
        struct systematic own = { .known = true };
        struct gain g;

        if (!d->charged)
            continue;
        if (!d->best) {
            reason = reason ? reason : d->reason;
            continue;
        }
        valid++;
        g = gain_of(x, d);
        method = !method || strcmp(method, llem__method_name(d->best->method)) == 0
                     ? llem__method_name(d->best->method)
                     : "mixed";
        sum += d->best->e_j;
        var += pow(d->best->u_stat_j, 2);
        add_systematic(&own, &g, d->best->e_j, x->window_s);
        d->u_sys_j = systematic(&own);
        add_systematic(&e, &g, d->best->e_j, x->window_s);
        if (isfinite(d->bare_w)) {
            double adjusted = d->best->e_j - d->bare_w * x->window_s;

            with_baseline++;
            sum_base += d->bare_w;
            var_base += d->u_bare_w * d->u_bare_w;
            add_systematic(&base, &g, d->bare_w, 1);
            sum_adj += adjusted;
            var_adj +=
                pow(d->best->u_stat_j, 2) +
                x->window_s * x->window_s *
                    (d->u_bare_w * d->u_bare_w + d->u_adjusted_drift_w * d->u_adjusted_drift_w);
            add_systematic(&adj, &g, adjusted, 0); /* the offset cancels: same sensor */
        }
    }
    if (x->n_charged && valid == x->n_charged) {
        snprintf(x->energy_source, sizeof(x->energy_source), "%s/%s", x->charged_sampler, method);
        x->energy_quality = "measured";
        x->energy = llem__q_of(sum, "J", x->energy_source, "measured");
        x->energy.u_stat = sqrt(var);
        x->energy.u_sys = systematic(&e);
        x->energy.reason = isnan(x->energy.u_sys) ? "gain_unknown" : NULL;
    } else if (valid > 0) {
        x->energy_quality = "mixed";
    }
    if (isnan(x->energy.v))
        x->energy.reason = reason ? reason : x->charged_reason;
    if (x->energy.v == x->energy.v && with_baseline == x->n_charged) {
        x->baseline = llem__q_of(sum_base, "W", x->energy_source, "measured");
        x->baseline.u_stat = sqrt(var_base);
        x->baseline.u_sys = systematic(&base);
        x->baseline.reason = isnan(x->baseline.u_sys) ? "gain_unknown" : NULL;
        x->adjusted = llem__q_of(sum_adj, "J", x->energy_source, "derived");
        x->adjusted.u_stat = sqrt(var_adj);
        x->adjusted.u_sys = systematic(&adj);
        x->adjusted.reason = isnan(x->adjusted.u_sys) ? "gain_unknown" : NULL;
        if (sum_adj < 0)
            llem__warn(x, "negative_adjusted_energy", NULL, NULL);
    } else {
        const char *why = isnan(x->energy.v)
                              ? x->energy.reason
                              : llem_str_at(x->json, "baseline.reason", "no_baseline");

        x->baseline.reason = x->adjusted.reason = why;
    }
}

/* ---- the estimate ------------------------------------------------------------------------- */

/* Load times the power that the CPU is sold with. Its range is wide and lopsided: published
 * comparisons found such figures up to 4.1 times too high, while a CPU may exceed that power only a
 * little. */
static void estimate_load(struct llem__derive *x)
{
    for (size_t i = 0; i < x->n_domains; i++) {
        struct llem__domain *d = &x->domains[i];
        const struct llem_value *field = llem__field_of(d->json, "cpu_busy");
        const struct llem_value *info = describe_of(x, d->sampler);
        double tdp, low, high, cpus, busy, share;
        struct llem__device any = { 0 };
        struct llem__counter c;
        struct llem__reads r;

        if (!field || !d->charged || !x->has_window || !(x->window_s > 0))
            continue;
        tdp = llem_real_at(info, "tdp_w", llem_real_at(x->json, "environment.cpu.tdp_w", 0));
        low = llem_real_at(info, "tdp_low_w", tdp);
        high = llem_real_at(info, "tdp_high_w", tdp);
        cpus = llem_real_at(info, "n_cpus", llem_real_at(x->json, "environment.cpu.n_logical", 0));
        llem__reads_of(x, i, field, &r);
        llem__counter_init(&c, x->scratch, &r, &x->window, &any); /* as any other, of CPU seconds */
        c.resolved = false; /* reads, not ticks: they are taken at the edges */
        busy = llem__counter_at(&c, fmin(x->window_s, c.n_reads ? c.read_s[c.n_reads - 1] : 0)) -
               llem__counter_at(&c, fmax(0, c.n_reads ? c.read_s[0] : 0));
        if (!(tdp > 0 && cpus >= 1) || !isfinite(busy)) {
            d->reason = "too_few_samples";
            return;
        }
        share = fmin(fmax(busy / (cpus * x->window_s), 0), 1);
        x->estimated_j[0] = tdp * share * x->window_s;
        x->estimated_j[1] = 0.3 * fmin(low, tdp) * share * x->window_s;
        x->estimated_j[2] = 1.25 * fmax(high, tdp) * (0.3 + 0.7 * share) * x->window_s;
        x->estimated = llem_map(x->a);
        llem__put_real(x, x->estimated, "value", x->estimated_j[0]);
        llem__put_real(x, x->estimated, "low", x->estimated_j[1]);
        llem__put_real(x, x->estimated, "high", x->estimated_j[2]);
        llem__put_string(x, x->estimated, "method", "cpu_load_x_tdp");
        llem__put_real(x, x->estimated, "tdp_w", tdp);
        llem__put_string(x, x->estimated, "tdp_source",
                         llem_str_at(info, "tdp_source",
                                     llem_str_at(x->json, "environment.cpu.tdp_source", NULL)));
        llem__put_real(x, x->estimated, "cpu_share", share);
        llem__put_string(x, x->estimated, "reason", NULL);
        d->reason = "estimated_only";
        x->charged_reason = "estimated_only";
        x->energy_quality = "estimated";
        snprintf(x->energy_source, sizeof(x->energy_source), "%s", d->sampler);
    }
}

/* The sum of what a sampler estimates of its charged domains: without a range, because it gives
 * none. */
static void estimate_windows(struct llem__derive *x)
{
    struct llem_buf method = LLEM_BUF_INIT(256);
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];
        const struct llem_value *all = llem_get(describe_of(x, d->sampler), "domains");

        if (!d->charged || !d->estimated || !d->has_window)
            continue;
        sum += d->estimated_j;
        llem_buf_addf(&method, "%s%.20s: %.40s", n++ ? ", " : "", d->id,
                      llem_str_at(llem_get(all, d->id), "method", "unknown"));
    }
    if (n && n == x->n_charged && isfinite(sum)) {
        x->estimated_j[0] = sum;
        x->estimated_j[1] = x->estimated_j[2] = (double)NAN;
        x->estimated = llem_map(x->a);
        llem__put_real(x, x->estimated, "value", sum);
        llem__put_string(x, x->estimated, "low", NULL);
        llem__put_string(x, x->estimated, "high", NULL);
        llem__put_string(x, x->estimated, "method", method.failed ? "unknown" : method.data);
        llem__put_string(x, x->estimated, "tdp_w", NULL);
        llem__put_string(x, x->estimated, "tdp_source", NULL);
        llem__put_string(x, x->estimated, "cpu_share", NULL);
        llem__put_string(x, x->estimated, "reason", "range_unknown");
        x->charged_reason = "estimated_only";
        x->energy_quality = "estimated";
        snprintf(x->energy_source, sizeof(x->energy_source), "%s", x->charged_sampler);
    }
    llem_buf_done(&method);
}

/* ---- all of it ---------------------------------------------------------------------------- */

static void method_warnings(struct llem__derive *x, const struct llem__domain *d)
{
    if (d->reason && strcmp(d->reason, "sampler_lost") == 0 && d->estimated)
        llem__warn(x, d->reason, d->id, NULL);
    for (size_t m = 0; m < d->n_methods; m++)
        if (d->methods[m].reason && (!d->best || &d->methods[m] < d->best))
            llem__warn(x, d->methods[m].reason, d->id, NULL);
    if (!d->best || d->best != &d->methods[0] || !d->has_counter)
        return;
    if (d->best->method == LLEM__COUNTER_INTERPOLATED)
        llem__warn(x, "no_idle_edges", d->id, NULL);
    if (d->best->aliased)
        llem__warn(x, "sensor_aliased", d->id, NULL);
    if (d->kind_test.kind == LLEM__KIND_UNKNOWN)
        llem__warn(x, "counter_kind_unknown", d->id, NULL);
}

void llem__derive_energy(struct llem__derive *x)
{
    const struct llem_value *domains = llem_get(x->json, "domains");
    const struct llem_value *charged = llem_at(x->json, "charged.domains");

    x->charged_sampler = llem_str_at(x->json, "charged.sampler", "");
    x->charged_reason = llem_str_at(x->json, "charged.reason", "no_sensor");
    x->energy_quality = "none";
    x->energy = llem__q_null("J", x->charged_reason);
    x->adjusted = llem__q_null("J", x->charged_reason);
    x->baseline = llem__q_null("W", x->charged_reason);
    if (!domains || domains->kind != LLEM_LIST)
        return;
    x->domains = llem_arena_calloc(x->scratch, domains->count + 1, sizeof(*x->domains));
    if (!x->domains)
        return;
    x->n_domains = domains->count;
    for (size_t i = 0; i < x->n_domains; i++)
        x->domains[i].json = domains->items[i];
    for (size_t k = 0; charged && charged->kind == LLEM_LIST && k < charged->count; k++) {
        const struct llem_value *v = charged->items[k];

        if (v->kind == LLEM_INT && v->i >= 0 && (uint64_t)v->i < x->n_domains &&
            !x->domains[v->i].charged) {
            x->domains[v->i].charged = true;
            x->n_charged++;
        }
    }
    for (size_t i = 0; i < x->n_domains && !x->scratch->oom; i++) {
        struct llem__domain *d = &x->domains[i];

        open_domain(x, i);
        estimate_domain(x, d);
        idle_of_domain(x, d);
        if (d->charged)
            method_warnings(x, d);
    }
    estimate_load(x);
    estimate_windows(x);
    llem__total_energy(x);
    if (x->estimated) {
        struct llem__q q = llem__q_of(x->estimated_j[0], "J", x->energy_source, "estimated");

        q.reason = isnan(x->estimated_j[1]) ? "range_unknown" : NULL;
        llem__quantity(x, "energy_estimated_j.value", q);
    }
}

double llem__charged_between(const struct llem__derive *x, double from_s, double to_s)
{
    double sum = 0;

    for (size_t i = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];

        if (!d->charged)
            continue;
        if (!d->best)
            return (double)NAN;
        if (d->has_counter && d->best == &d->methods[0])
            sum += llem__counter_at(&d->counter, to_s) - llem__counter_at(&d->counter, from_s);
        else if (d->best->method == LLEM__POWER_INSTANT)
            sum += llem__power_integral(&d->instant, from_s, to_s);
        else
            return (double)NAN; /* an average over a second cannot be cut finer */
    }
    return x->n_charged ? sum : (double)NAN;
}

static struct llem_value *domain_object(struct llem__derive *x, const struct llem__domain *d)
{
    struct llem_value *o = llem_map(x->a), *list = llem_list(x->a), *counter = llem_null(x->a);
    const double nan_ = (double)NAN;
    const struct llem__estimate *e = d->best;
    struct gain g = gain_of(x, d);
    double adjusted = e && isfinite(d->bare_w) ? e->e_j - d->bare_w * x->window_s : nan_;

    llem__put_string(x, o, "id", d->id);
    llem__put_string(x, o, "kind", d->kind);
    llem__put_string(x, o, "label", d->label);
    llem__put_string(x, o, "sampler", d->sampler);
    llem_set(x->a, o, "charged", llem_bool(x->a, d->charged));
    llem__put_string(x, o, "quality", d->estimated ? "estimated" : "measured");
    llem__put_real(x, o, "estimated_j", d->estimated_j);
    llem__put_real(x, o, "energy_j", e ? e->e_j : nan_);
    llem__put_real(x, o, "u_stat_j", e ? e->u_stat_j : nan_);
    llem__put_real(x, o, "u_sys_j", e ? d->u_sys_j : nan_);
    llem__put_string(x, o, "gain_source", g.known ? g.source : NULL);
    llem__put_string(x, o, "method", e ? llem__method_name(e->method) : NULL);
    llem__put_string(x, o, "reason", d->reason);
    llem__put_real(x, o, "mean_power_w", e && x->window_s > 0 ? e->e_j / x->window_s : nan_);
    llem__put_real(x, o, "window_energy_j", e ? e->window_j : nan_);
    llem__put_real(x, o, "u_window_energy_j", e ? e->u_window_j : nan_);
    llem__put_real(x, o, "energy_adjusted_j", adjusted);
    llem__put_real(x, o, "baseline_power_w", d->bare_w);
    llem__put_real(x, o, "u_baseline_power_w", d->u_bare_w);
    llem__put_real(x, o, "loaded_idle_before_w", d->loaded_before_w);
    llem__put_real(x, o, "loaded_idle_after_w", d->loaded_after_w);
    llem__put_real(x, o, "edge_power_before_w", e ? e->before_w : nan_);
    llem__put_real(x, o, "edge_power_after_w", e ? e->after_w : nan_);
    llem__put_real(x, o, "guard_before_s", e ? e->guard_before_s : nan_);
    llem__put_real(x, o, "guard_after_s", e ? e->guard_after_s : nan_);
    llem__put_real(x, o, "u_alias_j", e ? e->u_alias_j : nan_);
    if (d->has_counter) {
        counter = llem_map(x->a);
        llem__put_string(x, counter, "counting", llem__counter_kind_name(d->kind_test.kind));
        llem__put_real(x, counter, "rho", d->kind_test.rho);
        llem__put_real(x, counter, "period_s",
                       d->counter.period_s > 0 ? d->counter.period_s : nan_);
        llem__put_real(x, counter, "resolution_s",
                       d->counter.n_ticks > 1 ? d->counter.resolution_s : nan_);
        llem__put_count(x, counter, "ticks", (int64_t)d->counter.n_ticks);
        llem__put_count(x, counter, "good_reads", (int64_t)d->counter.n_good);
        llem__put_count(x, counter, "failed_reads", (int64_t)d->counter.n_failed);
        llem__put_count(x, counter, "garbage_reads", (int64_t)d->counter.n_garbage);
    }
    llem_set(x->a, o, "counter", counter);
    for (size_t m = 0; m < d->n_methods; m++) {
        struct llem_value *row = llem_map(x->a);

        llem__put_string(x, row, "method", llem__method_name(d->methods[m].method));
        llem__put_real(x, row, "energy_j", d->methods[m].e_j);
        llem__put_real(x, row, "u_stat_j", d->methods[m].u_stat_j);
        llem__put_string(x, row, "reason", d->methods[m].reason);
        llem_append(x->a, list, row);
    }
    llem_set(x->a, o, "methods", list);
    return o;
}

/* First and last third of the window against each other. */
static struct llem_value *thirds(struct llem__derive *x)
{
    double third = x->window_s / 3, first, last, period = 0;
    struct llem_value *o;

    for (size_t i = 0; i < x->n_domains; i++)
        if (x->domains[i].charged && x->domains[i].has_counter)
            period = fmax(period, x->domains[i].counter.period_s);
    if (!(x->window_s >= 1) || third < 10 * period)
        return llem_null(x->a);
    first = llem__charged_between(x, 0, third) / third;
    last = llem__charged_between(x, 2 * third, x->window_s) / third;
    if (isnan(first) || isnan(last))
        return llem_null(x->a);
    o = llem_map(x->a);
    llem__put_real(x, o, "first_third_w", first);
    llem__put_real(x, o, "last_third_w", last);
    llem__put_real(x, o, "difference", 2 * (last - first) / (last + first));
    if (fabs(2 * (last - first) / (last + first)) > 0.05) {
        char text[160];

        snprintf(text, sizeof(text),
                 "The power was %.1f W in the first third and %.1f W in the last.", first, last);
        llem__warn(x, "not_steady", NULL, text);
    }
    return o;
}

struct llem_value *llem__energy_object(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a), *list = llem_list(x->a);
    double out = x->tokens.known && x->tokens.output > 0 ? (double)x->tokens.output : (double)NAN;
    const char *none = x->is_inference ? "no_tokens" : "not_applicable";
    struct llem__q q;

#define PUT(key, quantity) llem_set(x->a, o, key, llem__quantity(x, "energy." key, quantity))
    PUT("j_per_output_token", llem__q_times(x->energy, 1 / out, "J/tok", none));
    q = llem__q_null("tok/J", isnan(x->energy.v) ? x->energy.reason : none);
    if (x->energy.v > 0 && isfinite(out)) {
        /* Relative uncertainties stay what they are. */
        q = llem__q_of(out / x->energy.v, "tok/J", x->energy.source, "derived");
        q.u_stat = q.v * x->energy.u_stat / x->energy.v;
        q.u_sys = q.v * x->energy.u_sys / x->energy.v;
        q.reason = x->energy.reason;
    }
    PUT("output_tokens_per_j", q);
    PUT("kwh_per_million_output_tokens",
        llem__q_times(x->energy, 1e6 / 3.6e6 / out, "kWh/Mtok", none));
    PUT("j_per_request",
        llem__q_times(x->energy, x->tokens.requests ? 1 / (double)x->tokens.requests : (double)NAN,
                      "J", none));
    PUT("mean_power_w", llem__q_times(x->energy, x->window_s > 0 ? 1 / x->window_s : (double)NAN,
                                      "W", "window_too_short"));
    PUT("adjusted_j_per_output_token", llem__q_times(x->adjusted, 1 / out, "J/tok", none));
#undef PUT
    llem_set(x->a, o, "charged", llem__copy_at(x, "charged"));
    llem_set(x->a, o, "gain_prior", llem__copy_at(x, "gain_prior"));
    llem_set(x->a, o, "steadiness", thirds(x));
    for (size_t i = 0; i < x->n_domains; i++)
        llem_append(x->a, list, domain_object(x, &x->domains[i]));
    llem_set(x->a, o, "domains", list);
    return o;
}

struct llem_value *llem__agreement_object(struct llem__derive *x)
{
    double counter = 0, power = 0, var_counter = 0, var_power = 0, ratio, u;
    struct llem_value *o = llem_map(x->a);
    const char *verdict = "single_sensor", *against = NULL;
    bool same = false;
    size_t n = 0;

    for (size_t i = 0; i < x->n_domains; i++) {
        const struct llem__domain *d = &x->domains[i];
        const struct llem__estimate *second = NULL;

        if (!d->charged || !d->has_counter || d->methods[0].reason)
            continue;
        for (size_t m = d->n_methods; m-- > 1;)
            if (!d->methods[m].reason)
                second = &d->methods[m];
        if (!second)
            continue;
        n++;
        counter += d->methods[0].e_j;
        var_counter += pow(d->methods[0].u_stat_j, 2);
        power += second->e_j;
        var_power += pow(second->u_stat_j, 2);
        against = llem__method_name(second->method);
        same = same || d->kind_test.kind == LLEM__KIND_SAMPLES;
    }
    ratio = n && power > 0 ? counter / power : (double)NAN;
    u = ratio * sqrt(var_counter / (counter * counter) + var_power / (power * power));
    if (n && n == x->n_charged && isfinite(ratio)) {
        /* Below one per cent the two differ by what their periods and edges explain. */
        verdict = same                                   ? "same_source"
                  : fabs(ratio - 1) <= fmax(2 * u, 0.01) ? "consistent"
                                                         : "disagree";
        if (strcmp(verdict, "disagree") == 0) {
            char text[200];

            snprintf(
                text, sizeof(text),
                "The counter says %.1f J, the power readings say %.1f J: a ratio of %.3f +- %.3f.",
                counter, power, ratio, u);
            llem__warn(x, "sensors_disagree", NULL, text);
        }
    } else {
        ratio = u = (double)NAN;
    }
    llem__put_string(x, o, "verdict", x->n_charged && x->energy.v == x->energy.v ? verdict : NULL);
    llem__put_real(x, o, "ratio", ratio);
    llem__put_real(x, o, "u_ratio", u);
    llem__put_string(x, o, "against", isnan(ratio) ? NULL : against);
    llem__put_string(x, o, "reason", isnan(x->energy.v) ? x->energy.reason : NULL);
    return o;
}
