"""How often the teacher was wrong: by each check that can tell, by the judge, and by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.check.judge_reliability import JudgeReliability
from synth_ray.job.check import FLAGS, Check
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.row_view import RowView
from synth_ray.quality.intervals import rate
from synth_ray.quality.value_counts import NONE, ValueCounts
from synth_ray.records import FAILED, Origin, Reason
from synth_ray.verify.intervals import wilson

Facts = dict[str, Any]

MAX_CLASSES = 200
_BY_RATE = {Reason.TOO_EASY, Reason.TOO_HARD, Reason.UNVERIFIABLE}  # of a prompt, not of an answer
_UNANSWERED = FAILED | {Reason.MODERATED, Reason.MISSING_FIELD, Reason.WRONG_TYPE} | _BY_RATE
_OF_TOOLS = (Reason.BAD_TOOL_CALL, Reason.STUCK, Reason.OUT_OF_STEPS, Reason.WRONG_END_STATE)
_OF_RECIPES = (Reason.NO_AGREEMENT, Reason.TIE, Reason.NOT_EVOLVED, *_OF_TOOLS)
_BY_RECIPE_TOO = (Reason.SCHEMA_MISMATCH, Reason.TRUNCATED, Reason.TRUNCATED_THOUGHT, Reason.REFUSAL, Reason.ECHO)
_EMPTY = (Reason.EMPTY_COMPLETION, Reason.TRUNCATED_THOUGHT)
# A contradiction is found between rows, a poor answer by another model; a teacher may answer without a thought.
_ERRORS = frozenset(FLAGS) - {Reason.CONTRADICTORY_LABEL, Reason.POORLY_JUDGED, Reason.NO_THOUGHT}


class TeacherErrors:
    """Counts the answers that each check saw, and those that it found wrong, whether or not `check.drop` rejects them.

    A recipe's own test sees every answer, a check those that the recipe let pass; an empty answer is only counted as empty.
    Real rows, and slots that got no answer, are not the teacher's and are not counted.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._applied = _checks_applied(prepared)
        self._answered = self._checked = 0
        self._wrong: Counter[str] = Counter()
        self._wrong_before_check: Counter[str] = Counter()
        self._without_answer = 0
        self._seen_without_answer: Counter[str] = Counter()  # by check: what it found in the thought alone
        self._by_class = ValueCounts()  # whether the answer is wrong, by class

    def add(self, view: RowView) -> None:
        """Count decided rows; alike rows are counted together."""
        rows = view.table
        columns = {
            "class": view.labels.cast(pa.string()),
            "reason": pc.fill_null(rows["reason"], ""),
            "flags": pc.fill_null(pc.binary_join(rows["flags"], ","), ""),
        }
        answered = pa.table(columns).filter(pc.equal(rows["origin"], Origin.SYNTHETIC.value))
        for group in answered.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist():
            if group["reason"] not in _UNANSWERED:
                found = _ERRORS.intersection(group["flags"].split(","))  # without what scrubbing flags
                self._count(group["class"] or NONE, group["reason"], found, group["count_all"])

    def _count(self, name: str, reason: str, found: frozenset[str], rows: int) -> None:
        is_early = reason in _OF_RECIPES or (reason in _BY_RECIPE_TOO and not found)
        self._answered += rows
        self._checked += 0 if is_early else rows
        if is_early:
            self._wrong_before_check[reason] += rows
        else:
            self._wrong.update(dict.fromkeys(found, rows))
            if not found.isdisjoint(_EMPTY):
                self._without_answer += rows
                self._seen_without_answer.update(dict.fromkeys(found, rows))
        self._by_class.add(name, is_early or bool(found), rows)

    def facts(self, judge: JudgeReliability | None, gold: Mapping[tuple[str, str], int]) -> Facts:
        """The manifest's `teacher_errors`; empty where no answer was counted. `gold` counts (label, gold label) of kept rows."""
        if not self._answered:
            return {}
        facts: Facts = {"answers": self._answered, "verifier": dict(self._verifiers()), "by_class": _rates(self._by_class)}
        if judge is not None and (errors := judge_errors(judge)):
            facts["judge"] = errors
        if gold:
            facts["verifier"]["gold"] = rate(sum(n for (label, true), n in gold.items() if label != true), sum(gold.values()))
            facts["gold_by_class"] = _by_gold_label(gold)
        return facts

    def _verifiers(self) -> Iterator[tuple[str, Facts]]:
        for name in sorted(self._applied | set(self._wrong) | set(self._wrong_before_check)):
            early = self._wrong_before_check[name]
            if name in _OF_RECIPES:
                yield name, rate(early, self._answered)
                continue
            unseen = 0 if name in _EMPTY else self._without_answer - self._seen_without_answer[name]
            seen = self._checked - unseen
            yield name, rate(self._wrong[name] + early, seen + early)


def _checks_applied(prepared: Prepared) -> set[str]:
    """The checks that look at every answer of this job, so that one that finds nothing is reported too."""
    check, recipe, options = prepared.job.check, prepared.recipe, prepared.options
    return {name for name, is_on in _switches(check, recipe.schema(options) is not None).items() if is_on}


def _switches(check: Check, has_schema: bool) -> dict[str, bool]:
    always = (Reason.EMPTY_COMPLETION, Reason.TRUNCATED, Reason.REPETITION_LOOP, Reason.REFUSAL, Reason.ECHO, Reason.MOJIBAKE)
    return {reason.value: True for reason in always} | {
        Reason.TOO_FEW_TOKENS.value: check.min_tokens > 1,
        Reason.TOO_MANY_TOKENS.value: check.max_tokens is not None or check.max_prompt_tokens is not None,
        Reason.SCHEMA_MISMATCH.value: has_schema,
        Reason.WRONG_LANGUAGE.value: bool(check.language or check.script),
        Reason.NOT_TRUE.value: check.verify != "none",
    }


def judge_errors(judge: JudgeReliability) -> Facts:
    """The share of answers that the judge finds poor, and that corrected for the judge's own errors on its gold rows.

    `low` and `high` are of the corrected share; of the observed one where there is no gold to correct it by.
    """
    passed, judged = judge.passed_and_judged
    if not judged:
        return {}
    low, high = wilson(judged - passed, judged)
    facts: Facts = {"rows": judged, "observed": round(1 - passed / judged, 4)}
    if good := judge.summary().get("good"):
        facts["corrected"] = round(1 - good["corrected"], 4)
        low, high = 1 - good["high"], 1 - good["low"]
    return facts | {"low": round(low, 4), "high": round(high, 4)}


def _by_gold_label(gold: Mapping[tuple[str, str], int]) -> Facts:
    counts = ValueCounts()
    for (label, true), rows in gold.items():
        counts.add(true, label != true, rows)
    return _rates(counts)


def _rates(wrong: ValueCounts) -> Facts:
    """The share of wrong answers of each of the most frequent classes, the last of which may be all others; empty without any."""
    shown = wrong.commonest(MAX_CLASSES)
    if [name for name, _ in shown] == [NONE]:
        return {}
    return {name: rate(counts[True], counts.total()) for name, counts in shown}
