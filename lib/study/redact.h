/* SPDX-License-Identifier: MIT
 *
 * Taking out of a study's files what tells the machine and the person (docs/formats.md, "llem pack
 * --redact").
 */
#ifndef LLEM_STUDY_REDACT_H
#define LLEM_STUDY_REDACT_H

#include "lib/base/value.h"

/* What is written instead of what; made of all files before any is written, so that the same text
 * becomes the same everywhere. */
struct llem_redaction {
    struct llem_arena *a;
    struct llem_arena *texts; /* of a document that is redacted: its own */
    struct llem_value *words; /* text to what stands instead of it as a word */
    struct llem_value *paths; /* absolute path to its number */
    size_t models, data;
};

void llem_redaction_init(struct llem_redaction *r, struct llem_arena *a);
/* Learn the model and the data of a run from its experiment.json. */
void llem_redaction_learn(struct llem_redaction *r, const struct llem_value *experiment);
/* A text without them, appended to out. */
void llem_redact_text(struct llem_redaction *r, struct llem_buf *out, const char *text);
/* A document in place: its texts, and the keys that are about the machine. */
void llem_redact_document(struct llem_redaction *r, struct llem_value *v);

/* The absolute path at s, which is within a text that starts at begin; 0 = there is none. */
size_t llem_absolute_path(const char *s, const char *begin);

#endif
