"""`synth-ray sample`: draws rows for people to review, and tells what their verdicts say."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from synth_ray.check.agreement import MIN_GOLD, Agreement
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.dataset.samples import json_line
from synth_ray.dataset.trace import rows_with_ids
from synth_ray.errors import JobError
from synth_ray.recipes.with_judge import SCORE
from synth_ray.review.draw import draw
from synth_ray.review.estimates import accept_rate, agreement_between, agreement_with
from synth_ray.review.forms import question_of, write_form
from synth_ray.review.verdicts import Reviewed, majority, read_verdicts
from synth_ray.storage import Storage, open_storage
from synth_ray.storage.job_files import open_input


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    manifest = read_manifest(storage)
    if arguments.verdicts:
        return _tell(storage, manifest, arguments)
    if arguments.gold:
        raise JobError("--gold: wanted the --verdicts that gold rows are made of, got none; add them")
    return _draw(storage, manifest, arguments)


def _draw(storage: Storage, manifest: Manifest, arguments: argparse.Namespace) -> int:
    drawn = draw(storage, manifest, arguments.n, by=arguments.by or "", rejected=arguments.rejected)
    kind = arguments.format
    name = arguments.prefix.rstrip("/").rpartition("/")[2]
    target = Path(arguments.to or f"{name}-review{'' if kind == 'argilla' else f'.{kind}'}")
    for path, content in write_form(drawn, kind).items():
        _create(target / path if path else target, content)
    strata = len({entry.stratum for entry in drawn})
    print(f"sample    {len(drawn):,} rows of {strata:,} strata: {target}")
    print("next      fill in `verdict` (accept or reject), then: synth-ray sample PREFIX --verdicts FILE")
    return 0


def _create(file: Path, content: bytes) -> None:
    """Raises JobError where a file is there already, or where none can be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as out:
            out.write(content)
    except FileExistsError:
        raise JobError(f"{file}: wanted to write a new file, got one that is there; move it away, or name another") from None
    except OSError as error:
        raise JobError(f"{file}: wanted to write a file here, got {error.strerror}; name a place on this machine") from None


def _tell(storage: Storage, manifest: Manifest, arguments: argparse.Namespace) -> int:
    reviews = [reviewed for path in arguments.verdicts for reviewed in _read(path)]
    people = majority(reviews)
    rate = accept_rate(people.values())
    if rate is None:
        raise JobError("--verdicts: wanted rows with a verdict, got none; fill in accept or reject")
    rows = rows_with_ids(storage, (*manifest.files, *manifest.rejected_files), people)
    if unknown := len(people.keys() - rows.keys()):
        wanted = f"--verdicts: wanted rows of {storage.url}, got {unknown:,} that it does not have"
        raise JobError(f"{wanted}; name the forms of this output")
    of = _reviewed_kind(rows.values())
    disputed = len({verdict.id for reviewed in reviews for verdict in reviewed}) - len(people)
    print(f"reviewed  {rate.rows:,} rows" + (f", and {disputed:,} on which reviewers are divided" if disputed else ""))
    print(f"accepted  {rate.rate:.1%} of the {of} rows (95 %: {rate.low:.1%} to {rate.high:.1%})")
    _print_agreement("reviewers", agreement_between(reviews))
    _print_agreement("judge", agreement_with(_judged(manifest, rows), people))
    if arguments.gold:
        _write_gold(Path(arguments.gold), people, rows)
    return 0


def _reviewed_kind(rows: Iterable[Mapping[str, Any]]) -> str:
    """Which rows the reviewed ones stand for. Raises JobError for a mixture, whose weights do not fit together."""
    kinds = {"rejected" if row.get("reason") else "accepted" for row in rows}
    if len(kinds) > 1:
        raise JobError("--verdicts: wanted forms of accepted rows or of rejected ones, got both; tell them one after the other")
    return kinds.pop()


def _read(path: str) -> list[list[Reviewed]]:
    with open_input(path) as file:
        return read_verdicts(file, name=path)


def _print_agreement(who: str, agreement: Agreement | None) -> None:
    if agreement is None:
        return
    kappa = "kappa undefined"
    if not isnan(agreement.kappa):
        kappa = f"kappa {agreement.kappa:.2f} (95 %: {agreement.low:.2f} to {agreement.high:.2f})"
    print(f"{who:<10}{agreement.n:,} verdicts in common, {agreement.observed:.1%} agree, {kappa}")


def _judged(manifest: Manifest, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Whether the judge found each row good, where there is a judge."""
    enough = manifest.judge.get("min_score")
    if enough is None:
        return {}
    return {name: row[SCORE] >= enough for name, row in rows.items() if row.get(SCORE) is not None}


def _write_gold(file: Path, people: Mapping[str, Reviewed], rows: Mapping[str, Mapping[str, Any]]) -> None:
    gold = [
        {"prompt": question_of(rows[name]), "answer": rows[name]["completion"], "good": verdict.good}
        for name, verdict in people.items()
    ]
    _create(file, b"".join(json_line(row) + b"\n" for row in gold))
    few = f"; a judge that may reject rows needs {MIN_GOLD}" if len(gold) < MIN_GOLD else ""
    print(f"gold      {len(gold):,} rows for check.judge.gold: {file}{few}")
