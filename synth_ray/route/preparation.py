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

from synth_ray.dedup.datasketch_parameters import resolve_banding
from synth_ray.dedup.decontaminate import EvalTexts
from synth_ray.dedup.fingerprint import ngram_for
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.seeds import Source
from synth_ray.plan.cells import Cells, Values
from synth_ray.plan.chunks import Planner
from synth_ray.plan.quotas import Quotas
from synth_ray.plan.seeds import RejectedSeed, SeedStore, read_seeds
from synth_ray.plan.withheld import withheld
from synth_ray.recipes.catalogue import options_of, recipe_of, refuse_missing_roles
from synth_ray.recipes.contract import Recipe
from synth_ray.records import SPLITS, TRAIN, Reason, Seed, digest
from synth_ray.route.gold import gold_rows
from synth_ray.route.grouping import Groups
from synth_ray.route.places import files_at, open_input
from synth_ray.route.real_rows import real_rows
from synth_ray.route.waits import refuse_short_lag, refuse_slow_batches
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.scrub.seeds import scrubbed_seeds

_TIMES_ITS_TARGET = 10
_MEASURED = 10_000


@dataclass(slots=True)
class SeedCount:
    """Law: read = planned + rejected."""

    read: int = 0
    planned: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    where: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> str:
        return ", ".join(f"{reason} {n}" for reason, n in sorted(self.rejected.items())) or "none"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job with its seeds read: everything a run, a plan or a preview starts from."""

    job: Job
    recipe: Recipe
    options: Any
    seeds: SeedStore
    count: SeedCount
    real: pa.Table
    mixed: pa.Table
    mix_count: SeedCount
    gold: list[Seed]
    held: list[Seed]
    planner: Planner
    cells: Cells
    wanted: dict[str, int]
    ask_digest: str
    job_digest: str

    @property
    def most_requests(self) -> int:
        """Where planning for a target ends, whether or not it is met."""
        told = self.job.target.max_requests or self.job.plan.requests or (len(self.seeds) if self.recipe.copies else 0)
        return told or _TIMES_ITS_TARGET * -(-sum(self.wanted.values()) // self.slots)

    @property
    def slots(self) -> int:
        return self.recipe.slots(self.options)

    def quotas(self) -> Quotas:
        target, copies = self.job.target, self.recipe.copies
        return Quotas(
            list(self.wanted.values()),
            directed=self.cells.directed,
            slots=self.slots,
            lag=target.lag,
            close_below=0.0 if copies else target.close_below,  # reading a seed costs nothing
            most=self.most_requests,
            supply=self._supply if copies else None,
            at_most=target.accepted is None,
        )

    @property
    def _supply(self) -> list[int]:
        """Seeds there are for each pool: copied once, a seed is used up."""
        seeds = self.cells.seeds.counts
        return [seeds.get(name, 0) for name in self.wanted] if self.cells.directed else [len(self.seeds)]


def prepare(job: Job, *, spool: Path, file: str = "job") -> Prepared:
    """Read every seed once, into `spool`. Raises JobError when the job names what cannot be."""
    job = job.model_copy(update={"dedup": resolve_banding(job.dedup)})
    recipe, options = recipe_of(job), options_of(job.recipe, file=file)
    refuse_missing_roles(recipe, options, job.models)
    refuse_short_lag(job)
    if recipe.evaluates and job.split.fractions["train"] > 0:
        raise JobError(
            f"split.fractions: wanted no train share with recipe '{recipe.name}', whose rows are for evaluation alone, got "
            f"train: {job.split.fractions['train']:g}; say fractions: {{test: 1.0}}"
        )
    groups = Groups(job.split)
    real = list(groups.reserve(_real_seeds(job)))
    count, mix_count = SeedCount(), SeedCount()
    mixed = list(_planned_seeds(groups.place(_mixed(job)), mix_count))
    cells, alike = Cells(job.target.balance), Values(recipe.alike(options))
    held: list[Seed] = []
    placed = withheld(groups.place(_read(job, job.seeds)), recipe.shield(options), held)
    shown = alike.noting(cells.seeds.noting(_shown_seeds(job, _planned_seeds(placed, count), count)))
    seeds = SeedStore.write(spool, shown)
    if not len(seeds):
        raise JobError(f"seeds: wanted at least one usable seed, got {count.read} read, rejected: {count.told()}; fix the source")
    if not recipe.copies:
        _refuse_synthetic_only_eval(job, seeds, [*real, *(seed for seed in mixed if seed.split != TRAIN)])
    job, options = _learnt(job, recipe, options, chain(seeds, held))
    gold = gold_rows(job, _read(job, job.check.judge.gold if job.check.judge is not None else []))
    whole = digest(seeds.digest, [[one.id, one.fields["good"]] for one in gold]) if gold else seeds.digest
    ask_digest = job.ask_digest(whole)
    planner = Planner(
        seeds,
        recipe=recipe,
        options=options,
        plan=job.plan,
        ask_digest=ask_digest,
        alike=alike.codes if recipe.alike(options) else None,
    )
    wanted = _wanted(job, cells, recipe)
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
        held=held,
        planner=planner,
        cells=cells,
        wanted=wanted,
        ask_digest=ask_digest,
        job_digest=digest(job.job_digest(whole), [s.id for s in real], [s.id for s in mixed], *_evaluation_ids(job)),
    )


def _learnt(job: Job, recipe: Recipe, options: Any, seeds: Iterable[Seed]) -> tuple[Job, Any]:
    """The job and its options with what the recipe learns of the seeds: whoever is handed the job knows it too.

    Of the held-out ones as well: what is drawn must not tell which were shown, for that is what showing is tested by.
    """
    if recipe.learn is None:
        return job, options
    more = dict(recipe.learn(options, seeds))
    choice = job.recipe.model_copy(update={"options": {**job.recipe.options, **more}})
    return job.model_copy(update={"recipe": choice}), options.model_copy(update=more)


def _wanted(job: Job, cells: Cells, recipe: Recipe) -> dict[str, int]:
    """Accepted rows wanted by cell; nothing for a job without a target."""
    if not job.target.is_set:
        return {}
    like = job.target.balance.like if job.target.balance is not None else None
    rows = (seed for seed in _read(job, [like] if like is not None else []) if isinstance(seed, Seed))
    return cells.wanted(job.target.accepted, rows, copies=recipe.copies)


def _with_ngram(job: Job, seeds: SeedStore) -> Job:
    """The job with its n-gram length chosen, once for all rows, by how long its seeds are; a job's own word wins."""
    if job.dedup.ngram is not None:
        return job
    said = (seeds[i].fields for i in range(min(len(seeds), _MEASURED)))
    lengths = [len(f"{f.get('prompt', '')} {f.get('answer', '')}".split()) for f in said]
    return job.model_copy(update={"dedup": job.dedup.model_copy(update={"ngram": ngram_for(median(lengths))})})


def _read(job: Job, sources: Iterable[Source]) -> Iterator[Seed | RejectedSeed]:
    """Every row of the sources, in their order. Seeds on S3 are reached as the output is."""
    seen: set[str] = set()
    for source in sources:
        yield from read_seeds(
            source,
            paths=files_at(source.path, endpoint_url=job.output.endpoint_url, region=job.output.region),
            open_file=lambda path: open_input(path, endpoint_url=job.output.endpoint_url, region=job.output.region),
            seen=seen,
        )


def _evaluation_ids(job: Job) -> list[list[str]]:
    """What the evaluation sets hold: another version of one keeps other rows out."""
    return [[one.name, *(row.id for row in _read(job, [one]) if isinstance(row, Seed))] for one in job.decontaminate.against]


def evaluation_sets(job: Job, words: Callable[[pa.Array], tuple[Any, Any]]) -> dict[str, EvalTexts]:
    """Each evaluation set by its name, prompts and answers alike. `words` is the fingerprinter's."""
    found = {}
    for one in job.decontaminate.against:
        rows = [seed for seed in _read(job, [one]) if isinstance(seed, Seed)]
        if not rows:
            raise JobError(f"decontaminate.against: {one.name}: wanted rows to stay clear of, got none; fix the path or fields")
        texts = [str(row.fields.get(name) or "") for row in rows for name in ("prompt", "answer")]
        found[one.name] = EvalTexts(*words(pa.array(texts, pa.large_string())), job.decontaminate)
    return found


def _real_seeds(job: Job) -> Iterator[Seed]:
    """Real rows for the evaluation splits. A bad one is an error: nobody should evaluate on less than they think."""
    for one in _read(job, job.split.real):
        if isinstance(one, RejectedSeed):
            if one.reason is Reason.DUPLICATE_SEED:
                continue
            raise JobError(f"split.real: {one.file}:{one.line}: wanted a real row, got {one.reason}; fix the row or drop it")
        if "answer" not in one.fields:
            raise JobError(
                f"split.real: {one.source}:{one.line}: wanted a completion, got no field 'answer'; map it under fields"
            )
        yield one


def _mixed(job: Job) -> Iterator[Seed | RejectedSeed]:
    """Real rows to mix in. One without an answer is no row."""
    for one in _read(job, job.mix.real if job.mix is not None else []):
        if isinstance(one, Seed) and not isinstance(one.fields.get("answer"), str):
            yield RejectedSeed(Reason.MISSING_FIELD, one.source, one.line, "no 'answer'")
        else:
            yield one


def _planned_seeds(placed: Iterable[Seed | RejectedSeed], count: SeedCount) -> Iterator[Seed]:
    for one in placed:
        count.read += 1
        if isinstance(one, RejectedSeed):
            _reject(count, one.reason, one.file, one.line)
        else:
            count.planned += 1
            yield one


def _shown_seeds(job: Job, seeds: Iterator[Seed], count: SeedCount) -> Iterator[Seed]:
    """The seeds as models will see them: without personal data where the job says so."""
    if not job.scrubs_seeds:
        return seeds

    def refuse(reason: Reason, seed: Seed) -> None:
        count.planned -= 1
        _reject(count, reason, seed.source, seed.line)

    return scrubbed_seeds(seeds, scrubber=open_scrubber(job.scrub), refuse=refuse)


def _reject(count: SeedCount, reason: Reason, file: str, line: int) -> None:
    count.rejected[reason.value] += 1
    count.where.append({"reason": reason.value, "file": file, "line": line})


def _refuse_synthetic_only_eval(job: Job, seeds: SeedStore, real: list[Seed]) -> None:
    evaluated = any(code != SPLITS.index("train") for code in seeds.splits)
    if evaluated and not real and not job.split.allow_synthetic_only_eval:
        raise JobError(
            "split.real: wanted real rows beside synthetic evaluation rows, got none; name them under split.real, or set "
            "split.fractions: {train: 1.0}, or say allow_synthetic_only_eval: true, which the card will repeat in bold"
        )
