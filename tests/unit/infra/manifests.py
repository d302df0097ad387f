"""Checks of Kubernetes manifests without a cluster: KubeRay's schema read strictly, its rules, and what its operator refuses."""

from __future__ import annotations

import copy
import gzip
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[3]
DATA = "SYNTH_RAY_TEST_DATA"
"""A folder with the schemas of KubeRay's CRDs, which are not part of this repository."""

RAY_KINDS = ("RayJob", "RayCluster")
KUBERNETES = "1.32"


@cache
def schemas() -> dict[str, Any]:
    folders = [Path(os.environ[DATA])] if DATA in os.environ else [ROOT.parent / "shared" / "data"]
    for file in (folder / "kuberay-1.7.0-schemas.json.gz" for folder in folders):
        if file.is_file():
            return {kind: strict(schema) for kind, schema in json.loads(gzip.decompress(file.read_bytes())).items()}
    pytest.skip(f"NOT CHECKED: no kuberay-1.7.0-schemas.json.gz in {folders[0]}; name its folder in {DATA}")


def strict(schema: Any) -> Any:
    """Unknown fields are errors. An API server drops them without a word."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(inner) for name, inner in schema.items() if name != "metadata" or "type" not in schema}
    if made.get("x-kubernetes-int-or-string"):
        made = {k: v for k, v in made.items() if k != "type"} | {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def faults_of(manifest: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a manifest of any kind."""
    kind = manifest["kind"]
    if kind not in RAY_KINDS:
        try:
            kubernetes_validate.validate(copy.deepcopy(manifest), KUBERNETES, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            return [f"no schema of {kind}"]
        except kubernetes_validate.ValidationError as error:
            return [f"{kind}: {error.message}"]
        return []
    schema = schemas()[kind]
    found = [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in Draft202012Validator(schema).iter_errors(manifest)]
    return [*found, *cel_faults(schema, manifest), *refusals(manifest)]


def cel_faults(schema: Any, value: Any, at: str = "") -> Iterator[str]:
    """The schema's rules, as an API server evaluates them. Rules on changes have nothing to compare with here."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"] and not holds(rule["rule"], value):
            yield f"{at}: {rule['message']}"
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from cel_faults(schema.get("properties", {}).get(name, {}), inner, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from cel_faults(schema.get("items", {}), inner, f"{at}.{number}")


def holds(rule: str, value: Any) -> bool:
    import celpy

    environment = celpy.Environment()
    return bool(environment.program(environment.compile(rule)).evaluate({"self": celpy.json_to_cel(value)}))


def refusals(manifest: dict[str, Any]) -> Iterator[str]:
    """What KubeRay's operator refuses although its schema takes it, as far as it touches what is written here."""
    spec, longest = manifest["spec"], 47 if manifest["kind"] == "RayJob" else 63
    if not re.fullmatch(rf"[a-z]([-a-z0-9]{{0,{longest - 2}}}[a-z0-9])?", manifest["metadata"]["name"]):
        yield f"metadata.name: wanted a DNS label of at most {longest} characters that begins with a letter"
    if manifest["kind"] == "RayJob":
        yield from _refusals_of_job(spec)
    yield from _refusals_of_cluster(spec["rayClusterSpec"] if manifest["kind"] == "RayJob" else spec)


def _refusals_of_job(spec: dict[str, Any]) -> Iterator[str]:
    rules = spec.get("deletionStrategy", {}).get("deletionRules")
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished: wanted shutdownAfterJobFinishes beside it"
    if rules and spec.get("shutdownAfterJobFinishes"):
        yield "deletionStrategy.deletionRules: wanted shutdownAfterJobFinishes left out"
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "suspend: wanted shutdownAfterJobFinishes beside it"
    if spec.get("submissionMode") == "SidecarMode" and ("submitterPodTemplate" in spec or "submitterConfig" in spec):
        yield "submissionMode: wanted no submitterPodTemplate with SidecarMode"
    if spec.get("clusterSelector") and spec.get("backoffLimit"):
        yield "backoffLimit: wanted none with clusterSelector"
    if not isinstance(yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict):
        yield "runtimeEnvYAML: wanted a mapping"
    if spec.get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds: wanted a positive number"


def _refusals_of_cluster(spec: dict[str, Any]) -> Iterator[str]:
    auth, ray_version = spec.get("authOptions", {}), tuple(map(int, spec.get("rayVersion", "0.0").split(".")[:2]))
    if auth.get("mode") == "token" and ray_version < (2, 52):
        yield "authOptions.mode: wanted rayVersion from 2.52 on"
    is_v2 = spec.get("enableInTreeAutoscaling") and spec.get("autoscalerOptions", {}).get("version") == "v2"
    groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
    for group in groups:
        name, params, pod = group.get("groupName", "head"), group.get("rayStartParams", {}), group["template"]["spec"]
        if not pod.get("containers"):
            yield f"{name}: wanted a container"
        if "labels" in params:
            yield f"{name}: wanted `labels`, got rayStartParams.labels"
        if group.get("resources") and params.keys() & {"num-cpus", "num-gpus", "memory", "resources"}:
            yield f"{name}: wanted resources in one place"
        if is_v2 and pod.get("restartPolicy", "Never") != "Never":
            yield f"{name}: wanted restartPolicy Never or none with autoscaler v2"
        if not is_v2 and group.keys() & {"idleTimeoutSeconds", "priority"}:
            yield f"{name}: wanted autoscaler v2 for idleTimeoutSeconds and priority"


def templates(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template of a RayJob or RayCluster, by role or group."""
    spec = manifest["spec"]
    if manifest["kind"] == "RayJob":
        yield "submitter", spec["submitterPodTemplate"]
        spec = spec["rayClusterSpec"]
    yield "head", spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def refuse_weak_pods(manifest: dict[str, Any]) -> None:
    """What the restricted level of Pod Security asks, and what a node that goes asks."""
    for name, template in templates(manifest):
        pod = template["spec"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
        assert security["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost"), name
        assert not any("hostPath" in volume for volume in pod.get("volumes", [])), name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"] == container["resources"]["limits"], name
        if name != "submitter":
            env = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
            assert int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) < pod["terminationGracePeriodSeconds"], name
            shm = next(v["emptyDir"] for v in pod["volumes"] if v["name"] == "shm")
            assert shm["medium"] == "Memory" and shm["sizeLimit"], name
        if name != "head":
            assert pod["automountServiceAccountToken"] is False, name
