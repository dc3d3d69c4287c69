"""How does one connection to Redis carry many calls at once?

Commands go out as they come and answers come back in the same order (Redis' own pipelining), so a call costs one write
and one future instead of a connection of its own. A connection that owes an answer for too long is broken: all its
calls fail at once.

Why not redis-py: measured on the request path, its command machinery took a quarter of all CPU of an answer
(docs/decisions/0005). The protocol itself is parsed and packed by hiredis.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

DEFAULT_PORT = 6379


class RedisUnavailable(Exception):  # noqa: N818  (a state, expected by every caller)
    """Raised when Redis did not answer in time, refused, or is known to be away. A retry helps after it is back."""


class UnknownScript(RedisUnavailable):
    """Raised when Redis does not know a script's digest: send the script itself."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is and how to log in."""

    host: str
    port: int
    path: str | None
    """Of a Unix socket, instead of host and port."""
    username: str | None
    password: str | None
    database: int
    tls: ssl.SSLContext | None


def parse_url(url: str) -> Address:
    """Address of a ``redis://``, ``rediss://`` or ``unix://`` URL. Raises ValueError saying what is wrong with it.

    ``rediss://`` checks the server's certificate; ``?ssl_ca_certs=FILE`` names a private authority.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("it must begin with redis://, rediss:// or unix://")
    database = query.get("db", [parts.path.strip("/") if parts.scheme != "unix" else ""])[0] or "0"
    if not database.isdigit():
        raise ValueError("the database after the host must be a number")
    tls = None
    if parts.scheme == "rediss":
        try:
            tls = ssl.create_default_context(cafile=query.get("ssl_ca_certs", [None])[0])
        except (OSError, ssl.SSLError):
            raise ValueError("the file of ssl_ca_certs cannot be read") from None
    return Address(
        host=parts.hostname or "localhost",
        port=parts.port or DEFAULT_PORT,
        path=parts.path if parts.scheme == "unix" else None,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(database),
        tls=tls,
    )


class Wire(asyncio.Protocol):
    """One connection. ``patience_s`` is the longest silence of Redis while an answer is due."""

    def __init__(self, patience_s: float, on_message: Callable[[list[Any]], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self._on_message = on_message
        self._reader = hiredis.Reader()
        self._owed: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.broken = False

    def call(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Send a command. The future brings its answer, or RedisUnavailable."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.broken or self._transport is None:
            answer.set_exception(RedisUnavailable("Redis is away"))
            return answer
        self._owed.append(answer)
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience_s, self._late)
        self._transport.write(_packed(command))
        return answer

    def subscribe(self, *channels: str) -> None:
        """Listen to channels; everything that comes goes to ``on_message``. Not to be mixed with ``call``."""
        if self._transport is not None:
            self._transport.write(_packed(("SUBSCRIBE", *channels)))

    def break_off(self, reason: str) -> None:
        """Close the connection and fail all its calls."""
        if self.broken:
            return
        self.broken = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()
        while self._owed:
            answer = self._owed.popleft()
            if not answer.done():
                answer.set_exception(RedisUnavailable(reason))

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self._on_message is not None:
                    self._on_message(reply)
                elif self._owed:
                    _give(self._owed.popleft(), reply)
        except hiredis.ProtocolError:
            self.break_off("what answers is not Redis")
            return
        self._stop_timer()
        if self._owed:
            self._timer = self._loop.call_later(self._patience_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio names it)
        self.break_off("the connection was lost")

    def _late(self) -> None:
        """Time is over; read once more first, since it may have been this process that was late."""
        self._timer = self._loop.call_later(0.001, self.break_off, "no answer in time")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _packed(command: tuple[str | bytes | int, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one part only
    return packed


def _give(answer: asyncio.Future[Any], reply: Any) -> None:
    if answer.done():
        return  # its caller has left
    if isinstance(reply, hiredis.ReplyError):
        code = str(reply).partition(" ")[0]
        answer.set_exception(UnknownScript(code) if code == "NOSCRIPT" else RedisUnavailable(code))
    else:
        answer.set_result(reply)


async def connect(
    address: Address, *, timeout_s: float, patience_s: float, on_message: Callable[[list[Any]], None] | None = None
) -> Wire:
    """A connection that is logged in. Raises RedisUnavailable."""
    loop = asyncio.get_running_loop()
    wire = Wire(timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            if address.path is not None:
                await loop.create_unix_connection(lambda: wire, address.path)
            else:
                await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls)
            if address.password is not None:
                await wire.call("AUTH", *([address.username] if address.username else []), address.password)
            if address.database:
                await wire.call("SELECT", address.database)
            await wire.call("PING")
    except TimeoutError:
        wire.break_off("no answer in time")
        raise RedisUnavailable("no connection in time") from None
    except (OSError, ssl.SSLError) as error:
        raise RedisUnavailable(type(error).__name__) from None
    except BaseException:
        wire.break_off("not logged in")
        raise
    wire._patience_s = patience_s
    wire._on_message = on_message
    return wire
