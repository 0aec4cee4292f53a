/* SPDX-License-Identifier: MIT
 *
 * CPU time of opening and closing a measurement window on every board: at each edge one read of
 * each board (counter and both powers) with its own timestamps. The snapshots that the harness
 * takes outside the window are timed apart. Prints microseconds: window, then snapshots.
 *
 * usage: window [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/sampler/sampler.h"

enum { MAX_FIELDS = 16, SNAPSHOT_SHARE = 20 };

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * LLEM_NS_PER_S + t.tv_nsec;
}

static int64_t edge(void *self, size_t n_domains, struct llem_reading *out)
{
    int64_t sum = 0;

    for (size_t d = 0; d < n_domains; d++) {
        int64_t begin = clock_ns(CLOCK_MONOTONIC);

        if (llem_sampler_nvml.read(self, d, false, &out[d * MAX_FIELDS]) == 0)
            exit(1);
        sum += clock_ns(CLOCK_MONOTONIC) - begin;
    }
    return sum;
}

int main(int argc, char **argv)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    int64_t rounds = 2000, begin, window_ns, snapshot_ns, spent = 0;
    struct llem_reading *first, *last;
    double joules = 0;
    size_t n_domains;
    llem_ctx *ctx;
    llem_error err;
    void *self;

    if (argc > 1 && (!llem_parse_i64(argv[1], &rounds) || rounds < SNAPSHOT_SHARE))
        return 2;
    if (llem_ctx_new(&ctx, &opts, &err) != LLEM_OK ||
        llem_sampler_nvml.open(&self, ctx, &err) != LLEM_OK) {
        fprintf(stderr, "window: %s %s\n", err.msg, err.hint);
        return 1;
    }
    llem_sampler_nvml.domains(self, &n_domains);
    first = calloc(n_domains, MAX_FIELDS * sizeof(*first));
    last = calloc(n_domains, MAX_FIELDS * sizeof(*last));
    if (!first || !last)
        return 1;

    begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (int64_t i = 0; i < rounds; i++) {
        spent += edge(self, n_domains, first);
        spent += edge(self, n_domains, last);
        for (size_t d = 0; d < n_domains; d++)
            joules += 1e-3 * (double)(last[d * MAX_FIELDS].raw - first[d * MAX_FIELDS].raw);
    }
    window_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;

    begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (int64_t i = 0; i < rounds / SNAPSHOT_SHARE; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;

        llem_sampler_nvml.snapshot(self, &a);
        llem_sampler_nvml.snapshot(self, &a);
        llem_arena_done(&a);
    }
    snapshot_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
    printf("%.3f %.3f\n", 1e-3 * (double)window_ns / (double)rounds,
           1e-3 * (double)snapshot_ns / (double)(rounds / SNAPSHOT_SHARE));
    llem_sampler_nvml.close(self);
    llem_ctx_free(ctx);
    free(first);
    free(last);
    return spent < 0 || joules < 0;
}
