"""What a table format must do, so that a version gets into a table once, whatever is killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from synth_ray.storage import Storage

DIGEST = "synth_ray.dataset_digest"
"""The property of a snapshot by which its version is found again."""

SPLIT = "split"


class CommitLost(Exception):
    """A commit that did not land, or of which nobody knows whether it did: read the table again. Its text has no secret."""


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file. `path` is relative to the dataset's root; `partition` has the values of its folders, None for null."""

    path: str
    partition: Mapping[str, str | None]
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table, `split` last, and those of them that its folders are named by, `split` first."""

    schema: pa.Schema
    partition_by: Sequence[str]


@dataclass(frozen=True, slots=True)
class Version:
    """One published version of a dataset, in the store that has its parts. Parts without rows are left out."""

    name: str
    dataset_digest: str
    job_digest: str
    storage: Storage
    parts: Sequence[Part]
    shape: Shape

    @property
    def properties(self) -> dict[str, str]:
        """What its snapshot carries."""
        return {DIGEST: self.dataset_digest, "synth_ray.job_digest": self.job_digest, "synth_ray.name": self.name}

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


class Table(Protocol):
    """One table, opened without a request. Libraries retry no commit: whoever calls reads the table and decides again.

    Raises JobError for a table that cannot take the dataset, StorageError for one that does not answer.
    """

    address: str
    copies: bool
    """Whether rows are written again, because the format has files of its own."""

    def check(self, shape: Shape) -> None:
        """Refuse, without writing, a table that is somebody else's or that cannot hold these columns."""
        ...

    def find(self, version: Version) -> str | None:
        """Read the table. The id of its current snapshot if that shows this version with all its rows, else None."""
        ...

    def register(self, version: Version, before_commit: Callable[[], None]) -> None:
        """Replace all rows by the version's, in one commit on the state that `find` has read.

        `before_commit` is called right before the commit, when all else is done, which may take long; it may raise. Raises
        CommitLost for the commit alone: any other error would come again at the next try.
        """
        ...
