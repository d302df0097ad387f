"""The digests of the jobs in `jobs/`, made with the scripted teacher on threads: equal before and after a refactoring.

Each job is run, then curated with a looser near-duplicate threshold. `python -m bench.digests [JOB …]` prints one JSON object;
`tests/laws/test_digests.py` compares it with `tests/laws/digests.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import synth_ray
from synth_ray.errors import SynthRayError
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job

ROOT = Path(__file__).parent.parent
_NEED_MORE = ("distill-gpu-s3", "tools")  # a store, a module on PYTHONPATH
NAMES = tuple(sorted(path.stem for path in (ROOT / "jobs").glob("*.yaml") if path.stem not in _NEED_MORE))
SCRIPT = {
    "answers": [
        "{{ words }} Call me at 415-555-0132.",
        "A lamp costs 12. Two cost 12 + 12 = 24. The answer is 24.",
        "{{ words }}",
    ],
    "words": 24,
    "repeat_share": 0.2,
    "fail_share": 0.02,
}
CURATED_THRESHOLD = 0.5


def scripted(name: str, folder: Path) -> dict[str, Any]:
    """The job of a file, with its models replaced by the scripted teacher and its output by a folder."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "jobs" / f"{name}.yaml").read_text())
    models = document["models"]
    if isinstance(models, dict):
        roles = [role for role in ("teacher", "judge") if role in models]
        document["models"] = models | {role: {"engine": "scripted", "script": SCRIPT} for role in roles}
    document["output"] = document["output"] | {"path": str(folder / name)}
    document["cluster"] = {"engine": "local", "in_flight": 256}  # as many as the lag of jobs with a balance allows
    return document


def digests(names: Iterable[str] = NAMES) -> dict[str, dict[str, Any]]:
    """By job: the digests of its run and of its curation. Call in the root of the checkout: jobs name their files from there."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: {"run": _run(job := scripted(name, Path(folder))), "curate": _curate(job)} for name in names}


def _run(document: dict[str, Any]) -> dict[str, Any]:
    try:
        synth_ray.run(document)
    except SynthRayError as error:
        return {"error": type(error).__name__}
    return _published(document)


def _curate(document: dict[str, Any]) -> dict[str, Any]:
    dedup = document.get("dedup", {}) | {"threshold": CURATED_THRESHOLD}
    try:
        curate_job(job_from(document | {"dedup": dedup}))
    except SynthRayError as error:
        return {"error": type(error).__name__}
    return _published(document)


def _published(document: dict[str, Any]) -> dict[str, Any]:
    manifest = json.loads((Path(document["output"]["path"]) / "manifest.json").read_text())
    digests = {name: manifest[name] for name in ("ask_digest", "job_digest", "dataset_digest")}
    return digests | {"accepted": manifest["rows"]["accepted"], "rejected": manifest["rows"]["rejected"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="JOB", help="only these jobs")
    print(json.dumps(digests(parser.parse_args().names or NAMES), indent=1))


if __name__ == "__main__":
    main()
