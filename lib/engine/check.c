/* SPDX-License-Identifier: MIT
 *
 * A worker looked at rule by rule: every method of docs/worker-protocol.md in order, then what must
 * not work, then the end. It talks to the worker itself, because the engine table would hide what
 * is wrong.
 */
#include "llem/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/engine/worker.h"

enum { MAX_RECEIPTS = 64, MAX_OUTPUT = 8, LEAVE_S = 30, CUT = 4 };

static const char *const texts[] = {
    "The capital of France is",
    "One",
    "Quotes \" and \\ backslashes, a tab\t, and letters beyond ASCII: \xc3\xa9\xe4\xb8\xad",
    "This one has more words than the others: it is cut where prompts are cut, and others padded",
};
static const int ids[] = { 5, 6, 7, 8, 9 };

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
    const char *method;
    int64_t lengths[LLEM_COUNT(texts)];
    int64_t offset_ns, half_ns;
    struct receipt receipts[MAX_RECEIPTS];
    size_t n_receipts;
};

/* ---- saying it ---------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static bool rule(struct check *c, const char *what, bool kept,
                                                       const char *fmt, ...)
{
    char text[1536] = "";
    llem_engine_check one = { .method = c->method, .rule = what, .kept = kept, .text = text };
    va_list ap;

    if (!kept) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        c->violations++;
    }
    if (c->args->on_check)
        c->args->on_check(c->args->user, &one);
    return kept;
}

/* ---- asking ------------------------------------------------------------------------------- */

static llem_errcode call(struct check *c, const char *method, const struct llem_value *params,
                         struct llem_rpc_reply *r, llem_error *err)
{
    const struct llem_rpc_limits l = llem_worker_limits(c->info, method);

    c->method = method;
    return llem_rpc_call(c->rpc, method, params, &l, &c->arena, r, err);
}

/* A method that must succeed with a map; NULL (and a violation) if not. */
static const struct llem_value *answer(struct check *c, const char *method,
                                       const struct llem_value *params, struct llem_rpc_reply *r)
{
    llem_error err = { 0 };

    if (call(c, method, params, r, &err) < 0) {
        rule(c, "answers", false, "%s", err.msg);
        return NULL;
    }
    return rule(c, "answers a map", r->result->kind == LLEM_MAP, "it answered something else")
               ? r->result
               : NULL;
}

/* A request that must be refused, and not with the life of the worker. */
static void must_refuse(struct check *c, const char *what, const char *method,
                        const struct llem_value *params, bool unknown)
{
    static const char *const known[] = { "config",          "hardware",    "out_of_memory",
                                         "model_not_found", "gated_model", "missing_package",
                                         "engine",          NULL };
    struct llem_rpc_reply r;
    llem_error err = { 0 };
    llem_errcode rc = call(c, method, params, &r, &err);
    bool named = false;

    if (!rule(c, what, rc < 0 && !llem_rpc_broken(c->rpc), "%s",
              rc < 0 ? err.msg : "it answered as if all were well"))
        return;
    if (unknown) {
        rule(c, "an unknown method is the error -32601", r.error_code == -32601,
             "it answered the error %lld", (long long)r.error_code);
        return;
    }
    for (size_t i = 0; r.kind && known[i]; i++)
        named |= strcmp(known[i], r.kind) == 0;
    rule(c, "an error's kind is one of the protocol's", !r.kind || named,
         "the kind is '%s'; there are config, hardware, out_of_memory, model_not_found, "
         "gated_model, missing_package and engine",
         r.kind ? r.kind : "");
}

/* ---- what it may say ---------------------------------------------------------------------- */

static int64_t time_of(const struct llem_value *p, const char *key)
{
    return llem_int_at(p, key, LLEM_UNKNOWN);
}

static bool rises(const struct llem_value *list)
{
    for (size_t i = 1; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind != LLEM_INT || list->items[i]->i < list->items[i - 1]->i)
            return false;
    return true;
}

static llem_errcode notified(void *user, const char *method, const struct llem_value *p,
                             llem_error *err)
{
    static const char *const known[] = { "progress", "steps", "log" };
    const struct llem_value *times = llem_get(p, "token_ns"), *out = llem_get(p, "output_ids");
    struct check *c = user;

    for (size_t i = 0; i < LLEM_COUNT(known); i++)
        if (strcmp(known[i], method) == 0)
            return LLEM_OK;
    if (strcmp(method, "request") != 0)
        return llem_fail(err, LLEM_EPLUGIN, "sent the notification '%s', which does not exist",
                         method);
    if (c->n_receipts < MAX_RECEIPTS)
        c->receipts[c->n_receipts++] = (struct receipt){
            .pass = llem_int_at(p, "pass", -1),
            .repeat = llem_int_at(p, "repeat", 0),
            .i = llem_int_at(p, "i", -1),
            .input = llem_int_at(p, "input_tokens", -1),
            .output = llem_int_at(p, "output_tokens", -1),
            .submit = time_of(p, "t_submit_ns"),
            .scheduled = time_of(p, "t_scheduled_ns"),
            .first = time_of(p, "t_first_ns"),
            .last = time_of(p, "t_last_ns"),
            .heard_ns = llem_now_ns(&llem_system_clock),
            .n_times = times && times->kind == LLEM_LIST ? times->count : 0,
            .n_ids = out && out->kind == LLEM_LIST ? out->count : 0,
            .times_rise = rises(times),
        };
    return LLEM_OK;
}

/* ---- the rules, method by method ---------------------------------------------------------- */

static bool check_initialize(struct check *c)
{
    struct llem_value *params = llem_map(&c->arena);
    const struct llem_value *r, *libraries;
    struct llem_rpc_reply reply;

    llem_set(&c->arena, params, "protocol", llem_int(&c->arena, LLEM_WORKER_PROTOCOL));
    llem_set(&c->arena, params, "engine", llem_string(&c->arena, c->info->name));
    llem_set(&c->arena, params, "model",
             llem_string(&c->arena, llem_config_path(c->config, &c->arena, "task.model")));
    llem_set(&c->arena, params, "config", llem_copy(&c->arena, c->config->tree));
    llem_set(&c->arena, params, "paths", llem_map(&c->arena));
    r = answer(c, "initialize", params, &reply);
    if (!r)
        return false;
    rule(c, "speaks version 1", llem_int_at(r, "protocol", -1) == LLEM_WORKER_PROTOCOL,
         "protocol is %lld", (long long)llem_int_at(r, "protocol", -1));
    rule(c, "says its version", llem_str_at(r, "version", "")[0], "there is no version in it");
    libraries = llem_get(r, "libraries");
    rule(c, "libraries are a map", !libraries || libraries->kind == LLEM_MAP, "they are not");
    return true;
}

static bool check_clock(struct check *c)
{
    int64_t before = INT64_MIN, shortest = INT64_MAX;
    struct llem_rpc_reply reply;

    for (int i = 0; i < 9; i++) {
        const struct llem_value *r;
        llem_error err = { 0 };
        int64_t t_ns;

        if (call(c, "clock", NULL, &reply, &err) < 0)
            return rule(c, "answers", false, "%s", err.msg);
        r = reply.result;
        t_ns = llem_int_at(r, "t_ns", -1);
        if (t_ns < 0)
            return rule(c, "tells nanoseconds", false, "there is no whole number t_ns in it");
        if (t_ns < before)
            return rule(c, "does not run backwards", false, "%lld ns came after %lld",
                        (long long)t_ns, (long long)before);
        before = t_ns;
        if (reply.received_ns - reply.sent_ns < shortest) {
            shortest = reply.received_ns - reply.sent_ns;
            c->half_ns = (shortest + 1) / 2;
            c->offset_ns = t_ns - (reply.sent_ns + shortest / 2);
        }
    }
    return rule(c, "tells nanoseconds and does not run backwards", true, " ");
}

static void check_hardware(struct check *c)
{
    struct llem_rpc_reply reply;
    const struct llem_value *r = answer(c, "check_hardware", NULL, &reply);
    const struct llem_value *errors = llem_get(r, "errors");
    bool good = true;

    if (!r)
        return;
    if (errors)
        good = errors->kind == LLEM_LIST;
    for (size_t i = 0; good && errors && i < errors->count; i++)
        good = errors->items[i]->kind == LLEM_STRING;
    rule(c, "errors are a list of texts", good, "they are not");
    for (size_t i = 0; good && errors && i < errors->count; i++)
        rule(c, "finds nothing wrong with this machine", false, "%s", errors->items[i]->s);
}

/* Give it prompts: lengths of `want` where they are known (-1 = not). */
static bool give(struct check *c, struct llem_value *prompts, int64_t most, int64_t *lengths,
                 int64_t *truncated)
{
    struct llem_value *params = llem_map(&c->arena);
    const struct llem_value *r, *counts;
    struct llem_rpc_reply reply;

    llem_set(&c->arena, params, "max_input_tokens",
             most ? llem_int(&c->arena, most) : llem_null(&c->arena));
    llem_set(&c->arena, params, "prompts", prompts);
    r = answer(c, "load_prompts", params, &reply);
    counts = llem_get(r, "input_tokens");
    if (!r || !rule(c, "counts the tokens of every prompt",
                    counts && counts->kind == LLEM_LIST && counts->count == prompts->count,
                    "input_tokens has not one number for each of the %zu prompts", prompts->count))
        return false;
    for (size_t i = 0; i < counts->count; i++) {
        lengths[i] = counts->items[i]->kind == LLEM_INT ? counts->items[i]->i : -1;
        if (lengths[i] <= 0)
            return rule(c, "no prompt is empty", false, "prompt %zu has %lld tokens", i,
                        (long long)lengths[i]);
    }
    *truncated = llem_int_at(r, "truncated", 0);
    return true;
}

static bool check_prompts(struct check *c)
{
    struct llem_value *list = llem_list(&c->arena), *exact = llem_list(&c->arena);
    struct llem_value *one = llem_list(&c->arena);
    int64_t cut[LLEM_COUNT(texts)], truncated, longer = 0;
    bool within = true;

    for (size_t i = 0; i < LLEM_COUNT(ids); i++)
        llem_append(&c->arena, one, llem_int(&c->arena, ids[i]));
    llem_append(&c->arena, exact, one);
    /* A worker that takes no ids says so with an error; it then cannot run random datasets. */
    if (give(c, exact, 0, cut, &truncated))
        rule(c, "token ids are used as they are", cut[0] == (int64_t)LLEM_COUNT(ids),
             "%zu ids were counted as %lld tokens", LLEM_COUNT(ids), (long long)cut[0]);
    if (llem_rpc_broken(c->rpc))
        return false;
    for (size_t i = 0; i < LLEM_COUNT(texts); i++)
        llem_append(&c->arena, list, llem_string(&c->arena, texts[i]));
    if (!give(c, list, 0, c->lengths, &truncated))
        return false;
    rule(c, "nothing is cut without a limit", truncated == 0, "%lld prompts were",
         (long long)truncated);
    if (!give(c, list, CUT, cut, &truncated))
        return false;
    for (size_t i = 0; i < LLEM_COUNT(texts); i++) {
        within &= cut[i] <= CUT;
        longer += c->lengths[i] > CUT;
    }
    rule(c, "max_input_tokens is kept", within, "a prompt is longer than %d tokens", CUT);
    rule(c, "truncated counts what was cut", truncated == longer,
         "it says %lld, but %lld prompts are longer than %d tokens", (long long)truncated,
         (long long)longer, CUT);
    return give(c, list, 0, c->lengths, &truncated);
}

static bool check_load(struct check *c)
{
    static const char *const maps[] = { "model", "effective" };
    struct llem_rpc_reply reply;
    const struct llem_value *r = answer(c, "open_device", NULL, &reply), *devices;
    bool good = true;

    if (!r)
        return false;
    devices = llem_get(r, "devices");
    for (size_t i = 0; devices && devices->kind == LLEM_LIST && i < devices->count; i++) {
        const char *kind = llem_str_at(devices->items[i], "kind", "");

        good &= strcmp(kind, "cpu") == 0 || strcmp(kind, "gpu") == 0;
        if (strcmp(kind, "gpu") == 0)
            good &= llem_str_at(devices->items[i], "uuid", NULL) ||
                    llem_str_at(devices->items[i], "pci", NULL);
    }
    rule(c, "each device is a cpu, or a gpu with uuid or pci",
         good && (!devices || devices->kind == LLEM_LIST), "one is not");
    r = answer(c, "load_model", NULL, &reply);
    for (size_t i = 0; r && i < LLEM_COUNT(maps); i++) {
        const struct llem_value *v = llem_get(r, maps[i]);

        rule(c, "model and effective are maps", llem_is_null(v) || v->kind == LLEM_MAP, "%s is not",
             maps[i]);
    }
    return r != NULL;
}

static bool check_warmup(struct check *c)
{
    struct llem_value *params = llem_map(&c->arena);
    struct llem_rpc_reply reply;
    const struct llem_value *r;

    llem_set(&c->arena, params, "index", llem_int(&c->arena, 0));
    r = answer(c, "run_warmup_prompt", params, &reply);
    if (!r)
        return false;
    rule(c, "tells a latency", llem_real_at(r, "latency_ms", -1) >= 0,
         "there is no latency_ms of 0 or more in it");
    r = answer(c, "synchronize", NULL, &reply);
    if (r)
        rule(c, "tells the time", llem_int_at(r, "t_ns", -1) >= 0, "there is no t_ns in it");
    return r != NULL;
}

static struct llem_value *pass_params(struct check *c, int pass, const int *indices, size_t n,
                                      int repeats, bool stream)
{
    struct llem_arena *a = &c->arena;
    struct llem_value *params = llem_map(a), *list = llem_list(a);

    for (size_t i = 0; i < n; i++)
        llem_append(a, list, llem_int(a, indices[i]));
    llem_set(a, params, "pass", llem_int(a, pass));
    llem_set(a, params, "indices", list);
    llem_set(a, params, "repeats", llem_int(a, repeats));
    llem_set(a, params, "stream", llem_bool(a, stream));
    llem_set(a, params, "text", llem_bool(a, false));
    return params;
}

static bool in_order(const struct receipt *r, int64_t begin, int64_t end)
{
    const int64_t times[] = { begin, r->submit, r->scheduled, r->first, r->last, end };
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

static void check_receipts(struct check *c, const struct llem_value *params, int64_t begin,
                           int64_t end)
{
    const struct llem_value *list = llem_get(params, "indices");
    int64_t repeats = llem_int_at(params, "repeats", 1), pass = llem_int_at(params, "pass", 0);
    bool stream = llem_bool_at(params, "stream", false);
    bool order = true, input = true, limit = true, rise = true, counts = true, quiet = true;
    size_t missing = 0;

    if (!c->n_receipts)
        return; /* totals only: what it did not report is null */
    for (int64_t k = 0; k < repeats; k++)
        for (size_t i = 0; i < list->count; i++) {
            size_t found = 0;

            for (size_t n = 0; n < c->n_receipts; n++)
                found += c->receipts[n].pass == pass && c->receipts[n].repeat == k &&
                         c->receipts[n].i == list->items[i]->i;
            missing += found != 1;
        }
    for (size_t n = 0; n < c->n_receipts; n++) {
        const struct receipt *r = &c->receipts[n];

        order &= in_order(r, begin, end);
        input &= r->i < 0 || r->i >= (int64_t)LLEM_COUNT(texts) || r->input < 0 ||
                 r->input == c->lengths[r->i];
        limit &= r->output <= MAX_OUTPUT;
        rise &= r->times_rise;
        counts &= (r->n_ids == 0 || r->output < 0 || r->n_ids == (size_t)r->output) &&
                  (r->output < 0 || r->n_times <= (size_t)r->output);
        quiet &= stream || r->heard_ns >= end - c->offset_ns - c->half_ns;
    }
    rule(c, "one receipt for each prompt and repeat",
         !missing && c->n_receipts == list->count * (size_t)repeats,
         "%zu receipts for %zu prompts, %lld times", c->n_receipts, list->count,
         (long long)repeats);
    rule(c, "times of receipts are in order and within the edges", order, "those of one are not");
    rule(c, "input_tokens are those of load_prompts: padding is left out", input,
         "a receipt has another number");
    rule(c, "output_tokens keep max_output_tokens", limit, "one has more than %d", MAX_OUTPUT);
    rule(c, "token times rise", rise, "those of a receipt do not");
    rule(c, "no more token times, and as many output ids, as output tokens", counts,
         "those of a receipt are not");
    rule(c, "nothing is sent inside the window", quiet, "a receipt came before t_end_ns");
}

static bool check_pass(struct check *c, struct llem_value *params)
{
    struct llem_rpc_reply reply;
    const struct llem_value *r;
    int64_t begin, end;

    c->n_receipts = 0;
    r = answer(c, "run_inference", params, &reply);
    if (!r)
        return false;
    begin = llem_int_at(r, "t_begin_ns", -1);
    end = llem_int_at(r, "t_end_ns", -1);
    if (!rule(c, "tells its edges", begin >= 0 && end >= begin,
              "t_begin_ns and t_end_ns are not two times in order"))
        return true;
    rule(c, "its edges lie within the call",
         begin - c->offset_ns >= reply.sent_ns - 2 * c->half_ns &&
             end - c->offset_ns <= reply.received_ns + 2 * c->half_ns,
         "by its clock it began %.3f ms after the request and ended %.3f ms before the reply",
         (double)(begin - c->offset_ns - reply.sent_ns) / 1e6,
         (double)(reply.received_ns - end + c->offset_ns) / 1e6);
    rule(c, "tells tokens in receipts or in all",
         c->n_receipts || llem_int_at(r, "output_tokens", -1) >= 0,
         "there is neither a receipt nor output_tokens");
    check_receipts(c, params, begin, end);
    return true;
}

static void check_end(struct check *c)
{
    struct llem_rpc_reply reply;
    llem_error err = { 0 };
    llem_errcode rc;

    for (int i = 0; i < 2; i++) /* twice is allowed */
        if (!answer(c, "cleanup", NULL, &reply))
            return;
    if (!answer(c, "shutdown", NULL, &reply))
        return;
    rc = llem_rpc_leave(c->rpc, LEAVE_S, &err);
    rule(c, "exits with status 0 and says nothing more", rc == LLEM_OK, "%s", err.msg);
}

static llem_errcode start(struct check *c, llem_error *err)
{
    llem_rpc_end(c->rpc, 1000);
    c->rpc = NULL;
    return llem_rpc_start(&c->rpc, &c->opts, err);
}

static llem_errcode drive(struct check *c, llem_error *err)
{
    static const int three[] = { 0, 1, 3 }, one[] = { 2 }, none[] = { 99 };
    llem_errcode rc = start(c, err);

    if (rc < 0)
        return rc;
    if (check_initialize(c)) {
        must_refuse(c, "survives a method that does not exist", "no_such_method", NULL, true);
        check_hardware(c);
    }
    if (llem_rpc_broken(c->rpc) || !check_prompts(c) || !check_clock(c) || !check_load(c) ||
        !check_warmup(c) || !check_pass(c, pass_params(c, 1, three, 1, 1, false)) ||
        !check_pass(c, pass_params(c, 0, three, 3, 2, false)) ||
        !check_pass(c, pass_params(c, 2, one, 1, 1, true)))
        return LLEM_OK;
    must_refuse(c, "refuses a prompt that does not exist", "run_inference",
                pass_params(c, 0, none, 1, 1, false), false);
    if (llem_rpc_broken(c->rpc))
        return LLEM_OK;
    check_pass(c, pass_params(c, 0, one, 1, 1, false));
    {
        struct llem_rpc_reply reply;

        if (!llem_rpc_broken(c->rpc) && answer(c, "capture_observed_params", NULL, &reply))
            check_end(c);
    }
    /* Another one, whose harness is gone. */
    rc = start(c, err);
    if (rc == LLEM_OK && check_initialize(c)) {
        llem_error why = { 0 };
        llem_errcode left = llem_rpc_leave(c->rpc, LEAVE_S, &why);

        c->method = "end of input";
        rule(c, "exits with status 0", left == LLEM_OK, "%s", why.msg);
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
