"""What is known of an answer while it is made?"""

from __future__ import annotations

from agent_runtime.cache.flights import Flight
from agent_runtime.models.endpoints import Endpoint, Route
from agent_runtime.pipeline.paraphrases import Asked
from agent_runtime.pipeline.shortening import Shortened
from agent_runtime.requests import Request


class Work:
    """One request whose answer has to be made."""

    __slots__ = (
        "asked",
        "began_s",
        "discount_percent",
        "endpoint",
        "flight",
        "key",
        "leased",
        "request",
        "route",
        "shortened",
        "upstream_s",
        "waited_s",
    )

    def __init__(self, request: Request, route: Route, key: str | None, flight: Flight | None) -> None:
        self.request = request
        self.route = route
        self.key = key
        self.flight = flight
        self.leased = False
        self.asked: Asked | None = None
        self.shortened: Shortened | None = None
        self.waited_s = 0.0
        self.discount_percent = 0
        self.endpoint: Endpoint | None = None
        """Which one answered; None before."""
        self.upstream_s = 0.0
        self.began_s = 0.0
