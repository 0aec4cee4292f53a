/* SPDX-License-Identifier: MIT
 *
 * Getting things over HTTP, with libcurl, which is opened when the first request is made: linking
 * it would cost every start of the program more than the start itself.
 */
#ifndef LLEM_BASE_HTTP_H
#define LLEM_BASE_HTTP_H

#include "lib/base/base.h"

struct llem_http_opts {
    const char *ca_file;           /* certificates to trust; NULL = the system's */
    int connect_timeout_s;         /* until a connection stands */
    int stall_timeout_s;           /* without a byte */
    bool (*cancelled)(void *user); /* asked at least once a second; true ends the request */
    void *user;
};

/* What a server answered, its redirects followed. */
struct llem_http_reply {
    int status;           /* of the last answer; 0 = none came */
    int64_t begin;        /* of a part (206): where it begins; else 0 */
    double retry_after_s; /* -1 = not said */
    char error_code[64];  /* X-Error-Code, X-Error-Message: how the hub says why; "" = not said */
    char error_message[256];
    bool transient; /* of a failure: the same request may succeed later */
};

struct llem_http_get {
    const char *url;
    const char *bearer; /* a token, sent to the server of `url` alone, never where it redirects to;
                           NULL = none */
    int64_t offset;     /* where to begin; a server may begin at 0 all the same */
    /* A piece of the body of an answer 200 or 206, whose reply is complete by then. A failure ends
     * the request and becomes its own. Bodies of other answers are thrown away. */
    llem_errcode (*body)(void *user, const struct llem_http_reply *reply, const void *data,
                         size_t len, llem_error *err);
    void *user;
};

/* Connections that are kept open between requests. For one thread. */
struct llem_http;
llem_errcode llem_http_new(struct llem_http **out, const struct llem_http_opts *opts,
                           llem_error *err);
void llem_http_free(struct llem_http *h); /* NULL is allowed */
/*
 * LLEM_OK once an answer came whole, whatever its status. LLEM_EIO: none came, or not whole
 * (reply->transient tells whether to try again); LLEM_ECANCELED; what `body` returned. A redirect
 * from https to http is refused.
 */
llem_errcode llem_http_get(struct llem_http *h, const struct llem_http_get *get,
                           struct llem_http_reply *reply, llem_error *err);
/* What one line of an answer's head says of it. */
void llem_http_read_header(struct llem_http_reply *r, const char *line, size_t len);

#endif
