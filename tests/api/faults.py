"""An HTTP proxy between the operator and the API server that can be told to misbehave.

It speaks plain HTTP to the operator, on loopback only, and TLS to the API server.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from tests.api.support import PATIENCE_S, AuditedControlPlane

HOP_BY_HOP = {"host", "transfer-encoding", "connection", "content-length", "content-encoding", "date", "server"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request instead of, or before, its being passed on."""

    status: int | None = None
    """Answered with this at once."""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    """Waited before anything else."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One request as it came in."""

    at_s: float
    """Monotonic seconds."""
    method: str
    path: str
    is_watch: bool
    fault: Fault | None

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")


@dataclass(slots=True)
class _Stream:
    """A watch on its way through."""

    resource: str
    response: web.StreamResponse
    silent: asyncio.Event
    """Set: nothing is passed on any more, and the connection stays."""


class FaultyApi:
    """The proxy, in a thread of its own."""

    def __init__(self, plane: AuditedControlPlane) -> None:
        self._plane = plane
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        """Asked for every request, by method and path."""
        self.requests: list[Passed] = []
        self._streams: list[_Stream] = []
        self._loop = asyncio.new_event_loop()
        self._ready, self._end = threading.Event(), asyncio.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def kubeconfig(self, of: Path) -> Path:
        """The same account, through the proxy."""
        config = yaml.safe_load(of.read_text())
        for cluster in config["clusters"]:
            cluster["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        file = of.with_suffix(".faulty")
        file.write_text(yaml.safe_dump(config))
        return file

    def silence(self, resource: str) -> int:
        """From now on the watches of a resource that are open pass nothing on; how many."""
        found = [stream for stream in list(self._streams) if stream.resource == resource]
        for stream in found:
            self._loop.call_soon_threadsafe(stream.silent.set)
        return len(found)

    def tell(self, resource: str, code: int) -> int:
        """End the watches of a resource by an error in the stream; how many."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "told to fail"}
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        found = [stream for stream in list(self._streams) if stream.resource == resource]
        told = 0
        for stream in found:
            with suppress(ConnectionError):  # the other end has just left
                asyncio.run_coroutine_threadsafe(stream.response.write(line), self._loop).result(PATIENCE_S)
                told += 1
        return told

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._plane.pki / "ca.crt"))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            app = web.Application(client_max_size=2**24)

            async def handle(request: web.Request) -> web.StreamResponse:
                try:
                    return await self._handle(session, request)
                except ConnectionError:  # one of the two ends has left
                    return web.Response(status=502)

            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = int(runner.addresses[0][1])
            self._ready.set()
            await self._end.wait()
            await site.stop()
            await asyncio.sleep(0.1)  # whoever was just let in gets its transport
            handlers = asyncio.all_tasks() - {asyncio.current_task()}
            for handler in handlers:
                handler.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)
            await runner.cleanup()
            await connector.close(abort_ssl=True)
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()  # one that was closed with data nobody reads would stay open
            await asyncio.sleep(0.1)  # the loop closes aborted connections in its next rounds

    async def _handle(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        fault = self.fault(request.method, request.path)
        is_watch = "watch" in request.query
        self.requests.append(Passed(time.monotonic(), request.method, request.path, is_watch, fault))
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
            if fault.status is not None:
                return web.Response(status=fault.status, headers=fault.headers, text="told to fail\n")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with session.request(
            request.method,
            f"{self._plane.url}{request.raw_path}",
            headers=headers | {"Accept-Encoding": "identity"},
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            if not is_watch:
                await response.write(await answer.read())
                return response
            stream = _Stream(request.path.rpartition("/")[2], response, asyncio.Event())
            self._streams.append(stream)
            try:
                async for data in _until(answer.content.iter_any(), stream.silent):
                    await response.write(data)
                if stream.silent.is_set():
                    await asyncio.Event().wait()
            finally:
                self._streams.remove(stream)
            return response


async def _until(content: AsyncIterator[bytes], silent: asyncio.Event) -> AsyncIterator[bytes]:
    async for data in content:
        if silent.is_set():
            return
        yield data
