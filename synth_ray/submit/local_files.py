"""The local files that a job names, and where each of them lies in a package.

A relative path stays as it is: the package is the driver's working directory. Only the path of a source of rows may change, since
it is in no digest: a file outside the working folder lies below `sources/` in the package.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.seeds import Source
from synth_ray.plan.rows import is_data
from synth_ray.storage.job_files import files_at

OUTSIDE = "sources"
"""The folder of the package for files from outside the working folder."""

_LEFT_OUT = frozenset({"__pycache__", ".git", ".gitignore", ".venv"})
_LONGEST_NAME = 255


@dataclass(slots=True)
class LocalFiles:
    """`files`: by path in the package, the place here. `data`: those paths that hold rows or models, and not a person's text.
    `moved`: by dotted key, the new path of a source. `on_nodes`: absolute folders and files that the nodes must have.
    """

    files: dict[str, Path] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    moved: dict[str, Any] = field(default_factory=dict)
    on_nodes: dict[str, str] = field(default_factory=dict)


def is_here(path: str) -> bool:
    """Whether an address is one of this machine's file system."""
    return "://" not in path or path.startswith("file://")


def files_of_job(job: Job, folder: Path, *, more: Iterable[str] = ()) -> LocalFiles:
    """Every local file that the job names. `more` are further paths of the user's. Raises JobError."""
    named = LocalFiles()
    rows = [(f"{key}.path", source.path, source.format == "auto") for key, source in sources_of(job)]
    rows += [(f"review.verdicts.{n}", path, False) for n, path in enumerate(job.review.verdicts)]
    for number, (key, path, by_ending) in enumerate(rows):
        if is_here(path):
            _add_rows(named, folder, f"{OUTSIDE}/{number}", key=key, path=path, by_ending=by_ending)
    for key, path in _places(job):
        _add_place(named, folder, key, path)
    for text in texts(dict(job.recipe.options)):
        if _is_a_file(folder, text):
            _add_tree(named, folder, "recipe", text)
    for path in more:
        if not (folder / path).exists():
            raise JobError(f"--with: wanted a file or a folder, got '{path}', which is not there; correct the path")
        _add_tree(named, folder, "--with", path)
    return named


def sources_of(section: BaseModel, at: str = "") -> Iterator[tuple[str, Source]]:
    """Every source of rows in a section, whatever its key, with its dotted key."""
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{at}.{name}".lstrip(".")
        items = [(f"{key}.{n}", item) for n, item in enumerate(value)] if isinstance(value, list) else [(key, value)]
        for place, item in items:
            if isinstance(item, Source):
                yield place, item
            elif isinstance(item, BaseModel):
                yield from sources_of(item, place)


def _places(job: Job) -> Iterator[tuple[str, str]]:
    """The keys that take a name or a local path, each with its value. They are part of a digest, so that none may change."""
    for role, model in job.models.by_role().items():
        served = model.engine not in ("vllm",)
        yield f"models.{role}.model", "" if served else model.model
        yield f"models.{role}.tokenizer", model.tokenizer
        yield f"models.{role}.lora", model.lora
        for text in texts(model.engine_args):
            yield f"models.{role}.engine_args", text if "/" in text else ""
    semantic = job.dedup.semantic
    yield "check.tokenizer", job.check.tokenizer
    yield "scrub.model", job.scrub.model
    yield "scrub.secrets.rules_file", job.scrub.secrets.rules_file
    yield "dedup.semantic.model", semantic.model if semantic is not None else ""
    yield "quality.embedding", job.quality.embedding


def texts(value: Any) -> Iterator[str]:
    """Every text in a value of a document, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def _is_a_file(folder: Path, text: str) -> bool:
    """Whether a text of the recipe's options is a relative path of a file or, with a slash in it, of a folder, that is there."""
    if not 0 < len(text) <= _LONGEST_NAME or "\n" in text or "\0" in text or os.path.isabs(text) or ".." in Path(text).parts:
        return False
    place = folder / text
    return place.is_file() or ("/" in text and place.is_dir())


def _add_rows(named: LocalFiles, folder: Path, outside: str, *, key: str, path: str, by_ending: bool) -> None:
    """The files that `path` stands for: one, those of a folder, or those that a glob matches."""
    plain = path.removeprefix("file://")
    pattern = plain if os.path.isabs(plain) else os.path.join(str(folder), plain)
    try:
        found = files_at(pattern, is_data=is_data if by_ending else lambda _: True)
    except JobError as error:
        raise JobError(f"{key}: {error}") from None
    root = _root(pattern)
    if _is_inside(plain):
        places = {_inside(Path(file), folder): Path(file) for file in found}
        if plain != path:
            named.moved[key] = plain
    else:
        # folders such as `lang=de` are fields of the rows, so that they are kept
        top = PurePosixPath(outside, *[part for part in root.parts if "=" in part])
        places = {str(top / Path(file).relative_to(root)): Path(file) for file in found}
        named.moved[key] = str(top / Path(pattern).relative_to(root))
    for place in places.values():
        if not place.is_file():
            raise JobError(f"{key}: wanted a file, got '{place}', which is not there; correct the path")
    named.files |= places
    named.data |= places.keys()


def _root(pattern: str) -> Path:
    """The folder in which a path or a glob begins to differ between its files."""
    parts = Path(pattern).parts
    plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:plain])


def _is_inside(path: str) -> bool:
    return not os.path.isabs(path) and ".." not in Path(path).parts


def _inside(file: Path, folder: Path) -> str:
    return PurePosixPath(os.path.relpath(file, folder)).as_posix()


def _add_place(named: LocalFiles, folder: Path, key: str, path: str) -> None:
    if not path or "://" in path:
        return
    if os.path.isabs(os.path.expanduser(path)):
        named.on_nodes[key] = path
    elif (folder / path).exists():
        named.data |= _add_tree(named, folder, key, path)
    elif path.startswith((".", "models/")):
        raise JobError(f"{key}: wanted a folder or a file, got '{path}', which is not there; correct the path")


def _add_tree(named: LocalFiles, folder: Path, key: str, path: str) -> set[str]:
    """Add a file, or all files of a folder. Returns their paths in the package."""
    if not _is_inside(path):
        raise JobError(
            f"{key}: wanted a path below the working folder, got '{path}'; run the command in the folder above, or name an "
            "absolute path that every node has"
        )
    place = folder / path
    files = [place] if place.is_file() else sorted(files_below(place))
    added = {_inside(file, folder): file for file in files}
    named.files |= added
    return set(added)


def files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        yield from (Path(root, name) for name in names if name not in _LEFT_OUT)
