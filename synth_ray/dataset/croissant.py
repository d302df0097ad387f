"""`croissant.json`: the dataset in the Croissant vocabulary of MLCommons, for catalogues and loaders that read it.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, with its RAI terms for responsible use and W3C PROV for where
the rows come from. Paths are relative to the file, so that a copy of the dataset is described as well as the original.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from synth_ray.dataset.card.head import languages_of
from synth_ray.dataset.card.licence import licence_url
from synth_ray.dataset.card.limits import limits_of
from synth_ray.dataset.card.markdown import without_folders
from synth_ray.dataset.croissant_context import CONTEXT
from synth_ray.dataset.manifest import Manifest
from synth_ray.records import LOGPROBS, MESSAGES, THOUGHT_MESSAGES
from synth_ray.storage import Storage

PATH = "croissant.json"
MAX_FILES = 1000
"""Files named one by one, with their sha256. Of a dataset with more parts only patterns are given; `manifest.json` names each."""

_PARQUET = "application/x-parquet"
_TYPES = {
    "string": "sc:Text",
    "double": "sc:Float",
    "bool": "sc:Boolean",
    "int8": "sc:Integer",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
}
_LISTS = {
    "list<item: string>": "sc:Text",
    "list<item: uint32>": "sc:Integer",
    "list<item: halffloat>": "sc:Float",
}
_PARTS_OF_LISTS: dict[str, dict[str, str]] = {
    str(MESSAGES): dict.fromkeys(("role", "content"), "sc:Text"),
    str(THOUGHT_MESSAGES): dict.fromkeys(("role", "content", "reasoning"), "sc:Text"),
    str(LOGPROBS): {"token": "sc:Text", "id": "sc:Integer", "logprob": "sc:Float"},
}


def write_croissant(storage: Storage, manifest: Manifest) -> None:
    storage.write(PATH, croissant_bytes(manifest))


def croissant_bytes(manifest: Manifest) -> bytes:
    return (json.dumps(croissant(manifest), indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def croissant(m: Manifest) -> dict[str, Any]:
    """The JSON-LD of a version."""
    splits = list(dict.fromkeys(file.split for file in m.files))
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": m.name,
        "description": m.description or f"{sum(m.splits.values()):,} rows made with the recipe {m.recipe}.",
        "version": f"1.0.0+{m.dataset_digest[:16] or '0'}",
        "datePublished": m.created_at,
        "citeAs": f"{m.name}, dataset {m.dataset_digest}, made with synth_ray",
        "keywords": ["synth_ray"] if m.is_copied else ["synthetic", "synth_ray"],
    }
    document |= {"license": licence_url(m.license)} if m.license else {}
    document |= {"inLanguage": languages} if (languages := languages_of(m)) else {}
    return document | {
        **_provenance(m),
        **_responsible_use(m),
        "distribution": [*_file_objects(m), *(_file_set(m, split) for split in splits)],
        "recordSet": [_record_set(m, split) for split in splits],
    }


def _file_objects(m: Manifest) -> Iterator[dict[str, Any]]:
    if len(m.files) > MAX_FILES:
        return
    for file in m.files:
        yield {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path.rpartition("/")[2],
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": _PARQUET,
            "sha256": file.sha256,
        }


def _file_set(m: Manifest, split: str) -> dict[str, Any]:
    described = {"@type": "cr:FileSet", "@id": f"files-{split}", "name": f"files-{split}", "encodingFormat": _PARQUET}
    if len(m.files) > MAX_FILES:
        description = (
            f"Parts of the split {split}. There are {len(m.files):,} parts, so they are not named one by one: manifest.json "
            "names each with its sha256. The pattern may also match parts of an earlier version that are still in the folder."
        )
        return described | {"description": description, "includes": f"data/split={split}/*.parquet"}
    parts = [_pattern(file.path) for file in m.files if file.split == split]
    return described | {"description": f"The parts of the split {split}.", "includes": parts}


def _pattern(path: str) -> str:
    """A path as a glob that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def _record_set(m: Manifest, split: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"{m.splits.get(split, 0):,} rows of the split {split}.",
        "key": {"@id": f"{split}/id"},
        "field": [_field(split, name, kind) for name, kind in m.columns.items()],
    }


def _field(split: str, name: str, kind: str) -> dict[str, Any]:
    field: dict[str, Any] = {"@type": "cr:Field", "@id": f"{split}/{name}", "name": name}
    source = {"fileSet": {"@id": f"files-{split}"}, "extract": {"column": name}}
    if kind in _PARTS_OF_LISTS:
        parts = [_part(field, source, part, of) for part, of in _PARTS_OF_LISTS[kind].items()]
        return field | {"isArray": True, "arrayShape": "-1", "subField": parts}
    if kind in _LISTS:
        return field | {"dataType": _LISTS[kind], "isArray": True, "arrayShape": "-1", "source": source}
    return field | {"dataType": _TYPES[kind], "source": source}


def _part(field: Mapping[str, Any], source: Mapping[str, Any], part: str, kind: str) -> dict[str, Any]:
    described = {"@type": "cr:Field", "@id": f"{field['@id']}/{part}", "name": part, "dataType": kind}
    return described | {"source": {**source, "transform": {"jsonPath": part}}}


def _provenance(m: Manifest) -> dict[str, Any]:
    sources = []
    for source in m.sources:
        licence = {"license": licence_url(str(source["license"]))} if source.get("license") else {}
        sources.append({"@type": "prov:Entity", "name": without_folders(str(source.get("path", ""))), **licence})
    activity: dict[str, Any] = {
        "@type": "prov:Activity",
        "name": f"the recipe {m.recipe} of synth_ray",
        "prov:endedAtTime": m.created_at,
        "recipe": m.recipe,
        "jobDigest": m.job_digest,
        "askDigest": m.ask_digest,
        "datasetDigest": m.dataset_digest,
    }
    if m.teacher and m.teacher != "none":
        teacher = {"@type": "prov:SoftwareAgent", "name": without_folders(m.teacher), "version": m.revision or "not given"}
        terms = "; ".join(text for text in (m.teacher_license, m.teacher_terms) if text)
        activity["prov:wasAssociatedWith"] = teacher | ({"usageInfo": terms} if terms else {})
    facts: dict[str, Any] = {"prov:wasDerivedFrom": sources} if sources else {}
    return facts | {"prov:wasGeneratedBy": activity}


def _responsible_use(m: Manifest) -> dict[str, Any]:
    """The RAI terms. Synthetic data is named as such, because a catalogue shows these and not the columns."""
    filters = [f"{stage}: {json.dumps(settings, ensure_ascii=False)}" for stage, settings in m.filters.items()]
    facts: dict[str, Any] = {
        "rai:dataCollection": _collection(m),
        "rai:dataCollectionType": ["Existing datasets"] if m.is_copied else ["Synthetic data", "Existing datasets"],
        "rai:dataPreprocessingProtocol": filters,
        "rai:dataLimitations": limits_of(m),
        "rai:personalSensitiveInformation": _personal(m),
    }
    if m.judge:
        facts["rai:machineAnnotationTools"] = [f"a judge model scored {m.judge.get('judged', 0):,} answers"]
    return {name: value for name, value in facts.items() if value}


def _collection(m: Manifest) -> str:
    if m.is_copied:
        return "The rows were read from the sources, checked, scrubbed and deduplicated; no model wrote any of them."
    real = f" {m.rows.real:,} rows are real." if m.rows.real else " No row is real."
    asked = f"{m.rows.requested:,} rows were requested of {without_folders(m.teacher)} with the recipe {m.recipe}"
    return f"{asked}; {m.rows.accepted:,} were accepted.{real}"


def _personal(m: Manifest) -> list[str]:
    if not m.pii:
        return ["Nothing was found; that is no proof that nothing is there."]
    done = "found and left in place" if m.pii_in_place else "found and replaced"
    return [f"{entity}: {n:,} {done}" for entity, n in sorted(m.pii.items())]
