#!/bin/bash
# SPDX-License-Identifier: MIT
#
# One byte that is not what was written, anywhere in a recording or in a result, is found by llem verify.
. "$(dirname "$0")/tap.sh"

exp=$tmp/exp
mkdir "$exp"
"$build/tests/unit/result/make-synthetic" experiment "$exp" nvml length=1 >/dev/null
say "untouched"
run llem verify "$exp"
exits 0
prints "[0-9]+ values compared, all equal"

# Offsets of a file, from its first byte to its last: all that change a value or break the file. In
# result.json that leaves out who derived it, which is not compared, and digits that a double does not have.
offsets() { # FILE COUNT
    python3 - "$1" "$2" <<'END'
import json, sys

data = open(sys.argv[1], "rb").read()
n = int(sys.argv[2])


def value(text):
    try:
        found = json.loads(text)
    except ValueError:
        return None
    found.pop("producer", None)
    return found


for k in range(n):
    at = k * (len(data) - 1) // (n - 1)
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    if not sys.argv[1].endswith("result.json") or value(changed) != value(data):
        print(at)
END
}
flip() { # FILE OFFSET
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 1]))' "$1" "$2"
}

for file in "$exp"/recording/* "$exp/result.json"; do
    name=${file#"$exp/"}
    missed= tried=0
    case $name in *.json) count=8 ;; *) count=3 ;; esac
    [ -s "$file" ] || continue
    for at in $(offsets "$file" $count); do
        tried=$((tried + 1))
        flip "$file" "$at"
        run llem verify "$exp"
        [ "$status" = 1 ] || missed="$missed $at"
        flip "$file" "$at"
    done
    [ -z "$missed" ] && [ $tried -ge $((count * 2 / 3)) ]
    report $? "$name: each of $tried changed bytes is found" || echo "# missed at$missed"
done
say "put right again"
run llem verify "$exp"
exits 0

say "a changed figure"
sed -i 's/"total_energy_j": \([0-9]\)/"total_energy_j": 9\1/' "$exp/result.json"
run llem verify "$exp"
exits 1
prints total_energy_j "which it is"
say "a changed reading"
file=$(ls "$exp"/recording/samples.raw* | head -n 1)
flip "$file" 100
run llem verify "$exp"
exits 1
complains "$(basename "$file")" "which file it is in"

done_testing
