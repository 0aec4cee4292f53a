/* SPDX-License-Identifier: MIT
 *
 * Engines: the built-in tables and the folders with an engine.yaml, found in the installation, in
 * LLEM_PLUGIN_PATH and in the user's data directory. Nothing is started to find out what there is.
 */
#ifndef LLEM_ENGINE_REGISTRY_H
#define LLEM_ENGINE_REGISTRY_H

#include "lib/config/config.h"
#include "lib/engine/engine.h"

struct llem_engine_info {
    const char *name, *help;
    const char *dir;                       /* of its engine.yaml */
    const struct llem_engine_class *table; /* NULL: known by its rows only, has no worker yet */
    const struct llem_row *rows;
    const char *rules;             /* path of its rules.yaml, which it may have */
    const struct llem_value *yaml; /* the whole engine.yaml */
    const char *missing;           /* why it cannot run, a sentence; NULL = it can */
    const char *remedy;
    bool hidden;
};

/* The table of a built-in engine; NULL if there is none of that name. Reads no file. */
const struct llem_engine_class *llem_engine_builtin(const char *name);
/* Loaded once per context. */
llem_errcode llem_engines(llem_ctx *ctx, const struct llem_engine_info **out, size_t *count,
                          llem_error *err);
/* NULL in *out if no engine has that name. */
llem_errcode llem_engine_find(const struct llem_engine_info **out, llem_ctx *ctx, const char *name,
                              llem_error *err);
/* The interpreter whose packages the engine needs, NULL where it needs none; runners: those of the
 * study, or NULL. */
llem_errcode llem_engine_place(const char **out, llem_ctx *ctx, struct llem_arena *a,
                               const char *engine, const struct llem_value *runners,
                               llem_error *err);
/* The schema of the shared rows and every engine's; owned by the context. */
llem_errcode llem_ctx_schema(llem_ctx *ctx, const struct llem_schema **out, llem_error *err);

#endif
