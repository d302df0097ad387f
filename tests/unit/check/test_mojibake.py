"""Text read in a wrong encoding is found, and text in any language that was read right is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.mojibake import is_mojibake

RIGHT = [
    "café, naïve, façade, “quoted” – don’t …",
    "Größe, Übermut, Straße; Ärger kostet 5 €",
    "NÃO, AÇÃO, ÂNGELA, MAÇÃ e pão",
    "NESTLÉ® and CAFÉ™ — “É”, 90° ± 2 µm²",
    "привет мир",
    "你好，世界！",
    "ありがとうございます",
    "Tiếng Việt rất đẹp",
    "😀👍",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_text_is_not_flagged(text: str) -> None:
    assert not is_mojibake(text)


@pytest.mark.parametrize("text", RIGHT)
def test_the_same_text_read_in_a_wrong_encoding_is_flagged(text: str) -> None:
    assert is_mojibake(text.encode().decode("latin-1"))


@pytest.mark.parametrize("text", ["donâ€™t", "CafÃ©", "Â£5", "a lost \ufffd character", "ðŸ˜€", "fÃ¼r", "â€œquotedâ€"])
def test_windows_1252_and_lost_characters_are_flagged(text: str) -> None:
    assert is_mojibake(text)


@given(st.text(st.characters(max_codepoint=0x7E)), st.sampled_from("éèüöäñçßåø"), st.text(st.characters(max_codepoint=0x7E)))
def test_one_accented_letter_is_enough(before: str, letter: str, after: str) -> None:
    assert is_mojibake((before + letter + after).encode().decode("latin-1"))
    assert not is_mojibake(before + letter + after)
