#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Every command line of README.md, docs/ and the help is run as it stands, with the sample model in the place
# of what the reader has. Only waits are shortened.
. "$(dirname "$0")/tap.sh"
root=$here/../..

# What the pages take for granted.
export LLEM_PLUGIN_PATH=$root/examples/engine-shell
cp -r "$root/examples" examples
ln -s examples/sample-model my-model
for name in exp study; do
    sed 's,./sample-model,./my-model,; s/n_prompts: 20/n_prompts: 2/' examples/quickstart.yaml >$name.yaml
done
printf 'model: gpt2\nengine: vllm\n' >old.yaml
printf 'all:\n\ttrue\n' >Makefile
run llem run $quick -q
dir=$(cat "$tmp/out")
cp -r "$(dirname "$dir")" results/study_2026-01-31T12-00-00

# A hub with the models and data that are named.
hub=$tmp/hub
mkdir -p "$hub/models/Qwen/Qwen2.5-0.5B" "$hub/datasets/AIEnergyScore/text_generation"
cp "$root/tests/data/models/qwen2/"* "$hub/models/Qwen/Qwen2.5-0.5B"
echo '{"text": "one"}' >"$hub/datasets/AIEnergyScore/text_generation/train.jsonl"
echo 2dc92b2ee2cd9776a51ccf08c6c2ab04138370c3 >"$hub/datasets/AIEnergyScore/text_generation/.commit"
serve_hub

# Blocks and `inline` ones that begin with llem; comments of blocks go.
sed -nE 's/^    (llem .*)$/\1/p' "$root/README.md" "$root"/docs/*.md >"$tmp/lines"
cat "$root/README.md" "$root"/docs/*.md | tr '\n' ' ' | grep -oE '`llem [^`]*`' | tr -d '`' >>"$tmp/lines"
for name in run init plan measure show compare verify fetch config migrate pack report-gaps check-engine help; do
    llem help $name | sed -nE '/^Examples:/,$ s/^    (llem .*)$/\1/p'
done >>"$tmp/lines"
sed -E 's/ {2,}.*//; s/ +# .*//' "$tmp/lines" | sort -u >"$tmp/commands"
check "there are command lines" test "$(wc -l <"$tmp/commands")" -ge 15

while read -r line; do
    say "$line"
    case $line in
    "llem experiment DIR") skip "exits with 0" "the runner starts it"; continue ;;
    "llem run --resume"*) skip "exits with 0" "tests/cli/run-study.sh has a study to go on with"; continue ;;
    *--gpus*) skip "exits with 0" "needs two GPUs"; continue ;;
    *" --for") line="$line 30" ;; # the option's name only
    "llem fetch --format=json" | "llem plan --format=json") line="$line CONFIG" ;;
    "llem migrate FILE") line="llem migrate old.yaml" ;;
    "llem show --format=parquet DIR") line="llem show --format=parquet -o table.parquet $(dirname "$(ls results/*/equivalence_groups.json | tail -1)")" ;;
    *" STUDY"*) line=$(echo "$line" | sed s/STUDY/study.yaml/) ;;
    *"| jq"*) command -v jq >/dev/null || { skip "exits with 0" "jq is not here"; continue; } ;;
    esac
    set -- $line
    if [ $# = 2 ] && [ "$2" != config ] && [ "$2" != help ] && [ "$2" != --version ]; then
        line="llem help $2" # the command's name only
    fi
    line=$(echo "$line" | sed -E "s#\\bDIR\\b#$dir#g; s#\\bMODEL\\b#./my-model -e cpu -d builtin -n 2#; s#\\bCONFIG\\b#exp.yaml#; s#\\bNAME\\b#shell#
        s/\\bCOMMAND\\b/$(case $line in *measure*) echo true ;; *) echo run ;; esac)/
        s/--for [0-9]+/--for 0.2/; s/^llem (run|measure)\\b/llem \\1 --quick/; s/--quick (.*--quick)/\\1/
        s/^llem run (.*--sweep)/llem run --no-gaps --cycles 1 -n 1 --set task.max_output_tokens=4 --set measurement.warmup.enabled=false \\1/")
    run bash -c "$line"
    exits 0 || echo "# as: $line"
done <"$tmp/commands"

say "every make target that is named"
for target in $(cat "$root/README.md" "$root/CONTRIBUTING.md" | grep -oE '(^    |`)(NO_INSTALL=1 )?make( [a-z]+)?' |
    sed -E 's/.*make ?//' | sort -u); do
    run make -n -C "$root" NO_INSTALL=1 BUILD="$tmp/b" CHECK="$tmp/c" "$target"
    check "make $target is there" test "$status" = 0
done

say "the C of README.md"
sed -n '/^```c$/,/^```$/p' "$root/README.md" | grep -v '^```' >"$tmp/snippet"
check "is there" test -s "$tmp/snippet"
{
    echo '#include <stdio.h>'
    echo '#include "llem/llem.h"'
    echo 'int main(void) { llem_ctx *ctx; llem_result *result; llem_error err;'
    echo 'if (llem_ctx_new(&ctx, NULL, &err) < 0) return 1;'
    cat "$tmp/snippet"
    printf 'else\n    llem_result_free(result);\nllem_ctx_free(ctx);\nreturn 0; }\n'
} >snippet.c
if command -v cc >/dev/null; then
    run cc -Wall -Werror -fsyntax-only -I "$root/include" snippet.c
    exits 0
else
    skip "exits with 0" "there is no compiler"
fi
done_testing
