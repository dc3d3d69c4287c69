"""Many connections, and callers who are slow on purpose: nothing hangs, and nobody holds what others need.

``CONNECTIONS`` sets how many are opened at once.
"""

import asyncio
import contextlib
import gzip
import os
import socket

import orjson
import pytest

from agent_runtime.http import protocol
from tests.redis.runtime_app.conftest import BEARER, KEY, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_refusals import CHAT, GOOD, raw
from tests.redis.runtime_app.upstream import Call, Upstream, delta, start_stream, stream_part

CONNECTIONS = int(os.environ.get("CONNECTIONS", "1000"))
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
ASK = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD


async def answered(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return head + await reader.readexactly(int(length.split(b":")[1]))


async def test_a_thousand_connections_are_answered_at_once_and_leave_nothing(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT_S", 200.0)  # the first waits until the last is there
    runtime = await start(settings_for(upstream.url, limits={"maxQueued": CONNECTIONS}))
    port = runtime.app.server.port
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    connections = runtime.app.server._state.connections
    await until(lambda: len(connections) == CONNECTIONS)
    for number, (_, writer) in enumerate(lines):
        body = orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": f"question {number % 50}"}]})
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(150):
        answers = await asyncio.gather(*(answered(reader) for reader, _ in lines))
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert len(upstream.calls) == 50
    for _, writer in lines:
        writer.close()
    await until(lambda: not connections and runtime.app.service.active == 0)


async def test_one_connection_too_many_is_told_so(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 3)
    lines = [await asyncio.open_connection("127.0.0.1", runtime.app.server.port) for _ in range(3)]
    await until(lambda: len(runtime.app.server._state.connections) == 3)
    status, body = await raw(runtime, b"")
    assert (status, orjson.loads(body)["error"]["code"]) == (503, "too_many_connections")
    for _, writer in lines:
        writer.close()
    await until(lambda: not runtime.app.server._state.connections)
    assert (await raw(runtime, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("head", [HEAD, HEAD.replace(KEY.encode(), b"sk-wrong")], ids=["known", "stranger"])
async def test_a_body_that_trickles_in_for_ever_ends(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(protocol, "BODY_TIMEOUT_S", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    writer.write(head + b"Content-Length: 100000\r\n\r\n")

    async def trickle() -> None:
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    trickling, data = asyncio.create_task(trickle()), b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):  # what still trickles in may reset what has been answered
            while part := await reader.read(65536):
                data += part
    trickling.cancel()
    writer.close()
    status, code = (b"408", b"request_timeout") if head is HEAD else (b"401", b"invalid_api_key")
    assert data.startswith(b"HTTP/1.1 " + status) and code in data and data.count(b"HTTP/1.1") == 1
    await until(lambda: runtime.app.service.active == 0)


async def test_a_late_body_of_a_second_request_does_not_spoil_the_first_answer(
    runtime: Runtime, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_TIMEOUT_S", 0.2)

    async def slow(call: Call) -> None:
        await start_stream(call)
        await stream_part(call, delta("hel"))
        await asyncio.sleep(30)

    upstream.script = slow
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    ask = GOOD[:-1] + b',"stream":true}'
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(ask) + ask)
    async with asyncio.timeout(60):
        data = await reader.readuntil(b"hel")
        writer.write(HEAD + b"Content-Length: 9\r\n\r\n{")
        data += await reader.read(-1)
    writer.close()
    assert data.count(b"HTTP/1.1 ") == 1 and b"408" not in data
    await until(lambda: runtime.app.service.active == 0)


async def flood(call: Call) -> None:
    """A stream that is far larger than all buffers together."""
    with contextlib.suppress(ConnectionError):
        await start_stream(call)
        for _ in range(400):
            await stream_part(call, delta("x" * 100_000))
        raise AssertionError("the whole flood was taken")


async def test_a_caller_who_stops_reading_gives_its_slot_back(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READ_TIMEOUT_S", 0.3)
    upstream.script = flood
    runtime = await start(AGENTPOOL_CONCURRENCY="1")
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", runtime.app.server.port))
        ask = GOOD[:-1] + b',"stream":true}'
        caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(ask) + ask)
        await until(lambda: runtime.app.slots.in_flight == 1)
        await until(lambda: runtime.app.slots.in_flight == 0 and runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_client_disconnects_total") == 1


async def test_an_answer_nobody_fetches_does_not_keep_its_connection(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.2)
    connections = runtime.app.server._state.connections
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        caller.connect(("127.0.0.1", runtime.app.server.port))
        caller.setblocking(False)
        await until(lambda: len(connections) == 1)
        connection = next(iter(connections))
        connection.transport.write(b"x" * 8_000_000)
        connection.timeout_keep_alive_handler()
        await until(lambda: not connections)


async def test_a_caller_who_closes_its_side_has_left(runtime: Runtime, upstream: Upstream) -> None:
    upstream.script = flood
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    writer.write(ASK)
    writer.write_eof()
    async with asyncio.timeout(60):
        assert await reader.read(-1) == b""
    writer.close()
    await until(lambda: runtime.app.service.active == 0)


async def test_a_compressed_body_is_refused_by_name(runtime: Runtime) -> None:
    headers = BEARER | {"Content-Encoding": "gzip"}
    async with runtime.session.post(runtime.root + CHAT, data=gzip.compress(GOOD), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (415, "unsupported_encoding")


async def test_a_huge_header_is_refused_whether_or_not_its_end_comes(runtime: Runtime) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n"
    status, body = await raw(runtime, request)
    assert (status, orjson.loads(body)["error"]["code"]) == (431, "headers_too_large")


async def test_a_stranger_who_expects_100_is_refused_before_its_body(runtime: Runtime) -> None:
    head = HEAD.replace(KEY.encode(), b"sk-wrong") + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
    status, body = await raw(runtime, head)
    assert (status, orjson.loads(body)["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("header", [b"Upgrade: h2c", b"upgrade:h2c", b"UPGRADE: websocket"])
async def test_the_body_of_a_caller_who_would_rather_speak_another_protocol_is_read(
    runtime: Runtime, header: bytes
) -> None:
    """As Java's client asks with each request."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\n" + header + b"\r\n"
    status, _ = await raw(runtime, HEAD + wish + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
    assert status == 200


async def test_a_broken_chunk_is_a_400_and_leaves_nothing_behind(runtime: Runtime) -> None:
    status, body = await raw(runtime, HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
    assert (status, orjson.loads(body)["error"]["code"]) == (400, "invalid_http")
    await until(lambda: runtime.app.service.active == 0)
