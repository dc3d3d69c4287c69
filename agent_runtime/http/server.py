"""How are connections accepted and let go?"""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate

from uvicorn.config import Config
from uvicorn.server import ServerState

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.http.protocol import RuntimeProtocol
from agent_runtime.http.service import Service

KEEP_ALIVE_S = 75
"""Longer than the 60 s of common load balancers, so that they and not we end an idle connection."""

BACKLOG = 2048
RECEIVE_BUFFER_BYTES = 64 * 1024
"""The kernel's buffer of a connection. Left to grow, a burst of connections would fill a small container with the
beginnings of their bodies before the first of them could be refused."""

GOODBYE_S = 0.5


class HttpServer:
    """The listening socket and its connections."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._config = Config(
            service,
            http=RuntimeProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            server_header=False,
            proxy_headers=False,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises RuntimeSetupError when the address cannot be used."""
        self._config.load()
        self.tick()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: RuntimeProtocol(self._config, self._state, {}), self._host, self.port, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or "it is not available"
            raise RuntimeSetupError(
                f"cannot listen on {self._host}:{self.port}: {reason}; set AGENTPOOL_PORT"
            ) from None
        self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # all inherit it
        self.port = self._server.sockets[0].getsockname()[1]

    def tick(self) -> None:
        """Renew the Date header; call it every second."""
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]  # noqa: TID251

    async def stop(self) -> None:
        """Close the socket and idle connections, cut off what still runs."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GOODBYE_S)
        for connection in list(self._state.connections):
            connection.transport.close()
