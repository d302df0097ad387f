"""Find and replace until a pass finds nothing (at most 8 rounds), so that scrubbing is idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from re import Pattern
from typing import Any

from synth_ray.scrub.findings import Finder, Finding, QuickFinder, ScrubFailed, Span, spans_of
from synth_ray.scrub.replace.clean_texts import CleanTextCache
from synth_ray.scrub.replace.leaves import Leaf, leaves_of
from synth_ray.scrub.replace.rendering import Rendered, ReplacerFactory, drop_protected, replace_spans

MAX_ROUNDS = 8
_NOTHING: tuple[list[Finding]] = ([],)
FindingFilter = Callable[[str, list[Finding]], list[Finding]]


@dataclass(slots=True)
class ScrubState:
    """One value while it is scrubbed: its distinct strings with their spans, their replacements, or why it failed."""

    value: Any
    spans: dict[Leaf, list[Span]]
    replaced: dict[Leaf, Rendered] = field(default_factory=dict)
    failed: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Findings by entity. A string that occurs several times in a record counts once."""
        total: dict[str, int] = {}
        for spans in self.spans.values():
            for span in spans:
                total[span.entity] = total.get(span.entity, 0) + 1
        return dict(sorted(total.items()))


class FixpointScrubber:
    """Scrubs records together, so that a model can read their texts in batches.

    Law: the same finders find nothing in its result. A record that raises an error, takes longer than `timeout_s` seconds, or
    still has findings after 8 rounds has `failed` set, and its text must be dropped.
    """

    def __init__(
        self,
        *,
        finders: Sequence[QuickFinder],
        models: Sequence[Finder] = (),
        filter_findings: FindingFilter,
        make_replacer: ReplacerFactory | None,
        protected: Sequence[Pattern[str]] = (),
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._finders = finders
        self._models = models
        self._clean_texts = CleanTextCache()
        self._filter_findings = filter_findings
        self._make_replacer = make_replacer
        self._protected = protected
        self._timeout_s = timeout_s
        self._clock = clock

    def without_findings(self, texts: Sequence[str]) -> list[bool]:
        """Of each text (with its key words), whether it is known without a scan of its own that nothing is found in it."""
        if self._models:
            return [False] * len(texts)
        nothing = [not text or self._clean_texts.has(text) for text in texts]
        unknown = [place for place, known in enumerate(nothing) if not known]
        looks = [finder.without_findings([texts[place] for place in unknown]) for finder in self._finders]
        for place, *known in zip(unknown, *looks, strict=True):
            nothing[place] = all(known)
        return nothing

    def scrub_all(self, values: Sequence[Any]) -> list[ScrubState]:
        records = [self._new_state(value) for value in values]
        pending = [(record, list(record.spans)) for record in records if not record.failed]
        for _ in range(MAX_ROUNDS):
            pending = self._round(pending)
            if not pending:
                return records
        for record, _ in pending:
            record.failed = f"findings remained after {MAX_ROUNDS} rounds"
        return records

    def _new_state(self, value: Any) -> ScrubState:
        try:
            return ScrubState(value, {leaf: [] for leaf in leaves_of(value) if leaf.text})
        except RecursionError:
            return ScrubState(None, {}, failed="values nested too deep")

    def _round(self, pending: list[tuple[ScrubState, list[Leaf]]]) -> list[tuple[ScrubState, list[Leaf]]]:
        """Scan the open texts once and return those that changed."""
        model_findings = self._find_by_models(pending)
        changed = []
        for (record, leaves), findings in zip(pending, model_findings, strict=True):
            if record.failed:
                continue
            changed_leaves = self._find_in_record(record, leaves, findings)
            if changed_leaves and self._make_replacer is not None and not record.failed:
                self._render(record)
                changed.append((record, changed_leaves))
        return changed

    def _find_in_record(self, record: ScrubState, leaves: list[Leaf], model_findings: Sequence[list[Finding]]) -> list[Leaf]:
        deadline = self._clock() + self._timeout_s
        changed = []
        try:
            for leaf, named in zip(leaves, model_findings, strict=True):
                findings = self._pattern_findings(_with_key_words(leaf, record), deadline)
                if (findings or named) and self._add_findings(record, leaf, findings + named):
                    changed.append(leaf)
                if self._clock() > deadline:
                    raise TimeoutError
        except Exception as error:
            record.failed = _failure_text(error)
        return changed

    def _pattern_findings(self, text: str, deadline: float) -> list[Finding]:
        if self._clean_texts.has(text):
            return []
        findings = [f for finder in self._finders for f in finder.find([text], deadline=deadline)[0]]
        if not findings:
            self._clean_texts.add(text)
        return findings

    def _find_by_models(self, pending: list[tuple[ScrubState, list[Leaf]]]) -> Sequence[Sequence[list[Finding]]]:
        """The models' findings per record and text. If a batch fails, its records are read one by one, so that only the faulty
        one fails.
        """
        if not self._models:
            return [_NOTHING * len(leaves) for _, leaves in pending]
        texts = [_with_key_words(leaf, record) for record, leaves in pending for leaf in leaves]
        try:
            findings = iter(self._model_findings(texts, self._clock() + self._timeout_s * max(1, len(pending))))
            return [[next(findings) for _ in leaves] for _, leaves in pending]
        except Exception:
            return [self._model_findings_one_by_one(record, leaves) for record, leaves in pending]

    def _model_findings(self, texts: list[str], deadline: float) -> list[list[Finding]]:
        by_model = [model.find(texts, deadline=deadline) for model in self._models]
        return [[f for findings in per_model for f in findings] for per_model in zip(*by_model, strict=True)]

    def _model_findings_one_by_one(self, record: ScrubState, leaves: list[Leaf]) -> list[list[Finding]]:
        try:
            return self._model_findings([_with_key_words(leaf, record) for leaf in leaves], self._clock() + self._timeout_s)
        except Exception as error:
            record.failed = _failure_text(error)
            return [[] for _ in leaves]

    def _add_findings(self, record: ScrubState, leaf: Leaf, findings: list[Finding]) -> bool:
        """Map findings in the replaced text back to the original text and merge them into its spans. True if there were any."""
        rendered = record.replaced.get(leaf)
        text = rendered.text if rendered else leaf.text
        shift = len(_with_key_words(leaf, record)) - len(text)
        current = [Finding(f.entity, max(f.start - shift, 0), f.end - shift, f.score) for f in findings if f.end > shift]
        current = drop_protected(text, self._filter_findings(text, current), self._protected)
        if not current:
            return False
        mapped = [
            Finding(f.entity, *(rendered.origin(f.start, f.end) if rendered else (f.start, f.end)), f.score) for f in current
        ]
        previous = [Finding(s.entity, s.start, s.end, 1.0) for s in record.spans[leaf]]
        record.spans[leaf] = spans_of(previous + mapped)
        return True

    def _render(self, record: ScrubState) -> None:
        assert self._make_replacer is not None
        replacer = self._make_replacer([leaf.text for leaf in record.spans])
        for leaf, spans in record.spans.items():
            if spans:
                record.replaced[leaf] = replace_spans(leaf.text, spans, replacer)


def _with_key_words(leaf: Leaf, record: ScrubState) -> str:
    rendered = record.replaced.get(leaf)
    text = rendered.text if rendered else leaf.text
    return leaf.with_key_words(text)


def _failure_text(error: Exception) -> str:
    """What failed, without the error's message, which may contain a value."""
    if isinstance(error, ScrubFailed):
        return str(error)
    return "time ran out" if isinstance(error, TimeoutError) else type(error).__name__
