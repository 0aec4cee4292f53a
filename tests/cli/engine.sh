#!/bin/bash
# SPDX-License-Identifier: MIT
#
# docs/add-an-engine.md, followed to the letter, makes an engine that is known everywhere, keeps to the
# protocol and is measured; llem check-engine finds what does not keep to it.
. "$(dirname "$0")/tap.sh"
root=$here/../..
unset XDG_DATA_HOME

say "the page"
python3 - "$root/docs/add-an-engine.md" >"$tmp/recipe" <<'END'
import re, sys

text = open(sys.argv[1]).read().split("## A class")[0]
for code in re.finditer(r"```(yaml|sh)\n(.*?)```|^    ([^\n]*)$", text, re.S | re.M):
    if code[1]:
        name = "engine.yaml" if code[1] == "yaml" else "worker"
        print(f"cat >{name} <<'EOF'\n{code[2]}EOF")
    elif code[3] and not code[3].startswith("llem"):
        print(code[3])
END
run bash -e "$tmp/recipe"
exits 0
folder=$HOME/.local/share/llem/engines/shell
check "engine.yaml is the example's" cmp "$folder/engine.yaml" "$root/examples/engine-shell/engine.yaml"
check "the worker is the example's" cmp "$folder/worker" "$root/examples/engine-shell/worker"
check "the worker may be executed" test -x "$folder/worker" -a -x "$root/examples/engine-shell/worker"

lines=$(grep -vc '^#' "$folder/worker")
[ "$lines" -le 20 ]
report $? "the worker has twenty lines of shell at most ($lines)"

say "the engine it makes"
run llem config
prints "shell .*an engine in a few lines of shell"
run llem config --schema
prints '"shell.seconds"|how long a prompt takes'
run llem run --dry-run -m any -e shell -d builtin --set shell.seconds=99
exits 2
complains "shell.seconds must be between 0 and 60 s"
run llem check-engine shell
exits 0
prints "^shell: [0-9]+ rules looked at, all kept"
prints_not "✗"
run llem run -m any -e shell -d builtin -n 20 --quick --set shell.seconds=0.02
exits 0
dir=$(echo results/study_*/001_*)
json_is "$dir/recording/recording.json" "d['engine']['name'], d['engine']['version'], d['clocks']['worker']['offset_ns'] != 0" "('shell', '1', True)"
json_is "$dir/result.json" "d['tokens']['requests'], 0.4 < d['total_inference_time_sec'] < 20" "(20, True)"
none_left "$(json "$dir/claim.json" "d['run_mark']")"

# What does not keep to the protocol is found: the worker that does wrong what it is told to.
export LLEM_PLUGIN_PATH=$root/tests/fakes/worker
say "a worker that keeps to the protocol"
run llem check-engine scripted
exits 0
prints "all kept"
# What a worker need not know, and what it need not tell.
optional="clock check_hardware load_prompts open_device load_model run_warmup_prompt synchronize capture_observed_params cleanup shutdown"
for method in $optional; do
    for how in lacks empty; do
        say "$how $method"
        run llem check-engine scripted --set "scripted.$how=$method"
        exits 0
        prints "all kept"
    done
done
for method in initialize run_inference; do
    say "lacks $method"
    run llem check-engine scripted --set "scripted.lacks=$method"
    exits 1
    prints "✗ $method: answers"
    say "empty $method"
    run llem check-engine scripted --set "scripted.empty=$method"
    exits 1
    prints "✗ $method: (protocol|t_begin_ns) is a whole number"
    prints "it is not in the answer"
done
for how in lacks empty; do
    say "a run with a worker that $how what it may"
    rm -rf results
    run llem run -m any -e scripted -d builtin -n 3 --quick -q --set "scripted.$how='$optional'"
    exits 0
    dir=$(echo results/study_*/001_*)
    json_is "$dir/recording/recording.json" "d['clocks']['worker'], d['engine']['devices'][0]['kind'], d['warmup']['mode'], d['engine']['effective']" "(None, 'cpu', 'engine', {})"
    json_is "$dir/result.json" "d['tokens']['output'], d['tokens']['input'], d['quantities']['tokens.input']['reason'], d['tokens']['requests']" "(12, None, 'engine_does_not_report', 3)"
    none_left "$(json "$dir/claim.json" "d['run_mark']")"
done

while IFS='|' read -r method fault words; do
    say "a worker that $fault in $method"
    run llem check-engine scripted --set "scripted.at=$method" --set "scripted.fault=$fault"
    exits 1
    prints "✗ $method: "
    prints "$words"
    quiet
done <<END
initialize|version|protocol is 2
initialize|dies|the device is on fire
load_prompts|prints|no message of JSON-RPC 2.0
load_prompts|hangs|did not answer load_prompts within 2 s
clock|wrong_id|answered clock with the wrong id
load_model|killed|SIGKILL
check_hardware|no_gpu|there is no GPU here
run_inference|processes|process_results is a list of maps
run_inference|edges|it ended 1 ns before it began
shutdown|dies|exited with status 3
END
say "an error of a kind that does not exist"
run llem check-engine scripted --set scripted.at=load_model --set scripted.kind=sadness
exits 1
prints "it is about sadness"

# A class with the original's plugin methods, without a folder.
cat >mine.py <<'END'
import time


class Output:
    def __init__(self, n):
        self.input_tokens, self.output_tokens, self.peak_memory_mb = 7 * n, 4 * n, 2


class Sleeper:
    name, version = "sleeper", "3"

    def load_model(self, config, on_substep=None):
        on_substep("half of it", 0.1)
        return config.passthrough_kwargs.seconds

    def run_inference(self, config, model, prompts):
        assert all(isinstance(p, str) for p in prompts)
        time.sleep(model * len(prompts))
        return Output(len(prompts))

    def cleanup(self, model):
        print("cleaned up")
END
say "a class"
rm -rf results
run llem run -m any -e python:mine:Sleeper -d builtin -n 3 --quick --set 'passthrough_kwargs={seconds: 0.02}'
exits 0
dir=$(echo results/study_*/001_*)
json_is "$dir/recording/recording.json" "d['engine']['version'], d['totals']['peak_memory_bytes']" "('3', 2097152)"
json_is "$dir/result.json" "d['tokens']['input'], d['tokens']['output'], d['latency_stats']" "(21, 12, None)"
json_is "$dir/result.json" "d['total_inference_time_sec'] >= 0.06" True
check "what it prints is in the log" grep -qx "cleaned up" "$dir/worker.log"
none_left "$(json "$dir/claim.json" "d['run_mark']")"
say "a class that is not there"
run llem run -m any -e python:mine:Nobody -d builtin -n 3 --quick
exits 2
complains "the module mine has no class Nobody"
run llem run -m any -e python:nowhere:Sleeper -d builtin -n 3 --quick
exits 2
complains "there is no Python module nowhere"
for bad in python:mine python::Sleeper python:mine: python:a:b:c; do
    run llem run -m any -e $bad -d builtin
    exits 2
    complains "engine must be python:MODULE:CLASS"
done

say "what cannot be checked"
run llem check-engine cpu
exits 2
complains "has no worker"
run llem check-engine nothing
exits 2
complains "there is no engine 'nothing'"
run llem check-engine
exits 2
run llem check-engine a b
exits 2
run llem check-engine scripted --set scripted.nothing=1
exits 2
run env LLEM_PYTHON=/no/such llem check-engine scripted
exits 1
complains "cannot start"

say "Ctrl-C"
env --default-signal=INT llem check-engine scripted --set scripted.at=load_model --set scripted.fault=hangs >"$tmp/out" 2>"$tmp/err" &
pid=$!
wait_for 10 grep -q "clock" "$tmp/out"
kill -INT $pid
wait $pid
status=$?
exits 130

done_testing
