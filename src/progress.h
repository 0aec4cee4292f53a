/* SPDX-License-Identifier: MIT
 *
 * Telling what happens while an experiment runs, on standard error: a display that moves (auto, on
 * a terminal), lines (plain), JSON lines (json), nothing (none).
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
};

/* Zero-initialise; progress_init() sets it up. Owns nothing. */
struct progress {
    enum progress_mode mode; /* never AUTO: decided by init */
    bool live;               /* a line that is redrawn */
    FILE *f;
    struct term term;
    int64_t (*now_ns)(void); /* tests set their own */
    int verbose;             /* plain and live: substeps too */

    char step[32], text[160]; /* the running step; "" = none */
    char run[96];             /* of a study: the directory of the run at hand */
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
/* A line above everything: what runs. */
void progress_title(struct progress *p, const char *text);
void progress_event(struct progress *p, const llem_event *e);
/* Called often: redraws, or prints the heartbeat, when it is time. */
void progress_tick(struct progress *p);
/* Take the moving line away; steps that ran are over. */
void progress_close(struct progress *p);
/* json: the last line. Otherwise nothing. code: NULL = completed. */
void progress_outcome(struct progress *p, const char *dir, const char *code, const char *message);

#endif
