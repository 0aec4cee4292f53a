/* SPDX-License-Identifier: MIT
 *
 * What stands beside result.json: timeseries.parquet and requests.parquet for people and their
 * tools, config.json and environment.json as the original names them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/batch.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/derive.h"
#include "lib/result/parquet.h"
#include "lib/result/result.h"

/* ---- timeseries.parquet ------------------------------------------------------------------- */

enum role {
    ROLE_COUNTER,
    ROLE_INSTANT,
    ROLE_AVERAGE,
    ROLE_BUSY,
    ROLE_TEMPERATURE,
    ROLE_CLOCK_SM,
    ROLE_CLOCK_MEMORY,
    ROLE_UTILIZATION,
    ROLE_MEMORY_USED,
    ROLE_EVENT_REASONS,
    ROLE_COUNT,
    ROLE_NONE = ROLE_COUNT
};
static const char *const role_names[ROLE_COUNT] = {
    "counter",  "power_instant", "power_average", "cpu_busy",    "temperature",
    "clock_sm", "clock_memory",  "utilization",   "memory_used", "event_reasons",
};

enum { MAX_FIELDS = 32, SMOOTH_MS = 50 };

struct field_info {
    int64_t id;
    enum role role;
    double to_si, modulus;
};
struct domain_info {
    const char *id;
    struct field_info fields[MAX_FIELDS];
    size_t n_fields;
    int64_t gpu_index; /* -1 = not a GPU */
    double memory_total_mb;
    bool has_power;
};

/* One moment at which a domain was read: samples first .. first + n - 1. */
struct moment {
    size_t first;
    uint32_t n;
    float power_w;   /* of a counter alone, from its differences; NaN */
    double energy_j; /* unwrapped, from the first read on; NaN */
};

struct series {
    const struct llem_column *begin, *end, *device, *field, *raw, *status;
    struct domain_info *domains;
    size_t n_domains, n;
    struct moment *moments;
    int64_t t0_ns, t1_ns;
};

enum series_column {
    S_TIMESTAMP,
    S_GPU_INDEX,
    S_POWER,
    S_TEMPERATURE,
    S_MEMORY_USED,
    S_MEMORY_TOTAL,
    S_UTILISATION,
    S_REASONS,
    S_DOMAIN,
    S_BEGIN,
    S_END,
    S_ENERGY,
    S_INSTANT,
    S_AVERAGE,
    S_CLOCK_SM,
    S_CLOCK_MEMORY,
    S_BUSY,
    S_FAILED,
    S_IN_WINDOW,
};
/* The original's eight first, then ours. */
static const struct llem__parquet_column series_columns[] = {
    [S_TIMESTAMP] = { "timestamp_s", LLEM__PARQUET_DOUBLE },
    [S_GPU_INDEX] = { "gpu_index", LLEM__PARQUET_INT32 },
    [S_POWER] = { "power_w", LLEM__PARQUET_FLOAT },
    [S_TEMPERATURE] = { "temperature_c", LLEM__PARQUET_FLOAT },
    [S_MEMORY_USED] = { "memory_used_mb", LLEM__PARQUET_FLOAT },
    [S_MEMORY_TOTAL] = { "memory_total_mb", LLEM__PARQUET_FLOAT },
    [S_UTILISATION] = { "sm_utilisation_pct", LLEM__PARQUET_FLOAT },
    [S_REASONS] = { "throttle_reasons", LLEM__PARQUET_INT64 },
    [S_DOMAIN] = { "domain", LLEM__PARQUET_UTF8 },
    [S_BEGIN] = { "read_begin_ns", LLEM__PARQUET_INT64 },
    [S_END] = { "read_end_ns", LLEM__PARQUET_INT64 },
    [S_ENERGY] = { "energy_j", LLEM__PARQUET_DOUBLE },
    [S_INSTANT] = { "power_instant_w", LLEM__PARQUET_DOUBLE },
    [S_AVERAGE] = { "power_average_w", LLEM__PARQUET_DOUBLE },
    [S_CLOCK_SM] = { "clock_sm_hz", LLEM__PARQUET_DOUBLE },
    [S_CLOCK_MEMORY] = { "clock_memory_hz", LLEM__PARQUET_DOUBLE },
    [S_BUSY] = { "cpu_busy_s", LLEM__PARQUET_DOUBLE },
    [S_FAILED] = { "failed_fields", LLEM__PARQUET_INT32 },
    [S_IN_WINDOW] = { "in_window", LLEM__PARQUET_INT32 },
};

static const struct field_info *info_of(const struct series *s, size_t sample)
{
    const struct domain_info *d = &s->domains[s->device->u16[sample]];

    for (size_t k = 0; k < d->n_fields; k++)
        if (d->fields[k].id == s->field->u16[sample])
            return &d->fields[k];
    return NULL;
}

/* The good value of a role at a moment in SI; NaN if there is none. */
static double value_of(const struct series *s, const struct moment *m, enum role role)
{
    for (size_t k = m->first; k < m->first + m->n; k++) {
        const struct field_info *f = info_of(s, k);

        if (f && f->role == role && s->status->i32[k] == 0)
            return (double)s->raw->i64[k] * f->to_si;
    }
    return (double)NAN;
}

static void real_cell(struct llem__cell *out, double v)
{
    out->null = isnan(v);
    out->d = v;
}

static void int_cell(struct llem__cell *out, int64_t v)
{
    out->null = false;
    out->i = v;
}

static void series_cell(void *user, size_t row, size_t column, struct llem__cell *out)
{
    const struct series *s = user;
    const struct moment *m = &s->moments[row];
    const struct domain_info *d = &s->domains[s->device->u16[m->first]];
    int64_t begin = s->begin->i64[m->first], end = s->end->i64[m->first], failed = 0;
    double v;

    switch ((enum series_column)column) {
    case S_TIMESTAMP:
        real_cell(out, (double)(begin - s->t0_ns) / 1e9);
        break;
    case S_GPU_INDEX:
        int_cell(out, d->gpu_index);
        out->null = d->gpu_index < 0;
        break;
    case S_POWER:
        v = value_of(s, m, ROLE_AVERAGE);
        v = isnan(v) ? value_of(s, m, ROLE_INSTANT) : v;
        real_cell(out, isnan(v) ? (double)m->power_w : v);
        break;
    case S_TEMPERATURE:
        real_cell(out, value_of(s, m, ROLE_TEMPERATURE));
        break;
    case S_MEMORY_USED:
        real_cell(out, value_of(s, m, ROLE_MEMORY_USED) / 1048576);
        break;
    case S_MEMORY_TOTAL:
        real_cell(out, isnan(value_of(s, m, ROLE_MEMORY_USED)) ? (double)NAN : d->memory_total_mb);
        break;
    case S_UTILISATION:
        real_cell(out, 100 * value_of(s, m, ROLE_UTILIZATION));
        break;
    case S_REASONS:
        v = value_of(s, m, ROLE_EVENT_REASONS);
        out->null = !(v >= 0 && v < 9e15);
        out->i = out->null ? 0 : (int64_t)v;
        break;
    case S_DOMAIN:
        out->null = false;
        out->s = d->id;
        break;
    case S_BEGIN:
        int_cell(out, begin);
        break;
    case S_END:
        int_cell(out, end);
        break;
    case S_ENERGY:
        real_cell(out, m->energy_j);
        break;
    case S_INSTANT:
        real_cell(out, value_of(s, m, ROLE_INSTANT));
        break;
    case S_AVERAGE:
        real_cell(out, value_of(s, m, ROLE_AVERAGE));
        break;
    case S_CLOCK_SM:
        real_cell(out, value_of(s, m, ROLE_CLOCK_SM));
        break;
    case S_CLOCK_MEMORY:
        real_cell(out, value_of(s, m, ROLE_CLOCK_MEMORY));
        break;
    case S_BUSY:
        real_cell(out, value_of(s, m, ROLE_BUSY));
        break;
    case S_FAILED:
        for (size_t k = m->first; k < m->first + m->n; k++)
            failed += s->status->i32[k] != 0;
        int_cell(out, failed);
        break;
    case S_IN_WINDOW:
        int_cell(out, begin >= s->t0_ns && end <= s->t1_ns);
        break;
    }
}

static void read_domains(struct series *s, const struct llem_recording *r, struct llem_arena *a)
{
    const struct llem_value *list = llem_get(r->json, "domains");
    const struct llem_value *gpus = llem_at(r->json, "environment.gpus");

    s->n_domains = list && list->kind == LLEM_LIST ? list->count : 0;
    s->domains = llem_arena_calloc(a, s->n_domains + 1, sizeof(*s->domains));
    for (size_t i = 0; s->domains && i < s->n_domains; i++) {
        const struct llem_value *json = list->items[i], *fields = llem_get(json, "fields");
        struct domain_info *d = &s->domains[i];
        const char *uuid = llem_str_at(json, "uuid", "");

        d->id = llem_str_at(json, "id", "");
        d->gpu_index =
            strcmp(llem_str_at(json, "kind", ""), "gpu") == 0 ? llem_int_at(json, "index", -1) : -1;
        d->memory_total_mb = (double)NAN;
        for (size_t k = 0; *uuid && gpus && gpus->kind == LLEM_LIST && k < gpus->count; k++)
            if (strcmp(llem_str_at(gpus->items[k], "uuid", ""), uuid) == 0)
                d->memory_total_mb =
                    llem_real_at(gpus->items[k], "vram_bytes", (double)NAN) / 1048576;
        for (size_t k = 0;
             fields && fields->kind == LLEM_LIST && k < fields->count && d->n_fields < MAX_FIELDS;
             k++) {
            struct field_info *f = &d->fields[d->n_fields++];
            const char *name = llem_str_at(fields->items[k], "role", "");

            f->id = llem_int_at(fields->items[k], "id", -1);
            f->to_si = llem_real_at(fields->items[k], "to_si", (double)NAN);
            f->modulus = llem_real_at(fields->items[k], "modulus", 0);
            f->role = ROLE_NONE;
            for (int role = 0; role < ROLE_COUNT; role++)
                if (strcmp(name, role_names[role]) == 0)
                    f->role = (enum role)role;
            d->has_power = d->has_power || f->role == ROLE_INSTANT || f->role == ROLE_AVERAGE;
        }
    }
}

static int by_begin(const void *a, const void *b, void *user)
{
    const struct series *s = user;
    const struct moment *x = a, *y = b;
    int64_t p = s->begin->i64[x->first], q = s->begin->i64[y->first];

    if (p != q)
        return p < q ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Unwrap the counters, and where a domain has nothing but a counter, take powers of its
 * differences. */
static void follow_counters(struct series *s, struct llem_arena *a)
{
    struct state {
        bool known;
        int64_t raw, at_ns;
        double total_j, at_j;
    } *last = llem_arena_calloc(a, s->n_domains + 1, sizeof(*last));

    for (size_t k = 0; last && k < s->n; k++) {
        struct moment *m = &s->moments[k];
        struct state *l = &last[s->device->u16[m->first]];

        m->energy_j = (double)NAN;
        m->power_w = NAN;
        for (size_t i = m->first; i < m->first + m->n; i++) {
            const struct field_info *f = info_of(s, i);
            int64_t raw = s->raw->i64[i], at = s->begin->i64[i];

            if (!f || f->role != ROLE_COUNTER || s->status->i32[i] != 0 || raw < 0)
                continue;
            if (l->known) {
                double d = (double)raw - (double)l->raw;

                /* A counter that goes back without being able to wrap began anew: it adds nothing.
                 */
                l->total_j += (d >= 0 ? d : f->modulus >= 1 ? d + f->modulus : 0) * f->to_si;
            } else {
                l->at_ns = at;
            }
            l->known = true;
            l->raw = raw;
            m->energy_j = l->total_j;
            if (!s->domains[s->device->u16[m->first]].has_power &&
                at - l->at_ns >= SMOOTH_MS * INT64_C(1000000)) {
                m->power_w = (float)((l->total_j - l->at_j) / ((double)(at - l->at_ns) / 1e9));
                l->at_ns = at;
                l->at_j = l->total_j;
            }
            break;
        }
    }
}

static struct llem_value *metadata_of(const struct llem_recording *r,
                                      const struct llem_value *result, struct llem_arena *a,
                                      const char *units)
{
    struct llem_value *m = llem_map(a);
    const struct llem_value *domains = llem_get(r->json, "domains");
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);

    llem_set(a, m, "experiment_id", llem_string(a, llem_str_at(r->json, "experiment_id", "")));
    llem_set(a, m, "t0_ns",
             llem_stringf(a, "%lld", (long long)llem_int_at(r->json, "window.t_begin_ns", -1)));
    llem_set(a, m, "t1_ns",
             llem_stringf(a, "%lld", (long long)llem_int_at(r->json, "window.t_end_ns", -1)));
    llem_set(a, m, "t0_utc", llem_string(a, llem_str_at(result, "start_time", "")));
    llem_set(a, m, "clock",
             llem_string(a, "CLOCK_MONOTONIC; timestamp_s and *_s of events count from t0"));
    llem_set(a, m, "units", llem_string(a, units));
    if (domains)
        llem_json_dump(&b, domains, LLEM_JSON_COMPACT);
    llem_set(a, m, "domains", llem_string(a, b.data));
    llem_buf_done(&b);
    return m;
}

static llem_errcode write_series(struct llem_buf *out, const struct llem_recording *r,
                                 const struct llem_value *result, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct series s = { .begin = llem_recording_column(r, "samples", "begin_ns"),
                        .end = llem_recording_column(r, "samples", "end_ns"),
                        .device = llem_recording_column(r, "samples", "device"),
                        .field = llem_recording_column(r, "samples", "field"),
                        .raw = llem_recording_column(r, "samples", "raw"),
                        .status = llem_recording_column(r, "samples", "status") };
    llem_errcode rc;

    s.t0_ns = llem__time_at(llem_get(r->json, "window"), "t_begin_ns");
    s.t1_ns = llem__time_at(llem_get(r->json, "window"), "t_end_ns");
    if (s.t0_ns < 0)
        s.t0_ns = s.begin->count ? s.begin->i64[0] : 0;
    read_domains(&s, r, &a);
    s.moments = llem_arena_calloc(&a, s.begin->count + 1, sizeof(*s.moments));
    if (!s.domains || !s.moments) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while writing timeseries.parquet");
        goto done;
    }
    for (size_t k = 0; k < s.begin->count; k++) {
        struct moment *m = s.n ? &s.moments[s.n - 1] : NULL;

        /* The fields of one call stand together and share its times. */
        if (m && s.device->u16[m->first] == s.device->u16[k] &&
            s.begin->i64[m->first] == s.begin->i64[k] && s.end->i64[m->first] == s.end->i64[k])
            m->n++;
        else
            s.moments[s.n++] = (struct moment){ .first = k, .n = 1 };
    }
    qsort_r(s.moments, s.n, sizeof(*s.moments), by_begin, &s);
    follow_counters(&s, &a);
    rc = llem__parquet_write(
        out, series_columns, LLEM_COUNT(series_columns), s.n, series_cell, &s,
        metadata_of(
            r, result, &a,
            "{\"timestamp_s\": \"s since t0\", \"throttle_reasons\": \"bit set of NVML's "
            "clocks-event reasons\", \"energy_j\": \"J since the first read, unwrapped\", "
            "\"memory_used_mb\": \"MiB\", \"memory_total_mb\": \"MiB\", \"cpu_busy_s\": \"s of "
            "busy time of all CPUs\", \"in_window\": \"1 = read between t0 and t1\"}"),
        err);
done:
    llem_arena_done(&a);
    return rc;
}

/* ---- requests.parquet --------------------------------------------------------------------- */

enum request_column {
    R_PASS,
    R_REPEAT,
    R_INDEX,
    R_SUBMIT,
    R_SCHEDULED,
    R_FIRST,
    R_LAST,
    R_INPUT,
    R_CACHED,
    R_OUTPUT,
    R_FINISH,
    R_SHA256,
    R_TTFT,
    R_TPOT,
    R_E2E,
};
static const struct llem__parquet_column request_columns[] = {
    [R_PASS] = { "pass", LLEM__PARQUET_INT32 },
    [R_REPEAT] = { "repeat", LLEM__PARQUET_INT32 },
    [R_INDEX] = { "index", LLEM__PARQUET_INT32 },
    [R_SUBMIT] = { "submit_s", LLEM__PARQUET_DOUBLE },
    [R_SCHEDULED] = { "scheduled_s", LLEM__PARQUET_DOUBLE },
    [R_FIRST] = { "first_token_s", LLEM__PARQUET_DOUBLE },
    [R_LAST] = { "last_token_s", LLEM__PARQUET_DOUBLE },
    [R_INPUT] = { "input_tokens", LLEM__PARQUET_INT32 },
    [R_CACHED] = { "cached_tokens", LLEM__PARQUET_INT32 },
    [R_OUTPUT] = { "output_tokens", LLEM__PARQUET_INT32 },
    [R_FINISH] = { "finish", LLEM__PARQUET_UTF8 },
    [R_SHA256] = { "output_sha256", LLEM__PARQUET_UTF8 },
    [R_TTFT] = { "ttft_ms", LLEM__PARQUET_DOUBLE },
    [R_TPOT] = { "tpot_ms", LLEM__PARQUET_DOUBLE },
    [R_E2E] = { "e2e_ms", LLEM__PARQUET_DOUBLE },
};

struct request_table {
    const struct llem_recording *r;
    int64_t t0_ns;
};

static int64_t request_time(const struct request_table *t, const char *name, size_t row)
{
    return llem_recording_column(t->r, "requests", name)->i64[row];
}

static void time_cell(struct llem__cell *out, const struct request_table *t, const char *name,
                      size_t row)
{
    int64_t at = request_time(t, name, row);

    real_cell(out, at < 0 ? (double)NAN : (double)(at - t->t0_ns) / 1e9);
}

static void span_cell(struct llem__cell *out, const struct request_table *t, const char *from,
                      const char *to, size_t row, double share)
{
    int64_t a = request_time(t, from, row), b = request_time(t, to, row);

    real_cell(out, a < 0 || b < a || !(share > 0) ? (double)NAN : (double)(b - a) / 1e6 / share);
}

static void request_cell(void *user, size_t row, size_t column, struct llem__cell *out)
{
    const struct request_table *t = user;
    const struct llem_column *c;
    const char *name = request_columns[column].name;

    switch ((enum request_column)column) {
    case R_PASS:
    case R_REPEAT:
    case R_INDEX:
    case R_INPUT:
    case R_CACHED:
    case R_OUTPUT:
        c = llem_recording_column(t->r, "requests", name);
        int_cell(out, c->i32[row]);
        out->null = c->i32[row] < 0;
        break;
    case R_FINISH:
    case R_SHA256:
        c = llem_recording_column(t->r, "requests", name);
        out->null = !*c->utf8[row];
        out->s = c->utf8[row];
        break;
    case R_SUBMIT:
        time_cell(out, t, "t_submit_ns", row);
        break;
    case R_SCHEDULED:
        time_cell(out, t, "t_scheduled_ns", row);
        break;
    case R_FIRST:
        time_cell(out, t, "t_first_ns", row);
        break;
    case R_LAST:
        time_cell(out, t, "t_last_ns", row);
        break;
    case R_TTFT:
        span_cell(out, t, "t_submit_ns", "t_first_ns", row, 1);
        break;
    case R_TPOT:
        c = llem_recording_column(t->r, "requests", "output_tokens");
        span_cell(out, t, "t_first_ns", "t_last_ns", row, (double)c->i32[row] - 1);
        break;
    case R_E2E:
        span_cell(out, t, "t_submit_ns", "t_last_ns", row, 1);
        break;
    }
}

static llem_errcode write_requests(struct llem_buf *out, const struct llem_recording *r,
                                   const struct llem_value *result, llem_error *err)
{
    const struct llem_column *pass = llem_recording_column(r, "requests", "pass");
    struct request_table t = { r, llem__time_at(llem_get(r->json, "window"), "t_begin_ns") };
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_errcode rc;

    t.t0_ns = t.t0_ns < 0 ? 0 : t.t0_ns;
    rc = llem__parquet_write(
        out, request_columns, LLEM_COUNT(request_columns), pass->count, request_cell, &t,
        metadata_of(r, result, &a,
                    "{\"submit_s\": \"s since t0\", \"scheduled_s\": \"s since t0\", "
                    "\"first_token_s\": \"s since t0\", \"last_token_s\": \"s since t0\"}"),
        err);
    llem_arena_done(&a);
    return rc;
}

/* ---- config.json, environment.json -------------------------------------------------------- */

static struct llem_value *copy_at(struct llem_arena *a, const struct llem_value *root,
                                  const char *path)
{
    const struct llem_value *v = llem_at(root, path);

    return v ? llem_copy(a, v) : llem_null(a);
}

static llem_errcode add_document(struct llem_batch *batch, const char *name,
                                 const struct llem_value *v, const struct llem_arena *a,
                                 llem_error *err)
{
    return a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory while writing a result")
                  : llem_batch_add_json(batch, name, v, err);
}

static llem_errcode write_config(struct llem_batch *batch, const struct llem_recording *r,
                                 llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *o = llem_map(&a), *hashed = llem_map(&a);
    const struct llem_value *passthrough = llem_at(r->json, "config.passthrough_kwargs");
    struct llem_buf b = LLEM_BUF_INIT(LLEM_RECORDING_MAX_JSON);
    char hex[65];
    llem_errcode rc;

    llem_set(&a, hashed, "engine", copy_at(&a, r->json, "config.engine"));
    llem_set(&a, hashed, "task", copy_at(&a, r->json, "config.task"));
    llem_set(&a, hashed, "observed_engine_params", copy_at(&a, r->json, "engine.engine_params"));
    llem_set(&a, hashed, "observed_sampling_params",
             copy_at(&a, r->json, "engine.sampling_params"));
    llem_set(&a, hashed, "lora", copy_at(&a, r->json, "config.lora"));
    llem_set(&a, hashed, "passthrough",
             llem_is_null(passthrough) ? llem_map(&a) : llem_copy(&a, passthrough));
    llem_json_dump(&b, hashed, LLEM_JSON_CANON);
    llem_sha256_of(b.data, b.len, hex);
    llem_buf_done(&b);

    llem_set(&a, o, "experiment_id", copy_at(&a, r->json, "experiment_id"));
    llem_set(&a, o, "measurement_config_hash", copy_at(&a, r->json, "measurement_config_hash"));
    llem_set(&a, o, "engine", copy_at(&a, r->json, "engine.name"));
    llem_set(&a, o, "library_version", copy_at(&a, r->json, "engine.version"));
    llem_set(&a, o, "observed_engine_params", copy_at(&a, r->json, "engine.engine_params"));
    llem_set(&a, o, "observed_sampling_params", copy_at(&a, r->json, "engine.sampling_params"));
    llem_set(&a, o, "observed_config_hash", llem_string(&a, hex));
    llem_set(&a, o, "resolved_config_hash", copy_at(&a, r->json, "resolved_config_hash"));
    llem_set(&a, o, "effective", copy_at(&a, r->json, "engine.effective"));
    llem_set(&a, o, "config", copy_at(&a, r->json, "config"));
    rc = add_document(batch, "config.json", o, &a, err);
    llem_arena_done(&a);
    return rc;
}

static struct llem_value *mebibytes(struct llem_arena *a, const struct llem_value *root,
                                    const char *path)
{
    return llem_real(a, llem_real_at(root, path, (double)NAN) / 1048576);
}

/* The original's snapshot, which knows one GPU, and beside it ours, which knows them all. */
static llem_errcode write_environment(struct llem_batch *batch, const struct llem_recording *r,
                                      llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *e = llem_get(r->json, "environment"), *gpu = llem_at(e, "gpus.0");
    const struct llem_value *container = llem_at(e, "host.container");
    struct llem_value *o = llem_map(&a), *hw = llem_map(&a), *part;
    llem_errcode rc;

    part = llem_map(&a);
    llem_set(&a, part, "name", copy_at(&a, gpu, "name"));
    llem_set(&a, part, "vram_total_mb", mebibytes(&a, gpu, "vram_bytes"));
    llem_set(&a, part, "compute_capability", copy_at(&a, gpu, "compute_capability"));
    llem_set(&a, part, "pcie_gen", copy_at(&a, gpu, "pcie_gen"));
    llem_set(&a, part, "mig_enabled", copy_at(&a, gpu, "mig"));
    llem_set(&a, hw, "gpu", part);
    part = llem_map(&a);
    llem_set(&a, part, "version", copy_at(&a, e, "cuda.cuda_version"));
    llem_set(&a, part, "driver_version", copy_at(&a, e, "cuda.driver_version"));
    llem_set(&a, part, "cudnn_version", llem_null(&a));
    llem_set(&a, hw, "cuda", part);
    part = llem_map(&a);
    llem_set(&a, part, "temperature_c", copy_at(&a, gpu, "temperature_c"));
    llem_set(&a, part, "power_limit_w", copy_at(&a, gpu, "power_limit_w"));
    llem_set(&a, part, "default_power_limit_w", copy_at(&a, gpu, "default_power_limit_w"));
    llem_set(&a, part, "fan_speed_pct", llem_null(&a));
    llem_set(&a, hw, "thermal", part);
    part = llem_map(&a);
    llem_set(&a, part, "governor", copy_at(&a, e, "cpu.governor"));
    llem_set(&a, part, "model", copy_at(&a, e, "cpu.model"));
    llem_set(&a, part, "platform", copy_at(&a, e, "host.kernel"));
    llem_set(&a, hw, "cpu", part);
    part = llem_map(&a);
    llem_set(&a, part, "detected", llem_bool(&a, !llem_is_null(container)));
    llem_set(&a, part, "runtime", copy_at(&a, e, "host.container"));
    llem_set(&a, hw, "container", part);
    llem_set(&a, hw, "collected_at", copy_at(&a, e, "collected_utc"));

    llem_set(&a, o, "experiment_id", copy_at(&a, r->json, "experiment_id"));
    llem_set(&a, o, "measurement_config_hash", copy_at(&a, r->json, "measurement_config_hash"));
    llem_set(&a, o, "hardware", hw);
    llem_set(&a, o, "python_version", copy_at(&a, e, "python.version"));
    llem_set(&a, o, "tool_version", copy_at(&a, r->json, "producer.version"));
    llem_set(&a, o, "cuda_version", copy_at(&a, e, "cuda.cuda_version"));
    llem_set(&a, o, "cuda_version_source",
             llem_string(&a, llem_is_null(llem_at(e, "cuda.cuda_version")) ? NULL : "driver"));
    llem_set(&a, o, "environment", copy_at(&a, r->json, "environment"));
    rc = add_document(batch, "environment.json", o, &a, err);
    llem_arena_done(&a);
    return rc;
}

/* ---- all files ---------------------------------------------------------------------------- */

llem_errcode llem_result_write(const struct llem_recording *r, const struct llem_value *result,
                               const char *dir, llem_error *err)
{
    struct llem_batch batch = { .dir = dir };
    struct llem_buf b = LLEM_BUF_INIT(SIZE_MAX / 2);
    llem_errcode rc = LLEM_OK;

    if (llem_str_at(result, "timeseries", NULL)) {
        rc = write_series(&b, r, result, err);
        if (rc == LLEM_OK)
            rc = llem_batch_add(&batch, "timeseries.parquet", b.data, b.len, err);
    }
    if (rc == LLEM_OK && llem_recording_column(r, "requests", "pass")) {
        llem_buf_clear(&b);
        rc = write_requests(&b, r, result, err);
        if (rc == LLEM_OK)
            rc = llem_batch_add(&batch, "requests.parquet", b.data, b.len, err);
    }
    if (rc == LLEM_OK)
        rc = write_config(&batch, r, err);
    if (rc == LLEM_OK)
        rc = write_environment(&batch, r, err);
    if (rc == LLEM_OK)
        rc = llem_batch_add_json(&batch, "result.json", result, err);
    if (rc == LLEM_OK)
        rc = llem_batch_commit(&batch, err); /* result.json last: who sees it sees all */
    llem_batch_done(&batch);
    llem_buf_done(&b);
    return rc;
}
