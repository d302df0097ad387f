"""For the manifest: the likeliest tokens that the rows keep, and the tokenizer whose ids they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import ObjectNotFound
from synth_ray.job.models import Model, is_teacher
from synth_ray.job.tokenizer import read_identity
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.observers import RowObserver
from synth_ray.storage import Storage


class TopKObserver(RowObserver):
    """Counts the accepted rows with and without the likeliest tokens, and their positions."""

    KEEPS = ("rows", "lost", "positions")

    def __init__(self) -> None:
        self.rows = self.lost = self.positions = 0

    def on_accepted(self, accepted: pa.Table) -> None:
        column = accepted["top_k"]
        self.lost += column.null_count
        self.rows += len(column) - column.null_count
        self.positions += int(pc.sum(pc.binary_length(pc.struct_field(column, "tail"))).as_py() or 0) // 2


def top_k_facts(
    prepared: Prepared, observer: TopKObserver, engines: Mapping[str, Mapping[str, Any]], storage: Storage
) -> dict[str, Any]:
    """The manifest's `top_k`. Log-probabilities are the model's own, before temperature and filters."""
    return {
        "k": prepared.recipe.top_k(prepared.options),
        "rows": observer.rows,
        "lost": observer.lost,
        "positions": observer.positions,
        "temperature": 1.0,
        "mode": "raw_logprobs",
        "tokenizer": _tokenizer(prepared.job.models.by_role(), engines, storage),
    }


def _tokenizer(models: Mapping[str, Model], engines: Mapping[str, Mapping[str, Any]], storage: Storage) -> dict[str, Any]:
    """The teachers' tokenizer, as the engines told it; of a run that opened none, as the models' folders or the version before
    tell. All teachers have the same: `ask.top_k` sees to it.
    """
    told = {role: engine["tokenizer"] for role, engine in engines.items() if is_teacher(role) and engine.get("tokenizer")}
    told = told or {role: found for role, model in models.items() if is_teacher(role) and (found := _of_folder(model))}
    return dict(next(iter(told.values()))) if told else _published(storage)


def _of_folder(model: Model) -> dict[str, Any]:
    """Empty for a model that is in no local folder."""
    folder = model.tokenizer or model.model
    return read_identity(folder) if folder and (Path(folder).expanduser() / "tokenizer.json").is_file() else {}


def _published(storage: Storage) -> dict[str, Any]:
    try:
        return dict(read_manifest(storage).top_k.get("tokenizer", {}))
    except ObjectNotFound:
        return {}
