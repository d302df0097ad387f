"""The facts of a version's rows: a name stands for one thing, and a row is counted once."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.job.load import job_from
from synth_ray.publish.profiling import ProfileObserver
from synth_ray.publish.row_facts import RowFacts
from synth_ray.publish.row_view import RowView
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import STAGED, digest
from tests.rows import staged_row


def prepared() -> Any:
    document = {
        "name": "profile",
        "seeds": "seeds.jsonl",
        "recipe": "vary",
        "models": {"teacher": {"engine": "scripted", "script": {}}},
        "output": {"path": "out"},
    }
    job = job_from(document)
    reference = SimpleNamespace(source="seeds")
    return SimpleNamespace(job=job, recipe=find("vary"), options=options_of(job.recipe), reference=reference)


PREPARED = prepared()
COMPUTED = ("class", "turns", "roles", "tool_calls", "finish_reason", "completion_tokens", "prompt_words")


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=STAGED)


def test_a_declared_column_is_not_counted_into_a_computed_one() -> None:
    names = [*COMPUTED, "own"]
    fields = json.dumps(dict.fromkeys(names, 1_000) | {"label": "a"})
    view = RowView(PREPARED, table([staged_row(n, fields=fields) for n in range(10)]))
    plain, declared = (ProfileObserver(dict.fromkeys(of, "int"), classes=set()) for of in (["own"], names))
    for observer in (plain, declared):
        observer.add(view, np.zeros(10, np.int64))
    assert declared.summary() == plain.summary()


def test_a_row_that_leaks_by_lineage_and_by_text_counts_once() -> None:
    index: Any = SimpleNamespace(kept=2)
    witnesses: Any = SimpleNamespace(mark=lambda *_: None)
    facts = RowFacts(PREPARED, index=index, columns={}, witnesses=witnesses)
    same = {"lineage": digest("seed", 0, size=8), "digest": bytes(16)}
    rows = table([staged_row(0, **same, split="train"), staged_row(1, **same, split="test")])
    rows = rows.append_column("verdict", pa.array(["accepted"] * 2))
    facts.on_decided(rows.append_column("similarity", pa.nulls(2, pa.float64())))
    assert facts.facts(table([]))["leaks"] == 2
