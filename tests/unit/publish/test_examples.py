"""The example rows: a function of the set of rows, bounded, readable by any JSON reader, of the version they are beside."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dataset.examples import MAX_BYTES, MAX_CHARACTERS, MAX_MESSAGES, PATH, Examples, read_examples, write_examples
from synth_ray.dataset.garbage import KINDS, garbage
from synth_ray.errors import StorageError, SynthRayError
from synth_ray.job.load import job_from
from synth_ray.job.output import Output
from synth_ray.publish.edges import edges_of
from synth_ray.publish.examples import ExampleChooser
from synth_ray.publish.row_view import RowView
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import STAGED, digest
from synth_ray.storage import open_storage
from tests.published import make_dataset
from tests.rows import staged_row

VERDICT_COLUMNS = ("verdict", "reason", "detail", "witness", "similarity")
REASONS = [None, "near_duplicate", "echo", "too_many_tokens"]
ROW = st.tuples(
    st.integers(0, 200),
    st.sampled_from(["train", "validation", "test"]),
    st.sampled_from(REASONS),
    st.sampled_from(["a", "b", ""]),
)


def prepared() -> Any:
    document = {
        "name": "examples",
        "seeds": "seeds.jsonl",
        "recipe": "vary",
        "models": {"teacher": {"engine": "scripted", "script": {}}},
        "check": {"max_tokens": 50},
        "output": {"path": "out"},
    }
    job = job_from(document)
    return SimpleNamespace(job=job, recipe=find("vary"), options=options_of(job.recipe))


PREPARED = prepared()


def decided(rows: list[tuple[int, str, str | None, str]]) -> pa.Table:
    staged = [
        staged_row(number, split=split, fields=json.dumps({"label": label}), completion_tokens=number)
        for number, split, _, label in rows
    ]
    table = pa.Table.from_pylist(staged, schema=STAGED).drop_columns(["reason", "detail"])
    reasons = [reason for _, _, reason, _ in rows]
    values: dict[str, list[Any]] = {
        "verdict": ["rejected" if reason else "accepted" for reason in reasons],
        "reason": reasons,
        "detail": [None] * len(rows),
        "witness": [digest("kept") if reason else None for reason in reasons],
        "similarity": [0.8 + number / 1000 if reason == "near_duplicate" else None for number, _, reason, _ in rows],
    }
    for name in VERDICT_COLUMNS:
        table = table.append_column(name, pa.array(values[name], pa.float64() if name == "similarity" else pa.string()))
    return table


def chosen(parts: list[list[tuple[int, str, str | None, str]]]) -> Examples:
    chooser = ExampleChooser(edges_of(PREPARED))
    for part in parts:
        chooser.add(RowView(PREPARED, decided(part)))
    return chooser.examples()


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROW, max_size=120, unique_by=lambda row: row[0]), size=st.integers(1, 40), draw=st.randoms())
def test_the_same_rows_are_chosen_whatever_the_chunks(rows: list[Any], size: int, draw: Any) -> None:
    whole = chosen([rows])
    mixed = draw.sample(rows, len(rows))
    assert chosen([mixed[start : start + size] for start in range(0, len(rows), size)]) == whole
    accepted = [row for row in rows if row[2] is None]
    assert len(whole.accepted) == min(10, len(accepted))
    assert {row["class"] or "" for row in whole.accepted} == ({label for *_, label in accepted} if len(accepted) else set())
    assert {reason: len(own) for reason, own in whole.rejected.items()} == {
        reason: min(3, n) for reason in REASONS[1:] if (n := sum(row[2] == reason for row in rows))
    }


def test_classes_of_rejected_rows_alone_take_no_place_of_accepted_ones() -> None:
    accepted = [(n, "train", None, "ab"[n % 2]) for n in range(0, 400, 2)]
    rejected = [(n, "train", "echo", f"junk {n}") for n in range(1, 400, 2)]
    mixed = [row for pair in zip(accepted, rejected, strict=True) for row in pair]
    found = chosen([mixed[start : start + 40] for start in range(0, 400, 40)])
    assert found.accepted == chosen([accepted]).accepted
    assert len(found.accepted) == 10


class CountedView(RowView):
    """A view that counts the rows that were offered."""

    offered = 0

    def id_of(self, row: int) -> str:
        CountedView.offered += 1
        return super().id_of(row)


def test_of_many_rows_at_a_threshold_few_are_looked_at() -> None:
    chooser = ExampleChooser(edges_of(PREPARED))
    rows = decided([(n, "train", None, "") for n in range(400)])
    at = rows.column_names.index("completion_tokens")
    rows = rows.set_column(at, "completion_tokens", pa.array([50] * 400, rows["completion_tokens"].type))
    chooser.add(CountedView(PREPARED, rows))
    first = min(rows["id"].to_pylist())
    assert next(edge["row"]["id"] for edge in chooser.examples().edges) == first
    assert CountedView.offered < 450


def test_rows_at_the_edge_of_a_threshold_are_the_nearest_rejected_and_accepted_ones() -> None:
    numbers = [(n, "train", None if n <= 50 else "too_many_tokens", "") for n in range(40, 60)]
    near = [(n, "train", "near_duplicate", "") for n in (100, 7, 5)]
    edges = chosen([numbers[:9] + near, numbers[9:]]).edges
    shown = {(edge["measure"], edge["value"]) for edge in edges}
    assert shown == {
        ("dedup.threshold", 0.805),
        ("dedup.threshold", 0.807),
        *(("check.max_tokens", float(n)) for n in (49, 50, 51, 52)),
    }
    assert {edge["limit"] for edge in edges} == {0.8, 50}


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=2000)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)),
    max_leaves=12,
)
ANY_ROW = st.fixed_dictionaries(
    {
        "id": st.just("0" * 32),
        "class": st.one_of(st.none(), ANY_TEXT),
        "detail": st.one_of(st.none(), ANY_TEXT),
        "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": ANY_TEXT}), max_size=30),
        "fields": st.dictionaries(ANY_TEXT, ANY_JSON, max_size=30),
        "similarity": st.one_of(st.none(), st.floats()),
    }
)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in texts_in(item)]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else [value] * isinstance(value, str)


def refuse(name: str) -> None:
    raise AssertionError(name)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ANY_ROW, max_size=4))
def test_any_text_is_written_cut_and_as_plain_json(rows: list[Any]) -> None:
    data = Examples(rows, {"echo": [row | {"witness": row} for row in rows]}).to_bytes({"dataset_digest": "d"})
    found = json.loads(data.decode("utf-8"), parse_constant=refuse)
    assert all(len(text.encode("utf-8").decode()) <= MAX_CHARACTERS for text in texts_in(found))
    assert all(len(row["messages"]) <= MAX_MESSAGES and len(row["fields"]) <= 20 for row in found["accepted"])
    assert json.loads(Examples().to_bytes({})) == {"accepted": [], "rejected": {}, "edges": []}


def test_the_file_is_bounded_however_large_its_rows_are() -> None:
    deep: Any = 0
    for _ in range(5_000):
        deep = [deep]
    huge = {"id": "0" * 32, "detail": "\x00" * 9_000, "messages": [{"role": "user", "content": "\x01" * 10_000}] * 500}
    huge["fields"] = {f"field {n}": "é" * 5_000 for n in range(300)} | {"a": deep, "b": 10**6000, "c": float("nan")}
    rows = [huge | {"witness": huge}] * 3
    data = Examples(rows * 3, {f"reason {n}": rows for n in range(40)}, [{"row": huge, "beside": huge}] * 12).to_bytes({})
    assert len(data) <= MAX_BYTES
    assert len(json.loads(data)["rejected"]) == 40


def test_examples_of_another_version_are_ignored_and_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    store = open_storage(str(tmp_path))
    assert read_examples(store) == {}
    old = make_dataset(store, Output(path="unused"), chunks=range(1))
    write_examples(store, Examples(accepted=[{"id": "1" * 32, "messages": [], "fields": {}}]), old)
    assert [row["id"] for row in read_examples(store)["accepted"]] == ["1" * 32]
    assert not any(entry.path == PATH for _, entry in garbage(store, KINDS, now=4e9, older_than_s=0))
    make_dataset(store, Output(path="unused"), chunks=range(2))
    assert read_examples(store) == {"accepted": [], "rejected": {}, "edges": []}
    write_examples(store, Examples(), old)
    assert read_examples(store) == {}
    assert read_examples(store, old)["rejected"] == {}
    for wrong in (b"{", b"[]", b"\xff"):
        store.write(PATH, wrong)
        with pytest.raises(StorageError, match="wanted a JSON object"):
            read_examples(store)


def test_a_manifest_whose_funnel_does_not_add_up_is_not_published(tmp_path: Path) -> None:
    store = open_storage(str(tmp_path))
    funnel = {"split": [{"value": "train", "accepted": 3, "rejected": {"echo": 1}, "failed": {}}]}
    with pytest.raises(SynthRayError, match="slots by split: accepted"):
        make_dataset(store, Output(path="unused"), funnel=funnel)
