#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Samplers through other programs: a pretended zeusd with its faults, and pretended Python packages
# whose worker does everything wrong. The runs wait more than they work, so those of a part go at once.
. "$(dirname "$0")/tap.sh"

fakes=$build/tests/fakes
source=$here/../..
mkdir -p "$tmp/nothing"
export LLEM_SYSFS=$tmp/nothing ZEUSD_SOCK_PATH=$tmp/no-socket
unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH ZEUSD_TOKEN
LLEM_PYTHON=$(python3 -c 'import sys; print(sys.executable)')
export LLEM_PYTHON
exec 7<><(:) # what every pretended daemon reads: they end with this script

daemon() { # NAME OPTION...
    mkdir -p "$tmp/$1"
    local name=$1
    shift
    "$source/tests/fakes/fake_zeusd" "$tmp/$name/socket" "$@" <&7 &
    echo $! >>"$tmp/daemons"
    wait_for 10 test -S "$tmp/$name/socket"
}
trap 'kill $(cat "$tmp/daemons") 2>/dev/null; rm -rf "$tmp"' EXIT
begin() { # NAME COMMAND ARGUMENT...: llem with the daemon of NAME
    local name=$1 verb=$2
    shift 2
    ZEUSD_SOCK_PATH=$tmp/$name/socket start "$name" llem "$verb" -o "$tmp/$name/out" --progress=none "$@"
}
reasons="[w['reason'] for w in d['measurement_warnings_detail']]"
sensor() { echo "[(s['reason'], s['charged']) for s in d['sensors'] if s['name'] == '$1'][0]"; }

# ---- zeusd ---------------------------------------------------------------------------------------

# 25 W and 5 W; the kernel's counter wraps each 20 J, and "CPU" 1 is the whole machine.
daemon sound psys=1 max_uj=20000000
begin sound measure --quick --for 2
begin named run $quick --set measurement.energy_sampler=zeus --set test.request_s=0.2
ln -s "$tmp/sound/socket" "$tmp/named/socket"
for fault in die stick reset garbage null silent; do
    daemon $fault "fault=$fault@$tmp/$fault/flag"
    begin $fault measure --quick -- sh -c "sleep 0.7; touch $tmp/$fault/flag; sleep 1.5"
done

# RAPL itself can be read: its counters are not read a second time.
mkdir -p "$tmp/sys"
cat >"$tmp/scenario" <<END
zone intel-rapl:0
  name package-0
  load idle 25
zone intel-rapl:0:0
  name dram
  load idle 5
END
"$fakes/fake-powercap" "$tmp/sys" "$tmp/scenario" >"$tmp/ready" &
echo $! >>"$tmp/daemons"
wait_for 5 test -s "$tmp/ready"
mkdir -p "$tmp/both"
ln -s "$tmp/sound/socket" "$tmp/both/socket"
LLEM_SYSFS=$tmp/sys begin both measure --quick --for 1

# A board that NVML reads as well is read once; one that NVML does not know is charged by its address.
cat >"$tmp/boards" <<END
epoch boot
board h100
  load idle 100
END
daemon board gpu=200 pci=0000:01:00.0 package=25
LLEM_NVML_LIBRARY=$fakes/libnvidia-ml.so.1 LLEM_FAKE_NVML_SCENARIO=$tmp/boards \
    begin board measure --quick --for 1 --gpus 0
daemon amd gpu=200 pci=0000:41:00.0 package=
begin amd measure --quick --for 2 --gpus 0

# ---- and what was said ------------------------------------------------------------------------------

finish sound
exits 0
json_is "$result" "d['energy_source'], d['energy_quality'], d['energy_scope']" "('zeus/counter_difference', 'measured', ['package:0', 'dram:0'])"
json_is "$result" "abs(d['total_energy_j'] - 30 * d['total_inference_time_sec']) < max(6 * d['quantities']['total_energy_j']['u_stat'], 0.3)" True
json_is "$recording" "[d_['id'] for d_ in d['domains'] if d_['sampler'] == 'zeus']" "['package:0', 'dram:0']"
json_is "$recording" "[s['describe']['skipped'] for s in d['sensors'] if s['name'] == 'zeus'][0]" "['intel-rapl:1 is no package']"
run llem verify "$(dirname "$result")"
exits 0 "every number is computed again"

finish named
exits 0
json_is "$result" "d['energy_source'], d['energy_scope']" "('zeus/counter_difference', ['package:0', 'dram:0'])"

for fault in die silent; do
    finish $fault
    exits 0
    json_is "$result" "d['total_energy_j'], d['quantities']['total_energy_j']['reason'] in ('device_lost', 'reading_gap')" "(None, True)"
done
finish stick
exits 0
json_is "$result" "d['total_energy_j'], 'counter_stuck' in $reasons" "(None, True)"
finish reset
exits 0
json_is "$result" "d['total_energy_j'], 'counter_reset' in $reasons" "(None, True)"
for fault in garbage null; do
    finish $fault
    exits 0
    json_is "$result" "d['total_energy_j'], bool(d['quantities']['total_energy_j']['reason'])" "(None, True)"
done

finish both
exits 0
json_is "$result" "d['energy_source']" "rapl/counter_difference"
json_is "$recording" "$(sensor zeus)" "('not_needed', False)"
json_is "$recording" "[s['text'] for s in d['sensors'] if s['name'] == 'zeus'][0]" "'rapl' reads the same, and more directly."

finish board
exits 0
json_is "$result" "d['energy_source'].split('/')[0]" nvml
json_is "$recording" "[(d_['kind'], d_['left_out']) for d_ in d['domains'] if d_['sampler'] == 'zeus']" "[('package', False), ('dram', False), ('gpu', True)]"
json_is "$result" "[d_['reason'] for d_ in d['energy']['domains'] if d_['sampler'] == 'zeus' and d_['kind'] == 'gpu']" "['not_needed']"

finish amd
exits 0
json_is "$result" "d['energy_scope'], abs(d['total_energy_j'] / d['total_inference_time_sec'] - 200) < 10" "(['gpu:0000:41:00.0'], True)"

say "a token is asked for"
daemon token token=secret
run env ZEUSD_SOCK_PATH="$tmp/token/socket" llem config --format=json
prints 'wants a token with read scopes'
prints 'zeusd token issue' "the remedy"
run env ZEUSD_SOCK_PATH="$tmp/token/socket" ZEUSD_TOKEN=secret llem config --format=json
prints 'Energy counters through zeusd: 1 CPU package and DRAM, 0 GPUs'

say "no zeusd and no package"
run llem config --format=json
exits 0
prints 'No zeusd at '
prints 'The Python package zeus is not installed for '
prints 'sudo zeusd serve' "how to get it"
prints 'LLEM_PYTHON_CODECARBON=' "how CodeCarbon would be found"
run llem run $quick --set measurement.energy_sampler=codecarbon
exits 1
complains "measurement.energy_sampler is 'codecarbon', which cannot be used"
complains 'pip install codecarbon' "the remedy"
run env LLEM_PYTHON_CODECARBON="$tmp/no-python" llem run $quick --set measurement.energy_sampler=codecarbon
exits 1
complains 'there is no Python interpreter'

say "an interpreter without the package, though its directory is there"
mkdir -p "$tmp/empty/codecarbon"
touch "$tmp/empty/codecarbon/emissions_tracker.py" "$tmp/empty/codecarbon/__init__.py"
run env PYTHONPATH="$tmp/empty" llem run $quick --set measurement.energy_sampler=codecarbon
exits 1
complains "sampler 'codecarbon' cannot be opened"

# ---- a worker -------------------------------------------------------------------------------------

# Python packages that measure nothing: ZeusMonitor of one board, 100 W, and what goes wrong with it.
mkdir -p "$tmp/site/zeus/monitor"
touch "$tmp/site/zeus/__init__.py" "$tmp/site/zeus/monitor/energy.py"
cat >"$tmp/site/pynvml.py" <<'END'
class Pci:
    busId = b"00000000:01:00.0"
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(i): return i
def nvmlDeviceGetUUID(h): return "GPU-pretended"
def nvmlDeviceGetPciInfo(h): return Pci
def nvmlDeviceGetCudaComputeCapability(h): return (7, 0)
END
cat >"$tmp/site/zeus/monitor/__init__.py" <<'END'
import os, subprocess, sys, time
FAULT = os.environ.get("FAULT", "")
print("noise on standard output", flush=True)
if FAULT == "import":
    raise RuntimeError("no luck")
if FAULT == "slow_import":
    open(os.environ["HOME"] + "/../importing", "w").close()
    time.sleep(1000)
if FAULT == "kill_import":
    os.kill(os.getpid(), 9)
class Result:
    cpu_energy = {}
    dram_energy = None
class Devices:
    def supports_get_total_energy_consumption(self, i):
        return True
    def get_name(self, i):
        return "pretended board"
class ZeusMonitor:
    gpus, gpu_indices, cpu_indices = Devices(), [0], []
    def __init__(self, **kw):
        self.n = 0
        if FAULT == "nothing":
            self.gpu_indices = []
        if FAULT == "grandchild":
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
    def begin_window(self, key, sync_execution=True, restart=False):
        self.n += 1
        self.t = time.monotonic()
        if FAULT == "dies" and self.n > 1:
            os._exit(3)
        if FAULT == "hangs" and self.n > 1:
            time.sleep(1000)
        if FAULT == "raises" and self.n > 1:
            raise ValueError("the board is gone")
    def end_window(self, key, sync_execution=True, cancel=False):
        r = Result()
        r.gpu_energy = {0: 100.0 * (time.monotonic() - self.t)}
        if self.n > 1 and FAULT in ("negative", "nan", "zero"):
            r.gpu_energy = {0: {"negative": -5.0, "nan": float("nan"), "zero": 0.0}[FAULT]}
        if FAULT == "dies_late" and self.n > 1:
            os._exit(3)
        return r
END
work="run $quick --set measurement.energy_sampler=zeus --set test.request_s=0.5 --set test.gpus=[GPU-pretended]"
worker() { # FAULT
    PYTHONPATH=$tmp/site LLEM_NVML_LIBRARY=$fakes/libnvidia-ml.so.1 FAULT=$1 begin "$1" $work
}
# auto starts Python where nothing of ours measures, and only there.
mkdir -p "$tmp/codecarbon"
touch "$tmp/codecarbon/emissions_tracker.py"
echo 'raise RuntimeError("started")' >"$tmp/codecarbon/__init__.py"
auto() { # NAME LIBRARY
    PYTHONPATH=$tmp/site:$tmp LLEM_NVML_LIBRARY=$2 FAULT= begin "$1" \
        run $quick --set test.request_s=0.5 --set test.gpus=[GPU-pretended]
}
auto with_nvml "$fakes/libnvidia-ml.so.1"
auto without_nvml libm.so.6
# Stopped while a package is imported.
PYTHONPATH=$tmp/site LLEM_NVML_LIBRARY=$fakes/libnvidia-ml.so.1 FAULT=slow_import begin interrupted $work
(
    wait_for 20 test -e "$tmp/importing"
    kill -TERM "$(cat "$tmp/interrupted/pid")"
) &
for fault in none dies dies_late hangs raises negative nan zero grandchild import kill_import nothing; do
    worker $fault
done

finish none
exits 0
json_is "$result" "d['energy_source'], d['energy_quality'], d['quantities']['total_energy_j']['u_sys_reason']" "('zeus/sampler_window', 'measured', 'gain_unknown')"
json_is "$result" "abs(d['total_energy_j'] - 100 * d['total_inference_time_sec']) < 2 * d['quantities']['total_energy_j']['u_stat']" True
json_is "$result" "abs(d['baseline_power_w'] - 100) < 1, d['energy_adjusted_j'] is not None" "(True, True)"
# Its window is just outside the engine's, and its own time is told.
json_is "$recording" "(lambda w, s: s['begin_ns'] <= s['t_begin_ns'] <= s['begun_ns'] <= w['t_begin_ns'] < w['t_end_ns'] <= s['ending_ns'] <= s['t_end_ns'] <= s['end_ns'])(d['window'], d['sampler_windows']['zeus'])" True
json_is "$recording" "d['sensors'][2]['describe']['interface'], d['sensors'][0]['reason']" "('worker', 'not_requested')"

for fault in dies dies_late hangs raises; do
    finish $fault
    exits 0 "the run goes on"
    json_is "$result" "d['total_energy_j'], d['quantities']['total_energy_j']['reason'], 'sampler_lost' in $reasons" "(None, 'sampler_lost', True)"
    json_is "$result" "d['total_tokens'] > 0" True
done
for fault in negative nan; do
    finish $fault
    exits 0
    json_is "$result" "d['total_energy_j'], d['quantities']['total_energy_j']['reason']" "(None, 'sensor_garbage')"
done
finish zero
exits 0
json_is "$result" "d['total_energy_j'], d['quantities']['total_energy_j']['reason']" "(None, 'counter_stuck')"
finish grandchild
exits 0
none_left "$(json "$(dirname "$result")/claim.json" "d['run_mark']")"

finish import
exits 1
complains "sampler 'zeus' cannot be opened: .*no luck"
finish kill_import
exits 1
complains 'killed by signal 9'
finish nothing
exits 1
complains 'ZeusMonitor found nothing to read on this machine'

finish interrupted
exits 143
finish with_nvml
exits 0
json_is "$recording" "$(sensor zeus), $(sensor codecarbon)" "(('not_needed', False), ('not_needed', False))"
json_is "$recording" "[s['text'] for s in d['sensors'] if s['name'] == 'zeus'][0].startswith(\"'nvml' is open\")" True
finish without_nvml
exits 0
json_is "$result" "d['energy_source']" "zeus/sampler_window"
json_is "$recording" "$(sensor zeus), $(sensor codecarbon)" "((None, True), ('not_needed', False))"

say "afterwards"
check "no worker is left" sh -c "! grep -lsa '[s]amplers/worker.py' /proc/[0-9]*/cmdline | xargs -r -n1 dirname | while read p; do tr '\\0' '\\n' <\$p/environ; done | grep -q '$tmp'"
check "the workers left no compiled files" test ! -e "$source/samplers/__pycache__"

done_testing
