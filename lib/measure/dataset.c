/* SPDX-License-Identifier: MIT
 *
 * Datasets. Files are read whole with a limit, records are checked one by one, and what is wrong is
 * said with file and line (Parquet: with file and record).
 */
#include "lib/measure/dataset.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/parquet.h"
#include "lib/base/random.h"
#include "lib/engine/hub.h"

/* The first of these that holds a text that is not blank is the prompt. */
static const char *const prompt_keys[] = { "prompt", "text", "instruction", "input", "question" };
static const char *const kind_keys[] = { "source", "kind" };
static const char prompt_names[] = "prompt, text, instruction, input or question";

static const char *const suffixes[LLEM_DATASET_FORMATS] = {
    [LLEM_DATASET_JSONL] = ".jsonl",     [LLEM_DATASET_JSON] = ".json",
    [LLEM_DATASET_TXT] = ".txt",         [LLEM_DATASET_CSV] = ".csv",
    [LLEM_DATASET_PARQUET] = ".parquet",
};
static const char files[] = ".jsonl, .json, .txt, .csv or .parquet file";

/* ---- records ------------------------------------------------------------------------------ */

struct records {
    struct llem_record *items;
    size_t count, cap;
    struct llem_arena *a;
    const char *name;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void strip(const char **s, size_t *len)
{
    while (*len && is_space((*s)[0])) {
        (*s)++;
        (*len)--;
    }
    while (*len && is_space((*s)[*len - 1]))
        (*len)--;
}

static bool is_text(const char *text, size_t len)
{
    return len == 0 || (!memchr(text, 0, len) && llem_utf8_valid(text, len));
}

static llem_errcode out_of_memory(const struct records *r, llem_error *err)
{
    return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", r->name);
}

/* text is not blank and valid UTF-8. */
static llem_errcode add(struct records *r, const char *text, size_t len, const char *kind,
                        llem_error *err)
{
    if (r->count == LLEM_DATASET_MAX_RECORDS)
        return llem_fail(err, LLEM_ECORRUPT, "'%s' has more than %d records", r->name,
                         LLEM_DATASET_MAX_RECORDS);
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 256;
        struct llem_record *items = llem_arena_calloc(r->a, cap, sizeof(*items));

        if (!items)
            return out_of_memory(r, err);
        if (r->count)
            memcpy(items, r->items, r->count * sizeof(*items));
        r->items = items;
        r->cap = cap;
    }
    r->items[r->count].text = llem_arena_strndup(r->a, text, len);
    r->items[r->count].kind = kind ? llem_arena_strdup(r->a, kind) : "";
    if (r->a->oom)
        return out_of_memory(r, err);
    r->count++;
    return LLEM_OK;
}

/* One JSON value as a record. line is 0 where it is not known; number counts from 1. */
static llem_errcode add_json(struct records *r, const struct llem_value *v, int line, size_t number,
                             llem_error *err)
{
    const char *kind = NULL, *s;
    size_t len;

    if (v->kind == LLEM_STRING) {
        s = v->s;
        len = v->len;
        strip(&s, &len);
        if (len)
            return add(r, s, len, NULL, err);
    }
    if (v->kind != LLEM_MAP && v->kind != LLEM_STRING)
        return llem_fail_at(err, LLEM_ECORRUPT, r->name, line, 0,
                            "record %zu is neither an object nor a text", number);
    if (v->kind == LLEM_MAP) {
        /* A key that begins with _ marks a record about the file itself: its origin, its licence.
         */
        for (size_t i = 0; i < v->count; i++)
            if (v->keys[i][0] == '_')
                return LLEM_OK;
        for (size_t i = 0; i < LLEM_COUNT(kind_keys) && !kind; i++)
            kind = llem_str_at(v, kind_keys[i], NULL);
        for (size_t i = 0; i < LLEM_COUNT(prompt_keys); i++) {
            const struct llem_value *text = llem_get(v, prompt_keys[i]);

            if (!text || text->kind != LLEM_STRING)
                continue;
            s = text->s;
            len = text->len;
            strip(&s, &len);
            if (len)
                return add(r, s, len, kind, err);
        }
    }
    return llem_fail_at(err, LLEM_ECORRUPT, r->name, line, 0, "record %zu has no text under %s",
                        number, prompt_names);
}

static llem_errcode parse_jsonl(struct records *r, const char *text, size_t len, llem_error *err)
{
    const char *end = text + len;
    size_t number = 0;
    llem_errcode rc;

    for (int line = 1; text < end; line++) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *s = text;
        size_t n = (size_t)((nl ? nl : end) - text);
        struct llem_value *v;

        text = nl ? nl + 1 : end;
        strip(&s, &n);
        if (n == 0)
            continue;
        rc = llem_json_parse(r->a, &v, s, n, r->name, err);
        if (rc == LLEM_OK) {
            rc = add_json(r, v, line, ++number, err);
        } else if (err && rc != LLEM_ENOMEM) {
            /* The parser saw one line only: its line number is this line's. */
            err->line = line;
        }
        if (rc != LLEM_OK)
            return rc;
    }
    return LLEM_OK;
}

static llem_errcode parse_json(struct records *r, const char *text, size_t len, llem_error *err)
{
    static const char *const list_keys[] = { "prompts", "data", "records" };
    const struct llem_value *list = NULL;
    struct llem_value *v;
    llem_errcode rc = llem_json_parse(r->a, &v, text, len, r->name, err);

    if (rc != LLEM_OK)
        return rc;
    if (v->kind == LLEM_LIST)
        list = v;
    for (size_t i = 0; i < LLEM_COUNT(list_keys) && !list; i++) {
        list = llem_get(v, list_keys[i]);
        if (list && list->kind != LLEM_LIST)
            list = NULL;
    }
    if (!list)
        return llem_fail_at(err, LLEM_ECORRUPT, r->name, 0, 0,
                            "there is no list of prompts: the file should be a list, or an object "
                            "with one under 'prompts', 'data' or 'records'");
    for (size_t i = 0; i < list->count && rc == LLEM_OK; i++)
        rc = add_json(r, list->items[i], 0, i + 1, err);
    return rc;
}

static llem_errcode parse_txt(struct records *r, const char *text, size_t len, llem_error *err)
{
    const char *end = text + len;
    llem_errcode rc = LLEM_OK;

    while (text < end && rc == LLEM_OK) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *s = text;
        size_t n = (size_t)((nl ? nl : end) - text);

        text = nl ? nl + 1 : end;
        strip(&s, &n);
        if (n)
            rc = add(r, s, n, NULL, err);
    }
    return rc;
}

/* ---- CSV (RFC 4180) ----------------------------------------------------------------------- */

enum { MAX_CSV_COLUMNS = 1024 };

struct csv {
    const char *p, *end;
    int line;
    struct llem_buf field;
};

/* Read one field into c->field. *last: it ended its row. */
static llem_errcode csv_field(struct csv *c, const char *name, bool *last, llem_error *err)
{
    int begin = c->line;

    llem_buf_clear(&c->field);
    if (c->p < c->end && *c->p == '"') {
        for (c->p++;; c->p++) {
            if (c->p >= c->end)
                return llem_fail_at(err, LLEM_ECORRUPT, name, begin, 0,
                                    "a quoted field is not closed");
            if (*c->p == '\n')
                c->line++;
            if (*c->p == '"') {
                if (c->p + 1 < c->end && c->p[1] == '"')
                    c->p++;
                else
                    break;
            }
            llem_buf_addc(&c->field, *c->p);
        }
        c->p++;
        if (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '\r')
            return llem_fail_at(err, LLEM_ECORRUPT, name, c->line, 0,
                                "text follows the closing quote of a field");
    } else {
        const char *s = c->p;

        while (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '\r')
            c->p++;
        llem_buf_add(&c->field, s, (size_t)(c->p - s));
    }
    if (c->field.failed)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", name);
    *last = c->p >= c->end || *c->p != ',';
    if (c->p < c->end && *c->p == '\r')
        c->p++;
    if (c->p < c->end && (*c->p == ',' || *c->p == '\n')) {
        c->line += *c->p == '\n';
        c->p++;
    }
    return LLEM_OK;
}

static int key_index(const char *const *keys, size_t n, const char *s, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(keys[i]) == len && memcmp(keys[i], s, len) == 0)
            return (int)i;
    return -1;
}

static llem_errcode parse_csv(struct records *r, const char *text, size_t len, llem_error *err)
{
    struct csv c = { .p = text, .end = text + len, .line = 1, .field = LLEM_BUF_INIT(len + 1) };
    struct llem_buf kind = LLEM_BUF_INIT(len + 1), prompt = LLEM_BUF_INIT(len + 1);
    int prompt_rank[MAX_CSV_COLUMNS], kind_rank[MAX_CSV_COLUMNS];
    size_t columns = 0, number = 0;
    bool last = false, found = false;
    llem_errcode rc = LLEM_OK;

    while (!last) {
        const char *s;
        size_t n;

        if (columns == MAX_CSV_COLUMNS) {
            rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, 1, 0, "there are more than %d columns",
                              MAX_CSV_COLUMNS);
            goto done;
        }
        rc = csv_field(&c, r->name, &last, err);
        if (rc != LLEM_OK)
            goto done;
        s = c.field.data;
        n = c.field.len;
        strip(&s, &n);
        prompt_rank[columns] = key_index(prompt_keys, LLEM_COUNT(prompt_keys), s, n);
        kind_rank[columns] = key_index(kind_keys, LLEM_COUNT(kind_keys), s, n);
        found |= prompt_rank[columns] >= 0;
        columns++;
    }
    if (!found) {
        rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, 1, 0, "the first line names no column %s",
                          prompt_names);
        goto done;
    }

    while (c.p < c.end) {
        int best = (int)LLEM_COUNT(prompt_keys), best_kind = (int)LLEM_COUNT(kind_keys);
        int line = c.line;
        size_t i = 0;
        bool blank = true;

        llem_buf_clear(&kind);
        llem_buf_clear(&prompt);
        for (last = false; !last; i++) {
            const char *s;
            size_t n;

            rc = csv_field(&c, r->name, &last, err);
            if (rc != LLEM_OK)
                goto done;
            s = c.field.data;
            n = c.field.len;
            strip(&s, &n);
            blank &= n == 0;
            if (i >= columns || n == 0)
                continue;
            if (prompt_rank[i] >= 0 && prompt_rank[i] < best) {
                best = prompt_rank[i];
                llem_buf_clear(&prompt);
                llem_buf_add(&prompt, s, n);
            }
            if (kind_rank[i] >= 0 && kind_rank[i] < best_kind) {
                best_kind = kind_rank[i];
                llem_buf_clear(&kind);
                llem_buf_add(&kind, s, n);
            }
        }
        if (blank && i == 1)
            continue; /* an empty line */
        number++;
        if (i != columns) {
            rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, line, 0,
                              "record %zu has %zu fields, but the first line names %zu columns",
                              number, i, columns);
            goto done;
        }
        if (prompt.failed || kind.failed) {
            rc = out_of_memory(r, err);
            goto done;
        }
        if (prompt.len == 0) {
            rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, line, 0,
                              "record %zu has no text under %s", number, prompt_names);
            goto done;
        }
        rc = add(r, prompt.data, prompt.len, kind.len ? kind.data : NULL, err);
        if (rc != LLEM_OK)
            goto done;
    }
done:
    llem_buf_done(&c.field);
    llem_buf_done(&kind);
    llem_buf_done(&prompt);
    return rc;
}

/* ---- Parquet ------------------------------------------------------------------------------ */

/* For every row the first text of these columns that is not blank, stripped; length 0 where there
 * is none. *found, if not NULL: whether there is such a column at all. */
static llem_errcode first_texts(struct llem_parquet *p, const char *const *keys, size_t n_keys,
                                struct llem_parquet_text **out, bool *found, llem_error *err)
{
    struct llem_parquet_text *texts = llem_arena_calloc(p->a, p->n_rows + 1, sizeof(*texts)), *more;
    size_t missing = p->n_rows;
    llem_errcode rc;

    if (!texts)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", p->name);
    for (size_t k = 0; k < n_keys; k++) {
        const struct llem_parquet_column *c = p->columns, *end = c + p->n_columns;

        while (c < end && (!c->text || strcmp(c->name, keys[k]) != 0))
            c++;
        if (c == end)
            continue;
        *found = true;
        if (!missing)
            break;
        rc = llem_parquet_read(p, c, &more, err);
        if (rc != LLEM_OK)
            return rc;
        for (size_t i = 0; i < p->n_rows; i++) {
            if (texts[i].len)
                continue;
            texts[i] = more[i];
            strip(&texts[i].s, &texts[i].len);
            missing -= texts[i].len > 0;
        }
    }
    *out = texts;
    return LLEM_OK;
}

static llem_errcode no_text_column(const struct llem_parquet *p, llem_error *err)
{
    struct llem_buf names = LLEM_BUF_INIT(400);

    for (size_t i = 0; i < p->n_columns && !names.failed; i++)
        llem_buf_addf(&names, "%s%s%s", i ? ", " : "", p->columns[i].name,
                      p->columns[i].text ? "" : " (no text)");
    llem_fail(err, LLEM_ECORRUPT, "'%s' has no text column %s: its columns are %s%s", p->name,
              prompt_names, names.len ? names.data : "nested", names.failed ? ", ..." : "");
    llem_buf_done(&names);
    return LLEM_ECORRUPT;
}

static llem_errcode parse_parquet(struct records *r, const char *text, size_t len, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_parquet p;
    struct llem_parquet_text *prompts = NULL, *kinds = NULL;
    size_t room = LLEM_DATASET_MAX_BYTES;
    bool found = false, found_kind;
    llem_errcode rc;

    rc = llem_parquet_open(&p, text, len, r->name, LLEM_DATASET_MAX_RECORDS, room, &scratch, err);
    if (rc == LLEM_OK)
        rc = first_texts(&p, prompt_keys, LLEM_COUNT(prompt_keys), &prompts, &found, err);
    if (rc == LLEM_OK)
        rc = found ? first_texts(&p, kind_keys, LLEM_COUNT(kind_keys), &kinds, &found_kind, err)
                   : no_text_column(&p, err);
    for (size_t i = 0; i < p.n_rows && rc == LLEM_OK; i++) {
        const struct llem_parquet_text *t = &prompts[i], *k = &kinds[i];

        if (t->len == 0)
            rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, 0, 0, "record %zu has no text under %s",
                              i + 1, prompt_names);
        else if (!is_text(t->s, t->len) || !is_text(k->s, k->len))
            rc = llem_fail_at(err, LLEM_ECORRUPT, r->name, 0, 0, "record %zu is no UTF-8 text",
                              i + 1);
        else if (t->len + k->len > room) /* a dictionary's text may be named a million times */
            rc = llem_fail(err, LLEM_ECORRUPT,
                           "the prompts of '%s' are longer than %zu bytes in all", r->name,
                           LLEM_DATASET_MAX_BYTES);
        else
            rc = add(r, t->s, t->len, k->len ? llem_arena_strndup(&scratch, k->s, k->len) : NULL,
                     err);
        room -= t->len + k->len;
    }
    llem_arena_done(&scratch);
    return rc;
}

/* The line in which the first byte that is no UTF-8 text stands. */
static int bad_line(const char *text, size_t len)
{
    const char *end = text + len;

    for (int line = 1; text < end; line++) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((nl ? nl : end) - text);

        if (!is_text(text, n))
            return line;
        text += n + 1;
    }
    return 0;
}

llem_errcode llem_dataset_parse(struct llem_record **out, size_t *count,
                                enum llem_dataset_format format, const char *text, size_t len,
                                const char *name, struct llem_arena *a, llem_error *err)
{
    static llem_errcode (*const parse[LLEM_DATASET_FORMATS])(struct records * r, const char *text,
                                                             size_t len, llem_error *err) = {
        [LLEM_DATASET_JSONL] = parse_jsonl,     [LLEM_DATASET_JSON] = parse_json,
        [LLEM_DATASET_TXT] = parse_txt,         [LLEM_DATASET_CSV] = parse_csv,
        [LLEM_DATASET_PARQUET] = parse_parquet,
    };
    struct records r = { .a = a, .name = name };
    llem_errcode rc;

    if (format != LLEM_DATASET_PARQUET && len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3; /* a byte order mark, as Windows editors write it */
        len -= 3;
    }
    if (format != LLEM_DATASET_PARQUET && !is_text(text, len))
        return llem_fail_at(err, LLEM_ECORRUPT, name, bad_line(text, len), 0,
                            "the line is no UTF-8 text");
    rc = parse[format](&r, text, len, err);
    if (rc != LLEM_OK)
        return rc;
    *out = r.items;
    *count = r.count;
    return LLEM_OK;
}

/* ---- where prompts come from -------------------------------------------------------------- */

static int format_of(const char *path)
{
    for (int f = 0; f < LLEM_DATASET_FORMATS; f++)
        if (llem_ends_with(path, suffixes[f]))
            return f;
    return -1;
}

/* The best file of a snapshot, in it or in a folder of it, and of equals the first by name, since
 * the order of a directory is none; NULL if there is none. */
static const char *find_data_file(struct llem_arena *a, const char *dir, int depth)
{
    static const bool wanted[LLEM_DATASET_FORMATS] = {
        [LLEM_DATASET_JSONL] = true, [LLEM_DATASET_CSV] = true, [LLEM_DATASET_PARQUET] = true
    };
    DIR *d = opendir(dir);
    struct dirent *e;
    const char *best = NULL, *path;
    int format;

    if (!d)
        return NULL;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        path = llem_path_join(a, dir, e->d_name);
        if (path && depth > 0 && llem_path_is_dir(path))
            path = find_data_file(a, path, depth - 1);
        format = path ? format_of(path) : -1;
        if (format >= 0 && wanted[format] &&
            (!best || format < format_of(best) ||
             (format == format_of(best) && strcmp(path, best) < 0)))
            best = path;
    }
    closedir(d);
    return best;
}

/* From the cache of the Hugging Face tools; that commit, else what main is there, else
 * whatever is there. */
static llem_errcode find_aienergyscore(const char **path, llem_ctx *ctx, struct llem_arena *a,
                                       llem_error *err)
{
    struct llem_hub_id id;
    const char *dir = NULL, *commit, *folder = NULL;

    *path = NULL;
    if (llem_hub_parse(&id, a, LLEM_DATASET_AIENERGYSCORE, true)) {
        folder = llem_hub_folder(a, llem_hub_cache(ctx, a), &id);
        dir = llem_hub_snapshot(ctx, a, &id, &commit);
        id.revision = "main";
        if (!dir)
            dir = llem_hub_snapshot(ctx, a, &id, &commit);
        if (!dir)
            dir = llem_path_join(a, folder, "snapshots");
    }
    if (a->oom || !dir)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while looking for the dataset");
    *path = find_data_file(a, dir, 2);
    if (*path)
        return LLEM_OK;
    llem_fail(err, LLEM_ENOTFOUND,
              "the dataset 'aienergyscore' is not on this machine: it was looked for in '%s'",
              folder);
    return llem_hint(err, LLEM_ENOTFOUND,
                     "fetch it with llem fetch -d aienergyscore, use the built-in prompts "
                     "with -d builtin, or give a file with one JSON object {\"prompt\": "
                     "...} a line: -d prompts.jsonl");
}

static llem_errcode load_records(struct llem_dataset *out, llem_ctx *ctx, struct llem_arena *a,
                                 const struct llem_dataset_request *want,
                                 struct llem_record **records, size_t *count, llem_error *err)
{
    static const char *const names[] = { "builtin", "random", "aienergyscore", NULL };
    struct llem_buf text = LLEM_BUF_INIT(LLEM_DATASET_MAX_BYTES);
    const char *path = want->resolved_path ? want->resolved_path : want->source, *near;
    llem_errcode rc;
    int format;

    if (strcmp(want->source, "builtin") == 0) {
        path = llem_ctx_data_path(ctx, a, "datasets/builtin.jsonl");
        if (!path)
            return llem_fail(err, LLEM_ENOTFOUND,
                             "the built-in prompts (datasets/builtin.jsonl) are not in llem's data "
                             "directory '%s'",
                             ctx->data_dir ? ctx->data_dir : "");
    } else if (strcmp(want->source, "aienergyscore") == 0) {
        rc = find_aienergyscore(&path, ctx, a, err);
        if (rc != LLEM_OK)
            return rc;
    }
    format = format_of(path);
    if (format < 0 || (!llem_path_exists(path) && !strchr(want->source, '/'))) {
        near = llem_nearest(want->source, names);
        rc = llem_fail(err, LLEM_ENOTFOUND, "there is no dataset '%s'%s%s%s", want->source,
                       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
        llem_hint(err, rc,
                  "task.dataset.source is builtin, random, aienergyscore, or the path of a %s",
                  files);
        return rc;
    }
    rc = llem_file_read(&text, path, err);
    if (rc == LLEM_ENOTFOUND)
        llem_hint(err, rc, "give the path of a %s, or use -d builtin", files);
    if (rc == LLEM_OK)
        rc = llem_dataset_parse(records, count, (enum llem_dataset_format)format, text.data,
                                text.len, path, a, err);
    llem_buf_done(&text);
    out->path = path;
    return rc;
}

/* ---- choosing ----------------------------------------------------------------------------- */

struct ranked {
    const char *kind;
    uint32_t index;
};

static int by_kind(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = strcmp(x->kind, y->kind);

    return c ? c : x->index < y->index ? -1 : x->index > y->index; /* stable */
}

static void count_kind(struct llem_value *kinds, const char *kind, struct llem_arena *a)
{
    enum { MAX_KINDS = 64 };
    struct llem_value *had = llem_get(kinds, kind);

    if (!had && kinds->count >= MAX_KINDS) {
        kind = "(others)";
        had = llem_get(kinds, kind);
    }
    if (had)
        had->i++;
    else
        llem_set(a, kinds, kind, llem_int(a, 1));
}

static llem_errcode choose(struct llem_dataset *out, struct llem_arena *a,
                           const struct llem_dataset_request *want,
                           const struct llem_record *records, size_t n, llem_error *err)
{
    size_t count = (size_t)want->count;
    struct llem_sha256 sha;
    struct ranked *ranked;
    uint32_t *order;

    if (n < count) {
        llem_fail(err, LLEM_ECONFIG,
                  "%" PRId64 " prompts are asked for (task.dataset.n_prompts), but '%s' has %zu",
                  want->count, out->path, n);
        return n ? llem_hint(err, LLEM_ECONFIG,
                             "ask for at most %zu (-n %zu), or give a longer dataset", n, n)
                 : llem_hint(err, LLEM_ECONFIG,
                             "give a file with prompts, or use the built-in ones: -d builtin");
    }
    order = llem_arena_calloc(a, n, sizeof(*order));
    ranked = llem_arena_calloc(a, n, sizeof(*ranked));
    out->prompts = llem_arena_calloc(a, count, sizeof(*out->prompts));
    if (!order || !ranked || !out->prompts)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", out->path);
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
        ranked[i] = (struct ranked){ records[i].kind, (uint32_t)i };
    }
    if (strcmp(want->order, "shuffled") == 0) {
        struct llem_mt19937 r;

        llem_mt19937_init(&r, want->seed);
        llem_mt19937_shuffle(&r, order, n);
    } else if (strcmp(want->order, "grouped") == 0) {
        qsort(ranked, n, sizeof(*ranked), by_kind);
        for (size_t i = 0; i < n; i++)
            order[i] = ranked[i].index;
    }

    llem_sha256_init(&sha);
    for (size_t i = 0; i < count; i++) {
        const struct llem_record *r = &records[order[i]];

        out->prompts[i].text = r->text;
        llem_sha256_add(&sha, r->text, strlen(r->text) + 1);
        if (r->kind[0])
            count_kind(out->kinds, r->kind, a);
    }
    llem_sha256_hex(&sha, out->sha256);
    out->count = count;
    out->available = n;
    return LLEM_OK;
}

/* ---- random ids --------------------------------------------------------------------------- */

/* Every vocabulary in use has more words than this; used where config.json does not tell. */
enum { SMALL_VOCABULARY = 1000 };

static int64_t vocabulary(const struct llem_value *config)
{
    int64_t n = llem_int_at(config, "vocab_size", 0);

    if (n <= 0)
        n = llem_int_at(config, "text_config.vocab_size", 0);
    return n > 0 && n <= INT32_MAX ? n : SMALL_VOCABULARY;
}

static llem_errcode make_random(struct llem_dataset *out, struct llem_arena *a,
                                const struct llem_dataset_request *want, llem_error *err)
{
    size_t count = (size_t)want->count, len = (size_t)want->input_tokens;
    uint32_t vocab;
    struct llem_mt19937 r;
    struct llem_sha256 sha;
    int32_t *ids;

    if (want->input_tokens < 1 || want->input_tokens > LLEM_DATASET_MAX_INPUT_TOKENS)
        return llem_fail(err, LLEM_ECONFIG,
                         "task.dataset.input_tokens is %" PRId64
                         ", but the dataset 'random' needs a length from 1 to %d",
                         want->input_tokens, LLEM_DATASET_MAX_INPUT_TOKENS);
    vocab = (uint32_t)vocabulary(want->model_config);
    out->prompts = llem_arena_calloc(a, count, sizeof(*out->prompts));
    if (len > SIZE_MAX / 4 / count || !out->prompts ||
        !(ids = llem_arena_calloc(a, count * len, sizeof(*ids))))
        return llem_fail(err, LLEM_ENOMEM,
                         "out of memory for %zu random prompts of %zu tokens (task.dataset)", count,
                         len);
    llem_mt19937_init(&r, want->seed);
    for (size_t i = 0; i < count * len; i++)
        ids[i] = (int32_t)llem_mt19937_below(&r, vocab);
    for (size_t i = 0; i < count; i++)
        out->prompts[i] = (struct llem_prompt){ .ids = ids + i * len, .n_ids = len };
    llem_sha256_init(&sha);
    llem_sha256_add(&sha, ids, count * len * sizeof(*ids));
    llem_sha256_hex(&sha, out->sha256);
    out->count = out->available = count;
    return LLEM_OK;
}

llem_errcode llem_dataset_load(struct llem_dataset *out, llem_ctx *ctx, struct llem_arena *a,
                               const struct llem_dataset_request *want, llem_error *err)
{
    struct llem_dataset d = { .source = want->source, .order = want->order, .kinds = llem_map(a) };
    struct llem_record *records = NULL;
    size_t n = 0;
    llem_errcode rc;

    if (want->count < 1 || want->count > LLEM_DATASET_MAX_RECORDS)
        return llem_fail(err, LLEM_ECONFIG,
                         "task.dataset.n_prompts is %" PRId64 ", but it must be from 1 to %d",
                         want->count, LLEM_DATASET_MAX_RECORDS);
    if (strcmp(want->source, "random") == 0) {
        rc = make_random(&d, a, want, err);
    } else {
        rc = load_records(&d, ctx, a, want, &records, &n, err);
        if (rc == LLEM_OK)
            rc = choose(&d, a, want, records, n, err);
    }
    if (rc == LLEM_OK && a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while reading the dataset '%s'",
                       want->source);
    if (rc == LLEM_OK)
        *out = d;
    return rc;
}
