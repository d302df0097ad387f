"""`synth-ray show`: traces one row through every stage."""

from __future__ import annotations

import argparse

from synth_ray.dataset.trace import trace
from synth_ray.storage import open_storage

_LINES = (
    ("row", ("id", "request", "chunk", "position", "slot", "split")),
    ("from", ("seed", "lineage", "origin", "depth", "recipe", "teacher", "revision")),
    ("asked", ("prompt_digest", "prompt_tokens", "completion_tokens", "finish_reason", "ask_digest")),
    ("checked", ("flags", "pii")),
    ("decided", ("verdict", "reason", "detail", "witness", "similarity")),
)


def main(arguments: argparse.Namespace) -> int:
    row = trace(open_storage(arguments.prefix), arguments.id)
    row.setdefault("verdict", "committed, not admitted yet")
    for head, names in _LINES:
        parts = [f"{name} {_plain(row[name])}" for name in names if row.get(name) not in (None, "", [])]
        print(f"{head:9} {', '.join(parts) or '-'}")
    for name in ("prompt", "completion"):
        text = row.get(name) or ""
        print(f"{name:9} {text}" if arguments.text else f"{name:9} {len(text)} characters (--text shows them, scrubbed)")
    return 0


def _plain(value: object) -> str:
    if isinstance(value, list):  # Arrow returns a map as pairs
        return " ".join(f"{v[0]}×{v[1]}" if isinstance(v, tuple) else str(v) for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
