"""Records brought to rest: found, replaced, and read again until nothing is found, so that scrubbing twice changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from re import Pattern
from typing import Any

from synth_ray.scrub.findings import Finder, Finding, ScrubFailed, Span, spans_of
from synth_ray.scrub.replace.clean_texts import Clean
from synth_ray.scrub.replace.leaves import Leaf, leaves
from synth_ray.scrub.replace.rendering import Make, Rendered, outside, rendered

ROUNDS = 8
_NOTHING: tuple[list[Finding]] = ([],)
Choose = Callable[[str, list[Finding]], list[Finding]]


@dataclass(slots=True)
class Record:
    """One value on its way: its distinct strings with their spans, what they became, or why it failed."""

    value: Any
    spans: dict[Leaf, list[Span]]
    became: dict[Leaf, Rendered] = field(default_factory=dict)
    failed: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Findings by entity. A string that stands in several places of a record counts once."""
        total: dict[str, int] = {}
        for spans in self.spans.values():
            for span in spans:
                total[span.entity] = total.get(span.entity, 0) + 1
        return dict(sorted(total.items()))


class Settler:
    """Scrubs records together, so that a model can read their texts in batches.

    Law: what it gives back is at rest: the same finders find nothing in it. A record that errs, takes longer than
    `timeout_s`, or is not at rest after eight rounds has `failed` set and must lose its text.
    """

    def __init__(
        self,
        *,
        finders: Sequence[Finder],
        models: Sequence[Finder] = (),
        choose: Choose,
        make: Make | None,
        kept: Sequence[Pattern[str]] = (),
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._finders = finders
        self._models = models
        self._clean = Clean()
        self._choose = choose
        self._make = make
        self._kept = kept
        self._timeout_s = timeout_s
        self._clock = clock

    def settle(self, values: Sequence[Any]) -> list[Record]:
        records = [self._record(value) for value in values]
        open_ = [(record, list(record.spans)) for record in records if not record.failed]
        for _ in range(ROUNDS):
            open_ = self._round(open_)
            if not open_:
                return records
        for record, _ in open_:
            record.failed = "it is not at rest after as many rounds as are tried"
        return records

    def _record(self, value: Any) -> Record:
        try:
            return Record(value, {leaf: [] for leaf in leaves(value) if leaf.text})
        except RecursionError:
            return Record(None, {}, failed="it is nested too deep")

    def _round(self, open_: list[tuple[Record, list[Leaf]]]) -> list[tuple[Record, list[Leaf]]]:
        """Read the open texts once; give back those that changed."""
        read = self._read_by_models(open_)
        changed = []
        for (record, some), more in zip(open_, read, strict=True):
            if record.failed:
                continue
            found = self._read(record, some, more)
            if found and self._make is not None and not record.failed:
                self._render(record)
                changed.append((record, found))
        return changed

    def _read(self, record: Record, some: list[Leaf], more: Sequence[list[Finding]]) -> list[Leaf]:
        until = self._clock() + self._timeout_s
        found = []
        try:
            for leaf, named in zip(some, more, strict=True):
                findings = self._found(_cued(leaf, record), until)
                if (findings or named) and self._add(record, leaf, findings + named):
                    found.append(leaf)
                if self._clock() > until:
                    raise TimeoutError
        except Exception as error:
            record.failed = _kind(error)
        return found

    def _found(self, text: str, until: float) -> list[Finding]:
        if self._clean.has(text):
            return []
        found = [f for finder in self._finders for f in finder.find([text], until=until)[0]]
        if not found:
            self._clean.add(text)
        return found

    def _read_by_models(self, open_: list[tuple[Record, list[Leaf]]]) -> Sequence[Sequence[list[Finding]]]:
        """The models' findings per record and text. A batch that errs is read again record by record."""
        if not self._models:
            return [_NOTHING * len(some) for _, some in open_]
        texts = [_cued(leaf, record) for record, some in open_ for leaf in some]
        try:
            found = iter(self._named(texts, self._clock() + self._timeout_s * max(1, len(open_))))
            return [[next(found) for _ in some] for _, some in open_]
        except Exception:
            return [self._named_alone(record, some) for record, some in open_]

    def _named(self, texts: list[str], until: float) -> list[list[Finding]]:
        each = [model.find(texts, until=until) for model in self._models]
        return [[f for findings in per_model for f in findings] for per_model in zip(*each, strict=True)]

    def _named_alone(self, record: Record, some: list[Leaf]) -> list[list[Finding]]:
        try:
            return self._named([_cued(leaf, record) for leaf in some], self._clock() + self._timeout_s)
        except Exception as error:
            record.failed = _kind(error)
            return [[] for _ in some]

    def _add(self, record: Record, leaf: Leaf, findings: list[Finding]) -> bool:
        """Add findings in the text as it is now to the spans of the text as it was. True if there was a new one."""
        now = record.became.get(leaf)
        text = now.text if now else leaf.text
        shift = len(_cued(leaf, record)) - len(text)
        here = [Finding(f.entity, max(f.start - shift, 0), f.end - shift, f.score) for f in findings if f.end > shift]
        here = outside(text, self._choose(text, here), self._kept)
        if not here:
            return False
        back = [Finding(f.entity, *(now.origin(f.start, f.end) if now else (f.start, f.end)), f.score) for f in here]
        old = [Finding(s.entity, s.start, s.end, 1.0) for s in record.spans[leaf]]
        record.spans[leaf] = spans_of(old + back)
        return True

    def _render(self, record: Record) -> None:
        assert self._make is not None
        replacer = self._make([leaf.text for leaf in record.spans])
        for leaf, spans in record.spans.items():
            if spans:
                record.became[leaf] = rendered(leaf.text, spans, replacer)


def _cued(leaf: Leaf, record: Record) -> str:
    now = record.became.get(leaf)
    text = now.text if now else leaf.text
    return f"{leaf.cue}: {text}" if leaf.cue else text


def _kind(error: Exception) -> str:
    """What went wrong without its message, which may hold a value."""
    if isinstance(error, ScrubFailed):
        return str(error)
    return "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__} while it was read"
