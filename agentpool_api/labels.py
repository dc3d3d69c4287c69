"""Which names does agentpool put on Kubernetes objects?"""

GROUP = "agentpool.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "agentpool-operator"

POOL_LABEL = f"{GROUP}/pool"
"""On every object made for a pool: the pool's name."""

CAPACITY_TYPE_LABEL = f"{GROUP}/capacity-type"
"""On pods and Deployments: ``on-demand`` or ``spot``."""

CONFIG_HASH_ANNOTATION = f"{GROUP}/config-hash"
"""On the pod template: a change of configuration rolls the pods."""

APPLIED_HASH_ANNOTATION = f"{GROUP}/applied-hash"
"""On every object made for a pool: what it was last made from, so that a restarted operator writes nothing anew."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "agentpool"

POD_DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes' own hint to the ReplicaSet controller: lower goes first (KEP-2255)."""

RUNTIME_CONTAINER = "agent-runtime"
AGENT_CONTAINER = "agent"
RUNTIME_PORT = 8080
