/* SPDX-License-Identifier: MIT
 *
 * Before the window: prompts until their latencies settle, waiting until the temperature does, and
 * one batch just before the window so that clocks are not cold.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/measure/harness.h"

enum { MAX_WARMUPS = 100000 };

double llem_last_cv(const double *values, size_t n, size_t k)
{
    double mean = 0, squares = 0;

    if (n > k) {
        values += n - k;
        n = k;
    }
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        mean += values[i];
    mean /= (double)n;
    if (!(mean > 0))
        return 0;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)n) / mean;
}

/* `auto` converges, unless the user said something about the number of prompts or about
 * convergence. */
static bool converges(const struct llem_harness *h)
{
    const struct llem_value *provenance = llem_get(h->experiment, "provenance");
    const char *mode = llem_str_at(h->config, "measurement.warmup.mode", "auto");

    if (strcmp(mode, "auto") != 0)
        return strcmp(mode, "converge") == 0;
    if (llem_get(provenance, "measurement.warmup.convergence_detection"))
        return llem_bool_at(h->config, "measurement.warmup.convergence_detection", false);
    return !llem_get(provenance, "measurement.warmup.n_warmup");
}

static int64_t bounded(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

llem_errcode llem_warmup_run(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *latencies = llem_list(a);
    double *ms = NULL, cv = 0;
    double target = llem_real_at(h->config, "measurement.warmup.cv_threshold", 0.05);
    size_t window = (size_t)bounded(llem_int_at(h->config, "measurement.warmup.window_size", 3), 2,
                                    MAX_WARMUPS);
    size_t least = (size_t)bounded(llem_int_at(h->config, "measurement.warmup.min_prompts", 5), 1,
                                   MAX_WARMUPS);
    size_t most = (size_t)bounded(llem_int_at(h->config, "measurement.warmup.max_prompts", 20), 1,
                                  MAX_WARMUPS);
    size_t fixed =
        (size_t)bounded(llem_int_at(h->config, "measurement.warmup.n_warmup", 5), 1, MAX_WARMUPS);
    bool converge = converges(h), settled = false, opted_out = false;
    size_t limit = converge ? most : fixed, n = 0;
    llem_errcode rc = LLEM_OK;

    if (least < window)
        least = window;
    ms = llem_arena_calloc(a, limit, sizeof(*ms));
    if (!ms)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu warm-up latencies", limit);
    while (n < limit && !settled) {
        double latency_ms = 0;

        if (llem_harness_canceled(h))
            return llem_fail(err, LLEM_ECANCELED, "cancelled during warm-up");
        /* Always the same prompt: latencies of prompts of different lengths never settle. */
        rc = h->m->engine->run_warmup_prompt(h->engine, 0, &latency_ms, err);
        if (rc != LLEM_OK)
            return llem_context(err, rc, "warm-up prompt %zu", n + 1);
        if (!isfinite(latency_ms) || latency_ms < 0)
            return llem_fail(err, LLEM_EPLUGIN,
                             "engine '%s' gave %g ms as the latency of warm-up prompt %zu",
                             h->m->engine->name, latency_ms, n + 1);
        if (latency_ms == 0) {
            opted_out = true;
            break;
        }
        ms[n++] = latency_ms;
        llem_append(a, latencies, llem_real(a, latency_ms));
        cv = llem_last_cv(ms, n, window);
        settled = converge && n >= least && cv < target;
        llem_harness_tell(h, LLEM_EVENT_STEP_UPDATE,
                          llem_arena_printf(a, "prompt %zu, %.0f ms", n, latency_ms), "", 0,
                          (double)n / (double)limit);
    }
    if (converge && !settled && !opted_out)
        llem_harness_warn(
            h, "warmup_not_converged",
            "The latencies of %zu warm-up prompts still vary by %.1f %% (target %.1f %%).", n,
            cv * 100, target * 100);
    llem_set(a, h->warmup, "mode",
             llem_string(a, opted_out  ? "engine"
                            : converge ? "converge"
                                       : "fixed"));
    llem_set(a, h->warmup, "latencies_ms", latencies);
    llem_set(a, h->warmup, "converged", llem_bool(a, settled || opted_out || !converge));
    llem_set(a, h->warmup, "target_cv", llem_real(a, target));
    llem_set(a, h->warmup, "window_size", llem_int(a, (int64_t)window));
    llem_set(a, h->warmup, "max_prompts", llem_int(a, (int64_t)limit));
    if (opted_out)
        llem_harness_note(h, "left to the engine");
    else
        llem_harness_note(h, "%zu prompts, CV %.1f %%", n, cv * 100);
    return LLEM_OK;
}

llem_errcode llem_warmup_batch(struct llem_harness *h, llem_error *err)
{
    char path[160];
    struct llem_inference out;
    struct llem_pass pass = { .id = 1, .indices = h->indices, .repeats = 1 };
    llem_errcode rc;

    /* A batch of the shape that is measured: engines call its size batch_size. */
    snprintf(path, sizeof(path), "%s.batch_size", h->m->engine->name);
    pass.count = (size_t)bounded(llem_int_at(h->config, path, 1), 1, (int64_t)h->dataset.count);
    rc = llem_harness_pass(h, &pass, &out, err);
    if (rc != LLEM_OK)
        return llem_context(err, rc, "warm-up batch");
    llem_set(&h->arena, h->warmup, "batch_ms",
             llem_real(&h->arena, (double)(out.t_end_ns - out.t_begin_ns) / 1e6));
    return LLEM_OK;
}

/* ---- thermal wait ------------------------------------------------------------------------- */

static bool has_temperature(const struct llem_harness *h, size_t index)
{
    const struct llem_domain *d = llem_sensors_domain(h, index);

    return d && llem_domain_field(d, LLEM_ROLE_TEMPERATURE) && llem_sensors_concerns(h, d);
}

const char *llem_thermal_skip(const struct llem_harness *h)
{
    if (!llem_bool_at(h->config, "measurement.warmup.enabled", true))
        return "not_requested";
    for (size_t i = 0; h->watch && i < h->n_domains; i++)
        if (has_temperature(h, i))
            return NULL;
    return "no_temperature";
}

/* The temperatures of the last seconds, a ring of readings twice a second. */
enum { RING = 64 };

struct course {
    double celsius[RING];
    int64_t t_ns[RING];
    size_t n;
};

/* Did the temperature stay within LLEM_SETTLED_C for span_ns up to now? */
static bool stayed(const struct course *c, int64_t now, int64_t span_ns)
{
    double lo = INFINITY, hi = -INFINITY;
    bool whole = false;

    for (size_t k = 0; k < c->n && k < RING && !whole; k++) {
        size_t i = (c->n - 1 - k) % RING;

        if (c->celsius[i] < lo)
            lo = c->celsius[i];
        if (c->celsius[i] > hi)
            hi = c->celsius[i];
        whole = now - c->t_ns[i] >= span_ns;
    }
    return whole && hi - lo <= LLEM_SETTLED_C;
}

llem_errcode llem_thermal_wait(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    double bound_s = llem_real_at(h->config, "measurement.warmup.thermal_floor_seconds", 60);
    double span_s, first = NAN, last = NAN;
    int64_t begin = llem_now_ns(h->clock), now = begin;
    struct course *courses;
    bool settled = false;
    llem_errcode rc;

    if (h->quick && bound_s > LLEM_QUICK_THERMAL_S)
        bound_s = LLEM_QUICK_THERMAL_S;
    span_s = bound_s < LLEM_SETTLE_S ? bound_s : LLEM_SETTLE_S;
    courses = llem_arena_calloc(a, h->n_domains, sizeof(*courses));
    if (!courses)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu temperatures", h->n_domains);
    llem_watch_pace(h->watch, LLEM_PACE_STEADY);
    for (;;) {
        bool all = true;

        last = NAN;
        for (size_t i = 0; i < h->n_domains; i++) {
            struct course *c = &courses[i];
            double celsius;
            int64_t t_ns;

            if (!has_temperature(h, i))
                continue;
            /* A sensor that does not answer now never settles; the bound ends the wait. */
            if (llem_watch_temperature(h->watch, i, &celsius, &t_ns) &&
                (c->n == 0 || t_ns > c->t_ns[(c->n - 1) % RING])) {
                c->celsius[c->n % RING] = celsius;
                c->t_ns[c->n % RING] = now;
                c->n++;
            }
            if (c->n && !(c->celsius[(c->n - 1) % RING] <= last))
                last = c->celsius[(c->n - 1) % RING]; /* the hottest */
            all &= stayed(c, now, (int64_t)(span_s * 0.95e9));
        }
        if (isnan(first))
            first = last;
        settled = all;
        if (settled || (double)(now - begin) * 1e-9 >= bound_s)
            break;
        llem_harness_tell(h, LLEM_EVENT_STEP_UPDATE,
                          isnan(last) ? "" : llem_arena_printf(a, "%.0f C", last), "",
                          (double)(now - begin) * 1e-9, (double)(now - begin) * 1e-9 / bound_s);
        rc = llem_harness_sleep_until(h, now + 500 * LLEM_MS, err);
        if (rc != LLEM_OK)
            return rc;
        now = llem_now_ns(h->clock);
    }
    llem_watch_pace(h->watch, LLEM_PACE_LOAD);
    llem_set(a, h->thermal, "waited_s", llem_real(a, (double)(now - begin) * 1e-9));
    llem_set(a, h->thermal, "settled", llem_bool(a, settled));
    llem_set(a, h->thermal, "temperature_begin_c", llem_real(a, first));
    llem_set(a, h->thermal, "temperature_end_c", llem_real(a, last));
    llem_harness_note(h, "%.0f s, %.0f C%s", (double)(now - begin) * 1e-9, last,
                      settled ? "" : ", not settled");
    return LLEM_OK;
}
