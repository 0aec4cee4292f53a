/* SPDX-License-Identifier: MIT
 *
 * A study on disk: its directory and plan, the claim of each run, and the manifest, an index that
 * can be made again of the runs' directories. Nothing here starts a process.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/batch.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/study/study.h"

enum {
    DOCUMENT_MAX = 1 << 30,
    LISTED = 5,
    MANIFEST_SHARE = 20,
    LOCK_TRIES = 10,
    LOCK_WAIT_US = 20000
};

/* ---- runs ----------------------------------------------------------------------------------- */

/* Numbers of a result that the manifest repeats, for people who read it. The later of two paths of
 * one number wins. */
static const struct {
    const char *key, *path;
    enum llem_run_number number;
} numbers[] = {
    { "inference_seconds", "total_inference_time_sec", LLEM_RUN_INFERENCE_S },
    { "energy_joules", "total_energy_j", LLEM_RUN_ENERGY_J },
    { NULL, "energy_estimated_j.value", LLEM_RUN_ESTIMATED_J }, /* the original knows none */
    { "adj_energy_joules", "energy_adjusted_j", LLEM_RUN_ADJUSTED_J },
    { "throughput_tok_s", "avg_tokens_per_second", LLEM_RUN_TOKENS_PER_S },
    { "mj_per_tok", "mj_per_tok_total", LLEM_RUN_MJ_PER_TOKEN },
    { "mj_per_tok", "mj_per_tok_adjusted", LLEM_RUN_MJ_PER_TOKEN },
};

static void run_numbers(struct llem_run *run, const llem_result *result)
{
    for (size_t i = 0; i < LLEM_COUNT(numbers); i++) {
        double d;
        int null = 0;

        if (llem_result_double(result, numbers[i].path, &d, &null) == LLEM_OK && !null)
            run->numbers[numbers[i].number] = d;
    }
}

static const char *run_hash(const struct llem_study *s, size_t i)
{
    return s->plan->cells[s->plan->runs[i].cell].hash;
}

static char *run_path(const struct llem_study *s, size_t i, const char *name, struct llem_arena *a)
{
    return name ? llem_arena_printf(a, "%s/%s/%s", s->dir, s->runs[i].name, name)
                : llem_arena_printf(a, "%s/%s", s->dir, s->runs[i].name);
}

/* "sample-model / cpu / n_prompts=20": the last part of the model, the engine, what differs from
 * the others, or of one that has no others, from the defaults. */
static char *summary_of(const struct llem_study *s, size_t i, struct llem_arena *a)
{
    const struct llem_sweep *sweep = s->plan->sweep;
    size_t cell = s->plan->runs[i].cell;
    const struct llem_value *settings = NULL, *v;
    struct llem_config config;
    char slug[128], *text = NULL;

    if (llem_sweep_config(sweep, cell, &config, NULL) == LLEM_OK) {
        settings = sweep->count == 1 ? llem_get(llem_config_resolution(&config, a), "overrides")
                                     : llem_sweep_settings(sweep, cell, a);
        llem_slug(slug, sizeof(slug), llem_str_at(config.tree, "task.model", "model"));
        text = llem_arena_printf(a, "%s / %s", slug, llem_config_engine(&config));
    }
    for (size_t k = 0; settings && text && k < settings->count; k++) {
        const char *key = settings->keys[k], *dot = strrchr(key, '.');
        struct llem_buf b = LLEM_BUF_INIT(4096);

        v = settings->items[k];
        if (sweep->count == 1)
            v = llem_get(v, "effective");
        if (strcmp(key, "task.model") != 0 && strcmp(key, "engine") != 0 && !llem_is_null(v)) {
            llem_json_dump(&b, v, LLEM_JSON_COMPACT);
            if (!b.failed && strlen(text) + b.len < 70)
                text = llem_arena_printf(a, "%s / %s=%s", text, dot ? dot + 1 : key, b.data);
        }
        llem_buf_done(&b);
    }
    llem_arena_done(&config.arena);
    return text;
}

/* ---- the manifest --------------------------------------------------------------------------- */

static struct llem_value *utc(struct llem_arena *a, int64_t wall_ns)
{
    char text[40];

    if (!wall_ns)
        return llem_null(a);
    llem_format_utc(text, wall_ns);
    return llem_string(a, text);
}

static struct llem_value *entry_of(const struct llem_study *s, size_t i, struct llem_arena *a)
{
    const struct llem_run *run = &s->runs[i];
    struct llem_value *v = llem_map(a);
    /* The manifest's words are the original's: an entry that ran out of time has failed. */
    const char *status = run->state == LLEM_STATE_TIMEOUT ? "failed" : llem_state_name(run->state);
    bool ended = run->finished_ns != 0;

    llem_set(a, v, "config_hash", llem_string(a, run_hash(s, i)));
    llem_set(a, v, "config_summary", llem_string(a, run->summary));
    llem_set(a, v, "cycle", llem_int(a, (int64_t)s->plan->runs[i].cycle + 1));
    llem_set(a, v, "status", llem_string(a, status));
    llem_set(a, v, "result_file",
             run->state == LLEM_STATE_COMPLETED ? llem_stringf(a, "%s/result.json", run->name)
                                                : llem_null(a));
    llem_set(a, v, "log_file", ended ? llem_stringf(a, "%s/worker.log", run->name) : llem_null(a));
    llem_set(a, v, "error_type", llem_string(a, run->reason));
    llem_set(a, v, "error_message", llem_string(a, run->message));
    llem_set(a, v, "started_at", utc(a, run->started_ns));
    llem_set(a, v, "completed_at", utc(a, run->finished_ns));
    llem_set(a, v, "elapsed_seconds",
             ended && isfinite(run->elapsed_s) ? llem_real(a, run->elapsed_s) : llem_null(a));
    for (size_t k = 0; k < LLEM_COUNT(numbers); k++) {
        double d = run->numbers[numbers[k].number];

        if (numbers[k].key)
            llem_set(a, v, numbers[k].key, isfinite(d) ? llem_real(a, d) : llem_null(a));
    }
    return v;
}

static struct llem_value *manifest_of(const struct llem_study *s, struct llem_arena *a)
{
    static const struct {
        const char *key;
        enum llem_state state, too; /* SKIPPED is never a second one */
    } counters[] = {
        { "completed", LLEM_STATE_COMPLETED, LLEM_STATE_SKIPPED },
        { "failed", LLEM_STATE_FAILED, LLEM_STATE_TIMEOUT },
        { "pending", LLEM_STATE_PENDING, LLEM_STATE_RUNNING },
        { "skipped", LLEM_STATE_SKIPPED, LLEM_STATE_SKIPPED },
        { "interrupted", LLEM_STATE_INTERRUPTED, LLEM_STATE_SKIPPED },
    };
    struct llem_value *m = llem_map(a), *list = llem_list(a);
    const char *name = llem_str_at(s->plan->sweep->output, "study_name", "unnamed-study");

    llem_set(a, m, "schema_version", llem_string(a, "2.0"));
    llem_set(a, m, "study_name", llem_string(a, name));
    llem_set(a, m, "study_design_hash", llem_string(a, s->plan->design_hash));
    llem_set(a, m, "llenergymeasure_version", llem_string(a, llem_version()));
    llem_set(a, m, "started_at", llem_string(a, s->started));
    llem_set(a, m, "completed_at", utc(a, s->finished_ns));
    llem_set(a, m, "status", llem_string(a, s->status));
    llem_set(a, m, "total_experiments", llem_int(a, (int64_t)s->plan->n_runs));
    for (size_t k = 0; k < LLEM_COUNT(counters); k++) {
        size_t n = llem_study_count(s, counters[k].state);

        if (counters[k].too != LLEM_STATE_SKIPPED)
            n += llem_study_count(s, counters[k].too);
        llem_set(a, m, counters[k].key, llem_int(a, (int64_t)n));
    }
    for (size_t i = 0; i < s->plan->n_runs && !a->oom; i++)
        llem_append(a, list, entry_of(s, i, a));
    llem_set(a, m, "experiments", list);
    return m;
}

size_t llem_study_count(const struct llem_study *s, enum llem_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < s->plan->n_runs; i++)
        n += s->runs[i].state == state;
    return n;
}

/* Written at most about once a second, and never for more than a twentieth of the time, however
 * many runs there are: it can be made again of the directories. */
static llem_errcode manifest_save(struct llem_study *s, bool now, llem_error *err)
{
    const struct llem_clock *clock = s->ctx->clock;
    int64_t begin = llem_now_ns(clock), apart = MANIFEST_SHARE * s->manifest_cost_ns;
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *m;
    char *path;
    llem_errcode rc;

    if (apart < LLEM_NS_PER_S)
        apart = LLEM_NS_PER_S;
    if (!now && s->manifest_ns && begin - s->manifest_ns < apart)
        return LLEM_OK;
    path = llem_path_join(&a, s->dir, "manifest.json");
    m = manifest_of(s, &a);
    rc = a.oom
             ? llem_fail(err, LLEM_ENOMEM, "cannot write '%s/manifest.json': out of memory", s->dir)
             : llem_json_save(path, m, err);
    llem_arena_done(&a);
    s->manifest_ns = llem_now_ns(clock);
    s->manifest_cost_ns = s->manifest_ns - begin;
    return rc;
}

/* ---- what is there already ------------------------------------------------------------------ */

/* Who has claimed a run, as far as it can be told. */
enum owner { NOBODY, DEAD, ALIVE, UNKNOWN };

static bool is_same(const struct llem_value *a, const struct llem_value *b, const char *key)
{
    const char *text = llem_str_at(a, key, NULL);

    return text && strcmp(text, llem_str_at(b, key, "")) == 0;
}

/* A boot id is of one start of one machine; within it numbers of processes are those of a
 * namespace. From another one only the lock tells that the runner of the study is dead. */
static enum owner owner_of(const struct llem_study *s, const struct llem_value *claim)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *own;
    int64_t pid = llem_int_at(claim, "pid", 0);
    enum owner owner = UNKNOWN;

    if (!claim || pid <= 0)
        return NOBODY;
    own = llem_claim(&a, "", 0);
    if (is_same(own, claim, "boot_id")) {
        if (!is_same(own, claim, "pid_namespace"))
            owner = s->is_locked ? DEAD : UNKNOWN;
        else
            owner = llem_process_start_ticks((pid_t)pid) == llem_int_at(claim, "start_ticks", -1)
                        ? ALIVE
                        : DEAD;
    } else if (is_same(own, claim, "host")) {
        owner = DEAD; /* of an earlier start of this machine */
    }
    llem_arena_done(&a);
    return owner;
}

static struct llem_value *load_in(struct llem_arena *a, const char *dir, const char *name,
                                  llem_error *err)
{
    char *path = llem_path_join(a, dir, name);
    struct llem_value *v = NULL;

    if (!path) {
        llem_fail(err, LLEM_ENOMEM, "cannot read '%s': out of memory", dir);
        return NULL;
    }
    return llem_json_load(a, &v, path, DOCUMENT_MAX, err) == LLEM_OK ? v : NULL;
}

/* One run of a plan document: what it measures, and its place. */
struct known {
    const char *hash, *dir;
    int64_t cycle;
    size_t index;
};

static int compare_known(const void *x, const void *y)
{
    const struct known *a = x, *b = y;
    int order = strcmp(a->hash, b->hash);

    if (order == 0)
        order = a->cycle < b->cycle ? -1 : a->cycle > b->cycle;
    return order ? order : a->index < b->index ? -1 : a->index > b->index;
}

static const char *hash_of_number(const struct llem_value *experiments, int64_t number)
{
    /* Numbers rise, and those of invalid ones are missing. */
    size_t low = 0, high = experiments->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t here = llem_int_at(experiments->items[middle], "number", 0);

        if (here == number)
            return llem_str_at(experiments->items[middle], "measurement_config_hash", "");
        if (here < number)
            low = middle + 1;
        else
            high = middle;
    }
    return "";
}

/* The runs of plan.json, sorted by what they measure. NULL: it has none, or no memory. */
static struct known *known_runs(const struct llem_value *plan, struct llem_arena *a, size_t *count)
{
    const struct llem_value *runs = llem_get(plan, "runs"),
                            *experiments = llem_get(plan, "experiments");
    struct known *known;

    if (!runs || runs->kind != LLEM_LIST || !experiments || experiments->kind != LLEM_LIST)
        return NULL;
    known = llem_arena_calloc(a, runs->count + 1, sizeof(*known));
    for (size_t i = 0; known && i < runs->count; i++) {
        const struct llem_value *run = runs->items[i];

        known[i].hash = hash_of_number(experiments, llem_int_at(run, "experiment", 0));
        known[i].cycle = llem_int_at(run, "cycle", 0);
        known[i].dir = llem_str_at(run, "dir", "");
        known[i].index = i;
        if (!*known[i].dir || strchr(known[i].dir, '/') || known[i].dir[0] == '.')
            return NULL;
    }
    if (known)
        qsort(known, runs->count, sizeof(*known), compare_known);
    *count = runs->count;
    return known;
}

static int compare_hashes(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* Labels of the experiments of one side that the other does not have, "a, b and 3 more". */
static void list_missing(struct llem_buf *b, struct llem_arena *a, const struct llem_value *from,
                         const struct llem_value *in)
{
    const char **known = llem_arena_calloc(a, in->count + 1, sizeof(*known));
    size_t missing = 0;

    for (size_t i = 0; known && i < in->count; i++)
        known[i] = llem_str_at(in->items[i], "measurement_config_hash", "");
    if (known)
        qsort(known, in->count, sizeof(*known), compare_hashes);
    for (size_t i = 0; known && i < from->count; i++) {
        const char *hash = llem_str_at(from->items[i], "measurement_config_hash", "");
        const char *label = llem_str_at(from->items[i], "differs_by", "");

        if (!llem_is_null(llem_get(from->items[i], "same_as")) ||
            bsearch(&hash, known, in->count, sizeof(*known), compare_hashes) || ++missing > LISTED)
            continue;
        llem_buf_addf(b, "%s%s (%.8s)", missing == 1 ? " " : ", ",
                      *label ? label : llem_str_at(from->items[i], "model", "?"), hash);
    }
    if (missing > LISTED)
        llem_buf_addf(b, " and %zu more", missing - LISTED);
    if (missing == 0)
        llem_buf_adds(b, " none");
}

static llem_errcode drifted(const struct llem_study *s, const struct llem_value *old,
                            llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *now = llem_plan_document(s->plan, NULL, &a),
                            *before = llem_get(old, "experiments");
    struct llem_buf b = LLEM_BUF_INIT(4096);
    struct llem_value *nothing = llem_list(&a);

    llem_buf_adds(&b, "\nno longer there:");
    list_missing(&b, &a, before ? before : nothing, llem_get(now, "experiments"));
    llem_buf_adds(&b, "\nnew:");
    list_missing(&b, &a, llem_get(now, "experiments"), before ? before : nothing);
    llem_fail(err, LLEM_ESTUDY,
              "the study is another one than that in '%s': its design was %s and is %s%s", s->dir,
              llem_str_at(old, "study_design_hash", "?"), s->plan->design_hash, b.data);
    llem_hint(err, LLEM_ESTUDY,
              "--accept-drift goes on with what is the same and runs what is new; without "
              "--resume a new study begins.");
    llem_buf_done(&b);
    llem_arena_done(&a);
    return LLEM_ESTUDY;
}

/* The number that begins a directory's name, which is a run's alone; 0 = none. */
static size_t number_of(const char *name)
{
    size_t n = 0;

    while (*name >= '0' && *name <= '9' && n < SIZE_MAX / 100)
        n = n * 10 + (size_t)(*name++ - '0');
    return n;
}

/* The highest number that begins a directory's name. */
static size_t highest(const struct known *known, size_t count)
{
    size_t most = 0;

    for (size_t i = 0; i < count; i++) {
        size_t n = number_of(known[i].dir);

        most = n > most ? n : most;
    }
    return most;
}

/* Give each run the directory that it has in the study already, or one of its own; true if the
 * runs are those that plan.json names, in its order. */
static bool match_runs(struct llem_study *s, const struct known *known, size_t count)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct known *now = llem_arena_calloc(&scratch, s->plan->n_runs + 1, sizeof(*now));
    size_t next = highest(known, count), k = 0;
    bool same = count == s->plan->n_runs;

    for (size_t i = 0; now && i < s->plan->n_runs; i++)
        now[i] = (struct known){ .hash = run_hash(s, i),
                                 .cycle = (int64_t)s->plan->runs[i].cycle + 1,
                                 .index = i };
    if (now)
        qsort(now, s->plan->n_runs, sizeof(*now), compare_known);
    /* Both are sorted, and equal ones stand in the order in which they run. */
    for (size_t i = 0; now && i < s->plan->n_runs; i++) {
        struct known *n = &now[i];
        int order = -1;

        while (k < count) {
            order = strcmp(known[k].hash, n->hash);
            if (order == 0)
                order = known[k].cycle < n->cycle ? -1 : known[k].cycle > n->cycle;
            if (order >= 0)
                break;
            k++;
        }
        if (k < count && order == 0) {
            s->runs[n->index].name = llem_arena_strdup(&s->arena, known[k].dir);
            same = same && known[k].index == n->index;
            k++;
        } else {
            same = false;
        }
    }
    for (size_t i = 0; now && i < s->plan->n_runs; i++) {
        if (!s->runs[i].name) {
            const char *name = llem_plan_run_dir(s->plan, i, &scratch);
            const char *rest = name ? strchr(name, '_') : NULL;

            s->runs[i].name = llem_arena_printf(&s->arena, "%03zu%s", ++next, rest ? rest : "");
        }
    }
    s->arena.oom = s->arena.oom || scratch.oom;
    llem_arena_done(&scratch);
    return same;
}

static bool run_has(const struct llem_study *s, size_t i, const char *name)
{
    char path[4096];

    return (size_t)snprintf(path, sizeof(path), "%s/%s/%s", s->dir, s->runs[i].name, name) <
               sizeof(path) &&
           llem_path_exists(path);
}

/* A time as llem_format_utc() writes it; 0 = none. */
static int64_t wall_of(const char *text)
{
    struct tm tm = { 0 };
    const char *at = text ? strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm) : NULL;
    int64_t ns = at ? (int64_t)timegm(&tm) * LLEM_NS_PER_S : 0;

    for (int64_t unit = LLEM_NS_PER_S / 10; at && *at >= '0' && *at <= '9'; unit /= 10)
        ns += (*at++ - '0') * unit;
    return ns;
}

/* What the old manifest says of a run that completed; false: nothing of it. */
static bool read_entry(struct llem_run *run, const struct llem_value *entry)
{
    if (!entry || strcmp(llem_str_at(entry, "status", ""), "completed") != 0)
        return false;
    run->started_ns = wall_of(llem_str_at(entry, "started_at", NULL));
    run->finished_ns = wall_of(llem_str_at(entry, "completed_at", NULL));
    run->elapsed_s = llem_real_at(entry, "elapsed_seconds", NAN);
    for (size_t k = 0; k < LLEM_COUNT(numbers); k++)
        if (numbers[k].key)
            run->numbers[numbers[k].number] = llem_real_at(entry, numbers[k].key, NAN);
    return true;
}

/* A manifest that cannot be read is made again; what it said of a run is in the run's result. */
static void read_completed(struct llem_study *s, size_t i)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_run *run = &s->runs[i];
    struct llem_value *status;
    llem_result *result;

    if (llem_result_load(&result, s->ctx, run_path(s, i, NULL, &a), NULL) == LLEM_OK) {
        run_numbers(run, result);
        llem_result_free(result);
    }
    status = load_in(&a, run_path(s, i, NULL, &a), "status.json", NULL);
    run->started_ns = wall_of(llem_str_at(status, "started_utc", NULL));
    run->finished_ns = wall_of(llem_str_at(status, "finished_utc", NULL));
    run->elapsed_s = llem_real_at(status, "elapsed_s", NAN);
    llem_arena_done(&a);
}

/* Files and directories that were to become others, of processes that are gone. */
static void remove_leftovers(const char *dir)
{
    DIR *d = dir ? opendir(dir) : NULL;
    struct dirent *e;

    while (d && (e = readdir(d))) {
        struct llem_arena a = LLEM_ARENA_INIT;
        char *path = llem_path_join(&a, dir, e->d_name);

        if (path &&
            (llem_starts_with(e->d_name, ".claim-") || llem_starts_with(e->d_name, ".llem-")))
            llem_remove_tree(path, NULL);
        llem_arena_done(&a);
    }
    if (d)
        closedir(d);
}

/* A run whose harness was done when its runner died: end what it left, and say so. */
static void adopt(struct llem_study *s, size_t i)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *dir = run_path(s, i, NULL, &a);
    const struct llem_value *claim = dir ? load_in(&a, dir, "claim.json", NULL) : NULL;
    const char *mark = llem_str_at(claim, "run_mark", "");
    enum owner owner = owner_of(s, claim);
    struct llem_outcome o = { .state = LLEM_STATE_COMPLETED, .wstatus = -1 };

    if (dir && owner != ALIVE && owner != UNKNOWN) {
        if (strlen(mark) == 32)
            llem_process_sweep(mark, LLEM_SWEEP_MS);
        remove_leftovers(dir);
        o.started_ns = wall_of(llem_str_at(claim, "started_utc", NULL));
        o.finished_ns = s->started_ns;
        o.elapsed_s = o.clock_set_s = NAN;
        llem_status_write(dir, &o, NULL);
    }
    llem_arena_done(&a);
}

/* What of the study is done. The directories decide, not the manifest. */
static void scan(struct llem_study *s, const struct llem_value *manifest)
{
    const struct llem_value *entries = llem_get(manifest, "experiments"), **by_name;
    struct llem_arena a = LLEM_ARENA_INIT;
    size_t n = entries && entries->kind == LLEM_LIST ? entries->count : 0;

    /* Entries by the number that begins their directory's name, which is theirs alone. */
    by_name = llem_arena_calloc(&a, s->plan->n_runs + n + 1, sizeof(*by_name));
    for (size_t i = 0; by_name && i < n; i++) {
        size_t at = number_of(llem_str_at(entries->items[i], "result_file", ""));

        if (at && at <= s->plan->n_runs + n)
            by_name[at] = entries->items[i];
    }
    for (size_t i = 0; i < s->plan->n_runs; i++) {
        size_t at = number_of(s->runs[i].name);

        if (!run_has(s, i, "result.json"))
            continue;
        s->runs[i].state = LLEM_STATE_COMPLETED;
        if (!run_has(s, i, "status.json"))
            adopt(s, i);
        if (!by_name || at > s->plan->n_runs + n || !read_entry(&s->runs[i], by_name[at]))
            read_completed(s, i);
    }
    llem_arena_done(&a);
}

/* ---- making and finding it ------------------------------------------------------------------ */

const char *llem_results_dir(struct llem_arena *a, const struct llem_config *config,
                             const char *told)
{
    const struct llem_value *v = llem_at(config->output, "output.results_dir");
    const char *dir = told;

    /* A path in a file is relative to the file; others stay as they were written, because they are
     * shown. */
    if (!dir && v && v->kind == LLEM_STRING)
        dir = v->source == LLEM_FROM_FILE ? llem_config_path(config, a, "output.results_dir")
                                          : llem_path_join(a, NULL, v->s);
    return dir && *dir ? dir : "./results";
}

/* Held by one process at a time, and let go by the kernel when that dies. Where a file system knows
 * no such locks the claims of the runs still hold. */
static llem_errcode lock_study(struct llem_study *s, llem_error *err)
{
    s->lock_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0)
        return llem_fail(err, LLEM_ESTUDY, "cannot open the study '%s': %m", s->dir);
    /* Whoever looks for a study to go on with holds each for a moment. */
    for (int i = 0; i < LOCK_TRIES; i++) {
        s->is_locked = flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0;
        if (s->is_locked || errno != EWOULDBLOCK)
            return LLEM_OK;
        usleep(LOCK_WAIT_US);
    }
    llem_fail(err, LLEM_ESTUDY, "the study '%s' is being run by another process", s->dir);
    return llem_hint(err, LLEM_ESTUDY, "Wait until it has ended, or end it.");
}

/* Is it a study that somebody could go on with, and when was it begun? */
struct candidate {
    char dir[4096], started[64];
    bool same_design;
};

static bool is_candidate(struct candidate *c, const char *results, const char *name,
                         const char *design_hash)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *dir = llem_path_join(&a, results, name);
    struct llem_value *plan = NULL, *manifest = NULL;
    int fd = -1;
    bool good = false;

    /* plan.json first: what has none is not ours, and most of a results directory. */
    if (!dir || (size_t)snprintf(c->dir, sizeof(c->dir), "%s", dir) >= sizeof(c->dir))
        goto done;
    manifest = load_in(&a, dir, "manifest.json", NULL);
    if (strcmp(llem_str_at(manifest, "status", ""), "completed") == 0)
        goto done;
    plan = load_in(&a, dir, "plan.json", NULL);
    if (llem_int_at(plan, "version", 0) != LLEM_PLAN_VERSION)
        goto done;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK))
        goto done; /* it is being run */
    snprintf(c->started, sizeof(c->started), "%s", llem_str_at(plan, "created_utc", ""));
    c->same_design =
        design_hash && strcmp(llem_str_at(plan, "study_design_hash", ""), design_hash) == 0;
    good = true;
done:
    if (fd >= 0)
        close(fd);
    llem_arena_done(&a);
    return good;
}

char *llem_study_newest(struct llem_arena *a, const char *results, const char *design_hash,
                        llem_error *err)
{
    DIR *d = opendir(results);
    struct candidate best = { .dir = "" }, c;
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        memset(&c, 0, sizeof(c));
        if (!is_candidate(&c, results, e->d_name, design_hash))
            continue;
        if (!*best.dir || (c.same_design && !best.same_design) ||
            (c.same_design == best.same_design &&
             (strcmp(c.started, best.started) > 0 ||
              (strcmp(c.started, best.started) == 0 && strcmp(c.dir, best.dir) > 0))))
            best = c;
    }
    if (d)
        closedir(d);
    if (!*best.dir) {
        llem_fail(err, LLEM_ESTUDY, "there is no unfinished study in '%s'", results);
        llem_hint(err, LLEM_ESTUDY,
                  "Name one with --resume-dir DIR, or where to look with -o DIR.");
        return NULL;
    }
    return llem_arena_strdup(a, best.dir);
}

/* plan.json: what will run, and of what it was made. */
static struct llem_value *plan_document(const struct llem_study *s, struct llem_arena *a)
{
    const char **dirs = llem_arena_calloc(a, s->plan->n_runs + 1, sizeof(*dirs));
    struct llem_value *v, *source = llem_map(a);
    const char *path = s->plan->sweep->path;

    for (size_t i = 0; dirs && i < s->plan->n_runs; i++)
        dirs[i] = s->runs[i].name;
    v = llem_plan_document(s->plan, dirs, a);
    llem_set(a, v, "created_utc", llem_string(a, s->started));
    llem_set(a, v, "producer", llem_producer(a));
    llem_set(a, source, "path",
             path ? llem_string(a, llem_path_join(a, s->plan->sweep->cwd, path)) : llem_null(a));
    llem_set(a, source, "text", llem_string(a, s->plan->sweep->text));
    llem_set(a, source, "settings", llem_copy(a, s->plan->sweep->settings));
    llem_set(a, v, "source", source);
    return v;
}

/* Write plan.json, and a copy of the study's file beside it, or of the text in its place. */
static llem_errcode save_plan(const struct llem_study *s, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(64 << 20);
    struct llem_batch batch = { .dir = s->dir };
    const struct llem_value *plan = plan_document(s, &a);
    const struct llem_sweep *sweep = s->plan->sweep;
    llem_errcode rc = LLEM_OK;

    if (a.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    if (rc == LLEM_OK && sweep->path && llem_file_read(&text, sweep->path, NULL) == LLEM_OK)
        rc = llem_batch_add(&batch, "study_config.yaml", text.data, text.len, err);
    else if (rc == LLEM_OK && sweep->text)
        rc = llem_batch_add(&batch, "study_config.yaml", sweep->text, strlen(sweep->text), err);
    if (rc == LLEM_OK)
        rc = llem_batch_add_json(&batch, "plan.json", plan, err);
    if (rc == LLEM_OK)
        rc = llem_batch_commit(&batch, err);
    llem_batch_done(&batch);
    llem_buf_done(&text);
    llem_arena_done(&a);
    return rc;
}

/* An earlier plan stays, as plan.1.json and so on. */
static llem_errcode keep_plan(const struct llem_study *s, llem_error *err)
{
    for (int i = 1;; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        char *from = llem_path_join(&a, s->dir, "plan.json");
        char *to = llem_arena_printf(&a, "%s/plan.%d.json", s->dir, i);
        bool taken = to && llem_path_exists(to);
        llem_errcode rc = LLEM_OK;

        if (a.oom)
            rc = llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
        else if (!taken && rename(from, to) < 0)
            rc = llem_fail(err, LLEM_EIO, "cannot keep '%s': %m", from);
        llem_arena_done(&a);
        if (rc < 0 || !taken)
            return rc;
    }
}

static llem_errcode begin_new(struct llem_study *s, const char *results, llem_error *err)
{
    const char *name = llem_str_at(s->plan->sweep->output, "study_name", NULL);
    char slug[128] = "study", prefix[160];
    llem_errcode rc;

    if (name && *name)
        llem_slug(slug, sizeof(slug), name);
    snprintf(prefix, sizeof(prefix), "%s_", slug);
    s->dir = llem_make_stamped_dir(&s->arena, results, prefix, s->started_ns, err);
    if (!s->dir)
        return err ? err->code : LLEM_EIO;
    rc = lock_study(s, err);
    for (size_t i = 0; i < s->plan->n_runs; i++)
        s->runs[i].name = llem_plan_run_dir(s->plan, i, &s->arena);
    if (rc == LLEM_OK)
        rc = save_plan(s, err);
    if (rc == LLEM_OK && s->plan->sweep->count > 1)
        rc = llem_equivalence_write(s->plan, s->dir, err);
    return rc;
}

static llem_errcode resume(struct llem_study *s, const llem_run_opts *opts, const char *results,
                           llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const struct llem_value *plan, *manifest;
    struct known *known;
    size_t count = 0;
    bool same;
    llem_errcode rc;

    s->dir = opts->resume_dir ? llem_arena_strdup(&s->arena, opts->resume_dir)
                              : llem_study_newest(&s->arena, results, s->plan->design_hash, err);
    if (!s->dir)
        return LLEM_ESTUDY;
    rc = lock_study(s, err);
    if (rc < 0)
        return rc;
    plan = load_in(&a, s->dir, "plan.json", err);
    known = plan && llem_int_at(plan, "version", 0) == LLEM_PLAN_VERSION
                ? known_runs(plan, &a, &count)
                : NULL;
    if (!known) {
        if (plan)
            rc = llem_fail(err, LLEM_ESTUDY,
                           "'%s/plan.json' is no plan that this version of llem can go on with",
                           s->dir);
        else
            rc = llem_hint(err, LLEM_ESTUDY, "A study's directory holds plan.json.");
        if (err)
            err->code = LLEM_ESTUDY;
        rc = LLEM_ESTUDY;
        goto done;
    }
    if (strcmp(llem_str_at(plan, "study_design_hash", ""), s->plan->design_hash) != 0 &&
        !opts->accept_drift) {
        rc = drifted(s, plan, err);
        goto done;
    }
    s->started = llem_arena_strdup(&s->arena, llem_str_at(plan, "created_utc", s->started));
    remove_leftovers(s->dir);
    same = match_runs(s, known, count);
    if (s->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot read '%s': out of memory", s->dir);
    if (rc == LLEM_OK && !same)
        rc = keep_plan(s, err);
    if (rc == LLEM_OK && !same)
        rc = save_plan(s, err);
    if (rc == LLEM_OK && !same && s->plan->sweep->count > 1)
        rc = llem_equivalence_write(s->plan, s->dir, err);
    manifest = load_in(&a, s->dir, "manifest.json", NULL);
    if (rc == LLEM_OK)
        scan(s, manifest);
done:
    llem_arena_done(&a);
    return rc;
}

/* Runs that are not wanted now. */
static void skip_told(struct llem_study *s, const llem_run_opts *opts)
{
    for (size_t i = 0; i < s->plan->n_runs; i++)
        for (size_t k = 0; k < opts->n_skip; k++)
            if (s->runs[i].state == LLEM_STATE_PENDING &&
                opts->skip[k].cycle == (int)s->plan->runs[i].cycle + 1 &&
                strcmp(opts->skip[k].config_hash, run_hash(s, i)) == 0)
                llem_study_skip(s, i, "it was to be left out");
}

/* What does not change any more, for others to read meanwhile. */
static void look_ahead(struct llem_study *s)
{
    size_t n = s->plan->n_runs, before = n;

    for (size_t i = 0; i < n; i++) {
        s->runs[i].earlier = s->runs[i].state != LLEM_STATE_PENDING;
        if (s->runs[i].earlier)
            continue;
        if (before < n)
            s->runs[i].pause_s = llem_plan_gap_s(s->plan, before, i);
        before = i;
    }
}

void llem_study_skip(struct llem_study *s, size_t i, const char *why)
{
    s->runs[i].state = LLEM_STATE_SKIPPED;
    s->runs[i].message = why;
}

llem_errcode llem_study_open(struct llem_study *s, llem_ctx *ctx, const struct llem_plan *plan,
                             const llem_run_opts *opts, llem_error *err)
{
    bool again = opts->resume || opts->resume_dir;
    struct llem_config first = { 0 };
    const char *results;
    char text[40];
    llem_errcode rc;

    memset(s, 0, sizeof(*s));
    s->lock_fd = -1;
    s->ctx = ctx;
    s->plan = plan;
    s->status = "running";
    s->skip_preflight = opts->skip_preflight ||
                        llem_bool_at(plan->sweep->study, "study_execution.skip_preflight", false);
    s->started_ns = ctx->clock->wall_ns(ctx->clock->self);
    s->begun_ns = llem_now_ns(ctx->clock);
    llem_format_utc(text, s->started_ns);
    s->started = llem_arena_strdup(&s->arena, text);
    s->runs = llem_arena_calloc(&s->arena, plan->n_runs + 1, sizeof(*s->runs));
    rc = llem_sweep_config(plan->sweep, plan->runs[0].cell, &first, err);
    if (rc == LLEM_OK && s->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    if (rc < 0)
        goto done;
    for (size_t i = 0; i < plan->n_runs; i++)
        for (size_t k = 0; k < LLEM_RUN_NUMBERS; k++)
            s->runs[i].numbers[k] = NAN;
    results = llem_results_dir(&s->arena, &first, opts->output_dir);
    rc = again ? resume(s, opts, results, err) : begin_new(s, results, err);
    for (size_t i = 0; rc == LLEM_OK && i < plan->n_runs; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;

        s->runs[i].summary = llem_arena_strdup(&s->arena, summary_of(s, i, &a));
        llem_arena_done(&a);
    }
    if (rc == LLEM_OK && s->arena.oom)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory for a study");
    if (rc == LLEM_OK) {
        s->name = llem_path_basename(s->dir);
        skip_told(s, opts);
        look_ahead(s);
        rc = manifest_save(s, true, err);
    }
done:
    llem_arena_done(&first.arena);
    if (rc < 0) {
        if (!again && s->dir)
            llem_remove_tree(s->dir, NULL);
        llem_study_close(s);
    }
    return rc;
}

void llem_study_close(struct llem_study *s)
{
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
    llem_arena_done(&s->arena);
}

const char *llem_study_status(const struct llem_study *s)
{
    size_t done =
        llem_study_count(s, LLEM_STATE_COMPLETED) + llem_study_count(s, LLEM_STATE_SKIPPED);

    if (llem_study_count(s, LLEM_STATE_INTERRUPTED))
        return "interrupted";
    return done == s->plan->n_runs ? "completed" : "failed";
}

llem_errcode llem_study_end(struct llem_study *s, const char *status, llem_error *err)
{
    s->status = status;
    s->finished_ns = s->ctx->clock->wall_ns(s->ctx->clock->self);
    return manifest_save(s, true, err);
}

/* ---- one run -------------------------------------------------------------------------------- */

static struct llem_value *experiment_of(const struct llem_study *s, size_t i,
                                        const struct llem_config *config,
                                        const struct llem_cell *cell, struct llem_arena *a)
{
    static const char *const paths[] = { "task.model", "task.dataset.source" };
    const struct llem_plan *p = s->plan;
    struct llem_value *v = llem_map(a), *resolved = llem_map(a), *output = llem_map(a);
    char hash[65];

    llem_config_resolved_hash(config->schema, config->tree, hash);
    llem_set(a, v, "version", llem_int(a, 1));
    llem_set(a, v, "producer", llem_producer(a));
    llem_set(a, v, "kind", llem_string(a, "inference"));
    llem_set(a, v, "experiment_id", llem_string(a, cell->experiment_id));
    llem_set(a, v, "measurement_config_hash", llem_string(a, config->hash));
    llem_set(a, v, "resolved_config_hash", llem_string(a, hash));
    llem_set(a, v, "study_id", llem_string(a, s->name));
    llem_set(a, v, "index", llem_int(a, (int64_t)number_of(s->runs[i].name)));
    llem_set(a, v, "cycle", llem_int(a, (int64_t)p->runs[i].cycle + 1));
    llem_set(a, v, "n_cycles", llem_int(a, (int64_t)p->n_cycles));
    llem_set(a, v, "order",
             llem_string(a, llem_str_at(p->sweep->study, "study_execution.experiment_order", "")));
    llem_set(a, v, "quick", llem_bool(a, llem_bool_at(config->tree, "measurement.quick", false)));
    llem_set(a, v, "skip_preflight", llem_bool(a, s->skip_preflight));
    llem_set(a, v, "config", llem_copy(a, config->tree));
    llem_set(a, v, "provenance", llem_config_provenance(config, a));
    for (size_t k = 0; k < LLEM_COUNT(paths); k++) {
        const char *path = llem_config_path(config, a, paths[k]);

        if (path)
            llem_set(a, resolved, paths[k], llem_string(a, path));
    }
    llem_set(a, v, "paths", resolved);
    llem_set(a, output, "save_timeseries",
             llem_bool(a, llem_bool_at(config->output, "output.save_timeseries", true)));
    llem_set(a, output, "save_outputs",
             llem_string(a, llem_str_at(config->output, "output.save_outputs", "hash")));
    llem_set(a, v, "output", output);
    llem_set(a, v, "runners", llem_copy(a, llem_get(p->sweep->study, "runners")));
    llem_set(a, v, "site", llem_site(a, s->ctx));
    llem_set(a, v, "run_mark", llem_string(a, cell->mark));
    llem_set(a, v, "variables", llem_variables_to_record(s->ctx, a));
    if (p->n_runs > 1)
        llem_set(a, v, "baselines", llem_string(a, "../baselines"));
    return v;
}

/* Move what an earlier try left into attempts/N. The claim goes first: whoever moves it has the
 * run. A directory without one was given up in the middle of this, and is emptied to its end. */
static llem_errcode set_aside(const char *dir, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *attempts = llem_path_join(&a, dir, "attempts"), *to = NULL, *from, *at;
    char *claim = llem_path_join(&a, dir, "claim.json");
    struct dirent *e;
    DIR *d = NULL;
    int n = 1;
    llem_errcode rc = LLEM_OK;

    if (a.oom || (mkdir(attempts, 0777) < 0 && errno != EEXIST))
        goto failed;
    while ((to = llem_arena_printf(&a, "%s/%d", attempts, n)) && llem_path_exists(to))
        n++;
    if (to && n > 1 && !llem_path_exists(claim)) /* the last one is not done */
        to = llem_arena_printf(&a, "%s/%d", attempts, n - 1);
    if (!to || (mkdir(to, 0777) < 0 && errno != EEXIST))
        goto failed;
    remove_leftovers(dir);
    remove_leftovers(llem_path_join(&a, dir, "recording"));
    at = llem_path_join(&a, to, "claim.json");
    if (!at || (rename(claim, at) < 0 && errno != ENOENT))
        goto failed;
    d = opendir(dir);
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "attempts") == 0)
            continue;
        from = llem_path_join(&a, dir, e->d_name);
        at = llem_path_join(&a, to, e->d_name);
        if (!from || !at || rename(from, at) < 0)
            goto failed;
    }
    if (d)
        closedir(d);
    llem_arena_done(&a);
    return LLEM_OK;

failed:
    rc = llem_fail(err, a.oom ? LLEM_ENOMEM : LLEM_EIO,
                   a.oom ? "cannot keep the earlier try in '%s': out of memory"
                         : "cannot keep the earlier try in '%s': %m",
                   dir);
    if (d)
        closedir(d);
    llem_arena_done(&a);
    return rc;
}

static llem_errcode save_all(struct llem_batch batch, struct llem_arena *a,
                             const struct llem_study *s, size_t i, const struct llem_config *config,
                             const struct llem_cell *cell, llem_error *err)
{
    const struct {
        const char *name;
        const struct llem_value *v;
    } files[] = {
        { "experiment.json", experiment_of(s, i, config, cell, a) },
        { "_resolution.json", llem_config_resolution(config, a) },
        { "claim.json", llem_claim(a, cell->mark, s->runs[i].started_ns) },
    };
    llem_errcode rc = LLEM_OK;

    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", cell->dir);
    for (size_t k = 0; rc == LLEM_OK && k < LLEM_COUNT(files); k++)
        rc = llem_batch_add_json(&batch, files[k].name, files[k].v, err);
    if (rc == LLEM_OK)
        rc = llem_batch_commit(&batch, err);
    llem_batch_done(&batch);
    return rc;
}

/* A directory that is not there yet appears whole, and whoever renames it into place has the run.
 * One that is there has been given up. */
static llem_errcode claim_dir(struct llem_study *s, size_t i, const struct llem_config *config,
                              const struct llem_cell *cell, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *hidden = llem_arena_printf(&a, "%s/.claim-%s", s->dir, cell->mark);
    llem_errcode rc;

    if (llem_path_exists(cell->dir)) {
        rc = set_aside(cell->dir, err);
        if (rc == LLEM_OK)
            rc = save_all((struct llem_batch){ .dir = cell->dir }, &a, s, i, config, cell, err);
        llem_arena_done(&a);
        return rc;
    }
    if (!hidden)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    else if (mkdir(hidden, 0777) < 0)
        rc = llem_fail(err, LLEM_EIO, "cannot make '%s': %m", hidden);
    else
        rc = save_all((struct llem_batch){ .dir = hidden, .in_place = true }, &a, s, i, config,
                      cell, err);
    if (rc == LLEM_OK && rename(hidden, cell->dir) < 0)
        rc = llem_fail(err, LLEM_EIO, "cannot make '%s': %m", cell->dir);
    if (rc == LLEM_OK)
        rc = llem_sync_dir(s->dir, err);
    if (rc < 0 && hidden)
        llem_remove_tree(hidden, NULL);
    llem_arena_done(&a);
    return rc;
}

/* Whose is it? LLEM_OK: nobody's any more; what its processes left running is ended. */
static llem_errcode take_over(const struct llem_study *s, size_t i, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    const char *dir = run_path(s, i, NULL, &a);
    const struct llem_value *claim = dir ? load_in(&a, dir, "claim.json", NULL) : NULL;
    const char *mark = llem_str_at(claim, "run_mark", "");
    llem_errcode rc = LLEM_OK;

    switch (run_has(s, i, "status.json") ? DEAD : owner_of(s, claim)) {
    case NOBODY:
    case DEAD:
        if (strlen(mark) == 32)
            llem_process_sweep(mark, LLEM_SWEEP_MS);
        break;
    case ALIVE:
        rc = llem_fail(err, LLEM_ESTUDY, "process %lld is running it",
                       (long long)llem_int_at(claim, "pid", 0));
        break;
    case UNKNOWN:
        rc = llem_fail(err, LLEM_ESTUDY,
                       "another machine has claimed it (%s), and whether that still runs it cannot "
                       "be told from here",
                       llem_str_at(claim, "started_utc", "?"));
        llem_hint(err, rc, "If it does not, remove '%s/claim.json'.", dir ? dir : "");
        break;
    }
    llem_arena_done(&a);
    return rc;
}

llem_errcode llem_study_claim(struct llem_study *s, size_t i, struct llem_cell *cell,
                              llem_error *err)
{
    struct llem_run *run = &s->runs[i];
    struct llem_config config = { 0 };
    char slug[128], stamp[24], random[33];
    llem_errcode rc;

    memset(cell, 0, sizeof(*cell));
    cell->dir = run_path(s, i, NULL, &cell->arena);
    rc = llem_sweep_config(s->plan->sweep, s->plan->runs[i].cell, &config, err);
    if (rc == LLEM_OK && !cell->dir)
        rc = llem_fail(err, LLEM_ENOMEM, "cannot prepare '%s': out of memory", s->dir);
    if (rc == LLEM_OK && (!llem_random_hex(cell->mark) || !llem_random_hex(random)))
        rc = llem_fail(err, LLEM_EIO, "the system gives no random numbers: %m");
    if (rc == LLEM_OK && llem_path_exists(cell->dir)) {
        rc = take_over(s, i, err);
        /* The harness that was ended with its runner may have been done. */
        if (rc == LLEM_OK && llem_study_derive(cell->dir)) {
            run->state = LLEM_STATE_COMPLETED;
            read_completed(s, i);
            goto done;
        }
    }
    if (rc < 0)
        goto done;
    run->started_ns = s->ctx->clock->wall_ns(s->ctx->clock->self);
    llem_slug(slug, sizeof(slug), llem_str_at(config.tree, "task.model", "model"));
    llem_format_stamp(stamp, run->started_ns);
    cell->experiment_id = llem_arena_printf(&cell->arena, "%s-%s_%s_%.8s", slug,
                                            llem_config_engine(&config), stamp, random);
    rc = claim_dir(s, i, &config, cell, err);
    if (rc < 0)
        goto done;
    run->state = LLEM_STATE_RUNNING;
    run->finished_ns = 0;
    run->reason = run->message = NULL;
    manifest_save(s, false, NULL);
done:
    llem_arena_done(&config.arena);
    return rc;
}

void llem_cell_done(struct llem_cell *cell)
{
    llem_arena_done(&cell->arena);
}

llem_errcode llem_study_finish(struct llem_study *s, size_t i, const char *dir,
                               const struct llem_outcome *o, const llem_result *result,
                               llem_error *err)
{
    struct llem_run *run = &s->runs[i];
    struct llem_outcome told = *o;
    llem_errcode rc, rc2;

    /* Since the study was begun, so that pauses count too. */
    told.clock_set_s = (double)(o->finished_ns - s->started_ns - (o->begun_ns - s->begun_ns)) /
                           (double)LLEM_NS_PER_S -
                       o->elapsed_s;
    rc = llem_status_write(dir, &told, err);
    run->state = o->state;
    run->started_ns = o->started_ns;
    run->finished_ns = o->finished_ns;
    run->elapsed_s = o->elapsed_s;
    if (result)
        run_numbers(run, result);
    if (o->state != LLEM_STATE_COMPLETED) {
        run->reason = llem_errcode_name(o->err.code);
        run->message = llem_safe_text(&s->arena, o->err.msg, strlen(o->err.msg));
    }
    rc2 = manifest_save(s, false, rc < 0 ? NULL : err);
    return rc < 0 ? rc : rc2;
}
