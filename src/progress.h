/* SPDX-License-Identifier: MIT
 *
 * Telling what happens while an experiment or a study runs, on standard error: a display that moves
 * (auto, on a terminal), lines (plain), JSON lines (json), nothing (none).
 */
#ifndef LLEM_SRC_PROGRESS_H
#define LLEM_SRC_PROGRESS_H

#include <stdint.h>

#include "llem/job.h"
#include "src/term.h"

enum progress_mode { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_NONE };
#define PROGRESS_CHOICES "auto|plain|json|none"

enum {
    PROGRESS_TICK_MS = 125,   /* redraw at most eight times a second */
    PROGRESS_ANNOUNCE_S = 1,  /* plain: a step that takes longer is announced */
    PROGRESS_HEARTBEAT_S = 5, /* plain: then a line this often */
    PROGRESS_POWERS = 24,     /* how many live readings the little curve shows */
    PROGRESS_FRAME = 65536,   /* bytes that a frame of a study stays below */
};

struct study_progress;

/* progress_init() sets it up, progress_close() ends it. */
struct progress {
    enum progress_mode mode; /* never AUTO: decided by init */
    bool live;               /* a line that is redrawn */
    FILE *f;
    struct term term;
    int64_t (*now_ns)(void);      /* tests set their own */
    int verbose;                  /* plain and live: substeps too */
    struct study_progress *study; /* NULL: a single experiment */

    char step[32], text[160]; /* the running step; "" = none */
    int64_t step_begin_ns, heartbeat_ns, drawn_ns;
    double fraction;
    unsigned spin;
    bool announced; /* plain: the step's first line was printed */
    bool line_open; /* a line stands that must be erased first */
    double power_w, tokens_per_s, temperature_c, live_s; /* NaN = not known */
    double powers[PROGRESS_POWERS];
    unsigned n_powers; /* how many came in all */
};

/* name: one of PROGRESS_CHOICES, or NULL for auto. Writes to f, whose descriptor t describes, and
 * flushes it after each frame and line: where f has a buffer, that is one write. */
void progress_init(struct progress *p, const char *name, FILE *f, const struct term *t);
/* From here on it is a study, whose runs `info` tells (llem_job_run_info, or a test's). One run is
 * no study. */
void progress_study(struct progress *p, const llem_job *job, int n_runs,
                    llem_errcode (*info)(const llem_job *, int, llem_run_info *));
/* A line above everything: what runs. */
void progress_title(struct progress *p, const char *text);
void progress_event(struct progress *p, const llem_event *e);
/* Called often: redraws, or prints the heartbeat, when it is time. */
void progress_tick(struct progress *p);
/* A signal came, the first: what it does. */
void progress_stopping(struct progress *p);
/* Take what moves away; steps that ran are over. Of a study its last line stays. */
void progress_close(struct progress *p);
/* json: the last line. Otherwise nothing. code: NULL = completed. */
void progress_outcome(struct progress *p, const char *dir, const char *code, const char *message);

/* ---- shared with study-progress.c ---------------------------------------------------------- */

const char *progress_step_name(const char *id);
/* Keep what an event says of the running step, before anything is shown of it. */
void progress_note(struct progress *p, const llem_event *e);
/* The running step: its readings, or how far it is, or its text. */
void progress_step_text(const struct progress *p, char *out, size_t size, size_t columns);
void progress_add_reading(char *out, size_t size, const char *gap, double value, const char *unit);
const char *progress_spinner(struct progress *p);
/* "  ✓ Warm-up       5 prompts, CV 0.8 %                     3.1s" */
void progress_step_line(struct progress *p, const char *mark, const char *mark_color,
                        const char *name, const char *text, const char *right, bool dim,
                        bool newline);
void progress_plain_line(struct progress *p, const char *name, const char *text, const char *right);

void study_event(struct progress *p, const llem_event *e);
void study_tick(struct progress *p);
/* Print a line above what moves. */
void study_say(struct progress *p, const char *mark, const char *mark_color, const char *text);
void study_close(struct progress *p);

#endif
