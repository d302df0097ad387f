"""Checkpoints of an output's admission, so that a resumed run decides only the chunks that came after the last one.

    _synth/admission/kept-00000128-e7-1f3a….bin   what was kept of some chunks up to that one: fingerprints, digests; of chunk 0,
                                                  and at 0, what comes before the first chunk: real rows, seeds
    _synth/admission/at-00000128-e7.bin           what was counted up to that chunk, and the row groups that no part has yet

Law: a checkpoint only saves work. One that is missing, torn, of another job or version, or that a later change has made stale, is
left out for the one before it, and without one every chunk is decided again, with the same result. Written by a thread; a store
that refuses costs later runs time. Names have the epoch (e7) of the lease they were written under: an older owner that is still
writing neither replaces nor deletes what a newer one stored.
See docs/decisions/0048-checkpoints-of-admission.md.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from synth_ray.dataset.ledger import ROOT, Ledger
from synth_ray.dedup import snapshot
from synth_ray.dedup.hashing import U8, Array
from synth_ray.errors import StorageError
from synth_ray.publish.state import State, from_arrays, to_arrays
from synth_ray.records import digest
from synth_ray.storage import Entry, Storage
from synth_ray.workers.prefetch import prefetched

log = logging.getLogger(__name__)

FOLDER = f"{ROOT}admission/"
_STATES, _KEPT = f"{FOLDER}at-", f"{FOLDER}kept-"
_NAME = re.compile(rf"{FOLDER}(?:at|kept)-(\d{{8}})(?:-e(\d+))?[-.]")
_SPACING = 64  # a resumed run decides at most 1/64 of the chunks again
_READ_AHEAD = 4  # objects of 32 MiB; more threads than cores, since a store is slower than a disk

Part = TypeVar("Part")


def points(every: int) -> Iterator[int]:
    """The numbers of chunks at which checkpoints are taken: `every` chunks, and after 64 times as many, each 64th part more.
    Their number, and what they cost together, grows with the logarithm of the chunks, and not with them.
    """
    at = every
    while True:
        yield at
        at += max(every, at // _SPACING)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`chunks` were admitted, the first ones; `state` is what was counted, `kept` the objects that hold what was kept, with their
    sizes.
    """

    path: str
    chunks: int
    state: State
    kept: Mapping[str, int]


class Checkpoints:
    """The checkpoints of one output. `key`: whatever a checkpoint's decisions follow from, besides the chunks.

    `ledger` has listed the chunks that earlier runs committed. `epoch`: of the lease.
    """

    def __init__(self, ledger: Ledger, storage: Storage, key: str, *, epoch: int = 0) -> None:
        self._ledger, self._storage, self._key, self._epoch = ledger, storage, key, epoch
        self._kept: dict[str, int] = {}
        self._newest = ""  # of this run, or taken up by it
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._is_broken = False

    def keep(self, chunks: int, pack: Callable[[], Mapping[str, Array]]) -> None:
        """Store what was kept since the last call, up to this number of chunks: for the next checkpoint. A thread packs it."""
        self._submit(lambda: self._store_kept(chunks, pack()))

    def save(self, chunks: int, state: State) -> None:
        """Take the state before this returns, and store a checkpoint of it and of all that was kept."""
        arrays = to_arrays(state)
        self._submit(lambda: self._store_state(chunks, arrays))

    def _submit(self, store: Callable[[], None]) -> None:
        """One after the other, and at most one waits: it holds memory."""
        self.wait()
        if not self._is_broken:
            self._pending = self._writer.submit(store)

    def _store_kept(self, chunks: int, kept: Mapping[str, Array]) -> None:
        sealed = _record({"key": self._key}, kept)
        name = f"{_KEPT}{chunks:08d}-e{self._epoch}-{digest(sealed[-16:].hex(), size=4)}.bin"
        self._storage.write(name, sealed)
        self._kept[name] = len(sealed)

    def _store_state(self, chunks: int, state: dict[str, Array]) -> None:
        path, before = f"{_STATES}{chunks:08d}-e{self._epoch}.bin", self._newest
        kept = np.frombuffer(json.dumps(self._kept).encode(), U8)
        self._storage.write(path, _record({"key": self._key, "chunks": chunks}, state | {"kept": kept}))
        self._newest = path
        self._delete_others({path, before, *self._kept})

    def _delete_others(self, needed: Set[str]) -> None:
        """All but the last two checkpoints, and what a newer owner of the output stored."""
        for path in [entry.path for prefix in (_STATES, _KEPT) for entry in self._entries(prefix)]:
            if path not in needed and _place_of(path)[1] <= self._epoch:
                self._storage.delete(path)

    def wait(self) -> None:
        """Until everything is stored. What a store refused is told once; then no more checkpoints are made."""
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                pending.result()
        except StorageError as error:
            self._is_broken = True
            log.warning("no more checkpoints of admission in this run, the next one decides more chunks again: %s", error)

    def close(self) -> None:
        self.wait()
        self._writer.shutdown()

    def _entries(self, prefix: str) -> list[Entry]:
        return sorted(self._storage.list(prefix), key=lambda entry: _place_of(entry.path))

    def whole(self) -> Iterator[Checkpoint]:
        """The checkpoints that are whole and of this job, the newest first."""
        for entry in reversed(self._entries(_STATES)):
            found, why = self._read(entry)
            if found is not None:
                yield found
            else:
                log.warning("%s: left out, %s; chunks are decided again", entry.path, why)

    def take_up(self, checkpoint: Checkpoint) -> None:
        """The next checkpoint goes on from this one. Of a run that takes up none, it is the first."""
        self._kept, self._newest = dict(checkpoint.kept), checkpoint.path

    def _read(self, entry: Entry) -> tuple[Checkpoint | None, str]:
        record = snapshot.whole(self._storage.read(entry.path))
        if record is None or record[0]["key"] != self._key:
            return None, "it is torn" if record is None else "it is of another job or version"
        header, arrays = record
        if self._ledger.lacks_any(below=header["chunks"]):
            return None, "a chunk that was committed before it is gone"
        if self._ledger.has_newer(entry.modified + 1, below=header["chunks"]):
            return None, "a chunk was committed again after it"
        try:
            state, kept = from_arrays(arrays), json.loads(arrays["kept"].tobytes())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"it cannot be read here ({error})"
        return Checkpoint(entry.path, int(header["chunks"]), state, kept), ""

    def kept(self, checkpoint: Checkpoint, unpack: Callable[[Mapping[str, Array]], Part]) -> Iterator[Part]:
        """What was kept, in order; threads read and unpack the next objects meanwhile. Raises StorageError for one of
        the right size with other bytes: rows before it are kept by then.
        """
        return prefetched(
            list(checkpoint.kept), lambda name: unpack(self._read_kept(name)), ahead=_READ_AHEAD, threads=_READ_AHEAD
        )

    def _read_kept(self, name: str) -> Mapping[str, Array]:
        record = snapshot.whole(self._storage.read(name))
        if record is None or record[0]["key"] != self._key:
            raise StorageError(
                f"{self._storage.url}/{name}: wanted what a checkpoint kept, got other bytes; delete {FOLDER} and run the same "
                "command again: it decides every chunk again"
            )
        return record[1]

    def missing(self, checkpoint: Checkpoint) -> Iterable[str]:
        """Names of objects that are not there any more, or are torn."""
        sizes = {entry.path: entry.size for entry in self._storage.list(_KEPT)}
        return [name for name, size in checkpoint.kept.items() if sizes.get(name) != size]


def _place_of(path: str) -> tuple[int, int]:
    """(chunks, epoch) of an object's name. An earlier version wrote no epoch."""
    found = _NAME.match(path)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _record(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    sink = io.BytesIO()
    snapshot.write(sink, header, arrays)
    return sink.getvalue()
