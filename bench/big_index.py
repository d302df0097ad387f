"""The index beyond memory: keys in two levels and rows in files, with texts of 24 words of which 15 % repeat an earlier one.

The texts are made in blocks, from their numbers, so neither they nor their truth are held. The first ones are decided again in
memory, to compare both forms' decisions one by one. Cost is CPU time: of the thread that decides, and of the process, where runs
are merged beside it.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bench.results import report
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.hashing import Array, fmix64
from synth_ray.dedup.index import NEW, Batch, Decisions, Index
from synth_ray.dedup.row_file import RowFile
from synth_ray.dedup.stores import Stores
from synth_ray.dedup.two_level import TwoLevelTable
from synth_ray.job.dedup import Dedup

SECTION = Dedup(ngram=5, threshold=0.8)
WORDS, LETTERS, VOCABULARY = 24, 7, 1 << 14
BLOCK, BATCH = 100_000, 4096
GROUP = 20  # texts: 16 of their own, 2 that repeat one, 1 near copy (similarity 0.90), 1 far copy (0.60), in this order
OWN, EXACT, NEAR, FAR = range(0, 16), range(16, 18), 18, 19


def _random(number: Array, salt: int) -> Array:
    return fmix64(number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt))


def texts(first: int, size: int) -> tuple[pa.Array, Array]:
    """Texts `first` to `first + size`, and which of them repeat an earlier one."""
    number = np.arange(first, first + size)
    kind, group = number % GROUP, number // GROUP
    earlier = (_random(number, 1) % np.maximum(group, 1).astype(np.uint64)).astype(np.int64) * GROUP
    origin = earlier + (_random(number, 2) % np.uint64(len(OWN))).astype(np.int64)
    is_copy = (kind >= len(OWN)) & (group > 0)
    source = np.where(is_copy, origin, number)
    words = (_random(source[:, None] * WORDS + np.arange(WORDS), 3) % np.uint64(VOCABULARY)).astype(np.int64)
    step = 1 + (_random(number, 4) % np.uint64(VOCABULARY - 1)).astype(np.int64)
    for which, place in ((NEAR, WORDS - 1), (FAR, WORDS // 2)):
        rows = is_copy & (kind == which)
        words[rows, place] = (words[rows, place] + step[rows]) % VOCABULARY
    data = _spelled()[words.reshape(-1)].reshape(-1)
    ends = np.arange(size + 1, dtype=np.int64) * WORDS * LETTERS
    column = pa.LargeStringArray.from_buffers(size, pa.py_buffer(ends), pa.py_buffer(data))
    return column, is_copy & (kind != FAR)


def _spelled() -> Array:
    """The words of the vocabulary, each six letters and a space."""
    digits = np.arange(VOCABULARY)[:, None] * 7919 // 26 ** np.arange(LETTERS - 1) % 26
    return np.concatenate((digits + ord("a"), np.full((VOCABULARY, 1), ord(" "))), axis=1).astype(np.uint8)


class Block(NamedTuple):
    """What a block of texts took and gave."""

    decisions: Decisions
    fingerprint_s: float
    index_s: float
    beside_s: float
    right: int
    wrong: int
    missed: int


def feed(index: Index, fingerprint: Fingerprinter, first: int) -> Block:
    column, is_repeat = texts(first, BLOCK)
    parts, spent, of_process = [], np.zeros(2), time.process_time() - time.thread_time()
    for at in range(0, BLOCK, BATCH):
        began = time.thread_time()
        prints = fingerprint(column[at : at + BATCH])
        n = len(prints)
        ids = np.arange(2 * n, dtype=np.uint64).view(np.uint8).reshape(n, 16)
        batch = Batch(ids, np.zeros(n, np.uint8), prints.digests, prints.bands, prints.shingles, prints.offsets)
        middle = time.thread_time()
        parts.append(index.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(n, np.int64)))
        spent += (middle - began, time.thread_time() - middle)
    beside = time.process_time() - time.thread_time() - of_process
    code, number, similarity = (np.concatenate([getattr(p, name) for p in parts]) for name in ("code", "number", "similarity"))
    dropped = code != NEW
    counts = [int((a & b).sum()) for a, b in ((dropped, is_repeat), (dropped, ~is_repeat), (~dropped, is_repeat))]
    return Block(Decisions(code, number, similarity), float(spent[0]), float(spent[1]), beside, *counts)


def memory() -> dict[str, float]:
    """Megabytes of this process: its own, of mapped files, and the most that both were."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {line[0]: int(line[1]) for line in lines if line[0] in ("RssAnon:", "RssFile:", "VmHWM:")}
    return {name: kilobytes[key] / 1000 for name, key in (("own", "RssAnon:"), ("mapped", "RssFile:"), ("peak", "VmHWM:"))}


def run_on_disk(options: argparse.Namespace, folder: Path) -> tuple[list[Block], list[dict[str, Any]], list[dict[str, Any]]]:
    keys = TwoLevelTable(folder / "keys", cap=SECTION.bucket_cap, hot_bytes=options.hot_mb << 20)
    rows = RowFile(folder / "rows")
    index = Index(SECTION, stores=replace(Stores.in_memory(), keys=keys, rows=rows))
    fingerprint, blocks, curve, began = Fingerprinter(SECTION), [], [], time.monotonic()
    while len(blocks) * BLOCK < options.texts and time.monotonic() < began + 60 * options.minutes:
        block = feed(index, fingerprint, len(blocks) * BLOCK)
        blocks.append(block if len(blocks) * BLOCK < options.compared else block._replace(decisions=None))
        if len(blocks) in (1, 2, 5) or len(blocks) % 10 == 0:
            recent = blocks[-10:]
            us, beside = (
                1e6 * sum(s) / (len(recent) * BLOCK) for s in zip(*((b.index_s, b.beside_s) for b in recent), strict=True)
            )
            disk = keys.disk_nbytes + rows.disk_nbytes
            place = {"texts": len(blocks) * BLOCK, "µs": round(us, 2), "beside": round(beside, 2), "runs": keys.runs}
            curve.append({**place, "disk": disk, **memory()})
            print(curve[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    keys.settle()
    figures = on_disk_figures(blocks, curve, keys, rows)
    for file in (*keys.files, *rows.files):
        file.release()
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    feed(index, fingerprint, len(blocks) * BLOCK)
    reads = (resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before) / BLOCK
    wall = 1e6 * (time.monotonic() - began) / BLOCK
    figures.append(
        row("next block with no file in memory: wall µs a text, all in all; page reads", round(wall, 1), round(reads, 2))
    )
    keys.close()
    rows.close()
    return blocks, curve, figures


def row(figure: str, value: Any, beside: Any = "") -> dict[str, Any]:
    return {"figure": figure, "here": value, "beside": beside}


def on_disk_figures(blocks: list[Block], curve: list[dict[str, Any]], keys: TwoLevelTable, rows: RowFile) -> list[dict[str, Any]]:
    right, wrong, missed = (sum(getattr(b, name) for b in blocks) for name in ("right", "wrong", "missed"))
    precision, recall = right / (right + wrong), right / (right + missed)
    kept, used, texts_ = len(rows), memory(), len(blocks) * BLOCK
    disk = keys.disk_nbytes + rows.disk_nbytes
    a_print = 1e6 * sum(b.fingerprint_s for b in blocks) / texts_
    return [
        row("texts, of them kept", f"{texts_:,}", f"{kept:,}"),
        row("precision, recall against planted repeats", f"{precision:.6f} {recall:.6f}"),
        row("own memory of the process, MB, at the end; the most noted", round(used["own"]), round(max(p["own"] for p in curve))),
        row("mapped pages of files that are in memory; files, MB", round(used["mapped"]), round(disk / 1e6)),
        row("the most of both, own and mapped, at any time, MB", round(used["peak"])),
        row("bytes a kept row: memory of keys; keys on disk", round(keys.nbytes / kept), round(keys.disk_nbytes / kept)),
        row("bytes a kept row: rows on disk", round(rows.disk_nbytes / kept)),
        row("CPU µs a text: index, of all texts; fingerprint", _index_us(blocks), round(a_print, 2)),
        row("CPU µs a text: merges beside it", round(1e6 * sum(b.beside_s for b in blocks) / texts_, 2)),
        *[
            row(
                f"index, CPU µs a text at {p['texts']:,}",
                p["µs"],
                f"{p['beside']} beside it; {p['own']:,.0f} MB own, {p['mapped']:,.0f} mapped",
            )
            for p in curve
        ],
    ]


def _index_us(blocks: list[Block]) -> float:
    return round(1e6 * sum(b.index_s for b in blocks) / (len(blocks) * BLOCK), 2)


def compare_in_memory(blocks: list[Block], compared: int) -> list[dict[str, Any]]:
    """Decide the first texts again with everything in memory."""
    index, fingerprint, same, again = Index(SECTION), Fingerprinter(SECTION), True, []
    for at, there in enumerate(blocks[: compared // BLOCK]):
        here = feed(index, fingerprint, at * BLOCK)
        again.append(here._replace(decisions=None))
        pairs = [(getattr(here.decisions, n), getattr(there.decisions, n)) for n in ("code", "number", "similarity")]
        same &= all(np.array_equal(a, b) for a, b in pairs)
    size = f"{len(again) * BLOCK:,}"
    return [
        row(f"first {size} texts: decisions of both forms", "the same" if same else "DIFFERENT"),
        row(f"first {size} texts: index CPU µs a text; in memory", _index_us(blocks[: len(again)]), _index_us(again)),
        row(f"in memory, CPU µs a text: first block, last of {size}", _index_us(again[:1]), _index_us(again[-1:])),
        row(f"in memory at {size}: bytes a kept row", round(index.nbytes / index.kept)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20_000_000)
    parser.add_argument("--compared", type=int, default=1_000_000)
    parser.add_argument("--hot-mb", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=60, help="stop there, with the texts that were fed by then")
    parser.add_argument("--folder", help="where the files go, on a local disk")
    options = parser.parse_args()
    feed(Index(SECTION), Fingerprinter(SECTION), 0)  # compiles
    with TemporaryDirectory(dir=options.folder) as folder:
        blocks, _, figures = run_on_disk(options, Path(folder))
    report("big_index", figures + compare_in_memory(blocks, options.compared), packages=("numba", "numpy", "pyarrow"))


if __name__ == "__main__":
    main()
