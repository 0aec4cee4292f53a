/* SPDX-License-Identifier: MIT
 *
 * Options as tables, after git's parse-options: one row an option feeds the parser, the usage, the
 * help and the did-you-mean. The parser prints nothing; a failure is a sentence.
 */
#ifndef LLEM_SRC_PARSE_H
#define LLEM_SRC_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "llem/config.h"

enum opt_type {
    OPT_FLAG,    /* int: 1, or 0 by --no-NAME */
    OPT_COUNT,   /* int: how often; --no-NAME sets it to 0 */
    OPT_STRING,  /* const char * */
    OPT_CHOICE,  /* const char *: one word out of `choices` */
    OPT_INT,     /* int64_t within min..max */
    OPT_REAL,    /* double within min..max */
    OPT_SETTING, /* struct settings: one more setting for `path`, or for the path before "=" */
    OPT_AXIS,    /* struct settings: path=v1,v2, a setting for each value */
    OPT_PRESET,  /* struct settings: a flag for the settings in `path`, "path=value path=value" */
};

enum opt_flags {
    OPT_HIDDEN = 1 << 0,  /* parsed, never shown */
    OPT_LITERAL = 1 << 1, /* OPT_SETTING: the value is a string as it stands, not YAML */
    OPT_MANY = 1 << 2,    /* OPT_SETTING: given again it is one more value, not another */
};

/* One option. The parser writes at `offset` of the command's argument structure. */
struct opt {
    char letter; /* 0 = none */
    const char *name;
    enum opt_type type;
    unsigned flags;
    size_t offset;
    const char *value;   /* how help names the value: "DIR"; NULL for flags and counts */
    const char *choices; /* "a|b|c" */
    double min, max;     /* numbers */
    const char *path;    /* OPT_SETTING: the configuration's path; NULL = the value is path=value.
                            OPT_PRESET: what it sets */
    const char *help;    /* one clause, no full stop */
};

/* Settings in the order of the command line. Strings live in the parse. */
struct settings {
    llem_setting *items;
    size_t count;
};

enum parse_flags {
    PARSE_STOP_AT_OPERAND = 1 << 0, /* what follows the first operand is not for us: a command */
};

struct parse {
    const char **rest; /* operands, NULL-terminated */
    size_t n_rest;
    bool saw_dashes; /* "--" was there */
    int help;        /* 1: -h, 2: --help; parsing stopped there */
    char error[512]; /* a sentence; "" = none */
    bool oom;        /* the sentence is that memory ran out, which is no mistake of the user's */
    char **owned;    /* memory to release with the parse */
    size_t n_owned;
};

/*
 * Parse argv[1..argc) by `options` (ends with a row whose name is NULL) into args. Options may
 * stand between operands; "--" ends them; "-" is an operand. False: p->error says why. parse_done()
 * releases p either way; strings in args are borrowed from argv or from p.
 */
bool parse_options(struct parse *p, const struct opt *options, unsigned flags, void *args, int argc,
                   const char *const *argv);
void parse_done(struct parse *p);

/* One more setting, which a flag stands for; false without memory. Strings are borrowed. */
bool settings_add(struct settings *s, llem_setting setting);

/* The nearest of `count` words by did-you-mean rules: one that begins with it, or the least
 * Damerau-Levenshtein distance up to a third of its length; NULL if none is near. */
const char *nearest_word(const char *word, const char *const *words, size_t count);

#endif
