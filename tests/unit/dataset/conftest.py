"""The `store` fixture: a folder and a bucket of each cloud, for the ledger and the dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.storage import Retry, Storage, open_storage
from tests.cloud_servers import REMOTE, new_place


@pytest.fixture(params=["local", *REMOTE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "out"))
    place = new_place(request.param, request)
    return open_storage(f"{place.url}/out", endpoint_url=place.endpoint_url, retry=Retry(budget_s=5))
