"""The manifests for KubeRay in the repository: valid, locked down, and the same on every cloud but for its own names."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from synth_ray.submit.rayjob import rayjob_of
from synth_ray.submit.values import Values
from tests.unit.infra.manifests import faults_of, refuse_weak_pods, templates

ROOT = Path(__file__).parents[3]
KUBERAY = ROOT / "infra" / "kuberay"
OVERLAYS = sorted(p.name for p in (KUBERAY / "overlays").iterdir())
BASE = [p for p in sorted((KUBERAY / "base").glob("*.yaml")) if p.name != "kustomization.yaml"]


def sample() -> Any:
    spec = importlib.util.spec_from_file_location("sample", KUBERAY / "sample" / "render.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(text: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(text) if d]


def rendered(folder: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip(f"NOT CHECKED: {folder} as Kustomize renders it, for there is no kubectl here")
    completed = subprocess.run(["kubectl", "kustomize", str(KUBERAY / folder)], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    return documents(completed.stdout)


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [o for o in objects if o["kind"] == kind]
    return found


@pytest.mark.parametrize("file", BASE, ids=lambda p: p.name)
def test_each_file_of_the_base_is_valid_by_itself(file: Path) -> None:
    assert [fault for manifest in documents(file.read_text()) for fault in faults_of(manifest)] == []


@pytest.mark.parametrize("folder", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_everything_that_kustomize_renders_is_valid_and_locked_down(folder: str) -> None:
    objects = rendered(folder)
    assert {o["kind"] for o in objects} == {
        "Namespace", "ServiceAccount", "PriorityClass", "NetworkPolicy", "PodDisruptionBudget", "RayCluster",
    }  # fmt: skip
    assert [fault for manifest in objects for fault in faults_of(manifest)] == []
    refuse_weak_pods(of_kind(objects, "RayCluster"))
    namespaced = [o for o in objects if o["kind"] not in ("Namespace", "PriorityClass")]
    assert {o["metadata"]["namespace"] for o in namespaced} == {"synth-ray"}


@pytest.mark.parametrize("cloud", OVERLAYS)
def test_the_overlay_of_a_cloud_agrees_with_what_is_rendered_for_a_job(cloud: Any) -> None:
    job = sample().load_job(sample().JOB)
    for_job = rayjob_of(sample().package(), job, Values(cloud=cloud))[-1]
    ours, theirs = dict(templates(of_kind(rendered(f"overlays/{cloud}"), "RayCluster"))), dict(templates(for_job))
    for name, group in (("head", "head"), ("cpu", "cpu"), ("gpu", "gpu-teacher")):
        one, other = ours[name]["spec"], theirs[group]["spec"]
        for key in ("terminationGracePeriodSeconds", "affinity", "nodeSelector", "tolerations", "securityContext"):
            assert one.get(key) == other.get(key), f"{name}: {key}"
        drains = [
            next(e["value"] for e in pod["containers"][0]["env"] if e["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S")
            for pod in (one, other)
        ]
        assert drains[0] == drains[1], name
        labels = [{k for k in t["metadata"]["labels"] if "azure" in k} for t in (ours[name], theirs[group])]
        assert labels[0] == labels[1], name


def test_the_long_lived_cluster_does_nothing_on_its_head_and_holds_no_gpu_while_idle() -> None:
    cluster = of_kind(documents((KUBERAY / "base" / "cluster.yaml").read_text()), "RayCluster")["spec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    gpu = next(g for g in cluster["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert (gpu["minReplicas"], gpu["replicas"]) == (0, 0)
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"ray[default]=={cluster['rayVersion']}" in pins


def test_every_pod_of_the_long_lived_cluster_has_the_keys_that_a_job_may_name() -> None:
    cluster = of_kind(documents((KUBERAY / "base" / "cluster.yaml").read_text()), "RayCluster")
    for name, template in templates(cluster):
        [container] = template["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": Values().secret, "optional": True}}], name


def test_budgets_and_policies_select_the_clusters_own_pods() -> None:
    objects = [d for file in BASE for d in documents(file.read_text())]
    labels = {name: t["metadata"]["labels"] for name, t in templates(of_kind(objects, "RayCluster"))}
    selector = of_kind(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert [name for name, own in labels.items() if selector.items() <= own.items()] == ["head"]
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "NetworkPolicy"}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selected = policies["synth-ray"]["podSelector"]["matchLabels"]
    assert all(selected.items() <= own.items() for own in labels.values())


def test_the_policy_of_the_long_lived_cluster_is_that_of_a_job_but_for_its_submitters() -> None:
    objects = [d for file in BASE for d in documents(file.read_text())]
    shared = next(o["spec"] for o in objects if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "synth-ray")
    made = rayjob_of(sample().package(), sample().load_job(sample().JOB), Values())
    own = next(o["spec"] for o in made if o["kind"] == "NetworkPolicy")
    assert [rule.get("ports") for rule in shared["ingress"]] == [rule.get("ports") for rule in own["ingress"]]
    assert shared["egress"][1:] == own["egress"][1:]


def test_the_sample_is_what_the_code_writes() -> None:
    text = (KUBERAY / "sample" / "rayjob.yaml").read_text()
    assert text == sample().rendered(), f"the sample is old; write it again: {sample().COMMAND}"
    assert [fault for manifest in documents(text) for fault in faults_of(manifest)] == []
