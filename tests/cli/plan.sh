#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem plan: a study as it would run, for people and for programs, and what is wrong with one.
. "$(dirname "$0")/tap.sh"

cat >study.yaml <<'END'
task: {model: gpt2, dataset: {source: builtin}}
engine: [transformers, vllm]
sweep:
  transformers.dtype: [float16, float32]
  transformers.attn_implementation: [sdpa, flash_attention_2]
  vllm.dtype: [float16, half]
experiments:
- {engine: vllm, task: {dataset: {n_prompts: 7}}}
- {engine: vllm, task: {dataset: {n_prompts: 7}}, vllm: {}}
study_execution: {experiment_order: interleave}
END

say "a study"
run llem plan study.yaml
exits 0
quiet
golden plan.txt
check "nothing is written" test "$(ls)" = study.yaml

say "as JSON"
run llem plan study.yaml --json
exits 0
quiet
json_is "$tmp/out" "d['counts']" \
    "{'declared': 8, 'invalid': 2, 'merged': 1, 'experiments': 5, 'cycles': 3, 'runs': 15}"
json_is "$tmp/out" "[x['number'] for x in d['skipped']]" "[4, 6]"
json_is "$tmp/out" "[r['experiment'] for r in d['runs']][:6]" "[1, 2, 3, 5, 7, 1]"
check "the last directory" grep -q '"dir": "015_c3_gpt2-vllm_[0-9a-f]*"' "$tmp/out"
json_is "$tmp/out" "d['pauses_s']" "$((12 * 60 + 2 * 300)).0"

say "the order of runs"
run llem plan study.yaml -v --cycles 1
exits 0
prints '^  001_c1_gpt2-transformers_[0-9a-f]{8}$'
prints '^  5 experiments to run$'

say "flags"
run llem plan study.yaml --json --cycles 2 --order reverse --no-gaps --no-dedup -m other -n 3
exits 0
json_is "$tmp/out" "(d['counts']['runs'], d['counts']['merged'], d['pauses_s'])" "(12, 0, 0.0)"
json_is "$tmp/out" "{x['model'] for x in d['experiments']}" "{'other'}"
json_is "$tmp/out" "d['execution']['experiment_order']" "reverse"
run llem plan study.yaml -e vllm --json
exits 0
json_is "$tmp/out" "{x['engine'] for x in d['experiments']}" "{'vllm'}"
run llem plan study.yaml --order sideways
exits 2
complains "^llem: --order: study_execution.experiment_order must be sequential, interleave, shuffle, reverse or latin_square, but is \"sideways\"\$"
run llem plan study.yaml --cycles 0
exits 2
complains "^llem: --cycles: study_execution.n_cycles must be at least 1, but is 0\$"

say "engines that may decode differently"
mkdir -p plugins/other
printf 'name: other\nhelp: another\noptions:\n- {path: ., type: section, open: true, help: x}\n' >plugins/other/engine.yaml
printf 'task: {model: m}\nengine: [cpu, other]\nsweep: {}\n' >two.yaml
LLEM_PLUGIN_PATH=$PWD/plugins run llem plan two.yaml
exits 0
prints '^Warning: other does not say how it decodes where its sampling is unset'
printf 'other: {sampling: {temperature: 0}}\n' >>two.yaml
LLEM_PLUGIN_PATH=$PWD/plugins run llem plan two.yaml
exits 0
prints_not Warning
printf 'task: {model: m}\nengine: [cpu, vllm, transformers, tensorrt]\nsweep: {}\n' >two.yaml
run llem plan two.yaml
exits 0
prints_not Warning

say "one experiment is a study of one"
printf 'task: {model: gpt2}\nengine: cpu\n' >one.yaml
run llem plan one.yaml
exits 0
prints '^  1 experiment to run$'
run llem plan -m gpt2 -e cpu
exits 0
prints '^  1 experiment to run$'
run llem plan one.yaml --cycles 2
exits 0
prints '^  1 experiment to run in 2 cycles, sequential: 2 runs$'
printf 'task: {model: gpt2}\nengine: cpu\nstudy_execution: {}\n' >one.yaml
run llem plan one.yaml
exits 0
prints '^  1 experiment to run in 3 cycles, shuffle: 3 runs$'

say "a study without a file"
run llem plan -m A -m B -e cpu --sweep task.dataset.n_prompts=5,10
exits 0
quiet
prints '^  4 experiments to run in 3 cycles, shuffle: 12 runs$'
prints '^ +1  cpu +task.model=A, task.dataset.n_prompts=5$'
prints '^ +4  cpu +task.model=B, task.dataset.n_prompts=10$'
run llem plan -m A -e cpu -e vllm --sweep cpu.threads=1,2 --json
exits 0
json_is "$tmp/out" "[(x['engine'], x['differs_by']) for x in d['experiments']]" \
    "[('cpu', 'cpu.threads=1'), ('cpu', 'cpu.threads=2'), ('vllm', '')]"

say "axes above a file"
run llem plan study.yaml --sweep task.dataset.n_prompts=1,2,3 -m A -m B --json
exits 0
json_is "$tmp/out" "(d['counts']['declared'], {x['model'] for x in d['experiments']} == {'A', 'B'})" "(48, True)"
run llem plan one.yaml --sweep "cpu.extra=a,[1,2],{b: 1, c: [2,3]},'d,e',\"f\\\",g\",h'i,j'k" --json
exits 2
complains "^llem: --sweep: unknown key \"extra\" in cpu"
run llem plan -m A -e transformers --sweep "transformers.extra=a,[1,2],{b: 1, c: [2,3]},'d,e',\"f\\\",g\",h'i,j'k" --json
exits 0
json_is "$tmp/out" "[x['differs_by'].split('=')[1] for x in d['experiments']]" \
    "['a', '[1,2]', '{\"b\":1,\"c\":[2,3]}', 'd,e', 'f\",g', \"h'i\", \"j'k\"]"

say "estimates of memory"
mkdir llama
cat >llama/config.json <<'END'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 1000, "tie_word_embeddings": true,
 "torch_dtype": "bfloat16"}
END
# Embedding 100 x 64; a layer: q and o 64 x 64, k and v 64 x 32, MLP 3 x 64 x 128, two norms; a norm.
parameters=$((6400 + 2 * (2 * 4096 + 2 * 2048 + 3 * 8192 + 128) + 64))
memory() { # KEY...
    echo "[d['experiments'][0]['memory'][k] for k in '$*'.split()]"
}
run llem plan -m ./llama -e transformers -n 8 --set transformers.batch_size=4 --set transformers.num_beams=3 --json
exits 0
# 2 layers, 2 heads of 16 numbers for keys and for values, 2 bytes, 512 tokens, 12 sequences
json_is "$tmp/out" "$(memory parameters weights_bytes kv_cache_bytes tokens_per_sequence sequences)" \
    "[$parameters, $((2 * parameters)), $((2 * 2 * 32 * 2 * 512 * 12)), 512, 12]"
json_is "$tmp/out" "[round(0.15 * m['weights_bytes']) == m['overhead_bytes'] and m['estimated_bytes'] - m['overhead_bytes'] == m['weights_bytes'] + m['kv_cache_bytes'] for m in [d['experiments'][0]['memory']]]" "[True]"
run llem plan -m ./llama -e transformers -n 1 --set transformers.load_in_4bit=true --set task.max_input_tokens=null \
    --set task.max_output_tokens=2000 --json
exits 0
json_is "$tmp/out" "$(memory weights_bytes kv_cache_bytes tokens_per_sequence sequences)" \
    "[$(((parameters - 6400) / 2 + 2 * 6400)), $((2 * 2 * 32 * 2 * 1000)), 1000, 1]"
run llem plan -m ./llama -e vllm -n 500 --set vllm.engine.kv_cache_dtype=fp8 --set vllm.dtype=float32 --json
exits 0
json_is "$tmp/out" "$(memory bytes_per_parameter kv_cache_bytes)" "[4.0, $((2 * 2 * 32 * 512 * 256))]"
sed -i 's/"torch_dtype"/"quantization_config": {"quant_method": "gptq", "bits": 4}, "torch_dtype"/' llama/config.json
run llem plan -m ./llama -e vllm --json
json_is "$tmp/out" "$(memory bytes_per_parameter bytes_per_cached_number)" "[0.5, 2.0]"
run llem plan -m ./llama -m ./nowhere -e transformers
exits 0
prints '^  The model takes up to ~.* of memory \(experiment 1\)\.$'
prints "^  Memory of others is not known: config.json of .*/nowhere is not on this machine\\.$"
sed -i 's/"llama"/"lama"/; s/LlamaFor/LamaFor/' llama/config.json
run llem plan -m ./llama -e transformers
exits 0
prints "^  Memory is not known: .*llama/config.json.*lama"
printf 'task: {dataset: {source: builtin}}\nengine: cpu\nsweep: {task.model: [./sample-model]}\n' >"$here/../../examples/.plan-$$.yaml"
run llem plan "$here/../../examples/.plan-$$.yaml" --json
rm "$here/../../examples/.plan-$$.yaml"
json_is "$tmp/out" "$(memory parameters weights_bytes)" "[1967808, 3935616]" # a model in an axis is beside the file

say "estimates of time"
run llem plan -m some/Model -e cpu -n 30 --json
json_is "$tmp/out" "d['time']['lower_s'], d['time']['expected_s'], d['time']['known_runs']" "(0.0, None, 0)"
hash=$(json "$tmp/out" "d['experiments'][0]['measurement_config_hash']")
say_run() { # NAME HASH STATUS STARTED ELAPSED INFERENCE
    echo "{\"result_file\": \"$1/result.json\", \"config_hash\": \"$2\", \"status\": \"$3\", \"started_at\": \"$4\", \"elapsed_seconds\": $5, \"inference_seconds\": $6}"
}
study=results/study_2026-01-01T00-00-00
mkdir -p $study/002_c1_Model-cpu_0123456789abcdef results/broken results/empty
echo "{" >results/broken/manifest.json
{
    echo '{"experiments": ['
    say_run "001_c1_Model-cpu_${hash:0:8}" "$hash" completed 2026-01-01T00:00:00Z 40 30
    echo ,
    say_run "003_c2_Model-cpu_${hash:0:8}" "$hash" completed 2026-01-01T00:01:00Z 50 30
    echo ,
    say_run "004_c3_Model-cpu_${hash:0:8}" "$hash" failed 2026-01-01T00:01:00Z 1000 30
    echo ,
    say_run "002_c1_Model-cpu_0123456789abcdef" 0123456789abcdef completed 2026-01-01T00:02:00Z 25 20
    echo ']}'
} >$study/manifest.json
echo '{"config": {"task": {"dataset": {"n_prompts": 10}, "max_output_tokens": 64}, "measurement": {"quick": false}}}' \
    >$study/002_c1_Model-cpu_0123456789abcdef/config.json
run llem plan -m some/Model -e cpu -n 30 --json
json_is "$tmp/out" "d['experiments'][0]['time']" "{'expected_s': 45.0, 'from': 'same_configuration', 'results': 2}"
json_is "$tmp/out" "d['time']['expected_s']" 45.0
run llem plan -m some/Model -e cpu -n 20 --json # 5 s, and 20 s for 10 prompts of 64 tokens
json_is "$tmp/out" "d['experiments'][0]['time']" "{'expected_s': 165.0, 'from': 'same_model', 'results': 1}"
run llem plan -m some/Model -e cpu --sweep task.dataset.n_prompts=20,30 --cycles 1 --no-gaps \
    --set measurement.baseline.strategy=fresh
exits 0
prints '^  With idle power measured before each, at least 1m 00s\.$'
prints '^  All of it takes ~6m 50s, by earlier results\.$'
run llem plan -m some/Model -m other -e cpu
prints '^  How long 3 of the runs take is not known: there is no earlier result of this engine with this model in results\.$'
run llem plan -m some/Model -e cpu -n 20 --quick --json
json_is "$tmp/out" "(d['experiments'][0]['time'], 'no earlier result' in d['experiments'][0]['time_reason'])" "(None, True)"

say "mistakes in axes"
run llem plan -m A -e cpu -n 3 --sweep task.dataset.n_prompts=1,2
exits 2
complains '^llem: --sweep: task.dataset.n_prompts has several values here and one by -n; keep one of the two$'
run llem plan -m A -e cpu --sweep cpu.threads=1,,2
exits 2
complains "option '--sweep' has an empty value in 'cpu.threads=1,,2'; write null for none"
run llem plan -m A -e cpu --sweep cpu.threads
exits 2
complains "option '--sweep' wants path=v1,v2"
run llem plan -m A -e cpu --sweep vllm.dtype=float16,bfloat16
exits 2
complains '^llem: --sweep: vllm.dtype is about the engine vllm, which this study does not run'
run llem plan -m A -e cpu --sweep study_execution.n_cycles=1,2
exits 2
complains '^llem: --sweep: study_execution.n_cycles is a setting of the whole study'
run llem plan -m A -e cpu -e cpu
exits 2
complains '^llem: -e: the engine cpu stands twice in the list$'
run llem plan -m A -e cpu --sweep task.dataset.n_prompts=5,x
exits 0
prints '^         --sweep: task.dataset.n_prompts must be'

say "nothing that can run"
sed -i 's/float16/half/g; s/float32/single/' study.yaml
sed -i '/^experiments/,/^-/d' study.yaml
sed -i '/^- /d' study.yaml
run llem plan study.yaml
exits 2
silent
complains 'there is nothing to run: all 6 experiments are invalid'
complains 'study.yaml:4:24: transformers.dtype must be float32, float16 or bfloat16, but is "half"'

say "mistakes"
run llem plan
exits 2
complains "which study"
run llem plan no.yaml
exits 2
complains "no.yaml"
printf 'task: {model: gpt2}\nswep: {cpu.threads: [1, 2]}\nsweep: {}\n' >slip.yaml
run llem plan slip.yaml
exits 2
complains '^llem: slip.yaml:2:1: unknown key "swep"'
printf 'task: {model: gpt2}\nsweep: {cpu.thread: [1, 2]}\n' >slip.yaml
run llem plan slip.yaml
exits 2
complains 'slip.yaml:2:[0-9]+: unknown key "thread" in cpu; did you mean "threads"\?'
run llem plan a.yaml b.yaml
exits 2
complains "one too many"
done_testing
