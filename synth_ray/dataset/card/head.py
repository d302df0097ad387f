"""The card's header: the Hugging Face Hub's metadata, and what `datasets` loads the files by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from synth_ray.dataset.card.licence import licence_keys
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.records import LOGPROBS, MESSAGES, THOUGHT_MESSAGES

_LIKELY = [{"name": "token", "dtype": "string"}, {"name": "id", "dtype": "int32"}, {"name": "logprob", "dtype": "float32"}]
_TURN = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
_FEATURES: dict[str, dict[str, Any]] = {
    str(MESSAGES): {"list": _TURN},
    str(THOUGHT_MESSAGES): {"list": [*_TURN, {"name": "reasoning", "dtype": "string"}]},
    "list<item: string>": {"list": "string"},
    "double": {"dtype": "float64"},
    str(pa.list_(pa.uint32())): {"list": "uint32"},
    str(pa.list_(pa.float16())): {"list": "float16"},
    str(LOGPROBS): {"list": [*_LIKELY, {"name": "top", "list": _LIKELY}]},
}
_SAME_DTYPE = {"string", "bool", "int8", "int32", "int64"}

_TEXT_GENERATION = "text-generation"
_TASKS = {"label": "text-classification"}
_TAGS = {
    "prefer": ["preference", "dpo"],
    "converse": ["conversational", "function-calling"],
    "label": ["labels"],
    "edge_cases": ["evaluation"],
    "evolve": ["instruction-tuning"],
    "vary": ["instruction-tuning"],
    "distill": ["distillation"],
    "score": ["distillation"],
}

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)


def head_of(manifest: Manifest) -> dict[str, Any]:
    """The header of a published version."""
    head: dict[str, Any] = {"pretty_name": manifest.name, **licence_keys(manifest.license)}
    if languages := languages_of(manifest):
        head["language"] = languages
    head["task_categories"] = [_TASKS.get(manifest.recipe, _TEXT_GENERATION)]
    head["size_categories"] = [_size(sum(manifest.splits.values()))]
    head["tags"] = _tags(manifest)
    default = {"config_name": "default", "default": True, "data_files": _data_files(manifest.files)}
    rejected = {"config_name": "rejected", "data_files": _data_files(manifest.rejected_files, split="rejected")}
    infos = [_info("default", manifest.columns, manifest.files)]
    if manifest.rejected_files:
        infos.append(_info("rejected", manifest.rejected_columns, manifest.rejected_files, split="rejected"))
    return head | {"configs": [default, rejected][: len(infos)], "dataset_info": infos}


def languages_of(manifest: Manifest) -> list[str]:
    """The languages of the rows where a check has made sure of them; otherwise they are not known."""
    check = manifest.filters.get("check", {})
    return list(check.get("language", [])) if "wrong_language" in check.get("drop", []) else []


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def _tags(manifest: Manifest) -> list[str]:
    tags = ["synth_ray"] if manifest.is_copied else ["synthetic", "synth_ray"]
    return tags + _TAGS.get(manifest.recipe, [])


def _data_files(files: Iterable[File], *, split: str = "") -> list[dict[str, Any]]:
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(split or file.split, []).append(file.path)
    return [{"split": name, "path": paths} for name, paths in by_split.items()]


def _info(config: str, columns: dict[str, str], files: list[File], *, split: str = "") -> dict[str, Any]:
    splits: dict[str, dict[str, Any]] = {}
    for file in files:
        name = split or file.split
        entry = splits.setdefault(name, {"name": name, "num_bytes": 0, "num_examples": 0})
        entry["num_bytes"] += file.row_bytes
        entry["num_examples"] += file.rows
    return {
        "config_name": config,
        "features": [{"name": name, **_feature(kind)} for name, kind in columns.items()],
        "splits": list(splits.values()),
        "download_size": sum(file.bytes for file in files),
        "dataset_size": sum(file.row_bytes for file in files),
    }


def _feature(kind: str) -> dict[str, Any]:
    return {"dtype": kind} if kind in _SAME_DTYPE else dict(_FEATURES[kind])
