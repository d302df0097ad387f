"""A whole run, killed by the kernel before every write and at random moments, goes on to the same dataset."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.errors import ObjectNotFound
from synth_ray.storage import Storage, open_storage
from tests.nursery import KILLED, Nursery

CHUNK, CHUNKS = 8, 2
SCRIPT = {"repeat_share": 0.2, "empty_share": 0.05, "fail_share": 0.05, "words": 8}


@pytest.fixture(scope="module")
def nursery(aws_credentials: None) -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


class Place:
    """One output, the job that fills it, and the notes of what was asked, which the places of a folder share."""

    def __init__(self, folder: Path, name: str, **output: Any) -> None:
        self.asked_log = folder / "asked.log"
        self.asked_log.touch()
        output.setdefault("path", str(folder / name))
        seeds = folder / "seeds.jsonl"
        if not seeds.exists():
            seeds.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(CHUNK * CHUNKS)))
        self.job: dict[str, Any] = {
            "name": "killed",
            "seeds": str(seeds),
            "recipe": {"name": "tests.counted_recipe", "log": str(self.asked_log)},
            "models": {"teacher": {"engine": "scripted", "script": SCRIPT}},
            "plan": {"chunk_requests": CHUNK, "window_chunks": 2},
            "split": {"allow_synthetic_only_eval": True},
            "output": output,
            "cluster": {"engine": "local"},
            "limits": {"journal_flush_s": 0.05},
        }
        where = {k: v for k, v in output.items() if k == "endpoint_url"}
        self.store: Storage = open_storage(output["path"], **where)

    def asked(self) -> list[int]:
        """The chunk of every request that was made so far."""
        return [int(line.split()[0]) for line in self.asked_log.read_text().splitlines()]

    def seen(self) -> Manifest | None:
        try:
            manifest = read_manifest(self.store)
        except ObjectNotFound:
            return None
        manifest.check()
        return manifest


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    if request.param == "local":
        return lambda name: Place(tmp_path, name)
    bucket, server = request.getfixturevalue("bucket"), request.getfixturevalue("moto_server")
    return lambda name: Place(tmp_path, name, path=f"s3://{bucket}/{name}", endpoint_url=server)


def live(nursery: Nursery, one: Place, wanted: str, **how: Any) -> int:
    """One life of the run. Whatever ended it: a reader sees nothing or the whole, and no committed chunk was asked again."""
    committed, before = list(Ledger(one.store).commits()), len(one.asked())
    told = nursery.run(one.job, **how)
    code = int(told["code"])
    assert code in (0, KILLED), told["error"]
    assert not set(one.asked()[before:]) & set(committed)
    seen = one.seen()
    assert seen is None or (seen.complete and seen.dataset_digest == wanted)
    return code


def ends_well(nursery: Nursery, one: Place, wanted: str) -> None:
    assert live(nursery, one, wanted) == 0
    seen = one.seen()
    assert seen is not None
    assert seen.rows.requested == 2 * CHUNK * CHUNKS
    assert [len(list(one.store.list(f"_synth/{part}/"))) for part in ("asks", "commits")] == [0, CHUNKS]


def whole(nursery: Nursery, one: Place, *, counts: str) -> tuple[str, int]:
    """The digest every other life must end with, and how much a run that nobody kills does."""
    told = nursery.run(one.job, counts=counts)
    assert told["code"] == 0, told["error"]
    did, seen = int(told["did"]), one.seen()
    assert seen is not None
    return seen.dataset_digest, did


def test_a_run_killed_before_any_write_resumes_to_the_same_dataset(nursery: Nursery, place: Callable[[str], Place]) -> None:
    wanted, did = whole(nursery, place("whole"), counts="writes")
    assert did > 15
    for at in range(0, did, 3 if place("whole").store.url.startswith("s3") else 1):  # a bucket's requests are slow
        one = place(f"{at}")
        live(nursery, one, wanted, at=at)
        ends_well(nursery, one, wanted)


def test_a_run_killed_repeatedly_at_random_moments_resumes(nursery: Nursery, place: Callable[[str], Place]) -> None:
    wanted, did = whole(nursery, place("whole"), counts="anything")
    draw = random.Random(5)
    killed = 0
    for name in range(3):
        one = place(f"{name}")
        killed += sum(live(nursery, one, wanted, counts="anything", at=draw.randrange(did)) == KILLED for _ in range(5))
        ends_well(nursery, one, wanted)
    assert killed >= 8
