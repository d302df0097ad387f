"""Estimates: intervals hold what they promise, prompts are counted as the model counts them, and nothing is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.job.load import job_from
from synth_ray.prepare.estimate import Estimate, estimate
from synth_ray.prepare.interval import Interval, predict_total, share_interval
from synth_ray.prepare.kept_estimate import with_actual
from synth_ray.prepare.lengths import Lengths
from synth_ray.prepare.preparation import prepare
from tests.conftest import TINY_TEACHER

ENDPOINT = {
    "engine": "endpoint",
    "model": "m",
    "endpoint": {"urls": ["http://127.0.0.1:1/v1"], "usd_per_1m_prompt": 1.0, "usd_per_1m_completion": 10.0},
}


PROMPTS = [f"Question {n}? {'Why so, and how? ' * (n % 7)}".strip() for n in range(200)]


def estimated(folder: Path, lengths: Lengths | None = None, **more: Any) -> Estimate:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    document: dict[str, Any] = {
        "name": "guessed",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted"}},
        "sampling": {"max_tokens": 100},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
    }
    job = job_from(document | more)
    return estimate(prepare(job, spool=folder), job, lengths)


@pytest.mark.parametrize(("sampled", "planned"), [(5, 1000), (64, 200), (300, 100_000)])
def test_the_interval_holds_nine_times_in_ten(sampled: int, planned: int) -> None:
    draw = np.random.default_rng(sampled)
    held = 0
    for _ in range(300):
        lengths = np.minimum(512, draw.gamma(2.0, 60.0, sampled + min(planned, 4000)))
        total = float(lengths[sampled:].mean()) * planned if planned > 4000 else float(lengths[sampled : sampled + planned].sum())
        guess = predict_total(lengths[:sampled].tolist(), planned)
        held += guess.low <= total <= guess.high
    assert held / 300 > 0.82


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(0, 10**7))
def test_an_interval_is_in_order_and_repeatable(sample: list[float], count: int) -> None:
    guess = predict_total(sample, count)
    assert guess.expected is not None and 0 <= guess.low <= guess.expected * (1 + 1e-9) <= guess.high * (1 + 1e-9) + 1e-9
    assert guess == predict_total(sample, count)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_an_accepted_share_is_never_zero(accepted: int, rejected: int) -> None:
    share = share_interval(accepted, accepted + rejected)
    assert 0 < share.low <= share.high <= 1
    assert share.expected is None or share.low <= share.expected <= share.high


@pytest.mark.slow  # transformers alone takes seconds to import
def test_prompts_are_counted_as_the_model_itself_counts_them(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    recipe, tokenizer = {"name": "distill", "system": "Be brief."}, AutoTokenizer.from_pretrained(TINY_TEACHER)
    chat = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}] for prompt in PROMPTS]
    counts = [len(tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False)) for c in chat]
    guess = estimated(tmp_path, models={"teacher": {"model": str(TINY_TEACHER)}}, recipe=recipe)
    assert guess.prompts_by == "the model's tokenizer"
    assert guess.prompt_tokens.low <= sum(counts) <= guess.prompt_tokens.high < 1.2 * guess.prompt_tokens.low
    one = estimated(tmp_path, models={"teacher": {"model": str(TINY_TEACHER)}}, recipe=recipe, plan={"requests": 1})
    assert one.prompt_tokens.expected in counts


def test_without_lengths_answers_are_only_limited_and_nothing_has_a_price(tmp_path: Path) -> None:
    guess = estimated(tmp_path)
    assert guess.completion_tokens == Interval(0.0, None, 100 * 200)
    assert (guess.usd, guess.hours) == (None, None)
    assert set(guess.unknown) == {"usd", "hours"}
    assert guess.prompt_tokens.low < (guess.prompt_tokens.expected or 0) < guess.prompt_tokens.high
    assert estimated(tmp_path, recipe={"name": "vary"}).prompt_tokens.high > 2 * guess.prompt_tokens.high
    none_asked = estimated(tmp_path, recipe="build", models="none")
    assert (none_asked.asks, none_asked.completion_tokens.high) == (0, 0.0)


def test_money_is_tokens_by_their_price_and_replicas_by_the_hour(tmp_path: Path) -> None:
    lengths = Lengths("earlier", [100.0] * 50, [20.0, 40.0] * 25, speed=Interval(50.0, 60.0, 70.0), start_s=360.0)
    by_token = estimated(tmp_path, lengths, models={"teacher": ENDPOINT})
    assert by_token.usd is not None and by_token.usd.expected == pytest.approx(200 * (100 * 1.0 + 30 * 10.0) / 1e6)
    by_hour = estimated(tmp_path, lengths, budget={"gpu_hour_usd": 3.0}, cluster={"teachers": 2})
    assert by_hour.hours is not None and by_hour.hours.expected == pytest.approx(0.1 + 200 * 30 / 60 / 2 / 3600)
    assert by_hour.usd is not None and by_hour.usd.expected == pytest.approx(2 * 3.0 * by_hour.hours.expected)
    assert by_hour.usd.low < by_hour.usd.expected < by_hour.usd.high
    most = estimated(tmp_path, models={"teacher": ENDPOINT})
    assert most.usd is not None and most.usd.expected is None and most.usd.high > 200 * 100 * 10.0 / 1e6
    dear_judge = {"teacher": ENDPOINT | {"family": "a"}, "judge": ENDPOINT | {"family": "b"}}
    dear_judge["judge"]["endpoint"] = ENDPOINT["endpoint"] | {"usd_per_1m_completion": 100.0}
    judged = estimated(tmp_path, lengths, models=dear_judge)
    assert judged.usd is not None and judged.usd.high > 5 * judged.usd.low  # who gets which tokens is not known


def test_a_target_asks_as_many_requests_as_its_accepted_share_lets_expect(tmp_path: Path) -> None:
    target = {"accepted": 150}
    unknown = estimated(tmp_path, target=target)
    assert (unknown.requests.low, unknown.requests.expected, unknown.requests.high) == (150, None, 1500)
    lengths = Lengths("earlier", [10.0] * 9, [30.0] * 9, accepted_share=share_interval(500, 1000))
    known = estimated(tmp_path, lengths, target=target)
    assert known.requests.expected == 300 and 270 < known.requests.low < 300 < known.requests.high < 330
    assert known.completion_tokens.low < (known.completion_tokens.expected or 0) == pytest.approx(9000)


def test_how_far_an_estimate_was_off_is_told_for_what_was_done() -> None:
    record = {
        "asks": 10,
        "prompt_tokens": {"low": 90, "expected": 100, "high": 110},
        "completion_tokens": {"low": 0, "expected": None, "high": 500},
        "usd": {},
        "hours": {},
    }
    actual = {"prompt_tokens": 55, "completion_tokens": 50, "usd": 0.0, "hours": 0.1}
    assert with_actual(record, actual, done_share=0.5)["off"] == {"prompt_tokens": 0.1}
    assert with_actual(record, actual, done_share=0.0)["off"] == {}
    assert with_actual({}, actual, done_share=1.0) == {}
