"""Names, places and other entities that only a model finds: a local spaCy, GLiNER or token-classification model, in batches.

Law: the model is on this machine or the job stops; nothing is downloaded. A text longer than the model's limit is read in
overlapping windows, so that all of it is read. Errors are raised: Presidio's own recognizer for such models returns no findings
instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import seconds_left

ENTITIES = {
    "PER": "PERSON",
    "PERSON": "PERSON",
    "NAME": "PERSON",
    "LOC": "LOCATION",
    "GPE": "LOCATION",
    "FAC": "LOCATION",
    "LOCATION": "LOCATION",
    "ADDRESS": "LOCATION",
    "ORG": "ORGANIZATION",
    "ORGANIZATION": "ORGANIZATION",
    "NORP": "NRP",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
}
"""Entities of common model labels. `scrub.labels` adds to these and takes precedence."""


class Mention(NamedTuple):
    """The model gave this label to characters [start, end) of a text."""

    label: str
    start: int
    end: int
    score: float


ReadMentions = Callable[[Sequence[str]], list[list[Mention]]]


class NameModel(NamedTuple):
    """A loaded model: its labels, its limit of characters per text, and its function from texts to mentions."""

    labels: frozenset[str]
    max_chars: int
    read: ReadMentions


class NameFinder:
    """A `Finder` over a loaded model. It reports only the wanted entities."""

    def __init__(self, model: NameModel, *, labels: Mapping[str, str], wanted: Sequence[str], batch_texts: int) -> None:
        self._model = model
        self._batch_texts = batch_texts
        entity_of_label = ENTITIES | {label.upper(): entity for label, entity in labels.items()}
        self._entity = {label: entity_of_label.get(label.upper(), label.upper().replace(" ", "_")) for label in model.labels}
        self.entities = frozenset(self._entity.values())
        self._wanted = frozenset(wanted) & self.entities

    def find(self, texts: Sequence[str], *, deadline: float) -> list[list[Finding]]:
        findings_of: list[list[Finding]] = [[] for _ in texts]
        pieces = [(i, *piece) for i, text in enumerate(texts) for piece in windows(text, self._model.max_chars)]
        pieces.sort(key=lambda piece: len(piece[2]))
        for first in range(0, len(pieces), self._batch_texts):
            seconds_left(deadline)
            batch = pieces[first : first + self._batch_texts]
            for (i, shift, _), mentions in zip(batch, self._model.read([text for _, _, text in batch]), strict=True):
                findings_of[i] += self._findings(mentions, shift)
        return [sorted(set(findings), key=lambda f: (f.start, f.end, f.entity, -f.score)) for findings in findings_of]

    def _findings(self, mentions: Sequence[Mention], shift: int) -> Iterator[Finding]:
        for label, start, end, score in mentions:
            entity = self._entity.get(label)
            if entity in self._wanted and start < end:
                yield Finding(entity, shift + start, shift + end, score)


OVERLAP = 100
"""Characters that two adjacent windows share, so that a name at the border is whole in one of them."""


def windows(text: str, max_chars: int) -> Iterator[tuple[int, str]]:
    """(offset, piece) of overlapping pieces of at most `max_chars` characters, cut at a space where there is one."""
    start = 0
    while len(text) - start > max_chars:
        cut = text.rfind(" ", start + max_chars // 2, start + max_chars)
        end = cut if cut > 0 else start + max_chars
        yield start, text[start:end]
        start = max(end - OVERLAP, start + 1)
    if start < len(text) or not text:
        yield start, text[start:]
