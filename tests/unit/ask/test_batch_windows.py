"""What a provider tells late, for a while or no more, and what another provider holds: nothing of it is paid for twice."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.batches.records import BATCHES
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.storage.local import LocalStorage
from tests.anthropic_batch_server import AnthropicHandler
from tests.batch_asker import Answer, ask, prompt
from tests.batch_places import Place, serving
from tests.batch_server import Provider, batches
from tests.endpoint_server import KEY
from tests.gemini_batch_server import GeminiHandler

COUNT = 6
QUICK = {"key_env": "TEACHER_KEY", "quiet_s": 0.05, "poll_s": 0.02, "timeout_s": 5, "dead_after_s": 20}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)


def section(provider: str, url: str, **batch: Any) -> dict[str, Any]:
    version = {"anthropic": "v1", "gemini": "v1beta"}[provider]
    own = QUICK | {"provider": provider, "url": f"{url}/{version}"} | batch
    return {"engine": "batch_api", "model": "m", "batch": own}


@pytest.fixture
def claude() -> Iterator[tuple[Place, str]]:
    place = Place()
    with serving(place, AnthropicHandler) as url:
        yield place, url


@pytest.fixture
def gemini() -> Iterator[tuple[Place, str]]:
    place = Place()
    with serving(place, GeminiHandler) as url:
        yield place, url


def ask_all(model: dict[str, Any], folder: Path, count: int = COUNT) -> list[Answer]:
    return ask(model, folder, *[prompt(number) for number in range(count)])


def are_answered(answers: list[Answer]) -> bool:
    return all(isinstance(answer, list) for answer in answers)


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_a_batch_that_is_listed_within_the_window_is_not_created_again(
    provider: str, claude: tuple[Place, str], gemini: tuple[Place, str], tmp_path: Path
) -> None:
    """The window is 10/3 of `poll_s`."""
    place, url = claude if provider == "anthropic" else gemini
    place.lost, place.seen_after_s = 1, 2.0
    assert are_answered(ask_all(section(provider, url, poll_s=1.0), tmp_path))
    assert (len(place.batches), place.sent.total()) == (1, COUNT)


def resumed(place: Place, url: str, folder: Path, failures: list[int], **batch: Any) -> list[Answer]:
    """Ask what an earlier run has sent, of whose batch it had not stored the id; the first downloads fail."""
    storage = LocalStorage(folder)
    assert are_answered(ask_all(section("anthropic", url), folder))
    [entry] = storage.list(BATCHES)
    storage.write(entry.path, json.dumps(json.loads(storage.read(entry.path)) | {"batch": ""}).encode())
    place.results_fail = failures
    return ask_all(section("anthropic", url, **batch), folder)


@pytest.mark.parametrize("failures", [[404, 404], [500] * 8])
def test_a_batch_is_known_again_after_its_results_were_out_of_reach(
    failures: list[int], claude: tuple[Place, str], tmp_path: Path
) -> None:
    assert are_answered(resumed(*claude, tmp_path, failures))
    assert claude[0].sent.total() == COUNT


def test_an_outage_that_does_not_end_is_a_dead_engine_and_not_anothers_batch(claude: tuple[Place, str], tmp_path: Path) -> None:
    answers = resumed(*claude, tmp_path, [500] * 1000, dead_after_s=0.5)
    assert all(isinstance(answer, EngineDied) for answer in answers)
    assert claude[0].sent.total() == COUNT


def test_a_result_file_that_is_gone_at_gemini_is_asked_again_with_a_warning(
    gemini: tuple[Place, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, url = gemini
    place.keeps = lambda number: number > 0
    caplog.set_level(logging.WARNING)
    assert are_answered(ask_all(section("gemini", url), tmp_path))
    assert place.sent.total() == 2 * COUNT
    assert "is gone at the provider" in caplog.text


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"upload_host": "files.example:1"}, r"models\.batch\.url: .*127\.0\.0\.1.*got files\.example:1"),
        ({"nameless": True}, r"models\.batch\.url: wanted the name of an uploaded file"),
    ],
)
def test_an_upload_that_cannot_succeed_stops_the_run(
    faults: dict[str, Any], said: str, gemini: tuple[Place, str], tmp_path: Path
) -> None:
    place, url = gemini
    for name, value in faults.items():
        setattr(place, name, value)
    [refused] = ask_all(section("gemini", url), tmp_path, 1)
    assert isinstance(refused, ServiceRefused)
    assert re.search(said, str(refused))


def test_an_upload_without_a_name_stops_the_run_at_a_server_of_openais_protocol(tmp_path: Path) -> None:
    provider = Provider()
    provider.add_file = lambda _data: ""  # type: ignore[method-assign]
    with batches(provider) as url:
        [refused] = ask_all({"engine": "batch_api", "model": "m", "batch": QUICK | {"url": url}}, tmp_path, 1)
    assert isinstance(refused, ServiceRefused)
    assert "models.batch.url: wanted the name of an uploaded file" in str(refused)


def test_a_refusal_names_the_path_of_a_call(gemini: tuple[Place, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "another")
    [refused] = ask_all(section("gemini", gemini[1]), tmp_path, 1)
    assert "POST /upload to be taken" in str(refused)


def test_what_was_sent_to_another_provider_is_not_asked_here(
    claude: tuple[Place, str], gemini: tuple[Place, str], tmp_path: Path
) -> None:
    """New prompts are asked here, and those that the other's batch ended without."""
    at_claude, at_gemini = section("anthropic", claude[1], retries=0), section("gemini", gemini[1])
    claude[0].ends = lambda _: "expired"
    first = ask_all(at_claude, tmp_path)
    failed = [number for number, answer in enumerate(first) if not isinstance(answer, list)]
    assert 0 < len(failed) < COUNT
    assert are_answered(ask(at_gemini, tmp_path, *[prompt(number) for number in [*failed, COUNT]]))
    sent = gemini[0].sent.total()
    refusals = ask_all(at_gemini, tmp_path)
    assert all(isinstance(refusal, ServiceRefused) for refusal in refusals)
    assert re.search(
        r"wanted anthropic at http.*_synth/batches/.*got gemini at http.*set provider and url back", str(refusals[0])
    )
    assert gemini[0].sent.total() == sent


def test_a_record_that_does_not_tell_where_it_was_sent_is_taken_for_ours(gemini: tuple[Place, str], tmp_path: Path) -> None:
    model, storage = section("gemini", gemini[1]), LocalStorage(tmp_path)
    ask_all(model, tmp_path)
    [entry] = storage.list(BATCHES)
    facts = json.loads(storage.read(entry.path))
    assert (facts["provider"], facts["url"]) == ("gemini", model["batch"]["url"])
    storage.write(entry.path, json.dumps({name: facts[name] for name in ("batch", "ids")}).encode())
    assert are_answered(ask_all(model, tmp_path))
    assert gemini[0].sent.total() == COUNT
