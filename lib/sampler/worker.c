/* SPDX-License-Identifier: MIT
 *
 * Python packages that measure, in a worker that speaks the worker protocol
 * (docs/worker-protocol.md): where the package is looked for, how its worker is started, and its
 * window. Whatever becomes of the worker stops no run: every later call fails with the sentence
 * that tells its end.
 */
#include <glob.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/python.h"
#include "lib/base/rpc.h"
#include "lib/sampler/sampler.h"

enum { MAX_DOMAINS = 64 };

/* Importing such a package from a slow disk takes its time; a window must not. */
static const struct llem_rpc_limits to_start = { .deadline_s = 120 };
static const struct llem_rpc_limits to_begin = { .deadline_s = 10 };
static const struct llem_rpc_limits to_end = { .deadline_s = 30 };
static const struct llem_rpc_limits to_leave = { .deadline_s = 3, .insist = true };

struct llem_sampler_worker {
    const struct llem_sampler_package *package;
    struct llem_rpc_opts opts; /* borrowed by the connection */
    struct llem_arena arena;
    struct llem_rpc *rpc;
    struct llem_domain domains[MAX_DOMAINS];
    size_t n;
    const char *python;
    const struct llem_value *hello, *devices; /* what it answered */
    int64_t t_begin_ns;                       /* of the open window */
};

/* ---- looking for the package -------------------------------------------------------------- */

/* The path of the interpreter that would run the worker; NULL if there is none. */
static const char *find_python(llem_ctx *ctx, struct llem_arena *a,
                               const struct llem_sampler_package *p)
{
    const char *python = llem_python_of(ctx, a, p->sampler, NULL, NULL).path,
               *path = getenv("PATH");

    if (strchr(python, '/'))
        return python;
    while (path && *path) {
        size_t len = strcspn(path, ":");
        const char *full = llem_arena_printf(a, "%.*s/%s", (int)len, path, python);

        if (full && llem_path_exists(full))
            return full;
        path += len + (path[len] == ':');
    }
    return NULL;
}

/* dir/file, where dir may be a pattern. */
static bool is_there(struct llem_arena *a, const char *dir, const char *file)
{
    const char *pattern = dir ? llem_arena_printf(a, "%s/%s", dir, file) : NULL;
    glob_t found = { 0 };
    bool any = pattern && glob(pattern, GLOB_NOSORT, NULL, &found) == 0;

    globfree(&found);
    return any;
}

static bool below_prefix(struct llem_arena *a, const char *prefix, const char *file)
{
    static const char *const places[] = { "lib/python3*/site-packages",
                                          "lib64/python3*/site-packages",
                                          "lib/python3*/dist-packages",
                                          "local/lib/python3*/dist-packages" };

    for (size_t i = 0; prefix && i < LLEM_COUNT(places); i++)
        if (is_there(a, llem_path_join(a, prefix, places[i]), file))
            return true;
    return false;
}

static const char *prefix_of(struct llem_arena *a, const char *python)
{
    const char *bin = llem_path_dirname(a, python);

    return bin ? llem_path_dirname(a, bin) : NULL;
}

/* Among the packages of the interpreter: where Python would look, without asking it. */
static bool is_installed(llem_ctx *ctx, struct llem_arena *a, const struct llem_sampler_package *p,
                         const char *python)
{
    const char *prefix = prefix_of(a, python), *more = llem_ctx_variable(ctx, "PYTHONPATH"), *cfg;
    char resolved[PATH_MAX];
    struct llem_buf venv = LLEM_BUF_INIT(64 * 1024);
    bool alone = false;

    while (more && *more) {
        size_t len = strcspn(more, ":");

        if (is_there(a, llem_arena_strndup(a, more, len), p->file))
            return true;
        more += len + (more[len] == ':');
    }
    if (below_prefix(a, prefix, p->file))
        return true;
    /* A virtual environment knows the packages of its base only if it says so. */
    cfg = llem_path_join(a, prefix, "pyvenv.cfg");
    if (cfg && llem_file_read(&venv, cfg, NULL) == LLEM_OK)
        alone = !strstr(venv.data, "include-system-site-packages = true");
    llem_buf_done(&venv);
    if (alone)
        return false;
    return is_there(a, llem_path_join(a, NULL, "~/.local/lib/python3*/site-packages"), p->file) ||
           (realpath(python, resolved) && below_prefix(a, prefix_of(a, resolved), p->file));
}

static bool has_something_to_read(llem_ctx *ctx, const struct llem_sampler_package *p)
{
    if (!p->reads || llem_ctx_variable(ctx, "LLEM_NVML_LIBRARY"))
        return true;
    for (size_t i = 0; p->reads[i]; i++)
        if (llem_path_exists(p->reads[i]))
            return true;
    return false;
}

void llem_sampler_worker_probe(llem_ctx *ctx, const struct llem_sampler_package *p,
                               struct llem_probe *out)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *python = find_python(ctx, &a, p), *prefix;

    memset(out, 0, sizeof(*out));
    out->in_worker = true;
    prefix = python ? prefix_of(&a, python) : NULL;
    snprintf(out->reason, sizeof(out->reason), "no_sensor");
    if (!python || !llem_path_exists(python)) {
        snprintf(out->text, sizeof(out->text), "%s: there is no Python interpreter %.100s.",
                 p->title, python ? python : "python3");
        snprintf(out->remedy, sizeof(out->remedy), "export %s=PATH of a Python that has %s",
                 p->variable, p->name);
    } else if (!is_installed(ctx, &a, p, python)) {
        snprintf(out->text, sizeof(out->text), "The Python package %s is not installed for %.120s.",
                 p->name, python);
        if (is_there(&a, prefix, "pyvenv.cfg"))
            snprintf(out->remedy, sizeof(out->remedy), "%.150s -m pip install %s", python, p->name);
        else
            snprintf(out->remedy, sizeof(out->remedy),
                     "python3 -m venv ~/%s && ~/%s/bin/pip install %s; export %s=~/%s/bin/python",
                     p->name, p->name, p->name, p->variable, p->name);
    } else if (!has_something_to_read(ctx, p)) {
        snprintf(out->text, sizeof(out->text),
                 "The Python package %s is installed, but there is nothing here for it to read.",
                 p->name);
        snprintf(out->remedy, sizeof(out->remedy),
                 "It reads GPUs through their driver, and RAPL of a physical x86 machine.");
    } else {
        out->reason[0] = '\0';
        out->usable = true;
        out->n_domains = 1;
        snprintf(out->text, sizeof(out->text),
                 "%s, in a worker; what it reads shows when it starts.", p->title);
    }
    snprintf(out->detail, sizeof(out->detail), "%.200s", python ? python : "");
    llem_arena_done(&a);
}

/* ---- the worker --------------------------------------------------------------------------- */

static llem_errcode call(struct llem_sampler_worker *w, const char *method,
                         const struct llem_value *params, const struct llem_rpc_limits *limits,
                         struct llem_arena *a, const struct llem_value **result, llem_error *err)
{
    struct llem_rpc_reply reply;
    llem_errcode rc = llem_rpc_call(w->rpc, method, params, limits, a, &reply, err);

    if (rc == LLEM_OK && (!reply.result || reply.result->kind != LLEM_MAP))
        return llem_fail(err, LLEM_EPLUGIN, "%s answered %s with no map", w->opts.name, method);
    if (rc == LLEM_OK && result)
        *result = reply.result;
    return rc;
}

/* Its domains, from what open_device answered. */
static llem_errcode take_domains(struct llem_sampler_worker *w, llem_error *err)
{
    const struct llem_value *list = llem_get(w->devices, "devices");

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count && w->n < MAX_DOMAINS;
         i++) {
        const struct llem_value *v = list->items[i];
        struct llem_domain *d = &w->domains[w->n];

        if (!*llem_str_at(v, "id", ""))
            return llem_fail(err, LLEM_EPLUGIN, "%s named a domain without an id", w->opts.name);
        *d = (struct llem_domain){ .index = (int)llem_int_at(v, "index", 0) };
        d->estimated = strcmp(llem_str_at(v, "quality", "estimated"), "measured") != 0;
        snprintf(d->id, sizeof(d->id), "%s", llem_str_at(v, "id", ""));
        snprintf(d->kind, sizeof(d->kind), "%s", llem_str_at(v, "kind", ""));
        snprintf(d->label, sizeof(d->label), "%s", llem_str_at(v, "name", ""));
        snprintf(d->uuid, sizeof(d->uuid), "%s", llem_str_at(v, "uuid", ""));
        snprintf(d->pci, sizeof(d->pci), "%s", llem_str_at(v, "pci", ""));
        w->n++;
    }
    if (w->n)
        return LLEM_OK;
    llem_fail(err, LLEM_ENOTSUP, "%s found nothing to read on this machine", w->package->title);
    return llem_hint(err, LLEM_ENOTSUP, "`llem config` shows the sensors there are");
}

static llem_errcode start(struct llem_sampler_worker *w, llem_ctx *ctx, llem_error *err)
{
    /* It sees every board, whatever the engine may; and it leaves no compiled files behind. */
    static const char *const env[] = { "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
                                       "ROCR_VISIBLE_DEVICES", "PYTHONDONTWRITEBYTECODE=1", NULL };
    const char *script = llem_ctx_data_path(ctx, &w->arena, "samplers/worker.py");
    const char **argv = llem_arena_calloc(&w->arena, 3, sizeof(*argv));
    struct llem_value *hello = llem_map(&w->arena);
    llem_errcode rc;

    w->python = find_python(ctx, &w->arena, w->package);
    if (!w->python)
        return llem_fail(err, LLEM_ENOTFOUND, "%s needs Python, and there is no python3 in PATH",
                         w->package->title);
    if (!script)
        return llem_fail(err, LLEM_ENOTFOUND,
                         "samplers/worker.py is missing from the installation of llem");
    if (!argv)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the worker of %s.",
                         w->package->title);
    argv[0] = w->python;
    argv[1] = script;
    w->opts = (struct llem_rpc_opts){
        .ctx = ctx,
        .name = llem_arena_printf(&w->arena, "the worker of sampler '%s'", w->package->sampler),
        .argv = argv,
        .env = env,
        .log_fd = -1,
        .cancel = ctx->cancel,
        .max_line = 1 << 20,
        .max_bytes = 16 << 20,
    };
    llem_set(&w->arena, hello, "protocol", llem_int(&w->arena, 1));
    llem_set(&w->arena, hello, "engine", llem_string(&w->arena, w->package->sampler));
    llem_set(&w->arena, hello, "config", llem_map(&w->arena));
    llem_set(&w->arena, hello, "paths", llem_map(&w->arena));
    if (w->arena.oom)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the worker of %s.",
                         w->package->title);
    rc = llem_rpc_start(&w->rpc, &w->opts, err);
    if (rc == LLEM_OK)
        rc = call(w, "initialize", hello, &to_start, &w->arena, &w->hello, err);
    if (rc == LLEM_OK)
        rc = call(w, "open_device", NULL, &to_start, &w->arena, &w->devices, err);
    return rc == LLEM_OK ? take_domains(w, err) : rc;
}

llem_errcode llem_sampler_worker_open(struct llem_sampler_worker **out, llem_ctx *ctx,
                                      const struct llem_sampler_package *p, llem_error *err)
{
    struct llem_sampler_worker *w = calloc(1, sizeof(*w));
    llem_errcode rc;

    if (!w)
        return llem_fail(err, LLEM_ENOMEM, "There is no memory for the worker of %s.", p->title);
    w->package = p;
    rc = start(w, ctx, err);
    if (rc == LLEM_OK) {
        *out = w;
        w = NULL;
    }
    llem_sampler_worker_close(w);
    return rc;
}

const struct llem_domain *llem_sampler_worker_domains(struct llem_sampler_worker *w, size_t *count)
{
    *count = w->n;
    return w->domains;
}

static llem_errcode window_call(struct llem_sampler_worker *w, const char *method,
                                const struct llem_rpc_limits *limits, struct llem_arena *a,
                                const struct llem_value **result, llem_error *err)
{
    struct llem_value *params = llem_map(a);

    llem_set(a, params, "name", llem_string(a, w->package->sampler));
    return call(w, method, params, limits, a, result, err);
}

llem_errcode llem_sampler_worker_begin(struct llem_sampler_worker *w, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *result = NULL;
    llem_errcode rc;

    w->t_begin_ns = 0;
    rc = window_call(w, "sampler_begin", &to_begin, &a, &result, err);
    if (rc == LLEM_OK)
        w->t_begin_ns = llem_int_at(result, "t_ns", 0);
    llem_arena_done(&a);
    return rc;
}

llem_errcode llem_sampler_worker_end(struct llem_sampler_worker *w, struct llem_arena *a,
                                     struct llem_value **window, llem_error *err)
{
    const struct llem_value *result = NULL;
    struct llem_value *v, *joules;
    llem_errcode rc = window_call(w, "sampler_end", &to_end, a, &result, err);

    if (rc != LLEM_OK)
        return rc;
    v = llem_map(a);
    joules = llem_map(a);
    llem_set(a, v, "t_begin_ns", llem_int(a, w->t_begin_ns));
    llem_set(a, v, "t_end_ns", llem_int(a, llem_int_at(result, "t_ns", 0)));
    for (size_t i = 0; i < w->n; i++) {
        const char *id = w->domains[i].id; /* may hold dots: no path */
        const struct llem_value *j = llem_get(llem_get(result, "domains"), id);

        llem_set(a, joules, id, j ? llem_copy(a, j) : llem_null(a));
    }
    llem_set(a, v, "domains", joules);
    *window = v;
    return LLEM_OK;
}

struct llem_value *llem_sampler_worker_describe(struct llem_sampler_worker *w, struct llem_arena *a)
{
    const struct llem_value *list = llem_get(w->devices, "devices");
    struct llem_value *map = llem_map(a), *domains = llem_map(a);

    llem_set(a, map, "interface", llem_string(a, "worker"));
    llem_set(a, map, "python", llem_string(a, w->python));
    llem_set(a, map, "version", llem_string(a, llem_str_at(w->hello, "version", "unknown")));
    if (llem_get(w->hello, "libraries"))
        llem_set(a, map, "libraries", llem_copy(a, llem_get(w->hello, "libraries")));
    for (size_t i = 0; i < w->n; i++) {
        const struct llem_value *v = list->items[i];
        struct llem_value *d = llem_map(a);

        llem_set(a, d, "quality",
                 llem_string(a, w->domains[i].estimated ? "estimated" : "measured"));
        llem_set(a, d, "method", llem_string(a, llem_str_at(v, "method", "unknown")));
        llem_set(a, d, "compute_capability",
                 llem_string(a, llem_str_at(v, "compute_capability", NULL)));
        llem_set(a, d, "period_s", llem_real(a, llem_real_at(v, "period_s", (double)NAN)));
        llem_set(a, domains, w->domains[i].id, d);
    }
    llem_set(a, map, "domains", domains);
    return map;
}

void llem_sampler_worker_close(struct llem_sampler_worker *w)
{
    struct llem_arena a = LLEM_ARENA_INIT;

    if (!w)
        return;
    if (w->rpc && !llem_rpc_broken(w->rpc)) {
        (void)call(w, "cleanup", NULL, &to_leave, &a, NULL, NULL);
        (void)call(w, "shutdown", NULL, &to_leave, &a, NULL, NULL);
        (void)llem_rpc_leave(w->rpc, 2, NULL);
    }
    if (w->rpc)
        llem_rpc_end(w->rpc, 500);
    llem_arena_done(&a);
    llem_arena_done(&w->arena);
    free(w);
}
