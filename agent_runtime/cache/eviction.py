"""Which answer goes when there is no room for another? Pure.

S3-FIFO (Yang et al., SOSP 2023): newcomers wait in a small queue, those asked for again move to the main one, the
others leave fast but are remembered, so that one who comes back enters the main queue at once. How much room the
newcomers get is open: the paper's tenth is best where the wanted answers stay the same; the faster they change the more
is right, and with all of it the order is LRU. Entries and bytes are two bounds; what fills first counts.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_LIVES = 3
"""A key asked for more often than that is not worth more (two bits in S3-FIFO)."""

LRU = 1.0
"""The share of the newcomers with which the order is that of last use."""


class Queues:
    """Keys and their sizes, in the order in which they leave."""

    __slots__ = ("_forgotten", "_main", "_small", "_small_bytes", "bytes", "max_bytes", "max_entries", "share")

    def __init__(self, max_entries: int, max_bytes: int, share: float) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.share = share
        """Of the room, for newcomers: above 0, at most 1."""
        self.bytes = 0
        self._small: OrderedDict[str, list[int]] = OrderedDict()  # key → [size in bytes, lives]
        self._main: OrderedDict[str, list[int]] = OrderedDict()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._small_bytes = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, key: object) -> bool:
        return key in self._small or key in self._main

    def touch(self, key: str) -> bool:
        """Was this key here? It was asked for."""
        node = self._small.get(key)
        if node is None:
            node = self._main.get(key)
            if node is None:
                return False
        elif self.share == LRU:
            self._small.move_to_end(key)
        if node[1] < MOST_LIVES:
            node[1] += 1
        return True

    def add(self, key: str, size_bytes: int) -> list[str]:
        """Take a key in, or its new size; gives the keys that had to go, which may be the new one itself."""
        self.remove(key)
        self.bytes += size_bytes
        if key in self._forgotten:
            del self._forgotten[key]
            self._main[key] = [size_bytes, 0]
        else:
            self._small[key] = [size_bytes, 0]
            self._small_bytes += size_bytes
        return self._make_room()

    def remove(self, key: str) -> None:
        """Take a key out; it may be unknown."""
        node = self._small.pop(key, None)
        if node is not None:
            self._small_bytes -= node[0]
        else:
            node = self._main.pop(key, None)
        if node is not None:
            self.bytes -= node[0]

    def clear(self) -> None:
        """Take all keys out and forget the past."""
        self._small.clear()
        self._main.clear()
        self._forgotten.clear()
        self.bytes = self._small_bytes = 0

    def resize(self, max_entries: int, max_bytes: int) -> list[str]:
        """Other bounds; gives the keys that had to go."""
        self.max_entries, self.max_bytes = max_entries, max_bytes
        return self._make_room()

    def give_newcomers(self, share: float) -> None:
        """Change their share of the room. For LRU the main queue's keys count as the oldest."""
        self.share = share
        if share == LRU:
            self._main.update(self._small)
            self._small, self._main = self._main, OrderedDict()
            self._small_bytes = self.bytes
            self._forgotten.clear()

    def _make_room(self) -> list[str]:
        gone: list[str] = []
        while len(self._small) + len(self._main) > self.max_entries or self.bytes > self.max_bytes:
            if not self._main or (self._small and self._small_is_full()):
                self._leave_small(gone)
            else:
                self._leave_main(gone)
        return gone

    def _small_is_full(self) -> bool:
        return len(self._small) > self.max_entries * self.share or self._small_bytes > self.max_bytes * self.share

    def _leave_small(self, gone: list[str]) -> None:
        key, node = self._small.popitem(last=False)
        self._small_bytes -= node[0]
        if node[1] and self.share < LRU:
            node[1] = 0
            self._main[key] = node
            return
        self.bytes -= node[0]
        gone.append(key)
        if self.share < LRU:
            self._forgotten[key] = None
            while len(self._forgotten) > max(len(self), 1):
                self._forgotten.popitem(last=False)

    def _leave_main(self, gone: list[str]) -> None:
        key, node = self._main.popitem(last=False)
        if node[1]:
            node[1] -= 1
            self._main[key] = node
            return
        self.bytes -= node[0]
        gone.append(key)
