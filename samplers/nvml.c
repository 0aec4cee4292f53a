/* SPDX-License-Identifier: MIT
 *
 * NVIDIA GPUs by their management library, which is opened when it is there. Energy counter and
 * both powers of a board come from one call; what a board or a driver does not offer is left out
 * when it is opened, so that a reading that fails later means something. The library's types are
 * declared here, as its header is not free to ship.
 */
#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/symbols.h"
#include "lib/sampler/sampler.h"

/* ---- NVML's ABI: reference header 13.3.29, unchanged since 12.0 -------------------------- */

typedef struct nvml_device *nvml_device;

/* nvmlReturn_t, as far as anything is decided by it. */
enum {
    NVML_OK = 0,
    NVML_UNINITIALIZED = 1,
    NVML_NO_PERMISSION = 4,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_TIMEOUT = 10,
    NVML_FUNCTION_NOT_FOUND = 13,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_LIB_RM_VERSION_MISMATCH = 18,
    NVML_IN_USE = 19,
    NVML_NO_DATA = 21,
    NVML_NOT_READY = 27,
    NVML_GPU_NOT_FOUND = 28,
};

enum nvml_value_type {
    NVML_DOUBLE,
    NVML_UINT,
    NVML_ULONG,
    NVML_ULONGLONG,
    NVML_LONGLONG,
    NVML_INT,
    NVML_USHORT
};

struct nvml_field_value {
    uint32_t id, scope;
    int64_t timestamp_us, latency_us;
    int32_t type, status;
    union {
        double d;
        uint32_t ui;
        int32_t si;
        uint64_t ull;
        int64_t sll;
        uint16_t us;
    } value;
};
static_assert(sizeof(struct nvml_field_value) == 40, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, type) == 24, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, value) == 32, "nvmlFieldValue_t");

struct nvml_utilization {
    uint32_t gpu, memory; /* percent */
};
static_assert(sizeof(struct nvml_utilization) == 8, "nvmlUtilization_t");

struct nvml_memory {
    uint64_t total, free, used;
};
static_assert(sizeof(struct nvml_memory) == 24, "nvmlMemory_t");

struct nvml_memory_v2 {
    uint32_t version;
    uint64_t total, reserved, free, used;
};
static_assert(sizeof(struct nvml_memory_v2) == 40, "nvmlMemory_v2_t");
static_assert(offsetof(struct nvml_memory_v2, used) == 32, "nvmlMemory_v2_t");

struct nvml_pci_info {
    char legacy_id[16];
    uint32_t domain, bus, device, device_id, subsystem_id;
    char id[32];
};
static_assert(sizeof(struct nvml_pci_info) == 68, "nvmlPciInfo_t");
static_assert(offsetof(struct nvml_pci_info, id) == 36, "nvmlPciInfo_t");

struct nvml_process {
    uint32_t pid;
    uint64_t bytes;
    uint32_t gpu_instance, compute_instance;
};
static_assert(sizeof(struct nvml_process) == 24, "nvmlProcessInfo_t");

struct nvml_temperature {
    uint32_t version;
    int32_t sensor, celsius;
};
static_assert(sizeof(struct nvml_temperature) == 12, "nvmlTemperature_t");

/* A structure's version names its size and its revision. */
#define NVML_VERSION(type, revision) ((uint32_t)(sizeof(type) | ((revision) << 24)))

/* Every function used: our name, its symbols (newest first), whether llem can do without,
 * parameters. */
/* clang-format off */
#define NVML_FUNCTIONS(X)                                                                               \
    X(init, "nvmlInit_v2", true, (void))                                                                \
    X(shutdown, "nvmlShutdown", true, (void))                                                           \
    X(driver_version, "nvmlSystemGetDriverVersion", false, (char *, unsigned))                          \
    X(nvml_version, "nvmlSystemGetNVMLVersion", false, (char *, unsigned))                              \
    X(cuda_version, "nvmlSystemGetCudaDriverVersion_v2|nvmlSystemGetCudaDriverVersion", false, (int *)) \
    X(count, "nvmlDeviceGetCount_v2", true, (unsigned *))                                               \
    X(by_index, "nvmlDeviceGetHandleByIndex_v2", true, (unsigned, nvml_device *))                       \
    X(name, "nvmlDeviceGetName", false, (nvml_device, char *, unsigned))                                \
    X(uuid, "nvmlDeviceGetUUID", true, (nvml_device, char *, unsigned))                                 \
    X(minor, "nvmlDeviceGetMinorNumber", false, (nvml_device, unsigned *))                              \
    X(pci, "nvmlDeviceGetPciInfo_v3", false, (nvml_device, struct nvml_pci_info *))                     \
    X(architecture, "nvmlDeviceGetArchitecture", false, (nvml_device, unsigned *))                      \
    X(capability, "nvmlDeviceGetCudaComputeCapability", false, (nvml_device, int *, int *))             \
    X(cores, "nvmlDeviceGetNumGpuCores", false, (nvml_device, unsigned *))                              \
    X(persistence, "nvmlDeviceGetPersistenceMode", false, (nvml_device, int *))                         \
    X(power_usage, "nvmlDeviceGetPowerUsage", false, (nvml_device, unsigned *))                         \
    X(total_energy, "nvmlDeviceGetTotalEnergyConsumption", false, (nvml_device, unsigned long long *))  \
    X(fields, "nvmlDeviceGetFieldValues", false, (nvml_device, int, struct nvml_field_value *))         \
    X(temperature_v, "nvmlDeviceGetTemperatureV", false, (nvml_device, struct nvml_temperature *))      \
    X(temperature, "nvmlDeviceGetTemperature", false, (nvml_device, int, unsigned *))                   \
    X(threshold, "nvmlDeviceGetTemperatureThreshold", false, (nvml_device, int, unsigned *))            \
    X(reasons, "nvmlDeviceGetCurrentClocksEventReasons|nvmlDeviceGetCurrentClocksThrottleReasons",      \
      false, (nvml_device, unsigned long long *))                                                       \
    X(clock, "nvmlDeviceGetClockInfo", false, (nvml_device, int, unsigned *))                           \
    X(max_clock, "nvmlDeviceGetMaxClockInfo", false, (nvml_device, int, unsigned *))                    \
    X(utilization, "nvmlDeviceGetUtilizationRates", false, (nvml_device, struct nvml_utilization *))    \
    X(memory_v2, "nvmlDeviceGetMemoryInfo_v2", false, (nvml_device, struct nvml_memory_v2 *))           \
    X(memory, "nvmlDeviceGetMemoryInfo", false, (nvml_device, struct nvml_memory *))                    \
    X(p_state, "nvmlDeviceGetPerformanceState", false, (nvml_device, int *))                            \
    X(limit, "nvmlDeviceGetPowerManagementLimit", false, (nvml_device, unsigned *))                     \
    X(default_limit, "nvmlDeviceGetPowerManagementDefaultLimit", false, (nvml_device, unsigned *))      \
    X(enforced_limit, "nvmlDeviceGetEnforcedPowerLimit", false, (nvml_device, unsigned *))              \
    X(limit_range, "nvmlDeviceGetPowerManagementLimitConstraints", false,                               \
      (nvml_device, unsigned *, unsigned *))                                                            \
    X(processes, "nvmlDeviceGetComputeRunningProcesses_v3|nvmlDeviceGetComputeRunningProcesses_v2",     \
      false, (nvml_device, unsigned *, struct nvml_process *))                                          \
    X(mig_mode, "nvmlDeviceGetMigMode", false, (nvml_device, unsigned *, unsigned *))                   \
    X(mig_count, "nvmlDeviceGetMaxMigDeviceCount", false, (nvml_device, unsigned *))                    \
    X(mig_device, "nvmlDeviceGetMigDeviceHandleByIndex", false, (nvml_device, unsigned, nvml_device *))
/* clang-format on */

enum function {
#define X(name, symbols, required, parameters) FN_##name,
    NVML_FUNCTIONS(X)
#undef X
        FN_COUNT
};
#define X(name, symbols, required, parameters) typedef int(*fn_##name) parameters;
NVML_FUNCTIONS(X)
#undef X

/* Call a function of the library; one that it lacks answers as NVML itself does for such. */
#define NVML(lib, name, ...)                                                                       \
    ((lib)->slots[FN_##name] ? ((fn_##name)(lib)->slots[FN_##name])(__VA_ARGS__)                   \
                             : NVML_FUNCTION_NOT_FOUND)

struct library {
    void *handle;
    void (*slots[FN_COUNT])(void);
    bool initialized;
};

/* ---- what is read ------------------------------------------------------------------------ */

/* NVML's own field ids where there is one; else ours, from 1000 on. */
enum {
    FIELD_TOTAL_ENERGY = 83,
    FIELD_POWER_AVERAGE = 185,
    FIELD_POWER_INSTANT = 186,
    FIELD_POWER_USAGE = 1000,
    FIELD_TEMPERATURE,
    FIELD_CLOCK_SM,
    FIELD_CLOCK_MEMORY,
    FIELD_UTILIZATION,
    FIELD_MEMORY_USED,
    FIELD_EVENT_REASONS,
};
enum { CLOCK_GRAPHICS, CLOCK_SM, CLOCK_MEMORY, CLOCK_VIDEO };
enum { MAX_BOARDS = 64, MAX_FIELDS = 12, MAX_BATCH = 3, MAX_MIG = 8 };

/* The most a board can say that is not garbage: 20 kW is above any module sold. */
static const int64_t power_limit_mw = 20000000;

/* How a chip's power sensor works, by compute capability: reference §2.2, drivers after 530.
 * window_s is what an instant reading is the mean over, 0 = not known; usage_average_s what
 * nvmlDeviceGetPowerUsage averages over, 0 = it is instant. */
static const struct chip {
    int major, minor_least, minor_most;
    double period_s, window_s, usage_average_s;
    const char *name;
} chips[] = {
    { 3, 0, 99, 0, 0, 0, "Kepler" },       { 5, 0, 99, 0.1, 0, 0, "Maxwell" },
    { 6, 0, 99, 0.02, 0.01, 0, "Pascal" }, { 7, 0, 2, 0.02, 0.01, 0, "Volta" },
    { 7, 5, 5, 0.1, 0.1, 0, "Turing" },    { 8, 0, 0, 0.1, 0.025, 0, "Ampere" },
    { 8, 1, 8, 0.1, 0.1, 1, "Ampere" },    { 8, 9, 9, 0.1, 0.1, 1, "Ada" },
    { 9, 0, 99, 0.1, 0.025, 1, "Hopper" }, { 10, 0, 99, 0.1, 0, 1, "Blackwell" },
    { 11, 0, 99, 0.1, 0, 1, "Blackwell" }, { 12, 0, 99, 0.1, 0, 1, "Blackwell" },
};
static const struct chip unknown_chip = { 0, 0, 0, 0, 0, 0, "unknown" };

struct board {
    nvml_device handle;
    struct llem_sensor_field fields[MAX_FIELDS];
    size_t n_fields;
    /* What one call asks for, copied for each read; type is what the board answered with at first,
     * or -1: another type later is garbage. */
    struct nvml_field_value batch[MAX_BATCH];
    size_t n_batch;
    bool energy_call,
        usage_call; /* by functions of their own, on boards or drivers without the field */
    const struct chip *chip;
    int major, minor; /* compute capability, -1 = not told */
};

struct nvml {
    struct library lib;
    struct llem_domain domains[MAX_BOARDS];
    struct board boards[MAX_BOARDS];
    size_t n;
    unsigned n_seen;    /* what the library counts */
    int refused;        /* the last status for which a board was left out */
    unsigned n_refused; /* boards that could not be opened */
    unsigned n_mute;    /* boards that tell neither energy nor power */
    char path[PATH_MAX / 4], driver[80], version[80];
    int cuda, driver_major;
    bool is_fake;
};

/* ---- reading ----------------------------------------------------------------------------- */

static int32_t status_of(int code)
{
    switch (code) {
    case NVML_OK:
        return LLEM_READ_OK;
    case NVML_GPU_IS_LOST:
    case NVML_RESET_REQUIRED:
    case NVML_UNINITIALIZED:
    case NVML_DRIVER_NOT_LOADED:
    case NVML_GPU_NOT_FOUND:
        return LLEM_READ_GONE;
    default:
        return code < 0 ? LLEM_READ_IO : code;
    }
}

/* The whole number in a field, whatever type this driver uses for it. */
static bool value_of(const struct nvml_field_value *f, int64_t *ret)
{
    switch (f->type) {
    case NVML_UINT:
        *ret = f->value.ui;
        return f->value.ui != UINT32_MAX; /* what drivers give for "not available" */
    case NVML_ULONG:
    case NVML_ULONGLONG:
        *ret = (int64_t)f->value.ull;
        return f->value.ull <= INT64_MAX;
    case NVML_LONGLONG:
        *ret = f->value.sll;
        return f->value.sll >= 0;
    case NVML_INT:
        *ret = f->value.si;
        return f->value.si >= 0;
    case NVML_USHORT:
        *ret = f->value.us;
        return true;
    default:
        return false;
    }
}

/* A board that answers has power, so 0 W is no measurement. */
static bool plausible(uint16_t field, int64_t raw)
{
    return field == FIELD_TOTAL_ENERGY || (raw > 0 && raw < power_limit_mw);
}

static void finish(struct llem_reading *r, bool is_good, int64_t raw)
{
    if (r->status != LLEM_READ_OK)
        return;
    if (is_good && plausible(r->field, raw))
        r->raw = raw;
    else
        r->status = LLEM_READ_GARBAGE;
}

static size_t read_fast(const struct nvml *n, const struct board *b, struct llem_reading *out)
{
    size_t count = 0;

    if (b->n_batch) {
        struct nvml_field_value values[MAX_BATCH];
        int code;

        memcpy(values, b->batch, sizeof(values));
        code = NVML(&n->lib, fields, b->handle, (int)b->n_batch, values);
        for (size_t i = 0; i < b->n_batch; i++) {
            const struct nvml_field_value *f = &values[i];
            struct llem_reading *r = &out[count++];
            int64_t raw = 0;
            bool is_good;

            *r = (struct llem_reading){ .field = (uint16_t)b->batch[i].id };
            r->status = status_of(code != NVML_OK ? code : f->status);
            if (code != NVML_OK)
                continue;
            if (f->timestamp_us > 0 && f->timestamp_us < INT64_MAX / 1000)
                r->vendor_ns = f->timestamp_us * 1000;
            if (f->latency_us > 0)
                r->latency_us = f->latency_us < INT32_MAX ? (int32_t)f->latency_us : INT32_MAX;
            is_good = value_of(f, &raw) && (b->batch[i].type < 0 || b->batch[i].type == f->type);
            finish(r, is_good, raw);
        }
    }
    if (b->energy_call) {
        struct llem_reading *r = &out[count++];
        unsigned long long mj = 0;

        *r = (struct llem_reading){ .field = FIELD_TOTAL_ENERGY };
        r->status = status_of(NVML(&n->lib, total_energy, b->handle, &mj));
        finish(r, mj <= INT64_MAX, (int64_t)mj);
    }
    if (b->usage_call) {
        struct llem_reading *r = &out[count++];
        unsigned mw = 0;

        *r = (struct llem_reading){ .field = FIELD_POWER_USAGE };
        r->status = status_of(NVML(&n->lib, power_usage, b->handle, &mw));
        finish(r, true, mw);
    }
    return count;
}

static int get_temperature(const struct library *lib, nvml_device d, int64_t *ret)
{
    struct nvml_temperature t = { .version = NVML_VERSION(struct nvml_temperature, 1) };
    unsigned celsius = 0;
    int code = NVML(lib, temperature_v, d, &t);

    if (code == NVML_OK) {
        *ret = t.celsius;
        return code;
    }
    code = NVML(lib, temperature, d, 0, &celsius);
    *ret = celsius;
    return code;
}

static int get_memory(const struct library *lib, nvml_device d, uint64_t *used, uint64_t *total)
{
    struct nvml_memory_v2 v2 = { .version = NVML_VERSION(struct nvml_memory_v2, 2) };
    struct nvml_memory v1 = { 0 };
    int code = NVML(lib, memory_v2, d, &v2);

    if (code == NVML_OK) {
        *used = v2.used;
        *total = v2.total;
        return code;
    }
    code = NVML(lib, memory, d, &v1);
    *used = v1.used;
    *total = v1.total;
    return code;
}

static int get_slow(const struct library *lib, nvml_device d, uint16_t field, int64_t *ret)
{
    struct nvml_utilization use = { 0 };
    unsigned long long bits = 0;
    uint64_t used = 0, total = 0;
    unsigned mhz = 0;
    int code = NVML_FUNCTION_NOT_FOUND;

    switch (field) {
    case FIELD_TEMPERATURE:
        return get_temperature(lib, d, ret);
    case FIELD_CLOCK_SM:
    case FIELD_CLOCK_MEMORY:
        code = NVML(lib, clock, d, field == FIELD_CLOCK_SM ? CLOCK_SM : CLOCK_MEMORY, &mhz);
        *ret = mhz;
        break;
    case FIELD_UTILIZATION:
        code = NVML(lib, utilization, d, &use);
        *ret = use.gpu;
        break;
    case FIELD_MEMORY_USED:
        code = get_memory(lib, d, &used, &total);
        *ret = (int64_t)used;
        break;
    case FIELD_EVENT_REASONS:
        code = NVML(lib, reasons, d, &bits);
        *ret = (int64_t)bits;
        break;
    }
    return code;
}

/* What a slow value can be at most: 150 degrees is molten, 20 GHz and 1 PiB are yet to come. */
static const struct slow {
    uint16_t id;
    uint8_t role;
    const char *name, *unit;
    double to_si;
    int64_t most;
} slow_fields[] = {
    { FIELD_TEMPERATURE, LLEM_ROLE_TEMPERATURE, "temperature", "C", 1, 150 },
    { FIELD_CLOCK_SM, LLEM_ROLE_CLOCK_SM, "clock_sm", "MHz", 1e6, 20000 },
    { FIELD_CLOCK_MEMORY, LLEM_ROLE_CLOCK_MEMORY, "clock_memory", "MHz", 1e6, 20000 },
    { FIELD_UTILIZATION, LLEM_ROLE_UTILIZATION, "utilization", "%", 1e-2, 100 },
    { FIELD_MEMORY_USED, LLEM_ROLE_MEMORY_USED, "memory_used", "B", 1, INT64_C(1) << 50 },
    { FIELD_EVENT_REASONS, LLEM_ROLE_EVENT_REASONS, "event_reasons", "bits", 1, INT64_MAX },
};

static size_t read_slow(const struct nvml *n, const struct board *b, struct llem_reading *out)
{
    size_t count = 0;

    for (size_t i = 0; i < b->n_fields; i++) {
        struct llem_reading *r = &out[count];
        const struct slow *s = NULL;
        int64_t raw = 0;

        if (!b->fields[i].slow)
            continue;
        for (size_t k = 0; k < LLEM_COUNT(slow_fields); k++)
            if (slow_fields[k].id == b->fields[i].id)
                s = &slow_fields[k];
        *r = (struct llem_reading){ .field = b->fields[i].id };
        r->status = status_of(get_slow(&n->lib, b->handle, r->field, &raw));
        if (r->status == LLEM_READ_OK && s && raw >= 0 && raw <= s->most)
            r->raw = raw;
        else if (r->status == LLEM_READ_OK)
            r->status = LLEM_READ_GARBAGE;
        count++;
    }
    return count;
}

static size_t nvml_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    const struct nvml *n = self;
    const struct board *b = &n->boards[domain];

    return slow ? read_slow(n, b, out) : read_fast(n, b, out);
}

/* ---- opening ----------------------------------------------------------------------------- */

/* Is a field there? One that is only not ready at this moment is. */
static bool offered(int code)
{
    return code == NVML_OK || code == NVML_TIMEOUT || code == NVML_IN_USE || code == NVML_NO_DATA ||
           code == NVML_NOT_READY;
}

static void add_field(struct board *b, struct llem_sensor_field f)
{
    b->fields[b->n_fields++] = f;
}

static const struct chip *chip_of(const struct nvml *n, struct board *b)
{
    b->major = b->minor = -1;
    if (NVML(&n->lib, capability, b->handle, &b->major, &b->minor) != NVML_OK) {
        b->major = b->minor = -1;
        return &unknown_chip;
    }
    for (size_t i = 0; i < LLEM_COUNT(chips); i++)
        if (chips[i].major == b->major && b->minor >= chips[i].minor_least &&
            b->minor <= chips[i].minor_most)
            return &chips[i];
    return &unknown_chip;
}

/* Ask a board once for everything, and keep what it offers. */
static void find_fields(struct nvml *n, struct board *b)
{
    static const uint16_t wanted[MAX_BATCH] = { FIELD_TOTAL_ENERGY, FIELD_POWER_INSTANT,
                                                FIELD_POWER_AVERAGE };
    struct nvml_field_value values[MAX_BATCH] = { 0 };
    struct llem_sensor_field power = { .unit = "mW", .to_si = 1e-3 };
    struct llem_sensor_field energy = {
        .id = FIELD_TOTAL_ENERGY,
        .role = LLEM_ROLE_COUNTER,
        .name = "total_energy",
        .unit = "mJ",
        .to_si = 1e-3,
    };
    bool has_energy = false, has_power = false;
    unsigned long long mj;
    unsigned mw;
    int64_t raw;
    int code;

    b->chip = chip_of(n, b);
    energy.period_s = power.period_s = b->chip->period_s;
    for (size_t i = 0; i < MAX_BATCH; i++)
        values[i].id = wanted[i]; /* scope 0 is the GPU alone */
    code = NVML(&n->lib, fields, b->handle, MAX_BATCH, values);
    for (size_t i = 0; i < MAX_BATCH && code == NVML_OK; i++) {
        if (!offered(values[i].status))
            continue;
        b->batch[b->n_batch++] = (struct nvml_field_value){
            .id = wanted[i],
            .type = values[i].status == NVML_OK ? values[i].type : -1,
        };
        if (wanted[i] == FIELD_TOTAL_ENERGY) {
            add_field(b, energy);
            has_energy = true;
            continue;
        }
        power.id = wanted[i];
        power.role =
            wanted[i] == FIELD_POWER_INSTANT ? LLEM_ROLE_POWER_INSTANT : LLEM_ROLE_POWER_AVERAGE;
        power.name = wanted[i] == FIELD_POWER_INSTANT ? "power_instant" : "power_average";
        power.averaging_s = wanted[i] == FIELD_POWER_INSTANT ? b->chip->window_s : 1;
        add_field(b, power);
        has_power = true;
    }
    if (!has_energy && offered(NVML(&n->lib, total_energy, b->handle, &mj))) {
        b->energy_call = true;
        add_field(b, energy);
    }
    if (!has_power && offered(NVML(&n->lib, power_usage, b->handle, &mw))) {
        /* Driver 530 alone gave the instant value here (reference §2.2). */
        bool is_average = b->chip->usage_average_s > 0 && n->driver_major != 530;

        b->usage_call = true;
        power.id = FIELD_POWER_USAGE;
        power.name = "power_usage";
        power.role = is_average ? LLEM_ROLE_POWER_AVERAGE : LLEM_ROLE_POWER_INSTANT;
        power.averaging_s = is_average                     ? b->chip->usage_average_s
                            : b->chip->usage_average_s > 0 ? 0.1
                                                           : b->chip->window_s;
        add_field(b, power);
    }
    if (!b->n_fields)
        return;
    for (size_t i = 0; i < LLEM_COUNT(slow_fields); i++)
        if (offered(get_slow(&n->lib, b->handle, slow_fields[i].id, &raw)))
            add_field(b, (struct llem_sensor_field){
                             .id = slow_fields[i].id,
                             .role = slow_fields[i].role,
                             .slow = true,
                             .name = slow_fields[i].name,
                             .unit = slow_fields[i].unit,
                             .to_si = slow_fields[i].to_si,
                         });
}

static void open_board(struct nvml *n, unsigned index)
{
    struct board *b = &n->boards[n->n];
    struct llem_domain *d = &n->domains[n->n];
    struct nvml_pci_info pci = { 0 };
    char uuid[sizeof(d->uuid)] = "";
    int code;

    memset(b, 0, sizeof(*b));
    memset(d, 0, sizeof(*d));
    code = NVML(&n->lib, by_index, index, &b->handle);
    if (code == NVML_OK)
        code = NVML(&n->lib, uuid, b->handle, uuid, sizeof(uuid));
    if (code != NVML_OK) {
        n->refused = code;
        n->n_refused++;
        return;
    }
    uuid[sizeof(uuid) - 1] = '\0';
    find_fields(n, b);
    if (!b->n_fields) {
        n->n_mute++;
        return;
    }
    memcpy(d->uuid, uuid, sizeof(uuid));
    snprintf(d->id, sizeof(d->id), "gpu:%s", uuid);
    snprintf(d->kind, sizeof(d->kind), "gpu");
    if (NVML(&n->lib, name, b->handle, d->label, sizeof(d->label)) != NVML_OK)
        snprintf(d->label, sizeof(d->label), "NVIDIA GPU %u", index);
    d->label[sizeof(d->label) - 1] = '\0';
    if (NVML(&n->lib, pci, b->handle, &pci) == NVML_OK)
        snprintf(d->pci, sizeof(d->pci), "%.*s", (int)sizeof(pci.id) - 1, pci.id);
    d->index = (int)index;
    d->fields = b->fields;
    d->n_fields = b->n_fields;
    n->n++;
}

static void release(struct nvml *n)
{
    if (n->lib.initialized)
        NVML(&n->lib, shutdown);
    if (n->lib.handle)
        dlclose(n->lib.handle);
    memset(&n->lib, 0, sizeof(n->lib));
    n->n = 0;
}

/* An NVIDIA board on the PCI bus, driver or not. */
static bool board_on_bus(llem_ctx *ctx)
{
    const char *root = llem_ctx_variable(ctx, "LLEM_SYSFS");
    char path[PATH_MAX], dir[PATH_MAX], text[32];
    struct dirent *e;
    bool found = false;
    DIR *bus;

    snprintf(path, sizeof(path) / 2, "%s/bus/pci/devices", root ? root : "/sys");
    bus = opendir(path);
    while (bus && !found && (e = readdir(bus))) {
        snprintf(dir, sizeof(dir), "%.2000s/%.255s", path, e->d_name);
        found = llem_sysfs_read(text, sizeof(text), dir, "vendor") == 0 &&
                !strcmp(text, "0x10de") && llem_sysfs_read(text, sizeof(text), dir, "class") == 0 &&
                llem_starts_with(text, "0x03"); /* display and 3D controllers, not their sound */
    }
    if (bus)
        closedir(bus);
    return found;
}

static void say(struct llem_probe *p, const char *reason, const char *text, const char *remedy)
{
    snprintf(p->reason, sizeof(p->reason), "%s", reason);
    snprintf(p->text, sizeof(p->text), "%s", text);
    snprintf(p->remedy, sizeof(p->remedy), "%s", remedy);
}

/* What a status of NVML means to somebody who wants to measure. */
static void explain(struct llem_probe *p, int code)
{
    switch (code) {
    case NVML_DRIVER_NOT_LOADED:
        say(p, "no_sensor", "The NVIDIA library is installed, but its kernel driver is not loaded.",
            "sudo modprobe nvidia   (then: nvidia-smi)");
        break;
    case NVML_NO_PERMISSION:
        say(p, "no_permission", "This user may not use the NVIDIA devices.",
            "ls -l /dev/nvidia*   then: sudo usermod -aG video $USER, or in a container: "
            "docker run --gpus all");
        break;
    case NVML_LIB_RM_VERSION_MISMATCH:
        say(p, "not_supported",
            "The NVIDIA library and the loaded kernel driver differ in version.",
            "Reboot, or: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe "
            "nvidia");
        break;
    case NVML_GPU_IS_LOST:
    case NVML_RESET_REQUIRED:
        say(p, "device_lost", "The NVIDIA driver has lost the GPU.",
            "sudo dmesg | grep -i xid   then: sudo nvidia-smi --gpu-reset, or reboot");
        break;
    default:
        say(p, "not_supported", "", "nvidia-smi   (shows what the driver says)");
        snprintf(p->text, sizeof(p->text), "The NVIDIA library refuses with status %d.", code);
    }
}

/* Open everything that can be read. On failure *why tells it and *n holds nothing. */
static bool open_all(struct nvml *n, llem_ctx *ctx, struct llem_probe *why)
{
    static const char *const default_library = "libnvidia-ml.so.1";
    const char *library = llem_ctx_variable(ctx, "LLEM_NVML_LIBRARY");
    struct llem_symbol symbols[FN_COUNT] = {
#define X(id, names, is_required, parameters)                                                      \
    [FN_##id] = { .name = names, .slot = &n->lib.slots[FN_##id], .required = is_required },
        NVML_FUNCTIONS(X)
#undef X
    };
    llem_error err = { 0 };
    Dl_info info;
    void *symbol;
    int code;

    memset(n, 0, sizeof(*n));
    snprintf(n->path, sizeof(n->path), "%s", library ? library : default_library);
    if (llem_symbols_load(&n->lib.handle, n->path, symbols, FN_COUNT, &err) != LLEM_OK) {
        if (err.code == LLEM_ENOTSUP) {
            say(why, "not_supported", "", "Install the NVIDIA driver's own libnvidia-ml.so.1.");
            snprintf(why->text, sizeof(why->text), "%.255s", err.msg);
        } else if (library) {
            say(why, "no_sensor", "", "Correct or unset LLEM_NVML_LIBRARY.");
            snprintf(why->text, sizeof(why->text), "%.255s", err.msg);
        } else if (board_on_bus(ctx)) {
            say(why, "no_sensor",
                "There is an NVIDIA GPU, but libnvidia-ml.so.1 is not installed here.",
                "Install the NVIDIA driver (Debian: sudo apt install nvidia-driver; Ubuntu: sudo "
                "ubuntu-drivers install), or in a container: docker run --gpus all");
        } else {
            say(why, "no_sensor",
                "There is no NVIDIA GPU: none on the PCI bus and no libnvidia-ml.so.1.",
                "If the machine has one and this is a container: docker run --gpus all");
        }
        return false;
    }
    memcpy(&symbol, &n->lib.slots[FN_init], sizeof(symbol));
    if (dladdr(symbol, &info) && info.dli_fname)
        snprintf(n->path, sizeof(n->path), "%s", info.dli_fname);
    n->is_fake = dlsym(n->lib.handle, "llem_fake_energy_mj") != NULL;

    code = NVML(&n->lib, init);
    if (code != NVML_OK) {
        explain(why, code);
        release(n);
        return false;
    }
    n->lib.initialized = true;
    if (NVML(&n->lib, driver_version, n->driver, sizeof(n->driver)) != NVML_OK)
        n->driver[0] = '\0';
    if (NVML(&n->lib, nvml_version, n->version, sizeof(n->version)) != NVML_OK)
        n->version[0] = '\0';
    if (NVML(&n->lib, cuda_version, &n->cuda) != NVML_OK)
        n->cuda = 0;
    n->driver[sizeof(n->driver) - 1] = n->version[sizeof(n->version) - 1] = '\0';
    for (const char *p = n->driver; *p >= '0' && *p <= '9' && n->driver_major < 100000; p++)
        n->driver_major = 10 * n->driver_major + (*p - '0');

    code = NVML(&n->lib, count, &n->n_seen);
    if (code != NVML_OK) {
        explain(why, code);
        release(n);
        return false;
    }
    for (unsigned i = 0; i < n->n_seen && n->n < MAX_BOARDS; i++)
        open_board(n, i);
    if (n->n)
        return true;
    if (n->n_refused)
        explain(why, n->refused);
    else if (n->n_mute)
        say(why, "not_supported", "The NVIDIA GPUs here tell neither energy nor power.",
            "Newer boards do; inside a virtual machine ask for a passed-through GPU, not a shared "
            "one.");
    else
        say(why, "no_sensor", "The NVIDIA driver is there, but it shows no GPU.",
            "nvidia-smi -L   (in a container: docker run --gpus all)");
    release(n);
    return false;
}

static void nvml_probe(llem_ctx *ctx, struct llem_probe *out)
{
    struct nvml *n = malloc(sizeof(*n));

    memset(out, 0, sizeof(*out));
    if (!n) {
        say(out, "no_sensor", "There is no memory to look for NVIDIA GPUs.", "");
        return;
    }
    if (open_all(n, ctx, out)) {
        const struct llem_domain *d = &n->domains[0];
        size_t counters = 0;

        for (size_t i = 0; i < n->n; i++)
            counters += n->boards[i].fields[0].role == LLEM_ROLE_COUNTER;
        out->usable = true;
        out->n_domains = n->n;
        snprintf(out->text, sizeof(out->text), "%zu GPU%s (%s%s), %s.", n->n, n->n == 1 ? "" : "s",
                 d->label, n->n > 1 ? ", ..." : "",
                 counters == n->n ? "energy counter"
                 : counters       ? "energy counter on some, power on the others"
                                  : "power only");
    }
    snprintf(out->detail, sizeof(out->detail), "%.120s%s%s%s%s", n->path,
             llem_ctx_variable(ctx, "LLEM_NVML_LIBRARY") ? " (LLEM_NVML_LIBRARY)" : "",
             n->is_fake ? ", a fake" : "", n->driver[0] ? ", driver " : "", n->driver);
    release(n);
    free(n);
}

static void nvml_close(void *self)
{
    if (self)
        release(self);
    free(self);
}

static llem_errcode nvml_open(void **self, llem_ctx *ctx, llem_error *err)
{
    struct nvml *n = malloc(sizeof(*n));
    struct llem_probe why = { 0 };
    llem_errcode rc;

    if (!n)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the NVML sampler.");
    if (!open_all(n, ctx, &why)) {
        rc = llem_fail(err, LLEM_ENOTSUP, "%s", why.text);
        llem_hint(err, rc, "%s", why.remedy);
        goto done;
    }
    *self = n;
    n = NULL;
    rc = LLEM_OK;

done:
    nvml_close(n);
    return rc;
}

static const struct llem_domain *nvml_domains(void *self, size_t *count)
{
    struct nvml *n = self;

    *count = n->n;
    return n->domains;
}

/* ---- what does not change, and the state at an edge -------------------------------------- */

static struct llem_value *watts(struct llem_arena *a, int code, unsigned mw)
{
    return code == NVML_OK ? llem_real(a, 1e-3 * mw) : llem_null(a);
}

static struct llem_value *text_or_null(struct llem_arena *a, const char *s)
{
    return s[0] && llem_utf8_valid(s, strlen(s)) ? llem_string(a, s) : llem_null(a);
}

static struct llem_value *limits(const struct library *lib, nvml_device d, struct llem_arena *a)
{
    struct llem_value *map = llem_map(a);
    unsigned mw = 0, least = 0, most = 0;
    int code = NVML(lib, enforced_limit, d, &mw);

    llem_set(a, map, "enforced", watts(a, code, mw));
    code = NVML(lib, limit, d, &mw);
    llem_set(a, map, "set", watts(a, code, mw));
    code = NVML(lib, default_limit, d, &mw);
    llem_set(a, map, "default", watts(a, code, mw));
    code = NVML(lib, limit_range, d, &least, &most);
    llem_set(a, map, "min", watts(a, code, least));
    llem_set(a, map, "max", watts(a, code, most));
    return map;
}

static struct llem_value *clocks(const struct library *lib, nvml_device d, bool at_most,
                                 struct llem_arena *a)
{
    static const char *const names[] = {
        [CLOCK_GRAPHICS] = "graphics",
        [CLOCK_SM] = "sm",
        [CLOCK_MEMORY] = "memory",
        [CLOCK_VIDEO] = "video",
    };
    struct llem_value *map = llem_map(a);

    for (int i = 0; i < (int)LLEM_COUNT(names); i++) {
        unsigned mhz = 0;
        int code = at_most ? NVML(lib, max_clock, d, i, &mhz) : NVML(lib, clock, d, i, &mhz);

        llem_set(a, map, names[i], code == NVML_OK ? llem_int(a, mhz) : llem_null(a));
    }
    return map;
}

/* Whole-GPU energy is all a MIG parent tells; its instances are listed so that nobody is misled. */
static void describe_mig(const struct library *lib, nvml_device d, struct llem_value *map,
                         struct llem_arena *a)
{
    struct llem_value *instances = llem_list(a);
    unsigned now = 0, pending = 0, most = 0;
    int code = NVML(lib, mig_mode, d, &now, &pending);

    llem_set(a, map, "mig", code == NVML_OK ? llem_bool(a, now != 0) : llem_null(a));
    if (code == NVML_OK && now && NVML(lib, mig_count, d, &most) == NVML_OK) {
        for (unsigned i = 0; i < most && i < MAX_MIG; i++) {
            nvml_device instance = NULL;
            char uuid[96] = "";

            if (NVML(lib, mig_device, d, i, &instance) == NVML_OK &&
                NVML(lib, uuid, instance, uuid, sizeof(uuid) - 1) == NVML_OK)
                llem_append(a, instances, text_or_null(a, uuid));
        }
    }
    llem_set(a, map, "mig_instances", instances);
}

static struct llem_value *describe_board(const struct nvml *n, size_t i, struct llem_arena *a)
{
    const struct llem_domain *d = &n->domains[i];
    const struct board *b = &n->boards[i];
    const struct library *lib = &n->lib;
    struct llem_value *map = llem_map(a), *names = llem_list(a);
    unsigned number = 0;
    uint64_t used, total = 0;
    int flag = 0, code;

    llem_set(a, map, "index", llem_int(a, d->index));
    llem_set(a, map, "uuid", text_or_null(a, d->uuid));
    llem_set(a, map, "name", text_or_null(a, d->label));
    llem_set(a, map, "pci", text_or_null(a, d->pci));
    code = NVML(lib, minor, b->handle, &number);
    llem_set(a, map, "minor", code == NVML_OK ? llem_int(a, number) : llem_null(a));
    code = NVML(lib, architecture, b->handle, &number);
    llem_set(a, map, "architecture", llem_string(a, b->chip->name));
    llem_set(a, map, "nvml_architecture", code == NVML_OK ? llem_int(a, number) : llem_null(a));
    llem_set(a, map, "compute_capability",
             b->major < 0 ? llem_null(a) : llem_stringf(a, "%d.%d", b->major, b->minor));
    code = NVML(lib, cores, b->handle, &number);
    llem_set(a, map, "cores", code == NVML_OK ? llem_int(a, number) : llem_null(a));
    code = get_memory(lib, b->handle, &used, &total);
    llem_set(a, map, "vram_bytes", code == NVML_OK ? llem_int(a, (int64_t)total) : llem_null(a));
    code = NVML(lib, enforced_limit, b->handle, &number);
    llem_set(a, map, "power_limit_w", watts(a, code, number));
    code = NVML(lib, default_limit, b->handle, &number);
    llem_set(a, map, "default_power_limit_w", watts(a, code, number));
    llem_set(a, map, "limits_w", limits(lib, b->handle, a));
    llem_set(a, map, "max_clocks_mhz", clocks(lib, b->handle, true, a));
    code = NVML(lib, threshold, b->handle, 1, &number);
    llem_set(a, map, "slowdown_c", code == NVML_OK ? llem_int(a, number) : llem_null(a));
    code = NVML(lib, persistence, b->handle, &flag);
    llem_set(a, map, "persistence", code == NVML_OK ? llem_bool(a, flag != 0) : llem_null(a));
    describe_mig(lib, b->handle, map, a);
    llem_set(a, map, "energy_interface",
             b->energy_call ? llem_string(a, "nvmlDeviceGetTotalEnergyConsumption")
             : b->fields[0].role == LLEM_ROLE_COUNTER ? llem_string(a, "nvmlDeviceGetFieldValues")
                                                      : llem_null(a));
    for (size_t k = 0; k < b->n_fields; k++)
        llem_append(a, names, llem_string(a, b->fields[k].name));
    llem_set(a, map, "fields", names);
    return map;
}

static struct llem_value *nvml_describe(void *self, struct llem_arena *a)
{
    struct nvml *n = self;
    struct llem_value *map = llem_map(a), *domains = llem_map(a);

    llem_set(a, map, "interface", llem_string(a, "nvml"));
    llem_set(a, map, "library", text_or_null(a, n->path));
    llem_set(a, map, "is_fake", llem_bool(a, n->is_fake));
    llem_set(a, map, "driver_version", text_or_null(a, n->driver));
    llem_set(a, map, "nvml_version", text_or_null(a, n->version));
    llem_set(a, map, "cuda_version",
             n->cuda > 0 ? llem_stringf(a, "%d.%d", n->cuda / 1000, n->cuda % 1000 / 10)
                         : llem_null(a));
    llem_set(a, map, "boards_seen", llem_int(a, n->n_seen));
    llem_set(a, map, "boards_refused", llem_int(a, n->n_refused));
    llem_set(a, map, "boards_without_sensor", llem_int(a, n->n_mute));
    for (size_t i = 0; i < n->n; i++)
        llem_set(a, domains, n->domains[i].id, describe_board(n, i, a));
    llem_set(a, map, "domains", domains);
    return map;
}

/* Time spent held back, by cause, since the driver was loaded: reference §1.4. */
static const struct {
    uint16_t id;
    const char *name;
} violations[] = {
    { 74, "power" },       { 75, "thermal" },         { 76, "sync_boost" },
    { 77, "board_limit" }, { 78, "low_utilization" }, { 79, "reliability" },
    { 80, "app_clocks" },  { 81, "base_clocks" },     { 269, "sw_thermal" },
    { 270, "hw_thermal" }, { 271, "hw_power_brake" },
};

static struct llem_value *violation_times(const struct library *lib, nvml_device d,
                                          struct llem_arena *a)
{
    struct nvml_field_value values[LLEM_COUNT(violations)] = { 0 };
    static const int64_t longest_ns = INT64_C(10) * 366 * 86400 * LLEM_NS_PER_S; /* ten years */
    struct llem_value *map = llem_map(a);
    int code;

    for (size_t i = 0; i < LLEM_COUNT(violations); i++)
        values[i].id = violations[i].id;
    code = NVML(lib, fields, d, (int)LLEM_COUNT(violations), values);
    for (size_t i = 0; i < LLEM_COUNT(violations); i++) {
        int64_t ns = 0;
        bool is_good = code == NVML_OK && values[i].status == NVML_OK &&
                       value_of(&values[i], &ns) && ns < longest_ns;

        llem_set(a, map, violations[i].name, is_good ? llem_int(a, ns) : llem_null(a));
    }
    return map;
}

/* The library says how many there are when the room is too small; meanwhile more may have come. */
static struct llem_value *processes(const struct library *lib, nvml_device d, struct llem_arena *a)
{
    struct llem_value *list = llem_list(a);
    struct nvml_process *p = NULL;
    unsigned room = 32, count = 0;
    int code = NVML_INSUFFICIENT_SIZE;

    for (int tries = 0; tries < 5 && code == NVML_INSUFFICIENT_SIZE && room < 65536; tries++) {
        p = llem_arena_calloc(a, room, sizeof(*p));
        if (!p)
            return llem_null(a);
        count = room;
        code = NVML(lib, processes, d, &count, p);
        if (code == NVML_INSUFFICIENT_SIZE)
            room = (count > room ? count : room) + 16;
    }
    if (code != NVML_OK || count > room)
        return llem_null(a);
    for (unsigned i = 0; i < count; i++) {
        struct llem_value *v = llem_map(a);

        llem_set(a, v, "pid", llem_int(a, p[i].pid));
        llem_set(a, v, "memory_bytes",
                 p[i].bytes <= INT64_MAX ? llem_int(a, (int64_t)p[i].bytes) : llem_null(a));
        llem_append(a, list, v);
    }
    return list;
}

static struct llem_value *nvml_snapshot(void *self, struct llem_arena *a)
{
    struct nvml *n = self;
    const struct library *lib = &n->lib;
    struct llem_value *all = llem_map(a);

    for (size_t i = 0; i < n->n; i++) {
        nvml_device d = n->boards[i].handle;
        struct llem_value *map = llem_map(a);
        unsigned long long bits = 0;
        int64_t celsius = 0;
        int state = 0, code;

        code = get_temperature(lib, d, &celsius);
        llem_set(a, map, "temperature_c", code == NVML_OK ? llem_int(a, celsius) : llem_null(a));
        llem_set(a, map, "clocks_mhz", clocks(lib, d, false, a));
        code = NVML(lib, p_state, d, &state);
        llem_set(a, map, "p_state",
                 code == NVML_OK && state >= 0 && state < 32 ? llem_int(a, state) : llem_null(a));
        llem_set(a, map, "limits_w", limits(lib, d, a));
        code = NVML(lib, reasons, d, &bits);
        llem_set(a, map, "event_reasons",
                 code == NVML_OK ? llem_int(a, (int64_t)bits) : llem_null(a));
        llem_set(a, map, "violation_ns", violation_times(lib, d, a));
        llem_set(a, map, "processes", processes(lib, d, a));
        llem_set(a, all, n->domains[i].id, map);
    }
    return all;
}

const struct llem_sampler_class llem_sampler_nvml = {
    .name = "nvml",
    .help = "NVIDIA GPUs: energy counter and power by the driver's library",
    .quality = "measured",
    .needs_rolls = true,
    .probe = nvml_probe,
    .open = nvml_open,
    .domains = nvml_domains,
    .read = nvml_read,
    .window_begin = llem_sampler_no_window_begin,
    .window_end = llem_sampler_no_window_end,
    .describe = nvml_describe,
    .snapshot = nvml_snapshot,
    .close = nvml_close,
};
