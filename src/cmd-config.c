/* SPDX-License-Identifier: MIT
 *
 * llem config: what this machine has, and what would unlock the rest.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"

struct args {
    const char *format;
    int schema, json, verbose;
};

/* clang-format off */
static const struct opt options[] = {
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose),
      .help = "also details, defaults of the user configuration, and paths" },
    { 0, "schema", OPT_FLAG, 0, offsetof(struct args, schema),
      .help = "print the JSON Schema of an experiment file instead" },
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = "table|json",
      .help = "how to print it" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { .name = NULL },
};
/* clang-format on */

enum { LABEL = 18 };

static const char *text_of(const json_t *map, const char *key)
{
    const char *s = json_string_value(json_object_get(map, key));

    return s ? s : "";
}

static void heading(const struct app *app, const char *text)
{
    printf("%s%s%s\n", app->out.color.bold, text, app->out.color.reset);
}

static size_t columns_of(const struct app *app)
{
    size_t columns = term_columns(&app->out);

    return columns > 100 ? 100 : columns;
}

/* Name, what is so, and what would help. */
static void print_usable(const struct app *app, const json_t *item, bool verbose)
{
    bool usable = json_is_true(json_object_get(item, "usable"));
    const char *text = text_of(item, "text"), *remedy = text_of(item, "remedy");
    const char *detail = text_of(item, "detail");
    const struct palette *c = &app->out.color;

    printf("  %s%s%s %-*s", usable ? c->green : c->dim,
           usable ? app->out.glyphs->tick : app->out.glyphs->cross, c->reset, LABEL - 4,
           text_of(item, "name"));
    text_wrap(stdout, *text ? text : usable ? "usable" : "not usable", LABEL, columns_of(app));
    if (*remedy && !usable) {
        printf("%*s%s", LABEL, "", c->yellow);
        text_wrap(stdout, remedy, LABEL, columns_of(app));
        fputs(c->reset, stdout);
    }
    if (*detail && verbose) {
        printf("%*s%s", LABEL, "", c->dim);
        text_wrap(stdout, detail, LABEL, columns_of(app));
        fputs(c->reset, stdout);
    }
}

static void print_list(const struct app *app, const json_t *root, const char *key,
                       const char *title, bool verbose)
{
    const json_t *list = json_object_get(root, key);

    heading(app, title);
    for (size_t i = 0; i < json_array_size(list); i++)
        print_usable(app, json_array_get(list, i), verbose);
    if (!json_array_size(list))
        printf("  none\n");
    fputc('\n', stdout);
}

static void print_value(const json_t *value)
{
    char *text;

    if (json_is_string(value)) {
        text_print(stdout, json_string_value(value));
        return;
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    text_print(stdout, text ? text : "?");
    free(text);
}

/* Settings: {path, value, source} */
static void print_settings(const struct app *app, const json_t *list, bool defaults)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *source = text_of(item, "source");

        if (!defaults && strcmp(source, "default") == 0)
            continue;
        printf("  %s: ", text_of(item, "path"));
        print_value(json_object_get(item, "value"));
        printf("  %s(%s)%s\n", app->out.color.dim, source, app->out.color.reset);
    }
}

static void print_machine(const struct app *app, const json_t *root, bool verbose)
{
    const json_t *user = json_object_get(root, "user_config");
    json_t *machine = json_object_get(root, "machine");
    const json_t *variables = json_object_get(root, "variables");
    json_t *paths = json_object_get(root, "paths");
    const char *key;
    json_t *value;

    heading(app, "Machine");
    json_object_foreach(machine, key, value)
    {
        if (json_is_null(value))
            continue;
        printf("  %-*s", LABEL - 2, key);
        print_value(value);
        fputc('\n', stdout);
    }
    fputc('\n', stdout);
    print_list(app, root, "engines", "Engines", verbose);
    print_list(app, root, "sensors", "Sensors, best first", verbose);

    heading(app, "User configuration");
    printf("  %s%s\n", text_of(user, "path"),
           json_is_true(json_object_get(user, "found")) ? "" : " (not there: defaults)");
    if (*text_of(user, "error")) {
        printf("  %s", app->out.color.red);
        text_print(stdout, text_of(user, "error"));
        printf("%s\n", app->out.color.reset);
    }
    print_settings(app, json_object_get(user, "settings"), verbose);
    fputc('\n', stdout);

    if (json_array_size(variables)) {
        heading(app, "Variables in force");
        for (size_t i = 0; i < json_array_size(variables); i++) {
            const json_t *v = json_array_get(variables, i);

            printf("  %s=", text_of(v, "name"));
            text_print(stdout, text_of(v, "value"));
            if (json_is_true(json_object_get(v, "fake")))
                printf("  %s(a stand-in for hardware)%s", app->out.color.yellow,
                       app->out.color.reset);
            fputc('\n', stdout);
        }
        fputc('\n', stdout);
    }
    if (verbose) {
        heading(app, "Paths");
        json_object_foreach(paths, key, value)
        {
            printf("  %-*s", LABEL - 2, key);
            print_value(value);
            fputc('\n', stdout);
        }
        fputc('\n', stdout);
    }
    printf("llem %s%s%s\n", text_of(root, "version"), *text_of(root, "commit") ? " " : "",
           text_of(root, "commit"));
}

static int run(struct app *app, void *p)
{
    const struct args *args = p;
    llem_error err = { 0 };
    llem_ctx *ctx;
    char *text = NULL;
    int code = EXIT_DONE;

    if (app->parse.n_rest)
        return complain_usage(app, "'%s' is one argument too many", app->parse.rest[0]);
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    if ((args->schema ? llem_config_schema : llem_describe_machine)(&text, ctx, &err) < 0) {
        code = complain_error(app, ctx, &err);
    } else if (args->schema || args->json || (args->format && strcmp(args->format, "json") == 0)) {
        printf("%s\n", text);
    } else {
        json_error_t bad;
        json_t *root = json_loads(text, 0, &bad);

        if (root)
            print_machine(app, root, args->verbose > 0);
        else
            code = complain("the description of this machine cannot be read: %s", bad.text);
        json_decref(root);
    }
    free(text);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_config = {
    .name = "config",
    .summary = "what this machine has: engines, sensors, and what would unlock the rest",
    .usage = "[OPTIONS]\n--schema",
    .description = "Each engine and each sensor with whether it can be used, why not, and the "
                   "command that would unlock "
                   "it; the user configuration with the source of every setting; the LLEM_ "
                   "variables in force. Python is asked for the packages of engines that need "
                   "it; nothing is loaded and nothing is changed.",
    .examples = "llem config\n"
                "llem config --schema > experiment.schema.json",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
