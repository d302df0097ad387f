"""The rows that shown rows repeat: of an earlier dataset that is broken in part, what can still be read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from synth_ray.dataset.manifest import PATH, read_manifest
from synth_ray.dedup.stores import MemoryRows, StoredRows
from synth_ray.job.load import job_from
from synth_ray.job.output import Output
from synth_ray.publish.witnesses import EARLIER, Witnesses
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import digest
from synth_ray.storage import open_storage
from tests.published import make_dataset


def earlier_dataset(folder: Path, chunk: int) -> str:
    make_dataset(open_storage(str(folder)), Output(path="unused"), chunks=[chunk])
    return digest("row", chunk, 1)


def test_a_broken_earlier_dataset_costs_its_own_rows_alone(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("no_manifest", "no_part", "broken_part", "whole")]
    ids = [earlier_dataset(folder, chunk) for chunk, folder in enumerate(folders)]
    (folders[0] / PATH).write_text("{")
    for folder in folders[1:3]:
        for file in read_manifest(open_storage(str(folder))).files:
            (folder / file.path).unlink() if folder == folders[1] else (folder / file.path).write_bytes(b"no parquet")
    document = {
        "name": "again",
        "seeds": "seeds.jsonl",
        "recipe": "vary",
        "models": {"teacher": {"engine": "scripted", "script": {}}},
        "dedup": {"against": [str(folder) for folder in folders]},
        "output": {"path": "out"},
    }
    job = job_from(document)
    prepared: Any = SimpleNamespace(job=job, recipe=find("vary"), options=options_of(job.recipe))
    witnesses = Witnesses(prepared, read_chunk=lambda _: None, restage=None, scrub=lambda table: table)  # type: ignore[arg-type,return-value]
    witnesses.mark(EARLIER, len(ids))
    rows = MemoryRows()
    none = np.zeros(0, np.uint32)
    digests, ends = np.zeros((len(ids), 2), np.uint64), np.zeros(len(ids) + 1, np.int64)
    view = np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(-1, 16)
    rows.append(StoredRows(view, np.zeros(len(ids), np.uint8), digests, none, ends))
    index: Any = SimpleNamespace(kept=len(ids), stores=SimpleNamespace(rows=rows))
    found = witnesses.find(index, ids)
    assert [found[name].get("note", "") for name in ids[:3]] == [
        "a row of an earlier run (dedup.against), not all of which could be read"
    ] * 3
    assert found[ids[3]]["id"] == ids[3]
