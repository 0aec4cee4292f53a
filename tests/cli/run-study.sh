#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem run on studies: every flag reaches every run, what is printed where, how it ends.
. "$(dirname "$0")/tap.sh"

study="-m ./model -e test -d builtin -n 3 --quick --no-gaps"

say "a study without a file"
run llem run $study --sweep task.random_seed=1,2 --cycles 2 --order interleave --set task.max_output_tokens=8
exits 0
prints '4 of 4 runs completed, 2 configurations in 2 cycles'
complains '^study, 4 runs$'
complains '^  \[1/4\] random_seed=1 c1: ~[0-9.]+ J, [0-9.]+ tok/s \([0-9.]+s\)$'
complains '^  \[4/4\] random_seed=2 c2: '
complains_not 'Warm-up|warning'
complains '^Saved: ./results/study_'
dir=$(echo results/study_*)
json_is "$dir/plan.json" "[(r['experiment'], r['cycle']) for r in d['runs']]" "[(1, 1), (2, 1), (1, 2), (2, 2)]"
json_is "$dir/plan.json" "[s['axis'] for s in d['source']['settings'] if s['path'] == 'task.random_seed']" "[True, True]"
json_is "$dir/study_result.json" "d['summary']['completed'], d['axes']" "(4, ['task.random_seed'])"
for run in "$dir"/00*; do
    json_is "$run/experiment.json" "[d['config']['task'][k] for k in ('max_output_tokens', 'model')], d['quick'], d['config']['task']['random_seed'] in (1, 2)" \
        "([8, './model'], True, True)"
done

say "a study's file, -q and -o"
cat >study.yaml <<'END'
task: {model: ./model, dataset: {source: builtin, n_prompts: 3}}
engine: test
measurement: {quick: true}
sweep: {task.random_seed: [1, 2]}
study_execution: {n_cycles: 2, experiment_order: reverse, experiment_gap_seconds: 0, cycle_gap_seconds: 0}
END
run llem run study.yaml -q -o elsewhere -n 2 --set test.request_s=0.002 --cycles 1
exits 0
quiet
lines 1
dir=$(cat "$tmp/out")
check "the study's directory" test -f "$dir/study_result.json" -a "${dir%/study_*}" = elsewhere
check "with a copy of its file" cmp study.yaml "$dir/study_config.yaml"
json_is "$dir/plan.json" "(d['execution']['experiment_order'], d['counts']['runs'])" "('reverse', 2)"
for run in "$dir"/00*; do
    json_is "$run/experiment.json" "d['config']['task']['dataset']['n_prompts'], d['config']['test']['request_s']" "(2, 0.002)"
done

say "models and engines"
run llem run -m ./a -m ./b -e test -e cpu -d builtin -n 1 --quick --cycles 1 --no-gaps --order interleave -q
exits 1
json_is "$(cat "$tmp/out")/plan.json" "[(x['engine'], x['model']) for x in d['experiments']]" \
    "[('test', './a'), ('test', './b'), ('cpu', './a'), ('cpu', './b')]"
complains '2 of 4 runs completed, 2 failed$'

say "--verbose"
run llem run $study --sweep task.random_seed=1,2 --cycles 1 -v
exits 0
complains '^  Warm-up +5 prompts'
complains '^  \[2/2\]'

say "--progress=json"
run llem run $study --sweep task.random_seed=1,2 --cycles 1 --progress=json
exits 0
check "events name their run" python3 -c "
import json
events = [json.loads(line) for line in open('$tmp/err')]
ended = [e for e in events if e['event'] == 'ended']
assert [(e['run'], e['n_runs'], e['state']) for e in ended] == [(1, 2, 'completed'), (2, 2, 'completed')], ended
assert events[-1]['event'] == 'completed' and '/study_' in events[-1]['directory'], events[-1]
"

say "--no-dedup"
run llem run $study --sweep test.busy=false,false --cycles 1 -q
exits 0
json_is "$(cat "$tmp/out")/../plan.json" "d['counts']['merged'], d['counts']['runs']" "(1, 1)"
run llem run $study --sweep test.busy=false,false --cycles 1 --no-dedup -q
exits 0
json_is "$(cat "$tmp/out")/plan.json" "d['counts']['runs']" 2

say "failures"
run llem run $study --sweep test.fail_at=none,create --cycles 2 --order interleave
exits 1
prints '2 of 4 runs completed'
complains '^  \[2/4\] fail_at="create" c1: failed \([0-9.]+s\): engine .test.: the engine failed'
complains '^llem: 2 of 4 runs completed, 2 failed$'
complains '^Go on with: llem run --resume-dir ./results/study_'

say "--fail-fast"
run llem run $study --sweep test.fail_at=create,none --cycles 2 --order interleave --fail-fast -q
exits 1
json_is "$(cat "$tmp/out")/manifest.json" "(d['status'], d['failed'], d['completed'])" "('circuit_breaker', 1, 0)"
complains '^llem: 0 of 4 runs completed, 1 failed; too many failed in a row$'
run llem run $study --sweep test.fail_at=create,none --fail-fast --no-circuit-breaker
exits 2
complains '^llem: --fail-fast and --no-circuit-breaker cannot both hold$'

say "--no-circuit-breaker"
cp study.yaml breaker.yaml
sed -i 's/n_cycles: 2/n_cycles: 2, max_consecutive_failures: 1/; s/^engine: test/&\ntest: {fail_at: create}/' breaker.yaml
run llem run breaker.yaml -q
exits 1
json_is "$(cat "$tmp/out")/manifest.json" "(d['status'], d['failed'])" "('circuit_breaker', 1)"
run llem run breaker.yaml -q --no-circuit-breaker
exits 1
json_is "$(cat "$tmp/out")/manifest.json" "(d['status'], d['failed'])" "('failed', 4)"

say "--timeout"
run llem run $study --sweep test.load_s=30,31 --cycles 1 --timeout 0.0003 -q
exits 1
json_is "$(cat "$tmp/out")/manifest.json" "d['status']" "timed_out"
complains "^llem: 0 of 2 runs completed, 1 failed; the study's time was over$"
run llem run $study --timeout 0
exits 2
complains '^llem: --timeout: study_execution.wall_clock_timeout_hours must be'

say "--resume"
rm -rf results
run llem run --resume
exits 1
complains "there is no unfinished study in './results'"
start stopped env --default-signal=INT llem run study.yaml --set test.load_s=0.5 --order interleave --cycles 2
until ls results/study_*/002_*/claim.json >/dev/null 2>&1; do sleep 0.05; done
kill -INT "$(cat "$tmp/stopped/pid")"
finish stopped
exits 130
complains '^llem: 1 of 4 runs completed, 0 failed; interrupted$'
prints 'of 4 runs were not run'
dir=$(echo results/study_*)
first=$(stat -c %i "$dir"/001_*/result.json)
run llem run --resume -q
exits 0
check "in the same directory" test "$(cat "$tmp/out")" = "./$dir"
json_is "$dir/manifest.json" "(d['status'], d['completed'])" "('completed', 4)"
check "what was done is not done again" test "$(stat -c %i "$dir"/001_*/result.json)" = "$first"
run llem run --resume-dir "$dir" -q
exits 0
run llem run study.yaml --resume-dir "$dir" --set test.load_s=0.5 --sweep task.random_seed=1,3 --order interleave --cycles 2
exits 1
complains 'another one than that'
run llem run study.yaml --resume-dir "$dir" --set test.load_s=0.5 --sweep task.random_seed=1,3 --order interleave --cycles 2 \
    --accept-drift -q
exits 0
json_is "$dir/plan.json" "d['counts']['runs']" 4
run llem run --resume-dir nowhere
exits 1
complains "nowhere/plan.json"
run llem run --resume --no-gaps
exits 2
complains '^llem: --no-gaps needs the study that it changes'
run llem run study.yaml --resume --dry-run
exits 2
complains '^llem: --dry-run runs nothing, so there is nothing to go on with; leave out --resume$'

say "--dry-run"
rm -rf results
run llem run study.yaml --dry-run -m other
exits 0
prints '^  2 experiments to run in 2 cycles, reverse: 4 runs$'
complains '^The study is valid\. Nothing was run\.$'
check "nothing is made" test ! -e results
cp "$tmp/out" dry
run llem plan study.yaml -m other
check "as llem plan" cmp "$tmp/out" dry

say "what has no effect"
run llem run $quick --order reverse --no-gaps --no-dedup --fail-fast --accept-drift -q
exits 0
for flag in --order --no-gaps --no-dedup --fail-fast; do
    complains "^llem: warning: $flag has no effect on a single run\$"
done
complains '^llem: warning: --accept-drift has no effect without --resume or --resume-dir$'
run llem run $quick --cycles 1 --timeout 1 --skip-preflight --no-lock -q
exits 0
quiet
run llem run $quick --cycles 2 --no-gaps -q
exits 0
quiet
json_is "$(cat "$tmp/out")/plan.json" "d['counts']['runs']" 2

say "nothing valid"
run llem run $study --sweep task.random_seed=x,y
exits 2
silent
complains 'there is nothing to run: all 2 experiments are invalid'
done_testing
