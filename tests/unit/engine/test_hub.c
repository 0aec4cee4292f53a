/* SPDX-License-Identifier: MIT
 *
 * What the machine knows of the hub: ids, the variables of its tools, their cache, weight files.
 */
#include "lib/engine/hub.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/config/help.h"

static const char *const variables[] = {
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "TRANSFORMERS_OFFLINE",
};
static const char commit[] = "0123456789abcdef0123456789abcdef01234567";

static int fresh(void **state)
{
    for (size_t i = 0; i < LLEM_COUNT(variables); i++)
        unsetenv(variables[i]);
    return setup(state);
}

static void ids_are_told_from_what_cannot_be_one(void **state)
{
    static const struct {
        const char *text, *repo, *revision;
    } good[] = {
        { "gpt2", "gpt2", "main" },
        { "org/name", "org/name", "main" },
        { "org/name-1.5_b@v1.0", "org/name-1.5_b", "v1.0" },
        { "org/name@refs/pr/1", "org/name", "refs/pr/1" },
        { "o/n@0123456789abcdef0123456789abcdef01234567", "o/n", commit },
    };
    static const char *const bad[] = {
        "",
        "/org/name",
        "org/",
        "org/name/more",
        "../name",
        "org/..",
        "org/a--b",
        "-org/name",
        "org/name.",
        "org name",
        "org/name@",
        "org/name@../x",
        "org/name@a//b",
        "org/name@/a",
        "org/name@a b",
        "org/name@a@b",
        "org/n\nx",
        "org/name@x\ny",
    };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_hub_id id;

    for (size_t i = 0; i < LLEM_COUNT(good); i++) {
        assert_true(llem_hub_parse(&id, &a, good[i].text, false));
        assert_string_equal(id.repo, good[i].repo);
        assert_string_equal(id.revision, good[i].revision);
    }
    for (size_t i = 0; i < LLEM_COUNT(bad); i++)
        if (llem_hub_parse(&id, &a, bad[i], false))
            fail_msg("'%s' is no id", bad[i]);
    llem_arena_done(&a);
}

static void the_variables_of_the_tools_count_as_theirs_do(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;

    setenv("HOME", "/home-of", 1);
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/home-of/.cache/huggingface/hub");
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/xdg/huggingface/hub");
    setenv("HF_HOME", "~/hf/$XDG_CACHE_HOME${NOT_SET}", 1);
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/home-of/hf//xdg${NOT_SET}/hub");
    setenv("HF_HOME", "/hf", 1);
    setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/old");
    setenv("HF_HUB_CACHE", "/new/${HF_HOME}", 1);
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/new//hf");

    assert_string_equal(llem_hub_endpoint(f->ctx, &a), "https://huggingface.co");
    setenv("HF_ENDPOINT", "http://127.0.0.1:80//", 1);
    assert_string_equal(llem_hub_endpoint(f->ctx, &a), "http://127.0.0.1:80");

    assert_false(llem_hub_offline(f->ctx));
    setenv("TRANSFORMERS_OFFLINE", "yes", 1);
    assert_true(llem_hub_offline(f->ctx));
    setenv("HF_HUB_OFFLINE", "0", 1);
    assert_false(llem_hub_offline(f->ctx));
    setenv("HF_HUB_OFFLINE", "True", 1);
    assert_true(llem_hub_offline(f->ctx));
    llem_arena_done(&a);
}

static void a_configured_cache_counts_below_the_variables(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;

    setenv("HOME", "/home-of", 1);
    put(f, "user.yaml", "output: {results_dir: ./r}\n");
    assert_null(llem_hub_cache_configured(f->ctx, &a));
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/home-of/.cache/huggingface/hub");
    renew(f);
    put(f, "user.yaml", "output: {model_cache_dir: models}\n");
    assert_string_equal(llem_hub_cache(f->ctx, &a), in_dir(f, "models/hub"));
    renew(f);
    put(f, "user.yaml", "output: {model_cache_dir: ~/big}\n");
    assert_string_equal(llem_hub_cache(f->ctx, &a), "/home-of/big/hub");
    assert_string_equal(llem_hub_cache_configured(f->ctx, &a), "/home-of/big/hub");
    for (size_t i = 0; i < 3; i++) {
        setenv(variables[i], "/told", 1);
        assert_string_equal(llem_hub_cache(f->ctx, &a), i ? "/told" : "/told/hub");
        assert_null(llem_hub_cache_configured(f->ctx, &a));
        unsetenv(variables[i]);
    }
    llem_arena_done(&a);
}

static void a_token_comes_from_the_variable_or_the_file(void **state)
{
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;

    setenv("HF_HOME", f->dir, 1);
    assert_null(llem_hub_token(f->ctx, &a));
    put(f, "token", " hf_of_file\r\n");
    assert_string_equal(llem_hub_token(f->ctx, &a), "hf_of_file");
    put(f, "other", "hf_other");
    setenv("HF_TOKEN_PATH", in_dir(f, "other"), 1);
    assert_string_equal(llem_hub_token(f->ctx, &a), "hf_other");
    setenv("HUGGING_FACE_HUB_TOKEN", "hf_old", 1);
    assert_string_equal(llem_hub_token(f->ctx, &a), "hf_old");
    setenv("HF_TOKEN", "hf_new\n", 1);
    assert_string_equal(llem_hub_token(f->ctx, &a), "hf_new");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    assert_null(llem_hub_token(f->ctx, &a));
    llem_arena_done(&a);
}

static void a_revision_is_found_by_branch_tag_and_commit(void **state)
{
    static const char *const found[] = { "org/m", "org/m@main", "org/m@v1", "org/m@refs/pr/1",
                                         "org/m@0123456789abcdef0123456789abcdef01234567" };
    static const char *const missing[] = { "org/m@v2", "org/other", "org/m@out", "org/m@gone",
                                           "org/m@1123456789abcdef0123456789abcdef01234567" };
    struct fixture *f = *state;
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *dir, *at;
    llem_error err;
    char path[200];

    setenv("HF_HUB_CACHE", f->dir, 1);
    snprintf(path, sizeof(path), "models--org--m/snapshots/%s", commit);
    assert_int_equal(llem_mkdirs(in_dir(f, path), NULL), LLEM_OK);
    assert_int_equal(llem_mkdirs(in_dir(f, "models--org--m/refs/refs/pr"), NULL), LLEM_OK);
    put(f, "models--org--m/refs/main", commit);
    put(f, "models--org--m/refs/v1", commit);
    put(f, "models--org--m/refs/refs/pr/1", commit);
    put(f, "models--org--m/refs/out", "../refs");
    put(f, "models--org--m/refs/gone", "2123456789abcdef0123456789abcdef01234567");
    for (size_t i = 0; i < LLEM_COUNT(found); i++) {
        if (llem_hub_find_model(&a, f->ctx, found[i], &dir, &at, &err) < 0)
            fail_msg("%s: %s", found[i], err.msg);
        assert_string_equal(at, commit);
        assert_string_equal(dir, in_dir(f, path));
    }
    for (size_t i = 0; i < LLEM_COUNT(missing); i++) {
        assert_int_equal(llem_hub_find_model(&a, f->ctx, missing[i], &dir, &at, &err),
                         LLEM_ENOTFOUND);
        assert_non_null(strstr(err.msg, missing[i]));
        assert_non_null(strstr(err.hint, "llem fetch -m "));
    }
    assert_int_equal(llem_hub_find_model(&a, f->ctx, "no/such/place", &dir, &at, &err),
                     LLEM_ENOTFOUND);
    assert_null(strstr(err.hint, "fetch"));
    llem_arena_done(&a);
}

static void weights_are_those_that_frameworks_load(void **state)
{
    static const struct {
        const char *name, *text; /* the next file of the directory */
        const char *weights;     /* which count then */
    } steps[] = {
        { "config.json", "{}", "" },
        { "b.gguf", "12", "b.gguf 2" },
        { "a.gguf", "1", "a.gguf 1,b.gguf 2" },
        { "adapter.safetensors", "123", "adapter.safetensors 3" },
        { "p-2.bin", "1234", "adapter.safetensors 3" },
        { "pytorch_model.bin.index.json",
          "{\"weight_map\": {\"x\": \"p-2.bin\", \"y\": \"../../out\", \"z\": \"p-2.bin\"}}",
          "p-2.bin 4" },
        { "pytorch_model.bin", "12345", "pytorch_model.bin 5" },
        { "model-2.safetensors", "1", "pytorch_model.bin 5" },
        { "model-1.safetensors", "12", "pytorch_model.bin 5" },
        { "model.safetensors.index.json",
          "{\"weight_map\": {\"x\": \"model-2.safetensors\", \"y\": \"model-1.safetensors\"}}",
          "model-1.safetensors 2,model-2.safetensors 1" },
        { "model.safetensors", "123456", "model.safetensors 6" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(steps); i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_buf got = LLEM_BUF_INIT(1000), lines = LLEM_BUF_INIT(1000);
        const struct llem_value *files;
        char sha[65] = "", expected[65];

        put(f, steps[i].name, steps[i].text);
        files = llem_hub_weights(&a, f->dir, sha);
        for (size_t j = 0; files && j < files->count; j++) {
            const char *name = llem_str_at(files->items[j], "name", "");
            long long bytes = llem_int_at(files->items[j], "bytes", -1);

            llem_buf_addf(&got, "%s%s %lld", j ? "," : "", name, bytes);
            llem_buf_addf(&lines, "%s %lld\n", name, bytes);
        }
        assert_string_equal(got.data, steps[i].weights);
        llem_sha256_of(lines.data, lines.len, expected);
        assert_string_equal(sha, files ? expected : "");
        llem_buf_done(&got);
        llem_buf_done(&lines);
        llem_arena_done(&a);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, fresh, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(ids_are_told_from_what_cannot_be_one),
        T(the_variables_of_the_tools_count_as_theirs_do),
        T(a_configured_cache_counts_below_the_variables),
        T(a_token_comes_from_the_variable_or_the_file),
        T(a_revision_is_found_by_branch_tag_and_commit),
        T(weights_are_those_that_frameworks_load),
    };

    return cmocka_run_group_tests_name("engine/hub", tests, NULL, NULL);
}
