/* SPDX-License-Identifier: MIT
 *
 * llem report-gaps: what engines warned of while experiments ran, as rules to be written.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>

#include "src/cmd.h"

struct args {
    struct settings dirs;
    const char *source, *engine, *out;
    int exceptions;
};

/* clang-format off */
static const struct opt options[] = {
    { 0, "study-dir", OPT_SETTING, OPT_LITERAL, offsetof(struct args, dirs), "DIR", .path = "dir",
      .help = "a study, or a single run; may be repeated, and given without the option" },
    { 0, "out", OPT_STRING, 0, offsetof(struct args, out), "FILE", .help = "where the rules go; must be given" },
    { 0, "engine", OPT_STRING, 0, offsetof(struct args, engine), "NAME", .help = "only what this engine said" },
    { 0, "include-exceptions", OPT_FLAG, 0, offsetof(struct args, exceptions),
      .help = "what engines failed with, too, as rules that refuse" },
    { 0, "source", OPT_CHOICE, 0, offsetof(struct args, source), "SOURCE", .choices = "runtime-warnings",
      .help = "where gaps are looked for; there is one place" },
    { .name = NULL },
};
/* clang-format on */

static long long number_of(const json_t *map, const char *key)
{
    return json_integer_value(json_object_get(map, key));
}

static void print_report(const json_t *report, const char *path)
{
    const json_t *unseen = json_object_get(report, "not_observed");
    long long gaps = number_of(report, "gaps"), runs = number_of(report, "runs"),
              known = number_of(report, "known");

    for (size_t i = 0; i < json_array_size(unseen); i++) {
        fputs("llem: ", stderr);
        text_print(stderr, json_string_value(json_array_get(unseen, i)));
        fputs(": its recording does not say what was warned of; not counted as silent\n", stderr);
    }
    if (gaps) {
        printf("%lld %s in %lld %s: ", gaps, gaps == 1 ? "gap" : "gaps", runs,
               runs == 1 ? "run" : "runs");
        text_print(stdout, path);
        fputc('\n', stdout);
    } else {
        printf("No gaps in %lld %s", runs, runs == 1 ? "run" : "runs");
        printf(known ? "; rules know what was said.\n" : "; nothing was said.\n");
    }
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    llem_gaps_opts opts = { .size = sizeof(opts), .engine = args->engine, .path = args->out };
    const char **dirs;
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;
    json_t *report = NULL;
    char *json = NULL;
    size_t n = 0;
    int code = EXIT_DONE;

    if (!args->dirs.count && !app->parse.n_rest)
        return complain_usage(app, "which studies? Give their directories");
    if (!args->out)
        return complain_usage(app, "where to? Give --out FILE");
    opts.exceptions = args->exceptions;
    dirs = calloc(args->dirs.count + app->parse.n_rest, sizeof(*dirs));
    if (!dirs)
        return complain("out of memory");
    for (size_t i = 0; i < args->dirs.count; i++)
        dirs[n++] = args->dirs.items[i].value;
    for (size_t i = 0; i < app->parse.n_rest; i++)
        dirs[n++] = app->parse.rest[i];
    opts.dirs = dirs;
    opts.n_dirs = n;
    ctx = make_context(app);
    if (!ctx)
        code = EXIT_FAILED;
    else if (llem_report_gaps(&json, ctx, &opts, &err) < 0)
        code = complain_error(app, NULL, &err);
    else if (!(report = json_loads(json, 0, NULL)))
        code = complain("out of memory");
    else
        print_report(report, args->out);
    json_decref(report);
    free(json);
    llem_ctx_free(ctx);
    free(dirs);
    return code;
}

const struct cmd cmd_report_gaps = {
    .name = "report-gaps",
    .summary = "propose rules from what engines warned of while experiments ran",
    .usage = "[OPTIONS] --out FILE DIR...",
    .description =
        "Looks at what the libraries of engines warned of and logged in these runs, leaves out "
        "what "
        "rules of the engine know, and finds for each message the fewest settings (three at most) "
        "that "
        "all experiments with it have alike and none without it has. Experiments that failed never "
        "count as those without.\n"
        "Writes a YAML document for each message, which is a rules.yaml with one rule; nothing is "
        "added "
        "to the engine's own. Where nothing is found no file is written.",
    .examples = "llem report-gaps results/study_2026-01-31T12-00-00 --out gaps.yaml",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
