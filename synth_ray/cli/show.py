"""`synth-ray show`: traces one row through every stage, or lists rows that ended for a reason."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any

from synth_ray.dataset.manifest import read_manifest
from synth_ray.dataset.trace import count_of_reason, ids_that_begin, rows_with_reason, trace
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.records import Reason
from synth_ray.storage import Storage, open_storage

_ID_CHARACTERS = 32
_MAX_CANDIDATES = 10
_LONGEST_DETAIL = 100

_LINES = (
    ("row", ("id", "request", "chunk", "position", "slot", "split")),
    ("from", ("seed", "lineage", "origin", "depth", "recipe", "teacher", "revision")),
    ("asked", ("prompt_digest", "prompt_tokens", "completion_tokens", "finish_reason", "ask_digest")),
    ("checked", ("flags", "pii")),
    ("decided", ("verdict", "reason", "detail", "witness", "similarity")),
)


def main(arguments: argparse.Namespace) -> int:
    if (arguments.id is None) == (arguments.reason is None):
        raise JobError("show: wanted the id of a row, or --reason and a reason, got neither or both; give one of them")
    storage = open_storage(arguments.prefix)
    if arguments.reason is not None:
        _list_reason(storage, arguments.reason, arguments.n)
        return 0
    row = trace(storage, _whole_id(storage, arguments.id))
    row.setdefault("verdict", "committed, not admitted yet")
    for head, names in _LINES:
        parts = [f"{name} {_plain(row[name])}" for name in names if row.get(name) not in (None, "", [])]
        print(f"{head:9} {', '.join(parts) or '-'}")
    for name in ("prompt", "completion"):
        text = row.get(name) or ""
        print(f"{name:9} {text}" if arguments.text else f"{name:9} {len(text)} characters (--text shows them, scrubbed)")
    return 0


def _whole_id(storage: Storage, start: str) -> str:
    """The id of the one row whose id begins so. Raises JobError where several do, with the first of them."""
    if len(start) >= _ID_CHARACTERS:
        return start
    found = ids_that_begin(storage, start, limit=_MAX_CANDIDATES + 1)
    if len(found) > 1:
        more = " …" if len(found) > _MAX_CANDIDATES else ""
        raise JobError(
            f"{storage.url}: wanted the beginning of one row's id, got '{start}', with which these begin: "
            f"{', '.join(found[:_MAX_CANDIDATES])}{more}; give more of it"
        )
    return found[0] if found else start


def _list_reason(storage: Storage, reason: str, limit: int) -> None:
    if reason not in set(Reason):
        near = get_close_matches(reason, list(Reason), 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; the reasons are {', '.join(sorted(Reason))}"
        raise JobError(f"--reason: wanted a reason for which rows end, got '{reason[:60]}'{hint}")
    total = count_of_reason(storage, reason)
    rows = rows_with_reason(storage, reason, limit=limit)
    print(f"rows      {total:,} {reason}" + (f"; the first {len(rows):,}:" if rows else ""))
    for row in rows:
        print(f"  {row['id']}  {row['split'] or '-':<10}  {_why(row)}".rstrip())
    for line in _rejected_seeds(storage, reason):
        print(f"seeds     rejected {line}")


def _why(row: dict[str, Any]) -> str:
    """The row's detail and its witness, on one line of bounded length."""
    detail = " ".join(str(row["detail"] or "").split())
    detail = detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]}…"
    witness = f"like {row['witness']} ({row['similarity'] or 0:.3f})" if row.get("witness") else ""
    return "; ".join(filter(None, (detail, witness)))


def _rejected_seeds(storage: Storage, reason: str) -> list[str]:
    """File and line of the seeds that were rejected for it, as far as the manifest has them."""
    try:
        seeds = read_manifest(storage).seeds
    except ObjectNotFound:
        return []
    return [line for line in seeds.rejected_lines() if line.startswith(f"{reason} ")]


def _plain(value: object) -> str:
    if isinstance(value, list):  # Arrow returns a map as pairs
        return " ".join(f"{v[0]}×{v[1]}" if isinstance(v, tuple) else str(v) for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
