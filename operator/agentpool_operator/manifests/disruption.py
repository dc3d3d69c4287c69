"""How many agents may leave at once when nodes are drained?"""

from __future__ import annotations

from agentpool_operator.manifests.values import Manifest, PoolValues, make_object, pod_selector


def make_disruption_budget(values: PoolValues) -> Manifest:
    """At most a quarter of the agents, rounded up; agents that do not serve may always go."""
    return make_object(
        values,
        "policy/v1",
        "PodDisruptionBudget",
        values.name,
        spec={
            "selector": {"matchLabels": pod_selector(values.name)},
            "maxUnavailable": "25%",
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
