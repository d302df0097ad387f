"""The `store` fixture: a store of each kind, for the contract tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.storage import Retry, Storage, open_storage
from tests.cloud_servers import REMOTE, Place, new_place


@pytest.fixture(params=["local", "local-single-writer", *REMOTE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param.startswith("local"):
        return open_storage(str(tmp_path / "root"), single_writer=request.param.endswith("writer"))
    place = new_place(request.param, request)
    return open_storage(f"{place.url}/a prefix/deep", endpoint_url=place.endpoint_url, retry=Retry(budget_s=5))


@pytest.fixture(params=REMOTE)
def place(request: pytest.FixtureRequest) -> Place:
    return new_place(request.param, request)
