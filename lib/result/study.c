/* SPDX-License-Identifier: MIT
 *
 * study_result.json: what was planned, what became of it run by run, and what is missing.
 */
#include "lib/result/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/recording.h"
#include "lib/result/result.h"
#include "lib/result/stats.h"

enum { NAMED = 5 }; /* directories that a sentence names */
/* Beyond this the clock was set: it is also trimmed, a little at a time. */
#define CLOCK_SET_S 1.0
#define MAX_DOCUMENT ((size_t)1 << 30)

/* clang-format off */
const struct llem__measure llem__measures[LLEM__MEASURES] = {
    { "total_energy_j", "total_energy_j", LLEM__STATISTICS | LLEM__RATIO | LLEM__ENERGY },
    { "energy_adjusted_j", "energy_adjusted_j", LLEM__STATISTICS | LLEM__RATIO | LLEM__ENERGY },
    { "avg_energy_per_token_j", "avg_energy_per_token_j", LLEM__STATISTICS | LLEM__RATIO | LLEM__ENERGY },
    { "energy_per_output_token_j", "energy.j_per_output_token", LLEM__STATISTICS | LLEM__RATIO | LLEM__ENERGY },
    { "mean_power_w", "energy.mean_power_w", LLEM__STATISTICS | LLEM__RATIO | LLEM__ENERGY },
    { "baseline_power_w", "baseline_power_w", LLEM__STATISTICS },
    { "total_inference_time_sec", "total_inference_time_sec", LLEM__STATISTICS | LLEM__RATIO },
    { "avg_tokens_per_second", "avg_tokens_per_second", LLEM__STATISTICS | LLEM__RATIO },
    { "output_tokens_per_s", "throughput.output_tokens_per_s", LLEM__STATISTICS | LLEM__RATIO },
    { "ttft_mean_ms", "latency_stats.ttft_mean_ms", LLEM__STATISTICS | LLEM__RATIO },
    { "itl_mean_ms", "latency_stats.itl_mean_ms", LLEM__STATISTICS | LLEM__RATIO },
    { "tpot_ms", "extended_metrics.tpot_ms", LLEM__STATISTICS | LLEM__RATIO },
    { "e2e_latency_mean_ms", "extended_metrics.request_latency.e2e_latency_mean_ms", LLEM__STATISTICS | LLEM__RATIO },
    { "input_tokens", "tokens.input", LLEM__STATISTICS },
    { "output_tokens", "tokens.output", LLEM__STATISTICS },
    { "peak_memory_mb", "extended_metrics.memory.peak_memory_mb", LLEM__STATISTICS },
    { "total_flops", "total_flops", 0 },
    { "emissions_kg_co2", "emissions.kg_co2", 0 },
    /* An estimate: it takes part in no ratio. */
    { "energy_estimated_j", "energy_estimated_j.value", LLEM__STATISTICS },
};
/* clang-format on */
const char *const llem__part_endings[LLEM__PARTS] = {
    [LLEM__VALUE] = "",         [LLEM__CI95_LO] = "_ci95_lo", [LLEM__CI95_HI] = "_ci95_hi",
    [LLEM__SOURCE] = "_source", [LLEM__QUALITY] = "_quality", [LLEM__REASON] = "_reason",
};

/* ---- small things ------------------------------------------------------------------------- */

static struct llem_value *text_or_null(struct llem_arena *a, const char *s)
{
    return llem_string(a, s && *s ? s : NULL);
}

static struct llem_value *copy_at(struct llem_arena *a, const struct llem_value *v,
                                  const char *path)
{
    const struct llem_value *found = llem_at(v, path);

    return found ? llem_copy(a, found) : llem_null(a);
}

/* "2026-01-31T12:00:00.123456Z" in s since the epoch; NaN. */
static double utc_s(const char *text)
{
    struct tm tm = { 0 };
    int micros = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &micros) < 6)
        return (double)NAN;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return (double)timegm(&tm) + micros / 1e6;
}

/* From one time of the wall clock to another; NaN if that cannot be. */
static double between_s(double first, double last)
{
    return last >= first ? last - first : (double)NAN;
}

/* ---- reading one run ---------------------------------------------------------------------- */

/* What reading the runs of a study needs again and again. */
struct reader {
    struct llem__study *s;
    struct llem_buf text;
    const char *keys[LLEM__MEASURES][LLEM__PARTS];
};

static llem_errcode read_json(struct reader *r, struct llem_arena *own, struct llem_value **out,
                              const char *path, llem_error *err)
{
    llem_errcode rc;

    llem_buf_clear(&r->text);
    rc = llem_file_read(&r->text, path, err);
    if (rc == LLEM_OK)
        rc = llem_json_parse(own, out, r->text.data, r->text.len, path, err);
    if (rc == LLEM_OK && (*out)->kind != LLEM_MAP)
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' holds no object", path);
    r->s->a->oom = r->s->a->oom || rc == LLEM_ENOMEM; /* not the file's fault */
    return rc;
}

/* result.json; derived first where only the recording is there. */
static llem_errcode read_result(struct reader *r, struct llem_arena *own, struct llem_value **out,
                                const char *dir, llem_error *err)
{
    const char *file = llem_path_join(own, dir, "result.json");
    llem_errcode rc;

    if (!file)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", dir);
    if (!llem_path_exists(file)) {
        const char *recording = llem_path_join(own, dir, "recording/recording.json");

        if (!recording || !llem_path_exists(recording))
            return llem_fail(err, LLEM_ENOTFOUND, "'%s' has no result.json", dir);
        rc = llem_result_derive(dir, err);
        if (rc < 0)
            return rc;
    }
    return read_json(r, own, out, file, err);
}

static const char *joined(struct llem_arena *a, const struct llem_value *list, const char *key)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *text;

    for (size_t i = 0; list && list->kind == LLEM_LIST && i < list->count; i++) {
        const struct llem_value *v = key ? llem_get(list->items[i], key) : list->items[i];

        if (v && v->kind == LLEM_STRING)
            llem_buf_addf(&b, "%s%s", b.len ? " " : "", v->s);
    }
    text = llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

static const char *kept(struct llem_arena *a, const struct llem_value *v, const char *path,
                        const char *otherwise)
{
    const char *text = llem_arena_strdup(a, llem_str_at(v, path, otherwise));

    return text ? text : "";
}

/* The original divides by output tokens and writes 0 where nothing was measured; it has no
 * uncertainties. */
static double original_value(const struct llem_value *result, const struct llem__measure *m)
{
    const char *path = m->path;
    double d;

    if (m->flags & LLEM__ENERGY && !(llem_real_at(result, "total_energy_j", 0) > 0))
        return (double)NAN; /* what it subtracts from nothing is nothing */
    if (strcmp(m->name, "energy_per_output_token_j") == 0)
        path = "avg_energy_per_token_j";
    d = llem_real_at(result, path, (double)NAN);
    if (strcmp(m->name, "avg_energy_per_token_j") == 0)
        d = llem_real_at(result, "mj_per_tok_total", (double)NAN) / 1000;
    return d == 0 ? (double)NAN : d;
}

/* "AMD EPYC 7742; 2 x NVIDIA A100" */
static const char *hardware_of(struct llem_arena *a, const struct llem_value *environment)
{
    const struct llem_value *gpus = llem_get(environment, "gpus");
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    const char *text;

    llem_buf_adds(&b, llem_str_at(environment, "cpu.model", ""));
    for (size_t i = 0, same; gpus && gpus->kind == LLEM_LIST && i < gpus->count; i += same) {
        const char *name = llem_str_at(gpus->items[i], "name", "GPU");

        for (same = 1; i + same < gpus->count; same++)
            if (strcmp(llem_str_at(gpus->items[i + same], "name", "GPU"), name) != 0)
                break;
        llem_buf_addf(&b, "%s%zu x %s", b.len ? "; " : "", same, name);
    }
    text = llem_arena_strdup(a, b.data);
    llem_buf_done(&b);
    return text ? text : "";
}

void llem__run_of_result(struct llem_arena *a, struct llem__run *run,
                         const struct llem_value *result)
{
    const struct llem_value *quantities = llem_get(result, "quantities");
    bool original = llem__is_original(result);

    run->quality = original ? "unknown" : kept(a, result, "energy_quality", "none");
    run->source = kept(a, result, "energy_source", "");
    run->scope = joined(a, llem_get(result, "energy_scope"), NULL);
    run->hardware = hardware_of(a, llem_get(result, "environment"));
    run->prompts = kept(a, result, "dataset.sha256", "");
    for (size_t m = 0; m < LLEM__MEASURES; m++) {
        const char *path = llem__measures[m].path;
        const struct llem_value *q = llem_get(quantities, path);
        double v =
            q ? llem_real_at(q, "value", (double)NAN) : llem_real_at(result, path, (double)NAN);

        if (original)
            v = original_value(result, &llem__measures[m]);
        run->v[m] = v;
        run->u_stat[m] = llem_real_at(q, "u_stat", (double)NAN);
        run->u_sys[m] = llem_real_at(q, "u_sys", (double)NAN);
        run->qualities[m] = isnan(v)   ? "none"
                            : original ? "unknown"
                                       : kept(a, q, "quality", "measured");
        run->reasons[m] = !isnan(v)  ? ""
                          : original ? "not_in_original"
                                     : kept(a, q, "reason", "engine_does_not_report");
        if (isnan(v) && !*run->reasons[m])
            run->reasons[m] = "engine_does_not_report";
    }
}

/* The row's numbers; without a result, nulls for a reason. */
static void put_measures(struct reader *r, struct llem__run *run, const struct llem_value *result)
{
    const struct llem_value *quantities = llem_get(result, "quantities");
    struct llem_arena *a = r->s->a;

    for (size_t m = 0; m < LLEM__MEASURES; m++) {
        const char *const *keys = r->keys[m];
        const struct llem_value *q = llem_get(quantities, llem__measures[m].path);
        bool valid = !isnan(run->v[m]);

        llem__add(a, run->row, keys[LLEM__VALUE], llem_real(a, run->v[m]));
        llem__add(a, run->row, keys[LLEM__CI95_LO],
                  llem_real(a, valid ? llem_real_at(q, "ci95.0", (double)NAN) : (double)NAN));
        llem__add(a, run->row, keys[LLEM__CI95_HI],
                  llem_real(a, valid ? llem_real_at(q, "ci95.1", (double)NAN) : (double)NAN));
        llem__add(a, run->row, keys[LLEM__SOURCE],
                  llem_string(a, valid ? llem_str_at(q, "source", NULL) : NULL));
        llem__add(a, run->row, keys[LLEM__QUALITY], llem_string(a, run->qualities[m]));
        llem__add(a, run->row, keys[LLEM__REASON], text_or_null(a, run->reasons[m]));
    }
    llem__add(a, run->row, "energy_estimated_low_j",
              llem_real(a, llem_real_at(result, "energy_estimated_j.low", (double)NAN)));
    llem__add(a, run->row, "energy_estimated_high_j",
              llem_real(a, llem_real_at(result, "energy_estimated_j.high", (double)NAN)));
}

/* How a run stands: its status.json; without one, whether it has a result or was begun; without a
 * directory, what the manifest says. */
static void read_state(struct reader *r, struct llem__run *run, struct llem_arena *own,
                       const char *dir, const struct llem_value *entry)
{
    struct llem_arena *a = r->s->a;
    struct llem_value *status = NULL;
    const char *file = llem_path_join(own, dir, "status.json");

    if (!llem_path_is_dir(dir) || r->s->original) {
        run->state = kept(a, entry, "status", "pending");
        run->reason = kept(a, entry, "error_type", "");
        run->message = kept(a, entry, "error_message", "");
        run->started_s = utc_s(llem_str_at(entry, "started_at", ""));
        run->finished_s = utc_s(llem_str_at(entry, "completed_at", ""));
        run->elapsed_s = between_s(run->started_s, run->finished_s);
        if (!r->s->original &&
            (strcmp(run->state, "completed") == 0 || strcmp(run->state, "running") == 0)) {
            run->state = "pending"; /* whatever it was, it is gone */
            run->message = "its directory is not there any more";
        }
        return;
    }
    if (!file || !llem_path_exists(file)) {
        const char *result = llem_path_join(own, dir, "result.json");

        run->state = result && llem_path_exists(result) ? "completed" : "running";
        return;
    }
    if (read_json(r, own, &status, file, NULL) < 0) {
        run->state = "failed";
        run->reason = "corrupt";
        run->message = "its status.json cannot be read";
        return;
    }
    run->state = kept(a, status, "state", "failed");
    run->reason = kept(a, status, "reason", "");
    run->message = kept(a, status, "message", "");
    run->started_s = utc_s(llem_str_at(status, "started_utc", ""));
    run->finished_s = utc_s(llem_str_at(status, "finished_utc", ""));
    run->elapsed_s = llem_real_at(status, "elapsed_s", (double)NAN);
    run->clock_was_set = fabs(llem_real_at(status, "clock_set_s", 0)) > CLOCK_SET_S;
}

static struct llem_value *time_utc(struct llem_arena *a, double s)
{
    char text[40];

    if (isnan(s))
        return llem_null(a);
    llem_format_utc(text, (int64_t)(s * 1e6 + 0.5) * 1000);
    return llem_string(a, text);
}

static void read_run(struct reader *r, struct llem__run *run, const struct llem_value *entry)
{
    const struct llem__configuration *c = &r->s->configurations[run->configuration];
    struct llem_arena own = LLEM_ARENA_INIT, *a = r->s->a;
    struct llem_value *result = NULL, *row = llem_map(a);
    const char *dir = llem_path_join(&own, r->s->dir, run->dir);
    llem_error err = { 0 };

    run->reason = run->message = run->quality = run->source = run->scope = "";
    run->hardware = run->prompts = "";
    run->started_s = run->finished_s = run->elapsed_s = (double)NAN;
    run->row = row;
    run->state = "pending";
    if (!dir) {
        a->oom = true;
        llem_arena_done(&own);
        return;
    }
    read_state(r, run, &own, dir, entry);
    if (strcmp(run->state, "completed") == 0) {
        if (read_result(r, &own, &result, dir, &err) == LLEM_OK) {
            run->completed = true;
        } else {
            run->state = "failed";
            run->reason = kept(a, NULL, "", llem_errcode_name(err.code));
            run->message = llem_arena_printf(a, "its result.json cannot be read: %s", err.msg);
            run->message = run->message ? run->message : "";
        }
    }
    if (result) {
        llem__run_of_result(a, run, result);
    } else {
        for (size_t m = 0; m < LLEM__MEASURES; m++) {
            run->v[m] = run->u_stat[m] = run->u_sys[m] = (double)NAN;
            run->qualities[m] = "none";
            run->reasons[m] = "not_completed";
        }
    }
    llem__add(a, row, "dir", llem_string(a, run->dir));
    llem__add(a, row, "experiment", llem_int(a, c->number));
    llem__add(a, row, "cycle", llem_int(a, (int64_t)run->cycle));
    llem__add(a, row, "position", llem_int(a, (int64_t)run->position));
    llem__add(a, row, "state", llem_string(a, run->state));
    llem__add(a, row, "reason", text_or_null(a, run->reason));
    llem__add(a, row, "message", text_or_null(a, run->message));
    llem__add(a, row, "settings", copy_at(a, c->json, "settings"));
    llem__add(a, row, "model", text_or_null(a, c->model));
    llem__add(a, row, "engine", text_or_null(a, c->engine));
    llem__add(a, row, "engine_version", copy_at(a, result, "engine_version"));
    llem__add(a, row, "experiment_id", copy_at(a, result, "experiment_id"));
    llem__add(a, row, "measurement_config_hash", copy_at(a, c->json, "measurement_config_hash"));
    llem__add(a, row, "started_utc", time_utc(a, run->started_s));
    llem__add(a, row, "finished_utc", time_utc(a, run->finished_s));
    llem__add(a, row, "elapsed_s", llem_real(a, run->elapsed_s));
    llem__add(a, row, "quick", copy_at(a, result, "quick"));
    llem__add(a, row, "energy_quality", llem_string(a, *run->quality ? run->quality : "none"));
    llem__add(a, row, "energy_source", text_or_null(a, run->source));
    llem__add(a, row, "energy_scope", text_or_null(a, run->scope));
    llem__add(a, row, "hardware", text_or_null(a, run->hardware));
    llem__add(a, row, "dataset_sha256", text_or_null(a, run->prompts));
    llem__add(
        a, row, "warnings",
        text_or_null(a, joined(a, llem_get(result, "measurement_warnings_detail"), "reason")));
    put_measures(r, run, result);
    a->oom = a->oom || own.oom;
    llem_arena_done(&own);
}

/* ---- the plan ----------------------------------------------------------------------------- */

static size_t length(const struct llem_value *list)
{
    return list && list->kind == LLEM_LIST ? list->count : 0;
}

static llem_errcode bad_plan(const struct llem__study *s, const char *what, llem_error *err)
{
    llem_fail(err, LLEM_ECORRUPT, "the plan.json of '%s' %s", s->dir, what);
    return llem_hint(err, LLEM_ECORRUPT,
                     "Its runs are still there: llem show DIR/001_* shows one of them.");
}

static int by_number(const void *key, const void *item)
{
    int64_t number = *(const int64_t *)key,
            other = ((const struct llem__configuration *)item)->number;

    return (number > other) - (number < other);
}

/* Experiments that run, and which others they stand for. */
static llem_errcode read_configurations(struct llem__study *s, llem_error *err)
{
    const struct llem_value *list = llem_get(s->plan, "experiments");
    int64_t last = 0;

    s->configurations = llem_arena_calloc(s->a, length(list) + 1, sizeof(*s->configurations));
    if (!s->configurations)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", s->dir);
    for (size_t i = 0; i < length(list); i++) {
        const struct llem_value *json = list->items[i];
        int64_t number = llem_int_at(json, "number", 0), same = llem_int_at(json, "same_as", 0);
        struct llem__configuration *c = &s->configurations[s->n_configurations];

        if (number <= last)
            return bad_plan(s, "lists experiments out of order", err);
        last = number;
        if (same) {
            c = bsearch(&same, s->configurations, s->n_configurations, sizeof(*c), by_number);
            if (c)
                llem_append(s->a, c->merged, llem_int(s->a, number));
        }
        /* Without deduplication those that do the same run, too. */
        if (same && llem_bool_at(s->plan, "execution.deduplicate_equivalent", true))
            continue;
        s->configurations[s->n_configurations++] =
            (struct llem__configuration){ .json = json,
                                          .number = number,
                                          .engine = llem_str_at(json, "engine", ""),
                                          .model = llem_str_at(json, "model", ""),
                                          .merged = llem_list(s->a) };
    }
    return LLEM_OK;
}

static llem_errcode read_runs(struct llem__study *s, llem_error *err)
{
    const struct llem_value *list = llem_get(s->plan, "runs");
    const struct llem_value *entries = llem_get(s->manifest, "experiments");
    struct reader r = { .s = s };
    llem_errcode rc = LLEM_OK;

    s->n_runs = length(list);
    s->runs = llem_arena_calloc(s->a, s->n_runs + 1, sizeof(*s->runs));
    llem_buf_init(&r.text, LLEM_RECORDING_MAX_JSON * 4);
    for (size_t m = 0; m < LLEM__MEASURES; m++)
        for (size_t p = 0; p < LLEM__PARTS; p++)
            r.keys[m][p] =
                llem_arena_printf(s->a, "%s%s", llem__measures[m].name, llem__part_endings[p]);
    for (size_t i = 0; s->runs && i < s->n_runs && !s->a->oom; i++) {
        const struct llem_value *json = list->items[i];
        struct llem__run *run = &s->runs[i];
        int64_t number = llem_int_at(json, "experiment", 0);
        int64_t at = llem_int_at(json, "entry", (int64_t)i);
        struct llem__configuration *c =
            bsearch(&number, s->configurations, s->n_configurations, sizeof(*c), by_number);

        run->dir = llem_str_at(json, "dir", "");
        if (!c || !*run->dir || strchr(run->dir, '/') || run->dir[0] == '.') {
            rc = bad_plan(s, "names a run without an experiment, or with no name for its directory",
                          err);
            break;
        }
        run->configuration = (size_t)(c - s->configurations);
        run->cycle = (size_t)llem_int_at(json, "cycle", 1);
        if (run->cycle < 1 || run->cycle > s->n_runs) {
            rc = bad_plan(s, "names a cycle that cannot be", err);
            break;
        }
        run->position = i + 1;
        c->n_runs++;
        read_run(&r, run, at >= 0 && (size_t)at < length(entries) ? entries->items[at] : NULL);
        c->n_completed += run->completed;
    }
    llem_buf_done(&r.text);
    return rc;
}

/* The runs of each configuration, in their order. */
static void group_runs(struct llem__study *s)
{
    for (size_t i = 0; i < s->n_configurations; i++) {
        struct llem__configuration *c = &s->configurations[i];

        c->runs = llem_arena_calloc(s->a, c->n_runs + 1, sizeof(struct llem__run *));
        c->n_runs = 0;
    }
    for (size_t i = 0; i < s->n_runs && !s->a->oom; i++) {
        struct llem__configuration *c = &s->configurations[s->runs[i].configuration];

        c->runs[c->n_runs++] = &s->runs[i];
    }
}

/* ---- the summary -------------------------------------------------------------------------- */

static const struct state {
    const char *name, *count, *one, *many; /* count: the key of the summary that it adds to */
} states[] = {
    { "completed", "completed", NULL, NULL },
    { "failed", "failed", "failed", "failed" },
    { "timeout", "failed", "ran out of time", "ran out of time" },
    { "pending", "pending", "was not run", "were not run" },
    { "running", "pending", "was begun and has not ended", "were begun and have not ended" },
    { "skipped", "skipped", "was skipped", "were skipped" },
    { "interrupted", "interrupted", "was interrupted", "were interrupted" },
};
static const char *const counts[] = { "completed", "failed", "pending", "skipped", "interrupted" };

/* "2 of 6 runs failed: 003_c1_..., 005_c2_..." for each state that is not completed. */
static struct llem_value *missing_sentences(const struct llem__study *s)
{
    struct llem_value *list = llem_list(s->a);

    for (size_t k = 0; k < LLEM_COUNT(states); k++) {
        struct llem_buf b = LLEM_BUF_INIT(1 << 16);
        size_t n = 0;

        for (size_t i = 0; i < s->n_runs; i++)
            n += strcmp(s->runs[i].state, states[k].name) == 0;
        if (!n || !states[k].one)
            continue;
        llem_buf_addf(&b, "%zu of %zu runs %s: ", n, s->n_runs,
                      n == 1 ? states[k].one : states[k].many);
        for (size_t i = 0, shown = 0; i < s->n_runs && shown < NAMED; i++)
            if (strcmp(s->runs[i].state, states[k].name) == 0)
                llem_buf_addf(&b, "%s%s", shown++ ? ", " : "", s->runs[i].dir);
        if (n > NAMED)
            llem_buf_addf(&b, " and %zu more", n - NAMED);
        llem_append(s->a, list, llem_string(s->a, b.data));
        llem_buf_done(&b);
    }
    return list;
}

/* What went wrong, run by run, and what the energies of the others are worth. */
static struct llem_value *summary_warnings(const struct llem__study *s, size_t completed,
                                           size_t measured, bool clock_was_set)
{
    struct llem_value *list = llem_list(s->a);

    for (size_t i = 0; i < s->n_runs; i++) {
        const char *message = s->runs[i].message;
        size_t first = 0, n = 0;

        while (first < i && strcmp(s->runs[first].message, message) != 0)
            first++;
        if (!*message || first < i)
            continue; /* told already */
        for (size_t k = i; k < s->n_runs; k++)
            n += strcmp(s->runs[k].message, message) == 0;
        if (n > 1)
            llem_append(s->a, list,
                        llem_stringf(s->a, "%s and %zu more: %s", s->runs[i].dir, n - 1, message));
        else
            llem_append(s->a, list, llem_stringf(s->a, "%s: %s", s->runs[i].dir, message));
    }
    if (s->original)
        llem_append(s->a, list,
                    llem_string(s->a, "LLenergyMeasure, the Python original, made these results: "
                                      "they have no uncertainties."));
    else if (measured < completed)
        llem_append(s->a, list,
                    llem_stringf(s->a,
                                 "The energy of %zu of %zu completed runs was not measured; "
                                 "estimates and nulls are in no sum, mean or ratio of measured "
                                 "energies.",
                                 completed - measured, completed));
    if (clock_was_set)
        llem_append(s->a, list,
                    llem_string(s->a, "The machine's clock was set while the study ran, or it "
                                      "slept: how long the whole took is not known, and the times "
                                      "of runs cannot be put in order."));
    if (!s->manifest)
        llem_append(s->a, list, llem_string(s->a, "manifest.json is missing or cannot be read."));
    return list;
}

/* The energies of all runs that have one. Their statistical parts are independent; the systematic
 * ones, mostly the gain of one sensor, are not and add up. */
static struct llem_value *energy_sum(const struct llem__study *s, double *sum, size_t *measured)
{
    struct llem_value *q = llem_map(s->a), *ci = llem_null(s->a);
    double variance = 0, systematic = 0, u, half;
    const char *source = NULL;
    bool several = false;

    *sum = 0;
    *measured = 0;
    for (size_t i = 0; i < s->n_runs; i++) {
        const struct llem__run *run = &s->runs[i];

        if (isnan(run->v[0]))
            continue;
        (*measured)++;
        *sum += run->v[0];
        variance += run->u_stat[0] * run->u_stat[0];
        systematic += run->u_sys[0];
        several = several || (source && strcmp(source, run->source) != 0);
        source = run->source;
    }
    if (!*measured)
        *sum = (double)NAN;
    u = *measured ? sqrt(variance) : (double)NAN;
    systematic = *measured ? systematic : (double)NAN;
    if (isfinite(u)) {
        half = 1.959963984540054 * (isfinite(systematic) ? llem__quadrature(u, systematic) : u);
        ci = llem_list(s->a);
        llem_append(s->a, ci, llem_real(s->a, *sum - half));
        llem_append(s->a, ci, llem_real(s->a, *sum + half));
    }
    llem_set(s->a, q, "value", llem_real(s->a, *sum));
    llem_set(s->a, q, "unit", llem_string(s->a, "J"));
    llem_set(s->a, q, "source", text_or_null(s->a, several ? "several" : source));
    llem_set(s->a, q, "quality",
             llem_string(s->a, !*measured    ? "none"
                               : s->original ? "unknown"
                                             : "measured"));
    llem_set(s->a, q, "u_stat", llem_real(s->a, u));
    llem_set(s->a, q, "u_sys", llem_real(s->a, systematic));
    llem_set(s->a, q, "ci95", ci);
    llem_set(s->a, q, "reason", llem_string(s->a, *measured ? NULL : "no_measured_runs"));
    llem_set(s->a, q, "u_sys_reason",
             llem_string(s->a, *measured && !isfinite(systematic) ? "gain_unknown" : NULL));
    return q;
}

static struct llem_value *summary(const struct llem__study *s, struct llem_value *quantities)
{
    struct llem_arena *a = s->a;
    struct llem_value *v = llem_map(a), *energy;
    double first = (double)NAN, last = (double)NAN, running = 0, sum;
    size_t n[LLEM_COUNT(counts)] = { 0 }, measured;
    bool timed = false, was_set = false;

    energy = energy_sum(s, &sum, &measured);
    llem_set(a, quantities, "summary.total_energy_j", energy);
    for (size_t i = 0; i < s->n_runs; i++) {
        const struct llem__run *run = &s->runs[i];
        const char *count = "failed"; /* a word that we do not know */

        for (size_t k = 0; k < LLEM_COUNT(states); k++)
            if (strcmp(states[k].name, run->state) == 0)
                count = states[k].count;
        for (size_t k = 0; k < LLEM_COUNT(counts); k++)
            n[k] += strcmp(counts[k], count) == 0;
        first = fmin(first, run->started_s); /* which pass NaN over */
        last = fmax(last, run->finished_s);
        running += isnan(run->elapsed_s) ? 0 : run->elapsed_s;
        timed = timed || !isnan(run->elapsed_s);
        was_set = was_set || run->clock_was_set;
    }
    llem_set(a, v, "total_experiments", llem_int(a, (int64_t)s->n_runs));
    for (size_t k = 0; k < LLEM_COUNT(counts); k++)
        llem_set(a, v, counts[k], llem_int(a, (int64_t)n[k]));
    llem_set(a, v, "total_wall_time_s",
             llem_real(a, was_set ? (double)NAN : between_s(first, last)));
    llem_set(a, v, "total_run_time_s", llem_real(a, timed ? running : (double)NAN));
    llem_set(a, v, "total_energy_j", llem_real(a, sum));
    llem_set(a, v, "runs_with_energy", llem_int(a, (int64_t)measured));
    llem_set(a, v, "unique_configurations", llem_int(a, (int64_t)s->n_configurations));
    llem_set(a, v, "warnings", summary_warnings(s, n[0], measured, was_set));
    llem_set(a, v, "missing", missing_sentences(s));
    return v;
}

/* ---- the document ------------------------------------------------------------------------- */

static struct llem_value *protocol(const struct llem__study *s)
{
    static const char *const seeds[] = {
        "n_cycles",          "experiment_order", "experiment_gap_seconds",
        "cycle_gap_seconds", "shuffle_seed",     "experiment_timeout_seconds"
    };
    const struct llem_value *execution = llem_get(s->plan, "execution");
    struct llem_value *v = llem_map(s->a);

    for (size_t i = 0; i < LLEM_COUNT(seeds); i++)
        llem_set(s->a, v, seeds[i], copy_at(s->a, execution, seeds[i]));
    for (size_t i = 0; execution && execution->kind == LLEM_MAP && i < execution->count; i++)
        llem_set(s->a, v, execution->keys[i], llem_copy(s->a, execution->items[i]));
    return v;
}

/* What the plan skipped because it is invalid; with the original's names. */
static struct llem_value *skipped(const struct llem__study *s)
{
    const struct llem_value *list = llem_get(s->plan, "skipped");
    struct llem_value *out = llem_list(s->a);

    for (size_t i = 0; i < length(list); i++) {
        const struct llem_value *from = list->items[i];
        struct llem_value *v = llem_map(s->a), *errors = llem_list(s->a);
        const char *reason = llem_str_at(from, "reason", "");

        for (const char *line = reason; *line;) {
            size_t len = strcspn(line, "\n");

            llem_append(s->a, errors, llem_stringn(s->a, line, len));
            line += len + (line[len] == '\n');
        }
        llem_set(s->a, v, "number", copy_at(s->a, from, "number"));
        llem_set(s->a, v, "engine", copy_at(s->a, from, "engine"));
        llem_set(s->a, v, "short_label", copy_at(s->a, from, "differs_by"));
        llem_set(s->a, v, "raw_config", copy_at(s->a, from, "settings"));
        llem_set(s->a, v, "reason", llem_stringn(s->a, reason, strcspn(reason, "\n")));
        llem_set(s->a, v, "errors", errors);
        llem_append(s->a, out, v);
    }
    return out;
}

static struct llem_value *producer(const struct llem__study *s)
{
    struct llem_value *v = llem_map(s->a);

    llem_set(s->a, v, "program", llem_string(s->a, "llem"));
    llem_set(s->a, v, "version", llem_string(s->a, llem_version()));
    llem_set(s->a, v, "commit", llem_string(s->a, llem_commit()));
    return v;
}

static struct llem_value *document(struct llem__study *s)
{
    struct llem_arena *a = s->a;
    struct llem_value *v = llem_map(a), *files = llem_list(a), *rows = llem_list(a);
    struct llem_value *quantities = llem_map(a);

    for (size_t i = 0; i < s->n_runs; i++) {
        if (s->runs[i].completed)
            llem_append(a, files, llem_stringf(a, "%s/result.json", s->runs[i].dir));
        llem_append(a, rows, s->runs[i].row);
    }
    llem_set(a, v, "schema_version", llem_string(a, "1.0"));
    llem_set(a, v, "kind", llem_string(a, "study"));
    llem_set(a, v, "study_name", copy_at(a, s->plan, "study_name"));
    llem_set(a, v, "study_design_hash", copy_at(a, s->plan, "study_design_hash"));
    llem_set(a, v, "measurement_protocol", protocol(s));
    llem_set(a, v, "result_files", files);
    llem_set(a, v, "summary", summary(s, quantities));
    llem_set(a, v, "skipped_experiments", skipped(s));
    llem_set(a, v, "producer", producer(s));
    llem_set(a, v, "original", llem_bool(a, s->original));
    llem_set(a, v, "axes",
             length(llem_get(s->plan, "axes")) ? copy_at(a, s->plan, "axes") : llem_list(a));
    llem_set(a, v, "reference",
             s->n_configurations ? llem_int(a, s->configurations[0].number) : llem_null(a));
    llem_set(a, v, "configurations", llem__configurations(s));
    llem_set(a, v, "runs", rows);
    llem_set(a, v, "quantities", quantities);
    return v;
}

/* plan.json, or for the original, which has none, what its manifest says. */
static llem_errcode read_plan(struct llem__study *s, llem_error *err)
{
    const char *file = llem_path_join(s->a, s->dir, "plan.json");
    const char *index = llem_path_join(s->a, s->dir, "manifest.json");
    struct llem_value *v = NULL;
    llem_errcode rc;

    if (!file || !index)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", s->dir);
    if (llem_json_load(s->a, &v, index, MAX_DOCUMENT, NULL) == LLEM_OK)
        s->manifest = v;
    if (!llem_path_exists(file)) {
        s->original = true;
        return llem__original_plan(s, err);
    }
    rc = llem_json_load(s->a, &v, file, MAX_DOCUMENT, err);
    if (rc < 0)
        return rc;
    s->plan = v;
    if (llem_int_at(v, "version", 0) != 2)
        return bad_plan(s, "is of another version than 2", err);
    return LLEM_OK;
}

llem_errcode llem_study_assemble(const char *dir, struct llem_arena *a, struct llem_value **out,
                                 llem_error *err)
{
    struct llem__study s = { .a = a, .dir = dir };
    struct llem_value *v;
    llem_errcode rc = read_plan(&s, err);

    if (rc == LLEM_OK)
        rc = read_configurations(&s, err);
    if (rc == LLEM_OK)
        rc = read_runs(&s, err);
    if (rc < 0)
        return rc;
    group_runs(&s);
    v = a->oom ? NULL : document(&s);
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the result of '%s'", dir);
    *out = v;
    return LLEM_OK;
}

llem_errcode llem_study_result_write(llem_ctx *ctx, const char *dir, llem_error *err)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    const char *path;
    llem_errcode rc = llem_study_assemble(dir, &a, &v, err);

    (void)ctx;
    if (rc == LLEM_OK) {
        path = llem_path_join(&a, dir, "study_result.json");
        rc = path ? llem_json_save(path, v, err)
                  : llem_fail(err, LLEM_ENOMEM, "out of memory for the result of '%s'", dir);
    }
    llem_arena_done(&a);
    return rc;
}
