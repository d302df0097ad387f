"""The start of an engine: what it tells while it starts, and compiled graphs that the next start takes over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.engine_start import COMPILE, IMPORTS, WARM_UP, WEIGHTS, EngineStart, PhaseClock
from synth_ray.ask.engines import make_teacher
from synth_ray.ask.vllm.compile_cache import CompileCache
from synth_ray.ask.vllm.start_phases import phase_of, told_phases
from synth_ray.job.models import Model
from tests.conftest import TINY_TEACHER


@given(st.lists(st.tuples(st.sampled_from([IMPORTS, WEIGHTS, COMPILE, WARM_UP]), st.floats(0, 100))))
def test_the_seconds_of_the_phases_are_the_seconds_since_the_first(steps: list[tuple[str, float]]) -> None:
    now, told = [0.0], list[str]()
    clock = PhaseClock(told.append, lambda: now[0])
    for phase, seconds in steps:
        clock.enter(phase)
        now[0] += seconds
    assert sum(clock.seconds().values()) == pytest.approx(now[0])
    assert clock.seconds().keys() == {phase for phase, _ in steps}
    assert all(one != other for one, other in pairwise(told)), "a phase was told twice"


@pytest.fixture
def vllm_logger() -> Iterator[logging.Logger]:
    """vLLM's logger as vLLM configures it for errors only."""
    logger = logging.getLogger("vllm")
    before = logger.level, logger.propagate, list(logger.handlers)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    yield logger
    logger.setLevel(before[0])
    logger.propagate, logger.handlers = before[1], before[2]


def test_phases_are_read_from_records_and_nothing_more_is_printed(
    vllm_logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    vllm_logger.addHandler(caplog.handler)
    told = list[str]()
    with told_phases(told.append):
        records = logging.getLogger("vllm.v1.worker.gpu_model_runner")
        records.info("Starting to load model %s...", "some/model")
        records.info("a message of another version")
        records.info("%sUsing cache directory: %s for vLLM's torch.compile", "", "/some/folder")
        records.error("this is printed")
    logging.getLogger("vllm.later").info("Starting to load model again")
    assert told == [WEIGHTS, COMPILE]
    assert caplog.messages == ["this is printed"]
    assert vllm_logger.level == logging.ERROR
    assert phase_of("Graph capturing finished in 5 secs") == ""


def graphs(folder: Path, name: str, text: str = "compiled") -> None:
    (folder / name / "rank_0_0").mkdir(parents=True)
    (folder / name / "rank_0_0" / "model").write_text(text)


def files(folder: Path) -> dict[str, str]:
    return {f.relative_to(folder).as_posix(): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_start_on_another_node_has_what_the_first_compiled(tmp_path: Path) -> None:
    store, here, there = (tmp_path / name for name in ("store", "here", "there"))
    graphs(here, "of-another-model")
    first = CompileCache(str(store), ["key"], here)
    assert not first.fetch()
    graphs(here, "torch_aot_compile/abc")
    graphs(here, "0123456789", "for a graph")
    assert first.put()
    second = CompileCache(str(store), ["key"], there)
    assert second.fetch()
    assert files(there) == {path: text for path, text in files(here).items() if not path.startswith("of-another-model")}
    assert not second.put(), "nothing was compiled: nothing is to be kept"
    assert not CompileCache(str(store), ["another key"], there).fetch()


def test_of_starts_that_put_at_once_one_wins_and_all_that_fetch_at_once_have_it(tmp_path: Path) -> None:
    store, shared = tmp_path / "store", tmp_path / "shared"
    starts = [CompileCache(str(store), ["key"], tmp_path / str(n)) for n in range(8)]
    for number, start in enumerate(starts):
        start.fetch()
        graphs(tmp_path / str(number), "torch_aot_compile/abc")
    assert sum(at_once([start.put for start in starts])) == 1
    assert all(at_once([CompileCache(str(store), ["key"], shared).fetch for _ in range(8)]))
    assert files(shared) == {"torch_aot_compile/abc/rank_0_0/model": "compiled"}


def at_once(calls: list) -> list[bool]:  # type: ignore[type-arg]
    results = list[bool]()
    threads = [threading.Thread(target=lambda call=call: results.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_what_did_not_fit_is_replaced_and_a_broken_store_costs_only_the_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, here = tmp_path / "store", tmp_path / "here"
    first = CompileCache(str(store), ["key"], tmp_path / "first")
    first.fetch()
    graphs(tmp_path / "first", "old")
    first.put()
    second = CompileCache(str(store), ["key"], here)
    second.fetch()
    graphs(here, "new")  # vLLM's own code has changed: it compiled again
    assert second.put()
    third = CompileCache(str(store), ["key"], tmp_path / "third")
    assert third.fetch() and "new/rank_0_0/model" in files(tmp_path / "third")
    [archive] = store.glob("*.tar")
    archive.write_bytes(b"no archive")
    broken = CompileCache(str(store), ["key"], tmp_path / "fourth")
    assert not broken.fetch()
    assert "could not be fetched" in caplog.text
    assert not files(tmp_path / "fourth")


@pytest.mark.vllm
def test_the_second_start_of_an_engine_uses_the_graphs_of_the_first_and_phases_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes: each with an empty cache of its own, both with the same store."""
    args = {"dtype": "bfloat16", "max_num_seqs": 2, "max_model_len": 64, "load_format": "dummy"}
    small = {"hf_overrides": {"num_hidden_layers": 1}}
    model = Model(model=str(TINY_TEACHER), engine_args=args | small)
    libraries: list[dict[str, int]] = []
    for node in ("first", "second"):
        monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / node))
        told = list[str]()
        start = EngineStart(compile_cache=str(tmp_path / "store"), on_phase=told.append)
        teacher = make_teacher(model, start=start)
        facts = teacher.open()
        teacher.close()
        assert told[:3] == [IMPORTS, WEIGHTS, WARM_UP] or told[:3] == [IMPORTS, WEIGHTS, COMPILE]
        assert COMPILE in told and facts.start_phases.keys() == set(told)
        assert 0 < sum(facts.start_phases.values()) <= facts.start_s
        libraries.append({path.name: int(path.stat().st_mtime) for path in (tmp_path / node).rglob("*.so")})
    assert len(list((tmp_path / "store").glob("*.tar"))) == 1
    assert libraries[0] and libraries[1] == libraries[0], "the second start compiled again"
