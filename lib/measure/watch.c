/* SPDX-License-Identifier: MIT
 *
 * The sampler thread. Everything it needs is made before it starts; between deadlines it only
 * reads, stores and sleeps.
 *
 * Rates. A counter that moves in steps of tens of milliseconds (GPUs: 20 to 100 ms) is bracketed by
 * its own steps, so before and after the window it is read each millisecond: a step is then known
 * to half of that. RAPL moves each millisecond and reading it costs a system call and an access
 * that wakes the package, so it is read each millisecond only for 50 ms around the edges. Elsewhere
 * 100 Hz keeps the course of the power. An estimate from CPU load has no edges worth that: 10 Hz.
 */
#include "lib/measure/watch.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/process.h"

#define MS INT64_C(1000000)

enum {
    MAX_FAULTS = 256,
    MAX_LIVE = 64,
    MAX_FIELDS = 32,     /* of a domain whose faults are told apart */
    READY_SECONDS = 120, /* pages touched before the thread starts */
    LIVE_SPAN = 8,       /* live lines that tokens per second are a mean over: two seconds */
    LOST_AFTER = 50, /* failed reads in a row, after which a domain is asked ten times a second */
};

static const int64_t slow_period_ns = 200 * MS;  /* slow fields: at most five times a second */
static const int64_t live_period_ns = 250 * MS;  /* live lines: at most four times a second */
static const int64_t longest_sleep_ns = 50 * MS; /* how late a new pace or the end is noticed */
static const int64_t late_ns = 1 * MS;

/* What the thread keeps of a domain. The atomics are read by others. */
struct domain {
    const struct llem_domain *d;
    const struct llem_sensor_field *counter, *temperature, *power;
    size_t local; /* index within its sampler */
    bool seen;
    int64_t last_raw, last_read_ns;
    double last_power_w;
    int failed; /* reads in a row without one good value */
    int64_t asked_ns;
    int32_t last_status[MAX_FIELDS];
    /* For live lines: the tick that the last line ended at. */
    int64_t live_raw, live_ns;
    double live_w;
    _Atomic int64_t reads, ticks, tick_ns;
    _Atomic int64_t temperature_milli, temperature_ns;
};

struct sensor {
    struct llem_watched s;
    bool ticks;
    bool has_slow;
    int64_t next_ns, next_slow_ns;
};

struct llem_watch {
    const struct llem_clock *clock;
    void (*event)(void *user, const llem_event *e);
    void *event_user;
    struct sensor *sensors;
    size_t n_sensors;
    struct domain *domains;
    size_t n_domains;
    struct llem_reading *readings; /* room for the domain with the most fields */
    struct llem_area samples, faults;
    _Atomic size_t told; /* rows of samples that others may read */
    pthread_t thread;
    bool joinable;
    sem_t started;
    _Atomic int stop, stopped, pace;
    _Atomic int64_t edge_until_ns, late;
    /* Live lines: written by the harness while live_begin_ns is 0. */
    uint16_t live[MAX_LIVE];
    size_t n_live;
    int64_t (*output_so_far)(void *engine);
    void *engine;
    /* The last lines in a ring, the first of all being the begin. */
    struct output {
        int64_t t_ns, tokens;
    } outputs[LIVE_SPAN];
    size_t n_outputs;
    _Atomic int64_t live_begin_ns;
    _Atomic int telling; /* the callback is running */
    int64_t live_next_ns;
};

const struct llem_sensor_field *llem_domain_field(const struct llem_domain *d, enum llem_role role)
{
    for (size_t i = 0; i < d->n_fields; i++)
        if (d->fields[i].role == role)
            return &d->fields[i];
    return NULL;
}

bool llem_domain_ticks(const struct llem_domain *d)
{
    const struct llem_sensor_field *counter = llem_domain_field(d, LLEM_ROLE_COUNTER);

    if (counter)
        return counter->period_s == 0 || counter->period_s >= 0.010;
    return llem_domain_field(d, LLEM_ROLE_POWER_AVERAGE) ||
           llem_domain_field(d, LLEM_ROLE_POWER_INSTANT);
}

int64_t llem_watch_period_ns(const struct llem_sampler_class *class, bool ticks,
                             enum llem_pace pace)
{
    if (!class->needs_rolls || pace == LLEM_PACE_LOAD)
        return 100 * MS;
    if (pace == LLEM_PACE_EDGE || (pace == LLEM_PACE_ROLL && ticks))
        return 1 * MS;
    return 10 * MS;
}

/* ---- one reading -------------------------------------------------------------------------- */

static void note_fault(struct llem_watch *w, uint16_t device, const struct llem_reading *r,
                       int64_t t_ns)
{
    struct llem_fault *f = w->faults.count < MAX_FAULTS ? llem_area_push(&w->faults) : NULL;

    if (f)
        *f = (struct llem_fault){
            .t_ns = t_ns, .status = r->status, .device = device, .field = r->field
        };
}

static const struct llem_sensor_field *find_field(const struct llem_domain *d, uint16_t id)
{
    for (size_t i = 0; i < d->n_fields; i++)
        if (d->fields[i].id == id)
            return &d->fields[i];
    return NULL;
}

/* Keep what others wait for. */
static void take_reading(struct llem_watch *w, size_t index, const struct llem_reading *r,
                         int64_t begin_ns, int64_t end_ns)
{
    struct domain *d = &w->domains[index];
    const struct llem_sensor_field *f = find_field(d->d, r->field);

    if (!f)
        return;
    if (f - d->d->fields < MAX_FIELDS && r->status != d->last_status[f - d->d->fields]) {
        note_fault(w, (uint16_t)index, r, begin_ns);
        d->last_status[f - d->d->fields] = r->status;
    }
    if (r->status != LLEM_READ_OK)
        return;
    if (f == d->counter) {
        if (!d->seen || r->raw != d->last_raw) {
            if (d->seen)
                atomic_fetch_add(&d->ticks, 1);
            atomic_store(&d->tick_ns, begin_ns / 2 + end_ns / 2);
        }
        d->seen = true;
        d->last_raw = r->raw;
        d->last_read_ns = begin_ns;
    } else if (f == d->power) {
        d->last_power_w = (double)r->raw * f->to_si;
    } else if (f == d->temperature) {
        atomic_store(&d->temperature_milli, (int64_t)((double)r->raw * f->to_si * 1000));
        atomic_store(&d->temperature_ns, begin_ns);
    }
}

static void read_domain(struct llem_watch *w, const struct sensor *s, size_t local, bool slow)
{
    size_t index = s->s.first + local, n, good = 0;
    struct domain *d = &w->domains[index];
    int64_t begin_ns = llem_now_ns(w->clock), end_ns;

    /* A device that is gone may take long to say so: ask it less often. */
    if (!slow) {
        if (d->failed >= LOST_AFTER && begin_ns - d->asked_ns < 100 * MS)
            return;
        d->asked_ns = begin_ns;
    }
    n = s->s.class->read(s->s.self, local, slow, w->readings);
    end_ns = llem_now_ns(w->clock);
    for (size_t i = 0; i < n; i++) {
        const struct llem_reading *r = &w->readings[i];
        struct llem_sample *row = llem_area_push(&w->samples);

        if (row)
            *row = (struct llem_sample){
                .begin_ns = begin_ns,
                .end_ns = end_ns,
                .raw = r->status == LLEM_READ_OK ? r->raw : 0,
                .vendor_ns = r->vendor_ns,
                .status = r->status,
                .latency_us = r->latency_us,
                .device = (uint16_t)index,
                .field = r->field,
            };
        take_reading(w, index, r, begin_ns, end_ns);
        good += r->status == LLEM_READ_OK;
    }
    atomic_store_explicit(&w->told, w->samples.count, memory_order_release);
    if (good)
        atomic_fetch_add(&d->reads, 1);
    if (!slow)
        d->failed = good || n == 0 ? 0 : d->failed + 1;
}

/* ---- live lines --------------------------------------------------------------------------- */

/* Watts of one domain since the last line, from whole ticks of its counter. NaN = not known. */
static double live_power(struct domain *d)
{
    const struct llem_sensor_field *c = d->counter;
    int64_t tick_ns = atomic_load(&d->tick_ns);

    if (!c)
        return d->power ? d->last_power_w : NAN;
    if (d->live_ns && tick_ns > d->live_ns) {
        uint64_t moved = (uint64_t)d->last_raw - (uint64_t)d->live_raw;

        if (c->modulus && d->last_raw < d->live_raw)
            moved = c->modulus - (uint64_t)d->live_raw + (uint64_t)d->last_raw;
        d->live_w = (double)moved * c->to_si / ((double)(tick_ns - d->live_ns) * 1e-9);
    }
    if (!d->live_ns || tick_ns > d->live_ns) {
        d->live_ns = tick_ns;
        d->live_raw = d->last_raw;
    }
    return d->live_w;
}

/* Output tokens a second over the last lines. NaN = not known, or too early to say. */
static double live_tokens(struct llem_watch *w, int64_t now)
{
    struct output last = { now, w->output_so_far(w->engine) };
    struct output *oldest = &w->outputs[w->n_outputs < LIVE_SPAN ? 0 : w->n_outputs % LIVE_SPAN];
    double rate = NAN;

    if (last.tokens < 0 || now - oldest->t_ns < live_period_ns / 2)
        return NAN;
    if (oldest->tokens >= 0)
        rate = (double)(last.tokens - oldest->tokens) / ((double)(now - oldest->t_ns) * 1e-9);
    w->outputs[w->n_outputs++ % LIVE_SPAN] = last;
    return rate;
}

static void tell(struct llem_watch *w, int64_t begin_ns, int64_t now)
{
    llem_event e = { .type = LLEM_EVENT_LIVE, .step = "measure", .text = "", .reason = "" };
    double hottest = NAN;

    w->live_next_ns = now + live_period_ns;
    e.power_w = w->n_live ? 0 : NAN;
    for (size_t i = 0; i < w->n_live; i++) {
        struct domain *d = &w->domains[w->live[i]];
        int64_t milli = atomic_load(&d->temperature_milli);

        e.power_w += live_power(d);
        if (atomic_load(&d->temperature_ns) && !((double)milli / 1000 <= hottest))
            hottest = (double)milli / 1000;
    }
    e.elapsed_s = (double)(now - begin_ns) * 1e-9;
    e.fraction = -1;
    e.energy_j = NAN; /* known when all is derived */
    e.temperature_c = hottest;
    e.tokens_per_s = live_tokens(w, now);
    w->event(w->event_user, &e);
}

static void live_line(struct llem_watch *w, int64_t now)
{
    int64_t begin_ns;

    if (!w->event)
        return;
    atomic_store(&w->telling, 1);
    begin_ns = atomic_load(&w->live_begin_ns);
    if (begin_ns && now >= w->live_next_ns)
        tell(w, begin_ns, now);
    atomic_store(&w->telling, 0);
}

/* ---- the thread --------------------------------------------------------------------------- */

static enum llem_pace pace_now(struct llem_watch *w, int64_t now)
{
    if (now < atomic_load(&w->edge_until_ns))
        return LLEM_PACE_EDGE;
    return (enum llem_pace)atomic_load(&w->pace);
}

static bool is_left_out(const struct sensor *s, size_t local)
{
    return s->s.left_out && s->s.left_out[local];
}

static void read_sensor(struct llem_watch *w, struct sensor *s, enum llem_pace pace)
{
    int64_t period = llem_watch_period_ns(s->s.class, s->ticks, pace), now;

    for (size_t i = 0; i < s->s.n_domains; i++)
        if (!is_left_out(s, i))
            read_domain(w, s, i, false);
    now = llem_now_ns(w->clock);
    if (s->has_slow && now >= s->next_slow_ns) {
        for (size_t i = 0; i < s->s.n_domains; i++)
            if (!is_left_out(s, i))
                read_domain(w, s, i, true);
        s->next_slow_ns += slow_period_ns;
        now = llem_now_ns(w->clock);
        if (s->next_slow_ns < now)
            s->next_slow_ns = now + slow_period_ns;
    }
    /* Deadlines stay on their grid; those that are past already are left out. */
    s->next_ns += period;
    if (s->next_ns <= now)
        s->next_ns += (now - s->next_ns) / period * period + period;
}

static void *run(void *arg)
{
    struct llem_watch *w = arg;
    int64_t now = llem_now_ns(w->clock);

    for (size_t i = 0; i < w->n_sensors; i++)
        w->sensors[i].next_ns = w->sensors[i].next_slow_ns = now;
    sem_post(&w->started);

    while (!atomic_load(&w->stop)) {
        enum llem_pace pace = pace_now(w, now);
        int64_t deadline = now + longest_sleep_ns;
        bool due = false;

        for (size_t i = 0; i < w->n_sensors; i++) {
            struct sensor *s = &w->sensors[i];
            int64_t period = llem_watch_period_ns(s->s.class, s->ticks, pace);

            /* The pace got quicker: do not wait for the old deadline. */
            if (s->next_ns > now + period)
                s->next_ns = now + period;
            if (s->next_ns <= deadline) {
                deadline = s->next_ns;
                due = true;
            }
        }
        if (deadline > now) {
            w->clock->sleep_until_ns(w->clock->self, deadline);
            now = llem_now_ns(w->clock);
        }
        if (now < deadline)
            continue; /* a signal ended the sleep */
        if (due && now - deadline > late_ns)
            atomic_fetch_add(&w->late, 1);
        for (size_t i = 0; i < w->n_sensors; i++)
            if (w->sensors[i].next_ns <= now)
                read_sensor(w, &w->sensors[i], pace);
        live_line(w, now);
        llem_area_touch(&w->samples);
        now = llem_now_ns(w->clock);
    }
    atomic_store(&w->stopped, 1);
    return NULL;
}

/* ---- life cycle --------------------------------------------------------------------------- */

/* Rows a second at an ordinary pace, and rows of the dense time around a window. */
static void estimate_rows(const struct llem_watch *w, size_t *per_s, size_t *dense)
{
    *per_s = *dense = 0;
    for (size_t i = 0; i < w->n_sensors; i++) {
        const struct sensor *s = &w->sensors[i];

        for (size_t k = 0; k < s->s.n_domains; k++) {
            const struct llem_domain *d = w->domains[s->s.first + k].d;

            for (size_t f = 0; f < d->n_fields; f++) {
                *per_s += d->fields[f].slow ? 5 : s->s.class->needs_rolls ? 100 : 10;
                if (!d->fields[f].slow && s->s.class->needs_rolls)
                    *dense += s->ticks ? 20000 : 1000; /* twenty seconds at most */
            }
        }
    }
}

static llem_errcode prepare(struct llem_watch *w, const struct llem_watch_opts *opts,
                            llem_error *err)
{
    size_t most_fields = 1, per_s, dense;
    llem_errcode rc;

    for (size_t i = 0; i < opts->n_sensors; i++)
        if (opts->sensors[i].first + opts->sensors[i].n_domains > w->n_domains)
            w->n_domains = opts->sensors[i].first + opts->sensors[i].n_domains;
    w->sensors = calloc(opts->n_sensors + 1, sizeof(*w->sensors));
    w->domains = calloc(w->n_domains + 1, sizeof(*w->domains));
    if (!w->sensors || !w->domains)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate the sampler for %zu domains",
                         w->n_domains);
    w->n_sensors = opts->n_sensors;
    for (size_t i = 0; i < w->n_domains; i++)
        w->domains[i].live_w = w->domains[i].last_power_w = NAN;
    for (size_t i = 0; i < w->n_sensors; i++) {
        struct sensor *s = &w->sensors[i];
        const struct llem_domain *domains;
        size_t n;

        s->s = opts->sensors[i];
        domains = s->s.class->domains(s->s.self, &n);
        if (n != s->s.n_domains || s->s.first + n > w->n_domains)
            return llem_fail(err, LLEM_EINVAL, "sampler %s changed its domains", s->s.class->name);
        for (size_t k = 0; k < n; k++) {
            struct domain *d = &w->domains[s->s.first + k];

            d->d = &domains[k];
            d->local = k;
            d->counter = llem_domain_field(d->d, LLEM_ROLE_COUNTER);
            d->temperature = llem_domain_field(d->d, LLEM_ROLE_TEMPERATURE);
            d->power = llem_domain_field(d->d, LLEM_ROLE_POWER_INSTANT);
            if (!d->power)
                d->power = llem_domain_field(d->d, LLEM_ROLE_POWER_AVERAGE);
            s->ticks |= llem_domain_ticks(d->d);
            for (size_t f = 0; f < d->d->n_fields; f++)
                s->has_slow |= d->d->fields[f].slow;
            if (d->d->n_fields > most_fields)
                most_fields = d->d->n_fields;
        }
    }
    w->readings = calloc(most_fields, sizeof(*w->readings));
    if (!w->readings)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate the sampler for %zu domains",
                         w->n_domains);
    estimate_rows(w, &per_s, &dense);
    rc = llem_area_init(&w->samples, sizeof(struct llem_sample), per_s * opts->seconds + dense,
                        per_s * READY_SECONDS + dense / 4, err);
    if (rc == LLEM_OK)
        rc = llem_area_init(&w->faults, sizeof(struct llem_fault), MAX_FAULTS, MAX_FAULTS, err);
    return rc;
}

llem_errcode llem_watch_start(struct llem_watch **out, const struct llem_watch_opts *opts,
                              llem_error *err)
{
    struct llem_watch *w = calloc(1, sizeof(*w));
    llem_errcode rc;
    int e;

    if (!w)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate the sampler");
    w->clock = opts->clock;
    w->event = opts->event;
    w->event_user = opts->event_user;
    sem_init(&w->started, 0, 0);
    rc = prepare(w, opts, err);
    if (rc != LLEM_OK)
        goto done;
    e = llem_thread_start(&w->thread, run, w);
    if (e) {
        errno = e;
        rc = llem_fail(err, LLEM_ENOMEM, "cannot start the sampler thread: %m");
        goto done;
    }
    w->joinable = true;
    while (sem_wait(&w->started) < 0 && errno == EINTR)
        ;
    *out = w;
    w = NULL;
done:
    llem_watch_free(w);
    return rc;
}

void llem_watch_pace(struct llem_watch *w, enum llem_pace pace)
{
    if (!w)
        return;
    atomic_store(&w->edge_until_ns, 0);
    atomic_store(&w->pace, (int)pace);
}

void llem_watch_edge_until(struct llem_watch *w, int64_t t_ns)
{
    atomic_store(&w->pace, (int)LLEM_PACE_STEADY);
    atomic_store(&w->edge_until_ns, t_ns);
}

void llem_watch_live(struct llem_watch *w, const struct llem_live *live)
{
    if (!live) {
        atomic_store(&w->live_begin_ns, 0);
        /* Whoever listens hears one thread at a time. */
        while (atomic_load(&w->telling))
            w->clock->sleep_until_ns(w->clock->self, llem_now_ns(w->clock) + MS / 10);
        return;
    }
    w->n_live = live->n_domains < MAX_LIVE ? live->n_domains : MAX_LIVE;
    if (w->n_live)
        memcpy(w->live, live->domains, w->n_live * sizeof(*w->live));
    w->output_so_far = live->output_so_far;
    w->engine = live->engine;
    w->outputs[0] = (struct output){ live->begin_ns, w->output_so_far(w->engine) };
    w->n_outputs = 1;
    w->live_next_ns = 0;
    atomic_store(&w->live_begin_ns, live->begin_ns);
}

void llem_watch_stop(struct llem_watch *w)
{
    if (!w || !w->joinable)
        return;
    atomic_store(&w->stop, 1);
    /* Waiting by the clock, not in pthread_join(), lets virtual time go on. */
    while (!atomic_load(&w->stopped))
        w->clock->sleep_until_ns(w->clock->self, llem_now_ns(w->clock) + MS);
    pthread_join(w->thread, NULL);
    w->joinable = false;
}

void llem_watch_free(struct llem_watch *w)
{
    if (!w)
        return;
    llem_watch_stop(w);
    sem_destroy(&w->started);
    llem_area_done(&w->samples);
    llem_area_done(&w->faults);
    free(w->readings);
    free(w->domains);
    free(w->sensors);
    free(w);
}

/* ---- what others see ---------------------------------------------------------------------- */

int64_t llem_watch_reads(const struct llem_watch *w, size_t domain)
{
    return atomic_load(&w->domains[domain].reads);
}

bool llem_watch_ticks(const struct llem_watch *w, size_t domain, int64_t *ticks, int64_t *last_ns)
{
    const struct domain *d = &w->domains[domain];

    if (!d->counter)
        return false;
    *ticks = atomic_load(&d->ticks);
    *last_ns = atomic_load(&d->tick_ns);
    return true;
}

bool llem_watch_temperature(const struct llem_watch *w, size_t domain, double *celsius,
                            int64_t *t_ns)
{
    const struct domain *d = &w->domains[domain];
    int64_t t = atomic_load(&d->temperature_ns);

    if (!t)
        return false;
    *celsius = (double)atomic_load(&d->temperature_milli) / 1000;
    *t_ns = t;
    return true;
}

int64_t llem_watch_late(const struct llem_watch *w)
{
    return atomic_load(&w->late);
}

int64_t llem_watch_cpu_ns(const struct llem_watch *w)
{
    clockid_t id;
    struct timespec t;

    if (!w->joinable || pthread_getcpuclockid(w->thread, &id) != 0 || clock_gettime(id, &t) < 0)
        return -1;
    return (int64_t)t.tv_sec * LLEM_NS_PER_S + t.tv_nsec;
}

const struct llem_sample *llem_watch_so_far(const struct llem_watch *w, size_t *count)
{
    *count = atomic_load_explicit(&w->told, memory_order_acquire);
    return (const struct llem_sample *)(const void *)w->samples.base;
}

const struct llem_area *llem_watch_samples(const struct llem_watch *w)
{
    return &w->samples;
}

const struct llem_area *llem_watch_faults(const struct llem_watch *w)
{
    return &w->faults;
}
