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
#include "lib/study/plan.h"
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

/* How far a run is; those from COMPLETED on are told by status.json, the others by the manifest
 * alone. */
enum llem_state {
    LLEM_STATE_PENDING,
    LLEM_STATE_RUNNING,
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
    int64_t started_ns, finished_ns; /* wall clock, which may be set meanwhile */
    int64_t begun_ns;                /* monotonic */
    double elapsed_s;                /* by that */
    double clock_set_s;              /* how far the wall clock was set meanwhile; NaN = not known */
    const char *log_tail;            /* borrowed; NULL = none */
    size_t log_tail_len;
};
void llem_outcome_begin(struct llem_outcome *o, const struct llem_clock *clock);
void llem_outcome_end(struct llem_outcome *o, const struct llem_clock *clock);

enum llem_run_number {
    LLEM_RUN_INFERENCE_S,
    LLEM_RUN_ENERGY_J,
    LLEM_RUN_ESTIMATED_J, /* where nothing was measured */
    LLEM_RUN_ADJUSTED_J,
    LLEM_RUN_TOKENS_PER_S,
    LLEM_RUN_MJ_PER_TOKEN,
    LLEM_RUN_NUMBERS
};

/* One run of a study. */
struct llem_run {
    const char *name;             /* its directory in the study's */
    const char *summary;          /* what it measures, for people */
    const char *reason, *message; /* why it did not complete; NULL = nothing to say */
    enum llem_state state;
    int64_t started_ns, finished_ns;  /* wall clock; 0 = not yet */
    double elapsed_s;                 /* NaN = not known */
    double numbers[LLEM_RUN_NUMBERS]; /* NaN = not known */
    double pause_s;                   /* before it */
    bool earlier;                     /* it was over when the study was opened */
};

/*
 * A study's directory, and what is in it. One process at a time has it open: the directory is
 * locked. Not for several threads.
 */
struct llem_study {
    struct llem_arena arena;
    llem_ctx *ctx;
    const struct llem_plan *plan; /* borrowed */
    char *dir;
    const char *name;      /* the directory's: the study's id */
    struct llem_run *runs; /* plan->n_runs, in the plan's order */
    const char *status, *started;
    int64_t started_ns, finished_ns;       /* wall clock, of this process's part of it */
    int64_t begun_ns;                      /* monotonic, of started_ns */
    int64_t manifest_ns, manifest_cost_ns; /* when it was last written, and how long that took */
    bool skip_preflight;
    bool is_locked; /* false where the file system knows no locks */
    int lock_fd;
};

/* Make <results>/<name or study>_<UTC>/ with plan.json and manifest.json, of which nothing is left
 * on failure; or open one that was begun, see what of it is done, and refuse if it is another one
 * by now. */
llem_errcode llem_study_open(struct llem_study *s, llem_ctx *ctx, const struct llem_plan *plan,
                             const llem_run_opts *opts, llem_error *err);
/* How it has ended, as far as its runs tell: completed, failed or interrupted. Static. */
const char *llem_study_status(const struct llem_study *s);
/* Say in the manifest how it ended: completed, failed, interrupted, timed_out, circuit_breaker. */
llem_errcode llem_study_end(struct llem_study *s, const char *status, llem_error *err);
void llem_study_close(struct llem_study *s);
size_t llem_study_count(const struct llem_study *s, enum llem_state state);
/* why: kept as it is. */
void llem_study_skip(struct llem_study *s, size_t run, const char *why);

/* A run that this process has claimed. */
struct llem_cell {
    struct llem_arena arena;
    char *dir, *experiment_id;
    char mark[33]; /* LLEM_RUN of its processes */
};
/* Make the run's directory with claim.json, experiment.json and _resolution.json; what is left of
 * an earlier try is ended, and moved into attempts/. Where that try was complete after all, the
 * run's state is COMPLETED and nothing was claimed. LLEM_ESTUDY: somebody else has it. In either
 * case end with llem_cell_done(). */
llem_errcode llem_study_claim(struct llem_study *s, size_t run, struct llem_cell *cell,
                              llem_error *err);
void llem_cell_done(struct llem_cell *cell);
/* Write the run's status.json, then the manifest, with figures of `result` where it is not NULL.
 * Tries both whatever fails first. */
llem_errcode llem_study_finish(struct llem_study *s, size_t run, const char *dir,
                               const struct llem_outcome *o, const llem_result *result,
                               llem_error *err);
/* A complete recording without a result: the harness died between the two. True if there is a
 * result now. */
bool llem_study_derive(const char *dir);

/* Where results go: told, or configured, or ./results. */
const char *llem_results_dir(struct llem_arena *a, const struct llem_config *config,
                             const char *told);
/* The newest study in `results` that is unfinished and that nobody runs; one of this design
 * (NULL = any) before others. NULL with LLEM_ESTUDY if there is none. */
char *llem_study_newest(struct llem_arena *a, const char *results, const char *design_hash,
                        llem_error *err);

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
/* Field 22 of /proc/<pid>/stat, which with the boot id tells a process from a later one of the same
 * number; -1 = there is no such process. */
int64_t llem_process_start_ticks(pid_t pid);
/* Text of unknown origin as valid UTF-8. */
char *llem_safe_text(struct llem_arena *a, const char *s, size_t len);
llem_errcode llem_status_write(const char *dir, const struct llem_outcome *o, llem_error *err);

/* ---- the runner --------------------------------------------------------------------------- */

enum {
    LLEM_GRACE_MS = 10000,   /* from SIGTERM to SIGKILL */
    LLEM_SWEEP_MS = 2000,    /* the same for processes that the harness left behind */
    LLEM_LINE_MAX = 1 << 20, /* of an event */
};

/* What a runner needs; borrowed while it runs. */
struct llem_runner {
    const struct llem_clock *clock; /* of what is recorded; its limits are by the system's */
    const char *program, *data_dir, *dir, *mark;
    const char *own_python; /* of the context; NULL = as the environment says */
    int log_level;          /* of the harness: enum llem_log_level; -1 = as the environment says */
    int run, n_runs;        /* for its events */
    double timeout_s;       /* without the time in which a model is fetched and loaded */
    double load_timeout_s;  /* of that */
    double silence_s;       /* longest time without a word, outside loading; 0 = no limit */
    int64_t deadline_ns;    /* of the whole study, monotonic; 0 = none */
    const atomic_int *cancels; /* 1: end gently, 2: at once */
    int wake_fd;               /* readable when *cancels changed */
    struct llem_event_queue *events;
};
/* Start the harness, follow it to its end, leave no process behind, and say how it went. log_tail
 * of the outcome is to free() by the caller. Runs in the calling thread, which must stay until it
 * returns. */
void llem_runner_run(const struct llem_runner *r, struct llem_outcome *out, char **log_tail);

/* ---- the loop over runs ------------------------------------------------------------------- */

/* Ends a study in which everything fails. After as many failures in a row as it allows it waits for
 * one more try, whose failure ends the study; one that allows a single failure does not wait. */
struct llem_breaker {
    int64_t allowed; /* 0 = any number */
    int64_t failures;
    bool trying; /* the next one decides */
};
enum llem_verdict { LLEM_GO_ON, LLEM_COOL_DOWN, LLEM_GIVE_UP };
enum llem_verdict llem_breaker_take(struct llem_breaker *b, bool failed);

/* Runs what of the study is to be run, each with `runner`, of which dir, mark and the numbers are
 * filled in. Returns the study's status, as llem_study_end() takes it. *last (may be NULL): how the
 * last run ended, and *result (may be NULL) what came of it. */
const char *llem_study_loop(struct llem_study *s, struct llem_runner *runner,
                            struct llem_outcome *last, llem_result **result);

#endif
