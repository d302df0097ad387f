"""A role's pool as a recipe's process sees it: every ask ends, whatever becomes of the replicas; no innocent ask is blamed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.pooled_teacher import KILLER_DETAIL, Link, PooledTeacher
from synth_ray.ask.role_link import RoleLink
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.worker import AskWorker
from synth_ray.errors import AskFailed, EngineDied, SynthRayError
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from synth_ray.records import Request, Seed
from synth_ray.workers.local_roles import LocalRole

JUDGE: dict[str, Any] = {"vocabulary": 50, "latency_s": 0.02, "concurrency": 4}


def prompt(number: int, text: str = "fine") -> Prompt:
    return Prompt([user(f"{text} {number}")], f"key {number}")


class FakeLink:
    """Answers once `go` is set; dies, with everything in flight, of a prompt that contains `poison`."""

    def __init__(self, asked: list[str], *, poison: str = "poison", max_running: int = 4) -> None:
        self.max_running, self._asked, self._poison = max_running, asked, poison
        self.go, self.dead = asyncio.Event(), asyncio.Event()
        self.most = self.running = 0

    async def answer(self, asked: Prompt) -> list[Completion]:
        text = asked.messages[0]["content"]
        self._asked.append(text)
        self.running += 1
        self.most = max(self.most, self.running)
        going, dying = (asyncio.ensure_future(event.wait()) for event in (self.go, self.dead))
        try:
            await asyncio.wait({going, dying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running -= 1
            going.cancel(), dying.cancel()
        if self._poison in text:
            self.dead.set()
        if self.dead.is_set():
            raise EngineDied("dead")
        return [Completion(text, "stop", 1, 1)]


def test_asks_go_to_the_least_loaded_replica_and_wait_while_there_is_none() -> None:
    async def run() -> tuple[list[int], int]:
        teacher, links = PooledTeacher(Model(engine="scripted")), [FakeLink([]), FakeLink([], max_running=8)]
        asks = [asyncio.create_task(teacher.answer(prompt(n))) for n in range(24)]
        await asyncio.sleep(0)
        waiting = teacher.load().waiting
        teacher.set_replicas({n: partial(lambda link: link, link) for n, link in enumerate(links)}, clients=2)
        assert (teacher.max_running, teacher.is_up) == (6, True)
        await asyncio.sleep(0.01)
        for link in links:
            link.go.set()
        await asyncio.gather(*asks)
        return [link.most for link in links], waiting

    most, waiting = asyncio.run(run())
    assert (most, waiting) == ([8, 16], 24)


def test_only_the_ask_that_kills_replicas_fails_and_it_takes_three() -> None:
    async def run() -> tuple[list[Any], int]:
        teacher, asked, started = PooledTeacher(Model(engine="scripted")), [], 0
        replicas: dict[int, Callable[[], Link]] = {}
        asks = [asyncio.create_task(teacher.answer(prompt(n, "poison" if n == 5 else "fine"))) for n in range(40)]

        def start() -> Link:
            nonlocal started
            started += 1
            link = FakeLink(asked)
            asyncio.get_running_loop().call_later(0.02, link.go.set)
            return link

        while not all(ask.done() for ask in asks):
            if not teacher.is_up:
                replicas = replicas | {len(replicas): start}
                teacher.set_replicas(replicas)
            await asyncio.sleep(0.005)
        return [ask.exception() or ask.result()[0].text for ask in asks], started

    results, started = asyncio.run(run())
    failed = [result for result in results if isinstance(result, AskFailed)]
    assert ([f.detail for f in failed], isinstance(results[5], AskFailed)) == ([KILLER_DETAIL], True)
    assert [r for r in results if isinstance(r, str)] == [f"fine {n}" for n in range(40) if n != 5]
    assert started == 4  # three that it killed, and one for the rest


def test_a_retired_replica_makes_nothing_suspect() -> None:
    async def run() -> str:
        teacher = PooledTeacher(Model(engine="scripted"))
        for number in range(5):
            link = FakeLink([])
            teacher.set_replicas({number: partial(lambda link: link, link)}, retired=range(number))
            if number == 0:
                ask = asyncio.create_task(teacher.answer(prompt(1)))
            await asyncio.sleep(0.01)
            (link.dead if number < 4 else link.go).set()
            teacher.set_replicas({}, retired=[number] if number < 4 else [])
            await asyncio.sleep(0.01)
        return (await ask)[0].text

    assert asyncio.run(run()) == "fine 1"


def job(folder: Path, **more: Any) -> Any:
    (folder / "seeds.jsonl").write_text('{"prompt": "a"}\n')
    document: dict[str, Any] = {
        "name": "pools",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "prefer",
        "models": {
            "teacher": {"engine": "scripted", "script": {"latency_s": 0.01, "concurrency": 4}},
            "judge": {"engine": "scripted", "script": JUDGE},
        },
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "pools": "separate"},
    }
    return job_from(document | more)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[LocalRole]:
    replica = LocalRole(job(tmp_path), "judge", on_death=lambda _: None)
    replica.open()
    yield replica
    replica.close("the test has ended")


def test_over_a_link_every_prompt_gets_its_own_answer_and_a_cancelled_one_frees_its_place(replica: LocalRole) -> None:
    async def run() -> tuple[list[str], list[str]]:
        link = replica.link()
        cancelled = [asyncio.create_task(link.answer(prompt(n))) for n in range(100, 140)]
        await asyncio.sleep(0.05)
        for ask in cancelled:
            ask.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        first = [answers[0].text for answers in await asyncio.gather(*(link.answer(prompt(n)) for n in range(50)))]
        second = [(await link.answer(prompt(n)))[0].text for n in range(3)]
        return first, second

    first, second = asyncio.run(run())
    assert len(set(first)) == 50
    assert first[:3] == second  # an ask depends on its prompt alone
    load, _ = replica.load()
    assert (load.running, load.waiting) == (0, 0)


def test_a_replica_that_forgot_a_silent_process_is_asked_again(replica: LocalRole, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process said nothing for long, while its asks waited there, and another was heard of meanwhile."""

    async def run() -> tuple[list[str], list[str]]:
        silent, other = replica.link(), replica.link()
        monkeypatch.setattr("synth_ray.ask.role_link._COLLECT_WAIT_S", 0.5)
        asks = [asyncio.create_task(silent.answer(prompt(n))) for n in range(20)]
        await asyncio.sleep(0.03)  # they are at the replica
        monkeypatch.setattr("synth_ray.ask.role_server._SILENT_S", 0.0)
        await other.answer(prompt(30))
        monkeypatch.undo()
        async with asyncio.timeout(60):
            return [(await ask)[0].text for ask in asks], [(await other.answer(prompt(n)))[0].text for n in range(20)]

    asked, expected = asyncio.run(run())
    assert asked == expected


def test_a_replica_keeps_a_process_that_waits_for_nothing(replica: LocalRole, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        link, other = replica.link(), replica.link()
        monkeypatch.setattr("synth_ray.ask.role_link._COLLECT_WAIT_S", 0.5)
        first = await link.answer(prompt(1))
        monkeypatch.setattr("synth_ray.ask.role_server._SILENT_S", 0.0)
        await other.answer(prompt(2))
        monkeypatch.undo()
        return [first[0].text, (await link.answer(prompt(1)))[0].text]

    first, second = asyncio.run(run())
    assert first == second


def test_a_link_that_ends_for_another_reason_is_replaced_and_what_it_was_asked_is_asked_again(replica: LocalRole) -> None:
    """A message that fails, as one that Ray cannot deliver: the replica is up, and no other is."""
    made: list[RoleLink] = []

    def link() -> Link:
        broken = not made

        async def call(method: str, *arguments: Any) -> Any:
            if broken and method == "submit":
                raise SynthRayError("a worker failed with ValueError")
            return await replica.call(method, *arguments)

        made.append(RoleLink(call, max_running=4))
        return made[-1]

    async def run() -> list[str]:
        teacher = PooledTeacher(Model(engine="scripted"))
        teacher.set_replicas({0: link})
        async with asyncio.timeout(60):
            return [answers[0].text for answers in await asyncio.gather(*(teacher.answer(prompt(n)) for n in range(12)))]

    assert len(set(asyncio.run(run()))) == 12
    assert len(made) == 2


def test_a_replica_that_holds_its_event_loop_is_left_and_who_waits_for_it_is_told(
    replica: LocalRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_ray.workers.local_roles._CLOSE_S", 0.5)
    held = threading.Event()

    async def run() -> None:
        ask = asyncio.create_task(replica.link().answer(prompt(1)))
        await asyncio.sleep(0)
        replica._loop.call_soon_threadsafe(held.wait)
        async with asyncio.timeout(30):
            await asyncio.to_thread(replica.close, "it stands still")
            await ask

    with pytest.raises(EngineDied, match="it stands still"):
        asyncio.run(run())
    held.set()


def test_a_teacher_stays_full_while_requests_wait_for_the_judge(tmp_path: Path) -> None:
    """Every request that has turned to the judge leaves its place to another, until as many wait there as the judge runs."""
    worker = AskWorker(job(tmp_path))
    worker.open()
    link = SilentLink()
    seed = Seed("s", "s", "train", {"prompt": "a"})
    worker.submit([Request(f"r{n}", 0, n, seed, slots=1) for n in range(64)])
    try:
        assert worker.collect(0.2) == []
        assert link.asked == 0  # nothing starts before the pool is up
        worker.set_pool("judge", {0: lambda: link}, retired=(), clients=1)
        until = time.monotonic() + 60
        while (link.asked < 32 or worker.load()["judge"].waiting < 16) and time.monotonic() < until:
            worker.collect(0.2)
        # 16 run there and 16 wait; what the teacher had begun by then comes on top.
        assert 32 <= link.asked <= 2 * (32 + 8)
        assert worker.load()["judge"].waiting >= 16
    finally:
        worker.close()


class SilentLink:
    """Never answers."""

    max_running = 16

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, _: Prompt) -> list[Completion]:
        self.asked += 1
        return await asyncio.get_running_loop().create_future()
