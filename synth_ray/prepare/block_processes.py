"""Blocks made by processes of this machine, in the order of their pieces.

Law: the blocks are those that this process would make itself, in the same order, whatever processes there are and however they
end; none outlives its reader. At most two pieces a process are held at a time. An error in cutting comes where its piece would
have come, and one in making a block names the piece's file and line.
"""

from __future__ import annotations

import logging
import queue
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from threading import Lock

from synth_ray import gc_tuning
from synth_ray.child_process import ChildEnded, ChildProcess
from synth_ray.errors import SynthRayError
from synth_ray.job.cores import usable_cores
from synth_ray.plan.seeds import SourcePiece
from synth_ray.prepare.seed_blocks import BlockMaker, BlockRules, SeedBlock

log = logging.getLogger(__name__)

_ALONE_S = 2.0  # about what starting a process takes
_MAX_PROCESSES = 16


def blocks_of(
    pieces: Iterable[SourcePiece], maker: BlockMaker, *, processes: int | None = None, alone_s: float = _ALONE_S
) -> Generator[SeedBlock, None, None]:
    """The block of every piece, as `maker` makes it. This process makes them alone for `alone_s` seconds, so that short sources
    start no process; then `processes` do, by default one for each processor.
    """
    wanted = _processes_for(maker.rules) if processes is None else processes
    remaining, began = iter(pieces), time.monotonic()
    while wanted < 2 or time.monotonic() - began < alone_s:
        piece = next(remaining, None)
        if piece is None:
            return
        yield maker.block_of_piece(piece)
    with ExitStack() as stack:
        started = _started(wanted, maker.rules, stack)
        if started:
            yield from _Pool(started, maker, stack).blocks(remaining)
    yield from map(maker.block_of_piece, remaining)


def _started(wanted: int, rules: BlockRules, stack: ExitStack) -> list[_Process]:
    """As many processes as the machine lets start."""
    processes: list[_Process] = []
    try:
        for _ in range(wanted):
            processes.append(process := _Process(rules))
            stack.callback(process.end)
    except OSError as error:
        log.warning("%d of %d processes that read seeds could start (%s)", len(processes), wanted, error.strerror)
    return processes


def _processes_for(rules: BlockRules) -> int:
    has_model = rules.scrub is not None and rules.scrub.engine != "patterns"
    return 1 if has_model else min(_MAX_PROCESSES, usable_cores())


class _Process:
    """One that makes blocks by the rules. Raises OSError where none can be started."""

    def __init__(self, rules: BlockRules) -> None:
        self._child = ChildProcess("synth_ray.prepare.block_processes")
        with suppress(ChildEnded):  # one that ended at once is noticed at its first piece
            self._child.send(rules)

    def block_of_piece(self, piece: SourcePiece) -> SeedBlock | None:
        """None where the process ended. Raises what making the block raises."""
        try:
            answer = self._child.ask(piece)
        except ChildEnded as ended:
            log.warning("%s: wanted its rows, got the process that reads it %s; it is read again here", piece.place, ended)
            return None
        if isinstance(answer, Exception):
            raise answer
        block: SeedBlock = answer
        return block

    def end(self) -> None:
        self._child.end()


class _Pool:
    """A thread for each process, which gives it a piece and waits for the block."""

    def __init__(self, processes: Sequence[_Process], maker: BlockMaker, stack: ExitStack) -> None:
        self._maker, self._at_work_here = maker, Lock()
        self._size = len(processes)
        self._free: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        for process in processes:
            self._free.put(process)
        self._threads = stack.enter_context(ThreadPoolExecutor(self._size, "seed-blocks"))

    def blocks(self, pieces: Iterator[SourcePiece]) -> Iterator[SeedBlock]:
        waiting: deque[Future[SeedBlock]] = deque()
        try:
            for piece in _with_error_in_its_place(pieces):
                waiting.append(self._threads.submit(self._block, piece))
                if len(waiting) >= 2 * self._size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _block(self, piece: SourcePiece | Exception) -> SeedBlock:
        if isinstance(piece, Exception):
            raise piece
        process, block = self._free.get(), None
        try:
            block = process.block_of_piece(piece) if process is not None else None
        finally:
            self._free.put(process if block is not None else None)
        if block is not None:
            return block
        with self._at_work_here:
            return self._maker.block_of_piece(piece)


def _with_error_in_its_place(pieces: Iterator[SourcePiece]) -> Iterator[SourcePiece | Exception]:
    try:
        yield from pieces
    except Exception as error:
        yield error


def _serve(connection: Connection) -> None:
    """Until who reads the blocks closes its end, or ends."""
    maker = BlockMaker(connection.recv())
    while True:
        piece = connection.recv()
        try:
            answer: SeedBlock | Exception = maker.block_of_piece(piece)
        except Exception as error:
            answer = _to_send(error)
        connection.send(answer)


def _to_send(error: Exception) -> Exception:
    """The error, where it is one of ours, which survive the way; else one in its place, with the place in the code where it was
    raised.
    """
    if isinstance(error, SynthRayError):
        return error
    sent = RuntimeError(f"{type(error).__name__} in a process that reads seeds")
    sent.__notes__ = getattr(error, "__notes__", [])
    trace = "".join(traceback.format_tb(error.__traceback__))
    sent.add_note(f"In the process that read it:\n{trace}")
    return sent


if __name__ == "__main__":
    # Ctrl-C and a scheduler's notice reach every process of the group, but this one ends when who reads its blocks does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    gc_tuning.freeze_startup_objects()
    with Connection(int(sys.argv[1])) as own_end, suppress(EOFError, ConnectionError):
        _serve(own_end)
