#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What can happen to a study while it runs, and to its directory afterwards: what there is of results stays, a
# sentence says what happened, and --resume completes it.
. "$(dirname "$0")/tap.sh"

export LLEM_PLUGIN_PATH=$here/../fakes/worker
cat >study.yaml <<'END'
task: {model: ./model, dataset: {source: builtin, n_prompts: 2}}
engine: test
measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: false}, energy_sampler: null}
test: {request_s: 0.001}
sweep: {task.random_seed: [1, 2, 3]}
study_execution: {n_cycles: 1, experiment_order: interleave, experiment_gap_seconds: 0, cycle_gap_seconds: 0}
END

# Start a study in the background: $runner. It is in the directory $dir once its run RUN (001, ...) was begun.
begin() { # RUN OPTION...
    local run=$1
    shift
    command="llem run study.yaml $*"
    rm -rf results
    env --default-signal=INT,HUP llem run study.yaml --progress=plain "$@" >"$tmp/out" 2>"$tmp/err" </dev/null &
    runner=$!
    wait_for 30 sh -c "ls results/study_*/${run}_*/worker.log"
    dir=$(echo results/study_*)
}

finish_it() {
    wait "$runner"
    status=$?
}

# Nothing of its processes, no file that was to become another, no lock.
clean() {
    local mark left=
    for mark in $(cat "$dir"/*/claim.json 2>/dev/null | sed -n 's/.*"run_mark": "\([0-9a-f]*\)".*/\1/p'); do
        wait_for 5 sh -c "! grep -lz '^LLEM_RUN=$mark\$' /proc/[0-9]*/environ 2>/dev/null | grep -q ." || left="$left $(marked "$mark")"
    done
    check "leaves no process behind" test -z "${left// /}"
    check "leaves nothing half-written" sh -c "! find '$dir' -name '.*' ! -path '$dir' | grep -q ."
    check "leaves no lock" flock --nonblock --exclusive "$dir" true
}

resumes() { # COMPLETED: of all runs, after what is wrong was put right
    run llem run --resume-dir "$dir" -q
    exits 0 "when it is gone on with"
    json_is "$dir/manifest.json" "(d['status'], d['completed'])" "('completed', $1)"
    json_is "$dir/study_result.json" "(d['summary']['completed'], d['summary']['missing'])" "($1, [])"
}

say "the disk is full in the middle"
mkdir -p full
if mount -t tmpfs -o size=600k tmpfs full 2>/dev/null; then
    cp study.yaml long.yaml
    sed -i 's/random_seed: .*/random_seed: [1, 2, 3, 4, 5, 6, 7, 8]}/' long.yaml
    run llem run long.yaml -o full
    exits 1
    complains 'No space left on device'
    complains '^hint: |Go on with: llem run --resume-dir '
    dir=$(echo full/study_*)
    done_before=$(ls "$dir"/*/result.json 2>/dev/null | wc -l)
    check "after some runs, before all" test "$done_before" -gt 0 -a "$done_before" -lt 8
    check "every file is whole" sh -c "find '$dir' -name '*.json' -exec python3 -m json.tool {} \\; >/dev/null"
    stat -c '%i %n' "$dir"/*/result.json >kept
    mount -o remount,size=64m full
    resumes 8
    check "what there was is not run again" sh -c "sed 's/^[0-9]* //' kept | xargs stat -c '%i %n' | cmp - kept"
    clean
    umount full
else
    skip "exits 1" "no tmpfs may be mounted here"
fi

say "its directory is removed"
begin 002 --set test.load_s=1
rm -rf "$dir"
finish_it
exits 1
complains "$dir.*(No such file or directory|is not there)"
complains_not 'AddressSanitizer|runtime error'
check "nothing is made again" test ! -e "$dir"

say "the directory of a run is removed"
begin 002 --set test.load_s=0.5
rm -rf "$dir"/002_*
finish_it
exits 1
complains '[12] of 3 runs completed, [12] failed$'
resumes 3
clean

say "a results directory that cannot be written"
rm -rf results
if [ "$(id -u)" = 0 ]; then
    run llem run study.yaml -o /proc/results
else
    mkdir -p locked
    chmod 500 locked
    run llem run study.yaml -o locked/results
fi
exits 1
complains 'cannot'
complains '^hint: .*-o DIR'
silent

rm -rf results
run llem run study.yaml -q
dir=$(cat "$tmp/out")
cp "$dir/plan.json" "$dir/manifest.json" .
stat -c '%i %n' "$dir"/*/result.json >kept
# Of the manifest all can be made again.
while IFS='|' read -r what text; do
    say "a manifest that is $what"
    printf '%b' "$text" >"$dir/manifest.json"
    rm -f "$dir/study_result.json"
    resumes 3
    json_is "$dir/manifest.json" "[e['elapsed_seconds'] > 0 and e['inference_seconds'] > 0 for e in d['experiments']]" "[True, True, True]"
done <<TABLE
cut off|$(head -c 300 manifest.json | tr -d '\n\\')
empty|
garbage|\\0001\\0377no JSON
of other shape|{"experiments": {"status": 3}, "status": []}
TABLE
# Of the plan not.
while IFS='|' read -r what text; do
    say "a plan that is $what"
    printf '%b' "$text" >"$dir/plan.json"
    run llem run --resume-dir "$dir" -q
    exits 1
    complains "plan\.json"
    silent
    run llem run study.yaml --resume-dir "$dir" -q
    exits 1
    complains "$dir"
    cp plan.json "$dir/plan.json"
done <<TABLE
cut off|$(head -c 300 plan.json | tr -d '\n\\')
empty|
garbage|\\0001\\0377no JSON
of another version|{"version": 99}
without runs|{"version": 2, "experiments": [], "runs": [], "source": {"path": null, "settings": []}}
TABLE
say "whatever was wrong with both"
resumes 3
check "no result was touched" sh -c "sed 's/^[0-9]* //' kept | xargs stat -c '%i %n' | cmp - kept"
clean

say "which study --resume goes on with"
older=$dir
cp -r "$older" results/study_old
cp -r "$older" results/study_new
cp -r "$older" results/study_none
mkdir results/study_empty
for name in old new none; do
    rm -rf results/study_$name/003_* results/study_$name/study_result.json
    sed -i 's/"status": "completed",$/"status": "interrupted",/' results/study_$name/manifest.json
done
sed -i 's/"created_utc": "2/"created_utc": "1/' results/study_old/plan.json
sed -i 's/"created_utc": "2/"created_utc": "3/' results/study_new/plan.json
sed -i 's/"created_utc": "2/"created_utc": "4/; s/"runs"/"runs/' results/study_none/plan.json
run llem run --resume -q
exits 0
check "the newest that is unfinished and can be read" test "$(cat "$tmp/out")" = ./results/study_new
check "its missing run was run" test -e "$(echo results/study_new/003_*/result.json)"
run llem run --resume -q
check "then the one before" test "$(cat "$tmp/out")" = ./results/study_old
run llem run --resume -q
exits 1
complains "there is no unfinished study"

say "two engines in one environment of packages"
rm -rf results
run env LLEM_PYTHON=/usr/bin/python3 llem run -m gpt2 -e transformers -e vllm -d builtin
exits 1
complains 'engines transformers and vllm, which would both run with the packages of .*; each needs an environment of its own$'
complains '^hint: .*runners: .*--skip-preflight'
check "nothing was made" test ! -e results

say "two runners on one study"
begin 001 --set test.load_s=2
run llem run --resume-dir "$dir" -q
exits 1
complains "is being run by another process"
complains '^hint: '
run llem run --resume -q
exits 1
complains "there is no unfinished study"
finish_it
exits 0 "the first one, unharmed"
json_is "$dir/manifest.json" "(d['status'], d['completed'])" "('completed', 3)"
check "and none was tried twice" sh -c "! ls -d '$dir'/*/attempts"
clean

# Whoever is second finds the study locked; the other one is still at work then, and is ended.
say "two runners start in the same instant"
begin 001 --set test.load_s=60
kill -INT "$runner"
finish_it
exits 130
tries=0
: >"$tmp/others"
for i in $(seq 20); do
    touch gate
    exec 8>gate
    flock 8
    pids=
    for k in a b; do
        (exec 8>&-; flock --shared gate true; exec llem run --resume-dir "$dir" -q) >"$tmp/$k.out" 2>"$tmp/$k.err" </dev/null &
        pids="$pids $!"
    done
    sleep 0.1
    exec 8>&-
    wait -n $pids
    tries=$((tries + $(grep -l "is being run by another process" "$tmp/a.err" "$tmp/b.err" | wc -l)))
    kill $pids 2>/dev/null
    for k in $pids; do
        wait "$k"
        echo $? >>"$tmp/others"
    done
done
command="two times llem run --resume-dir"
check "one of them is refused each time" test "$tries" = 20
check "and the other one runs until it is ended" sh -c "test \"\$(sort '$tmp/others' | uniq -c | tr -s ' \\n' ' ')\" = ' 20 1 20 143 '" || sort "$tmp/others" | uniq -c | sed 's/^/# /'
clean

# Of 10,000 with 2,000 failures, bench/study.c measures what they cost.
say "a fifth of a study fails"
{
    sed '/^sweep/d; /^study_execution/d' study.yaml
    echo "study_execution: {n_cycles: 1, experiment_order: shuffle, experiment_gap_seconds: 0, max_consecutive_failures: 0}"
    echo "experiments:"
    for i in $(seq 50); do
        echo "  - {task: {random_seed: $i}, test: {fail_at: $([ $((i % 5)) = 0 ] && echo create || echo none)}}"
    done
} >many.yaml
run llem run many.yaml -q
exits 1
dir=$(cat "$tmp/out")
complains '^llem: 40 of 50 runs completed, 10 failed$'
json_is "$dir/manifest.json" "[d[k] for k in ('status', 'completed', 'failed', 'pending', 'skipped', 'interrupted')]" "['failed', 40, 10, 0, 0, 0]"
json_is "$dir/study_result.json" "[d['summary'][k] for k in ('total_experiments', 'completed', 'failed', 'pending')]" "[50, 40, 10, 0]"
json_is "$dir/study_result.json" "len(d['result_files']), sum(r['state'] == 'failed' for r in d['runs'])" "(40, 10)"
clean

# ---- signals ----

ended_by_signal() { # EXIT MANIFEST-COUNTS
    finish_it
    exits "$1"
    json_is "$dir/manifest.json" "(d['status'], d['completed'], d['interrupted'])" "('interrupted', $2)"
    json_is "$dir/study_result.json" "(d['summary']['completed'], d['summary']['interrupted'])" "($2)"
    clean
}

for how in "INT 130" "TERM 143" "HUP 129"; do
    set -- $how
    say "SIG$1 in the second run"
    begin 002 --sweep test.load_s=0,60
    kill -$1 "$runner"
    ended_by_signal $2 "1, 1"
    complains '^Go on with: llem run --resume-dir '
    json_is "$(echo "$dir"/002_*/status.json)" "(d['state'], d['reason'])" "('interrupted', 'canceled')"
done

say "its terminal is closed"
rm -rf results
command="llem run study.yaml in a terminal"
python3 - >"$tmp/out" 2>"$tmp/err" <<'END'
import glob, os, pty, select, sys, time

pid, terminal = pty.fork()
if pid == 0:
    os.execvp("llem", ["llem", "run", "study.yaml", "--set", "test.load_s=60"])
deadline = time.monotonic() + 30
while not glob.glob("results/study_*/001_*/worker.log") and time.monotonic() < deadline:
    if select.select([terminal], [], [], 0.05)[0]:
        os.read(terminal, 65536)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
status=$?
dir=$(echo results/study_*)
exits 129
json_is "$dir/manifest.json" "(d['status'], d['interrupted'])" "('interrupted', 1)"
check "with its result" test -e "$dir/study_result.json"
clean

say "a second SIGINT ends it at once"
begin 001 --progress=json --set test.hang_at=load_model
wait_for 30 grep -q '"step_start", "step": "model"' "$tmp/err"
sleep 0.1
kill -INT "$runner"
sleep 0.2
check "the first one waits" kill -0 "$runner"
kill -INT "$runner"
ended_by_signal 130 "0, 1"

# Of sixty seconds little is waited.
while read -r step run options; do
    say "SIGINT in a $step"
    begin "$run" --progress=json $options
    wait_for 30 grep -q "\"step\": \"$step\"" "$tmp/err"
    SECONDS=0
    kill -INT "$runner"
    finish_it
    exits 130
    check "it does not wait" test $SECONDS -lt 10
    json_is "$dir/manifest.json" "(d['status'], d['interrupted'])" "('interrupted', 0)"
    check "with its result" test -e "$dir/study_result.json"
    clean
done <<TABLE
gap 001 --set study_execution.experiment_gap_seconds=60
cooldown 002 --set test.fail_at=create --set study_execution.max_consecutive_failures=2
TABLE

say "a worker that does not hear SIGTERM"
begin 001 --progress=json -e scripted --set scripted.at=run_inference --set scripted.fault=deaf
wait_for 30 grep -q '"step_start", "step": "measure"' "$tmp/err"
kill -INT "$runner"
sleep 0.2
kill -INT "$runner"
finish_it
exits 130
json_is "$dir/manifest.json" "d['status']" "interrupted"
clean
done_testing
