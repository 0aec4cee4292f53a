/* SPDX-License-Identifier: MIT
 *
 * A libnvidia-ml.so.1 that plays a scenario (README.md): sensors with gain, delay and averaging
 * over a load whose true energy is known, and every way in which real ones fail. Built twice, the
 * second time with the symbols of an old driver.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fakes/scenario.h"

#define EXPORT __attribute__((visibility("default")))

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 25,
};

typedef struct board *device;
union value {
    double d;
    unsigned ui;
    unsigned long long ull;
    long long sll;
};
struct field_value {
    unsigned id, scope;
    long long timestamp_us, latency_us;
    int type, status;
    union value value;
};
struct process_info {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};
struct pci_info {
    char legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char id[32];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct scenario scenario;
static bool loaded;
static int users; /* nvmlInit is counted */
static int64_t (*test_clock)(void);

/* ---- time -------------------------------------------------------------------------------- */

static int64_t monotonic_ns(void)
{
    struct timespec t;

    if (test_clock)
        return test_clock();
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t since_epoch_ns(void)
{
    return monotonic_ns() - scenario.epoch_ns;
}

static long long wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- faults ------------------------------------------------------------------------------ */

/* The fault of this kind that is active at t, and since when; NULL if none. */
static struct fault *fault_at(struct board *b, enum fault_kind kind, int64_t t)
{
    for (size_t i = 0; i < b->n_faults; i++) {
        struct fault *f = &b->faults[i];
        struct stat st;

        if (f->kind != kind)
            continue;
        if (f->flag[0]) {
            /* What resets, is lost or jumps does not come back when the flag goes. */
            bool sticky = kind == FAULT_RESET || kind == FAULT_LOST || kind == FAULT_JUMP;
            bool there = stat(f->flag, &st) == 0;

            if (there && f->since_ns < 0)
                f->since_ns = t;
            if (!there && !sticky)
                f->since_ns = -1;
            if (f->since_ns >= 0)
                return f;
        } else if (t >= f->from_ns && t < f->to_ns) {
            f->since_ns = f->from_ns;
            return f;
        }
    }
    return NULL;
}

static bool unsupported(const struct board *b, const char *what)
{
    for (size_t i = 0; i < b->n_unsupported; i++)
        if (!strcmp(b->unsupported[i], what))
            return true;
    return false;
}

static bool field_unsupported(const struct board *b, unsigned id)
{
    for (size_t i = 0; i < b->n_unsupported; i++)
        if (b->unsupported_id[i] == id)
            return true;
    return false;
}

/* ---- the sensor -------------------------------------------------------------------------- */

static int64_t tick_time_ns(const struct board *b, int64_t k)
{
    double t = b->phase_s + (double)k * b->period_s;

    if (b->jitter_s > 0)
        t += b->jitter_s * (2 * fake_uniform(fake_hash(b->load.seed) + (uint64_t)k) - 1);
    return llround(1e9 * t);
}

/* The last tick whose values can be seen at t. */
static int64_t tick_at(const struct board *b, int64_t t)
{
    int64_t seen = t - llround(1e9 * b->lag_s);
    int64_t k = (int64_t)floor((1e-9 * (double)seen - b->phase_s) / b->period_s) + 1;

    while (tick_time_ns(b, k) > seen)
        k--;
    return k;
}

static double measured_power(struct board *b, int64_t t, double window_s)
{
    return b->gain * load_mean_power(&b->load, t - llround(1e9 * window_s), t) + b->offset_w;
}

enum { SHOWN_JOULES, SHOWN_POWER };

/* Joules since the epoch, or power over a window, as of tick k: computed when the tick is first
 * seen. */
static double shown(struct board *b, int what, int64_t k, double window_s)
{
    int slot = what == SHOWN_JOULES ? 0 : 1 + (window_s >= 0.5) + 2 * (window_s <= 0);

    if (!b->shown[slot].valid || b->shown[slot].tick != k || b->shown[slot].window_s != window_s) {
        int64_t t = tick_time_ns(b, k);

        b->shown[slot].value = what == SHOWN_JOULES ? b->gain * load_joules(&b->load, t)
                                                    : measured_power(b, t, window_s);
        b->shown[slot].tick = k;
        b->shown[slot].window_s = window_s;
        b->shown[slot].valid = true;
    }
    return b->shown[slot].value;
}

/* Carry what adds up over ticks forward to tick k. */
static void advance(struct board *b, int64_t k)
{
    if (!b->started) {
        b->tick = k;
        b->tick_ns = tick_time_ns(b, k);
        b->lagging_w = load_power(&b->load, b->tick_ns);
        b->sampled_j = b->gain * load_joules(&b->load, b->tick_ns);
        b->started = true;
    }
    while (b->tick < k) {
        int64_t next = tick_time_ns(b, b->tick + 1);
        double dt = 1e-9 * (double)(next - b->tick_ns);
        double mean = load_mean_power(&b->load, b->tick_ns, next);

        if (b->sensor_tau_s > 0)
            b->lagging_w = mean + (b->lagging_w - mean) * exp(-dt / b->sensor_tau_s);
        b->sampled_j += dt * measured_power(b, next, b->window_s);
        b->tick++;
        b->tick_ns = next;
    }
}

/* The tick that a reader sees at t, faults of the timing included. */
static int64_t visible_tick(struct board *b, int64_t t)
{
    struct fault *stuck = fault_at(b, FAULT_STUCK, t);
    int64_t k = tick_at(b, stuck ? stuck->since_ns : t);

    if (fault_at(b, FAULT_DUPLICATES, t))
        k -= k & 1;
    return k;
}

static uint64_t counter_mj(struct board *b, int64_t t)
{
    int64_t k = visible_tick(b, t);
    struct fault *reset = fault_at(b, FAULT_RESET, t), *jump = fault_at(b, FAULT_JUMP, t);
    double joules, offset = 0;
    uint64_t start = b->counter_start_mj;

    if (b->counter == COUNTER_SAMPLED) {
        advance(b, k);
        joules = b->sampled_j;
    } else {
        joules = shown(b, SHOWN_JOULES, k, 0);
    }
    joules += 1e-9 * (double)tick_time_ns(b, k) * b->counter_offset_w;
    if (reset) {
        offset = b->gain * load_joules(&b->load, tick_time_ns(b, tick_at(b, reset->since_ns)));
        start = 0;
    }
    joules = floor(1000 * (joules - offset));
    if (jump)
        joules += jump->a;
    if (joules < 0 && -joules > (double)start)
        return 0;
    return start + (uint64_t)(int64_t)joules;
}

/* mW; window_s 0 is the lagging sensor. */
static unsigned power_mw(struct board *b, int64_t t, double window_s)
{
    int64_t k = visible_tick(b, t);
    double watts;

    if (fault_at(b, FAULT_ZERO_POWER, t))
        return 0;
    if (fault_at(b, FAULT_MAX_POWER, t))
        return UINT32_MAX;
    if (b->sensor_tau_s > 0) {
        advance(b, k);
        watts = b->gain * b->lagging_w + b->offset_w;
    } else {
        watts = shown(b, SHOWN_POWER, k, window_s);
    }
    return watts > 0 ? (unsigned)lround(1000 * watts) : 1;
}

static double temperature_c(struct board *b, int64_t t)
{
    double step, mean, goal;

    if (!b->celsius_ns) {
        b->celsius = b->ambient_c + b->kelvin_per_w * b->load.idle_w;
        b->celsius_ns = t ? t : 1;
    }
    if (t > b->celsius_ns) {
        step = 1e-9 * (double)(t - b->celsius_ns);
        mean = load_mean_power(&b->load, b->celsius_ns, t);
        goal = b->ambient_c + b->kelvin_per_w * mean;
        b->celsius = goal + (b->celsius - goal) * exp(-step / b->thermal_tau_s);
        b->celsius_ns = t;
    }
    return b->celsius;
}

static double load_share(struct board *b, int64_t t)
{
    double span = b->limit_w - b->load.idle_w;
    double share = span > 0 ? (load_power(&b->load, t) - b->load.idle_w) / span : 0;

    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static unsigned long long reasons(struct board *b, int64_t t)
{
    unsigned long long bits = load_share(b, t) < 0.01 ? 0x1 : 0;

    if (load_power(&b->load, t) >= b->limit_w)
        bits |= 0x4;
    if (fault_at(b, FAULT_THROTTLE, t) || temperature_c(b, t) >= b->slowdown_c)
        bits |= 0x20;
    return bits;
}

/* ---- entering a call --------------------------------------------------------------------- */

/* Sleep as long as the scenario has the call take, then lock. The caller unlocks unless this fails.
 */
static int enter(device d, const char *what, int64_t *t)
{
    struct fault *f;
    double wait;
    int status = OK;

    pthread_mutex_lock(&lock);
    if (!users) {
        status = UNINITIALIZED;
        goto failed;
    }
    if (d < scenario.boards || d >= scenario.boards + scenario.n_boards ||
        (size_t)((const char *)d - (const char *)scenario.boards) % sizeof(*d)) {
        status = INVALID_ARGUMENT;
        goto failed;
    }
    *t = since_epoch_ns();
    wait = d->latency_s[0];
    if (d->latency_s[1] > wait)
        wait += (d->latency_s[1] - wait) * fake_uniform((uint64_t)*t);
    f = fault_at(d, FAULT_BLOCK, *t);
    if (f)
        wait += 1e-3 * f->a;
    if (wait > 0 && !test_clock) {
        struct timespec pause = { (time_t)wait, (long)(1e9 * (wait - floor(wait))) };

        pthread_mutex_unlock(&lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
        *t = since_epoch_ns();
    }
    if (fault_at(d, FAULT_LOST, *t)) {
        status = GPU_IS_LOST;
        goto failed;
    }
    f = fault_at(d, FAULT_ERROR, *t);
    if (f) {
        status = (int)f->a;
        goto failed;
    }
    if (what && unsupported(d, what)) {
        status = NOT_SUPPORTED;
        goto failed;
    }
    return OK;

failed:
    pthread_mutex_unlock(&lock);
    return status;
}

static int leave(int status)
{
    pthread_mutex_unlock(&lock);
    return status;
}

static int text_out(const char *text, char *out, unsigned size)
{
    if (!out)
        return INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

/* ---- for tests --------------------------------------------------------------------------- */

EXPORT void llem_fake_set_clock(int64_t (*now_ns)(void));
EXPORT void llem_fake_reset(void);
EXPORT double llem_fake_energy_mj(unsigned index, int64_t t0_ns, int64_t t1_ns);
EXPORT int64_t llem_fake_epoch_ns(void);

/* Take time from here instead of CLOCK_MONOTONIC; NULL goes back. Calls then take no time. */
void llem_fake_set_clock(int64_t (*now_ns)(void))
{
    test_clock = now_ns;
}

/* Forget the scenario; the next nvmlInit reads it again and is the epoch. */
void llem_fake_reset(void)
{
    pthread_mutex_lock(&lock);
    scenario_done(&scenario);
    loaded = false;
    users = 0;
    pthread_mutex_unlock(&lock);
}

/* What the board truly consumed between two moments of CLOCK_MONOTONIC, without gain or offset. */
double llem_fake_energy_mj(unsigned index, int64_t t0_ns, int64_t t1_ns)
{
    struct load *l;
    double mj = -1;

    pthread_mutex_lock(&lock);
    if (index < scenario.n_boards) {
        l = &scenario.boards[index].load;
        mj = 1000 * (load_joules(l, t1_ns - scenario.epoch_ns) -
                     load_joules(l, t0_ns - scenario.epoch_ns));
    }
    pthread_mutex_unlock(&lock);
    return mj;
}

int64_t llem_fake_epoch_ns(void)
{
    return scenario.epoch_ns;
}

/* ---- NVML: library ----------------------------------------------------------------------- */

EXPORT int nvmlInitWithFlags(unsigned flags);
EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT const char *nvmlErrorString(int status);
EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned size);
EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned size);
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version);
EXPORT int nvmlSystemGetCudaDriverVersion(int *version);

int nvmlInitWithFlags(unsigned flags)
{
    char why[512];
    int status = OK;

    pthread_mutex_lock(&lock);
    if (!loaded) {
        /* What is loaded stays when the library is closed and opened again (it is linked with
         * nodelete), so that a probe and the run after it see one timeline. */
        if (scenario_load(&scenario, getenv("LLEM_FAKE_NVML_SCENARIO"), why, sizeof(why)) != 0) {
            fprintf(stderr, "fake NVML: %s\n", why);
            scenario_done(&scenario);
            status = 999;
        } else {
            loaded = true;
            scenario_set_epoch(&scenario,
                               scenario.epoch == EPOCH_INIT ? monotonic_ns() : scenario.epoch_ns);
        }
    }
    if (status == OK)
        status = scenario.init_error;
    if (status == OK)
        users++;
    pthread_mutex_unlock(&lock);
    return status;
}

int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

int nvmlShutdown(void)
{
    int status = OK;

    pthread_mutex_lock(&lock);
    if (users)
        users--;
    else
        status = UNINITIALIZED;
    pthread_mutex_unlock(&lock);
    return status;
}

const char *nvmlErrorString(int status)
{
    switch (status) {
    case 0:
        return "Success";
    case 1:
        return "Uninitialized";
    case 2:
        return "Invalid Argument";
    case 3:
        return "Not Supported";
    case 4:
        return "Insufficient Permissions";
    case 9:
        return "Driver Not Loaded";
    case 15:
        return "GPU is lost";
    case 18:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

static int system_text(const char *text, char *out, unsigned size)
{
    int status;

    pthread_mutex_lock(&lock);
    status = users ? text_out(text, out, size) : UNINITIALIZED;
    pthread_mutex_unlock(&lock);
    return status;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    return system_text(scenario.driver, out, size);
}

int nvmlSystemGetNVMLVersion(char *out, unsigned size)
{
    return system_text(scenario.nvml, out, size);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = scenario.cuda;
    return OK;
}

int nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

/* ---- NVML: finding devices --------------------------------------------------------------- */

EXPORT int nvmlDeviceGetCount_v2(unsigned *count);
EXPORT int nvmlDeviceGetCount(unsigned *count);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out);
EXPORT int nvmlDeviceGetHandleByIndex(unsigned index, device *out);
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, device *out);
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device *out);

int nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!users)
        return UNINITIALIZED;
    *count = (unsigned)scenario.n_boards;
    return OK;
}

int nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out)
{
    int64_t t;
    int status;

    if (!users)
        return UNINITIALIZED;
    if (index >= scenario.n_boards)
        return INVALID_ARGUMENT;
    status = enter(&scenario.boards[index], "handle", &t);
    if (status != OK)
        return status;
    *out = &scenario.boards[index];
    return leave(OK);
}

int nvmlDeviceGetHandleByIndex(unsigned index, device *out)
{
    return nvmlDeviceGetHandleByIndex_v2(index, out);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device *out)
{
    for (unsigned i = 0; i < scenario.n_boards; i++)
        if (!strcmp(scenario.boards[i].uuid, uuid))
            return nvmlDeviceGetHandleByIndex_v2(i, out);
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device *out)
{
    for (unsigned i = 0; i < scenario.n_boards; i++)
        if (!strcmp(scenario.boards[i].pci, pci))
            return nvmlDeviceGetHandleByIndex_v2(i, out);
    return NOT_FOUND;
}

/* ---- NVML: what a device is -------------------------------------------------------------- */

/* A call that stores one thing: enter, body, leave. */
#define GETTER(name, what, parameters, body)                                                       \
    EXPORT int name parameters;                                                                    \
    int name parameters                                                                            \
    {                                                                                              \
        int64_t t;                                                                                 \
        int status = enter(d, what, &t);                                                           \
                                                                                                   \
        if (status != OK)                                                                          \
            return status;                                                                         \
        body return leave(OK);                                                                     \
    }

#define TEXT_GETTER(name, what, text)                                                              \
    EXPORT int name(device d, char *out, unsigned size);                                           \
    int name(device d, char *out, unsigned size)                                                   \
    {                                                                                              \
        int64_t t;                                                                                 \
        int status = enter(d, what, &t);                                                           \
                                                                                                   \
        return status != OK ? status : leave(text_out(text, out, size));                           \
    }

TEXT_GETTER(nvmlDeviceGetName, "name", d->name)
TEXT_GETTER(nvmlDeviceGetUUID, "uuid", d->uuid)
TEXT_GETTER(nvmlDeviceGetSerial, "serial", "1234567890123")
GETTER(nvmlDeviceGetIndex, NULL, (device d, unsigned *out), { *out = (unsigned)d->index; })
GETTER(nvmlDeviceGetMinorNumber, NULL, (device d, unsigned *out), { *out = (unsigned)d->index; })
GETTER(nvmlDeviceGetNumGpuCores, NULL, (device d, unsigned *out), { *out = 16896; })
GETTER(nvmlDeviceGetArchitecture, "architecture", (device d, unsigned *out), { *out = d->arch; })
GETTER(nvmlDeviceGetCudaComputeCapability, NULL, (device d, int *major, int *minor), {
    *major = d->cc_major;
    *minor = d->cc_minor;
})
GETTER(nvmlDeviceGetPersistenceMode, "persistence", (device d, int *out),
       { *out = d->persistence; })
GETTER(nvmlDeviceGetPciInfo_v3, "pci", (device d, struct pci_info *out), {
    memset(out, 0, sizeof(*out));
    snprintf(out->id, sizeof(out->id), "%s", d->pci);
    snprintf(out->legacy, sizeof(out->legacy), "%.15s", d->pci + (strlen(d->pci) > 12 ? 4 : 0));
    out->bus = (unsigned)d->index + 1;
})
GETTER(nvmlDeviceGetMigMode, "mig", (device d, unsigned *current, unsigned *pending),
       { *current = *pending = d->mig > 0; })
GETTER(nvmlDeviceGetMaxMigDeviceCount, "mig", (device d, unsigned *out), { *out = d->mig ? 7 : 0; })
GETTER(nvmlDeviceGetMigDeviceHandleByIndex, "mig", (device d, unsigned index, device *out), {
    if (index >= d->mig)
        return leave(NOT_FOUND);
    *out = d;
})

/* ---- NVML: its state --------------------------------------------------------------------- */

GETTER(nvmlDeviceGetPowerManagementLimit, "limits", (device d, unsigned *mw),
       { *mw = (unsigned)(1000 * d->limit_w); })
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, "limits", (device d, unsigned *mw),
       { *mw = (unsigned)(1000 * d->default_limit_w); })
GETTER(nvmlDeviceGetEnforcedPowerLimit, "limits", (device d, unsigned *mw),
       { *mw = (unsigned)(1000 * d->limit_w); })
GETTER(nvmlDeviceGetPowerManagementLimitConstraints, "limits",
       (device d, unsigned *least, unsigned *most), {
           *least = (unsigned)(1000 * d->min_limit_w);
           *most = (unsigned)(1000 * d->max_limit_w);
       })
GETTER(nvmlDeviceGetPerformanceState, "pstate", (device d, int *out),
       { *out = load_share(d, t) > 0.01 ? 0 : 8; })
GETTER(nvmlDeviceGetClockInfo, "clocks", (device d, int type, unsigned *mhz), {
    *mhz = type == 2 ? 2619 : load_share(d, t) > 0.01 ? 1980 : 345;
})
GETTER(nvmlDeviceGetMaxClockInfo, "clocks", (device d, int type, unsigned *mhz),
       { *mhz = type == 2 ? 2619 : 1980; })
GETTER(nvmlDeviceGetTemperature, "temperature", (device d, int sensor, unsigned *celsius),
       { *celsius = (unsigned)lround(temperature_c(d, t)); })
GETTER(nvmlDeviceGetTemperatureThreshold, "temperature", (device d, int kind, unsigned *celsius),
       { *celsius = (unsigned)d->slowdown_c + (kind == 0 ? 5 : 0); })
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, "reasons", (device d, unsigned long long *out),
       { *out = reasons(d, t); })
GETTER(nvmlDeviceGetUtilizationRates, d->mig ? NULL : "utilization", (device d, unsigned *out), {
    if (d->mig)
        return leave(NOT_SUPPORTED);
    out[0] = (unsigned)lround(100 * load_share(d, t));
    out[1] = out[0] / 2;
})
GETTER(nvmlDeviceGetMemoryInfo, "memory", (device d, unsigned long long *out), {
    unsigned long long used = 629145600;

    for (size_t i = 0; i < d->n_processes; i++)
        used += d->processes[i].bytes;
    out[0] = d->memory_bytes;
    out[1] = d->memory_bytes - used;
    out[2] = used;
})
#ifndef FAKE_OLD_DRIVER
GETTER(nvmlDeviceGetCurrentClocksEventReasons, "reasons", (device d, unsigned long long *out),
       { *out = reasons(d, t); })
GETTER(nvmlDeviceGetTemperatureV, "temperature", (device d, unsigned *out), {
    if (out[0] != 0x100000c)
        return leave(VERSION_MISMATCH);
    out[2] = (unsigned)lround(temperature_c(d, t));
})
GETTER(nvmlDeviceGetMemoryInfo_v2, "memory", (device d, unsigned long long *out), {
    unsigned long long used = 0;

    if (*(unsigned *)(void *)out != 0x2000028)
        return leave(VERSION_MISMATCH);
    for (size_t i = 0; i < d->n_processes; i++)
        used += d->processes[i].bytes;
    out[1] = d->memory_bytes;
    out[2] = 629145600;
    out[4] = used;
    out[3] = d->memory_bytes - used - out[2];
})
#endif

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count,
                                                   struct process_info *out);

int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, struct process_info *out)
{
    unsigned n = 0, room = *count;
    int64_t t;
    int status = enter(d, "processes", &t);

    if (status != OK)
        return status;
    for (size_t i = 0; i < d->n_processes; i++) {
        struct stat st;

        if (d->processes[i].flag[0] && stat(d->processes[i].flag, &st) != 0)
            continue;
        if (n < room && out)
            out[n] = (struct process_info){
                .pid = d->processes[i].pid ? d->processes[i].pid : (unsigned)getpid(),
                .bytes = d->processes[i].bytes,
                .gpu_instance = UINT32_MAX,
                .compute_instance = UINT32_MAX,
            };
        n++;
    }
    *count = n;
    return leave(n > room ? INSUFFICIENT_SIZE : OK);
}

/* ---- NVML: energy and power -------------------------------------------------------------- */

GETTER(nvmlDeviceGetTotalEnergyConsumption, "energy", (device d, unsigned long long *mj),
       { *mj = fault_at(d, FAULT_GARBAGE, t) ? fake_hash((uint64_t)t) : counter_mj(d, t); })
GETTER(nvmlDeviceGetPowerUsage, "power", (device d, unsigned *mw), {
    *mw =
        fault_at(d, FAULT_GARBAGE, t)
            ? (unsigned)fake_hash((uint64_t)t)
            : power_mw(d, t, d->usage_is_average && d->average_s > 0 ? d->average_s : d->window_s);
})

/* ns spent throttled since the epoch, for the violation counters. */
static unsigned long long throttled_ns(struct board *b, int64_t t)
{
    struct fault *f = fault_at(b, FAULT_THROTTLE, t);

    if (f)
        return (unsigned long long)(t - f->since_ns);
    for (size_t i = 0; i < b->n_faults; i++)
        if (b->faults[i].kind == FAULT_THROTTLE && !b->faults[i].flag[0] && t >= b->faults[i].to_ns)
            return (unsigned long long)(b->faults[i].to_ns - b->faults[i].from_ns);
    return 0;
}

static void one_field(struct board *b, int64_t t, struct field_value *f)
{
    struct fault *refused = fault_at(b, FAULT_FIELD, t);

    f->latency_us = 40;
    f->status = OK;
    if (field_unsupported(b, f->id) || ((f->id == 185 || f->id == 186) && f->scope > 0)) {
        f->status = NOT_SUPPORTED;
        return;
    }
    if (refused && (unsigned)refused->a == f->id) {
        f->status = (int)refused->b;
        return;
    }
    switch (f->id) {
    case 83:
    case 191:
        f->type = 3;
        f->value.ull = counter_mj(b, t);
        break;
    case 185:
    case 186:
        f->type = 1;
        f->value.ull = 0;
        f->value.ui = power_mw(b, t, f->id == 185 ? b->average_s : b->window_s);
        break;
    case 82:
        f->type = 1;
        f->value.ui = (unsigned)lround(temperature_c(b, t)) + 5;
        break;
    case 74:
    case 75:
    case 76:
    case 77:
    case 78:
    case 79:
    case 80:
    case 81:
    case 270:
    case 271:
        f->type = 3;
        f->value.ull = 0;
        break;
    case 269:
        f->type = 3;
        f->value.ull = throttled_ns(b, t);
        break;
    default:
        f->status = NOT_SUPPORTED;
    }
    if (f->status == OK && fault_at(b, FAULT_GARBAGE, t)) {
        uint64_t noise = fake_hash((uint64_t)t * 31 + f->id);

        f->value.ull = fake_hash(noise);
        f->type = (int)(noise % 12);
    }
}

EXPORT int nvmlDeviceGetFieldValues(device d, int count, struct field_value *values);

int nvmlDeviceGetFieldValues(device d, int count, struct field_value *values)
{
    long long at_us = wall_us();
    int64_t t;
    int status = enter(d, "fields", &t);

    if (status != OK)
        return status;
    if (count <= 0 || !values)
        return leave(INVALID_ARGUMENT);
    for (int i = 0; i < count; i++) {
        values[i].timestamp_us = at_us;
        one_field(d, t, &values[i]);
    }
    return leave(OK);
}
