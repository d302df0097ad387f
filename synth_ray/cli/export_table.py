"""`synth-ray export --format iceberg|delta|lance`: registers a published dataset in a table, as `sinks` of a job does."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic import ValidationError

from synth_ray.dataset.manifest import Manifest
from synth_ray.errors import JobError
from synth_ray.job.sinks import Catalog, Sink
from synth_ray.lake.register import register_version
from synth_ray.storage import Storage

_PLACES = {"iceberg": "table", "delta": "", "lance": "path"}
"""The key of a sink that `--to` gives."""


def export_table(arguments: argparse.Namespace, dataset: Storage, manifest: Manifest) -> int:
    if not manifest.complete and not arguments.partial:
        raise JobError(
            f"{arguments.prefix}: wanted a complete dataset for a table, got one that stopped short; run its job again, or give "
            "--partial"
        )
    print(f"table     {register_version(dataset, manifest, _sink_of(arguments))}")
    return 0


def _sink_of(arguments: argparse.Namespace) -> Sink:
    name, keys = arguments.format, dict[str, Any]()
    if arguments.to and not _PLACES[name]:
        raise JobError(f"--to: wanted none, for a Delta table is beside the dataset's parts, got '{arguments.to}'; leave it out")
    if arguments.to:
        keys[_PLACES[name]] = arguments.to
    if arguments.catalog:
        keys["catalog"] = _catalog(arguments.catalog)
    try:
        return Sink(format=name, **keys)
    except ValidationError as error:
        what = "; ".join(str(e["msg"]).removeprefix("Value error, ") for e in error.errors())
        raise JobError(f"export: {what.replace('table:', '--to:').replace('path:', '--to:')}") from None


def _catalog(texts: list[str]) -> dict[str, Any]:
    pairs = [text.partition("=") for text in texts]
    if any(not mark for _, mark, _ in pairs):
        raise JobError("--catalog: wanted KEY=VALUE, as type=rest uri=https://…, got another form; see the job key sinks.catalog")
    named = {name: value for name, _, value in pairs}
    known = Catalog.model_fields.keys() - {"properties"}
    own = {name: value for name, value in named.items() if name in known}
    return own | {"properties": {name: value for name, value in named.items() if name not in known}}
