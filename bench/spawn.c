/* SPDX-License-Identifier: MIT
 *
 * Runs a command N times and prints the median of its wall time and its peak resident size. Small
 * itself, because the peak of a child counts from the size of the process that started it.
 *
 *     spawn N COMMAND [ARGUMENT...]      prints: <median ms> <peak KiB>
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { MOST = 10000 };

static int compare(const void *x, const void *y)
{
    const double *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

int main(int argc, char **argv)
{
    static double ms[MOST];
    extern char **environ;
    posix_spawn_file_actions_t actions;
    long n = argc > 2 ? strtol(argv[1], NULL, 10) : 0, peak_kib = 0;

    if (n < 1 || n > MOST)
        return 2;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    for (long i = 0; i < n; i++) {
        struct timespec begin, end;
        struct rusage usage;
        int status;
        pid_t pid;

        clock_gettime(CLOCK_MONOTONIC, &begin);
        if (posix_spawnp(&pid, argv[2], &actions, NULL, argv + 2, environ) != 0 ||
            wait4(pid, &status, 0, &usage) != pid || status != 0)
            return 1;
        clock_gettime(CLOCK_MONOTONIC, &end);
        ms[i] = (double)(end.tv_sec - begin.tv_sec) * 1e3 +
                (double)(end.tv_nsec - begin.tv_nsec) * 1e-6;
        if (usage.ru_maxrss > peak_kib)
            peak_kib = usage.ru_maxrss;
    }
    posix_spawn_file_actions_destroy(&actions);
    qsort(ms, (size_t)n, sizeof(*ms), compare);
    printf("%.3f %ld\n", ms[n / 2], peak_kib);
    return 0;
}
