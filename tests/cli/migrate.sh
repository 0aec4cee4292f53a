#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem migrate: configurations of LLenergyMeasure's other schemas, told when they are loaded, converted by a
# table, and what is converted loads.
. "$(dirname "$0")/tap.sh"

samples=$here/../data/migrate

for file in first.yaml campaign.yaml early.yaml flat.yaml flat-one.yaml serving.yaml serving-study.yaml first.json; do
    name=${file%.*} form=${file##*.}
    cp "$samples/$file" .
    say "$file"
    run llem plan "$file"
    exits 2
    silent
    complains "^llem: $file:[0-9]+:[0-9]+: this file is in LLenergyMeasure's schema of .*; llem migrate $file converts it\$"
    check "says it in one line" test "$(wc -l <"$tmp/err")" = 1
    run llem migrate "$file"
    exits 0
    golden "migrate-$name-$form.txt"
    golden "migrate-$name-$form-remarks.txt" "$tmp/err"
    cp "$tmp/out" "new.$form"
    check "leaves the file as it was" cmp "$samples/$file" "$file"
    run llem plan "new.$form"
    exits 0 "what was made of $file loads"
    quiet
    run llem migrate "new.$form"
    exits 0
    complains "^new.$form: is of llem's own schema already; nothing to convert\$"
    check "once is enough" cmp "$tmp/out" "new.$form"
done

say "llem run"
run llem run flat-one.yaml
exits 2
silent
complains "; llem migrate flat-one.yaml converts it"

say "a base file of another schema"
printf 'task: {model: gpt2}\nbase: flat-one.yaml\nsweep: {}\n' >study.yaml
run llem plan study.yaml
exits 2
complains "^llem: flat-one.yaml:1:1: this file is in .*; llem migrate flat-one.yaml converts it|^llem: .*/flat-one.yaml:1:1: this file is in"

say "a file of ours with one old name is told of the name"
printf 'task: {model: gpt2}\nn: 3\n' >ours.yaml
run llem plan ours.yaml
exits 2
complains 'ours.yaml:2:1: unknown key "n"; write it as task.dataset.n_prompts'

say "only an axis is of another schema"
printf 'sweep: {precision: [fp16, bf16]}\nbase: ours.yaml\n' >axis.yaml
run llem migrate axis.yaml
exits 0
prints 'transformers.dtype: \[float16, bfloat16\]'
prints_not 'what that schema took'
complains '^axis.yaml:2: look at base: that file has to be converted as well'

say "-o"
run llem migrate early.yaml -o there.yaml
exits 0
silent
check "writes the file" cmp there.yaml "$here/golden/migrate-early-yaml.txt"
run llem migrate early.yaml -o ./early.yaml
exits 2
complains "'early.yaml' is the file itself; --in-place writes over it"
ln early.yaml link.yaml
run llem migrate early.yaml -o link.yaml
exits 2
check "the file is as it was" cmp early.yaml "$samples/early.yaml"
run llem migrate early.yaml -o no/such/there.yaml
exits 1
complains "^llem: cannot write '?no/such/there.yaml"
run llem migrate first.yaml -o new.json
exits 0
json_is new.json "(d['study_name'], d['transformers']['sampling'])" "('pytorch-small', {'min_p': 0.05, 'top_k': 50})"

say "--in-place"
rm link.yaml
run llem migrate early.yaml --in-place
exits 0
silent
check "writes over the file" cmp early.yaml "$here/golden/migrate-early-yaml.txt"
run llem migrate early.yaml --in-place
exits 0
check "which the second time leaves alone" cmp early.yaml "$here/golden/migrate-early-yaml.txt"
run llem migrate early.yaml --in-place -o x.yaml
exits 2
complains "either --output or --in-place, not both"

say "what cannot be converted"
run llem migrate
exits 2
complains "which file"
run llem migrate a.yaml b.yaml
exits 2
complains "one too many"
run llem migrate no.yaml
exits 1
complains "no.yaml"
run llem migrate .
exits 2
complains "a configuration ends with .yaml"
: >empty.yaml
run llem migrate empty.yaml
exits 2
complains '^llem: empty.yaml:1:1: a configuration must be a map of settings'
printf -- '- a\n' >list.yaml
run llem migrate list.yaml
exits 2
complains 'must be a map of settings, but this is a list'
printf 'model: [\n' >broken.yaml
run llem migrate broken.yaml
exits 2
complains 'broken.yaml:'
printf 'model: gpt2\nname: "\\u001b[31m"\nx\033: 1\n' >escape.yaml
run llem migrate escape.yaml
complains_not "$(printf '\033')" "in colours of others"
mkfifo pipe.yaml
run timeout 20 llem migrate pipe.yaml
exits 1
complains "no regular file"

say "values of the wrong kind stay with the reason"
printf 'model: gpt2\nn: lots\ndecoder: 5\nsweep: {n: {a: 1}}\nexperiments: [3]\ngrid: 4\nunheard: {of: 1}\n' >odd.yaml
run llem migrate odd.yaml
exits 0
complains '^odd.yaml:2: no equivalent: n: task.dataset.n_prompts must be a whole number, but is "lots"'
complains '^odd.yaml:7: no equivalent: unheard.of: unknown key "unheard"'
cp "$tmp/out" new.yaml
run llem plan new.yaml
exits 0
done_testing
