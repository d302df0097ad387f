"""Who may talk to a job's pods, to whom they may talk, and that nobody evicts its head."""

from __future__ import annotations

from typing import Any

from synth_ray.submit.pods import JOB, ROLE
from synth_ray.submit.values import Network

Object = dict[str, Any]

DASHBOARD = 8265
METRICS = (8080, 44217, 44227)
"""The ports that Prometheus reads: Ray's nodes, the autoscaler, the dashboard."""

_CREDENTIALS = (("169.254.169.254/32", (80,)), ("169.254.169.252/32", (988,)), ("169.254.170.23/32", (80,)))
"""Where a cloud gives out the account's credentials: the instance's metadata, GKE's server, EKS pod identity."""

_NAMESPACE = "kubernetes.io/metadata.name"


def policy_of(job: str, network: Network) -> Object:
    """The NetworkPolicy of the pods of one job: all else is denied, in and out."""
    own = {"podSelector": {"matchLabels": {JOB: job}}}
    ingress = [
        {"from": [own]},
        {"from": [_namespace(network.operator_namespace)], "ports": _tcp(DASHBOARD)},
        {"from": [_namespace(network.monitoring_namespace)], "ports": _tcp(*METRICS)},
    ]
    dns = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    outside = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}
    egress = [
        {"to": [own]},
        dns,
        {"to": [outside], "ports": _tcp(443, 6443)},  # the store, the Hub, and the API server for the head's autoscaler
        *({"to": [{"ipBlock": {"cidr": address}}], "ports": _tcp(*ports)} for address, ports in _CREDENTIALS),
        *network.egress,
    ]
    return {
        "podSelector": {"matchLabels": {JOB: job}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }


def budget_of(job: str) -> Object:
    """The PodDisruptionBudget of the head: a node that is emptied waits for the job, or for whoever stops it."""
    return {"minAvailable": 1, "selector": {"matchLabels": {JOB: job, ROLE: "head"}}}


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}}


def _tcp(*ports: int) -> list[Object]:
    return [{"protocol": "TCP", "port": port} for port in ports]
