/* SPDX-License-Identifier: MIT
 *
 * A scenario: which boards a fake NVML shows, how their sensors see the power, and what goes wrong
 * when. The format is tests/fakes/README.md.
 */
#ifndef LLEM_FAKE_SCENARIO_H
#define LLEM_FAKE_SCENARIO_H

#include "tests/fakes/load.h"

enum { MAX_BOARDS = 16, MAX_FAULTS = 16, MAX_PROCESSES = 64, MAX_UNSUPPORTED = 32 };

enum fault_kind {
    FAULT_LOST,
    FAULT_RESET,
    FAULT_STUCK,
    FAULT_JUMP,
    FAULT_ZERO_POWER,
    FAULT_MAX_POWER,
    FAULT_GARBAGE,
    FAULT_ERROR,
    FAULT_FIELD,
    FAULT_DUPLICATES,
    FAULT_THROTTLE,
    FAULT_BLOCK,
};

struct fault {
    enum fault_kind kind;
    int64_t from_ns, to_ns; /* since the epoch */
    char flag[256];         /* instead: active while this file exists */
    double a, b;
    int64_t since_ns; /* when a flag was first seen; -1 = not yet */
};

enum counter_kind { COUNTER_TRUE, COUNTER_SAMPLED };

struct board {
    /* What every read needs stands together: eight boards are read a hundred times a second. */
    double gain, offset_w, counter_offset_w;
    double period_s, phase_s, jitter_s, lag_s;
    double window_s, average_s; /* what the instant and the average power are the mean over */
    double sensor_tau_s;        /* > 0: a lagging sensor instead of a mean (Kepler, Maxwell) */
    double latency_s[2];        /* how long a call takes: drawn between */
    bool usage_is_average;      /* what nvmlDeviceGetPowerUsage gives */
    enum counter_kind counter;
    uint64_t counter_start_mj;
    size_t n_faults, n_unsupported, n_processes;
    /* What one tick shows, computed once. */
    struct {
        int64_t tick;
        double window_s, value;
        bool valid;
    } shown[4];
    /* Sensor state that adds up over ticks: a sampling counter, a lagging sensor, the temperature.
     */
    int64_t tick, tick_ns;
    double sampled_j, lagging_w, celsius;
    int64_t celsius_ns;
    bool started;

    char uuid[96], name[96], pci[32];
    unsigned arch;
    int cc_major, cc_minor, index;
    double limit_w, min_limit_w, max_limit_w, default_limit_w;
    uint64_t memory_bytes;
    double ambient_c, kelvin_per_w, thermal_tau_s, slowdown_c;
    bool persistence;
    unsigned mig; /* instances; 0 = off */
    struct load load;
    char unsupported[MAX_UNSUPPORTED][24];
    unsigned unsupported_id[MAX_UNSUPPORTED]; /* the field id meant, 0 = a name */
    struct fault faults[MAX_FAULTS];
    struct {
        unsigned pid; /* 0 = the calling process */
        uint64_t bytes;
        char flag[256]; /* there while this file exists; "" = always */
    } processes[MAX_PROCESSES];
};

struct scenario {
    char driver[80], nvml[80];
    int cuda;
    uint64_t seed;
    int init_error;
    enum { EPOCH_INIT, EPOCH_BOOT, EPOCH_AT } epoch;
    int64_t epoch_ns;
    struct board boards[MAX_BOARDS];
    size_t n_boards;
};

/* One statement, cut into words; comments are gone. */
enum { SCENARIO_MAX_WORDS = 40 };
struct scenario_line {
    char *word[SCENARIO_MAX_WORDS];
    int n;
};
void scenario_line_split(struct scenario_line *l, char *text);
/* "load ...": add it to load; lag_s is set where the load needs one. False: not understood. */
bool scenario_line_load(const struct scenario_line *l, struct load *load, double *lag_s);

/* Read path (NULL: one idle H100). Returns 0, or -1 with a sentence in why. Release in any case. */
int scenario_load(struct scenario *s, const char *path, char *why, size_t size);
void scenario_done(struct scenario *s);
void scenario_set_epoch(struct scenario *s, int64_t epoch_ns);

#endif
