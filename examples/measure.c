/* SPDX-License-Identifier: MIT
 *
 * How to measure from C: one call, in its three forms, and a look at the result.
 *
 *     cc measure.c $(pkg-config --cflags --libs llem) -o measure
 *     ./measure quickstart.yaml
 */
#include <stdio.h>

#include "llem/llem.h"

static void on_progress(void *user, const llem_event *event)
{
    if (event->type == LLEM_EVENT_STEP_DONE)
        fprintf(stderr, "%s%s: %s (%.1f s)\n", (char *)user, event->step, event->text,
                event->elapsed_s);
}

/* A number with its uncertainty, or the reason why there is none. */
static void print_quantity(const llem_result *result, const char *path)
{
    llem_quantity q;

    if (llem_result_quantity(result, path, &q) < 0)
        printf("%s: not in this result\n", path);
    else if (!q.valid)
        printf("%s: none (%s: %s)\n", path, q.reason, llem_reason_sentence(q.reason));
    else
        printf("%s: %g %s, 95 %% interval %g to %g, by %s\n", path, q.value, q.unit, q.ci95_lo,
               q.ci95_hi, q.source);
}

static int measure(llem_ctx *ctx, llem_experiment_args *args, const char *form)
{
    char indent[] = "  ";
    llem_result *result = NULL;
    llem_error err;

    args->size = sizeof(*args);
    args->progress = on_progress;
    args->progress_user = indent;
    printf("== %s\n", form);
    if (llem_run_experiment(&result, ctx, args, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        if (*err.hint)
            fprintf(stderr, "%s\n", err.hint);
        return 1;
    }
    print_quantity(result, "total_inference_time_sec");
    print_quantity(result, "throughput.output_tokens_per_s");
    print_quantity(result, "total_energy_j");
    printf("everything: %s/result.json\n", llem_result_dir(result));
    llem_result_free(result);
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "quickstart.yaml";
    const char *results = argc > 2 ? argv[2] : NULL; /* NULL: ./results */
    llem_setting quick = { .path = "measurement.quick", .value = "true" };
    llem_ctx *ctx = NULL;
    llem_config *config = NULL;
    llem_error err;
    int failed = 0;

    if (llem_ctx_new(&ctx, NULL, &err) < 0 ||
        llem_config_load(&config, ctx, path, &quick, 1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        llem_ctx_free(ctx);
        return 1;
    }

    /* 1. A file. */
    failed |= measure(
        ctx,
        &(llem_experiment_args){
            .config_path = path, .output_dir = results, .settings = &quick, .n_settings = 1 },
        "a configuration file");
    /* 2. A configuration that was loaded, looked at, and can be run again. */
    printf("hash %s, model from %s\n", llem_config_hash_hex(config), path);
    failed |= measure(ctx, &(llem_experiment_args){ .config = config, .output_dir = results },
                      "a configuration object");
    /* 3. Only a model and what stands beside it. */
    failed |= measure(ctx,
                      &(llem_experiment_args){ .model = argc > 3 ? argv[3] : "./sample-model",
                                               .engine = argc > 4 ? argv[4] : "cpu",
                                               .dataset = "builtin",
                                               .n_prompts = 2,
                                               .output_dir = results,
                                               .settings = &quick,
                                               .n_settings = 1 },
                      "a model by its name");

    llem_config_free(config);
    llem_ctx_free(ctx);
    return failed;
}
