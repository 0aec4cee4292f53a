/* SPDX-License-Identifier: MIT
 *
 * Experiment configurations: loaded from a file or made from settings, checked, never changed.
 */
#ifndef LLEM_CONFIG_H
#define LLEM_CONFIG_H

#include <stddef.h>

#include "llem/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llem_config llem_config;

/* A setting given outside the file: path "task.model", and its value. */
typedef struct llem_setting {
    const char *path;
    const char *value;  /* the text */
    const char *origin; /* shown in errors: "-m", "--set", "model"; NULL = "setting" */
    int literal; /* not 0: value is a string as it stands; else it is read as a YAML scalar or flow
                    collection, so "null" is null and "[1]" a list */
    int weak;    /* not 0: stands below the file instead of above it; one of "study_execution."
                    only reaches what is a study: a file with keys of one, or several experiments */
    int axis;    /* not 0: one of several values of this setting, one experiment for each
                    (llem_plan_study); settings of the same path make one axis */
} llem_setting;

/*
 * Load and check. path NULL: only settings, which must then name task.model. Precedence, highest
 * first: settings, LLEM_ variables, file, user configuration, preset, default
 * (docs/configuration.md). All errors of a file are reported at once, one a line in err->msg. On
 * success *out is the caller's; release it with llem_config_free().
 */
LLEM_API llem_errcode llem_config_load(llem_config **out, llem_ctx *ctx, const char *path,
                                       const llem_setting *settings, size_t count, llem_error *err);
/* The same of a JSON text in place of the file. name stands for the file's path: in errors, in what
 * is recorded, and for paths in the text, which are relative to its directory. */
LLEM_API llem_errcode llem_config_from_json(llem_config **out, llem_ctx *ctx, const char *text,
                                            size_t len, const char *name,
                                            const llem_setting *settings, size_t count,
                                            llem_error *err);
LLEM_API void llem_config_free(llem_config *c); /* NULL is allowed */

/* 16 hex digits: measurement_config_hash. Borrowed. */
LLEM_API const char *llem_config_hash_hex(const llem_config *c);
/* The resolved configuration as JSON, to free(). NULL without memory. */
LLEM_API char *llem_config_json(const llem_config *c);
/* The text of one setting as JSON ("100", "\"gpt2\"", "null"), to free(); NULL if there is no such
 * path. */
LLEM_API char *llem_config_get(const llem_config *c, const char *path);
/* "file:line:col", "-m", "default": where a setting came from, to free(). */
LLEM_API char *llem_config_origin(const llem_config *c, const char *path);
/* All errors of the last failed load need more room than llem_error has: the whole text, one a
 * line. Borrowed from ctx until its next load; "" if the last load succeeded. */
LLEM_API const char *llem_config_errors(const llem_ctx *ctx);

/* One of them. Strings are never NULL. */
typedef struct llem_config_problem {
    const char
        *path; /* the setting it is about, "task.dataset.n_prompts"; "" = none in particular */
    const char *text; /* a whole sentence */
    const char *file; /* or where a setting came from ("-m"); "" = nowhere */
    int line, column; /* 1-based; 0 = not about a place in a file */
} llem_config_problem;

/* The same one by one: *count of them, borrowed from ctx until its next load; NULL if there are
 * none. */
LLEM_API const llem_config_problem *llem_config_problems(const llem_ctx *ctx, size_t *count);

/* A setting of the user's configuration file, or of the variable above it, such as "ui.log_level",
 * as JSON, to free(); NULL if there is no such setting or the file cannot be read (llem_config_load
 * says why). */
LLEM_API char *llem_user_setting(llem_ctx *ctx, const char *path);

/*
 * A file of one of LLenergyMeasure's other schemas in this one. *out, to free(), is JSON:
 * {"schema": which it is of, or null: of this one, "text": the file converted, "remarks": [{"path",
 * "line", "lost", "reason"}]: what has no equivalent, or is to be looked at, "comments_kept",
 * "comments_at_end"}. to: the text is written there, atomically, as JSON where it ends with .json
 * (without `to`: where path does); NULL = it is not. A file of this schema is left as it is.
 */
LLEM_API llem_errcode llem_migrate(char **out, llem_ctx *ctx, const char *path, const char *to,
                                   llem_error *err);

/*
 * A commented study file, to free(): every setting of these engines (at least one) with its
 * default, as a comment. grid not 0: settings that have only some values are axes, as far as 10,000
 * experiments.
 */
LLEM_API llem_errcode llem_config_template(char **out, llem_ctx *ctx, const char *const *engines,
                                           size_t count, const char *model, int grid,
                                           llem_error *err);

/* JSON Schema (draft 2020-12) of an experiment file with the engines this context knows, to free().
 */
LLEM_API llem_errcode llem_config_schema(char **out, llem_ctx *ctx, llem_error *err);

/*
 * What this machine has: engines and sensors, why each is usable or not and what would unlock it,
 * the user configuration with its sources, LLEM_ variables in force, as JSON to free()
 * (docs/formats.md, "llem config --format=json").
 */
LLEM_API llem_errcode llem_describe_machine(char **out, llem_ctx *ctx, llem_error *err);

#ifdef __cplusplus
}
#endif

#endif
