"""Near-duplicates beside the peers, in one run: process CPU time on one thread, quality against exact all-pairs truth.

make bench-dedup                       # or: python bench/dedup.py --docs 20000
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before anything that starts threads is imported.
for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from dedup_corpus import corpus, kept_first  # noqa: E402

from synth_ray.dedup.fingerprint import Fingerprinter  # noqa: E402
from synth_ray.dedup.index import NEW, Batch, Index  # noqa: E402
from synth_ray.job.dedup import Dedup  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "dedup.json"
BATCH = 4096


def batch_of(prints: Any) -> Batch:
    n = len(prints)
    ids = np.arange(2 * n, dtype=np.uint64).view(np.uint8).reshape(n, 16)
    return Batch(ids, np.zeros(n, np.uint8), prints.digests, prints.bands, prints.shingles, prints.offsets)


def ours(texts: list[str], section: Dedup) -> tuple[list[bool], float, Index]:
    column = pa.array(texts, pa.large_string())
    fingerprint, index, kept = Fingerprinter(section), Index(section), []
    began = time.process_time()
    for at in range(0, len(texts), BATCH):
        batch = batch_of(fingerprint(column[at : at + BATCH]))
        found = index.decide(batch, room=np.array([2**62]), cell=np.zeros(len(batch), np.int64))
        kept += (found.code == NEW).tolist()
    return kept, (time.process_time() - began) / len(texts), index


def grams(text: str, n: int = 5) -> set[bytes]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + n]).encode() for i in range(max(1, len(words) - n + 1))}


def datasketch_readme(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    lsh, kept = MinHashLSH(threshold=0.8, num_perm=128), []
    for i, text in enumerate(texts):
        one = MinHash(num_perm=128)
        for gram in grams(text):
            one.update(gram)
        kept.append(not lsh.query(one))
        if kept[-1]:
            lsh.insert(str(i), one)
    return kept


def datasketch_batch(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    lsh, kept = MinHashLSH(threshold=0.8, num_perm=128), []
    for i, text in enumerate(texts):
        one = MinHash(num_perm=128)
        one.update_batch(list(grams(text)))
        kept.append(not lsh.query(one))
        if kept[-1]:
            lsh.insert(str(i), one)
    return kept


def rensa(texts: list[str]) -> list[bool]:
    from rensa import RMinHashDeduplicator

    one = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True, num_bands=32)
    minhash = importlib.import_module("rensa").RMinHash
    kept = []
    for i, text in enumerate(texts):
        sketch = minhash(128, 42)
        sketch.update([gram.decode() for gram in grams(text)])
        kept.append(bool(one.add_pair(str(i), sketch)))
    return kept


def gaoya(texts: list[str]) -> list[bool]:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        hash_size=32, jaccard_threshold=0.8, num_bands=21, band_size=6, analyzer="word", ngram_range=(5, 5)
    )
    kept = []
    for i, text in enumerate(texts):
        kept.append(not index.query(text.lower()))
        if kept[-1]:
            index.insert_document(i, text.lower())
    return kept


def scores(kept: list[bool], truth: Any) -> tuple[float, float, float]:
    dropped, right = ~np.array(kept), ~truth
    both = float((dropped & right).sum())
    precision, recall = both / max(1, dropped.sum()), both / max(1, right.sum())
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def timed(peer: Callable[[list[str]], list[bool]], texts: list[str]) -> tuple[list[bool], float] | None:
    try:
        peer(texts[:10])
    except (ImportError, AttributeError, TypeError):
        return None
    began = time.process_time()
    kept = peer(texts)
    return kept, (time.process_time() - began) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--peer-docs", type=int, default=3_000)
    options = parser.parse_args()
    texts = corpus(options.docs)
    megabytes = sum(len(t.encode()) for t in texts) / 1e6 / len(texts)
    table: list[dict[str, Any]] = []

    def tell(figure: str, value: Any, peer: str = "", theirs: Any = "", ratio: Any = "") -> None:
        table.append({"figure": figure, "ours": value, "peer": peer, "theirs": theirs, "ratio": ratio})
        print(f"{figure:48} {value!s:>12} {peer:26} {theirs!s:>12} {ratio!s:>8}", flush=True)

    ours(texts[:500], Dedup(ngram=5))
    for threshold in (0.8, 0.7):
        bands = {"bands": 21, "rows_per_band": 6} if threshold == 0.8 else {"bands": 25, "rows_per_band": 5}
        section = Dedup(ngram=5, threshold=threshold, **bands)
        prints = Fingerprinter(section)(pa.array(texts, pa.large_string()))
        truth = kept_first(prints.shingles, prints.offsets, threshold)
        runs = [ours(texts, section) for _ in range(3)]
        kept, _, index = runs[0]
        cost = min(r[1] for r in runs)
        precision, recall, f1 = scores(kept, truth)
        tell(f"t={threshold}: documents a second, one core", int(1 / cost))
        tell(f"t={threshold}: MB a second", round(megabytes / cost))
        tell(f"t={threshold}: precision, recall, F1", f"{precision:.4f} {recall:.4f} {f1:.4f}")
        if threshold == 0.8:
            per_doc = cost
            tell("index, bytes a document", round(index.nbytes / len(texts)))
            tell("index with exact store, bytes a document", round((index.nbytes + index.store_nbytes) / len(texts)))
            sample = texts[: options.peer_docs]
            truth = kept_first(prints.shingles, prints.offsets[: len(sample) + 1], threshold)
            for name, peer in (("datasketch README", datasketch_readme), ("datasketch update_batch", datasketch_batch),
                               ("rensa", rensa), ("gaoya", gaoya)):  # fmt: skip
                done = timed(peer, sample)
                if done is None:
                    tell("us a document", round(1e6 * per_doc, 2), name, "skipped: not installed")
                    continue
                tell("us a document", round(1e6 * per_doc, 2), name, round(1e6 * done[1], 1), round(done[1] / per_doc, 1))
                tell("F1", "", name, f"{scores(done[0], truth)[2]:.4f}")
    told = {
        "command": f"python bench/dedup.py --docs {options.docs} --peer-docs {options.peer_docs}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "versions": {name: version(name) for name in ("datasketch", "numba", "numpy", "pyarrow")},
        "documents": options.docs,
        "peer_documents": options.peer_docs,
        "figures": table,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
