/* SPDX-License-Identifier: MIT
 *
 * Child processes with guarantees.
 */
#include "lib/base/process.h"

#include <errno.h>
#include <sys/random.h>

bool llem_random_hex(char out[33])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    size_t got = 0;
    ssize_t n;
    int i;

    while (got < sizeof(bytes)) {
        n = getrandom(bytes + got, sizeof(bytes) - got, 0);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            got += (size_t)n;
    }
    for (i = 0; i < 32; i++)
        out[i] = digits[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[32] = '\0';
    return true;
}
