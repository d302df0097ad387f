"""What was measured of the rows: one table, then the sentences on labels, judge, evaluation sets and disclosure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synth_ray.dataset.card.markdown import literal, table
from synth_ray.dataset.manifest import Manifest

_HEAD = ("measure", "value", "95 % interval", "limits", "verdict", "what it tells")
_DISCLOSURE_P = 0.01
_DISCLOSURE_FOUND = (
    "**The rows disclose records that the teacher was shown:** they are nearer to these than chance explains. Do not share the "
    "rows as they are."
)
_DISCLOSURE_NOT_FOUND = (
    "The test found nothing beyond chance. That is no proof of privacy: it only compares similarities, and somebody who knows "
    "more about the records may find more."
)
_TSTR = {"": "trained on the synthetic rows", "real": "trained on real rows", "both": "trained on both"}
_PERPLEXITY = {
    "real_by_synthetic": "of real text, by a word model of the synthetic rows",
    "real_by_real": "of real text, by one of as many real words",
    "synthetic_by_real": "of synthetic text, by one of real rows",
    "synthetic_by_synthetic": "of synthetic text, by one of synthetic rows",
}
_ERRORS_SHOWN = 12
_REFERENCES = {
    "quality.reference": "the real rows that the job gave for comparison",
    "split.real": "the real evaluation rows",
    "mix.real": "the real rows of the mix",
    "seeds": "the seeds, for the job gave no real rows to compare with",
}


def quality_lines(m: Manifest) -> list[str]:
    """All sections on quality; those of which nothing was measured are left out."""
    lines = _table_section(m) + _teacher_errors(m)
    if m.gold:
        lines += ["## Agreement with human labels", "", *_gold_sentence(m.gold), ""]
    if m.judge:
        lines += ["## The judge", "", *_judge_sentences(m.judge), ""]
    if m.contamination:
        sentence = "Rows that quote one of these evaluation sets are rejected:"
        sets = table(("evaluation set", "rows that quoted it"), m.contamination.items())
        lines += ["## Evaluation sets", "", sentence, "", *sets, ""]
    if m.contradictory_labels:
        sentence = "rows have the input of an earlier row and another label; the manifest names the first of them."
        lines += ["## Contradictory labels", "", f"{m.contradictory_labels['rows']:,} {sentence}", ""]
    if m.disclosure:
        lines += ["## Disclosure of real records", "", *_disclosure(m.disclosure), ""]
    return lines


def _table_section(m: Manifest) -> list[str]:
    rows = [*_narrowing(m), *_tstr(m), *_perplexity(m), *_labels(m), *_judged(m)]
    if not rows:
        return []
    return ["## Quality", "", *_compared_with(m), *table(_HEAD, rows), ""]


def _compared_with(m: Manifest) -> list[str]:
    source = str(m.reference.get("source", ""))
    if not source:
        return []
    rows, generated = m.reference.get("rows"), m.reference.get("generated")
    counts = (
        f" ({rows:,} rows, beside {generated:,} synthetic ones)" if isinstance(rows, int) and isinstance(generated, int) else ""
    )
    return [f"Compared with {_REFERENCES.get(source, literal(source))}{counts}.", ""]


def _narrowing(m: Manifest) -> Iterator[tuple[object, ...]]:
    for name, measure in m.narrowing.items():
        if isinstance(measure, Mapping):
            limits = ", ".join(
                f"{word} at {_number(measure[word])}" for word in ("warn", "fail") if measure.get(word) is not None
            )
            words = (limits, measure.get("verdict", ""), measure.get("meaning", ""))
            yield (name.replace("_", " "), _number(measure.get("value")), _interval(measure), *words)


def _tstr(m: Manifest) -> Iterator[tuple[object, ...]]:
    for key, how in _TSTR.items():
        score = m.tstr.get(key) if key else m.tstr
        if isinstance(score, Mapping) and score.get("macro_f1") is not None:
            meaning = "a standard classifier, tested on real held-out rows"
            yield (f"macro F1, {how}", _number(score["macro_f1"]), _interval(score), "", "", meaning)


def _perplexity(m: Manifest) -> Iterator[tuple[object, ...]]:
    for key, words in _PERPLEXITY.items():
        value = m.perplexity.get(key)
        if isinstance(value, Mapping):
            yield (f"perplexity {words}", _number(value.get("value")), _interval(value), "", "", "lower is nearer")
    if (ratio := m.perplexity.get("ratio")) is not None:
        ends = {"low": m.perplexity.get("ratio_low"), "high": m.perplexity.get("ratio_high")}
        yield ("the first over the second", _number(ratio), _interval(ends), "", "", "1: the rows teach real text as well")


def _labels(m: Manifest) -> Iterator[tuple[object, ...]]:
    if (share := m.label_noise.get("share")) is not None:
        meaning = f"labels that cross-validation contradicts, of {m.label_noise.get('rows', 0):,} rows"
        yield ("suspected wrong labels", f"{share:.1%}", _interval(m.label_noise), "", "", meaning)


def _teacher_errors(m: Manifest) -> list[str]:
    """The checks that found errors, and the classes with most of them."""
    by_check, by_class = (_worst(m.teacher_errors.get(name)) for name in ("verifier", "by_class"))
    if not by_check:
        return []
    head = ("answers", "wrong", "rate", "95 % interval")
    lines = ["## The teacher's errors", "", "What checks found wrong in its answers, whether or not that rejected them.", ""]
    lines += [*table(("found by", *head), by_check), ""]
    return lines + ([*table(("class", *head), by_class), ""] if by_class else [])


def _worst(rates: Any) -> list[tuple[object, ...]]:
    """The highest rates first; those without an error are left out."""
    found = [(name, of) for name, of in (rates or {}).items() if isinstance(of, Mapping) and of.get("wrong")]
    found.sort(key=lambda entry: (-entry[1]["rate"], entry[0]))
    return [
        (name.replace("_", " "), f"{of['rows']:,}", f"{of['wrong']:,}", f"{of['rate']:.1%}", _interval(of))
        for name, of in found[:_ERRORS_SHOWN]
    ]


def _judged(m: Manifest) -> Iterator[tuple[object, ...]]:
    if good := m.judge.get("good"):
        verdict = "advice only" if m.judge.get("advisory") else ""
        yield (
            "share of good answers",
            f"{good['corrected']:.1%}",
            _interval(good),
            "",
            verdict,
            "by the judge, its errors corrected",
        )


def _interval(facts: Mapping[str, Any]) -> str:
    low, high = facts.get("low"), facts.get("high")
    return f"{_number(low)} to {_number(high)}" if low is not None and high is not None else ""


def _number(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value or "")


def _gold_sentence(summary: dict[str, Any]) -> list[str]:
    sentence = (
        f"{summary['rows']:,} accepted rows have a human label; {summary['observed']:.1%} agree with it, {_kappa(summary)}."
    )
    advice = "**Advice only:** fewer than 50 rows to compare, or a kappa below 0.6. Do not filter or score by these labels alone."
    return [sentence, "", advice] if summary["advisory"] else [sentence]


def _how_scored(summary: dict[str, Any]) -> str:
    match summary.get("task"):
        case "reward":
            return "by a reward model, on a scale of its own"
        case "classify":
            return f"by a classifier, with the probability of {literal(summary.get('label', ''))}"
        case "embed":
            return "by an embedding model, with the similarity of question and answer"
    return f"from 1 to 5 for {', '.join(map(literal, summary.get('criteria', ())))}"


def _judge_sentences(summary: dict[str, Any]) -> list[str]:
    sentences = [f"{summary['judged']:,} answers were scored {_how_scored(summary)}; {summary['min_score']:g} is enough."]
    if (correlation := summary.get("length_correlation")) is not None:
        sentences[0] += f" The rank correlation of score and length is {correlation:.2f}."
    if "gold" in summary:
        sentences += [
            "",
            f"On {summary['gold']:,} rows that people judged, {summary['observed']:.1%} of its verdicts agree with theirs, "
            f"{_kappa(summary)}.",
        ]
    if good := summary.get("good"):
        sentences += [
            "",
            f"It rates {good['judged']:.1%} of the answers as good; corrected for its own errors, {good['corrected']:.1%}",
        ]
        sentences[-1] += f" (95 %: {good['low']:.1%} to {good['high']:.1%})."
    advice = "**Advice only:** fewer than 50 rows that people judged, or a kappa below 0.6. Its scores rejected nothing."
    return [*sentences, "", advice] if summary["advisory"] else sentences


def _kappa(summary: dict[str, Any]) -> str:
    known = summary["kappa"] is not None
    return (
        f"Cohen's kappa {summary['kappa']:.2f} (95 %: {summary['low']:.2f} to {summary['high']:.2f})"
        if known
        else "kappa undefined"
    )


def _disclosure(report: dict[str, Any]) -> list[str]:
    """The sentences on disclosure: what was tested, the result, and what the result does not prove."""
    copied, canaries, test = report["copied"], report["canaries"], report["test"]
    sentences = [f"These rows stand in for real records. {sum(copied.values()):,} rows that repeated one were rejected."]
    if canaries["planted"]:
        sentences += [
            "",
            f"{canaries['planted']:,} canaries were planted among the records; {canaries['found']:,} appeared in answers",
        ]
        sentences[-1] += "; rows with them were rejected." if canaries["found"] else "."
    if test:
        decided = test["nearer_to_shown"] + test["nearer_to_held_out"]
        share = test["nearer_to_shown"] / decided if decided else 0.5
        sentences += [
            "",
            f"Of {test['rows']:,} rows, {share:.1%} are nearer to a record that the teacher was shown than to any of as many",
        ]
        sentences[-1] += f" ({test['records']:,}) that it was not shown. If it memorised no record, 50 % is expected; "
        sentences[-1] += f"a share of at least this size occurs by chance with p = {test['p']:.2g}."
        sentences += ["", _DISCLOSURE_FOUND if test["p"] < _DISCLOSURE_P else _DISCLOSURE_NOT_FOUND]
    else:
        sentences += ["", "**Not tested:** too few rows or records to tell whether showing the records gave anything away."]
    return sentences
