"""Who holds a key of the pool can see where an agent spends its time and memory, while it works."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime, until


@contextlib.asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    async def ask_forever() -> None:
        number = 0
        while True:
            number += 1
            async with runtime.chat(f"question {number}") as response:
                assert response.status == 200

    task = asyncio.create_task(ask_forever())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def profile(runtime: Runtime, kind: str, seconds: str = "0.5", **headers: str) -> aiohttp.client._RequestContextManager:
    return runtime.session.get(f"{runtime.root}/debug/profile/{kind}?seconds={seconds}", headers=BEARER | headers)


async def status(runtime: Runtime, kind: str, seconds: str) -> int:
    async with profile(runtime, kind, seconds) as response:
        await response.read()
        return response.status


async def test_a_flame_graph_shows_the_code_that_answers(runtime: Runtime) -> None:
    async with working(runtime), profile(runtime, "cpu", "1.5") as response:
        assert (response.status, response.content_type) == (200, "image/svg+xml")
        assert "default-src 'none'" in response.headers["content-security-policy"]
        drawn = await response.text()
    assert "agent_runtime.http.service.Service.__call__" in drawn


async def test_a_memory_profile_tells_what_was_allocated_and_what_is_there(runtime: Runtime) -> None:
    async with working(runtime), profile(runtime, "memory") as response:
        assert response.status == 200
        report = await response.json()
    assert report["process_bytes"]["rss"] > 10**7
    assert report["new"]["bytes"] > 0
    assert any("agent_runtime" in place["where"] for place in report["new"]["places"])
    assert report["objects"][0]["count"] > 1000
    assert not tracemalloc.is_tracing()


async def test_one_profile_at_a_time_and_the_next_after_a_caller_has_left(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("cpu", "memory"):
        first = asyncio.create_task(status(runtime, kind, "60"))
        await until(lambda: runtime.app.service._pages._profiler._running)
        async with profile(runtime, "cpu") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (409, "profile_running")
        first.cancel()
        async with asyncio.timeout(50):  # sooner than the first one's time is over
            while (found := await status(runtime, kind, "0.1")) == 409:  # noqa: ASYNC110  (what was left is put away)
                await asyncio.sleep(0.05)
        assert found == 200
    assert not caplog.records


@pytest.mark.parametrize("seconds", ["", "0", "61", "nan", "x", "-1", "1e9"])
async def test_a_wrong_length_is_refused(runtime: Runtime, seconds: str) -> None:
    async with profile(runtime, "cpu", seconds) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "seconds")


async def test_strangers_get_no_profile(runtime: Runtime) -> None:
    for kind in ("cpu", "memory"):
        async with profile(runtime, kind, Authorization="Bearer wrong") as response:
            assert response.status == 401
