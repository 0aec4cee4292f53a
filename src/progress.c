/* SPDX-License-Identifier: MIT
 *
 * Finished steps are printed once and scroll away like any output; only one line, the running step,
 * is redrawn, cut to the width that the terminal has at that moment. So nothing can be garbled by a
 * resize, and a copy of the terminal reads well.
 */
#include "src/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NAME_COLUMNS = 13, RIGHT_COLUMNS = 8 };

/* How steps are called. Others are shown by their own names. */
static const struct {
    const char *id, *name;
} step_names[] = {
    { "preflight", "Checks" },
    { "environment", "Machine" },
    { "baseline", "Idle power" },
    { "prompts", "Prompts" },
    { "model", "Model" },
    { "warmup", "Warm-up" },
    { "thermal_floor", "Settling" },
    { "energy_select", "Sensors" },
    { "measure", "Measuring" },
    { "fetch", "Fetching" },
    { "observed_params", "Settings" },
    { "flops", "FLOPs" },
    { "save", "Result" },
    { "gap", "Pause" },
    { "cooldown", "Cooling down" },
};

const char *progress_step_name(const char *id)
{
    for (size_t i = 0; i < sizeof(step_names) / sizeof(step_names[0]); i++)
        if (strcmp(step_names[i].id, id) == 0)
            return step_names[i].name;
    return *id ? id : "Step";
}

static int64_t monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void progress_init(struct progress *p, const char *name, FILE *f, const struct term *t)
{
    static const char *const names[] = { "auto", "plain", "json", "none" };

    memset(p, 0, sizeof(*p));
    p->f = f;
    p->term = *t;
    p->now_ns = monotonic_ns;
    p->power_w = p->tokens_per_s = p->temperature_c = p->live_s = NAN;
    p->fraction = -1;
    for (unsigned i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            p->mode = (enum progress_mode)i;
    if (p->mode == PROGRESS_AUTO) {
        p->mode = PROGRESS_PLAIN;
        p->live = t->tty;
    }
}

/* ---- JSON lines --------------------------------------------------------------------------- */

static void json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(f, "\\u%04x", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

static void json_text(FILE *f, const char *key, const char *s)
{
    if (!s || !*s)
        return;
    fprintf(f, ", \"%s\": ", key);
    json_string(f, s);
}

static void json_number(FILE *f, const char *key, double d)
{
    if (isfinite(d))
        fprintf(f, ", \"%s\": %.6g", key, d);
}

/* docs/formats.md, "Progress": the vocabulary of the events. */
static void json_event(struct progress *p, const llem_event *e)
{
    static const char *const names[] = {
        [LLEM_EVENT_STARTED] = "started",
        [LLEM_EVENT_STEP_START] = "step_start",
        [LLEM_EVENT_STEP_UPDATE] = "step_update",
        [LLEM_EVENT_STEP_DONE] = "step_done",
        [LLEM_EVENT_STEP_SKIP] = "step_skip",
        [LLEM_EVENT_SUBSTEP] = "substep",
        [LLEM_EVENT_LIVE] = "live",
        [LLEM_EVENT_WARNING] = "warning",
        [LLEM_EVENT_ENDED] = "ended",
        [LLEM_EVENT_PAUSE] = "pause",
    };
    bool timed = e->type == LLEM_EVENT_STEP_DONE || e->type == LLEM_EVENT_SUBSTEP ||
                 e->type == LLEM_EVENT_LIVE || e->type == LLEM_EVENT_ENDED ||
                 e->type == LLEM_EVENT_PAUSE;
    const char *text_key = "detail";

    if ((size_t)e->type >= sizeof(names) / sizeof(*names) || !names[e->type])
        return;
    fprintf(p->f, "{\"event\": \"%s\"", names[e->type]);
    /* Readings travel without their step, as they must not allocate; they are of one only. */
    json_text(p->f, "step", e->type == LLEM_EVENT_LIVE ? "measure" : e->step);
    if (e->type == LLEM_EVENT_STEP_START)
        json_text(p->f, "description", progress_step_name(e->step));
    if (e->type == LLEM_EVENT_STARTED)
        text_key = "directory";
    else if (e->type == LLEM_EVENT_SUBSTEP || e->type == LLEM_EVENT_WARNING ||
             e->type == LLEM_EVENT_STEP_SKIP)
        text_key = "text";
    else if (e->type == LLEM_EVENT_ENDED)
        text_key = "message";
    if (e->run)
        fprintf(p->f, ", \"run\": %d, \"n_runs\": %d", e->run, e->n_runs);
    json_text(p->f, e->type == LLEM_EVENT_ENDED ? "state" : "reason", e->reason);
    json_text(p->f, text_key, e->text);
    if (timed)
        json_number(p->f, "elapsed_sec", e->elapsed_s);
    if ((e->type == LLEM_EVENT_STEP_UPDATE || e->type == LLEM_EVENT_PAUSE) && e->fraction >= 0)
        json_number(p->f, "fraction", e->fraction);
    if (e->type == LLEM_EVENT_ENDED) {
        json_number(p->f, "energy_j", e->energy_j);
        json_number(p->f, "energy_estimated_j", e->energy_estimated_j);
        json_number(p->f, "tokens_per_s", e->tokens_per_s);
    }
    if (e->type == LLEM_EVENT_LIVE) {
        json_number(p->f, "power_w", e->power_w);
        json_number(p->f, "tokens_per_s", e->tokens_per_s);
        json_number(p->f, "temperature_c", e->temperature_c);
    }
    fputs("}\n", p->f);
    fflush(p->f);
}

void progress_outcome(struct progress *p, const char *dir, const char *code, const char *message)
{
    if (p->mode != PROGRESS_JSON)
        return;
    fprintf(p->f, "{\"event\": \"%s\"", code ? "failed" : "completed");
    json_text(p->f, "directory", dir);
    json_text(p->f, "error", code);
    json_text(p->f, "message", message);
    fputs("}\n", p->f);
    fflush(p->f);
}

/* ---- lines -------------------------------------------------------------------------------- */

static void erase(struct progress *p)
{
    if (p->line_open)
        fputs("\r\033[K", p->f);
    p->line_open = false;
}

/* "  ✓ Warm-up       5 prompts, CV 0.8 %                     3.1s" */
void progress_step_line(struct progress *p, const char *mark, const char *mark_color,
                        const char *name, const char *text, const char *right, bool dim,
                        bool newline)
{
    const struct palette *c = &p->term.color;
    size_t columns = term_columns(&p->term), room;
    char clipped[512], label[96];
    size_t used, wanted;

    if (columns > 100)
        columns = 100;
    text_clip(p->term.glyphs, label, sizeof(label), name, NAME_COLUMNS - 1);
    used = 4 + NAME_COLUMNS;
    wanted = text_columns(right) > RIGHT_COLUMNS ? text_columns(right) : RIGHT_COLUMNS;
    room = columns > used + wanted + 3 ? columns - used - wanted - 3 : 8;
    text_clip(p->term.glyphs, clipped, sizeof(clipped), text, room);
    fprintf(p->f, "  %s%s%s %s%s%*s%s%*s  %*s%s%s%s", mark_color, mark, *mark_color ? c->reset : "",
            dim ? c->dim : "", label, (int)(NAME_COLUMNS - text_columns(label)), "", clipped,
            (int)(room - text_columns(clipped)), "", (int)(wanted - text_columns(right)), "", right,
            dim ? c->reset : "", newline ? "\n" : "");
}

void progress_add_reading(char *out, size_t size, const char *gap, double value, const char *unit)
{
    size_t len = strlen(out);

    if (isfinite(value) && len < size)
        snprintf(out + len, size - len, "%s%.*f %s", len ? gap : "", value < 99.95 ? 1 : 0, value,
                 unit);
}

/* The last powers as a little curve, scaled from their least to their greatest. */
static void add_curve(const struct progress *p, char *out, size_t size, size_t room)
{
    unsigned n = p->n_powers < PROGRESS_POWERS ? p->n_powers : PROGRESS_POWERS;
    double low = INFINITY, high = 0;
    size_t len = strlen(out);

    if (!p->term.glyphs->bars || n < 4 || room < n + 2 || size < len + 3 * n + 3)
        return;
    for (unsigned i = 0; i < n; i++) {
        low = fmin(low, p->powers[i]);
        high = fmax(high, p->powers[i]);
    }
    len += (size_t)snprintf(out + len, size - len, "  ");
    for (unsigned i = 0; i < n; i++) {
        double d = p->powers[(p->n_powers - n + i) % PROGRESS_POWERS];
        double span = fmax(high - low, 0.05 * high); /* noise is no mountain */
        int bar = span > 0 ? (int)(7.0 * (d - low) / span + 0.5) : 0;

        len += (size_t)snprintf(out + len, size - len, "%s",
                                p->term.glyphs->bars[bar < 0   ? 0
                                                     : bar > 7 ? 7
                                                               : bar]);
    }
}

void progress_step_text(const struct progress *p, char *out, size_t size, size_t columns)
{
    out[0] = 0;
    if (isfinite(p->power_w) || isfinite(p->tokens_per_s)) {
        progress_add_reading(out, size, "  ", p->power_w, "W");
        progress_add_reading(out, size, "  ", p->tokens_per_s, "tok/s");
        if (text_columns(out) < columns)
            add_curve(p, out, size, columns - text_columns(out));
    } else if (p->fraction >= 0 && p->fraction <= 1) {
        snprintf(out, size, "%3.0f %%  %s", 100 * p->fraction, p->text);
    } else {
        snprintf(out, size, "%s", p->text);
    }
}

const char *progress_spinner(struct progress *p)
{
    unsigned count = 0;

    while (p->term.glyphs->spinner[count])
        count++;
    return p->term.glyphs->spinner[p->spin++ % count];
}

static void draw(struct progress *p)
{
    int64_t now = p->now_ns();
    char right[24], text[512];
    size_t columns = term_columns(&p->term);

    if (!*p->step)
        return;
    text_elapsed(right, (double)(now - p->step_begin_ns) / 1e9);
    if (columns > 100)
        columns = 100;
    progress_step_text(p, text, sizeof(text), columns > 30 ? columns - 30 : 8);
    progress_step_line(p, progress_spinner(p), p->term.color.yellow, progress_step_name(p->step),
                       text, right, false, false);
    /* Back to its begin: the ^C that a terminal echoes must not run over into a line of its own, of
     * which the line before would then be left. */
    fputs("\033[K\r", p->f);
    fflush(p->f);
    p->line_open = true;
    p->drawn_ns = now;
}

void progress_plain_line(struct progress *p, const char *name, const char *text, const char *right)
{
    fprintf(p->f, "  %-*s ", NAME_COLUMNS, name);
    text_print(p->f, text);
    if (*right)
        fprintf(p->f, "%s(%s)", *text ? " " : "", right);
    fputc('\n', p->f);
    fflush(p->f);
}

void progress_note(struct progress *p, const llem_event *e)
{
    switch (e->type) {
    case LLEM_EVENT_STEP_START:
        snprintf(p->step, sizeof(p->step), "%s", e->step);
        snprintf(p->text, sizeof(p->text), "%s",
                 strcmp(e->text, progress_step_name(e->step)) == 0 ? "" : e->text);
        p->step_begin_ns = p->heartbeat_ns = p->now_ns();
        p->fraction = -1;
        p->power_w = p->tokens_per_s = p->temperature_c = p->live_s = NAN;
        p->n_powers = 0;
        p->announced = false;
        break;
    case LLEM_EVENT_STEP_UPDATE:
        snprintf(p->text, sizeof(p->text), "%s", e->text);
        p->fraction = e->fraction;
        break;
    case LLEM_EVENT_SUBSTEP:
        if (!p->verbose)
            snprintf(p->text, sizeof(p->text), "%s", e->text);
        break;
    case LLEM_EVENT_LIVE:
        p->power_w = e->power_w;
        p->tokens_per_s = e->tokens_per_s;
        p->temperature_c = e->temperature_c;
        p->live_s = e->elapsed_s;
        if (isfinite(e->power_w) && e->power_w >= 0)
            p->powers[p->n_powers++ % PROGRESS_POWERS] = e->power_w;
        break;
    case LLEM_EVENT_STEP_DONE:
    case LLEM_EVENT_STEP_SKIP:
        p->step[0] = 0;
        break;
    default:
        break;
    }
}

static void end_step(struct progress *p, const llem_event *e)
{
    const struct glyphs *g = p->term.glyphs;
    const struct palette *c = &p->term.color;
    bool skipped = e->type == LLEM_EVENT_STEP_SKIP;
    const char *name = progress_step_name(e->step);
    char right[24] = "";

    if (!skipped && isfinite(e->elapsed_s))
        text_elapsed(right, e->elapsed_s);
    erase(p);
    if (p->live) {
        progress_step_line(p, skipped ? g->skip : g->tick, skipped ? c->dim : c->green, name,
                           e->text, skipped ? "skipped" : right, skipped, true);
        fflush(p->f);
    } else if (skipped) {
        char text[1100];

        snprintf(text, sizeof(text), "skipped: %s", *e->text ? e->text : e->reason);
        progress_plain_line(p, name, text, "");
    } else {
        progress_plain_line(p, name, *e->text ? e->text : "done", right);
    }
}

static void warning(struct progress *p, const char *text)
{
    erase(p);
    fprintf(p->f, "  %s%s %s", p->term.color.yellow, p->term.glyphs->warn, p->term.color.reset);
    text_print(p->f, text);
    fputc('\n', p->f);
    fflush(p->f);
}

void progress_title(struct progress *p, const char *text)
{
    if (p->mode != PROGRESS_PLAIN)
        return;
    fputs(p->term.color.bold, p->f);
    text_print(p->f, text);
    fprintf(p->f, "%s\n", p->term.color.reset);
    fflush(p->f);
}

void progress_event(struct progress *p, const llem_event *e)
{
    if (p->mode == PROGRESS_NONE)
        return;
    if (p->mode == PROGRESS_JSON) {
        json_event(p, e);
        return;
    }
    if (p->study) {
        study_event(p, e);
        return;
    }
    progress_note(p, e);
    switch (e->type) {
    case LLEM_EVENT_STEP_START:
        if (p->live)
            draw(p);
        break;
    case LLEM_EVENT_STEP_UPDATE:
        if (!p->live && p->verbose)
            progress_plain_line(p, progress_step_name(e->step), e->text, "");
        break;
    case LLEM_EVENT_STEP_DONE:
    case LLEM_EVENT_STEP_SKIP:
        end_step(p, e);
        break;
    case LLEM_EVENT_SUBSTEP:
        if (p->verbose) {
            char right[24] = "";

            if (e->elapsed_s > 0)
                text_elapsed(right, e->elapsed_s);
            erase(p);
            if (p->live)
                progress_step_line(p, " ", "", "", e->text, right, true, true);
            else
                progress_plain_line(p, progress_step_name(e->step), e->text, right);
        }
        break;
    case LLEM_EVENT_WARNING:
        warning(p, e->text);
        break;
    case LLEM_EVENT_LIVE:
    case LLEM_EVENT_NONE:
    case LLEM_EVENT_STARTED:
    case LLEM_EVENT_ENDED:
    case LLEM_EVENT_PAUSE:
    case LLEM_EVENT_FINISHED:
        break;
    }
}

void progress_stopping(struct progress *p)
{
    if (p->mode != PROGRESS_PLAIN)
        return;
    if (p->study)
        study_say(p, p->term.glyphs->warn, p->term.color.yellow,
                  "Stopping when the running experiment has cleaned up. A second signal ends it at "
                  "once.");
    else
        warning(p, "Stopping. A second signal ends it at once.");
}

void progress_tick(struct progress *p)
{
    int64_t now;
    char text[sizeof(p->text) + 8], right[24];

    if (p->mode == PROGRESS_PLAIN && p->study)
        study_tick(p);
    if (p->mode != PROGRESS_PLAIN || p->study || !*p->step)
        return;
    now = p->now_ns();
    if (p->live) {
        if (now - p->drawn_ns >= (int64_t)PROGRESS_TICK_MS * 1000000 || !p->line_open)
            draw(p);
        return;
    }
    if (!p->announced && now - p->step_begin_ns >= (int64_t)PROGRESS_ANNOUNCE_S * 1000000000) {
        p->announced = true;
        snprintf(text, sizeof(text), "%s ...", p->text);
        progress_plain_line(p, progress_step_name(p->step), *p->text ? text : "...", "");
    }
    if (now - p->heartbeat_ns < (int64_t)PROGRESS_HEARTBEAT_S * 1000000000)
        return;
    p->heartbeat_ns = now;
    text[0] = 0;
    progress_add_reading(text, sizeof(text), ", ", p->power_w, "W");
    progress_add_reading(text, sizeof(text), ", ", p->tokens_per_s, "tok/s");
    text_elapsed(right, (double)(now - p->step_begin_ns) / 1e9);
    progress_plain_line(p, progress_step_name(p->step),
                        *text      ? text
                        : *p->text ? p->text
                                   : "...",
                        right);
}

void progress_close(struct progress *p)
{
    if (p->study)
        study_close(p);
    if (p->live && *p->step) {
        char right[24];

        text_elapsed(right, (double)(p->now_ns() - p->step_begin_ns) / 1e9);
        erase(p);
        progress_step_line(p, p->term.glyphs->cross, p->term.color.red, progress_step_name(p->step),
                           p->text, right, false, true);
    }
    erase(p);
    p->step[0] = 0;
    fflush(p->f);
}
