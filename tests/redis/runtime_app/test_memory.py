"""What callers see when memory runs short."""

from tests.redis.runtime_app.conftest import Runtime
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import Upstream


async def test_requests_are_refused_while_memory_is_short_and_served_again_after(
    runtime: Runtime, upstream: Upstream
) -> None:
    guard = runtime.app.guard
    assert (await outcome(runtime.chat("before")))[0] == "miss"
    guard._read = lambda: guard.limit_bytes
    for now_s in range(2):
        guard.check(float(now_s))
    async with runtime.chat("short") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "memory_short")
        assert (response.headers["retry-after"], response.headers["x-should-retry"]) == ("1", "true")
    assert await runtime.metric("agentpool_runtime_cache_entries") == 0
    assert await runtime.metric("agentpool_runtime_memory_sheds") >= 2  # the guard itself may have looked too
    assert await runtime.metric("agentpool_runtime_memory_refused_requests") == 1
    guard._read = lambda: guard.limit_bytes // 2
    guard.check(20.0)
    assert (await outcome(runtime.chat("after")))[0] == "miss"
