/* SPDX-License-Identifier: MIT
 *
 * Every LLEM_ variable of the environment. A value that cannot be is an error that names the
 * variable; a name that is not in the table is a warning with the nearest one.
 */
#include "lib/config/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/json.h"

/* clang-format off */
const struct llem_variable llem_variables[] = {
    { "LLEM_PROGRAM", LLEM_TYPE_STRING, .help = "the llem program that runs experiments" },
    { "LLEM_DATA_DIR", LLEM_TYPE_STRING, .help = "where engines, datasets and the sample model are" },
    { "LLEM_LIBRARY", LLEM_TYPE_STRING, .help = "the libllem that the Python package loads" },
    { "LLEM_PLUGIN_PATH", LLEM_TYPE_STRING, .help = "folders with engines of others, separated by colons" },
    { "LLEM_OUTPUT_DIR", LLEM_TYPE_STRING, .row = "output.results_dir", .help = "directory for results" },
    { "LLEM_SAVE_TIMESERIES", LLEM_TYPE_BOOL, .row = "output.save_timeseries", .help = "write timeseries.parquet" },
    { "LLEM_LOG_LEVEL", LLEM_TYPE_ENUM, .choices = "WARNING|INFO|DEBUG", .row = "ui.log_level", .help = "how much is logged" },
    { "LLEM_NO_PROMPT", LLEM_TYPE_ANY, .row = "ui.prompt", .sets = "false", .help = "sets it false, whatever the value" },
    { "LLEM_CARBON_INTENSITY", LLEM_TYPE_REAL, .row = "measurement.carbon_intensity_gco2_kwh", .help = "carbon intensity of the electricity in gCO2/kWh" },
    { "LLEM_DATACENTER_PUE", LLEM_TYPE_REAL, .row = "measurement.datacenter_pue", .help = "power usage effectiveness of the site" },
    { "LLEM_TABLE_ROWS", LLEM_TYPE_INT, .min = 3, .help = "height of the live table" },
    { "LLEM_NVML_LIBRARY", LLEM_TYPE_STRING, .help = "the NVML library to load instead of the system's" },
    { "LLEM_LOCK_DIR", LLEM_TYPE_STRING, .help = "the directory of the GPU locks instead of the machine's own" },
    { "LLEM_SYSFS", LLEM_TYPE_STRING, .help = "the directory to read instead of /sys" },
    { "LLEM_PYTHON", LLEM_TYPE_STRING, .help = "Python interpreter of engines that need one" },
    { "LLEM_OWN_PYTHON", LLEM_TYPE_STRING, .help = "the same where nothing else names one; the Python package sets it" },
    { "LLEM_PYTHON_TRANSFORMERS", LLEM_TYPE_STRING, .help = "Python interpreter of the engine transformers" },
    { "LLEM_PYTHON_VLLM", LLEM_TYPE_STRING, .help = "Python interpreter of the engine vllm" },
    { "LLEM_PYTHON_TENSORRT", LLEM_TYPE_STRING, .help = "Python interpreter of the engine tensorrt" },
    { "LLEM_PYTHON_ZEUS", LLEM_TYPE_STRING, .help = "Python interpreter of the sampler zeus" },
    { "LLEM_PYTHON_CODECARBON", LLEM_TYPE_STRING, .help = "Python interpreter of the sampler codecarbon" },
    { "LLEM_RUNNER_TRANSFORMERS", LLEM_TYPE_STRING, .row = "runners.transformers", .help = "how the engine transformers is started" },
    { "LLEM_RUNNER_VLLM", LLEM_TYPE_STRING, .row = "runners.vllm", .help = "how the engine vllm is started" },
    { "LLEM_RUNNER_TENSORRT", LLEM_TYPE_STRING, .row = "runners.tensorrt", .help = "how the engine tensorrt is started" },
    { "LLEM_IMAGE_TRANSFORMERS", LLEM_TYPE_STRING, .row = "images.transformers", .help = "container image of the engine transformers" },
    { "LLEM_IMAGE_VLLM", LLEM_TYPE_STRING, .row = "images.vllm", .help = "container image of the engine vllm" },
    { "LLEM_IMAGE_TENSORRT", LLEM_TYPE_STRING, .row = "images.tensorrt", .help = "container image of the engine tensorrt" },
    { "LLEM_SKIP_IMAGE_CHECK", LLEM_TYPE_BOOL, .help = "do not compare the image's schema with ours" },
    { "LLEM_TRUST_REMOTE_CODE", LLEM_TYPE_BOOL, .help = "let models bring code of their own" },
    { "LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP", LLEM_TYPE_STRING, .help = "device_map of transformers where the file sets none" },
    { "LLEM_TRT_BUILD_CACHE_ENABLED", LLEM_TYPE_BOOL, .help = "keep engines that TensorRT built" },
    { "LLEM_TRT_BUILD_CACHE_PATH", LLEM_TYPE_STRING, .help = "where they are kept" },
    { "LLEM_RUN", LLEM_TYPE_STRING, .help = "set by llem in everything it starts, to find it again" },
    { .name = NULL },
};
/* clang-format on */

static const struct llem_row *row_of(const char *path, bool *user)
{
    *user = false;
    for (const struct llem_row *r = llem_shared_rows; path && r->path; r++) {
        if (strcmp(r->path, path) == 0)
            return r;
    }
    *user = true;
    for (const struct llem_row *r = llem__user_rows; path && r->path; r++) {
        if (strcmp(r->path, path) == 0)
            return r;
    }
    return NULL;
}

/* The word of the list that is the same but for its case. */
static const char *same_word(struct llem_arena *a, const char *choices, const char *word)
{
    const char **names = llem__split(a, choices, '|');

    for (size_t i = 0; names && names[i]; i++) {
        if (strcasecmp(names[i], word) == 0)
            return names[i];
    }
    return word;
}

/* The value of a variable, checked; NULL (and a diagnostic) if it cannot be. */
static struct llem_value *value_of(const struct llem_variable *var, const char *text,
                                   struct llem_arena *a, struct llem__diags *d)
{
    struct llem__check check = { .a = a, .diags = d };
    struct llem_row row = { .path = "the value", .type = var->type, .choices = var->choices };
    struct llem_value *v;
    bool user;
    const struct llem_row *known = row_of(var->row, &user);

    if (!llem_utf8_valid(text, strlen(text))) {
        llem__diag_at(d, var->name, 0, 0, "the value is not valid UTF-8");
        return NULL;
    }
    if (var->sets) {
        v = NULL;
        (void)llem_json_parse(a, &v, var->sets, strlen(var->sets), var->name, NULL);
        return v;
    }
    row.min = var->min;
    row.max = __builtin_inf();
    if (known) {
        row = *known;
        row.path = "the value";
    }
    if (var->type == LLEM_TYPE_ENUM)
        text = same_word(a, row.choices, text);
    v = llem_string(a, text);
    if (!a->oom) {
        v->file = var->name;
        v->source = LLEM_FROM_ENVIRONMENT;
    }
    return llem__check_value(&check, &row, v);
}

struct llem_value *llem__variables_layer(llem_ctx *ctx, struct llem_arena *a, struct llem__diags *d,
                                         bool user_rows)
{
    struct llem_value *layer = llem_map(a);

    for (const struct llem_variable *var = llem_variables; var->name; var++) {
        const char *text = llem_ctx_variable(ctx, var->name);
        struct llem_value *v;
        bool user;
        if (!text || !row_of(var->row, &user) || user != user_rows)
            continue;
        v = value_of(var, text, a, d);
        if (!v)
            continue;
        if (!a->oom)
            llem__mark(v, LLEM_FROM_ENVIRONMENT, var->name);
        llem_set_at(a, layer, var->row, v);
    }
    return layer;
}

struct llem_value *llem_variables_in_force(llem_ctx *ctx, struct llem_arena *a)
{
    struct llem_value *map = llem_map(a);

    for (const struct llem_variable *var = llem_variables; var->name; var++) {
        const char *text = llem_ctx_variable(ctx, var->name);
        if (text && llem_utf8_valid(text, strlen(text)))
            llem_set(a, map, var->name, llem_string(a, text));
    }
    return map;
}

/* Of engines of others there may be variables that are in no table. */
static bool is_family(const char *name)
{
    static const char *const families[] = { "LLEM_RUNNER_", "LLEM_IMAGE_", "LLEM_PYTHON_",
                                            "LLEM_TEST_",   "LLEM_FAKE_",  "LLEM_FAIL_",
                                            "LLEM_BENCH_" };

    for (size_t i = 0; i < LLEM_COUNT(families); i++) {
        if (llem_starts_with(name, families[i]))
            return true;
    }
    return false;
}

static void warn_of_unknown(llem_ctx *ctx, struct llem_arena *a)
{
    const char *names[LLEM_COUNT(llem_variables)] = { NULL };

    for (size_t i = 0; llem_variables[i].name; i++)
        names[i] = llem_variables[i].name;
    for (char **e = environ; e && *e; e++) {
        const char *name, *near;
        bool known = false;
        if (!llem_starts_with(*e, "LLEM_"))
            continue;
        name = llem_arena_strndup(a, *e, strcspn(*e, "="));
        if (!name)
            return;
        for (size_t i = 0; names[i]; i++)
            known = known || strcmp(names[i], name) == 0;
        if (known || is_family(name))
            continue;
        near = llem_nearest(name, names);
        llem_log(ctx, LLEM_LOG_WARNING, "config", "%s is no variable llem knows%s%s%s", name,
                 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
}

llem_errcode llem_variables_check(llem_ctx *ctx, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem__diags diags = { .a = &a };
    llem_errcode rc;

    for (const struct llem_variable *var = llem_variables; var->name; var++) {
        const char *text = llem_ctx_variable(ctx, var->name);
        if (text)
            (void)value_of(var, text, &a, &diags);
    }
    if (ctx->log)
        warn_of_unknown(ctx, &a);
    rc = llem__diags_error(&diags, err);
    if (rc < 0)
        llem__keep_errors(ctx, &diags);
    llem_arena_done(&a);
    return rc;
}
