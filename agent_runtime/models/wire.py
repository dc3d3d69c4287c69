"""What does a request look like on a connection, and how is the head of its answer read?

The client library pools connections and parses answers; the few bytes of a request are put together here, because its
own sessions and requests cost more CPU than all the rest of a call: cookies, redirects, timers and other methods.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

READ_BUFFER_BYTES = 2**17
"""Reading pauses while twice as much waits to be passed on."""

USER_AGENT = "agentpool-runtime"


def request_head(url: URL, proxy: URL | None, method: str = "POST") -> bytes:
    """The beginning of every request to this URL: all but the headers that change.

    A plain request through a proxy names the whole URL and carries the proxy's credentials (RFC 9112 section 3.2.2);
    through a tunnel neither is needed.
    """
    port = "" if url.is_default_port() else f":{url.port}"
    forwarded = proxy is not None and url.scheme == "http"
    target = f"http://{url.host_subcomponent}{port}{url.raw_path_qs}" if forwarded else url.raw_path_qs
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {url.host_subcomponent}{port}",
        f"User-Agent: {USER_AGENT}",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
    ]
    if forwarded and proxy is not None and proxy.user is not None:
        plain = f"{proxy.user}:{proxy.password or ''}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(plain).decode()}")
    return "\r\n".join([*lines, ""]).encode()


def request_bytes(head: bytes, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request. A header that would end its line is left out: nobody adds headers of their own by it."""
    parts = [head]
    for name, value in headers.items():
        line = f"{name}: {value}"
        if "\r" not in line and "\n" not in line and "\0" not in line:
            parts.append(f"{line}\r\n".encode())
    parts.append(b"Content-Length: %d\r\n\r\n" % len(body))
    parts.append(body)
    return b"".join(parts)


class Response:
    """The head of an answer is there; ``content`` gives its body."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self, connection: Connection, status: int, headers: CIMultiDictProxy[str], content: StreamReader
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def streamed(self) -> bool:
        """Is it a stream of server-sent events?"""
        return self.headers.get("Content-Type", "")[:17].lower() == "text/event-stream"

    def close(self) -> None:
        """Give the connection back when the answer was read to its end, else close it: the endpoint may stop."""
        self._connection.release() if self.content.at_eof() else self._connection.close()


async def exchange(connection: Connection, request: bytes) -> Response:
    """Send a request and wait for the head of its answer. Raises aiohttp's errors; then the connection is closed."""
    protocol = connection.protocol
    try:
        if protocol is None or protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=READ_BUFFER_BYTES)
        protocol.transport.write(request)
        while True:
            message, content = await protocol.read()
            if message.code >= 200:
                return Response(connection, message.code, message.headers, content)
            if message.code == 101:
                raise aiohttp.ClientPayloadError("the endpoint wants another protocol")
    except HttpProcessingError as error:
        connection.close()
        raise InvalidAnswer from error
    except BaseException:
        connection.close()
        raise


class InvalidAnswer(aiohttp.ClientError):
    """Raised when what came is no HTTP."""
