/* SPDX-License-Identifier: MIT
 *
 * A made-up accelerator in virtual time: a load whose energy is known exactly, and the sensors that
 * look at it. Idle 120 W; decoding as a square wave of 465 and 320 W with a period of 8 to 30 ms;
 * bursts of prefill at 650 W for 30 to 180 ms, 400 ms apart in the mean; all through an RC of 8 ms.
 */
#ifndef LLEM_TESTS_SIM_LOAD_H
#define LLEM_TESTS_SIM_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct sim_random {
    uint64_t s;
};
double sim_uniform(struct sim_random *r, double lo, double hi);

struct sim_piece {
    double at_s, target_w; /* from at_s on the RC is driven by target_w */
    double p_w, e_j;       /* the power and the energy so far at at_s */
};
/* The load runs in [0, length]; before and after is idle, for ever. */
struct sim_load {
    struct sim_piece *pieces;
    size_t n, cap;
    double idle_w, rc_s, length_s;
};
void sim_load_init(struct sim_load *l, struct sim_random *r, double length_s);
void sim_load_done(struct sim_load *l);
/* Energy from a time long before the load until t. Exact. */
double sim_energy_at(const struct sim_load *l, double t_s);
double sim_mean_power(const struct sim_load *l, double from_s, double to_s);
/* What the work took: from 0 to its end, and the decay after it above idle. */
double sim_work_j(const struct sim_load *l);
/* Over [0, length] alone. */
double sim_window_j(const struct sim_load *l);

/* Reads of three fields at the same moments. Times are ns from sim_t0_ns(). */
struct sim_reads {
    size_t n;
    int64_t *begin_ns, *end_ns, *counter, *average, *instant; /* mJ, mW, mW */
    int32_t *status;
};
struct sim_sensor {
    double tick_s, jitter_s, phase_s; /* of the counter */
    double update_s, update_phase_s;  /* of both powers */
    double average_s, instant_s;      /* their averaging times */
    double gain;
    int sampled; /* the counter adds up instant power instead of energy */
};
void sim_sensor_init(struct sim_sensor *s, struct sim_random *r);
void sim_reads_init(struct sim_reads *out, const struct sim_load *l, const struct sim_sensor *s,
                    struct sim_random *r, double from_s, double to_s, double every_s,
                    double call_s);
void sim_reads_done(struct sim_reads *r);
int64_t sim_t0_ns(void);

#endif
