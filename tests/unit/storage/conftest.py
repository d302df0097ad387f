"""The `store` fixture: a store of each kind, for the contract tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.storage import Retry, Storage, open_storage


@pytest.fixture(params=["local", "local-single-writer", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param != "s3":
        return open_storage(str(tmp_path / "root"), single_writer=request.param.endswith("writer"))
    url = f"s3://{request.getfixturevalue('bucket')}/a prefix/deep"
    return open_storage(url, endpoint_url=request.getfixturevalue("moto_server"), retry=Retry(budget_s=5))
