/* SPDX-License-Identifier: MIT
 *
 * How long the rest of a study takes, by what its runs took so far. A run is taken to last as long
 * as the others of its experiment (the median of the last three), else as all (their mean, far
 * outliers drawn in). The spread is twice the standard deviation of the sum: by how far such
 * expectations missed, or how much runs differ where nothing was repeated yet. Constant work a run.
 */
#ifndef LLEM_SRC_LEFT_H
#define LLEM_SRC_LEFT_H

#include <stdbool.h>

enum { LEFT_LATEST = 64, LEFT_REPEATS = 3, LEFT_BASIS = 2 };

struct left_experiment {
    float took_s[LEFT_REPEATS];
    int n_took, n_left;
};

/* The latest of what came, and their mean and standard deviation without far outliers. */
struct left_sample {
    double values[LEFT_LATEST], mean, sd;
    int n;
};

/* Zero-initialise. */
struct left {
    struct left_experiment *experiments;
    int n_experiments;
    struct left_sample took, missed; /* s; relative to what was expected */
    double known_s, known_s2;        /* sums over experiments: what theirs take; its square */
    double unknown, unknown2;        /* runs left of experiments that none tells of */
    double pauses_s;
};

/* A run that is to do. false: out of memory. */
bool left_add(struct left *l, int experiment, double pause_s);
/* Its pause is over. */
void left_paused(struct left *l, double pause_s);
/* It is over. NaN: that tells nothing about the others. */
void left_took(struct left *l, int experiment, double seconds);
/* running: the experiment that runs, of which elapsed_s are over; 0 = none. false: there is nothing
 * to tell it by. */
bool left_estimate(const struct left *l, int running, double elapsed_s, double *s,
                   double *spread_s);
void left_done(struct left *l);

#endif
