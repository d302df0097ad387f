"""What report.html says: its facts, what it leaves out, and that its text is bounded, escaped and always the same."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth_ray
from synth_ray.job.gates import gates_of, parse_gate
from synth_ray.records import Reason
from synth_ray.report import numerals
from synth_ray.report.columns import columns
from synth_ray.report.counted import sections as counted_sections
from synth_ray.report.difference import differences
from synth_ray.report.funnel import stage_of
from synth_ray.report.page import page
from synth_ray.report.words import MEASURES, reason_title
from tests.report_data import (
    ACCEPTED,
    REQUESTED,
    full_examples,
    full_manifest,
    hostile_examples,
    hostile_manifest,
    old_manifest,
    row,
)

SECTIONS_OF_NEW_KEYS = {
    "funnel": "breakdown",
    "target": "classes",
    "narrowing": "narrowing",
    "tstr": "usefulness",
    "perplexity": "perplexity",
    "label_noise": "label-noise",
    "teacher_errors": "teacher-errors",
    "judge": "judge",
    "throughput": "speed",
    "engines": "engines",
}


def ids(html: str) -> set[str]:
    return set(re.findall(r'<section id="([^"]+)"', html))


def test_one_manifest_makes_the_same_bytes_and_asks_the_network_for_nothing() -> None:
    gates = gates_of(["accepted_share >= 0.6"])
    made = {page(deepcopy(full_manifest()), deepcopy(full_examples()), gates) for _ in range(2)}
    assert len(made) == 1
    [html] = made
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!#)[^"'\s>]+|url\(|@import|<link|<iframe""", html)
    assert "default-src 'none'" in unescape(html)


def test_what_is_absent_is_left_out_and_nothing_is_an_empty_box() -> None:
    whole = page(full_manifest(), full_examples())
    for key, section in SECTIONS_OF_NEW_KEYS.items():
        assert section in ids(whole)
        without = full_manifest()
        del without[key]
        if key not in ("funnel", "tstr"):
            assert section not in ids(page(without))
    for html in (whole, page(old_manifest()), page(old_manifest() | {"rows": {"requested": 0, "accepted": 0}})):
        assert not re.findall(r"<(ol|ul|dl|tbody|figure|section)[^>]*>\s*</\1>", html)
        assert not re.search(r"\b(NaN|nan|None|inf|Undefined)\b", html)


@pytest.mark.parametrize("key", sorted(full_manifest().keys() - {"name", "rows"}))
def test_a_key_may_be_missing_or_empty(key: str) -> None:
    manifest = full_manifest()
    for value in (type(manifest[key])(), None):
        assert page(manifest | {key: value}, full_examples())


def test_the_funnel_loses_rows_stage_by_stage_down_to_the_accepted_ones() -> None:
    [funnel] = [part for part in counted_sections(full_manifest()) if part and part.id == "funnel"]
    [bars] = funnel.blocks
    stages = [(bar.label, int(bar.value.split(" ")[0].replace(",", ""))) for bar in bars.bars if not bar.level]
    assert stages[0] == ("Requested", REQUESTED) and stages[-1] == ("Accepted", ACCEPTED)
    assert [n for _, n in stages] == sorted((n for _, n in stages), reverse=True)
    lost = sum(int(bar.value.split(" ")[0].replace(",", "")) for bar in bars.bars if bar.level)
    assert lost == REQUESTED - ACCEPTED


def test_a_breakdown_with_too_many_values_still_adds_up() -> None:
    values = [{"value": f"class {n}", "accepted": n, "rejected": {"echo": 2}, "failed": {}} for n in range(200)]
    html = page(old_manifest() | {"funnel": {"class": values}})
    shown = re.findall(r'<span class="value">([\d,]+) of ([\d,]+) ·', html)
    assert len(shown) == 120
    assert sum(int(n.replace(",", "")) for n, _ in shown) == sum(range(200))
    assert sum(int(n.replace(",", "")) for _, n in shown) == sum(range(200)) + 400


def test_every_reason_has_a_plain_name_a_sentence_and_a_stage() -> None:
    titles = [reason_title(reason) for reason in Reason]
    assert len({title.lower() for title in titles}) == len(titles) and not [title for title in titles if "_" in title]
    assert stage_of("cross_split") == "admit" and stage_of("not_true") == "check" and stage_of("deadline") == "ask"
    assert stage_of("a reason of a later version") == "admit"
    html = page(full_manifest(), full_examples())
    assert "Repeats a row of another split" in html and "shares 13 words in a row" in html
    assert all(name in html for name in (MEASURES[measured] for measured in full_manifest()["narrowing"]))


def test_units_are_written_out() -> None:
    html = page(full_manifest(), full_examples())
    visible = re.sub(r"<(style|script|pre|code)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)
    assert "$ per 1,000 accepted rows" in visible and "6 minutes 52 seconds" in visible
    assert not re.search(r"\b(wall_s|replica_s|usd_\w+|tokens_s|in_flight|macro_f1|p95)\b", visible)


def test_the_verdict_names_failed_gates_and_what_stopped_a_run() -> None:
    gates = [parse_gate("accepted_share >= 0.9"), parse_gate("accepted >= 1")]
    html = page(full_manifest(), None, gates)
    assert "Complete, but 1 of 2 gates failed" in html and "wanted accepted_share &gt;= 0.9, got 0.638" in html
    assert "all 2 gates hold" in page(old_manifest(), None, gates_of(["accepted_share >= 0.1"]))
    stopped = page(old_manifest() | {"complete": False, "stopped": "the budget was spent"})
    assert "Not complete" in stopped and "the budget was spent" in stopped and "Run the same command again" in stopped
    assert "please report this as a bug" in page(old_manifest() | {"rows": {"requested": 9, "accepted": 2}})


def test_a_rejected_row_stands_beside_the_kept_row_with_the_differing_words_marked() -> None:
    html = page(full_manifest(), full_examples())
    assert "<mark>blue</mark>" in html and "<mark>red</mark>" in html
    assert "Word for word the same." in html
    assert "similarity from which a row is a near duplicate" in html.lower()
    assert html.count('<li class="record"') == 22


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_pieces_of_a_difference_join_to_the_texts(a: str, b: str) -> None:
    left, right = differences(a, b)
    assert ("".join(text for text, _ in left), "".join(text for text, _ in right)) == (a, b)
    if a == b:
        assert not any(differs for _, differs in (*left, *right))


def test_only_texts_that_are_alike_are_marked() -> None:
    left, right = differences("The red lamp costs 12 dollars.", "The blue lamp costs 12 dollars.")
    assert ([text for text, differs in left if differs], [text for text, differs in right if differs]) == (["red"], ["blue"])
    for pieces in differences("The red lamp costs 12 dollars.", "Nobody answered my call about a parcel."):
        assert not any(differs for _, differs in pieces)
    examples = {
        "rejected": {
            "exact_duplicate": [
                row(1, "Where is it?", "On its way to you.", witness=row(2, "Where is it?", "Lost; we are sorry."))
            ]
        }
    }
    assert "assistant · another text" in page(old_manifest(), examples)


def test_a_failed_row_is_called_failed_and_a_detail_has_no_codes() -> None:
    rows = [row(1, "a", "b", reason="engine_error", detail="exact_duplicate of a row of train")]
    html = page(old_manifest(), {"rejected": {"engine_error": rows}})
    assert 'data-verdict="failed"' in html and "exact duplicate of a row of train" in html


def test_a_page_that_means_harm_is_escaped_and_stays_small() -> None:
    html = page(hostile_manifest(), hostile_examples(), [parse_gate("accepted >= 1")])
    assert len(html.encode()) < 2_000_000
    assert html.count("<script") == 1 and "<img" not in html
    assert not re.findall(r"<[a-z][^<>]*\son\w+=", re.sub(r'"[^"]*"', '""', html))


def test_a_page_of_two_million_rows_stays_small() -> None:
    manifest = full_manifest()
    files = [
        {"path": f"data/split=train/part-{n:05}.parquet", "split": "train", "rows": 100, "bytes": 10**7, "sha256": "0" * 64}
        for n in range(20_000)
    ]
    manifest |= {
        "files": files,
        "rows": {"requested": 3_000_000, "accepted": 2_000_000, "rejected": {"echo": 1_000_000}, "failed": {}},
    }
    assert len(page(manifest, full_examples()).encode()) < 300_000


@pytest.mark.parametrize("unit", ["wide", "narrow", "one bin", "no bins"])
def test_histograms_are_drawn_for_any_bins(unit: str) -> None:
    bins = {"wide": [[0, 1, 5], [1, 10_000, 1]], "narrow": [[0.1, 0.2, 3]], "one bin": [[7, 7, 4]], "no bins": []}[unit]
    stats = {"kind": "length", "unit": "words", "rows": 6, "p95": 1, "histogram": bins}
    figures = list(columns({"profile": {"columns": {"prompt": {"synthetic": stats, "real": stats}}}}))
    assert len(figures) == (unit != "no bins")
    assert "nan" not in "".join(str(figure.svg) for figure in figures)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (numerals.share(1, 100_000), "< 0.1 %"),
        (numerals.share(99_999, 100_000), "> 99.9 %"),
        (numerals.share(1, 0), "0.0 %"),
        (numerals.usd(0.00512), "$0.0051"),
        (numerals.usd(1234.5), "$1,234.50"),
        (numerals.seconds(7261), "2 hours 1 minute"),
        (numerals.brief_seconds(412), "6 min 52 s"),
        (numerals.plain(float("nan")), "–"),
        (numerals.plain(0.98765), "0.988"),
        (numerals.size(206_718), "207 kB"),
        (numerals.rows(1), "1 row"),
    ],
)
def test_numbers_are_written_for_people(said: str, value: str) -> None:
    assert said == value


def test_the_page_of_a_real_run_shows_its_rows_by_the_examples_that_are_stored(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(40)))
    document: dict[str, Any] = {
        "name": "asked",
        "seeds": str(tmp_path / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["A lamp costs {{ words }}"], "repeat_share": 0.3}}},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "local"},
        "gates": ["accepted >= 5"],
    }
    synth_ray.run(document)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "all" not in ids(html) and {"verdict", "funnel", "identity"} <= ids(html) and "accepted &gt;= 5" in html
    assert "rows" in ids(html)
