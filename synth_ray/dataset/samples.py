"""Writes the rows of one split as one JSONL file, or as WebDataset tar shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from synth_ray.storage import Storage

SHARD_ROWS = 10_000


class Samples(Protocol):
    def add(self, name: str, row: dict[str, Any]) -> None:
        """`name` is the row's id."""
        ...


@contextmanager
def open_samples(storage: Storage, split: str, *, tar: bool) -> Iterator[Samples]:
    """A writer for a split's rows. A file becomes visible only when it is complete."""
    with ExitStack() as stack:
        yield _Tar(storage, split, stack) if tar else _Jsonl(storage, split, stack)


def json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


class _Jsonl:
    def __init__(self, storage: Storage, split: str, stack: ExitStack) -> None:
        self._out = stack.enter_context(storage.upload(f"{split}.jsonl"))

    def add(self, name: str, row: dict[str, Any]) -> None:
        self._out.write(json_line(row) + b"\n")


class _Tar:
    """`train-000000.tar` with `<id>.json` members. The same rows always give the same bytes."""

    def __init__(self, storage: Storage, split: str, stack: ExitStack) -> None:
        self._storage, self._split, self._outer = storage, split, stack
        self._rows = self._shards = 0
        self._open: ExitStack | None = None

    def add(self, name: str, row: dict[str, Any]) -> None:
        if self._rows % SHARD_ROWS == 0:
            self._next()
        data = json_line(row)
        member = tarfile.TarInfo(f"{name}.json")
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._rows += 1

    def _next(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._outer.enter_context(ExitStack())
        out = self._open.enter_context(self._storage.upload(f"{self._split}-{self._shards:06d}.tar"))
        self._tar = self._open.enter_context(tarfile.open(mode="w|", fileobj=out))  # type: ignore[call-overload]  # noqa: SIM115
        self._shards += 1
