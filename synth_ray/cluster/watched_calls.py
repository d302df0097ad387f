"""Calls of actors whose results nobody waits for: their errors are found all the same."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.cluster.ending import to_synth_ray_error


class WatchedCalls:
    """Law: a call that failed is told once, however the caller went on. Looking costs no message: a result comes by itself to the
    process that called.
    """

    def __init__(self) -> None:
        self._calls: dict[Any, tuple[int, Any]] = {}

    def __len__(self) -> int:
        """Calls under way."""
        return len(self._calls)

    def watch(self, ref: Any, number: int, actor: Any) -> None:
        """`ref`: of a call of this actor, which is the replica of this number."""
        self._calls[ref] = number, actor

    def failures(self) -> list[tuple[int, Any, RayError]]:
        """Calls that did not reach their actor, or of which no reply came: the actor's number, the actor, and what Ray says.
        Raises the error that an actor raised itself.
        """
        if not self._calls:
            return []
        ended, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        failed: list[tuple[int, Any, RayError]] = []
        for ref in ended:
            number, actor = self._calls.pop(ref)
            try:
                ray.get(ref)
            except RayTaskError as error:
                raise to_synth_ray_error(error) from None
            except RayError as error:
                failed.append((number, actor, error))
        return failed
