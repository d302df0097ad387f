"""Segments of the ask journal: what is in one, and how the answers of a chunk are read back.

A segment has the answers of several chunks, each compressed by itself, behind a line that tells their sizes: so a chunk is read,
or left out, without the others. Earlier versions wrote one chunk to a segment, without that line; those are read, too.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any

from synth_ray.errors import ObjectNotFound
from synth_ray.recipes.contract import Completion
from synth_ray.records import TopK, digest
from synth_ray.storage import Storage
from synth_ray.storage.journal_names import ASKS, chunks_of, folder_of, group_of, is_old, old_folder_of, segment_path

Answers = dict[str, list[Completion]]
"""Answers by ask key."""

Blocks = dict[int, list[bytes]]
"""Compressed lines by chunk."""

_READERS = 8
_READ_TRIES = 5
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_FIELDS = 5
"""Fields of a completion that have a value in nearly every answer."""
_DEFAULTS = [own.default for own in dataclass_fields(Completion)]
_always, _rarely = attrgetter(*Completion.__slots__[:_FIELDS]), attrgetter(*Completion.__slots__[_FIELDS:])
_DEFAULTS_OF_RARE = tuple(_DEFAULTS[_FIELDS:])
_TOP_K = Completion.__slots__.index("top_k")


def line_of(request: str, key: str, answers: Sequence[Completion]) -> bytes:
    return _ENCODER.encode([request, key, [_plain(a) for a in answers]]).encode()


def block_of(lines: Iterable[bytes]) -> bytes:
    return zlib.compress(b"\n".join(lines), 1)


def write_segment(storage: Storage, blocks: Mapping[int, Sequence[bytes]]) -> None:
    """Write one segment of the blocks of chunks of one group, under a name by its content. Raises StorageError."""
    index = [[chunk, len(block)] for chunk, of_chunk in blocks.items() for block in of_chunk]
    data = b"".join([_ENCODER.encode(index).encode(), b"\n", *(block for of_chunk in blocks.values() for block in of_chunk)])
    storage.write(segment_path(blocks, digest(data.hex())), data)


def blocks_of(path: str, data: bytes) -> Blocks:
    """The blocks of a segment, by chunk."""
    if is_old(path):
        return {chunk: [data] for chunk in chunks_of(path)}
    end = data.index(b"\n")
    blocks: Blocks = {}
    start = end + 1
    for chunk, size in json.loads(data[:end]):
        blocks.setdefault(chunk, []).append(data[start : start + size])
        start += size
    return blocks


def read_blocks(storage: Storage, paths: Sequence[str]) -> Iterator[Blocks]:
    """The blocks of several segments, read side by side. Raises ObjectNotFound where one was removed meanwhile."""
    if not paths:
        return
    with ThreadPoolExecutor(min(_READERS, len(paths)), thread_name_prefix="journal-read") as pool:
        yield from map(blocks_of, paths, pool.map(storage.read, paths))


def _blocks_of_chunks(storage: Storage, chunks: Collection[int]) -> Blocks:
    """All blocks of these chunks that are there when this is called, some of them twice. Each segment is read once.

    A listing comes in pages: of a segment that is written anew meanwhile, it may have neither the old name nor the new one. So
    it is repeated until it brings no other names; where segments are only added all the time, that many times.
    """
    groups = sorted({folder_of(group_of(chunk)) for chunk in chunks})
    folders = [*groups, *map(old_folder_of, sorted(chunks))]
    found: Blocks = {}
    read: set[str] = set()
    for left in reversed(range(_READ_TRIES)):
        listed = sorted(entry.path for folder in folders for entry in storage.list(folder))
        paths = [path for path in listed if path not in read and not chunks_of(path).isdisjoint(chunks)]
        more: Blocks = {}
        try:
            for blocks in read_blocks(storage, paths):
                for chunk in blocks.keys() & chunks:
                    more.setdefault(chunk, []).extend(blocks[chunk])
        except ObjectNotFound:
            if not left:
                raise
            continue  # another chunk of the segment was committed: what is kept of it has another name now
        for chunk, of_chunk in more.items():
            found.setdefault(chunk, []).extend(of_chunk)
        if not paths:
            break
        read.update(paths)
        folders = groups  # nothing is written to the others
    return found


def _answers_in(blocks: Iterable[bytes]) -> dict[str, Answers]:
    by_request: dict[str, Answers] = {}
    for block in blocks:
        for line in zlib.decompress(block).splitlines():
            request, key, answers = json.loads(line)
            by_request.setdefault(request, {})[key] = [_completion(a) for a in answers]
    return by_request


def read_journal(storage: Storage, *chunks: int) -> dict[str, Answers]:
    """Everything journalled of uncommitted chunks, by request."""
    return _answers_in(block for of_chunk in _blocks_of_chunks(storage, set(chunks)).values() for block in of_chunk)


class EarlierAnswers:
    """What earlier runs journalled, read once for each group of neighbouring chunks and kept, compressed, until its chunk is
    asked for. For chunks that this run has not asked yet: what it journals meanwhile is not seen.
    """

    def __init__(self, storage: Storage, chunks: Collection[int]) -> None:
        """`chunks` are those that were journalled and not committed."""
        self._storage = storage
        self._chunks = set(chunks)
        self._read: Blocks = {}

    def __contains__(self, chunk: object) -> bool:
        return chunk in self._chunks

    def __call__(self, chunk: int) -> dict[str, Answers]:
        """The chunk's answers by request, once."""
        if chunk not in self._chunks:
            return {}
        if chunk not in self._read:
            neighbours = [other for other in self._chunks if group_of(other) == group_of(chunk)]
            self._read = _blocks_of_chunks(self._storage, neighbours)
        self._chunks.discard(chunk)
        return _answers_in(self._read.pop(chunk, ()))


def journalled_chunks(storage: Storage) -> list[int]:
    """The chunks that have journal segments, ascending."""
    return sorted({chunk for entry in storage.list(ASKS) for chunk in chunks_of(entry.path)})


def is_plain(answer: Completion) -> bool:
    """Whether it has a text and counts of tokens, and nothing else."""
    return _rarely(answer) == _DEFAULTS_OF_RARE


def _plain(answer: Completion) -> list[Any]:
    """The fields in order, without the last ones where these have their defaults."""
    fields = list(_always(answer))
    if is_plain(answer):
        return fields
    fields += _rarely(answer)
    if answer.top_k is not None:
        fields[_TOP_K] = [part if isinstance(part, int) else b64encode(part).decode() for part in astuple(answer.top_k)]
    while len(fields) > _FIELDS and _is_default(fields[-1], _DEFAULTS[len(fields) - 1]):
        fields.pop()
    return fields


def _is_default(value: Any, default: Any) -> bool:
    """Whether they are the same, of one type: 0 tokens is another thing than no number of them."""
    return type(value) is type(default) and bool(value == default)


def _completion(fields: list[Any]) -> Completion:
    if len(fields) > _TOP_K and fields[_TOP_K] is not None:
        k, *parts = fields[_TOP_K]
        fields[_TOP_K] = TopK(k, *map(b64decode, parts))
    return Completion(*fields)
