"""What did Redis last say about all pools?

Redis is read once per period for every pool together; passes between two readings see the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentpool_operator.observe.cluster import PoolKey, Store
from agentpool_operator.observe.runtime_stats import NOTHING, PoolStats, PoolTracker, parse_heartbeats


@dataclass(slots=True)
class Readings:
    """The newest reading, and what is needed to make rates of the next."""

    redis_up: bool = False
    stats: dict[PoolKey, PoolStats] = field(default_factory=dict)
    trackers: dict[PoolKey, PoolTracker] = field(default_factory=dict)

    def of(self, pool: PoolKey) -> PoolStats:
        """What the pool's agents report; nothing when Redis is away or was not read yet."""
        return self.stats.get(pool, NOTHING)

    def take_heartbeats(self, raw: Mapping[PoolKey, Mapping[bytes, bytes]], store: Store, *, now_s: float) -> None:
        """Take in one reading of every pool's heartbeats."""
        self.redis_up = True
        self._drop_others(raw)
        for pool, hashes in raw.items():
            tracker = self.trackers.setdefault(pool, PoolTracker())
            self.stats[pool] = tracker.update(parse_heartbeats(hashes), store.pods_of(pool), now_s=now_s)

    def lose_redis(self) -> None:
        """Nothing is known any more. Rates begin anew, for what happened meanwhile was not seen."""
        self.redis_up = False
        self.stats.clear()
        self.trackers.clear()

    def _drop_others(self, pools: Iterable[PoolKey]) -> None:
        for gone in self.trackers.keys() - set(pools):
            del self.trackers[gone]
            self.stats.pop(gone, None)
