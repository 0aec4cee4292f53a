/* SPDX-License-Identifier: MIT
 *
 * The inside of llem_ctx. Rooms above keep what they load once (user configuration, engine
 * registry) in a slot, so that base need not know them.
 */
#ifndef LLEM_BASE_CTX_H
#define LLEM_BASE_CTX_H

#include <stdatomic.h>

#include "lib/base/clock.h"
#include "lib/base/value.h"
#include "llem/ctx.h"

enum llem_slot {
    LLEM_SLOT_USER_CONFIG,
    LLEM_SLOT_ENGINES,
    LLEM_SLOT_SCHEMA,
    LLEM_SLOT_CONFIG_ERRORS,
    LLEM_SLOT_COUNT,
};

struct llem_ctx {
    llem_log_fn log;
    void *log_user;
    int log_level;                  /* enum llem_log_level; -1 = never set: everything */
    const struct llem_clock *clock; /* llem_system_clock unless a test sets another */
    struct llem_arena arena;        /* strings below */
    const atomic_int *cancel;       /* of what is measured in it: not 0 = give up; NULL = none */
    const char *program;            /* absolute; NULL if none was found */
    const char *data_dir; /* absolute; NULL if none was found: holds engines/ datasets/ models/ */
    const char *user_config_path;     /* NULL = none */
    const struct llem_value *runners; /* of the study that runs in it: engine to how it is started;
                                         NULL = as the user's configuration says */
    const char *own_python;           /* where nothing names another; NULL = python3 */
    struct {
        void *data;
        void (*free)(void *data);
    } slots[LLEM_SLOT_COUNT];
};

__attribute__((format(printf, 4, 5))) void llem_log(llem_ctx *ctx, enum llem_log_level level,
                                                    const char *module, const char *fmt, ...);
/* An environment variable, NULL if unset or empty. The only way the library reads the environment;
 * the names it may ask for are the table of lib/config/variables.c. */
const char *llem_ctx_variable(const llem_ctx *ctx, const char *name);
/* <data_dir>/rel if that exists, else NULL. */
const char *llem_ctx_data_path(llem_ctx *ctx, struct llem_arena *a, const char *rel);

#endif
