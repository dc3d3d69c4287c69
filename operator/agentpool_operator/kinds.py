"""Which kinds of objects does the operator touch?

Held as plain JSON objects: the typed models of the client would cost memory and add nothing that is used.
"""

from __future__ import annotations

from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from agentpool_api.labels import GROUP, VERSION

AGENT_POOL: Any = create_namespaced_resource(GROUP, VERSION, "AgentPool", "agentpools")
COST_BUDGET: Any = create_namespaced_resource(GROUP, VERSION, "CostBudget", "costbudgets")
DEPLOYMENT: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
POD: Any = create_namespaced_resource("", "v1", "Pod", "pods")
SERVICE: Any = create_namespaced_resource("", "v1", "Service", "services")
CONFIG_MAP: Any = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
SECRET: Any = create_namespaced_resource("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT: Any = create_namespaced_resource("", "v1", "ServiceAccount", "serviceaccounts")
DISRUPTION_BUDGET: Any = create_namespaced_resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASE: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENT: Any = create_namespaced_resource("events.k8s.io", "v1", "Event", "events")

MANAGED: dict[str, Any] = {
    "Deployment": DEPLOYMENT,
    "Service": SERVICE,
    "ConfigMap": CONFIG_MAP,
    "ServiceAccount": SERVICE_ACCOUNT,
    "PodDisruptionBudget": DISRUPTION_BUDGET,
}
"""Kinds the operator makes for a pool, watches and repairs."""
