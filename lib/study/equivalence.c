/* SPDX-License-Identifier: MIT
 *
 * equivalence_groups.json: which experiments of a study were taken for the same before anything
 * ran, and which turned out to be the same by what their engines really used. Experiments that
 * collide although no rule says so prove that a rule is missing.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/internal.h"
#include "lib/study/plan.h"
#include "lib/study/study.h"

enum { MAX_DOCUMENT = 1 << 30, MAX_CONFIG = 16 << 20 };

static const char file_name[] = "equivalence_groups.json";

/* ---- before --------------------------------------------------------------------------------- */

/* What people tell a group by. */
static struct llem_value *excerpt(const struct llem_value *tree, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);
    const char *engine = llem_str_at(tree, "engine", "transformers");
    const struct llem_value *sampling = llem_get(llem_get(tree, engine), "sampling");

    llem_set(a, v, "engine", llem_string(a, engine));
    llem_set(a, v, "task.model", llem_string(a, llem_str_at(tree, "task.model", "")));
    for (size_t i = 0; sampling && sampling->kind == LLEM_MAP && i < sampling->count; i++) {
        const char *path = llem_arena_printf(a, "%s.sampling.%s", engine, sampling->keys[i]);

        if (path && !llem_is_null(sampling->items[i]))
            llem_set(a, v, path, llem_copy(a, sampling->items[i]));
    }
    return v;
}

/* A group without its members, told by its first. */
static struct llem_value *group_of(const struct llem_plan *p, size_t g, struct llem_arena *a)
{
    struct llem_arena own = LLEM_ARENA_INIT;
    struct llem_value *v = llem_map(a);
    uint32_t first = p->groups[g].first;
    const struct llem_rules *rules = llem_sweep_rules(p->sweep, first);
    const char *errors;
    const struct llem_value *tree = llem_sweep_cell(p->sweep, first, &own, &errors), *settled;
    char hash[65] = "";

    settled = tree && rules ? llem_rules_settle(rules, p->sweep->schema, &own, tree) : tree;
    if (settled && !own.oom) {
        llem_config_resolved_hash(p->sweep->schema, settled, hash);
        llem_set(a, v, "resolved_config_hash", llem_string(a, hash));
        llem_set(a, v, "canonical_config_excerpt", excerpt(settled, a));
        llem_set(a, v, "member_experiment_ids", llem_list(a));
        llem_set(a, v, "members", llem_list(a));
        llem_set(a, v, "member_count", llem_int(a, p->groups[g].count));
        llem_set(a, v, "representative_experiment_id", llem_string(a, p->cells[first].hash));
        llem_set(a, v, "representative", llem_int(a, (int64_t)first + 1));
        llem_set(a, v, "would_dedup", llem_bool(a, p->groups[g].count > 1));
        llem_set(a, v, "deduplicated", llem_bool(a, p->deduplicate && p->groups[g].count > 1));
    }
    a->oom = a->oom || own.oom || !*hash;
    llem_arena_done(&own);
    return v;
}

/* "cpu 1f0c..., vllm 77ab...": each engine's rules by their content. */
static void rules_version(const struct llem_plan *p, struct llem_buf *out)
{
    const struct llem_schema *s = p->sweep->schema;

    for (size_t i = 0; s->engines[i]; i++) {
        struct llem_buf text = LLEM_BUF_INIT(LLEM__YAML_MAX_BYTES);
        bool runs = false;
        char hex[65];

        for (size_t g = 0; !runs && g < p->n_groups; g++)
            runs = strcmp(llem_sweep_engine(p->sweep, p->groups[g].first), s->engines[i]) == 0;
        if (runs && s->rules[i] && llem_file_read(&text, s->rules[i], NULL) == LLEM_OK) {
            llem_sha256_of(text.data, text.len, hex);
            llem_buf_addf(out, "%s%s %.16s", out->len ? ", " : "", s->engines[i], hex);
        }
        llem_buf_done(&text);
    }
}

struct llem_value *llem_equivalence_groups(const struct llem_plan *p, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a), *groups = llem_list(a);
    struct llem_buf version = LLEM_BUF_INIT(1 << 16);

    rules_version(p, &version);
    llem_set(a, v, "version", llem_int(a, 1));
    llem_set(a, v, "study_id", llem_string(a, p->design_hash));
    llem_set(a, v, "dedup_mode", llem_string(a, p->deduplicate ? "resolved" : "off"));
    llem_set(a, v, "vendored_rules_version", llem_string(a, version.data));
    llem_buf_done(&version);
    for (size_t g = 0; g < p->n_groups && !a->oom; g++)
        llem_append(a, groups, group_of(p, g, a));
    for (size_t i = 0; i < p->sweep->count && !a->oom; i++) {
        struct llem_value *group, *member;

        if (p->cells[i].errors)
            continue;
        group = groups->items[p->cells[i].group];
        member = llem_map(a);
        llem_set(a, member, "experiment", llem_int(a, (int64_t)i + 1));
        llem_set(a, member, "measurement_config_hash", llem_string(a, p->cells[i].hash));
        llem_set(a, member, "differs_by", llem_string(a, llem_sweep_label(p->sweep, i, a)));
        llem_append(a, llem_get(group, "members"), member);
        llem_append(a, llem_get(group, "member_experiment_ids"), llem_string(a, p->cells[i].hash));
    }
    llem_set(a, v, "groups", groups);
    llem_set(a, v, "observed_collision_groups", llem_null(a)); /* not looked at yet */
    return v;
}

llem_errcode llem_equivalence_write(const struct llem_plan *p, const char *dir, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_equivalence_groups(p, &a);
    const char *path = llem_path_join(&a, dir, file_name);
    llem_errcode rc;

    if (a.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for %s", file_name);
    else
        rc = llem_json_save(path, v, err);
    llem_arena_done(&a);
    return rc;
}

/* ---- after ---------------------------------------------------------------------------------- */

/* One run as its config.json tells it. */
struct seen {
    const char *engine, *version, *observed; /* together what makes runs the same */
    const char *resolved;                    /* of its group before, else its own */
    const char *id;
    size_t experiment; /* its number; 0 = not known */
    size_t order;      /* in the plan */
};

static int compare_seen(const void *x, const void *y)
{
    const struct seen *a = x, *b = y;
    int c = strcmp(a->engine, b->engine);

    c = c ? c : strcmp(a->version, b->version);
    c = c ? c : strcmp(a->observed, b->observed);
    return c ? c : a->order < b->order ? -1 : a->order > b->order;
}

static bool holds(const struct llem_value *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i]->s, text) == 0)
            return true;
    return false;
}

/* The hash of the group that each experiment, by its number, was in; entries may be NULL. */
static const char **resolved_before(const struct llem_value *doc, size_t n, struct llem_arena *a)
{
    const char **hashes = llem_arena_calloc(a, n + 1, sizeof(*hashes));
    const struct llem_value *groups = llem_get(doc, "groups");

    for (size_t g = 0; hashes && groups && groups->kind == LLEM_LIST && g < groups->count; g++) {
        const struct llem_value *members = llem_get(groups->items[g], "members");

        for (size_t i = 0; members && members->kind == LLEM_LIST && i < members->count; i++) {
            int64_t number = llem_int_at(members->items[i], "experiment", 0);

            if (number > 0 && (uint64_t)number <= n)
                hashes[number] = llem_str_at(groups->items[g], "resolved_config_hash", NULL);
        }
    }
    return hashes;
}

/* The settings in which experiments differ, by what the plan says of each. */
static void add_differences(struct llem_value *out, const struct llem_value **settings, size_t n,
                            struct llem_arena *a)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; settings[i] && k < settings[i]->count; k++) {
            const char *path = settings[i]->keys[k];
            bool differs = false;

            for (size_t j = 0; j < n; j++)
                differs =
                    differs || !llem_equal(llem_get(settings[j], path), settings[i]->items[k]);
            if (differs && !holds(out, path))
                llem_append(a, out, llem_string(a, path));
        }
    }
}

/* An id such as a rule has: "vllm_dormant_sampling_top_k". */
static struct llem_value *proposal(const char *engine, const char *path, struct llem_arena *a)
{
    size_t len = strlen(engine);
    char *id;

    if (strncmp(path, engine, len) == 0 && path[len] == '.')
        path += len + 1;
    id = llem_arena_printf(a, "%s_dormant_%s", engine, path);
    for (char *c = id; c && *c; c++)
        if (*c == '.')
            *c = '_';
    return llem_string(a, id);
}

/* Runs s[0..n) collided: those of one experiment in several cycles do so always. */
static void add_collision(struct llem_value *out, const struct seen *s, size_t n,
                          const struct llem_value *experiments, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a), *hashes = llem_list(a), *ids = llem_list(a);
    struct llem_value *numbers = llem_list(a), *differs = llem_list(a);
    const struct llem_value **settings = llem_arena_calloc(a, n + 1, sizeof(*settings));
    bool several = false;

    for (size_t i = 1; i < n; i++)
        several = several || s[i].experiment != s[0].experiment || !s[i].experiment;
    if (!several || !settings)
        return;
    for (size_t i = 0; i < n && !a->oom; i++) {
        struct llem_value *number = llem_int(a, (int64_t)s[i].experiment);
        bool again = false;

        if (!holds(hashes, s[i].resolved))
            llem_append(a, hashes, llem_string(a, s[i].resolved));
        llem_append(a, ids, llem_string(a, s[i].id));
        for (size_t k = 0; k < numbers->count; k++)
            again = again || llem_equal(numbers->items[k], number);
        if (!again && s[i].experiment) {
            settings[numbers->count] =
                s[i].experiment <= experiments->count
                    ? llem_get(experiments->items[s[i].experiment - 1], "settings")
                    : NULL;
            llem_append(a, numbers, number);
        }
    }
    add_differences(differs, settings, numbers->count, a);
    llem_set(a, v, "observed_config_hash", llem_string(a, s->observed));
    llem_set(a, v, "engine", llem_string(a, s->engine));
    llem_set(a, v, "library_version", *s->version ? llem_string(a, s->version) : llem_null(a));
    llem_set(a, v, "member_resolved_config_hashes", hashes);
    llem_set(a, v, "member_experiment_ids", ids);
    llem_set(a, v, "experiments", numbers);
    llem_set(a, v, "differs_in", differs);
    llem_set(a, v, "gap_detected", llem_bool(a, hashes->count > 1));
    llem_set(a, v, "proposed_rule_id",
             hashes->count > 1 && differs->count == 1 ? proposal(s->engine, differs->items[0]->s, a)
                                                      : llem_null(a));
    llem_append(a, out, v);
}

/* Experiments by their numbers; a hole is an empty map. */
static struct llem_value *by_number(const struct llem_value *plan, struct llem_arena *a)
{
    const struct llem_value *list = llem_get(plan, "experiments");
    struct llem_value *out = llem_list(a), *none = llem_map(a);

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count && !a->oom; i++) {
        int64_t number = llem_int_at(list->items[i], "number", 0);

        while (number > 0 && number <= LLEM_SWEEP_MAX_CELLS && (int64_t)out->count < number &&
               !a->oom)
            llem_append(a, out, none);
        if (number > 0 && number <= (int64_t)out->count)
            out->items[number - 1] = list->items[i];
    }
    return out;
}

void llem_equivalence_collisions(struct llem_value *doc, const struct llem_value *plan,
                                 const struct llem_value *const *configs, size_t n,
                                 struct llem_arena *a)
{
    const struct llem_value *runs = llem_get(plan, "runs");
    struct llem_value *experiments = by_number(plan, a), *out = llem_list(a);
    const char **before = resolved_before(doc, experiments->count, a);
    struct seen *seen = llem_arena_calloc(a, n + 1, sizeof(*seen));
    size_t count = 0;

    for (size_t i = 0; seen && before && i < n; i++) {
        struct seen *s = &seen[count];
        int64_t number = runs && i < runs->count ? llem_int_at(runs->items[i], "experiment", 0) : 0;

        s->observed = llem_str_at(configs[i], "observed_config_hash", NULL);
        if (!s->observed)
            continue;
        s->engine = llem_str_at(configs[i], "engine", "");
        s->version = llem_str_at(configs[i], "library_version", "");
        s->id = llem_str_at(configs[i], "experiment_id", "");
        s->experiment = number > 0 && number <= (int64_t)experiments->count ? (size_t)number : 0;
        s->resolved = before[s->experiment] ? before[s->experiment]
                                            : llem_str_at(configs[i], "resolved_config_hash", "");
        s->order = i;
        count++;
    }
    if (a->oom)
        return;
    qsort(seen, count, sizeof(*seen), compare_seen);
    for (size_t i = 0, k; i < count; i = k) {
        for (k = i + 1; k < count && strcmp(seen[i].engine, seen[k].engine) == 0 &&
                        strcmp(seen[i].version, seen[k].version) == 0 &&
                        strcmp(seen[i].observed, seen[k].observed) == 0;
             k++)
            ;
        add_collision(out, &seen[i], k - i, experiments, a);
    }
    llem_set(a, doc, "observed_collision_groups", out);
}

/* The few keys of a run's config.json that are looked at; NULL: it has none. */
static const struct llem_value *read_config(const char *path, struct llem_arena *a)
{
    static const char *const keys[] = { "experiment_id", "engine", "library_version",
                                        "observed_config_hash", "resolved_config_hash" };
    struct llem_arena own = LLEM_ARENA_INIT;
    struct llem_value *v = NULL, *out = NULL;

    if (llem_json_load(&own, &v, path, MAX_CONFIG, NULL) == LLEM_OK) {
        out = llem_map(a);
        for (size_t i = 0; i < LLEM_COUNT(keys); i++)
            if (llem_get(v, keys[i]))
                llem_set(a, out, keys[i], llem_copy(a, llem_get(v, keys[i])));
    }
    llem_arena_done(&own);
    return out;
}

llem_errcode llem_equivalence_observe(const char *dir, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *doc = NULL, *plan = NULL;
    const char *path = llem_path_join(&a, dir, file_name),
               *plan_path = llem_path_join(&a, dir, "plan.json");
    const struct llem_value **configs, *runs;
    llem_errcode rc = LLEM_OK;

    if (a.oom)
        goto no_memory;
    rc = llem_json_load(&a, &doc, path, MAX_DOCUMENT, err);
    if (rc == LLEM_OK)
        rc = llem_json_load(&a, &plan, plan_path, MAX_DOCUMENT, err);
    if (rc < 0)
        goto done;
    runs = llem_get(plan, "runs");
    if (!runs || runs->kind != LLEM_LIST || doc->kind != LLEM_MAP) {
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' is no plan of a study: it has no list of runs",
                       plan_path);
        goto done;
    }
    configs = llem_arena_calloc(&a, runs->count + 1, sizeof(*configs));
    for (size_t i = 0; configs && i < runs->count && !a.oom; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        const char *name = llem_str_at(runs->items[i], "dir", NULL);
        const char *run = name ? llem_path_join(&own, dir, name) : NULL;
        const char *config = run ? llem_path_join(&own, run, "config.json") : NULL;

        if (config)
            configs[i] = read_config(config, &a);
        llem_arena_done(&own);
    }
    if (!a.oom)
        llem_equivalence_collisions(doc, plan, configs, runs->count, &a);
    if (a.oom)
        goto no_memory;
    rc = llem_json_save(path, doc, err);
    goto done;

no_memory:
    rc = llem_fail(err, LLEM_ENOMEM, "out of memory for %s", file_name);

done:
    llem_arena_done(&a);
    return rc;
}
