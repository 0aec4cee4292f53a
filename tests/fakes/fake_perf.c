/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: answer perf_event_open for the PMU type 9999 from files
 * <LLEM_SYSFS>/fake-perf/<event>.<cpu> that hold a count as text. <LLEM_SYSFS>/fake-perf/denied
 * refuses as a kernel with perf_event_paranoid = 2 does.
 */
#undef _FORTIFY_SOURCE /* it makes read() an inline function, which cannot be replaced */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { FAKE_TYPE = 9999, MAX_FD = 1024 };

static unsigned char is_ours[MAX_FD];

EXPORT long syscall(long number, ...);
EXPORT ssize_t read(int fd, void *out, size_t size);
EXPORT ssize_t __read_chk(int fd, void *out, size_t size, size_t room);
EXPORT int close(int fd);

static int open_event(const struct perf_event_attr *attr, int cpu)
{
    const char *root = getenv("LLEM_SYSFS");
    char path[1024];
    int fd;

    snprintf(path, sizeof(path), "%s/fake-perf/denied", root ? root : "");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        errno = EACCES;
        return -1;
    }
    snprintf(path, sizeof(path), "%s/fake-perf/%llu.%d", root ? root : "",
             (unsigned long long)attr->config, cpu);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fd < MAX_FD)
        is_ours[fd] = 1;
    return fd;
}

long syscall(long number, ...)
{
    long (*real)(long, ...) = (long (*)(long, ...))(void (*)(void))dlsym(RTLD_NEXT, "syscall");
    long a[6];
    va_list ap;

    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_perf_event_open) {
        const struct perf_event_attr *attr = (const struct perf_event_attr *)a[0];

        if (attr->type == FAKE_TYPE)
            return open_event(attr, (int)a[2]);
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t read(int fd, void *out, size_t size)
{
    ssize_t (*real)(int, void *, size_t) =
        (ssize_t(*)(int, void *, size_t))(void (*)(void))dlsym(RTLD_NEXT, "read");
    char text[64];
    unsigned long long value;
    ssize_t n;

    if (fd < 0 || fd >= MAX_FD || !is_ours[fd])
        return real(fd, out, size);
    n = pread(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return -1;
    text[n] = '\0';
    if (size < sizeof(value) || sscanf(text, "%llu", &value) != 1)
        return 0; /* as an event in its error state */
    memcpy(out, &value, sizeof(value));
    return (ssize_t)sizeof(value);
}

ssize_t __read_chk(int fd, void *out, size_t size, size_t room)
{
    return read(fd, out, size < room ? size : room);
}

int close(int fd)
{
    int (*real)(int) = (int (*)(int))(void (*)(void))dlsym(RTLD_NEXT, "close");

    if (fd >= 0 && fd < MAX_FD)
        is_ours[fd] = 0;
    return real(fd);
}
