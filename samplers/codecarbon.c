/* SPDX-License-Identifier: MIT
 *
 * CodeCarbon, the Python package itself, in a worker: its processor, memory and boards as domains
 * apart. What it reads from a counter (RAPL, NVML) is measured; what it makes of a TDP, of the load
 * or of the number of memory modules is marked as an estimate, domain by domain.
 */
#include <string.h>

#include "lib/sampler/sampler.h"

static const struct llem_sampler_package package = {
    .sampler = "codecarbon",
    .name = "codecarbon",
    .title = "CodeCarbon",
    .file = "codecarbon/emissions_tracker.py",
    .variable = "LLEM_PYTHON_CODECARBON",
};

static void codecarbon_probe(llem_ctx *ctx, struct llem_probe *out)
{
    memset(out, 0, sizeof(*out));
    llem_sampler_worker_probe(ctx, &package, out);
}

static llem_errcode codecarbon_open(void **self, llem_ctx *ctx, llem_error *err)
{
    struct llem_sampler_worker *w = NULL;
    llem_errcode rc = llem_sampler_worker_open(&w, ctx, &package, err);

    if (rc == LLEM_OK)
        *self = w;
    return rc;
}

static const struct llem_domain *codecarbon_domains(void *self, size_t *count)
{
    return llem_sampler_worker_domains(self, count);
}

static size_t codecarbon_read(void *self, size_t domain, bool slow, struct llem_reading *out)
{
    return 0;
}

static llem_errcode codecarbon_window_begin(void *self, llem_error *err)
{
    return llem_sampler_worker_begin(self, err);
}

static llem_errcode codecarbon_window_end(void *self, struct llem_arena *a,
                                          struct llem_value **window, llem_error *err)
{
    return llem_sampler_worker_end(self, a, window, err);
}

static struct llem_value *codecarbon_describe(void *self, struct llem_arena *a)
{
    return llem_sampler_worker_describe(self, a);
}

static void codecarbon_close(void *self)
{
    llem_sampler_worker_close(self);
}

const struct llem_sampler_class llem_sampler_codecarbon = {
    .name = "codecarbon",
    .help = "the Python package CodeCarbon: processor, memory and boards apart, mostly estimates",
    .quality = "estimated",
    .needs_rolls = false,
    .probe = codecarbon_probe,
    .open = codecarbon_open,
    .domains = codecarbon_domains,
    .read = codecarbon_read,
    .window_begin = codecarbon_window_begin,
    .window_end = codecarbon_window_end,
    .describe = codecarbon_describe,
    .snapshot = llem_sampler_no_snapshot,
    .close = codecarbon_close,
};
