"""From text to what admission needs: exact digest, MinHash bands, the shingles themselves, and long n-grams."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup import kernels
from synth_ray.dedup.kernels import U32, U64
from synth_ray.job.dedup import Decontaminate, Dedup

_SEPARATOR = "\n"
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_NOT_WORD = re.compile(r"[^\w\s]|_", re.UNICODE)


def compared_text(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """The compared columns of each row as one text. A name that is no column is a field of the row."""
    columns = [table[name] if name in ("prompt", "completion") else _field(table, name) for name in names]
    return pc.binary_join_element_wise(*columns, _SEPARATOR) if len(columns) > 1 else columns[0]


def _field(table: pa.Table, name: str) -> pa.Array:
    rows = (json.loads(text) if text else {} for text in table["fields"].to_pylist())
    return pa.array([str(row.get(name, "")) for row in rows], pa.string())


def normalised(text: str) -> str:
    """NFC, case folded, punctuation to spaces; scripts written without spaces become one word per character."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return _UNSPACED.sub(r" \1 ", _NOT_WORD.sub(" ", folded))


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of N texts. `bands` is N×b uint64; `shingles[offsets[i]:offsets[i+1]]` are the distinct uint32 hashes of text i."""

    words: np.ndarray
    digests: list[bytes]
    bands: np.ndarray
    shingles: np.ndarray
    offsets: np.ndarray


class Fingerprinter:
    """Texts to fingerprints. MinHash after Broder (1997), as datasketch 2 computes it with scheme affine32."""

    def __init__(self, dedup: Dedup, decontaminate: Decontaminate | None = None) -> None:
        from datasketch import MinHash

        self._section = dedup
        self._long = decontaminate.ngram if decontaminate is not None else 0
        a, b = MinHash(num_perm=dedup.permutations, seed=dedup.seed).permutations
        self._a, self._b = np.ascontiguousarray(a, U32), np.ascontiguousarray(b, U32)
        draw = np.random.RandomState(3)
        shape = (dedup.bands, dedup.rows_per_band)
        high = draw.randint(0, 2**32, shape, dtype=np.uint64) << U64(32)
        self._multipliers = (high | draw.randint(0, 2**32, shape, dtype=np.uint64)) | U64(1)
        self._start = draw.randint(0, 2**63, dedup.bands, dtype=np.uint64)

    def __call__(self, texts: pa.Array | pa.ChunkedArray) -> Fingerprints:
        hashes, offsets = self._words(texts)
        counts = np.diff(offsets)
        section = self._section
        lengths = np.where(counts < section.short_words, section.short_ngram, section.ngram)
        found, found_offsets = _shingled(hashes, offsets, lengths.astype(np.int64))
        signature = np.empty((len(counts), section.permutations), U32)
        longest = int(np.diff(found_offsets).max(initial=0))
        kernels.signatures(found, found_offsets, self._a, self._b, signature, np.empty(longest + 1, U32))
        bands = np.empty((len(counts), section.bands), U64)
        kernels.band_keys(signature, self._multipliers, self._start, bands)
        kept, kept_offsets = _distinct((found >> U64(32)).astype(U32), found_offsets)
        return Fingerprints(counts, _digests(hashes, offsets), bands, kept, kept_offsets)

    def ngrams(self, texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Distinct hashes of the long n-grams that decontamination compares; texts with fewer words have none."""
        hashes, offsets = self._words(texts)
        lengths = np.full(len(offsets) - 1, self._long, np.int64)
        found, found_offsets = _shingled(hashes, offsets, lengths)
        long_enough = np.diff(offsets) >= self._long
        keep = np.repeat(long_enough, np.diff(found_offsets))
        return _distinct(found[keep], np.concatenate(([0], np.cumsum(np.diff(found_offsets) * long_enough))))

    def table(self, staged: pa.Table, texts: pa.Array | pa.ChunkedArray) -> pa.Table:
        """The staged rows with `digest`, `bands`, `shingles` and `ngrams` filled."""
        prints = self(texts)
        columns: dict[str, list[Any]] = {
            "digest": prints.digests,
            # A row too short for near-duplicates has no bands: it meets others only by its digest.
            "bands": [
                row.tobytes() if words >= self._section.min_tokens else b""
                for row, words in zip(prints.bands, prints.words, strict=True)
            ],
            "shingles": _packed(prints.shingles, prints.offsets),
            "ngrams": _packed(*self.ngrams(texts)) if self._long else [b""] * staged.num_rows,
        }
        for name, values in columns.items():
            field = staged.schema.field(name)
            staged = staged.set_column(staged.schema.get_field_index(name), field, pa.array(values, field.type))
        return staged

    def _words(self, texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        data, offsets = _buffers(_folded(texts))
        hashes = np.empty(len(data) // 2 + len(offsets) + 1, U64)
        out = np.empty(len(offsets), np.int64)
        count = kernels.words(data, offsets, kernels.LETTERS, kernels.P, hashes, out)
        return hashes[:count], out


def _folded(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The texts, normalised where they are not ASCII; ASCII is folded by the kernel itself."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if isinstance(texts, pa.ChunkedArray):  # no chunk at all
        texts = pa.array([], pa.string())
    if pc.all(pc.string_is_ascii(texts)).as_py() is not False:
        return texts.cast(pa.large_string())
    return pa.array([normalised(text) for text in texts.to_pylist()], pa.large_string())


def _buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes and offsets of a large_string array, without a copy."""
    _, offsets, data = texts.buffers()
    first = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1] if offsets else np.zeros(1, np.int64)
    whole = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    # A writeable view is another type to numba, and a second compilation: all arrays are handed over alike.
    return whole[: first[-1]].copy() if not whole.flags.writeable else whole, first.copy()


def _shingled(hashes: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out = np.empty(len(hashes) + len(offsets), U64)
    out_offsets = np.empty(len(offsets), np.int64)
    q = kernels.powers_of_q(int(lengths.max(initial=1)))
    count = kernels.shingles(hashes, offsets, lengths, q, out, out_offsets)
    return out[:count], out_offsets


def _distinct(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each text's values ascending and once."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((values, owner))
    values, owner = values[order], owner[order]
    new = np.ones(len(values), bool)
    new[1:] = (values[1:] != values[:-1]) | (owner[1:] != owner[:-1])
    counts = np.bincount(owner[new], minlength=len(offsets) - 1)
    return values[new], np.concatenate(([0], np.cumsum(counts)))


def _digests(hashes: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """Of the normalised words in order: case, punctuation and spacing do not tell rows apart."""
    data, size = hashes.tobytes(), hashes.itemsize
    return [
        blake2b(data[size * a : size * b], digest_size=16).digest()
        for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]


def _packed(values: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    data, size = values.tobytes(), values.itemsize
    return [data[size * a : size * b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
