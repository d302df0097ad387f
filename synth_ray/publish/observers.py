"""What is measured while rows are admitted: the judge's reliability, agreement with gold labels, a sample for disclosure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar

import pyarrow as pa

from synth_ray.check.disclosure import DigestSample
from synth_ray.check.judge_reliability import JudgeReliability
from synth_ray.records import Reason, fields_of


class RowObserver:
    """Gets every chunk three times: its staged rows before they are decided, all of them with their verdicts, and the accepted
    ones. Each observer overrides what it needs. What it has counted is in the attributes that `KEEPS` names (see `state`).
    """

    KEEPS: ClassVar[tuple[str, ...]] = ()

    def on_staged(self, staged: pa.Table, attempts: Mapping[str, int]) -> None:
        """`attempts`: discarded drafts by reason."""

    def on_real(self, rows: pa.Table) -> None:
        """Real rows of the dataset, before any chunk. With a `verdict`: rows of the mix that were accepted; without: rows for
        evaluation, which are kept whatever they are.
        """

    def on_decided(self, rows: pa.Table) -> None:
        """Rows with `verdict`, `reason`, `detail`, `witness` and `similarity`."""

    def on_accepted(self, accepted: pa.Table) -> None:
        """The accepted rows among them."""


class JudgeObserver(RowObserver):
    """Measures the judge. Once it is unreliable, its scores reject nothing: `stop_rejecting_on` is called with its reason.

    Gold rows are in the first chunk, so that this is known before any row is decided.
    """

    KEEPS = ("_judge",)

    def __init__(self, judge: JudgeReliability, stop_rejecting_on: Callable[[str], None]) -> None:
        self._judge = judge
        self._stop_rejecting_on = stop_rejecting_on

    def on_staged(self, staged: pa.Table, attempts: Mapping[str, int]) -> None:
        self._judge.add_judge_gold(attempts)
        self._judge.add_rows(staged)
        if self._judge.is_advisory:
            self._stop_rejecting_on(Reason.POORLY_JUDGED)


class LabelAgreementObserver(RowObserver):
    """Of the accepted rows with a gold label: how often each label was given for each gold label, as `pairs`."""

    KEEPS = ("pairs",)

    def __init__(self) -> None:
        self.pairs: Counter[tuple[str, str]] = Counter()

    def on_accepted(self, accepted: pa.Table) -> None:
        for label, fields in zip(accepted["completion"].to_pylist(), fields_of(accepted), strict=True):
            if (gold := fields.get("gold")) is not None:
                self.pairs[label, gold] += 1


class SampleObserver(RowObserver):
    """Samples accepted rows for the disclosure test."""

    KEEPS = ("_sample",)

    def __init__(self, sample: DigestSample) -> None:
        self._sample = sample

    def on_accepted(self, accepted: pa.Table) -> None:
        for name, fields in zip(accepted["id"].to_pylist(), fields_of(accepted), strict=True):
            self._sample.add(name, fields)
