/* SPDX-License-Identifier: MIT
 *
 * Child processes: how they start, what they inherit, and that they and all they leave behind end.
 * This program is its own child: with a first argument it plays one of the parts below.
 */
#include "tests/unit/base/help.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "lib/base/clock.h"
#include "lib/base/process.h"

extern char **environ;

static char self_path[512];
static char token[16]; /* tells this run's children from another's */

/* ---- the parts a child plays -------------------------------------------------------------- */

static void say(const char *what)
{
    if (write(1, what, strlen(what)) < 0)
        _exit(1);
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

/* Ready, as whoever reads the other end of `fd` is told. */
static void stay(int fd)
{
    close(fd);
    sleep_for_ever();
}

/* What setproctitle() does: the memory that /proc/<pid>/environ shows is overwritten. */
static void destroy_environment(void)
{
    char **e;

    for (e = environ; *e; e++)
        memset(*e, 0, strlen(*e));
}

/* Fork; the child goes on in a session of its own, the parent too. */
static bool fork_session(void)
{
    pid_t pid = fork();

    if (pid == 0)
        setsid();
    return pid == 0;
}

static volatile sig_atomic_t got_signal;

static void note_signal(int sig)
{
    got_signal = sig;
}

/* At SIGTERM it leaves, but not without a successor. */
static void play_hydra(int lives)
{
    signal(SIGTERM, note_signal);
    while (lives > 0) {
        while (!got_signal)
            usleep(1000);
        got_signal = 0;
        if (!fork_session())
            _exit(0);
        lives--;
    }
    sleep_for_ever();
}

static void *start_and_wait(void *arg)
{
    char mark[33];
    static const char *const argv[] = { "sh", "-c", "exit 7", NULL };
    struct llem_process_opts opts = { .argv = argv,
                                      .mark = mark,
                                      .own_group = true,
                                      .stdin_fd = LLEM_NULL_FD,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_NULL_FD };
    intptr_t bad = 0;
    int i;

    llem_random_hex(mark); /* ending a process ends all that carry its mark */
    for (i = 0; i < 10; i++) {
        struct llem_process p;

        if (llem_process_start(&p, &opts, NULL) < 0 || !llem_process_wait(&p, 30000) ||
            !WIFEXITED(p.wstatus) || WEXITSTATUS(p.wstatus) != 7)
            bad++;
        llem_process_end(&p, 0);
    }
    return (void *)bad;
}

static int play(int argc, char **argv)
{
    const char *part = argv[1];

    if (strcmp(part, "descriptors") == 0) {
        char text[64];

        snprintf(text, sizeof(text), "%d\n", open_descriptors() - 1); /* less the one that counts */
        say(text);
    } else if (strcmp(part, "signals") == 0) {
        char line[256];
        FILE *f = fopen("/proc/self/status", "re");

        while (f && fgets(line, sizeof(line), f)) {
            unsigned long long set = strtoull(line + 7, NULL, 16);

            /* 32 and 33 are the C library's own: it lets nobody change them. */
            set &= ~(3ULL << 31);
            if (strncmp(line, "SigBlk", 6) == 0 || strncmp(line, "SigIgn", 6) == 0) {
                snprintf(line + 7, sizeof(line) - 7, "\t%016llx\n", set);
                say(line);
            }
        }
    } else if (strcmp(part, "stubborn") == 0) {
        signal(SIGTERM, SIG_IGN);
        say("ready\n");
        sleep_for_ever();
    } else if (strcmp(part, "polite") == 0) {
        signal(SIGTERM, note_signal);
        say("ready\n");
        while (!got_signal)
            usleep(1000);
        usleep(50000);
        return 5;
    } else if (strcmp(part, "family") == 0) {
        /* A grandchild in its own session, a daemon of two forks that is deaf, one that has
         * overwritten its environment, and one in the group whose parent is gone and whose
         * environment too. */
        int up[2];
        char none;

        if (pipe(up) < 0)
            return 1;
        if (fork_session())
            stay(up[1]);
        if (fork_session()) {
            signal(SIGTERM, SIG_IGN);
            if (fork_session())
                stay(up[1]);
            _exit(0);
        }
        if (fork_session()) {
            destroy_environment();
            stay(up[1]);
        }
        if (fork() == 0) {
            if (fork() == 0) {
                destroy_environment();
                stay(up[1]);
            }
            _exit(0);
        }
        /* Nobody writes: it ends when all who stay are ready and the others are gone. */
        close(up[1]);
        while (read(up[0], &none, 1) > 0)
            ;
        say("ready\n");
        if (argc > 3)
            return 0;
        sleep_for_ever();
    } else if (strcmp(part, "mute") == 0) {
        say("ready\n");
        close(0);
        close(1);
        close(2);
        sleep_for_ever();
    } else if (strcmp(part, "holder") == 0) {
        if (fork_session())
            sleep_for_ever();
        say("last words\n");
    } else if (strcmp(part, "hydra") == 0) {
        say("ready\n");
        play_hydra(20);
    } else if (strcmp(part, "sweeper") == 0) {
        /* Carries the mark itself, and so does its parent. */
        char text[64];
        pid_t child = fork();

        if (child == 0)
            sleep_for_ever();
        snprintf(text, sizeof(text), "swept %d\n", llem_process_sweep(argv[2], 2000));
        say(text);
        return waitpid(child, NULL, 0) == child ? 0 : 1;
    } else if (strcmp(part, "parent") == 0) {
        const char *const child[] = { self_path, "stubborn", NULL };
        struct llem_process_opts opts = { .argv = child,
                                          .stdin_fd = LLEM_NULL_FD,
                                          .stdout_fd = LLEM_PIPE,
                                          .stderr_fd = LLEM_NULL_FD,
                                          .own_group = true };
        struct llem_process p;
        char text[64];
        char byte;

        if (llem_process_start(&p, &opts, NULL) < 0)
            return 1;
        while (read(p.out, &byte, 1) != 1)
            usleep(1000);
        snprintf(text, sizeof(text), "%d\n", (int)p.pid);
        say(text);
        sleep_for_ever();
    }
    return 0;
}

/* ---- help --------------------------------------------------------------------------------- */

static int descriptors_before;

static int setup(void **state)
{
    descriptors_before = open_descriptors();
    return 0;
}

/* After every test: no child, no descriptor. A failed test's children are ended, so that the next
 * test fails for reasons of its own only. */
static int nothing_left(void **state)
{
    int rc = 0;

    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        char pids[1024] = "";
        char *p = pids;
        pid_t pid;
        FILE *f = fopen("/proc/thread-self/children", "re");

        print_message("# a child is left\n");
        if (f && fgets(pids, sizeof(pids), f))
            while ((pid = (pid_t)strtol(p, &p, 10)) > 0)
                kill(pid, SIGKILL);
        if (f)
            fclose(f);
        while (waitpid(-1, NULL, 0) > 0)
            ;
        rc = -1;
    }
    if (open_descriptors() != descriptors_before) {
        print_message("# %d descriptors, once %d\n", open_descriptors(), descriptors_before);
        rc = -1;
    }
    return rc;
}

static void start(struct llem_process *p, const char *mark, const char *const *argv)
{
    struct llem_process_opts opts = { .argv = argv,
                                      .mark = mark,
                                      .own_group = true,
                                      .stdin_fd = LLEM_NULL_FD,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_NULL_FD };
    llem_error err = { 0 };

    if (llem_process_start(p, &opts, &err) < 0)
        fail_msg("%s", err.msg);
}

#define START(p, mark, ...) start(p, mark, (const char *const[]){ __VA_ARGS__, NULL })

/* All output until its end, or until `until` was seen. */
static void read_output(const struct llem_process *p, char *out, size_t size, const char *until)
{
    int64_t deadline = llem_now_ns(&llem_system_clock) + 30 * LLEM_NS_PER_S;
    struct llem_lines lines;
    struct llem_lines *const one[] = { &lines };
    size_t used = 0, len;
    char *line;

    out[0] = '\0';
    llem_lines_init(&lines, p->out, 1000);
    while (!lines.ended && !(until && strstr(out, until))) {
        assert_true(llem_now_ns(&llem_system_clock) < deadline);
        llem_lines_wait(one, 1, -1, 1000);
        while (llem_lines_next(&lines, &line, &len))
            used += (size_t)snprintf(out + used, size - used, "%s\n", line);
    }
    llem_lines_done(&lines);
}

/* Living processes that carry the mark, counted by somebody else. */
static int count_marked(const char *mark)
{
    char command[256], line[64] = "";
    FILE *f;

    snprintf(command, sizeof(command),
             "grep -lzx 'LLEM_RUN=%s' /proc/[0-9]*/environ 2>/dev/null | wc -l", mark);
    f = popen(command, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    pclose(f);
    return (int)strtol(line, NULL, 10);
}

static int64_t now_ms(void)
{
    return llem_now_ns(&llem_system_clock) / 1000000;
}

/* Living processes of this program that play `part`; what has lost its environment keeps its
 * arguments. */
static int count_playing(const char *part)
{
    char command[256], line[64] = "";
    FILE *f;

    snprintf(command, sizeof(command),
             "for f in /proc/[0-9]*; do tr '\\0' ' ' 2>/dev/null <$f/cmdline; echo; done "
             "2>/dev/null | grep -c '[t]est_base_process %s %s'",
             part, token);
    f = popen(command, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    pclose(f);
    return (int)strtol(line, NULL, 10);
}

/* ---- starting ----------------------------------------------------------------------------- */

static void a_child_gets_its_arguments_environment_and_directory(void **state)
{
    static const char *const argv[] = {
        "sh", "-c",          "echo \"$1|$LLEM_RUN|$ADDED|$CHANGED|${GONE-unset}|$TWICE\"; pwd",
        "sh", "an argument", NULL
    };
    static const char *const env[] = { "ADDED=a=b", "CHANGED=new",    "GONE", "TWICE=1",
                                       "TWICE=2",   "LLEM_RUN=other", NULL };
    struct llem_process_opts opts = { .argv = argv,
                                      .env = env,
                                      .cwd = "/usr",
                                      .mark = "the-mark",
                                      .stdin_fd = LLEM_NULL_FD,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_NULL_FD,
                                      .own_group = true };
    struct llem_process p;
    char out[1000];

    setenv("CHANGED", "old", 1);
    setenv("GONE", "here", 1);
    setenv("LLEM_RUN", "mine", 1);
    assert_int_equal(llem_process_start(&p, &opts, NULL), LLEM_OK);
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "an argument|the-mark|a=b|new|unset|2\n/usr\n");
    assert_true(llem_process_wait(&p, -1));
    assert_true(llem_process_wait(&p, -1));
    assert_false(llem_process_poll(&p));
    assert_int_equal(p.wstatus, 0);
    llem_process_end(&p, 1000);

    /* Without a mark of its own it inherits the caller's. */
    opts.mark = NULL;
    opts.env = NULL;
    opts.cwd = NULL;
    assert_int_equal(llem_process_start(&p, &opts, NULL), LLEM_OK);
    read_output(&p, out, sizeof(out), NULL);
    assert_contains(out, "|mine||old|here|");
    llem_process_end(&p, 1000);
    unsetenv("LLEM_RUN");
}

static void the_three_streams_go_where_they_are_told(void **state)
{
    static const char *const argv[] = { "sh", "-c", "cat; echo err >&2; exit 3", NULL };
    struct llem_process_opts opts = { .argv = argv,
                                      .stdin_fd = LLEM_PIPE,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_PIPE,
                                      .own_group = true };
    struct llem_process p;
    char out[100];
    char byte;

    assert_int_equal(llem_process_start(&p, &opts, NULL), LLEM_OK);
    assert_int_equal(read(p.out, &byte, 1), -1); /* our ends do not block */
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(llem_pipe_write(p.in, "in\n", 3, 1000, NULL), LLEM_OK);
    close(p.in);
    p.in = -1;
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "in\n");
    assert_true(llem_process_wait(&p, 10000));
    assert_int_equal(read(p.err, out, sizeof(out)), 4);
    assert_memory_equal(out, "err\n", 4);
    llem_process_describe(out, sizeof(out), p.wstatus);
    assert_string_equal(out, "exited with status 3");
    llem_process_end(&p, 0);
}

static void a_child_has_three_descriptors_and_default_signals(void **state)
{
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec, as a careless host has them */
    int far = fcntl(leak, F_DUPFD, 500);
    struct llem_process p;
    sigset_t set, before;
    char out[1000];

    assert_true(leak >= 0 && far >= 0);
    START(&p, "m", self_path, "descriptors");
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "3\n");
    llem_process_end(&p, 0);

    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    START(&p, "m", self_path, "signals");
    read_output(&p, out, sizeof(out), NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_string_equal(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    llem_process_end(&p, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    close(leak);
    close(far);
}

static void a_caller_without_standard_streams_can_start_one(void **state)
{
    int saved[3], i;
    struct llem_process p;
    char out[100];

    for (i = 0; i < 3; i++)
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
    for (i = 0; i < 3; i++)
        close(i);
    {
        /* Its pipes now get the numbers 0, 1 and 2. */
        static const char *const argv[] = { "sh", "-c", "read x; echo got $x; echo err >&2", NULL };
        struct llem_process_opts opts = { .argv = argv,
                                          .stdin_fd = LLEM_PIPE,
                                          .stdout_fd = LLEM_PIPE,
                                          .stderr_fd = LLEM_PIPE,
                                          .own_group = true,
                                          .mark = "no-streams" };
        llem_errcode rc = llem_process_start(&p, &opts, NULL);
        bool good = rc == LLEM_OK && llem_pipe_write(p.in, "it\n", 3, 1000, NULL) == LLEM_OK &&
                    llem_process_wait(&p, 10000);
        ssize_t n = good ? read(p.out, out, sizeof(out)) : -1;

        llem_process_end(&p, 0);
        for (i = 0; i < 3; i++) {
            dup2(saved[i], i);
            close(saved[i]);
        }
        assert_true(good);
        assert_int_equal(n, 7);
        assert_memory_equal(out, "got it\n", 7);
    }
}

static void what_cannot_be_executed_is_said_at_the_start(void **state)
{
    char plain[512], script[512], broken[512], absent[512];
    const struct {
        const char *program, *cwd;
        llem_errcode code;
        const char *part;
    } all[] = {
        { absent, NULL, LLEM_ENOTFOUND, "No such file" },
        { "llem-no-such-program", NULL, LLEM_ENOTFOUND, "no such program in PATH" },
        { help_dir, NULL, LLEM_EIO, "directory" },
        { plain, NULL, LLEM_EIO, "Permission denied" },
        { broken, NULL, LLEM_EIO, "interpreter" },
        { "true", "/nonexistent", LLEM_EIO, "/nonexistent" },
        { "", NULL, LLEM_EINVAL, "no program" },
    };
    size_t i;

    snprintf(absent, sizeof(absent), "%s", in_dir("absent"));
    snprintf(plain, sizeof(plain), "%s", in_dir("plain"));
    snprintf(script, sizeof(script), "%s", in_dir("script"));
    snprintf(broken, sizeof(broken), "%s", in_dir("broken"));
    put_file(plain, "echo no\n");
    put_file(script, "echo \"$0 $1\"\n");
    put_file(broken, "#!/nonexistent/interpreter\n");
    assert_int_equal(chmod(script, 0755), 0);
    assert_int_equal(chmod(broken, 0755), 0);

    for (i = 0; i < LLEM_COUNT(all); i++) {
        const char *const argv[] = { all[i].program, NULL };
        struct llem_process_opts opts = { .argv = argv,
                                          .cwd = all[i].cwd,
                                          .stdin_fd = LLEM_PIPE,
                                          .stdout_fd = LLEM_PIPE,
                                          .stderr_fd = LLEM_PIPE,
                                          .own_group = true,
                                          .mark = "m" };
        llem_error err = { 0 };
        struct llem_process p;

        assert_int_equal(llem_process_start(&p, &opts, &err), all[i].code);
        assert_contains(err.msg, all[i].part);
        assert_contains(err.msg, all[i].program);
        assert_int_equal(p.pid, 0);
        assert_false(llem_process_poll(&p));
        llem_process_end(&p, 1000);
        assert_int_equal(nothing_left(state), 0);
    }
    {
        /* A script without "#!" is for sh. */
        struct llem_process p;
        char out[1000], expected[1000];

        START(&p, "m", script, "x y");
        read_output(&p, out, sizeof(out), NULL);
        snprintf(expected, sizeof(expected), "%s x y\n", script);
        assert_string_equal(out, expected);
        llem_process_end(&p, 0);
    }
}

static void programs_are_looked_up_in_the_path_of_the_child(void **state)
{
    static const char *const argv[] = { "only-here", NULL };
    const char *const env[] = { "PATH=relative:/nonexistent::/usr", NULL };
    struct llem_process_opts opts = { .argv = argv,
                                      .env = env,
                                      .cwd = "/",
                                      .stdin_fd = LLEM_NULL_FD,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_NULL_FD };
    char *cwd = getcwd(NULL, 0);
    struct llem_process p;
    llem_error err = { 0 };
    char out[100];

    assert_non_null(cwd);
    assert_int_equal(chdir(help_dir), 0);
    assert_int_equal(mkdir("relative", 0755), 0);
    put_file("relative/only-here", "#!/bin/sh\necho here\n");
    /* Found, but not to be executed: the sentence names it. */
    assert_int_equal(llem_process_start(&p, &opts, &err), LLEM_EIO);
    assert_contains(err.msg, "relative/only-here");
    assert_int_equal(chmod("relative/only-here", 0755), 0);
    assert_int_equal(llem_process_start(&p, &opts, &err), LLEM_OK);
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "here\n");
    llem_process_end(&p, 1000);
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void waiting_keeps_its_time_and_reaps_once(void **state)
{
    struct llem_process p;
    int64_t begin;
    int without;

    for (without = 0; without < 2; without++) {
        START(&p, "m", "sleep", "600");
        if (without) {
            /* Kernels before 5.3 have no pidfd. */
            close(p.pidfd);
            p.pidfd = -1;
        }
        begin = now_ms();
        assert_false(llem_process_poll(&p));
        assert_false(llem_process_wait(&p, 0));
        assert_false(llem_process_wait(&p, 50));
        assert_true(now_ms() - begin >= 50);
        assert_int_equal(kill(p.pid, SIGKILL), 0);
        assert_true(llem_process_wait(&p, 20000));
        assert_int_equal(p.pid, 0);
        assert_false(llem_process_poll(&p));
        llem_process_end(&p, 0);
    }
    START(&p, "m", "true");
    while (!llem_process_poll(&p))
        usleep(1000);
    assert_false(llem_process_poll(&p));
    assert_int_equal(p.wstatus, 0);
    llem_process_end(&p, 0);
}

static void a_child_reaped_by_somebody_else_counts_as_ended(void **state)
{
    struct llem_process p;
    char text[100];

    START(&p, "m", "true");
    assert_int_equal(waitpid(p.pid, NULL, 0), p.pid);
    assert_true(llem_process_wait(&p, 1000));
    llem_process_describe(text, sizeof(text), p.wstatus);
    assert_contains(text, "ended");
    llem_process_end(&p, 0);
}

static void ends_are_described(void **state)
{
    struct llem_process p;
    char text[100];

    START(&p, "m", "sh", "-c", "kill -9 $$");
    assert_true(llem_process_wait(&p, 10000));
    llem_process_describe(text, sizeof(text), p.wstatus);
    assert_string_equal(text, "was killed by signal 9 (SIGKILL)");
    llem_process_end(&p, 0);
    START(&p, "m", "sh", "-c", "kill -40 $$");
    assert_true(llem_process_wait(&p, 10000));
    llem_process_describe(text, sizeof(text), p.wstatus);
    assert_string_equal(text, "was killed by signal 40");
    llem_process_end(&p, 0);
}

/* ---- ending ------------------------------------------------------------------------------- */

static void ending_what_never_started_is_safe(void **state)
{
    struct llem_process p = { 0 };

    llem_process_end(&p, 1000);
    llem_process_end(&p, 1000);
    assert_true(llem_process_wait(&p, 0));
    assert_false(llem_process_poll(&p));
    llem_process_signal(&p, SIGKILL);
    assert_int_equal(fcntl(0, F_GETFD) >= 0, 1); /* its zeros were not taken for descriptors */
}

static void a_polite_child_has_its_grace(void **state)
{
    struct llem_process p;
    char out[100];
    int64_t begin;

    START(&p, "polite-one", self_path, "polite");
    read_output(&p, out, sizeof(out), "ready");
    begin = now_ms();
    llem_process_end(&p, 20000);
    assert_true(now_ms() - begin < 10000);
    assert_true(WIFEXITED(p.wstatus));
    assert_int_equal(WEXITSTATUS(p.wstatus), 5);
}

static void a_stubborn_child_is_killed_after_its_grace(void **state)
{
    struct llem_process p;
    char out[100];
    int64_t begin;

    START(&p, "stubborn-one", self_path, "stubborn");
    read_output(&p, out, sizeof(out), "ready");
    begin = now_ms();
    llem_process_end(&p, 200);
    assert_true(now_ms() - begin >= 200);
    assert_true(now_ms() - begin < 10000);
    assert_true(WIFSIGNALED(p.wstatus));
    assert_int_equal(WTERMSIG(p.wstatus), SIGKILL);
    assert_int_equal(count_marked("stubborn-one"), 0);
}

static void a_stopped_child_ends_too(void **state)
{
    struct llem_process p;
    char out[100];

    START(&p, "stopped-one", self_path, "polite");
    read_output(&p, out, sizeof(out), "ready");
    llem_process_signal(&p, SIGSTOP);
    llem_process_end(&p, 10000);
    assert_true(WIFEXITED(p.wstatus));
    assert_int_equal(WEXITSTATUS(p.wstatus), 5);
}

static void a_child_that_closed_its_streams_is_not_taken_for_dead(void **state)
{
    struct llem_process p;
    char out[100];

    START(&p, "mute-one", self_path, "mute");
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "ready\n");
    assert_false(llem_process_wait(&p, 50));
    llem_process_end(&p, 2000);
    assert_int_equal(WTERMSIG(p.wstatus), SIGTERM);
    assert_int_equal(count_marked("mute-one"), 0);
}

static void a_whole_family_ends_with_its_head(void **state)
{
    struct llem_process p;
    char out[100];

    START(&p, "family-one", self_path, "family", token);
    read_output(&p, out, sizeof(out), "ready");
    assert_int_equal(count_playing("family"), 5);
    llem_process_end(&p, 300);
    assert_int_equal(count_playing("family"), 0);
}

static void what_a_dead_head_leaves_behind_ends_too(void **state)
{
    struct llem_process p;
    char command[512], out[100];

    START(&p, "family-two", self_path, "family", token, "and leave");
    read_output(&p, out, sizeof(out), "ready");
    assert_true(llem_process_wait(&p, 10000));
    assert_int_equal(count_playing("family"), 4);
    llem_process_end(&p, 300);
    /* The one in a session of its own, with an overwritten environment and no living parent, is out
     * of sight; everything else is gone. */
    assert_int_equal(count_marked("family-two"), 0);
    assert_true(count_playing("family") <= 1);
    snprintf(command, sizeof(command),
             "for f in /proc/[0-9]*; do tr '\\0' ' ' 2>/dev/null <$f/cmdline | "
             "grep -q '[t]est_base_process family %s' && kill -9 ${f#/proc/}; done 2>/dev/null",
             token);
    assert_int_not_equal(system(command), -1);
}

static void a_process_belongs_by_descent_or_by_its_mark(void **state)
{
    struct llem_process p = { 0 };
    pid_t pid;

    START(&p, "belongs-a", "sh", "-c", "setsid sleep 100 & sleep 100");
    while (count_marked("belongs-a") != 3)
        ;
    assert_int_equal(llem_process_belongs(getpid(), NULL), 1);
    assert_int_equal(llem_process_belongs(p.pid, NULL), 1);
    assert_int_equal(llem_process_belongs(p.pid, "belongs-a"), 1);
    assert_int_equal(llem_process_belongs(getppid(), "belongs-a"), 0);
    assert_int_equal(llem_process_belongs(0, "belongs-a"), -1);
    assert_int_equal(llem_process_belongs(INT32_MAX, "belongs-a"), -1);
    pid = p.pid;
    llem_process_end(&p, 0);
    assert_int_equal(llem_process_belongs(pid, "belongs-a"), -1);
}

static void what_a_reaped_process_left_is_swept_once(void **state)
{
    struct llem_process p;

    START(&p, "after-a", "sh", "-c", "setsid sleep 100 & sleep 100 & wait");
    while (count_marked("after-a") != 3)
        usleep(5000);
    llem_process_sweep_after(&p, 5000); /* not reaped: left to llem_process_end() */
    assert_int_equal(count_marked("after-a"), 3);
    kill(p.pid, SIGKILL);
    assert_true(llem_process_wait(&p, 5000));
    assert_int_equal(count_marked("after-a"), 2);
    llem_process_sweep_after(&p, 5000);
    assert_int_equal(count_marked("after-a"), 0);
    assert_true(p.swept);
    llem_process_end(&p, 0);
    assert_false(p.swept || p.started);
}

static void a_sweep_finds_only_its_mark(void **state)
{
    struct llem_process one, two, three;

    START(&one, "sweep-a", "sleep", "100");
    START(&two, "sweep-ab", "sleep", "100");
    START(&three, "sweep-a", "sh", "-c", "setsid sleep 100 & sleep 100");
    while (count_marked("sweep-a") != 4)
        usleep(5000);
    assert_int_equal(llem_process_sweep("sweep-a", 5000), 4);
    assert_int_equal(count_marked("sweep-a"), 0);
    assert_int_equal(llem_process_sweep("sweep-a", 5000), 0);
    assert_int_equal(llem_process_sweep("", 0), 0);
    assert_int_equal(llem_process_sweep(NULL, 0), 0);
    assert_int_equal(count_marked("sweep-ab"), 1);
    assert_false(llem_process_poll(&two));
    assert_true(llem_process_wait(&one, 5000));
    llem_process_end(&one, 0);
    llem_process_end(&two, 0);
    llem_process_end(&three, 0);
}

static void a_sweep_spares_the_sweeper_and_its_ancestors(void **state)
{
    struct llem_process p;
    char command[1000], out[100];

    snprintf(command, sizeof(command), "'%s' sweeper own-mark; echo status $?", self_path);
    START(&p, "own-mark", "sh", "-c", command);
    read_output(&p, out, sizeof(out), NULL);
    assert_string_equal(out, "swept 1\nstatus 0\n");
    llem_process_end(&p, 1000);
}

static void what_forks_while_it_is_ended_ends_nevertheless(void **state)
{
    struct llem_process p;
    char out[100];

    START(&p, "hydra-one", self_path, "hydra", token);
    read_output(&p, out, sizeof(out), "ready");
    llem_process_end(&p, 400);
    assert_int_equal(count_marked("hydra-one"), 0);
    assert_int_equal(count_playing("hydra"), 0);
}

static void a_child_dies_with_its_parent(void **state)
{
    struct llem_process p;
    int64_t deadline = now_ms() + 10000;
    char out[100], path[64];
    long child;
    FILE *f;

    START(&p, "parent-one", self_path, "parent");
    read_output(&p, out, sizeof(out), "\n");
    child = strtol(out, NULL, 10);
    assert_true(child > 1);
    assert_int_equal(kill((pid_t)child, 0), 0);
    kill(p.pid, SIGKILL); /* the parent only, and not through llem_process_end() */
    for (;;) {
        char text[512] = "";

        snprintf(path, sizeof(path), "/proc/%ld/stat", child);
        f = fopen(path, "re");
        if (!f)
            break;
        if (fgets(text, sizeof(text), f) && strstr(text, ") Z "))
            child = 0; /* dead, and nobody has reaped it yet */
        fclose(f);
        if (!child)
            break;
        assert_true(now_ms() < deadline);
        usleep(2000);
    }
    llem_process_end(&p, 0);
}

static void threads_start_processes_at_the_same_time(void **state)
{
    pthread_t threads[4];
    void *bad;
    size_t i;

    for (i = 0; i < LLEM_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, start_and_wait, NULL), 0);
    for (i = 0; i < LLEM_COUNT(threads); i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

static void random_ids_are_hexadecimal_and_differ(void **state)
{
    char one[33], two[33];

    assert_true(llem_random_hex(one));
    assert_true(llem_random_hex(two));
    assert_int_equal(strlen(one), 32);
    assert_int_equal(strspn(one, "0123456789abcdef"), 32);
    assert_string_not_equal(one, two);
}

/* ---- pipes -------------------------------------------------------------------------------- */

static void make_pipe(int ends[2])
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static void put(int fd, const char *text, size_t len)
{
    assert_int_equal(write(fd, text, len), (int)len);
}

static void lines_arrive_whole(void **state)
{
    struct llem_lines r;
    int ends[2];
    char *line;
    size_t len;

    make_pipe(ends);
    llem_lines_init(&r, ends[0], 10);
    assert_false(llem_lines_next(&r, &line, &len));
    assert_false(r.ended);
    put(ends[1], "on", 2);
    assert_false(llem_lines_next(&r, &line, &len));
    put(ends[1], "e\n\ntwo\nthr", 10);
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "one");
    assert_int_equal(len, 3);
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "");
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "two");
    assert_false(llem_lines_next(&r, &line, &len));
    put(ends[1], "ee\na\0b\n0123456789\nlast", 22);
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "three");
    assert_true(llem_lines_next(&r, &line, &len));
    assert_int_equal(len, 3);
    assert_memory_equal(line, "a\0b", 4);
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "0123456789");
    assert_false(r.cut);
    assert_false(llem_lines_next(&r, &line, &len));
    close(ends[1]);
    assert_true(llem_lines_next(&r, &line, &len));
    assert_string_equal(line, "last");
    assert_false(r.ended && r.failed);
    assert_false(llem_lines_next(&r, &line, &len));
    assert_true(r.ended);
    assert_false(r.failed);
    assert_false(llem_lines_next(&r, &line, &len));
    llem_lines_done(&r);
    close(ends[0]);
}

static void long_lines_are_cut_and_the_next_is_whole(void **state)
{
    static const size_t lengths[] = { 100, 101, 150, 1000, 16384, 16385, 50000 };
    char *text = malloc(60000);
    size_t i, len;

    assert_non_null(text);
    for (i = 0; i < LLEM_COUNT(lengths); i++) {
        struct llem_lines r;
        int ends[2];
        char *line;

        make_pipe(ends);
        llem_lines_init(&r, ends[0], 100);
        memset(text, 'x', lengths[i]);
        memcpy(text + lengths[i], "\nnext\n", 6);
        put(ends[1], text, lengths[i] + 6);
        close(ends[1]);
        assert_true(llem_lines_next(&r, &line, &len));
        assert_int_equal(len, 100);
        assert_int_equal(strspn(line, "x"), 100);
        assert_int_equal(r.cut, lengths[i] > 100);
        assert_true(llem_lines_next(&r, &line, &len));
        assert_string_equal(line, "next");
        assert_false(r.cut);
        assert_false(llem_lines_next(&r, &line, &len));
        assert_true(r.ended);
        llem_lines_done(&r);
        close(ends[0]);
    }
    free(text);
}

/* However the bytes are cut into pieces, the lines are the same. */
static void pieces_do_not_matter(void **state)
{
    uint64_t random = random_seed();
    int round;

    for (round = 0; round < 200; round++) {
        char text[3000], got[4000], expected[4000];
        size_t size = next_random(&random) % sizeof(text);
        size_t at = 0, used = 0, want = 0, i, len, column = 0;
        struct llem_lines r;
        int ends[2];
        char *line;

        for (i = 0; i < size; i++)
            text[i] = next_random(&random) % 12 ? 'a' + (char)(next_random(&random) % 26) : '\n';
        for (i = 0; i < size; i++) {
            if (text[i] == '\n') {
                expected[want++] = '\n';
                column = 0;
            } else if (column++ < 8) {
                expected[want++] = text[i];
            }
        }
        if (column)
            expected[want++] = '\n';

        make_pipe(ends);
        llem_lines_init(&r, ends[0], 8);
        while (!r.ended) {
            if (at < size) {
                size_t n = next_random(&random) % 40 + 1;

                n = n > size - at ? size - at : n;
                put(ends[1], text + at, n);
                at += n;
            } else if (ends[1] >= 0) {
                close(ends[1]);
                ends[1] = -1;
            }
            while (llem_lines_next(&r, &line, &len)) {
                memcpy(got + used, line, len);
                used += len;
                got[used++] = '\n';
            }
        }
        assert_int_equal(used, want);
        assert_memory_equal(got, expected, want);
        llem_lines_done(&r);
        close(ends[0]);
    }
}

static void several_pipes_are_waited_for_together(void **state)
{
    struct llem_lines a, b, none;
    struct llem_lines *const all[] = { &a, &none, &b };
    int one[2], two[2];
    int64_t begin;
    char *line;
    size_t len;

    make_pipe(one);
    make_pipe(two);
    llem_lines_init(&a, one[0], 100);
    llem_lines_init(&b, two[0], 100);
    llem_lines_init(&none, -1, 100);
    assert_true(none.ended);
    begin = now_ms();
    assert_false(llem_lines_wait(all, 3, -1, 60));
    assert_true(now_ms() - begin >= 60);
    put(two[1], "b\n", 2);
    assert_true(llem_lines_wait(all, 3, -1, 10000));
    assert_false(llem_lines_next(&a, &line, &len));
    assert_true(llem_lines_next(&b, &line, &len));
    assert_string_equal(line, "b");
    close(one[1]);
    assert_true(llem_lines_wait(all, 3, -1, 10000)); /* an end is something too */
    assert_false(llem_lines_next(&a, &line, &len));
    assert_true(a.ended);
    close(one[0]);
    close(two[0]);
    close(two[1]);
    llem_lines_done(&a);
    llem_lines_done(&b);
    llem_lines_done(&none);
}

static void a_grandchild_that_holds_the_pipe_open_holds_nobody_up(void **state)
{
    struct llem_lines lines;
    struct llem_lines *const one[] = { &lines };
    struct llem_process p;
    bool seen = false, ended = false;
    int64_t begin = now_ms();
    char *line;
    size_t len;

    START(&p, "holder-one", self_path, "holder");
    llem_lines_init(&lines, p.out, 100);
    while (!ended && !lines.ended) {
        assert_true(now_ms() - begin < 20000);
        llem_lines_wait(one, 1, p.pidfd, 1000);
        ended = llem_process_poll(&p);
        while (llem_lines_next(&lines, &line, &len))
            seen |= strcmp(line, "last words") == 0;
    }
    assert_true(ended);
    assert_true(seen);
    llem_lines_done(&lines);
    llem_process_end(&p, 1000);
    assert_int_equal(count_marked("holder-one"), 0);
}

static void a_bad_descriptor_ends_the_lines(void **state)
{
    struct llem_lines r;
    char *line;
    size_t len;

    llem_lines_init(&r, 987, 100);
    assert_false(llem_lines_next(&r, &line, &len));
    assert_true(r.ended);
    assert_true(r.failed);
    llem_lines_done(&r);
}

static void *read_slowly(void *arg)
{
    intptr_t fd = (intptr_t)arg;
    size_t total = 0;
    char buf[5000];

    for (;;) {
        ssize_t n = read((int)fd, buf, sizeof(buf));

        if (n == 0)
            return (void *)total;
        if (n > 0)
            total += (size_t)n;
        else
            usleep(500);
    }
}

static void much_is_written_and_a_deaf_reader_is_noticed(void **state)
{
    size_t size = 1 << 20;
    char *data = calloc(1, size);
    llem_error err = { 0 };
    pthread_t reader;
    void *total;
    int blocking;
    int ends[2];
    int64_t begin;

    assert_non_null(data);
    for (blocking = 0; blocking < 2; blocking++) {
        assert_int_equal(pipe2(ends, O_CLOEXEC | (blocking ? 0 : O_NONBLOCK)), 0);
        assert_int_equal(pthread_create(&reader, NULL, read_slowly, (void *)(intptr_t)ends[0]), 0);
        assert_int_equal(llem_pipe_write(ends[1], data, size, 60000, &err), LLEM_OK);
        close(ends[1]);
        pthread_join(reader, &total);
        assert_int_equal((size_t)total, size);
        close(ends[0]);
        assert_int_equal(pipe2(ends, O_CLOEXEC | (blocking ? 0 : O_NONBLOCK)), 0);
        begin = now_ms();
        assert_int_equal(llem_pipe_write(ends[1], data, size, 60, &err), LLEM_ETIMEOUT);
        assert_true(now_ms() - begin >= 60);
        close(ends[0]);
        close(ends[1]);
    }
    free(data);
}

static void nobody_reading_is_an_error_and_no_signal(void **state)
{
    llem_error err = { 0 };
    sigset_t pending;
    int ends[2];

    signal(SIGPIPE, SIG_DFL); /* would end this program */
    make_pipe(ends);
    close(ends[0]);
    assert_int_equal(llem_pipe_write(ends[1], "x", 1, 1000, &err), LLEM_ECRASHED);
    assert_contains(err.msg, "closed its input");
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    close(ends[1]);
    assert_int_equal(llem_pipe_write(987, "x", 1, 1000, &err), LLEM_EIO);
    assert_int_equal(llem_pipe_write(987, "", 0, 1000, &err), LLEM_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, nothing_left)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_child_gets_its_arguments_environment_and_directory),
        TEST(the_three_streams_go_where_they_are_told),
        TEST(a_child_has_three_descriptors_and_default_signals),
        TEST(a_caller_without_standard_streams_can_start_one),
        TEST(what_cannot_be_executed_is_said_at_the_start),
        TEST(programs_are_looked_up_in_the_path_of_the_child),
        TEST(waiting_keeps_its_time_and_reaps_once),
        TEST(a_child_reaped_by_somebody_else_counts_as_ended),
        TEST(ends_are_described),
        TEST(ending_what_never_started_is_safe),
        TEST(a_polite_child_has_its_grace),
        TEST(a_stubborn_child_is_killed_after_its_grace),
        TEST(a_stopped_child_ends_too),
        TEST(a_child_that_closed_its_streams_is_not_taken_for_dead),
        TEST(a_whole_family_ends_with_its_head),
        TEST(what_a_dead_head_leaves_behind_ends_too),
        TEST(a_process_belongs_by_descent_or_by_its_mark),
        TEST(what_a_reaped_process_left_is_swept_once),
        TEST(a_sweep_finds_only_its_mark),
        TEST(a_sweep_spares_the_sweeper_and_its_ancestors),
        TEST(what_forks_while_it_is_ended_ends_nevertheless),
        TEST(a_child_dies_with_its_parent),
        TEST(threads_start_processes_at_the_same_time),
        TEST(random_ids_are_hexadecimal_and_differ),
        TEST(lines_arrive_whole),
        TEST(long_lines_are_cut_and_the_next_is_whole),
        TEST(pieces_do_not_matter),
        TEST(several_pipes_are_waited_for_together),
        TEST(a_grandchild_that_holds_the_pipe_open_holds_nobody_up),
        TEST(a_bad_descriptor_ends_the_lines),
        TEST(much_is_written_and_a_deaf_reader_is_noticed),
        TEST(nobody_reading_is_an_error_and_no_signal),
    };
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);

    if (n < 0)
        return 1;
    snprintf(token, sizeof(token), "%d", (int)getpid());
    if (argc > 1)
        return play(argc, argv);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
