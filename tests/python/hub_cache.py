# SPDX-License-Identifier: MIT
"""One cache for llem and huggingface_hub: what either fetches from a hub on this machine, the other
finds, file by file and under the same names."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import jsonschema
import tap

SOURCE = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
LLEM = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "llem"
SCHEMA = json.loads((SOURCE / "docs/schemas/fetch.schema.json").read_text())
REVISIONS = ("main", "v1", "refs/pr/1")


class Hub:
    """The tests' hub with two models, and a cache of its own."""

    def __init__(self, directory: pathlib.Path):
        self.root, self.home = directory / "hub", directory / "hf"
        for name, model in (("org/tiny", "llama"), ("org/sharded", "qwen2")):
            shutil.copytree(SOURCE / "tests/data/models" / model, self.root / "models" / name)
        (self.root / "models/org/tiny/sub").mkdir()
        (self.root / "models/org/tiny/sub/a b.txt").write_text("words\n")
        self.server = subprocess.Popen(
            [sys.executable, SOURCE / "tests/support/hub_server.py", self.root]
        )
        while not (self.root / "address").exists():
            assert self.server.poll() is None
            time.sleep(0.02)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "LLEM_", "HUGG"))}
        self.environment = {
            **kept,
            "HOME": str(directory),
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": (self.root / "address").read_text(),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def run(self, *command, check: bool = True, **variables: str) -> str:
        done = subprocess.run(
            [str(c) for c in command],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.home.parent,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if check else done.stdout + done.stderr

    def fetch(self, model: str) -> dict:
        (entry,) = json.loads(self.run(LLEM, "fetch", "-m", model, "--json"))
        return entry

    def hub_tools(self, model: str, revision: str, **options) -> pathlib.Path:
        """snapshot_download in a process of its own, because variables are read at import."""
        program = (
            "import json, sys, huggingface_hub as h\n"
            "print(h.snapshot_download(sys.argv[1], revision=sys.argv[2],"
            " **json.loads(sys.argv[3])))"
        )
        out = self.run(sys.executable, "-c", program, model, revision, json.dumps(options))
        return pathlib.Path(out.strip().splitlines()[-1])

    def files(self, snapshot: pathlib.Path) -> dict[str, str]:
        """Name in the snapshot to what its link says."""
        return {
            p.relative_to(snapshot).as_posix(): os.readlink(p)
            for p in snapshot.rglob("*")
            if p.is_symlink()
        }

    def requests(self) -> list[str]:
        log = self.root / "log"
        return log.read_text().splitlines() if log.exists() else []


@contextlib.contextmanager
def hub():
    with tempfile.TemporaryDirectory(prefix="llem-hub-") as directory:
        h = Hub(pathlib.Path(directory))
        try:
            yield h
        finally:
            h.server.kill()
            h.server.wait()


def run_model(h: Hub, model: str) -> dict:
    """What the recording says of the model that `llem run -e cpu` finds offline."""
    out = h.run(
        *[LLEM, "run", "-m", model, "-e", "cpu", "-d", "random", "-n", "1", "--quick", "-q"],
        *["--set", "task.dataset.input_tokens=4", "--set", "task.max_output_tokens=2"],
        *["-o", h.home.parent / "results"],
        HF_HUB_OFFLINE="1",
    )
    directory = h.home.parent / out.strip()
    return json.loads((directory / "recording/recording.json").read_text())["model"]


def test_what_llem_fetches_huggingface_hub_finds():
    with hub() as h:
        for model in ("org/tiny", "org/sharded"):
            for revision in REVISIONS:
                entry = h.fetch(f"{model}@{revision}")
                jsonschema.validate([entry], SCHEMA)
                before = len(h.requests())
                path = h.hub_tools(model, revision, local_files_only=True)
                assert str(path) == entry["path"], (path, entry)
                assert h.hub_tools(model, entry["commit"], local_files_only=True) == path
                assert len(h.requests()) == before
                for name, link in h.files(path).items():
                    assert not link.startswith("/")
                    have = (path / name).read_bytes()
                    assert have == (h.root / "models" / model / name).read_bytes(), name


def test_what_llem_fetched_huggingface_hub_does_not_fetch_again():
    with hub() as h:
        h.fetch("org/tiny")
        before = h.files(h.hub_tools("org/tiny", "main", local_files_only=True))
        count = len(h.requests())
        after = h.files(h.hub_tools("org/tiny", "main"))
        assert before == after
        assert not [r for r in h.requests()[count:] if r.startswith("cdn")], h.requests()[count:]


def test_what_huggingface_hub_fetches_llem_finds():
    with hub() as h:
        for model in ("org/tiny", "org/sharded"):
            for revision in REVISIONS:
                path = h.hub_tools(model, revision)
                before = len(h.requests())
                found = run_model(h, f"{model}@{revision}")
                assert found["revision"] == path.name, found
                assert len(h.requests()) == before
                assert run_model(h, f"{model}@{path.name}")["sha256"] == found["sha256"]


def test_both_leave_the_same_cache():
    with hub() as h:
        theirs = h.files(h.hub_tools("org/tiny", "v1"))
        blobs = sorted(p.name for p in (h.home / "hub/models--org--tiny/blobs").iterdir())
        ref = (h.home / "hub/models--org--tiny/refs/v1").read_bytes()
        shutil.rmtree(h.home)
        entry = h.fetch("org/tiny@v1")
        assert h.files(pathlib.Path(entry["path"])) == theirs
        assert (h.home / "hub/models--org--tiny/refs/v1").read_bytes() == ref
        have = sorted(p.name for p in (h.home / "hub/models--org--tiny/blobs").iterdir())
        assert have == blobs


def test_each_waits_for_the_lock_of_the_other():
    with hub() as h:
        entry = h.fetch("org/tiny")
        (blob,) = [
            (pathlib.Path(entry["path"]) / n).resolve()
            for n in h.files(pathlib.Path(entry["path"]))
            if n == "model.safetensors"
        ]
        blob.unlink()
        lock = h.home / "hub/.locks/models--org--tiny" / f"{blob.name}.lock"
        with open(lock, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            fetching = subprocess.Popen(
                [LLEM, "fetch", "-m", "org/tiny", "-q"],
                env=h.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(1)
            assert fetching.poll() is None and not blob.exists()
        assert fetching.wait(timeout=60) == 0
        assert blob.exists()


def test_variables_mean_what_they_mean_to_huggingface_hub():
    """Where the cache is, and whether there is a network, as both say under the same variables."""
    program = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE, c.HF_HUB_OFFLINE)"
    sets = [
        {},
        {"HF_HOME": "/a"},
        {"HF_HOME": "~/b"},
        {"HF_HOME": "$HOME/c/${NOT_THERE}"},
        {"HF_HUB_CACHE": "/d"},
        {"HF_HUB_CACHE": "~/e", "HF_HOME": "/f"},
        {"HUGGINGFACE_HUB_CACHE": "/g"},
        {"HUGGINGFACE_HUB_CACHE": "/g", "HF_HUB_CACHE": "/h"},
        {"XDG_CACHE_HOME": "/i"},
        {"XDG_CACHE_HOME": "/i", "HF_HOME": "/j"},
        {"HF_HUB_OFFLINE": "1"},
        {"HF_HUB_OFFLINE": "on", "HF_HOME": "/k"},
        {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
        {"TRANSFORMERS_OFFLINE": "YES"},
        {"HF_HUB_OFFLINE": "maybe"},
    ]
    with hub() as h:
        h.environment.pop("HF_HOME")
        h.environment.pop("XDG_CACHE_HOME", None)
        h.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
        for variables in sets:
            cache, offline = h.run(sys.executable, "-c", program, **variables).split()
            ours = h.run(
                *[LLEM, "run", "-m", "org/none", "-e", "cpu", "-d", "builtin", "-n", "1", "-q"],
                check=False,
                **variables,
            )
            assert f"not in the Hugging Face cache '{cache}'" in ours, (variables, cache, ours)
            if offline == "True":
                ours = h.run(LLEM, "fetch", "-m", "org/none", check=False, **variables)
                assert "HF_HUB_OFFLINE is set" in ours, (variables, ours)


tap.run()
