"""Before anything is asked: read the seeds and the real evaluation rows, pin the job, plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dedup.datasketch_parameters import resolve_banding
from synth_ray.dedup.fingerprint import ngram_for
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.plan.cells import Cells
from synth_ray.plan.chunks import Planner
from synth_ray.plan.quotas import QuotaRules, Quotas
from synth_ray.plan.seed_store import SeedStore
from synth_ray.prepare.feasibility import refuse_short_lag, refuse_slow_batches
from synth_ray.prepare.gold import gold_rows
from synth_ray.prepare.people import read_rejections
from synth_ray.prepare.reference import Reference, read_reference
from synth_ray.prepare.seed_rows import MixedRows, real_rows
from synth_ray.prepare.sources import REQUESTS_PER_TARGET_ROW, SeedCount, Sources, evaluation_ids, read_all, read_sources
from synth_ray.recipes.catalogue import options_of, recipe_of, refuse_missing_roles
from synth_ray.recipes.contract import Recipe
from synth_ray.records import SPLITS, TRAIN, Seed, canonical_json, digest

_NGRAM_SAMPLE = 10_000
_HASHED_IDS = 4096


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job with its seeds read: what a run, a plan or a preview starts from."""

    job: Job
    recipe: Recipe
    options: Any
    seeds: SeedStore
    count: SeedCount
    real: pa.Table
    mixed: MixedRows
    mix_count: SeedCount
    gold: list[Seed]
    reference: Reference
    rejected_by_people: frozenset[str]
    held_out: list[Seed]
    planner: Planner
    cells: Cells
    wanted_rows: dict[str, int]
    ask_digest: str
    job_digest: str

    @property
    def max_requests(self) -> int:
        """Where planning for a target ends, whether or not the target is met."""
        limit = self.job.target.max_requests or self.job.plan.requests or (len(self.seeds) if self.recipe.copies else 0)
        return limit or REQUESTS_PER_TARGET_ROW * -(-sum(self.wanted_rows.values()) // self.slots)

    @property
    def planned_requests(self) -> int:
        """The most requests that are asked."""
        return self.max_requests if self.job.target.is_set else self.planner.requests

    @property
    def slots(self) -> int:
        return self.recipe.slots(self.options)

    def quotas(self) -> Quotas:
        target, copies = self.job.target, self.recipe.copies
        return Quotas(
            list(self.wanted_rows.values()),
            directed=self.cells.is_directed,
            rules=QuotaRules(
                slots=self.slots,
                lag=target.lag,
                close_below=0.0 if copies else target.close_below,  # reading a seed costs nothing
                max_requests=self.max_requests,
            ),
            supply=self._supply if copies else None,
            at_most=target.accepted is None,
        )

    @property
    def _supply(self) -> list[int]:
        """Seeds for each pool: a recipe that copies uses up a seed with every row."""
        seeds = self.cells.seed_codes.counts
        return [seeds.get(name, 0) for name in self.wanted_rows] if self.cells.is_directed else [len(self.seeds)]


def prepare(job: Job, *, spool: Path, file: str = "job") -> Prepared:
    """Read every seed once, into `spool`. Raises JobError when the job cannot be carried out."""
    job = job.model_copy(update={"dedup": resolve_banding(job.dedup)})
    recipe, options = recipe_of(job), options_of(job.recipe, file=file)
    refuse_missing_roles(recipe, options, job.models)
    refuse_short_lag(job)
    refuse_train_share(recipe, job)
    sources = read_all(job, recipe, options, spool=spool)
    if not recipe.copies:
        _refuse_synthetic_only_eval(job, sources)
    job, options = _with_learned_options(job, recipe, options, chain(sources.seeds, sources.held_out))
    judged = job.check.judge.gold if job.check.judge is not None else []
    gold = gold_rows(job, read_sources(job, judged, key="check.judge.gold"))
    wanted_rows = _wanted_rows(job, sources.cells, recipe)
    refuse_slow_batches(job, requests=-(-sum(wanted_rows.values()) // recipe.slots(options)))
    content_digest = _content_digest(sources.seeds, gold)
    rejected = read_rejections(job)
    ask_digest = job.ask_digest(content_digest)
    similar = sources.similar.codes if recipe.alike(options) else None
    return Prepared(
        job=_with_ngram(job, sources.seeds),
        recipe=recipe,
        options=options,
        seeds=sources.seeds,
        count=sources.count,
        real=real_rows(sources.real, thoughts=job.keeps_reasoning),
        mixed=MixedRows(sources.mixed, thoughts=job.keeps_reasoning),
        mix_count=sources.mix_count,
        gold=gold,
        reference=read_reference(job, sources),
        rejected_by_people=rejected,
        held_out=sources.held_out,
        planner=Planner(sources.seeds, recipe=recipe, options=options, plan=job.plan, ask_digest=ask_digest, alike=similar),
        cells=sources.cells,
        wanted_rows=wanted_rows,
        ask_digest=ask_digest,
        job_digest=_job_digest(job, content_digest, sources, rejected),
    )


def _content_digest(seeds: SeedStore, gold: list[Seed]) -> str:
    """The digest of everything models are shown: the seeds, and the gold rows of a judge."""
    return digest(seeds.digest, [[seed.id, seed.fields["good"]] for seed in gold]) if gold else seeds.digest


def _job_digest(job: Job, content_digest: str, sources: Sources, rejected: frozenset[str]) -> str:
    """`digest` of the parts, the ids of mixed rows being one list among them, which is hashed part by part: it may be long."""
    before = (job.job_digest(content_digest), [seed.id for seed in sources.real])
    after = [*evaluation_ids(job), *([sorted(rejected)] if rejected else [])]
    hashed = blake2b(canonical_json(before)[:-1] + b",[", digest_size=16)
    ids, mark = sources.mixed.ids(), b""
    while some := list(islice(ids, _HASHED_IDS)):
        hashed.update(mark + canonical_json(some)[1:-1])
        mark = b","
    hashed.update(b"]" + b"".join(b"," + canonical_json(part) for part in after) + b"]")
    return hashed.hexdigest()


def refuse_train_share(recipe: Recipe, job: Job) -> None:
    """Raises JobError where rows that are for evaluation alone would be split into train."""
    if recipe.evaluates and job.split.fractions["train"] > 0:
        raise JobError(
            f"split.fractions: wanted no train share with recipe '{recipe.name}', whose rows are for evaluation alone, got "
            f"train: {job.split.fractions['train']:g}; say fractions: {{test: 1.0}}"
        )


def _with_learned_options(job: Job, recipe: Recipe, options: Any, seeds: Iterable[Seed]) -> tuple[Job, Any]:
    """The job and its options with what the recipe learns from the seeds, so that every worker has it.

    Learned from shown and held-out seeds alike: otherwise the generated values would reveal which were shown and bias the
    disclosure test.
    """
    if recipe.learn is None:
        return job, options
    more = dict(recipe.learn(options, seeds))
    choice = job.recipe.model_copy(update={"options": {**job.recipe.options, **more}})
    return job.model_copy(update={"recipe": choice}), options.model_copy(update=more)


def _wanted_rows(job: Job, cells: Cells, recipe: Recipe) -> dict[str, int]:
    """Wanted accepted rows by cell; empty for a job without a target."""
    if not job.target.is_set:
        return {}
    like = job.target.balance.like if job.target.balance is not None else None
    read = read_sources(job, [like] if like is not None else [], key="target.balance.like")
    rows = (seed for seed in read if isinstance(seed, Seed))
    return cells.wanted_rows(job.target.accepted, rows, copies=recipe.copies)


def _with_ngram(job: Job, seeds: SeedStore) -> Job:
    """The job with its n-gram length resolved, one for all rows, from the length of its seeds; a length in the job wins."""
    if job.dedup.ngram is not None or not job.seeds:
        return job
    texts = (seed.fields for seed in seeds.take(range(min(len(seeds), _NGRAM_SAMPLE))))
    lengths = [len(f"{f.get('prompt', '')} {f.get('answer', '')}".split()) for f in texts]
    return job.model_copy(update={"dedup": job.dedup.model_copy(update={"ngram": ngram_for(median(lengths))})})


def _refuse_synthetic_only_eval(job: Job, sources: Sources) -> None:
    train = SPLITS.index(TRAIN)
    has_real = bool(sources.real) or bool(np.any(sources.mixed.splits != train))
    if np.any(sources.seeds.splits != train) and not has_real and not job.split.allow_synthetic_only_eval:
        raise JobError(
            "split.real: wanted real rows beside synthetic evaluation rows, got none; name them under split.real, or set "
            "split.fractions: {train: 1.0}, or say allow_synthetic_only_eval: true, which the card will repeat in bold"
        )
