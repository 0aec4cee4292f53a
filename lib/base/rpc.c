/* SPDX-License-Identifier: MIT
 *
 * The client of a child that speaks JSON-RPC over its pipes. One loop carries everything: while a
 * call waits it writes the rest of the request, reads both streams, and looks at the clock, at the
 * cancel flag and at the child.
 */
#include "lib/base/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/json.h"

enum {
    TURN_MS = 50,         /* how often the cancel flag is looked at */
    WAITING_MS = 1000,    /* how often it is told that a child lives */
    TURN_LINES = 256,     /* messages taken before the clock is looked at again */
    TURN_READS = 64,      /* of standard error, likewise */
    ERR_PIPE = 1 << 20,   /* room for what the child prints while nobody asks it anything */
    LAST_WORDS_MS = 1000, /* from closing its output to its end */
};

struct llem_rpc {
    struct llem_rpc_opts opts;
    struct llem_process process;
    struct llem_lines lines;
    struct llem_tail tail;
    char mark[33];
    int64_t id;
    uint64_t bytes;
    bool exited, broken;
    llem_error failure; /* the first; every later call says the same */

    /* The call that waits. */
    const char *method;
    const struct llem_rpc_limits *limits;
    struct llem_arena *arena;
    struct llem_rpc_reply *reply;
    llem_error answer; /* the error that the child answered */
    bool got;
    int64_t begin_ns, heard_ns;
    uint64_t bytes_before;
};

static int64_t now_ns(void)
{
    return llem_now_ns(&llem_system_clock);
}

/* ---- failing ------------------------------------------------------------------------------ */

static void take_log(struct llem_rpc *rpc)
{
    char data[16384];

    for (int i = 0; i < TURN_READS && rpc->process.err >= 0; i++) {
        ssize_t n = read(rpc->process.err, data, sizeof(data));

        if (n > 0) {
            llem_tail_add(&rpc->tail, rpc->opts.log_fd, data, (size_t)n);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            close(rpc->process.err);
            rpc->process.err = -1;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* The last line of standard error that says anything; the length, 0 if there is none. */
static size_t last_line(const struct llem_rpc *rpc, char *out, size_t size)
{
    char text[2048];
    size_t len = llem_tail_copy(&rpc->tail, text, sizeof(text)), begin;

    while (len && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    for (begin = len; begin && text[begin - 1] != '\n'; begin--)
        ;
    return (size_t)snprintf(out, size, "%.*s", (int)size - 1, text + begin);
}

/* Nothing can be asked after this. */
__attribute__((format(printf, 3, 4))) static llem_errcode
broken(struct llem_rpc *rpc, llem_errcode code, const char *fmt, ...)
{
    char text[768], words[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    rpc->broken = true;
    if (last_line(rpc, words, sizeof(words)))
        llem_fail(&rpc->failure, code, "%s %s; the last it said: %s", rpc->opts.name, text, words);
    else
        llem_fail(&rpc->failure, code, "%s %s", rpc->opts.name, text);
    if (rpc->opts.log_name)
        llem_hint(&rpc->failure, code, "See %s.", rpc->opts.log_name);
    return code;
}

static llem_errcode no_message(struct llem_rpc *rpc, const char *line, size_t len, const char *why)
{
    llem_errcode rc =
        broken(rpc, LLEM_EPLUGIN, "sent a line that is no message of JSON-RPC 2.0 (%s): '%.*s'",
               why, (int)(len < LLEM_RPC_QUOTE ? len : LLEM_RPC_QUOTE), line);
    return llem_hint(&rpc->failure, rc,
                     "Only messages may be written to standard output; whatever a library prints "
                     "belongs on standard error.");
}

static llem_errcode died(struct llem_rpc *rpc)
{
    int status = rpc->process.wstatus;
    llem_errcode rc;
    char how[128];

    llem_process_describe(how, sizeof(how), status);
    rc = broken(rpc, LLEM_ECRASHED, "%s during %s", how, rpc->method);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        llem_hint(&rpc->failure, rc, "Somebody ended it, or memory ran out: see `dmesg`.");
    return rc;
}

/* One of its streams is closed: give it the time to end, so that the sentence says how it ended. */
static llem_errcode closed(struct llem_rpc *rpc, const char *stream)
{
    rpc->exited = rpc->exited || llem_process_wait(&rpc->process, LAST_WORDS_MS);
    take_log(rpc);
    if (rpc->exited)
        return died(rpc);
    if (rpc->lines.failed)
        return broken(rpc, LLEM_EIO, "cannot be read any more: no memory, or a read error");
    return broken(rpc, LLEM_ECRASHED, "closed its standard %s during %s", stream, rpc->method);
}

/* ---- what the child says ------------------------------------------------------------------ */

static llem_errcode take_error(struct llem_rpc *rpc, const struct llem_value *error,
                               const char *line, size_t len)
{
    const struct llem_value *data = llem_get(error, "data");
    const char *message = llem_str_at(error, "message", NULL);
    const char *kind = llem_str_at(data, "kind", NULL), *hint = llem_str_at(data, "hint", NULL);
    const char *trace = llem_str_at(data, "traceback", NULL);
    const struct llem_rpc_kind *known = rpc->opts.kinds;

    if (!message)
        return no_message(rpc, line, len, "its error has no message");
    while (known && known->kind && (!kind || strcmp(known->kind, kind) != 0))
        known++;
    if (known && !known->kind)
        known = NULL;
    llem_fail(&rpc->answer, known ? known->code : LLEM_EPLUGIN, "%s", message);
    if (!hint || !hint[0])
        hint = known ? known->hint : NULL;
    if (hint && hint[0])
        llem_hint(&rpc->answer, rpc->answer.code, "%s", hint);
    rpc->reply->error_code = llem_int_at(error, "code", 0);
    rpc->reply->kind = llem_arena_strdup(rpc->arena, kind);
    if (trace && trace[0]) {
        llem_tail_add(&rpc->tail, rpc->opts.log_fd, trace, strlen(trace));
        llem_tail_add(&rpc->tail, rpc->opts.log_fd, "\n", 1);
    }
    return LLEM_OK;
}

static llem_errcode take_message(struct llem_rpc *rpc, const struct llem_value *m, const char *line,
                                 size_t len)
{
    const struct llem_value *id = llem_get(m, "id"), *error = llem_get(m, "error");
    const struct llem_value *result = llem_get(m, "result");
    const char *method = llem_str_at(m, "method", NULL);
    llem_error said = { 0 };

    if (m->kind != LLEM_MAP || strcmp(llem_str_at(m, "jsonrpc", ""), "2.0") != 0)
        return no_message(rpc, line, len, "no \"jsonrpc\": \"2.0\"");
    if (method) {
        if (id)
            return no_message(rpc, line, len, "only notifications may come from this side");
        if (!rpc->opts.notify ||
            rpc->opts.notify(rpc->opts.user, method, llem_get(m, "params"), &said) == LLEM_OK)
            return LLEM_OK;
        return broken(rpc, said.code, "%s", said.msg);
    }
    if (!id || (!result && !error) || (result && error))
        return no_message(rpc, line, len, "neither a notification nor a reply");
    /* JSON-RPC has a null id for a request that could not be read. */
    if (id->kind != LLEM_INT ? !(id->kind == LLEM_NULL && error) : id->i != rpc->id)
        return broken(rpc, LLEM_EPLUGIN, "answered %s with the wrong id: '%.*s'", rpc->method,
                      (int)(len < LLEM_RPC_QUOTE ? len : LLEM_RPC_QUOTE), line);
    if (rpc->got)
        return broken(rpc, LLEM_EPLUGIN, "answered %s twice", rpc->method);
    rpc->got = true;
    if (error)
        return take_error(rpc, error, line, len);
    rpc->reply->result = llem_copy(rpc->arena, result);
    return LLEM_OK;
}

static llem_errcode take_line(struct llem_rpc *rpc, const char *line, size_t len)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *message;
    llem_error why = { 0 };
    llem_errcode rc;

    if (rpc->lines.cut) {
        broken(rpc, LLEM_EPLUGIN, "sent a line of more than %zu bytes: '%.*s'", rpc->lines.max_line,
               LLEM_RPC_QUOTE, line);
        return LLEM_EPLUGIN;
    }
    rc = llem_json_parse(&a, &message, line, len, "the line", &why);
    if (rc == LLEM_OK)
        rc = take_message(rpc, message, line, len);
    else if (rc == LLEM_ENOMEM)
        rc = broken(rpc, rc, "sent a message that does not fit into memory");
    else if (rpc->lines.at_eof && line + len == rpc->lines.buf.data + rpc->lines.begin)
        rc = closed(rpc, "output"); /* in the middle of a message */
    else
        rc = no_message(rpc, line, len, why.msg);
    llem_arena_done(&a);
    return rc;
}

/* Messages that are there; *more: there may be others already read. */
static llem_errcode take_lines(struct llem_rpc *rpc, bool *more)
{
    llem_errcode rc = LLEM_OK;
    size_t len;
    char *line;
    int n = 0;

    while (rc == LLEM_OK && n < TURN_LINES && llem_lines_next(&rpc->lines, &line, &len)) {
        n++;
        rpc->bytes += len + 1;
        rc = take_line(rpc, line, len);
    }
    *more = n == TURN_LINES;
    return rc;
}

/* ---- waiting ------------------------------------------------------------------------------ */

/* Has the call waited too long, or was it cancelled? *wait_ms: until one of it may be. */
static llem_errcode look_at_limits(struct llem_rpc *rpc, int *wait_ms)
{
    const struct llem_rpc_limits *l = rpc->limits;
    const uint64_t most = rpc->opts.max_bytes ? rpc->opts.max_bytes : UINT64_C(4) << 30;
    const bool watched = rpc->opts.cancel && !l->insist;
    int64_t now = now_ns(), left_ns = INT64_MAX;

    if (watched && atomic_load(rpc->opts.cancel) != 0) {
        rpc->broken = true;
        return llem_fail(&rpc->failure, LLEM_ECANCELED, "cancelled during %s of %s", rpc->method,
                         rpc->opts.name);
    }
    if (rpc->bytes - rpc->bytes_before > most)
        return broken(rpc, LLEM_EPLUGIN, "sent %llu MiB during %s without answering it",
                      (unsigned long long)(most >> 20), rpc->method);
    if (l->deadline_s > 0) {
        left_ns = rpc->begin_ns + (int64_t)(l->deadline_s * 1e9) - now;
        if (left_ns <= 0)
            return broken(rpc, LLEM_ETIMEOUT, "did not answer %s within %g s", rpc->method,
                          l->deadline_s);
    }
    if (l->silence_s > 0) {
        int64_t quiet_ns = rpc->heard_ns + (int64_t)(l->silence_s * 1e9) - now;

        if (quiet_ns <= 0)
            return broken(rpc, LLEM_ETIMEOUT, "said nothing for %g s during %s", l->silence_s,
                          rpc->method);
        left_ns = quiet_ns < left_ns ? quiet_ns : left_ns;
    }
    *wait_ms = left_ns / 1000000 < INT_MAX ? (int)(left_ns / 1000000) + 1 : -1;
    if (watched && (*wait_ms < 0 || *wait_ms > TURN_MS))
        *wait_ms = TURN_MS;
    if (rpc->opts.waiting) {
        rpc->opts.waiting(rpc->opts.user);
        if (*wait_ms < 0 || *wait_ms > WAITING_MS)
            *wait_ms = WAITING_MS;
    }
    return LLEM_OK;
}

/* Wait until one of the streams can go on or the child has ended. */
static void wait_for_child(struct llem_rpc *rpc, bool writing, int wait_ms, bool *writable)
{
    struct pollfd fds[] = {
        { .fd = rpc->lines.ended ? -1 : rpc->process.out, .events = POLLIN },
        { .fd = rpc->process.err, .events = POLLIN },
        { .fd = rpc->process.pidfd, .events = POLLIN },
        { .fd = writing ? rpc->process.in : -1, .events = POLLOUT },
    };

    poll(fds, LLEM_COUNT(fds), wait_ms);
    if (fds[0].revents || fds[1].revents)
        rpc->heard_ns = now_ns();
    if (fds[1].revents)
        take_log(rpc);
    *writable = fds[3].revents != 0;
    if (fds[2].revents && llem_process_poll(&rpc->process)) {
        rpc->exited = true;
        take_log(rpc);
    }
}

/* The rest of the request, as much as the child takes now: a pipe that polls writable takes
 * PIPE_BUF bytes whole. */
static llem_errcode write_some(struct llem_rpc *rpc, const struct llem_buf *request, size_t *at)
{
    size_t part = request->len - *at < PIPE_BUF ? request->len - *at : PIPE_BUF;
    llem_error why = { 0 };
    llem_errcode rc = llem_pipe_write(rpc->process.in, request->data + *at, part, 0, &why);

    if (rc == LLEM_OK)
        *at += part;
    /* A child that reads no more is about to end, and its end says more. */
    return rc == LLEM_OK || rc == LLEM_ETIMEOUT ? LLEM_OK : rc;
}

static llem_errcode converse(struct llem_rpc *rpc, const struct llem_buf *request)
{
    size_t at = 0;
    bool writable = true, more;
    llem_errcode rc;
    int wait_ms;

    for (;;) {
        if (at < request->len && writable && write_some(rpc, request, &at) < 0)
            return closed(rpc, "input");
        rc = take_lines(rpc, &more);
        if (rc < 0)
            return rc;
        if (rpc->got)
            return LLEM_OK;
        if (!more && (rpc->exited || rpc->lines.ended))
            return closed(rpc, "output");
        rc = look_at_limits(rpc, &wait_ms);
        if (rc < 0)
            return rc;
        wait_for_child(rpc, at < request->len, more ? 0 : wait_ms, &writable);
    }
}

/* ---- the functions ------------------------------------------------------------------------ */

llem_errcode llem_rpc_start(struct llem_rpc **out, const struct llem_rpc_opts *opts,
                            llem_error *err)
{
    struct llem_rpc *rpc = calloc(1, sizeof(*rpc));
    struct llem_process_opts how = {
        .argv = opts->argv,
        .env = opts->env,
        .stdin_fd = LLEM_PIPE,
        .stdout_fd = LLEM_PIPE,
        .stderr_fd = LLEM_PIPE,
        .own_group = true,
    };
    llem_errcode rc;

    if (!rpc || !llem_tail_init(&rpc->tail)) {
        free(rpc);
        return llem_fail(err, LLEM_ENOMEM, "cannot start %s: out of memory", opts->name);
    }
    rpc->opts = *opts;
    /* A run's mark is inherited: whoever gave it ends what is left. */
    if (!llem_ctx_variable(opts->ctx, "LLEM_RUN") && llem_random_hex(rpc->mark))
        how.mark = rpc->mark;
    rc = llem_process_start(&rpc->process, &how, err);
    if (rc < 0) {
        llem_context(err, rc, "%s", opts->name);
        llem_tail_done(&rpc->tail);
        free(rpc);
        return rc;
    }
    fcntl(rpc->process.err, F_SETPIPE_SZ, ERR_PIPE);
    llem_lines_init(&rpc->lines, rpc->process.out,
                    opts->max_line ? opts->max_line : LLEM_RPC_LINE_MAX);
    *out = rpc;
    return LLEM_OK;
}

static void build_request(struct llem_rpc *rpc, struct llem_buf *request, const char *method,
                          const struct llem_value *params)
{
    llem_buf_addf(request, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"method\":\"%s\"",
                  (long long)++rpc->id, method);
    if (params) {
        llem_buf_adds(request, ",\"params\":");
        llem_json_dump(request, params, LLEM_JSON_COMPACT);
    }
    llem_buf_adds(request, "}\n");
}

llem_errcode llem_rpc_call(struct llem_rpc *rpc, const char *method,
                           const struct llem_value *params, const struct llem_rpc_limits *limits,
                           struct llem_arena *a, struct llem_rpc_reply *reply, llem_error *err)
{
    struct llem_buf request = LLEM_BUF_INIT(LLEM_RPC_LINE_MAX);
    llem_errcode rc;

    *reply = (struct llem_rpc_reply){ 0 };
    if (rpc->broken) {
        if (err)
            *err = rpc->failure;
        return rpc->failure.code;
    }
    build_request(rpc, &request, method, params);
    if (request.failed) {
        llem_buf_done(&request);
        return llem_fail(err, LLEM_ENOMEM, "the request %s to %s is longer than %d MiB", method,
                         rpc->opts.name, LLEM_RPC_LINE_MAX >> 20);
    }
    rpc->method = method;
    rpc->limits = limits;
    rpc->arena = a;
    rpc->reply = reply;
    rpc->got = false;
    rpc->answer = (llem_error){ 0 };
    rpc->bytes_before = rpc->bytes;
    reply->sent_ns = rpc->begin_ns = rpc->heard_ns = now_ns();
    rc = converse(rpc, &request);
    reply->received_ns = now_ns();
    llem_buf_done(&request);
    if (rc < 0 && err)
        *err = rpc->failure;
    if (rc == LLEM_OK && a->oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for what %s answered to %s", rpc->opts.name,
                       method);
    if (rc == LLEM_OK && rpc->answer.code < 0) {
        rc = rpc->answer.code;
        if (err) {
            *err = rpc->answer;
            llem_context(err, rc, "%s", rpc->opts.name);
        }
    }
    return rc;
}

llem_errcode llem_rpc_leave(struct llem_rpc *rpc, double timeout_s, llem_error *err)
{
    const struct llem_rpc_limits limits = { .deadline_s = timeout_s, .insist = true };
    llem_errcode rc = LLEM_OK;
    bool more, writable;
    int wait_ms = 0;

    if (rpc->broken) {
        if (err)
            *err = rpc->failure;
        return rpc->failure.code;
    }
    if (rpc->process.in >= 0)
        close(rpc->process.in);
    rpc->process.in = -1;
    rpc->method = "its end";
    rpc->limits = &limits;
    rpc->got = true; /* nothing may be answered any more */
    rpc->bytes_before = rpc->bytes;
    rpc->begin_ns = now_ns();
    do {
        rc = take_lines(rpc, &more);
        if (rc == LLEM_OK && !rpc->exited)
            rc = look_at_limits(rpc, &wait_ms);
        if (rc == LLEM_OK && !rpc->exited)
            wait_for_child(rpc, false, more ? 0 : wait_ms, &writable);
        else if (!more)
            break;
    } while (rc == LLEM_OK);
    if (rc == LLEM_OK && !(WIFEXITED(rpc->process.wstatus) && !WEXITSTATUS(rpc->process.wstatus)))
        rc = died(rpc);
    rpc->broken = true;
    if (rc < 0 && err)
        *err = rpc->failure;
    if (rc == LLEM_OK)
        llem_fail(&rpc->failure, LLEM_EINVAL, "%s has left already", rpc->opts.name);
    return rc;
}

void llem_rpc_end(struct llem_rpc *rpc, int grace_ms)
{
    int last;

    if (!rpc)
        return;
    last = rpc->process.err; /* what is printed at the end may be what explains it */
    rpc->process.err = -1;
    llem_process_end(&rpc->process, grace_ms);
    rpc->process.err = last;
    take_log(rpc);
    if (rpc->process.err >= 0)
        close(rpc->process.err);
    llem_lines_done(&rpc->lines);
    llem_tail_done(&rpc->tail);
    free(rpc);
}

bool llem_rpc_broken(const struct llem_rpc *rpc)
{
    return rpc->broken;
}

pid_t llem_rpc_pid(const struct llem_rpc *rpc)
{
    return rpc->process.pid;
}

uint64_t llem_rpc_bytes(const struct llem_rpc *rpc)
{
    return rpc->bytes;
}

size_t llem_rpc_tail(const struct llem_rpc *rpc, char *out, size_t size)
{
    return llem_tail_copy(&rpc->tail, out, size);
}
