#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Engines with a worker: whatever a worker does wrong becomes one sentence with what to do, the sensors are
# closed, status.json has the last of its log, no process is left, and the next experiment is unharmed.
. "$(dirname "$0")/tap.sh"
root=$here/../..
export LLEM_PLUGIN_PATH=$root/tests/fakes/worker
worker="-m ./model -e scripted -d builtin -n 3 --quick"

at() { # METHOD FAULT [OPTION...]: one run with that fault
    local method=$1 fault=$2
    shift 2
    rm -rf results
    run llem run $worker --set "scripted.at=$method" --set "scripted.fault=$fault" "$@"
    dir=$(echo results/study_*/001_*)
    mark=$(json "$dir/claim.json" "d['run_mark']")
}

failed() { # REASON SENTENCE
    exits 1
    silent
    complains "$2"
    json_is "$dir/status.json" "d['state'], d['reason']" "('failed', '$1')"
    check "no result" test ! -e "$dir/result.json" -a ! -e "$dir/recording/recording.json"
    none_left "$mark"
}

unharmed() {
    say "the next experiment"
    rm -rf results
    run llem run $worker -q
    exits 0
    json_is results/study_*/001_*/result.json "d['tokens']['output']" 12
}

say "a worker that does nothing wrong"
run llem run $worker --set scripted.token_times=true --progress=json
exits 0
complains '"step": "model", .*"detail": "half of it", "fraction": 0.5'
dir=$(echo results/study_*/001_*)
json_is "$dir/recording/recording.json" "d['engine']['name'], d['engine']['version'], d['engine']['effective']" "('scripted', '7', {'dtype': 'float32'})"
json_is "$dir/recording/recording.json" "d['totals']['peak_memory_bytes']" 12345
json_is "$dir/recording/recording.json" "[r['rank'] for r in d['totals']['process_results']]" "[0, 1]"
json_is "$dir/result.json" "[p['process_index'] for p in d['process_results']], d['aggregation']['method'], d['aggregation']['temporal_overlap_verified']" "([0, 1], 'shared_energy_wall_throughput', True)"
json_is "$dir/result.json" "[p['inference_metrics']['output_tokens'] for p in d['process_results']], [p['energy_metrics']['total_energy_j'] for p in d['process_results']]" "([12, 12], [None, None])"
json_is "$dir/recording/recording.json" "d['clocks']['worker']['offset_ns']" 0
json_is "$dir/recording/recording.json" "0 < d['clocks']['worker']['half_width_ns'] < 50000000, len(d['clocks']['worker']['before']), len(d['clocks']['worker']['after'])" "(True, 2, 2)"
json_is "$dir/result.json" "d['tokens']['output'], d['latency_stats']['ttft_samples']" "(12, 3)"
check "its log is there" grep -q "a word to the log" "$dir/worker.log"
none_left "$(json "$dir/claim.json" "d['run_mark']")"
run llem verify "$dir"
exits 0

say "a pass for the times of tokens"
rm -rf results
run llem run $worker -q --set measurement.latency_pass=true
exits 0
dir=$(echo results/study_*/001_*)
json_is "$dir/recording/recording.json" "[(p['id'], p['stream'], p['count']) for p in d['window']['passes']]" "[(0, False, 3), (2, True, 3)]"
json_is "$dir/recording/recording.json" "d['window']['passes'][1]['t_begin_ns'] >= d['window']['t_end_ns']" True
json_is "$dir/result.json" "d['tokens']['requests'], d['tokens']['output'], d['latency_stats']['ttft_samples']" "(3, 12, 3)"
run llem verify "$dir"
exits 0
check "without it no time of a token is known" sh -c "rm -rf results && llem run $worker -q && grep -q '\"latency_stats\": null' results/study_*/001_*/result.json"

say "what is kept of the output"
for keep in none hash text; do
    rm -rf results
    run llem run $worker -q --set "output.save_outputs=$keep"
    exits 0
    dir=$(echo results/study_*/001_*)
    case $keep in
    text) check "text: every output is in outputs.jsonl" sh -c "test \$(wc -l <$dir/outputs.jsonl) = 3 && grep -qx '{\"index\":2,\"repeat\":0,\"text\":\"token token\",\"ids\":\[1,2,3,2\]}' $dir/outputs.jsonl" ;;
    *) check "$keep: there is no outputs.jsonl" test ! -e "$dir/outputs.jsonl" ;;
    esac
    json_is "$dir/recording/recording.json" "[c['bytes'] > 100 for c in d['columns'] if c['name'] == 'output_sha256']" "[$([ $keep = none ] && echo False || echo True)]"
done

say "a worker that says of its processes what is none"
at run_inference processes
failed plugin "process_results has an item that is no map"

say "a worker that prints on standard output"
at load_model prints
failed plugin "worker of engine 'scripted' sent a line that is no message .*'Loading checkpoint shards: 100%"
complains "^hint: .*standard error"

for method in initialize load_prompts load_model run_inference; do
    say "a worker that dies in $method"
    at $method dies
    failed crashed "exited with status 3 during $method; the last it said: RuntimeError: the device is on fire"
    json_is "$dir/status.json" "'RuntimeError: the device is on fire' in d['log_tail']" True
done
say "a worker that is killed in the window"
at run_inference killed
failed crashed "was killed by signal 9 \(SIGKILL\) during run_inference"
complains "^hint: .*memory"
unharmed

say "a worker that never answers"
at load_prompts hangs
failed timeout "did not answer load_prompts within 2 s"
say "a worker that answers late"
at synchronize late
failed timeout "did not answer synchronize within 2 s"
say "a worker that does not hear SIGTERM"
at load_prompts deaf
failed timeout "did not answer load_prompts within 2 s"
say "a worker that is silent at the end"
at shutdown hangs
exits 0
none_left "$mark"
unharmed

say "a worker that floods"
at load_model floods
failed plugin "sent a line of more than 67108864 bytes: 'xxxx"
check "the log stays small" test "$(wc -c <"$dir/worker.log")" -lt 10000
say "a worker that answers the wrong id"
at load_model wrong_id
failed plugin "answered load_model with the wrong id"
say "a worker that leaves a grandchild"
at load_model grandchild
exits 0
none_left "$mark"
say "a worker that dies and leaves a grandchild"
at load_model grandchild_dies
failed crashed "exited with status 1 during load_model"
unharmed

say "a worker with much to say"
at load_model log
exits 0
check "all is in the log" test "$(grep -c deprecated "$dir/worker.log")" = 10000
json_is "$dir/status.json" "'last words' in d['log_tail'] and len(d['log_tail']) <= 65536" True

# What a worker answers as an error.
while IFS='|' read -r kind code reason hint; do
    say "an error of the kind $kind"
    at load_model none --set "scripted.kind=$kind"
    exits "$code"
    silent
    complains "it is about $kind"
    complains "$hint"
    json_is "$dir/status.json" "d['state'], d['reason'], 'Traceback: of it' in d['log_tail']" "('failed', '$reason', True)"
    none_left "$mark"
done <<END
config|2|config|it is about
hardware|1|notsup|it is about
out_of_memory|1|nomem|^hint: Use a smaller batch
model_not_found|1|notfound|^hint: Check task.model
gated_model|1|preflight|^hint: Accept the model's licence .*HF_TOKEN
missing_package|1|preflight|^hint: Install it for .*python3
engine|1|plugin|it is about
END
say "a package that is missing, found at once"
at initialize none --set scripted.kind=missing_package --set "scripted.hint=pip install it"
exits 1
complains "^hint: pip install it"
check "nobody waited" sh -c "! grep -q 'Idle power' '$tmp/err'"
say "no GPU"
at check_hardware no_gpu
failed preflight "there is no GPU here"
say "another version of the protocol"
at initialize version
failed plugin "speaks version 2 of the worker protocol, and this llem 1"
unharmed

say "an interpreter that is not there"
rm -rf results
run env LLEM_PYTHON_SCRIPTED=/no/such/python llem run $worker
exits 1
complains "cannot start '/no/such/python'"
complains "^hint: LLEM_PYTHON_SCRIPTED chose"
say "a virtual environment as interpreter"
mkdir -p venv/bin
printf '#!/bin/sh\nexec python3 "$@"\n' >venv/bin/python3
chmod +x venv/bin/python3
for choice in "LLEM_PYTHON_SCRIPTED=$PWD/venv" "LLEM_PYTHON=$PWD/venv/bin/python3" "VIRTUAL_ENV=$PWD/venv"; do
    rm -rf results
    run env LLEM_OWN_PYTHON=/no/such/python "$choice" llem run $worker -v
    exits 0
    check "${choice%%=*} chose it" grep -q "venv/bin/python3, chosen by ${choice%%=*}" results/study_*/001_*/worker.log
done

rm -rf results
run env -u VIRTUAL_ENV -u CONDA_PREFIX LLEM_OWN_PYTHON="$PWD/venv/bin/python3" llem run $worker -v
exits 0
check "that of llem counts where nothing else does" grep -q "venv/bin/python3, chosen by the environment of llem" results/study_*/001_*/worker.log

# Ctrl-C in each step; a worker that hears nothing is ended all the same, at the first signal.
for where in preflight:initialize prompts:load_prompts model:load_model warmup:run_warmup_prompt \
    measure:synchronize measure:run_inference; do
    say "SIGINT while ${where#*:} hangs"
    rm -rf results
    command="llem run $where"
    env --default-signal=INT llem run $worker --progress=json --set scripted.fault=hangs \
        --set "scripted.at=${where#*:}" >"$tmp/out" 2>"$tmp/err" </dev/null &
    runner=$!
    wait_for 10 grep -q "\"step_start\", \"step\": \"${where%%:*}\"" "$tmp/err"
    sleep 0.3
    kill -INT "$runner"
    wait "$runner" 2>/dev/null
    status=$?
    exits 130
    dir=$(echo results/study_*/001_*)
    json_is "$dir/status.json" "d['state'], d['exit']['signal']" "('interrupted', None)"
    none_left "$(json "$dir/claim.json" "d['run_mark']")"
done

done_testing
