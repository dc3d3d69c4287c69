"""What is a tracer told about requests? The form of it; the library behind it is loaded only when traces are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from agent_runtime.usage import Usage


class Trace(Protocol):
    """The trace of one request, if it is traced at all: a span of the server and one for each call of a model."""

    def begin_call(self, model: str) -> Mapping[str, str]:
        """A model is called, by the endpoint's name of it; gives the headers that carry the trace on."""

    def served_by(self, host: str | None, port: int | None, name: str) -> None:
        """Which of the model's endpoints answers; ``name`` is empty where it has but one."""

    def end_call(
        self, usage: Usage, cost_nanousd: int | None, answer: bytes, *, streamed: bool, first_chunk_s: float
    ) -> None:
        """Its answer is there, a stream's with all its frames or empty. Neither prompt nor answer is recorded."""

    def end(self, status: int, error: str, attributes: Mapping[str, str | int | float]) -> None:
        """The request is answered; ``error`` is its code, empty when there was none."""


class Tracer(Protocol):
    """Begins traces and sends them off."""

    def begin(
        self, operation: str, route: str, fields: Mapping[str, Any], forwarded: Mapping[str, str], request_id: str
    ) -> Trace:
        """The trace of a request, as part of the caller's when ``forwarded`` has its ``traceparent``."""

    def stop(self) -> None:
        """Send what waits, for a bounded time; blocks."""
