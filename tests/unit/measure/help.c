/* SPDX-License-Identifier: MIT
 *
 * See help.h.
 */
#include "tests/unit/measure/help.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- virtual time ------------------------------------------------------------------------- */

enum { MAX_THREADS = 8 };

struct sleeper {
    bool used, asleep;
    int64_t wake_ns;
    pthread_cond_t wake;
};

static struct {
    pthread_mutex_t lock;
    int64_t now_ns, start_ns;
    struct sleeper threads[MAX_THREADS];
    pthread_key_t key;
    bool made;
} vc = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* If all sleep, go on to the first deadline. Locked. */
static void go_on(void)
{
    int64_t first = INT64_MAX;
    bool any = false;

    for (int i = 0; i < MAX_THREADS; i++) {
        if (!vc.threads[i].used)
            continue;
        if (!vc.threads[i].asleep)
            return;
        any = true;
        if (vc.threads[i].wake_ns < first)
            first = vc.threads[i].wake_ns;
    }
    if (!any)
        return;
    if (first > vc.now_ns)
        vc.now_ns = first;
    for (int i = 0; i < MAX_THREADS; i++)
        if (vc.threads[i].used && vc.threads[i].wake_ns <= vc.now_ns) {
            vc.threads[i].asleep = false;
            pthread_cond_signal(&vc.threads[i].wake);
        }
}

static void leave(void *arg)
{
    struct sleeper *t = arg;

    pthread_mutex_lock(&vc.lock);
    t->used = false;
    go_on();
    pthread_mutex_unlock(&vc.lock);
}

/* Locked. */
static struct sleeper *me(void)
{
    struct sleeper *t = pthread_getspecific(vc.key);

    for (int i = 0; !t && i < MAX_THREADS; i++)
        if (!vc.threads[i].used) {
            t = &vc.threads[i];
            t->used = true;
            t->asleep = false;
            pthread_setspecific(vc.key, t);
        }
    if (!t)
        abort();
    return t;
}

static int64_t vc_now(void *self)
{
    int64_t t;

    pthread_mutex_lock(&vc.lock);
    me();
    t = vc.now_ns;
    pthread_mutex_unlock(&vc.lock);
    return t;
}

static int64_t vc_wall(void *self)
{
    return INT64_C(1700000000) * S + vc_now(self);
}

static void vc_sleep(void *self, int64_t t_ns)
{
    struct sleeper *t;

    pthread_mutex_lock(&vc.lock);
    t = me();
    if (t_ns > vc.now_ns) {
        t->wake_ns = t_ns;
        t->asleep = true;
        go_on();
        while (t->asleep)
            pthread_cond_wait(&t->wake, &vc.lock);
    }
    pthread_mutex_unlock(&vc.lock);
}

static const struct llem_clock virtual_clock = { .now_ns = vc_now,
                                                 .sleep_until_ns = vc_sleep,
                                                 .wall_ns = vc_wall };

const struct llem_clock *test_clock_new(int64_t start_ns)
{
    if (!vc.made) {
        pthread_key_create(&vc.key, leave);
        for (int i = 0; i < MAX_THREADS; i++)
            pthread_cond_init(&vc.threads[i].wake, NULL);
        vc.made = true;
    }
    pthread_mutex_lock(&vc.lock);
    vc.now_ns = vc.start_ns = start_ns;
    me(); /* else time would go on without the caller once another thread sleeps */
    pthread_mutex_unlock(&vc.lock);
    return &virtual_clock;
}

void test_clock_free(void)
{
    struct sleeper *t = pthread_getspecific(vc.key);

    if (t)
        leave(t);
    pthread_setspecific(vc.key, NULL);
}

int64_t test_clock_now(void)
{
    return vc_now(NULL);
}

/* ---- the machine -------------------------------------------------------------------------- */

struct sim sim;
struct engine_calls calls;

void sim_reset(const struct llem_clock *clock)
{
    memset(&sim, 0, sizeof(sim));
    memset(&calls, 0, sizeof(calls));
    sim.clock = clock;
    sim.idle_w = 100;
    sim.load_w = 400;
    sim.limit_w = 700;
    sim.tick_s = 0.1;
    sim.hot_c = sim.cool_c = 40;
    sim.cooling_s = 5;
    sim.pid_of_gpu = "";
}

double sim_power(double t_s)
{
    double begin = (double)sim.work_begin * 1e-9, end = (double)sim.work_end * 1e-9;

    return begin > 0 && t_s >= begin && (end <= 0 || t_s < end) ? sim.load_w : sim.idle_w;
}

double sim_energy(double t0_s, double t1_s)
{
    double begin = (double)sim.work_begin * 1e-9, end = (double)sim.work_end * 1e-9;
    double e = sim.idle_w * (t1_s - t0_s);

    if (begin > 0) {
        double from = begin > t0_s ? begin : t0_s;
        double to = end > 0 && end < t1_s ? end : t1_s;

        if (to > from)
            e += (sim.load_w - sim.idle_w) * (to - from);
    }
    return e;
}

static double now_s(void)
{
    return (double)llem_now_ns(sim.clock) * 1e-9;
}

static int64_t counter_mj(double tick_s)
{
    double t = floor(now_s() / tick_s + 1e-9) * tick_s;

    return (int64_t)floor(sim_energy(0, t) * 1000 + 0.5);
}

static bool faulty(void)
{
    double t = now_s() - (double)sim.work_begin * 1e-9;

    return sim.work_begin && t >= sim.fault_after_s && t < sim.fault_after_s + sim.fault_for_s;
}

/* ---- GPUs --------------------------------------------------------------------------------- */

enum { COUNTER = 83, INSTANT = 186, TEMPERATURE = 1000 };

static struct llem_sensor_field gpu_fields[] = {
    { .id = COUNTER,
      .role = LLEM_ROLE_COUNTER,
      .name = "total_energy",
      .unit = "mJ",
      .to_si = 1e-3 },
    { .id = INSTANT,
      .role = LLEM_ROLE_POWER_INSTANT,
      .name = "power_instant",
      .unit = "mW",
      .to_si = 1e-3,
      .period_s = 0.1 },
    { .id = TEMPERATURE,
      .role = LLEM_ROLE_TEMPERATURE,
      .slow = true,
      .name = "temperature",
      .unit = "C",
      .to_si = 1 },
};

static struct llem_domain gpu_domains[SIM_GPUS];

static void gpu_probe(llem_ctx *ctx, struct llem_probe *out)
{
    memset(out, 0, sizeof(*out));
    out->usable = !sim.no_gpu;
    out->n_domains = SIM_GPUS;
    snprintf(out->text, sizeof(out->text), "%s", sim.no_gpu ? "There is no GPU." : "Two GPUs.");
    if (sim.no_gpu) {
        snprintf(out->reason, sizeof(out->reason), "no_sensor");
        snprintf(out->remedy, sizeof(out->remedy), "install a GPU");
    }
}

static llem_errcode gpu_open(void **self, llem_ctx *ctx, llem_error *err)
{
    for (int i = 0; i < SIM_GPUS; i++) {
        struct llem_domain *d = &gpu_domains[i];

        memset(d, 0, sizeof(*d));
        snprintf(d->id, sizeof(d->id), "gpu:GPU-%d", i);
        snprintf(d->kind, sizeof(d->kind), "gpu");
        snprintf(d->label, sizeof(d->label), "Simulated GPU");
        snprintf(d->uuid, sizeof(d->uuid), "GPU-%d", i);
        snprintf(d->pci, sizeof(d->pci), "00000000:0%d:00.0", i);
        d->index = i;
        d->fields = gpu_fields;
        d->n_fields = LLEM_COUNT(gpu_fields);
    }
    sim.gpu_open++;
    *self = gpu_domains;
    return LLEM_OK;
}

static const struct llem_domain *gpu_list(void *self, size_t *count)
{
    *count = SIM_GPUS;
    return gpu_domains;
}

static size_t gpu_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    double warm = (now_s() - (double)sim.cooling_from * 1e-9) / sim.cooling_s;
    bool bad = domain == 0 && faulty();

    sim.reads++;
    if (slow) {
        out[0] = (struct llem_reading){ .field = TEMPERATURE };
        out[0].raw = (int64_t)(sim.cool_c + (sim.hot_c - sim.cool_c) * exp(-warm) + 0.5);
        return 1;
    }
    out[0] = (struct llem_reading){ .field = COUNTER, .raw = counter_mj(sim.tick_s) };
    out[1] = (struct llem_reading){ .field = INSTANT, .raw = (int64_t)(sim_power(now_s()) * 1000) };
    if (!bad)
        return 2;
    switch (sim.fault) {
    case SIM_VANISH:
        out[0].status = out[1].status = 15; /* NVML_ERROR_GPU_IS_LOST */
        out[0].raw = out[1].raw = 0;
        break;
    case SIM_STICK:
        out[0].raw = (int64_t)(sim_energy(0, (double)sim.work_begin * 1e-9) * 1000);
        break;
    case SIM_RESET:
        out[0].raw = 5;
        break;
    case SIM_GARBAGE:
        out[0].status = LLEM_READ_GARBAGE;
        out[1].raw = INT64_MAX;
        break;
    case SIM_SOUND:
        break;
    }
    return 2;
}

static struct llem_value *describe(void *self, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "driver", llem_string(a, "simulated"));
    llem_set(a, v, "power_limit_w", llem_real(a, sim.limit_w));
    return v;
}

static void gpu_close(void *self)
{
    if (self)
        sim.gpu_closed++;
}

static struct llem_value *gpu_snapshot(void *self, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a), *d = llem_map(a);

    llem_set(a, d, "temperature_c", llem_real(a, 40));
    llem_set(a, v, "gpu:GPU-0", d);
    return v;
}

const struct llem_sampler_class sim_gpu = {
    .name = "nvml",
    .quality = "measured",
    .needs_rolls = true,
    .probe = gpu_probe,
    .open = gpu_open,
    .domains = gpu_list,
    .read = gpu_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = describe,
    .snapshot = gpu_snapshot,
    .close = gpu_close,
};

/* ---- CPU ---------------------------------------------------------------------------------- */

static const struct llem_sensor_field energy_field = { .id = 2100,
                                                       .role = LLEM_ROLE_COUNTER,
                                                       .name = "energy",
                                                       .unit = "uJ",
                                                       .to_si = 1e-6,
                                                       .period_s = 1e-3,
                                                       .modulus = 1000000000 };
static const struct llem_domain cpu_domains[] = {
    { .id = "package:0",
      .kind = "package",
      .label = "package-0",
      .fields = &energy_field,
      .n_fields = 1 },
    { .id = "dram:0", .kind = "dram", .label = "dram-0", .fields = &energy_field, .n_fields = 1 },
    { .id = "psys:0", .kind = "psys", .label = "psys", .fields = &energy_field, .n_fields = 1 },
};

static void cpu_probe(llem_ctx *ctx, struct llem_probe *out)
{
    if (calls.cancel_in_probe)
        atomic_store(calls.cancel_in_probe, 1);
    memset(out, 0, sizeof(*out));
    out->usable = !sim.no_cpu && !sim.cpu_denied;
    out->n_domains = LLEM_COUNT(cpu_domains);
    snprintf(out->text, sizeof(out->text), "%s",
             sim.cpu_denied ? "The counter may not be read." : "Package and DRAM.");
    if (!out->usable)
        snprintf(out->reason, sizeof(out->reason), "%s",
                 sim.cpu_denied ? "no_permission" : "no_sensor");
    if (sim.cpu_denied)
        snprintf(out->remedy, sizeof(out->remedy), "sudo chmod a+r energy_uj");
}

static llem_errcode cpu_open(void **self, llem_ctx *ctx, llem_error *err)
{
    sim.cpu_open++;
    *self = &sim;
    return LLEM_OK;
}

static const struct llem_domain *cpu_list(void *self, size_t *count)
{
    *count = LLEM_COUNT(cpu_domains);
    return cpu_domains;
}

static size_t cpu_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    if (slow)
        return 0;
    sim.reads++;
    out[0] = (struct llem_reading){ .field = energy_field.id };
    out[0].raw =
        (counter_mj(0.001) * 1000 / (domain == 1 ? 10 : 1)) % (int64_t)energy_field.modulus;
    return 1;
}

static void cpu_close(void *self)
{
    if (self)
        sim.cpu_closed++;
}

const struct llem_sampler_class sim_package = {
    .name = "rapl",
    .quality = "measured",
    .needs_rolls = true,
    .probe = cpu_probe,
    .open = cpu_open,
    .domains = cpu_list,
    .read = cpu_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = cpu_close,
};

/* ---- estimate ----------------------------------------------------------------------------- */

static const struct llem_sensor_field busy_field = {
    .id = 2000, .role = LLEM_ROLE_CPU_BUSY, .name = "cpu_busy", .unit = "ticks", .to_si = 0.01
};
static const struct llem_domain busy_domain = { .id = "cpu",
                                                .kind = "cpu",
                                                .label = "CPU",
                                                .estimated = true,
                                                .fields = &busy_field,
                                                .n_fields = 1 };

static void estimate_probe(llem_ctx *ctx, struct llem_probe *out)
{
    memset(out, 0, sizeof(*out));
    out->usable = true;
    out->n_domains = 1;
    snprintf(out->text, sizeof(out->text), "CPU load.");
}

static llem_errcode estimate_open(void **self, llem_ctx *ctx, llem_error *err)
{
    *self = &sim;
    return LLEM_OK;
}

static const struct llem_domain *estimate_list(void *self, size_t *count)
{
    *count = 1;
    return &busy_domain;
}

static size_t estimate_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    if (slow)
        return 0;
    out[0] =
        (struct llem_reading){ .field = busy_field.id,
                               .raw =
                                   (int64_t)((sim_energy(0, now_s()) - sim.idle_w * now_s()) / 3) };
    return 1;
}

static struct llem_value *estimate_describe(void *self, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "n_cpus", llem_int(a, 2));
    llem_set(a, v, "tdp_w", llem_real(a, 100));
    llem_set(a, v, "tdp_low_w", llem_real(a, 50));
    llem_set(a, v, "tdp_high_w", llem_real(a, 150));
    llem_set(a, v, "tdp_source", llem_string(a, "made up"));
    llem_set(a, v, "tdp_known", llem_bool(a, true));
    return v;
}

static void estimate_close(void *self)
{
}

const struct llem_sampler_class sim_estimate = {
    .name = "estimate",
    .quality = "estimated",
    .probe = estimate_probe,
    .open = estimate_open,
    .domains = estimate_list,
    .read = estimate_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = estimate_describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = estimate_close,
};

const struct llem_sampler_class *const sim_all[] = { &sim_gpu, &sim_package, &sim_estimate, NULL };
const struct llem_sampler_class *const sim_cpu_only[] = { &sim_package, NULL };
const struct llem_sampler_class *const sim_estimate_only[] = { &sim_estimate, NULL };
const struct llem_sampler_class *const sim_none[] = { NULL };

/* ---- the engine --------------------------------------------------------------------------- */

static llem_errcode e_create(void **self, const struct llem_engine_args *args, llem_error *err)
{
    calls.create++;
    return llem_engine_test.create(self, args, err);
}

static const char *e_version(void *self)
{
    return llem_engine_test.version(self);
}

static struct llem_value *e_check(void *self, struct llem_arena *a)
{
    return llem_engine_test.check_hardware(self, a);
}

static llem_errcode e_prompts(void *self, const struct llem_prompt *prompts, size_t count,
                              int32_t *input_tokens, int32_t *truncated, llem_error *err)
{
    return llem_engine_test.load_prompts(self, prompts, count, input_tokens, truncated, err);
}

static llem_errcode e_device(void *self, struct llem_arena *a, struct llem_value **devices,
                             llem_error *err)
{
    llem_errcode rc = llem_engine_test.open_device(self, a, devices, err);
    struct llem_value *d;

    if (rc == LLEM_OK && calls.gpus) {
        d = llem_map(a);
        llem_set(a, d, "kind", llem_string(a, "gpu"));
        llem_set(a, d, "uuid", llem_string(a, "gpu-1")); /* the vendor's spelling may differ */
        llem_set(a, d, "name", llem_string(a, "Simulated GPU"));
        llem_set(a, d, "pci", llem_string(a, ""));
        *devices = llem_list(a);
        llem_append(a, *devices, d);
    }
    return rc;
}

static llem_errcode e_load(void *self, struct llem_arena *a, struct llem_value **loaded,
                           llem_error *err)
{
    calls.load++;
    return llem_engine_test.load_model(self, a, loaded, err);
}

static llem_errcode e_warmup(void *self, int32_t index, double *latency_ms, llem_error *err)
{
    calls.warmup++;
    return llem_engine_test.run_warmup_prompt(self, index, latency_ms, err);
}

static llem_errcode e_sync(void *self, int64_t *t_ns, llem_error *err)
{
    return llem_engine_test.synchronize(self, t_ns, err);
}

static llem_errcode e_inference(void *self, const struct llem_pass *pass,
                                const struct llem_receipts *receipts, struct llem_inference *out,
                                llem_error *err)
{
    llem_errcode rc;

    if (pass->id == 0) {
        calls.inference++;
        sim.work_begin = llem_now_ns(sim.clock);
    }
    rc = llem_engine_test.run_inference(self, pass, receipts, out, err);
    if (pass->id == 0)
        sim.work_end = llem_now_ns(sim.clock);
    return rc;
}

static int64_t e_output(void *self)
{
    return llem_engine_test.output_so_far(self);
}

static struct llem_value *e_observed(void *self, struct llem_arena *a)
{
    if (calls.cancel_in_observed)
        atomic_store(calls.cancel_in_observed, 1);
    return llem_engine_test.capture_observed_params(self, a);
}

static void e_cleanup(void *self)
{
    calls.cleanup++;
    llem_engine_test.cleanup(self);
}

static void e_destroy(void *self)
{
    calls.destroy++;
    llem_engine_test.destroy(self);
}

const struct llem_engine_class sim_engine = {
    .name = "test",
    .create = e_create,
    .version = e_version,
    .check_hardware = e_check,
    .load_prompts = e_prompts,
    .open_device = e_device,
    .load_model = e_load,
    .run_warmup_prompt = e_warmup,
    .synchronize = e_sync,
    .run_inference = e_inference,
    .output_so_far = e_output,
    .capture_observed_params = e_observed,
    .cleanup = e_cleanup,
    .destroy = e_destroy,
};

/* ---- running it --------------------------------------------------------------------------- */

static const char experiment[] =
    "{\"version\": 1, \"kind\": \"inference\", \"experiment_id\": \"m-test_x_00000000\","
    " \"measurement_config_hash\": \"0123456789abcdef\", \"resolved_config_hash\": \"00\","
    " \"study_id\": \"study_x\", \"index\": 1, \"cycle\": 1, \"n_cycles\": 1,"
    " \"order\": \"sequential\", \"quick\": false,"
    " \"config\": {\"task\": {\"model\": \"m\", \"random_seed\": 42, \"max_input_tokens\": 256,"
    "   \"max_output_tokens\": 8, \"dataset\": {\"source\": \"random\", \"n_prompts\": 3,"
    "   \"order\": \"interleaved\", \"input_tokens\": 5}},"
    "  \"engine\": \"test\","
    "  \"measurement\": {\"energy_sampler\": \"auto\","
    "   \"warmup\": {\"enabled\": true, \"n_warmup\": 5, \"thermal_floor_seconds\": 60.0,"
    "    \"convergence_detection\": false, \"cv_threshold\": 0.05, \"max_prompts\": 20,"
    "    \"window_size\": 3, \"min_prompts\": 5, \"mode\": \"auto\"},"
    "   \"baseline\": {\"enabled\": true, \"duration_seconds\": 30.0}},"
    "  \"test\": {\"load_s\": 1.0, \"prompt_latency_ms\": 20.0, \"request_s\": 2.0}},"
    " \"provenance\": {}, \"paths\": {\"task.model\": \"/nowhere\"},"
    " \"output\": {\"save_timeseries\": true}, \"variables\": {}}";

static void seen(void *user, const llem_event *e)
{
    struct run *r = user;
    size_t n = strlen(r->steps);
    char *to = r->steps + n;
    size_t room = sizeof(r->steps) - n;
    int64_t now = llem_now_ns(r->ctx->clock);

    if (r->told_ns && now - r->told_ns > r->silence_ns)
        r->silence_ns = now - r->told_ns;
    r->told_ns = now;
    switch (e->type) {
    case LLEM_EVENT_STEP_START:
        snprintf(to, room, "+%s ", e->step);
        if (r->cancel_at && strcmp(r->cancel_at, e->step) == 0) {
            r->canceled_at_ns = llem_now_ns(r->ctx->clock);
            atomic_store(&r->cancel, 1);
        }
        break;
    case LLEM_EVENT_STEP_DONE:
        snprintf(to, room, "-%s ", e->step);
        break;
    case LLEM_EVENT_STEP_SKIP:
        snprintf(to, room, "~%s:%s ", e->step, e->reason);
        break;
    case LLEM_EVENT_WARNING:
        snprintf(to, room, "!%s ", e->reason);
        r->warnings++;
        break;
    case LLEM_EVENT_LIVE:
        if (r->lives++) {
            if (r->live_gap_ns == 0 || now - r->last_live_ns < r->live_gap_ns)
                r->live_gap_ns = now - r->last_live_ns;
        } else {
            r->first_live_ns = now;
        }
        r->last_live_ns = now;
        r->last_power_w = e->power_w;
        r->last_temperature_c = e->temperature_c;
        r->last_tokens_per_s = e->tokens_per_s;
        if (r->cancel_at && strcmp(r->cancel_at, "live") == 0) {
            r->canceled_at_ns = now;
            atomic_store(&r->cancel, 1);
        }
        break;
    default:
        break;
    }
}

void run_init(struct run *r, const struct llem_clock *clock,
              const struct llem_sampler_class *const *samplers)
{
    memset(r, 0, sizeof(*r));
    sim_reset(clock);
    assert_int_equal(llem_ctx_new(&r->ctx, NULL, &r->err), LLEM_OK);
    r->ctx->clock = clock;
    snprintf(r->dir, sizeof(r->dir), "/tmp/llem-measure-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(llem_json_parse(&r->arena, &r->experiment, experiment, strlen(experiment),
                                     "experiment", &r->err),
                     LLEM_OK);
    r->m = (struct llem_measurement){
        .ctx = r->ctx,
        .dir = r->dir,
        .experiment = r->experiment,
        .engine = &sim_engine,
        .cancel = &r->cancel,
        .event = seen,
        .event_user = r,
        .samplers = samplers,
    };
}

void run_set_top(struct run *r, const char *path, const char *json)
{
    struct llem_value *v;

    assert_int_equal(llem_json_parse(&r->arena, &v, json, strlen(json), path, &r->err), LLEM_OK);
    assert_non_null(llem_set_at(&r->arena, r->experiment, path, v));
}

void run_set(struct run *r, const char *path, const char *json)
{
    char full[128];

    snprintf(full, sizeof(full), "config.%s", path);
    run_set_top(r, full, json);
}

llem_errcode run_it(struct run *r)
{
    return llem_measure_engine(&r->m, &r->err);
}

void run_done(struct run *r)
{
    llem_arena_done(&r->arena);
    llem_remove_tree(r->dir, NULL);
    llem_ctx_free(r->ctx);
    test_clock_free();
}

void run_open(struct run *r, struct llem_recording *recording)
{
    char dir[128];

    snprintf(dir, sizeof(dir), "%s/recording", r->dir);
    if (llem_recording_open(recording, dir, &r->err) != LLEM_OK)
        fail_msg("%s", r->err.msg);
}

const struct llem_value *step_of(const struct llem_recording *recording, const char *name)
{
    const struct llem_value *steps = llem_get(recording->json, "steps");

    for (size_t i = 0; i < steps->count; i++)
        if (strcmp(llem_str_at(steps->items[i], "name", ""), name) == 0)
            return steps->items[i];
    return NULL;
}

int domain_of(const struct llem_recording *recording, const char *id)
{
    const struct llem_value *domains = llem_get(recording->json, "domains");

    for (size_t i = 0; i < domains->count; i++)
        if (strcmp(llem_str_at(domains->items[i], "id", ""), id) == 0)
            return (int)i;
    return -1;
}
