/* SPDX-License-Identifier: MIT
 *
 * The processes of an engine with several: what each tells of itself, whose devices are its alone,
 * and how the whole comes of the parts. Every process is shown in the shape of the whole, narrowed
 * to what is its own.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/result/derive.h"
#include "lib/sampler/sampler.h"

enum { MAX_PROCESSES = 256 }; /* more are no engine's of one machine */

static double bytes_at(const struct llem_value *map, const char *path)
{
    double bytes = llem_real_at(map, path, (double)NAN);

    return bytes > 0 ? bytes : (double)NAN;
}

static int64_t tokens_at(const struct llem_value *map, const char *path)
{
    int64_t n = llem_int_at(map, path, -1);

    return n > INT64_C(1) << 52 ? -1 : n;
}

/* Is this domain one of the GPUs that the process names? */
static bool works_on(const struct llem__process *p, const struct llem__domain *d)
{
    const struct llem_value *list = p->devices;

    for (size_t k = 0; list && list->kind == LLEM_LIST && k < list->count && k < 1024; k++) {
        const char *uuid = llem_str_at(list->items[k], "uuid", "");

        if ((*uuid && strcasecmp(uuid, llem_str_at(d->json, "uuid", "")) == 0) ||
            llem_same_pci(llem_str_at(list->items[k], "pci", ""), llem_str_at(d->json, "pci", "")))
            return true;
    }
    return false;
}

/* How many processes work on a domain, and how many charged domains a process works on. */
static size_t users_of(const struct llem__derive *x, const struct llem__domain *d)
{
    size_t n = 0;

    for (size_t k = 0; k < x->n_processes; k++)
        n += works_on(&x->processes[k], d);
    return n;
}

static size_t charged_of(const struct llem__derive *x, const struct llem__process *p)
{
    size_t n = 0;

    for (size_t i = 0; i < x->n_domains; i++)
        n += x->domains[i].charged && works_on(p, &x->domains[i]);
    return n;
}

static bool are_apart(const struct llem__derive *x)
{
    for (size_t i = 0; i < x->n_domains; i++)
        if (x->domains[i].charged && users_of(x, &x->domains[i]) != 1)
            return false;
    for (size_t k = 0; k < x->n_processes; k++)
        if (!charged_of(x, &x->processes[k]))
            return false;
    return true;
}

void llem__derive_processes(struct llem__derive *x)
{
    const struct llem_value *list = llem_at(x->json, "totals.process_results");
    struct llem__process *p;
    double peak = 0, weights = 0;

    x->effective = llem_at(x->json, "engine.effective");
    x->peak_bytes = bytes_at(x->json, "totals.peak_memory_bytes");
    x->weights_bytes = bytes_at(x->json, "model.weights_bytes");
    if (!list || list->kind != LLEM_LIST || list->count < 2 || list->count > MAX_PROCESSES)
        return;
    p = llem_arena_calloc(x->scratch, list->count, sizeof(*p));
    if (!p)
        return;
    for (size_t k = 0; k < list->count; k++) {
        const struct llem_value *told = list->items[k];
        int64_t begin = llem__time_at(told, "t_begin_ns"), end = llem__time_at(told, "t_end_ns");
        bool timed = begin >= 0 && end >= begin;

        p[k] = (struct llem__process){
            .index = llem_int_at(told, "rank", (int64_t)k),
            .begin_ns = timed ? begin : -1,
            .end_ns = timed ? end : -1,
            .input_tokens = tokens_at(told, "input_tokens"),
            .output_tokens = tokens_at(told, "output_tokens"),
            .peak_bytes = bytes_at(told, "peak_memory_bytes"),
            .weights_bytes = bytes_at(told, "weights_bytes"),
            .devices = llem_get(told, "devices"),
        };
        peak += p[k].peak_bytes;
        weights += p[k].weights_bytes;
    }
    x->processes = p;
    x->n_processes = list->count;
    x->apart = are_apart(x);
    /* The whole is the sum of the parts where all of them tell. */
    x->peak_bytes = isfinite(peak) ? peak : x->peak_bytes;
    x->weights_bytes = isfinite(weights) ? weights : x->weights_bytes;
}

void llem__process_view(struct llem__derive *out, const struct llem__derive *x, size_t k)
{
    const struct llem__process *p = &x->processes[k];

    *out = *x;
    out->quantities = llem_map(x->a);
    out->warnings = llem_list(x->a);
    out->details = llem_list(x->a);
    out->n_charged = 0;
    out->domains = llem_arena_calloc(x->scratch, x->n_domains + 1, sizeof(*out->domains));
    for (size_t i = 0; out->domains && i < x->n_domains; i++) {
        struct llem__domain *d = &out->domains[i];

        *d = x->domains[i];
        if (d->best)
            d->best = &d->methods[d->best - x->domains[i].methods];
        d->charged = x->apart && d->charged && works_on(p, d);
        out->n_charged += d->charged;
    }
    if (!out->domains)
        out->n_domains = 0;
    /* Without any energy of the whole there is none of a part, for the same reason. */
    out->charged_reason = isnan(x->energy.v) ? x->energy.reason : "processes_not_apart";
    llem__total_energy(out);

    /* The energy is over the window of the whole, everything else over the process's own time. */
    out->begin_ns = p->begin_ns;
    out->end_ns = p->end_ns;
    out->tokens = (struct llem__tokens){ .input = p->input_tokens,
                                         .output = p->output_tokens,
                                         .cached = -1,
                                         .known = p->input_tokens >= 0 && p->output_tokens >= 0 };
    /* Requests are one stream, told by the first. */
    if (k > 0)
        out->requests.n = 0;
    else
        out->tokens.requests = x->tokens.requests;
    out->peak_bytes = p->peak_bytes;
    out->weights_bytes = p->weights_bytes;
    out->effective = NULL;
    out->total_flops = llem__q_null("FLOP", "engine_does_not_report");
}

/* ---- how the whole comes of the parts ------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static void
doubt(struct llem__derive *x, struct llem_value *list, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    llem_append(x->a, list, llem_string(x->a, text));
}

/* Worked at the same time: for half of the shortest one's time at least. */
static bool overlap(struct llem__derive *x, struct llem_value *warnings)
{
    int64_t last_begin = 0, first_end = INT64_MAX, shortest = INT64_MAX;

    for (size_t k = 0; k < x->n_processes; k++) {
        const struct llem__process *p = &x->processes[k];

        if (p->begin_ns < 0) {
            doubt(x, warnings, "process %lld does not tell when it worked", (long long)p->index);
            return false;
        }
        if (x->has_window && (p->begin_ns < x->window.t0_ns || p->end_ns > x->window.t1_ns))
            doubt(x, warnings, "process %lld worked outside of the window", (long long)p->index);
        last_begin = p->begin_ns > last_begin ? p->begin_ns : last_begin;
        first_end = p->end_ns < first_end ? p->end_ns : first_end;
        shortest = p->end_ns - p->begin_ns < shortest ? p->end_ns - p->begin_ns : shortest;
    }
    if (first_end > last_begin && 2 * (first_end - last_begin) >= shortest)
        return true;
    doubt(x, warnings, "the processes did not work at the same time");
    return false;
}

/* Either each process works on every token (its share of each layer), or each on some requests. */
static void check_tokens(struct llem__derive *x, struct llem_value *warnings)
{
    int64_t input = 0, output = 0;
    bool same = true, known = x->tokens.known;

    for (size_t k = 0; k < x->n_processes; k++) {
        const struct llem__process *p = &x->processes[k];

        known = known && p->input_tokens >= 0 && p->output_tokens >= 0;
        same = same && p->input_tokens == x->tokens.input && p->output_tokens == x->tokens.output;
        input += p->input_tokens;
        output += p->output_tokens;
    }
    if (known && !same && (input != x->tokens.input || output != x->tokens.output))
        doubt(x, warnings,
              "the processes' tokens neither are those of the receipts nor add up to them");
}

/* Every GPU that the engine named is a charged domain. */
static bool gpus_are_charged(const struct llem__derive *x)
{
    const struct llem_value *devices = llem_at(x->json, "engine.devices");
    bool all = x->n_charged > 0;

    for (size_t k = 0; devices && devices->kind == LLEM_LIST && k < devices->count; k++) {
        const char *uuid = llem_str_at(devices->items[k], "uuid", "");
        bool found = !*uuid;

        for (size_t i = 0; i < x->n_domains; i++)
            found = found || (x->domains[i].charged &&
                              strcmp(llem_str_at(x->domains[i].json, "uuid", ""), uuid) == 0);
        all = all && found;
    }
    return all;
}

struct llem_value *llem__aggregation(struct llem__derive *x)
{
    struct llem_value *o = llem_map(x->a), *warnings = llem_list(x->a);
    bool several = x->n_processes > 0, at_once = several && overlap(x, warnings);

    if (several) {
        check_tokens(x, warnings);
        if (!x->apart)
            doubt(x, warnings,
                  "the processes do not have measured devices of their own: energy is of all");
    }
    llem__put_string(x, o, "method",
                     !several   ? "single_process"
                     : x->apart ? "sum_energy_wall_throughput"
                                : "shared_energy_wall_throughput");
    llem_set(x->a, o, "num_processes", llem_int(x->a, several ? (int64_t)x->n_processes : 1));
    llem_set(x->a, o, "temporal_overlap_verified", llem_bool(x->a, at_once));
    llem_set(x->a, o, "gpu_attribution_verified",
             llem_bool(x->a, gpus_are_charged(x) && (!several || x->apart)));
    llem_set(x->a, o, "warnings", warnings);
    return o;
}
