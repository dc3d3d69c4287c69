"""What did Redis last say about all pools?

Redis is read once per period for every pool together; passes between two readings see the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from agentpool_api.wire import Heartbeat
from agentpool_operator.decide.budget_windows import CarriedRecord
from agentpool_operator.decide.facts import QueueFacts
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.observe.runtime_stats import NOTHING, PoolStats, PoolTracker
from agentpool_operator.observe.spend import SpendBook
from agentpool_operator.observe.store import Store

log = structlog.get_logger(__name__)

BACK_S, AHEAD_S = -5.0, 120.0
"""Between two readings no more time passes than this, and none goes back: periods are a minute at most."""


@dataclass(slots=True)
class Readings:
    """The newest reading, and what is needed to make rates of the next."""

    redis_up: bool = False
    read_s: float = 0.0
    """When heartbeats were last read: the moment that passes until the next reading see."""
    number: int = 0
    """Counts the readings, those that failed too."""
    stats: dict[PoolKey, PoolStats] = field(default_factory=dict)
    books: dict[PoolKey, SpendBook] = field(default_factory=dict)
    carried: dict[ObjectKey, CarriedRecord] = field(default_factory=dict)
    """By budget: what ``keys.carried`` holds."""
    spend_read_s: float | None = None
    """When spend was last read, by the clock it is counted by; None when Redis is away."""
    clock_ahead_s: float = 0.0
    """How far this clock is ahead of Redis's. Agents' time is charged by the earlier of the two: a clock that jumps
    ahead then charges no time in advance, and one that falls behind only charges it later."""
    trackers: dict[PoolKey, PoolTracker] = field(default_factory=dict)

    def of(self, pool: PoolKey) -> PoolStats:
        """What the pool's agents report; nothing when Redis is away or was not read yet."""
        return self.stats.get(pool, NOTHING)

    def book(self, pool: PoolKey) -> SpendBook:
        """What the pool spent, as far as it was read."""
        return self.books.setdefault(pool, SpendBook())

    def take_heartbeats(
        self,
        heartbeats: Mapping[PoolKey, Mapping[str, Heartbeat]],
        store: Store,
        *,
        now_s: float,
        queues: Mapping[PoolKey, QueueFacts] | None = None,
    ) -> None:
        """Take in one reading of every pool's heartbeats, by pod UID, and of the queues that pools name."""
        passed_s = now_s - self.read_s
        if self.redis_up and not BACK_S <= passed_s <= AHEAD_S:
            # Nobody lived through that time: taken for an interval, it would make tasks seem to have lasted for hours.
            log.warning("the clock jumped, rates begin anew", passed_s=round(passed_s))
            self.trackers.clear()
        self.redis_up, self.read_s = True, now_s
        self.number += 1
        queues = queues or {}
        self._drop_others(heartbeats)
        for pool, reports in heartbeats.items():
            tracker = self.trackers.setdefault(pool, PoolTracker())
            self.stats[pool] = tracker.update(reports, store.pods_of(pool), now_s=now_s, queue=queues.get(pool))

    def lose_redis(self) -> None:
        """Nothing is known any more. Rates begin anew, for what happened meanwhile was not seen."""
        self.redis_up = False
        self.number += 1
        self.stats.clear()
        self.trackers.clear()
        self.books.clear()
        self.spend_read_s = None

    def _drop_others(self, pools: Iterable[PoolKey]) -> None:
        for gone in self.trackers.keys() - set(pools):
            del self.trackers[gone]
            self.stats.pop(gone, None)
            self.books.pop(gone, None)
