#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem pack: one archive of a study, with checksums, the same bytes from the same files; and without what
# tells the machine and the person.
. "$(dirname "$0")/tap.sh"

unpack() { # ARCHIVE: into ./unpacked
    rm -rf unpacked
    mkdir unpacked
    python3 - "$1" <<'END'
import io, subprocess, sys, tarfile

data = subprocess.run(["zstd", "-dc", sys.argv[1]], capture_output=True, check=True).stdout
with tarfile.open(fileobj=io.BytesIO(data)) as tar:
    names = tar.getnames()
    assert names == [names[0], *sorted(names[1:])] and names[0].endswith("/SHA256SUMS"), names
    for m in tar.getmembers():
        assert m.isreg() and (m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) == (0o644, 0, 0, "", "", 946684800), m
        assert not m.name.startswith(("/", "..")) and len({n.split("/")[0] for n in names}) == 1
        target = "unpacked/" + m.name
        import os
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "wb").write(tar.extractfile(m).read())
END
}

sums() { (cd unpacked/* && sha256sum -c --quiet --strict SHA256SUMS); }

# A run with two pretended boards, a local model, prompts of one's own, a variable, and texts.
mkdir -p secret-person/secret-model-7b data
cp "$here"/../../examples/sample-model/* secret-person/secret-model-7b/
for i in 1 2 3; do echo "{\"prompt\": \"a very private question $i\"}"; done >data/private-prompts.jsonl
printf 'epoch boot\nboard h100 2\n  gain 1\n  load idle 400\n' >scenario
export LLEM_NVML_LIBRARY=$build/tests/fakes/libnvidia-ml.so.1 LLEM_FAKE_NVML_SCENARIO=$PWD/scenario
cat >study.yaml <<'END'
# a comment about secret-person
task: {model: ./secret-person/secret-model-7b, dataset: {source: data/private-prompts.jsonl, n_prompts: 2}, max_output_tokens: 4}
engine: cpu
measurement: {quick: true, warmup: {enabled: false}, baseline: {enabled: false}}
output: {save_outputs: text}
sweep: {cpu.batch_size: [1, 2]}
study_execution: {n_cycles: 1, experiment_order: sequential, experiment_gap_seconds: 0, cycle_gap_seconds: 0}
END
run llem run study.yaml -q -o "$PWD/results"
exits 0
unset LLEM_NVML_LIBRARY LLEM_FAKE_NVML_SCENARIO
dir=$(ls -d results/study_*)
name=$(basename "$dir")

say "a study"
run llem pack "$dir"
exits 0
quiet
prints "^$name.tar.zst\$"
check "members and their owner, mode and time" unpack "$name.tar.zst"
check "sha256sum -c accepts it" sums
rm "unpacked/$name/SHA256SUMS"
check "everything is there as it was" diff -r "$dir" "unpacked/$name"
check "no temporary file is left" test -z "$(ls -A | grep -F .llem-pack)"
run llem verify unpacked/*/001_*
exits 0
check "GNU tar reads it" sh -c "zstd -dc $name.tar.zst | tar -tf - | grep -q result.json"

say "the same files make the same bytes"
mkdir elsewhere
cp -r "$dir" elsewhere/
chmod -R u+x,g-r "elsewhere/$name"
find "elsewhere/$name" -exec touch -d 2001-01-01 {} +
run llem pack "elsewhere/$name/" -o again.tar.zst
exits 0
check "byte by byte" cmp "$name.tar.zst" again.tar.zst
unpack "$name.tar.zst"
run llem pack "unpacked/$name" -o again.tar.zst
exits 0
check "also of what was unpacked" cmp "$name.tar.zst" again.tar.zst

say "a single run"
run llem pack "$(ls -d "$dir"/001_*)" -o run.tar.zst
exits 0
check "members" unpack run.tar.zst
check "sha256sum -c accepts it" sums

say "--redact"
uuids=$(grep -rhoE 'GPU-[0-9a-f-]{36}' "$dir" | sort -u)
check "there is something to redact" test -n "$uuids" -a -n "$(grep -rl secret "$dir")"
run llem pack --redact "$dir" -o open.tar.zst
exits 0
complains 'files were left out; REDACTED.txt says what is missing'
check "members" unpack open.tar.zst
check "sha256sum -c accepts it" sums
for word in secret-person secret-model private-prompts "a very private" "$PWD" "$tmp" $uuids; do
    check "nothing says $(echo "$word" | sed "s,$tmp,TMP,")" sh -c "! grep -rqF -- '$word' unpacked && ! find unpacked | grep -qF -- '$word'"
done
for file in worker.log outputs.jsonl study_config.yaml study.yaml; do
    check "there is no $file" test -z "$(find unpacked -name $file)"
done
check "events say nothing either" python3 - <<'END'
import glob, subprocess

for path in glob.glob("unpacked/*/*/recording/events.text.utf8.zst"):
    data = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    assert b"secret" not in data and b"private" not in data, data
END
json_is unpacked/*/001_*/claim.json "(d['host'], d['boot_id'], d['job_id'], set(d['run_mark']))" "(None, None, None, {'0'})"
json_is unpacked/*/001_*/experiment.json "set(d['variables'].values())" "{'redacted'}"
run llem verify unpacked/*/001_* unpacked/*/002_*
exits 0 "figures can still be verified"
prints 'all equal'
check "a board is the same in both runs, under another UUID" sh -c \
    "test \$(grep -rhoE 'GPU-[0-9a-f-]{36}' unpacked | sort -u | wc -l) = $(echo "$uuids" | wc -l)"
run llem show unpacked/*/001_*
exits 0
run llem pack --redact "$dir" -o open2.tar.zst
check "twice the same bytes" cmp open.tar.zst open2.tar.zst

say "what is refused"
run llem pack
exits 2
complains "which study"
run llem pack a b
exits 2
complains "one too many"
run llem pack nothere
exits 1
complains "'nothere' cannot be read: No such file"
run llem pack data
exits 1
complains "'data' is no directory of a study or of a run"
run llem pack "$dir" -o "$dir/x.tar.zst"
exits 2
complains "would be within what it holds"
(cd "$dir" && run llem pack . && exits 2 && complains "would be within what it holds")
n=$((n + 2))
run llem pack "$dir" -o no/such/place.tar.zst
exits 1
complains "cannot write '?no/such/place.tar.zst"
ln -s /etc/passwd "elsewhere/$name/link"
run llem pack "elsewhere/$name" -o x.tar.zst
exits 2
complains "elsewhere/$name/link' is a symbolic link"
rm "elsewhere/$name/link"
mkfifo "elsewhere/$name/pipe"
run timeout 20 llem pack "elsewhere/$name" -o x.tar.zst
exits 2
complains "is no plain file"
rm "elsewhere/$name/pipe"
echo '{' >"elsewhere/$name/manifest.json"
run llem pack --redact "elsewhere/$name" -o x.tar.zst
exits 1
complains "manifest.json"
say "a study that runs"
flock -o "$dir" sleep 30 &
holder=$!
wait_for 5 sh -c "! flock -n '$dir' true"
run llem pack "$dir" -o x.tar.zst
exits 1
complains "is running"
kill $holder
wait_for 5 flock -n "$dir" true
if [ "$(id -u)" != 0 ]; then
    chmod 000 "elsewhere/$name/plan.json"
    run llem pack "elsewhere/$name" -o x.tar.zst
    exits 1
    complains "plan.json' cannot be read: Permission denied"
else
    skip "an unreadable file is a sentence" "root reads everything"
fi
say "a full disk"
run bash -c "trap '' XFSZ; ulimit -f 2; llem pack '$dir' -o x.tar.zst"
exits 1
complains "cannot write '?x.tar.zst"
check "nothing was written" sh -c "! ls -A | grep -qE '^.llem-pack|^x.tar'"
mkfifo pipe
run llem pack "$dir" -o pipe
exits 2
complains "'pipe' is no plain file"
check "the pipe is still one" test -p pipe
say "Ctrl-C"
dd if=/dev/urandom of="elsewhere/$name/big.json" bs=1M count=300 2>/dev/null
start stop env --default-signal=INT llem pack "elsewhere/$name" -o big.tar.zst
wait_for 10 sh -c "ls -A | grep -qF .llem-pack"
kill -INT "$(cat "$tmp/stop/pid")"
finish stop
exits 130
check "leaves nothing" sh -c "! ls -A | grep -qE '^.llem-pack|^big.tar'"
done_testing
