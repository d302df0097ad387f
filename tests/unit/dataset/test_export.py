"""An export is whole or absent: every row is written or counted with the reason, and a failed one leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.cli.main import main
from synth_ray.dataset.export import export_dataset
from synth_ray.dataset.manifest import File, Manifest, Rows, manifest_etag, write_manifest
from synth_ray.errors import JobError, StorageError
from synth_ray.job.output import Output
from synth_ray.records import MESSAGES, Origin
from synth_ray.storage import Storage, open_storage
from tests.published import make_dataset

CALL = '<tool_call>{"arguments":{},"name":"tide"}</tool_call>'
SCHEMA = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("fields", pa.string()), ("origin", pa.string())])


def row(name: str, *texts: str, **fields: Any) -> dict[str, Any]:
    roles = ("user", "assistant", "tool", "assistant")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {"id": name, "messages": messages, "fields": json.dumps(fields), "origin": Origin.REAL.value}


PLAIN = [row(f"p{n}", f"Question {n}?", f"Answer {n}.") for n in range(3)]
BESIDE = row("c", "When is high tide?", f"I will look. {CALL}", "At six.", "At six.")
UNPAIRED = row("u", "When is low tide?", CALL)


def publish(place: Path, parts: list[tuple[str, list[dict[str, Any]]]]) -> tuple[Storage, Manifest]:
    """A dataset of these parts (split, rows), under a manifest that lists them."""
    storage = open_storage(str(place))
    manifest = make_dataset(storage, Output(path=str(place)), chunks=range(1), rows=4)
    files, splits = [], dict.fromkeys((split for split, _ in parts), 0)
    for number, (split, rows) in enumerate(parts):
        path = f"data/{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), place / path)
        files.append(File(path=path, split=split, rows=len(rows), bytes=1, sha256="0"))
        splits[split] += len(rows)
    total = sum(splits.values())
    facts = {"files": files, "splits": splits, "rejected_files": [], "rows": Rows(requested=total, accepted=total)}
    manifest = manifest.model_copy(update=facts)
    write_manifest(storage, manifest, replaces=manifest_etag(storage))
    return storage, manifest


def lines(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def test_rows_left_out_are_told_with_the_reason_and_an_empty_split_has_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "d", [("test", [BESIDE]), ("train", [*PLAIN, BESIDE, UNPAIRED]), ("validation", [])])
    assert main(["export", str(tmp_path / "d"), "--format", "sharegpt", "--to", str(tmp_path / "x")]) == 0
    out = capsys.readouterr().out
    assert "test                0 rows, 1 left out (text beside a tool call)" in out
    assert "train               4 rows, 1 left out (text beside a tool call)" in out
    assert "validation          0 rows\n" in out
    assert [p.name for p in (tmp_path / "x").glob("*.*") if p.is_file()] == ["train.jsonl"]
    assert len(datasets.load_dataset("json", data_dir=str(tmp_path / "x"), cache_dir=str(tmp_path / "c"))["train"]) == 4


def test_a_thought_without_a_place_is_told_and_kept_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "d", [("train", [*PLAIN, row("t", "Why?", "So.", reasoning="Since it is so.")])])
    assert main(["export", str(tmp_path / "d"), "--format", "alpaca", "--to", str(tmp_path / "a")]) == 0
    assert "4 rows, the reasoning of 1 left out (alpaca has no place for it)" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "d"), "--format", "trl-sft", "--to", str(tmp_path / "t")]) == 0
    assert "left out" not in capsys.readouterr().out
    assert lines(tmp_path / "t", "train")[-1]["messages"][-1]["reasoning_content"] == "Since it is so."


def test_tools_among_the_fields_of_any_row_are_a_column_of_all(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "tide"}}]
    storage, manifest = publish(tmp_path / "d", [("train", [*PLAIN, row("t", "Low?", CALL, "Six.", "At six.", tools=tools)])])
    export_dataset(storage, manifest, open_storage(str(tmp_path / "x")), "sharegpt")
    assert [json.loads(record["tools"]) for record in lines(tmp_path / "x", "train")] == [[], [], [], tools]
    export_dataset(storage, manifest, open_storage(str(tmp_path / "o")), "openai-sft")
    assert [record.get("tools") for record in lines(tmp_path / "o", "train")] == [None, None, None, tools]


def test_a_pair_among_the_fields_is_a_pair(tmp_path: Path) -> None:
    storage, manifest = publish(tmp_path / "d", [("train", [*PLAIN, row("r", "Low?", "At six.", rejected="Never.")])])
    counts = export_dataset(storage, manifest, open_storage(str(tmp_path / "x")), "trl-dpo")["train"]
    assert (counts.rows, counts.left_out) == (1, {"no rejected answer": 3})
    assert lines(tmp_path / "x", "train")[0]["rejected"] == [{"role": "assistant", "content": "Never."}]


@pytest.mark.parametrize("name", ["trl-sft", "webdataset", "axolotl"])
def test_an_export_that_fails_midway_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.dataset.samples.SHARD_ROWS", 1)
    storage, manifest = publish(tmp_path / "d", [("test", PLAIN), ("train", PLAIN), ("train", PLAIN)])
    part = tmp_path / "d" / manifest.files[-1].path
    content = bytearray(part.read_bytes())
    content[4:60] = b"\xff" * 56  # the pages of its first column; the footer stays
    part.write_bytes(content)
    target = tmp_path / "deep" / "x"
    with pytest.raises(JobError, match=r"data/2.parquet: wanted the Parquet file"):
        export_dataset(storage, manifest, open_storage(str(target)), name)
    assert not (tmp_path / "deep").exists()
    part.unlink()
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("stays")
    with pytest.raises(StorageError):
        export_dataset(storage, manifest, open_storage(str(target)), name)
    assert [p.name for p in (tmp_path / "deep").rglob("*")] == ["x", "mine.txt"]


def test_a_target_that_fails_at_the_last_file_keeps_none(tmp_path: Path) -> None:
    """The sidecar cannot be written, for a folder has its name: the splits go too."""
    dataset, manifest = publish(tmp_path / "d", [("test", PLAIN), ("train", PLAIN)])
    (tmp_path / "x" / "dataset_info.json" / "mine").mkdir(parents=True)
    with pytest.raises(StorageError):
        export_dataset(dataset, manifest, open_storage(str(tmp_path / "x")), "llama-factory")
    assert sorted(p.name for p in (tmp_path / "x").rglob("*")) == ["dataset_info.json", "mine"]


def test_a_store_keeps_nothing_of_an_export_that_fails(store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.dataset.samples.SHARD_ROWS", 1)
    dataset, manifest = publish(tmp_path / "d", [("test", PLAIN), ("train", PLAIN)])
    (tmp_path / "d" / manifest.files[-1].path).unlink()
    with pytest.raises(StorageError):
        export_dataset(dataset, manifest, store, "webdataset")
    assert list(store.list()) == []


def test_an_export_of_no_row_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "d", [("train", [BESIDE]), ("test", [])])
    assert main(["export", str(tmp_path / "d"), "--format", "alpaca"]) == 2
    assert "1 with more than one question and its answer" in capsys.readouterr().err
    assert not (tmp_path / "d" / "export").exists()
