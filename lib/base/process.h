/* SPDX-License-Identifier: MIT
 *
 * Child processes with guarantees: a process group of their own, a parent-death signal, a pidfd, a
 * deadline and a silence limit, SIGTERM then SIGKILL, and a mark in the environment by which every
 * descendant is found and ended, those in sessions of their own included.
 */
#ifndef LLEM_BASE_PROCESS_H
#define LLEM_BASE_PROCESS_H

#include <sys/types.h>

#include "lib/base/base.h"

struct llem_process_opts {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;  /* "NAME=value" to add or replace, "NAME" to remove; NULL-terminated */
    const char *cwd;         /* NULL = inherited */
    const char *mark;        /* set as LLEM_RUN=<mark> in the child's environment; NULL = none */
    int stdin_fd, stdout_fd, stderr_fd; /* a descriptor, LLEM_PIPE or LLEM_NULL_FD */
    bool own_group; /* setpgid; false only for a command that shares the terminal */
};
enum { LLEM_PIPE = -1, LLEM_NULL_FD = -2 };

struct llem_process {
    pid_t pid; /* 0 = none, or reaped */
    int pidfd;
    int in, out, err; /* our ends of the pipes, non-blocking and close-on-exec; -1 = none */
    bool own_group;
    char mark[64];
    int wstatus; /* raw wait status once reaped */
};

/* Start; must be called by the thread that will wait (the parent-death signal follows the thread).
 * A program that cannot be executed is reported here, not by an exit status. */
llem_errcode llem_process_start(struct llem_process *p, const struct llem_process_opts *opts,
                                llem_error *err);
/* Reap if it ended: true once. Does not block. */
bool llem_process_poll(struct llem_process *p);
/* Wait at most timeout_ms (-1 = for ever) for the end; true if it ended. */
bool llem_process_wait(struct llem_process *p, int timeout_ms);
void llem_process_signal(struct llem_process *p, int sig); /* the whole group, if it has one */
/* SIGTERM, grace_ms, SIGKILL, reap; then every process that carries the mark, likewise. Closes the
 * pipes. Safe on a process that has ended or never started. */
void llem_process_end(struct llem_process *p, int grace_ms);
/* End every process that carries LLEM_RUN=mark in its environment; returns how many there were. */
int llem_process_sweep(const char *mark, int grace_ms);
/* "exited with status 3", "was killed by signal 9 (SIGKILL)" */
void llem_process_describe(char *out, size_t size, int wstatus);
/* A random 32-hex-digit id; false if the system gives no randomness. */
bool llem_random_hex(char out[33]);

#endif
