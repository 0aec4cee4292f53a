/* SPDX-License-Identifier: MIT
 *
 * A study's directory: made so that it never collides, claimed by one rename, its index and the
 * status of each experiment written so that a crash at any point leaves something that can be read.
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
    [LLEM_STATE_RUNNING] = "running",         [LLEM_STATE_COMPLETED] = "completed",
    [LLEM_STATE_FAILED] = "failed",           [LLEM_STATE_TIMEOUT] = "timeout",
    [LLEM_STATE_INTERRUPTED] = "interrupted", [LLEM_STATE_SKIPPED] = "skipped",
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

/* Field 22 of /proc/self/stat: with the boot id it tells this process from a later one of the same
 * number. */
static int64_t start_ticks(struct llem_arena *a)
{
    const char *line = first_line(a, "/proc/self/stat"), *at = line ? strrchr(line, ')') : NULL;
    int64_t ticks = 0;

    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at) {
        char *text = llem_arena_strndup(a, at + 1, strcspn(at + 1, " "));

        if (!text || !llem_parse_i64(text, &ticks))
            ticks = 0;
    }
    return ticks;
}

struct llem_value *llem_claim(struct llem_arena *a, const char *mark, int64_t wall_ns)
{
    struct llem_value *v = llem_map(a);
    const char *machine = first_line(a, "/etc/machine-id"), *job = getenv("SLURM_JOB_ID");
    char hex[65];

    /* A hash tells machines apart without telling which they are. */
    llem_sha256_of(machine ? machine : "", machine ? strlen(machine) : 0, hex);
    llem_set(a, v, "host", machine ? llem_stringn(a, hex, 16) : llem_null(a));
    llem_set(a, v, "boot_id", llem_string(a, first_line(a, "/proc/sys/kernel/random/boot_id")));
    llem_set(a, v, "pid", llem_int(a, getpid()));
    llem_set(a, v, "start_ticks", llem_int(a, start_ticks(a)));
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

/* Text of unknown origin as valid UTF-8. */
static struct llem_value *safe_text(struct llem_arena *a, const char *s, size_t len)
{
    char *copy = llem_arena_strndup(a, "", 0);

    if (len == 0)
        return llem_string(a, "");
    copy = llem_arena_alloc(a, len + 1);
    if (!copy)
        return llem_null(a);
    memcpy(copy, s, len);
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
    return llem_stringn(a, copy, len);
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
    llem_set(&a, v, "log_tail", safe_text(&a, o->log_tail, o->log_tail_len));
    rc = save_in(&a, dir, "status.json", v, err);
    llem_arena_done(&a);
    return rc;
}

/* ---- the study ---------------------------------------------------------------------------- */

/* "sample-model / cpu / n_prompts=20": the last part of the model, the engine, what differs from
 * defaults. */
static char *summary_of(struct llem_arena *a, const struct llem_value *tree, const char *engine,
                        const struct llem_value *resolution)
{
    char slug[SLUG_MAX + 1];
    const struct llem_value *overrides = llem_get(resolution, "overrides");
    char *text;

    llem_slug(slug, sizeof(slug), llem_str_at(tree, "task.model", "model"));
    text = llem_arena_printf(a, "%s / %s", slug, engine);
    for (size_t i = 0; overrides && overrides->kind == LLEM_MAP && i < overrides->count; i++) {
        const char *key = overrides->keys[i], *dot = strrchr(key, '.');
        const struct llem_value *v = llem_get(overrides->items[i], "effective");
        struct llem_buf b = LLEM_BUF_INIT(256);

        if (strcmp(key, "task.model") == 0 || strcmp(key, "engine") == 0 || llem_is_null(v))
            continue;
        llem_json_dump(&b, v, LLEM_JSON_COMPACT);
        if (!b.failed && text && strlen(text) + b.len < 70)
            text = llem_arena_printf(a, "%s / %s=%s", text, dot ? dot + 1 : key, b.data);
        llem_buf_done(&b);
    }
    return text;
}

static struct llem_value *execution(struct llem_arena *a)
{
    struct llem_value *v = llem_map(a);

    llem_set(a, v, "n_cycles", llem_int(a, 1));
    llem_set(a, v, "experiment_order", llem_string(a, "sequential"));
    llem_set(a, v, "experiment_timeout_seconds", llem_int(a, LLEM_EXPERIMENT_TIMEOUT_S));
    return v;
}

static struct llem_value *plan_of(struct llem_study *s, const char *created)
{
    struct llem_arena *a = &s->arena;
    struct llem_value *plan = llem_map(a), *cells = llem_list(a), *cell = llem_map(a);

    llem_set(a, plan, "version", llem_int(a, 1));
    llem_set(a, plan, "study_name", llem_string(a, "unnamed-study"));
    llem_set(a, plan, "study_design_hash", llem_string(a, s->design_hash));
    llem_set(a, plan, "created_utc", llem_string(a, created));
    llem_set(a, plan, "producer", llem_producer(a));
    llem_set(a, plan, "execution", execution(a));
    llem_set(a, cell, "index", llem_int(a, s->cell.index));
    llem_set(a, cell, "cycle", llem_int(a, s->cell.cycle));
    llem_set(a, cell, "dir", llem_string(a, s->cell.name));
    llem_set(a, cell, "measurement_config_hash", llem_string(a, s->cell.hash));
    llem_set(a, cell, "resolved_config_hash", llem_string(a, s->cell.resolved_hash));
    llem_set(a, cell, "summary", llem_string(a, s->cell.summary));
    llem_append(a, cells, cell);
    llem_set(a, plan, "cells", cells);
    llem_set(a, plan, "skipped", llem_list(a));
    return plan;
}

static const char *const entry_keys[] = {
    "result_file",   "log_file",          "error_type",       "error_message",
    "started_at",    "completed_at",      "elapsed_seconds",  "inference_seconds",
    "energy_joules", "adj_energy_joules", "throughput_tok_s", "mj_per_tok",
};

/* Counters are made of the entries, never kept beside them. */
static void count_entries(struct llem_study *s)
{
    static const char *const names[] = { "completed", "failed", "pending", "skipped",
                                         "interrupted" };
    const struct llem_value *list = llem_get(s->manifest, "experiments");
    int64_t counts[LLEM_COUNT(names)] = { 0 };

    for (size_t i = 0; list && i < list->count; i++) { /* NULL: out of memory, as will be seen */
        const char *status = llem_str_at(list->items[i], "status", "pending");
        size_t k = 2; /* pending counts running too */

        for (size_t j = 0; j < LLEM_COUNT(names); j++)
            if (strcmp(names[j], status) == 0)
                k = j;
        counts[k]++;
    }
    for (size_t j = 0; j < LLEM_COUNT(names); j++)
        llem_set(&s->arena, s->manifest, names[j], llem_int(&s->arena, counts[j]));
}

static void manifest_make(struct llem_study *s, const char *started)
{
    struct llem_arena *a = &s->arena;
    struct llem_value *m = llem_map(a), *list = llem_list(a), *entry = llem_map(a);

    llem_set(a, m, "schema_version", llem_string(a, "2.0"));
    llem_set(a, m, "study_name", llem_string(a, "unnamed-study"));
    llem_set(a, m, "study_design_hash", llem_string(a, s->design_hash));
    llem_set(a, m, "llenergymeasure_version", llem_string(a, llem_version()));
    llem_set(a, m, "started_at", llem_string(a, started));
    llem_set(a, m, "completed_at", llem_null(a));
    llem_set(a, m, "status", llem_string(a, "running"));
    llem_set(a, m, "total_experiments", llem_int(a, 1));
    s->manifest = m;
    for (size_t i = 0; i < 5; i++) /* their places in the order of keys */
        llem_set(
            a, m,
            ((const char *[]){ "completed", "failed", "pending", "skipped", "interrupted" })[i],
            llem_int(a, 0));
    llem_set(a, entry, "config_hash", llem_string(a, s->cell.hash));
    llem_set(a, entry, "config_summary", llem_string(a, s->cell.summary));
    llem_set(a, entry, "cycle", llem_int(a, s->cell.cycle));
    llem_set(a, entry, "status", llem_string(a, "running"));
    for (size_t i = 0; i < LLEM_COUNT(entry_keys); i++)
        llem_set(a, entry, entry_keys[i], llem_null(a));
    llem_set(a, entry, "started_at", llem_string(a, started));
    llem_append(a, list, entry);
    llem_set(a, m, "experiments", list);
    s->cell.manifest = entry;
    count_entries(s);
}

static struct llem_value *experiment_of(struct llem_study *s, llem_ctx *ctx,
                                        const llem_config *config, const struct llem_value *tree,
                                        bool quick, bool skip_preflight)
{
    static const char *const paths[] = { "task.model", "task.dataset.source" };
    struct llem_arena *a = &s->arena;
    struct llem_value *v = llem_map(a), *resolved = llem_map(a), *output = llem_map(a);

    llem_set(a, v, "version", llem_int(a, 1));
    llem_set(a, v, "producer", llem_producer(a));
    llem_set(a, v, "kind", llem_string(a, "inference"));
    llem_set(a, v, "experiment_id", llem_string(a, s->cell.experiment_id));
    llem_set(a, v, "measurement_config_hash", llem_string(a, s->cell.hash));
    llem_set(a, v, "resolved_config_hash", llem_string(a, s->cell.resolved_hash));
    llem_set(a, v, "study_id", llem_string(a, s->name));
    llem_set(a, v, "index", llem_int(a, s->cell.index));
    llem_set(a, v, "cycle", llem_int(a, s->cell.cycle));
    llem_set(a, v, "n_cycles", llem_int(a, 1));
    llem_set(a, v, "order", llem_string(a, "sequential"));
    llem_set(a, v, "quick", llem_bool(a, quick));
    llem_set(a, v, "skip_preflight", llem_bool(a, skip_preflight));
    llem_set(a, v, "config", llem_copy(a, tree));
    llem_set(a, v, "provenance", llem_config_provenance(config, a));
    for (size_t i = 0; i < LLEM_COUNT(paths); i++) {
        const char *path = llem_config_path(config, a, paths[i]);

        if (path)
            llem_set(a, resolved, paths[i], llem_string(a, path));
    }
    llem_set(a, v, "paths", resolved);
    llem_set(a, output, "save_timeseries",
             llem_bool(a, llem_bool_at(config->output, "output.save_timeseries", true)));
    llem_set(a, output, "save_outputs",
             llem_string(a, llem_str_at(config->output, "output.save_outputs", "hash")));
    llem_set(a, v, "output", output);
    llem_set(a, v, "site", llem_site(a, ctx));
    llem_set(a, v, "run_mark", llem_string(a, s->cell.mark));
    llem_set(a, v, "variables", llem_variables_to_record(ctx, a));
    return v;
}

/* Where results go: told, or configured, or ./results. A path in a file is relative to the file;
 * others stay as they were written, because they are shown. */
static const char *results_dir(struct llem_arena *a, const llem_config *config,
                               const llem_run_opts *opts)
{
    const struct llem_value *v = llem_at(config->output, "output.results_dir");
    const char *dir = opts->output_dir;

    if (!dir && v && v->kind == LLEM_STRING)
        dir = v->source == LLEM_FROM_FILE ? llem_config_path(config, a, "output.results_dir")
                                          : llem_path_join(a, NULL, v->s);
    return dir && *dir ? dir : "./results";
}

struct document {
    const char *name;
    const struct llem_value *v;
};

/* Write documents together, and wait for the disk once. */
static llem_errcode save_all(struct llem_batch batch, const struct document *docs, size_t count,
                             llem_error *err)
{
    llem_errcode rc = LLEM_OK;

    for (size_t i = 0; rc == LLEM_OK && i < count; i++)
        rc = llem_batch_add_json(&batch, docs[i].name, docs[i].v, err);
    if (rc == LLEM_OK)
        rc = llem_batch_commit(&batch, err);
    llem_batch_done(&batch);
    return rc;
}

/* The experiment's directory appears whole: claimed by whoever renames it into place. */
static llem_errcode claim_dir(struct llem_study *s, const struct llem_value *experiment,
                              const struct llem_value *resolution, int64_t now_ns, llem_error *err)
{
    struct llem_arena *a = &s->arena;
    char *hidden = llem_arena_printf(a, "%s/.claim-%s", s->dir, s->cell.mark);
    const struct document files[] = {
        { "claim.json", llem_claim(a, s->cell.mark, now_ns) },
        { "experiment.json", experiment },
        { "_resolution.json", resolution },
    };
    llem_errcode rc;

    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    if (mkdir(hidden, 0777) < 0)
        return llem_fail(err, LLEM_EIO, "cannot make '%s': %m", hidden);
    rc = save_all((struct llem_batch){ .dir = hidden, .in_place = true }, files, LLEM_COUNT(files),
                  err);
    if (rc == LLEM_OK && rename(hidden, s->cell.dir) < 0)
        rc = llem_fail(err, LLEM_EIO, "cannot make '%s': %m", s->cell.dir);
    if (rc == LLEM_OK)
        rc = llem_sync_dir(s->dir, err);
    if (rc < 0)
        llem_remove_tree(hidden, NULL);
    return rc;
}

/* What the study is: what will be run, and the index of how far it is. */
static llem_errcode save_study(struct llem_study *s, const char *started, llem_error *err)
{
    struct document files[] = { { "plan.json", plan_of(s, started) }, { "manifest.json", NULL } };

    manifest_make(s, started);
    files[1].v = s->manifest;
    if (s->arena.oom)
        return llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    return save_all((struct llem_batch){ .dir = s->dir }, files, LLEM_COUNT(files), err);
}

/* Everything about the one cell that can be known before its directory is made. */
static llem_errcode cell_fill(struct llem_study *s, const llem_config *config,
                              const struct llem_value *tree, const struct llem_value *resolution,
                              int64_t now_ns, llem_error *err)
{
    const char *engine = llem_config_engine(config);
    char slug[SLUG_MAX + 1], stamp[24], random[33];
    const struct llem_value *trees[] = { tree };

    s->cell.index = s->cell.cycle = 1;
    if (!llem_random_hex(s->cell.mark) || !llem_random_hex(random))
        return llem_fail(err, LLEM_EIO, "the system gives no random numbers: %m");
    llem_config_hash(config->schema, tree, s->cell.hash);
    llem_config_resolved_hash(config->schema, tree, s->cell.resolved_hash);
    llem_study_design_hash(config->schema, trees, 1, s->design_hash);
    if (!s->cell.hash[0] || !s->cell.resolved_hash[0] || !s->design_hash[0])
        return llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    llem_slug(slug, sizeof(slug), llem_str_at(tree, "task.model", "model"));
    llem_format_stamp(stamp, now_ns);
    s->cell.name = llem_arena_printf(&s->arena, "%03d_c%d_%s-%s_%.8s", s->cell.index, s->cell.cycle,
                                     slug, engine, s->cell.hash);
    s->cell.dir = llem_path_join(&s->arena, s->dir, s->cell.name);
    s->cell.experiment_id =
        llem_arena_printf(&s->arena, "%s-%s_%s_%.8s", slug, engine, stamp, random);
    s->cell.summary = summary_of(&s->arena, tree, engine, resolution);
    return LLEM_OK;
}

llem_errcode llem_study_make(struct llem_study *s, llem_ctx *ctx, const llem_config *config,
                             const llem_run_opts *opts, llem_error *err)
{
    struct llem_arena *a = &s->arena;
    int64_t now_ns = ctx->clock->wall_ns(ctx->clock->self);
    const char *results;
    struct llem_value *tree, *resolution, *experiment;
    char started[40];
    bool quick;
    llem_errcode rc;

    memset(s, 0, sizeof(*s));
    s->clock = ctx->clock;
    results = results_dir(a, config, opts);
    tree = llem_copy(a, config->tree);
    resolution = llem_config_resolution(config, a);
    if (opts->quick)
        llem_set_at(a, tree, "measurement.quick", llem_bool(a, true));
    quick = llem_bool_at(tree, "measurement.quick", false);
    s->dir = llem_make_stamped_dir(a, results, "study_", now_ns, err);
    if (!s->dir) {
        rc = err ? err->code : LLEM_EIO;
        llem_arena_done(a);
        return rc;
    }
    s->name = llem_arena_strdup(a, llem_path_basename(s->dir));
    llem_format_utc(started, now_ns);
    rc = cell_fill(s, config, tree, resolution, now_ns, err);
    if (rc < 0)
        goto done;
    experiment = experiment_of(s, ctx, config, tree, quick, opts->skip_preflight);
    rc = save_study(s, started, err);
    if (rc == LLEM_OK)
        rc = claim_dir(s, experiment, resolution, now_ns, err);
done:
    if (rc < 0) {
        llem_remove_tree(s->dir, NULL);
        llem_arena_done(a);
    }
    return rc;
}

void llem_study_done(struct llem_study *s)
{
    llem_arena_done(&s->arena);
}

/* ---- the end ------------------------------------------------------------------------------ */

/* Numbers of the result, for people who read the manifest. */
static void entry_numbers(struct llem_study *s, const llem_result *result)
{
    static const struct {
        const char *key, *path;
    } numbers[] = {
        { "inference_seconds", "total_inference_time_sec" },
        { "energy_joules", "total_energy_j" },
        { "adj_energy_joules", "energy_adjusted_j" },
        { "throughput_tok_s", "avg_tokens_per_second" },
        { "mj_per_tok", "mj_per_tok_total" },
        { "mj_per_tok", "mj_per_tok_adjusted" },
    };
    struct llem_arena *a = &s->arena;

    for (size_t i = 0; i < LLEM_COUNT(numbers); i++) {
        double d;
        int null = 0;

        if (llem_result_double(result, numbers[i].path, &d, &null) == LLEM_OK && !null)
            llem_set(a, s->cell.manifest, numbers[i].key, llem_real(a, d));
    }
}

llem_errcode llem_study_finish(struct llem_study *s, const struct llem_outcome *o,
                               const llem_result *result, llem_error *err)
{
    struct llem_arena *a = &s->arena;
    struct llem_value *entry = s->cell.manifest;
    bool completed = o->state == LLEM_STATE_COMPLETED;
    /* The manifest's words are the original's: an entry that ran out of time has failed. */
    const char *status = o->state == LLEM_STATE_TIMEOUT ? "failed" : llem_state_name(o->state);
    llem_errcode rc = llem_status_write(s->cell.dir, o, err), rc2;

    llem_set(a, entry, "status", llem_string(a, status));
    llem_set(a, entry, "completed_at", utc(a, o->finished_ns));
    llem_set(a, entry, "elapsed_seconds",
             llem_real(a, (double)(o->finished_ns - o->started_ns) / (double)LLEM_NS_PER_S));
    llem_set(a, entry, "log_file", llem_stringf(a, "%s/worker.log", s->cell.name));
    if (completed) {
        llem_set(a, entry, "result_file", llem_stringf(a, "%s/result.json", s->cell.name));
        if (result)
            entry_numbers(s, result);
    } else {
        llem_set(a, entry, "error_type", llem_string(a, llem_errcode_name(o->err.code)));
        llem_set(a, entry, "error_message", safe_text(a, o->err.msg, strlen(o->err.msg)));
    }
    llem_set(a, s->manifest, "completed_at", utc(a, o->finished_ns));
    llem_set(a, s->manifest, "status",
             llem_string(a, o->state == LLEM_STATE_TIMEOUT ? "timed_out" : status));
    count_entries(s);
    rc2 = save_in(a, s->dir, "manifest.json", s->manifest, rc < 0 ? NULL : err);
    return rc < 0 ? rc : rc2;
}
