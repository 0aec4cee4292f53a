/* SPDX-License-Identifier: MIT
 *
 * Why a number is missing or doubtful: the one list of reason codes, each with a sentence and a
 * hint that says what the user can do. Append only.
 */
#ifndef LLEM_RESULT_REASONS_H
#define LLEM_RESULT_REASONS_H

struct llem_reason {
    const char *code, *sentence, *hint;
};
extern const struct llem_reason llem_reasons[];               /* ends with code NULL */
const struct llem_reason *llem_reason_find(const char *code); /* NULL if unknown */

#endif
