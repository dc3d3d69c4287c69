"""How are log lines written? One line each, JSON or text, with the fields of the event; never a credential."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson

LOGGER = logging.getLogger("agent_runtime")


class Lines(logging.Formatter):
    """Writes a record and its ``fields`` as one line."""

    def __init__(self, *, as_json: bool, constant: dict[str, str]) -> None:
        super().__init__()
        self._as_json = as_json
        self._constant = constant

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"
        text = record.getMessage()
        if record.exc_info:
            fields = fields | {"error": repr(record.exc_info[1]), "trace": self.formatException(record.exc_info)}
        if self._as_json:
            line = {"time": when, "level": record.levelname.lower(), "message": text} | self._constant | fields
            return orjson.dumps(line, default=str).decode()
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        return f"{when} {record.levelname:<7} {text}{tail}"


def set_up_logs(log_format: str, constant: dict[str, str]) -> None:
    """Send all log lines to standard error in this format."""
    import time

    formatter = Lines(as_json=log_format == "json", constant=constant)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    # asyncio and the HTTP server report broken connections of clients; those are counted, not logged
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def log(level: int, message: str, **fields: object) -> None:
    """Write one event with its fields."""
    LOGGER.log(level, message, extra={"fields": fields})
