/* SPDX-License-Identifier: MIT
 *
 * What engines' libraries say, as rules to be written.
 */
#ifndef LLEM_STUDY_GAPS_H
#define LLEM_STUDY_GAPS_H

#include "lib/base/base.h"
#include "llem/study.h"

/* A message without what differs from run to run: times, line numbers, absolute paths, digests and
 * numbers by themselves are <TIMESTAMP>, <LINENO>, <PATH>, <HEX> and <NUM>. In the arena. */
char *llem_message_template(struct llem_arena *a, const char *text);

#endif
