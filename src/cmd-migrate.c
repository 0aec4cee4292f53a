/* SPDX-License-Identifier: MIT
 *
 * llem migrate: a configuration of one of LLenergyMeasure's other schemas in this one.
 */
#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/cmd.h"

struct args {
    const char *output;
    int in_place;
};

static const struct opt options[] = {
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "FILE",
      .help = "write there instead of to standard output" },
    { 0, "in-place", OPT_FLAG, 0, offsetof(struct args, in_place),
      .help = "write over the file itself" },
    { .name = NULL },
};

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static const char *text_of(const json_t *map, const char *key)
{
    const char *s = json_string_value(json_object_get(map, key));

    return s ? s : "";
}

/* One line a remark, the way a compiler says it. */
static void print_remark(const char *path, const json_t *remark)
{
    const json_t *line = json_object_get(remark, "line");

    text_print(stderr, path);
    if (json_is_integer(line))
        fprintf(stderr, ":%" JSON_INTEGER_FORMAT, json_integer_value(line));
    fputs(json_is_true(json_object_get(remark, "lost")) ? ": no equivalent: " : ": look at ",
          stderr);
    text_print(stderr, text_of(remark, "path"));
    fputs(": ", stderr);
    text_print(stderr, text_of(remark, "reason"));
    fputc('\n', stderr);
}

static void print_report(const char *path, const json_t *report)
{
    const json_t *remarks = json_object_get(report, "remarks");
    json_int_t at_end = json_integer_value(json_object_get(report, "comments_at_end"));

    for (size_t i = 0; i < json_array_size(remarks); i++)
        print_remark(path, json_array_get(remarks, i));
    if (at_end)
        fprintf(stderr,
                "%" JSON_INTEGER_FORMAT " of the comments stood at what is not converted; they are "
                "at the end.\n",
                at_end);
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    const char *path = app->parse.rest[0], *to = args->in_place ? path : args->output;
    llem_error err = { 0 };
    llem_ctx *ctx;
    json_t *report = NULL;
    char *json = NULL;
    int code = EXIT_DONE;

    if (!path)
        return complain_usage(app, "which file? Give the one to convert");
    if (app->parse.n_rest > 1)
        return complain_usage(app, "one file at a time: '%s' is one too many", app->parse.rest[1]);
    if (args->in_place && args->output)
        return complain_usage(app, "either --output or --in-place, not both");
    if (args->output && same_file(path, args->output))
        return complain_usage(app, "'%s' is the file itself; --in-place writes over it", path);
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    if (llem_migrate(&json, ctx, path, to, &err) < 0) {
        code = complain_error(app, NULL, &err);
        goto done;
    }
    report = json_loads(json, 0, NULL);
    if (!report) {
        code = complain("out of memory");
        goto done;
    }
    if (!to)
        fputs(text_of(report, "text"), stdout);
    if (json_is_null(json_object_get(report, "schema"))) {
        text_print(stderr, path);
        fputs(": is of llem's own schema already; nothing to convert\n", stderr);
    } else {
        print_report(path, report);
    }

done:
    json_decref(report);
    free(json);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_migrate = {
    .name = "migrate",
    .summary = "convert a configuration of LLenergyMeasure's other schemas",
    .usage = "[OPTIONS] FILE",
    .description =
        "Prints the file as llem reads it: settings moved to where they are now, values by their "
        "names here, and defaults that were others written out, so that the same is measured. What "
        "has no equivalent is told on standard error with the reason and listed at the top of the "
        "new file. Comments stay with their settings (there are none in JSON).\n"
        "Known are the schemas of 2025 (config_name, campaign_name), of early 2026 (backend, n, "
        "precision), the flat one after it (model and dtype at the top level) and that of releases "
        "0.7 (serving_mode). The file itself is written over with --in-place alone.",
    .examples = "llem migrate old.yaml > new.yaml\n"
                "# The same, and then what it runs\n"
                "llem migrate old.yaml -o new.yaml && llem plan new.yaml",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
