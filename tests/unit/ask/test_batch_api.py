"""A provider's batches at their worst: what was paid for is collected, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import synth_ray
from synth_ray.ask.batch_api_teacher import BatchApiTeacher
from synth_ray.ask.batch_records import BATCHES
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, EngineDied, JobError, MissingResource
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from synth_ray.records import digest
from synth_ray.route.preflight import preflight
from synth_ray.storage import Storage
from synth_ray.storage.local import LocalStorage
from tests.batch_server import Provider, batches
from tests.endpoint_server import KEY
from tests.servers import free_port


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    yield


def section(url: str, **batch: Any) -> dict[str, Any]:
    how = {"url": url, "key_env": "TEACHER_KEY", "quiet_s": 0.05, "poll_s": 0.02, "timeout_s": 5} | batch
    return {"engine": "batch_api", "model": "some-model", "batch": how}


def teacher(url: str, storage: Storage | None = None, **batch: Any) -> BatchApiTeacher:
    one = BatchApiTeacher(Model.model_validate(section(url, **batch)), storage)
    one.open()
    return one


def prompt(number: int, text: str = "question", n: int = 1) -> Prompt:
    return Prompt([user(f"{text} {number}")], digest("ask", number), n=n, sampling={"temperature": 0.5, "max_tokens": 8})


def ask(one: BatchApiTeacher, *prompts: Prompt, give_up_s: float = 60) -> list[list[Completion] | BaseException]:
    async def every() -> list[Any]:
        tasks = [asyncio.ensure_future(one.answer(p)) for p in prompts]
        await asyncio.wait(tasks, timeout=give_up_s)
        for task in tasks:
            if not task.done():
                task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(every())


def ends(how: list[str]) -> Callable[[int], str]:
    return lambda number: how[number] if number < len(how) else "completed"


@settings(max_examples=8)
@given(
    st.floats(0, 0.2),
    st.floats(0, 0.2),
    st.floats(0, 0.4),
    st.integers(0, 2),
    st.lists(st.sampled_from(["completed", "expired", "failed", "cancelled"]), max_size=3),
)
def test_whatever_goes_wrong_every_ask_ends_once_and_is_paid_for_once(
    busy: float, broken: float, torn: float, lost: int, how: list[str]
) -> None:
    provider = Provider(busy=busy, broken=broken, torn=torn, lost=lost, ends=ends(how))
    with batches(provider) as url:
        answers = ask(teacher(url, part_requests=6, retries=4), *[prompt(i, n=1 + i % 2) for i in range(18)])
    assert all(isinstance(one, list) and len(one) == 1 + i % 2 for i, one in enumerate(answers)), answers
    assert all(one[-1].text.startswith(f"answer {len(one) - 1} of ") for one in answers if isinstance(one, list))
    unanswered = provider.sent - provider.answered
    assert set(provider.sent) == {prompt(i).key for i in range(18)}
    assert max(provider.answered.values()) == 1
    assert sum(unanswered.values()) == provider.sent.total() - 18
    assert all(len(batch["lines"]) <= 6 for batch in provider.batches)


def test_requests_at_one_step_go_up_together_and_a_large_one_fills_a_part_alone() -> None:
    provider = Provider()
    with batches(provider) as url:
        ask(teacher(url, part_bytes=20_000), *[prompt(i) for i in range(40)], prompt(99, "x" * 30_000))
    assert sorted(len(batch["lines"]) for batch in provider.batches) == [1, 40]


def test_what_no_other_batch_mends_fails_with_its_reason_and_without_its_text() -> None:
    provider = Provider(ends=lambda _: "failed")
    with batches(provider) as url:
        [none] = ask(teacher(url, retries=1), prompt(1))
        assert isinstance(none, AskFailed)
        assert (none.reason, none.detail) == ("engine_error", "no answer in 2 batches")
        provider.ends = lambda _: "completed"
        [long] = ask(teacher(url), prompt(2, "TOO LONG"))
    assert isinstance(long, AskFailed)
    assert long.reason == "prompt_too_long"
    assert "SECRET" not in str(long)


def test_a_provider_that_refuses_or_is_not_there_is_a_dead_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "another-secret")
    with batches(Provider()) as url:
        one = teacher(url)
        found = ask(one, prompt(1), prompt(2))
        assert all(isinstance(error, EngineDied) and "another-secret" not in str(error) for error in found)
        assert all(isinstance(error, EngineDied) for error in ask(one, prompt(3)))
    gone = teacher(f"http://127.0.0.1:{free_port()}/v1", dead_after_s=0.3)
    assert all(isinstance(error, EngineDied) for error in ask(gone, prompt(1)))
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(MissingResource, match=r"models\.batch\.key_env"):
        teacher("http://127.0.0.1:1/v1")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_second_run_adopts_what_the_first_had_sent(tmp_path: Path, lost: int) -> None:
    """With `lost` the first run dies between creating a batch and hearing of it: its record has no id."""
    provider, storage = Provider(takes_s=3.0, ends=ends(["expired"])), LocalStorage(tmp_path)
    with batches(provider) as url:
        ask(teacher(url, storage), *[prompt(i) for i in range(10)], give_up_s=1.5)
        assert provider.sent.total() == 10
        [record] = storage.list(BATCHES)
        if lost:
            told = json.loads(storage.read(record.path))
            storage.write(record.path, json.dumps(told | {"batch": ""}).encode())
        answers = ask(teacher(url, storage), *[prompt(i) for i in range(12)])
    assert all(isinstance(one, list) for one in answers)
    assert provider.answered.total() == 12
    assert provider.sent.total() == 10 + 2 + 5  # the two that are new, and the half that the expired batch left
    assert "question" not in "".join(storage.read(one.path).decode() for one in storage.list(BATCHES))


def test_what_one_run_gave_up_on_another_asks_again(tmp_path: Path) -> None:
    provider, storage = Provider(ends=ends(["failed"])), LocalStorage(tmp_path)
    with batches(provider) as url:
        [given_up] = ask(teacher(url, storage, retries=0), prompt(1))
        [answer] = ask(teacher(url, storage, retries=0), prompt(1))
    assert isinstance(given_up, AskFailed)
    assert isinstance(answer, list)
    assert provider.sent.total() == 2


def test_a_record_of_a_batch_that_was_never_created_is_forgotten(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write(f"{BATCHES}abc.json", json.dumps({"batch": "", "ids": [prompt(1).key]}).encode())
    provider = Provider()
    with batches(provider) as url:
        [answer] = ask(teacher(url, storage), prompt(1))
    assert isinstance(answer, list)
    assert [entry.path for entry in storage.list(BATCHES)] != [f"{BATCHES}abc.json"]
    assert provider.sent.total() == 1


def job(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question number {n}"}) + "\n" for n in range(60)))
    document: dict[str, Any] = {
        "name": "batches",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "vary", "shots": 1},
        "models": {"teacher": section(url, usd_per_1m_prompt=10, usd_per_1m_completion=100)},
        "scrub": {"seeds": False},
        "check": {"drop": []},
        "dedup": {"near": False, "seeds": False},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "plan": {"chunk_requests": 16},
        "limits": {"request_deadline_s": 2 * 86400, "journal_flush_s": 0.1},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    return document | more


def test_a_killed_run_goes_on_with_the_batches_it_had_paid_for(tmp_path: Path) -> None:
    provider = Provider(takes_s=1.5)
    with batches(provider) as url:
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(job(tmp_path, url)))
        first = subprocess.Popen(
            [sys.executable, "-m", "synth_ray.cli.main", "run", str(file), "--quiet"], env=os.environ | {"TEACHER_KEY": KEY}
        )
        while provider.sent.total() < 60:
            assert first.poll() is None
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
        manifest = synth_ray.run(str(file)).manifest
    assert manifest["rows"]["accepted"] == 60
    assert provider.answered.total() == 120  # two steps
    assert max(provider.sent.values()) == 1
    tokens = manifest["tokens"]
    assert manifest["cost"]["usd"] == pytest.approx((tokens["prompt"] * 10 + tokens["completion"] * 100) / 1e6 / 2, abs=1e-4)


def test_a_job_that_would_wait_for_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"limits\.request_deadline_s: wanted at least the 86,400 s"):
        preflight(job_from(job(tmp_path, "http://127.0.0.1:1/v1", limits={"request_deadline_s": 600})))
    with pytest.raises(JobError, match=r"cluster\.teachers: wanted one replica"):
        preflight(job_from(job(tmp_path, "http://127.0.0.1:1/v1", cluster={"engine": "local", "teachers": 2})))
    slow = job(
        tmp_path, "http://127.0.0.1:1/v1", target={"accepted": 1000, "lag": 8}, cluster={"engine": "local", "in_flight": 64}
    )
    with pytest.raises(JobError, match=r"target\.lag: wanted at most 4 batches one after the other .* got 8.*target\.lag: 16"):
        preflight(job_from(slow))
