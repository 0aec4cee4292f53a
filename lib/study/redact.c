/* SPDX-License-Identifier: MIT
 *
 * Redaction by value: paths, identifiers of devices and of the machine, and names of people become
 * placeholders wherever they stand, the same text the same placeholder, so that what was derived
 * from a recording still agrees with it.
 */
#include "lib/study/redact.h"

#include <ctype.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/study/study.h"

enum { SHORTEST = 3 }; /* of a name that is looked for */

/* Keys whose values go, whatever they are; as JSON what is there instead. */
static const struct {
    const char *key, *instead;
} keys[] = {
    { "host", "null" },
    { "boot_id", "null" },
    { "job_id", "null" },
    { "argv", "[\"redacted\"]" },
    { "run_mark", "\"00000000000000000000000000000000\"" },
    { "log_tail", "null" },
};

/* What lies there is the same on every machine, or is what a sensor is. */
static const char *const everywhere[] = { "/sys/",    "/dev/", "/proc/", "/usr/lib",
                                          "/usr/bin", "/lib",  "/bin/",  "/redacted/" };

void llem_redaction_init(struct llem_redaction *r, struct llem_arena *a)
{
    const struct passwd *pw = getpwuid(geteuid());
    char host[256] = "";
    const char *names[] = { pw ? pw->pw_name : "", host };
    static const char *const instead[] = { "user", "host" };

    *r = (struct llem_redaction){ .a = a, .words = llem_map(a), .paths = llem_map(a) };
    (void)gethostname(host, sizeof(host) - 1);
    for (size_t i = 0; i < LLEM_COUNT(names); i++)
        if (strlen(names[i]) >= SHORTEST && strcmp(names[i], "root") != 0 &&
            strcmp(names[i], "localhost") != 0)
            llem_set(a, r->words, names[i], llem_string(a, instead[i]));
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Too plain to be looked for in every text: "model". */
static bool is_plain(const char *s)
{
    return strlen(s) < 6 || s[strspn(s, "abcdefghijklmnopqrstuvwxyz")] == '\0';
}

static void learn(struct llem_redaction *r, const char *given, const char *path, const char *kind,
                  size_t *count, const char *engine)
{
    char slug[128];
    const char *instead, *before;

    if (!given || !path || path[0] != '/' || llem_get(r->words, path))
        return;
    ++*count;
    instead = llem_arena_printf(r->a, "%s-%zu", kind, *count);
    before = llem_arena_printf(r->a, "/redacted/%s-%zu", kind, *count);
    if (!instead || !before)
        return;
    llem_set(r->a, r->words, path, llem_string(r->a, before));
    if (strchr(given, '/') && given[0] != '/')
        llem_set(r->a, r->words, given, llem_string(r->a, before + strlen("/redacted/")));
    llem_slug(slug, sizeof(slug), given);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? slug : llem_path_basename(given);
        const char *own = llem_arena_printf(r->a, "%s-%s", name, engine);

        if (own && *name)
            llem_set(r->a, r->words, own, llem_stringf(r->a, "%s-%s", instead, engine));
        if (*name && !is_plain(name))
            llem_set(r->a, r->words, name, llem_string(r->a, instead));
    }
}

/* `paths` has dots in its keys. */
static const char *path_of(const struct llem_value *experiment, const char *setting)
{
    const struct llem_value *v = llem_get(llem_get(experiment, "paths"), setting);

    return v && v->kind == LLEM_STRING ? v->s : NULL;
}

void llem_redaction_learn(struct llem_redaction *r, const struct llem_value *x)
{
    const char *engine = llem_str_at(x, "config.engine", "");

    learn(r, llem_str_at(x, "config.task.model", NULL), path_of(x, "task.model"), "model",
          &r->models, engine);
    learn(r, llem_str_at(x, "config.task.dataset.source", NULL), path_of(x, "task.dataset.source"),
          "data", &r->data, engine);
}

/* ---- texts ---------------------------------------------------------------------------------- */

size_t llem_absolute_path(const char *s, const char *begin)
{
    size_t n;

    if (s[0] != '/' || (s > begin && (in_name(s[-1]) || strchr("/.>~", s[-1]))) || !in_name(s[1]))
        return 0;
    n = strcspn(s, " \t\n\r:'\"`,;()[]{}<>");
    while (n && s[n - 1] == '.')
        n--;
    return n;
}

/* 8-4-4-4-12 hexadecimal digits. */
static bool is_uuid(const char *s)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'x' ? !isxdigit((unsigned char)s[i]) : s[i] != '-')
            return false;
    return !in_name(s[sizeof(shape) - 1]);
}

/* Of the same shape, and the same for the same board in every archive. */
static void add_uuid(struct llem_buf *out, const char *uuid)
{
    char hex[65];

    llem_sha256_of(uuid, 36, hex);
    llem_buf_addf(out, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static bool is_everywhere(const char *path)
{
    for (size_t i = 0; i < LLEM_COUNT(everywhere); i++)
        if (llem_starts_with(path, everywhere[i]))
            return true;
    return false;
}

static void add_path(struct llem_redaction *r, struct llem_buf *out, const char *s, size_t n)
{
    const char *path = llem_arena_strndup(r->a, s, n);
    struct llem_value *known = path ? llem_get(r->paths, path) : NULL;

    if (!path)
        return;
    if (is_everywhere(path)) {
        llem_buf_add(out, s, n);
        return;
    }
    if (!known)
        known = llem_set(r->a, r->paths, path, llem_int(r->a, (int64_t)r->paths->count + 1));
    if (!r->a->oom)
        llem_buf_addf(out, "/redacted/path-%d", (int)known->i);
}

/* The longest word that stands at s; NULL if none does. */
static const char *word_at(const struct llem_redaction *r, const char *s, const char *begin,
                           size_t *len)
{
    const char *instead = NULL;

    *len = 0;
    for (size_t i = 0; i < r->words->count; i++) {
        const char *word = r->words->keys[i];
        size_t n = strlen(word);

        if (n > *len && strncmp(word, s, n) == 0 && !in_name(s[n]) &&
            (s == begin || !in_name(s[-1]) || !in_name(word[0]) ||
             s[-1] == '_')) { /* 001_c1_NAME-engine */
            *len = n;
            instead = r->words->items[i]->s;
        }
    }
    return instead;
}

void llem_redact_text(struct llem_redaction *r, struct llem_buf *out, const char *text)
{
    for (const char *s = text; *s;) {
        size_t n;
        const char *instead = word_at(r, s, text, &n);
        bool starts = s == text || !isxdigit((unsigned char)s[-1]);

        if (!instead) {
            n = llem_absolute_path(s, text);
            if (n) {
                add_path(r, out, s, n);
            } else if (starts && is_uuid(s)) {
                n = 36;
                add_uuid(out, s);
            } else {
                n = 1;
                llem_buf_addc(out, *s);
            }
        } else {
            /* "/home/NAME/x" is a path, however short NAME is. */
            llem_buf_adds(out, instead);
        }
        s += n;
    }
}

/* ---- documents ------------------------------------------------------------------------------ */

static const char *redacted(struct llem_redaction *r, const char *text)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 28);
    const char *out;

    llem_redact_text(r, &b, text);
    if (b.failed)
        r->texts->oom = true;
    out = llem_arena_strdup(r->texts, b.data);
    llem_buf_done(&b);
    return out ? out : "";
}

static void set_text(struct llem_value *v, const char *text)
{
    v->kind = LLEM_STRING;
    v->s = text;
    v->len = strlen(text);
}

void llem_redact_document(struct llem_redaction *r, struct llem_value *v)
{
    if (r->a->oom || r->texts->oom)
        return;
    if (v->kind == LLEM_STRING) {
        set_text(v, redacted(r, v->s));
        return;
    }
    for (size_t i = 0; (v->kind == LLEM_MAP || v->kind == LLEM_LIST) && i < v->count; i++) {
        const char *key = v->kind == LLEM_MAP ? v->keys[i] : "";
        struct llem_value *item = v->items[i];
        bool done = false;

        for (size_t k = 0; k < LLEM_COUNT(keys); k++) {
            struct llem_value *instead = NULL;

            /* `host` of an environment is a map of what it is. */
            if (strcmp(keys[k].key, key) != 0 || item->kind == LLEM_NULL ||
                (item->kind == LLEM_MAP && strcmp(key, "host") == 0))
                continue;
            if (llem_json_parse(r->texts, &instead, keys[k].instead, strlen(keys[k].instead),
                                "keys", NULL) < 0)
                return;
            v->items[i] = instead;
            done = true;
        }
        if (done)
            continue;
        if (strcmp(key, "variables") == 0 && item->kind == LLEM_MAP) {
            for (size_t k = 0; k < item->count; k++)
                if (item->items[k]->kind == LLEM_STRING)
                    set_text(item->items[k], "redacted");
        } else if (strcmp(key, "provenance") == 0 && item->kind == LLEM_MAP) {
            for (size_t k = 0; k < item->count; k++) {
                struct llem_value *file = llem_get(item->items[k], "file");
                if (file && file->kind == LLEM_STRING && file->s[0] != '-' &&
                    !llem_starts_with(file->s, "LLEM_"))
                    set_text(file, "redacted");
            }
        } else {
            if (v->kind == LLEM_MAP && (strchr(key, '-') || strchr(key, '/')))
                v->keys[i] = redacted(r, key); /* of a map by device or by directory */
            llem_redact_document(r, item);
        }
    }
}
