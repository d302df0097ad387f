"""The Croissant file as MLCommons' own library takes it: valid, complete, and the rows can be read by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.dataset.croissant import MAX_FILES, PATH, croissant, write_croissant
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.job.output import Output
from synth_ray.records import LOGPROBS
from synth_ray.storage import open_storage
from tests.published import make_dataset

FACTS: dict[str, Any] = {
    "license": "CC-BY-4.0",
    "teacher": "/home/someone/models/tiny",
    "revision": "r1",
    "teacher_terms": "https://example.org/terms",
    "sources": [{"path": "/home/someone/seeds.jsonl", "license": "MIT"}, {"path": "hf://datasets/a/b/x.parquet", "license": ""}],
    "filters": {"dedup": {"near": True, "threshold": 0.8}},
    "synthetic_only_eval": True,
}


def described(folder: Path, **more: Any) -> tuple[Manifest, mlcroissant.Dataset]:
    store = open_storage(str(folder))
    output = Output(
        path="unused", partition_by={"label": ["a", "b/?[x]"]}, columns={"n": "int", "words": "strings", "f": "float"}
    )
    manifest = make_dataset(store, output).model_copy(update=FACTS | more)
    write_croissant(store, manifest)
    return manifest, mlcroissant.Dataset(jsonld=folder / PATH)


def test_the_library_finds_no_fault_and_reads_every_row(tmp_path: Path) -> None:
    manifest, dataset = described(tmp_path / "out")
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    for split, rows in manifest.splits.items():
        files = [tmp_path / "out" / file.path for file in manifest.files if file.split == split]
        written = {row["id"]: row for file in files for row in pq.ParquetFile(file).read().to_pylist()}
        read = {record[f"{split}/id"].decode(): record for record in dataset.records(split)}
        assert len(read) == rows
        assert read.keys() == written.keys()
        for name, record in read.items():
            turns = [(t[f"{split}/messages/role"], t[f"{split}/messages/content"]) for t in record[f"{split}/messages"]]
            assert turns == [(t["role"].encode(), t["content"].encode()) for t in written[name]["messages"]]
            assert record[f"{split}/completion_tokens"] == written[name]["completion_tokens"]


def test_parts_have_their_checksums_and_rows_their_provenance(tmp_path: Path) -> None:
    manifest, dataset = described(tmp_path / "out")
    parts = {part.content_url: (part.sha256, part.content_size) for part in dataset.metadata.file_objects}
    assert parts == {file.path: (file.sha256, f"{file.bytes} B") for file in manifest.files}
    document = json.loads((tmp_path / "out" / PATH).read_text())
    assert [source["name"] for source in document["prov:wasDerivedFrom"]] == ["seeds.jsonl", "hf://datasets/a/b/x.parquet"]
    activity = document["prov:wasGeneratedBy"]
    assert (activity["recipe"], activity["jobDigest"]) == (manifest.recipe, manifest.job_digest)
    assert activity["prov:wasAssociatedWith"]["name"] == "tiny"
    assert activity["prov:wasAssociatedWith"]["version"] == "r1"
    assert document["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert "Synthetic data" in dataset.metadata.data_collection_type
    assert any("synthetic only" in sentence for sentence in dataset.metadata.data_limitations)


def test_nothing_in_it_is_of_one_machine(tmp_path: Path) -> None:
    manifest, _ = described(tmp_path / "out")
    text = (tmp_path / "out" / PATH).read_text()
    assert "/home/someone" not in text and str(tmp_path) not in text
    (tmp_path / "copy").mkdir()
    write_croissant(open_storage(str(tmp_path / "copy")), manifest)
    assert (tmp_path / "copy" / PATH).read_text() == text


def test_with_thousands_of_parts_it_stays_small_and_says_so(tmp_path: Path) -> None:
    manifest, _ = described(tmp_path / "out")
    first = manifest.files[0]
    many = [File(**first.model_dump() | {"path": f"data/split=train/part-{n:05d}.parquet"}) for n in range(5 * MAX_FILES)]
    write_croissant(open_storage(str(tmp_path)), manifest.model_copy(update={"files": many}))
    dataset = mlcroissant.Dataset(jsonld=tmp_path / PATH)
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.file_objects == []
    [parts] = dataset.metadata.file_sets
    assert parts.includes == ["data/split=train/*.parquet"]
    assert "not named one by one: manifest.json names each" in str(parts.description)
    assert (tmp_path / PATH).stat().st_size < 30_000


@pytest.mark.parametrize("changes", [{"teacher": "none", "license": "", "sources": []}, {"files": [], "splits": {}}])
def test_datasets_without_a_teacher_or_without_rows_are_described(tmp_path: Path, changes: dict[str, Any]) -> None:
    described(tmp_path / "out", **changes)


def test_every_column_type_of_a_dataset_has_a_croissant_type(tmp_path: Path) -> None:
    manifest, _ = described(tmp_path / "out")
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.string()), LOGPROBS]
    columns = manifest.columns | {f"c{n}": str(kind) for n, kind in enumerate(kinds)}
    fields = croissant(manifest.model_copy(update={"columns": columns}))["recordSet"][0]["field"]
    assert [field["name"] for field in fields] == list(columns)
