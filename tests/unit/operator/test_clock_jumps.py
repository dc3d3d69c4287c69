"""What two readings under different times may not be taken for: hours of work, or a flood of arrivals."""

from __future__ import annotations

import pytest

from agentpool_operator.decide.facts import QueueFacts, Trouble
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Refusal
from tests.unit.operator.make import heartbeat, pod

POOL = PoolKey("team", "research")
NOW = 1_800_000_000.0


class World:
    """One pool with a queue, whose agents report by one clock and whose operator reads by another."""

    def __init__(self) -> None:
        self.store, self.readings, self.done = Store(), Readings(), 0
        self.store.pods[POOL] = {"p-1": pod()}

    def read(self, at_s: float, *, reports_at_s: float | None = None, seconds: int = 1):
        for second in range(seconds):
            self.done += 1
            report = heartbeat(at_s=(reports_at_s or at_s) + second, arrivals_total=self.done)
            queue = QueueFacts(key="q", lag=0, pending=1, added=self.done, held={"p-1": 1})
            self.readings.take_heartbeats(
                {POOL: {report.uid: report}}, self.store, now_s=at_s + second, queues={POOL: queue}
            )
        return self.readings.of(POOL)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
@pytest.mark.parametrize("everybodys", [True, False], ids=["of the whole node", "of the operator alone"])
def test_a_clock_that_jumps_and_is_set_right_makes_neither_long_tasks_nor_a_flood(jump_s, everybodys):
    world = World()
    world.read(NOW, seconds=30)
    away = NOW + 30 + jump_s
    world.read(away, reports_at_s=None if everybodys else NOW + 30, seconds=30)
    stats = world.read(NOW + 60, seconds=30)
    assert stats.service_s is None or stats.service_s < 5
    assert stats.arrivals_by_s is not None, "rates are known again within half a minute"
    assert max(stats.arrivals_by_s) < 5


def test_periods_of_a_minute_are_no_jump():
    world = World()
    world.read(NOW)
    tracker = world.readings.trackers[POOL]
    world.read(NOW + 65)
    assert world.readings.trackers[POOL] is tracker


def test_what_was_refused_is_tried_again_in_a_minute_whatever_the_clock_does():
    refusal = Refusal("d", Trouble(reason="ManifestRefused", message="no"), NOW, 60.0)
    assert [refusal.is_due(NOW + after_s) for after_s in (0, 59, 60, -3600, 3600)] == [False, False, True, True, True]
