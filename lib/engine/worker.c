/* SPDX-License-Identifier: MIT
 *
 * The engine table over the worker protocol. Every method is one request; what a worker answers is
 * checked here, so that nothing behind this table has to doubt it. Times are mapped from the
 * worker's clock to ours.
 */
#include "lib/engine/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/python.h"
#include "lib/engine/hub.h"

enum {
    CLOCK_PAIRS = 9,
    GRACE_MS = 5000,      /* from SIGTERM to SIGKILL, once it has been cancelled or has failed */
    LEAVE_S = 20,         /* from shutdown to its end: frameworks take their time */
    CANCELLED_LEAVE_S = 4 /* the same when somebody waits */
};

/* ---- how it is started -------------------------------------------------------------------- */

static bool is_python(const char *word)
{
    return strcmp(word, "python") == 0 || strcmp(word, "python3") == 0;
}

/* `runners.<name>` of the variables, the study or the user's configuration, in this order: the path
 * of local:PATH, NULL for none. */
static llem_errcode runner_of(const char **path, llem_ctx *ctx, const struct llem_value *study,
                              const char *name, llem_error *err)
{
    static const char local[] = "local:";
    const struct llem_value *user, *own, *v;
    const char *runner;
    llem_errcode rc = llem_user_config(ctx, &user, err);

    if (rc < 0)
        return rc;
    *path = NULL;
    v = llem_get(llem_get(user, "runners"), name);
    own = study && study->kind == LLEM_MAP ? llem_get(study, name) : NULL;
    if (!llem_is_null(own) && (!v || v->source != LLEM_FROM_ENVIRONMENT))
        v = own;
    runner = v && v->kind == LLEM_STRING ? v->s : "auto";
    if (llem_starts_with(runner, local))
        *path = runner + strlen(local);
    else if (strcmp(runner, "auto") != 0 && strcmp(runner, "local") != 0) {
        llem_fail(err, LLEM_ENOTSUP,
                  "engines cannot be started in containers yet, but runners.%s is \"%s\"", name,
                  runner);
        return llem_hint(err, LLEM_ENOTSUP,
                         "Set runners.%s to local, or to local:PATH with the path of its "
                         "Python environment.",
                         name);
    }
    return LLEM_OK;
}

llem_errcode llem_worker_command(struct llem_worker_command *out, llem_ctx *ctx,
                                 struct llem_arena *a, const struct llem_engine_info *info,
                                 llem_error *err)
{
    const struct llem_value *command = llem_get(info->yaml, "command");
    const char **argv = llem_arena_calloc(a, command->count + 1, sizeof(*argv));
    const char **env = llem_arena_calloc(a, 3, sizeof(*env));
    const char *told, *old = llem_ctx_variable(ctx, "PYTHONPATH");
    const char *shared = llem_ctx_data_path(ctx, a, "engines/worker");
    const char *cache = llem_hub_cache_configured(ctx, a);
    size_t n = 0;
    llem_errcode rc = runner_of(&told, ctx, ctx->runners, info->name, err);

    if (rc < 0)
        return rc;
    if (!argv || !env)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the command of %s", info->name);
    *out = (struct llem_worker_command){ .argv = argv, .env = env };
    for (size_t i = 0; i < command->count; i++) {
        const char *word = command->items[i]->s;
        const char *path = llem_path_join(a, info->dir, word);

        if (i == 0 && is_python(word)) {
            char *by = llem_arena_printf(a, "runners.%s", info->name);
            struct llem_python python = llem_python_of(ctx, a, info->name, told, by);

            out->interpreter = python.path;
            out->origin = python.origin;
            argv[i] = python.path;
        } else {
            /* What is in the folder is meant, wherever llem was started. */
            argv[i] = word[0] != '-' && path && llem_path_exists(path) ? path : word;
        }
    }
    /* A worker in Python of anybody's may use the module that ours share. */
    if (shared)
        env[n++] =
            llem_arena_printf(a, "PYTHONPATH=%s%s%s", shared, old ? ":" : "", old ? old : "");
    /* Its libraries look where llem looks and fetches to. */
    if (cache)
        env[n++] = llem_arena_printf(a, "HF_HUB_CACHE=%s", cache);
    return a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory for the command of %s", info->name)
                  : LLEM_OK;
}

llem_errcode llem_engine_place(const char **out, llem_ctx *ctx, struct llem_arena *a,
                               const char *engine, const struct llem_value *runners,
                               llem_error *err)
{
    const struct llem_engine_info *info = NULL;
    const struct llem_value *packages, *command;
    const char *told;
    llem_errcode rc = llem_engine_find(&info, ctx, engine, err);

    *out = NULL;
    if (rc < 0 || !info)
        return rc;
    packages = llem_get(info->yaml, "packages");
    command = llem_get(info->yaml, "command");
    if (!packages || packages->count == 0 || !command || command->count == 0)
        return LLEM_OK;
    rc = runner_of(&told, ctx, runners, engine, err);
    if (rc == LLEM_OK && is_python(command->items[0]->s))
        *out = llem_python_of(ctx, a, engine, told, NULL).path;
    return rc;
}

llem_errcode llem_worker_usable(llem_ctx *ctx, const struct llem_engine_info *info, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *packages = llem_get(info->yaml, "packages");
    struct llem_worker_command command;
    const char **names = NULL, *missing = NULL;
    llem_errcode rc = llem_worker_command(&command, ctx, &a, info, err);
    struct llem_python python = { 0 };

    if (rc < 0)
        goto done;
    names = llem_arena_calloc(&a, (packages ? packages->count : 0) + 1, sizeof(*names));
    for (size_t i = 0; names && packages && i < packages->count; i++)
        names[i] = packages->items[i]->s;
    if (!names) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for the packages of %s", info->name);
    } else if (command.interpreter) {
        python.path = command.interpreter;
        rc = llem_python_lacks(&missing, &python, names, err);
    } else if (strchr(command.argv[0], '/') && !llem_path_exists(command.argv[0])) {
        rc = llem_fail(err, LLEM_ENOTFOUND, "its worker '%s' is not there", command.argv[0]);
    }
    if (rc < 0 && command.interpreter)
        llem_hint(err, rc, "%s chose it; LLEM_PYTHON names another.", command.origin);
    if (rc == LLEM_OK && missing) {
        rc = llem_fail(err, LLEM_EPREFLIGHT, "the Python package %s is not installed for %s (%s)",
                       missing, command.interpreter, command.origin);
        llem_hint(err, rc, "%s -m pip install %s", command.interpreter, missing);
    }
done:
    llem_arena_done(&a);
    return rc;
}

/* ---- one worker --------------------------------------------------------------------------- */

struct worker {
    struct llem_engine_args args;
    struct llem_arena arena; /* lives as long as the worker */
    struct llem_rpc *rpc;
    struct llem_rpc_opts opts;
    const char *version;
    const struct llem_value *libraries;
    size_t n_prompts;
    bool repeats; /* of the capabilities: it can run a pass several times over */

    /* The worker's clock: ours is `offset_ns` less, to within half_width_ns. */
    bool have_clock;
    int64_t offset_ns, half_width_ns;
    struct llem_arena *loaded_arena;
    struct llem_value *clock; /* in what load_model returned; completed after the window */

    /* The pass that runs. */
    const struct llem_pass *pass;
    const struct llem_receipts *receipts;
    int64_t *numbers; /* of one receipt: token times, then output ids */
    int32_t *ids;
    size_t numbers_cap, ids_cap;
};

static llem_errcode call(struct worker *w, const char *method, const struct llem_value *params,
                         struct llem_arena *a, struct llem_rpc_reply *reply, llem_error *err)
{
    llem_error own = { 0 };
    llem_errcode rc = llem_worker_call(w->rpc, w->args.info, method, params, a, reply, &own);

    if (rc == LLEM_OK && reply->result->kind != LLEM_MAP) {
        rc = llem_fail(&own, LLEM_EPLUGIN, "%s answered %s with no map", w->opts.name, method);
        llem_hint(&own, rc, "`llem check-engine %s` tells more.", w->args.info->name);
    }
    if (rc < 0 && err)
        *err = own;
    return rc;
}

/* What the worker answered is not what the protocol says. */
__attribute__((format(printf, 3, 4))) static llem_errcode
violated(const struct worker *w, llem_error *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    llem_fail(err, LLEM_EPLUGIN, "%s: %s", w->opts.name, text);
    return llem_hint(err, LLEM_EPLUGIN, "`llem check-engine %s` tells more.", w->args.info->name);
}

/* ---- clocks ------------------------------------------------------------------------------- */

/* The pair with the shortest round trip: the answer was made somewhere in it. A worker that has no
 * clock of its own (*has = false) tells times of ours. */
static llem_errcode read_clock(struct worker *w, bool *has, int64_t *offset_ns, int64_t *half_ns,
                               llem_error *err)
{
    int64_t shortest = INT64_MAX;

    for (int i = 0; i < CLOCK_PAIRS; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_rpc_reply r;
        llem_errcode rc = call(w, "clock", NULL, &a, &r, err);
        int64_t t_ns = rc == LLEM_OK ? llem_int_at(r.result, "t_ns", -1) : 0;

        *has = rc == LLEM_OK && !llem_is_null(llem_get(r.result, "t_ns"));
        llem_arena_done(&a);
        if (rc < 0 || !*has)
            return rc;
        if (t_ns < 0)
            return violated(w, err, "clock answered a t_ns that is no time");
        if (r.received_ns - r.sent_ns >= shortest)
            continue;
        shortest = r.received_ns - r.sent_ns;
        *half_ns = (shortest + 1) / 2;
        *offset_ns = t_ns - (r.sent_ns + shortest / 2);
    }
    return LLEM_OK;
}

static struct llem_value *clock_pair(struct llem_arena *a, int64_t offset_ns, int64_t half_ns)
{
    struct llem_value *v = llem_list(a);

    llem_append(a, v, llem_int(a, offset_ns));
    llem_append(a, v, llem_int(a, half_ns));
    return v;
}

static llem_errcode clock_before(struct worker *w, llem_error *err)
{
    int64_t offset_ns = 0, half_ns = 0;
    llem_errcode rc = read_clock(w, &w->have_clock, &offset_ns, &half_ns, err);

    w->clock = llem_null(w->loaded_arena);
    if (rc < 0 || !w->have_clock)
        return rc;
    w->half_width_ns = half_ns;
    /* Two clocks that cannot be told apart are one: a worker on this host reads the same. */
    w->offset_ns = llabs(offset_ns) <= half_ns ? 0 : offset_ns;
    w->clock = llem_map(w->loaded_arena);
    llem_set(w->loaded_arena, w->clock, "offset_ns", llem_int(w->loaded_arena, w->offset_ns));
    llem_set(w->loaded_arena, w->clock, "half_width_ns", llem_int(w->loaded_arena, half_ns));
    llem_set(w->loaded_arena, w->clock, "before", clock_pair(w->loaded_arena, offset_ns, half_ns));
    llem_set(w->loaded_arena, w->clock, "after", llem_null(w->loaded_arena));
    return LLEM_OK;
}

/* By how much the clocks drifted apart meanwhile is part of the doubt. */
static void clock_after(struct worker *w)
{
    int64_t offset_ns, half_ns, doubt;
    bool has;

    if (!w->have_clock || read_clock(w, &has, &offset_ns, &half_ns, NULL) < 0 || !has)
        return;
    doubt = llabs(offset_ns - w->offset_ns) + half_ns;
    if (w->offset_ns == 0 && llabs(offset_ns) <= half_ns)
        doubt = half_ns;
    if (doubt > w->half_width_ns)
        w->half_width_ns = doubt;
    llem_set(w->loaded_arena, w->clock, "half_width_ns",
             llem_int(w->loaded_arena, w->half_width_ns));
    llem_set(w->loaded_arena, w->clock, "after", clock_pair(w->loaded_arena, offset_ns, half_ns));
}

/* A time of the worker's as ours; LLEM_UNKNOWN if it is not told. */
static int64_t host_time(const struct worker *w, const struct llem_value *map, const char *key)
{
    const struct llem_value *v = llem_get(map, key);

    return v && v->kind == LLEM_INT && v->i >= 0 ? v->i - w->offset_ns : LLEM_UNKNOWN;
}

/* ---- notifications ------------------------------------------------------------------------ */

/* A count of the receipt; LLEM_UNKNOWN if it is left out or null. false: it is no count. */
static bool count_at(const struct llem_value *map, const char *key, int32_t *out)
{
    const struct llem_value *v = llem_get(map, key);

    *out = LLEM_UNKNOWN;
    if (llem_is_null(v))
        return true;
    if (v->kind != LLEM_INT || v->i < 0 || v->i > INT32_MAX)
        return false;
    *out = (int32_t)v->i;
    return true;
}

/* Room for `count` numbers of a receipt; kept from one to the next. */
static bool room(void **numbers, size_t *cap, size_t count, size_t size)
{
    void *more;

    if (count <= *cap)
        return true;
    more = realloc(*numbers, count * size);
    if (!more)
        return false;
    *numbers = more;
    *cap = count;
    return true;
}

/* The list under `key`; NULL if it is left out. *bad: it holds something else than whole numbers
 * from 0 to `most`. */
static const struct llem_value *numbers_at(const struct llem_value *map, const char *key,
                                           int64_t most, bool *bad)
{
    const struct llem_value *list = llem_get(map, key);

    if (llem_is_null(list))
        return NULL;
    *bad |= list->kind != LLEM_LIST;
    for (size_t i = 0; !*bad && i < list->count; i++)
        *bad |=
            list->items[i]->kind != LLEM_INT || list->items[i]->i < 0 || list->items[i]->i > most;
    return *bad ? NULL : list;
}

/* The hash of output ids as little-endian int32, which lets engines be compared. */
static const char *hash_ids(char hex[65], const int32_t *ids, size_t count)
{
    struct llem_sha256 sha;

    llem_sha256_init(&sha);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = (uint32_t)ids[i];
        uint8_t bytes[4] = { (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                             (uint8_t)(id >> 24) };

        llem_sha256_add(&sha, bytes, sizeof(bytes));
    }
    llem_sha256_hex(&sha, hex);
    return hex;
}

static llem_errcode take_request(struct worker *w, const struct llem_value *p, llem_error *err)
{
    const struct llem_value *times, *ids;
    struct llem_receipt r = { .finish = llem_str_at(p, "finish", NULL),
                              .output_sha256 = llem_str_at(p, "output_sha256", NULL),
                              .output_text = llem_str_at(p, "output_text", NULL) };
    bool bad = false;
    char hex[65];

    if (!w->pass || !w->receipts)
        return llem_fail(err, LLEM_EPLUGIN, "sent a receipt while nothing ran");
    bad |= !count_at(p, "pass", &r.pass) || !count_at(p, "repeat", &r.repeat) ||
           !count_at(p, "i", &r.index) || !count_at(p, "input_tokens", &r.input_tokens) ||
           !count_at(p, "cached_tokens", &r.cached_tokens) ||
           !count_at(p, "output_tokens", &r.output_tokens);
    if (r.repeat == LLEM_UNKNOWN)
        r.repeat = 0;
    if (r.pass == LLEM_UNKNOWN)
        r.pass = w->pass->id;
    times = numbers_at(p, "token_ns", INT64_MAX, &bad);
    ids = numbers_at(p, "output_ids", INT32_MAX, &bad);
    if (bad)
        return llem_fail(err, LLEM_EPLUGIN, "sent a receipt with a count that is none");
    if (r.pass != w->pass->id || r.index < 0 || (size_t)r.index >= w->n_prompts ||
        r.repeat >= w->pass->repeats)
        return llem_fail(err, LLEM_EPLUGIN,
                         "sent a receipt for prompt %d, repeat %d of pass %d, which did not run",
                         r.index, r.repeat, r.pass);
    if (ids && r.output_tokens != LLEM_UNKNOWN && (size_t)r.output_tokens != ids->count)
        return llem_fail(err, LLEM_EPLUGIN,
                         "sent a receipt with %d output tokens and %zu output ids", r.output_tokens,
                         ids->count);
    if ((times && !room((void **)&w->numbers, &w->numbers_cap, times->count, sizeof(int64_t))) ||
        (ids && !room((void **)&w->ids, &w->ids_cap, ids->count, sizeof(int32_t))))
        return llem_fail(err, LLEM_ENOMEM, "sent a receipt that does not fit into memory");
    for (size_t i = 0; times && i < times->count; i++)
        w->numbers[i] = times->items[i]->i - w->offset_ns;
    for (size_t i = 0; ids && i < ids->count; i++)
        w->ids[i] = (int32_t)ids->items[i]->i;
    r.t_submit_ns = host_time(w, p, "t_submit_ns");
    r.t_scheduled_ns = host_time(w, p, "t_scheduled_ns");
    r.t_first_ns = host_time(w, p, "t_first_ns");
    r.t_last_ns = host_time(w, p, "t_last_ns");
    r.token_ns = times ? w->numbers : NULL;
    r.n_token_ns = times ? times->count : 0;
    r.output_ids = ids ? w->ids : NULL;
    if (ids && r.output_tokens == LLEM_UNKNOWN)
        r.output_tokens = (int32_t)ids->count;
    if (ids && !r.output_sha256)
        r.output_sha256 = hash_ids(hex, w->ids, ids->count);
    w->receipts->request(w->receipts->user, &r);
    return LLEM_OK;
}

static llem_errcode take_steps(struct worker *w, const struct llem_value *p, llem_error *err)
{
    static const char *const names[] = { "begin_ns", "end_ns", "prefill_tokens", "decode_tokens",
                                         "batch" };
    const struct llem_value *lists[LLEM_COUNT(names)];
    bool bad = false;
    size_t n;

    if (!w->receipts)
        return llem_fail(err, LLEM_EPLUGIN, "sent steps while nothing ran");
    for (size_t k = 0; k < LLEM_COUNT(names); k++)
        lists[k] = numbers_at(p, names[k], k < 2 ? INT64_MAX : INT32_MAX, &bad);
    if (bad || !lists[0] || !lists[1])
        return llem_fail(err, LLEM_EPLUGIN, "sent steps without begin_ns and end_ns in lists");
    n = lists[0]->count;
    for (size_t k = 1; k < LLEM_COUNT(names); k++)
        if (lists[k] && lists[k]->count != n)
            return llem_fail(err, LLEM_EPLUGIN, "sent steps with lists of different lengths");
    for (size_t i = 0; i < n; i++) {
        const struct llem_engine_step s = {
            .begin_ns = lists[0]->items[i]->i - w->offset_ns,
            .end_ns = lists[1]->items[i]->i - w->offset_ns,
            .prefill_tokens = lists[2] ? (int32_t)lists[2]->items[i]->i : LLEM_UNKNOWN,
            .decode_tokens = lists[3] ? (int32_t)lists[3]->items[i]->i : LLEM_UNKNOWN,
            .batch = lists[4] ? (int32_t)lists[4]->items[i]->i : LLEM_UNKNOWN,
        };

        w->receipts->step(w->receipts->user, &s);
    }
    return LLEM_OK;
}

static llem_errcode take_progress(struct worker *w, const struct llem_value *p, llem_error *err)
{
    double fraction = llem_real_at(p, "fraction", -1);

    (void)err;
    if (w->args.progress && !w->pass)
        w->args.progress(w->args.progress_user, llem_str_at(p, "text", ""),
                         fraction >= 0 && fraction <= 1 ? fraction : -1);
    return LLEM_OK;
}

static llem_errcode take_log(struct worker *w, const struct llem_value *p, llem_error *err)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    const char *level = llem_str_at(p, "level", "info");
    size_t i = 0;

    (void)err;
    while (i < LLEM_COUNT(names) - 1 && strcmp(names[i], level) != 0)
        i++;
    llem_log(w->args.ctx, (enum llem_log_level)i, w->args.info->name, "%s",
             llem_str_at(p, "text", ""));
    return LLEM_OK;
}

static llem_errcode take_observation(struct worker *w, const struct llem_value *p, llem_error *err)
{
    const struct llem_observation o = {
        .level = strcmp(llem_str_at(p, "level", ""), "error") == 0 ? "error" : "warning",
        .source = llem_str_at(p, "source", ""),
        .text = llem_str_at(p, "text", ""),
        .file = llem_str_at(p, "file", ""),
        .line = llem_int_at(p, "line", 0),
        .count = llem_int_at(p, "count", 1),
    };

    (void)err;
    if (w->args.observe && *o.text)
        w->args.observe(w->args.progress_user, &o);
    return LLEM_OK;
}

static const struct {
    const char *method;
    llem_errcode (*take)(struct worker *w, const struct llem_value *p, llem_error *err);
} notifications[] = {
    { "request", take_request },         { "steps", take_steps },
    { "progress", take_progress },       { "log", take_log },
    { "observation", take_observation },
};

bool llem_worker_may_notify(const char *method)
{
    for (size_t i = 0; i < LLEM_COUNT(notifications); i++)
        if (strcmp(notifications[i].method, method) == 0)
            return true;
    return false;
}

static llem_errcode notified(void *user, const char *method, const struct llem_value *params,
                             llem_error *err)
{
    struct worker *w = user;

    for (size_t i = 0; i < LLEM_COUNT(notifications); i++)
        if (strcmp(notifications[i].method, method) == 0)
            return notifications[i].take(w, params, err);
    return llem_fail(err, LLEM_EPLUGIN, "sent the notification '%s', which does not exist", method);
}

static void waiting(void *user)
{
    struct worker *w = user;

    w->args.alive(w->args.progress_user);
}

/* ---- the table ---------------------------------------------------------------------------- */

static bool cancelled(const struct worker *w)
{
    return w->args.cancel && atomic_load(w->args.cancel) != 0;
}

static void worker_cleanup(void *self)
{
    static const char *const last[] = { "cleanup", "shutdown" };
    struct worker *w = self;
    bool hurry = cancelled(w);
    bool polite = !llem_rpc_broken(w->rpc);

    for (size_t i = 0; polite && i < LLEM_COUNT(last); i++) {
        struct llem_rpc_limits l = llem_worker_limits(w->args.info, last[i]);
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_rpc_reply r;

        l.insist = true;
        if (hurry && l.deadline_s > CANCELLED_LEAVE_S)
            l.deadline_s = CANCELLED_LEAVE_S;
        (void)llem_rpc_call(w->rpc, last[i], NULL, &l, &a, &r, NULL);
        llem_arena_done(&a);
        polite = !llem_rpc_broken(w->rpc);
    }
    if (polite)
        (void)llem_rpc_leave(w->rpc, hurry ? CANCELLED_LEAVE_S : LEAVE_S, NULL);
}

static void worker_destroy(void *self)
{
    struct worker *w = self;

    if (!w)
        return;
    llem_rpc_end(w->rpc, GRACE_MS);
    free(w->numbers);
    free(w->ids);
    llem_arena_done(&w->arena);
    free(w);
}

static llem_errcode initialize(struct worker *w, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_rpc_reply r;
    const char *version;
    llem_errcode rc =
        call(w, "initialize",
             llem_worker_initialize_params(&a, w->args.info, w->args.model_path, w->args.config),
             &a, &r, err);

    if (rc < 0)
        goto done;
    if (llem_int_at(r.result, "protocol", -1) != LLEM_WORKER_PROTOCOL) {
        rc = violated(w, err, "it speaks version %lld of the worker protocol, and this llem %d",
                      (long long)llem_int_at(r.result, "protocol", -1), LLEM_WORKER_PROTOCOL);
        goto done;
    }
    version = llem_str_at(r.result, "version", "");
    w->version = llem_arena_strdup(&w->arena, *version ? version : "unknown");
    w->repeats = llem_worker_can(r.result, "repeats");
    w->libraries = llem_get(r.result, "libraries");
    if (w->libraries && w->libraries->kind == LLEM_MAP)
        w->libraries = llem_copy(&w->arena, w->libraries);
    else
        w->libraries = llem_map(&w->arena);
    if (w->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for %s", w->opts.name);
done:
    llem_arena_done(&a);
    return rc;
}

static llem_errcode worker_create(void **self, const struct llem_engine_args *args, llem_error *err)
{
    struct worker *w = calloc(1, sizeof(*w));
    struct llem_worker_command command;
    llem_errcode rc;

    if (!w)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate engine '%s'", args->info->name);
    w->args = *args;
    rc = llem_worker_command(&command, args->ctx, &w->arena, args->info, err);
    if (rc < 0)
        goto done;
    w->opts = (struct llem_rpc_opts){
        .ctx = args->ctx,
        .name = llem_arena_printf(&w->arena, "the worker of engine '%s'", args->info->name),
        .argv = command.argv,
        .env = command.env,
        .log_fd = args->log_fd > 0 ? args->log_fd : -1,
        .log_name = args->dir ? llem_arena_printf(&w->arena, "%s/worker.log", args->dir) : NULL,
        .cancel = args->cancel,
        .kinds = llem_worker_kinds(&w->arena, command.interpreter),
        .waiting = args->alive ? waiting : NULL,
        .notify = notified,
        .user = w,
    };
    if (w->arena.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "cannot allocate engine '%s'", args->info->name);
        goto done;
    }
    llem_log(args->ctx, LLEM_LOG_INFO, "engine", "the worker of %s is %s%s%s", args->info->name,
             command.argv[0], command.origin ? ", chosen by " : "",
             command.origin ? command.origin : "");
    rc = llem_rpc_start(&w->rpc, &w->opts, err);
    if (rc < 0 && command.interpreter)
        llem_hint(err, rc, "%s chose '%s'; LLEM_PYTHON names another interpreter.", command.origin,
                  command.interpreter);
    if (rc == LLEM_OK)
        rc = initialize(w, err);
    if (rc < 0)
        goto done;
    *self = w;
    w = NULL;
done:
    worker_destroy(w);
    return rc;
}

static const char *worker_version(void *self)
{
    const struct worker *w = self;

    return w->version;
}

static struct llem_value *worker_check_hardware(void *self, struct llem_arena *a)
{
    struct llem_value *list = llem_list(a);
    const struct llem_value *errors;
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    if (call(self, "check_hardware", NULL, a, &r, &err) < 0) {
        llem_append(a, list, llem_string(a, err.msg));
        return list;
    }
    errors = llem_get(r.result, "errors");
    for (size_t i = 0; errors && errors->kind == LLEM_LIST && i < errors->count; i++)
        if (errors->items[i]->kind == LLEM_STRING)
            llem_append(a, list, errors->items[i]);
    return list;
}

static llem_errcode worker_load_prompts(void *self, const struct llem_prompt *prompts, size_t count,
                                        int32_t *input_tokens, int32_t *truncated, llem_error *err)
{
    struct worker *w = self;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *params = llem_worker_prompts_params(
        &a, prompts, count, llem_int_at(w->args.config, "task.max_input_tokens", 0));
    const struct llem_value *tokens;
    struct llem_rpc_reply r;
    bool bad = false;
    llem_errcode rc;

    if (a.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for %zu prompts", count);
        goto done;
    }
    rc = call(w, "load_prompts", params, &a, &r, err);
    if (rc < 0)
        goto done;
    tokens = llem_get(r.result, "input_tokens");
    tokens = llem_is_null(tokens) ? NULL : tokens; /* it does not know any */
    for (size_t i = 0; tokens && tokens->kind == LLEM_LIST && i < tokens->count; i++) {
        const struct llem_value *n = tokens->items[i];

        bad |= n->kind != LLEM_NULL && (n->kind != LLEM_INT || n->i < 0 || n->i > INT32_MAX);
    }
    if (tokens && (bad || tokens->kind != LLEM_LIST || tokens->count != count)) {
        rc = violated(w, err, "load_prompts answered %zu token counts for %zu prompts",
                      tokens->kind == LLEM_LIST ? tokens->count : 0, count);
        goto done;
    }
    for (size_t i = 0; i < count; i++)
        input_tokens[i] = tokens && tokens->items[i]->kind == LLEM_INT
                              ? (int32_t)tokens->items[i]->i
                              : LLEM_UNKNOWN;
    if (!count_at(r.result, "truncated", truncated) || *truncated == LLEM_UNKNOWN)
        *truncated = 0;
    w->n_prompts = count;
done:
    llem_arena_done(&a);
    return rc;
}

static llem_errcode worker_open_device(void *self, struct llem_arena *a,
                                       struct llem_value **devices, llem_error *err)
{
    struct worker *w = self;
    struct llem_rpc_reply r;
    struct llem_value *list;
    llem_errcode rc = call(w, "open_device", NULL, a, &r, err);

    if (rc < 0)
        return rc;
    list = llem_get(r.result, "devices");
    if (!list)
        return llem_engine_cpu_device(self, a, devices, err);
    if (list->kind != LLEM_LIST)
        return violated(w, err, "open_device answered devices that are no list");
    *devices = list;
    return LLEM_OK;
}

static llem_errcode worker_load_model(void *self, struct llem_arena *a, struct llem_value **loaded,
                                      llem_error *err)
{
    struct worker *w = self;
    struct llem_rpc_reply r;
    llem_errcode rc;

    w->loaded_arena = a;
    rc = clock_before(w, err);
    if (rc == LLEM_OK)
        rc = call(w, "load_model", NULL, a, &r, err);
    if (rc < 0)
        return rc;
    if (!llem_get(r.result, "libraries"))
        llem_set(a, r.result, "libraries", llem_copy(a, w->libraries));
    llem_set(a, r.result, "clock", w->clock);
    *loaded = r.result;
    return LLEM_OK;
}

static llem_errcode worker_run_warmup_prompt(void *self, int32_t index, double *latency_ms,
                                             llem_error *err)
{
    struct worker *w = self;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_rpc_reply r;
    llem_errcode rc =
        call(w, "run_warmup_prompt", llem_worker_warmup_params(&a, index), &a, &r, err);

    if (rc == LLEM_OK && llem_is_null(llem_get(r.result, "latency_ms"))) {
        *latency_ms = 0; /* it opts out */
    } else if (rc == LLEM_OK) {
        double ms = llem_real_at(r.result, "latency_ms", NAN);

        if (ms >= 0)
            *latency_ms = ms;
        else
            rc = violated(w, err, "run_warmup_prompt answered a latency_ms that is none");
    }
    llem_arena_done(&a);
    return rc;
}

static llem_errcode worker_synchronize(void *self, int64_t *t_ns, llem_error *err)
{
    struct worker *w = self;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_rpc_reply r;
    llem_errcode rc = call(w, "synchronize", NULL, &a, &r, err);

    if (rc == LLEM_OK && llem_is_null(llem_get(r.result, "t_ns"))) {
        rc = llem_engine_host_sync(self, t_ns, err);
    } else if (rc == LLEM_OK) {
        *t_ns = host_time(w, r.result, "t_ns");
        if (*t_ns == LLEM_UNKNOWN)
            rc = violated(w, err, "synchronize answered a t_ns that is no time");
    }
    llem_arena_done(&a);
    return rc;
}

/* What each process of an engine with several reports; its times become ours. */
static llem_errcode take_processes(struct worker *w, const struct llem_value *told,
                                   const struct llem_value **out, llem_error *err)
{
    static const char *const times[] = { "t_begin_ns", "t_end_ns" };
    struct llem_value *list;

    *out = NULL;
    if (llem_is_null(told))
        return LLEM_OK;
    list = llem_copy(&w->arena, told);
    for (size_t i = 0; list->kind == LLEM_LIST && i < list->count; i++) {
        struct llem_value *one = list->items[i];

        if (one->kind != LLEM_MAP)
            return violated(w, err, "process_results has an item that is no map");
        for (size_t k = 0; k < LLEM_COUNT(times); k++) {
            int64_t t_ns = host_time(w, one, times[k]);

            if (t_ns != LLEM_UNKNOWN)
                llem_set(&w->arena, one, times[k], llem_int(&w->arena, t_ns));
        }
    }
    if (list->kind != LLEM_LIST)
        return violated(w, err, "process_results is no list");
    *out = list;
    return w->arena.oom ? llem_fail(err, LLEM_ENOMEM, "out of memory for process_results")
                        : LLEM_OK;
}

static llem_errcode worker_run_inference(void *self, const struct llem_pass *pass,
                                         const struct llem_receipts *receipts,
                                         struct llem_inference *out, llem_error *err)
{
    struct worker *w = self;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_rpc_reply r;
    llem_errcode rc;

    if (pass->repeats > 1 && !w->repeats)
        return llem_fail(err, LLEM_ENOTSUP,
                         "%s runs each pass once: its capabilities lack \"repeats\"", w->opts.name);
    w->pass = pass;
    w->receipts = receipts;
    rc = call(w, "run_inference", llem_worker_pass_params(&a, pass), &a, &r, err);
    w->pass = NULL;
    w->receipts = NULL;
    if (rc < 0)
        goto done;
    out->t_begin_ns = host_time(w, r.result, "t_begin_ns");
    out->t_end_ns = host_time(w, r.result, "t_end_ns");
    if (out->t_begin_ns < 0 || out->t_end_ns < out->t_begin_ns) {
        rc = violated(w, err, "run_inference answered without edges: t_begin_ns and t_end_ns");
        goto done;
    }
    out->peak_memory_bytes = llem_int_at(r.result, "peak_memory_bytes", LLEM_UNKNOWN);
    out->input_tokens = llem_int_at(r.result, "input_tokens", LLEM_UNKNOWN);
    out->output_tokens = llem_int_at(r.result, "output_tokens", LLEM_UNKNOWN);
    rc = take_processes(w, llem_get(r.result, "process_results"), &out->process_results, err);
done:
    llem_arena_done(&a);
    return rc;
}

static struct llem_value *worker_capture_observed_params(void *self, struct llem_arena *a)
{
    struct worker *w = self;
    struct llem_rpc_reply r;
    llem_error err = { 0 };

    clock_after(w);
    if (call(w, "capture_observed_params", NULL, a, &r, &err) == LLEM_OK)
        return r.result;
    llem_log(w->args.ctx, LLEM_LOG_WARNING, w->args.info->name, "%s", err.msg);
    return llem_map(a);
}

const struct llem_engine_class llem_engine_worker = {
    .create = worker_create,
    .version = worker_version,
    .check_hardware = worker_check_hardware,
    .load_prompts = worker_load_prompts,
    .open_device = worker_open_device,
    .load_model = worker_load_model,
    .run_warmup_prompt = worker_run_warmup_prompt,
    .synchronize = worker_synchronize,
    .run_inference = worker_run_inference,
    .output_so_far = llem_engine_output_unknown,
    .capture_observed_params = worker_capture_observed_params,
    .cleanup = worker_cleanup,
    .destroy = worker_destroy,
};
