"""The journal's memory limit, and what it does while the store refuses writes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from synth_ray.ask.journal import Journal
from synth_ray.ask.segments import read_journal
from synth_ray.ask.top_k import pack_top_k
from synth_ray.errors import StorageError
from synth_ray.recipes.contract import Completion
from synth_ray.records import Request, Seed
from synth_ray.storage.local import LocalStorage


class RefusingStorage(LocalStorage):
    """Refuses every write until `is_up` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_up = False
        self.tried = threading.Event()

    def write(self, path: str, data: bytes) -> None:
        self.tried.set()
        if not self.is_up:
            raise StorageError("full")
        super().write(path, data)


def test_a_journal_whose_store_refuses_writes_stays_within_its_limit_and_writes_later(tmp_path: Path) -> None:
    store, errors = RefusingStorage(tmp_path), []
    journal = Journal(store, flush_s=3600, on_error=errors.append, max_bytes=40_000)
    journal.open()
    token = {"token": "word", "id": 7, "logprob": -0.5}
    answer = [Completion("word " * 20, "stop", 5, 20, 0, [token | {"top": [token]}])]
    for n in range(1000):
        journal.record(Request(f"r{n}", n % 3, n, Seed("s", "l", "train", {}), 1), f"k{n}", answer)
        assert journal.nbytes <= 40_000
    assert store.tried.wait(10)  # at half of the limit, an hour before its time
    store.is_up = True
    journal.close()
    kept: dict[str, Any] = {}
    for chunk in range(3):
        kept |= read_journal(store, chunk)
    assert 100 < len(kept) < 200
    assert all(kept[f"r{n}"] == {f"k{n}": answer} for n in range(100))
    assert errors
    assert journal.nbytes == 0


def test_the_likeliest_tokens_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    top_k = pack_top_k([1, 2], [70_000, 4], np.array([[70_000, 9], [5, 4]]), np.log([[0.5, 0.25], [0.7, 0.1]]))
    answers = [
        Completion("a", "stop", 2, 2, top_k=top_k),
        Completion("b", "stop", 2, 2, vector=[0.5]),
        Completion("c", "stop", 1, 1),
        Completion("d", "stop", 1, 1, reasoning_tokens=0),
    ]
    store = LocalStorage(tmp_path)
    journal = Journal(store, flush_s=3600, on_error=print)
    journal.record(Request("r", 0, 0, Seed("s", "l", "train", {}), 1), "k", answers)
    journal.flush()
    assert read_journal(store, 0) == {"r": {"k": answers}}


def test_what_is_recorded_is_what_was_answered_then_and_nothing_is_kept_of_a_chunk_that_is_dropped(tmp_path: Path) -> None:
    """Lines are made at the flush: a recipe may have changed its list of answers by then."""
    store = LocalStorage(tmp_path)
    journal = Journal(store, flush_s=3600, on_error=print)
    answers = [Completion("label", "stop", 9, 1)]
    for chunk in (0, 1):
        journal.record(Request(f"r{chunk}", chunk, 0, Seed("s", "l", "train", {}), 1), "k", answers)
    held = journal.nbytes
    answers.clear()
    journal.drop(1)
    assert journal.nbytes == held // 2
    journal.flush()
    assert read_journal(store, 0, 1) == {"r0": {"k": [Completion("label", "stop", 9, 1)]}}
    assert journal.nbytes == 0
