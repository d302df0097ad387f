"""The pods of a job on Kubernetes: what is in them, where they may run, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth_ray.submit.groups import Group
from synth_ray.submit.values import Nodes, Values

Object = dict[str, Any]

JOB_FOLDER = "/job"
"""Where the job's files are mounted, and every process begins: their relative paths are right in driver and workers alike."""

ROLE, JOB = "synth-ray/role", "synth-ray/job"
"""Labels of every pod, by which policies and budgets select it."""

_USER = 1000
_OBJECT_STORE = 2_000_000_000
"""Bytes of Ray's object store on a node. Little passes through it: rows go through the bucket."""

_SHM = "3Gi"
_SUBMITTER = {"cpu": "500m", "memory": "1Gi"}
_CACHES = {"HF_HOME": "/cache/huggingface", "VLLM_CACHE_ROOT": "/cache/vllm"}

_SPOT = {
    "gke": ("cloud.google.com/gke-spot", "true"),
    "eks": ("karpenter.sh/capacity-type", "spot"),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot"),
}
"""The label that spot nodes have, and mostly a taint of the same name."""

_NOTICE = {"gke": (15, 12), "eks": (110, 100), "aks": (30, 25)}
"""Seconds from a spot node's notice to its end as pods see it, and how many of them Ray may use to drain the node."""

_USUAL_NOTICE = (120, 100)


class Pods:
    """Makes the pods of one job. `configmap` has the job's files, each at a path; `secrets` are variables that come from the
    values' Secret.
    """

    def __init__(self, values: Values, *, job: str, files: Object, secrets: Sequence[str]) -> None:
        self._values, self._job, self._files, self._secrets = values, job, files, secrets

    def head(self) -> Object:
        nodes = self._values.head
        spec = self._spec("head", nodes, {"cpu": str(nodes.cpus), "memory": nodes.memory}, shm=_SHM)
        return self._template("head", spec | {"serviceAccountName": self._values.head_account})

    def worker(self, group: Group) -> Object:
        nodes: Nodes = self._values.gpu if group.gpus else self._values.cpu
        resources = {"cpu": str(nodes.cpus), "memory": nodes.memory}
        if group.gpus:
            resources[self._values.gpu.resource] = str(group.gpus)
        spec = self._spec("worker", nodes, resources, shm=self._values.gpu.shm if group.gpus else _SHM)
        return self._template("worker", spec | self._plain_account())

    def submitter(self) -> Object:
        """It only tells the head to start the job: no rights, no files, no keys."""
        container = {"name": "ray-job-submitter", **self._image("submitter"), "resources": _limits(_SUBMITTER)}
        spec = {"restartPolicy": "Never", "securityContext": self._security(), "containers": [container]}
        return self._template("submitter", spec | self._plain_account() | self._common())

    def _template(self, role: str, spec: Object) -> Object:
        labels = {JOB: self._job, ROLE: role}
        if self._values.cloud == "aks":  # the account's identity comes to pods that ask for it
            labels["azure.workload.identity/use"] = "true"
        return {"metadata": {"labels": labels}, "spec": spec}

    def _spec(self, role: str, nodes: Nodes, resources: dict[str, str], *, shm: str) -> Object:
        grace, drain = _NOTICE.get(self._values.cloud, _USUAL_NOTICE) if nodes.spot else _USUAL_NOTICE
        container = {
            "name": f"ray-{role}",
            **self._image("gpu" if self._values.gpu.resource in resources else "cpu"),
            "workingDir": JOB_FOLDER,
            "env": self._env(drain),
            "resources": _limits(resources),
            "volumeMounts": [
                {"name": "job", "mountPath": JOB_FOLDER, "readOnly": True},
                {"name": "cache", "mountPath": "/cache"},
                {"name": "shm", "mountPath": "/dev/shm"},
            ],
        }
        return {
            "terminationGracePeriodSeconds": grace,
            "securityContext": self._security(),
            **self._common(),
            **self._where(nodes),
            "containers": [container],
            "volumes": [self._files, self._cache(), {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}}],
        }

    def _image(self, target: str) -> Object:
        image = self._values.image
        return {
            "image": image.gpu if target == "gpu" else image.cpu,
            "imagePullPolicy": image.pull_policy,
            "securityContext": container_security(),
        }

    def _common(self) -> Object:
        common: Object = {}
        if self._values.priority_class:
            common["priorityClassName"] = self._values.priority_class
        if self._values.image.pull_secret:
            common["imagePullSecrets"] = [{"name": self._values.image.pull_secret}]
        return common

    def _security(self) -> Object:
        profile = self._values.seccomp_profile
        seccomp = {"type": "Localhost", "localhostProfile": profile} if profile else {"type": "RuntimeDefault"}
        ids = {"runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER}
        return {"runAsNonRoot": True, **ids, "seccompProfile": seccomp}

    def _plain_account(self) -> Object:
        """Its identity is for the bucket; the API server is nothing to it."""
        return {"serviceAccountName": self._values.service_account, "automountServiceAccountToken": False}

    def _env(self, drain: int) -> list[Object]:
        plain = {
            "PYTHONPATH": JOB_FOLDER,
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain),
            "RAY_USAGE_STATS_ENABLED": "0",
            **_CACHES,
        }
        secrets = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": self._values.secret, "key": name}}} for name in self._secrets
        ]
        return [{"name": name, "value": value} for name, value in plain.items()] + secrets

    def _cache(self) -> Object:
        cache = self._values.cache
        if cache.claim:
            return {"name": "cache", "persistentVolumeClaim": {"claimName": cache.claim}}
        return {"name": "cache", "emptyDir": {"sizeLimit": cache.size}}

    def _where(self, nodes: Nodes) -> Object:
        label = _SPOT.get(self._values.cloud)
        selector, tolerations, where = dict(nodes.node_selector), list(nodes.tolerations), {}
        if isinstance(nodes, type(self._values.gpu)):
            tolerations.insert(0, {"key": self._values.gpu.resource, "operator": "Exists", "effect": "NoSchedule"})
        if label and nodes.spot:
            selector[label[0]] = label[1]
            tolerations.append({"key": label[0], "operator": "Equal", "value": label[1], "effect": "NoSchedule"})
        elif label:
            where["affinity"] = _away_from(*label)
        return where | {k: v for k, v in (("nodeSelector", selector), ("tolerations", tolerations)) if v}


def object_store() -> dict[str, str]:
    """The start parameter of every node."""
    return {"object-store-memory": str(_OBJECT_STORE)}


def container_security() -> Object:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _limits(resources: dict[str, str]) -> Object:
    """Requests and limits are the same: Ray counts by limits, the scheduler by requests."""
    return {"requests": dict(resources), "limits": dict(resources)}


def _away_from(label: str, value: str) -> Object:
    wanted = {"matchExpressions": [{"key": label, "operator": "NotIn", "values": [value]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [wanted]}}}
