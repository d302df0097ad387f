"""The memory of admission as bytes: records, one after another, that are whole or do not count.

A record is a line of JSON (what it is, and the type and shape of each array), the arrays, and a digest of both. The header pins
every parameter: fingerprints made with others are not comparable, and are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from synth_ray.dedup.datasketch_parameters import SCHEME, banding_of
from synth_ray.dedup.fingerprint import LONG_NGRAM
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.normalise import VERSION
from synth_ray.errors import JobError
from synth_ray.job.dedup import Dedup
from synth_ray.records import digest

FORMAT = 4
_DIGEST_BYTES = 16
_PIECE = 1 << 24
_ALIGNED = 16

Header = Mapping[str, Any]


class Sink(Protocol):
    def write(self, data: Any, /) -> int: ...


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def header_of(dedup: Dedup, compares: tuple[str, ...], mask: tuple[str, ...]) -> dict[str, Any]:
    """Everything two fingerprints must have in common to be comparable."""
    return {
        "format": FORMAT,
        "normaliser": VERSION,
        "compares": list(compares),
        "mask": digest("mask", sorted(mask)),
        "ngram": dedup.ngram or LONG_NGRAM,
        "min_tokens": dedup.min_tokens,
        "scheme": SCHEME,
        "permutations": dedup.permutations,
        "seed": dedup.seed,
        **banding_of(dedup)._asdict(),
    }


def refuse_mismatch(got: Header, expected: Header, *, where: str) -> None:
    """Raises JobError that names every parameter that differs."""
    differ = [f"{k}: {got.get(k)!r} there, {expected[k]!r} here" for k in expected if got.get(k) != expected[k]]
    if differ:
        raise JobError(
            f"dedup.against: {where}: wanted an index made with this job's parameters, got another ({'; '.join(differ)}); set "
            "dedup to what that run had, or leave it out"
        )


def write(sink: Sink, header: Header, arrays: Mapping[str, Array]) -> None:
    """Append one record."""
    arrays = dict(sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])))  # so that each is aligned, see `whole`
    shapes = {name: [a.dtype.str, list(a.shape)] for name, a in arrays.items()}
    text = f'{{"arrays": {json.dumps(shapes)}, "header": {json.dumps(dict(header), sort_keys=True)}}}'.encode()
    line = text + b" " * (-(len(text) + 1) % _ALIGNED) + b"\n"
    seal = blake2b(line, digest_size=_DIGEST_BYTES)
    sink.write(len(line).to_bytes(8, "little") + line)
    for array in arrays.values():
        data: Any = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        for at in range(0, len(data), _PIECE):
            seal.update(data[at : at + _PIECE])
            sink.write(data[at : at + _PIECE])
    sink.write(seal.digest())


def header(source: Source) -> Header | None:
    """The header of the next record, without reading the rest; None where there is none."""
    size = int.from_bytes(source.read(8), "little")
    line = source.read(size) if 0 < size <= 1 << 20 else b""
    try:
        record: Header = json.loads(line)["header"]
    except ValueError:
        return None
    return record


def read(source: Source) -> tuple[Header, dict[str, Array]] | None:
    """The next record; None at the end, and where a truncated or changed record begins."""
    size = int.from_bytes(source.read(8), "little")
    line = source.read(size) if 0 < size <= 1 << 20 else b""
    if len(line) != size or not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    seal, arrays = blake2b(line, digest_size=_DIGEST_BYTES), {}
    for name, (kind, shape) in record["arrays"].items():
        data = _exactly(source, np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64)))
        if data is None:
            return None
        seal.update(data)
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return (record["header"], arrays) if source.read(_DIGEST_BYTES) == seal.digest() else None


def whole(data: bytes) -> tuple[Header, dict[str, Array]] | None:
    """The one record of these bytes, with its arrays where they lie; None where it is truncated or changed."""
    size = int.from_bytes(data[:8], "little")
    try:
        record = json.loads(data[8 : 8 + size])
        kinds = {name: (np.dtype(kind), shape) for name, (kind, shape) in record["arrays"].items()}
    except (ValueError, KeyError, TypeError):
        return None
    at, arrays = 8 + size, {}
    if len(data) != at + _DIGEST_BYTES + sum(kind.itemsize * int(np.prod(shape)) for kind, shape in kinds.values()):
        return None
    if blake2b(memoryview(data)[8:-_DIGEST_BYTES], digest_size=_DIGEST_BYTES).digest() != data[-_DIGEST_BYTES:]:
        return None
    for name, (kind, shape) in kinds.items():
        arrays[name] = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        at += arrays[name].nbytes
    return record["header"], arrays


def _exactly(source: Source, size: int) -> bytearray | None:
    data = bytearray()
    while len(data) < size:
        piece = source.read(min(_PIECE, size - len(data)))
        if not piece:
            return None
        data += piece
    return data


def records(source: Source) -> Iterator[tuple[Header, dict[str, Array]]]:
    """A log's records, up to the first that is truncated by a crash."""
    while (record := read(source)) is not None:
        yield record
