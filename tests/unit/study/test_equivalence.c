/* SPDX-License-Identifier: MIT
 *
 * equivalence_groups.json: what is the same before anything runs, and what turned out to be.
 */
#include "lib/engine/registry.h"
#include "lib/study/plan.h"
#include "tests/unit/config/help.h"

#define M "task: {model: gpt2}\nengine: cpu\n"
#define OBSERVED "observed_config_hash"

static struct llem_plan *plan_of(struct fixture *f, const char *yaml)
{
    llem_plan *p = NULL;

    if (llem_plan_study(&p, f->ctx, put(f, "study.yaml", yaml), NULL, 0, &f->err) < 0)
        fail_msg("refused: %s", f->err.msg);
    return p;
}

static const struct llem_value *at(const struct llem_value *v, const char *path)
{
    const struct llem_value *found = llem_at(v, path);

    if (!found)
        fail_msg("there is no %s", path);
    return found;
}

static void groups_tell_their_members_and_who_stands_for_them(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = plan_of(
        f, M "sweep: {cpu.sampling.do_sample: [false, true], cpu.sampling.top_k: [4, 5]}\n");
    struct llem_value *v = llem_equivalence_groups(p, &f->a);

    assert_false(f->a.oom);
    assert_string_equal(llem_str_at(v, "study_id", ""), p->design_hash);
    assert_string_equal(llem_str_at(v, "dedup_mode", ""), "resolved");
    assert_int_equal(strncmp(llem_str_at(v, "vendored_rules_version", ""), "cpu ", 4), 0);
    assert_int_equal(strlen(llem_str_at(v, "vendored_rules_version", "")), 20);
    assert_int_equal(at(v, "groups")->count, 3);
    assert_int_equal(llem_int_at(v, "groups.0.member_count", 0), 2);
    assert_int_equal(llem_int_at(v, "groups.0.representative", 0), 1);
    assert_string_equal(llem_str_at(v, "groups.0.representative_experiment_id", ""),
                        p->cells[0].hash);
    assert_string_equal(llem_str_at(v, "groups.0.member_experiment_ids.1", ""), p->cells[1].hash);
    assert_int_equal(llem_int_at(v, "groups.0.members.1.experiment", 0), 2);
    assert_string_equal(llem_str_at(v, "groups.0.members.1.differs_by", ""),
                        "cpu.sampling.do_sample=false, cpu.sampling.top_k=5");
    assert_true(llem_bool_at(v, "groups.0.would_dedup", false));
    assert_true(llem_bool_at(v, "groups.0.deduplicated", false));
    assert_false(llem_bool_at(v, "groups.1.would_dedup", true));
    /* After the rule: top_k is gone. */
    assert_null(llem_get(at(v, "groups.0.canonical_config_excerpt"), "cpu.sampling.top_k"));
    assert_int_equal(llem_get(at(v, "groups.2.canonical_config_excerpt"), "cpu.sampling.top_k")->i,
                     5);
    assert_int_equal(llem_get(v, "observed_collision_groups")->kind, LLEM_NULL);
    llem_plan_free(p);

    p = plan_of(f, M "study_execution: {deduplicate_equivalent: false}\n"
                     "sweep: {cpu.sampling.do_sample: [false], cpu.sampling.top_k: [4, 5]}\n");
    v = llem_equivalence_groups(p, &f->a);
    assert_string_equal(llem_str_at(v, "dedup_mode", ""), "off");
    assert_true(llem_bool_at(v, "groups.0.would_dedup", false));
    assert_false(llem_bool_at(v, "groups.0.deduplicated", true));
    llem_plan_free(p);
}

/* A run's config.json: engine, version, observed and own resolved hash. */
static void ran(struct fixture *f, const char *dir, const char *version, const char *observed)
{
    char path[256], text[512];

    snprintf(path, sizeof(path), "%s/%s", f->dir, dir);
    assert_int_equal(llem_mkdirs(path, NULL), LLEM_OK);
    snprintf(path, sizeof(path), "%s/%s/config.json", f->dir, dir);
    snprintf(text, sizeof(text),
             "{\"experiment_id\": \"id-%s\", \"engine\": \"cpu\", \"library_version\": \"%s\", "
             "\"" OBSERVED "\": \"%s\", \"resolved_config_hash\": \"own\"}",
             dir, version, observed);
    assert_int_equal(llem_file_write(path, text, strlen(text), NULL), LLEM_OK);
}

/* The study's directory with plan.json of these runs: experiment and directory. */
static struct llem_plan *study_of(struct fixture *f, const char *yaml)
{
    struct llem_plan *p = plan_of(f, yaml);
    char path[256], *json = llem_plan_json(p);

    snprintf(path, sizeof(path), "%s/plan.json", f->dir);
    assert_int_equal(llem_file_write(path, json, strlen(json), NULL), LLEM_OK);
    free(json);
    assert_int_equal(llem_equivalence_write(p, f->dir, &f->err), LLEM_OK);
    return p;
}

static struct llem_value *observed(struct fixture *f)
{
    struct llem_value *v = NULL;
    char path[256];

    if (llem_equivalence_observe(f->dir, &f->err) < 0)
        fail_msg("%s", f->err.msg);
    snprintf(path, sizeof(path), "%s/equivalence_groups.json", f->dir);
    assert_int_equal(llem_json_load(&f->a, &v, path, 1 << 20, &f->err), LLEM_OK);
    return v;
}

static const char *dir_of(struct fixture *f, struct llem_plan *p, size_t run)
{
    return llem_plan_run_dir(p, run, &f->a);
}

static void what_ran_with_the_same_is_a_gap_where_no_rule_said_so(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = study_of(
        f, M "sweep: {cpu.batch_size: [1, 2, 4]}\nstudy_execution: {n_cycles: 2, experiment_order: "
             "interleave}\n");
    struct llem_value *v;

    assert_int_equal(p->n_runs, 6);
    v = observed(f);
    assert_int_equal(at(v, "observed_collision_groups")->count, 0);
    /* Experiments 1 and 2 turn out the same, 3 is another; the second cycle of 1 has no result. */
    ran(f, dir_of(f, p, 0), "1", "aa");
    ran(f, dir_of(f, p, 1), "1", "aa");
    ran(f, dir_of(f, p, 2), "1", "bb");
    ran(f, dir_of(f, p, 4), "1", "aa");
    ran(f, dir_of(f, p, 5), "1", "bb");
    v = observed(f);
    assert_int_equal(at(v, "observed_collision_groups")->count, 1);
    v = llem_at(v, "observed_collision_groups.0");
    assert_string_equal(llem_str_at(v, OBSERVED, ""), "aa");
    assert_string_equal(llem_str_at(v, "engine", ""), "cpu");
    assert_string_equal(llem_str_at(v, "library_version", ""), "1");
    assert_int_equal(at(v, "member_experiment_ids")->count, 3);
    assert_int_equal(at(v, "member_resolved_config_hashes")->count, 2);
    assert_int_equal(at(v, "experiments")->count, 2);
    assert_string_equal(llem_str_at(v, "differs_in.0", ""), "cpu.batch_size");
    assert_true(llem_bool_at(v, "gap_detected", false));
    assert_string_equal(llem_str_at(v, "proposed_rule_id", ""), "cpu_dormant_batch_size");
    llem_plan_free(p);
}

static void cycles_of_one_experiment_and_other_versions_never_collide(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = study_of(f, M "sweep: {cpu.batch_size: [1, 2]}\n"
                                        "study_execution: {n_cycles: 2}\n");
    struct llem_value *v;

    ran(f, dir_of(f, p, 0), "1", "aa");
    ran(f, dir_of(f, p, 1), "1", "aa");
    ran(f, dir_of(f, p, 2), "2", "aa");
    ran(f, dir_of(f, p, 3), "2", "aa");
    v = observed(f);
    assert_int_equal(at(v, "observed_collision_groups")->count, 0);
    llem_plan_free(p);
}

static void a_group_that_was_known_is_no_gap(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p =
        study_of(f, M "study_execution: {deduplicate_equivalent: false}\n"
                      "sweep: {cpu.sampling.do_sample: [false], cpu.sampling.top_k: [4, 5]}\n");
    struct llem_value *v;

    ran(f, dir_of(f, p, 0), "1", "aa");
    ran(f, dir_of(f, p, 1), "1", "aa");
    v = llem_at(observed(f), "observed_collision_groups.0");
    assert_false(llem_bool_at(v, "gap_detected", true));
    assert_int_equal(at(v, "member_resolved_config_hashes")->count, 1);
    assert_int_equal(at(v, "proposed_rule_id")->kind, LLEM_NULL);
    llem_plan_free(p);
}

static void several_differing_settings_propose_no_rule(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = study_of(f, M "experiments:\n- {cpu: {batch_size: 1}}\n"
                                        "- {cpu: {threads: 2}}\n");
    struct llem_value *v;

    ran(f, dir_of(f, p, 0), "1", "aa");
    ran(f, dir_of(f, p, 1), "1", "aa");
    v = llem_at(observed(f), "observed_collision_groups.0");
    assert_true(llem_bool_at(v, "gap_detected", false));
    assert_int_equal(at(v, "differs_in")->count, 2);
    assert_int_equal(at(v, "proposed_rule_id")->kind, LLEM_NULL);
    llem_plan_free(p);
}

static void files_that_are_none_are_told_or_passed_over(void **state)
{
    struct fixture *f = *state;
    struct llem_plan *p = study_of(f, M "sweep: {cpu.batch_size: [1, 2]}\n");
    char path[256];

    ran(f, dir_of(f, p, 0), "1", "aa");
    ran(f, dir_of(f, p, 1), "1", "aa");
    snprintf(path, sizeof(path), "%s/%s/config.json", f->dir, dir_of(f, p, 1));
    assert_int_equal(llem_file_write(path, "{", 1, NULL), LLEM_OK);
    assert_int_equal(at(observed(f), "observed_collision_groups")->count, 0);

    snprintf(path, sizeof(path), "%s/plan.json", f->dir);
    assert_int_equal(llem_file_write(path, "[]", 2, NULL), LLEM_OK);
    assert_int_equal(llem_equivalence_observe(f->dir, &f->err), LLEM_ECORRUPT);
    assert_non_null(strstr(f->err.msg, "has no list of runs"));
    unlink(path);
    assert_true(llem_equivalence_observe(f->dir, &f->err) < 0);
    assert_non_null(strstr(f->err.msg, "plan.json"));
    llem_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(groups_tell_their_members_and_who_stands_for_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_ran_with_the_same_is_a_gap_where_no_rule_said_so,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(cycles_of_one_experiment_and_other_versions_never_collide,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_was_known_is_no_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(several_differing_settings_propose_no_rule, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(files_that_are_none_are_told_or_passed_over, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("equivalence", tests, NULL, NULL);
}
