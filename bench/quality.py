"""What measuring a dataset against real rows costs, how far samples are from all rows, and what is found and what is cried about.

Texts are docstrings of installed packages, or columns of files: `--texts FILE:COLUMN[:LABEL] …` (CSV, JSON or
JSON lines). Alarms of `--trials` comparisons each: of two halves of one corpus, with a template in a tenth of one half, and
without a fifth of its labels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import duckdb
import numpy as np
import pyarrow as pa

import synth_ray
from bench.digests import scripted
from bench.results import report
from synth_ray.publish import publication, quality
from synth_ray.quality import definitions
from synth_ray.quality.narrowing import MAX_ROWS, compare
from synth_ray.quality.rows import Rows
from synth_ray.quality.sample import RowSample, SampledRow
from synth_ray.quality.subsets import Sides
from synth_ray.records import digest
from tests.unit.quality.real_texts import texts_and_topics

FRAME = "Hi, what about {}? Please let me know how to {} today."
BATCH = 1_000

Row = dict[str, Any]


def row(figure: str, value: Any, reach: str = "") -> Row:
    return {"figure": figure, "here": value, "to reach": reach}


def corpus(named: list[str]) -> tuple[list[str], list[str]]:
    """Texts and labels of the named files, in random order; of installed docstrings where none is named."""
    if not named:
        return tuple(map(list, texts_and_topics()))  # type: ignore[return-value]
    texts, labels = [], []
    for name in named:
        path, column, label = (*name.split(":"), "", "")[:3]
        reader = "read_csv_auto" if path.endswith(".csv") else "read_json_auto"
        found = duckdb.sql(f"SELECT {column}, {label or repr('')} FROM {reader}('{path}')").fetchall()
        texts += [str(text) for text, _ in found]
        labels += [str(value) for _, value in found]
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[i] for i in order], [labels[i] for i in order]


def stream(texts: list[str], size: int) -> Iterator[tuple[pa.Array, list[str]]]:
    """`size` rows in batches, the texts over and over under new ids."""
    for start in range(0, size, BATCH):
        numbers = range(start, min(size, start + BATCH))
        yield pa.array([digest("row", n) for n in numbers]), [texts[n % len(texts)] for n in numbers]


def throughput(texts: list[str], size: int) -> list[Row]:
    """Sampling as the publication samples, then every measure."""
    batches, sample, real = list(stream(texts, size)), RowSample(), texts[:MAX_ROWS]
    megabytes = sum(len(text.encode()) for _, batch in batches for text in batch) / 1e6
    compare(texts[:100], texts[100:200])  # kernels are loaded
    began = time.process_time()
    for ids, batch in batches:
        at = np.flatnonzero(pa.compute.less(ids, sample.limit).to_numpy(zero_copy_only=False))
        sample.add(SampledRow(ids[int(i)].as_py(), batch[i]) for i in at)
    sampled = time.process_time() - began
    compare([r.text for r in sample.rows[:MAX_ROWS]], real)
    total = time.process_time() - began
    return [
        row(f"{size:,} rows, {megabytes:.0f} MB: MB/s a core, sampling", round(megabytes / sampled)),
        row("MB/s a core, sampling and measuring", round(megabytes / total), "≥ 20"),
        row(f"seconds, measuring {MAX_ROWS:,} and {MAX_ROWS:,} rows", round(total - sampled, 2)),
    ] + [row(f"seconds, measuring {n:,} and {n:,} rows", round(_seconds(texts, n), 2)) for n in (200, 1_000)]


def _seconds(texts: list[str], n: int) -> float:
    began = time.process_time()
    compare(texts[:n], texts[n : 2 * n])
    return time.process_time() - began


def share_of_a_job(name: str, requests: int) -> list[Row]:
    """A job with the scripted teacher, which costs next to nothing, so that the share is the largest possible."""
    spent = {"observe": 0.0, "measure": 0.0}
    facts, observe = publication.quality_facts, quality.QualityObserver.on_accepted

    def timed_facts(*args: Any, **more: Any) -> Any:
        began = time.process_time()
        result = facts(*args, **more)
        spent["measure"] += time.process_time() - began
        return result

    def timed_observe(self: Any, accepted: pa.Table) -> None:
        began = time.thread_time()
        observe(self, accepted)
        spent["observe"] += time.thread_time() - began

    publication.quality_facts, quality.QualityObserver.on_accepted = timed_facts, timed_observe  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        job = scripted(name, Path(folder))
        job["plan"] = {"requests": requests, "chunk_requests": 1_000}
        real = Path(folder) / "real.jsonl"
        real.write_text("".join(f'{{"prompt": "{t}", "answer": "a"}}\n' for t in _plain(3 * BATCH)))
        job["quality"] = {"reference": str(real)}
        began = time.process_time()
        synth_ray.run(job)
        total = time.process_time() - began
    publication.quality_facts, quality.QualityObserver.on_accepted = facts, observe  # type: ignore[method-assign]
    share = sum(spent.values()) / total
    return [row(f"share of a scripted job of {requests:,} requests, of {total:.0f} s CPU", f"{share:.1%}", "≤ 5 %")]


def _plain(n: int) -> list[str]:
    texts = texts_and_topics()[0][:n]
    return ["".join(c for c in text if c.isalnum() or c in " .,") for text in texts]


def merged_against_exact(texts: list[str]) -> list[Row]:
    """Ten workers' samples against one; and a sample against all rows of a corpus, where all can be measured."""
    rows = [SampledRow(digest("row", i), text) for i, text in enumerate(texts)]
    merged, whole = RowSample(MAX_ROWS), RowSample(MAX_ROWS)
    whole.add(rows)
    for k in range(10):
        part = RowSample(MAX_ROWS)
        part.add(rows[k::10])
        merged.merge(part)
    merged_rows = row("ten merged samples: other rows than one sample has", len(set(merged.rows) ^ set(whole.rows)), "0 (≤ 2 %)")
    return [merged_rows, *sampled_against_all([r.text for r in whole.rows], texts)]


def sampled_against_all(sample: list[str], texts: list[str]) -> list[Row]:
    """What a measure says of the sample beside all rows, which it is a part of: 0 where it says the same of both."""
    rows = Rows(sample, sorted(set(texts) - set(sample)))
    in_sample = np.isin(rows.texts, sample).astype(np.float32)[None]
    sides = Sides(in_sample, np.ones_like(in_sample))
    title = f"sample of {len(sample):,} beside all {len(rows.texts):,}: difference of"
    shares = {"openers": definitions.openers, "templates": definitions.templates}
    divergences = {"vocabulary": definitions.vocabulary, "lengths": definitions.lengths}
    return [row(f"{title} {name}", round(float(of(rows, sides)[0]), 4), "≤ 0.02") for name, of in (shares | divergences).items()]


def alarms(texts: list[str], labels: list[str], n: int, trials: int) -> list[Row]:
    counts = {kind: Counter[str]() for kind in ("halves", "template", "lost labels")}
    tried: Counter[str] = Counter()
    for trial in range(trials):
        draw = np.random.default_rng(trial)
        order = draw.permutation(len(texts))
        real, rest = order[:n], order[n:]
        for kind, generated in _generated(draw, texts, labels, rest, n):
            found = {k for k, v in compare(generated, [texts[i] for i in real]).items() if v["verdict"] != "ok"}
            tried[kind] += 1
            counts[kind].update({"any", *found} if found else [])
    return [
        row(f"{kind}, {n:,} rows a side: alarms in {tried[kind]}", _shown(counts[kind]), "≤ 1 %" if kind == "halves" else "all")
        for kind in counts
        if tried[kind]
    ]


def _generated(draw: Any, texts: list[str], labels: list[str], rest: Any, n: int) -> Iterator[tuple[str, list[str]]]:
    plain = [texts[i] for i in rest[:n]]
    yield "halves", plain
    templated = list(plain)
    for i in range(0, n, 10):
        words = templated[i].split()
        templated[i] = FRAME.format(" ".join(words[:3]), words[-1])
    yield "template", templated
    names = sorted(set(labels))
    if len(names) > 4:
        lost = set(draw.choice(names, len(names) // 5, replace=False).tolist())
        yield "lost labels", [texts[i] for i in rest if labels[i] not in lost][:n]


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", nargs="*", default=[], help="FILE:COLUMN[:LABEL]; left out, docstrings of installed packages")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the stream")
    parser.add_argument("--requests", type=int, default=20_000, help="requests of the scripted job")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--side", type=int, nargs="*", default=[1_000], help="rows of each side")
    options = parser.parse_args()
    texts, labels = corpus(options.texts)
    rows = throughput(texts, options.rows) + merged_against_exact(texts)
    rows += share_of_a_job("quickstart", options.requests) if options.requests else []
    for side in options.side:
        rows += alarms(texts, labels, side, options.trials)
    report("quality", rows, packages=["numpy", "scipy"])


if __name__ == "__main__":
    main()
