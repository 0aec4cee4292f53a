/* SPDX-License-Identifier: MIT
 *
 * Child processes that are certain to end, and reading their pipes. Frameworks fork, start sessions
 * of their own and rewrite their titles (which destroys the environment that /proc shows), so what
 * belongs to a run is found in three ways at once: by its process group, by a mark in the
 * environment, and as descendants of what was found before.
 */
#include "lib/base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"

/* System calls younger than the oldest glibc that is supported; the numbers are the same
 * everywhere. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

enum {
    SHELL_ARGS = 2,             /* before the arguments of a script without "#!": sh, the script */
    GIVE_UP_MS = 10 * 1000,     /* how long a process may take to die of SIGKILL */
    KERNEL_THREAD = 0x00200000, /* PF_KTHREAD among the flags of /proc/PID/stat */
};

extern char **environ;

/* ---- starting ----------------------------------------------------------------------------- */

/* Where in the child it went wrong. */
enum stage { STAGE_DUP, STAGE_NULL, STAGE_CHDIR, STAGE_EXEC };

struct failure {
    int stage, error;
};

/* All that the child needs, made before the fork: after it, only async-signal-safe calls are
 * allowed. */
struct plan {
    char *path;  /* of the program */
    char **argv; /* SHELL_ARGS spare slots, then the caller's */
    char **env;
    char *mark; /* "LLEM_RUN=..." */
    const char *cwd;
    int fds[3]; /* the child's ends; LLEM_NULL_FD */
    int status_fd;
    pid_t parent;
    bool own_group;
    int death_signal;
};

/* Does the entry "NAME=..." have the name of `other`, which is "NAME=..." or "NAME"? */
static bool same_name(const char *entry, const char *other)
{
    size_t len = strcspn(other, "=");

    return strncmp(entry, other, len) == 0 && (entry[len] == '=' || entry[len] == '\0');
}

static bool plan_environment(struct plan *plan, const char *const *changes, const char *mark)
{
    size_t n = 0, n_changes = 0, i, j;
    char **e;

    for (e = environ; e && *e; e++)
        n++;
    while (changes && changes[n_changes])
        n_changes++;
    plan->env = calloc(n + n_changes + 2, sizeof(char *));
    if (!plan->env)
        return false;
    if (mark && asprintf(&plan->mark, "LLEM_RUN=%s", mark) < 0) {
        plan->mark = NULL;
        return false;
    }
    n = 0;
    for (e = environ; e && *e; e++) {
        for (j = 0; j < n_changes && !same_name(*e, changes[j]); j++)
            ;
        if (j == n_changes && !(mark && same_name(*e, "LLEM_RUN")))
            plan->env[n++] = *e;
    }
    for (i = 0; i < n_changes; i++) {
        if (!strchr(changes[i], '=') || (mark && same_name(changes[i], "LLEM_RUN")))
            continue;
        for (j = i + 1; j < n_changes && !same_name(changes[i], changes[j]); j++)
            ;
        if (j == n_changes)
            memcpy(&plan->env[n++], &changes[i], sizeof(char *));
    }
    if (plan->mark)
        plan->env[n++] = plan->mark;
    return true;
}

static bool plan_arguments(struct plan *plan, const char *const *argv)
{
    size_t n = 0;

    while (argv[n])
        n++;
    plan->argv = calloc(SHELL_ARGS + n + 1, sizeof(char *));
    if (!plan->argv)
        return false;
    /* execve() takes its strings without const for old times' sake; it changes none. */
    memcpy(plan->argv + SHELL_ARGS, argv, n * sizeof(char *));
    return true;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Find the program as execvp() does, in the PATH that the child will have. */
static llem_errcode plan_program(struct plan *plan, const char *name, llem_error *err)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin";
    char *refused = NULL;
    char **e;

    if (strchr(name, '/')) {
        plan->path = strdup(name);
        return plan->path ? LLEM_OK
                          : llem_fail(err, LLEM_ENOMEM, "cannot start '%s': out of memory", name);
    }
    for (e = plan->env; *e; e++)
        if (same_name(*e, "PATH"))
            path = *e + strlen("PATH=");
    for (;;) {
        int len = (int)strcspn(path, ":");
        char *candidate;

        if (asprintf(&candidate, "%.*s/%s", len ? len : 1, len ? path : ".", name) < 0) {
            free(refused);
            return llem_fail(err, LLEM_ENOMEM, "cannot start '%s': out of memory", name);
        }
        if (is_program(candidate)) {
            free(refused);
            plan->path = candidate;
            if (candidate[0] != '/' && plan->cwd) {
                /* The child looks from another directory. */
                plan->path = realpath(candidate, NULL);
                free(candidate);
            }
            return plan->path ? LLEM_OK : llem_fail(err, LLEM_EIO, "cannot start '%s': %m", name);
        }
        if (!refused && access(candidate, F_OK) == 0)
            refused = candidate;
        else
            free(candidate);
        if (path[len] == '\0')
            break;
        path += len + 1;
    }
    if (refused) {
        llem_fail(err, LLEM_EIO, "cannot start '%s': it may not be executed", refused);
        free(refused);
        return LLEM_EIO;
    }
    return llem_fail(err, LLEM_ENOTFOUND, "cannot start '%s': there is no such program in PATH",
                     name);
}

/* Everything from descriptor 3 on is closed by the execve() that follows. Runs in the child. */
static void mark_descriptors(void)
{
    /* linux_dirent64, which glibc does not declare for the bare system call. */
    struct entry {
        uint64_t ino;
        int64_t off;
        unsigned short reclen;
        unsigned char type;
        char name[];
    };
    _Alignas(struct entry) char buf[2048];
    struct rlimit limit;
    int fd, dir;
    long n;

    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    /* Before Linux 5.11. opendir() would allocate. */
    dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
            long at = 0;

            while (at < n) {
                const struct entry *entry = (const void *)(buf + at);
                const char *p;

                fd = 0;
                for (p = entry->name; *p >= '0' && *p <= '9'; p++)
                    fd = fd * 10 + (*p - '0');
                if (*p == '\0' && fd >= 3)
                    fcntl(fd, F_SETFD, FD_CLOEXEC);
                at += entry->reclen;
            }
        }
        close(dir);
        return;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 65536)
        limit.rlim_cur = 65536;
    for (fd = 3; fd < (int)limit.rlim_cur; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* The child, from the fork to the program. Only async-signal-safe calls. */
__attribute__((noreturn)) static void run_child(struct plan *plan)
{
    struct sigaction sa = { .sa_handler = SIG_DFL };
    struct failure failure = { .stage = STAGE_DUP };
    sigset_t none;
    int sig, i;

    if (plan->own_group)
        setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, plan->death_signal);
    /* The parent may have died before the call above, and then the signal never comes. */
    if (getppid() != plan->parent)
        _exit(127);

    for (sig = 1; sig < NSIG; sig++)
        sigaction(sig, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    /* Out of the way of 0, 1 and 2 first: a caller may have had these closed. */
    i = fcntl(plan->status_fd, F_DUPFD_CLOEXEC, 3);
    if (i >= 0)
        plan->status_fd = i;
    for (i = 0; i < 3; i++) {
        if (plan->fds[i] == LLEM_NULL_FD) {
            failure.stage = STAGE_NULL;
            plan->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
            if (plan->fds[i] < 0)
                goto fail;
            failure.stage = STAGE_DUP;
        }
        plan->fds[i] = fcntl(plan->fds[i], F_DUPFD_CLOEXEC, 3);
        if (plan->fds[i] < 0)
            goto fail;
    }
    for (i = 0; i < 3; i++)
        if (dup2(plan->fds[i], i) < 0)
            goto fail;
    mark_descriptors();

    failure.stage = STAGE_CHDIR;
    if (plan->cwd && chdir(plan->cwd) < 0)
        goto fail;

    failure.stage = STAGE_EXEC;
    execve(plan->path, plan->argv + SHELL_ARGS, plan->env);
    if (errno == ENOEXEC) {
        /* A script without "#!" is for sh, as shells and execvp() have it. */
        static char shell[] = "/bin/sh";

        plan->argv[0] = shell;
        plan->argv[1] = plan->path;
        /* argv[2] was the script's own name; the arguments begin after it. */
        for (i = SHELL_ARGS; plan->argv[i]; i++)
            plan->argv[i] = plan->argv[i + 1];
        execve(shell, plan->argv, plan->env);
        errno = ENOEXEC;
    }

fail:
    failure.error = errno;
    /* Fewer bytes than PIPE_BUF are written at once or not at all. */
    while (write(plan->status_fd, &failure, sizeof(failure)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

static llem_errcode report(const struct failure *f, const struct llem_process_opts *opts,
                           const char *path, llem_error *err)
{
    struct stat st;

    errno = f->error;
    switch ((enum stage)f->stage) {
    case STAGE_DUP:
        return llem_fail(err, LLEM_EIO, "cannot start '%s': its standard streams: %m", path);
    case STAGE_NULL:
        return llem_fail(err, LLEM_EIO, "cannot start '%s': /dev/null: %m", path);
    case STAGE_CHDIR:
        return llem_fail(err, LLEM_EIO, "cannot start '%s' in the directory '%s': %m", path,
                         opts->cwd);
    case STAGE_EXEC:
        break;
    }
    if (f->error == ENOENT && access(path, F_OK) == 0) {
        /* The kernel says "not found" of the interpreter and means the script. */
        errno = f->error;
        return llem_fail(err, LLEM_EIO, "cannot start '%s': the interpreter it names is missing",
                         path);
    }
    if (f->error == EACCES && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return llem_fail(err, LLEM_EIO, "cannot start '%s': it is a directory", path);
    errno = f->error;
    return llem_fail(err, f->error == ENOENT || f->error == ENOTDIR ? LLEM_ENOTFOUND : LLEM_EIO,
                     "cannot start '%s': %m", path);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* A pipe whose end `ours` is non-blocking. */
static bool make_pipe(int *ours, int *theirs, bool we_write)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    *ours = ends[we_write ? 1 : 0];
    *theirs = ends[we_write ? 0 : 1];
    return fcntl(*ours, F_SETFL, fcntl(*ours, F_GETFL) | O_NONBLOCK) == 0;
}

llem_errcode llem_process_start(struct llem_process *p, const struct llem_process_opts *opts,
                                llem_error *err)
{
    const int asked[3] = { opts->stdin_fd, opts->stdout_fd, opts->stderr_fd };
    int ours[3] = { -1, -1, -1 };
    int theirs[3] = { -1, -1, -1 };
    int status[2] = { -1, -1 };
    struct failure failure;
    struct plan plan = { 0 };
    sigset_t all, before;
    llem_errcode rc;
    ssize_t n;
    pid_t pid;
    int i;

    *p = (struct llem_process){ .pidfd = -1, .in = -1, .out = -1, .err = -1 };
    if (!opts->argv || !opts->argv[0] || !opts->argv[0][0])
        return llem_fail(err, LLEM_EINVAL, "cannot start a process: no program is named");
    if (opts->mark && (!opts->mark[0] || strlen(opts->mark) >= sizeof(p->mark)))
        return llem_fail(err, LLEM_EINVAL, "cannot start '%s': its mark is empty or too long",
                         opts->argv[0]);

    plan.cwd = opts->cwd;
    plan.own_group = opts->own_group;
    plan.death_signal = opts->death_signal ? opts->death_signal : SIGKILL;
    plan.parent = getpid();
    if (!plan_environment(&plan, opts->env, opts->mark) || !plan_arguments(&plan, opts->argv)) {
        rc = llem_fail(err, LLEM_ENOMEM, "cannot start '%s': out of memory", opts->argv[0]);
        goto done;
    }
    rc = plan_program(&plan, opts->argv[0], err);
    if (rc < 0)
        goto done;

    for (i = 0; i < 3; i++) {
        plan.fds[i] = asked[i];
        if (asked[i] != LLEM_PIPE)
            continue;
        if (!make_pipe(&ours[i], &theirs[i], i == 0)) {
            rc = llem_fail(err, LLEM_EIO, "cannot start '%s': a pipe: %m", opts->argv[0]);
            goto done;
        }
        plan.fds[i] = theirs[i];
    }
    if (pipe2(status, O_CLOEXEC) < 0) {
        rc = llem_fail(err, LLEM_EIO, "cannot start '%s': a pipe: %m", opts->argv[0]);
        goto done;
    }
    plan.status_fd = status[1];

    /* No handler of the caller's may run in the child. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        run_child(&plan);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        rc = llem_fail(err, LLEM_EIO, "cannot start '%s': %m", opts->argv[0]);
        goto done;
    }
    /* Here and there, whoever comes first; it fails harmlessly once the child has executed. */
    if (opts->own_group)
        setpgid(pid, pid);

    close_fd(&status[1]);
    do {
        n = read(status[0], &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(failure)) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        rc = report(&failure, opts, plan.path, err);
        goto done;
    }

    p->pid = pid;
    p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    p->started = true;
    p->own_group = opts->own_group;
    p->group = opts->own_group ? pid : 0;
    p->in = ours[0];
    p->out = ours[1];
    p->err = ours[2];
    ours[0] = ours[1] = ours[2] = -1;
    if (opts->mark)
        memcpy(p->mark, opts->mark, strlen(opts->mark) + 1);
    rc = LLEM_OK;

done:
    for (i = 0; i < 3; i++) {
        close_fd(&ours[i]);
        close_fd(&theirs[i]);
    }
    close_fd(&status[0]);
    close_fd(&status[1]);
    free(plan.path);
    free(plan.argv);
    free(plan.env);
    free(plan.mark);
    return rc;
}

/* ---- waiting ------------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
    return llem_now_ns(&llem_system_clock) / 1000000;
}

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* A wait status that is neither an exit nor a signal: somebody else reaped the child. */
enum { STATUS_UNKNOWN = -1 };

bool llem_process_poll(struct llem_process *p)
{
    int wstatus = 0;
    pid_t got;

    if (p->pid <= 0)
        return false;
    do {
        got = waitpid(p->pid, &wstatus, WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    p->wstatus = got > 0 ? wstatus : STATUS_UNKNOWN;
    p->pid = 0;
    close_fd(&p->pidfd);
    return true;
}

/* Has it ended, within timeout_ms? Does not reap. */
static bool wait_unreaped(const struct llem_process *p, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    int pause_ms = 1;

    for (;;) {
        siginfo_t info = { 0 };
        int64_t left = timeout_ms < 0 ? 1000 : deadline - now_ms();

        /* No child at all counts as ended. */
        if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT | WNOHANG) < 0 ? errno != EINTR
                                                                                : info.si_pid != 0)
            return true;
        if (left <= 0)
            return false;
        if (p->pidfd >= 0) {
            struct pollfd fd = { .fd = p->pidfd, .events = POLLIN };

            poll(&fd, 1, left > 1000 ? 1000 : (int)left);
        } else {
            sleep_ms(left < pause_ms ? (int)left : pause_ms);
            pause_ms = pause_ms < 16 ? pause_ms * 2 : 16;
        }
    }
}

bool llem_process_wait(struct llem_process *p, int timeout_ms)
{
    if (p->pid <= 0)
        return true;
    if (!wait_unreaped(p, timeout_ms))
        return false;
    llem_process_poll(p);
    return true;
}

void llem_process_signal(struct llem_process *p, int sig)
{
    if (p->pid > 0)
        kill(p->own_group ? -p->pid : p->pid, sig);
}

/* ---- ending ------------------------------------------------------------------------------- */

/* A process seen, named so that the next one with the same number is told apart. */
struct seen {
    pid_t pid, parent, group;
    unsigned long long started;
    bool kernel; /* a thread of the kernel: has no environment */
    bool dead, ours, spared, told;
};

struct seens {
    struct seen *items;
    size_t count, cap;
};

/* What is looked for, and what was found so far. */
struct hunt {
    const char *mark; /* NULL = none */
    pid_t group;      /* 0 = none */
    pid_t root;       /* a process and its descendants; 0 = none */
    bool group_told;  /* the group has had its SIGTERM */
    bool unsure;      /* the last look may have missed one, see look() */
    struct seens found;
};

static bool add_seen(struct seens *list, const struct seen *s)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        struct seen *items = realloc(list->items, cap * sizeof(*items));

        if (!items)
            return false;
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = *s;
    return true;
}

static struct seen *find_seen(const struct seens *list, const struct seen *s)
{
    size_t i;

    for (i = 0; i < list->count; i++)
        if (list->items[i].pid == s->pid && list->items[i].started == s->started)
            return &list->items[i];
    return NULL;
}

/* Read the start of /proc/<pid>/<name>; the length, or -1. */
static ssize_t read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, buf, size);
    close(fd);
    return n;
}

/* By hand: sscanf() takes longer than the kernel. */
static bool read_seen(struct seen *s, pid_t pid)
{
    enum { PARENT = 4, GROUP = 5, FLAGS = 9, STARTED = 22 }; /* fields, as proc(5) counts them */
    unsigned long long fields[STARTED + 1] = { 0 };
    char buf[1024];
    ssize_t n = read_proc(pid, "stat", buf, sizeof(buf) - 1);
    char *p, *end, state;

    if (n <= 0)
        return false;
    buf[n] = '\0';
    p = strrchr(buf, ')'); /* the name may hold anything, ')' and newlines included */
    if (!p || p[1] != ' ' || !p[2])
        return false;
    state = p[2];
    p += 3;
    for (int i = PARENT; i <= STARTED; i++, p = end) {
        fields[i] = strtoull(p, &end, 10);
        if (end == p)
            return false;
    }
    *s = (struct seen){ .pid = pid };
    s->parent = (pid_t)fields[PARENT];
    s->group = (pid_t)fields[GROUP];
    s->kernel = fields[FLAGS] & KERNEL_THREAD;
    s->started = fields[STARTED];
    s->dead = state == 'Z' || state == 'X';
    return true;
}

/* Does it carry LLEM_RUN=mark? 1 yes, 0 no, -1 it is gone, or just about to execute something. */
static int has_mark(pid_t pid, const char *mark)
{
    char want[128] = ""; /* an entry between two NULs */
    char buf[4096] = ""; /* what may be the begin of one, and what follows */
    char path[64];
    size_t len, have = 1; /* as if one had ended before the first */
    bool found = false;
    bool empty = true;
    ssize_t n;
    int fd;

    len = (size_t)snprintf(want + 1, sizeof(want) - 1, "LLEM_RUN=%s", mark) + 2;
    if (len > sizeof(want))
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES || errno == EPERM ? 0 : -1;
    while (!found && (n = read(fd, buf + have, sizeof(buf) - have)) > 0) {
        empty = false; /* environments may be megabytes long */
        have += (size_t)n;
        found = memmem(buf, have, want, len) != NULL;
        if (have >= len) {
            memmove(buf, buf + have - (len - 1), len - 1);
            have = len - 1;
        }
    }
    close(fd);
    return found ? 1 : empty ? -1 : 0;
}

/* The caller may carry the mark itself, and whoever started it too: those are not what is left of a
 * run. */
static void spare_ancestors(struct seens *all, pid_t self)
{
    pid_t pid = self;
    size_t depth, i;

    for (depth = 0; depth < all->count; depth++) {
        for (i = 0; i < all->count && all->items[i].pid != pid; i++)
            ;
        if (i == all->count)
            return;
        all->items[i].spared = true;
        all->items[i].ours = false;
        pid = all->items[i].parent;
    }
}

/*
 * One look at all processes: adds to h->found, and to `alive` what of it still lives. -1: no /proc,
 * or no memory.
 *
 * The list of processes is older than what is read about each: one that forked and died in between
 * is seen as dead, and its child not at all. Whenever somebody died during the look, it is not
 * sure.
 */
static int look(struct hunt *h, struct seens *alive)
{
    struct seens all = { 0 };
    pid_t self = getpid();
    pid_t own_group = getpgrp();
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    bool again;
    size_t i, j;
    int rc = -1;

    alive->count = 0;
    h->unsure = false;
    if (!proc)
        return -1;
    while ((entry = readdir(proc)) != NULL) {
        int64_t pid;
        struct seen s;

        if (!llem_parse_i64(entry->d_name, &pid))
            continue;
        if (!read_seen(&s, (pid_t)pid) || s.dead) {
            h->unsure |= pid != h->root;
            continue;
        }
        s.spared = s.pid == self;
        s.ours = !s.spared && (s.pid == h->root || (h->group && s.group == h->group) ||
                               find_seen(&h->found, &s));
        if (!s.ours && !s.spared && !s.kernel && h->mark) {
            int marked = has_mark(s.pid, h->mark);

            s.ours = marked > 0;
            h->unsure |= marked < 0;
        }
        if (!add_seen(&all, &s))
            goto done;
    }
    spare_ancestors(&all, self);
    /* Descendants, and companions in a process group other than the caller's. */
    do {
        again = false;
        for (i = 0; i < all.count; i++) {
            const struct seen *one = &all.items[i];

            for (j = 0; one->ours && j < all.count; j++) {
                struct seen *other = &all.items[j];

                if (!other->ours && !other->spared &&
                    (other->parent == one->pid ||
                     (other->group == one->group && one->group != own_group)))
                    again = other->ours = true;
            }
        }
    } while (again);

    for (i = 0; i < all.count; i++) {
        if (!all.items[i].ours)
            continue;
        if (!find_seen(&h->found, &all.items[i])) {
            all.items[i].told = h->group && h->group_told && all.items[i].group == h->group;
            if (!add_seen(&h->found, &all.items[i]))
                goto done;
        }
        if (!add_seen(alive, &all.items[i]))
            goto done;
    }
    rc = 0;

done:
    closedir(proc);
    free(all.items);
    return rc;
}

/* Signal exactly the process that was seen, not one that has its number now. */
static void signal_seen(const struct seen *s, int sig)
{
    int fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    struct seen now;

    if (read_seen(&now, s->pid) && now.started == s->started) {
        if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
            kill(s->pid, sig);
    }
    close_fd(&fd);
}

/* SIGTERM, grace until the deadline, SIGKILL; until none is left. Returns how many there were. */
static int run_hunt(struct hunt *h, int64_t deadline_ms)
{
    struct seens alive = { 0 };
    int pause_ms = 2;
    bool killing = false;
    int empty_looks = 0;
    int count;
    size_t i;

    while (look(h, &alive) == 0) {
        int64_t now = now_ms();

        if (!alive.count) {
            /* Zombies that nobody reaps make every look unsure. */
            if (!h->unsure || ++empty_looks == 3)
                break;
            sleep_ms(1);
            continue;
        }
        empty_looks = 0;
        if (now > deadline_ms + GIVE_UP_MS)
            break;
        for (i = 0; i < alive.count; i++) {
            struct seen *s = find_seen(&h->found, &alive.items[i]);

            if (now >= deadline_ms) {
                signal_seen(s, SIGKILL);
            } else if (!s->told) {
                s->told = true;
                signal_seen(s, SIGTERM);
                signal_seen(s, SIGCONT); /* a stopped process would not see the other */
            }
        }
        if (now >= deadline_ms && !killing) {
            killing = true;
            pause_ms = 1;
        }
        sleep_ms(!killing && deadline_ms - now < pause_ms ? (int)(deadline_ms - now) : pause_ms);
        pause_ms = pause_ms < 64 ? pause_ms * 2 : 64;
    }
    count = (int)h->found.count;
    free(alive.items);
    free(h->found.items);
    return count;
}

int llem_process_belongs(pid_t pid, const char *mark)
{
    enum { DEEPEST = 1024 };
    struct seen s;

    if (pid <= 0 || !read_seen(&s, pid))
        return -1;
    for (int depth = 0; depth < DEEPEST; depth++) {
        if (s.pid == getpid() || (mark && mark[0] && has_mark(s.pid, mark) > 0))
            return 1;
        if (s.parent <= 0 || !read_seen(&s, s.parent))
            return 0;
    }
    return 0;
}

int llem_process_sweep(const char *mark, int grace_ms)
{
    struct hunt h = { .mark = mark };

    if (!mark || !mark[0])
        return 0;
    return run_hunt(&h, now_ms() + grace_ms);
}

void llem_process_sweep_after(struct llem_process *p, int grace_ms)
{
    struct hunt h = { .mark = p->mark[0] ? p->mark : NULL, .group = p->group };

    if (!p->started || p->pid > 0)
        return;
    run_hunt(&h, now_ms() + grace_ms);
    p->swept = true;
}

void llem_process_end(struct llem_process *p, int grace_ms)
{
    struct hunt h = { .mark = p->mark[0] ? p->mark : NULL, .group = p->group, .root = p->pid };
    int64_t deadline = now_ms() + (grace_ms > 0 ? grace_ms : 0);
    struct seens alive = { 0 };
    size_t i;

    if (!p->started) /* a zeroed struct's zeros are no descriptors */
        goto done;
    close_fd(&p->in);
    if (p->pid > 0 && !wait_unreaped(p, 0) && grace_ms > 0) {
        /* Whose descendants are whose can be seen only as long as they live. */
        look(&h, &alive);
        free(alive.items);
        llem_process_signal(p, SIGTERM);
        llem_process_signal(p, SIGCONT); /* a stopped process would not see the other */
        for (i = 0; i < h.found.count; i++)
            h.found.items[i].told =
                p->group ? h.found.items[i].group == p->group : h.found.items[i].pid == p->pid;
        h.group_told = true;
        wait_unreaped(p, grace_ms);
    }
    if (!p->swept)
        run_hunt(&h, deadline);
    if (p->pid > 0) {
        /* Without /proc the hunt was for nothing; the group at least is known. As long as its
         * leader is not reaped, its number cannot be somebody else's. */
        llem_process_signal(p, SIGKILL);
        llem_process_wait(p, GIVE_UP_MS);
    }
    close_fd(&p->pidfd);
    close_fd(&p->out);
    close_fd(&p->err);

done:
    p->started = p->swept = false;
    p->pid = 0;
    p->group = 0;
    p->mark[0] = '\0';
    p->pidfd = p->in = p->out = p->err = -1;
}

void llem_process_describe(char *out, size_t size, int wstatus)
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {
        { SIGHUP, "SIGHUP" },   { SIGINT, "SIGINT" },   { SIGQUIT, "SIGQUIT" },
        { SIGILL, "SIGILL" },   { SIGTRAP, "SIGTRAP" }, { SIGABRT, "SIGABRT" },
        { SIGBUS, "SIGBUS" },   { SIGFPE, "SIGFPE" },   { SIGKILL, "SIGKILL" },
        { SIGUSR1, "SIGUSR1" }, { SIGSEGV, "SIGSEGV" }, { SIGUSR2, "SIGUSR2" },
        { SIGPIPE, "SIGPIPE" }, { SIGALRM, "SIGALRM" }, { SIGTERM, "SIGTERM" },
        { SIGXCPU, "SIGXCPU" }, { SIGXFSZ, "SIGXFSZ" }, { SIGSYS, "SIGSYS" },
    };
    size_t i;

    if (WIFEXITED(wstatus)) {
        snprintf(out, size, "exited with status %d", WEXITSTATUS(wstatus));
        return;
    }
    if (!WIFSIGNALED(wstatus)) {
        snprintf(out, size, "ended, and its status was taken by another part of the program");
        return;
    }
    for (i = 0; i < LLEM_COUNT(names); i++) {
        if (names[i].sig == WTERMSIG(wstatus)) {
            snprintf(out, size, "was killed by signal %d (%s)", names[i].sig, names[i].name);
            return;
        }
    }
    snprintf(out, size, "was killed by signal %d", WTERMSIG(wstatus));
}

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

/* ---- pipes -------------------------------------------------------------------------------- */

enum { CHUNK = 16 * 1024 };

void llem_lines_init(struct llem_lines *r, int fd, size_t max_line)
{
    *r = (struct llem_lines){ .fd = fd, .max_line = max_line, .ended = fd < 0 };
    llem_buf_init(&r->buf, max_line + CHUNK + 1);
}

void llem_lines_done(struct llem_lines *r)
{
    llem_buf_done(&r->buf);
    r->ended = true;
}

/* Read more; false if there is nothing now or ever. */
static bool read_more(struct llem_lines *r)
{
    ssize_t n;
    char *at;

    if (r->begin) {
        memmove(r->buf.data, r->buf.data + r->begin, r->buf.len - r->begin);
        r->buf.len -= r->begin;
        r->buf.data[r->buf.len] = '\0';
        r->begin = 0;
    }
    at = llem_buf_grow(&r->buf, CHUNK);
    if (!at) {
        r->failed = r->at_eof = true;
        return true;
    }
    do {
        n = read(r->fd, at, CHUNK);
    } while (n < 0 && errno == EINTR);
    r->buf.len -= CHUNK - (n > 0 ? (size_t)n : 0);
    r->buf.data[r->buf.len] = '\0';
    if (n > 0)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    r->failed = n < 0;
    r->at_eof = true;
    return true;
}

bool llem_lines_next(struct llem_lines *r, char **line, size_t *len)
{
    size_t have;
    char *newline;

    while (!r->ended) {
        have = r->buf.len - r->begin;
        newline = have > r->scanned
                      ? memchr(r->buf.data + r->begin + r->scanned, '\n', have - r->scanned)
                      : NULL;
        if (r->skipping) {
            /* The rest of a line that was too long. */
            r->begin = newline ? (size_t)(newline - r->buf.data) + 1 : r->buf.len;
            r->scanned = 0;
            r->skipping = !newline;
            if (newline)
                continue;
        } else {
            size_t end = newline ? (size_t)(newline - r->buf.data) - r->begin : have;

            if (newline || have > r->max_line || (r->at_eof && have)) {
                r->cut = end > r->max_line;
                *line = r->buf.data + r->begin;
                *len = r->cut ? r->max_line : end;
                r->skipping = r->cut && !newline;
                r->begin += r->skipping ? have : newline ? end + 1 : end;
                r->scanned = 0;
                (*line)[*len] = '\0';
                return true;
            }
            r->scanned = have;
        }
        if (r->at_eof) {
            r->ended = true;
            break;
        }
        if (!read_more(r))
            return false;
    }
    return false;
}

bool llem_lines_wait(struct llem_lines *const *readers, size_t count, int other_fd, int timeout_ms)
{
    struct pollfd fds[8];
    nfds_t n = 0;
    size_t i;

    for (i = 0; i < count && n < LLEM_COUNT(fds) - 1; i++)
        if (!readers[i]->ended)
            fds[n++] = (struct pollfd){ .fd = readers[i]->fd, .events = POLLIN };
    if (other_fd >= 0)
        fds[n++] = (struct pollfd){ .fd = other_fd, .events = POLLIN };
    return poll(fds, n, timeout_ms) > 0;
}

bool llem_tail_init(struct llem_tail *t)
{
    *t = (struct llem_tail){ .data = malloc(LLEM_TAIL) };
    return t->data != NULL;
}

void llem_tail_done(struct llem_tail *t)
{
    free(t->data);
    t->data = NULL;
    t->len = 0;
}

void llem_tail_add(struct llem_tail *t, int fd, const char *data, size_t len)
{
    size_t at = 0;

    while (fd >= 0 && t->total < LLEM_TAIL_FILE_MAX && at < len) {
        ssize_t n = write(fd, data + at, len - at);

        if (n <= 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    t->total += (int64_t)len;
    if (len > LLEM_TAIL) {
        data += len - LLEM_TAIL;
        len = LLEM_TAIL;
    }
    for (size_t i = 0; t->data && i < len; i++) {
        t->data[t->at] = data[i];
        t->at = (t->at + 1) % LLEM_TAIL;
        t->len += t->len < LLEM_TAIL;
    }
}

size_t llem_tail_copy(const struct llem_tail *t, char *out, size_t size)
{
    size_t n = t->len < size - 1 ? t->len : size - 1;
    size_t from = (t->at + LLEM_TAIL - n) % LLEM_TAIL;

    for (size_t i = 0; i < n; i++)
        out[i] = t->data[(from + i) % LLEM_TAIL];
    out[n] = '\0';
    return n;
}

llem_errcode llem_pipe_write(int fd, const void *data, size_t len, int timeout_ms, llem_error *err)
{
    int64_t deadline = now_ms() + timeout_ms;
    const char *p = data;
    struct timespec zero = { 0 };
    llem_errcode rc = LLEM_OK;
    sigset_t pipe_set, before, pending;
    bool was_pending;

    /* A pipe has no MSG_NOSIGNAL; block the signal in this thread and take back the one we cause.
     */
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);

    while (len) {
        struct pollfd wait = { .fd = fd, .events = POLLOUT };
        int64_t left = timeout_ms < 0 ? -1 : deadline - now_ms();
        /* A blocking descriptor takes up to PIPE_BUF without blocking once it polls writable. */
        size_t part = len > PIPE_BUF ? PIPE_BUF : len;
        ssize_t n;
        int ready = poll(&wait, 1, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);

        if (ready == 0) {
            rc = llem_fail(err, LLEM_ETIMEOUT,
                           "cannot write to a process: it does not read its input");
            break;
        }
        if (ready < 0 && errno == EINTR)
            continue;
        n = write(fd, p, part);
        if (n >= 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno == EPIPE) {
            if (!was_pending)
                while (sigtimedwait(&pipe_set, NULL, &zero) < 0 && errno == EINTR)
                    ;
            rc =
                llem_fail(err, LLEM_ECRASHED, "cannot write to a process: it has closed its input");
            break;
        } else if (errno != EINTR && errno != EAGAIN) {
            rc = llem_fail(err, LLEM_EIO, "cannot write to a process: %m");
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* ---- threads ------------------------------------------------------------------------------ */

int llem_thread_start(pthread_t *thread, void *(*run)(void *user), void *user)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}
