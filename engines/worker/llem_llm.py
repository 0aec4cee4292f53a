# SPDX-License-Identifier: MIT
"""What engines share that drive somebody's LLM class in processes of its own (vllm, tensorrt).

Settings checked against the installed package, prompts as token ids, what the GPUs are and hold by
NVML, and the ending of processes that a library started. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import difflib
import enum
import importlib
import inspect
import json
import os
import signal
import time
from typing import Any

from llem_worker import (
    Engine,
    WorkerError,
    check_prompts,
    classify,
    need_package,
    plain,
    split_revision,
    text_of,
    token_ids,
)

# ---- settings


def fields_of(kind: Any) -> set[str]:
    """The names that a class takes: pydantic, msgspec, a dataclass, or by its signature."""
    names = getattr(kind, "model_fields", None) or getattr(kind, "__struct_fields__", None)
    if names is None and dataclasses.is_dataclass(kind):
        names = [f.name for f in dataclasses.fields(kind) if f.init]
    if names is None:
        names = [
            p.name
            for p in inspect.signature(kind).parameters.values()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"
        ]
    return {n for n in names if not n.startswith("_")}


def refuse_unknown(
    given: Any, known: set[str], section: str, library: str, became: dict[str, str]
) -> None:
    """Raise the sentence for the first name that the installed library does not know.

    `section` is the path that the names are under, `became` says by path what took their place.
    """
    for name in given:
        if name in known:
            continue
        path = f"{section}.{name}"
        near = difflib.get_close_matches(name, known, 1, 0.6)
        hint = became.get(path) or (
            f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))[:300]}"
        )
        raise WorkerError(f"{library} has no setting {path}", "config", hint)


def settings(section: Any) -> dict[str, Any]:
    """What a section sets: the keys that are not null."""
    return {k: v for k, v in (section or {}).items() if v is not None}


def seed_of(seed: int, index: int) -> int:
    """The seed of a prompt, with room for one more an answer: random numbers of its own."""
    return (seed + (index << 20)) % (1 << 63)


def is_on(name: str) -> bool:
    """Whether a variable of the environment says yes."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def at(value: Any, path: str) -> Any:
    """`a.b.c` of an object; None where it ends."""
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def named(value: Any) -> Any:
    """A value as users write it: of an enumeration its name."""
    return value.name if isinstance(value, enum.Enum) else plain(value)


def adapter_of(setup: Any) -> tuple[str, int] | None:
    """The directory of the adapter that the section lora names, and its rank; None without one."""
    lora = settings(setup.get("lora"))
    if not lora:
        return None
    if lora.get("merge_weights"):
        raise WorkerError(
            f"lora.merge_weights: the engine {setup.engine} applies an adapter beside the weights",
            "config",
            "leave merge_weights out, or merge the adapter into the model's files first",
        )
    name = lora.get("adapter_path") or lora["adapter_id"]
    if lora.get("adapter_path"):
        path = setup.path(name)
    else:
        hub = need_package("huggingface_hub", why="lora.adapter_id needs it")
        repository, revision = split_revision(name)
        try:
            path = hub.snapshot_download(repository, revision=revision)
        except Exception as error:
            raise classify(error, None, name) from error
    try:
        with open(os.path.join(path, "adapter_config.json"), encoding="utf-8") as f:
            return path, int(json.load(f)["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkerError(
            f"the adapter {name} has no adapter_config.json with its rank: {error}",
            "config",
            "lora.adapter_path is a directory that peft saved an adapter in",
        ) from None


# ---- prompts


class LlmEngine(Engine):
    """An engine that tokenises by itself and gives its library token ids."""

    context_setting = "the context"  # what raises the limit of check_prompts

    def __init__(self, setup: Any):
        super().__init__(setup)
        self.prompts: list[list[int]] = []
        self.limits: tuple[int | None, int | None] = (None, None)  # context, vocabulary
        self.chat = bool(setup.get(f"{self.name}.chat_template"))
        self._tokenizer: Any = None
        model = setup.model
        if model.startswith(("/", "./", "../", "~")) and not os.path.exists(model):
            raise WorkerError(
                f"there is no model {model}",
                "model_not_found",
                "task.model is a directory with config.json and weights, or an id of the hub",
            )

    def make_tokenizer(self) -> Any:
        """The library's tokenizer of the model, without the model."""
        raise NotImplementedError

    def has_tokenizer(self, model: str) -> bool:
        """Whether a model comes with a tokenizer; a hub id is left to the library."""
        files = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
        return not os.path.isdir(model) or any(
            os.path.exists(os.path.join(model, f)) for f in (*files, "tekken.json")
        )

    def load_prompts(
        self,
        prompts: list[str | list[int]],
        max_input_tokens: int | None,
        chat_template: bool | str | None,
    ) -> tuple[list[int], int]:
        self.chat = bool(chat_template or self.setup.get(f"{self.name}.chat_template"))

        def encode(text: str, limit: int | None) -> list[int]:
            return self.encode(text)[:limit]

        self.prompts, cut = token_ids(prompts, max_input_tokens, encode)
        self.check_prompts()
        return [len(p) for p in self.prompts], cut

    def tokenizer(self) -> Any:
        """The tokenizer, made when it is first needed."""
        if self._tokenizer is None:
            if not self.has_tokenizer(self.setup.model):
                raise WorkerError(
                    f"the model {self.setup.model} has no tokenizer",
                    "config",
                    "texts cannot be tokenised without it; task.dataset.source: random needs none",
                )
            self._tokenizer = self.make_tokenizer()
        return self._tokenizer

    def decode(self, ids: list[int]) -> str:
        return text_of(self.tokenizer(), ids)

    def encode(self, text: str) -> list[int]:
        """A text as token ids, through the tokenizer's template where that is asked for."""
        tokenizer = self.tokenizer()
        if not self.chat:
            return list(tokenizer.encode(text))
        if not getattr(tokenizer, "chat_template", None):
            raise WorkerError(
                f"chat_template is on, and the tokenizer of {self.setup.model} has none", "config"
            )
        return list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        )

    def check_prompts(self) -> None:
        """Against the limits that are known by now."""
        check_prompts(self.prompts, *self.limits, self.context_setting)

    def check_pass(self, indices: list[int], repeats: int, loaded: Any) -> None:
        """A pass needs a model, prompts that exist, and at least one repeat."""
        if loaded is None:
            raise WorkerError(f"the engine {self.name} has no model loaded")
        if not indices or repeats < 1:
            raise WorkerError("a pass needs at least one prompt and one repeat", "config")
        for i in indices:
            if not 0 <= i < len(self.prompts):
                raise WorkerError(f"there is no prompt {i}; {len(self.prompts)} are loaded")


def describe_config(config: Any) -> dict[str, Any]:
    """The dimensions in a model's configuration (transformers), in the names of every engine."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    text = getattr(text, "text_config", None) or text

    def field(*names: str) -> Any:
        return next((v for v in (getattr(text, n, None) for n in names) if v is not None), None)

    heads, hidden = field("num_attention_heads", "n_head"), field("hidden_size", "n_embd")
    return {
        "architecture": (getattr(config, "architectures", None) or [None])[0],
        "hidden_size": hidden,
        "num_layers": field("num_hidden_layers", "n_layer"),
        "num_heads": heads,
        "num_kv_heads": field("num_key_value_heads") or heads,
        "head_size": field("head_dim") or (hidden // heads if heads and hidden else None),
        "intermediate_size": field("intermediate_size", "n_inner"),
        "vocab_size": field("vocab_size"),
        "max_positions": field("max_position_embeddings", "n_positions"),
        "tied_embeddings": field("tie_word_embeddings"),
        "sliding_window": field("sliding_window"),
        "experts": field("num_local_experts", "num_experts", "n_routed_experts"),
        "active_experts": field("num_experts_per_tok"),
    }


# ---- GPUs


@contextlib.contextmanager
def nvml():
    """The NVML package, initialised; None where it is missing or finds no driver."""
    library: Any = None
    for name in ("pynvml", "vllm.third_party.pynvml"):
        with contextlib.suppress(Exception):
            found = importlib.import_module(name)
            found.nvmlInit()
            library = found
            break
    try:
        yield library
    finally:
        if library is not None:
            library.nvmlShutdown()


def visible_gpus() -> list[dict[str, Any]]:
    """The GPUs that CUDA would see, in its order, without making a context on any."""
    with nvml() as n:
        if n is None:
            return []
        found = []
        for i in range(n.nvmlDeviceGetCount()):
            handle = n.nvmlDeviceGetHandleByIndex(i)
            gpu = {
                "kind": "gpu",
                "uuid": n.nvmlDeviceGetUUID(handle),
                "name": n.nvmlDeviceGetName(handle),
                "pci": n.nvmlDeviceGetPciInfo(handle).busId,
                "capability": tuple(n.nvmlDeviceGetCudaComputeCapability(handle)),
            }
            found.append({k: v.decode() if isinstance(v, bytes) else v for k, v in gpu.items()})
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return found
    visible = []
    for word in (w.strip() for w in chosen.split(",")):
        if word.isdigit():
            match = found[int(word) : int(word) + 1]
        else:
            match = [g for g in found if word and g["uuid"].startswith(word)]
        if len(match) != 1:
            break  # CUDA too stops at the first that it does not know
        visible += match
    return visible


def gpu_memory_of_children() -> int | None:
    """Bytes that this process and its descendants hold on all GPUs; None without NVML or any.

    The allocators of these libraries give nothing back, so at the end of a window it is the peak.
    """
    ours = children(os.getpid()) | {os.getpid()}
    held = []
    with nvml() as n:
        for i in range(n.nvmlDeviceGetCount() if n else 0):
            with contextlib.suppress(n.NVMLError):
                for p in n.nvmlDeviceGetComputeRunningProcesses(n.nvmlDeviceGetHandleByIndex(i)):
                    if p.pid in ours and p.usedGpuMemory:
                        held.append(p.usedGpuMemory)
    return sum(held) if held else None


# ---- processes


def children(of: int) -> set[int]:
    """Every descendant of a process that still runs."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                rest = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if rest[0] not in "ZX":
            parents.setdefault(int(rest[1]), []).append(int(name))
    found: set[int] = set()
    todo = [of]
    while todo:
        more = parents.get(todo.pop(), [])
        found.update(more)
        todo += more
    return found


def adopt_orphans() -> None:
    """Make grandchildren whose parent ends children of this process, so that none is lost."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def end_children(wait_s: float) -> None:
    """Wait for every descendant to end; end what is left, first politely."""
    with contextlib.suppress(Exception):
        from multiprocessing import resource_tracker

        resource_tracker._resource_tracker._stop()
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        for pid in children(os.getpid()) if number else ():
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        deadline = time.monotonic() + (3 if number else wait_s)
        while children(os.getpid()) and time.monotonic() < deadline:
            time.sleep(0.05)
    with contextlib.suppress(OSError):  # orphans that became ours are ours to reap
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
