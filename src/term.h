/* SPDX-License-Identifier: MIT
 *
 * What the terminal can show: whether it is one, its width, colours, characters beyond ASCII; and
 * text that is measured, cut and made harmless for it.
 */
#ifndef LLEM_SRC_TERM_H
#define LLEM_SRC_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Escape sequences, or "" where there is no colour. */
struct palette {
    const char *reset, *bold, *dim, *red, *green, *yellow, *cyan;
};

/* The few characters beyond ASCII that are used, or their stand-ins. */
struct glyphs {
    const char *tick, *cross, *skip, *warn, *dot, *ellipsis, *plus_minus, *dash, *to, *per;
    const char *const *spinner; /* ends with NULL */
    const char *const *bars;    /* eight heights, or NULL */
};

struct term {
    int fd;
    bool tty;  /* and able to move the cursor */
    bool utf8; /* by LC_ALL, LC_CTYPE, LANG */
    struct palette color;
    const struct glyphs *glyphs;
};

void term_init(struct term *t, int fd);
/* Columns now: the window's, COLUMNS, or 80. */
size_t term_columns(const struct term *t);

/* Rows now: the window's, LINES, or 24. */
size_t term_rows(const struct term *t);

/* Columns that a UTF-8 text takes; wide East Asian characters count two, combining ones none. */
size_t text_columns(const char *s);
/* Copy s, at most `columns` wide (an ellipsis marks a cut), control characters and broken UTF-8
 * replaced by
 * "?", so that nothing read from a file can steer the terminal. */
void text_clip(const struct glyphs *g, char *out, size_t size, const char *s, size_t columns);
/* Print with control characters replaced; newlines stay. */
void text_print(FILE *f, const char *s);
/* Print s wrapped at words: the first line starts at column `at`, further ones are indented to it.
 */
void text_wrap(FILE *f, const char *s, size_t at, size_t columns);
/* "4.2s", "4m 32s", "1h 05m" */
void text_elapsed(char out[24], double s);

#endif
