/* SPDX-License-Identifier: MIT
 *
 * The sweep grammar: the original's worked examples (reference, section 3.9) with their numbers, in
 * the corrected behaviour where they pin a defect; what a study's file can get wrong; flags over
 * sweeps; cells against configurations of the same settings.
 */
#include "lib/engine/registry.h"
#include "tests/unit/config/help.h"

#define M "task: {model: gpt2}\n"
#define DTYPE2(engine) engine ".dtype: [float16, bfloat16]"

static llem_errcode expand(struct fixture *f, struct llem_sweep **s, const char *yaml,
                           const llem_setting *settings, size_t count)
{
    const struct llem_schema *schema;

    *s = NULL;
    memset(&f->err, 0, sizeof(f->err));
    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    return llem_sweep_load(s, f->ctx, schema,
                           &(struct llem_config_source){ .path = put(f, "study.yaml", yaml) },
                           settings, count, &f->err);
}

/* "transformers dtype=float16; vllm !" : engine and label of each cell, ! where it is invalid; only
 * the leaves of names, so that tables stay readable. */
static void show(struct fixture *f, const struct llem_sweep *s, struct llem_buf *out)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *errors, *label = llem_sweep_label(s, i, &f->a);
        const struct llem_value *tree = llem_sweep_cell(s, i, &f->a, &errors);

        assert_non_null(tree);
        llem_buf_addf(out, "%s%s", i ? "; " : "", llem_str_at(tree, "engine", "?"));
        while (*label) {
            size_t len = strcspn(label, ",=");
            const char *leaf = label + len;
            while (leaf > label && leaf[-1] != '.' && leaf[-1] != ' ')
                leaf--;
            len = strcspn(label, ",");
            llem_buf_addf(out, " %.*s", (int)(label + len - leaf), leaf);
            label += len + (label[len] ? 2 : 0);
        }
        if (errors)
            llem_buf_adds(out, " !");
    }
}

struct example {
    const char *number, *yaml, *cells; /* cells NULL: the study is refused, and says `refusal` */
    const char *refusal;
};

static void try_examples(struct fixture *f, const struct example *e, size_t count)
{
    for (; count--; e++) {
        struct llem_buf out = LLEM_BUF_INIT(1 << 20);
        struct llem_sweep *s;
        llem_errcode rc = expand(f, &s, e->yaml, NULL, 0);

        if (e->cells && rc < 0)
            fail_msg("example %s is refused: %s", e->number, llem_config_errors(f->ctx));
        if (!e->cells && rc == LLEM_OK)
            fail_msg("example %s is taken", e->number);
        if (e->cells) {
            show(f, s, &out);
            if (strcmp(out.data, e->cells) != 0)
                fail_msg("example %s: %s", e->number, out.data);
        } else if (!strstr(llem_config_errors(f->ctx), e->refusal)) {
            fail_msg("example %s: %s", e->number, llem_config_errors(f->ctx));
        }
        llem_sweep_free(s);
        llem_buf_done(&out);
    }
}

static void examples_of_the_original_give_their_cells(void **state)
{
    static const struct example examples[] = {
        /* In file order: the original put the axis of all engines first (defect 8.2, 9). */
        { "1",
          M "engine: transformers\nsweep: {" DTYPE2(
              "transformers") ", task.dataset.n_prompts: [50, 100]}\n",
          "transformers dtype=float16 n_prompts=50; transformers dtype=float16 n_prompts=100; "
          "transformers dtype=bfloat16 n_prompts=50; transformers dtype=bfloat16 n_prompts=100",
          NULL },
        { "2", M "engine: transformers\nsweep: {transformers.batch_size: [1, 8]}\n",
          "transformers batch_size=1; transformers batch_size=8", NULL },
        { "3",
          M "engine: [transformers, vllm]\nsweep:\n  " DTYPE2("transformers") "\n  " DTYPE2(
              "vllm") "\n  transformers.batch_size: [1, 8]\n  vllm.engine.max_num_seqs: [64, "
                      "256]\n",
          "transformers dtype=float16 batch_size=1; transformers dtype=float16 batch_size=8; "
          "transformers dtype=bfloat16 batch_size=1; transformers dtype=bfloat16 batch_size=8; "
          "vllm dtype=float16 max_num_seqs=64; vllm dtype=float16 max_num_seqs=256; "
          "vllm dtype=bfloat16 max_num_seqs=64; vllm dtype=bfloat16 max_num_seqs=256",
          NULL },
        { "4",
          M "engine: [transformers, tensorrt]\nsweep: {tensorrt.tensor_parallel_size: [1, 2]}\n",
          "transformers; tensorrt tensor_parallel_size=1; tensorrt tensor_parallel_size=2", NULL },
        { "5",
          M "tensorrt: {max_input_len: 512}\nsweep: {transformers.batch_size: [1], "
            "vllm.engine.max_num_seqs: [64], tensorrt.max_batch_size: [4]}\n",
          "tensorrt; transformers; vllm", NULL },
        { "6", M "sweep: {engine: [transformers, tensorrt]}\n", "transformers; tensorrt", NULL },
        { "7",
          M "engine: transformers\nsweep:\n  " DTYPE2(
              "transformers") "\n  transformers.compilation:\n  - {transformers.torch_compile: "
                              "false}\n  - {transformers.torch_compile: true, "
                              "transformers.torch_compile_mode: default}\n",
          "transformers torch_compile=false dtype=float16; "
          "transformers torch_compile=false dtype=bfloat16; "
          "transformers torch_compile=true torch_compile_mode=default dtype=float16; "
          "transformers torch_compile=true torch_compile_mode=default dtype=bfloat16",
          NULL },
        { "8",
          M "sweep:\n  transformers.compilation: [{}, {transformers.torch_compile: true}]\n"
            "  transformers.quantization: [{}, {transformers.load_in_8bit: true}]\n",
          "transformers; transformers load_in_8bit=true; transformers torch_compile=true; "
          "transformers torch_compile=true load_in_8bit=true",
          NULL },
        { "9",
          M "sweep:\n  transformers.quantization: [{}, {transformers.load_in_4bit: true, "
            "transformers.bnb_4bit_quant_type: [nf4, fp4]}]\n",
          "transformers; transformers load_in_4bit=true bnb_4bit_quant_type=nf4; "
          "transformers load_in_4bit=true bnb_4bit_quant_type=fp4",
          NULL },
        { "9b",
          M "sweep:\n  transformers.caching: [{}, {transformers.use_cache: true, "
            "transformers.cache_implementation: [static, offloaded_static, sliding_window]}]\n",
          "transformers; transformers use_cache=true cache_implementation=static; "
          "transformers use_cache=true cache_implementation=offloaded_static; "
          "transformers use_cache=true cache_implementation=sliding_window",
          NULL },
        { "10",
          M "sweep:\n  transformers.x: [{transformers.batch_size: [1, 2], transformers.dtype: "
            "[float16, bfloat16], transformers.low_cpu_mem_usage: true}]\n",
          "transformers batch_size=1 dtype=float16 low_cpu_mem_usage=true; "
          "transformers batch_size=1 dtype=bfloat16 low_cpu_mem_usage=true; "
          "transformers batch_size=2 dtype=float16 low_cpu_mem_usage=true; "
          "transformers batch_size=2 dtype=bfloat16 low_cpu_mem_usage=true",
          NULL },
        { "11",
          M "engine: [transformers, vllm]\nsweep:\n  " DTYPE2("transformers") "\n  " DTYPE2(
              "vllm") "\n  transformers.compilation: [{}, {transformers.torch_compile: true}]\n",
          "transformers dtype=float16; transformers dtype=bfloat16; "
          "transformers torch_compile=true dtype=float16; "
          "transformers torch_compile=true dtype=bfloat16; vllm dtype=float16; vllm "
          "dtype=bfloat16",
          NULL },
        { "12",
          M "engine: [transformers, vllm]\nsweep:\n  " DTYPE2("transformers") "\n  " DTYPE2(
              "vllm") "\n  transformers.compilation: [{}, {transformers.torch_compile: true}]\n"
                      "  vllm.decoding: [{}, {vllm.sampling.presence_penalty: 0.6}]\n",
          "transformers dtype=float16; transformers dtype=bfloat16; "
          "transformers torch_compile=true dtype=float16; "
          "transformers torch_compile=true dtype=bfloat16; vllm dtype=float16; "
          "vllm dtype=bfloat16; vllm presence_penalty=0.6 dtype=float16; "
          "vllm presence_penalty=0.6 dtype=bfloat16",
          NULL },
        { "13",
          M "sweep:\n  " DTYPE2("transformers") "\nexperiments: [{transformers: {batch_size: "
                                                "32}}]\n",
          "transformers dtype=float16; transformers dtype=bfloat16; transformers batch_size=32",
          NULL },
        { "15", M "sweep: {tensorrt.quant_config.quant_algo: [INT8, INVALID_VALUE]}\n",
          "tensorrt quant_algo=INT8; tensorrt quant_algo=INVALID_VALUE !", NULL },
        { "16",
          M "tensorrt: {max_input_len: 512}\nexperiments:\n- {engine: transformers}\n"
            "- {engine: transformers, vllm: {dtype: float16}}\n",
          "transformers; transformers dtype=float16 !", NULL },
        { "17",
          M "experiments:\n- {engine: vllm, transformers: {batch_size: 1}}\n"
            "- {engine: transformers, vllm: {dtype: float16}}\n",
          "vllm batch_size=1 !; transformers dtype=float16 !", NULL },
        { "18", "study_name: x\nsweep: {}\n", "transformers !", NULL },
        /* Nobody asked for the experiment without changes (defect 8.2, 1). */
        { "23",
          M "experiments:\n- {transformers: {batch_size: 2}}\n- {transformers: {batch_size: "
            "4}}\n",
          "transformers batch_size=2; transformers batch_size=4", NULL },
        { "24", M "engine: vllm\nsweep: {transformers.batch_size: [1, 2]}\n", NULL,
          "study.yaml:3:9: sweep.transformers.batch_size is about the engine transformers, which "
          "this study does not run; add it to engine or remove the axis" },
        { "25", M "engine: [transformers]\nsweep: {vllm.dtype: [float16, bfloat16]}\n", NULL,
          "sweep.vllm.dtype is about the engine vllm" },
        { "26", M "sweep: {engine: [transformers, vllm], transformers.batch_size: [1, 2]}\n",
          "transformers batch_size=1; transformers batch_size=2; vllm", NULL },
        { "27",
          M "engine: [transformers, vllm]\nsweep:\n  precision:\n"
            "  - {transformers.dtype: float16, vllm.dtype: float16}\n"
            "  - {transformers.dtype: bfloat16, vllm.dtype: bfloat16}\n",
          "transformers dtype=float16; transformers dtype=bfloat16; vllm dtype=float16; "
          "vllm dtype=bfloat16",
          NULL },
        { "29", M "sweep: {transformers.batch_size: []}\n", NULL,
          "study.yaml:2:9: sweep.transformers.batch_size has no values, so nothing would run" },
        { "30",
          "task: {model: m, dataset: {n_prompts: 75}}\nexperiments: [{task: {random_seed: 7}}]\n",
          "transformers random_seed=7", NULL },
        { "31", M "sweep: {measurement.warmup.n_warmup: [1, 5, 10]}\n",
          "transformers n_warmup=1; transformers n_warmup=5; transformers n_warmup=10", NULL },
    };

    try_examples(*state, examples, LLEM_COUNT(examples));
}

static void assert_counts(struct fixture *f, const char *number, const char *yaml, size_t count,
                          size_t invalid)
{
    struct llem_sweep *s;
    size_t bad = 0;

    if (expand(f, &s, yaml, NULL, 0) < 0)
        fail_msg("example %s is refused: %s", number, llem_config_errors(f->ctx));
    for (size_t i = 0; i < s->count; i++) {
        const char *errors;

        assert_non_null(llem_sweep_cell(s, i, &f->a, &errors));
        bad += errors != NULL;
    }
    if (s->count != count || bad != invalid)
        fail_msg("example %s: %zu cells, %zu of them invalid", number, s->count, bad);
    llem_sweep_free(s);
}

static void large_examples_have_their_counts(void **state)
{
    struct fixture *f = *state;

    assert_counts(
        f, "8b",
        M "sweep:\n  " DTYPE2(
            "transformers") "\n  transformers.compilation: [{}, "
                            "{transformers.torch_compile: true}]\n  transformers.quantization: "
                            "[{}, "
                            "{transformers.load_in_8bit: true}, {transformers.load_in_4bit: true, "
                            "transformers.bnb_4bit_quant_type: nf4}]\n",
        12, 0);
    assert_counts(
        f, "14",
        M "sweep:\n  transformers.dtype: [float32, float16, bfloat16]\n"
          "  transformers.batch_size: [1, 4, 8, 16, 32]\n"
          "  transformers.attn_implementation: [sdpa, flash_attention_2, eager]\n"
          "  transformers.compilation: [{}, {transformers.torch_compile: true}, "
          "{transformers.torch_compile: true, transformers.torch_compile_mode: max-autotune}]\n",
        135, 15);
    assert_counts(f, "20",
                  M "sweep: {transformers.sampling.do_sample: [true, false], "
                    "transformers.sampling.temperature: [0.5, 1.0, 1.5]}\n",
                  6, 0);
    assert_counts(f, "28",
                  M "sweep: {task.dataset.n_prompts: [1, 2, 3], transformers.batch_size: [1, 2], "
                    "vllm.engine.max_num_seqs: [4]}\n",
                  9, 0);
}

static const struct llem_value *cell(struct fixture *f, const struct llem_sweep *s, size_t i)
{
    const char *errors;
    const struct llem_value *tree = llem_sweep_cell(s, i, &f->a, &errors);

    if (errors)
        fail_msg("cell %zu: %s", i, errors);
    return tree;
}

/* Example 19, and that everything merges deeply. */
static void a_base_file_gives_what_the_study_does_not(void **state)
{
    struct fixture *f = *state;
    struct llem_sweep *s;

    put(f, "base.yaml",
        "task: {model: gpt2, dataset: {n_prompts: 75}}\nstudy_name: other\n"
        "base: nowhere.yaml\nsweep: {transformers.batch_size: [1, 2, 3]}\nexperiments: [{}]\n"
        "study_execution: {n_cycles: 9}\ntransformers: {batch_size: 4, dtype: float32}\n");
    assert_int_equal(
        expand(f, &s,
               "base: base.yaml\ntask: {random_seed: 3}\n"
               "transformers: {batch_size: !unset}\nsweep: {" DTYPE2("transformers") "}\n",
               NULL, 0),
        LLEM_OK);
    assert_int_equal(s->count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct llem_value *tree = cell(f, s, i);

        assert_int_equal(llem_int_at(tree, "task.dataset.n_prompts", 0), 75);
        assert_int_equal(llem_int_at(tree, "task.random_seed", 0), 3);
        assert_true(llem_is_null(llem_at(tree, "transformers.batch_size")));
        assert_string_equal(llem_str_at(tree, "transformers.dtype", ""),
                            i ? "bfloat16" : "float16");
    }
    assert_int_equal(llem_int_at(s->study, "study_execution.n_cycles", 0), 1);
    assert_true(llem_is_null(llem_get(s->output, "study_name")));
    llem_sweep_free(s);

    put(f, "second.yaml", "task: {dataset: {source: builtin}}\n");
    assert_int_equal(expand(f, &s, "base: [base.yaml, second.yaml]\nexperiments: [{}]\n", NULL, 0),
                     LLEM_OK);
    assert_string_equal(llem_str_at(cell(f, s, 0), "task.dataset.source", ""), "builtin");
    assert_int_equal(llem_int_at(cell(f, s, 0), "task.dataset.n_prompts", 0), 75);
    llem_sweep_free(s);
}

static void null_is_a_value_and_unset_removes_one(void **state)
{
    struct fixture *f = *state;
    struct llem_sweep *s;

    assert_int_equal(expand(f, &s,
                            M "transformers: {batch_size: 4, extra: {a: 1, b: 2}}\n"
                              "sampling_preset: standard\n"
                              "sweep:\n  task.max_input_tokens: [null, 64, !unset ]\n"
                              "  transformers.sampling.top_p: [!unset , null]\n"
                              "experiments:\n- {transformers: !unset }\n"
                              "- {transformers: {extra: {a: !unset }}}\n- {transformers: null}\n",
                            NULL, 0),
                     LLEM_OK);
    assert_int_equal(s->count, 9);
    assert_true(llem_is_null(llem_at(cell(f, s, 0), "task.max_input_tokens")));
    assert_int_equal(llem_int_at(cell(f, s, 2), "task.max_input_tokens", 0), 64);
    assert_int_equal(llem_int_at(cell(f, s, 4), "task.max_input_tokens", 0), 256);
    /* The preset fills what nobody gave; null is given. */
    assert_true(llem_real_at(cell(f, s, 0), "transformers.sampling.top_p", 0) == 0.95);
    assert_true(llem_is_null(llem_at(cell(f, s, 1), "transformers.sampling.top_p")));
    assert_true(llem_real_at(cell(f, s, 1), "transformers.sampling.temperature", 0) == 1.0);
    assert_true(llem_is_null(llem_at(cell(f, s, 6), "transformers.extra")));
    assert_int_equal(llem_int_at(cell(f, s, 7), "transformers.extra.b", 0), 2);
    assert_null(llem_at(cell(f, s, 7), "transformers.extra.a"));
    llem_sweep_free(s);
}

static void presets_of_one_cell_do_not_leak_into_the_next(void **state)
{
    struct fixture *f = *state;
    struct llem_sweep *s;

    assert_int_equal(expand(f, &s,
                            M "transformers: {batch_size: 2}\n"
                              "sweep: {sampling_preset: [creative, factual, null]}\n",
                            NULL, 0),
                     LLEM_OK);
    assert_true(llem_real_at(cell(f, s, 0), "transformers.sampling.top_p", 0) == 0.9);
    assert_true(llem_real_at(cell(f, s, 1), "transformers.sampling.temperature", 0) == 0.3);
    assert_true(llem_is_null(llem_at(cell(f, s, 1), "transformers.sampling.top_p")));
    assert_true(llem_is_null(llem_at(cell(f, s, 2), "transformers.sampling")));
    llem_sweep_free(s);
}

static void flags_reach_every_cell(void **state)
{
    static const llem_setting flags[] = {
        { "task.model", "other", "-m", 1 },
        { "task.dataset.n_prompts", "7", "-n", 0 },
        { "study_execution.n_cycles", "3", "--cycles", 0 },
    };
    static const llem_setting engine[] = { { "engine", "vllm", "-e", 1 } };
    struct fixture *f = *state;
    struct llem_sweep *s;

    assert_int_equal(expand(f, &s,
                            M
                            "study_execution: {n_cycles: 2, experiment_order: reverse}\n"
                            "sweep: {task.dataset.n_prompts: [1, 2], vllm.dtype: [float16], "
                            "transformers.dtype: [float16]}\nexperiments: [{task: {model: own}}]\n",
                            flags, LLEM_COUNT(flags)),
                     LLEM_OK);
    assert_int_equal(s->count, 5);
    for (size_t i = 0; i < s->count; i++) {
        assert_string_equal(llem_str_at(cell(f, s, i), "task.model", ""), "other");
        assert_int_equal(llem_int_at(cell(f, s, i), "task.dataset.n_prompts", 0), 7);
    }
    assert_int_equal(llem_int_at(s->study, "study_execution.n_cycles", 0), 3);
    assert_string_equal(llem_str_at(s->study, "study_execution.experiment_order", ""), "reverse");
    llem_sweep_free(s);

    assert_int_equal(expand(f, &s,
                            M "engine: [transformers, vllm]\nsweep: {" DTYPE2(
                                "vllm") ", transformers.batch_size: [1, 2, 3]}\n",
                            engine, 1),
                     LLEM_OK);
    assert_int_equal(s->count, 2);
    assert_string_equal(llem_str_at(cell(f, s, 0), "engine", ""), "vllm");
    llem_sweep_free(s);
}

static void axes_from_outside_stand_above_the_file(void **state)
{
    static const llem_setting axes[] = {
        { "task.model", "a", "-m", .literal = 1, .axis = 1 },
        { "task.dataset.n_prompts", "1", "--sweep", .axis = 1 },
        { "task.model", "b", "-m", .literal = 1, .axis = 1 },
        { "task.dataset.n_prompts", "2", "--sweep", .axis = 1 },
    };
    static const llem_setting engines[] = {
        { "engine", "vllm", "-e", .literal = 1, .axis = 1 },
        { "engine", "cpu", "-e", .literal = 1, .axis = 1 },
        { "cpu.threads", "1", "--sweep", .axis = 1 },
        { "cpu.threads", "2", "--sweep", .axis = 1 },
    };
    static const llem_setting list[] = { { "transformers.a", "[1]", "--sweep", .axis = 1 },
                                         { "transformers.a", "null", "--sweep", .axis = 1 } };
    static const llem_setting other[] = {
        { "task.model", "m", "-m", .literal = 1 },
        { "vllm.dtype", "float16", "--sweep", .axis = 1 },
        { "engine", "cpu", "-e", .literal = 1 },
    };
    static const llem_setting both[] = { { "task.model", "m", "-m", .literal = 1 },
                                         { "task.model", "n", "--sweep", .axis = 1 } };
    static const llem_setting study[] = { { "study_execution.n_cycles", "2", "--sweep",
                                            .axis = 1 } };
    static const struct outside {
        const char *yaml;
        const llem_setting *settings;
        size_t count;
        const char *cells, *refusal; /* one of them */
    } outside[] = {
        /* In place of the file's axis, within the others; over what groups and experiments say. */
        { M "engine: cpu\nsweep: {task.dataset.n_prompts: [7, 8, 9], cpu.threads: [1, 2],\n"
            "  cpu.mode: [{task.dataset.n_prompts: 5, task.max_output_tokens: 3}]}\n"
            "experiments: [{task: {model: own}}]\n",
          axes, LLEM_COUNT(axes),
          "cpu threads=1 model=a n_prompts=1; cpu threads=1 model=a n_prompts=2; "
          "cpu threads=1 model=b n_prompts=1; cpu threads=1 model=b n_prompts=2; "
          "cpu threads=2 model=a n_prompts=1; cpu threads=2 model=a n_prompts=2; "
          "cpu threads=2 model=b n_prompts=1; cpu threads=2 model=b n_prompts=2; "
          "cpu model=a n_prompts=1; cpu model=a n_prompts=2; "
          "cpu model=b n_prompts=1; cpu model=b n_prompts=2",
          NULL },
        { M "engine: transformers\nexperiments: [{task: {dataset: {n_prompts: 3}}}]\n", engines,
          LLEM_COUNT(engines),
          "vllm n_prompts=3; cpu n_prompts=3 threads=1; "
          "cpu n_prompts=3 threads=2",
          NULL },
        { M, list, LLEM_COUNT(list), "transformers a=[1]; transformers a=null", NULL },
        { M, engines + 2, 2, "cpu threads=1; cpu threads=2", NULL },
        { M, other, LLEM_COUNT(other), NULL,
          "--sweep: vllm.dtype is about the engine vllm, which this study does not run" },
        { M, both, LLEM_COUNT(both), NULL,
          "--sweep: task.model has several values here and one by -m; keep one of the two" },
        { M, study, LLEM_COUNT(study), NULL,
          "--sweep: study_execution.n_cycles is a setting of the whole study" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(outside); i++) {
        const struct outside *o = &outside[i];
        struct llem_buf out = LLEM_BUF_INIT(1 << 20);
        struct llem_sweep *s;
        llem_errcode rc = expand(f, &s, o->yaml, o->settings, o->count);

        if ((rc == LLEM_OK) != (o->cells != NULL))
            fail_msg("%zu: %s", i, rc < 0 ? llem_config_errors(f->ctx) : "is taken");
        if (o->cells) {
            show(f, s, &out);
            if (strcmp(out.data, o->cells) != 0)
                fail_msg("%zu: %s", i, out.data);
            /* What is swept from outside is above the file, also where the file says it. */
            if (o->settings == axes)
                assert_string_equal(llem_str_at(cell(f, s, 11), "task.model", ""), "b");
            if (o->settings == axes)
                assert_int_equal(llem_int_at(cell(f, s, 1), "task.dataset.n_prompts", 0), 2);
        } else {
            assert_contains(llem_config_errors(f->ctx), o->refusal);
        }
        llem_sweep_free(s);
        llem_buf_done(&out);
    }
    assert_int_equal(llem_config_load(&f->config, f->ctx, NULL, axes, LLEM_COUNT(axes), &f->err),
                     LLEM_ECONFIG);
    assert_contains(llem_config_errors(f->ctx),
                    "-m: several values of task.model make a study of several experiments");
}

static void weak_settings_of_a_study_reach_only_a_study(void **state)
{
    static const llem_setting settings[] = {
        { "study_execution.n_cycles", "3", "llem", .weak = 1 },
        { "cpu.threads", "1", "--sweep", .axis = 1 },
        { "cpu.threads", "2", "--sweep", .axis = 1 },
    };
    static const struct {
        const char *yaml;
        size_t count;
        int64_t cycles;
        bool is_study;
    } files[] = {
        { M, 1, 1, false },
        { M "sweep: {}\n", 1, 3, true },
        { M "experiments: [{}]\n", 1, 3, true },
        { M "study_execution: {}\n", 1, 3, true },
        { M "runners: null\n", 1, 3, true },
        { M "study_execution: {n_cycles: 2}\n", 1, 2, true },
        { M "engine: [cpu, vllm]\n", 1, 3, true },
        { M, 3, 3, true },
        { M, 2, 3, true }, /* an axis of one value */
    };
    struct fixture *f = *state;
    struct llem_sweep *s;

    for (size_t i = 0; i < LLEM_COUNT(files); i++) {
        assert_int_equal(expand(f, &s, files[i].yaml, settings, files[i].count), LLEM_OK);
        if (llem_int_at(s->study, "study_execution.n_cycles", 0) != files[i].cycles ||
            s->is_study != files[i].is_study)
            fail_msg("file %zu", i);
        llem_sweep_free(s);
    }
}

static void lists_can_be_values(void **state)
{
    struct fixture *f = *state;
    struct llem_sweep *s;

    assert_int_equal(
        expand(f, &s,
               M "engine: transformers\nsweep:\n"
                 "  transformers.ids: [[0, 1], [2]]\n"
                 "  transformers.g: [{transformers.stops: !literal [a, b], transformers.n: [1, "
                 "2]}]\n",
               NULL, 0),
        LLEM_OK);
    assert_int_equal(s->count, 4);
    assert_int_equal(llem_int_at(cell(f, s, 1), "transformers.ids.0", 0), 2);
    assert_string_equal(llem_str_at(cell(f, s, 3), "transformers.stops.1", ""), "b");
    assert_int_equal(llem_int_at(cell(f, s, 3), "transformers.n", 0), 2);
    llem_sweep_free(s);
}

static void a_cell_is_what_a_file_of_its_own_would_be(void **state)
{
    static const char *const alone[] = {
        M "engine: vllm\nsampling_preset: creative\nvllm: {dtype: float16, engine: {max_num_seqs: "
          "64}, beam: {width: 3}}\n",
        M "engine: vllm\nsampling_preset: creative\nvllm: {dtype: float16, engine: {max_num_seqs: "
          "64}, beam: {width: 3}, sampling: {top_k: 5}}\n",
        M "engine: transformers\nsampling_preset: creative\ntransformers: {batch_size: 2}\n",
        M "engine: transformers\nsampling_preset: factual\nlora: {adapter_id: a}\n"
          "passthrough_kwargs: {x: [1, {y: 2}]}\n",
    };
    struct fixture *f = *state;
    struct llem_sweep *s;
    char hash[17];

    assert_int_equal(expand(f, &s,
                            M
                            "sampling_preset: creative\nvllm: {dtype: float16}\nsweep:\n"
                            "  vllm.engine.max_num_seqs: [64]\n  vllm.beam: {width: 3}\n"
                            "  vllm.x: [{}, {vllm.sampling.top_k: 5}]\n"
                            "  transformers.batch_size: 2\nengine: [vllm, transformers]\n"
                            "experiments: [{engine: transformers, sampling_preset: factual, lora: "
                            "{adapter_id: a}, passthrough_kwargs: {x: [1, {y: 2}]}}]\n",
                            NULL, 0),
                     LLEM_OK);
    assert_int_equal(s->count, LLEM_COUNT(alone));
    for (size_t i = 0; i < LLEM_COUNT(alone); i++) {
        must_load(f, load(f, put(f, "alone.yaml", alone[i]), NULL));
        if (!llem_equal(f->config->tree, cell(f, s, i)))
            fail_msg("cell %zu differs", i);
        llem_config_hash(s->schema, cell(f, s, i), hash);
        assert_string_equal(hash, llem_config_hash_hex(f->config));
    }
    llem_sweep_free(s);
}

static void mistakes_of_a_study_are_told_with_their_place(void **state)
{
    static const struct example mistakes[] = {
        { "unknown", M "sweeps: {}\nsweep: {}\nstudy_excution: {n_cycles: 2}\n", NULL,
          "study.yaml:4:1: unknown key \"study_excution\"" },
        { "unknown axis", M "sweep:\n  task.dataset.n_promts: [1]\n", NULL,
          "unknown key \"n_promts\" in task.dataset; did you mean \"n_prompts\"?" },
        { "unknown in execution", M "sweep: {}\nstudy_execution: {n_cycle: 2}\n", NULL,
          "study.yaml:3:19: unknown key \"n_cycle\" in study_execution; did you mean "
          "\"n_cycles\"?" },
        { "bound", M "sweep: {}\nstudy_execution: {n_cycles: 0}\n", NULL,
          "study.yaml:3:29: study_execution.n_cycles must be at least 1, but is 0" },
        { "mixed", M "sweep: {transformers.dtype: [float16, {a: 1}]}\n", NULL,
          "study.yaml:2:9: sweep.transformers.dtype mixes maps and single values" },
        { "sweep", M "sweep: [1]\n", NULL, "study.yaml:2:8: sweep must be a map of axes" },
        { "experiments", M "experiments: {a: 1}\n", NULL,
          "study.yaml:2:14: experiments must be a list of experiments" },
        { "entry", M "experiments: [3]\n", NULL,
          "study.yaml:2:15: an experiment must be a map of settings, but is 3" },
        { "base", "base: nowhere.yaml\nsweep: {}\n", NULL,
          "study.yaml:1:7: the base file \"nowhere.yaml\" does not exist" },
        { "engine", M "engine: [vlm]\nsweep: {}\n", NULL, "did you mean \"vllm\"?" },
        { "twice", M "engine: [vllm, vllm]\nsweep: {}\n", NULL, "the engine vllm stands twice" },
        { "both", M "engine: vllm\nsweep: {engine: [vllm]}\n", NULL, "the engines stand twice" },
        { "runners", M "sweep: {}\nrunners: {vlm: docker}\n", NULL,
          "runners.vlm: there is no engine vlm; did you mean vllm?" },
        { "images", M "sweep: {}\nimages: {vllm: 3}\n", NULL,
          "images.vllm must be text, but is 3" },
        { "huge",
          M "sweep: {transformers.a: [1,2,3,4,5,6,7,8,9,0], transformers.b: [1,2,3,4,5,6,7,8,9,0], "
            "transformers.c: [1,2,3,4,5,6,7,8,9,0], transformers.d: [1,2,3,4,5,6,7,8,9,0], "
            "transformers.e: [1,2,3,4,5,6,7,8,9,0], transformers.f: [1,2,3,4,5,6,7,8,9,0], "
            "transformers.g: [1, 2]}\n",
          NULL, "the study declares more than 1000000 experiments" },
        { "tag", M "sweep: {transformers.a: !unset 3}\n", NULL, "!unset stands alone" },
        { "path", M "sweep: {\"task..model\": [a]}\n", NULL,
          "\"task..model\" is no name of a setting" },
    };

    try_examples(*state, mistakes, LLEM_COUNT(mistakes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(examples_of_the_original_give_their_cells, setup, teardown),
        cmocka_unit_test_setup_teardown(large_examples_have_their_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_base_file_gives_what_the_study_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(null_is_a_value_and_unset_removes_one, setup, teardown),
        cmocka_unit_test_setup_teardown(presets_of_one_cell_do_not_leak_into_the_next, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(flags_reach_every_cell, setup, teardown),
        cmocka_unit_test_setup_teardown(axes_from_outside_stand_above_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(weak_settings_of_a_study_reach_only_a_study, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lists_can_be_values, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cell_is_what_a_file_of_its_own_would_be, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_of_a_study_are_told_with_their_place, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
