#!/bin/bash
# SPDX-License-Identifier: MIT
#
# However an experiment ends, it says so in one sentence, in its exit status and in status.json, leaves no
# half-written result and no process.
. "$(dirname "$0")/tap.sh"

# Start `llem run` in the background: $runner, $dir, $mark, once the harness is in the step STEP.
begin() { # STEP OPTION...
    local step=$1
    shift
    command="llem run $*"
    rm -rf results
    : >"$tmp/err"
    # A shell without job control has its background processes ignore SIGINT, and llem respects that.
    env --default-signal=INT llem run -m ./model -e test -d builtin -n 3 --quick \
        --progress=json "$@" >"$tmp/out" 2>"$tmp/err" </dev/null &
    runner=$!
    wait_for 10 grep -q "\"step_start\", \"step\": \"$step\"" "$tmp/err"
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

# A step that waits hears the first signal; one that hangs is ended by the second.
for how in "INT 130" "TERM 143"; do
    set -- $how
    for where in "model --set=test.load_s=60" "warmup --set=test.prompt_latency_ms=60000" \
        "measure --set=test.request_s=60"; do
        say "SIG$1 in the step ${where%% *}"
        begin $where
        kill -$1 "$runner"
        finish
        exits $2
        silent
        ended interrupted canceled
        json_is "$dir/status.json" "'${where%% *}' in d['message']" True
        json_is "$dir/../manifest.json" "d['status'], d['interrupted']" "('interrupted', 1)"
    done
    for where in preflight:create prompts:load_prompts model:load_model warmup:run_warmup_prompt \
        measure:synchronize measure:run_inference; do
        say "two SIG$1 while ${where#*:} hangs"
        begin "${where%%:*}" --set "test.hang_at=${where#*:}"
        kill -$1 "$runner"
        sleep 0.2
        check "the first one waits" kill -0 "$runner"
        kill -$1 "$runner"
        finish
        exits $2
        ended interrupted canceled
        json_is "$dir/status.json" "d['exit']['signal']" 9
    done
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

say "a full disk"
mkdir -p full
if mount -t tmpfs -o size=48k tmpfs full 2>/dev/null; then
    run llem run $quick -o full/results
    exits 1
    complains "No space left on device"
    check "no result" sh -c "! find full -name result.json -o -name recording.json | grep -q ."
    umount full
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

say "an engine without its packages"
printf '#!/bin/sh\nexec python3 -I -S "$@"\n' >"$tmp/bare-python"
chmod +x "$tmp/bare-python"
LLEM_PYTHON=$tmp/bare-python run llem run -m gpt2 -e transformers -d builtin
exits 1
complains "the Python package torch is not installed"
complains "^hint: .*-m pip install torch"
done_testing
