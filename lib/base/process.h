/* SPDX-License-Identifier: MIT
 *
 * Child processes with guarantees: a process group of their own, a parent-death signal, a pidfd, a
 * deadline and a silence limit, SIGTERM then SIGKILL, and a mark in the environment by which every
 * descendant is found and ended, those in sessions of their own included.
 */
#ifndef LLEM_BASE_PROCESS_H
#define LLEM_BASE_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

#include "lib/base/base.h"

struct llem_process_opts {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;  /* "NAME=value" to add or replace, "NAME" to remove; NULL-terminated */
    const char *cwd;         /* NULL = inherited */
    const char *mark;        /* set as LLEM_RUN=<mark> in the child's environment; NULL = none */
    int stdin_fd, stdout_fd, stderr_fd; /* a descriptor, LLEM_PIPE or LLEM_NULL_FD */
    bool own_group;   /* setpgid; false only for a command that shares the terminal */
    int death_signal; /* what the child receives when the starting thread dies; 0 = SIGKILL */
};
enum { LLEM_PIPE = -1, LLEM_NULL_FD = -2 };

struct llem_process {
    pid_t pid; /* 0 = none, or reaped */
    int pidfd;
    int in, out, err; /* our ends of the pipes, non-blocking and close-on-exec; -1 = none */
    bool started;     /* and not yet llem_process_end()ed */
    bool swept;       /* by llem_process_sweep_after() */
    bool own_group;
    pid_t group; /* of own_group, kept after reaping: a group can outlive its leader */
    char mark[64];
    int wstatus; /* raw wait status once reaped */
};

/* Start; must be called by the thread that will wait (the parent-death signal follows the thread).
 * A program that cannot be executed is reported here, not by an exit status: LLEM_ENOTFOUND if
 * there is none of that name. The child has default signals, an empty mask and no descriptor but
 * its three. On failure *p is as never started, and llem_process_end() may still be called. */
llem_errcode llem_process_start(struct llem_process *p, const struct llem_process_opts *opts,
                                llem_error *err);
/* Reap if it ended: true once. Does not block. */
bool llem_process_poll(struct llem_process *p);
/* Wait at most timeout_ms (-1 = for ever) for the end, and reap; true if it has ended. */
bool llem_process_wait(struct llem_process *p, int timeout_ms);
void llem_process_signal(struct llem_process *p, int sig); /* the whole group, if it has one */
/* Close the child's standard input, SIGTERM, grace_ms, SIGKILL, reap; every process of its group,
 * every process that carries the mark and their descendants likewise. Closes the pipes. Safe on a
 * process that has ended or never started (a zeroed one counts as that). */
void llem_process_end(struct llem_process *p, int grace_ms);
/*
 * End every process that carries LLEM_RUN=mark in its environment, and its descendants, but never
 * the caller; returns how many there were. They are looked for until none is left, because they may
 * fork meanwhile; what cannot be killed (a hanging device) is given up 10 s after its SIGKILL.
 */
int llem_process_sweep(const char *mark, int grace_ms);
/* The same for what a process that was reaped has left behind, by its mark and its group.
 * llem_process_end() then looks no more. */
void llem_process_sweep_after(struct llem_process *p, int grace_ms);
/* Is the process the caller, one of its descendants, or one that carries LLEM_RUN=mark (NULL =
 * none) or descends from such? 1 yes, 0 no, -1 no such process can be seen from here: it is gone,
 * or lives in another PID namespace. */
int llem_process_belongs(pid_t pid, const char *mark);
/* "exited with status 3", "was killed by signal 9 (SIGKILL)" */
void llem_process_describe(char *out, size_t size, int wstatus);
/* A random 32-hex-digit id; false if the system gives no randomness. */
bool llem_random_hex(char out[33]);

/* ---- pipes -------------------------------------------------------------------------------- */

/*
 * Lines out of a non-blocking descriptor, which stays the caller's. Several are watched together:
 *
 *     struct llem_lines *const both[] = { &events, &log };
 *     while (!events.ended && now < deadline) {
 *         llem_lines_wait(both, 2, p.pidfd, ms_left);
 *         while (llem_lines_next(&events, &line, &len))
 *             ...
 *         while (llem_lines_next(&log, &line, &len))
 *             ...
 *         if (llem_process_poll(&p))   (a grandchild may hold the pipe open for ever: drain once
 * more break;                    and leave)
 *     }
 */
struct llem_lines {
    int fd;
    bool ended;  /* end of file, a read error, or no memory: nothing more will come */
    bool cut;    /* the line last returned was longer than the limit; its rest is thrown away */
    bool failed; /* ended by a read error or for want of memory */
    struct llem_buf buf;
    size_t begin, scanned, max_line;
    bool skipping, at_eof;
};
void llem_lines_init(struct llem_lines *r, int fd, size_t max_line);
void llem_lines_done(struct llem_lines *r); /* does not close fd */
/* The next line without its newline, NUL-terminated, valid until the next call; false if there is
 * none now. Never blocks. What follows the last newline counts as a line at the end. */
bool llem_lines_next(struct llem_lines *r, char **line, size_t *len);
/* Wait until one of the readers has something, or other_fd (-1 = none) is readable, at most
 * timeout_ms
 * (-1 = for ever); false if the time ran out or a signal came. */
bool llem_lines_wait(struct llem_lines *const *readers, size_t count, int other_fd, int timeout_ms);

/* The last of what a child printed, kept in a ring, while the whole goes to a file. */
enum { LLEM_TAIL = 64 * 1024, LLEM_TAIL_FILE_MAX = 64 << 20 };
struct llem_tail {
    char *data;
    size_t at, len;
    int64_t total;
};
bool llem_tail_init(struct llem_tail *t); /* false without memory */
void llem_tail_done(struct llem_tail *t);
/* Keep it, and copy it to fd (-1 = nowhere) up to LLEM_TAIL_FILE_MAX bytes in all. That fd fails (a
 * full disk) does no harm. */
void llem_tail_add(struct llem_tail *t, int fd, const char *data, size_t len);
/* The last size - 1 bytes at most, straightened and NUL-terminated; returns their number. */
size_t llem_tail_copy(const struct llem_tail *t, char *out, size_t size);

/* Write all of it to a pipe, non-blocking or not, within timeout_ms (-1 = for ever). LLEM_ECRASHED
 * if nobody reads any more; raises no SIGPIPE. */
llem_errcode llem_pipe_write(int fd, const void *data, size_t len, int timeout_ms, llem_error *err);

/* pthread_create() with every signal blocked in the new thread: they are for the threads of the
 * host program, which a signal must wake. */
int llem_thread_start(pthread_t *thread, void *(*run)(void *user), void *user);

#endif
