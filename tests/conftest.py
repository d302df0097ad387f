"""Fixtures of the whole suite: S3 credentials and buckets, and one real engine that is opened once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.cloud_servers import azure_server, azurite, cloud_credentials, gcs, gcs_server
from tests.servers import aws_credentials, bucket, moto_server, s3_server

__all__ = [
    "aws_credentials",
    "azure_server",
    "azurite",
    "bucket",
    "cloud_credentials",
    "gcs",
    "gcs_server",
    "moto_server",
    "s3_server",
]

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # else Ray's actors give way to the other process of the tests
os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # Ray gives a node 30 s to start; it reads this when it is imported

# Hypothesis draws new examples at each local run. In CI they are fixed, so that a failure is due to the change under test.
hypothesis.settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).parent.parent
TINY_TEACHER = ROOT / "models" / "tiny-teacher"
TINY_THINKER = ROOT / "models" / "tiny-thinker"
ENGINE_ARGS = {"dtype": "bfloat16", "max_num_seqs": 64, "max_model_len": 512, "enforce_eager": True}


@pytest.fixture(scope="session")
def vllm_teacher() -> Iterator[object]:
    """The real engine with the bundled tiny teacher, opened as a job opens it, shared by every test that needs one."""
    from synth_ray.ask.engines import make_teacher
    from synth_ray.job.models import Model

    teacher = make_teacher(Model(model=str(TINY_TEACHER), engine_args=ENGINE_ARGS))
    teacher.open()
    yield teacher
    teacher.close()


SERVERS = {"vllm_teacher": "vllm", "moto_server": "s3", "bucket": "s3", "azurite": "s3"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`, one of the processes runs everything that needs the engine, so that it is opened once."""
    from tests.scheduling import ModulesTogether

    return ModulesTogether(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for a server's fixture has the server's marker, so that `make test-fast` leaves none in by mistake.

    `alone` is what has a server, kills processes, or needs much of the machine: it does not run beside the light tests.
    """
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in SERVERS:
                item.add_marker(SERVERS[fixture])
        if "faults" in item.path.parts or any(item.get_closest_marker(name) for name in ("vllm", "ray", "s3", "slow")):
            item.add_marker("alone")
