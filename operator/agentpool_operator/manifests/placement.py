"""On which nodes do agents of a capacity type run?

The labels and taints with which the common providers mark spot nodes: Karpenter, EKS managed node groups, GKE, AKS
(each provider's documentation of spot node pools).
"""

from __future__ import annotations

from typing import Any

from agentpool_api.agentpool import Spot
from agentpool_operator.manifests.values import SPOT, pod_selector

SPOT_LABELS: tuple[tuple[str, str], ...] = (
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)
SPOT_TAINTS: tuple[tuple[str, str], ...] = (
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)


def make_placement(spot: Spot, pool: str, capacity_type: str) -> dict[str, Any]:
    """The part of a pod's spec that says where it may run.

    With a node selector of the user's, spot agents run nowhere else. Without one the providers' labels are preferred,
    so that a cluster that marks no node still runs them. On-demand agents keep off spot nodes where they can.
    """
    spread = [_spread(pool, capacity_type, key) for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")]
    placement: dict[str, Any] = {"topologySpreadConstraints": spread}
    labels = tuple((spot.node_selector or {}).items()) or SPOT_LABELS
    if capacity_type != SPOT:
        # One term for all labels: a node is avoided by a pod when it carries any of them.
        expressions = [_expression(key, "NotIn", value) for key, value in labels]
        return placement | _preferred([expressions])
    placement["tolerations"] = [*(_toleration(key, value) for key, value in SPOT_TAINTS), *(spot.tolerations or [])]
    if spot.node_selector:
        return placement | {"nodeSelector": dict(spot.node_selector)}
    return placement | _preferred([[_expression(key, "In", value)] for key, value in labels])


def _spread(pool: str, capacity_type: str, topology_key: str) -> dict[str, Any]:
    return {
        "topologyKey": topology_key,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pod_selector(pool, capacity_type)},
    }


def _expression(key: str, operator: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": [value]}


def _preferred(terms: list[list[dict[str, Any]]]) -> dict[str, Any]:
    weighted = [{"weight": 100, "preference": {"matchExpressions": expressions}} for expressions in terms]
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}}


def _toleration(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
