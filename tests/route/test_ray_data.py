"""Ray Data in and out: any reader's rows as seeds, and a published split as a Ray dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.errors import JobError
from tests.route.test_sources import ROWS, job

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def data() -> Iterator[Any]:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.data
    ray.shutdown()


def test_seeds_of_a_ray_dataset_give_the_rows_of_the_same_seeds_in_a_file(data: Any, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    of_file = synth_ray.run(job(tmp_path / "file", str(tmp_path / "seeds.jsonl"))).manifest
    read = data.read_json(str(tmp_path / "seeds.jsonl"), lines=True).repartition(4)
    of_ray = synth_ray.run(job(tmp_path / "ray", read)).manifest
    assert of_ray["dataset_digest"] == of_file["dataset_digest"]
    assert of_ray["rows"]["accepted"] == len(ROWS)
    (source,) = of_ray["sources"]
    assert source["path"].startswith(f"{tmp_path}/ray/out/_synth/seeds/")
    again = synth_ray.run(job(tmp_path / "ray", [source["path"]])).manifest  # by a run that has no Ray dataset
    assert again["job_digest"] == of_ray["job_digest"]
    with pytest.raises(JobError, match="an empty one"):
        synth_ray.run(job(tmp_path / "none", data.from_items(ROWS).filter(lambda row: False)))


def test_a_split_comes_back_as_a_ray_dataset_of_the_files_that_the_manifest_lists(data: Any, tmp_path: Path) -> None:
    manifest = synth_ray.run(
        job(tmp_path, data.from_items(ROWS), output={"path": str(tmp_path / "out"), "part_rows": 5})
    ).manifest
    (tmp_path / "out" / "data" / "split=train" / "part-99999.parquet").write_bytes(b"of a run that was killed")
    rows = synth_ray.ray_dataset(str(tmp_path / "out"))
    assert rows.count() == manifest["splits"]["train"] == len(ROWS)
    assert {row["completion"] for row in rows.take_all()} == {row["answer"] for row in ROWS}
    with pytest.raises(JobError, match="a dataset with train"):
        synth_ray.ray_dataset(str(tmp_path / "out"), "test")
