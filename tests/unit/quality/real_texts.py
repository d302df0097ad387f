"""Real English texts that every environment has: docstrings of installed packages. A folder of modules is a topic."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

PACKAGES = ("numpy", "pandas", "scipy")
_MOST_A_TOPIC = 150
_LEAST_A_TOPIC = 40


@cache
def texts_and_topics() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First paragraphs of docstrings of 6 words and more, each once, and the folder that each is from."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in _files(package):
            for text in _paragraphs(path):
                found.setdefault(text, f"{package}/{path.parent.name}")
    sizes = Counter(found.values())
    seen: Counter[str] = Counter()
    chosen = []
    for text, topic in found.items():
        seen[topic] += 1
        if sizes[topic] >= _LEAST_A_TOPIC and seen[topic] <= _MOST_A_TOPIC:
            chosen.append((text, topic))
    order = np.random.default_rng(1).permutation(len(chosen))
    return tuple(chosen[i][0] for i in order), tuple(chosen[i][1] for i in order)


def _files(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent
    return [p for p in sorted(root.rglob("*.py")) if "test" not in str(p.relative_to(root)) and p.stat().st_size > 25_000]


def _paragraphs(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(errors="replace"))
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    texts = [(ast.get_docstring(node) or "").split("\n\n")[:2] for node in nodes]
    joined = [" ".join(" ".join(parts).split()) for parts in texts]
    return [text for text in joined if len(text.split()) >= 6]
