/* SPDX-License-Identifier: MIT
 *
 * Failing with a sentence, growable buffers, arenas, and the few things about text and numbers that
 * the C library does only in the locale of the moment.
 */
#include "lib/base/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ------------------------------------------------------------------------------- */

const char *llem_errcode_name(llem_errcode code)
{
    /* The list has the names in capitals; they are so few that a second table is the simplest. */
    switch (code) {
    case LLEM_OK:
        return "ok";
    case LLEM_EINVAL:
        return "inval";
    case LLEM_ENOMEM:
        return "nomem";
    case LLEM_EIO:
        return "io";
    case LLEM_ECONFIG:
        return "config";
    case LLEM_ENOTSUP:
        return "notsup";
    case LLEM_EPLUGIN:
        return "plugin";
    case LLEM_ECANCELED:
        return "canceled";
    case LLEM_ETIMEOUT:
        return "timeout";
    case LLEM_EPREFLIGHT:
        return "preflight";
    case LLEM_ENOTFOUND:
        return "notfound";
    case LLEM_ECORRUPT:
        return "corrupt";
    case LLEM_ECRASHED:
        return "crashed";
    case LLEM_ESTUDY:
        return "study";
    }
    return "unknown";
}

const char *llem_errcode_text(llem_errcode code)
{
    switch (code) {
    case LLEM_OK:
        return "success";
#define X(id, num, text)                                                                           \
    case LLEM_E##id:                                                                               \
        return text;
        LLEM_ERRCODES(X)
#undef X
    }
    return "unknown error";
}

/* The length of the longest prefix of s[0..len) that does not end inside a UTF-8 character. */
static size_t whole_characters(const char *s, size_t len)
{
    size_t start = len;
    unsigned char lead;
    size_t need;

    while (start > 0 && len - start < 3 && ((unsigned char)s[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return len;
    lead = (unsigned char)s[start - 1];
    need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return need > len - start + 1 ? start - 1 : len;
}

/* Sentences quote files that may mean no good, and end on terminals: what is not UTF-8 and what a
 * terminal would take for a command becomes a question mark. */
static void defuse(char *s)
{
    size_t len = strlen(s);
    size_t n, i;
    uint32_t c;

    while (len) {
        n = llem_utf8_next(s, len, &c);
        if (n == 0) {
            *s = '?';
            n = 1;
        } else if ((c < 0x20 && c != '\n') || (c >= 0x7F && c < 0xA0)) {
            for (i = 0; i < n; i++)
                s[i] = '?';
        }
        s += n;
        len -= n;
    }
}

/* As vsnprintf, but cuts at whole characters, never fails, and `out` may be among the arguments. */
__attribute__((format(printf, 3, 0))) static void format_cut(char *out, size_t size,
                                                             const char *fmt, va_list ap)
{
    char text[2048];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    size_t len;

    if (n < 0) {
        text[0] = '\0';
        n = 0;
    }
    len = strlen(text);
    if ((size_t)n > len || len >= size) {
        if (len >= size)
            len = size - 1;
        len = whole_characters(text, len);
    }
    memcpy(out, text, len);
    out[len] = '\0';
    defuse(out);
}

static void set_file(llem_error *err, const char *file)
{
    size_t len = file ? strlen(file) : 0;
    size_t room = sizeof(err->file) - 1;

    if (len == 0) {
        err->file[0] = '\0';
        return;
    }
    if (len > room) {
        /* The tail tells more than the head; begin it at a whole character. */
        static const char mark[] = "...";
        const char *tail = file + (len - (room - strlen(mark)));

        while (((unsigned char)*tail & 0xC0) == 0x80)
            tail++;
        memcpy(err->file, mark, strlen(mark));
        memmove(err->file + strlen(mark), tail, strlen(tail) + 1);
        defuse(err->file);
        return;
    }
    memmove(err->file, file, len + 1);
    defuse(err->file);
}

__attribute__((format(printf, 6, 0))) static llem_errcode
fail_va(llem_error *err, llem_errcode code, const char *file, int line, int column, const char *fmt,
        va_list ap)
{
    int saved = errno;

    if (err) {
        format_cut(err->msg, sizeof(err->msg), fmt, ap);
        set_file(err, file);
        err->code = code;
        err->line = line;
        err->column = column;
        err->hint[0] = '\0';
    }
    errno = saved;
    return code;
}

llem_errcode llem_fail(llem_error *err, llem_errcode code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_va(err, code, NULL, 0, 0, fmt, ap);
    va_end(ap);
    return code;
}

llem_errcode llem_fail_at(llem_error *err, llem_errcode code, const char *file, int line,
                          int column, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_va(err, code, file, line, column, fmt, ap);
    va_end(ap);
    return code;
}

llem_errcode llem_context(llem_error *err, llem_errcode code, const char *fmt, ...)
{
    char prefix[sizeof(err->msg)];
    char old[sizeof(err->msg)];
    size_t plen, olen;
    va_list ap;

    if (!err)
        return code;
    va_start(ap, fmt);
    format_cut(prefix, sizeof(prefix) - 2, fmt, ap);
    va_end(ap);

    olen = strlen(err->msg);
    memcpy(old, err->msg, olen + 1);
    plen = strlen(prefix);
    memcpy(err->msg, prefix, plen);
    memcpy(err->msg + plen, ": ", 2);
    plen += 2;
    if (olen > sizeof(err->msg) - 1 - plen)
        olen = whole_characters(old, sizeof(err->msg) - 1 - plen);
    memcpy(err->msg + plen, old, olen);
    err->msg[plen + olen] = '\0';
    return code;
}

llem_errcode llem_hint(llem_error *err, llem_errcode code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return code;
    va_start(ap, fmt);
    format_cut(err->hint, sizeof(err->hint), fmt, ap);
    va_end(ap);
    return code;
}

/* ---- buffers ------------------------------------------------------------------------------ */

/* What every buffer without memory points to. It lies in read-only memory, so that a write to it is
 * a fault at once and not a string that has changed for everybody; the alias only drops the const.
 */
static const char empty_text[1] = "";
extern char llem__buf_empty[1] __attribute__((alias("empty_text")));

void llem_buf_init(struct llem_buf *b, size_t max)
{
    *b = (struct llem_buf)LLEM_BUF_INIT(max);
}

void llem_buf_done(struct llem_buf *b)
{
    if (!b)
        return;
    if (b->cap)
        free(b->data);
    llem_buf_init(b, b->max);
}

void llem_buf_clear(struct llem_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->cap)
        b->data[0] = '\0';
}

/* Room for `extra` more bytes and the NUL. */
static bool reserve(struct llem_buf *b, size_t extra)
{
    size_t need, cap;
    char *data;

    if (b->failed)
        return false;
    if (extra > b->max - b->len || b->len + extra == SIZE_MAX) {
        b->failed = true;
        return false;
    }
    need = b->len + extra + 1;
    if (need <= b->cap)
        return true;
    cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (b->max < SIZE_MAX && cap > b->max + 1)
        cap = b->max + 1;
    data = realloc(b->cap ? b->data : NULL, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return true;
}

void *llem_buf_grow(struct llem_buf *b, size_t len)
{
    char *at;

    if (!reserve(b, len))
        return NULL;
    at = b->data + b->len;
    b->len += len;
    b->data[b->len] = '\0';
    return at;
}

void llem_buf_add(struct llem_buf *b, const void *data, size_t len)
{
    void *at;

    if (len == 0)
        return;
    at = llem_buf_grow(b, len);
    if (at)
        memcpy(at, data, len);
}

void llem_buf_adds(struct llem_buf *b, const char *s)
{
    llem_buf_add(b, s, strlen(s));
}

void llem_buf_addc(struct llem_buf *b, char c)
{
    llem_buf_add(b, &c, 1);
}

void llem_buf_vaddf(struct llem_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    char text[256];
    int n;

    if (b->failed)
        return;
    va_copy(again, ap);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof(text)) {
        llem_buf_add(b, text, (size_t)n);
    } else if (reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void llem_buf_addf(struct llem_buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    llem_buf_vaddf(b, fmt, ap);
    va_end(ap);
}

char *llem_buf_take(struct llem_buf *b)
{
    char *text = NULL;

    if (b->failed) {
        llem_buf_done(b);
        return NULL;
    }
    text = b->cap ? b->data : calloc(1, 1);
    llem_buf_init(b, b->max);
    return text;
}

/* ---- arenas ------------------------------------------------------------------------------- */

struct llem_arena_block {
    struct llem_arena_block *next;
    size_t size; /* of what follows this header */
};

enum {
    ALIGN = _Alignof(max_align_t),
    HEADER = (sizeof(struct llem_arena_block) + ALIGN - 1) / ALIGN * ALIGN,
    FIRST_BLOCK = 4096 - HEADER,
    LARGEST_BLOCK = 256 * 1024 - HEADER,
};

void llem_arena_done(struct llem_arena *a)
{
    struct llem_arena_block *next;
    size_t max;

    if (!a)
        return;
    while (a->blocks) {
        next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    max = a->max;
    *a = (struct llem_arena)LLEM_ARENA_INIT;
    a->max = max;
}

void *llem_arena_alloc(struct llem_arena *a, size_t size)
{
    struct llem_arena_block *block;
    size_t want, room;
    char *at;

    if (a->oom)
        return NULL;
    if (size > SIZE_MAX / 2)
        goto fail;
    size = size ? (size + ALIGN - 1) / ALIGN * ALIGN : ALIGN;

    if (a->blocks && size <= a->blocks->size - a->used) {
        at = (char *)a->blocks + HEADER + a->used;
        a->used += size;
        return at;
    }

    want = a->blocks ? a->blocks->size * 2 + HEADER : FIRST_BLOCK;
    if (want > LARGEST_BLOCK)
        want = LARGEST_BLOCK;
    if (want < size)
        want = size;
    if (a->max) {
        room = a->max - a->total;
        if (room < HEADER || size > room - HEADER)
            goto fail;
        if (want > room - HEADER)
            want = (room - HEADER) / ALIGN * ALIGN;
    }
    block = calloc(1, HEADER + want);
    if (!block)
        goto fail;
    block->size = want;
    a->total += HEADER + want;
    at = (char *)block + HEADER;
    if (a->blocks && want - size < a->blocks->size - a->used) {
        /* The block in use has more left than this one will have: go on with it. */
        block->next = a->blocks->next;
        a->blocks->next = block;
        return at;
    }
    block->next = a->blocks;
    a->blocks = block;
    a->used = size;
    return at;

fail:
    a->oom = true;
    return NULL;
}

void *llem_arena_calloc(struct llem_arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        a->oom = true;
        return NULL;
    }
    return llem_arena_alloc(a, count * size);
}

char *llem_arena_strndup(struct llem_arena *a, const char *s, size_t len)
{
    char *copy;

    if (!s)
        return NULL;
    if (len == SIZE_MAX) {
        a->oom = true;
        return NULL;
    }
    copy = llem_arena_alloc(a, len + 1);
    if (copy)
        memcpy(copy, s, len);
    return copy;
}

char *llem_arena_strdup(struct llem_arena *a, const char *s)
{
    return s ? llem_arena_strndup(a, s, strlen(s)) : NULL;
}

char *llem_arena_printf(struct llem_arena *a, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        a->oom = true;
        return NULL;
    }
    text = llem_arena_alloc(a, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

/* ---- strings ------------------------------------------------------------------------------ */

bool llem_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool llem_ends_with(const char *s, const char *suffix)
{
    size_t len = strlen(s);
    size_t slen = strlen(suffix);

    return slen <= len && memcmp(s + len - slen, suffix, slen) == 0;
}

size_t llem_utf8_next(const char *s, size_t len, uint32_t *ret)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n, i;
    uint32_t c;

    if (len == 0)
        return 0;
    if (p[0] < 0x80) {
        *ret = p[0];
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        n = 2;
        c = p[0] & 0x1FU;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        n = 3;
        c = p[0] & 0x0FU;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        n = 4;
        c = p[0] & 0x07U;
    } else {
        return 0;
    }
    if (len < n)
        return 0;
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3FU);
    }
    /* Overlong forms of two bytes are excluded by the lead byte. */
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10FFFF ||
        (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *ret = c;
    return n;
}

bool llem_utf8_valid(const char *s, size_t len)
{
    uint32_t c;
    size_t n;

    while (len) {
        n = llem_utf8_next(s, len, &c);
        if (n == 0)
            return false;
        s += n;
        len -= n;
    }
    return true;
}

enum { LONGEST_NAME = 128 };

/* Optimal string alignment: insert, delete, replace, or swap two neighbours. Both at most
 * LONGEST_NAME long. */
static size_t distance(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned char rows[3][LONGEST_NAME + 1];
    unsigned char *before = rows[0], *last = rows[1], *row = rows[2], *spare;
    size_t i, j, cost, best;

    for (j = 0; j <= blen; j++)
        last[j] = (unsigned char)j;
    for (i = 1; i <= alen; i++) {
        row[0] = (unsigned char)i;
        for (j = 1; j <= blen; j++) {
            cost = a[i - 1] != b[j - 1];
            best = last[j - 1] + cost;
            if (best > last[j] + 1U)
                best = last[j] + 1U;
            if (best > row[j - 1] + 1U)
                best = row[j - 1] + 1U;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                best > before[j - 2] + 1U)
                best = before[j - 2] + 1U;
            row[j] = (unsigned char)best;
        }
        spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[blen];
}

const char *llem_nearest(const char *word, const char *const *names)
{
    size_t len = strlen(word);
    size_t limit = len / 3 ? len / 3 : 1;
    const char *best = NULL;
    size_t d, nlen;

    if (len == 0 || len > LONGEST_NAME)
        return NULL;
    for (; *names; names++) {
        nlen = strlen(*names);
        if (nlen > LONGEST_NAME || (nlen > len ? nlen - len : len - nlen) > limit)
            continue;
        d = distance(word, len, *names, nlen);
        /* A word of which nothing is left is no misspelling of the other. */
        if (d > limit || d >= len)
            continue;
        best = *names;
        if (d == 0)
            break;
        limit = d - 1;
    }
    return best;
}
