/* SPDX-License-Identifier: MIT
 *
 * llem measure: the energy of any command, or of a span of time.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include "src/cmd.h"
#include "src/progress.h"
#include "src/table.h"

struct args {
    const char *output, *gpus, *progress;
    double for_s;
    int quick, quiet, verbose;
};

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 }; /* as a shell says it */

/* clang-format off */
static const struct opt options[] = {
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "DIR",
      .help = "where the result goes, ./results/measure_<UTC> unless given" },
    { 0, "gpus", OPT_STRING, 0, offsetof(struct args, gpus), "LIST",
      .help = "charge these GPUs, indices or UUIDs separated by commas, or all; without it CPU package and DRAM" },
    { 0, "for", OPT_REAL, 0, offsetof(struct args, for_s), "SECONDS", .min = 0.001, .max = 1e7,
      .help = "watch for this long instead of running a command" },
    { 0, "quick", OPT_FLAG, 0, offsetof(struct args, quick),
      .help = "shorten the idle measurement to 2 s; the result is marked quick" },
    { 'q', "quiet", OPT_FLAG, 0, offsetof(struct args, quiet),
      .help = "no progress; print only the result's directory, on standard error" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "more log lines; twice for all" },
    { 0, "progress", OPT_CHOICE, 0, offsetof(struct args, progress), "MODE", .choices = PROGRESS_CHOICES,
      .help = "how to show progress" },
    { .name = NULL },
};
/* clang-format on */

struct watch {
    struct progress progress;
    bool command; /* the terminal belongs to the command while it runs */
    bool begun;   /* the command was found */
};

static void on_event(void *user, const llem_event *e)
{
    struct watch *w = user;

    w->begun = true;
    if (e->type != LLEM_EVENT_NONE && !(w->command && strcmp(e->step, "measure") == 0))
        progress_event(&w->progress, e);
    progress_tick(&w->progress);
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    bool command = app->parse.n_rest > 0;
    struct watch watch = { .command = command };
    llem_measure_args measure = {
        .size = sizeof(measure),
        .argv = command ? app->parse.rest : NULL,
        .for_s = args->for_s,
        .output_dir = args->output,
        .gpus = args->gpus,
        .quick = args->quick,
        .progress = on_event,
        .progress_user = &watch,
        .cancel = &signals.cancel,
    };
    llem_result *result = NULL;
    llem_error err = { 0 };
    llem_ctx *ctx;
    int wstatus = 0, code;
    llem_errcode rc;

    if (command && args->for_s > 0)
        return complain_usage(app, "either --for or a command, not both");
    if (!command && !(args->for_s > 0))
        return complain_usage(app,
                              "nothing to measure: give --for SECONDS, or a command after '--'");
    app->log_level = LLEM_LOG_WARNING + args->verbose;
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    progress_init(&watch.progress, terminal_settings(app, ctx, args->progress, args->quiet != 0),
                  stderr, &app->err);
    watch.progress.verbose = args->verbose;
    signals_catch();
    rc = llem_measure(&result, ctx, &measure, &wstatus, &err);
    progress_close(&watch.progress);
    if (rc < 0) {
        progress_outcome(&watch.progress, "", llem_errcode_name(err.code), err.msg);
        code = complain_error(app, ctx, &err);
        if (command && !watch.begun && rc == LLEM_ENOTFOUND)
            code = EXIT_NOT_FOUND;
        else if (command && !watch.begun && rc == LLEM_ENOTSUP)
            code = EXIT_NOT_EXECUTABLE;
    } else {
        progress_outcome(&watch.progress, llem_result_dir(result), NULL, NULL);
        code = EXIT_DONE;
        if (args->quiet) {
            fprintf(stderr, "%s\n", llem_result_dir(result));
        } else {
            const llem_result *const results[] = { result };

            table_print(stderr, &app->err, NULL, results, 1);
            fprintf(stderr, "\nSaved: %s\n", llem_result_dir(result));
        }
        if (command && WIFEXITED(wstatus))
            code = WEXITSTATUS(wstatus);
        else if (command && WIFSIGNALED(wstatus))
            code = exit_code_of_signal(WTERMSIG(wstatus));
    }
    if (signals.count && (rc < 0 || !command))
        code = exit_code_of_signal((int)signals.last);
    llem_result_free(result);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_measure = {
    .name = "measure",
    .summary = "the energy of any command, or of a span of time",
    .usage = "[OPTIONS] [--] COMMAND [ARGUMENT...]\n[OPTIONS] --for SECONDS",
    .description =
        "Runs COMMAND with the energy sensors watching, from just before its start until its end, "
        "idle "
        "before and after. The same window, sensors and result as 'llem run', without an engine.\n"
        "COMMAND keeps standard input, output and error; the table goes to standard error. The "
        "exit status "
        "is that of COMMAND: 128 and the signal's number if a signal ended it, 127 if it was not "
        "found. With "
        "--for it is 0.",
    .examples = "llem measure -- make -j8\n"
                "# Two GPUs for a minute, whatever runs on them\n"
                "llem measure --gpus 0,1 --for 60",
    .options = options,
    .args_size = sizeof(struct args),
    .parse_flags = PARSE_STOP_AT_OPERAND,
    .run = run,
};
