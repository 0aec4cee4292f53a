#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem run, from the command line to the files: what goes where, and what is left on disk.
. "$(dirname "$0")/tap.sh"

say "a run"
run llem run $quick --set test.request_s=0.2 # long enough for the estimate to see the CPU's load
exits 0
prints '^  Output tokens/s +[0-9.]+ tok/s$' "output tokens a second"
check "output tokens a second and joules a token come first" \
    sh -c "grep -nE 'Output tokens/s|Energy/output token|^  Energy ' '$tmp/out' | head -n 3 | cut -d: -f2 | tr -d ' ' | cut -c1-8 | tr '\n' ' ' | grep -q '^Outputto Energy/o Energy'"
prints '~[0-9.]+ J/tok' "an estimate with a tilde"
prints_not 'Checks|Warm-up'
complains '^  Warm-up +5 prompts'
complains '^Saved: ./results/study_'
dir=$(echo results/study_*/001_c1_model-test_*)
for file in claim.json experiment.json _resolution.json status.json worker.log result.json config.json \
    environment.json requests.parquet recording/recording.json ../plan.json ../manifest.json; do
    check "there is $file" test -f "$dir/$file"
done
check "nothing else is left" sh -c "! find results -name '.*' -mindepth 1 | grep -q ."
json_is "$dir/status.json" "d['state'], d['reason'], d['exit']" "('completed', None, {'code': 0, 'signal': None})"
json_is "$dir/../plan.json" "d['version'], len(d['runs']), d['runs'][0]['dir'] in '$dir'" "(2, 1, True)"
json_is "$dir/../manifest.json" "d['schema_version'], d['status'], d['completed'], d['pending']" "('2.0', 'completed', 1, 0)"
json_is "$dir/../manifest.json" "d['experiments'][0]['status'], d['experiments'][0]['result_file'] == d['experiments'][0]['log_file'].replace('worker.log', 'result.json')" "('completed', True)"
json_is "$dir/../manifest.json" "d['experiments'][0]['inference_seconds'] < d['experiments'][0]['elapsed_seconds']" True
json_is "$dir/experiment.json" "d['kind'], d['quick'], d['index'], d['cycle'], d['study_id'] == '$(basename "$(dirname "$dir")")'" "('inference', True, 1, 1, True)"
json_is "$dir/result.json" "d['schema_version'], d['quick'], d['model_name']" "('3.0', True, './model')"
json_is "$dir/claim.json" "len(d['run_mark']), d['pid'] > 1, d['start_ticks'] > 0" "(32, True, True)"
check "the directory's hash is the configuration's" \
    test "$(json "$dir/experiment.json" "d['measurement_config_hash'][:8]")" = "${dir##*_}"

say "-q"
run llem run $quick -q
exits 0
quiet
lines 1
check "prints the experiment's directory" test -f "$(cat "$tmp/out")/result.json"
check "which is another one" test "$(cat "$tmp/out")" != "./$dir"

say "two at once"
llem run $quick -q >"$tmp/one" 2>&1 &
llem run $quick -q >"$tmp/two" 2>&1 &
wait
check "both finish" test -f "$(cat "$tmp/one")/result.json" -a -f "$(cat "$tmp/two")/result.json"
check "in different directories" test "$(cat "$tmp/one")" != "$(cat "$tmp/two")"

say "-o"
run llem run $quick -q -o deep/er
exits 0
check "results go there" grep -q '^deep/er/study_' "$tmp/out"

say "--progress=json"
run llem run $quick --progress=json --set test.request_s=0.2
exits 0
check "every line is a JSON object with an event" python3 -c "
import json
events = [json.loads(line) for line in open('$tmp/err')]
names = [e['event'] for e in events]
assert names[0] == 'started' and names[-1] == 'completed', names
starts = [e['step'] for e in events if e['event'] == 'step_start']
ends = [e['step'] for e in events if e['event'] in ('step_done', 'step_skip')]
for step in 'model', 'prompts', 'warmup', 'energy_select', 'measure', 'flops', 'save':
    assert step in starts and step in ends, step
for step in 'baseline', 'thermal_floor':
    assert step in ends, step
assert all(e['elapsed_sec'] >= 0 for e in events if e['event'] == 'step_done')
assert all(e['reason'] and e['text'] for e in events if e['event'] == 'step_skip')
assert any(e.get('tokens_per_s', 0) > 0 for e in events if e['event'] == 'live')
"
prints 'Output tokens/s'

say "--progress=none"
run llem run $quick --progress=none
exits 0
quiet
prints 'Output tokens/s'

say "--progress=plain"
run llem run $quick --progress=plain --set test.load_s=1.5
complains '^  Model +[A-Za-z].* \.\.\.$' "that a long step began"
complains '^  Model .*\(1\.[5-9]s\)$' "how long it took"
complains_not "$(printf '\033')" "in escape sequences"

say "--dry-run"
rm -rf results
run llem run $quick --dry-run --set task.random_seed=7
exits 0
check "nothing is made" test ! -e results
json_is "$tmp/out" "d['task']['random_seed'], d['measurement']['quick']" "(7, True)"
complains 'valid.*Nothing was run'

say "the example"
run llem run "$here/../../examples/quickstart.yaml" --dry-run
exits 0
json_is "$tmp/out" "d['engine'], d['task']['model']" "('cpu', './sample-model')"
run llem run "$here/../../examples/quickstart.yaml" --quick -n 2 --set task.max_output_tokens=8 -q
exits 0
json_is "$(cat "$tmp/out")/result.json" "d['tokens']['output'] > 0, d['engine']" "(True, 'cpu')"

say "what is wrong with a configuration"
rm -rf results
cat >bad.yaml <<YAML
task:
  modle: gpt2
  dataset: {n_prompts: many}
engine: cpuu
YAML
run llem run bad.yaml
exits 2
silent
complains 'bad.yaml:2:[0-9]+: .*modle.*model'
complains 'bad.yaml:3:[0-9]+: .*n_prompts'
complains 'bad.yaml:4:[0-9]+: .*cpuu.*cpu'
check "nothing is made" test ! -e results
run llem run nothere.yaml
exits 2
complains 'nothere.yaml'
run llem run -m x -e test --set task.nosuch=1
exits 2
complains 'nosuch'
run llem run -m x -e test -n 0
exits 2
complains '\-n|n_prompts'
run llem run -m x -e test -n two
exits 2
LLEM_SAVE_TIMESERIES=perhaps run llem run $quick
exits 2
complains 'LLEM_SAVE_TIMESERIES'

say "the log"
for how in "llem run -v" "env LLEM_LOG_LEVEL=INFO llem run" "env LLEM_LOG_LEVEL=debug llem run"; do
    LLEM_SAVE_TIMESERIS=1 run $how $quick --progress=none
    exits 0
    complains 'warning: config: LLEM_SAVE_TIMESERIS .*did you mean LLEM_SAVE_TIMESERIES'
done
LLEM_LOG_LEVEL=loud run llem run $quick
exits 2
complains LLEM_LOG_LEVEL

for level in "" -v; do
    run llem run $quick -q $level
    exits 0
    check "worker.log has the steps only with -v" test "$level" = \
        "$(grep -q "^info: measure: step 'warmup' took" "$(cat "$tmp/out")/worker.log" && echo -v)"
done

say "the user's configuration"
mkdir -p "$XDG_CONFIG_HOME/llenergymeasure"
user=$XDG_CONFIG_HOME/llenergymeasure/config.yaml
echo 'ui: {progress_mode: quiet}' >"$user"
run llem run $quick
exits 0
quiet
prints 'Output tokens/s'
run llem run $quick --progress=plain
complains '^  Warm-up'
run llem measure --for 0.1 --quick
complains_not '^  Measuring'
echo 'ui: {progress_mode: plain}' >"$user"
run script -qec "llem run $quick" /dev/null
exits 0
prints 'Warm-up'
prints_not "$(printf '\033')\\[K" "a line that moves"
echo 'ui: {log_level: INFO}' >"$user"
run llem run $quick -q
check "worker.log has the steps" grep -q "^info: measure: step 'warmup' took" "$(cat "$tmp/out")/worker.log"
run llem measure --for 0.1 --quick --progress=none
complains "^info: measure: step 'measure' took"
LLEM_LOG_LEVEL=WARNING run llem measure --for 0.1 --quick --progress=none
complains_not '^info:'
rm "$user"

say "--skip-preflight"
run llem run $quick -q --set test.fail_at=check_hardware
exits 1
run llem run $quick -q --set test.fail_at=check_hardware --skip-preflight
exits 0
json_is "$(cat "$tmp/out")/experiment.json" "d['skip_preflight']" True
run llem run -m "$here/../../examples/sample-model" -e cpu -d builtin -n 1 --quick -q \
    --set cpu.threads=$(($(nproc --all) + 1)) --set task.max_output_tokens=2
exits 1
complains 'cpu.threads is'
run llem run -m ./nowhere -e cpu -d builtin --skip-preflight -q
exits 1
complains 'nowhere'

say "weights of a directory, hashed on request"
shards=$here/../data/models/qwen2
run llem run -m "$shards" -e cpu -d random -n 1 --set task.dataset.input_tokens=4 --set task.max_output_tokens=2 --quick -q
exits 0
json_is "$(cat "$tmp/out")/recording/recording.json" "[sorted(f) for f in d['model']['files']]" "[['bytes', 'name'], ['bytes', 'name']]"
hash=$(json "$(cat "$tmp/out")/result.json" "d['measurement_config_hash']")
run llem run -m "$shards" -e cpu -d random -n 1 --set task.dataset.input_tokens=4 --set task.max_output_tokens=2 --quick -q \
    --set measurement.hash_weights=true
exits 0
dir=$(cat "$tmp/out")
json_is "$dir/recording/recording.json" "' '.join(f['sha256'] for f in d['model']['files'])" \
    "$(cd "$shards" && sha256sum -- *.safetensors | cut -d' ' -f1 | paste -sd' ')"
json_is "$dir/result.json" "[f['sha256'] for f in d['model']['files']] == [f['sha256'] for f in json.load(open('$dir/recording/recording.json'))['model']['files']]" True
json_is "$dir/recording/recording.json" "[s['name'] for s in d['steps']][-1]" save
run llem verify "$dir"
exits 0
run llem run -m "$shards" -e cpu -d random -n 1 --set task.dataset.input_tokens=4 --set task.max_output_tokens=2 --quick -q \
    --set measurement.hash_weights=false
check "asking for nothing is no other experiment" test "$hash" = "$(json "$(cat "$tmp/out")/result.json" "d['measurement_config_hash']")"

say "texts of what was generated"
run llem run $quick -q --set output.save_outputs=text --set test.output_tokens=3
exits 0
check "test: they are in outputs.jsonl" grep -q '"text":"token token token","ids":null' "$(cat "$tmp/out")/outputs.jsonl"
run llem run -m "$here/../../examples/sample-model" -e cpu -d builtin -n 2 --quick -q \
    --set output.save_outputs=text --set task.max_output_tokens=8
exits 0
check "cpu: each is a text of words" test "$(grep -cE '"text":"[^"]*[a-z]{2,} [a-z ]*[^"]*","ids":\[' "$(cat "$tmp/out")/outputs.jsonl")" = 2

say "what a model's directory lacks"
for file in config.json tokenizer.json model.safetensors; do
    rm -rf m
    cp -r "$here/../../examples/sample-model" m
    rm "m/$file"
    run llem run -m m -e cpu -d builtin --quick --progress=json
    exits 1
    check "$file is missed before anything was waited for" test "$(grep -c '"step_start"' "$tmp/err")" = 1
    complains '"step_start", "step": "preflight"'
done

say "what is missing"
run llem run -m ./nowhere -e cpu -d builtin -q
exits 1
silent
complains 'nowhere'
run llem run -m ./model -e test --quick
exits 1
complains 'aienergyscore'
complains '\-d builtin'
done_testing
