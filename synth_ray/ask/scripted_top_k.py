"""Invented log-probabilities: a pure function of the text, so that what is made of them can be checked without a model.

A token is a word. The word at any place has the probability `exp(logprob_of(word))`; the others are the words with the next
numbers, each half as likely as the one before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from synth_ray.ask.top_k import pack_top_k
from synth_ray.records import Message, TopK

VOCABULARY = 32_000
_LOGPROBS = 4000
_SHARE_OF_OTHERS = 0.9
"""What the others share of the probability that the word leaves, if there were endlessly many of them."""


def id_of(word: str) -> int:
    return _code(word) % VOCABULARY


def logprob_of(word: str) -> float:
    """Between -4.0 and -0.001."""
    return -(1 + _code(word) % _LOGPROBS) / 1000


def _code(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "backslashreplace"))


def words_of(messages: Iterable[Message]) -> list[str]:
    return [word for message in messages for word in message["content"].split(" ")]


def scripted_top_k(messages: Iterable[Message], words: Sequence[str], k: int) -> TopK:
    """The k likeliest words at every place of an answer."""
    codes = np.array([_code(word) for word in words], np.int64)
    own, said = codes % VOCABULARY, np.exp(-(1 + codes % _LOGPROBS) / 1000)
    ids, likely = _likeliest(own, said, k)
    return pack_top_k([id_of(word) for word in words_of(messages)], own, ids, np.log(likely))


def _likeliest(own: npt.NDArray[np.int64], said: npt.NDArray[np.float64], k: int) -> tuple[npt.NDArray[np.int64], ...]:
    others = (_SHARE_OF_OTHERS * (1 - said))[:, None] * 0.5 ** np.arange(1, k + 1)
    rank = np.arange(k) - (others > said[:, None]).sum(axis=1)[:, None]
    behind = np.arange(k) + (rank < 0)  # the number of the other word at each place, where the word itself does not stand
    likely = np.where(rank == 0, said[:, None], np.take_along_axis(others, np.maximum(behind - 1, 0), 1))
    ids = np.where(rank == 0, own[:, None], (own[:, None] + behind) % VOCABULARY)
    return ids, likely
