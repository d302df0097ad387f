"""What a glance at all texts of a chunk tells is what a look at each would."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.check.quality import echo_share, echo_shares
from synth_ray.check.refusal import _DENIALS, _lowered, _reads_as_refusal, refusals
from synth_ray.check.repetition import repetition, repetitions
from synth_ray.check.thoughts import MARKS, ThoughtRules, has_mark, have_mark
from synth_ray.scan import compiled_union, texts_matching

PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from([" ", "\n", "\u3000", "\x1c", "a", "7", "٣", "ha", "ẞ", "the cat sat on ", "Say it again. ", *_DENIALS]),
    st.sampled_from(
        ["I cannot help with that. ", "I'm sorry, but I can't. ", "Je ne peux pas. ", "抱歉，我无法。", *MARKS, "`", '"']
    ),
)
TEXTS = st.builds(
    lambda piece, times, rest: piece * times + "".join(rest), PIECES, st.integers(1, 30), st.lists(PIECES, max_size=12)
)


def _denies(text: str) -> bool:
    return any(denial.encode() in _lowered(text) for denial in _DENIALS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6), st.sampled_from([(), ("reasoning:",)]))
def test_a_glance_at_many_texts_tells_what_a_look_at_each_does(rows: list[tuple[str, str]], marks: tuple[str, ...]) -> None:
    texts, prompts = [text for text, _ in rows], [prompt for _, prompt in rows]
    assert list(repetitions(texts)) == [repetition(text) for text in texts]
    assert refusals(texts) == [_denies(text) and _reads_as_refusal(text) for text in texts]
    assert list(echo_shares(prompts, texts)) == [echo_share(p, c) for p, c in zip(prompts, texts, strict=True)]
    assert list(echo_shares(texts, texts)) == [echo_share(text, text) for text in texts]
    rules = ThoughtRules(marks=marks)
    assert have_mark(texts, rules) == [has_mark(text, rules.pattern()) for text in texts]


EXPRESSIONS = (rb"[0-9]{3}", rb"\bpin\b", rb"^at$", rb"[^ ]@[a-z]", rb"key\s=")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([b"1", b"23", b"PIN", b" ", b"@", b"at", b"\n", b"key", b"=", b"x"]), max_size=6), max_size=6
    )
)
def test_one_search_misses_no_text_that_matches(pieces: list[list[bytes]]) -> None:
    texts = [b"".join(parts) for parts in pieces]
    found = texts_matching(compiled_union(EXPRESSIONS, ignores_case=True), texts)
    matching = {n for n, text in enumerate(texts) if any(re.search(e, text, re.IGNORECASE) for e in EXPRESSIONS)}
    assert found == sorted(set(found))
    assert matching <= set(found)
