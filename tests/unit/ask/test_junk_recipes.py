"""A recipe that misbehaves costs the rows of its own request: all others are answered, by the real worker."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import synth_ray
from synth_ray.ask import deadline, loop_watch
from synth_ray.ask import worker as worker_module
from synth_ray.ask.worker import AskWorker
from synth_ray.job.load import job_from
from synth_ray.records import Request, Seed
from tests.junk_recipe import JUNK
from tests.route.test_route import job

GOOD = ["good", "leaves tasks", "numpy counts"]


@contextmanager
def opened(**limits: Any) -> Iterator[AskWorker]:
    document = job_from(
        {
            "name": "junk",
            "seeds": "unused.jsonl",
            "recipe": {"name": "tests.junk_recipe"},
            "models": {"teacher": {"engine": "scripted", "script": {"words": 3, "latency_s": 0.001}}},
            "output": {"path": "unused"},
            "limits": {"request_deadline_s": 30.0, "journal_flush_s": 0} | limits,
        }
    )
    worker = AskWorker(document)
    worker.open()
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[AskWorker]:
    with opened() as worker:
        yield worker


def requests(kinds: Sequence[str]) -> list[Request]:
    return [Request(f"r{i}", 0, i, Seed(f"s{i}", "l", "train", {"prompt": kind}), 1) for i, kind in enumerate(kinds)]


def answered(worker: AskWorker, count: int) -> dict[int, tuple[str | None, str | None]]:
    """The reason and the detail of each request, by position, until so many have ended."""
    found: dict[int, tuple[str | None, str | None]] = {}
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        for rows in worker.collect(0.5):
            found |= {row["position"]: (row["reason"], row["detail"]) for row in rows.rows.to_pylist()}
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from([*JUNK, *GOOD]), min_size=1, max_size=30))
def test_junk_fails_its_own_request_and_no_other(worker: AskWorker, kinds: list[str]) -> None:
    submitted = requests(kinds)
    worker.submit(submitted)
    found = answered(worker, len(kinds))
    assert {i: reason for i, (reason, _) in found.items()} == {
        i: None if kind in GOOD else "recipe_error" for i, kind in enumerate(kinds)
    }
    assert [request.seed.fields["prompt"] for request in submitted] == kinds


def test_every_kind_of_junk_is_told_in_words(worker: AskWorker) -> None:
    worker.submit(requests(list(JUNK)))
    details = {
        kind: detail for kind, (_, detail) in zip(JUNK, dict(sorted(answered(worker, len(JUNK)).items())).values(), strict=True)
    }
    assert all(details.values())
    assert details["None"] == "wanted a list of drafts, got NoneType"
    assert details["completion None"] == "draft 0: wanted text in completion, got NoneType"
    assert "the recipe changed" in str(details["changes its request"])
    assert details["KeyboardInterrupt"] == "KeyboardInterrupt"


def test_a_recipe_that_never_ends_falls_under_the_deadline_even_if_it_cannot_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "IGNORED_S", 0.1)
    monkeypatch.setattr(worker_module, "IGNORED_S", 0.1)
    with opened(request_deadline_s=4.0) as worker:
        worker.submit(requests(["never ends", "cannot be cancelled", "good"]))
        found = answered(worker, 3)
    assert [found[i][0] for i in range(3)] == ["deadline", "deadline", None]


def test_a_recipe_that_blocks_the_loop_is_named_and_fails_alone_on_a_replica_that_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop_watch, "TOLD_AFTER_S", 1.0)
    monkeypatch.setattr(loop_watch, "BLOCKED_S", 1.5)
    changes = {
        "plan": {"requests": 30},
    }
    teacher = {"engine": "scripted", "script": {"words": 3, "latency_s": 0.001}}
    own = {"models": {"teacher": teacher}, "seeds": str(tmp_path / "kinds.jsonl"), "recipe": {"name": "tests.junk_recipe"}}
    document = job(tmp_path, str(tmp_path / "out"), **changes) | own
    kinds = [*("good " * 5 + str(n) for n in range(29)), "blocks the loop in a task of its own"]
    (tmp_path / "kinds.jsonl").write_text("".join(json.dumps({"prompt": kind}) + "\n" for kind in kinds))
    rows = synth_ray.run(document).manifest["rows"]
    assert rows["failed"] == {"recipe_error": 1}
    assert rows["requested"] == 30
    assert re.search(r"request \d+ of chunk \d+ has held the event loop for .* at junk_recipe.py:\d+ in _block", caplog.text)
