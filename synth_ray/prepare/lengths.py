"""What requests cost before: tokens of each of a sample, the share of rows that was accepted, the speed of a replica."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synth_ray.dataset.ledger import Commit, Ledger
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.meter.costs import COSTS
from synth_ray.prepare.interval import Interval, share_interval
from synth_ray.prepare.plan_record import numbers_of
from synth_ray.records import Outcome
from synth_ray.storage import Storage

_SAMPLE_CHUNKS = 8
_SPEED_ALLOWANCE = 0.2
"""Share by which another run's speed may differ: another load, another mix of lengths, other neighbours on the machine."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """`prompt` and `completion` are tokens by request, all its asks and discarded drafts included; `usd` what those tokens cost.

    `accepted_share` of the slots. `speed` is completion tokens per second of one replica; None where it is not known. `start_s`
    is a replica's start. `source` says for people where all this is from.
    """

    source: str
    prompt: Sequence[float]
    completion: Sequence[float]
    accepted_share: Interval | None = None
    speed: Interval | None = None
    start_s: float = 0.0


def read_lengths(storage: Storage, source: str) -> Lengths | None:
    """From the committed chunks of an output; None where it has none. Raises StorageError.

    A request's own tokens are in the rows of a chunk. They are scaled to the sum in the chunk's commit record, which counts
    discarded drafts too. Where the rows are removed, each chunk counts as one request of its mean.
    """
    ledger = Ledger(storage)
    chunks = list(ledger.committed_chunks())
    if not chunks:
        return None
    stride = -(-len(chunks) // _SAMPLE_CHUNKS)
    pairs = [pair for chunk in chunks[::stride] for pair in _requests_of(ledger, ledger.read_commit(chunk))]
    manifest = _manifest(storage)
    return Lengths(
        source,
        [prompt for prompt, _ in pairs],
        [completion for _, completion in pairs],
        accepted_share=_accepted_share(manifest),
        speed=_speed(storage, manifest),
        start_s=float(manifest.throughput.get("first_replica_s", 0.0)) if manifest is not None else 0.0,
    )


def lengths_of_preview(outcomes: Sequence[Outcome], *, accepted: int, rows: int, seconds: float, at_once: int) -> Lengths:
    """From the answers of a preview, which took `seconds`. `at_once`: how many requests a replica runs at once.

    A preview asks a few requests, a run keeps the engine full: a replica is between as fast as the preview and as many times
    faster as it runs more requests.
    """
    tokens = sum(outcome.completion_tokens for outcome in outcomes)
    speed = tokens / seconds if seconds > 0 else 0.0
    fuller = max(1.0, at_once / max(1, len(outcomes)))
    return Lengths(
        f"{len(outcomes):,} requests of this preview",
        [outcome.prompt_tokens for outcome in outcomes],
        [outcome.completion_tokens for outcome in outcomes],
        accepted_share=share_interval(accepted, rows),
        speed=Interval(speed, None, speed * fuller) if speed else None,
    )


def _requests_of(ledger: Ledger, commit: Commit) -> Iterator[tuple[float, float]]:
    """Prompt and completion tokens of every request of a chunk."""
    requests = len(numbers_of(commit))
    totals = commit.facts.get("tokens", {})
    try:
        rows = ledger.read_rows(commit, ["request", "prompt_tokens", "completion_tokens"])
    except StorageError:
        rows = None
    if rows is None or not requests:
        yield from [(totals.get("prompt", 0) / requests, totals.get("completion", 0) / requests)] if requests else []
        return
    columns = [_scaled(_sums(rows, f"{name}_tokens"), totals.get(name, 0)) for name in ("prompt", "completion")]
    yield from zip(*columns, strict=True)


def _sums(rows: pa.Table, column: str) -> list[float]:
    """Sums by request. A prompt that several rows of a request share is paid for once; scaling makes up for what is not."""
    sums: Counter[str] = Counter()
    for request, tokens in zip(rows["request"].to_pylist(), rows[column].to_pylist(), strict=True):
        sums[request] += tokens or 0
    return [float(value) for value in sums.values()]


def _scaled(values: list[float], total: float) -> list[float]:
    known = sum(values)
    if not values:
        return []
    return [value * total / known for value in values] if known else [total / len(values)] * len(values)


def _manifest(storage: Storage) -> Manifest | None:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        return None


def _accepted_share(manifest: Manifest | None) -> Interval | None:
    if manifest is None or not manifest.rows.requested:
        return None
    return share_interval(manifest.rows.accepted, manifest.rows.requested)


def _speed(storage: Storage, manifest: Manifest | None) -> Interval | None:
    """Of the run that published last; where that one asked nothing, of all runs by what they paid for."""
    replicas = manifest.throughput.get("replicas", []) if manifest is not None else []
    rates = [rate for replica in replicas if (rate := replica["tokens_s"]["completion"]) > 0]
    speed = sum(rates) / len(rates) if rates else _paid_speed(storage)
    if not speed:
        return None
    return Interval(speed * (1 - _SPEED_ALLOWANCE), speed, speed * (1 + _SPEED_ALLOWANCE))


def _paid_speed(storage: Storage) -> float:
    spent: Counter[str] = Counter()
    for entry in storage.list(COSTS):
        record: Mapping[str, Any] = json.loads(storage.read(entry.path))
        spent.update({name: record.get(name, 0) for name in ("replica_s", "completion")})
    return spent["completion"] / spent["replica_s"] if spent["replica_s"] else 0.0
