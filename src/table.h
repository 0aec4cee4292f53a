/* SPDX-License-Identifier: MIT
 *
 * Results for people and for other programs: one list of rows, four formats, several results side
 * by side.
 */
#ifndef LLEM_SRC_TABLE_H
#define LLEM_SRC_TABLE_H

#include "llem/result.h"
#include "src/term.h"

#define TABLE_FORMATS "table|json|csv|md|parquet"

enum { TABLE_CELL = 192 };

/* Print `count` results in a format of TABLE_FORMATS (NULL: table). */
void table_print(FILE *f, const struct term *t, const char *format,
                 const llem_result *const *results, size_t count);

/* The same of a study: a block for each quantity, a line for each configuration. Not csv and
 * parquet, which llem_study_table() makes. */
void study_print(FILE *f, const struct term *t, const char *format, const llem_result *study);

/* What studies and comparisons show, in this order. `estimate`: shown with "~" where the quantity
 * itself has no value. Ends with name NULL. */
struct study_quantity {
    const char *title, *name, *estimate, *unit;
};
extern const struct study_quantity study_quantities[];

/* "1.23 +- 0.04 J", or with both ends where they are not even, or without what is not known (NaN).
 */
void table_number(char out[TABLE_CELL], const struct glyphs *g, double value, double low,
                  double high, const char *unit, bool estimate);
/* "0.81 (0.79 to 0.83)"; without an interval where there is none (NaN). */
void table_ratio(char out[TABLE_CELL], const struct glyphs *g, double value, double low,
                 double high);
/* A text of a result; `otherwise` where it is absent, null or empty. */
const char *table_string(const llem_result *r, const char *path, const char *otherwise);
/* s, with spaces after it up to a width. */
void table_pad(FILE *f, const char *s, size_t columns);

#endif
