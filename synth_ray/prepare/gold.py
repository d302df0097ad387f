"""Gold rows for the judge: read once, and asked among the first chunk's requests, where the judge cannot tell them apart."""

from __future__ import annotations

from collections.abc import Iterable

from synth_ray.check.agreement import MIN_GOLD
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.plan.seeds import RejectedSeed
from synth_ray.records import Request, Seed, digest

_BOOLEANS = {"true": True, "false": False, "good": True, "bad": False, "yes": True, "no": False, "1": True, "0": False}


def gold_rows(job: Job, rows: Iterable[Seed | RejectedSeed]) -> list[Seed]:
    """The judge's gold rows. Raises JobError for an invalid row, and for too few rows where the judge may reject."""
    gold = [_validated(row) for row in rows]
    gate = job.check.judge
    if gate is not None and "poorly_judged" in job.check.drop and len(gold) < MIN_GOLD:
        raise JobError(
            f"check.judge.gold: wanted at least {MIN_GOLD} rows that people judged, so that the judge may reject rows, got "
            f"{len(gold)}; name more, or leave poorly_judged out of check.drop: then scores are columns alone"
        )
    return gold


def _validated(row: Seed | RejectedSeed) -> Seed:
    if isinstance(row, RejectedSeed):
        raise JobError(f"check.judge.gold: {row.file}:{row.line}: wanted a judged row, got {row.reason}; fix the row or drop it")
    good = _BOOLEANS.get(str(row.fields.get("good")).strip().casefold())
    if good is None or not isinstance(row.fields.get("answer"), str):
        missing = "`good` as true or false" if good is None else "an `answer`"
        raise JobError(f"check.judge.gold: {row.source}:{row.line}: wanted {missing}, got none; map it under fields")
    fields = {"prompt": row.fields["prompt"], "answer": row.fields["answer"], "good": good}
    return Seed(row.id, row.lineage, row.split, fields, row.source, row.line)


def gold_requests(gold: Iterable[Seed], *, start: int) -> list[Request]:
    """Requests without slots, at positions from `start` on in chunk 0."""
    return [Request(digest("gold", seed.id), 0, start + i, seed, slots=0) for i, seed in enumerate(gold)]
