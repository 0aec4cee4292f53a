/* SPDX-License-Identifier: MIT
 *
 * llem run: one experiment, watched.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"
#include "src/progress.h"
#include "src/table.h"

struct args {
    struct settings settings;
    const char *output, *progress;
    int dry_run, skip_preflight, quiet, verbose;
};

/* clang-format off */
static const struct opt options[] = {
    SETTING_OPTIONS(struct args),
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "DIR",
      .help = "where results go, ./results unless configured" },
    { 0, "dry-run", OPT_FLAG, 0, offsetof(struct args, dry_run),
      .help = "check everything, print the resolved configuration, run nothing" },
    { 0, "skip-preflight", OPT_FLAG, 0, offsetof(struct args, skip_preflight),
      .help = "do not ask the engine first whether this machine suffices" },
    { 'q', "quiet", OPT_FLAG, 0, offsetof(struct args, quiet),
      .help = "no progress and no table; print the result's directory" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "more log lines, also in the experiment's worker.log; twice for all" },
    { 0, "progress", OPT_CHOICE, 0, offsetof(struct args, progress), "MODE", .choices = PROGRESS_CHOICES,
      .help = "how to show progress" },
    { .name = NULL },
};
/* clang-format on */

/* What will run, in one line: "sample-model, cpu, 100 prompts of builtin". */
static void describe(char *out, size_t size, const llem_config *config)
{
    static const char *const paths[] = { "task.model", "engine", "task.dataset.n_prompts",
                                         "task.dataset.source" };
    char parts[4][128] = { "", "", "", "" };
    const char *model;

    for (size_t i = 0; i < 4; i++) {
        char *text = llem_config_get(config, paths[i]);
        size_t len;

        if (!text)
            continue;
        len = strlen(text);
        if (len >= 2 && text[0] == '"')
            snprintf(parts[i], sizeof(parts[i]), "%.*s", (int)(len - 2), text + 1);
        else
            snprintf(parts[i], sizeof(parts[i]), "%s", text);
        free(text);
    }
    model =
        strrchr(parts[0], '/') && strrchr(parts[0], '/')[1] ? strrchr(parts[0], '/') + 1 : parts[0];
    snprintf(out, size, "%s, %s, %s prompts of %s", model, parts[1], parts[2], parts[3]);
}

static int dry_run(const llem_config *config)
{
    char *json = llem_config_json(config);
    char title[640];

    if (!json)
        return complain("out of memory");
    describe(title, sizeof(title), config);
    printf("%s\n", json);
    fprintf(stderr, "The configuration is valid: %s. Hash %s. Nothing was run.\n", title,
            llem_config_hash_hex(config));
    free(json);
    return EXIT_DONE;
}

/* Follow the job to its end. Signals are passed on: the first asks it to clean up, a second ends
 * it. */
static llem_errcode follow(llem_job *job, struct progress *progress, llem_error *err)
{
    int passed = 0;

    for (;;) {
        llem_event event = { 0 };
        llem_errcode rc = llem_job_wait(job, PROGRESS_TICK_MS / 1000.0, &event, err);

        if (rc < 0)
            return rc;
        while (passed < signals.count) {
            if (!passed && progress->mode != PROGRESS_NONE && progress->mode != PROGRESS_JSON)
                progress_event(
                    progress,
                    &(llem_event){ .type = LLEM_EVENT_WARNING,
                                   .step = "",
                                   .reason = "",
                                   .text = "Stopping. A second signal ends it at once." });
            llem_job_cancel(job);
            passed++;
        }
        if (event.type == LLEM_EVENT_FINISHED)
            return LLEM_OK;
        progress_event(progress, &event);
        progress_tick(progress);
    }
}

static int run_job(struct app *app, const struct args *args, llem_ctx *ctx,
                   const llem_config *config)
{
    llem_run_opts opts = { .size = sizeof(opts),
                           .output_dir = args->output,
                           .skip_preflight = args->skip_preflight };
    struct progress progress;
    llem_job *job = NULL;
    llem_result *result = NULL;
    llem_error err = { 0 };
    char title[640];
    int code;

    progress_init(&progress, args->progress, stderr, &app->err);
    progress.verbose = args->verbose;
    signals_catch();
    if (llem_job_start(&job, ctx, config, &opts, &err) < 0) {
        progress_outcome(&progress, "", llem_errcode_name(err.code), err.msg);
        return complain_error(app, ctx, &err);
    }
    describe(title, sizeof(title), config);
    progress_title(&progress, title);
    if (follow(job, &progress, &err) < 0 || llem_job_result(job, &result, &err) < 0) {
        progress_close(&progress);
        progress_outcome(&progress, llem_job_dir(job), llem_errcode_name(err.code), err.msg);
        code = signals.count && err.code == LLEM_ECANCELED ? EXIT_FAILED
                                                           : complain_error(app, ctx, &err);
        if (progress.mode == PROGRESS_PLAIN && *llem_job_dir(job))
            fprintf(stderr, "What was recorded is in %s\n", llem_job_dir(job));
    } else {
        progress_close(&progress);
        progress_outcome(&progress, llem_job_dir(job), NULL, NULL);
        code = EXIT_DONE;
        if (args->quiet) {
            printf("%s\n", llem_job_dir(job));
        } else {
            const llem_result *const results[] = { result };

            table_print(stdout, &app->out, NULL, results, 1);
            fflush(stdout);
            if (progress.mode == PROGRESS_PLAIN)
                fprintf(stderr, "\nSaved: %s\n", llem_job_dir(job));
        }
    }
    if (signals.count)
        code = exit_code_of_signal((int)signals.last);
    llem_result_free(result);
    llem_job_free(job);
    return code;
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    const char *path = app->parse.rest[0];
    llem_config *config = NULL;
    llem_error err = { 0 };
    llem_ctx *ctx;
    bool model = path != NULL;
    int code;

    if (app->parse.n_rest > 1)
        return complain_usage(app, "one configuration at a time: '%s' is one too many",
                              app->parse.rest[1]);
    for (size_t i = 0; i < args->settings.count; i++)
        model = model || strcmp(args->settings.items[i].path, "task.model") == 0;
    if (!model) {
        complain("neither a configuration nor a model was given. For example:");
        fputs("    llem run examples/quickstart.yaml\n"
              "    llem run -m ./my-model -e cpu -d builtin\n",
              stderr);
        return EXIT_USAGE;
    }
    app->log_level = LLEM_LOG_WARNING + args->verbose;
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    args->progress = terminal_settings(app, ctx, args->progress, args->quiet != 0);
    if (llem_config_load(&config, ctx, path, args->settings.items, args->settings.count, &err) < 0)
        code = complain_error(app, ctx, &err);
    else if (args->dry_run)
        code = dry_run(config);
    else
        code = run_job(app, args, ctx, config);
    llem_config_free(config);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_run = {
    .name = "run",
    .summary = "measure one experiment: a model, an engine, prompts",
    .usage = "[OPTIONS] CONFIG\n[OPTIONS] -m MODEL",
    .description =
        "Loads the model, warms it up, runs the prompts once with the energy sensors watching, and "
        "prints "
        "what it cost. Settings come from the file CONFIG; options stand above it. 'llem config "
        "--schema' "
        "prints every setting.\n"
        "The table goes to standard output, everything else to standard error. Everything that was "
        "measured is kept in a directory of its own, where 'llem show' and 'llem verify' find it.\n"
        "Ctrl-C stops the experiment cleanly; a second one ends it at once.\n"
        "Exit status: 0 done, 1 something failed, 2 usage or configuration, 130 or 143 "
        "interrupted.",
    .examples = "# The example that comes with llem\n"
                "llem run examples/quickstart.yaml --quick\n"
                "# A model directory on the CPU, 20 of the built-in prompts\n"
                "llem run -m ./my-model -e cpu -d builtin -n 20\n"
                "# One setting different, and only the directory printed\n"
                "llem run exp.yaml --set cpu.batch_size=8 -q",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
