"""Endpoints behind TLS and proxies, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

from cluster.pki import issue, make_authority
from tests.redis.runtime_app.upstream import Upstream


class Authority:
    """A private certificate authority."""

    def __init__(self, folder: Path) -> None:
        make_authority(folder)
        self._folder = folder

    @property
    def pem(self) -> str:
        return (self._folder / "ca.crt").read_text()

    def serving(self, *names: str) -> ssl.SSLContext:
        """What a server needs that shows a certificate for these names (in OpenSSL form)."""
        issue(self._folder, "server", "/CN=endpoint", names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.crt", self._folder / "server.key")
        return context

    def demanding(self, *names: str) -> ssl.SSLContext:
        """The same for a server that lets nobody in without a certificate of this authority."""
        context = self.serving(*names)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._folder / "ca.crt")
        return context

    def issue_to(self, folder: Path, name: str) -> None:
        """Put a client's certificate and key where a mounted Secret has them."""
        issue(self._folder, name, f"/CN={name}")
        folder.mkdir(exist_ok=True)
        for part in ("crt", "key"):
            (folder / f"tls.{part}").write_bytes((self._folder / f"{name}.{part}").read_bytes())


class TlsUpstream(Upstream):
    """A scripted endpoint that speaks TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context
        self.asked_names: list[str | None] = []
        """What clients asked for by SNI."""
        context.sni_callback = lambda sock, name, own: self.asked_names.append(name)

    @property
    def url(self) -> str:
        return super().url.replace("http://127.0.0.1", "https://localhost")

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self._context)


class Proxy:
    """A proxy that only knows CONNECT. ``tunnels`` holds what it was asked for, as ``host:port``."""

    def __init__(self) -> None:
        self.tunnels: list[str] = []
        self.credentials: list[str | None] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.tunnels.append(head.split()[1])
            self.credentials.append(lines.get("proxy-authorization"))
            port = int(head.split()[1].rpartition(":")[2])
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
            finally:
                up_writer.close()
        self._tasks.discard(task)
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
