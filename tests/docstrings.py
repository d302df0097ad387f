"""Real English text that is on every machine: the beginnings of docstrings, with the package each is from as its class."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from synth_ray.quality.sample import SampledRow

PACKAGES = ("asyncio", "hypothesis", "numpy", "polars", "pyarrow", "pydantic", "scipy", "sklearn")
_WORDS = 40
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)


@cache
def labelled_docstrings(each: int, *, start: int = 0) -> tuple[SampledRow, ...]:
    """`each` rows of every package, by their ids, after the first `start` ones of each. No text is there twice."""
    packages = {row.id: row.label for package in PACKAGES for row in _rows_of(package)}
    own = {name: [row for row in _rows_of(name) if packages[row.id] == name] for name in PACKAGES}
    rows = [row for name in PACKAGES for row in sorted(own[name], key=lambda row: row.id)[start : start + each]]
    return tuple(sorted(rows, key=lambda row: row.id))


@cache
def _rows_of(package: str) -> tuple[SampledRow, ...]:
    texts = dict.fromkeys(" ".join(text.split()[:_WORDS]) for text in _docstrings(package))
    return tuple(SampledRow(hashlib.md5(text.encode()).hexdigest(), text, package) for text in texts if len(text.split()) > 7)


def _docstrings(package: str) -> Iterator[str]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    paths = [path for path in sorted(Path(spec.origin).parent.rglob("*.py")) if "tests" not in path.parts]
    for path in paths[:150]:
        yield from _DOCSTRING.findall(path.read_text(encoding="utf-8"))
