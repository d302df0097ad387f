"""The lines of `bench.throughput`, each run in a process of its own and timed from the ready engine to the last answer.

`raw` is vLLM as it comes: `LLM.chat` of everything at once, its engine in a process of its own. `in-process` has it in the
caller's process, where its steps and their CPU time can be counted. `local` and `ray` are whole jobs.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.child import Figures
from bench.processes import cpu_s, tree
from bench.throughput_peers import PEERS, chat_of, sampling_of
from bench.workload import Workload, set_environment


def raw(work: Workload, *, in_process: bool) -> Figures:
    set_environment()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if in_process else "1"
    began = time.monotonic()
    from vllm import LLM

    more = {"distributed_executor_backend": "uni", "disable_log_stats": True} if in_process else {}
    llm = LLM(model=work.model, **more, **work.engine)
    spent = Counter[str]()
    if in_process:
        for name in ("add_request", "step"):
            setattr(llm.llm_engine, name, _counted(spent, name, getattr(llm.llm_engine, name)))
    asked = work.planned()
    conversations, parameters = [chat_of(one) for one in asked], [sampling_of(one["tokens"]) for one in asked]
    ready = time.monotonic()
    done = llm.chat(conversations, parameters, use_tqdm=False)
    figures: Figures = {"seconds": time.monotonic() - ready, "start_s": ready - began}
    figures["tokens"] = sum(len(output.outputs[0].token_ids) for output in done)
    figures["tokens_in"] = sum(len(output.prompt_token_ids) for output in done)
    return figures | ({"steps": spent["steps"], "engine_cpu_s": spent["nanos"] / 1e9} if in_process else {})


def _counted(spent: Counter[str], name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """Count calls and CPU time of a method that the engine thread calls in a real run: add_request and step."""

    def counted(*arguments: Any, **more: Any) -> Any:
        began = time.thread_time_ns()
        result = inner(*arguments, **more)
        spent["nanos"] += time.thread_time_ns() - began
        spent["steps"] += name == "step"
        return result

    return counted


class _Moments:
    """When all engines were up and when the last answer came, with the tokens that were answered and the CPU time that was spent
    until then. Engines on one accelerator start in turn: what the first answers meanwhile is left out, but of the requests that
    it has begun by then the whole answers are counted.
    """

    def __init__(self, work: Workload) -> None:
        self._work = work
        self.at: dict[str, dict[str, float]] = {}

    def __call__(self, tally: Any) -> None:
        conditions = {"ready": tally.replicas >= self._work.engines, "last": tally.requests_done == self._work.requests}
        for name, is_true in conditions.items():
            if is_true and name not in self.at:
                cpu = sum(map(cpu_s, tree(os.getpid())))
                self.at[name] = {"time": time.monotonic(), "cpu": cpu, "tokens": tally.tokens["completion"]}


Look = Callable[[dict[str, Any], Path], Figures]


def route(work: Workload, engine: str, look: Look = lambda _manifest, _output: {}) -> Figures:
    """A whole job's figures. `look` adds more, of its manifest and its output."""
    set_environment()
    import synth_ray

    moments = _Moments(work)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        manifest = synth_ray.run(_job(work, folder, engine), watch=moments).manifest
        seen = look(manifest, Path(folder) / "out")
    if "ready" not in moments.at:
        raise SystemExit(f"--prompts: wanted more: all {work.requests} were answered before {work.engines} engines were up")
    ready, last = moments.at["ready"], moments.at["last"]
    replicas = manifest["throughput"]["replicas"]
    engine_cpu = sum(replica["engine_cpu_s"] for replica in replicas)
    return {
        "tokens": manifest["tokens"]["completion"] - ready["tokens"],
        "tokens_in": manifest["tokens"]["prompt"],
        "seconds": last["time"] - ready["time"],
        "start_s": ready["time"] - began,
        "steps": sum(replica["steps"] for replica in replicas),
        "engine_cpu_s": engine_cpu,
        "all_else": 1 - engine_cpu / max(1e-9, last["cpu"] - ready["cpu"]) if len(replicas) == 1 else None,
        "roofline": sum(replica.get("roofline", {}).get("share", 0) for replica in replicas) or None,
        **{name: sum(replica[name] for replica in replicas) / len(replicas) for name in ("occupancy", "idle_starved_share")},
        **seen,
    }


def _job(work: Workload, folder: str, engine: str) -> dict[str, Any]:
    seeds = Path(folder) / "seeds.jsonl"
    seeds.write_text("".join(json.dumps(prompt) + "\n" for prompt in work.prompts))
    share = {"gpus_per_teacher": math.floor(1e4 / work.engines) / 1e4} if work.engines > 1 else {}
    return {
        "name": "throughput",
        "seeds": str(seeds),
        "recipe": {"name": "bench.long_tail", **work.recipe},
        "models": {"teacher": {"model": work.model, "engine_args": dict(work.engine)}},
        "sampling": {"temperature": 0.8, **work.sampling},
        "check": {"drop": []},
        "split": {"fractions": {"train": 1.0}},
        "output": f"{folder}/out",
        "cluster": {"engine": engine, "teachers": work.engines, **share},
    }


OWN: dict[str, tuple[str, Callable[[Workload], Figures]]] = {
    "raw": ("LLM.chat, vLLM's defaults", lambda work: raw(work, in_process=False)),
    "in-process": ("LLM.chat, engine in its caller's process", lambda work: raw(work, in_process=True)),
    "local": ("route, threads", lambda work: route(work, "local")),
    "ray": ("route, Ray", lambda work: route(work, "ray")),
}
NAMES = {name: label for name, (label, _) in OWN.items()} | {name: label for name, (label, _) in PEERS.items()}


def run(line: str, work: Workload) -> Figures:
    if line in OWN:
        return OWN[line][1](work)
    set_environment()
    return PEERS[line][1](work.planned(), work.model, dict(work.engine))
