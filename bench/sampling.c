/* SPDX-License-Identifier: MIT
 *
 * What reading eight boards a hundred times a second costs, and whether it keeps its deadlines: the
 * loop of the harness's sampler thread, beside a loop that only sleeps, and one that calls the
 * library and does nothing with it, which tells what of the cost is the library's. They take turns
 * in the same run, so that whatever else the machine does is fair to all.
 *
 * usage: sampling [SECONDS]      LLEM_NVML_LIBRARY and LLEM_FAKE_NVML_SCENARIO say what is read
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/sampler/sampler.h"

enum { RATE_HZ = 100, SLOW_EVERY = 20, TURN_S = 2, KEPT_NS = 1000000, MAX_FIELDS = 16 };

struct sample {
    int64_t begin_ns, end_ns;
    uint16_t domain;
    struct llem_reading reading;
};

/* The library without llem: its three fields of a board in one call, as NVML lays them out. */
struct field_value {
    unsigned id, scope;
    long long timestamp_us, latency_us;
    int type, status;
    unsigned long long value;
};
enum { MAX_BOARDS = 64 };
static int (*get_fields)(void *handle, int n, struct field_value *values);
static void *handles[MAX_BOARDS];

static bool find_library(size_t n_boards)
{
    int (*get_handle)(unsigned index, void **handle);
    const char *path = getenv("LLEM_NVML_LIBRARY");
    void *library = dlopen(path ? path : "libnvidia-ml.so.1", RTLD_NOW);

    if (!library)
        return false;
    *(void **)&get_handle = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    *(void **)&get_fields = dlsym(library, "nvmlDeviceGetFieldValues");
    if (!get_handle || !get_fields)
        return false;
    for (size_t d = 0; d < n_boards && d < MAX_BOARDS; d++)
        if (get_handle((unsigned)d, &handles[d]) != 0)
            return false;
    return true;
}

static void call_library(size_t n_boards)
{
    for (size_t d = 0; d < n_boards && d < MAX_BOARDS; d++) {
        struct field_value values[3] = { { .id = 83 }, { .id = 186 }, { .id = 185 } };

        get_fields(handles[d], 3, values);
    }
}

enum { ALONE, LIBRARY, SAMPLING, N_SIDES };
struct side {
    const char *name;
    int64_t deadlines, kept, worst_ns, cpu_ns, wall_ns;
};

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * LLEM_NS_PER_S + t.tv_nsec;
}

static void read_all(void *self, size_t n_domains, bool slow, struct sample *store, size_t *used,
                     size_t room)
{
    struct llem_reading r[MAX_FIELDS];

    for (size_t d = 0; d < n_domains; d++) {
        int64_t begin = clock_ns(CLOCK_MONOTONIC), end;
        size_t n = llem_sampler_nvml.read(self, d, slow, r);

        end = clock_ns(CLOCK_MONOTONIC);
        for (size_t i = 0; i < n && *used < room; i++)
            store[(*used)++] = (struct sample){ begin, end, (uint16_t)d, r[i] };
    }
}

int main(int argc, char **argv)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    struct side sides[N_SIDES] = { { .name = "clock_nanosleep alone" },
                                   { .name = "the library's calls" },
                                   { .name = "sampling" } };
    double share[N_SIDES];
    int64_t seconds = 20, turns;
    size_t n_domains, n_fields = 0, used = 0, room;
    const struct llem_domain *domains;
    struct sample *store;
    llem_ctx *ctx;
    llem_error err;
    void *self;

    if (argc > 1 && (!llem_parse_i64(argv[1], &seconds) || seconds < TURN_S))
        return 2;
    if (llem_ctx_new(&ctx, &opts, &err) != LLEM_OK ||
        llem_sampler_nvml.open(&self, ctx, &err) != LLEM_OK) {
        fprintf(stderr, "sampling: %s %s\n", err.msg, err.hint);
        return 1;
    }
    domains = llem_sampler_nvml.domains(self, &n_domains);
    for (size_t i = 0; i < n_domains; i++)
        n_fields += domains[i].n_fields;
    room = (size_t)(seconds * RATE_HZ + RATE_HZ) * n_fields;
    store = calloc(room, sizeof(*store));
    if (!store)
        return 1;
    for (size_t i = 0; i < room; i++)
        store[i].domain = 1; /* touch it: the harness does so before the window */

    if (!find_library(n_domains)) {
        fprintf(stderr, "sampling: LLEM_NVML_LIBRARY has no boards to call\n");
        return 1;
    }
    turns = N_SIDES * (seconds / TURN_S);
    for (int64_t turn = 0; turn < turns; turn++) {
        struct side *side = &sides[turn % N_SIDES];
        int64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), wall = clock_ns(CLOCK_MONOTONIC);
        int64_t deadline = wall;

        for (int i = 0; i < TURN_S * RATE_HZ; i++) {
            struct timespec next;
            int64_t late;

            deadline += LLEM_NS_PER_S / RATE_HZ;
            next.tv_sec = deadline / LLEM_NS_PER_S;
            next.tv_nsec = deadline % LLEM_NS_PER_S;
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) != 0)
                ;
            late = clock_ns(CLOCK_MONOTONIC) - deadline;
            if (side == &sides[LIBRARY])
                call_library(n_domains);
            if (side == &sides[SAMPLING]) {
                read_all(self, n_domains, false, store, &used, room);
                if (i % SLOW_EVERY == 0)
                    read_all(self, n_domains, true, store, &used, room);
            }
            side->deadlines++;
            side->kept += late <= KEPT_NS;
            if (late > side->worst_ns)
                side->worst_ns = late;
        }
        side->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
        side->wall_ns += clock_ns(CLOCK_MONOTONIC) - wall;
    }

    printf("%zu boards, %d Hz, %" PRId64 " s each, %zu readings kept\n", n_domains, RATE_HZ,
           seconds, used);
    printf("%-24s %14s %22s %14s\n", "", "CPU, % of core", "deadlines within 1 ms", "worst, ms");
    for (int i = 0; i < N_SIDES; i++) {
        share[i] = 100.0 * (double)sides[i].cpu_ns / (double)sides[i].wall_ns;
        printf("%-24s %14.3f %13" PRId64 " of %5" PRId64 " %14.3f\n", sides[i].name, share[i],
               sides[i].kept, sides[i].deadlines, 1e-6 * (double)sides[i].worst_ns);
    }
    printf(
        "CPU on top of the loop alone: %.3f %% of a core, of which the pretended library's calls "
        "are %.3f\n",
        share[SAMPLING] - share[ALONE], share[LIBRARY] - share[ALONE]);
    printf("CPU against the limit of 0.5 %%: %.2f; deadlines kept, sampling / alone: %.4f\n",
           share[SAMPLING] / 0.5, (double)sides[SAMPLING].kept / (double)sides[ALONE].kept);
    llem_sampler_nvml.close(self);
    llem_ctx_free(ctx);
    free(store);
    return 0;
}
