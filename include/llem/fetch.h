/* SPDX-License-Identifier: MIT
 *
 * Bringing what experiments need from the Hugging Face hub into the cache that its tools share.
 */
#ifndef LLEM_FETCH_H
#define LLEM_FETCH_H

#include "llem/job.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What to fetch: what the files name, the model and the dataset; all may be NULL. Zero-initialise,
 * set size. */
typedef struct llem_fetch_args {
    size_t size;
    const char *const *files; /* experiment files */
    size_t n_files;
    const char *model;         /* "ORG/NAME", "ORG/NAME@REVISION" */
    const char *dataset;       /* as in task.dataset.source: only aienergyscore is on the hub */
    llem_progress_fn progress; /* in the calling thread: a step `fetch` for each; now and then with
                                  LLEM_EVENT_NONE, so that a display can move */
    void *progress_user;
    const volatile int *cancel; /* NULL, or not 0 to stop; what has arrived is kept */
} llem_fetch_args;

/* Blocks. *out: a list of what is there now, as JSON to free() (docs/formats.md, "llem fetch
 * --format=json"). */
LLEM_API llem_errcode llem_fetch(char **out, llem_ctx *ctx, const llem_fetch_args *args,
                                 llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
