"""Servers of GCS and Azure for tests, and a new place on each kind of store."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.child_processes import end
from tests.gcs_server import Gcs, handler_of
from tests.servers import answering, environment, free_port

AZURITE = "SYNTH_RAY_TEST_AZURITE"
"""The path of azurite-blob, where it is not in .venv/azurite or on the PATH."""

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own account and key, which every Azurite has: they open nothing else."""

ENVIRONMENT = {
    "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
    "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    "GOOGLE_BEARER_TOKEN": "testing-secret-never-printed",
}

_ROOT = Path(__file__).parent.parent
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Place:
    """An address that nobody else writes to, and the server of it; no server for a folder."""

    url: str
    endpoint_url: str | None = None

    def output(self, name: str) -> dict[str, Any]:
        """The output section of a job that writes there."""
        section = {"path": f"{self.url}/{name}"}
        return section | {"endpoint_url": self.endpoint_url} if self.endpoint_url else section


@pytest.fixture(scope="module")
def cloud_credentials() -> Iterator[None]:
    """Credentials in the environment of the tests of a module and of the processes that they start, as for S3."""
    with environment(ENVIRONMENT, without=[name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]):
        yield


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[tuple[str, Gcs]]:
    """The URL of a fake of GCS in this process, and what it keeps."""
    server = Gcs()
    with answering(handler_of(server)) as url:
        yield url, server


@pytest.fixture(scope="module")
def gcs(gcs_server: tuple[str, Gcs], cloud_credentials: None) -> tuple[str, Gcs]:
    """The session's fake of GCS, with credentials for it in the environment."""
    return gcs_server


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the account at an Azurite in its own process."""
    program = _azurite_program()
    if program is None:
        pytest.skip(f"azurite-blob is not installed: `make azurite` installs it by npm, or set {AZURITE} to its path")
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent", "--blobPort", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}/{ACCOUNT}"
        finally:
            end(process)


@pytest.fixture(scope="module")
def azurite(azure_server: str, cloud_credentials: None) -> str:
    """The session's Azurite, with credentials for it in the environment."""
    return azure_server


def _azurite_program() -> str | None:
    own = _ROOT / ".venv/azurite/node_modules/.bin/azurite-blob"
    named = os.environ.get(AZURITE)
    if named:
        return named
    return str(own) if own.exists() else shutil.which("azurite-blob")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 300:
        if process.poll() is not None:
            raise RuntimeError(f"azurite ended with {process.returncode} before it answered")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("azurite did not answer in 300 s")


def make_container(endpoint_url: str, name: str) -> None:
    """A container of Azurite, by a request signed with the shared key: obstore makes none."""
    address = urlsplit(endpoint_url)
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = [f"{key}:{value}" for key, value in headers.items()]
    text = "\n".join(["PUT", *[""] * 11, *lines, f"/{ACCOUNT}{address.path}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.request("PUT", f"{address.path}/{name}?restype=container", headers=headers)
    status = connection.getresponse().status
    connection.close()
    assert status == 201, status


def new_place(kind: str, request: pytest.FixtureRequest) -> Place:
    """A new bucket of a kind of store: s3, gs or az."""
    name = f"synth-ray-{os.getpid()}-{next(_numbers)}"
    if kind == "s3":
        return Place(f"s3://{request.getfixturevalue('bucket')}", request.getfixturevalue("moto_server"))
    if kind == "gs":
        url, server = request.getfixturevalue("gcs")
        server.buckets[name] = {}
        return Place(f"gs://{name}", url)
    url = request.getfixturevalue("azurite")
    make_container(url, name)
    return Place(f"az://{name}", url)


REMOTE = [pytest.param("s3", marks=pytest.mark.s3), "gs", pytest.param("az", marks=pytest.mark.s3)]
CLOUDS = ["gs", pytest.param("az", marks=pytest.mark.s3)]
"""The kinds of stores, as parameters. A real server runs alone, as its marker says."""
