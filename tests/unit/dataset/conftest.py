"""The `store` fixture: a folder and an S3 bucket, for the ledger and the dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.storage import Retry, Storage, open_storage


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "out"))
    url = f"s3://{request.getfixturevalue('bucket')}/out"
    return open_storage(url, endpoint_url=request.getfixturevalue("moto_server"), retry=Retry(budget_s=5))
