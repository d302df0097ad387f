"""The batch API under faults: every paid answer is collected, and none is paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
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
from synth_ray.ask.batches.records import BATCHES
from synth_ray.ask.batches.teacher import BatchApiTeacher
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, EngineDied, JobError, MissingResource, ServiceRefused
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from synth_ray.records import digest
from synth_ray.route.preflight import preflight
from synth_ray.storage import Storage
from synth_ray.storage.local import LocalStorage
from tests.batch_server import Provider, batches
from tests.child_processes import kill, wait_until
from tests.endpoint_server import KEY
from tests.servers import free_port


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    yield


def section(url: str, **batch: Any) -> dict[str, Any]:
    section_of_batch = {"url": url, "key_env": "TEACHER_KEY", "quiet_s": 0.05, "poll_s": 0.02, "timeout_s": 5} | batch
    return {"engine": "batch_api", "model": "some-model", "batch": section_of_batch}


def teacher(url: str, storage: Storage | None = None, **batch: Any) -> BatchApiTeacher:
    batch_teacher = BatchApiTeacher(Model.model_validate(section(url, **batch)), storage)
    batch_teacher.open()
    return batch_teacher


def prompt(number: int, text: str = "question", n: int = 1) -> Prompt:
    return Prompt([user(f"{text} {number}")], digest("ask", number), n=n, sampling={"temperature": 0.5, "max_tokens": 8})


def ask(
    batch_teacher: BatchApiTeacher, *prompts: Prompt, give_up_once: Callable[[], bool] = lambda: False
) -> list[list[Completion] | BaseException]:
    async def answer_all() -> list[Any]:
        tasks = [asyncio.ensure_future(batch_teacher.answer(p)) for p in prompts]
        until = time.monotonic() + 60
        while time.monotonic() < until and not give_up_once() and not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=0.05)
        for task in tasks:
            if not task.done():
                task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(answer_all())


def is_recorded(storage: Storage) -> bool:
    """Whether a batch was created, and its id is stored."""
    return any(json.loads(storage.read(record.path))["batch"] for record in storage.list(BATCHES))


def status_of_batch(statuses: list[str]) -> Callable[[int], str]:
    return lambda number: statuses[number] if number < len(statuses) else "completed"


@pytest.mark.slow
@settings(max_examples=8)
@given(
    st.floats(0, 0.2),
    st.floats(0, 0.2),
    st.floats(0, 0.4),
    st.integers(0, 2),
    st.lists(st.sampled_from(["completed", "expired", "failed", "cancelled"]), max_size=3),
)
def test_every_prompt_ends_once_and_is_paid_for_once_for_any_faults(
    busy: float, broken: float, torn: float, lost: int, statuses: list[str]
) -> None:
    provider = Provider(busy=busy, broken=broken, torn=torn, lost=lost, ends=status_of_batch(statuses))
    with batches(provider) as url:
        answers = ask(teacher(url, part_requests=6, retries=4), *[prompt(i, n=1 + i % 2) for i in range(18)])
    assert all(isinstance(answer, list) and len(answer) == 1 + i % 2 for i, answer in enumerate(answers)), answers
    assert all(answer[-1].text.startswith(f"answer {len(answer) - 1} of ") for answer in answers if isinstance(answer, list))
    unanswered = provider.sent - provider.answered
    assert set(provider.sent) == {prompt(i).key for i in range(18)}
    assert max(provider.answered.values()) == 1
    assert sum(unanswered.values()) == provider.sent.total() - 18
    assert all(len(batch["lines"]) <= 6 for batch in provider.batches)


def test_prompts_asked_together_share_a_batch_and_an_oversized_prompt_has_its_own() -> None:
    provider = Provider()
    with batches(provider) as url:
        ask(teacher(url, part_bytes=20_000), *[prompt(i) for i in range(40)], prompt(99, "x" * 30_000))
    assert sorted(len(batch["lines"]) for batch in provider.batches) == [1, 40]


def test_a_prompt_that_every_batch_fails_has_a_reason_and_no_text_in_its_error() -> None:
    provider = Provider(ends=lambda _: "failed")
    with batches(provider) as url:
        [failure] = ask(teacher(url, retries=1), prompt(1))
        assert isinstance(failure, AskFailed)
        assert (failure.reason, failure.detail) == ("engine_error", "no answer in 2 batches")
        provider.ends = lambda _: "completed"
        [long] = ask(teacher(url), prompt(2, "TOO LONG"))
    assert isinstance(long, AskFailed)
    assert long.reason == "prompt_too_long"
    assert "SECRET" not in str(long)


def test_a_provider_that_refuses_the_key_refuses_every_ask_and_an_unreachable_one_is_a_dead_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "another-secret")
    with batches(Provider()) as url:
        refused_teacher = teacher(url)
        errors = ask(refused_teacher, prompt(1), prompt(2))
        assert all(isinstance(error, ServiceRefused) and "another-secret" not in str(error) for error in errors)
        assert all(isinstance(error, ServiceRefused) for error in ask(refused_teacher, prompt(3)))
    unreachable = teacher(f"http://127.0.0.1:{free_port()}/v1", dead_after_s=0.3)
    assert all(isinstance(error, EngineDied) for error in ask(unreachable, prompt(1)))
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(MissingResource, match=r"models\.batch\.key_env"):
        teacher("http://127.0.0.1:1/v1")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_second_run_adopts_the_batches_that_the_first_sent(tmp_path: Path, lost: int) -> None:
    """With `lost`, the first run dies after creating a batch and before storing its id: its record has no id."""
    provider, storage = Provider(takes_s=3600.0, ends=status_of_batch(["expired"])), LocalStorage(tmp_path)
    with batches(provider) as url:
        ask(teacher(url, storage), *[prompt(i) for i in range(10)], give_up_once=lambda: is_recorded(storage))
        assert provider.sent.total() == 10
        [record] = storage.list(BATCHES)
        provider.takes_s = 0.05
        if lost:
            content = json.loads(storage.read(record.path))
            storage.write(record.path, json.dumps(content | {"batch": ""}).encode())
        answers = ask(teacher(url, storage), *[prompt(i) for i in range(12)])
    assert all(isinstance(answer, list) for answer in answers)
    assert provider.answered.total() == 12
    assert provider.sent.total() == 10 + 2 + 5  # two new prompts, and the half that the expired batch did not answer
    assert "question" not in "".join(storage.read(entry.path).decode() for entry in storage.list(BATCHES))


def test_a_prompt_that_failed_in_one_run_is_asked_again_by_the_next(tmp_path: Path) -> None:
    provider, storage = Provider(ends=status_of_batch(["failed"])), LocalStorage(tmp_path)
    with batches(provider) as url:
        [failure] = ask(teacher(url, storage, retries=0), prompt(1))
        [answer] = ask(teacher(url, storage, retries=0), prompt(1))
    assert isinstance(failure, AskFailed)
    assert isinstance(answer, list)
    assert provider.sent.total() == 2


def test_a_record_of_a_batch_that_was_never_created_is_deleted(tmp_path: Path) -> None:
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


def test_a_killed_run_resumes_with_the_batches_it_paid_for(tmp_path: Path) -> None:
    provider = Provider(takes_s=1.5)
    with batches(provider) as url:
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(job(tmp_path, url)))
        first = subprocess.Popen(
            [sys.executable, "-m", "synth_ray.cli.main", "run", str(file), "--quiet"], env=os.environ | {"TEACHER_KEY": KEY}
        )
        wait_until(lambda: provider.sent.total() >= 60, first)
        kill(first)
        manifest = synth_ray.run(str(file)).manifest
    assert manifest["rows"]["accepted"] == 60
    assert provider.answered.total() == 120  # two steps
    assert max(provider.sent.values()) == 1
    tokens = manifest["tokens"]
    assert manifest["cost"]["usd"] == pytest.approx((tokens["prompt"] * 10 + tokens["completion"] * 100) / 1e6 / 2, abs=1e-4)


def test_a_job_whose_limits_do_not_fit_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"limits\.request_deadline_s: wanted at least the 86,400 s"):
        preflight(job_from(job(tmp_path, "http://127.0.0.1:1/v1", limits={"request_deadline_s": 600})))
    with pytest.raises(JobError, match=r"cluster\.teachers: wanted one replica"):
        preflight(job_from(job(tmp_path, "http://127.0.0.1:1/v1", cluster={"engine": "local", "teachers": 2})))
    slow = job(
        tmp_path, "http://127.0.0.1:1/v1", target={"accepted": 1000, "lag": 8}, cluster={"engine": "local", "in_flight": 64}
    )
    with pytest.raises(JobError, match=r"target\.lag: wanted at most 4 batches one after the other .* got 8.*target\.lag: 16"):
        preflight(job_from(slow))
