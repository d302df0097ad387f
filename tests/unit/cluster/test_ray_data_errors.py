"""Ray datasets that cannot be seeds: told in our words, and never by the text of a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from synth_ray.cluster.ray_data import with_stored_seeds
from synth_ray.errors import JobError

pytest.importorskip("ray")


class Dataset:
    """Yields blocks, and then raises; `is_ray_dataset` goes by the name of a class and its module."""

    def __init__(self, *blocks: Any) -> None:
        self.context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=False))
        self._blocks = blocks

    def iter_batches(self, **_: Any) -> Iterator[pa.Table]:
        for block in self._blocks:
            if isinstance(block, Exception):
                raise block
            yield block


Dataset.__module__ = "ray.data.dataset"
ROW = pa.table({"question": ["a hidden row"]})


def test_what_goes_wrong_is_a_job_error_without_the_rows(tmp_path: Path) -> None:
    from ray.exceptions import RayTaskError

    failed = RayTaskError("map", "Traceback: a hidden row", ValueError("a hidden row"))
    for dataset, said in (
        (Dataset(ROW, pa.table({"other": [1]})), "one schema, got ValueError"),
        (Dataset(ROW, pa.table({"question": [[1]]})), "one schema, got Arrow"),
        (Dataset(ROW, failed), "that can be read, got RayTaskError"),
        (Dataset(failed.as_instanceof_cause()), "that can be read, got RayTaskError"),
        (Dataset(), "got an empty one"),
    ):
        with pytest.raises(JobError, match=said) as told:
            with_stored_seeds({"seeds": dataset, "output": str(tmp_path / "out")})
        assert "hidden" not in str(told.value)


@pytest.mark.parametrize("output", [None, {}, {"path": "out", "wrong": 1}, {"path": "s3://me:hidden@bucket/p"}])
def test_an_output_that_is_wrong_is_a_job_error(output: Any) -> None:
    with pytest.raises(JobError, match=r"^output: ") as told:
        with_stored_seeds({"seeds": Dataset(ROW), "output": output})
    assert "hidden" not in str(told.value)
