"""What a text costs the index in memory, from 100,000 to ten million kept ones: its decision, with its share of growing.

The kept rows are made: random keys, as many as a text has, and shingles. What is decided are texts of 24 words, in chunks of
1,024, fingerprinted outside the clock, which is thread CPU time. The kernel's part of it is told apart: giving out memory, which
is twenty times as dear where a virtual machine has never used that memory before. Ten million rows take 5 GB.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np

from bench.big_index import texts
from bench.results import report
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.hashing import U8, U32, U64
from synth_ray.dedup.index import Batch, Index
from synth_ray.dedup.stores import StoredRows
from synth_ray.job.dedup import Dedup

SECTION = Dedup(ngram=3, threshold=0.8)
WIDTH, SHINGLES = 22, 22  # keys and shingles of a text
CHUNK, TEXTS, FILL = 1024, 50_000, 50_000


def fill(index: Index, upto: int, draw: np.random.Generator) -> None:
    """Keep made rows. Their keys are inserted in ascending order, which takes little time."""
    while (kept := index.kept) < upto:
        n = min(FILL, upto - kept)
        keys, numbers = draw.integers(1, 2**64, n * WIDTH, U64), np.repeat(np.arange(kept, kept + n, dtype=U32), WIDTH)
        order = np.argsort(keys)
        index.stores.keys.insert(keys[order], numbers[order], cap=8)
        shingles, digests = draw.integers(0, 2**32, n * SHINGLES, U32), draw.integers(1, 2**64, (n, 2), U64)
        ends = np.arange(n + 1) * SHINGLES
        index.stores.rows.append(StoredRows(np.zeros((n, 16), U8), np.zeros(n, U8), digests, shingles, ends))


def chunks(fingerprint: Fingerprinter, first: int) -> list[Batch]:
    prints = fingerprint(texts(first, TEXTS)[0])
    ids, splits = np.zeros((TEXTS, 16), U8), np.zeros(TEXTS, U8)
    batch = Batch(ids, splits, prints.digests, prints.bands, prints.shingles, prints.offsets)
    return [batch.slice(at, min(at + CHUNK, TEXTS)) for at in range(0, TEXTS, CHUNK)]


def measure(index: Index, fingerprint: Fingerprinter) -> dict[str, Any]:
    """Texts by which the table grows a tenth, which is one step: it begins and ends equally full."""
    kept, texts_to_come, spent, in_kernel = index.kept, max(TEXTS, index.kept // 10), 0.0, 0.0
    for at in range(0, texts_to_come, TEXTS):
        for batch in chunks(fingerprint, 10**9 + kept + at):
            began, kernel = time.thread_time(), kernel_s()
            index.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(len(batch), np.int64))
            spent, in_kernel = spent + time.thread_time() - began, in_kernel + kernel_s() - kernel
    decided = -(-texts_to_come // TEXTS) * TEXTS
    return {
        "kept": kept,
        "index, µs a text": 1e6 * spent / decided,
        "of it in the kernel": 1e6 * in_kernel / decided,
        "bytes a row": index.nbytes / index.kept,
    }


def kernel_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=int, nargs="+", default=[100_000, 300_000, 1_000_000, 3_000_000, 10_000_000])
    sizes = parser.parse_args().kept
    index, fingerprint, draw = Index(SECTION), Fingerprinter(SECTION), np.random.default_rng(1)
    rows = []
    for size in sizes:
        fill(index, size, draw)
        rows.append(measure(index, fingerprint))
    report("index_growth", rows, packages=("numba", "numpy"))


if __name__ == "__main__":
    main()
