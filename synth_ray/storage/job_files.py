"""Opens the stores and files that a job's sections name."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, cast

from synth_ray.errors import JobError, ObjectNotFound, StorageError
from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_file, open_storage, split_url
from synth_ray.storage.address import PLACES, is_remote
from synth_ray.storage.hub_files import hub_files, open_hub_file
from synth_ray.storage.web_file import open_web_file, validate_web_address

_WILD = re.compile(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])")
_AS_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_PRIVATE = re.compile(r"(?:^|/)[_.](?!\.?/)")  # names that writers of datasets keep to themselves: `_SUCCESS`, `.part-0.crc`


def open_output(output: Output) -> Storage:
    """The store at the job's output prefix. Credentials come from the cloud's standard chain alone."""
    return open_storage(
        output.path,
        endpoint_url=output.endpoint_url,
        region=output.region,
        single_writer=output.single_writer,
    )


def files_at(path: str, *, is_data: Callable[[str], bool], **where: Any) -> list[str]:
    """The files at a path, in order: the file itself, those that a glob matches, or all files of data below a folder.

    `is_data` tells by its name whether a file is one of data. A glob's `*` stays within a folder, `**` does not. Names that begin
    with `_` or `.` are left out unless the path says them. Raises JobError when there is none.
    """
    if _is_web(path):
        return [validate_web_address(path)]
    try:
        paths = _paths(path, is_data, where)
    except StorageError as error:
        raise JobError(str(error)) from None
    if not paths:
        raise JobError(f"wanted files at '{path}', got none that match; fix the path")
    return paths


def open_input(path: str, **where: Any) -> BinaryIO:
    """A seekable, buffered binary file, which can be read line by line. Raises JobError."""
    if _is_web(path):
        return open_web_file(path)
    if path.startswith("hf://"):
        return open_hub_file(path)
    try:
        return cast(BinaryIO, io.BufferedReader(open_file(path, **where), 1 << 20))
    except ObjectNotFound:
        raise JobError(f"wanted to read '{path}', got none; is it there, and may you read it?") from None
    except StorageError as error:
        raise JobError(str(error)) from None


def _is_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _paths(path: str, is_data: Callable[[str], bool], where: dict[str, Any]) -> list[str]:
    scheme = path.partition("://")[0] if "://" in path else "file"
    if scheme == "hf":
        return _listed_paths(path, is_data, hub_files)
    if is_remote(path):
        split_url(path)
        return _listed_paths(path, is_data, lambda folder: _objects_below(folder, where))
    if scheme == "file":
        return _local_paths(split_url(path)[2], is_data)
    raise JobError(f"wanted {PLACES}, hf:// or https://, got scheme '{scheme[:20]}'; copy the files to one of these")


def _local_paths(path: str, is_data: Callable[[str], bool]) -> list[str]:
    if os.path.isdir(path):
        return _chosen(_files_below(path), f"{path.rstrip('/')}/**", is_data)
    if os.path.isfile(path) or not glob.has_magic(path):
        return [path]  # where it is not there, opening it says so
    found = glob.glob(path, recursive=True)
    files = [name for name in found if os.path.isfile(name)]
    return _chosen(files or [name for folder in found for name in _files_below(folder)], path, is_data)


def _files_below(folder: str) -> list[str]:
    walk = os.walk(folder, followlinks=True, onerror=_refuse)
    return [os.path.join(root, name) for root, _, names in walk for name in names]


def _refuse(error: OSError) -> None:
    raise JobError(f"wanted to list '{error.filename}', got '{error.strerror}'; may you read it?")


def _listed_paths(path: str, is_data: Callable[[str], bool], files_below: Callable[[str], Iterable[str]]) -> list[str]:
    """The same where folders can only be listed as a whole."""
    if not glob.has_magic(path) and is_data(path):
        return [path]
    pattern = path if glob.has_magic(path) else f"{path.rstrip('/')}/**"
    found = list(files_below(_plain_start(pattern)))
    files = _matching(found, pattern) or _matching(found, f"{pattern}/**") or [name for name in found if name == path]
    return _chosen(files, pattern, is_data)


def _objects_below(folder: str, where: dict[str, Any]) -> list[str]:
    return [f"{folder}/{entry.path}" for entry in open_storage(folder, **where).list()]


def _plain_start(pattern: str) -> str:
    """The leading folders of a glob that contain no wildcard."""
    parts = pattern.split("/")
    return "/".join(parts[: next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)])


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    pieces = _WILD.split(pattern)
    regex = re.compile("".join(_regex_of(piece) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)), re.DOTALL)
    return [name for name in names if regex.fullmatch(name)]


def _regex_of(wild: str) -> str:
    return _AS_REGEX.get(wild) or "[" + wild[1:-1].replace("\\", "\\\\").replace("!", "^", wild[1] == "!") + "]"


def _chosen(names: Iterable[str], pattern: str, is_data: Callable[[str], bool]) -> list[str]:
    """In order, without private names and, where some are of data, without the others, such as a README."""
    start = len(_plain_start(pattern))
    shown = sorted(name for name in names if _PRIVATE.search(pattern[start:]) or not _PRIVATE.search(name[start:]))
    return [name for name in shown if is_data(name)] or ([] if pattern.endswith("/**") else shown)
