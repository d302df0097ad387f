"""The server of rows: only for who has the address, on this machine, and only to read."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from synth_ray.errors import JobError
from synth_ray.view.rows import Rows
from synth_ray.view.server import ViewServer
from tests.child_processes import line_of
from tests.unit.cli.test_cli import job_file, run_cli
from tests.unit.view.conftest import TEXTS, Published


@pytest.fixture
def server(viewed: Rows) -> Iterator[ViewServer]:
    with ViewServer(viewed, meanings={"echo": "It repeats the prompt."}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def request(
    server: ViewServer, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), body


def base(server: ViewServer) -> str:
    return urlsplit(server.url).path


def test_it_listens_on_this_machine_alone_and_shows_rows_to_who_has_the_address(server: ViewServer, published: Published) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, headers, body = request(server, f"{base(server)}api/rows?{urlencode({'is.reason': 'echo'})}")
    wanted = [row["id"] for row in published.rows if row.get("reason") == "echo"]
    assert status == 200 and [row["id"] for row in json.loads(body)["rows"]] == wanted
    assert headers["Cache-Control"] == "no-store" and "Access-Control-Allow-Origin" not in headers
    with_nan = json.loads(request(server, f"{base(server)}api/rows?sort=score&page=2")[2])["rows"]
    assert "nan" in {row.get("score") for row in with_nan} and request(server, f"{base(server)}api/choices")[0] == 200
    about = json.loads(request(server, f"{base(server)}api/about")[2])
    assert (about["name"], about["in_all"], about["meanings"]["echo"]) == (
        "<b>awkward</b> rows", len(published.rows), "It repeats the prompt.",
    )  # fmt: skip


def test_the_page_may_load_and_contact_nothing_else(server: ViewServer) -> None:
    for name in ("", "view.js", "diff.js", "view.css"):
        status, headers, body = request(server, base(server) + name)
        assert status == 200
        assert not re.search(rb"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", body)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/api/rows", "/wrong/api/rows", "/wrong/", "//api/rows", "/%00/", "/%C3%A9/"])
def test_without_the_token_nothing_is_told(path: str, server: ViewServer) -> None:
    status, _, body = request(server, path)
    assert status == 404 and "printed" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}", ""]
)
def test_another_host_is_refused_even_with_the_token(host: str, server: ViewServer) -> None:
    headers = {"Host": host.format(port=server.server_port)}
    status, _, body = request(server, f"{base(server)}api/rows", headers=headers)
    assert status == 403 and b"rows" not in body


@pytest.mark.parametrize("origin", ["http://rebound.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_another_site_is_refused_even_with_the_token(origin: str, server: ViewServer) -> None:
    headers = {"Origin": origin.format(port=server.server_port)}
    assert request(server, f"{base(server)}api/rows", headers=headers)[0] == 403
    assert request(server, f"{base(server)}api/rows", headers={"Origin": f"http://localhost:{server.server_port}"})[0] == 200


def test_a_request_with_two_hosts_is_refused(server: ViewServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        host = f"Host: 127.0.0.1:{server.server_port}\r\n"
        client.sendall(
            f"GET {base(server)}api/rows HTTP/1.1\r\n{host}Host: rebound.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert b" 403 " in client.makefile("rb").readline()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_only_get_is_answered(method: str, server: ViewServer) -> None:
    assert request(server, f"{base(server)}api/rows", method=method)[0] == 405


@pytest.mark.parametrize(
    "name",
    [
        "../server.py",
        "..%2fserver.py",
        "%2e%2e/server.py",
        "server.py",
        "api/../view.js",
        "api/rows/../../x",
        "/etc/passwd",
        "api/",
    ],
)
def test_no_other_file_can_be_named(name: str, server: ViewServer) -> None:
    assert request(server, base(server) + name)[0] == 404


def test_a_wrong_question_is_told_so_and_a_row_that_is_not_there(server: ViewServer, published: Published) -> None:
    for asked in ("page=0", "page=1e3", "page=99999999999999", "is.nothing=1", "min.score=x", "sort=label"):
        status, _, body = request(server, f"{base(server)}api/rows?{asked}")
        assert status == 400 and "wanted" in json.loads(body)["error"]
    assert request(server, f"{base(server)}api/row?row=none")[0] == 404
    assert request(server, f"{base(server)}api/rows?page=1000000")[0] == 200
    for text in (text for text in TEXTS if text):
        found = json.loads(request(server, f"{base(server)}api/count?{urlencode({'text': text})}")[2])["rows"]
        assert found >= sum(text in (row["prompt"] or "", row["completion"] or "") for row in published.rows) > 0


def test_a_damaged_part_is_an_answer_and_not_a_hang(own: Published) -> None:
    own.storage.write(own.manifest.files[-2].path, b"no parquet")
    rows = Rows(own.storage, own.manifest)
    with ViewServer(rows) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        status, _, body = request(server, f"{base(server)}api/rows?is.split=test")
        assert status == 502 and own.manifest.files[-2].path in json.loads(body)["error"]
        server.shutdown()
    rows.close()


def test_the_address_that_a_browser_is_started_with_leads_on_once(server: ViewServer) -> None:
    path = urlsplit(server.url_for_one_visit).path
    status, headers, _ = request(server, path)
    assert (status, headers["Location"]) == (303, base(server))
    assert request(server, path)[0] == 404 and request(server, "/")[0] == 404


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(capsys, "run", job_file(tmp_path), "--quiet")[0] == 0
    command = [sys.executable, "-m", "synth_ray.cli.main", "view", str(tmp_path / "out"), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stderr is not None
            url = urlsplit(line_of(process).split()[1])
            assert url.hostname == "127.0.0.1"
            connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=30)
            connection.request("GET", f"{url.path}api/rows")
            [row, *_] = json.loads(connection.getresponse().read())["rows"]
            connection.request("GET", f"{url.path}api/staged?row={row['id']}")
            assert json.loads(connection.getresponse().read())["flags"] is not None
            code, _, err = run_cli(capsys, "view", str(tmp_path / "out"), "--no-browser", "--port", str(url.port))
            assert code == 2 and f"wanted a free port, got {url.port}" in err
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()  # else a failure would wait for its end


def test_a_port_that_is_none_is_refused(viewed: Rows) -> None:
    with pytest.raises(JobError, match="--port"):
        ViewServer(viewed, port=70_000)


def test_a_browser_that_hangs_up_holds_nobody_up(server: ViewServer) -> None:
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.sendall(f"GET {base(server)}api/choices HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
    assert request(server, f"{base(server)}api/rows")[0] == 200
