/* SPDX-License-Identifier: MIT
 *
 * llem plan: what a study would run, without running it.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd.h"

enum { ROWS = 40, REASONS = 5 };

struct args {
    struct settings settings;
    const char *format;
    int json, verbose;
};

/* clang-format off */
static const struct opt options[] = {
    SETTING_OPTIONS(struct args),
    STUDY_OPTIONS(struct args),
    { 'f', "format", OPT_CHOICE, 0, offsetof(struct args, format), "FORMAT", .choices = "table|json",
      .help = "how to print it; json has everything" },
    { 0, "json", OPT_FLAG, 0, offsetof(struct args, json), .help = "the same as --format=json" },
    { 'v', "verbose", OPT_COUNT, 0, offsetof(struct args, verbose), .help = "list the runs in their order, and everything whole" },
    { .name = NULL },
};
/* clang-format on */

static const char *text_of(const json_t *map, const char *key)
{
    const char *s = json_string_value(json_object_get(map, key));

    return s ? s : "";
}

static long long number_of(const json_t *map, const char *key)
{
    return json_integer_value(json_object_get(map, key));
}

static void plural(long long n, const char *one, const char *many)
{
    printf("%lld %s", n, n == 1 ? one : many);
}

static const char *duration_text(char out[32], double seconds)
{
    long long s = (long long)(seconds + 0.5);

    if (s >= 3600)
        snprintf(out, 32, "%lldh %02lldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, 32, "%lldm %02llds", s / 60, s % 60);
    else
        snprintf(out, 32, "%llds", s);
    return out;
}

static const char *bytes_text(char out[32], double bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t i = 0;

    for (; bytes >= 999.5 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
        bytes /= 1000;
    snprintf(out, 32, "%.*f %s", i && bytes < 9.95 ? 1 : 0, bytes, units[i]);
    return out;
}

static double real_of(const json_t *map, const char *key)
{
    return json_number_value(json_object_get(map, key));
}

/* A sentence of its own line. */
static void print_sentence(const char *text)
{
    text_print(stdout, text);
    fputs(".\n", stdout);
}

static void print_time(const json_t *plan)
{
    const json_t *time = json_object_get(plan, "time"),
                 *experiments = json_object_get(plan, "experiments");
    long long runs = number_of(json_object_get(plan, "counts"), "runs"),
              known = number_of(time, "known_runs");
    double pauses = real_of(plan, "pauses_s"), lower = real_of(time, "lower_s");
    char text[32];

    if (pauses > 0)
        printf("  Pauses between them take %s.\n", duration_text(text, pauses));
    if (lower > pauses)
        printf("  With idle power measured before each, at least %s.\n",
               duration_text(text, lower));
    if (known == runs) {
        printf("  All of it takes ~%s, by earlier results.\n",
               duration_text(text, real_of(time, "expected_s")));
        return;
    }
    if (known)
        printf("  How long %lld of the runs take is not known: ", runs - known);
    else
        fputs("  How long the runs take is not known: ", stdout);
    for (size_t i = 0; i < json_array_size(experiments); i++) {
        const json_t *x = json_array_get(experiments, i);

        if (*text_of(x, "time_reason")) {
            print_sentence(text_of(x, "time_reason"));
            return;
        }
    }
}

/* The most that an experiment needs, and why nothing is known of others. */
static void print_memory(const json_t *plan)
{
    const json_t *experiments = json_object_get(plan, "experiments"), *most = NULL, *none = NULL;
    char text[32];

    for (size_t i = 0; i < json_array_size(experiments); i++) {
        const json_t *x = json_array_get(experiments, i), *memory = json_object_get(x, "memory");

        if (json_is_object(memory) &&
            (!most || real_of(memory, "estimated_bytes") >
                          real_of(json_object_get(most, "memory"), "estimated_bytes")))
            most = x;
        else if (!json_is_object(memory) && !none)
            none = x;
    }
    if (most)
        printf("  The model takes up to ~%s of memory (experiment %lld).\n",
               bytes_text(text, real_of(json_object_get(most, "memory"), "estimated_bytes")),
               number_of(most, "number"));
    if (none) {
        printf("  Memory%s is not known: ", most ? " of others" : "");
        print_sentence(text_of(none, "memory_reason"));
    }
}

static void print_funnel(const struct app *app, const json_t *plan)
{
    const json_t *counts = json_object_get(plan, "counts"),
                 *execution = json_object_get(plan, "execution");
    long long cycles = number_of(counts, "cycles"), runs = number_of(counts, "runs");

    fputs("  ", stdout);
    plural(number_of(counts, "declared"), "experiment declared\n", "experiments declared\n");
    if (number_of(counts, "invalid"))
        printf("  %lld invalid, skipped\n", number_of(counts, "invalid"));
    if (number_of(counts, "merged"))
        printf("  %lld that do the same as another, merged with it\n", number_of(counts, "merged"));
    fputs("  ", stdout);
    fputs(app->out.color.bold, stdout);
    plural(number_of(counts, "experiments"), "experiment", "experiments");
    printf("%s to run", app->out.color.reset);
    if (cycles > 1)
        printf(" in %lld cycles, %s: %lld runs", cycles, text_of(execution, "experiment_order"),
               runs);
    fputs("\n", stdout);
    print_time(plan);
    print_memory(plan);
}

/* The engine stands in a column of its own, so its name before each setting says nothing. */
static void print_label(const char *label, const char *engine)
{
    size_t len = strlen(engine);

    while (*label) {
        const char *end = strstr(label, ", ");
        size_t n = end ? (size_t)(end - label) + 2 : strlen(label);
        size_t skip = strncmp(label, engine, len) == 0 && label[len] == '.' ? len + 1 : 0;
        char *part = strndup(label + skip, n - skip);

        text_print(stdout, part ? part : "");
        free(part);
        label += n;
    }
}

static void print_experiment(const json_t *x)
{
    const json_t *memory = json_object_get(x, "memory"), *time = json_object_get(x, "time");
    char text[32];

    printf("  %5lld  %-12s  ", number_of(x, "number"), text_of(x, "engine"));
    if (json_is_object(memory))
        printf("~%s  ", bytes_text(text, real_of(memory, "estimated_bytes")));
    if (json_is_object(time))
        printf("~%s  ", duration_text(text, real_of(time, "expected_s")));
    print_label(*text_of(x, "differs_by") ? text_of(x, "differs_by") : text_of(x, "model"),
                text_of(x, "engine"));
    if (number_of(x, "same_as"))
        printf("  (as %lld)", number_of(x, "same_as"));
    fputc('\n', stdout);
}

static void more(size_t n)
{
    if (n)
        printf("         ... and %zu more; -v lists all\n", n);
}

static void print_skipped(const json_t *skipped, bool all)
{
    const char *last = "";
    size_t shown = 0, i;

    for (i = 0; i < json_array_size(skipped) && (all || shown < REASONS); i++) {
        const json_t *x = json_array_get(skipped, i);

        if (!all && strcmp(last, text_of(x, "reason")) == 0)
            continue;
        last = text_of(x, "reason");
        if (!shown++)
            fputs("\nSkipped, because invalid:\n", stdout);
        print_experiment(x);
        for (const char *line = last; *line;) {
            size_t len = strcspn(line, "\n");
            char *copy = strndup(line, len);

            fputs("         ", stdout);
            text_print(stdout, copy ? copy : "");
            fputc('\n', stdout);
            free(copy);
            line += len + (line[len] == '\n');
        }
    }
    if (!all && json_array_size(skipped) > i)
        more(json_array_size(skipped) - i);
}

static void print_text(const struct app *app, const json_t *plan, bool all)
{
    const json_t *experiments = json_object_get(plan, "experiments"),
                 *runs = json_object_get(plan, "runs");
    size_t n = json_array_size(experiments), rows = all || n <= ROWS ? n : ROWS;

    print_funnel(app, plan);
    fputs("\n", stdout);
    for (size_t i = 0; i < rows; i++)
        print_experiment(json_array_get(experiments, i));
    more(n - rows);
    print_skipped(json_object_get(plan, "skipped"), all);
    for (size_t i = 0; i < json_array_size(json_object_get(plan, "warnings")); i++) {
        fputs("\nWarning: ", stdout);
        text_print(stdout, json_string_value(json_array_get(json_object_get(plan, "warnings"), i)));
        fputs(".\n", stdout);
    }
    for (size_t i = 0; all && i < json_array_size(runs); i++) {
        if (i == 0)
            fputs("\nRuns:\n", stdout);
        fputs("  ", stdout);
        text_print(stdout, text_of(json_array_get(runs, i), "dir"));
        fputc('\n', stdout);
    }
}

int plan_print(const struct app *app, const llem_plan *plan, bool json, bool all)
{
    char *text = llem_plan_json(plan);
    json_t *tree = text && !json ? json_loads(text, 0, NULL) : NULL;
    int code = EXIT_DONE;

    if (!text || (!json && !tree))
        code = complain("out of memory");
    else if (json)
        printf("%s\n", text);
    else
        print_text(app, tree, all);
    json_decref(tree);
    free(text);
    return code;
}

bool study_defaults(struct settings *s)
{
    static const llem_setting defaults[] = {
        { "study_execution.n_cycles", "3", "llem", .weak = 1 },
        { "study_execution.experiment_order", "shuffle", "llem", .weak = 1 },
    };

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (!settings_add(s, defaults[i]))
            return false;
    return true;
}

static int run(struct app *app, void *p)
{
    struct args *args = p;
    bool json = args->json || (args->format && strcmp(args->format, "json") == 0);
    struct settings *s = &args->settings;
    llem_plan *plan = NULL;
    llem_error err = { 0 };
    llem_ctx *ctx;
    int code;

    if (app->parse.n_rest > 1)
        return complain_usage(app, "one study at a time: '%s' is one too many", app->parse.rest[1]);
    if (!app->parse.n_rest && !s->count)
        return complain_usage(app, "which study? Give its file");
    if (!study_defaults(s))
        return complain("out of memory");
    app->log_level = LLEM_LOG_WARNING + args->verbose;
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    if (llem_plan_study(&plan, ctx, app->parse.rest[0], s->items, s->count, &err) < 0) {
        code = complain_error(app, ctx, &err);
    } else {
        code = plan_print(app, plan, json, args->verbose > 0);
    }
    llem_plan_free(plan);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_plan = {
    .name = "plan",
    .summary = "show what a study would run, without running it",
    .usage = "[OPTIONS] STUDY\n[OPTIONS] -m MODEL",
    .description =
        "Expands the study's axes, groups and explicit experiments, checks each, merges those that "
        "do the same, and shows what is left, in how many cycles and which order. Nothing is "
        "started and nothing is written. Options stand above the file and reach every "
        "experiment. Times and memory are estimates, of earlier results and the models' "
        "config.json.",
    .examples = "llem plan study.yaml\n"
                "# All of it, for programs\n"
                "llem plan study.yaml --json",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
