/* SPDX-License-Identifier: MIT
 *
 * Finding engines: ours, others' in LLEM_PLUGIN_PATH and the user's data directory, broken ones,
 * and rows read from an engine.yaml.
 */
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

static const struct llem_engine_info *look(struct fixture *f, const char *name)
{
    const struct llem_engine_info *e = NULL;
    llem_error err;

    if (llem_engine_find(&e, f->ctx, name, &err) < 0)
        fail_msg("%s", err.msg);
    return e;
}

static const struct llem_engine_info *find(struct fixture *f, const char *name)
{
    const struct llem_engine_info *e = look(f, name);

    if (!e)
        fail_msg("the engine %s was not found; log: %s", name, f->log);
    return e;
}

static void plugin(struct fixture *f, const char *name, const char *yaml)
{
    char path[200];

    snprintf(path, sizeof(path), "plugins/%s", name);
    assert_int_equal(llem_mkdirs(in_dir(f, path), NULL), LLEM_OK);
    snprintf(path, sizeof(path), "plugins/%s/engine.yaml", name);
    put(f, path, yaml);
    setenv("LLEM_PLUGIN_PATH", in_dir(f, "plugins"), 1);
}

static void our_engines_are_found(void **state)
{
    struct fixture *f = *state;
    const struct llem_engine_info *e;
    size_t count;

    assert_int_equal(llem_engines(f->ctx, &e, &count, &f->err), LLEM_OK);
    assert_int_equal(count, 6);
    assert_false(find(f, "cpu")->hidden);
    assert_true(find(f, "test")->hidden);
    assert_non_null(find(f, "test")->table);
    assert_null(look(f, "nothing"));
    assert_string_equal(f->log, "");
}

static void an_engine_without_worker_says_what_is_missing(void **state)
{
    static const char *const ours[] = { "tensorrt", "transformers", "vllm" };
    struct fixture *f = *state;

    plugin(f, "rows", "name: rows\nhelp: only options\n");
    renew(f);
    assert_null(find(f, "rows")->table);
    assert_contains(find(f, "rows")->missing, "the engine rows");
    assert_contains(find(f, "rows")->missing, "no worker in this build");
    assert_contains(find(f, "rows")->remedy, "-e cpu");
    for (size_t i = 0; i < LLEM_COUNT(ours); i++) {
        assert_non_null(find(f, ours[i])->table);
        assert_null(find(f, ours[i])->missing);
    }
    assert_null(find(f, "test")->missing);
}

static void an_engine_of_others_is_found_like_ours(void **state)
{
    struct fixture *f = *state;

    plugin(f, "mine",
           "name: mine\nhelp: my own\ncommand: [./worker]\noptions:\n"
           "  - {path: ., type: section, open: true}\n"
           "  - {path: speed, type: enum, choices: [slow, fast], default: slow}\n"
           "  - {path: deep.er.level, type: real, min: 0, max: 1, max_open: true, unit: m}\n");
    renew(f);
    assert_string_equal(find(f, "mine")->help, "my own");
    assert_null(find(f, "mine")->missing);
    assert_string_equal(find(f, "mine")->table->name, "mine");
    assert_string_equal(llem_str_at(find(f, "mine")->yaml, "command.0", ""), "./worker");
    must_load(f, load(f, NULL, "task.model=m", "engine=mine", "mine.deep.er.level=0.5",
                      "mine.extra=1", NULL));
    assert_setting(f, "mine", "{\"speed\":\"slow\",\"deep\":{\"er\":{\"level\":0.5}},\"extra\":1}");
    assert_int_equal(load(f, NULL, "task.model=m", "engine=mine", "mine.deep.er.level=1", NULL),
                     LLEM_ECONFIG);
    assert_string_equal(f->err.msg,
                        "--set: mine.deep.er.level must be at least 0 and below 1 m, but is 1 m");
    assert_int_equal(load(f, NULL, "task.model=m", "engine=mnie", NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "did you mean \"mine\"?");
}

static void the_folder_itself_may_be_in_the_path(void **state)
{
    struct fixture *f = *state;

    plugin(f, "mine", "name: mine\n");
    setenv("LLEM_PLUGIN_PATH",
           llem_arena_printf(&f->a, "%s::%s", in_dir(f, "none"), in_dir(f, "plugins/mine")), 1);
    renew(f);
    find(f, "mine");
    assert_contains(f->log, "is no directory");
}

static void the_users_data_directory_is_looked_at(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(llem_mkdirs(in_dir(f, "llem/engines/theirs"), NULL), LLEM_OK);
    put(f, "llem/engines/theirs/engine.yaml", "name: theirs\n");
    renew(f);
    find(f, "theirs");
}

static void the_first_folder_of_a_name_wins(void **state)
{
    struct fixture *f = *state;

    plugin(f, "vllm", "name: vllm\nhelp: another\n");
    renew(f);
    assert_string_equal(find(f, "vllm")->help, "another");
    /* Its section is still one of the seeds: null in every hash. */
    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    assert_string_equal(llem_config_hash_hex(f->config), "6c9a0dc1ae3b31d2");
}

static void a_broken_engine_yaml_is_told_and_does_no_harm(void **state)
{
    static const struct {
        const char *yaml, *sentence;
    } bad[] = {
        { "name: [", "engine.yaml:2:1: this is not valid YAML" },
        { "- 1\n", "must be a map with name and options" },
        { "help: x\n", "engine.yaml:1:1: name must be the engine's name" },
        { "name: Bad Name\n", "engine.yaml:1:7: name must be the engine's name" },
        { "name: task\n", "no setting of its own" },
        { "name: x\noption: []\n", "engine.yaml:2:9: unknown key \"option\"; did you mean "
                                   "\"options\"?" },
        { "name: x\ngpus: all\n", "engine.yaml:2:7: gpus must be none, or a map" },
        { "name: x\ngpus: {product: 2}\n", "gpus must be none, or a map" },
        { "name: x\ngpus: {spread: a}\n", "gpus must be none, or a map" },
        { "name: x\noptions: {}\n", "options must be a list" },
        { "name: x\noptions: [5]\n", "engine.yaml:2:11: each option must be a map" },
        { "name: x\noptions: [{type: int}]\n", "an option needs a path" },
        { "name: x\noptions: [{path: a}]\n", "needs a type" },
        { "name: x\noptions: [{path: a, type: float}]\n", "\"float\" is no type of an option" },
        { "name: x\noptions: [{path: a-b, type: int}]\n", "is no path of an option" },
        { "name: x\noptions: [{path: a..b, type: int}]\n", "is no path of an option" },
        { "name: x\noptions: [{path: 5, type: int}]\n", "path of an option must be text" },
        { "name: x\noptions: [{path: a, type: int, mni: 5}]\n", "did you mean \"min\"?" },
        { "name: x\noptions: [{path: a, type: int, min: low}]\n", "must be a number" },
        { "name: x\noptions: [{path: a, type: int, min: 5, max: 4}]\n", "above its max" },
        { "name: x\noptions: [{path: a, type: int, default: 4, min: 5}]\n",
          "x.a must be at least 5, but is 4" },
        { "name: x\noptions: [{path: a, type: int, nullable: 2}]\n", "must be true or false" },
        { "name: x\noptions: [{path: a, type: int, open: true}]\n", "only a section can be open" },
        { "name: x\noptions: [{path: a, type: enum}]\n", "needs choices" },
        { "name: x\noptions: [{path: a, type: enum, choices: []}]\n", "must be a list" },
        { "name: x\noptions: [{path: a, type: enum, choices: [on, off]}]\n", "in quotes" },
        { "name: x\noptions: [{path: a, type: enum, choices: [a, 5]}]\n", "in quotes" },
        { "name: x\noptions: [{path: a, type: int, choices: [5]}]\n",
          "only an option of type enum" },
        { "name: x\noptions: [{path: a, type: int}, {path: a, type: int}]\n", "stands here twice" },
        { "name: x\noptions: [{path: a, type: int}, {path: a.b, type: int}]\n", "is no section" },
        { "name: x\noptions: [{path: a, type: section, default: 5}]\n", "has no default" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(bad); i++) {
        plugin(f, "x", bad[i].yaml);
        f->log[0] = '\0';
        renew(f);
        assert_null(look(f, "x"));
        find(f, "cpu");
        assert_contains(f->log, "warning: ");
        assert_contains(f->log, bad[i].sentence);
        must_load(f, load(f, NULL, "task.model=gpt2", "engine=cpu", NULL));
    }
}

static void without_data_the_settings_still_load(void **state)
{
    struct fixture *f = *state;
    llem_ctx_opts opts = {
        .size = sizeof(opts), .log = keep_log, .log_user = f, .user_config = ""
    };

    opts.data_dir = f->dir;
    llem_ctx_free(f->ctx);
    f->ctx = NULL;
    assert_int_equal(llem_ctx_new(&f->ctx, &opts, &f->err), LLEM_OK);
    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    assert_string_equal(llem_config_hash_hex(f->config), "6c9a0dc1ae3b31d2");
    assert_contains(f->log, "LLEM_DATA_DIR");
}

static void what_an_engine_need_not_provide_has_a_default(void **state)
{
    struct fixture *f = *state;
    struct llem_value *devices = NULL;
    int64_t t_ns = 0;

    assert_int_equal(llem_engine_no_errors(NULL, &f->a)->count, 0);
    assert_int_equal(llem_engine_cpu_device(NULL, &f->a, &devices, &f->err), LLEM_OK);
    assert_string_equal(llem_str_at(devices, "0.kind", ""), "cpu");
    assert_int_equal(llem_engine_host_sync(NULL, &t_ns, &f->err), LLEM_OK);
    assert_true(t_ns > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(our_engines_are_found),
        TEST(an_engine_without_worker_says_what_is_missing),
        TEST(an_engine_of_others_is_found_like_ours),
        TEST(the_folder_itself_may_be_in_the_path),
        TEST(the_users_data_directory_is_looked_at),
        TEST(the_first_folder_of_a_name_wins),
        TEST(a_broken_engine_yaml_is_told_and_does_no_harm),
        TEST(without_data_the_settings_still_load),
        TEST(what_an_engine_need_not_provide_has_a_default),
    };

    return cmocka_run_group_tests_name("engine registry", tests, NULL, NULL);
}
