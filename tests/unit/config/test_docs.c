/* SPDX-License-Identifier: MIT
 *
 * The tables of docs/configuration.md are those of the rows. LLEM_TEST_UPDATE=1 writes them anew.
 */
#include <math.h>

#include "lib/config/internal.h"
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

static void add_kind(struct llem_buf *b, const struct llem_row *row)
{
    static const char *const names[] = {
        [LLEM_TYPE_BOOL] = "true or false",
        [LLEM_TYPE_INT] = "whole number",
        [LLEM_TYPE_REAL] = "number",
        [LLEM_TYPE_STRING] = "text",
        [LLEM_TYPE_MAP] = "map",
        [LLEM_TYPE_LIST] = "list of text",
        [LLEM_TYPE_ANY] = "anything",
    };
    char number[32];

    if (row->type == LLEM_TYPE_ENUM || row->type == LLEM_TYPE_INT_ENUM) {
        for (const char *p = row->choices; *p; p++) {
            if (*p == '|')
                llem_buf_adds(b, ", ");
            else
                llem_buf_addc(b, *p);
        }
    } else {
        llem_buf_adds(b, names[row->type]);
    }
    if (row->type == LLEM_TYPE_INT || row->type == LLEM_TYPE_REAL) {
        if (isfinite(row->min)) {
            llem_format_f64(number, row->min, false);
            llem_buf_addf(b, " %s %s", row->flags & LLEM_ROW_MIN_OPEN ? ">" : "≥", number);
        }
        if (isfinite(row->max)) {
            llem_format_f64(number, row->max, false);
            llem_buf_addf(b, "%s %s %s", isfinite(row->min) ? " and" : "",
                          row->flags & LLEM_ROW_MAX_OPEN ? "<" : "≤", number);
        }
        if (row->unit)
            llem_buf_addf(b, " (%s)", row->unit);
    }
    if ((row->flags & LLEM_ROW_NULLABLE) && row->type != LLEM_TYPE_ANY)
        llem_buf_adds(b, ", null");
}

static void add_row(struct llem_buf *b, const struct llem_row *row)
{
    if (row->type == LLEM_TYPE_SECTION)
        return;
    llem_buf_addf(b, "| `%s`%s | ", row->path, row->flags & LLEM_ROW_OURS ? " +" : "");
    add_kind(b, row);
    if (row->def)
        llem_buf_addf(b, " | `%s`", row->def);
    else
        llem_buf_adds(b, row->flags & LLEM_ROW_REQUIRED ? " | required" : " | null");
    llem_buf_addf(b, " | %s |\n", row->help ? row->help : "");
}

static void add_rows(struct llem_buf *b, const struct llem_row *const *rows, size_t count,
                     const struct llem_schema *schema, const char *engine)
{
    llem_buf_adds(b, "| setting | type and range | default | |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const char *owner = NULL;
        for (size_t k = 0; schema && schema->engines[k]; k++) {
            size_t n = strlen(schema->engines[k]);
            if (strncmp(rows[i]->path, schema->engines[k], n) == 0 && rows[i]->path[n] == '.')
                owner = schema->engines[k];
        }
        if (engine ? owner && strcmp(owner, engine) == 0 : !owner)
            add_row(b, rows[i]);
    }
}

static void add_table(struct fixture *f, struct llem_buf *b, const char *name)
{
    const struct llem_row *const *rows;
    const struct llem_schema *schema;
    struct llem_schema *user = NULL;
    size_t count;

    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    if (strcmp(name, "variables") == 0) {
        llem_buf_adds(b, "| variable | sets | |\n| --- | --- | --- |\n");
        for (const struct llem_variable *v = llem_variables; v->name; v++)
            llem_buf_addf(b, "| `%s` | %s%s%s | %s |\n", v->name, v->row ? "`" : "",
                          v->row ? v->row : "", v->row ? "`" : "", v->help);
    } else if (strcmp(name, "presets") == 0) {
        static const char *const presets[] = { "deterministic", "standard", "creative", "factual" };
        llem_buf_adds(b, "| preset | `<engine>.sampling` |\n| --- | --- |\n");
        for (size_t i = 0; i < LLEM_COUNT(presets); i++)
            llem_buf_addf(b, "| `%s` | `%s` |\n", presets[i], llem__preset(presets[i]));
    } else if (strcmp(name, "user") == 0 || strcmp(name, "study") == 0) {
        assert_int_equal(
            llem__schema_of(&user, strcmp(name, "user") == 0 ? llem__user_rows : llem_study_rows,
                            &f->err),
            LLEM_OK);
        rows = llem_schema_rows(user, &count);
        add_rows(b, rows, count, NULL, NULL);
        llem_schema_free(user);
    } else {
        rows = llem_schema_rows(schema, &count);
        add_rows(b, rows, count, schema, strcmp(name, "settings") == 0 ? NULL : name);
    }
}

static void the_tables_of_the_page_are_those_of_the_rows(void **state)
{
    struct fixture *f = *state;
    struct llem_buf page = LLEM_BUF_INIT(1 << 20), want = LLEM_BUF_INIT(1 << 20);
    static const char begin[] = "<!-- table: ", end[] = "<!-- end -->";
    char path[512];
    const char *p, *mark;
    int tables = 0;

    snprintf(path, sizeof(path), "%s/docs/configuration.md", source_dir());
    assert_int_equal(llem_file_read(&page, path, &f->err), LLEM_OK);
    for (p = page.data; (mark = strstr(p, begin)); tables++) {
        const char *line_end = strchr(mark, '\n'), *stop;
        char name[64];
        assert_non_null(line_end);
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(mark + strlen(begin), " "),
                 mark + strlen(begin));
        llem_buf_add(&want, p, (size_t)(line_end + 1 - p));
        add_table(f, &want, name);
        stop = strstr(line_end, end);
        assert_non_null(stop);
        p = stop;
    }
    llem_buf_adds(&want, p);
    assert_int_equal(tables, 9);
    if (getenv("LLEM_TEST_UPDATE"))
        assert_int_equal(llem_file_write(path, want.data, want.len, &f->err), LLEM_OK);
    else
        assert_string_equal(page.data, want.data);
    llem_buf_done(&page);
    llem_buf_done(&want);
}

static void the_json_schema_is_the_one_of_the_rows(void **state)
{
    struct fixture *f = *state;
    struct llem_buf have = LLEM_BUF_INIT(1 << 20);
    char path[512], *want = NULL;

    snprintf(path, sizeof(path), "%s/docs/schemas/experiment-file.schema.json", source_dir());
    assert_int_equal(llem_config_schema(&want, f->ctx, &f->err), LLEM_OK);
    if (getenv("LLEM_TEST_UPDATE"))
        assert_int_equal(llem_file_write(path, want, strlen(want), &f->err), LLEM_OK);
    assert_int_equal(llem_file_read(&have, path, &f->err), LLEM_OK);
    assert_string_equal(have.data, want);
    /* The engine for tests is nobody's business. */
    assert_null(strstr(want, "prompt_latency_ms"));
    free(want);
    llem_buf_done(&have);
}

static void the_example_of_the_page_loads(void **state)
{
    struct fixture *f = *state;
    struct llem_buf page = LLEM_BUF_INIT(1 << 20), yaml = LLEM_BUF_INIT(1 << 16);
    char path[512];
    const char *p;

    snprintf(path, sizeof(path), "%s/docs/configuration.md", source_dir());
    assert_int_equal(llem_file_read(&page, path, &f->err), LLEM_OK);
    p = strstr(page.data, "    task:\n");
    assert_non_null(p);
    while (strncmp(p, "    ", 4) == 0) {
        size_t len = strcspn(p, "\n") + 1;
        llem_buf_add(&yaml, p + 4, len - 4);
        p += len;
    }
    must_load(f, load(f, put(f, "example.yaml", yaml.data), "task.max_output_tokens=64", NULL));
    assert_setting(f, "cpu.batch_size", "4");
    llem_buf_done(&page);
    llem_buf_done(&yaml);
}

static void the_study_of_the_page_expands(void **state)
{
    struct fixture *f = *state;
    struct llem_buf page = LLEM_BUF_INIT(1 << 20), yaml = LLEM_BUF_INIT(1 << 16);
    const struct llem_schema *schema;
    struct llem_sweep *s;
    char path[512];
    const char *p;

    snprintf(path, sizeof(path), "%s/docs/configuration.md", source_dir());
    assert_int_equal(llem_file_read(&page, path, &f->err), LLEM_OK);
    p = strstr(page.data, "    study_name:");
    assert_non_null(p);
    while (strncmp(p, "    ", 4) == 0) {
        size_t len = strcspn(p, "\n") + 1;
        llem_buf_add(&yaml, p + 4, len - 4);
        p += len;
    }
    put(f, "common.yaml", "task: {random_seed: 7}\n");
    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    if (llem_sweep_load(&s, f->ctx, schema,
                        &(struct llem_config_source){ .path = put(f, "study.yaml", yaml.data) },
                        NULL, 0, &f->err) < 0)
        fail_msg("refused: %s", f->err.msg);
    /* 3 alternatives, 2 types, 2 lengths; 2 types, 2 lengths; one explicit. */
    assert_int_equal(s->count, 3 * 2 * 2 + 2 * 2 + 1);
    for (size_t i = 0; i < s->count; i++) {
        const char *errors;
        const struct llem_value *tree = llem_sweep_cell(s, i, &f->a, &errors);

        if (errors)
            fail_msg("%s", errors);
        assert_int_equal(llem_int_at(tree, "task.random_seed", 0), 7);
    }
    llem_sweep_free(s);
    llem_buf_done(&page);
    llem_buf_done(&yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_tables_of_the_page_are_those_of_the_rows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_json_schema_is_the_one_of_the_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(the_example_of_the_page_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(the_study_of_the_page_expands, setup, teardown),
    };

    return cmocka_run_group_tests_name("docs", tests, NULL, NULL);
}
