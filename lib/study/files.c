/* SPDX-License-Identifier: MIT
 *
 * Names of directories, made so that they never collide, and the small documents in them: who
 * wrote, who runs, how it ended.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/batch.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/config.h"
#include "lib/study/study.h"

enum { SLUG_MAX = 120, NAME_TRIES = 1000 };

static const char *const state_names[] = {
    [LLEM_STATE_PENDING] = "pending",     [LLEM_STATE_RUNNING] = "running",
    [LLEM_STATE_COMPLETED] = "completed", [LLEM_STATE_FAILED] = "failed",
    [LLEM_STATE_TIMEOUT] = "timeout",     [LLEM_STATE_INTERRUPTED] = "interrupted",
    [LLEM_STATE_SKIPPED] = "skipped",
};

const char *llem_state_name(enum llem_state state)
{
    return state_names[state];
}

/* ---- names -------------------------------------------------------------------------------- */

void llem_slug(char *out, size_t size, const char *text)
{
    size_t len = strlen(text), at = 0;
    const char *begin;

    while (len > 1 && text[len - 1] == '/')
        len--;
    begin = text + len;
    while (begin > text && begin[-1] != '/')
        begin--;
    for (const char *c = begin; c < text + len && at + 1 < size && at < SLUG_MAX; c++) {
        unsigned char u = (unsigned char)*c;

        if (u == ' ')
            out[at++] = '_';
        else if (u < 0x20 || u == 0x7f || strchr("/:\\*?\"'<>|$`&;!", u) || (at == 0 && u == '.'))
            out[at++] = '-';
        else
            out[at++] = *c;
    }
    /* No half character at the end. */
    while (at > 0 && !llem_utf8_valid(out, at))
        at--;
    out[at] = 0;
    if (at == 0)
        snprintf(out, size, "model");
}

char *llem_make_stamped_dir(struct llem_arena *a, const char *parent, const char *prefix,
                            int64_t wall_ns, llem_error *err)
{
    llem_errcode rc = llem_mkdirs(parent, err);
    char stamp[24];

    if (rc < 0) {
        llem_hint(err, rc, "Choose another directory with -o DIR.");
        return NULL;
    }
    llem_format_stamp(stamp, wall_ns);
    for (int i = 1; i <= NAME_TRIES; i++) {
        char *dir = i == 1 ? llem_arena_printf(a, "%s/%s%s", parent, prefix, stamp)
                           : llem_arena_printf(a, "%s/%s%s_%d", parent, prefix, stamp, i);

        if (!dir) {
            llem_fail(err, LLEM_ENOMEM, "cannot make a directory in '%s': out of memory", parent);
            return NULL;
        }
        if (mkdir(dir, 0777) == 0)
            return dir;
        if (errno != EEXIST)
            break;
    }
    llem_fail(err, LLEM_EIO, "cannot make a directory in '%s': %m", parent);
    llem_hint(err, LLEM_EIO, "Choose another directory with -o DIR.");
    return NULL;
}

/* ---- small documents ---------------------------------------------------------------------- */

struct llem_value *llem_producer(struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "program", llem_string(a, "llem"));
    llem_set(a, v, "version", llem_string(a, llem_version()));
    llem_set(a, v, "commit", llem_string(a, llem_commit()));
    return v;
}

struct llem_value *llem_site(struct llem_arena *a, llem_ctx *ctx)
{
    static const char *const keys[] = { "carbon_intensity_gco2_kwh", "datacenter_pue" };
    const struct llem_value *user, *v;
    struct llem_value *site = llem_map(a);

    /* A file that cannot be read was an error before anything was planned. */
    if (llem_user_config(ctx, &user, NULL) != LLEM_OK)
        return llem_null(a);
    for (size_t i = 0; i < LLEM_COUNT(keys); i++) {
        v = llem_get(llem_get(user, "measurement"), keys[i]);
        llem_set(a, site, keys[i], v ? llem_copy(a, v) : llem_null(a));
    }
    return site;
}

static struct llem_value *utc(struct llem_arena *a, int64_t wall_ns)
{
    char text[40];

    llem_format_utc(text, wall_ns);
    return llem_string(a, text);
}

/* The first line of a small file; NULL if there is none. */
static char *first_line(struct llem_arena *a, const char *path)
{
    struct llem_buf b = LLEM_BUF_INIT(4096);
    char *line = NULL;

    if (llem_file_read(&b, path, NULL) == LLEM_OK)
        line = llem_arena_strndup(a, b.data, strcspn(b.data, "\n"));
    llem_buf_done(&b);
    return line;
}

int64_t llem_process_start_ticks(pid_t pid)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *path = llem_arena_printf(&a, "/proc/%ld/stat", (long)pid);
    const char *line = path ? first_line(&a, path) : NULL, *at = line ? strrchr(line, ')') : NULL;
    int64_t ticks = -1;

    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at) {
        char *text = llem_arena_strndup(&a, at + 1, strcspn(at + 1, " "));

        if (!text || !llem_parse_i64(text, &ticks))
            ticks = -1;
    }
    llem_arena_done(&a);
    return ticks;
}

struct llem_value *llem_claim(struct llem_arena *a, const char *mark, int64_t wall_ns)
{
    struct llem_value *v = llem_map(a);
    const char *machine = first_line(a, "/etc/machine-id"), *job = getenv("SLURM_JOB_ID");
    char hex[65], space[64];
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof(space));

    /* A hash tells machines apart without telling which they are. */
    llem_sha256_of(machine ? machine : "", machine ? strlen(machine) : 0, hex);
    llem_set(a, v, "host", machine ? llem_stringn(a, hex, 16) : llem_null(a));
    llem_set(a, v, "boot_id", llem_string(a, first_line(a, "/proc/sys/kernel/random/boot_id")));
    llem_set(a, v, "pid_namespace", n > 0 ? llem_stringn(a, space, (size_t)n) : llem_null(a));
    llem_set(a, v, "pid", llem_int(a, getpid()));
    llem_set(a, v, "start_ticks", llem_int(a, llem_process_start_ticks(getpid())));
    llem_set(a, v, "started_utc", utc(a, wall_ns));
    llem_set(a, v, "job_id", llem_string(a, job && *job ? job : NULL));
    llem_set(a, v, "run_mark", llem_string(a, mark));
    return v;
}

struct llem_value *llem_variables_to_record(llem_ctx *ctx, struct llem_arena *a)
{
    struct llem_value *v = llem_variables_in_force(ctx, a);

    llem_unset(v, "LLEM_RUN"); /* of a run around this one */
    return v;
}

static llem_errcode save_in(struct llem_arena *a, const char *dir, const char *name,
                            const struct llem_value *v, llem_error *err)
{
    char *path = llem_path_join(a, dir, name);

    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "cannot write '%s/%s': out of memory", dir, name);
    return llem_json_save(path, v, err);
}

char *llem_safe_text(struct llem_arena *a, const char *s, size_t len)
{
    char *copy = llem_arena_alloc(a, len + 1);

    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, s, len);
    copy[len] = 0;
    for (size_t i = 0; i < len;) {
        size_t n = 1;

        while (n < 4 && i + n < len && ((unsigned char)copy[i + n] & 0xc0) == 0x80)
            n++;
        if (copy[i] == 0 || !llem_utf8_valid(copy + i, n)) {
            copy[i] = '?';
            n = 1;
        }
        i += n;
    }
    return copy;
}

static struct llem_value *safe_text(struct llem_arena *a, const char *s, size_t len)
{
    return llem_string(a, llem_safe_text(a, s, len));
}

void llem_outcome_begin(struct llem_outcome *o, const struct llem_clock *clock)
{
    o->started_ns = clock->wall_ns(clock->self);
    o->begun_ns = llem_now_ns(clock);
}

void llem_outcome_end(struct llem_outcome *o, const struct llem_clock *clock)
{
    o->finished_ns = clock->wall_ns(clock->self);
    o->elapsed_s = (double)(llem_now_ns(clock) - o->begun_ns) / (double)LLEM_NS_PER_S;
    o->clock_set_s =
        (double)(o->finished_ns - o->started_ns) / (double)LLEM_NS_PER_S - o->elapsed_s;
}

llem_errcode llem_status_write(const char *dir, const struct llem_outcome *o, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v = llem_map(&a), *how = llem_map(&a);
    bool ran = o->wstatus >= 0;
    llem_errcode rc;

    llem_set(&a, v, "state", llem_string(&a, llem_state_name(o->state)));
    llem_set(&a, v, "reason",
             o->err.code < 0 ? llem_string(&a, llem_errcode_name(o->err.code)) : llem_null(&a));
    llem_set(&a, v, "message",
             o->err.code < 0 ? safe_text(&a, o->err.msg, strlen(o->err.msg)) : llem_null(&a));
    llem_set(&a, v, "hint",
             *o->err.hint ? safe_text(&a, o->err.hint, strlen(o->err.hint)) : llem_null(&a));
    llem_set(&a, how, "code",
             ran && WIFEXITED(o->wstatus) ? llem_int(&a, WEXITSTATUS(o->wstatus)) : llem_null(&a));
    llem_set(&a, how, "signal",
             ran && WIFSIGNALED(o->wstatus) ? llem_int(&a, WTERMSIG(o->wstatus)) : llem_null(&a));
    llem_set(&a, v, "exit", how);
    llem_set(&a, v, "started_utc", utc(&a, o->started_ns));
    llem_set(&a, v, "finished_utc", utc(&a, o->finished_ns));
    llem_set(&a, v, "elapsed_s",
             isfinite(o->elapsed_s) ? llem_real(&a, o->elapsed_s) : llem_null(&a));
    llem_set(&a, v, "clock_set_s",
             isfinite(o->clock_set_s) ? llem_real(&a, o->clock_set_s) : llem_null(&a));
    llem_set(&a, v, "log_tail", safe_text(&a, o->log_tail, o->log_tail_len));
    rc = save_in(&a, dir, "status.json", v, err);
    llem_arena_done(&a);
    return rc;
}
