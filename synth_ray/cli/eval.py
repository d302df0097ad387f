"""`synth-ray eval`: scores a system on evaluation cases, and says whether it got worse."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from synth_ray.dataset.ledger import Ledger
from synth_ray.errors import GateFailed, JobError
from synth_ray.evaluate.asking import DEFAULT_RUBRIC, Evaluation, Settings, evaluate, forget_answers
from synth_ray.evaluate.cases import Cases, read_cases
from synth_ray.evaluate.comparison import (
    Comparison,
    baseline_lines,
    compare,
    outcomes_of,
    read_baseline,
    refuse_foreign,
)
from synth_ray.evaluate.results import write_results
from synth_ray.evaluate.summary import Gates, summarise
from synth_ray.evaluate.target import Place, Target, open_target
from synth_ray.job.judge import Judging
from synth_ray.job.problems import Where, bad_job, problems_of
from synth_ray.job.roles import off_scale
from synth_ray.job.sampling import Sampling
from synth_ray.job.section import Section
from synth_ray.job.seeds import Source
from synth_ray.job.yaml_file import read_yaml
from synth_ray.storage import open_storage

_MOST_SHOWN = 10
_LONGEST_ID = 16


def main(arguments: argparse.Namespace) -> int:
    cases = read_cases(_source(arguments), splits=arguments.split, by=arguments.by)
    baseline = read_baseline(arguments.baseline) if arguments.baseline else None
    if baseline is not None:
        refuse_foreign(baseline, cases.cases)
    target, judge, settings = _target(arguments), _judge(arguments), _settings(arguments)
    _refuse_bad_places(arguments)
    store = open_storage(arguments.output)
    if arguments.fresh:
        forget_answers(store)
    with _Progress() as progress:
        evaluation = evaluate(cases.cases, target, settings, store, judge=judge, watch=progress.show)
    comparison = compare(outcomes_of(evaluation.results), baseline) if baseline is not None else None
    summary = {
        "target": target.name,
        "judge": judge.name if judge else None,
        "repeated": cases.repeated,
        **summarise(evaluation, comparison),
    }
    gates = Gates(arguments.min_pass_rate, arguments.tolerance).verdicts(summary, comparison)
    write_results(store, evaluation.results, summary, gates)
    forget_answers(store)
    _print(arguments, evaluation, {**summary, "gates": gates}, comparison, cases)
    return _end(arguments, evaluation, gates)


def _refuse_bad_places(arguments: argparse.Namespace) -> None:
    """Raises JobError, before anything is asked, for places where results would destroy something or could not be read again."""
    if Ledger(open_storage(arguments.output)).is_pinned:
        raise JobError(f"--output: wanted a folder of its own, got the output of a run, '{arguments.output}'; name another")
    place = arguments.write_baseline
    if place is not None and not place.endswith(".jsonl"):
        raise JobError(f"--write-baseline: wanted a file whose name ends in .jsonl, got '{place}'; name one")


def _source(arguments: argparse.Namespace) -> Source:
    fields = dict(_pair(text) for text in arguments.field)
    return _section(Source, {"path": arguments.cases, "fields": fields, "limit": arguments.limit, "allow_depth": 100}, "eval")


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not equals or not name or not column:
        raise JobError(f"--field: wanted NAME=COLUMN, as answer=gold, got '{text[:80]}'")
    return name, column


def _target(arguments: argparse.Namespace) -> Target:
    shared = {"in_flight": arguments.in_flight, "timeout_s": arguments.timeout}
    return open_target(Place(arguments.target, arguments.model, arguments.key_env, **shared))


def _judge(arguments: argparse.Namespace) -> Target | None:
    if not arguments.judge:
        if arguments.judge_model or arguments.judge_key_env:
            raise JobError("--judge: wanted the judge of --judge-model and --judge-key-env, got none; add --judge URL")
        if arguments.verify == "judge" or arguments.rubric:
            raise JobError(
                "--judge: wanted the judge of --verify judge and --rubric, got none; add --judge URL --judge-model NAME"
            )
        return None
    shared = {"in_flight": arguments.in_flight, "timeout_s": arguments.timeout, "option": "--judge"}
    return open_target(Place(arguments.judge, arguments.judge_model, arguments.judge_key_env, **shared))


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        system=arguments.system,
        sampling=_section(Sampling, {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}, "eval"),
        in_flight=arguments.in_flight,
        timeout_s=arguments.timeout,
        verify=arguments.verify or "",
        rubric=_rubric(arguments.rubric) if arguments.rubric else DEFAULT_RUBRIC,
    )


def _rubric(path: str) -> Judging:
    """The keys of `check.judge` in a file of their own."""
    document, lines = read_yaml(path)
    rubric = _section(Judging, document, path, lines)
    for problem in off_scale(rubric):
        raise JobError(f"{path}: {problem}")
    return rubric


AnySection = TypeVar("AnySection", bound=Section)


def _section(kind: type[AnySection], values: dict[str, Any], file: str, lines: Mapping[Where, int] | None = None) -> AnySection:
    """The section of these values. Raises BadJob."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise bad_job(problems_of(error, kind, file=file, lines=lines or {})) from None


def _end(arguments: argparse.Namespace, evaluation: Evaluation, gates: Mapping[str, str | None]) -> int:
    """Tell which gates fail. A baseline is written by an evaluation that passes alone: else the next would not notice."""
    failed = [why for why in gates.values() if why]
    for why in failed:
        print(f"synth-ray: {why}", file=sys.stderr)
    if arguments.write_baseline:
        if failed:
            print(f"synth-ray: {arguments.write_baseline} is left as it is: a gate failed", file=sys.stderr)
        else:
            folder, _, name = arguments.write_baseline.rpartition("/")
            folder = folder or ("/" if arguments.write_baseline.startswith("/") else ".")
            open_storage(folder).write(name, baseline_lines(evaluation.results))
    return GateFailed.exit_code if failed else 0


# What people see.


class _Progress:
    """A counter on the terminal; nothing where standard error is none."""

    def __enter__(self) -> _Progress:
        self._shows = sys.stderr.isatty()
        return self

    def show(self, done: int, total: int) -> None:
        if self._shows:
            print(f"\rcase {done:,} of {total:,}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._shows:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _print(
    arguments: argparse.Namespace,
    evaluation: Evaluation,
    summary: Mapping[str, Any],
    comparison: Comparison | None,
    cases: Cases,
) -> None:
    if arguments.json:
        print(json.dumps(summary, indent=1, sort_keys=True))
        return
    repeated = f", {cases.repeated:,} repeated rows left out" if cases.repeated else ""
    continued = f", {evaluation.continued:,} answered before an interruption" if evaluation.continued else ""
    print(f"cases     {summary['cases']:,}{repeated}{continued}")
    print(f"passed    {_rate(summary)}")
    print(f"wrong     {summary['wrong']:,}")
    print(f"failed    {summary['failed']:,}{_why(summary['failed_for'], 'no answer')}")
    print(f"undecided {summary['undecided']:,}{_why(summary['undecided_for'], 'not counted as passed')}")
    for name, shares in summary["by"].items():
        _print_group(name, shares)
    if comparison is not None:
        _print_comparison(comparison)
    root = arguments.output.rstrip(os.sep)
    for name, file in (("results", "results.jsonl"), ("summary", "eval.json"), ("junit", "junit.xml")):
        print(f"{name:<9} {root}/{file}")


def _rate(shares: Mapping[str, Any]) -> str:
    interval = f"95 %: {shares['low']:.1%} to {shares['high']:.1%}"
    return f"{shares['passed']:,} of {shares['cases']:,}, {shares['pass_rate']:.1%} ({interval})"


def _why(counts: Mapping[str, int], meaning: str) -> str:
    listed = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
    return f" ({meaning}; {listed})" if listed else ""


def _print_group(name: str, shares: Mapping[str, Mapping[str, Any]]) -> None:
    """The values of one field, the worst first; nothing where all cases have the same."""
    if len(shares) < 2:
        return
    print(f"by {name}")
    worst = sorted(shares.items(), key=lambda item: (item[1]["pass_rate"], item[0]))
    for value, share in worst[:_MOST_SHOWN]:
        print(f"  {' '.join(value.split())[:32] or '-':<32}  {_rate(share)}")
    if len(shares) > _MOST_SHOWN:
        print(f"  and {len(shares) - _MOST_SHOWN} more, in eval.json")


def _print_comparison(comparison: Comparison) -> None:
    d = comparison.difference
    left_out = {"new": comparison.only_now, "gone": comparison.only_before, "changed": comparison.changed}
    apart = "".join(f", {n:,} {word}" for word, n in left_out.items() if n)
    print(f"baseline  {comparison.paired:,} cases compared{apart}")
    print(f"  difference {d.value:+.1%} (95 %: {d.low:+.1%} to {d.high:+.1%}), McNemar's p {_p(comparison.p)}")
    for name, ids in (("failing", comparison.newly_failing), ("passing", comparison.newly_passing)):
        print(f"  newly {name} {len(ids):,}{': ' + _listed(ids) if ids else ''}")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _listed(ids: list[str]) -> str:
    """The first ids; of long ones as much as tells them apart."""
    more = f" and {len(ids) - _MOST_SHOWN:,} more" if len(ids) > _MOST_SHOWN else ""
    return ", ".join(name[:_LONGEST_ID] for name in ids[:_MOST_SHOWN]) + more
