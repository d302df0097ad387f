"""Removes the journal of committed chunks while the run goes on, on a thread of its own.

Law: what the journal holds of a chunk is gone soon after its commit. A segment is deleted when all its chunks are committed; one
that others still need is written anew, without the committed ones, REWRITE_S after a commit. A store that refuses is told of and
tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Iterable

from synth_ray.ask.segments import Blocks, journalled_chunks, read_blocks, write_segment
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage import Storage
from synth_ray.storage.journal_names import ASKS, GROUP, chunks_of, folder_of, group_of, is_old, old_folder_of

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""Seconds between looks at what was committed: commits of so long are forgotten together."""
REWRITE_S = 60.0
"""Seconds that a committed chunk's answers may share a segment with those of open ones. Most segments go as a whole before."""
_TOLD_EVERY_S = 60.0
_REWRITTEN_TOGETHER = 32
"""Segments that are read at once and become one."""


def delete_segments(storage: Storage, chunk: int) -> None:
    """Remove all that the journal holds of a chunk."""
    sweep(storage, [folder_of(group_of(chunk)), old_folder_of(chunk)], [chunk], rewrite=True)


def _everything(_chunk: int) -> bool:
    return True


def sweep(
    storage: Storage,
    folders: Iterable[str],
    committed: Container[int],
    *,
    rewrite: bool,
    owns: Callable[[int], bool] = _everything,
) -> None:
    """Delete the segments in these folders whose chunks are all committed. With `rewrite`, write others anew without the chunks
    that are, and those of earlier versions, which had one chunk each, together. Segments with a chunk that the caller does not
    own are left alone. Raises StorageError.
    """
    gone: list[str] = []
    mixed: list[str] = []
    for entry in (entry for folder in folders for entry in storage.list(folder)):
        if not all(map(owns, chunks_of(entry.path))):
            continue
        open_chunks = [chunk for chunk in chunks_of(entry.path) if chunk not in committed]
        if not open_chunks:
            gone.append(entry.path)
        elif len(open_chunks) < len(chunks_of(entry.path)) or is_old(entry.path):
            mixed.append(entry.path)
    if gone:
        storage.delete_many(gone)
    if rewrite:
        for start in range(0, len(mixed), _REWRITTEN_TOGETHER):
            _rewrite(storage, mixed[start : start + _REWRITTEN_TOGETHER], committed)


def _rewrite(storage: Storage, paths: list[str], committed: Container[int]) -> None:
    """Write the open chunks' answers to new segments, then delete these: a reader finds them in one or the other."""
    by_group: dict[int, Blocks] = {}
    for blocks in read_blocks(storage, paths):
        for chunk, of_chunk in blocks.items():
            if chunk not in committed:
                by_group.setdefault(group_of(chunk), {}).setdefault(chunk, []).extend(of_chunk)
    for blocks in by_group.values():
        write_segment(storage, blocks)
    storage.delete_many(paths)


class _Committed:
    """Chunks that are committed, by this run or earlier: a bit each."""

    def __init__(self, earlier: Container[int]) -> None:
        self._earlier = earlier
        self._masks: dict[int, int] = {}

    def add(self, chunk: int) -> None:
        group = group_of(chunk)
        self._masks[group] = self._masks.get(group, 0) | 1 << (chunk % GROUP)

    def __contains__(self, chunk: object) -> bool:
        return isinstance(chunk, int) and (
            chunk in self._earlier or bool(self._masks.get(group_of(chunk), 0) >> (chunk % GROUP) & 1)
        )


class JournalSweeper:
    """`on_committed` never waits. Each commit is followed by looks at its group of chunks: within EVERY_S, and REWRITE_S later,
    when what a replica was just writing is there. What waits is two numbers for each group of GROUP chunks.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        earlier: Container[int] = (),
        owns: Callable[[int], bool] = _everything,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`earlier` are the chunks that earlier runs committed. `owns` says which chunks this driver drives, where others drive
        the rest.
        """
        self._owns = owns
        self._storage = storage
        self._clock = clock
        self._committed = _Committed(earlier)
        self._lock = threading.Lock()
        self._soon: set[int] = set()
        self._late: dict[int, float] = {}
        self._last_commit: dict[int, float] = {}
        self._told_at = float("-inf")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sweeper", daemon=True)

    def open(self) -> set[int]:
        """Remove what earlier runs left of committed chunks. Returns the chunks that are journalled and not committed. Raises
        StorageError.
        """
        self._sweep([ASKS], rewrite=True)
        self._thread.start()
        return set(filter(self._owns, journalled_chunks(self._storage)))

    def _sweep(self, folders: Iterable[str], *, rewrite: bool) -> None:
        sweep(self._storage, folders, self._committed, rewrite=rewrite, owns=self._owns)

    def on_committed(self, chunk: int) -> None:
        now, group = self._clock(), group_of(chunk)
        with self._lock:
            self._committed.add(chunk)
            self._soon.add(group)
            self._last_commit[group] = now
            self._late.setdefault(group, now + REWRITE_S)

    def look(self) -> None:
        """Sweep the groups whose time has come. Raises nothing of the store's: what it refused is tried again."""
        now = self._clock()
        soon, late = self._take_due(now)
        for group in sorted(soon | late):
            try:
                self._sweep([folder_of(group)], rewrite=group in late)
            except ObjectNotFound:
                self._try_again(group, now)  # the lease's next holder, or `gc`, removed one
            except StorageError as error:
                self._try_again(group, now)
                self._tell(error, now)

    def _take_due(self, now: float) -> tuple[set[int], set[int]]:
        """The groups to look at, and those whose shared segments are to be written anew."""
        with self._lock:
            late = {group for group, due in self._late.items() if due <= now}
            soon, self._soon = self._soon, set()
            for group in late:
                del self._late[group]
                due = self._last_commit.pop(group, now) + REWRITE_S
                if due > now:
                    self._late[group] = due
        return soon, late

    def _try_again(self, group: int, now: float) -> None:
        with self._lock:
            self._late[group] = now + EVERY_S

    def _tell(self, error: StorageError, now: float) -> None:
        if now - self._told_at >= _TOLD_EVERY_S:
            self._told_at = now
            log.warning("the journal of committed chunks could not be removed, which is tried again: %s", error)

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            self.look()

    def close(self) -> None:
        """Stop looking. What is due is left for `finish`, or for the next run."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def finish(self) -> None:
        """After the last commit, and after the last replica has ended: remove what is left of committed chunks. Raises
        StorageError.
        """
        self.close()
        self._sweep([ASKS], rewrite=True)
