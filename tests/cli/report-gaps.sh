#!/bin/bash
# SPDX-License-Identifier: MIT
#
# llem report-gaps: what an engine's libraries warn of is recorded with each run, and becomes rules whose
# conditions are the settings that tell the runs with a warning from those without.
. "$(dirname "$0")/tap.sh"

mkdir -p plugins/noisy
export LLEM_PLUGIN_PATH=$PWD/plugins
cat >plugins/noisy/engine.yaml <<'END'
name: noisy
help: an engine whose library warns
command: [python3, worker.py]
options:
- {path: beams, type: int, min: 1, help: beams}
- {path: mode, type: string, help: a mode}
- {path: patience, type: int, help: patience}
END
cat >plugins/noisy/worker.py <<'END'
import logging
import os
import time
import warnings

import llem_worker

library = logging.getLogger("noisylib")
library.propagate = False  # as libraries do that print by themselves
library.addHandler(logging.NullHandler())


class Noisy(llem_worker.Engine):
    name = "noisy"

    def load_prompts(self, prompts, max_input_tokens, chat_template):
        return [1] * len(prompts), 0

    def load_model(self, progress):
        beams, mode = self.setup.get("noisy.beams"), self.setup.get("noisy.mode")
        if beams == 4:
            for i in range(3):
                library.warning("the cache at %s holds %d blocks, see run.py:%d", os.getcwd(), i, 7)
        if beams == 2 and mode == "fast":
            warnings.warn("fast beams are experimental", UserWarning)
        if mode == "odd":
            raise llem_worker.WorkerError(f"mode odd is not for {beams} beams", "config")
        if mode == "die":
            library.error("dying now")
            os._exit(5)
        return {"devices": [], "model": {}, "effective": {}}

    def run_inference(self, pass_id, indices, repeats, stream):
        library.warning("inside")
        begin = time.monotonic_ns()
        receipts = [
            {"repeat": r, "i": i, "t_submit_ns": begin, "t_last_ns": begin + 1, "input_tokens": 1,
             "output_tokens": 1, "finish": "stop"}
            for r in range(repeats) for i in indices
        ]
        return llem_worker.Inference(begin, time.monotonic_ns(), None, receipts)


llem_worker.serve(Noisy)
END

noisy() { # NAME SETTING...
    local name=$1
    shift
    llem run -m m -e noisy -d builtin -n 2 --quick -q --set measurement.baseline.enabled=false \
        --set measurement.warmup.enabled=false "${@/#/--set=noisy.}" -o "$name" >/dev/null 2>"$tmp/err"
}
noisy a/1 beams=4 &
noisy a/2 beams=4 mode=slow &
wait
noisy b/1 beams=1 &
noisy b/2 beams=2 mode=fast &
wait
noisy b/3 beams=2 mode=slow &
noisy b/4 beams=1 mode=fast &
wait
noisy c/1 beams=1 mode=odd
noisy c/2 beams=8 mode=die
say "a worker that tells what it saw keeps to the protocol"
run llem check-engine noisy --set noisy.beams=4
prints_not "notification 'observation'"
prints "rules looked at"

runs=$(ls -d [abc]/*/study_*/001_*)
check "eight runs" test "$(echo "$runs" | wc -l)" = 8

say "what is recorded"
dir=$(echo a/1/study_*/001_*)
json_is "$dir/recording/recording.json" \
    "[(o['level'], o['source'], o['file'], o['count']) for o in d['observations'] if 'cache' in o['text']]" \
    "[('warning', 'noisylib', 'worker.py', 1), ('warning', 'noisylib', 'worker.py', 1), ('warning', 'noisylib', 'worker.py', 1)]"
json_is "$(echo b/2/study_*/001_*)/recording/recording.json" \
    "[(o['source'], o['text']) for o in d['observations'] if 'fast' in o['text']]" \
    "[('UserWarning', 'fast beams are experimental')]"
json_is "$dir/recording/recording.json" "[o['count'] for o in d['observations'] if o['text'] == 'inside']" "[1]"
run llem verify "$dir"
exits 0

say "gaps"
run llem report-gaps $runs --out out/gaps.yaml
exits 0
quiet
prints '^3 gaps in 8 runs: out/gaps.yaml$'
golden report-gaps.yaml out/gaps.yaml
check "every document is a rules.yaml of an engine" python3 - <<'END'
import os, pathlib, subprocess

folder = pathlib.Path(os.environ["LLEM_PLUGIN_PATH"], "noisy")
documents = pathlib.Path("out/gaps.yaml").read_text().split("---\n")
assert len(documents) == 3
for text in documents:
    (folder / "rules.yaml").write_text(text)
    subprocess.run("llem run --dry-run -m m -e noisy -d builtin --set noisy.beams=3".split(), check=True)
(folder / "rules.yaml").unlink()
END

say "what a rule knows is no gap"
python3 - <<'END'
import pathlib

documents = pathlib.Path("out/gaps.yaml").read_text().split("---\n")
rules = "".join(d.partition("rules:\n")[2] for d in documents)
pathlib.Path("plugins/noisy/rules.yaml").write_text("version: 1\nrules:\n" + rules)
END
run llem report-gaps $runs --out out/more.yaml
exits 0
prints '^No gaps in 8 runs; rules know what was said.$'
check "no file is written" test ! -e out/more.yaml
LLEM_PLUGIN_PATH=$PWD/plugins run llem run --dry-run -m m -e noisy -d builtin --set noisy.beams=4
exits 0
complains 'holds <NUM> blocks.*\(rule noisy_runtime_the_cache[a-z_]*\)$'
LLEM_PLUGIN_PATH=$PWD/plugins run llem plan -m m -e noisy -d builtin --sweep noisy.beams=3,4
exits 0
complains 'holds <NUM> blocks.*\(rule noisy_runtime_the_cache[a-z_]*; 1 of 2 experiments\)$'
rm plugins/noisy/rules.yaml

say "exceptions"
run llem report-gaps $runs --out out/more.yaml --include-exceptions
exits 0
prints '^4 gaps in 8 runs'
check "a refusal becomes a rule that refuses" grep -qx -- '    severity: error' out/more.yaml
check "about the setting that was refused" grep -qx '      noisy.mode: odd' out/more.yaml

say "--engine, --study-dir"
run llem report-gaps --study-dir a/1/study_* --study-dir "$dir" --engine noisy --out out/more.yaml
exits 0
prints '^2 gaps in 2 runs'
run llem report-gaps --study-dir a/1/study_* --engine cpu --out out/none.yaml
exits 0
prints '^No gaps in 0 runs; nothing was said.$'
run llem report-gaps --engine nosy --study-dir a --out out/none.yaml
exits 2
complains "there is no engine 'nosy'"

say "a recording of an earlier program is no evidence of silence"
sed -i '/"observations": \[/,/^  \],\?$/d' b/4/study_*/001_*/recording/recording.json
run llem report-gaps $runs --out out/old.yaml
exits 0
complains "^llem: b/4/study_.*: its recording does not say what was warned of; not counted as silent$"

say "mistakes"
run llem report-gaps --out x.yaml
exits 2
complains "which studies"
run llem report-gaps a
exits 2
complains "where to"
run llem report-gaps nothere --out x.yaml
exits 1
complains "'nothere' cannot be read: No such file"
run llem report-gaps plugins --out x.yaml
exits 1
complains "there are no experiments in 'plugins'"
run llem report-gaps --source=elsewhere a --out x.yaml
exits 2
complains "runtime-warnings"
run llem report-gaps $runs --out plugins/noisy/worker.py/x.yaml
exits 1
complains "plugins/noisy/worker.py"
check "nothing was written" test ! -e x.yaml
done_testing
