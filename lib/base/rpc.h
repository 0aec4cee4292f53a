/* SPDX-License-Identifier: MIT
 *
 * JSON-RPC 2.0 with a child process: requests on its standard input, replies and notifications on
 * its standard output, one message a line. Whatever a child can do wrong (die, hang, go silent,
 * flood, print what is no message, answer another request) ends it and becomes one sentence.
 * docs/worker-protocol.md is what engines and samplers make of it.
 */
#ifndef LLEM_BASE_RPC_H
#define LLEM_BASE_RPC_H

#include <stdatomic.h>

#include "lib/base/ctx.h"
#include "lib/base/process.h"
#include "lib/base/value.h"

enum {
    LLEM_RPC_LINE_MAX = 64 << 20, /* of one message */
    LLEM_RPC_QUOTE = 200,         /* of a line that is no message, shown in the error */
};

/* What `data.kind` of an error stands for here, and what to do about it where the child does not
 * say; ends with a NULL kind. */
struct llem_rpc_kind {
    const char *kind;
    llem_errcode code;
    const char *hint; /* NULL = none */
};

/* How a child is talked to. Borrowed until llem_rpc_end(). */
struct llem_rpc_opts {
    llem_ctx *ctx;
    const char *name;        /* of the child in sentences: "the worker of engine 'vllm'" */
    const char *const *argv; /* as in struct llem_process_opts */
    const char *const *env;
    int log_fd;               /* its standard error is copied here; -1 = only the tail is kept */
    const char *log_name;     /* of that log, for hints; NULL = none */
    const atomic_int *cancel; /* not 0: calls end with LLEM_ECANCELED; NULL = none */
    const struct llem_rpc_kind *kinds; /* NULL: every error is LLEM_EPLUGIN */
    size_t max_line;                   /* 0 = LLEM_RPC_LINE_MAX */
    uint64_t max_bytes; /* from the child during one call; 0 = 4 GiB. More is a flood */
    /* The child lives and its time is not over: at least once a second while a call waits; NULL =
     * nobody asks. */
    void (*waiting)(void *user);
    /* A notification, while a call waits; params may be NULL and is gone afterwards. Not LLEM_OK
     * (with a sentence in *err) breaks the connection: the child said what it may not say. */
    llem_errcode (*notify)(void *user, const char *method, const struct llem_value *params,
                           llem_error *err);
    void *user;
};

/* How long a call may take; 0 = as long as it likes. */
struct llem_rpc_limits {
    double deadline_s; /* from the request to its reply */
    double silence_s;  /* without a byte on either of the child's streams */
    bool insist;       /* do not look at the cancel flag: this is the clean-up after it */
};

struct llem_rpc_reply {
    struct llem_value *result;    /* in the arena of the call; NULL = the child answered an error */
    int64_t error_code;           /* of that error */
    const char *kind;             /* data.kind of that error, in the arena; NULL = none */
    int64_t sent_ns, received_ns; /* on either side of the call, CLOCK_MONOTONIC */
};

struct llem_rpc;

/* Start the child. Its environment carries LLEM_RUN: the caller's own, else one made for it. By
 * the thread that makes the calls. */
llem_errcode llem_rpc_start(struct llem_rpc **out, const struct llem_rpc_opts *opts,
                            llem_error *err);
/* One request and its reply. params may be NULL. An error that the child answers fills *err by
 * opts.kinds and leaves the connection as it was; any other failure but LLEM_ENOMEM breaks it, and
 * every later call fails with the same sentence. */
llem_errcode llem_rpc_call(struct llem_rpc *rpc, const char *method,
                           const struct llem_value *params, const struct llem_rpc_limits *limits,
                           struct llem_arena *a, struct llem_rpc_reply *reply, llem_error *err);
/* Close the child's standard input and wait for it to exit with status 0, without cancelling. */
llem_errcode llem_rpc_leave(struct llem_rpc *rpc, double timeout_s, llem_error *err);
/* End the child, if it still runs, with all that it started: SIGTERM, grace_ms, SIGKILL. NULL is
 * allowed. */
void llem_rpc_end(struct llem_rpc *rpc, int grace_ms);
/* Nothing can be asked any more. */
bool llem_rpc_broken(const struct llem_rpc *rpc);
pid_t llem_rpc_pid(const struct llem_rpc *rpc);
/* How many bytes the child has sent on standard output until now. */
uint64_t llem_rpc_bytes(const struct llem_rpc *rpc);
/* The last of the child's standard error, NUL-terminated, at most size - 1 bytes and 64 KiB;
 * returns its length. */
size_t llem_rpc_tail(const struct llem_rpc *rpc, char *out, size_t size);

#endif
