"""What a plan will ask, cost and take, estimated before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synth_ray.job.document import Job
from synth_ray.prepare.interval import Interval, predict_total, share_interval
from synth_ray.prepare.lengths import Lengths
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.prompt_tokens import PromptCounts, count_prompts

_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """A plan's requests, tokens, US dollars and hours, each as an interval.

    An `expected` of None: only the limits are known. `usd` is None where nothing has a price or it cannot be told, `hours` where
    no speed is known; `unknown` says by name what would make it known. `hours` are of all teacher replicas, the start of
    one included. `asks` is the expected number, or the most. `source` is where the lengths of answers are from, empty where they
    are only limited.
    """

    requests: Interval
    asks: int
    prompt_tokens: Interval
    completion_tokens: Interval
    usd: Interval | None
    hours: Interval | None
    source: str
    prompts_by: str
    unknown: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The manifest's `estimate`, without what came of it."""
        return {
            "requests": self.requests.record(),
            "asks": self.asks,
            "prompt_tokens": self.prompt_tokens.record(),
            "completion_tokens": self.completion_tokens.record(),
            "usd": self.usd.record(4) if self.usd is not None else {},
            "hours": self.hours.record(4) if self.hours is not None else {},
            "source": self.source,
            "prompts_by": self.prompts_by,
        }


def estimate(prepared: Prepared, job: Job, lengths: Lengths | None = None) -> Estimate:
    """The estimate of the whole plan. `lengths`: what such requests cost before.

    Intervals are meant to hold nine times in ten. Tokens: bootstrap over the requests of the sample, see `predict_total`; without
    `lengths`, answers have only a limit, `Job.longest_answer` for every ask. Prompts are rendered and counted; where they are
    counted by bytes, or a request asks more than once, the interval is wider by what that leaves open. Requests of a target: its
    rows over the accepted share (Wilson). Hours: completion tokens over the speed, give or take what the source of the speed
    leaves open.
    """
    requests = _requests(prepared, lengths)
    per_request = prepared.recipe.asks(prepared.options)
    if not per_request or not requests.high:
        nothing = Interval.exactly(0.0)
        return Estimate(requests, 0, nothing, nothing, _no_cost(job), None, "no model is asked", "no model is asked")
    counts = count_prompts(prepared)
    prompt, prompts_by = _prompt_tokens(prepared, counts, requests, lengths)
    completion = _completion_tokens(prepared, requests, lengths)
    hours = _hours(job, completion, lengths)
    usd, unknown = _usd(job, prompt, completion, hours)
    if hours is None:
        unknown["hours"] = "no speed was measured; synth-ray preview tells a range, an earlier run (--like PREFIX) more"
    return Estimate(
        requests,
        round(per_request * (requests.high if requests.expected is None else requests.expected)),
        prompt,
        completion,
        usd,
        hours,
        lengths.source if lengths is not None else "",
        prompts_by,
        unknown,
    )


def _requests(prepared: Prepared, lengths: Lengths | None) -> Interval:
    """Requests of the plan; for a target as many as its rows need, between all rows accepted and the most that are asked."""
    if not prepared.job.target.is_set:
        return Interval.exactly(prepared.planner.requests)
    fewest, most = -(-sum(prepared.wanted_rows.values()) // prepared.slots), prepared.max_requests
    share = lengths.accepted_share if lengths is not None else None
    needed = Interval.exactly(fewest) / (share or share_interval(0, 0))
    expected = None if needed.expected is None else float(min(most, round(needed.expected)))
    return Interval(min(most, max(fewest, needed.low)), expected, min(most, needed.high))


def _of_requests(requests: Interval, sample: list[float]) -> Interval:
    """The total of a sample's values over so many requests."""
    count = max(1.0, requests.low if requests.expected is None else requests.expected)
    return predict_total(sample, count).scaled(1 / count) * requests


def _prompt_tokens(prepared: Prepared, counts: PromptCounts, requests: Interval, lengths: Lengths | None) -> tuple[Interval, str]:
    """Rendered prompts tell all of a recipe that asks once; what later asks hold is measured, or only limited."""
    asks = prepared.recipe.asks(prepared.options)
    rendered = _rendered(requests, [float(n) for n in counts.tokens]) * counts.trust
    is_exact = counts.trust.low == counts.trust.high
    if lengths is not None and not (asks == 1 and is_exact):
        return _of_requests(requests, list(lengths.prompt)), lengths.source
    if asks == 1:
        return rendered, counts.method
    answers = Interval(0.0, 0.0, prepared.job.longest_answer * (asks - 1)) * requests
    return rendered * Interval(1.0, asks, asks) + answers, f"{counts.method}, of the first of {asks} asks"


def _rendered(requests: Interval, sample: list[float]) -> Interval:
    """First prompts of the plan: those of the sample are known, the others are predicted from them."""
    if requests.low != requests.high:
        return _of_requests(requests, sample)
    return Interval.exactly(sum(sample)) + predict_total(sample, requests.high - len(sample))


def _completion_tokens(prepared: Prepared, requests: Interval, lengths: Lengths | None) -> Interval:
    if lengths is not None:
        return _of_requests(requests, list(lengths.completion))
    if prepared.recipe.scores:
        return requests  # the engine cannot make less than one token
    asks = max(prepared.recipe.asks(prepared.options), prepared.slots)
    return Interval(0.0, None, prepared.job.longest_answer * asks * requests.high)


def _hours(job: Job, completion: Interval, lengths: Lengths | None) -> Interval | None:
    if lengths is None or lengths.speed is None or not lengths.speed.low:
        return None
    all_replicas = lengths.speed.scaled(job.cluster.first_teachers * 3600)
    return completion / all_replicas + Interval.exactly(lengths.start_s / 3600)


def _no_cost(job: Job) -> Interval | None:
    return Interval.exactly(0.0) if has_price(job) else None


def has_price(job: Job) -> bool:
    """Whether the job names a price of anything: of a replica's hour, or of a model's tokens."""
    return bool(job.budget.gpu_hour_usd) or any(any(model.usd_per_1m) for model in job.models.by_role().values())


def _usd(job: Job, prompt: Interval, completion: Interval, hours: Interval | None) -> tuple[Interval | None, dict[str, str]]:
    """Tokens by their price, and replicas by the hour. None, and why, where a part of it is not known."""
    if not has_price(job):
        return None, {"usd": "nothing has a price: set budget.gpu_hour_usd, or the prices of an endpoint's tokens"}
    by_token = prompt * _token_price(job, 0) + completion * _token_price(job, 1)
    price = job.budget.gpu_hour_usd * job.cluster.all_replicas
    if not price:
        return by_token, {}
    if hours is None:
        return None, {"usd": "replicas cost by the hour, and the hours are not known"}
    return by_token + hours.scaled(price), {}


def _token_price(job: Job, kind: int) -> Interval:
    """US dollars per token, kind 0 of prompts, 1 of completions. Which role a token goes to is known of teachers alone, by their
    weights; where roles differ, between the cheapest and the dearest.
    """
    prices = [model.usd_per_1m[kind] / _MILLION for model in job.models.by_role().values()]
    weights = [teacher.weight for teacher in job.models.teachers]
    of_teachers = sum(w * p for w, p in zip(weights, prices, strict=False)) / sum(weights)
    return Interval(min(prices), of_teachers, max(prices))
