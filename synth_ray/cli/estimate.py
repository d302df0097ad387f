"""Estimates for people: what a plan will cost, and how far that was off in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from synth_ray.cli.numbers import short_count, short_time, short_usd
from synth_ray.dedup.memory import VectorBytes
from synth_ray.prepare.estimate import Estimate
from synth_ray.prepare.index_memory import IndexMemory
from synth_ray.prepare.interval import Interval
from synth_ray.prepare.several_engines import StepEstimate
from synth_ray.prepare.top_k_size import TopKSize


def estimate_lines(guess: Estimate) -> Iterator[str]:
    """Tokens, money and hours, each with its interval."""
    yield f"tokens    {_about(guess.prompt_tokens)} in, counted by {guess.prompts_by}"
    if guess.source:
        yield f"          {_about(guess.completion_tokens)} out, as {guess.source} had"
    else:
        yield f"          at most {guess.completion_tokens.high:,.0f} out (max_tokens × asks); see preview, or --like PREFIX"
    yield f"money     {_money(guess)}"
    yield f"time      {_hours(guess)}"


def top_k_line(size: TopKSize) -> str:
    """What the likeliest tokens take on the store."""
    high, whole = size.total.high, size.total.expected
    about = f"about {short_count(whole)}" if whole is not None else f"at most {short_count(high)}"
    between = f" ({short_count(size.total.low)}–{short_count(high)})" if whole is not None and size.total.low < high else ""
    return (
        f"top-k     {size.k} at each token: {size.raw} bytes of rows, about {size.packed:.0f} in Parquet; {about}B{between} for "
        f"{_about(size.tokens)} tokens of answers"
    )


def memory_lines(size: IndexMemory) -> Iterator[str]:
    """What the kept rows take in memory, and where."""
    where = f"{size.shards} index shards, {_bytes(size.in_one_place)} each" if size.shards else "the driver"
    if size.newest:
        newest = f"{_bytes(size.newest)} for the newest keys"
        where = f"the driver with {newest}, more while runs are merged; the rest in files on its disk"
    row, words = _bytes(size.row), f"{size.words:,.0f} words"
    yield f"memory    about {row} for a kept row of {words}, {_bytes(size.total)} for {size.rows:,}, in {where}"
    if size.vectors is not None:
        yield f"          {_vectors(size, size.vectors)}"


def _vectors(size: IndexMemory, vectors: VectorBytes) -> str:
    if not size.dimensions:
        return "without their vectors, each 16 B and one a dimension: how many there are, the model tells when it answers"
    share = f"of it {_bytes(vectors.row)} for a vector of {size.dimensions:,} dimensions"
    if size.newest:
        share = f"a vector of {size.dimensions:,} dimensions takes {_bytes(vectors.row)} of disk, twice that while cells are made"
    cells = f"{_bytes(vectors.cells)} {'in each shard ' if size.shards else ''}for cells"
    beside = f"and {_bytes(size.beside)} in the driver{' for their sample' if not size.shards else ''}"
    return f"{share}; {cells}, {beside}"


def step_line(step: StepEstimate) -> str:
    """What a step moves, and whether several engines on one GPU are expected to pay."""
    work = f"a step of {step.sequences:,} sequences reads {_bytes(step.step_bytes)}, {step.step_ms:.1f} ms on {step.device}"
    return f"gpu       {work}; {step.expectation} (synth-ray tune measures it)"


def _bytes(count: float) -> str:
    text = short_count(count)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def _about(value: Interval) -> str:
    if value.low == value.high:
        return f"about {value.high:,.0f}" if value.high else "none"
    between = f"{value.low:,.0f}–{value.high:,.0f}"
    return f"about {value.expected:,.0f} ({between})" if value.expected is not None else between


def _money(guess: Estimate) -> str:
    if guess.usd is None:
        return f"unknown: {guess.unknown['usd']}" if "usd" in guess.unknown else "unknown"
    low, high = short_usd(guess.usd.low), short_usd(guess.usd.high)
    if not guess.source and guess.usd.expected is None:
        return f"at most {high}"
    if low == high:
        return f"about {high}"
    return f"about {short_usd(guess.usd.expected)} ({low}–{high})" if guess.usd.expected is not None else f"{low}–{high}"


def _hours(guess: Estimate) -> str:
    if guess.hours is None:
        return f"unknown: {guess.unknown['hours']}" if "hours" in guess.unknown else "no model is asked"
    low, high = (short_time(3600 * hours) for hours in (guess.hours.low, guess.hours.high))
    if low == high:
        return f"about {high}"
    if guess.hours.expected is None:
        return f"{low} to {high}: a full engine is faster than a few requests, by an unknown factor"
    return f"about {short_time(3600 * guess.hours.expected)} ({low}–{high})"


def off_line(estimate: Mapping[str, Any]) -> str:
    """How far the estimate of a run was off, in one line; empty where there was none.

    Takes the manifest's `estimate`: completion tokens, as the cost follows them, then dollars.
    """
    actual = estimate.get("actual", {})
    if not actual or not estimate.get("asks"):
        return ""
    parts = [_off(estimate, "completion_tokens", short_count, " tokens out")]
    if actual.get("usd") and estimate.get("usd"):
        parts.append(_off(estimate, "usd", short_usd, ""))
    share = estimate["done_share"]
    part = [f"{_percent(share)} of the plan was done"] if share < 1 else []
    return f"estimate  {'; '.join(parts + part)}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _off(estimate: Mapping[str, Any], name: str, text: Callable[[float], str], unit: str) -> str:
    share, used = estimate["done_share"], estimate["actual"][name]
    low, high = share * estimate[name]["low"], share * estimate[name]["high"]
    if (whole := estimate[name]["expected"]) is None:
        of_most = f" ({_percent(used / high)} of that)" if high else ""
        return f"at most {text(high)}{unit}, used {text(used)}{of_most}"
    expected = share * whole
    off = used / expected - 1 if expected else 0.0
    direction = f"{abs(off):.0%} {'over' if off > 0 else 'under'}" if round(off, 2) else "as expected"
    return f"{text(expected)}{unit} ({text(low)}–{text(high)}), used {text(used)}: {direction}"
