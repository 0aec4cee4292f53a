/* SPDX-License-Identifier: MIT
 *
 * HTTP by libcurl. Redirects are followed here and not by libcurl, because versions differ in which
 * of them keep a token, and a token must not leave the server it is for.
 */
#include "lib/base/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/symbols.h"
#include "llem/ctx.h"

/* What is used of curl/curl.h, whose numbers are its ABI. */
enum {
    CURL_GLOBAL_ALL = 3,

    CURLOPT_LOW_SPEED_LIMIT = 19,
    CURLOPT_LOW_SPEED_TIME = 20,
    CURLOPT_NOPROGRESS = 43,
    CURLOPT_CONNECTTIMEOUT = 78,
    CURLOPT_NOSIGNAL = 99,
    CURLOPT_PROTOCOLS = 181,
    CURLOPT_WRITEDATA = 10001,
    CURLOPT_URL = 10002,
    CURLOPT_RANGE = 10007,
    CURLOPT_ERRORBUFFER = 10010,
    CURLOPT_USERAGENT = 10018,
    CURLOPT_HTTPHEADER = 10023,
    CURLOPT_HEADERDATA = 10029,
    CURLOPT_XFERINFODATA = 10057,
    CURLOPT_CAINFO = 10065,
    CURLOPT_WRITEFUNCTION = 20011,
    CURLOPT_HEADERFUNCTION = 20079,
    CURLOPT_XFERINFOFUNCTION = 20219,

    CURLINFO_REDIRECT_URL = 0x100000 + 31,
    CURLINFO_RESPONSE_CODE = 0x200000 + 2,
    CURLINFO_RETRY_AFTER = 0x600000 + 57,

    CURLPROTO_HTTP = 1,
    CURLPROTO_HTTPS = 2,

    CURLE_UNSUPPORTED_PROTOCOL = 1,
    CURLE_URL_MALFORMAT = 3,
    CURLE_WRITE_ERROR = 23,
    CURLE_OUT_OF_MEMORY = 27,
    CURLE_ABORTED_BY_CALLBACK = 42,
    CURLE_PEER_FAILED_VERIFICATION = 60,
    CURLE_SSL_CACERT_BADFILE = 77,

    ERROR_SIZE = 256, /* CURL_ERROR_SIZE */
    MAX_REDIRECTS = 10,
};

struct curl_slist;

struct curl {
    void *handle;
    int (*global_init)(long flags);
    void (*global_cleanup)(void);
    void *(*easy_init)(void);
    void (*easy_cleanup)(void *easy);
    int (*easy_setopt)(void *easy, int option, ...);
    int (*easy_getinfo)(void *easy, int info, ...);
    int (*easy_perform)(void *easy);
    const char *(*easy_strerror)(int code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *line);
    void (*slist_free_all)(struct curl_slist *list);
};

struct llem_http {
    struct curl curl;
    void *easy;
    struct llem_http_opts opts;
    char user_agent[64];
    /* of the request that runs */
    const struct llem_http_get *get;
    struct llem_http_reply *reply;
    llem_errcode body_rc;
    llem_error body_err;
    char error[ERROR_SIZE];
};

/* ---- libcurl ------------------------------------------------------------------------------ */

static llem_errcode open_curl(struct curl *c, llem_error *err)
{
    static const char *const names[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };
#define SYMBOL(field)                                                                              \
    {                                                                                              \
        "curl_" #field, (void (**)(void)) & c->field, true                                         \
    }
    const struct llem_symbol symbols[] = {
        SYMBOL(global_init),  SYMBOL(global_cleanup), SYMBOL(easy_init),    SYMBOL(easy_cleanup),
        SYMBOL(easy_setopt),  SYMBOL(easy_getinfo),   SYMBOL(easy_perform), SYMBOL(easy_strerror),
        SYMBOL(slist_append), SYMBOL(slist_free_all),
    };
#undef SYMBOL
    llem_errcode rc = LLEM_ENOTFOUND;

    for (size_t i = 0; i < LLEM_COUNT(names) && rc < 0; i++)
        rc = llem_symbols_load(&c->handle, names[i], symbols, LLEM_COUNT(symbols), err);
    if (rc < 0) {
        llem_fail(err, LLEM_ENOTSUP, "downloading needs libcurl, which cannot be loaded");
        return llem_hint(err, LLEM_ENOTSUP, "install it: apt install libcurl4");
    }
    if (c->global_init(CURL_GLOBAL_ALL) != 0)
        return llem_fail(err, LLEM_EIO, "libcurl cannot be initialised");
    return LLEM_OK;
}

/* ---- one answer --------------------------------------------------------------------------- */

/* The value of the header `name` in a line "name: value\r\n"; false if it is another. */
static bool header_is(const char *line, size_t len, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);

    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    line += n + 1;
    len -= n + 1;
    while (len && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len && (unsigned char)line[len - 1] <= ' ')
        len--;
    if (len >= size)
        len = size - 1;
    memcpy(out, line, len);
    out[len] = '\0';
    return true;
}

void llem_http_read_header(struct llem_http_reply *r, const char *line, size_t len)
{
    char value[64];

    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) { /* another answer: a redirect, a 100 */
        r->begin = 0;
        r->error_code[0] = r->error_message[0] = '\0';
    } else if (header_is(line, len, "X-Error-Code", r->error_code, sizeof(r->error_code)) ||
               header_is(line, len, "X-Error-Message", r->error_message,
                         sizeof(r->error_message))) {
        return;
    } else if (header_is(line, len, "Content-Range", value, sizeof(value)) &&
               llem_starts_with(value, "bytes ")) {
        value[6 + strcspn(value + 6, "-")] = '\0';
        if (!llem_parse_i64(value + 6, &r->begin))
            r->begin = -1;
    }
}

static size_t on_header(char *line, size_t one, size_t len, void *user)
{
    struct llem_http *h = user;

    llem_http_read_header(h->reply, line, len);
    return len;
}

static size_t on_body(char *data, size_t one, size_t len, void *user)
{
    struct llem_http *h = user;
    long status = 0;

    h->curl.easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    h->reply->status = (int)status;
    if (status != 200 && status != 206)
        return len;
    h->body_rc = h->get->body(h->get->user, h->reply, data, len, &h->body_err);
    return h->body_rc == LLEM_OK ? len : 0;
}

static int on_progress(void *user, int64_t total, int64_t now, int64_t up_total, int64_t up_now)
{
    struct llem_http *h = user;

    return h->opts.cancelled && h->opts.cancelled(h->opts.user);
}

static llem_errcode failure(struct llem_http *h, const char *url, int code, llem_error *err)
{
    const char *why = h->error[0] ? h->error : h->curl.easy_strerror(code);
    int host = (int)strcspn(strstr(url, "://") ? strstr(url, "://") + 3 : url, "/?#");
    const char *name = strstr(url, "://") ? strstr(url, "://") + 3 : url;

    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return llem_fail(err, LLEM_ECANCELED, "the download was stopped");
    case CURLE_OUT_OF_MEMORY:
        return llem_fail(err, LLEM_ENOMEM, "out of memory while asking '%.*s'", host, name);
    case CURLE_WRITE_ERROR:
        if (h->body_rc < 0) {
            if (err)
                *err = h->body_err;
            return h->body_rc;
        }
        break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return llem_fail(err, LLEM_EINVAL, "'%.200s' is no http or https address", url);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        llem_fail(err, LLEM_EIO, "the certificate of '%.*s' is not trusted: %s", host, name, why);
        return llem_hint(err, LLEM_EIO,
                         "SSL_CERT_FILE names a file with the certificates to trust");
    default:
        h->reply->transient = true;
        break;
    }
    return llem_fail(err, LLEM_EIO, "'%.*s' cannot be reached, or broke off: %s", host, name, why);
}

/* One request and its answer, which may be a redirect. */
static llem_errcode ask(struct llem_http *h, const char *url, bool with_token, llem_error *err)
{
    const struct curl *c = &h->curl;
    const struct llem_http_get *get = h->get;
    struct llem_buf line = LLEM_BUF_INIT(8192);
    struct curl_slist *headers = NULL;
    char range[32] = "";
    int64_t retry_after = 0;
    long status = 0;
    llem_errcode rc = LLEM_OK;
    int code;

    h->error[0] = '\0';
    h->body_rc = LLEM_OK;
    if (with_token) {
        llem_buf_addf(&line, "Authorization: Bearer %s", get->bearer);
        headers = line.failed ? NULL : c->slist_append(NULL, line.data);
        if (!headers) {
            rc = llem_fail(err, LLEM_EINVAL, "the token for the hub is too long");
            goto done;
        }
    }
    if (get->offset > 0)
        snprintf(range, sizeof(range), "%lld-", (long long)get->offset);
    c->easy_setopt(h->easy, CURLOPT_URL, url);
    c->easy_setopt(h->easy, CURLOPT_HTTPHEADER, headers);
    c->easy_setopt(h->easy, CURLOPT_RANGE, *range ? range : NULL);
    code = c->easy_perform(h->easy);
    c->easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
    c->easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    h->reply->status = (int)status;
    if (code != 0) {
        rc = failure(h, url, code, err);
        goto done;
    }
    c->easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &retry_after);
    h->reply->retry_after_s = retry_after > 0 ? (double)retry_after : -1;

done:
    c->slist_free_all(headers);
    llem_buf_done(&line);
    return rc;
}

/* How long "scheme://host:port" is, which is what a token belongs to. */
static size_t origin_len(const char *url)
{
    const char *host = strstr(url, "://");

    return host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/?#") : 0;
}

static bool same_origin(const char *a, const char *b)
{
    size_t n = origin_len(a);

    return n && n == origin_len(b) && strncasecmp(a, b, n) == 0;
}

llem_errcode llem_http_get(struct llem_http *h, const struct llem_http_get *get,
                           struct llem_http_reply *reply, llem_error *err)
{
    struct llem_buf url = LLEM_BUF_INIT(64 << 10);
    llem_errcode rc = LLEM_OK;

    *reply = (struct llem_http_reply){ .retry_after_s = -1 };
    h->get = get;
    h->reply = reply;
    llem_buf_adds(&url, get->url);
    for (int hop = 0;; hop++) {
        const char *next = NULL;
        bool downgrade;

        if (url.failed) {
            rc = llem_fail(err, LLEM_EIO, "the address '%.100s...' is too long", get->url);
            break;
        }
        rc = ask(h, url.data, get->bearer && same_origin(get->url, url.data), err);
        if (rc < 0 || reply->status < 300 || reply->status > 399 || reply->status == 304)
            break;
        h->curl.easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &next);
        downgrade =
            next && strncasecmp(url.data, "https:", 6) == 0 && strncasecmp(next, "https:", 6) != 0;
        if (!next || downgrade || hop == MAX_REDIRECTS) {
            rc = llem_fail(err, LLEM_EIO, "'%.200s' redirects %s", get->url,
                           !next       ? "without saying where to"
                           : downgrade ? "from https to another protocol"
                                       : "more than ten times");
            break;
        }
        llem_buf_clear(&url);
        llem_buf_adds(&url, next);
    }
    llem_buf_done(&url);
    return rc;
}

/* ---- life --------------------------------------------------------------------------------- */

llem_errcode llem_http_new(struct llem_http **out, const struct llem_http_opts *opts,
                           llem_error *err)
{
    struct llem_http *h = calloc(1, sizeof(*h));
    const struct curl *c;
    llem_errcode rc;

    if (!h)
        return llem_fail(err, LLEM_ENOMEM, "no memory for a download");
    h->opts = *opts;
    c = &h->curl;
    rc = open_curl(&h->curl, err);
    if (rc < 0)
        goto done;
    h->easy = c->easy_init();
    if (!h->easy) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory for a download");
        goto done;
    }
    snprintf(h->user_agent, sizeof(h->user_agent), "llem/%s", llem_version());
    c->easy_setopt(h->easy, CURLOPT_USERAGENT, h->user_agent);
    c->easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
    c->easy_setopt(h->easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    c->easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT, (long)opts->connect_timeout_s);
    c->easy_setopt(h->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    c->easy_setopt(h->easy, CURLOPT_LOW_SPEED_TIME, (long)opts->stall_timeout_s);
    c->easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
    c->easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, on_header);
    c->easy_setopt(h->easy, CURLOPT_HEADERDATA, h);
    c->easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
    c->easy_setopt(h->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    c->easy_setopt(h->easy, CURLOPT_XFERINFODATA, h);
    c->easy_setopt(h->easy, CURLOPT_NOPROGRESS, 0L);
    if (opts->ca_file)
        c->easy_setopt(h->easy, CURLOPT_CAINFO, opts->ca_file);
    *out = h;
    return LLEM_OK;

done:
    llem_http_free(h);
    return rc;
}

void llem_http_free(struct llem_http *h)
{
    if (!h)
        return;
    if (h->easy)
        h->curl.easy_cleanup(h->easy);
    /* The library stays loaded: what it loads itself (TLS) leaves handlers behind that run at the
     * end of the program. */
    if (h->curl.handle)
        h->curl.global_cleanup();
    free(h);
}
