"""L1: which answers does this process hold?

W-TinyLFU admission (moka), bounded by bytes and by entries. Moka bounds one weight; an entry weighs its bytes, but at
least an equal share of them, so neither bound can be passed.
"""

from __future__ import annotations

from moka_py import Moka

from agent_runtime.cache.entry import Entry


class MemoryTier:
    """Answers in the process."""

    def __init__(self, max_entries: int, max_bytes: int, keep_stale_s: float = 0.0) -> None:
        self._keep_stale_s = keep_stale_s
        least = max(max_bytes // max_entries, 1)
        self.evictions_total = 0
        self.bytes = 0
        self.entries = 0
        self._max_bytes = max_bytes
        self._moka: Moka[str, Entry] = Moka(
            max_bytes,
            policy="tiny_lfu",
            weigher=lambda _, entry: max(entry.size_bytes, least),
            eviction_listener=self._left,
        )

    def get(self, key: str, now_s: float) -> Entry | None:
        """The answer, fresh or still kept for callers who accept a stale one."""
        entry = self._moka.get(key)
        if entry is not None and entry.expires_s + self._keep_stale_s <= now_s:
            self._moka.remove(key)
            return None
        return entry

    def put(self, key: str, entry: Entry, now_s: float) -> None:
        """Keep an answer until nobody may get it any more or it is worth less than others."""
        life_s = entry.expires_s + self._keep_stale_s - now_s
        if life_s > 0 and entry.size_bytes <= self._max_bytes:
            self.entries += 1
            self.bytes += entry.size_bytes
            self._moka.set(key, entry, ttl=life_s)

    def remove(self, key: str) -> None:
        self._moka.remove(key)

    def clear(self) -> None:
        self._moka.clear()

    def settle(self) -> None:
        """Let pending evictions and expiries happen now, so that the counts are true."""
        self._moka.run_pending_tasks()

    def _left(self, _key: str, entry: Entry, cause: str) -> None:
        self.entries -= 1
        self.bytes -= entry.size_bytes
        if cause == "size":
            self.evictions_total += 1
