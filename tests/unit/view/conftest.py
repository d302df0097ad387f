"""A published version with awkward texts, numbers and types of columns, in several files of several row groups."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.dataset.manifest import File, Manifest, Rows, Seeds, write_manifest
from synth_ray.records import MESSAGES
from synth_ray.storage import Storage, open_storage
from synth_ray.view.rows import Rows as ViewedRows
from synth_ray.view.rows import open_rows

TEXTS = [
    "Where is my parcel?", "where IS my PARCEL", "100% of it", "100 percent", "a_b", "axb", "it's \"quoted\" \\ slashed",
    "two\nlines", "nul\0inside", "ÉTÉ été", "ΣΑΣ σας", "日本語のテキスト", "🙂 <script>alert(1)</script>",
    "'; DROP TABLE rows; --", "(?i).*[a-z]", "", None,
]  # fmt: skip
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("label", pa.string()),
        ('it\'s "odd"', pa.string()),
        ("checked", pa.bool_()),
        ("score", pa.float64()),
        ("half", pa.float16()),
        ("nothing", pa.null()),
        ("bytes", pa.binary()),
        ("when", pa.timestamp("ns", "UTC")),
        ("large", pa.uint64()),
        ("nested", pa.struct([("of", pa.list_(pa.map_(pa.string(), pa.decimal128(20, 3))))])),
        ("fields", pa.string()),
        ("origin", pa.string()),
        ("teacher", pa.string()),
        ("prompt_tokens", pa.int32()),
    ]
)
REJECTED = [("split", pa.string()), ("verdict", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
REJECTED += [("witness", pa.string()), ("similarity", pa.float64())]
REJECTED_SCHEMA = pa.schema([*SCHEMA, *(pa.field(*column) for column in REJECTED)])
SCORES = [0.25, 0.5, 0.5, 0.75, -1.0, float("nan"), None]
SIZES = {"train": (23, 30), "validation": (9,), "test": (4, 0)}


def row_of(number: int, **changes: Any) -> dict[str, Any]:
    """A row whose values are a function of its number; the moduli have no common factor, so that values meet in every way."""
    prompt, completion = TEXTS[number % len(TEXTS)], TEXTS[(number * 5 + 3) % len(TEXTS)]
    row = {
        "id": hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest(),
        "messages": [{"role": "user", "content": prompt or ""}, {"role": "assistant", "content": completion or ""}],
        "prompt": prompt,
        "completion": completion,
        "label": ["refund", "parcel", "", None, "it's"][number % 5],
        'it\'s "odd"': "a;b"[number % 3],
        "checked": [True, False, None][number % 3],
        "score": SCORES[number % len(SCORES)],
        "half": number / 2,
        "bytes": b"\xff\0" * (number % 3),
        "when": number * 10**15,
        "large": 2**63 + number,
        "nested": {"of": [[("a", number)], None]} if number % 2 else None,
        "fields": '{"n": 1}',
        "origin": "real" if number % 7 == 0 else "synthetic",
        "teacher": None if number % 7 == 0 else "a teacher",
        "prompt_tokens": number,
    }
    return row | changes


def rejected_row(number: int, witnesses: Sequence[str]) -> dict[str, Any]:
    reason = ["near_duplicate", "echo", "engine_error"][number % 3]
    facts = {"split": ["train", "test"][number % 2], "reason": reason, "detail": f"detail {number}"}
    facts["verdict"] = "failed" if reason == "engine_error" else "rejected"
    if reason == "near_duplicate":
        facts |= {"witness": witnesses[number % len(witnesses)], "similarity": 0.7 + number % 4 / 10}
    return row_of(number, **facts)


@dataclass(frozen=True, repr=False)
class Published:
    """`rows` are those of the dataset, in the manifest's order, with their split and verdict."""

    storage: Storage
    manifest: Manifest
    rows: list[dict[str, Any]]


def put(storage: Storage, path: str, split: str, rows: list[dict[str, Any]], schema: pa.Schema) -> File:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, row_group_size=5)
    data = sink.getvalue()
    storage.write(path, data)
    return File(path=path, split=split, rows=len(rows), bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def publish(storage: Storage) -> Published:
    """Accepted rows in three splits and rejected ones, beside a part that no manifest lists.

    The folders' names say nothing true about the label: values are those of the files.
    """
    number, files, rejected_files, rows = 0, [], [], []
    for split, sizes in SIZES.items():
        for part, size in enumerate(sizes):
            new = [row_of(n) for n in range(number, number + size)]
            files.append(put(storage, f"data/split={split}/label=7/part-{part}.parquet", split, new, SCHEMA))
            rows += [row | {"split": split, "verdict": "accepted"} for row in new]
            number += size
    witnesses = [row["id"] for row in rows]
    for part, size in enumerate((17, 12)):
        new = [rejected_row(n, witnesses) for n in range(number, number + size)]
        rejected_files.append(put(storage, f"rejected/part-{part}.parquet", "", new, REJECTED_SCHEMA))
        rows += new
        number += size
    put(storage, "data/split=train/label=7/part-9.parquet", "train", [row_of(999)], SCHEMA)
    manifest = manifest_of(files, rejected_files, rows)
    write_manifest(storage, manifest, replaces="")
    return Published(storage, manifest, rows)


def manifest_of(files: list[File], rejected_files: list[File], rows: list[dict[str, Any]]) -> Manifest:
    accepted = [row for row in rows if row["verdict"] == "accepted"]
    rejected: dict[str, int] = {}
    for row in rows[len(accepted) :]:
        rejected[row["reason"]] = rejected.get(row["reason"], 0) + 1
    counts = Rows(
        requested=len(rows), accepted=len(accepted), failed={"engine_error": rejected.pop("engine_error")}, rejected=rejected
    )
    splits = {split: sum(sizes) for split, sizes in SIZES.items()}
    return Manifest(
        name="<b>awkward</b> rows",
        job_digest="j", ask_digest="a", dataset_digest="d", complete=True, created_at="2026-01-01T00:00:00Z",
        rows=counts, seeds=Seeds(read=len(rows), planned=len(rows)), splits=splits, files=files, rejected_files=rejected_files,
    )  # fmt: skip


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(open_storage(str(tmp_path_factory.mktemp("awkward") / "out")))


@pytest.fixture(scope="session")
def viewed(published: Published) -> Iterator[ViewedRows]:
    rows = open_rows(published.storage)
    yield rows
    rows.close()


@pytest.fixture
def own(tmp_path: Path) -> Published:
    """One that a test may damage."""
    return publish(open_storage(str(tmp_path / "out")))
