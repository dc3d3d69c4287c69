"""How are connections kept honest? uvicorn's HTTP/1.1 protocol, with what an API server still needs.

Broken HTTP gets an OpenAI error object, headers and bodies have a bound in size and time, callers who do not read are
let go, and the request's task learns at once when its caller is gone.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from agent_runtime.cache.flights import Caller
from agent_runtime.errors import error_object

MAX_HEADER_BYTES = 64 * 1024
HEADER_TIMEOUT_S = 20.0
"""Longest time from a request's first byte to the end of its headers, and of a new connection to its first request."""

BODY_TIMEOUT_S = 120.0
"""Longest time from the end of the headers to the end of the body: 10 MiB at 90 kB/s."""

READ_TIMEOUT_S = 60.0
"""Longest time without room for more of the answer: until then the caller must have read about 48 KiB."""

LINGER_S = 5.0
"""How long a closed connection may take to deliver what was written before it is cut off."""

MAX_CONNECTIONS = 4096
"""Most connections at once; one more is refused. Well below the files a process may open."""

_UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)
_IGNORED = b"\r\nIgnored"

CALLER = "agentpool.caller"
"""Key of the scope's Caller."""


class RuntimeProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._active: Caller | None = None
        self._header_bytes = 0
        self._in_headers = True
        self._header_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()
        if len(self.connections) > MAX_CONNECTIONS:
            message = f"this agent has {MAX_CONNECTIONS} connections open: close idle ones, or try another agent"
            self._refuse(503, "too_many_connections", message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_body_timer()
        self._stop_read_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._active is not None:
            self._active.leave()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_timer is None:
                self._start_header_timer()
            if b"pgrade" in data or b"PGRADE" in data:
                data = _without_upgrade(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            message = f"the request's headers are larger than {MAX_HEADER_BYTES} bytes: send fewer or shorter ones"
            self._refuse(431, "headers_too_large", message)
        if not self._in_headers and self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_TIMEOUT_S, self._body_late)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        self._stop_header_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._stop_body_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_read_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's text says less)
        self._refuse(400, "invalid_http", "the request is not valid HTTP/1.1: check its request line and headers")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer a request that cannot be read, unless another answer is on its way, and close."""
        between = self.cycle is None or self.cycle.response_complete
        self._end(status, code, message, answer=between or (not self._in_headers and self._waits_for_body()))

    def _end(self, status: int, code: str, message: str, *, answer: bool) -> None:
        """Close, with an answer or without."""
        if self.transport.is_closing():
            return
        if answer:
            body = error_object(message, "invalid_request_error", code)
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self._close()

    def _close(self) -> None:
        """Close, and cut the connection off if what was written is not read."""
        self.transport.close()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        caller = Caller()
        cycle.scope[CALLER] = caller  # type: ignore[literal-required]
        self._active = caller
        task = self.loop.create_task(cycle.run_asgi(app))
        caller.on_leave = task.cancel
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._headers_late)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_late(self) -> None:
        self._header_timer = None
        message = f"the request's headers did not arrive within {HEADER_TIMEOUT_S:g} s"
        self._refuse(408, "request_timeout", message)

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _body_late(self) -> None:
        """The request's task waits for the body; when the connection is closed it ends."""
        self._body_timer = None
        message = f"the request's body did not arrive within {BODY_TIMEOUT_S:g} s"
        self._end(408, "request_timeout", message, answer=self._waits_for_body())

    def _waits_for_body(self) -> bool:
        """Is the request whose body is being read the one in work, and not answered yet?"""
        in_work = self.cycle.scope.get(CALLER) is self._active  # else an earlier request of the connection is
        return in_work and not self.cycle.response_started


def _without_upgrade(data: bytes) -> bytes:
    """The beginning of a request whose wish for another protocol is ignored (RFC 9110 section 7.8).

    The parser would take what follows for that protocol and lose the body. Java's client, for one, asks for h2c with
    every request.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(_IGNORED, head) + data[len(head) :]
