/* SPDX-License-Identifier: MIT
 *
 * What machine this is: collected on a thread of its own while the experiment gets ready, joined
 * before the window.
 */
#ifndef LLEM_MEASURE_ENVIRONMENT_H
#define LLEM_MEASURE_ENVIRONMENT_H

#include "lib/base/ctx.h"
#include "lib/base/value.h"

struct llem_environment;

/* Start collecting. Files below /sys are looked for below LLEM_SYSFS if that is set. */
llem_errcode llem_environment_start(struct llem_environment **out, llem_ctx *ctx, llem_error *err);
/* Wait for the end and copy what was found into the arena: `environment` of docs/formats.md,
 * without what only sensors and engines know (gpus, cuda, python, TDP). Frees the collector. */
struct llem_value *llem_environment_join(struct llem_environment *e, struct llem_arena *a);
void llem_environment_free(struct llem_environment *e); /* waits; NULL is allowed */

/* The same, on this thread. proc, sys and etc are the roots to read from. */
struct llem_value *llem_environment_collect(const char *proc, const char *sys, const char *etc,
                                            struct llem_arena *a);

#endif
