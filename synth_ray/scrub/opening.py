"""From a job's section to finders that have proved themselves, or a clear error before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from re import Pattern

from synth_ray.errors import JobError
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.findings import Finder, Finding
from synth_ray.scrub.placeholders import PLACEHOLDER, Placeholders
from synth_ray.scrub.settle import Settler


class StockFinder:
    """Stock Presidio as it is, for the entities asked for."""

    def __init__(self, wanted: Sequence[str]) -> None:
        from synth_ray.scrub import stock

        self._analyzer = stock.analyzer()
        self._wanted = list(wanted)
        self.entities = frozenset(self._analyzer.get_supported_entities(stock.LANGUAGE))

    def find(self, texts: Sequence[str], *, until: float) -> list[list[Finding]]:
        return [
            [Finding(r.entity_type, r.start, r.end, r.score) for r in self._analyzer.analyze(text, "en", self._wanted)]
            for text in texts
        ]


def opened(section: Scrub) -> Settler:
    finder: Finder = StockFinder(section.wanted())
    missing = sorted(set(section.wanted()) - finder.entities)
    if missing:
        raise JobError(f"scrub.entities: wanted entities that engine '{section.engine}' finds, got {', '.join(missing)}")
    kept: list[Pattern[str]] = [PLACEHOLDER]
    return Settler(
        finders=[finder],
        choose=lambda text, found: [f for f in found if f.score >= section.thresholds.get(f.entity, section.threshold)],
        make=None if section.replace == "nothing" else Placeholders,
        kept=kept,
        timeout_s=section.record_timeout_s,
    )
