/* SPDX-License-Identifier: MIT
 *
 * Libraries of others by dlopen().
 */
#include "lib/base/symbols.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The first of the names "new|old" that the library has; NULL if none. */
static void *lookup(void *handle, const char *names)
{
    char name[128];

    while (*names) {
        size_t len = strcspn(names, "|");
        void *symbol;

        if (len < sizeof(name)) {
            memcpy(name, names, len);
            name[len] = '\0';
            symbol = dlsym(handle, name);
            if (symbol)
                return symbol;
        }
        names += len + (names[len] == '|');
    }
    return NULL;
}

llem_errcode llem_symbols_load(void **handle, const char *library,
                               const struct llem_symbol *symbols, size_t count, llem_error *err)
{
    void *h = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    char missing[256];
    size_t used = 0;

    if (!h) {
        const char *why = dlerror();

        return llem_fail(err, LLEM_ENOTFOUND, "The library %s cannot be loaded: %s.", library,
                         why ? why : "no reason given");
    }
    missing[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        void *symbol = lookup(h, symbols[i].name);

        /* POSIX gives a data pointer for a function; the copy is its own way to convert it. */
        memcpy(symbols[i].slot, &symbol, sizeof(symbol));
        if (!symbol && symbols[i].required && used < sizeof(missing)) {
            int n = snprintf(missing + used, sizeof(missing) - used, "%s%s", used ? ", " : "",
                             symbols[i].name);

            used += n > 0 ? (size_t)n : 0;
        }
    }
    if (missing[0]) {
        for (size_t i = 0; i < count; i++)
            *symbols[i].slot = NULL;
        dlclose(h);
        return llem_fail(err, LLEM_ENOTSUP, "The library %s lacks %s.", library, missing);
    }
    *handle = h;
    return LLEM_OK;
}
