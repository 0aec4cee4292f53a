#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is wrong with a command line is said in one sentence, with the nearest right word, and exits 2.
. "$(dirname "$0")/tap.sh"

while IFS='|' read -r arguments sentence; do
    [ -n "$arguments" ] || continue
    eval "run llem $arguments"
    say "llem $arguments"
    exits 2
    silent
    complains "$sentence"
    check "says it in few lines" test "$(wc -l <"$tmp/err")" -le 3
done <<'TABLE'
rnu|'rnu' is no command of llem; did you mean 'run'\?
shwo|did you mean 'show'\?
measur|did you mean 'measure'\?
zzz|'zzz' is no command of llem$
help rnu|did you mean 'run'\?
--frobnicate|stands before a command
run --quik -m x|unknown option '--quik'; did you mean '--quick'\?
run --dryrun -m x|did you mean '--dry-run'\?
run --no-quik -m x|unknown option '--no-quik'; did you mean '--no-quick'\?
run --no-model -m x|unknown option '--no-model'
run -quick -m x|did you mean '--quick'\?
run -Z|unknown option '-Z'
run -m|option '-m' wants a value: -m MODEL
run -m ""|task.model
run --model|option '--model' wants a value: --model MODEL
run --quick=yes -m x|option '--quick' takes no value
run --progress=pain -m x|has no value 'pain'; did you mean 'plain'\?
run --progress xyz -m x|wants one of auto.plain.json.none, not 'xyz'
run --set task.model|option '--set' wants path=value
run --set =3|option '--set' wants path=value
run a.yaml b.yaml|one configuration at a time: 'b.yaml'
run|neither a configuration nor a model was given
run -e cpu|neither a configuration nor a model was given
measure|nothing to measure
measure --for 0|wants a number from 0.001 to 1e\+07, not 0
measure --for -1|wants a number from 0.001
measure --for nan|wants a number, not 'nan'
measure --for 1x|wants a number, not '1x'
measure --for 0x10|wants a number, not '0x10'
measure --for 1 -- true|either --for or a command, not both
show|which result\?
show --format=xml x|wants one of table.json.csv.md
verify|which result\?
migrate|which file\?
pack|which study\?
report-gaps|which studies\?
migrate a.yaml b.yaml|one file at a time: 'b.yaml' is one too many
config extra|'extra' is one argument too many
config --format=yaml|wants one of table.json
experiment|give the directory of one experiment
TABLE

say "llem run without anything"
run llem run
check "shows two examples" test "$(grep -c '^    llem run' "$tmp/err")" = 2

say "a file where a command should be"
touch exp.yaml
run llem exp.yaml
exits 2
complains "did you mean 'llem run exp.yaml'\?"

say "escape sequences in arguments"
run llem "$(printf 'a\033[31mb')"
complains_not "$(printf '\033')" "in colours of others"

say "options after operands, joined, and after --"
run llem run nothere.yaml -qv
exits 2
complains 'nothere.yaml'
run llem run -- --quick
exits 2
complains "'?--quick'?"

say "docs/exit-codes.md"
command="exit codes"
sed -n 's/^ *EXIT_[A-Z]* = \([0-9]*\),.*/\1/p' "$here/../../src/cmd.h" >"$tmp/out"
sed -n 's/^| \([0-9]*\) |.*/\1/p' "$here/../../docs/exit-codes.md" >"$tmp/err"
check "lists every exit code" test -s "$tmp/out" -a "$(cat "$tmp/out")" = "$(cat "$tmp/err")"
done_testing
