"""A job as objects for KubeRay: the RayJob, its files, its network policy and its head's disruption budget."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import yaml

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.records import digest
from synth_ray.submit.groups import Group, groups_of, overrides_of
from synth_ray.submit.network import budget_of, policy_of
from synth_ray.submit.package import Package
from synth_ray.submit.pods import JOB, Object, Pods, container_security, object_store
from synth_ray.submit.values import Values

MAX_BYTES = 900_000
"""Of all files together: a ConfigMap may have 1 MiB, and base64 is not counted."""

_NAME_LENGTH = 40
"""KubeRay takes 47 characters, and a label 63; what is left is for the suffixes that it adds."""

_DONE = "--done-when-stopped"
_WITH_DEFAULT = re.compile(r'"?\$\{\w+:-(\w*)\}"?')


def rayjob_of(package: Package, job: Job, values: Values) -> list[dict[str, Any]]:
    """The objects, in the order to apply them: a ConfigMap with the job's files, a NetworkPolicy, a PodDisruptionBudget, the
    RayJob.

    They depend on the arguments and the installed Ray's version alone. No secret is in them: the variables that the job names
    come from the values' Secret. Raises JobError for what cannot be a manifest.
    """
    name = _name_of(package)
    secrets = sorted({*secret_variables(job), *values.secret_env})
    pods = Pods(values, job=name, files=_volume(name, package), secrets=secrets)
    return [
        _object("v1", "ConfigMap", name, values, _contents(package.files)),
        _object("networking.k8s.io/v1", "NetworkPolicy", name, values, {"spec": policy_of(name, values.network)}),
        _object("policy/v1", "PodDisruptionBudget", name, values, {"spec": budget_of(name)}),
        _object("ray.io/v1", "RayJob", name, values, {"spec": _spec(package, job, values, pods)}),
    ]


def to_yaml(objects: list[dict[str, Any]]) -> str:
    """The objects as YAML documents; texts of several lines stay readable."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def secret_variables(job: Job) -> Iterator[str]:
    """The names of the variables that hold a secret of the job: each `key_env` that is used, and what its tools get."""
    unused = set() if job.scrub.replace == "surrogate" else {"scrub"}
    return _named(job.model_dump(mode="json", exclude=unused))


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name.endswith("key_env") and isinstance(inner, str):
                yield from [inner] if inner else []
            elif name == "env" and isinstance(inner, list):
                yield from map(str, inner)
            else:
                yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def _spec(package: Package, job: Job, values: Values, pods: Pods) -> Object:
    limits = values.limits
    # The submitter's shell reads the entrypoint first: a variable would be its own. A pod has one Ray, so the default is right.
    entrypoint = _WITH_DEFAULT.sub(r"\1", package.entrypoint)
    overrides = [f"--set {key}={gpus:g}" for key, gpus in overrides_of(job, values).items()]
    run_s = limits.run_seconds if job.budget.max_seconds is None else int(job.budget.max_seconds) + limits.margin_seconds
    return {
        "entrypoint": " ".join([entrypoint, _DONE, *overrides]),
        "submissionMode": "K8sJobMode",
        "backoffLimit": limits.lost_heads,
        "submitterConfig": {"backoffLimit": 0},
        "preRunningDeadlineSeconds": limits.start_seconds,
        "activeDeadlineSeconds": run_s + limits.start_seconds,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": limits.keep_seconds,
        "metadata": dict(package.metadata),
        "runtimeEnvYAML": yaml.safe_dump({"env_vars": dict(package.env_vars)}),
        "submitterPodTemplate": pods.submitter(),
        "rayClusterSpec": _cluster(job, values, pods),
    }


def _cluster(job: Job, values: Values, pods: Pods) -> Object:
    cluster: Object = {"rayVersion": version("ray")}
    if values.token_secret:
        cluster["authOptions"] = {"mode": "token", "secretName": values.token_secret}
    market = {"market": "spot" if values.head.spot else "on-demand"}
    return cluster | {
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": values.limits.idle_seconds,
            "securityContext": container_security(),
        },
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", **object_store()},
            "labels": {"pool": "head", **market},
            "template": pods.head(),
        },
        "workerGroupSpecs": [_worker_group(group, values, pods) for group in groups_of(job, values)],
    }


def _worker_group(group: Group, values: Values, pods: Pods) -> Object:
    is_spot = (values.gpu if group.gpus else values.cpu).spot
    first = 0 if group.gpus else 1  # stagers are wanted from the beginning; engines, once there is a node for them
    params = object_store() if group.cpus is None else {"num-cpus": str(group.cpus), **object_store()}
    shape = {"groupName": group.name, "replicas": first, "minReplicas": first, "maxReplicas": group.most}
    return shape | {
        "numOfHosts": group.hosts,
        "rayStartParams": params,
        "labels": {"pool": group.pool, "market": "spot" if is_spot else "on-demand"},
        "template": pods.worker(group),
    }


def _name_of(package: Package) -> str:
    """The job's name in the letters that Kubernetes takes, and its digest: another job has another name."""
    slug = re.sub(r"[^a-z0-9]+", "-", package.name.lower()).strip("-")
    slug = slug if slug[:1].isalpha() else f"job-{slug}".rstrip("-")
    return f"{slug[: _NAME_LENGTH - 9].rstrip('-')}-{package.job_digest[:8]}"


def _object(api: str, kind: str, name: str, values: Values, rest: Object) -> Object:
    labels = {JOB: name}
    if kind == "RayJob" and values.queue:
        labels["kueue.x-k8s.io/queue-name"] = values.queue
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": values.namespace, "labels": labels}, **rest}


def _key_of(path: str) -> str:
    """A ConfigMap's key for a path: its letters where keys allow them, and enough of a digest where they do not."""
    plain = re.sub(r"[^-._a-zA-Z0-9]", "_", path)
    return plain if plain == path and len(path) < 200 else f"{plain[-180:]}.{digest(path)[:8]}"


def _volume(name: str, package: Package) -> Object:
    items = [{"key": _key_of(path), "path": path} for path in sorted(package.files)]
    return {"name": "job", "configMap": {"name": name, "items": items}}


def _contents(files: Mapping[str, bytes]) -> Object:
    """Text as `data`, so that people can read it; anything else in base64. Raises JobError for too much."""
    if (total := sum(map(len, files.values()))) > MAX_BYTES:
        largest = max(files, key=lambda path: (len(files[path]), path))
        raise JobError(
            f"submit: wanted at most {MAX_BYTES // 1000} kB of files for a manifest, got {total / 1000:,.0f} kB, most of it in "
            f"'{largest}'; copy that to the output's store and name it there, or submit to a cluster that is up, without --render"
        )
    text, binary = {}, {}
    for path, data in sorted(files.items()):
        try:
            text[_key_of(path)] = data.decode()
        except UnicodeDecodeError:
            binary[_key_of(path)] = base64.b64encode(data).decode()
    return {k: v for k, v in (("data", text), ("binaryData", binary)) if v}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
