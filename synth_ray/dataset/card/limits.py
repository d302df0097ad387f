"""Known limits, each derived from a fact of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from synth_ray.dataset.manifest import Manifest

_LARGE_SHARE = 0.1


def limits_of(m: Manifest) -> list[str]:
    """Sentences of plain text; never empty, because no set of checks finds everything."""
    return [*_of_evaluation(m), *_of_measures(m), *_of_texts(m), *_of_terms(m), _GENERAL]


_GENERAL = "The checks find what they look for: an accepted row may still be wrong, biased or unsuitable."


def _of_evaluation(m: Manifest) -> Iterator[str]:
    if m.synthetic_only_eval:
        yield "The evaluation splits are synthetic only: scores on them say little about real data."
    if not m.complete:
        yield "The run stopped before its end: shares and balance may change when it goes on."
    if m.mix.get("synthetic_share") == 1.0:
        yield "No real row of the mix was accepted."
    if m.filters and "decontaminate" not in m.filters:
        yield "No evaluation set was named: rows may quote public benchmarks."
    if m.reference.get("source") == "seeds" and m.reference.get("rows"):
        yield "Diversity was compared with the seeds, which are not independent of the rows: differences may be larger."


def _of_measures(m: Manifest) -> Iterator[str]:
    for verdict, limit in (("fail", "fails"), ("warn", "warns")):
        names = [n for n, v in m.narrowing.items() if isinstance(v, Mapping) and v.get("verdict") == verdict]
        if names:
            listed = ", ".join(name.replace("_", " ") for name in names)
            yield f"The rows are narrower than the real ones, beyond the limit that {limit}, by: {listed}."
    if m.judge.get("advisory"):
        yield "The judge was not reliable enough to reject rows: its scores are advice."
    if m.gold.get("advisory"):
        yield "Agreement with human labels is low, or measured on few rows: do not filter or score by these labels alone."
    if suspects := m.label_noise.get("suspects"):
        yield f"{suspects:,} labels are suspected to be wrong."
    if m.contradictory_labels:
        yield f"{m.contradictory_labels.get('rows', 0):,} rows have the input of an earlier row and another label."
    if m.leaks:
        yield f"{m.leaks:,} rows leak from one split to another, or from an evaluation set."


def _of_texts(m: Manifest) -> Iterator[str]:
    accepted = m.rows.accepted + sum(m.rows.rejected.values()) + sum(m.rows.failed.values())
    failed = sum(m.rows.failed.values())
    if accepted and failed / accepted >= _LARGE_SHARE:
        yield f"{failed / accepted:.0%} of the requested rows failed: what made them fail is missing from the rest."
    if m.pii_in_place:
        yield "Personal data was only counted, and is still in the rows."
    elif m.pii:
        yield "Personal data was replaced where it was found; what the patterns do not know is still there."
    if estimated := m.tokens.get("estimated"):
        yield f"{estimated:,} of the tokens counted are estimates: the server did not tell them."
    if lost := m.top_k.get("lost"):
        yield f"{lost:,} rows have no likeliest tokens: something in their text was replaced or dropped."
    if m.disclosure:
        yield "The rows stand in for real records; no test of their likeness proves privacy."


def _of_terms(m: Manifest) -> Iterator[str]:
    if m.teacher != "none" and not (m.teacher_license or m.teacher_terms):
        yield "The licence and terms of the teacher were not given: see whether they allow your use of its answers."
    if any(not source.get("license") for source in m.sources):
        yield "The licence of at least one source of seeds was not given."
    if not m.license:
        yield "No licence was given for the rows."
