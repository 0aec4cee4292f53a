#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the engine tensorrt for real: both back ends, the cache of built engines, a refused setting.
# usage: tests/gpu/tensorrt.sh BUILD_DIR MODEL OUT_DIR
#   LLEM_PYTHON_TENSORRT   the interpreter that has tensorrt_llm
# MODEL is a directory or a hub id. Exit status 0 if all passed, 77 if it cannot run here.
set -u
[ $# -eq 3 ] || { echo "usage: tests/gpu/tensorrt.sh BUILD_DIR MODEL OUT_DIR" >&2; exit 2; }
llem=$1/llem model=$2
mkdir -p "$3" && out=$(cd "$3" && pwd) || exit 1
python=${LLEM_PYTHON_TENSORRT:-python3}
nvidia-smi -L >/dev/null 2>&1 || { echo "no NVIDIA GPU here"; exit 77; }
"$python" -c 'import tensorrt_llm' >/dev/null 2>&1 || { echo "$python has no tensorrt_llm"; exit 77; }
export LLEM_PYTHON_TENSORRT="$python" LLEM_TRT_BUILD_CACHE_PATH="$out/engines"
status=0
say() { echo "$*" | tee -a "$out/summary.txt"; }
bad() { say "FAILED: $*"; status=1; }
: > "$out/summary.txt"
say "$("$python" -c 'import tensorrt_llm as t; print("TensorRT-LLM", t.__version__)' 2>/dev/null | tail -1)"
say "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)"

# run NAME SETTING...: an experiment whose result stands in OUT/NAME
run() {
    name=$1
    shift
    rm -rf "${out:?}/$name"
    "$llem" run --quick -m "$model" -e tensorrt -d builtin -n 20 -o "$out/$name" \
        --set task.max_output_tokens=32 --set task.ignore_eos=true "$@" > "$out/$name.txt" 2>&1
}

for case in pytorch trt trt-again; do
    if run "$case" --set "tensorrt.backend=${case%-again}" --set tensorrt.max_batch_size=16; then
        experiment=$(dirname "$(find "$out/$case" -name result.json | head -1)")
        "$python" - "$experiment" "$case" <<'EOF' || bad "$case: the result is not of what was asked"
import json, sys
folder, case = sys.argv[1:]
result = json.load(open(folder + "/result.json"))
effective = json.load(open(folder + "/recording/recording.json"))["engine"]["effective"]
assert result["tokens"]["output"] == 20 * 32, result["tokens"]
assert effective["backend"] == case.removesuffix("-again"), effective
assert effective["max_batch_size"] == 16, effective
assert case == "pytorch" or effective["engine_from_cache"] == (case == "trt-again"), effective
EOF
        "$llem" verify "$out/$case" >> "$out/verify.txt" 2>&1 || bad "llem verify $case"
        say "$case: ran"
    else
        bad "$case: $(tail -1 "$out/$case.txt")"
    fi
done
if run refused --set tensorrt.max_batchsize=1; then
    bad "an unknown setting was taken"
else
    grep -q max_batch_size "$out/refused.txt" || bad "no nearest name for an unknown setting"
fi
[ "$status" -eq 0 ] && say "all checks passed"
exit $status
