/* SPDX-License-Identifier: MIT
 *
 * Power of the idle machine, before anything of ours is on a device: measured, or taken over from
 * an earlier run of the same study, which kept it in a file for runs that are alike in everything
 * that idle power depends on. What is taken over goes into the recording with its uncertainty; what
 * it may have moved by since is lib/result's to add.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/measure/harness.h"
#include "lib/result/energy.h"

enum { KEPT_VERSION = 1, KEPT_MAX = 1 << 20 };

/* By what the result may take the energy of a domain, so by what its idle must be known. */
static const struct {
    enum llem_role role;
    const char *name;
} roles[] = {
    { LLEM_ROLE_COUNTER, "counter" },
    { LLEM_ROLE_POWER_AVERAGE, "power_average" },
    { LLEM_ROLE_POWER_INSTANT, "power_instant" },
};

static bool is_read(const struct llem_sensor *s, size_t k)
{
    return !(s->left_out && s->left_out[k]) && !s->domains[k].estimated;
}

/* ---- powers of a span --------------------------------------------------------------------- */

/* Reads of a field of a domain, from the samples so far. */
static void reads_of(struct llem_harness *h, struct llem_arena *a, size_t domain,
                     const struct llem_sensor_field *f, int64_t begin_ns, struct llem__reads *out)
{
    size_t count, first = 0, n = 0;
    const struct llem_sample *rows = llem_watch_so_far(h->watch, &count);
    int64_t *begin, *end, *raw;
    int32_t *status;

    *out = (struct llem__reads){
        .to_si = f->to_si,
        .period_s = f->period_s,
        .averaging_s = f->averaging_s,
        .modulus = f->modulus <= INT64_MAX ? f->modulus : 0,
    };
    for (first = count; first > 0 && rows[first - 1].begin_ns >= begin_ns - LLEM_NS_PER_S;)
        first--;
    for (size_t i = first; i < count; i++)
        n += rows[i].device == domain && rows[i].field == f->id;
    begin = llem_arena_calloc(a, n + 1, sizeof(*begin));
    end = llem_arena_calloc(a, n + 1, sizeof(*end));
    raw = llem_arena_calloc(a, n + 1, sizeof(*raw));
    status = llem_arena_calloc(a, n + 1, sizeof(*status));
    if (!begin || !end || !raw || !status)
        return;
    for (size_t i = first; i < count; i++) {
        if (rows[i].device != domain || rows[i].field != f->id)
            continue;
        begin[out->n] = rows[i].begin_ns;
        end[out->n] = rows[i].end_ns;
        raw[out->n] = rows[i].raw;
        status[out->n++] = rows[i].status;
    }
    out->begin_ns = begin;
    out->end_ns = end;
    out->raw = raw;
    out->status = status;
}

static bool field_power(struct llem_harness *h, size_t domain, const struct llem_sensor_field *f,
                        int64_t begin_ns, int64_t end_ns, double *w, double *u_w)
{
    const struct llem__window window = { end_ns, end_ns, begin_ns, end_ns };
    const struct llem__device device = { 0 };
    double from_s = (double)(begin_ns - end_ns) * 1e-9, variance = 0;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem__reads reads;
    bool known = false;

    reads_of(h, &a, domain, f, begin_ns, &reads);
    if (f->role == LLEM_ROLE_COUNTER) {
        struct llem__counter c;

        llem__counter_init(&c, &a, &reads, &window, &device);
        known = !a.oom && !c.broken && llem__counter_span(&c, &a, from_s, 0, w, &variance);
    } else {
        struct llem__power p;

        llem__power_init(&p, &a, &reads, &window, &device);
        known = !a.oom && llem__power_span(&p, f->role == LLEM_ROLE_POWER_AVERAGE, &a, from_s, 0, w,
                                           &variance);
    }
    llem_arena_done(&a);
    *u_w = sqrt(variance);
    return known && *w >= 0;
}

/* [{id, sampler, counter: {power_w, u_w}, ...}]; NULL where a domain that is read has none. */
static struct llem_value *powers_of(struct llem_harness *h, int64_t begin_ns, int64_t end_ns)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        for (size_t k = 0; k < s->n_domains; k++) {
            const struct llem_domain *d = &s->domains[k];
            struct llem_value *v = llem_map(a);
            bool any = false;

            if (!is_read(s, k))
                continue;
            llem_set(a, v, "id", llem_string(a, d->id));
            llem_set(a, v, "sampler", llem_string(a, s->class->name));
            for (size_t r = 0; r < LLEM_COUNT(roles); r++) {
                const struct llem_sensor_field *f = llem_domain_field(d, roles[r].role);
                struct llem_value *p = llem_map(a);
                double w, u_w;

                if (!f || !field_power(h, s->first + k, f, begin_ns, end_ns, &w, &u_w))
                    continue;
                llem_set(a, p, "power_w", llem_real(a, w));
                llem_set(a, p, "u_w", llem_real(a, u_w));
                llem_set(a, v, roles[r].name, p);
                any = true;
            }
            if (!any)
                return NULL;
            llem_append(a, list, v);
        }
    }
    return list->count ? list : NULL;
}

/* ---- what is kept ------------------------------------------------------------------------- */

static struct llem_value *line_of(struct llem_arena *a, const char *dir, const char *name)
{
    char text[128], hex[65];

    if (llem_sysfs_read(text, sizeof(text), dir, name) != 0)
        return llem_null(a);
    llem_sha256_of(text, strlen(text), hex);
    return llem_stringn(a, hex, 16);
}

static const char *runner_of(const struct llem_harness *h)
{
    const struct llem_value *v =
        llem_get(llem_get(h->experiment, "runners"), llem_str_at(h->config, "engine", ""));

    return v && v->kind == LLEM_STRING ? v->s : "local";
}

/* Everything that idle power depends on: what samplers say of their devices has the driver, the
 * power limits, persistence and MIG in it. NULL: it cannot be kept. */
static struct llem_value *key_of(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *key = llem_map(a), *sensors = llem_map(a);

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];
        struct llem_value *v = llem_map(a), *ids = llem_list(a);

        for (size_t k = 0; k < s->n_domains; k++) {
            if (!is_read(s, k))
                continue;
            if (!s->domains[k].n_fields)
                return NULL; /* a window of its own begins and ends with this run */
            llem_append(a, ids, llem_string(a, s->domains[k].id));
        }
        if (!ids->count)
            continue;
        llem_set(a, v, "domains", ids);
        llem_set(a, v, "describe", s->describe ? s->describe : llem_null(a));
        llem_set(a, sensors, s->class->name, v);
    }
    llem_set(a, key, "machine", line_of(a, "/etc", "machine-id"));
    llem_set(a, key, "boot", line_of(a, "/proc/sys/kernel/random", "boot_id"));
    llem_set(a, key, "runner", llem_string(a, runner_of(h)));
    llem_set(a, key, "quick", llem_bool(a, h->quick));
    llem_set(a, key, "duration_s",
             llem_real(a, llem_real_at(h->config, "measurement.baseline.duration_seconds", 30)));
    llem_set(a, key, "sensors", sensors);
    return sensors->count ? key : NULL;
}

struct kept {
    const char *strategy;
    const struct llem_value *key;
    char *dir, *path;
    struct llem_value *v; /* the file, if it can be used */
};

/* Where it is kept. A run that is alone in its study has nowhere to. */
static bool find_place(struct llem_harness *h, struct kept *k)
{
    struct llem_arena *a = &h->arena;
    const char *dir = llem_str_at(h->experiment, "baselines", NULL);
    struct llem_buf text = LLEM_BUF_INIT(KEPT_MAX);
    char hex[65];

    k->strategy = llem_str_at(h->config, "measurement.baseline.strategy", "validated");
    if (!dir || strcmp(k->strategy, "fresh") == 0 || !(k->key = key_of(h)))
        return false;
    llem_json_dump(&text, k->key, LLEM_JSON_CANON);
    llem_sha256_of(text.data, text.len, hex);
    k->dir = llem_path_join(a, h->m->dir, dir);
    k->path = text.failed || !k->dir ? NULL : llem_arena_printf(a, "%s/%.16s.json", k->dir, hex);
    llem_buf_done(&text);
    return k->path && !a->oom;
}

static bool is_power(const struct llem_value *v)
{
    double w = llem_real_at(v, "power_w", -1), u = llem_real_at(v, "u_w", -1);

    return w >= 0 && w <= 1e6 && u >= 0 && u <= 1e6;
}

/* Does the file say of each domain what its key promises? */
static bool has_powers(const struct llem_value *v)
{
    const struct llem_value *list = llem_get(v, "domains");

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++) {
        size_t n = 0;

        for (size_t r = 0; r < LLEM_COUNT(roles); r++) {
            const struct llem_value *p = llem_get(list->items[i], roles[r].name);

            if (p && !is_power(p))
                return false;
            n += p != NULL;
        }
        if (!n || !llem_str_at(list->items[i], "id", NULL) ||
            !llem_str_at(list->items[i], "sampler", NULL))
            return false;
    }
    return list && list->kind == LLEM_LIST && list->count > 0;
}

/* Since it was measured, by the clock that nobody sets and by the one that runs while the machine
 * sleeps, whichever is longer. */
static double age_of(const struct llem_harness *h, const struct llem_value *v)
{
    int64_t age = llem_now_ns(h->clock) - llem_int_at(v, "end_ns", 0);
    int64_t by_wall = h->clock->wall_ns(h->clock->self) - llem_int_at(v, "wall_ns", 0);

    return (double)(age > by_wall ? age : by_wall) * 1e-9;
}

/* Read what is kept; a file that is no such thing is a warning, and no reason to stop. */
static void load(struct llem_harness *h, struct kept *k)
{
    struct llem_value *v = NULL;
    llem_error why = { 0 };
    const char *wrong = NULL;
    int64_t begin, end;

    if (!llem_path_exists(k->path)) {
        llem_harness_note(h, "none kept for these devices");
        return;
    }
    if (llem_json_load(&h->arena, &v, k->path, KEPT_MAX, &why) != LLEM_OK) {
        llem_harness_warn(h, "baseline_cache", "%s", why.msg);
        return;
    }
    begin = llem_int_at(v, "begin_ns", -1);
    end = llem_int_at(v, "end_ns", -1);
    if (llem_int_at(v, "version", 0) != KEPT_VERSION)
        wrong = "of another version";
    else if (!llem_get(v, "key") || !llem_equal(llem_get(v, "key"), k->key))
        wrong = "of other devices";
    else if (begin < 0 || end <= begin || end > llem_now_ns(h->clock) ||
             llem_int_at(v, "wall_ns", -1) < 0 || llem_int_at(v, "uses", -1) < 0 || !has_powers(v))
        wrong = "damaged";
    if (wrong)
        llem_harness_warn(h, "baseline_cache", "'%s' is %s", k->path, wrong);
    else if (age_of(h, v) > llem_real_at(h->config, "measurement.baseline.cache_ttl_seconds", 7200))
        llem_harness_note(h, "the one kept is %.0f s old", age_of(h, v));
    else
        k->v = v;
}

static void save(struct llem_harness *h, const struct kept *k, const struct llem_value *v)
{
    llem_error why = { 0 };
    llem_errcode rc = llem_mkdirs(k->dir, &why);

    if (rc == LLEM_OK && !h->arena.oom)
        rc = llem_json_save(k->path, v, &why);
    if (rc != LLEM_OK)
        llem_harness_warn(h, "baseline_cache", "the idle power is not kept for later runs: %s",
                          why.msg);
}

/* ---- measuring ---------------------------------------------------------------------------- */

static llem_errcode wait_for(struct llem_harness *h, double seconds, const char *doing,
                             int64_t *begin_ns, int64_t *end_ns, llem_error *err)
{
    int64_t begin, now, end;
    llem_errcode rc = LLEM_OK;

    llem_watch_pace(h->watch, LLEM_PACE_STEADY);
    begin = now = llem_now_ns(h->clock);
    end = begin + (int64_t)(seconds * 1e9);
    while (rc == LLEM_OK && now < end) {
        rc =
            llem_harness_sleep_until(h, end - now > LLEM_NS_PER_S ? now + LLEM_NS_PER_S : end, err);
        now = llem_now_ns(h->clock);
        llem_harness_tell(h, LLEM_EVENT_STEP_UPDATE, doing, "", (double)(now - begin) * 1e-9,
                          fmin((double)(now - begin) * 1e-9 / seconds, 1));
    }
    llem_watch_pace(h->watch, LLEM_PACE_LOAD);
    *begin_ns = begin;
    *end_ns = now;
    return rc;
}

static double shortened(const struct llem_harness *h, double seconds)
{
    return h->quick && seconds > LLEM_QUICK_BASELINE_S ? LLEM_QUICK_BASELINE_S : seconds;
}

/* In full, whatever is kept; kept for others where that has a place (k not NULL). */
static llem_errcode measure(struct llem_harness *h, const struct kept *k, llem_error *err)
{
    double seconds =
        shortened(h, llem_real_at(h->config, "measurement.baseline.duration_seconds", 30));
    struct llem_arena *a = &h->arena;
    struct llem_value *v, *powers;
    int64_t begin, end;
    llem_errcode rc;
    char why[sizeof(h->note)], utc[40];

    llem_sensors_window_begin(h);
    rc = wait_for(h, seconds, "", &begin, &end, err);
    llem_set(a, h->baseline, "sampler_windows", llem_sensors_window_end(h));
    if (rc != LLEM_OK)
        return rc;
    llem_set(a, h->baseline, "bare", llem_span(h, begin, end));
    llem_set(a, h->baseline, "reason", llem_null(a));
    snprintf(why, sizeof(why), "%s", h->note);
    llem_harness_note(h, "%.1f s%s%s", (double)(end - begin) * 1e-9, *why ? ": " : "", why);
    if (!k)
        return LLEM_OK;
    powers = powers_of(h, begin, end);
    if (!powers) {
        llem_log(h->ctx, LLEM_LOG_INFO, "measure",
                 "the idle power is not kept: a sensor gave too few readings of it");
        return LLEM_OK;
    }
    llem_format_utc(utc, h->clock->wall_ns(h->clock->self));
    v = llem_map(a);
    llem_set(a, v, "version", llem_int(a, KEPT_VERSION));
    llem_set(a, v, "run", llem_string(a, llem_path_basename(h->m->dir)));
    llem_set(a, v, "measured_utc", llem_string(a, utc));
    llem_set(a, v, "begin_ns", llem_int(a, begin));
    llem_set(a, v, "end_ns", llem_int(a, end));
    llem_set(a, v, "wall_ns", llem_int(a, h->clock->wall_ns(h->clock->self)));
    llem_set(a, v, "uses", llem_int(a, 0));
    llem_set(a, v, "domains", powers);
    llem_set(a, v, "key", llem_copy(a, k->key));
    save(h, k, v);
    return LLEM_OK;
}

static const struct llem_value *domain_in(const struct llem_value *list,
                                          const struct llem_value *like)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(llem_str_at(list->items[i], "id", ""), llem_str_at(like, "id", "?")) == 0 &&
            strcmp(llem_str_at(list->items[i], "sampler", ""), llem_str_at(like, "sampler", "?")) ==
                0)
            return list->items[i];
    return NULL;
}

/* Only what can be charged decides: other counters of an idle package are a few mW of noise. */
static bool can_be_charged(const char *id)
{
    static const char *const kinds[] = { "gpu", "package", "dram", "cpu", "ram" };
    size_t len = strcspn(id, ":");

    for (size_t i = 0; i < LLEM_COUNT(kinds); i++)
        if (strlen(kinds[i]) == len && strncmp(id, kinds[i], len) == 0)
            return true;
    return false;
}

/* The first domain whose idle moved too far, by the best of its readings; false if none did. */
static bool has_drifted(const struct llem_value *kept, const struct llem_value *spot,
                        double threshold, char *text, size_t size)
{
    for (size_t i = 0; i < kept->count; i++) {
        const char *id = llem_str_at(kept->items[i], "id", "");
        const struct llem_value *now = domain_in(spot, kept->items[i]);

        for (size_t r = 0; can_be_charged(id) && r < LLEM_COUNT(roles); r++) {
            const struct llem_value *was = llem_get(kept->items[i], roles[r].name);
            const struct llem_value *is = llem_get(now, roles[r].name);
            double a = llem_real_at(was, "power_w", 0), b = llem_real_at(is, "power_w", 0);

            if (!was || !is)
                continue;
            if (fabs(b - a) > threshold * a) {
                snprintf(text, size, "Idle power of %s is %.1f W, and was %.1f W", id, b, a);
                return true;
            }
            break;
        }
    }
    return false;
}

/* Look for five seconds whether what is kept still holds. *drifted: it does not. */
static llem_errcode check(struct llem_harness *h, const struct kept *k, double threshold,
                          bool *drifted, llem_error *err)
{
    const struct llem_value *spot;
    int64_t begin, end;
    char text[200];
    llem_errcode rc =
        wait_for(h, shortened(h, LLEM_SPOT_S), "checking the idle power", &begin, &end, err);

    *drifted = false;
    if (rc != LLEM_OK)
        return rc;
    llem_set(&h->arena, h->baseline, "spot", llem_span(h, begin, end));
    spot = powers_of(h, begin, end);
    if (!spot)
        llem_harness_warn(h, "baseline_cache",
                          "the idle power could not be checked: too few readings");
    else if (has_drifted(llem_get(k->v, "domains"), spot, threshold, text, sizeof(text))) {
        llem_harness_warn(h, "baseline_drift", "%s %.0f s ago: it is measured anew.", text,
                          age_of(h, k->v));
        *drifted = true;
    }
    return LLEM_OK;
}

/* Into the recording: numbers, so that the result needs nothing else. */
static void reuse(struct llem_harness *h, const struct kept *k, double threshold)
{
    static const char *const copied[] = { "run",    "measured_utc", "begin_ns",
                                          "end_ns", "uses",         "domains" };
    struct llem_arena *a = &h->arena;
    struct llem_value *v = llem_map(a);

    for (size_t i = 0; i < LLEM_COUNT(copied); i++)
        llem_set(a, v, copied[i], llem_copy(a, llem_get(k->v, copied[i])));
    llem_set(a, v, "age_s", llem_real(a, age_of(h, k->v)));
    llem_set(a, v, "drift_threshold", llem_real(a, threshold));
    llem_set(a, h->baseline, "reused", v);
    llem_set(a, h->baseline, "reason", llem_null(a));
    llem_set(a, h->baseline, "method", llem_string(a, k->strategy));
    llem_harness_note(h, "measured %.0f s ago by %.120s%s", age_of(h, k->v),
                      llem_str_at(v, "run", "an earlier run"),
                      llem_is_null(llem_get(h->baseline, "spot")) ? "" : ", and checked");
}

const char *llem_baseline_skip(const struct llem_harness *h)
{
    bool wanted = llem_bool_at(h->config, "measurement.baseline.enabled", !h->work);

    if (!wanted || !h->sensors_wanted)
        return "not_requested";
    return llem_sensors_measure(h) ? NULL : "no_sensor";
}

llem_errcode llem_baseline_run(struct llem_harness *h, llem_error *err)
{
    double threshold = llem_real_at(h->config, "measurement.baseline.drift_threshold", 0.1);
    struct kept k = { 0 };
    bool drifted = false;
    llem_errcode rc;
    int64_t uses;

    if (!find_place(h, &k))
        return measure(h, NULL, err);
    load(h, &k);
    if (!k.v)
        return measure(h, &k, err);
    uses = llem_int_at(k.v, "uses", 0) + 1;
    if (strcmp(k.strategy, "validated") == 0 &&
        uses >= llem_int_at(h->config, "measurement.baseline.validation_interval", 5)) {
        rc = check(h, &k, threshold, &drifted, err);
        if (rc != LLEM_OK)
            return rc;
        if (drifted)
            return measure(h, &k, err);
        uses = 0;
    }
    llem_set(&h->arena, k.v, "uses", llem_int(&h->arena, uses));
    save(h, &k, k.v);
    reuse(h, &k, threshold);
    return LLEM_OK;
}
