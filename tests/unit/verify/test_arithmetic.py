"""Worked answers are recomputed: every wrong step is flagged, and no right one."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.verify.arithmetic import final_answer, has_wrong_arithmetic, wrong_step
from synth_ray.verify.numbers import read_number


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
        "The share is <<30/60=50>>50%.",
        "It costs $1,200 + $300 = $1,500 in all.",
        "Between 9:00 and 17:00 there are 17 - 9 = 8 hours.",
        "x = 5, so 1/2 of them = 12",  # prose, not arithmetic: not checked
        "<<import os=1>> and <<2**3=8>>",
        "He eats 20 apples * 2/5 = 8 apples.",
        "They drive 60 miles/hour * 3 hours = 180 miles.",
        "That is (60 inches + 68 inches + 64 inches) / 3 = 64 inches.",
        "So 30/60 = 0.5 = 50%, and 20% of 80 = 16.",
        "A chain: 10 - 4 = 6 - 1 = 5.",
        "2 1/2 * 4 = 10, and 28 / 1/5 = 140.",
        "3x + 2 = 14, so 3x = 12",
        "2 hours + 30 minutes = 150 minutes",
        "A total of 5 + 12 + 15 = $32.00",
        "$0.25 x 10 glasses = 250 cents",
        "3k + 2k = 5000",
        "\\(\\frac{1}{2} \\times 24 = 12\\)",
        "- 5 + 3 = 8",
        "Adding up, N + 3 + 4 = 19",
    ],
)
def test_a_right_or_unreadable_step_is_never_called_wrong(right: str) -> None:
    assert wrong_step(right) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "<<50*20%=11>>11",
        "They have 12 + 7 = 20 apples.",
        "<<7/2=3.9>>3.9",
        "4 × 5 = 21",
        "12/4=300",
        "<<12/4=300>>300",
        "<<12+7=19>>20",
        "He eats 20 apples * 2/5 = 9 apples.",
        "60 miles/hour * 3 hours = 190 miles",
        "They fed Luna 2 + 3 = 8 cups of food.",
        "1/2 of 24 = 13",
        "3 x 4 = 13",
        "3 + 4 = 2 * 3 + 2 = 8",
    ],
)
def test_a_wrong_step_is_flagged(wrong: str) -> None:
    assert wrong_step(wrong)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1/2", "1/2"),
        ("2 1/2", "5/2"),
        ("½", "1/2"),
        ("$1,250.50", "1250.5"),
        ("12 000", "12000"),
        ("−5", "-5"),
        ("-$5", "-5"),
        ("(-5)", "-5"),
        ("5 apples", "5"),
        ("5 km/h", "5"),
        ("x = 5", "5"),
        ("The answer is 5.", "5"),
        ("**5**", "5"),
        ("$\\frac{3}{4}$", "3/4"),
        ("\\boxed{-\\dfrac{2}{3}}", "-2/3"),
        ("\\boxed{\\$1{,}200}", "1200"),
        ("50%", "1/2"),
        ("3:45", None),
        ("10-12", None),
        ("2^3", None),
        ("7/0", None),
        ("blue", None),
        ("9" * 6000, None),
    ],
)
def test_the_final_answer_is_read_as_people_write_it(written: str, value: str | None) -> None:
    answer = final_answer(f"So it is.\n#### {written}")
    assert (answer.value if answer else None) == (Fraction(value) if value else None)


def test_the_final_answer_is_the_last_one_marked() -> None:
    assert final_answer("#### 3\nNo, wait.\n#### $1,250.50") == read_number("1250.50")
    assert final_answer("So \\boxed{7}, that is \\boxed{\\frac{1}{2}}.") == read_number("1/2")
    assert final_answer("The answer is 3.") is None
    assert read_number("about 3") is None


@pytest.mark.parametrize(
    ("final", "gold", "is_right"),
    [
        ("1/2", "1/2", True),
        ("1/2", "0.5", True),
        ("1/2", "50%", True),
        ("1/2", "1", False),
        ("50%", "50%", True),
        ("50%", "50", True),
        ("50%", "5", False),
        ("5000%", "50%", False),
        ("50", "1/2", False),
        ("0.33", "1/3", True),
        ("0.3", "1/3", False),
        ("$1,000", "1000", True),
        ("8 apples", "so it is\n#### 8", True),
        ("8", "8 apples", True),
    ],
)
def test_the_final_answer_is_compared_with_the_gold_one(final: str, gold: str, is_right: bool) -> None:
    assert has_wrong_arithmetic(f"It follows.\n#### {final}", gold) is not is_right


def test_without_a_gold_answer_the_final_one_must_come_from_the_last_step() -> None:
    text = "They have 5 + 3 = 8 pears.\nEach costs $2, so they pay 8 * 2 = $16.\n#### "
    assert [has_wrong_arithmetic(text + final) for final in ("16", "$16.00", "18", "8")] == [False, False, True, False]
    assert not has_wrong_arithmetic("It is a matter of taste.\n#### 3")


_THINGS = ("apples", "pages of the book", "miles", "dollars")


def _worked(draw: random.Random) -> tuple[str, list[int]]:
    """A worked answer and its results, in one of the styles that people use."""
    a, b, c = draw.randint(2, 90), draw.randint(2, 60), draw.randint(2, 12)
    thing, money = draw.choice(_THINGS), draw.choice(("", "$"))
    style = draw.randrange(3)
    if style == 0:
        return f"First there are {a} + {b} = {{}} {thing}.\nThen {c} times as many, so {c} * {a + b} = {{}} {thing}.", [
            a + b,
            c * (a + b),
        ]
    if style == 1:
        return f"{c} boxes x {a} {thing}/box = {{}} {thing}. With {money}{b} more it is {money}{a * c}+{money}{b}={money}{{}}", [
            a * c,
            a * c + b,
        ]
    return f"Half of {2 * a} {thing} is 1/2 of {2 * a} = {{}}, and {a} {thing} + {b} {thing} = {{}} {thing} in all.", [a, a + b]


def test_right_answers_without_marks_pass_and_nine_in_ten_wrong_ones_are_found() -> None:
    draw = random.Random(7)
    found = 0
    for _ in range(400):
        text, results = _worked(draw)
        assert not has_wrong_arithmetic(text.format(*results)), text.format(*results)
        slip = draw.randrange(2)
        results[slip] += draw.choice([-1, 1, 2, 10])
        found += has_wrong_arithmetic(text.format(*results))
    assert found >= 360


@given(st.text(alphabet="0123456789+-*/()=<>%$., x#\\{}½", max_size=300))
def test_any_text_is_checked_without_an_error(text: str) -> None:
    assert wrong_step(text) in ("", "marked", "plain")
    assert has_wrong_arithmetic(text, text) in (True, False)
