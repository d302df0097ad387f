"""An evaluation that is killed, or whose server dies, goes on where it stopped: no answered case is asked again."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.segments import read_journal
from synth_ray.storage import open_storage
from tests.conftest import ROOT
from tests.endpoint_server import MODEL, Reply, behaving_server
from tests.servers import free_port
from tests.unit.cli.test_cli import run_cli

CASES, HELD, IN_FLIGHT = 40, 4, 8


class System:
    """A target and its judge in one server. Some questions get no answer until it is released."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: set[str] = set()
        self.released = threading.Event()

    def reply(self, body: dict[str, Any], _times: int) -> Reply:
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        if text.startswith("Hold"):
            self.released.wait(240)
        self.answered.add(text)
        answer = '{"correct": 5}' if "Score the answer" in text else f"An answer to: {text}"
        return 200, {"choices": [{"finish_reason": "stop", "message": {"content": answer}}]}


def command(folder: Path, url: str, out: str, *more: str) -> list[str]:
    judged = ["--judge", url, "--judge-model", MODEL]
    words = ["eval", str(folder / "cases.jsonl"), "--target", url, "--model", MODEL, *judged, "--output", str(folder / out)]
    return [*words, "--in-flight", str(IN_FLIGHT), *more]


def write_cases(folder: Path) -> None:
    questions = [f"Hold {n}" if n >= CASES - HELD else f"Question {n}" for n in range(CASES)]
    (folder / "cases.jsonl").write_text("".join(json.dumps({"prompt": q, "grade": "It answers."}) + "\n" for q in questions))


def journalled(out: Path) -> int:
    """How many asks the journal holds."""
    try:
        return sum(len(answers) for answers in read_journal(open_storage(str(out)), 0).values())
    except FileNotFoundError:
        return 0


def wait_until(condition: Any) -> None:
    until = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_killed_evaluation_asks_no_answered_case_again_and_ends_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path)
    system = System()
    with behaving_server(system.reply) as (url, _):
        words = [sys.executable, "-m", "synth_ray.cli.main", *command(tmp_path, url, "killed")]
        process = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: journalled(tmp_path / "killed") == 2 * (CASES - HELD) and system.asked.total() >= 2 * CASES - HELD)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (tmp_path / "killed" / "results.jsonl").exists()
        before, answered = Counter(system.asked), set(system.answered)
        system.released.set()
        code, out, _ = run_cli(capsys, *command(tmp_path, url, "killed"))
        assert code == 0 and f"{CASES - HELD} answered before an interruption" in out
        assert not [text for text in answered if system.asked[text] != before[text]]
        assert not [text for text in system.asked if not text.startswith("Hold") and system.asked[text] != 1]
        assert run_cli(capsys, *command(tmp_path, url, "fresh"))[0] == 0
    for file in ("results.jsonl", "eval.json", "junit.xml"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "fresh" / file).read_bytes()
    assert json.loads((tmp_path / "fresh" / "eval.json").read_text())["passed"] == CASES
    assert journalled(tmp_path / "killed") == 0


def test_a_server_that_dies_ends_it_with_1_and_the_same_command_goes_on_when_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path)
    system, dead, urls, port = System(), threading.Event(), queue.SimpleQueue[str](), free_port()
    system.released.set()

    def dying(body: dict[str, Any], times: int) -> Reply:
        if len(system.answered) >= 30:
            dead.set()
        if dead.is_set():
            raise ConnectionAbortedError
        return system.reply(body, times)

    def serve() -> None:
        with behaving_server(dying, port=port) as (url, _):
            urls.put(url)
            dead.wait(60)

    server = threading.Thread(target=serve)
    server.start()
    url = urls.get(timeout=60)
    words = command(tmp_path, url, "out", "--timeout", "5")  # it is dead after half a minute of silence
    code, _, err = run_cli(capsys, *words)
    server.join()
    assert code == 1 and "wanted an answer, got none" in err and not (tmp_path / "out" / "results.jsonl").exists()
    before = set(system.answered)
    with behaving_server(system.reply, port=port):
        assert run_cli(capsys, *words)[0] == 0
    assert not [text for text in before if system.asked[text] != 1]
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["passed"] == CASES
