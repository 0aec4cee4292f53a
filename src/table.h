/* SPDX-License-Identifier: MIT
 *
 * Results for people and for other programs: one list of rows, four formats, several results side
 * by side.
 */
#ifndef LLEM_SRC_TABLE_H
#define LLEM_SRC_TABLE_H

#include "llem/result.h"
#include "src/term.h"

#define TABLE_FORMATS "table|json|csv|md"

/* Print `count` results in a format of TABLE_FORMATS (NULL: table). */
void table_print(FILE *f, const struct term *t, const char *format,
                 const llem_result *const *results, size_t count);

#endif
