/* SPDX-License-Identifier: MIT
 *
 * The program: finds the command, parses its options, runs it, and makes sure that what was printed
 * arrived.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cmd.h"
#include "src/progress.h"

const struct cmd *const commands[] = {
    &cmd_run,          &cmd_plan,  &cmd_measure,    &cmd_show,    &cmd_compare, &cmd_verify,
    &cmd_init,         &cmd_fetch, &cmd_config,     &cmd_migrate, &cmd_pack,    &cmd_report_gaps,
    &cmd_check_engine, &cmd_help,  &cmd_experiment, NULL,
};

const struct cmd *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* ---- errors ------------------------------------------------------------------------------- */

static const struct {
    llem_errcode code;
    enum exit_code exit;
} exit_codes[] = {
    { LLEM_OK, EXIT_DONE }, { LLEM_ECONFIG, EXIT_USAGE }, { LLEM_EINVAL, EXIT_USAGE },
    /* everything else: EXIT_FAILED */
};

int exit_code_of(llem_errcode code)
{
    for (size_t i = 0; i < sizeof(exit_codes) / sizeof(exit_codes[0]); i++)
        if (exit_codes[i].code == code)
            return (int)exit_codes[i].exit;
    return EXIT_FAILED;
}

static void print_prefixed(const struct palette *c, const char *color, const char *word,
                           const char *text)
{
    fprintf(stderr, "%s%s:%s ", color, word, c->reset);
    text_print(stderr, text);
    fputc('\n', stderr);
}

int complain(const char *fmt, ...)
{
    struct term err;
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap); /* first: it may hold %m */
    va_end(ap);
    term_init(&err, STDERR_FILENO);
    print_prefixed(&err.color, err.color.red, "llem", text);
    return EXIT_FAILED;
}

int complain_usage(const struct app *app, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_prefixed(&app->err.color, app->err.color.red, "llem", text);
    fprintf(stderr, "Try 'llem help%s%s'.\n", app->cmd ? " " : "", app->cmd ? app->cmd->name : "");
    return EXIT_USAGE;
}

int complain_error(const struct app *app, const llem_ctx *ctx, const llem_error *err)
{
    const char *all = ctx && err->code == LLEM_ECONFIG ? llem_config_errors(ctx) : "";
    const char *text = *all ? all : err->msg;
    char place[sizeof(err->file) + 32] = "", first[sizeof(place) + sizeof(err->msg)];

    if (!*text)
        text = llem_errcode_text(err->code);
    if (!*all && *err->file && strncmp(err->msg, err->file, strlen(err->file)) != 0) {
        if (err->line > 0 && err->column > 0)
            snprintf(place, sizeof(place), "%s:%d:%d: ", err->file, err->line, err->column);
        else if (err->line > 0)
            snprintf(place, sizeof(place), "%s:%d: ", err->file, err->line);
        else
            snprintf(place, sizeof(place), "%s: ", err->file);
    }
    if (*place) {
        snprintf(first, sizeof(first), "%s%s", place, text);
        text = first;
    }
    print_prefixed(&app->err.color, app->err.color.red, "llem", text);
    if (*err->hint)
        print_prefixed(&app->err.color, app->err.color.yellow, "hint", err->hint);
    return exit_code_of(err->code);
}

/* ---- context ------------------------------------------------------------------------------ */

static void print_log(void *user, enum llem_log_level level, const char *module, const char *text)
{
    static const char *const words[] = { "error", "warning", "info", "debug" };
    const struct app *app = user;

    fprintf(stderr,
            "%s%s:%s %s: ", level <= LLEM_LOG_WARNING ? app->err.color.yellow : app->err.color.dim,
            words[level], app->err.color.reset, module);
    text_print(stderr, text);
    fputc('\n', stderr);
}

/* A level counts where -v does not ask for more. A bad value is told when configurations are read.
 */
static void raise_level(struct app *app, llem_ctx *ctx, const char *word)
{
    int level = LLEM_LOG_WARNING;

    if (word && strcasecmp(word, "DEBUG") == 0)
        level = LLEM_LOG_DEBUG;
    else if (word && strcasecmp(word, "INFO") == 0)
        level = LLEM_LOG_INFO;
    if (app->log_level < level)
        app->log_level = level;
    if (app->log_level > LLEM_LOG_DEBUG)
        app->log_level = LLEM_LOG_DEBUG;
    llem_ctx_set_log_level(ctx, (enum llem_log_level)app->log_level);
}

llem_ctx *make_context(struct app *app)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .log = print_log, .log_user = app };
    llem_ctx *ctx = NULL;
    llem_error err = { 0 };

    if (llem_ctx_new(&ctx, &opts, &err) < 0) {
        complain_error(app, NULL, &err);
        return NULL;
    }
    raise_level(app, ctx, getenv("LLEM_LOG_LEVEL"));
    return ctx;
}

const char *terminal_settings(struct app *app, llem_ctx *ctx, const char *progress, bool quiet)
{
    static const struct {
        const char *json, *mode;
    } modes[] = { { "\"plain\"", "plain" }, { "\"quiet\"", "none" } };
    char *level = llem_user_setting(ctx, "ui.log_level");
    char *mode = llem_user_setting(ctx, "ui.progress_mode");
    char word[16];

    if (level && snprintf(word, sizeof(word), "%s", level + 1) > 0) {
        word[strcspn(word, "\"")] = 0;
        raise_level(app, ctx, word);
    }
    if (!progress && quiet)
        progress = "none";
    for (size_t i = 0; !progress && mode && i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].json, mode) == 0)
            progress = modes[i].mode;
    free(level);
    free(mode);
    return progress;
}

/* ---- signals ------------------------------------------------------------------------------ */

struct signals signals;

static void on_signal(int sig)
{
    if (!signals.count)
        signals.last = sig;
    signals.count++;
    signals.cancel = signals.count;
}

void signals_catch(void)
{
    static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on_signal };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
        struct sigaction old;

        /* What the caller ignores (nohup, a shell's background job) stays ignored. */
        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(caught[i], &action, NULL);
    }
}

int exit_code_of_signal(int sig)
{
    return 128 + sig;
}

/* ---- main --------------------------------------------------------------------------------- */

/* A closed standard stream must not become the next file that is opened. The stand-ins are opened
 * the wrong way round, so that using one is an error and not silence. */
static void reserve_standard_streams(void)
{
    static const int modes[] = { O_WRONLY, O_RDONLY, O_RDWR };

    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd)
            _exit(EXIT_FAILED);
}

/* What was printed must have arrived: a full disk or a reader that left is a failure. */
static int flush_output(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno)
        complain("cannot write to standard output: %m");
    else
        complain("cannot write to standard output");
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

static int unknown_command(const struct app *app, const char *name)
{
    const char *names[16], *near;
    struct stat st;
    size_t n = 0;

    for (size_t i = 0; commands[i] && n < 16; i++)
        if (!commands[i]->hidden)
            names[n++] = commands[i]->name;
    near = nearest_word(name, names, n);
    if (near)
        return complain_usage(app, "'%s' is no command of llem; did you mean '%s'?", name, near);
    if (stat(name, &st) == 0)
        return complain_usage(app, "'%s' is no command of llem; did you mean 'llem %s %s'?", name,
                              S_ISDIR(st.st_mode) ? "show" : "run", name);
    return complain_usage(app, "'%s' is no command of llem", name);
}

static int run_command(struct app *app, const struct cmd *cmd, int argc, const char *const *argv)
{
    static const struct opt none[] = { { .name = NULL } };
    void *args = calloc(1, cmd->args_size ? cmd->args_size : 1);
    int code;

    app->cmd = cmd;
    if (!args)
        return complain("out of memory");
    if (!parse_options(&app->parse, cmd->options ? cmd->options : none, cmd->parse_flags, args,
                       argc, argv)) {
        code = app->parse.oom ? complain("%s", app->parse.error)
                              : complain_usage(app, "%s", app->parse.error);
    } else if (app->parse.help) {
        (app->parse.help == 1 ? help_short : help_long)(app, cmd, stdout);
        code = EXIT_DONE;
    } else {
        code = cmd->run(app, args);
    }
    for (const struct opt *o = cmd->options; o && o->name; o++)
        if (o->type == OPT_SETTING || o->type == OPT_AXIS || o->type == OPT_PRESET) {
            struct settings *s = (struct settings *)((char *)args + o->offset);

            free(s->items);
            s->items = NULL;
        }
    parse_done(&app->parse);
    free(args);
    return code;
}

static void print_version(void)
{
    printf("llem %s%s%s%s\n", llem_version(), *llem_commit() ? " (" : "", llem_commit(),
           *llem_commit() ? ")" : "");
}

int main(int argc, char **argv)
{
    static char lines[PROGRESS_FRAME]; /* of standard error: a line, or a frame of the display, is
                                          one write */
    const char *const *args = (const char *const *)argv;
    struct app app = { .log_level = LLEM_LOG_WARNING };
    const struct cmd *cmd;
    const char *first = argc > 1 ? argv[1] : NULL;

    reserve_standard_streams();
    setvbuf(stderr, lines, _IOLBF, sizeof(lines));
    signal(SIGPIPE, SIG_IGN);
    if (first && (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0)) {
        print_version();
        return flush_output(EXIT_DONE);
    }
    term_init(&app.out, STDOUT_FILENO);
    term_init(&app.err, STDERR_FILENO);
    if (!first) {
        help_overview(&app, stderr);
        return EXIT_USAGE;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        help_overview(&app, stdout);
        return flush_output(EXIT_DONE);
    }
    if (first[0] == '-')
        return complain_usage(
            &app, "option '%s' stands before a command; llem knows only --help and --version there",
            first);
    cmd = command_find(first);
    if (!cmd)
        return unknown_command(&app, first);
    return flush_output(run_command(&app, cmd, argc - 1, args + 1));
}
