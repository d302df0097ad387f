"""A corpus with planted duplicates and its exact truth, generated from a word model so that nothing is downloaded."""

from __future__ import annotations

import random
from itertools import accumulate

import numpy as np
import numpy.typing as npt

NEAR_SHARE, EXACT_SHARE, TEMPLATE_SHARE = 0.30, 0.04, 0.06


def corpus(n: int, seed: int = 7) -> list[str]:
    """Texts of about 200 words, shuffled: originals, edited copies at every similarity, exact copies, and templates."""
    draw = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    sizes = (min(14, max(1, int(draw.gauss(6 if i > 200 else 3.2, 2.2)))) for i in range(50_000))
    words = ["".join(draw.choices(letters, range(26, 0, -1), k=size)) for size in sizes]
    weights = list(accumulate(1 / (i + 10) for i in range(len(words))))

    def random_words(size: int) -> list[str]:
        return draw.choices(words, cum_weights=weights, k=size)

    def length() -> int:
        return int(min(1500, max(40, draw.lognormvariate(5.1, 0.62))))

    near, exact, templated = (int(n * share) for share in (NEAR_SHARE, EXACT_SHARE, TEMPLATE_SHARE))
    texts = [random_words(length()) for _ in range(n - near - exact - templated)]
    originals = len(texts)
    while len(texts) < originals + templated:
        boilerplate, own_words = random_words(90), draw.randrange(25, 120)
        copies = min(100, originals + templated - len(texts))
        texts += [boilerplate[:40] + random_words(own_words) + boilerplate[40:] for _ in range(copies)]
    texts += [texts[draw.randrange(originals)] for _ in range(exact)]
    for i in range(near):
        edited = list(texts[draw.randrange(originals // 2)])
        wanted = 0.5 + 0.05 * (i % 10)
        for _ in range(max(1, round(len(edited) * (1 - wanted) / (1 + wanted) / 5))):
            edited[draw.randrange(len(edited))] = draw.choice(words)
        texts.append(edited)
    draw.shuffle(texts)
    return [" ".join(text).capitalize() + "." for text in texts]


def distinct(n: int, seed: int) -> list[str]:
    """Unrelated texts of about 200 words, as most of a large index is."""
    draw = np.random.default_rng(seed)
    parts = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfg"]
    words = np.array([a + b for a in parts for b in parts])
    ends = np.cumsum(np.clip(draw.lognormal(5.1, 0.62, n), 40, 1500).astype(int))
    text_words = words[draw.integers(0, len(words), ends[-1])].tolist()
    return [" ".join(text_words[a:b]) for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def kept_first(shingles: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], threshold: float) -> npt.NDArray[np.bool_]:
    """The exact answer, without LSH: a text is dropped when an earlier kept one has Jaccard similarity of `threshold`."""
    rows_of_shingle: dict[int, list[int]] = {}
    kept = np.ones(len(offsets) - 1, bool)
    sizes = np.diff(offsets)
    for row in range(len(kept)):
        counts: dict[int, int] = {}
        own_shingles = shingles[offsets[row] : offsets[row + 1]].tolist()
        for shingle in own_shingles:
            for other in rows_of_shingle.get(shingle, ()):
                counts[other] = counts.get(other, 0) + 1
        kept[row] = not any(c / (sizes[row] + sizes[o] - c) >= threshold for o, c in counts.items())
        if kept[row]:
            for shingle in own_shingles:
                rows_of_shingle.setdefault(shingle, []).append(row)
    return kept
