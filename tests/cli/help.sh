#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Help, version, and what happens when nobody listens.
. "$(dirname "$0")/tap.sh"

say "help"
for command_name in run measure show compare verify fetch config migrate pack report-gaps check-engine help; do
    run llem help $command_name
    exits 0
    quiet
    golden help-$command_name.txt
    cp "$tmp/out" "$tmp/long"
    run llem $command_name --help
    check "$command_name --help is the same" cmp "$tmp/long" "$tmp/out"
    run llem $command_name -h
    exits 0
    check "$command_name -h is shorter" test "$(wc -l <"$tmp/out")" -lt "$(wc -l <"$tmp/long")"
    prints "^Usage: llem $command_name"
done
run llem help
exits 0
golden help.txt
cp "$tmp/out" "$tmp/long"
run llem --help
check "--help is the same" cmp "$tmp/long" "$tmp/out"
run llem
exits 2
silent
check "without a command the overview goes to standard error" cmp "$tmp/long" "$tmp/err"
prints_not 'experiment'
COLUMNS=120 run llem help run
check "help uses a wider terminal, up to 100 columns" \
    python3 -c "import sys; sys.exit(not 80 < max(len(l.rstrip('\n')) for l in open('$tmp/out')) <= 100)"

say "the manual page"
run llem help --man
exits 0
quiet
cp "$tmp/out" "$tmp/llem.1"
check "is the one that is installed" cmp "$tmp/llem.1" "$build/llem.1"
for command_name in run measure show compare verify fetch config migrate pack report-gaps check-engine help; do
    check "has the command $command_name" grep -qx "\.SS llem ${command_name/-/\\\\-}" "$tmp/llem.1"
    for option in $(llem $command_name -h | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE '[a-z-]+$' | sed 's/^--//'); do
        [ "$option" = help ] && continue
        check "has --$option" grep -q "\\\\fB\\\\-\\\\-$(echo "$option" | sed 's/-/\\\\-/g')\\\\fR" "$tmp/llem.1"
    done
done
sed -n 's/^\.B \([0-9]*\)$/\1/p' "$tmp/llem.1" >"$tmp/out"
sed -n 's/^| \([0-9]*\) |.*/\1/p' "$here/../../docs/exit-codes.md" >"$tmp/err"
check "has every exit status" test -s "$tmp/out" -a "$(cat "$tmp/out")" = "$(cat "$tmp/err")"
: >"$tmp/err"
if command -v groff >/dev/null && groff -man -Tascii -z /dev/null 2>/dev/null; then
    run groff -man -ww -Tascii "$tmp/llem.1"
    exits 0
    quiet
    prints '\[OPTIONS\] -m MODEL'
else
    skip "is good roff" "groff is not here"
fi
if command -v mandoc >/dev/null; then
    run mandoc -T lint -W warning "$tmp/llem.1"
    check "satisfies mandoc" sh -c "! grep -v 'missing date' '$tmp/out' | grep -q ."
else
    skip "satisfies mandoc" "it is not here"
fi

say "version"
run llem --version
exits 0
quiet
lines 1
prints '^llem [0-9]+\.[0-9]+\.[0-9]+( \([0-9a-f]+\))?$'
run llem -V
prints '^llem [0-9]'
run strace -f -e trace=openat -o "$tmp/trace" llem --version
if [ -s "$tmp/trace" ]; then
    check "--version opens libraries only" sh -c "! grep openat '$tmp/trace' | grep -v ENOENT | grep -v '\.so' | grep -q ."
else
    skip "--version opens libraries only" "strace does not run here"
fi

say "colour"
run script -qec "llem help" /dev/null
prints "$(printf '\033')\\[1m" "in colour on a terminal"
NO_COLOR=1 run script -qec "llem help" /dev/null
prints_not "$(printf '\033')" "escape sequences with NO_COLOR"
TERM=dumb run script -qec "llem help" /dev/null
prints_not "$(printf '\033')" "escape sequences on a dumb terminal"

say "broken output"
run sh -c 'llem help >/dev/full'
exits 1
complains 'cannot write to standard output: No space left on device'
run sh -c 'llem help >&-'
exits 1
complains 'cannot write to standard output: Bad file descriptor'
run sh -c 'llem --version >&-'
exits 1
run bash -c 'trap "" PIPE; (sleep 0.2; llem help run; echo "status $?" >&2) | true'
complains 'cannot write to standard output: Broken pipe'
complains '^status 1$'
run sh -c 'llem help <&- 2>&-'
exits 0
done_testing
