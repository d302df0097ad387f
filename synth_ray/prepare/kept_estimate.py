"""The estimate that a run began with, kept on the store until its end tells how far it was off.

_synth/estimate.json   the estimate of the whole plan, written by the first run and again when the plan is extended
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from synth_ray.dataset.ledger import ROOT
from synth_ray.errors import ObjectNotFound
from synth_ray.prepare.estimate import estimate
from synth_ray.prepare.lengths import read_lengths
from synth_ray.prepare.preparation import Prepared
from synth_ray.storage import Storage

ESTIMATE = f"{ROOT}estimate.json"
COMPARED = ("prompt_tokens", "completion_tokens", "usd", "hours")


def load_or_make_estimate(storage: Storage, prepared: Prepared, *, resumed: bool) -> dict[str, Any]:
    """The estimate of this plan. Call under the lease. Raises StorageError.

    A resumed run reads it; one that extends the plan estimates again, from the lengths of what is committed. Empty for an output
    that was begun without an estimate.
    """
    plan = {"requests": prepared.planner.requests, "rows": sum(prepared.wanted_rows.values())}
    stored = _stored(storage)
    if stored is None and resumed:
        return {}
    if stored is not None and stored.get("plan") == plan:
        return dict(stored["estimate"])
    lengths = read_lengths(storage, "the first part of this output") if resumed else None
    record = estimate(prepared, prepared.job, lengths).record()
    storage.write(ESTIMATE, json.dumps({"plan": plan, "estimate": record}).encode())
    return record


def _stored(storage: Storage) -> dict[str, Any] | None:
    """The file; None where there is none, or another than this module writes."""
    try:
        stored = json.loads(storage.read(ESTIMATE))
    except (ObjectNotFound, ValueError):
        return None
    return stored if isinstance(stored, dict) and isinstance(stored.get("estimate"), dict) else None


def with_actual(record: Mapping[str, Any], actual: Mapping[str, float], *, done_share: float) -> dict[str, Any]:
    """The estimate beside what came of it. `off` is the actual number over the expected one, less 1; of a run that stopped, over
    the expected one of the share that was done.
    """
    if not record:
        return {}
    expected = {name: (record[name] or {}).get("expected") for name in COMPARED if name in actual}
    off = {name: round(actual[name] / (value * done_share) - 1, 4) for name, value in expected.items() if value and done_share}
    return {**record, "done_share": round(done_share, 4), "actual": dict(actual), "off": off}
