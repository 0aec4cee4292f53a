/* SPDX-License-Identifier: MIT
 *
 * The whole harness in virtual time, with sensors that read a simulated machine: the order of the
 * steps, what is left out and why, the window's marks and rates, what is charged, and that every
 * way out closes what was opened.
 */
#include "tests/unit/measure/help.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/result/result.h"

#define START (1000 * S)

static struct run r;

static int begin(void **state)
{
    run_init(&r, test_clock_new(START), sim_all);
    return 0;
}

static int end(void **state)
{
    run_done(&r);
    return 0;
}

static void succeeds(void)
{
    if (run_it(&r) != LLEM_OK)
        fail_msg("%s", r.err.msg);
}

static void everything_is_closed(void)
{
    assert_int_equal(sim.gpu_open, sim.gpu_closed);
    assert_int_equal(sim.cpu_open, sim.cpu_closed);
    assert_int_equal(calls.create, calls.destroy);
}

static bool exists(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", r.dir, name);
    return llem_path_exists(path);
}

/* ---- steps -------------------------------------------------------------------------------- */

static void steps_run_in_the_order_of_the_table(void **state)
{
    static const char *const names[] = {
        "preflight", "environment",   "baseline",      "prompts", "model",
        "warmup",    "thermal_floor", "energy_select", "measure", "observed_params",
        "flops",     "warnings",      "save",
    };
    struct llem_recording rec;
    const struct llem_value *steps;
    int64_t last = 0;

    succeeds();
    assert_string_equal(r.steps,
                        "+preflight -preflight +baseline -baseline +prompts -prompts +model -model "
                        "+warmup -warmup ~thermal_floor:no_temperature +energy_select "
                        "-energy_select +measure -measure +flops -flops +save -save ");
    run_open(&r, &rec);
    steps = llem_get(rec.json, "steps");
    assert_int_equal(steps->count, LLEM_COUNT(names));
    for (size_t i = 0; i < steps->count; i++) {
        const struct llem_value *s = steps->items[i];
        int64_t b = llem_int_at(s, "begin_ns", -1), e = llem_int_at(s, "end_ns", -1);

        assert_string_equal(llem_str_at(s, "name", ""), names[i]);
        assert_true(b >= last && e >= b);
        last = e;
    }
    assert_int_equal(llem_int_at(step_of(&rec, "baseline"), "end_ns", 0) -
                         llem_int_at(step_of(&rec, "baseline"), "begin_ns", 0),
                     30 * S);
    llem_recording_close(&rec);
    everything_is_closed();
    assert_int_equal(calls.cleanup, 1);
    assert_int_equal(calls.load, 1);
    assert_true(exists("result.json"));
}

static void the_recording_has_every_key_of_the_format(void **state)
{
    static const char *const keys[] = {
        "version",
        "producer",
        "kind",
        "experiment_id",
        "measurement_config_hash",
        "resolved_config_hash",
        "study_id",
        "index",
        "cycle",
        "n_cycles",
        "order",
        "quick",
        "config",
        "provenance",
        "paths",
        "output",
        "variables",
        "measure",
        "started_utc",
        "finished_utc",
        "dataset",
        "model",
        "engine",
        "environment",
        "domains",
        "sensors",
        "charged",
        "calibration",
        "gain_prior",
        "steps",
        "baseline",
        "warmup",
        "thermal",
        "window",
        "totals",
        "sampler_windows",
        "clocks",
        "snapshots",
        "cpu",
        "sampler_cost",
        "warnings",
        "columns",
        "environment.host.kernel",
        "environment.cpu.n_logical",
        "environment.memory.total_bytes",
        "environment.gpus",
        "environment.cuda",
        "environment.python",
        "environment.collected_utc",
        "environment.load_average",
        "dataset.sha256",
        "dataset.kinds",
        "dataset.truncated",
        "dataset.max_input_tokens",
        "engine.version",
        "engine.libraries",
        "engine.load_s",
        "engine.effective",
        "engine.devices.0.kind",
        "engine.engine_params",
        "engine.sampling_params",
        "baseline.bare.begin_ns",
        "baseline.loaded_before.begin_ns",
        "baseline.loaded_after.begin_ns",
        "baseline.reason",
        "baseline.method",
        "warmup.mode",
        "warmup.latencies_ms",
        "warmup.converged",
        "warmup.target_cv",
        "warmup.window_size",
        "warmup.max_prompts",
        "warmup.batch_ms",
        "thermal.waited_s",
        "thermal.settled",
        "thermal.reason",
        "thermal.temperature_begin_c",
        "thermal.temperature_end_c",
        "window.t_begin_ns",
        "window.t_end_ns",
        "window.sync_before_ns",
        "window.sync_after_ns",
        "window.call_sent_ns",
        "window.call_received_ns",
        "window.preroll_begin_ns",
        "window.postroll_end_ns",
        "window.passes.0.count",
        "totals.input_tokens",
        "totals.output_tokens",
        "totals.peak_memory_bytes",
        "clocks.worker",
        "clocks.pairs.0.1",
        "snapshots.before",
        "snapshots.after",
        "cpu.process_user_s",
        "cpu.process_system_s",
        "cpu.machine_busy_s",
        "cpu.machine_total_s",
        "cpu.n_cpus",
        "sampler_cost.cpu_s",
        "sampler_cost.longest_gap_s",
        "sampler_cost.late_deadlines",
        "sampler_cost.reads",
        "sampler_cost.ticks",
        "domains.0.fields.0.modulus",
        "sensors.0.describe",
    };
    struct llem_recording rec;

    succeeds();
    run_open(&r, &rec);
    for (size_t i = 0; i < LLEM_COUNT(keys); i++)
        if (!llem_at(rec.json, keys[i]))
            fail_msg("recording.json has no %s", keys[i]);
    assert_int_equal(llem_int_at(rec.json, "totals.output_tokens", 0), 24);
    assert_int_equal(llem_int_at(rec.json, "totals.input_tokens", 0), 15);
    llem_recording_close(&rec);
}

static void receipts_of_every_pass_are_kept(void **state)
{
    struct llem_recording rec;
    const struct llem_column *pass, *last, *finish, *request, *t;

    succeeds();
    run_open(&r, &rec);
    pass = llem_recording_column(&rec, "requests", "pass");
    last = llem_recording_column(&rec, "requests", "t_last_ns");
    finish = llem_recording_column(&rec, "requests", "finish");
    assert_int_equal(pass->count, 4); /* the warm-up batch of one, then three */
    assert_int_equal(pass->i32[0], 1);
    for (int i = 1; i < 4; i++)
        assert_int_equal(pass->i32[i], 0);
    assert_string_equal(finish->utf8[3], "length");
    assert_int_equal(last->i64[3], llem_int_at(rec.json, "window.t_end_ns", 0));
    request = llem_recording_column(&rec, "tokens", "request");
    t = llem_recording_column(&rec, "tokens", "t_ns");
    assert_int_equal(request->count, 4 * 8);
    assert_int_equal(request->i32[31], 3);
    assert_int_equal(t->i64[31], last->i64[3]);
    llem_recording_close(&rec);
}

static void what_the_engine_does_not_tell_is_null_not_zero(void **state)
{
    struct llem_recording rec;

    run_set(&r, "test.receipts", "false");
    succeeds();
    run_open(&r, &rec);
    assert_int_equal(llem_recording_column(&rec, "requests", "pass")->count, 0);
    assert_true(llem_is_null(llem_at(rec.json, "totals.peak_memory_bytes")));
    llem_recording_close(&rec);
}

/* ---- what is left out, and why ------------------------------------------------------------ */

static void without_an_energy_sensor_there_is_no_baseline_and_no_roll(void **state)
{
    struct llem_recording rec;

    r.m.samplers = sim_estimate_only;
    succeeds();
    assert_contains(r.steps, "~baseline:no_sensor ");
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "baseline.reason", ""), "no_sensor");
    assert_true(llem_is_null(llem_at(rec.json, "baseline.bare")));
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "estimate");
    assert_string_equal(llem_str_at(rec.json, "charged.reason", ""), "estimated_only");
    assert_true(llem_int_at(rec.json, "window.sync_before_ns", 0) -
                    llem_int_at(rec.json, "window.preroll_begin_ns", 0) <
                S / 2);
    llem_recording_close(&rec);
}

static void a_machine_without_any_sensor_is_measured_all_the_same(void **state)
{
    struct llem_recording rec;

    r.m.samplers = sim_none;
    succeeds();
    run_open(&r, &rec);
    assert_true(llem_is_null(llem_at(rec.json, "charged.sampler")));
    assert_string_equal(llem_str_at(rec.json, "charged.reason", ""), "no_sensor");
    assert_int_equal(llem_int_at(rec.json, "window.t_end_ns", 0) -
                         llem_int_at(rec.json, "window.t_begin_ns", 0),
                     6 * S);
    llem_recording_close(&rec);
}

static void a_null_sampler_opens_nothing(void **state)
{
    struct llem_recording rec;

    run_set(&r, "measurement.energy_sampler", "null");
    succeeds();
    assert_int_equal(sim.gpu_open + sim.cpu_open, 0);
    assert_contains(r.steps, "~baseline:not_requested ");
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "charged.reason", ""), "not_requested");
    assert_string_equal(llem_str_at(rec.json, "sensors.0.reason", ""), "not_requested");
    assert_false(llem_bool_at(rec.json, "sensors.0.opened", true));
    llem_recording_close(&rec);
}

static void a_baseline_that_is_not_wanted_is_not_measured(void **state)
{
    run_set(&r, "measurement.baseline.enabled", "false");
    succeeds();
    assert_contains(r.steps, "~baseline:not_requested ");
}

static void without_warmup_there_is_no_thermal_wait_and_no_batch(void **state)
{
    struct llem_recording rec;

    calls.gpus = true;
    run_set(&r, "measurement.warmup.enabled", "false");
    succeeds();
    assert_contains(r.steps, "~warmup:not_requested ~thermal_floor:not_requested ");
    assert_int_equal(calls.warmup, 0);
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "warmup.mode", ""), "disabled");
    assert_true(llem_is_null(llem_at(rec.json, "warmup.batch_ms")));
    assert_int_equal(llem_recording_column(&rec, "requests", "pass")->count, 3);
    llem_recording_close(&rec);
}

static void quick_shortens_the_baseline_and_says_so(void **state)
{
    struct llem_recording rec;

    run_set_top(&r, "quick", "true");
    succeeds();
    run_open(&r, &rec);
    assert_true(llem_bool_at(rec.json, "quick", false));
    assert_int_equal(llem_int_at(rec.json, "baseline.bare.end_ns", 0) -
                         llem_int_at(rec.json, "baseline.bare.begin_ns", 0),
                     2 * S);
    llem_recording_close(&rec);
}

/* ---- what is charged ---------------------------------------------------------------------- */

static void a_cpu_engine_is_charged_package_and_dram_but_never_psys(void **state)
{
    struct llem_recording rec;
    const struct llem_value *domains;

    succeeds();
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "rapl");
    assert_true(llem_is_null(llem_at(rec.json, "charged.reason")));
    domains = llem_at(rec.json, "charged.domains");
    assert_int_equal(domains->count, 2);
    assert_int_equal(domains->items[0]->i, domain_of(&rec, "package:0"));
    assert_int_equal(domains->items[1]->i, domain_of(&rec, "dram:0"));
    /* The others are read too, and say why they are not charged. */
    assert_true(llem_bool_at(rec.json, "sensors.0.opened", false));
    assert_contains(llem_str_at(rec.json, "sensors.0.charged_text", ""), "reads no CPU");
    assert_contains(llem_str_at(rec.json, "sensors.2.charged_text", ""), "preferred");
    llem_recording_close(&rec);
}

static void a_gpu_engine_is_charged_its_own_boards_by_uuid(void **state)
{
    struct llem_recording rec;
    const struct llem_value *domains;

    calls.gpus = true;
    succeeds();
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "nvml");
    domains = llem_at(rec.json, "charged.domains");
    assert_int_equal(domains->count, 1);
    assert_int_equal(domains->items[0]->i, domain_of(&rec, "gpu:GPU-1"));
    llem_recording_close(&rec);
}

static void an_unreadable_counter_leaves_the_estimate_and_its_reason(void **state)
{
    struct llem_recording rec;

    sim.cpu_denied = true;
    succeeds();
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "estimate");
    assert_string_equal(llem_str_at(rec.json, "sensors.1.reason", ""), "no_permission");
    assert_string_equal(llem_str_at(rec.json, "sensors.1.remedy", ""), "sudo chmod a+r energy_uj");
    llem_recording_close(&rec);
}

static void a_named_sampler_that_cannot_be_used_is_an_error_with_its_remedy(void **state)
{
    sim.cpu_denied = true;
    run_set(&r, "measurement.energy_sampler", "\"rapl\"");
    assert_int_equal(run_it(&r), LLEM_ENOTSUP);
    assert_contains(r.err.msg, "measurement.energy_sampler is 'rapl'");
    assert_contains(r.err.msg, "may not be read");
    assert_string_equal(r.err.hint, "sudo chmod a+r energy_uj");
    assert_int_equal(calls.load, 0);
    everything_is_closed();
}

static void a_named_sampler_that_does_not_exist_here_is_an_error(void **state)
{
    run_set(&r, "measurement.energy_sampler", "\"zeus\"");
    assert_int_equal(run_it(&r), LLEM_ENOTSUP);
    assert_contains(r.err.msg, "zeus");
    assert_int_equal(calls.load, 0);
}

static void a_named_sampler_that_reads_something_else_is_an_error(void **state)
{
    run_set(&r, "measurement.energy_sampler", "\"nvml\"");
    assert_int_equal(run_it(&r), LLEM_ENOTSUP);
    assert_contains(r.err.msg, "cannot be charged");
    assert_int_equal(calls.cleanup, 1);
    assert_int_equal(sim.cpu_open, 0);
    everything_is_closed();
}

/* ---- the window --------------------------------------------------------------------------- */

/* The longest time between two reads of a field that begin in [from, to]. */
static int64_t longest_gap(const struct llem_recording *rec, int device, int field, int64_t from,
                           int64_t to, int *n)
{
    const struct llem_column *b = llem_recording_column(rec, "samples", "begin_ns");
    const struct llem_column *d = llem_recording_column(rec, "samples", "device");
    const struct llem_column *f = llem_recording_column(rec, "samples", "field");
    int64_t last = 0, gap = 0;

    *n = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (d->u16[i] != device || f->u16[i] != field || b->i64[i] < from || b->i64[i] > to)
            continue;
        if (*n && b->i64[i] - last > gap)
            gap = b->i64[i] - last;
        last = b->i64[i];
        ++*n;
    }
    return gap;
}

static int64_t at(const struct llem_recording *rec, const char *path)
{
    return llem_int_at(rec->json, path, -1);
}

static void the_edges_of_a_gpu_window_are_read_each_millisecond(void **state)
{
    struct llem_recording rec;
    int64_t t0, t1;
    int gpu, package, n;

    calls.gpus = true;
    succeeds();
    run_open(&r, &rec);
    t0 = at(&rec, "window.t_begin_ns");
    t1 = at(&rec, "window.t_end_ns");
    gpu = domain_of(&rec, "gpu:GPU-1");
    package = domain_of(&rec, "package:0");
    assert_true(at(&rec, "window.preroll_begin_ns") <= t0 - 2 * S);
    assert_true(at(&rec, "window.postroll_end_ns") >= t1 + 2 * S);
    assert_int_equal(t1 - t0, 6 * S);
    /* From a little after the pre-roll began: the thread sleeps for 100 ms at most until then. */
    assert_true(longest_gap(&rec, gpu, 83, t0 - 18 * S / 10, t0 + 50 * LLEM_MS, &n) <= LLEM_MS);
    assert_true(n >= 1800);
    assert_true(longest_gap(&rec, gpu, 83, t1 + 10 * LLEM_MS, t1 + 2 * S, &n) <= LLEM_MS);
    assert_true(longest_gap(&rec, gpu, 83, t0, t1, &n) <= 10 * LLEM_MS);
    assert_true(n >= 600 && n < 800);
    /* A counter that moves each millisecond is read that often for 50 ms only. */
    assert_true(longest_gap(&rec, package, 2100, t0 - 40 * LLEM_MS, t0 + 40 * LLEM_MS, &n) <=
                LLEM_MS);
    longest_gap(&rec, package, 2100, t0 - 18 * S / 10, t0 - S, &n);
    assert_int_equal(n, 81);
    /* Temperatures at five a second. */
    longest_gap(&rec, gpu, 1000, t0, t1, &n);
    assert_true(n >= 29 && n <= 31);
    llem_recording_close(&rec);
}

static void an_estimate_is_read_ten_times_a_second(void **state)
{
    struct llem_recording rec;
    int n;

    r.m.samplers = sim_estimate_only;
    succeeds();
    run_open(&r, &rec);
    longest_gap(&rec, 0, 2000, at(&rec, "window.t_begin_ns"), at(&rec, "window.t_end_ns"), &n);
    assert_true(n >= 60 && n <= 61);
    /* One reading on either side, so that the window can be cut out. */
    longest_gap(&rec, 0, 2000, at(&rec, "window.preroll_begin_ns"), at(&rec, "window.t_begin_ns"),
                &n);
    assert_true(n >= 1);
    longest_gap(&rec, 0, 2000, at(&rec, "window.t_end_ns"), at(&rec, "window.postroll_end_ns"), &n);
    assert_true(n >= 1);
    llem_recording_close(&rec);
}

static void a_slow_counter_gets_its_ten_ticks_before_the_window(void **state)
{
    struct llem_recording rec;
    int64_t t0, t1;

    calls.gpus = true;
    sim.tick_s = 0.4;
    succeeds();
    run_open(&r, &rec);
    t0 = at(&rec, "window.t_begin_ns");
    t1 = at(&rec, "window.t_end_ns");
    assert_true(t0 - at(&rec, "window.preroll_begin_ns") >= 36 * S / 10); /* the tenth tick */
    /* Twelve ticks of the length that was learned. */
    assert_true(at(&rec, "window.postroll_end_ns") - t1 >= 45 * S / 10);
    llem_recording_close(&rec);
}

static void a_counter_that_never_moves_does_not_stop_the_run(void **state)
{
    struct llem_recording rec;
    int64_t preroll;

    calls.gpus = true;
    sim.tick_s = 1e6;
    succeeds();
    run_open(&r, &rec);
    preroll = at(&rec, "window.t_begin_ns") - at(&rec, "window.preroll_begin_ns");
    assert_true(preroll >= 8 * S && preroll < 9 * S);
    llem_recording_close(&rec);
}

static void the_recorded_counter_holds_the_true_energy(void **state)
{
    struct llem_recording rec;
    const struct llem_column *b, *d, *f, *raw;
    int64_t t0, t1, first = -1, first_ns = 0, last = -1, last_ns = 0;
    int gpu;

    calls.gpus = true;
    succeeds();
    run_open(&r, &rec);
    b = llem_recording_column(&rec, "samples", "begin_ns");
    d = llem_recording_column(&rec, "samples", "device");
    f = llem_recording_column(&rec, "samples", "field");
    raw = llem_recording_column(&rec, "samples", "raw");
    t0 = at(&rec, "window.t_begin_ns");
    t1 = at(&rec, "window.t_end_ns");
    gpu = domain_of(&rec, "gpu:GPU-1");
    for (size_t i = 0; i < b->count; i++) {
        if (d->u16[i] != gpu || f->u16[i] != 83)
            continue;
        if (b->i64[i] <= t0) {
            first = raw->i64[i];
            first_ns = b->i64[i];
        }
        if (b->i64[i] >= t1 + 300 * LLEM_MS && last < 0) {
            last = raw->i64[i];
            last_ns = b->i64[i];
        }
    }
    /* The same, from the truth of the simulated machine, to one tick of idle power. */
    assert_near((double)(last - first) / 1000,
                sim_energy((double)first_ns * 1e-9, (double)last_ns * 1e-9), 2 * 0.1 * 100 + 0.01);
    assert_near(sim_energy((double)t0 * 1e-9, (double)t1 * 1e-9), 6 * 400, 1e-3);
    llem_recording_close(&rec);
}

static void baselines_are_spans_of_the_same_readings(void **state)
{
    static const char *const spans[] = { "bare", "loaded_before", "loaded_after" };
    struct llem_recording rec;
    int gpu, n;
    char path[64];

    calls.gpus = true;
    succeeds();
    run_open(&r, &rec);
    gpu = domain_of(&rec, "gpu:GPU-1");
    for (size_t i = 0; i < LLEM_COUNT(spans); i++) {
        int64_t from, to;

        snprintf(path, sizeof(path), "baseline.%s.begin_ns", spans[i]);
        from = at(&rec, path);
        snprintf(path, sizeof(path), "baseline.%s.end_ns", spans[i]);
        to = at(&rec, path);
        assert_true(to > from + S);
        assert_true(longest_gap(&rec, gpu, 83, from + 100 * LLEM_MS, to, &n) <= 10 * LLEM_MS);
    }
    assert_true(at(&rec, "baseline.loaded_before.end_ns") <= at(&rec, "window.t_begin_ns"));
    assert_true(at(&rec, "baseline.loaded_after.begin_ns") > at(&rec, "window.t_end_ns"));
    llem_recording_close(&rec);
}

/* So that who hears nothing for minutes may take it for a hang. */
static void long_work_is_never_silent_for_long(void **state)
{
    static const char *const samplers[] = { "\"auto\"", "null" };

    for (size_t i = 0; i < LLEM_COUNT(samplers); i++) {
        if (i) {
            end(NULL);
            begin(NULL);
        }
        run_set(&r, "test.load_s", "400.0");
        run_set(&r, "test.prompt_latency_ms", "30000.0");
        run_set(&r, "test.request_s", "100.0");
        run_set(&r, "measurement.energy_sampler", samplers[i]);
        run_set(&r, "measurement.warmup.thermal_floor_seconds", "0.0");
        succeeds();
        /* Only the rolls around the window are longer without a word than a beat. */
        assert_true(r.silence_ns >= 5 * S && r.silence_ns < 10 * S);
    }
}

static void live_lines_come_at_most_four_times_a_second_and_only_inside(void **state)
{
    calls.gpus = true;
    succeeds();
    assert_true(r.lives >= 20 && r.lives <= 25);
    assert_true(r.live_gap_ns >= 250 * LLEM_MS);
    assert_true(r.first_live_ns >= sim.work_begin && r.last_live_ns <= sim.work_end);
    assert_near(r.last_power_w, 400, 1);
    assert_near(r.last_temperature_c, 40, 1);
}

static void live_lines_tell_the_tokens_of_the_last_two_seconds(void **state)
{
    /* Eight tokens each two seconds. */
    succeeds();
    assert_near(r.last_tokens_per_s, 4, 1e-6);
}

static void an_engine_that_cannot_tell_has_no_tokens_in_its_live_lines(void **state)
{
    run_set(&r, "test.receipts", "false");
    succeeds();
    assert_true(r.lives >= 20);
    assert_true(isnan(r.last_tokens_per_s));
}

static void tokens_are_told_where_nothing_is_charged(void **state)
{
    calls.gpus = true;
    r.m.samplers = sim_cpu_only;
    succeeds();
    assert_true(isnan(r.last_power_w));
    assert_near(r.last_tokens_per_s, 4, 1e-6);
}

static void a_wrapping_counter_shows_the_right_watts(void **state)
{
    /* 1000 J wrap: 6 s at 400 W pass it twice. */
    succeeds();
    assert_near(r.last_power_w, 440, 1);
}

/* ---- faults of sensors -------------------------------------------------------------------- */

static void a_fault(int fault, int status, int64_t raw)
{
    struct llem_recording rec;
    const struct llem_column *b, *d, *f, *st, *value, *kind;
    int gpu, hits = 0, events = 0;

    calls.gpus = true;
    /* The engine works on GPU-1; the fault is GPU-0's, charged through `all` boards being read. */
    sim.fault = fault;
    sim.fault_after_s = 2;
    sim.fault_for_s = 1;
    succeeds();
    run_open(&r, &rec);
    gpu = domain_of(&rec, "gpu:GPU-0");
    b = llem_recording_column(&rec, "samples", "begin_ns");
    d = llem_recording_column(&rec, "samples", "device");
    f = llem_recording_column(&rec, "samples", "field");
    st = llem_recording_column(&rec, "samples", "status");
    value = llem_recording_column(&rec, "samples", "raw");
    for (size_t i = 0; i < b->count; i++) {
        double t = (double)(b->i64[i] - at(&rec, "window.t_begin_ns")) * 1e-9;

        if (d->u16[i] != gpu || f->u16[i] != 83 || t < 2 || t >= 3)
            continue;
        assert_int_equal(st->i32[i], status);
        if (raw >= 0)
            assert_int_equal(value->i64[i], raw);
        hits++;
    }
    assert_true(hits >= 10);
    kind = llem_recording_column(&rec, "events", "kind");
    for (size_t i = 0; i < kind->count; i++)
        events += strncmp(kind->utf8[i], "sensor_", 7) == 0;
    /* A fault is noted when it comes and when it goes, not at each reading. */
    assert_true(status ? events >= 2 && events <= 4 : events == 0);
    llem_recording_close(&rec);
    everything_is_closed();
}

static void a_sensor_that_vanishes_in_the_window_is_recorded(void **state)
{
    a_fault(SIM_VANISH, 15, 0);
}

static void a_sensor_that_sticks_in_the_window_is_recorded(void **state)
{
    a_fault(SIM_STICK, 0, -1);
}

static void a_sensor_that_resets_in_the_window_is_recorded(void **state)
{
    a_fault(SIM_RESET, 0, 5);
}

static void a_sensor_that_answers_garbage_in_the_window_is_recorded(void **state)
{
    a_fault(SIM_GARBAGE, LLEM_READ_GARBAGE, 0);
}

/* ---- warm-up and temperature -------------------------------------------------------------- */

static void the_population_cv_of_the_last_values_decides(void **state)
{
    const double v[] = { 90, 10, 12, 14 };

    /* mean 12, population variance (4 + 0 + 4) / 3 */
    assert_near(llem_last_cv(v, 4, 3), 1.6329931618554521 / 12, 1e-15);
    assert_near(llem_last_cv(v, 4, 1), 0, 0);
    assert_near(llem_last_cv(v, 2, 3), 40.0 / 50, 1e-15);
    assert_near(llem_last_cv(v, 0, 3), 0, 0);
    assert_near(llem_last_cv((const double[]){ -1, 1 }, 2, 2), 0, 0);
}

static void warmup(const char *mode, int n, bool converged)
{
    struct llem_recording rec;

    succeeds();
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "warmup.mode", ""), mode);
    assert_int_equal(llem_at(rec.json, "warmup.latencies_ms")->count, n);
    assert_int_equal(llem_bool_at(rec.json, "warmup.converged", false), converged);
    llem_recording_close(&rec);
}

static void auto_converges(void **state)
{
    warmup("converge", 5, true);
    assert_int_equal(calls.warmup, 5);
}

static void an_explicit_number_of_warmups_is_kept(void **state)
{
    run_set_top(&r, "provenance", "{\"measurement.warmup.n_warmup\": {\"source\": \"file\"}}");
    run_set(&r, "measurement.warmup.n_warmup", "7");
    warmup("fixed", 7, true);
}

static void explicit_convergence_goes_before_an_explicit_number(void **state)
{
    run_set_top(&r, "provenance",
                "{\"measurement.warmup.n_warmup\": {}, "
                "\"measurement.warmup.convergence_detection\": {}}");
    run_set(&r, "measurement.warmup.convergence_detection", "true");
    warmup("converge", 5, true);
}

static void a_named_mode_goes_before_both(void **state)
{
    run_set(&r, "measurement.warmup.mode", "\"fixed\"");
    warmup("fixed", 5, true);
}

static void latencies_that_drift_end_at_the_limit_with_a_warning(void **state)
{
    run_set(&r, "test.drift", "0.2");
    run_set(&r, "measurement.warmup.max_prompts", "9");
    warmup("converge", 9, false);
    assert_contains(r.steps, "!warmup_not_converged ");
}

static void a_latency_of_zero_leaves_warming_up_to_the_engine(void **state)
{
    run_set(&r, "test.prompt_latency_ms", "0.0");
    warmup("engine", 0, true);
    assert_int_equal(calls.warmup, 1);
}

static void the_thermal_wait_ends_when_the_temperature_stays(void **state)
{
    struct llem_recording rec;
    double waited;

    calls.gpus = true;
    sim.hot_c = 80;
    sim.cooling_from = START + 31 * S;
    succeeds();
    run_open(&r, &rec);
    waited = llem_real_at(rec.json, "thermal.waited_s", 0);
    assert_true(llem_bool_at(rec.json, "thermal.settled", false));
    /* 40 e^(-t/5) falls below 1 C after 18.4 s, and is watched for 10 s in all. */
    assert_true(waited > 15 && waited < 32);
    assert_true(llem_real_at(rec.json, "thermal.temperature_begin_c", 0) > 70);
    assert_near(llem_real_at(rec.json, "thermal.temperature_end_c", 0), 40, 1);
    llem_recording_close(&rec);
}

static void the_thermal_wait_is_bounded(void **state)
{
    struct llem_recording rec;

    calls.gpus = true;
    sim.hot_c = 90;
    sim.cooling_s = 200;
    sim.cooling_from = START + 31 * S;
    run_set(&r, "measurement.warmup.thermal_floor_seconds", "30.0");
    succeeds();
    run_open(&r, &rec);
    assert_false(llem_bool_at(rec.json, "thermal.settled", true));
    assert_near(llem_real_at(rec.json, "thermal.waited_s", 0), 30, 0.6);
    llem_recording_close(&rec);
}

/* ---- ways out ----------------------------------------------------------------------------- */

static void cancelling_in_any_step_cleans_up(void **state)
{
    static const char *const steps[] = { "preflight", "baseline",      "prompts",       "model",
                                         "warmup",    "thermal_floor", "energy_select", "measure",
                                         "live",      "flops",         "save" };

    for (size_t i = 0; i < LLEM_COUNT(steps); i++) {
        llem_errcode rc;

        if (i) {
            run_done(&r);
            run_init(&r, test_clock_new(START), sim_all);
        }
        calls.gpus = true;
        sim.hot_c = 90; /* so that the thermal wait lasts */
        sim.cooling_s = 200;
        r.cancel_at = steps[i];
        rc = run_it(&r);
        everything_is_closed();
        assert_true(calls.cleanup == calls.create);
        if (strcmp(steps[i], "save") == 0) { /* the last step is no wait: it is finished */
            assert_int_equal(rc, LLEM_OK);
            continue;
        }
        if (rc != LLEM_ECANCELED)
            fail_msg("cancelled in %s: %d, %s", steps[i], rc, r.err.msg);
        assert_false(exists("recording/recording.json"));
        assert_false(exists("result.json"));
        if (test_clock_now() - r.canceled_at_ns > 60 * LLEM_MS)
            fail_msg("%s went on for %lld ms", steps[i],
                     (long long)((test_clock_now() - r.canceled_at_ns) / LLEM_MS));
    }
}

static void cancelling_in_a_step_that_tells_no_events_ends_before_the_next(void **state)
{
    calls.cancel_in_probe = &r.cancel;
    assert_int_equal(run_it(&r), LLEM_ECANCELED);
    assert_contains(r.err.msg, "before step 'baseline'");
    everything_is_closed();
    run_done(&r);
    run_init(&r, test_clock_new(START), sim_all);
    calls.cancel_in_observed = &r.cancel;
    assert_int_equal(run_it(&r), LLEM_ECANCELED);
    assert_contains(r.err.msg, "before step 'flops'");
    everything_is_closed();
    assert_int_equal(calls.cleanup, 1);
    assert_false(exists("recording/recording.json"));
    assert_false(exists("result.json"));
}

static void a_failure_in_any_method_cleans_up_once_and_keeps_what_was_recorded(void **state)
{
    static const struct {
        const char *method;
        int cleanups;
        llem_errcode code;
    } cases[] = {
        { "create", 0, LLEM_EPLUGIN },       { "check_hardware", 1, LLEM_EPREFLIGHT },
        { "load_prompts", 1, LLEM_EPLUGIN }, { "open_device", 1, LLEM_EPLUGIN },
        { "load_model", 1, LLEM_EPLUGIN },   { "run_warmup_prompt", 1, LLEM_EPLUGIN },
        { "synchronize", 1, LLEM_EPLUGIN },  { "run_inference", 1, LLEM_EPLUGIN },
    };

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        char json[64];

        if (i) {
            run_done(&r);
            run_init(&r, test_clock_new(START), sim_all);
        }
        snprintf(json, sizeof(json), "\"%s\"", cases[i].method);
        run_set(&r, "test.fail_at", json);
        assert_int_equal(run_it(&r), cases[i].code);
        assert_contains(r.err.msg, cases[i].method);
        assert_int_equal(calls.cleanup, cases[i].cleanups);
        assert_int_equal(calls.destroy, cases[i].cleanups ? 1 : 0);
        assert_int_equal(sim.gpu_open, sim.gpu_closed);
        assert_int_equal(sim.cpu_open, sim.cpu_closed);
        assert_false(exists("recording/recording.json"));
        assert_true(exists("recording/recording.partial.json"));
        assert_true(exists("recording/events.kind.utf8.zst"));
        if (strcmp(cases[i].method, "run_inference") == 0)
            assert_true(exists("recording/samples.raw.i64.zst"));
    }
}

static void put_config(const char *text)
{
    char path[96], json[96];
    FILE *f;

    snprintf(path, sizeof(path), "%s/config.json", r.dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    snprintf(json, sizeof(json), "{\"task.model\": \"%s\"}", r.dir);
    run_set_top(&r, "paths", json);
}

static void what_config_json_says_is_recorded_for_any_engine(void **state)
{
    static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":64,\"vocab_size\":400,"
                                 "\"intermediate_size\":128,\"num_hidden_layers\":2,"
                                 "\"num_attention_heads\":4}";
    struct llem_value *result;
    struct llem_recording rec;

    put_config(config);
    succeeds();
    run_open(&r, &rec);
    assert_int_equal(at(&rec, "model.config.hidden_size"), 64);
    assert_int_equal(at(&rec, "model.parameters"), 1000000); /* the engine's own are kept */
    assert_string_equal(llem_str_at(step_of(&rec, "flops"), "text", ""), "from config.json");
    assert_int_equal(llem_derive(&rec, &r.arena, &result, &r.err), LLEM_OK);
    assert_string_equal(llem_str_at(result, "flops.flops_method", ""), "exact_decoder");
    llem_recording_close(&rec);
}

static void which_model_it_was_is_recorded_for_any_engine(void **state)
{
    static const char commit[] = "0123456789abcdef0123456789abcdef01234567";
    static const char blob[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    struct llem_recording rec;
    char path[300], target[120], sha256[65];

    /* In the cache of the Hugging Face tools. */
    snprintf(path, sizeof(path), "%s/models--o--m/snapshots/%s", r.dir, commit);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/models--o--m/refs", r.dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/models--o--m/refs/v1", r.dir);
    assert_int_equal(llem_file_write(path, commit, 40, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/models--o--m/blobs", r.dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/models--o--m/blobs/%s", r.dir, blob);
    assert_int_equal(llem_file_write(path, "abc", 3, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/models--o--m/snapshots/%s/model.safetensors", r.dir, commit);
    snprintf(target, sizeof(target), "../../blobs/%s", blob);
    assert_int_equal(symlink(target, path), 0);
    setenv("HF_HUB_CACHE", r.dir, 1);
    run_set_top(&r, "paths", "{\"task.model\": \"o/m@v1\"}");
    succeeds();
    run_open(&r, &rec);
    llem_sha256_of("model.safetensors 3\n", 20, sha256);
    assert_string_equal(llem_str_at(rec.json, "model.revision", ""), commit);
    assert_string_equal(llem_str_at(rec.json, "model.sha256", ""), sha256);
    assert_string_equal(llem_str_at(rec.json, "model.files.0.sha256", ""), blob);
    assert_int_equal(at(&rec, "model.files.0.bytes"), 3);
    assert_null(llem_at(rec.json, "model.revision_reason"));
    llem_recording_close(&rec);
    unsetenv("HF_HUB_CACHE");
}

static void which_model_it_was_is_null_with_a_reason(void **state)
{
    struct llem_recording rec;

    put_config("{}");
    succeeds();
    run_open(&r, &rec);
    assert_true(llem_is_null(llem_at(rec.json, "model.revision")));
    assert_string_equal(llem_str_at(rec.json, "model.revision_reason", ""), "local_model");
    assert_true(llem_is_null(llem_at(rec.json, "model.sha256")));
    assert_string_equal(llem_str_at(rec.json, "model.sha256_reason", ""), "no_weight_files");
    llem_recording_close(&rec);
}

static void a_broken_config_json_is_the_engines_to_refuse(void **state)
{
    struct llem_recording rec;

    put_config("{\"hidden_size\":");
    succeeds();
    run_open(&r, &rec);
    assert_true(llem_is_null(llem_at(rec.json, "model.config")));
    assert_string_equal(llem_str_at(step_of(&rec, "flops"), "text", ""),
                        "from the number of parameters");
    llem_recording_close(&rec);
}

static void the_engines_hint_reaches_the_caller(void **state)
{
    run_set(&r, "test.fail_at", "\"load_model\"");
    run_set(&r, "test.error_kind", "\"out_of_memory\"");
    assert_int_equal(run_it(&r), LLEM_ENOMEM);
    assert_contains(r.err.msg, "does not fit");
    assert_contains(r.err.hint, "smaller");
}

static void too_few_prompts_are_found_before_anyone_waits(void **state)
{
    char path[128], json[160];
    FILE *f;

    snprintf(path, sizeof(path), "%s/p.txt", r.dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("one\ntwo\n", f);
    fclose(f);
    snprintf(json, sizeof(json), "\"%s\"", path);
    run_set(&r, "task.dataset.source", json);
    assert_int_equal(run_it(&r), LLEM_ECONFIG);
    assert_contains(r.err.msg, "3 prompts are asked for");
    assert_contains(r.err.msg, "has 2");
    assert_int_equal(calls.create, 0);
    assert_true(test_clock_now() - START < S);
}

static void a_directory_that_cannot_be_written_is_one_sentence(void **state)
{
    char path[128];
    FILE *f;

    /* A file where the directory should be: root may write anywhere else. */
    snprintf(path, sizeof(path), "%s/recording", r.dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(run_it(&r), LLEM_EIO);
    assert_contains(r.err.msg, "recording");
    assert_int_equal(calls.create, 0);
}

/* ---- llem measure ------------------------------------------------------------------------- */

static llem_errcode work_for_5_s(void *user, llem_error *err)
{
    sim.work_begin = llem_now_ns(sim.clock);
    sim.clock->sleep_until_ns(sim.clock->self, sim.work_begin + 5 * S);
    sim.work_end = llem_now_ns(sim.clock);
    return LLEM_OK;
}

static llem_errcode work_that_fails(void *user, llem_error *err)
{
    return llem_fail(err, LLEM_EIO, "the command could not be started");
}

static void anything_can_be_measured_without_an_engine(void **state)
{
    struct llem_recording rec;

    run_set_top(&r, "kind", "\"measure\"");
    run_set_top(&r, "config", "null");
    run_set_top(&r, "measure", "{\"argv\": [\"true\"], \"for_s\": null, \"gpus\": null}");
    r.m.engine = NULL;
    if (llem_measure_work(&r.m, work_for_5_s, NULL, &r.err) != LLEM_OK)
        fail_msg("%s", r.err.msg);
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "kind", ""), "measure");
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "rapl");
    assert_int_equal(at(&rec, "window.t_end_ns") - at(&rec, "window.t_begin_ns"), 5 * S);
    assert_true(llem_is_null(llem_at(rec.json, "engine")));
    assert_true(llem_is_null(llem_at(rec.json, "model")));
    assert_true(llem_is_null(llem_at(rec.json, "dataset")));
    assert_string_equal(llem_str_at(step_of(&rec, "warmup"), "skipped", ""), "not_applicable");
    llem_recording_close(&rec);
    everything_is_closed();
}

static void measure_charges_the_gpus_that_are_named(void **state)
{
    struct llem_recording rec;

    run_set_top(&r, "kind", "\"measure\"");
    run_set_top(&r, "config", "null");
    run_set_top(&r, "measure", "{\"argv\": null, \"for_s\": 1, \"gpus\": [\"0\", \"gpu-1\"]}");
    if (llem_measure_work(&r.m, work_for_5_s, NULL, &r.err) != LLEM_OK)
        fail_msg("%s", r.err.msg);
    run_open(&r, &rec);
    assert_string_equal(llem_str_at(rec.json, "charged.sampler", ""), "nvml");
    assert_int_equal(llem_at(rec.json, "charged.domains")->count, 2);
    llem_recording_close(&rec);
}

static void measure_refuses_a_gpu_that_is_not_there(void **state)
{
    int64_t began_ns = test_clock_now();

    run_set_top(&r, "config", "null");
    run_set_top(&r, "measure", "{\"argv\": null, \"for_s\": 1, \"gpus\": [\"7\"]}");
    assert_int_equal(llem_measure_work(&r.m, work_for_5_s, NULL, &r.err), LLEM_EINVAL);
    assert_string_equal(r.err.msg, "--gpus: there is no GPU '7' here");
    assert_contains(r.err.hint, "0 = ");
    assert_contains(r.err.hint, "1 = ");
    /* Nobody waited for that. */
    assert_true(test_clock_now() < began_ns + S);
    everything_is_closed();
}

static void measure_refuses_gpus_where_none_can_be_read(void **state)
{
    sim.no_gpu = true;
    run_set_top(&r, "config", "null");
    run_set_top(&r, "measure", "{\"argv\": null, \"for_s\": 1, \"gpus\": [\"all\"]}");
    assert_int_equal(llem_measure_work(&r.m, work_for_5_s, NULL, &r.err), LLEM_EPREFLIGHT);
    assert_contains(r.err.msg, "--gpus: no GPU can be read here.");
    assert_true(r.err.hint[0] != '\0');
}

static void measure_charges_all_gpus_by_one_word(void **state)
{
    struct llem_recording rec;

    run_set_top(&r, "kind", "\"measure\"");
    run_set_top(&r, "config", "null");
    run_set_top(&r, "measure", "{\"argv\": null, \"for_s\": 1, \"gpus\": [\"all\"]}");
    if (llem_measure_work(&r.m, work_for_5_s, NULL, &r.err) != LLEM_OK)
        fail_msg("%s", r.err.msg);
    run_open(&r, &rec);
    assert_int_equal(llem_at(rec.json, "charged.domains")->count, SIM_GPUS);
    llem_recording_close(&rec);
}

static void work_that_fails_leaves_no_recording(void **state)
{
    run_set_top(&r, "config", "null");
    assert_int_equal(llem_measure_work(&r.m, work_that_fails, NULL, &r.err), LLEM_EIO);
    assert_string_equal(r.err.msg, "the command could not be started");
    assert_false(exists("recording/recording.json"));
    everything_is_closed();
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(steps_run_in_the_order_of_the_table),
        T(the_recording_has_every_key_of_the_format),
        T(receipts_of_every_pass_are_kept),
        T(what_the_engine_does_not_tell_is_null_not_zero),
        T(without_an_energy_sensor_there_is_no_baseline_and_no_roll),
        T(a_machine_without_any_sensor_is_measured_all_the_same),
        T(a_null_sampler_opens_nothing),
        T(a_baseline_that_is_not_wanted_is_not_measured),
        T(without_warmup_there_is_no_thermal_wait_and_no_batch),
        T(quick_shortens_the_baseline_and_says_so),
        T(a_cpu_engine_is_charged_package_and_dram_but_never_psys),
        T(a_gpu_engine_is_charged_its_own_boards_by_uuid),
        T(an_unreadable_counter_leaves_the_estimate_and_its_reason),
        T(a_named_sampler_that_cannot_be_used_is_an_error_with_its_remedy),
        T(a_named_sampler_that_does_not_exist_here_is_an_error),
        T(a_named_sampler_that_reads_something_else_is_an_error),
        T(the_edges_of_a_gpu_window_are_read_each_millisecond),
        T(an_estimate_is_read_ten_times_a_second),
        T(a_slow_counter_gets_its_ten_ticks_before_the_window),
        T(a_counter_that_never_moves_does_not_stop_the_run),
        T(the_recorded_counter_holds_the_true_energy),
        T(baselines_are_spans_of_the_same_readings),
        T(long_work_is_never_silent_for_long),
        T(live_lines_come_at_most_four_times_a_second_and_only_inside),
        T(live_lines_tell_the_tokens_of_the_last_two_seconds),
        T(an_engine_that_cannot_tell_has_no_tokens_in_its_live_lines),
        T(tokens_are_told_where_nothing_is_charged),
        T(a_wrapping_counter_shows_the_right_watts),
        T(a_sensor_that_vanishes_in_the_window_is_recorded),
        T(a_sensor_that_sticks_in_the_window_is_recorded),
        T(a_sensor_that_resets_in_the_window_is_recorded),
        T(a_sensor_that_answers_garbage_in_the_window_is_recorded),
        cmocka_unit_test(the_population_cv_of_the_last_values_decides),
        T(auto_converges),
        T(an_explicit_number_of_warmups_is_kept),
        T(explicit_convergence_goes_before_an_explicit_number),
        T(a_named_mode_goes_before_both),
        T(latencies_that_drift_end_at_the_limit_with_a_warning),
        T(a_latency_of_zero_leaves_warming_up_to_the_engine),
        T(the_thermal_wait_ends_when_the_temperature_stays),
        T(the_thermal_wait_is_bounded),
        T(cancelling_in_any_step_cleans_up),
        T(cancelling_in_a_step_that_tells_no_events_ends_before_the_next),
        T(a_failure_in_any_method_cleans_up_once_and_keeps_what_was_recorded),
        T(what_config_json_says_is_recorded_for_any_engine),
        T(which_model_it_was_is_recorded_for_any_engine),
        T(which_model_it_was_is_null_with_a_reason),
        T(a_broken_config_json_is_the_engines_to_refuse),
        T(the_engines_hint_reaches_the_caller),
        T(too_few_prompts_are_found_before_anyone_waits),
        T(a_directory_that_cannot_be_written_is_one_sentence),
        T(anything_can_be_measured_without_an_engine),
        T(measure_charges_the_gpus_that_are_named),
        T(measure_refuses_a_gpu_that_is_not_there),
        T(measure_refuses_gpus_where_none_can_be_read),
        T(measure_charges_all_gpus_by_one_word),
        T(work_that_fails_leaves_no_recording),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
