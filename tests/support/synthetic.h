/* SPDX-License-Identifier: MIT
 *
 * A whole experiment directory without hardware or engine: a recording of a made-up load
 * (sim_load.h), as the harness would have written it, with the truth beside it.
 */
#ifndef LLEM_TESTS_SYNTHETIC_H
#define LLEM_TESTS_SYNTHETIC_H

#include "lib/base/value.h"

enum synthetic_sensor { SYNTHETIC_NVML, SYNTHETIC_RAPL, SYNTHETIC_ESTIMATE, SYNTHETIC_NONE };

struct synthetic_opts {
    enum synthetic_sensor sensor;
    int n_gpus;        /* of SYNTHETIC_NVML; 0 = 1; one more is idle and not charged */
    double length_s;   /* of the window; 0 = 5 */
    double read_s;     /* 0 = 1 ms */
    int n_requests;    /* 0 = 12, in batches of 4 */
    int output_tokens; /* 0 = 32 each */
    bool no_tokens;    /* the engine does not time tokens */
    bool no_baseline, quick, is_measure, throttled;
    bool two_ranks; /* the engine has two processes, on the first two boards */
    uint64_t seed;
};

struct synthetic_truth {
    double energy_j, window_j, bare_w; /* of the charged domains together */
    int64_t input_tokens, output_tokens;
    double ttft_ms, itl_ms, e2e_ms; /* the same for every request */
};

/* Write <dir>/recording/ (made). `edit`, if not NULL, may change recording.json before it is
 * written. Aborts on failure: this is test code. */
void synthetic_write(const char *dir, const struct synthetic_opts *opts,
                     struct synthetic_truth *truth,
                     void (*edit)(struct llem_value *json, struct llem_arena *a));
/* A new temporary directory, to remove with llem_remove_tree() and free(). */
char *synthetic_tempdir(void);

#endif
