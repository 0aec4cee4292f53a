/* SPDX-License-Identifier: MIT
 *
 * The manual page, made of the commands' tables as the help is: `llem help --man` at build time.
 */
#include <string.h>

#include "src/cmd.h"

/* Text in the middle of a line: roff's escapes, and dashes that stay dashes. */
static void put(FILE *f, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            fputs("\\e", f);
        else if (text[i] == '-')
            fputs("\\-", f);
        else
            fputc(text[i], f);
    }
}

/* A line that begins with "." or "'" would be a request. */
static void put_line(FILE *f, const char *text, size_t len)
{
    if (len && (*text == '.' || *text == '\''))
        fputs("\\&", f);
    put(f, text, len);
    fputc('\n', f);
}

static void put_text(FILE *f, const char *text)
{
    put_line(f, text, strlen(text));
}

/* Each line of a text, `before` above it. */
static void put_lines(FILE *f, const char *text, const char *before)
{
    while (text && *text) {
        size_t len = strcspn(text, "\n");

        fputs(before, f);
        put_line(f, text, len);
        text += len + (text[len] == '\n');
    }
}

static void put_usage(FILE *f, const struct cmd *cmd)
{
    const char *line = cmd->usage;

    do {
        size_t len = strcspn(line, "\n");

        fputs(".br\n\\fBllem ", f);
        put(f, cmd->name, strlen(cmd->name));
        fputs("\\fR ", f);
        put_line(f, line, len);
        line += len + (line[len] == '\n');
    } while (*line);
}

static void put_option(FILE *f, const struct opt *o)
{
    fputs(".TP\n", f);
    if (o->letter)
        fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", f);
    put(f, o->name, strlen(o->name));
    fputs("\\fR", f);
    if (o->value) {
        fputs(" \\fI", f);
        put(f, o->value, strlen(o->value));
        fputs("\\fR", f);
    }
    fputc('\n', f);
    put_text(f, o->help);
    if (o->choices) {
        fputs("(one of ", f);
        put(f, o->choices, strlen(o->choices));
        fputs(")\n", f);
    }
}

static void put_command(FILE *f, const struct cmd *cmd)
{
    fputs(".SS llem ", f);
    put_text(f, cmd->name);
    put_text(f, cmd->summary);
    put_lines(f, cmd->description, ".PP\n");
    for (const struct opt *o = cmd->options; o && o->name; o++)
        if (!(o->flags & OPT_HIDDEN))
            put_option(f, o);
    if (cmd->examples) {
        fputs(".PP\n.nf\n", f);
        put_lines(f, cmd->examples, "");
        fputs(".fi\n", f);
    }
}

void man_page(FILE *f)
{
    static const struct {
        enum exit_code code;
        const char *text;
    } codes[] = {
        { EXIT_DONE, "Done." },
        { EXIT_FAILED, "Something failed: the sentence is on standard error, and in the "
                       "experiment's status.json." },
        { EXIT_USAGE, "Usage or configuration: nothing was run." },
        { EXIT_INTERRUPTED, "Interrupted by SIGINT (Ctrl-C)." },
        { EXIT_TERMINATED, "Ended by SIGTERM." },
    };

    fprintf(f, ".TH LLEM 1 \"\" \"llem %s\" \"User Commands\"\n", llem_version());
    fputs(".SH NAME\nllem \\- measure what running a language model costs\n.SH SYNOPSIS\n", f);
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            put_usage(f, commands[i]);
    fputs(".SH DESCRIPTION\n", f);
    put_text(f, "llem measures what running a large language model costs: joules, time, FLOPs and "
                "memory, and how sure it is. Every measured number has a source and an "
                "uncertainty, or it is null with a reason. Estimates are marked with a tilde.");
    fputs(".PP\n", f);
    put_text(f, "Results go to standard output, everything else to standard error.");
    fputs(".SH COMMANDS\n", f);
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            put_command(f, commands[i]);
    fputs(".SH EXIT STATUS\n", f);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        fprintf(f, ".TP\n.B %d\n", (int)codes[i].code);
        put_text(f, codes[i].text);
    }
    fputs(".SH FILES\n.TP\n.I $XDG_CONFIG_HOME/llenergymeasure/config.yaml\n", f);
    put_text(f, "The user's configuration; ~/.config where the variable is not set.");
    fputs(".TP\n.I results/study_<UTC>/\n", f);
    put_text(f, "What an experiment leaves: its recording, its result and how it ended.");
    fputs(".SH ENVIRONMENT\n", f);
    put_text(f, "'llem config -v' shows the LLEM_ variables in force and every setting with its "
                "source. NO_COLOR and TERM are respected.");
}
