"""Which figures does the runtime publish about the endpoints it calls?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from agentpool_api.money import NANO_PER_USD

P = "agentpool_runtime_upstream_"


class UpstreamInstruments:
    """The metrics of endpoints; all that change seldom, so that nothing of it is on the way of a plain call."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failovers = Counter(
            P + "failovers",
            "Calls sent on to another endpoint of the model, by the reason of the failure.",
            ["model", "reason"],
            registry=registry,
        )
        self._hedges = Counter(
            P + "hedges",
            "Late calls sent a second time, by whether the second call won or lost.",
            ["model", "outcome"],
            registry=registry,
        )
        self._hedge_cost = Counter(
            P + "hedge_cost_usd",
            "Money spent on calls that another one was faster than.",
            ["model"],
            registry=registry,
        )
        self._circuit = Gauge(
            P + "circuit",
            "1 for the state an endpoint's circuit is in: closed, half_open, open, cooling.",
            ["model", "endpoint", "state"],
            registry=registry,
        )
        self._connections = Gauge(
            P + "connections",
            "Connections to a host, busy or idle, and tries that wait for one.",
            ["endpoint", "state"],
            registry=registry,
        )
        self._opened = Gauge(
            P + "connections_opened", "Connections made to a host since the start.", ["endpoint"], registry=registry
        )

    def failed_over(self, model: str, reason: str) -> None:
        self._failovers.labels(model, reason).inc()

    def hedged(self, model: str, outcome: str) -> None:
        self._hedges.labels(model, outcome).inc()

    def hedge_cost(self, model: str, cost_nanousd: int) -> None:
        self._hedge_cost.labels(model).inc(cost_nanousd / NANO_PER_USD)

    def circuit(self, model: str, endpoint: str, state: str, states: Iterable[str]) -> None:
        """Show the one state of ``states`` that holds."""
        for other in states:
            self._circuit.labels(model, endpoint, other).set(other == state)

    def connections(self, endpoint: str, opened: int, by_state: Mapping[str, int]) -> None:
        """Show the connections to a host."""
        self._opened.labels(endpoint).set(opened)
        for state, count in by_state.items():
            self._connections.labels(endpoint, state).set(count)
