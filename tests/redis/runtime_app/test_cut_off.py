"""Agents that lose Redis while others purge: what may they still serve when it is back?"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent_runtime.cache import listening
from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, until
from tests.redis.runtime_app.test_shared_streams import outcome
from tests.redis.runtime_app.upstream import Upstream


class Line:
    """A line to Redis that can be cut: what is sent is swallowed, as by a network that drops packets."""

    def __init__(self, redis_server: RedisServer) -> None:
        self._redis = redis_server
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.passes = asyncio.Event()
        self.passes.set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._redis.port)
        for source, target in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self.passes.is_set():
                    writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def line(redis_server: RedisServer) -> AsyncIterator[Line]:
    made = Line(redis_server)
    await made.start()
    yield made
    await made.stop()


async def purged(runtime: Runtime) -> int:
    async with runtime.session.post(f"{runtime.url}/cache/purge", headers=BEARER) as response:
        return int(response.status)


async def test_an_agent_that_was_cut_off_serves_nothing_purged_from_the_moment_it_is_back(
    line: Line, start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    monkeypatch.setattr(listening, "CATCH_UP_S", 3600.0)  # the return alone must be enough
    near = await start(redis_url=redis_server.url)
    monkeypatch.setattr("agent_runtime.redis.link.BACKGROUND_PATIENCE_S", 3.0)
    far = await start(redis_url=line.url)
    assert (await outcome(far.chat("secret")))[0] == "miss"
    await until(lambda: not redis_server.command("KEYS", "*flight*"))  # its turn is given back
    line.passes.clear()
    await until(lambda: not far.app.link.available)
    assert await purged(near) == 200
    assert (await outcome(far.chat("secret")))[0] == "l1"  # it cannot know
    line.passes.set()
    await until(lambda: far.app.link.available)
    assert (await outcome(far.chat("secret")))[0] == "miss"
    assert len(upstream.calls) == 2
    heard = dict(far.app.cache.purges._cuts_s)
    assert await purged(near) == 200
    await until(lambda: far.app.cache.purges._cuts_s != heard)  # it listens again


async def test_an_agent_whose_listening_alone_was_cut_listens_again(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    monkeypatch.setattr(listening, "CATCH_UP_S", 3600.0)
    near, far = [await start(redis_url=redis_server.url) for _ in range(2)]
    assert (await outcome(far.chat("secret")))[0] == "miss"
    redis_server.command("CLIENT", "KILL", "TYPE", "pubsub")
    assert await purged(near) == 200
    await until(lambda: bool(far.app.cache.purges._cuts_s))
    assert (await outcome(far.chat("secret")))[0] == "miss"


async def test_an_agent_that_starts_late_knows_what_was_purged_before_its_first_answer(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    first = await start(redis_url=redis_server.url)
    await outcome(first.chat("secret"))
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    assert await purged(first) == 200
    late = await start(redis_url=redis_server.url)
    assert late.app.cache.purges._cuts_s
    assert (await outcome(late.chat("secret")))[0] == "miss"
