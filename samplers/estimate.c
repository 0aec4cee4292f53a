/* SPDX-License-Identifier: MIT
 *
 * The load of the CPUs, for machines without an energy sensor: the kernel's busy time of all CPUs,
 * and beside it the power that such a CPU is sold with. Load times power is an estimate, never a
 * measurement; this file only reads the load and names the power.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sampler/sampler.h"

enum { FIELD_CPU_BUSY = 2000 };

struct estimate {
    struct llem_domain domain;
    struct llem_sensor_field field;
    struct llem_tdp tdp;
    char model[96];
    int n_cpus, n_packages;
    int fd; /* /proc/stat */
};

static bool digits(const char **at, uint64_t *ret)
{
    const char *p = *at;
    uint64_t n = 0;

    while (*p == ' ')
        p++;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    *at = p;
    *ret = n;
    return true;
}

/* Busy ticks of all CPUs since boot: user, nice, system, irq and softirq. Not idle and iowait; not
 * steal, when another machine had the CPU; guest time is part of user. */
static bool busy_ticks(const char *stat, uint64_t *ret)
{
    uint64_t column[7]; /* user nice system idle iowait irq softirq */

    if (strncmp(stat, "cpu ", 4) != 0)
        return false;
    stat += 4;
    for (size_t i = 0; i < LLEM_COUNT(column); i++)
        if (!digits(&stat, &column[i]))
            return false;
    *ret = column[0] + column[1] + column[2] + column[5] + column[6];
    return true;
}

/* The first line of /proc/stat is all that is read, so the cost does not grow with the CPUs' number
 * in our copy; the kernel still sums them. */
static int read_busy(int fd, int64_t *ret)
{
    char text[256];
    uint64_t ticks;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return LLEM_READ_IO;
    text[n] = '\0';
    if (!busy_ticks(text, &ticks) || ticks > INT64_MAX)
        return LLEM_READ_GARBAGE;
    *ret = (int64_t)ticks;
    return LLEM_READ_OK;
}

/* The model's name and the number of packages; "" and 1 where the kernel does not tell. */
static void look_at_cpu(struct estimate *e)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[1024];
    int highest = 0;

    e->model[0] = '\0';
    while (f && fgets(line, sizeof(line), f)) {
        char *value = strstr(line, ": ");
        int64_t id;

        if (!value)
            continue;
        value += 2;
        value[strcspn(value, "\n")] = '\0';
        if (!e->model[0] && llem_starts_with(line, "model name"))
            snprintf(e->model, sizeof(e->model), "%s", value);
        else if (llem_starts_with(line, "physical id") && llem_parse_i64(value, &id) &&
                 id > highest && id < 1024)
            highest = (int)id;
    }
    if (f)
        fclose(f);
    e->n_packages = highest + 1;
    e->n_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (e->n_cpus < 1)
        e->n_cpus = 1;
    llem_tdp_of(&e->tdp, e->model, e->n_cpus, e->n_packages);
}

static void estimate_probe(llem_ctx *ctx, struct llem_probe *out)
{
    struct estimate e;
    int64_t busy;

    memset(out, 0, sizeof(*out));
    e.fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (e.fd < 0 || read_busy(e.fd, &busy) != LLEM_READ_OK) {
        snprintf(out->reason, sizeof(out->reason), "not_supported");
        snprintf(out->text, sizeof(out->text), "The CPU load cannot be read: /proc/stat is %s.",
                 e.fd < 0 ? "missing" : "not as expected");
        snprintf(out->remedy, sizeof(out->remedy), "mount -t proc proc /proc");
    } else {
        look_at_cpu(&e);
        out->usable = true;
        out->n_domains = 1;
        snprintf(
            out->text, sizeof(out->text),
            "CPU load times %.0f W (%.0f to %.0f W) for %d CPUs: an estimate, not a measurement.",
            e.tdp.w, e.tdp.low_w, e.tdp.high_w, e.n_cpus);
        snprintf(out->detail, sizeof(out->detail), "/proc/stat; %.80s; %s",
                 e.model[0] ? e.model : "CPU model not told", e.tdp.source);
    }
    if (e.fd >= 0)
        close(e.fd);
}

static void estimate_close(void *self)
{
    struct estimate *e = self;

    if (!e)
        return;
    if (e->fd >= 0)
        close(e->fd);
    free(e);
}

static llem_errcode estimate_open(void **self, llem_ctx *ctx, llem_error *err)
{
    struct estimate *e = calloc(1, sizeof(*e));
    llem_errcode rc;
    int64_t busy;

    if (!e)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the CPU load sampler.");
    e->fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (e->fd < 0) {
        rc = llem_fail(err, LLEM_EIO, "/proc/stat cannot be opened: %m.");
        goto done;
    }
    if (read_busy(e->fd, &busy) != LLEM_READ_OK) {
        rc = llem_fail(err, LLEM_ENOTSUP, "/proc/stat does not begin with the CPUs' times.");
        goto done;
    }
    look_at_cpu(e);
    e->field = (struct llem_sensor_field){
        .id = FIELD_CPU_BUSY,
        .role = LLEM_ROLE_CPU_BUSY,
        .name = "cpu_busy",
        .unit = "ticks",
        .to_si = 1.0 / (double)sysconf(_SC_CLK_TCK),
        .period_s = 1.0 / (double)sysconf(_SC_CLK_TCK),
    };
    e->domain = (struct llem_domain){
        .id = "cpu", .kind = "cpu", .estimated = true, .fields = &e->field, .n_fields = 1
    };
    snprintf(e->domain.label, sizeof(e->domain.label), "%s", e->model[0] ? e->model : "CPU");
    *self = e;
    e = NULL;
    rc = LLEM_OK;

done:
    estimate_close(e);
    return rc;
}

static const struct llem_domain *estimate_domains(void *self, size_t *count)
{
    struct estimate *e = self;

    *count = 1;
    return &e->domain;
}

static size_t estimate_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    struct estimate *e = self;

    if (slow)
        return 0;
    *out = (struct llem_reading){ .field = FIELD_CPU_BUSY };
    out->status = read_busy(e->fd, &out->raw);
    return 1;
}

static struct llem_value *estimate_describe(void *self, struct llem_arena *a)
{
    struct estimate *e = self;
    struct llem_value *map = llem_map(a);

    llem_set(a, map, "interface", llem_string(a, "/proc/stat"));
    llem_set(a, map, "model", e->model[0] ? llem_string(a, e->model) : llem_null(a));
    llem_set(a, map, "n_cpus", llem_int(a, e->n_cpus));
    llem_set(a, map, "n_packages", llem_int(a, e->n_packages));
    llem_set(a, map, "tdp_w", llem_real(a, e->tdp.w));
    llem_set(a, map, "tdp_low_w", llem_real(a, e->tdp.low_w));
    llem_set(a, map, "tdp_high_w", llem_real(a, e->tdp.high_w));
    llem_set(a, map, "tdp_source", llem_string(a, e->tdp.source));
    llem_set(a, map, "tdp_known", llem_bool(a, e->tdp.known));
    return map;
}

const struct llem_sampler_class llem_sampler_estimate = {
    .name = "estimate",
    .help = "CPU load times the power the CPU is sold with; an estimate",
    .quality = "estimated",
    .needs_rolls = false,
    .probe = estimate_probe,
    .open = estimate_open,
    .domains = estimate_domains,
    .read = estimate_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = estimate_describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = estimate_close,
};
