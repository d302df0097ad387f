"""The contract of providers of batches, the same for each: every answer is collected, and none is paid for twice."""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.batches.records import BATCHES
from synth_ray.errors import AskFailed, ServiceRefused
from synth_ray.recipes.contract import Completion
from synth_ray.storage.local import LocalStorage
from tests.anthropic_batch_server import AnthropicHandler
from tests.batch_asker import Answer, ForkedAsker, ask, prompt
from tests.batch_places import Place, serving
from tests.batch_server import Provider, batches
from tests.bedrock_batch_server import BedrockHandler, BedrockPlace
from tests.endpoint_server import KEY
from tests.gemini_batch_server import GeminiHandler

COUNT = 10
QUICK = {"quiet_s": 0.05, "poll_s": 0.02, "timeout_s": 5, "dead_after_s": 20}
PRICES = {"usd_per_1m_prompt": 10, "usd_per_1m_completion": 100, "usd_per_1m_cache_read": 1, "usd_per_1m_cache_write": 20}


class At:
    """One provider's server, and the section of a model that asks it."""

    def __init__(self, name: str, place: Any, section: dict[str, Any]) -> None:
        self.name, self.place, self._section = name, place, section

    def section(self, **batch: Any) -> dict[str, Any]:
        return self._section | {"batch": self._section["batch"] | QUICK | batch}

    def ask(self, folder: Path, count: int = COUNT, **batch: Any) -> list[Answer]:
        return ask(self.section(**batch), folder, *[prompt(number) for number in range(count)])


@pytest.fixture(params=["openai", "anthropic", "gemini", pytest.param("bedrock", marks=pytest.mark.slow)])
def at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[At]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with ExitStack() as stack:
        yield _at(request.param, request, monkeypatch, stack)


def _at(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> At:
    place: Any
    if name == "bedrock":
        import boto3

        server, bucket = request.getfixturevalue("moto_server"), request.getfixturevalue("bucket")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
        place = BedrockPlace()
        place.files = boto3.client("s3", endpoint_url=server)
        own = {"role_arn": "arn:aws:iam::123456789012:role/batches", "s3": f"s3://{bucket}/batches", "region": "us-east-1"}
        url = stack.enter_context(serving(place, BedrockHandler))
    elif name == "openai":
        place, own = Provider(), {"key_env": "TEACHER_KEY"}
        url = stack.enter_context(batches(place))
    else:
        place, own = Place(), {"key_env": "TEACHER_KEY"}
        handler, version = {"anthropic": (AnthropicHandler, "v1"), "gemini": (GeminiHandler, "v1beta")}[name]
        url = f"{stack.enter_context(serving(place, handler))}/{version}"
    model = "anthropic.claude-x-v1:0" if name == "bedrock" else "some-model"
    return At(name, place, {"engine": "batch_api", "model": model, "batch": {"provider": name, "url": url, **own}})


@pytest.fixture(scope="module")
def asker() -> Iterator[ForkedAsker]:
    forked = ForkedAsker()
    yield forked
    forked.close()


def first(status: str) -> Callable[[int], str]:
    """The first batch ends so, the others are complete."""
    return lambda number: status if number == 0 else "completed"


def texts(answers: list[Answer]) -> list[str]:
    assert all(isinstance(answer, list) for answer in answers), answers
    return [answer[0].text for answer in answers if isinstance(answer, list)]


def paid_once(place: Any, count: int = COUNT) -> bool:
    return sorted(place.answered.values()) == [1] * count


def test_answers_come_with_their_tokens_and_how_they_ended(at: At, tmp_path: Path) -> None:
    answers = at.ask(tmp_path)
    assert len(set(texts(answers))) == COUNT
    [answer] = answers[0] if isinstance(answers[0], list) else []
    assert isinstance(answer, Completion)
    cached = {"openai": (0, 0), "gemini": (1, 0)}.get(at.name, (1, 2))
    prompts = 7 if at.name == "openai" else 10
    assert (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("stop", prompts, 5)
    assert (answer.cached_tokens, answer.cache_written_tokens) == cached
    assert paid_once(at.place)
    assert at.place.sent.total() == COUNT


FAULTS: dict[str, dict[str, Any]] = {
    "busy": {"busy": 0.3},
    "broken": {"broken": 0.3},
    "overloaded": {"broken": 0.3, "broken_status": 529},
    "the reply of the creation is lost": {"lost": 1},
    "it is lost, and the batch is listed late": {"lost": 1, "late": 1},
    "torn downloads": {"torn": 0.25},
    "a torn line": {"rewrite": lambda number, lines: [*lines[:-1], json.dumps(lines[-1])[:30]] if number == 0 else lines},
    "expired": {"ends": first("expired")},
    "cancelled": {"ends": first("cancelled")},
    "failed": {"ends": first("failed")},
}
NOT_OF_OPENAI = {"broken_status", "late"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_loses_no_answer_and_pays_for_none_twice(at: At, fault: str, tmp_path: Path) -> None:
    for name, value in FAULTS[fault].items():
        if at.name == "openai" and name in NOT_OF_OPENAI:
            pytest.skip("its own tests have it")
        setattr(at.place, name, value)
    if at.name == "openai" and fault == "failed":
        at.place.errors_of = lambda number, _lines: [{"code": "server_error"}] if number == 0 else None
    answers = at.ask(tmp_path, part_requests=100, retries=2)
    assert len(set(texts(answers))) == COUNT
    if fault != "a torn line":  # that answer was paid for, and nobody can read it
        assert paid_once(at.place)
    again = {"expired": COUNT // 2, "cancelled": COUNT, "failed": COUNT, "a torn line": 1}.get(fault, 0)
    assert at.place.sent.total() == COUNT + again - (COUNT if at.name == "openai" and fault == "failed" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["create", "created", "poll", "download"])
def test_a_process_that_is_killed_pays_for_nothing_that_the_next_pays_for(
    at: At, moment: str, asker: ForkedAsker, tmp_path: Path
) -> None:
    """Killed before the batch is there, before its id is stored, while it waits, and with half of its results."""
    at.place.takes_s = 0.5 if moment == "poll" else 0.05
    ends: queue.Queue[int] = queue.Queue()

    def kill(reached: str) -> None:
        if reached == moment:
            at.place.at = lambda _: None
            ends.put(asker.kill())

    at.place.at = kill
    asker.start(at.section(), tmp_path, COUNT)
    assert ends.get(timeout=60) == -signal.SIGKILL
    records = [json.loads(LocalStorage(tmp_path).read(entry.path)) for entry in LocalStorage(tmp_path).list(BATCHES)]
    assert [bool(record["batch"]) for record in records] == [moment in ("poll", "download")]
    assert len(set(texts(at.ask(tmp_path)))) == COUNT
    assert paid_once(at.place)
    assert at.place.sent.total() == COUNT


def job(section: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"tell of the town {n}"}) + "\n" for n in range(COUNT)))
    return {
        "name": "providers",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": section},
        "check": {"drop": []},
        "dedup": {"near": False, "seeds": False},
        "split": {"fractions": {"train": 1.0}},
        "limits": {"request_deadline_s": 2 * 86400},
        "output": str(folder / name),
        "cluster": {"engine": "local"},
    }


def test_a_dataset_is_the_same_with_faults_and_costs_what_the_provider_bills(at: At, tmp_path: Path) -> None:
    section = at.section(**PRICES)
    plain = synth_ray.run(job(section, tmp_path, "plain")).manifest
    faults = {
        "busy": 0.1,
        "broken": 0.1,
        "torn": 0.1,
        "lost": 1,
        "ends": lambda number: "expired" if number == 1 else "completed",
    }
    for name, value in faults.items():
        setattr(at.place, name, value)
    faulty = synth_ray.run(job(section, tmp_path, "faulty")).manifest
    assert faulty["dataset_digest"] == plain["dataset_digest"]
    assert (plain["rows"]["accepted"], faulty["rows"]["accepted"]) == (COUNT, COUNT)
    fresh, read, written = {"openai": (7, 0, 0), "gemini": (9, 1, 0)}.get(at.name, (7, 1, 2))
    usd = COUNT * (fresh * 10 / 2 + read * 1 + written * 20 + 5 * 100 / 2) / 1e6
    assert plain["cost"]["usd"] == faulty["cost"]["usd"] == pytest.approx(usd, abs=1e-4)


def test_what_ends_a_row_at_an_endpoint_ends_it_here(at: At, tmp_path: Path) -> None:
    """A refusal, a filter that cut the answer and one that left none, a prompt that is too long, the limit of tokens."""
    if at.name == "openai":
        pytest.skip("its own tests have it")
    odd = ODD[at.name]
    at.place.odd = lambda text: odd.get(text.partition(" ")[0])
    kinds = list(odd)
    answers = ask(at.section(retries=0), tmp_path, *[prompt(number, kind) for number, kind in enumerate(kinds)])
    found = {
        kind: answer[0].finish_reason if isinstance(answer, list) else getattr(answer, "reason", type(answer).__name__)
        for kind, answer in zip(kinds, answers, strict=True)
    }
    assert found == {kind: ENDS.get(kind, kind) for kind in kinds}
    assert not any("SECRET" in str(answer) for answer in answers if isinstance(answer, BaseException))


ENDS = {"blocked": "content_filter", "late": "engine_error", "long": "prompt_too_long", "broken": "engine_error"}


def _claude_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}


TOO_LONG = "prompt is too long: 213462 tokens > 200000 maximum. SECRET"
ODD: dict[str, dict[str, Any]] = {
    "anthropic": {
        "refusal": {"stop_reason": "refusal", "content": []},
        "length": {"stop_reason": "max_tokens"},
        "long": _claude_error("invalid_request_error", TOO_LONG),
        "late": {"type": "expired"},
        "broken": _claude_error("overloaded_error", "SECRET"),
        "moderated": _claude_error("invalid_request_error", "Output blocked by content filtering policy SECRET"),
    },
    "gemini": {
        "content_filter": {"candidates": [{"index": 0, "finishReason": "SAFETY"}]},
        "blocked": {"candidates": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        "length": {"candidates": [{"finishReason": "MAX_TOKENS", "content": {"parts": [{"text": "half"}]}}]},
        "long": {"error": {"code": 3, "message": "The input token count (9) exceeds the maximum number of tokens. SECRET"}},
        "late": {"error": {"code": 14, "message": "SECRET"}},
    },
    "bedrock": {
        "content_filter": {"stopReason": "guardrail_intervened"},
        "length": {"stopReason": "max_tokens"},
        "long": {"error": {"errorCode": 400, "errorMessage": "Input is too long for requested model. SECRET"}},
        "broken": {"error": {"errorCode": 500, "errorMessage": "SECRET"}},
    },
}


def test_an_unpaid_account_stops_every_ask(at: At, tmp_path: Path) -> None:
    if at.name != "anthropic":
        pytest.skip("Anthropic alone tells it in the results")
    at.place.odd = lambda _: _claude_error("billing_error", "SECRET")
    assert all(isinstance(answer, ServiceRefused) and "billing_error" in str(answer) for answer in at.ask(tmp_path))


def test_several_answers_to_a_prompt_are_asked_as_the_provider_allows(at: At, tmp_path: Path) -> None:
    [answers] = ask(at.section(), tmp_path, prompt(1, n=3))
    assert isinstance(answers, list)
    alone = at.name in ("anthropic", "bedrock")
    assert [answer.asked_alone for answer in answers] == [False, alone, alone]
    assert at.place.sent.total() == (3 if alone else 1)


def test_a_wrong_key_is_told_without_the_key(at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if at.name == "bedrock":
        pytest.skip("it has no key")
    monkeypatch.setenv("TEACHER_KEY", "another-secret")
    answers = at.ask(tmp_path)
    assert all(isinstance(answer, ServiceRefused) and "another-secret" not in str(answer) for answer in answers)


def test_another_batch_of_the_same_size_is_waited_for_and_not_taken(at: At, asker: ForkedAsker, tmp_path: Path) -> None:
    """Anthropic's batches have no name, so one may be taken for ours until its results show whose it is."""
    if at.name != "anthropic":
        pytest.skip("the others have names")
    other = tmp_path / "other"
    at.place.takes_s = 1.0
    record = {"batch": "", "ids": [prompt(number).key for number in range(COUNT)], "at": 0}
    begun = threading.Event()
    at.place.at = lambda moment: begun.set() if moment == "created" else None
    asker.start(at.section(), other, COUNT)
    assert begun.wait(timeout=60)
    LocalStorage(tmp_path).write(f"{BATCHES}{'0' * 32}.json", json.dumps(record).encode())
    answers = at.ask(tmp_path)
    assert asker.wait() == 0
    assert len(set(texts(answers))) == COUNT
    assert at.place.sent.total() == 2 * COUNT


def test_a_row_without_an_answer_names_the_providers_last_word(at: At, tmp_path: Path) -> None:
    if at.name == "openai":
        pytest.skip("its own tests have it")
    at.place.ends = lambda _: "expired"
    answers = at.ask(tmp_path, retries=1)
    failed = [answer for answer in answers if isinstance(answer, AskFailed)]
    assert failed
    assert all("no answer in 2 batches" in str(failure) and "SECRET" not in str(failure) for failure in failed)
