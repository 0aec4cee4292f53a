#!/bin/bash
# SPDX-License-Identifier: MIT
#
# However an experiment ends, it says so in one sentence, in its exit status and in status.json, leaves no
# half-written result and no process.
. "$(dirname "$0")/tap.sh"

# Start `llem run` in the background: $runner, $dir, $mark, once the harness is in the step STEP, or STEP:done.
begin() { # STEP OPTION...
    local step=${1%%:*} event=step_start
    [ "$step" = "$1" ] || event=step_done
    shift
    command="llem run $*"
    rm -rf results
    : >"$tmp/err"
    # A shell without job control has its background processes ignore SIGINT, and llem respects that.
    env --default-signal=INT llem run -m ./model -e test -d builtin -n 3 --quick \
        --progress=json "$@" >"$tmp/out" 2>"$tmp/err" </dev/null &
    runner=$!
    wait_for 20 grep -q "\"$event\", \"step\": \"$step\"" "$tmp/err"
    sleep 0.1
    dir=$(echo results/study_*/001_*)
    mark=$(json "$dir/claim.json" "d['run_mark']")
}

finish() {
    wait "$runner" 2>/dev/null
    status=$?
}

ended() { # STATE REASON
    json_is "$dir/status.json" "d['state']" "$1"
    json_is "$dir/status.json" "d['reason']" "$2"
    json_is "$dir/../manifest.json" "d['pending'], d['completed']" "(0, 0)"
    check "no result" test ! -e "$dir/result.json" -a ! -e "$dir/recording/recording.json"
    check "nothing half-written" sh -c "! find results -name '*.tmp*' -o -name '.claim*' | grep -q ."
    none_left "$mark"
}

# A board whose temperature settles after ten seconds, for the steps that wait only with sensors.
printf 'epoch boot\nboard h100\n  gain 1\n  load idle 100\n' >"$tmp/scenario"
board="--no-quick --set=test.gpus=[GPU-fa4e0000-0000-0000-0000-000000000000]"

# A step that waits hears the first signal; one that hangs is ended by the second. Of the steps in which
# nothing can wait, tests/unit/measure/test_harness.c cancels each.
for how in "INT 130" "TERM 143"; do
    set -- $how
    while read -r step options; do
        say "SIG$1 in the step $step"
        case $options in *gpus*) export LLEM_FAKE_NVML_SCENARIO=$tmp/scenario LLEM_NVML_LIBRARY=$build/tests/fakes/libnvidia-ml.so.1 ;; esac
        begin "$step" $options
        unset LLEM_FAKE_NVML_SCENARIO LLEM_NVML_LIBRARY
        kill -$1 "$runner"
        finish
        exits $2
        silent
        ended interrupted canceled
        json_is "$dir/status.json" "'$step' in d['message']" True
        json_is "$dir/../manifest.json" "d['status'], d['interrupted']" "('interrupted', 1)"
    done <<TABLE
baseline $board
model --set=test.load_s=60
warmup --set=test.prompt_latency_ms=60000
thermal_floor $board --set=measurement.baseline.enabled=false
measure --set=test.request_s=60
TABLE
    while read -r step method; do
        say "two SIG$1 while $method hangs"
        begin "$step" --set "test.hang_at=$method"
        kill -$1 "$runner"
        sleep 0.2
        check "the first one waits" kill -0 "$runner"
        kill -$1 "$runner"
        finish
        exits $2
        ended interrupted canceled
        json_is "$dir/status.json" "d['exit']['signal']" 9
    done <<TABLE
preflight create
preflight check_hardware
prompts load_prompts
model open_device
model load_model
warmup run_warmup_prompt
measure synchronize
measure run_inference
measure:done capture_observed_params
save cleanup
TABLE
done

say "a grandchild in a session of its own"
begin measure --set test.grandchild=true --set test.request_s=60
check "is there" sh -c "test $(marked "$mark" | wc -l) -ge 2"
kill -TERM "$runner"
finish
exits 143
ended interrupted canceled

say "the harness is killed"
begin measure --set test.request_s=60 --set test.grandchild=true
kill -KILL $(marked "$mark" | head -n 1)
finish
exits 1
complains "killed by signal 9 \(SIGKILL\)" 
ended failed crashed
json_is "$dir/status.json" "d['exit']" "{'code': None, 'signal': 9}"
json_is "$dir/../manifest.json" "d['status'], d['failed']" "('failed', 1)"

say "the runner is killed"
begin measure --set test.request_s=60 --set test.grandchild=true
kill -KILL "$runner"
wait "$runner" 2>/dev/null
none_left "$mark"
check "no result" test ! -e "$dir/result.json"

say "the runner is killed while the engine hangs"
begin measure --set test.hang_at=run_inference
kill -KILL "$runner"
wait "$runner" 2>/dev/null
wait_for 20 sh -c "! grep -lz '^LLEM_RUN=$mark\$' /proc/[0-9]*/environ 2>/dev/null | grep -q ."
none_left "$mark"

for method in create load_prompts load_model run_warmup_prompt run_inference; do
    say "the engine crashes in $method"
    rm -rf results
    run llem run $quick --set test.crash_at=$method
    exits 1
    silent
    dir=$(echo results/study_*/001_*)
    mark=$(json "$dir/claim.json" "d['run_mark']")
    complains "killed by signal 11 \(SIGSEGV\)|killed by signal 6 \(SIGABRT\)|exited with status"
    ended failed crashed

    say "the engine fails in $method"
    rm -rf results
    run llem run $quick --set test.fail_at=$method --set test.error_kind=out_of_memory
    exits 1
    silent
    complains "does not fit into the device's memory"
    complains "^hint: use a smaller batch"
    dir=$(echo results/study_*/001_*)
    mark=$(json "$dir/claim.json" "d['run_mark']")
    ended failed nomem
    json_is "$dir/status.json" "d['hint'][:21]" "use a smaller batch o"
done

say "an engine that refuses the configuration"
run llem run $quick --set test.fail_at=load_model --set test.error_kind=config
exits 2

say "a directory that cannot be written"
rm -rf results
touch file
run llem run $quick -o file/results
exits 1
complains "file"
complains "^hint: .*-o DIR"
silent
if [ "$(id -u)" = 0 ]; then
    run llem run $quick -o /proc/results
else
    mkdir -p locked
    chmod 500 locked
    run llem run $quick -o locked/results
fi
exits 1
complains "cannot"
check "nothing was made" test ! -e results

# From no room for a directory to room for all but the result: 16 KiB more each time, until it fits.
say "a full disk"
mkdir -p full
if mount -t tmpfs -o size=4k tmpfs full 2>/dev/null; then
    umount full
    fits=
    for kib in $(seq 8 16 600); do
        mount -t tmpfs -o size=${kib}k tmpfs full
        run llem run $quick --set measurement.warmup.enabled=false --set measurement.energy_sampler=null -q -o full/results
        if [ "$status" = 0 ]; then
            fits=$kib
            umount full
            break
        fi
        [ "$status" = 1 ] && grep -q "No space left on device" "$tmp/err" && grep -q "^hint: " "$tmp/err" && [ ! -s "$tmp/out" ] &&
            ! find full -name result.json -o -name '*.tmp*' | grep -q . &&
            find full -name '*.json' -exec python3 -m json.tool {} \; >"$tmp/json" 2>&1 &&
            { [ "$kib" -lt 56 ] || grep -q '"state": "failed"' full/results/study_*/001_*/status.json 2>/dev/null ||
                [ -f "$(echo full/results/study_*/001_*/recording/recording.json)" ]; } # whole, and worth the room
        report $? "$kib KiB: a sentence and what to do, status.json or the whole recording, no result, nothing half-written" || find full -type f -size +0 -ls | sed 's/^/# /'
        umount full
    done
    check "it fits at last, after it failed at many places" test "${fits:-0}" -gt 48
else
    skip "exits 1" "no tmpfs may be mounted here"
fi

say "two builds mixed"
rm -rf results
cat >"$tmp/other" <<SCRIPT
#!/bin/sh
sed -i 's/"version": "[0-9.]*"/"version": "9.9.9"/' "\$2/experiment.json"
exec llem "\$@"
SCRIPT
chmod +x "$tmp/other"
LLEM_PROGRAM=$tmp/other run llem run $quick
exits 1
complains "two builds are mixed"
complains "^hint: .*LLEM_PROGRAM"
LLEM_PROGRAM=$tmp/nowhere run llem run $quick
exits 1
complains "$tmp/nowhere"
complains "^hint: .*LLEM_PROGRAM"

say "an engine without its packages"
printf '#!/bin/sh\nexec python3 -I -S "$@"\n' >"$tmp/bare-python"
chmod +x "$tmp/bare-python"
LLEM_PYTHON=$tmp/bare-python run llem run -m gpt2 -e transformers -d builtin
exits 1
complains "the Python package torch is not installed"
complains "^hint: .*-m pip install torch"
done_testing
