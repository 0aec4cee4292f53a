/* SPDX-License-Identifier: MIT
 *
 * Writing YAML: a tree in block style, with the comments of the text that its values came from. A
 * comment goes with the first value that stands on its line or below it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/config/internal.h"

struct comment {
    int line;
    const char *text; /* from its #, without the end of the line */
    size_t len;
    bool beside; /* something stands before it on its line */
    bool written;
};

struct emitter {
    struct llem_arena *a;
    struct llem_buf *b;
    struct comment *comments; /* in their order */
    size_t count, cap;
    int *lines; /* of the leaves, ascending */
    size_t n_lines;
};

/* ---- comments ------------------------------------------------------------------------------- */

static void add_comment(struct emitter *e, int line, const char *text, size_t len, bool beside)
{
    while (len && strchr(" \t\r", text[len - 1]))
        len--;
    if (e->count == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 64;
        struct comment *grown = llem_arena_calloc(e->a, cap, sizeof(*grown));

        if (!grown)
            return;
        if (e->count)
            memcpy(grown, e->comments, e->count * sizeof(*grown));
        e->comments = grown;
        e->cap = cap;
    }
    e->comments[e->count++] = (struct comment){ line, text, len, beside, false };
}

/* Does a block of text begin at the end of this line? */
static bool begins_block(const char *line, size_t len)
{
    while (len && strchr(" \t\r", line[len - 1]))
        len--;
    while (len && strchr("+-0123456789", line[len - 1]))
        len--;
    return len >= 2 && (line[len - 1] == '|' || line[len - 1] == '>') &&
           strchr(" \t", line[len - 2]);
}

static void find_comments(struct emitter *e, const char *text)
{
    char quote = '\0';
    size_t block = SIZE_MAX; /* lines indented by more belong to a block of text */
    int number = 1;

    for (const char *line = text; *line; number++) {
        size_t len = strcspn(line, "\n"), indent = strspn(line, " "), end = len;
        bool blank = strspn(line, " \t\r") >= len;

        if (block != SIZE_MAX && !blank && indent <= block)
            block = SIZE_MAX;
        for (size_t i = 0; block == SIZE_MAX && i < len; i++) {
            char c = line[i];
            bool starts = i == 0 || strchr(" \t[{,", line[i - 1]);

            if (quote) {
                if (c == '\\' && quote == '"')
                    i++;
                else if (c == quote)
                    quote = '\0';
            } else if ((c == '"' || c == '\'') && starts) {
                quote = c;
            } else if (c == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
                add_comment(e, number, line + i, len - i, strspn(line, " \t") < i);
                end = i;
                break;
            }
        }
        if (block == SIZE_MAX && !quote && begins_block(line, end))
            block = indent;
        line += len + (line[len] == '\n');
    }
}

static bool is_leaf(const struct llem_value *v)
{
    return (v->kind != LLEM_MAP && v->kind != LLEM_LIST) || v->count == 0;
}

/* A list without maps, which is written in one line. */
static bool in_one_line(const struct llem_value *v)
{
    if (v->kind == LLEM_MAP)
        return v->count == 0;
    for (size_t i = 0; v->kind == LLEM_LIST && i < v->count; i++)
        if (!in_one_line(v->items[i]))
            return false;
    return true;
}

static size_t count_leaves(const struct llem_value *v, int *lines, size_t n)
{
    if (in_one_line(v)) {
        if (lines)
            lines[n] = v->line;
        return n + 1;
    }
    for (size_t i = 0; i < v->count; i++)
        n = count_leaves(v->items[i], lines, n);
    return n;
}

static int compare_lines(const void *x, const void *y)
{
    const int *a = x, *b = y;

    return *a < *b ? -1 : *a > *b;
}

/* The comments that go with a value on this line: those after the value before it. */
static void write_comments(struct emitter *e, int line, bool beside, size_t indent)
{
    int above = 0;

    for (size_t i = 0; i < e->n_lines && e->lines[i] < line; i++)
        above = e->lines[i];
    for (size_t i = 0; line && i < e->count; i++) {
        struct comment *c = &e->comments[i];
        bool here = c->line == line && c->beside;

        if (c->written || c->line <= above || c->line > line || here != beside)
            continue;
        c->written = true;
        if (beside)
            llem_buf_adds(e->b, "  ");
        else
            llem_buf_addf(e->b, "%*s", (int)indent, "");
        llem_buf_add(e->b, c->text, c->len);
        if (!beside)
            llem_buf_addc(e->b, '\n');
    }
}

/* ---- values --------------------------------------------------------------------------------- */

/* May the text stand without quotes? Only where it is read as this very text everywhere. */
static bool plain(struct llem_arena *a, const char *s, size_t len)
{
    const struct llem_value *read;

    if (!len || s[len - 1] == ' ' || s[len - 1] == ':' || strlen(s) != len ||
        !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./", *s))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-=~@: ",
                    s[i]) ||
            (s[i] == ':' && s[i + 1] == ' '))
            return false;
    read = llem_yaml_scalar(a, s);
    return read && read->kind == LLEM_STRING && strcmp(read->s, s) == 0;
}

static void write_string(struct emitter *e, const char *s, size_t len)
{
    struct llem_value v = { .kind = LLEM_STRING, .s = s, .len = len };

    if (plain(e->a, s, len))
        llem_buf_add(e->b, s, len);
    else
        llem_json_dump(e->b, &v, LLEM_JSON_COMPACT);
}

/* YAML 1.1 takes an exponent for one only after a dot. */
static void write_real(struct emitter *e, double d)
{
    char text[32], *exponent;

    if (!isfinite(d)) {
        llem_buf_adds(e->b, isnan(d) ? ".nan" : d < 0 ? "-.inf" : ".inf");
        return;
    }
    llem_format_f64(text, d, true);
    exponent = strchr(text, 'e');
    if (exponent && !strchr(text, '.'))
        llem_buf_addf(e->b, "%.*s.0%s", (int)(exponent - text), text, exponent);
    else
        llem_buf_adds(e->b, text);
}

static void write_inline(struct emitter *e, const struct llem_value *v)
{
    if (v->source == LLEM_TAG_UNSET || v->source == LLEM_TAG_LITERAL)
        llem_buf_adds(e->b, v->source == LLEM_TAG_UNSET ? "!unset" : "!literal ");
    if (v->source == LLEM_TAG_UNSET)
        return;
    switch (v->kind) {
    case LLEM_REAL:
        write_real(e, v->d);
        break;
    case LLEM_STRING:
        write_string(e, v->s, v->len);
        break;
    case LLEM_LIST:
        llem_buf_addc(e->b, '[');
        for (size_t i = 0; i < v->count; i++) {
            llem_buf_adds(e->b, i ? ", " : "");
            write_inline(e, v->items[i]);
        }
        llem_buf_addc(e->b, ']');
        break;
    default:
        llem_json_dump(e->b, v, LLEM_JSON_COMPACT); /* of a map: {} */
        break;
    }
}

static int first_line(const struct llem_value *v)
{
    while (!in_one_line(v))
        v = v->items[0];
    return v->line;
}

/* begun: the first line is indented already, behind a dash. */
static void write_block(struct emitter *e, const struct llem_value *v, size_t indent, bool begun)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct llem_value *item = v->items[i];

        if (in_one_line(item)) {
            if (!begun)
                write_comments(e, item->line, false, indent);
            llem_buf_addf(e->b, "%*s", begun ? 0 : (int)indent, "");
            if (v->kind == LLEM_MAP) {
                write_string(e, v->keys[i], strlen(v->keys[i]));
                llem_buf_adds(e->b, ": ");
            } else {
                llem_buf_adds(e->b, "- ");
            }
            write_inline(e, item);
            write_comments(e, item->line, true, indent);
            if (item->source == LLEM_FROM_DEFAULT)
                llem_buf_adds(e->b, "  # what that schema took for it");
            llem_buf_addc(e->b, '\n');
        } else if (v->kind == LLEM_MAP) {
            llem_buf_addf(e->b, "%*s", begun ? 0 : (int)indent, "");
            write_string(e, v->keys[i], strlen(v->keys[i]));
            llem_buf_adds(e->b, ":\n");
            write_block(e, item, indent + 2, false);
        } else {
            if (!begun)
                write_comments(e, first_line(item), false, indent);
            llem_buf_addf(e->b, "%*s- ", begun ? 0 : (int)indent, "");
            write_block(e, item, indent + 2, true);
        }
        begun = false;
    }
}

void llem__yaml_dump(struct llem_buf *b, struct llem_arena *a, const struct llem_value *v,
                     const char *text, size_t *kept, size_t *at_end)
{
    struct emitter e = { .a = a, .b = b };
    bool any = false;

    find_comments(&e, text);
    e.n_lines = count_leaves(v, NULL, 0);
    e.lines = llem_arena_calloc(a, e.n_lines + 1, sizeof(*e.lines));
    if (!e.lines)
        return;
    count_leaves(v, e.lines, 0);
    qsort(e.lines, e.n_lines, sizeof(*e.lines), compare_lines);
    if (is_leaf(v)) {
        write_inline(&e, v);
        llem_buf_addc(b, '\n');
    } else {
        write_block(&e, v, 0, false);
    }
    *kept = *at_end = 0;
    for (size_t i = 0; i < e.count; i++) {
        if (e.comments[i].written) {
            ++*kept;
            continue;
        }
        llem_buf_adds(b, any ? "" : "# Further comments:\n");
        any = true;
        llem_buf_add(b, e.comments[i].text, e.comments[i].len);
        llem_buf_addc(b, '\n');
        ++*at_end;
    }
}
