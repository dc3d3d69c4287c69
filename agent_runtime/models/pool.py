"""How are connections to endpoints made, shared and counted?

One pool with limits in all and per host. A try learns when it has its connection, so that waiting for one is never held
against the endpoint. Names are looked up once in half a minute, TLS contexts are shared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp
from yarl import URL

from agent_runtime.models.endpoints import Endpoint, Resource
from agent_runtime.models.proxies import proxy_for
from agent_runtime.models.trust import Trust
from agent_runtime.models.wire import Response, exchange, request_bytes, request_head
from agentpool_api.quantity import duration_s
from agentpool_api.upstreams import Connections

DNS_TTL_S = 30

CONNECTED: ContextVar[Callable[[], None] | None] = ContextVar("CONNECTED", default=None)
"""Called by the pool when the running try has its connection."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections to one host now."""

    busy: int
    idle: int
    waiting: int
    """Tries that wait for one."""


NOTHING = PoolUse(0, 0, 0)
NO_TIMEOUT = aiohttp.ClientTimeout()


@dataclass(frozen=True, slots=True)
class _Way:
    """How an endpoint is reached."""

    request: aiohttp.ClientRequest
    """What the connector makes connections for; never sent."""
    head: bytes


class Pool:
    """The connections of one process."""

    def __init__(self, settings: Connections, trust: Trust, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._trust = trust
        self._environ = environ
        self._connector = _Connector(settings)
        self._ways: dict[tuple[URL, str | None, str | None], _Way] = {}

    async def send(
        self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str], resource: Resource | None = None
    ) -> Response:
        """Send a request and return once the head of its answer is there. Raises aiohttp's errors.

        It is a POST to the endpoint's URL, unless it is about a resource there. No time limit but that of making a
        connection: the caller has its own.
        """
        way = self._way(endpoint)
        connection = await self._connector.connect(way.request, [], NO_TIMEOUT)
        head = way.head
        if resource is not None:
            url = URL(f"{endpoint.url}{resource.path}", encoded=True)
            head = request_head(url, way.request.proxy, resource.method)
        return await exchange(connection, request_bytes(head, headers, body))

    async def dial(self, endpoint: Endpoint) -> None:
        """Make a connection as a call would and keep it for one. Raises aiohttp's errors and OSError."""
        # Not by ``connect``, which would hand out the idle connection that is there already.
        await self._connector.add(self._way(endpoint).request)

    def _way(self, endpoint: Endpoint) -> _Way:
        """How an endpoint is reached, made anew when the authorities or its certificate change."""
        name, context = (
            (endpoint.url, endpoint.server_name, endpoint.certificate),
            self._trust.context(endpoint.certificate),
        )
        known = self._ways.get(name)
        if known is not None and known.request.ssl is context:
            return known
        settings = self._settings
        proxy = proxy_for(endpoint.url, settings.proxy, settings.no_proxy, self._environ)
        request = aiohttp.ClientRequest(
            "POST",
            endpoint.url,
            loop=asyncio.get_running_loop(),
            ssl=context,
            proxy=proxy,
            server_hostname=endpoint.server_name,
        )
        way = self._ways[name] = _Way(request, request_head(endpoint.url, proxy))
        return way

    def use(self) -> dict[str, PoolUse]:
        """Connections by host and port."""
        return self._connector.use()

    @property
    def opened(self) -> Mapping[str, int]:
        """Connections made since the start, by host and port."""
        return self._connector.opened

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connector.close()


class _Connector(aiohttp.TCPConnector):
    """Tells tries when they have a connection, limits the time to make one, and counts."""

    def __init__(self, settings: Connections) -> None:
        self._connect_timeout_s = duration_s(settings.connect_timeout)
        self._keepalive_s = duration_s(settings.keep_alive)
        self.opened: Counter[str] = Counter()
        super().__init__(
            limit=settings.total,
            limit_per_host=settings.per_host,
            keepalive_timeout=self._keepalive_s,
            ttl_dns_cache=DNS_TTL_S,
        )

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's signature
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        tell = CONNECTED.get()
        if tell is not None:
            tell()
        return connection

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's signature
    ) -> aiohttp.client_proto.ResponseHandler:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                protocol = await super()._create_connection(req, traces, timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        self.opened[_host(req.connection_key)] += 1
        return protocol

    async def add(self, req: aiohttp.ClientRequest) -> None:
        """Make one more connection and leave it idle."""
        key = req.connection_key
        protocol = await self._create_connection(req, [], aiohttp.ClientTimeout())
        self._acquired.add(protocol)
        self._acquired_per_host[key].add(protocol)
        self._release(key, protocol)

    def use(self) -> dict[str, PoolUse]:
        keys: Sequence[aiohttp.client_reqrep.ConnectionKey] = [*self._conns, *self._acquired_per_host, *self._waiters]
        counts: dict[str, list[int]] = {_host(key): [0, 0, 0] for key in keys}
        oldest = self._loop.time() - self._keepalive_s
        for key, acquired in self._acquired_per_host.items():
            counts[_host(key)][0] += len(acquired)
        for key, idle in self._conns.items():
            counts[_host(key)][1] += sum(protocol.is_connected() and since >= oldest for protocol, since in idle)
        for key, waiting in self._waiters.items():
            counts[_host(key)][2] += len(waiting)
        return {host: PoolUse(*count) for host, count in counts.items()}


def _host(key: aiohttp.client_reqrep.ConnectionKey) -> str:
    return f"{key.host}:{key.port}"
