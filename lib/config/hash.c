/* SPDX-License-Identifier: MIT
 *
 * Hashes of configurations, taken of the canonical dump of the seeds' fields. A row that is not
 * among them is left out while it holds its default, so that adding rows does not change older
 * hashes.
 */
#include "lib/config/internal.h"

#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

/* A tree read back from JSON has whole numbers where a row says real. */
static struct llem_value *canonical(const struct llem_row *row, const struct llem_value *v,
                                    struct llem_arena *a)
{
    if (row && row->type == LLEM_TYPE_REAL && v->kind == LLEM_INT)
        return llem_real(a, (double)v->i);
    return llem_copy(a, v);
}

static struct llem_value *hashed(const struct llem_schema *s, const char *path,
                                 const struct llem_value *map, struct llem_arena *a)
{
    struct llem_value *out = llem_map(a);

    for (size_t i = 0; i < map->count; i++) {
        const char *p = *path ? llem_arena_printf(a, "%s.%s", path, map->keys[i]) : map->keys[i];
        const struct llem_row *row = p ? llem_schema_find(s, p) : NULL;
        struct llem_value *v;
        bool ours = row && (row->flags & LLEM_ROW_OURS);

        if (row && row->type == LLEM_TYPE_SECTION && map->items[i]->kind == LLEM_MAP) {
            v = hashed(s, p, map->items[i], a);
            if (ours && v->count == 0)
                continue;
        } else {
            v = canonical(row, map->items[i], a);
            if (ours && llem_equal(v, llem__row_default(row, a)))
                continue;
        }
        llem_set(a, out, map->keys[i], v);
        if (a->oom)
            return out;
    }
    return out;
}

static void hash_of(const struct llem_value *v, enum llem_json_style style,
                    const struct llem_arena *a, char hex[65])
{
    struct llem_buf b = LLEM_BUF_INIT(256 << 20);

    llem_json_dump(&b, v, style);
    hex[0] = '\0';
    if (!b.failed && !a->oom)
        llem_sha256_of(b.data, b.len, hex);
    llem_buf_done(&b);
}

static void first16(char hex16[17], const char hex64[65])
{
    memcpy(hex16, hex64, 16);
    hex16[hex64[0] ? 16 : 0] = '\0';
}

void llem_config_hash(const struct llem_schema *s, const struct llem_value *tree, char hex16[17])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char hex[65] = "";

    hash_of(hashed(s, "", tree, &a), LLEM_JSON_PYTHON, &a, hex);
    first16(hex16, hex);
    llem_arena_done(&a);
}

void llem_study_design_hash(const struct llem_schema *s, const struct llem_value *const *trees,
                            size_t count, char hex16[17])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *list = llem_list(&a);
    char hex[65] = "";

    for (size_t i = 0; i < count; i++)
        llem_append(&a, list, hashed(s, "", trees[i], &a));
    hash_of(list, LLEM_JSON_PYTHON, &a, hex);
    first16(hex16, hex);
    llem_arena_done(&a);
}

static struct llem_value *or_empty(struct llem_value *v, struct llem_arena *a)
{
    return llem_is_null(v) ? llem_map(a) : v;
}

void llem_config_resolved_hash(const struct llem_schema *s, const struct llem_value *tree,
                               char hex64[65])
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *all = hashed(s, "", tree, &a), *view = llem_map(&a), *section, *sampling;
    const char *engine = llem_str_at(all, "engine", "transformers");

    section = or_empty(llem_get(all, engine), &a);
    sampling = or_empty(llem_get(section, "sampling"), &a);
    llem_unset(section, "sampling");
    llem_set(&a, view, "engine", llem_string(&a, engine));
    llem_set(&a, view, "task", llem_copy(&a, or_empty(llem_get(all, "task"), &a)));
    llem_set(&a, view, "observed_engine_params", section);
    llem_set(&a, view, "observed_sampling_params", sampling);
    llem_set(&a, view, "lora",
             llem_get(all, "lora") ? llem_copy(&a, llem_get(all, "lora")) : llem_null(&a));
    llem_set(&a, view, "passthrough_kwargs", or_empty(llem_get(all, "passthrough_kwargs"), &a));
    hash_of(view, LLEM_JSON_CANON, &a, hex64);
    llem_arena_done(&a);
}
