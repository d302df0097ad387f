"""Read the sources a job names: seeds, real rows to evaluate on or to mix in, evaluation sets. Every row is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.digest_numbers import DigestNumbers
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.seeds import Source
from synth_ray.plan.cells import Cells, FieldCodes
from synth_ray.plan.hold_out import hold_out_and_plant
from synth_ray.plan.rows import is_data
from synth_ray.plan.seed_store import SeedColumns, SeedStore, SeedStoreWriter
from synth_ray.plan.seeds import RejectedSeed, cut_source, read_seeds
from synth_ray.plan.splits import split_of
from synth_ray.prepare.block_processes import blocks_of
from synth_ray.prepare.seed_blocks import REASONS, USABLE, BlockMaker, BlockRules, SeedBlock, names_of, rules_for_seeds
from synth_ray.prepare.split_groups import SplitAssigner, rows_of
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
        self._keep_place(reason, file, line, lines)

    def _keep_place(self, reason: Reason, file: str, line: int, lines: int) -> None:
        places = self.rejected_at.setdefault(reason.value, [])
        if len(places) < _MAX_PLACES:
            places.append(f"{file}:{line}" if lines == 1 else f"{file}:{line}-{line + lines - 1}")

    def observe(self, block: SeedBlock) -> None:
        """Count the rows of a block whose seeds were all decided."""
        self.read += len(block.reasons)
        rejected = np.flatnonzero(block.reasons != USABLE)
        self.planned += len(block.reasons) - len(rejected)
        codes = block.reasons[rejected]
        for code in dict.fromkeys(codes.tolist()):
            places = rejected[codes == code]
            self.rejected[REASONS[code].value] += len(places)
            for i in places[:_MAX_PLACES].tolist():
                self._keep_place(REASONS[code], block.file, int(block.lines[i]), int(block.spans[i]))

    def summary(self) -> str:
        return ", ".join(f"{reason} {n}" for reason, n in sorted(self.rejected.items())) or "none"


@dataclass(frozen=True, slots=True)
class Sources:
    """The rows of a job's sources, each with its split. `similar`: codes of the fields that few-shot companions share."""

    seeds: SeedStore
    held_out: list[Seed]
    count: SeedCount
    real: list[Seed]
    mixed: SeedStore
    mix_count: SeedCount
    cells: Cells
    similar: FieldCodes


def read_all(job: Job, recipe: Recipe, options: Any, *, spool: Path) -> Sources:
    """Read every source once; the seeds go to a file in `spool`. Raises JobError where no seed is usable.

    Real evaluation rows come first: seeds near one of them are reserved with it.
    """
    splits, count, mix_count = SplitAssigner(job.split), SeedCount(), SeedCount()
    real = list(splits.reserve_for_eval(_real_seeds(job)))
    mixed = _write_mixed(job, splits, mix_count, spool)
    cells, similar = Cells(job.target.balance), FieldCodes(recipe.alike(options))
    held_out: list[Seed] = []
    codes = (cells.seed_codes, similar)
    if job.seeds and recipe.shield(options) is None:
        seeds = _write_seeds(job, splits, count, codes, spool)
    else:
        read = _rows_one_by_one(job, splits) if job.seeds else numbered_seeds(job, recipe)
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
    """Every row of the sources, in order. Seeds on the output's cloud are read with its endpoint and region.

    `key` is the job key that names the sources: an error begins with it.
    """
    seen: set[str] = set()
    for source in sources:
        where = job.output.server_for(source.path)
        try:
            yield from read_seeds(source, paths=files_of(source, **where), open_file=partial(open_input, **where), seen=seen)
        except JobError as error:
            raise type(error)(f"{key}: {error}") from None


def read_blocks(job: Job, sources: Iterable[Source], rules: BlockRules, *, key: str) -> Iterator[SeedBlock]:
    """As `read_sources`, block by block, by several processes where there is much to read."""
    seen, maker = DigestNumbers(), BlockMaker(rules)
    for source in sources:
        where, rest = job.output.server_for(source.path), source.limit
        try:
            pieces = cut_source(source, paths=files_of(source, **where), open_file=partial(open_input, **where))
            with closing(blocks_of(pieces, maker)) as blocks:
                for block in blocks:
                    part = block if rest is None else block.first(rest)
                    part.reject(~seen.add_new(part.ids), Reason.DUPLICATE_SEED)
                    yield part
                    rest = None if rest is None else rest - len(part.reasons)
                    if rest == 0:
                        break
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


def _write_mixed(job: Job, splits: SplitAssigner, count: SeedCount, spool: Path) -> SeedStore:
    """Real rows to mix in. A row without an answer is rejected."""
    store = SeedStoreWriter(spool, "mixed")
    rules = BlockRules(job.split, job.split.fractions)
    for block in splits.assign(map(_require_answers, read_blocks(job, job.mix.real if job.mix else [], rules, key="mix.real"))):
        count.observe(block)
        store.write_columns(*_columns(block))
    return store.close()


def _require_answers(block: SeedBlock) -> SeedBlock:
    block.reject(~block.answered, Reason.MISSING_FIELD)
    return block


def _write_seeds(
    job: Job, splits: SplitAssigner, count: SeedCount, codes: tuple[FieldCodes, FieldCodes], spool: Path
) -> SeedStore:
    """The seeds as models will see them: scrubbed where the job says so, or where prompts leave this machine."""
    store, shown = SeedStoreWriter(spool), DigestNumbers()
    rules = rules_for_seeds(job, cells=tuple(code.by for code in codes), with_seeds=False)
    for block in splits.assign(read_blocks(job, job.seeds, rules, key="seeds")):
        if rules.scrub is not None:
            _refuse_unshown(block, shown)
        count.observe(block)
        store.write_columns(*_columns(block))
        for code, names in zip(codes, block.cells, strict=True):
            code.add(compress(names, block.usable))
    return store.close()


def _refuse_unshown(block: SeedBlock, shown: DigestNumbers) -> None:
    """Reject the seeds that could not be scrubbed, and those that the scrub made equal to an earlier one."""
    for code in np.unique(block.refused[block.refused != USABLE]).tolist():
        block.reject(block.refused == code, REASONS[code])
    usable = np.flatnonzero(block.usable)
    again = np.zeros(len(block.places), bool)
    again[usable[~shown.add_new(block.shown_ids[usable])]] = True
    block.reject(again, Reason.DUPLICATE_SEED)


def _columns(block: SeedBlock) -> tuple[SeedColumns, str]:
    usable = np.flatnonzero(block.usable)
    lines = block.lines[block.places]
    ids, lineages, fields = block.shown_ids[usable], block.lineages[usable], block.fields.take(pa.array(usable))
    splits, lines, origins, depths = (column[usable] for column in (block.splits, lines, block.origins, block.depths))
    return SeedColumns(names_of(ids), names_of(lineages), splits, fields, lines, origins, depths), block.file


def _rows_one_by_one(job: Job, splits: SplitAssigner) -> Iterator[Seed | RejectedSeed]:
    rules = rules_for_seeds(job, cells=(), with_seeds=True)
    for block in splits.assign(read_blocks(job, job.seeds, rules, key="seeds")):
        yield from rows_of(block)


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
