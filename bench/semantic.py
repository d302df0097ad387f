"""Semantic duplicates: time a row, memory and recall of the index by cells, beside comparing with every kept row.

`python -m bench.semantic [--texts FILE --model FOLDER]`: the texts of a file, one a line, embedded by a local model, or made
vectors. Where there are fewer than asked for, more are made: a mean of two rows with some noise, so that they lie where rows lie.
Recall is measured with a near one of `--asked` kept rows at cosines about the threshold: which of the kept rows that are
near do the cells find? With `--forms` the same in shards (16, in this process) and on the local disk, which must find the same
pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.dedup import LocalShards
from bench.results import report
from synth_ray.dedup.embedding import open_embedder, to_int8
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.spill import stores_on_disk
from synth_ray.dedup.stores import Stores, VectorStore
from synth_ray.dedup.vectors import MemoryVectors
from synth_ray.records import digest

Array = np.ndarray[Any, Any]
_BATCH = 1024
_NEVER = 1 << 40
_FILLED = 1 << 14


def real_vectors(arguments: argparse.Namespace) -> Array:
    if arguments.texts:
        return to_int8(open_embedder(arguments.model).vectors(Path(arguments.texts).read_text().splitlines()))
    draw = np.random.default_rng(0)
    families = draw.normal(size=(4000, 256))
    return to_int8(families[draw.integers(0, 4000, 60_000)] + draw.normal(size=(60_000, 256)))


def widened(vectors: Array, rows: int) -> Array:
    """The vectors, and as many more of their kind as are wanting."""
    draw, parts = np.random.default_rng(1), [vectors[:rows]]
    for at in range(len(vectors), rows, 50_000):
        n = min(50_000, rows - at)
        one, other = (vectors[draw.integers(0, len(vectors), n)].astype(np.float32) for _ in range(2))
        parts.append(to_int8(one + other + draw.normal(scale=12, size=one.shape).astype(np.float32)))
    return np.concatenate(parts)


def filled(vectors: Array, threshold: float, exact_rows: int, store: VectorStore) -> SemanticIndex:
    """An index that keeps all of the vectors, as if none of them were near another."""
    index = SemanticIndex(threshold, store=store, exact_rows=exact_rows)
    for at in range(0, len(vectors), _FILLED):
        index.skip(vectors[at : at + _FILLED])
        index.keep(vectors[at : at + _FILLED], np.arange(at, min(at + _FILLED, len(vectors))))
    return index


def near_ones(vectors: Array, asked: int) -> Array:
    """Rows near to some of the vectors, at cosines from about 0.75 to 1."""
    draw = np.random.default_rng(2)
    chosen = vectors[draw.integers(0, len(vectors), asked)].astype(np.float32)
    noise = draw.normal(size=chosen.shape).astype(np.float32) * np.sqrt((chosen**2).mean(axis=1, keepdims=True))
    return to_int8(chosen + noise * draw.uniform(0.05, 0.9, size=(asked, 1)).astype(np.float32))


def pairs(index: SemanticIndex, rows: Array) -> tuple[set[tuple[int, int]], float]:
    """The (row, kept row) pairs found, and CPU µs a row."""
    found: set[tuple[int, int]] = set()
    began = time.process_time()
    for at in range(0, len(rows), _BATCH):
        blockers = index.blockers(rows[at : at + _BATCH])
        row = at + np.repeat(np.arange(len(blockers.ends) - 1), np.diff(blockers.ends))
        kept = blockers.blocker >= 0
        found |= set(zip(row[kept].tolist(), blockers.blocker[kept].tolist(), strict=True))
    return found, (time.process_time() - began) / len(rows) * 1e6


@contextmanager
def stores_of(form: str) -> Iterator[Stores]:
    if form == "memory":
        yield Stores.in_memory()
    elif form == "shards":
        yield ShardedStores(LocalShards()).stores
    else:
        with TemporaryDirectory() as folder:
            yield stores_on_disk(Path(folder), cap=8, hot_bytes=1_000_000)


def measure(vectors: Array, kept: int, threshold: float, asked: int) -> dict[str, Any]:
    rows = near_ones(vectors[:kept], asked)
    store, began = MemoryVectors(), time.process_time()
    cells = filled(vectors[:kept], threshold, 1 << 16, store)
    built = time.process_time() - began
    found, cell_us = pairs(cells, rows)
    every, exact_us = pairs(filled(vectors[:kept], threshold, _NEVER, MemoryVectors()), rows)
    nearby = {row for row, _ in every}
    return {
        "kept": kept,
        "threshold": threshold,
        "exact µs a row": exact_us,
        "cells µs a row": cell_us,
        "recall of pairs": len(found & every) / len(every),
        "recall of rows": len({row for row, _ in found}) / len(nearby),
        "wrong pairs": len(found - every),
        "bytes a row": (store.nbytes + cells.sample_bytes) / kept,
        "cells made, added: CPU s": built,
    }


def measure_form(form: str, vectors: Array, kept: int, threshold: float, asked: int) -> dict[str, Any]:
    """CPU of what is asked and of what is built, memory of the store and of the driver beside it, and a digest of the pairs."""
    rows = near_ones(vectors[:kept], asked)
    with stores_of(form) as stores:
        empty, began = stores.nbytes, time.process_time()
        index = filled(vectors[:kept], threshold, 1 << 16, stores.vectors)
        pairs(index, rows[:1])  # what was added waits for a question
        built = time.process_time() - began
        found, us = pairs(index, rows[1:])
        return {
            "form": form,
            "kept": kept,
            "cells µs a row": us,
            "cells made, added: CPU s": built,
            "bytes of memory a row where vectors are": (stores.nbytes - empty) / kept,
            "of the sample": index.sample_bytes / kept,
            "pairs": len(found),
            "their digest": digest("pairs", sorted(found)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", default="", help="a file of texts, one a line")
    parser.add_argument("--model", default="", help="the folder of an embedding model")
    parser.add_argument("--kept", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--asked", type=int, default=2048)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.95, 0.85])
    parser.add_argument("--forms", nargs="+", choices=["memory", "shards", "disk"], default=[])
    arguments = parser.parse_args()
    vectors = widened(real_vectors(arguments), max(arguments.kept))
    sizes = [(kept, threshold) for kept in arguments.kept for threshold in arguments.thresholds]
    if arguments.forms:
        report("vectors", [measure_form(f, vectors, n, t, arguments.asked) for n, t in sizes for f in arguments.forms])
        return
    report("semantic", [measure(vectors, n, t, arguments.asked) for n, t in sizes])


if __name__ == "__main__":
    main()
