/* SPDX-License-Identifier: MIT
 *
 * llem report-gaps: what engines' libraries warned of while experiments ran, told as rules that
 * nobody has written yet. Which settings bring a warning about is found by comparing the
 * experiments that had it with those that ran without.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/internal.h"
#include "lib/engine/registry.h"
#include "lib/study/gaps.h"
#include "lib/study/redact.h"

enum {
    MAX_FILE = 256 << 20,
    MAX_SETTINGS = 3, /* of a condition */
    SLUG = 40,
};

/* ---- templates ------------------------------------------------------------------------------ */

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* "\x1b[31m" and the like. */
static size_t ansi(const char *s, const char *begin)
{
    size_t n;

    (void)begin;
    if (s[0] != '\x1b')
        return 0;
    if (s[1] != '[')
        return 1;
    n = 2 + strspn(s + 2, "0123456789;:<=>?");
    n += strspn(s + n, " !\"#$%&'()*+,-./");
    return n + (s[n] >= '@' && s[n] <= '~');
}

static size_t digits(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && isdigit((unsigned char)s[i]))
        i++;
    return i == n ? n : 0;
}

/* 2026-01-31T12:00:00.123Z, with a blank for the T, with or without seconds, part and zone. */
static size_t timestamp(const char *s, const char *begin)
{
    size_t n = 16;

    if ((s > begin && in_word(s[-1])) || !digits(s, 4) || s[4] != '-' || !digits(s + 5, 2) ||
        s[7] != '-' || !digits(s + 8, 2) || !strchr("T ", s[10]) || !s[10] || !digits(s + 11, 2) ||
        s[13] != ':' || !digits(s + 14, 2))
        return 0;
    if (s[n] == ':' && digits(s + n + 1, 2))
        n += 3;
    if ((s[n] == '.' || s[n] == ',') && isdigit((unsigned char)s[n + 1]))
        n += 1 + strspn(s + n + 1, "0123456789");
    if (s[n] == 'Z')
        return n + 1;
    if ((s[n] == '+' || s[n] == '-') && digits(s + n + 1, 2)) {
        size_t zone = n + 3 + (s[n + 3] == ':');
        n = digits(s + zone, 2) ? zone + 2 : n;
    }
    return n;
}

/* The number of x.py:123. */
static size_t line_number(const char *s, const char *begin)
{
    return s - begin >= 4 && strncmp(s - 4, ".py:", 4) == 0 ? strspn(s, "0123456789") : 0;
}

/* sha256:..., 16 digits and more, and addresses. */
static size_t hexadecimal(const char *s, const char *begin)
{
    size_t skip = llem_starts_with(s, "sha256:") ? 7 : llem_starts_with(s, "0x") ? 2 : 0;
    size_t n = strspn(s + skip, "0123456789abcdefABCDEF");

    if ((s > begin && in_word(s[-1])) || in_word(s[skip + n]))
        return 0;
    return n >= 16 || (skip == 2 && n) ? skip + n : 0;
}

/* A number by itself; digits within a name stay. */
static size_t number(const char *s, const char *begin)
{
    size_t n = strspn(s, "0123456789");

    if (!n || (s > begin && (in_word(s[-1]) || (s[-1] == '.' && s - 1 > begin && in_word(s[-2])))))
        return 0;
    if (s[n] == '.' && isdigit((unsigned char)s[n + 1]))
        n += 1 + strspn(s + n + 1, "0123456789");
    if (s[n] == 'e' || s[n] == 'E') {
        size_t sign = s[n + 1] == '+' || s[n + 1] == '-';
        size_t e = strspn(s + n + 1 + sign, "0123456789");
        n += e ? 1 + sign + e : 0;
    }
    return in_word(s[n]) || (s[n] == '.' && in_word(s[n + 1])) ? 0 : n;
}

/* In this order (reference, section 4). */
static const struct {
    size_t (*match)(const char *s, const char *begin);
    const char *instead;
} replacements[] = {
    { ansi, "" },
    { timestamp, "<TIMESTAMP>" },
    { line_number, "<LINENO>" },
    { llem_absolute_path, "<PATH>" },
    { hexadecimal, "<HEX>" },
    { number, "<NUM>" },
};

char *llem_message_template(struct llem_arena *a, const char *text)
{
    struct llem_buf now = LLEM_BUF_INIT(MAX_FILE), next = LLEM_BUF_INIT(MAX_FILE);
    char *out;

    llem_buf_adds(&now, text);
    for (size_t i = 0; i < LLEM_COUNT(replacements); i++) {
        llem_buf_clear(&next);
        for (const char *s = now.data; *s;) {
            size_t n = replacements[i].match(s, now.data);

            if (n)
                llem_buf_adds(&next, replacements[i].instead);
            else
                llem_buf_addc(&next, *s);
            s += n ? n : 1;
        }
        llem_buf_clear(&now);
        llem_buf_add(&now, next.data, next.len);
    }
    llem_buf_clear(&next);
    for (const char *s = now.data; *s; s++) {
        if (!strchr(" \t\r\n\v\f", *s))
            llem_buf_addc(&next, *s);
        else if (next.len && next.data[next.len - 1] != ' ')
            llem_buf_addc(&next, ' ');
    }
    while (next.len && next.data[next.len - 1] == ' ')
        next.data[--next.len] = '\0';
    if (now.failed || next.failed)
        a->oom = true;
    out = llem_arena_strdup(a, next.data);
    llem_buf_done(&now);
    llem_buf_done(&next);
    return out;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static const char *const plain_settings[] = { "task", "lora", "passthrough_kwargs",
                                              "sampling_preset", NULL };

/* What of a configuration an engine can warn of, setting to value. */
static void flatten(struct llem_arena *a, struct llem_value *out, const char *path,
                    const struct llem_value *v)
{
    if (v->kind != LLEM_MAP) {
        llem_set(a, out, path, llem_copy(a, v));
        return;
    }
    for (size_t i = 0; i < v->count; i++) {
        const char *below = llem_arena_printf(a, "%s.%s", path, v->keys[i]);
        if (below)
            flatten(a, out, below, v->items[i]);
    }
}

static struct llem_value *fields_of(struct llem_arena *a, const struct llem_value *config,
                                    const char *engine)
{
    struct llem_value *out = llem_map(a);

    for (size_t i = 0; config->kind == LLEM_MAP && i < config->count; i++)
        if (strcmp(config->keys[i], engine) == 0 ||
            llem__is_one_of(config->keys[i], plain_settings))
            flatten(a, out, config->keys[i], config->items[i]);
    return out;
}

/* Did the engine, or a check of its, refuse? A crash, a time limit or a full disk is none. */
static bool is_exception(const struct llem_value *status)
{
    static const char *const reasons[] = { "plugin", "config", "preflight", NULL };

    return strcmp(llem_str_at(status, "state", ""), "failed") == 0 &&
           llem__is_one_of(llem_str_at(status, "reason", ""), reasons) &&
           llem_is_null(llem_at(status, "exit.signal")) && *llem_str_at(status, "message", "");
}

/* The configuration's entry, made where it is new: {engine, fields, silent, fired, failed}. */
static struct llem_value *entry_of(struct llem_arena *a, struct llem_value *configs,
                                   const char *hash, const char *engine,
                                   const struct llem_value *config)
{
    const char *key = llem_arena_printf(a, "%s %s", engine, hash);
    struct llem_value *v = key ? llem_get(configs, key) : NULL;

    if (v || !key)
        return v;
    v = llem_map(a);
    llem_set(a, v, "engine", llem_string(a, engine));
    llem_set(a, v, "fields", fields_of(a, config, engine));
    llem_set(a, v, "silent", llem_bool(a, false)); /* some run of it completed and was watched */
    llem_set(a, v, "fired", llem_map(a));          /* template to a sample */
    llem_set(a, v, "failed", llem_map(a));         /* the same of exceptions */
    return llem_add(a, configs, key, v);
}

struct report {
    struct llem_arena a;
    llem_ctx *ctx;
    const char *engine;
    bool exceptions;
    struct llem_value *configs, *unseen;
    size_t runs, known;
};

static void emission(struct report *r, struct llem_value *to, const char *text)
{
    const char *template = llem_message_template(&r->a, text);

    if (template && *template && !llem_get(to, template))
        llem_add(&r->a, to, template, llem_string(&r->a, text));
}

static void read_run(struct report *r, const char *dir)
{
    static const char *const recordings[] = { "recording/recording.json",
                                              "recording/recording.partial.json" };
    struct llem_arena own = LLEM_ARENA_INIT;
    struct llem_value *experiment = NULL, *status = NULL, *recording = NULL, *entry;
    const char *path = llem_path_join(&own, dir, "experiment.json"), *engine;
    const struct llem_value *seen = NULL;
    bool completed;

    if (own.oom || llem_json_load(&own, &experiment, path, MAX_FILE, NULL) < 0)
        goto done;
    engine = llem_str_at(experiment, "config.engine", NULL);
    if (!engine || (r->engine && strcmp(r->engine, engine) != 0))
        goto done;
    path = llem_path_join(&own, dir, "status.json");
    if (own.oom || llem_json_load(&own, &status, path, MAX_FILE, NULL) < 0)
        goto done;
    r->runs++;
    completed = strcmp(llem_str_at(status, "state", ""), "completed") == 0;
    for (size_t i = 0; i < LLEM_COUNT(recordings) && !recording; i++) {
        path = llem_path_join(&own, dir, recordings[i]);
        if (path)
            (void)llem_json_load(&own, &recording, path, MAX_FILE, NULL);
    }
    seen = llem_get(recording, "observations");
    if (completed && !seen)
        llem_append(&r->a, r->unseen, llem_string(&r->a, dir));
    entry = entry_of(&r->a, r->configs, llem_str_at(experiment, "measurement_config_hash", ""),
                     engine, llem_get(experiment, "config"));
    if (r->a.oom || !entry)
        goto done;
    if (completed && seen)
        llem_get(entry, "silent")->b = true;
    for (size_t i = 0; seen && seen->kind == LLEM_LIST && i < seen->count; i++)
        emission(r, llem_get(entry, "fired"), llem_str_at(seen->items[i], "text", ""));
    if (r->exceptions && is_exception(status))
        emission(r, llem_get(entry, "failed"), llem_str_at(status, "message", ""));

done:
    r->a.oom = r->a.oom || own.oom;
    llem_arena_done(&own);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A study's runs, or the one run whose directory it is. */
static llem_errcode read_dir(struct report *r, const char *dir, llem_error *err)
{
    struct dirent **names = NULL;
    struct llem_arena own = LLEM_ARENA_INIT;
    const char *path = llem_path_join(&own, dir, "experiment.json");
    bool any = false;
    llem_errcode rc = LLEM_OK;
    int n = 0;

    if (!path) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory");
    } else if (llem_path_exists(path)) {
        any = true;
        read_run(r, dir);
    } else {
        n = scandir(dir, &names, NULL, by_name);
        if (n < 0)
            rc = llem_fail(err, LLEM_ENOTFOUND, "'%s' cannot be read: %m", dir);
    }
    for (int i = 0; i < n; i++) {
        const char *run = llem_path_join(&own, dir, names[i]->d_name);

        path = run ? llem_path_join(&own, run, "experiment.json") : NULL;
        if (names[i]->d_name[0] != '.' && path && llem_path_exists(path)) {
            any = true;
            read_run(r, run);
        }
        free(names[i]);
    }
    free(names);
    if (rc == LLEM_OK && !any)
        rc = llem_fail(err, LLEM_ENOTFOUND, "there are no experiments in '%s'", dir);
    if (rc == LLEM_ENOTFOUND)
        llem_hint(err, rc,
                  "Give the directory of a study, such as results/study_2026-01-31T12-00-00.");
    llem_arena_done(&own);
    return rc;
}

/* ---- conditions ----------------------------------------------------------------------------- */

/* A setting that all that fired have alike: which of the silent ones have it too, a bit each. */
struct candidate {
    const char *path;
    const struct llem_value *value; /* NULL: only that it is not null is alike */
    uint64_t *with;
};

/* Those that fired, and those that did not. */
struct split {
    const struct llem_value **a, **b;
    size_t n_a, n_b, words;
    struct candidate *all;
    size_t n;
};

static int compare_candidates(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    bool p = llem_is_null(a->value), q = llem_is_null(b->value);

    return p != q ? p - q : strcmp(a->path, b->path);
}

static void find_candidates(struct split *s, struct llem_arena *a)
{
    const struct llem_value *first = llem_get(s->a[0], "fields");

    s->words = (s->n_b + 63) / 64;
    s->all = llem_arena_calloc(a, first->count + 1, sizeof(*s->all));
    for (size_t i = 0; s->all && i < first->count; i++) {
        struct candidate *c = &s->all[s->n];
        bool alike = true, tells = false;

        c->path = first->keys[i];
        c->value = first->items[i];
        for (size_t k = 1; alike && k < s->n_a; k++)
            alike = llem_equal(llem_get(llem_get(s->a[k], "fields"), c->path), c->value);
        if (!alike)
            continue;
        c->with = llem_arena_calloc(a, s->words + 1, sizeof(*c->with));
        for (size_t k = 0; c->with && k < s->n_b; k++) {
            if (llem_equal(llem_get(llem_get(s->b[k], "fields"), c->path), c->value))
                c->with[k / 64] |= UINT64_C(1) << k % 64;
            else
                tells = true;
        }
        s->n += tells;
    }
    if (s->n > 1)
        qsort(s->all, s->n, sizeof(*s->all), compare_candidates);
}

/* Have none of the silent ones all these settings? */
static bool separates(const struct split *s, const size_t *chosen, size_t n)
{
    for (size_t w = 0; w < s->words; w++) {
        uint64_t left = ~UINT64_C(0);

        for (size_t i = 0; i < n; i++)
            left &= s->all[chosen[i]].with[w];
        if (left)
            return false;
    }
    return true;
}

/* The first set of `n` settings in order that separates. */
static bool choose(const struct split *s, size_t *chosen, size_t at, size_t n)
{
    for (size_t i = at ? chosen[at - 1] + 1 : 0; i < s->n; i++) {
        chosen[at] = i;
        if (at + 1 == n ? separates(s, chosen, n) : choose(s, chosen, at + 1, n))
            return true;
    }
    return false;
}

/* A setting that all have who fired, and none who did not. */
static const char *present(const struct split *s)
{
    const struct llem_value *first = llem_get(s->a[0], "fields");

    for (size_t i = 0; i < first->count; i++) {
        bool tells = s->n_b > 0;

        for (size_t k = 0; tells && k < s->n_a; k++)
            tells = !llem_is_null(llem_get(llem_get(s->a[k], "fields"), first->keys[i]));
        for (size_t k = 0; tells && k < s->n_b; k++)
            tells = llem_is_null(llem_get(llem_get(s->b[k], "fields"), first->keys[i]));
        if (tells)
            return first->keys[i];
    }
    return NULL;
}

/* match, triggers and spares; returns how many settings the condition has: 0 = none was found. */
static size_t condition(struct report *r, struct split *s, struct llem_value *match,
                        struct llem_value *triggers, struct llem_value *spares)
{
    struct llem_arena *a = &r->a;
    const struct llem_value *fired = llem_get(s->a[0], "fields"), *silent;
    const char *paths[MAX_SETTINGS];
    size_t chosen[MAX_SETTINGS], n = 0;

    find_candidates(s, a);
    for (size_t k = 1; s->n_b && !n && k <= MAX_SETTINGS && !a->oom; k++)
        if (choose(s, chosen, 0, k))
            n = k;
    for (size_t i = 0; i < n; i++) {
        paths[i] = s->all[chosen[i]].path;
        llem_set(a, match, paths[i], llem_copy(a, s->all[chosen[i]].value));
    }
    if (!n) {
        const char *path = present(s);
        struct llem_value *there = llem_map(a);

        n = path != NULL;
        paths[0] = path ? path : "task.model";
        llem_set(a, there, "present", llem_bool(a, true));
        llem_set(a, match, paths[0], there);
    }
    silent = s->n_b ? llem_get(s->b[0], "fields") : NULL;
    for (size_t i = 0; i < (n ? n : 1); i++) {
        const struct llem_value *with = llem_get(fired, paths[i]),
                                *without = llem_get(silent, paths[i]);
        llem_set(a, triggers, paths[i], with ? llem_copy(a, with) : llem_null(a));
        llem_set(a, spares, paths[i], without ? llem_copy(a, without) : llem_null(a));
    }
    return n;
}

/* ---- the report ----------------------------------------------------------------------------- */

struct gap {
    const char *engine, *template, *text;
    bool exception;
};

static int compare_gaps(const void *x, const void *y)
{
    const struct gap *a = x, *b = y;
    int c = strcmp(a->engine, b->engine);

    c = c ? c : strcmp(a->template, b->template);
    return c ? c : a->exception - b->exception;
}

/* Does a rule of the engine cover it already? */
static bool is_known(struct report *r, const struct gap *g)
{
    const struct llem_schema *schema;
    struct llem_rules rules;
    bool known = false;

    if (llem_ctx_schema(r->ctx, &schema, NULL) < 0 ||
        llem_rules_load(&rules, &r->a, schema, g->engine, NULL) < 0)
        return false;
    for (size_t i = 0; !known && i < rules.count; i++) {
        const char *own = llem_message_template(&r->a, rules.rules[i].message);

        known = own && strcmp(own, g->template) == 0;
        for (const char *const *e = rules.rules[i].emits; !known && *e; e++)
            known = strcmp(*e, g->template) == 0;
    }
    return known;
}

/* "transformers_runtime_setting_pad_token_id_to_eos". */
static const char *id_of(struct report *r, const struct gap *g, const struct llem_value *taken)
{
    char slug[SLUG + 1];
    const char *id;
    size_t n = 0;

    for (const char *s = g->template; *s && n < SLUG; s++) {
        if (*s == '<') {
            s += strcspn(s, ">");
            if (!*s)
                break;
        } else if (isalnum((unsigned char)*s)) {
            slug[n++] = (char)tolower((unsigned char)*s);
        } else if (n && slug[n - 1] != '_') {
            slug[n++] = '_';
        }
    }
    while (n && slug[n - 1] == '_')
        n--;
    slug[n] = '\0';
    id = llem_arena_printf(&r->a, "%s_runtime_%s", g->engine, n ? slug : "message");
    for (int i = 2; id && llem_get(taken, id) && !r->a.oom; i++)
        id = llem_arena_printf(&r->a, "%s_runtime_%s_%d", g->engine, n ? slug : "message", i);
    return id;
}

static const char *experiments(struct llem_arena *a, size_t n)
{
    const char *text = llem_arena_printf(a, "%zu experiment%s", n, n == 1 ? "" : "s");

    return text ? text : "";
}

/* One document: a rules.yaml of one rule. */
static void write_gap(struct report *r, const struct gap *g, struct llem_value *taken,
                      struct llem_buf *out)
{
    struct llem_arena *a = &r->a;
    struct llem_value *root = llem_map(a), *list = llem_list(a), *rule = llem_map(a);
    struct llem_value *match = llem_map(a), *triggers = llem_map(a), *spares = llem_map(a);
    struct llem_value *emits = llem_list(a);
    struct split s = { 0 };
    const char *id = id_of(r, g, taken);
    size_t n, kept, at_end;

    s.a = llem_arena_calloc(a, r->configs->count + 1, sizeof(*s.a));
    s.b = llem_arena_calloc(a, r->configs->count + 1, sizeof(*s.b));
    if (a->oom || !id)
        return;
    for (size_t i = 0; i < r->configs->count; i++) {
        const struct llem_value *c = r->configs->items[i];

        if (strcmp(llem_str_at(c, "engine", ""), g->engine) != 0)
            continue;
        if (llem_get(llem_get(c, g->exception ? "failed" : "fired"), g->template))
            s.a[s.n_a++] = c;
        else if (llem_bool_at(c, "silent", false))
            s.b[s.n_b++] = c;
    }
    n = condition(r, &s, match, triggers, spares);
    llem_set(a, taken, id, llem_null(a));
    llem_set(a, rule, "id", llem_string(a, id));
    llem_set(a, rule, "severity", llem_string(a, g->exception ? "error" : "warn"));
    llem_set(a, rule, "match", match);
    llem_set(a, rule, "message", llem_string(a, g->template));
    llem_append(a, emits, llem_string(a, g->template));
    llem_set(a, rule, "emits", emits);
    llem_set(a, rule, "triggers", triggers);
    llem_set(a, rule, "spares", spares);
    llem_append(a, list, rule);
    llem_set(a, root, "version", llem_int(a, 1));
    llem_set(a, root, "rules", list);
    if (a->oom)
        return;
    llem_buf_addf(out, "%s# %s: %s %s, ", out->len ? "---\n" : "", g->engine, experiments(a, s.n_a),
                  g->exception ? "failed with this" : "emitted this");
    llem_buf_addf(out, "%s ran without it.\n", experiments(a, s.n_b));
    if (n != 1)
        llem_buf_addf(
            out, "# REVIEW: %s\n",
            n ? "more than one setting is in the condition; find out whether each has to be"
              : "no settings tell them apart; write the condition, and both examples");
    llem_buf_adds(out, "# Say in message what the user can do; the examples are what was run.\n");
    llem__yaml_dump(out, a, root, "", &kept, &at_end);
}

static llem_errcode make_text(struct report *r, struct llem_buf *out, size_t *count,
                              llem_error *err)
{
    struct llem_arena *a = &r->a;
    struct llem_value *taken = llem_map(a);
    struct gap *gaps = NULL;
    size_t n = 0, cap = 0;
    llem_errcode rc = LLEM_OK;

    for (size_t i = 0; i < r->configs->count; i++)
        cap += llem_get(r->configs->items[i], "fired")->count +
               llem_get(r->configs->items[i], "failed")->count;
    gaps = llem_arena_calloc(a, cap + 1, sizeof(*gaps));
    for (size_t i = 0; gaps && i < r->configs->count; i++) {
        const struct llem_value *c = r->configs->items[i];

        for (int exception = 0; exception < 2; exception++) {
            const struct llem_value *m = llem_get(c, exception ? "failed" : "fired");
            for (size_t k = 0; k < m->count; k++)
                gaps[n++] = (struct gap){ llem_str_at(c, "engine", ""), m->keys[k], m->items[k]->s,
                                          exception != 0 };
        }
    }
    if (n > 1)
        qsort(gaps, n, sizeof(*gaps), compare_gaps);
    *count = 0;
    for (size_t i = 0; i < n && !a->oom; i++) {
        if (i && compare_gaps(&gaps[i - 1], &gaps[i]) == 0)
            continue;
        if (is_known(r, &gaps[i])) {
            r->known++;
            continue;
        }
        write_gap(r, &gaps[i], taken, out);
        ++*count;
    }
    if (a->oom || out->failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the report");
    return rc;
}

static llem_errcode save(struct llem_arena *a, const char *path, const struct llem_buf *text,
                         llem_error *err)
{
    const char *dir = llem_path_dirname(a, path);
    llem_errcode rc =
        dir ? llem_mkdirs(dir, err) : llem_fail(err, LLEM_ENOMEM, "out of memory for the report");

    return rc < 0 ? rc : llem_file_write(path, text->data, text->len, err);
}

llem_errcode llem_report_gaps(char **out, llem_ctx *ctx, const llem_gaps_opts *opts,
                              llem_error *err)
{
    struct report r = { .ctx = ctx, .engine = opts->engine, .exceptions = opts->exceptions != 0 };
    struct llem_buf text = LLEM_BUF_INIT(MAX_FILE), json = LLEM_BUF_INIT(2 * (size_t)MAX_FILE);
    struct llem_value *doc;
    const struct llem_engine_info *info = NULL;
    size_t count = 0;
    llem_errcode rc = LLEM_OK;
    char *taken;

    if (opts->size != sizeof(*opts))
        return llem_fail(err, LLEM_EINVAL, "llem_gaps_opts.size must be sizeof(llem_gaps_opts)");
    r.configs = llem_map(&r.a);
    r.unseen = llem_list(&r.a);
    if (r.engine) {
        rc = llem_engine_find(&info, ctx, r.engine, err);
        if (rc == LLEM_OK && !info)
            rc = llem_fail(err, LLEM_ECONFIG, "there is no engine '%s'; llem config lists them",
                           r.engine);
    }
    for (size_t i = 0; rc == LLEM_OK && i < opts->n_dirs; i++)
        rc = read_dir(&r, opts->dirs[i], err);
    if (rc == LLEM_OK && r.a.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the report");
    if (rc == LLEM_OK)
        rc = make_text(&r, &text, &count, err);
    if (rc == LLEM_OK && count && opts->path)
        rc = save(&r.a, opts->path, &text, err);
    if (rc < 0)
        goto done;
    doc = llem_map(&r.a);
    llem_set(&r.a, doc, "gaps", llem_int(&r.a, (int64_t)count));
    llem_set(&r.a, doc, "known", llem_int(&r.a, (int64_t)r.known));
    llem_set(&r.a, doc, "runs", llem_int(&r.a, (int64_t)r.runs));
    llem_set(&r.a, doc, "configurations", llem_int(&r.a, (int64_t)r.configs->count));
    llem_set(&r.a, doc, "not_observed", r.unseen);
    llem_set(&r.a, doc, "text", llem_stringn(&r.a, text.data, text.len));
    llem_json_dump(&json, doc, LLEM_JSON_PRETTY);
    taken = r.a.oom ? NULL : llem_buf_take(&json);
    if (taken)
        *out = taken;
    else
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the report");

done:
    llem_buf_done(&text);
    llem_buf_done(&json);
    llem_arena_done(&r.a);
    return rc;
}
