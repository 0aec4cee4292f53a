/* SPDX-License-Identifier: MIT
 *
 * OpenBLAS, loaded when first needed and used one thread a call: the engine's own threads each
 * multiply a panel, so that no second set of threads spins beside them.
 */
#include "engines/cpu/cpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* What is wanted of the library; a name that is missing means that it is not used. */
struct symbols {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*set_num_threads)(int n);
    char *(*get_config)(void);
};

static const struct {
    const char *name;
    size_t slot;
} wanted[] = {
    { "cblas_sgemm", offsetof(struct symbols, sgemm) },
    { "openblas_set_num_threads", offsetof(struct symbols, set_num_threads) },
    { "openblas_get_config", offsetof(struct symbols, get_config) },
};

bool cpu_blas_open(struct cpu_blas *b)
{
    struct symbols s;
    const char *config;
    size_t i;
    int n = 0;

    memset(b, 0, sizeof(*b));
    b->handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!b->handle)
        return false;
    for (i = 0; i < LLEM_COUNT(wanted); i++) {
        void *symbol = dlsym(b->handle, wanted[i].name);

        if (!symbol) {
            /* Not unloaded: its threads may be running in it. */
            b->handle = NULL;
            return false;
        }
        memcpy((char *)&s + wanted[i].slot, &symbol, sizeof(symbol));
    }
    s.set_num_threads(1);
    b->sgemm = s.sgemm;
    /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    config = s.get_config();
    if (config && !strncmp(config, "OpenBLAS ", 9)) {
        config += 9;
        n = (int)strcspn(config, " ");
    }
    snprintf(b->version, sizeof(b->version), "openblas %.*s", n ? n : 7, n ? config : "unknown");
    return true;
}
