/* SPDX-License-Identifier: MIT
 *
 * Configuration: rows, the schema made of them at run time, files, precedence, hashes. A resolved
 * configuration is a tree of values with presence and provenance, not a struct. This room receives
 * engines' rows as data and never looks an engine up.
 */
#ifndef LLEM_CONFIG_CONFIG_H
#define LLEM_CONFIG_CONFIG_H

#include "lib/base/ctx.h"
#include "lib/base/value.h"
#include "llem/config.h"

/* ---- rows --------------------------------------------------------------------------------- */

enum llem_type {
    LLEM_TYPE_SECTION, /* a map whose keys are rows below it */
    LLEM_TYPE_BOOL,
    LLEM_TYPE_INT,
    LLEM_TYPE_REAL,
    LLEM_TYPE_STRING,
    LLEM_TYPE_ENUM,     /* exact text out of `choices` */
    LLEM_TYPE_INT_ENUM, /* an integer out of `choices` */
    LLEM_TYPE_MAP,      /* any keys, any values: kept and hashed */
    LLEM_TYPE_LIST,     /* of strings */
    LLEM_TYPE_ANY,      /* tolerated, never read */
};

enum llem_row_flags {
    LLEM_ROW_REQUIRED = 1 << 0,
    LLEM_ROW_NULLABLE = 1 << 1, /* explicit null is a value */
    LLEM_ROW_OURS = 1 << 2, /* not in the seeds: left out of hashes while it holds its default */
    LLEM_ROW_OPEN = 1 << 3, /* a section that accepts unknown keys */
    LLEM_ROW_PATH = 1 << 4, /* a path resolves against its file */
    LLEM_ROW_MIN_OPEN = 1 << 5, /* the lower bound is excluded */
    LLEM_ROW_MAX_OPEN = 1 << 6,
    LLEM_ROW_OPTIONAL = 1 << 7, /* a section that is null when absent (engine sections, lora) */
    LLEM_ROW_STUDY = 1 << 8,    /* belongs to the study: in llem_config.output, in no hash */
    LLEM_ROW_IS_PATH = 1 << 9,  /* with LLEM_ROW_PATH: a path always, never a hub id or a name */
};

/* One setting: feeds parser, validator, hash, --help, man page, completion, JSON Schema, docs. */
struct llem_row {
    const char *path; /* "task.dataset.n_prompts" */
    enum llem_type type;
    unsigned flags;
    const char
        *def; /* default as JSON text; NULL: null for nullable rows, none for required ones */
    const char *choices; /* "a|b|c"; of a LLEM_ROW_PATH: names that are no paths */
    double min, max;     /* numbers; -INFINITY and INFINITY are no bound. A string's least length */
    const char *unit, *help; /* help: one clause, no full stop */
};

extern const struct llem_row llem_shared_rows[]; /* ends with path NULL */

/* An engine as the schema sees it. */
struct llem_engine_rows {
    const char *name;
    const struct llem_row *rows; /* ends with path NULL; paths begin with "<name>." */
    bool hidden;
    const char *rules; /* path of its rules.yaml, which may not exist; NULL = none */
};

struct llem_schema; /* immutable; owned by the context (LLEM_SLOT_SCHEMA) */

llem_errcode llem_schema_new(struct llem_schema **out, const struct llem_engine_rows *engines,
                             size_t count, llem_error *err);
void llem_schema_free(struct llem_schema *s);
const struct llem_row *llem_schema_find(const struct llem_schema *s, const char *path);
/* All rows in order; those of an engine follow its section. */
const struct llem_row *const *llem_schema_rows(const struct llem_schema *s, size_t *count);
/* JSON Schema, draft 2020-12, of an experiment file. */
struct llem_value *llem_schema_json(const struct llem_schema *s, struct llem_arena *a);

/* Rows from the `options:` list of an engine.yaml (docs/formats.md); they live in the arena. */
llem_errcode llem_rows_from_value(const struct llem_row **out, const struct llem_value *options,
                                  const char *engine, struct llem_arena *a, llem_error *err);

/* ---- files -------------------------------------------------------------------------------- */

/* One YAML document (JSON is YAML too) to a tree with positions. YAML 1.1 words and numbers as
 * PyYAML's safe_load reads them; duplicate keys, tabs, aliases beyond the limits are errors. */
llem_errcode llem_yaml_parse(struct llem_arena *a, struct llem_value **out, const char *text,
                             size_t len, const char *name, llem_error *err);
llem_errcode llem_yaml_load(struct llem_arena *a, struct llem_value **out, const char *path,
                            llem_error *err);
/* As llem_migrate (llem/config.h), with the schema at hand: the report in the arena. */
llem_errcode llem_migrate_with(struct llem_value **report, struct llem_arena *a,
                               const struct llem_schema *schema, const char *path, const char *to,
                               llem_error *err);
/* One scalar as YAML would read it: what --set path=value means. */
struct llem_value *llem_yaml_scalar(struct llem_arena *a, const char *text);

/* ---- the resolved configuration ----------------------------------------------------------- */

struct llem_config {
    struct llem_arena arena;
    const struct llem_schema *schema;
    struct llem_value *tree;   /* every shared row, the engine's section complete if present, other
                                  engines' null; kinds as the rows say */
    struct llem_value *output; /* {study_name, output: {results_dir, save_timeseries}}: not part of
                                  an experiment's hash; every key is there */
    const char *path;          /* the file; NULL = none */
    const char *dir;           /* absolute: paths of the file are relative to it; NULL = no file */
    const char *cwd;           /* absolute: paths of settings and variables are relative to it */
    char hash[17];             /* measurement_config_hash */
};

/* What a configuration is read from: a file; a JSON text, which path then only
 * names; or nothing. */
struct llem_config_source {
    const char *path, *text; /* NULL = none */
    size_t len;
};

/* llem_config_load with the schema at hand; lib/engine supplies the one of the registered engines.
 */
llem_errcode llem_config_load_with(llem_config **out, llem_ctx *ctx,
                                   const struct llem_schema *schema,
                                   const struct llem_config_source *source,
                                   const llem_setting *settings, size_t count, llem_error *err);
/* The engine's name, "transformers" unless the configuration says otherwise. */
const char *llem_config_engine(const struct llem_config *c);
/* A setting of LLEM_ROW_PATH resolved: a path beginning with / ./ ../ or ~, or naming something
 * that exists beside its file, becomes absolute; anything else (a hub id) is returned as it is. */
const char *llem_config_path(const struct llem_config *c, struct llem_arena *a, const char *path);
/* `_resolution.json`: every setting that differs from its default, with its source. */
struct llem_value *llem_config_resolution(const struct llem_config *c, struct llem_arena *a);
/* The tree with each value's source, file and position beside it, as experiment.json keeps it. */
struct llem_value *llem_config_provenance(const struct llem_config *c, struct llem_arena *a);
/* Hashes of reference §4. */
void llem_config_hash(const struct llem_schema *s, const struct llem_value *tree, char hex16[17]);
void llem_config_resolved_hash(const struct llem_schema *s, const struct llem_value *tree,
                               char hex64[65]);
/* The canonical text that measurement_config_hash is taken of. */
void llem_config_canonical(const struct llem_schema *s, const struct llem_value *tree,
                           struct llem_buf *b);
/* What a configuration says beyond the defaults, a line a setting: equal for those that ask for the
 * same, however it is written. The preset's name is left out, its values are not. */
void llem_config_effect(const struct llem_schema *s, const struct llem_value *tree,
                        struct llem_buf *b);
void llem_study_design_hash(const struct llem_schema *s, const struct llem_value *const *trees,
                            size_t count, char hex16[17]);

/* ---- studies ------------------------------------------------------------------------------ */

/* The settings of a study itself: study_execution, runners, images. */
extern const struct llem_row llem_study_rows[]; /* ends with path NULL */

struct llem_rules;

/*
 * The cells that a study file declares, in order: engine by engine those of the sweep, then the
 * explicit experiments. A cell is not kept but made when asked for, out of the tree that its block
 * shares and one value of each axis.
 */
struct llem_sweep {
    struct llem_arena arena;
    const struct llem_schema *schema;
    llem_ctx *ctx;
    struct llem_schema *study_schema;
    struct llem_value *study;    /* every row of llem_study_rows */
    struct llem_value *output;   /* as in llem_config */
    struct llem_value *settings; /* what it was loaded with above the file: a list of llem_setting
                                    as maps */
    const char *path, *dir, *cwd;
    const char *text; /* what it was read from in place of the file; NULL = the file */
    const struct llem__block *blocks;
    size_t n_blocks;
    size_t count;  /* of cells */
    bool is_study; /* not a single experiment's file: weak settings of the study hold */
};

enum { LLEM_SWEEP_MAX_CELLS = 1000000 };

/* Read and expand. Errors of the file, of keys and of what all cells share are this call's; what is
 * wrong with one value of an axis or one explicit experiment is the cell's. */
llem_errcode llem_sweep_load(struct llem_sweep **out, llem_ctx *ctx,
                             const struct llem_schema *schema,
                             const struct llem_config_source *source, const llem_setting *settings,
                             size_t count, llem_error *err);
/* The one cell of a configuration, which is copied. quick: with measurement.quick. */
llem_errcode llem_sweep_of_config(struct llem_sweep **out, llem_ctx *ctx,
                                  const struct llem_config *config, bool quick, llem_error *err);
/* The cell as a configuration in *out, whose arena the caller ends with llem_arena_done(); it
 * shares nodes with the sweep. The cell must be valid. */
llem_errcode llem_sweep_config(const struct llem_sweep *s, size_t index, struct llem_config *out,
                               llem_error *err);
void llem_sweep_free(struct llem_sweep *s);
/* The cell's complete tree in the arena, sharing nodes with the sweep and living as long as both.
 * *errors: NULL, or all that is wrong with it, one a line. NULL without memory. */
const struct llem_value *llem_sweep_cell(const struct llem_sweep *s, size_t index,
                                         struct llem_arena *a, const char **errors);
/* The cell's engine. */
const char *llem_sweep_engine(const struct llem_sweep *s, size_t index);
/* The rules of the cell's engine; NULL = none. */
const struct llem_rules *llem_sweep_rules(const struct llem_sweep *s, size_t index);
/* What tells the cell from its neighbours, or the settings of an explicit experiment: path to value
 * as written, the engine apart. */
const struct llem_value *llem_sweep_settings(const struct llem_sweep *s, size_t index,
                                             struct llem_arena *a);
/* The paths that those settings have in any cell, in the order of the file: a list. */
struct llem_value *llem_sweep_axes(const struct llem_sweep *s, struct llem_arena *a);
/* The settings as a text, "task.dataset.n_prompts=50, transformers.dtype=float16". */
const char *llem_sweep_label(const struct llem_sweep *s, size_t index, struct llem_arena *a);

enum { LLEM_TEMPLATE_CELLS = 10000 }; /* most experiments of a grid */

/* A commented study file of these engines. grid: settings that have only some values are axes. */
llem_errcode llem_template_write(struct llem_buf *out, const struct llem_schema *schema,
                                 const char *const *engines, size_t n_engines, const char *model,
                                 bool grid, llem_error *err);

/* ---- rules -------------------------------------------------------------------------------- */

/* What an engine's settings do to each other (docs/formats.md, "rules.yaml"). */
enum llem_severity {
    LLEM_RULE_DORMANT, /* a setting has no effect: without it the same is measured */
    LLEM_RULE_WARN,    /* it runs, but hardly as it was meant */
    LLEM_RULE_ERROR,   /* it cannot run */
};

struct llem_rules {
    const struct llem_rule {
        const char *id, *message;
        enum llem_severity severity;
        const struct llem__predicate *match;
        size_t n_match;
        const char *const *resets; /* settings that go back to their defaults; ends with NULL */
        const char *const *emits;  /* templates of what libraries say about it; ends with NULL */
        const struct llem_value *triggers,
            *spares; /* settings, as path to value: an example each */
    } * rules;
    size_t count;
};

/* The rules of an engine, in the arena; none if it has no file of them. */
llem_errcode llem_rules_load(struct llem_rules *out, struct llem_arena *a,
                             const struct llem_schema *s, const char *engine, llem_error *err);
/* Does the rule's condition hold in a complete tree? *about: the setting it is about. */
bool llem_rule_holds(const struct llem_rule *rule, const struct llem_value *tree,
                     const struct llem_value **about);
/* The tree with settings that have no effect back at their defaults, sharing nodes with it. */
const struct llem_value *llem_rules_settle(const struct llem_rules *r, const struct llem_schema *s,
                                           struct llem_arena *a, const struct llem_value *tree);

/* ---- user configuration and variables ----------------------------------------------------- */

/* The user's config file with defaults filled in, as a tree with provenance; loaded once per
 * context. */
llem_errcode llem_user_config(llem_ctx *ctx, const struct llem_value **out, llem_error *err);

/* Every LLEM_ variable there is. */
struct llem_variable {
    const char *name;
    enum llem_type type;
    const char *choices, *help;
    const char *row; /* the setting or user-config path it sets; NULL = none */
    const char *
        sets; /* the value, as JSON, that the row gets whatever the variable holds; NULL: its own */
    double min; /* of a number that sets no row */
};
extern const struct llem_variable llem_variables[]; /* ends with name NULL */
/* Check every LLEM_ variable of the environment: a bad value is an error, an unknown name a warning
 * in the log with the nearest name. */
llem_errcode llem_variables_check(llem_ctx *ctx, llem_error *err);
/* {name: value} of every LLEM_ variable in force, as experiment.json keeps them. */
struct llem_value *llem_variables_in_force(llem_ctx *ctx, struct llem_arena *a);

#endif
