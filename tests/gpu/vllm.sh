#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the engine vllm on a real GPU, with the settings that its CPU build refuses: README.md tells what
# ends up where.
# usage: tests/gpu/vllm.sh BUILD_DIR OUT_DIR
#   LLEM_PYTHON_VLLM   an interpreter with vLLM for CUDA (python3 unless given)
#   MODEL              see runs.sh
engine=vllm
. "$(dirname "$0")/runs.sh"
export LLEM_PYTHON_VLLM="${LLEM_PYTHON_VLLM:-python3}"
begin "$LLEM_PYTHON_VLLM"
effective() { # NAME TEXT: what vLLM made of a setting
    tr -d ' \n' < "$(ls "$out/$1"/*/*/recording/recording.json)" | grep -q "$2" || bad "$1: not in effect: $2"
}
run cpu cpu '"dtype": "float32"'
run float32 vllm '"dtype": "float32"'
run graphs vllm '"dtype": "bfloat16", "engine": {"gpu_memory_utilization": 0.5}'
run eager vllm '"dtype": "bfloat16", "engine": {"enforce_eager": true, "gpu_memory_utilization": 0.5}'
run offload vllm '"engine": {"cpu_offload_gb": 0.1}'
run prefetch vllm '"engine": {"offload_group_size": 2, "offload_num_in_group": 1, "offload_prefetch_step": 1}'
effective prefetch '"offload_group_size":2'
run fp8 vllm '"engine": {"quantization": "fp8"}'
effective fp8 '"quantization":"fp8"'
run fp8-cache vllm '"engine": {"kv_cache_dtype": "fp8"}'
effective fp8-cache '"kv_cache_dtype":"fp8'
run flash vllm '"engine": {"attention": {"backend": "FLASH_ATTN", "flash_attn_version": 2}}'
effective flash '"flash_attn_version":2'
if [ "$boards" -gt 1 ]; then
    run tensor vllm '"engine": {"tensor_parallel_size": 2, "disable_custom_all_reduce": true}'
    run pipeline vllm '"engine": {"pipeline_parallel_size": 2}'
    "$LLEM_PYTHON_VLLM" -c 'import ray' 2>/dev/null &&
        run ray vllm '"engine": {"tensor_parallel_size": 2, "distributed_executor_backend": "ray"}'
fi
exit $status
