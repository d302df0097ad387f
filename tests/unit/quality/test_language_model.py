"""The n-gram model equals one written from the paper's formulas, its probabilities sum to 1, and perplexity tells texts apart."""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.quality.features import Ragged
from synth_ray.quality.language_model import BEGINNING, END, FIRST_WORD, LanguageModel
from synth_ray.quality.perplexity import perplexity
from synth_ray.quality.sample import SampledRow
from synth_ray.quality.tokens import Vocabulary, tokens
from tests.docstrings import labelled_docstrings

VOCABULARY = FIRST_WORD + 5
Texts = list[list[int]]
SOME_TEXTS = st.lists(st.lists(st.integers(FIRST_WORD, VOCABULARY - 1), max_size=8), min_size=1, max_size=30)


class ByTheBook:
    """Interpolated modified Kneser-Ney (Chen and Goodman, 1999, section 4.1), by dictionaries and recursion."""

    def __init__(self, texts: Texts, order: int) -> None:
        self.order = order
        padded = [["<s>"] * (order - 1) + [str(word) for word in text] + ["</s>"] for text in texts]
        highest = Counter(tuple(text[i - order + 1 : i + 1]) for text in padded for i in range(order - 1, len(text)))
        self.counts = {order: highest}
        for n in range(order - 1, 0, -1):
            before = defaultdict(set)
            occurrences: Counter[tuple[str, ...]] = Counter()
            for gram in self.counts[n + 1]:
                before[gram[1:]].add(gram[0])
            for gram, count in highest.items():
                occurrences[gram[-n:]] += count
            self.counts[n] = Counter({g: occurrences[g] if g[0] == "<s>" else len(before[g]) for g in before})
        self.discounts = {n: self._discounts(list(counts.values())) for n, counts in self.counts.items()}

    @staticmethod
    def _discounts(counts: list[int]) -> list[float]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if all(0 < d <= k for k, d in enumerate(found, 1)):
                return found
        return [0.5, 1.0, 1.5]

    def probability(self, word: str, context: tuple[str, ...]) -> float:
        """`context` is as long as the order below asks for, nearest word last."""
        n = len(context) + 1
        lower = 1 / (VOCABULARY - 1) if n == 1 else self.probability(word, context[1:])
        after = {gram: count for gram, count in self.counts[n].items() if gram[:-1] == context}
        if not after:
            return lower
        total = sum(after.values())
        taken = [self.discounts[n][min(count, 3) - 1] for count in after.values()]
        count = after.get((*context, word), 0)
        own = count - self.discounts[n][min(count, 3) - 1] if count else 0.0
        return own / total + sum(taken) / total * lower


def ragged(texts: Sequence[Sequence[int]]) -> Ragged:
    return Ragged.of([np.array(text, np.int64) for text in texts])


@settings(deadline=None, max_examples=60)
@given(
    SOME_TEXTS, st.lists(st.lists(st.integers(FIRST_WORD, VOCABULARY - 1), max_size=5), min_size=1, max_size=5), st.integers(1, 5)
)
def test_it_equals_the_formulas(texts: Texts, tested: Texts, order: int) -> None:
    logs, words = LanguageModel(ragged(texts), vocabulary=VOCABULARY, order=order).log_probabilities(ragged(tested))
    book = ByTheBook(texts, order)
    for text, log, n in zip(tested, logs, words, strict=True):
        padded = ["<s>"] * (order - 1) + [str(word) for word in text] + ["</s>"]
        wanted = [book.probability(padded[i], tuple(padded[i - order + 1 : i])) for i in range(order - 1, len(padded))]
        assert n == len(text) + 1
        assert log == pytest.approx(sum(map(math.log, wanted)), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    SOME_TEXTS,
    st.lists(st.integers(0, VOCABULARY - 1).filter(lambda word: word not in (END, BEGINNING)), max_size=4),
    st.integers(1, 4),
)
def test_probabilities_after_any_context_sum_to_one(texts: Texts, context: list[int], order: int) -> None:
    """Unknown words included: the probability that a text goes on with any word, or ends."""
    model = LanguageModel(ragged(texts), vocabulary=VOCABULARY, order=order)
    after = [stream_of(model, [*context, word]) for word in range(VOCABULARY) if word != BEGINNING]
    assert sum(float(model.probabilities(words)[-1]) for words in after) == pytest.approx(1)
    assert all(np.isfinite(model.log_probabilities(ragged([context]))[0]))


def stream_of(model: LanguageModel, words: list[int]) -> np.ndarray[Any, Any]:
    return np.array([BEGINNING] * (model.order - 1) + words, np.int64)


def test_words_are_folded_and_scripts_without_spaces_are_read_by_character() -> None:
    assert tokens("Don't PANIC,\n now!") == ["don", "'", "t", "panic", ",", "now", "!"]
    assert tokens("GPU上で走る x_1") == ["gpu", "上", "で", "走", "る", "x_1"]
    assert Vocabulary().numbered(["a b a", "", "c b"]).values.tolist() == [0, 1, 0, 2, 1]


def test_other_real_text_costs_nothing_and_shuffled_or_repeated_text_does() -> None:
    real, other = list(labelled_docstrings(120)), list(labelled_docstrings(120, start=120))
    same = perplexity(other, real)
    assert same["ratio"] == pytest.approx(1, abs=0.08)
    assert same["ratio_low"] < same["ratio"] < same["ratio_high"]
    assert same["real_by_real"]["low"] < same["real_by_real"]["value"] < same["real_by_real"]["high"]
    draw = random.Random(3)
    shuffled = [replace(row, text=" ".join(draw.sample(words := row.text.split(), len(words)))) for row in other]
    narrow = [replace(other[i % 60], id=f"{i:032x}") for i in range(len(other))]
    assert perplexity(shuffled, real)["ratio"] > 1.5
    assert perplexity(narrow, real)["ratio"] > 1.25
    assert perplexity(draw.sample(other, len(other)), draw.sample(real, len(real))) == same


def test_rows_made_from_a_tested_row_do_not_train() -> None:
    """Copies of all real rows, under their lineages: only those of rows that train remain, so nothing is known by heart."""
    real = list(labelled_docstrings(120))
    copies = [replace(row, id=row.id[::-1], group=row.id) for row in real]
    assert perplexity(copies, real)["ratio"] == pytest.approx(1, abs=0.05)


def test_too_little_text_is_told() -> None:
    real = list(labelled_docstrings(120))
    few = [SampledRow(f"{i:032x}", "a few words") for i in range(10)]
    assert perplexity(few, real)["not_measured"].startswith(
        "wanted at least 500 words to train on and 20 rows to test on of each"
    )
    assert set(perplexity([], [])) == {"not_measured"}
    assert "NaN" not in json.dumps(perplexity(few * 100, real))
