/* SPDX-License-Identifier: MIT
 *
 * Parquet files: every column of text, with every value touched.
 */
#include <stdint.h>

#include "lib/base/parquet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_parquet_text *texts;
    struct llem_parquet p;
    volatile char touched = 0;
    llem_error err;

    a.max = (size_t)64 << 20;
    if (llem_parquet_open(&p, data, size, "fuzz", 20000, (size_t)4 << 20, &a, &err) == LLEM_OK)
        for (size_t c = 0; c < p.n_columns && c < 16; c++) {
            if (!p.columns[c].text || llem_parquet_read(&p, &p.columns[c], &texts, &err) != LLEM_OK)
                continue;
            for (size_t i = 0; i < p.n_rows; i++) {
                if (!texts[i].s && (texts[i].len || !p.columns[c].optional))
                    __builtin_trap();
                for (size_t k = 0; k < texts[i].len && k < 64; k++)
                    touched = (char)(touched ^ texts[i].s[texts[i].len - 1 - k]);
            }
        }
    llem_arena_done(&a);
    return 0;
}
