"""`synth-ray submit`: sends a job to a Ray cluster, follows it, and ends with the code that its run ended with."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from synth_ray.cli.cluster_address import open_cluster
from synth_ray.cli.job import job_in, overrides_of
from synth_ray.cli.logs import print_event, wants_json
from synth_ray.cluster.jobs_api import JobsApi, SubmittedJob
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.overrides import with_overrides
from synth_ray.job.yaml_file import read_yaml
from synth_ray.route.preflight import preflight
from synth_ray.submit.package import Package, Sending, package_of, parsed_env, refuse_early
from synth_ray.submit.submission import end_of, find_job, submit
from synth_ray.submit.versions import refuse_other_ray

_INTERRUPTED = 130
_TAIL_CHARACTERS = 4000


def main(arguments: argparse.Namespace) -> int:
    if arguments.attach:
        return _attach(arguments)
    if arguments.job is None:
        raise JobError("submit: wanted a job file, or --attach ID, got neither")
    _refuse_flags_of_other_ways(arguments)
    if not arguments.render:
        api = open_cluster(arguments.address)
        refuse_other_ray(api.ray_version, address=api.address)
    job, document = _job_and_document(arguments)
    sending = _sending(arguments)
    refuse_early(job, Path.cwd(), sending)
    report = preflight(job, file=arguments.job, elsewhere=True)
    package = package_of(job, document, Path.cwd(), job_digest=report.job_digest, sending=sending)
    if arguments.render:
        return _render(package, job, arguments)
    labels = _labels(arguments.driver_label)
    job_id, is_new = submit(api, package, cpus=arguments.driver_cpus, labels=labels, with_package=arguments.with_package)
    _tell_submitted(job_id, package, arguments, is_new=is_new)
    return 0 if arguments.no_wait else _follow(api, job_id, arguments)


def _attach(arguments: argparse.Namespace) -> int:
    if arguments.job is not None or arguments.render:
        raise JobError("--attach: wanted the id alone, got a job file or --render beside it; leave one out")
    api = open_cluster(arguments.address)
    return _follow(api, find_job(api, arguments.attach).id, arguments)


def _refuse_flags_of_other_ways(arguments: argparse.Namespace) -> None:
    """Raise JobError for a flag that would say nothing: of a submission beside --render, or of a manifest without it."""
    if not arguments.render:
        if arguments.values:
            raise JobError("--values: wanted --render beside it, got none; add it, or leave --values out")
        return
    flags = {
        "--with-package": arguments.with_package,
        "--driver-cpus": arguments.driver_cpus is not None,
        "--driver-label": bool(arguments.driver_label),
        "--no-wait": arguments.no_wait,
    }
    for flag in (name for name, is_set in flags.items() if is_set):
        raise JobError(
            f"{flag}: wanted it without --render, got both; leave one out: a manifest's driver is on the head, with the image's "
            "synth_ray, and nothing is submitted"
        )


def _job_and_document(arguments: argparse.Namespace) -> tuple[Job, dict[str, Any]]:
    """`--address` is the cluster's, and no key of the job: the driver joins the cluster that it runs in."""
    alone = argparse.Namespace(set=arguments.set, engine=None, address=None, output=arguments.output)
    overrides = overrides_of(alone)
    document, lines = read_yaml(arguments.job)
    document = with_overrides(document, overrides)
    return job_in(document, overrides, arguments.job, lines), document


def _sending(arguments: argparse.Namespace) -> Sending:
    flags = {"--extend": arguments.extend, "--retry-failed": arguments.retry_failed}
    options = [name for name, is_set in flags.items() if is_set]
    options += ["--log", arguments.log] if arguments.log else []
    return Sending(
        python=arguments.python,
        run_options=tuple(options),
        env=parsed_env(arguments.env),
        files=tuple(arguments.with_files),
        shared_output=arguments.shared_output,
    )


def _labels(pairs: list[str]) -> dict[str, str]:
    labels = dict(pair.partition("=")[::2] for pair in pairs)
    for name, value in labels.items():
        if not name or not value:
            raise JobError(f"--driver-label: wanted KEY=VALUE, as market=on-demand, got '{name}'; correct it")
    return labels


def _tell_submitted(job_id: str, package: Package, arguments: argparse.Namespace, *, is_new: bool) -> None:
    if wants_json(arguments):
        print_event("submitted", {"id": job_id, "output": package.output, "new": is_new, "job_digest": package.job_digest})
        return
    size = f"{len(package.files)} files, {package.size_bytes / 1e6:.1f} MB"
    print(f"job       {job_id}" + ("" if is_new else "  (runs already: attached to it)"))
    print(f"output    {package.output}")
    print(f"sent      {size}" if is_new else "sent      nothing")
    for name, command in _next_commands(job_id, package.output, arguments.address):
        print(f"{name:<9} {command}")
    sys.stdout.flush()


def _next_commands(job_id: str, output: str, address: str | None) -> list[tuple[str, str]]:
    where = f" --address {shlex.quote(address)}" if address else ""
    return [
        ("follow", f"synth-ray submit --attach {job_id}{where}"),
        ("stop", f"synth-ray stop {job_id}{where}"),
        ("look", f"synth-ray status {shlex.quote(output)}"),
    ]


def _follow(api: JobsApi, job_id: str, arguments: argparse.Namespace) -> int:
    """Write what the driver writes until it ends. Ctrl-C leaves the job running."""
    tail = ""

    def write(text: str) -> None:
        nonlocal tail
        tail = (tail + text)[-_TAIL_CHARACTERS:]
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        job = api.follow(job_id, write)
    except KeyboardInterrupt:
        [follow, stop, _] = _next_commands(job_id, "", arguments.address)
        _say(arguments, f"\nthe job goes on; follow it again: {follow[1]}; end it: {stop[1]}")
        return _INTERRUPTED
    return _end(job, tail, arguments)


def _end(job: SubmittedJob, tail: str, arguments: argparse.Namespace) -> int:
    end = end_of(job, log_tail=tail)
    if wants_json(arguments):
        print_event("submission_end", {"id": job.id, "status": job.status, "exit_code": end.exit_code})
    if end.why:
        _say(arguments, f"{job.id}: {end.why}")
    return end.exit_code


def _say(arguments: argparse.Namespace, text: str) -> None:
    if wants_json(arguments):
        print_event("log", {"level": "warning", "message": text.strip()})
    else:
        print(f"synth-ray: {text.strip()}", file=sys.stderr)


def _render(package: Package, job: Job, arguments: argparse.Namespace) -> int:
    """Print the objects for KubeRay, after the line that submits the same package by hand."""
    from synth_ray.submit.rayjob import rayjob_of, to_yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from synth_ray.submit.values import values_in  # type: ignore[import-not-found,import-untyped,unused-ignore]

    values = values_in(arguments.values)
    print(by_hand(package, arguments))
    print(to_yaml(rayjob_of(package, job, values)), end="")
    return 0


def by_hand(package: Package, arguments: argparse.Namespace) -> str:
    """The `ray job submit` line, as a comment, for a folder that holds the package's files."""
    line = ["ray", "job", "submit", *(["--address", arguments.address] if arguments.address else []), "--working-dir", "."]
    line += ["--submission-id", f"{package.id_stem}-1", "--runtime-env-json", json.dumps({"env_vars": dict(package.env_vars)})]
    line += ["--metadata-json", json.dumps(dict(package.metadata)), "--"]
    files = ", ".join(sorted(package.files))
    return f"# The same by hand, in a folder with {files}:\n# {shlex.join(line)} sh -c {shlex.quote(package.entrypoint)}"
