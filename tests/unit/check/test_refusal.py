"""Refusals are told from texts that sound like them: e-mails, stories, songs, code, and answers with a gap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.refusal import is_refusal, refusal_pattern
from tests.conftest import ROOT

LABELLED = [json.loads(line) for line in (Path(__file__).parent / "refusals.jsonl").read_text("utf-8").splitlines()]


def test_precision_and_recall_on_labelled_texts_that_the_model_has_not_seen() -> None:
    trained_on = {json.loads(line)["text"] for line in (ROOT / "training" / "refusals.jsonl").read_text("utf-8").splitlines()}
    assert not any(row["text"] in trained_on for row in LABELLED)
    refusals = [row for row in LABELLED if row["refusal"]]
    assert len(refusals) >= 200 and len(LABELLED) - len(refusals) >= 200
    assert len({row["language"] for row in refusals}) >= 6
    missed = [row["text"] for row in refusals if not is_refusal(row["text"])]
    false = [row["text"] for row in LABELLED if not row["refusal"] and is_refusal(row["text"])]
    found = len(refusals) - len(missed)
    assert found / (found + len(false)) >= 0.97, false
    assert found / len(refusals) >= 0.95, missed


@pytest.mark.parametrize("before", ["", "Hello! ", "## Answer\n\n", "**", "> ", "Thank you for asking. ", "Assistant: ", "⚠️ "])
def test_a_refusal_is_found_behind_greetings_and_markup(before: str) -> None:
    assert is_refusal(f"{before}I’m sorry, but I can’t help with that.")


@pytest.mark.parametrize(
    "around",
    ["Dear Tom,\n\n{}\n\nKind regards,\nAna", '"{}" said the guard.', "NORA: {}\nPETER: Why not?", 'print("{}")', "*sighs* {}"],
)
def test_what_somebody_else_says_is_no_refusal(around: str) -> None:
    assert not is_refusal(around.format("I'm sorry, but I can't help you with that."))


def test_a_refusal_far_from_the_opening_is_no_refusal_of_the_answer() -> None:
    assert not is_refusal("Bread needs flour, water, salt and time. " * 20 + "I can't help with that.")


def test_a_job_adds_beginnings_of_its_own() -> None:
    assert not is_refusal("Ask me later.", refusal_pattern([]))
    assert is_refusal("Ask me later.", refusal_pattern(["ask me later"]))


@given(st.text(st.sampled_from("I'm sorry, can't help— \n*\"“:.i我不能")))
def test_any_text_is_decided(text: str) -> None:
    assert is_refusal(text) in (True, False)
