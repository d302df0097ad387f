"""The file of `--junit`: refused before the work when it cannot be written, written after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synth_ray.errors import JobError, SynthRayError
from synth_ray.report.gates import GateResult
from synth_ray.report.junit import junit_xml


def refuse_bad_place(path: str | None) -> None:
    """Raises JobError where the file's folder is not there."""
    if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise JobError(f"--junit: wanted a file in a folder that is there, got '{path}'; make the folder, or name another place")


def write_junit(path: str | None, results: Sequence[GateResult], *, name: str, error: str = "") -> None:
    """Write the file, if one was asked for. Raises SynthRayError."""
    if path is None:
        return
    try:
        Path(path).write_bytes(junit_xml(results, name=name, error=error))
    except OSError as problem:
        raise SynthRayError(f"--junit: wanted to write '{path}', got '{problem.strerror}'; the dataset is published") from None
