"""The cluster that a command talks to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from synth_ray.errors import JobError

if TYPE_CHECKING:
    from synth_ray.cluster.jobs_api import JobsApi

VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def open_cluster(address: str | None) -> JobsApi:
    """The Jobs API at `--address` or, without it, where the environment says. Raises JobError where neither names one."""
    from synth_ray.cluster.jobs_api import JobsApi  # imported here because it loads Ray

    return JobsApi(address or address_of_environment())


def address_of_environment() -> str:
    for name in VARIABLES:
        if (value := os.environ.get(name, "")).startswith(("http://", "https://")):
            return value
    raise JobError(
        "--address: wanted the Ray head's dashboard, as http://host:8265, got none; give it, or set RAY_API_SERVER_ADDRESS"
    )
