/* SPDX-License-Identifier: MIT
 *
 * Prompts: from the built-in set, a file, the Hugging Face cache, or random token ids. They are
 * read and chosen before the window; a line that is no record is an error with its place, never
 * skipped.
 */
#ifndef LLEM_MEASURE_DATASET_H
#define LLEM_MEASURE_DATASET_H

#include "lib/engine/engine.h"

/* Limits of what is read. */
#define LLEM_DATASET_MAX_BYTES ((size_t)256 << 20)
enum { LLEM_DATASET_MAX_RECORDS = 4000000, LLEM_DATASET_MAX_INPUT_TOKENS = 1 << 20 };

/* What task.dataset.source: aienergyscore means on the Hugging Face hub: the commit whose prompts
 * the original has. */
#define LLEM_DATASET_AIENERGYSCORE                                                                 \
    "AIEnergyScore/text_generation@2dc92b2ee2cd9776a51ccf08c6c2ab04138370c3"

struct llem_dataset {
    const char *source, *path; /* as configured; the file it came from, NULL if there is none */
    const char *order;
    struct llem_prompt *prompts; /* in the order in which they are run */
    size_t count;
    size_t available;         /* records that there were to choose from */
    struct llem_value *kinds; /* map: name of a kind of prompt to how many were chosen */
    char sha256[65];          /* of the texts, each with its NUL; of the ids as int32 */
};

struct llem_dataset_request {
    const char *source;        /* task.dataset.source as written */
    const char *resolved_path; /* the same, resolved against its file; NULL = source */
    const char *order;         /* interleaved, grouped, shuffled */
    int64_t count;             /* task.dataset.n_prompts */
    int64_t seed;
    int64_t input_tokens;                  /* of `random` */
    const struct llem_value *model_config; /* config.json: `random` asks for the vocabulary's size;
                                              NULL = not known */
};

/* Everything lives in the arena. */
llem_errcode llem_dataset_load(struct llem_dataset *out, llem_ctx *ctx, struct llem_arena *a,
                               const struct llem_dataset_request *want, llem_error *err);

enum llem_dataset_format {
    LLEM_DATASET_JSONL,
    LLEM_DATASET_JSON,
    LLEM_DATASET_TXT,
    LLEM_DATASET_CSV,
    LLEM_DATASET_PARQUET,
    LLEM_DATASET_FORMATS,
};

/* One prompt of a file. */
struct llem_record {
    const char *text; /* stripped, never empty */
    const char *kind; /* its `source` or `kind`, "" if it has none */
};

/* Read the records of a file's bytes; `name` is shown in errors. */
llem_errcode llem_dataset_parse(struct llem_record **out, size_t *count,
                                enum llem_dataset_format format, const char *text, size_t len,
                                const char *name, struct llem_arena *a, llem_error *err);

#endif
