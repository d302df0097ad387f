"""`synth-ray gc`: lists what an output no longer needs; --delete removes it."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable

from synth_ray.dataset.garbage import DEFAULT_KINDS, LOST_WITH, GarbageKind, garbage
from synth_ray.route.output_lease import hold_lease
from synth_ray.storage import Storage, open_storage


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    kinds: list[GarbageKind] = list(dict.fromkeys(arguments.what or DEFAULT_KINDS))
    if not arguments.delete:
        _sweep(storage, kinds, arguments, delete=lambda _: None)
        print("nothing was removed; --delete removes it")
        return 0
    # A run writes parts that no manifest names yet: remove nothing while another driver runs.
    with hold_lease(storage) as fence:

        def delete(path: str) -> None:
            fence.raise_if_lost()
            storage.delete(path)

        _sweep(storage, kinds, arguments, delete=delete)
    return 0


def _sweep(storage: Storage, kinds: list[GarbageKind], arguments: argparse.Namespace, *, delete: Callable[[str], None]) -> None:
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for kind, entry in list(garbage(storage, kinds, now=time.time(), older_than_s=arguments.older_than_hours * 3600)):
        delete(entry.path)
        count[kind] += 1
        size[kind] += entry.size
    for kind in kinds:
        done = "removed" if arguments.delete else "to remove"
        print(f"{kind:9} {count[kind]} {done}, {size[kind]:,} bytes; lost with them: {LOST_WITH[kind]}")
