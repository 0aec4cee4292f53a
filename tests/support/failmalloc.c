/* SPDX-License-Identifier: MIT
 *
 * An LD_PRELOAD library in which the Nth call of malloc, calloc or realloc fails, once. Calls are
 * counted from the start of the program's own code, in processes that the filters name; allocations
 * that the C library makes for itself count too. It prints nothing. By environment variables:
 *
 *     LLEM_FAIL_ALLOC=N         which call fails; 0 or absent: none, only count
 *     LLEM_FAIL_ALLOC_COMM=X    only in processes whose program has the file name X
 *     LLEM_FAIL_ALLOC_ARG=X     only in processes whose first argument is X
 *     LLEM_FAIL_ALLOC_COUNT=F   at exit, write the number of calls to the file F
 *
 * Only for glibc, whose own allocator stays reachable under its internal names.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *old, size_t size);

static atomic_bool counting;
static atomic_ulong calls;
static unsigned long failing;
static char count_file[4096];
static pid_t counted_process;

static _Thread_local bool sheltered;

static bool fails(void)
{
    unsigned long n;

    if (!atomic_load_explicit(&counting, memory_order_relaxed) || sheltered)
        return false;
    n = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    if (n != failing)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

/* libfyaml 0.7.12 uses the input it has just failed to allocate. Nothing that its caller does can
 * prevent that, so these two allocations are neither counted nor failed. */
EXPORT int fy_parser_set_string(void *parser, const char *text, size_t len);

int fy_parser_set_string(void *parser, const char *text, size_t len)
{
    int (*real)(void *, const char *, size_t);
    int rc = -1;

    *(void **)&real = dlsym(RTLD_NEXT, "fy_parser_set_string");
    sheltered = true;
    if (real)
        rc = real(parser, text, len);
    sheltered = false;
    return rc;
}

/* Is the wanted text `want` (NULL = any) the entry `index` of this process's command line? */
static bool argument_is(const char *want, int index, bool file_name)
{
    static char line[8192];
    const char *entry = line;
    const char *slash;
    ssize_t n;
    int fd;

    if (!want || !want[0])
        return true;
    fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 2);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    line[n] = line[n + 1] = '\0';
    while (index-- > 0 && entry < line + n)
        entry += strlen(entry) + 1;
    slash = file_name ? strrchr(entry, '/') : NULL;
    return strcmp(slash ? slash + 1 : entry, want) == 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *n = getenv("LLEM_FAIL_ALLOC");
    const char *file = getenv("LLEM_FAIL_ALLOC_COUNT");

    if (!argument_is(getenv("LLEM_FAIL_ALLOC_COMM"), 0, true) ||
        !argument_is(getenv("LLEM_FAIL_ALLOC_ARG"), 1, false))
        return;
    failing = n ? strtoul(n, NULL, 10) : 0;
    if (file && strlen(file) < sizeof(count_file))
        memcpy(count_file, file, strlen(file) + 1);
    counted_process = getpid();
    atomic_store(&counting, true);
}

__attribute__((destructor)) static void end(void)
{
    unsigned long n = atomic_load(&calls);
    char text[32];
    size_t at = sizeof(text);
    int fd;

    /* A forked child that exits without executing anything is not the process that was asked for.
     */
    if (!count_file[0] || counted_process != getpid())
        return;
    text[--at] = '\n';
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    fd = open(count_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    while (at < sizeof(text)) {
        ssize_t done = write(fd, text + at, sizeof(text) - at);

        if (done <= 0)
            break;
        at += (size_t)done;
    }
    close(fd);
}
