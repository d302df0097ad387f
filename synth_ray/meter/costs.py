"""What every run of an output has cost, kept on its store: an object per run, written again while the run goes on.

    _synth/cost/00000003.json   {"replica_s": …, "usd": …, "prompt": …, "completion": …, "cached": …}

A run that is killed loses what it spent since it last wrote, at most an interval. Sums over the objects count nothing twice.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from synth_ray.dataset.ledger import ROOT
from synth_ray.errors import Conflict, StorageError
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

COSTS = f"{ROOT}cost/"
_SAVE_INTERVAL_S = 20.0


class CostRecords:
    """The cost record of this run, and the sum of earlier runs': of all, or where a part is driven, of that part. Call under the
    lease.
    """

    def __init__(self, storage: Storage, *, clock: Callable[[], float] = time.monotonic, part: int | None = None) -> None:
        self._storage = storage
        self._folder = COSTS if part is None else f"{COSTS}part-{part:04d}/"
        self._clock = clock
        self._next_save_at = clock() + _SAVE_INTERVAL_S
        paths = sorted(entry.path for entry in storage.list(self._folder))  # sums of floats depend on the order
        self.earlier: Counter[str] = Counter()
        for path in paths:
            self.earlier.update(json.loads(storage.read(path)))
        self.runs = len(paths) + 1
        self._path = self._claim_record(len(paths))
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="costs")

    def _claim_record(self, number: int) -> str:
        while True:
            path = f"{self._folder}{number:08d}.json"
            try:
                self._storage.create(path, b"{}")
            except Conflict:
                number += 1
                continue
            return path

    def token_usd(self, tokens: Mapping[str, int]) -> float:
        """What tokens that are billed by number cost over all runs, with this run's."""
        return (self.earlier["nano_usd"] + tokens.get("nano_usd", 0)) / 1e9

    def save_if_due(self, facts: Callable[[], Mapping[str, float]]) -> None:
        """Write the record if the interval has passed and the last write has ended. Never waits for the store."""
        if self._clock() < self._next_save_at or (self._writing is not None and not self._writing.done()):
            return
        if self._writing is not None:
            self._writing.result()
        self._next_save_at = self._clock() + _SAVE_INTERVAL_S
        self._writing = self._thread.submit(self._write, dict(facts()))

    def close(self, facts: Mapping[str, float]) -> dict[str, float]:
        """Write the record a last time; returns the sum over all runs."""
        self._thread.shutdown()
        self._write(facts)
        return {name: self.earlier[name] + facts.get(name, 0) for name in {*self.earlier, *facts}}

    def _write(self, facts: Mapping[str, float]) -> None:
        try:
            self._storage.write(self._path, json.dumps(dict(facts)).encode())
        except StorageError as error:
            log.warning("the cost of this run could not be kept, the next time tries again: %s", error)
