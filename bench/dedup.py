"""Near-duplicates beside the peers, in one run: process CPU time on one thread, quality against exact all-pairs truth.

Fingerprints, index and exact check are time_peer together, from Arrow texts to verdicts. Peers that are not installed are listed
so; `pip install rensa gaoya` installs two.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

# Set before importing anything that starts threads.
os.environ |= {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import numpy as np
import pyarrow as pa

from bench.dedup_corpus import corpus, distinct, kept_first
from bench.dedup_peers import PEERS, steps, time_peer
from bench.results import report
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.index import NEW, Batch, Index
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.shards import Shard
from synth_ray.dedup.stores import Stores
from synth_ray.job.dedup import Dedup

BATCH, BLOCK, SHARDS = 4096, 100_000, 8
SECTIONS = {t: Dedup(ngram=5, threshold=t, bands=b, rows_per_band=r) for t, b, r in ((0.8, 21, 6), (0.7, 25, 5))}


class Run:
    """One index; `cost` is CPU seconds a text in the last `feed`."""

    def __init__(self, section: Dedup, stores: Stores | None = None) -> None:
        self._fingerprint = Fingerprinter(section)
        self.index = Index(section, stores=stores)
        self.cost = 0.0

    def feed(self, texts: list[str]) -> Array:
        column, kept = pa.array(texts, pa.large_string()), []
        began = time.process_time()
        for start, end in steps(len(texts), BATCH):
            batch = _batch(self._fingerprint(column[start:end]))
            decided = self.index.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(len(batch), np.int64))
            kept.append(decided.code == NEW)
        self.cost = (time.process_time() - began) / len(texts)
        return np.concatenate(kept)


def _batch(prints: Any) -> Batch:
    n = len(prints)
    ids = np.arange(2 * n, dtype=np.uint64).view(np.uint8).reshape(n, 16)
    return Batch(ids, np.zeros(n, np.uint8), prints.digests, prints.bands, prints.shingles, prints.offsets)


class LocalShards:
    """Shards in this process: their cost without messages between processes."""

    def __init__(self) -> None:
        self.shards = SHARDS
        self._shards = [Shard() for _ in range(SHARDS)]

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        return {number: self._shards[number].apply_call(message) for number, message in messages.items()}

    def save(self) -> dict[int, int | None]:
        for shard in self._shards:
            shard.forget_saved()
        return {number: shard.last for number, shard in enumerate(self._shards)}

    def restart(self, shard: int) -> int:
        raise AssertionError("local shards do not restart")


def scores(kept: Array, truth: Array) -> tuple[float, float, float]:
    dropped, right = ~kept, ~truth
    both = float((dropped & right).sum())
    precision, recall = both / max(1, dropped.sum()), both / max(1, right.sum())
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def row(figure: str, value: Any, peer: Any = "", reach: str = "") -> dict[str, Any]:
    return {"figure": figure, "here": value, "beside": peer, "to reach": reach}


def quality(texts: list[str], threshold: float) -> tuple[list[dict[str, Any]], Run]:
    prints = Fingerprinter(SECTIONS[threshold])(pa.array(texts, pa.large_string()))
    truth = kept_first(prints.shingles, prints.offsets, threshold)
    runs = [Run(SECTIONS[threshold]) for _ in range(3)]
    kept, *_ = [run.feed(texts) for run in runs]
    best = min(runs, key=lambda run: run.cost)
    megabytes = sum(len(t.encode()) for t in texts) / 1e6 / len(texts)
    score_text = " ".join(f"{score:.4f}" for score in scores(kept, truth))
    return [
        row(f"t={threshold}: texts/s, one core", round(1 / best.cost), reach="≥ 100,000"),
        row(f"t={threshold}: MB/s", round(megabytes / best.cost), reach="≥ 125"),
        row(f"t={threshold}: precision, recall, F1", score_text, reach="1.0000, F1 ≥ .999"),
    ], best


def memory(run: Run, texts: int) -> list[dict[str, Any]]:
    stores = run.index.stores
    return [
        row("index, bytes a text", round(stores.keys.nbytes / texts), reach="≤ 330"),
        row("index with the exact store, bytes a text", round(run.index.nbytes / texts), reach="≤ 1,400"),
    ]


def peers(texts: list[str], run: Run) -> list[dict[str, Any]]:
    prints = Fingerprinter(SECTIONS[0.8])(pa.array(texts, pa.large_string()))
    truth = kept_first(prints.shingles, prints.offsets, 0.8)
    rows = []
    for name, peer in PEERS.items():
        done = time_peer(peer, texts)
        if done is None:
            rows.append(row(f"{name}: µs a text", "", "not installed"))
            continue
        f1 = scores(np.array(done[0]), truth)[2]
        rows.append(row(f"{name}: ours is faster by", f"× {done[1] / run.cost:.1f}", f"{1e6 * done[1]:.1f} µs, F1 {f1:.4f}"))
    return rows


def scale(texts: int) -> list[dict[str, Any]]:
    run, costs = Run(SECTIONS[0.8]), []
    for block in range(texts // BLOCK):
        run.feed(distinct(BLOCK, seed=block))
        costs.append(run.cost)
    first, last = f"{1e6 * costs[0]:.2f} µs", f"{1e6 * costs[-1]:.2f} µs, × {costs[-1] / costs[0]:.2f}"
    return [row(f"a text, from the first 100,000 to the last of {texts:,}", last, first, "± 15 %"), *memory(run, texts)]


def sharded(texts: list[str]) -> list[dict[str, Any]]:
    unsharded, in_shards = Run(SECTIONS[0.8]), Run(SECTIONS[0.8], ShardedStores(LocalShards()).stores)
    is_same = bool((unsharded.feed(texts) == in_shards.feed(texts)).all())
    cost_text = f"{1e6 * in_shards.cost:.1f} µs, {'same' if is_same else 'OTHER'} texts kept"
    return [row(f"{SHARDS} shards in one process, CPU a text", cost_text, f"{1e6 * unsharded.cost:.1f} µs unsharded", "≤ 13 µs")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--peer-texts", type=int, default=3_000)
    parser.add_argument("--scale", type=int, default=1_000_000)
    options = parser.parse_args()
    texts = corpus(options.texts)
    Run(SECTIONS[0.8]).feed(texts[:500])  # compiles
    rows, run = quality(texts, 0.8)
    rows += quality(texts, 0.7)[0] + memory(run, len(texts))
    rows += peers(texts[: options.peer_texts], run) + sharded(texts) + scale(options.scale)
    report("dedup", rows, packages=("datasketch", "rensa", "gaoya", "numba", "numpy", "pyarrow"))


if __name__ == "__main__":
    main()
