#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A worker for tests: answers by the protocol, but for the one thing it is told to do wrong.

It shares nothing with the workers of real engines, so that what is tested is the client.
"""

import json
import os
import signal
import subprocess
import sys
import time

config: dict = {}
prompts: list = []


def say(message: dict) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def setting(name: str, default=None):
    value = (config.get(config.get("engine"), None) or {}).get(name)
    return default if value is None else value


def misbehave(fault: str, number: int) -> None:
    if fault == "prints":
        print("Loading checkpoint shards: 100%|##########| 2/2", flush=True)
    elif fault == "dies":
        print("some trace\nRuntimeError: the device is on fire", file=sys.stderr, flush=True)
        os._exit(3)
    elif fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hangs":
        time.sleep(1000)
    elif fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    elif fault == "late":
        time.sleep(4)
    elif fault == "floods":
        line = "x" * (1 << 20)
        while True:
            sys.stdout.write(line)
    elif fault == "wrong_id":
        say({"id": number + 1, "result": {}})
    elif fault == "grandchild":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    elif fault == "grandchild_dies":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        os._exit(1)
    elif fault == "log":
        sys.stderr.write("WARNING: something is deprecated\n" * 10000)
        print("last words", file=sys.stderr, flush=True)


def run_inference(p: dict) -> dict:
    begin = time.monotonic_ns()
    receipts = []
    for repeat in range(p["repeats"]):
        for i in p["indices"]:
            sent = time.monotonic_ns()
            time.sleep(setting("request_s", 0.01))
            now = time.monotonic_ns()
            times = [sent + (now - sent) * (k + 1) // 4 for k in range(4)]
            r = {"pass": p["pass"], "repeat": repeat, "i": i, "t_submit_ns": sent,
                 "t_last_ns": now, "output_tokens": 4,
                 "finish": "length", "output_ids": [1, 2, 3, i]}
            if prompts:
                r["input_tokens"] = len(prompts[i])
            if p["text"]:
                r["output_text"] = "token token"
            if setting("token_times") or p["stream"]:
                r.update(t_first_ns=times[0], token_ns=times)
            receipts.append(r)
    end = time.monotonic_ns()
    for r in receipts:
        say({"method": "request", "params": r})
    say({"method": "steps", "params": {"begin_ns": [begin], "end_ns": [end],
                                       "prefill_tokens": [1], "decode_tokens": [4]}})
    both = [{"rank": rank, "t_begin_ns": begin + rank, "t_end_ns": end, "devices": [d],
             "input_tokens": sum(r.get("input_tokens", 0) for r in receipts),
             "output_tokens": sum(r["output_tokens"] for r in receipts)}
            for rank, d in enumerate(devices())]
    if setting("at") == "run_inference" and p["pass"] == 0:
        end = begin - 1 if setting("fault") == "edges" else end
        both = [7] if setting("fault") == "processes" else both
    return {"t_begin_ns": begin, "t_end_ns": end, "peak_memory_bytes": 12345,
            "process_results": both}


def devices() -> list:
    gpus = setting("gpus", "").split()
    return [{"kind": "gpu", "uuid": u} for u in gpus] or [{"kind": "cpu"}, {"kind": "cpu"}]


def answer(method: str, p: dict) -> dict:
    global prompts
    if method in setting("lacks", "").split():
        raise LookupError(method)
    if method in setting("empty", "").split():
        return {}
    if method == "initialize":
        fault = setting("fault") if setting("at") == "initialize" else None
        return {"protocol": 2 if fault == "version" else 1, "name": "scripted", "version": "7",
                "libraries": {"python": sys.version.split()[0]}}
    if method in ("clock", "synchronize"):
        return {"t_ns": time.monotonic_ns()}
    if method == "check_hardware":
        return {"errors": ["there is no GPU here"] if setting("fault") == "no_gpu" else []}
    if method == "load_prompts":
        whole = [x.split() if isinstance(x, str) else x for x in p["prompts"]]
        prompts = [x[:p["max_input_tokens"]] for x in whole]
        return {"input_tokens": [len(x) for x in prompts],
                "truncated": sum(len(a) > len(b) for a, b in zip(whole, prompts, strict=True))}
    if method == "load_model":
        say({"method": "progress", "params": {"text": "half of it", "fraction": 0.5}})
        say({"method": "log", "params": {"level": "warning", "text": "a word to the log"}})
        return {"load_s": 0.01, "model": {"name": p.get("model"), "parameters": 1000},
                "effective": {"dtype": "float32"}}
    if method == "run_warmup_prompt":
        return {"latency_ms": 1.0}
    if method == "run_inference":
        return run_inference(p)
    if method == "capture_observed_params":
        return {"engine_params": {"dtype": "float32"}, "sampling_params": {}}
    if method == "open_device":
        return {"devices": devices()}
    if method in ("cleanup", "shutdown"):
        return {}
    raise LookupError(method)


def refuse(number: int, code: int, text: str) -> None:
    say({"id": number, "error": {"code": code, "message": text}})


for line in sys.stdin:
    request = json.loads(line)
    method, number, params = request["method"], request["id"], request.get("params") or {}
    if method == "initialize":
        config.update(params["config"])
    # Its fault lies in the measured pass; the warm-up batch goes well.
    told = setting("at") == method and params.get("pass", 0) == 0
    if told and setting("kind"):
        say({"id": number, "error": {"code": -32000, "message": f"it is about {setting('kind')}",
                                     "data": {"kind": setting("kind"), "hint": setting("hint"),
                                              "traceback": "Traceback: of it"}}})
        continue
    if told and setting("fault"):
        misbehave(setting("fault"), number)
    counts = "load_prompts" not in (setting("lacks", "") + setting("empty", "")).split()
    if counts and not set(params.get("indices", [])) <= set(range(len(prompts))):
        refuse(number, -32602, "there is no such prompt")
        continue
    try:
        say({"id": number, "result": answer(method, params)})
    except LookupError:
        refuse(number, -32601, "there is no such method")
    if method == "shutdown":
        break
