"""The standard classifier of short texts: logistic regression on weighted words, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from synth_ray.quality.intervals import Array
from synth_ray.quality.sample import SampledRow
from synth_ray.quality.tokens import Vocabulary

_FEWEST_PASSES, _MOST_PASSES, _ROWS_PASSED = 15, 200, 40_000
_COST = 400_000
MAX_ROWS, _ROWS_PER_CLASS = 10_000, 10


def affordable_rows(classes: int) -> int:
    """The most rows to train on: the time of a fit grows with rows times classes."""
    return min(MAX_ROWS, max(_COST // max(1, classes), _ROWS_PER_CLASS * classes))


class TextClassifier:
    """Trains on some of its rows and predicts others. The word counts of all rows are made once.

    Law: the result is a function of the rows in their order; it uses one thread and fixed seeds.
    """

    def __init__(self, rows: Sequence[SampledRow], classes: Sequence[str]) -> None:
        from scipy.sparse import csr_matrix  # here: half a second

        number = {name: i for i, name in enumerate(classes)}
        self.labels = np.array([number[row.label] for row in rows], np.int64)
        self._classes = len(classes)
        vocabulary = Vocabulary()
        words = vocabulary.numbered([row.text for row in rows])
        shape = (len(rows), max(1, len(vocabulary)))
        self._counts = csr_matrix((np.ones(len(words.values), np.float32), words.values, words.offsets), shape=shape)
        self._counts.sum_duplicates()

    def probabilities(self, train: Array, test: Array) -> Array:
        """The probability of every class for the test rows, tests×classes; 0 for classes that no training row has."""
        present = np.unique(self.labels[train])
        probabilities = np.zeros((len(test), self._classes))
        if len(present) < 2:
            probabilities[:, present] = 1.0
            return probabilities
        weighted, others = self._weighted(train, test)
        model = _fitted(weighted, self.labels[train])
        probabilities[:, present] = model.predict_proba(others)
        return probabilities

    def predicted(self, train: Array, test: Array) -> Array:
        """The likeliest class of each test row."""
        likeliest: Array = np.argmax(self.probabilities(train, test), axis=1)
        return likeliest

    def _weighted(self, train: Array, test: Array) -> tuple[Any, Any]:
        """TF-IDF of both, with the words and document frequencies of the training rows alone."""
        from sklearn.feature_extraction.text import TfidfTransformer

        counts = self._counts[train]
        known = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]))
        if not len(known):
            known = np.array([0])
        weigh = TfidfTransformer(sublinear_tf=True)
        return weigh.fit_transform(counts[:, known]), weigh.transform(self._counts[test][:, known])


def _fitted(weighted: Any, labels: Array) -> Any:
    from sklearn.linear_model import LogisticRegression

    passes = min(_MOST_PASSES, max(_FEWEST_PASSES, _ROWS_PASSED // len(labels)))
    model = LogisticRegression(C=10.0, solver="saga", max_iter=passes, tol=1e-3, random_state=0)
    with warnings.catch_warnings():
        # That the passes are bounded is meant, and so is training on few rows of many classes.
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(weighted, labels)
