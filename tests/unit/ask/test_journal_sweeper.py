"""What is journalled of a chunk goes soon after its commit; what open chunks need stays, whatever the store refuses meanwhile."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.ask.journal import Journal
from synth_ray.ask.journal_sweeper import EVERY_S, REWRITE_S, JournalSweeper, sweep
from synth_ray.ask.segments import EarlierAnswers, block_of, journalled_chunks, line_of, read_journal, write_segment
from synth_ray.errors import StorageError
from synth_ray.recipes.contract import Completion
from synth_ray.records import Request, Seed
from synth_ray.storage import Entry
from synth_ray.storage.journal_names import ASKS, GROUP, chunks_of, folder_of
from synth_ray.storage.local import LocalStorage

CHUNKS = [0, 1, 2, GROUP - 1, GROUP, 3 * GROUP + 5]
STEP = st.one_of(
    st.tuples(st.just("answer"), st.sampled_from(CHUNKS)),
    st.tuples(st.just("commit"), st.sampled_from(CHUNKS)),
    st.tuples(st.just("flush"), st.integers(0, 1)),
    st.tuples(st.just("refuse"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 70])),
)


class Refusing(LocalStorage):
    refuses = False

    def delete_many(self, paths: Iterable[str]) -> None:
        if self.refuses:
            raise StorageError("refused")
        super().delete_many(paths)


class Run:
    """Two replicas' journals and the sweeper of one run, by a clock of its own."""

    def __init__(self, folder: str) -> None:
        self.store, self.now = Refusing(folder), 0.0
        self.sweeper = JournalSweeper(self.store, clock=lambda: self.now)
        self.journals = [Journal(self.store, flush_s=3600, on_error=print) for _ in range(2)]
        self.committed: set[int] = set()
        self.flushed: list[tuple[int, str]] = []
        self.buffered: list[list[tuple[int, str]]] = [[], []]
        self.count = 0

    def step(self, act: str, what: int) -> None:
        if act == "answer":
            self.count += 1
            name = f"r{self.count}"
            self.journals[self.count % 2].record(request(name, what), "k", [Completion(name, "stop", 1, 1)])
            if what not in self.committed:
                self.buffered[self.count % 2].append((what, name))
        elif act == "commit":
            self.committed.add(what)
            self.sweeper.on_committed(what)
            for journal in self.journals:
                journal.drop(what)
        elif act == "flush":
            self.journals[what].flush()
            self.flushed += self.buffered[what]
            self.buffered[what] = []
        elif act == "refuse":
            self.store.refuses = bool(what)
        else:
            self.wait(what)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / EVERY_S) + 1):
            self.now += EVERY_S
            self.sweeper.look()

    def readable(self) -> set[str]:
        return {name for chunk in CHUNKS for name in read_journal(self.store, chunk)}

    def wanted(self) -> set[str]:
        return {name for chunk, name in self.flushed if chunk not in self.committed}


def request(name: str, chunk: int) -> Request:
    return Request(name, chunk, 0, Seed("s", "l", "train", {}), 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_a_committed_chunk_leaves_no_answer_and_an_open_one_keeps_all_of_its_own(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        for step in steps:
            run.step(*step)
            assert run.wanted() <= run.readable()
        run.store.refuses = False
        run.wait(2 * REWRITE_S + 3 * EVERY_S)  # what was refused is due again
        assert run.readable() == run.wanted()
        assert run.committed.isdisjoint(journalled_chunks(run.store))


def test_chunks_that_commit_together_are_forgotten_together(tmp_path: Path) -> None:
    run = Run(str(tmp_path))
    for chunk in range(GROUP):
        run.step("answer", chunk)
    for journal in range(2):
        run.step("flush", journal)
    assert [len(chunks_of(entry.path)) for entry in run.store.list(ASKS)] == [GROUP // 2] * 2  # one object for each flush
    for chunk in range(1, GROUP):
        run.step("commit", chunk)
    run.wait(EVERY_S)
    assert [len(chunks_of(entry.path)) for entry in run.store.list(ASKS)] == [GROUP // 2]
    run.wait(REWRITE_S)
    [left] = run.store.list(ASKS)
    assert chunks_of(left.path) == {0}


def test_what_an_interrupted_run_of_an_earlier_version_left_is_read_and_goes_with_its_chunk(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)
    for chunk in (3, 4, 5, 700):
        line = line_of(f"r{chunk}", "k", [Completion("x", "stop", 1, 1)])
        store.write(f"{ASKS}{chunk:08d}/{chunk:032x}.jsonl.z", zlib.compress(line, 1))
    assert read_journal(store, 3).keys() == {"r3"}
    sweeper = JournalSweeper(store, earlier=[4])
    journalled = sweeper.open()
    assert journalled == {3, 5, 700}
    assert len(list(store.list(ASKS))) == 2  # an object for each group
    earlier = EarlierAnswers(store, journalled)
    assert [list(earlier(chunk)) for chunk in (3, 4, 5, 6, 700, 3)] == [["r3"], [], ["r5"], [], ["r700"], []]
    sweeper.on_committed(3)
    sweeper.finish()
    assert journalled_chunks(store) == [5, 700]


class Paged(LocalStorage):
    """Lists one key a page, each as the folder is when it is asked for; `between` is called once, behind the first."""

    between: Callable[[], object] | None = None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        after = ""
        while page := sorted((entry.path, entry) for entry in super().list(prefix) if entry.path > after)[:1]:
            yield page[0][1]
            after = page[0][0]
            if self.between is not None:
                between, self.between = self.between, None
                between()


def test_an_answer_is_found_while_its_segment_is_written_anew_between_two_pages_of_a_listing(tmp_path: Path) -> None:
    """Without its lowest chunk it has a name that comes before the old one."""
    store = Paged(str(tmp_path))
    answers = [Completion("fine", "stop", 1, 1)]
    for first, key in ((0, "a"), (1, "b")):
        chunks = (first, 6, 7)
        write_segment(store, {chunk: [block_of([line_of(f"r{chunk}", key, answers)])] for chunk in chunks})
    store.between = lambda: sweep(store, [folder_of(0)], {1}, rewrite=True)
    assert read_journal(store, 6) == {"r6": {"a": answers, "b": answers}}
    assert store.between is None
