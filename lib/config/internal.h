/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share: the YAML reader with positions of keys, the list of
 * diagnostics, checking one layer of settings against rows, and the rows of the user's
 * configuration.
 */
#ifndef LLEM_CONFIG_INTERNAL_H
#define LLEM_CONFIG_INTERNAL_H

#include "lib/config/config.h"

/* Limits of files from outside. An alias counts with all that it stands for. */
enum {
    LLEM__YAML_MAX_BYTES = 4 << 20,
    LLEM__YAML_MAX_DEPTH = 60, /* libfyaml's own limit is 64 */
    LLEM__YAML_MAX_NODES = 100000,
    LLEM__YAML_MAX_KEYS = 10000, /* of one map */
    LLEM__MAX_DIAGNOSTICS = 200,
};

/* ---- reading ------------------------------------------------------------------------------ */

/* Where the key of a map's value stood; the values are those of the tree as it was read. */
struct llem__keys {
    struct llem__key {
        const struct llem_value *value;
        int line, column;
    } * items;
    size_t count, cap;
};

/* As llem_yaml_parse; keys may be NULL. json: JSON's own words and numbers, strictly JSON's syntax.
 */
llem_errcode llem__yaml_read(struct llem_arena *a, struct llem_value **out, struct llem__keys *keys,
                             const char *text, size_t len, const char *name, bool json,
                             llem_error *err);
/* As llem_yaml_load, by the file's extension: .yaml, .yml, .json. */
llem_errcode llem__yaml_load(struct llem_arena *a, struct llem_value **out, struct llem__keys *keys,
                             const char *path, llem_error *err);

/* YAML in block style, appended to b, with the comments of the text that the tree was read from (""
 * = none): how many of them stand beside their values, and how many follow at the end. */
void llem__yaml_dump(struct llem_buf *b, struct llem_arena *a, const struct llem_value *v,
                     const char *text, size_t *kept, size_t *at_end);

/* ---- diagnostics -------------------------------------------------------------------------- */

/* All errors of a load, in the order found; sorted by place when they are printed. */
struct llem__diags {
    struct llem_arena *a;
    struct llem__diag {
        const char *file; /* or "-m", "LLEM_...": the origin of a setting; NULL = none */
        int line, column; /* 0 = not about a file */
        const struct llem_value *about; /* NULL = unknown */
        const char *path;               /* of the setting, where it is known; else NULL */
        size_t order;
        const char *text; /* a whole sentence */
    } * items;
    size_t count, cap;
    const char *section, *key; /* of the layer's setting that is looked at; NULL = none */
    bool truncated;
};

/* Add a sentence about v (its place is taken from it; NULL = about no place). */
__attribute__((format(printf, 3, 4))) void
llem__diag(struct llem__diags *d, const struct llem_value *v, const char *fmt, ...);
__attribute__((format(printf, 5, 6))) void
llem__diag_at(struct llem__diags *d, const char *file, int line, int column, const char *fmt, ...);
/* Every diagnostic a line, "file:line:col: sentence"; in the arena, "" if there are none. */
const char *llem__diags_text(struct llem__diags *d);
/* Fill err from the list: one error with its place, several as lines. LLEM_OK if there are none. */
llem_errcode llem__diags_error(struct llem__diags *d, llem_error *err);
/* One error about a value of an engine's file, at its place. */
__attribute__((format(printf, 3, 4))) llem_errcode
llem__bad_value(llem_error *err, const struct llem_value *v, const char *fmt, ...);
/* What llem_config_errors() and llem_config_problems() return from now on; copied, NULL = nothing.
 */
void llem__keep_errors(llem_ctx *ctx, struct llem__diags *d);
/* Find the paths of the settings that errors are about in the tree that they were found in. */
void llem__diags_locate(struct llem__diags *d, const struct llem_value *tree);

/* ---- schemas ------------------------------------------------------------------------------ */

/* A row and what stands below it. */
struct llem__node {
    const struct llem_row *row; /* NULL: the top level */
    const char *key;            /* the last part of its path */
    struct llem_value *def;     /* its default, shared by every tree that does not say otherwise */
    struct llem__text {
        const char *s;
        size_t len;
    } python, canon;              /* key and default as hashes take them: "key": value */
    size_t place;                 /* among its parent's children */
    struct llem__node **children; /* in order */
    size_t count, cap;
    struct llem__node **sorted; /* the children by key */
};

struct llem_schema {
    struct llem_arena arena;
    const struct llem_row **rows; /* in order */
    size_t count;
    struct llem__node *top;
    struct llem__node **sorted; /* by path, for llem_schema_find */
    const char **engines;       /* names; ends with NULL */
    const char **rules;         /* of each engine, the path of its rules.yaml, or NULL */
    const char **visible;       /* of those that are not hidden; ends with NULL */
};

/* A schema of one table of rows (the user's configuration). */
llem_errcode llem__schema_of(struct llem_schema **out, const struct llem_row *rows,
                             llem_error *err);
/* Its value in a map; NULL if absent. Quick where the map is complete. */
struct llem_value *llem__node_value(const struct llem__node *n, const struct llem_value *map);
/* The node of a path; NULL if there is none. */
struct llem__node *llem__schema_node(const struct llem_schema *s, const char *path);
/* The row's default as a value with LLEM_FROM_DEFAULT; null where it has none. */
struct llem_value *llem__row_default(const struct llem_row *row, struct llem_arena *a);
/* The last part of a path: "n_prompts" of "task.dataset.n_prompts". */
const char *llem__leaf(const char *path);
/* True if `row` stands directly below the section `path` ("" = top level). */
bool llem__is_child(const char *path, const struct llem_row *row);
/* "a, b or c" out of "a|b|c". */
const char *llem__alternatives(struct llem_arena *a, const char *choices, const char *last);
/* Is the word in a list that ends with NULL? */
bool llem__is_one_of(const char *s, const char *const *words);
/* The pieces of "a|b|c", ending with NULL. */
const char **llem__split(struct llem_arena *a, const char *text, char separator);

/* ---- checking ----------------------------------------------------------------------------- */

struct llem__check {
    const struct llem_schema *schema;
    struct llem_arena *a;
    struct llem__diags *diags;
    struct llem__diags *unknown;   /* where unknown keys are told; NULL: with the others */
    const struct llem__keys *keys; /* NULL: positions of the values */
    llem_ctx *ctx;                 /* for warnings; NULL = none */
    const char *engine;            /* the engine in force, for hints; NULL = not known */
    struct llem__bad {
        const char *path;
        struct llem__bad *next;
    } * bad; /* settings whose value was refused: nothing is concluded from their absence */
};

/* Check one layer against the rows: unknown keys, kinds, bounds. Returns a new tree of what is
 * valid, with values of the kinds the rows ask for; sources and places are kept. */
struct llem_value *llem__check_layer(struct llem__check *c, const struct llem_value *layer);
/* One value against its row; NULL if it is no such thing (a diagnostic says why). */
struct llem_value *llem__check_value(struct llem__check *c, const struct llem_row *row,
                                     const struct llem_value *v);
/* Checks between settings of a complete tree (reference section 7, rows 1 to 14). */
void llem__check_cross(struct llem__check *c, const struct llem_value *tree);
/* How a value is shown in a sentence: 5, "gpt2", null, a list. */
const char *llem__show(struct llem_arena *a, const struct llem_value *v);
/* Where the key of v stands, as far as that is known. */
void llem__key_place(const struct llem__check *c, const struct llem_value *v, int *line,
                     int *column);
/* Mark a whole tree as coming from one place; file NULL leaves places as they are. */
void llem__mark(struct llem_value *v, enum llem_source source, const char *file);

/* ---- other schemas ------------------------------------------------------------------------ */

/* Is the file of another schema of LLenergyMeasure? Then a diagnostic says which and how it is
 * converted. */
bool llem__other_schema(struct llem__check *c, const struct llem_value *root, const char *path);

/* ---- layers (docs/configuration.md) -------------------------------------------------------- */

/* What the user's configuration says about experiments. */
struct llem_value *llem__user_layer(llem_ctx *ctx, struct llem_arena *a, llem_errcode *rc,
                                    llem_error *err);
/* A file that must hold a map, and its keys into c->keys; false: c->diags says why there is none.
 */
bool llem__file_layer(struct llem__check *c, const struct llem_config_source *source,
                      struct llem_value **out);
enum llem__settings { LLEM__WEAK, LLEM__STRONG, LLEM__AXES };

/* The settings that stand below the file, those above it, or the axes, each a list of values under
 * its whole path. */
struct llem_value *llem__settings_layer(struct llem__check *c, const llem_setting *settings,
                                        size_t count, enum llem__settings which);
/* Give maps made on the way to a setting that setting's place; returns the place. */
const char *llem__mark_sections(struct llem_value *v);
/* Fill <engine>.sampling from sampling_preset where nothing is given. */
void llem__apply_preset(struct llem__check *c, struct llem_value *tree);
/* Every row below a section, given or default, and what an open section holds besides; `study`:
 * rows with LLEM_ROW_STUDY, or 0 for the others. */
struct llem_value *llem__complete(const struct llem_schema *s, struct llem_arena *a,
                                  const char *path, const struct llem_value *given, unsigned study);
/* The directory of a file, links resolved. */
const char *llem__absolute_dir(struct llem_arena *a, const char *cwd, const char *path);
/* A model must be named; path: the file to blame, or NULL. */
void llem__check_model(struct llem__check *c, const struct llem_value *tree, const char *path);

/* ---- trees with shared nodes --------------------------------------------------------------- */

/* The tree with v at a path, sharing all else with it. LLEM_TAG_UNSET puts the default there; a map
 * merges; sections that are null or absent are completed on the way. */
struct llem_value *llem__with(const struct llem_schema *s, struct llem_arena *a,
                              const struct llem_value *tree, const char *path,
                              struct llem_value *v);

/* Error rules into c->diags; warnings, and settings without effect, into the log. */
void llem__check_rules(struct llem__check *c, const struct llem_rules *rules,
                       const struct llem_value *tree);

/* ---- presets, user configuration, variables ------------------------------------------------ */

/* The values of a preset as JSON; NULL if there is no preset of that name. */
const char *llem__preset(const char *name);
extern const struct llem_row llem__user_rows[];
/* The settings that LLEM_ variables put into rows of experiments, as a layer. */
struct llem_value *llem__variables_layer(llem_ctx *ctx, struct llem_arena *a, struct llem__diags *d,
                                         bool user_rows);

#endif
