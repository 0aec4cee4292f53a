/* SPDX-License-Identifier: MIT
 *
 * The context: everything a use of the library hangs on. There is no global state; two contexts do
 * not know each other. A context may be used by one thread at a time.
 */
#ifndef LLEM_CTX_H
#define LLEM_CTX_H

#include <stddef.h>

#include "llem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llem_ctx llem_ctx;

enum llem_log_level { LLEM_LOG_ERROR, LLEM_LOG_WARNING, LLEM_LOG_INFO, LLEM_LOG_DEBUG };

/* Receives the library's log, one line a call, no newline. Called on the thread that uses the
 * context. */
typedef void (*llem_log_fn)(void *user, enum llem_log_level level, const char *module,
                            const char *text);

/* What a context is made with. Zero-initialise, set size = sizeof(llem_ctx_opts). Strings are
 * copied. */
typedef struct llem_ctx_opts {
    size_t size;
    llem_log_fn log; /* NULL: nothing is logged */
    void *log_user;
    const char *program;  /* the llem program that runs experiments; NULL: LLEM_PROGRAM, beside the
                             library, then the place it was installed to */
    const char *data_dir; /* engines, datasets, sample model; NULL: LLEM_DATA_DIR, then beside the
                             program */
    const char
        *user_config;   /* path; NULL: $XDG_CONFIG_HOME/llenergymeasure/config.yaml; "": none */
    const char *python; /* of engines and samplers where no variable and no active environment names
                           one; NULL: LLEM_OWN_PYTHON, then python3 */
} llem_ctx_opts;

/* Make a context. opts may be NULL. Reads no file; the user configuration is read when first
 * needed. On success *out is the caller's; release it with llem_ctx_free(). */
LLEM_API llem_errcode llem_ctx_new(llem_ctx **out, const llem_ctx_opts *opts, llem_error *err);
LLEM_API void llem_ctx_free(llem_ctx *ctx); /* NULL is allowed */

/* What is not as grave as level is left out of the log, here and in the experiments' worker.log.
 * Until this is called everything is logged here, and LLEM_LOG_LEVEL decides there. */
LLEM_API void llem_ctx_set_log_level(llem_ctx *ctx, enum llem_log_level level);

/* "0.1.0" and the commit it was built from ("" if unknown). Never NULL. */
LLEM_API const char *llem_version(void);
LLEM_API const char *llem_commit(void);

#ifdef __cplusplus
}
#endif

#endif
