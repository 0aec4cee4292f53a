/* SPDX-License-Identifier: MIT
 *
 * The loop over a study's runs: order, pauses, the breaker, the time of the whole.
 */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/study/study.h"

enum { PAUSE_MS = 1000 };

enum llem_verdict llem_breaker_take(struct llem_breaker *b, bool failed)
{
    if (!failed) {
        b->failures = 0;
        b->trying = false;
        return LLEM_GO_ON;
    }
    if (b->trying)
        return LLEM_GIVE_UP;
    b->failures++;
    if (b->allowed == 0 || b->failures < b->allowed)
        return LLEM_GO_ON;
    if (b->allowed == 1)
        return LLEM_GIVE_UP;
    b->trying = true;
    return LLEM_COOL_DOWN;
}

/* While it goes on. */
struct loop {
    struct llem_study *s;
    struct llem_runner *runner;
    struct llem_breaker breaker;
    double cooldown_s;
    int64_t deadline_ns; /* monotonic; 0 = none */
    size_t before;       /* the run that ran last; n_runs = none yet */
    struct llem_outcome *last;
    llem_result **result;
    bool unwritable; /* nothing more can be recorded */
    bool told;       /* of a manifest that cannot be written */
};

static int64_t now_ns(void)
{
    return llem_now_ns(&llem_system_clock);
}

static bool is_cancelled(const struct loop *l)
{
    return atomic_load(l->runner->cancels) > 0;
}

static bool is_late(const struct loop *l)
{
    return l->deadline_ns && now_ns() >= l->deadline_ns;
}

static void say(struct loop *l, llem_event e)
{
    e.step = e.step ? e.step : "";
    e.text = e.text ? e.text : "";
    e.reason = e.reason ? e.reason : "";
    e.run = l->runner->run;
    e.n_runs = l->runner->n_runs;
    llem_event_queue_push(l->runner->events, &e);
}

static void warn(struct loop *l, const llem_error *err)
{
    say(l, (llem_event){ .type = LLEM_EVENT_WARNING,
                         .reason = llem_errcode_name(err->code),
                         .text = err->msg });
}

/* Wait, and tell about once a second how far; a cancel or the end of the study's time ends it. */
static void pause_for(struct loop *l, const char *step, double seconds)
{
    int64_t begin = now_ns(), length = (int64_t)(seconds * (double)LLEM_NS_PER_S), now = begin;

    if (l->deadline_ns && begin + length > l->deadline_ns)
        length = l->deadline_ns - begin;
    while (now - begin < length && !is_cancelled(l)) {
        struct pollfd fd = { .fd = l->runner->wake_fd, .events = POLLIN };
        int64_t left_ms = (length - (now - begin)) / 1000000 + 1;
        uint64_t count;

        say(l, (llem_event){ .type = LLEM_EVENT_PAUSE,
                             .step = step,
                             .elapsed_s = (double)(now - begin) / 1e9,
                             .fraction = (double)(now - begin) / (double)length });
        if (poll(&fd, 1, left_ms < PAUSE_MS ? (int)left_ms : PAUSE_MS) > 0 &&
            read(fd.fd, &count, sizeof(count)) < 0)
            return;
        now = now_ns();
    }
}

static void tell_end(struct loop *l, size_t i)
{
    const struct llem_run *run = &l->s->runs[i];

    say(l, (llem_event){ .type = LLEM_EVENT_ENDED,
                         .reason = llem_state_name(run->state),
                         .text = run->message,
                         .elapsed_s = run->elapsed_s,
                         .energy_j = run->numbers[LLEM_RUN_ENERGY_J],
                         .energy_estimated_j = run->numbers[LLEM_RUN_ESTIMATED_J],
                         .tokens_per_s = run->numbers[LLEM_RUN_TOKENS_PER_S] });
}

/* What is left of it would only repeat the failure of the last one. */
static void give_up(struct loop *l, const char *why)
{
    for (size_t i = 0; i < l->s->plan->n_runs; i++)
        if (l->s->runs[i].state == LLEM_STATE_PENDING)
            llem_study_skip(l->s, i, why);
}

/* One run that is claimed. */
static void run_claimed(struct loop *l, size_t i, const struct llem_cell *cell)
{
    struct llem_runner *r = l->runner;
    struct llem_outcome o;
    llem_result *result = NULL;
    llem_error late = { 0 };
    char *log_tail;

    r->dir = cell->dir;
    r->mark = cell->mark;
    say(l, (llem_event){ .type = LLEM_EVENT_STARTED, .text = cell->dir });
    llem_runner_run(r, &o, &log_tail);
    if (o.state == LLEM_STATE_COMPLETED)
        llem_result_load(&result, l->s->ctx, cell->dir, NULL);
    if (llem_study_finish(l->s, i, cell->dir, &o, result, &late) < 0 && !l->told) {
        /* The result is safe; that its status could not be written is still worth a line. */
        l->told = true;
        warn(l, &late);
    }
    o.log_tail = NULL;
    free(log_tail);
    if (l->result) {
        llem_result_free(*l->result);
        *l->result = result;
    } else {
        llem_result_free(result);
    }
    if (l->last)
        *l->last = o;
}

/* One run, from its claim to its end. */
static void run_one(struct loop *l, size_t i)
{
    struct llem_study *s = l->s;
    struct llem_cell cell;
    llem_error err = { 0 };
    llem_errcode rc = llem_study_claim(s, i, &cell, &err);

    if (rc == LLEM_OK && s->runs[i].state == LLEM_STATE_RUNNING) {
        run_claimed(l, i, &cell);
        l->before = i;
    } else if (rc < 0) {
        warn(l, &err);
        if (l->last)
            *l->last = (struct llem_outcome){ .state = LLEM_STATE_FAILED, .err = err };
        /* Somebody else's is left to them; where nothing can be written nothing can be run. */
        if (rc != LLEM_ESTUDY) {
            s->runs[i].state = LLEM_STATE_FAILED;
            s->runs[i].reason = llem_errcode_name(rc);
            s->runs[i].message = llem_safe_text(&s->arena, err.msg, strlen(err.msg));
            l->unwritable = true;
        }
    }
    if (s->runs[i].state != LLEM_STATE_PENDING)
        tell_end(l, i);
    llem_cell_done(&cell);
}

const char *llem_study_loop(struct llem_study *s, struct llem_runner *runner,
                            struct llem_outcome *last, llem_result **result)
{
    const struct llem_plan *p = s->plan;
    const struct llem_value *study = p->sweep->study;
    double hours = llem_real_at(study, "study_execution.wall_clock_timeout_hours", 0);
    struct loop l = {
        .s = s,
        .runner = runner,
        .breaker.allowed = llem_int_at(study, "study_execution.max_consecutive_failures", 10),
        .cooldown_s = llem_real_at(study, "study_execution.circuit_breaker_cooldown_seconds", 60),
        .deadline_ns = hours > 0 ? now_ns() + (int64_t)(hours * 3600 * 1e9) : 0,
        .before = p->n_runs,
        .last = last,
        .result = result,
    };
    bool tripped = false, late = false;

    runner->n_runs = (int)p->n_runs;
    runner->deadline_ns = l.deadline_ns;
    for (size_t i = 0; i < p->n_runs && !tripped && !late && !l.unwritable; i++) {
        enum llem_verdict verdict;

        if (s->runs[i].state != LLEM_STATE_PENDING)
            continue;
        runner->run = (int)i + 1;
        if (l.before < p->n_runs)
            pause_for(&l, "gap", llem_plan_gap_s(p, l.before, i));
        if (is_cancelled(&l))
            break;
        late = is_late(&l);
        if (late)
            break;
        run_one(&l, i);
        if (is_cancelled(&l) || s->runs[i].state == LLEM_STATE_PENDING)
            continue;
        late = is_late(&l) && s->runs[i].state == LLEM_STATE_TIMEOUT;
        verdict = llem_breaker_take(&l.breaker, s->runs[i].state != LLEM_STATE_COMPLETED);
        tripped = verdict == LLEM_GIVE_UP && !late;
        if (verdict == LLEM_COOL_DOWN && llem_study_count(s, LLEM_STATE_PENDING) && !late)
            pause_for(&l, "cooldown", l.cooldown_s);
    }
    if (tripped)
        give_up(&l, "too many failures in a row came before it");
    if (late)
        give_up(&l, "the time of the study was over before its turn");
    return is_cancelled(&l) ? "interrupted"
           : tripped        ? "circuit_breaker"
           : late           ? "timed_out"
                            : llem_study_status(s);
}
