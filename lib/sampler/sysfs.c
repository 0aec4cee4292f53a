/* SPDX-License-Identifier: MIT
 *
 * Small files of the kernel: one value each, read in one go, no memory allocated.
 */
#include "lib/sampler/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

int llem_sysfs_read(char *out, size_t size, const char *dir, const char *name)
{
    char path[PATH_MAX];
    size_t used = 0;
    int fd, error = 0;

    out[0] = '\0';
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
        return ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    for (;;) {
        ssize_t n = read(fd, out + used, size - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            error = errno;
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used == size) {
            error = EFBIG;
            used = 0;
            break;
        }
    }
    close(fd);
    if (error)
        used = 0;
    while (used && (out[used - 1] == '\n' || out[used - 1] == '\0'))
        used--;
    out[used] = '\0';
    return error;
}

int llem_sysfs_read_u64(uint64_t *ret, const char *dir, const char *name)
{
    char text[64];
    int64_t value;
    int error = llem_sysfs_read(text, sizeof(text), dir, name);

    if (error)
        return error;
    if (!llem_parse_i64(text, &value) || value < 0)
        return EINVAL;
    *ret = (uint64_t)value;
    return 0;
}
