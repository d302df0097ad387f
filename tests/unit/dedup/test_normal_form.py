"""Which texts are identical; and the compiled kernels agree with the definition on any text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.index import NEW, Index
from synth_ray.dedup.normal_form import normal_form, words
from synth_ray.dedup.normalise import FIELD
from synth_ray.job.dedup import Dedup
from tests.unit.dedup.test_index import batch_of, decide

SECTION = Dedup(ngram=3, min_tokens=2)
COMPILED, DEFINED = Fingerprinter(SECTION), Fingerprinter(SECTION, compiled=False)

WORDS = ["12", "7", "x", "total", "C", "for", "é", "字", "√", "€", "😀", "\u0338", "≠", "ﬁ", "e\u0301"]
SIGNS = ["+", "-", "*", "/", "%", "=", "<", "!", "#", "&", "++", "−", "×", "÷", "＋", "–", "(", ")", "[", "]", '"', ".", ",", "`"]
SPACES = ["```", "~~~", " ", "  ", "    ", "\t", "\n", "\r\n", "\u2028", "\u00a0", "\u200b", "\x00", FIELD]
PIECES = st.sampled_from(WORDS + SIGNS + SPACES)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60)


def identical(*texts: str) -> bool:
    return len({tuple(row) for row in COMPILED(pa.array(texts)).digests.tolist()}) == 1


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example(["x" * 9, "a\n\tb", "```\na\nb\n```\nc", f"{FIELD}{FIELD}", "Ⱥ" * 40, "字" * 30, "+-" * 30])
def test_the_kernels_read_what_the_definition_says(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    compiled, defined = COMPILED(column), DEFINED(column)
    for name in ("digests", "bands", "shingles", "offsets"):
        assert np.array_equal(getattr(compiled, name), getattr(defined, name)), name
    for found, expected in zip(COMPILED.words(column), DEFINED.words(column), strict=True):
        assert np.array_equal(found, expected)


@given(TEXTS, TEXTS)
def test_texts_are_identical_exactly_when_their_normal_forms_are_equal(first: str, second: str) -> None:
    assert identical(first, second) == (normal_form(first) == normal_form(second))


@given(st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=1, max_size=8), st.data())
def test_prose_that_differs_in_punctuation_case_and_spacing_is_identical(said: list[str], data: st.DataObject) -> None:
    gaps = st.sampled_from([" ", "  ", ", ", ". ", "; ", ": ", " – ", "-", "... ", "! ", "?\n", '" ', " (", ") ", "\n\n"])
    ends = st.sampled_from(["", ".", "!", "?!", "…", "\n"])
    written = [word for word in said for word in (word, data.draw(gaps))][:-1]
    assert identical(" ".join(said), "".join(written).title() + data.draw(ends))


def test_short_texts_have_the_same_normal_form_as_long_ones() -> None:
    assert identical("thanks again!", "Thanks,  again", "thanks – again…", "  thanks\n(again)")
    assert identical("well-known", "well known")
    assert identical("**Answer**: yes", "Answer: yes", "- Answer: yes", "> answer, yes")
    assert not identical("thanks again", "thanks"), "a word"
    assert not identical(f"a b{FIELD}c", f"a{FIELD}b c")
    assert not identical("fine", f"fine{FIELD}")


@pytest.mark.parametrize(
    "told_apart",
    [
        ["12 + 3", "12 - 3", "12 * 3", "12 / 3", "12 % 3", "12 = 3", "12 < 3", "12 > 3", "12 3", "12 ** 3", "12 ^ 3", "12 -> 3"],
        ["a+b", "a-b", "a*b", "a/b", "a&b", "a|b", "a=b"],
        ["total + tax", "total * tax", "total / tax", "total - tax", "total != tax", "total == tax"],
        ["C", "C++", "C#", "F#", "F"],
        ["written in C.", "written in C++.", "written in C#."],
        ["i++", "i", "++i"],
        ["f(x) + g(y)", "f(x) * g(y)", "f(x) - g(y)"],
        ["(12 + 3) * 4", "(12 + 3) / 4", "(12 - 3) * 4"],
        ["what is -5 and 3", "what is 5 and 3"],
        ["more than >5", "more than <5"],
        ["if (x) go", "if (!x) go"],
        ["10% off", "10 off"],
        ["x ≤ 5", "x ≥ 5", "x ≠ 5", "x 5"],
        ["€5", "£5", "5"],
        ["👍", "👎", "", "?", "!"],
    ],
)
def test_an_operator_tells_texts_apart(told_apart: list[str]) -> None:
    assert len({str(normal_form(text)) for text in told_apart}) == len(told_apart)


def test_an_operator_is_the_same_in_any_spelling() -> None:
    assert identical("12 - 3", "12 − 3", "12 – 3", "12-3", "12 －3")
    assert identical("12 * 3", "12 × 3", "12×3")
    assert identical("12 / 3", "12 ÷ 3", "12 ∕ 3")
    assert identical("x=-5", "x = -5", "x = −5")
    assert words("C++, C# and 12 - 3") == ["c", "+", "+", "c", "#", "and", "12", "-", "3"]


LOOP = "for item in items:\n    print(item)\n    print('done')"


def test_code_that_differs_in_indentation_or_line_breaks_is_another_text_and_prose_is_not() -> None:
    assert not identical(LOOP, LOOP.replace("    print('done')", "print('done')"))
    assert not identical("if a:\n    b\n    c", "if a:\n    b c")
    assert not identical("```\nreturn\nx\n```", "```\nreturn x\n```")
    assert identical("return\nx", "return x"), "neither fenced nor indented"
    assert identical(LOOP, LOOP.replace("\n", "\r\n"), LOOP.replace("\n", "\n\n"), LOOP.replace("\n", " \n"))
    assert identical(LOOP, "\n".join("  " + line for line in LOOP.split("\n"))), "a margin of all lines"
    assert words(LOOP) == words(" ".join(LOOP.split())), "n-grams against leaks and contamination do not see indentation"


def test_contrast_pairs_are_near_duplicates_no_more() -> None:
    question = "A tank holds 48 litres and a pump computes 48 {} 12 before it opens. What does it show?\x1f{}"
    sums = [question.format(*pair) for pair in (("-", 36), ("+", 60), ("*", 576))]
    language = [f"How do I read a file line by line in {name}? I know no other language" for name in ("C", "C++", "C#")]
    programs = [f"Print every item and say done{FIELD}{code}" for code in (LOOP, LOOP.replace("    print('", "print('"))]
    section = Dedup(ngram=3)
    for texts in (sums, language, programs):
        assert decide(Index(section), batch_of(texts, section))[0] == [NEW] * len(texts)
