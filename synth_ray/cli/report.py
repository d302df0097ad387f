"""`synth-ray report`: the funnel of a dataset and its page; gates; two datasets side by side; a push to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial

from synth_ray.cli.junit_file import refuse_bad_place, write_junit
from synth_ray.cli.prefix import require_output
from synth_ray.dataset.examples import read_examples
from synth_ray.dataset.hub_push import push_dataset
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.errors import GateFailed, JobError, StoppedShort
from synth_ray.job.gates import Gate, read_gates
from synth_ray.report.comparison import comparison_page, comparison_text
from synth_ray.report.funnel import funnel_text
from synth_ray.report.gates import gate_results
from synth_ray.report.page import page
from synth_ray.storage import Storage, open_storage

Say = Callable[[str], None]


def main(arguments: argparse.Namespace) -> int:
    gates = _gates_of(arguments)
    storage = open_storage(arguments.prefix)
    manifest = read_manifest(storage)
    if arguments.json:
        print(json.dumps(manifest.to_dict(), indent=2))
    else:
        _show(storage, manifest, gates, arguments.prefix)
    say = partial(print, file=sys.stderr if arguments.json else sys.stdout)  # JSON stands alone
    if arguments.against:
        _compare(storage, manifest, arguments, say)
    if gates is not None and not _passes(gates, manifest, arguments.junit, say):
        return GateFailed.exit_code
    if gates is not None and manifest.stopped:
        say(f"gate      not final: the run stopped short: {manifest.stopped}")
        return StoppedShort.exit_code
    if arguments.push is not None:
        _push(storage, manifest, arguments, say)
    return 0


def _gates_of(arguments: argparse.Namespace) -> list[Gate] | None:
    """The gates to check. Raises JobError before anything is written."""
    for name, needed in (("junit", "gate"), ("with_rejected", "push")):
        if getattr(arguments, name) and getattr(arguments, needed) is None:
            raise JobError(f"report: wanted --{needed} with --{name.replace('_', '-')}, got none; add it")
    refuse_bad_place(arguments.junit)
    if arguments.against:
        require_output(arguments.against, published=True)
    return read_gates(arguments.gate) if arguments.gate is not None else None


def _show(storage: Storage, manifest: Manifest, gates: list[Gate] | None, prefix: str) -> None:
    """`gates` other than those of the run's own job are shown in their place."""
    storage.write("report.html", page(manifest.to_dict(), read_examples(storage, manifest), gates).encode())
    print(funnel_text(manifest.to_dict()))
    print(f"report    {prefix.rstrip('/')}/report.html")


def _compare(storage: Storage, manifest: Manifest, arguments: argparse.Namespace, say: Say) -> None:
    other = read_manifest(open_storage(arguments.against))
    datasets, names = (manifest.to_dict(), other.to_dict()), (arguments.prefix, arguments.against)
    storage.write("comparison.html", comparison_page(*datasets, names=names).encode())
    say(f"\n{comparison_text(*datasets, names=names)}\n")
    say(f"compared  {arguments.prefix.rstrip('/')}/comparison.html")


def _passes(gates: list[Gate], manifest: Manifest, junit: str | None, say: Say) -> bool:
    """Print a line for each gate. Whether all hold."""
    results = gate_results(manifest.to_dict(), gates)
    for result in results:
        say(f"gate      {'ok' if result.holds else 'failed'}: {result.sentence}")
    stopped = f"stopped short: {manifest.stopped}" if manifest.stopped else ""
    write_junit(junit, results, name=manifest.name, error=stopped)
    return all(result.holds for result in results)


def _push(storage: Storage, manifest: Manifest, arguments: argparse.Namespace, say: Say) -> None:
    pushed = push_dataset(storage, manifest, arguments.push, with_rejected=arguments.with_rejected)
    if not pushed.commit:
        say(f"push      nothing to do: {arguments.push} has dataset {manifest.dataset_digest} already")
        return
    size = f"{pushed.sent_bytes / 1e6:,.1f} MB"
    say(f"push      {pushed.sent:,} files sent ({size}), {pushed.already_there:,} were there, {pushed.removed:,} removed")
    say(f"commit    {pushed.commit}")
