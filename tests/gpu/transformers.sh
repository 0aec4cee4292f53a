#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the engine transformers on a real GPU: README.md tells what ends up where.
# usage: tests/gpu/transformers.sh BUILD_DIR OUT_DIR
#   LLEM_PYTHON_TRANSFORMERS   an interpreter with torch for CUDA and transformers (python3 unless given)
#   MODEL                      see runs.sh
engine=transformers
. "$(dirname "$0")/runs.sh"
export LLEM_PYTHON_TRANSFORMERS="${LLEM_PYTHON_TRANSFORMERS:-python3}"
begin "$LLEM_PYTHON_TRANSFORMERS"
run cpu cpu '"dtype": "float32"'
run float32 transformers '"dtype": "float32", "batch_size": 4'
run bfloat16 transformers '"batch_size": 4'
run static transformers '"batch_size": 4, "cache_implementation": "static"'
run compiled transformers '"batch_size": 4, "torch_compile": true, "cache_implementation": "static"'
run tf32 transformers '"dtype": "float32", "batch_size": 4, "allow_tf32": true'
[ "$boards" -lt 2 ] || run parallel transformers '"batch_size": 4, "tp_plan": "auto", "tp_size": 2'
for log in "$out"/*/*/*/worker.log; do
    grep -q 'compiled inside the window' "$log" && bad "$log: compiled in the window"
done
exit $status
