"""Would another order, or another size, have hit more often? Pure.

A sample of the keys is replayed in small caches that hold no answers (spatially hashed sampling: Waldspurger et al.,
FAST 2015 and ATC 2017). All of them see the same requests, so that their hits can be compared one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from agent_runtime.cache.eviction import CHANGING, LRU, STEADY, Order, Queues

ORDERS = (STEADY, CHANGING, LRU)
"""The first one is where a cache begins."""

SHADOW_ENTRIES = 512
"""Most entries of a shadow of the cache's own size: enough to tell orders apart, few enough to cost nothing."""

MEMORY_ROUNDS = 10
"""After so many requests per entry what was seen counts half: longer than a cache needs to fill anew."""

CLEAR = 2.0
"""Standard deviations of a fair coin by which another order must lead."""

ENOUGH_ROUNDS = 3
"""After so many requests per entry the sizes have shown what they hit."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What another size would change in the share of hits, in [0, 1]."""

    gain: float
    """Hits more at double the size."""
    loss: float
    """Hits fewer at half the size."""


class Shadow:
    """What orders and sizes would have done with the requests of a cache with these bounds."""

    def __init__(self, max_entries: int, max_bytes: int, *, order: Order = STEADY, sizes: bool = False) -> None:
        """``order``: where to begin. ``sizes``: try half and double the size too."""
        self._rate = -(-max_entries // SHADOW_ENTRIES)
        entries, size = max(max_entries // self._rate, 1), max(max_bytes // self._rate, 1)
        self._orders = [Queues(entries, size, one) for one in ORDERS]
        scales = ((max(entries // 2, 1), max(size // 2, 1)), (entries * 2, size * 2)) if sizes else ()
        self._sizes = [Queues(*bounds, order) for bounds in scales]
        self._entries = entries
        self._requests = 0
        self._hits = [0.0] * (len(ORDERS) + len(scales))
        self._contested = [0.0] * len(ORDERS)
        self._best = ORDERS.index(order)

    @property
    def order(self) -> Order:
        """The one that hits most often, as far as that is clear."""
        return ORDERS[self._best]

    @property
    def sizes(self) -> Sizes | None:
        """What other sizes would change; None while that is not known."""
        if not self._sizes or self._requests < ENOUGH_ROUNDS * self._entries:
            return None
        own = self._hits[self._best]
        half, double = self._hits[len(ORDERS) :]
        return Sizes(gain=(double - own) / self._requests, loss=(own - half) / self._requests)

    def samples(self, key: str) -> bool:
        """Does this key count?"""
        return self._rate == 1 or not crc32(key.encode()) % self._rate

    def asked(self, key: str) -> None:
        """A sampled key was asked for."""
        hits = [queues.touch(key) for queues in (*self._orders, *self._sizes)]
        for place, hit in enumerate(hits):
            self._hits[place] += hit
        orders = hits[: len(ORDERS)]
        if any(orders) and not all(orders):
            for place, hit in enumerate(orders):
                self._contested[place] += hit != orders[self._best]
            self._choose()
        self._requests += 1
        if self._requests >= MEMORY_ROUNDS * self._entries:
            self._requests //= 2
            self._hits = [count / 2 for count in self._hits]
            self._contested = [count / 2 for count in self._contested]

    def stored(self, key: str, size_bytes: int) -> None:
        """The answer of a sampled key is there."""
        for queues in (*self._orders, *self._sizes):
            if key not in queues:
                queues.add(key, size_bytes)

    def _choose(self) -> None:
        hits = self._hits[: len(ORDERS)]
        leader = max(range(len(ORDERS)), key=hits.__getitem__)
        if hits[leader] - hits[self._best] > CLEAR * self._contested[leader] ** 0.5:
            self._best = leader
            for queues in self._sizes:
                queues.follow(self.order)
