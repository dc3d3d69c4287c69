"""A real Redis, a scripted endpoint and runtimes in this process, one set per test."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import hiredis
import pytest

from agent_runtime.app import App
from agent_runtime.cache import shared
from agent_runtime.pipeline import conversations
from agent_runtime.redis import link as redis_link
from agent_runtime.settings import load_process, parse_settings
from tests.abandoned import redis_command
from tests.ports import free_port
from tests.redis.runtime_app.upstream import Upstream

KEY = "sk-test"
BEARER = {"Authorization": f"Bearer {KEY}"}
REQUEST_PATIENCE_S = redis_link.REQUEST_PATIENCE_S
PRICE = {"inputPerMillion": "2", "outputPerMillion": "8", "cachedInputPerMillion": "1"}


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something to become true; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


class RedisServer:
    """One redis-server process."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed: run make install"
        self._program, self._folder = program, folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        command = redis_command(self.port, self._program)
        self.process = subprocess.Popen([*command, *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        for _ in range(1500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16):
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def command(self, *words: str) -> Any:
        with socket.create_connection(("127.0.0.1", self.port), 60) as wire:
            wire.sendall(hiredis.pack_command(words))
            reader = hiredis.Reader(encoding="utf-8", errors="replace")
            while (reply := reader.gets()) is False:
                reader.feed(wire.recv(65536))
            return reply

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    endpoint = Upstream()
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    """A second endpoint."""
    endpoint = Upstream()
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


def settings_for(upstream_url: str, **changes: Any) -> dict[str, Any]:
    """Settings with one chat and one embeddings model at this endpoint, without retries' waits being long."""
    models = [
        {"name": "chat", "upstreamModel": "up", "endpoint": upstream_url, "price": PRICE, "apiKeyEnv": "UP_KEY"},
        {"name": "embed", "kind": "embeddings", "endpoint": upstream_url, "price": PRICE},
    ]
    return {"models": models} | changes


class Runtime:
    """A runtime in this process, and a client for it."""

    def __init__(self, app: App, session: aiohttp.ClientSession) -> None:
        self.app = app
        self.session = session

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.app.server.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def chat(self, content: str = "hi", *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        body = {"model": "chat", "messages": [{"role": "user", "content": content}]} | fields
        return self.session.post(f"{self.url}/chat/completions", json=body, headers=BEARER | (headers or {}))

    async def metric(self, name: str) -> float:
        """Sum of a metric over its labels."""
        async with self.session.get(f"{self.root}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


Start = Callable[..., Awaitable[Runtime]]


@pytest.fixture
async def start(
    upstream: Upstream, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """``await start(settings, redis_url=…, POD_NAME=…)``: a running runtime; the default settings without arguments.

    Depends on ``redis_server`` so that Redis outlives the runtimes that settle with it. Redis, and an agent that makes
    an answer, are waited for longer than in production, or a busy machine's pause would count as their end.
    """
    for module in (redis_link, conversations):
        monkeypatch.setattr(module, "REQUEST_PATIENCE_S", 10.0)
    monkeypatch.setattr(redis_link, "BACKGROUND_PATIENCE_S", 10.0)
    monkeypatch.setattr(shared, "LEASE_MS", 60_000)
    running: list[tuple[App, aiohttp.ClientSession]] = []
    (tmp_path / "local-key").mkdir()
    (tmp_path / "local-key" / "key").write_text(KEY)

    async def begin(raw: dict[str, Any] | None = None, *, redis_url: str | None = None, **environ: str) -> Runtime:
        env = {"AGENTPOOL_PORT": "0", "AGENTPOOL_SECRETS_DIR": str(tmp_path), "AGENTPOOL_HOST": "127.0.0.1"}
        env |= {"AGENTPOOL_REDIS_URL": redis_url} if redis_url else {}
        settings = parse_settings(raw if raw is not None else settings_for(upstream.url), refuse_unknown=True)
        app = App(settings, load_process(env | environ), {"UP_KEY": "sk-upstream"})
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        running.append((app, session))
        await app.start()
        return Runtime(app, session)

    yield begin
    for app, session in running:
        await session.close()
        if not app.state.draining:
            await app.drain()
    await asyncio.sleep(0)


@pytest.fixture
async def runtime(start: Start) -> Runtime:
    """A runtime without Redis."""
    return await start()
