"""Why a run is as slow as it is: what its replicas wait for, second by second. Pure: the driver says what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wait(StrEnum):
    """Where the time of a run goes. A closed list.

    `full`: the replicas have all the requests they can run, so the models set the pace. All others are time in which a replica
    could have run more: `starting`, none is up; `tail`, all requests are handed out and the last ones are being answered;
    `staging`, answers wait for stagers and the store; `admission`, the driver decides on rows; `oldest_chunk`, the window or the
    memory for answers is full until the slowest requests of the oldest chunk are answered; `planning`, seeds are read and
    requests made; `handing_out`, messages between the driver and its replicas.
    """

    FULL = "full"
    STARTING = "starting"
    TAIL = "tail"
    STAGING = "staging"
    ADMISSION = "admission"
    OLDEST_CHUNK = "oldest_chunk"
    PLANNING = "planning"
    HANDING_OUT = "handing_out"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the driver sees when a tick's answers have come in. `elapsed_s` have passed since the moment before, of which it spent
    `planning_s` and `admitting_s`. `full_share` is how much of what the replicas can run they have, from 0 to 1.

    `all_planned`: nothing is left to hand out. `is_held`: nothing may be handed out, for the window or the memory for answers is
    full; `is_staging`: a chunk is being staged.
    """

    elapsed_s: float
    planning_s: float
    admitting_s: float
    replicas: int
    full_share: float
    all_planned: bool
    is_held: bool
    is_staging: bool


def seconds_by_wait(moment: Moment) -> dict[Wait, float]:
    """The elapsed seconds by where they went. They add up to `elapsed_s`."""
    full = moment.elapsed_s * moment.full_share if moment.replicas else 0.0
    hungry = moment.elapsed_s - full
    return {Wait.FULL: full} | ({_cause(moment): hungry} if hungry > 0 else {})


def _cause(moment: Moment) -> Wait:
    if not moment.replicas:
        return Wait.STARTING
    if moment.admitting_s > moment.elapsed_s / 2:
        return Wait.ADMISSION
    if moment.planning_s > moment.elapsed_s / 2:
        return Wait.PLANNING
    if moment.all_planned:
        return Wait.TAIL
    if moment.is_held:
        return Wait.STAGING if moment.is_staging else Wait.OLDEST_CHUNK
    return Wait.HANDING_OUT
