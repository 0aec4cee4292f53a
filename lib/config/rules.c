/* SPDX-License-Identifier: MIT
 *
 * An engine's rules.yaml: which of its settings have no effect, are a mistake or cannot run beside
 * others. Conditions are data (reference, section 6.2); each rule brings an example that triggers
 * it and one that does not, which the tests run.
 */
#include <string.h>

#include "lib/base/file.h"
#include "lib/config/internal.h"

enum { MAX_PASSES = 10, MAX_DEPTH = 8 };

enum op { EQ, NE, LT, LE, GT, GE, IN, NOT_IN, PRESENT, ABSENT, TYPE, NOT_TYPE, DIV, NOT_DIV };
static const struct {
    const char *name;
    enum op op;
} operators[] = {
    { "==", EQ },
    { "equals", EQ },
    { "!=", NE },
    { "not_equal", NE },
    { "<", LT },
    { "<=", LE },
    { ">", GT },
    { ">=", GE },
    { "in", IN },
    { "not_in", NOT_IN },
    { "present", PRESENT },
    { "absent", ABSENT },
    { "type_is", TYPE },
    { "type_is_not", NOT_TYPE },
    { "divisible_by", DIV },
    { "not_divisible_by", NOT_DIV },
};

/* One setting and what must be true of it. */
struct llem__predicate {
    const char *path;
    const struct llem__node *nodes[MAX_DEPTH]; /* to the setting from the top; none: an extra key */
    size_t depth;
    struct test {
        enum op op;
        const struct llem_value *operand;
        const char *other; /* the setting that is the operand instead; NULL = none */
    } * tests;
    size_t count;
};

/* ---- conditions ----------------------------------------------------------------------------- */

static const struct llem_value *value_at(const struct llem__predicate *p,
                                         const struct llem_value *tree)
{
    const struct llem_value *v = tree;

    if (!p->depth)
        return llem_at(tree, p->path);
    for (size_t i = 0; i < p->depth && v; i++)
        v = llem__node_value(p->nodes[i], v);
    return v;
}

static bool is_number(const struct llem_value *v)
{
    return v->kind == LLEM_INT || v->kind == LLEM_REAL || v->kind == LLEM_BOOL;
}

static double number(const struct llem_value *v)
{
    return v->kind == LLEM_INT ? (double)v->i : v->kind == LLEM_BOOL ? v->b : v->d;
}

/* As Python compares: 1, 1.0 and true are equal. */
static bool equal(const struct llem_value *a, const struct llem_value *b)
{
    if (llem_is_null(a) || llem_is_null(b))
        return llem_is_null(a) && llem_is_null(b);
    if (is_number(a) && is_number(b))
        return number(a) == number(b); /* NOLINT: exactly the same is meant */
    return llem_equal(a, b);
}

/* -1, 0, 1; 2 where there is no order. */
static int compare(const struct llem_value *a, const struct llem_value *b)
{
    if (llem_is_null(a) || llem_is_null(b) || !is_number(a) || !is_number(b))
        return 2;
    return number(a) < number(b) ? -1 : number(a) > number(b);
}

static bool listed(const struct llem_value *a, const struct llem_value *list)
{
    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (equal(a, list->items[i]))
            return true;
    return false;
}

static bool has_type(const struct llem_value *a, const struct llem_value *name)
{
    static const char *const names[] = {
        [LLEM_BOOL] = "bool",  [LLEM_INT] = "int",   [LLEM_REAL] = "float",
        [LLEM_STRING] = "str", [LLEM_LIST] = "list", [LLEM_MAP] = "map",
    };

    for (size_t i = 0; name && name->kind == LLEM_LIST && i < name->count; i++)
        if (has_type(a, name->items[i]))
            return true;
    return name && name->kind == LLEM_STRING && strcmp(names[a->kind], name->s) == 0;
}

static bool can_divide(const struct llem_value *a, const struct llem_value *b)
{
    return !llem_is_null(a) && !llem_is_null(b) && a->kind == LLEM_INT && b->kind == LLEM_INT &&
           b->i > 0;
}

static bool holds(enum op op, const struct llem_value *a, const struct llem_value *b)
{
    bool null = llem_is_null(a);

    switch (op) {
    case EQ:
        return equal(a, b);
    case NE:
        return !null && !llem_is_null(b) && !equal(a, b);
    case LT:
        return compare(a, b) == -1;
    case LE:
        return compare(a, b) == -1 || compare(a, b) == 0;
    case GT:
        return compare(a, b) == 1;
    case GE:
        return compare(a, b) == 1 || compare(a, b) == 0;
    case IN:
        return listed(a, b);
    case NOT_IN:
        return !null && !listed(a, b);
    case PRESENT:
        return !null;
    case ABSENT:
        return null;
    case TYPE:
        return !null && has_type(a, b);
    case NOT_TYPE:
        return !null && !has_type(a, b);
    case DIV:
        return can_divide(a, b) && a->i % b->i == 0;
    case NOT_DIV:
        return can_divide(a, b) && a->i % b->i != 0;
    }
    return false;
}

bool llem_rule_holds(const struct llem_rule *rule, const struct llem_value *tree,
                     const struct llem_value **about)
{
    for (size_t i = 0; i < rule->n_match; i++) {
        const struct llem__predicate *p = &rule->match[i];
        const struct llem_value *v = value_at(p, tree);

        for (size_t k = 0; k < p->count; k++) {
            const struct test *t = &p->tests[k];

            if (!holds(t->op, v, t->other ? llem_at(tree, t->other) : t->operand))
                return false;
        }
        if (about)
            *about = v;
    }
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void find_nodes(struct llem__predicate *p, const struct llem_schema *s, struct llem_arena *a)
{
    const char *end = p->path;

    do {
        end += strcspn(end, ".");
        const char *prefix = llem_arena_strndup(a, p->path, (size_t)(end - p->path));
        const struct llem__node *n = prefix ? llem__schema_node(s, prefix) : NULL;

        if (!n || p->depth == MAX_DEPTH) {
            p->depth = 0;
            return;
        }
        p->nodes[p->depth++] = n;
    } while (*end++);
}

/* `@name` is the setting beside the predicate's own, `@a.b` one from the top. */
static const char *other_setting(struct llem_arena *a, const char *path, const char *name)
{
    const char *dot = strrchr(path, '.');

    if (strchr(name, '.') || !dot)
        return llem_arena_strdup(a, name);
    return llem_arena_printf(a, "%.*s.%s", (int)(dot - path), path, name);
}

static llem_errcode read_test(struct test *t, const char *path, const char *name,
                              const struct llem_value *operand, struct llem_arena *a,
                              llem_error *err)
{
    size_t i;

    for (i = 0; i < LLEM_COUNT(operators) && strcmp(operators[i].name, name) != 0; i++)
        ;
    if (i == LLEM_COUNT(operators))
        return llem__bad_value(err, operand, "the condition on %s has no operator \"%s\"", path,
                               name);
    t->op = operators[i].op;
    t->operand = operand;
    if (operand->kind == LLEM_STRING && operand->s[0] == '@')
        t->other = other_setting(a, path, operand->s + 1);
    else if ((t->op == IN || t->op == NOT_IN) && operand->kind != LLEM_LIST)
        return llem__bad_value(err, operand, "%s on %s needs a list", name, path);
    return LLEM_OK;
}

static llem_errcode read_match(struct llem_rule *rule, const struct llem_value *match,
                               const struct llem_schema *s, struct llem_arena *a, llem_error *err)
{
    struct llem__predicate *list = llem_arena_calloc(a, match->count + 1, sizeof(*list));

    rule->match = list;
    for (size_t i = 0; list && i < match->count; i++) {
        struct llem__predicate *p = &list[rule->n_match++];
        const struct llem_value *v = match->items[i];
        size_t count = v->kind == LLEM_MAP ? v->count : 1;

        p->path = match->keys[i];
        find_nodes(p, s, a);
        if (count == 0)
            return llem__bad_value(err, v, "the condition on %s is empty", p->path);
        p->tests = llem_arena_calloc(a, count, sizeof(*p->tests));
        for (; p->tests && p->count < count; p->count++) {
            llem_errcode rc = v->kind == LLEM_MAP
                                  ? read_test(&p->tests[p->count], p->path, v->keys[p->count],
                                              v->items[p->count], a, err)
                                  : read_test(&p->tests[p->count], p->path, "==", v, a, err);
            if (rc < 0)
                return rc;
        }
    }
    return LLEM_OK;
}

static bool is_map(const struct llem_value *v)
{
    return v && v->kind == LLEM_MAP && v->count > 0;
}

/* The texts of a list, ending with NULL; NULL: it is none, or there is no memory. */
static const char *const *texts(const struct llem_value *list, struct llem_arena *a)
{
    const char **out = llem_arena_calloc(a, (list ? list->count : 0) + 1, sizeof(*out));

    for (size_t i = 0; out && list && list->kind == LLEM_LIST && i < list->count; i++) {
        if (list->items[i]->kind != LLEM_STRING)
            return NULL;
        out[i] = list->items[i]->s;
    }
    return list && list->kind != LLEM_LIST ? NULL : out;
}

static llem_errcode read_rule(struct llem_rule *rule, const struct llem_value *v,
                              const struct llem_schema *s, struct llem_arena *a, llem_error *err)
{
    static const char *const keys[] = { "id",    "severity", "match",  "resets", "message",
                                        "emits", "triggers", "spares", NULL };
    static const char *const severities[] = { "dormant", "warn", "error" };
    const struct llem_value *match = llem_get(v, "match"), *resets = llem_get(v, "resets"),
                            *emits = llem_get(v, "emits");
    size_t severity = 0;

    if (v->kind != LLEM_MAP)
        return llem__bad_value(err, v, "a rule must be a map");
    for (size_t i = 0; i < v->count; i++) {
        const char *near = llem_nearest(v->keys[i], keys);

        if (!near || strcmp(near, v->keys[i]) != 0)
            return llem__bad_value(err, v->items[i], "unknown key \"%s\" of a rule%s%s%s",
                                   v->keys[i], near ? "; did you mean \"" : "", near ? near : "",
                                   near ? "\"?" : "");
    }
    rule->id = llem_str_at(v, "id", NULL);
    rule->message = llem_str_at(v, "message", NULL);
    rule->triggers = llem_get(v, "triggers");
    rule->spares = llem_get(v, "spares");
    while (severity < LLEM_COUNT(severities) &&
           strcmp(severities[severity], llem_str_at(v, "severity", "")) != 0)
        severity++;
    rule->severity = (enum llem_severity)severity;
    if (!rule->id || !rule->message || !is_map(match) || severity == LLEM_COUNT(severities))
        return llem__bad_value(
            err, v,
            "a rule needs an id, a severity (dormant, warn or error), a match of "
            "settings and a message");
    if (!is_map(rule->triggers) || !is_map(rule->spares))
        return llem__bad_value(
            err, v, "the rule %s needs examples: settings under triggers and spares", rule->id);
    if ((rule->severity == LLEM_RULE_DORMANT) != (resets && resets->kind == LLEM_LIST))
        return llem__bad_value(
            err, v, "the rule %s: a dormant rule, and no other, has a list of resets", rule->id);
    rule->resets = texts(resets, a);
    rule->emits = texts(emits, a);
    if (!rule->resets || !rule->emits)
        return a->oom ? LLEM_OK
                      : llem__bad_value(err, rule->resets ? emits : resets,
                                        "the %s of rule %s must be a list of text",
                                        rule->resets ? "emits" : "resets", rule->id);
    return read_match(rule, match, s, a, err);
}

llem_errcode llem_rules_load(struct llem_rules *out, struct llem_arena *a,
                             const struct llem_schema *s, const char *engine, llem_error *err)
{
    const char *path = NULL;
    struct llem_value *root = NULL, *list;
    struct llem_rule *rules;
    llem_errcode rc;

    *out = (struct llem_rules){ 0 };
    for (size_t i = 0; s->engines[i]; i++)
        if (strcmp(s->engines[i], engine) == 0)
            path = s->rules[i];
    if (!path || !llem_path_exists(path))
        return LLEM_OK;
    rc = llem_yaml_load(a, &root, path, err);
    if (rc < 0)
        return rc;
    list = llem_get(root, "rules");
    if (llem_int_at(root, "version", 0) != 1 || !list || list->kind != LLEM_LIST)
        return llem_fail_at(err, LLEM_ECONFIG, path, 1, 1,
                            "a rules.yaml must be a map with version: 1 and a list of rules");
    rules = llem_arena_calloc(a, list->count + 1, sizeof(*rules));
    for (size_t i = 0; rc == LLEM_OK && rules && i < list->count; i++)
        rc = read_rule(&rules[i], list->items[i], s, a, err);
    if (rc == LLEM_OK && a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the rules of %s", engine);
    if (rc == LLEM_OK)
        *out = (struct llem_rules){ .rules = rules, .count = list->count };
    return rc;
}

/* ---- use ------------------------------------------------------------------------------------ */

void llem__check_rules(struct llem__check *c, const struct llem_rules *rules,
                       const struct llem_value *tree)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct llem_rule *rule = &rules->rules[i];
        const struct llem_value *about = NULL;

        if ((rule->severity != LLEM_RULE_ERROR && !c->ctx) || !llem_rule_holds(rule, tree, &about))
            continue;
        if (rule->severity == LLEM_RULE_ERROR)
            llem__diag(c->diags, about, "%s (rule %s)", rule->message, rule->id);
        else
            llem_log(c->ctx, rule->severity == LLEM_RULE_WARN ? LLEM_LOG_WARNING : LLEM_LOG_INFO,
                     "config", "%s (rule %s)", rule->message, rule->id);
    }
}

const struct llem_value *llem_rules_settle(const struct llem_rules *r, const struct llem_schema *s,
                                           struct llem_arena *a, const struct llem_value *tree)
{
    bool again = true;

    /* One reset may leave another setting without effect. */
    for (int pass = 0; again && pass < MAX_PASSES; pass++) {
        again = false;
        for (size_t i = 0; i < r->count; i++) {
            const struct llem_rule *rule = &r->rules[i];

            if (rule->severity != LLEM_RULE_DORMANT || !llem_rule_holds(rule, tree, NULL))
                continue;
            for (const char *const *path = rule->resets; *path; path++) {
                struct llem_value *unset = llem_null(a);

                if (a->oom)
                    return tree;
                unset->source = LLEM_TAG_UNSET;
                tree = llem__with(s, a, tree, *path, unset);
                again = true;
            }
        }
    }
    return tree;
}
