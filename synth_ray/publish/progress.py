"""How far a publication has come: what it has counted and kept, handed to checkpoints, and taken up again from the last one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.admit.admission import Admission
from synth_ray.admit.remembered import COLUMNS, Remembered, joined_entries
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.dedup.hashing import U8, Array
from synth_ray.job.document import Job
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.schedule import Schedule
from synth_ray.publish.checkpoint import Checkpoint, Checkpoints, points
from synth_ray.publish.indexing import versions_of_others
from synth_ray.publish.local_models import contents_of_models
from synth_ray.publish.state import State, fill, state_of
from synth_ray.records import SPLITS, digest
from synth_ray.version import __version__

log = logging.getLogger(__name__)

_FORMAT = 3
_KEPT_BYTES = 32 * 2**20
"""What is held in memory of the kept rows, until it is stored."""

_NOT_DECIDING = {"limits", "cluster", "budget", "models", "sinks"}


def key_of(prepared: Prepared) -> str:
    """Of everything that decides, besides the chunks, what is admitted and how it is written and counted. A path is not enough
    where a file is read: its contents may change. A longer plan of the same job begins with the same chunks.
    """
    job = prepared.job
    if not job.target.is_set:
        job = job.model_copy(update={"plan": job.plan.model_copy(update={"requests": None})})
    rest = job.model_dump(mode="json", exclude=_NOT_DECIDING)
    job_digest = job.job_digest(prepared.seeds.digest)
    parts = [_FORMAT, __version__, job_digest, rest, versions_of_others(job), contents_of_models(job), spacing_of(job)]
    return digest("admission", parts, _rows_read(prepared), list(prepared.wanted_rows.items()))


def _rows_read(prepared: Prepared) -> list[Any]:
    """What tells the rows that the job's sources gave from others: an id is of a row's fields, and of nothing else."""
    real = prepared.real.select(["id", "lineage", "split", "origin", "depth"]).to_pydict()
    held_out = [[seed.id, seed.lineage, seed.split] for seed in prepared.held_out]
    gold = [[seed.id, seed.fields["good"]] for seed in prepared.gold]
    people = sorted(prepared.rejected_by_people)
    return [prepared.seeds.digest, real, prepared.mixed.digest, held_out, gold, people]


def spacing_of(job: Job) -> int:
    """Chunks between two checkpoints, 0 for none."""
    return -(-job.limits.checkpoint_requests // job.plan.chunk_requests)


class Progress:
    """Takes checkpoints while chunks are admitted, at numbers of chunks that the job alone decides.

    Law: whether a publication went on from a checkpoint, and from which, changes nothing in what it publishes. At each of these
    numbers the files of the dataset are cut, whether or not anything is stored, so that they do not depend on it either.
    `parts` are what counts, by name (see `state`). The first checkpoint, at 0 chunks, has the real rows and the seeds that are
    remembered; there is none where there are none. `chunks` is how many were admitted by the checkpoint that was taken up.
    """

    def __init__(
        self,
        *,
        parts: Mapping[str, Any],
        admission: Admission,
        writer: DatasetWriter,
        schedule: Schedule,
        every: int,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._parts, self._admission, self._writer, self._schedule = parts, admission, writer, schedule
        self._checkpoints = checkpoints
        self._points = points(every) if every else iter(())
        self._next = next(self._points, 0)
        self._kept: list[pa.Table] = []
        self._entries: list[Mapping[str, Array]] = []
        self._kept_bytes, self._has_kept = 0, False
        self._accepted: list[tuple[Sequence[int], Sequence[int]]] = []  # by chunk: the cells with rows, and how many each
        self.chunks = 0

    def on_admitted(self, chunk: int, kept: pa.Table, accepted: Array) -> None:
        """`kept`: the accepted rows of the chunk; `accepted`: how many each cell got."""
        self._hold(kept)
        if not self._next:
            return
        if self._checkpoints is not None:
            cells = np.flatnonzero(accepted)
            self._accepted.append((cells.tolist(), accepted[cells].tolist()))
        is_due = chunk + 1 == self._next
        if is_due:
            self._next = next(self._points)
            self._writer.cut()
        self._store_kept(chunk + 1, at_least=0 if is_due else _KEPT_BYTES)
        if self._checkpoints is not None and is_due:
            self._checkpoints.save(chunk + 1, self._state(chunk + 1))

    def on_real(self, kept: pa.Table) -> None:
        """Rows that are remembered before the first chunk; of seeds without their `ngrams`."""
        self._hold(kept)
        if self._next:
            self._store_kept(0, at_least=_KEPT_BYTES)

    def begin(self) -> None:
        """Call before the first chunk."""
        if not self._next:
            return
        self._writer.cut()
        if self._checkpoints is not None and self._has_kept:
            self._store_kept(0, at_least=1)
            self._checkpoints.save(0, self._state(0))

    def _hold(self, kept: pa.Table) -> None:
        entries = self._admission.take_entries()  # without checkpoints, too: else admission would hold them
        if self._checkpoints is not None and self._next:
            self._kept.append(kept.select(COLUMNS))
            self._entries.append(entries)
            self._kept_bytes += self._kept[-1].nbytes + sum(array.nbytes for array in entries.values())
            self._has_kept |= kept.num_rows > 0

    def _store_kept(self, chunks: int, *, at_least: int) -> None:
        if self._checkpoints is None or self._kept_bytes < at_least or not self._kept:
            return
        rows, digests, entries = self._kept, self._writer.take_row_digests(), self._entries
        self._kept, self._entries, self._kept_bytes = [], [], 0

        def pack() -> dict[str, Array]:
            by_split = {f"digests_{split}": np.frombuffer(data, U8) for split, data in digests.items()}
            return by_split | joined_entries(entries) | self._admission.rememberer.pack(pa.concat_tables(rows))

        self._checkpoints.keep(chunks, pack)

    def _state(self, chunks: int) -> State:
        return {
            "parts": {name: state_of(part) for name, part in self._parts.items()},
            "remaining_rows": self._schedule.remaining_rows,
            "accepted": self._accepted,
            "superseded": self._superseded(chunks),
            "sizes": self._admission.rememberer.sizes(),
            "files": self._writer.state(),
        }

    def _superseded(self, chunks: int) -> str:
        asked_again = ((chunk, sorted(self._schedule.superseded_positions(chunk))) for chunk in range(chunks))
        return digest("superseded", [entry for entry in asked_again if entry[1]])

    def resume(self) -> bool:
        """Take the last checkpoint up, before anything is remembered or written. Returns whether there is one."""
        whole = self._checkpoints.whole() if self._checkpoints is not None and self._next else iter(())
        found = next((checkpoint for checkpoint in whole if self._is_true(checkpoint)), None)
        if found is None or self._checkpoints is None:
            return False
        self._checkpoints.take_up(found)
        self._put_kept(self._checkpoints, found)
        for name, part in self._parts.items():
            fill(part, found.state["parts"][name])
        self._writer.load(found.state["files"])
        self._accepted = found.state["accepted"]
        self._replay_schedule()
        self._schedule.remaining_rows[:] = found.state["remaining_rows"]
        while self._next <= found.chunks:
            self._next = next(self._points)
        self.chunks = found.chunks
        log.info("goes on from the checkpoint at chunk %d: %d rows are admitted", found.chunks, self._admission.index.kept)
        return True

    def _put_kept(self, checkpoints: Checkpoints, found: Checkpoint) -> None:
        admission, writer = self._admission, self._writer

        def unpack(arrays: Mapping[str, Array]) -> tuple[Remembered, Mapping[str, Array]]:
            return admission.rememberer.unpack(arrays), arrays

        with admission.rememberer.putting(found.state["sizes"]) as stores:
            for rows, arrays in checkpoints.kept(found, unpack):
                stores.add(rows)
                admission.put_entries(arrays)
                writer.add_row_digests({split: arrays[f"digests_{split}"].tobytes() for split in SPLITS})
        writer.take_row_digests()  # they are stored already

    def _is_true(self, found: Checkpoint) -> bool:
        assert self._checkpoints is not None
        missing = [*self._checkpoints.missing(found), *self._writer.missing_files(found.state["files"])]
        if missing:
            log.warning("%s: left out, %s is gone or torn; chunks are decided again", found.path, missing[0])
        elif found.state["superseded"] != self._superseded(found.chunks):
            log.warning("%s: left out, some of its requests are asked again", found.path)
        else:
            return True
        return False

    def _replay_schedule(self) -> None:
        size = len(self._schedule.remaining_rows)
        for chunk, (cells, rows) in enumerate(self._accepted):
            accepted = np.zeros(size, np.int64)
            accepted[list(cells)] = rows
            self._schedule.on_admitted(chunk, accepted)

    def close(self) -> None:
        """Wait until the checkpoints are stored."""
        if self._checkpoints is not None:
            self._checkpoints.close()
