"""The summary of an evaluation: shares with intervals, over all cases and by group, and the gates that it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synth_ray.evaluate.asking import Evaluation, Result
from synth_ray.evaluate.comparison import Comparison
from synth_ray.evaluate.statistics import share_of
from synth_ray.evaluate.verdicts import Verdict

_MOST_VALUES = 200
"""A field with more values than this is no grouping: it tells every case from the others."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What makes an evaluation fail. `tolerance`: how far the pass rate may certainly fall below the baseline's."""

    min_pass_rate: float | None = None
    tolerance: float = 0.0

    def verdicts(self, summary: Mapping[str, Any], comparison: Comparison | None) -> dict[str, str | None]:
        """By the name of each gate that is set: the sentence that tells why it fails, or None where it holds."""
        verdicts: dict[str, str | None] = {}
        if self.min_pass_rate is not None:
            verdicts["pass_rate"] = None
            if summary["passed"] / summary["cases"] < self.min_pass_rate:
                got = f"got {summary['pass_rate']:g} ({told(summary)})"
                verdicts["pass_rate"] = f"wanted a pass rate of at least {self.min_pass_rate:g}, {got}"
        if comparison is not None:
            failed = comparison.is_regression(self.tolerance)
            verdicts["regression"] = self._regression(comparison) if failed else None
        return verdicts

    def _regression(self, comparison: Comparison) -> str:
        d = comparison.difference
        return (
            f"wanted a pass rate not more than {self.tolerance:g} below the baseline's, got {d.value:+.4f} (95 %: {d.low:+.4f} "
            f"to {d.high:+.4f}) over {comparison.paired} cases, {len(comparison.newly_failing)} of them newly failing"
        )


def told(summary: Mapping[str, Any]) -> str:
    """Counts in words."""
    return ", ".join([f"{summary['passed']} of {summary['cases']} passed", *_others(summary)])


def _others(summary: Mapping[str, Any]) -> list[str]:
    return [f"{summary[verdict]} {verdict}" for verdict in ("wrong", "failed", "undecided") if summary[verdict]]


def summarise(evaluation: Evaluation, comparison: Comparison | None = None) -> dict[str, Any]:
    """The numbers of `eval.json`. Law: `cases` = passed + wrong + failed + undecided, overall and in every group; the pass rate
    is passed / cases, so an undecided case never counts as passed.
    """
    results = evaluation.results
    summary = _shares(results)
    summary |= {
        "by": _by_group(results),
        "failed_for": dict(sorted(Counter(result.reason for result in results if result.reason).items())),
        "undecided_for": _undecided_for(results),
        "tokens": dict(evaluation.tokens),
    }
    return summary | ({"baseline": _compared(comparison)} if comparison is not None else {})


def _shares(results: Sequence[Result]) -> dict[str, Any]:
    counts = Counter(result.graded.verdict for result in results)
    share = share_of(counts[Verdict.PASSED], len(results))
    rates = {"pass_rate": round(share.value, 4), "low": round(share.low, 4), "high": round(share.high, 4)}
    return {"cases": len(results)} | {verdict.value: counts[verdict] for verdict in Verdict} | rates


def _by_group(results: Sequence[Result]) -> dict[str, Any]:
    """Shares by the values of each field, a case without a value apart; and by verifier."""
    names = sorted({name for result in results for name in result.case.groups})
    found = {name: _split(results, [result.case.groups.get(name, "") for result in results]) for name in names}
    labels = [result for result in results if result.graded.verifier == "label"]
    found |= {"label": _split(labels, [result.case.expected or "" for result in labels])} if labels else {}
    found |= {"verifier": _split(results, [result.graded.verifier or "none" for result in results])}
    return {name: shares for name, shares in found.items() if len(shares) <= _MOST_VALUES}


def _split(results: Sequence[Result], values: Sequence[str]) -> dict[str, Any]:
    by_value: dict[str, list[Result]] = {}
    for result, value in zip(results, values, strict=True):
        by_value.setdefault(value, []).append(result)
    return {value: _shares(by_value[value]) for value in sorted(by_value)}


def _undecided_for(results: Iterable[Result]) -> dict[str, int]:
    why = Counter(
        f"{result.graded.verifier}: {result.graded.detail}" for result in results if result.graded.verdict is Verdict.UNDECIDED
    )
    return dict(sorted(why.items()))


def _compared(comparison: Comparison) -> dict[str, Any]:
    compared = asdict(comparison)
    compared["difference"] = {name: round(value, 4) for name, value in compared["difference"].items()}
    return compared | {"p": round(comparison.p, 4)}
