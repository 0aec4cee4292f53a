/* SPDX-License-Identifier: MIT
 *
 * What all commands share: the shape of a command, exit codes, signals, the way errors are printed.
 * One file a command, all alike: arguments, options table, one function.
 */
#ifndef LLEM_SRC_CMD_H
#define LLEM_SRC_CMD_H

#include <signal.h>

#include "llem/llem.h"
#include "src/parse.h"
#include "src/term.h"

/* How the program ends. docs/exit-codes.md lists them, and a test compares. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,         /* usage or configuration */
    EXIT_INTERRUPTED = 130, /* SIGINT */
    EXIT_TERMINATED = 143,  /* SIGTERM */
};

struct app {
    struct term out, err; /* standard output, standard error */
    const struct cmd *cmd;
    struct parse parse;
    int log_level; /* what of the library's log is printed: enum llem_log_level */
};

/* A command. */
struct cmd {
    const char *name, *summary; /* one clause */
    const char *usage;          /* what follows "llem NAME", one form a line */
    const char *description;    /* paragraphs for the long help, one a line */
    const char *examples;       /* lines; those that begin with "#" explain the next */
    const struct opt *options;
    size_t args_size; /* of the structure that options fill, zeroed before */
    unsigned parse_flags;
    bool hidden;
    int (*run)(struct app *app, void *args); /* operands are in app->parse */
};

extern const struct cmd cmd_compare, cmd_check_engine, cmd_run, cmd_measure, cmd_show, cmd_verify,
    cmd_fetch, cmd_init, cmd_plan, cmd_config, cmd_migrate, cmd_pack, cmd_report_gaps, cmd_help,
    cmd_experiment;
extern const struct cmd *const commands[]; /* ends with NULL */
const struct cmd *command_find(const char *name);

/* cmd-help.c */
void help_overview(const struct app *app, FILE *f);
void help_short(const struct app *app, const struct cmd *cmd, FILE *f);
void help_long(const struct app *app, const struct cmd *cmd, FILE *f);

/* man.c: the manual page, as roff */
void man_page(FILE *f);

/* Settings that commands take alike, of experiments and of studies; type: the command's arguments,
 * which have `struct settings settings`. */
/* clang-format off */
#define SETTING_OPTIONS(type)                                                                                       \
    { 'm', "model", OPT_SETTING, OPT_LITERAL | OPT_MANY, offsetof(type, settings), "MODEL", .path = "task.model",   \
      .help = "model: a directory, or a name on the Hugging Face hub; several make a study of them" },              \
    { 'e', "engine", OPT_SETTING, OPT_LITERAL | OPT_MANY, offsetof(type, settings), "ENGINE", .path = "engine",     \
      .help = "what runs the model; 'llem config' lists the engines; several make a study of them" },               \
    { 'd', "dataset", OPT_SETTING, OPT_LITERAL, offsetof(type, settings), "DATASET", .path = "task.dataset.source", \
      .help = "prompts: builtin, random, aienergyscore, or a .jsonl, .json, .txt, .csv or .parquet file" },         \
    { 'n', "n-prompts", OPT_SETTING, 0, offsetof(type, settings), "N", .path = "task.dataset.n_prompts",            \
      .help = "how many prompts" },                                                                                 \
    { 0, "set", OPT_SETTING, 0, offsetof(type, settings), "PATH=VALUE",                                             \
      .help = "any setting of the configuration, its value as in YAML; may be repeated" },                          \
    { 0, "sweep", OPT_AXIS, 0, offsetof(type, settings), "PATH=V1,V2",                                              \
      .help = "an experiment for each value of a setting; may be repeated" },                                       \
    { 0, "quick", OPT_PRESET, 0, offsetof(type, settings), .path = "measurement.quick=true",                        \
      .help = "shorten the idle measurement and the thermal wait to 2 s; the result is marked quick" }
#define STUDY_OPTIONS(type)                                                                                         \
    { 0, "cycles", OPT_SETTING, 0, offsetof(type, settings), "N", .path = "study_execution.n_cycles",               \
      .help = "how often each experiment runs; 3 for a study that does not say" },                                  \
    { 0, "order", OPT_SETTING, OPT_LITERAL, offsetof(type, settings), "ORDER",                                      \
      .path = "study_execution.experiment_order",                                                                   \
      .help = "sequential, interleave, shuffle, reverse or latin_square; shuffle unless the study says otherwise" }, \
    { 0, "no-gaps", OPT_PRESET, 0, offsetof(type, settings),                                                        \
      .path = "study_execution.experiment_gap_seconds=0 study_execution.cycle_gap_seconds=0",                       \
      .help = "no pauses between experiments and cycles" },                                                         \
    { 0, "no-dedup", OPT_PRESET, 0, offsetof(type, settings),                                                       \
      .path = "study_execution.deduplicate_equivalent=false",                                                       \
      .help = "run each experiment, also those that do the same as another" },                                      \
    { 0, "fail-fast", OPT_PRESET, 0, offsetof(type, settings),                                                      \
      .path = "study_execution.max_consecutive_failures=1 study_execution.circuit_breaker_cooldown_seconds=0",      \
      .help = "stop the study at its first failure" },                                                              \
    { 0, "no-circuit-breaker", OPT_PRESET, 0, offsetof(type, settings),                                             \
      .path = "study_execution.max_consecutive_failures=0",                                                         \
      .help = "go on however many experiments fail in a row" },                                                     \
    { 0, "timeout", OPT_SETTING, 0, offsetof(type, settings), "HOURS",                                              \
      .path = "study_execution.wall_clock_timeout_hours", .help = "stop the study after so many hours" }
/* clang-format on */
/* What the command line does unless a study says otherwise; false without memory. cmd-plan.c */
bool study_defaults(struct settings *s);
/* The plan on standard output; all: with its runs. Returns the exit code. cmd-plan.c */
int plan_print(const struct app *app, const llem_plan *plan, bool json, bool all);

/* ---- errors ------------------------------------------------------------------------------- */

/* "llem: sentence" on standard error; returns EXIT_FAILED. */
__attribute__((format(printf, 1, 2))) int complain(const char *fmt, ...);
/* The same about the command line, with a pointer to the help; returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int complain_usage(const struct app *app, const char *fmt,
                                                         ...);
/* A failure of the library with its place and hint; ctx, if not NULL, has the whole text of
 * configuration errors. Returns the exit code of the failure. */
int complain_error(const struct app *app, const llem_ctx *ctx, const llem_error *err);
int exit_code_of(llem_errcode code);
/* A context that logs to standard error; NULL after a complaint. */
llem_ctx *make_context(struct app *app);
/* What the user's configuration says of the terminal, below the command line: the log level is set,
 * and the mode of the progress display returned (NULL: auto). */
const char *terminal_settings(struct app *app, llem_ctx *ctx, const char *progress, bool quiet);

/* ---- signals ------------------------------------------------------------------------------ */

/* Counts SIGINT, SIGTERM and SIGHUP. The only state of the program that is not on a stack. */
struct signals {
    volatile sig_atomic_t count; /* how many came */
    volatile sig_atomic_t last;  /* the first of them */
    volatile int cancel;         /* as count, for the library */
};
extern struct signals signals;
void signals_catch(void);
/* 130, 143, ...: what a program ended by a signal returns. */
int exit_code_of_signal(int sig);

#endif
