/* SPDX-License-Identifier: MIT
 *
 * Talking to a child over its pipes, and everything such a child can do wrong. This program is its
 * own child: with a first argument it plays one of the parts below.
 */
#include "tests/unit/base/help.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "lib/base/clock.h"
#include "lib/base/rpc.h"

static char self_path[512];

/* ---- the parts a child plays -------------------------------------------------------------- */

/* The next request's id; 0 at the end of input. *line: the request, until the next call. */
static long next_request(char **line)
{
    static size_t cap;
    static char *text;
    char *at;

    if (getline(&text, &cap, stdin) <= 0)
        return 0;
    *line = text;
    at = strstr(text, "\"id\":");
    return at ? strtol(at + strlen("\"id\":"), NULL, 10) : 0;
}

static void reply(long id, const char *result)
{
    printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":%s}\n", id, result);
    fflush(stdout);
}

static void say(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void detach_a_grandchild(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
}

static void repeat(char c, size_t n)
{
    while (n--)
        putchar(c);
}

static int play(const char *part)
{
    char *line;
    long id;

    if (strcmp(part, "grandchild") == 0)
        detach_a_grandchild();
    if (strcmp(part, "early") == 0) {
        fputs("ModuleNotFoundError: No module named 'torch'\n", stderr);
        return 3;
    }
    if (strcmp(part, "closes-input") == 0)
        fclose(stdin);
    if (strcmp(part, "deaf") == 0 || strcmp(part, "closes-input") == 0)
        for (;;)
            pause();
    while ((id = next_request(&line)) > 0) {
        if (strcmp(part, "echo") == 0 || strcmp(part, "grandchild") == 0) {
            char *params = strstr(line, "\"params\":");

            if (params)
                params[strlen(params) - 2] = '\0'; /* the map's end and the newline */
            reply(id, params ? params + strlen("\"params\":") : "null");
        } else if (strcmp(part, "notes") == 0) {
            for (int i = 0; i < 1000; i++)
                printf("{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{\"i\":%d}}\n", i);
            reply(id, "{}");
        } else if (strcmp(part, "unwelcome") == 0) {
            say("{\"jsonrpc\":\"2.0\",\"method\":\"unwelcome\"}\n");
        } else if (strcmp(part, "refuses") == 0) {
            printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"error\":{\"code\":-1,\"message\":\"the model "
                   "is not there\",\"data\":{\"kind\":\"not_there\",\"hint\":\"look "
                   "elsewhere\",\"traceback\":\"Traceback (most recent)\"}}}\n",
                   id);
            fflush(stdout);
        } else if (strcmp(part, "refuses-plainly") == 0) {
            printf("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"what?"
                   "\"}}\n");
            fflush(stdout);
        } else if (strcmp(part, "prints") == 0) {
            repeat('x', 150);
            repeat('y', 150);
            say("\n");
        } else if (strcmp(part, "old") == 0) {
            say("{\"id\":1,\"result\":{}}\n");
        } else if (strcmp(part, "asks") == 0) {
            say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"please\"}\n");
        } else if (strcmp(part, "half") == 0) {
            say("{\"jsonrpc\":\"2.0\",\"id\":1,\"resu");
            raise(SIGKILL);
        } else if (strcmp(part, "wrong-id") == 0) {
            reply(id + 6, "{}");
        } else if (strcmp(part, "twice") == 0) {
            printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":1}\n", id);
            reply(id, "2");
        } else if (strcmp(part, "dies") == 0) {
            fputs("one\nsomething went wrong \n\n", stderr);
            return 7;
        } else if (strcmp(part, "killed") == 0) {
            raise(SIGKILL);
        } else if (strcmp(part, "closes") == 0) {
            fclose(stdout);
            for (;;)
                pause();
        } else if (strcmp(part, "silent") == 0) {
            for (;;)
                pause();
        } else if (strcmp(part, "mumbles") == 0) { /* a word every 20 ms, an answer after 300 */
            for (int i = 0; i < 15; i++) {
                fputc('.', stderr);
                usleep(20000);
            }
            reply(id, "{}");
        } else if (strcmp(part, "long-line") == 0) {
            say("{\"jsonrpc\":\"2.0\",\"text\":\"");
            for (;;) {
                repeat('z', 4096);
                fflush(stdout);
            }
        } else if (strcmp(part, "floods") == 0) {
            for (;;)
                puts("{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{}}");
        } else if (strcmp(part, "floods-log") == 0) {
            for (;;)
                fputs("warning: something is deprecated\n", stderr);
        } else if (strcmp(part, "talks-first") == 0) { /* before it has read a long request */
            for (int i = 0; i < 10000; i++)
                puts("{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{\"text\":\"something "
                     "long enough to fill the pipe before anybody has read the whole request\"}}");
            reply(id, "{}");
        } else if (strcmp(part, "stubborn") == 0) {
            signal(SIGTERM, SIG_IGN);
            reply(id, "{}");
        } else if (strcmp(part, "leaves-badly") == 0) {
            reply(id, "{}");
            while (next_request(&line) > 0)
                ;
            return 5;
        } else if (strcmp(part, "chatty") == 0) { /* half a pipe of it while nobody asks */
            reply(id, "{}");
            for (int i = 0; i < 8192; i++)
                fputs("0123456789012345678901234567890123456789012345678901234567890123\n", stderr);
            fputs("the end\n", stderr);
        }
    }
    return 0;
}

/* ---- the other side ----------------------------------------------------------------------- */

static llem_ctx *ctx;
static struct llem_arena arena;
static int notes, descriptors;

static llem_errcode note(void *user, const char *method, const struct llem_value *params,
                         llem_error *err)
{
    int *least = user;

    if (strcmp(method, "note") != 0)
        return llem_fail(err, LLEM_EPLUGIN, "told of '%s', which is unheard of", method);
    if (least && llem_int_at(params, "i", -1) != *least)
        return llem_fail(err, LLEM_EPLUGIN, "said note %d out of order", *least);
    if (least)
        ++*least;
    notes++;
    return LLEM_OK;
}

static const struct llem_rpc_kind kinds[] = {
    { "not_there", LLEM_ENOTFOUND, NULL },
    { "broken", LLEM_EPLUGIN, "mend it" },
    { NULL, LLEM_OK, NULL },
};

static struct llem_rpc *start_with(const char *part, struct llem_rpc_opts opts)
{
    static const char *argv[3];
    struct llem_rpc *rpc = NULL;
    llem_error err = { 0 };

    argv[0] = self_path;
    argv[1] = part;
    opts.ctx = ctx;
    opts.name = "the child";
    opts.argv = argv;
    if (!opts.log_fd)
        opts.log_fd = -1;
    opts.kinds = kinds;
    if (!opts.notify)
        opts.notify = note;
    if (llem_rpc_start(&rpc, &opts, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    return rpc;
}

static struct llem_rpc *start(const char *part)
{
    return start_with(part, (struct llem_rpc_opts){ 0 });
}

static const struct llem_rpc_limits patient = { .deadline_s = 60 };

/* A call that must fail with this code and these words; whatever fails breaks the connection. */
static void must_fail(struct llem_rpc *rpc, const struct llem_rpc_limits *limits, llem_errcode code,
                      const char *words)
{
    struct llem_rpc_reply r;
    llem_error err = { 0 }, again = { 0 };

    assert_int_equal(llem_rpc_call(rpc, "work", NULL, limits, &arena, &r, &err), code);
    assert_contains(err.msg, words);
    assert_int_equal(err.code, code);
    assert_true(llem_rpc_broken(rpc));
    assert_null(r.result);
    assert_int_equal(llem_rpc_call(rpc, "more", NULL, limits, &arena, &r, &again), code);
    assert_string_equal(again.msg, err.msg);
}

static void fails(const char *part, llem_errcode code, const char *words)
{
    struct llem_rpc *rpc = start(part);

    must_fail(rpc, &patient, code, words);
    llem_rpc_end(rpc, 1000);
}

static int setup(void **state)
{
    notes = 0;
    arena = (struct llem_arena){ 0 };
    descriptors = open_descriptors();
    return llem_ctx_new(&ctx, NULL, NULL) == LLEM_OK ? 0 : -1;
}

/* Every test ends its child whole. */
static int nothing_left(void **state)
{
    llem_arena_done(&arena);
    llem_ctx_free(ctx);
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return 0;
}

static void what_is_asked_is_answered_in_order(void **state)
{
    struct llem_rpc *rpc = start("echo");
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    for (int i = 0; i < 100; i++) {
        struct llem_value *params = llem_map(&arena);

        llem_set(&arena, params, "n", llem_int(&arena, i));
        llem_set(&arena, params, "text", llem_string(&arena, "h\xc3\xa9\n\"q\""));
        if (llem_rpc_call(rpc, "echo", params, &patient, &arena, &r, &err) != LLEM_OK)
            fail_msg("%s", err.msg);
        assert_true(llem_equal(r.result, params));
        assert_true(r.sent_ns > 0 && r.received_ns >= r.sent_ns);
    }
    assert_int_equal(llem_rpc_leave(rpc, 30, &err), LLEM_OK);
    assert_true(llem_rpc_broken(rpc)); /* it has left */
    assert_int_equal(llem_rpc_call(rpc, "echo", NULL, &patient, &arena, &r, &err), LLEM_EINVAL);
    assert_contains(err.msg, "has left");
    llem_rpc_end(rpc, 1000);
}

static void a_long_request_and_much_said_meanwhile_do_not_block_each_other(void **state)
{
    struct llem_rpc *rpc = start("talks-first");
    struct llem_value *params = llem_list(&arena);
    struct llem_rpc_reply r;
    llem_error err = { 0 };
    char *text = malloc((1 << 20) + 1);

    assert_non_null(text);
    memset(text, 'p', 1 << 20);
    text[1 << 20] = '\0';
    for (int i = 0; i < 8; i++)
        llem_append(&arena, params, llem_string(&arena, text));
    free(text);
    for (int i = 0; i < 2; i++)
        if (llem_rpc_call(rpc, "load", params, &patient, &arena, &r, &err) != LLEM_OK)
            fail_msg("%s", err.msg);
    assert_int_equal(notes, 20000);
    llem_rpc_end(rpc, 1000);
}

static void notifications_come_before_the_reply_and_in_order(void **state)
{
    int n = 0;
    struct llem_rpc *rpc = start_with("notes", (struct llem_rpc_opts){ .user = &n });
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err), LLEM_OK);
    assert_int_equal(n, 1000);
    assert_true(llem_rpc_bytes(rpc) > 1000 * strlen("{\"jsonrpc\":\"2.0\"}"));
    llem_rpc_end(rpc, 1000);
}

static void an_error_is_an_answer_and_the_connection_goes_on(void **state)
{
    struct llem_rpc *rpc = start("refuses");
    struct llem_rpc_reply r;
    char tail[256];

    for (int i = 0; i < 3; i++) {
        llem_error err = { 0 };

        assert_int_equal(llem_rpc_call(rpc, "load", NULL, &patient, &arena, &r, &err),
                         LLEM_ENOTFOUND);
        assert_string_equal(err.msg, "the child: the model is not there");
        assert_string_equal(err.hint, "look elsewhere");
        assert_string_equal(r.kind, "not_there");
        assert_null(r.result);
        assert_false(llem_rpc_broken(rpc));
    }
    llem_rpc_tail(rpc, tail, sizeof(tail));
    assert_contains(tail, "Traceback (most recent)");
    llem_rpc_end(rpc, 1000);
    rpc = start("refuses-plainly");
    assert_int_equal(llem_rpc_call(rpc, "load", NULL, &patient, &arena, &r, NULL), LLEM_EPLUGIN);
    assert_null(r.kind);
    assert_false(llem_rpc_broken(rpc));
    llem_rpc_end(rpc, 1000);
}

static void what_is_no_message_is_quoted_up_to_200_bytes(void **state)
{
    struct llem_rpc *rpc = start("prints");
    struct llem_rpc_reply r;
    llem_error err = { 0 };
    char want[LLEM_RPC_QUOTE + 3];

    memset(want, 'x', 150);
    memset(want + 150, 'y', 50);
    memcpy(want + 200, "'", 2);
    assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err), LLEM_EPLUGIN);
    assert_contains(err.msg, want);
    assert_contains(err.msg, "'xxx");
    assert_contains(err.hint, "standard error");
    llem_rpc_end(rpc, 1000);
    fails("old", LLEM_EPLUGIN, "no \"jsonrpc\": \"2.0\"");
    fails("asks", LLEM_EPLUGIN, "only notifications may come from this side");
    fails("unwelcome", LLEM_EPLUGIN, "the child told of 'unwelcome', which is unheard of");
}

static void a_reply_to_something_else_is_noticed(void **state)
{
    struct llem_rpc *rpc;
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    fails("wrong-id", LLEM_EPLUGIN, "answered work with the wrong id");
    rpc = start("twice"); /* the second comes with the first, or is there for the next */
    if (llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err) == LLEM_OK)
        assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err),
                         LLEM_EPLUGIN);
    assert_contains(err.msg, "answered work ");
    llem_rpc_end(rpc, 1000);
}

static void a_child_that_dies_is_described_with_its_last_words(void **state)
{
    struct llem_rpc *rpc;
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    fails("dies", LLEM_ECRASHED,
          "the child exited with status 7 during work; the last it said: something went wrong");
    fails("early", LLEM_ECRASHED,
          "exited with status 3 during work; the last it said: ModuleNotFoundError: No module "
          "named 'torch'");
    fails("half", LLEM_ECRASHED, "was killed by signal 9 (SIGKILL) during work");
    fails("closes", LLEM_ECRASHED, "closed its standard output during work");
    rpc = start("killed");
    assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err), LLEM_ECRASHED);
    assert_contains(err.msg, "was killed by signal 9 (SIGKILL) during work");
    assert_contains(err.hint, "memory");
    llem_rpc_end(rpc, 1000);
}

static void a_child_that_reads_no_more_is_noticed(void **state)
{
    struct llem_rpc *rpc = start("closes-input");
    struct llem_value *params = llem_list(&arena);

    for (int i = 0; i < 200000; i++)
        llem_append(&arena, params, llem_int(&arena, 123456789));
    {
        struct llem_rpc_reply r;
        llem_error err = { 0 };

        assert_int_equal(llem_rpc_call(rpc, "work", params, &patient, &arena, &r, &err),
                         LLEM_ECRASHED);
        assert_contains(err.msg, "closed its standard input during work");
    }
    llem_rpc_end(rpc, 1000);
}

static double seconds_since(int64_t begin_ns)
{
    return (double)(llem_now_ns(&llem_system_clock) - begin_ns) * 1e-9;
}

static void a_deadline_is_kept(void **state)
{
    static const char *const parts[] = { "silent", "deaf", "floods", "floods-log" };
    const struct llem_rpc_limits limits = { .deadline_s = 0.2 };

    for (size_t i = 0; i < LLEM_COUNT(parts); i++) {
        struct llem_rpc *rpc = start(parts[i]);
        int64_t begin = llem_now_ns(&llem_system_clock);

        must_fail(rpc, &limits, LLEM_ETIMEOUT, "did not answer work within 0.2 s");
        assert_true(seconds_since(begin) >= 0.2);
        llem_rpc_end(rpc, 1000);
    }
}

static void count_waiting(void *user)
{
    ++*(int *)user;
}

/* Once a second and no seldomer, so that whoever waits can tell others that the child lives. */
static void waiting_is_told_while_the_child_lives(void **state)
{
    const struct llem_rpc_limits limits = { .deadline_s = 2.5 };
    int n = 0;
    struct llem_rpc *rpc =
        start_with("silent", (struct llem_rpc_opts){ .waiting = count_waiting, .user = &n });

    must_fail(rpc, &limits, LLEM_ETIMEOUT, "did not answer work within 2.5 s");
    assert_true(n >= 3);
    llem_rpc_end(rpc, 1000);
}

static void silence_counts_from_the_last_word(void **state)
{
    const struct llem_rpc_limits quiet = { .silence_s = 0.2 };
    struct llem_rpc *rpc = start("silent");
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    must_fail(rpc, &quiet, LLEM_ETIMEOUT, "said nothing for 0.2 s during work");
    llem_rpc_end(rpc, 1000);
    rpc = start("mumbles");
    if (llem_rpc_call(rpc, "work", NULL, &quiet, &arena, &r, &err) != LLEM_OK)
        SKIP(err.msg); /* a busy machine may delay a word by that much */
    assert_true(r.received_ns - r.sent_ns > 290000000);
    llem_rpc_end(rpc, 1000);
}

static void a_flood_is_stopped(void **state)
{
    struct llem_rpc *rpc = start_with("floods", (struct llem_rpc_opts){ .max_bytes = 3 << 20 });

    must_fail(rpc, &patient, LLEM_EPLUGIN, "sent 3 MiB during work without answering it");
    llem_rpc_end(rpc, 1000);
    rpc = start_with("long-line", (struct llem_rpc_opts){ .max_line = 100000 });
    must_fail(rpc, &patient, LLEM_EPLUGIN, "sent a line of more than 100000 bytes: '{\"jsonrpc\"");
    llem_rpc_end(rpc, 1000);
}

static atomic_int cancel;

static void *cancel_soon(void *arg)
{
    usleep(100000);
    atomic_store(&cancel, 1);
    return NULL;
}

static void a_call_is_cancelled_and_the_clean_up_is_not(void **state)
{
    const struct llem_rpc_limits insist = { .deadline_s = 60, .insist = true };
    struct llem_rpc *rpc = start_with("silent", (struct llem_rpc_opts){ .cancel = &cancel });
    struct llem_rpc_reply r;
    llem_error err = { 0 };
    pthread_t thread;

    atomic_store(&cancel, 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    must_fail(rpc, &patient, LLEM_ECANCELED, "cancelled during work of the child");
    pthread_join(thread, NULL);
    llem_rpc_end(rpc, 1000);
    rpc = start_with("echo", (struct llem_rpc_opts){ .cancel = &cancel });
    assert_int_equal(llem_rpc_call(rpc, "tidy", NULL, &insist, &arena, &r, &err), LLEM_OK);
    assert_int_equal(llem_rpc_leave(rpc, 30, &err), LLEM_OK);
    llem_rpc_end(rpc, 1000);
}

static void what_is_printed_while_nobody_asks_is_kept_and_holds_nobody_up(void **state)
{
    char *tail = malloc(LLEM_TAIL + 10);
    int log_fd = open(in_dir("log"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct llem_rpc *rpc = start_with("chatty", (struct llem_rpc_opts){ .log_fd = log_fd });
    struct llem_rpc_reply r;
    llem_error err = { 0 };
    size_t len;

    assert_non_null(tail);
    for (int i = 0; i < 3; i++)
        if (llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err) != LLEM_OK)
            fail_msg("%s", err.msg);
    assert_int_equal(llem_rpc_leave(rpc, 60, &err), LLEM_OK);
    len = llem_rpc_tail(rpc, tail, LLEM_TAIL + 10);
    assert_int_equal(len, LLEM_TAIL);
    assert_string_equal(tail + len - strlen("the end\n"), "the end\n");
    len = llem_rpc_tail(rpc, tail, 9);
    assert_string_equal(tail, "the end\n");
    assert_int_equal(len, 8);
    assert_int_equal(lseek(log_fd, 0, SEEK_END), 3 * (8192 * 65 + 8));
    free(tail);
    llem_rpc_end(rpc, 1000);
    close(log_fd);
}

static void leaving_badly_is_said(void **state)
{
    struct llem_rpc *rpc = start("leaves-badly");
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err), LLEM_OK);
    assert_int_equal(llem_rpc_leave(rpc, 30, &err), LLEM_ECRASHED);
    assert_contains(err.msg, "exited with status 5 during its end");
    llem_rpc_end(rpc, 1000);
    rpc = start("deaf");
    assert_int_equal(llem_rpc_leave(rpc, 0.1, &err), LLEM_ETIMEOUT);
    llem_rpc_end(rpc, 100);
}

/* Processes whose environment carries this mark. */
static int count_marked(const char *mark)
{
    char entry[128], path[300];
    DIR *proc = opendir("/proc");
    struct dirent *d;
    int n = 0;

    snprintf(entry, sizeof(entry), "LLEM_RUN=%s", mark);
    while (proc && (d = readdir(proc)) != NULL) {
        struct llem_buf b = LLEM_BUF_INIT(1 << 20);
        char part[4096];
        ssize_t got;
        int fd;

        snprintf(path, sizeof(path), "/proc/%s/environ", d->d_name);
        fd = d->d_name[0] >= '0' && d->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        while (fd >= 0 && (got = read(fd, part, sizeof(part))) > 0)
            llem_buf_add(&b, part, (size_t)got);
        if (fd >= 0)
            close(fd);
        n += memmem(b.data, b.len, entry, strlen(entry)) != NULL;
        llem_buf_done(&b);
    }
    if (proc)
        closedir(proc);
    return n;
}

static void a_grandchild_in_a_session_of_its_own_ends_too(void **state)
{
    static const char *const parts[] = { "grandchild", "stubborn" };

    for (size_t i = 0; i < LLEM_COUNT(parts); i++) {
        struct llem_rpc *rpc = start(parts[i]);
        struct llem_rpc_reply r;
        char path[64], mark[64] = "", env[8192];
        llem_error err = { 0 };
        ssize_t n;
        char *at;
        int fd;

        assert_int_equal(llem_rpc_call(rpc, "work", NULL, &patient, &arena, &r, &err), LLEM_OK);
        snprintf(path, sizeof(path), "/proc/%d/environ", (int)llem_rpc_pid(rpc));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = read(fd, env, sizeof(env) - 1);
        close(fd);
        assert_true(n > 0);
        env[n] = '\0';
        at = memmem(env, (size_t)n, "LLEM_RUN=", strlen("LLEM_RUN="));
        assert_non_null(at);
        snprintf(mark, sizeof(mark), "%s", at + strlen("LLEM_RUN="));
        assert_true(count_marked(mark) >= 1);
        llem_rpc_end(rpc, 200);
        assert_int_equal(count_marked(mark), 0);
    }
}

static void what_cannot_be_started_is_said_with_its_name(void **state)
{
    static const char *const argv[] = { "/no/such/program", NULL };
    const struct llem_rpc_opts opts = { .ctx = ctx, .name = "the child", .argv = argv };
    struct llem_rpc *rpc = NULL;
    llem_error err = { 0 };

    assert_int_equal(llem_rpc_start(&rpc, &opts, &err), LLEM_ENOTFOUND);
    assert_contains(err.msg, "the child: cannot start '/no/such/program'");
    assert_null(rpc);
    llem_rpc_end(NULL, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, nothing_left)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_asked_is_answered_in_order),
        TEST(a_long_request_and_much_said_meanwhile_do_not_block_each_other),
        TEST(notifications_come_before_the_reply_and_in_order),
        TEST(an_error_is_an_answer_and_the_connection_goes_on),
        TEST(what_is_no_message_is_quoted_up_to_200_bytes),
        TEST(a_reply_to_something_else_is_noticed),
        TEST(a_child_that_dies_is_described_with_its_last_words),
        TEST(a_child_that_reads_no_more_is_noticed),
        TEST(a_deadline_is_kept),
        TEST(waiting_is_told_while_the_child_lives),
        TEST(silence_counts_from_the_last_word),
        TEST(a_flood_is_stopped),
        TEST(a_call_is_cancelled_and_the_clean_up_is_not),
        TEST(what_is_printed_while_nobody_asks_is_kept_and_holds_nobody_up),
        TEST(leaving_badly_is_said),
        TEST(a_grandchild_in_a_session_of_its_own_ends_too),
        TEST(what_cannot_be_started_is_said_with_its_name),
    };
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);

    if (n < 0)
        return 1;
    if (argc > 1)
        return play(argv[1]);
    unsetenv("LLEM_RUN");
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
