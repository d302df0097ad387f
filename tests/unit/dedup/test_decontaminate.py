from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from synth_ray.dedup.columns import binary_column
from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.fingerprint import Fingerprinter, without_thoughts, word_counts
from synth_ray.job.dedup import Decontaminate, Dedup

PRINTS = Fingerprinter(Dedup())


def sentences(seed: int, n: int, least: int = 15, most: int = 80) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(20_000)}" for _ in range(draw.randint(least, most))) for _ in range(n)]


def quoted(evals: list[str], prompts: list[str], completions: list[str]) -> list[bool]:
    texts = QuotedTexts(*PRINTS.words(pa.array(evals)), Decontaminate())
    return list(map(bool, texts.overlapping_rows(*PRINTS.word_hashes(pa.array(prompts), pa.array(completions)))))


def test_every_verbatim_plant_is_found_in_prompt_and_in_completion() -> None:
    evals = sentences(1, 300, least=8)
    around = sentences(2, 300)
    planted = [f"{a[: len(a) // 2]} {e.upper()}, {a[len(a) // 2 :]}" for a, e in zip(around, evals, strict=True)]
    assert all(quoted(evals, planted, around))
    assert all(quoted(evals, around, planted))


def test_a_text_covered_by_half_in_short_grams_is_found_and_clean_text_is_not() -> None:
    draw = random.Random(3)
    evals, rows = sentences(4, 500, least=60, most=90), []
    for text in evals:  # keep runs of 12 words, change the one after: no 13-gram survives, most 8-grams do
        words = text.split()
        rows.append(" ".join(f"x{draw.randrange(10**6)}" if i % 13 == 12 else w for i, w in enumerate(words)))
    nothing = [""] * 500
    assert np.mean(quoted(evals, rows, nothing)) == 1.0
    assert np.mean(quoted(evals, sentences(5, 500), nothing)) == 0.0


def test_a_brief_evaluation_text_counts_only_as_a_whole_field() -> None:
    evals = ["what is my balance"]
    assert quoted(evals, ["What is my balance?", "so what is my balance now", "other"], ["a", "b", "what is my balance"]) == [
        True,
        False,
        True,
    ]


def test_no_gram_reaches_from_the_prompt_into_the_completion() -> None:
    evals = ["a b c d e f g h i j k l m n"]
    assert quoted(evals, ["a b c d e f g"], ["h i j k l m n"]) == [False]


def test_a_thought_that_quotes_is_found_and_rows_without_one_have_the_word_hashes_they_had() -> None:
    evals, around, prompts = sentences(6, 40, least=16), sentences(7, 40), sentences(8, 40)
    thoughts = [f"The task says: {text}" if n % 2 else None for n, text in enumerate(evals)]
    rows = PRINTS.word_hashes(pa.array(prompts), pa.array(around), thoughts=pa.array(thoughts))
    texts = QuotedTexts(*PRINTS.words(pa.array(evals)), Decontaminate())
    assert list(map(bool, texts.overlapping_rows(*rows))) == [thought is not None for thought in thoughts]
    plain = PRINTS.word_hashes(pa.array(prompts), pa.array(around))
    assert all(map(np.array_equal, without_thoughts(*rows), plain))
    assert all(map(np.array_equal, without_thoughts(*plain), plain))
    packed, packed_plain = (word_counts(binary_column(words, ends)) for words, ends in (rows, plain))
    assert all(map(np.array_equal, packed, packed_plain))
    nothing = PRINTS.word_hashes(pa.array(prompts), pa.array(around), thoughts=pa.nulls(40, pa.string()))
    assert all(map(np.array_equal, nothing, plain))
