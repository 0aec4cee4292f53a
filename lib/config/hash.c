/* SPDX-License-Identifier: MIT
 *
 * Hashes of configurations, taken of the canonical dump of the seeds' fields. A row that is not
 * among them is left out while it holds its default, so that adding rows does not change older
 * hashes.
 */
#include "lib/config/internal.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

/* One section as `"key": value, ...` without its braces, into b, in the order of its keys. What the
 * tree shares with the schema is copied as text. */
struct writer {
    const struct llem_schema *schema;
    struct llem_buf *b;
    struct llem_arena *a;
    enum llem_json_style style;
    const char *comma, *colon;
};

/* A tree read back from JSON has whole numbers where a row says real. */
static const struct llem_value *canonical(struct writer *w, const struct llem_row *row,
                                          const struct llem_value *v)
{
    if (row && row->type == LLEM_TYPE_REAL && v->kind == LLEM_INT)
        return llem_real(w->a, (double)v->i);
    return v;
}

static void add_key(struct writer *w, const char *key)
{
    struct llem_value name = { .kind = LLEM_STRING, .s = key, .len = strlen(key) };

    llem_json_dump(w->b, &name, w->style);
    llem_buf_adds(w->b, w->colon);
}

static int compare_text(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;

    return strcmp(*a, *b);
}

/* Keys of the map that are no rows, in order; ends with NULL. */
static const char **extra_keys(struct writer *w, const struct llem__node *section,
                               const struct llem_value *map)
{
    const char **extra = NULL;
    size_t n = 0, known = 0;

    /* Of a complete map the rows come first. */
    while (known < map->count && known < section->count &&
           map->keys[known] == section->children[known]->key)
        known++;
    for (size_t i = known; i < map->count; i++) {
        bool row = false;

        for (size_t k = 0; k < section->count && !row; k++)
            row = strcmp(section->children[k]->key, map->keys[i]) == 0;
        if (row)
            continue;
        if (!extra)
            extra = llem_arena_calloc(w->a, map->count + 1, sizeof(*extra));
        if (!extra)
            return NULL;
        extra[n++] = map->keys[i];
    }
    if (n)
        qsort(extra, n, sizeof(*extra), compare_text);
    return extra;
}

static void section_body(struct writer *w, const struct llem__node *section,
                         const struct llem_value *map, const char *but);

static void entry(struct writer *w, const struct llem__node *n, const struct llem_value *v,
                  size_t start)
{
    bool ours = n->row->flags & LLEM_ROW_OURS;
    size_t before = w->b->len;

    if (n->row->type == LLEM_TYPE_SECTION && v->kind == LLEM_MAP) {
        if (before > start)
            llem_buf_adds(w->b, w->comma);
        add_key(w, n->key);
        llem_buf_addc(w->b, '{');
        size_t inside = w->b->len;
        section_body(w, n, v, NULL);
        if (ours && w->b->len == inside && !w->b->failed) {
            w->b->len = before;
            w->b->data[before] = '\0';
            return;
        }
        llem_buf_addc(w->b, '}');
        return;
    }
    v = canonical(w, n->row, v);
    if (ours && (v == n->def || llem_equal(v, n->def)))
        return;
    if (before > start)
        llem_buf_adds(w->b, w->comma);
    if (v == n->def) {
        const struct llem__text *text = w->style == LLEM_JSON_PYTHON ? &n->python : &n->canon;
        llem_buf_add(w->b, text->s, text->len);
        return;
    }
    add_key(w, n->key);
    llem_json_dump(w->b, v, w->style);
}

/* but: a key that is left out, or NULL */
static void section_body(struct writer *w, const struct llem__node *section,
                         const struct llem_value *map, const char *but)
{
    const char **extra = extra_keys(w, section, map);
    size_t start = w->b->len;

    for (size_t i = 0; i < section->count || (extra && *extra);) {
        const struct llem__node *n = i < section->count ? section->sorted[i] : NULL;
        const struct llem_value *v;

        if (extra && *extra && (!n || strcmp(*extra, n->key) < 0)) {
            if (w->b->len > start)
                llem_buf_adds(w->b, w->comma);
            add_key(w, *extra);
            llem_json_dump(w->b, llem_get(map, *extra), w->style);
            extra++;
            continue;
        }
        i++;
        v = but && strcmp(n->key, but) == 0 ? NULL : llem__node_value(n, map);
        if (v)
            entry(w, n, v, start);
    }
}

static void add_config(struct writer *w, const struct llem_value *tree)
{
    llem_buf_addc(w->b, '{');
    section_body(w, w->schema->top, tree, NULL);
    llem_buf_addc(w->b, '}');
}

static void first16(char hex16[17], const char hex64[65])
{
    memcpy(hex16, hex64, 16);
    hex16[hex64[0] ? 16 : 0] = '\0';
}

static void hash_of(const struct writer *w, char hex[65])
{
    hex[0] = '\0';
    if (!w->b->failed && !w->a->oom)
        llem_sha256_of(w->b->data, w->b->len, hex);
}

#define WRITER(s, buf, arena, python)                                                              \
    {                                                                                              \
        .schema = (s), .b = (buf), .a = (arena),                                                   \
        .style = (python) ? LLEM_JSON_PYTHON : LLEM_JSON_CANON, .comma = (python) ? ", " : ",",    \
        .colon = (python) ? ": " : ":",                                                            \
    }

void llem_config_canonical(const struct llem_schema *s, const struct llem_value *tree,
                           struct llem_buf *b)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct writer w = WRITER(s, b, &a, true);

    add_config(&w, tree);
    b->failed = b->failed || a.oom;
    llem_arena_done(&a);
}

static void effect(struct writer *w, const struct llem__node *section, const struct llem_value *map,
                   const char *above)
{
    const char **extra = extra_keys(w, section, map);

    for (size_t i = 0; i < section->count; i++) {
        const struct llem__node *n = section->children[i];
        const struct llem_value *v = llem__node_value(n, map);

        if (!v || v == n->def)
            continue;
        if (n->row->type == LLEM_TYPE_SECTION && v->kind == LLEM_MAP) {
            effect(w, n, v, n->row->path);
            continue;
        }
        v = canonical(w, n->row, v);
        if (llem_equal(v, n->def) || strcmp(n->row->path, "sampling_preset") == 0)
            continue;
        llem_buf_adds(w->b, n->row->path);
        llem_buf_addc(w->b, '=');
        llem_json_dump(w->b, v, w->style);
        llem_buf_addc(w->b, '\n');
    }
    for (; extra && *extra; extra++) {
        llem_buf_addf(w->b, "%s.%s=", above, *extra);
        llem_json_dump(w->b, llem_get(map, *extra), w->style);
        llem_buf_addc(w->b, '\n');
    }
}

void llem_config_effect(const struct llem_schema *s, const struct llem_value *tree,
                        struct llem_buf *b)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct writer w = WRITER(s, b, &a, false);

    effect(&w, s->top, tree, "");
    b->failed = b->failed || a.oom;
    llem_arena_done(&a);
}

void llem_config_hash(const struct llem_schema *s, const struct llem_value *tree, char hex16[17])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(256 << 20);
    struct writer w = WRITER(s, &b, &a, true);
    char hex[65];

    add_config(&w, tree);
    hash_of(&w, hex);
    first16(hex16, hex);
    llem_buf_done(&b);
    llem_arena_done(&a);
}

void llem_study_design_hash(const struct llem_schema *s, const struct llem_value *const *trees,
                            size_t count, char hex16[17])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(256 << 20);
    struct writer w = WRITER(s, &b, &a, true);
    char hex[65];

    llem_buf_addc(&b, '[');
    for (size_t i = 0; i < count; i++) {
        llem_buf_adds(&b, i ? w.comma : "");
        add_config(&w, trees[i]);
    }
    llem_buf_addc(&b, ']');
    hash_of(&w, hex);
    first16(hex16, hex);
    llem_buf_done(&b);
    llem_arena_done(&a);
}

/* A section of the view, {} where the configuration has none. */
static void view_section(struct writer *w, const char *name, const struct llem__node *n,
                         const struct llem_value *v, const char *but)
{
    if (name) {
        llem_buf_adds(w->b, w->comma);
        add_key(w, name);
    }
    llem_buf_addc(w->b, '{');
    if (n && v && v->kind == LLEM_MAP)
        section_body(w, n, v, but);
    llem_buf_addc(w->b, '}');
}

void llem_config_resolved_hash(const struct llem_schema *s, const struct llem_value *tree,
                               char hex64[65])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(256 << 20);
    struct writer w = WRITER(s, &b, &a, false);
    const struct llem_value *engine = llem_get(tree, "engine"), *passthrough;
    const char *name = llem_str_at(tree, "engine", "transformers");
    const struct llem__node *n = llem__schema_node(s, name), *sampling = NULL;
    const struct llem_value *section = llem_get(tree, name), *lora = llem_get(tree, "lora");

    for (size_t i = 0; n && i < n->count; i++)
        if (strcmp(n->children[i]->key, "sampling") == 0)
            sampling = n->children[i];
    /* In the order of the keys. */
    llem_buf_adds(&b, "{\"engine\":");
    llem_json_dump(&b, engine ? engine : llem_string(&a, name), w.style);
    if (lora && lora->kind == LLEM_MAP)
        view_section(&w, "lora", llem__schema_node(s, "lora"), lora, NULL);
    else
        llem_buf_adds(&b, ",\"lora\":null");
    view_section(&w, "observed_engine_params", n, section, "sampling");
    view_section(&w, "observed_sampling_params", sampling, llem_get(section, "sampling"), NULL);
    passthrough = llem_get(tree, "passthrough_kwargs");
    llem_buf_adds(&b, ",\"passthrough_kwargs\":");
    llem_json_dump(&b, llem_is_null(passthrough) ? llem_map(&a) : passthrough, w.style);
    view_section(&w, "task", llem__schema_node(s, "task"), llem_get(tree, "task"), NULL);
    llem_buf_addc(&b, '}');
    hash_of(&w, hex64);
    llem_buf_done(&b);
    llem_arena_done(&a);
}
