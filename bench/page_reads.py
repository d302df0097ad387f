"""What a read at random costs, by the size of the memory and by how many reads in turn fall into one place of it.

It tells why a table costs more the larger it is: for its data, or for the addresses of its pages. The column of fixed lines reads
little data, which stays in a cache, spread over many pages. Where it costs as much as the first, addresses are what costs: below
a guest's huge pages the host of a virtual machine may have pages of 4 kB, whose list (8 bytes a page, eight pages a cache line)
has outgrown the caches itself. Thread CPU time; reads are prefetched as in `dedup.table_kernels`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba as nb
import numpy as np

from bench.results import report
from synth_ray.dedup.growing import Growing
from synth_ray.dedup.hashing import U64, Array, fmix64
from synth_ray.dedup.prefetching import prefetch_item

MB, LINE = 1 << 20, 64
READS, TIMES, AHEAD = 24_576, 40, 32
PLACES = {"each in its own page": (4096, 1), "16 in 4 kB": (4096, 16), "16 in 32 kB": (1 << 15, 16), "16 in 2 MB": (1 << 21, 16)}
"""Bytes of a place, and how many reads in turn fall into it, into any line."""
FIXED = 1 << 15  # bytes of a place of which one line is ever read


@nb.njit(nogil=True)
def read(memory: Any, at: Any) -> Any:
    total = U64(0)
    for i in range(at.size):
        prefetch_item(memory, at[min(i + AHEAD, at.size - 1)])
        total += memory[at[i]]
    return total


def reads(draw: np.random.Generator, size: int, place: int, together: int) -> Array:
    """Which words of the memory are read: one of a line, `together` lines of each place."""
    places = draw.integers(0, size // place, READS // together).repeat(together)
    return places * (place // 8) + draw.integers(0, place // LINE, READS) * (LINE // 8)


def fixed_lines(draw: np.random.Generator, size: int) -> Array:
    """The same line of a place whenever it is read; another one in each place, since a cache has few ways for equal lines."""
    places = draw.integers(0, size // FIXED, READS)
    return places * (FIXED // 8) + fmix64(places.astype(U64)).astype(np.int64) % (FIXED // LINE) * (LINE // 8)


def measure(mb: int, draw: np.random.Generator) -> dict[str, Any]:
    """Kinds of reads in turn, so that other work on the machine meets all of them. The median of many times."""
    size = mb * MB
    memory = Growing(U64, size // 8).array
    memory[:] = 1
    kinds: dict[str, Callable[[], Array]] = {name: partial(reads, draw, size, *place) for name, place in PLACES.items()}
    kinds["a fixed line in 32 kB"] = partial(fixed_lines, draw, size)
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(TIMES):
        for name, draw_reads in kinds.items():
            at = draw_reads()
            began = time.thread_time()
            read(memory, at)
            spent[name].append(1e9 * (time.thread_time() - began) / READS)
    return {"MB": mb} | {f"ns, {name}": round(float(np.median(times)), 1) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, nargs="+", default=[7, 30, 300, 1000, 3300])
    draw = np.random.default_rng(1)
    read(np.zeros(1, U64), np.zeros(1, np.int64))  # compiles
    report("page_reads", [measure(mb, draw) for mb in parser.parse_args().mb], packages=("numba", "numpy"))


if __name__ == "__main__":
    main()
