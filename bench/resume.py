"""How long a driver takes to resume with ten million rows committed: the plan, and what a checkpoint of admission kept.

The commit records are real and on disk; the chunks they name are missing, since planning a resume opens none. What was kept is
made of texts of 24 words, object after object, and put into a new index, and into the guard of a job with an evaluation split;
the rows after the last checkpoint, at most 131,072 or one in 64, are decided again, which costs what admission costs
(`bench.scale`) and is not in this figure. `CPU` is the process's, on all its threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.big_index import BLOCK, SECTION, WORDS, texts
from bench.results import report
from synth_ray.admit.admission import Admission
from synth_ray.admit.guard import LEAK_NGRAM
from synth_ray.ask.segments import journalled_chunks
from synth_ray.dataset.ledger import COMMITS, Commit, Ledger
from synth_ray.dataset.output_status import read_status
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.drive.window import Window
from synth_ray.job.load import job_from
from synth_ray.prepare.plan_segments import load_or_grow_plan
from synth_ray.prepare.preparation import prepare
from synth_ray.publish.checkpoint import Checkpoints
from synth_ray.records import STAGED
from synth_ray.storage import open_storage

CHUNK = 1024


def write_commits(root: Path, chunks: int) -> None:
    folder = root / COMMITS
    folder.mkdir(parents=True)
    for chunk in range(chunks):
        record = Commit(chunk, f"_synth/chunks/{chunk:08d}/0.parquet", CHUNK, 1 << 20, "0" * 64, {"": CHUNK}).record()
        (folder / f"{chunk:08d}.json").write_bytes(record)


def measure_resume(root: Path, rows: int, seeds: Path) -> dict[str, Any]:
    document = {
        "name": "resume",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted"}},
        "plan": {"requests": rows + CHUNK, "chunk_requests": CHUNK},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(root),
    }
    job, storage = job_from(document), open_storage(str(root))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool))
        plan = load_or_grow_plan(storage, prepared.planner, chunk_requests=CHUNK, extend=False, retry_failed=False)
        list(Ledger(storage).orphans())
        chunks = Ledger(storage).committed_chunks()
        assert list(journalled_chunks(storage)) == []
        window = Window(size=job.plan.window_chunks, committed=chunks)
        requests = plan.chunk(window.next_chunk)
    seconds = time.monotonic() - began
    assert len(requests) == CHUNK
    assert window.next_chunk == len(chunks)
    began = time.monotonic()
    assert read_status(storage, now=time.time()).rows == len(chunks) * CHUNK
    return {
        "rows committed": len(chunks) * CHUNK,
        "seconds to the next request": round(seconds, 2),
        "runs of chunks held": len(chunks.runs),
        "status, seconds": round(time.monotonic() - began, 2),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def measure_kept(root: Path, rows: int) -> dict[str, Any]:
    """Write the kept rows as checkpoints do, 32 MiB at a time, then take them up."""
    storage, fingerprinter, admission = open_storage(str(root)), Fingerprinter(SECTION), Admission(dedup=SECTION)
    checkpoints = Checkpoints(Ledger(storage), storage, "bench")
    for first in range(0, rows, BLOCK):
        text, is_repeat = texts(first, BLOCK)
        table = pa.table({"prompt": text, "completion": text}).filter(pa.array(~is_repeat))
        own = np.random.default_rng(first).bytes(16 * table.num_rows)
        ids = [own[at : at + 16].hex() for at in range(0, len(own), 16)]
        table = pa.table({name: pa.nulls(table.num_rows, STAGED.field(name).type) for name in STAGED.names}).set_column(
            STAGED.get_field_index("id"), "id", pa.array(ids)
        )
        table = table.set_column(STAGED.get_field_index("split"), "split", pa.array(["train"] * table.num_rows))
        text = text.filter(pa.array(~is_repeat))
        table = table.set_column(STAGED.get_field_index("completion"), "completion", text.cast(pa.string()))
        kept = fingerprinter.fingerprint_rows(table, text)
        checkpoints.keep(first, partial(admission.rememberer.pack, kept))
    checkpoints.save(0, {})  # there are no chunks here
    checkpoints.close()
    shingles, ngrams = WORDS - SECTION.ngram + 1, WORDS - LEAK_NGRAM + 1
    kept_rows = rows * 17 // 20
    entries = {"keys": kept_rows * (1 + banding_of(SECTION).bands), "train": kept_rows * ngrams, "evaluation": 0}
    began, spent = time.monotonic(), time.process_time()
    found = next(checkpoints.whole())
    with admission.rememberer.putting(entries | {"rows": kept_rows, "shingles": kept_rows * shingles}) as stores:
        for part in checkpoints.kept(found, admission.rememberer.unpack):
            stores.add(part)
    size = sum(file.stat().st_size for file in root.rglob("kept-*"))
    return {
        "rows kept": admission.index.kept,
        "seconds to take them up": round(time.monotonic() - began, 2),
        "CPU µs a row": round(1e6 * (time.process_time() - spent) / admission.index.kept, 2),
        "bytes a row stored": round(size / admission.index.kept),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=(100_000, 1_000_000, 10_000_000))
    arguments = parser.parse_args()
    results = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as name:
            root, seeds = Path(name) / "out", Path(name) / "seeds.jsonl"
            seeds.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(5000)))
            write_commits(root, -(-rows // CHUNK))
            results.append(measure_resume(root, -(-rows // CHUNK) * CHUNK, seeds) | measure_kept(Path(name) / "kept", rows))
    report("resume", results, packages=("pyarrow",))


if __name__ == "__main__":
    main()
