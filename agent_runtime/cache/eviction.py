"""Which answer goes when there is no room for another? Pure.

S3-FIFO (Yang et al., SOSP 2023): newcomers wait in a small queue, those asked for again move to the main one, the
others leave fast but are remembered, so that one who comes back enters the main queue at once. That is best where the
wanted answers stay the same. Where they change, the main queue is full of what was wanted once: then a key in it loses
its place when nobody asked for it while half of the room was filled anew, and the newcomers get the place. Where even
that is too slow all of the room is the newcomers', in the order of last use. Entries and bytes are two bounds; what
fills first counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf

MOST_LIVES = 3
"""A key asked for more often than that is not worth more (two bits in S3-FIFO)."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order in which keys leave."""

    share: float
    """Of the room, for newcomers, when none else is free: above 0, at most 1."""
    patience: float
    """For how many keys taken in a key of the main queue may go unasked, in multiples of the keys held."""


STEADY = Order(0.1, inf)
"""S3-FIFO with the paper's tenth."""
CHANGING = Order(0.5, 0.5)
LRU = Order(1.0, inf)


class Queues:
    """Keys and their sizes, in the order in which they leave."""

    __slots__ = (
        "_added",
        "_forgotten",
        "_main",
        "_small",
        "_small_bytes",
        "bytes",
        "max_bytes",
        "max_entries",
        "order",
    )

    def __init__(self, max_entries: int, max_bytes: int, order: Order) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.order = order
        self.bytes = 0
        self._small: OrderedDict[str, list[int]] = OrderedDict()  # key → [size in bytes, lives, asked for last]
        self._main: OrderedDict[str, list[int]] = OrderedDict()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._small_bytes = 0
        self._added = 0
        """Keys taken in: the clock of patience."""

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, key: object) -> bool:
        return key in self._small or key in self._main

    @property
    def newcomers(self) -> float:
        """Share of the keys held that have not been asked for again, or are not told apart from those that have."""
        return len(self._small) / len(self) if len(self) else 0.0

    def touch(self, key: str) -> bool:
        """Was this key here? It was asked for."""
        node = self._small.get(key)
        if node is None:
            node = self._main.get(key)
            if node is None:
                return False
        elif self.order is LRU:
            self._small.move_to_end(key)
        node[2] = self._added
        if node[1] < MOST_LIVES:
            node[1] += 1
        return True

    def add(self, key: str, size_bytes: int) -> list[str]:
        """Take a key in, or its new size; gives the keys that had to go, which may be the new one itself."""
        self.remove(key)
        self.bytes += size_bytes
        self._added += 1
        if key in self._forgotten:
            del self._forgotten[key]
            self._main[key] = [size_bytes, 0, self._added]
        else:
            self._small[key] = [size_bytes, 0, self._added]
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

    def follow(self, order: Order) -> None:
        """Change the order. For LRU the main queue's keys count as the oldest."""
        self.order = order
        if order is LRU:
            self._main.update(self._small)
            self._small, self._main = self._main, OrderedDict()
            self._small_bytes = self.bytes
            self._forgotten.clear()

    def _make_room(self) -> list[str]:
        gone: list[str] = []
        while len(self._small) + len(self._main) > self.max_entries or self.bytes > self.max_bytes:
            if self._main_is_outlived():
                self._let_go(*self._main.popitem(last=False), gone)
            elif not self._main or (self._small and self._small_is_full()):
                self._leave_small(gone)
            else:
                self._leave_main(gone)
        return gone

    def _main_is_outlived(self) -> bool:
        """Was the main queue's oldest key not asked for beyond all patience?"""
        if self.order.patience == inf or not self._main:
            return False
        oldest = next(iter(self._main.values()))
        return self._added - oldest[2] > self.order.patience * len(self)

    def _small_is_full(self) -> bool:
        share = self.order.share
        return len(self._small) > self.max_entries * share or self._small_bytes > self.max_bytes * share

    def _leave_small(self, gone: list[str]) -> None:
        key, node = self._small.popitem(last=False)
        self._small_bytes -= node[0]
        if node[1] and self.order is not LRU:
            node[1] = 0
            self._main[key] = node
            return
        self._let_go(key, node, gone)
        if self.order is not LRU:
            self._forgotten[key] = None
            while len(self._forgotten) > max(len(self), 1):
                self._forgotten.popitem(last=False)

    def _leave_main(self, gone: list[str]) -> None:
        key, node = self._main.popitem(last=False)
        if node[1]:
            node[1] -= 1
            self._main[key] = node
        else:
            self._let_go(key, node, gone)

    def _let_go(self, key: str, node: list[int], gone: list[str]) -> None:
        self.bytes -= node[0]
        gone.append(key)
