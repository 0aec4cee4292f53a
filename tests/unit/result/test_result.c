/* SPDX-License-Identifier: MIT
 *
 * From a recording to result.json: energies against the truth of a made-up load, tokens and
 * latencies against receipts known in advance, nulls with reasons where nothing was measured.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/derive.h"
#include "lib/result/reasons.h"
#include "lib/result/result.h"
#include "tests/support/synthetic.h"

struct fixture {
    char *dir, rec[4200];
    struct llem_recording r;
    struct llem_arena a;
    struct llem_value *v;
    struct synthetic_truth t;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = synthetic_tempdir();
    snprintf(f->rec, sizeof(f->rec), "%s/recording", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    llem_recording_close(&f->r);
    llem_arena_done(&f->a);
    llem_remove_tree(f->dir, NULL);
    free(f->dir);
    free(f);
    return 0;
}

static void derive(struct fixture *f, const struct synthetic_opts *o,
                   void (*edit)(struct llem_value *json, struct llem_arena *a))
{
    llem_error err = { 0 };

    synthetic_write(f->dir, o, &f->t, edit);
    if (llem_recording_open(&f->r, f->rec, &err) != LLEM_OK ||
        llem_derive(&f->r, &f->a, &f->v, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
}

static double number(const struct fixture *f, const char *path)
{
    const struct llem_value *v = llem_at(f->v, path);

    if (!v || (v->kind != LLEM_INT && v->kind != LLEM_REAL))
        fail_msg("%s is no number", path);
    return llem_real_at(f->v, path, (double)NAN);
}

static void assert_near(double value, double expected, double within)
{
    if (!(fabs(value - expected) <= within))
        fail_msg("%.12g is not within %g of %.12g", value, within, expected);
}

static void assert_null_at(const struct fixture *f, const char *path)
{
    const struct llem_value *v = llem_at(f->v, path);

    if (!v || v->kind != LLEM_NULL)
        fail_msg("%s is %s", path, v ? "not null" : "absent");
}

static const struct llem_value *quantity(const struct fixture *f, const char *path)
{
    const struct llem_value *q = llem_get(llem_get(f->v, "quantities"), path);

    if (!q)
        fail_msg("no quantity %s", path);
    return q;
}

static bool warned(const struct fixture *f, const char *code)
{
    const struct llem_value *list = llem_get(f->v, "measurement_warnings");

    for (size_t k = 0; k < list->count; k++)
        if (llem_starts_with(list->items[k]->s, code) && list->items[k]->s[strlen(code)] == ':')
            return true;
    return false;
}

/* ---- energy ------------------------------------------------------------------------------- */

static void gpu_energy_is_the_truth_within_its_uncertainty(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    const struct llem_value *q;

    derive(f, &o, NULL);
    assert_near(number(f, "total_energy_j"), f->t.energy_j, 2e-4 * f->t.energy_j);
    q = quantity(f, "total_energy_j");
    assert_true(fabs(number(f, "total_energy_j") - f->t.energy_j) <=
                3 * llem_real_at(q, "u_stat", 0));
    assert_string_equal(llem_str_at(q, "quality", ""), "measured");
    assert_string_equal(llem_str_at(q, "source", ""), "nvml/counter_ticks");
    assert_null(llem_str_at(q, "reason", NULL));
    /* The prior for boards of Ampere and later: 5 % standard uncertainty, shown and not applied. */
    assert_near(llem_real_at(q, "u_sys", 0) / number(f, "total_energy_j"), 0.05, 0.0005);
    assert_true(llem_real_at(q, "ci95.0", 0) < f->t.energy_j &&
                f->t.energy_j < llem_real_at(q, "ci95.1", 0));
    assert_string_equal(llem_str_at(f->v, "energy_quality", ""), "measured");
    assert_string_equal(llem_str_at(f->v, "energy_scope.0", ""), "gpu:GPU-0000");
    assert_string_equal(llem_str_at(f->v, "agreement.verdict", ""), "consistent");
    assert_near(number(f, "agreement.ratio"), 1, 0.01);
    assert_string_equal(llem_str_at(f->v, "energy.domains.0.counter.counting", ""), "integrates");
    assert_near(number(f, "energy.domains.0.window_energy_j"), f->t.window_j, 10);
}

static void idle_board_is_shown_and_never_charged(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };

    derive(f, &o, NULL);
    assert_int_equal(llem_get(f->v, "energy_scope")->count, 1);
    assert_int_equal(llem_at(f->v, "energy.domains")->count, 2);
    assert_false(llem_bool_at(f->v, "energy.domains.1.charged", true));
    assert_near(number(f, "energy.domains.1.energy_j"), 600, 2);
    assert_near(number(f, "energy_per_device_j.0"), number(f, "total_energy_j"), 0);
}

static void several_boards_add_up_and_share_their_gain(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .n_gpus = 3 };
    double sum = 0, u2 = 0, d2 = 0, total;

    derive(f, &o, NULL);
    for (int k = 0; k < 3; k++) {
        char path[64];

        snprintf(path, sizeof(path), "energy.domains.%d.energy_j", k);
        sum += number(f, path);
        d2 += pow(0.017 * number(f, path), 2);
        snprintf(path, sizeof(path), "energy.domains.%d.u_stat_j", k);
        u2 += pow(number(f, path), 2);
    }
    total = number(f, "total_energy_j");
    assert_near(total, sum, 1e-9);
    assert_near(total, f->t.energy_j, 2e-4 * total);
    assert_near(llem_real_at(quantity(f, "total_energy_j"), "u_stat", 0), sqrt(u2), 1e-9);
    assert_near(llem_real_at(quantity(f, "total_energy_j"), "u_sys", 0),
                sqrt(pow(0.047 * total, 2) + d2), 1e-6);
    assert_int_equal(llem_int_at(f->v, "multi_gpu.num_gpus", 0), 3);
    assert_near(number(f, "multi_gpu.energy_total_j"), total, 0);
    assert_near(number(f, "multi_gpu.energy_per_output_token_j"), total / 384, 1e-9);
}

static void set_prior(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *p = llem_map(a);

    llem_set(a, p, "gain", llem_real(a, 0.957));
    llem_set(a, p, "offset_w", llem_real(a, 0));
    llem_set(a, p, "u_gain_common", llem_real(a, 0.03));
    llem_set(a, p, "u_gain_device", llem_real(a, 0.01));
    llem_set(a, p, "u_offset_common_w", llem_real(a, 1));
    llem_set(a, p, "u_offset_device_w", llem_real(a, 2));
    llem_set(a, p, "source", llem_string(a, "my meter"));
    llem_set(a, json, "gain_prior", p);
}

static void recorded_prior_is_used_for_the_uncertainty_alone(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    double as_read;

    derive(f, &o, NULL);
    as_read = number(f, "total_energy_j");
    teardown(state);
    setup(state);
    f = *state;
    derive(f, &o, set_prior);
    assert_near(number(f, "total_energy_j"), as_read, 0);
    assert_near(llem_real_at(quantity(f, "total_energy_j"), "u_sys", 0),
                sqrt(pow(0.03 * as_read, 2) + pow(0.01 * as_read, 2) + 25 + 100), 1e-6);
    assert_string_equal(llem_str_at(f->v, "energy.domains.0.gain_source", ""), "my meter");
}

static void idle_before_the_load_is_subtracted(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    const struct llem_value *q;

    derive(f, &o, NULL);
    assert_near(number(f, "baseline_power_w"), f->t.bare_w, 0.2);
    assert_near(number(f, "energy_adjusted_j"), f->t.energy_j - 5 * f->t.bare_w, 1);
    assert_near(number(f, "energy_breakdown.adjusted_j"), number(f, "energy_adjusted_j"), 0);
    assert_near(number(f, "energy_breakdown.baseline_cache_age_sec"), 50, 1e-6);
    assert_string_equal(llem_str_at(f->v, "energy_breakdown.baseline_method", ""), "fresh");
    /* Loaded idle lies above the bare one, and is shown beside it. */
    assert_near(number(f, "energy.domains.0.loaded_idle_before_w"), 120, 1);
    assert_near(number(f, "energy.domains.0.loaded_idle_after_w"), 120, 1);
    q = quantity(f, "energy_adjusted_j");
    assert_true(llem_real_at(q, "u_stat", 0) >
                llem_real_at(quantity(f, "total_energy_j"), "u_stat", 0));
    assert_near(llem_real_at(q, "u_sys", 0), 0.04998 * number(f, "energy_adjusted_j"), 0.1);
}

static void no_baseline_leaves_the_adjusted_values_null(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .no_baseline = true };

    derive(f, &o, NULL);
    assert_true(number(f, "total_energy_j") > 0);
    assert_null_at(f, "baseline_power_w");
    assert_null_at(f, "energy_adjusted_j");
    assert_null_at(f, "mj_per_tok_adjusted");
    assert_null_at(f, "energy_breakdown.baseline_method");
    assert_string_equal(llem_str_at(quantity(f, "energy_adjusted_j"), "reason", ""),
                        "not_requested");
}

static void bare_is_busy(struct llem_value *json, struct llem_arena *a)
{
    /* Take the middle of the load for the idle, and the idle board for the one at work. */
    llem_set_at(a, json, "baseline.bare.begin_ns", llem_int(a, INT64_C(1000500000000)));
    llem_set_at(a, json, "baseline.bare.end_ns", llem_int(a, INT64_C(1004500000000)));
    llem_set_at(a, json, "window.t_end_ns", llem_int(a, INT64_C(1007000000000)));
}

static void more_idle_than_energy_stays_negative_with_a_warning(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };

    derive(f, &o, bare_is_busy);
    assert_true(number(f, "energy_adjusted_j") < 0);
    assert_true(warned(f, "negative_adjusted_energy"));
}

static void package_and_dram_are_charged_together(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL };

    derive(f, &o, NULL);
    assert_near(number(f, "total_energy_j"), f->t.energy_j, 0.15);
    assert_near(number(f, "energy.domains.0.energy_j"), 400, 0.15);
    assert_near(number(f, "energy.domains.1.energy_j"), 25, 0.02);
    assert_near(number(f, "baseline_power_w"), f->t.bare_w, 0.1);
    assert_near(number(f, "process_results.0.energy_metrics.cpu_energy_j"), 400, 0.15);
    assert_near(number(f, "process_results.0.energy_metrics.ram_energy_j"), 25, 0.02);
    assert_null_at(f, "process_results.0.energy_metrics.gpu_energy_j");
    assert_string_equal(llem_str_at(f->v, "agreement.verdict", ""), "single_sensor");
    /* Nothing is known of RAPL's gain, and nothing is made up. */
    assert_true(llem_is_null(llem_get(quantity(f, "total_energy_j"), "u_sys")));
    assert_string_equal(llem_str_at(quantity(f, "total_energy_j"), "u_sys_reason", ""),
                        "gain_unknown");
    assert_string_equal(llem_str_at(quantity(f, "energy.j_per_output_token"), "u_sys_reason", ""),
                        "gain_unknown");
    assert_true(llem_is_null(llem_get(quantity(f, "total_tokens"), "u_sys_reason")));
    assert_null_at(f, "multi_gpu");
}

static void estimate_never_stands_in_a_measured_field(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_ESTIMATE };
    const char *const measured[] = { "total_energy_j",        "avg_energy_per_token_j",
                                     "mj_per_tok_total",      "energy_adjusted_j",
                                     "energy_per_device_j",   "energy.j_per_output_token",
                                     "energy.mean_power_w",   "agreement.ratio",
                                     "energy_breakdown.raw_j" };
    double value;

    derive(f, &o, NULL);
    for (size_t k = 0; k < LLEM_COUNT(measured); k++)
        assert_null_at(f, measured[k]);
    assert_string_equal(llem_str_at(f->v, "energy_quality", ""), "estimated");
    assert_string_equal(llem_str_at(quantity(f, "total_energy_j"), "reason", ""), "estimated_only");
    value = number(f, "energy_estimated_j.value"); /* half of 4 CPUs, 65 W, 5 s */
    assert_near(value, 0.5 * 65 * 5, 1);
    assert_true(number(f, "energy_estimated_j.low") < value &&
                value < number(f, "energy_estimated_j.high"));
    assert_true(value - number(f, "energy_estimated_j.low") !=
                number(f, "energy_estimated_j.high") - value);
    assert_near(number(f, "energy_estimated.j_per_output_token.value"), value / 384, 1e-9);
    assert_near(number(f, "energy_estimated.output_tokens_per_j.low"),
                384 / number(f, "energy_estimated_j.high"), 1e-9);
}

static void site_of_the_example(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *site = llem_map(a);

    llem_set(a, site, "carbon_intensity_gco2_kwh", llem_real(a, 400));
    llem_set(a, site, "datacenter_pue", llem_real(a, 1.5));
    llem_set(a, json, "site", site);
}

/* By hand: 1 kWh at a PUE of 1.5 and 400 g/kWh are 600 g. */
static void emissions_are_energy_times_pue_times_intensity(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    const struct llem_value *q;
    double kwh;

    derive(f, &o, site_of_the_example);
    kwh = number(f, "total_energy_j") / 3.6e6;
    assert_near(number(f, "emissions.kg_co2"), 0.6 * kwh, 1e-12 * kwh);
    assert_near(number(f, "process_results.0.energy_metrics.emissions_kg_co2"), 0.6 * kwh,
                1e-12 * kwh);
    q = quantity(f, "emissions.kg_co2");
    assert_string_equal(llem_str_at(q, "quality", ""), "estimated");
    assert_string_equal(llem_str_at(q, "unit", ""), "kg");
    /* The energy's uncertainties, in the same proportion. */
    assert_near(llem_real_at(q, "u_stat", 0) / (0.6 * kwh),
                llem_real_at(quantity(f, "total_energy_j"), "u_stat", 0) / (3.6e6 * kwh), 1e-12);
    assert_near(llem_real_at(q, "u_sys", 0) / (0.6 * kwh), 0.05, 0.0005);
    assert_null_at(f, "emissions.estimated_kg_co2");
}

static void emissions_of_an_estimate_have_its_range(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_ESTIMATE };
    const char *const parts[] = { "value", "low", "high" };

    derive(f, &o, site_of_the_example);
    assert_null_at(f, "emissions.kg_co2");
    assert_string_equal(llem_str_at(quantity(f, "emissions.kg_co2"), "reason", ""),
                        "estimated_only");
    for (size_t k = 0; k < LLEM_COUNT(parts); k++) {
        char from[64], to[64];

        snprintf(from, sizeof(from), "energy_estimated_j.%s", parts[k]);
        snprintf(to, sizeof(to), "emissions.estimated_kg_co2.%s", parts[k]);
        assert_near(number(f, to) / (number(f, from) / 3.6e6 * 0.6), 1, 1e-12);
    }
}

static void without_an_intensity_emissions_are_null_with_the_reason(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };

    derive(f, &o, NULL);
    assert_null_at(f, "emissions.kg_co2");
    assert_null_at(f, "emissions.estimated_kg_co2");
    assert_null_at(f, "process_results.0.energy_metrics.emissions_kg_co2");
    assert_string_equal(llem_str_at(quantity(f, "emissions.kg_co2"), "reason", ""),
                        "no_carbon_intensity");
}

static void without_a_sensor_everything_but_energy_is_there(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, NULL);
    assert_null_at(f, "total_energy_j");
    assert_null_at(f, "energy_estimated_j");
    assert_null_at(f, "energy_source");
    assert_null_at(f, "thermal_throttle");
    assert_string_equal(llem_str_at(f->v, "energy_quality", ""), "none");
    assert_string_equal(llem_str_at(quantity(f, "total_energy_j"), "reason", ""), "no_sensor");
    assert_near(number(f, "throughput.output_tokens_per_s"), 384 / 5.0, 1e-9);
    assert_true(number(f, "total_flops") > 0);
}

static void no_window(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, json, "window", llem_null(a));
}

static void window_never_opened_is_null_with_a_reason(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };

    derive(f, &o, no_window);
    assert_null_at(f, "total_energy_j");
    assert_null_at(f, "total_inference_time_sec");
    assert_null_at(f, "start_time");
    assert_string_equal(llem_str_at(quantity(f, "total_energy_j"), "reason", ""), "no_window");
    assert_true(warned(f, "no_window"));
}

/* ---- tokens, latency, FLOPs --------------------------------------------------------------- */

static void rates_divide_by_what_their_names_say(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    double e, total, out;

    derive(f, &o, NULL);
    e = number(f, "total_energy_j");
    out = (double)f->t.output_tokens;
    total = (double)(f->t.input_tokens + f->t.output_tokens);
    assert_near(number(f, "total_tokens"), total, 0);
    assert_near(number(f, "tokens.input"), (double)f->t.input_tokens, 0);
    assert_near(number(f, "tokens.output"), out, 0);
    assert_near(number(f, "avg_tokens_per_second"), total / 5, 1e-9);
    assert_near(number(f, "avg_energy_per_token_j"), e / total, 1e-9);
    assert_near(number(f, "mj_per_tok_total"), 1000 * e / total, 1e-6);
    assert_near(number(f, "mj_per_tok_adjusted"), 1000 * number(f, "energy_adjusted_j") / total,
                1e-6);
    assert_near(number(f, "energy.j_per_output_token"), e / out, 1e-9);
    assert_near(number(f, "energy.output_tokens_per_j"), out / e, 1e-12);
    assert_near(number(f, "energy.kwh_per_million_output_tokens"), e / out * 1e6 / 3.6e6, 1e-9);
    assert_near(number(f, "energy.j_per_request"), e / 12, 1e-9);
    assert_near(number(f, "flops_per_output_token"), number(f, "total_flops") / out, 1);
    assert_near(number(f, "flops_per_input_token"),
                number(f, "total_flops") / (double)f->t.input_tokens, 1);
    assert_near(number(f, "flops_per_second"), number(f, "total_flops") / 5, 1e3);
}

static void latencies_are_those_of_the_receipts(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, NULL);
    assert_near(number(f, "latency_stats.ttft_mean_ms"), f->t.ttft_ms, 1e-6);
    assert_near(number(f, "latency_stats.ttft_p99_ms"), f->t.ttft_ms, 1e-6);
    assert_int_equal(llem_int_at(f->v, "latency_stats.ttft_samples", 0), 12);
    assert_near(number(f, "latency_stats.itl_mean_ms"), f->t.itl_ms, 1e-6);
    assert_int_equal(llem_int_at(f->v, "latency_stats.itl_samples", 0), 12 * 29);
    assert_near(number(f, "latency_stats.itl_full_p99_ms"), f->t.itl_ms, 1e-6);
    assert_near(number(f, "extended_metrics.tpot_ms"), f->t.itl_ms, 1e-6);
    assert_near(number(f, "extended_metrics.request_latency.e2e_latency_p95_ms"), f->t.e2e_ms,
                1e-6);
    assert_int_equal(llem_int_at(f->v, "extended_metrics.request_latency.e2e_latency_samples", 0),
                     12);
    assert_near(number(f, "process_results.0.inference_metrics.time_to_first_token_ms"),
                f->t.ttft_ms, 1e-6);
    assert_int_equal(
        llem_int_at(f->v,
                    "process_results.0.inference_metrics.latency_measurements.excluded_tokens", 0),
        24);
}

static void engine_that_times_no_tokens_leaves_itl_null(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE, .no_tokens = true };

    derive(f, &o, NULL);
    assert_near(number(f, "latency_stats.ttft_mean_ms"), f->t.ttft_ms, 1e-6);
    assert_null_at(f, "latency_stats.itl_mean_ms");
    assert_int_equal(llem_int_at(f->v, "latency_stats.itl_samples", -1), 0);
    assert_string_equal(llem_str_at(quantity(f, "latency_stats.itl_mean_ms"), "reason", ""),
                        "engine_does_not_report");
    assert_near(number(f, "extended_metrics.tpot_ms"), f->t.itl_ms, 1e-6);
}

static void single_output_tokens_have_no_time_per_token(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE, .output_tokens = 1 };

    derive(f, &o, NULL);
    assert_null_at(f, "extended_metrics.tpot_ms");
    assert_near(number(f, "latency_stats.ttft_mean_ms"), f->t.ttft_ms, 1e-6);
}

static void batches_and_occupancy_come_from_steps_and_receipts(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    double each = 5.0 / 3, busy = (0.2 + 0.75) * each;

    derive(f, &o, NULL);
    assert_near(number(f, "extended_metrics.batch.effective_batch_size"), 4, 1e-9);
    assert_near(number(f, "extended_metrics.batch.batch_utilisation"), 1, 1e-9);
    assert_int_equal(llem_int_at(f->v, "extended_metrics.batch.num_batches", 0), 3);
    assert_near(number(f, "extended_metrics.batch.padding_overhead"), 1 - 174.0 / 228, 1e-12);
    assert_int_equal(llem_int_at(f->v, "phases.occupancy.max_in_flight", 0), 4);
    assert_near(number(f, "phases.occupancy.low_time_s"), 5 - 3 * busy, 1e-6);
    assert_true(number(f, "phases.occupancy.low_energy_share") > 0.01 &&
                number(f, "phases.occupancy.low_energy_share") < 0.1);
}

static void memory_and_utilisation_are_null_where_nobody_knows(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts gpu = { .sensor = SYNTHETIC_NVML }, cpu = { .sensor = SYNTHETIC_RAPL };

    derive(f, &gpu, NULL);
    assert_near(number(f, "extended_metrics.memory.total_vram_mb"), 81920, 0);
    assert_near(number(f, "extended_metrics.memory.model_memory_mb"), 2996965376 / 1048576.0, 1e-9);
    assert_near(number(f, "extended_metrics.gpu_utilisation.sm_utilisation_mean"), 95, 1e-9);
    assert_null_at(f, "extended_metrics.memory.kv_cache_mb");
    teardown(state);
    setup(state);
    f = *state;
    derive(f, &cpu, NULL);
    assert_null_at(f, "extended_metrics.memory.total_vram_mb");
    assert_null_at(f, "extended_metrics.gpu_utilisation.sm_utilisation_mean");
    assert_null_at(f, "extended_metrics.kv_cache.kv_cache_hit_rate");
}

static void flops_agree_with_a_hand_calculation(void **state)
{
    /* A gated layer with grouped heads: d 8, 2 layers, 4 heads of 2 with 2 key/value heads, inner
     * 16, vocabulary 10. Weights of a layer: q 64, k 32, v 32, o 64, mlp 3 x 128 = 384; 576
     * together. */
    struct llem_dims d = { .hidden = 8,
                           .layers = 2,
                           .heads = 4,
                           .kv_heads = 2,
                           .head = 2,
                           .value_head = 2,
                           .inner = 16,
                           .vocab = 10,
                           .gated = true };
    struct llem__flops f = { 0 };

    llem__flops_add(&f, &d, 3, 0, 1);
    /* Three positions: 2 x 2 x 576 x 3; one of 10 x 8 x 2 for the head; attention 4 x 2 x 8 x (1 +
     * 2 + 3). */
    assert_near(f.prefill, 6912 + 160 + 384, 0);
    assert_near(f.decode, 0, 0);
    assert_near(f.attention, 384, 0);
    f = (struct llem__flops){ 0 };
    llem__flops_add(&f, &d, 3, 0, 3);
    /* Two more positions, with contexts 4 and 5, and two more of the head. */
    assert_near(f.decode, 2 * 2304 + 2 * 160 + 64 * 9, 0);
    f = (struct llem__flops){ 0 };
    d.window = 2; /* contexts 1, 2, 2 */
    d.window_layers = 2;
    llem__flops_add(&f, &d, 3, 0, 1);
    assert_near(f.attention, 64 * 5, 0);
    f = (struct llem__flops){ 0 };
    d.window_layers = 1; /* one layer sees it all: 1, 2, 3 */
    llem__flops_add(&f, &d, 3, 0, 1);
    assert_near(f.attention, 32 * 5 + 32 * 6, 0);
    f = (struct llem__flops){ 0 };
    d.window = d.window_layers = 0;
    llem__flops_add(&f, &d, 3, 2, 1); /* two of three positions come out of a cache */
    assert_near(f.prefill, 2304 + 160 + 64 * 3, 0);
    f = (struct llem__flops){ 0 };
    d.experts = 4;
    d.expert_layers = 2;
    d.expert_inner = 16;
    d.active_experts = 2; /* a layer: 192 + 2 x 384 + router 8 x 4 */
    llem__flops_add(&f, &d, 1, 0, 0);
    assert_near(f.prefill, 2 * 2 * (192 + 768 + 32) + 64, 0);
    f = (struct llem__flops){ 0 };
    d.expert_layers = 1; /* the other has none; 5 of every token's own, and a gate before them */
    d.shared_inner = 5;
    d.shared_gate = true;
    llem__flops_add(&f, &d, 1, 0, 0);
    assert_near(f.prefill, 2 * (192 + 768 + 32 + 120 + 8) + 2 * (192 + 384) + 64, 0);
    f = (struct llem__flops){ 0 };
    d.experts = d.expert_layers = 0;
    d.gated = false;
    llem__flops_add(&f, &d, 1, 0, 0);
    assert_near(f.prefill, 2 * 2 * (192 + 256) + 64, 0);
}

static void no_dimensions(struct llem_value *json, struct llem_arena *a)
{
    llem_set_at(a, json, "model.hidden_size", llem_null(a));
}

static void unknown_dimensions_fall_back_to_parameters_and_say_so(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, no_dimensions);
    assert_string_equal(llem_str_at(f->v, "flops.flops_method", ""), "palm_2nt");
    assert_near(number(f, "total_flops"), 2.0 * (1498482688.0 - 262668288.0) * 558, 1);
    assert_string_equal(llem_str_at(quantity(f, "total_flops"), "quality", ""), "estimated");
}

#define TINY                                                                                       \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":128,"                       \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":400"

static void set_config(struct llem_value *json, struct llem_arena *a, const char *text)
{
    struct llem_value *config;

    assert_int_equal(llem_json_parse(a, &config, text, strlen(text), "config.json", NULL), LLEM_OK);
    llem_set_at(a, json, "model.config", config);
}

static void config_alone(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, json, "model", llem_map(a));
    set_config(json, a, "{" TINY "}");
}

static void dimensions_come_from_the_configuration_of_any_engines_model(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };
    struct llem_dims d = { .hidden = 64,
                           .layers = 2,
                           .heads = 4,
                           .kv_heads = 4,
                           .head = 16,
                           .value_head = 16,
                           .inner = 128,
                           .vocab = 400,
                           .gated = true };
    struct llem__flops flops = { 0 };
    const struct llem_column *pass, *input, *output;

    derive(f, &o, config_alone);
    pass = llem_recording_column(&f->r, "requests", "pass");
    input = llem_recording_column(&f->r, "requests", "input_tokens");
    output = llem_recording_column(&f->r, "requests", "output_tokens");
    for (size_t k = 0; k < pass->count; k++)
        if (pass->i32[k] == 0)
            llem__flops_add(&flops, &d, input->i32[k], 0, output->i32[k]);
    assert_near(number(f, "total_flops"), flops.prefill + flops.decode, 0);
    assert_string_equal(llem_str_at(f->v, "flops.flops_method", ""), "exact_decoder");
    assert_string_equal(llem_str_at(f->v, "model.dimensions_from", ""), "config.json");
    assert_near(number(f, "model.num_layers"), 2, 0);
    assert_near(number(f, "model.parameters"), 133440, 0);
    /* 2 N T beside it, without the embedding. */
    assert_near(number(f, "flops.palm_2nt"), 2.0 * (133440 - 25600) * 558, 0);
    assert_null(llem_at(f->v, "model.config"));
    assert_false(warned(f, "dimensions_differ"));
}

static void config_of_another(struct llem_value *json, struct llem_arena *a)
{
    set_config(json, a, "{" TINY "}");
}

static void what_the_engine_tells_otherwise_is_a_warning(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, config_of_another);
    assert_true(warned(f, "dimensions_differ"));
    assert_near(number(f, "model.hidden_size"), 64, 0);
    assert_near(number(f, "model.parameters"), 1498482688, 0); /* of what was loaded */
}

static void config_with_a_hole(struct llem_value *json, struct llem_arena *a)
{
    set_config(json, a, "{\"model_type\":\"llama\",\"hidden_size\":2048}");
}

static void what_the_configuration_lacks_the_engine_fills(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, config_with_a_hole);
    assert_string_equal(llem_str_at(f->v, "model.dimensions_from", ""), "engine");
    assert_string_equal(llem_str_at(f->v, "flops.flops_method", ""), "exact_decoder");
}

static void config_of_no_decoder(struct llem_value *json, struct llem_arena *a)
{
    set_config(json, a, "{\"model_type\":\"jamba\",\"hidden_size\":2048}");
}

/* Its sizes look like those of a plain decoder, and are not. */
static void an_unknown_architecture_is_estimated_and_named(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, config_of_no_decoder);
    assert_string_equal(llem_str_at(f->v, "flops.flops_method", ""), "palm_2nt");
    assert_string_equal(llem_str_at(f->v, "flops.flops_confidence", ""), "medium");
    assert_string_equal(llem_str_at(quantity(f, "total_flops"), "quality", ""), "estimated");
    assert_true(warned(f, "unknown_architecture"));
    assert_null_at(f, "flops.prefill");
    assert_null_at(f, "model.dimensions_from");
}

static void config_of_no_decoder_alone(struct llem_value *json, struct llem_arena *a)
{
    llem_set(a, json, "model", llem_map(a));
    config_of_no_decoder(json, a);
}

static void without_dimensions_and_parameters_there_is_no_number(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, config_of_no_decoder_alone);
    assert_null_at(f, "total_flops");
    assert_null_at(f, "flops.flops_method");
    assert_null_at(f, "flops.mfu");
    assert_string_equal(llem_str_at(quantity(f, "total_flops"), "reason", ""),
                        "unknown_architecture");
    assert_string_equal(llem_str_at(quantity(f, "flops.mfu"), "reason", ""),
                        "unknown_architecture");
}

static const char *devices_json;

static void on_devices(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value *devices;

    assert_int_equal(
        llem_json_parse(a, &devices, devices_json, strlen(devices_json), "devices", NULL), LLEM_OK);
    llem_set_at(a, json, "engine.devices", devices);
}

static void utilisation_is_of_devices_whose_peak_is_known(void **state)
{
    static const struct {
        const char *devices;
        double peak;
    } cases[] = {
        { "[{\"name\": \"NVIDIA A100-SXM4-80GB\"}]", 312e12 },
        { "[{\"name\": \"NVIDIA H200\"}, {\"name\": \"NVIDIA H100 80GB HBM3\"}]", 2 * 989.4e12 },
        { "[{\"name\": \"NVIDIA H200\"}, {\"name\": \"NVIDIA H200 NVL\"}]", NAN },
        { "[{\"name\": \"NVIDIA H100\"}]", NAN },
        { "[{\"kind\": \"cpu\"}]", NAN },
        { "[]", NAN },
    };
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        struct fixture *f;

        if (i)
            teardown(state), setup(state);
        f = *state;
        devices_json = cases[i].devices;
        derive(f, &o, on_devices);
        if (isfinite(cases[i].peak)) {
            assert_near(number(f, "flops.peak_flops_per_second"), cases[i].peak, 0);
            assert_near(number(f, "flops.mfu"), number(f, "flops_per_second") / cases[i].peak,
                        1e-15);
            continue;
        }
        assert_null_at(f, "flops.mfu");
        assert_string_equal(llem_str_at(quantity(f, "flops.mfu"), "reason", ""), "peak_unknown");
    }
}

/* ---- warnings, shape ---------------------------------------------------------------------- */

static void throttling_is_found_and_power_cap_is_a_property(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML },
                          hot = { .sensor = SYNTHETIC_NVML, .throttled = true };

    derive(f, &o, NULL);
    assert_false(llem_bool_at(f->v, "thermal_throttle.detected", true));
    assert_true(llem_bool_at(f->v, "thermal_throttle.power", false));
    assert_near(number(f, "thermal_throttle.power_cap_sec"), 2, 1e-9);
    assert_near(number(f, "thermal_throttle.max_temperature_c"), 54, 0);
    assert_false(warned(f, "throttled_thermal"));
    teardown(state);
    setup(state);
    f = *state;
    derive(f, &hot, NULL);
    assert_true(llem_bool_at(f->v, "thermal_throttle.detected", false));
    assert_true(llem_bool_at(f->v, "thermal_throttle.sw_thermal", false));
    assert_near(number(f, "thermal_throttle.throttle_duration_sec"), 1, 1e-9);
    assert_true(llem_at(f->v, "thermal_throttle.throttle_timestamps")->count >= 3);
    assert_true(number(f, "thermal_throttle.throttle_timestamps.0") >= 1 &&
                number(f, "thermal_throttle.throttle_timestamps.0") < 1.3);
    assert_true(warned(f, "throttled_thermal"));
}

static void cold_and_mute(struct llem_value *json, struct llem_arena *a)
{
    llem_set_at(a, json, "warmup.converged", llem_bool(a, false));
    llem_set_at(a, json, "dataset.truncated", llem_int(a, 7));
    llem_set_at(a, json, "environment.gpus.0.persistence", llem_bool(a, false));
    llem_set_at(a, json, "sampler_cost.late_deadlines", llem_int(a, 5000));
}

static void doubts_become_warnings_with_a_sentence_and_a_hint(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .quick = true };
    const struct llem_value *list;

    derive(f, &o, cold_and_mute);
    assert_true(warned(f, "short_measurement_duration"));
    assert_true(warned(f, "quick"));
    assert_true(warned(f, "warmup_not_converged"));
    assert_true(warned(f, "prompts_truncated"));
    assert_true(warned(f, "late_deadlines"));
    list = llem_get(f->v, "measurement_warnings_detail");
    assert_int_equal(list->count, llem_get(f->v, "measurement_warnings")->count);
    for (size_t k = 0; k < list->count; k++) {
        const char *code = llem_str_at(list->items[k], "reason", "");

        if (!llem_reason_find(code))
            fail_msg("warning %s is in no list", code);
        assert_true(strlen(llem_str_at(list->items[k], "text", "")) > 10);
        assert_true(strlen(llem_str_at(list->items[k], "hint", "")) > 10);
    }
    assert_true(llem_bool_at(f->v, "quick", false));
    assert_non_null(strstr(llem_str_at(f->v, "reproducibility_notes", ""), "Quick run"));
}

static void measure_has_energy_and_no_tokens(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL, .is_measure = true };

    derive(f, &o, NULL);
    assert_near(number(f, "total_energy_j"), f->t.energy_j, 0.15);
    assert_null_at(f, "total_tokens");
    assert_null_at(f, "engine");
    assert_null_at(f, "total_flops");
    assert_null_at(f, "latency_stats");
    assert_null_at(f, "warmup_result");
    assert_string_equal(llem_str_at(quantity(f, "total_tokens"), "reason", ""), "not_applicable");
    assert_string_equal(llem_str_at(f->v, "kind", ""), "measure");
}

static void every_null_quantity_has_a_known_reason(void **state)
{
    for (int sensor = SYNTHETIC_NVML; sensor <= SYNTHETIC_NONE; sensor++) {
        for (int is_measure = 0; is_measure < 2; is_measure++) {
            struct synthetic_opts o = { .sensor = (enum synthetic_sensor)sensor,
                                        .is_measure = is_measure,
                                        .two_ranks = true };
            struct fixture *f = *state;
            const struct llem_value *q;

            derive(f, &o, NULL);
            q = llem_get(f->v, "quantities");
            assert_true(q->count >= 30);
            for (size_t k = 0; k < q->count; k++) {
                const char *reason = llem_str_at(q->items[k], "reason", NULL);

                if (!llem_is_null(llem_get(q->items[k], "value")))
                    assert_null(reason);
                else if (!reason || !llem_reason_find(reason))
                    fail_msg("%s is null for '%s'", q->keys[k], reason ? reason : "no reason");
            }
            teardown(state);
            setup(state);
        }
    }
}

static void every_quantity_is_the_value_of_its_field(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .n_gpus = 2, .two_ranks = true };
    const struct llem_value *q;

    derive(f, &o, NULL);
    q = llem_get(f->v, "quantities");
    for (size_t k = 0; k < q->count; k++) {
        const struct llem_value *field = llem_at(f->v, q->keys[k]),
                                *value = llem_get(q->items[k], "value");

        if (!field)
            fail_msg("there is no field %s", q->keys[k]);
        if (llem_is_null(value))
            assert_true(llem_is_null(field));
        else
            assert_near(llem_real_at(q->items[k], "value", 0),
                        llem_real_at(f->v, q->keys[k], 1e300), 0);
    }
}

static void fields_of_the_original_stand_first_and_in_its_order(void **state)
{
    static const char *const seeds[] = {
        "schema_version",
        "experiment_id",
        "measurement_config_hash",
        "llenergymeasure_version",
        "engine",
        "engine_version",
        "model_name",
        "measurement_methodology",
        "steady_state_window",
        "total_tokens",
        "total_energy_j",
        "total_inference_time_sec",
        "avg_tokens_per_second",
        "avg_energy_per_token_j",
        "mj_per_tok_adjusted",
        "mj_per_tok_total",
        "total_flops",
        "flops_per_output_token",
        "flops_per_input_token",
        "flops_per_second",
        "baseline_power_w",
        "energy_adjusted_j",
        "energy_per_device_j",
        "energy_breakdown",
        "multi_gpu",
        "measurement_warnings",
        "warmup_excluded_samples",
        "reproducibility_notes",
        "timeseries",
        "start_time",
        "end_time",
        "process_results",
        "aggregation",
        "thermal_throttle",
        "warmup_result",
        "latency_stats",
        "extended_metrics",
    };
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };

    derive(f, &o, NULL);
    for (size_t k = 0; k < LLEM_COUNT(seeds); k++)
        assert_string_equal(f->v->keys[k], seeds[k]);
    assert_string_equal(llem_str_at(f->v, "schema_version", ""), "3.0");
    assert_string_equal(llem_str_at(f->v, "start_time", ""), "2026-01-01T00:16:40.000000Z");
    assert_string_equal(llem_str_at(f->v, "end_time", ""), "2026-01-01T00:16:45.000000Z");
    assert_int_equal(llem_get(f->v, "process_results")->count, 1);
}

/* ---- several processes --------------------------------------------------------------------- */

static double sum_of(const struct fixture *f, const char *path)
{
    char first[128], second[128];

    snprintf(first, sizeof(first), "process_results.0.%s", path);
    snprintf(second, sizeof(second), "process_results.1.%s", path);
    return number(f, first) + number(f, second);
}

static void processes_with_devices_of_their_own_add_up_to_the_whole(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .n_gpus = 2, .two_ranks = true };
    double energy;

    derive(f, &o, NULL);
    energy = number(f, "total_energy_j");
    assert_int_equal(llem_get(f->v, "process_results")->count, 2);
    assert_string_equal(llem_str_at(f->v, "aggregation.method", ""), "sum_energy_wall_throughput");
    assert_int_equal(llem_int_at(f->v, "aggregation.num_processes", 0), 2);
    assert_true(llem_bool_at(f->v, "aggregation.temporal_overlap_verified", false));
    assert_true(llem_bool_at(f->v, "aggregation.gpu_attribution_verified", false));
    assert_int_equal(llem_at(f->v, "aggregation.warnings")->count, 0);

    /* Each process has the energy of its board, found by UUID or PCI address; the idle one has
     * none. */
    assert_near(number(f, "process_results.0.energy_metrics.total_energy_j"),
                number(f, "energy.domains.0.energy_j"), 0);
    assert_near(number(f, "process_results.1.energy_metrics.total_energy_j"),
                number(f, "energy.domains.1.energy_j"), 0);
    assert_near(energy, f->t.energy_j, 2e-4 * energy);
    assert_near(sum_of(f, "energy_metrics.total_energy_j"), energy, 1e-9 * energy);
    assert_near(sum_of(f, "energy_metrics.gpu_energy_j"), energy, 1e-9 * energy);
    assert_near(sum_of(f, "energy_breakdown.adjusted_j"), number(f, "energy_adjusted_j"), 1e-6);
    assert_near(sum_of(f, "energy_breakdown.baseline_power_w"), number(f, "baseline_power_w"),
                1e-9);
    assert_near(
        llem_real_at(quantity(f, "process_results.1.energy_metrics.total_energy_j"), "value", 0),
        number(f, "process_results.1.energy_metrics.total_energy_j"), 0);
    assert_int_equal(llem_int_at(f->v, "process_results.0.gpu_id", -1), 0);
    assert_int_equal(llem_int_at(f->v, "process_results.1.gpu_id", -1), 1);
    assert_int_equal(llem_int_at(f->v, "process_results.1.process_index", -1), 1);

    /* From the first begin, 0 s, to the last end, 5 s, at which (174 + 384) / 5 = 111.6 tok/s. Both
     * worked on every token, the second for 5 - 0.002 s. */
    assert_near(number(f, "total_inference_time_sec"), 5, 1e-12);
    assert_near(number(f, "total_tokens"), 558, 0);
    assert_near(number(f, "avg_tokens_per_second"), 111.6, 1e-9);
    assert_near(number(f, "process_results.1.inference_metrics.total_tokens"), 558, 0);
    assert_near(number(f, "process_results.1.inference_metrics.inference_time_sec"), 4.998, 1e-12);
    assert_near(number(f, "process_results.1.inference_metrics.tokens_per_second"), 558 / 4.998,
                1e-9);
    assert_string_equal(llem_str_at(f->v, "process_results.0.timestamps.end", ""),
                        "2026-01-01T00:16:44.998000Z");
    assert_string_equal(llem_str_at(f->v, "process_results.1.timestamps.start", ""),
                        "2026-01-01T00:16:40.002000Z");

    /* 3 + 2 GiB, 1 + 1.5 GiB */
    assert_near(number(f, "process_results.0.compute_metrics.peak_memory_mb"), 3072, 0);
    assert_near(number(f, "extended_metrics.memory.peak_memory_mb"), 5120, 0);
    assert_near(number(f, "process_results.1.compute_metrics.model_memory_mb"), 1536, 0);
    assert_near(number(f, "extended_metrics.memory.model_memory_mb"), 2560, 0);
    assert_near(number(f, "extended_metrics.memory.inference_memory_mb"), 2560, 0);
    assert_near(number(f, "process_results.1.extended_metrics.memory.total_vram_mb"), 81920, 0);

    /* Receipts are one stream; how operations are shared is not told. */
    assert_int_equal(llem_at(f->v, "process_results.0.per_request_latencies_ms")->count, 12);
    assert_int_equal(llem_at(f->v, "process_results.1.per_request_latencies_ms")->count, 0);
    assert_null_at(f, "process_results.1.inference_metrics.latency_measurements");
    assert_null_at(f, "process_results.0.compute_metrics.flops_total");
    assert_string_equal(
        llem_str_at(quantity(f, "process_results.0.compute_metrics.flops_total"), "reason", ""),
        "engine_does_not_report");
}

static void processes_on_one_device_have_no_energy_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL, .two_ranks = true };

    derive(f, &o, NULL);
    assert_near(number(f, "total_energy_j"), f->t.energy_j, 0.15);
    assert_null_at(f, "process_results.0.energy_metrics.total_energy_j");
    assert_null_at(f, "process_results.1.energy_metrics.cpu_energy_j");
    assert_string_equal(
        llem_str_at(quantity(f, "process_results.1.energy_metrics.total_energy_j"), "reason", ""),
        "processes_not_apart");
    assert_string_equal(llem_str_at(f->v, "aggregation.method", ""),
                        "shared_energy_wall_throughput");
    assert_false(llem_bool_at(f->v, "aggregation.gpu_attribution_verified", true));
    assert_non_null(strstr(llem_str_at(f->v, "aggregation.warnings.0", ""), "energy is of all"));
}

static void ranks_at_odds(struct llem_value *json, struct llem_arena *a)
{
    struct llem_value **rank = llem_get(llem_get(json, "totals"), "process_results")->items;

    llem_set(a, rank[0], "peak_memory_bytes", llem_null(a));
    llem_set(a, rank[1], "t_begin_ns", llem_int(a, INT64_C(1004998500000)));
    llem_set(a, rank[1], "t_end_ns", llem_int(a, INT64_C(1006000000000)));
    llem_set(a, rank[1], "output_tokens", llem_int(a, 100));
    llem_set(a, rank[1], "devices", llem_null(a));
}

static void doubts_about_processes_stand_in_the_aggregation(void **state)
{
    static const char *const doubts[] = { "process 1 worked outside of the window",
                                          "did not work at the same time",
                                          "neither are those of the receipts nor add up",
                                          "energy is of all" };
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML, .n_gpus = 2, .two_ranks = true };
    const struct llem_value *list;

    derive(f, &o, ranks_at_odds);
    list = llem_at(f->v, "aggregation.warnings");
    assert_int_equal(list->count, LLEM_COUNT(doubts));
    for (size_t k = 0; k < LLEM_COUNT(doubts); k++)
        if (!strstr(list->items[k]->s, doubts[k]))
            fail_msg("'%s' is not '%s'", list->items[k]->s, doubts[k]);
    assert_false(llem_bool_at(f->v, "aggregation.temporal_overlap_verified", true));
    assert_null_at(f, "process_results.0.energy_metrics.total_energy_j");
    /* What not every process tells is the engine's own total. */
    assert_near(number(f, "extended_metrics.memory.peak_memory_mb"), 4e9 / 1048576, 1e-6);
}

static void same_recording_gives_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NVML };
    struct llem_buf one = LLEM_BUF_INIT(1 << 24), two = LLEM_BUF_INIT(1 << 24);
    struct llem_value *again;

    derive(f, &o, NULL);
    assert_int_equal(llem_derive(&f->r, &f->a, &again, NULL), LLEM_OK);
    llem_json_dump(&one, f->v, LLEM_JSON_PRETTY);
    llem_json_dump(&two, again, LLEM_JSON_PRETTY);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    llem_buf_done(&one);
    llem_buf_done(&two);
}

/* Parts of recording.json that may be anything in a hostile file. */
static void hostile(struct llem_value *json, struct llem_arena *a)
{
    static const char *const paths[] = { "window",      "domains",     "charged",    "model",
                                         "engine",      "baseline",    "warmup",     "thermal",
                                         "clocks",      "snapshots",   "totals",     "sensors",
                                         "warnings",    "environment", "gain_prior", "cpu",
                                         "sampler_cost" };

    for (size_t k = 0; k < LLEM_COUNT(paths); k++)
        llem_set(a, json, paths[k],
                 k % 3 == 0   ? llem_string(a, "?")
                 : k % 3 == 1 ? llem_int(a, -7)
                              : llem_list(a));
}

static void recording_without_sense_gives_nulls_not_crashes(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_NONE };

    derive(f, &o, hostile);
    assert_null_at(f, "total_energy_j");
}

static void too_little_memory_is_an_error_and_no_result(void **state)
{
    struct fixture *f = *state;
    struct synthetic_opts o = { .sensor = SYNTHETIC_RAPL };
    size_t failed = 0;

    derive(f, &o, NULL);
    for (size_t max = 4096; max < (size_t)8 << 20; max += max / 3) {
        struct llem_arena a = { .max = max };
        struct llem_value *v = NULL;
        llem_error err = { 0 };
        llem_errcode rc = llem_derive(&f->r, &a, &v, &err);

        if (rc != LLEM_OK) {
            assert_int_equal(rc, LLEM_ENOMEM);
            assert_null(v);
            failed++;
        }
        llem_arena_done(&a);
    }
    assert_true(failed > 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(gpu_energy_is_the_truth_within_its_uncertainty),
        T(idle_board_is_shown_and_never_charged),
        T(several_boards_add_up_and_share_their_gain),
        T(recorded_prior_is_used_for_the_uncertainty_alone),
        T(idle_before_the_load_is_subtracted),
        T(no_baseline_leaves_the_adjusted_values_null),
        T(more_idle_than_energy_stays_negative_with_a_warning),
        T(package_and_dram_are_charged_together),
        T(estimate_never_stands_in_a_measured_field),
        T(emissions_are_energy_times_pue_times_intensity),
        T(emissions_of_an_estimate_have_its_range),
        T(without_an_intensity_emissions_are_null_with_the_reason),
        T(without_a_sensor_everything_but_energy_is_there),
        T(window_never_opened_is_null_with_a_reason),
        T(rates_divide_by_what_their_names_say),
        T(latencies_are_those_of_the_receipts),
        T(engine_that_times_no_tokens_leaves_itl_null),
        T(single_output_tokens_have_no_time_per_token),
        T(batches_and_occupancy_come_from_steps_and_receipts),
        T(memory_and_utilisation_are_null_where_nobody_knows),
        T(flops_agree_with_a_hand_calculation),
        T(dimensions_come_from_the_configuration_of_any_engines_model),
        T(what_the_engine_tells_otherwise_is_a_warning),
        T(what_the_configuration_lacks_the_engine_fills),
        T(an_unknown_architecture_is_estimated_and_named),
        T(without_dimensions_and_parameters_there_is_no_number),
        T(utilisation_is_of_devices_whose_peak_is_known),
        T(unknown_dimensions_fall_back_to_parameters_and_say_so),
        T(throttling_is_found_and_power_cap_is_a_property),
        T(doubts_become_warnings_with_a_sentence_and_a_hint),
        T(measure_has_energy_and_no_tokens),
        T(every_null_quantity_has_a_known_reason),
        T(every_quantity_is_the_value_of_its_field),
        T(fields_of_the_original_stand_first_and_in_its_order),
        T(processes_with_devices_of_their_own_add_up_to_the_whole),
        T(processes_on_one_device_have_no_energy_of_their_own),
        T(doubts_about_processes_stand_in_the_aggregation),
        T(same_recording_gives_the_same_bytes),
        T(recording_without_sense_gives_nulls_not_crashes),
        T(too_little_memory_is_an_error_and_no_result),
    };

    return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
