"""Seeds from sources: in canonical form, identified by content, grouped by lineage."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, BinaryIO

from synth_ray.job.seeds import Source
from synth_ray.plan.folders import fields_of_folders, with_folders
from synth_ray.plan.plain import BadRow, Row
from synth_ray.plan.rows import Piece, format_of, pieces_of
from synth_ray.plan.shapes import NoField, WrongType, canonical_fields
from synth_ray.records import TRAIN, Origin, Reason, Seed, canonical_json, digest

OpenFile = Callable[[str], BinaryIO]


@dataclass(frozen=True, slots=True)
class RejectedSeed:
    """A row that is not used as a seed: why, and where it is. `detail` gives type and length, never text."""

    reason: Reason
    file: str
    line: int
    detail: str = ""
    lines: int = 1


@dataclass(frozen=True, slots=True)
class SourcePiece:
    """A part of one file of a source. `file` is the path for people, `folders` the fields that the path names."""

    source: Source
    file: str
    folders: dict[str, str | None]
    piece: Piece

    @property
    def place(self) -> str:
        """The file and the first line, for people."""
        return f"{self.file}:{self.piece.first}"

    def seeds(self) -> Iterator[tuple[Seed, bytes] | RejectedSeed]:
        """Every row of the piece, as a seed and the canonical JSON of its fields, or as a rejected seed."""
        for row in self.piece.rows():
            yield _seed(with_folders(row, self.folders) if self.folders else row, self.source, self.file)


def cut_source(source: Source, *, paths: Iterable[str], open_file: OpenFile, **sizes: int) -> Iterator[SourcePiece]:
    """The files of a source, piece by piece. Raises JobError for a file that is not in its format, without the job key that
    names it. The source's `limit` is left to who counts the rows. `sizes`: see `rows.pieces_of`.
    """
    for path in paths:
        kind = format_of(path) if source.format == "auto" else source.format
        name = _shown(path)
        folders, columns = fields_of_folders(name), _columns(source)
        with open_file(path) as file:
            for piece in pieces_of(file, kind=kind, path=name, delimiter=source.delimiter, columns=columns, **sizes):
                yield SourcePiece(source, name, folders, piece)


def read_seeds(source: Source, *, paths: Iterable[str], open_file: OpenFile, seen: set[str]) -> Iterator[Seed | RejectedSeed]:
    """Stream every row of the source's files, as a seed or a rejected seed.

    `seen` has the ids so far and grows: a row with the content of an earlier one is rejected(duplicate_seed). Raises JobError for
    a file that is not in its format, without the job key that names it.
    """
    pieces = cut_source(source, paths=paths, open_file=open_file)
    for row in islice((row for piece in pieces for row in piece.seeds()), source.limit):
        if isinstance(row, RejectedSeed):
            yield row
            continue
        seed, _ = row
        yield RejectedSeed(Reason.DUPLICATE_SEED, seed.source, seed.line) if seed.id in seen else seed
        seen.add(seed.id)


def _columns(source: Source) -> set[str]:
    """The columns that a mapping needs; none named where there is no mapping. A dotted path may be a column's whole name."""
    paths = source.fields.values()
    more = {"origin", "depth", *([source.lineage] if source.lineage else [])}
    return {name for path in paths for name in (path, path.split(".")[0])} | more if paths else set()


def _shown(path: str) -> str:
    """A path for people: without a URL's query, where signatures are, and always Unicode text."""
    bare = path.partition("?")[0] if path.startswith(("http://", "https://")) else path
    return bare.encode("utf-8", "backslashreplace").decode()


def _seed(row: Row | BadRow, source: Source, path: str) -> tuple[Seed, bytes] | RejectedSeed:
    if isinstance(row, BadRow):
        return RejectedSeed(row.reason, path, row.line, row.detail, row.lines)
    try:
        fields = canonical_fields(row.value, shape=source.shape, mapping=source.fields)
        _require_prompt(fields)
    except NoField as missing:
        return RejectedSeed(Reason.MISSING_FIELD, path, row.line, f"no '{missing}'")
    except WrongType as wrong:
        return RejectedSeed(Reason.WRONG_TYPE, path, row.line, f"wanted {wrong}")
    except _EmptySeed:
        return RejectedSeed(Reason.EMPTY_SEED, path, row.line, "prompt of no text")
    depth = _depth(row.value, source)
    if depth > source.allow_depth:
        return RejectedSeed(Reason.TOO_DEEP, path, row.line, f"depth {depth}, at most {source.allow_depth} allowed")
    content = canonical_json(fields)
    name, origin = blake2b(content, digest_size=16).hexdigest(), Origin.SYNTHETIC if depth else Origin.REAL
    return Seed(name, _lineage(row.value, source, fields), TRAIN, fields, path, row.line, origin, depth), content


class _EmptySeed(Exception):
    pass


def _require_prompt(fields: dict[str, Any]) -> None:
    """Law: a seed has a prompt of text. A prompt that is null is missing, as in the rows of an outer join."""
    if fields.get("prompt") is None:
        raise NoField("prompt")
    if not isinstance(fields["prompt"], str):
        raise WrongType(f"text in 'prompt', got {type(fields['prompt']).__name__}")
    if not fields["prompt"].strip():
        raise _EmptySeed


def _depth(value: Any, source: Source) -> int:
    """The row's own depth if it has the provenance of an earlier run, else the source's."""
    own = value.get("depth") if isinstance(value, dict) and value.get("origin") in ("real", "synthetic") else None
    return own if isinstance(own, int) and not isinstance(own, bool) and own >= 0 else source.depth


def _lineage(value: Any, source: Source, fields: dict[str, Any]) -> str:
    """Rows share a lineage if they have the same group, or the same prompt up to case, Unicode width and spacing."""
    named = value.get(source.lineage) if source.lineage and isinstance(value, dict) else None
    if named is not None:
        return digest("group", str(named))
    folded = unicodedata.normalize("NFKC", fields["prompt"]).casefold()
    return digest("prompt", " ".join(folded.split()))
