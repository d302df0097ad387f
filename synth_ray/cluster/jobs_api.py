"""Ray's Jobs API: submits a package to a cluster, follows what the driver prints, and stops it. The only file that imports
`ray.job_submission`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from synth_ray.cluster.internals import limit_requests, version_of_head
from synth_ray.errors import JobError, SynthRayError

log = logging.getLogger(__name__)

_REQUEST_S = 60.0
_CONNECT_S = 10.0
_QUIET_S = 60.0
"""A driver prints every ten seconds, so that a connection that is silent for so long is taken for a broken one."""
_LOST_S = 600.0
"""How long the head may be silent before following is given up; the job itself goes on."""
_STARTING_S = 90.0
_BROKEN = (aiohttp.ClientError, requests.RequestException, OSError, RuntimeError, TimeoutError)
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED = "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"


class AlreadySubmitted(SynthRayError):
    """A job of this id is there already: somebody else was faster."""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """What the cluster says of a job. `exit_code` is the driver's; None while it runs, and when it was stopped or never started.
    `message` is Ray's own, of a job whose driver has no exit code: another one's repeats its log.
    """

    id: str
    status: str
    metadata: Mapping[str, str]
    exit_code: int | None = None
    message: str = ""

    @property
    def is_over(self) -> bool:
        return self.status in (STOPPED, SUCCEEDED, FAILED)


class JobsApi:
    """The jobs of the cluster whose dashboard is at `address`, an http(s) URL. The token of a cluster that wants one comes from
    RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, with RAY_AUTH_MODE=token.

    Every method raises SynthRayError where the cluster does not answer, and JobError where it wants another token.
    """

    def __init__(self, address: str) -> None:
        self.address = _validated(address)
        logging.getLogger("ray").setLevel(logging.ERROR)
        for name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        with self._told(), _without_variables(_ADDRESSES):  # which Ray prefers to what it is told
            self._client = JobSubmissionClient(self.address)
        limit_requests(self._client, timeout_s=_REQUEST_S)

    @property
    def ray_version(self) -> str:
        return version_of_head(self._client)

    def submit(
        self,
        job_id: str,
        *,
        entrypoint: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        cpus: float | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Upload `runtime_env`'s folders and start the entrypoint: on the head, unless `cpus` or `labels` are given.

        Raises AlreadySubmitted where the cluster has had a job of this id.
        """
        given: dict[str, Any] = {
            "entrypoint": entrypoint,
            "submission_id": job_id,
            "runtime_env": dict(runtime_env),
            "metadata": dict(metadata),
            "entrypoint_num_cpus": cpus,
            "entrypoint_label_selector": dict(labels) if labels else None,
        }
        began = time.monotonic()
        while True:
            try:
                with self._told():
                    self._client.submit_job(**given)
                return
            except SynthRayError as error:
                if "already exists" in str(error):
                    raise AlreadySubmitted(
                        f"submit: wanted a new id, got '{job_id}', which is in use; run the command again"
                    ) from None
                if "No available agent" not in str(error) or time.monotonic() - began > _STARTING_S:
                    raise
            time.sleep(2)  # a head that has just started answers before it can take a job

    def jobs(self) -> list[SubmittedJob]:
        """Every job that was submitted to this cluster, of any program."""
        with self._told():
            return [_job(details) for details in self._client.list_jobs() if details.submission_id]

    def job(self, job_id: str) -> SubmittedJob:
        """Raises JobError where the cluster knows no such job."""
        try:
            with self._told():
                return _job(self._client.get_job_info(job_id))
        except SynthRayError as error:
            if "does not exist" in str(error):
                raise JobError(
                    f"submit: wanted the id of a job at {self.address}, got '{job_id}', which it does not know; a cluster that "
                    "was started again has forgotten its jobs: submit it again, which goes on with its output"
                ) from None
            raise

    def stop(self, job_id: str) -> None:
        """Ask the driver to stop; it is killed RAY_JOB_STOP_WAIT_TIME_S seconds later if it is still there."""
        with self._told():
            self._client.stop_job(job_id)

    def follow(self, job_id: str, write: Callable[[str], None]) -> SubmittedJob:
        """Write what the driver prints, each character once, until the job is over.

        A broken connection is made again. Raises SynthRayError where the head is silent for ten minutes: the job may go on.
        """
        printed = _Printed(write)
        while True:
            printed.start_again()
            with suppress(*_BROKEN):
                asyncio.run(self._tail(job_id, printed))
            job = self._ask_patiently(job_id)
            if job.is_over:
                self._write_rest(job_id, printed)
                return job
            time.sleep(1)

    async def _tail(self, job_id: str, printed: _Printed) -> None:
        chunks = self._client.tail_job_logs(job_id)
        try:
            while True:
                printed.take(await asyncio.wait_for(anext(chunks), _QUIET_S))
        except StopAsyncIteration:
            return
        finally:
            await chunks.aclose()

    def _ask_patiently(self, job_id: str) -> SubmittedJob:
        began, pause = time.monotonic(), 1.0
        while True:
            try:
                return self.job(job_id)
            except JobError:
                raise
            except SynthRayError as error:
                if time.monotonic() - began > _LOST_S:
                    raise
                log.warning("%s: lost for now, trying again (%s)", self.address, type(error.__cause__ or error).__name__)
            time.sleep(pause)
            pause = min(2 * pause, 15.0)

    def _write_rest(self, job_id: str, printed: _Printed) -> None:
        """The end of the log, which a connection that broke at the end may have lost."""
        with suppress(*_BROKEN):
            text = self._client.get_job_logs(job_id)
            printed.start_again()
            printed.take(text)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError:
            raise JobError(
                f"--address: wanted the token of the cluster at {self.address}, got none or another; set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the head's token"
            ) from None
        except (requests.RequestException, ConnectionError, TimeoutError) as error:
            raise SynthRayError(
                f"--address: wanted an answer of the Ray head at {self.address}, got {type(error).__name__}; is the cluster up, "
                "and does this machine reach its dashboard's port?"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise SynthRayError(f"--address: wanted {self.address} to do it, got: {_first_lines(str(error))}") from error


class _Printed:
    """Skips what was written before: a log is served from its beginning each time."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written = self._at = 0

    def start_again(self) -> None:
        self._at = 0

    def take(self, text: str) -> None:
        self._at += len(text)
        new = self._at - self._written
        if new > 0:
            self._write(text[-new:])
            self._written = self._at


def working_dir_env(folder: Path, env_vars: Mapping[str, str], modules: Sequence[Path] = ()) -> dict[str, Any]:
    """The runtime environment of a package that was written to `folder`. `modules`: packages that are sent besides."""
    env: dict[str, Any] = {"working_dir": str(folder), "env_vars": dict(env_vars)}
    return env | ({"py_modules": [str(module) for module in modules]} if modules else {})


def _job(details: Any) -> SubmittedJob:
    message = (details.message or "") if details.driver_exit_code is None else ""
    return SubmittedJob(
        str(details.submission_id),
        str(details.status),
        dict(details.metadata or {}),
        details.driver_exit_code,
        _first_lines(message),
    )


def _first_lines(text: str) -> str:
    """What an error of Ray says before the traceback of its server."""
    return " ".join(text.partition("Traceback (most recent call last)")[0].split())[:400]


def _validated(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise JobError(
            "--address: wanted the dashboard of the head, as http://host:8265, without a password, got another form; a token "
            "goes into RAY_AUTH_TOKEN"
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SynthRayError(
            f"--address: wanted a Ray head at {parts.scheme}://{parts.netloc}, got nothing that listens there "
            f"({type(error).__name__}); is the cluster up, and is this its dashboard's port?"
        ) from None
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


@contextmanager
def _without_variables(names: Sequence[str]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
