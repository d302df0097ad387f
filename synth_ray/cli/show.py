"""`synth-ray show`: traces one row through every stage, or lists rows: of a split, of a reason, or a few of each."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any

from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.dataset.trace import accepted_rows, count_of_reason, ids_that_begin, rows_with_reason, trace
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.records import Reason
from synth_ray.storage import Storage, open_storage

_ID_CHARACTERS = 32
_MAX_CANDIDATES = 10
_LONGEST_DETAIL = 100
_ROWS = 10
_ROWS_OF_EACH = 2

_LINES = (
    ("row", ("id", "request", "chunk", "position", "slot", "split")),
    ("from", ("seed", "lineage", "origin", "depth", "recipe", "teacher", "revision")),
    ("asked", ("prompt_digest", "prompt_tokens", "completion_tokens", "reasoning_tokens", "finish_reason", "ask_digest")),
    ("checked", ("flags", "pii")),
    ("decided", ("verdict", "reason", "detail", "witness", "similarity")),
)


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    if arguments.id is not None:
        if arguments.reason is not None or arguments.split is not None:
            raise JobError("show: wanted the id of a row, or --reason or --split to list rows by, got both; give one of them")
        _trace(storage, arguments)
    elif arguments.reason is not None:
        _list_reason(storage, arguments)
    elif arguments.split is not None:
        _list_split(storage, arguments)
    else:
        _list_some_of_each(storage, arguments)
    return 0


def _trace(storage: Storage, arguments: argparse.Namespace) -> None:
    row = trace(storage, _whole_id(storage, arguments.id))
    row.setdefault("verdict", "committed, not admitted yet")
    for head, names in _LINES:
        parts = [f"{name} {_plain(row[name])}" for name in names if row.get(name) not in (None, "", [])]
        print(f"{head:9} {', '.join(parts) or '-'}")
    for name in ("prompt", *(["reasoning"] if row.get("reasoning") else []), "completion"):
        text = row.get(name) or ""
        print(f"{name:9} {text}" if arguments.text else f"{name:9} {len(text)} characters (--text shows them, scrubbed)")


def _list_some_of_each(storage: Storage, arguments: argparse.Namespace) -> None:
    """The first rows of each split and of each reason, with how many there are."""
    manifest = _published(storage)
    for split in manifest.splits:
        _list_accepted(storage, manifest, split, arguments.n or _ROWS_OF_EACH, texts=arguments.text)
    reasons = manifest.rows.rejected | manifest.rows.failed
    for reason in sorted(reasons, key=lambda name: (-reasons[name], name)):
        rows = rows_with_reason(storage, reason, limit=arguments.n or _ROWS_OF_EACH, texts=arguments.text)
        _print_refused(f"{reasons[reason]:,} {reason}", rows)
    print(f"          --split and --reason list more; `synth-ray view {arguments.prefix}` shows all in a browser")


def _list_split(storage: Storage, arguments: argparse.Namespace) -> None:
    manifest = _published(storage)
    if arguments.split not in manifest.splits:
        there = ", ".join(manifest.splits) or "none"
        raise JobError(f"--split: wanted a split of the dataset, got '{arguments.split[:60]}'; there are: {there}")
    _list_accepted(storage, manifest, arguments.split, arguments.n or _ROWS, texts=arguments.text)


def _list_accepted(storage: Storage, manifest: Manifest, split: str, limit: int, *, texts: bool) -> None:
    rows = accepted_rows(storage, split, limit=limit, texts=texts)
    print(f"rows      {manifest.splits[split]:,} of {split}; the first {len(rows):,}:")
    for row in rows:
        print(f"  {row['id']}  {row['origin']:<10}  {row['prompt_tokens'] or 0:,} + {row['completion_tokens'] or 0:,} tokens")
        _print_texts(row)


def _print_texts(row: dict[str, Any]) -> None:
    for name in ("prompt", "completion"):
        if row.get(name):
            print(f"    {name:10}  {_shortened(row[name])}")


def _published(storage: Storage) -> Manifest:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        raise JobError(
            f"{storage.url}: wanted a published dataset to list rows of, got a run that has not published yet; give the id of a "
            "row or --reason, which look in its committed chunks, too"
        ) from None


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


def _list_reason(storage: Storage, arguments: argparse.Namespace) -> None:
    reason, split = arguments.reason, arguments.split
    if reason not in set(Reason):
        near = get_close_matches(reason, list(Reason), 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; the reasons are {', '.join(sorted(Reason))}"
        raise JobError(f"--reason: wanted a reason for which rows end, got '{reason[:60]}'{hint}")
    rows = rows_with_reason(storage, reason, limit=arguments.n or _ROWS, split=split, texts=arguments.text)
    found = f"{count_of_reason(storage, reason):,} {reason}" if split is None else f"{reason} of {split}"
    _print_refused(found if rows or split is None else f"0 {found}", rows)
    for line in _rejected_seeds(storage, reason):
        print(f"seeds     rejected {line}")


def _print_refused(found: str, rows: list[dict[str, Any]]) -> None:
    print(f"rows      {found}" + (f"; the first {len(rows):,}:" if rows else ""))
    for row in rows:
        print(f"  {row['id']}  {row['split'] or '-':<10}  {_why(row)}".rstrip())
        _print_texts(row)


def _shortened(text: str) -> str:
    """On one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DETAIL else f"{line[:_LONGEST_DETAIL]}…"


def _why(row: dict[str, Any]) -> str:
    """The row's detail and its witness, on one line of bounded length."""
    detail = _shortened(str(row["detail"] or ""))
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
