/* SPDX-License-Identifier: MIT
 *
 * From the harness's memory to recording/: column files first, recording.json last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/batch.h"
#include "lib/base/file.h"
#include "lib/engine/hub.h"
#include "lib/measure/harness.h"
#include "lib/result/recording.h"

/* ---- columns ------------------------------------------------------------------------------ */

/* Where a column's values stand in the rows of an area. */
struct source {
    const char *table, *name;
    size_t offset, size; /* size 0: a text */
};

#define NUMBER(table, T, name, member)                                                             \
    {                                                                                              \
        table, name, offsetof(T, member), sizeof(((T *)0)->member)                                 \
    }
#define TEXT(table, T, name, member)                                                               \
    {                                                                                              \
        table, name, offsetof(T, member), 0                                                        \
    }

/* clang-format off */
static const struct source sources[] = {
    NUMBER("samples", struct llem_sample, "begin_ns", begin_ns),
    NUMBER("samples", struct llem_sample, "end_ns", end_ns),
    NUMBER("samples", struct llem_sample, "device", device),
    NUMBER("samples", struct llem_sample, "field", field),
    NUMBER("samples", struct llem_sample, "raw", raw),
    NUMBER("samples", struct llem_sample, "status", status),
    NUMBER("samples", struct llem_sample, "vendor_ns", vendor_ns),
    NUMBER("samples", struct llem_sample, "latency_us", latency_us),
    NUMBER("requests", struct llem_request_row, "pass", r.pass),
    NUMBER("requests", struct llem_request_row, "repeat", r.repeat),
    NUMBER("requests", struct llem_request_row, "index", r.index),
    NUMBER("requests", struct llem_request_row, "t_submit_ns", r.t_submit_ns),
    NUMBER("requests", struct llem_request_row, "t_scheduled_ns", r.t_scheduled_ns),
    NUMBER("requests", struct llem_request_row, "t_first_ns", r.t_first_ns),
    NUMBER("requests", struct llem_request_row, "t_last_ns", r.t_last_ns),
    NUMBER("requests", struct llem_request_row, "input_tokens", r.input_tokens),
    NUMBER("requests", struct llem_request_row, "cached_tokens", r.cached_tokens),
    NUMBER("requests", struct llem_request_row, "output_tokens", r.output_tokens),
    TEXT("requests", struct llem_request_row, "finish", finish),
    TEXT("requests", struct llem_request_row, "output_sha256", output_sha256),
    NUMBER("steps", struct llem_engine_step, "begin_ns", begin_ns),
    NUMBER("steps", struct llem_engine_step, "end_ns", end_ns),
    NUMBER("steps", struct llem_engine_step, "prefill_tokens", prefill_tokens),
    NUMBER("steps", struct llem_engine_step, "decode_tokens", decode_tokens),
    NUMBER("steps", struct llem_engine_step, "batch", batch),
    NUMBER("tokens", struct llem_token_row, "request", request),
    NUMBER("tokens", struct llem_token_row, "t_ns", t_ns),
    NUMBER("events", struct llem_event_row, "t_ns", t_ns),
    TEXT("events", struct llem_event_row, "kind", kind),
    TEXT("events", struct llem_event_row, "text", text),
};
/* clang-format on */

static const struct llem_area *area_of(const struct llem_harness *h, const char *table)
{
    static const struct llem_area none;

    if (strcmp(table, "samples") == 0)
        return h->watch ? llem_watch_samples(h->watch) : &none;
    if (strcmp(table, "requests") == 0)
        return &h->requests;
    if (strcmp(table, "steps") == 0)
        return &h->steps_run;
    if (strcmp(table, "tokens") == 0)
        return &h->tokens;
    return &h->events;
}

static llem_errcode write_text(struct llem_harness *h, struct llem_batch *batch,
                               const struct llem_column_def *def, const struct source *s,
                               const struct llem_area *area, struct llem_value *columns,
                               llem_error *err)
{
    struct llem_buf b = LLEM_BUF_INIT(LLEM_RECORDING_MAX_BYTES);
    llem_errcode rc;

    for (size_t i = 0; i < area->count; i++)
        llem_column_add_utf8(&b, (const char *)llem_area_at(area, i) + s->offset);
    if (b.failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while writing %s.%s", s->table, s->name);
    else
        rc = llem_column_write(batch, def, b.data, area->count, b.len, &h->arena, columns, err);
    llem_buf_done(&b);
    return rc;
}

static llem_errcode write_column(struct llem_harness *h, struct llem_batch *batch,
                                 const struct source *s, struct llem_value *columns,
                                 llem_error *err)
{
    const struct llem_column_def *def = llem_column_find(s->table, s->name);
    const struct llem_area *area = area_of(h, s->table);
    size_t bytes = area->count * s->size;
    char *data;
    llem_errcode rc;

    if (s->size == 0)
        return write_text(h, batch, def, s, area, columns, err);
    data = malloc(bytes ? bytes : 1);
    if (!data)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while writing %s.%s", s->table, s->name);
    for (size_t i = 0; i < area->count; i++)
        memcpy(data + i * s->size, (const char *)llem_area_at(area, i) + s->offset, s->size);
    rc = llem_column_write(batch, def, data, area->count, bytes, &h->arena, columns, err);
    free(data);
    return rc;
}

/* ---- recording.json ----------------------------------------------------------------------- */

/* What sensors saw go wrong becomes rows of `events`, in order of time with the others. */
static void add_faults(struct llem_harness *h)
{
    const struct llem_area *faults = h->watch ? llem_watch_faults(h->watch) : NULL;

    for (size_t i = 0; faults && i < faults->count; i++) {
        const struct llem_fault *f = llem_area_at(faults, i);
        const struct llem_value *d =
            h->domains && f->device < h->domains->count ? h->domains->items[f->device] : NULL;

        llem_harness_event(h, f->t_ns, f->status == LLEM_READ_OK ? "sensor_back" : "sensor_fault",
                           "%s: field %u, status %d", llem_str_at(d, "id", "?"), f->field,
                           f->status);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct llem_event_row *x = a, *y = b;

    return x->t_ns < y->t_ns ? -1 : x->t_ns > y->t_ns;
}

static struct llem_value *or_null(struct llem_arena *a, const struct llem_value *v)
{
    return v ? llem_copy(a, v) : llem_null(a);
}

static struct llem_value *dataset_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    const struct llem_dataset *d = &h->dataset;
    struct llem_value *v = llem_map(a);

    if (h->work || !d->source)
        return llem_null(a);
    llem_set(a, v, "source", llem_string(a, d->source));
    llem_set(a, v, "path", llem_string(a, d->path));
    llem_set(a, v, "count", llem_int(a, (int64_t)d->count));
    llem_set(a, v, "sha256", llem_string(a, d->sha256));
    llem_set(a, v, "order", llem_string(a, d->order));
    llem_set(a, v, "kinds", d->kinds);
    llem_set(a, v, "truncated", llem_int(a, h->truncated));
    llem_set(a, v, "max_input_tokens", or_null(a, llem_at(h->config, "task.max_input_tokens")));
    return v;
}

static struct llem_value *engine_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    const struct llem_value *effective = llem_get(h->loaded, "effective");
    const struct llem_value *libraries = llem_get(h->loaded, "libraries");
    struct llem_value *v = llem_map(a);

    if (h->work)
        return llem_null(a);
    llem_set(a, v, "name", llem_string(a, h->m->engine->name));
    llem_set(a, v, "version", llem_string(a, h->engine ? h->m->engine->version(h->engine) : NULL));
    llem_set(a, v, "libraries", libraries ? llem_copy(a, libraries) : llem_map(a));
    llem_set(a, v, "load_s", or_null(a, llem_get(h->loaded, "load_s")));
    llem_set(a, v, "effective", effective ? llem_copy(a, effective) : llem_map(a));
    llem_set(a, v, "devices", h->devices ? h->devices : llem_list(a));
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = { "engine_params", "sampling_params" };
        const struct llem_value *params = llem_get(h->observed, names[i]);

        llem_set(a, v, names[i], params ? llem_copy(a, params) : llem_map(a));
    }
    return v;
}

/* Random weights come from no file. */
static bool weights_are_made_up(const struct llem_harness *h, const char *engine)
{
    const struct llem_value *section = llem_get(h->config, engine);
    const char *format = llem_str_at(section, "load_format", "");

    return strcmp(llem_str_at(section, "engine.load_format", format), "dummy") == 0;
}

/* The content of a file; false if it cannot be read, or nobody wants to wait for it. */
static bool hash_file(struct llem_harness *h, const char *path, void *buf, size_t size,
                      char hex[65])
{
    struct llem_sha256 sha;
    FILE *f = fopen(path, "re");
    bool whole = f != NULL;

    llem_sha256_init(&sha);
    while (whole) {
        size_t n = fread(buf, 1, size, f);

        llem_sha256_add(&sha, buf, n);
        if (n < size)
            break;
        whole = !llem_harness_canceled(h);
        llem_harness_alive(h);
    }
    whole = whole && !ferror(f);
    if (f)
        fclose(f);
    llem_sha256_hex(&sha, hex);
    return whole;
}

/* Digests of the files that lack one. By now the window is over and the engine gone. */
static void hash_weights(struct llem_harness *h, const char *dir, struct llem_value *files)
{
    enum { PIECE = 1 << 20 };
    struct llem_arena *a = &h->arena;
    void *buf = malloc(PIECE);
    char hex[65];

    for (size_t i = 0; buf && i < files->count; i++) {
        struct llem_value *f = files->items[i];
        const char *path = llem_path_join(a, dir, llem_str_at(f, "name", ""));

        if (llem_get(f, "sha256"))
            continue;
        if (path && hash_file(h, path, buf, PIECE, hex))
            llem_set(a, f, "sha256", llem_string(a, hex));
        else
            llem_log(h->ctx, LLEM_LOG_WARNING, "harness", "the weights '%s' were not hashed",
                     path ? path : dir);
    }
    free(buf);
}

/* Which model it was: its commit on the hub, and its weight files. An engine that opens the files
 * itself says which; of others they are looked up where the model is now. */
static void identify_model(struct llem_harness *h, struct llem_value *v)
{
    struct llem_arena *a = &h->arena;
    const char *dir = NULL, *commit = NULL, *told = llem_str_at(v, "sha256", NULL);
    struct llem_value *files = NULL;
    bool made_up = weights_are_made_up(h, llem_str_at(h->config, "engine", ""));
    char sha256[65];

    if (llem_hub_find_model(a, h->ctx, llem_harness_model(h), &dir, &commit, NULL) == LLEM_OK &&
        !made_up)
        files = llem_hub_weights(a, dir, sha256);
    if (files && llem_bool_at(h->config, "measurement.hash_weights", false))
        hash_weights(h, dir, files);
    if (!llem_str_at(v, "revision", NULL)) {
        llem_set(a, v, "revision", commit ? llem_string(a, commit) : llem_null(a));
        if (!commit)
            llem_set(a, v, "revision_reason",
                     llem_string(a, dir ? "local_model" : "model_not_in_cache"));
    }
    if (files && (!told || strcmp(told, sha256) == 0)) {
        llem_set(a, v, "files", files);
        llem_set(a, v, "sha256", llem_string(a, sha256));
    } else if (!told) {
        llem_set(a, v, "sha256", llem_null(a));
        llem_set(a, v, "sha256_reason",
                 llem_string(a, dir ? "no_weight_files" : "model_not_in_cache"));
    }
}

static struct llem_value *model_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *v = or_null(a, llem_get(h->loaded, "model"));

    if (h->work)
        return llem_null(a);
    if (h->model_config) {
        if (v->kind != LLEM_MAP)
            v = llem_map(a);
        llem_set(a, v, "config", h->model_config);
    }
    if (v->kind == LLEM_MAP)
        identify_model(h, v);
    return v;
}

/* One board as `environment` lists it: out of what its sampler describes and its first snapshot. */
static struct llem_value *gpu_json(struct llem_harness *h, const struct llem_value *domain,
                                   const struct llem_value *describe)
{
    static const char *const names[] = {
        "index",         "uuid",
        "name",          "pci",
        "vram_bytes",    "compute_capability",
        "power_limit_w", "default_power_limit_w",
        "persistence",   "mig",
    };
    struct llem_arena *a = &h->arena;
    const char *id = llem_str_at(domain, "id", "");
    const struct llem_value *board = llem_get(llem_get(describe, "domains"), id);
    const struct llem_value *state = llem_get(llem_get(h->snapshots, "before"), id);
    struct llem_value *v = llem_map(a);

    for (size_t i = 0; i < LLEM_COUNT(names); i++) {
        const struct llem_value *told = llem_get(board, names[i]);

        if (!told && strcmp(names[i], "name") == 0)
            told = llem_get(domain, "label");
        llem_set(a, v, names[i], or_null(a, told ? told : llem_get(domain, names[i])));
    }
    llem_set(a, v, "driver", or_null(a, llem_get(describe, "driver_version")));
    llem_set(a, v, "temperature_c", or_null(a, llem_get(state, "temperature_c")));
    return v;
}

/* What only sensors and the engine know of the environment. */
static void complete_environment(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    const struct llem_value *python = llem_at(h->loaded, "libraries.python");
    struct llem_value *gpus = llem_list(a), *v;

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];
        const struct llem_value *cuda = llem_get(s->describe, "cuda_version");

        if (!llem_is_null(cuda)) {
            v = llem_map(a);
            llem_set(a, v, "driver_version", or_null(a, llem_get(s->describe, "driver_version")));
            llem_set(a, v, "cuda_version", llem_copy(a, cuda));
            llem_set(a, h->environment, "cuda", v);
        }
        for (size_t k = 0; s->opened && h->domains && k < h->domains->count; k++) {
            const struct llem_value *d = h->domains->items[k];

            if (strcmp(llem_str_at(d, "kind", ""), "gpu") == 0 &&
                strcmp(llem_str_at(d, "sampler", ""), s->class->name) == 0)
                llem_append(a, gpus, gpu_json(h, d, s->describe));
        }
    }
    llem_set(a, h->environment, "gpus", gpus);
    if (python && python->kind == LLEM_STRING) {
        v = llem_map(a);
        llem_set(a, v, "version", llem_copy(a, python));
        llem_set(a, h->environment, "python", v);
    }
}

static struct llem_value *clocks_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "worker", or_null(a, llem_get(h->loaded, "clock")));
    llem_set(a, v, "pairs", h->pairs);
    return v;
}

static struct llem_value *make_json(struct llem_harness *h, struct llem_value *columns)
{
    static const char *const copied[] = {
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
        "site",
        "variables",
        "measure",
    };
    struct llem_arena *a = &h->arena;
    struct llem_value *r = llem_map(a), *producer = llem_map(a);
    char utc[40];

    llem_set(a, r, "version", llem_int(a, LLEM_RECORDING_VERSION));
    llem_set(a, producer, "program", llem_string(a, "llem"));
    llem_set(a, producer, "version", llem_string(a, llem_version()));
    llem_set(a, producer, "commit", llem_string(a, llem_commit()));
    llem_set(a, r, "producer", producer);
    for (size_t i = 0; i < LLEM_COUNT(copied); i++)
        llem_set(a, r, copied[i], or_null(a, llem_get(h->experiment, copied[i])));
    llem_set(a, r, "quick", llem_bool(a, h->quick));
    llem_format_utc(utc, h->started_wall_ns);
    llem_set(a, r, "started_utc", llem_string(a, utc));
    llem_format_utc(utc, h->clock->wall_ns(h->clock->self));
    llem_set(a, r, "finished_utc", llem_string(a, utc));
    llem_set(a, r, "dataset", dataset_json(h));
    llem_set(a, r, "model", model_json(h));
    llem_set(a, r, "engine", engine_json(h));
    if (h->environment)
        complete_environment(h);
    llem_set(a, r, "environment", h->environment ? h->environment : llem_null(a));
    llem_set(a, r, "domains", h->domains ? h->domains : llem_list(a));
    llem_set(a, r, "sensors", llem_sensors_json(h));
    llem_set(a, r, "charged", llem_sensors_charged_json(h));
    llem_set(a, r, "calibration", llem_null(a));
    llem_set(a, r, "gain_prior", llem_null(a));
    llem_set(a, r, "steps", h->steps);
    llem_set(a, r, "baseline", h->baseline);
    llem_set(a, r, "warmup", h->warmup);
    llem_set(a, r, "thermal", h->thermal);
    llem_set(a, r, "window", h->window ? h->window : llem_null(a));
    llem_set(a, r, "totals", h->totals ? h->totals : llem_null(a));
    llem_set(a, r, "sampler_windows", h->sampler_windows);
    llem_set(a, r, "clocks", clocks_json(h));
    llem_set(a, r, "snapshots", h->snapshots);
    llem_set(a, r, "cpu", h->cpu ? h->cpu : llem_null(a));
    llem_set(a, r, "sampler_cost", h->cost ? h->cost : llem_null(a));
    llem_set(a, r, "warnings", h->warnings);
    llem_set(a, r, "observations", h->observations);
    llem_set(a, r, "columns", columns);
    return r;
}

llem_errcode llem_recorder_write(struct llem_harness *h, bool partial, llem_error *err)
{
    struct llem_batch batch = { .dir = h->recording_dir, .in_place = true };
    struct llem_value *columns = llem_list(&h->arena), *json;
    llem_errcode rc = LLEM_OK;

    add_faults(h);
    if (h->events.count)
        qsort(h->events.base, h->events.count, h->events.row, by_time);
    for (size_t i = 0; i < LLEM_COUNT(sources) && rc == LLEM_OK; i++)
        rc = write_column(h, &batch, &sources[i], columns, err);
    if (rc != LLEM_OK)
        goto done;
    json = make_json(h, columns);
    if (h->arena.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while writing '%s'", h->recording_dir);
        goto done;
    }
    /* It promises the columns: it has its name when they are on disk. */
    batch.in_place = false;
    rc = llem_batch_add_json(&batch, partial ? "recording.partial.json" : "recording.json", json,
                             err);
    if (rc == LLEM_OK)
        rc = llem_batch_commit(&batch, err);
done:
    llem_batch_done(&batch);
    /* Without its end it is of no use, and on a full disk what is to say so needs the room. */
    if (rc != LLEM_OK)
        llem_remove_tree(h->recording_dir, NULL);
    return rc;
}
