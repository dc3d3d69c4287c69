from agent_runtime.cache.control import CacheControl
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.cache.responses import Lookup, ResponseCache
from tests.unit.runtime.builders import entry, policies

NOW = 1000.0


def ask(stale_s: float = 0.0, **control) -> Lookup:
    return Lookup("k", "tenant", CacheControl(**control), stale_s)


def test_neither_bound_is_passed() -> None:
    tier = MemoryTier(max_entries=10, max_bytes=100_000)
    for number in range(100):
        tier.put(str(number), entry(b"x" * (100 if number % 2 else 15_000)), NOW)
    tier.settle(NOW)
    assert 0 < tier.entries <= 10
    assert 0 < tier.bytes <= 100_000
    assert tier.evictions_total > 0


def test_an_answer_larger_than_the_tier_is_not_taken() -> None:
    tier = MemoryTier(max_entries=10, max_bytes=1000)
    tier.put("k", entry(b"x" * 2000), NOW)
    assert tier.get("k", NOW) is None


def test_an_answer_is_gone_when_its_time_is_over() -> None:
    tier = MemoryTier(10, 100_000)
    tier.put("k", entry(expires_s=NOW + 60), NOW)
    assert tier.get("k", NOW + 59.9) is not None
    assert tier.get("k", NOW + 60) is None


def test_replaced_and_removed_answers_are_counted_once() -> None:
    tier = MemoryTier(10, 100_000)
    tier.put("k", entry(b"one"), NOW)
    tier.put("k", entry(b"three"), NOW)
    tier.settle(NOW)
    assert (tier.entries, tier.bytes) == (1, entry(b"three").size_bytes)
    tier.remove("k")
    tier.settle(NOW)
    assert (tier.entries, tier.bytes, tier.evictions_total) == (0, 0, 0)


class SharedStub:
    """The shared tier with one answer."""

    def __init__(self, kept: dict) -> None:
        self.kept = kept

    async def get(self, key: str):
        return self.kept.get(key)

    def put(self, key: str, stored) -> None:
        self.kept[key] = stored


async def test_a_hit_moves_up_with_its_remaining_life() -> None:
    kept = {"k": entry(stored_s=NOW - 50, expires_s=NOW + 10)}
    cache = ResponseCache(MemoryTier(10, 100_000), SharedStub(kept), policies(3600))  # type: ignore[arg-type]
    found = await cache.lookup_shared(ask(), NOW)
    assert found is not None and (found.tier, found.age_s) == ("l2", 50)
    promoted = cache.lookup(ask(), NOW + 9)
    assert promoted is not None and (promoted.tier, promoted.age_s) == ("l1", 59)
    assert cache.lookup(ask(), NOW + 10) is None


async def test_an_answer_that_is_too_old_for_the_caller_is_a_miss() -> None:
    cache = ResponseCache(MemoryTier(10, 100_000), None, policies(3600))
    cache.store("k", entry(stored_s=NOW - 20), NOW)
    assert cache.lookup(ask(max_age_s=19), NOW) is None
    assert cache.lookup(ask(max_age_s=20), NOW) is not None


def test_a_clock_that_is_ahead_elsewhere_gives_no_negative_age() -> None:
    cache = ResponseCache(MemoryTier(10, 100_000), None, policies(3600))
    cache.store("k", entry(stored_s=NOW + 5, expires_s=NOW + 65), NOW)
    found = cache.lookup(ask(), NOW)
    assert found is not None and found.age_s == 0


def test_a_stale_answer_is_kept_only_for_those_who_accept_it() -> None:
    cache = ResponseCache(MemoryTier(10, 100_000, keep_stale_s=100), None, policies(60))
    cache.store("k", entry(stored_s=NOW, expires_s=NOW + 60), NOW)
    assert cache.lookup(ask(), NOW + 60) is None
    found = cache.lookup(ask(stale_s=10), NOW + 70)
    assert found is not None and found.stale
    assert cache.lookup(ask(stale_s=10), NOW + 71) is None
    fresh = cache.lookup(ask(stale_s=10), NOW + 59)
    assert fresh is not None and not fresh.stale
    assert cache.lookup(ask(stale_s=1000), NOW + 160) is None


def test_a_purged_answer_is_not_served_in_any_state() -> None:
    cache = ResponseCache(MemoryTier(10, 100_000, keep_stale_s=100), None, policies(60))
    cache.store("k", entry(stored_s=NOW), NOW)
    cache.purges.add("tenant m", NOW)
    assert cache.lookup(ask(stale_s=1000), NOW + 1) is None
    cache.store("k", entry(stored_s=NOW + 2), NOW + 2)
    assert cache.lookup(ask(), NOW + 3) is not None
