"""Sections that say where a dataset comes from: provenance, what was asked, how rows were filtered, digests, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synth_ray.report.blocks import Facts, Folded, Section, Table, Text, section
from synth_ray.report.numerals import count, number, short, size
from synth_ray.report.spent import dumped

Manifest = Mapping[str, Any]

_NAMED = (
    ("recipe", "Recipe"),
    ("teacher", "Teacher"),
    ("revision", "Revision of the teacher"),
    ("teacher_license", "Licence of the teacher"),
    ("teacher_terms", "Terms of the teacher"),
    ("license", "Licence of the dataset"),
    ("created_at", "Published at"),
)
_DIGESTS = (
    ("dataset_digest", "Rows", "the same for the same rows in the same order, whatever files they are in"),
    ("ask_digest", "What was asked", "seeds, recipe, models, sampling and plan"),
    ("job_digest", "How it was decided", "what was asked, and every check and limit"),
)


def sections(manifest: Manifest) -> Iterator[Section | None]:
    yield section(
        "provenance",
        "Origin",
        "Where it comes from",
        "Who wrote the rows, of what, and under which terms.",
        list(_provenance(manifest)),
    )
    yield section(
        "settings",
        "Settings",
        "Settings",
        "What the teacher was asked with, and what its rows were filtered by.",
        list(_settings(manifest)),
    )
    yield section("identity", "Identity", "Identity", "Two datasets with equal digests are equal.", list(_identity(manifest)))


def _provenance(manifest: Manifest) -> Iterator[Facts | Table | None]:
    facts = [(title, short(manifest[name], 400), "") for name, title in _NAMED if manifest.get(name)]
    if facts:
        yield Facts(facts)
    sources = [
        (short(s.get("path", ""), 160), short(s.get("license") or "not stated", 80)) for s in (manifest.get("sources") or ())[:50]
    ]
    if sources:
        yield Table("Sources", ("file", "licence"), sources)


def _settings(manifest: Manifest) -> Iterator[Text | Folded | None]:
    for name, text in list((manifest.get("templates") or {}).items())[:10]:
        yield Folded(
            f"Prompt template: {short(name, 60)}",
            [Text("As the job has it", short(text if isinstance(text, str) else dumped(text), 4000))],
        )
    for key, title in (("sampling", "Sampling"), ("filters", "Filters")):
        if manifest.get(key):
            yield Folded(title, [Text("As resolved", dumped(manifest[key]))])


def _identity(manifest: Manifest) -> Iterator[Facts | Table | Folded | None]:
    digests = [(title, short(manifest[name], 64), note) for name, title, note in _DIGESTS if manifest.get(name)]
    if digests:
        yield Facts(digests)
    files = [file for key in ("files", "rejected_files") for file in manifest.get(key) or ()]
    if files:
        total = size(sum(number(file.get("bytes")) for file in files))
        yield Facts([("Files", f"{count(len(files))}, {total} in all", "listed with their digests in manifest.json")])
    versions = [(short(name, 60), short(version, 60)) for name, version in list((manifest.get("versions") or {}).items())[:30]]
    if versions:
        yield Folded("Versions of the software", [Table("Versions", ("package", "version"), versions)])
