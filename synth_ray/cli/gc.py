"""`synth-ray gc`: lists what an output no longer needs; --delete removes it."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from synth_ray.dataset.garbage import DEFAULT_KINDS, LOST_WITH, GarbageKind, garbage
from synth_ray.dataset.lease import Lease
from synth_ray.dataset.process import driver_name, is_dead
from synth_ray.storage import Storage, open_storage


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    kinds: list[GarbageKind] = list(dict.fromkeys(arguments.what or DEFAULT_KINDS))
    if not arguments.delete:
        _sweep(storage, kinds, arguments)
        print("nothing was removed; --delete removes it")
        return 0
    # A run writes parts that no manifest names yet: remove nothing while another driver runs.
    lease = Lease.claim(storage, driver_name(), now=time.time(), lease_s=600.0, is_dead=is_dead)
    try:
        _sweep(storage, kinds, arguments)
    finally:
        lease.release()
    return 0


def _sweep(storage: Storage, kinds: list[GarbageKind], arguments: argparse.Namespace) -> None:
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for kind, entry in list(garbage(storage, kinds, now=time.time(), older_than_s=arguments.older_than_hours * 3600)):
        if arguments.delete:
            storage.delete(entry.path)
        count[kind] += 1
        size[kind] += entry.size
    for kind in kinds:
        done = "removed" if arguments.delete else "to remove"
        print(f"{kind:9} {count[kind]} {done}, {size[kind]:,} bytes; lost with them: {LOST_WITH[kind]}")
