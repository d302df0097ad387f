"""Sections of what is wrong with the rows: label noise, the teacher's errors, the judge, and what may not get into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synth_ray.report.blocks import MOST, Facts, Folded, Note, Section, Table, section
from synth_ray.report.numerals import count, interval, is_number, number, plain, rows, share, short

Manifest = Mapping[str, Any]
Blocks = Iterator[Any]


def sections(manifest: Manifest) -> Iterator[Section | None]:
    yield section(
        "label-noise",
        "Label noise",
        "Labels that may be wrong",
        "Rows whose label a classifier, trained on all other rows, would not have given. A suspicion, no proof: look at some.",
        list(_label_noise(manifest)),
    )
    yield section(
        "teacher-errors",
        "Teacher errors",
        "How often the teacher is wrong",
        "Of its answers, before the checks rejected any.",
        list(_teacher_errors(manifest)),
    )
    yield section(
        "judge",
        "Judge",
        "The judge, and agreement with people",
        "How far a model’s scores can be trusted is measured on rows that people judged.",
        list(_judge(manifest)),
    )
    yield section(
        "safety",
        "Leaks",
        "What must not be in the rows",
        "Evaluation texts, contradictions, and real records that were only meant to be shown to the teacher.",
        list(_safety(manifest)),
    )


def _label_noise(manifest: Manifest) -> Blocks:
    noise = manifest.get("label_noise") or {}
    if noise.get("not_measured"):
        yield Note(f"Not measured: {noise['not_measured']}")
    if not noise.get("rows"):
        return
    ends = interval(*(100 * number(noise.get(end)) for end in ("low", "high")))
    part = share(number(noise.get("share")))
    yield Note(f"{rows(noise.get('suspects'))} of {count(noise['rows'])} are suspects: {part} (95 % interval {ends} %).")
    by_class = sorted((noise.get("by_class") or {}).items(), key=lambda item: (-number(item[1].get("suspects")), item[0]))
    body = [
        (short(name, 60), count(n.get("suspects")), count(n.get("rows")), share(number(n.get("suspects")), number(n.get("rows"))))
        for name, n in by_class[:MOST]
        if n.get("suspects")
    ]
    if body:
        yield Table("By class", ("class", "suspects", "rows", "share"), body, frozenset({1, 2, 3}))
    first = [
        (short(s.get("label", ""), 60), short(s.get("likely", ""), 60), plain(s.get("confidence")), str(s.get("id", ""))[:12])
        for s in (noise.get("first") or ())[:50]
    ]
    if first:
        yield Folded(
            "The first suspects, by row",
            [Table("Look at one by `synth-ray show`", ("label", "more likely", "confidence", "row"), first, frozenset({2}))],
        )


def _teacher_errors(manifest: Manifest) -> Blocks:
    errors = manifest.get("teacher_errors") or {}
    body = [
        (short(name, 60), share(number(v.get("rate"))), _percents(v) or "–", count(v.get("wrong")), count(v.get("rows")))
        for name, v in (errors.get("verifier") or {}).items()
    ]
    if body:
        yield Table(
            "Found by a verifier",
            ("verifier", "wrong", "95 % interval", "rows wrong", "rows looked at"),
            body,
            frozenset({1, 2, 3, 4}),
        )
    judge = errors.get("judge") or {}
    if is_number(judge.get("observed")):
        corrected = (
            f"; corrected for the judge’s own errors {share(number(judge['corrected']))} ({_percents(judge)})"
            if is_number(judge.get("corrected"))
            else ""
        )
        yield Note(f"By the judge, {share(judge['observed'])} are wrong{corrected}.")
    by_class = sorted((errors.get("by_class") or {}).items(), key=lambda item: (-number(item[1].get("rate")), item[0]))
    classes = [
        (short(name, 60), share(number(v.get("rate"))), count(v.get("wrong")), count(v.get("rows")))
        for name, v in by_class[:MOST]
    ]
    if classes:
        yield Table("By class, the worst first", ("class", "wrong", "rows wrong", "rows"), classes, frozenset({1, 2, 3}))


def _percents(value: Mapping[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    return f"{100 * low:.1f} to {100 * high:.1f} %" if is_number(low) and is_number(high) else ""


def _judge(manifest: Manifest) -> Blocks:
    judge, gold = manifest.get("judge") or {}, manifest.get("gold") or {}
    facts: list[tuple[str, Any, str]] = []
    if judge:
        good = judge.get("good") or {}
        effect = "advice only" if judge.get("advisory") else "rows below the lowest score are rejected"
        facts.append(
            (
                "Effect of its scores",
                effect,
                "It only advises where people’s verdicts are too few, or it agrees with them too little."
                if judge.get("advisory")
                else "",
            )
        )
        facts += (
            [("Criteria", "; ".join(short(c, 200) for c in judge.get("criteria") or ()), "")] if judge.get("criteria") else []
        )
        facts += list(_rating(judge))
        facts += [("Lowest score that passes", plain(judge.get("min_score")), "")] if is_number(judge.get("min_score")) else []
        facts += [("Answers scored", count(judge.get("judged")), "")]
        if is_number(good.get("observed", good.get("raw"))):
            facts.append(("Good answers, by the judge", share(number(good.get("observed", good.get("raw")))), ""))
        if is_number(good.get("corrected")):
            facts.append(("Good answers, corrected for its errors", share(good["corrected"]), f"95 % interval {_percents(good)}"))
        facts += _agreement(judge, judge.get("gold"))
    if facts:
        yield Facts(facts)
    if gold.get("rows"):
        yield Note("Labels of the teacher beside labels of people:")
        yield Facts(_agreement(gold, gold["rows"]))


_RATINGS = {
    "reward": "a reward model’s score, on a scale of its own",
    "classify": "a classifier’s probability of a label",
    "embed": "the similarity of question and answer by an embedding model",
}
_LENGTH_BIAS = 0.5


def _rating(judge: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    if (kind := _RATINGS.get(str(judge.get("task")))) is not None:
        yield "What the score is", kind, short(judge.get("label") or "", 80)
    found = (judge.get("quantiles") or {}).items()
    quantiles = {share(float(name)): value for name, value in found if is_number(value) and name.replace(".", "", 1).isdecimal()}
    if quantiles:
        text = ", ".join(f"{name} of the answers below {plain(value)}" for name, value in quantiles.items())
        yield "Scores by quantile", text, "A threshold can be chosen by them, and set by a curation: nothing is asked again."
    if is_number(judge.get("length_correlation")):
        strong = abs(judge["length_correlation"]) >= _LENGTH_BIAS
        advice = "Strong: the score may follow the length more than the worth." if strong else "0 is none, 1 is full."
        yield "Rank correlation of score and length", plain(judge["length_correlation"]), advice


def _agreement(measured: Mapping[str, Any], n: Any) -> list[tuple[str, Any, str]]:
    facts: list[tuple[str, Any, str]] = [("Rows that people judged", count(n), "")] if is_number(n) else []
    if is_number(measured.get("observed")):
        facts.append(("Same verdict as people", share(measured["observed"]), ""))
    if is_number(measured.get("kappa")):
        ends = f"95 % interval {interval(measured.get('low'), measured.get('high'))}. " if is_number(measured.get("low")) else ""
        facts.append(
            (
                "Agreement beyond chance (kappa)",
                plain(measured["kappa"]),
                f"{ends}1 is full agreement, 0 is no better than guessing.",
            )
        )
    return facts


def _safety(manifest: Manifest) -> Blocks:
    leaks = manifest.get("leaks")
    if is_number(leaks):
        yield Note(
            f"{rows(leaks)} repeat text across the line between training and evaluation."
            if leaks
            else "No row repeats text across the line between training and evaluation.",
            "fail" if leaks else "",
        )
    sets = [(short(name, 80), count(n)) for name, n in (manifest.get("contamination") or {}).items()]
    if sets:
        yield Table("Rows rejected because they quote an evaluation set", ("evaluation set", "rows"), sets, frozenset({1}))
    twice = manifest.get("contradictory_labels") or {}
    if twice.get("rows"):
        yield Note(f"{rows(twice['rows'])} have the same input as an earlier kept row and another label.", "warn")
    if manifest.get("synthetic_only_eval"):
        yield Note("An evaluation split has no real row: scores on it say how well a model imitates the teacher.", "warn")
    yield from _disclosure(manifest.get("disclosure") or {})


def _disclosure(found: Mapping[str, Any]) -> Blocks:
    test, canaries = found.get("test") or {}, found.get("canaries") or {}
    facts: list[tuple[str, Any, str]] = [
        (f"Rejected as a copy: {name}", rows(n), "") for name, n in (found.get("copied") or {}).items()
    ]
    if canaries:
        facts.append(
            (
                "Planted marks found again",
                f"{count(canaries.get('found'))} of {count(canaries.get('planted'))}",
                "Invented records that were shown to the teacher: none may come back.",
            )
        )
    if is_number(test.get("nearer_to_shown")):
        facts.append(
            ("Rows nearer to shown records", count(test["nearer_to_shown"]), "than to records that the teacher never saw")
        )
        facts.append(("Rows nearer to held-out records", count(test.get("nearer_to_held_out")), ""))
    if is_number(test.get("p")):
        facts.append(
            (
                "Chance of such a difference if nothing is disclosed",
                plain(float(f"{test['p']:.3g}")),
                "A permutation test. Finding nothing is no proof of privacy.",
            )
        )
    if facts:
        yield Note("What the rows disclose of the real records that the teacher was shown:")
        yield Facts(facts)
