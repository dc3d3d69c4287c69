"""Fifty pools: memory, and what a restart costs."""

from __future__ import annotations

import time

import pytest

from tests.api.pools import Pool
from tests.api.support import POOLS as POOLS_PATH
from tests.api.support import Cluster, condition, until

POOLS = 50
MEMORY_BYTES = 150 * 2**20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_pools_fit_in_little_memory_and_a_restart_repeats_nothing(
    start, cluster: Cluster, namespace, user, agents
):
    operator = start()
    began = time.monotonic()
    for number in range(POOLS):
        Pool(cluster, namespace, f"pool-{number}").apply()
    folder = POOLS_PATH.format(namespace)

    def all_are(type_: str, *expected: str) -> bool:
        time.sleep(0.2)
        return all(condition(pool, type_) == expected for pool in cluster.items(folder))

    until(lambda: all_are("Ready", "True", "AgentsReady"), "all pools", 120)
    print(f"\n{POOLS} pools ready after {time.monotonic() - began:.1f} s")
    until(lambda: all_are("Progressing", "False", "Stable"), "rest", 60)
    time.sleep(15)
    passes = operator.metric('agentpool_operator_pass_seconds_count{kind="AgentPool"}')
    spent_s = operator.metric('agentpool_operator_pass_seconds_sum{kind="AgentPool"}')
    before = len(cluster.writes(user))
    time.sleep(10)
    count = operator.metric('agentpool_operator_pass_seconds_count{kind="AgentPool"}') - passes
    took_s = operator.metric('agentpool_operator_pass_seconds_sum{kind="AgentPool"}') - spent_s
    print(f"memory {operator.rss_bytes() / 2**20:.0f} MiB; {count:.0f} passes of {took_s / count * 1000:.2f} ms")
    assert cluster.writes(user)[before:] == []
    assert operator.rss_bytes() < MEMORY_BYTES

    assert operator.terminate() == 0
    before = len(cluster.writes(user))
    began = time.monotonic()
    again = start()
    until(lambda: again.metric('agentpool_operator_pass_seconds_count{kind="AgentPool"}') >= POOLS, "a pass for each")
    print(f"restarted and looked at all after {time.monotonic() - began:.1f} s")
    time.sleep(5)
    # The Secrets are never read: that they are there is found out by trying to make them.
    assert {write.split()[1] for write in cluster.writes(user)[before:]} == {"secrets"}
