"""How soon `synth-ray view` answers on a dataset of two million rows with short texts, a fifth of them refused.

Each query is asked three times over, and the fastest counts: other work on the machine only adds. Beside the time that passed is
the processor time, which that other work moves less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.results import report
from synth_ray.dataset.manifest import Manifest, Rows, Seeds, files_of
from synth_ray.dataset.part import FileLimits, PartWriter
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.job.models import Models
from synth_ray.records import MESSAGES
from synth_ray.storage import Storage, open_storage
from synth_ray.view.query import Query
from synth_ray.view.rows import PAGE_ROWS
from synth_ray.view.rows import Rows as ViewedRows

GROUP = 10_000
LIMITS = FileLimits(part_rows=1_000_000, part_bytes=10**9, group_rows=GROUP, group_bytes=64 * 2**20, compression="zstd")
REASONS = ["near_duplicate", "refusal", "echo", "cross_split", "not_true"]
STEMS = ["card", "refund", "transfer", *(a + b for a in ("lo", "mi", "tra", "be", "ca") for b in ("rd", "nk", "st", "ll", "pay"))]
WORDS = [stem + end for stem in STEMS for end in ("", "s", "ing", "ed", "ment")]
ABSENT = "refundable card"


def texts(rng: np.random.Generator, rows: int, words: int) -> Any:
    chosen = pa.array(WORDS).take(pa.array(rng.integers(0, len(WORDS), rows * words)))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(np.arange(0, rows * words + 1, words, dtype=np.int32)), chosen), " ")


def group_of(rng: np.random.Generator, rows: int, schema: pa.Schema, split: str) -> pa.Table:
    """Rows of all columns that are looked at; the others are null."""
    prompt, completion = texts(rng, rows, 12), texts(rng, rows, 28)
    turns = zip(prompt.to_pylist(), completion.to_pylist(), strict=True)
    columns = {
        "id": pa.array([rng.bytes(16).hex() for _ in range(rows)]),
        "messages": pa.array([[{"role": "user", "content": p}, {"role": "assistant", "content": c}] for p, c in turns], MESSAGES),
        "prompt": prompt,
        "completion": completion,
        "intent": pa.array([f"intent_{n}" for n in rng.integers(0, 77, rows)]),
        "judge_score": pa.array(rng.random(rows)),
        "origin": pa.array(["synthetic"] * rows),
        "prompt_tokens": pa.array(rng.integers(5, 40, rows), pa.int32()),
        "split": pa.array([split] * rows),
        "verdict": pa.array(["rejected"] * rows),
        "reason": pa.array(REASONS).take(pa.array(rng.integers(0, len(REASONS), rows))),
        "similarity": pa.array(rng.random(rows)),
    }
    return pa.table([columns.get(f.name, pa.nulls(rows, f.type)).cast(f.type) for f in schema], schema=schema)


def publish(storage: Storage, rows: int) -> Manifest:
    models = Models(teacher={"model": "a teacher"})
    shape = RowShape(Provenance(models, "vary", "ask"), {"intent": "string", "judge_score": "float"})
    rng, sizes = np.random.default_rng(1), {"train": int(rows * 0.72), "validation": int(rows * 0.04), "test": int(rows * 0.04)}
    refused = rows - sum(sizes.values())
    files = [file for split, size in sizes.items() for file in _write(storage, rng, shape.accepted_schema, split, size)]
    rejected = _write(storage, rng, shape.rejected_schema, "", refused)
    return Manifest(
        name="bench", job_digest="", ask_digest="", dataset_digest="", complete=True, created_at="", splits=sizes,
        rows=Rows(requested=rows, accepted=rows - refused), seeds=Seeds(read=rows, planned=rows),
        files=files_of(files), rejected_files=files_of(rejected),
    )  # fmt: skip


def _write(storage: Storage, rng: np.random.Generator, schema: pa.Schema, split: str, rows: int) -> Any:
    writer = PartWriter(storage, f"data/split={split}" if split else "rejected", schema, LIMITS, split=split)
    for start in range(0, rows, GROUP):
        size = min(GROUP, rows - start)
        writer.write(group_of(rng, size, schema, split or "train"), np.full(size, 600))
    return writer.close()


def questions(viewed: ViewedRows, rows: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    deep, [first, *_] = rows * 3 // 4, viewed.page(Query())[0]

    def page(offset: int = 0, **asked: Any) -> Callable[[], Any]:
        return lambda: viewed.page(Query(**asked), offset=offset)

    yield "first page", page()
    yield f"page {deep // PAGE_ROWS + 1:,}", page(deep)
    yield "a reason", page(equals={"reason": "echo"})
    yield "a reason, its last page", page(rows // 25 - PAGE_ROWS, equals={"reason": "echo"})
    yield (
        "a class and a range of a score, counted",
        lambda: viewed.count(Query(equals={"intent": "intent_3"}, low={"judge_score": 0.9})),
    )
    yield "a text that is common", page(text="Refund")
    yield "a text that no row of a split has", page(text=ABSENT, equals={"split": "test"})
    yield "a text that no row has", page(text=ABSENT)
    yield "sorted by a score", page(sort="judge_score", descending=True)
    yield f"sorted by a score, page {deep // PAGE_ROWS + 1:,}", page(deep, sort="judge_score")
    yield "the beginning of an id", page(id="abcd")
    yield "a row, by its place", lambda: viewed.row(first["id"], first["at"])
    yield "a row, by its id", lambda: viewed.row(first["id"])
    yield "all values to choose from, once", viewed.to_choose_from


def measured(name: str, ask: Callable[[], Any]) -> dict[str, Any]:
    times = []
    for _ in range(3):
        began, spent = time.monotonic(), time.process_time()
        ask()
        times.append((time.monotonic() - began, time.process_time() - spent))
    return {"query": name, "seconds": round(min(t for t, _ in times), 3), "processor seconds": round(min(c for _, c in times), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder)
        viewed = ViewedRows(storage, publish(storage, rows))
        results = [measured(name, ask) for name, ask in questions(viewed, rows)]
        viewed.close()
    report("view", results, packages=["duckdb", "pyarrow"])


if __name__ == "__main__":
    main()
