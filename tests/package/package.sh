#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What a release has, as tools/package builds it: the wheel in an environment without torch whose path has
# spaces, the source archive in another, and what is said where another distribution has the same names.
mapfile -d '' -t outside < <(env -0) # pip and tools/test-python need the user's settings
. "$(dirname "$0")/../cli/tap.sh"
root=$here/../..
PATH=${PATH#"$build:"} # the program of the packages, never that of the build

built() { # COMMAND...: as run, with the environment of outside and more time
    command=$*
    env -i "${outside[@]}" timeout -s KILL 500 "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    status=$?
}

say "tools/package"
built "$root/tools/package" "$tmp/dist"
exits 0 || { done_testing; exit; }
sed 's/^/# /' "$tmp/out"
wheel=$(echo "$tmp"/dist/llem-*.whl)
archive=$(echo "$tmp"/dist/llem-*.tar.gz)
check "the wheel is for any Python 3 and a glibc not newer than this one" python3 -c 'import os, re, sys
tag = re.search(r"/llem-[\d.]+-py3-none-manylinux_2_(\d+)_\w+\.whl$", sys.argv[1])
assert int(tag.group(1)) <= int(os.confstr("CS_GNU_LIBC_VERSION").rpartition(".")[2])' "$wheel"
mkdir "$tmp/wheel" && (cd "$tmp/wheel" && python3 -m zipfile -e "$wheel" .)
native=$tmp/wheel/llenergymeasure/_native
needed() { readelf -d "$native/$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' '; }
check "libllem needs the C library alone" test "$(needed libllem.so.0)" = "libc.so.6 libm.so.6 "
check "the program needs it and libllem alone" test "$(needed llem)" = "libc.so.6 libllem.so.0 libm.so.6 "
nm -D --defined-only "$native/libllem.so.0" >"$tmp/out"
prints ' T llem_run_experiment$'
prints_not '^[0-9a-f]+ . [^l]|^[0-9a-f]+ . l[^l]' 'any symbol of the libraries inside'
for name in libfyaml zstd pcre2 jansson; do
    check "the licence of $name is in it" test -s "$tmp"/wheel/llem-*.dist-info/licenses/python/licenses/$name.txt
done
# Meson names a folder that it installs whole, and not what is in it.
meson introspect --installed "$build" | python3 -c 'import json, sys
for path in json.load(sys.stdin).values():
    print(path.partition("/share/llem/")[2])' | sed '/^$/d' | sort >"$tmp/data"
find "$native/share/llem" -type f -printf '%P\n' | sed 's,^\(models/sample\)/.*,\1,' | sort -u >"$tmp/out"
check "it has the data of an installation" diff "$tmp/data" "$tmp/out"
check "with the sample model" test -s "$native/share/llem/models/sample/model.safetensors"

say "the wheel"
env=$tmp/an\ environment
python3 -m venv "$env"
site=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
sample=$site/llenergymeasure/_native/share/llem/models/sample
built "$env/bin/pip" install "$wheel"
exits 0
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$root/meson.build")
commit=$(git -C "$root" rev-parse --short=12 HEAD)
run "$env/bin/llem" --version
exits 0
prints "^llem $version \\($commit\\)\$" "version and commit"
run "$env/bin/python" -m llenergymeasure --version
prints "^llem $version \\($commit\\)\$" "the same as a module"
run "$env/bin/python" -c 'import llenergymeasure; print(llenergymeasure.__version__)'
exits 0
prints "^$version\$"
quiet
run "$env/bin/python" -c 'import torch'
exits 1 "for torch is not in it"
run "$env/bin/python" -c 'import llenergymeasure, sys
result = llenergymeasure.run_experiment(
    model=sys.argv[1], engine="cpu", dataset="builtin", n_prompts=2, output_dir="results")
print(result.total_tokens)' "$sample"
exits 0
prints '^[1-9][0-9]*$'
run "$env/bin/llem" run --no-such-option
exits 2
run "$env/bin/llem" run -m "$sample" -e cpu -d builtin -n 3 --quick
exits 0
prints 'Energy'
run "$env/bin/llem" verify results/study_*
exits 0
check "man finds its page" test -s "$env/share/man/man1/llem.1"
run "$env/bin/llem" config --format=json # lines are not folded there
prints '\(the environment of llem\)' "that engines run where it is installed"
run env VIRTUAL_ENV="$tmp/other" "$env/bin/llem" config --format=json
prints 'VIRTUAL_ENV chose it' "that they run in the active environment"

say "the process"
mkdir "$tmp/engines" && cp -r "$root/engines/test" "$tmp/engines"
export LLEM_PLUGIN_PATH=$tmp/engines # what is hidden is not installed
begin() { # PROGRAM COMMAND...: $pid, $mark, once the engine loads; COMMAND sets how signals are taken
    local program=$1
    shift
    command="llem run $quick"
    rm -rf results
    "$@" setsid "$program" run $quick --set test.load_s=30 --progress=json >"$tmp/out" 2>"$tmp/err" </dev/null &
    pid=$!
    wait_for 20 grep -q '"step_start", "step": "model"' "$tmp/err"
    mark=$(json results/study_*/001_*/claim.json "d['run_mark']")
    ignored=$(sed -n 's/^SigIgn:[[:space:]]*//p' "/proc/$pid/status")
}
finish() { # SIGNAL PROCESS
    kill "-$1" -- "$2"
    wait "$pid"
    status=$?
}
begin "$env/bin/llem" env --default-signal=INT
check "is the program: no Python stays" test "/proc/$pid/exe" -ef "$site/llenergymeasure/_native/llem"
finish INT "-$pid" # to the whole group, as a terminal does
exits 130 "after Ctrl-C"
complains_not Traceback
none_left "$mark"
through=$ignored
begin "$site/llenergymeasure/_native/llem" env --default-signal=INT
finish TERM "$pid"
check "it ignores no other signals than the program alone" test "$through" = "$ignored"
begin "$env/bin/llem" env --ignore-signal=INT
kill -INT "$pid"
sleep 0.5
check "SIGINT stays ignored where it was" kill -0 "$pid"
finish TERM "$pid"
exits 143
none_left "$mark"

say "moved elsewhere"
mkdir "$tmp/vendor" && cp -r "$site"/{_llem.py,llenergymeasure} "$tmp/vendor"
run env PYTHONPATH="$tmp/vendor" "$env/bin/python" -m llenergymeasure run -m "$sample" -e cpu -d builtin -n 3 --quick -q
exits 0
rm "$tmp/vendor/llenergymeasure/_native/llem"
run env PYTHONPATH="$tmp/vendor" "$env/bin/python" -m llenergymeasure --version
exits 1 "without its program"
complains "^llem: the program .*/_native/llem is missing\\. Install the package again"

say "removed"
run "$env/bin/pip" uninstall -y llem
exits 0
find "$env" -iname '*llem*' -o -name 'llenergymeasure*' >"$tmp/out"
silent

pip() { built "$env/bin/pip" "$@"; }
other() { # NAME VERSION FILE...: install such a distribution
    python3 "$here/other_wheel.py" "$tmp" "$@"
    pip install --no-index --no-deps "$tmp/$1-$2-py3-none-any.whl"
}
mixed="is installed beside llem and has the same import name"

say "LLenergyMeasure was there first"
other llenergymeasure 0.7.0 llenergymeasure/__init__.py llenergymeasure/cli.py llem
pip install "$wheel"
run "$env/bin/python" -c 'import llenergymeasure'
exits 1
complains "^ImportError: llenergymeasure 0\\.7\\.0 $mixed"
complains 'pip uninstall llenergymeasure llem, then install the one wanted'
run "$env/bin/llem" --version
exits 1
silent
complains "^llem: llenergymeasure 0\\.7\\.0 $mixed"
complains_not Traceback
pip uninstall -y llenergymeasure llem
pip install "$wheel"
run "$env/bin/llem" --version
exits 0 "once the remedy was followed"

say "another distribution with a module in the package"
other someones_fork 1.2 llenergymeasure/extra.py
run "$env/bin/python" -c 'import llenergymeasure'
exits 1
complains "^ImportError: someones_fork 1\\.2 $mixed"
pip uninstall -y someones_fork
run "$env/bin/python" -c 'import llenergymeasure'
exits 0 "without it"

say "another distribution with the command"
other commander 3.0 commander.py llem
pip install --force-reinstall --no-deps "$wheel"
run "$env/bin/llem" --version
exits 1
complains "^llem: commander 3\\.0 $mixed"
run "$env/bin/python" -c 'import llenergymeasure'
exits 0 "for the import is whole"
pip uninstall -y commander

say "distributions with names that only begin alike"
other llenergymeasure_extras 1.0 llenergymeasure_extras/__init__.py
other llem_helper 1.0 llem_helper.py
pip install --force-reinstall --no-deps "$wheel"
run "$env/bin/llem" --version
exits 0
run "$env/bin/python" -c 'import llenergymeasure'
exits 0

say "a file that no distribution has"
touch "$site/llenergymeasure/notes.txt"
run "$env/bin/python" -c 'import llenergymeasure'
exits 0

say "the source archive"
env=$tmp/from\ source
python3 -m venv "$env"
built "$env/bin/pip" install "$archive"
exits 0
run "$env/bin/llem" --version
prints "^llem $version \\($commit\\)\$" "version and commit"
run "$env/bin/llem" run -m "$native/share/llem/models/sample" -e cpu -d builtin -n 3 --quick -q
exits 0
run "$env/bin/python" -c 'import llenergymeasure; print(llenergymeasure.__version__)'
prints "^$version\$"
done_testing
