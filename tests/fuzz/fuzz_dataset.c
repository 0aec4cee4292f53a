/* SPDX-License-Identifier: MIT
 *
 * Prompts from files of every format: the first byte says which.
 */
#include <stdint.h>

#include "lib/measure/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena arena = LLEM_ARENA_INIT;
    struct llem_record *records = NULL;
    size_t count = 0;
    llem_error err;

    if (size < 1)
        return 0;
    arena.max = (size_t)64 << 20;
    if (llem_dataset_parse(&records, &count,
                           data[0] < 0x80 ? (enum llem_dataset_format)(data[0] % 4)
                                          : LLEM_DATASET_PARQUET,
                           (const char *)data + 1, size - 1, "fuzz", &arena, &err) == LLEM_OK)
        for (size_t i = 0; i < count; i++)
            if (!records[i].text[0] || !records[i].kind)
                __builtin_trap();
    llem_arena_done(&arena);
    return 0;
}
