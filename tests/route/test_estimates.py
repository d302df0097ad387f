"""An estimate from the plan to the end of the run: kept, compared with what came of it, and better after an earlier run."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.job.load import job_from
from synth_ray.meter.pace import Pace
from synth_ray.meter.tally import Tally
from synth_ray.prepare.kept_estimate import ESTIMATE
from synth_ray.prepare.lengths import read_lengths
from synth_ray.route.curation import curate_job
from synth_ray.storage import open_storage
from tests.unit.cli.test_cli import job_file, run_cli

SCRIPT = {"answers": ["{{ words }}", "{{ words }} and {{ words }}"], "words": 30}


def job(folder: Path, requests: int = 48, **more: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(96)))
    document: dict[str, Any] = {
        "name": "estimated",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": SCRIPT}},
        "plan": {"chunk_requests": 8, "requests": requests, "window_chunks": 2},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "budget": {"gpu_hour_usd": 3600.0},
        "cluster": {"engine": "local"},
    }
    return document | more


def stop_after_first_chunk(tally: Tally) -> None:
    if tally.chunks_admitted:
        signal.raise_signal(signal.SIGTERM)


def test_the_first_estimate_is_kept_over_a_stop_and_compared_with_the_whole(tmp_path: Path) -> None:
    stopped = synth_ray.run(job(tmp_path), watch=stop_after_first_chunk).manifest["estimate"]
    assert stopped["asks"] == 48 and 0 < stopped["done_share"] < 1
    assert stopped["completion_tokens"]["expected"] is None  # nobody has seen an answer yet
    kept = open_storage(str(tmp_path / "out")).read(ESTIMATE)
    seen: list[Tally] = []
    whole = synth_ray.run(job(tmp_path), watch=seen.append).manifest
    estimate = whole["estimate"]
    assert open_storage(str(tmp_path / "out")).read(ESTIMATE) == kept
    assert {name: estimate[name] for name in ("requests", "prompt_tokens")} == {
        name: stopped[name] for name in ("requests", "prompt_tokens")
    }
    assert estimate["done_share"] == 1.0
    assert estimate["actual"]["completion_tokens"] == whole["tokens"]["completion"]
    expected = estimate["prompt_tokens"]["expected"]
    assert estimate["off"]["prompt_tokens"] == pytest.approx(whole["tokens"]["prompt"] / expected - 1, abs=1e-3)
    assert curate_job(job_from(job(tmp_path, dedup={"threshold": 0.5}))).manifest["estimate"] == estimate


def test_a_resumed_run_shows_what_is_committed_as_done_and_does_not_count_it_into_the_rate(tmp_path: Path) -> None:
    first = synth_ray.run(job(tmp_path), watch=stop_after_first_chunk).manifest
    tallies: list[tuple[int, int, int]] = []

    def watch(tally: Tally) -> None:
        pace = Pace(lambda: 0.0)
        pace.observe(tally)
        facts = pace.facts()
        tallies.append((facts.done, tally.requests_done, tally.slots - tally.slots_earlier))
        assert facts.total == 48

    synth_ray.run(job(tmp_path), watch=watch)
    before = first["rows"]["requested"]
    assert before > 0 and tallies[0][0] >= before and tallies[0][1:] == (0, 0)
    assert tallies[-1] == (48, 48 - tallies[0][0], 48 - tallies[0][0])


def test_an_extended_plan_is_estimated_from_what_is_committed(tmp_path: Path) -> None:
    synth_ray.run(job(tmp_path))
    extended = synth_ray.run(job(tmp_path, requests=96), extend=True).manifest["estimate"]
    tokens = extended["completion_tokens"]
    assert tokens["low"] < tokens["expected"] < tokens["high"]
    assert tokens["low"] <= extended["actual"]["completion_tokens"] <= tokens["high"]
    assert set(extended["off"]) == {"prompt_tokens", "completion_tokens", "usd", "hours"}
    assert abs(extended["off"]["completion_tokens"]) < 0.2


def test_the_lengths_of_an_output_add_up_to_its_tokens_even_without_its_rows(tmp_path: Path) -> None:
    manifest = synth_ray.run(job(tmp_path)).manifest
    storage = open_storage(str(tmp_path / "out"))
    lengths = read_lengths(storage, "here")
    assert lengths is not None and len(lengths.completion) == 48
    assert sum(lengths.completion) == pytest.approx(manifest["tokens"]["completion"])
    assert sum(lengths.prompt) == pytest.approx(manifest["tokens"]["prompt"])
    synth_ray.run(job(tmp_path, plan={"chunk_requests": 8, "requests": 48}))  # asks nothing, and measures no speed
    again = read_lengths(storage, "here")
    assert again is not None and again.speed is not None and again.speed.low > 0
    for entry in list(storage.list("_synth/chunks/")):
        storage.delete(entry.path)
    by_chunk = read_lengths(storage, "here")
    assert by_chunk is not None and len(by_chunk.completion) == 6
    assert 8 * sum(by_chunk.completion) == pytest.approx(manifest["tokens"]["completion"])
    assert read_lengths(open_storage(str(tmp_path / "none")), "nowhere") is None


def test_plan_and_preview_say_what_is_known_and_what_would_make_the_rest_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path, models={"teacher": {"engine": "scripted", "script": SCRIPT}}, budget={"gpu_hour_usd": 3600.0})
    cold = run_cli(capsys, "plan", path)[1]
    assert "a token for four bytes" in cold and "at most 6,144 out" in cold
    assert "money     unknown: replicas cost by the hour" in cold and "time      unknown: no speed was measured" in cold
    preview = run_cli(capsys, "preview", path)[1]
    assert re.search(r"by these rows: 12 asks\ntokens    .*in.*\n.*out, as 5 requests of this preview had", preview)
    assert not (tmp_path / "out").exists()
    code, _, err = run_cli(capsys, "plan", path, "--like", str(tmp_path / "nowhere"))
    assert code == 2 and "--like: wanted an output with committed chunks" in err
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    own = run_cli(capsys, "plan", path)[1]
    like = run_cli(capsys, "plan", path, "--output", str(tmp_path / "other"), "--like", str(tmp_path / "out"))[1]
    assert "as earlier requests of this output had" in own and "as the requests of " in like
    assert all(re.search(r"money     about \$[\d.]+ \(\$[\d.]+–\$[\d.]+\)", text) for text in (own, like))
    assert not (tmp_path / "other").exists()


def test_replicas_that_start_and_are_lost_are_counted(tmp_path: Path) -> None:
    script = SCRIPT | {"die_after": 40, "latency_s": 0.005, "concurrency": 4}
    models = {"teacher": {"engine": "scripted", "script": script}}
    cluster = {"engine": "local", "teachers": 2, "in_flight": 4}
    seen: set[tuple[int, int, int]] = set()

    def watch(tally: Tally) -> None:
        seen.add((tally.replicas, tally.replicas_starting, tally.replicas_lost))

    synth_ray.run(job(tmp_path, requests=96, models=models, cluster=cluster), watch=watch)
    assert max(lost for _, _, lost in seen) >= 1
    assert all(up + starting <= 2 for up, starting, _ in seen)
    assert any(starting == 0 and up == 2 for up, starting, _ in seen)
