/* SPDX-License-Identifier: MIT
 *
 * fake-load TRACE IDLE_W [FLAG=WATTS...] [--tree PID WATTS_PER_CPU]: write a power trace for `load
 * trace` that follows what really happens: the highest WATTS whose file FLAG exists, plus
 * WATTS_PER_CPU for every CPU that the process tree of PID keeps busy. Ends on SIGTERM or with its
 * parent.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FLAGS = 16, POLL_MS = 2, TREE_POLLS = 5 };

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ns that the tree of pid has run on a CPU, as far as its members still live. */
static uint64_t run_time_ns(long pid, int depth)
{
    char path[512], text[4096];
    uint64_t sum = 0;
    struct dirent *e;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%ld/task", pid);
    tasks = depth < 16 ? opendir(path) : NULL;
    while (tasks && (e = readdir(tasks))) {
        unsigned long long ran = 0;
        FILE *f;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/schedstat", pid, e->d_name);
        f = fopen(path, "re");
        if (f && fscanf(f, "%llu", &ran) == 1)
            sum += ran;
        if (f)
            fclose(f);
        snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/children", pid, e->d_name);
        f = fopen(path, "re");
        if (f && fgets(text, sizeof(text), f)) {
            char *at = text, *end;

            for (long child; (child = strtol(at, &end, 10)), end != at; at = end)
                sum += run_time_ns(child, depth + 1);
        }
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

int main(int argc, char **argv)
{
    struct {
        const char *path;
        double watts;
    } flags[MAX_FLAGS];
    int n_flags = 0;
    double idle_w, per_cpu_w = 0, tree_w = 0, last = -1;
    long tree = 0;
    uint64_t ran = 0;
    int64_t ran_at = 0;
    FILE *trace;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (argc < 3) {
        fprintf(stderr,
                "usage: fake-load TRACE IDLE_W [FLAG=WATTS...] [--tree PID WATTS_PER_CPU]\n");
        return 2;
    }
    idle_w = strtod(argv[2], NULL);
    for (int i = 3; i < argc; i++) {
        char *equal = strchr(argv[i], '=');

        if (!strcmp(argv[i], "--tree") && i + 2 < argc) {
            tree = strtol(argv[i + 1], NULL, 10);
            per_cpu_w = strtod(argv[i + 2], NULL);
            i += 2;
        } else if (equal && n_flags < MAX_FLAGS) {
            *equal = '\0';
            flags[n_flags].path = argv[i];
            flags[n_flags++].watts = strtod(equal + 1, NULL);
        } else {
            fprintf(stderr, "fake-load: what is %s?\n", argv[i]);
            return 2;
        }
    }
    trace = fopen(argv[1], "ae");
    if (!trace) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(trace, NULL, _IOLBF, 0);

    for (int64_t deadline = now_ns(), poll = 0;; poll++) {
        struct timespec next;
        struct stat st;
        double watts = idle_w;

        for (int i = 0; i < n_flags; i++)
            if (flags[i].watts > watts && stat(flags[i].path, &st) == 0)
                watts = flags[i].watts;
        if (tree && poll % TREE_POLLS == 0) {
            int64_t t = now_ns();
            uint64_t sum = run_time_ns(tree, 0);

            /* Members that ended take their time with them. */
            tree_w =
                ran_at && sum > ran ? per_cpu_w * (double)(sum - ran) / (double)(t - ran_at) : 0;
            ran = sum;
            ran_at = t;
        }
        watts += tree_w;
        if (watts > last + 0.01 || watts < last - 0.01) {
            fprintf(trace, "%lld %.3f\n", (long long)now_ns(), watts);
            last = watts;
        }
        deadline += POLL_MS * 1000000;
        next.tv_sec = deadline / 1000000000;
        next.tv_nsec = deadline % 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
}
