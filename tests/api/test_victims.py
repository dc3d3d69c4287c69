"""Who goes when a pool shrinks, with the controllers of a real cluster choosing."""

from __future__ import annotations

from tests.api.pools import Pool
from tests.api.support import CORE, Agents, Cluster, Operator, Redis, rest, until

COST = "controller.kubernetes.io/pod-deletion-cost"


def test_agents_at_work_stay_and_are_stamped_once_just_before(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str, agents: Agents, redis_server: Redis, user: str
):
    pool.apply(minAgents=1, replicas=6, spot={"percent": 0}).wait_replicas(6, 0)
    until(lambda: pool.status.get("readyAgents") == 6, "six agents")

    def names() -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in cluster.items(f"{CORE.format(namespace)}/pods"))

    busy = names()[2:4]
    agents.in_flight_of = dict.fromkeys(busy, 3)
    until(lambda: operator.metric("agentpool_pool_requests_in_flight") == 6, "their work to be seen")
    pool.apply(minAgents=1, replicas=2, spot={"percent": 0}).wait_replicas(2, 0)
    until(lambda: len(names()) == 2, "four to go", seen=names)
    assert names() == busy
    agents.in_flight_of = {}
    until(lambda: operator.metric("agentpool_pool_requests_in_flight") == 0, "their work done")
    rest(operator, 2.0)
    stamps = [write for write in cluster.writes(user) if write.startswith("patch pods ")]
    assert sorted(stamps) == [f"patch pods {name}" for name in busy]
