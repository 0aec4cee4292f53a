#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the engine transformers on a real GPU: README.md tells what ends up where.
# usage: tests/gpu/transformers.sh BUILD_DIR OUT_DIR
#   LLEM_PYTHON_TRANSFORMERS   an interpreter with torch for CUDA and transformers (python3 unless given)
#   MODEL                      a model of the family Llama, Qwen2 or GPT-2 (the sample model unless given)
set -u
[ $# -eq 2 ] || { echo "usage: tests/gpu/transformers.sh BUILD_DIR OUT_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd) || exit 1
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 1
model=${MODEL:-$here/examples/sample-model}
python=${LLEM_PYTHON_TRANSFORMERS:-python3}
export LLEM_PYTHON_TRANSFORMERS="$python"
status=0
say() { echo "$*" | tee -a "$out/summary.txt"; }
bad() { say "FAILED: $*"; status=1; }
: > "$out/summary.txt"

boards=$("$python" -c 'import torch; print(torch.cuda.device_count())') || exit 1
[ "$boards" -gt 0 ] || { say "torch sees no GPU"; exit 1; }
say "torch sees $boards GPUs"
"$build/llem" check-engine transformers -m "$model" > "$out/check-engine.txt" 2>&1 || bad "llem check-engine"

run() { # NAME ENGINE SETTING...
    name=$1 engine=$2
    shift 2
    {
        printf '{"engine": "%s", "%s": {%s}, "measurement": {"warmup": {"n_warmup": 1}}, ' "$engine" "$engine" "$*"
        printf '"task": {"model": "%s", "dataset": {"source": "builtin", "n_prompts": 16}, ' "$model"
        printf '"max_input_tokens": 64, "max_output_tokens": 64, "ignore_eos": true}}\n'
    } > "$out/$name.yaml"
    rm -rf "$out/$name"
    if "$build/llem" run "$out/$name.yaml" --quick -o "$out/$name" > "$out/$name.txt" 2>&1; then
        "$build/llem" verify "$out/$name"/* > "$out/$name.verify.txt" 2>&1 || bad "llem verify $name"
        say "$name: $(grep -m1 'Output tokens/s' "$out/$name.txt")"
    else
        bad "$name: $(grep -m1 '^llem:' "$out/$name.txt")"
    fi
}
run cpu cpu '"dtype": "float32"'
run float32 transformers '"dtype": "float32", "batch_size": 4'
run bfloat16 transformers '"batch_size": 4'
run static transformers '"batch_size": 4, "cache_implementation": "static"'
run compiled transformers '"batch_size": 4, "torch_compile": true, "cache_implementation": "static"'
run tf32 transformers '"dtype": "float32", "batch_size": 4, "allow_tf32": true'
[ "$boards" -lt 2 ] || run parallel transformers '"batch_size": 4, "tp_plan": "auto", "tp_size": 2'

# The work was done where it says, and nothing was compiled in a window.
for name in float32 bfloat16 static compiled tf32; do
    [ -d "$out/$name" ] || continue
    grep -q '"kind": *"gpu"' "$out/$name"/*/*/recording/recording.json || bad "$name reports no GPU"
    grep -q 'compiled inside the window' "$out/$name"/*/*/worker.log && bad "$name compiled in the window"
done
exit $status
