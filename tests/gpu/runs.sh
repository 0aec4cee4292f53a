# SPDX-License-Identifier: MIT
#
# What the scripts of an engine share, to be sourced with BUILD_DIR OUT_DIR as arguments and `engine` set.
# MODEL is a model of the family Llama, Qwen2 or GPT-2 (the sample model unless given).
set -u
[ $# -eq 2 ] || { echo "usage: $0 BUILD_DIR OUT_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd) || exit 1
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 1
model=${MODEL:-$here/examples/sample-model}
status=0
say() { echo "$*" | tee -a "$out/summary.txt"; }
bad() { say "FAILED: $*"; status=1; }
: > "$out/summary.txt"

begin() { # PYTHON: how many boards it sees, and the protocol
    boards=$("$1" -c 'import torch; print(torch.cuda.device_count())') || exit 1
    [ "$boards" -gt 0 ] || { say "torch sees no GPU"; exit 1; }
    say "torch sees $boards GPUs"
    "$build/llem" check-engine "$engine" -m "$model" > "$out/check-engine.txt" 2>&1 || bad "llem check-engine"
}

run() { # NAME ENGINE SETTING...: an experiment, verified; its file and output stay in $out
    name=$1 by=$2
    shift 2
    {
        printf '{"engine": "%s", "%s": {%s}, "measurement": {"warmup": {"n_warmup": 1}}, ' "$by" "$by" "$*"
        printf '"task": {"model": "%s", "dataset": {"source": "builtin", "n_prompts": 16}, ' "$model"
        printf '"max_input_tokens": 64, "max_output_tokens": 64, "ignore_eos": true}}\n'
    } > "$out/$name.yaml"
    rm -rf "${out:?}/$name"
    if "$build/llem" run "$out/$name.yaml" --quick -o "$out/$name" > "$out/$name.txt" 2>&1; then
        "$build/llem" verify "$out/$name"/* > "$out/$name.verify.txt" 2>&1 || bad "llem verify $name"
        say "$name: $(grep -m1 'Output tokens/s' "$out/$name.txt")"
        # The work was done where it says.
        [ "$by" = cpu ] || grep -q '"kind": *"gpu"' "$out/$name"/*/*/recording/recording.json ||
            bad "$name reports no GPU"
    else
        bad "$name: $(grep -m1 '^llem:' "$out/$name.txt")"
    fi
}
