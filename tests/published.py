"""A small dataset written the way a run writes it: staged, admitted, written, then manifest and card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.card import write_card, write_unfinished_card
from synth_ray.dataset.examples import Examples, write_examples
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest, Rows, Seeds, manifest_etag, write_manifest, written_facts
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.dataset.writer import DatasetWriter, Written
from synth_ray.job.models import Models
from synth_ray.job.output import Output
from synth_ray.records import SPLITS
from synth_ray.storage import Storage
from tests.rows import staged_chunk

PROVENANCE = Provenance(Models(teacher={"model": "a teacher", "revision": "r1"}), "distill", "ask0")


def shape_of(output: Output) -> RowShape:
    return RowShape.of(output, provenance=PROVENANCE, recipe_columns={"label": "json"})


def write_rows(writer: DatasetWriter, table: pa.Table) -> int:
    """Admit a chunk: each row whose position is 3 modulo 4 is rejected. Returns the number rejected."""
    is_rejected = pc.equal(pc.bit_wise_and(table["position"], 3), 3)
    rejected = table.filter(is_rejected)
    verdict = pa.array(["rejected"] * rejected.num_rows, pa.string())
    reason = pa.array(["echo"] * rejected.num_rows, pa.string())
    rejected = rejected.set_column(rejected.column_names.index("reason"), "reason", reason)
    writer.reject(rejected.append_column("verdict", verdict))
    kept = table.filter(pc.invert(is_rejected))
    for split in SPLITS:
        writer.write(split, kept.filter(pc.equal(kept["split"], split)))
    return int(rejected.num_rows)


def manifest_of(written: Written, shape: RowShape, *, rejected: int, **changes: Any) -> Manifest:
    accepted = sum(written.splits.values())
    facts: dict[str, Any] = {
        "name": "a small dataset",
        "job_digest": "job0",
        "ask_digest": "ask0",
        "complete": True,
        "rows": Rows(requested=accepted + rejected, accepted=accepted, rejected={"echo": rejected} if rejected else {}),
        "seeds": Seeds(read=accepted + rejected + 1, planned=accepted + rejected, rejected={"broken_json": 1}),
        "columns": {f.name: str(f.type) for f in shape.accepted_schema},
        "rejected_columns": {f.name: str(f.type) for f in shape.rejected_schema},
        "pii": {"EMAIL_ADDRESS": 3},
        "teacher": "a teacher",
        "revision": "r1",
        "recipe": "distill",
        "created_at": "2026-01-01T00:00:00Z",
    }
    return Manifest(**(facts | written_facts(written) | changes))


def make_dataset(
    storage: Storage, output: Output, *, chunks: Iterable[int] = range(2), rows: int = 16, **changes: Any
) -> Manifest:
    """All writes of a run, in its order. Chunks already committed are read and not staged again."""
    shape, ledger = shape_of(output), Ledger(storage)
    replaces = manifest_etag(storage)
    write_unfinished_card(storage, name="a small dataset")
    for chunk in chunks:
        if chunk not in ledger.committed_chunks():
            ledger.commit_chunk(chunk, staged_chunk(chunk, rows), {})
    with DatasetWriter(storage, shape, output) as writer:
        rejected = sum(write_rows(writer, ledger.read_chunk(chunk)) for chunk in chunks)
        manifest = manifest_of(writer.finish(), shape, rejected=rejected, **changes)
    write_manifest(storage, manifest, replaces=replaces)
    write_examples(storage, Examples(), manifest)
    write_card(storage, manifest)
    return manifest
