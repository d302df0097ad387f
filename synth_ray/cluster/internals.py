"""What this package uses of Ray that Ray does not promise to keep. Everything else of Ray is its public API.

`tests/house/test_internals.py` fails with a plain sentence when an upgrade moves any of it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from ray._private.state import state

_RECONNECT_TIMEOUT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""An environment variable of Ray's: how long a process waits for a head that does not answer. Then it ends, whatever it does."""


def head_timeout_s() -> float:
    return float(os.environ.get(_RECONNECT_TIMEOUT, "60"))


def draining_deadlines() -> dict[str, int]:
    """By id of each node that is being drained: when it ends, in ms since 1970; 0 without a deadline.

    Ray has no public name for it; Ray Train reads the same.
    """
    deadlines: dict[str, int] = state.get_draining_nodes()
    return deadlines


def limit_requests(client: Any, *, timeout_s: float) -> None:
    """Let each request of a client of the Jobs API fail after this time without an answer: by itself it waits for ever."""
    client._do_request = partial(client._do_request, timeout=timeout_s)


def version_of_head(client: Any) -> str:
    """The version of Ray that a client of the Jobs API found at the head when it was opened; empty where it did not tell."""
    version: str = client._server_ray_version or ""
    return version
