"""How long a driver takes to resume with ten million rows committed: commit records and plan only, no rows.

The commit records are real and on disk; the chunks they name are missing, since planning a resume opens none.
Admission after a restart reads the staged chunks again and is not in this figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.results import report
from synth_ray.ask.journal import journalled_chunks
from synth_ray.dataset.ledger import COMMITS, Commit, Ledger
from synth_ray.dataset.output_status import read_status
from synth_ray.drive.window import Window
from synth_ray.job.load import job_from
from synth_ray.prepare.plan_segments import load_or_grow_plan
from synth_ray.prepare.preparation import prepare
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
            results.append(measure_resume(root, -(-rows // CHUNK) * CHUNK, seeds))
    report("resume", results, packages=("pyarrow",))


if __name__ == "__main__":
    main()
