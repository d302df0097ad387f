"""`synth-ray tune`: the job's setting stays unless another is faster by more than noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.cli.main import main
from synth_ray.route.engine_sweep import MIN_SPEEDUP, Measurement, best_of, sweep
from tests.route.test_route import job


@given(speeds=st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), st.floats(1, 100), min_size=1))
def test_a_sweep_keeps_the_jobs_settings_unless_a_measurement_is_faster_by_more_than_noise(
    speeds: dict[tuple[str, int], float],
) -> None:
    def measure(arguments: dict[str, Any]) -> Measurement:
        return Measurement(arguments, tokens_s=sum(speeds.get(item, 0.5) for item in arguments.items()) or 1.0)

    values = {name: [value for key, value in speeds if key == name] for name in "ab"}
    done = list(sweep({}, values, measure))
    best = best_of(done)
    assert best.tokens_s >= done[0].tokens_s
    assert best is done[0] or best.tokens_s > MIN_SPEEDUP * done[0].tokens_s
    assert all(measurement.tokens_s <= max(best.tokens_s, MIN_SPEEDUP * done[0].tokens_s) for measurement in done)


def test_tune_measures_each_setting_in_its_own_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(tmp_path, str(tmp_path / "out"))))
    assert main(["tune", str(path), "--requests", "40", "--try", "max_num_seqs=8,16"]) == 0
    out = capsys.readouterr().out
    assert "as the job says" in out
    assert out.count("max_num_seqs") >= 2
    assert not (tmp_path / "out").exists()
    assert main(["tune", str(path), "--try", "max_num_seqs"]) == 2
