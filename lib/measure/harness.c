/* SPDX-License-Identifier: MIT
 *
 * The steps around an engine, as a table: what each is called, when it is left out and why, and
 * what it does. One struct carries what they share; on every path the engine is cleaned up, the
 * sampler thread ended, the sensors closed.
 */
#include "lib/measure/harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/engine/dimensions.h"
#include "lib/engine/hub.h"
#include "lib/result/reasons.h"
#include "lib/result/result.h"

/* ---- what steps offer each other ---------------------------------------------------------- */

bool llem_harness_canceled(const struct llem_harness *h)
{
    return h->m->cancel && atomic_load(h->m->cancel) != 0;
}

llem_errcode llem_harness_sleep_until(struct llem_harness *h, int64_t t_ns, llem_error *err)
{
    int64_t now = llem_now_ns(h->clock);

    while (now < t_ns) {
        if (llem_harness_canceled(h))
            return llem_fail(err, LLEM_ECANCELED, "cancelled during step '%s'", h->step);
        if (h->m->idle)
            h->m->idle(h->m->event_user);
        h->clock->sleep_until_ns(h->clock->self,
                                 t_ns - now > 50 * LLEM_MS ? now + 50 * LLEM_MS : t_ns);
        now = llem_now_ns(h->clock);
    }
    return LLEM_OK;
}

void llem_harness_note(struct llem_harness *h, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(h->note, sizeof(h->note), fmt, ap);
    va_end(ap);
}

/* Cut at a whole character, so that the recording stays UTF-8. */
static void trim_utf8(char *s)
{
    size_t n = strlen(s);

    while (n && !llem_utf8_valid(s, n))
        s[--n] = '\0';
}

void llem_harness_event(struct llem_harness *h, int64_t t_ns, const char *kind, const char *fmt,
                        ...)
{
    struct llem_event_row *row = h->events.base ? llem_area_push(&h->events) : NULL;
    va_list ap;

    if (!row)
        return;
    row->t_ns = t_ns;
    snprintf(row->kind, sizeof(row->kind), "%s", kind);
    va_start(ap, fmt);
    vsnprintf(row->text, sizeof(row->text), fmt, ap);
    va_end(ap);
    trim_utf8(row->text);
}

void llem_harness_tell(struct llem_harness *h, llem_event_type type, const char *text,
                       const char *reason, double elapsed_s, double fraction)
{
    llem_event e = {
        .type = type,
        .step = h->step ? h->step : "",
        .text = text ? text : "",
        .reason = reason,
        .elapsed_s = elapsed_s,
        .fraction = fraction,
        .power_w = NAN,
        .tokens_per_s = NAN,
        .temperature_c = NAN,
        .energy_j = NAN,
    };

    h->told_ns = llem_now_ns(h->clock);
    if (h->m->event)
        h->m->event(h->m->event_user, &e);
}

void llem_harness_warn(struct llem_harness *h, const char *reason, const char *fmt, ...)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *w = llem_map(a);
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    trim_utf8(text);
    llem_set(a, w, "reason", llem_string(a, reason));
    llem_set(a, w, "text", llem_string(a, text));
    llem_append(a, h->warnings, w);
    llem_harness_tell(h, LLEM_EVENT_WARNING, text, reason, 0, -1);
}

void llem_harness_pair(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    int64_t now = llem_now_ns(h->clock);
    struct llem_value *pair;

    if (h->last_pair_ns && now - h->last_pair_ns < LLEM_NS_PER_S)
        return;
    h->last_pair_ns = now;
    pair = llem_list(a);
    llem_append(a, pair, llem_int(a, now));
    llem_append(a, pair, llem_int(a, h->clock->wall_ns(h->clock->self)));
    llem_append(a, h->pairs, pair);
}

struct llem_value *llem_span(struct llem_harness *h, int64_t begin_ns, int64_t end_ns)
{
    struct llem_value *span = llem_map(&h->arena);

    llem_set(&h->arena, span, "begin_ns", llem_int(&h->arena, begin_ns));
    llem_set(&h->arena, span, "end_ns", llem_int(&h->arena, end_ns));
    return span;
}

/* ---- receipts ----------------------------------------------------------------------------- */

enum { MAX_OUTPUTS = 1 << 30 };

/* A line of outputs.jsonl. */
static void keep_output(struct llem_harness *h, const struct llem_receipt *r)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_map(&a), *ids = r->output_ids ? llem_list(&a) : llem_null(&a);

    for (int32_t i = 0; r->output_ids && i < r->output_tokens; i++)
        llem_append(&a, ids, llem_int(&a, r->output_ids[i]));
    llem_set(&a, v, "index", llem_int(&a, r->index));
    llem_set(&a, v, "repeat", llem_int(&a, r->repeat));
    llem_set(&a, v, "text", llem_string(&a, r->output_text));
    llem_set(&a, v, "ids", ids);
    llem_json_dump(&h->outputs, v, LLEM_JSON_COMPACT);
    llem_buf_addc(&h->outputs, '\n');
    h->outputs.failed |= a.oom;
    llem_arena_done(&a);
}

/* Of the output ids as little-endian int32. */
static void hash_ids(char hex[65], const int32_t *ids, int32_t count)
{
    struct llem_sha256 sha;

    llem_sha256_init(&sha);
    for (int32_t i = 0; i < count; i++) {
        uint32_t id = (uint32_t)ids[i];
        uint8_t bytes[4] = { (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                             (uint8_t)(id >> 24) };

        llem_sha256_add(&sha, bytes, sizeof(bytes));
    }
    llem_sha256_hex(&sha, hex);
}

static void keep_request(void *user, const struct llem_receipt *r)
{
    struct llem_harness *h = user;
    struct llem_request_row *row = llem_area_push(&h->requests);

    if (!row)
        return;
    row->r = *r;
    snprintf(row->finish, sizeof(row->finish), "%s", r->finish ? r->finish : "");
    row->output_sha256[0] = '\0';
    if (strcmp(h->save_outputs, "none") == 0)
        ;
    else if (r->output_sha256)
        snprintf(row->output_sha256, sizeof(row->output_sha256), "%s", r->output_sha256);
    else if (r->output_ids)
        hash_ids(row->output_sha256, r->output_ids, r->output_tokens);
    if (strcmp(h->save_outputs, "text") == 0 && r->pass == 0)
        keep_output(h, r);
    trim_utf8(row->finish);
    trim_utf8(row->output_sha256);
    for (size_t i = 0; r->token_ns && i < r->n_token_ns; i++) {
        struct llem_token_row *t = llem_area_push(&h->tokens);

        if (t) {
            t->t_ns = r->token_ns[i];
            t->request = (int32_t)h->requests.count - 1;
        }
    }
}

static void keep_step(void *user, const struct llem_engine_step *s)
{
    struct llem_harness *h = user;
    struct llem_engine_step *row = llem_area_push(&h->steps_run);

    if (row)
        *row = *s;
}

llem_errcode llem_harness_pass(struct llem_harness *h, const struct llem_pass *pass,
                               struct llem_inference *out, llem_error *err)
{
    const struct llem_receipts receipts = { .request = keep_request, .step = keep_step, .user = h };

    *out = (struct llem_inference){ .input_tokens = LLEM_UNKNOWN,
                                    .output_tokens = LLEM_UNKNOWN,
                                    .peak_memory_bytes = LLEM_UNKNOWN };
    return h->m->engine->run_inference(h->engine, pass, &receipts, out, err);
}

/* Room for what the passes may report, so that taking it allocates nothing. */
static llem_errcode reserve_receipts(struct llem_harness *h, llem_error *err)
{
    size_t requests = h->dataset.count * 3 + 64;
    int64_t longest = llem_int_at(h->config, "task.max_output_tokens", 4096);
    size_t tokens, ready;
    llem_errcode rc;

    if (longest < 1 || longest > 1 << 20)
        longest = 1 << 20;
    tokens =
        requests > SIZE_MAX / 64 / (size_t)longest ? SIZE_MAX / 64 : requests * (size_t)longest;
    if (tokens > (size_t)1 << 30)
        tokens = (size_t)1 << 30;
    ready = tokens < 1 << 18 ? tokens : 1 << 18;
    rc = llem_area_init(&h->requests, sizeof(struct llem_request_row), requests, requests, err);
    if (rc == LLEM_OK)
        rc = llem_area_init(&h->tokens, sizeof(struct llem_token_row), tokens, ready, err);
    if (rc == LLEM_OK)
        rc = llem_area_init(&h->steps_run, sizeof(struct llem_engine_step), tokens, ready / 4, err);
    return rc;
}

/* ---- the steps ---------------------------------------------------------------------------- */

/* Each once with its count, and of many different ones the first. */
static void engine_observe(void *user, const struct llem_observation *o)
{
    enum { MOST = 1000 };
    struct llem_harness *h = user;
    struct llem_arena *a = &h->arena;
    struct llem_value *v;

    for (size_t i = 0; i < h->observations->count; i++) {
        v = h->observations->items[i];
        if (strcmp(llem_str_at(v, "text", ""), o->text) == 0 &&
            strcmp(llem_str_at(v, "source", ""), o->source) == 0 &&
            llem_int_at(v, "line", 0) == o->line) {
            if (!a->oom && llem_get(v, "count")->i < INT32_MAX && o->count > 0 &&
                o->count < INT32_MAX)
                llem_get(v, "count")->i += o->count;
            return;
        }
    }
    if (h->observations->count >= MOST)
        return;
    v = llem_map(a);
    llem_set(a, v, "level", llem_string(a, o->level));
    llem_set(a, v, "source", llem_string(a, o->source));
    llem_set(a, v, "text", llem_string(a, o->text));
    llem_set(a, v, "file", llem_string(a, o->file));
    llem_set(a, v, "line", llem_int(a, o->line));
    llem_set(a, v, "count", llem_int(a, o->count > 0 ? o->count : 1));
    llem_append(a, h->observations, v);
}

static void engine_progress(void *user, const char *text, double fraction)
{
    struct llem_harness *h = user;
    int64_t now = llem_now_ns(h->clock);

    snprintf(h->told_text, sizeof(h->told_text), "%s", text ? text : "");
    trim_utf8(h->told_text);
    h->told_fraction = fraction;
    llem_harness_tell(h, LLEM_EVENT_STEP_UPDATE, text, "", (double)(now - h->step_begin_ns) * 1e-9,
                      fraction);
}

/* The last word once more, where nothing was said for a while. Not in the window, where live lines
 * are; a run without sensors has none, and disturbs no reading. */
void llem_harness_alive(void *user)
{
    struct llem_harness *h = user;
    int64_t now;

    if (h->inside && h->watch)
        return;
    now = llem_now_ns(h->clock);
    if (now - h->told_ns >= (int64_t)(LLEM_ALIVE_S * 1e9))
        llem_harness_tell(h, LLEM_EVENT_STEP_UPDATE, h->told_text, "",
                          (double)(now - h->step_begin_ns) * 1e-9, h->told_fraction);
}

const char *llem_harness_model(const struct llem_harness *h)
{
    const struct llem_value *path = llem_get(llem_get(h->experiment, "paths"), "task.model");

    return path && path->kind == LLEM_STRING ? path->s : llem_str_at(h->config, "task.model", "");
}

/* What config.json says of the model, whichever engine loads it. Where there is none the engine may
 * still know what it loads; one that cannot be read is the engine's to refuse. */
static void load_model_config(struct llem_harness *h)
{
    const char *dir, *commit, *path;
    llem_error err;

    if (h->model_config ||
        llem_hub_find_model(&h->arena, h->ctx, llem_harness_model(h), &dir, &commit, &err) !=
            LLEM_OK ||
        !(path = llem_path_join(&h->arena, dir, "config.json")) || !llem_path_exists(path))
        return;
    if (llem_json_load(&h->arena, &h->model_config, path, LLEM_MAX_CONFIG_BYTES, &err) != LLEM_OK)
        llem_log(h->ctx, LLEM_LOG_WARNING, "measure", "%s", err.msg);
    else if (h->model_config->kind != LLEM_MAP)
        h->model_config = NULL;
}

static llem_errcode load_dataset(struct llem_harness *h, llem_error *err)
{
    const struct llem_value *paths = llem_get(h->experiment, "paths");
    const struct llem_value *source = llem_get(paths, "task.dataset.source");
    const struct llem_dataset_request want = {
        .source = llem_str_at(h->config, "task.dataset.source", "aienergyscore"),
        .resolved_path = source && source->kind == LLEM_STRING ? source->s : NULL,
        .order = llem_str_at(h->config, "task.dataset.order", "interleaved"),
        .count = llem_int_at(h->config, "task.dataset.n_prompts", 100),
        .seed = llem_int_at(h->config, "task.random_seed", 42),
        .input_tokens = llem_int_at(h->config, "task.dataset.input_tokens", 0),
        .model_config = h->model_config,
    };
    llem_errcode rc = llem_dataset_load(&h->dataset, h->ctx, &h->arena, &want, err);

    if (rc != LLEM_OK)
        return rc;
    h->indices = llem_arena_calloc(&h->arena, h->dataset.count, sizeof(*h->indices));
    h->input_tokens = llem_arena_calloc(&h->arena, h->dataset.count, sizeof(*h->input_tokens));
    if (!h->indices || !h->input_tokens)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu prompts", h->dataset.count);
    for (size_t i = 0; i < h->dataset.count; i++)
        h->indices[i] = (int32_t)i;
    return reserve_receipts(h, err);
}

/* Everything that can be wrong without a device is found here, before anyone has waited. */
static llem_errcode step_preflight(struct llem_harness *h, llem_error *err)
{
    const struct llem_engine_args args = {
        .ctx = h->ctx,
        .config = h->config,
        .model_path = llem_harness_model(h),
        .dir = h->m->dir,
        .cancel = h->m->cancel,
        .progress = engine_progress,
        .observe = engine_observe,
        .alive = llem_harness_alive,
        .progress_user = h,
        .info = h->m->engine_info,
        .user = h->m->engine_user,
        .log_fd = h->m->worker_log_fd,
    };
    const struct llem_value *problems;
    struct llem_buf text = LLEM_BUF_INIT(4096);
    llem_errcode rc;

    load_model_config(h);
    rc = load_dataset(h, err);
    if (rc != LLEM_OK)
        return rc;
    rc = h->m->engine->create(&h->engine, &args, err);
    if (rc != LLEM_OK)
        return rc;
    h->needs_cleanup = true;
    if (llem_bool_at(h->experiment, "skip_preflight", false)) {
        llem_harness_note(h, "the engine's check of the hardware is skipped");
        return LLEM_OK;
    }
    problems = h->m->engine->check_hardware(h->engine, &h->arena);
    if (!problems || problems->kind != LLEM_LIST || problems->count == 0)
        return LLEM_OK;
    for (size_t i = 0; i < problems->count; i++)
        llem_buf_addf(&text, "%s%s", i ? "\n" : "",
                      problems->items[i]->kind == LLEM_STRING ? problems->items[i]->s : "");
    rc = llem_fail(err, LLEM_EPREFLIGHT, "%s", text.data);
    llem_buf_done(&text);
    return rc;
}

static llem_errcode step_environment(struct llem_harness *h, llem_error *err)
{
    llem_errcode rc = llem_environment_start(&h->collector, h->ctx, err);
    size_t usable = 0;

    if (rc == LLEM_OK)
        rc = llem_sensors_probe(h, err);
    if (rc == LLEM_OK)
        rc = llem_sensors_open(h, err);
    if (rc == LLEM_OK)
        rc = llem_sensors_check_gpus(h, err);
    /* Who is on the devices before anything of ours can be. */
    if (rc == LLEM_OK)
        llem_set(&h->arena, h->snapshots, "start", llem_sensors_snapshot(h));
    for (size_t i = 0; i < h->n_sensors; i++)
        usable += h->sensors[i].opened;
    llem_harness_note(h, "%zu of %zu sensors opened", usable, h->n_sensors);
    return rc;
}

static const char *skip_without_engine(const struct llem_harness *h)
{
    return h->work ? "not_applicable" : NULL;
}

static llem_errcode step_prompts(struct llem_harness *h, llem_error *err)
{
    int64_t total = 0;
    llem_errcode rc = h->m->engine->load_prompts(h->engine, h->dataset.prompts, h->dataset.count,
                                                 h->input_tokens, &h->truncated, err);

    if (rc != LLEM_OK)
        return rc;
    for (size_t i = 0; i < h->dataset.count; i++)
        total += h->input_tokens[i] > 0 ? h->input_tokens[i] : 0;
    if (h->truncated > 0)
        llem_harness_warn(h, "prompts_truncated",
                          "%d of %zu prompts were cut to task.max_input_tokens (%lld).",
                          h->truncated, h->dataset.count,
                          (long long)llem_int_at(h->config, "task.max_input_tokens", 0));
    llem_harness_note(h, "%zu prompts from %.100s, %lld tokens", h->dataset.count,
                      h->dataset.source, (long long)total);
    return LLEM_OK;
}

static llem_errcode step_model(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *devices;
    int64_t begin = llem_now_ns(h->clock);
    llem_errcode rc = h->m->engine->open_device(h->engine, a, &h->devices, err);

    if (rc != LLEM_OK)
        return rc;
    llem_harness_tell(h, LLEM_EVENT_SUBSTEP, "device opened", "",
                      (double)(llem_now_ns(h->clock) - begin) * 1e-9, -1);
    rc = h->m->engine->load_model(h->engine, a, &h->loaded, err);
    if (rc != LLEM_OK)
        return rc;
    devices = llem_get(h->loaded, "devices");
    if (devices && devices->kind == LLEM_LIST && devices->count)
        h->devices = devices;
    load_model_config(h); /* the engine may have fetched it */
    llem_harness_note(h, "%s", llem_str_at(h->loaded, "model.name", ""));
    return LLEM_OK;
}

static const char *skip_warmup(const struct llem_harness *h)
{
    if (h->work)
        return "not_applicable";
    return llem_bool_at(h->config, "measurement.warmup.enabled", true) ? NULL : "not_requested";
}

static const char *skip_thermal(const struct llem_harness *h)
{
    return h->work ? "not_applicable" : llem_thermal_skip(h);
}

static llem_errcode step_energy_select(struct llem_harness *h, llem_error *err)
{
    char utc[40];

    /* Nothing of this machine's description is collected while the window is open. */
    h->environment = llem_environment_join(h->collector, &h->arena);
    h->collector = NULL;
    llem_format_utc(utc, h->clock->wall_ns(h->clock->self));
    llem_set(&h->arena, h->environment, "collected_utc", llem_string(&h->arena, utc));
    return llem_sensors_select(h, err);
}

static llem_errcode step_observed_params(struct llem_harness *h, llem_error *err)
{
    h->observed = h->m->engine->capture_observed_params(h->engine, &h->arena);
    return LLEM_OK;
}

static const char *skip_flops(const struct llem_harness *h)
{
    const struct llem_value *model;

    if (h->work)
        return "not_applicable";
    model = llem_get(h->loaded, "model");
    return h->model_config || (model && model->kind == LLEM_MAP && model->count)
               ? NULL
               : "engine_does_not_report";
}

static llem_errcode step_flops(struct llem_harness *h, llem_error *err)
{
    const struct llem_value *model = llem_get(h->loaded, "model");
    const struct llem_value *config = h->model_config ? h->model_config : llem_get(model, "config");
    struct llem_dims d;

    llem_harness_note(h, "%s",
                      llem_dims_read(&d, config, NULL, "config.json", NULL) == LLEM_OK
                          ? "from config.json"
                      : llem_dims_get(&d, model) ? "from the loaded model's dimensions"
                                                 : "from the number of parameters");
    return LLEM_OK;
}

/* What the harness itself saw that makes a number doubtful; the rest is derived. */
static llem_errcode step_warnings(struct llem_harness *h, llem_error *err)
{
    const struct llem_value *variables = llem_get(h->experiment, "variables");
    size_t n = h->pairs->count;
    bool told = false;

    llem_harness_pair(h);
    if (n > 1) {
        const struct llem_value *first = h->pairs->items[0], *last = h->pairs->items[n - 1];
        int64_t stepped =
            (last->items[1]->i - first->items[1]->i) - (last->items[0]->i - first->items[0]->i);

        if (stepped > 100 * LLEM_MS || stepped < -100 * LLEM_MS)
            llem_harness_warn(h, "clock_stepped",
                              "The wall clock moved by %.1f s against the clock "
                              "that durations are taken from.",
                              (double)stepped * 1e-9);
    }
    if (h->watch && llem_watch_samples(h->watch)->lost)
        llem_harness_warn(h, "reading_gap", "The last %zu readings found no room and are missing.",
                          llem_watch_samples(h->watch)->lost);
    if (h->requests.lost || h->tokens.lost || h->steps_run.lost)
        llem_harness_warn(h, "too_few_samples",
                          "%zu requests, %zu token times and %zu engine steps found no room.",
                          h->requests.lost, h->tokens.lost, h->steps_run.lost);
    for (size_t i = 0; variables && variables->kind == LLEM_MAP && i < variables->count; i++) {
        if (strcmp(variables->keys[i], "LLEM_NVML_LIBRARY") != 0 &&
            strcmp(variables->keys[i], "LLEM_SYSFS") != 0)
            continue;
        llem_harness_warn(h, "sensor_faked", "The readings come from a fake: %s is set.",
                          variables->keys[i]);
        told = true;
    }
    for (size_t i = 0; i < h->n_sensors && !told; i++)
        if (llem_bool_at(h->sensors[i].describe, "is_fake", false))
            llem_harness_warn(h, "sensor_faked", "What sampler '%s' reads is a fake.",
                              h->sensors[i].class->name);
    return LLEM_OK;
}

/* End what runs, in the order in which it depends on each other. Idempotent. */
static void wind_down(struct llem_harness *h)
{
    bool watched = h->watch != NULL;

    llem_watch_stop(h->watch);
    if (watched && !h->cost)
        llem_window_cost(h);
    llem_sensors_close(h);
    if (h->needs_cleanup)
        h->m->engine->cleanup(h->engine);
    h->needs_cleanup = false;
}

static llem_errcode write_outputs(struct llem_harness *h, llem_error *err)
{
    const char *path = llem_path_join(&h->arena, h->m->dir, "outputs.jsonl");

    if (h->outputs.failed || !path)
        return llem_fail(err, LLEM_ENOMEM, "the outputs do not fit into memory");
    return llem_file_write(path, h->outputs.data, h->outputs.len, err);
}

static llem_errcode step_save(struct llem_harness *h, llem_error *err)
{
    struct llem_recording recording;
    struct llem_arena arena = LLEM_ARENA_INIT;
    struct llem_value *result;
    llem_errcode rc;

    wind_down(h);
    h->saving = true;
    rc = llem_recorder_write(h, false, err);
    if (rc != LLEM_OK)
        return rc;
    rc = llem_recording_open(&recording, h->recording_dir, err);
    if (rc != LLEM_OK)
        return rc;
    rc = llem_derive(&recording, &arena, &result, err);
    if (rc == LLEM_OK)
        rc = llem_result_write(&recording, result, h->m->dir, err);
    if (rc == LLEM_OK && h->outputs.len)
        rc = write_outputs(h, err);
    llem_recording_close(&recording);
    llem_arena_done(&arena);
    return rc;
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct step {
    const char *name;  /* in the recording, and in events if they tell of it */
    const char *doing; /* what is said when it begins; NULL = nothing is said of it */
    const char *(*skip)(const struct llem_harness *h); /* reason code, NULL = it runs */
    llem_errcode (*run)(struct llem_harness *h, llem_error *err);
} steps[] = {
    { "preflight", "Checking", skip_without_engine, step_preflight },
    { "environment", NULL, NULL, step_environment },
    { "baseline", "Measuring idle power", llem_baseline_skip, llem_baseline_run },
    { "prompts", "Loading prompts", skip_without_engine, step_prompts },
    { "model", "Loading model", skip_without_engine, step_model },
    { "warmup", "Warming up", skip_warmup, llem_warmup_run },
    { "thermal_floor", "Waiting for the temperature", skip_thermal, llem_thermal_wait },
    { "energy_select", "Selecting sensors", NULL, step_energy_select },
    { "measure", "Measuring", NULL, llem_window_run },
    { "observed_params", NULL, skip_without_engine, step_observed_params },
    { "flops", "Counting operations", skip_flops, step_flops },
    { "warnings", NULL, NULL, step_warnings },
    { "save", "Saving", NULL, step_save },
};

static void record_step(struct llem_harness *h, const struct step *s, int64_t end_ns,
                        const char *skipped, const char *text)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "name", llem_string(a, s->name));
    llem_set(a, v, "begin_ns", llem_int(a, h->step_begin_ns));
    llem_set(a, v, "end_ns", llem_int(a, end_ns));
    llem_set(a, v, "skipped", llem_string(a, skipped));
    llem_set(a, v, "text", llem_string(a, text));
    llem_append(a, h->steps, v);
    llem_harness_event(h, h->step_begin_ns, skipped ? "step_skip" : "step_begin", "%s", s->name);
    if (!skipped)
        llem_harness_event(h, end_ns, "step_end", "%s", s->name);
}

static void note_skip(struct llem_harness *h, const struct step *s, const char *reason)
{
    struct llem_arena *a = &h->arena;

    if (strcmp(s->name, "baseline") == 0)
        llem_set(a, h->baseline, "reason", llem_string(a, reason));
    else if (strcmp(s->name, "thermal_floor") == 0)
        llem_set(a, h->thermal, "reason", llem_string(a, reason));
}

static llem_errcode run_step(struct llem_harness *h, const struct step *s, llem_error *err)
{
    const char *reason;
    int64_t end_ns;
    llem_error own = { 0 };
    llem_errcode rc;
    bool last = s == &steps[LLEM_COUNT(steps) - 1];

    h->step = s->name;
    h->note[0] = h->told_text[0] = '\0';
    h->told_fraction = -1;
    h->step_begin_ns = llem_now_ns(h->clock);
    llem_harness_pair(h);
    reason = s->skip ? s->skip(h) : NULL;
    if (reason) {
        const struct llem_reason *r = llem_reason_find(reason);

        note_skip(h, s, reason);
        record_step(h, s, h->step_begin_ns, reason, r ? r->sentence : "");
        llem_log(h->ctx, LLEM_LOG_INFO, "measure", "step '%s' is left out: %s", s->name, reason);
        if (s->doing && strcmp(reason, "not_applicable") != 0)
            llem_harness_tell(h, LLEM_EVENT_STEP_SKIP, r ? r->sentence : "", reason, 0, -1);
        return LLEM_OK;
    }
    if (s->doing)
        llem_harness_tell(h, LLEM_EVENT_STEP_START, s->doing, "", 0, -1);
    /* The last step writes the recording, and stands in it as far as it got. */
    if (last)
        record_step(h, s, h->step_begin_ns, NULL, "");
    rc = s->run(h, &own);
    end_ns = llem_now_ns(h->clock);
    if (rc != LLEM_OK) {
        llem_harness_event(h, end_ns, "failed", "%s: %.180s", s->name, own.msg);
        if (err)
            *err = own;
    }
    if (!last)
        record_step(h, s, end_ns, NULL, rc == LLEM_OK ? h->note : own.msg);
    llem_log(h->ctx, LLEM_LOG_INFO, "measure", "step '%s' took %.3f s%s%s", s->name,
             (double)(end_ns - h->step_begin_ns) * 1e-9, *h->note ? ": " : "", h->note);
    if (rc == LLEM_OK && s->doing)
        llem_harness_tell(h, LLEM_EVENT_STEP_DONE, h->note, "",
                          (double)(end_ns - h->step_begin_ns) * 1e-9, -1);
    return rc;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static llem_errcode prepare(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    const char *const spans[] = { "bare",         "spot",   "loaded_before",
                                  "loaded_after", "reason", "reused" };
    const char *const temperatures[] = { "reason", "temperature_begin_c", "temperature_end_c" };
    llem_errcode rc;

    if ((size_t)snprintf(h->recording_dir, sizeof(h->recording_dir), "%s/recording", h->m->dir) >=
        sizeof(h->recording_dir))
        return llem_fail(err, LLEM_EINVAL, "the path '%s' is too long", h->m->dir);
    rc = llem_mkdirs(h->recording_dir, err);
    if (rc == LLEM_OK)
        rc = llem_area_init(&h->events, sizeof(struct llem_event_row), 16384, 512, err);
    if (rc != LLEM_OK)
        return rc;
    h->steps = llem_list(a);
    h->pairs = llem_list(a);
    h->warnings = llem_list(a);
    h->observations = llem_list(a);
    h->sampler_windows = llem_map(a);
    h->snapshots = llem_map(a);
    llem_set(a, h->snapshots, "start", llem_map(a));
    llem_set(a, h->snapshots, "before", llem_map(a));
    llem_set(a, h->snapshots, "after", llem_map(a));
    h->baseline = llem_map(a);
    for (size_t i = 0; i < LLEM_COUNT(spans); i++)
        llem_set(a, h->baseline, spans[i], llem_null(a));
    llem_set(a, h->baseline, "method", llem_string(a, "fresh"));
    llem_set(a, h->baseline, "sampler_windows", llem_map(a));
    h->warmup = llem_map(a);
    llem_set(a, h->warmup, "mode", llem_string(a, "disabled"));
    llem_set(a, h->warmup, "latencies_ms", llem_list(a));
    llem_set(a, h->warmup, "converged", llem_bool(a, true));
    llem_set(a, h->warmup, "target_cv", llem_null(a));
    llem_set(a, h->warmup, "window_size", llem_null(a));
    llem_set(a, h->warmup, "max_prompts", llem_null(a));
    llem_set(a, h->warmup, "batch_ms", llem_null(a));
    h->thermal = llem_map(a);
    llem_set(a, h->thermal, "waited_s", llem_real(a, 0));
    llem_set(a, h->thermal, "settled", llem_bool(a, false));
    for (size_t i = 0; i < LLEM_COUNT(temperatures); i++)
        llem_set(a, h->thermal, temperatures[i], llem_null(a));
    return LLEM_OK;
}

static llem_errcode run(struct llem_harness *h, llem_error *err)
{
    llem_error later;
    llem_errcode rc;

    h->ctx = h->m->ctx;
    h->ctx->cancel = h->m->cancel;
    h->clock = h->ctx->clock;
    h->experiment = h->m->experiment;
    h->config = llem_get(h->experiment, "config");
    h->quick = llem_bool_at(h->experiment, "quick", false) ||
               llem_bool_at(h->config, "measurement.quick", false);
    h->started_wall_ns = h->clock->wall_ns(h->clock->self);
    h->save_outputs = llem_str_at(h->experiment, "output.save_outputs", "hash");
    llem_buf_init(&h->outputs, MAX_OUTPUTS);
    rc = prepare(h, err);
    for (size_t i = 0; rc == LLEM_OK && i < LLEM_COUNT(steps); i++) {
        if (llem_harness_canceled(h))
            rc = llem_fail(err, LLEM_ECANCELED, "cancelled before step '%s'", steps[i].name);
        else
            rc = run_step(h, &steps[i], err);
    }
    wind_down(h);
    if (h->collector)
        h->environment = llem_environment_join(h->collector, &h->arena);
    /* Keep what there is for whoever looks for the cause; it is no recording. */
    if (rc != LLEM_OK && h->steps && !h->saving && llem_recorder_write(h, true, &later) != LLEM_OK)
        llem_log(h->ctx, LLEM_LOG_WARNING, "measure", "the partial recording is lost: %s",
                 later.msg);

    h->ctx->cancel = NULL;
    llem_watch_free(h->watch);
    if (h->engine)
        h->m->engine->destroy(h->engine);
    llem_buf_done(&h->outputs);
    llem_area_done(&h->requests);
    llem_area_done(&h->tokens);
    llem_area_done(&h->steps_run);
    llem_area_done(&h->events);
    llem_arena_done(&h->arena);
    return rc;
}

llem_errcode llem_measure_engine(const struct llem_measurement *m, llem_error *err)
{
    struct llem_harness h = { .m = m };

    return run(&h, err);
}

llem_errcode llem_measure_work(const struct llem_measurement *m,
                               llem_errcode (*work)(void *user, llem_error *err), void *user,
                               llem_error *err)
{
    struct llem_harness h = { .m = m, .work = work, .work_user = user };

    return run(&h, err);
}
