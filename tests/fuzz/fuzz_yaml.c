/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a configuration of any bytes is parsed as YAML and as JSON, checked against the rows
 * of an engine that is itself read from the input's first document, completed and hashed.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config/internal.h"

static const char engine_yaml[] =
    "- {path: ., type: section, open: true}\n"
    "- {path: batch_size, type: int, default: 1, min: 1}\n"
    "- {path: dtype, type: enum, choices: [float32, bfloat16]}\n"
    "- {path: block, type: enum, choices: [8, 16]}\n"
    "- {path: memory, type: map}\n"
    "- {path: names, type: list}\n"
    "- {path: sampling.temperature, type: real, min: 0, max: 2, max_open: true}\n";

static void check(const struct llem_schema *schema, const struct llem_value *tree)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem__diags diags = { .a = &a };
    struct llem__check c = { .schema = schema, .a = &a, .diags = &diags };
    struct llem_value *checked;
    char hex[65];

    if (tree->kind == LLEM_MAP) {
        checked = llem__check_layer(&c, tree);
        llem__check_cross(&c, checked);
        llem_config_hash(schema, checked, hex);
        llem_config_resolved_hash(schema, checked, hex);
    }
    (void)llem__diags_text(&diags);
    (void)llem__diags_error(&diags, NULL);
    llem_arena_done(&a);
}

/* As llem_equal, for numbers that are none too. */
static bool same(const struct llem_value *x, const struct llem_value *y)
{
    bool ok = x->kind == y->kind;

    if (ok && x->kind == LLEM_REAL && isnan(x->d))
        return isnan(y->d);
    if (!ok || (x->kind != LLEM_LIST && x->kind != LLEM_MAP))
        return ok && llem_equal(x, y);
    ok = x->count == y->count;
    for (size_t i = 0; ok && i < x->count; i++)
        ok = same(x->items[i], y->items[i]) &&
             (x->kind == LLEM_LIST || strcmp(x->keys[i], y->keys[i]) == 0);
    return ok;
}

/* What is written is read as what was written, and again as the same bytes. */
static void write_and_read(const struct llem_value *tree, const char *text)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf first = LLEM_BUF_INIT(64 << 20), second = LLEM_BUF_INIT(64 << 20);
    struct llem_value *again = NULL;
    size_t kept, at_end;
    llem_error err = { 0 };

    llem__yaml_dump(&first, &a, tree, text, &kept, &at_end);
    if (!first.failed && first.len < LLEM__YAML_MAX_BYTES) {
        if (llem_yaml_parse(&a, &again, first.data, first.len, "written", &err) < 0 ||
            !same(tree, again)) {
            fprintf(stderr, "%s\n%s\n", err.msg, first.data);
            abort();
        }
        llem__yaml_dump(&second, &a, again, first.data, &kept, &at_end);
        if (strcmp(first.data, second.data) != 0 && !*text)
            abort();
    }
    llem_buf_done(&first);
    llem_buf_done(&second);
    llem_arena_done(&a);
}

static void as_rows(const struct llem_value *tree)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_row *rows;
    llem_error err;

    (void)llem_rows_from_value(&rows, tree, "fuzz", &a, &err);
    llem_arena_done(&a);
}

/* libfyaml 0.7.12 loses a buffer over a quoted scalar of a hundred doubled quotes. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena a = LLEM_ARENA_INIT, rows_arena = LLEM_ARENA_INIT;
    struct llem_value *options = NULL, *tree = NULL;
    const struct llem_row *rows = NULL;
    struct llem_schema *schema = NULL;
    struct llem_engine_rows engine = { .name = "fuzz" };
    llem_error err;
    char *text = NULL;

    if (llem_yaml_parse(&rows_arena, &options, engine_yaml, sizeof(engine_yaml) - 1, "rows", &err) <
            0 ||
        llem_rows_from_value(&rows, options, "fuzz", &rows_arena, &err) < 0)
        goto done;
    engine.rows = rows;
    if (llem_schema_new(&schema, &engine, 1, &err) < 0)
        goto done;
    text = memchr(data, '\0', size) ? NULL : malloc(size + 1);
    if (text) {
        memcpy(text, data, size);
        text[size] = '\0';
    }
    for (int json = 0; json < 2; json++) {
        if (llem__yaml_read(&a, &tree, NULL, (const char *)data, size, "fuzz", json, &err) ==
            LLEM_OK) {
            check(schema, tree);
            as_rows(tree);
            write_and_read(tree, "");
            if (text)
                write_and_read(tree, text);
        }
    }
    if (size < 4096 && text)
        (void)llem_yaml_scalar(&a, text);

done:
    free(text);
    llem_schema_free(schema);
    llem_arena_done(&rows_arena);
    llem_arena_done(&a);
    return 0;
}
