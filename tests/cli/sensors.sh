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
begin() { # NAME COMMAND...: measure COMMAND on the boards of NAME's scenario, in the background
    local name=$1
    shift
    LLEM_NVML_LIBRARY=$fakes/libnvidia-ml.so.1 LLEM_FAKE_NVML_SCENARIO=$tmp/$name/scenario \
        llem measure --quick --progress=none -o "$tmp/$name/out" "$@" \
        >"$tmp/$name/stdout" 2>"$tmp/$name/stderr" </dev/null &
    echo $! >"$tmp/$name/pid"
}
finish() { # NAME
    say "$1"
    command="llem measure ($1)"
    wait "$(cat "$tmp/$1/pid")"
    status=$?
    cp "$tmp/$1/stdout" "$tmp/out"
    cp "$tmp/$1/stderr" "$tmp/err"
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
LLEM_SYSFS=$tmp/sys llem measure --quick --progress=none -o "$tmp/rapl/out" --for 2 \
    >"$tmp/rapl/stdout" 2>"$tmp/rapl/stderr" </dev/null &
echo $! >"$tmp/rapl/pid"

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
scenario refused <<EOF
init_error 4
board h100
EOF
begin refused --gpus 0 -- true

# ---- and what was said ---------------------------------------------------------------------------

finish load
exits 0
kill $follower
read -r from to <<EOF
$(json "$tmp/load/out/recording/recording.json" "f\"{d['window']['t_begin_ns']} {d['window']['t_end_ns']}\"")
EOF
truth=$("$fakes/fake-truth" "$tmp/load/scenario" 0 "$from" "$to")
# Two boards; after the end power decays with 8 ms from 450 W to 80 W, which belongs to the work.
json_is "$tmp/load/out/result.json" "abs(d['total_energy_j'] / (2 * ($truth + 370 * 0.008)) - 1) < 0.01" True
json_is "$tmp/load/out/result.json" "d['energy_quality']" measured
json_is "$tmp/load/out/result.json" "[w['reason'] for w in d['measurement_warnings_detail'] if w['reason'] == 'sensor_faked']" "['sensor_faked']"

finish rapl
exits 0
kill $powercap
# 30 W over 2 s; the counter wraps each 20 J. psys and the twin are not added.
json_is "$tmp/rapl/out/result.json" "abs(d['total_energy_j'] - 60) < 1" True
json_is "$tmp/rapl/out/recording/recording.json" \
    "sorted(d['domains'][i]['id'] for i in d['charged']['domains'])" "['dram:0', 'package:0']"

reasons="[w['reason'] for w in d['measurement_warnings_detail']]"
finish lost
exits 0 "the command's own status"
json_is "$tmp/lost/out/result.json" "d['total_energy_j'], 'device_lost' in $reasons" "(None, True)"

for name in stuck reset jump; do
    finish $name
    exits 0 "the command's own status"
    json_is "$tmp/$name/out/result.json" "'counter_$name' in $reasons" True
    # The averaged power still tells: 100 W over 1.5 s. Nothing else may stand there.
    json_is "$tmp/$name/out/result.json" \
        "d['total_energy_j'] is None or abs(d['total_energy_j'] / d['quantities']['total_energy_j']['value'] - 1) < 1e-9 and 120 < d['total_energy_j'] < 200" True
    json_is "$tmp/$name/out/result.json" "'counter' in str(d['quantities']['total_energy_j']['source'])" False
done

finish garbage
exits 0 "the command's own status"
json_is "$tmp/garbage/out/result.json" "d['total_energy_j']" None
json_is "$tmp/garbage/out/result.json" "bool(d['quantities']['total_energy_j']['reason'])" True

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
