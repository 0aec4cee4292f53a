/* SPDX-License-Identifier: MIT
 *
 * The made-up accelerator: piecewise constant drive through an RC, integrated in closed form.
 */
#include "tests/support/sim_load.h"

#include <math.h>
#include <stdlib.h>

int64_t sim_t0_ns(void)
{
    return INT64_C(1000000000000);
}

/* splitmix64 */
static uint64_t next(struct sim_random *r)
{
    uint64_t z = (r->s += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double sim_uniform(struct sim_random *r, double lo, double hi)
{
    return lo + (hi - lo) * ((double)(next(r) >> 11) / 9007199254740992.0);
}

static double decay(const struct sim_load *l, double dt)
{
    return exp(-dt / l->rc_s);
}

static double piece_energy(const struct sim_load *l, const struct sim_piece *p, double dt)
{
    return p->target_w * dt + (p->p_w - p->target_w) * l->rc_s * (1 - decay(l, dt));
}

static void add(struct sim_load *l, double at_s, double target_w)
{
    struct sim_piece piece = { at_s, target_w, l->idle_w, 0 };

    if (l->n) {
        const struct sim_piece *last = &l->pieces[l->n - 1];
        double dt = at_s - last->at_s;

        piece.p_w = last->target_w + (last->p_w - last->target_w) * decay(l, dt);
        piece.e_j = last->e_j + piece_energy(l, last, dt);
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 1024;
        l->pieces = realloc(l->pieces, l->cap * sizeof(*l->pieces));
        if (!l->pieces)
            abort();
    }
    l->pieces[l->n++] = piece;
}

void sim_load_init(struct sim_load *l, struct sim_random *r, double length_s)
{
    double t = 0, period = sim_uniform(r, 0.008, 0.030);
    double burst_at = -0.4 * log(1 - sim_uniform(r, 0, 1)), burst_end = 0;
    int high = 1;

    *l = (struct sim_load){ .idle_w = 120, .rc_s = 0.008, .length_s = length_s };
    add(l, -1000, 120);
    while (t < length_s) {
        double until;

        if (t >= burst_at) {
            burst_end = t + sim_uniform(r, 0.030, 0.180);
            burst_at = burst_end - 0.4 * log(1 - sim_uniform(r, 0, 1));
        }
        if (t < burst_end) {
            add(l, t, 650);
            until = burst_end;
        } else {
            add(l, t, high ? 465 : 320);
            high = !high;
            until = fmin(t + period / 2, burst_at);
        }
        t = fmin(until, length_s);
    }
    add(l, length_s, 120);
}

void sim_load_done(struct sim_load *l)
{
    free(l->pieces);
    *l = (struct sim_load){ 0 };
}

double sim_energy_at(const struct sim_load *l, double t_s)
{
    size_t lo = 0, hi = l->n;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->pieces[mid].at_s <= t_s)
            lo = mid;
        else
            hi = mid;
    }
    return l->pieces[lo].e_j + piece_energy(l, &l->pieces[lo], t_s - l->pieces[lo].at_s);
}

double sim_mean_power(const struct sim_load *l, double from_s, double to_s)
{
    return (sim_energy_at(l, to_s) - sim_energy_at(l, from_s)) / (to_s - from_s);
}

double sim_work_j(const struct sim_load *l)
{
    double settled = l->length_s + 1;

    return sim_energy_at(l, settled) - sim_energy_at(l, 0) - l->idle_w * 1;
}

double sim_window_j(const struct sim_load *l)
{
    return sim_energy_at(l, l->length_s) - sim_energy_at(l, 0);
}

void sim_sensor_init(struct sim_sensor *s, struct sim_random *r)
{
    *s = (struct sim_sensor){ .tick_s = 0.1,
                              .jitter_s = 0.002,
                              .phase_s = sim_uniform(r, 0, 0.1),
                              .update_s = 0.1,
                              .average_s = 1,
                              .instant_s = 0.025,
                              .gain = 1 };
    s->update_phase_s = s->phase_s; /* one sensor shows both */
}

void sim_reads_init(struct sim_reads *out, const struct sim_load *l, const struct sim_sensor *s,
                    struct sim_random *r, double from_s, double to_s, double every_s, double call_s)
{
    size_t n = (size_t)((to_s - from_s) / every_s) + 1;
    double start = from_s + sim_uniform(r, 0, every_s), e0 = sim_energy_at(l, from_s - 2);
    double tick = floor((from_s - 1) / s->tick_s) * s->tick_s + s->phase_s, shown_j = 0, last_tick;
    double tick_at = tick + sim_uniform(r, -s->jitter_s, s->jitter_s);
    double update = floor((from_s - 1) / s->update_s) * s->update_s + s->update_phase_s;
    double average = l->idle_w, instant = l->idle_w, sum = 0;

    *out = (struct sim_reads){ .n = n };
    out->begin_ns = calloc(n, sizeof(int64_t));
    out->end_ns = calloc(n, sizeof(int64_t));
    out->counter = calloc(n, sizeof(int64_t));
    out->average = calloc(n, sizeof(int64_t));
    out->instant = calloc(n, sizeof(int64_t));
    out->status = calloc(n, sizeof(int32_t));
    if (!out->begin_ns || !out->end_ns || !out->counter || !out->average || !out->instant ||
        !out->status)
        abort();
    last_tick = tick_at;
    for (size_t k = 0; k < n; k++) {
        double begin = start + (double)k * every_s;
        double end = begin + call_s, at = begin + sim_uniform(r, 0, call_s);

        while (tick_at <= at) {
            if (s->sampled) {
                /* It adds up what the instant power shows at that moment. */
                instant = sim_mean_power(l, tick_at - s->instant_s, tick_at);
                sum += instant * (tick_at - last_tick);
            } else {
                sum = sim_energy_at(l, tick_at) - e0;
            }
            last_tick = tick_at;
            shown_j = sum;
            tick += s->tick_s;
            tick_at = tick + sim_uniform(r, -s->jitter_s, s->jitter_s);
        }
        while (update <= at) {
            average = sim_mean_power(l, update - s->average_s, update);
            if (!s->sampled)
                instant = sim_mean_power(l, update - s->instant_s, update);
            update += s->update_s;
        }
        out->begin_ns[k] = sim_t0_ns() + (int64_t)llround(begin * 1e9);
        out->end_ns[k] = sim_t0_ns() + (int64_t)llround(end * 1e9);
        out->counter[k] = 5000000 + (int64_t)floor(s->gain * shown_j * 1000);
        out->average[k] = (int64_t)floor(s->gain * average * 1000);
        out->instant[k] = (int64_t)floor(s->gain * instant * 1000);
    }
}

void sim_reads_done(struct sim_reads *r)
{
    free(r->begin_ns);
    free(r->end_ns);
    free(r->counter);
    free(r->average);
    free(r->instant);
    free(r->status);
    *r = (struct sim_reads){ 0 };
}
