/* SPDX-License-Identifier: MIT
 *
 * Writes recordings of made-up experiments.
 */
#include "tests/support/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/recording.h"
#include "tests/support/sim_load.h"

enum { BATCH = 4, MAX_DOMAINS = 10 };
#define BARE_BELOW_W 26.0 /* the idle before the load is that much below the loaded one */
#define BASELINE_S 10.0

static void must(llem_errcode rc, const llem_error *err)
{
    if (rc != LLEM_OK) {
        fprintf(stderr, "synthetic: %s\n", err->msg);
        abort();
    }
}

char *synthetic_tempdir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(4096);

    if (!path)
        abort();
    snprintf(path, 4096, "%s/llem-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        abort();
    return path;
}

struct column {
    const struct llem_column_def *def;
    struct llem_buf b;
    size_t count;
};
struct table {
    struct column c[16];
    size_t n;
};

static void table_open(struct table *t, const char *name)
{
    memset(t, 0, sizeof(*t));
    for (const struct llem_column_def *d = llem_column_defs; d->table; d++)
        if (strcmp(d->table, name) == 0) {
            t->c[t->n].def = d;
            llem_buf_init(&t->c[t->n++].b, (size_t)1 << 30);
        }
}

static void put(struct table *t, const char *name, int64_t v, const char *text)
{
    for (size_t i = 0; i < t->n; i++) {
        struct column *c = &t->c[i];
        int32_t i32 = (int32_t)v;
        uint16_t u16 = (uint16_t)v;

        if (strcmp(c->def->name, name) != 0)
            continue;
        c->count++;
        switch (c->def->type) {
        case LLEM_COL_I64:
            llem_buf_add(&c->b, &v, 8);
            break;
        case LLEM_COL_I32:
            llem_buf_add(&c->b, &i32, 4);
            break;
        case LLEM_COL_U16:
            llem_buf_add(&c->b, &u16, 2);
            break;
        case LLEM_COL_UTF8:
            llem_column_add_utf8(&c->b, text);
            break;
        case LLEM_COL_F64:
            break;
        }
        return;
    }
    abort();
}

static void table_write(struct table *t, const char *dir, struct llem_arena *a,
                        struct llem_value *columns)
{
    struct llem_batch batch = { .dir = dir, .in_place = true };
    llem_error err = { 0 };

    for (size_t i = 0; i < t->n; i++) {
        struct column *c = &t->c[i];

        must(llem_column_write(&batch, c->def, c->b.data, c->count, c->b.len, a, columns, &err),
             &err);
        llem_buf_done(&c->b);
    }
    llem_batch_done(&batch);
}

static void put_sample(struct table *t, int64_t begin_ns, int64_t end_ns, int device, int field,
                       int64_t raw)
{
    put(t, "begin_ns", begin_ns, NULL);
    put(t, "end_ns", end_ns, NULL);
    put(t, "device", device, NULL);
    put(t, "field", field, NULL);
    put(t, "raw", raw, NULL);
    put(t, "status", 0, NULL);
    put(t, "vendor_ns", 0, NULL);
    put(t, "latency_us", 0, NULL);
}

static int64_t ns(double t_s)
{
    return sim_t0_ns() + llround(t_s * 1e9);
}

/* ---- sensors ------------------------------------------------------------------------------ */

static void put_board(struct table *t, int device, int64_t begin_ns, int64_t end_ns,
                      int64_t counter_mj, int64_t instant_mw, int64_t average_mw)
{
    put_sample(t, begin_ns, end_ns, device, 83, counter_mj);
    put_sample(t, begin_ns, end_ns, device, 186, instant_mw);
    put_sample(t, begin_ns, end_ns, device, 185, average_mw);
}

/* One board: bare idle from -60 s, then dense reads around and in the window. */
static double board(struct table *t, int device, const struct synthetic_opts *o, bool is_idle,
                    struct sim_random *r, double *window_j)
{
    double length = o->length_s, energy;
    struct sim_load l;
    struct sim_sensor s;
    struct sim_reads reads;

    sim_load_init(&l, r, is_idle ? 1e-9 : length);
    sim_sensor_init(&s, r);
    for (double at = -60; at < -60 + BASELINE_S; at += 0.01) {
        double tick = floor((at - s.phase_s) / 0.1) * 0.1 + s.phase_s;

        put_board(t, device, ns(at), ns(at) + 30000,
                  1000000 + (int64_t)floor((l.idle_w - BARE_BELOW_W) * 1000 * (tick + 62)),
                  (int64_t)((l.idle_w - BARE_BELOW_W) * 1000) + llround(50 * sin(tick * 7)),
                  (int64_t)((l.idle_w - BARE_BELOW_W) * 1000));
    }
    sim_reads_init(&reads, &l, &s, r, -2.2, length + 2.15, o->read_s, 30e-6);
    for (size_t k = 0; k < reads.n; k++) {
        double at = (double)(reads.begin_ns[k] - sim_t0_ns()) / 1e9;

        put_board(t, device, reads.begin_ns[k], reads.end_ns[k], 20000000 + reads.counter[k],
                  reads.instant[k], reads.average[k]);
        if (k % (size_t)llround(0.2 / o->read_s) == 0) {
            int64_t begin = reads.end_ns[k], end = begin + 1000;
            bool busy = at > 0 && at < length && !is_idle;

            put_sample(t, begin, end, device, 1001, at > 0 ? 54 : 50);
            put_sample(t, begin, end, device, 1002, busy ? 95 : 0);
            put_sample(t, begin, end, device, 1003, o->throttled && at > 1 && at < 2 ? 0x24 : 0x4);
            put_sample(t, begin, end, device, 1004, INT64_C(20) << 30);
        }
    }
    sim_reads_done(&reads);
    energy = is_idle ? 0 : sim_work_j(&l);
    *window_j = sim_window_j(&l);
    sim_load_done(&l);
    return energy;
}

/* A package of 20 W idle and 80 W load and its DRAM of 2 and 5 W, 61 uJ units, 1 ms ticks,
 * wrapping. */
static double rapl(struct table *t, int device, const struct synthetic_opts *o, double idle_w,
                   double load_w)
{
    static const uint64_t modulus = UINT64_C(4294967296);
    const double unit = 61.03515625e-6;
    double length = o->length_s;

    for (int part = 0; part < 2; part++) {
        double from = part ? -2.2 : -60, to = part ? length + 2.15 : -60 + BASELINE_S;
        double step = 0.010;

        for (double at = from; at < to; at += step) {
            double tick = floor(at * 1000) / 1000, inside = fmin(fmax(tick, 0), length);
            double joules = 262090 + idle_w * (tick + 60 - inside) + load_w * inside;
            bool dense = part && (fabs(at) < 0.05 || fabs(at - length) < 0.05);

            put_sample(t, ns(at), ns(at) + 8000, device, 1,
                       (int64_t)((uint64_t)floor(joules / unit) % modulus));
            step = dense ? 0.001 : 0.010;
        }
    }
    return load_w * length;
}

static void load_reads(struct table *t, const struct synthetic_opts *o)
{
    for (double at = -0.5; at < o->length_s + 0.5; at += 0.01) {
        double inside = fmin(fmax(at, 0), o->length_s);

        put_sample(t, ns(at), ns(at) + 8000, 0, 2000, 100000 + (int64_t)floor(200 * inside));
    }
}

static struct llem_value *parse(struct llem_arena *a, const char *text)
{
    struct llem_value *v = NULL;
    llem_error err = { 0 };

    must(llem_json_parse(a, &v, text, strlen(text), "synthetic", &err), &err);
    return v;
}

static struct llem_value *gpu_domain(struct llem_arena *a, int k)
{
    static const char format[] =
        "{\"id\": \"gpu:GPU-%04d\", \"kind\": \"gpu\", \"label\": \"Made-up H100\", \"uuid\": "
        "\"GPU-%04d\","
        " \"pci\": \"00000000:%02X:00.0\", \"index\": %d, \"sampler\": \"nvml\", \"quality\": "
        "\"measured\", \"left_out\": false, \"fields\": ["
        "{\"id\": 83, \"role\": \"counter\", \"name\": \"total_energy\", \"unit\": \"mJ\", "
        "\"to_si\": 0.001,"
        " \"period_s\": 0.1, \"averaging_s\": 0, \"modulus\": 0, \"slow\": false},"
        "{\"id\": 186, \"role\": \"power_instant\", \"name\": \"power_instant\", \"unit\": \"mW\","
        " \"to_si\": 0.001, \"period_s\": 0.1, \"averaging_s\": 0.025, \"modulus\": 0, \"slow\": "
        "false},"
        "{\"id\": 185, \"role\": \"power_average\", \"name\": \"power_average\", \"unit\": \"mW\","
        " \"to_si\": 0.001, \"period_s\": 0.1, \"averaging_s\": 1, \"modulus\": 0, \"slow\": "
        "false},"
        "{\"id\": 1001, \"role\": \"temperature\", \"name\": \"temperature\", \"unit\": \"C\", "
        "\"to_si\": 1,"
        " \"period_s\": 0, \"averaging_s\": 0, \"modulus\": 0, \"slow\": true},"
        "{\"id\": 1002, \"role\": \"utilization\", \"name\": \"utilization\", \"unit\": \"%%\", "
        "\"to_si\": 0.01,"
        " \"period_s\": 0, \"averaging_s\": 0, \"modulus\": 0, \"slow\": true},"
        "{\"id\": 1003, \"role\": \"event_reasons\", \"name\": \"event_reasons\", \"unit\": \"\", "
        "\"to_si\": 1,"
        " \"period_s\": 0, \"averaging_s\": 0, \"modulus\": 0, \"slow\": true},"
        "{\"id\": 1004, \"role\": \"memory_used\", \"name\": \"memory_used\", \"unit\": \"B\", "
        "\"to_si\": 1,"
        " \"period_s\": 0, \"averaging_s\": 0, \"modulus\": 0, \"slow\": true}]}";
    char text[4096];

    snprintf(text, sizeof(text), format, k, k, k, k);
    return parse(a, text);
}

static struct llem_value *rapl_domain(struct llem_arena *a, const char *kind)
{
    char text[1024];

    snprintf(
        text, sizeof(text),
        "{\"id\": \"%s:0\", \"kind\": \"%s\", \"label\": \"%s-0\", \"uuid\": \"\", \"pci\": \"\", "
        "\"index\": 0,"
        " \"sampler\": \"rapl\", \"quality\": \"measured\", \"left_out\": false, \"fields\": "
        "[{\"id\": 1, \"role\": \"counter\", \"name\": "
        "\"energy\","
        " \"unit\": \"61 uJ\", \"to_si\": 6.103515625e-05, \"period_s\": 0.001, \"averaging_s\": 0,"
        " \"modulus\": 4294967296, \"slow\": false}]}",
        kind, kind, kind);
    return parse(a, text);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void requests(struct table *req, struct table *tok, struct table *steps,
                     const struct synthetic_opts *o, struct synthetic_truth *truth)
{
    int batches = (o->n_requests + BATCH - 1) / BATCH, out = o->output_tokens;
    double each = o->length_s / batches, first = 0.2 * each;
    int64_t gap_ns = out > 1 ? llround(0.75 * each / (out - 1) * 1e9) : 0;

    truth->ttft_ms = truth->e2e_ms = truth->itl_ms = (double)NAN;
    for (int b = 0; b < batches; b++) {
        int64_t begin = ns(b * each), t_first = begin + llround(first * 1e9);
        int n = o->n_requests - b * BATCH < BATCH ? o->n_requests - b * BATCH : BATCH;

        for (int k = 0; k < n; k++) {
            int index = b * BATCH + k, input = 10 + 3 * k;

            put(req, "pass", 0, NULL);
            put(req, "repeat", 0, NULL);
            put(req, "index", index, NULL);
            put(req, "t_submit_ns", begin, NULL);
            put(req, "t_scheduled_ns", begin, NULL);
            put(req, "t_first_ns", t_first, NULL);
            put(req, "t_last_ns", t_first + gap_ns * (out - 1), NULL);
            put(req, "input_tokens", input, NULL);
            put(req, "cached_tokens", -1, NULL);
            put(req, "output_tokens", out, NULL);
            put(req, "finish", 0, "length");
            put(req, "output_sha256", 0, "");
            truth->input_tokens += input;
            truth->output_tokens += out;
            for (int j = 0; j < out && !o->no_tokens; j++) {
                put(tok, "request", index, NULL);
                put(tok, "t_ns", t_first + gap_ns * j, NULL);
            }
        }
        for (int j = 0; j < out; j++) {
            put(steps, "begin_ns", j ? t_first + gap_ns * (j - 1) : begin, NULL);
            put(steps, "end_ns", t_first + gap_ns * j, NULL);
            put(steps, "prefill_tokens", j ? 0 : 10 * n, NULL);
            put(steps, "decode_tokens", j ? n : 0, NULL);
            put(steps, "batch", n, NULL);
        }
        truth->ttft_ms = (double)(t_first - begin) / 1e6;
        truth->e2e_ms = (double)(t_first + gap_ns * (out - 1) - begin) / 1e6;
        truth->itl_ms = (double)gap_ns / 1e6;
    }
}

/* ---- recording.json ----------------------------------------------------------------------- */

static const char base_json[] =
    "{\"version\": 1, \"producer\": {\"program\": \"llem\", \"version\": \"0.1.0\", \"commit\": "
    "\"\"},"
    "\"kind\": \"inference\", \"experiment_id\": \"made-up-test_20260101T000000Z_01234567\","
    "\"measurement_config_hash\": \"0123456789abcdef\","
    "\"resolved_config_hash\": "
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
    "\"study_id\": \"study_2026\", \"index\": 1, \"cycle\": 1, \"n_cycles\": 1, \"order\": "
    "\"sequential\","
    "\"quick\": false, \"config\": {\"task\": {\"model\": \"org/made-up\"}, \"engine\": \"test\"},"
    "\"provenance\": {}, \"paths\": {}, \"output\": {\"save_timeseries\": true},"
    "\"site\": {\"carbon_intensity_gco2_kwh\": null, \"datacenter_pue\": 1.0}, \"variables\": {},"
    "\"measure\": null, \"started_utc\": \"2026-01-01T00:00:00.000000Z\","
    "\"finished_utc\": \"2026-01-01T00:10:00.000000Z\","
    "\"dataset\": {\"source\": \"builtin\", \"path\": null, \"count\": 12, \"sha256\": \"00\", "
    "\"order\":"
    " \"interleaved\", \"kinds\": {}, \"truncated\": 0, \"max_input_tokens\": 256},"
    "\"model\": {\"name\": \"org/made-up\", \"architecture\": \"LlamaForCausalLM\", \"dtype\": "
    "\"bfloat16\","
    " \"parameters\": 1498482688, \"embedding_parameters\": 262668288, \"weights_bytes\": "
    "2996965376,"
    " \"files\": [], \"sha256\": null, \"revision\": null, \"hidden_size\": 2048, \"num_layers\": "
    "16,"
    " \"num_heads\": 32, \"num_kv_heads\": 8, \"head_size\": 64, \"intermediate_size\": 8192,"
    " \"vocab_size\": 128256, \"max_positions\": 131072, \"gated_mlp\": true, \"tied_embeddings\": "
    "true,"
    " \"sliding_window\": null, \"experts\": null, \"active_experts\": null, \"attention_bias\": "
    "false,"
    " \"mlp_bias\": false},"
    "\"engine\": {\"name\": \"test\", \"version\": \"1.0\", \"libraries\": {}, \"load_s\": 1.5,"
    " \"effective\": {\"batch_size\": 4, \"num_batches\": 3, \"padded_input_tokens\": 228}, "
    "\"devices\": [],"
    " \"engine_params\": {\"batch_size\": 4}, \"sampling_params\": {}},"
    "\"environment\": {\"host\": {\"os\": \"Debian 12\", \"kernel\": \"6.1\", \"arch\": \"x86_64\","
    " \"container\": null}, \"cpu\": {\"model\": \"Made-up CPU\", \"vendor\": \"X\", "
    "\"n_physical\": 4,"
    " \"n_logical\": 4, \"flags\": [], \"governor\": \"performance\", \"tdp_w\": 65, "
    "\"tdp_source\": \"table\","
    " \"frequency_mhz\": 3000}, \"memory\": {\"total_bytes\": 1000000000, \"available_bytes\": "
    "500000000},"
    " \"gpus\": [], \"cuda\": {\"driver_version\": \"550.1\", \"cuda_version\": \"12.4\"}, "
    "\"python\":"
    " {\"version\": null}, \"collected_utc\": \"2026-01-01T00:00:00.000000Z\", \"load_average\": "
    "[0.1, 0.1, 0.1]},"
    "\"domains\": [], \"sensors\": [{\"name\": \"estimate\", \"quality\": \"estimated\", "
    "\"usable\": true,"
    " \"opened\": true, \"reason\": null, \"text\": \"\", \"remedy\": \"\", \"detail\": \"\", "
    "\"describe\":"
    " {\"tdp_w\": 65, \"tdp_low_w\": 45, \"tdp_high_w\": 105, \"tdp_source\": \"table\", "
    "\"n_cpus\": 4}}],"
    "\"charged\": {\"sampler\": null, \"domains\": [], \"reason\": \"no_sensor\"},"
    "\"calibration\": null, \"gain_prior\": null, \"steps\": [], \"warnings\": [],"
    "\"baseline\": {\"bare\": null, \"loaded_before\": null, \"loaded_after\": null, \"reason\": "
    "\"no_sensor\","
    " \"method\": \"fresh\", \"sampler_windows\": {}},"
    "\"warmup\": {\"mode\": \"converge\", \"latencies_ms\": [120.5, 101.0, 100.0, 100.5, 100.2], "
    "\"converged\": true,"
    " \"target_cv\": 0.05, \"window_size\": 3, \"max_prompts\": 20, \"batch_ms\": 400.0},"
    "\"thermal\": {\"waited_s\": 12.5, \"settled\": true, \"reason\": null, "
    "\"temperature_begin_c\": 52,"
    " \"temperature_end_c\": 50},"
    "\"window\": null, \"totals\": {\"input_tokens\": null, \"output_tokens\": null, "
    "\"peak_memory_bytes\":"
    " 4000000000}, \"sampler_windows\": {}, \"clocks\": {\"worker\": null, \"pairs\": []},"
    "\"snapshots\": {\"before\": {}, \"after\": {}}, \"cpu\": {\"process_user_s\": 1, "
    "\"process_system_s\": 0.1,"
    " \"machine_busy_s\": 10, \"machine_total_s\": 20, \"n_cpus\": 4}, \"sampler_cost\": "
    "{\"cpu_s\": 0.1,"
    " \"longest_gap_s\": 0.002, \"late_deadlines\": 0, \"reads\": 9000, \"ticks\": 50}, "
    "\"columns\": []}";

/* Two processes that each worked on all of 12 requests, the second 2 ms later. */
static const char two_ranks[] =
    "[{\"rank\": 0, \"pid\": 70, \"device\": \"cuda:0\", \"devices\": [{\"kind\": \"gpu\", "
    "\"uuid\": \"gpu-0000\"}], \"t_begin_ns\": 1000000000000, \"t_end_ns\": 1004998000000, "
    "\"peak_memory_bytes\": 3221225472, \"input_tokens\": 174, \"output_tokens\": 384, "
    "\"weights_bytes\": 1073741824},"
    "{\"rank\": 1, \"pid\": 71, \"device\": \"cuda:1\", \"devices\": [{\"kind\": \"gpu\", "
    "\"pci\": \"0000:01:00.0\"}], \"t_begin_ns\": 1000002000000, \"t_end_ns\": 1005000000000, "
    "\"peak_memory_bytes\": 2147483648, \"input_tokens\": 174, \"output_tokens\": 384, "
    "\"weights_bytes\": 1610612736}]";

static struct llem_value *span(struct llem_arena *a, double from_s, double to_s)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "begin_ns", llem_int(a, ns(from_s)));
    llem_set(a, v, "end_ns", llem_int(a, ns(to_s)));
    return v;
}

static void gpus(struct llem_value *json, struct llem_arena *a, int n, bool throttled)
{
    struct llem_value *list = llem_list(a), *before = llem_map(a), *after = llem_map(a);

    for (int k = 0; k < n; k++) {
        char text[512], id[32];

        snprintf(
            text, sizeof(text),
            "{\"index\": %d, \"uuid\": \"GPU-%04d\", \"name\": \"Made-up H100\", \"pci\": \"\","
            " \"vram_bytes\": 85899345920, \"driver\": \"550.1\", \"compute_capability\": \"9.0\","
            " \"power_limit_w\": 700, \"default_power_limit_w\": 700, \"temperature_c\": 50,"
            " \"persistence\": true, \"mig\": false}",
            k, k);
        llem_append(a, list, parse(a, text));
        snprintf(id, sizeof(id), "gpu:GPU-%04d", k);
        llem_set(
            a, before, id,
            parse(a,
                  "{\"temperature_c\": 50, \"violation_ns\": {\"power\": 1000, \"sw_thermal\": 500,"
                  " \"hw_thermal\": 0, \"hw_power_brake\": 0}, \"processes\": []}"));
        llem_set(
            a, after, id,
            parse(a,
                  throttled
                      ? "{\"temperature_c\": 54, \"violation_ns\": {\"power\": 2000001000, "
                        "\"sw_thermal\":"
                        " 1000000500, \"hw_thermal\": 0, \"hw_power_brake\": 0}, \"processes\": []}"
                      : "{\"temperature_c\": 54, \"violation_ns\": {\"power\": 2000001000, "
                        "\"sw_thermal\":"
                        " 500, \"hw_thermal\": 0, \"hw_power_brake\": 0}, \"processes\": []}"));
    }
    llem_set_at(a, json, "environment.gpus", list);
    llem_set_at(a, json, "snapshots.before", before);
    llem_set_at(a, json, "snapshots.after", after);
}

void synthetic_write(const char *dir, const struct synthetic_opts *opts,
                     struct synthetic_truth *truth,
                     void (*edit)(struct llem_value *json, struct llem_arena *a))
{
    struct synthetic_opts o = *opts;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct sim_random r = { o.seed + 42 };
    struct table samples, req, tok, steps, events;
    struct llem_value *json, *domains, *charged, *columns, *pairs;
    struct synthetic_truth t = { 0 };
    char rec[4096], path[4200];
    llem_error err = { 0 };
    int n_domains = 0, n_charged = 0;

    o.n_gpus = o.n_gpus ? o.n_gpus : 1;
    o.length_s = o.length_s > 0 ? o.length_s : 5;
    o.read_s = o.read_s > 0 ? o.read_s : 0.001;
    o.n_requests = o.n_requests ? o.n_requests : 12;
    o.output_tokens = o.output_tokens ? o.output_tokens : 32;
    json = parse(&a, base_json);
    domains = llem_list(&a);
    charged = llem_list(&a);
    columns = llem_list(&a);
    table_open(&samples, "samples");
    table_open(&req, "requests");
    table_open(&tok, "tokens");
    table_open(&steps, "steps");
    table_open(&events, "events");

    switch (o.sensor) {
    case SYNTHETIC_NVML:
        for (int k = 0; k <= o.n_gpus; k++) { /* the last one is idle */
            double window_j;

            t.energy_j += board(&samples, k, &o, k == o.n_gpus, &r, &window_j);
            t.window_j += k < o.n_gpus ? window_j : 0;
            llem_append(&a, domains, gpu_domain(&a, k));
        }
        n_charged = o.n_gpus;
        n_domains = o.n_gpus + 1;
        t.bare_w = o.n_gpus * (120 - BARE_BELOW_W);
        gpus(json, &a, n_domains, o.throttled);
        break;
    case SYNTHETIC_RAPL:
        t.energy_j = rapl(&samples, 0, &o, 20, 80) + rapl(&samples, 1, &o, 2, 5);
        t.window_j = t.energy_j;
        t.bare_w = 22;
        llem_append(&a, domains, rapl_domain(&a, "package"));
        llem_append(&a, domains, rapl_domain(&a, "dram"));
        n_charged = n_domains = 2;
        break;
    case SYNTHETIC_ESTIMATE:
        load_reads(&samples, &o);
        llem_append(&a, domains,
                    parse(&a, "{\"id\": \"cpu\", \"kind\": \"cpu\", \"label\": \"Made-up CPU\", "
                              "\"uuid\": \"\", \"pci\":"
                              " \"\", \"index\": 0, \"sampler\": \"estimate\", \"quality\": "
                              "\"estimated\", \"left_out\": false, \"fields\": "
                              "[{\"id\": 2000, \"role\":"
                              " \"cpu_busy\", \"name\": \"cpu_busy\", \"unit\": \"ticks\", "
                              "\"to_si\": 0.01, \"period_s\":"
                              " 0.01, \"averaging_s\": 0, \"modulus\": 0, \"slow\": false}]}"));
        n_charged = n_domains = 1;
        break;
    case SYNTHETIC_NONE:
        break;
    }
    for (int k = 0; k < n_charged; k++)
        llem_append(&a, charged, llem_int(&a, k));
    llem_set(&a, json, "domains", domains);
    llem_set_at(&a, json, "charged.domains", charged);
    if (n_charged) {
        static const char *const names[] = { "nvml", "rapl", "estimate" };

        llem_set_at(&a, json, "charged.sampler", llem_string(&a, names[o.sensor]));
        llem_set_at(&a, json, "charged.reason",
                    o.sensor == SYNTHETIC_ESTIMATE ? llem_string(&a, "estimated_only")
                                                   : llem_null(&a));
    }
    if (!o.no_baseline && (o.sensor == SYNTHETIC_NVML || o.sensor == SYNTHETIC_RAPL)) {
        llem_set_at(&a, json, "baseline.bare", span(&a, -60, -60 + BASELINE_S));
        llem_set_at(&a, json, "baseline.loaded_before", span(&a, -2.1, -0.1));
        llem_set_at(&a, json, "baseline.loaded_after",
                    span(&a, o.length_s + 0.2, o.length_s + 2.1));
        llem_set_at(&a, json, "baseline.reason", llem_null(&a));
    } else if (o.no_baseline) {
        llem_set_at(&a, json, "baseline.reason", llem_string(&a, "not_requested"));
    }
    {
        struct llem_value *w = llem_map(&a);
        const struct {
            const char *key;
            double at;
        } marks[] = { { "t_begin_ns", 0 },           { "t_end_ns", o.length_s },
                      { "sync_before_ns", -0.001 },  { "sync_after_ns", o.length_s + 0.001 },
                      { "call_sent_ns", -0.002 },    { "call_received_ns", o.length_s + 0.002 },
                      { "preroll_begin_ns", -2.15 }, { "postroll_end_ns", o.length_s + 2.14 } };

        for (size_t k = 0; k < LLEM_COUNT(marks); k++)
            llem_set(&a, w, marks[k].key, llem_int(&a, ns(marks[k].at)));
        llem_set(&a, w, "passes", llem_list(&a));
        llem_set(&a, json, "window", w);
    }
    pairs = llem_list(&a);
    for (int k = 0; k < 2; k++) {
        struct llem_value *p = llem_list(&a);

        llem_append(&a, p, llem_int(&a, ns(k ? o.length_s + 1 : -1)));
        llem_append(&a, p,
                    llem_int(&a, INT64_C(1767225600000000000) + ns(k ? o.length_s + 1 : -1)));
        llem_append(&a, pairs, p);
    }
    llem_set_at(&a, json, "clocks.pairs", pairs);
    llem_set(&a, json, "quick", llem_bool(&a, o.quick));
    if (o.two_ranks)
        llem_set_at(&a, json, "totals.process_results", parse(&a, two_ranks));
    if (o.is_measure) {
        const char *const gone[] = { "model", "engine", "dataset", "totals" };

        llem_set(&a, json, "kind", llem_string(&a, "measure"));
        for (size_t k = 0; k < LLEM_COUNT(gone); k++)
            llem_set(&a, json, gone[k], llem_null(&a));
    } else {
        requests(&req, &tok, &steps, &o, &t);
    }
    put(&events, "t_ns", ns(0), NULL);
    put(&events, "kind", 0, "step");
    put(&events, "text", 0, "measure");

    snprintf(rec, sizeof(rec), "%s/recording", dir);
    must(llem_mkdirs(rec, &err), &err);
    table_write(&samples, rec, &a, columns);
    table_write(&req, rec, &a, columns);
    table_write(&tok, rec, &a, columns);
    table_write(&steps, rec, &a, columns);
    table_write(&events, rec, &a, columns);
    llem_set(&a, json, "columns", columns);
    if (edit)
        edit(json, &a);
    snprintf(path, sizeof(path), "%s/recording.json", rec);
    must(a.oom ? LLEM_ENOMEM : llem_json_save(path, json, &err), &err);
    if (truth)
        *truth = t;
    llem_arena_done(&a);
}
