/* SPDX-License-Identifier: MIT
 *
 * llem experiment DIR (hidden): the harness process of one experiment, started by the runner.
 * Events leave on standard output as JSON lines.
 */
#include <fcntl.h>
#include <unistd.h>

#include "src/cmd.h"

enum { LAST_S = 15 };

/* The runner kills a harness that does not end. Should the runner itself be gone, the alarm does.
 */
static void on_term(int sig)
{
    alarm(LAST_S);
    if (!signals.count)
        signals.last = sig;
    signals.count++;
    signals.cancel = signals.count;
}

static int run(struct app *app, void *p)
{
    llem_error err = { 0 };
    llem_ctx *ctx;
    struct sigaction action = { .sa_handler = on_term };
    llem_errcode rc;
    int events;

    (void)p;
    if (app->parse.n_rest != 1)
        return complain_usage(app, "give the directory of one experiment");
    /* A private copy for the events; whatever else prints, prints to the log. */
    events = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (events < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return complain("cannot keep standard output for events: %m");
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    rc = llem_experiment_main(ctx, app->parse.rest[0], events, &signals.cancel, &err);
    if (rc < 0)
        complain_error(app, ctx, &err);
    llem_ctx_free(ctx);
    close(events);
    if (rc < 0 && signals.count)
        return exit_code_of_signal((int)signals.last);
    return exit_code_of(rc);
}

const struct cmd cmd_experiment = {
    .name = "experiment",
    .summary = "run the experiment prepared in a directory",
    .usage = "DIR",
    .description =
        "What 'llem run' starts for each experiment. Progress leaves on standard output as JSON "
        "lines.",
    .hidden = true,
    .run = run,
};
