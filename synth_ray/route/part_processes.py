"""All parts of a job side by side, each driven by a process of its own on this machine."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from synth_ray.child_process import child_environment, how_it_ended
from synth_ray.dataset.ledger import Ledger
from synth_ray.errors import JobError, StoppedShort, SynthRayError
from synth_ray.job.document import Job
from synth_ray.route.ending import Stopped
from synth_ray.route.interrupts import stopped_by_signals
from synth_ray.storage.job_files import open_output

_PARENT = "SYNTH_RAY_PARTS_OF"
"""The environment variable that tells a part's process which process waits for it."""
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_POLL_S = 0.5
_STDERR = 2  # the result on standard output is that of the whole job
_STOPPED_SHORT = (StoppedShort.exit_code, -signal.SIGTERM)
"""How a part ends that was stopped; by the signal itself where it was still reading its input."""


def run_parts(job: Job, *, options: Sequence[str] = ()) -> Stopped:
    """Run every part that has something left to ask, and wait. Returns why some stopped short. Raises SynthRayError where one
    failed, and JobError where the job is wrong; the others are stopped first.
    """
    refuse_unshared_ray(job)
    undone = _undone_parts(job)
    with _job_file(job) as file:
        stopped: list[str] = []
        with stopped_by_signals(stopped.append) as signals:
            processes = {part: _start(file, part, options) for part in undone}
            _wait(processes, stopped)
        _raise_failures(processes)
    short = [part for part, process in processes.items() if process.returncode in _STOPPED_SHORT]
    why = f"parts {', '.join(map(str, short))} stopped short, which say why" if short else ""
    return Stopped(stopped[0] if stopped else why, bool(signals))


def refuse_unshared_ray(job: Job) -> None:
    """Raises JobError where the processes of this machine that drive the parts would each start a Ray of their own."""
    parts, cluster = job.plan.parts, job.cluster
    if parts > 1 and cluster.engine == "ray" and not cluster.address:
        raise JobError(
            f"plan.parts: wanted a Ray that {parts} drivers share, got none at cluster.address, and each would start one of its "
            "own; start one and name it (`auto` on its nodes), submit the job to one, or take cluster.engine: local"
        )


def _undone_parts(job: Job) -> Sequence[int]:
    """The parts that may have chunks left: where the plan's length is known before the seeds are read, those that have."""
    parts, requests = job.plan.parts, job.plan.requests
    if requests is None:
        return range(parts)
    committed = Ledger(open_output(job.output)).committed_chunks()
    chunks = -(-requests // job.plan.chunk_requests)
    return [part for part in range(parts) if any(chunk not in committed for chunk in range(part, chunks, parts))]


@contextmanager
def _job_file(job: Job) -> Iterator[str]:
    """The job as a file: JSON is YAML, too."""
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(json.dumps(job.model_dump(mode="json", exclude_unset=True)))
        yield str(file)


def _start(file: str, part: int, options: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", file, "--part", str(part), *options]
    # Ctrl-C reaches the whole group of a terminal: each part would hear it twice, and the second time ends it at once.
    environment = child_environment(**{_PARENT: str(os.getpid())})
    return subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=_STDERR)


def _wait(processes: Mapping[int, subprocess.Popen[bytes]], stopped: Sequence[str]) -> None:
    """Until all have ended. The first that fails, and a signal here, stop the others."""
    is_stopping = False
    try:
        while any(process.poll() is None for process in processes.values()):
            if not is_stopping and (stopped or any(map(_has_failed, processes.values()))):
                is_stopping = True
                _signal(processes, signal.SIGTERM)
            time.sleep(_POLL_S)
    except BaseException:
        _signal(processes, signal.SIGKILL)
        raise


def _has_failed(process: subprocess.Popen[bytes]) -> bool:
    return process.returncode not in (None, 0, *_STOPPED_SHORT)


def _signal(processes: Mapping[int, subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(number)


def _raise_failures(processes: Mapping[int, subprocess.Popen[bytes]]) -> None:
    for part, process in processes.items():
        if _has_failed(process):
            code = process.returncode
            how = how_it_ended(code) + (", and its error is above" if code > 0 else "")
            kind = JobError if code == JobError.exit_code else SynthRayError
            raise kind(
                f"part {part}: wanted its chunks asked and staged, got {how}; what is committed is kept: mend the cause, then "
                "run the same command again"
            )


def end_with_parent() -> None:
    """In the process of a part: get SIGTERM as soon as the process that waits for it is gone, however it ended."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
