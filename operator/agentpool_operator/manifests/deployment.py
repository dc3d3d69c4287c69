"""Which Deployments does a pool have? One per capacity type."""

from __future__ import annotations

from agentpool_api.labels import CAPACITY_TYPE_LABEL
from agentpool_operator.decide.split import CapacitySplit
from agentpool_operator.manifests.pod_template import make_pod_template
from agentpool_operator.manifests.values import ON_DEMAND, SPOT, Manifest, PoolValues, make_object, pod_selector


def make_deployments(values: PoolValues, split: CapacitySplit) -> list[Manifest]:
    """Both Deployments, always: one without agents costs nothing and takes over at once."""
    return [
        make_deployment(values, ON_DEMAND, split.on_demand),
        make_deployment(values, SPOT, split.spot),
    ]


def make_deployment(values: PoolValues, capacity_type: str, replicas: int) -> Manifest:
    """One Deployment. An update never takes an agent away before its successor serves."""
    manifest = make_object(
        values,
        "apps/v1",
        "Deployment",
        values.deployment_name(capacity_type),
        spec={
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": pod_selector(values.name, capacity_type)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": make_pod_template(values, capacity_type),
        },
    )
    manifest["metadata"]["labels"][CAPACITY_TYPE_LABEL] = capacity_type
    return manifest
