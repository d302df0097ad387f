"""A whole run, killed before every write and at random moments, resumes to the same dataset."""

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
from tests.fork_server import KILLED, ForkServer

CHUNK, CHUNKS = 8, 2
SCRIPT = {"repeat_share": 0.2, "empty_share": 0.05, "fail_share": 0.05, "words": 8}


@pytest.fixture(scope="module")
def fork_server(aws_credentials: None) -> Iterator[ForkServer]:
    fork_server = ForkServer()
    yield fork_server
    fork_server.close()


class RunOutput:
    """One output and its job. The outputs of a folder share a log of the requests that were asked."""

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
            "limits": {"journal_flush_s": 0.05, "checkpoint_requests": CHUNK},
        }
        options = {k: v for k, v in output.items() if k == "endpoint_url"}
        self.store: Storage = open_storage(output["path"], **options)

    def asked_chunks(self) -> list[int]:
        """The chunk of every request asked so far, by any run in this folder."""
        return [int(line.split()[0]) for line in self.asked_log.read_text().splitlines()]

    def manifest(self) -> Manifest | None:
        try:
            manifest = read_manifest(self.store)
        except ObjectNotFound:
            return None
        manifest.check()
        return manifest


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def new_output(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], RunOutput]:
    if request.param == "local":
        return lambda name: RunOutput(tmp_path, name)
    bucket, server = request.getfixturevalue("bucket"), request.getfixturevalue("moto_server")
    return lambda name: RunOutput(tmp_path, name, path=f"s3://{bucket}/{name}", endpoint_url=server)


def run_once(fork_server: ForkServer, output: RunOutput, wanted: str, **run_options: Any) -> int:
    """Run until the end or a kill. Then readers see nothing or the complete dataset, and no committed chunk was asked again."""
    committed, before = list(Ledger(output.store).committed_chunks()), len(output.asked_chunks())
    outcome = fork_server.run(output.job, **run_options)
    code = int(outcome["code"])
    assert code in (0, KILLED), outcome["error"]
    assert not set(output.asked_chunks()[before:]) & set(committed)
    manifest = output.manifest()
    assert manifest is None or (manifest.complete and manifest.dataset_digest == wanted)
    return code


def finish(fork_server: ForkServer, output: RunOutput, wanted: str) -> None:
    assert run_once(fork_server, output, wanted) == 0
    manifest = output.manifest()
    assert manifest is not None
    assert manifest.rows.requested == 2 * CHUNK * CHUNKS
    assert [len(list(output.store.list(f"_synth/{part}/"))) for part in ("asks", "commits")] == [0, CHUNKS]


def run_undisturbed(fork_server: ForkServer, output: RunOutput, *, counts: str) -> tuple[str, int]:
    """A run without kills: its dataset digest, which every other run must reach, and its number of counted events."""
    outcome = fork_server.run(output.job, counts=counts)
    assert outcome["code"] == 0, outcome["error"]
    did, manifest = int(outcome["did"]), output.manifest()
    assert manifest is not None
    return manifest.dataset_digest, did


def test_a_run_killed_before_any_write_resumes_to_the_same_dataset(
    fork_server: ForkServer, new_output: Callable[[str], RunOutput]
) -> None:
    wanted, did = run_undisturbed(fork_server, new_output("undisturbed"), counts="writes")
    assert did > 15
    is_slow = new_output("undisturbed").store.url.startswith("s3")
    for at in range(is_slow, did, 4 if is_slow else 2):
        output = new_output(f"{at}")
        run_once(fork_server, output, wanted, at=at)
        finish(fork_server, output, wanted)


def test_a_run_killed_repeatedly_at_random_moments_resumes(
    fork_server: ForkServer, new_output: Callable[[str], RunOutput]
) -> None:
    wanted, did = run_undisturbed(fork_server, new_output("undisturbed"), counts="anything")
    draw = random.Random(5)
    killed = 0
    for name in range(3):
        output = new_output(f"{name}")
        killed += sum(
            run_once(fork_server, output, wanted, counts="anything", at=draw.randrange(did)) == KILLED for _ in range(5)
        )
        finish(fork_server, output, wanted)
    assert killed >= 8
