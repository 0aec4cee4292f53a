#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem show, verify and config.
. "$(dirname "$0")/tap.sh"

llem run $quick -q >"$tmp/dir" 2>&1
dir=$(cat "$tmp/dir")
llem run $quick -q >"$tmp/dir" 2>&1
other=$(cat "$tmp/dir")

say "show"
run llem show "$dir"
exits 0
quiet
prints '^  model, test \(quick\)$'
prints '^  Output tokens/s'
run llem show "$dir/result.json"
exits 0
prints '^  Output tokens/s'
run llem show "$(dirname "$dir")"
exits 0
prints '^  Output tokens/s'
run llem show --json "$dir"
exits 0
check "--json is result.json" cmp "$tmp/out" "$dir/result.json"
run llem show --format=json "$dir" "$other"
check "two are a list" python3 -c "import json; assert len(json.load(open('$tmp/out'))) == 2"
run llem show -f csv "$dir" "$other"
exits 0
lines 3
check "csv has the same number of fields in each line" python3 -c "
import csv
rows = list(csv.reader(open('$tmp/out')))
assert len({len(r) for r in rows}) == 1
d = dict(zip(rows[0], rows[1]))
assert d['directory'] == '$dir' and d['engine'] == 'test' and float(d['total_inference_time_sec']) > 0
assert d['total_energy_j'] == '' and float(d['energy_estimated_j.value']) > 0
"
run llem show --format=md "$dir" "$other"
exits 0
prints '^\| Output tokens/s \| .* \| .* \|$'
check "md has three columns" sh -c "! grep -vE '^(\|[^|]*){3}\|$' '$tmp/out'"
run llem show "$dir" "$other"
exits 0
prints '^ +model, test \(quick\) +model, test \(quick\)$'
run llem show "$dir" nowhere
exits 1
silent
complains nowhere
run sh -c "llem show '$dir' >/dev/full"
exits 1
complains 'No space left'

say "emissions"
export LLEM_CARBON_INTENSITY=400 LLEM_DATACENTER_PUE=1.5
run llem run $quick -q
exits 0
green=$(cat "$tmp/out")
unset LLEM_CARBON_INTENSITY LLEM_DATACENTER_PUE
run llem verify "$green"
exits 0 "they are computed again from what the recording keeps"
json_is "$green/result.json" "d['emissions']['carbon_intensity_gco2_kwh'], d['emissions']['datacenter_pue']" "(400.0, 1.5)"
json_is "$green/result.json" "abs(d['emissions']['estimated_kg_co2']['high'] / (d['energy_estimated_j']['high'] / 3.6e6 * 0.6) - 1) < 1e-12" True
run llem show "$green" "$dir"
prints '^  Carbon dioxide +~[0-9.]+ g \([0-9.]+ .* [0-9.]+\) +(-|–|—)$'
run llem show --format=csv "$green" "$dir"
check "csv has them in kg" python3 -c "
import csv, json
one, other = csv.DictReader(open('$tmp/out'))
assert float(one['emissions.estimated_kg_co2.value']) == json.load(open('$green/result.json'))['emissions']['estimated_kg_co2']['value']
assert one['emissions.kg_co2'] == other['emissions.kg_co2'] == other['emissions.estimated_kg_co2.value'] == ''
"
run llem show --format=md "$green"
prints '^\| Carbon dioxide \| ~.* g .*\|$'
run llem show "$dir"
check "no intensity, no line" sh -c "! grep -q Carbon '$tmp/out'"
sed -i 's/"datacenter_pue": 1.5/"datacenter_pue": 1.25/' "$green/result.json"
run llem verify "$green"
exits 1 "a changed factor is found"

say "a path that leads to no result"
mkdir -p empty && echo '{}' >other.json
for path in empty other.json nowhere "$(dirname "$dir")/plan.json"; do
    for command in show verify; do
        run llem $command "$path"
        exits 1 "$command"
        silent
        complains "^hint: "
    done
done

say "a directory with several results"
mkdir -p several
cp -r "$dir" several/001_c1_one
cp -r "$other" several/002_c1_two
for command in show verify; do
    run llem $command several
    exits 1 "$command"
    silent
    complains "^llem: 'several' holds 2 experiments$"
    complains "^hint: name one of its directories, such as 'several/00[12]_c1_(one|two)'$"
done

say "in ASCII"
LC_ALL=C run llem show "$dir"
check "no byte beyond ASCII" sh -c "! LC_ALL=C grep -q '[^ -~]' '$tmp/out'"

say "verify"
run llem verify "$dir"
exits 0
prints '^[0-9]+ values compared, all equal$'
python3 - "$dir/result.json" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
open(sys.argv[1], "w").write(re.sub(r'"total_inference_time_sec": [0-9.e-]+', '"total_inference_time_sec": 1.5', text, count=1))
PY
run llem verify "$dir" "$other"
exits 1
prints '^total_inference_time_sec: stored 1.5, recomputed [0-9.]+$'
prints 'values compared, 1 differ'
prints 'all equal'
run llem verify nowhere
exits 1

say "a recording without a result"
rm "$dir/result.json"
run llem show "$dir"
exits 0
check "is derived" test -f "$dir/result.json"

say "a damaged recording"
rm "$dir/result.json"
for file in "$dir"/recording/*.zst; do echo garbage >"$file"; done
run llem show "$dir"
exits 1
check "no result" test ! -e "$dir/result.json"

say "config"
run llem config
exits 0
quiet
prints '^Engines'
prints 'cpu'
prints '^Sensors'
prints 'estimate'
prints_not ' test '
run llem config -v
exits 0
prints '^Paths'
prints "$build/llem"
prints 'output.results_dir'
printf '#!/bin/sh\nexec python3 -I -S "$@"\n' >"$tmp/bare-python"
chmod +x "$tmp/bare-python"
LLEM_PYTHON=$tmp/bare-python run llem config --format=json
exits 0
json_is "$tmp/out" "[e['name'] for e in d['engines'] if e['usable']]" "['cpu']"
json_is "$tmp/out" "[bool(s['text']) for s in d['sensors']].count(False), 'estimate' in [s['name'] for s in d['sensors'] if s['usable']]" "(0, True)"
mkdir -p "$XDG_CONFIG_HOME/llenergymeasure"
printf 'output:\n  results_dir: mine\n' >"$XDG_CONFIG_HOME/llenergymeasure/config.yaml"
LLEM_SYSFS=$tmp/nosys LLEM_SAVE_TIMESERIES=1 run llem config
prints 'output.results_dir: mine  \(file\)'
prints 'LLEM_SYSFS=.*stand-in'
run llem run $quick -q
check "the user's configuration says where results go" grep -q '^mine/study_' "$tmp/out"
printf 'output:\n  results_dri: mine\n' >"$XDG_CONFIG_HOME/llenergymeasure/config.yaml"
run llem config
exits 0
prints 'config.yaml:2:[0-9]+: .*results_dri'
run llem config --schema
exits 0
json_is "$tmp/out" "'2020-12' in d['\$schema'], 'task' in d['properties']" "(True, True)"
done_testing
