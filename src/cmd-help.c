/* SPDX-License-Identifier: MIT
 *
 * Help, made of the commands' tables.
 */
#include <stddef.h>
#include <string.h>

#include "src/cmd.h"

enum { HELP_COLUMN = 28, HELP_WIDTH_MAX = 100 };

static size_t help_columns(const struct app *app)
{
    size_t columns = term_columns(&app->out);

    return columns > HELP_WIDTH_MAX ? HELP_WIDTH_MAX : columns;
}

static void print_usage(const struct app *app, const struct cmd *cmd, FILE *f)
{
    const char *line = cmd->usage;
    bool first = true;

    while (*line) {
        size_t len = strcspn(line, "\n");
        char text[512];
        size_t indent = strlen("Usage: llem ") + strlen(cmd->name) + 1;

        snprintf(text, sizeof(text), "%.*s", (int)len, line);
        fprintf(f, "%s%s%s llem %s%s", app->out.color.bold,
                first ? "Usage:" : "   or:", app->out.color.reset, cmd->name, *text ? " " : "");
        text_wrap(f, *text ? text : "\n", *text ? indent : 0, help_columns(app));
        first = false;
        line += len + (line[len] == '\n');
    }
    if (first)
        fprintf(f, "%sUsage:%s llem %s\n", app->out.color.bold, app->out.color.reset, cmd->name);
}

static void print_option(const struct app *app, FILE *f, char letter, const char *name,
                         const char *value, const char *help)
{
    char left[128];
    size_t width;

    snprintf(left, sizeof(left), "  %c%c%s --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
             letter ? "," : " ", name, value ? " " : "", value ? value : "");
    width = text_columns(left);
    fprintf(f, "%s%s%s", app->out.color.cyan, left, app->out.color.reset);
    if (width + 2 > HELP_COLUMN)
        fprintf(f, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(f, "%*s", (int)(HELP_COLUMN - width), "");
    text_wrap(f, help, HELP_COLUMN, help_columns(app));
}

static void print_options(const struct app *app, const struct cmd *cmd, FILE *f)
{
    fprintf(f, "\n%sOptions:%s\n", app->out.color.bold, app->out.color.reset);
    for (const struct opt *o = cmd->options; o && o->name; o++) {
        char help[512];

        if (o->flags & OPT_HIDDEN)
            continue;
        snprintf(help, sizeof(help), "%s%s%s%s", o->help, o->choices ? ": " : "",
                 o->choices ? o->choices : "", "");
        print_option(app, f, o->letter, o->name, o->value, help);
    }
    print_option(app, f, 'h', "help", NULL, "show this; --help says more");
}

void help_short(const struct app *app, const struct cmd *cmd, FILE *f)
{
    print_usage(app, cmd, f);
    print_options(app, cmd, f);
}

void help_long(const struct app *app, const struct cmd *cmd, FILE *f)
{
    const char *line = cmd->description;

    fprintf(f, "llem %s: %s\n\n", cmd->name, cmd->summary);
    print_usage(app, cmd, f);
    while (line && *line) {
        size_t len = strcspn(line, "\n");
        char text[1024];

        snprintf(text, sizeof(text), "%.*s", (int)len, line);
        fputc('\n', f);
        text_wrap(f, text, 0, help_columns(app));
        line += len + (line[len] == '\n');
    }
    print_options(app, cmd, f);
    if (cmd->examples) {
        fprintf(f, "\n%sExamples:%s\n", app->out.color.bold, app->out.color.reset);
        for (line = cmd->examples; *line;) {
            size_t len = strcspn(line, "\n");
            bool comment = *line == '#';

            fprintf(f, "%s    %.*s%s\n", comment ? app->out.color.dim : "", (int)len, line,
                    comment ? app->out.color.reset : "");
            line += len + (line[len] == '\n');
        }
    }
}

void help_overview(const struct app *app, FILE *f)
{
    const struct palette *c = f == stdout ? &app->out.color : &app->err.color;

    fprintf(f,
            "llem measures what running a language model costs: energy, time, FLOPs and memory, "
            "and how\n"
            "sure it is.\n\n"
            "%sUsage:%s llem COMMAND [ARGUMENTS]\n"
            "       llem help COMMAND\n"
            "       llem --version\n\n"
            "%sCommands:%s\n",
            c->bold, c->reset, c->bold, c->reset);
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            fprintf(f, "  %s%-10s%s  %s\n", c->cyan, commands[i]->name, c->reset,
                    commands[i]->summary);
    fprintf(f,
            "\n%sExamples:%s\n"
            "    llem config\n"
            "    llem run examples/quickstart.yaml\n"
            "    llem run -m ./my-model -e cpu -d builtin\n"
            "    llem measure -- make -j8\n",
            c->bold, c->reset);
}

struct args {
    int man;
};

static const struct opt options[] = {
    { 0, "man", OPT_FLAG, OPT_HIDDEN, offsetof(struct args, man),
      .help = "print the manual page as roff" },
    { .name = NULL },
};

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    const char *name = app->parse.rest[0];
    const struct cmd *cmd;

    if (args->man) {
        man_page(stdout);
        return EXIT_DONE;
    }
    if (!name) {
        help_overview(app, stdout);
        return EXIT_DONE;
    }
    cmd = command_find(name);
    if (!cmd) {
        const char *names[16], *near;
        size_t n = 0;

        for (size_t i = 0; commands[i] && n < 16; i++)
            if (!commands[i]->hidden)
                names[n++] = commands[i]->name;
        near = nearest_word(name, names, n);
        app->cmd = NULL;
        if (near)
            return complain_usage(app, "there is no command '%s' to help with; did you mean '%s'?",
                                  name, near);
        return complain_usage(app, "there is no command '%s' to help with", name);
    }
    help_long(app, cmd, stdout);
    return EXIT_DONE;
}

const struct cmd cmd_help = {
    .name = "help",
    .summary = "explain a command",
    .usage = "[COMMAND]",
    .description =
        "Without COMMAND: what commands there are. 'llem COMMAND -h' shows the options only.",
    .examples = "llem help run",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
