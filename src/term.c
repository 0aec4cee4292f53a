/* SPDX-License-Identifier: MIT */
#include "src/term.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const braille[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", NULL };
static const char *const strokes[] = { "-", "\\", "|", "/", NULL };
static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█", NULL };

static const struct glyphs glyphs_utf8 = {
    .tick = "✓",
    .cross = "✗",
    .skip = "–",
    .warn = "!",
    .dot = "·",
    .ellipsis = "…",
    .plus_minus = "±",
    .dash = "—",
    .to = "…",
    .per = "·",
    .spinner = braille,
    .bars = bars,
};
static const struct glyphs glyphs_ascii = {
    .tick = "*",
    .cross = "x",
    .skip = "-",
    .warn = "!",
    .dot = "-",
    .ellipsis = "...",
    .plus_minus = "+/-",
    .dash = "-",
    .to = "to",
    .per = "|",
    .spinner = strokes,
    .bars = NULL,
};

static const struct palette palette_none = { "", "", "", "", "", "", "" };
static const struct palette palette_ansi = {
    "\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[36m",
};

static bool locale_is_utf8(void)
{
    const char *names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

void term_init(struct term *t, int fd)
{
    const char *kind = getenv("TERM"), *no_color = getenv("NO_COLOR");

    t->fd = fd;
    t->tty = isatty(fd) && kind && *kind && strcmp(kind, "dumb") != 0;
    t->utf8 = locale_is_utf8();
    t->color = t->tty && !(no_color && *no_color) ? palette_ansi : palette_none;
    t->glyphs = t->utf8 ? &glyphs_utf8 : &glyphs_ascii;
}

/* What a variable says of the terminal's size; 0: nothing. */
static size_t size_of(const char *name, unsigned long least)
{
    const char *value = getenv(name);
    char *end;
    unsigned long n = value ? strtoul(value, &end, 10) : 0;

    return n >= least && n <= 1000 && !*end ? n : 0;
}

size_t term_columns(const struct term *t)
{
    struct winsize w;
    size_t n;

    if (ioctl(t->fd, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20)
        return w.ws_col;
    n = size_of("COLUMNS", 20);
    return n ? n : 80;
}

size_t term_rows(const struct term *t)
{
    struct winsize w;
    size_t n;

    if (ioctl(t->fd, TIOCGWINSZ, &w) == 0 && w.ws_row >= 1)
        return w.ws_row;
    n = size_of("LINES", 1);
    return n ? n : 24;
}

/* One character: its length in bytes, 0 at the end; *code is U+FFFD where the bytes are no UTF-8.
 */
static size_t next_char(const char *s, uint32_t *code)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = u[0] < 0x80 ? 1 : (u[0] & 0xe0) == 0xc0 ? 2 : (u[0] & 0xf0) == 0xe0 ? 3 : 4;
    uint32_t c;

    if (!u[0])
        return 0;
    if (n == 1) {
        *code = u[0];
        return 1;
    }
    c = u[0] & (0xff >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            *code = 0xfffd;
            return i;
        }
        c = c << 6 | (u[i] & 0x3f);
    }
    if (u[0] >= 0xf8 || u[0] < 0xc2 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    *code = c;
    return n;
}

static size_t char_columns(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } wide[] = {
        { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },   { 0xac00, 0xd7a3 },
        { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },
        { 0x1f300, 0x1f64f }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
    };

    if ((c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f))
        return 0;
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
        if (c >= wide[i].first && c <= wide[i].last)
            return 2;
    return 1;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfffd || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

size_t text_columns(const char *s)
{
    size_t columns = 0, n;
    uint32_t c;

    while ((n = next_char(s, &c))) {
        columns += char_columns(c);
        s += n;
    }
    return columns;
}

void text_clip(const struct glyphs *g, char *out, size_t size, const char *s, size_t columns)
{
    bool cut = text_columns(s) > columns;
    size_t dots = text_columns(g->ellipsis), room = columns, used = 0, at = 0, n;
    uint32_t c;

    if (cut)
        room = columns > dots ? columns - dots : 0;
    while ((n = next_char(s, &c))) {
        size_t width = char_columns(c);

        if (used + width > room || at + n + strlen(g->ellipsis) + 1 > size)
            break;
        if (is_control(c)) {
            out[at++] = '?';
        } else {
            memcpy(out + at, s, n);
            at += n;
        }
        used += width;
        s += n;
    }
    out[at] = 0;
    if (cut && columns >= dots && at + strlen(g->ellipsis) + 1 <= size)
        memcpy(out + at, g->ellipsis, strlen(g->ellipsis) + 1);
}

void text_print(FILE *f, const char *s)
{
    size_t n;
    uint32_t c;

    while ((n = next_char(s, &c))) {
        if (is_control(c) && c != '\n' && c != '\t')
            fputc('?', f);
        else
            fwrite(s, 1, n, f);
        s += n;
    }
}

void text_wrap(FILE *f, const char *s, size_t at, size_t columns)
{
    size_t column = at;
    bool first = true;

    if (columns < at + 20)
        columns = at + 20;
    while (*s) {
        size_t len = strcspn(s, " \n");
        char word[256];
        size_t width;

        snprintf(word, sizeof(word), "%.*s", (int)len, s);
        width = text_columns(word);
        if (!first && column + 1 + width > columns) {
            fprintf(f, "\n%*s", (int)at, "");
            column = at;
            first = true;
        }
        if (!first) {
            fputc(' ', f);
            column++;
        }
        text_print(f, word);
        column += width;
        first = false;
        s += len;
        if (*s == '\n') {
            fprintf(f, "\n%*s", s[1] ? (int)at : 0, "");
            column = at;
            first = true;
        }
        s += *s != 0;
    }
    if (!first)
        fputc('\n', f);
}

void text_elapsed(char out[24], double s)
{
    if (!isfinite(s) || s < 0)
        snprintf(out, 24, "-");
    else if (s < 59.95)
        snprintf(out, 24, "%.1fs", s);
    else if (s < 3599.5)
        snprintf(out, 24, "%dm %02ds", (int)(s + 0.5) / 60, (int)(s + 0.5) % 60);
    else
        snprintf(out, 24, "%dh %02dm", (int)(fmin(s, 1e9) / 3600),
                 (int)fmod(fmin(s, 1e9) / 60, 60));
}
