/* SPDX-License-Identifier: MIT
 *
 * Loads: a list of targets with the energy up to each, unfolded only as far as somebody asks.
 */
#include "tests/fakes/load.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t fake_hash(uint64_t seed)
{
    /* splitmix64, public domain */
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double fake_uniform(uint64_t seed)
{
    return (double)(fake_hash(seed) >> 11) * 0x1p-53;
}

static int64_t ns(double s)
{
    return (int64_t)llround(s * 1e9);
}

void load_init(struct load *l)
{
    memset(l, 0, sizeof(*l));
    l->trace_fd = -1;
}

void load_done(struct load *l)
{
    free(l->targets);
    if (l->trace_fd >= 0)
        close(l->trace_fd);
    load_init(l);
}

bool load_add(struct load *l, const struct load_part *part)
{
    const struct load_part *last = l->n_parts ? &l->parts[l->n_parts - 1] : NULL;

    if (l->n_parts == LOAD_MAX_PARTS || part->begin_ns < 0)
        return false;
    if (last && part->begin_ns < (last->kind == PART_STEP ? last->begin_ns : last->end_ns))
        return false;
    l->parts[l->n_parts++] = *part;
    return true;
}

/* Power and energy at t, following one target. */
static void follow(const struct load *l, const struct load_target *from, int64_t t_ns,
                   double *power, double *joules)
{
    double dt = 1e-9 * (double)(t_ns - from->t_ns), decay;

    if (l->tau_s <= 0) {
        *power = from->target_w;
        *joules = from->joules + from->target_w * dt;
        return;
    }
    decay = exp(-dt / l->tau_s);
    *power = from->target_w + (from->power_w - from->target_w) * decay;
    *joules = from->joules + from->target_w * dt +
              (from->power_w - from->target_w) * l->tau_s * (1 - decay);
}

static void target(struct load *l, int64_t t_ns, double watts)
{
    struct load_target *next, *last;

    if (l->n_targets == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        next = realloc(l->targets, l->cap * sizeof(*l->targets));
        if (!next)
            abort();
        l->targets = next;
    }
    next = &l->targets[l->n_targets];
    if (!l->n_targets) {
        *next = (struct load_target){ .t_ns = t_ns, .target_w = watts, .power_w = watts };
    } else {
        last = &l->targets[l->n_targets - 1];
        if (t_ns < last->t_ns)
            t_ns = last->t_ns;
        next->t_ns = t_ns;
        next->target_w = watts;
        follow(l, last, t_ns, &next->power_w, &next->joules);
        if (l->tau_s <= 0)
            next->power_w = watts;
    }
    l->n_targets++;
}

static void read_trace(struct load *l)
{
    char text[4096];
    ssize_t n;

    if (l->trace_fd < 0)
        l->trace_fd = open(l->trace, O_RDONLY | O_CLOEXEC);
    if (l->trace_fd < 0)
        return;
    while ((n = pread(l->trace_fd, text, sizeof(text) - 1, l->trace_at)) > 0) {
        char *line = text, *end;

        text[n] = '\0';
        for (; (end = strchr(line, '\n')); line = end + 1) {
            char *rest;
            long long t = strtoll(line, &rest, 10);
            double watts = strtod(rest, &rest);

            if (rest == end)
                target(l, t - l->epoch_ns, watts);
        }
        if (line == text)
            break; /* an unfinished line */
        l->trace_at += line - text;
    }
}

/* A decode phase with prefill bursts in between: reference §3.2's load. Gaps between bursts are
 * exponential with mean 400 ms, bursts last 30 to 180 ms, each decode wave 8 to 30 ms. */
static void unfold_decode(struct load *l, const struct load_part *p, int64_t until_ns)
{
    if (!l->in_part) {
        l->draw = fake_hash(l->seed ^ (uint64_t)p->begin_ns);
        l->cursor_ns = p->begin_ns;
        l->burst_ns = l->cursor_ns + ns(-0.4 * log(1 - fake_uniform(l->draw++)));
    }
    while (l->cursor_ns < p->end_ns && l->cursor_ns <= until_ns) {
        if (l->cursor_ns >= l->burst_ns) {
            target(l, l->cursor_ns, p->c_w);
            l->cursor_ns += ns(0.03 + 0.15 * fake_uniform(l->draw++));
            l->burst_ns = l->cursor_ns + ns(-0.4 * log(1 - fake_uniform(l->draw++)));
        } else {
            int64_t half = ns((0.008 + 0.022 * fake_uniform(l->draw++)) / 2);

            target(l, l->cursor_ns, p->a_w);
            if (l->cursor_ns + half < p->end_ns)
                target(l, l->cursor_ns + half, p->b_w);
            l->cursor_ns += 2 * half;
        }
    }
}

static void unfold_square(struct load *l, const struct load_part *p, int64_t until_ns)
{
    if (!l->in_part) {
        l->wave = 0;
        l->cursor_ns = p->begin_ns;
    }
    while (l->cursor_ns < p->end_ns && l->cursor_ns <= until_ns) {
        int64_t down = p->begin_ns + ns(((double)l->wave + p->duty) * p->period_s);

        target(l, l->cursor_ns, p->a_w);
        if (down < p->end_ns)
            target(l, down, p->b_w);
        l->wave++;
        l->cursor_ns = p->begin_ns + ns((double)l->wave * p->period_s);
    }
}

static void unfold(struct load *l, int64_t t_ns)
{
    if (!l->n_targets)
        target(l, 0, l->idle_w);
    while (l->part < l->n_parts && l->parts[l->part].begin_ns <= t_ns) {
        const struct load_part *p = &l->parts[l->part];

        if (p->kind == PART_STEP) {
            target(l, p->begin_ns, p->a_w);
        } else {
            if (p->kind == PART_SQUARE)
                unfold_square(l, p, t_ns);
            else
                unfold_decode(l, p, t_ns);
            l->in_part = l->cursor_ns < p->end_ns;
            if (l->in_part)
                break;
            target(l, p->end_ns, l->idle_w);
        }
        l->part++;
    }
    if (l->trace[0])
        read_trace(l);
}

static void at(struct load *l, int64_t t_ns, double *power, double *joules)
{
    size_t low = 0, high;

    unfold(l, t_ns);
    if (t_ns <= 0) {
        *power = l->idle_w;
        *joules = 1e-9 * (double)t_ns * l->idle_w;
        return;
    }
    high = l->n_targets;
    /* Most questions are about a moment just after the last one. */
    if (l->hint < high && l->targets[l->hint].t_ns <= t_ns)
        low = l->hint;
    for (size_t step = 1; low + step < high; step *= 2)
        if (l->targets[low + step].t_ns > t_ns)
            high = low + step;
    while (high - low > 1) { /* the last target at or before t */
        size_t middle = low + (high - low) / 2;

        if (l->targets[middle].t_ns <= t_ns)
            low = middle;
        else
            high = middle;
    }
    l->hint = low;
    follow(l, &l->targets[low], t_ns, power, joules);
}

double load_joules(struct load *l, int64_t t_ns)
{
    double power, joules;

    at(l, t_ns, &power, &joules);
    return joules;
}

double load_power(struct load *l, int64_t t_ns)
{
    double power, joules;

    at(l, t_ns, &power, &joules);
    return power;
}

double load_mean_power(struct load *l, int64_t from_ns, int64_t to_ns)
{
    if (to_ns <= from_ns)
        return load_power(l, to_ns);
    return (load_joules(l, to_ns) - load_joules(l, from_ns)) / (1e-9 * (double)(to_ns - from_ns));
}
