"""Can every endpoint be reached, and does a connection wait for the next call? No request is sent.

Connections are made through the pool, as calls make them: with its proxy and its authorities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agent_runtime.models.endpoints import Endpoint, Route
from agent_runtime.models.failures import ConnectionFailed, why_unreachable
from agent_runtime.models.pool import Pool
from agentpool_api.wire import Problem

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LOOK_EVERY_S = 2.0
WARM_FOR_S = 600.0
"""Without a call for so long nothing is kept warm: an endpoint should not see connections nobody uses."""

Place = tuple[str, str | None, str | None]


class Reach:
    """Which endpoints have accepted a connection, and how many wait for calls."""

    def __init__(self, routes: Sequence[Route], pool: Pool, *, warm: int, idle_s: Callable[[], float]) -> None:
        """``warm``: connections to keep to each host; ``idle_s``: seconds since the last request."""
        self._pool = pool
        self._warm = warm
        self._idle_s = idle_s
        self._routes = routes
        self._places = {_place(at): at for route in reversed(routes) for at in reversed(route.endpoints)}
        self._missing = dict(self._places)
        self._why: dict[Place, str] = {}

    @property
    def all_reached(self) -> bool:
        """Can every model be called? One endpoint of each is enough: the others are there for when it fails."""
        return not self._unreached()

    @property
    def problems(self) -> list[Problem]:
        """The endpoints that were tried and not reached yet, of models that have no other."""
        found = {_place(at): at for at in reversed(self._unreached()) if _place(at) in self._why}
        return [
            Problem(
                reason="EndpointUnreachable",
                field=endpoint.url_field,
                message=f"no connection to {endpoint.host}: {self._why[place]}; "
                "check the endpoint and the network policies",
            )
            for place, endpoint in reversed(found.items())
        ]

    def _unreached(self) -> list[Endpoint]:
        """The endpoints of the models that have none that was reached."""
        return [
            endpoint
            for route in self._routes
            if all(_place(at) in self._missing for at in route.endpoints)
            for endpoint in route.endpoints
        ]

    async def run(self) -> None:
        """Reach each endpoint, then keep connections to it open, until cancelled."""
        await asyncio.gather(*(self._follow(place, endpoint) for place, endpoint in self._places.items()))

    async def _follow(self, place: Place, endpoint: Endpoint) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            why = await self._add_missing(place, endpoint)
            if why is None:
                self._missing.pop(place, None)
                pause_s = LOOK_EVERY_S
            else:
                self._why[place] = why
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _add_missing(self, place: Place, endpoint: Endpoint) -> str | None:
        """Make the connections that are missing; what failed, or None."""
        wanted = self._warm if self._idle_s() < WARM_FOR_S else 0
        if place in self._missing:
            wanted = max(wanted, 1)
        use = self._pool.use().get(endpoint.host)
        for _ in range(wanted - (use.busy + use.idle if use is not None else 0)):
            if why := await self._dial(endpoint):
                return why
        return None

    async def _dial(self, endpoint: Endpoint) -> str | None:
        try:
            await self._pool.dial(endpoint)
        except (OSError, ConnectionFailed) as error:
            return why_unreachable(error)
        return None


def _place(endpoint: Endpoint) -> Place:
    """Endpoints at the same place share their connections."""
    return endpoint.host, endpoint.server_name, endpoint.certificate
