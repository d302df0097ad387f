"""Seeds without personal data, for a teacher that runs on another machine."""

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
    """The seeds with every string of their fields scrubbed, in the same order.

    Law: the id of a changed seed is a digest of its new fields, so that the ask digest covers what the teacher sees. A seed that
    cannot be scrubbed, has too many findings, or becomes equal to an earlier seed is passed to `refuse` with its reason, and not
    returned.
    """
    remaining, seen = iter(seeds), set[str]()
    while batch := list(islice(remaining, _BATCH)):
        for seed, result in zip(batch, scrubber.records([seed.fields for seed in batch]), strict=True):
            if result.reason is not None:
                refuse(result.reason, seed)
                continue
            scrubbed = replace(seed, fields=result.value, id=scrubbed_id(result.value)) if result.counts else seed
            if scrubbed.id in seen:
                refuse(Reason.DUPLICATE_SEED, seed)
                continue
            seen.add(scrubbed.id)
            yield scrubbed


def scrubbed_id(fields: object) -> str:
    """The id of a seed whose scrubbed fields these are."""
    return digest("scrubbed", json.dumps(fields, sort_keys=True, default=str))
