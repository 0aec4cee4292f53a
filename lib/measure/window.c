/* SPDX-License-Identifier: MIT
 *
 * The measuring window: pre-roll, the work between two edges, post-roll. Between the marks nothing
 * is allocated, logged or said, but for the live line of the sampler thread.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/measure/harness.h"

/* What the rolls have to be, from the charged sensors. */
struct rolls {
    bool needed, unknown;       /* unknown: a counter does not say how often it moves */
    double tick_s, averaging_s; /* T and W, the longest */
};

static void look_at_fields(struct rolls *r, const struct llem_domain *d)
{
    for (size_t i = 0; i < d->n_fields; i++) {
        const struct llem_sensor_field *f = &d->fields[i];

        if (f->role > LLEM_ROLE_POWER_AVERAGE)
            continue;
        r->unknown |= f->role == LLEM_ROLE_COUNTER && f->period_s == 0;
        if (f->period_s > r->tick_s)
            r->tick_s = f->period_s;
        if (f->averaging_s > r->averaging_s)
            r->averaging_s = f->averaging_s;
    }
}

/* Rolls serve every sensor that is read, so that the ones not charged can be compared. */
static struct rolls plan_rolls(const struct llem_harness *h)
{
    struct rolls r = { 0 };

    for (size_t i = 0; i < h->n_sensors; i++) {
        const struct llem_sensor *s = &h->sensors[i];

        if (!s->self || !s->class->needs_rolls)
            continue;
        for (size_t k = 0; k < s->n_domains; k++) {
            r.needed |= s->domains[k].n_fields > 0;
            look_at_fields(&r, &s->domains[k]);
        }
    }
    return r;
}

/* ---- pre-roll ----------------------------------------------------------------------------- */

struct ticks {
    int64_t n, t_ns;
};

/* The charged counter that ticked least since `before`; learns the longest tick from them. */
static int64_t ticks_since(const struct llem_harness *h, const struct ticks *before,
                           double *learned_s)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < h->n_charged; i++) {
        struct ticks now;

        if (!llem_watch_ticks(h->watch, h->charged_domains[i], &now.n, &now.t_ns))
            continue;
        now.n -= before[i].n;
        if (now.n < least)
            least = now.n;
        if (now.n > 1 && before[i].t_ns) {
            double s = (double)(now.t_ns - before[i].t_ns) * 1e-9 / (double)now.n;

            if (s > *learned_s)
                *learned_s = s;
        }
    }
    return least;
}

/* Wait for at least one reading of every charged domain after t_ns, 300 ms at most. */
static llem_errcode wait_for_reading(struct llem_harness *h, llem_error *err)
{
    int64_t until = llem_now_ns(h->clock) + 300 * LLEM_MS;
    int64_t *before = llem_arena_calloc(&h->arena, h->n_charged + 1, sizeof(*before));
    llem_errcode rc;
    bool all;

    if (!before)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu domains", h->n_charged);
    for (size_t i = 0; i < h->n_charged; i++)
        before[i] = llem_watch_reads(h->watch, h->charged_domains[i]);
    do {
        all = true;
        rc = llem_harness_sleep_until(h, llem_now_ns(h->clock) + 5 * LLEM_MS, err);
        for (size_t i = 0; i < h->n_charged; i++)
            all &= llem_watch_reads(h->watch, h->charged_domains[i]) > before[i] ||
                   llem_sensors_domain(h, h->charged_domains[i])->n_fields == 0;
    } while (rc == LLEM_OK && !all && llem_now_ns(h->clock) < until);
    return rc;
}

static llem_errcode preroll(struct llem_harness *h, struct rolls *r, llem_error *err)
{
    int64_t begin = llem_now_ns(h->clock), now;
    struct ticks *before = llem_arena_calloc(&h->arena, h->n_charged + 1, sizeof(*before));
    double learned_s = 0;
    llem_errcode rc;

    if (!before)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu domains", h->n_charged);
    llem_watch_pace(h->watch, LLEM_PACE_ROLL);
    for (size_t i = 0; i < h->n_charged; i++)
        llem_watch_ticks(h->watch, h->charged_domains[i], &before[i].n, &before[i].t_ns);
    rc = llem_harness_sleep_until(h, begin + (int64_t)((LLEM_ROLL_S - LLEM_EDGE_S) * 1e9), err);
    now = llem_now_ns(h->clock);
    /* A counter that ticks slowly gets its ten ticks; one that is stuck does not stop the run. */
    while (rc == LLEM_OK && ticks_since(h, before, &learned_s) < LLEM_ROLL_TICKS &&
           now - begin < (int64_t)(LLEM_LONGEST_PREROLL_S * 1e9)) {
        rc = llem_harness_sleep_until(h, now + 20 * LLEM_MS, err);
        now = llem_now_ns(h->clock);
    }
    ticks_since(h, before, &learned_s);
    if (r->unknown && learned_s > r->tick_s)
        r->tick_s = learned_s;
    llem_watch_pace(h->watch, LLEM_PACE_EDGE);
    if (rc == LLEM_OK)
        rc = llem_harness_sleep_until(h, now + (int64_t)(LLEM_EDGE_S * 1e9), err);
    return rc;
}

static double postroll_s(const struct rolls *r)
{
    double s = LLEM_ROLL_S;

    if (12 * r->tick_s > s)
        s = 12 * r->tick_s;
    if (r->averaging_s + r->tick_s + 1 > s)
        s = r->averaging_s + r->tick_s + 1;
    return s < LLEM_LONGEST_POSTROLL_S ? s : LLEM_LONGEST_POSTROLL_S;
}

static llem_errcode postroll(struct llem_harness *h, const struct rolls *r, int64_t end_ns,
                             llem_error *err)
{
    llem_errcode rc = llem_harness_sleep_until(h, end_ns + (int64_t)(LLEM_EDGE_S * 1e9), err);

    llem_watch_pace(h->watch, LLEM_PACE_ROLL);
    if (rc == LLEM_OK)
        rc = llem_harness_sleep_until(h, end_ns + (int64_t)(postroll_s(r) * 1e9), err);
    return rc;
}

/* ---- CPU time ----------------------------------------------------------------------------- */

bool llem_machine_cpu(double *busy_s, double *total_s)
{
    char text[512], *p = text, *end;
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    double ticks[8] = { 0 }, hz = (double)sysconf(_SC_CLK_TCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    int i;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    if (!llem_starts_with(text, "cpu "))
        return false;
    end = text + strcspn(text, "\n");
    for (p += 3, i = 0; p < end && i < 8;
         i++) { /* user nice system idle iowait irq softirq steal */
        while (p < end && *p == ' ')
            p++;
        for (; p < end && *p >= '0' && *p <= '9'; p++)
            ticks[i] = ticks[i] * 10 + (*p - '0');
    }
    if (i < 8)
        return false;
    *busy_s = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / hz;
    *total_s = *busy_s + (ticks[3] + ticks[4] + ticks[7]) / hz;
    return true;
}

struct cpu_time {
    double user_s, system_s, busy_s, total_s;
    bool machine;
};

static struct cpu_time cpu_time(void)
{
    struct cpu_time t = { 0 };
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) == 0) {
        t.user_s = (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec * 1e-6;
        t.system_s = (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec * 1e-6;
    }
    t.machine = llem_machine_cpu(&t.busy_s, &t.total_s);
    return t;
}

static struct llem_value *cpu_json(struct llem_arena *a, const struct cpu_time *b,
                                   const struct cpu_time *e)
{
    struct llem_value *v = llem_map(a);
    bool machine = b->machine && e->machine;

    llem_set(a, v, "process_user_s", llem_real(a, e->user_s - b->user_s));
    llem_set(a, v, "process_system_s", llem_real(a, e->system_s - b->system_s));
    llem_set(a, v, "machine_busy_s", llem_real(a, machine ? e->busy_s - b->busy_s : NAN));
    llem_set(a, v, "machine_total_s", llem_real(a, machine ? e->total_s - b->total_s : NAN));
    llem_set(a, v, "n_cpus", llem_int(a, sysconf(_SC_NPROCESSORS_ONLN)));
    return v;
}

/* ---- the window --------------------------------------------------------------------------- */

/* Marks of the window; 0 = was not reached. */
struct marks {
    int64_t preroll, sync_before, sent, begin, end, received, sync_after, postroll;
};

static struct llem_value *mark(struct llem_arena *a, int64_t t_ns)
{
    return t_ns > 0 ? llem_int(a, t_ns) : llem_null(a);
}

static void write_pass(struct llem_arena *a, struct llem_value *p, const struct llem_pass *pass,
                       int64_t begin_ns, int64_t end_ns)
{
    llem_set(a, p, "id", llem_int(a, pass->id));
    llem_set(a, p, "count", llem_int(a, (int64_t)pass->count));
    llem_set(a, p, "repeats", llem_int(a, pass->repeats));
    llem_set(a, p, "stream", llem_bool(a, pass->stream));
    llem_set(a, p, "t_begin_ns", mark(a, begin_ns));
    llem_set(a, p, "t_end_ns", mark(a, end_ns));
}

static void write_marks(struct llem_harness *h, const struct marks *m, const struct llem_pass *pass)
{
    struct llem_arena *a = &h->arena;
    struct llem_value *w = llem_map(a), *passes = llem_list(a), *p = llem_map(a);

    llem_set(a, w, "t_begin_ns", mark(a, m->begin));
    llem_set(a, w, "t_end_ns", mark(a, m->end));
    llem_set(a, w, "sync_before_ns", mark(a, m->sync_before));
    llem_set(a, w, "sync_after_ns", mark(a, m->sync_after));
    llem_set(a, w, "call_sent_ns", mark(a, m->sent));
    llem_set(a, w, "call_received_ns", mark(a, m->received));
    llem_set(a, w, "preroll_begin_ns", mark(a, m->preroll));
    llem_set(a, w, "postroll_end_ns", mark(a, m->postroll));
    if (m->end && !h->work) {
        write_pass(a, p, pass, m->begin, m->end);
        llem_append(a, passes, p);
    }
    llem_set(a, w, "passes", passes);
    h->window = w;
}

/* The prompts once more, streamed: what it costs to tell each token's time is no part of the
 * window. */
static llem_errcode run_latency_pass(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    struct llem_pass pass = {
        .id = 2, .indices = h->indices, .count = h->dataset.count, .repeats = 1, .stream = true
    };
    struct llem_inference out;
    struct llem_value *p = llem_map(a);
    int64_t begin = llem_now_ns(h->clock);
    llem_errcode rc = llem_harness_pass(h, &pass, &out, err);

    if (rc != LLEM_OK)
        return llem_context(err, rc, "the pass that latencies are taken from");
    write_pass(a, p, &pass, out.t_begin_ns, out.t_end_ns);
    llem_append(a, llem_get(h->window, "passes"), p);
    llem_harness_tell(h, LLEM_EVENT_SUBSTEP, "tokens timed", "",
                      (double)(llem_now_ns(h->clock) - begin) * 1e-9, -1);
    return LLEM_OK;
}

static void write_totals(struct llem_harness *h, const struct llem_inference *out)
{
    struct llem_arena *a = &h->arena;
    const struct {
        const char *name;
        int64_t n;
    } totals[] = {
        { "input_tokens", out->input_tokens },
        { "output_tokens", out->output_tokens },
        { "peak_memory_bytes", out->peak_memory_bytes },
    };

    h->totals = llem_map(a);
    for (size_t i = 0; i < LLEM_COUNT(totals); i++)
        llem_set(a, h->totals, totals[i].name,
                 totals[i].n < 0 ? llem_null(a) : llem_int(a, totals[i].n));
    llem_set(a, h->totals, "process_results",
             out->process_results ? llem_copy(a, out->process_results) : llem_null(a));
}

/* From one edge to the other. Nothing here allocates before the end is marked. */
static llem_errcode run_work(struct llem_harness *h, const struct llem_pass *pass, struct marks *m,
                             struct llem_inference *out, llem_error *err)
{
    struct llem_live live = { .domains = h->charged_domains,
                              .n_domains = h->n_charged,
                              .output_so_far = llem_engine_output_unknown };
    llem_errcode rc = LLEM_OK;

    if (!h->work) {
        rc = h->m->engine->synchronize(h->engine, &m->sync_before, err);
        live.output_so_far = h->m->engine->output_so_far;
        live.engine = h->engine;
    }
    if (rc != LLEM_OK)
        return llem_context(err, rc, "synchronising before the window");
    live.begin_ns = m->sent = llem_now_ns(h->clock);
    if (h->watch) {
        llem_watch_live(h->watch, &live);
        llem_watch_edge_until(h->watch, m->sent + (int64_t)(LLEM_EDGE_S * 1e9));
    }
    if (h->work) {
        rc = h->work(h->work_user, err);
    } else {
        h->inside = true;
        rc = llem_harness_pass(h, pass, out, err);
        h->inside = false;
        m->begin = out->t_begin_ns;
        m->end = out->t_end_ns;
    }
    m->received = llem_now_ns(h->clock);
    if (h->watch) {
        llem_watch_pace(h->watch, LLEM_PACE_EDGE);
        llem_watch_live(h->watch, NULL);
    }
    if (h->work) {
        m->begin = m->sent;
        m->end = m->received;
    }
    if (rc != LLEM_OK)
        return rc;
    if (!h->work)
        rc = h->m->engine->synchronize(h->engine, &m->sync_after, err);
    return rc != LLEM_OK ? llem_context(err, rc, "synchronising after the window") : rc;
}

/* Does what the engine says of its own edges fit what was seen from here? */
static llem_errcode check_edges(const struct llem_harness *h, const struct marks *m,
                                llem_error *err)
{
    if (m->begin > 0 && m->begin <= m->end && m->end <= m->received + LLEM_NS_PER_S &&
        m->begin + LLEM_NS_PER_S >= m->sent)
        return LLEM_OK;
    return llem_fail(
        err, LLEM_EPLUGIN,
        "engine '%s' says that its work went from %lld to %lld ns, but it was called at "
        "%lld and answered at %lld ns",
        h->m->engine->name, (long long)m->begin, (long long)m->end, (long long)m->sent,
        (long long)m->received);
}

llem_errcode llem_window_run(struct llem_harness *h, llem_error *err)
{
    struct llem_arena *a = &h->arena;
    struct rolls rolls = plan_rolls(h);
    struct llem_pass pass = { .id = 0,
                              .indices = h->indices,
                              .count = h->dataset.count,
                              .repeats = 1,
                              .text = !strcmp(h->save_outputs, "text") };
    struct llem_inference out = { .input_tokens = LLEM_UNKNOWN,
                                  .output_tokens = LLEM_UNKNOWN,
                                  .peak_memory_bytes = LLEM_UNKNOWN };
    struct marks m = { 0 };
    struct cpu_time before, after;
    int64_t cpu_begin = -1, late_begin = 0, settle_ns;
    llem_errcode rc = LLEM_OK;

    if (!h->work && llem_bool_at(h->config, "measurement.warmup.enabled", true))
        rc = llem_warmup_batch(h, err);
    if (rc != LLEM_OK)
        return rc;
    llem_set(a, h->snapshots, "before", llem_sensors_snapshot(h));
    llem_harness_pair(h);

    m.preroll = llem_now_ns(h->clock);
    if (h->watch && rolls.needed)
        rc = preroll(h, &rolls, err);
    else if (h->watch)
        rc = wait_for_reading(h, err);
    if (rc != LLEM_OK)
        return rc;
    llem_sensors_window_begin(h);

    if (h->watch) {
        cpu_begin = llem_watch_cpu_ns(h->watch);
        late_begin = llem_watch_late(h->watch);
    }
    before = cpu_time();
    rc = run_work(h, &pass, &m, &out, err);
    after = cpu_time();
    if (h->watch) {
        h->window_cpu_ns = cpu_begin < 0 ? -1 : llem_watch_cpu_ns(h->watch) - cpu_begin;
        h->window_late = llem_watch_late(h->watch) - late_begin;
    }
    h->window_begin_ns = m.sent;
    h->window_end_ns = m.received;
    h->sampler_windows = llem_sensors_window_end(h);
    if (rc == LLEM_OK && !h->work)
        rc = check_edges(h, &m, err);
    if (rc == LLEM_OK && h->watch && rolls.needed)
        rc = postroll(h, &rolls, m.received, err);
    else if (rc == LLEM_OK && h->watch)
        rc = wait_for_reading(h, err);
    m.postroll = llem_now_ns(h->clock);
    llem_watch_stop(h->watch);

    llem_harness_pair(h);
    write_marks(h, &m, &pass);
    if (rc != LLEM_OK)
        return rc;
    llem_set(a, h->snapshots, "after", llem_sensors_snapshot(h));
    h->cpu = cpu_json(a, &before, &after);
    if (!h->work)
        write_totals(h, &out);
    if (rolls.needed) {
        /* Loaded idle begins once the sensors have forgotten the load. */
        settle_ns = (int64_t)((rolls.tick_s + rolls.averaging_s + LLEM_EDGE_S) * 1e9);
        if (settle_ns < 200 * LLEM_MS)
            settle_ns = 200 * LLEM_MS;
        llem_set(a, h->baseline, "loaded_before",
                 llem_span(h, m.preroll, m.sync_before ? m.sync_before : m.sent));
        if (m.received + settle_ns < m.postroll)
            llem_set(a, h->baseline, "loaded_after",
                     llem_span(h, m.received + settle_ns, m.postroll));
    }
    llem_harness_note(h, "%.1f s", (double)(m.end - m.begin) * 1e-9);
    if (!h->work && llem_bool_at(h->config, "measurement.latency_pass", false))
        rc = run_latency_pass(h, err);
    return rc;
}

/* ---- what it cost ------------------------------------------------------------------------- */

void llem_window_cost(struct llem_harness *h)
{
    struct llem_arena *a = &h->arena;
    const struct llem_area *samples = h->watch ? llem_watch_samples(h->watch) : NULL;
    struct course {
        const struct llem_sensor_field *counter;
        int64_t begin_ns, raw;
        bool charged, any;
    } *courses = llem_arena_calloc(a, h->n_domains + 1, sizeof(*courses));
    int64_t reads = 0, ticks = 0, gap_ns = 0, last_ns = 0;
    bool any = false;

    if (!samples || !h->window_end_ns || !courses)
        return;
    for (size_t i = 0; i < h->n_charged; i++) {
        struct course *c = &courses[h->charged_domains[i]];
        const struct llem_domain *d = llem_sensors_domain(h, h->charged_domains[i]);

        if (d->n_fields == 0)
            continue;
        any = true;
        c->counter = llem_domain_field(d, LLEM_ROLE_COUNTER);
        c->charged = true;
        c->begin_ns = h->window_begin_ns;
    }
    for (size_t i = 0; i < samples->count; i++) {
        const struct llem_sample *s = llem_area_at(samples, i);
        struct course *c = &courses[s->device];

        if (s->begin_ns < h->window_begin_ns || s->begin_ns > h->window_end_ns)
            continue;
        reads += s->begin_ns != last_ns; /* one call gives several fields */
        last_ns = s->begin_ns;
        if (!c->charged)
            continue;
        if (s->begin_ns - c->begin_ns > gap_ns)
            gap_ns = s->begin_ns - c->begin_ns;
        c->begin_ns = s->begin_ns;
        if (!c->counter || s->field != c->counter->id || s->status != LLEM_READ_OK)
            continue;
        ticks += c->any && s->raw != c->raw;
        c->raw = s->raw;
        c->any = true;
    }
    for (size_t i = 0; i < h->n_charged; i++) {
        const struct course *c = &courses[h->charged_domains[i]];

        if (c->charged && h->window_end_ns - c->begin_ns > gap_ns)
            gap_ns = h->window_end_ns - c->begin_ns;
    }
    h->cost = llem_map(a);
    llem_set(a, h->cost, "cpu_s",
             llem_real(a, h->window_cpu_ns < 0 ? NAN : (double)h->window_cpu_ns * 1e-9));
    llem_set(a, h->cost, "longest_gap_s", any ? llem_real(a, (double)gap_ns * 1e-9) : llem_null(a));
    llem_set(a, h->cost, "late_deadlines", llem_int(a, h->window_late));
    llem_set(a, h->cost, "reads", llem_int(a, reads));
    llem_set(a, h->cost, "ticks", llem_int(a, ticks));
}
