"""The modules of the user's own that a job names, with those that they import: what is neither installed nor part of Python."""

from __future__ import annotations

import ast
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import BUILT_IN
from synth_ray.submit.local_files import files_below, texts

_FUNCTION = re.compile(r"([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")


def own_modules(job: Job) -> dict[str, Path]:
    """By path in the package, the files of the modules. A package is sent whole, from its outermost folder on.

    Nothing is imported here: what a module imports is read from its text.
    """
    files: dict[str, Path] = {}
    waiting, seen = list(dict.fromkeys(_named_by(job))), {"synth_ray"}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        added = _files_of(name)
        files |= added
        waiting += [inner for place in added.values() if place.suffix == ".py" for inner in _imports_of(place)]
    return files


def _named_by(job: Job) -> Iterator[str]:
    """The outermost names of the recipe's module, of functions such as `package.module:function`, and of `-m module`."""
    if job.recipe.name not in BUILT_IN:
        yield job.recipe.name.partition(".")[0]
    options: dict[str, Any] = dict(job.recipe.options)
    found = list(texts(options))
    for text in found:
        if match := _FUNCTION.fullmatch(text):
            yield match[1]
    for before, text in pairwise(found):
        if before == "-m":
            yield text.partition(".")[0]


def _files_of(name: str) -> dict[str, Path]:
    """The files of an outermost module that is the user's own; none of one that is installed or not found."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return {}
    if spec is None:
        return {}
    if spec.submodule_search_locations is not None:
        folders = [Path(place) for place in spec.submodule_search_locations if not _is_installed(Path(place))]
        return {f"{name}/{file.relative_to(top).as_posix()}": file for top in folders for file in files_below(top)}
    file = Path(spec.origin or "")
    return {file.name: file} if file.suffix == ".py" and not _is_installed(file) else {}


def _is_installed(place: Path) -> bool:
    paths = [sysconfig.get_paths()[kind] for kind in _INSTALLED]
    places = [*paths, *site.getsitepackages(), site.getusersitepackages()]
    return any(place.resolve().is_relative_to(Path(folder).resolve()) for folder in places)


def _imports_of(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # Python will say so itself where it matters
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        for name in names:
            if (top := name.partition(".")[0]) not in sys.stdlib_module_names:
                yield top
