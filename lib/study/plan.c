/* SPDX-License-Identifier: MIT
 *
 * From a sweep to a plan: check and digest every cell, group those that do the same, order the
 * runs.
 */
#include "lib/study/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/random.h"
#include "lib/engine/registry.h"
#include "lib/study/estimate.h"
#include "lib/study/study.h"

/* ---- order ---------------------------------------------------------------------------------- */

/* Row i of a Williams square: 0, 1, n-1, 2, n-2, ... from i on. For odd n each order of two
 * neighbours is balanced only with the rows' mirror images, so they follow. */
static void latin_row(uint32_t *out, uint32_t n, uint32_t pass)
{
    uint32_t row = n % 2 ? pass % (2 * n) : pass % n, i = row % n;

    for (uint32_t j = 0; j < n; j++) {
        uint32_t step = j % 2 ? (j + 1) / 2 : n - j / 2;
        uint32_t at = row < n ? j : n - 1 - j;

        out[at] = (i + (j ? step : 0)) % n;
    }
}

void llem_cycle_order(uint32_t *out, const char *order, uint32_t n, uint32_t cycles, int64_t seed)
{
    struct llem_mt19937 r;

    if (strcmp(order, "shuffle") == 0)
        llem_mt19937_init(&r, seed);
    for (uint32_t c = 0; c < cycles; c++) {
        for (uint32_t i = 0; i < n; i++) {
            size_t at = (size_t)c * n + i;

            if (strcmp(order, "sequential") == 0)
                out[at] = (uint32_t)(at / cycles);
            else
                out[at] = strcmp(order, "reverse") == 0 && c % 2 ? n - 1 - i : i;
        }
        if (strcmp(order, "shuffle") == 0)
            llem_mt19937_shuffle(&r, out + (size_t)c * n, n);
        else if (strcmp(order, "latin_square") == 0)
            latin_row(out + (size_t)c * n, n, c);
    }
}

/* ---- groups --------------------------------------------------------------------------------- */

/* Groups by the digests of their members, whose bytes are as good as random: open addressing. */
struct table {
    uint32_t *slots; /* group + 1; 0 = free */
    size_t mask;
};

static void table_init(struct table *t, struct llem_plan *p)
{
    t->mask = 15;
    while (t->mask < 2 * p->sweep->count)
        t->mask = 2 * t->mask + 1;
    t->slots = llem_arena_calloc(&p->arena, t->mask + 1, sizeof(*t->slots));
    p->groups = llem_arena_calloc(&p->arena, p->sweep->count + 1, sizeof(*p->groups));
}

/* Puts the cell into its group; true if it is the first there. */
static bool first_of_group(const struct table *t, struct llem_plan *p, uint32_t index)
{
    struct llem_planned *cell = &p->cells[index];
    uint32_t *slot;
    size_t at;

    memcpy(&at, cell->effect, sizeof(at));
    for (;; at++) {
        slot = &t->slots[at & t->mask];
        if (*slot == 0 ||
            memcmp(p->cells[p->groups[*slot - 1].first].effect, cell->effect, 32) == 0)
            break;
    }
    if (*slot == 0) {
        p->groups[p->n_groups].first = index;
        *slot = (uint32_t)++p->n_groups;
    }
    cell->group = *slot - 1;
    return ++p->groups[cell->group].count == 1;
}

/* ---- cells ---------------------------------------------------------------------------------- */

static void unhex(uint8_t *out, const char *hex, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)((strchr(digits, hex[2 * i]) - digits) << 4 |
                           (strchr(digits, hex[2 * i + 1]) - digits));
}

/* Reasons repeat from cell to cell; each is kept once in a row. */
static const char *keep_errors(struct llem_plan *p, const char *errors, const char *before)
{
    return before && strcmp(before, errors) == 0 ? before : llem_arena_strdup(&p->arena, errors);
}

/* A rule that holds in so many cells, for the log. */
struct told {
    const struct llem_rule *rule;
    size_t count;
    struct told *next;
};

/* Rules that warn; of a single experiment, those too that tell of settings without effect. */
static void note_rules(struct llem_plan *p, struct told **told, size_t index,
                       const struct llem_value *tree)
{
    const struct llem_rules *rules = llem_sweep_rules(p->sweep, index);

    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct llem_rule *rule = &rules->rules[i];
        struct told *t = *told;

        if (rule->severity == LLEM_RULE_ERROR ||
            (rule->severity == LLEM_RULE_DORMANT && p->sweep->count > 1) ||
            !llem_rule_holds(rule, tree, NULL))
            continue;
        while (t && t->rule != rule)
            t = t->next;
        if (!t && (t = llem_arena_alloc(&p->arena, sizeof(*t)))) {
            *t = (struct told){ .rule = rule, .next = *told };
            *told = t;
        }
        if (t)
            t->count++;
    }
}

static void tell_rules(const struct llem_plan *p, const struct told *told)
{
    for (const struct told *t = told; t; t = t->next) {
        char many[64] = "";

        if (p->sweep->count > 1)
            snprintf(many, sizeof(many), "; %zu of %zu experiments", t->count, p->sweep->count);
        llem_log(p->sweep->ctx,
                 t->rule->severity == LLEM_RULE_WARN ? LLEM_LOG_WARNING : LLEM_LOG_INFO, "config",
                 "%s (rule %s%s)", t->rule->message, t->rule->id, many);
    }
}

/* study_design_hash is taken of what runs, in the order declared. */
static void look_at_cells(struct llem_plan *p)
{
    struct llem_sweep *s = p->sweep;
    struct llem_buf text = LLEM_BUF_INIT(64 << 20), effect = LLEM_BUF_INIT(64 << 20);
    struct llem_sha256 design;
    struct told *told = NULL;
    struct table table;
    const char *last = NULL;
    char hex[65];

    table_init(&table, p);
    llem_sha256_init(&design);
    llem_sha256_add(&design, "[", 1);
    for (uint32_t i = 0; i < s->count && !p->arena.oom; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_planned *cell = &p->cells[i];
        const char *errors = NULL;
        const struct llem_value *tree = llem_sweep_cell(s, i, &a, &errors);

        if (errors) {
            cell->errors = last = keep_errors(p, errors, last);
            p->n_invalid++;
        } else if (tree) {
            note_rules(p, &told, i, tree);
            llem_buf_clear(&text);
            llem_config_canonical(s->schema, tree, &text);
            llem_sha256_of(text.data, text.len, hex);
            memcpy(cell->hash, hex, 16);
            llem_buf_clear(&effect);
            if (llem_sweep_rules(s, i))
                tree = llem_rules_settle(llem_sweep_rules(s, i), s->schema, &a, tree);
            llem_config_effect(s->schema, tree, &effect);
            llem_sha256_of(effect.data, effect.len, hex);
            unhex(cell->effect, hex, sizeof(cell->effect));
            p->n_valid++;
            if (first_of_group(&table, p, i) || !p->deduplicate) {
                llem_sha256_add(&design, ", ", p->n_chosen ? 2 : 0);
                llem_sha256_add(&design, text.data, text.len);
                p->n_chosen++;
            }
        }
        if (!tree || text.failed || effect.failed)
            p->arena.oom = true;
        llem_arena_done(&a);
    }
    llem_sha256_add(&design, "]", 1);
    llem_sha256_hex(&design, hex);
    memcpy(p->design_hash, hex, 16);
    tell_rules(p, told);
    llem_buf_done(&text);
    llem_buf_done(&effect);
}

static llem_errcode nothing_valid(const struct llem_plan *p, llem_error *err)
{
    enum { SHOWN = 5 };
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *last = NULL;
    int n = 0;

    if (p->sweep->count == 1) {
        llem_fail(err, LLEM_ECONFIG, "%s", p->cells[0].errors);
        goto done;
    }
    for (size_t i = 0; i < p->sweep->count && n < SHOWN; i++) {
        if (last == p->cells[i].errors)
            continue;
        last = p->cells[i].errors;
        llem_buf_addf(&b, "\n%s", last);
        n++;
    }
    llem_fail(err, LLEM_ECONFIG, "there is nothing to run: all %zu experiments are invalid%s",
              p->sweep->count, b.data);
done:
    llem_buf_done(&b);
    return LLEM_ECONFIG;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void order_runs(struct llem_plan *p)
{
    const struct llem_value *study = p->sweep->study;
    const struct llem_value *given = llem_at(study, "study_execution.shuffle_seed");
    const char *name = llem_str_at(study, "study_execution.experiment_order", "sequential");
    uint32_t *chosen = llem_arena_calloc(&p->arena, p->n_chosen + 1, sizeof(*chosen)), *order;
    bool sequential = strcmp(name, "sequential") == 0;
    size_t n = 0;
    uint8_t low[4];
    int64_t seed;

    for (uint32_t i = 0; chosen && i < p->sweep->count; i++)
        if (!p->cells[i].errors && (!p->deduplicate || p->groups[p->cells[i].group].first == i))
            chosen[n++] = i;
    if (p->arena.oom)
        return;
    unhex(low, p->design_hash + 8, sizeof(low));
    seed = llem_is_null(given) ? (int64_t)low[0] << 24 | low[1] << 16 | low[2] << 8 | low[3]
                               : given->i;
    p->n_runs = n * p->n_cycles;
    order = llem_arena_calloc(&p->arena, p->n_runs + 1, sizeof(*order));
    p->runs = llem_arena_calloc(&p->arena, p->n_runs + 1, sizeof(*p->runs));
    if (p->arena.oom)
        return;
    llem_cycle_order(order, name, (uint32_t)n, (uint32_t)p->n_cycles, seed);
    for (size_t i = 0; i < p->n_runs; i++)
        p->runs[i] = (struct llem_plan_run){
            .cell = chosen[order[i]],
            .cycle = (uint32_t)(sequential ? i % p->n_cycles : i / n),
        };
}

/* A pause of the study, or what the user's configuration says of it. */
static double gap_s(const struct llem_plan *p, const char *path, const char *user_path)
{
    const struct llem_value *user = NULL, *own = llem_at(p->sweep->study, path);

    if (!llem_is_null(own))
        return llem_real_at(p->sweep->study, path, 0);
    if (llem_user_config(p->sweep->ctx, &user, NULL) < 0)
        return 0;
    return llem_real_at(user, user_path, 0);
}

/* A cycle ends where its last experiment does; in sequential order there is none to end. */
static void add_pauses(struct llem_plan *p)
{
    p->experiment_gap_s =
        gap_s(p, "study_execution.experiment_gap_seconds", "execution.experiment_gap_seconds");
    p->cycle_gap_s = gap_s(p, "study_execution.cycle_gap_seconds", "execution.cycle_gap_seconds");
    for (size_t i = 1; i < p->n_runs; i++)
        p->pauses_s += llem_plan_gap_s(p, i - 1, i);
}

double llem_plan_gap_s(const struct llem_plan *p, size_t before, size_t run)
{
    bool sequential =
        strcmp(llem_str_at(p->sweep->study, "study_execution.experiment_order", "sequential"),
               "sequential") == 0;

    /* Where both fall together, the longer one is waited. */
    if (!sequential && p->runs[run].cycle != p->runs[before].cycle)
        return fmax(p->cycle_gap_s, p->experiment_gap_s);
    return p->experiment_gap_s;
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* An engine says in its engine.yaml what it does where nothing of sampling is set. */
static bool greedy_when_unset(llem_ctx *ctx, const char *engine)
{
    const struct llem_engine_info *info = NULL;
    const struct llem_value *list;

    if (llem_engine_find(&info, ctx, engine, NULL) < 0 || !info)
        return false;
    list = llem_get(info->yaml, "capabilities");
    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind == LLEM_STRING &&
            strcmp(list->items[i]->s, "greedy_when_unset") == 0)
            return true;
    return false;
}

static bool sampling_unset(const struct llem_value *tree, const char *engine)
{
    const struct llem_value *sampling = llem_get(llem_get(tree, engine), "sampling");

    for (size_t i = 0; sampling && sampling->kind == LLEM_MAP && i < sampling->count; i++)
        if (!llem_is_null(sampling->items[i]))
            return false;
    return true;
}

static bool among(const struct llem_value *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i]->s, name) == 0)
            return true;
    return false;
}

/* Engines of one study that may decode differently, because nobody says how: a sentence each. */
static void add_warnings(struct llem_plan *p)
{
    struct llem_arena *a = &p->arena;
    struct llem_value *engines = llem_list(a), *unsure = llem_list(a);

    p->warnings = llem_list(a);
    for (size_t i = 0; i < p->sweep->count && !a->oom; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        const char *errors, *engine;
        const struct llem_value *tree;

        /* The cells of a block have one engine. */
        if (p->cells[i].errors)
            continue;
        engine = llem_sweep_engine(p->sweep, i);
        if (!among(engines, engine))
            llem_append(a, engines, llem_string(a, engine));
        if (a->oom || among(unsure, engine) || greedy_when_unset(p->sweep->ctx, engine))
            continue;
        tree = llem_sweep_cell(p->sweep, i, &own, &errors);
        if (tree && sampling_unset(tree, engine))
            llem_append(a, unsure, llem_string(a, engine));
        llem_arena_done(&own);
    }
    for (size_t i = 0; engines->count > 1 && i < unsure->count && !a->oom; i++)
        llem_append(
            a, p->warnings,
            llem_stringf(a,
                         "%s does not say how it decodes where its sampling is unset, so it "
                         "may generate other tokens than the other engines of this study; "
                         "set its sampling (a temperature of 0 is greedy, as the others "
                         "are when unset)",
                         unsure->items[i]->s));
}

llem_errcode llem_plan_make(struct llem_plan **out, struct llem_sweep *sweep, llem_error *err)
{
    enum { MAX_RUNS = 10000000 };
    struct llem_plan *p = calloc(1, sizeof(*p));
    llem_errcode rc = LLEM_OK;
    int64_t cycles = llem_int_at(sweep->study, "study_execution.n_cycles", 1);

    if (!p) {
        llem_sweep_free(sweep);
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a plan");
    }
    p->sweep = sweep;
    p->deduplicate = llem_bool_at(sweep->study, "study_execution.deduplicate_equivalent", true);
    if ((double)cycles * (double)sweep->count > MAX_RUNS) {
        rc = llem_fail(err, LLEM_ECONFIG,
                       "%zu experiments in %lld cycles are more than %d runs; sweep fewer "
                       "values, or repeat them less often",
                       sweep->count, (long long)cycles, MAX_RUNS);
        goto done;
    }
    p->n_cycles = (size_t)cycles;
    p->cells = llem_arena_calloc(&p->arena, sweep->count + 1, sizeof(*p->cells));
    if (p->cells)
        look_at_cells(p);
    if (!p->arena.oom && p->n_valid == 0) {
        rc = nothing_valid(p, err);
        goto done;
    }
    if (!p->arena.oom)
        order_runs(p);
    if (!p->arena.oom)
        add_pauses(p);
    if (!p->arena.oom)
        add_warnings(p);
    if (p->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a plan");
done:
    if (rc < 0)
        llem_plan_free(p);
    else
        *out = p;
    return rc;
}

void llem_plan_free(struct llem_plan *p)
{
    if (!p)
        return;
    llem_sweep_free(p->sweep);
    llem_arena_done(&p->arena);
    free(p);
}

static llem_errcode plan_from(llem_plan **out, llem_ctx *ctx,
                              const struct llem_config_source *source, const llem_setting *settings,
                              size_t count, llem_error *err)
{
    const struct llem_schema *schema;
    struct llem_sweep *sweep;
    llem_errcode rc = llem_ctx_schema(ctx, &schema, err);

    if (rc == LLEM_OK)
        rc = llem_sweep_load(&sweep, ctx, schema, source, settings, count, err);
    return rc < 0 ? rc : llem_plan_make(out, sweep, err);
}

llem_errcode llem_plan_study(llem_plan **out, llem_ctx *ctx, const char *path,
                             const llem_setting *settings, size_t count, llem_error *err)
{
    const struct llem_config_source source = { .path = path };

    return plan_from(out, ctx, &source, settings, count, err);
}

llem_errcode llem_plan_from_json(llem_plan **out, llem_ctx *ctx, const char *text, size_t len,
                                 const char *name, const llem_setting *settings, size_t count,
                                 llem_error *err)
{
    const struct llem_config_source source = { .path = name, .text = text, .len = len };

    return plan_from(out, ctx, &source, settings, count, err);
}

llem_errcode llem_plan_of_config(struct llem_plan **out, llem_ctx *ctx,
                                 const struct llem_config *config, bool quick, llem_error *err)
{
    struct llem_sweep *sweep;
    llem_errcode rc = llem_sweep_of_config(&sweep, ctx, config, quick, err);

    return rc < 0 ? rc : llem_plan_make(out, sweep, err);
}

/* The settings as they were given, in the arena. */
static llem_setting *settings_of(const struct llem_value *list, struct llem_arena *a, size_t *count)
{
    llem_setting *out;

    *count = list && list->kind == LLEM_LIST ? list->count : 0;
    out = llem_arena_calloc(a, *count + 1, sizeof(*out));
    for (size_t i = 0; out && i < *count; i++) {
        const struct llem_value *v = list->items[i];

        out[i] = (llem_setting){ .path = llem_str_at(v, "path", ""),
                                 .value = llem_str_at(v, "value", ""),
                                 .origin = llem_str_at(v, "origin", NULL),
                                 .literal = llem_bool_at(v, "literal", false),
                                 .weak = llem_bool_at(v, "weak", false),
                                 .axis = llem_bool_at(v, "axis", false) };
    }
    return out;
}

llem_errcode llem_plan_resume(llem_plan **out, llem_ctx *ctx, const char *dir, const char *results,
                              char **found, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *user = NULL, *source;
    struct llem_value *plan = NULL;
    llem_setting *settings;
    const char *path;
    size_t count;
    llem_errcode rc = LLEM_OK;

    if (!dir && !results && (rc = llem_user_config(ctx, &user, err)) == LLEM_OK)
        results = llem_str_at(user, "output.results_dir", "./results");
    if (rc == LLEM_OK && !dir) {
        dir = llem_study_newest(&a, results, NULL, err);
        rc = dir ? LLEM_OK : LLEM_ESTUDY;
    }
    if (rc == LLEM_OK) {
        path = llem_path_join(&a, dir, "plan.json");
        rc = llem_json_load(&a, &plan, path ? path : "", 1 << 30, err);
        if (rc < 0) {
            llem_hint(err, rc, "A study's directory holds plan.json.");
            rc = LLEM_ESTUDY;
        }
    }
    source = llem_get(plan, "source");
    settings = settings_of(llem_get(source, "settings"), &a, &count);
    if (rc == LLEM_OK && !count && llem_is_null(llem_get(source, "path")) &&
        llem_is_null(llem_get(source, "text")))
        rc = llem_fail(err, LLEM_ESTUDY, "'%s/plan.json' does not say what it was made of", dir);
    if (rc == LLEM_OK && a.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a plan");
    if (err && rc < 0)
        err->code = rc;
    if (rc == LLEM_OK) {
        const char *text = llem_str_at(source, "text", NULL);

        path = llem_str_at(source, "path", NULL);
        rc = plan_from(out, ctx,
                       &(struct llem_config_source){
                           .path = path, .text = text, .len = text ? strlen(text) : 0 },
                       settings, count, err);
    }
    if (rc == LLEM_OK && found && !(*found = strdup(dir))) {
        llem_plan_free(*out);
        *out = NULL;
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a plan");
    }
    llem_arena_done(&a);
    return rc;
}

/* ---- as JSON -------------------------------------------------------------------------------- */

char *llem_plan_run_dir(const struct llem_plan *p, size_t run, struct llem_arena *a)
{
    const struct llem_plan_run *r = &p->runs[run];
    const char *errors;
    const struct llem_value *tree = llem_sweep_cell(p->sweep, r->cell, a, &errors);
    char slug[128];

    if (!tree)
        return NULL;
    llem_slug(slug, sizeof(slug), llem_str_at(tree, "task.model", "model"));
    return llem_arena_printf(a, "%03zu_c%u_%s-%s_%.8s", run + 1, r->cycle + 1, slug,
                             llem_str_at(tree, "engine", "transformers"), p->cells[r->cell].hash);
}

static struct llem_value *experiment_json(const struct llem_plan *p, size_t i,
                                          const struct llem_value *tree, struct llem_arena *a)
{
    const struct llem_planned *cell = &p->cells[i];
    size_t first = p->groups[cell->group].first;
    struct llem_value *v = llem_map(a);
    char resolved[65];

    llem_config_resolved_hash(p->sweep->schema, tree, resolved);
    llem_set(a, v, "number", llem_int(a, (int64_t)i + 1));
    llem_set(a, v, "engine", llem_string(a, llem_str_at(tree, "engine", "transformers")));
    llem_set(a, v, "model", llem_string(a, llem_str_at(tree, "task.model", "")));
    llem_set(a, v, "differs_by", llem_string(a, llem_sweep_label(p->sweep, i, a)));
    llem_set(a, v, "settings", llem_copy(a, llem_sweep_settings(p->sweep, i, a)));
    llem_set(a, v, "measurement_config_hash", llem_string(a, cell->hash));
    llem_set(a, v, "resolved_config_hash", llem_string(a, resolved));
    llem_set(a, v, "same_as", first == i ? llem_null(a) : llem_int(a, (int64_t)first + 1));
    return v;
}

static struct llem_value *counts_json(const struct llem_plan *p, struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "declared", llem_int(a, (int64_t)p->sweep->count));
    llem_set(a, v, "invalid", llem_int(a, (int64_t)p->n_invalid));
    llem_set(a, v, "merged", llem_int(a, (int64_t)(p->n_valid - p->n_chosen)));
    llem_set(a, v, "experiments", llem_int(a, (int64_t)p->n_chosen));
    llem_set(a, v, "cycles", llem_int(a, (int64_t)p->n_cycles));
    llem_set(a, v, "runs", llem_int(a, (int64_t)p->n_runs));
    return v;
}

struct llem_value *llem_plan_document(const struct llem_plan *p, const char *const *dirs,
                                      struct llem_arena *a)
{
    struct llem_value *v = llem_map(a), *experiments = llem_list(a), *skipped = llem_list(a);
    struct llem_value *runs = llem_list(a);

    llem_set(a, v, "version", llem_int(a, LLEM_PLAN_VERSION));
    llem_set(a, v, "study_name", llem_copy(a, llem_get(p->sweep->output, "study_name")));
    llem_set(a, v, "study_design_hash", llem_string(a, p->design_hash));
    llem_set(a, v, "execution", llem_copy(a, llem_get(p->sweep->study, "study_execution")));
    llem_set(a, v, "runners", llem_copy(a, llem_get(p->sweep->study, "runners")));
    llem_set(a, v, "images", llem_copy(a, llem_get(p->sweep->study, "images")));
    llem_set(a, v, "counts", counts_json(p, a));
    llem_set(a, v, "pauses_s", llem_real(a, p->pauses_s));
    for (size_t i = 0; i < p->sweep->count && !a->oom; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        const char *errors;
        const struct llem_value *tree = llem_sweep_cell(p->sweep, i, &own, &errors);

        if (!tree) {
            a->oom = true;
        } else if (p->cells[i].errors) {
            struct llem_value *skip = llem_map(a);

            llem_set(a, skip, "number", llem_int(a, (int64_t)i + 1));
            llem_set(a, skip, "engine", llem_string(a, llem_str_at(tree, "engine", "?")));
            llem_set(a, skip, "differs_by", llem_string(a, llem_sweep_label(p->sweep, i, a)));
            llem_set(a, skip, "settings", llem_copy(a, llem_sweep_settings(p->sweep, i, a)));
            llem_set(a, skip, "reason", llem_string(a, p->cells[i].errors));
            llem_append(a, skipped, skip);
        } else {
            llem_append(a, experiments, experiment_json(p, i, tree, a));
        }
        llem_arena_done(&own);
    }
    for (size_t i = 0; i < p->n_runs && !a->oom; i++) {
        struct llem_arena own = LLEM_ARENA_INIT;
        struct llem_value *run = llem_map(a);
        const char *dir = dirs ? dirs[i] : llem_plan_run_dir(p, i, &own);

        llem_set(a, run, "dir", llem_string(a, dir));
        llem_set(a, run, "experiment", llem_int(a, (int64_t)p->runs[i].cell + 1));
        llem_set(a, run, "cycle", llem_int(a, (int64_t)p->runs[i].cycle + 1));
        llem_append(a, runs, run);
        a->oom = a->oom || own.oom;
        llem_arena_done(&own);
    }
    llem_set(a, v, "warnings", llem_copy(a, p->warnings));
    llem_set(a, v, "axes", llem_sweep_axes(p->sweep, a));
    llem_set(a, v, "experiments", experiments);
    llem_set(a, v, "skipped", skipped);
    llem_set(a, v, "runs", runs);
    return v;
}

size_t llem_plan_runs(const llem_plan *p)
{
    return p->n_runs;
}

int llem_plan_is_study(const llem_plan *p)
{
    return p->sweep->is_study;
}

char *llem_plan_config(const llem_plan *p, size_t run)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(64 << 20);
    const char *errors;
    const struct llem_value *tree = llem_sweep_cell(p->sweep, p->runs[run].cell, &a, &errors);
    char *json;

    if (tree)
        llem_json_dump(&text, tree, LLEM_JSON_PRETTY);
    json = tree ? llem_buf_take(&text) : NULL;
    llem_buf_done(&text);
    llem_arena_done(&a);
    return json;
}

char *llem_plan_json(const llem_plan *p)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(SIZE_MAX / 2);
    struct llem_value *document;
    char *json;

    document = llem_plan_document(p, NULL, &a);
    if (!a.oom)
        llem_plan_estimate(p, document, &a);
    llem_json_dump(&text, document, LLEM_JSON_PRETTY);
    json = a.oom ? NULL : llem_buf_take(&text);
    llem_buf_done(&text);
    llem_arena_done(&a);
    return json;
}

char *llem_plan_groups(const llem_plan *p)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(SIZE_MAX / 2);
    const struct llem_value *document = llem_equivalence_groups(p, &a);
    char *json;

    llem_json_dump(&text, document, LLEM_JSON_PRETTY);
    json = a.oom ? NULL : llem_buf_take(&text);
    llem_buf_done(&text);
    llem_arena_done(&a);
    return json;
}

llem_errcode llem_plan_experiment(llem_config **out, const llem_plan *p, size_t number,
                                  llem_error *err)
{
    llem_config *config;
    llem_errcode rc;

    if (number < 1 || number > p->sweep->count || p->cells[number - 1].errors)
        return llem_fail(err, LLEM_ENOTFOUND, "the plan has no valid experiment %zu", number);
    config = calloc(1, sizeof(*config));
    if (!config)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for a configuration");
    rc = llem_sweep_config(p->sweep, number - 1, config, err);
    if (rc < 0)
        llem_config_free(config);
    else
        *out = config;
    return rc;
}
