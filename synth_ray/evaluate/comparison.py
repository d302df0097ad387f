"""The comparison with a baseline: the same cases before and now, which of them changed, and whether the system got worse.

The baseline is an earlier `results.jsonl`, or the file of `baseline_lines`: one line per case, sorted, without any text, so that
it can be kept in a repository and its differences can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synth_ray.errors import JobError
from synth_ray.evaluate.asking import Result
from synth_ray.evaluate.cases import Case
from synth_ray.evaluate.statistics import Interval, mcnemar, paired_difference
from synth_ray.evaluate.verdicts import Verdict
from synth_ray.records import canonical_json
from synth_ray.storage.job_files import open_input

RESULTS = "results.jsonl"

Baseline = Mapping[str, tuple[str, bool]]
"""By the id of a case: the digest of what it asked and wanted, and whether it passed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the cases in both: which passed before and not now (`newly_failing`), and the reverse. A case that did not end as passed
    did not pass. `difference` is the pass rate now minus before, with its paired interval; `p` is McNemar's.

    Cases in one of both alone, or whose digest changed, are left out and counted.
    """

    paired: int
    newly_failing: list[str]
    newly_passing: list[str]
    difference: Interval
    p: float
    only_now: int = 0
    only_before: int = 0
    changed: int = 0

    def is_regression(self, tolerance: float) -> bool:
        """Whether the whole interval of the difference lies below minus `tolerance`."""
        return self.difference.high < -tolerance


def compare(now: Baseline, before: Baseline) -> Comparison:
    """Compare two evaluations. At least one case must be in both (`refuse_foreign`)."""
    common = sorted(now.keys() & before.keys())
    pairs = {name: (before[name][1], now[name][1]) for name in common if before[name][0] == now[name][0]}
    worse = [name for name, pair in pairs.items() if pair == (True, False)]
    better = [name for name, pair in pairs.items() if pair == (False, True)]
    both = sum(pair == (True, True) for pair in pairs.values())
    neither = len(pairs) - both - len(worse) - len(better)
    return Comparison(
        paired=len(pairs),
        newly_failing=worse,
        newly_passing=better,
        difference=paired_difference(both, len(worse), len(better), neither),
        p=mcnemar(len(worse), len(better)),
        only_now=len(now) - len(common),
        only_before=len(before) - len(common),
        changed=len(common) - len(pairs),
    )


def outcomes_of(results: Iterable[Result]) -> dict[str, tuple[str, bool]]:
    """Results as one side of a comparison."""
    return {result.case.id: (result.case.digest, result.graded.verdict is Verdict.PASSED) for result in results}


def baseline_lines(results: Iterable[Result]) -> bytes:
    """The baseline's file. Law: a function of the cases and verdicts; no answer, score or time is in it."""
    lines = [{"id": r.case.id, "case": r.case.digest, "verdict": r.graded.verdict} for r in results]
    return b"".join(canonical_json(line) + b"\n" for line in sorted(lines, key=lambda line: line["id"]))


def read_baseline(path: str) -> Baseline:
    """The baseline in a file of lines, or in the folder of an evaluation (or of its `eval.json`). Raises JobError."""
    if not path.endswith(".jsonl"):
        path = f"{path.removesuffix('eval.json').rstrip('/') or '.'}/{RESULTS}"
    outcomes: dict[str, tuple[str, bool]] = {}
    try:
        with open_input(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    name, outcome = _outcome(line, f"{path}:{number}")
                    outcomes[name] = outcome
    except JobError as error:
        raise JobError(f"--baseline: {error}") from None
    return outcomes


def _outcome(line: bytes, place: str) -> tuple[str, tuple[str, bool]]:
    try:
        value: Any = json.loads(line)
        name, case = value["id"], value["case"]
        if not (isinstance(name, str) and isinstance(case, str)):
            raise TypeError
        return name, (case, Verdict(value["verdict"]) is Verdict.PASSED)
    except (ValueError, KeyError, TypeError):
        raise JobError(
            f"{place}: wanted a line of results with id, case and verdict, got another; name a file that "
            "--write-baseline or an evaluation has written"
        ) from None


def refuse_foreign(baseline: Baseline, cases: Iterable[Case]) -> None:
    """Raise JobError where the baseline has none of the cases: nothing could be compared."""
    if not any(case.id in baseline and baseline[case.id][0] == case.digest for case in cases):
        raise JobError(
            f"--baseline: wanted results of the same cases, got {len(baseline)} of which none is among them; name the baseline "
            "of these cases, or write a new one with --write-baseline"
        )
