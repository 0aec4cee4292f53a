/* SPDX-License-Identifier: MIT
 *
 * JSON in, strictly, and out: ordered keys, shortest round-trip doubles.
 */
#ifndef LLEM_BASE_JSON_H
#define LLEM_BASE_JSON_H

#include "lib/base/value.h"

enum llem_json_style {
    LLEM_JSON_COMPACT, /* one line, UTF-8, insertion order */
    LLEM_JSON_PRETTY,  /* two spaces, UTF-8, insertion order, no newline at the end */
    LLEM_JSON_PYTHON,  /* as json.dumps(..., sort_keys=True): what hashes are taken of */
    LLEM_JSON_CANON,   /* sorted, no spaces, UTF-8, floats at 12 digits: resolved hashes */
};

void llem_json_dump(struct llem_buf *out, const struct llem_value *v, enum llem_json_style style);

/*
 * Parse one JSON document (any kind at the root). Duplicate keys, NaN, numbers that do not fit,
 * \u0000, more than 512 levels and bytes after the end are errors, as is everything that RFC 8259
 * does not allow. `name` is shown in errors, which carry line and column (in characters); values
 * carry none. Configuration files in JSON go through the YAML reader, which keeps positions.
 */
llem_errcode llem_json_parse(struct llem_arena *a, struct llem_value **out, const char *text,
                             size_t len, const char *name, llem_error *err);
llem_errcode llem_json_load(struct llem_arena *a, struct llem_value **out, const char *path,
                            size_t max_bytes, llem_error *err);
/* Pretty, with a newline at the end, atomically (file.h). */
llem_errcode llem_json_save(const char *path, const struct llem_value *v, llem_error *err);

#endif
