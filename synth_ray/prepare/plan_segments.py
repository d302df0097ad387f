"""What an output's plan is by now: pinned by its first run, grown by `--extend` and `--retry-failed`.

_synth/plan.json   the segments: {"until": n} plans the numbers up to n, {"again": […]} asks those numbers again
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.ask.rows import POISON_DETAIL
from synth_ray.dataset.ledger import ROOT, Ledger
from synth_ray.errors import Conflict, JobError, ObjectNotFound
from synth_ray.plan.chunks import Planner
from synth_ray.plan.growth import GrownPlan
from synth_ray.records import Reason
from synth_ray.storage import Storage

PLAN = f"{ROOT}plan.json"
RETRYABLE_REASONS = (Reason.DEADLINE.value, Reason.ENGINE_ERROR.value)
"""Reasons of failures that may not occur again."""


def load_or_grow_plan(storage: Storage, planner: Planner, *, chunk_requests: int, extend: bool, retry_failed: bool) -> GrownPlan:
    """The plan stored at `_synth/plan.json`: the first run's requests, then what `--extend` and `--retry-failed` appended. Call
    under the lease. Raises JobError where the stored plan is another.
    """
    try:
        data, etag = storage.read_with_etag(PLAN)
        stored: list[dict[str, Any]] = json.loads(data)["segments"]
    except ObjectNotFound:
        stored, etag = [{"until": planner.requests}], ""
    segments = _extend(storage, stored, planner.requests, extend=extend)
    plan = GrownPlan(planner, _numbers(segments), chunk_requests=chunk_requests)
    if retry_failed and (numbers := sorted(_retryable_numbers(Ledger(storage), plan))):
        segments = [*segments, {"again": numbers}]
        plan = GrownPlan(planner, _numbers(segments), chunk_requests=chunk_requests)
    if segments != stored or not etag:
        record = json.dumps({"segments": segments}).encode()
        try:
            _ = storage.swap(PLAN, record, etag) if etag else storage.create(PLAN, record)
        except Conflict:  # another part of this job wrote it meanwhile
            return load_or_grow_plan(storage, planner, chunk_requests=chunk_requests, extend=extend, retry_failed=False)
    return plan


def _extend(storage: Storage, stored: list[dict[str, Any]], requests: int, *, extend: bool) -> list[dict[str, Any]]:
    planned = max(s["until"] for s in stored if "until" in s)
    if requests == planned:
        return stored
    if extend and requests > planned:
        return [*stored, {"until": requests}]
    can = (
        "add --extend to ask for the rest"
        if requests > planned
        else "a plan can grow, not shrink: give output.path another place"
    )
    raise JobError(f"{storage.url}: wanted the plan that is here, got plan.requests (was {planned}, is {requests}); {can}")


def _numbers(segments: list[dict[str, Any]]) -> list[range | list[int]]:
    numbers: list[range | list[int]] = []
    planned = 0
    for segment in segments:
        numbers.append(range(planned, segment["until"]) if "until" in segment else segment["again"])
        planned = segment.get("until", planned)
    return numbers


def _retryable_numbers(ledger: Ledger, plan: GrownPlan) -> Iterator[int]:
    """The numbers of requests with a failed slot that may succeed when asked again. Poison requests are not among them."""
    for chunk in ledger.committed_chunks():
        commit = ledger.read_commit(chunk)
        if not any(commit.reasons.get(reason) for reason in RETRYABLE_REASONS):
            continue
        rows = ledger.read_rows(commit, ["position", "reason", "detail"])
        chosen = rows.filter(pc.is_in(rows["reason"], value_set=pa.array(RETRYABLE_REASONS, pa.string()))).to_pylist()
        numbers, superseded = plan.numbers(chunk), plan.superseded(chunk)
        for position in {row["position"] for row in chosen if row["detail"] != POISON_DETAIL} - superseded:
            yield numbers[position]
