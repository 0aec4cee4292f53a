/* SPDX-License-Identifier: MIT
 *
 * The engine table over functions of the caller's (llem_engine_table): an engine that runs in this
 * process.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/engine/engine.h"

struct caller {
    const llem_engine_table *table;
    const char **prompts; /* borrowed texts, in the order of load_prompts */
    size_t n_prompts;
    bool cleaned;
};

/* A failure that says nothing is still a failure with a sentence. */
static llem_errcode failed(const struct caller *c, const char *what, llem_errcode rc,
                           llem_error *err)
{
    if (err && !err->msg[0])
        llem_fail(err, rc, "the engine %s failed in %s", c->table->name, what);
    if (err)
        err->code = rc;
    return rc;
}

static llem_errcode caller_create(void **self, const struct llem_engine_args *args, llem_error *err)
{
    struct caller *c = calloc(1, sizeof(*c));

    if (!c)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for an engine");
    c->table = args->user;
    *self = c;
    return LLEM_OK;
}

static const char *caller_version(void *self)
{
    const struct caller *c = self;

    return c->table->version ? c->table->version : "unknown";
}

/* ---- answers ------------------------------------------------------------------------------ */

struct answer {
    struct llem_arena *a;
    struct llem_value *list; /* of texts */
};

static void take(void *to, const char *text)
{
    struct answer *answer = to;

    if (llem_utf8_valid(text, strlen(text)))
        llem_append(answer->a, answer->list, llem_string(answer->a, text));
}

static struct llem_value *caller_check_hardware(void *self, struct llem_arena *a)
{
    const struct caller *c = self;
    struct answer answer = { a, llem_list(a) };

    if (c->table->check_hardware)
        c->table->check_hardware(c->table->self, take, &answer);
    return answer.list;
}

/* The last answer as JSON; NULL if there is none of that kind. */
static struct llem_value *json_of(const struct answer *answer, enum llem_kind kind)
{
    struct llem_value *v = NULL;
    const char *text;

    if (answer->a->oom || !answer->list->count)
        return NULL;
    text = answer->list->items[answer->list->count - 1]->s;
    if (llem_json_parse(answer->a, &v, text, strlen(text), "answer", NULL) < 0)
        return NULL;
    return v->kind == kind ? v : NULL;
}

static llem_errcode caller_open_device(void *self, struct llem_arena *a,
                                       struct llem_value **devices, llem_error *err)
{
    const struct caller *c = self;
    struct answer answer = { a, llem_list(a) };
    struct llem_value *list = NULL;

    if (c->table->devices)
        c->table->devices(c->table->self, take, &answer);
    list = json_of(&answer, LLEM_LIST);
    if (!list || !list->count)
        return llem_engine_cpu_device(self, a, devices, err);
    *devices = list;
    return LLEM_OK;
}

static struct llem_value *caller_capture_observed_params(void *self, struct llem_arena *a)
{
    const struct caller *c = self;
    struct answer answer = { a, llem_list(a) };
    struct llem_value *v = NULL;

    if (c->table->capture_observed_params)
        c->table->capture_observed_params(c->table->self, take, &answer);
    v = json_of(&answer, LLEM_MAP);
    return v ? v : llem_map(a);
}

/* ---- the work ----------------------------------------------------------------------------- */

static llem_errcode caller_load_prompts(void *self, const struct llem_prompt *prompts, size_t count,
                                        int32_t *input_tokens, int32_t *truncated, llem_error *err)
{
    struct caller *c = self;

    c->prompts = calloc(count ? count : 1, sizeof(*c->prompts));
    if (!c->prompts)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu prompts", count);
    for (size_t i = 0; i < count; i++) {
        if (!prompts[i].text) {
            llem_fail(err, LLEM_ECONFIG, "the engine %s takes prompts as texts, not as token ids",
                      c->table->name);
            return llem_hint(err, LLEM_ECONFIG, "Use another task.dataset.source than random.");
        }
        c->prompts[i] = prompts[i].text;
        input_tokens[i] = LLEM_UNKNOWN; /* it tokenises by itself */
    }
    c->n_prompts = count;
    *truncated = 0;
    return LLEM_OK;
}

static llem_errcode caller_load_model(void *self, struct llem_arena *a, struct llem_value **loaded,
                                      llem_error *err)
{
    const struct caller *c = self;
    int64_t begin = llem_now_ns(&llem_system_clock);
    llem_errcode rc = c->table->load_model(c->table->self, err);

    if (rc < 0)
        return failed(c, "load_model", rc, err);
    *loaded = llem_map(a);
    llem_set(a, *loaded, "load_s",
             llem_real(a, (double)(llem_now_ns(&llem_system_clock) - begin) * 1e-9));
    return a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory for a model") : LLEM_OK;
}

static llem_errcode caller_run_warmup_prompt(void *self, int32_t index, double *latency_ms,
                                             llem_error *err)
{
    const struct caller *c = self;
    llem_errcode rc;

    *latency_ms = 0;
    if (!c->table->run_warmup_prompt)
        return LLEM_OK;
    rc = c->table->run_warmup_prompt(c->table->self, c->prompts[index], latency_ms, err);
    return rc < 0 ? failed(c, "run_warmup_prompt", rc, err) : LLEM_OK;
}

static llem_errcode caller_synchronize(void *self, int64_t *t_ns, llem_error *err)
{
    const struct caller *c = self;

    if (c->table->synchronize) {
        llem_errcode rc = c->table->synchronize(c->table->self, err);
        if (rc < 0)
            return failed(c, "synchronize", rc, err);
    }
    *t_ns = llem_now_ns(&llem_system_clock);
    return LLEM_OK;
}

static llem_errcode caller_run_inference(void *self, const struct llem_pass *pass,
                                         const struct llem_receipts *receipts,
                                         struct llem_inference *out, llem_error *err)
{
    const struct caller *c = self;
    llem_engine_output totals = { .size = sizeof(totals),
                                  .input_tokens = LLEM_UNKNOWN,
                                  .output_tokens = LLEM_UNKNOWN,
                                  .peak_memory_bytes = LLEM_UNKNOWN };
    size_t count = pass->count * (size_t)pass->repeats;
    const char **prompts = calloc(count ? count : 1, sizeof(*prompts));
    llem_errcode rc;

    (void)receipts; /* it tells totals */
    if (!prompts)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for %zu prompts", count);
    for (size_t i = 0; i < count; i++)
        prompts[i] = c->prompts[pass->indices[i % pass->count]];
    rc = caller_synchronize(self, &out->t_begin_ns, err);
    if (rc == LLEM_OK) {
        rc = c->table->run_inference(c->table->self, prompts, count, &totals, err);
        if (rc < 0)
            (void)failed(c, "run_inference", rc, err);
    }
    if (rc == LLEM_OK)
        rc = caller_synchronize(self, &out->t_end_ns, err);
    free(prompts);
    if (rc < 0)
        return rc;
    out->input_tokens = totals.input_tokens;
    out->output_tokens = totals.output_tokens;
    out->peak_memory_bytes = totals.peak_memory_bytes;
    return LLEM_OK;
}

static void caller_cleanup(void *self)
{
    struct caller *c = self;

    if (!c->cleaned && c->table->cleanup)
        c->table->cleanup(c->table->self);
    c->cleaned = true;
}

static void caller_destroy(void *self)
{
    struct caller *c = self;

    if (!c)
        return;
    free(c->prompts);
    free(c);
}

const struct llem_engine_class llem_engine_callbacks = {
    .create = caller_create,
    .version = caller_version,
    .check_hardware = caller_check_hardware,
    .load_prompts = caller_load_prompts,
    .open_device = caller_open_device,
    .load_model = caller_load_model,
    .run_warmup_prompt = caller_run_warmup_prompt,
    .synchronize = caller_synchronize,
    .run_inference = caller_run_inference,
    .output_so_far = llem_engine_output_unknown,
    .capture_observed_params = caller_capture_observed_params,
    .cleanup = caller_cleanup,
    .destroy = caller_destroy,
};
