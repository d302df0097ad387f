"""Read the sources a job names: seeds, real rows to evaluate on or to mix in, evaluation sets. Every row is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.seeds import Source
from synth_ray.plan.cells import Cells, FieldCodes
from synth_ray.plan.hold_out import hold_out_and_plant
from synth_ray.plan.rows import is_data
from synth_ray.plan.seeds import RejectedSeed, SeedStore, read_seeds
from synth_ray.plan.splits import split_of
from synth_ray.prepare.split_groups import SplitAssigner
from synth_ray.recipes.contract import Recipe
from synth_ray.records import Origin, Reason, Seed, digest
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.scrub.seeds import scrubbed_seeds
from synth_ray.storage.job_files import files_at, open_input

_MAX_PLACES = 20
REQUESTS_PER_TARGET_ROW = 10


@dataclass(slots=True)
class SeedCount:
    """Counts of one source. Law: read = planned + rejected.

    `rejected_at`: by reason, file and line ("seeds.jsonl:7", or "seeds.csv:7-9" for a row of several) of the first 20 rejected
    seeds.
    """

    read: int = 0
    planned: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_at: dict[str, list[str]] = field(default_factory=dict)

    def reject(self, reason: Reason, file: str, line: int, lines: int = 1) -> None:
        self.rejected[reason.value] += 1
        places = self.rejected_at.setdefault(reason.value, [])
        if len(places) < _MAX_PLACES:
            places.append(f"{file}:{line}" if lines == 1 else f"{file}:{line}-{line + lines - 1}")

    def summary(self) -> str:
        return ", ".join(f"{reason} {n}" for reason, n in sorted(self.rejected.items())) or "none"


@dataclass(frozen=True, slots=True)
class Sources:
    """The rows of a job's sources, each with its split. `similar`: codes of the fields that few-shot companions share."""

    seeds: SeedStore
    held_out: list[Seed]
    count: SeedCount
    real: list[Seed]
    mixed: list[Seed]
    mix_count: SeedCount
    cells: Cells
    similar: FieldCodes


def read_all(job: Job, recipe: Recipe, options: Any, *, spool: Path) -> Sources:
    """Read every source once; the seeds go to a file in `spool`. Raises JobError where no seed is usable.

    Real evaluation rows come first: seeds near one of them are reserved with it.
    """
    splits, count, mix_count = SplitAssigner(job.split), SeedCount(), SeedCount()
    real = list(splits.reserve_for_eval(_real_seeds(job)))
    mixed = list(_planned_seeds(splits.assign(_mixed_seeds(job)), mix_count))
    cells, similar = Cells(job.target.balance), FieldCodes(recipe.alike(options))
    held_out: list[Seed] = []
    read = splits.assign(read_sources(job, job.seeds, key="seeds")) if job.seeds else numbered_seeds(job, recipe)
    assigned = hold_out_and_plant(read, recipe.shield(options), held_out)
    shown = _scrubbed_if_remote(job, _planned_seeds(assigned, count), count)
    seeds = SeedStore.write(spool, similar.observe(cells.seed_codes.observe(shown)))
    if not len(seeds):
        raise JobError(
            f"seeds: wanted at least one usable seed, got {count.read} read, rejected: {count.summary()}; fix the source"
        )
    return Sources(seeds, held_out, count, real, mixed, mix_count, cells, similar)


def numbered_seeds(job: Job, recipe: Recipe) -> Iterator[Seed]:
    """Seeds that are numbers and have no text, one for each planned request, for a job without any.

    Raises JobError for a recipe that needs seeds, and where the job does not say how many requests there are.
    """
    if not recipe.seedless:
        raise JobError(f"seeds: wanted seeds for recipe '{recipe.name}', got none; name their source")
    wanted = job.plan.requests or job.target.max_requests or REQUESTS_PER_TARGET_ROW * (job.target.accepted or 0)
    if not wanted:
        raise JobError("plan.requests: wanted how many requests to make without seeds, got nothing; set it, or target.accepted")
    for number in range(wanted):
        name = digest("number", number)
        split = split_of(name, job.split.fractions, salt=job.split.salt)
        yield Seed(name, name, split, {"prompt": "", "number": number}, "", number, Origin.SYNTHETIC)


def read_sources(job: Job, sources: Iterable[Source], *, key: str) -> Iterator[Seed | RejectedSeed]:
    """Every row of the sources, in order. Seeds on S3 are read with the output's endpoint and region.

    `key` is the job key that names the sources: an error begins with it.
    """
    seen: set[str] = set()
    where = {"endpoint_url": job.output.endpoint_url, "region": job.output.region}
    for source in sources:
        try:
            yield from read_seeds(
                source, paths=files_of(source, **where), open_file=lambda path: open_input(path, **where), seen=seen
            )
        except JobError as error:
            raise type(error)(f"{key}: {error}") from None


def files_of(source: Source, **where: Any) -> list[str]:
    """The files of a source, in order. Raises JobError, without the job key that names it."""
    return files_at(source.path, is_data=is_data if source.format == "auto" else _any_file, **where)


def _any_file(path: str) -> bool:
    """Where the job names the format, every file of a folder is one of data, whatever its ending."""
    return True


def evaluation_ids(job: Job) -> list[list[str]]:
    """The ids of each evaluation set's rows: another version of a set rejects other rows, so they are in the job digest."""
    return [
        [source.name, *(row.id for row in read_sources(job, [source], key="decontaminate.against") if isinstance(row, Seed))]
        for source in job.decontaminate.against
    ]


def evaluation_sets(job: Job, words: Callable[[pa.Array], tuple[Any, Any]]) -> dict[str, QuotedTexts]:
    """Each evaluation set by name, prompts and answers alike. `words` is the fingerprinter's."""
    sets = {}
    for source in job.decontaminate.against:
        rows = [seed for seed in read_sources(job, [source], key="decontaminate.against") if isinstance(seed, Seed)]
        if not rows:
            raise JobError(
                f"decontaminate.against: {source.name}: wanted rows to stay clear of, got none; fix the path or fields"
            )
        texts = [str(row.fields.get(name) or "") for row in rows for name in ("prompt", "answer")]
        sets[source.name] = QuotedTexts(*words(pa.array(texts, pa.large_string())), job.decontaminate)
    return sets


def _real_seeds(job: Job) -> Iterator[Seed]:
    """Real rows for the evaluation splits. A bad row is an error: nobody should evaluate on less than they think."""
    for row in read_sources(job, job.split.real, key="split.real"):
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
    for row in read_sources(job, job.mix.real if job.mix is not None else [], key="mix.real"):
        if isinstance(row, Seed) and not isinstance(row.fields.get("answer"), str):
            yield RejectedSeed(Reason.MISSING_FIELD, row.source, row.line, "no 'answer'")
        else:
            yield row


def _planned_seeds(placed: Iterable[Seed | RejectedSeed], count: SeedCount) -> Iterator[Seed]:
    for row in placed:
        count.read += 1
        if isinstance(row, RejectedSeed):
            count.reject(row.reason, row.file, row.line, row.lines)
        else:
            count.planned += 1
            yield row


def _scrubbed_if_remote(job: Job, seeds: Iterator[Seed], count: SeedCount) -> Iterator[Seed]:
    """The seeds as models will see them: scrubbed where the job says so, or where prompts leave this machine."""
    if not job.scrubs_seeds:
        return seeds

    def refuse(reason: Reason, seed: Seed) -> None:
        count.planned -= 1
        count.reject(reason, seed.source, seed.line)

    return scrubbed_seeds(seeds, scrubber=open_scrubber(job.scrub), refuse=refuse)
