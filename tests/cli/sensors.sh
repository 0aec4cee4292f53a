#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The unmodified program on pretended sensors: what it says against what was truly consumed, and what
# becomes of a sensor that fails inside the window. The runs wait more than they work, so all go at once.
. "$(dirname "$0")/tap.sh"

fakes=$build/tests/fakes
scenario() { # NAME: standard input
    mkdir -p "$tmp/$1"
    cat >"$tmp/$1/scenario"
}
board() { # NAME COMMAND...: on the boards of NAME's scenario, in the background
    LLEM_NVML_LIBRARY=$fakes/libnvidia-ml.so.1 LLEM_FAKE_NVML_SCENARIO=$tmp/$1/scenario start "$@"
}
begin() { # NAME COMMAND...: measure COMMAND
    local name=$1
    shift
    board "$name" llem measure --quick --progress=none -o "$tmp/$name/out" "$@"
}
# A command of 1.5 s whose second half begins with a flag.
halves() { echo "sleep 0.7; touch $tmp/$1/flag; sleep 0.8"; }

# ---- what is measured -------------------------------------------------------------------------

scenario load <<EOF
epoch boot
board h100 2
  gain 1
  load trace $tmp/load/trace
EOF
"$fakes/fake-load" "$tmp/load/trace" 80 "$tmp/load/busy=450" &
follower=$!
wait_for 5 test -s "$tmp/load/trace"
begin load --gpus 0,1 -- sh -c "touch $tmp/load/busy; sleep 2; rm $tmp/load/busy"

# An engine on one of two boards. Power follows the CPU time of the run; this shell is a stranger there.
uuid=GPU-fa4e0000-0000-0000-0000-000000000000
scenario engine <<EOF
epoch boot
board h100 2
  gain 1
  persistence off
  load trace $tmp/engine/trace
  process self 500000000
  process $$ 1000000
EOF
board engine sh -c "until test -s '$tmp/engine/trace'; do sleep 0.05; done
    llem run $quick -n 20 --progress=none -o '$tmp/engine/out' --set test.busy=true --set test.request_s=0.1 \
        --set 'test.gpus=[$uuid]' --set test.peak_memory_bytes=3000000000 --set task.max_output_tokens=64"
"$fakes/fake-load" "$tmp/engine/trace" 80 --tree "$(cat "$tmp/engine/pid")" 400 &
engine_follower=$!

# Two processes of a worker, each on a board of its own.
scenario ranks <<EOF
epoch boot
board h100 2
  gain 1
  load idle 100
EOF
LLEM_PLUGIN_PATH=$here/../fakes/worker board ranks \
    llem run -m ./model -e scripted -d builtin -n 3 --quick --progress=none -o "$tmp/ranks/out" --set scripted.request_s=0.5 \
    --set "scripted.gpus=$uuid ${uuid%0}1"

mkdir -p "$tmp/sys"
scenario rapl <<EOF
zone intel-rapl:0
  name package-0
  max_uj 20000000
  start_uj 19000000
  load idle 25
zone intel-rapl:0:0
  name dram
  load idle 5
zone intel-rapl:1
  name psys
  load idle 90
zone intel-rapl-mmio:0
  name package-0
  load idle 25
EOF
"$fakes/fake-powercap" "$tmp/sys" "$tmp/rapl/scenario" >"$tmp/rapl/ready" &
powercap=$!
wait_for 5 test -s "$tmp/rapl/ready"
LLEM_SYSFS=$tmp/sys start rapl llem measure --quick --progress=none -o "$tmp/rapl/out" --for 2

LLEM_SYSFS=$tmp/sys start cpu llem run "$here/../../examples/quickstart.yaml" -n 50 --quick --progress=none -o "$tmp/cpu/out"

# ---- what goes wrong ---------------------------------------------------------------------------

fault() { # NAME FAULT...: of an idle board at 100 W
    local name=$1
    shift
    scenario "$name" <<EOF
epoch boot
board h100
  gain 1
  load idle 100
  fault $*
EOF
    begin "$name" --gpus 0 -- sh -c "$(halves "$name")"
}
fault lost lost "@$tmp/lost/flag"
fault stuck stuck "@$tmp/stuck/flag"
fault reset reset "@$tmp/reset/flag"
fault jump jump "@$tmp/jump/flag" 90000000
fault garbage garbage "@$tmp/garbage/flag"
fault throttle throttle "@$tmp/throttle/flag"
scenario refused <<EOF
init_error 4
board h100
EOF
begin refused --gpus 0 -- true

scenario missing <<EOF
board h100 2
EOF
begin missing --gpus 0,7 -- sh -c "touch $tmp/missing/ran"

# result.json has every field of the original by its name and type; of them exactly these are null.
fields() { # RESULT NULL...
    local got rc
    got=$(python3 "$here/result_fields.py" "$1" 2>"$tmp/err")
    rc=$?
    command="result_fields.py $1"
    shift
    report $rc "every field of the original is there"
    [ "$got" = "$(printf '%s\n' "$@")" ]
    report $? "null are those that nobody here can know" || echo "$got" | sed 's/^/# null: /'
}
process=process_results.0
memory=extended_metrics.memory
use=extended_metrics.gpu_utilisation
batch=extended_metrics.batch
cache=extended_metrics.kv_cache

# ---- and what was said ---------------------------------------------------------------------------

finish load
exits 0
kill $follower
read -r from to <<EOF
$(json "$recording" "f\"{d['window']['t_begin_ns']} {d['window']['t_end_ns']}\"")
EOF
truth=$("$fakes/fake-truth" "$tmp/load/scenario" 0 "$from" "$to")
# Two boards; after the end power decays with 8 ms from 450 W to 80 W, which belongs to the work.
json_is "$result" "abs(d['total_energy_j'] / (2 * ($truth + 370 * 0.008)) - 1) < 0.01" True
json_is "$result" "d['energy_quality']" measured
json_is "$result" "[w['reason'] for w in d['measurement_warnings_detail'] if w['reason'] == 'sensor_faked']" "['sensor_faked']"

json_is "$result" \
    "d['multi_gpu']['num_gpus'], d['multi_gpu']['energy_per_gpu_j'] == d['energy_per_device_j'], sum(d['energy_per_device_j']) == d['total_energy_j']" \
    "(2, True, True)"
# 80 W of two boards, before the work.
json_is "$result" "abs(d['baseline_power_w'] - 160) < 4 * d['quantities']['baseline_power_w']['u_stat']" True

finish engine
exits 0
kill $engine_follower
read -r from to <<EOF
$(json "$recording" "f\"{d['window']['t_begin_ns']} {d['window']['t_end_ns']}\"")
EOF
truth=$("$fakes/fake-truth" "$tmp/engine/scenario" 0 "$from" "$to")
json_is "$result" "d['energy_quality'], d['energy_source'], d['energy_scope']" "('measured', 'nvml/counter_ticks', ['gpu:$uuid'])"
# The trace follows the CPU time with a lag, and there is the decay after the end.
json_is "$result" "abs(d['total_energy_j'] / $truth - 1) < 0.03" True
json_is "$result" "d['energy_per_device_j'] == [d['total_energy_j']], d['multi_gpu']" "(True, None)"
json_is "$result" "d['quantities']['emissions.kg_co2']['reason']" no_carbon_intensity
# No MIG, no RAPL, no intensity of the grid, and an engine for tests that tells of no batches and no cache.
fields "$result" steady_state_window multi_gpu warmup_excluded_samples $process.gpu_mig_profile \
    $process.energy_metrics.{cpu_energy_j,ram_energy_j,cpu_power_w,emissions_kg_co2} \
    $memory.{kv_cache_mb,kv_cache_memory_ratio} $use.memory_bandwidth_utilisation \
    $batch.{effective_batch_size,batch_utilisation,padding_overhead,num_batches} \
    $cache.{kv_cache_hit_rate,kv_cache_blocks_used,kv_cache_blocks_total}
mkdir "$tmp/boards"
"$build/tests/unit/result/make-synthetic" experiment "$tmp/boards" nvml gpus=3 >/dev/null
say "three boards and an engine that tells of its batches"
fields "$tmp/boards/result.json" steady_state_window warmup_excluded_samples $process.gpu_mig_profile \
    $process.energy_metrics.{cpu_energy_j,ram_energy_j,cpu_power_w,emissions_kg_co2} \
    $memory.{kv_cache_mb,kv_cache_memory_ratio} $use.memory_bandwidth_utilisation \
    $cache.{kv_cache_hit_rate,kv_cache_blocks_used,kv_cache_blocks_total}
say engine
json_is "$result" "d['extended_metrics']['memory']['total_vram_mb']" 81920.0
json_is "$result" "[k for k in ('peak_memory_mb', 'model_memory_mb', 'inference_memory_mb', 'tokens_per_gb_vram', 'model_memory_utilisation') if not d['extended_metrics']['memory'][k]]" "[]"
json_is "$result" "d['phases']['occupancy']['max_in_flight']" 1
json_is "$result" "sorted(w['reason'] for w in d['measurement_warnings_detail'] if w['reason'] in ('gpu_persistence_mode_off', 'foreign_process', 'sensor_faked'))" \
    "['foreign_process', 'gpu_persistence_mode_off', 'sensor_faked']"
json_is "$result" "[w['text'] for w in d['measurement_warnings_detail'] if w['reason'] == 'foreign_process']" \
    "['Process $$, not of this run, used the device.']"
environment=$(dirname "$result")/environment.json
json_is "$environment" "[v for k, v in d['hardware']['gpu'].items() if k != 'pcie_gen']" "['NVIDIA H100 80GB HBM3', 81920.0, '9.0', False]"
json_is "$environment" "sorted(k for g in d['environment']['gpus'] for k, v in g.items() if v is None)" "[]"
json_is "$environment" "[d['hardware']['thermal'][k] > 0 for k in ('temperature_c', 'power_limit_w', 'default_power_limit_w')], d['hardware']['cuda']['version'], d['cuda_version']" \
    "([True, True, True], '12.4', '12.4')"

finish ranks
exits 0
parts="[p['energy_metrics']['total_energy_j'] for p in d['process_results']]"
json_is "$result" "d['aggregation']['method'], d['aggregation']['num_processes'], d['aggregation']['gpu_attribution_verified'], d['aggregation']['warnings']" "('sum_energy_wall_throughput', 2, True, [])"
json_is "$result" "$parts == d['energy_per_device_j'], abs(sum($parts) / d['total_energy_j'] - 1) < 1e-12, [p['gpu_id'] for p in d['process_results']]" "(True, True, [0, 1])"
# 100 W each over 1.5 s and the batch's sleep.
json_is "$result" "[abs(e / d['total_inference_time_sec'] - 100) < 5 for e in $parts]" "[True, True]"
run llem verify "$(dirname "$result")"
exits 0 "every number is computed again"
sed -i "s/\"process_index\": 1/\"process_index\": 2/" "$result"
run llem verify "$(dirname "$result")"
exits 1 "a changed process is found"
prints "process_results.1.process_index"

finish rapl
exits 0
# 30 W over 2 s; the counter wraps each 20 J. psys and the twin are not added.
json_is "$result" "abs(d['total_energy_j'] - 60) < 1" True
json_is "$recording" \
    "sorted(d['domains'][i]['id'] for i in d['charged']['domains'])" "['dram:0', 'package:0']"
json_is "$result" "d['quantities']['total_energy_j']['u_sys'], d['quantities']['total_energy_j']['u_sys_reason']" \
    "(None, 'gain_unknown')"

finish cpu
exits 0
kill $powercap
json_is "$result" "d['energy_quality'], d['energy_scope'], abs(d['energy']['mean_power_w'] - 30) < 2" \
    "('measured', ['package:0', 'dram:0'], True)"
json_is "$result" "[k for k, v in d['energy_breakdown'].items() if v is None]" "[]"
json_is "$result" "[k for k, v in d['latency_stats'].items() if v is None]" "[]"
fields "$result" steady_state_window multi_gpu warmup_excluded_samples \
    $process.{gpu_id,gpu_name,gpu_is_mig,gpu_mig_profile} \
    $process.energy_metrics.{gpu_energy_j,gpu_power_w,emissions_kg_co2} thermal_throttle \
    $memory.{total_vram_mb,model_memory_utilisation} \
    $use.{sm_utilisation_mean,memory_bandwidth_utilisation} $batch.padding_overhead \
    $cache.{kv_cache_blocks_used,kv_cache_blocks_total}
# What a CPU without a throttle counter, a paged cache, padding or a known peak rate cannot tell; and
# nothing else.
json_is "$result" "[k for k in d if d[k] is None]" \
    "['steady_state_window', 'multi_gpu', 'warmup_excluded_samples', 'thermal_throttle', 'energy_estimated_j', 'energy_estimated']"
json_is "$result" "sorted(k for part in d['extended_metrics'].values() if part and not isinstance(part, float) for k, v in part.items() if v is None)" \
    "['kv_cache_blocks_total', 'kv_cache_blocks_used', 'memory_bandwidth_utilisation', 'model_memory_utilisation', 'padding_overhead', 'sm_utilisation_mean', 'total_vram_mb']"
json_is "$result" "[p for p, q in d['quantities'].items() if q['value'] is None]" \
    "['emissions.kg_co2', 'flops.mfu']"

reasons="[w['reason'] for w in d['measurement_warnings_detail']]"
finish lost
exits 0 "the command's own status"
json_is "$result" "d['total_energy_j'], 'device_lost' in $reasons" "(None, True)"

for name in stuck reset jump; do
    finish $name
    exits 0 "the command's own status"
    json_is "$result" "'counter_$name' in $reasons" True
    # The averaged power still tells: 100 W over 1.5 s. Nothing else may stand there.
    json_is "$result" \
        "d['total_energy_j'] is None or abs(d['total_energy_j'] / d['quantities']['total_energy_j']['value'] - 1) < 1e-9 and 120 < d['total_energy_j'] < 200" True
    json_is "$result" "'counter' in str(d['quantities']['total_energy_j']['source'])" False
done

finish garbage
exits 0 "the command's own status"
json_is "$result" "d['total_energy_j']" None
json_is "$result" "bool(d['quantities']['total_energy_j']['reason'])" True

finish throttle
exits 0 "the command's own status"
json_is "$result" "d['thermal_throttle']['thermal'], d['thermal_throttle']['sw_thermal'], d['thermal_throttle']['detected'], 0.7 < d['thermal_throttle']['throttle_duration_sec'] <= d['total_inference_time_sec'], 'throttled_thermal' in $reasons" \
    "(True, True, True, True, True)"
json_is "$result" "len(d['thermal_throttle']['throttle_timestamps']) > 2 and d['thermal_throttle']['throttle_timestamps'][0] > 0.6" True

finish missing
exits 2
complains "there is no GPU '7' here"
complains '0 = NVIDIA H100 80GB HBM3 .GPU-fa4e.*, 1 = ' "which there are"
check "nothing was run" test ! -e "$tmp/missing/ran"

say "measure --gpus without NVML"
run llem measure --quick --gpus all -- true
exits 1
complains '^llem: --gpus: no GPU can be read here\. '
complains 'docker run --gpus all|llem config' "the remedy"

finish refused
check "it does not succeed" test "$status" -ne 0
complains 'may not use the NVIDIA devices|llem config'
check "no result is left half written" test ! -e "$tmp/refused/out/result.json"

say "llem config"
run env LLEM_NVML_LIBRARY="$fakes/libnvidia-ml.so.1" LLEM_FAKE_NVML_SCENARIO="$tmp/refused/scenario" llem config
exits 0
prints 'This user may not use the NVIDIA devices'
prints 'docker run' "the remedy"
prints 'LLEM_NVML_LIBRARY' "that a stand-in is in force"

done_testing
