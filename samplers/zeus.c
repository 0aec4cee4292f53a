/* SPDX-License-Identifier: MIT
 *
 * Zeus, by either of its two ways, in this order:
 *
 * - zeusd, the daemon that reads counters for programs without privileges, over its Unix socket:
 *   cumulative energies of CPU packages, their DRAM and GPUs, read like any other counter. It adds
 *   RAPL's wraps up itself, so its counters are as good as endless; they begin anew with the
 * daemon.
 * - ZeusMonitor in a worker: a window of its own around the engine's, without readings inside.
 *
 * The daemon is asked by HTTP/1.1, one request a reading, over one connection that is kept. A
 * reading allocates nothing and waits 50 ms at most; a daemon that does not answer is left alone
 * for a while, so that it cannot hold up the other sensors of the sampler thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/json.h"
#include "lib/sampler/sampler.h"

#define DEFAULT_SOCKET "/run/zeusd/zeusd.sock"

enum {
    MAX_DOMAINS = 64,
    MAX_SKIPPED = 16,
    REPLY_MAX = 64 * 1024, /* of what the daemon lists */
    READING_MAX = 4096,    /* of one reading */
    ASK_MS = 1000,         /* how long the daemon may take to say what it has */
    READ_MS = 50,          /* and to give a reading */
    FIELD_ENERGY = 1,
};

static const int64_t first_pause_ns = 50 * INT64_C(1000000);
static const int64_t longest_pause_ns = 1600 * INT64_C(1000000);

/* What the daemon offers: its groups of the API, and how a counter of each is asked for. */
enum kind { KIND_CPU, KIND_DRAM, KIND_GPU };
static const struct {
    const char *group, *path, *key, *unit;
    double to_si, period_s;
} kinds[] = {
    [KIND_CPU] = { "cpu-read", "/cpu/get_cumulative_energy?cpu=true&dram=false&cpu_ids=",
                   "cpu_energy_uj", "uJ", 1e-6, 0.001 },
    [KIND_DRAM] = { "cpu-read", "/cpu/get_cumulative_energy?cpu=false&dram=true&cpu_ids=",
                    "dram_energy_uj", "uJ", 1e-6, 0.001 },
    [KIND_GPU] = { "gpu-read", "/gpu/get_cumulative_energy?gpu_ids=", "energy_mj", "mJ", 1e-3, 0 },
};

struct counter {
    enum kind kind;
    const char *request; /* the whole of it */
};

struct daemon {
    struct llem_arena arena;
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *auth; /* a header line, or "" */
    int fd;           /* -1 = not connected */
    int64_t pause_ns, retry_ns;
    struct llem_domain domains[MAX_DOMAINS];
    struct llem_sensor_field fields[MAX_DOMAINS];
    struct counter counters[MAX_DOMAINS];
    size_t n;
    const char *skipped[MAX_SKIPPED];
    size_t n_skipped;
};

struct zeus {
    struct daemon *daemon;              /* the one way, */
    struct llem_sampler_worker *worker; /* or the other */
};

/* What ZeusMonitor reads: NVIDIA's and AMD's drivers, RAPL, a Jetson, a zeusd elsewhere. */
static const char *const readable[] = {
    "/dev/nvidiactl",        "/dev/dxg", "/dev/kfd", "/sys/class/powercap/intel-rapl",
    "/etc/nv_tegra_release", NULL
};
static const struct llem_sampler_package package = {
    .sampler = "zeus",
    .name = "zeus",
    .title = "ZeusMonitor",
    .file = "zeus/monitor/energy.py",
    .variable = "LLEM_PYTHON_ZEUS",
    .reads = readable,
};

/* ---- HTTP over a Unix socket --------------------------------------------------------------- */

static int64_t now_ns(void)
{
    return llem_now_ns(&llem_system_clock);
}

static void hang_up(struct daemon *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

/* 0 or an errno. */
static int dial(struct daemon *d)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int error;

    memcpy(to.sun_path, d->socket, sizeof(to.sun_path));
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0)
        return errno;
    if (connect(d->fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    error = errno;
    hang_up(d);
    return error;
}

static bool wait_for(int fd, short events, int64_t until_ns)
{
    struct pollfd p = { .fd = fd, .events = events };
    int64_t left = until_ns - now_ns();
    int n = 0;

    while (left > 0 && (n = poll(&p, 1, (int)(left / 1000000) + 1)) < 0 && errno == EINTR)
        left = until_ns - now_ns();
    return n > 0;
}

/* The whole number that text begins with, after blanks. */
static bool number_at(const char *text, int64_t *ret)
{
    char digits[20]; /* 19 of them fit any int64_t that is meant */
    size_t n;

    text += strspn(text, " \t\r\n");
    n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    return llem_parse_i64(digits, ret);
}

/* Is the whole reply there? Then *body begins what was asked for and *status is HTTP's. EAGAIN if
 * more has to come, EPROTO if this is no such reply. */
static int look_at(const char *reply, size_t len, int *status, const char **body)
{
    const char *end, *line;
    int64_t code, length = -1;

    if (strncmp(reply, "HTTP/1.1 ", len < 9 ? len : 9) != 0 || strlen(reply) < len)
        return EPROTO;
    end = strstr(reply, "\r\n\r\n");
    if (!end)
        return EAGAIN;
    if (!number_at(reply + 9, &code) || code < 100 || code > 599)
        return EPROTO;
    for (line = strstr(reply, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "content-length:", 15) == 0 && !number_at(line + 17, &length))
            return EPROTO;
    *status = (int)code;
    *body = end + 4;
    if (length < 0)
        return EPROTO;
    return len - (size_t)(*body - reply) >= (uint64_t)length ? 0 : EAGAIN;
}

/* Send a request and read its reply, NUL-terminated. 0, or an errno: EPROTO if it is no HTTP or
 * does not fit. A connection that the daemon has closed meanwhile is made anew, once. */
static int ask(struct daemon *d, const char *request, char *reply, size_t size, int timeout_ms,
               int *status, const char **body)
{
    int64_t until = now_ns() + timeout_ms * INT64_C(1000000);
    size_t length = strlen(request), sent = 0, len = 0;
    bool kept = d->fd >= 0;
    int error = 0;

    if (!kept)
        error = dial(d);
    while (!error && sent < length) {
        ssize_t n = send(d->fd, request + sent, length - sent, MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EINTR)
            error = wait_for(d->fd, POLLOUT, until) ? 0 : ETIMEDOUT;
        else
            error = errno;
    }
    while (!error) {
        ssize_t n = recv(d->fd, reply + len, size - 1 - len, 0);

        if (n > 0) {
            len += (size_t)n;
            reply[len] = '\0';
            error = look_at(reply, len, status, body);
            if (error == 0)
                return 0;
            if (error == EAGAIN)
                error = len == size - 1 ? EPROTO : 0;
        } else if (n == 0) {
            error = len ? EPROTO : ECONNRESET;
        } else if (errno == EAGAIN || errno == EINTR) {
            error = wait_for(d->fd, POLLIN, until) ? 0 : ETIMEDOUT;
        } else {
            error = errno;
        }
    }
    hang_up(d);
    if (kept && len == 0 && (error == EPIPE || error == ECONNRESET))
        return ask(d, request, reply, size, timeout_ms, status, body);
    return error;
}

static const char *request_of(struct daemon *d, const char *path, const char *id)
{
    return llem_arena_printf(&d->arena, "GET %s%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, id,
                             d->auth);
}

/* ---- a reading ---------------------------------------------------------------------------- */

/* The whole number of "key": in JSON; a reply holds the key once, because one device is asked. */
static bool number_of(const char *json, const char *key, int64_t *ret)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    at = strstr(json, quoted);
    if (!at)
        return false;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n");
    return *at == ':' && number_at(at + 1, ret);
}

/* LLEM_READ_OK, ours, or HTTP's status. */
static int read_counter(struct daemon *d, const struct counter *c, int timeout_ms, int64_t *raw)
{
    char reply[READING_MAX];
    const char *body;
    int status, error = ask(d, c->request, reply, sizeof(reply), timeout_ms, &status, &body);

    if (error == EPROTO)
        return LLEM_READ_GARBAGE;
    if (error)
        return error == ETIMEDOUT ? LLEM_READ_IO : LLEM_READ_GONE;
    if (status != 200)
        return status > 0 ? status : LLEM_READ_GARBAGE;
    return number_of(body, kinds[c->kind].key, raw) ? LLEM_READ_OK : LLEM_READ_GARBAGE;
}

/* After a failure the daemon is left alone for a while, longer each time. */
static size_t daemon_read(struct daemon *d, size_t domain, struct llem_reading *out)
{
    int64_t now = now_ns();

    *out = (struct llem_reading){ .field = FIELD_ENERGY, .status = LLEM_READ_IO };
    if (now < d->retry_ns)
        return 1;
    out->status = read_counter(d, &d->counters[domain], READ_MS, &out->raw);
    if (out->status == LLEM_READ_OK) {
        d->pause_ns = 0;
        return 1;
    }
    out->raw = 0;
    if (out->status == LLEM_READ_IO || out->status == LLEM_READ_GONE) {
        d->pause_ns = d->pause_ns ? 2 * d->pause_ns : first_pause_ns;
        if (d->pause_ns > longest_pause_ns)
            d->pause_ns = longest_pause_ns;
        d->retry_ns = now_ns() + d->pause_ns;
    }
    return 1;
}

/* ---- what there is ------------------------------------------------------------------------ */

static void skip(struct daemon *d, const char *text)
{
    if (text && d->n_skipped < MAX_SKIPPED)
        d->skipped[d->n_skipped++] = text;
}

/* Take a counter if it can be read. Remembers HTTP's status where it cannot. */
static void add(struct daemon *d, enum kind kind, int64_t id, const char *domain, const char *what,
                const char *label, const char *pci, int *refused)
{
    struct llem_sensor_field *f = &d->fields[d->n];
    struct llem_domain *v = &d->domains[d->n];
    struct counter *c = &d->counters[d->n];
    char number[24];
    int64_t raw;
    int status;

    if (d->n == MAX_DOMAINS)
        return;
    snprintf(number, sizeof(number), "%lld", (long long)id);
    *c = (struct counter){ .kind = kind, .request = request_of(d, kinds[kind].path, number) };
    status = c->request ? read_counter(d, c, ASK_MS, &raw) : LLEM_READ_IO;
    if (status != LLEM_READ_OK) {
        *refused = status > 0 ? status : *refused;
        skip(d, llem_arena_printf(&d->arena, "%s: status %d", domain, status));
        return;
    }
    *f = (struct llem_sensor_field){ .id = FIELD_ENERGY,
                                     .role = LLEM_ROLE_COUNTER,
                                     .name = kinds[kind].key,
                                     .unit = kinds[kind].unit,
                                     .to_si = kinds[kind].to_si,
                                     .period_s = kinds[kind].period_s };
    *v = (struct llem_domain){ .index = (int)id, .fields = f, .n_fields = 1 };
    snprintf(v->id, sizeof(v->id), "%s", domain);
    snprintf(v->kind, sizeof(v->kind), "%s", what);
    snprintf(v->label, sizeof(v->label), "%s", label);
    snprintf(v->pci, sizeof(v->pci), "%s", pci);
    d->n++;
}

/* The daemon numbers what the kernel calls intel-rapl:N, and does not tell which of them is no
 * package but the whole machine. The kernel does, to anybody; where it hides that too (containers),
 * what is numbered beyond the packages is none. False = no package. */
static bool place_of(const char *root, int64_t id, char *place, size_t size)
{
    char dir[4096], name[64];
    uint64_t package_id, highest = 0;

    snprintf(dir, sizeof(dir), "%s/class/powercap/intel-rapl:%llx", root, (unsigned long long)id);
    if (llem_sysfs_read(name, sizeof(name), dir, "name") == 0) {
        if (!llem_starts_with(name, "package-"))
            return false;
        snprintf(place, size, "%.*s", (int)size - 1, name + strlen("package-"));
        return true;
    }
    for (int cpu = 0; cpu < 4096; cpu++) {
        snprintf(dir, sizeof(dir), "%s/devices/system/cpu/cpu%d/topology", root, cpu);
        if (llem_sysfs_read_u64(&package_id, dir, "physical_package_id") != 0)
            break;
        if (package_id > highest)
            highest = package_id;
    }
    snprintf(place, size, "%lld", (long long)id);
    return (uint64_t)id <= highest;
}

static bool has_group(const struct llem_value *found, const char *group)
{
    const struct llem_value *groups = llem_get(found, "enabled_api_groups");

    for (size_t i = 0; groups && groups->kind == LLEM_LIST && i < groups->count; i++)
        if (groups->items[i]->kind == LLEM_STRING && strcmp(groups->items[i]->s, group) == 0)
            return true;
    return false;
}

static void list_counters(struct daemon *d, llem_ctx *ctx, const struct llem_value *found,
                          int *refused)
{
    const struct llem_value *cpus = llem_get(found, "cpus"), *gpus = llem_get(found, "gpus");
    const char *root = llem_ctx_variable(ctx, "LLEM_SYSFS"), *pci;
    char id[sizeof(d->domains[0].id)], place[24], label[64];

    for (size_t i = 0; has_group(found, kinds[KIND_CPU].group) && cpus && cpus->kind == LLEM_LIST &&
                       i < cpus->count;
         i++) {
        int64_t n = llem_int_at(cpus->items[i], "id", -1);

        if (n < 0)
            continue;
        if (!place_of(root ? root : "/sys", n, place, sizeof(place))) {
            skip(d, llem_arena_printf(&d->arena, "intel-rapl:%lld is no package", (long long)n));
            continue;
        }
        snprintf(id, sizeof(id), "package:%s", place);
        snprintf(label, sizeof(label), "package-%s", place);
        add(d, KIND_CPU, n, id, "package", label, "", refused);
        if (!llem_bool_at(cpus->items[i], "dram_available", false))
            continue;
        snprintf(id, sizeof(id), "dram:%s", place);
        snprintf(label, sizeof(label), "dram-%s", place);
        add(d, KIND_DRAM, n, id, "dram", label, "", refused);
    }
    for (size_t i = 0; has_group(found, kinds[KIND_GPU].group) && gpus && gpus->kind == LLEM_LIST &&
                       i < gpus->count;
         i++) {
        int64_t n = llem_int_at(gpus->items[i], "id", -1);

        pci = llem_str_at(gpus->items[i], "pci_address", "");
        snprintf(id, sizeof(id), "gpu:%.40s", pci);
        if (n >= 0 && !llem_bool_at(gpus->items[i], "cumulative_energy_available", true))
            skip(d, llem_arena_printf(&d->arena, "%s: it has no energy counter", id));
        else if (n >= 0)
            add(d, KIND_GPU, n, id, "gpu", llem_str_at(gpus->items[i], "name", ""), pci, refused);
    }
}

static void daemon_close(struct daemon *d)
{
    if (!d)
        return;
    hang_up(d);
    llem_arena_done(&d->arena);
    free(d);
}

static void say(struct llem_probe *out, const char *reason, const char *remedy)
{
    snprintf(out->reason, sizeof(out->reason), "%s", reason);
    snprintf(out->remedy, sizeof(out->remedy), "%s", remedy);
}

static void say_unreachable(struct llem_probe *out, const char *path, int error)
{
    if (error == ENOENT) {
        say(out, "no_sensor", "sudo zeusd serve   (RAPL without root)");
        snprintf(out->text, sizeof(out->text), "No zeusd at %.107s.", path);
    } else if (error == EACCES || error == EPERM) {
        say(out, "no_permission",
            "sudo zeusd serve --socket-permissions 666   (or --socket-gid of one of your groups)");
        snprintf(out->text, sizeof(out->text), "This user may not use zeusd at %.107s.", path);
    } else if (error == ECONNREFUSED) {
        say(out, "no_sensor", "sudo systemctl restart zeusd");
        snprintf(out->text, sizeof(out->text), "Nobody answers at %.107s: zeusd has ended.", path);
    } else if (error == ETIMEDOUT) {
        say(out, "no_sensor", "sudo systemctl restart zeusd");
        snprintf(out->text, sizeof(out->text), "zeusd at %.107s does not answer.", path);
    } else {
        say(out, "not_supported", "sudo systemctl restart zeusd");
        snprintf(out->text, sizeof(out->text), "What answers at %.107s is not zeusd.", path);
    }
}

/* Connect and list what can be read; NULL with the reason in *out. */
static struct daemon *daemon_open(llem_ctx *ctx, struct llem_probe *out)
{
    const char *path = llem_ctx_variable(ctx, "ZEUSD_SOCK_PATH");
    const char *token = llem_ctx_variable(ctx, "ZEUSD_TOKEN"), *body, *request;
    struct daemon *d = calloc(1, sizeof(*d));
    struct llem_value *found = NULL;
    int status = 0, refused = 0, error = ENOMEM;
    char *reply = NULL;
    bool usable = false;

    path = path ? path : DEFAULT_SOCKET;
    if (!d)
        goto done;
    d->fd = -1;
    if (strlen(path) >= sizeof(d->socket)) {
        error = ENOENT; /* no socket can have such a name */
        goto done;
    }
    memcpy(d->socket, path, strlen(path) + 1);
    /* Most machines have none: find that out before anything else. */
    error = dial(d);
    if (error)
        goto done;
    d->auth = token ? llem_arena_printf(&d->arena, "Authorization: Bearer %s\r\n", token) : "";
    request = d->auth ? request_of(d, "/discover", "") : NULL;
    reply = malloc(REPLY_MAX);
    error = request && reply ? ask(d, request, reply, REPLY_MAX, ASK_MS, &status, &body) : ENOMEM;
    if (!error && (status != 200 || llem_json_parse(&d->arena, &found, body, strlen(body), "zeusd",
                                                    NULL) != LLEM_OK))
        error = EPROTO;
    if (error)
        goto done;
    list_counters(d, ctx, found, &refused);
    usable = d->n > 0;

done:
    if (!usable && error) {
        say_unreachable(out, path, error);
    } else if (!usable && (refused == 401 || refused == 403)) {
        say(out, "no_permission",
            "export ZEUSD_TOKEN=$(sudo zeusd token issue --signing-key-path FILE --user $USER "
            "--scope cpu-read,gpu-read --expires 7d)");
        snprintf(out->text, sizeof(out->text), "zeusd at %.107s wants a token with read scopes.",
                 path);
    } else if (!usable) {
        say(out, "not_supported", "sudo zeusd serve --enable cpu-read,gpu-read");
        snprintf(out->text, sizeof(out->text), "zeusd at %.107s offers no energy counter.", path);
    }
    snprintf(out->detail, sizeof(out->detail), "zeusd at %.107s", path);
    free(reply);
    if (!usable) {
        daemon_close(d);
        return NULL;
    }
    return d;
}

/* ---- the table ---------------------------------------------------------------------------- */

static void count_kinds(const struct daemon *d, struct llem_probe *out)
{
    int packages = 0, drams = 0, gpus = 0;

    for (size_t i = 0; i < d->n; i++) {
        packages += !strcmp(d->domains[i].kind, "package");
        drams += !strcmp(d->domains[i].kind, "dram");
        gpus += !strcmp(d->domains[i].kind, "gpu");
    }
    out->usable = true;
    out->n_domains = d->n;
    snprintf(out->text, sizeof(out->text),
             "Energy counters through zeusd: %d CPU package%s%s, %d GPU%s.", packages,
             packages == 1 ? "" : "s", drams ? " and DRAM" : "", gpus, gpus == 1 ? "" : "s");
}

static void zeus_probe(llem_ctx *ctx, struct llem_probe *out)
{
    struct llem_probe worker = { 0 };
    struct daemon *d;

    memset(out, 0, sizeof(*out));
    d = daemon_open(ctx, out);
    if (d) {
        count_kinds(d, out);
        daemon_close(d);
        return;
    }
    llem_sampler_worker_probe(ctx, &package, &worker);
    if (worker.usable) {
        *out = worker;
        return;
    }
    /* What is in the way of the daemon says more than that a package is missing. */
    if (strcmp(out->reason, "no_permission") == 0)
        return;
    snprintf(out->text + strlen(out->text), sizeof(out->text) - strlen(out->text), " %.120s",
             worker.text);
    snprintf(out->remedy + strlen(out->remedy), sizeof(out->remedy) - strlen(out->remedy),
             ", or: %.150s", worker.remedy);
}

static void zeus_close(void *self)
{
    struct zeus *z = self;

    if (!z)
        return;
    daemon_close(z->daemon);
    llem_sampler_worker_close(z->worker);
    free(z);
}

static llem_errcode zeus_open(void **self, llem_ctx *ctx, llem_error *err)
{
    struct zeus *z = calloc(1, sizeof(*z));
    struct llem_probe why = { 0 };
    llem_errcode rc = LLEM_OK;

    if (!z)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the sampler zeus.");
    z->daemon = daemon_open(ctx, &why);
    if (!z->daemon)
        rc = llem_sampler_worker_open(&z->worker, ctx, &package, err);
    if (rc == LLEM_OK) {
        *self = z;
        z = NULL;
    }
    zeus_close(z);
    return rc;
}

static const struct llem_domain *zeus_domains(void *self, size_t *count)
{
    struct zeus *z = self;

    if (z->worker)
        return llem_sampler_worker_domains(z->worker, count);
    *count = z->daemon->n;
    return z->daemon->domains;
}

static size_t zeus_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    struct zeus *z = self;

    return slow || !z->daemon ? 0 : daemon_read(z->daemon, domain, out);
}

static llem_errcode zeus_window_begin(void *self, llem_error *err)
{
    struct zeus *z = self;

    return z->worker ? llem_sampler_worker_begin(z->worker, err) : LLEM_OK;
}

static llem_errcode zeus_window_end(void *self, struct llem_arena *a, struct llem_value **window,
                                    llem_error *err)
{
    struct zeus *z = self;

    return z->worker ? llem_sampler_worker_end(z->worker, a, window, err)
                     : llem_sampler_no_window_end(self, a, window, err);
}

static struct llem_value *zeus_describe(void *self, struct llem_arena *a)
{
    struct zeus *z = self;
    struct llem_value *map, *list = llem_list(a);

    if (z->worker)
        return llem_sampler_worker_describe(z->worker, a);
    map = llem_map(a);
    llem_set(a, map, "interface", llem_string(a, "zeusd"));
    llem_set(a, map, "socket", llem_string(a, z->daemon->socket));
    for (size_t i = 0; i < z->daemon->n_skipped; i++)
        llem_append(a, list, llem_string(a, z->daemon->skipped[i]));
    llem_set(a, map, "skipped", list);
    return map;
}

const struct llem_sampler_class llem_sampler_zeus = {
    .name = "zeus",
    .help = "zeusd, the daemon that reads RAPL without root, or ZeusMonitor of the Python package",
    .quality = "measured",
    .needs_rolls = true,
    .probe = zeus_probe,
    .open = zeus_open,
    .domains = zeus_domains,
    .read = zeus_read,
    .window_begin = zeus_window_begin,
    .window_end = zeus_window_end,
    .describe = zeus_describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = zeus_close,
};
