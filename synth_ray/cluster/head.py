"""Whether the cluster's head still answers. Without it nothing of the run can be placed, watched or ended."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import ray

from synth_ray.cluster.internals import head_timeout_s
from synth_ray.errors import SynthRayError

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 1.0


def patience_s() -> float:
    """How long a head may be silent: half the time after which Ray ends the processes of a cluster, this one too, without a word
    to the caller.
    """
    return head_timeout_s() / 2


def can_connect_to_head() -> bool:
    """Whether the port of the cluster's head takes a connection."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


class HeadWatch:
    """Remembers since when the head is silent."""

    def __init__(self, clock: Callable[[], float], connect: Callable[[], bool] = can_connect_to_head) -> None:
        self._clock, self._connect, self._patience_s = clock, connect, patience_s()
        self._silent_since: float | None = None

    @property
    def is_silent(self) -> bool:
        """As of the last call of `answers`."""
        return self._silent_since is not None

    def answers(self) -> bool:
        """Whether it does now. Raises SynthRayError once it has not for `patience_s()`."""
        if self._connect():
            if self.is_silent:
                log.warning("the cluster's head answers again")
            self._silent_since = None
            return True
        now = self._clock()
        if self._silent_since is None:
            log.error("the cluster's head does not answer; giving it %.0f s", self._patience_s)
            self._silent_since = now
        if now - self._silent_since >= self._patience_s:
            raise SynthRayError(
                f"cluster: wanted Ray's head to answer, got nothing for {self._patience_s:.0f} s; start a cluster, "
                "then run the same command again: it goes on from what is stored"
            )
        return False
