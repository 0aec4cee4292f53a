/* SPDX-License-Identifier: MIT
 *
 * Failures as the caller sees them: a code to branch on, a sentence to print, a place to point at.
 */
#ifndef LLEM_ERROR_H
#define LLEM_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the library exports; everything else is hidden (-fvisibility=hidden). */
#define LLEM_API __attribute__((visibility("default")))

/* One list, three uses: the enum, llem_errcode_name() and the test of the docs.
 * Append only; the numbers are ABI. */
/* clang-format off */
#define LLEM_ERRCODES(X)                                \
    X(INVAL,     -1, "invalid argument")                \
    X(NOMEM,     -2, "out of memory")                   \
    X(IO,        -3, "input/output error")              \
    X(CONFIG,    -4, "configuration error")             \
    X(NOTSUP,    -5, "not supported on this machine")   \
    X(PLUGIN,    -6, "engine or sampler failure")       \
    X(CANCELED,  -7, "cancelled")                       \
    X(TIMEOUT,   -8, "timed out")                       \
    X(PREFLIGHT, -9, "a requirement is missing")        \
    X(NOTFOUND, -10, "not found")                       \
    X(CORRUPT,  -11, "damaged or hostile data")         \
    X(CRASHED,  -12, "a child process died")            \
    X(STUDY,    -13, "the study cannot be run")
/* clang-format on */

typedef enum llem_errcode {
    LLEM_OK = 0,
#define X(id, num, text) LLEM_E##id = (num),
    LLEM_ERRCODES(X)
#undef X
} llem_errcode;

/*
 * A failure. Lives on the caller's stack and owns nothing; written only on failure, untouched on
 * success; may be NULL where the code is enough.
 */
typedef struct llem_error {
    llem_errcode code;
    int line, column; /* 1-based; 0 = not about a file */
    char file[256];   /* "" = not about a file; long paths keep their tail */
    char msg[1024];   /* whole sentences, no newline at the end, no "error:"; several errors: one a
                         line */
    char hint[512]; /* what the user can do about it, a sentence or a command; "" = nothing known */
} llem_error;

/* "config", "io", ...: a short stable name in lower case; never NULL, "unknown" for others. */
LLEM_API const char *llem_errcode_name(llem_errcode code);
/* "configuration error", ...: never NULL. */
LLEM_API const char *llem_errcode_text(llem_errcode code);

#ifdef __cplusplus
}
#endif

#endif
