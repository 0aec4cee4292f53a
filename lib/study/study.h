/* SPDX-License-Identifier: MIT
 *
 * A study on disk and its running: directories, plan, manifest, claims, status; events between
 * processes; the runner of one experiment. It starts harness processes and reads what they leave;
 * it measures nothing.
 */
#ifndef LLEM_STUDY_STUDY_H
#define LLEM_STUDY_STUDY_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/ctx.h"
#include "lib/base/process.h"
#include "lib/base/value.h"
#include "llem/job.h"

/* ---- events ------------------------------------------------------------------------------- */

/* "step_start", ...; NULL for NONE and FINISHED, which never leave the process. */
const char *llem_event_name(llem_event_type type);
/* Append one JSON line with a newline: docs/formats.md, "Progress". */
void llem_event_encode(struct llem_buf *out, const llem_event *e);
/* Append {"event": "error", ...}: how a harness says why it failed. */
void llem_event_encode_error(struct llem_buf *out, const llem_error *err);

enum llem_line { LLEM_LINE_OTHER, LLEM_LINE_EVENT, LLEM_LINE_ERROR };
/* One line without its newline, back into an event (strings in the arena) or a failure. Anything
 * else is OTHER: a harness's output is not trusted. */
enum llem_line llem_event_decode(struct llem_arena *a, const char *line, size_t len, llem_event *e,
                                 llem_error *failure);

/*
 * Events from one thread to another. push() copies. A live reading comes from the sampler's thread:
 * it allocates nothing, waits for no lock, and replaces one that nobody has taken yet.
 */
struct llem_event_queue {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct llem_event_node *head, *tail;
    size_t count;
    llem_event live;
    bool has_live, closed;
};
llem_errcode llem_event_queue_init(struct llem_event_queue *q, llem_error *err);
void llem_event_queue_done(struct llem_event_queue *q);
void llem_event_queue_push(struct llem_event_queue *q, const llem_event *e);
/* No more will come; waiting readers wake up. */
void llem_event_queue_close(struct llem_event_queue *q);
/* The next one, to release with llem_event_free(); NULL after timeout_s (negative: for ever), or
 * when the queue is closed and empty (*over says so). */
struct llem_event_node *llem_event_queue_pop(struct llem_event_queue *q, double timeout_s,
                                             bool *over);
const llem_event *llem_event_of(const struct llem_event_node *node);
void llem_event_free(struct llem_event_node *node); /* NULL is allowed */

/* Events of a harness to a descriptor, from any thread, never blocking: a live reading is dropped
 * when the pipe is full, other lines wait in memory. */
struct llem_event_writer {
    pthread_mutex_t lock;
    int fd; /* -1 = nowhere */
    struct llem_buf pending;
};
void llem_event_writer_init(struct llem_event_writer *w, int fd);
void llem_event_writer_add(struct llem_event_writer *w, const llem_event *e);
void llem_event_writer_error(struct llem_event_writer *w, const llem_error *err);
/* Give the reader at most timeout_ms to take the rest. */
void llem_event_writer_done(struct llem_event_writer *w, int timeout_ms);

/* ---- directories and their files ---------------------------------------------------------- */

/* How an experiment ended, for status.json and manifest.json. */
enum llem_state {
    LLEM_STATE_RUNNING, /* only in the manifest */
    LLEM_STATE_COMPLETED,
    LLEM_STATE_FAILED,
    LLEM_STATE_TIMEOUT,
    LLEM_STATE_INTERRUPTED,
    LLEM_STATE_SKIPPED,
};
const char *llem_state_name(enum llem_state state);

struct llem_outcome {
    enum llem_state state;
    llem_error err;                  /* code LLEM_OK when completed */
    int wstatus;                     /* of the harness; -1 = it never ran */
    int64_t started_ns, finished_ns; /* wall clock */
    const char *log_tail;            /* borrowed; NULL = none */
    size_t log_tail_len;
};

/* One experiment of a study. */
struct llem_cell {
    int index, cycle; /* from 1 */
    char *name, *dir; /* the directory's name and path */
    char *experiment_id, *summary;
    char mark[33]; /* LLEM_RUN of its processes */
    char hash[17], resolved_hash[65];
    struct llem_value *manifest; /* its entry */
};

/* A study's directory. Everything lives in its arena. */
struct llem_study {
    struct llem_arena arena;
    const struct llem_clock *clock;
    char *dir, *name; /* path, and the directory's name: the study's id */
    char design_hash[17];
    struct llem_value *manifest;
    struct llem_cell cell; /* a study of one */
};

/* Make <results>/study_<UTC>/ with plan.json and manifest.json, and the experiment's directory with
 * claim.json, experiment.json and _resolution.json. On failure nothing of it is left. */
llem_errcode llem_study_make(struct llem_study *s, llem_ctx *ctx, const llem_config *config,
                             const llem_run_opts *opts, llem_error *err);
void llem_study_done(struct llem_study *s);
/* Write status.json, then the manifest, with figures of `result` where it is not NULL. Tries both
 * whatever fails first. */
llem_errcode llem_study_finish(struct llem_study *s, const struct llem_outcome *o,
                               const llem_result *result, llem_error *err);

/* Last component of a model's name, made a safe file name. */
void llem_slug(char *out, size_t size, const char *text);
/* mkdir parents; then <parent>/<prefix><UTC>, with _2, _3, ... where that is taken. In the arena.
 */
char *llem_make_stamped_dir(struct llem_arena *a, const char *parent, const char *prefix,
                            int64_t wall_ns, llem_error *err);
/* {program, version, commit} */
struct llem_value *llem_producer(struct llem_arena *a);
/* What energy is turned into emissions with, as the user's configuration and variables have it. */
struct llem_value *llem_site(struct llem_arena *a, llem_ctx *ctx);
struct llem_value *llem_claim(struct llem_arena *a, const char *mark, int64_t wall_ns);
/* The LLEM_ variables in force, name to value. */
struct llem_value *llem_variables_to_record(llem_ctx *ctx, struct llem_arena *a);
llem_errcode llem_status_write(const char *dir, const struct llem_outcome *o, llem_error *err);

/* ---- the runner --------------------------------------------------------------------------- */

enum {
    LLEM_GRACE_MS = 10000,   /* from SIGTERM to SIGKILL */
    LLEM_SWEEP_MS = 2000,    /* the same for processes that the harness left behind */
    LLEM_LINE_MAX = 1 << 20, /* of an event */
    LLEM_EXPERIMENT_TIMEOUT_S = 600,
};

/* What a runner needs; borrowed while it runs. */
struct llem_runner {
    const char *program, *data_dir, *dir, *mark;
    const char *own_python; /* of the context; NULL = as the environment says */
    int log_level;          /* of the harness: enum llem_log_level; -1 = as the environment says */
    double timeout_s;
    const atomic_int *cancels; /* 1: end gently, 2: at once */
    int wake_fd;               /* readable when *cancels changed */
    struct llem_event_queue *events;
};
/* Start the harness, follow it to its end, leave no process behind, and say how it went. log_tail
 * of the outcome is to free() by the caller. Runs in the calling thread, which must stay until it
 * returns. */
void llem_runner_run(const struct llem_runner *r, struct llem_outcome *out, char **log_tail);

#endif
