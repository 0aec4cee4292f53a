/* SPDX-License-Identifier: MIT
 *
 * The header of a weight file: eight bytes that say how much data follows it, then its text. What
 * is accepted must keep its promises: tensors sorted by name, within the data, sizes that fit.
 */
#include <stdlib.h>
#include <string.h>

#include "engines/cpu/cpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct cpu_tensor *t;
    uint64_t bytes = 0, total = 0;
    llem_error err = { 0 };
    size_t n, i;

    if (size < 8)
        return 0;
    for (i = 0; i < 8; i++)
        bytes |= (uint64_t)data[i] << (8 * i);
    bytes &= INT64_MAX >> 1;
    if (cpu_safetensors_header(&a, &t, &n, (const char *)data + 8, size - 8, bytes, "fuzz", &err) ==
        LLEM_OK) {
        for (i = 0; i < n; i++) {
            if ((i > 0 && strcmp(t[i - 1].name, t[i].name) >= 0) || t[i].offset < size ||
                t[i].offset + t[i].bytes > size + bytes || t[i].rank > CPU_MAX_RANK)
                abort();
            total += t[i].bytes;
        }
        if (total != bytes)
            abort();
    } else if (!err.msg[0]) {
        abort();
    }
    llem_arena_done(&a);
    return 0;
}
