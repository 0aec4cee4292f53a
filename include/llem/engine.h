/* SPDX-License-Identifier: MIT
 *
 * Engines as folders with a worker: does one keep to docs/worker-protocol.md?
 */
#ifndef LLEM_ENGINE_H
#define LLEM_ENGINE_H

#include "llem/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One rule of the protocol, looked at. Borrowed by the callback. */
typedef struct llem_engine_check {
    const char *method; /* "load_prompts" */
    const char *rule;   /* "token ids are used as they are" */
    int kept;           /* 0: violated */
    const char *text;   /* what was seen instead; "" where it is kept */
} llem_engine_check;

/* Zero-initialise, set size = sizeof(llem_check_args). */
typedef struct llem_check_args {
    size_t size;
    const char *engine;
    const char *model; /* NULL: the sample model that comes with llem */
    const llem_setting *settings;
    size_t n_settings;
    void (*on_check)(void *user, const llem_engine_check *check); /* as each is known; NULL */
    void *user;
    const volatile int *cancel; /* not 0: end the worker and give up; NULL */
    int log_fd;                 /* where its standard error goes; 0 = nowhere */
} llem_check_args;

/*
 * Start an engine's worker and drive every method: results, token counts, receipts, clocks, faults,
 * cleanup, shutdown. *violations: how many rules it violates; LLEM_OK whatever their number.
 * LLEM_ECONFIG if there is no such engine, or it has no worker.
 */
LLEM_API llem_errcode llem_check_engine(int *violations, llem_ctx *ctx, const llem_check_args *args,
                                        llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
