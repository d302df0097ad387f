"""`synth-ray report`: the funnel of a finished or partial dataset."""

from __future__ import annotations

import argparse
import json

from synth_ray.dataset.manifest import read_manifest
from synth_ray.report.funnel import funnel_text
from synth_ray.report.page import page
from synth_ray.storage import open_storage


def main(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.prefix)
    manifest = read_manifest(storage).to_dict()
    if arguments.json:
        print(json.dumps(manifest, indent=2))
        return 0
    storage.write("report.html", page(manifest).encode())
    print(funnel_text(manifest))
    print(f"report    {arguments.prefix.rstrip('/')}/report.html")
    return 0
