"""Everything that can be known to be wrong with a job before a GPU is asked for, reported at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from synth_ray.ask.tool_calls import no_recorder, open_tools
from synth_ray.ask.top_k import ready_models
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.check.checker import open_checker
from synth_ray.dedup.embedding import open_embedder
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.errors import JobError, StorageError, SynthRayError
from synth_ray.job.device_memory import memory_notes, refuse_full_devices
from synth_ray.job.document import Job
from synth_ray.job.output import Output
from synth_ray.job.problems import BadJob
from synth_ray.job.section import Section
from synth_ray.job.seeds import Source
from synth_ray.prepare.driver_memory import memory_note
from synth_ray.prepare.feasibility import refuse_short_lag
from synth_ray.prepare.preparation import prepare, refuse_train_share
from synth_ray.prepare.reference import open_quality_embedder
from synth_ray.prepare.sources import evaluation_sets, files_of
from synth_ray.publish.indexing import refuse_missing_index, refuse_other_index
from synth_ray.recipes.catalogue import find, options_of, refuse_missing_roles
from synth_ray.recipes.contract import Recipe
from synth_ray.recipes.templates import compile_template
from synth_ray.route.model_preflight import model_checks
from synth_ray.route.part_processes import refuse_unshared_ray
from synth_ray.route.tables import sink_problems
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.storage import Retry, open_storage, split_url
from synth_ray.storage.job_files import open_input

T = TypeVar("T")

_SHORT_RETRY = Retry(budget_s=20.0)
"""A store that is down is told soon, since nothing is lost by trying again later."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found in a good job's inputs. `notes` are no faults, and worth knowing before the run."""

    seeds: int
    seeds_rejected: int
    real: int
    job_digest: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    """The problems found so far, each once."""

    file: str
    problems: list[str] = field(default_factory=list)

    def probe(self, step: Callable[[], T]) -> T | None:
        """The step's result; None where it found a problem, which is noted."""
        try:
            return step()
        except BadJob as error:
            self.problems += [line for line in str(error).splitlines() if line not in self.problems]
        except SynthRayError as error:
            line = f"{self.file}: {error}"
            self.problems += [line] if line not in self.problems else []
        return None


def preflight(job: Job, *, file: str = "job", elsewhere: bool = False) -> Preflight:
    """Open everything the job names, except its engines; write nothing.

    `elsewhere`: the job will run on other machines, so that folders of theirs and their vLLM need not be here. Raises BadJob with
    every problem, a line each.
    """
    findings = _Findings(file)
    options = findings.probe(lambda: options_of(job.recipe, file=file))
    if options is not None:
        _probe_recipe(job, find(job.recipe.name), options, findings)
    if not elsewhere:
        findings.probe(lambda: refuse_unshared_ray(job))
    missing_sources = _probe_sources(job, findings)
    _probe_stages(job, options, findings)
    _probe_places(job, findings, elsewhere=elsewhere)
    on_cpu = not elsewhere and is_cpu_build()
    findings.probe(lambda: refuse_full_devices(job, on_cpu=on_cpu))
    with tempfile.TemporaryDirectory() as spool:
        # with a source missing, preparation would only say so again
        ready = options is not None and not missing_sources
        prepared = findings.probe(lambda: prepare(job, spool=Path(spool), file=file)) if ready else None
    if prepared is not None:
        for prefix in prepared.job.dedup.against:
            findings.probe(lambda prefix=prefix: refuse_other_index(prepared, prefix))  # type: ignore[misc]
        # A catalog may be reached, and its library be installed, only where the job runs.
        findings.problems += [] if elsewhere else [f"{file}: {problem}" for problem in sink_problems(prepared)]
    if findings.problems or prepared is None:
        raise BadJob("\n".join(findings.problems))
    notes = tuple(filter(None, ["" if elsewhere else memory_note(prepared), *memory_notes(job, on_cpu=on_cpu)]))
    rejected = prepared.count.rejected.total()
    return Preflight(prepared.count.planned, rejected, prepared.real.num_rows, prepared.job_digest, notes=notes)


def missing_resources(job: Job, *, file: str, stages: bool) -> list[str]:
    """The problems of what the job names, a line each: sources, models, output and, with `stages`, what its checks and its scrub
    need. For a job that is wrong in other places, of which nothing else can be said.
    """
    findings = _Findings(file)
    _probe_sources(job, findings)
    if stages:
        _probe_stages(job, None, findings)
    _probe_places(job, findings)
    return findings.problems


def _probe_recipe(job: Job, recipe: Recipe, options: Section, findings: _Findings) -> None:
    findings.probe(lambda: refuse_missing_roles(recipe, options, job.models))
    findings.probe(lambda: ready_models(job))
    findings.probe(lambda: refuse_short_lag(job))
    findings.probe(lambda: refuse_train_share(recipe, job))
    for name, source in recipe.templates(options).items():
        findings.probe(lambda name=name, source=source: _check_template(name, source))  # type: ignore[misc]
    findings.probe(lambda: open_tools(recipe, options, no_recorder if job.limits.journal_flush_s else None).close())


def _check_template(name: str, source: str) -> None:
    try:
        compile_template(source)
    except JobError as error:
        raise JobError(f"recipe.{name}: {error}") from None


def _probe_sources(job: Job, findings: _Findings) -> bool:
    """Open every file of every source. Whether any could not be opened."""
    before = len(findings.problems)
    for key, source in _sources(job):
        paths = findings.probe(lambda source=source, key=key: _files_of(key, source, job.output))  # type: ignore[misc]
        for path in paths or ():
            findings.probe(lambda path=path, key=key: _open(key, path, job.output))  # type: ignore[misc]
    return len(findings.problems) > before


def _sources(job: Job) -> Iterator[tuple[str, Source]]:
    """Every source that the job names, with its key."""
    balance, judge = job.target.balance, job.check.judge
    named: dict[str, list[Source]] = {
        "seeds": job.seeds,
        "split.real": job.split.real,
        "mix.real": job.mix.real if job.mix is not None else [],
        "decontaminate.against": list(job.decontaminate.against),
        "target.balance.like": [balance.like] if balance is not None and balance.like is not None else [],
        "check.judge.gold": judge.gold if judge is not None else [],
        "quality.reference": job.quality.reference if job.quality.measure else [],
    }
    for key, sources in named.items():
        for place, source in enumerate(sources):
            yield f"{key}.{place}" if len(sources) > 1 else key, source


def _files_of(key: str, source: Source, output: Output) -> list[str]:
    try:
        return files_of(source, **output.server_for(source.path))
    except SynthRayError as error:
        raise JobError(f"{key}: {error}") from None


def _open(key: str, path: str, output: Output) -> None:
    try:
        open_input(path, **output.server_for(path)).close()
    except SynthRayError as error:
        raise JobError(f"{key}: {error}") from None


def _probe_stages(job: Job, options: Section | None, findings: _Findings) -> None:
    """Open what checks, scrubs and compares rows, each by itself, so that each says what it misses."""
    schema = find(job.recipe.name).schema(options) if options is not None else None
    findings.probe(lambda: open_checker(job.check, recipe_schema=schema))
    findings.probe(lambda: open_scrubber(job.scrub))
    semantic = job.dedup.semantic
    if semantic is not None and semantic.model:
        findings.probe(lambda: open_embedder(semantic.model))
    findings.probe(lambda: open_quality_embedder(job.quality))
    for place, source in enumerate(job.decontaminate.against):
        key = f"decontaminate.against.{place}" if len(job.decontaminate.against) > 1 else "decontaminate.against"
        if not any(f" {key}: " in problem for problem in findings.problems):  # of a missing file this would only say so again
            findings.probe(lambda source=source: _check_evaluation_set(job, source))  # type: ignore[misc]


def _check_evaluation_set(job: Job, source: Source) -> None:
    alone = job.decontaminate.model_copy(update={"against": [source]})
    evaluation_sets(job.model_copy(update={"decontaminate": alone}), Fingerprinter(job.dedup).words)


def _probe_places(job: Job, findings: _Findings, *, elsewhere: bool = False) -> None:
    for role, model in job.models.by_role().items():
        for check in model_checks(role, model, job, elsewhere=elsewhere):
            findings.probe(check)
    for prefix in job.dedup.against:
        findings.probe(lambda prefix=prefix: refuse_missing_index(job, prefix))  # type: ignore[misc]
    if not (elsewhere and split_url(job.output.path)[0] == "file"):
        findings.probe(lambda: _check_output(job.output))


def _check_output(output: Output) -> None:
    """Look at the output's place without writing: a folder that can be made and written, or a bucket that answers a listing."""
    try:
        scheme, _, path = split_url(output.path)
        if scheme == "file":
            _check_folder(Path(path).absolute())
        else:
            store = open_storage(output.path, endpoint_url=output.endpoint_url, region=output.region, retry=_SHORT_RETRY)
            next(iter(store.list("_synth/job/")), None)  # of a folder that holds nothing, however much the output does
    except StorageError as error:
        raise JobError(f"output.path: {error}") from None


def _check_folder(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise JobError(f"output.path: wanted a folder, got '{there}', which is a file; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise JobError(
            f"output.path: wanted a folder to write to, got '{there}', which this user may not write; name another one"
        )
