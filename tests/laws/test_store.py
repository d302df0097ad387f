"""Laws of the store and the ledger as properties: a store is a dictionary with atomic conditional writes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from synth_ray.dataset.ledger import Ledger
from synth_ray.errors import Conflict, ObjectNotFound
from synth_ray.storage import Retry, Storage, open_storage
from tests.cloud_servers import REMOTE, new_place
from tests.rows import staged_chunk

PATHS = st.sampled_from(["a", "b/x", "b/y", "b-z", "é/ü", "deep/er/still"])
DATA = st.binary(max_size=8)


class Interrupt(BaseException):
    """Interrupts an upload."""


class StoreMachine(RuleBasedStateMachine):
    """Every operation is compared with a plain dictionary of path to bytes, `expected`."""

    make: Any = None

    @initialize()
    def begin(self) -> None:
        self.store: Storage = type(self).make()
        self.expected: dict[str, bytes] = {}

    @rule(path=PATHS, data=DATA)
    def write(self, path: str, data: bytes) -> None:
        self.store.write(path, data)
        self.expected[path] = data

    @rule(path=PATHS, data=DATA)
    def create(self, path: str, data: bytes) -> None:
        if path in self.expected:
            with pytest.raises(Conflict):
                self.store.create(path, data)
        else:
            assert self.store.create(path, data) == self.store.etag(path)
            self.expected[path] = data

    @rule(path=PATHS, data=DATA, other=DATA)
    def swap_twice(self, path: str, data: bytes, other: bytes) -> None:
        """A second swap of the same etag conflicts, unless the first swap left the etag unchanged."""
        etag = self.store.etag(path) if path in self.expected else "0" * 32
        if path not in self.expected:
            with pytest.raises(Conflict):
                self.store.swap(path, data, etag)
            return
        new_etag = self.store.swap(path, data, etag)
        self.expected[path] = data
        if new_etag != etag:
            with pytest.raises(Conflict):
                self.store.swap(path, other, etag)

    @rule(path=PATHS)
    def delete(self, path: str) -> None:
        self.store.delete(path)
        self.expected.pop(path, None)

    @rule(path=PATHS, pieces=st.lists(DATA, max_size=3), breaks=st.booleans())
    def upload(self, path: str, pieces: list[bytes], breaks: bool) -> None:
        try:
            with self.store.upload(path) as out:
                for piece in pieces:
                    out.write(piece)
                if breaks:
                    raise Interrupt
        except Interrupt:
            return
        self.expected[path] = b"".join(pieces)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), start=st.integers(0, 9), length=st.integers(0, 9))
    def read(self, data: st.DataObject, start: int, length: int) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected)))
        assert self.store.read(path) == self.expected[path]
        assert self.store.read_range(path, start, length) == self.expected[path][start : start + length]

    @rule(path=PATHS)
    def read_absent(self, path: str) -> None:
        if path not in self.expected:
            with pytest.raises(ObjectNotFound):
                self.store.read(path)

    @rule(prefix=st.sampled_from(["", "b", "b/", "b/x", "deep/", "nothing"]))
    def list(self, prefix: str) -> None:
        wanted = sorted((p for p in self.expected if p.startswith(prefix)), key=str.encode)
        assert [(e.path, e.size) for e in self.store.list(prefix)] == [(p, len(self.expected[p])) for p in wanted]

    @invariant()
    def no_other_object_exists(self) -> None:
        if hasattr(self, "expected") and isinstance(self.store.url, str) and "://" not in self.store.url:
            assert {e.path for e in self.store.list()} == set(self.expected)


def test_a_folder_behaves_like_a_dictionary(tmp_path: Path) -> None:
    numbers = itertools.count()
    machine = type("Local", (StoreMachine,), {"make": staticmethod(lambda: open_storage(str(tmp_path / f"{next(numbers)}")))})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=25))


@pytest.mark.parametrize("kind", REMOTE)
def test_a_bucket_behaves_like_a_dictionary(kind: str, request: pytest.FixtureRequest) -> None:
    place, numbers = new_place(kind, request), itertools.count()

    def make() -> Storage:
        return open_storage(f"{place.url}/{next(numbers)}", endpoint_url=place.endpoint_url, retry=Retry(budget_s=5))

    machine = type(kind, (StoreMachine,), {"make": staticmethod(make)})
    run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=15))


WRITERS = st.lists(st.sampled_from(["create", "swap", "stale"]), min_size=2, max_size=6)


@pytest.mark.parametrize("kind", REMOTE)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writers=WRITERS, exists=st.booleans())
def test_of_writers_at_once_exactly_one_wins(kind: str, request: pytest.FixtureRequest, writers: list[str], exists: bool) -> None:
    """Where the object is not there, one that creates it wins; where it is, one that swaps its newest version, and no other."""
    place = new_place(kind, request)
    store = open_storage(f"{place.url}/{uuid.uuid4().hex}", endpoint_url=place.endpoint_url)
    stale = store.create("x", b"stale")
    newest = store.swap("x", b"newest", stale)
    if not exists:
        store.delete("x")
    acts = {"create": lambda data: store.create("x", data), "swap": lambda data: store.swap("x", data, newest)}
    acts["stale"] = lambda data: store.swap("x", data, stale)
    with ThreadPoolExecutor(len(writers)) as pool:
        won = [
            n
            for n, is_won in enumerate(pool.map(lambda n: _wins(lambda: acts[writers[n]](b"%d" % n)), range(len(writers))))
            if is_won
        ]
    able = [n for n, kind in enumerate(writers) if kind == ("swap" if exists else "create")]
    assert len(won) == min(1, len(able))
    assert set(won) <= set(able)
    if won:
        assert store.read("x") == b"%d" % won[0]


def _wins(write: Callable[[], Any]) -> bool:
    try:
        write()
    except Conflict:
        return False
    return True


ATTEMPTS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), max_size=10)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=ATTEMPTS)
def test_the_first_commit_of_a_chunk_never_changes(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[int, int]]
) -> None:
    ledger = Ledger(open_storage(str(tmp_path_factory.mktemp("out"))))
    first: dict[int, int] = {}
    for chunk, rows in attempts:
        commit = ledger.commit_chunk(chunk, staged_chunk(chunk, rows), {})
        assert commit.rows == first.setdefault(chunk, rows)
        assert list(ledger.committed_chunks()) == sorted(first)
    lost_attempts = {(chunk, rows) for chunk, rows in attempts if rows != first[chunk]}
    assert len(ledger.delete_orphans(now=4e9)) == len(lost_attempts)
    for chunk, rows in first.items():
        assert ledger.read_chunk(chunk).num_rows == rows
