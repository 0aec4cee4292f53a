/* SPDX-License-Identifier: MIT
 *
 * llem init: a study's file to begin with.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"

struct args {
    struct settings settings; /* engines and a model */
    int bounds, force;
};

/* clang-format off */
static const struct opt options[] = {
    { 'e', "engine", OPT_SETTING, OPT_LITERAL | OPT_MANY, offsetof(struct args, settings), "ENGINE", .path = "engine",
      .help = "an engine of the study, cpu unless given; may be repeated" },
    { 'm', "model", OPT_SETTING, OPT_LITERAL, offsetof(struct args, settings), "MODEL", .path = "task.model",
      .help = "the model that it names, gpt2 unless given" },
    { 0, "bounds", OPT_FLAG, 0, offsetof(struct args, bounds),
      .help = "sweep each setting that has only some values, as far as 10,000 experiments" },
    { 0, "force", OPT_FLAG, 0, offsetof(struct args, force), .help = "write over a file that is there" },
    { .name = NULL },
};
/* clang-format on */

static int write_file(const char *path, const char *text, bool force)
{
    FILE *f = fopen(path, force ? "we" : "wxe");
    bool failed;

    if (!f && errno == EEXIST)
        return complain("'%s' is there already; name another file, or --force writes over it",
                        path);
    if (!f)
        return complain("cannot write '%s': %m", path);
    failed = fputs(text, f) < 0;
    failed = fclose(f) != 0 || failed;
    if (failed)
        return complain("cannot write '%s': %m", path);
    fprintf(stderr, "Wrote %s. 'llem plan %s' shows what it would run.\n", path, path);
    return EXIT_DONE;
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    const struct settings *s = &args->settings;
    const char *path = app->parse.n_rest ? app->parse.rest[0] : "study.yaml", *model = "gpt2";
    const char **engines;
    size_t n = 0;
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;
    char *text = NULL;
    int code;

    if (app->parse.n_rest > 1)
        return complain_usage(app, "one file at a time: '%s' is one too many", app->parse.rest[1]);
    engines = calloc(s->count + 1, sizeof(*engines));
    if (!engines)
        return complain("out of memory");
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->items[i].path, "engine") == 0)
            engines[n++] = s->items[i].value;
        else
            model = s->items[i].value;
    }
    if (!n)
        engines[n++] = "cpu";
    ctx = make_context(app);
    if (!ctx) {
        code = EXIT_FAILED;
    } else if (llem_config_template(&text, ctx, engines, n, model, args->bounds, &err) < 0) {
        code = complain_error(app, NULL, &err);
    } else if (strcmp(path, "-") == 0) {
        fputs(text, stdout);
        code = EXIT_DONE;
    } else {
        code = write_file(path, text, args->force);
    }
    free(text);
    free(engines);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_init = {
    .name = "init",
    .summary = "write a commented study file to begin with",
    .usage = "[OPTIONS] [FILE]",
    .description =
        "The file has every setting of the engines with its default, its values and what it is, as "
        "comments, and plans as it stands. FILE is study.yaml unless given; - is standard output. "
        "A file that is there is left alone.\n"
        "With --bounds each setting that can have only some values is an axis: choices, true and "
        "false, the ends and the middle of a range, the default first. Beyond 10,000 experiments "
        "axes are comments.",
    .examples = "llem init\n"
                "# All that two engines can be set to\n"
                "llem init -e transformers -e vllm --bounds grid.yaml\n"
                "llem init -e cpu -m ./my-model -",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
