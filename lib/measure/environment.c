/* SPDX-License-Identifier: MIT
 *
 * The environment, read from /proc, /sys and /etc. Whatever cannot be read is null; nothing here
 * fails.
 */
#include "lib/measure/environment.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/process.h"
#include "lib/sampler/sampler.h"

enum { MAX_FILE_BYTES = 16 << 20 };

/* The text of a file, or NULL; to be done with llem_buf_done(). */
static const char *slurp(struct llem_buf *b, const char *root, const char *rel)
{
    char path[4096];

    llem_buf_clear(b);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", root, rel) >= sizeof(path))
        return NULL;
    return llem_file_read(b, path, NULL) == LLEM_OK ? b->data : NULL;
}

/* The value of a line "key : value" or "key=value", without blanks and quotes, in the arena. */
static char *line_value(struct llem_arena *a, const char *text, const char *key, char separator)
{
    size_t n = strlen(key);

    while (text && *text) {
        const char *end = strchr(text, '\n');
        const char *s = text + n, *last;

        if (!end)
            end = text + strlen(text);
        if ((size_t)(end - text) > n && memcmp(text, key, n) == 0) {
            while (s < end && (*s == ' ' || *s == '\t'))
                s++;
            if (s < end && *s == separator) {
                last = end;
                for (s++; s < end && (*s == ' ' || *s == '\t' || *s == '"'); s++)
                    ;
                while (last > s && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '"'))
                    last--;
                return llem_arena_strndup(a, s, (size_t)(last - s));
            }
        }
        text = *end ? end + 1 : NULL;
    }
    return NULL;
}

static const char *container(const char *etc, struct llem_buf *b, const char *proc)
{
    static const struct {
        const char *in_cgroup, *name;
    } kinds[] = {
        { "docker", "docker" },         { "libpod", "podman" }, { "kubepods", "kubernetes" },
        { "containerd", "containerd" }, { "lxc", "lxc" },
    };
    const char *text;
    char path[4096];

    if (llem_path_exists("/.dockerenv"))
        return "docker";
    if (llem_path_exists("/run/.containerenv"))
        return "podman";
    snprintf(path, sizeof(path), "%s/../singularity", etc);
    if (llem_path_exists(path) || llem_path_exists("/.singularity.d"))
        return "apptainer";
    text = slurp(b, proc, "1/cgroup");
    for (size_t i = 0; text && i < LLEM_COUNT(kinds); i++)
        if (strstr(text, kinds[i].in_cgroup))
            return kinds[i].name;
    return NULL;
}

static struct llem_value *host(const char *proc, const char *etc, struct llem_arena *a)
{
    struct llem_value *h = llem_map(a);
    struct llem_buf b = LLEM_BUF_INIT(MAX_FILE_BYTES);
    const char *text = slurp(&b, etc, "os-release");
    struct utsname u;

    llem_set(a, h, "os", llem_string(a, line_value(a, text, "PRETTY_NAME", '=')));
    if (uname(&u) == 0) {
        llem_set(a, h, "kernel", llem_stringf(a, "%s %s", u.sysname, u.release));
        llem_set(a, h, "arch", llem_string(a, u.machine));
    } else {
        llem_set(a, h, "kernel", llem_null(a));
        llem_set(a, h, "arch", llem_null(a));
    }
    llem_set(a, h, "container", llem_string(a, container(etc, &b, proc)));
    llem_buf_done(&b);
    return h;
}

/* Cores: distinct pairs of physical id and core id. 0 = not told. */
static int64_t physical_cores(const char *cpuinfo, struct llem_arena *a, int *packages)
{
    enum { MAX_CORES = 8192, MAX_PACKAGES = 1024 };
    int64_t *seen = llem_arena_calloc(a, MAX_CORES, sizeof(*seen));
    int64_t n = 0, package = 0;

    *packages = 1;
    while (seen && cpuinfo && *cpuinfo) {
        const char *end = strchr(cpuinfo, '\n');
        char line[128];
        int64_t v;
        const char *colon;

        if (!end)
            end = cpuinfo + strlen(cpuinfo);
        snprintf(line, sizeof(line), "%.*s", (int)(end - cpuinfo), cpuinfo);
        colon = strchr(line, ':');
        while (colon && (*colon == ':' || *colon == ' '))
            colon++;
        if (colon && llem_starts_with(line, "physical id") && llem_parse_i64(colon, &v)) {
            package = v;
            if (v >= *packages && v < MAX_PACKAGES)
                *packages = (int)v + 1;
        } else if (colon && llem_starts_with(line, "core id") && llem_parse_i64(colon, &v)) {
            int64_t key = (int64_t)((uint64_t)package * 65536 + (uint64_t)v), i;

            for (i = 0; i < n && seen[i] != key; i++)
                ;
            if (i == n && n < MAX_CORES)
                seen[n++] = key;
        }
        cpuinfo = *end ? end + 1 : NULL;
    }
    return n;
}

static struct llem_value *words(struct llem_arena *a, const char *text)
{
    struct llem_value *list = llem_list(a);

    while (text && *text) {
        size_t n = strcspn(text, " ");

        if (n)
            llem_append(a, list, llem_stringn(a, text, n));
        text += n;
        text += *text == ' ';
    }
    return list;
}

static struct llem_value *known_int(struct llem_arena *a, int64_t n)
{
    return n > 0 ? llem_int(a, n) : llem_null(a);
}

static struct llem_value *cpu(const char *proc, const char *sys, struct llem_arena *a)
{
    struct llem_value *c = llem_map(a);
    struct llem_buf b = LLEM_BUF_INIT(MAX_FILE_BYTES);
    const char *text = slurp(&b, proc, "cpuinfo");
    char *model = line_value(a, text, "model name", ':');
    char *flags = line_value(a, text, "flags", ':');
    char *mhz = line_value(a, text, "cpu MHz", ':');
    long logical = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t physical;
    int packages;
    struct llem_tdp tdp;
    double frequency;

    physical = physical_cores(text, a, &packages);
    llem_tdp_of(&tdp, model ? model : "", (int)logical, packages);
    llem_set(a, c, "model", llem_string(a, model ? model : line_value(a, text, "CPU part", ':')));
    llem_set(a, c, "vendor", llem_string(a, line_value(a, text, "vendor_id", ':')));
    llem_set(a, c, "n_physical", known_int(a, physical));
    llem_set(a, c, "n_logical", known_int(a, logical));
    llem_set(a, c, "flags", words(a, flags ? flags : line_value(a, text, "Features", ':')));
    text = slurp(&b, sys, "devices/system/cpu/cpu0/cpufreq/scaling_governor");
    if (text)
        b.data[strcspn(b.data, "\n")] = '\0';
    llem_set(a, c, "governor", llem_string(a, text));
    llem_set(a, c, "tdp_w", tdp.known ? llem_real(a, tdp.w) : llem_null(a));
    llem_set(a, c, "tdp_source", llem_string(a, tdp.source));
    llem_set(a, c, "frequency_mhz",
             mhz && llem_parse_f64(mhz, &frequency) ? llem_real(a, frequency) : llem_null(a));
    llem_buf_done(&b);
    return c;
}

/* "16305132 kB" */
static struct llem_value *kilobytes(struct llem_arena *a, char *text)
{
    int64_t kb;

    if (!text)
        return llem_null(a);
    text[strcspn(text, " ")] = '\0';
    return llem_parse_i64(text, &kb) && kb >= 0 && kb < INT64_MAX / 1024 ? llem_int(a, kb * 1024)
                                                                         : llem_null(a);
}

struct llem_value *llem_environment_collect(const char *proc, const char *sys, const char *etc,
                                            struct llem_arena *a)
{
    struct llem_value *e = llem_map(a), *memory = llem_map(a), *load = llem_list(a);
    struct llem_buf b = LLEM_BUF_INIT(MAX_FILE_BYTES);
    const char *text;

    llem_set(a, e, "host", host(proc, etc, a));
    llem_set(a, e, "cpu", cpu(proc, sys, a));
    text = slurp(&b, proc, "meminfo");
    llem_set(a, memory, "total_bytes", kilobytes(a, line_value(a, text, "MemTotal", ':')));
    llem_set(a, memory, "available_bytes", kilobytes(a, line_value(a, text, "MemAvailable", ':')));
    llem_set(a, e, "memory", memory);
    llem_set(a, e, "gpus", llem_list(a));
    llem_set(a, e, "cuda", llem_null(a));
    llem_set(a, e, "python", llem_null(a));
    llem_set(a, e, "collected_utc", llem_null(a));
    text = slurp(&b, proc, "loadavg");
    for (int i = 0; text && i < 3; i++) {
        size_t n = strcspn(text, " ");
        char *word = llem_arena_strndup(a, text, n);
        double d;

        if (!word || !llem_parse_f64(word, &d))
            break;
        llem_append(a, load, llem_real(a, d));
        text += n;
        text += *text == ' ';
    }
    llem_set(a, e, "load_average", load);
    llem_buf_done(&b);
    return e;
}

/* ---- the thread --------------------------------------------------------------------------- */

struct llem_environment {
    pthread_t thread;
    bool joinable;
    char sys[4096];
    struct llem_arena arena;
    struct llem_value *value;
};

static void *collect(void *arg)
{
    struct llem_environment *e = arg;

    e->value = llem_environment_collect("/proc", e->sys, "/etc", &e->arena);
    return NULL;
}

llem_errcode llem_environment_start(struct llem_environment **out, llem_ctx *ctx, llem_error *err)
{
    struct llem_environment *e = calloc(1, sizeof(*e));
    const char *sys = llem_ctx_variable(ctx, "LLEM_SYSFS");
    int rc;

    if (!e)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate the description of this machine");
    snprintf(e->sys, sizeof(e->sys), "%s", sys ? sys : "/sys");
    rc = llem_thread_start(&e->thread, collect, e);
    if (rc) {
        free(e);
        errno = rc;
        return llem_fail(err, LLEM_ENOMEM,
                         "cannot start the thread that describes this machine: %m");
    }
    e->joinable = true;
    *out = e;
    return LLEM_OK;
}

struct llem_value *llem_environment_join(struct llem_environment *e, struct llem_arena *a)
{
    struct llem_value *v;

    pthread_join(e->thread, NULL);
    e->joinable = false;
    if (e->arena.oom)
        a->oom = true;
    v = e->value ? llem_copy(a, e->value) : llem_null(a);
    llem_environment_free(e);
    return v;
}

void llem_environment_free(struct llem_environment *e)
{
    if (!e)
        return;
    if (e->joinable)
        pthread_join(e->thread, NULL);
    llem_arena_done(&e->arena);
    free(e);
}
