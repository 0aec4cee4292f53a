/* SPDX-License-Identifier: MIT
 *
 * Events as JSON lines between processes, and as a queue between threads.
 */
#include "lib/study/study.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/json.h"

/* ---- names and lines ---------------------------------------------------------------------- */

static const char *const names[] = {
    [LLEM_EVENT_STARTED] = "started",
    [LLEM_EVENT_ENDED] = "ended",
    [LLEM_EVENT_PAUSE] = "pause",
    [LLEM_EVENT_STEP_START] = "step_start",
    [LLEM_EVENT_STEP_UPDATE] = "step_update",
    [LLEM_EVENT_STEP_DONE] = "step_done",
    [LLEM_EVENT_STEP_SKIP] = "step_skip",
    [LLEM_EVENT_SUBSTEP] = "substep",
    [LLEM_EVENT_LIVE] = "live",
    [LLEM_EVENT_WARNING] = "warning",
};

const char *llem_event_name(llem_event_type type)
{
    return (size_t)type < LLEM_COUNT(names) ? names[type] : NULL;
}

/* Which numbers go with which event. */
static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    { "elapsed_sec", offsetof(llem_event, elapsed_s) },
    { "fraction", offsetof(llem_event, fraction) },
    { "power_w", offsetof(llem_event, power_w) },
    { "tokens_per_s", offsetof(llem_event, tokens_per_s) },
    { "temperature_c", offsetof(llem_event, temperature_c) },
    { "energy_j", offsetof(llem_event, energy_j) },
    { "energy_estimated_j", offsetof(llem_event, energy_estimated_j) },
};

static double number_of(const llem_event *e, size_t i)
{
    return *(const double *)(const void *)((const char *)e + numbers[i].offset);
}

static void dump_line(struct llem_buf *out, struct llem_arena *a, const struct llem_value *v)
{
    if (a->oom)
        return;
    llem_json_dump(out, v, LLEM_JSON_COMPACT);
    llem_buf_addc(out, '\n');
}

void llem_event_encode(struct llem_buf *out, const llem_event *e)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_map(&a);
    const char *name = llem_event_name(e->type);

    if (!name)
        return;
    llem_set(&a, v, "event", llem_string(&a, name));
    if (e->step && *e->step)
        llem_set(&a, v, "step", llem_string(&a, e->step));
    if (e->reason && *e->reason)
        llem_set(&a, v, "reason", llem_string(&a, e->reason));
    if (e->text && *e->text)
        llem_set(&a, v, "text", llem_string(&a, e->text));
    for (size_t i = 0; i < LLEM_COUNT(numbers); i++) {
        double d = number_of(e, i);

        if (isfinite(d) && d != 0)
            llem_set(&a, v, numbers[i].key, llem_real(&a, d));
    }
    if (e->run) {
        llem_set(&a, v, "run", llem_int(&a, e->run));
        llem_set(&a, v, "n_runs", llem_int(&a, e->n_runs));
    }
    dump_line(out, &a, v);
    llem_arena_done(&a);
}

void llem_event_encode_error(struct llem_buf *out, const llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_map(&a);

    llem_set(&a, v, "event", llem_string(&a, "error"));
    llem_set(&a, v, "code", llem_int(&a, err->code));
    llem_set(&a, v, "message", llem_string(&a, err->msg));
    llem_set(&a, v, "hint", llem_string(&a, err->hint));
    llem_set(&a, v, "file", llem_string(&a, err->file));
    llem_set(&a, v, "line", llem_int(&a, err->line));
    llem_set(&a, v, "column", llem_int(&a, err->column));
    dump_line(out, &a, v);
    llem_arena_done(&a);
}

static bool is_known_code(int64_t code)
{
    switch (code) {
#define X(id, num, text) case num:
        LLEM_ERRCODES(X)
#undef X
        return true;
    default:
        return false;
    }
}

enum llem_line llem_event_decode(struct llem_arena *a, const char *line, size_t len, llem_event *e,
                                 llem_error *failure)
{
    struct llem_value *v;
    const char *name;

    if (len == 0 || line[0] != '{' || llem_json_parse(a, &v, line, len, "event", NULL) < 0)
        return LLEM_LINE_OTHER;
    name = llem_str_at(v, "event", "");
    if (strcmp(name, "error") == 0) {
        int64_t code = llem_int_at(v, "code", LLEM_ECRASHED);

        llem_fail_at(failure, is_known_code(code) ? (llem_errcode)code : LLEM_ECRASHED,
                     llem_str_at(v, "file", ""), (int)llem_int_at(v, "line", 0),
                     (int)llem_int_at(v, "column", 0), "%s", llem_str_at(v, "message", ""));
        if (*llem_str_at(v, "hint", ""))
            llem_hint(failure, failure->code, "%s", llem_str_at(v, "hint", ""));
        return LLEM_LINE_ERROR;
    }
    for (size_t i = 0; i < LLEM_COUNT(names); i++) {
        if (!names[i] || strcmp(names[i], name) != 0)
            continue;
        memset(e, 0, sizeof(*e));
        e->type = (llem_event_type)i;
        e->step = llem_str_at(v, "step", "");
        e->text = llem_str_at(v, "text", "");
        e->reason = llem_str_at(v, "reason", "");
        e->elapsed_s = llem_real_at(v, "elapsed_sec", 0);
        e->fraction = llem_real_at(v, "fraction", e->type == LLEM_EVENT_STEP_UPDATE ? -1 : 0);
        e->power_w = llem_real_at(v, "power_w", NAN);
        e->tokens_per_s = llem_real_at(v, "tokens_per_s", NAN);
        e->temperature_c = llem_real_at(v, "temperature_c", NAN);
        e->energy_j = llem_real_at(v, "energy_j", NAN);
        e->energy_estimated_j = llem_real_at(v, "energy_estimated_j", NAN);
        return a->oom ? LLEM_LINE_OTHER : LLEM_LINE_EVENT;
    }
    return LLEM_LINE_OTHER;
}

/* ---- between threads ---------------------------------------------------------------------- */

enum { QUEUE_MAX = 10000 };

struct llem_event_node {
    struct llem_event_node *next;
    llem_event event;
    char strings[]; /* step, reason, text */
};

llem_errcode llem_event_queue_init(struct llem_event_queue *q, llem_error *err)
{
    pthread_condattr_t attr;

    memset(q, 0, sizeof(*q));
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    errno = pthread_mutex_init(&q->lock, NULL);
    if (errno == 0) {
        errno = pthread_cond_init(&q->more, &attr);
        if (errno)
            pthread_mutex_destroy(&q->lock);
    }
    pthread_condattr_destroy(&attr);
    return errno ? llem_fail(err, LLEM_ENOMEM, "cannot make a queue: %m") : LLEM_OK;
}

void llem_event_queue_done(struct llem_event_queue *q)
{
    while (q->head) {
        struct llem_event_node *next = q->head->next;

        free(q->head);
        q->head = next;
    }
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
}

static struct llem_event_node *node_new(const llem_event *e)
{
    const char *parts[] = { e->step ? e->step : "", e->reason ? e->reason : "",
                            e->text ? e->text : "" };
    size_t lens[3], total = 0;
    struct llem_event_node *n;
    char *at;

    for (size_t i = 0; i < 3; i++)
        total += lens[i] = strlen(parts[i]) + 1;
    n = malloc(sizeof(*n) + total);
    if (!n)
        return NULL;
    n->next = NULL;
    n->event = *e;
    at = n->strings;
    for (size_t i = 0; i < 3; i++) {
        memcpy(at, parts[i], lens[i]);
        parts[i] = at;
        at += lens[i];
    }
    n->event.step = parts[0];
    n->event.reason = parts[1];
    n->event.text = parts[2];
    return n;
}

static void push_live(struct llem_event_queue *q, const llem_event *e)
{
    if (pthread_mutex_trylock(&q->lock) != 0)
        return;
    q->live = *e;
    q->live.step = q->live.text = q->live.reason = "";
    q->has_live = true;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void llem_event_queue_push(struct llem_event_queue *q, const llem_event *e)
{
    struct llem_event_node *n;

    if (e->type == LLEM_EVENT_LIVE) {
        push_live(q, e);
        return;
    }
    n = node_new(e);
    if (!n)
        return;
    pthread_mutex_lock(&q->lock);
    if (q->count >= QUEUE_MAX) {
        free(n);
    } else {
        if (q->tail)
            q->tail->next = n;
        else
            q->head = n;
        q->tail = n;
        q->count++;
        if (e->type == LLEM_EVENT_STEP_DONE)
            q->has_live = false; /* a reading of a step that is over */
    }
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void llem_event_queue_close(struct llem_event_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

struct llem_event_node *llem_event_queue_pop(struct llem_event_queue *q, double timeout_s,
                                             bool *over)
{
    struct llem_event_node *n;
    struct timespec until;
    int64_t ns;

    clock_gettime(CLOCK_MONOTONIC, &until);
    ns = until.tv_nsec + (int64_t)(fmin(fmax(timeout_s, 0), 1e9) * 1e9);
    until.tv_sec += ns / LLEM_NS_PER_S;
    until.tv_nsec = ns % LLEM_NS_PER_S;
    pthread_mutex_lock(&q->lock);
    while (!q->head && !q->has_live && !q->closed) {
        int rc = timeout_s < 0 ? pthread_cond_wait(&q->more, &q->lock)
                               : pthread_cond_timedwait(&q->more, &q->lock, &until);

        if (rc == ETIMEDOUT)
            break;
    }
    n = q->head;
    if (n) {
        q->head = n->next;
        if (!q->head)
            q->tail = NULL;
        q->count--;
    } else if (q->has_live) {
        q->has_live = false;
        n = node_new(&q->live);
    }
    if (over)
        *over = !n && q->closed;
    pthread_mutex_unlock(&q->lock);
    return n;
}

const llem_event *llem_event_of(const struct llem_event_node *node)
{
    return &node->event;
}

void llem_event_free(struct llem_event_node *node)
{
    free(node);
}

/* ---- to a descriptor ---------------------------------------------------------------------- */

void llem_event_writer_init(struct llem_event_writer *w, int fd)
{
    struct stat st;

    pthread_mutex_init(&w->lock, NULL);
    llem_buf_init(&w->pending, LLEM_LINE_MAX);
    w->fd = fd;
    /* Only a pipe of our own may be switched: a terminal's flags belong to everyone on it. */
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Write what waits; what does not fit goes on waiting. The lock is held. */
static void flush(struct llem_event_writer *w)
{
    size_t done = 0;

    while (done < w->pending.len) {
        ssize_t n = write(w->fd, w->pending.data + done, w->pending.len - done);

        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n < 0 && errno != EINTR) {
            w->fd = -1; /* nobody listens any more */
            done = w->pending.len;
        }
    }
    if (done) {
        memmove(w->pending.data, w->pending.data + done, w->pending.len - done);
        w->pending.len -= done;
        w->pending.data[w->pending.len] = 0;
    }
}

/* From the sampler's thread, inside the window: one line on the stack, one write, or nothing. */
static void write_live(struct llem_event_writer *w, const llem_event *e)
{
    char line[256];
    size_t len = (size_t)snprintf(line, sizeof(line), "{\"event\":\"live\"");

    for (size_t i = 0; i < LLEM_COUNT(numbers); i++) {
        double d = number_of(e, i);

        if (isfinite(d) && len < sizeof(line) - 3)
            len +=
                (size_t)snprintf(line + len, sizeof(line) - len, ",\"%s\":%.9g", numbers[i].key, d);
    }
    if (len >= sizeof(line) - 3 || pthread_mutex_trylock(&w->lock) != 0)
        return;
    line[len++] = '}';
    line[len++] = '\n';
    if (w->fd >= 0 && !w->pending.len) {
        ssize_t n = write(w->fd, line, len);

        (void)n; /* shorter than PIPE_BUF: whole or not at all */
    }
    pthread_mutex_unlock(&w->lock);
}

void llem_event_writer_add(struct llem_event_writer *w, const llem_event *e)
{
    if (e->type == LLEM_EVENT_LIVE) {
        write_live(w, e);
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (w->fd >= 0) {
        llem_event_encode(&w->pending, e);
        flush(w);
        w->pending.failed = false; /* full: that line is lost, later ones need not be */
    }
    pthread_mutex_unlock(&w->lock);
}

void llem_event_writer_error(struct llem_event_writer *w, const llem_error *err)
{
    pthread_mutex_lock(&w->lock);
    if (w->fd >= 0) {
        llem_event_encode_error(&w->pending, err);
        flush(w);
    }
    pthread_mutex_unlock(&w->lock);
}

void llem_event_writer_done(struct llem_event_writer *w, int timeout_ms)
{
    int64_t until = llem_now_ns(&llem_system_clock) + timeout_ms * INT64_C(1000000);

    while (w->fd >= 0 && w->pending.len && llem_now_ns(&llem_system_clock) < until) {
        struct pollfd p = { .fd = w->fd, .events = POLLOUT };

        poll(&p, 1, 50);
        flush(w);
    }
    llem_buf_done(&w->pending);
    pthread_mutex_destroy(&w->lock);
}
