/* SPDX-License-Identifier: MIT
 *
 * The energy counters of x86 processors, RAPL: package and DRAM, by the kernel's powercap tree or,
 * where that may not be read, by its perf PMU `power`. Counter values leave this file as the kernel
 * gives them; nobody here unwraps or adds up.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sampler/sampler.h"

enum { MAX_ZONES = 64, MAX_SKIPPED = 32, FIELD_ENERGY = 2100 };

struct zone {
    int fd;
    int cpu;         /* perf: where the event counts; -1 = powercap */
    char source[64]; /* "intel-rapl:0:0", or the event's name */
    uint64_t max_uj; /* max_energy_range_uj, 0 = not told */
};

struct rapl {
    struct llem_domain domains[MAX_ZONES];
    struct llem_sensor_field fields[MAX_ZONES];
    struct zone zones[MAX_ZONES];
    size_t n;
    struct {
        char name[96], why[64];
    } skipped[MAX_SKIPPED];
    size_t n_skipped;
    char root[1024]; /* "/sys", or what LLEM_SYSFS says */
    bool is_default_root, perf;
    char cpumask[128];
    /* What was met on the way, for the sentence when nothing is usable. */
    bool powercap_there, powercap_denied, masked, perf_there, perf_denied;
};

static void skip(struct rapl *r, const char *name, const char *why)
{
    if (r->n_skipped == MAX_SKIPPED)
        return;
    snprintf(r->skipped[r->n_skipped].name, sizeof(r->skipped[0].name), "%.95s", name);
    snprintf(r->skipped[r->n_skipped].why, sizeof(r->skipped[0].why), "%.63s", why);
    r->n_skipped++;
}

static void release(struct rapl *r)
{
    while (r->n)
        close(r->zones[--r->n].fd);
}

/* AMD's and Hygon's numbers in /sys/devices/system/cpu/modalias (arch/x86/include/asm/processor.h).
 */
static bool vendor_is_amd(const struct rapl *r)
{
    char text[4096], dir[PATH_MAX];

    snprintf(dir, sizeof(dir), "%s/devices/system/cpu", r->root);
    if (llem_sysfs_read(text, sizeof(text), dir, "modalias") != 0)
        return false;
    return strstr(text, "ven0002") || strstr(text, "ven0009");
}

/* Which kind of domain a RAPL name is, and whether it is charged: package and DRAM are, psys covers
 * both and core and uncore are inside the package, so those are read slowly and only shown. */
static const struct kind {
    const char *name, *event, *kind;
    bool slow;
} kinds[] = {
    { "package", "energy-pkg", "package", false }, { "dram", "energy-ram", "dram", false },
    { "core", "energy-cores", "core", true },      { "uncore", "energy-gpu", "uncore", true },
    { "psys", "energy-psys", "psys", true },
};

/* Take fd as a new domain. place is "0" or "0-die-1"; an id that is there already is a twin. */
static void add(struct rapl *r, const struct kind *kind, const char *place, int fd,
                const struct zone *zone, double to_si)
{
    struct llem_domain *d = &r->domains[r->n];
    struct llem_sensor_field *f = &r->fields[r->n];
    int64_t index = 0;
    char number[16];

    memset(d, 0, sizeof(*d));
    snprintf(d->id, sizeof(d->id), "%s:%s", kind->kind, place);
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->domains[i].id, d->id)) {
            skip(r, zone->source, "a domain of this name is read already");
            close(fd);
            return;
        }
    snprintf(d->kind, sizeof(d->kind), "%s", kind->kind);
    snprintf(d->label, sizeof(d->label), "%s-%s", kind->name, place);
    snprintf(number, sizeof(number), "%.*s", (int)strspn(place, "0123456789"), place);
    d->index = llem_parse_i64(number, &index) && index < INT_MAX ? (int)index : 0;
    d->fields = f;
    d->n_fields = 1;
    *f = (struct llem_sensor_field){
        .id = FIELD_ENERGY,
        .role = LLEM_ROLE_COUNTER,
        .slow = kind->slow,
        .name = "energy",
        .unit = zone->cpu < 0 ? "uJ" : "2^-32 J",
        .to_si = to_si,
        .period_s = 1e-3, /* Linux, Documentation/hwmon: refreshed each millisecond */
    };
    /* The counter has 32 bits in hardware units and max_energy_range_uj is 2^32 - 1 of them, so it
     * wraps one unit later. */
    if (zone->max_uj)
        f->modulus = zone->max_uj + (uint64_t)((double)zone->max_uj / 4294967295.0 + 0.5);
    r->zones[r->n] = *zone;
    r->zones[r->n].fd = fd;
    r->n++;
}

/* ---- powercap ---------------------------------------------------------------------------- */

static int by_length_and_name(const void *a, const void *b)
{
    const char *x = a, *y = b;
    size_t n = strlen(x), m = strlen(y);

    return n != m ? (n < m ? -1 : 1) : strcmp(x, y);
}

/* "package-0-die-1" gives "0-die-1"; NULL for any other name. */
static const char *place_of_package(const char *name)
{
    return llem_starts_with(name, "package-") ? name + strlen("package-") : NULL;
}

/* A subdomain carries its package's number in its own entry: intel-rapl:0:1 belongs to
 * intel-rapl:0. */
static const char *place_of_parent(const struct rapl *r, const char *entry, char *name, size_t size)
{
    const char *colon = strrchr(entry, ':');
    char dir[PATH_MAX];
    const char *place = NULL;

    snprintf(dir, sizeof(dir), "%s/class/powercap/%.*s", r->root, (int)(colon - entry), entry);
    if (llem_sysfs_read(name, size, dir, "name") == 0)
        place = place_of_package(name);
    return place ? place : "0";
}

static void add_powercap(struct rapl *r, const char *entry, bool amd)
{
    const struct kind *kind = NULL;
    const char *place;
    struct zone zone = { .cpu = -1 };
    char dir[PATH_MAX - 16], path[PATH_MAX], name[64], parent[64], text[32];
    int error, fd;

    snprintf(dir, sizeof(dir), "%s/class/powercap/%.64s", r->root, entry);
    snprintf(zone.source, sizeof(zone.source), "%.63s", entry);
    error = llem_sysfs_read(name, sizeof(name), dir, "name");
    if (error) {
        r->masked |= error == ENOENT;
        r->powercap_denied |= error == EACCES || error == EPERM;
        skip(r, entry, error == ENOENT ? "its directory is hidden" : "its name cannot be read");
        return;
    }
    for (size_t i = 0; i < LLEM_COUNT(kinds) && !kind; i++)
        if (llem_starts_with(name, kinds[i].name) &&
            (name[strlen(kinds[i].name)] == '\0' || name[strlen(kinds[i].name)] == '-'))
            kind = &kinds[i];
    if (!kind) {
        skip(r, entry, "an unknown kind of domain");
        return;
    }
    place = place_of_package(name);
    if (!place)
        place = place_of_parent(r, entry, parent, sizeof(parent));
    if (amd && strstr(place, "-die-") && !llem_ends_with(place, "-die-0")) {
        skip(r, entry, "the dies of an AMD package repeat one counter");
        return;
    }

    /* Mode 0400 since CVE-2020-8694, so this is where permission shows. */
    snprintf(path, sizeof(path), "%s/energy_uj", dir);
    errno = 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, text, sizeof(text), 0) <= 0) {
        r->powercap_denied |= errno == EACCES || errno == EPERM;
        skip(r, entry, fd < 0 ? "energy_uj cannot be opened" : "energy_uj cannot be read");
        if (fd >= 0)
            close(fd);
        return;
    }
    if (llem_sysfs_read_u64(&zone.max_uj, dir, "max_energy_range_uj") != 0 ||
        zone.max_uj > INT64_MAX / 2)
        zone.max_uj = 0;
    add(r, kind, place, fd, &zone, 1e-6);
}

static void scan_powercap(struct rapl *r, bool amd)
{
    char path[PATH_MAX];
    char entries[MAX_ZONES][48]; /* longest: intel-rapl:ffffffff:ffffffff */
    size_t n = 0;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "%s/class/powercap", r->root);
    dir = opendir(path);
    if (!dir)
        return;
    while ((entry = readdir(dir)) && n < MAX_ZONES) {
        if (llem_starts_with(entry->d_name, "intel-rapl-mmio:"))
            skip(r, entry->d_name, "a second way to a counter that is read already");
        else if (llem_starts_with(entry->d_name, "intel-rapl:") &&
                 strlen(entry->d_name) < sizeof(entries[0])) {
            r->powercap_there = true;
            memcpy(entries[n++], entry->d_name, strlen(entry->d_name) + 1);
        }
    }
    closedir(dir);
    qsort(entries, n, sizeof(entries[0]), by_length_and_name);
    for (size_t i = 0; i < n; i++)
        add_powercap(r, entries[i], amd);
}

/* ---- the perf PMU `power` ---------------------------------------------------------------- */

/* The numbers of a kernel list, "0-1,64": the next one from *at on; -1 at the end or for no list.
 */
struct cpulist {
    const char *at;
    int next, last;
};

static bool number(const char **at, int *ret)
{
    int64_t value;
    char text[12];
    size_t len = strspn(*at, "0123456789");

    if (!len || len >= sizeof(text))
        return false;
    memcpy(text, *at, len);
    text[len] = '\0';
    if (!llem_parse_i64(text, &value) || value > 1 << 20)
        return false;
    *at += len;
    *ret = (int)value;
    return true;
}

static int next_cpu(struct cpulist *list)
{
    if (list->next <= list->last)
        return list->next++;
    if (*list->at == ',')
        list->at++;
    if (!number(&list->at, &list->next))
        return -1;
    list->last = list->next;
    if (*list->at == '-') {
        list->at++;
        if (!number(&list->at, &list->last))
            return -1;
    }
    return list->next++;
}

/* "event=0x02" */
static bool event_config(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p;

    if (!llem_starts_with(text, "event=0x"))
        return false;
    p = text + strlen("event=0x");
    if (!*p || strlen(p) > 8)
        return false;
    for (; *p; p++) {
        if (*p >= '0' && *p <= '9')
            value = value * 16 + (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            value = value * 16 + (uint64_t)(*p - 'a' + 10);
        else
            return false;
    }
    *ret = value;
    return true;
}

/* "0", or "0-die-1" where a package has several. */
static void place_of_cpu(const struct rapl *r, int cpu, int otherwise, char *place, size_t size)
{
    char dir[PATH_MAX];
    uint64_t package, die;

    snprintf(dir, sizeof(dir), "%s/devices/system/cpu/cpu%d/topology", r->root, cpu);
    if (llem_sysfs_read_u64(&package, dir, "physical_package_id") != 0)
        package = (uint64_t)otherwise;
    if (llem_sysfs_read_u64(&die, dir, "die_id") == 0 && die > 0)
        snprintf(place, size, "%d-die-%d", (int)package, (int)die);
    else
        snprintf(place, size, "%d", (int)package);
}

static void scan_perf(struct rapl *r, bool amd)
{
    char pmu[PATH_MAX - 16], events[PATH_MAX], text[64], name[64], place[32];
    uint64_t type;

    snprintf(pmu, sizeof(pmu), "%s/bus/event_source/devices/power", r->root);
    if (llem_sysfs_read_u64(&type, pmu, "type") != 0 || type > UINT32_MAX)
        return;
    r->perf_there = true;
    if (llem_sysfs_read(r->cpumask, sizeof(r->cpumask), pmu, "cpumask") != 0)
        snprintf(r->cpumask, sizeof(r->cpumask), "0");
    snprintf(events, sizeof(events), "%s/events", pmu);

    for (size_t k = 0; k < LLEM_COUNT(kinds); k++) {
        struct cpulist list = { .at = r->cpumask, .next = 0, .last = -1 };
        struct perf_event_attr attr = { .size = PERF_ATTR_SIZE_VER0, .type = (uint32_t)type };
        double scale;
        uint64_t config;
        int cpu;

        if (llem_sysfs_read(text, sizeof(text), events, kinds[k].event) != 0 ||
            !event_config(text, &config))
            continue;
        snprintf(name, sizeof(name), "%s.scale", kinds[k].event);
        if (llem_sysfs_read(text, sizeof(text), events, name) != 0 ||
            !llem_parse_f64(text, &scale) || !(scale > 0 && scale < 1)) {
            skip(r, kinds[k].event, "the kernel tells no scale for it");
            continue;
        }
        attr.config = config;
        for (int nth = 0; (cpu = next_cpu(&list)) >= 0 && r->n < MAX_ZONES; nth++) {
            struct zone zone = { .cpu = cpu };
            uint64_t value;
            int fd;

            place_of_cpu(r, cpu, nth, place, sizeof(place));
            snprintf(zone.source, sizeof(zone.source), "%s", kinds[k].event);
            if (amd && strstr(place, "-die-")) {
                skip(r, kinds[k].event, "the dies of an AMD package repeat one counter");
                continue;
            }
            errno = 0;
            fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
            if (fd < 0 || read(fd, &value, sizeof(value)) != (ssize_t)sizeof(value)) {
                r->perf_denied |= errno == EACCES || errno == EPERM;
                skip(r, kinds[k].event,
                     fd < 0 ? "perf_event_open is refused" : "it cannot be read");
                if (fd >= 0)
                    close(fd);
                continue;
            }
            add(r, &kinds[k], place, fd, &zone, scale);
        }
    }
}

/* ---- the table --------------------------------------------------------------------------- */

static bool has_package(const struct rapl *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->domains[i].kind, "package"))
            return true;
    return false;
}

/* Open whatever can be read: powercap, or else perf. */
static void scan(struct rapl *r, llem_ctx *ctx)
{
    const char *root = llem_ctx_variable(ctx, "LLEM_SYSFS");
    bool amd;

    memset(r, 0, sizeof(*r));
    r->is_default_root = !root;
    if ((size_t)snprintf(r->root, sizeof(r->root), "%s", root ? root : "/sys") >= sizeof(r->root))
        return;
    amd = vendor_is_amd(r);
    scan_powercap(r, amd);
    if (has_package(r))
        return;
    release(r);
    scan_perf(r, amd);
    r->perf = true;
    if (!has_package(r))
        release(r);
}

static bool in_container(void)
{
    static const char *const marks[][2] = { { "/", ".dockerenv" }, { "/run", ".containerenv" } };
    char text[2048];

    for (size_t i = 0; i < LLEM_COUNT(marks); i++) {
        int error = llem_sysfs_read(text, sizeof(text), marks[i][0], marks[i][1]);

        if (error == 0 || error == EFBIG)
            return true;
    }
    return false;
}

static void say_why_not(const struct rapl *r, struct llem_probe *out)
{
    const char *reason = "no_permission";
    bool contained = r->is_default_root && in_container();

    if (r->masked) {
        snprintf(out->text, sizeof(out->text),
                 "The CPU has RAPL counters, but this container hides them.");
        snprintf(out->remedy, sizeof(out->remedy),
                 "Start the container as root with: docker run --security-opt "
                 "systempaths=unconfined");
    } else if (r->powercap_denied) {
        snprintf(out->text, sizeof(out->text),
                 "The CPU has RAPL counters, but only root may read "
                 "%.150s/class/powercap/*/energy_uj.",
                 r->root);
        snprintf(out->remedy, sizeof(out->remedy),
                 "%ssudo chmod a+r %.100s/class/powercap/intel-rapl:*/energy_uj%s",
                 contained ? "On the host: " : "", r->root,
                 r->perf_there ? "   (or: sudo sysctl kernel.perf_event_paranoid=0)" : "");
    } else if (r->perf_denied) {
        snprintf(out->text, sizeof(out->text),
                 "The CPU has RAPL counters, but this user may not count system-wide perf events.");
        snprintf(out->remedy, sizeof(out->remedy), "%ssudo sysctl kernel.perf_event_paranoid=0",
                 contained ? "docker run --cap-add PERFMON, or on the host: " : "");
    } else {
        reason = "not_supported";
        if (r->powercap_there || r->perf_there)
            snprintf(out->text, sizeof(out->text),
                     "The kernel names RAPL counters, but none of a package can be read.");
        else
            snprintf(out->text, sizeof(out->text),
                     "The kernel shows no RAPL counters: virtual machines have none, and only x86 "
                     "processors have them.");
        snprintf(out->remedy, sizeof(out->remedy),
                 "On a physical machine: sudo modprobe intel_rapl_msr");
    }
    snprintf(out->reason, sizeof(out->reason), "%s", reason);
}

static void rapl_probe(llem_ctx *ctx, struct llem_probe *out)
{
    struct rapl *r = malloc(sizeof(*r));
    int packages = 0, drams = 0;

    memset(out, 0, sizeof(*out));
    if (!r) {
        snprintf(out->reason, sizeof(out->reason), "no_sensor");
        snprintf(out->text, sizeof(out->text), "There is no memory to look for RAPL counters.");
        return;
    }
    scan(r, ctx);
    for (size_t i = 0; i < r->n; i++) {
        packages += !strcmp(r->domains[i].kind, "package");
        drams += !strcmp(r->domains[i].kind, "dram");
    }
    if (packages) {
        out->usable = true;
        out->n_domains = r->n;
        snprintf(out->text, sizeof(out->text), "Energy counters of %d CPU package%s%s.", packages,
                 packages == 1 ? "" : "s", drams ? " and their DRAM" : ", without DRAM");
    } else {
        say_why_not(r, out);
    }
    snprintf(out->detail, sizeof(out->detail), "%s under %.180s%s",
             r->n ? (r->perf ? "perf PMU power" : "powercap")
                  : "looked for powercap and perf PMU power",
             r->root, r->is_default_root ? "" : " (LLEM_SYSFS)");
    release(r);
    free(r);
}

static void rapl_close(void *self)
{
    if (self)
        release(self);
    free(self);
}

static llem_errcode rapl_open(void **self, llem_ctx *ctx, llem_error *err)
{
    struct rapl *r = malloc(sizeof(*r));
    struct llem_probe why = { 0 };
    llem_errcode rc;

    if (!r)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the RAPL sampler.");
    scan(r, ctx);
    if (!r->n) {
        say_why_not(r, &why);
        rc = llem_fail(err, LLEM_ENOTSUP, "%s", why.text);
        llem_hint(err, rc, "%s", why.remedy);
        goto done;
    }
    *self = r;
    r = NULL;
    rc = LLEM_OK;

done:
    rapl_close(r);
    return rc;
}

static const struct llem_domain *rapl_domains(void *self, size_t *count)
{
    struct rapl *r = self;

    *count = r->n;
    return r->domains;
}

static int status_of(int error)
{
    return error == ENOENT || error == ENODEV || error == ENXIO || error == EBADF ? LLEM_READ_GONE
                                                                                  : LLEM_READ_IO;
}

static int read_powercap(int fd, int64_t *ret)
{
    char text[32];
    int64_t value = 0;
    ssize_t n = pread(fd, text, sizeof(text), 0), i = 0;

    if (n < 0)
        return status_of(errno);
    for (; i < n && text[i] >= '0' && text[i] <= '9' && i < 19; i++) {
        if (value > (INT64_MAX - 9) / 10)
            return LLEM_READ_GARBAGE;
        value = value * 10 + (text[i] - '0');
    }
    if (i == 0 || (i < n && text[i] != '\n'))
        return LLEM_READ_GARBAGE;
    *ret = value;
    return LLEM_READ_OK;
}

static int read_perf(int fd, int64_t *ret)
{
    uint64_t value;
    ssize_t n = read(fd, &value, sizeof(value));

    if (n < 0)
        return status_of(errno);
    if (n != (ssize_t)sizeof(value))
        return LLEM_READ_GONE; /* end of file: the event is in its error state */
    if (value > INT64_MAX)
        return LLEM_READ_GARBAGE;
    *ret = (int64_t)value;
    return LLEM_READ_OK;
}

static size_t rapl_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    struct rapl *r = self;
    const struct zone *zone = &r->zones[domain];
    const struct llem_sensor_field *field = &r->fields[domain];

    if (field->slow != slow)
        return 0;
    *out = (struct llem_reading){ .field = field->id };
    out->status =
        zone->cpu < 0 ? read_powercap(zone->fd, &out->raw) : read_perf(zone->fd, &out->raw);
    if (out->status == LLEM_READ_OK && field->modulus && (uint64_t)out->raw > field->modulus) {
        out->status = LLEM_READ_GARBAGE;
        out->raw = 0;
    }
    return 1;
}

static struct llem_value *rapl_describe(void *self, struct llem_arena *a)
{
    struct rapl *r = self;
    struct llem_value *map = llem_map(a), *domains = llem_map(a), *skipped = llem_list(a);

    llem_set(a, map, "interface", llem_string(a, r->perf ? "perf_event" : "powercap"));
    llem_set(a, map, "root", llem_string(a, r->root));
    llem_set(a, map, "is_fake", llem_bool(a, !r->is_default_root));
    if (r->perf)
        llem_set(a, map, "cpumask", llem_string(a, r->cpumask));
    for (size_t i = 0; i < r->n; i++) {
        struct llem_value *d = llem_map(a);

        llem_set(a, d, "source", llem_string(a, r->zones[i].source));
        llem_set(a, d, "unit", llem_string(a, r->fields[i].unit));
        llem_set(a, d, "to_si", llem_real(a, r->fields[i].to_si));
        if (r->perf)
            llem_set(a, d, "cpu", llem_int(a, r->zones[i].cpu));
        else
            llem_set(a, d, "max_energy_range_uj", llem_int(a, (int64_t)r->zones[i].max_uj));
        llem_set(a, domains, r->domains[i].id, d);
    }
    for (size_t i = 0; i < r->n_skipped; i++) {
        struct llem_value *s = llem_map(a);

        llem_set(a, s, "name", llem_string(a, r->skipped[i].name));
        llem_set(a, s, "why", llem_string(a, r->skipped[i].why));
        llem_append(a, skipped, s);
    }
    llem_set(a, map, "domains", domains);
    llem_set(a, map, "skipped", skipped);
    return map;
}

const struct llem_sampler_class llem_sampler_rapl = {
    .name = "rapl",
    .help = "CPU package and DRAM energy counters of x86 processors",
    .quality = "measured",
    .needs_rolls = true,
    .probe = rapl_probe,
    .open = rapl_open,
    .domains = rapl_domains,
    .read = rapl_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = rapl_describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = rapl_close,
};
