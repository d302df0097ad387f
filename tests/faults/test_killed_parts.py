"""Drivers of parts that are killed before their writes go on, and one driver admits what they staged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_killed_runs import CHUNK, CHUNKS, RunOutput, finish, run_undisturbed
from tests.fork_server import KILLED, ForkServer


@pytest.fixture(scope="module")
def fork_server(aws_credentials: None) -> Iterator[ForkServer]:
    fork_server = ForkServer()
    yield fork_server
    fork_server.close()


def test_parts_killed_before_their_writes_go_on_to_the_same_dataset(fork_server: ForkServer, tmp_path: Path) -> None:
    """Each part is killed once, before another write in every round; nothing that is committed is asked again."""
    wanted, _ = run_undisturbed(fork_server, RunOutput(tmp_path, "undisturbed"), counts="writes")
    asked_alone = len(RunOutput(tmp_path, "undisturbed").asked_chunks())
    assert asked_alone == CHUNK * CHUNKS
    killed = 0
    for at in (1, 4, 6, 8, 11):
        output = RunOutput(tmp_path, f"{at}")
        output.job["plan"] |= {"parts": 2}
        output.job["cluster"] |= {"teachers": 2}
        for part in (0, 1):
            killed += fork_server.run(output.job, part=part, at=at)["code"] == KILLED
            outcome = fork_server.run(output.job, part=part)
            assert outcome["code"] == 0, outcome["error"]
        before = len(output.asked_chunks())
        finish(fork_server, output, wanted)
        assert len(output.asked_chunks()) == before
    assert killed >= 8
