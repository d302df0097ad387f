"""What a provider's batches do besides answering, each through a whole run: what is asked again, what ends a row, what stops."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth_ray
from synth_ray.ask.batches.errors import ProviderError, errors_in
from synth_ray.ask.batches.results import by_custom_id, lines_in, reply_in
from synth_ray.errors import ServiceRefused
from synth_ray.storage.local import LocalStorage
from tests.batch_server import Provider, batches, default_answer
from tests.endpoint_server import KEY
from tests.unit.ask.test_batch_api_teacher import ask, is_recorded, prompt, section, status_of_batch, teacher

SEEDS = 12
Line = dict[str, Any]


def run_against(provider: Provider, folder: Path, **batch: Any) -> Any:
    """The result of a job of 12 seeds, one step each."""
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"tell of the town {n}"}) + "\n" for n in range(SEEDS)))
    with batches(provider) as url:
        return synth_ray.run(
            {
                "name": "batch faults",
                "seeds": str(folder / "seeds.jsonl"),
                "recipe": "distill",
                "models": {"teacher": section(url, dead_after_s=20, **batch)},
                "check": {"drop": []},
                "dedup": {"near": False, "seeds": False},
                "split": {"fractions": {"train": 1.0}},
                "limits": {"request_deadline_s": 2 * 86400, "max_failed_share": 1.0},
                "output": str(folder / "out"),
                "cluster": {"engine": "local"},
            }
        )


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)


def errors(code: str, message: str = "", line: int | None = None) -> dict[str, Any]:
    return {"object": "list", "data": [{"code": code, "message": message, "line": line, "param": None}]}


def first_batches(count: int, found: Any) -> Callable[..., Any]:
    """`found` for the first `count` batches, or creations, nothing for the others."""
    return lambda number, *_: found if number < count else None


def of_first_batch(change: Callable[[list[Line]], list[Any]]) -> Callable[[int, list[Line]], list[Any]]:
    return lambda number, lines: change(lines) if number == 0 else lines


def with_status(status: int, body: Any = None) -> Callable[[Line], Line]:
    return lambda line: line | {"response": {"status_code": status, "body": body}}


def half(change: Callable[[Line], Any]) -> Callable[[list[Line]], list[Any]]:
    return lambda lines: [change(line) if number % 2 else line for number, line in enumerate(lines)]


FULL = errors("token_limit_exceeded", "Enqueued token limit reached for m. Please try again once some are done.")
HALF = SEEDS // 2

ASKED_AGAIN: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    # name: (faults, keys of the batch section, requests sent in all)
    "no room, told by a failed batch": ({"errors_of": first_batches(4, FULL)}, {"retries": 0}, SEEDS),
    "no room, told at creation": ({"refusal": first_batches(3, (400, {"error": FULL["data"][0]}, {}))}, {"retries": 0}, SEEDS),
    "too many calls": ({"refusal": first_batches(2, (429, {}, {"Retry-After": "0.2"}))}, {"retries": 0}, SEEDS),
    "a busy queue": ({"refusal": first_batches(2, (429, {"error": {"code": "rate_limit_exceeded"}}, {}))}, {}, SEEDS),
    "no room, told of a line": ({"errors_of": first_batches(1, errors("token_limit_exceeded", line=1))}, {"retries": 0}, SEEDS),
    "the provider's own fault": ({"errors_of": first_batches(1, errors("server_error"))}, {"retries": 1}, SEEDS),
    "expired": ({"ends": status_of_batch(["expired"])}, {"retries": 1}, SEEDS + HALF),
    "cancelled": ({"ends": status_of_batch(["cancelled"])}, {"retries": 1}, 2 * SEEDS),
    "result files gone": ({"knows": lambda path, i: not (path.startswith("/files/") and i == 0)}, {"retries": 1}, 2 * SEEDS),
    "batch gone": ({"knows": lambda path, _: not path.endswith("/batch_0")}, {"retries": 1}, 2 * SEEDS),
    "no facts about files": ({"knows": lambda path, _: not path.startswith("/files/") or path.endswith("/content")}, {}, SEEDS),
    "half a file": ({"rewrite": of_first_batch(lambda lines: lines[:HALF])}, {"retries": 1}, SEEDS + HALF),
    "torn lines": ({"rewrite": of_first_batch(half(lambda line: json.dumps(line)[:40]))}, {"retries": 1}, SEEDS + HALF),
    "no lines": ({"rewrite": of_first_batch(lambda _: ["null", "[]", '{"custom_id": [1]}', "7"])}, {"retries": 1}, 2 * SEEDS),
    "lines of others": ({"rewrite": lambda _, lines: [*lines, lines[0] | {"custom_id": "theirs"}]}, {}, SEEDS),
    "lines twice": ({"rewrite": lambda _, lines: [*lines, *map(with_status(500), lines)]}, {"retries": 0}, SEEDS),
    "an odd response": ({"rewrite": of_first_batch(half(lambda line: line | {"response": "?"}))}, {"retries": 1}, SEEDS + HALF),
    "an error body with status 200": (
        {"rewrite": of_first_batch(half(with_status(200, {"error": {"code": "server_error"}})))},
        {"retries": 1},
        SEEDS + HALF,
    ),
} | {
    f"lines with {status}": ({"rewrite": of_first_batch(half(with_status(status, {})))}, {"retries": 1}, SEEDS + HALF)
    for status in (408, 409, 429, 500, 503, 504)
}


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_what_has_no_answer_is_asked_again_and_nothing_else_is(name: str) -> None:
    faults, keys, sent = ASKED_AGAIN[name]
    provider = Provider(**faults)
    with batches(provider) as url:
        answers = ask(teacher(url, dead_after_s=20, **keys), *[prompt(number) for number in range(SEEDS)])
    assert all(isinstance(answer, list) for answer in answers), answers
    assert provider.sent.total() == sent


@pytest.mark.parametrize("name", ["no room, told by a failed batch", "result files gone", "batch gone", "lines with 503"])
def test_a_run_with_such_a_provider_is_complete(name: str, tmp_path: Path) -> None:
    faults, keys, _ = ASKED_AGAIN[name]
    manifest = run_against(Provider(**faults), tmp_path, **keys).manifest
    assert (manifest["rows"]["accepted"], manifest["complete"]) == (SEEDS, True)


def test_a_wait_for_room_is_told_with_its_length_and_without_a_prompt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    message = "Enqueued token limit reached, first in 'tell of the town 3 or so': tell of the town"
    provider = Provider(errors_of=first_batches(1, errors("token_limit_exceeded", message)))
    run_against(provider, tmp_path)
    [told] = [record.getMessage() for record in caplog.records if "no room" in record.getMessage()]
    assert "token_limit_exceeded" in told
    assert "waiting 0.0 s" in told
    assert "town" not in told


def test_a_batch_larger_than_the_providers_limit_is_sent_in_smaller_ones(tmp_path: Path) -> None:
    provider = Provider(errors_of=lambda _, lines: FULL if len(lines) > 5 else None)
    assert run_against(provider, tmp_path, retries=0).manifest["rows"]["accepted"] == SEEDS
    assert provider.sent.total() == SEEDS


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the model, in validation": (
        {"errors_of": first_batches(9, errors("model_not_found", "'m' is not there", 1))},
        "model_not_found",
    ),
    "the file, in validation": ({"errors_of": first_batches(9, errors("invalid_json_line"))}, "invalid_json_line"),
    "a form of its own": ({"errors_of": first_batches(9, [{"code": "duplicate_custom_id"}])}, "duplicate_custom_id"),
    "the account, in validation": (
        {"errors_of": first_batches(9, errors("billing_hard_limit_reached"))},
        "billing_hard_limit_reached",
    ),
    "the quota": ({"refusal": first_batches(9, (429, {"error": {"code": "insufficient_quota"}}, {}))}, "insufficient_quota"),
    "the account": ({"refusal": first_batches(9, (400, {"error": {"code": "billing_hard_limit_reached"}}, {}))}, "billing_hard"),
    "the credit": ({"refusal": first_batches(9, (402, {"error": "pay"}, {}))}, "HTTP 402"),
    "the model, at creation": (
        {"refusal": first_batches(9, (404, {"error": {"code": "model_not_found"}}, {}))},
        "model_not_found",
    ),
    "the quota, in the results": (
        {"rewrite": lambda _, lines: list(map(with_status(429, {"error": {"code": "insufficient_quota"}}), lines))},
        "insufficient_quota",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_of_every_batch_refuses_every_ask_with_the_providers_code(name: str) -> None:
    faults, code = REFUSED[name]
    with batches(Provider(**faults)) as url:
        refusals = ask(teacher(url), *[prompt(number) for number in range(SEEDS)])
    assert all(isinstance(refusal, ServiceRefused) and code in str(refusal) for refusal in refusals), refusals


@pytest.mark.slow
@pytest.mark.parametrize("name", ["the model, in validation", "the quota", "the quota, in the results"])
def test_a_refusal_of_every_batch_stops_the_run_with_the_providers_code_and_the_next_run_goes_on(
    name: str, tmp_path: Path
) -> None:
    faults, code = REFUSED[name]
    stopped = run_against(Provider(**faults), tmp_path)
    assert code in stopped.stopped
    assert (stopped.manifest["complete"], stopped.manifest["rows"]["failed"]) == (False, {})
    assert run_against(Provider(), tmp_path).manifest["rows"]["accepted"] == SEEDS


def test_a_prompt_that_is_at_fault_ends_its_own_row_alone(tmp_path: Path) -> None:
    """One is refused in its result line, and one fails its whole batch in validation."""
    too_long = "maximum context length is 4096 tokens, tell of the town 7"

    def validate(_number: int, lines: list[Line]) -> Any:
        bad = [place for place, line in enumerate(lines, 1) if "town 7" in json.dumps(line["body"])]
        return errors("context_length_exceeded", too_long, bad[0]) if bad else None

    def answer(body: Line) -> tuple[int, Any]:
        return (400, {"error": {"message": too_long}}) if "town 5" in json.dumps(body) else default_answer(body)

    provider = Provider(errors_of=validate, answer=answer)
    rows = run_against(provider, tmp_path, retries=0).manifest["rows"]
    assert (rows["accepted"], rows["failed"]) == (SEEDS - 2, {"prompt_too_long": 2})


def test_rows_without_an_answer_name_the_providers_last_word(tmp_path: Path) -> None:
    provider = Provider(rewrite=lambda _, lines: list(map(with_status(503, {}), lines)))
    with batches(provider) as url:
        [failure] = ask(teacher(url, retries=1), prompt(1))
    assert "no answer in 2 batches; the last: HTTP 503" in str(failure)


@pytest.mark.parametrize("gone", ["/batches/batch_0", "/files/"])
def test_what_the_provider_deleted_between_two_runs_is_asked_again(gone: str, tmp_path: Path) -> None:
    provider, storage = Provider(takes_s=3600.0), LocalStorage(tmp_path)
    with batches(provider) as url:
        ask(teacher(url, storage), *[prompt(i) for i in range(6)], give_up_once=lambda: is_recorded(storage))
        assert provider.sent.total() == 6
        provider.knows = lambda path, number: not (path.startswith(gone) and number == 0)
        provider.takes_s = 0.05
        answers = ask(teacher(url, storage), *[prompt(i) for i in range(6)])
    assert all(isinstance(answer, list) for answer in answers)
    assert provider.sent.total() == 12


@given(st.text(min_size=24, max_size=80), st.text(max_size=40), st.sampled_from(["'{}'", '"{}"', "line: {}", "{} …"]))
def test_no_error_shows_what_a_prompt_says(text: str, before: str, form: str) -> None:
    prompt_text = " ".join(text.split())
    shown = ProviderError("invalid_prompt", f"{before} {form.format(prompt_text)}", 3).shown(f"Question: {prompt_text}\n")
    places = range(len(prompt_text) - 23)
    assert not any(prompt_text[place : place + 24] in shown for place in places)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["custom_id", "response", "status_code", "body", "error", "errors", "data", "code", "message", "line"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.binary(max_size=40))
def test_any_result_line_and_any_error_can_be_read(value: Any, noise: bytes) -> None:
    lines = [line for line in lines_in(json.dumps(value).encode() + b"\n" + noise) if line is not None]
    for line in [*by_custom_id(lines).values(), {"custom_id": "a", "response": value, "error": value}]:
        reply_in(line, 1)
    assert all(error.meaning in ("wait", "again", "refused") and error.shown() for error in errors_in(value))
