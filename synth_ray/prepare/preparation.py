"""Before anything is asked: read the seeds and the real evaluation rows, pin the job, plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa

from synth_ray.dedup.decontaminate import EvalTexts
from synth_ray.dedup.fingerprint import ngram_for
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.seeds import Source
from synth_ray.plan.cells import Cells, FieldCodes
from synth_ray.plan.chunks import Planner
from synth_ray.plan.hold_out import hold_out_and_plant
from synth_ray.plan.quotas import Quotas
from synth_ray.plan.seeds import RejectedSeed, SeedStore, read_seeds
from synth_ray.prepare.feasibility import refuse_short_lag, refuse_slow_batches
from synth_ray.prepare.gold import gold_rows
from synth_ray.prepare.seed_rows import real_rows
from synth_ray.prepare.split_groups import SplitAssigner
from synth_ray.recipes.catalogue import options_of, recipe_of, refuse_missing_roles
from synth_ray.recipes.contract import Recipe
from synth_ray.records import SPLITS, TRAIN, Reason, Seed, digest
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.scrub.seeds import scrubbed_seeds
from synth_ray.storage.job_files import files_at, open_input

_REQUESTS_PER_TARGET_ROW = 10
_NGRAM_SAMPLE = 10_000


@dataclass(slots=True)
class SeedCount:
    """Counts of one source. Law: read = planned + rejected. `rejected_at` holds file and line of the first rejected seeds of each
    reason.
    """

    read: int = 0
    planned: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_at: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> str:
        return ", ".join(f"{reason} {n}" for reason, n in sorted(self.rejected.items())) or "none"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job with its seeds read: what a run, a plan or a preview starts from."""

    job: Job
    recipe: Recipe
    options: Any
    seeds: SeedStore
    count: SeedCount
    real: pa.Table
    mixed: pa.Table
    mix_count: SeedCount
    gold: list[Seed]
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
        return limit or _REQUESTS_PER_TARGET_ROW * -(-sum(self.wanted_rows.values()) // self.slots)

    @property
    def slots(self) -> int:
        return self.recipe.slots(self.options)

    def quotas(self) -> Quotas:
        target, copies = self.job.target, self.recipe.copies
        return Quotas(
            list(self.wanted_rows.values()),
            directed=self.cells.is_directed,
            slots=self.slots,
            lag=target.lag,
            close_below=0.0 if copies else target.close_below,  # reading a seed costs nothing
            max_requests=self.max_requests,
            supply=self._supply if copies else None,
            at_most=target.accepted is None,
        )

    @property
    def _supply(self) -> list[int]:
        """Seeds for each pool: a recipe that copies uses up a seed with every row."""
        seeds = self.cells.seeds.counts
        return [seeds.get(name, 0) for name in self.wanted_rows] if self.cells.is_directed else [len(self.seeds)]


def prepare(job: Job, *, spool: Path, file: str = "job") -> Prepared:
    """Read every seed once, into `spool`. Raises JobError when the job cannot be carried out."""
    recipe, options = recipe_of(job), options_of(job.recipe, file=file)
    refuse_missing_roles(recipe, options, job.models)
    refuse_short_lag(job)
    if recipe.evaluates and job.split.fractions["train"] > 0:
        raise JobError(
            f"split.fractions: wanted no train share with recipe '{recipe.name}', whose rows are for evaluation alone, got "
            f"train: {job.split.fractions['train']:g}; say fractions: {{test: 1.0}}"
        )
    groups = SplitAssigner(job.split)
    real = list(groups.reserve_for_eval(_real_seeds(job)))
    count, mix_count = SeedCount(), SeedCount()
    mixed = list(_planned_seeds(groups.assign(_mixed_seeds(job)), mix_count))
    cells, similar_values = Cells(job.target.balance), FieldCodes(recipe.alike(options))
    held_out: list[Seed] = []
    placed = hold_out_and_plant(groups.assign(_read_sources(job, job.seeds)), recipe.shield(options), held_out)
    shown_seeds = similar_values.observe(cells.seeds.observe(_scrubbed_if_remote(job, _planned_seeds(placed, count), count)))
    seeds = SeedStore.write(spool, shown_seeds)
    if not len(seeds):
        raise JobError(
            f"seeds: wanted at least one usable seed, got {count.read} read, rejected: {count.summary()}; fix the source"
        )
    if not recipe.copies:
        _refuse_synthetic_only_eval(job, seeds, [*real, *(seed for seed in mixed if seed.split != TRAIN)])
    job, options = _with_learned_options(job, recipe, options, chain(seeds, held_out))
    gold = gold_rows(job, _read_sources(job, job.check.judge.gold if job.check.judge is not None else []))
    content_digest = digest(seeds.digest, [[seed.id, seed.fields["good"]] for seed in gold]) if gold else seeds.digest
    ask_digest = job.ask_digest(content_digest)
    planner = Planner(
        seeds,
        recipe=recipe,
        options=options,
        plan=job.plan,
        ask_digest=ask_digest,
        alike=similar_values.codes if recipe.alike(options) else None,
    )
    wanted = _wanted_rows(job, cells, recipe)
    refuse_slow_batches(job, requests=-(-sum(wanted.values()) // recipe.slots(options)))
    return Prepared(
        job=_with_ngram(job, seeds),
        recipe=recipe,
        options=options,
        seeds=seeds,
        count=count,
        real=real_rows(real),
        mixed=real_rows(sorted(mixed, key=lambda seed: seed.split == TRAIN)),
        mix_count=mix_count,
        gold=gold,
        held_out=held_out,
        planner=planner,
        cells=cells,
        wanted_rows=wanted,
        ask_digest=ask_digest,
        job_digest=digest(job.job_digest(content_digest), [s.id for s in real], [s.id for s in mixed], *_evaluation_ids(job)),
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
    rows = (seed for seed in _read_sources(job, [like] if like is not None else []) if isinstance(seed, Seed))
    return cells.wanted_rows(job.target.accepted, rows, copies=recipe.copies)


def _with_ngram(job: Job, seeds: SeedStore) -> Job:
    """The job with its n-gram length resolved, one for all rows, from the length of its seeds; a length in the job wins."""
    if job.dedup.ngram is not None:
        return job
    texts = (seeds[i].fields for i in range(min(len(seeds), _NGRAM_SAMPLE)))
    lengths = [len(f"{f.get('prompt', '')} {f.get('answer', '')}".split()) for f in texts]
    return job.model_copy(update={"dedup": job.dedup.model_copy(update={"ngram": ngram_for(median(lengths))})})


def _read_sources(job: Job, sources: Iterable[Source]) -> Iterator[Seed | RejectedSeed]:
    """Every row of the sources, in order. Seeds on S3 are read with the output's endpoint and region."""
    seen: set[str] = set()
    for source in sources:
        yield from read_seeds(
            source,
            paths=files_at(source.path, endpoint_url=job.output.endpoint_url, region=job.output.region),
            open_file=lambda path: open_input(path, endpoint_url=job.output.endpoint_url, region=job.output.region),
            seen=seen,
        )


def _evaluation_ids(job: Job) -> list[list[str]]:
    """The ids of each evaluation set's rows: another version of a set rejects other rows, so they are in the job digest."""
    return [
        [source.name, *(row.id for row in _read_sources(job, [source]) if isinstance(row, Seed))]
        for source in job.decontaminate.against
    ]


def evaluation_sets(job: Job, words: Callable[[pa.Array], tuple[Any, Any]]) -> dict[str, EvalTexts]:
    """Each evaluation set by name, prompts and answers alike. `words` is the fingerprinter's."""
    sets = {}
    for source in job.decontaminate.against:
        rows = [seed for seed in _read_sources(job, [source]) if isinstance(seed, Seed)]
        if not rows:
            raise JobError(
                f"decontaminate.against: {source.name}: wanted rows to stay clear of, got none; fix the path or fields"
            )
        texts = [str(row.fields.get(name) or "") for row in rows for name in ("prompt", "answer")]
        sets[source.name] = EvalTexts(*words(pa.array(texts, pa.large_string())), job.decontaminate)
    return sets


def _real_seeds(job: Job) -> Iterator[Seed]:
    """Real rows for the evaluation splits. A bad row is an error: nobody should evaluate on less than they think."""
    for row in _read_sources(job, job.split.real):
        if isinstance(row, RejectedSeed):
            if row.reason is Reason.DUPLICATE_SEED:
                continue
            raise JobError(f"split.real: {row.file}:{row.line}: wanted a real row, got {row.reason}; fix the row or drop it")
        if "answer" not in row.fields:
            raise JobError(
                f"split.real: {row.source}:{row.line}: wanted a completion, got no field 'answer'; map it under fields"
            )
        yield row


def _mixed_seeds(job: Job) -> Iterator[Seed | RejectedSeed]:
    """Real rows to mix in. A row without an answer is rejected."""
    for row in _read_sources(job, job.mix.real if job.mix is not None else []):
        if isinstance(row, Seed) and not isinstance(row.fields.get("answer"), str):
            yield RejectedSeed(Reason.MISSING_FIELD, row.source, row.line, "no 'answer'")
        else:
            yield row


def _planned_seeds(placed: Iterable[Seed | RejectedSeed], count: SeedCount) -> Iterator[Seed]:
    for row in placed:
        count.read += 1
        if isinstance(row, RejectedSeed):
            _reject(count, row.reason, row.file, row.line)
        else:
            count.planned += 1
            yield row


def _scrubbed_if_remote(job: Job, seeds: Iterator[Seed], count: SeedCount) -> Iterator[Seed]:
    """The seeds as models will see them: scrubbed where the job says so, or where prompts leave this machine."""
    if not job.scrubs_seeds:
        return seeds

    def refuse(reason: Reason, seed: Seed) -> None:
        count.planned -= 1
        _reject(count, reason, seed.source, seed.line)

    return scrubbed_seeds(seeds, scrubber=open_scrubber(job.scrub), refuse=refuse)


def _reject(count: SeedCount, reason: Reason, file: str, line: int) -> None:
    count.rejected[reason.value] += 1
    count.rejected_at.append({"reason": reason.value, "file": file, "line": line})


def _refuse_synthetic_only_eval(job: Job, seeds: SeedStore, real: list[Seed]) -> None:
    evaluated = any(code != SPLITS.index("train") for code in seeds.splits)
    if evaluated and not real and not job.split.allow_synthetic_only_eval:
        raise JobError(
            "split.real: wanted real rows beside synthetic evaluation rows, got none; name them under split.real, or set "
            "split.fractions: {train: 1.0}, or say allow_synthetic_only_eval: true, which the card will repeat in bold"
        )
