"""Tools run apart from the program: what they may see and do, how they fail, and that nothing they do leaks from call to call."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from synth_ray.errors import JobError, MissingResource
from synth_ray.toolbox.functions import FunctionPool
from synth_ray.toolbox.mcp_server import McpServer
from synth_ray.toolbox.programs import Called, Program
from synth_ray.toolbox.toolbox import Toolbox

DESK = "tests.unit.toolbox.desk:"
SERVER = str(Path(__file__).parent / "desk_server.py")
STATE = {"orders": {"KZ-1": {"paid": 500}}}


def call(box: Toolbox, name: str, state: Any = None, **arguments: Any) -> Called:
    return asyncio.run(box.call(name, arguments, state))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="module")
def box(ledger: Path) -> Iterator[Toolbox]:
    os.environ |= {"DESK_KEY": "k-17", "OTHER_SECRET": "s-18"}
    names = ("look_up", "refund", "hang", "die", "shout", "connect", "spy", "remember")
    programs = [Program(function=DESK + name, seconds=2, result_bytes=100) for name in names]
    programs += [
        Program(function=DESK + "count", writes=(str(ledger),)),
        Program(function=DESK + "variables", environment=("DESK_KEY",)),
    ]
    toolbox = Toolbox(programs)
    toolbox.open()
    yield toolbox
    toolbox.close()


def test_a_function_describes_itself_without_the_state(box: Toolbox) -> None:
    face = box.faces["refund"]
    assert face.description == "Refund part of an order."
    assert set(face.parameters["properties"]) == {"order", "cents", "why"}
    assert face.parameters["required"] == ["order", "cents"]
    assert face.parameters["properties"]["why"] == {"enum": ["late", "broken"]}
    assert box.faces["look_up"].parameters["properties"]["order"]["description"] == "the order's number, as KZ-48802"
    assert {name for name, face in box.faces.items() if not face.may_repeat} == {"count"}


def test_a_call_changes_the_state_it_returns_and_one_that_raises_changes_none(box: Toolbox) -> None:
    done = call(box, "refund", STATE, order="KZ-1", cents=200)
    assert (done.text, done.state["orders"]["KZ-1"]) == ("refunded 200 (late)", {"paid": 500, "refunded": 200})
    refused = call(box, "refund", done.state, order="KZ-1", cents=900)
    assert (refused.is_error, refused.state) == (True, done.state)
    assert refused.text == "ValueError: order KZ-1 was paid 500 cents"
    assert json.loads(call(box, "look_up", done.state, order="KZ-1").text) == {"paid": 500, "refunded": 200}


def test_what_hangs_or_dies_is_a_failure_and_the_next_call_works(box: Toolbox) -> None:
    assert call(box, "hang").failure == "not done after 2 s"
    assert call(box, "die").failure == "its process ended with 3"
    assert call(box, "refund", STATE, order="KZ-1", cents=1).text == "refunded 1 (late)"


def test_a_long_result_is_cut_and_says_so(box: Toolbox) -> None:
    text = call(box, "shout", times=500).text
    assert len(text.encode()) <= 100
    assert text.endswith("[cut: 100 of 1000 bytes]")
    assert call(box, "shout", times=3).text == "äää"


def test_a_tool_sees_no_network_no_secret_and_no_file_but_its_own(box: Toolbox, ledger: Path, tmp_path: Path) -> None:
    assert call(box, "connect", host="127.0.0.1").text.startswith(("OSError", "ConnectionRefusedError"))
    assert call(box, "connect", host="192.0.2.1").text == "OSError: [Errno 101] Network is unreachable"
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    assert call(box, "spy", path=str(secret)).text.startswith("FileNotFoundError")
    seen = json.loads(call(box, "variables").text)
    assert "k-17" in seen
    assert "s-18" not in seen
    assert call(box, "count", file=str(ledger / "log")).text == "x"
    assert call(box, "count", file=str(ledger / "log")).text == "xx"
    assert "Read-only file system" in call(box, "count", file=str(Path(__file__).with_name("log"))).text


def test_nothing_stays_in_memory_between_calls(box: Toolbox) -> None:
    assert [call(box, "remember", word="a").text for _ in range(3)] == ['["a"]'] * 3


def test_calls_side_by_side_each_get_their_own_result(box: Toolbox) -> None:
    async def all_of_them() -> list[Called]:
        return await asyncio.gather(*[box.call("shout", {"times": n}, None) for n in range(20)])

    assert [len(called.text) for called in asyncio.run(all_of_them())] == list(range(20))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (Program(function="tests.unit.toolbox.nowhere:f"), "ModuleNotFoundError.*PYTHONPATH"),
        (Program(function=DESK + "nothing"), "has no attribute 'nothing'"),
        (Program(function=DESK + "without_types"), "type hint for parameter 'order'"),
        (Program(function=DESK + "look_up", environment=("NOT_SET_ANYWHERE",)), "environment variable NOT_SET_ANYWHERE"),
        (Program(function=DESK + "look_up", writes=("/nowhere/at/all",)), "a folder that exists"),
        (Program(command=(sys.executable, "-c", "pass")), "wanted an MCP server from"),
        (Program(command=(sys.executable, SERVER), allowed=("fly",)), "wanted fly of an MCP server, got one that has look_up"),
    ],
)
def test_a_tool_that_cannot_run_stops_the_job(program: Program, message: str) -> None:
    with pytest.raises(JobError, match=message):
        Toolbox([program]).open()


def test_two_tools_of_one_name_stop_the_job() -> None:
    with pytest.raises(JobError, match="'look_up' twice"):
        Toolbox([Program(function=DESK + "look_up"), Program("look_up")]).open()


def test_a_host_without_isolation_is_told_and_may_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(function=DESK + "look_up")
    monkeypatch.setattr("synth_ray.toolbox.launch.isolation.__file__", "/nowhere.py")
    with pytest.raises(MissingResource, match="isolate: false"):
        Toolbox([program]).open()


def test_a_plain_process_runs_functions_too() -> None:
    box = Toolbox([Program(function=DESK + "look_up", isolate=False)])
    box.open()
    assert call(box, "look_up", STATE, order="KZ-1").text == '{"paid": 500}'
    assert not box.faces["look_up"].may_repeat
    box.close()


def test_an_mcp_server_serves_all_calls_and_is_started_again_when_it_is_gone(ledger: Path) -> None:
    command = (sys.executable, SERVER, str(ledger / "starts"))
    box = Toolbox(
        [Program(command=command, writes=(str(ledger),), seconds=5, result_bytes=80, allowed=("look_up", "hang", "quit"))]
    )
    box.open()
    assert list(box.faces) == ["look_up", "hang", "quit"]
    assert box.faces["look_up"].parameters["required"] == ["order"]
    assert [call(box, "look_up", order=f"KZ-{n}").text for n in range(3)] == [f"order KZ-{n} is paid" for n in range(3)]
    refused = call(box, "look_up", {"a": 1}, order="none")
    assert refused.is_error
    assert "no such order" in refused.text
    assert refused.state == {"a": 1}
    assert call(box, "look_up", order="long" * 100).text.endswith("bytes]")
    assert (ledger / "starts").read_text() == "x"
    assert call(box, "quit").failure == "its server ended"
    assert call(box, "look_up", order="KZ-1").text == "order KZ-1 is paid"
    assert call(box, "hang").failure == "not done after 5 s"
    assert call(box, "look_up", order="KZ-1").text == "order KZ-1 is paid"
    assert (ledger / "starts").read_text() == "xxx"
    box.close()


def commands_with(text: str) -> list[str]:
    """The command lines, of all processes of this host, that contain a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().decode("utf-8", "replace"))
    return [command for command in found if text in command]


def test_no_command_line_shows_the_value_of_a_variable(tmp_path: Path) -> None:
    os.environ["DESK_KEY"] = "k-17"
    seen = {"environment": ("DESK_KEY",), "reads": (str(tmp_path),)}
    box = Toolbox([Program(function=DESK + "variables", **seen), Program(command=(sys.executable, SERVER), **seen)])
    box.open()
    assert "k-17" in json.loads(call(box, "variables").text)
    assert call(box, "variable", which="DESK_KEY").text == "k-17"
    assert call(box, "variable", which="USER").text == "none"
    own = commands_with(str(tmp_path))
    assert len(own) >= 2
    assert not [command for command in own if "k-17" in command]
    box.close()


def test_a_server_ended_for_one_call_is_not_ended_again_for_another(tmp_path: Path) -> None:
    command = (sys.executable, SERVER, str(tmp_path / "starts"))
    server = McpServer(Program(command=command, writes=(str(tmp_path),)), 0)

    async def run() -> str:
        first = await server._connected()
        await server._end(first)
        second = await server._connected()
        await server._end(first)  # as the other calls do that were at the first one
        assert await server._connected() is second
        text = (await server.call("look_up", {"order": "KZ-1"})).text
        second.call_tool = broken
        assert (await server.call("look_up", {"order": "KZ-1"})).failure == "its server ended"
        assert (await server.call("look_up", {"order": "KZ-1"})).text == text
        await server.close()
        return text

    async def broken(*_: Any) -> None:
        raise anyio.ClosedResourceError

    assert asyncio.run(run()) == "order KZ-1 is paid"
    assert (tmp_path / "starts").read_text() == "xxx"


def test_a_server_that_does_not_start_in_time_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.toolbox.mcp_server._START_S", 1.0)
    silent = Program(command=(sys.executable, "-c", f"import time; time.sleep(600)  # {tmp_path}"))

    async def run() -> None:
        with pytest.raises(MissingResource, match="TimeoutError"):
            await McpServer(silent, 0).faces()
        assert commands_with(str(tmp_path)) == []

    asyncio.run(run())


def test_functions_run_in_a_process_with_very_many_open_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2000:
        pytest.skip("this host allows fewer than 2000 open files")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, most))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    box = Toolbox([Program(function=DESK + "shout")])
    try:
        box.open()
        assert call(box, "shout", times=2).text == "ää"
    finally:
        box.close()
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_once_closed_no_call_begins(tmp_path: Path) -> None:
    """A call that waited for a process, or was about to have one, when the tools were closed."""
    pool = FunctionPool(Program(writes=(str(tmp_path),)), 1)
    request = {"call": DESK + "count", "arguments": {"file": str(tmp_path / "log")}, "state": None, "seconds": 9, "limit": 99}
    assert pool.ask(request, 9)["text"] == "x"
    assert pool.ask(request, 9, begin=pool.close) == {"failure": "the tools are closed"}
    assert pool.ask(request, 9) == {"failure": "the tools are closed"}
    assert (tmp_path / "log").read_text() == "x"
