"""From text to what admission needs: exact digest, MinHash bands, the shingles themselves, and the word hashes in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup import normalise, reference
from synth_ray.dedup.columns import binary_column, one_array, runs_in, texts_in
from synth_ray.dedup.datasketch_parameters import banding_of, permutations
from synth_ray.dedup.hashing import DIGEST_SEEDS, U8, U32, U64, Array, band_multipliers, gram_powers
from synth_ray.job.dedup import Dedup

Texts: TypeAlias = "pa.Array | pa.ChunkedArray"

try:
    from synth_ray.dedup import gap_kernels, reading_kernels, sketch_kernels
    from synth_ray.dedup.kernel_types import read_only
except ImportError:  # no numba for this platform: the same values, more slowly
    gap_kernels = reading_kernels = sketch_kernels = None  # type: ignore[assignment]

SHORT_WORDS = 100
SHORT_NGRAM, LONG_NGRAM = 3, 5
COLUMN_BREAK = U32(0)
"""Separates prompt, completion and, in rows that have one, the thought in `ngrams`: no n-gram reaches across it."""

_BLOCK_TEXTS = 2048
_SEEDS = np.array(DIGEST_SEEDS, U64)


def ngram_for(median_words: float) -> int:
    """The n-gram length for texts of this median length. One changed word in a text of 50 leaves 0.80 of its 5-grams, 0.88 of its
    3-grams.

    One number for a whole job: texts cut into n-grams of different lengths are never similar.
    """
    return SHORT_NGRAM if median_words < SHORT_WORDS else LONG_NGRAM


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of N texts.

    `digests` N×2 uint64: identity of the normal form, whatever the length. `bands` N×b uint64, meaningless where a text has no
    shingles. `shingles[offsets[i]:offsets[i+1]]`: distinct uint32 hashes of the n-grams of text i, ascending; none
    below `dedup.min_tokens` words.
    """

    digests: Array
    bands: Array
    shingles: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.digests)

    def take(self, rows: Array) -> Fingerprints:
        """Those of some of the texts, in this order."""
        sizes = np.diff(self.offsets)[rows]
        offsets = reference.offsets_of(sizes)
        at = np.arange(int(offsets[-1])) + np.repeat(self.offsets[rows] - offsets[:-1], sizes)
        return Fingerprints(self.digests[rows], self.bands[rows], self.shingles[at], offsets)


class Fingerprinter:
    """Texts to fingerprints: one text per row, straight from Arrow buffers.

    MinHash after Broder (1997), as datasketch computes it with scheme affine32 from the uint32 shingle hashes: permutations
    and banding are datasketch's own. `compiled=False` takes the numpy path, whose values are the same bit for bit.
    """

    def __init__(self, dedup: Dedup, *, compiled: bool = True) -> None:
        self._section = dedup
        self._ngram = dedup.ngram or LONG_NGRAM
        self._compiled = compiled and reading_kernels is not None
        self._powers = gram_powers(self._ngram)
        self._a, self._b = permutations(dedup.permutations, dedup.seed)
        self._multipliers, self._starts = band_multipliers(*banding_of(dedup))

    def __call__(self, texts: Texts) -> Fingerprints:
        column = one_array(texts, pa.large_string())
        return concatenate([self._block(column[at : at + _BLOCK_TEXTS]) for at in range(0, max(1, len(column)), _BLOCK_TEXTS)])

    def _block(self, texts: pa.Array) -> Fingerprints:
        """One block of texts, small enough that all intermediate arrays stay in the cache."""
        words, ends, digests = self._read(texts)
        shingles, offsets = self._shingles(words, ends)
        return Fingerprints(digests, self._bands(shingles, offsets), shingles, offsets)

    def digests(self, texts: Texts) -> Array:
        """The digests alone."""
        return self._read(one_array(texts, pa.large_string()))[2]

    def fingerprint_rows(self, staged: pa.Table, texts: Texts) -> pa.Table:
        """The staged rows with `digest`, `bands`, `shingles` and `ngrams` filled. `texts` are the compared texts."""
        prints = self(texts)
        banded = np.diff(prints.offsets) > 0
        columns = {
            "digest": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(prints), [None, pa.py_buffer(prints.digests)]),
            "bands": binary_column(prints.bands[banded].reshape(-1), reference.offsets_of(banded * len(self._starts))),
            "shingles": binary_column(prints.shingles, prints.offsets),
            "ngrams": binary_column(*self.word_hashes(staged["prompt"], staged["completion"], thoughts=staged["reasoning"])),
        }
        for name, column in columns.items():
            at = staged.schema.get_field_index(name)
            staged = staged.set_column(at, staged.schema.field(at), column)
        return staged

    def words(self, texts: Texts) -> tuple[Array, Array]:
        """The words of each text in order, as uint32 hashes, and their offsets: any n-gram can be computed from them.

        Without the beginnings of lines in code: what is quoted is found whatever its indentation.
        """
        words, ends, _ = self._read(one_array(texts, pa.large_string()), lines=False)
        return (words >> U64(32)).astype(U32), ends

    def word_hashes(self, *columns: Texts, thoughts: Texts | None = None) -> tuple[Array, Array]:
        """The word hashes of each row's columns, column after column with COLUMN_BREAK between them; behind them those of the
        row's thought, where it has one.
        """
        parts = [self.words(column) for column in columns]
        breaks = np.full(len(columns[0]), len(parts) - 1)
        if thoughts is not None and thoughts.null_count < len(thoughts):
            parts.append(self.words(thoughts))
            breaks = breaks + np.asarray(pc.is_valid(thoughts))
        counts = sum((np.diff(ends) for _, ends in parts), breaks)
        ends = reference.offsets_of(counts)
        out = np.full(int(ends[-1]), COLUMN_BREAK, U32)
        start = ends[:-1].copy()
        for words, own in parts:
            sizes = np.diff(own)
            out[np.arange(len(words)) + np.repeat(start - own[:-1], sizes)] = words
            start += sizes + 1
        return out, ends

    def signatures(self, texts: Texts) -> Array:
        """MinHash signatures, N×permutations: `datasketch.MinHash(scheme="affine32")` of each text's shingle hashes."""
        words, ends, _ = self._read(one_array(texts, pa.large_string()))
        return self._signatures(*self._shingles(words, ends))

    def _read(self, texts: pa.Array, *, lines: bool = True) -> tuple[Array, Array, Array]:
        if not self._compiled:
            return reference.read([text or "" for text in texts.to_pylist()], lines=lines)
        array, raw, offsets = texts_in(texts)
        table = np.empty(0, U32)
        if np.max(raw[offsets[0] : offsets[-1]], initial=0) >= 0x80:
            table = normalise.unicode_table()
            hard = np.zeros(len(array), bool)
            reading_kernels.find_hard(raw, offsets, table, hard)
            if hard.any():
                array = _normalise_hard(array, hard)
                _, raw, offsets = texts_in(array)
        return _read_compiled(raw, offsets, table, lines)

    def _shingles(self, words: Array, ends: Array) -> tuple[Array, Array]:
        min_words = self._section.min_tokens
        if not self._compiled:
            return reference.shingles(words, ends, self._ngram, min_words, self._powers)
        longest = int(np.diff(ends).max(initial=0))
        counts = np.empty((2 << max(1, longest.bit_length())) + 1, np.int64)
        scratch = sketch_kernels.Scratch(np.empty(longest + 1, U32), np.empty(longest + 1, U32), counts)
        grams = sketch_kernels.NgramSpec(self._ngram, min_words, read_only(self._powers))
        out, offsets = np.empty(len(words), U32), np.empty(len(ends), np.int64)
        used = sketch_kernels.shingles(words, ends, grams, scratch, out, offsets)
        return out[:used], offsets

    def _signatures(self, shingles: Array, offsets: Array) -> Array:
        if not self._compiled:
            return reference.signatures(shingles, offsets, self._a, self._b)
        out = np.empty((len(offsets) - 1, self._section.permutations), U32)
        mixed = np.empty(int(np.diff(offsets).max(initial=0)) + 1, U32)
        sketch_kernels.signatures(shingles, offsets, self._a, self._b, out, mixed)
        return out

    def _bands(self, shingles: Array, offsets: Array) -> Array:
        signatures = self._signatures(shingles, offsets)
        if not self._compiled:
            return reference.band_keys(signatures, self._multipliers, self._starts)
        out = np.empty((len(signatures), len(self._starts)), U64)
        sketch_kernels.band_keys(signatures, self._multipliers, self._starts, out)
        return out


def word_counts(ngrams: pa.Array | pa.ChunkedArray) -> tuple[Array, Array]:
    """The number of words of each row's prompt, and of its completion, in `ngrams`; 0 and 0 of a row that has no word hashes."""
    words, ends = runs_in(ngrams, U32)
    middle, end = _ends_of_columns(words, ends)
    return middle - ends[:-1], np.maximum(end - middle - 1, 0)


def without_thoughts(words: Array, ends: Array) -> tuple[Array, Array]:
    """The word hashes of each row's prompt and completion alone: thoughts share stock phrases that say nothing of the rows."""
    _, end = _ends_of_columns(words, ends)
    if np.array_equal(end, ends[1:]):
        return words, ends
    sizes = end - ends[:-1]
    kept = reference.offsets_of(sizes)
    return words[np.arange(int(kept[-1])) + np.repeat(ends[:-1] - kept[:-1], sizes)], kept


def _ends_of_columns(words: Array, ends: Array) -> tuple[Array, Array]:
    """Where the prompt of each row ends, and where its completion does."""
    breaks = np.append(np.flatnonzero(words == COLUMN_BREAK), [len(words)] * 2)
    first = np.searchsorted(breaks[:-1], ends[:-1])
    return np.minimum(breaks[first], ends[1:]), np.minimum(breaks[first + 1], ends[1:])


def concatenate(parts: list[Fingerprints]) -> Fingerprints:
    """The fingerprints of several blocks of texts as one."""
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    digests, bands, shingles = (np.concatenate([getattr(p, name) for p in parts]) for name in ("digests", "bands", "shingles"))
    return Fingerprints(digests, bands, shingles, reference.offsets_of(counts))


def _read_compiled(raw: Array, offsets: Array, table: Array, lines: bool) -> tuple[Array, Array, Array]:
    size = int(offsets[-1] - offsets[0])
    longest = int(np.diff(offsets).max(initial=0))
    chunks = np.empty(longest // 4 + 8, U64)
    # Every character may be a word, and has two edges.
    spans = gap_kernels.Spans(np.empty(2 * longest + 8, U32), np.zeros(gap_kernels.COUNTERS, np.int64))
    edges = np.empty(2 * longest + 8, U32)
    scratch = reading_kernels.Scratch(chunks, chunks.view(U8), np.empty(longest + 4, U8), edges, spans)
    hashes = np.empty(size + len(offsets), U64)
    out = reading_kernels.Words(hashes, np.empty(len(offsets), np.int64), np.empty((len(offsets) - 1, 2), U64))
    used = reading_kernels.read(raw, offsets, table, _SEEDS, lines, scratch, out)
    return hashes[:used], out.ends, out.digests


def _normalise_hard(texts: pa.Array, hard: Array) -> pa.Array:
    mask = pa.array(hard)
    folded = [normalise.fold(text) for text in texts.filter(mask).to_pylist()]
    return pc.replace_with_mask(texts, mask, pa.array(folded, texts.type))
