/* SPDX-License-Identifier: MIT */
#include "src/parse.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- did-you-mean ------------------------------------------------------------------------- */

enum { WORD_MAX = 63 };

static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_MAX + 2];

    if (n > WORD_MAX || m > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *older = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);

            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                older[j - 2] + 1 < best)
                best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
    const char *found = NULL;
    size_t len = strlen(word), limit = len / 3 > 1 ? len / 3 : 1, best = limit + 1;

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, words[i]);

        if (d < best) {
            best = d;
            found = words[i];
        }
    }
    for (size_t i = 0; i < count && !found && len >= 2; i++)
        if (strncmp(words[i], word, len) == 0)
            found = words[i];
    return found;
}

/* ---- the parser --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool refuse(struct parse *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->error, sizeof(p->error), fmt, ap);
    va_end(ap);
    return false;
}

static bool out_of_memory(struct parse *p)
{
    p->oom = true;
    return refuse(p, "out of memory");
}

/* A copy that lives as long as the parse; NULL without memory. */
static char *keep(struct parse *p, const char *s, size_t len)
{
    char **owned = realloc(p->owned, (p->n_owned + 1) * sizeof(*owned));
    char *copy;

    if (!owned)
        return NULL;
    p->owned = owned;
    copy = strndup(s, len);
    if (copy)
        p->owned[p->n_owned++] = copy;
    return copy;
}

static bool takes_value(const struct opt *o)
{
    return o->type != OPT_FLAG && o->type != OPT_COUNT && o->type != OPT_PRESET;
}

/* "'-n' (--n-prompts)" would be noise: an option is named as the user wrote it. */
static bool set_number(struct parse *p, const struct opt *o, const char *as, const char *text,
                       void *slot)
{
    char *end;
    double d;
    long long i = 0;

    errno = 0;
    if (o->type == OPT_INT) {
        i = strtoll(text, &end, 10);
        d = (double)i;
    } else {
        d = strtod(text, &end);
    }
    if (end == text || *end || errno == ERANGE || !isfinite(d) || *text == ' ' ||
        strpbrk(text, "xXpP"))
        return refuse(p, "option '%s' wants %s, not '%s'", as,
                      o->type == OPT_INT ? "a whole number" : "a number", text);
    if (d < o->min || d > o->max) {
        if (isinf(o->max))
            return refuse(p, "option '%s' wants a number of at least %g, not %s", as, o->min, text);
        return refuse(p, "option '%s' wants a number from %g to %g, not %s", as, o->min, o->max,
                      text);
    }
    if (o->type == OPT_INT)
        *(int64_t *)slot = i;
    else
        *(double *)slot = d;
    return true;
}

static bool set_choice(struct parse *p, const struct opt *o, const char *as, const char *text,
                       const char **slot)
{
    char words[8][32];
    const char *list[8], *near;
    size_t n = 0;

    for (const char *c = o->choices; *c && n < 8;) {
        size_t len = strcspn(c, "|");

        snprintf(words[n], sizeof(words[n]), "%.*s", (int)len, c);
        list[n] = words[n];
        if (strcmp(words[n], text) == 0) {
            *slot = text;
            return true;
        }
        n++;
        c += len + (c[len] == '|');
    }
    near = nearest_word(text, list, n);
    if (near)
        return refuse(p, "option '%s' has no value '%s'; did you mean '%s'?", as, text, near);
    return refuse(p, "option '%s' wants one of %s, not '%s'", as, o->choices, text);
}

bool settings_add(struct settings *s, llem_setting setting)
{
    llem_setting *items = realloc(s->items, (s->count + 1) * sizeof(*items));

    if (!items)
        return false;
    s->items = items;
    s->items[s->count++] = setting;
    return true;
}

static bool add_setting(struct parse *p, const struct opt *o, const char *as, const char *text,
                        struct settings *slot)
{
    const char *path = o->path, *value = text;
    size_t same = 0;

    if (!path) {
        const char *equals = strchr(text, '=');

        if (!equals || equals == text)
            return refuse(p, "option '%s' wants path=value, as in %s task.model=gpt2, not '%s'", as,
                          as, text);
        path = keep(p, text, (size_t)(equals - text));
        value = equals + 1;
    }
    const llem_setting setting = {
        .path = path,
        .value = value,
        .origin = o->path ? keep(p, as, strlen(as)) : "--set",
        .literal = !!(o->flags & OPT_LITERAL),
    };
    if (!path || !setting.origin || !settings_add(slot, setting))
        return out_of_memory(p);
    for (size_t i = 0; i < slot->count; i++)
        same += slot->items[i].path == o->path;
    for (size_t i = 0; i < slot->count && same > 1 && (o->flags & OPT_MANY); i++)
        slot->items[i].axis = slot->items[i].axis || slot->items[i].path == o->path;
    return true;
}

/* The length of the first of values with commas between them: those within brackets and quotes are
 * its own. */
static size_t value_length(const char *text)
{
    size_t depth = 0, i;
    char quote = 0;

    for (i = 0; text[i]; i++) {
        if (quote) {
            if (text[i] == '\\' && quote == '"' && text[i + 1])
                i++;
            else if (text[i] == quote)
                quote = 0;
        } else if (text[i] == ',' && !depth) {
            break;
        } else if (strchr("[{", text[i])) {
            depth++;
        } else if (strchr("]}", text[i])) {
            depth -= depth > 0;
        } else if (strchr("'\"", text[i]) && (i == 0 || strchr("[{,: ", text[i - 1]))) {
            quote = text[i]; /* within a word it is an apostrophe */
        }
    }
    return i;
}

static bool add_axis(struct parse *p, const char *as, const char *text, struct settings *slot)
{
    const char *equals = strchr(text, '='), *path, *origin;

    if (!equals || equals == text)
        return refuse(p,
                      "option '%s' wants path=v1,v2, as in %s task.dataset.n_prompts=10,100, "
                      "not '%s'",
                      as, as, text);
    path = keep(p, text, (size_t)(equals - text));
    origin = keep(p, as, strlen(as));
    for (const char *v = equals + 1;; v++) {
        size_t len = value_length(v);
        llem_setting setting = {
            .path = path, .value = keep(p, v, len), .origin = origin, .axis = 1
        };

        if (strspn(v, " ") >= len)
            return refuse(p,
                          "option '%s' has an empty value in '%s'; write null for none, '' for an "
                          "empty text",
                          as, text);
        if (!path || !origin || !setting.value || !settings_add(slot, setting))
            return out_of_memory(p);
        v += len;
        if (!*v)
            return true;
    }
}

/* "path=value path=value"; negated: take them back. */
static bool add_preset(struct parse *p, const struct opt *o, const char *as, bool negated,
                       struct settings *slot)
{
    size_t kept = 0;

    for (const char *s = o->path; *s && !negated; s += strspn(s, " ")) {
        size_t len = strcspn(s, " "), name = strcspn(s, "=");
        llem_setting setting = { .path = keep(p, s, name),
                                 .value = keep(p, s + name + 1, len - name - 1),
                                 .origin = keep(p, as, strlen(as)) };

        if (!setting.path || !setting.value || !setting.origin || !settings_add(slot, setting))
            return out_of_memory(p);
        s += len;
    }
    for (size_t i = 0; i < slot->count && negated; i++)
        if (strncmp(slot->items[i].origin, "--", 2) != 0 ||
            strcmp(slot->items[i].origin + 2, o->name) != 0)
            slot->items[kept++] = slot->items[i];
    slot->count = negated ? kept : slot->count;
    return true;
}

/* `as`: how the user wrote it, for errors. value is NULL for flags and counts. */
static bool set(struct parse *p, const struct opt *o, void *args, const char *as, const char *value,
                bool negated)
{
    void *slot = (char *)args + o->offset;

    switch (o->type) {
    case OPT_FLAG:
        *(int *)slot = !negated;
        return true;
    case OPT_COUNT:
        *(int *)slot = negated ? 0 : *(int *)slot + 1;
        return true;
    case OPT_STRING:
        if (!*value)
            return refuse(p, "option '%s' wants a value, not an empty one", as);
        *(const char **)slot = value;
        return true;
    case OPT_CHOICE:
        return set_choice(p, o, as, value, slot);
    case OPT_INT:
    case OPT_REAL:
        return set_number(p, o, as, value, slot);
    case OPT_SETTING:
        return add_setting(p, o, as, value, slot);
    case OPT_AXIS:
        return add_axis(p, as, value, slot);
    case OPT_PRESET:
        return add_preset(p, o, as, negated, slot);
    }
    return refuse(p, "option '%s' has no known type", as);
}

static bool unknown_long(struct parse *p, const struct opt *options, const char *name, size_t len)
{
    const char *names[64], *near;
    char word[WORD_MAX + 1];
    size_t n = 0;
    bool negated = len > 3 && strncmp(name, "no-", 3) == 0;

    if (negated) {
        name += 3;
        len -= 3;
    }
    snprintf(word, sizeof(word), "%.*s", (int)len, name);
    for (const struct opt *o = options; o->name && n < 62; o++)
        if (!(o->flags & OPT_HIDDEN) && (!negated || !takes_value(o)))
            names[n++] = o->name;
    if (!negated)
        names[n++] = "help";
    near = nearest_word(word, names, n);
    if (near)
        return refuse(p, "unknown option '--%s%s'; did you mean '--%s%s'?", negated ? "no-" : "",
                      word, negated ? "no-" : "", near);
    return refuse(p, "unknown option '--%s%s'", negated ? "no-" : "", word);
}

static bool parse_long(struct parse *p, const struct opt *options, void *args,
                       const char *const *argv, int argc, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const char *value = equals ? equals + 1 : NULL;
    bool negated = false;
    const struct opt *o;
    char as[WORD_MAX + 6];

    if (len == 4 && strncmp(name, "help", 4) == 0 && !value) {
        p->help = 2;
        return true;
    }
    for (o = options; o->name; o++)
        if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
            break;
    if (!o->name && len > 3 && strncmp(name, "no-", 3) == 0) {
        for (o = options; o->name; o++)
            if (!takes_value(o) && strlen(o->name) == len - 3 &&
                strncmp(o->name, name + 3, len - 3) == 0)
                break;
        negated = o->name != NULL;
    }
    if (!o->name)
        return unknown_long(p, options, name, len);
    snprintf(as, sizeof(as), "--%s%s", negated ? "no-" : "", o->name);
    if (!takes_value(o)) {
        if (value)
            return refuse(p, "option '%s' takes no value", as);
        return set(p, o, args, as, NULL, negated);
    }
    if (!value) {
        if (*i + 1 >= argc)
            return refuse(p, "option '%s' wants a value: %s %s", as, as, o->value);
        value = argv[++*i];
    }
    return set(p, o, args, as, value, false);
}

/* "-qv", "-n5", "-n 5", "-qn5" */
static bool parse_short(struct parse *p, const struct opt *options, void *args,
                        const char *const *argv, int argc, int *i)
{
    for (const char *c = argv[*i] + 1; *c; c++) {
        char as[3] = { '-', *c, 0 };
        const struct opt *o = options;
        const char *value;

        if (*c == 'h') {
            p->help = 1;
            return true;
        }
        while (o->name && o->letter != *c)
            o++;
        if (!o->name) {
            const char *word = argv[*i] + 1;

            /* "-quick": a long option with one dash missing. */
            for (o = options; o->name && word[1]; o++)
                if (!(o->flags & OPT_HIDDEN) && strcmp(o->name, word) == 0)
                    return refuse(p, "unknown option '%s'; did you mean '--%s'?", argv[*i], word);
            if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
                return refuse(p, "unknown option in '%s'", argv[*i]);
            return refuse(p, "unknown option '%s'", as);
        }
        if (!takes_value(o)) {
            if (!set(p, o, args, as, NULL, false))
                return false;
            continue;
        }
        value = c[1] ? c + 1 : NULL;
        if (!value) {
            if (*i + 1 >= argc)
                return refuse(p, "option '%s' wants a value: %s %s", as, as, o->value);
            value = argv[++*i];
        }
        return set(p, o, args, as, value, false);
    }
    return true;
}

bool parse_options(struct parse *p, const struct opt *options, unsigned flags, void *args, int argc,
                   const char *const *argv)
{
    memset(p, 0, sizeof(*p));
    p->rest = calloc((size_t)argc + 1, sizeof(*p->rest));
    if (!p->rest)
        return out_of_memory(p);
    for (int i = 1; i < argc && !p->help; i++) {
        const char *arg = argv[i];
        bool ok;

        if (strcmp(arg, "--") == 0) {
            p->saw_dashes = true;
            while (++i < argc)
                p->rest[p->n_rest++] = argv[i];
            break;
        }
        if (arg[0] != '-' || !arg[1]) {
            p->rest[p->n_rest++] = arg;
            if (flags & PARSE_STOP_AT_OPERAND) {
                while (++i < argc)
                    p->rest[p->n_rest++] = argv[i];
                break;
            }
            continue;
        }
        if (arg[1] == '-')
            ok = parse_long(p, options, args, argv, argc, &i);
        else
            ok = parse_short(p, options, args, argv, argc, &i);
        if (!ok)
            return false;
    }
    return true;
}

void parse_done(struct parse *p)
{
    for (size_t i = 0; i < p->n_owned; i++)
        free(p->owned[i]);
    free(p->owned);
    free(p->rest);
    memset(p, 0, sizeof(*p));
}
