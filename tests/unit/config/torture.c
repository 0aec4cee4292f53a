/* SPDX-License-Identifier: MIT
 *
 * Loads configurations, good and bad. tests/unit/base/torture runs it with each of its allocations
 * failing in turn: a load must end as it does with memory, or say that there is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/engine/registry.h"
#include "llem/study.h"

static bool lost;

static void watch(void *user, enum llem_log_level level, const char *module, const char *text)
{
    (void)user;
    (void)module;
    /* An engine that is left out for want of memory would be a wrong answer later. */
    if (level == LLEM_LOG_WARNING && strstr(text, "engine.yaml"))
        lost = true;
}

static llem_errcode run(llem_ctx *ctx, const char *source, llem_error *err)
{
    const llem_setting settings[] = { { "task.random_seed", "7", "--set", 0 },
                                      { "passthrough_kwargs", "{a: [1, b]}", "--set", 0 } };
    static const llem_setting axes[] = {
        { "task.model", "a", "-m", .literal = 1, .axis = 1 },
        { "task.model", "b", "-m", .literal = 1, .axis = 1 },
        { "engine", "cpu", "-e", .literal = 1, .axis = 1 },
        { "engine", "vllm", "-e", .literal = 1, .axis = 1 },
    };
    static const char *const engines[] = { "cpu", "transformers" };
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_plan *plan = NULL;
    struct llem_buf text = LLEM_BUF_INIT(1 << 20);
    llem_config *config = NULL;
    char path[512], resolved[65], *json = NULL;
    llem_errcode rc;

    snprintf(path, sizeof(path), "%s/tests/data/yaml/valid-everything.yaml", source);
    rc = llem_config_load(&config, ctx, path, settings, 2, err);
    if (rc < 0)
        goto done;
    if (strcmp(llem_config_hash_hex(config), "37e33714922c46d6") != 0) {
        fprintf(stderr, "another hash: %s\n", llem_config_hash_hex(config));
        abort();
    }
    llem_config_resolved_hash(config->schema, config->tree, resolved);
    llem_json_dump(&text, llem_config_resolution(config, &a), LLEM_JSON_PRETTY);
    llem_json_dump(&text, llem_config_provenance(config, &a), LLEM_JSON_PRETTY);
    (void)llem_config_path(config, &a, "task.model");
    if (a.oom || text.failed || !resolved[0]) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory");
        goto done;
    }
    rc = llem_config_schema(&json, ctx, err);
    if (rc < 0)
        goto done;
    llem_config_free(config);
    config = NULL;
    snprintf(path, sizeof(path), "%s/tests/data/yaml/many.yaml", source);
    rc = llem_config_load(&config, ctx, path, NULL, 0, err);
    if (rc == LLEM_OK) {
        fprintf(stderr, "a bad file was accepted\n");
        abort();
    }
    if (rc == LLEM_ECONFIG)
        rc = LLEM_OK;
    if (rc < 0)
        goto done;
    free(json);
    json = NULL;
    snprintf(path, sizeof(path), "%s/tests/data/migrate/flat.yaml", source);
    rc = llem_migrate(&json, ctx, path, NULL, err);
    if (rc == LLEM_OK && !strstr(json, "transformers.dtype: [float16, bfloat16]")) {
        fprintf(stderr, "another text: %s\n", json);
        abort();
    }
    if (rc < 0)
        goto done;
    free(json);
    json = NULL;
    rc = llem_config_template(&json, ctx, engines, 2, "gpt2", 1, err);
    if (rc == LLEM_OK && !strstr(json, "\n  cpu.dtype: [null, float32, bfloat16]\n")) {
        fprintf(stderr, "another file: %s\n", json);
        abort();
    }
    if (rc == LLEM_OK)
        rc = llem_plan_study(&plan, ctx, NULL, axes, LLEM_COUNT(axes), err);
    if (rc == LLEM_OK && llem_plan_runs(plan) != 4) {
        fprintf(stderr, "another plan\n");
        abort();
    }
    llem_plan_free(plan);

done:
    llem_config_free(config);
    llem_buf_done(&text);
    llem_arena_done(&a);
    free(json);
    return rc;
}

int main(void)
{
    const char *source = getenv("LLEM_TEST_SOURCE_DIR");
    llem_ctx_opts opts = { .size = sizeof(opts), .log = watch, .user_config = "" };
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;
    llem_errcode rc;

    opts.data_dir = source ? source : ".";
    rc = llem_ctx_new(&ctx, &opts, &err);
    if (rc == LLEM_OK)
        rc = run(ctx, opts.data_dir, &err);
    llem_ctx_free(ctx);
    if (lost) {
        fprintf(stderr, "an engine was left out\n");
        return 3;
    }
    if (rc == LLEM_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", llem_errcode_name(rc), err.msg);
    return err.msg[0] ? 1 : 3;
}
