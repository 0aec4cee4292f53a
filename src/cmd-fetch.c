/* SPDX-License-Identifier: MIT
 *
 * llem fetch: models and data from the Hugging Face hub, before anything is measured.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"
#include "src/progress.h"

struct args {
    const char *model, *dataset, *format, *progress;
    int json, quiet, verbose;
};

/* clang-format off */
static const struct opt options[] = {
    { 'm', "model", OPT_STRING, 0, offsetof(struct args, model), "MODEL",
      .help = "this model: ORG/NAME, or ORG/NAME@REVISION (a branch, a tag or a commit)" },
    { 'd', "dataset", OPT_STRING, 0, offsetof(struct args, dataset), "DATASET",
      .help = "this dataset: aienergyscore" },
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = "table|json",
      .help = "how to print what is there afterwards" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { 'q', "quiet", OPT_FLAG, 0, offsetof(struct args, quiet),
      .help = "no progress; print only the directories" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "more log lines, such as why something is tried again; twice for all" },
    { 0, "progress", OPT_CHOICE, 0, offsetof(struct args, progress), "MODE", .choices = PROGRESS_CHOICES,
      .help = "how to show progress" },
    { .name = NULL },
};
/* clang-format on */

static void on_event(void *user, const llem_event *e)
{
    struct progress *p = user;

    if (e->type != LLEM_EVENT_NONE)
        progress_event(p, e);
    progress_tick(p);
}

static const char *text_of(const json_t *map, const char *key)
{
    const char *s = json_string_value(json_object_get(map, key));

    return s ? s : "";
}

static void print_there(const struct app *app, const json_t *list, bool paths_only)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);

        if (!paths_only) {
            printf("%s%s %s%s, commit %s\n  ", app->out.color.bold, text_of(item, "kind"),
                   text_of(item, "id"), app->out.color.reset, text_of(item, "commit"));
        }
        text_print(stdout, text_of(item, "path"));
        fputc('\n', stdout);
    }
    if (!json_array_size(list) && !paths_only)
        fputs("Nothing that is named is on the hub: everything is here.\n", stderr);
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    bool json = args->json || (args->format && strcmp(args->format, "json") == 0);
    struct progress progress;
    llem_fetch_args fetch = {
        .size = sizeof(fetch),
        .files = app->parse.rest,
        .n_files = app->parse.n_rest,
        .model = args->model,
        .dataset = args->dataset,
        .progress = on_event,
        .progress_user = &progress,
        .cancel = &signals.cancel,
    };
    llem_error err = { 0 };
    llem_ctx *ctx;
    char *text = NULL;
    int code = EXIT_DONE;

    if (!app->parse.n_rest && !args->model && !args->dataset)
        return complain_usage(app, "nothing to fetch: give an experiment file, -m MODEL or -d "
                                   "DATASET");
    app->log_level = LLEM_LOG_WARNING + args->verbose;
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    progress_init(&progress, terminal_settings(app, ctx, args->progress, args->quiet != 0), stderr,
                  &app->err);
    progress.verbose = args->verbose;
    signals_catch();
    if (llem_fetch(&text, ctx, &fetch, &err) < 0) {
        progress_close(&progress);
        progress_outcome(&progress, "", llem_errcode_name(err.code), err.msg);
        code =
            signals.count ? exit_code_of_signal((int)signals.last) : complain_error(app, ctx, &err);
        if (signals.count && progress.mode == PROGRESS_PLAIN)
            fputs("Stopped. What has arrived is kept; the same command goes on from there.\n",
                  stderr);
    } else if (json) {
        progress_close(&progress);
        progress_outcome(&progress, "", NULL, NULL);
        printf("%s\n", text);
    } else {
        json_t *list = json_loads(text, 0, NULL);

        progress_close(&progress);
        progress_outcome(&progress, "", NULL, NULL);
        print_there(app, list, args->quiet != 0);
        json_decref(list);
    }
    free(text);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_fetch = {
    .name = "fetch",
    .summary = "bring models and data from the Hugging Face hub",
    .usage = "[OPTIONS] CONFIG...\n[OPTIONS] -m MODEL\n[OPTIONS] -d DATASET",
    .description =
        "Downloads what the experiment files CONFIG name, or one model or dataset, into the cache "
        "that the Hugging Face tools share, so that measuring needs no network. Of a model it "
        "takes everything but second copies of the weights in other formats. Each file is checked "
        "against the hub's digest; what is there already is not fetched again, and a download "
        "that broke off goes on where it ended.\n"
        "HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN (or the file of 'hf auth login') and "
        "HF_HUB_OFFLINE count as they do for the Hugging Face tools. The token goes to the hub "
        "alone.\n"
        "Ctrl-C stops; what has arrived is kept.",
    .examples = "# What an experiment needs\n"
                "llem fetch exp.yaml\n"
                "# One model as it was at a commit, a tag or on a branch\n"
                "llem fetch -m Qwen/Qwen2.5-0.5B@main\n"
                "llem fetch -d aienergyscore",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
