"""The scrubber: replaces personal data and secrets in values and staged tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from synth_ray.job.scrub import Scrub
from synth_ray.records import Reason
from synth_ray.scrub.findings import ScrubFailed
from synth_ray.scrub.replace.fixpoint import FixpointScrubber, ScrubState
from synth_ray.scrub.replace.leaves import Leaf, Path, rebuild
from synth_ray.scrub.replace.rendering import Edit
from synth_ray.scrub.sifting import rows_to_scan
from synth_ray.scrub.staged import scrubbed_table


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A scrubbed value, its findings by entity, and its edits. `reason` is set if the row must be rejected."""

    value: Any
    counts: dict[str, int] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    reason: Reason | None = None


class Scrubber:
    """Law: scrubbing is idempotent, and the text of a record that cannot be scrubbed is never returned."""

    def __init__(self, fixpoint: FixpointScrubber, *, max_findings: int | None = None) -> None:
        self._fixpoint = fixpoint
        self._max_findings = max_findings

    def record(self, value: Any) -> Scrubbed:
        """Scrub every string of a nested value as one record. Raises ScrubFailed, whose message has no value, if it cannot be
        scrubbed.
        """
        record = self._fixpoint.scrub_all([value])[0]
        if record.failed:
            size = sum(len(leaf.text) for leaf in record.spans)
            raise ScrubFailed(f"scrub: {record.failed} in a record of {size} characters; skip it, or report the entity")
        return self._result(record)

    def records(self, values: Sequence[Any]) -> list[Scrubbed]:
        """As `record`, for many. One that cannot be scrubbed has value None and the reason scrub_failed."""
        return [
            Scrubbed(None, reason=Reason.SCRUB_FAILED) if record.failed else self._result(record)
            for record in self._fixpoint.scrub_all(values)
        ]

    def _result(self, record: ScrubState) -> Scrubbed:
        edits: list[Edit] = []
        new = rebuild(record.value, _recording_replace(record, edits)) if record.counts else record.value
        return Scrubbed(new, record.counts, edits, Reason.TOO_MUCH_PII if self._exceeds_limit(record) else None)

    def scrub_rows(self, staged: pa.Table) -> pa.Table:
        """Scrub `messages`, `prompt`, `completion` and `fields` of each row as one record, and add its findings to `pii`.

        A row with more than `max_findings` findings gets the reason too_much_pii; one that cannot be scrubbed gets scrub_failed
        and loses its text.
        """
        rows = rows_to_scan(staged, self._fixpoint.without_findings)
        return scrubbed_table(staged, rows, scrub_all=self._fixpoint.scrub_all, exceeds_limit=self._exceeds_limit)

    def _exceeds_limit(self, record: ScrubState) -> bool:
        return self._max_findings is not None and sum(record.counts.values()) > self._max_findings


def _recording_replace(record: ScrubState, edits: list[Edit]) -> Any:
    def replace(leaf: Leaf, path: Path) -> str:
        now = record.replaced.get(leaf)
        if now is None:
            edits.extend(Edit(path, s.start, s.end, s.start, s.end, s.entity) for s in record.spans.get(leaf, ()))
            return leaf.text
        edits.extend(Edit(path, *move) for move in now.replacements)
        return now.text

    return replace


def open_scrubber(section: Scrub, *, environment: Mapping[str, str] = os.environ) -> Scrubber:
    """The scrubber of a job, after a self-test on sample sentences.

    Raises JobError, or MissingResource, before any work is done if an entity, engine, model, rule or key is wrong or missing, or
    an entity is not found in its sample. Nothing is ever downloaded. Of the environment, only the surrogates' key is read.
    """
    from synth_ray.scrub.opening import build_scrubber

    fixpoint = build_scrubber(section, key=environment.get(section.key_env, ""))
    return Scrubber(fixpoint, max_findings=section.max_findings)
