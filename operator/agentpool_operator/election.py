"""Which of several operators may write?

The one that holds the Lease. It renews every RETRY_S; whoever sees a Lease unchanged for LEASE_S by its own clock takes
it over; a holder that could not renew for RENEW_S stops before anybody may take over. Times as in client-go.

A process can be frozen with a write half sent, and wake when another one leads. So the kernel keeps an alarm for the
end of the Lease: it ends the process before that runs one more instruction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import structlog
from lightkube import ApiError, AsyncClient

from agentpool_api.labels import MANAGED_BY, MANAGED_BY_LABEL
from agentpool_operator.errors import LeaseLostError
from agentpool_operator.kinds import LEASE

log = structlog.get_logger(__name__)

LEASE_S = 15
RENEW_S = 10.0
RETRY_S = 2.0
TRY_S = 5.0
"""The longest a renewal waits for its answer: two of them fit into RENEW_S."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A state of the Lease and when we first saw it, by our own monotonic clock."""

    version: str
    at_s: float


class Election:
    """Our part in holding one Lease."""

    def __init__(
        self, client: AsyncClient, *, namespace: str, name: str, identity: str, end_after: Callable[[float], object]
    ) -> None:
        """``end_after`` has the kernel end this process after so many seconds; 0 takes that back."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._end_after = end_after
        self._seen = _Seen("", 0.0)
        self._held: Any = None
        self._renewed_s: float | None = None
        self.ticked_at_s = 0.0
        """Monotonic time of the last try, whatever came of it: a standby is alive while this moves."""

    def left_s(self, now_s: float) -> float:
        """Seconds for which we may write: no other instance can have taken over before RENEW_S have gone by."""
        return 0.0 if self._renewed_s is None else max(self._renewed_s + RENEW_S - now_s, 0.0)

    async def acquire(self, clock: Callable[[], float]) -> None:
        """Return once the Lease is ours. Waits for ever; errors of the API server are waited out."""
        waiting_for: str | None = None
        while True:
            self.ticked_at_s = started_s = clock()
            try:
                holder = await asyncio.wait_for(self._try_acquire(started_s), RENEW_S / 2)
            except (httpx2.HTTPError, TimeoutError) as error:
                log.warning("lease cannot be read", error=str(error) or type(error).__name__)
            else:
                if holder is None:
                    self._take_as_renewed(started_s, clock())
                    log.info("lease acquired", lease=self._name, identity=self._identity)
                    return
                if holder != waiting_for:
                    log.info("standing by", lease=self._name, holder=holder)
                    waiting_for = holder
            await asyncio.sleep(RETRY_S)

    async def hold(self, clock: Callable[[], float]) -> None:
        """Renew for ever. Raises LeaseLostError when another took it or it could not be renewed for RENEW_S."""
        started_s = clock()
        while True:
            # Counted from the beginning of the last try: a server that takes seconds to answer is asked again at once.
            await asyncio.sleep(started_s + RETRY_S - clock())
            self.ticked_at_s = started_s = clock()
            left_s = self.left_s(started_s)
            if left_s <= 0:
                raise LeaseLostError(f"the Lease could not be renewed for {RENEW_S:.0f} s")
            try:
                self._held = await asyncio.wait_for(self._replace(self._held, taken_over=False), min(left_s, TRY_S))
                self._take_as_renewed(started_s, clock())
            except ApiError as error:
                if error.status.code == 409:
                    await self._reread()
                else:
                    log.warning("lease not renewed", error=str(error))
            except (httpx2.HTTPError, TimeoutError) as error:
                log.warning("lease not renewed", error=str(error) or type(error).__name__)

    async def release(self) -> None:
        """Give the Lease away at once, so that a standby need not wait for it to run out."""
        if self._held is None:
            return
        self._renewed_s = None
        self._end_after(0)
        try:
            await asyncio.wait_for(self._give_away(), 2.0)
            log.info("lease released", lease=self._name)
        except (httpx2.HTTPError, LeaseLostError, TimeoutError) as error:
            log.warning("lease not released", error=str(error) or type(error).__name__)
        self._held = None

    def _take_as_renewed(self, started_s: float, now_s: float) -> None:
        self._renewed_s = started_s
        self._end_after(max(started_s + LEASE_S - now_s, 0.001))

    async def _give_away(self) -> None:
        for _ in range(2):
            spec = {**self._held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            try:
                await self._client.replace(LEASE({**self._held, "spec": spec}))
            except ApiError as error:
                if error.status.code != 409:
                    raise
                await self._reread()  # a renewal whose answer we did not wait for was counted all the same
            else:
                return

    async def _try_acquire(self, now_s: float) -> str | None:
        """None when the Lease is ours now, else who holds it."""
        try:
            lease = await self._client.get(LEASE, self._name, namespace=self._namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise
            return await self._create()
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen.version:
            self._seen = _Seen(version, now_s)
        holder = spec.get("holderIdentity") or ""
        duration_s = spec.get("leaseDurationSeconds") or LEASE_S
        if holder not in ("", self._identity) and now_s - self._seen.at_s < duration_s:
            return str(holder)
        try:
            self._held = await self._replace(lease, taken_over=True)
        except ApiError as error:
            if error.status.code == 409:
                return "another instance"
            raise
        return None

    async def _create(self) -> str | None:
        metadata = {"name": self._name, "namespace": self._namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
        spec = {**self._spec(), "acquireTime": _now(), "leaseTransitions": 0}
        try:
            self._held = await self._client.create(LEASE(metadata=metadata, spec=spec))
        except ApiError as error:
            if error.status.code == 409:
                return "another instance"
            raise
        return None

    async def _replace(self, lease: Any, *, taken_over: bool) -> Any:
        """Write the Lease as ours; the API server refuses it when anybody wrote since we read it."""
        spec = {**(lease.get("spec") or {}), **self._spec()}
        if taken_over:
            spec |= {"acquireTime": _now(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        return await self._client.replace(LEASE({**lease, "spec": spec}))

    async def _reread(self) -> None:
        lease = await self._client.get(LEASE, self._name, namespace=self._namespace)
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder != self._identity:
            raise LeaseLostError(f"{holder or 'nobody'} holds the Lease now")
        self._held = lease

    def _spec(self) -> dict[str, Any]:
        return {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_S, "renewTime": _now()}


def _now() -> str:
    """RFC 3339 with microseconds, as a Lease wants it; only for people, no decision reads it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: TID251
