"""The class of a row: for measures of labelled data, and for counts by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from synth_ray.prepare.preparation import Prepared
from synth_ray.recipes.contract import ANY_LENGTH
from synth_ray.records import Origin, canonical_json, fields_of

_FIELDS = ("label", "category", "class", "intent")
_LONGEST = 100


def labels(prepared: Prepared, rows: pa.Table, fields: Iterable[Mapping[str, Any]] | None = None) -> list[str]:
    """The class of each row, empty where it has none. A text of more than _LONGEST characters is no class.

    `fields`: the rows' own, where they are parsed already.
    """
    completions, origins = rows["completion"].to_pylist(), rows["origin"].to_pylist()
    columns, gold = class_columns(prepared), gold_field(prepared)
    found = []
    for completion, origin, row in zip(completions, origins, fields_of(rows) if fields is None else fields, strict=True):
        own = (gold, *columns) if gold and origin == Origin.REAL else columns
        if not row and "completion" not in own:
            found.append("")
            continue
        values = {"completion": completion, **row}.get
        found.append(next((name for column in own if (name := class_name(values(column)))), ""))
    return found


def class_columns(prepared: Prepared) -> tuple[str, ...]:
    """Where a row's class is: in the first of these columns that has one.

    What the job names; else the completion where the recipe or the check says that it is a label; else the fields that rows of
    one request have in common, fields named like a class, those by which the job balances or stratifies, and categories of the
    records that the rows stand in for.
    """
    job, recipe, options = prepared.job, prepared.recipe, prepared.options
    if job.quality.label:
        return (job.quality.label,)
    is_label = recipe.label_words(options) == ANY_LENGTH and recipe.schema(options) is None
    if is_label or job.check.verify == "label":
        return ("completion",)
    balanced = job.target.balance.by if job.target.balance is not None else []
    shield = recipe.shield(options)
    categories = [name for name, kind in shield.kinds.items() if kind == "category"] if shield is not None else []
    stratified = [job.split.stratify] if job.split.stratify else []
    return tuple(dict.fromkeys((*recipe.alike(options), *_FIELDS, *balanced, *stratified, *categories)))


def gold_field(prepared: Prepared) -> str:
    """The field of a real row with its true label, where the recipe labels real text; else empty."""
    if prepared.job.quality.label or "matches_gold" not in prepared.recipe.columns(prepared.options):
        return ""
    return str(prepared.options.gold)


def class_name(value: Any) -> str:
    """A value as the name of a class; empty where it is none."""
    if value is None or isinstance(value, Mapping):
        return ""
    name = value.strip() if isinstance(value, str) else canonical_json(value).decode()
    return name if len(name) <= _LONGEST else ""
