"""L1: which answers does this process hold?

Bounded by bytes and by entries, both as they are. Which answer leaves is decided by queues whose order is the one that
shadows of the cache find best for the requests that come (``eviction``, ``shadow``).
"""

from __future__ import annotations

import heapq

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.eviction import STEADY, Order, Queues
from agent_runtime.cache.shadow import Shadow, Sizes

GAIN_TO_GROW = 0.01
"""Doubling must bring one more hit in a hundred requests."""

LOSS_TO_SHRINK = 0.002
"""Half the size is enough when it loses less than two hits in a thousand requests."""

GROW_BELOW = 0.6
"""Share of the memory limit in use up to which the tier grows: the guard lets answers go from 0.8."""

SHRINK_ABOVE = 0.75

MOST_OF_LIMIT = 0.25
"""Share of the memory limit that answers may take."""

SMALLEST_SCALE = 0.125
"""Of the configured size."""


def decide_scale(scale: float, sizes: Sizes | None, memory_share: float, most: float) -> float:
    """The tier's next size, in multiples of the configured one, at most ``most``.

    ``memory_share`` is the part of the process' memory limit in use. Nothing is done without knowing what it would
    change, except that a short memory makes the tier smaller.
    """
    if scale > most or (memory_share >= SHRINK_ABOVE and scale > SMALLEST_SCALE):
        return scale / 2
    if sizes is None:
        return scale
    if sizes.gain >= GAIN_TO_GROW and memory_share < GROW_BELOW and scale * 2 <= most:
        return scale * 2
    if sizes.loss < LOSS_TO_SHRINK and scale > SMALLEST_SCALE:
        return scale / 2
    return scale


class MemoryTier:
    """Answers in the process. ``adaptive``: its size follows what more of it would bring, see ``adapt``."""

    def __init__(self, max_entries: int, max_bytes: int, keep_stale_s: float = 0.0, *, adaptive: bool = False) -> None:
        self.keep_stale_s = keep_stale_s
        self._configured = max_entries, max_bytes
        self._adaptive = adaptive
        self.scale = 1.0
        """Its size in multiples of the configured one."""
        self._entries: dict[str, Entry] = {}
        self._queues = Queues(max_entries, max_bytes, STEADY)
        self._shadow = Shadow(max_entries, max_bytes, sizes=adaptive)
        self._leaving: list[tuple[float, str]] = []
        """Heap of (Unix second, key); what was replaced or evicted meanwhile is in it too."""
        self.evictions_total = 0

    @property
    def entries(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        return self._queues.bytes

    @property
    def max_bytes(self) -> int:
        return self._queues.max_bytes

    @property
    def order(self) -> Order:
        """The one in which answers leave now."""
        return self._queues.order

    @property
    def newcomers_share(self) -> float:
        """Of the answers held; 1 is LRU."""
        return self._queues.newcomers

    def get(self, key: str, now_s: float) -> Entry | None:
        """The answer, fresh or still kept for callers who accept a stale one."""
        entry = self._entries.get(key)
        if entry is not None and entry.expires_s + self.keep_stale_s <= now_s:
            self.remove(key)
            entry = None
        if entry is not None:
            self._queues.touch(key)
        if self._shadow.samples(key):
            self._learn(key, entry)
        return entry

    def put(self, key: str, entry: Entry, now_s: float) -> None:
        """Keep an answer until nobody may get it any more or it is worth less than others."""
        leaves_s = entry.expires_s + self.keep_stale_s
        if leaves_s <= now_s or entry.size_bytes > self._queues.max_bytes:
            return
        self._entries[key] = entry
        self._evict(self._queues.add(key, entry.size_bytes))
        if self._shadow.samples(key):
            self._shadow.stored(key, entry.size_bytes)
        heapq.heappush(self._leaving, (leaves_s, key))
        if len(self._leaving) > 2 * len(self._entries) + 64:
            self._leaving = [(kept.expires_s + self.keep_stale_s, name) for name, kept in self._entries.items()]
            heapq.heapify(self._leaving)

    def remove(self, key: str) -> None:
        if self._entries.pop(key, None) is not None:
            self._queues.remove(key)

    def clear(self) -> None:
        self._entries.clear()
        self._queues.clear()
        self._leaving.clear()

    def settle(self, now_s: float) -> None:
        """Let go what nobody may get any more."""
        while self._leaving and self._leaving[0][0] <= now_s:
            _, key = heapq.heappop(self._leaving)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_s + self.keep_stale_s <= now_s:
                self.remove(key)

    def adapt(self, used_bytes: int, limit_bytes: int) -> None:
        """Grow or shrink, when that is wanted, within the memory there is."""
        if not self._adaptive:
            return
        entries, size = self._configured
        most = limit_bytes * MOST_OF_LIMIT / size
        scale = decide_scale(self.scale, self._shadow.sizes, used_bytes / limit_bytes, most)
        if scale != self.scale:
            self.scale = scale
            entries, size = max(int(entries * scale), 1), max(int(size * scale), 1)
            self._evict(self._queues.resize(entries, size))
            self._shadow = Shadow(entries, size, order=self._queues.order, sizes=True)

    def _learn(self, key: str, entry: Entry | None) -> None:
        self._shadow.asked(key)
        if entry is not None:
            self._shadow.stored(key, entry.size_bytes)
        if self._shadow.order is not self._queues.order:
            self._queues.follow(self._shadow.order)

    def _evict(self, keys: list[str]) -> None:
        for key in keys:
            del self._entries[key]
        self.evictions_total += len(keys)
