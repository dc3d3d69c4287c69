"""One real Redis for all tests of the operator's ledger, empty for each."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentpool_operator import redis_link
from agentpool_operator.redis_link import RedisLink
from agentpool_operator.settings import RedisAccess
from tests.abandoned import redis_command
from tests.ports import free_port


class Server:
    """A redis-server that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        argv = redis_command(self.port)
        self.process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL)
        self.access = RedisAccess(url=f"redis://127.0.0.1:{self.port}/0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.thaw()
    server.process.kill()
    server.process.wait()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has longer to answer than in production, or a busy machine's pause would be an outage."""
    monkeypatch.setattr(redis_link, "CONNECT_S", 20.0)
    monkeypatch.setattr(redis_link, "ANSWER_S", 20.0)


@pytest.fixture
async def link(server: Server) -> AsyncIterator[RedisLink]:
    link = RedisLink(server.access, time.monotonic)
    await link.run([("FLUSHALL",)])
    yield link
    await link.close()
