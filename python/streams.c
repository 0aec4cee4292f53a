/* SPDX-License-Identifier: MIT
 *
 * The three streams of the C library, for the libraries that the Python package's libllem has
 * inside.
 *
 * Distributions compile static libraries for programs: position independent, but sure to reach
 * stdin, stdout and stderr directly, which a shared library cannot. The linker gives these to
 * whoever asks for those (--wrap), and __real_ is the stream itself.
 */
#include <stdio.h>

extern FILE *__real_stdin, *__real_stdout, *__real_stderr;
FILE *__wrap_stdin, *__wrap_stdout, *__wrap_stderr;

__attribute__((constructor)) static void take_streams(void)
{
    __wrap_stdin = __real_stdin;
    __wrap_stdout = __real_stdout;
    __wrap_stderr = __real_stderr;
}
