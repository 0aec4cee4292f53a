#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem init: a file that plans as it stands, says what the defaults are, and is never written over.
. "$(dirname "$0")/tap.sh"

engines=$(llem config --format=json | python3 -c "import json, sys; print(*(e['name'] for e in json.load(sys.stdin)['engines']))")
check "the engines are known" test -n "$engines"

for engine in $engines; do
    say "$engine"
    run llem init -e "$engine" -m some/Model "$engine.yaml"
    exits 0
    silent
    complains "^Wrote $engine.yaml\\."
    run llem plan "$engine.yaml" --json
    exits 0
    quiet
    json_is "$tmp/out" "(d['counts']['declared'], d['counts']['runs'])" "(1, 3)"
    json_is "$tmp/out" "[(x['engine'], x['model']) for x in d['experiments']]" "[('$engine', 'some/Model')]"
    hash=$(json "$tmp/out" "d['experiments'][0]['measurement_config_hash']")

    # What stands as a comment is the default. (Sections that are null unless given are something else once they are.)
    sed -E '/^# (lora|sweep|experiments|passthrough_kwargs):|^#   beam_search:/,/^(#? *)?$/d; s/^# ( *[a-z_0-9]+:)/\1/' "$engine.yaml" >all.yaml
    check "has more than comments now" test "$(grep -c '^ *[a-z_0-9]*:' all.yaml)" -gt $(($(grep -c '^ *[a-z_0-9]*:' "$engine.yaml") + 20))
    run llem plan all.yaml --json
    exits 0
    [ "$engine" != cpu ] || json_is "$tmp/out" "d['experiments'][0]['measurement_config_hash']" "$hash"

    run llem init -e "$engine" --bounds grid.yaml --force
    exits 0
    run llem plan grid.yaml --json
    exits 0
    quiet
    json_is "$tmp/out" "1 < d['counts']['declared'] <= 10000, d['counts']['runs'] > 3" "(True, True)"
    check "unknown keys would be errors, so the axes beyond are settings too" sh -c \
        "sed -E 's/^#   ([a-z_0-9.]+: \[.*)/  \1/' grid.yaml >wide.yaml; llem plan wide.yaml 2>&1 | grep -q 'more than 1000000 experiments\|experiments declared'"
done

say "several engines"
run llem init -e vllm -e transformers --bounds -
exits 0
quiet
cp "$tmp/out" two.yaml
run llem plan two.yaml --json
exits 0
json_is "$tmp/out" "({x['engine'] for x in d['experiments']} == {'vllm', 'transformers'}, d['counts']['declared'] <= 10000)" "(True, True)"

say "a file that is there"
run llem init
exits 0
check "is study.yaml" test -s study.yaml
echo mine >study.yaml
run llem init
exits 1
silent
complains "^llem: 'study.yaml' is there already; name another file, or --force writes over it\$"
check "is as it was" test "$(cat study.yaml)" = mine
ln -s nowhere link.yaml
run llem init link.yaml
exits 1
check "a link is not followed" test ! -e nowhere
run llem init --force
exits 0
check "--force" grep -q '^engine: cpu' study.yaml

say "mistakes"
run llem init -e vlm
exits 2
silent
complains '^llem: there is no engine vlm; did you mean vllm\?'
run llem init -e cpu -e cpu -
exits 2
complains 'the engine cpu is named twice'
run llem init a b
exits 2
complains 'one too many'
run llem init missing/dir.yaml
exits 1
complains "^llem: cannot write 'missing/dir.yaml': No such file"
check "a full disk" sh -c "! llem init -e vllm --force /dev/full 2>full && grep -q 'cannot write' full"
run llem init -m 'a: b #c' -
exits 0
cp "$tmp/out" odd.yaml
run llem plan odd.yaml --json
json_is "$tmp/out" "d['experiments'][0]['model']" "a: b #c"
done_testing
