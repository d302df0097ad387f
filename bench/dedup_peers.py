"""The peer libraries, each used as its documentation shows: texts in order, and for each whether it is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise

Peer = Callable[[list[str]], list[bool]]
WORDS = 5


def grams(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return list({" ".join(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))})


def datasketch_readme(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    lsh, kept = MinHashLSH(threshold=0.8, num_perm=128), []
    for i, text in enumerate(texts):
        minhash = MinHash(num_perm=128)
        for gram in grams(text):
            minhash.update(gram.encode())
        kept.append(not lsh.query(minhash))
        if kept[-1]:
            lsh.insert(str(i), minhash)
    return kept


def datasketch_batch(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    lsh, kept = MinHashLSH(threshold=0.8, num_perm=128), []
    for i, text in enumerate(texts):
        minhash = MinHash(num_perm=128)
        minhash.update_batch([gram.encode() for gram in grams(text)])
        kept.append(not lsh.query(minhash))
        if kept[-1]:
            lsh.insert(str(i), minhash)
    return kept


def rensa(texts: list[str]) -> list[bool]:
    from rensa import RMinHashDeduplicator

    deduplicator = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True, num_bands=32)
    return list(deduplicator.add_pairs((str(i), grams(text)) for i, text in enumerate(texts)))


def gaoya(texts: list[str]) -> list[bool]:
    from gaoya.minhash import MinHashStringIndex

    options = {"analyzer": "word", "lowercase": True, "ngram_range": (WORDS, WORDS), "id_container": "smallvec"}
    index = MinHashStringIndex(hash_size=32, jaccard_threshold=0.8, num_bands=21, band_size=6, **options)
    kept = []
    for i, text in enumerate(texts):
        kept.append(not index.query(text))
        if kept[-1]:
            index.insert_document(i, text)
    return kept


PEERS: dict[str, Peer] = {
    "datasketch, its README's loop": datasketch_readme,
    "datasketch, update_batch": datasketch_batch,
    "rensa, 32 bands": rensa,
    "gaoya, 21 × 6": gaoya,
}


def time_peer(peer: Peer, texts: list[str]) -> tuple[list[bool], float] | None:
    """What was kept and CPU seconds a text; None where the library is not installed."""
    try:
        peer(texts[:10])
    except ImportError:
        return None
    began = time.process_time()
    kept = peer(texts)
    return kept, (time.process_time() - began) / len(texts)


def steps(n: int, size: int) -> list[tuple[int, int]]:
    """Cuts of range(n) into runs of `size`."""
    return list(pairwise([*range(0, n, size), n]))
