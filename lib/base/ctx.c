/* SPDX-License-Identifier: MIT
 *
 * The context: finds the program and the data that belong to this library, and carries the log, the
 * clock and what the rooms above load once.
 */
#include "lib/base/ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "llem-build.h"

const char *llem_version(void)
{
    return LLEM_VERSION;
}

const char *llem_commit(void)
{
    return LLEM_COMMIT;
}

const char *llem_ctx_variable(const llem_ctx *ctx, const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

void llem_log(llem_ctx *ctx, enum llem_log_level level, const char *module, const char *fmt, ...)
{
    struct llem_buf text = LLEM_BUF_INIT(64 * 1024);
    va_list ap;

    if (!ctx || !ctx->log || (ctx->log_level >= 0 && (int)level > ctx->log_level))
        return;
    va_start(ap, fmt);
    llem_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    ctx->log(ctx->log_user, level, module, text.failed ? fmt : text.data);
    llem_buf_done(&text);
}

void llem_ctx_set_log_level(llem_ctx *ctx, enum llem_log_level level)
{
    ctx->log_level = (int)level;
}

const char *llem_ctx_data_path(llem_ctx *ctx, struct llem_arena *a, const char *rel)
{
    const char *path;

    if (!ctx->data_dir)
        return NULL;
    path = llem_path_join(a, ctx->data_dir, rel);
    return path && llem_path_exists(path) ? path : NULL;
}

/* What the user or the caller said, made absolute and taken as it is: a wrong value is reported
 * where it is used, by name. */
static const char *as_told(struct llem_arena *a, const char *path)
{
    char *cwd, *full;

    if (path[0] == '/')
        return llem_arena_strdup(a, path);
    cwd = getcwd(NULL, 0);
    full = llem_path_join(a, cwd, path);
    free(cwd);
    return full;
}

static bool is_program(const char *path)
{
    struct stat st;

    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static const char *find_program(struct llem_arena *a, const char *const *beside)
{
    /* In the build tree and in an installation; lib/<arch>/ is one deeper. */
    static const char *const places[] = { "llem", "../bin/llem", "../../bin/llem" };
    size_t d, i;

    for (d = 0; d < 2; d++) {
        for (i = 0; beside[d] && i < LLEM_COUNT(places); i++) {
            const char *path = llem_path_join(a, beside[d], places[i]);

            if (is_program(path))
                return path;
        }
    }
    return is_program(LLEM_INSTALLED_BINDIR "/llem") ? LLEM_INSTALLED_BINDIR "/llem" : NULL;
}

static const char *find_data(struct llem_arena *a, const char *program, const char *const *beside)
{
    static const char *const places[] = { "share/llem", "../share/llem", "../../share/llem" };
    const char *dirs[3] = { program ? llem_path_dirname(a, program) : NULL, beside[0], beside[1] };
    size_t d, i;

    for (d = 0; d < LLEM_COUNT(dirs); d++) {
        for (i = 0; dirs[d] && i < LLEM_COUNT(places); i++) {
            const char *path = llem_path_join(a, dirs[d], places[i]);

            if (path && llem_path_is_dir(path))
                return path;
        }
    }
    return llem_path_is_dir(LLEM_INSTALLED_DATADIR) ? LLEM_INSTALLED_DATADIR : NULL;
}

static const char *find_user_config(struct llem_ctx *ctx)
{
    static const char rel[] = "llenergymeasure/config.yaml";
    const char *base = llem_ctx_variable(ctx, "XDG_CONFIG_HOME");

    /* The XDG specification has relative values ignored. */
    if (base && base[0] == '/')
        return llem_path_join(&ctx->arena, base, rel);
    base = llem_path_join(&ctx->arena, NULL, "~/.config");
    return base && base[0] == '/' ? llem_path_join(&ctx->arena, base, rel) : NULL;
}

static llem_errcode read_opts(llem_ctx_opts *to, const llem_ctx_opts *from, llem_error *err)
{
    const unsigned char *bytes = (const unsigned char *)from;
    size_t i;

    if (!from)
        return LLEM_OK;
    if (from->size < sizeof(from->size))
        return llem_fail(err, LLEM_EINVAL,
                         "llem_ctx_opts.size is %zu; set it to sizeof(llem_ctx_opts)", from->size);
    for (i = sizeof(*to); i < from->size; i++)
        if (bytes[i])
            return llem_fail(
                err, LLEM_EINVAL,
                "llem_ctx_opts has an option that this library, version %s, does not know",
                LLEM_VERSION);
    memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
    return LLEM_OK;
}

llem_errcode llem_ctx_new(llem_ctx **out, const llem_ctx_opts *opts, llem_error *err)
{
    llem_ctx_opts o = { 0 };
    const char *beside[2];
    const char *told;
    llem_ctx *ctx = NULL;
    llem_errcode rc;
    char *exe;

    rc = read_opts(&o, opts, err);
    if (rc < 0)
        return rc;
    ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return llem_fail(err, LLEM_ENOMEM, "cannot make a context: out of memory");
    ctx->log = o.log;
    ctx->log_user = o.log_user;
    ctx->log_level = -1;
    ctx->clock = &llem_system_clock;

    exe = llem_exe_path(&ctx->arena);
    beside[0] = llem_program_path(&ctx->arena);
    beside[1] = exe ? llem_path_dirname(&ctx->arena, exe) : NULL;
    if (beside[0] && beside[1] && strcmp(beside[0], beside[1]) == 0)
        beside[1] = NULL;

    told = o.program ? o.program : llem_ctx_variable(ctx, "LLEM_PROGRAM");
    ctx->program = told ? as_told(&ctx->arena, told) : find_program(&ctx->arena, beside);
    told = o.data_dir ? o.data_dir : llem_ctx_variable(ctx, "LLEM_DATA_DIR");
    ctx->data_dir =
        told ? as_told(&ctx->arena, told) : find_data(&ctx->arena, ctx->program, beside);
    told = o.python ? o.python : llem_ctx_variable(ctx, "LLEM_OWN_PYTHON");
    ctx->own_python = told ? llem_arena_strdup(&ctx->arena, told) : NULL;
    if (!o.user_config)
        ctx->user_config_path = find_user_config(ctx);
    else if (o.user_config[0])
        ctx->user_config_path = llem_arena_strdup(&ctx->arena, o.user_config);

    if (ctx->arena.oom) {
        llem_ctx_free(ctx);
        return llem_fail(err, LLEM_ENOMEM, "cannot make a context: out of memory");
    }
    *out = ctx;
    return LLEM_OK;
}

void llem_ctx_free(llem_ctx *ctx)
{
    int i;

    if (!ctx)
        return;
    /* Later slots are made of earlier ones. */
    for (i = LLEM_SLOT_COUNT - 1; i >= 0; i--)
        if (ctx->slots[i].data && ctx->slots[i].free)
            ctx->slots[i].free(ctx->slots[i].data);
    llem_arena_done(&ctx->arena);
    free(ctx);
}
