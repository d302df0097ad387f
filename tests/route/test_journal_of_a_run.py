"""Law 3 while a run goes on: what was journalled of a committed chunk is removed though others are open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask import journal_sweeper
from synth_ray.ask.segments import journalled_chunks
from synth_ray.dataset.ledger import Ledger
from synth_ray.job.load import job_from
from synth_ray.meter.tally import PUBLISHING
from synth_ray.route.run import run_job
from synth_ray.storage import open_storage
from synth_ray.storage.journal_names import ASKS
from synth_ray.workers.local_pool import LocalPool
from tests.held_server import held_server
from tests.route.test_route import job


def test_text_before_scrubbing_does_not_outlive_the_commit_of_its_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_sweeper, "EVERY_S", 0.02)
    monkeypatch.setattr(journal_sweeper, "REWRITE_S", 0.1)
    store, gone = open_storage(str(tmp_path / "out")), set[int]()

    def watch(tally: Any) -> None:
        journalled, committed = set(journalled_chunks(store)), set(Ledger(store).committed_chunks())
        if tally.stage != PUBLISHING and journalled - committed:
            gone.update(committed - journalled)
        if len(gone) > 3:
            server.let_go()

    with held_server() as server:
        changes: dict[str, Any] = {
            "limits": {"journal_flush_s": 0.05},
            "plan": {"requests": 160, "chunk_requests": 20},
        }
        document = job(tmp_path, str(tmp_path / "out"), **changes) | {"models": {"teacher": server.teacher()}}
        server.hold(after=345)  # the asks of five chunks and of a part of the next
        run_job(job_from(document), make_pool=LocalPool, watch=watch)
    assert len(gone) > 3  # while others were open
    assert list(store.list(ASKS)) == []
