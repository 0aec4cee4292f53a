# SPDX-License-Identifier: MIT
#
# The program as a user runs it, checked in TAP. A test sources this file, calls `run` and the checks below
# it, and ends with `done_testing`. `--update` (or LLEM_TEST_UPDATE=1) rewrites golden files.
#
#     . "$(dirname "$0")/tap.sh"
#     run llem --version
#     exits 0
#     prints '^llem [0-9]'
#     done_testing

set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${LLEM_TEST_BUILD_DIR:-$here/../../build}
build=$(cd "$build" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/llem-cli.XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
[ "${1:-}" = --update ] && LLEM_TEST_UPDATE=1

# Nothing of the machine or its user may show.
for name in $(env | sed -n 's/^\(LLEM_[A-Z_]*\)=.*/\1/p'); do
    case $name in LLEM_TEST_*) ;; *) unset "$name" ;; esac
done
unset NO_COLOR SSL_CERT_FILE $(env |
    sed -nE 's/^(HF_[A-Z_]*|HUGGING[A-Z_]*|TRANSFORMERS_OFFLINE|XDG_CACHE_HOME|[a-zA-Z]*_(proxy|PROXY))=.*/\1/p')
export HOME=$tmp/home XDG_CONFIG_HOME=$tmp/home/config XDG_DATA_HOME=$tmp/home/data
export LC_ALL=C.UTF-8 COLUMNS=80 TERM=xterm PATH=$build:$PATH
mkdir -p "$HOME" "$tmp/work"
cd "$tmp/work" || exit 99

n=0
failed=0
said=
command=

# An engine that only waits: `llem run $quick -q`.
quick="-m ./model -e test -d builtin -n 3 --quick"

run() { # COMMAND...: $status, $tmp/out, $tmp/err
    command=$*
    timeout -s KILL 60 "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    status=$?
}

start() { # NAME COMMAND...: in the background; what it writes goes under $tmp/NAME
    local name=$1
    shift
    mkdir -p "$tmp/$name"
    "$@" >"$tmp/$name/stdout" 2>"$tmp/$name/stderr" </dev/null &
    echo $! >"$tmp/$name/pid"
    echo "$*" >"$tmp/$name/command"
}

finish() { # NAME: $status, $tmp/out, $tmp/err of what was started, $result, $recording of its -o $tmp/NAME/out
    say "$1"
    command=$(cat "$tmp/$1/command")
    wait "$(cat "$tmp/$1/pid")"
    status=$?
    cp "$tmp/$1/stdout" "$tmp/out"
    cp "$tmp/$1/stderr" "$tmp/err"
    result=$(ls "$tmp/$1"/out/result.json "$tmp/$1"/out/study_*/001_*/result.json 2>/dev/null)
    recording=$(dirname "$result")/recording/recording.json
}

say() { said=$1; } # what the next checks are about

report() { # OK NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then
        echo "ok $n - ${said:+$said: }$2"
        return 0
    fi
    failed=$((failed + 1))
    echo "not ok $n - ${said:+$said: }$2"
    {
        echo "command: $command"
        echo "status: ${status:-}"
        echo "stdout:"
        head -n 40 "$tmp/out" 2>/dev/null
        echo "stderr:"
        head -n 40 "$tmp/err" 2>/dev/null
    } | sed 's/^/# /'
    return 1
}

check() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >/dev/null 2>&1
    report $? "$name"
}

skip() { # NAME REASON
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

exits() { [ "$status" = "$1" ]; report $? "exits with $1${2:+, $2}"; }
prints() { grep -Eq -- "$1" "$tmp/out"; report $? "prints ${2:-/$1/}"; }
prints_not() { ! grep -Eq -- "$1" "$tmp/out"; report $? "does not print ${2:-/$1/}"; }
complains() { grep -Eq -- "$1" "$tmp/err"; report $? "complains ${2:-/$1/}"; }
complains_not() { ! grep -Eq -- "$1" "$tmp/err"; report $? "does not complain ${2:-/$1/}"; }
silent() { [ ! -s "$tmp/out" ]; report $? "prints nothing"; }
quiet() { [ ! -s "$tmp/err" ]; report $? "complains of nothing"; }
lines() { [ "$(wc -l <"$tmp/out")" = "$1" ]; report $? "prints $1 line(s)"; }

golden() { # NAME [FILE]: $tmp/out, or FILE, is what tests/cli/golden/NAME says
    local file=${2:-$tmp/out}
    if [ "${LLEM_TEST_UPDATE:-}" = 1 ]; then
        cp "$file" "$here/golden/$1"
    fi
    diff -u "$here/golden/$1" "$file" >"$tmp/diff" 2>&1
    local rc=$?
    report $rc "is as golden/$1" || sed 's/^/# /' "$tmp/diff"
}

json() { # FILE PYTHON-EXPRESSION of d: the value, as Python prints it
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$1" "$2"
}

json_is() { # FILE EXPRESSION EXPECTED
    local got
    got=$(json "$1" "$2" 2>&1)
    [ "$got" = "$3" ]
    report $? "$(basename "$1"): $2 is $3" || echo "$got" | sed 's/^/# got: /'
}

marked() { # MARK: processes that carry LLEM_RUN=MARK, one a line
    grep -lz -- "^LLEM_RUN=$1\$" /proc/[0-9]*/environ 2>/dev/null | sed 's,/proc/\([0-9]*\)/.*,\1,' |
        while read -r pid; do
            # A process that ended and was not reaped is none.
            case $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) in "" | Z*) ;; *) echo "$pid" ;; esac
        done
}

wait_for() { # SECONDS COMMAND...: until it succeeds
    local i=$(($1 * 20))
    shift
    while ! "$@" >/dev/null 2>&1; do
        i=$((i - 1))
        [ $i -gt 0 ] || return 1
        sleep 0.05
    done
}

serve_hub() { # $hub: what is in it is on the hub from now on; $HF_ENDPOINT, $HF_HOME
    python3 "$here/../support/hub_server.py" "$hub" 2>"$tmp/hub.err" &
    server=$!
    trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$tmp"' EXIT
    wait_for 20 test -e "$hub/address" || sed 's/^/# /' "$tmp/hub.err"
    HF_ENDPOINT=$(cat "$hub/address")
    export HF_ENDPOINT HF_HOME=$tmp/hf
}

none_left() { # MARK
    wait_for 5 sh -c "! grep -lz '^LLEM_RUN=$1\$' /proc/[0-9]*/environ 2>/dev/null | grep -q ." ||
        [ -z "$(marked "$1")" ]
    report $? "leaves no process behind"
}

done_testing() {
    echo "1..$n"
    [ $failed = 0 ]
    exit
}
