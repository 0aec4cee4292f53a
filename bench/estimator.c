/* SPDX-License-Identifier: MIT
 *
 * The counter estimator beside the naive methods, on a made-up load whose energy is known, in
 * virtual time: bias and scatter over 300 random phases, and how many times wider the others miss.
 */
#include <math.h>
#include <stdio.h>

#include "lib/result/energy.h"
#include "lib/result/stats.h"
#include "tests/support/sim_load.h"

enum { PHASES = 300, METHODS = 5 };

static const char *const names[METHODS] = {
    "counter, ticks and idle (llem)",
    "counter, plain difference",
    "1 s average, tail (llem)",
    "1 s average, polled at 100 ms",
    "instant 25/100 ms, polled at 100 ms",
};

/* The first value at or after t, as a program gets it that reads when the work begins or ends. */
static double value_at(const struct sim_reads *r, const int64_t *raw, double t_s)
{
    size_t k = 0;

    while (k + 1 < r->n && r->begin_ns[k] < sim_t0_ns() + llround(t_s * 1e9))
        k++;
    return (double)raw[k] / 1000;
}

/* Trapezoid over readings 100 ms apart inside the window. */
static double polled(const struct sim_reads *r, const int64_t *raw, double length_s)
{
    double sum = 0, last = value_at(r, raw, 0), step = 0.1;

    for (double t = step; t <= length_s + 1e-9; t += step) {
        double now = value_at(r, raw, t);

        sum += step * (last + now) / 2;
        last = now;
    }
    return sum;
}

static void row(double length_s, double every_s)
{
    static double error[METHODS][PHASES];
    struct sim_random r = { 42 };
    double width[METHODS];

    for (int k = 0; k < PHASES; k++) {
        const double head = -2.2, tail = length_s + 2.15;
        struct llem__window w = { sim_t0_ns(), sim_t0_ns() + llround(length_s * 1e9),
                                  sim_t0_ns() + llround(head * 1e9),
                                  sim_t0_ns() + llround(tail * 1e9) };
        struct llem__device d = { .max_power_w = 1400, .power_limit_w = 700 };
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem__reads counter, average;
        struct llem__counter c;
        struct llem__power p;
        struct llem__estimate e[2];
        struct sim_sensor s;
        struct sim_reads reads;
        struct sim_load l;
        double q, value[METHODS];

        sim_load_init(&l, &r, length_s);
        sim_sensor_init(&s, &r);
        sim_reads_init(&reads, &l, &s, &r, head, tail, every_s, 30e-6);
        counter = (struct llem__reads){
            reads.n, reads.begin_ns, reads.end_ns, reads.counter, reads.status, 1e-3, 0, 0, 0
        };
        average = counter;
        average.raw = reads.average;
        average.averaging_s = 1;
        llem__counter_init(&c, &a, &counter, &w, &d);
        llem__power_init(&p, &a, &average, &w, &d);
        llem__estimate_counter(&e[0], &a, &c, &w, &d);
        llem__estimate_average(&e[1], &a, &p, &w);
        q = sim_work_j(&l);
        value[0] = e[0].e_j;
        value[1] = value_at(&reads, reads.counter, length_s) - value_at(&reads, reads.counter, 0);
        value[2] = e[1].e_j;
        value[3] = polled(&reads, reads.average, length_s);
        value[4] = polled(&reads, reads.instant, length_s);
        for (int m = 0; m < METHODS; m++)
            error[m][k] = 100 * (value[m] - q) / q;
        sim_reads_done(&reads);
        sim_load_done(&l);
        llem_arena_done(&a);
    }
    for (int m = 0; m < METHODS; m++) {
        double bias = llem__mean(error[m], PHASES), sd = llem__sd(error[m], PHASES);

        width[m] = hypot(bias, sd);
        printf("%5.1f s  %2.0f ms  %-36s %9.4f %% %9.4f %%  %9.1f times\n", length_s, every_s * 1e3,
               names[m], bias, sd, width[m] / width[0]);
    }
}

int main(void)
{
    const double lengths[] = { 0.5, 1, 2, 5, 10 };

    printf("window  reads  method                                    bias        sd     misses by, "
           "to ours\n");
    for (size_t k = 0; k < sizeof(lengths) / sizeof(*lengths); k++)
        row(lengths[k], 0.001);
    row(1, 0.010);
    row(5, 0.010);
    return 0;
}
