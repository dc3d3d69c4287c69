"""May an endpoint be called now? A circuit breaker (Nygard, "Release It!", 2007) and the pause a 429 asks for. Pure.

Closed: calls go through, and failures one after another are counted. Open: nothing goes through for a while. Half open:
one call goes through as a probe, and its outcome closes the circuit or opens it for twice as long. Cooling: the
endpoint itself said when to come again.
"""

from __future__ import annotations

from enum import StrEnum

LONGEST_FACTOR = 8
"""An endpoint that stays down is probed at least every ``open_s`` × 8."""


class CircuitState(StrEnum):
    """What may be done with an endpoint."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"
    COOLING = "cooling"


class Circuit:
    """The circuit of one endpoint. Times are seconds of one monotonic clock, given by the caller."""

    __slots__ = ("_cool_until_s", "_factor", "_failed", "_failures", "_open_s", "_open_until_s", "_probing")

    def __init__(self, failures: int, open_s: float) -> None:
        self._failures = failures
        self._open_s = open_s
        self._failed = 0
        self._factor = 1
        self._open_until_s: float | None = None
        self._cool_until_s = 0.0
        self._probing = False

    def state(self, now_s: float) -> CircuitState:
        """What holds at this moment."""
        if now_s < self._cool_until_s:
            return CircuitState.COOLING
        if self._open_until_s is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now_s < self._open_until_s else CircuitState.HALF_OPEN

    def ready(self, now_s: float) -> bool:
        """May a call be made now? In a half-open circuit only while no other one probes."""
        if self._open_until_s is None:
            return now_s >= self._cool_until_s
        return not self._probing and now_s >= max(self._open_until_s, self._cool_until_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until a call may be made, as far as known now: never below 0."""
        return max(self._cool_until_s, self._open_until_s or 0.0, now_s) - now_s

    def begin(self) -> None:
        """A call is made. Every one ends with ``succeed``, ``fail`` or ``leave``."""
        if self._open_until_s is not None:
            self._probing = True

    def succeed(self) -> None:
        """The endpoint answered, if only to refuse the request."""
        self._failed = 0
        self._factor = 1
        self._open_until_s = None
        self._probing = False

    def fail(self, now_s: float) -> None:
        """The endpoint failed. A call that was begun before the circuit opened tells nothing new."""
        if self._open_until_s is None:
            self._failed += 1
            if self._failed >= self._failures:
                self._open_until_s = now_s + self._open_s
        elif now_s >= self._open_until_s:
            self._factor = min(self._factor * 2, LONGEST_FACTOR)
            self._open_until_s = now_s + self._open_s * self._factor
            self._probing = False

    def leave(self) -> None:
        """The call ended without telling anything about the endpoint: another one may probe."""
        self._probing = False

    def cool(self, until_s: float) -> None:
        """The endpoint asked for a pause."""
        self._cool_until_s = max(self._cool_until_s, until_s)
