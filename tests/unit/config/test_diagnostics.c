/* SPDX-License-Identifier: MIT
 *
 * Every file of tests/data/yaml is loaded and what is said about it compared with the .txt beside
 * it. LLEM_TEST_UPDATE=1 writes the .txt files anew; read the difference before committing it.
 */
#include <dirent.h>

#include "tests/unit/config/help.h"

struct result {
    struct fixture *f;
    int files, wrong;
};

static void check_file(struct result *r, const char *name)
{
    struct fixture *f = r->f;
    struct llem_buf want = LLEM_BUF_INIT(1 << 20), got = LLEM_BUF_INIT(1 << 20);
    char path[300];
    llem_errcode rc;

    snprintf(path, sizeof(path), "%.*s.txt", (int)(strrchr(name, '.') - name), name);
    rc = load(f, name, NULL);
    if (rc < 0)
        llem_buf_addf(&got, "%s\n", llem_config_errors(f->ctx));
    else
        llem_buf_addf(&got, "valid %s\n", llem_config_hash_hex(f->config));
    if (rc < 0)
        assert_int_equal(rc, LLEM_ECONFIG);
    if (getenv("LLEM_TEST_UPDATE")) {
        assert_int_equal(llem_file_write(path, got.data, got.len, NULL), LLEM_OK);
    } else if (llem_file_read(&want, path, NULL) < 0) {
        print_message("# %s: there is no %s\n", name, path);
        r->wrong++;
    } else if (strcmp(want.data, got.data) != 0) {
        print_message("# %s: expected\n%s# but got\n%s", name, want.data, got.data);
        r->wrong++;
    }
    r->files++;
    llem_buf_done(&want);
    llem_buf_done(&got);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void every_bad_file_is_answered_with_its_sentences(void **state)
{
    struct result r = { .f = *state };
    struct dirent **names;
    char dir[512];
    int n;

    snprintf(dir, sizeof(dir), "%s/tests/data/yaml", source_dir());
    assert_int_equal(chdir(dir), 0);
    n = scandir(".", &names, NULL, by_name);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        const char *dot = strrchr(names[i]->d_name, '.');
        if (names[i]->d_name[0] != '.' && dot &&
            (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".json") == 0))
            check_file(&r, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    assert_true(r.files >= 100);
    assert_int_equal(r.wrong, 0);
}

static void one_error_has_its_place_in_the_error(void **state)
{
    struct fixture *f = *state;
    const char *path = put(f, "one.yaml", "task:\n  model: gpt2\n  random_seed: x\n");

    assert_int_equal(load(f, path, NULL), LLEM_ECONFIG);
    assert_string_equal(f->err.file, path);
    assert_int_equal(f->err.line, 3);
    assert_int_equal(f->err.column, 16);
    assert_string_equal(f->err.msg, "task.random_seed must be a whole number, but is \"x\"");
}

static void several_errors_are_lines_and_none_is_lost(void **state)
{
    struct fixture *f = *state;
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *path, *p;
    int lines = 0;

    llem_buf_adds(&b, "task: {model: gpt2}\n");
    for (int i = 0; i < 50; i++)
        llem_buf_addf(&b, "nonsense_%d: 1\n", i);
    path = put(f, "many.yaml", b.data);
    llem_buf_done(&b);
    assert_int_equal(load(f, path, NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "more)");
    assert_int_equal(f->err.line, 0);
    for (p = llem_config_errors(f->ctx); p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        lines++;
    assert_int_equal(lines, 50);
}

static void errors_end_after_two_hundred(void **state)
{
    struct fixture *f = *state;
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    const char *path;

    for (int i = 0; i < 5000; i++)
        llem_buf_addf(&b, "nonsense_%d: 1\n", i);
    path = put(f, "many.yaml", b.data);
    llem_buf_done(&b);
    assert_int_equal(load(f, path, NULL), LLEM_ECONFIG);
    assert_contains(llem_config_errors(f->ctx), "more than 200 errors");
}

static void a_good_load_forgets_the_errors_of_the_last(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load(f, NULL, NULL), LLEM_ECONFIG);
    assert_contains(llem_config_errors(f->ctx), "there is nothing to run");
    must_load(f, load(f, NULL, "task.model=gpt2", NULL));
    assert_string_equal(llem_config_errors(f->ctx), "");
}

static void files_that_cannot_be_read_are_named(void **state)
{
    struct fixture *f = *state;
    struct llem_buf b = LLEM_BUF_INIT(8 << 20);
    const char *path;

    assert_int_equal(load(f, in_dir(f, "none.yaml"), NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "none.yaml");
    assert_int_equal(load(f, f->dir, NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "ends with .yaml, .yml or .json");
    assert_int_equal(load(f, "x.toml", NULL), LLEM_ECONFIG);
    assert_int_equal(mkdir(in_dir(f, "dir.yaml"), 0700), 0);
    assert_int_equal(load(f, in_dir(f, "dir.yaml"), NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "dir.yaml");
    llem_buf_adds(&b, "task: {model: gpt2}\n");
    while (b.len < 5 << 20)
        llem_buf_adds(&b, "# a comment that goes on and on and on and on and on and on\n");
    path = put(f, "large.yaml", b.data);
    llem_buf_done(&b);
    assert_int_equal(load(f, path, NULL), LLEM_ECONFIG);
    assert_contains(f->err.msg, "larger than 4 MiB");
}

static void assert_problem(struct fixture *f, size_t index, const char *path, int line,
                           const char *part)
{
    size_t count;
    const llem_config_problem *problems = llem_config_problems(f->ctx, &count);

    assert_true(index < count);
    assert_string_equal(problems[index].path, path);
    assert_int_equal(problems[index].line, line);
    assert_contains(problems[index].text, part);
}

static llem_errcode from_json(struct fixture *f, const char *text)
{
    return llem_config_from_json(&f->config, f->ctx, text, strlen(text), "object", NULL, 0,
                                 &f->err);
}

static void every_error_tells_its_setting(void **state)
{
    struct fixture *f = *state;
    size_t count;

    assert_int_equal(load(f,
                          put(f, "a.yaml",
                              "task:\n  model: gpt2\n  dataset: {n_prompts: 0, odd: 1}\n"
                              "engine: vllm\nvllm: {sampling: {temperature: 3}}\n"
                              "passthrough_kwargs: {a.b: 1, lora: {}}\nlora: {}\n"),
                          NULL),
                     LLEM_ECONFIG);
    (void)llem_config_problems(f->ctx, &count);
    assert_int_equal(count, 5);
    assert_problem(f, 0, "task.dataset.n_prompts", 3, "at least 1");
    assert_problem(f, 1, "task.dataset.odd", 3, "unknown key");
    assert_problem(f, 2, "vllm.sampling.temperature", 5, "between 0 and 2");
    assert_problem(f, 3, "passthrough_kwargs.lora", 6, "a setting of its own");
    assert_problem(f, 4, "lora", 7, "exactly one");
    must_load(f, load(f, put(f, "b.yaml", "task: {model: gpt2}\n"), NULL));
    assert_null(llem_config_problems(f->ctx, &count));
    assert_int_equal(count, 0);
}

static void settings_and_what_is_missing_tell_their_setting_too(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load(f, put(f, "a.yaml", "engine: cpu\n"), "cpu.batch_size=none", NULL),
                     LLEM_ECONFIG);
    assert_problem(f, 0, "task.model", 1, "missing");
    assert_problem(f, 1, "cpu.batch_size", 0, "whole number");
}

static void a_text_is_read_as_a_file_is(void **state)
{
    struct fixture *f = *state;
    char hash[17];

    must_load(f, load(f, put(f, "a.yaml", "task: {model: gpt2, random_seed: 7}\n"), NULL));
    snprintf(hash, sizeof(hash), "%s", llem_config_hash_hex(f->config));
    renew(f);
    must_load(f, from_json(f, "{\"task\": {\"model\": \"gpt2\", \"random_seed\": 7}}"));
    assert_string_equal(llem_config_hash_hex(f->config), hash);
    renew(f);
    assert_int_equal(from_json(f, "{\"task\": {\"model\": \"gpt2\"}, \"engin\": 1}"), LLEM_ECONFIG);
    assert_problem(f, 0, "engin", 0, "did you mean \"engine\"");
    assert_contains(f->err.msg, "object: unknown key");
    /* Words that only YAML reads are no JSON. */
    assert_int_equal(from_json(f, "{task: {model: gpt2}}"), LLEM_ECONFIG);
    assert_int_equal(from_json(f, "[]"), LLEM_ECONFIG);
    assert_problem(f, 0, "", 1, "must be a map");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_bad_file_is_answered_with_its_sentences, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_error_has_its_place_in_the_error, setup, teardown),
        cmocka_unit_test_setup_teardown(several_errors_are_lines_and_none_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_end_after_two_hundred, setup, teardown),
        cmocka_unit_test_setup_teardown(a_good_load_forgets_the_errors_of_the_last, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_read_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(every_error_tells_its_setting, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_and_what_is_missing_tell_their_setting_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_text_is_read_as_a_file_is, setup, teardown),
    };

    return cmocka_run_group_tests_name("diagnostics", tests, NULL, NULL);
}
