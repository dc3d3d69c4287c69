"""How does a call to a model end well although its endpoints fail?

Each try goes to the endpoint that was tried least, is closed to nobody and comes first by priority and weight. A call
is tried again while nothing of its answer has been passed on, within one deadline over all tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from agent_runtime.models.backoff import backoff_s
from agent_runtime.models.circuit import Circuit, CircuitState
from agent_runtime.models.endpoints import Endpoint, Resource, Route
from agent_runtime.models.exchange import Answer, Exchange
from agent_runtime.models.failures import Failure, unavailable
from agent_runtime.models.pool import NOTHING, Pool
from agent_runtime.models.selection import choose
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api.quantity import duration_s
from agentpool_api.upstreams import Connections

MANY_REPEATS = 1_000
"""More than any setting allows."""

LONGEST_COOLING_S = 600.0
"""An endpoint that asks for a longer pause is tried again after this one."""

Body = Callable[[str], bytes]
"""The request's body for an endpoint that knows the model by this name."""


class Call:
    """One request on its way to a model."""

    __slots__ = ("body", "deadline_s", "endpoint", "headers", "repeats", "resource", "route", "streaming", "tries")

    def __init__(
        self,
        route: Route,
        body: Body,
        headers: Mapping[str, str],
        *,
        streaming: bool,
        deadline_s: float,
        resource: Resource | None = None,
    ) -> None:
        self.resource = resource
        self.route = route
        self.body = body
        self.headers = headers
        self.streaming = streaming
        self.deadline_s = deadline_s
        self.endpoint: Endpoint | None = None
        """Which one is asked, or was asked last; None before the first try."""
        self.tries = [0] * len(route.endpoints)
        self.repeats = 0
        """Tries at endpoints that were tried before."""

    def again(self) -> Call:
        """The same call once more, beside this one: it goes where this one was not, and is not repeated."""
        other = Call(self.route, self.body, self.headers, streaming=self.streaming, deadline_s=self.deadline_s)
        other.tries = self.tries
        other.repeats = MANY_REPEATS
        return other


class Upstream:
    """The endpoints of all models."""

    def __init__(
        self,
        routes: Sequence[Route],
        connections: Connections,
        pool: Pool,
        endpoint_key: Callable[[int], str | None],
        instruments: Instruments,
        *,
        chance: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._endpoint_key = endpoint_key
        self._instruments = instruments
        self._chance = chance
        self._unix_time = unix_time
        self._retries = connections.retries
        self._first_token_s = duration_s(connections.first_token_timeout)
        self._token_s = duration_s(connections.token_timeout)
        self._timeout_s = duration_s(connections.timeout)
        self._endpoints = [endpoint for route in routes for endpoint in route.endpoints]
        failures, open_s = connections.breaker.failures, duration_s(connections.breaker.open_for)
        self._circuits = [Circuit(failures, open_s) for _ in self._endpoints]

    def new_call(
        self,
        route: Route,
        body: Body,
        headers: Mapping[str, str],
        *,
        streaming: bool,
        resource: Resource | None = None,
    ) -> Call:
        """A call whose time begins now. ``resource``: what it is about, when it is no question to the model."""
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        return Call(route, body, headers, streaming=streaming, deadline_s=deadline_s, resource=resource)

    async def call(self, call: Call) -> Answer:
        """The model's answer, after as many tries as it takes and the settings allow. Raises ApiError.

        A JSON answer is whole when this returns; of a stream the first frame is there, so a stream that breaks before
        it is tried again too.
        """
        loop = asyncio.get_running_loop()
        endpoint = self._choose(call, loop.time())
        if endpoint is None:
            endpoint = await self._wait_for_any(call, None)
        while True:
            try:
                return await self._try(call, endpoint)
            except Failure as failure:
                endpoint = await self._next(call, endpoint, failure)

    async def _try(self, call: Call, endpoint: Endpoint) -> Answer:
        """One try, with its outcome noted in the endpoint's circuit and the metrics. Raises Failure."""
        loop = asyncio.get_running_loop()
        circuit = self._circuits[endpoint.number]
        call.tries[endpoint.number - call.route.endpoints[0].number] += 1
        first_s = self._first_token_s if call.streaming else None
        exchange = Exchange(
            self._pool, endpoint, deadline_s=call.deadline_s, first_token_s=first_s, token_s=self._token_s
        )
        call.endpoint = endpoint
        body = call.body(endpoint.upstream_model)
        circuit.begin()
        try:
            answer = await exchange.run(
                body,
                dict(call.headers),
                self._endpoint_key(endpoint.number),
                circuit,
                self._unix_time,
                call.resource,
            )
        except Failure as failure:
            self._note(circuit, failure, loop.time())
            self._instruments.upstream_outcome(endpoint.label, failure.reason)
            raise
        except BaseException:
            circuit.leave()
            raise
        circuit.succeed()
        self._instruments.upstream_outcome(endpoint.label, "ok")
        return answer

    @staticmethod
    def _note(circuit: Circuit, failure: Failure, now_s: float) -> None:
        if failure.reason == "pool":
            circuit.leave()
        elif failure.trips:
            circuit.fail(now_s)
        else:
            circuit.succeed()
        wait_s = failure.error.retry_after_s
        if failure.error.status in (429, 503) and wait_s is not None:
            circuit.cool(now_s + min(wait_s, LONGEST_COOLING_S))

    async def _next(self, call: Call, failed: Endpoint, failure: Failure) -> Endpoint:
        """The endpoint for the next try, after the wait that is due. Raises the failure's error when none is left."""
        now_s = asyncio.get_running_loop().time()
        if failure.elsewhere and 0 in call.tries and now_s < call.deadline_s:
            other = self._choose(call, now_s)
            if other is not None and not call.tries[other.number - call.route.endpoints[0].number]:
                self._instruments.upstreams.failed_over(call.route.model, failure.reason)
                return other
        if not failure.retryable or call.repeats >= self._retries:
            raise failure.error from None
        endpoint = await self._wait_for_any(call, failure)
        self._instruments.upstream_retries.labels(failed.label, failure.reason).inc()
        return endpoint

    async def _wait_for_any(self, call: Call, failure: Failure | None) -> Endpoint:
        """Wait with jitter until an endpoint may be called. Open circuits are not waited for, endpoints that named
        a time are. Raises the failure's error, or why there is none."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            pause_s = self._pause_s(call, now_s)
            wait_s = backoff_s(call.repeats, pause_s, self._chance()) if pause_s is not None else None
            if wait_s is None or now_s + wait_s >= call.deadline_s or call.repeats > self._retries:
                raise failure.error if failure is not None else self._unavailable(call.route, now_s)
            call.repeats += 1
            await asyncio.sleep(wait_s)
            endpoint = self._choose(call, loop.time())
            if endpoint is not None:
                return endpoint

    def _pause_s(self, call: Call, now_s: float) -> float | None:
        """Seconds until the first endpoint of the call may be called; None when only open circuits are left."""
        waits = [
            circuit.wait_s(now_s)
            for endpoint in call.route.endpoints
            if (circuit := self._circuits[endpoint.number]).ready(now_s) or circuit.state(now_s) is CircuitState.COOLING
        ]
        return min(waits, default=None)

    def _unavailable(self, route: Route, now_s: float) -> Exception:
        circuits = [self._circuits[endpoint.number] for endpoint in route.endpoints]
        limited = all(circuit.state(now_s) is CircuitState.COOLING for circuit in circuits)
        return unavailable(route.model, min(circuit.wait_s(now_s) for circuit in circuits), limited=limited)

    def _choose(self, call: Call, now_s: float) -> Endpoint | None:
        endpoints = call.route.endpoints
        if len(endpoints) == 1:
            return endpoints[0] if self._circuits[endpoints[0].number].ready(now_s) else None
        return choose(endpoints, lambda at: self._circuits[at.number].ready(now_s), call.tries, self._chance)

    def publish(self) -> None:
        """Bring the gauges of connections and circuits up to date."""
        now_s = asyncio.get_running_loop().time()
        for endpoint, circuit in zip(self._endpoints, self._circuits, strict=True):
            self._instruments.upstreams.circuit(endpoint.model, endpoint.label, circuit.state(now_s), CircuitState)
        use = self._pool.use()
        for host, opened in self._pool.opened.items():
            now = use.get(host, NOTHING)
            states = {"busy": now.busy, "idle": now.idle, "waiting": now.waiting}
            self._instruments.upstreams.connections(host, opened, states)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
