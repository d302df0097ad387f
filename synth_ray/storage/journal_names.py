"""Names of the ask journal's segments, which tell the chunks of each: known to whoever writes, reads or removes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ASKS = "_synth/asks/"
GROUP = 128
"""Neighbouring chunks whose answers share segments: about as many as a large run has in flight."""


def group_of(chunk: int) -> int:
    return chunk // GROUP


def folder_of(group: int) -> str:
    """Where the segments of a group are; the name says the first and the last chunk."""
    return f"{ASKS}{group * GROUP:08d}-{group * GROUP + GROUP - 1:08d}/"


def old_folder_of(chunk: int) -> str:
    """Where earlier versions kept the segments of one chunk."""
    return f"{ASKS}{chunk:08d}/"


def segment_path(chunks: Iterable[int], content: str) -> str:
    """The path of a segment with answers of these chunks of one group. `content` tells it from others of the same chunks."""
    chunks = list(chunks)
    group = group_of(chunks[0])
    mask = sum(1 << (chunk - group * GROUP) for chunk in chunks)
    return f"{folder_of(group)}{mask:0{GROUP // 4}x}-{content}.z"


def is_old(path: str) -> bool:
    """Whether an earlier version wrote the segment: of one chunk, and without an index."""
    return path.endswith(".jsonl.z")


def chunks_of(path: str) -> set[int]:
    """The chunks that the segment has answers of."""
    folder, _, name = path.removeprefix(ASKS).partition("/")
    first, _, last = folder.partition("-")
    if not last:
        return {int(first)}
    return set(_bits(int(name.partition("-")[0], 16), int(first)))


def _bits(mask: int, first: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield first + low.bit_length() - 1
        mask ^= low
