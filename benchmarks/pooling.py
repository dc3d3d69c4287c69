"""What does the pool of connections save, on a TLS endpoint?

Sends the same requests through the runtime's own pool, as the runtime keeps it, and with a connection for each request,
to a TLS server of this machine in a process of its own. Both ways alternate; each line is a median over the rounds.

    python benchmarks/pooling.py [--requests 10,50,100] [--concurrency 10] [--rounds 9] [--delay-ms 0]
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import uvloop

from agent_runtime.models.endpoints import Endpoint, make_routes
from agent_runtime.models.pool import Pool
from agent_runtime.models.trust import Trust
from agentpool_api.upstreams import Connections, Model

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
BODY = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 2000)
EXCELLENT = 1.7
"""The goal: 1.7 times over no pool."""


def main() -> int:
    """Exit code 0; 1 when the pool is not worth 1.7 times at the last number of requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", default="10,50,100")
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="time the endpoint takes for an answer")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(Path(options.serve), options.delay_ms / 1000))
        return 0
    with tempfile.TemporaryDirectory(prefix="pooling-") as scratch:
        certificate = make_certificate(Path(scratch))
        command = [sys.executable, __file__, "--serve", str(certificate), "--delay-ms", str(options.delay_ms)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = int(server.stdout.readline()) if server.stdout is not None else 0
                counts = [int(count) for count in options.requests.split(",")]
                ratio = uvloop.run(compare(port, certificate, counts, options.concurrency, options.rounds))
            finally:
                server.terminate()
    return 0 if ratio >= EXCELLENT else 1


async def compare(port: int, certificate: Path, counts: list[int], concurrency: int, rounds: int) -> float:
    """Print a row for each number of requests; the last one's ratio."""
    (route,) = make_routes([Model(name="m", endpoint=f"https://localhost:{port}/v1")])
    (endpoint,) = route.endpoints
    trust = Trust(certificate, field="", shown={}, fields={})
    ratio = 0.0
    print(f"{concurrency} at once, TLS, medians of {rounds} rounds")
    print("requests   no pool     pool   ratio   connections made")
    for count in counts:
        apart, pooled, opened = [], [], 0
        for _ in range(rounds):
            apart.append(await timed(count, concurrency, lambda: ask_alone(trust, endpoint)))
            pool = Pool(Connections(), trust, {})
            pooled.append(await timed(count, concurrency, lambda pool=pool: ask(pool, endpoint)))  # type: ignore[misc]
            opened = sum(pool.opened.values())
            await pool.aclose()
        ratio = statistics.median(one / other for one, other in zip(apart, pooled, strict=True))
        times = f"{statistics.median(apart) * 1000:6.0f} ms {statistics.median(pooled) * 1000:5.0f} ms"
        print(f"{count:8} {times} {ratio:5.1f} x   {count} / {opened}")
    return ratio


async def timed(count: int, concurrency: int, ask_once: Callable[[], Awaitable[None]]) -> float:
    """Seconds for so many requests, so many at once."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await ask_once()

    began_s = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.perf_counter() - began_s


async def ask(pool: Pool, endpoint: Endpoint) -> None:
    """One request to its last byte."""
    response = await pool.send(endpoint, BODY, {"Authorization": "Bearer sk-benchmark"})
    while await response.content.readany():
        pass
    response.close()


async def ask_alone(trust: Trust, endpoint: Endpoint) -> None:
    """One request on a connection of its own."""
    pool = Pool(Connections(), trust, {})
    await ask(pool, endpoint)
    await pool.aclose()


def make_certificate(folder: Path) -> Path:
    """A certificate for localhost that is its own authority, with its key beside it."""
    certificate = folder / "server.crt"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    files = ("-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "server.key", "-out", certificate)
    subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
    return certificate


class Answering(asyncio.Protocol):
    """Answers every request alike."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if self._held.endswith(BODY):
            self._held = b""
            asyncio.get_running_loop().call_later(self._delay_s, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(RESPONSE)


async def serve(certificate: Path, delay_s: float) -> None:
    """The endpoint; prints its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(delay_s), "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    raise SystemExit(main())
