#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The moving display, as a terminal shows it.
. "$(dirname "$0")/tap.sh"

# Run llem in a terminal of COLUMNS columns, and replay what it wrote: $tmp/screen has the lines as they stand
# at the end (Ctrl-C is typed once INTERRUPT is seen and its line is whole), $tmp/raw the bytes, $tmp/longest the widest line that ever stood there.
show() { # COLUMNS ARGUMENT...
    local columns=$1
    shift
    command="llem $* (in $columns columns)"
    python3 - "$columns" "$tmp" "$@" <<'PY'
import fcntl, os, pty, re, struct, sys, termios

columns, tmp, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.execvp("llem", ["llem", *arguments])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
raw, interrupt = b"", os.environ.get("INTERRUPT", "").encode()
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    raw += data
    if interrupt and interrupt in raw and raw.endswith((b"\r", b"\n")):
        os.write(fd, b"\x03")
        interrupt = b""
status = os.waitpid(pid, 0)[1]
lines, row, at, longest = [[]], 0, 0, 0
for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[\s\S]", raw.decode("utf-8", "replace")):
    line = lines[row]
    if part == "\r":
        at = 0
    elif part == "\n":
        row, at = row + 1, 0
        lines[row:] = lines[row:] or [[]]
    elif part == "\x1b[K":
        del line[at:]
    elif part == "\x1b[J":
        del line[at:]
        lines[row + 1:] = []
    elif re.fullmatch(r"\x1b\[[0-9]+A", part):
        row -= int(part[2:-1])
    elif not part.startswith("\x1b"):
        line[at:at + 1] = [part]
        at += 1
        longest = max(longest, len(line))
lines = ["".join(line).rstrip() for line in lines]
open(tmp + "/raw", "wb").write(raw)
open(tmp + "/screen", "w").write("\n".join(lines))
open(tmp + "/longest", "w").write(str(longest))
sys.exit(os.waitstatus_to_exitcode(status))
PY
    status=$?
    cp "$tmp/screen" "$tmp/out"
    : >"$tmp/err"
}

for columns in 40 80 120; do
    say "in $columns columns"
    show $columns run $quick --set test.load_s=1 --set test.request_s=0.2
    exits 0
    prints '^  ✓ Model '
    prints '^  – Idle power '
    prints '^  ✓ Warm-up .* [0-9.]+s$'
    prints_not '⠋|⠙|⠹|⠸|⠼|⠴|⠦|⠧|⠇|⠏' "a spinner when all is done"
    prints '^  Output tokens/s'
    prints '^Saved: '
    check "the spinner was there" grep -q '⠹' "$tmp/raw"
    check "tokens as they come" grep -Eq ' [1-9][0-9]* tok/s' "$tmp/raw"
    if [ $columns -ge 80 ]; then
        python3 - "$tmp/raw" $columns >"$tmp/err" <<'PY'
import re, sys
raw = open(sys.argv[1], encoding="utf-8").read()
for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", raw)):
    if re.match(r"  [✓–⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✗] ", line) and len(line) >= int(sys.argv[2]):
        print(line)
PY
        quiet
    fi
done

say "a line is written at once"
command="llem run, its standard error a socket that keeps writes apart"
python3 - run $quick -v >"$tmp/out" 2>"$tmp/err" <<'PY'
import socket, subprocess, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
llem = subprocess.Popen(["llem", *sys.argv[1:]], stderr=theirs, stdout=subprocess.DEVNULL)
theirs.close()
writes = list(iter(lambda: ours.recv(65536), b""))
print(sum(w.count(b"\n") for w in writes), "lines")
for w in writes:
    if not w.endswith(b"\n"):
        print("in part:", w)
sys.exit(llem.wait())
PY
status=$?
exits 0
prints '^[1-9][0-9]* lines$'
prints_not 'in part' "a line in parts"
quiet

say "without colour"
NO_COLOR=1 show 80 run $quick
check "no colour" sh -c "! grep -q '$(printf '\033')\[[0-9;]*m' '$tmp/raw'"
prints '^  ✓ Model '

say "in ASCII"
LC_ALL=C show 80 run $quick --set test.load_s=1
check "no byte beyond ASCII" sh -c "! LC_ALL=C grep -qP '[\x80-\xff]' '$tmp/raw'"
prints '^  \* Model '

say "on a dumb terminal"
TERM=dumb show 80 run $quick
check "no escape sequences" sh -c "! grep -q '$(printf '\033')' '$tmp/raw'"
prints '^  Model  '

say "-q"
show 80 run $quick -q
check "one line" test "$(grep -c . "$tmp/out")" = 1

say "a failure"
show 80 run $quick --set test.fail_at=load_model
exits 1
prints '^  ✗ Model '
prints '^llem: .*load_model'

say "Ctrl-C"
INTERRUPT=⠹ show 80 run $quick --set test.load_s=30
exits 130
check "is echoed over the line that moves, not behind it" grep -q "$(printf '\r')^C" "$tmp/raw"
check "the line is left once" test "$(grep -c ' Model ' "$tmp/screen")" = 1
prints '^  ✗ Model '

# A study of two experiments, of which one fails, in two cycles.
study="run -m ./model -e test -d builtin -n 3 --sweep test.fail_at=none,load_model --set test.request_s=0.2 --set test.load_s=0.5
    --cycles 2 --order interleave --set study_execution.experiment_gap_seconds=0 --set study_execution.cycle_gap_seconds=1 --quick --skip-preflight"

for columns in 40 80 120; do
    say "a study in $columns columns"
    show $columns $study
    exits 1
    prints '^  ✗ \[2/4\] '
    check "each failure is told once" test "$(grep -c '^  ✗ \[[24]/4\]' "$tmp/out")" = 2
    prints "^  4/4 done, 2 failed"
    prints_not '⠋|⠙|⠹|⠸|⠼|⠴|⠦|⠧|⠇|⠏' "a spinner when all is done"
    check "the run that runs was there" grep -q '⠹.* \[1/4\] ' "$tmp/raw"
    check "its steps" grep -q 'Measuring' "$tmp/raw"
    check "what it reads" grep -Eq ' [1-9][0-9]* tok/s' "$tmp/raw"
    check "what comes next" grep -q '    .*\[3/4\] ' "$tmp/raw"
    check "the pause" grep -q 'Pause .*1s left' "$tmp/raw"
    check "the time left" grep -q ' ± .*s left' "$tmp/raw"
    python3 - "$tmp/raw" $columns >"$tmp/err" <<'PY'
import re, sys
raw = open(sys.argv[1], encoding="utf-8").read()
region = raw[:raw.index("4/4 done")]
for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", region)):
    if len(line) >= int(sys.argv[2]):
        print(line)
PY
    quiet
done

say "Ctrl-C in a study"
INTERRUPT=⠹ show 80 $study --set test.load_s=30
exits 130
check "says once what it does" test "$(grep -c 'Stopping when' "$tmp/out")" = 1
check "and once how to go on" test "$(grep -c 'Go on with: llem run --resume-dir' "$tmp/out")" = 1
prints '^  0/4 done · '

say "a study on a dumb terminal"
TERM=dumb show 80 $study
check "no escape sequences" sh -c "! grep -q '$(printf '\033')' '$tmp/raw'"
prints '^  \[1/4\] .* c1: ~.* J, [0-9]* tok/s \('
prints '^  \[2/4\] .* c1: failed \(.*\): .*load_model'
prints '^  Pause '

say "a study without colour"
NO_COLOR=1 show 80 $study
check "no colour" sh -c "! grep -q '$(printf '\033')\[[0-9;]*m' '$tmp/raw'"

say "a study with -q"
show 80 $study -q
check "no display" sh -c "! grep -q done '$tmp/raw'"

say "a study's display is not standard output"
run llem $study
exits 1
prints_not '\[1/4\]' "progress on standard output"
complains '^  4/4 done, 2 failed'

say "measure shares the terminal"
show 80 measure --quick -- sh -c 'test -t 0 && read -t 5 x </dev/null; echo on a terminal; ps -o tpgid=,pgid= -p $$ | awk "{ print (\$1 == \$2) ? \"foreground\" : \"background\" }"'
exits 0
prints '^on a terminal$'
prints '^foreground$'
prints '^  Energy '
done_testing
