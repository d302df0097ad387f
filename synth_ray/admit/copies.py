"""Finds rows that repeat a real record instead of standing in for one, and canaries that leaked into the teacher's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.normal_form import OPERATORS, words
from synth_ray.job.dedup import Decontaminate
from synth_ray.recipes.contract import Shield
from synth_ray.records import Origin, digest, fields_of

HashWords = Callable[[pa.Array], tuple[Any, Any]]

_COVERAGE_NGRAM = 8
_CANARY_NGRAM = 5  # consecutive words of a canary: no other text has them


class CopyDetector:
    """The real records of a run, in memory at 16 bytes per word.

    Law: a row is a copy when it equals a rare record, or when one of its texts equals a rare text, shares `longest_run`
    consecutive words with one, or covers a share `coverage` of one with its 8-grams. Rare: in fewer than `rarer_than` records,
    since what many records say identifies nobody. Case, spacing and punctuation do not count.

    `records` must be scrubbed as the rows are. `canary_suffixes` are the endings of the planted canaries.
    """

    KEEPS = ("counts", "canaries")

    def __init__(
        self, records: Iterable[Mapping[str, Any]], shield: Shield, hash_words: HashWords, *, canary_suffixes: Sequence[str] = ()
    ) -> None:
        self._shield, self._hash_words = shield, hash_words
        known, texts = Counter[str](), Counter[str]()
        for record in records:
            known[_identity(record, shield.kinds)] += 1
            texts.update({_plain(record.get(name)) for name in shield.texts} - {""})
        self._rare = {name for name, n in known.items() if n < shield.rarer_than}
        section = Decontaminate(ngram=shield.longest_run, coverage_ngram=_COVERAGE_NGRAM, coverage=shield.coverage)
        self._texts = _texts([text for text, n in texts.items() if n < shield.rarer_than], section, hash_words)
        self._canary_suffixes = {
            suffix: _texts([suffix], Decontaminate(ngram=_CANARY_NGRAM, coverage=1.0), hash_words) for suffix in canary_suffixes
        }
        self.counts: Counter[str] = Counter()
        self.canaries: set[str] = set()

    @property
    def planted(self) -> int:
        """The number of planted canaries."""
        return len(self._canary_suffixes)

    def find_copies(self, staged: pa.Table) -> dict[int, str]:
        """Copies in a chunk: row index to what it repeats (record, text or canary), or `thought` where only that quotes a text.
        Real rows are never copies.
        """
        staged_fields = zip(fields_of(staged), staged["origin"].to_pylist(), strict=True)
        rows = {row: fields for row, (fields, origin) in enumerate(staged_fields) if origin == Origin.SYNTHETIC.value}
        copies = {row: "record" for row, fields in rows.items() if _identity(fields, self._shield.kinds) in self._rare}
        copies |= self._quoted({row: [fields.get(name) for name in self._shield.texts] for row, fields in rows.items()}, "text")
        thoughts = staged["reasoning"].to_pylist()
        copies = self._quoted({row: [thoughts[row]] for row in rows if thoughts[row]}, "thought") | copies
        self.counts.update(copies.values())
        return copies

    def _quoted(self, texts: Mapping[int, Sequence[Any]], kind: str) -> dict[int, str]:
        """Rows by index that quote a record, which is `kind`, or a canary. `texts` are those of each row."""
        owners = [row for row, own in texts.items() for _ in own]
        if not owners:
            return {}
        column = pa.array([str(text or "") for own in texts.values() for text in own], pa.large_string())
        word_hashes = self._hash_words(column)
        copies = {owners[index]: kind for index in np.flatnonzero(self._texts.overlapping_rows(*word_hashes)).tolist()}
        for suffix, planted in self._canary_suffixes.items():
            leaked = {owners[index]: "canary" for index in np.flatnonzero(planted.overlapping_rows(*word_hashes)).tolist()}
            self.canaries |= {suffix} if leaked else set()
            copies |= leaked
        return copies


def _texts(texts: Sequence[str], section: Decontaminate, hash_words: HashWords) -> QuotedTexts:
    return QuotedTexts(*hash_words(pa.array(list(texts), pa.large_string())), section)


def _identity(record: Mapping[str, Any], names: Iterable[str]) -> str:
    return digest("record", [_plain(record.get(name)) for name in names])


def _plain(value: Any) -> str:
    """The value without case, spacing, punctuation and operators: 2024-05-06 is 2024/05/06."""
    return " ".join(word for word in words(value) if word not in OPERATORS) if isinstance(value, str) else str(value)
