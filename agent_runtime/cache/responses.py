"""Where is an answer looked up and stored? In the process first, then in Redis; a hit moves up with its remaining life.

A tier that fails is a miss. Which answer a caller accepts is the caller's Cache-Control.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runtime.cache.broadcast import Broadcast
from agent_runtime.cache.control import CacheControl
from agent_runtime.cache.disk import DiskTier
from agent_runtime.cache.entry import Entry
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.cache.policies import Policy
from agent_runtime.cache.purges import Purges
from agent_runtime.cache.shared import SharedTier, Turn

if TYPE_CHECKING:
    from agent_runtime.cache.duplicates import Duplicates

TIERS = ("l1", "l2", "l3")
"""The process, Redis, this agent's disk."""


MOST_SKEW_S = 10.0
"""An answer from further in the future was stored by a clock that is wrong, or was wrong here: its age is unknown."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is looked for, and what will do."""

    key: str
    tenant: str
    control: CacheControl
    stale_s: float = 0.0
    """How stale an answer may be."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer from the cache."""

    entry: Entry
    tier: str
    age_s: float
    stale: bool = False
    """Too old for the caller's other wishes, and served because it accepts a stale one."""


class ResponseCache:
    """The tiers of the response cache, fastest first."""

    def __init__(
        self,
        memory: MemoryTier,
        shared: SharedTier | None,
        policies: Mapping[str, Policy],
        disk: DiskTier | None = None,
        broadcast: Broadcast | None = None,
    ) -> None:
        there = {"l1"} | ({"l2"} if shared is not None else set()) | ({"l3"} if disk is not None else set())
        self._tiers = {kind: (policy.tiers & there) or {"l1"} for kind, policy in policies.items()}
        self._policies = policies
        self.disk = disk
        self.memory = memory
        self.shared = shared
        self._distrusted_until_s = 0.0
        self.broadcast = broadcast
        self.duplicates: Duplicates | None = None
        """Finds answers that are nearly the same, for Redis and the disk."""
        self.addressed = False
        """Stored answers can be read by GET at an address of their own."""
        self.purges = Purges()
        self.has_room: Callable[[int], bool] = lambda _: True
        """Whether the process has memory for an answer of so many bytes."""
        self.tell_others: Callable[[Sequence[str]], Awaitable[None]] | None = None
        """Lets the pool's other agents know which answers were dropped. Raises ApiError."""

    def lookup(self, ask: Lookup, now_s: float) -> Found | None:
        """The process's answer; never waits."""
        entry = self.memory.get(ask.key, now_s)
        return self._accepted(entry, "l1", ask, now_s) if entry is not None else None

    async def lookup_shared(self, ask: Lookup, now_s: float) -> Found | None:
        """An answer from Redis or from this agent's disk, promoted into the tiers before it."""
        entry = await self._whole(await self.shared.get(ask.key), self.shared.get) if self.shared is not None else None
        if entry is not None and (found := self._accepted(entry, "l2", ask, now_s)) is not None:
            self._put_l1(ask.key, entry, now_s)
            return found
        on_disk = await self._from_disk(ask, now_s)
        if on_disk is not None:
            self._put_l1(ask.key, on_disk.entry, now_s)
            self._put_l2(ask.key, on_disk.entry)
        return on_disk

    async def _from_disk(self, ask: Lookup, now_s: float) -> Found | None:
        entry = await self._whole(await self.disk.get(ask.key), self.disk.get) if self.disk is not None else None
        return self._accepted(entry, "l3", ask, now_s) if entry is not None else None

    async def claim(self, ask: Lookup, now_s: float) -> tuple[Found | None, Turn, str]:
        """An answer as from ``lookup_shared``; without one, whose turn it is to make it, and the turn's name."""
        if self.shared is None:
            return await self.lookup_shared(ask, now_s), Turn.ALONE, ""
        entry, turn, name = await self.shared.claim(ask.key)
        if turn is Turn.TAKEN:
            return None, turn, name
        try:
            entry = await self._whole(entry, self.shared.get)
            found = self._accepted(entry, "l2", ask, now_s) if entry is not None else await self._from_disk(ask, now_s)
        except BaseException:
            if turn is Turn.MINE:  # its caller has left
                self.release(ask.key)
            raise
        if found is not None:
            self._put_l1(ask.key, found.entry, now_s)
            if turn is Turn.MINE:  # it was on the disk: the others find it in Redis now
                self._put_l2(ask.key, found.entry)
                self.release(ask.key)
            return found, Turn.ALONE, ""
        return None, turn, name

    def release(self, key: str) -> None:
        """Let other agents make this answer; after what was stored of it."""
        if self.shared is not None:
            self.shared.release(key)

    async def drop(self, keys: Sequence[str]) -> None:
        """Forget answers in this process, in Redis and in the other agents. Raises ApiError 503 without Redis."""
        for key in keys:
            self.memory.remove(key)
        if self.shared is not None and keys:
            await self.shared.drop(keys)
        if self.disk is not None and keys:
            await self.disk.drop(keys)
        if self.tell_others is not None:
            await self.tell_others(keys)

    def ttl_s(self, kind: str) -> float:
        """How long an answer of this kind may be served."""
        return self._policies[kind].ttl_s

    def store(self, key: str, entry: Entry, now_s: float, tenant: str = "") -> None:
        """Keep an answer in the tiers of its kind."""
        self._put_l1(key, entry, now_s)
        if self.duplicates is not None and self._tiers_of(entry) - {"l1"}:
            entry, canonical = self.duplicates.thin(tenant, entry)
            if canonical is not None:
                self._put_below(*canonical)
        self._put_below(key, entry)

    async def clock_went_back(self, before_s: float, now_s: float) -> None:
        """The clock showed ``before_s`` already: of what was stored until then nobody can tell the age.

        Nothing stored before is served again: not from here, and from Redis not until it has expired.
        """
        longest_s = max(policy.ttl_s for policy in self._policies.values())
        if before_s - now_s <= longest_s + self.memory.keep_stale_s:  # else it is in the future for as long as it lives
            self._distrusted_until_s = max(before_s, self._distrusted_until_s)
        self.memory.clear()
        if self.disk is not None:
            await self.disk.clear()

    def _tiers_of(self, entry: Entry) -> Set[str]:
        return self._tiers.get(entry.kind, frozenset())

    async def _whole(self, entry: Entry | None, get: Callable[[str], Awaitable[Entry | None]]) -> Entry | None:
        """The answer with its own body; None when the canonical one it needs is gone."""
        if entry is None or not entry.base:
            return entry
        from agent_runtime.cache.duplicates import rebuild  # the index's library is loaded only where it is wanted

        known = self.duplicates.canonical(entry.base) if self.duplicates is not None else None
        canonical = known or await get(entry.base)
        return rebuild(entry, canonical) if canonical is not None else None

    def _put_below(self, key: str, entry: Entry) -> None:
        self._put_l2(key, entry)
        if self.disk is not None and "l3" in self._tiers_of(entry):
            self.disk.put(key, entry)

    def _put_l1(self, key: str, entry: Entry, now_s: float) -> None:
        if "l1" in self._tiers_of(entry) and self.has_room(entry.size_bytes):
            self.memory.put(key, entry, now_s)

    def _put_l2(self, key: str, entry: Entry) -> None:
        if self.shared is not None and "l2" in self._tiers_of(entry):
            self.shared.put(key, entry)

    def _accepted(self, entry: Entry, tier: str, ask: Lookup, now_s: float) -> Found | None:
        """``age`` is never negative: the clock of the agent that stored the answer may be ahead."""
        cut_s = max(self.purges.cut_s(ask.tenant, entry.model, ask.key), self._distrusted_until_s)
        if entry.stored_s <= cut_s or entry.stored_s > now_s + MOST_SKEW_S:
            return None
        age_s = max(now_s - entry.stored_s, 0.0)
        staleness_s = ask.control.staleness_s(age_s, entry.expires_s - now_s)
        return Found(entry, tier, age_s, stale=staleness_s > 0) if staleness_s <= ask.stale_s else None
