"""What tells one version from the next of the local files that a job's rows are scrubbed and embedded by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from synth_ray.job.document import Job


def contents_of_models(job: Job) -> list[list[str]]:
    """Of each file, its path as the job names it, or that below a folder, and a digest of its bytes. A model that is an installed
    package has none.
    """
    semantic = job.dedup.semantic
    named = [semantic.model if semantic is not None else "", job.scrub.model, job.scrub.secrets.rules_file]
    return [[name, below, digest] for name in named if name for below, digest in _files_at(Path(name).expanduser())]


def _files_at(place: Path) -> Iterator[tuple[str, str]]:
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    return ((str(file.relative_to(place)), _digest_of(file)) for file in found if file.is_file())


def _digest_of(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "blake2b").hexdigest()
