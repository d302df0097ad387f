"""Which checkpoint counts, and what it is of, without a run."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synth_ray.dataset.ledger import COMMITS, Ledger
from synth_ray.dedup import snapshot
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.publish import state
from synth_ray.publish.checkpoint import FOLDER, Checkpoints, _record
from synth_ray.publish.progress import key_of
from synth_ray.quality.leaks import SplitKeys
from synth_ray.storage.local import LocalStorage
from tests.route import test_stand_ins, test_targets
from tests.unit.dedup.test_semantic import words_model

IN_KEY = {
    *("job", "recipe", "options", "ask_digest", "job_digest", "seeds", "real", "mixed", "gold", "rejected_by_people"),
    *("held_out", "wanted_rows"),
}
FROM_THESE = {"count", "mix_count", "planner", "cells", "reference"}  # functions of the above, or measured when a run ends


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path / "out")
    for chunk in range(8):
        made.write(f"{COMMITS}{chunk:08d}.json", b"{}")
    return made


def opened(storage: LocalStorage, *, epoch: int = 0) -> Checkpoints:
    ledger = Ledger(storage)
    ledger.committed_chunks()
    return Checkpoints(ledger, storage, "key", epoch=epoch)


def store(checkpoints: Checkpoints, chunks: int, name: str) -> None:
    checkpoints.keep(chunks, lambda: {"id": np.frombuffer(name.encode(), np.uint8)})
    checkpoints.save(chunks, {"by": name})
    checkpoints.wait()


def states(storage: LocalStorage) -> list[str]:
    """Whose checkpoints count, the newest first."""
    found = opened(storage)
    return [checkpoint.state["by"] for checkpoint in found.whole() if not found.missing(checkpoint)]


def test_an_overtaken_driver_neither_replaces_nor_deletes_what_the_new_owner_stored(storage: LocalStorage) -> None:
    old, new = opened(storage, epoch=9), opened(storage, epoch=10)
    store(old, 4, "old")
    new.take_up(next(new.whole()))
    store(new, 8, "new")
    store(old, 8, "late")
    assert states(storage)[0] == "new"
    store(new, 8, "new again")
    assert states(storage) == ["new again"]
    assert not [entry for entry in storage.list(FOLDER) if "-e9-" in entry.path and "00000008" in entry.path]


def test_what_is_torn_or_not_taken_up_leaves_the_one_before_it_and_does_not_stay(storage: LocalStorage) -> None:
    run = opened(storage)
    for chunks in (2, 4, 6):
        store(run, chunks, str(chunks))
    assert states(storage) == ["6", "4"]
    torn = max(entry.path for entry in storage.list(FOLDER) if "kept-" in entry.path)
    storage.write(torn, storage.read(torn)[:-1])
    assert states(storage) == ["4"]
    again = opened(storage)
    again.take_up(next(found for found in again.whole() if not again.missing(found)))
    store(again, 5, "5")
    assert states(storage) == ["5", "4"]
    storage.delete(f"{COMMITS}{4:08d}.json")
    assert states(storage) == ["4"]


def test_a_state_of_any_number_of_arrays_is_read_again() -> None:
    keys = SplitKeys()
    for chunk in range(20_000):
        keys.add(np.full(2, chunk, np.uint64), np.zeros(2, np.int64))
    found = snapshot.read(io.BytesIO(_record({"key": "k"}, state.to_arrays({"texts": keys, "none": np.zeros((0, 2))}))))
    assert found is not None
    read = state.from_arrays(found[1])
    assert read["none"].shape == (0, 2)
    assert all(np.array_equal(a, b) for a, b in zip(read["texts"]._pending[-1], keys._pending[-1], strict=True))


def test_every_input_of_a_job_is_in_the_key_or_follows_from_what_is() -> None:
    assert {field.name for field in fields(Prepared)} == IN_KEY | FROM_THESE


def key(document: dict[str, Any], spool: Path) -> str:
    spool.mkdir()
    return key_of(prepare(job_from(document), spool=spool))


def test_other_shares_of_a_balance_are_another_key(tmp_path: Path) -> None:
    like = tmp_path / "like.jsonl"
    balance = {"by": "label", "like": {"path": str(like)}}
    document = test_targets.job(tmp_path, target={"accepted": 90, "balance": balance, "lag": 3})
    keys = []
    for cards in (1, 8):
        rows = [{"prompt": f"{label} {i}", "label": label} for label, n in (("card", cards), ("loan", 1)) for i in range(n)]
        like.write_text("".join(json.dumps(row) + "\n" for row in rows))
        keys.append(key(document, tmp_path / f"spool-{cards}"))
    assert keys[0] != keys[1]


def test_another_held_out_record_and_another_model_at_the_same_path_are_another_key(tmp_path: Path) -> None:
    test_stand_ins.visits(tmp_path)
    document = test_stand_ins.job(tmp_path, ["{{ words }}"])
    document["dedup"] = {"semantic": {"model": str(words_model(tmp_path / "model"))}}
    first = prepare(job_from(document), spool=tmp_path)
    before = key_of(first)
    assert first.held_out and key_of(replace(first, held_out=first.held_out[1:])) != before
    assert key(document, tmp_path / "second") == before
    (tmp_path / "model/config.json").write_text("{}")
    assert key(document, tmp_path / "third") != before
