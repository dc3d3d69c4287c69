"""Which kinds of values do several parts of the resources have?"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

Percent = Annotated[int, Field(ge=0, le=100)]
Agents = Annotated[int, Field(ge=0, le=10_000)]
FreeForm = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""An object of Kubernetes' own, passed on as it is."""

TIME_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
TIME_ZONE_RULE = {
    "rule": "self != 'Local' && timestamp('2026-01-01T00:00:00Z').getFullYear(self) > 0",
    "message": "timeZone is no IANA time zone: use a name such as Europe/Berlin or UTC",
}
TimeZone = Annotated[
    str,
    StringConstraints(pattern=TIME_ZONE_PATTERN, max_length=64),
    Field(json_schema_extra={"x-kubernetes-validations": [TIME_ZONE_RULE]}),
]
"""Name of an IANA time zone. The API server knows them by its own copy of the database."""
