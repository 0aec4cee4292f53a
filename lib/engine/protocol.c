/* SPDX-License-Identifier: MIT
 *
 * The worker protocol as it is sent: each method's params, how long it may take, which ones a
 * worker may lack, and the kinds of errors. The client and llem check-engine share it, so that what
 * is checked is what is asked.
 */
#include <string.h>

#include "lib/engine/worker.h"

static const struct method {
    const char *name;
    double deadline_s, silence_s; /* 0 = no limit of its own: the experiment's limit ends it */
    bool needed;                  /* else it has a default: nothing to say */
} methods[] = {
    { "initialize", 300, 0, true },
    { "clock", 30, 0, false },
    { "check_hardware", 300, 0, false },
    { "load_prompts", 1800, 0, false },
    { "open_device", 600, 0, false },
    { "load_model", 0, 3600, false },
    { "run_warmup_prompt", 3600, 0, false },
    { "synchronize", 600, 0, false },
    { "run_inference", 0, 0, true },
    { "capture_observed_params", 60, 0, false },
    { "cleanup", 60, 0, false },
    { "shutdown", 60, 0, false },
};

static const struct method *find(const char *name)
{
    for (size_t i = 0; i < LLEM_COUNT(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

struct llem_rpc_limits llem_worker_limits(const struct llem_engine_info *info, const char *method)
{
    const struct method *m = find(method);
    struct llem_rpc_limits l = { 0 };

    if (m)
        l = (struct llem_rpc_limits){ .deadline_s = m->deadline_s, .silence_s = m->silence_s };
    l.deadline_s = llem_real_at(llem_get(info->yaml, "timeouts"), method, l.deadline_s);
    return l;
}

llem_errcode llem_worker_call(struct llem_rpc *rpc, const struct llem_engine_info *info,
                              const char *method, const struct llem_value *params,
                              struct llem_arena *a, struct llem_rpc_reply *reply, llem_error *err)
{
    const struct llem_rpc_limits l = llem_worker_limits(info, method);
    const struct method *m = find(method);
    llem_error own = { 0 };
    llem_errcode rc = llem_rpc_call(rpc, method, params, &l, a, reply, &own);

    if (rc < 0 && m && !m->needed && reply->error_code == LLEM_WORKER_NO_METHOD &&
        !llem_rpc_broken(rpc)) {
        reply->result = llem_map(a);
        rc = a->oom ? llem_fail(&own, LLEM_ENOMEM, "out of memory for %s", method) : LLEM_OK;
    }
    if (rc < 0 && err)
        *err = own;
    return rc;
}

bool llem_worker_can(const struct llem_value *hello, const char *capability)
{
    const struct llem_value *list = llem_get(hello, "capabilities");

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++)
        if (list->items[i]->kind == LLEM_STRING && strcmp(list->items[i]->s, capability) == 0)
            return true;
    return false;
}

const struct llem_rpc_kind *llem_worker_kinds(struct llem_arena *a, const char *interpreter)
{
    const struct llem_rpc_kind kinds[] = {
        { "config", LLEM_ECONFIG, NULL },
        { "hardware", LLEM_ENOTSUP, NULL },
        { "out_of_memory", LLEM_ENOMEM,
          "Use a smaller batch, fewer output tokens, a smaller dtype or a smaller model." },
        { "model_not_found", LLEM_ENOTFOUND,
          "Check task.model: a hub id, or a directory written ./name or /path." },
        { "gated_model", LLEM_EPREFLIGHT,
          "Accept the model's licence on its page, and set HF_TOKEN to a token of that account." },
        { "missing_package", LLEM_EPREFLIGHT,
          interpreter ? llem_arena_printf(a, "Install it for %s, or let LLEM_PYTHON name another.",
                                          interpreter)
                      : NULL },
        { "engine", LLEM_EPLUGIN, NULL },
        { NULL, LLEM_OK, NULL },
    };
    struct llem_rpc_kind *copy = llem_arena_alloc(a, sizeof(kinds));

    if (copy)
        memcpy(copy, kinds, sizeof(kinds));
    return copy;
}

/* ---- params ------------------------------------------------------------------------------- */

struct llem_value *llem_worker_initialize_params(struct llem_arena *a,
                                                 const struct llem_engine_info *info,
                                                 const char *model, const struct llem_value *config)
{
    struct llem_value *params = llem_map(a);

    llem_set(a, params, "protocol", llem_int(a, LLEM_WORKER_PROTOCOL));
    llem_set(a, params, "engine", llem_string(a, info->name));
    llem_set(a, params, "model", llem_string(a, model));
    llem_set(a, params, "config", llem_copy(a, config));
    llem_set(a, params, "paths", llem_map(a));
    return params;
}

struct llem_value *llem_worker_prompts_params(struct llem_arena *a,
                                              const struct llem_prompt *prompts, size_t count,
                                              int64_t max_input_tokens)
{
    struct llem_value *params = llem_map(a), *list = llem_list(a);

    for (size_t i = 0; i < count; i++) {
        struct llem_value *one;

        if (prompts[i].text) {
            one = llem_string(a, prompts[i].text);
        } else {
            one = llem_list(a);
            for (size_t k = 0; k < prompts[i].n_ids; k++)
                llem_append(a, one, llem_int(a, prompts[i].ids[k]));
        }
        llem_append(a, list, one);
    }
    llem_set(a, params, "max_input_tokens",
             max_input_tokens > 0 ? llem_int(a, max_input_tokens) : llem_null(a));
    llem_set(a, params, "prompts", list);
    return params;
}

struct llem_value *llem_worker_warmup_params(struct llem_arena *a, int32_t index)
{
    struct llem_value *params = llem_map(a);

    llem_set(a, params, "index", llem_int(a, index));
    return params;
}

struct llem_value *llem_worker_pass_params(struct llem_arena *a, const struct llem_pass *pass)
{
    struct llem_value *params = llem_map(a), *indices = llem_list(a);

    for (size_t i = 0; i < pass->count; i++)
        llem_append(a, indices, llem_int(a, pass->indices[i]));
    llem_set(a, params, "pass", llem_int(a, pass->id));
    llem_set(a, params, "indices", indices);
    llem_set(a, params, "repeats", llem_int(a, pass->repeats));
    llem_set(a, params, "stream", llem_bool(a, pass->stream));
    llem_set(a, params, "text", llem_bool(a, pass->text));
    return params;
}
