"""The levers of `bench.levers`: for each, the same work without it and with it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from bench.child import Figures
from bench.throughput_lines import route
from bench.workload import TONES, Workload
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.recipes.json_answers import fits

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["refund", "invoice", "delivery_late", "damaged_item", "password"]},
        "tone": {"enum": [*TONES]},
        "urgent": {"type": "boolean"},
        "message": {"type": "string", "minLength": 40, "maxLength": 240},
    },
    "required": ["intent", "tone", "urgent", "message"],
    "additionalProperties": False,
}
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
REPEATED = {"all": 1} if is_cpu_build() else {"all": 1, "half": 2, "quarter": 4}
"""Among so many tokens an answer chooses at each place: by chance, where the weights are dummies. vLLM's CPU build speculates
rightly only without chance (`synth_ray.ask.vllm.speculation`).
"""
METHODS = ("ngram",) if is_cpu_build() else ("ngram", "ngram_gpu")
"""The second drafts on the GPU itself, so that vLLM prepares a step while the one before runs."""
FIRST_TOKEN = 100
"""An ordinary token of every vocabulary."""
LIKELIEST = 8


@dataclass(frozen=True)
class Lever:
    """`off` and `on` are the same requests. `replays`: answers end by themselves with the lever, and those without it are given
    the same lengths, in another order.
    """

    title: str
    off: Workload
    on: Workload
    replays: bool = False


def levers(work: Workload, *, system_tokens: int, schema_at: list[int], is_real: bool) -> dict[str, Lever]:
    """By name. `is_real`: the weights are those of a model, so that what it says of a text may be measured."""
    shared = replace(work, recipe={"system": work.words(random.Random(1), system_tokens)})
    without, cached = (_with(shared, enable_prefix_caching=on) for on in (False, True))
    made = {"prefix": Lever(f"prefix caching, {system_tokens} tokens shared", without, cached)}
    for name, tokens in REPEATED.items():
        given = {"allowed_token_ids": [*range(FIRST_TOKEN, FIRST_TOKEN + tokens)]}
        one = replace(work, recipe={"asked_with": given}, sampling={"temperature": float(tokens > 1)})
        for method in METHODS:
            title = f"{method} speculation, {name} of the next tokens right"
            made[f"{method}-{name}"] = _lever(title, one, speculative_config=NGRAM | {"method": method})
    if is_real:
        made["rewriting"] = _lever("n-gram speculation, rewriting (greedy)", _rewriting(work), speculative_config=NGRAM)
    made |= {f"schema-{running}": _guided(work, running) for running in schema_at}
    likeliest = replace(work, recipe={"asked_with": {"top_k_logprobs": LIKELIEST}})
    made["likeliest"] = Lever(f"the {LIKELIEST} likeliest tokens kept", work, likeliest)
    made["fp8-weights"] = _lever("weights in FP8", work, quantization="fp8")
    made["fp8-kv"] = _lever("KV cache in FP8", work, kv_cache_dtype="fp8")
    made["fp8"] = _lever("weights and KV cache in FP8", work, quantization="fp8", kv_cache_dtype="fp8")
    return made


def _lever(title: str, work: Workload, **engine: Any) -> Lever:
    return Lever(title, work, _with(work, **engine))


def _with(work: Workload, **engine: Any) -> Workload:
    return replace(work, engine={**work.engine, **engine})


def _guided(work: Workload, running: int) -> Lever:
    one = _with(replace(work, requests=max(work.requests, 2 * running)), max_num_seqs=running)
    guided = replace(one, recipe={"schema": SCHEMA}, lengths=[work.longest_answer])
    return Lever("answers guided by a schema", one, guided, replays=True)


def _rewriting(work: Workload) -> Workload:
    """Passages of this project's own documentation, rephrased by the recipe that users have for it."""
    texts = [*_paragraphs()]
    recipe = {"name": "rewrite", "passage_tokens": 200}
    sampling = {"temperature": 0.0, "max_tokens": min(256, work.longest_answer)}
    return replace(work, texts=texts, requests=min(work.requests, len(texts)), recipe=recipe, sampling=sampling)


def _paragraphs() -> Iterator[str]:
    for file in sorted((Path(__file__).parent.parent / "docs").glob("*.md")):
        for paragraph in file.read_text(encoding="utf-8").split("\n\n"):
            if 200 < len(paragraph) < 700 and paragraph[0].isalpha():
                yield paragraph


def run(work: Workload, engine: str) -> Figures:
    """A whole job of this work. Of answers by a schema it tells how many fit it, and their lengths."""
    return route(work, engine, _look_at_answers if "schema" in work.recipe else _look)


def _look(manifest: Mapping[str, Any], _output: Path) -> Figures:
    replica, tokens = manifest["throughput"]["replicas"][0], manifest["tokens"]
    drafted = replica.get("drafted_tokens")
    return {
        "cached": tokens["cached"] / tokens["prompt"],
        "accepted": replica["accepted_drafts"] / drafted if drafted else None,
        "answered": manifest["rows"]["requested"] - sum(manifest["rows"]["failed"].values()),
    }


def _look_at_answers(manifest: Mapping[str, Any], output: Path) -> Figures:
    kept = [ds.dataset(output / name, format="parquet") for name in ("data", "rejected") if (output / name).is_dir()]
    rows = [row for one in kept for row in one.to_table(["completion", "completion_tokens"]).to_pylist()]
    valid = sum(fits(row["completion"], SCHEMA) for row in rows) / len(rows)
    return _look(manifest, output) | {"valid": valid, "lengths": [row["completion_tokens"] for row in rows]}


def work_of(text: str) -> Workload:
    return Workload(**json.loads(text))
