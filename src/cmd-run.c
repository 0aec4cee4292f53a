/* SPDX-License-Identifier: MIT
 *
 * llem run: one experiment or a study of many, watched.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"
#include "src/progress.h"
#include "src/table.h"

struct args {
    struct settings settings;
    const char *output, *progress, *resume_dir;
    int dry_run, skip_preflight, resume, accept_drift, no_lock, quiet, verbose;
};

/* clang-format off */
static const struct opt options[] = {
    SETTING_OPTIONS(struct args),
    STUDY_OPTIONS(struct args),
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "DIR",
      .help = "where results go, ./results unless configured" },
    { 0, "dry-run", OPT_FLAG, 0, offsetof(struct args, dry_run),
      .help = "check everything, print the resolved configuration, or a study's plan; run nothing" },
    { 0, "resume", OPT_FLAG, 0, offsetof(struct args, resume),
      .help = "go on with the newest unfinished study of the results directory" },
    { 0, "resume-dir", OPT_STRING, 0, offsetof(struct args, resume_dir), "DIR",
      .help = "go on with the study in this directory" },
    { 0, "accept-drift", OPT_FLAG, 0, offsetof(struct args, accept_drift),
      .help = "go on although what is to be measured has changed since" },
    { 0, "skip-preflight", OPT_FLAG, 0, offsetof(struct args, skip_preflight),
      .help = "do not ask the engine first whether this machine suffices" },
    { 0, "no-lock", OPT_FLAG, 0, offsetof(struct args, no_lock),
      .help = "do not keep other runs of llem off the GPUs" },
    { 'q', "quiet", OPT_FLAG, 0, offsetof(struct args, quiet),
      .help = "no progress and no table; print the result's directory" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "more log lines, also in the experiment's worker.log; twice for all" },
    { 0, "progress", OPT_CHOICE, 0, offsetof(struct args, progress), "MODE", .choices = PROGRESS_CHOICES,
      .help = "how to show progress" },
    { .name = NULL },
};
/* clang-format on */

static const json_t *at(const json_t *map, const char *section, const char *key)
{
    return json_object_get(json_object_get(map, section), key);
}

/* What will run, in one line: "sample-model, cpu, 100 prompts of builtin"; of a study "study.yaml,
 * 12 runs". False without memory. */
static bool describe(char *out, size_t size, const llem_plan *plan, const char *path)
{
    char *text = llem_plan_runs(plan) == 1 ? llem_plan_config(plan, 0) : NULL;
    json_t *config = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *dataset = at(config, "task", "dataset");
    const char *name = json_string_value(at(config, "task", "model")), *slash;
    bool single = llem_plan_runs(plan) == 1;

    if (!single)
        name = path ? path : "study";
    slash = name ? strrchr(name, '/') : NULL;
    if (slash && slash[1])
        name = slash + 1;
    if (!single)
        snprintf(out, size, "%s, %zu runs", name, llem_plan_runs(plan));
    else if (config)
        snprintf(out, size, "%s, %s, %lld prompts of %s", name ? name : "",
                 json_string_value(json_object_get(config, "engine")),
                 json_integer_value(json_object_get(dataset, "n_prompts")),
                 json_string_value(json_object_get(dataset, "source")));
    free(text);
    json_decref(config);
    return !single || config;
}

static int dry_run(struct app *app, const struct args *args, const llem_plan *plan)
{
    char title[640], *json, *text;
    json_t *tree;
    int code = EXIT_DONE;

    if (llem_plan_is_study(plan) || llem_plan_runs(plan) > 1) {
        code = plan_print(app, plan, false, args->verbose > 0);
        if (code == EXIT_DONE)
            fputs("The study is valid. Nothing was run.\n", stderr);
        return code;
    }
    json = llem_plan_config(plan, 0);
    text = llem_plan_json(plan);
    tree = text ? json_loads(text, 0, NULL) : NULL;
    if (json && tree && describe(title, sizeof(title), plan, NULL)) {
        printf("%s\n", json);
        fprintf(stderr, "The configuration is valid: %s. Hash %s. Nothing was run.\n", title,
                json_string_value(
                    json_object_get(json_array_get(json_object_get(tree, "experiments"), 0),
                                    "measurement_config_hash")));
    } else {
        code = complain("out of memory");
    }
    json_decref(tree);
    free(text);
    free(json);
    return code;
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
            if (!passed)
                progress_stopping(progress);
            llem_job_cancel(job);
            passed++;
        }
        if (event.type == LLEM_EVENT_FINISHED)
            return LLEM_OK;
        progress_event(progress, &event);
        progress_tick(progress);
    }
}

static long long count_of(const llem_result *study, const char *path)
{
    int64_t n = 0;
    int null;

    return llem_result_int(study, path, &n, &null) == LLEM_OK ? (long long)n : 0;
}

/* How a study ended that is not complete. */
static void tell_missing(const char *status, const llem_result *study, const char *dir)
{
    static const struct {
        const char *status, *why;
    } reasons[] = {
        { "circuit_breaker", "; too many failed in a row" },
        { "timed_out", "; the study's time was over" },
        { "interrupted", "; interrupted" },
    };
    const char *why = "";

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(status, reasons[i].status) == 0)
            why = reasons[i].why;
    complain("%lld of %lld runs completed, %lld failed%s", count_of(study, "summary.completed"),
             count_of(study, "summary.total_experiments"), count_of(study, "summary.failed"), why);
    fputs("Go on with: llem run --resume-dir ", stderr);
    text_print(stderr, dir);
    fputc('\n', stderr);
}

/* The end of a job: what is printed, and the exit code. */
static int tell_result(struct app *app, const struct args *args, llem_ctx *ctx, llem_job *job,
                       struct progress *progress, bool single)
{
    const char *dir = llem_job_dir(job), *status = single ? "completed" : llem_job_status(job);
    bool completed = strcmp(status, "completed") == 0;
    llem_result *result = NULL;
    llem_error err = { 0 };
    int code = completed ? EXIT_DONE : EXIT_FAILED;

    if (llem_job_result(job, &result, &err) < 0) {
        progress_outcome(progress, dir, llem_errcode_name(err.code), err.msg);
        if (!signals.count || err.code != LLEM_ECANCELED)
            complain_error(app, ctx, &err);
        if (progress->mode == PROGRESS_PLAIN)
            fprintf(stderr, "What was recorded is in %s\n", dir);
        return exit_code_of(err.code);
    }
    progress_outcome(progress, dir, completed ? NULL : status, NULL);
    if (args->quiet) {
        printf("%s\n", dir);
    } else {
        const llem_result *const results[] = { result };

        if (single)
            table_print(stdout, &app->out, NULL, results, 1);
        else
            study_print(stdout, &app->out, NULL, result);
        fflush(stdout);
        if (progress->mode == PROGRESS_PLAIN)
            fprintf(stderr, "\nSaved: %s\n", dir);
    }
    if (!completed && progress->mode != PROGRESS_JSON)
        tell_missing(status, result, dir);
    llem_result_free(result);
    return code;
}

static int run_plan(struct app *app, const struct args *args, llem_ctx *ctx, const llem_plan *plan,
                    const char *path, const char *resume_dir)
{
    llem_run_opts opts = { .size = sizeof(opts),
                           .output_dir = args->output,
                           .skip_preflight = args->skip_preflight,
                           .resume = args->resume,
                           .resume_dir = resume_dir,
                           .accept_drift = args->accept_drift,
                           .no_lock = args->no_lock };
    struct progress progress;
    llem_job *job = NULL;
    llem_error err = { 0 };
    char title[640];
    int code;

    if (!describe(title, sizeof(title), plan, path))
        return complain("out of memory");
    progress_init(&progress, args->progress, stderr, &app->err);
    progress.verbose = args->verbose;
    signals_catch();
    if (llem_study_start(&job, ctx, plan, &opts, &err) < 0) {
        progress_outcome(&progress, "", llem_errcode_name(err.code), err.msg);
        return complain_error(app, ctx, &err);
    }
    progress_title(&progress, title);
    progress_study(&progress, job, llem_job_runs(job), llem_job_run_info);
    if (follow(job, &progress, &err) < 0) {
        progress_close(&progress);
        progress_outcome(&progress, llem_job_dir(job), llem_errcode_name(err.code), err.msg);
        code = complain_error(app, ctx, &err);
    } else {
        progress_close(&progress);
        code = tell_result(app, args, ctx, job, &progress, llem_plan_runs(plan) == 1);
    }
    if (signals.count)
        code = exit_code_of_signal((int)signals.last);
    llem_job_free(job);
    return code;
}

static const char *origin_of(const struct settings *s, const char *path, const char *value)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i].weak && strcmp(s->items[i].path, path) == 0 &&
            (!value || strcmp(s->items[i].value, value) == 0))
            return s->items[i].origin;
    return NULL;
}

/* Flags that cannot both be meant. */
static int check_flags(const struct app *app, const struct args *args)
{
    static const char limit[] = "study_execution.max_consecutive_failures";
    const struct settings *s = &args->settings;
    bool resume = args->resume || args->resume_dir;

    if (origin_of(s, limit, "1") && origin_of(s, limit, "0"))
        return complain_usage(app, "%s and %s cannot both hold", origin_of(s, limit, "1"),
                              origin_of(s, limit, "0"));
    if (resume && args->dry_run)
        return complain_usage(app,
                              "--dry-run runs nothing, so there is nothing to go on with; "
                              "leave out %s",
                              args->resume_dir ? "--resume-dir" : "--resume");
    if (resume && !app->parse.n_rest && s->count && !origin_of(s, "task.model", NULL))
        return complain_usage(app,
                              "%s needs the study that it changes: give its file too, or leave "
                              "it out to go on as it began",
                              s->items[0].origin);
    return EXIT_DONE;
}

/* What was asked for and has no effect. */
static void warn_without_effect(const struct args *args, const llem_plan *plan)
{
    static const char of_study[] = "study_execution.";
    const struct settings *s = &args->settings;
    const char *last = "";

    if (args->accept_drift && !args->resume && !args->resume_dir)
        fputs("llem: warning: --accept-drift has no effect without --resume or --resume-dir\n",
              stderr);
    for (size_t i = 0; i < s->count && llem_plan_runs(plan) == 1; i++) {
        const llem_setting *one = &s->items[i];

        if (one->weak || strncmp(one->path, of_study, strlen(of_study)) != 0 ||
            strcmp(one->path, "study_execution.n_cycles") == 0 || strstr(one->path, "timeout") ||
            strcmp(last, one->origin) == 0)
            continue;
        last = one->origin;
        fprintf(stderr, "llem: warning: %s has no effect on a single run\n",
                strcmp(last, "--set") == 0 ? one->path : last);
    }
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    const char *path = app->parse.rest[0], *resume_dir = args->resume_dir;
    struct settings *s = &args->settings;
    bool model = path || origin_of(s, "task.model", NULL),
         go_on = !model && (args->resume || args->resume_dir);
    llem_plan *plan = NULL;
    llem_error err = { 0 };
    char *found = NULL;
    llem_errcode rc;
    llem_ctx *ctx;
    int code;

    if (app->parse.n_rest > 1)
        return complain_usage(app, "one configuration at a time: '%s' is one too many",
                              app->parse.rest[1]);
    code = check_flags(app, args);
    if (code != EXIT_DONE)
        return code;
    if (!model && !go_on) {
        complain("neither a configuration nor a model was given. For example:");
        fputs("    llem run examples/quickstart.yaml\n"
              "    llem run -m ./my-model -e cpu -d builtin\n",
              stderr);
        return EXIT_USAGE;
    }
    if (!study_defaults(s))
        return complain("out of memory");
    app->log_level = LLEM_LOG_WARNING + args->verbose;
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    args->progress = terminal_settings(app, ctx, args->progress, args->quiet != 0);
    if (go_on)
        rc = llem_plan_resume(&plan, ctx, args->resume_dir, args->output, &found, &err);
    else
        rc = llem_plan_study(&plan, ctx, path, s->items, s->count, &err);
    if (rc < 0) {
        code = complain_error(app, ctx, &err);
    } else {
        warn_without_effect(args, plan);
        if (args->dry_run)
            code = dry_run(app, args, plan);
        else
            code = run_plan(app, args, ctx, plan, path, found ? found : resume_dir);
    }
    free(found);
    llem_plan_free(plan);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_run = {
    .name = "run",
    .summary = "measure an experiment, or a study of many",
    .usage = "[OPTIONS] CONFIG\n[OPTIONS] -m MODEL\n--resume | --resume-dir DIR",
    .description =
        "Loads the model, warms it up, runs the prompts once with the energy sensors watching, and "
        "prints what it cost. Settings come from the file CONFIG; options stand above it. 'llem "
        "config --schema' prints every setting.\n"
        "A file with several experiments, or several values of -m, -e or --sweep, is a study: each "
        "experiment runs in a process of its own, 3 times in shuffled order unless the study or an "
        "option says otherwise. 'llem plan' shows what would run. What fails is told and the "
        "others "
        "go on; a study that was stopped goes on with --resume, and runs nothing twice.\n"
        "The table goes to standard output, everything else to standard error. Everything that was "
        "measured is kept in a directory of its own, where 'llem show' and 'llem verify' find it.\n"
        "Ctrl-C stops the experiment cleanly; a second one ends it at once.\n"
        "Exit status: 0 all done, 1 something failed, 2 usage or configuration, 130 or 143 "
        "interrupted.",
    .examples = "# The example that comes with llem\n"
                "llem run examples/quickstart.yaml --quick\n"
                "# A model directory on the CPU, 20 of the built-in prompts\n"
                "llem run -m ./my-model -e cpu -d builtin -n 20\n"
                "# One setting different, and only the directory printed\n"
                "llem run exp.yaml --set cpu.batch_size=8 -q\n"
                "# A study without a file, and going on with it\n"
                "llem run -m ./my-model -e cpu -d builtin --sweep cpu.threads=1,2\n"
                "llem run --resume",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
