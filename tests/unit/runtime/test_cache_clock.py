"""Wall clocks that jump: nobody gets an answer older than allowed."""

from agent_runtime.app import CLOCK_STEP_S, App
from agent_runtime.cache.control import CacheControl
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.cache.responses import MOST_SKEW_S, Lookup, ResponseCache
from tests.unit.runtime.builders import entry, policies

NOW = 1_000_000_000.0
ASK = Lookup("k", "tenant", CacheControl())


class Shared:
    """Redis, whose own time runs on: it keeps the answer for ``ttl`` and the hour for stale ones."""

    def __init__(self) -> None:
        self.kept = {}

    async def get(self, key: str):
        return self.kept.get(key)

    def put(self, key: str, stored) -> None:
        self.kept[key] = stored


def cache_with_answer() -> ResponseCache:
    shared = Shared()
    cache = ResponseCache(MemoryTier(10, 100_000, 3600), shared, policies(600))  # type: ignore[arg-type]
    cache.store("k", entry(stored_s=NOW, expires_s=NOW + 600), NOW)
    return cache


async def test_a_clock_set_back_serves_nothing_stored_before_until_it_is_as_late_again() -> None:
    cache = cache_with_answer()
    back_s = 900.0
    await cache.clock_went_back(NOW + 300, NOW + 300 - back_s)
    for later_s in (0.0, 400.0, 600.0, 899.0):  # the answer's real age is 300 s and more
        now_s = NOW + 300 - back_s + later_s
        assert cache.lookup(ASK, now_s) is None and await cache.lookup_shared(ASK, now_s) is None
    now_s = NOW + 300 - back_s + 100
    cache.store("new", entry(stored_s=now_s, expires_s=now_s + 600), now_s)
    new = Lookup("new", "tenant", CacheControl())
    assert cache.lookup(new, NOW + 300 - back_s + 99) is None  # its age cannot be told from an old one's yet
    cache.store("new", entry(stored_s=NOW + 301, expires_s=NOW + 901), NOW + 301)
    assert cache.lookup(new, NOW + 302) is not None


async def test_a_clock_that_was_years_ahead_does_not_switch_the_cache_off_for_years() -> None:
    cache = cache_with_answer()
    now_s = NOW - 10**8
    await cache.clock_went_back(NOW + 1, now_s)
    assert await cache.lookup_shared(ASK, now_s) is None
    cache.store("k", entry(stored_s=now_s, expires_s=now_s + 600), now_s)
    assert cache.lookup(ASK, now_s + 1) is not None


async def test_an_answer_from_the_future_has_no_known_age() -> None:
    cache = cache_with_answer()
    assert cache.lookup(ASK, NOW - MOST_SKEW_S) is not None
    assert cache.lookup(ASK, NOW - MOST_SKEW_S - 1) is None


def test_a_clock_that_jumps_forward_ends_lives_early() -> None:
    cache = cache_with_answer()
    assert cache.lookup(ASK, NOW + 10_000) is None


async def test_the_runtime_notices_a_step_back_and_no_slew(monkeypatch) -> None:
    class Watching(App):
        def __init__(self, cache) -> None:
            self.cache, self._clock_offset_s, self.begun = cache, 100.0, []

        def _run(self, work) -> None:
            self.begun.append(work)

    watching = Watching(cache_with_answer())
    moments = iter([(500.0, 400.0), (501.0 - CLOCK_STEP_S, 401.0), (400.0, 402.0)])
    now = [0.0, 0.0]
    monkeypatch.setattr("agent_runtime.app.unix_time", lambda: now[0])
    monkeypatch.setattr("agent_runtime.app.clock", lambda: now[1])
    for steps in (0, 0, 1):
        now[:] = next(moments)
        watching._watch_clock()
        assert len(watching.begun) == steps
    await watching.begun[0]
    assert watching.cache.memory.entries == 0
