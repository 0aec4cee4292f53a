/* SPDX-License-Identifier: MIT
 *
 * fake-powercap DIR SCENARIO: make a sysfs tree with RAPL counters in DIR (for LLEM_SYSFS) and let
 * them grow, once a millisecond, until SIGTERM or the parent's end. README.md tells the format.
 * Prints one line when the tree is complete.
 */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fakes/scenario.h"

enum { MAX_ZONES = 16, CPUS_PER_PACKAGE = 8 };

struct zone {
    char entry[64], name[64];
    uint64_t max_uj, start_uj;
    unsigned mode;
    double tick_s, lag_s, stuck_s;
    char stuck_flag[256];
    struct load load;
    int fd, perf_fd;
    int64_t stuck_ns;
};

static struct zone zones[MAX_ZONES];
static size_t n_zones;
static bool with_perf, without_powercap;
static char vendor[16] = "0000";
static const char *root;

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((format(printf, 3, 4))) static int put(unsigned mode, const char *path,
                                                     const char *fmt, ...)
{
    char full[1024], text[256];
    va_list ap;
    int fd;

    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0755);
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) != 0) {
        perror(full);
        exit(1);
    }
    return fd;
}

static bool statement(const struct scenario_line *l)
{
    struct zone *z = n_zones ? &zones[n_zones - 1] : NULL;

    if (!strcmp(l->word[0], "perf") && l->n == 1)
        return with_perf = true;
    if (!strcmp(l->word[0], "no_powercap") && l->n == 1)
        return without_powercap = true;
    if (l->n < 2)
        return false;
    if (!strcmp(l->word[0], "vendor")) { /* 0000 Intel, 0002 AMD */
        snprintf(vendor, sizeof(vendor), "%s", l->word[1]);
        return true;
    }
    if (!strcmp(l->word[0], "zone") && n_zones < MAX_ZONES) {
        z = &zones[n_zones++];
        *z = (struct zone){ .max_uj = 262143328850, .mode = 0444, .tick_s = 0.001, .stuck_ns = -1 };
        snprintf(z->entry, sizeof(z->entry), "%s", l->word[1]);
        load_init(&z->load);
        z->load.idle_w = 20;
        return true;
    }
    if (!z)
        return false;
    if (!strcmp(l->word[0], "name"))
        snprintf(z->name, sizeof(z->name), "%s", l->word[1]);
    else if (!strcmp(l->word[0], "max_uj"))
        z->max_uj = strtoull(l->word[1], NULL, 10);
    else if (!strcmp(l->word[0], "start_uj"))
        z->start_uj = strtoull(l->word[1], NULL, 10);
    else if (!strcmp(l->word[0], "mode"))
        z->mode = (unsigned)strtoul(l->word[1], NULL, 8);
    else if (!strcmp(l->word[0], "tick"))
        z->tick_s = strtod(l->word[1], NULL);
    else if (!strcmp(l->word[0], "stuck") && l->word[1][0] == '@')
        snprintf(z->stuck_flag, sizeof(z->stuck_flag), "%s", l->word[1] + 1);
    else if (!strcmp(l->word[0], "load"))
        return scenario_line_load(l, &z->load, &z->lag_s);
    else
        return false;
    return true;
}

static void read_scenario(const char *path)
{
    struct scenario_line l;
    char text[4096];
    FILE *f = fopen(path, "re");

    if (!f) {
        perror(path);
        exit(1);
    }
    for (int number = 1; fgets(text, sizeof(text), f); number++) {
        scenario_line_split(&l, text);
        if (l.n && !statement(&l)) {
            fprintf(stderr, "%s:%d: cannot be understood: %s\n", path, number, l.word[0]);
            exit(1);
        }
    }
    fclose(f);
}

/* The PMU's number for a zone's name, and the package that the zone belongs to. */
static int event_of(const struct zone *z, int *package)
{
    static const char *const names[] = { NULL, "core", "package", "dram", "uncore", "psys" };
    const char *digits = strpbrk(z->name, "0123456789");

    if (!digits)
        digits = z->entry + strcspn(z->entry, "0123456789");
    *package = (int)strtol(digits, NULL, 10);
    for (int i = 1; i < 6; i++)
        if (!strncmp(z->name, names[i], strlen(names[i])))
            return i;
    return 0;
}

static void make_perf(void)
{
    static const char *const events[] = { NULL,         "energy-cores", "energy-pkg",
                                          "energy-ram", "energy-gpu",   "energy-psys" };
    char path[256], mask[64] = "";

    close(put(0444, "bus/event_source/devices/power/type", "9999\n"));
    for (size_t i = 0; i < n_zones; i++) {
        int package, event = event_of(&zones[i], &package);

        if (!event || strncmp(zones[i].entry, "intel-rapl:", 11) != 0)
            continue;
        snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s", events[event]);
        close(put(0444, path, "event=0x%02x\n", event));
        snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.scale",
                 events[event]);
        close(put(0444, path, "2.3283064365386962890625e-10\n"));
        snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.unit",
                 events[event]);
        close(put(0444, path, "Joules\n"));
        snprintf(path, sizeof(path), "fake-perf/%d.%d", event, package * CPUS_PER_PACKAGE);
        zones[i].perf_fd = put(0444, path, "0\n");
        if (event == 2) {
            snprintf(mask + strlen(mask), sizeof(mask) - strlen(mask), "%s%d", mask[0] ? "," : "",
                     package * CPUS_PER_PACKAGE);
            snprintf(path, sizeof(path), "devices/system/cpu/cpu%d/topology/physical_package_id",
                     package * CPUS_PER_PACKAGE);
            close(put(0444, path, "%d\n", package));
        }
    }
    close(put(0444, "bus/event_source/devices/power/cpumask", "%s\n", mask));
}

/* One write of a fixed length, so that a reader never sees half a number. */
static void show(int fd, uint64_t value)
{
    char text[24];
    int n;

    if (fd <= 0)
        return;
    n = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    memset(text + n, '\n', sizeof(text) - (size_t)n);
    if (pwrite(fd, text, sizeof(text), 0) < 0)
        exit(1);
}

static void update(struct zone *z, int64_t t)
{
    double joules, ticks;
    struct stat st;

    if (z->stuck_flag[0] && stat(z->stuck_flag, &st) == 0) {
        if (z->stuck_ns < 0)
            z->stuck_ns = t;
        t = z->stuck_ns;
    } else {
        z->stuck_ns = -1;
    }
    ticks = floor((1e-9 * (double)t - z->lag_s) / z->tick_s);
    joules = load_joules(&z->load, llround(1e9 * ticks * z->tick_s));
    if (joules < 0)
        joules = 0;
    show(z->fd, (z->start_uj + (uint64_t)(1e6 * joules)) % (z->max_uj + 1));
    show(z->perf_fd, (uint64_t)(joules * 4294967296.0));
}

int main(int argc, char **argv)
{
    char path[256];
    int64_t epoch = now_ns();

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (argc != 3) {
        fprintf(stderr, "usage: fake-powercap DIR SCENARIO\n");
        return 2;
    }
    root = argv[1];
    read_scenario(argv[2]);
    close(put(0444, "devices/system/cpu/modalias", "cpu:type:x86,ven%sfam0006mod006A:feature:\n",
              vendor));
    for (size_t i = 0; i < n_zones; i++) {
        struct zone *z = &zones[i];

        z->load.epoch_ns = epoch;
        z->load.seed = i + 1;
        if (without_powercap)
            continue;
        snprintf(path, sizeof(path), "class/powercap/%.63s/name", z->entry);
        close(put(0444, path, "%s\n", z->name));
        snprintf(path, sizeof(path), "class/powercap/%.63s/max_energy_range_uj", z->entry);
        close(put(0444, path, "%llu\n", (unsigned long long)z->max_uj));
        snprintf(path, sizeof(path), "class/powercap/%.63s/energy_uj", z->entry);
        z->fd = put(z->mode, path, "%llu\n", (unsigned long long)z->start_uj);
    }
    if (with_perf)
        make_perf();
    for (size_t i = 0; i < n_zones; i++)
        update(&zones[i], now_ns() - epoch);
    printf("ready %lld\n", (long long)epoch);
    fflush(stdout);

    for (int64_t deadline = epoch;;) {
        struct timespec next;

        deadline += 1000000;
        if (deadline < now_ns())
            deadline = now_ns(); /* starved: do not make up for it */
        next.tv_sec = deadline / 1000000000;
        next.tv_nsec = deadline % 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        for (size_t i = 0; i < n_zones; i++)
            update(&zones[i], now_ns() - epoch);
    }
}
