/* SPDX-License-Identifier: MIT
 *
 * The power of a pretended device over time, and its exact integral. Power follows a list of
 * targets through one time constant, so that energy between any two moments has a closed form: what
 * a fake sensor shows can be compared with what was really consumed.
 */
#ifndef LLEM_FAKE_LOAD_H
#define LLEM_FAKE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_MAX_PARTS = 32 };

struct load_part {
    enum { PART_STEP, PART_SQUARE, PART_DECODE } kind;
    int64_t begin_ns, end_ns; /* since the epoch; a step has no end */
    double a_w, b_w, c_w;     /* step: target; square: high, low; decode: high, low, burst */
    double period_s, duty;
};

struct load {
    double idle_w, tau_s;
    struct load_part parts[LOAD_MAX_PARTS];
    size_t n_parts;
    char trace[512]; /* a growing file of "t_ns watts" lines, CLOCK_MONOTONIC; "" = none */
    int64_t epoch_ns;
    uint64_t seed;

    /* Made from the above as far as was asked for. */
    struct load_target {
        int64_t t_ns;
        double target_w, power_w, joules; /* power and energy since the epoch at t_ns */
    } * targets;
    size_t n_targets, cap;
    size_t hint; /* where the last question was answered */
    size_t part; /* the part being unfolded, and how far it is */
    bool in_part;
    int64_t cursor_ns, burst_ns, wave;
    uint64_t draw;
    int trace_fd;
    int64_t trace_at;
};

void load_init(struct load *l);
void load_done(struct load *l);
bool load_add(struct load *l, const struct load_part *part); /* false: no room, or not in order */
/* J from the epoch to t, t in ns since the epoch; before the epoch power is idle_w. */
double load_joules(struct load *l, int64_t t_ns);
double load_power(struct load *l, int64_t t_ns);
double load_mean_power(struct load *l, int64_t from_ns, int64_t to_ns);

/* Random numbers that depend on nothing but their seed. */
uint64_t fake_hash(uint64_t seed);
double fake_uniform(uint64_t seed); /* 0 <= x < 1 */

#endif
