#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Models, datasets, results and places that are not what they should be: one sentence, a remedy, the right
# exit status, and never a wait for what does not come.
. "$(dirname "$0")/tap.sh"

sample=$here/../../examples/sample-model
options="-e cpu --quick -n 2 --set task.max_output_tokens=4 -q"

model() { # a fresh copy of the sample model in ./m
    rm -rf m
    cp -r "$sample" m
}

refused() { # STATUS SENTENCE HINT
    exits "$1"
    silent
    complains "$2"
    complains "^hint: .*$3"
    check "says it in two lines" test "$(wc -l <"$tmp/err")" = 2
}

say "a model that is a file"
model
run llem run -m m/config.json -d builtin $options
refused 1 "m/config.json' is a file, not a directory" 'config.json, the weights'

say "a model that is a path to nothing"
run llem run -m ./nowhere -d builtin $options
refused 1 'no model.*nowhere' 'config.json'

for file in config.json tokenizer.json model.safetensors; do
    say "$file is a pipe that nobody writes"
    model
    rm "m/$file"
    mkfifo "m/$file"
    run timeout 20 llem run -m m -d builtin $options
    exits 1
    complains "$file' is no regular file|$file': it is no regular file"
    say "$file is empty"
    model
    : >"m/$file"
    run llem run -m m -d builtin $options
    exits 1
    complains "$file"
    say "$file is cut short"
    model
    head -c 900 "$sample/$file" | head -c $(($(stat -c %s "$sample/$file") / 2)) >"m/$file"
    run llem run -m m -d builtin $options
    exits 1
    complains "$file"
    say "$file never ends"
    model
    ln -sf /dev/zero "m/$file"
    run timeout 20 llem run -m m -d builtin $options
    exits 1
    complains "$file.*no regular file"
done

say "numbers no model has"
for setting in '"hidden_size": 1000000000000' '"hidden_size": -1' '"hidden_size": "\\u001b[31m"' \
    '"vocab_size": 2000000000' '"num_hidden_layers": 2000000000'; do
    model
    sed -i "s/${setting%%:*}: [0-9]*/$setting/" m/config.json
    run llem run -m m -d builtin $options
    exits 1
    complains "config.json: $(echo "${setting%%:*}" | tr -d '"') is no whole number from 1 to"
    complains_not "$(printf '\033')" "in the model's colours"
done

say "datasets with nothing in them"
: >e.jsonl
: >e.txt
echo '[]' >e.json
for file in e.jsonl e.txt e.json; do
    run llem run -m "$sample" -d $file $options
    refused 2 "2 prompts are asked for.*$file' has 0" '-d builtin'
done
say "a dataset that is too short"
echo one >e.txt
run llem run -m "$sample" -d e.txt $options
refused 2 "e.txt' has 1" 'at most 1 \(-n 1\)'
say "a dataset that is not there"
run llem run -m "$sample" -d ./gone.jsonl $options
refused 1 "gone.jsonl.*No such file" '-d builtin'
say "a dataset that is a pipe that nobody writes"
mkfifo p.jsonl
run timeout 20 llem run -m "$sample" -d p.jsonl $options
exits 1
complains "p.jsonl': it is no regular file"

say "a model's directory where the configuration should be"
run llem run "$sample"
exits 2
complains 'given with -m'

say "an argument that is no UTF-8"
run llem run -m "$(printf 'a\377b')" -e cpu -d builtin
exits 2
complains '^llem: -m: the value of task.model is not valid UTF-8$'
check "complains once" test "$(wc -l <"$tmp/err")" = 1
run llem run "$(printf 'a\377b.yaml')"
exits 2

say "a directory with a space, a line break and no UTF-8 in its name"
odd=$(printf 'sp ace\nand \377')
run llem run $quick -q -o "$odd"
exits 0
run llem show "$odd"/study_*
exits 0
check "the study's files are JSON" python3 - "$odd" <<'PYTHON'
import json, pathlib, sys
files = list(pathlib.Path(sys.argv[1]).rglob("*.json"))
assert files
for f in files:
    json.loads(f.read_text(encoding="utf-8"))
PYTHON

say "what is no result"
mkdir -p empty
echo '{}' >other.json
mkfifo pipe
for what in empty nowhere other.json pipe /dev/zero ""; do
    for command_name in show verify; do
        run timeout 20 llem $command_name "$what"
        check "llem $command_name '$what' fails" test "$status" = 1 -o "$status" = 2
        silent
        complains "^hint: .*directory"
    done
done

say "a result that was changed"
run llem run $quick -q
dir=$(cat "$tmp/out")
for change in 's/"output": [0-9]*/"output": 1/' 's/"schema_version": "3.0"/"schema_version": "2.9"/' \
    's/"measurement_config_hash": "./&0/'; do
    rm -rf changed
    cp -r "$dir" changed
    sed -i "0,/${change#s/}" changed/result.json 2>/dev/null || sed -i "$change" changed/result.json
    check "the file differs" sh -c "! cmp -s '$dir/result.json' changed/result.json"
    run llem verify changed
    exits 1
    prints 'stored .*, recomputed |differ'
done
for file in "$dir"/recording/*; do
    rm -rf changed
    cp -r "$dir" changed
    : >"changed/recording/$(basename "$file")"
    run llem verify changed
    [ "$status" = 1 ] && grep -q "$(basename "$file")" "$tmp/err" || break
done
check "every file of the recording is missed when it is emptied" test "$status" = 1

say "without rights"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    chmod 755 "$tmp" "$tmp/work" "$HOME"
    mkdir -p locked
    rm -rf locked/result
    cp -r "$dir" locked/result
    rm locked/result/result.json
    if $nobody llem --version >/dev/null 2>&1; then
        run $nobody llem run $quick -o locked/results
        refused 1 'locked/results.*Permission denied' '-o DIR'
        run $nobody llem show locked/result
        refused 1 'locked/result/.*Permission denied' 'copy'
    else
        skip "exits 1" "the program is where only root may go"
    fi
else
    skip "exits 1" "needs root and setpriv"
fi

say "without HOME"
run env -u HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME llem run $quick -q
exits 0
quiet
run env -i "$build/llem" config
exits 0
quiet

say "where the directory is gone"
mkdir -p gone
run sh -c "cd gone && rmdir ../gone && llem run $quick"
exits 1
silent
complains 'results.*No such file'
complains '^hint: .*-o DIR'
done_testing
