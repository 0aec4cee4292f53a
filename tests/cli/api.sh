#!/bin/bash
# SPDX-License-Identifier: MIT
#
# examples/measure.c, which uses the library in all three forms of the call, and what the library shows.
. "$(dirname "$0")/tap.sh"

cat >small.yaml <<YAML
engine: test
task:
  model: ./model
  dataset: {source: builtin, n_prompts: 3}
YAML
say "the example program"
run "$build/tests/cli/example_measure" small.yaml results ./model test
exits 0
check "three measurements" test "$(grep -c '^everything: results/study_' "$tmp/out")" = 3
check "in three directories" test "$(grep '^everything:' "$tmp/out" | sort -u | wc -l)" = 3
prints '^throughput.output_tokens_per_s: [0-9.e+]+ tok/s'
prints '^total_energy_j: none \(estimated_only: '
complains '^  warmup: 5 prompts'
for file in $(sed -n 's/^everything: //p' "$tmp/out"); do
    check "$file is there" test -f "$file"
done
run "$build/tests/cli/example_measure" nothere.yaml
exits 1
complains 'nothere.yaml'

say "the library"
command="nm -D libllem.so.0"
nm -D --defined-only "$build/libllem.so.0" | awk '{ print $3 }' | grep -v '^llem_' >"$tmp/out"
check "exports nothing but llem_ names" test ! -s "$tmp/out"
cat "$here"/../../include/llem/*.h | grep -oE '\b(llem_[a-z_]+)\(' | tr -d '(' | sort -u >"$tmp/declared"
nm -D --defined-only "$build/libllem.so.0" | awk '{ print $3 }' | sort -u >"$tmp/exported"
check "exports what its headers declare, and no more" diff "$tmp/declared" "$tmp/exported"
check "the program includes nothing but include/llem" \
    sh -c "! grep -hE '^#include \"' '$here'/../../src/*.[ch] | grep -vE '\"(llem|src)/' | grep -q ."
done_testing
