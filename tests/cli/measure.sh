#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem measure: the command keeps its streams and its exit status.
. "$(dirname "$0")/tap.sh"

say "true"
run llem measure --quick -- true
exits 0
silent
complains '^  Energy '
complains '^Saved: ./results/measure_'
dir=$(echo results/measure_*)
for file in claim.json experiment.json status.json result.json recording/recording.json; do
    check "there is $file" test -f "$dir/$file"
done
check "no plan, no manifest" test ! -e "$dir/plan.json" -a ! -e "$dir/manifest.json"
json_is "$dir/experiment.json" "d['kind'], d['measure']['argv'], d['measure']['for_s'], d['measure']['gpus']" "('measure', ['true'], None, None)"
json_is "$dir/status.json" "d['state'], d['exit']" "('completed', {'code': 0, 'signal': None})"
json_is "$dir/result.json" "d['kind'], d['quick'], d['total_tokens']" "('measure', True, None)"
run llem show "$dir"
exits 0
prints '^  measure \(quick\)$'
run llem verify "$dir"
exits 0

say "false"
run llem measure --quick -- false
exits 1
silent

say "its own status"
run llem measure --quick -- sh -c 'exit 42'
exits 42
say "killed by a signal"
run llem measure --quick -- sh -c 'kill -9 $$'
exits 137
say "ended by a signal"
run llem measure --quick -- sh -c 'kill -TERM $$'
exits 143

say "its streams"
command="llem measure -- sh"
printf 'in\n' | llem measure --quick --progress=none -- sh -c 'cat; echo out; echo err >&2' >"$tmp/out" 2>"$tmp/err"
status=$?
exits 0
check "standard input and output are its own" test "$(cat "$tmp/out")" = "$(printf 'in\nout')"
complains '^err$'
check "its arguments are its own" test "$(llem measure --quick -- printf '%s' --quick 2>/dev/null)" = --quick
run llem measure --quick sh -c 'echo without dashes'
exits 0
prints '^without dashes$'

say "LLEM_RUN"
run llem measure --quick -- sh -c 'echo $LLEM_RUN'
prints '^[0-9a-f]{32}$' "the mark"

say "no such command"
run llem measure --quick -- llem-no-such-command
exits 127
silent
complains "llem: there is no command 'llem-no-such-command'"
run llem measure --quick -- ./nothing
exits 127
touch plain
run llem measure --quick -- ./plain
exits 126
complains 'may not be executed'

say "--for"
run llem measure --quick --for 0.5 -o here
exits 0
complains '^Saved: here$'
json_is here/result.json "0.49 < d['total_inference_time_sec'] < 0.8" True
run llem measure --quick --for 0.5 -o here
exits 1
complains "'here' holds a measurement already"

say "--gpus where there are none"
run llem measure --quick --gpus 0, --for 0.1
exits 2
complains 'no list of GPUs'

say "-q"
run llem measure --quick -q -- echo hello
check "standard output is the command's" test "$(cat "$tmp/out")" = hello
check "one line with the directory" test -f "$(cat "$tmp/err")/result.json"

for how in "INT 130" "TERM 143"; do
    set -- $how
    say "SIG$1 while the command runs"
    rm -rf results
    command="llem measure -- sleep 60"
    env --default-signal=INT llem measure --quick -- sh -c 'setsid sleep 60 & sleep 60' >"$tmp/out" 2>"$tmp/err" </dev/null &
    pid=$!
    wait_for 10 sh -c 'test -e results/measure_*/claim.json'
    mark=$(json results/measure_*/claim.json "d['run_mark']")
    wait_for 10 sh -c "grep -lz '^LLEM_RUN=$mark\$' /proc/[0-9]*/environ | grep -q ."
    sleep 0.3
    kill -$1 $pid
    wait $pid
    status=$?
    exits 143 "for the command was ended with SIGTERM"
    complains '^  Energy ' 'with what was measured until then'
    json_is results/measure_*/status.json "d['state'], d['exit']['signal']" "('completed', 15)"
    none_left "$mark"

    say "SIG$1 with --for"
    rm -rf results
    env --default-signal=INT llem measure --quick --for 60 >"$tmp/out" 2>"$tmp/err" </dev/null &
    pid=$!
    wait_for 10 sh -c 'test -e results/measure_*/claim.json'
    sleep 1
    kill -$1 $pid
    wait $pid
    status=$?
    exits $2
    complains '^  Energy ' 'with what was measured until then'
done

say "closed streams"
run sh -c 'llem measure --quick -- true <&- >&-'
exits 0
done_testing
