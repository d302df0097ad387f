"""The real records that rows must not copy, and the report on what rows disclose of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from synth_ray.admit.copies import CopyDetector, HashWords
from synth_ray.check.disclosure import DigestSample, disclosure
from synth_ray.plan.hold_out import canary_suffix
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.recipes.contract import CANARY
from synth_ray.records import TRAIN, Seed

_BATCH_ROWS = 4096


def open_copy_detector(
    prepared: Prepared, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table], hash_words: HashWords
) -> CopyDetector | None:
    """The detector of copies of real records, shown or held out, scrubbed as rows are; None where the recipe makes no
    stand-ins.
    """
    shield = prepared.recipe.shield(prepared.options)
    if shield is None:
        return None
    planted = [canary_suffix(seed.lineage, seed.line) for seed in prepared.seeds if seed.source == CANARY]
    return CopyDetector(
        _records([*prepared.seeds, *prepared.held_out], scrub_and_fingerprint), shield, hash_words, canary_suffixes=planted
    )


def disclosure_report(
    prepared: Prepared, copies: CopyDetector, rows: DigestSample, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table]
) -> dict[str, Any]:
    """For the manifest: copies found, canaries found, and whether rows are nearer to shown records than to held-out ones."""
    shield = prepared.recipe.shield(prepared.options)
    assert shield is not None
    shown_sample, held_sample = DigestSample(), DigestSample()
    for seed in prepared.seeds:
        if seed.source != CANARY and seed.split == TRAIN:
            shown_sample.add(seed.id, seed)
    for seed in prepared.held_out:
        held_sample.add(seed.id, seed)
    seen, unseen = (
        list(zip((seed.lineage for seed in sample.values), _records(sample.values, scrub_and_fingerprint), strict=True))
        for sample in (shown_sample, held_sample)
    )
    return {
        "copied": dict(sorted(copies.counts.items())),
        "canaries": {"planted": copies.planted, "found": len(copies.canaries)},
        "test": disclosure(rows.values, seen, unseen, shield.kinds),
    }


def _records(seeds: Iterable[Seed], scrub_and_fingerprint: Callable[[pa.Table], pa.Table]) -> Iterator[Mapping[str, Any]]:
    """The fields of seeds as staged: scrubbed like rows, so that they can be compared."""
    batch = list(seeds)
    for start in range(0, len(batch), _BATCH_ROWS):
        yield from map(_fields, scrub_and_fingerprint(seed_rows(batch[start : start + _BATCH_ROWS])).to_pylist())


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"prompt": row["prompt"], "answer": row["completion"], **json.loads(row["fields"])}
