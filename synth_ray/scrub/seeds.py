"""Seeds without personal data: what a teacher on another's machine is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from synth_ray.records import Reason, Seed, digest
from synth_ray.scrub.scrubber import Scrubber

Refuse = Callable[[Reason, Seed], None]
_BATCH = 256


def scrubbed_seeds(seeds: Iterable[Seed], *, scrubber: Scrubber, refuse: Refuse) -> Iterator[Seed]:
    """The seeds with every string of their fields scrubbed, in their order.

    Law: a changed seed has the id of what it became, so that the ask digest pins what the teacher was shown. One that cannot
    be scrubbed, holds too much, or became another seed of these is refused with its reason, and never passed on.
    """
    left, seen = iter(seeds), set[str]()
    while batch := list(islice(left, _BATCH)):
        for seed, done in zip(batch, scrubber.records([seed.fields for seed in batch]), strict=True):
            if done.reason is not None:
                refuse(done.reason, seed)
                continue
            became = replace(seed, fields=done.value, id=_id(done.value)) if done.counts else seed
            if became.id in seen:
                refuse(Reason.DUPLICATE_SEED, seed)
                continue
            seen.add(became.id)
            yield became


def _id(fields: object) -> str:
    return digest("scrubbed", json.dumps(fields, sort_keys=True, default=str))
