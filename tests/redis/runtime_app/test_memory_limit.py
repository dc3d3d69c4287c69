"""An agent in a real container limit under more work than fits: it refuses, and the kernel never has to kill it."""

import asyncio
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from agent_runtime.pod.memory import KEEP_UP_TO
from tests.redis.runtime_app.conftest import BEARER, settings_for
from tests.redis.runtime_app.test_process import Process
from tests.redis.runtime_app.upstream import Call, Upstream, answer, completion

MIB = 2**20
LIMIT_BYTES = 128 * MIB
CGROUPS = Path("/sys/fs/cgroup")


class Group:
    """A memory cgroup of version 1 or 2 with a limit."""

    def __init__(self) -> None:
        first = (CGROUPS / "memory").is_dir()
        if not first:
            (CGROUPS / "cgroup.subtree_control").write_text("+memory")
        self._folder = CGROUPS / ("memory" if first else "") / f"agentpool-test-{os.getpid()}"
        self._folder.mkdir()
        (self._folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(LIMIT_BYTES))
        self._kills = self._folder / ("memory.oom_control" if first else "memory.events")

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How often the kernel killed for memory."""
        return int(dict(line.split() for line in self._kills.read_text().splitlines())["oom_kill"])

    def remove(self) -> None:
        self._folder.rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group()
    yield group
    group.remove()


@pytest.fixture
def process(group: Group, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.running is not None:
        process.running.kill()
        _, log = process.running.communicate()
        print(f"killed for memory: {group.kills()}; its log ends: {log[-3000:]}")


class Crowd:
    """Callers, and what they got."""

    def __init__(self, session: aiohttp.ClientSession, process: Process) -> None:
        self._session, self._process = session, process
        self.codes: Counter[int | str] = Counter()

    async def ask(self, text: str) -> None:
        body = orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]})
        headers = BEARER | {"Content-Type": "application/json", "Content-Length": str(len(body))}
        async with self._session.post(self._process.url, data=io.BytesIO(body), headers=headers) as response:
            await response.read()
            self.codes[response.status] += 1
            assert response.status == 200 or (response.status, response.headers["retry-after"]) == (503, "1")

    async def metric(self, name: str) -> float:
        async with self._session.get(f"http://127.0.0.1:{self._process.port}/metrics") as response:
            rows = [line for line in (await response.text()).splitlines() if line.startswith(name + " ")]
            return float(rows[0].rpartition(" ")[2])


async def test_an_agent_survives_more_work_than_fits_into_its_limit(
    process: Process, group: Group, upstream: Upstream
) -> None:
    async def large(call: Call) -> None:
        await asyncio.sleep(0.2)
        await answer(call, 200, orjson.dumps(completion("x" * MIB)))

    upstream.script = large
    cache = {"maxSize": "1Gi", "shared": False}
    process.spawn(settings_for(upstream.url, cache=cache), AGENTPOOL_CONCURRENCY="64")
    assert process.running is not None
    group.add(process.running.pid)
    await process.ready()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
        crowd = Crowd(session, process)
        for start in range(0, 120, 8):  # cached answers of a megabyte each, more than fit
            await asyncio.gather(*(crowd.ask(f"question {start + place}") for place in range(8)))
        assert 0 < await crowd.metric("agentpool_runtime_cache_bytes") < KEEP_UP_TO * LIMIT_BYTES
        assert crowd.codes[200] > 60
        await asyncio.gather(*(crowd.ask(f"large {number} " + "a" * 2 * MIB) for number in range(150)))
        assert crowd.codes[503] > 0
        assert await crowd.metric("agentpool_runtime_memory_refused_requests") >= crowd.codes[503]
        assert await crowd.metric("agentpool_runtime_memory_limit_bytes") == LIMIT_BYTES
        async with asyncio.timeout(60):
            refused = -1
            while refused != crowd.codes[503]:  # once it has made room it serves again
                refused = crowd.codes[503]
                await crowd.ask("one more")
                await asyncio.sleep(0.1)
        peak = await crowd.metric("agentpool_runtime_memory_peak_bytes")
        print(f"answers by code: {dict(crowd.codes)}, most memory seen {peak / MIB:.0f} MiB of {LIMIT_BYTES / MIB:.0f}")
    assert (group.kills(), process.running.poll()) == (0, None)
