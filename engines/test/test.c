/* SPDX-License-Identifier: MIT
 *
 * The test engine: hidden, built in, and told by its settings how long everything takes and what
 * goes wrong where. It loads nothing and computes nothing; it lets the whole program be tried,
 * faults included, in seconds or in virtual time.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/engine/engine.h"

enum { MAX_TOKENS = 65536, DEFAULT_TOKENS = 256 };

struct test_engine {
    struct llem_engine_args args;
    double load_s, prompt_latency_ms, request_s, drift;
    int32_t output_tokens, input_tokens; /* input_tokens 0: the words of the prompt */
    bool busy, receipts, token_times, grandchild;
    const char *fail_at, *hang_at, *crash_at, *error_kind;
    int warmups;
    size_t n_prompts;
    int32_t *prompt_tokens;
    int64_t *token_ns;
    _Atomic int64_t output; /* tokens of the requests that are done */
};

/* Kinds as workers name them, and what the client makes of each. */
static const struct {
    const char *kind;
    llem_errcode code;
    const char *text, *hint;
} kinds[] = {
    { "config", LLEM_ECONFIG, "the engine does not accept this configuration", "" },
    { "hardware", LLEM_ENOTSUP, "the engine does not run on this hardware", "" },
    { "out_of_memory", LLEM_ENOMEM, "the model does not fit into the device's memory",
      "use a smaller batch or a smaller dtype" },
    { "model_not_found", LLEM_ENOTFOUND, "there is no such model", "check task.model" },
    { "gated_model", LLEM_EPREFLIGHT, "the model is gated", "accept its licence and set HF_TOKEN" },
    { "missing_package", LLEM_EPREFLIGHT, "a Python package is missing", "pip install it" },
    { "engine", LLEM_EPLUGIN, "the engine failed", "" },
};

static double at_real(const struct llem_value *config, const char *path, double otherwise)
{
    double d = llem_real_at(config, path, otherwise);

    return isfinite(d) && d >= 0 ? d : otherwise;
}

/* What was asked to go wrong in this method goes wrong here. */
static llem_errcode fault(struct test_engine *e, const char *method, llem_error *err)
{
    if (strcmp(e->crash_at, method) == 0)
        raise(SIGSEGV);
    /* A hang hears nobody: only a deadline and SIGKILL end it. */
    while (strcmp(e->hang_at, method) == 0)
        pause();
    if (strcmp(e->fail_at, method) != 0)
        return LLEM_OK;
    for (size_t i = 0; i < LLEM_COUNT(kinds); i++) {
        if (strcmp(kinds[i].kind, e->error_kind) != 0)
            continue;
        llem_fail(err, kinds[i].code, "engine 'test': %s (test.fail_at is %s)", kinds[i].text,
                  method);
        return kinds[i].hint[0] ? llem_hint(err, kinds[i].code, "%s", kinds[i].hint)
                                : kinds[i].code;
    }
    return llem_fail(err, LLEM_EPLUGIN, "engine 'test': failed in %s", method);
}

/* Let time pass, asleep or at work. */
static llem_errcode spend(const struct test_engine *e, double seconds, llem_error *err)
{
    const struct llem_clock *clock = e->args.ctx->clock;
    int64_t now = llem_now_ns(clock), end = now + (int64_t)(seconds * 1e9);
    const int64_t slice = 20000000;
    volatile double work = 1;

    while (now < end) {
        if (e->args.cancel && atomic_load(e->args.cancel))
            return llem_fail(err, LLEM_ECANCELED, "engine 'test' was cancelled");
        if (e->args.alive)
            e->args.alive(e->args.progress_user);
        if (e->busy)
            for (int i = 0; i < 10000; i++)
                work = work * 1.0000001 + 1e-9;
        else
            clock->sleep_until_ns(clock->self, end - now > slice ? now + slice : end);
        now = llem_now_ns(clock);
    }
    return LLEM_OK;
}

static void test_destroy(void *self)
{
    struct test_engine *e = self;

    if (!e)
        return;
    free(e->prompt_tokens);
    free(e->token_ns);
    free(e);
}

static llem_errcode test_create(void **self, const struct llem_engine_args *args, llem_error *err)
{
    const struct llem_value *c = args->config;
    struct test_engine *e = calloc(1, sizeof(*e));
    llem_errcode rc;

    if (!e)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate engine 'test'");
    e->args = *args;
    e->load_s = at_real(c, "test.load_s", 0);
    e->prompt_latency_ms = at_real(c, "test.prompt_latency_ms", 1);
    e->request_s = at_real(c, "test.request_s", 0.001);
    e->drift = llem_real_at(c, "test.drift", 0);
    e->output_tokens = (int32_t)llem_int_at(
        c, "test.output_tokens", llem_int_at(c, "task.max_output_tokens", DEFAULT_TOKENS));
    e->input_tokens = (int32_t)llem_int_at(c, "test.input_tokens", 0);
    e->busy = llem_bool_at(c, "test.busy", false);
    e->receipts = llem_bool_at(c, "test.receipts", true);
    e->token_times = llem_bool_at(c, "test.token_times", true);
    e->grandchild = llem_bool_at(c, "test.grandchild", false);
    e->fail_at = llem_str_at(c, "test.fail_at", "");
    e->hang_at = llem_str_at(c, "test.hang_at", "");
    e->crash_at = llem_str_at(c, "test.crash_at", "");
    e->error_kind = llem_str_at(c, "test.error_kind", "engine");
    if (e->output_tokens < 0 || e->output_tokens > MAX_TOKENS)
        e->output_tokens = MAX_TOKENS;
    e->token_ns = calloc((size_t)e->output_tokens + 1, sizeof(*e->token_ns));
    if (!e->token_ns) {
        rc = llem_fail(err, LLEM_ENOMEM, "cannot allocate engine 'test'");
        goto done;
    }
    rc = fault(e, "create", err);
    if (rc != LLEM_OK)
        goto done;
    *self = e;
    e = NULL;
done:
    test_destroy(e);
    return rc;
}

static const char *test_version(void *self)
{
    return "1";
}

static struct llem_value *test_check_hardware(void *self, struct llem_arena *a)
{
    struct llem_value *list = llem_list(a);
    llem_error err;

    if (fault(self, "check_hardware", &err) != LLEM_OK)
        llem_append(a, list, llem_string(a, err.msg));
    return list;
}

static int32_t words_of(const char *text)
{
    int32_t n = 0;

    for (text += strspn(text, " \n\t\r"); *text; text += strspn(text, " \n\t\r")) {
        text += strcspn(text, " \n\t\r");
        n++;
    }
    return n;
}

static llem_errcode test_load_prompts(void *self, const struct llem_prompt *prompts, size_t count,
                                      int32_t *input_tokens, int32_t *truncated, llem_error *err)
{
    struct test_engine *e = self;
    int64_t most = llem_int_at(e->args.config, "task.max_input_tokens", INT32_MAX);
    llem_errcode rc = fault(e, "load_prompts", err);

    if (rc != LLEM_OK)
        return rc;
    free(e->prompt_tokens);
    e->prompt_tokens = calloc(count, sizeof(*e->prompt_tokens));
    if (!e->prompt_tokens)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate %zu prompts", count);
    e->n_prompts = count;
    *truncated = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t n = e->input_tokens;

        if (n <= 0)
            n = prompts[i].text ? words_of(prompts[i].text) : (int32_t)prompts[i].n_ids;
        if (n > most) {
            n = (int32_t)most;
            ++*truncated;
        }
        e->prompt_tokens[i] = input_tokens[i] = n;
    }
    return LLEM_OK;
}

static llem_errcode test_open_device(void *self, struct llem_arena *a, struct llem_value **devices,
                                     llem_error *err)
{
    const struct test_engine *e = self;
    const struct llem_value *gpus = llem_at(e->args.config, "test.gpus");
    llem_errcode rc = fault(self, "open_device", err);

    if (rc != LLEM_OK || !gpus || gpus->kind != LLEM_LIST)
        return rc != LLEM_OK ? rc : llem_engine_cpu_device(self, a, devices, err);
    *devices = llem_list(a);
    for (size_t i = 0; i < gpus->count; i++) {
        struct llem_value *device = llem_map(a);

        llem_set(a, device, "kind", llem_string(a, "gpu"));
        llem_set(a, device, "uuid", llem_copy(a, gpus->items[i]));
        llem_set(a, device, "name", llem_null(a));
        llem_set(a, device, "pci", llem_null(a));
        llem_append(a, *devices, device);
    }
    return a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory for the list of devices") : LLEM_OK;
}

/* A process that leaves its group and its session, as frameworks' launchers do, and outlives its
 * parent. Whoever ends this run has to find it. */
static llem_errcode start_grandchild(llem_error *err)
{
    pid_t pid = fork();

    if (pid < 0)
        return llem_fail(err, LLEM_EPLUGIN, "engine 'test' cannot fork: %m");
    if (pid == 0) {
        setsid();
        if (fork() == 0)
            execlp("sleep", "sleep", "1000", (char *)NULL);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    return LLEM_OK;
}

static llem_errcode test_load_model(void *self, struct llem_arena *a, struct llem_value **loaded,
                                    llem_error *err)
{
    struct test_engine *e = self;
    struct llem_value *v, *model, *effective;
    llem_errcode rc = fault(e, "load_model", err);

    if (rc == LLEM_OK && e->grandchild)
        rc = start_grandchild(err);
    for (int i = 0; rc == LLEM_OK && i < 4; i++) {
        rc = spend(e, e->load_s / 4, err);
        if (rc == LLEM_OK && e->load_s > 0 && e->args.progress)
            e->args.progress(e->args.progress_user, "pretending to load", (i + 1) / 4.0);
    }
    if (rc != LLEM_OK)
        return rc;
    v = llem_map(a);
    model = llem_map(a);
    effective = llem_map(a);
    llem_set(a, v, "load_s", llem_real(a, e->load_s));
    llem_set(a, model, "name", llem_string(a, e->args.model_path));
    llem_set(a, model, "architecture", llem_string(a, "none"));
    llem_set(a, model, "dtype", llem_string(a, "float32"));
    llem_set(a, model, "parameters", llem_int(a, 1000000));
    llem_set(a, model, "weights_bytes", llem_int(a, 4000000));
    llem_set(a, v, "model", model);
    llem_set(a, effective, "busy", llem_bool(a, e->busy));
    llem_set(a, v, "effective", effective);
    llem_set(a, v, "libraries", llem_map(a));
    *loaded = v;
    return LLEM_OK;
}

static llem_errcode test_run_warmup_prompt(void *self, int32_t index, double *latency_ms,
                                           llem_error *err)
{
    struct test_engine *e = self;
    double ms = e->prompt_latency_ms * pow(1 + e->drift, e->warmups);
    llem_errcode rc = fault(e, "run_warmup_prompt", err);

    if (rc == LLEM_OK)
        rc = spend(e, ms / 1e3, err);
    if (rc != LLEM_OK)
        return rc;
    e->warmups++;
    *latency_ms = ms;
    return LLEM_OK;
}

static llem_errcode test_synchronize(void *self, int64_t *t_ns, llem_error *err)
{
    struct test_engine *e = self;
    llem_errcode rc = fault(e, "synchronize", err);

    if (rc == LLEM_OK)
        *t_ns = llem_now_ns(e->args.ctx->clock); /* which may be virtual */
    return rc;
}

/* Report the request that ran from begin to end; tokens come evenly, the first after one share. */
static void send_receipt(struct test_engine *e, const struct llem_pass *pass, int repeat,
                         int32_t index, int64_t submit, int64_t begin, int64_t end,
                         const struct llem_receipts *receipts)
{
    struct llem_buf text;
    struct llem_receipt r = {
        .pass = pass->id,
        .repeat = repeat,
        .index = index,
        .t_submit_ns = submit,
        .t_scheduled_ns = begin,
        .t_first_ns = LLEM_UNKNOWN,
        .t_last_ns = end,
        .input_tokens = e->prompt_tokens[index],
        .cached_tokens = LLEM_UNKNOWN,
        .output_tokens = e->output_tokens,
        .finish = "length",
    };

    if (e->output_tokens > 0) {
        for (int32_t i = 0; i < e->output_tokens; i++)
            e->token_ns[i] = begin + (end - begin) / e->output_tokens * (i + 1);
        e->token_ns[e->output_tokens - 1] = end;
        r.t_first_ns = e->token_ns[0];
        if (e->token_times) {
            r.token_ns = e->token_ns;
            r.n_token_ns = (size_t)e->output_tokens;
        }
    }
    llem_buf_init(&text, SIZE_MAX / 2);
    for (int32_t i = 0; pass->text && i < e->output_tokens; i++)
        llem_buf_adds(&text, i ? " token" : "token");
    if (pass->text && !text.failed)
        r.output_text = text.data;
    receipts->request(receipts->user, &r);
    llem_buf_done(&text);
}

static llem_errcode test_run_inference(void *self, const struct llem_pass *pass,
                                       const struct llem_receipts *receipts,
                                       struct llem_inference *out, llem_error *err)
{
    struct test_engine *e = self;
    const struct llem_clock *clock = e->args.ctx->clock;
    size_t n = pass->count * (size_t)pass->repeats;
    /* Allocated before t_begin, so that nothing is allocated in the window's measured part. */
    int64_t *edges = calloc(n + 1, sizeof(*edges));
    int64_t input = 0;
    llem_errcode rc;

    if (!edges)
        return llem_fail(err, LLEM_ENOMEM, "cannot allocate %zu receipts", n);
    out->t_begin_ns = edges[0] = llem_now_ns(clock);
    rc = pass->id == 0 ? fault(e, "run_inference", err) : LLEM_OK;
    for (size_t i = 0; i < n && rc == LLEM_OK; i++) {
        rc = spend(e, e->request_s, err);
        edges[i + 1] = llem_now_ns(clock);
        atomic_fetch_add(&e->output, e->output_tokens);
    }
    out->t_end_ns = llem_now_ns(clock);
    if (rc != LLEM_OK)
        goto done;
    for (size_t i = 0; i < n; i++) {
        int32_t index = pass->indices[i % pass->count];

        input += e->prompt_tokens[index];
        if (e->receipts)
            send_receipt(e, pass, (int)(i / pass->count), index, edges[0], edges[i], edges[i + 1],
                         receipts);
    }
    out->peak_memory_bytes = llem_int_at(e->args.config, "test.peak_memory_bytes", LLEM_UNKNOWN);
    out->input_tokens = input;
    out->output_tokens = (int64_t)n * e->output_tokens;
done:
    free(edges);
    return rc;
}

static int64_t test_output_so_far(void *self)
{
    const struct test_engine *e = self;

    return e->receipts ? atomic_load(&e->output) : LLEM_UNKNOWN;
}

static struct llem_value *test_capture_observed_params(void *self, struct llem_arena *a)
{
    struct test_engine *e = self;
    struct llem_value *v = llem_map(a), *engine = llem_map(a), *sampling = llem_map(a);

    fault(e, "capture_observed_params", NULL);
    llem_set(a, engine, "request_s", llem_real(a, e->request_s));
    llem_set(a, engine, "busy", llem_bool(a, e->busy));
    llem_set(a, sampling, "max_new_tokens", llem_int(a, e->output_tokens));
    llem_set(a, v, "engine_params", engine);
    llem_set(a, v, "sampling_params", sampling);
    return v;
}

static void test_cleanup(void *self)
{
    fault(self, "cleanup", NULL);
}

const struct llem_engine_class llem_engine_test = {
    .name = "test",
    .help = "pretends to run a model; for tests of llem itself",
    .hidden = true,
    .create = test_create,
    .version = test_version,
    .check_hardware = test_check_hardware,
    .load_prompts = test_load_prompts,
    .open_device = test_open_device,
    .load_model = test_load_model,
    .run_warmup_prompt = test_run_warmup_prompt,
    .synchronize = test_synchronize,
    .run_inference = test_run_inference,
    .output_so_far = test_output_so_far,
    .capture_observed_params = test_capture_observed_params,
    .cleanup = test_cleanup,
    .destroy = test_destroy,
};
