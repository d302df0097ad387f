"""Which chunk is planned when, and which cell its rows belong to: a plan of fixed length, or one that continues to a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.ranges import Ranges
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.plan.cells import Cells
from synth_ray.plan.chunks import Planner
from synth_ray.plan.growth import GrownPlan
from synth_ray.plan.pool_sampler import PoolSampler
from synth_ray.plan.quotas import Quotas
from synth_ray.prepare.plan_record import numbers_of, plan_facts
from synth_ray.prepare.plan_segments import load_or_grow_plan
from synth_ray.prepare.preparation import Prepared
from synth_ray.records import Request
from synth_ray.storage import Storage

Array = np.ndarray[Any, Any]

_UNLIMITED_ROWS = 2**62


class Schedule(Protocol):
    """What the driver needs of planning. `remaining_rows` is how many rows each cell still takes; admission counts it down."""

    remaining_rows: Array

    def planned_requests(self, chunks: Iterable[int] | None = None) -> int | None:
        """Requests of these chunks, or of the whole plan; None where the plan goes on to a target."""
        ...

    def next_requests(self, chunk: int) -> list[Request] | None:
        """Requests of this chunk; None while it must wait for admission; empty when the plan has ended."""
        ...

    def superseded_positions(self, chunk: int) -> frozenset[int]:
        """Positions of a chunk that a later chunk asks again: their rows do not count."""
        ...

    def refuse_other_plan(self, chunk: int, numbers: Sequence[int]) -> None:
        """Raises JobError where a committed chunk holds other requests than this plan can have asked."""
        ...

    def cells_of(self, rows: pa.Table, numbers: Sequence[int]) -> Array:
        """The cell of each staged row of a chunk; `numbers` are the chunk's request numbers, position by position."""
        ...

    def on_admitted(self, chunk: int, accepted: Array) -> None:
        """Count the accepted rows of a chunk, by cell."""
        ...

    def target_summary(self) -> dict[str, Any]:
        """The manifest's `target`."""
        ...

    def shortfall(self) -> str:
        """Why the plan ended with fewer rows than wanted; empty when the target is met."""
        ...


class FixedSchedule:
    """Every planned request, once. A plan of fixed length needs no feedback from admission."""

    def __init__(self, plan: GrownPlan) -> None:
        self._plan = plan
        self.remaining_rows: Array = np.array([_UNLIMITED_ROWS], np.int64)

    @property
    def chunks(self) -> int:
        return self._plan.chunks

    def planned_requests(self, chunks: Iterable[int] | None = None) -> int | None:
        return sum(len(self._plan.numbers(chunk)) for chunk in (range(self._plan.chunks) if chunks is None else chunks))

    def next_requests(self, chunk: int) -> list[Request] | None:
        return self._plan.chunk(chunk)

    def superseded_positions(self, chunk: int) -> frozenset[int]:
        return self._plan.superseded(chunk)

    def refuse_other_plan(self, chunk: int, numbers: Sequence[int]) -> None:
        if list(self._plan.numbers(chunk)) != list(numbers):
            raise JobError(
                f"chunk {chunk}: wanted the requests of this plan, got those of another: it was planned for a target; keep the "
                "target, or give output.path another place"
            )

    def cells_of(self, rows: pa.Table, numbers: Sequence[int]) -> Array:
        return np.zeros(rows.num_rows, np.int64)

    def on_admitted(self, chunk: int, accepted: Array) -> None:
        pass

    def target_summary(self) -> dict[str, Any]:
        return {}

    def shortfall(self) -> str:
        return ""


class TargetSchedule:
    """Chunks until every cell has its rows or is closed. `wanted_rows` is rows by cell.

    Law: what a committed chunk was planned to ask is read from its commit record (`recorded_numbers`), so that a resumed run,
    even with another target, plans no committed chunk again and asks no request twice.
    """

    def __init__(
        self,
        planner: Planner,
        quotas: Quotas,
        *,
        cells: Cells,
        wanted_rows: dict[str, int],
        chunk_requests: int,
        committed: Ranges,
        recorded_numbers: Callable[[int], Sequence[int]],
    ) -> None:
        self._planner, self._quotas, self._cells, self._names = planner, quotas, cells, list(wanted_rows)
        self._size, self._committed, self._recorded_numbers = chunk_requests, committed, recorded_numbers
        self._cell_of_seed = (
            cells.seed_codes.cells_of_seeds(self._names) if cells.is_directed else np.zeros(planner.seeds, np.int32)
        )
        self._sampler = PoolSampler(planner.order, self._cell_of_seed, quotas.pools)
        self._replayed_until = 0
        self._committed_ahead: frozenset[int] | None = None
        self.remaining_rows: Array = np.array([*wanted_rows.values(), 0], np.int64)

    def planned_requests(self, chunks: Iterable[int] | None = None) -> int | None:
        return None

    def next_requests(self, chunk: int) -> list[Request] | None:
        self._replay_committed(chunk)
        counts = self._quotas.next_requests(chunk, self._size)
        if counts is None or not counts.any():
            return None if counts is None else []
        numbers = self._sampler.take(counts, exclude=self._asked_ahead(chunk))
        self._quotas.on_planned(chunk, counts)
        self._replayed_until = chunk + 1
        return self._planner.numbered(chunk, numbers)

    def _replay_committed(self, chunk: int) -> None:
        """Replay committed chunks before this one into the quota state, from their commit records."""
        for committed in range(self._replayed_until, chunk):
            self._quotas.on_planned(committed, self._sampler.skip(self._recorded_numbers(committed)))
        self._replayed_until = max(self._replayed_until, chunk)

    def _asked_ahead(self, chunk: int) -> frozenset[int]:
        """Requests of chunks that an earlier run committed out of order: under another target they might be drawn again."""
        if self._committed_ahead is None:
            later = [later_chunk for later_chunk in self._committed if later_chunk > chunk]
            self._committed_ahead = frozenset(number for later_chunk in later for number in self._recorded_numbers(later_chunk))
        return self._committed_ahead

    def superseded_positions(self, chunk: int) -> frozenset[int]:
        return frozenset()

    def refuse_other_plan(self, chunk: int, numbers: Sequence[int]) -> None:
        """Never raises: what was asked for one target counts towards another."""

    def cells_of(self, rows: pa.Table, numbers: Sequence[int]) -> Array:
        if self._cells.balance is None:
            return np.zeros(rows.num_rows, np.int64)
        if not self._cells.is_directed:
            return self._cells.cells_of_rows(rows, self._names)
        seeds = self._planner.seeds_of(np.array(numbers, np.int64))
        cells = self._cell_of_seed[seeds[rows["position"].to_numpy()]].astype(np.int64)
        return np.where(cells < 0, len(self._names), cells)

    def on_admitted(self, chunk: int, accepted: Array) -> None:
        self._replay_committed(chunk + 1)
        self._quotas.on_admitted(chunk, accepted[: len(self._names)])

    def target_summary(self) -> dict[str, Any]:
        wanted, accepted, requests, closed = (a.tolist() for a in self._quotas.totals())
        summary: dict[str, Any] = {"wanted": sum(wanted), "accepted": sum(accepted), "requests": sum(requests)}
        if (balance := self._cells.balance) is not None:
            columns = zip(self._names, wanted, accepted, _per_cell(requests, wanted), _per_cell(closed, wanted), strict=True)
            cells = [dict(zip(("cell", "wanted", "accepted", "requests", "closed"), values, strict=True)) for values in columns]
            summary |= {"by": balance.by, "cells": cells}
        return summary

    def shortfall(self) -> str:
        return self._quotas.shortfall()


def _per_cell(of_pools: list[Any], cells: list[int]) -> list[Any]:
    """A pool's number for each cell; None where one pool fills all cells."""
    return of_pools if len(of_pools) == len(cells) else [None] * len(cells)


def open_schedule(job: Job, prepared: Prepared, storage: Storage, *, extend: bool, retry_failed: bool) -> Schedule:
    """The output's plan in its present state. Call under the lease. Raises JobError where the output has another plan."""
    ledger = Ledger(storage)
    committed = ledger.committed_chunks()
    _refuse_other_version(ledger, committed, prepared.planner)
    if not job.target.is_set:
        size = job.plan.chunk_requests
        return FixedSchedule(
            load_or_grow_plan(storage, prepared.planner, chunk_requests=size, extend=extend, retry_failed=retry_failed)
        )
    if retry_failed:
        raise JobError(
            "--retry-failed: wanted a plan of fixed length, got a job with a target: what failed is made up for by itself"
        )
    return TargetSchedule(
        prepared.planner,
        prepared.quotas(),
        cells=prepared.cells,
        wanted_rows=prepared.wanted_rows,
        chunk_requests=job.plan.chunk_requests,
        committed=committed,
        recorded_numbers=lambda chunk: numbers_of(ledger.read_commit(chunk)),
    )


def _refuse_other_version(ledger: Ledger, committed: Ranges, planner: Planner) -> None:
    """Raises JobError where this version plans differently from the one that committed the first and the last chunk."""
    runs = committed.runs
    for chunk in sorted({runs[0][0], runs[-1][1] - 1}) if runs else []:
        commit = ledger.read_commit(chunk)
        planned = planner.numbered(chunk, numbers_of(commit))
        if (now := plan_facts(planned)["plan"]) != commit.facts["plan"]:
            raise JobError(
                f"chunk {chunk}: wanted the plan of its commit record, {commit.facts['plan']}, got {now}: another version of "
                "synth-ray plans this job otherwise; go on with the version that began it, or give output.path another place"
            )
