"""Progress as people and programs see it: a panel, a line, a JSON object; nothing of a row, and a terminal left as it was."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth_ray.cli.estimate import off_line
from synth_ray.cli.logs import set_up_logging
from synth_ray.cli.numbers import short_count, short_time
from synth_ray.cli.progress import Progress, heartbeat, panel_lines
from synth_ray.meter.pace import ProgressFacts
from synth_ray.meter.tally import Tally
from synth_ray.records import Reason
from synth_ray.report.plain_words import PLAIN_WORDS
from tests.conftest import ROOT
from tests.unit.cli.test_cli import job_file, run_cli
from tests.unit.meter.test_spending import Clock

FACTS = ProgressFacts(
    elapsed_s=754.0,
    unit="requests",
    done=123_456,
    total=2_000_000,
    eta_s=11_700.0,
    requests_s=162.4,
    prompt_tokens_s=41_234.0,
    completion_tokens_s=61_234.0,
    usd=12.3,
    usd_expected=234.5,
    replica_hours=1.6,
    replica_hours_expected=28.1,
    accepted=101_010,
    in_flight=4096,
    replicas=7,
    replicas_starting=1,
    replicas_lost=2,
    chunks_admitted=110,
    tokens=Counter(prompt=31_000_000, completion=46_000_000),
    rejected=Counter({r.value: 100 + i for i, r in enumerate((Reason.NEAR_DUPLICATE, Reason.REFUSAL, Reason.ECHO, Reason.TIE))})
    + Counter({Reason.CROSS_SPLIT.value: 7}),
    failed=Counter({Reason.DEADLINE.value: 12}),
)
SCRIPT = {
    "answers": ["A {{ 'sec' ~ 'ret' }} answer of {{ words }}"],
    "latency_s": 0.02,
    "concurrency": 2,
    "repeat_share": 0.2,
    "fail_share": 0.1,
}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)


def slow_job(folder: Path, **more: Any) -> str:
    return job_file(folder, models={"teacher": {"engine": "scripted", "script": SCRIPT}}, plan={"chunk_requests": 4}, **more)


@pytest.mark.parametrize("width", [20, 36, 60, 80, 200])
def test_the_panel_fits_any_width_and_tells_every_fact(width: int) -> None:
    lines = panel_lines(FACTS, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for fact in (
        "123,456",
        "2,000,000",
        "6%",
        "3.2 h left",
        "$12.30",
        "$234.50",
        "101,010",
        "7 up",
        "1 starting",
        "2 lost",
        "4,096",
    ):
        assert fact in text
    assert "almost repeats a kept row" in text and "near_duplicate" not in text
    assert len(lines) <= 13 or width < 60


def test_what_is_not_known_is_a_dash_and_what_has_no_price_is_told_in_replica_hours() -> None:
    unknown = replace(FACTS, eta_s=None, usd=None, replica_hours_expected=None, completion_tokens_s=None)
    for text in (heartbeat(unknown), "\n".join(panel_lines(unknown, 80))):
        assert "time left -" in text and "1.60 replica-hours so far" in text and "- out" in text and "$" not in text
    starting = replace(FACTS, done=0, replicas=0, replicas_starting=8)
    assert "replicas are starting (0 up, 8 starting, 2 lost)" in heartbeat(starting)
    curating = heartbeat(replace(FACTS, unit="chunks"))
    assert "chunks" in curating and "replicas" not in curating
    assert "(almost repeats a kept row 100" not in heartbeat(FACTS) and "2 more reasons" in heartbeat(FACTS)


def test_what_starting_replicas_do_is_told_where_it_is_known() -> None:
    start = replace(FACTS, replicas=0, done=0, replicas_lost=0)
    assert heartbeat(start).endswith("replicas are starting (0 up, 1 starting)")
    assert heartbeat(replace(start, phases={"teacher": Counter(weights=1)})).endswith("(0 up, 1 starting: weights)")
    several = replace(start, replicas_starting=4, phases={"teacher": Counter(weights=2, compile=1)})
    assert heartbeat(several).endswith("(0 up, 4 starting: 2 weights and 1 compile)")
    assert "4 starting: 2 weights and 1 compile" in " ".join(panel_lines(several, 80))
    assert several.record()["starting"] == {"teacher": {"weights": 2, "compile": 1}}
    pools = replace(start, pools={"judge": 1}, pools_starting={"judge": 1}, phases={"judge": Counter(weights=1)})
    assert heartbeat(pools).endswith("(0 up, 1 starting, 1 of judge (1 starting: weights))")


def test_every_reason_has_plain_words_that_are_short() -> None:
    assert set(Reason) <= set(PLAIN_WORDS)
    assert len(set(PLAIN_WORDS.values())) == len(PLAIN_WORDS)
    assert max(map(len, PLAIN_WORDS.values())) <= 34
    assert not any("_" in words for words in PLAIN_WORDS.values())


def test_numbers_are_short() -> None:
    assert [short_count(n) for n in (0, 9_999, 10_000, 1_310_000, 999_600)] == ["0", "9,999", "10.0 k", "1.31 M", "1.00 M"]
    assert [short_time(s) for s in (5, 119.6, 600, 9000, 500_000)] == ["5 s", "120 s", "10 min", "2.5 h", "5.8 days"]


def test_a_line_comes_every_ten_seconds_and_none_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    for quiet in (False, True):
        with Progress(quiet=quiet, clock=clock) as progress:
            for _ in range(100):
                clock.now += 0.25
                progress.show(Tally(requests_planned=10, requests_done=1, replicas=1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("1 of 10 requests (10%)" in line for line in lines)


def test_how_far_an_estimate_was_off_is_one_line() -> None:
    record = {
        "asks": 9000,
        "completion_tokens": {"low": 1_000_000, "expected": 1_200_000, "high": 1_500_000},
        "usd": {"low": 1.0, "expected": 2.0, "high": 3.0},
        "actual": {"completion_tokens": 1_310_000, "usd": 1.5},
        "done_share": 1.0,
    }
    assert off_line(record) == (
        "estimate  1.20 M tokens out (1.00 M–1.50 M), used 1.31 M: 9% over; $2.00 ($1.00–$3.00), used $1.50: 25% under"
    )
    limited = record | {"completion_tokens": {"low": 0, "expected": None, "high": 4_000_000}, "usd": {}, "done_share": 0.5}
    assert off_line(limited) == "estimate  at most 2.00 M tokens out, used 1.31 M (66% of that); 50% of the plan was done"
    assert off_line({}) == ""


def test_json_logs_are_one_object_a_line_without_any_text_of_a_row(tmp_path: Path) -> None:
    path = slow_job(tmp_path, recipe={"name": "distill", "template": "{{ prompt }} Please."})
    command = [sys.executable, "-m", "synth_ray.cli.main", "--verbose", "run", path]
    environment = {**os.environ, "SYNTH_RAY_LOG": "json", "SYNTH_RAY_RUN_ID": "night-7"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120, check=True)
    assert done.stdout == ""
    events = [json.loads(line) for line in done.stderr.splitlines()]
    kinds = Counter(event["event"] for event in events)
    assert set(kinds) == {"progress", "log", "end"} and kinds["end"] == 1 and kinds["progress"] >= 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event["time"]) for event in events)
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["done"], last["total"], last["share"], last["eta_s"]) == (12, 12, 1.0, 0)
    assert last["accepted"] + sum(last["rejected"].values()) + sum(last["failed"].values()) == 12
    assert {"tokens_s", "cost", "replicas", "in_flight"} <= set(last)
    assert (events[-1]["event"], events[-1]["exit_code"], events[-1]["complete"]) == ("end", 0, True)
    assert {(event["job"], event["run"]) for event in events} == {(last["job"], "night-7")}
    assert any(event.get("replica") == 0 for event in events if event["event"] == "log")
    assert [text for text in ("secret", "Question", "Please") if text in done.stderr] == []


def test_errors_and_curations_are_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = slow_job(tmp_path)
    code, out, err = run_cli(capsys, "curate", path, "--log", "json")
    assert (code, out) == (2, "")
    error = json.loads(err)
    assert (error["event"], error["exit_code"]) == ("error", 2) and "run the job first" in error["message"]
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    code, out, err = run_cli(capsys, "curate", path, "--log", "json")
    events = [json.loads(line) for line in err.splitlines()]
    assert (code, out, events[-1]["event"]) == (0, "", "end")
    assert {(e["unit"], e["total"]) for e in events[:-1]} == {("chunks", 3)} and events[-2]["done"] == 3


def test_log_records_warnings_and_crashes_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(verbose=False, in_json=True)
    logging.getLogger("synth_ray.x").warning("took %d\nlines", 2)
    logging.getLogger("synth_ray.x").info("not shown")
    logging.getLogger("synth_ray.x").error("%d%% of %s: request %d of chunk %d is gone, replica %d too", 5, "x", 1, 2, 3)
    warnings.warn("old", stacklevel=1)
    try:
        raise ValueError("unexpected")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    log, numbered, warning, crash = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (log["event"], log["level"], log["logger"], log["message"]) == ("log", "warning", "synth_ray.x", "took 2\nlines")
    assert (numbered["chunk"], numbered["replica"], "replica" in log) == (2, 3, False)
    assert warning["event"] == "log" and "old" in warning["message"]
    assert (crash["event"], crash["message"], crash["exit_code"]) == ("error", "ValueError", 1)


def in_terminal(command: list[str], *, width: int, interrupt_at: bytes) -> tuple[int, str]:
    """Run a command in a pseudo-terminal, type Ctrl-C once `interrupt_at` is on the screen; its exit code and all it wrote."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    written, is_interrupted, deadline = b"", False, time.monotonic() + 90
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                written += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
        if not is_interrupted and interrupt_at in written:
            is_interrupted = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode()


def test_ctrl_c_stops_the_run_and_leaves_the_terminal_clean(tmp_path: Path) -> None:
    script = SCRIPT | {"latency_s": 0.5}
    path = job_file(
        tmp_path, models={"teacher": {"engine": "scripted", "script": script}}, plan={"chunk_requests": 2, "requests": 400}
    )
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", path]
    code, written = in_terminal(command, width=80, interrupt_at="━".encode())
    assert code == 4
    assert "synth-ray · " in written and "accepted" in written and "of 400 requests" in written
    last_line_up = written.rindex("\x1b[1A\x1b[2K")
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is shown again
    after = written[last_line_up:].removeprefix("\x1b[1A\x1b[2K")
    assert re.sub(r"\x1b\[[0-9;]*m", "", after).lstrip("\r\n").startswith("requested ")  # nothing of the panel is left
    assert "stopped short: got SIGINT" in after
