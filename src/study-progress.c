/* SPDX-License-Identifier: MIT
 *
 * The display of a study. What stays is printed once and scrolls away: failures, warnings. Below it
 * a region is redrawn: runs that are over, the one that runs, those that come next, and a line
 * about the whole. The cursor rests on the line below the region, so that a frame ends with a
 * line's end: that is one write.
 *
 * A region is found again by going up as many rows as it has. Terminals that get narrower break its
 * lines, so it is counted how many rows they take in the width of now (xterm cuts them instead;
 * there as many rows above are lost).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/left.h"
#include "src/progress.h"

enum {
    ROWS_KEPT = 100,    /* of runs that are over */
    ROWS_LEAST = 3,     /* of them, where the height is not known to suffice */
    ROWS_ELSE = 12,     /* of the height, for all else and what scrolls by */
    STEP_ROWS = 2,      /* of the running step, and of those before it */
    QUEUE = 3,          /* runs to come that are shown, ... */
    QUEUE_HEIGHT = 16,  /* ... on terminals so high */
    COLUMNS_MOST = 120, /* that a line takes */
    WARNINGS = 64,      /* that are remembered, so that a run does not repeat the one before */
    HEARTBEAT_FIRST_S = 5,
    HEARTBEAT_S = 30,
};

/* A run that is over. */
struct row {
    int run;
    char state; /* its first letter */
    double elapsed_s, energy_j, tokens_per_s;
    bool estimate;
};

struct study_progress {
    const llem_job *job;
    llem_errcode (*info)(const llem_job *, int, llem_run_info *);
    int n_runs, digits;
    bool cycles;    /* some run more than once */
    size_t prefix;  /* of the labels, that all have */
    int table_rows; /* LLEM_TABLE_ROWS; 0: as many as fit */

    struct left left;
    bool no_left; /* nothing more comes, or no memory to tell how long it takes */
    struct row rows[ROWS_KEPT];
    int n_rows; /* that came in all */
    int done, failed, known;
    double energy_j, estimated_j;
    int64_t begin_ns, run_begin_ns, heartbeat_ns;
    int run;           /* that runs; 0 = none */
    int coming[QUEUE]; /* those after it, or from it on where none runs */
    int n_coming;
    double pause_s;  /* that lasts; 0 = none, NaN = not known how long */
    char trail[400]; /* steps that are over */
    uint32_t warned[WARNINGS];
    unsigned n_warned;

    FILE *frame; /* what is composed: */
    char *text;
    size_t len;
    char shown[PROGRESS_FRAME]; /* the frame that stands; "" = none */
    size_t shown_columns;
};

/* ---- what is known ------------------------------------------------------------------------ */

static llem_run_info info_of(const struct study_progress *s, int run)
{
    llem_run_info info = { .size = sizeof(info) };

    if (s->info(s->job, run, &info) < 0 || !info.label)
        info.label = "";
    return info;
}

static bool is_to_do(const struct study_progress *s, int run)
{
    return !*info_of(s, run).state;
}

/* Find those that come from a run on. */
static void look_ahead(struct study_progress *s, int from)
{
    s->n_coming = 0;
    for (int run = from; run <= s->n_runs && s->n_coming < QUEUE; run++)
        if (is_to_do(s, run))
            s->coming[s->n_coming++] = run;
}

/* One more is over, in this job or in an earlier one. */
static void take(struct study_progress *s, int run, const char *state, double elapsed_s,
                 double energy_j, double estimated_j, double tokens_per_s)
{
    struct row row = {
        .run = run,
        .state = state[0],
        .elapsed_s = elapsed_s,
        .energy_j = isfinite(energy_j) ? energy_j : estimated_j,
        .tokens_per_s = tokens_per_s,
        .estimate = !isfinite(energy_j),
    };
    bool told = row.state == 'c' || row.state == 'f' || row.state == 't';

    left_took(&s->left, info_of(s, run).experiment, told ? elapsed_s : NAN);
    s->done += row.state != 'i';
    s->failed += row.state == 'f' || row.state == 't';
    if (isfinite(row.energy_j)) {
        *(row.estimate ? &s->estimated_j : &s->energy_j) += row.energy_j;
        s->known++;
    }
    s->rows[s->n_rows++ % ROWS_KEPT] = row;
}

/* How much of the labels, up to a " / ", is the same in all and need not be said of each. */
static size_t common_prefix(const struct study_progress *s)
{
    const char *first = info_of(s, 1).label;
    size_t len = strlen(first), cut = 0;

    for (int run = 2; run <= s->n_runs && len; run++) {
        const char *label = info_of(s, run).label;
        size_t same = 0;

        while (same < len && label[same] == first[same])
            same++;
        if (same < len || label[same])
            len = same;
    }
    if (len == strlen(first)) /* nothing else would be left */
        return 0;
    for (size_t at = 0; at + 3 <= len; at++)
        if (memcmp(first + at, " / ", 3) == 0)
            cut = at + 3;
    return cut;
}

void progress_study(struct progress *p, const llem_job *job, int n_runs,
                    llem_errcode (*info)(const llem_job *, int, llem_run_info *))
{
    struct study_progress *s;
    const char *rows = getenv("LLEM_TABLE_ROWS");

    if (p->mode != PROGRESS_PLAIN || n_runs < 2)
        return;
    s = calloc(1, sizeof(*s));
    if (!s)
        return; /* then its steps are shown as those of one run are */
    s->frame = open_memstream(&s->text, &s->len);
    if (!s->frame) {
        free(s);
        return;
    }
    s->job = job;
    s->info = info;
    s->n_runs = n_runs;
    s->table_rows = rows ? (int)strtol(rows, NULL, 10) : 0;
    s->digits = snprintf(NULL, 0, "%d", n_runs);
    s->begin_ns = s->heartbeat_ns = p->now_ns();
    for (int run = 1; run <= n_runs; run++) {
        llem_run_info i = info_of(s, run);

        s->cycles = s->cycles || i.cycle > 1;
        if (*i.state)
            take(s, run, i.state, i.elapsed_s, i.energy_j, i.energy_estimated_j, i.tokens_per_s);
        else if (!s->no_left)
            s->no_left = !left_add(&s->left, i.experiment, i.pause_s);
    }
    s->prefix = common_prefix(s);
    look_ahead(s, 1);
    p->study = s;
}

/* ---- texts -------------------------------------------------------------------------------- */

/* "[ 4/12] batch_size=8 c2" */
static void run_text(const struct study_progress *s, char *out, size_t size, int run)
{
    llem_run_info info = info_of(s, run);
    const char *label = info.label;

    label += strlen(label) >= s->prefix ? s->prefix : 0;
    snprintf(out, size, s->cycles ? "[%*d/%d] %s c%d" : "[%*d/%d] %s", s->digits, run, s->n_runs,
             label, info.cycle);
}

/* "1.23 kJ", "~1.23 kJ" */
static void energy_text(char out[24], double joules, bool estimate)
{
    static const char *const units[] = { "J", "kJ", "MJ", "GJ" };
    double d = joules;
    size_t unit = 0;

    out[0] = 0;
    if (!isfinite(d))
        return;
    for (; fabs(d) >= 999.5 && unit < 3; unit++)
        d /= 1000;
    snprintf(out, 24, "%s%.*f %s", estimate ? "~" : "",
             fabs(d) < 9.995   ? 2
             : fabs(d) < 99.95 ? 1
                               : 0,
             d, units[unit]);
}

/* As exact as what is said of it: seconds, or minutes where it may be off by more. */
static void rough_time(char out[24], double s, double spread_s)
{
    if (s < 59.5)
        snprintf(out, 24, "%.0fs", s);
    else if (spread_s >= 60 && s < 3599.5)
        snprintf(out, 24, "%.0fm", s / 60);
    else
        text_elapsed(out, s);
}

static double run_elapsed_s(const struct progress *p)
{
    return p->study->run ? (double)(p->now_ns() - p->study->run_begin_ns) / 1e9 : 0;
}

/* "4/12 done, 1 failed · 2m 10s · 6m ± 1m left · 1.23 kJ so far" */
static void whole_text(const struct progress *p, char *out, size_t size, const char *gap)
{
    const struct study_progress *s = p->study;
    double left_s, spread_s;
    char a[24], b[24];
    size_t len;

    len = (size_t)snprintf(out, size, "%d/%d done", s->done, s->n_runs);
    if (s->failed)
        len += (size_t)snprintf(out + len, size - len, ", %d failed", s->failed);
    text_elapsed(a, (double)(p->now_ns() - s->begin_ns) / 1e9);
    len += (size_t)snprintf(out + len, size - len, "%s%s", gap, a);
    if (s->done < s->n_runs && !s->no_left &&
        left_estimate(&s->left, s->run ? info_of(s, s->run).experiment : 0, run_elapsed_s(p),
                      &left_s, &spread_s)) {
        rough_time(a, left_s, spread_s);
        rough_time(b, fmax(spread_s, 1), spread_s);
        len += (size_t)snprintf(out + len, size - len, "%s%s %s %s left", gap, a,
                                p->term.glyphs->plus_minus, b);
    }
    if (!s->known)
        return;
    energy_text(a, s->energy_j, false);
    energy_text(b, s->estimated_j, true);
    if (s->estimated_j > 0 && s->energy_j > 0)
        snprintf(out + len, size - len, "%s%s and %s estimated so far", gap, a, b);
    else
        snprintf(out + len, size - len,
                 s->estimated_j > 0 ? "%s%s estimated so far" : "%s%s so far", gap,
                 s->estimated_j > 0 ? b : a);
}

static const char *state_text(char state)
{
    return state == 'f'   ? "failed"
           : state == 't' ? "timed out"
           : state == 'i' ? "interrupted"
           : state == 's' ? "skipped"
                          : "";
}

/* ---- the region --------------------------------------------------------------------------- */

static size_t line_columns(const struct progress *p)
{
    size_t columns = term_columns(&p->term);

    return (columns < COLUMNS_MOST ? columns : COLUMNS_MOST) - 1;
}

/* "  ✓ [ 3/12] batch_size=4 c1                   45.2 J  120 tok/s     1m 02s" */
static void line(struct progress *p, const char *mark, const char *mark_color, const char *text,
                 const char *right, bool dim)
{
    const struct palette *c = &p->term.color;
    size_t columns = line_columns(p), used = 5 + text_columns(right), room;
    char clipped[4 * COLUMNS_MOST];

    room = columns > used ? columns - used : 0;
    text_clip(p->term.glyphs, clipped, sizeof(clipped), text, room);
    /* Spaces at its end would count where the terminal gets narrower. */
    fprintf(p->study->frame, "  %s%s%s %s%s%*s%s%s\n", mark_color, mark,
            *mark_color ? c->reset : "", dim ? c->dim : "", clipped,
            *right ? (int)(room - text_columns(clipped)) + 1 : 0, "", right, dim ? c->reset : "");
}

static void row_line(struct progress *p, const struct row *row)
{
    const struct glyphs *g = p->term.glyphs;
    const struct palette *c = &p->term.color;
    char text[256], right[80], energy[24], elapsed[24], speed[32] = "";
    size_t columns = line_columns(p);

    run_text(p->study, text, sizeof(text), row->run);
    energy_text(energy, row->energy_j, row->estimate);
    text_elapsed(elapsed, row->elapsed_s);
    if (row->state != 'c') {
        snprintf(right, sizeof(right), "%s %8s", state_text(row->state),
                 isfinite(row->elapsed_s) ? elapsed : "");
    } else {
        progress_add_reading(speed, sizeof(speed), "", row->tokens_per_s, "tok/s");
        if (columns >= 70)
            snprintf(right, sizeof(right), "%9s  %11s  %8s", energy, speed, elapsed);
        else
            snprintf(right, sizeof(right), columns >= 50 ? "%9s %8s" : "%s %s", energy, elapsed);
    }
    line(p,
         row->state == 'c'                        ? g->tick
         : row->state == 's' || row->state == 'i' ? g->skip
                                                  : g->cross,
         row->state == 'c'                        ? c->green
         : row->state == 's' || row->state == 'i' ? c->dim
                                                  : c->red,
         text, right, false);
}

/* How long a pause lasts still, in whole seconds. */
static void pause_text(const struct progress *p, char *out, size_t size)
{
    char left[24];
    double over_s = (double)(p->now_ns() - p->step_begin_ns) / 1e9;

    out[0] = 0;
    if (!isfinite(p->study->pause_s))
        return;
    rough_time(left, fmax(ceil(p->study->pause_s - over_s), 0), 0);
    snprintf(out, size, "%s left", left);
}

/* Below the run: its steps that are over, and the one that runs. */
static void step_lines(struct progress *p)
{
    struct study_progress *s = p->study;
    size_t columns = line_columns(p);
    char text[512], right[24] = "", both[600];
    const char *trail = s->trail, *cut;

    /* The latest steps count most. */
    while (text_columns(trail) + 6 > columns && (cut = strstr(trail, ", ")))
        trail = cut + 2;
    snprintf(both, sizeof(both), "  %s", trail);
    if (*trail)
        line(p, " ", "", both, "", true);
    if (*p->step) {
        if (s->pause_s != 0) {
            pause_text(p, text, sizeof(text));
        } else {
            text_elapsed(right, (double)(p->now_ns() - p->step_begin_ns) / 1e9);
            progress_step_text(p, text, sizeof(text), columns > 34 ? columns - 34 : 0);
        }
        snprintf(both, sizeof(both), "  %-13s %s", progress_step_name(p->step), text);
        line(p, " ", "", both, right, false);
    }
    /* As high without as with them, so that what stands below keeps its place. */
    for (int i = (*trail != 0) + (*p->step != 0); i < STEP_ROWS; i++)
        fputc('\n', s->frame);
}

/* The line about the whole, broken between its parts where it is too long. Returns how many lines
 * it takes; f NULL: only that. */
static int whole_lines(const struct progress *p, FILE *f)
{
    const struct palette *c = &p->term.color;
    size_t columns = line_columns(p) - 2, used = 0;
    char whole[256], clipped[4 * COLUMNS_MOST], *part, *rest = whole;
    int n = 1;

    whole_text(p, whole, sizeof(whole), "\n");
    while ((part = strsep(&rest, "\n"))) {
        size_t wide = text_columns(part);

        if (used && used + 3 + wide > columns) {
            n++;
            used = 0;
            if (f)
                fputc('\n', f);
        }
        text_clip(p->term.glyphs, clipped, sizeof(clipped), part, columns);
        if (f && used)
            fprintf(f, " %s ", p->term.glyphs->dot);
        if (f)
            fprintf(f, "%s%s%s%s", used ? "" : "  ", c->bold, clipped, c->reset);
        used += (used ? 3 : 0) + wide;
    }
    if (f)
        fputc('\n', f);
    return n;
}

static void compose(struct progress *p)
{
    struct study_progress *s = p->study;
    const struct palette *c = &p->term.color;
    int height = (int)term_rows(&p->term) - 1, whole = whole_lines(p, NULL),
        fixed = whole + (s->run || *p->step ? 1 + STEP_ROWS : 0);
    int kept = s->n_rows < ROWS_KEPT ? s->n_rows : ROWS_KEPT, coming = 0, rows, left;
    char text[256], elapsed[24];

    rewind(s->frame);
    if (height >= QUEUE_HEIGHT)
        coming = s->n_coming;
    left = s->n_coming ? s->n_runs - s->done - (s->run != 0) - coming : 0;
    rows = s->table_rows                         ? s->table_rows
           : height + 1 - ROWS_ELSE > ROWS_LEAST ? height + 1 - ROWS_ELSE
                                                 : ROWS_LEAST;
    if (rows > height - fixed - coming - 2) /* and the counts of the hidden ones */
        rows = height - fixed - coming - 2;
    if (rows > kept)
        rows = kept;
    if (rows > 0 && s->n_rows > rows) {
        snprintf(text, sizeof(text), "%s %d more before these", p->term.glyphs->ellipsis,
                 s->n_rows - rows);
        line(p, " ", "", text, "", true);
    }
    for (int i = rows > 0 ? s->n_rows - rows : s->n_rows; i < s->n_rows; i++)
        row_line(p, &s->rows[i % ROWS_KEPT]);
    if (fixed > whole && height >= fixed) {
        int run = s->run ? s->run : s->n_coming ? s->coming[0] : 0;

        elapsed[0] = 0;
        if (s->run)
            text_elapsed(elapsed, run_elapsed_s(p));
        if (run)
            run_text(s, text, sizeof(text), run);
        else
            snprintf(text, sizeof(text), "%s", progress_step_name(p->step));
        line(p, progress_spinner(p), c->yellow, text, elapsed, false);
        step_lines(p);
    }
    /* The one that the pause is before stands above already. */
    for (int i = s->run || !*p->step ? 0 : 1; i < coming; i++) {
        run_text(s, text, sizeof(text), s->coming[i]);
        line(p, " ", "", text, "", true);
    }
    if (coming && left > 0) {
        snprintf(text, sizeof(text), "%s %d more after these", p->term.glyphs->ellipsis, left);
        line(p, " ", "", text, "", true);
    }
    whole_lines(p, s->frame);
    fputc(0, s->frame);
    fflush(s->frame);
}

/* Columns of a line on the screen: escapes take none. */
static size_t shown_columns(const char *text, size_t len)
{
    char plain[PROGRESS_FRAME / 16];
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < sizeof(plain); i++) {
        if (text[i] == '\033')
            while (i + 1 < len && text[i] != 'm')
                i++;
        else
            plain[n++] = text[i];
    }
    plain[n] = 0;
    return text_columns(plain);
}

/* Rows that the lines of a text take. */
static size_t rows_of(const char *text, size_t columns)
{
    size_t rows = 0;

    while (*text) {
        size_t len = strcspn(text, "\n"), wide = shown_columns(text, len);

        rows += wide > columns ? (wide + columns - 1) / columns : 1;
        text += len + (text[len] != 0);
    }
    return rows;
}

/* Lines with the ends of those erased that they are drawn over; what stands below goes too. */
static void put_lines(FILE *f, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        bool last = !text[len] || !text[len + 1];

        fwrite(text, 1, len, f);
        fputs(last ? "\033[J\n" : "\033[K\n", f);
        text += len + (text[len] != 0);
    }
}

/* Redraw what has changed of the region, below a text that stays (NULL: none). In one write. */
static void draw(struct progress *p, const char *above)
{
    struct study_progress *s = p->study;
    size_t columns = term_columns(&p->term), same = 0, rows, size = 0, len;
    char *out = NULL;
    FILE *f;

    compose(p);
    len = s->len - 1;
    if (len >= sizeof(s->shown))
        return;
    if (!above && columns == s->shown_columns) {
        for (size_t i = 0; s->shown[i] && s->shown[i] == s->text[i]; i++)
            if (s->text[i] == '\n')
                same = i + 1;
    }
    p->drawn_ns = p->now_ns();
    if (!above && same == len && !s->shown[same])
        return;
    /* At least the last line is drawn: it erases what stands below. */
    while (same > 0 && (same == len || s->text[same - 1] != '\n'))
        same--;
    f = open_memstream(&out, &size);
    if (!f)
        return;
    rows = rows_of(s->shown + same, columns);
    fputc('\r', f);
    if (rows)
        fprintf(f, "\033[%zuA", rows);
    if (above)
        put_lines(f, above);
    put_lines(f, s->text + same);
    fclose(f);
    fwrite(out, 1, size, p->f);
    fflush(p->f);
    free(out);
    memcpy(s->shown, s->text, len + 1);
    s->shown_columns = columns;
}

/* ---- what stays --------------------------------------------------------------------------- */

void study_say(struct progress *p, const char *mark, const char *mark_color, const char *text)
{
    size_t size = 0;
    char *out = NULL;
    FILE *f = open_memstream(&out, &size);

    if (!f)
        return;
    fprintf(f, "  %s%s%s ", mark_color, mark, *mark_color ? p->term.color.reset : "");
    if (p->live)
        text_wrap(f, text, 4, term_columns(&p->term) - 1);
    else {
        text_print(f, text);
        fputc('\n', f);
    }
    fclose(f);
    if (p->live) {
        draw(p, out);
    } else {
        fwrite(out, 1, size, p->f);
        fflush(p->f);
    }
    free(out);
}

static void say_failure(struct progress *p, const llem_event *e)
{
    const struct palette *c = &p->term.color;
    size_t size = strlen(e->text) + 400;
    char *text = malloc(size), label[256];

    if (!text)
        return;
    run_text(p->study, label, sizeof(label), e->run);
    snprintf(text, size, "%s: %s%s%s", label, state_text(e->reason[0]), *e->text ? ": " : "",
             e->text);
    study_say(p, p->term.glyphs->cross, c->red, text);
    free(text);
}

/* "  [ 3/12] batch_size=4 c1: 45.2 J, 120 tok/s (1m 02s)" */
static void say_plainly(struct progress *p, const llem_event *e)
{
    char text[512], energy[24], elapsed[24];
    size_t len;

    run_text(p->study, text, sizeof(text), e->run);
    len = strlen(text);
    energy_text(energy, isfinite(e->energy_j) ? e->energy_j : e->energy_estimated_j,
                !isfinite(e->energy_j));
    text_elapsed(elapsed, e->elapsed_s);
    if (e->reason[0] == 'c') {
        char readings[64];

        snprintf(readings, sizeof(readings), "%s", energy);
        progress_add_reading(readings, sizeof(readings), ", ", e->tokens_per_s, "tok/s");
        snprintf(text + len, sizeof(text) - len, ": %s", *readings ? readings : "done");
    } else {
        snprintf(text + len, sizeof(text) - len, ": %s", state_text(e->reason[0]));
    }
    fputs("  ", p->f);
    text_print(p->f, text);
    if (isfinite(e->elapsed_s))
        fprintf(p->f, " (%s)", elapsed);
    if (*e->text) {
        fputs(": ", p->f);
        text_print(p->f, e->text);
    }
    fputc('\n', p->f);
    fflush(p->f);
}

/* Each run finds the same machine: what it warns of is told once. */
static bool is_new(struct study_progress *s, const char *text)
{
    uint32_t hash = 2166136261U;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619U;
    for (unsigned i = 0; i < s->n_warned && i < WARNINGS; i++)
        if (s->warned[i] == hash)
            return false;
    s->warned[s->n_warned++ % WARNINGS] = hash;
    return true;
}

/* ---- events ------------------------------------------------------------------------------- */

static void step_over(struct progress *p, const llem_event *e)
{
    struct study_progress *s = p->study;
    size_t len = strlen(s->trail);
    char right[24] = "";

    if (e->type == LLEM_EVENT_STEP_DONE && isfinite(e->elapsed_s)) {
        text_elapsed(right, e->elapsed_s);
        snprintf(s->trail + len, sizeof(s->trail) - len, "%s%s %s", len ? ", " : "",
                 progress_step_name(e->step), right);
    }
    if (p->verbose && !p->live)
        progress_plain_line(p, progress_step_name(e->step),
                            *e->text                          ? e->text
                            : e->type == LLEM_EVENT_STEP_SKIP ? "skipped"
                                                              : "done",
                            right);
}

static void pause_goes_on(struct progress *p, const llem_event *e)
{
    struct study_progress *s = p->study;
    bool gap = strcmp(e->step, "gap") == 0;

    if (s->pause_s == 0) {
        char length[24], text[96];
        llem_event begin = *e;

        begin.type = LLEM_EVENT_STEP_START;
        progress_note(p, &begin);
        s->trail[0] = 0;
        s->pause_s = gap ? info_of(s, e->run).pause_s : NAN;
        text_elapsed(length, s->pause_s);
        if (isfinite(s->pause_s))
            snprintf(text, sizeof(text), "%s before run %d", length, e->run);
        else
            snprintf(text, sizeof(text), "too many runs in a row failed, up to %d", e->run);
        if (!p->live)
            progress_plain_line(p, progress_step_name(e->step), text, "");
    }
    if (!isfinite(s->pause_s) && e->fraction > 0)
        s->pause_s = e->elapsed_s / e->fraction;
}

void study_event(struct progress *p, const llem_event *e)
{
    struct study_progress *s = p->study;

    if (s->pause_s != 0 && e->type != LLEM_EVENT_NONE && e->type != LLEM_EVENT_PAUSE) {
        s->pause_s = 0;
        p->step[0] = 0;
    }
    progress_note(p, e);
    switch (e->type) {
    case LLEM_EVENT_STARTED:
        s->run = e->run;
        s->run_begin_ns = p->now_ns();
        s->trail[0] = p->step[0] = 0;
        s->heartbeat_ns = s->run_begin_ns - (int64_t)(HEARTBEAT_S - HEARTBEAT_FIRST_S) * 1000000000;
        left_paused(&s->left, info_of(s, e->run).pause_s);
        look_ahead(s, e->run + 1);
        break;
    case LLEM_EVENT_ENDED:
        s->run = 0;
        s->trail[0] = p->step[0] = 0;
        take(s, e->run, e->reason, e->elapsed_s, e->energy_j, e->energy_estimated_j,
             e->tokens_per_s);
        look_ahead(s, e->run + 1);
        if (!p->live)
            say_plainly(p, e);
        else if (e->reason[0] != 'c')
            say_failure(p, e);
        break;
    case LLEM_EVENT_PAUSE:
        pause_goes_on(p, e);
        break;
    case LLEM_EVENT_STEP_DONE:
    case LLEM_EVENT_STEP_SKIP:
        step_over(p, e);
        break;
    case LLEM_EVENT_WARNING:
        if (is_new(s, e->text))
            study_say(p, p->term.glyphs->warn, p->term.color.yellow, e->text);
        break;
    default:
        break;
    }
}

void study_tick(struct progress *p)
{
    struct study_progress *s = p->study;
    int64_t now = p->now_ns();
    char text[512], whole[256], right[24];

    if (p->live) {
        if (now - p->drawn_ns >= (int64_t)PROGRESS_TICK_MS * 1000000)
            draw(p, NULL);
        return;
    }
    if (now - s->heartbeat_ns < (int64_t)HEARTBEAT_S * 1000000000)
        return;
    s->heartbeat_ns = now;
    whole_text(p, whole, sizeof(whole), ", ");
    text_elapsed(right, run_elapsed_s(p));
    if (s->run) {
        char reading[64] = "";

        progress_add_reading(reading, sizeof(reading), ", ", p->power_w, "W");
        progress_add_reading(reading, sizeof(reading), ", ", p->tokens_per_s, "tok/s");
        run_text(s, text, sizeof(text), s->run);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), ": %s%s%s (%s); %s",
                 *p->step ? progress_step_name(p->step) : "...", *reading ? " " : "", reading,
                 right, whole);
    } else {
        snprintf(text, sizeof(text), "%s; %s", *p->step ? progress_step_name(p->step) : "...",
                 whole);
    }
    fputs("  ", p->f);
    text_print(p->f, text);
    fputc('\n', p->f);
    fflush(p->f);
}

void study_close(struct progress *p)
{
    struct study_progress *s = p->study;

    s->run = s->n_coming = 0;
    s->pause_s = 0;
    s->no_left = true;
    p->step[0] = 0;
    if (p->live) {
        s->n_rows = 0;
        draw(p, NULL);
    } else {
        char whole[256];

        whole_text(p, whole, sizeof(whole), ", ");
        fprintf(p->f, "  %s\n", whole);
        fflush(p->f);
    }
    left_done(&s->left);
    fclose(s->frame);
    free(s->text);
    free(s);
    p->study = NULL;
}
