"""Worked answers are recomputed: every wrong step is flagged, and no right one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.arithmetic import final_answer, number, wrong_step

_PEOPLE = st.sampled_from(["Ana", "Bo", "Chen"])


@given(st.integers(1, 999), st.integers(1, 999), st.sampled_from("+-*"), st.integers(1, 50))
def test_a_marked_step_passes_if_and_only_if_its_result_is_right(a: int, b: int, sign: str, off: int) -> None:
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    text = f"They have {a} {sign} {b} = <<{a}{sign}{b}=WHAT>>WHAT in all.\n#### WHAT"
    assert wrong_step(text.replace("WHAT", str(result))) == ""
    assert wrong_step(text.replace("WHAT", str(result + off))) == "marked"


@pytest.mark.parametrize(
    "right",
    [
        "Half of 7 is <<7/2=3.5>>3.5.",
        "A third is <<10/3=3.33>>3.33 dollars.",
        "The discount is 20% of $50 = <<50*20%=10>>10.",
        "<<(2+3)*4=20>>20, and <<2(3+4)=14>>14.",
        "It costs $1,200 + $300 = $1,500 in all.",
        "Between 9:00 and 17:00 there are 17 - 9 = 8 hours.",
        "x = 5, so 1/2 of them = 12",  # prose, not arithmetic: not checked
        "<<import os=1>> and <<2**3=8>>",
    ],
)
def test_a_right_or_unreadable_step_is_never_called_wrong(right: str) -> None:
    assert wrong_step(right) == ""


@pytest.mark.parametrize("wrong", ["<<50*20%=11>>11", "They have 12 + 7 = 20 apples.", "<<7/2=3.9>>3.9", "4 × 5 = 21"])
def test_a_wrong_step_is_flagged(wrong: str) -> None:
    assert wrong_step(wrong)


def test_the_final_answer_is_the_last_one_marked() -> None:
    assert final_answer("#### 3\nNo, wait.\n#### $1,250.50") == Fraction("1250.50")
    assert final_answer("The answer is 3.") is None
    assert number("30%") == Fraction(3, 10)
    assert number("about 3") is None


@given(st.text(alphabet="0123456789+-*/()=<>%$., x", max_size=300))
def test_any_text_is_checked_without_an_error(text: str) -> None:
    assert wrong_step(text) in ("", "marked", "plain")
