/* SPDX-License-Identifier: MIT
 *
 * A tokenizer.json and a text, separated by a zero byte. Ids that come out are ids of the file,
 * never negative; and the same text gives the same ids again.
 */
#include <stdlib.h>
#include <string.h>

#include "engines/cpu/cpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = memchr(data, 0, size), *end = zero ? zero : data + size;
    const char *text = zero ? (const char *)zero + 1 : "a text";
    size_t len = zero ? (size_t)(data + size - zero) - 1 : strlen(text), i;
    struct cpu_tokenizer *t = NULL;
    struct cpu_ids once = { 0 }, again = { 0 };
    struct llem_buf nfc;
    llem_error err = { 0 };

    if (llem_utf8_valid(text, len)) {
        llem_buf_init(&nfc, SIZE_MAX / 2);
        cpu_nfc(&nfc, text, len);
        if (!llem_utf8_valid(nfc.data, nfc.len))
            abort();
        llem_buf_done(&nfc);
    }
    if (cpu_tokenizer_parse(&t, (const char *)data, (size_t)(end - data), "fuzz", &err) < 0) {
        if (!err.msg[0])
            abort();
        return 0;
    }
    if (cpu_tokenizer_encode(t, text, len, true, &once, &err) == LLEM_OK) {
        for (i = 0; i < once.count; i++)
            if (once.ids[i] < 0)
                abort();
        if (cpu_tokenizer_encode(t, text, len, true, &again, &err) != LLEM_OK ||
            again.count != once.count ||
            (once.count && memcmp(once.ids, again.ids, once.count * sizeof(*once.ids)) != 0))
            abort();
    } else if (!err.msg[0]) {
        abort();
    }
    free(once.ids);
    free(again.ids);
    cpu_tokenizer_free(t);
    return 0;
}
