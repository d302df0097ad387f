"""What a cluster's operators decide for the manifests of all jobs: images, nodes, accounts, limits. No secret is among them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from synth_ray.job.problems import bad_job, problems_of
from synth_ray.job.section import Section, key
from synth_ray.job.yaml_file import read_yaml

_VERSION = version("synth-ray")
_MEMORY = r"^[1-9][0-9]*(Mi|Gi|Ti)$"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_NAME_OR_NONE = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"


class Image(Section):
    """The images, one of either target of `infra/image/Dockerfile`."""

    cpu: str = key(f"synth-ray:{_VERSION}-cpu", "For the head, the CPU group and the submitter.", min_length=1)
    gpu: str = key(f"synth-ray:{_VERSION}-gpu", "For GPU groups: the same Python and Ray to the patch.", min_length=1)
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = key("IfNotPresent", "When nodes fetch an image.")
    pull_secret: str = key("", "Name of the Secret with the registry's credentials; empty for none.", pattern=_NAME_OR_NONE)


class Nodes(Section):
    """The shape of a group's pods, and the nodes they may run on."""

    cpus: int = key(4, "CPUs of a pod.", ge=1, le=1024)
    memory: str = key("16Gi", "Memory of a pod, /dev/shm included.", pattern=_MEMORY)
    spot: bool = key(False, "Ask for spot nodes, which may be taken away.")
    node_selector: dict[str, str] = key(dict, "Further labels that its nodes must have.")
    tolerations: list[dict[str, Any]] = key(list, "Further taints that its pods tolerate.")


class GpuNodes(Nodes):
    """The shape of pods with GPUs: each has as many GPUs as one replica of its pool uses."""

    cpus: int = key(8, "CPUs of a pod.", ge=1, le=1024)
    memory: str = key("64Gi", "Memory of a pod, /dev/shm included.", pattern=_MEMORY)
    spot: bool = key(True, "Ask for spot nodes, which may be taken away.")
    resource: str = key("nvidia.com/gpu", "The name by which Kubernetes counts GPUs.", min_length=3)
    per_node: int = key(8, "Most GPUs of one pod: those of one node.", ge=1, le=64)
    shm: str = key("10Gi", "Size of /dev/shm: the object store, and what tensor parallelism exchanges.", pattern=_MEMORY)


class Cache(Section):
    """Where weights and compiled kernels are kept, at /cache of every pod."""

    claim: str = key(
        "", "A PersistentVolumeClaim that several nodes may mount; empty keeps them with the pod.", pattern=_NAME_OR_NONE
    )
    size: str = key("200Gi", "Most that a pod's own cache may hold, without a claim.", pattern=_MEMORY)


class Limits(Section):
    """When Kubernetes gives up, or cleans up."""

    lost_heads: int = key(3, "Most new clusters after a lost head; each goes on where the last one stopped.", ge=0, le=100)
    start_seconds: int = key(3600, "Most seconds until the head and the submitter are up.", ge=60)
    run_seconds: int = key(7 * 86_400, "Most seconds of a run whose job has no budget.max_seconds.", ge=60)
    margin_seconds: int = key(3600, "Beyond budget.max_seconds, for start, admission and publishing.", ge=0)
    idle_seconds: int = key(300, "Seconds after which an idle worker is removed.", ge=1)
    keep_seconds: int = key(600, "Seconds that the cluster, its GPUs idle, is kept after the job, for its logs.", ge=0)


class Network(Section):
    """Who may talk to whom, besides the pods of one job among themselves."""

    operator_namespace: str = key("kuberay-system", "Where KubeRay's operator runs: it asks the head for the job.", pattern=_NAME)
    monitoring_namespace: str = key("monitoring", "Where Prometheus runs, which reads the metrics.", pattern=_NAME)
    egress: list[dict[str, Any]] = key(list, "Further egress rules of a NetworkPolicy, as for a teacher's server in the cluster.")


class Values(Section):
    """The values file of `submit --render`. Every key has a default."""

    namespace: str = key("synth-ray", "The namespace of the objects.", pattern=_NAME, max_length=63)
    cloud: Literal["gke", "eks", "aks", "none"] = key(
        "none", "Whose labels and taints spot nodes have, and how long before their end they are told; none for other clusters."
    )
    image: Image = key(Image, "The images.")
    head: Nodes = key(lambda: Nodes(memory="32Gi"), "The head: the driver runs there, and nothing else of the job.")
    cpu: Nodes = key(Nodes, "The CPU group: it checks, scrubs and fingerprints.")
    gpu: GpuNodes = key(GpuNodes, "The GPU groups, one a pool.")
    cache: Cache = key(Cache, "Weights and compiled kernels.")
    secret: str = key("synth-ray-keys", "The Secret whose keys are the variables that the job names.", pattern=_NAME_OR_NONE)
    secret_env: list[str] = key(list, "Further keys of that Secret that pods get as variables, as HF_TOKEN.")
    token_secret: str = key(
        "synth-ray-token", "The Secret with Ray's `auth_token`; empty is no authentication.", pattern=_NAME_OR_NONE
    )
    service_account: str = key("synth-ray", "The account of workers and submitter: it may use the bucket.", pattern=_NAME_OR_NONE)
    head_account: str = key("synth-ray-head", "The account of the head: it may scale its cluster, too.", pattern=_NAME_OR_NONE)
    seccomp_profile: str = key(
        "",
        "A seccomp profile on the nodes, for recipes that run programs or tools; empty is the runtime's own, which forbids them.",
    )
    priority_class: str = key("", "The PriorityClass of all pods; empty is the cluster's default.", pattern=_NAME_OR_NONE)
    queue: str = key("", "Kueue's LocalQueue; empty starts at once.", pattern=_NAME_OR_NONE)
    limits: Limits = key(Limits, "When to give up, or clean up.")
    network: Network = key(Network, "Who may talk to whom.")


def values_in(path: str | Path | None) -> Values:
    """The values of a YAML file; the defaults without one. Raises BadJob with every problem and its line."""
    if path is None:
        return Values()
    document, lines = read_yaml(path)
    try:
        return Values.model_validate(document)
    except ValidationError as error:
        raise bad_job(problems_of(error, Values, file=str(path), lines=lines)) from None
