/* SPDX-License-Identifier: MIT
 *
 * The sampler table: what the harness knows of anything that reads energy or power. One `const`
 * table a sampler, in samplers/<name>.c; the explicit array in lib/sampler/registry.c lists them by
 * quality.
 */
#ifndef LLEM_SAMPLER_SAMPLER_H
#define LLEM_SAMPLER_SAMPLER_H

#include "lib/base/ctx.h"
#include "lib/base/value.h"

/* What a field's raw integer means. raw * to_si is in the SI unit named. */
enum llem_role {
    LLEM_ROLE_COUNTER,       /* J, cumulative; wraps at `modulus` raw units if that is not 0 */
    LLEM_ROLE_POWER_INSTANT, /* W */
    LLEM_ROLE_POWER_AVERAGE, /* W, averaged over averaging_s */
    LLEM_ROLE_CPU_BUSY,      /* s of busy time over all CPUs, cumulative: `estimate` */
    LLEM_ROLE_TEMPERATURE,   /* degrees Celsius */
    LLEM_ROLE_CLOCK_SM,      /* Hz */
    LLEM_ROLE_CLOCK_MEMORY,  /* Hz */
    LLEM_ROLE_UTILIZATION,   /* 0..1 */
    LLEM_ROLE_MEMORY_USED,   /* bytes */
    LLEM_ROLE_EVENT_REASONS, /* bit set of NVML's clocks-event reasons */
    LLEM_ROLE_COUNT
};
const char *llem_role_name(enum llem_role role); /* "counter", "power_instant", ... */

struct llem_sensor_field {
    uint16_t id; /* in `samples`; NVML's own field id where there is one (83, 186, 185) */
    uint8_t role;
    bool slow;               /* read at most five times a second */
    const char *name, *unit; /* "total_energy", "mJ": the raw unit */
    double to_si;
    double period_s;    /* nominal update period, 0 = not known */
    double averaging_s; /* of a power: what one reading is the mean over, 0 = not known */
    uint64_t modulus;   /* raw units at which a counter wraps, 0 = 64 bits */
};

/* Something with a reading. */
struct llem_domain {
    char id[112];           /* stable: "gpu:<UUID>", "package:0", "dram:0", "cpu" */
    char kind[16];          /* "gpu", "package", "dram", "psys", "core", "cpu", "ram" */
    char label[96];         /* for people: "NVIDIA H100 80GB HBM3", "package-0" */
    char uuid[96], pci[32]; /* of a GPU, else "" */
    int index;              /* the vendor's index or the package number */
    bool estimated;         /* its joules are a guess: never charged beside measured ones */
    const struct llem_sensor_field *fields;
    size_t n_fields;
};

/* PCI addresses are written with four digits of the PCI domain, or with eight; "" is none. */
bool llem_same_pci(const char *a, const char *b);

/* status of a reading: 0 = good; else why not. Vendor codes are positive (NVML's return codes),
 * ours negative. */
enum { LLEM_READ_OK = 0, LLEM_READ_GONE = -1, LLEM_READ_IO = -2, LLEM_READ_GARBAGE = -3 };

struct llem_reading {
    uint16_t field;
    int32_t status;
    int64_t raw; /* 0 unless status is 0 */
    int64_t
        vendor_ns; /* the vendor's wall-clock timestamp, 0 = none; recorded, never used for edges */
    int32_t latency_us; /* the vendor's own call latency, 0 = none */
};

/* What probing found. reason and remedy are "" when usable. */
struct llem_probe {
    bool usable;
    char reason[32]; /* a reason code of lib/result/reasons.h: "no_permission", "not_supported", ...
                      */
    char text[256];  /* one sentence: what is there, or why not usable */
    char remedy[256]; /* the command or step that would unlock it */
    char detail[256]; /* library path and version, driver, interface */
    size_t n_domains;
    bool in_worker; /* opening it starts another program, which takes seconds */
};

struct llem_sampler_class {
    const char *name, *help;
    const char *quality; /* "measured" or "estimated": what its joules may be called, but for
                            domains that are marked as estimated */
    bool needs_rolls;    /* its edges need a pre-roll and a post-roll, if it has fields to read */

    /* Find out what is usable, in any state of the machine; never fails, leaves nothing open.
     * Called in step 1 and by `llem config`, on the calling thread. */
    void (*probe)(llem_ctx *ctx, struct llem_probe *out);
    /* Open every domain that can be read. On failure *self is untouched. Main thread. */
    llem_errcode (*open)(void **self, llem_ctx *ctx, llem_error *err);
    /* Borrowed until close. */
    const struct llem_domain *(*domains)(void *self, size_t *count);
    /* Read all fast (or all slow) fields of one domain in one call. out has room for n_fields.
     * Returns how many were written; a failed field is written with its status. Sampler thread;
     * allocates, locks and logs nothing. */
    size_t (*read)(void *self, size_t domain, bool slow, struct llem_reading *out);
    /* For samplers with windows of their own (ZeusMonitor, CodeCarbon): just outside the engine's
     * edges, and around the baseline; main thread. Others use llem_sampler_no_window. *window is
     * {domains: {id: J}, t_begin_ns, t_end_ns}, or NULL from one that has none. A failure is
     * recorded and stops nothing. */
    llem_errcode (*window_begin)(void *self, llem_error *err);
    llem_errcode (*window_end)(void *self, struct llem_arena *a, struct llem_value **window,
                               llem_error *err);
    /* Everything worth recording that does not change, per domain: driver, limits, PCI id,
     * persistence, MIG, units, ranges, cpumask, which interface was used, whether it is a fake. A
     * map. */
    struct llem_value *(*describe)(void *self, struct llem_arena *a);
    /* State at an edge, outside the window: per domain temperature, clocks, P-state, limits,
     * violation counters, processes. A map of domain id to map; empty if there is none. */
    struct llem_value *(*snapshot)(void *self, struct llem_arena *a);
    void (*close)(void *self); /* NULL is allowed */
};

llem_errcode llem_sampler_no_window_begin(void *self, llem_error *err);
llem_errcode llem_sampler_no_window_end(void *self, struct llem_arena *a,
                                        struct llem_value **window, llem_error *err);
struct llem_value *llem_sampler_no_snapshot(void *self, struct llem_arena *a);

/* All samplers, best first; ends with NULL. */
extern const struct llem_sampler_class *const llem_samplers[];
const struct llem_sampler_class *llem_sampler_find(const char *name);

extern const struct llem_sampler_class llem_sampler_nvml;
extern const struct llem_sampler_class llem_sampler_rapl;
extern const struct llem_sampler_class llem_sampler_zeus;
extern const struct llem_sampler_class llem_sampler_codecarbon;
extern const struct llem_sampler_class llem_sampler_estimate;

/* ---- Python packages that measure, in a worker ------------------------------------------- */

/* A package with a window of its own, driven over the worker protocol by samplers/worker.py. */
struct llem_sampler_package {
    const char *sampler;      /* its name in the protocol and here */
    const char *name;         /* as pip knows it */
    const char *title;        /* of what measures, for people */
    const char *file;         /* by which it is found among an interpreter's packages */
    const char *variable;     /* that names its interpreter, for people */
    const char *const *reads; /* files of which one has to be there, ends with NULL; NULL = none */
};
struct llem_sampler_worker;

/* Is the package installed for the interpreter that would run it, and is there anything for it to
 * read? Looks for files; starts nothing. */
void llem_sampler_worker_probe(llem_ctx *ctx, const struct llem_sampler_package *p,
                               struct llem_probe *out);
/* Start the worker and let it import the package and list its domains. */
llem_errcode llem_sampler_worker_open(struct llem_sampler_worker **out, llem_ctx *ctx,
                                      const struct llem_sampler_package *p, llem_error *err);
const struct llem_domain *llem_sampler_worker_domains(struct llem_sampler_worker *w, size_t *count);
llem_errcode llem_sampler_worker_begin(struct llem_sampler_worker *w, llem_error *err);
llem_errcode llem_sampler_worker_end(struct llem_sampler_worker *w, struct llem_arena *a,
                                     struct llem_value **window, llem_error *err);
struct llem_value *llem_sampler_worker_describe(struct llem_sampler_worker *w,
                                                struct llem_arena *a);
void llem_sampler_worker_close(struct llem_sampler_worker *w); /* NULL is allowed */

/* ---- small files of the kernel ----------------------------------------------------------- */

/* Read dir/name ("/proc", "stat") into out, NUL-terminated, without the newline at its end. Returns
 * 0 or an errno; EFBIG if it does not fit. Allocates nothing. */
int llem_sysfs_read(char *out, size_t size, const char *dir, const char *name);
/* As above, a whole number. EINVAL if it is none. */
int llem_sysfs_read_u64(uint64_t *ret, const char *dir, const char *name);

/* ---- the power a CPU is sold with -------------------------------------------------------- */

/* What all logical CPUs of this machine may draw together when busy: what an estimate multiplies
 * the load with. low_w and high_w bound it; they are not symmetric. */
struct llem_tdp {
    double w, low_w, high_w;
    char source[128]; /* which row, or that there is none */
    bool known;       /* the model is in the table */
};
/* model as /proc/cpuinfo gives it ("" = not known), n_cpus logical CPUs in n_packages packages. A
 * machine with fewer CPUs than the model has (a virtual machine) is given its share. */
void llem_tdp_of(struct llem_tdp *out, const char *model, int n_cpus, int n_packages);

#endif
