"""What a journal may hold, and what it does when the store takes nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from synth_ray.ask.journal import Journal, read_journal
from synth_ray.errors import StorageError
from synth_ray.recipes.contract import Completion
from synth_ray.records import Request, Seed
from synth_ray.storage.local import LocalStorage


class Refusing(LocalStorage):
    """A full disk, until it is `well`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.well = False
        self.tried = threading.Event()

    def write(self, path: str, data: bytes) -> None:
        self.tried.set()
        if not self.well:
            raise StorageError("full")
        super().write(path, data)


def test_a_journal_before_a_store_that_takes_nothing_holds_no_more_than_its_limit_and_writes_that_later(tmp_path: Path) -> None:
    store, troubles = Refusing(tmp_path), []
    journal = Journal(store, flush_s=3600, on_error=troubles.append, max_bytes=40_000)
    journal.open()
    likely = {"token": "word", "id": 7, "logprob": -0.5}
    answer = [Completion("word " * 20, "stop", 5, 20, 0, [likely | {"top": [likely]}])]
    for n in range(1000):
        journal.record(Request(f"r{n}", n % 3, n, Seed("s", "l", "train", {}), 1), f"k{n}", answer)
        assert journal.nbytes <= 40_000
    assert store.tried.wait(10)  # at half of the limit, an hour before its time
    store.well = True
    journal.close()
    kept: dict[str, Any] = {}
    for chunk in range(3):
        kept |= read_journal(store, chunk)
    assert 100 < len(kept) < 200
    assert all(kept[f"r{n}"] == {f"k{n}": answer} for n in range(100))
    assert troubles
    assert journal.nbytes == 0
