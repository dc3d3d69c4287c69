"""Is this process alive, and may it be counted on? What kubelet and Prometheus ask by HTTP.

Alive: the leader's own renewals of the Lease come back through the watch, so events flow; a standby keeps trying for
the Lease. Ready: the leader knows the cluster, or the standby stands by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agentpool_operator import metrics

CANARY_PERIOD_S = 15.0
CANARY_MISSES = 3
"""Liveness fails when no renewal has come back for so many periods."""


@dataclass(slots=True)
class Health:
    """What the process knows of its own state. Times are monotonic seconds."""

    clock: Callable[[], float]
    standby_ticked_s: Callable[[], float]
    """When the election last tried."""
    leading: bool = False
    caches_filled: bool = False
    canary_s: float = 0.0
    """When a renewal of our Lease last came back through the watch."""

    def start_leading(self) -> None:
        """The canary's time runs from here."""
        self.leading = True
        self.canary_s = self.clock()
        metrics.LEADER.set(1)

    def see_canary(self) -> None:
        """A renewal came back."""
        self.canary_s = self.clock()

    def sickness(self) -> str:
        """Why the process should be restarted; empty when it lives."""
        last_s = self.canary_s if self.leading else self.standby_ticked_s()
        age_s = self.clock() - last_s
        if age_s <= CANARY_PERIOD_S * CANARY_MISSES:
            return ""
        return f"no watch event for {age_s:.0f} s" if self.leading else f"no try for the Lease for {age_s:.0f} s"

    def unreadiness(self) -> str:
        """Why the process cannot be counted on yet; empty when it can."""
        return "the cluster is being read" if self.leading and not self.caches_filled else ""


async def serve_health(health: Health, port: int) -> tuple[web.AppRunner, int]:
    """Serve /healthz, /readyz and /metrics; returns the runner to clean up and the port in use."""

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(health.sickness(), "leader" if health.leading else "standby")

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(health.unreadiness(), "leader" if health.leading else "standby")

    async def show_metrics(_: web.Request) -> web.Response:
        if health.leading:
            metrics.CANARY_AGE.set(health.clock() - health.canary_s)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", show_metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, port=port)
    await site.start()
    return runner, int(runner.addresses[0][1])


def _verdict(trouble: str, role: str) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or role}\n")
