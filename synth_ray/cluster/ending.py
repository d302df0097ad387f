"""How an actor ends, and what the driver says of an actor's error."""

from __future__ import annotations

import logging
import os
import re

from ray.exceptions import RayError, RayTaskError

from synth_ray.errors import ServiceRefused, SynthRayError
from synth_ray.workers.pool import AsksRefused

log = logging.getLogger(__name__)


def end_process(cause: str) -> None:
    """A dead engine must end its actor's process: an exception would leave an actor that takes work and never answers.

    See the discussion in ray issue 59522.
    """
    log.critical("ending this actor: %s", cause)
    logging.shutdown()
    os._exit(1)


def to_synth_ray_error(error: RayTaskError) -> SynthRayError:
    """The worker's own error if it is ours; of any other only the type and place, because its text may quote a row."""
    cause = error.cause
    if isinstance(cause, SynthRayError):
        return cause
    places = re.findall(r'File "([^"]+)", line (\d+)', str(error))
    where = f" at {places[-1][0]}:{places[-1][1]}" if places else ""
    return SynthRayError(f"a worker failed with {type(cause).__name__}{where}; its log in Ray's session folder says more")


def refusal_of(replica: int, error: RayTaskError) -> AsksRefused:
    """The event for a service that refuses a replica's asks. Raises anything else that the replica raised."""
    if isinstance(error.cause, ServiceRefused):
        return AsksRefused(replica, str(error.cause))
    raise to_synth_ray_error(error) from None


def first_line(error: RayError) -> str:
    """What Ray says of an actor that is gone, without the lines of advice."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
