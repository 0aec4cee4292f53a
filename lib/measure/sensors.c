/* SPDX-License-Identifier: MIT
 *
 * Which sensors there are, which are read, and which one is charged. The harness knows samplers
 * only by their table: what a domain is follows from its kind and UUID.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/process.h"
#include "lib/measure/harness.h"

static const struct llem_sampler_class *const *sampler_table(const struct llem_harness *h)
{
    return h->m->samplers ? h->m->samplers : llem_samplers;
}

static const char *wanted_name(const struct llem_harness *h)
{
    return llem_str_at(h->config, "measurement.energy_sampler", "auto");
}

static bool is_measured(const struct llem_sensor *s)
{
    return strcmp(s->class->quality, "measured") == 0;
}

/* ---- probing ------------------------------------------------------------------------------ */

/* An explicit sampler that cannot be used is an error at once, not after the model was loaded. */
static llem_errcode check_wanted(const struct llem_harness *h, llem_error *err)
{
    const char *wanted = wanted_name(h);

    if (!h->sensors_wanted || strcmp(wanted, "auto") == 0)
        return LLEM_OK;
    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        if (strcmp(s->class->name, wanted) != 0)
            continue;
        if (s->probe.usable)
            return LLEM_OK;
        llem_fail(err, LLEM_ENOTSUP, "measurement.energy_sampler is '%s', which cannot be used: %s",
                  wanted, s->probe.text);
        return s->probe.remedy[0]
                   ? llem_hint(err, LLEM_ENOTSUP, "%s", s->probe.remedy)
                   : llem_hint(err, LLEM_ENOTSUP, "`llem config` shows the sensors there are");
    }
    llem_fail(err, LLEM_ENOTSUP,
              "measurement.energy_sampler is '%s', but this llem has no such sampler", wanted);
    return llem_hint(err, LLEM_ENOTSUP,
                     "`llem config` shows the sensors there are; 'auto' takes the best");
}

llem_errcode llem_sensors_probe(struct llem_harness *h, llem_error *err)
{
    const struct llem_sampler_class *const *table = sampler_table(h);
    const struct llem_value *wanted = llem_at(h->config, "measurement.energy_sampler");
    size_t n = 0;

    while (table[n])
        n++;
    h->sensors = llem_arena_calloc(&h->arena, n + 1, sizeof(*h->sensors));
    if (!h->sensors)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu sensors", n);
    h->n_sensors = n;
    h->sensors_wanted = !wanted || wanted->kind != LLEM_NULL;
    for (size_t i = 0; i < n; i++) {
        struct llem_sensor *s = &h->sensors[i];

        s->class = table[i];
        s->class->probe(h->ctx, &s->probe);
        snprintf(s->reason, sizeof(s->reason), "%s", s->probe.reason);
        snprintf(s->text, sizeof(s->text), "%s", s->probe.text);
    }
    return check_wanted(h, err);
}

/* ---- opening ------------------------------------------------------------------------------ */

/* Everything about the domains, while the samplers that own them are open. */
static void describe_domains(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;

    h->domains = llem_list(a);
    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];

        for (size_t k = 0; k < s->n_domains; k++) {
            const struct llem_domain *d = &s->domains[k];
            struct llem_value *v = llem_map(a), *fields = llem_list(a);

            llem_set(a, v, "id", llem_string(a, d->id));
            llem_set(a, v, "kind", llem_string(a, d->kind));
            llem_set(a, v, "label", llem_string(a, d->label));
            llem_set(a, v, "uuid", llem_string(a, d->uuid));
            llem_set(a, v, "pci", llem_string(a, d->pci));
            llem_set(a, v, "index", llem_int(a, d->index));
            llem_set(a, v, "sampler", llem_string(a, s->class->name));
            llem_set(a, v, "quality", llem_string(a, d->estimated ? "estimated" : "measured"));
            llem_set(a, v, "left_out", llem_bool(a, s->left_out && s->left_out[k]));
            for (size_t f = 0; f < d->n_fields; f++) {
                const struct llem_sensor_field *field = &d->fields[f];
                struct llem_value *fv = llem_map(a);

                llem_set(a, fv, "id", llem_int(a, field->id));
                llem_set(a, fv, "role",
                         llem_string(a, llem_role_name((enum llem_role)field->role)));
                llem_set(a, fv, "name", llem_string(a, field->name));
                llem_set(a, fv, "unit", llem_string(a, field->unit));
                llem_set(a, fv, "to_si", llem_real(a, field->to_si));
                llem_set(a, fv, "period_s", llem_real(a, field->period_s));
                llem_set(a, fv, "averaging_s", llem_real(a, field->averaging_s));
                llem_set(a, fv, "modulus",
                         llem_int(a, field->modulus <= INT64_MAX ? (int64_t)field->modulus : 0));
                llem_set(a, fv, "slow", llem_bool(a, field->slow));
                llem_append(a, fields, fv);
            }
            llem_set(a, v, "fields", fields);
            llem_append(a, h->domains, v);
        }
    }
}

/* Starting another program costs seconds and takes part in what is measured, so `auto` does it only
 * where nothing as good is open. */
static bool is_needed(struct llem_harness *h, struct llem_sensor *s)
{
    for (const struct llem_sensor *o = h->sensors; s->probe.in_worker && o < s; o++) {
        if (!o->opened || (is_measured(s) && !is_measured(o)))
            continue;
        snprintf(s->reason, sizeof(s->reason), "%s", "not_needed");
        snprintf(s->text, sizeof(s->text),
                 "'%s' is open, and this one would start a worker: name it with "
                 "measurement.energy_sampler to use it.",
                 o->class->name);
        return false;
    }
    return true;
}

/* The open sampler before s that reads the same thing, or NULL. */
static const struct llem_sensor *reader_of(const struct llem_harness *h,
                                           const struct llem_sensor *s, const struct llem_domain *d)
{
    for (const struct llem_sensor *o = h->sensors; o < s; o++)
        for (size_t k = 0; o->opened && k < o->n_domains; k++)
            if (strcmp(o->domains[k].id, d->id) == 0 ||
                (strcmp(d->kind, "gpu") == 0 && llem_same_pci(o->domains[k].pci, d->pci)))
                return o;
    return NULL;
}

/* Reading costs, so what better samplers read of a kind, all of it, is not read again. A sampler of
 * which nothing is left is closed. */
static llem_errcode leave_out_known(struct llem_harness *h, struct llem_sensor *s, llem_error *err)
{
    const struct llem_sensor *reader = NULL;
    size_t left = 0;

    s->left_out = llem_arena_calloc(&h->arena, s->n_domains + 1, sizeof(*s->left_out));
    if (!s->left_out)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu domains", s->n_domains);
    for (size_t i = 0; i < s->n_domains; i++) {
        s->left_out[i] = true;
        for (size_t k = 0; k < s->n_domains && s->left_out[i]; k++) {
            const struct llem_domain *d = &s->domains[k];

            if (strcmp(d->kind, s->domains[i].kind) != 0)
                continue;
            reader = reader_of(h, s, d);
            s->left_out[i] = reader != NULL;
        }
        left += !s->left_out[i];
    }
    if (left || !reader)
        return LLEM_OK;
    snprintf(s->reason, sizeof(s->reason), "%s", "not_needed");
    snprintf(s->text, sizeof(s->text), "'%s' reads the same, and more directly.",
             reader->class->name);
    h->n_domains = s->first;
    s->class->close(s->self);
    s->self = NULL;
    s->opened = false;
    s->domains = NULL;
    s->n_domains = 0;
    return LLEM_OK;
}

static llem_errcode open_one(struct llem_harness *h, struct llem_sensor *s, bool explicit_name,
                             llem_error *err)
{
    llem_error why = { 0 };
    llem_errcode rc = s->class->open(&s->self, h->ctx, &why);

    if (rc == LLEM_OK) {
        s->opened = true;
        s->first = h->n_domains;
        s->domains = s->class->domains(s->self, &s->n_domains);
        h->n_domains += s->n_domains;
        s->describe = s->class->describe(s->self, &h->arena);
        s->reason[0] = '\0';
        return explicit_name ? LLEM_OK : leave_out_known(h, s, err);
    }
    s->self = NULL;
    if (explicit_name) {
        llem_fail(err, rc, "sampler '%s' cannot be opened: %s", s->class->name, why.msg);
        return why.hint[0] ? llem_hint(err, rc, "%s", why.hint) : rc;
    }
    snprintf(s->reason, sizeof(s->reason), "%s", "not_supported");
    snprintf(s->text, sizeof(s->text), "%.255s", why.msg);
    llem_log(h->ctx, LLEM_LOG_WARNING, "measure", "sampler '%s' cannot be opened: %s",
             s->class->name, why.msg);
    return LLEM_OK;
}

/* Is there anything that the sampler thread can read? */
static bool has_fields(const struct llem_sensor *s)
{
    for (size_t k = 0; k < s->n_domains; k++)
        if (s->domains[k].n_fields)
            return true;
    return false;
}

llem_errcode llem_sensors_open(struct llem_harness *h, llem_error *err)
{
    const char *wanted = wanted_name(h);
    bool automatic = strcmp(wanted, "auto") == 0;
    struct llem_watched *watched;
    struct llem_watch_opts opts = {
        .clock = h->clock,
        .seconds = LLEM_WATCH_S,
        .event = h->m->event,
        .event_user = h->m->event_user,
    };
    llem_errcode rc = LLEM_OK;
    size_t n = 0;

    for (size_t i = 0; i < h->n_sensors && rc == LLEM_OK; i++) {
        struct llem_sensor *s = &h->sensors[i];

        if (!h->sensors_wanted || (!automatic && strcmp(s->class->name, wanted) != 0))
            snprintf(s->reason, sizeof(s->reason), "%s", "not_requested");
        else if (s->probe.usable && (!automatic || is_needed(h, s)))
            rc = open_one(h, s, !automatic, err);
    }
    if (rc != LLEM_OK)
        return rc;
    describe_domains(h);
    watched = llem_arena_calloc(&h->arena, h->n_sensors + 1, sizeof(*watched));
    h->charged_domains =
        llem_arena_calloc(&h->arena, h->n_domains + 1, sizeof(*h->charged_domains));
    if (!watched || !h->charged_domains)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu domains", h->n_domains);
    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        if (has_fields(s))
            watched[n++] =
                (struct llem_watched){ s->class, s->self, s->first, s->n_domains, s->left_out };
    }
    if (n == 0)
        return LLEM_OK;
    opts.sensors = watched;
    opts.n_sensors = n;
    return llem_watch_start(&h->watch, &opts, err);
}

bool llem_sensors_measure(const struct llem_harness *h)
{
    for (size_t i = 0; i < h->n_sensors; i++)
        for (size_t k = 0; k < h->sensors[i].n_domains; k++)
            if (!h->sensors[i].domains[k].estimated)
                return true;
    return false;
}

void llem_sensors_close(struct llem_harness *h)
{
    llem_watch_stop(h->watch);
    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];

        if (s->self)
            s->class->close(s->self);
        s->self = NULL;
        s->domains = NULL;
        s->n_domains = 0;
    }
}

const struct llem_domain *llem_sensors_domain(const struct llem_harness *h, size_t index)
{
    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        if (index >= s->first && index - s->first < s->n_domains)
            return &s->domains[index - s->first];
    }
    return NULL;
}

/* Whose are the processes on a device? Only now, while they live, can it be told. */
static void tell_owners(struct llem_harness *h, struct llem_value *state)
{
    const struct llem_value *list = llem_get(state, "processes");
    const char *mark = llem_str_at(h->experiment, "run_mark", NULL);

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++) {
        int64_t pid = llem_int_at(list->items[i], "pid", 0);
        int own = pid > 0 && pid <= INT32_MAX ? llem_process_belongs((pid_t)pid, mark) : -1;

        llem_set(&h->arena, list->items[i], "own",
                 own < 0 ? llem_null(&h->arena) : llem_bool(&h->arena, own > 0));
    }
}

struct llem_value *llem_sensors_snapshot(struct llem_harness *h)
{
    struct llem_value *all = llem_map(&h->arena);

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];
        const struct llem_value *v;

        if (!s->self)
            continue;
        v = s->class->snapshot(s->self, &h->arena);
        for (size_t k = 0; v && v->kind == LLEM_MAP && k < v->count; k++) {
            tell_owners(h, v->items[k]);
            llem_set(&h->arena, all, v->keys[k], v->items[k]);
        }
    }
    return all;
}

/* ---- selecting ---------------------------------------------------------------------------- */

/* The devices that the work ran on: what the engine says, or what `llem measure` was told. */
static bool works_on_gpus(const struct llem_harness *h)
{
    const struct llem_value *gpus;

    if (h->work) {
        gpus = llem_at(h->experiment, "measure.gpus");
        return gpus && gpus->kind == LLEM_LIST && gpus->count > 0;
    }
    for (size_t i = 0; h->devices && i < h->devices->count; i++)
        if (strcmp(llem_str_at(h->devices->items[i], "kind", ""), "gpu") == 0)
            return true;
    return false;
}

/* Is this the GPU that `device` (an index, a UUID or "all" of --gpus, else what the engine says)
 * means? */
static bool names_gpu(const struct llem_domain *d, const struct llem_value *device)
{
    const char *uuid, *pci;
    int64_t index;

    if (device->kind == LLEM_INT)
        return device->i == d->index;
    if (device->kind == LLEM_STRING)
        return strcasecmp(device->s, "all") == 0 ||
               (llem_parse_i64(device->s, &index) && index == d->index) ||
               strcasecmp(device->s, d->uuid) == 0;
    uuid = llem_str_at(device, "uuid", "");
    pci = llem_str_at(device, "pci", "");
    return (uuid[0] && strcasecmp(uuid, d->uuid) == 0) || llem_same_pci(pci, d->pci);
}

static const struct llem_value *gpu_list(const struct llem_harness *h)
{
    return h->work ? llem_at(h->experiment, "measure.gpus") : h->devices;
}

static bool is_gpu_entry(const struct llem_harness *h, const struct llem_value *device)
{
    return h->work || strcmp(llem_str_at(device, "kind", ""), "gpu") == 0;
}

bool llem_sensors_concerns(const struct llem_harness *h, const struct llem_domain *d)
{
    const struct llem_value *gpus = gpu_list(h);

    if (!works_on_gpus(h))
        return strcmp(d->kind, "package") == 0 || strcmp(d->kind, "dram") == 0 ||
               strcmp(d->kind, "cpu") == 0 || strcmp(d->kind, "ram") == 0;
    if (strcmp(d->kind, "gpu") != 0)
        return false;
    for (size_t i = 0; i < gpus->count; i++)
        if (is_gpu_entry(h, gpus->items[i]) && names_gpu(d, gpus->items[i]))
            return true;
    return false;
}

static void device_name(char *out, size_t size, const struct llem_value *device)
{
    if (device->kind == LLEM_INT)
        snprintf(out, size, "%lld", (long long)device->i);
    else if (device->kind == LLEM_STRING)
        snprintf(out, size, "%s", device->s);
    else
        snprintf(out, size, "%s", llem_str_at(device, "uuid", "without a UUID"));
}

/* Is there a GPU of this name, by any sensor that was opened? */
static bool is_readable(const struct llem_harness *h, const struct llem_value *device)
{
    for (size_t i = 0; i < h->n_domains; i++) {
        const struct llem_domain *d = llem_sensors_domain(h, i);

        if (strcmp(d->kind, "gpu") == 0 && names_gpu(d, device))
            return true;
    }
    return false;
}

static llem_errcode no_gpu_at_all(const struct llem_harness *h, llem_error *err)
{
    const struct llem_sensor *s = h->sensors;

    if (!h->sensors_wanted || strcmp(wanted_name(h), "auto") != 0) {
        llem_fail(err, LLEM_ECONFIG,
                  "--gpus: measurement.energy_sampler is '%s', which reads no GPU",
                  h->sensors_wanted ? wanted_name(h) : "null");
        return llem_hint(err, LLEM_ECONFIG,
                         "use measurement.energy_sampler: auto, or leave --gpus out");
    }
    /* The table begins with what reads GPUs. */
    for (size_t i = 0; i < h->n_sensors && (s->opened || !is_measured(s)); i++)
        s = &h->sensors[i];
    llem_fail(err, LLEM_EPREFLIGHT, "--gpus: no GPU can be read here. %s",
              h->n_sensors ? s->text : "");
    return h->n_sensors && s->probe.remedy[0]
               ? llem_hint(err, LLEM_EPREFLIGHT, "%s", s->probe.remedy)
               : llem_hint(err, LLEM_EPREFLIGHT, "`llem config` shows the sensors there are");
}

llem_errcode llem_sensors_check_gpus(const struct llem_harness *h, llem_error *err)
{
    const struct llem_value *gpus = gpu_list(h);
    struct llem_buf there = LLEM_BUF_INIT(512);
    llem_errcode rc = LLEM_OK;
    char name[128];

    if (!h->work || !works_on_gpus(h))
        return LLEM_OK;
    for (size_t i = 0; i < h->n_domains; i++) {
        const struct llem_domain *d = llem_sensors_domain(h, i);

        if (strcmp(d->kind, "gpu") == 0)
            llem_buf_addf(&there, "%s%d = %s (%s)", there.len ? ", " : "", d->index, d->label,
                          d->uuid);
    }
    for (size_t i = 0; i < gpus->count && rc == LLEM_OK; i++) {
        if (is_readable(h, gpus->items[i]))
            continue;
        if (!there.len) {
            rc = no_gpu_at_all(h, err);
            break;
        }
        device_name(name, sizeof(name), gpus->items[i]);
        llem_fail(err, LLEM_EINVAL, "--gpus: there is no GPU '%.100s' here", name);
        rc =
            llem_hint(err, LLEM_EINVAL, "There are: %s%s", there.data, there.failed ? ", ..." : "");
    }
    llem_buf_done(&there);
    return rc;
}

static bool is_left_out(const struct llem_sensor *s, size_t k)
{
    return s->left_out && s->left_out[k];
}

/* Does the sampler read everything the work ran on? Says why, or why not, in charged_text. */
static bool covers(const struct llem_harness *h, struct llem_sensor *s)
{
    const struct llem_value *gpus = gpu_list(h);
    bool any = false;
    char name[128];

    if (!s->opened) {
        snprintf(s->charged_text, sizeof(s->charged_text), "It was not opened.");
        return false;
    }
    for (size_t k = 0; k < s->n_domains; k++)
        any |= !is_left_out(s, k) && llem_sensors_concerns(h, &s->domains[k]);
    if (!works_on_gpus(h)) {
        snprintf(s->charged_text, sizeof(s->charged_text),
                 any ? "It reads the CPU, which did the work."
                     : "It reads no CPU, and the CPU did the work.");
        return any;
    }
    for (size_t i = 0; i < gpus->count; i++) {
        bool found = false;

        if (!is_gpu_entry(h, gpus->items[i]))
            continue;
        for (size_t k = 0; k < s->n_domains && !found; k++)
            found = !is_left_out(s, k) && strcmp(s->domains[k].kind, "gpu") == 0 &&
                    names_gpu(&s->domains[k], gpus->items[i]);
        if (!found) {
            device_name(name, sizeof(name), gpus->items[i]);
            snprintf(s->charged_text, sizeof(s->charged_text),
                     "It does not read the GPU %.100s, which did the work.", name);
            return false;
        }
    }
    snprintf(s->charged_text, sizeof(s->charged_text), "It reads every GPU that did the work.");
    return any;
}

/* What is measured is charged alone: an estimate beside it would make the sum one. */
static void charge(struct llem_harness *h, struct llem_sensor *s)
{
    bool measured = false;

    for (size_t k = 0; k < s->n_domains; k++)
        measured |= llem_sensors_concerns(h, &s->domains[k]) && !s->domains[k].estimated;
    h->charged = s;
    s->charged = true;
    h->n_charged = 0;
    for (size_t k = 0; k < s->n_domains; k++)
        if (llem_sensors_concerns(h, &s->domains[k]) && !is_left_out(s, k) &&
            !(measured && s->domains[k].estimated))
            h->charged_domains[h->n_charged++] = (uint16_t)(s->first + k);
    h->charged_reason = measured ? NULL : "estimated_only";
}

/* Why nothing measured can be charged. */
static const char *why_nothing(const struct llem_harness *h)
{
    const char *reason = NULL;

    if (!h->sensors_wanted)
        return "not_requested";
    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        if (!is_measured(s))
            continue;
        if (s->opened)
            reason = reason ? reason : "scope_mismatch";
        else if (strcmp(s->reason, "no_permission") == 0)
            return "no_permission"; /* the one the user can do something about */
    }
    return reason ? reason : "no_sensor";
}

llem_errcode llem_sensors_select(struct llem_harness *h, llem_error *err)
{
    const char *wanted = wanted_name(h);
    bool automatic = strcmp(wanted, "auto") == 0;
    struct llem_sensor *best = NULL;

    h->charged_reason = why_nothing(h);
    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];

        /* The table is in order of preference, but anything measured goes before an estimate. */
        if (covers(h, s) && (!best || (!is_measured(best) && is_measured(s))))
            best = s;
    }
    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];

        if (best && s != best && covers(h, s))
            snprintf(s->charged_text, sizeof(s->charged_text),
                     "'%s' reads the same devices and is preferred.", best->class->name);
    }
    if (!best && h->work && works_on_gpus(h)) {
        llem_fail(err, LLEM_ENOTFOUND, "no sensor reads all the GPUs of --gpus");
        for (size_t i = 0; i < h->n_sensors; i++)
            if (h->sensors[i].opened && is_measured(&h->sensors[i]))
                llem_fail(err, LLEM_ENOTFOUND, "--gpus: sampler '%s': %s",
                          h->sensors[i].class->name, h->sensors[i].charged_text);
        return llem_hint(err, LLEM_ENOTFOUND, "`llem config` lists the GPUs that can be read");
    }
    if (!best && h->sensors_wanted && !automatic) {
        const struct llem_sensor *s = h->sensors;

        while (strcmp(s->class->name, wanted) != 0)
            s++;
        llem_fail(err, LLEM_ENOTSUP,
                  "measurement.energy_sampler is '%s', but it cannot be charged: %s", wanted,
                  s->charged_text);
        return llem_hint(err, LLEM_ENOTSUP,
                         "use measurement.energy_sampler: auto, or a sampler that reads it");
    }
    if (!best) {
        llem_harness_note(h, "nothing is charged: %s",
                          h->sensors_wanted ? "no sensor reads what did the work"
                                            : "not asked for");
        return LLEM_OK;
    }
    charge(h, best);
    llem_harness_note(h, "%s, %zu domain%s%s", best->class->name, h->n_charged,
                      h->n_charged == 1 ? "" : "s", h->charged_reason ? ", an estimate" : "");
    return LLEM_OK;
}

/* ---- windows of their own ----------------------------------------------------------------- */

static void window_lost(struct llem_harness *h, struct llem_sensor *s, const llem_error *why)
{
    struct llem_arena *a = &h->arena;

    s->window_lost = true;
    llem_set(a, s->window, "reason", llem_string(a, "sampler_lost"));
    llem_set(a, s->window, "text", llem_string(a, why->msg));
    llem_harness_event(h, llem_now_ns(h->clock), "sensor", "%s: %.180s", s->class->name, why->msg);
}

void llem_sensors_window_begin(struct llem_harness *h)
{
    static const char *const marks[] = { "begin_ns",   "begun_ns", "ending_ns", "end_ns",
                                         "t_begin_ns", "t_end_ns", "reason",    "text" };
    struct llem_arena *a = &h->arena;

    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];
        llem_error why = { 0 };

        if (!s->self || s->class->window_begin == llem_sampler_no_window_begin || has_fields(s))
            continue;
        s->window = llem_map(a);
        s->window_lost = false;
        llem_set(a, s->window, "domains", llem_map(a));
        for (size_t k = 0; k < LLEM_COUNT(marks); k++)
            llem_set(a, s->window, marks[k], llem_null(a));
        llem_set(a, s->window, "begin_ns", llem_int(a, llem_now_ns(h->clock)));
        if (s->class->window_begin(s->self, &why) != LLEM_OK)
            window_lost(h, s, &why);
        llem_set(a, s->window, "begun_ns", llem_int(a, llem_now_ns(h->clock)));
    }
}

struct llem_value *llem_sensors_window_end(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *all = llem_map(a);

    for (size_t i = 0; i < h->n_sensors; i++) {
        struct llem_sensor *s = &h->sensors[i];
        struct llem_value *told = NULL;
        llem_error why = { 0 };

        if (!s->self || !s->window)
            continue;
        llem_set(a, s->window, "ending_ns", llem_int(a, llem_now_ns(h->clock)));
        if (!s->window_lost && s->class->window_end(s->self, a, &told, &why) != LLEM_OK)
            window_lost(h, s, &why);
        llem_set(a, s->window, "end_ns", llem_int(a, llem_now_ns(h->clock)));
        for (size_t k = 0; told && k < told->count; k++)
            llem_set(a, s->window, told->keys[k], told->items[k]);
        llem_set(a, all, s->class->name, s->window);
        s->window = NULL;
    }
    return all;
}

/* ---- writing down ------------------------------------------------------------------------- */

struct llem_value *llem_sensors_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *list = llem_list(a);

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];
        struct llem_value *v = llem_map(a);

        llem_set(a, v, "name", llem_string(a, s->class->name));
        llem_set(a, v, "quality", llem_string(a, s->class->quality));
        llem_set(a, v, "usable", llem_bool(a, s->probe.usable));
        llem_set(a, v, "opened", llem_bool(a, s->opened));
        llem_set(a, v, "reason", s->reason[0] ? llem_string(a, s->reason) : llem_null(a));
        llem_set(a, v, "text", llem_string(a, s->text));
        llem_set(a, v, "remedy", llem_string(a, s->probe.remedy));
        llem_set(a, v, "detail", llem_string(a, s->probe.detail));
        llem_set(a, v, "charged", llem_bool(a, s->charged));
        llem_set(a, v, "charged_text", llem_string(a, s->charged_text));
        llem_set(a, v, "describe", s->describe ? s->describe : llem_map(a));
        llem_append(a, list, v);
    }
    return list;
}

struct llem_value *llem_sensors_charged_json(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *v = llem_map(a), *domains = llem_list(a);

    for (size_t i = 0; i < h->n_charged; i++)
        llem_append(a, domains, llem_int(a, h->charged_domains[i]));
    llem_set(a, v, "sampler", h->charged ? llem_string(a, h->charged->class->name) : llem_null(a));
    llem_set(a, v, "domains", domains);
    llem_set(a, v, "reason", llem_string(a, h->charged_reason));
    return v;
}
