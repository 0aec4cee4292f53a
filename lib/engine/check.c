/* SPDX-License-Identifier: MIT
 *
 * A worker looked at rule by rule: every method of docs/worker-protocol.md in order, then what must
 * not work, then the end. What an answer must hold is in two tables, of its fields and of its
 * sense. It talks to the worker itself, because the engine table would hide what is wrong.
 */
#include "llem/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/engine/worker.h"

enum { MAX_RECEIPTS = 64, MAX_OUTPUT = 8, LEAVE_S = 30, CUT = 4, CLOCK_PAIRS = 9 };

/* The prompts of every pass, and one of token ids. */
static const struct llem_prompt texts[] = {
    { .text = "The capital of France is" },
    { .text = "One" },
    { .text =
          "Quotes \" and \\ backslashes, a tab\t, and letters beyond ASCII: \xc3\xa9\xe4\xb8\xad" },
    { .text = "This one has more words than the others: it is cut where prompts are cut, and "
              "others padded" },
};
static const int32_t ids[] = { 5, 6, 7, 8, 9 };
static const struct llem_prompt exact = { .ids = ids, .n_ids = LLEM_COUNT(ids) };

struct receipt {
    int64_t pass, repeat, i, input, output, submit, scheduled, first, last, heard_ns;
    size_t n_times, n_ids;
    bool times_rise;
};

struct check {
    const llem_check_args *args;
    llem_ctx *ctx;
    const struct llem_engine_info *info;
    struct llem_config *config;
    struct llem_rpc_opts opts;
    struct llem_rpc *rpc;
    struct llem_arena arena;
    int violations;

    /* What is asked, and what came of it. */
    const char *method;
    struct llem_rpc_reply reply;
    const struct llem_value *r;        /* reply.result, a map */
    const struct llem_prompt *prompts; /* of load_prompts */
    size_t n_prompts;
    int64_t max_input_tokens;
    struct llem_pass pass; /* of run_inference */
    struct receipt receipts[MAX_RECEIPTS];
    size_t n_receipts;

    /* What is known from before. */
    bool can_repeat, counts;            /* counts: it tells the lengths of prompts */
    int64_t lengths[LLEM_COUNT(texts)]; /* without a limit */
    int64_t offset_ns, half_ns, last_ns;
    bool again;     /* the same was asked before: only what is wrong is news */
    char why[1024]; /* the rule at hand is violated */
};

/* ---- saying it ---------------------------------------------------------------------------- */

enum verdict { KEPT, VIOLATED, NOT_ASKED };

__attribute__((format(printf, 2, 3))) static enum verdict violated(struct check *c, const char *fmt,
                                                                   ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->why, sizeof(c->why), fmt, ap);
    va_end(ap);
    return VIOLATED;
}

static bool report(struct check *c, const char *what, enum verdict v)
{
    llem_engine_check one = {
        .method = c->method, .rule = what, .kept = v == KEPT, .text = v == KEPT ? "" : c->why
    };

    if (v == NOT_ASKED || (v == KEPT && c->again))
        return true;
    c->violations += v == VIOLATED;
    if (c->args->on_check)
        c->args->on_check(c->args->user, &one);
    return v == KEPT;
}

/* ---- what a worker may say meanwhile ------------------------------------------------------ */

static bool rises(const struct llem_value *list)
{
    for (size_t i = 1; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind != LLEM_INT || list->items[i]->i < list->items[i - 1]->i)
            return false;
    return true;
}

static size_t length(const struct llem_value *list)
{
    return list && list->kind == LLEM_LIST ? list->count : 0;
}

static llem_errcode notified(void *user, const char *method, const struct llem_value *p,
                             llem_error *err)
{
    const struct llem_value *times = llem_get(p, "token_ns"), *out = llem_get(p, "output_ids");
    struct check *c = user;

    if (!llem_worker_may_notify(method))
        return llem_fail(err, LLEM_EPLUGIN, "sent the notification '%s', which does not exist",
                         method);
    if (strcmp(method, "request") != 0)
        return LLEM_OK;
    if (c->n_receipts < MAX_RECEIPTS)
        c->receipts[c->n_receipts++] = (struct receipt){
            .pass = llem_int_at(p, "pass", c->pass.id),
            .repeat = llem_int_at(p, "repeat", 0),
            .i = llem_int_at(p, "i", -1),
            .input = llem_int_at(p, "input_tokens", -1),
            .output = llem_int_at(p, "output_tokens", -1),
            .submit = llem_int_at(p, "t_submit_ns", LLEM_UNKNOWN),
            .scheduled = llem_int_at(p, "t_scheduled_ns", LLEM_UNKNOWN),
            .first = llem_int_at(p, "t_first_ns", LLEM_UNKNOWN),
            .last = llem_int_at(p, "t_last_ns", LLEM_UNKNOWN),
            .heard_ns = llem_now_ns(&llem_system_clock),
            .n_times = length(times),
            .n_ids = length(out),
            .times_rise = rises(times),
        };
    return LLEM_OK;
}

/* ---- the fields of answers ---------------------------------------------------------------- */

enum shape { COUNT, NUMBER, TEXT, MAP, LIST, TEXTS, MAPS, SHAPES };

static const char *const shape_names[SHAPES] = {
    [COUNT] = "a whole number of 0 or more",
    [NUMBER] = "a number of 0 or more",
    [TEXT] = "a text",
    [MAP] = "a map",
    [LIST] = "a list",
    [TEXTS] = "a list of texts",
    [MAPS] = "a list of maps",
};

static const struct field {
    const char *method, *name;
    enum shape shape;
    bool needed; /* what is not needed may be left out or null */
} fields[] = {
    { "initialize", "protocol", COUNT, true },
    { "initialize", "version", TEXT, true },
    { "initialize", "libraries", MAP, false },
    { "initialize", "capabilities", TEXTS, false },
    { "check_hardware", "errors", TEXTS, false },
    { "load_prompts", "input_tokens", LIST, false },
    { "load_prompts", "truncated", COUNT, false },
    { "clock", "t_ns", COUNT, false },
    { "open_device", "devices", MAPS, false },
    { "load_model", "load_s", NUMBER, false },
    { "load_model", "devices", MAPS, false },
    { "load_model", "model", MAP, false },
    { "load_model", "effective", MAP, false },
    { "load_model", "libraries", MAP, false },
    { "run_warmup_prompt", "latency_ms", NUMBER, false },
    { "synchronize", "t_ns", COUNT, false },
    { "run_inference", "t_begin_ns", COUNT, true },
    { "run_inference", "t_end_ns", COUNT, true },
    { "run_inference", "peak_memory_bytes", COUNT, false },
    { "run_inference", "input_tokens", COUNT, false },
    { "run_inference", "output_tokens", COUNT, false },
    { "run_inference", "process_results", MAPS, false },
    { "capture_observed_params", "engine_params", MAP, false },
    { "capture_observed_params", "sampling_params", MAP, false },
};

static bool all_are(const struct llem_value *list, enum llem_kind kind)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i]->kind != kind)
            return false;
    return true;
}

static bool has_shape(const struct llem_value *v, enum shape shape)
{
    switch (shape) {
    case COUNT:
        return v->kind == LLEM_INT && v->i >= 0;
    case NUMBER:
        return (v->kind == LLEM_INT && v->i >= 0) || (v->kind == LLEM_REAL && v->d >= 0);
    case TEXT:
        return v->kind == LLEM_STRING && v->s[0];
    case MAP:
        return v->kind == LLEM_MAP;
    case LIST:
        return v->kind == LLEM_LIST;
    case TEXTS:
        return v->kind == LLEM_LIST && all_are(v, LLEM_STRING);
    case MAPS:
        return v->kind == LLEM_LIST && all_are(v, LLEM_MAP);
    case SHAPES:
        break;
    }
    return false;
}

/* false: a field that later rules build on is not what it must be. */
static bool check_fields(struct check *c)
{
    bool good = true;

    for (size_t i = 0; i < LLEM_COUNT(fields); i++) {
        const struct field *f = &fields[i];
        const struct llem_value *v = llem_get(c->r, f->name);
        char what[128];

        if (strcmp(f->method, c->method) != 0 || (llem_is_null(v) && !f->needed))
            continue;
        snprintf(what, sizeof(what), "%s is %s", f->name, shape_names[f->shape]);
        good &= report(c, what,
                       llem_is_null(v)           ? violated(c, "it is not in the answer")
                       : !has_shape(v, f->shape) ? violated(c, "it is something else")
                                                 : KEPT);
    }
    return good;
}

/* ---- the sense of answers ------------------------------------------------------------------ */

static enum verdict speaks_version_1(struct check *c)
{
    int64_t n = llem_int_at(c->r, "protocol", -1);

    return n == LLEM_WORKER_PROTOCOL ? KEPT : violated(c, "protocol is %lld", (long long)n);
}

static enum verdict hardware_is_right(struct check *c)
{
    const struct llem_value *errors = llem_get(c->r, "errors");

    return length(errors) ? violated(c, "%s", errors->items[0]->s) : KEPT;
}

static enum verdict every_prompt_is_counted(struct check *c)
{
    const struct llem_value *counts = llem_get(c->r, "input_tokens");

    if (llem_is_null(counts))
        return NOT_ASKED; /* it does not know any length */
    c->counts = length(counts) == c->n_prompts;
    return c->counts ? KEPT
                     : violated(c, "input_tokens has not one number for each of the %zu prompts",
                                c->n_prompts);
}

/* The length of prompt i as it was told; -1 = not known */
static int64_t told(const struct check *c, size_t i)
{
    const struct llem_value *n = llem_get(c->r, "input_tokens")->items[i];

    return n->kind == LLEM_INT ? n->i : -1;
}

static enum verdict no_prompt_is_empty(struct check *c)
{
    for (size_t i = 0; c->counts && i < c->n_prompts; i++) {
        const struct llem_value *n = llem_get(c->r, "input_tokens")->items[i];

        if (!llem_is_null(n) && told(c, i) <= 0)
            return violated(c, "prompt %zu has %lld tokens", i, (long long)told(c, i));
    }
    return c->counts ? KEPT : NOT_ASKED;
}

static enum verdict ids_are_used_as_they_are(struct check *c)
{
    if (!c->counts || c->prompts != &exact || told(c, 0) < 0)
        return NOT_ASKED;
    return told(c, 0) == (int64_t)exact.n_ids ? KEPT
                                              : violated(c, "%zu ids were counted as %lld tokens",
                                                         exact.n_ids, (long long)told(c, 0));
}

static enum verdict max_input_tokens_is_kept(struct check *c)
{
    if (!c->counts || !c->max_input_tokens)
        return NOT_ASKED;
    for (size_t i = 0; i < c->n_prompts; i++)
        if (told(c, i) > c->max_input_tokens)
            return violated(c, "prompt %zu is longer than %lld tokens", i,
                            (long long)c->max_input_tokens);
    return KEPT;
}

static enum verdict truncated_counts_what_was_cut(struct check *c)
{
    int64_t truncated = llem_int_at(c->r, "truncated", 0), longer = 0;

    if (!c->counts || c->prompts != texts)
        return NOT_ASKED;
    for (size_t i = 0; i < c->n_prompts; i++)
        longer += c->max_input_tokens && c->lengths[i] > c->max_input_tokens;
    return truncated == longer ? KEPT
                               : violated(c, "it says %lld, but %lld prompts are longer",
                                          (long long)truncated, (long long)longer);
}

static enum verdict clock_does_not_run_backwards(struct check *c)
{
    int64_t t_ns = llem_int_at(c->r, "t_ns", -1), before = c->last_ns;

    if (t_ns < 0)
        return NOT_ASKED;
    c->last_ns = t_ns;
    return t_ns >= before
               ? KEPT
               : violated(c, "%lld ns came after %lld", (long long)t_ns, (long long)before);
}

static enum verdict gpus_can_be_told_apart(struct check *c)
{
    const struct llem_value *list = llem_get(c->r, "devices");

    for (size_t i = 0; i < length(list); i++) {
        const struct llem_value *d = list->items[i];
        const char *kind = llem_str_at(d, "kind", "");

        if (strcmp(kind, "cpu") != 0 &&
            !(strcmp(kind, "gpu") == 0 &&
              (llem_str_at(d, "uuid", NULL) || llem_str_at(d, "pci", NULL))))
            return violated(c, "device %zu is not", i);
    }
    return length(list) ? KEPT : NOT_ASKED;
}

/* ---- a pass ------------------------------------------------------------------------------- */

static int64_t edge(const struct check *c, const char *name)
{
    return llem_int_at(c->r, name, -1);
}

static enum verdict edges_are_in_order(struct check *c)
{
    return edge(c, "t_end_ns") >= edge(c, "t_begin_ns")
               ? KEPT
               : violated(c, "it ended %lld ns before it began",
                          (long long)(edge(c, "t_begin_ns") - edge(c, "t_end_ns")));
}

static enum verdict edges_lie_within_the_call(struct check *c)
{
    int64_t early = edge(c, "t_begin_ns") - c->offset_ns - c->reply.sent_ns;
    int64_t late = c->reply.received_ns - edge(c, "t_end_ns") + c->offset_ns;

    return early >= -2 * c->half_ns && late >= -2 * c->half_ns
               ? KEPT
               : violated(c,
                          "by its clock it began %.3f ms after the request and ended %.3f ms "
                          "before the reply",
                          (double)early / 1e6, (double)late / 1e6);
}

static enum verdict tokens_are_told(struct check *c)
{
    return c->n_receipts || edge(c, "output_tokens") >= 0
               ? KEPT
               : violated(c, "there is neither a receipt nor output_tokens");
}

static enum verdict processes_worked_within_the_edges(struct check *c)
{
    const struct llem_value *list = llem_get(c->r, "process_results");

    for (size_t i = 0; i < length(list); i++) {
        int64_t begin = llem_int_at(list->items[i], "t_begin_ns", edge(c, "t_begin_ns"));
        int64_t end = llem_int_at(list->items[i], "t_end_ns", edge(c, "t_end_ns"));

        if (begin < edge(c, "t_begin_ns") || end < begin || end > edge(c, "t_end_ns"))
            return violated(c, "item %zu of process_results did not", i);
    }
    return length(list) ? KEPT : NOT_ASKED;
}

static enum verdict every_prompt_has_a_receipt(struct check *c)
{
    size_t wanted = c->pass.count * (size_t)c->pass.repeats, missing = 0;

    if (!c->n_receipts)
        return NOT_ASKED; /* totals only: what it did not report is null */
    for (int64_t k = 0; k < c->pass.repeats; k++)
        for (size_t i = 0; i < c->pass.count; i++) {
            size_t found = 0;

            for (size_t n = 0; n < c->n_receipts; n++)
                found += c->receipts[n].pass == c->pass.id && c->receipts[n].repeat == k &&
                         c->receipts[n].i == c->pass.indices[i];
            missing += found != 1;
        }
    return !missing && c->n_receipts == wanted
               ? KEPT
               : violated(c, "%zu receipts for %zu prompts, %d times", c->n_receipts, c->pass.count,
                          c->pass.repeats);
}

static bool in_order(const struct check *c, const struct receipt *r)
{
    const int64_t times[] = { edge(c, "t_begin_ns"), r->submit, r->scheduled, r->first, r->last,
                              edge(c, "t_end_ns") };
    int64_t before = INT64_MIN;

    for (size_t i = 0; i < LLEM_COUNT(times); i++) {
        if (times[i] == LLEM_UNKNOWN)
            continue;
        if (times[i] < before)
            return false;
        before = times[i];
    }
    return true;
}

static bool input_is_as_loaded(const struct check *c, const struct receipt *r)
{
    return !c->counts || r->i < 0 || r->i >= (int64_t)LLEM_COUNT(texts) || r->input < 0 ||
           r->input == c->lengths[r->i];
}

static bool output_is_within_the_limit(const struct check *c, const struct receipt *r)
{
    return r->output <= MAX_OUTPUT;
}

static bool token_times_rise(const struct check *c, const struct receipt *r)
{
    return r->times_rise;
}

static bool lists_are_as_long_as_counts(const struct check *c, const struct receipt *r)
{
    return r->output < 0 ||
           ((r->n_ids == 0 || r->n_ids == (size_t)r->output) && r->n_times <= (size_t)r->output);
}

static bool came_after_the_window(const struct check *c, const struct receipt *r)
{
    return c->pass.stream || r->heard_ns >= edge(c, "t_end_ns") - c->offset_ns - c->half_ns;
}

/* clang-format off */
static const struct rule {
    const char *method, *rule;
    enum verdict (*kept)(struct check *c);                              /* of the answer, */
    bool (*of_receipt)(const struct check *c, const struct receipt *r); /* or of each receipt */
} rules[] = {
    { "initialize", "speaks version 1", speaks_version_1, NULL },
    { "check_hardware", "finds nothing wrong with this machine", hardware_is_right, NULL },
    { "load_prompts", "counts the tokens of every prompt, or of none", every_prompt_is_counted, NULL },
    { "load_prompts", "no prompt is empty", no_prompt_is_empty, NULL },
    { "load_prompts", "token ids are used as they are", ids_are_used_as_they_are, NULL },
    { "load_prompts", "max_input_tokens is kept", max_input_tokens_is_kept, NULL },
    { "load_prompts", "truncated counts what was cut", truncated_counts_what_was_cut, NULL },
    { "clock", "does not run backwards", clock_does_not_run_backwards, NULL },
    { "open_device", "each device is a cpu, or a gpu with uuid or pci", gpus_can_be_told_apart, NULL },
    { "load_model", "each device is a cpu, or a gpu with uuid or pci", gpus_can_be_told_apart, NULL },
    { "run_inference", "its edges are in order", edges_are_in_order, NULL },
    { "run_inference", "its edges lie within the call", edges_lie_within_the_call, NULL },
    { "run_inference", "its processes worked within its edges", processes_worked_within_the_edges, NULL },
    { "run_inference", "tells tokens in receipts or in all", tokens_are_told, NULL },
    { "run_inference", "one receipt for each prompt and repeat", every_prompt_has_a_receipt, NULL },
    { "run_inference", "times of receipts are in order and within the edges", NULL, in_order },
    { "run_inference", "input_tokens are those of load_prompts: padding is left out", NULL, input_is_as_loaded },
    { "run_inference", "output_tokens keep max_output_tokens", NULL, output_is_within_the_limit },
    { "run_inference", "token times rise", NULL, token_times_rise },
    { "run_inference", "no more token times, and as many output ids, as output tokens", NULL, lists_are_as_long_as_counts },
    { "run_inference", "nothing is sent inside the window", NULL, came_after_the_window },
};
/* clang-format on */

static enum verdict all_receipts(struct check *c, const struct rule *rule)
{
    for (size_t n = 0; n < c->n_receipts; n++)
        if (!rule->of_receipt(c, &c->receipts[n]))
            return violated(c, "the receipt of prompt %lld, repeat %lld, does not",
                            (long long)c->receipts[n].i, (long long)c->receipts[n].repeat);
    return c->n_receipts ? KEPT : NOT_ASKED;
}

static void check_rules(struct check *c)
{
    for (size_t i = 0; i < LLEM_COUNT(rules); i++)
        if (strcmp(rules[i].method, c->method) == 0)
            report(c, rules[i].rule, rules[i].kept ? rules[i].kept(c) : all_receipts(c, &rules[i]));
}

/* ---- asking ------------------------------------------------------------------------------- */

static llem_errcode call(struct check *c, const char *method, const struct llem_value *params,
                         llem_error *err)
{
    c->method = method;
    c->n_receipts = 0;
    return llem_worker_call(c->rpc, c->info, method, params, &c->arena, &c->reply, err);
}

/* A method that must succeed, and its answer by the tables. false: there is no answer to go on
 * with. */
static bool ask(struct check *c, const char *method, const struct llem_value *params)
{
    llem_error err = { 0 };

    if (call(c, method, params, &err) < 0)
        return report(c, "answers", violated(c, "%s", err.msg));
    c->r = c->reply.result;
    if (!report(c, "answers a map",
                c->r->kind == LLEM_MAP ? KEPT : violated(c, "it answered something else")))
        return false;
    if (check_fields(c))
        check_rules(c);
    return true;
}

/* A request that must be refused, and not with the life of the worker. */
static bool must_refuse(struct check *c, const char *what, const char *method,
                        const struct llem_value *params)
{
    const struct llem_rpc_kind *known = c->opts.kinds;
    llem_error err = { 0 };
    llem_errcode rc = call(c, method, params, &err);

    if (!report(c, what,
                rc < 0 && !llem_rpc_broken(c->rpc)
                    ? KEPT
                    : violated(c, "%s", rc < 0 ? err.msg : "it answered as if all were well")))
        return !llem_rpc_broken(c->rpc);
    while (c->reply.kind && known->kind && strcmp(known->kind, c->reply.kind) != 0)
        known++;
    report(c, "an error's kind is one of the protocol's",
           !c->reply.kind || known->kind
               ? KEPT
               : violated(c, "the kind is '%s', which docs/worker-protocol.md does not have",
                          c->reply.kind));
    return true;
}

/* A newer llem may ask for more: it is to learn that there is nothing to say, one way or other. */
static bool check_unknown_method(struct check *c)
{
    llem_error err = { 0 };
    llem_errcode rc = call(c, "no_such_method", NULL, &err);

    report(c, "a method that it does not know is the error -32601, or an empty map",
           llem_rpc_broken(c->rpc) ? violated(c, "%s", err.msg)
           : rc < 0 && c->reply.error_code != LLEM_WORKER_NO_METHOD
               ? violated(c, "it answered the error %lld", (long long)c->reply.error_code)
           : rc == LLEM_OK && (c->reply.result->kind != LLEM_MAP || c->reply.result->count)
               ? violated(c, "it answered something else")
               : KEPT);
    return !llem_rpc_broken(c->rpc);
}

static bool check_initialize(struct check *c)
{
    struct llem_value *params = llem_worker_initialize_params(
        &c->arena, c->info, llem_config_path(c->config, &c->arena, "task.model"), c->config->tree);

    if (!ask(c, "initialize", params))
        return false;
    c->can_repeat = llem_worker_can(c->r, "repeats");
    return true;
}

/* An answer to check_hardware is not needed to go on. */
static bool check_hardware(struct check *c)
{
    return ask(c, "check_hardware", NULL) || !llem_rpc_broken(c->rpc);
}

static bool give(struct check *c, const struct llem_prompt *prompts, size_t n, int64_t most)
{
    c->prompts = prompts;
    c->n_prompts = n;
    c->max_input_tokens = most;
    c->counts = false;
    return ask(c, "load_prompts", llem_worker_prompts_params(&c->arena, prompts, n, most));
}

static bool check_prompts(struct check *c)
{
    /* A worker that takes no ids says so with an error; it then cannot run random datasets. */
    if ((!give(c, &exact, 1, 0) && llem_rpc_broken(c->rpc)) ||
        !give(c, texts, LLEM_COUNT(texts), 0))
        return false;
    for (size_t i = 0; c->counts && i < LLEM_COUNT(texts); i++)
        c->lengths[i] = told(c, i);
    return give(c, texts, LLEM_COUNT(texts), CUT) && give(c, texts, LLEM_COUNT(texts), 0);
}

static bool check_clock(struct check *c)
{
    int64_t shortest = INT64_MAX;
    bool answered = true;

    c->last_ns = INT64_MIN;
    for (int i = 0; answered && i < CLOCK_PAIRS; i++) {
        int64_t t_ns, trip_ns;

        answered = ask(c, "clock", NULL);
        t_ns = answered ? llem_int_at(c->r, "t_ns", -1) : -1;
        if (t_ns < 0)
            break; /* without one its times are of our clock */
        c->again = true;
        trip_ns = c->reply.received_ns - c->reply.sent_ns;
        if (trip_ns < shortest) {
            shortest = trip_ns;
            c->half_ns = (trip_ns + 1) / 2;
            c->offset_ns = t_ns - (c->reply.sent_ns + trip_ns / 2);
        }
    }
    c->again = false;
    return answered;
}

static bool check_pass(struct check *c, int id, const int32_t *indices, size_t n, int repeats)
{
    c->pass = (struct llem_pass){
        .id = id, .indices = indices, .count = n, .repeats = repeats, .stream = id == 2
    };
    return ask(c, "run_inference", llem_worker_pass_params(&c->arena, &c->pass));
}

/* Who does not count prompts need not know how many there are. */
static bool check_prompt_that_does_not_exist(struct check *c)
{
    static const int32_t none[] = { 99 };
    const struct llem_pass pass = { .indices = none, .count = 1, .repeats = 1 };

    return !c->counts || must_refuse(c, "refuses a prompt that does not exist", "run_inference",
                                     llem_worker_pass_params(&c->arena, &pass));
}

static bool check_leaving(struct check *c, const char *what)
{
    llem_error err = { 0 };

    return report(c, what,
                  llem_rpc_leave(c->rpc, LEAVE_S, &err) == LLEM_OK ? KEPT
                                                                   : violated(c, "%s", err.msg));
}

static llem_errcode start(struct check *c, llem_error *err)
{
    llem_rpc_end(c->rpc, 1000);
    c->rpc = NULL;
    return llem_rpc_start(&c->rpc, &c->opts, err);
}

static llem_errcode drive(struct check *c, llem_error *err)
{
    static const int32_t three[] = { 0, 1, 3 }, one[] = { 2 };
    llem_errcode rc = start(c, err);

    if (rc < 0)
        return rc;
    if (!check_initialize(c) || !check_unknown_method(c) || !check_hardware(c) ||
        !check_prompts(c) || !check_clock(c) || !ask(c, "open_device", NULL) ||
        !ask(c, "load_model", NULL) ||
        !ask(c, "run_warmup_prompt", llem_worker_warmup_params(&c->arena, 0)) ||
        !ask(c, "synchronize", NULL) || !check_pass(c, 1, three, 1, 1) ||
        !check_pass(c, 0, three, 3, c->can_repeat ? 2 : 1) || !check_pass(c, 2, one, 1, 1) ||
        !check_prompt_that_does_not_exist(c))
        return LLEM_OK;
    check_pass(c, 0, one, 1, 1);
    /* Twice is allowed. */
    if (!llem_rpc_broken(c->rpc) && ask(c, "capture_observed_params", NULL) &&
        ask(c, "cleanup", NULL) && ask(c, "cleanup", NULL) && ask(c, "shutdown", NULL))
        check_leaving(c, "exits with status 0 and says nothing more");
    /* Another one, whose harness is gone. */
    rc = start(c, err);
    if (rc == LLEM_OK && check_initialize(c)) {
        c->method = "end of input";
        check_leaving(c, "exits with status 0");
    }
    return rc;
}

/* ---- the function ------------------------------------------------------------------------- */

static llem_errcode load_config(struct check *c, llem_error *err)
{
    const llem_check_args *args = c->args;
    const char *model = args->model;
    llem_setting *all = llem_arena_calloc(&c->arena, args->n_settings + 4, sizeof(*all));
    char *most = llem_arena_printf(&c->arena, "%d", MAX_OUTPUT);
    size_t n = 0;

    if (!model)
        model = llem_ctx_data_path(c->ctx, &c->arena, "models/sample");
    if (!all || !most)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the settings");
    all[n++] = (llem_setting){ "task.model", model ? model : "sample", "-m", 1 };
    all[n++] = (llem_setting){ "engine", args->engine, "the engine's name", 1 };
    all[n++] = (llem_setting){ "task.dataset.source", "builtin", NULL, 1 };
    all[n++] = (llem_setting){ "task.max_output_tokens", most, NULL, 0 };
    for (size_t i = 0; i < args->n_settings; i++)
        all[n++] = args->settings[i];
    return llem_config_load(&c->config, c->ctx, NULL, all, n, err);
}

llem_errcode llem_check_engine(int *violations, llem_ctx *ctx, const llem_check_args *args,
                               llem_error *err)
{
    struct check c = { .args = args, .ctx = ctx, .method = "start" };
    struct llem_worker_command command;
    llem_errcode rc = llem_engine_find(&c.info, ctx, args->engine, err);

    if (rc < 0)
        return rc;
    if (!c.info)
        return llem_fail(err, LLEM_ECONFIG, "there is no engine '%s'", args->engine);
    if (llem_engine_builtin(args->engine) || !c.info->table)
        return llem_fail(err, LLEM_ECONFIG, "the engine %s has no worker to check: %s",
                         args->engine, c.info->missing ? c.info->missing : "it is built into llem");
    rc = load_config(&c, err);
    if (rc == LLEM_OK)
        rc = llem_worker_command(&command, ctx, &c.arena, c.info, err);
    if (rc < 0)
        goto done;
    c.opts = (struct llem_rpc_opts){
        .ctx = ctx,
        .name = "the worker",
        .argv = command.argv,
        .env = command.env,
        .log_fd = args->log_fd > 0 ? args->log_fd : -1,
        /* As in llem_experiment_main: a signal handler's flag, read as an atomic. */
        .cancel = (const atomic_int *)(uintptr_t)args->cancel,
        .kinds = llem_worker_kinds(&c.arena, command.interpreter),
        .notify = notified,
        .user = &c,
    };
    rc = drive(&c, err);
    if (rc == LLEM_OK && args->cancel && *args->cancel)
        rc = llem_fail(err, LLEM_ECANCELED, "the check was interrupted");
    if (rc == LLEM_OK)
        *violations = c.violations;
done:
    llem_rpc_end(c.rpc, 5000);
    llem_config_free(c.config);
    llem_arena_done(&c.arena);
    return rc;
}
