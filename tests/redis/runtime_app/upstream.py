"""A scripted model endpoint on loopback: it answers like one, or misbehaves as told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


@dataclass
class Call:
    """One request the endpoint got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    closes: bool = False
    """The connection is closed after the answer, which says so: a client must not send its next call into it."""

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Call], Awaitable[None]]


def completion(text: str = "hello", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [choice],
        "usage": USAGE,
    } | more


def frame(payload: Any) -> bytes:
    return b"data: " + (payload if isinstance(payload, bytes) else orjson.dumps(payload)) + b"\n\n"


def delta(text: str | None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": finish}
    return frame({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice]})


STREAM = [delta("hel"), delta("lo"), delta(None, "stop")]
USAGE_FRAME = frame({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
DONE = frame(b"[DONE]")


def priced_usage(cost_nanousd: int) -> bytes:
    """The usage frame as a caller gets it."""
    usage = USAGE | {"cost_nanousd": cost_nanousd}
    return frame({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage})


async def answer(call: Call, status: int, body: bytes, kind: str = "application/json", extra: str = "") -> None:
    extra += "Connection: close\r\n" if call.closes and "Connection:" not in extra else ""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    await call.send(head.encode() + body)


async def start_stream(call: Call) -> None:
    extra = b"Connection: close\r\n" if call.closes else b""
    await call.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n" + extra + b"\r\n"
    )


async def stream_part(call: Call, data: bytes) -> None:
    await call.send(b"%x\r\n%s\r\n" % (len(data), data))


async def end_stream(call: Call) -> None:
    await call.send(b"0\r\n\r\n")


RESPONSE_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 6},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def response(number: int = 1, **more: Any) -> dict[str, Any]:
    """An answer of the Responses API."""
    text = {"type": "output_text", "text": "hello", "annotations": []}
    message = {"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant", "content": [text]}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1,
        "model": "up",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": RESPONSE_USAGE,
    } | more


def event(kind: str, number: int, **more: Any) -> bytes:
    return f"event: {kind}\n".encode() + frame({"type": kind, "sequence_number": number} | more)


def response_events(number: int = 1) -> list[bytes]:
    """The stream of one response."""
    begun = response(number, status="in_progress", output=[], usage=None)
    place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0, "logprobs": []}
    return [
        event("response.created", 0, response=begun),
        event("response.output_text.delta", 1, delta='he "type":"response.failed"', **place),
        event("response.output_text.delta", 2, delta="llo", **place),
        event("response.completed", 3, response=response(number)),
    ]


def stored(call: Call) -> dict[str, Any]:
    """What is answered about a response that is kept."""
    if call.method == "DELETE":
        return {"id": "resp_1", "object": "response", "deleted": True}
    if "/input_items" in call.path:
        return {"object": "list", "data": [], "has_more": False}
    return response()


async def model(call: Call) -> None:
    """What a well-behaved endpoint does."""
    if "/responses/" in call.path:
        await answer(call, 200, orjson.dumps(stored(call)))
    elif call.path.endswith("/responses") and call.json.get("stream"):
        await start_stream(call)
        for part in response_events():
            await stream_part(call, part)
        await end_stream(call)
    elif call.path.endswith("/responses"):
        await answer(call, 200, orjson.dumps(response()))
    elif call.path.endswith("/embeddings"):
        vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        await answer(call, 200, orjson.dumps({"object": "list", "data": vectors, "model": "up", "usage": usage}))
    elif call.json.get("stream"):
        await start_stream(call)
        wants_usage = (call.json.get("stream_options") or {}).get("include_usage")
        for part in [*STREAM, *([USAGE_FRAME] if wants_usage else []), DONE]:
            await stream_part(call, part)
        await end_stream(call)
    else:
        await answer(call, 200, orjson.dumps(completion()))


class Upstream:
    """The endpoint. Set ``script`` to change what it does; ``calls`` holds what it got."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: Script = model
        self.lost = 0
        """Connections the runtime closed while the endpoint worked."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

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
        try:
            while call := await _read(reader, writer):
                call.closes = self.script is not model
                self.calls.append(call)
                work = asyncio.ensure_future(self.script(call))
                gone = asyncio.ensure_future(reader.read(1)) if call.closes else None
                await asyncio.wait({work, gone} if gone else {work}, return_when=asyncio.FIRST_COMPLETED)
                if gone is not None and gone.done() and not work.done():
                    self.lost += 1
                for other in (work, gone):
                    if other is not None and not other.done():
                        other.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await other
                if gone is not None or work.exception():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Call(*first.split()[:2], headers, body, writer)
