#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Record what the sensors of a real GPU do: README.md tells what ends up where.
# usage: tests/gpu/probe.sh BUILD_DIR OUT_DIR
#   GPU_LOAD   a shell command that works the GPU for some seconds
set -u
[ $# -eq 2 ] || { echo "usage: tests/gpu/probe.sh BUILD_DIR OUT_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd) || exit 1
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 1
unset LLEM_NVML_LIBRARY LLEM_SYSFS # only what is real
status=0
say() { echo "$*" | tee -a "$out/summary.txt"; }
bad() { say "FAILED: $*"; status=1; }
: > "$out/summary.txt"

boards=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ')
say "nvidia-smi lists $boards boards"
nvidia-smi -q 2>&1 | grep -vi serial > "$out/nvidia-smi.txt"

"$build/llem" config > "$out/config.txt" 2>&1 || bad "llem config"

if "$build/tests/unit/sampler/nvml-edges" 10 > "$out/edges.txt" 2>&1; then
    read_boards=$(wc -l < "$out/edges.txt")
    [ "$read_boards" -eq "$boards" ] || bad "$read_boards boards read of $boards"
    nvidia-smi --query-gpu=uuid,power.draw --format=csv,noheader,nounits > "$out/power.csv" 2>&1
    awk '
        FNR == NR { split($0, p, ", "); shown[p[1]] = p[2]; next }
        $4 < 0 || $7 < $4 { print "FAILED: the counter of " $1 " reads " $4 ", then " $7; bad = 1; next }
        {
            watts = 1e-3 * ($7 - $4) / (1e-9 * ($5 - $2))
            printf "%s %.1f W by the counter, %s W by nvidia-smi\n", $1, watts, shown[$1]
            if (shown[$1] > 0 && (watts > 1.25 * shown[$1] || watts < 0.75 * shown[$1])) {
                print "FAILED: they differ by more than a quarter"
                bad = 1
            }
        }
        END { exit bad }' "$out/power.csv" "$out/edges.txt" | tee -a "$out/summary.txt"
    grep -q FAILED "$out/summary.txt" && status=1
else
    bad "nvml-edges: $(tail -1 "$out/edges.txt")"
fi

measure() {
    name=$1
    shift
    rm -rf "$out/$name"
    if "$build/llem" measure -o "$out/$name" "$@" > "$out/$name.txt" 2>&1; then
        "$build/llem" verify "$out/$name" >> "$out/verify.txt" 2>&1 || bad "llem verify $name"
    else
        bad "llem measure $name: $(tail -1 "$out/$name.txt")"
    fi
}
: > "$out/verify.txt"
measure idle --for 10
[ -z "${GPU_LOAD:-}" ] || measure load -- sh -c "$GPU_LOAD"

python=$("$here/tools/test-python" 2>/dev/null) &&
    "$python" "$here/tests/gpu/ticks.py" "$out"/idle "$out"/load > "$out/ticks.txt" 2>&1 ||
    bad "no tick periods: $(tail -1 "$out/ticks.txt" 2>/dev/null)"
[ "$status" -eq 0 ] && say "all checks passed"
exit $status
