"""The runtime as a process: how it starts, refuses to start, and ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml

from agentpool_api import keys
from agentpool_operator.manifests.pod_template import SETTLE_S
from tests.abandoned import RUN
from tests.ports import free_port
from tests.redis.runtime_app.conftest import BEARER, KEY, RedisServer, settings_for, until
from tests.redis.runtime_app.upstream import STREAM, Call, Upstream, answer, completion, start_stream, stream_part

ROOT = Path(__file__).parents[3]


class Process:
    """``python -m agent_runtime`` with its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.running: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def spawn(self, raw: object, **environ: str) -> None:
        (self.folder / "runtime.yaml").write_text(yaml.safe_dump(raw))
        secret = self.folder / "secrets" / "local-key"
        secret.mkdir(parents=True, exist_ok=True)
        (secret / "key").write_text(KEY)
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            RUN: os.environ[RUN],
            "AGENTPOOL_PORT": str(self.port),
            "AGENTPOOL_SECRETS_DIR": str(self.folder / "secrets"),
            "UP_KEY": "sk-upstream",
        }
        self.running = subprocess.Popen(
            [sys.executable, "-m", "agent_runtime", "--config", str(self.folder / "runtime.yaml")],
            env=env | environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def start(self, raw: object, **environ: str) -> None:
        self.spawn(raw, **environ)
        await self.ready()

    async def ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(1200):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise AssertionError("the runtime did not get ready")

    async def not_ready(self, session: aiohttp.ClientSession) -> dict[str, object]:
        """What /readyz says as soon as it is a 503."""
        async with asyncio.timeout(60):
            while True:
                async with session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
                    if response.status == 503:
                        report: dict[str, object] = await response.json()
                        return report
                await asyncio.sleep(0.02)

    async def end(self, seconds: float = 60) -> tuple[int, str]:
        """Exit code and log."""
        assert self.running is not None
        _, log = await asyncio.to_thread(self.running.communicate, timeout=seconds)
        return self.running.returncode, log

    def terminate(self) -> None:
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    if made.running is not None and made.running.poll() is None:
        made.running.kill()
        made.running.communicate()


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def body(content: str, **fields: object) -> bytes:
    return orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": content}]} | fields)


async def ask(session: aiohttp.ClientSession, process: Process, content: str) -> tuple[int, Any, Any]:
    """Status, answer and headers."""
    async with session.post(process.url, data=body(content)) as response:
        return response.status, await response.json(), response.headers


@pytest.mark.parametrize(
    ("raw", "environ", "names"),
    [
        pytest.param({"cache": {"ttl": "soon"}}, {}, "cache.ttl", id="field"),
        pytest.param({}, {"AGENTPOOL_CONCURRENCY": "none"}, "AGENTPOOL_CONCURRENCY", id="environment"),
        pytest.param({"auth": {"secretName": "nowhere"}}, {}, "auth.secretName", id="no-key"),
        pytest.param(
            {"models": [{"name": "m", "endpoint": "http://h/v1", "apiKeyEnv": "NOPE"}]},
            {},
            "NOPE",
            id="no-endpoint-key",
        ),
        pytest.param({}, {"AGENTPOOL_HOST": "192.0.2.1"}, "AGENTPOOL_PORT", id="address"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(process: Process, raw, environ, names: str) -> None:
    process.spawn(raw, **environ)
    code, log = await process.end()
    last = log.splitlines()[-1]
    assert code == 2
    assert last.startswith("agent_runtime: ") and names in last
    assert "Traceback" not in log


async def test_alone_on_a_laptop_it_says_that_it_keeps_to_itself(process: Process, upstream: Upstream) -> None:
    await process.start(settings_for(upstream.url))
    process.terminate()
    code, log = await process.end()
    assert code == 0
    assert "no AGENTPOOL_REDIS_URL" in log
    assert KEY not in log and "sk-upstream" not in log


async def test_sigterm_finishes_what_was_begun_settles_it_and_refuses_the_rest(
    process: Process, upstream: Upstream, redis_server: RedisServer
) -> None:
    environ = {"AGENTPOOL_REDIS_URL": redis_server.url, "AGENTPOOL_DRAIN_TIMEOUT_S": "200"}
    await process.start(settings_for(upstream.url), **environ)
    go_on = asyncio.Event()

    async def held(call: Call) -> None:
        if "begun" in call.json["messages"][0]["content"]:
            await go_on.wait()
        await answer(call, 200, orjson.dumps(completion()))

    upstream.script = held
    taken = 1
    async with aiohttp.ClientSession(headers=BEARER) as session:
        begun = asyncio.create_task(session.post(process.url, data=body("begun")))
        await until(lambda: bool(upstream.calls))
        process.terminate()
        assert (await process.not_ready(session))["draining"] is True
        async with asyncio.timeout(60):
            # Before it refuses it says goodbye to Redis: until then it takes what comes.
            while (refused := await ask(session, process, f"late {taken}"))[0] == 200:
                taken += 1
        assert (refused[0], refused[1]["error"]["code"]) == (503, "shutting_down")
        assert refused[2]["retry-after"] and refused[2]["connection"] == "close"
        go_on.set()
        response = await begun
        assert response.status == 200 and await response.json() == completion()
    code, _ = await process.end()
    assert code == 0
    spent = redis_server.command("HGETALL", keys.spend("default", "local"))
    assert int(spent[1]) == taken * 52_000
    assert redis_server.command("HLEN", keys.heartbeats("default", "local")) == 0


async def test_in_a_pod_requests_that_still_come_after_sigterm_are_answered(
    process: Process, upstream: Upstream, redis_server: RedisServer
) -> None:
    in_pod = {"POD_NAME": "p-1", "AGENTPOOL_POOL": "local", "AGENTPOOL_HOST": "127.0.0.1"}
    await process.start(
        settings_for(upstream.url),
        AGENTPOOL_REDIS_URL=redis_server.url,
        AGENTPOOL_DRAIN_TIMEOUT_S="60",
        **in_pod,
    )
    async with aiohttp.ClientSession(headers=BEARER) as session:
        process.terminate()
        assert (await process.not_ready(session))["draining"] is True
        for number in range(20):  # a busy node hears of it late; nobody is refused while some still come
            async with session.post(
                process.url, data=body(f"sent by a node that has not heard of it {number}")
            ) as response:
                assert (response.status, response.headers["connection"]) == (200, "close")
            await asyncio.sleep(0.2)
    assert (await process.end())[0] == 0
    assert redis_server.command("HLEN", keys.heartbeats("default", "local")) == 0


async def test_sigusr1_takes_it_out_of_service_and_it_serves_an_agent_beside_it_until_sigterm(
    process: Process, upstream: Upstream
) -> None:
    in_pod = {"POD_NAME": "p-1", "AGENTPOOL_POOL": "local", "AGENTPOOL_HOST": "127.0.0.1"}
    await process.start(settings_for(upstream.url), AGENTPOOL_DRAIN_TIMEOUT_S="60", **in_pod)
    async with aiohttp.ClientSession(headers=BEARER) as session:
        assert process.running is not None
        process.running.send_signal(signal.SIGUSR1)
        assert (await process.not_ready(session))["draining"] is True
        await asyncio.sleep(3)  # longer than requests are taken after SIGTERM
        async with session.post(process.url, data=body("the agent goes on")) as response:
            assert (response.status, response.headers["connection"]) == (200, "close")
    process.terminate()
    assert (await process.end())[0] == 0


async def test_the_drain_ends_in_its_time_and_what_was_streamed_is_charged(
    process: Process, upstream: Upstream, redis_server: RedisServer
) -> None:
    await process.start(settings_for(upstream.url), AGENTPOOL_REDIS_URL=redis_server.url, AGENTPOOL_DRAIN_TIMEOUT_S="4")

    async def endless(call: Call) -> None:
        await start_stream(call)
        while True:
            await stream_part(call, STREAM[0])
            await asyncio.sleep(0.05)

    upstream.script = endless
    received = b""
    async with (
        aiohttp.ClientSession(headers=BEARER) as session,
        session.post(process.url, data=body("endless", stream=True)) as response,
    ):
        process.terminate()
        began = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            async for part in response.content.iter_any():
                received += part
    code, log = await process.end()
    assert code == 0
    assert time.monotonic() - began < 4 + SETTLE_S  # when Kubernetes would kill it
    assert "cut off" in log
    spent = redis_server.command("HGETALL", keys.spend("default", "local"))
    assert received
    assert int(spent[1]) >= received.count(b"\n\n") * 8_000


async def test_a_killed_agent_keeps_the_spend_of_finished_answers(
    process: Process, upstream: Upstream, redis_server: RedisServer
) -> None:
    await process.start(settings_for(upstream.url), AGENTPOOL_REDIS_URL=redis_server.url)
    async with aiohttp.ClientSession(headers=BEARER) as session:
        async with session.post(process.url, data=body("done")) as response:
            assert response.status == 200
        await until(lambda: bool(redis_server.command("HGETALL", keys.spend("default", "local"))))

        async def never(call: Call) -> None:
            await asyncio.sleep(30)

        upstream.script = never
        waiting = asyncio.create_task(session.post(process.url, data=body("lost")))
        await until(lambda: len(upstream.calls) == 2)
        assert process.running is not None
        process.running.kill()
        with pytest.raises(aiohttp.ClientError):
            await waiting
    await process.end()
    spent = redis_server.command("HGETALL", keys.spend("default", "local"))
    assert int(spent[1]) == 52_000


async def test_it_needs_little_memory(process: Process, upstream: Upstream, redis_server: RedisServer) -> None:
    await process.start(settings_for(upstream.url), AGENTPOOL_REDIS_URL=redis_server.url)
    assert process.running is not None
    assert resident_kib(process.running.pid) < 90 * 1024
