#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The result of a study as a user meets it: assembled at its end and after an interrupt, shown, compared,
# verified.
. "$(dirname "$0")/tap.sh"

cat >study.yaml <<'END'
study_name: probe
task: {model: none, dataset: {source: builtin, n_prompts: 2}}
engine: test
measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: false}}
sweep:
  test.request_s: [0.001, 0.002]
  task.max_output_tokens: [16, 32, 0]
study_execution: {n_cycles: 2, experiment_order: interleave, experiment_gap_seconds: 0, cycle_gap_seconds: 0}
END

say "a study"
run llem run study.yaml -q
exits 0
dir=$(ls -d results/probe_*)
json_is "$dir/study_result.json" "[d['summary'][k] for k in ('total_experiments', 'completed', 'unique_configurations')]" "[8, 8, 4]"
json_is "$dir/study_result.json" "d['axes'], d['measurement_protocol']['n_cycles'], len(d['skipped_experiments'])" \
    "(['test.request_s', 'task.max_output_tokens'], 2, 2)"
json_is "$dir/study_result.json" "d['skipped_experiments'][0]['raw_config']" "{'test.request_s': 0.001, 'task.max_output_tokens': 0}"
json_is "$dir/study_result.json" "{r['state'] for r in d['runs']}, d['summary']['missing']" "({'completed'}, [])"
json_is "$dir/study_result.json" "all(abs(r['total_inference_time_sec'] - r['settings']['test.request_s'] * 2) < 1 for r in d['runs'])" True
check "its times stand in the runs' own results" python3 -c "
import json
d = json.load(open('$dir/study_result.json'))
for r, file in zip(d['runs'], d['result_files']):
    own = json.load(open('$dir/' + file))
    assert file == r['dir'] + '/result.json'
    assert own['total_inference_time_sec'] == r['total_inference_time_sec'], r
    assert own['tokens']['output'] == r['output_tokens']
    assert own['latency_stats']['ttft_mean_ms'] == r['ttft_mean_ms']
"

say "shown"
run llem show "$dir"
exits 0
quiet
prints '^  probe$'
prints '^  8 of 8 runs completed, 4 configurations in 2 cycles, '
prints '^  Output tokens/s +mean +CV +ratio to the first'
prints '^  1  request_s=0.001, max_output_tokens=16 .* 1$'
prints '^  5  request_s=0.002, max_output_tokens=32 .* tok/s .* \(.* … .*\)$'
prints '2: It generates 64 output tokens a run, experiment 1 32:'
prints '~[0-9.]+ J'
check "no line ends in spaces" sh -c "! grep -q ' \$' '$tmp/out'"
run llem show --json "$dir"
check "--json is study_result.json" cmp "$tmp/out" "$dir/study_result.json"
run llem show "$dir/study_result.json"
exits 0
prints '^  probe$'
run llem show -f md "$dir"
exits 0
prints '^\| Time \| mean \| CV \| ratio to the first \| trend \|$'
LC_ALL=C run llem show "$dir"
check "no byte beyond ASCII" sh -c "! LC_ALL=C grep -q '[^ -~]' '$tmp/out'"
run llem show -f csv "$dir"
exits 0
lines 9
prints '^test.request_s,task.max_output_tokens,model,engine,experiment,cycle,state,energy_quality,energy_source,total_energy_j,'
run llem show -f csv -o runs.csv "$dir"
exits 0
silent
check "-o has the same" sh -c "llem show -f csv '$dir' | cmp - runs.csv"
run llem show -f parquet -o runs.parquet "$dir"
exits 0
check "it is Parquet" sh -c "head -c 4 runs.parquet | grep -q PAR1"
one=$(ls -d "$dir"/001_*)
run llem show "$one" "$dir"
exits 0
prints '^  none, test \(quick\)$'
prints '^  probe$'
run llem show -o nowhere/runs.csv -f csv "$dir"
exits 1
complains "cannot write 'nowhere/runs.csv': No such file"
run llem show -f csv -o /dev/full "$dir"
exits 1
complains 'No space left'
run llem show -f parquet "$one"
exits 2
complains 'parquet is for one study'
run llem show -f csv "$one" "$dir"
exits 2
complains 'one study at a time'

say "verified"
run llem verify "$dir"
exits 0
prints '^[0-9]+ values compared, all equal$'
run llem verify "$dir" "$one"
exits 0
prints "^$dir: [0-9]+ values"

differs() { # FILE SED-EXPRESSION EXPECTED
    cp "$dir/$1" kept
    touch -r "$dir/$1" when
    sed -i "$2" "$dir/$1"
    touch -r when "$dir/$1"
    if cmp -s kept "$dir/$1"; then
        report 1 "$1 is changed"
    fi
    run llem verify "$dir"
    exits 1 "$1: $3"
    prints "$3"
    cat kept >"$dir/$1"
}
name=$(basename "$one")
differs "$name/result.json" '0,/"total_inference_time_sec": /s//&1/' "^$name/total_inference_time_sec: stored 1"
differs "$name/recording/recording.json" '0,/"order": "/s//&x/' "^$name/"
differs manifest.json '0,/"status": "completed",\n *"result/s///; 0,/"inference_seconds": /s//&1/' "^$name/manifest.json: inference_seconds: stored 1"
differs manifest.json '0,/"config_hash": "./s//"config_hash": "x/' "^$name/manifest.json: config_hash: stored \"x"
differs plan.json '0,/"measurement_config_hash": "./s//"measurement_config_hash": "x/' "experiment.json: measurement_config_hash: stored \"x"
differs study_result.json '0,/"mean": \([0-9]\)/s//"mean": 1\1/' '^study_result.json.configurations.0.statistics.[a-z_]*.mean: stored 1'
differs study_result.json 's/"completed": 8/"completed": 7/' '^study_result.json.summary.completed: stored 7, recomputed 8$'
differs "$name/status.json" 's/"state": "completed"/"state": "failed"/' "^$name/manifest.json: status: stored \"completed\", recomputed \"failed\"$"
differs "$name/experiment.json" 's/"cycle": 1/"cycle": 2/' "^$name/experiment.json: cycle: stored 1, recomputed 2$"
cp -r "$one" "$dir/099_c1_stranger-test_00000000"
run llem verify "$dir"
exits 1
prints '^099_c1_stranger-test_00000000/plan.json: ' "a run that the plan does not know"
rm -r "$dir/099_c1_stranger-test_00000000"
mv "$one" away
run llem verify "$dir"
exits 1
prints "^$name/manifest.json: status: stored \"completed\", recomputed \"pending\"$"
mv away "$one"
echo '{' >"$one/recording/recording.json.new"
mv "$one/recording/recording.json" kept-recording
run llem verify "$dir"
exits 1
prints "^$name/result.json: "
mv kept-recording "$one/recording/recording.json"
run llem verify "$dir"
exits 0 "put right again"
rm "$dir/study_result.json"
run llem verify "$dir"
exits 0 "it is made when it is asked for"

say "compared"
run llem run study.yaml -q
exits 0
other=$(ls -d results/probe_* | tail -n 1)
run llem compare "$dir" "$other"
exits 0
quiet
prints "^  $dir, experiment 1: test.request_s=0.001, task.max_output_tokens=16 \(none, test\)$"
prints '^  Output tokens/s .* \(.* … .*\)$'
run llem compare --json "$dir" "$other"
json_is "$tmp/out" "len(d['comparisons']), d['unmatched'], d['comparisons'][3]['settings']" "(4, [], [])"
run llem compare "$dir"/001_* "$dir"/002_*
exits 0
prints '^  task.max_output_tokens: 16 -> 32$'
prints 'Output tokens a run: 32 and 64, so totals compare unequal work'
prints '^  Output tokens/s '
run llem compare "$dir" "$dir"/001_*
exits 2
complains 'a study and the result of one run cannot be compared'
run llem compare "$dir"
exits 2
complains 'takes two'
run llem compare "$dir" nowhere
exits 2
run llem compare "$dir"/001_* nowhere
exits 1
complains "there is no 'nowhere'"
run llem compare
exits 2

say "interrupted"
sed -i 's/study_name: probe/study_name: halted/; s/\[0.001, 0.002\]/[0.001, 30]/' study.yaml
start halted llem run study.yaml --progress json
running() { [ -n "$(ls -d results/halted_*/003_* 2>/dev/null)" ] && grep -q '"live"' "$tmp/halted/stderr"; }
wait_for 30 running
kill -TERM "$(cat "$tmp/halted/pid")" # a shell makes SIGINT ignored where it starts something behind
wait "$(cat "$tmp/halted/pid")"
status=$?
exits 143
dir=$(ls -d results/halted_*)
json_is "$dir/study_result.json" "[d['summary'][k] for k in ('completed', 'interrupted', 'pending')]" "[2, 1, 5]"
json_is "$dir/study_result.json" "[m.split(':')[0] for m in d['summary']['missing']]" \
    "['5 of 8 runs were not run', '1 of 8 runs was interrupted']"
json_is "$dir/study_result.json" "d['configurations'][0]['statistics']['output_tokens_per_s']['reason']" one_cycle
run llem show "$dir"
exits 0
prints '^  2 of 8 runs completed'
prints '! 5 of 8 runs were not run: 004_c1_none-test'
run llem verify "$dir"
exits 0

say "without study_result.json, as after a kill"
rm "$dir/study_result.json"
run llem show "$dir"
exits 0
prints '^  2 of 8 runs completed'
check "it is made" test -s "$dir/study_result.json"
chmod a-w "$dir"
run llem show "$dir"
exits 0 "where nothing may be written"
chmod u+w "$dir"
rm -r "$dir"/00[12]_*
run llem verify "$dir"
exits 1 "no run completed"
complains 'no run of .* completed, so nothing can be recomputed'
done_testing
