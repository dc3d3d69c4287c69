"""How are connections kept honest? uvicorn's HTTP/1.1 protocol, with what an API server still needs.

Broken HTTP gets an OpenAI error object, headers have a bound in size and time, and the request's task learns at once
when its caller is gone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from agent_runtime.cache.flights import Caller
from agent_runtime.errors import error_object

MAX_HEADER_BYTES = 64 * 1024
HEADER_TIMEOUT_S = 20.0
"""Longest time from a request's first byte to the end of its headers, and of a new connection to its first request."""

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
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
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            message = f"the request's headers are larger than {MAX_HEADER_BYTES} bytes: send fewer or shorter ones"
            self._refuse(431, "headers_too_large", message)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        self._stop_header_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's text says less)
        self._refuse(400, "invalid_http", "the request is not valid HTTP/1.1: check its request line and headers")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer a request that cannot be read, unless another answer is on its way, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = error_object(message, "invalid_request_error", code)
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

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
