"""Compiled graphs of one engine start, kept on a store for the starts of other nodes.

What a start compiled is one archive, by the key by which vLLM itself finds it, beside everything else that compiled code depends
on. It is fetched before a start and put after the first; of several that put at once, one wins. vLLM still checks what it loads,
and compiles again what does not fit.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from synth_ray.errors import Conflict, ObjectNotFound, SynthRayError
from synth_ray.storage import open_storage

log = logging.getLogger(__name__)

_AHEAD_OF_TIME = "torch_aot_compile"
"""A folder of vLLM's cache that holds folders of graphs, not graphs."""


class CompileCache:
    """`place` is a folder or a store's prefix; `folder` is where vLLM keeps compiled graphs on this machine. A store that cannot
    be reached costs the time to compile, not the start.
    """

    def __init__(self, place: str, factors: Sequence[object], folder: Path) -> None:
        self._place, self._folder = place, folder
        self._name = hashlib.sha256(repr(list(factors)).encode()).hexdigest()[:32] + ".tar"
        self._before: set[str] = set()
        self._was_fetched = False

    def fetch(self) -> bool:
        """Take what an earlier start compiled. Whether there was something."""
        try:
            archive = open_storage(self._place).read(self._name)
            self._unpack(archive)
            self._was_fetched = True
        except ObjectNotFound:
            pass  # this is the first start
        except (SynthRayError, OSError, tarfile.TarError) as error:
            log.warning("cluster.compile_cache: compiled graphs could not be fetched (%s): compiling", type(error).__name__)
        self._before = set(self._graphs())
        return self._was_fetched

    def put(self) -> bool:
        """Keep what this start compiled. Whether it was kept: another start may have been first."""
        new = [name for name in self._graphs() if name not in self._before]
        if not new:
            return False
        try:
            storage, archive = open_storage(self._place), self._pack(new)
            if self._was_fetched:  # what was kept did not fit: this does
                storage.write(self._name, archive)
            else:
                storage.create(self._name, archive)
        except Conflict:
            return False
        except (SynthRayError, OSError) as error:
            log.warning("cluster.compile_cache: compiled graphs could not be kept (%s)", type(error).__name__)
            return False
        return True

    def _graphs(self) -> list[str]:
        """The folders of graphs, each named by vLLM's key."""
        folders = [self._folder, self._folder / _AHEAD_OF_TIME]
        names = [
            entry.relative_to(self._folder).as_posix() for f in folders if f.is_dir() for entry in f.iterdir() if entry.is_dir()
        ]
        return sorted(name for name in names if name != _AHEAD_OF_TIME and not Path(name).name.startswith("."))

    def _pack(self, names: Sequence[str]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in names:
                archive.add(self._folder / name, name)
        return buffer.getvalue()

    def _unpack(self, archive: bytes) -> None:
        """Each folder appears whole or not at all; one that is there already stays."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unpacked = Path(tempfile.mkdtemp(prefix=".fetched-", dir=self._folder))
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as members:
                members.extractall(unpacked, filter="data")
            for name in CompileCache("", [], unpacked)._graphs():
                target = self._folder / name
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    _move(unpacked / name, target)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():  # else another replica of this machine was first
            raise
