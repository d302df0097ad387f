"""Real servers for tests: an S3 server in its own process on a free port, a bucket for each test, and a vLLM server."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.child_processes import end

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing-key-id",
    "AWS_SECRET_ACCESS_KEY": "testing-secret-never-printed",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

EXTERNAL_S3 = "SYNTH_RAY_TEST_S3"
"""The endpoint URL of an S3 server to test against instead of moto; its credentials come from the AWS chain."""

_buckets = itertools.count()


_held: list[socket.socket] = []


def free_port() -> int:
    """A port for a server, refused to who connects while there is none.

    It is held until this process ends: no connection and no other server gets it, now or between two servers on it. Linux lets
    those bind to it that set SO_REUSEADDR, as this socket does, which never listens. Servers do, after whose end there are
    connections in TIME_WAIT.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server of this process on a free port for the block; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for(url: str, process: subprocess.Popen[bytes], *, timeout_s: float = 300.0) -> None:
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server at {url} ended with {process.returncode} before it answered")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server at {url} did not answer in {timeout_s:g} s")


@contextmanager
def environment(values: Mapping[str, str], *, without: Iterable[str] = ()) -> Iterator[None]:
    """For the block, the environment has `values` and nothing named in `without`; so have the processes that it starts."""
    before = {name: os.environ.get(name) for name in (*without, *values)}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.fixture(scope="module")
def aws_credentials() -> Iterator[None]:
    """Credentials in the environment of the tests of a module and of the processes that they start.

    No longer than that: where another module's test asks a cloud that it cannot reach, a credential makes it wait for minutes.
    """
    if EXTERNAL_S3 in os.environ:
        yield
        return
    with environment(CREDENTIALS, without=("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE")):
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint URL of a moto server in its own process."""
    if EXTERNAL_S3 in os.environ:
        yield os.environ[EXTERNAL_S3]
        return
    with started_moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="module")
def moto_server(s3_server: str, aws_credentials: None) -> str:
    """The endpoint URL of the session's moto server, with credentials for it in the environment."""
    return s3_server


@contextmanager
def started_moto(folder: Path) -> Iterator[str]:
    """Run a moto server for the block; yields its URL."""
    port = free_port()
    program = str(Path(sys.executable).with_name("moto_server"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            end(process)


@pytest.fixture
def bucket(moto_server: str) -> str:
    """A new bucket's name."""
    import boto3

    name = f"synth-ray-{os.getpid()}-{next(_buckets)}"
    boto3.client("s3", endpoint_url=moto_server).create_bucket(Bucket=name)
    return name


SMALL = ("--dtype", "bfloat16", "--max-model-len", "512", "--max-num-seqs", "64", "--enforce-eager")
SMALL += ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')


@contextmanager
def serving(model: str, flags: Sequence[str] = SMALL) -> Iterator[tuple[str, str]]:
    """Run vLLM's own server for the block; yields its base URL and model name. Its whole process group is ended after."""
    port, name = free_port(), "tiny"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", name]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), *flags],
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process)
        yield f"http://127.0.0.1:{port}/v1", name
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
