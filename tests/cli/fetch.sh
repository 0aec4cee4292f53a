#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem fetch against a hub that stands on this machine and does wrong what it is told to
# (tests/support/hub_server.py): what arrives is whole and where the Hugging Face tools keep it, and whatever
# goes wrong is one sentence that says what to do.
. "$(dirname "$0")/tap.sh"

hub=$tmp/hub
models=$here/../data/models
mkdir -p "$hub/datasets/AIEnergyScore/text_generation/data"
for name in tiny gated private hostile; do
    mkdir -p "$hub/models/org/$name"
    cp "$models/llama/"* "$hub/models/org/$name"
done
cp "$models/llama/config.json" "$hub/models/org/tiny/pytorch_model.bin" # a second copy of the weights
echo x >"$hub/models/org/tiny/model.gguf"
mkdir "$hub/models/org/tiny/onnx" "$hub/models/org/tiny/notes"
echo x >"$hub/models/org/tiny/onnx/model.onnx"
: >"$hub/models/org/tiny/notes/a b%.txt"
serve_hub
cache=$HF_HOME/hub
repo=$cache/models--org--tiny
commit=$(printf models/org/tiny | sha1sum | cut -d' ' -f1)

anew() { # WHAT: nothing is here yet
    say "$1"
    rm -rf "$HF_HOME" "$hub/log" "$hub/faults"
}
faults() { printf '%s\n' "$@" >"$hub/faults"; }
whole() { # every file of org/tiny that should be here is, and is what the hub has
    check "everything is there" sh -c "cd '$repo/snapshots/$commit' && [ \$(find . -type l | wc -l) = 4 ] &&
        for f in config.json tokenizer.json model.safetensors 'notes/a b%.txt'; do
            cmp \"\$f\" \"$hub/models/org/tiny/\$f\" || exit 1
        done"
}
none_half() { check "nothing half-written" sh -c "! find '$HF_HOME' -name '*.incomplete' -o -name '*.tmp' | grep -q ."; }
part() { ls "$repo"/blobs/*.incomplete; }
not_found_by_run() {
    check "a revision that is not whole is not found" test ! -e "$repo/refs/main"
}

anew "a model"
run llem fetch -m org/tiny
exits 0
prints "commit $commit"
prints "^  $repo/snapshots/$commit\$"
complains "org/tiny: 4 files, 0\\.4 MB, fetched"
whole
none_half
check "branch main is known" test "$(cat "$repo/refs/main")" = "$commit"
check "links are relative" test "$(readlink "$repo/snapshots/$commit/notes/a b%.txt")" = ../../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
check "second copies of the weights stay on the hub" sh -c "! grep -E 'pytorch_model|gguf|onnx' '$hub/log'"
rm "$hub/log"
run llem fetch -m org/tiny@v1 --json --progress=none
exits 0
quiet
json_is "$tmp/out" "[(x['kind'], x['id'], x['revision'], x['commit'], x['files'], x['fetched_bytes']) for x in d]" \
    "[('model', 'org/tiny', 'v1', '$commit', 4, 0)]"
check "what is there is not fetched again" test "$(wc -l <"$hub/log")" = 1
run llem fetch -m org/tiny@refs/pr/1 -q
exits 0
lines 1
quiet
run llem fetch -m "org/tiny@$commit" -q
exits 0
check "a commit needs no name" test "$(ls "$repo/refs")" = "$(printf 'main\nrefs\nv1')"
say "what was fetched"
for name in org/tiny org/tiny@v1 org/tiny@refs/pr/1 "org/tiny@$commit"; do
    HF_HUB_OFFLINE=1 run llem run -m $name -e cpu -d random -n 1 --set task.dataset.input_tokens=4 \
        --set task.max_output_tokens=2 --quick -q -o "$tmp/results-$n"
    exits 0 "llem run finds $name"
    json_is "$(cat "$tmp/out")/recording/recording.json" "d['model']['revision']" "$commit"
done

anew "an experiment file"
cat >exp.yaml <<'YAML'
task: {model: org/tiny@v1, dataset: {source: aienergyscore}}
engine: cpu
YAML
cp "$here/../fuzz/corpus/parquet/aienergyscore.parquet" \
    "$hub/datasets/AIEnergyScore/text_generation/data/train-00000-of-00001.parquet" # as it is published
echo "# card" >"$hub/datasets/AIEnergyScore/text_generation/README.md"
pinned=2dc92b2ee2cd9776a51ccf08c6c2ab04138370c3
run llem fetch exp.yaml
exits 1
complains "the dataset 'AIEnergyScore/text_generation' has no revision '$pinned'"
echo $pinned >"$hub/datasets/AIEnergyScore/text_generation/.commit"
run llem fetch exp.yaml exp.yaml --json
exits 0
json_is "$tmp/out" "[(x['kind'], x['id'], x['revision'], x['files']) for x in d]" \
    "[('model', 'org/tiny', 'v1', 4), ('dataset', 'AIEnergyScore/text_generation', '$pinned', 2)]"
run llem run exp.yaml -n 2 --set task.max_output_tokens=2 --quick -q
exits 0 "llem run needs nothing more"
recording=$(cat "$tmp/out")/recording/recording.json
json_is "$recording" "d['dataset']['count']" 2
json_is "$recording" "d['dataset']['sha256']" \
    "$(printf 'Prompt number %d of a thousand.\0' 0 1 | sha256sum | cut -d' ' -f1)"
json_is "$recording" "d['dataset']['path'].rpartition('/snapshots/')[2]" "$pinned/data/train-00000-of-00001.parquet"

say "a file that names what is here"
mkdir -p local && cp "$models/llama/"* local
printf 'task: {model: ./local, dataset: {source: builtin}}\nengine: cpu\n' >local.yaml
run llem fetch local.yaml
exits 0
silent
complains "Nothing that is named is on the hub"

anew "a connection that breaks off"
faults "cdn cut 100000" "cdn cut 0" "cdn cut 50000"
run llem fetch -m org/tiny -v
exits 0
whole
none_half
check "it goes on where it ended" grep -q "^cdn GET [^ ]* bytes=100000- -$" "$hub/log"
check "and again" grep -q "^cdn GET [^ ]* bytes=150000- -$" "$hub/log"
complains "try 1 of 5 failed"

anew "a hub that breaks off for good"
faults "cdn cut 100000" "cdn cut 0" "cdn cut 0" "cdn cut 0" "cdn cut 0" "cdn cut 0"
run llem fetch -m org/tiny
exits 1
complains "cannot be reached, or broke off"
complains "hint: .*HF_ENDPOINT"
not_found_by_run
check "what has arrived is kept" test "$(stat -c %s "$(part)")" = 100000
run llem fetch -m org/tiny
exits 0
whole
check "the next time goes on from there" grep -q "bytes=100000-" "$hub/log"

anew "a damaged part of an earlier download"
mkdir -p "$repo/blobs"
sha=$(sha256sum <"$hub/models/org/tiny/model.safetensors" | cut -d' ' -f1)
head -c 5000 /dev/zero >"$repo/blobs/$sha.incomplete"
run llem fetch -m org/tiny
exits 0
whole

anew "a part that is longer than the file"
mkdir -p "$repo/blobs"
head -c 5000000 /dev/zero >"$repo/blobs/$sha.incomplete"
run llem fetch -m org/tiny
exits 0
whole

anew "a byte that changed on the way, once"
faults "cdn flip"
run llem fetch -m org/tiny
exits 0
whole

for how in "cdn flip" "hub flip"; do
    anew "a byte that always changes ($how)"
    faults "$how" "$how"
    run llem fetch -m org/tiny
    exits 1
    complains "arrived damaged twice: its digest is [0-9a-f]+, and the hub tells [0-9a-f]+"
    complains "hint: .*proxy"
    not_found_by_run
    none_half
done

anew "a file that is too short"
faults "cdn short 10"
run llem fetch -m org/tiny
exits 0 "the rest is asked for"
whole
anew "a file that stays too short"
faults "cdn short 400000" "cdn status 416"
run llem fetch -m org/tiny
exits 1
complains "ends after [0-9]+ bytes, and the hub tells [0-9]+"
anew "a file that is too long"
faults "cdn long"
run llem fetch -m org/tiny
exits 1
complains "is longer than the [0-9]+ bytes that the hub tells"
not_found_by_run

anew "a server that knows no parts"
faults "cdn cut 1000" "cdn whole"
run llem fetch -m org/tiny
exits 0
whole
anew "a server that sends another part"
faults "cdn cut 1000" "cdn other"
run llem fetch -m org/tiny
exits 1
complains "asked for 'model.safetensors' from byte 1000, and sent it from byte 999"

anew "a busy hub"
faults "api status 429 1" "hub status 503 1" "cdn status 500"
run llem fetch -m org/tiny
exits 0
whole
anew "a hub that stays busy"
faults "api status 503 0" "api status 503 0" "api status 503 0" "api status 503 0" "api status 503 0"
run llem fetch -m org/tiny
exits 1
complains "answered status 503 for 'org/tiny'"
complains "hint: .*try again later"

anew "a server that says nothing for a while"
faults "cdn stall 6"
HF_HUB_DOWNLOAD_TIMEOUT=1 run llem fetch -m org/tiny
exits 0
whole
HF_HUB_DOWNLOAD_TIMEOUT=soon run llem fetch -m org/tiny
exits 2
complains "HF_HUB_DOWNLOAD_TIMEOUT is 'soon'"

anew "a token"
HF_TOKEN=hf_good run llem fetch -m org/gated
exits 0
check "goes to the hub" grep -q "^hub GET .* token$" "$hub/log"
check "goes nowhere else" sh -c "! grep '^cdn .* token$' '$hub/log' && grep -q '^cdn' '$hub/log'"
check "is in no file" sh -c "! grep -rq hf_good '$HF_HOME'"
anew "a token in the file of hf auth login"
mkdir -p "$HF_HOME" && echo hf_good >"$HF_HOME/token"
run llem fetch -m org/private
exits 0
HF_TOKEN=hf_bad run llem fetch -m org/tiny
exits 1
complains "does not know the token"
complains "hint: .*HF_TOKEN"

anew "a gated model"
run llem fetch -m org/gated
exits 1
complains "the model 'org/gated' is gated"
complains "hint: ask for access at $HF_ENDPOINT/org/gated, then give a token in HF_TOKEN"
HF_TOKEN=hf_other run llem fetch -m org/gated
exits 1
complains "hint: .*the token that is given \\(HF_TOKEN, or the file of 'hf auth login'\\) has none"
for name in org/nothing org/private; do
    run llem fetch -m $name
    exits 1
    complains "there is no model '$name' on the hub '$HF_ENDPOINT', or it is private"
    complains "hint: check its name"
done
run llem fetch -m org/tiny@v9
exits 1
complains "the model 'org/tiny' has no revision 'v9'"
run llem fetch -m org/tiny -m 'org/../tiny'
exits 1
complains "is neither a directory nor the id of a model"
run llem fetch -d other
exits 2
complains "the dataset 'other' is not fetched from the hub"
run llem fetch
exits 2
complains "nothing to fetch"
run llem fetch nothing.yaml
exits 2
complains "nothing.yaml"
check "nothing came" sh -c "! find '$HF_HOME' -type l | grep -q ."

say "a hub that is not there"
HF_ENDPOINT=http://127.0.0.1:9 run llem fetch -m org/tiny
exits 1
complains "'127.0.0.1:9' cannot be reached"
complains "hint: check the network and HF_ENDPOINT"
HF_ENDPOINT=ftp://127.0.0.1 run llem fetch -m org/tiny
exits 2
complains "is no http or https address"
say offline
rm -f "$hub/log"
for name in HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=true; do
    run env $name llem fetch -m org/tiny
    exits 1
    complains "the model 'org/tiny' is not fetched: HF_HUB_OFFLINE is set"
done
check "nobody was asked" test ! -e "$hub/log"
say "a model that is not here"
run llem run -m org/tiny@v1 -e cpu -d builtin -n 1 -q
exits 1
complains "hint: .*llem fetch -m org/tiny@v1"

for name in ../out /abs a//b . a/../../b 'a\b' ''; do
    anew "a file named '$name'"
    python3 - "$name" >"$hub/models/org/hostile/.siblings.json" <<'PY'
import json, sys
print(json.dumps([{"rfilename": sys.argv[1], "size": 0, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}]))
PY
    run llem fetch -m org/hostile
    exits 1
    complains "which is no name within it"
    check "nothing is made" test ! -e "$HF_HOME"
done
for list in '[{"rfilename": "a", "size": -1, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}]' \
    '[{"rfilename": "a", "size": 0, "blobId": "../../../../out"}]' '[{"rfilename": "a"}]' '{}' '[7]' \
    '[{"rfilename": "a.safetensors", "size": 9223372036854775807, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}]'; do
    anew "a list like $list"
    echo "$list" >"$hub/models/org/hostile/.siblings.json"
    run llem fetch -m org/hostile
    exits 1
    complains "llem: .*hub"
done
anew "a list without end"
faults "api endless"
run llem fetch -m org/hostile
exits 1
complains "is longer than the 64 MiB accepted"
anew "a file that is a directory of another"
echo '[{"rfilename": "a", "size": 0, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
 {"rfilename": "a/b", "size": 0, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}]' >"$hub/models/org/hostile/.siblings.json"
run llem fetch -m org/hostile
exits 1
complains "is there and is no directory"
none_half

anew "a directory that cannot be made"
mkdir -p "$HF_HOME" && : >"$HF_HOME/hub"
run llem fetch -m org/tiny
exits 1
complains "hint: set HF_HOME or output.model_cache_dir to a directory that can be written"

anew "a full disk"
run env --ignore-signal=XFSZ prlimit --fsize=200000:200000 llem fetch -m org/tiny
exits 1
complains "cannot write 'model.safetensors'.*File too large"
complains "hint: free some space, or set HF_HOME"
none_half
not_found_by_run
if mkdir -p "$HF_HOME" && mount -t tmpfs -o size=300k tmpfs "$HF_HOME" 2>/dev/null; then
    run llem fetch -m org/tiny
    exits 1
    complains "0\\.4 MB of 'org/tiny' are to be fetched, and '$cache' has room for 0\\.[0-9] MB"
    umount "$HF_HOME"
fi

for how in "INT 130" "TERM 143"; do
    set -- $how
    anew "SIG$1"
    head -c 3000000 /dev/urandom >"$hub/models/org/tiny/big.safetensors"
    faults "cdn slow"
    command="llem fetch -m org/tiny"
    env --default-signal=INT llem fetch -m org/tiny >"$tmp/out" 2>"$tmp/err" </dev/null &
    fetch=$!
    wait_for 10 sh -c "[ -n \"\$(find '$repo/blobs' -name '*.incomplete' -size +100k 2>/dev/null)\" ]"
    kill -$1 $fetch
    wait $fetch
    status=$?
    exits $2
    silent
    complains "What has arrived is kept"
    not_found_by_run
    run llem fetch -m org/tiny -q
    exits 0
    check "the rest came" cmp "$repo/snapshots/$commit/big.safetensors" "$hub/models/org/tiny/big.safetensors"
    check "it went on where it ended" grep -q "big.safetensors bytes=[0-9]" "$hub/log"
    rm "$hub/models/org/tiny/big.safetensors"
done

anew "a cache that the user's configuration names"
mkdir -p "$XDG_CONFIG_HOME/llenergymeasure"
echo "output: {model_cache_dir: $tmp/kept}" >"$XDG_CONFIG_HOME/llenergymeasure/config.yaml"
hf_home=$HF_HOME
unset HF_HOME
run llem fetch -m org/tiny -q
exits 0
prints "^$tmp/kept/hub/models--org--tiny/snapshots/$commit\$"
run llem run -m org/tiny -e cpu -d random -n 1 --set task.dataset.input_tokens=4 \
    --set task.max_output_tokens=2 --quick -q
exits 0
json_is "$(cat "$tmp/out")/recording/recording.json" "d['model']['revision']" "$commit"
mkdir -p plugins/looks
cat >plugins/looks/engine.yaml <<YAML
name: looks
help: tells where its libraries would look
command: [sh, -c, 'echo "\$HF_HUB_CACHE" >$tmp/seen']
YAML
LLEM_PLUGIN_PATH=$PWD/plugins/looks run llem run -m ./local -e looks -d builtin -n 1 --quick -q
exits 1
check "workers look there, too" test "$(cat "$tmp/seen")" = "$tmp/kept/hub"
HF_HOME=$hf_home run llem fetch -m org/tiny -q
exits 0
prints "^$hf_home/hub/"
rm "$tmp/seen"
HF_HOME=$hf_home LLEM_PLUGIN_PATH=$PWD/plugins/looks run llem run -m ./local -e looks -d builtin -n 1 --quick -q
check "a variable stays as it is" test "$(cat "$tmp/seen")" = ""
echo "output: {model_cache_dir: 5}" >"$XDG_CONFIG_HOME/llenergymeasure/config.yaml"
run llem fetch -m org/tiny -q
exits 2
complains "output.model_cache_dir"
rm "$XDG_CONFIG_HOME/llenergymeasure/config.yaml"
export HF_HOME=$hf_home

anew "two at once"
head -c 3000000 /dev/urandom >"$hub/models/org/tiny/big.safetensors"
faults "cdn slow"
llem fetch -m org/tiny -q >"$tmp/first" 2>&1 &
first=$!
wait_for 10 sh -c "ls '$repo'/blobs/*.incomplete"
run llem fetch -m org/tiny -q
exits 0
wait $first
check "the first too" test $? = 0
check "each file came once" test "$(grep -c '^cdn' "$hub/log")" = 2
none_half

say "progress as JSON lines"
rm -rf "$HF_HOME"
faults "cdn slow"
run llem fetch -m org/tiny --progress=json --json
exits 0
check "every line is JSON" python3 -c "import json; [json.loads(x) for x in open('$tmp/err')]"
complains '"event": "step_update", "step": "fetch".*"fraction": 0\.'
complains '"event": "step_done", "step": "fetch"'
rm "$hub/models/org/tiny/big.safetensors"
done_testing
