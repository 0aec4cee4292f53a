/* SPDX-License-Identifier: MIT
 *
 * Libraries that are opened when they are needed and there, by a table of symbols: one binary runs
 * with and without a driver, with drivers of different ages, and starts without what it rarely
 * uses.
 */
#ifndef LLEM_BASE_SYMBOLS_H
#define LLEM_BASE_SYMBOLS_H

#include "lib/base/base.h"

struct llem_symbol {
    const char *name; /* newest first: "a|b" tries a, then b */
    void (**slot)(void);
    bool required;
};
/* dlopen `library` and fill the slots. *handle is the caller's, to dlclose(). Missing required
 * symbols are named in the error. */
llem_errcode llem_symbols_load(void **handle, const char *library,
                               const struct llem_symbol *symbols, size_t count, llem_error *err);

#endif
