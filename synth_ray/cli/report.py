"""`synth-ray report`: the funnel of a finished or partial dataset, its page, and two datasets side by side."""

from __future__ import annotations

import argparse
import json
from typing import Any

from synth_ray.cli.prefix import require_output
from synth_ray.dataset.manifest import read_manifest
from synth_ray.report.comparison import comparison_page, comparison_text
from synth_ray.report.examples import read_examples
from synth_ray.report.funnel import funnel_text
from synth_ray.report.page import page
from synth_ray.storage import Storage, open_storage


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    manifest = read_manifest(storage).to_dict()
    if arguments.json:
        print(json.dumps(manifest, indent=2))
        return 0
    storage.write("report.html", page(manifest, read_examples(storage)).encode())
    print(funnel_text(manifest))
    print(f"report    {arguments.prefix.rstrip('/')}/report.html")
    if arguments.against:
        _compare(storage, manifest, arguments)
    return 0


def _compare(storage: Storage, manifest: dict[str, Any], arguments: argparse.Namespace) -> None:
    require_output(arguments.against, published=True)
    other = read_manifest(open_storage(arguments.against)).to_dict()
    names = (arguments.prefix, arguments.against)
    storage.write("comparison.html", comparison_page(manifest, other, names=names).encode())
    print(f"\n{comparison_text(manifest, other, names=names)}\n")
    print(f"compared  {arguments.prefix.rstrip('/')}/comparison.html")
